//! Ends of spans: legs whose peers are legs of other media servers.

use std::{
    os::fd::AsFd,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use model::{
    LegId, SessionId,
    media::{CryptoSuite, Event, MediaParameters, Refusal, SpanId},
};

use super::{Engine, Watch};
use crate::{
    door::Door,
    legs::{Key, Owner},
    ports::Pair,
    span::{self, Place},
    sys::Datagram,
    tally::change,
};

impl Engine {
    /// Gives a leg one end of a span.
    pub(super) fn extend(
        &mut self,
        session: SessionId,
        leg: LegId,
        span: SpanId,
        now: Instant,
        watch: Watch<'_>,
    ) {
        if let Some(key) = self.find(session, leg) {
            // The order came twice; so does the answer.
            return self.tell_allocated(key);
        }
        let place = self.shared.spans.ok_or(Refusal::NoSpans);
        let place =
            place.and_then(|place| if self.spans.holds(span) { Err(Refusal::SpanTaken) } else { Ok(place) });
        let made = place.and_then(|place| {
            let door = |engine: &mut Self| Some(Door::Span(span, engine.span_port(place, watch)?));
            self.new_leg(session, leg, place.network, now, door)
        });
        self.admit(session, leg, made, watch);
        if let Some(key) = self.find(session, leg) {
            self.spans.enter(span, key);
        }
    }

    /// The worker's port for spans, which it takes when it first needs it.
    fn span_port(&mut self, place: Place, watch: Watch<'_>) -> Option<Arc<Pair>> {
        if let Some(pair) = self.spans.pair() {
            return Some(Arc::clone(pair));
        }
        let pair = Arc::new(self.shared.networks.get(place.network)?.ports.take()?);
        let watched = watch(pair.rtp.as_fd(), Owner::Spans.token(false));
        if let Err(error) = watched {
            tracing::error!(%error, "a port for spans cannot be watched");
            return None;
        }
        // A wish: what many legs of another server send while the worker is elsewhere.
        let _ = socket2::SockRef::from(&pair.rtp).set_recv_buffer_size(BUFFER);
        self.spans.open(&pair, place.segments, &self.tally);
        change(&self.tally.own_pairs, true);
        Some(pair)
    }

    /// What a leg is to have, if it may: a span's has RTCP on RTP's port, and two keys that prove what they hide. One key for
    /// both directions would let what one end says be sent back to it.
    pub(super) fn spannable(&mut self, key: Key, mut parameters: MediaParameters) -> Option<MediaParameters> {
        if self.legs.get_mut(key).is_none_or(|leg| leg.door.span().is_none()) {
            return Some(parameters);
        }
        parameters.rtcp_mux = true;
        let keys = parameters.srtp.as_deref()?.keys()?;
        let strong = |suite| matches!(suite, CryptoSuite::AeadAes256Gcm | CryptoSuite::AeadAes128Gcm);
        let two = keys.send.key_and_salt != keys.receive.key_and_salt;
        (two && strong(keys.send.suite) && strong(keys.receive.suite)).then_some(parameters)
    }

    /// Tells what the other end is to be told.
    pub(super) fn tell_extended(&mut self, session: SessionId, leg: LegId, rtp_port: u16) {
        let Some(address) = self.shared.spans.map(|place| place.address) else { return };
        self.tell(session, Event::Allocated { leg, address, rtp_port, fingerprint: None });
    }

    /// Takes what came from another server.
    pub(super) fn span_datagram(&mut self, datagram: Datagram<'_>, now: Instant) {
        let Datagram { buffer, length, from, onward } = datagram;
        let Some(key) = self.spans.whose(&buffer[..length]) else { return self.count_discarded() };
        self.tally.span_received.fetch_add(1, Ordering::Relaxed);
        let packet = Datagram {
            buffer: &mut buffer[span::HEADER_LENGTH..],
            length: length - span::HEADER_LENGTH,
            from,
            onward: &mut *onward,
        };
        self.datagram(Owner::Leg(key), false, Some(packet), now);
        if let Some(onward) = onward {
            // It lies where the datagram does, not the packet.
            onward.range.start += span::HEADER_LENGTH;
            onward.range.end += span::HEADER_LENGTH;
        }
    }
}

/// Octets that the socket holds, if the system allows it.
const BUFFER: usize = 4 << 20;
