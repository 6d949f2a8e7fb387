//! The E-model (ITU-T G.107): how a call would be judged, by what was measured of it.
//!
//! All of G.107 §7 is calculated, with table 3's values for what a media server cannot measure (loudness, room noise, echo), so that the
//! inputs and each impairment can be shown beside the result. The scale is the narrowband one for every codec (93.2 is the best, 4.41
//! its MOS-CQ): one call's legs can be compared, and a wideband codec is not said to be better than it was heard by the other leg.

use model::media::Codec;

/// What the calculation takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Inputs {
    /// Ie: what the codec spoils without any loss (G.113 appendix I).
    pub equipment_impairment: f64,
    /// Bpl: how well it stands losses; 1 to 40.
    pub loss_robustness: f64,
    /// Packets lost or discarded, in percent.
    pub loss_percent: f64,
    /// BurstR: 1 for losses by chance, more for bursts ([`crate::burst`]).
    pub burst_ratio: f64,
    /// From mouth to ear, in milliseconds: network, jitter buffer, packets and coders.
    pub one_way_delay_ms: f64,
    /// A: what users forgive for the sake of mobility (0 to 20).
    pub advantage: f64,
}

/// What comes out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rating {
    /// R, 0 to 100.
    pub r: f64,
    /// MOS-CQ, 1 to 4.5.
    pub mos: f64,
    /// Ro − Is: what is left before delay and loss.
    pub basic: f64,
    /// Id: what delay takes.
    pub delay_impairment: f64,
    /// Ie-eff: what codec and loss take.
    pub effective_equipment_impairment: f64,
}

/// A codec's Ie and Bpl, and whether G.113 has them: for G.722 and Opus on the narrowband scale it has none, and what stands here
/// is an estimate by their concealment.
#[must_use]
pub const fn impairment(codec: Codec) -> (f64, f64, bool) {
    match codec {
        // G.711 with the concealment of its Appendix I, random losses.
        Codec::Pcmu | Codec::Pcma => (0.0, 25.1, true),
        // G.729A with VAD.
        Codec::G729 => (11.0, 19.0, true),
        // Concealed as G.711 is, but the coder takes some frames to be right again.
        Codec::G722 => (0.0, 20.0, false),
        // A little coding noise at 24 kbit/s; concealment is its own.
        Codec::Opus => (2.0, 20.0, false),
    }
}

impl Inputs {
    /// Of a codec, without loss and delay.
    #[must_use]
    pub const fn of(codec: Codec) -> Self {
        let (equipment_impairment, loss_robustness, _) = impairment(codec);
        Self {
            equipment_impairment,
            loss_robustness,
            loss_percent: 0.0,
            burst_ratio: 1.0,
            one_way_delay_ms: 0.0,
            advantage: 0.0,
        }
    }

    /// R and what it is made of. Inputs outside of what G.107 knows are moved to its bounds.
    #[must_use]
    pub fn rating(&self) -> Rating {
        let delay = bounded(self.one_way_delay_ms, 0.0, 10_000.0);
        let (ro, no) = signal_to_noise();
        let simultaneous = simultaneous(ro, no, delay);
        let delay_impairment = delay_impairment(ro, no, delay);
        let ie = bounded(self.equipment_impairment, 0.0, 95.0);
        let loss = bounded(self.loss_percent, 0.0, 100.0);
        let robustness = bounded(self.loss_robustness, 1.0, 40.0);
        let effective = ie + (95.0 - ie) * loss / (loss / bounded(self.burst_ratio, 1.0, 8.0) + robustness);
        let basic = ro - simultaneous;
        let r = (basic - delay_impairment - effective + bounded(self.advantage, 0.0, 20.0)).clamp(0.0, 100.0);
        Rating { r, mos: mos(r), basic, delay_impairment, effective_equipment_impairment: effective }
    }
}

/// Annex B.
#[must_use]
pub fn mos(r: f64) -> f64 {
    if r <= 0.0 {
        1.0
    } else if r >= 100.0 {
        4.5
    } else {
        // The cubic dips below 1 near nothing.
        (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
    }
}

/// Not a number counts as the lower bound.
fn bounded(value: f64, least: f64, most: f64) -> f64 {
    if value.is_nan() { least } else { value.clamp(least, most) }
}

// Table 3.
const SLR: f64 = 8.0;
const RLR: f64 = 2.0;
const STMR: f64 = 15.0;
const DS: f64 = 3.0;
const DR: f64 = 3.0;
const TELR: f64 = 65.0;
const WEPL: f64 = 110.0;
const QDU: f64 = 1.0;
const NC: f64 = -70.0;
const NFOR: f64 = -64.0;
const PS: f64 = 35.0;
const PR: f64 = 35.0;

fn power(decibels: f64) -> f64 {
    10f64.powf(decibels / 10.0)
}

/// §7.2: Ro and the sum of all noise.
fn signal_to_noise() -> (f64, f64) {
    let olr = SLR + RLR;
    let nos = PS - SLR - DS - 100.0 + 0.004 * (PS - olr - DS - 14.0).powi(2);
    let lstr = STMR + DR;
    let pre = PR + 10.0 * (1.0 + power(10.0 - lstr)).log10();
    let nor = RLR - 121.0 + pre + 0.008 * (pre - 35.0).powi(2);
    let nfo = NFOR + RLR;
    let no = 10.0 * (power(NC) + power(nos) + power(nor) + power(nfo)).log10();
    (15.0 - 1.5 * (SLR + no), no)
}

/// §7.3: Is, what is spoilt together with the voice.
fn simultaneous(ro: f64, no: f64, delay: f64) -> f64 {
    let xolr = SLR + RLR + 0.2 * (64.0 + no - RLR);
    let iolr = 20.0 * ((1.0 + (xolr / 8.0).powi(8)).powf(0.125) - xolr / 8.0);
    let stmro = -10.0 * (power(-STMR) + (-delay / 4.0).exp() * power(-TELR)).log10();
    let root = |x: f64, exponent: i32| (1.0 + x.powi(exponent)).powf(1.0 / f64::from(exponent));
    let ist = 12.0 * root((stmro - 13.0) / 6.0, 8)
        - 28.0 * root((stmro + 1.0) / 19.4, 35)
        - 13.0 * root((stmro - 3.0) / 33.0, 13)
        + 29.0;
    let q = 37.0 - 15.0 * QDU.log10();
    let g = 1.07 + 0.258 * q + 0.060_2 * q * q;
    let y = (ro - 100.0) / 15.0 + 46.0 / 8.4 - g / 9.0;
    let z = 46.0 / 30.0 - g / 40.0;
    let iq = 15.0 * (1.0 + 10f64.powf(y) + 10f64.powf(z)).log10();
    iolr + ist + iq
}

/// §7.4: Id, of which talker's and listener's echo are small with table 3's echo loss, and the absolute delay counts from 100 ms on.
fn delay_impairment(ro: f64, no: f64, delay: f64) -> f64 {
    let terv = TELR - 40.0 * ((1.0 + delay / 10.0) / (1.0 + delay / 150.0)).log10()
        + 6.0 * (-0.3 * delay * delay).exp();
    let (roe, re) = (-1.5 * (no - RLR), 80.0 + 2.5 * (terv - 14.0));
    let talker =
        ((roe - re) / 2.0 + ((roe - re).powi(2) / 4.0 + 100.0).sqrt() - 1.0) * (1.0 - (-delay).exp());
    let talker = if delay < 1.0 { 0.0 } else { talker };
    let rle = 10.5 * (WEPL + 7.0) * (2.0 * delay + 1.0).powf(-0.25);
    let listener = (ro - rle) / 2.0 + ((ro - rle).powi(2) / 4.0 + 169.0).sqrt();
    let absolute = if delay <= 100.0 {
        0.0
    } else {
        let x = (delay / 100.0).log2();
        25.0 * ((1.0 + x.powi(6)).powf(1.0 / 6.0) - 3.0 * (1.0 + (x / 3.0).powi(6)).powf(1.0 / 6.0) + 2.0)
    };
    talker + listener + absolute
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rating(delay: f64, loss: f64, burst: f64, codec: Codec) -> Rating {
        Inputs { one_way_delay_ms: delay, loss_percent: loss, burst_ratio: burst, ..Inputs::of(codec) }
            .rating()
    }

    #[test]
    fn the_default_values_give_what_g_107_says() {
        let best = rating(0.0, 0.0, 1.0, Codec::Pcma);
        assert!((best.r - 93.2).abs() < 0.05, "{best:?}");
        assert!((best.mos - 4.41).abs() < 0.01, "{best:?}");
        assert!((best.basic - 93.2).abs() < 0.2, "{best:?}");
    }

    #[test]
    fn delay_and_loss_take_what_g_107_and_g_113_say() {
        // G.107: Ie-eff by hand for the codec's Ie and Bpl.
        let table = [
            (Codec::Pcmu, 1.0, 1.0, 3.64),
            (Codec::Pcmu, 5.0, 1.0, 15.78),
            (Codec::Pcmu, 5.0, 2.0, 17.21),
            (Codec::G729, 2.0, 1.0, 19.0),
        ];
        for (codec, loss, burst, expected) in table {
            let found = rating(0.0, loss, burst, codec).effective_equipment_impairment;
            assert!((found - expected).abs() < 0.02, "{codec:?} {loss} %: {found}");
        }
        // G.107 figure 1 and G.114: small until 150 ms, then more and more.
        for (delay, least, most) in [
            (50.0, 0.5, 2.5),
            (150.0, 3.0, 6.0),
            (200.0, 6.0, 10.0),
            (300.0, 15.0, 21.0),
            (400.0, 27.0, 33.0),
        ] {
            let found = rating(delay, 0.0, 1.0, Codec::Pcma).delay_impairment;
            assert!((least..most).contains(&found), "{delay} ms: {found}");
        }
    }

    #[test]
    fn r_becomes_mos_as_annex_b_says() {
        for (r, expected) in
            [(0.0, 1.0), (50.0, 2.58), (60.0, 3.10), (70.0, 3.60), (80.0, 4.03), (90.0, 4.34), (100.0, 4.5)]
        {
            assert!((mos(r) - expected).abs() < 0.01, "{r}: {}", mos(r));
        }
    }

    proptest! {
        #[test]
        fn worse_is_never_rated_better(delay in 0.0..1_000.0f64, loss in 0.0..60.0f64, burst in 1.0..4.0f64) {
            for codec in [Codec::Pcmu, Codec::G722, Codec::Opus, Codec::G729] {
                let here = rating(delay, loss, burst, codec);
                prop_assert!((0.0..=100.0).contains(&here.r) && (1.0..=4.5).contains(&here.mos));
                prop_assert!(rating(delay + 10.0, loss, burst, codec).r <= here.r + 0.01);
                prop_assert!(rating(delay, loss + 1.0, burst, codec).r <= here.r);
                prop_assert!(rating(delay, loss, burst + 0.5, codec).r <= here.r);
            }
        }

        #[test]
        fn any_numbers_are_taken(values in prop::array::uniform6(any::<f64>())) {
            let [equipment_impairment, loss_robustness, loss_percent, burst_ratio, one_way_delay_ms, advantage] = values;
            let rating = Inputs { equipment_impairment, loss_robustness, loss_percent, burst_ratio, one_way_delay_ms, advantage }.rating();
            prop_assert!((0.0..=100.0).contains(&rating.r) && (1.0..=4.5).contains(&rating.mos));
        }
    }
}
