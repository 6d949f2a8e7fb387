//! What a leg does for a recorder that is somebody else's (RFC 7866): it is copied from, or gets the copies.
//!
//! A copy is a packet of the recorder's own stream. Where codecs agree its payload is not decoded, and its numbers keep the
//! distances of the original, so that the recorder sees a loss as a loss. Else it is decoded as it comes, without a jitter
//! buffer: who records has time.

use std::{ops::Range, time::Instant};

use model::media::{Codec, Side};
use rtp::{
    codec::{Decoder, SAMPLES_MAX},
    packet::{HEADER_LENGTH, Header, Packet},
    srtp::OVERHEAD_MAX,
};

use super::{Leg, Said};
use crate::{
    legs::Key,
    voice::{self, PAYLOAD_MAX},
};

/// Packets that wait to be copied at most: what a leg sends between two looks at it.
const WAITING_MAX: usize = 16;

/// Who gets copies of a leg's streams.
#[derive(Debug, Default)]
pub struct Copies {
    /// Of what its peer says.
    pub received: Option<Key>,
    /// Of what its peer is told.
    sent: Option<(Key, Box<Waiting>)>,
}

/// What was sent and is still to be copied. It keeps its room.
#[derive(Debug)]
pub struct Waiting {
    packets: Vec<(Header, Codec, Range<usize>)>,
    bytes: Vec<u8>,
}

/// A packet to be copied.
#[derive(Debug, Clone, Copy)]
pub struct Original<'a> {
    /// Its header.
    pub header: &'a Header,
    /// Whether its stream begins or begins anew.
    pub begins: bool,
    /// What it is coded in.
    pub codec: Codec,
    /// What it says.
    pub payload: &'a [u8],
}

/// What decodes the originals, where their codec is not the recorder's.
#[derive(Debug)]
pub struct Converter {
    codec: Codec,
    decoder: Decoder,
    said: Said,
    /// Time-stamp that goes on without a gap.
    next: Option<(u32, u32)>,
}

impl Waiting {
    fn new() -> Self {
        let bytes = Vec::with_capacity(WAITING_MAX * PAYLOAD_MAX);
        Self { packets: Vec::with_capacity(WAITING_MAX), bytes }
    }

    fn push(&mut self, codec: Codec, payload_type: u8, datagram: &[u8]) {
        let Ok(packet) = Packet::parse(datagram) else { return };
        let fits = packet.payload.len() <= PAYLOAD_MAX && self.packets.len() < WAITING_MAX;
        if fits && packet.header.payload_type == payload_type {
            let begin = self.bytes.len();
            self.bytes.extend_from_slice(packet.payload);
            self.packets.push((packet.header, codec, begin..self.bytes.len()));
        }
    }

    /// What waits, in the order of its sending.
    pub fn originals(&self) -> impl Iterator<Item = Original<'_>> {
        self.packets.iter().filter_map(|(header, codec, place)| {
            let payload = self.bytes.get(place.clone())?;
            Some(Original { header, begins: false, codec: *codec, payload })
        })
    }
}

impl Leg {
    /// Begins to be copied to a recorder.
    pub fn copy_to(&mut self, side: Side, recorder: Key) {
        match side {
            Side::Received => self.copies.received = Some(recorder),
            Side::Sent => self.copies.sent = Some((recorder, Box::new(Waiting::new()))),
        }
    }

    /// Is copied to that recorder no more.
    pub fn copy_no_more(&mut self, recorder: Key) {
        self.copies.received.take_if(|key| *key == recorder);
        self.copies.sent.take_if(|(key, _)| *key == recorder);
    }

    /// Whether what its peer is told is copied.
    pub const fn copies_what_it_sends(&self) -> bool {
        self.copies.sent.is_some()
    }

    /// What was sent since the last time, and who gets it; to be given back.
    pub fn take_sent(&mut self) -> Option<(Key, Box<Waiting>)> {
        self.copies.sent.take_if(|(_, waiting)| !waiting.packets.is_empty())
    }

    /// What was copied is done with.
    pub fn give_back(&mut self, (recorder, mut waiting): (Key, Box<Waiting>)) {
        waiting.packets.clear();
        waiting.bytes.clear();
        self.copies.sent = Some((recorder, waiting));
    }

    /// Keeps what goes to the peer, before it is protected.
    pub(super) fn keep_sent(&mut self, datagram: &[u8]) {
        let (Some((_, waiting)), Some(remote)) = (&mut self.copies.sent, &self.remote) else { return };
        waiting.push(remote.parameters.codec, remote.parameters.send_payload_type, datagram);
    }

    /// Sends a copy to its peer.
    pub fn copy(&mut self, original: Original<'_>, now: Instant) {
        let Some(parameters) = self.remote.as_ref().map(|remote| &remote.parameters) else { return };
        if !parameters.direction.sends() || original.payload.len() > PAYLOAD_MAX {
            return;
        }
        if !voice::relayable(original.codec, parameters.codec) {
            return self.copy_converted(original, now);
        }
        let (payload_type, to) = (parameters.send_payload_type, parameters.codec);
        if original.begins {
            self.outgoing.interrupt();
        }
        let length = voice::duration(original.codec, original.payload);
        let Some(header) = self.outgoing.relayed(original.header, payload_type, length, now) else { return };
        let mut datagram = [0; HEADER_LENGTH + PAYLOAD_MAX + OVERHEAD_MAX];
        let end = HEADER_LENGTH + original.payload.len();
        datagram[..HEADER_LENGTH].copy_from_slice(&header.to_bytes());
        datagram[HEADER_LENGTH..end].copy_from_slice(original.payload);
        if let (Some(from), Some(to)) = (voice::law(original.codec), voice::law(to)) {
            from.transcode(to, &mut datagram[HEADER_LENGTH..end]);
        }
        self.transmit(&mut datagram, end, now);
    }

    fn copy_converted(&mut self, original: Original<'_>, now: Instant) {
        let mut converter = match self.converter.take() {
            Some(converter) if converter.codec == original.codec && !original.begins => converter,
            _ => match Converter::new(original.codec) {
                Some(converter) => Box::new(converter),
                // A codec that is passed on only.
                None => return,
            },
        };
        let mut pcm = [0; SAMPLES_MAX];
        if let Ok(length) = converter.decoder.decode(original.payload, &mut pcm) {
            let (ssrc, timestamp) = (original.header.ssrc, original.header.timestamp);
            if converter.next != Some((ssrc, timestamp)) {
                converter.said = Said::default();
            }
            let duration = voice::duration(original.codec, original.payload);
            converter.next = Some((ssrc, timestamp.wrapping_add(duration)));
            let rate = converter.decoder.sample_rate();
            self.speak(&mut converter.said, &pcm[..length], rate, now);
        }
        self.converter = Some(converter);
    }
}

impl Converter {
    fn new(codec: Codec) -> Option<Self> {
        let decoder = match codec {
            Codec::Opus => Decoder::with_rate(codec, 16_000),
            Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::G729 => Decoder::new(codec),
        };
        Some(Self { codec, decoder: decoder.ok()?, said: Said::default(), next: None })
    }
}
