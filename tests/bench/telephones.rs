//! Telephones on both sides of a media server, or of two, and what they saw.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use model::media::{Codec, Direction, MediaParameters};
use rtp::packet::Header;

const FRAME: Duration = Duration::from_millis(20);

/// What was seen of one load.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub cost: f64,
    pub p99_us: f64,
}

/// Prints what was seen of ours and of theirs, medians of all rounds.
pub fn figure(name: &str, unit: &str, ours: &[Seen], theirs: &[Seen], of: fn(&Seen) -> f64) {
    let median = |seen: &[Seen]| {
        let mut all: Vec<f64> = seen.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let (ours, theirs) = (median(ours), median(theirs));
    println!("{name} {ours:.2} {unit} sockets {theirs:.2} {:.2}", ours / theirs);
}

/// PCMU with events, to that address.
pub fn parameters(remote: SocketAddr) -> MediaParameters {
    let payload_type = Codec::Pcmu.payload_type();
    MediaParameters {
        codec: Codec::Pcmu,
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
        peer_first: false,
        srtp: None,
        opus: None,
    }
}

/// Processor time of the threads of first workers, in µs. Of servers before, they have ended.
pub fn processor_time() -> f64 {
    let of = |folder: std::path::PathBuf| {
        let name = fs::read_to_string(folder.join("comm")).ok()?;
        let time =
            fs::read_to_string(folder.join("schedstat")).ok().filter(|_| name.starts_with("media-0"))?;
        time.split_whitespace().next()?.parse::<f64>().ok()
    };
    let threads = fs::read_dir("/proc/self/task").unwrap();
    threads.filter_map(|thread| of(thread.ok()?.path())).sum::<f64>() / 1_000.0
}

/// Both sides' telephones.
pub struct Load {
    sockets: [Arc<UdpSocket>; 2],
    pub heard: Arc<AtomicU64>,
    /// Delays, by eighths of a power of two of microseconds.
    delays: Arc<Vec<AtomicU64>>,
    over: Arc<AtomicBool>,
    begun: Instant,
}

impl Load {
    pub fn new(sockets: [Arc<UdpSocket>; 2]) -> Self {
        let delays = Arc::new((0..512).map(|_| AtomicU64::new(0)).collect::<Vec<_>>());
        let load =
            Self { sockets, heard: Arc::default(), delays, over: Arc::default(), begun: Instant::now() };
        for socket in &load.sockets {
            let (socket, heard, delays) =
                (Arc::clone(socket), Arc::clone(&load.heard), Arc::clone(&load.delays));
            let (over, begun) = (Arc::clone(&load.over), load.begun);
            socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            thread::spawn(move || {
                let mut buffer = [0; 2_000];
                while !over.load(Ordering::Relaxed) {
                    let Ok(length) = socket.recv(&mut buffer) else { continue };
                    heard.fetch_add(1, Ordering::Relaxed);
                    if let Some(stamp) = buffer[..length].get(12..20) {
                        let sent = u64::from_be_bytes(stamp.try_into().unwrap());
                        let late = (begun.elapsed().as_nanos() as u64).saturating_sub(sent) / 1_000;
                        let bucket = ((late.max(1) as f64).log2() * 8.0) as usize;
                        delays[bucket.min(511)].fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        load
    }

    /// Speaks for so long, each call in its millisecond of a frame, and returns how many packets were sent.
    pub fn run(&self, to: &[Vec<SocketAddr>; 2], seconds: u64) -> u64 {
        self.heard.store(0, Ordering::Relaxed);
        self.delays.iter().for_each(|bucket| bucket.store(0, Ordering::Relaxed));
        let run = self.begun.elapsed().as_millis() as u32;
        let (start, mut sent) = (Instant::now(), 0);
        for frame in 0..seconds * 50 {
            for slot in 0..20u32 {
                let at = start + FRAME * frame as u32 + Duration::from_millis(slot.into());
                thread::sleep(at.saturating_duration_since(Instant::now()));
                for place in (slot as usize..to[0].len()).step_by(20) {
                    for side in [0, 1] {
                        let header = Header {
                            marker: false,
                            payload_type: 0,
                            sequence: frame as u16,
                            timestamp: frame as u32 * 160,
                            ssrc: (place * 2 + side) as u32 ^ run << 16,
                        };
                        let mut packet = [0x55; 172];
                        packet[..12].copy_from_slice(&header.to_bytes());
                        let stamp = self.begun.elapsed().as_nanos() as u64;
                        packet[12..20].copy_from_slice(&stamp.to_be_bytes());
                        sent += u64::from(self.sockets[side].send_to(&packet, to[side][place]).is_ok());
                    }
                }
            }
        }
        thread::sleep(Duration::from_millis(300));
        sent
    }

    pub fn p99_us(&self) -> f64 {
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
