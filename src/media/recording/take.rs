//! One recording on its thread: tracks become channels, channels become frames, and frames go to the sink.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use model::{
    LegId, SessionId,
    kept::About,
    media::{Recorded, RecordingEnd, Voices},
};
use rtp::level::level;

use super::{
    Holds, Sound,
    sink::{Sink, Written},
    track::Track,
};

/// How long a packet is waited for: what it takes to come from its worker, and the jitter of its network.
pub const DELAY: Duration = Duration::from_millis(600);
/// Levels above it are a voice's, in −dBov.
const VOICE: u8 = 50;
/// A voice goes on for so long after it was heard, in milliseconds: words have gaps.
const VOICE_HELD: u64 = 200;
/// Length of a frame in milliseconds.
const FRAME_MS: u64 = 20;
/// A recording's length at most: a day.
const MS_MAX: u64 = 24 * 3_600_000;

/// One recording.
#[derive(Debug)]
pub struct Take {
    /// Whose it is.
    pub session: SessionId,
    /// Its name with its extension.
    pub name: String,
    /// What is known of it in lists.
    pub about: Option<Box<About>>,
    voices: Voices,
    rate: u32,
    max_ms: u64,
    silence_ms: Option<u64>,
    mask_keys: bool,
    begun: Instant,
    /// Samples that all tracks have given.
    taken: u64,
    tracks: BTreeMap<LegId, Track>,
    /// When it pauses and goes on, in samples.
    pauses: VecDeque<(u64, bool)>,
    paused: bool,
    channels: Vec<Vec<i16>>,
    sink: Sink,
    ms: u64,
    sound_ms: u64,
    silent_ms: u64,
    /// Milliseconds for which the last voice still counts.
    held_ms: u64,
    /// Packets that the queue had no room for when it began.
    dropped_before: usize,
    ended: Arc<AtomicBool>,
}

/// What a recording is to be.
#[derive(Debug)]
pub struct Plan {
    /// Whose it is.
    pub session: SessionId,
    /// Its name with its extension.
    pub name: String,
    /// What is known of it in lists.
    pub about: Option<Box<About>>,
    /// Whose voices.
    pub voices: Voices,
    /// Samples a second: 8,000 or 16,000.
    pub rate: u32,
    /// Longest, in milliseconds.
    pub max_ms: Option<u32>,
    /// Silence that ends it.
    pub silence_ms: Option<u32>,
    /// Whether keys are left out.
    pub mask_keys: bool,
    /// When it begins.
    pub begun: Instant,
    /// Told to the worker when it has ended by itself.
    pub ended: Arc<AtomicBool>,
    /// Packets that the queue had no room for so far.
    pub dropped_before: usize,
}

impl Plan {
    /// Channels of the file.
    pub const fn channels(&self) -> u16 {
        match self.voices {
            Voices::Stereo(..) => 2,
            Voices::One(_) | Voices::Mixed => 1,
        }
    }
}

impl Take {
    /// Begins.
    pub fn new(plan: Plan, sink: Sink) -> Self {
        let frame = (plan.rate / 50) as usize;
        let channels = vec![vec![0; frame]; plan.channels().into()];
        let Plan {
            about,
            session,
            name,
            voices,
            rate,
            max_ms,
            silence_ms,
            mask_keys,
            begun,
            ended,
            dropped_before,
        } = plan;
        Self {
            session,
            name,
            about,
            voices,
            rate,
            max_ms: max_ms.map_or(MS_MAX, u64::from).min(MS_MAX),
            silence_ms: silence_ms.map(u64::from),
            mask_keys,
            begun,
            taken: 0,
            tracks: BTreeMap::new(),
            pauses: VecDeque::new(),
            paused: false,
            channels,
            sink,
            ms: 0,
            sound_ms: 0,
            silent_ms: 0,
            held_ms: 0,
            dropped_before,
            ended,
        }
    }

    /// Takes what a tap has gathered.
    pub fn hear(&mut self, sound: &Sound) {
        let (rate, taken) = (self.rate, self.taken);
        let begun = self.begun;
        let track = self.tracks.entry(sound.leg).or_insert_with(|| Track::new(rate, taken));
        for (packet, payload) in sound.packets() {
            let arrived = samples(packet.at.saturating_duration_since(begun), rate);
            match packet.holds {
                Holds::Audio(codec) => track.packet(packet.timestamp, codec, payload, arrived),
                Holds::Key { duration, clock } if self.mask_keys => {
                    track.key(packet.timestamp, duration, clock, arrived);
                }
                Holds::Key { .. } => {}
            }
        }
    }

    /// Pauses, or goes on.
    pub fn pause(&mut self, paused: bool, at: Instant) {
        let at = samples(at.saturating_duration_since(self.begun), self.rate);
        self.pauses.push_back((at, paused));
    }

    /// Writes what is due. Tells how it has ended if it has by itself.
    pub fn advance(&mut self, now: Instant) -> Option<RecordingEnd> {
        let due = now.checked_sub(DELAY).unwrap_or(self.begun);
        self.advance_to(samples(due.saturating_duration_since(self.begun), self.rate))
    }

    /// Writes all up to a moment, and what has come of later.
    pub fn advance_to_end(&mut self, at: Instant) {
        let known = self.tracks.values().map(Track::known_until).max().unwrap_or(0);
        let end = samples(at.saturating_duration_since(self.begun), self.rate);
        let latest = end + u64::from(self.rate) * 5;
        let _ = self.advance_to(end.max(known.min(latest)).next_multiple_of(self.frame()));
    }

    fn advance_to(&mut self, end: u64) -> Option<RecordingEnd> {
        while self.taken + self.frame() <= end {
            self.take_frame();
            if self.ms >= self.max_ms {
                self.ended.store(true, Ordering::Relaxed);
                return Some(RecordingEnd::Full);
            }
            if self.silence_ms.is_some_and(|most| self.silent_ms >= most) {
                self.ended.store(true, Ordering::Relaxed);
                return Some(RecordingEnd::Silence);
            }
        }
        None
    }

    /// Ends it: what is told, and what is to be stored. `dropped`: packets that the queue had no room for until now.
    pub fn finish(self, end: RecordingEnd, dropped: usize) -> (Recorded, Written) {
        let lost: u64 = self.tracks.values().map(Track::lost).sum();
        tracing::debug!(session = %self.session, name = self.name, ?end, lost, "recording ends");
        let mut written = self.sink.finish();
        let dropped = dropped.saturating_sub(self.dropped_before);
        if dropped > 0 {
            let why = format!("the disk was too slow: up to {dropped} packets are silence");
            written.failed.get_or_insert(why);
        }
        let (ms, sound_ms, bytes) = (self.ms, self.sound_ms, written.bytes);
        (Recorded { name: self.name, end, ms, sound_ms, bytes, failed: written.failed.clone() }, written)
    }

    const fn frame(&self) -> u64 {
        (self.rate / 50) as u64
    }

    fn take_frame(&mut self) {
        let at = self.taken;
        self.taken += self.frame();
        let mut frame = vec![0; self.frame() as usize];
        let mut loudest = u8::MAX;
        self.channels.iter_mut().for_each(|channel| channel.fill(0));
        for (leg, track) in &mut self.tracks {
            if self.mask_keys {
                track.mask_tones(at, self.rate / 10);
            }
            track.fill(at, &mut frame);
            loudest = loudest.min(level(&frame));
            let channel = match self.voices {
                Voices::One(_) | Voices::Mixed => 0,
                Voices::Stereo(left, _) => usize::from(left != *leg),
            };
            if let Some(channel) = self.channels.get_mut(channel) {
                for (sum, &sample) in channel.iter_mut().zip(&frame) {
                    *sum = sum.saturating_add(sample);
                }
            }
        }
        while let Some((_, paused)) = self.pauses.pop_front_if(|(from, _)| *from <= at) {
            self.paused = paused;
        }
        if self.paused || self.sink.has_failed() {
            return;
        }
        self.sink.frame(&self.channels);
        self.ms += FRAME_MS;
        self.held_ms = if loudest <= VOICE { VOICE_HELD } else { self.held_ms.saturating_sub(FRAME_MS) };
        if self.held_ms > 0 {
            self.sound_ms += FRAME_MS;
            self.silent_ms = 0;
        } else {
            self.silent_ms += FRAME_MS;
        }
    }
}

/// Samples in a span of time.
pub fn samples(span: Duration, rate: u32) -> u64 {
    (span.as_micros() * u128::from(rate) / 1_000_000) as u64
}
