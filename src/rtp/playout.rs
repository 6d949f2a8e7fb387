//! An adaptive jitter buffer: packets of uneven arrival become an even stream of samples, as early as their jitter allows.
//!
//! Where [`crate::jitter`] holds samples for a reader that has the time, this holds payloads until their moment, so that what is
//! lost can be recovered or concealed by the codec. A packet's *relative delay* is its transit against the least of the last
//! seconds; the buffer plays everything a *target* after that least transit, and the target is what all but a fiftieth of the packets
//! arrive within ([`delays`]). Where it plays later or earlier than it should, it moves there unheard: in the pauses that a sender
//! leaves out (comfort noise, DTX) at once, else by single pitch periods ([`stretch`]).
//!
//! A gap in the timestamps without one in the sequence numbers is a pause (RFC 3551 §4.1), with one it is a loss. While nothing
//! has come at all, sound is made up and the time is *owed*: if what comes then is what was waited for, the delay has grown; if it
//! comes after a gap, the debt is part of the gap.

use std::{collections::VecDeque, time::Instant};

use crate::{
    codec::{Decoder, SAMPLES_MAX},
    comfort_noise::{Generator, Noise},
    packet::{Header, timestamp_distance},
};

mod delays;
mod stretch;

use self::{delays::Delays, stretch::Fifo};

/// Packets that wait at most: 640 ms of 10 ms each.
pub const PACKETS_MAX: usize = 64;
/// Largest payload that is taken.
pub const PAYLOAD_MAX: usize = 1_500;
/// Delay that a buffer can be asked for at most, in milliseconds.
pub const DELAY_MAX_MS: u32 = 500;

/// A timestamp this far from the newest is that of another clock, in seconds.
const JUMP_SECONDS: i64 = 10;
/// What is played earlier than the target by less than this is left so, in microseconds; of each millisecond more, packets miss
/// it.
const EARLY_ENOUGH: i64 = 1_000;
/// Where it is earlier by more than this, a gap is time to wait for what is missing in it.
const TOO_EARLY: i64 = 10_000;
/// Longest period that is taken out at once.
const PERIOD_MAX: i64 = 15_000;
/// Beyond this the likeness of two pitch periods matters less.
const FAR: i64 = 60_000;

/// The buffer of one source.
#[derive(Debug)]
pub struct Playout {
    clock_rate: u32,
    delays: Delays,
    source: Option<Source>,
    /// By timestamp, the earliest first.
    waiting: VecDeque<Slot>,
    spare: Vec<Vec<u8>>,
    fifo: Option<Fifo>,
    noise: Option<Box<Generator>>,
    counts: Counts,
}

/// What has happened to a stream since its beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets taken.
    pub received: u64,
    /// Packets that came after their time, and were lost by that.
    pub late: u64,
    /// Packets that came so early that others had to go.
    pub early: u64,
    /// Packets that never came, or too late, or could not be decoded.
    pub lost: u64,
    /// Of these: recovered from the packet after them.
    pub recovered: u64,
    /// Sound that was made up, in microseconds: for what was lost, and for what came later than it should.
    pub concealed_us: u64,
    /// All sound that was played since the first packet, in microseconds.
    pub played_us: u64,
    /// Sound taken out to play earlier, in microseconds.
    pub shortened_us: u64,
    /// Sound put in to play later, in microseconds.
    pub lengthened_us: u64,
}

/// What a packet holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Sound that lasts so long, in timestamp units ([`crate::codec::duration`]).
    Sound(u32),
    /// Comfort noise (RFC 3389), until sound comes again.
    Noise(Noise),
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It will be heard.
    Kept,
    /// It came after its time.
    Late,
    /// It is there already, or has no sound, or too much.
    Ignored,
    /// It is of another source or clock: the stream begins anew with it.
    Restarted,
}

/// What a piece of sound is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulled {
    /// Nothing has come yet, or the first packet has to wait: silence.
    Nothing,
    /// What was said.
    Sound,
    /// A pause that the sender left out.
    Pause,
    /// Some or all of it is made up.
    Concealed,
}

#[derive(Debug)]
struct Source {
    ssrc: u32,
    /// Timestamp and sequence number of the newest packet, carried on beyond their bits.
    newest: (i64, i64),
    begun: Instant,
    next: Option<Next>,
    /// Which of the 64 sequence numbers before the next one have been heard, the last one lowest.
    heard: u64,
    /// Until when the reader has sound, in microseconds since the beginning.
    read: i64,
}

/// What is to be played next.
#[derive(Debug, Clone, Copy)]
struct Next {
    timestamp: i64,
    sequence: i64,
    /// How long the packet before was.
    duration: i64,
    /// Timestamp units that were made up while nothing was there.
    owed: i64,
    /// Whether the sender has said that it pauses.
    pausing: bool,
}

/// When it is, in microseconds since the beginning.
#[derive(Debug, Clone, Copy)]
struct Moment {
    /// When the reader has asked: what is to be decoded must have come by now.
    asked: i64,
    /// For how long it has asked.
    span: i64,
    /// When the sound that is made next will be heard.
    heard: i64,
}

#[derive(Debug)]
struct Slot {
    timestamp: i64,
    sequence: i64,
    content: Content,
    payload: Vec<u8>,
}

impl Playout {
    /// A buffer for a codec's RTP clock, whose target moves from `delay_min_ms` to `delay_max_ms` ([`DELAY_MAX_MS`] at most).
    #[must_use]
    pub fn new(clock_rate: u32, delay_min_ms: u32, delay_max_ms: u32) -> Self {
        Self {
            clock_rate: clock_rate.max(8_000),
            delays: Delays::new(delay_min_ms.min(DELAY_MAX_MS), delay_max_ms.min(DELAY_MAX_MS)),
            source: None,
            waiting: VecDeque::new(),
            spare: Vec::new(),
            fifo: None,
            noise: None,
            counts: Counts::default(),
        }
    }

    /// Takes a packet.
    pub fn push(&mut self, now: Instant, header: &Header, content: Content, payload: &[u8]) -> Pushed {
        let too_long = i64::from(self.clock_rate) * 120 / 1_000;
        let right = match content {
            Content::Sound(duration) => {
                duration > 0 && i64::from(duration) <= too_long && payload.len() <= PAYLOAD_MAX
            }
            Content::Noise(_) => true,
        };
        if !right {
            return Pushed::Ignored;
        }
        let restarted = self.follow(now, header);
        let Some(source) = &mut self.source else { return Pushed::Ignored };
        let timestamp =
            source.newest.0 + i64::from(timestamp_distance(source.newest.0 as u32, header.timestamp));
        let ahead = header.sequence.wrapping_sub(source.newest.1 as u16).cast_signed();
        let sequence = source.newest.1 + i64::from(ahead);
        source.newest = (source.newest.0.max(timestamp), source.newest.1.max(sequence));
        let (arrival, next, heard) = (micros(source.begun, now), source.next, source.heard);
        if matches!(content, Content::Sound(_)) {
            self.delays.receive(arrival, self.media(timestamp));
        }
        if let Some(next) = next.filter(|next| timestamp < next.timestamp) {
            let before = next.sequence - 1 - sequence;
            let again = (0..64).contains(&before) && heard >> before & 1 == 1;
            if again || matches!(content, Content::Noise(_)) {
                return Pushed::Ignored;
            }
            self.counts.late += 1;
            return Pushed::Late;
        }
        let place = self.waiting.partition_point(|slot| slot.timestamp < timestamp);
        if self.waiting.get(place).is_some_and(|slot| slot.timestamp == timestamp) {
            return Pushed::Ignored;
        }
        self.counts.received += 1;
        self.keep(place, Slot { timestamp, sequence, content, payload: Vec::new() }, payload);
        if restarted { Pushed::Restarted } else { Pushed::Kept }
    }

    /// Fills `out` with what is to be heard from `now` on; to be called once for every so many samples of the decoder's rate.
    pub fn pull(&mut self, now: Instant, decoder: &mut Decoder, out: &mut [i16]) -> Pulled {
        let Some(source) = &self.source else {
            out.fill(0);
            return Pulled::Nothing;
        };
        let asked = micros(source.begun, now);
        let rate = decoder.sample_rate();
        let mut fifo = match self.fifo.take() {
            Some(fifo) if fifo.rate() == rate => fifo,
            _ => Fifo::new(rate),
        };
        let span_asked = span(out.len(), rate).cast_signed();
        let mut read = asked;
        let mut pulled = None;
        for out in out.chunks_mut(Fifo::piece(rate)) {
            while fifo.len() < out.len() {
                let wanted = out.len() - fifo.len();
                let moment = Moment { asked, span: span_asked, heard: read + fifo.held() };
                let made = self.make(moment, decoder, &mut fifo, wanted);
                pulled = Some(pulled.map_or(made, |before: Pulled| before.worse(made)));
            }
            fifo.take(out);
            read += span(out.len(), rate).cast_signed();
        }
        if let Some(source) = &mut self.source {
            source.read = read;
            if source.next.is_some() {
                self.counts.played_us += span(out.len(), rate);
            }
        }
        self.fifo = Some(fifo);
        pulled.unwrap_or(Pulled::Sound)
    }

    /// What has happened until now.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Delay that is aimed at, in milliseconds after a packet of the least transit.
    #[must_use]
    pub fn target_ms(&self) -> u32 {
        u32::try_from(self.delays.target() / 1_000).unwrap_or(0)
    }

    /// Delay that is played with, in milliseconds, likewise. None: nothing is being played.
    #[must_use]
    pub fn delay_ms(&self) -> Option<u32> {
        let source = self.source.as_ref()?;
        let held = self.fifo.as_ref().map_or(0, Fifo::held);
        let delay = self.excess(source.read + held)? + self.delays.target();
        u32::try_from(delay / 1_000).ok()
    }

    /// Packets that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Timestamp units as microseconds.
    fn media(&self, ticks: i64) -> i64 {
        ticks.saturating_mul(1_000_000) / i64::from(self.clock_rate)
    }

    fn ticks(&self, samples: usize, rate: u32) -> i64 {
        samples as i64 * i64::from(self.clock_rate) / i64::from(rate)
    }

    fn samples(&self, ticks: i64, rate: u32) -> usize {
        usize::try_from(ticks * i64::from(rate) / i64::from(self.clock_rate)).unwrap_or(0)
    }

    /// Begins with the first packet, and anew with those that do not belong to the ones before. Says whether it was anew.
    fn follow(&mut self, now: Instant, header: &Header) -> bool {
        let jump = JUMP_SECONDS * i64::from(self.clock_rate);
        let far = |source: &Source| {
            i64::from(timestamp_distance(source.newest.0 as u32, header.timestamp)).abs() > jump
        };
        let anew = match &self.source {
            Some(source) if source.ssrc == header.ssrc && !far(source) => return false,
            Some(_) => true,
            None => false,
        };
        while let Some(slot) = self.waiting.pop_front() {
            self.spare.push(slot.payload);
        }
        self.delays.forget();
        let newest = (i64::from(header.timestamp), i64::from(header.sequence));
        self.source = Some(Source { ssrc: header.ssrc, newest, begun: now, next: None, heard: 0, read: 0 });
        anew
    }

    fn keep(&mut self, place: usize, mut slot: Slot, payload: &[u8]) {
        let mut place = place;
        if self.waiting.len() == PACKETS_MAX
            && let Some(first) = self.waiting.pop_front()
        {
            self.counts.early += 1;
            self.spare.push(first.payload);
            place = place.saturating_sub(1);
        }
        slot.payload = self.spare.pop().unwrap_or_default();
        slot.payload.clear();
        slot.payload.extend_from_slice(payload);
        self.waiting.insert(place, slot);
    }

    /// How much later than it should, in microseconds, the next sample is played if that is at `at`.
    fn excess(&self, at: i64) -> Option<i64> {
        let next = self.source.as_ref()?.next?;
        Some(at - self.media(next.timestamp) - self.delays.least()? - self.delays.target())
    }

    /// Makes some more sound; at least one sample.
    fn make(&mut self, moment: Moment, decoder: &mut Decoder, fifo: &mut Fifo, wanted: usize) -> Pulled {
        let Some(source) = &self.source else { return fifo.silence(wanted) };
        let Some(next) = source.next else { return self.await_first(moment, decoder, fifo, wanted) };
        let Some(front) = self.waiting.front() else { return self.await_next(next, decoder, fifo, wanted) };
        let gap = front.timestamp - next.timestamp;
        let consecutive = front.sequence <= next.sequence;
        if let Content::Noise(noise) = front.content {
            if gap <= next.owed || consecutive || next.pausing {
                return self.begin_pause(next, noise, decoder, fifo, wanted);
            }
        } else if gap > 0 && (consecutive || next.pausing) {
            return self.end_pause(moment, next, decoder, fifo, wanted);
        }
        if gap > next.owed {
            if self.excess(moment.asked).is_some_and(|excess| excess < -TOO_EARLY) {
                // Not owed: it is played that much later from here on.
                fifo.add(wanted, |out| decoder.conceal(out));
                self.counts.concealed_us += span(wanted, fifo.rate());
                return Pulled::Concealed;
            }
            return self.fill_gap(next, gap, decoder, fifo);
        }
        if gap > 0 {
            // What was made up has filled the gap.
            let missing = (front.sequence - next.sequence).max(0);
            self.counts.lost += missing.unsigned_abs();
            let (timestamp, sequence) = (front.timestamp, front.sequence);
            let owed = (next.owed - gap).max(0);
            self.set(Next { timestamp, sequence, owed, ..next });
            return self.make(moment, decoder, fifo, wanted);
        }
        self.play(moment, next, decoder, fifo)
    }

    fn set(&mut self, next: Next) {
        if let Some(source) = &mut self.source {
            let passed = source.next.map_or(0, |before| (next.sequence - before.sequence).clamp(0, 64));
            source.heard = source.heard.checked_shl(passed as u32).unwrap_or(0);
            source.next = Some(next);
        }
    }

    fn await_first(
        &mut self,
        moment: Moment,
        decoder: &mut Decoder,
        fifo: &mut Fifo,
        wanted: usize,
    ) -> Pulled {
        let first = self.waiting.front().map(|slot| (slot.timestamp, slot.sequence));
        let Some((timestamp, sequence)) = first else { return fifo.silence(wanted) };
        self.set(Next { timestamp, sequence, duration: 0, owed: 0, pausing: true });
        if self.excess(moment.asked).is_some_and(|excess| excess < 0) {
            // Others may come before it yet.
            if let Some(source) = &mut self.source {
                source.next = None;
            }
            return fifo.silence(wanted);
        }
        self.make(moment, decoder, fifo, wanted)
    }

    /// Nothing is there.
    fn await_next(&mut self, next: Next, decoder: &mut Decoder, fifo: &mut Fifo, wanted: usize) -> Pulled {
        if next.pausing {
            return self.pause(decoder, fifo, wanted);
        }
        let length = wanted.min(SAMPLES_MAX);
        fifo.add(length, |out| decoder.conceal(out));
        self.set(Next { owed: next.owed.saturating_add(self.ticks(length, fifo.rate())), ..next });
        self.counts.concealed_us += span(length, fifo.rate());
        Pulled::Concealed
    }

    fn pause(&mut self, decoder: &mut Decoder, fifo: &mut Fifo, wanted: usize) -> Pulled {
        match &mut self.noise {
            Some(noise) => fifo.add(wanted, |out| noise.fill(out)),
            // Opus goes on by itself; others fade out.
            None => fifo.add(wanted, |out| decoder.conceal(out)),
        }
        Pulled::Pause
    }

    fn begin_pause(
        &mut self,
        next: Next,
        noise: Noise,
        decoder: &mut Decoder,
        fifo: &mut Fifo,
        wanted: usize,
    ) -> Pulled {
        if let Some(slot) = self.waiting.pop_front() {
            self.counts.lost += (slot.sequence - next.sequence).max(0).unsigned_abs();
            let timestamp = slot.timestamp.max(next.timestamp);
            self.set(Next { timestamp, sequence: slot.sequence + 1, owed: 0, pausing: true, ..next });
            self.spare.push(slot.payload);
        }
        // Not the source's identifier: two legs of one peer should not sound alike either.
        let seed = self.counts.received as u32 | 1;
        self.noise.get_or_insert_with(|| Box::new(Generator::new(seed))).set(&noise);
        self.pause(decoder, fifo, wanted)
    }

    /// Sound comes after a pause: it is played when it should, and what the pause is longer or shorter by nobody hears.
    fn end_pause(
        &mut self,
        moment: Moment,
        next: Next,
        decoder: &mut Decoder,
        fifo: &mut Fifo,
        wanted: usize,
    ) -> Pulled {
        let Some(front) = self.waiting.front() else { return fifo.silence(wanted) };
        let (timestamp, sequence) = (front.timestamp, front.sequence);
        let lost = (sequence - next.sequence).max(0).unsigned_abs();
        let begun = Next { timestamp, sequence, owed: 0, pausing: true, ..next };
        let heard = self.source.as_ref().map_or(0, |source| source.heard);
        self.set(begun);
        if self.excess(moment.asked).is_some_and(|excess| excess < 0) {
            // Not yet: an earlier packet may still come.
            if let Some(source) = &mut self.source {
                (source.next, source.heard) = (Some(Next { pausing: true, ..next }), heard);
            }
            return self.pause(decoder, fifo, wanted);
        }
        self.counts.lost += lost;
        self.noise = None;
        self.make(moment, decoder, fifo, wanted)
    }

    /// A packet is there, and what belongs before it is not.
    fn fill_gap(&mut self, next: Next, gap: i64, decoder: &mut Decoder, fifo: &mut Fifo) -> Pulled {
        let Some(front) = self.waiting.front() else { return fifo.silence(1) };
        let usual = if next.duration > 0 { next.duration } else { gap };
        let missing = gap - next.owed;
        // The last of the missing packets is the one that the packet behind it may tell of.
        let last = missing <= usual;
        let ticks = missing.min(usual).min(i64::from(self.clock_rate) * 60 / 1_000);
        let length = self.samples(ticks, fifo.rate()).max(1);
        if last && next.owed == 0 {
            fifo.add(length, |out| decoder.recover(&front.payload, out));
            self.counts.recovered += u64::from(decoder.recovers(&front.payload));
        } else {
            fifo.add(length, |out| decoder.conceal(out));
        }
        let packets = if last { (front.sequence - next.sequence).max(0) } else { 1 };
        self.counts.lost += packets.unsigned_abs();
        self.counts.concealed_us += span(length, fifo.rate());
        let timestamp = next.timestamp + ticks + next.owed;
        self.set(Next { timestamp, sequence: next.sequence + packets, owed: 0, ..next });
        Pulled::Concealed
    }

    fn play(&mut self, moment: Moment, next: Next, decoder: &mut Decoder, fifo: &mut Fifo) -> Pulled {
        let Some(slot) = self.waiting.pop_front() else { return fifo.silence(1) };
        let Content::Sound(duration) = slot.content else { return fifo.silence(1) };
        let duration = i64::from(duration);
        let timestamp = slot.timestamp + duration;
        self.set(Next { timestamp, sequence: slot.sequence + 1, duration, owed: 0, pausing: false });
        let length = self.samples(duration, fifo.rate()).max(1);
        let delay = moment.heard - self.media(slot.timestamp) - self.delays.least().unwrap_or(0);
        let mut pulled = Pulled::Sound;
        if delay > self.delays.most() && next.owed > 0 {
            // It could be heard only with more delay than is allowed; in its place something was made up.
            self.counts.late += 1;
            self.counts.lost += 1;
            self.set(Next {
                timestamp,
                sequence: slot.sequence + 1,
                duration,
                owed: (next.owed - duration).max(0),
                pausing: false,
            });
            pulled = Pulled::Concealed;
        } else {
            let mut right = false;
            fifo.add(length, |out| match decoder.decode(&slot.payload, out) {
                Ok(length) => {
                    out.iter_mut().skip(length).for_each(|sample| *sample = 0);
                    right = true;
                }
                Err(_) => decoder.conceal(out),
            });
            if !right {
                self.counts.lost += 1;
                self.counts.concealed_us += span(length, fifo.rate());
                pulled = Pulled::Concealed;
            }
            self.noise = None;
            if let (true, Some(source)) = (right, &mut self.source) {
                source.heard |= 1;
            }
            self.move_towards_target(moment, self.media(slot.timestamp), fifo);
        }
        self.spare.push(slot.payload);
        pulled
    }

    /// Takes out or puts in a pitch period of what has just been decoded, which begins at `media` in the stream.
    fn move_towards_target(&mut self, moment: Moment, media: i64, fifo: &mut Fifo) {
        let Some(least) = self.delays.least() else { return };
        // Packets must have come when the reader asks, not when they are heard, which is up to a span later. So what counts is
        // in which asking a packet falls after a period is gone.
        let excess = moment.asked - media - least - self.delays.target();
        let within = moment.heard - moment.asked;
        let spare = if within >= PERIOD_MAX { excess } else { excess - moment.span };
        let any = excess.abs() > FAR;
        if excess < -EARLY_ENOUGH {
            self.counts.lengthened_us += span(fifo.lengthen(any), fifo.rate());
        } else if spare > EARLY_ENOUGH {
            self.counts.shortened_us += span(fifo.shorten(any), fifo.rate());
        }
    }
}

impl Pulled {
    /// Of two parts of one piece.
    const fn worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::Concealed, _) | (_, Self::Concealed) => Self::Concealed,
            (Self::Sound, _) | (_, Self::Sound) => Self::Sound,
            (Self::Pause, _) | (_, Self::Pause) => Self::Pause,
            (Self::Nothing, Self::Nothing) => Self::Nothing,
        }
    }
}

fn micros(begun: Instant, now: Instant) -> i64 {
    i64::try_from(now.saturating_duration_since(begun).as_micros()).unwrap_or(i64::MAX / 4)
}

/// Samples as microseconds.
const fn span(samples: usize, rate: u32) -> u64 {
    samples as u64 * 1_000_000 / rate as u64
}

#[cfg(test)]
mod tests;
