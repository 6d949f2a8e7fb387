//! What a packet costs the media server alone: its worker's processor time, system calls included, with the call set up by
//! orders and no SIP. Peer: rtpengine in user space under the same load, where it and python3 are installed.
//!
//! One line per figure goes to standard output: `media.figure OURS UNIT PEER THEIRS RATIO`. Packets of one frame are
//! spread over its 20 ms. Where ports are shared, every leg has a source port of its own, as a carrier's call has, or, where
//! they collide, all calls come from two, as they do at pairs of ports. Environment: `RELAYED` calls (500), `TRANSCODED` calls
//! (20), `SECONDS_OF_LOAD` (8). With a figure's name, that one alone.
//!
//! Opus is compared at equal rate, bitrate and complexity as far as rtpengine can be told (`opus_equal`); `opus` is the
//! default of either, and `opus_likeness` says what ours leaves of the sound: the correlation of what goes in with what
//! comes out. `calls_without_loss` raises the number by a quarter until a packet in a thousand is lost, everything on this
//! machine, the telephones included.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "it prints figures, and ends at what it did not expect"
)]

use std::{
    env, fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::Receiver,
    },
    thread,
    time::{Duration, Instant},
};

use link::MediaOrders;
use media::{Config, Network, Server};
use model::{
    LegId, SessionId,
    media::{
        Codec, CryptoSuite, Direction, Event, Format, Hearing, MasterKey, MediaEvent, MediaOrder,
        MediaParameters, Order, Recording, Source, Srtp, SrtpKeys, Voices,
    },
};
use rtp::{
    codec::{Decoder, Encoder, PAYLOAD_MAX, SAMPLES_MAX},
    packet::Header,
    srtp::{OVERHEAD_MAX, Sender},
};
use store::{Blobs, Folder};
use tempfile::TempDir;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const HOSTS: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];
const PORTS: [u16; 2] = [40_000, 40_001];
const KEY: &[u8; 30] = b"0123456789abcdefABCDEFGHIJKLMN";
/// Where a payload has the time it was sent at.
const TIME_AT: usize = 12;

/// What a leg speaks.
#[derive(Debug, Clone, Copy)]
struct Side {
    codec: Codec,
    secure: Option<CryptoSuite>,
}

/// One thing that is measured.
struct Scenario {
    name: &'static str,
    calls: usize,
    shared: bool,
    /// Whether each leg's telephone has a port of its own.
    own_sources: bool,
    /// Whether both voices of each call are recorded.
    recorded: bool,
    sides: [Side; 2],
    /// Legs of a session: 2, or so many in a conference.
    parties: usize,
    /// What rtpengine is asked for. None: it has nothing like it.
    peer: Option<&'static str>,
}

fn main() {
    let number = |name: &str, default: usize| env::var(name).map_or(default, |value| value.parse().unwrap());
    let (relayed, transcoded) = (number("RELAYED", 500), number("TRANSCODED", 20));
    let seconds = number("SECONDS_OF_LOAD", 8) as u64;
    let plain = Side { codec: Codec::Pcmu, secure: None };
    let opus = Side { codec: Codec::Opus, secure: None };
    let hmac = Side { secure: Some(CryptoSuite::AesCm128HmacSha1_80), ..plain };
    let gcm = Side { secure: Some(CryptoSuite::AeadAes128Gcm), ..plain };
    let scenario = |name, calls, sides, peer| Scenario {
        name,
        calls,
        shared: false,
        own_sources: false,
        recorded: false,
        sides,
        parties: 2,
        peer,
    };
    let both = [plain, plain];
    let scenarios = [
        scenario("relay", relayed, both, Some("plain")),
        scenario("relay_50", 50, both, Some("plain")),
        scenario("relay_2000", 2_000, both, Some("plain")),
        Scenario {
            shared: true,
            own_sources: true,
            ..scenario("relay_shared", relayed, both, Some("plain"))
        },
        Scenario { shared: true, ..scenario("relay_shared_collisions", relayed, both, Some("plain")) },
        Scenario { recorded: true, ..scenario("recorded", relayed / 10, both, None) },
        scenario("srtp_one_side", relayed, [plain, hmac], Some("srtp")),
        scenario("srtp_both_sides", relayed, [hmac, hmac], Some("srtp-both")),
        scenario("srtp_gcm_one_side", relayed, [plain, gcm], None),
        scenario("opus", transcoded, [plain, opus], Some("opus")),
        scenario("opus_equal", transcoded, [plain, opus], Some("opus-equal")),
        Scenario { parties: 3, ..scenario("mix_3", relayed / 10, [plain, plain], None) },
        Scenario { parties: 50, ..scenario("mix_50", 2, [plain, plain], None) },
    ];
    let only: Vec<String> = env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    if wanted("opus_likeness") {
        figure("opus_likeness", likeness(Codec::Opus), "of_1", None);
        figure("pcmu_likeness", likeness(Codec::Pcmu), "of_1", None);
    }
    for scenario in scenarios.iter().filter(|it| wanted(it.name)) {
        let theirs = scenario.peer.filter(|_| has_peer());
        let theirs = theirs.map(|mode| measure_rtpengine(scenario, mode, seconds));
        let ours = measure_ours(scenario, seconds);
        figure(
            &format!("cpu_per_packet_{}", scenario.name),
            ours.cost,
            "CPU-µs",
            theirs.as_ref().map(|it| it.cost),
        );
        if scenario.name.starts_with("relay") {
            let theirs = theirs.as_ref();
            figure(&format!("p99_{}", scenario.name), ours.p99_us, "µs", theirs.map(|it| it.p99_us));
        }
        // What is free in the heap after another scenario would hide what this one takes.
        if scenario.name == "relay" {
            let theirs = theirs.as_ref();
            let memory = ours.bytes / scenario.calls as f64;
            let of_theirs = theirs.map(|it| it.bytes / scenario.calls as f64);
            figure(&format!("memory_per_call_{}", scenario.name), memory, "bytes", of_theirs);
            let legs = of_theirs.map(|bytes| bytes / 2.0);
            figure(&format!("memory_per_leg_{}", scenario.name), memory / 2.0, "bytes", legs);
        }
    }
    if wanted("calls_without_loss") {
        let theirs = has_peer().then(|| most(|scenario| measure_rtpengine(scenario, "plain", MOST_SECONDS)));
        let ours = most(|scenario| measure_ours(scenario, MOST_SECONDS));
        figure("calls_without_loss", ours as f64, "calls", theirs.map(|it| it as f64));
    }
}

/// Seconds of each step of the search for the largest number of calls.
const MOST_SECONDS: u64 = 3;
/// Where that search begins, and its steps at most.
const MOST: (usize, usize) = (400, 8);

/// The largest number of calls of which not a packet in a thousand is lost.
fn most(measure: impl Fn(&Scenario) -> Seen) -> usize {
    let plain = Side { codec: Codec::Pcmu, secure: None };
    let (mut calls, mut best) = (MOST.0, 0);
    for _ in 0..MOST.1 {
        let scenario = Scenario {
            name: "most",
            calls,
            shared: false,
            own_sources: false,
            recorded: false,
            sides: [plain, plain],
            parties: 2,
            peer: None,
        };
        if measure(&scenario).lost > 0.001 {
            break;
        }
        (best, calls) = (calls, calls * 5 / 4);
    }
    best
}

fn has_peer() -> bool {
    installed("rtpengine") && installed("python3")
}

/// How alike a second of sound is to itself when it was coded with our default, at the delay at which it is most so.
fn likeness(codec: Codec) -> f64 {
    let mut encoder = Encoder::with_rate(codec, &Default::default(), 8_000).unwrap();
    let mut decoder = Decoder::with_rate(codec, 8_000).unwrap();
    let said: Vec<i16> = (0..8_000).map(sample).collect();
    let heard: Vec<i16> = said
        .chunks_exact(160)
        .flat_map(|pcm| {
            let (mut payload, mut out) = ([0; PAYLOAD_MAX], [0; SAMPLES_MAX]);
            let length = encoder.encode(pcm, &mut payload).unwrap();
            let length = decoder.decode(&payload[..length], &mut out).unwrap();
            out[..length].to_vec()
        })
        .collect();
    let product =
        |a: &[i16], b: &[i16]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let at = |delay: usize| {
        let (said, heard) = (&said[..7_500], &heard[delay..delay + 7_500]);
        product(said, heard) / (product(said, said) * product(heard, heard)).sqrt().max(1.0)
    };
    (0..400).map(at).fold(0.0, f64::max)
}

fn figure(name: &str, ours: f64, unit: &str, theirs: Option<f64>) {
    match theirs {
        Some(theirs) if theirs > 0.0 => {
            println!("media.{name} {ours:.2} {unit} rtpengine {theirs:.2} {:.2}", ours / theirs)
        }
        Some(_) | None => println!("media.{name} {ours:.2} {unit} - - -"),
    }
}

fn installed(program: &str) -> bool {
    let found = |folder: &Path| folder.join(program).is_file();
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| found(&folder)))
}

/// What was seen.
struct Seen {
    cost: f64,
    /// Share of the packets.
    lost: f64,
    p99_us: f64,
    bytes: f64,
}

// --- ours -----------------------------------------------------------------------------------------------------------

struct Ours {
    server: Server,
    events: Receiver<MediaEvent>,
    _recordings: Option<TempDir>,
}

impl Ours {
    fn start(scenario: &Scenario) -> Self {
        let networks =
            vec![Network { name: "lan".into(), bind: LOCALHOST, advertised: LOCALHOST, interface: None }];
        let recordings = scenario.recorded.then(|| tempfile::tempdir().unwrap());
        let store = |folder: &TempDir| Arc::new(Folder::open(folder.path(), None).unwrap()) as Arc<dyn Blobs>;
        let services =
            media::Services { store: recordings.as_ref().map(store), ..media::Services::default() };
        let config = Config {
            networks,
            ports: 10_000..=31_000,
            workers: Some(1),
            recordings: None,
            sessions_max: scenario.calls + 1,
            silent_after: Duration::from_secs(60),
            services,
        };
        let (sender, events) = link::event_queue(100_000);
        Self { server: Server::start(config, sender).unwrap(), events, _recordings: recordings }
    }

    fn order(&self, session: usize, order: Order) {
        let order = MediaOrder { session: SessionId(session as u64), order };
        while self.server.send(order.clone()).is_err() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Allocates and configures a leg whose peer is at `remote`, and returns its port.
    fn leg(&self, session: usize, leg: usize, side: Side, shared: bool, remote: SocketAddr) -> u16 {
        let leg = LegId(leg as u64);
        let wanted = shared.then_some(remote);
        self.order(session, Order::Allocate { leg, network: "lan".into(), shared, remote: wanted });
        let port = loop {
            match self.events.recv_timeout(Duration::from_secs(10)).unwrap().event {
                Event::Allocated { rtp_port, .. } => break rtp_port,
                Event::Refused { reason, .. } => panic!("{reason:?}"),
                _ => {}
            }
        };
        let payload_type = side.codec.payload_type();
        let parameters = MediaParameters {
            codec: side.codec,
            send_payload_type: payload_type,
            receive_payload_type: payload_type,
            send_telephone_event: Some(101),
            receive_telephone_event: Some(101),
            remote_rtp: remote,
            remote_rtcp: SocketAddr::new(remote.ip(), 9),
            ptime_ms: 20,
            direction: Direction::SendRecv,
            comfort_noise: None,
            rtcp_mux: false,
            srtp: side
                .secure
                .map(|suite| Box::new(Srtp::Sdes(SrtpKeys { send: key(suite), receive: key(suite) }))),
            opus: None,
            peer_first: false,
        };
        self.order(session, Order::Configure { leg, parameters });
        port
    }
}

fn key(suite: CryptoSuite) -> MasterKey {
    let length = suite.key_length() + suite.salt_length();
    MasterKey::new(suite, KEY.iter().copied().cycle().take(length).collect())
}

fn measure_ours(scenario: &Scenario, seconds: u64) -> Seen {
    let load = Load::new(scenario);
    let ours = Ours::start(scenario);
    let before = resident(std::process::id());
    let mut to = [Vec::new(), Vec::new()];
    for session in 0..scenario.calls {
        for leg in 0..scenario.parties {
            let side = leg % 2;
            let place = session * scenario.parties.div_ceil(2) + leg / 2;
            let port =
                ours.leg(session, leg, scenario.sides[side], scenario.shared, load.address(side, place));
            to[side].push(SocketAddr::new(LOCALHOST, port));
        }
        if scenario.parties == 2 {
            ours.order(session, Order::Bridge { a: LegId(0), b: LegId(1) });
            if scenario.recorded {
                let recording = Recording {
                    name: session.to_string(),
                    voices: Voices::Stereo(LegId(0), LegId(1)),
                    format: Format::Wav,
                    max_ms: None,
                    silence_ms: None,
                    stop_keys: String::new(),
                    mask_keys: false,
                    about: None,
                };
                ours.order(session, Order::BeginRecording(Box::new(recording)));
            }
        } else {
            let others = |leg: usize| {
                let source = |leg| Source { leg: LegId(leg as u64), gain_db: 0 };
                (0..scenario.parties).filter(|&other| other != leg).map(source).collect()
            };
            let hearing = |leg| Hearing { leg: LegId(leg as u64), sources: others(leg) };
            ours.order(session, Order::Mix((0..scenario.parties).map(hearing).collect()));
        }
    }
    load.run(&to, 1);
    // Its worker, and what writes recordings.
    let cpu = || {
        ["media-0", "media-rec", "media-save"].map(|name| cpu(std::process::id(), name)).iter().sum::<f64>()
    };
    let before_load = cpu();
    let sent = load.run(&to, seconds);
    let cost = (cpu() - before_load) / sent as f64;
    let bytes = resident(std::process::id()) - before;
    let counters = ours.server.counters();
    eprintln!("   ours, {}: {sent} sent, {} heard, {counters:?}", scenario.name, load.heard());
    assert!(load.heard() > sent / 2, "nothing came through");
    Seen { cost, lost: load.lost(sent), p99_us: load.p99_us(), bytes }
}

// --- rtpengine ------------------------------------------------------------------------------------------------------

struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure_rtpengine(scenario: &Scenario, mode: &str, seconds: u64) -> Seen {
    let arguments = "--interface=127.0.0.1 --listen-ng=127.0.0.1:2223 --table=-1 --port-min=10000 --port-max=31000 \
                     --foreground --log-stderr --log-level=3 --num-threads=2 --timeout=900 --silent-timeout=900";
    let mut command = Command::new("rtpengine");
    command.args(arguments.split_whitespace()).stdout(Stdio::null()).stderr(Stdio::null());
    let peer = Peer(command.spawn().unwrap());
    thread::sleep(Duration::from_secs(1));
    let load = Load::new(&Scenario { own_sources: false, ..*scenario });
    let before = resident(peer.0.id());
    let folder = env::temp_dir().join(format!("media-bench-{}", std::process::id()));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/bench/peers/rtpengine.py");
    let status =
        Command::new("python3").arg(script).arg(&folder).arg(scenario.calls.to_string()).arg(mode).status();
    assert!(status.unwrap().success(), "rtpengine takes no calls");
    let map = fs::read_to_string(&folder).unwrap();
    fs::remove_file(&folder).unwrap();
    let mut to = [Vec::new(), Vec::new()];
    for line in map.lines() {
        for (side, port) in line.split_whitespace().enumerate() {
            to[side].push(SocketAddr::new(LOCALHOST, port.parse().unwrap()));
        }
    }
    load.run(&to, 1);
    let cpu = cpu(peer.0.id(), "");
    let sent = load.run(&to, seconds);
    let cost = (self::cpu(peer.0.id(), "") - cpu) / sent as f64;
    eprintln!("   rtpengine, {}: {sent} sent, {} heard", scenario.name, load.heard());
    let bytes = resident(peer.0.id()) - before;
    Seen { cost, lost: load.lost(sent), p99_us: load.p99_us(), bytes }
}

// --- what is seen of a process --------------------------------------------------------------------------------------

/// Processor time in µs of the threads whose names begin so.
fn cpu(process: u32, name: &str) -> f64 {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let of = |folder: &Path| {
        let comm = fs::read_to_string(folder.join("comm")).ok()?;
        let schedstat =
            fs::read_to_string(folder.join("schedstat")).ok().filter(|_| comm.starts_with(name))?;
        schedstat.split_whitespace().next()?.parse::<f64>().ok()
    };
    threads.filter_map(|thread| of(&thread.ok()?.path())).sum::<f64>() / 1_000.0
}

/// Resident octets.
fn resident(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1_024.0
}

// --- the load -------------------------------------------------------------------------------------------------------

/// Both sides' telephones.
struct Load {
    sockets: [Vec<Arc<UdpSocket>>; 2],
    sides: [Side; 2],
    streams: usize,
    heard: Arc<AtomicU64>,
    /// Delays, by eighths of a power of two of microseconds.
    delays: Arc<Vec<AtomicU64>>,
    over: Arc<AtomicBool>,
    begun: Instant,
    /// Octets of each side's frames, which go round.
    frames: [Vec<Vec<u8>>; 2],
    stamped: bool,
}

impl Load {
    fn new(scenario: &Scenario) -> Self {
        let streams = scenario.calls * scenario.parties.div_ceil(2);
        let count = if scenario.own_sources { streams } else { 1 };
        let bind = |side: usize, place: usize| {
            let port = if scenario.own_sources { 0 } else { PORTS[side] + place as u16 };
            let socket = UdpSocket::bind((HOSTS[side], port)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            Arc::new(socket)
        };
        let sockets = [0, 1].map(|side| (0..count).map(|place| bind(side, place)).collect::<Vec<_>>());
        let [first, second] = scenario.sides;
        let stamped = first.secure.is_none() && second.secure.is_none() && scenario.parties == 2;
        let load = Self {
            sockets,
            sides: scenario.sides,
            streams,
            heard: Arc::default(),
            delays: Arc::new((0..512).map(|_| AtomicU64::new(0)).collect()),
            over: Arc::default(),
            begun: Instant::now(),
            frames: [frames(first.codec), frames(second.codec)],
            stamped: stamped && first.codec == second.codec,
        };
        load.listen();
        load
    }

    fn address(&self, side: usize, place: usize) -> SocketAddr {
        let sockets = &self.sockets[side];
        sockets[place % sockets.len()].local_addr().unwrap()
    }

    fn listen(&self) {
        let all: Vec<_> = self.sockets.iter().flatten().cloned().collect();
        let (heard, delays, over) =
            (Arc::clone(&self.heard), Arc::clone(&self.delays), Arc::clone(&self.over));
        let (begun, stamped) = (self.begun, self.stamped);
        let take = move |datagram: &[u8]| {
            heard.fetch_add(1, Ordering::Relaxed);
            if stamped && let Some(stamp) = datagram.get(TIME_AT..TIME_AT + 8) {
                let sent = u64::from_be_bytes(stamp.try_into().unwrap());
                let late = (begun.elapsed().as_nanos() as u64).saturating_sub(sent) / 1_000;
                delays[bucket(late)].fetch_add(1, Ordering::Relaxed);
            }
        };
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async {
                for socket in all {
                    let (take, socket) = (take.clone(), socket.try_clone().unwrap());
                    socket.set_nonblocking(true).unwrap();
                    let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
                    tokio::task::spawn_local(async move {
                        let mut buffer = [0; 2_000];
                        loop {
                            if let Ok(length) = socket.recv(&mut buffer).await {
                                take(&buffer[..length]);
                            }
                        }
                    });
                }
                while !over.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        });
    }

    /// Speaks for so long, and returns how many packets were sent.
    fn run(&self, to: &[Vec<SocketAddr>; 2], seconds: u64) -> u64 {
        self.heard.store(0, Ordering::Relaxed);
        self.delays.iter().for_each(|bucket| bucket.store(0, Ordering::Relaxed));
        let mut senders = [0, 1].map(|side| {
            let suite = self.sides[side].secure;
            let sender = |_| suite.map(|suite| Sender::new(&key(suite), 0).unwrap());
            to[side].iter().map(sender).collect::<Vec<_>>()
        });
        // Every run is a new source, as its keys begin anew.
        let run = self.begun.elapsed().as_millis() as u32;
        let (start, mut sent) = (Instant::now(), 0);
        for frame in 0..seconds * 50 {
            for slot in 0..20 {
                let at = start + Duration::from_millis(frame * 20 + slot as u64);
                thread::sleep(at.saturating_duration_since(Instant::now()));
                for place in (slot..self.streams).step_by(20) {
                    for side in [0, 1] {
                        let Some(&target) = to[side].get(place) else { continue };
                        let packet = self.packet(side, place, (run, frame), &mut senders[side][place]);
                        let sockets = &self.sockets[side];
                        sent += u64::from(sockets[place % sockets.len()].send_to(&packet, target).is_ok());
                    }
                }
            }
        }
        thread::sleep(Duration::from_millis(300));
        sent
    }

    fn packet(
        &self,
        side: usize,
        place: usize,
        (run, frame): (u32, u64),
        sender: &mut Option<Sender>,
    ) -> Vec<u8> {
        let codec = self.sides[side].codec;
        let header = Header {
            marker: false,
            payload_type: codec.payload_type(),
            sequence: frame as u16,
            timestamp: frame as u32 * (codec.clock_rate() / 50),
            ssrc: (place * 2 + side) as u32 ^ run << 16,
        };
        let payload = &self.frames[side][frame as usize % self.frames[side].len()];
        let mut packet = [&header.to_bytes()[..], payload].concat();
        if self.stamped {
            let stamp = self.begun.elapsed().as_nanos() as u64;
            packet[TIME_AT..TIME_AT + 8].copy_from_slice(&stamp.to_be_bytes());
        }
        if let Some(sender) = sender {
            let length = packet.len();
            packet.resize(length + OVERHEAD_MAX, 0);
            let length = sender.protect(&mut packet, length).unwrap();
            packet.truncate(length);
        }
        packet
    }

    fn lost(&self, sent: u64) -> f64 {
        sent.saturating_sub(self.heard()) as f64 / sent.max(1) as f64
    }

    fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    fn p99_us(&self) -> f64 {
        let counts: Vec<u64> = self.delays.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let mut left = counts.iter().sum::<u64>() / 100;
        for (place, count) in counts.iter().enumerate().rev() {
            if *count > left {
                return 2f64.powf(place as f64 / 8.0);
            }
            left -= count;
        }
        0.0
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(150));
    }
}

fn bucket(us: u64) -> usize {
    ((us.max(1) as f64).log2() * 8.0) as usize
}

/// A voice at 8 kHz: tones that rise and fall.
fn sample(at: usize) -> i16 {
    let t = at as f64 / 8_000.0;
    ((t * (300.0 + 200.0 * (t * 9.0).sin()) * 6.3).sin() * 9_000.0 * (t * 20.0).sin().abs()) as i16
}

/// A second of it, coded.
fn frames(codec: Codec) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::with_rate(codec, &Default::default(), 8_000).unwrap();
    let frame = |frame: usize| {
        let pcm: Vec<i16> = (0..160).map(|place| sample(frame * 160 + place)).collect();
        let mut payload = [0; PAYLOAD_MAX];
        let length = encoder.encode(&pcm, &mut payload).unwrap();
        payload[..length].to_vec()
    };
    (0..50).map(frame).collect()
}
