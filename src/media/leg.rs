//! One leg: its sockets, its peer's source, the stream to it, and what is measured.
//!
//! A leg takes packets and time, and tells through [`Told`] what its engine has to do with other legs or the edge. What
//! it sends of its own accord is in [`own`], what is decoded and encoded in [`slow`].

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
    media::{Bucket, Codec, Direction, DtlsFailure, MediaParameters, PlayEnd, Quality, Srtp},
};
use rtp::{
    dtmf::{self, Step, Tone},
    packet::{HEADER_LENGTH, Header, Packet},
    quality::{Arrival, Meter},
    rtcp::OWN_MAX,
    samples,
    srtp::OVERHEAD_MAX,
    xr,
};

use crate::{
    crypt::Crypt,
    door::Door,
    dtls::Identity,
    ears::Ears,
    latch::Latch,
    legs::Key,
    listening,
    measure::Measure,
    outgoing::Outgoing,
    play::{Left, Play},
    recording::Tap,
    reports::Reports,
    sys::{Datagram, Onward},
    tally::Tally,
    voice::{self, Voice},
};

mod copies;
mod own;
mod shake;
mod slow;

pub use copies::Original;
use copies::{Converter, Copies};
pub use own::{Digits, RelayedTone};
use shake::Shaking;
pub use slow::Said;
use slow::{Decoded, RelayedEvent, Tones};

/// Longest silence on a path that a NAT or firewall may have to keep open (RFC 6263 §4).
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// When the first keep-alive is due after configuration, if nothing else was sent: a peer that waits for us hears us.
const FIRST_KEEP_ALIVE: Duration = Duration::from_millis(200);
/// Silence from the beginning that is told: the peer's packets do not find us (telephony 17).
const FIRST_SILENCE: Duration = Duration::from_secs(2);
/// Longest frame at 8 kHz: 60 ms.
const FRAME_MAX: usize = samples(60) as usize;
/// `SendDtmf` orders that may wait.
const DIGITS_WAITING_MAX: usize = 16;

/// A leg.
#[derive(Debug)]
pub struct Leg {
    /// Its session.
    pub session: SessionId,
    /// Its name.
    pub id: LegId,
    /// Its network, by its place in the configuration.
    pub network: usize,
    /// Its sockets.
    pub door: Door,
    /// The leg that hears this one and no other: its keys go there, and its audio unless that is decoded.
    pub hearer: Option<Key>,
    /// Whether its audio goes to `hearer` as it is.
    pub direct: bool,
    /// Whether nobody hears it.
    pub muted: bool,
    /// Whether the clock serves it.
    pub clocked: bool,
    /// When it is called for housekeeping.
    pub wakes_at: Option<Instant>,
    /// What its peer says, decoded, while somebody hears it in a mix.
    pub ears: Option<Box<Ears>>,
    /// What its peer is listened to for.
    pub listening: Option<listening::Active>,
    /// What encodes what is said to its peer, once it was needed.
    voice: Option<Box<Voice>>,
    tally: Arc<Tally>,
    remote: Option<Remote>,
    crypt: Option<Box<Crypt>>,
    /// What it shows who meets it by DTLS.
    identity: Option<Arc<Identity>>,
    /// What agrees on keys by DTLS.
    shaking: Option<Box<Shaking>>,
    /// The last datagram of a handshake that came before anything was agreed on.
    early: Option<Box<(Vec<u8>, SocketAddr)>>,
    meter: Meter,
    keys: dtmf::Receiver,
    /// What hears keys in the sound. None: they come as events, or nothing comes.
    tones: Option<Box<Tones>>,
    decoded: Decoded,
    measure: Measure,
    outgoing: Outgoing,
    play: Option<Play>,
    /// Where music on hold was left.
    music: Option<Left>,
    digits: VecDeque<Digits>,
    tone: Option<Box<RelayedTone>>,
    event: Option<RelayedEvent>,
    /// When the next frame of ours is due.
    due: Option<Instant>,
    last_sent: Option<Instant>,
    reports: Reports,
    taps: Vec<Tap>,
    /// Who gets copies.
    pub copies: Copies,
    /// What decodes what is copied to it.
    converter: Option<Box<Converter>>,
    first_told: bool,
    liveness: Liveness,
}

#[derive(Debug)]
struct Remote {
    parameters: MediaParameters,
    latch: Latch,
    since: Instant,
    frame: Duration,
}

/// Whether the peer lives, while it is to send.
#[derive(Debug, Default)]
struct Liveness {
    /// When it was last heard, or since when it is waited for.
    since: Option<Instant>,
    /// Whether anything ever came.
    heard: bool,
    /// How many of the two silences were told: the one at the beginning, and the long one.
    told: u8,
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
    /// No keys were agreed on by DTLS.
    Unprotected(DtlsFailure),
    /// Nothing comes from the peer.
    Silent {
        /// For so long.
        silent_ms: u32,
        /// Whether anything ever came.
        heard_before: bool,
    },
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
    /// Comfort noise (RFC 3389).
    Noise,
    /// A telephone-event.
    Key {
        /// The event's code.
        code: u8,
        /// What it tells.
        received: dtmf::Received,
        /// RTP clock of its time-stamp and duration, in Hz.
        clock: u32,
    },
    /// Nothing for anyone: another payload type, or audio while none is wanted.
    Nothing,
}

impl Leg {
    /// A leg with a way in and nothing agreed. `random` gives unpredictable numbers.
    pub fn new(
        session: SessionId,
        id: LegId,
        (network, door): (usize, Door),
        tally: Arc<Tally>,
        now: Instant,
        mut random: impl FnMut() -> u64,
    ) -> Self {
        Self {
            session,
            id,
            network,
            door,
            hearer: None,
            direct: false,
            muted: false,
            clocked: false,
            wakes_at: None,
            ears: None,
            listening: None,
            voice: None,
            tally,
            remote: None,
            crypt: None,
            identity: None,
            shaking: None,
            early: None,
            meter: Meter::default(),
            keys: dtmf::Receiver::default(),
            tones: None,
            decoded: Decoded::default(),
            measure: Measure::new(now),
            outgoing: Outgoing::new(random() as u32, random()),
            play: None,
            music: None,
            digits: VecDeque::new(),
            tone: None,
            event: None,
            due: None,
            last_sent: None,
            reports: Reports::new(random()),
            taps: Vec::new(),
            copies: Copies::default(),
            converter: None,
            first_told: false,
            liveness: Liveness::default(),
        }
    }

    /// The RTP port.
    pub fn port(&self) -> u16 {
        self.door.port()
    }

    /// The socket for RTP, or for RTCP.
    pub fn socket(&self, rtcp: bool) -> BorrowedFd<'_> {
        if rtcp { self.door.rtcp().as_fd() } else { self.door.rtp().as_fd() }
    }

    /// What was agreed.
    pub fn parameters(&self) -> Option<&MediaParameters> {
        self.remote.as_ref().map(|remote| &remote.parameters)
    }

    /// Takes what was agreed. A source once found is kept unless the signalled address is another one.
    pub fn configure(&mut self, parameters: MediaParameters, now: Instant) {
        let same = |remote: &Remote| remote.latch.signalled() == parameters.remote_rtp;
        let (latch, since) = match self.remote.take() {
            Some(remote) if same(&remote) => (remote.latch, remote.since),
            _ => (Latch::new(parameters.remote_rtp, now), now),
        };
        let frame = voice::frame(parameters.codec, parameters.ptime_ms);
        let to = if parameters.rtcp_mux { parameters.remote_rtp } else { parameters.remote_rtcp };
        self.reports.configure(to, now);
        self.outgoing.set_clock(parameters.codec.clock_rate());
        self.meter.set_clock(parameters.codec.clock_rate());
        self.measure.configure(parameters.codec, frame, now);
        self.configure_keys(&parameters, now);
        let in_band = parameters.receive_telephone_event.is_none() && parameters.direction.receives();
        self.tones = match self.tones.take().filter(|_| in_band) {
            None if in_band => Tones::new(parameters.codec).map(Box::new),
            tones => tones,
        };
        // Who only sends has put us on hold, and may say nothing.
        self.liveness.configure(parameters.direction == Direction::SendRecv, now);
        self.voice = self.voice.take().filter(|voice| voice.suits(&parameters));
        self.remote = Some(Remote { parameters, latch, since, frame });
    }

    fn configure_keys(&mut self, parameters: &MediaParameters, now: Instant) {
        let keys = match parameters.srtp.as_deref() {
            Some(Srtp::Dtls(dtls)) => return self.meet(dtls, parameters.remote_rtp, now),
            Some(Srtp::Sdes(keys)) => keys,
            None => {
                (self.crypt, self.shaking) = (None, None);
                return;
            }
        };
        self.shaking = None;
        let result = match &mut self.crypt {
            Some(crypt) => crypt.rekey(keys, now),
            None => Crypt::new(keys).map(|crypt| self.crypt = Some(Box::new(crypt))),
        };
        if let Err(error) = result {
            // Nothing goes out and nothing is taken in the clear in its place.
            tracing::warn!(session = %self.session, leg = %self.id, %error, "a leg's keys cannot be used");
            self.crypt = None;
        }
    }

    /// Reads a packet from the RTP socket, which it opens in place. `None`: thrown away and counted.
    pub fn receive(&mut self, datagram: &mut Datagram<'_>, now: Instant) -> Option<Incoming> {
        let incoming = self.admitted(datagram, now);
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
        self.measure.receive(incoming.header.sequence);
        self.remote.as_mut()?.latch.hear(datagram.from, now);
        self.liveness.hear(now);
        let first_packet = !std::mem::replace(&mut self.first_told, true);
        Some(Incoming { first_packet, begins: arrival == Arrival::First, ..incoming })
    }

    /// Counts a datagram that could not even be read.
    pub fn discard(&mut self) {
        self.meter.discard();
    }

    /// Whether a datagram at the RTP port is RTCP (RFC 5761 §4).
    pub fn is_muxed_report(&self, datagram: &Datagram<'_>) -> bool {
        let muxed = self.remote.as_ref().is_some_and(|remote| remote.parameters.rtcp_mux);
        muxed && datagram.length > 1 && matches!(datagram.buffer[1], 192..=223)
    }

    /// Reads a report. `false`: thrown away and counted.
    pub fn receive_report(&mut self, datagram: &mut Datagram<'_>, now: Instant) -> bool {
        let taken = self.admitted_report(datagram, now).is_some();
        if taken {
            self.liveness.hear(now);
        } else {
            self.meter.discard();
        }
        taken
    }

    fn admitted_report(&mut self, datagram: &mut Datagram<'_>, now: Instant) -> Option<()> {
        let Remote { latch, parameters, .. } = self.remote.as_ref()?;
        let from = datagram.from;
        if ![latch.source().ip(), parameters.remote_rtcp.ip()].contains(&from.ip()) {
            return None;
        }
        self.open(datagram, true, now)?;
        let bytes = &datagram.buffer[..datagram.length];
        let (ssrc, measure) = (self.outgoing.ssrc(), &mut self.measure);
        let taken = self.reports.receive(bytes, from, ssrc, (&mut self.meter, measure), now);
        if let (Some(percent), Some(voice)) = (self.reports.take_lost_percent(), &mut self.voice) {
            voice.expect_loss(percent);
        }
        taken.then_some(())
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
                Content::Key { clock, .. } => {
                    let duration = dtmf::Payload::parse(payload).map_or(0, |event| event.duration);
                    tap.key(timestamp, duration, clock, now);
                }
                Content::Noise | Content::Nothing => {}
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

    /// Sends on what the other leg's peer has sent; `datagram` is written over. `silent`: as silence, for the other one
    /// is muted.
    pub fn relay(&mut self, incoming: &Incoming, datagram: &mut Datagram<'_>, silent: bool, now: Instant) {
        let Some(parameters) = self.remote.as_ref().map(|remote| &remote.parameters) else { return };
        if !parameters.direction.sends() {
            return;
        }
        if incoming.begins {
            self.outgoing.interrupt();
        }
        let (payload_type, length) = match incoming.content {
            Content::Nothing | Content::Key { .. } => return,
            Content::Noise => match parameters.comfort_noise {
                Some(payload_type) => (payload_type, 0),
                None => return,
            },
            Content::Audio(codec) => {
                let payload = &mut datagram.buffer[incoming.payload.clone()];
                match (voice::law(codec), voice::law(parameters.codec)) {
                    (Some(_), Some(to)) if silent => payload.fill(to.silence()),
                    (Some(from), Some(to)) => from.transcode(to, payload),
                    _ if silent || codec != parameters.codec => return,
                    _ => {}
                }
                (parameters.send_payload_type, voice::duration(codec, payload))
            }
        };
        // Prompts, digits and tones go before.
        if !self.wants_clock() {
            self.relay_with(incoming, (payload_type, length), datagram, now);
        }
    }

    fn relay_with(
        &mut self,
        incoming: &Incoming,
        (payload_type, length): (u8, u32),
        datagram: &mut Datagram<'_>,
        now: Instant,
    ) {
        let Some(header) = self.outgoing.relayed(&incoming.header, payload_type, length, now) else { return };
        let begin = incoming.payload.start - HEADER_LENGTH;
        datagram.buffer[begin..incoming.payload.start].copy_from_slice(&header.to_bytes());
        let (packet, length) = (&mut datagram.buffer[begin..], incoming.payload.end - begin);
        if self.door.seat().is_none() {
            return self.transmit(packet, length, now);
        }
        let Some((closed, to)) = self.close(packet, length) else { return };
        if let Some(seat) = self.door.seat() {
            // With all others that came at the same turn and go out at the same port.
            let pair = Arc::clone(&seat.pair);
            *datagram.onward = Some(Onward { pair, to, range: begin..begin + closed });
            self.count_sent(length, now);
        }
    }

    /// Sends on an event of the other leg's peer whose clock is ours; `datagram` is written over. Returns whether the
    /// clock is needed.
    pub fn relay_event(&mut self, incoming: &Incoming, datagram: &mut Datagram<'_>, now: Instant) -> bool {
        let Content::Key { code, received, clock } = incoming.content else { return false };
        let Some(parameters) = self.remote.as_ref().map(|remote| &remote.parameters) else { return false };
        if !parameters.direction.sends() {
            return false;
        }
        if incoming.begins {
            self.outgoing.interrupt();
        }
        match parameters.send_telephone_event {
            None => return self.relay_as_tone(code, received, clock),
            Some(_) if self.wants_clock() => {}
            Some(payload_type) => self.relay_with(incoming, (payload_type, 0), datagram, now),
        }
        false
    }

    /// Does what is due besides the stream: keep-alive, RTCP, and telling of a silence longer than `silent_after`.
    /// Returns when to be called again, if configured.
    pub fn housekeep(
        &mut self,
        silent_after: Duration,
        now: Instant,
        mut tell: impl FnMut(Told),
    ) -> Option<Instant> {
        let keep_alive = self.keep_alive_due()?;
        if keep_alive <= now {
            self.keep_alive(now);
        }
        let report = self.report_if_due(now);
        let shaken = self.shake_on(now, &mut tell);
        if let Some(told) = self.liveness.silence(silent_after, now) {
            tell(told);
        }
        let decoded = self.decoded();
        self.measure.read(&self.meter, decoded, now);
        let next = self.keep_alive_due()?.min(report);
        let next = self.measure.due().into_iter().chain(shaken).fold(next, Instant::min);
        Some(self.liveness.due(silent_after).map_or(next, |due| next.min(due)))
    }

    /// Takes leave: BYE goes out, recordings have what came, the quality comes back.
    pub fn end(&mut self, now: Instant) -> Quality {
        if self.remote.is_some() {
            self.report(true, now);
        }
        self.taps.clear();
        let decoded = self.decoded();
        let quality = self.measure.quality(&self.meter, decoded, now);
        let late = self.decoded.late;
        Quality { packets_late: late, ..quality }
    }

    /// How it went, five seconds by five seconds.
    pub fn series(&self) -> Vec<Bucket> {
        self.measure.series()
    }

    /// A packet of the right form from a source that may be heard, opened.
    fn admitted(&mut self, datagram: &mut Datagram<'_>, now: Instant) -> Option<Incoming> {
        let from = datagram.from;
        if !self.remote.as_ref()?.latch.admits(from, now) {
            return None;
        }
        self.open(datagram, false, now)?;
        let remote = self.remote.as_ref()?;
        let packet = Packet::parse(&datagram.buffer[..datagram.length]).ok()?;
        let parameters = &remote.parameters;
        let payload_type = packet.header.payload_type;
        let content = match payload_type {
            // RTCP on the RTP port (RFC 5761 §4) was not agreed on.
            64..=95 => return None,
            _ if Some(payload_type) == parameters.receive_telephone_event => {
                let code = packet.payload.first().copied().unwrap_or(u8::MAX);
                let clock = parameters.codec.clock_rate();
                Content::Key { code, received: dtmf::Received::Ignored, clock }
            }
            _ if payload_type == parameters.receive_payload_type => Content::Audio(parameters.codec),
            _ if Some(payload_type) == parameters.comfort_noise => Content::Noise,
            // From the right address it is the peer's, but it proves nothing about another address.
            _ if from == remote.latch.source() => Content::Nothing,
            _ => return None,
        };
        let content = if parameters.direction.receives() { content } else { Content::Nothing };
        let (header, payload) = (packet.header, packet.payload_range());
        Some(Incoming { first_packet: false, header, payload, content, begins: false })
    }

    fn open(&mut self, datagram: &mut Datagram<'_>, rtcp: bool, now: Instant) -> Option<()> {
        if let Some(crypt) = &mut self.crypt {
            datagram.length = crypt.open(&mut datagram.buffer[..datagram.length], rtcp, now)?;
        } else if self.must_be_protected() {
            return None;
        }
        Some(())
    }

    /// Whether nothing may be sent yet: it would not reach a peer that must be first, and may spoil its way to us.
    fn is_second(&self) -> bool {
        let waits = self.remote.as_ref().is_some_and(|remote| remote.parameters.peer_first);
        waits && !self.liveness.heard && !self.has_met()
    }

    fn must_be_protected(&self) -> bool {
        self.remote.as_ref().is_some_and(|remote| remote.parameters.srtp.is_some())
    }

    /// Sends the first `length` octets, which are protected in place if they must be.
    fn transmit(&mut self, buffer: &mut [u8], length: usize, now: Instant) {
        let Some((closed, to)) = self.close(buffer, length) else { return };
        match self.door.send(&buffer[..closed], to, now) {
            Ok(()) => self.count_sent(length, now),
            // A full buffer or an unreachable peer loses the packet, as the network would.
            Err(error) => tracing::trace!(leg = %self.id, %error, "RTP packet not sent"),
        }
    }

    /// Protects the first `length` octets in place if they must be. Returns how many there are then, and where they go.
    fn close(&mut self, buffer: &mut [u8], length: usize) -> Option<(usize, SocketAddr)> {
        if self.copies_what_it_sends() {
            self.keep_sent(&buffer[..length]);
        }
        let remote = self.remote.as_ref()?;
        let to = remote.latch.source();
        if to.port() == 0 || to.ip().is_unspecified() || self.is_second() {
            return None;
        }
        let closed = match &mut self.crypt {
            Some(crypt) => crypt.close(buffer, length, false)?,
            None if remote.parameters.srtp.is_some() => return None,
            None => length,
        };
        (closed <= buffer.len()).then_some((closed, to))
    }

    /// An RTP packet of so many octets is on its way.
    fn count_sent(&mut self, length: usize, now: Instant) {
        self.last_sent = Some(now);
        self.meter.sent(length - HEADER_LENGTH);
        self.tally.sent.fetch_add(1, Ordering::Relaxed);
    }

    fn report_if_due(&mut self, now: Instant) -> Instant {
        if self.reports.due() <= now {
            self.report(false, now);
        }
        self.reports.due()
    }

    fn report(&mut self, bye: bool, now: Instant) {
        let muxed = self.remote.as_ref().is_some_and(|remote| remote.parameters.rtcp_mux);
        let protected = self.must_be_protected();
        let mut buffer = [0; OWN_MAX + xr::OWN_MAX + OVERHEAD_MAX];
        let Some(own) = buffer.first_chunk_mut() else { return };
        let Some((mut length, to)) = self.reports.write(own, &self.outgoing, &mut self.meter, bye, now)
        else {
            return;
        };
        // What DTLS gave keys for is RTP's port (RFC 5764 §3).
        if self.is_second() || self.shaking.is_some() && !muxed {
            return;
        }
        // A BYE is the last that is said (RFC 3550 §6.1).
        if !bye && let Some(about) = self.meter.ssrc() {
            let mut extended = [0; xr::OWN_MAX];
            let ssrc = self.outgoing.ssrc();
            let extended = self.measure.extended(ssrc, about, &self.meter, now).write(&mut extended);
            if let Some(room) = buffer.get_mut(length..length + extended.len()) {
                room.copy_from_slice(extended);
                length += extended.len();
            }
        }
        let closed = match &mut self.crypt {
            Some(crypt) => crypt.close(&mut buffer, length, true),
            None if protected => None,
            None => Some(length),
        };
        let Some(datagram) = closed.and_then(|closed| buffer.get(..closed)) else { return };
        if let Err(error) = self.door.send_report(muxed, datagram, to) {
            tracing::trace!(%to, %error, "RTCP packet not sent");
        }
    }
}

impl Liveness {
    /// What was agreed may be an answer, or the end of a hold: it is waited for from now on.
    fn configure(&mut self, receives: bool, now: Instant) {
        self.since = receives.then_some(now);
        self.told = if self.heard { 1 } else { 0 };
    }

    fn hear(&mut self, now: Instant) {
        if self.since.is_some() {
            self.since = Some(now);
        }
        (self.heard, self.told) = (true, 1);
    }

    fn due(&self, silent_after: Duration) -> Option<Instant> {
        let spans = [FIRST_SILENCE, silent_after];
        Some(self.since? + *spans.get(usize::from(self.told))?)
    }

    fn silence(&mut self, silent_after: Duration, now: Instant) -> Option<Told> {
        let since = self.since.filter(|_| self.due(silent_after).is_some_and(|due| due <= now))?;
        self.told += 1;
        let silent = now.saturating_duration_since(since).as_millis();
        let silent_ms = u32::try_from(silent).unwrap_or(u32::MAX);
        Some(Told::Silent { silent_ms, heard_before: self.heard })
    }
}
