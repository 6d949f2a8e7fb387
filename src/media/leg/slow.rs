//! What a leg does in the slow plane: its peer's packets are decoded for others, and what others say is encoded for it.

use super::{Content, Duration, Incoming, Instant, Leg, dtmf, voice};
/// A relayed event whose end was lost is over so long after its last packet.
const EVENT_MAX_AHEAD: Duration = Duration::from_millis(100);
/// Samples that wait for a frame at most: 60 ms and 20 ms at 16 kHz.
const WAITING_MAX: usize = 1_280;

/// A key of the other leg, sent on as an event.
#[derive(Debug)]
pub struct RelayedEvent {
    /// As the other leg's peer counts.
    timestamp: u32,
    ssrc: u32,
    /// As ours does.
    ours: u32,
    until: Instant,
}

/// What is said to a leg's peer out of a mix.
#[derive(Debug)]
pub struct Said {
    pcm: Vec<i16>,
    rate: u32,
    /// When the next frame is due. None: it is joined on to what went before.
    at: Option<Instant>,
}

impl Leg {
    /// Decodes for others what an accepted packet says.
    pub fn listen(&mut self, incoming: &Incoming, payload: &[u8], now: Instant) {
        let Some(ears) = &mut self.ears else { return };
        match incoming.content {
            Content::Audio(codec) => ears.hear(codec, &incoming.header, payload, now),
            Content::Noise => ears.pause(&incoming.header),
            Content::Key { .. } | Content::Nothing => {}
        }
    }

    /// Sends on the key that the other leg's peer has pressed. Returns whether the clock is needed.
    pub fn relay_key(&mut self, incoming: &Incoming, payload: &[u8], now: Instant) -> bool {
        let Content::Key { code, received, clock } = incoming.content else { return false };
        let Some(parameters) = self.remote.as_ref().map(|remote| &remote.parameters) else { return false };
        if !parameters.direction.sends() {
            return false;
        }
        let Some(payload_type) = parameters.send_telephone_event else {
            return self.relay_as_tone(code, received, clock);
        };
        if self.wants_clock() {
            return false;
        }
        let (Ok(mut event), ours) = (dtmf::Payload::parse(payload), self.outgoing.clock()) else {
            return false;
        };
        let (ssrc, timestamp) = (incoming.header.ssrc, incoming.header.timestamp);
        let known = self.event.take_if(|event| (event.ssrc, event.timestamp) == (ssrc, timestamp));
        let first = known.is_none();
        let begun = known.map_or_else(|| self.outgoing.timestamp_at(now), |event| event.ours);
        let until = if event.end { now } else { now + EVENT_MAX_AHEAD };
        self.event = Some(RelayedEvent { timestamp, ssrc, ours: begun, until });
        let duration = voice::scaled(event.duration.into(), clock, ours);
        event.duration = u16::try_from(duration).unwrap_or(u16::MAX);
        let header = self.outgoing.relayed_event(payload_type, first, begun);
        self.send(header, &event.to_bytes(), now);
        false
    }

    /// Says 20 ms of a mix.
    pub fn speak(&mut self, said: &mut Said, pcm: &[i16], rate: u32, due: Instant) {
        let Some(frame) = self.remote.as_ref().map(|remote| remote.frame) else { return };
        // Prompts, digits, tones and events go before.
        if self.wants_clock() || self.event.as_ref().is_some_and(|event| due < event.until) {
            said.pcm.clear();
            said.at = None;
            return;
        }
        if said.rate != rate || said.pcm.len() + pcm.len() > WAITING_MAX {
            said.pcm.clear();
            said.rate = rate;
        }
        said.pcm.extend_from_slice(pcm);
        let length = (rate / 1_000) as usize * frame.as_millis() as usize;
        while said.pcm.len() >= length {
            let at = said.at.unwrap_or_else(|| {
                self.outgoing.resume(due);
                due
            });
            self.speak_frame(&said.pcm[..length], rate, at, frame);
            said.pcm.drain(..length);
            said.at = Some(at + frame);
        }
    }
}

impl Default for Said {
    fn default() -> Self {
        Self { pcm: Vec::with_capacity(WAITING_MAX), rate: 0, at: None }
    }
}
