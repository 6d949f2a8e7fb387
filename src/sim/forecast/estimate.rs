//! What many runs say together, and how sure it is.

use serde::Serialize;

/// A figure and how far off it may be: in 95 of 100 cases what is true lies within `plus_minus` of `value`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// Half the width of the interval of confidence.
    pub plus_minus: f64,
}

impl Estimate {
    /// Of what all runs say together, and each by itself (sectioning): runs are independent, so their spread around the whole
    /// tells how sure it is. None: nothing was seen to make it of.
    pub(super) fn of(whole: Option<f64>, each: impl Iterator<Item = Option<f64>>) -> Option<Self> {
        let value = whole?;
        let (mut count, mut squares) = (0_u32, 0.0);
        for one in each.flatten() {
            count += 1;
            squares += (one - value).powi(2);
        }
        if count < 2 {
            return Some(Self { value, plus_minus: f64::INFINITY });
        }
        let error = (squares / f64::from(count) / f64::from(count - 1)).sqrt();
        Some(Self { value, plus_minus: student(count - 1) * error })
    }

    /// Whether something may be the truth.
    #[must_use]
    pub fn admits(&self, truth: f64) -> bool {
        (self.value - truth).abs() <= self.plus_minus
    }
}

/// 97.5th percentile of Student's distribution.
fn student(freedom: u32) -> f64 {
    const FEW: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
    const NORMAL: f64 = 1.959_964;
    let few = freedom.checked_sub(1).and_then(|place| FEW.get(usize::try_from(place).ok()?));
    few.copied().unwrap_or_else(|| {
        // Cornish and Fisher's expansion.
        let (z, v) = (NORMAL, f64::from(freedom.max(1)));
        let (z3, z5) = (z.powi(3), z.powi(5));
        z + (z3 + z) / (4.0 * v) + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * v * v)
    })
}

/// From one step of [`Waits`] to the next.
const STEP: f64 = 1.01;

/// Shorter waits, in seconds, are none.
const LEAST: f64 = 0.05;

/// Steps up to 24 hours and more.
const STEPS: usize = 1_500;

/// Waits by their length, each known to half a hundredth: as much memory for any number of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Waits {
    none: u64,
    /// Empty while there are none.
    steps: Vec<u32>,
}

impl Waits {
    pub fn add(&mut self, seconds: f64) {
        if seconds < LEAST {
            self.none += 1;
            return;
        }
        if self.steps.is_empty() {
            self.steps = vec![0; STEPS];
        }
        let step = ((seconds / LEAST).ln() / STEP.ln()) as usize;
        if let Some(count) = self.steps.get_mut(step.min(STEPS - 1)) {
            *count = count.saturating_add(1);
        }
    }

    pub fn merge(&mut self, other: &Self) {
        self.none += other.none;
        if self.steps.is_empty() {
            self.steps.clone_from(&other.steps);
            return;
        }
        for (count, more) in self.steps.iter_mut().zip(&other.steps) {
            *count = count.saturating_add(*more);
        }
    }

    fn count(&self) -> u64 {
        self.none + self.steps.iter().map(|count| u64::from(*count)).sum::<u64>()
    }

    /// So long wait at most that share of them, in seconds. None: nobody does.
    pub fn percentile(&self, share: f64) -> Option<f64> {
        let count = self.count();
        let wanted = (share * count as f64).ceil().max(1.0) as u64;
        if count == 0 {
            return None;
        }
        let mut below = self.none;
        if below >= wanted {
            return Some(0.0);
        }
        let at = self.steps.iter().position(|step| {
            below += u64::from(*step);
            below >= wanted
        });
        at.map(|step| LEAST * STEP.powf(step as f64 + 0.5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_holds_the_truth_in_95_of_100_cases() {
        let mut lots = super::super::lots::Lots::new(5, []);
        let mut held = 0;
        for _ in 0..2_000 {
            let runs: Vec<f64> = (0..12).map(|_| lots.exponential()).collect();
            let whole = runs.iter().sum::<f64>() / 12.0;
            let estimate = Estimate::of(Some(whole), runs.iter().map(|run| Some(*run))).unwrap();
            held += u32::from(estimate.admits(1.0));
        }
        // Somewhat fewer: what is drawn here is skewed, and twelve are few.
        assert!((1_780..=1_960).contains(&held), "{held}");
        assert_eq!(Estimate::of(None, [Some(1.0)].into_iter()), None);
    }

    #[test]
    fn students_percentiles_are_those_of_tables() {
        for (freedom, wanted) in
            [(1, 12.706), (10, 2.228), (11, 2.201), (19, 2.093), (60, 2.000), (1_000, 1.962)]
        {
            assert!((student(freedom) - wanted).abs() < 0.003, "{freedom}: {}", student(freedom));
        }
    }

    #[test]
    fn percentiles_are_known_to_a_hundredth() {
        let mut waits = Waits::default();
        assert_eq!(waits.percentile(0.5), None);
        (0..1_000).for_each(|_| waits.add(0.0));
        (1..=1_000).for_each(|tenths| waits.add(f64::from(tenths) / 10.0));
        assert_eq!(waits.percentile(0.5), Some(0.0));
        for (share, wanted) in [(0.75, 50.0), (0.9, 80.0), (0.99, 98.0)] {
            let found = waits.percentile(share).unwrap();
            assert!((found / wanted - 1.0).abs() < 0.01, "{share}: {found}");
        }
        waits.add(1e9);
        assert!(waits.percentile(1.0).unwrap() > 86_400.0);
    }
}
