//! What telephone networks say without words: ring-back, busy, congestion, special information, by country (ITU-T E.180 and its
//! supplement 2, the national tables).
//!
//! A tone is a cadence of sounds and pauses; [`Player`] makes it frame by frame, on and on. It begins and ends sounds at zero, so
//! nothing clicks, and allocates nothing.

/// Which tone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// The called phone rings.
    Ringback,
    /// The called party speaks with somebody else.
    Busy,
    /// The network has no way there (also: reorder, fast busy).
    Congestion,
    /// What was dialled cannot be had; words usually follow.
    SpecialInformation,
}

/// Sounds one after the other, then again from the first.
pub type Cadence = &'static [Sound];

/// One part of a cadence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sound {
    /// Frequencies in Hz; 0: none. All of them at once. With `modulation`, the first is modulated by the second.
    pub frequencies: [u16; 2],
    /// Whether the first frequency's amplitude follows the second one.
    pub modulation: bool,
    /// How long, in milliseconds. 0: for ever.
    pub duration_ms: u16,
}

const fn pause(duration_ms: u16) -> Sound {
    Sound { frequencies: [0, 0], modulation: false, duration_ms }
}

const fn tone(frequency: u16, duration_ms: u16) -> Sound {
    Sound { frequencies: [frequency, 0], modulation: false, duration_ms }
}

const fn two(one: u16, other: u16, duration_ms: u16) -> Sound {
    Sound { frequencies: [one, other], modulation: false, duration_ms }
}

const fn modulated(carrier: u16, by: u16, duration_ms: u16) -> Sound {
    Sound { frequencies: [carrier, by], modulation: true, duration_ms }
}

/// Of one country.
struct National {
    country: &'static str,
    ringback: Cadence,
    busy: Cadence,
    congestion: Cadence,
}

/// E.180 §5.1's special information tone is the same everywhere: three rising tones of 330 ms, then a second of silence.
const SPECIAL: Cadence = &[tone(950, 330), tone(1_400, 330), tone(1_800, 330), pause(1_000)];

const NORTH_AMERICA: National = National {
    country: "US",
    ringback: &[two(440, 480, 2_000), pause(4_000)],
    busy: &[two(480, 620, 500), pause(500)],
    congestion: &[two(480, 620, 250), pause(250)],
};

/// Where a country is not in the table: E.180's recommendation, 425 Hz.
const RECOMMENDED: National = National {
    country: "",
    ringback: &[tone(425, 1_000), pause(4_000)],
    busy: &[tone(425, 500), pause(500)],
    congestion: &[tone(425, 250), pause(250)],
};

/// By country code (ISO 3166-1 alpha-2), in its order.
const COUNTRIES: [National; 23] = [
    National {
        country: "AT",
        ringback: &[tone(420, 1_000), pause(5_000)],
        busy: &[tone(420, 400), pause(400)],
        congestion: &[tone(420, 200), pause(200)],
    },
    National {
        country: "AU",
        ringback: &[modulated(425, 25, 400), pause(200), modulated(425, 25, 400), pause(2_000)],
        busy: &[tone(425, 375), pause(375)],
        congestion: &[tone(425, 375), pause(375)],
    },
    National {
        country: "BE",
        ringback: &[tone(425, 1_000), pause(3_000)],
        busy: &[tone(425, 500), pause(500)],
        congestion: &[tone(425, 167), pause(167)],
    },
    National {
        country: "BR",
        ringback: &[tone(425, 1_000), pause(4_000)],
        busy: &[tone(425, 250), pause(250)],
        congestion: &[tone(425, 250), pause(250), tone(425, 750), pause(250)],
    },
    National { country: "CA", ..NORTH_AMERICA },
    National {
        country: "CH",
        ringback: &[tone(425, 1_000), pause(4_000)],
        busy: &[tone(425, 500), pause(500)],
        congestion: &[tone(425, 200), pause(200)],
    },
    National {
        country: "CN",
        ringback: &[tone(450, 1_000), pause(4_000)],
        busy: &[tone(450, 350), pause(350)],
        congestion: &[tone(450, 700), pause(700)],
    },
    National {
        country: "DE",
        ringback: &[tone(425, 1_000), pause(4_000)],
        busy: &[tone(425, 480), pause(480)],
        congestion: &[tone(425, 240), pause(240)],
    },
    National {
        country: "ES",
        ringback: &[tone(425, 1_500), pause(3_000)],
        busy: &[tone(425, 200), pause(200)],
        congestion: &[tone(425, 200), pause(200), tone(425, 200), pause(200), tone(425, 200), pause(600)],
    },
    National {
        country: "FR",
        ringback: &[tone(440, 1_500), pause(3_500)],
        busy: &[tone(440, 500), pause(500)],
        congestion: &[tone(440, 250), pause(250)],
    },
    National {
        country: "GB",
        ringback: &[two(400, 450, 400), pause(200), two(400, 450, 400), pause(2_000)],
        busy: &[tone(400, 375), pause(375)],
        congestion: &[tone(400, 400), pause(350), tone(400, 225), pause(525)],
    },
    National {
        country: "IE",
        ringback: &[two(400, 450, 400), pause(200), two(400, 450, 400), pause(2_000)],
        busy: &[tone(425, 500), pause(500)],
        congestion: &[tone(425, 250), pause(250)],
    },
    National {
        country: "IN",
        ringback: &[modulated(400, 25, 400), pause(200), modulated(400, 25, 400), pause(2_000)],
        busy: &[tone(400, 750), pause(750)],
        congestion: &[tone(400, 250), pause(250)],
    },
    National {
        country: "IT",
        ringback: &[tone(425, 1_000), pause(4_000)],
        busy: &[tone(425, 500), pause(500)],
        congestion: &[tone(425, 200), pause(200)],
    },
    National {
        country: "JP",
        ringback: &[modulated(400, 16, 1_000), pause(2_000)],
        busy: &[tone(400, 500), pause(500)],
        congestion: &[tone(400, 500), pause(500)],
    },
    National {
        country: "MX",
        ringback: &[tone(425, 1_000), pause(4_000)],
        busy: &[tone(425, 250), pause(250)],
        congestion: &[tone(425, 250), pause(250)],
    },
    National {
        country: "NL",
        ringback: &[tone(425, 1_000), pause(4_000)],
        busy: &[tone(425, 500), pause(500)],
        congestion: &[tone(425, 250), pause(250)],
    },
    National {
        country: "NZ",
        ringback: &[two(400, 450, 400), pause(200), two(400, 450, 400), pause(2_000)],
        busy: &[tone(400, 500), pause(500)],
        congestion: &[tone(400, 250), pause(250)],
    },
    National {
        country: "PL",
        ringback: &[tone(425, 1_000), pause(4_000)],
        busy: &[tone(425, 500), pause(500)],
        congestion: &[tone(425, 500), pause(500)],
    },
    National {
        country: "PT",
        ringback: &[tone(425, 1_000), pause(5_000)],
        busy: &[tone(425, 500), pause(500)],
        congestion: &[tone(425, 200), pause(200)],
    },
    National {
        country: "SE",
        ringback: &[tone(425, 1_000), pause(5_000)],
        busy: &[tone(425, 250), pause(250)],
        congestion: &[tone(425, 250), pause(750)],
    },
    NORTH_AMERICA,
    National {
        country: "ZA",
        ringback: &[modulated(400, 33, 400), pause(200), modulated(400, 33, 400), pause(2_000)],
        busy: &[tone(400, 500), pause(500)],
        congestion: &[tone(400, 250), pause(250)],
    },
];

/// A signal's cadence in a country (ISO 3166-1 alpha-2, either case); where the country is not known, E.180's own recommendation.
#[must_use]
pub fn cadence(country: &str, signal: Signal) -> Cadence {
    let known = COUNTRIES.iter().find(|national| national.country.eq_ignore_ascii_case(country));
    let national = known.unwrap_or(&RECOMMENDED);
    match signal {
        Signal::Ringback => national.ringback,
        Signal::Busy => national.busy,
        Signal::Congestion => national.congestion,
        Signal::SpecialInformation => SPECIAL,
    }
}

/// Whether a country has tones of its own here.
#[must_use]
pub fn is_known(country: &str) -> bool {
    COUNTRIES.iter().any(|national| national.country.eq_ignore_ascii_case(country))
}

/// Amplitude of all frequencies of a sound together: E.180 §4 has −10 dBm0, ±5, for a tone.
const HEIGHT: f32 = 7_300.0;
/// Milliseconds in which a sound begins, and in which it ends.
const EDGE_MS: u32 = 4;

/// Plays a cadence.
#[derive(Debug, Clone)]
pub struct Player {
    cadence: Cadence,
    sample_rate: u32,
    /// Which sound, and the sample within it.
    place: usize,
    at: u32,
    oscillators: [Oscillator; 2],
}

/// A sine by rotation: no calculation of angles per sample.
#[derive(Debug, Clone, Copy)]
struct Oscillator {
    sine: f32,
    cosine: f32,
    step_sine: f32,
    step_cosine: f32,
}

impl Oscillator {
    fn new(frequency: u16, sample_rate: u32) -> Self {
        let step = std::f32::consts::TAU * f32::from(frequency) / sample_rate as f32;
        Self { sine: 0.0, cosine: 1.0, step_sine: step.sin(), step_cosine: step.cos() }
    }

    fn next(&mut self) -> f32 {
        let now = self.sine;
        let sine = self.sine * self.step_cosine + self.cosine * self.step_sine;
        let cosine = self.cosine * self.step_cosine - self.sine * self.step_sine;
        // One step of Newton's method keeps the length at 1, which rounding would change.
        let length = 1.5 - 0.5 * (sine * sine + cosine * cosine);
        (self.sine, self.cosine) = (sine * length, cosine * length);
        now
    }
}

impl Player {
    /// Plays from the beginning, at so many samples a second. An empty cadence is silence.
    #[must_use]
    pub fn new(cadence: Cadence, sample_rate: u32) -> Self {
        let sample_rate = sample_rate.clamp(8_000, 48_000);
        let mut player =
            Self { cadence, sample_rate, place: 0, at: 0, oscillators: [Oscillator::new(0, sample_rate); 2] };
        player.begin();
        player
    }

    /// The next samples.
    pub fn fill(&mut self, out: &mut [i16]) {
        for sample in out {
            *sample = self.next();
        }
    }

    fn begin(&mut self) {
        self.at = 0;
        if let Some(sound) = self.cadence.get(self.place) {
            self.oscillators =
                sound.frequencies.map(|frequency| Oscillator::new(frequency, self.sample_rate));
        }
    }

    fn next(&mut self) -> i16 {
        let Some(&sound) = self.cadence.get(self.place) else { return 0 };
        let per_ms = self.sample_rate / 1_000;
        let length = u32::from(sound.duration_ms) * per_ms;
        let [one, other] = &mut self.oscillators;
        let wave = match sound.frequencies {
            [0, _] => 0.0,
            [_, 0] => one.next(),
            // Full modulation, of which the mean power is that of a tone.
            [_, _] if sound.modulation => one.next() * (1.0 + other.next()) / 1.225,
            [_, _] => (one.next() + other.next()) * std::f32::consts::FRAC_1_SQRT_2,
        };
        let edge = EDGE_MS * per_ms;
        let left = if length == 0 { edge } else { length - self.at };
        let fade = self.at.min(left).min(edge) as f32 / edge as f32;
        self.at = self.at.saturating_add(1);
        if length > 0 && self.at >= length {
            self.place = (self.place + 1) % self.cadence.len();
            self.begin();
        }
        (wave * fade * HEIGHT) as i16
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    const SIGNALS: [Signal; 4] =
        [Signal::Ringback, Signal::Busy, Signal::Congestion, Signal::SpecialInformation];

    fn played(country: &str, signal: Signal, rate: u32, milliseconds: u32) -> Vec<i16> {
        let mut player = Player::new(cadence(country, signal), rate);
        let mut out = vec![0; (rate / 1_000 * milliseconds) as usize];
        out.chunks_mut(rate as usize / 50).for_each(|frame| player.fill(frame));
        out
    }

    /// Level of a frequency in dB below full scale.
    fn level(sound: &[i16], frequency: f64, rate: u32) -> f64 {
        let (mut real, mut imaginary) = (0.0, 0.0);
        for (at, &sample) in sound.iter().enumerate() {
            let angle = TAU * frequency * at as f64 / f64::from(rate);
            real += f64::from(sample) * angle.cos();
            imaginary += f64::from(sample) * angle.sin();
        }
        20.0 * ((real * real + imaginary * imaginary).sqrt() * 2.0 / sound.len() as f64 / 32_767.0 + 1e-9)
            .log10()
    }

    /// Sounds and pauses of a tone as milliseconds, a pause negative; pauses of less than 10 ms are none.
    fn rhythm(sound: &[i16]) -> Vec<i32> {
        let loud: Vec<bool> =
            sound.chunks(80).map(|piece| piece.iter().any(|sample| sample.abs() > 300)).collect();
        loud.chunk_by(|a, b| a == b).map(|run| if run[0] { 10 } else { -10 } * run.len() as i32).collect()
    }

    #[test]
    fn countries_sound_as_their_networks_do() {
        let table: [(&str, Signal, &[f64], &[i32]); 16] = [
            ("US", Signal::Ringback, &[440.0, 480.0], &[2_000, -4_000]),
            ("US", Signal::Busy, &[480.0, 620.0], &[500, -500, 500, -500]),
            ("CA", Signal::Congestion, &[480.0, 620.0], &[250, -250, 250, -250]),
            ("GB", Signal::Ringback, &[400.0, 450.0], &[400, -200, 400, -2_000, 400, -200]),
            ("GB", Signal::Busy, &[400.0], &[380, -370]),
            ("DE", Signal::Ringback, &[425.0], &[1_000, -4_000]),
            ("de", Signal::Busy, &[425.0], &[480, -480]),
            ("FR", Signal::Ringback, &[440.0], &[1_500, -3_500]),
            ("ES", Signal::Busy, &[425.0], &[200, -200]),
            ("IT", Signal::Congestion, &[425.0], &[200, -200]),
            ("AU", Signal::Ringback, &[400.0, 425.0, 450.0], &[400, -200, 400, -2_000]),
            ("JP", Signal::Ringback, &[384.0, 400.0, 416.0], &[1_000, -2_000]),
            ("MX", Signal::Busy, &[425.0], &[250, -250]),
            ("BR", Signal::Congestion, &[425.0], &[250, -250, 750, -250]),
            ("IN", Signal::Ringback, &[375.0, 400.0, 425.0], &[400, -200, 400, -2_000]),
            ("XX", Signal::Ringback, &[425.0], &[1_000, -4_000]),
        ];
        for (country, signal, frequencies, expected) in table {
            let sound = played(country, signal, 8_000, 6_000);
            let first = &sound[..expected[0] as usize * 8];
            for &frequency in frequencies {
                let found = level(first, frequency, 8_000);
                assert!(
                    (-26.0..-10.0).contains(&found),
                    "{country} {signal:?}: {frequency} Hz at {found:.1} dB"
                );
            }
            assert!(level(first, 700.0, 8_000) < -45.0, "{country} {signal:?}");
            let found = rhythm(&sound);
            for (found, expected) in found.iter().zip(expected) {
                // A modulated tone passes through zero; runs are those of 10 ms.
                assert!(
                    (found - expected).abs() <= 20 || frequencies.len() == 3,
                    "{country} {signal:?}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn special_information_rises_in_three_steps() {
        let sound = played("FR", Signal::SpecialInformation, 8_000, 2_000);
        for (place, frequency) in [950.0, 1_400.0, 1_800.0].into_iter().enumerate() {
            assert!(level(&sound[place * 2_640..(place + 1) * 2_640], frequency, 8_000) > -15.0);
        }
        assert_eq!(crate::level::level(&sound[8_000..15_000]), 127);
    }

    #[test]
    fn every_tone_is_loud_enough_and_never_clicks() {
        for national in &COUNTRIES {
            for signal in SIGNALS {
                for rate in [8_000, 16_000, 48_000] {
                    let sound = played(national.country, signal, rate, 3_000);
                    let first = cadence(national.country, signal)[0];
                    let length = (rate / 1_000 * u32::from(first.duration_ms)) as usize;
                    let loudness = crate::level::level(&sound[..length]);
                    assert!(
                        (14..=19).contains(&loudness),
                        "{} {signal:?}: −{loudness} dBov",
                        national.country
                    );
                    let steepest = sound.windows(2).map(|pair| (pair[0] - pair[1]).abs()).max();
                    // 1,800 Hz at 8 kHz moves by 1.3 of its height in a sample.
                    assert!(steepest < Some(10_500), "{} {signal:?} {steepest:?}", national.country);
                }
            }
        }
    }

    #[test]
    fn the_table_is_in_order_and_complete() {
        assert!(COUNTRIES.is_sorted_by_key(|national| national.country));
        for country in ["US", "CA", "GB", "DE", "FR", "ES", "IT", "AU", "JP", "MX", "BR", "IN"] {
            assert!(is_known(country), "{country}");
        }
        assert!(!is_known("XX") && !is_known(""));
        for national in &COUNTRIES {
            for signal in SIGNALS {
                let cadence = cadence(national.country, signal);
                assert!(!cadence.is_empty() && cadence.iter().all(|sound| sound.duration_ms > 0));
            }
        }
    }

    #[test]
    fn an_empty_cadence_is_silence_and_an_endless_tone_never_ends() {
        let mut out = [1; 160];
        Player::new(&[], 8_000).fill(&mut out);
        assert_eq!(out, [0; 160]);
        const DIAL: Cadence = &[two(350, 440, 0)];
        let mut player = Player::new(DIAL, 8_000);
        (0..500).for_each(|_| player.fill(&mut out));
        assert!(crate::level::level(&out) < 25);
    }
}
