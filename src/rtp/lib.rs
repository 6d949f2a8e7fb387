//! RTP without I/O: packets, RTCP, DTMF, G.711, jitter, resampling.
//!
//! Implements RFC 3550 (RTP and RTCP), RFC 3551 (payload types), RFC 4733 (telephone-event) and ITU-T G.711. Bytes,
//! `Instant`s and random numbers come in; bytes, samples and figures go out. Whatever a peer sends, a parser answers
//! with a value or an error, and nothing grows beyond a named bound.

pub mod burst;
pub mod codec;
pub mod comfort_noise;
pub mod conceal;
pub mod dtmf;
pub mod emodel;
pub mod g711;
pub mod g722;
pub mod jitter;
pub mod jitter_estimate;
pub mod level;
pub mod mix;
pub mod packet;
pub mod playout;
pub mod quality;
pub mod resample;
pub mod rtcp;
pub mod sequence;
pub mod srtp;
pub mod timeline;
pub mod tones;
pub mod voice;
pub mod xr;

/// RTP clock of telephone audio, in Hz (RFC 3551 §4.5.14).
pub const CLOCK_RATE: u32 = 8_000;

/// Samples in so many milliseconds at [`CLOCK_RATE`].
#[must_use]
pub const fn samples(milliseconds: u32) -> u32 {
    milliseconds.saturating_mul(CLOCK_RATE / 1000)
}

/// Samples at [`CLOCK_RATE`] in a span of time, rounded down, at most `u32::MAX`.
#[must_use]
pub fn samples_in(span: std::time::Duration) -> u32 {
    let samples = span.as_nanos().saturating_mul(u128::from(CLOCK_RATE)) / 1_000_000_000;
    u32::try_from(samples).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin at")]
    pub fn some_instant() -> Instant {
        Instant::now()
    }

    #[test]
    fn samples_follow_the_clock() {
        assert_eq!(samples(20), 160);
        assert_eq!(samples_in(Duration::from_millis(20)), 160);
        assert_eq!(samples_in(Duration::from_micros(124)), 0);
        assert_eq!(samples_in(Duration::MAX), u32::MAX);
    }
}
