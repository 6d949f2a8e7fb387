//! Recordings: one leg's sound in a WAV file, 16 bits at 8 kHz, in true time.
//!
//! A worker never waits for a disk: it puts the sound in order and hands it on by the second to one thread that
//! writes. When that thread is too far behind, sound is dropped and replaced by silence, so what follows stays in
//! its place.

use std::{
    collections::BTreeMap,
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use hound::{SampleFormat, WavSpec, WavWriter};
use link::MediaEvents;
use model::media::MediaEvent;
use rtp::{CLOCK_RATE, g711::Law, jitter::JitterBuffer, samples, samples_in};

/// Blocks that may wait for the disk: of a second each, 64 MiB in all.
const BLOCKS_MAX: usize = 4_096;
/// Samples of a block.
const BLOCK: usize = CLOCK_RATE as usize;
/// How long a late packet is waited for, in milliseconds; the most is for a peer whose clock differs from ours.
const DELAY_MS: (u32, u32) = (200, 500);
/// Samples taken from the jitter buffer at a time.
const STEP: usize = 160;
/// A recording's length at most, in samples: a day.
const LENGTH_MAX: u64 = 24 * 3_600 * CLOCK_RATE as u64;

/// The thread that writes. Ends when dropped, after all that was handed to it is on disk.
#[derive(Debug)]
pub struct Recorder {
    writer: Writer,
    thread: Option<JoinHandle<()>>,
}

/// Hands sound to the thread.
#[derive(Debug, Clone)]
pub struct Writer {
    folder: Arc<Path>,
    queue: mpsc::Sender<Order>,
    waiting: Arc<AtomicUsize>,
    names: Arc<AtomicUsize>,
}

enum Order {
    Open { file: usize, path: PathBuf },
    Block { file: usize, at: u64, samples: Vec<i16> },
    Close { file: usize, length: u64, then: MediaEvent },
    End,
}

/// One leg's recording.
#[derive(Debug)]
pub struct Recording {
    writer: Writer,
    file: usize,
    buffer: JitterBuffer,
    begun: Instant,
    /// Samples taken from the buffer.
    pulled: u64,
    /// Samples at the beginning that the buffer's delay has put there.
    lead: u64,
    block: Vec<i16>,
    /// Samples handed on, or dropped.
    written: u64,
}

/// Why a name cannot be a recording's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a recording's name must be 1 to 200 characters without `/`, `..` or a dot in front")]
pub struct BadName;

impl Recorder {
    /// Starts the thread; recordings go to `folder`, which exists.
    pub fn start(folder: PathBuf, events: Arc<dyn MediaEvents>) -> std::io::Result<Self> {
        let (queue, orders) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&waiting);
        let run = move || write_all(&orders, &counter, &*events);
        let thread = thread::Builder::new().name("media-recorder".into()).spawn(run)?;
        let writer = Writer { folder: folder.into(), queue, waiting, names: Arc::default() };
        Ok(Self { writer, thread: Some(thread) })
    }

    /// What hands sound to it.
    pub fn writer(&self) -> Writer {
        self.writer.clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.writer.queue.send(Order::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Writer {
    /// Begins a recording at this moment. A file of that name is written over.
    ///
    /// # Errors
    /// [`BadName`].
    pub fn begin(&self, name: &str, now: Instant) -> Result<Recording, BadName> {
        let file = self.names.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(checked(name)?);
        let _ = self.queue.send(Order::Open { file, path });
        let buffer = JitterBuffer::new(DELAY_MS.0, DELAY_MS.1);
        let lead = u64::from(samples(DELAY_MS.0));
        Ok(Recording {
            writer: self.clone(),
            file,
            buffer,
            begun: now,
            pulled: 0,
            lead,
            block: Vec::new(),
            written: 0,
        })
    }
}

impl Recording {
    /// Takes a packet's audio.
    pub fn push(&mut self, timestamp: u32, law: Law, payload: &[u8], now: Instant) {
        self.advance(now);
        self.buffer.push(timestamp, payload.iter().map(|&octet| law.decode(octet)));
    }

    /// Takes the time that has passed into account; to be called now and then while no packet comes.
    pub fn advance(&mut self, now: Instant) {
        self.pull_until(self.elapsed(now));
    }

    /// Ends it. The event is told when the file is whole.
    pub fn finish(mut self, then: MediaEvent, now: Instant) {
        self.advance(now);
        // What came ahead of its time is heard too.
        let heard = (self.pulled + u64::from(self.buffer.pending())).saturating_sub(self.lead);
        let length = self.elapsed(now).max(heard).min(LENGTH_MAX);
        self.pull_until((length + self.lead).next_multiple_of(STEP as u64));
        self.hand_on();
        let _ = self.writer.queue.send(Order::Close { file: self.file, length, then });
    }

    fn elapsed(&self, now: Instant) -> u64 {
        // In steps, since `samples_in` ends at six days.
        u64::from(samples_in(now.saturating_duration_since(self.begun))).min(LENGTH_MAX)
    }

    fn pull_until(&mut self, end: u64) {
        let mut step = [0; STEP];
        while self.pulled + STEP as u64 <= end {
            self.buffer.pull(&mut step);
            let skip = self.lead.saturating_sub(self.pulled).min(STEP as u64) as usize;
            self.pulled += STEP as u64;
            self.block.extend_from_slice(&step[skip..]);
            if self.block.len() >= BLOCK {
                self.hand_on();
            }
        }
    }

    fn hand_on(&mut self) {
        let samples = std::mem::take(&mut self.block);
        let (at, file) = (self.written, self.file);
        self.written += samples.len() as u64;
        if self.writer.waiting.fetch_add(1, Ordering::Relaxed) < BLOCKS_MAX {
            let _ = self.writer.queue.send(Order::Block { file, at, samples });
        } else {
            self.writer.waiting.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!(file, "the disk is too slow for the recordings: one second dropped");
        }
    }
}

fn checked(name: &str) -> Result<&str, BadName> {
    let strange = |character: char| character == '/' || character == '\\' || character.is_control();
    let bad = name.is_empty()
        || name.len() > 200
        || name.starts_with('.')
        || name.contains("..")
        || name.contains(strange);
    if bad { Err(BadName) } else { Ok(name) }
}

struct Open {
    path: PathBuf,
    wav: WavWriter<BufWriter<File>>,
    length: u64,
}

impl Open {
    fn new(path: PathBuf) -> Result<Self, hound::Error> {
        let spec = WavSpec {
            channels: 1,
            sample_rate: CLOCK_RATE,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let wav = WavWriter::create(&path, spec)?;
        Ok(Self { path, wav, length: 0 })
    }

    fn write(&mut self, at: u64, samples: &[i16]) -> Result<(), hound::Error> {
        self.silence_until(at)?;
        self.length += samples.len() as u64;
        samples.iter().try_for_each(|&sample| self.wav.write_sample(sample))
    }

    fn silence_until(&mut self, at: u64) -> Result<(), hound::Error> {
        while self.length < at {
            self.wav.write_sample(0i16)?;
            self.length += 1;
        }
        Ok(())
    }

    fn close(mut self, length: u64) -> Result<(), hound::Error> {
        self.silence_until(length)?;
        self.wav.finalize()
    }
}

fn write_all(orders: &mpsc::Receiver<Order>, waiting: &AtomicUsize, events: &dyn MediaEvents) {
    let mut files = BTreeMap::new();
    for order in orders {
        match order {
            Order::Open { file, path } => match Open::new(path.clone()) {
                Ok(open) => _ = files.insert(file, open),
                Err(error) => tracing::error!(path = %path.display(), %error, "a recording cannot begin"),
            },
            Order::Block { file, at, samples } => {
                waiting.fetch_sub(1, Ordering::Relaxed);
                write_block(&mut files, file, at, &samples);
            }
            Order::Close { file, length, then } => {
                close(files.remove(&file), length);
                events.send(then);
            }
            Order::End => return,
        }
    }
}

fn write_block(files: &mut BTreeMap<usize, Open>, file: usize, at: u64, samples: &[i16]) {
    // One that could not begin, or has failed, is gone: its error has been told.
    let Some(open) = files.get_mut(&file) else { return };
    if let Err(error) = open.write(at, samples) {
        tracing::error!(path = %open.path.display(), %error, "a recording breaks off");
        files.remove(&file);
    }
}

fn close(open: Option<Open>, length: u64) {
    let Some(open) = open else { return };
    let path = open.path.clone();
    match open.close(length) {
        Ok(()) => tracing::debug!(path = %path.display(), "recording is whole"),
        Err(error) => tracing::error!(path = %path.display(), %error, "a recording cannot be ended"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::{LegId, SessionId, media::Event};

    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        for good in ["call-1.wav", "a b", "ü.wav"] {
            assert_eq!(checked(good), Ok(good));
        }
        for bad in ["", ".hidden", "..", "a/b", "/etc/x", "../x", "a\\b", "a\0b", &"x".repeat(201)] {
            assert_eq!(checked(bad), Err(BadName), "{bad}");
        }
    }

    #[test]
    fn a_recording_has_its_sound_in_true_time() {
        let folder = tempfile::tempdir().unwrap();
        let (events, received) = link::event_queue(4);
        let recorder = Recorder::start(folder.path().into(), events).unwrap();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut recording = recorder.writer().begin("one.wav", start).unwrap();
        let octets = |value: i16| [Law::Mu.encode(value); 160];
        // Two packets out of order at 1 s; nothing for 2 s; one more; the end half a second later.
        recording.push(160, Law::Mu, &octets(2_000), at(1_000));
        recording.push(0, Law::Mu, &octets(1_000), at(1_001));
        recording.push(160 * 101, Law::Mu, &octets(3_000), at(3_000));
        let then = MediaEvent { session: SessionId(1), event: Event::FirstPacket { leg: LegId(1) } };
        recording.finish(then.clone(), at(3_500));
        assert_eq!(received.recv().unwrap(), then);
        drop(recorder);
        let mut wav = hound::WavReader::open(folder.path().join("one.wav")).unwrap();
        let sound: Vec<i16> = wav.samples().map(Result::unwrap).collect();
        let place = |value: i16| sound.iter().position(|&x| (x - value).abs() < 100).unwrap();
        assert_eq!((place(2_000), place(1_000), place(3_000)), (8_000, 7_840, 24_000));
        assert_eq!(sound.len(), 28_000);
    }
}
