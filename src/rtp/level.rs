//! How loud somebody is, and who of many is speaking.

/// Level of silence, in −dBov.
pub const SILENCE: u8 = 127;

/// A frame's level in −dBov, 0 to 127, as RFC 6464 §3 has it: root mean square against full scale.
#[must_use]
pub fn level(pcm: &[i16]) -> u8 {
    let sum: i64 = pcm.iter().map(|&sample| i64::from(sample) * i64::from(sample)).sum();
    let power = sum as f64 / pcm.len().max(1) as f64 / (32_767.0 * 32_767.0);
    if power < 2e-13 { SILENCE } else { (-10.0 * power.log10()).round().clamp(0.0, 127.0) as u8 }
}

/// Who of a conference is speaking: not who is loudest this moment, but who has been for a while.
#[derive(Debug, Clone)]
pub struct ActiveSpeaker {
    /// Smoothed, in dB above the lowest level.
    loudness: Vec<f32>,
    active: Option<usize>,
    /// Who would take over, and since how many milliseconds.
    challenger: Option<(usize, u32)>,
}

/// A challenger must be louder by so much, dB, for so long, ms.
const LEAD_DB: f32 = 6.0;
const LEAD_MS: u32 = 300;
/// Below this nobody speaks: −60 dBov.
const SPEAKS_DB: f32 = 67.0;
/// Loudness rises within some 60 ms and falls within half a second.
const RISE_MS: f32 = 60.0;
const FALL_MS: f32 = 500.0;

impl ActiveSpeaker {
    /// For so many parties.
    #[must_use]
    pub fn new(parties: usize) -> Self {
        Self { loudness: vec![0.0; parties], active: None, challenger: None }
    }

    /// Takes the levels ([`level`]) of a frame of so many milliseconds, in the order of the parties. Returns the active speaker where
    /// it has changed.
    pub fn heard(&mut self, frame_ms: u32, levels: impl IntoIterator<Item = u8>) -> Option<usize> {
        for (loudness, level) in self.loudness.iter_mut().zip(levels) {
            let now = f32::from(SILENCE - level.min(SILENCE));
            let time = if now > *loudness { RISE_MS } else { FALL_MS };
            *loudness += (now - *loudness) * (frame_ms as f32 / time).min(1.0);
        }
        let loudest = self.loudness.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
        let (place, loudness) = loudest.filter(|(_, loudness)| *loudness >= SPEAKS_DB)?;
        let Some(active) = self.active else {
            self.active = Some(place);
            return self.active;
        };
        let present = self.loudness.get(active).copied().unwrap_or(0.0);
        // Who has fallen silent needs no overbearing.
        if place == active || loudness < present + LEAD_DB && present >= SPEAKS_DB {
            self.challenger = None;
            return None;
        }
        let since =
            self.challenger.filter(|(challenger, _)| *challenger == place).map_or(0, |(_, since)| since)
                + frame_ms;
        if since < LEAD_MS {
            self.challenger = Some((place, since));
            return None;
        }
        self.challenger = None;
        self.active = Some(place);
        self.active
    }

    /// Who spoke last. None: nobody yet.
    #[must_use]
    pub const fn active(&self) -> Option<usize> {
        self.active
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_decibels_below_full_scale() {
        let square = |height: i16| [height, -height].repeat(80);
        let table = [(32_767, 0), (16_384, 6), (3_277, 20), (33, 60), (1, 90), (0, 127)];
        for (height, expected) in table {
            assert_eq!(level(&square(height)), expected, "{height}");
        }
        assert_eq!(level(&[]), SILENCE);
        assert_eq!(level(&[i16::MIN; 10]), 0);
    }

    /// Plays (duration, levels) and names each change as (ms, who).
    fn changes(script: &[(u32, [u8; 3])]) -> Vec<(u32, usize)> {
        let mut speaker = ActiveSpeaker::new(3);
        let mut now = 0;
        let mut changes = Vec::new();
        for &(duration, levels) in script {
            for _ in 0..duration / 20 {
                changes.extend(speaker.heard(20, levels).map(|who| (now, who)));
                now += 20;
            }
        }
        changes
    }

    #[test]
    fn who_speaks_is_told_and_a_cough_is_not() {
        let quiet = [80, 75, 127];
        let first = [25, 75, 127];
        let second = [80, 25, 127];
        let cough = [30, 15, 127];
        let who =
            |script: &[(u32, [u8; 3])]| changes(script).into_iter().map(|(_, who)| who).collect::<Vec<_>>();
        assert_eq!(who(&[(2_000, quiet)]), [] as [usize; 0]);
        assert_eq!(who(&[(1_000, quiet), (1_000, first)]), [0]);
        assert_eq!(who(&[(1_000, first), (100, cough), (1_000, first)]), [0]);
        assert_eq!(who(&[(1_000, first), (500, quiet), (2_000, second), (2_000, first)]), [0, 1, 0]);
        let taken_over = changes(&[(1_000, first), (3_000, second)])[1].0;
        assert!((1_300..2_000).contains(&taken_over), "{taken_over}");
    }
}
