//! One leg: its sockets, its peer's source, the stream to it, and what is measured.
//!
//! A leg takes packets and time, and tells through [`Told`] what its engine has to do with other legs or the edge.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    ops::Range,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use model::{
    LegId, PlayId, SessionId,
    media::{Codec, MediaParameters, PlayEnd, Quality},
};
use rtp::{
    dtmf::{self, Step, Tone},
    g711::Law,
    packet::{HEADER_LENGTH, Header, Packet},
    quality::{Arrival, Meter},
    samples,
};

use crate::{
    latch::Latch, legs::Key, outgoing::Outgoing, play::Play, ports::Pair, recording::Tap, reports::Reports,
    server::Tally,
};

/// Longest silence on a path that a NAT or firewall may have to keep open (RFC 6263 §4).
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// When the first keep-alive is due after configuration, if nothing else was sent: a peer that waits for us hears us.
const FIRST_KEEP_ALIVE: Duration = Duration::from_millis(200);
/// Longest frame: 60 ms.
const FRAME_MAX: usize = samples(60) as usize;
/// Frames sent at once to catch up, when the worker was late; beyond, time is skipped.
const CATCH_UP_MAX: usize = 5;
/// `SendDtmf` orders that may wait.
const DIGITS_WAITING_MAX: usize = 16;
/// Least length of a relayed key as a tone; longer when the key is held (Q.24: 40 ms are heard everywhere).
const TONE_MIN: u32 = samples(100);
/// A key whose end was lost stops so long after its last packet.
const TONE_MAX_AHEAD: u32 = samples(60);

/// A leg.
#[derive(Debug)]
pub struct Leg {
    /// Its session.
    pub session: SessionId,
    /// Its name.
    pub id: LegId,
    /// The leg it is bridged to.
    pub peer: Option<Key>,
    /// Whether the clock serves it.
    pub clocked: bool,
    /// Whether it is called for housekeeping.
    pub housekept: bool,
    tally: Arc<Tally>,
    ports: Pair,
    remote: Option<Remote>,
    meter: Meter,
    keys: dtmf::Receiver,
    outgoing: Outgoing,
    play: Option<Play>,
    digits: VecDeque<Digits>,
    tone: Option<Box<RelayedTone>>,
    /// When the next frame of ours is due.
    due: Option<Instant>,
    last_sent: Option<Instant>,
    reports: Reports,
    taps: Vec<Tap>,
    heard: bool,
}

#[derive(Debug)]
struct Remote {
    parameters: MediaParameters,
    latch: Latch,
    since: Instant,
    frame: Duration,
}

#[derive(Debug)]
struct Digits {
    sender: dtmf::Sender,
    tone: Option<Tone>,
}

#[derive(Debug)]
struct RelayedTone {
    tone: Tone,
    sent: u32,
    until: u32,
}

/// What an event on a leg means for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The first packet of the peer has come.
    FirstPacket,
    /// A playing has ended.
    PlayEnded(PlayId, PlayEnd),
    /// A `SendDtmf` has been carried out.
    DtmfSent,
}

/// A packet that was accepted.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// Whether it is the first of its stream.
    pub first_packet: bool,
    /// Its header.
    pub header: Header,
    /// Where its payload lies.
    pub payload: Range<usize>,
    /// What it holds.
    pub content: Content,
    /// Whether a stream begins or begins anew, so that what relays it must join it on anew.
    pub begins: bool,
}

/// What a packet holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Audio in this codec.
    Audio(Codec),
    /// A telephone-event.
    Key {
        /// The event's code.
        code: u8,
        /// What it tells.
        received: dtmf::Received,
    },
    /// Nothing for anyone: another payload type, or audio while none is wanted.
    Nothing,
}

impl Leg {
    /// A leg with ports and nothing agreed. `random` gives unpredictable numbers.
    pub fn new(
        session: SessionId,
        id: LegId,
        ports: Pair,
        tally: Arc<Tally>,
        mut random: impl FnMut() -> u64,
    ) -> Self {
        Self {
            session,
            id,
            peer: None,
            clocked: false,
            housekept: false,
            tally,
            ports,
            remote: None,
            meter: Meter::default(),
            keys: dtmf::Receiver::default(),
            outgoing: Outgoing::new(random() as u32, random()),
            play: None,
            digits: VecDeque::new(),
            tone: None,
            due: None,
            last_sent: None,
            reports: Reports::new(random()),
            taps: Vec::new(),
            heard: false,
        }
    }

    /// The RTP port.
    pub const fn port(&self) -> u16 {
        self.ports.port()
    }

    /// The socket for RTP, or for RTCP.
    pub fn socket(&self, rtcp: bool) -> BorrowedFd<'_> {
        if rtcp { self.ports.rtcp.as_fd() } else { self.ports.rtp.as_fd() }
    }

    /// Takes what was agreed. A source once found is kept unless the signalled address is another one.
    pub fn configure(&mut self, parameters: MediaParameters, now: Instant) {
        let same = |remote: &Remote| remote.latch.signalled() == parameters.remote_rtp;
        let (latch, since) = match self.remote.take() {
            Some(remote) if same(&remote) => (remote.latch, remote.since),
            _ => (Latch::new(parameters.remote_rtp, now), now),
        };
        // 10 to 60 ms in whole tens, whatever was signalled.
        let ptime = (parameters.ptime_ms / 10).clamp(1, 6) * 10;
        let frame = Duration::from_millis(ptime.into());
        self.reports.configure(parameters.remote_rtcp, now);
        self.remote = Some(Remote { parameters, latch, since, frame });
    }

    /// Reads a packet from the RTP socket. `None`: thrown away and counted.
    pub fn receive(&mut self, bytes: &[u8], from: SocketAddr, now: Instant) -> Option<Incoming> {
        let incoming = self.admitted(bytes, from, now);
        if incoming.is_none() {
            self.meter.discard();
        }
        let incoming = incoming?;
        let timed = matches!(incoming.content, Content::Audio(_));
        let arrival = self.meter.receive(&incoming.header, timed, now);
        if arrival == Arrival::Invalid {
            // The meter has counted it as discarded.
            return None;
        }
        self.remote.as_mut()?.latch.hear(from, now);
        let first_packet = !std::mem::replace(&mut self.heard, true);
        Some(Incoming { first_packet, begins: arrival == Arrival::First, ..incoming })
    }

    /// Counts a datagram that could not even be read.
    pub const fn discard(&mut self) {
        self.meter.discard();
    }

    /// Reads a datagram from the RTCP socket. `false`: thrown away and counted.
    pub fn receive_report(&mut self, bytes: &[u8], from: SocketAddr, now: Instant) -> bool {
        let known = self.remote.as_ref().is_some_and(|remote| {
            [remote.latch.source().ip(), remote.parameters.remote_rtcp.ip()].contains(&from.ip())
        });
        let taken = known && self.reports.receive(bytes, from, self.outgoing.ssrc(), &mut self.meter, now);
        if !taken {
            self.meter.discard();
        }
        taken
    }

    /// Hears the key of an accepted event packet.
    pub fn hear_key(&mut self, incoming: &mut Incoming, payload: &[u8]) -> Option<char> {
        let Content::Key { received, .. } = &mut incoming.content else { return None };
        *received = self.keys.receive(incoming.header.ssrc, incoming.header.timestamp, payload);
        match *received {
            dtmf::Received::Pressed(digit) => Some(digit),
            dtmf::Received::Continued { .. } | dtmf::Received::Ignored => None,
        }
    }

    /// Hands to recordings what an accepted packet says.
    pub fn record(&mut self, incoming: &Incoming, payload: &[u8], now: Instant) {
        if self.taps.is_empty() {
            return;
        }
        self.taps.retain(|tap| !tap.has_ended());
        let timestamp = incoming.header.timestamp;
        for tap in &mut self.taps {
            match incoming.content {
                Content::Audio(codec) => tap.audio(timestamp, codec, payload, now),
                Content::Key { .. } => {
                    let clock = self.remote.as_ref().map_or(0, |remote| remote.parameters.codec.clock_rate());
                    let duration = dtmf::Payload::parse(payload).map_or(0, |event| event.duration);
                    tap.key(timestamp, duration, clock, now);
                }
                Content::Nothing => {}
            }
        }
    }

    /// Adds a recording of what its peer says.
    pub fn add_tap(&mut self, tap: Tap) {
        self.taps.push(tap);
    }

    /// Takes away the taps of a recording, which have what came so far.
    pub fn drop_taps(&mut self, of: impl Fn(&Tap) -> bool) {
        self.taps.retain(|tap| !of(tap));
    }

    /// The codec, once agreed.
    pub fn codec(&self) -> Option<Codec> {
        self.remote.as_ref().map(|remote| remote.parameters.codec)
    }

    /// Sends on what the other leg's peer has sent; `datagram` is written over. Returns whether the clock is needed.
    pub fn relay(&mut self, incoming: &Incoming, datagram: &mut [u8], now: Instant) -> bool {
        let Some(parameters) = self.remote.as_ref().map(|remote| &remote.parameters) else { return false };
        if !parameters.direction.sends() {
            return false;
        }
        if incoming.begins {
            self.outgoing.interrupt();
        }
        let (payload_type, length) = match incoming.content {
            Content::Nothing => return false,
            Content::Key { code, received } => match parameters.send_telephone_event {
                Some(payload_type) => (payload_type, 0),
                None => return self.relay_as_tone(code, received),
            },
            Content::Audio(codec) => {
                let payload = &mut datagram[incoming.payload.clone()];
                Law::from(codec).transcode(parameters.codec.into(), payload);
                (parameters.send_payload_type, payload.len() as u32)
            }
        };
        // Prompts, digits and tones go before.
        if self.wants_clock() {
            return false;
        }
        if let Some(header) = self.outgoing.relayed(&incoming.header, payload_type, length, now) {
            let begin = incoming.payload.start - HEADER_LENGTH;
            datagram[begin..incoming.payload.start].copy_from_slice(&header.to_bytes());
            self.transmit(&datagram[begin..incoming.payload.end], now);
        }
        false
    }

    /// Whether something of our own is to be sent by the clock.
    pub fn wants_clock(&self) -> bool {
        self.remote.is_some() && (self.play.is_some() || !self.digits.is_empty() || self.tone.is_some())
    }

    /// Plays, in place of what was playing. Returns the one that has ended by it.
    pub fn play(&mut self, play: Play) -> Option<Told> {
        let ended = self.stop_play();
        self.play = Some(play);
        ended
    }

    /// Stops what is playing.
    pub fn stop_play(&mut self) -> Option<Told> {
        self.play.take().map(|play| Told::PlayEnded(play.id, PlayEnd::Stopped))
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

    /// Does what is due besides the stream: keep-alive and RTCP. Returns when to be called again, if configured.
    pub fn housekeep(&mut self, now: Instant) -> Option<Instant> {
        let keep_alive = self.keep_alive_due()?;
        if keep_alive <= now {
            self.keep_alive(now);
        }
        let report = self.report_if_due(now);
        Some(self.keep_alive_due()?.min(report))
    }

    /// Takes leave: BYE goes out, recordings have what came, the quality comes back.
    pub fn end(&mut self, now: Instant) -> Quality {
        if self.remote.is_some() {
            self.reports.send(&self.ports.rtcp, &self.outgoing, &mut self.meter, true, now);
        }
        self.taps.clear();
        self.meter.quality()
    }

    /// A packet of the right form from a source that may be heard.
    fn admitted(&self, bytes: &[u8], from: SocketAddr, now: Instant) -> Option<Incoming> {
        let remote = self.remote.as_ref()?;
        if !remote.latch.admits(from, now) {
            return None;
        }
        let packet = Packet::parse(bytes).ok()?;
        let MediaParameters { codec, receive_payload_type, receive_telephone_event, direction, .. } =
            remote.parameters;
        let payload_type = packet.header.payload_type;
        let content = match payload_type {
            // RTCP on the RTP port (RFC 5761 §4) was not agreed on.
            64..=95 => return None,
            _ if Some(payload_type) == receive_telephone_event => {
                let code = packet.payload.first().copied().unwrap_or(u8::MAX);
                Content::Key { code, received: dtmf::Received::Ignored }
            }
            _ if payload_type == receive_payload_type => Content::Audio(codec),
            // From the right address it is the peer's, but it proves nothing about another address.
            _ if from == remote.latch.source() => Content::Nothing,
            _ => return None,
        };
        let content = if direction.receives() { content } else { Content::Nothing };
        let (header, payload) = (packet.header, packet.payload_range());
        Some(Incoming { first_packet: false, header, payload, content, begins: false })
    }

    fn relay_as_tone(&mut self, code: u8, received: dtmf::Received) -> bool {
        match received {
            dtmf::Received::Pressed(_) => {
                let Some(tone) = Tone::new(code) else { return false };
                self.tone = Some(Box::new(RelayedTone { tone, sent: 0, until: TONE_MIN }));
                true
            }
            dtmf::Received::Continued { duration, end } => {
                if let Some(relayed) = &mut self.tone {
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
            (Step::Event { first, payload }, Some(payload_type)) => {
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
        let length = samples(frame.as_millis() as u32) as usize;
        let mut payload = [0; FRAME_MAX];
        if play.fill(remote.parameters.codec, &mut payload[..length]) {
            self.send_audio(&payload[..length], due, frame);
            return true;
        }
        tell(Told::PlayEnded(play.id, play.end()));
        self.play = None;
        false
    }

    fn send_sound(&mut self, sound: &Sound, due: Instant, frame: Duration) {
        let Some(remote) = &self.remote else { return };
        let law = Law::from(remote.parameters.codec);
        let mut payload = [0; FRAME_MAX];
        for (octet, &sample) in payload.iter_mut().zip(&sound.samples) {
            *octet = law.encode(sample);
        }
        self.send_audio(&payload[..sound.length], due, frame);
    }

    fn send_audio(&mut self, payload: &[u8], due: Instant, frame: Duration) {
        let Some(remote) = &self.remote else { return };
        let payload_type = remote.parameters.send_payload_type;
        if remote.parameters.direction.sends() {
            let header = self.outgoing.audio(payload_type, due, frame);
            self.send(header, payload, due);
        }
    }

    fn send(&mut self, header: Header, payload: &[u8], now: Instant) {
        let mut datagram = [0; HEADER_LENGTH + FRAME_MAX];
        let end = HEADER_LENGTH + payload.len();
        datagram[..HEADER_LENGTH].copy_from_slice(&header.to_bytes());
        datagram[HEADER_LENGTH..end].copy_from_slice(payload);
        self.transmit(&datagram[..end], now);
    }

    fn transmit(&mut self, datagram: &[u8], now: Instant) {
        let Some(remote) = &self.remote else { return };
        let to = remote.latch.source();
        if to.port() == 0 || to.ip().is_unspecified() {
            return;
        }
        self.last_sent = Some(now);
        match self.ports.rtp.send_to(datagram, to) {
            Ok(_) => {
                self.meter.sent(datagram.len() - HEADER_LENGTH);
                self.tally.sent.fetch_add(1, Ordering::Relaxed);
            }
            // A full buffer or an unreachable peer loses the packet, as the network would.
            Err(error) => tracing::trace!(leg = %self.id, %error, "RTP packet not sent"),
        }
    }

    fn keep_alive_due(&self) -> Option<Instant> {
        let since = self.remote.as_ref()?.since;
        Some(self.last_sent.map_or(since + FIRST_KEEP_ALIVE, |last| last + KEEP_ALIVE))
    }

    /// One frame of silence, on hold too.
    fn keep_alive(&mut self, now: Instant) {
        let Some(Remote { parameters, frame, .. }) = &self.remote else { return };
        let (payload_type, frame) = (parameters.send_payload_type, *frame);
        let payload = [Law::from(parameters.codec).silence(); FRAME_MAX];
        let header = self.outgoing.audio(payload_type, now, frame);
        self.last_sent = Some(now);
        self.send(header, &payload[..samples(frame.as_millis() as u32) as usize], now);
    }

    fn report_if_due(&mut self, now: Instant) -> Instant {
        if self.reports.due() <= now {
            self.reports.send(&self.ports.rtcp, &self.outgoing, &mut self.meter, false, now);
        }
        self.reports.due()
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

/// A frame's worth of samples.
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
