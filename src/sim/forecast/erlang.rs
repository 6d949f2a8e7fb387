//! Queueing theory, for what it covers: one queue, agents who are all alike, contacts that come at random (Poisson), handling
//! and patience that are exponentially distributed, in the long run.
//!
//! - **Erlang C**: nobody hangs up. With offered load a = λ·h and n agents, the blocking probability B of a system without a
//!   queue by its recursion B(k) = a·B(k−1) / (k + a·B(k−1)), and C = B / (1 − ρ(1 − B)) with ρ = a/n: the share who wait.
//!   P(wait > t) = C·e^(−(n−a)t/h).
//! - **Erlang A** (Palm 1957; Mandelbaum and Zeltyn 2007): patience with mean 1/θ. States are a chain of births and deaths. Who
//!   comes with k ahead would be answered after Exp(nμ) + Exp(nμ + θ) + … + Exp(nμ + kθ), which is −ln X / θ with X of the Beta
//!   distribution B(nμ/θ, k + 1); so all shares are sums over k of positive terms, and nothing cancels.

/// Probabilities below this are nothing.
const TINY: f64 = 1e-14;

/// Longest line that is looked at.
const LINE_MAX: usize = 2_000_000;

/// What is expected in the long run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Theory {
    /// Share of contacts who must wait at all.
    pub waits: f64,
    /// Share of contacts who are answered within the aim.
    pub in_time: f64,
    /// Share of contacts who hang up.
    pub abandoned: f64,
    /// Mean wait of those who are answered, in seconds.
    pub mean_wait: f64,
    /// Their median, in seconds.
    pub p50: f64,
    /// Nine of ten of them wait no longer.
    pub p90: f64,
    /// 99 of a hundred of them.
    pub p99: f64,
    /// Share of agents' time with contacts.
    pub occupancy: f64,
}

/// What comes, and who is there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// Contacts in a second.
    pub rate: f64,
    /// Mean handling, in seconds.
    pub handling: f64,
    /// At least 1.
    pub agents: u32,
}

impl Line {
    /// Agents who would be busy all the time.
    #[must_use]
    pub fn offered(&self) -> f64 {
        self.rate * self.handling
    }

    /// Share of contacts who find all agents busy where nobody may wait: Erlang's formula B.
    #[must_use]
    pub fn blocked(&self) -> f64 {
        let offered = self.offered();
        let more = |blocked: f64, agents: u32| offered * blocked / (f64::from(agents) + offered * blocked);
        (1..=self.agents).fold(1.0, more)
    }

    /// Erlang C. None: more comes than the agents can do, and the wait grows for ever.
    #[must_use]
    pub fn without_patience(&self, aim: f64) -> Option<Theory> {
        let (load, blocked) = (self.offered() / f64::from(self.agents), self.blocked());
        if load >= 1.0 {
            return None;
        }
        let waits = blocked / (1.0 - load * (1.0 - blocked));
        let drain = (f64::from(self.agents) - self.offered()) / self.handling;
        let percentile = |share: f64| (waits / (1.0 - share)).ln().max(0.0) / drain;
        Some(Theory {
            waits,
            in_time: 1.0 - waits * (-drain * aim).exp(),
            abandoned: 0.0,
            mean_wait: waits / drain,
            p50: percentile(0.5),
            p90: percentile(0.9),
            p99: percentile(0.99),
            occupancy: load,
        })
    }

    /// Erlang A: with such a mean patience, in seconds.
    #[must_use]
    pub fn with_patience(&self, patience: f64, aim: f64) -> Theory {
        let Self { rate, handling, agents } = *self;
        let (served, leaves) = (f64::from(agents) / handling, 1.0 / patience);
        let line = self.line(served, leaves);
        let waits: f64 = line.iter().sum();
        // Of those who come with so many ahead, that share is answered.
        let reaches = |ahead: usize| served / (served + (ahead + 1) as f64 * leaves);
        let answered_late: f64 = line.iter().enumerate().map(|(ahead, share)| share * reaches(ahead)).sum();
        let answered = 1.0 - waits + answered_late;
        let mut expected = 0.0;
        let mut waited = 0.0;
        for (ahead, share) in line.iter().enumerate() {
            // Given that it is answered each step is by θ quicker.
            expected += 1.0 / (served + (ahead + 1) as f64 * leaves);
            waited += share * reaches(ahead) * expected;
        }
        let within = |time: f64| 1.0 - waits + answered_within(&line, served / leaves, leaves * time);
        let percentile = |share: f64| {
            let wanted = share * answered;
            if 1.0 - waits >= wanted {
                return 0.0;
            }
            let (mut low, mut high) = (0.0, patience);
            while within(high) < wanted && high < patience * 1e4 {
                high *= 2.0;
            }
            for _ in 0..50 {
                let middle = f64::midpoint(low, high);
                if within(middle) < wanted { low = middle } else { high = middle }
            }
            high
        };
        Theory {
            waits,
            in_time: within(aim),
            abandoned: 1.0 - answered,
            mean_wait: waited / answered,
            p50: percentile(0.5),
            p90: percentile(0.9),
            p99: percentile(0.99),
            occupancy: rate * answered * handling / f64::from(agents),
        }
    }

    /// Shares of contacts who come while all agents are busy, by how many wait then. Weights are relative to the state in
    /// which all are busy and nobody waits, and kept as logarithms: none is too large.
    fn line(&self, served: f64, leaves: f64) -> Vec<f64> {
        let mut logs = vec![0.0_f64];
        let (mut log, mut most) = (0.0_f64, 0.0_f64);
        for waiting in 1..LINE_MAX {
            log += (self.rate / (served + waiting as f64 * leaves)).ln();
            most = most.max(log);
            if log < most + TINY.ln() {
                break;
            }
            logs.push(log);
        }
        // All states up to that one together are 1/B of it.
        let below = -self.blocked().max(f64::MIN_POSITIVE).ln();
        most = most.max(below);
        let others = ((below - most).exp() - (-most).exp()).max(0.0);
        let weights: Vec<f64> = logs.iter().map(|log| (log - most).exp()).collect();
        let all = others + weights.iter().sum::<f64>();
        weights.into_iter().map(|weight| weight / all).collect()
    }
}

/// Share of all contacts who wait and are answered within t, where `steps` is nμ/θ and `time` is θt: for each place the share who
/// are answered at all, c/(c + k + 1), times the part of the Beta distribution B(c + 1, k + 1) above e^(−θt).
fn answered_within(line: &[f64], steps: f64, time: f64) -> f64 {
    let (least, rest) = (steps + 1.0, -(-time).exp_m1());
    // The distribution's part below is a sum of negative binomial probabilities, each from the one before.
    let mut log = -least * time;
    let mut below = 0.0;
    let mut sum = 0.0;
    for (ahead, share) in line.iter().enumerate() {
        below += log.exp();
        log += (rest * (least + ahead as f64) / (ahead + 1) as f64).ln();
        sum += share * steps / (steps + (ahead + 1) as f64) * (1.0 - below).max(0.0);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(agents: u32, load: f64) -> Line {
        Line { rate: load * f64::from(agents) / 180.0, handling: 180.0, agents }
    }

    fn near(found: f64, wanted: f64, within: f64) {
        assert!((found - wanted).abs() <= within, "{found} is not {wanted}");
    }

    /// States one by one, and waits by solving for each how its time passes: slow, and another way.
    fn by_states(line: &Line, patience: f64, aim: f64) -> (f64, f64, f64) {
        let (served, leaves) = (1.0 / line.handling, 1.0 / patience);
        let n = line.agents as usize;
        let mut shares = vec![1.0_f64];
        for state in 1..n + 400 {
            let leaves = state.min(n) as f64 * served + state.saturating_sub(n) as f64 * leaves;
            shares.push(shares[state - 1] * line.rate / leaves);
        }
        let all: f64 = shares.iter().sum();
        let waits = shares[n..].iter().sum::<f64>() / all;
        let hung_up: f64 = (n..shares.len()).map(|s| shares[s] * (s - n) as f64 * leaves).sum::<f64>() / all;
        // alive[k]: share of those with k ahead who still wait, their own patience included, after so many jumps of a clock
        // that is quicker than any state (uniformization).
        let mut alive: Vec<f64> = shares[n..].iter().map(|share| share / all).collect();
        let down = |ahead: usize| n as f64 * served + ahead as f64 * leaves;
        let clock = down(alive.len());
        let jumps = clock * aim;
        let (mut weight, mut is_answered, mut answered) = ((-jumps).exp(), 1.0 - waits, 0.0);
        for jump in 0..(jumps + 12.0 * jumps.sqrt() + 20.0) as u32 {
            answered += weight * is_answered;
            weight *= jumps / f64::from(jump + 1);
            is_answered += alive[0] * n as f64 * served / clock;
            for k in 0..alive.len() {
                let from = alive.get(k + 1).map_or(0.0, |next| next * down(k + 1));
                alive[k] += (from - alive[k] * down(k + 1)) / clock;
            }
        }
        (waits, hung_up / line.rate, answered)
    }

    #[test]
    fn erlang_c_is_what_tables_say() {
        // Tables of Erlang C: offered load, agents, share who wait.
        for (offered, agents, waits) in
            [(1.0, 2, 0.3333), (5.0, 6, 0.5875), (10.0, 12, 0.4494), (20.0, 25, 0.2095)]
        {
            let line = Line { rate: offered / 100.0, handling: 100.0, agents };
            near(line.without_patience(20.0).unwrap().waits, waits, 6e-4);
        }
        assert_eq!(line(5, 1.0).without_patience(20.0), None);
    }

    #[test]
    fn one_agent_is_m_m_1() {
        let theory = line(1, 0.8).without_patience(60.0).unwrap();
        near(theory.waits, 0.8, 1e-12);
        near(theory.mean_wait, 0.8 * 180.0 / 0.2, 1e-9);
        near(theory.p90, 180.0 / 0.2 * 8.0_f64.ln(), 1e-9);
    }

    #[test]
    fn erlang_a_is_what_its_states_say() {
        for (agents, load, patience) in
            [(1, 0.9, 60.0), (5, 0.8, 180.0), (10, 1.3, 90.0), (40, 1.0, 600.0), (40, 0.9, 30.0)]
        {
            let line = line(agents, load);
            let theory = line.with_patience(patience, 20.0);
            let (waits, abandoned, in_time) = by_states(&line, patience, 20.0);
            near(theory.waits, waits, 1e-9);
            near(theory.abandoned, abandoned, 1e-9);
            near(theory.in_time, in_time, 1e-4);
            near(theory.occupancy, load * (1.0 - abandoned), 1e-9);
        }
    }

    #[test]
    fn endless_patience_is_erlang_c() {
        for (agents, load) in [(1, 0.7), (10, 0.9), (100, 0.95)] {
            let line = line(agents, load);
            let (c, a) = (line.without_patience(20.0).unwrap(), line.with_patience(1e9, 20.0));
            for (found, wanted) in [
                (a.waits, c.waits),
                (a.in_time, c.in_time),
                (a.mean_wait, c.mean_wait),
                (a.p90, c.p90),
                (a.p99, c.p99),
            ] {
                near(found, wanted, wanted * 1e-3 + 1e-3);
            }
        }
    }

    #[test]
    fn extremes_are_numbers() {
        for (agents, load, patience) in
            [(5_000, 0.2, 10.0), (5_000, 0.999, 1e5), (5_000, 3.0, 100.0), (1, 500.0, 1.0), (1, 1e-6, 1e6)]
        {
            let theory = line(agents, load).with_patience(patience, 20.0);
            let shares = [theory.waits, theory.in_time, theory.abandoned, theory.occupancy];
            assert!(shares.iter().all(|share| (-1e-9..=1.0 + 1e-9).contains(share)), "{theory:?}");
            let times = [theory.mean_wait, theory.p50, theory.p90, theory.p99];
            assert!(times.iter().all(|time| time.is_finite() && *time >= 0.0), "{theory:?}");
        }
        // Three times what can be done: a third is.
        near(line(5_000, 3.0).with_patience(100.0, 20.0).abandoned, 2.0 / 3.0, 1e-3);
    }
}
