//! ITU-T G.711: μ-law, A-law, and each from the other.
//!
//! Linear samples are 16 bits. Decoding and transcoding are table look-ups; the tables are calculated when this is
//! compiled. μ-law has 14 significant bits and A-law 13, so both stand left-aligned in 16.

use model::media::Codec;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Law {
    /// μ-law: PCMU.
    Mu,
    /// A-law: PCMA.
    A,
}

impl Law {
    /// The octet nearest to silence.
    #[must_use]
    pub const fn silence(self) -> u8 {
        match self {
            Self::Mu => 0xff,
            Self::A => 0xd5,
        }
    }

    /// One sample from its octet.
    #[must_use]
    pub const fn decode(self, octet: u8) -> i16 {
        match self {
            Self::Mu => MU_DECODED[octet as usize],
            Self::A => A_DECODED[octet as usize],
        }
    }

    /// The octet for one sample.
    #[must_use]
    pub const fn encode(self, sample: i16) -> u8 {
        match self {
            Self::Mu => mu_encode(sample),
            Self::A => a_encode(sample),
        }
    }

    /// Octets of this law become octets of `to`, in place. G.711's tables 3 and 4 differ in a few of the smallest
    /// steps from decoding and encoding again, which is what this does; no value is off by more than one step.
    pub fn transcode(self, to: Self, octets: &mut [u8]) {
        let table = match (self, to) {
            (Self::Mu, Self::A) => &MU_TO_A,
            (Self::A, Self::Mu) => &A_TO_MU,
            (Self::Mu, Self::Mu) | (Self::A, Self::A) => return,
        };
        for octet in octets {
            *octet = table[usize::from(*octet)];
        }
    }
}

impl From<Codec> for Law {
    /// The law of a codec that is G.711; of others what stands for silence.
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::Pcma => Self::A,
            Codec::Pcmu | Codec::G722 | Codec::Opus | Codec::G729 => Self::Mu,
        }
    }
}

const BIAS: i32 = 0x84;
const MU_CLIP: i32 = 32_635;

static MU_DECODED: [i16; 256] = decoded(Law::Mu);
static A_DECODED: [i16; 256] = decoded(Law::A);
static MU_TO_A: [u8; 256] = transcoded(Law::Mu);
static A_TO_MU: [u8; 256] = transcoded(Law::A);

const fn decoded(law: Law) -> [i16; 256] {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        table[octet] = match law {
            Law::Mu => mu_decode(octet as u8),
            Law::A => a_decode(octet as u8),
        };
        octet += 1;
    }
    table
}

const fn transcoded(from: Law) -> [u8; 256] {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        table[octet] = match from {
            Law::Mu => a_encode(mu_decode(octet as u8)),
            Law::A => mu_encode(a_decode(octet as u8)),
        };
        octet += 1;
    }
    table
}

const fn mu_decode(octet: u8) -> i16 {
    let bits = !octet;
    let segment = (bits >> 4) & 0x07;
    let step = (bits & 0x0f) as i32;
    let magnitude = (((step << 3) + BIAS) << segment) - BIAS;
    (if bits & 0x80 == 0 { magnitude } else { -magnitude }) as i16
}

const fn mu_encode(sample: i16) -> u8 {
    let sample = sample as i32;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let mut magnitude = sample.abs();
    if magnitude > MU_CLIP {
        magnitude = MU_CLIP;
    }
    magnitude += BIAS;
    // The bias puts the highest bit at 7 to 14: that is the segment.
    let segment = 24 - magnitude.leading_zeros() as i32;
    let step = (magnitude >> (segment + 3)) & 0x0f;
    !(sign | (segment << 4) | step) as u8
}

const fn a_decode(octet: u8) -> i16 {
    let bits = octet ^ 0x55;
    let segment = (bits >> 4) & 0x07;
    let step = ((bits & 0x0f) as i32) << 4;
    let magnitude = match segment {
        0 => step + 8,
        _ => (step + 0x108) << (segment - 1),
    };
    (if bits & 0x80 == 0 { -magnitude } else { magnitude }) as i16
}

const fn a_encode(sample: i16) -> u8 {
    let sign = if sample < 0 { 0 } else { 0x80 };
    // One's complement, so that -1 and 0 are equally far from nothing.
    let magnitude = (if sample < 0 { !sample } else { sample }) as i32;
    let bits = if magnitude < 0x100 {
        magnitude >> 4
    } else {
        let segment = 24 - magnitude.leading_zeros() as i32;
        (segment << 4) | ((magnitude >> (segment + 3)) & 0x0f)
    };
    (sign | bits) as u8 ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAWS: [Law; 2] = [Law::Mu, Law::A];

    #[test]
    fn known_values_decode_as_g711_says() {
        let table = [
            (Law::Mu, 0xff, 0),
            (Law::Mu, 0x7f, 0),
            (Law::Mu, 0x80, 32_124),
            (Law::Mu, 0x00, -32_124),
            (Law::Mu, 0xf0, 120),
            (Law::A, 0xd5, 8),
            (Law::A, 0x55, -8),
            (Law::A, 0xaa, 32_256),
            (Law::A, 0x2a, -32_256),
        ];
        for (law, octet, sample) in table {
            assert_eq!(law.decode(octet), sample, "{law:?} {octet:02x}");
        }
    }

    #[test]
    fn every_octet_survives_decoding_and_encoding() {
        for law in LAWS {
            for octet in 0..=255 {
                // μ-law has two zeros; the negative one becomes the positive.
                let expected = if (law, octet) == (Law::Mu, 0x7f) { 0xff } else { octet };
                assert_eq!(law.encode(law.decode(octet)), expected, "{law:?} {octet:02x}");
            }
        }
    }

    #[test]
    fn every_sample_comes_back_within_half_a_step() {
        for law in LAWS {
            for sample in i16::MIN..=i16::MAX {
                let back = i32::from(law.decode(law.encode(sample)));
                let sample = i32::from(sample);
                // Steps double with each segment: at most 1/32 of the value, and 8 near zero.
                let allowed = 9 + sample.abs() / 31;
                assert!((back - sample).abs() <= allowed, "{law:?} {sample} {back}");
            }
        }
    }

    #[test]
    fn encoding_never_falls_where_the_sample_rises() {
        for law in LAWS {
            let decoded = |sample| law.decode(law.encode(sample));
            for sample in i16::MIN..i16::MAX {
                assert!(decoded(sample) <= decoded(sample + 1), "{law:?} {sample}");
            }
        }
    }

    #[test]
    fn transcoding_keeps_the_sound() {
        for (from, to) in [(Law::Mu, Law::A), (Law::A, Law::Mu)] {
            for octet in 0..=255u8 {
                let mut octets = [octet];
                from.transcode(to, &mut octets);
                let before = i32::from(from.decode(octet));
                let after = i32::from(to.decode(octets[0]));
                assert!((before - after).abs() <= 12 + before.abs() / 31, "{from:?} {octet:02x}");
            }
        }
        let mut octets = [1, 2, 3];
        Law::A.transcode(Law::A, &mut octets);
        assert_eq!(octets, [1, 2, 3]);
    }
}
