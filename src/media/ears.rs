//! What one leg's peer says, decoded, in even steps: where packets end and the slow plane begins.
//!
//! `rtp::playout` holds packets until their moment. Sound begins with the first packet's, not with the delay: whoever heard
//! the leg by relaying before hears the next sample.

use std::time::Instant;

use model::media::Codec;
use rtp::{
    codec::{self, Decoder},
    comfort_noise::Noise,
    packet::Header,
    playout::{Content, Counts, Playout, Pulled, Pushed},
};

use crate::rates::Rates;

/// Bounds of the delay in milliseconds.
const DELAY_MS: (u32, u32) = (20, 200);
/// Samples of 20 ms at 48 kHz.
const FRAME_MAX: usize = 960;

/// The decoder of one leg.
#[derive(Debug)]
pub struct Ears {
    codec: Codec,
    decoder: Decoder,
    playout: Playout,
    rates: Rates,
}

impl Ears {
    /// For a codec, at 8 or 16 kHz where the codec leaves a choice. None: it is never decoded.
    pub fn new(codec: Codec, rate: u32) -> Option<Self> {
        let decoder = match codec {
            Codec::Opus => Decoder::with_rate(codec, rate),
            Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::G729 => Decoder::new(codec),
        };
        let decoder = decoder.ok()?;
        let playout = Playout::new(codec.clock_rate(), DELAY_MS.0, DELAY_MS.1);
        Some(Self { codec, decoder, playout, rates: Rates::default() })
    }

    /// Whether they are for this codec.
    pub fn suit(&self, codec: Codec) -> bool {
        self.codec == codec
    }

    /// Takes a packet.
    pub fn hear(&mut self, codec: Codec, header: &Header, payload: &[u8], now: Instant) -> Option<Pushed> {
        let duration = codec::duration(codec, payload).filter(|_| codec == self.codec)?;
        Some(self.playout.push(now, header, Content::Sound(duration), payload))
    }

    /// A pause begins, of which comfort noise tells.
    pub fn pause(&mut self, header: &Header, payload: &[u8], now: Instant) {
        if let Ok(noise) = Noise::parse(payload) {
            self.playout.push(now, header, Content::Noise(noise), payload);
        }
    }

    /// Fills `out`, of 20 ms or less, with what is heard from `now` on, at that rate. `false`: nothing has come yet.
    pub fn pull(&mut self, now: Instant, out: &mut [i16], rate: u32) -> bool {
        let own = self.decoder.sample_rate();
        let length = out.len() * own as usize / rate as usize;
        let (mut pcm, mut converted) = ([0; FRAME_MAX], [0; FRAME_MAX]);
        let Some(pcm) = pcm.get_mut(..length) else { return false };
        let pulled = self.playout.pull(now, &mut self.decoder, pcm);
        let sounds = pulled != Pulled::Nothing || pcm.iter().any(|&sample| sample != 0);
        match self.rates.convert(pcm, own, rate, &mut converted) {
            Some(sound) if sounds && sound.len() == out.len() => out.copy_from_slice(sound),
            _ => return false,
        }
        true
    }

    /// Packets that have come and are still to be heard.
    pub fn waiting(&self) -> usize {
        self.playout.waiting()
    }

    /// The delay that is played out with, in milliseconds.
    pub fn delay_ms(&self) -> Option<u32> {
        self.playout.delay_ms()
    }

    /// What has happened to the stream since its beginning.
    pub const fn counts(&self) -> Counts {
        self.playout.counts()
    }
}
