//! A media server on loopback, and telephones that call it.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    f64::consts::TAU,
    io::Cursor,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
        mpsc::Receiver,
    },
    time::{Duration, Instant},
};

use link::MediaOrders;
use media::{AudioSource, Config, Library, Network, Server, Services};
use model::{
    AudioId, LegId, PlayId, SessionId,
    media::{Codec, Direction, Event, MediaEvent, MediaOrder, MediaParameters, Order},
};
use rtp::packet::{Header, Packet};

pub const PATIENCE: Duration = Duration::from_secs(10);
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A server with ports of its own, so that tests can run side by side.
pub struct World {
    pub server: Server,
    pub ports: std::ops::RangeInclusive<u16>,
    pub events: Receiver<MediaEvent>,
}

impl World {
    pub fn new() -> Self {
        Self::with(20, None, 1_000)
    }

    pub fn with(pairs: u16, recordings: Option<PathBuf>, sessions_max: usize) -> Self {
        Self::with_silence(pairs, recordings, sessions_max, Duration::from_secs(60))
    }

    /// All sessions on one worker.
    pub fn one_worker(pairs: u16) -> Self {
        Self::made(pairs, |_| ())
    }

    pub fn one_worker_with(pairs: u16, services: Services) -> Self {
        Self::made(pairs, |config| config.services = services)
    }

    pub fn one_worker_that(pairs: u16, change: impl FnOnce(&mut Config)) -> Self {
        Self::made(pairs, change)
    }

    pub fn with_silence(
        pairs: u16,
        recordings: Option<PathBuf>,
        sessions_max: usize,
        silent_after: Duration,
    ) -> Self {
        Self::made(pairs, |config| {
            *config = Config { workers: Some(2), recordings, sessions_max, silent_after, ..config.clone() };
        })
    }

    pub fn with_services(pairs: u16, services: Services) -> Self {
        Self::made(pairs, |config| *config = Config { workers: Some(2), services, ..config.clone() })
    }

    fn made(pairs: u16, change: impl FnOnce(&mut Config)) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(24_000);
        let first = NEXT.fetch_add(2 * pairs, Ordering::Relaxed);
        let ports = first..=first + 2 * pairs - 1;
        let networks = vec![Network {
            name: "lan".into(),
            bind: LOCALHOST,
            advertised: "192.0.2.7".parse().unwrap(),
            interface: None,
        }];
        let mut config = Config {
            networks,
            ports: ports.clone(),
            workers: Some(1),
            recordings: None,
            sessions_max: 1_000,
            silent_after: Duration::from_secs(60),
            services: Services::default(),
        };
        change(&mut config);
        let (sender, events) = link::event_queue(10_000);
        Self { server: Server::start(config, sender).unwrap(), ports, events }
    }

    pub fn order(&self, session: u64, order: Order) {
        self.server.send(MediaOrder { session: SessionId(session), order }).unwrap();
    }

    /// The next event other than `FirstPacket`, `Measured` and `Silent`.
    pub fn event(&self) -> Event {
        loop {
            let MediaEvent { event, .. } = self.events.recv_timeout(PATIENCE).expect("an event");
            if !matches!(event, Event::FirstPacket { .. } | Event::Measured { .. } | Event::Silent { .. }) {
                return event;
            }
        }
    }

    pub fn any_event(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("an event").event
    }

    pub fn allocate(&self, session: u64, leg: u64) -> Event {
        self.order(
            session,
            Order::Allocate { leg: LegId(leg), network: "lan".into(), shared: false, remote: None },
        );
        self.event()
    }

    /// A telephone on a leg that is allocated and configured.
    pub fn phone(&self, session: u64, leg: u64, codec: Codec) -> Phone {
        self.phone_with(session, leg, codec, |_| {})
    }

    pub fn phone_with(
        &self,
        session: u64,
        leg: u64,
        codec: Codec,
        change: impl FnOnce(&mut MediaParameters),
    ) -> Phone {
        let Event::Allocated { rtp_port, .. } = self.allocate(session, leg) else { panic!("refused") };
        let mut phone = Phone::new(codec, rtp_port);
        change(&mut phone.parameters);
        self.configure(session, leg, &phone);
        phone
    }

    pub fn configure(&self, session: u64, leg: u64, phone: &Phone) {
        self.order(session, Order::Configure { leg: LegId(leg), parameters: phone.parameters.clone() });
    }

    pub fn play(&self, session: u64, leg: u64, play: u64, audio: &[u8], times: Option<u16>) {
        let audio = audio.iter().map(|&id| AudioId([id; 32])).collect();
        self.order(session, Order::Play { leg: LegId(leg), play: PlayId(play), audio, times });
    }

    pub fn bridge(&self, session: u64, a: u64, b: u64) {
        self.order(session, Order::Bridge { a: LegId(a), b: LegId(b) });
    }

    pub fn release(&self, session: u64, leg: u64) -> model::media::Quality {
        self.order(session, Order::Release { leg: LegId(leg) });
        match self.event() {
            Event::Released { quality, .. } => *quality,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until so many packets have been taken from all phones.
    pub fn await_received(&self, packets: u64) {
        let begun = Instant::now();
        while self.server.counters().packets_received < packets {
            assert!(begun.elapsed() < PATIENCE, "{:?}", self.server.counters());
            std::thread::yield_now();
        }
    }

    /// Waits until an order has been carried out: a refused allocation answers after it.
    pub fn settle(&self, session: u64) {
        self.order(
            session,
            Order::Allocate { leg: LegId(u64::MAX), network: "nowhere".into(), shared: false, remote: None },
        );
        assert!(matches!(self.event(), Event::Refused { .. }));
    }
}

/// A telephone.
pub struct Phone {
    pub rtp: UdpSocket,
    pub rtcp: UdpSocket,
    pub parameters: MediaParameters,
    pub to: SocketAddr,
    pub header: Header,
    heard: RefCell<Vec<(Header, Vec<u8>)>>,
}

impl Phone {
    pub fn new(codec: Codec, server_port: u16) -> Self {
        let bind = || {
            let socket = UdpSocket::bind((LOCALHOST, 0)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        };
        Self::on(bind(), bind(), codec, (LOCALHOST, server_port).into())
    }

    /// On these sockets, towards that port of the server.
    pub fn on(rtp: UdpSocket, rtcp: UdpSocket, codec: Codec, to: SocketAddr) -> Self {
        let payload_type = codec.payload_type();
        let parameters = MediaParameters {
            codec,
            send_payload_type: payload_type,
            receive_payload_type: payload_type,
            send_telephone_event: Some(101),
            receive_telephone_event: Some(101),
            remote_rtp: rtp.local_addr().unwrap(),
            remote_rtcp: rtcp.local_addr().unwrap(),
            ptime_ms: 20,
            direction: Direction::SendRecv,
            comfort_noise: None,
            rtcp_mux: false,
            srtp: None,
            opus: None,
            peer_first: false,
        };
        let header = Header {
            marker: false,
            payload_type,
            sequence: 65_530,
            timestamp: u32::MAX - 500,
            ssrc: u32::from(to.port()) << 8 | 7,
        };
        Self { rtp, rtcp, parameters, to, header, heard: RefCell::default() }
    }

    /// Sends the next packet of audio.
    pub fn say(&mut self, payload: &[u8]) {
        let header = self.header;
        self.header.sequence = header.sequence.wrapping_add(1);
        self.header.timestamp = header.timestamp.wrapping_add(payload.len() as u32);
        self.send(header, payload);
    }

    /// Sends an event packet for the event that began at `timestamp`.
    pub fn press(&mut self, timestamp: u32, payload: [u8; 4]) {
        let header = Header { payload_type: 101, timestamp, ..self.header };
        self.header.sequence = header.sequence.wrapping_add(1);
        self.send(header, &payload);
    }

    pub fn send(&self, header: Header, payload: &[u8]) {
        self.rtp.send_to(&[&header.to_bytes(), payload].concat(), self.to).unwrap();
    }

    /// The next packet, keep-alives left out.
    pub fn hear(&self) -> (Header, Vec<u8>) {
        loop {
            let (header, payload) = self.hear_any();
            if payload.iter().any(|&octet| octet != 0xff && octet != 0xd5) {
                return (header, payload);
            }
        }
    }

    pub fn hear_any(&self) -> (Header, Vec<u8>) {
        let mut buffer = [0; 2_000];
        let (length, from) = self.rtp.recv_from(&mut buffer).expect("a packet");
        assert_eq!(from, self.to);
        let packet = Packet::parse(&buffer[..length]).unwrap();
        (packet.header, packet.payload.to_vec())
    }

    pub fn hear_many(&self, count: usize) -> Vec<(Header, Vec<u8>)> {
        (0..count).map(|_| self.hear()).collect()
    }

    /// All packets that have come and were not heard yet.
    pub fn peek(&self) -> Vec<(Header, Vec<u8>)> {
        self.rtp.set_nonblocking(true).unwrap();
        let mut buffer = [0; 2_000];
        let mut heard = self.heard.borrow_mut();
        while let Ok(length) = self.rtp.recv(&mut buffer) {
            let packet = Packet::parse(&buffer[..length]).unwrap();
            heard.push((packet.header, packet.payload.to_vec()));
        }
        self.rtp.set_nonblocking(false).unwrap();
        heard.clone()
    }

    /// As [`Phone::peek`]; afterwards they are heard.
    pub fn collect(&self) -> Vec<(Header, Vec<u8>)> {
        self.peek();
        self.heard.take()
    }

    /// Hears packets of this payload type and no others.
    pub fn forget(&self, payload_type: u8) {
        self.heard.borrow_mut().retain(|(header, _)| header.payload_type != payload_type);
    }

    /// Whether nothing but keep-alives waits in the socket.
    pub fn is_quiet(&self) -> bool {
        self.rtp.set_nonblocking(true).unwrap();
        let mut buffer = [0; 2_000];
        let mut quiet = true;
        while let Ok(length) = self.rtp.recv(&mut buffer) {
            quiet &= buffer[12..length].iter().all(|&octet| octet == 0xff || octet == 0xd5);
        }
        self.rtp.set_nonblocking(false).unwrap();
        quiet
    }
}

/// A sound that is like itself at one place only: many frequencies, none of them constant.
pub fn sound(rate: u32, seconds: f64, seed: f64) -> Vec<i16> {
    sound_from(rate, seconds, seed, 0.0)
}

/// The same, begun so many samples later, which may be a part of one.
pub fn sound_from(rate: u32, seconds: f64, seed: f64, later: f64) -> Vec<i16> {
    let length = (f64::from(rate) * seconds) as u32;
    let wave = |at: u32| {
        let t = (f64::from(at) + later) / f64::from(rate);
        let chirp = ((400.0 + seed * 90.0 + 900.0 * t) * t * TAU).sin();
        let beat = ((1_100.0 + seed * 35.0) * t * TAU).sin() * (seed + 9.0 * t * TAU).cos();
        ((chirp + beat) * 7_000.0) as i16
    };
    (0..length).map(wave).collect()
}

pub fn wav(rate: u32, samples: &[i16]) -> AudioSource {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
    samples.iter().for_each(|&sample| writer.write_sample(sample).unwrap());
    writer.finalize().unwrap();
    AudioSource::Wav(file.into_inner().into())
}

/// Prompts named by one byte each, with their length in seconds.
pub fn library(prompts: &[(u8, f64)]) -> Arc<Library> {
    let source = |&(id, seconds)| (AudioId([id; 32]), wav(16_000, &sound(16_000, seconds, id.into())));
    let wanted: BTreeMap<_, _> = prompts.iter().map(source).collect();
    Arc::new(Library::load(&wanted, None).unwrap())
}

/// How alike two sounds are: 1.0 for the same, whatever the volume; 0.0 for unrelated ones.
pub fn correlation(a: &[i16], b: &[i16]) -> f64 {
    let sum =
        |x: &[i16], y: &[i16]| -> f64 { x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum() };
    sum(a, b) / (sum(a, a) * sum(b, b)).sqrt().max(1.0)
}

/// How alike a sound is to the part of another that is most like it.
pub fn best_correlation(heard: &[i16], part: &[i16]) -> f64 {
    let norm = |sound: &[i16]| sound.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
    let part: Vec<f32> = part.iter().map(|&x| f32::from(x)).collect();
    let whole: Vec<f32> = heard.iter().map(|&x| f32::from(x)).collect();
    let of_part = part.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
    let places = 0..(heard.len() + 1).saturating_sub(part.len());
    let alike = |at: usize| {
        let product: f32 = whole[at..].iter().zip(&part).map(|(x, y)| x * y).sum();
        f64::from(product) / (norm(&heard[at..at + part.len()]) * of_part).sqrt().max(1.0)
    };
    places.map(alike).fold(0.0, f64::max)
}

pub fn decoded(codec: Codec, packets: &[(Header, Vec<u8>)]) -> Vec<i16> {
    let law = rtp::g711::Law::from(codec);
    packets.iter().flat_map(|(_, payload)| payload.iter().map(move |&octet| law.decode(octet))).collect()
}

/// Sequence number, timestamp and marker, against the first packet's.
pub fn numbers(packets: &[(Header, Vec<u8>)]) -> Vec<(u16, u32, bool)> {
    let first = packets[0].0;
    let relative = |(header, _): &(Header, Vec<u8>)| {
        assert_eq!(header.ssrc, first.ssrc);
        let sequence = header.sequence.wrapping_sub(first.sequence);
        (sequence, header.timestamp.wrapping_sub(first.timestamp), header.marker)
    };
    packets.iter().map(relative).collect()
}
