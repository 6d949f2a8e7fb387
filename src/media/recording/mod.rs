//! Recordings: what legs say, in true time, as WAV or Ogg/Opus, written as it comes.
//!
//! A worker never waits for a disk and never decodes for a recording: a [`Tap`] copies payloads and hands them on some ten
//! times a second to one of a few threads. There they are put in order, decoded, mixed and written ([`take`]), so that
//! what a crash loses is below 2 s: [`take::DELAY`], half a second until it is written, and one until it is on disk. When a
//! thread is too far behind, sound is dropped and replaced by silence, so that what follows stays in its place, and the
//! recording is told to have failed. What is whole is safe on this disk, entered in lists ([`catalogue`]) and told; threads of
//! their own ([`bringer`]) bring it to a far store, which may take its time. Another ([`keeper`]) deletes what is due.

mod bringer;
mod catalogue;
mod keeper;
mod ogg;
mod saver;
mod session;
mod sink;
mod take;
mod thread;
mod track;
mod transcript;
mod wav;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use model::{
    LegId, SessionId,
    media::{Codec, Format, MediaEvent, Recording, RecordingEnd, Voices},
};

pub use self::{
    catalogue::{Catalogue, Swept, Wanted},
    ogg::{Packets, parted, read_packets},
    session::Recordings,
    take::samples,
    thread::{Kept, Recorder, Threads},
    track::Track,
    transcript::{Dictation, Transcriber},
};

/// Octets of sound that may wait for one thread: 40 minutes of G.711 of one leg.
const WAITING_MAX: usize = 20 << 20;
/// A tap hands on what it has after so long, or at so many octets.
const HAND_ON: (Duration, usize) = (Duration::from_millis(100), 4_096);
/// Recordings of a session at the same time.
pub const RECORDINGS_MAX: usize = 4;

/// Names a recording of one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u64);

/// What a thread is told.
#[derive(Debug)]
pub enum Message {
    Begin { id: Id, begin: Box<Begin> },
    Sound { id: Id, sound: Sound },
    Pause { id: Id, paused: bool, at: Instant },
    End { id: Id, end: RecordingEnd, at: Instant, then: Option<MediaEvent> },
    Listen { id: Id, begin: Box<crate::listening::Begin> },
    StopListening { id: Id },
    Stop,
}

#[derive(Debug)]
pub struct Begin {
    session: SessionId,
    what: What,
    wide: bool,
    at: Instant,
    ended: Arc<AtomicBool>,
}

#[derive(Debug)]
enum What {
    /// For the store.
    Recording(Box<Recording>),
    /// A file in the folder, of one leg.
    File(String),
}

/// What a tap has gathered: packets one after the other, each with its head.
#[derive(Debug)]
pub struct Sound {
    leg: LegId,
    packets: Vec<Packet>,
    octets: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
pub struct Packet {
    /// Its RTP time-stamp.
    pub timestamp: u32,
    /// When it came.
    pub at: Instant,
    /// What it holds.
    pub holds: Holds,
    /// Octets of it in `octets`.
    length: u16,
}

/// What a packet holds.
#[derive(Debug, Clone, Copy)]
pub enum Holds {
    Audio(Codec),
    /// A key that has been held for so long, in ticks of `clock`.
    Key {
        duration: u16,
        clock: u32,
    },
}

/// A recording that runs, as its worker knows it.
#[derive(Debug)]
pub struct Active {
    id: Id,
    queue: Queue,
    voices: Voices,
    name: String,
    stop_keys: String,
    ended: Arc<AtomicBool>,
    /// Whether `Released` waits for it.
    is_file: bool,
}

/// Takes what one leg says.
#[derive(Debug)]
pub struct Tap {
    id: Id,
    queue: Queue,
    ended: Arc<AtomicBool>,
    sound: Sound,
    since: Option<Instant>,
    /// It hands on what it has after so long.
    every: Duration,
}

/// The way to a thread.
#[derive(Debug, Clone)]
pub struct Queue {
    sender: mpsc::Sender<Message>,
    /// Octets that wait.
    waiting: Arc<AtomicUsize>,
    /// Packets that found no room.
    dropped: Arc<AtomicUsize>,
}

impl Queue {
    /// A way, and its end.
    pub fn new() -> (Self, mpsc::Receiver<Message>) {
        let (sender, messages) = mpsc::channel();
        (Self { sender, waiting: Arc::default(), dropped: Arc::default() }, messages)
    }

    /// Sound has come out.
    pub fn taken(&self, sound: &Sound) {
        self.waiting.fetch_sub(sound.octets.len(), Ordering::Relaxed);
    }

    /// Sends what is never dropped.
    pub fn send(&self, message: Message) {
        // Its thread ends after all workers have.
        let _ = self.sender.send(message);
    }

    fn send_sound(&self, id: Id, sound: Sound) {
        let octets = sound.octets.len();
        if self.waiting.load(Ordering::Relaxed) + octets > WAITING_MAX {
            self.dropped.fetch_add(sound.packets.len(), Ordering::Relaxed);
            return;
        }
        self.waiting.fetch_add(octets, Ordering::Relaxed);
        self.send(Message::Sound { id, sound });
    }
}

impl Sound {
    const fn new(leg: LegId) -> Self {
        Self { leg, packets: Vec::new(), octets: Vec::new() }
    }

    /// Its packets, with what they hold.
    pub fn packets(&self) -> impl Iterator<Item = (Packet, &[u8])> {
        let mut octets = &self.octets[..];
        self.packets.iter().map(move |packet| {
            let (payload, rest) = octets.split_at(usize::from(packet.length).min(octets.len()));
            octets = rest;
            (*packet, payload)
        })
    }
}

impl Tap {
    /// Takes what a leg says to a thread, until `ended`.
    pub const fn new(id: Id, queue: Queue, ended: Arc<AtomicBool>, leg: LegId, every: Duration) -> Self {
        Self { id, queue, ended, sound: Sound::new(leg), since: None, every }
    }

    /// Takes a packet's audio.
    pub fn audio(&mut self, timestamp: u32, codec: Codec, payload: &[u8], at: Instant) {
        self.take(Packet { timestamp, at, holds: Holds::Audio(codec), length: 0 }, payload);
    }

    /// Takes a packet of a key that has been held for `duration` ticks of `clock`.
    pub fn key(&mut self, timestamp: u32, duration: u16, clock: u32, at: Instant) {
        self.take(Packet { timestamp, at, holds: Holds::Key { duration, clock }, length: 0 }, &[]);
    }

    /// Whether it belongs to a recording.
    pub fn is_of(&self, recording: &Active) -> bool {
        self.id == recording.id
    }

    /// Whether the recording has ended, so that it takes nothing more.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn take(&mut self, packet: Packet, payload: &[u8]) {
        let Ok(length) = u16::try_from(payload.len()) else { return };
        self.sound.packets.push(Packet { length, ..packet });
        self.sound.octets.extend_from_slice(payload);
        let since = *self.since.get_or_insert(packet.at);
        if packet.at.saturating_duration_since(since) >= self.every || self.sound.octets.len() >= HAND_ON.1 {
            self.hand_on();
        }
    }

    fn hand_on(&mut self) {
        self.since = None;
        let next = Sound::new(self.sound.leg);
        let sound = std::mem::replace(&mut self.sound, next);
        if !sound.packets.is_empty() {
            self.queue.send_sound(self.id, sound);
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.hand_on();
    }
}

impl Active {
    /// What takes a leg's voice, if the recording holds it.
    pub fn tap(&self, leg: LegId) -> Option<Tap> {
        let held = match self.voices {
            Voices::One(one) => one == leg,
            Voices::Stereo(left, right) => left == leg || right == leg,
            Voices::Mixed => true,
        };
        let ended = Arc::clone(&self.ended);
        held.then(|| Tap::new(self.id, self.queue.clone(), ended, leg, HAND_ON.0))
    }

    fn pause(&self, paused: bool, at: Instant) {
        self.queue.send(Message::Pause { id: self.id, paused, at });
    }

    /// Ends it. Its taps are gone already: what they took is part of it. `then` is told when it is on disk.
    pub fn end(self, end: RecordingEnd, at: Instant, then: Option<MediaEvent>) {
        self.ended.store(true, Ordering::Relaxed);
        self.queue.send(Message::End { id: self.id, end, at, then });
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// End of a name.
const fn extension(format: Format) -> &'static str {
    match format {
        Format::Wav => ".wav",
        Format::OggOpus => ".opus",
    }
}
