//! What a leg sends by the clock: prompts, digits, tones, keep-alives.

use super::{
    DIGITS_WAITING_MAX, Duration, FIRST_KEEP_ALIVE, FRAME_MAX, HEADER_LENGTH, Header, Instant, KEEP_ALIVE,
    Leg, OVERHEAD_MAX, Play, PlayEnd, Remote, Step, Told, Tone, dtmf, samples,
    voice::{self, PAYLOAD_MAX, Voice},
};
use crate::coded::Form;

/// Frames sent at once to catch up, when the worker was late; beyond, time is skipped.
const CATCH_UP_MAX: usize = 5;
/// Least length of a relayed key as a tone; longer when the key is held (Q.24: 40 ms are heard everywhere).
const TONE_MIN: u32 = samples(100);
/// A key whose end was lost stops so long after its last packet.
const TONE_MAX_AHEAD: u32 = samples(60);

/// One `SendDtmf`.
#[derive(Debug)]
pub struct Digits {
    sender: dtmf::Sender,
    tone: Option<Tone>,
}

/// A key of the other leg, sent as its tone.
#[derive(Debug)]
pub struct RelayedTone {
    tone: Tone,
    sent: u32,
    until: u32,
}

impl Leg {
    /// Whether something of our own is to be sent by the clock.
    pub fn wants_clock(&self) -> bool {
        self.remote.is_some() && (self.play.is_some() || !self.digits.is_empty() || self.tone.is_some())
    }

    /// Plays, in place of what was playing. Returns the one that has ended by it.
    pub fn play(&mut self, mut play: Play) -> Option<Told> {
        let ended = self.stop_play();
        if let Some(left) = &self.music {
            play.go_on(left);
        }
        self.play = Some(play);
        ended
    }

    /// Stops what is playing.
    pub fn stop_play(&mut self) -> Option<Told> {
        let play = self.play.take()?;
        let id = play.id;
        if let Some(left) = play.left() {
            self.music = Some(left);
        }
        Some(Told::PlayEnded(id, PlayEnd::Stopped))
    }

    /// Sends digits after those that wait. `false`: too many orders wait.
    pub fn send_digits(&mut self, digits: &str, duration_ms: u16, gap_ms: u16) -> bool {
        if self.digits.len() >= DIGITS_WAITING_MAX {
            return false;
        }
        let frame = self.remote.as_ref().map_or(20, |remote| remote.frame.as_millis() as u16);
        let sender = dtmf::Sender::new(digits, duration_ms, gap_ms, frame);
        self.digits.push_back(Digits { sender, tone: None });
        true
    }

    /// Sends what is due at a tick. Returns whether the clock is still needed.
    pub fn tick(&mut self, tick: Instant, mut tell: impl FnMut(Told)) -> bool {
        for _ in 0..CATCH_UP_MAX {
            let due = *self.due.get_or_insert(tick);
            if due > tick {
                return true;
            }
            if !self.wants_clock() {
                self.due = None;
                return false;
            }
            self.send_frame(due, &mut tell);
        }
        self.due = None;
        self.wants_clock()
    }

    /// Begins or continues a relayed key as a tone. Returns whether the clock is needed.
    pub(super) fn relay_as_tone(&mut self, code: u8, received: dtmf::Received, clock: u32) -> bool {
        match received {
            dtmf::Received::Pressed(_) => {
                let Some(tone) = Tone::new(code) else { return false };
                self.tone = Some(Box::new(RelayedTone { tone, sent: 0, until: TONE_MIN }));
                true
            }
            dtmf::Received::Continued { duration, end } => {
                if let Some(relayed) = &mut self.tone {
                    let duration = voice::scaled(duration, clock, rtp::CLOCK_RATE);
                    let ahead = if end { 0 } else { TONE_MAX_AHEAD };
                    relayed.until = relayed.until.max(duration.saturating_add(ahead));
                }
                false
            }
            dtmf::Received::Ignored => false,
        }
    }

    fn send_frame(&mut self, due: Instant, tell: &mut impl FnMut(Told)) {
        let Some(remote) = &self.remote else { return };
        let frame = remote.frame;
        if self.send_digit(due, frame, tell)
            || self.send_tone(due, frame)
            || self.send_prompt(due, frame, tell)
        {
            self.due = Some(due + frame);
        }
    }

    /// One step of the digits in turn. `false`: there is none, and the time is free for something else.
    fn send_digit(&mut self, due: Instant, frame: Duration, tell: &mut impl FnMut(Told)) -> bool {
        let Some(digits) = self.digits.front_mut() else { return false };
        let Some(remote) = &self.remote else { return false };
        let event_type = remote.parameters.send_telephone_event;
        let step = digits.sender.step();
        match (step, event_type) {
            (Step::Done, _) => {
                self.digits.pop_front();
                tell(Told::DtmfSent);
                return false;
            }
            (Step::Pause, Some(_)) => {}
            (Step::Event { first, mut payload }, Some(payload_type)) => {
                let clock = self.outgoing.clock();
                let duration = voice::scaled(payload.duration.into(), rtp::CLOCK_RATE, clock);
                payload.duration = u16::try_from(duration).unwrap_or(u16::MAX);
                let header = self.outgoing.event(payload_type, first, due, frame);
                self.send(header, &payload.to_bytes(), due);
            }
            (Step::Pause | Step::Event { .. }, None) => {
                let sound = digits.sound(step, frame);
                self.send_sound(&sound, due, frame);
            }
        }
        true
    }

    fn send_tone(&mut self, due: Instant, frame: Duration) -> bool {
        let Some(relayed) = &mut self.tone else { return false };
        let mut sound = Sound::new(frame);
        relayed.tone.fill(sound.samples());
        relayed.sent += sound.length as u32;
        if relayed.sent >= relayed.until {
            self.tone = None;
        }
        self.send_sound(&sound, due, frame);
        true
    }

    fn send_prompt(&mut self, due: Instant, frame: Duration, tell: &mut impl FnMut(Told)) -> bool {
        let (Some(play), Some(remote)) = (&mut self.play, &self.remote) else { return false };
        let codec = remote.parameters.codec;
        let playing = if voice::law(codec).is_some() {
            let length = samples(frame.as_millis() as u32) as usize;
            let mut payload = [0; FRAME_MAX];
            let playing = play.fill(codec, &mut payload[..length]);
            if playing {
                self.send_audio(&payload[..length], due, frame);
            }
            playing
        } else if let Some(payload) = Form::of(&remote.parameters).and_then(|form| play.packet(form)) {
            let mut copy = [0; PAYLOAD_MAX];
            let length = payload.len();
            copy[..length].copy_from_slice(payload);
            self.send_audio(&copy[..length], due, frame);
            true
        } else {
            let mut sound = Sound::new(frame);
            let playing = play.fill_pcm(sound.samples());
            if playing {
                self.send_sound(&sound, due, frame);
            }
            playing
        };
        if !playing && let Some(play) = self.play.take() {
            tell(Told::PlayEnded(play.id, play.end()));
        }
        playing
    }

    fn send_sound(&mut self, sound: &Sound, due: Instant, frame: Duration) {
        self.speak_frame(&sound.samples[..sound.length], rtp::CLOCK_RATE, due, frame);
    }

    /// Encodes and sends one frame of sound.
    pub(super) fn speak_frame(&mut self, pcm: &[i16], rate: u32, due: Instant, frame: Duration) {
        let Some(remote) = &self.remote else { return };
        let mut payload = [0; PAYLOAD_MAX];
        let length = match voice::law(remote.parameters.codec) {
            Some(law) if rate == rtp::CLOCK_RATE => {
                for (octet, &sample) in payload.iter_mut().zip(pcm) {
                    *octet = law.encode(sample);
                }
                pcm.len()
            }
            _ => {
                if self.voice.is_none() {
                    self.voice = Voice::new(&remote.parameters, rate).map(Box::new);
                }
                // None: a codec that is passed on only.
                let Some(voice) = &mut self.voice else { return };
                voice.encode(pcm, rate, &mut payload)
            }
        };
        // Of length 0: silence that need not be sent (DTX).
        if length > 0 {
            self.send_audio(&payload[..length], due, frame);
        }
    }

    fn send_audio(&mut self, payload: &[u8], due: Instant, frame: Duration) {
        let Some(remote) = &self.remote else { return };
        let payload_type = remote.parameters.send_payload_type;
        if remote.parameters.direction.sends() {
            let header = self.outgoing.audio(payload_type, due, frame);
            self.send(header, payload, due);
        }
    }

    pub(super) fn send(&mut self, header: Header, payload: &[u8], now: Instant) {
        let mut datagram = [0; HEADER_LENGTH + PAYLOAD_MAX + OVERHEAD_MAX];
        let end = HEADER_LENGTH + payload.len();
        datagram[..HEADER_LENGTH].copy_from_slice(&header.to_bytes());
        datagram[HEADER_LENGTH..end].copy_from_slice(payload);
        self.transmit(&mut datagram, end, now);
    }

    pub(super) fn keep_alive_due(&self) -> Option<Instant> {
        let since = self.remote.as_ref()?.since;
        Some(self.last_sent.map_or(since + FIRST_KEEP_ALIVE, |last| last + KEEP_ALIVE))
    }

    /// One frame of silence, on hold too.
    pub(super) fn keep_alive(&mut self, now: Instant) {
        let Some(Remote { parameters, frame, .. }) = &self.remote else { return };
        let (payload_type, frame) = (parameters.send_payload_type, *frame);
        let mut payload = [0; PAYLOAD_MAX];
        let length = voice::silence(parameters.codec, frame, &mut payload);
        let header = self.outgoing.audio(payload_type, now, frame);
        self.last_sent = Some(now);
        self.send(header, &payload[..length], now);
    }
}

impl Digits {
    /// The same digits as tones: the sender's steps give the time.
    fn sound(&mut self, step: Step, frame: Duration) -> Sound {
        let mut sound = Sound::new(frame);
        if let Step::Event { first, payload } = step {
            if first {
                self.tone = Tone::new(payload.code);
            }
            if let Some(tone) = &mut self.tone {
                tone.fill(sound.samples());
            }
            // What follows are repetitions of the end, which in audio are part of the pause.
            if payload.end {
                self.tone = None;
            }
        }
        sound
    }
}

/// A frame's worth of samples at 8 kHz.
struct Sound {
    samples: [i16; FRAME_MAX],
    length: usize,
}

impl Sound {
    const fn new(frame: Duration) -> Self {
        Self { samples: [0; FRAME_MAX], length: samples(frame.as_millis() as u32) as usize }
    }

    fn samples(&mut self) -> &mut [i16] {
        &mut self.samples[..self.length]
    }
}
