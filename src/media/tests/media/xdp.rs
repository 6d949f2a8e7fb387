//! AF_XDP on a pair of virtual interfaces: the server's here, the telephones' in a network namespace of their own.
//!
//! Whoever is not root has no such interfaces: for him, only the tests run that need none.

use std::{
    fs::File,
    io::ErrorKind,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    process::Command,
    time::Duration,
};

use media::{Config, Network, Packets, Server, Services, WorkerCounters};
use model::{
    LegId,
    media::{Codec, Event, Order},
};

use crate::{
    namespace::{current, enter, leave},
    peer::{PATIENCE, Phone, World},
};

pub const OURS: [&str; 2] = ["10.99.0.2", "fd99::2"];
pub const THEIRS: [&str; 2] = ["10.99.0.1", "fd99::1"];
const NETWORKS: [&str; 2] = ["lan", "six"];

/// The two ends of a cable.
pub struct Cable {
    here: File,
    there: File,
}

impl Cable {
    /// None: the machine gives this user none.
    pub fn new() -> Option<Self> {
        match leave() {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return None,
            done => done.unwrap(),
        }
        let there = current();
        leave().unwrap();
        let here = current();
        let path = format!("/proc/{}/fd/{}", std::process::id(), there.as_raw_fd());
        ip(&["link", "add", "x0", "type", "veth", "peer", "name", "x1", "netns", &path]);
        let cable = Self { here, there };
        up("x0", OURS);
        cable.there(|| up("x1", THEIRS));
        Some(cable)
    }

    /// Does something at the other end.
    pub fn there<T>(&self, work: impl FnOnce() -> T) -> T {
        enter(&self.there).unwrap();
        let done = work();
        enter(&self.here).unwrap();
        done
    }

    fn socket(&self, family: usize) -> UdpSocket {
        let address: IpAddr = THEIRS[family].parse().unwrap();
        let socket = self.there(|| UdpSocket::bind((address, 0))).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    fn phone(&self, world: &World, family: usize, session: u64, leg: u64) -> Phone {
        let network = NETWORKS[family].to_owned();
        world.order(session, Order::Allocate { leg: LegId(leg), network, shared: false, remote: None });
        let Event::Allocated { rtp_port, address, .. } = world.event() else { panic!("refused") };
        let to = SocketAddr::new(address, rtp_port);
        let phone = Phone::on(self.socket(family), self.socket(family), Codec::Pcmu, to);
        world.configure(session, leg, &phone);
        phone
    }

    fn call(&self, world: &World, family: usize, session: u64) -> [Phone; 2] {
        let phones = [1, 2].map(|leg| self.phone(world, family, session, leg));
        world.bridge(session, 1, 2);
        world.settle(session);
        phones
    }
}

fn ip(arguments: &[&str]) -> String {
    let output = Command::new("ip").args(arguments).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn up(interface: &str, addresses: [&str; 2]) {
    ip(&["addr", "add", &format!("{}/24", addresses[0]), "dev", interface]);
    ip(&["addr", "add", &format!("{}/64", addresses[1]), "dev", interface, "nodad"]);
    for interface in ["lo", interface] {
        ip(&["link", "set", interface, "up"]);
    }
}

fn has_program() -> bool {
    ip(&["link", "show", "dev", "x0"]).contains("xdp")
}

fn world(workers: usize) -> World {
    let network = |family: usize| {
        let bind = OURS[family].parse().unwrap();
        Network { name: NETWORKS[family].into(), bind, advertised: bind, interface: None }
    };
    let ports = 24_000..=24_199;
    let config = Config {
        networks: vec![network(0), network(1)],
        ports: ports.clone(),
        workers: Some(workers),
        recordings: None,
        sessions_max: 100,
        silent_after: Duration::from_secs(60),
        services: Services { packets: Packets::Xdp, ..Services::default() },
    };
    let (sender, events) = link::event_queue(10_000);
    World { server: Server::start(config, sender).unwrap(), ports, events }
}

fn counted(world: &World) -> WorkerCounters {
    world.server.handle().workers()[0].clone()
}

/// Both hear what the other says, packet by packet.
fn talk([a, b]: &mut [Phone; 2], packets: u8) {
    for number in 0..packets {
        let say = |from: &mut Phone, to: &Phone, payload: [u8; 160]| {
            from.say(&payload);
            assert_eq!(to.hear().1, payload);
        };
        say(a, b, [number & 0x7f; 160]);
        say(b, a, [number & 0x7f | 1; 160]);
    }
}

#[test]
fn a_calls_audio_goes_by_frames_both_ways_and_the_program_ends_with_the_server() {
    let Some(cable) = Cable::new() else { return };
    assert!(!has_program());
    let world = world(1);
    assert!(has_program());
    for family in [0, 1] {
        let before = counted(&world);
        assert_eq!(before.xdp_interfaces, 1);
        let mut phones = cable.call(&world, family, 1);
        talk(&mut phones, 100);
        let after = counted(&world);
        assert_eq!(after.packets_received - before.packets_received, 200);
        assert_eq!(after.packets_received_xdp - before.packets_received_xdp, 200, "all of them");
        let sent = after.packets_sent_xdp - before.packets_sent_xdp;
        assert!(sent >= 199, "{sent}: only what was said before the other was heard went another way");
        let quality = world.release(1, 1);
        assert_eq!((quality.packets_received, quality.packets_lost), (100, 0));
        world.release(1, 2);
    }
    drop(world);
    assert!(!has_program());
}

#[test]
fn what_frames_do_not_cover_goes_by_the_plain_sockets() {
    let Some(cable) = Cable::new() else { return };
    let world = world(1);
    let mut phones = cable.call(&world, 0, 1);
    talk(&mut phones, 5);
    let before = counted(&world);
    let [a, b] = &mut phones;
    let long: Vec<u8> = (0..1_600u32).map(|octet| octet as u8 & 0x7f).collect();
    a.say(&long);
    assert_eq!(b.hear().1, long, "in fragments, here and there");
    let after = counted(&world);
    assert_eq!(after.packets_received - before.packets_received, 1);
    assert_eq!(after.packets_received_xdp, before.packets_received_xdp);
    assert_eq!(after.packets_sent_xdp, before.packets_sent_xdp);
    talk(&mut phones, 5);
    assert!(counted(&world).packets_sent_xdp > after.packets_sent_xdp);
}

#[test]
fn other_traffic_of_the_interface_passes_untouched() {
    let Some(cable) = Cable::new() else { return };
    let world = world(1);
    let mut phones = cable.call(&world, 0, 1);
    talk(&mut phones, 5);
    for (family, ours) in OURS.iter().enumerate() {
        let ours: IpAddr = ours.parse().unwrap();
        let echo = UdpSocket::bind((ours, 7_777)).unwrap();
        echo.set_read_timeout(Some(PATIENCE)).unwrap();
        let theirs = cable.socket(family);
        theirs.send_to(b"who goes there", (ours, 7_777)).unwrap();
        let mut buffer = [0; 100];
        let (length, from) = echo.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"who goes there");
        echo.send_to(&buffer[..length], from).unwrap();
        assert_eq!(theirs.recv_from(&mut buffer).unwrap(), (length, (ours, 7_777).into()));
        // Nobody has this port of ours now: the kernel says so itself.
        theirs.connect((ours, 24_190)).unwrap();
        theirs.send(b"hello").unwrap();
        assert_eq!(theirs.recv(&mut buffer).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
    // A port that was a call's is nobody's after it.
    let [a, b] = phones;
    let to = a.to;
    world.release(1, 1);
    world.release(1, 2);
    drop((a, b));
    let late = cable.socket(0);
    late.connect(to).unwrap();
    late.send(b"too late").unwrap();
    assert_eq!(late.recv(&mut [0; 100]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_worker_without_a_queue_has_its_calls_by_plain_sockets() {
    let Some(cable) = Cable::new() else { return };
    let world = world(2);
    for session in 0..8 {
        talk(&mut cable.call(&world, 0, session), 3);
    }
    let workers = world.server.handle().workers();
    let of = |place: usize| (workers[place].packets_received, workers[place].packets_received_xdp);
    assert_eq!(of(0).0, of(0).1, "{workers:?}");
    assert!(of(0).0 > 0 && of(1).0 > 0 && of(1).1 == 0, "{workers:?}");
    assert_eq!((workers[0].xdp_interfaces, workers[1].xdp_interfaces), (1, 0));
}

#[test]
fn where_the_machine_has_no_such_interface_plain_sockets_serve() {
    let services = Services { packets: Packets::Xdp, ..Services::default() };
    let world = World::with_services(4, services);
    let mut phones = [1, 2].map(|leg| world.phone(1, leg, Codec::Pcmu));
    world.bridge(1, 1, 2);
    world.settle(1);
    talk(&mut phones, 5);
    let workers = world.server.handle().workers();
    assert!(workers.iter().all(|it| (it.xdp_interfaces, it.packets_received_xdp) == (0, 0)), "{workers:?}");
}
