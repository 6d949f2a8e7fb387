//! What telephone networks say without words: ring-back, busy, congestion, special information, by country (ITU-T E.180 and its
//! supplement 2, the national tables; of 2003 as "Various tones used in national networks").
//!
//! Compared line by line with Asterisk's `configs/samples/indications.conf.sample`, which names its sources, mostly that
//! supplement: Australia is after ACIF S002, Great Britain after BT SIN 350, New Zealand after TNA 102. Where that file only works
//! around its own player (Australia's 420 Hz, Japan's 400+15 for a modulation) or has a tone that no network has (a single tone for
//! Spain's special information), the supplement stands. Ireland is not in that file; its tones are the supplement's.
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
    special: Cadence,
}

/// E.180's special information tone, which nearly every country has: three rising tones of 330 ms, then a second of silence.
const SPECIAL: Cadence = &[tone(950, 330), tone(1_400, 330), tone(1_800, 330), pause(1_000)];

const NORTH_AMERICA: National = National {
    country: "US",
    ringback: &[two(440, 480, 2_000), pause(4_000)],
    busy: &[two(480, 620, 500), pause(500)],
    congestion: &[two(480, 620, 250), pause(250)],
    special: SPECIAL,
};

/// Where a country is not in the table: E.180's recommendation, 425 Hz.
const RECOMMENDED: National = National {
    country: "",
    ringback: &[tone(425, 1_000), pause(4_000)],
    busy: &[tone(425, 500), pause(500)],
    congestion: &[tone(425, 250), pause(250)],
    special: SPECIAL,
};

/// By country code (ISO 3166-1 alpha-2), in its order.
const COUNTRIES: [National; 29] = [
    National {
        country: "AT",
        ringback: &[tone(420, 1_000), pause(5_000)],
        busy: &[tone(420, 400), pause(400)],
        congestion: &[tone(420, 200), pause(200)],
        special: &[tone(950, 330), tone(1_450, 330), tone(1_850, 330), pause(1_000)],
    },
    National {
        country: "AU",
        ringback: &[two(413, 438, 400), pause(200), two(413, 438, 400), pause(2_000)],
        busy: &[tone(425, 375), pause(375)],
        congestion: &[tone(425, 375), pause(375)],
        special: &[tone(425, 2_500), pause(500)],
    },
    National {
        country: "BE",
        ringback: &[tone(425, 1_000), pause(3_000)],
        busy: &[tone(425, 500), pause(500)],
        congestion: &[tone(425, 167), pause(167)],
        special: &[tone(900, 330), tone(1_400, 330), tone(1_800, 330), pause(1_000)],
    },
    National {
        country: "BR",
        ringback: &[tone(425, 1_000), pause(4_000)],
        busy: &[tone(425, 250), pause(250)],
        congestion: &[tone(425, 250), pause(250), tone(425, 750), pause(250)],
        special: SPECIAL,
    },
    National { country: "CA", ..NORTH_AMERICA },
    National {
        country: "CH",
        ringback: &[tone(425, 1_000), pause(4_000)],
        busy: &[tone(425, 500), pause(500)],
        congestion: &[tone(425, 200), pause(200)],
        special: SPECIAL,
    },
    National {
        country: "CN",
        ringback: &[tone(450, 1_000), pause(4_000)],
        busy: &[tone(450, 350), pause(350)],
        congestion: &[tone(450, 700), pause(700)],
        special: &[
            tone(450, 100),
            pause(100),
            tone(450, 100),
            pause(100),
            tone(450, 100),
            pause(100),
            tone(450, 400),
            pause(400),
        ],
    },
    National {
        country: "CZ",
        ringback: &[tone(425, 1_000), pause(4_000)],
        busy: &[tone(425, 330), pause(330)],
        congestion: &[tone(425, 165), pause(165)],
        special: SPECIAL,
    },
    National {
        country: "DE",
        ringback: &[tone(425, 1_000), pause(4_000)],
        busy: &[tone(425, 480), pause(480)],
        congestion: &[tone(425, 240), pause(240)],
        special: SPECIAL,
    },
    National {
        country: "DK",
        ringback: &[tone(425, 1_000), pause(4_000)],
        busy: &[tone(425, 500), pause(500)],
        congestion: &[tone(425, 200), pause(200)],
        special: SPECIAL,
    },
    National {
        country: "ES",
        ringback: &[tone(425, 1_500), pause(3_000)],
        busy: &[tone(425, 200), pause(200)],
        congestion: &[tone(425, 200), pause(200), tone(425, 200), pause(200), tone(425, 200), pause(600)],
        special: SPECIAL,
    },
    National {
        country: "FI",
        ringback: &[tone(425, 1_000), pause(4_000)],
        busy: &[tone(425, 300), pause(300)],
        congestion: &[tone(425, 200), pause(200)],
        special: SPECIAL,
    },
    National {
        country: "FR",
        ringback: &[tone(440, 1_500), pause(3_500)],
        busy: &[tone(440, 500), pause(500)],
        congestion: &[tone(440, 250), pause(250)],
        special: SPECIAL,
    },
    National {
        country: "GB",
        ringback: &[two(400, 450, 400), pause(200), two(400, 450, 400), pause(2_000)],
        busy: &[tone(400, 375), pause(375)],
        congestion: &[tone(400, 400), pause(350), tone(400, 225), pause(525)],
        special: &[tone(950, 330), pause(15), tone(1_400, 330), pause(15), tone(1_800, 330), pause(1_000)],
    },
    National {
        country: "HU",
        ringback: &[tone(425, 1_250), pause(3_750)],
        busy: &[tone(425, 300), pause(300)],
        congestion: &[tone(425, 300), pause(300)],
        special: SPECIAL,
    },
    National {
        country: "IE",
        ringback: &[two(400, 450, 400), pause(200), two(400, 450, 400), pause(2_000)],
        busy: &[tone(425, 500), pause(500)],
        congestion: &[tone(425, 250), pause(250)],
        special: SPECIAL,
    },
    National {
        country: "IN",
        ringback: &[modulated(400, 25, 400), pause(200), modulated(400, 25, 400), pause(2_000)],
        busy: &[tone(400, 750), pause(750)],
        congestion: &[tone(400, 250), pause(250)],
        special: SPECIAL,
    },
    National {
        country: "IT",
        ringback: &[tone(425, 1_000), pause(4_000)],
        busy: &[tone(425, 500), pause(500)],
        congestion: &[tone(425, 200), pause(200)],
        special: SPECIAL,
    },
    National {
        country: "JP",
        ringback: &[modulated(400, 16, 1_000), pause(2_000)],
        busy: &[tone(400, 500), pause(500)],
        congestion: &[tone(400, 500), pause(500)],
        special: SPECIAL,
    },
    National {
        country: "MX",
        ringback: &[tone(425, 1_000), pause(4_000)],
        busy: &[tone(425, 250), pause(250)],
        congestion: &[tone(425, 250), pause(250)],
        special: &[tone(950, 330), pause(30), tone(1_400, 330), pause(30), tone(1_800, 330), pause(1_000)],
    },
    National {
        country: "NL",
        ringback: &[tone(425, 1_000), pause(4_000)],
        busy: &[tone(425, 500), pause(500)],
        congestion: &[tone(425, 250), pause(250)],
        special: SPECIAL,
    },
    National {
        country: "NO",
        ringback: &[tone(425, 1_000), pause(4_000)],
        busy: &[tone(425, 500), pause(500)],
        congestion: &[tone(425, 200), pause(200)],
        special: SPECIAL,
    },
    National {
        country: "NZ",
        ringback: &[two(400, 450, 400), pause(200), two(400, 450, 400), pause(2_000)],
        busy: &[tone(400, 500), pause(500)],
        congestion: &[tone(400, 250), pause(250)],
        special: &[
            tone(400, 750),
            pause(100),
            tone(400, 750),
            pause(100),
            tone(400, 750),
            pause(100),
            tone(400, 750),
            pause(400),
        ],
    },
    National {
        country: "PL",
        ringback: &[tone(425, 1_000), pause(4_000)],
        busy: &[tone(425, 500), pause(500)],
        congestion: &[tone(425, 500), pause(500)],
        special: SPECIAL,
    },
    National {
        country: "PT",
        ringback: &[tone(425, 1_000), pause(5_000)],
        busy: &[tone(425, 500), pause(500)],
        congestion: &[tone(425, 200), pause(200)],
        special: SPECIAL,
    },
    National {
        country: "SE",
        ringback: &[tone(425, 1_000), pause(5_000)],
        busy: &[tone(425, 250), pause(250)],
        congestion: &[tone(425, 250), pause(750)],
        special: &[tone(950, 332), pause(24), tone(1_400, 332), pause(24), tone(1_800, 332), pause(2_024)],
    },
    National {
        country: "SG",
        ringback: &[modulated(425, 24, 400), pause(200), modulated(425, 24, 400), pause(2_000)],
        busy: &[tone(425, 750), pause(750)],
        congestion: &[tone(425, 250), pause(250)],
        special: SPECIAL,
    },
    NORTH_AMERICA,
    National {
        country: "ZA",
        ringback: &[modulated(400, 33, 400), pause(200), modulated(400, 33, 400), pause(2_000)],
        busy: &[tone(400, 500), pause(500)],
        congestion: &[tone(400, 250), pause(250)],
        special: &[tone(950, 330), tone(1_400, 330), tone(1_800, 330), pause(330)],
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
        Signal::SpecialInformation => national.special,
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
            ("AU", Signal::Ringback, &[413.0, 438.0], &[400, -200, 400, -2_000]),
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

    /// A country's tones as Asterisk's indications.conf writes them: ring-back, busy, congestion, special information. `*` is a
    /// modulation, `+` a sum.
    const WRITTEN: [(&str, [&str; 4]); 29] = [
        ("AT", ["420/1000,0/5000", "420/400,0/400", "420/200,0/200", "950/330,1450/330,1850/330,0/1000"]),
        ("AU", ["413+438/400,0/200,413+438/400,0/2000", "425/375,0/375", "425/375,0/375", "425/2500,0/500"]),
        ("BE", ["425/1000,0/3000", "425/500,0/500", "425/167,0/167", "900/330,1400/330,1800/330,0/1000"]),
        ("BR", ["425/1000,0/4000", "425/250,0/250", "425/250,0/250,425/750,0/250", RISING]),
        ("CA", ["440+480/2000,0/4000", "480+620/500,0/500", "480+620/250,0/250", RISING]),
        ("CH", ["425/1000,0/4000", "425/500,0/500", "425/200,0/200", RISING]),
        (
            "CN",
            [
                "450/1000,0/4000",
                "450/350,0/350",
                "450/700,0/700",
                "450/100,0/100,450/100,0/100,450/100,0/100,450/400,0/400",
            ],
        ),
        ("CZ", ["425/1000,0/4000", "425/330,0/330", "425/165,0/165", RISING]),
        ("DE", ["425/1000,0/4000", "425/480,0/480", "425/240,0/240", RISING]),
        ("DK", ["425/1000,0/4000", "425/500,0/500", "425/200,0/200", RISING]),
        ("ES", ["425/1500,0/3000", "425/200,0/200", "425/200,0/200,425/200,0/200,425/200,0/600", RISING]),
        ("FI", ["425/1000,0/4000", "425/300,0/300", "425/200,0/200", RISING]),
        ("FR", ["440/1500,0/3500", "440/500,0/500", "440/250,0/250", RISING]),
        (
            "GB",
            [
                "400+450/400,0/200,400+450/400,0/2000",
                "400/375,0/375",
                "400/400,0/350,400/225,0/525",
                "950/330,0/15,1400/330,0/15,1800/330,0/1000",
            ],
        ),
        ("HU", ["425/1250,0/3750", "425/300,0/300", "425/300,0/300", RISING]),
        ("IE", ["400+450/400,0/200,400+450/400,0/2000", "425/500,0/500", "425/250,0/250", RISING]),
        ("IN", ["400*25/400,0/200,400*25/400,0/2000", "400/750,0/750", "400/250,0/250", RISING]),
        ("IT", ["425/1000,0/4000", "425/500,0/500", "425/200,0/200", RISING]),
        ("JP", ["400*16/1000,0/2000", "400/500,0/500", "400/500,0/500", RISING]),
        (
            "MX",
            [
                "425/1000,0/4000",
                "425/250,0/250",
                "425/250,0/250",
                "950/330,0/30,1400/330,0/30,1800/330,0/1000",
            ],
        ),
        ("NL", ["425/1000,0/4000", "425/500,0/500", "425/250,0/250", RISING]),
        ("NO", ["425/1000,0/4000", "425/500,0/500", "425/200,0/200", RISING]),
        (
            "NZ",
            [
                "400+450/400,0/200,400+450/400,0/2000",
                "400/500,0/500",
                "400/250,0/250",
                "400/750,0/100,400/750,0/100,400/750,0/100,400/750,0/400",
            ],
        ),
        ("PL", ["425/1000,0/4000", "425/500,0/500", "425/500,0/500", RISING]),
        ("PT", ["425/1000,0/5000", "425/500,0/500", "425/200,0/200", RISING]),
        (
            "SE",
            [
                "425/1000,0/5000",
                "425/250,0/250",
                "425/250,0/750",
                "950/332,0/24,1400/332,0/24,1800/332,0/2024",
            ],
        ),
        ("SG", ["425*24/400,0/200,425*24/400,0/2000", "425/750,0/750", "425/250,0/250", RISING]),
        ("US", ["440+480/2000,0/4000", "480+620/500,0/500", "480+620/250,0/250", RISING]),
        (
            "ZA",
            [
                "400*33/400,0/200,400*33/400,0/2000",
                "400/500,0/500",
                "400/250,0/250",
                "950/330,1400/330,1800/330,0/330",
            ],
        ),
    ];
    const RISING: &str = "950/330,1400/330,1800/330,0/1000";

    /// Each part of each tone of each country is listened to: its frequencies are there and no other of the table's, a pause is
    /// silent, and the next part begins when it should.
    #[test]
    fn every_country_sounds_as_it_is_written() {
        const HEARD: [f64; 17] = [
            400.0, 413.0, 420.0, 425.0, 438.0, 440.0, 450.0, 480.0, 620.0, 900.0, 950.0, 1_000.0, 1_400.0,
            1_450.0, 1_800.0, 1_850.0, 2_500.0,
        ];
        assert_eq!(WRITTEN.map(|(country, _)| country), COUNTRIES.map(|national| national.country));
        for (country, tones) in WRITTEN {
            for (signal, written) in SIGNALS.into_iter().zip(tones) {
                let sound = played(country, signal, 8_000, 6_000);
                let mut at = 0;
                for part in written.split(',') {
                    let (tone, ms) = part.split_once('/').unwrap();
                    let length = ms.parse::<usize>().unwrap() * 8;
                    let heard = &sound[at..(at + length).min(sound.len())];
                    at += length;
                    let what = format!("{country} {signal:?} {part}");
                    let frequencies: Vec<f64> =
                        tone.split(['+', '*']).map(|text| text.parse().unwrap()).collect();
                    match &frequencies[..] {
                        [0.0] => assert!(heard.iter().all(|&sample| sample == 0), "{what}"),
                        [carrier, by] if tone.contains('*') => {
                            for side in [carrier - by, carrier + by] {
                                assert!(
                                    (-30.0..-15.0).contains(&level(heard, side, 8_000)),
                                    "{what}: {side}"
                                );
                            }
                            assert!((-20.0..-10.0).contains(&level(heard, *carrier, 8_000)), "{what}");
                        }
                        all => {
                            for &frequency in all {
                                let found = level(heard, frequency, 8_000);
                                assert!((-20.0..-10.0).contains(&found), "{what}: {found:.1} dB");
                            }
                            // What lies nearer than the ear of this length can tell apart is passed over.
                            let apart = 8_000.0 / heard.len() as f64 * 4.0;
                            let others = HEARD.iter().filter(|other| {
                                all.iter().all(|frequency| (**other - frequency).abs() > apart.max(60.0))
                            });
                            for &other in others {
                                let found = level(heard, other, 8_000);
                                assert!(found < -28.0, "{what}: {other} Hz at {found:.1} dB");
                            }
                        }
                    }
                }
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
