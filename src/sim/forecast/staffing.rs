//! How many agents are needed: the fewest that reach the target, found by doubling and halving.
//!
//! Every number of agents is tried under the same contacts ([`super::Setup`] draws them alike), so that one more agent does not
//! seem worse by chance. Rates that change are looked at interval by interval, each as if it lasted for ever (the stationary
//! independent period by period approach: Green, Kolesar and Soares 2001): right where contacts are short beside intervals.

use serde::Serialize;

use super::{Forecast, Setup, Wrong, erlang::Line};
use model::demand::{AGENTS_MAX, Demand, Members};

/// A search among numbers of agents.
#[derive(Debug, Clone)]
pub struct Search {
    /// Fewer do not do.
    low: u32,
    /// So many do.
    high: Option<u32>,
    next: u32,
}

/// What a search has found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// The group whose number was sought.
    pub group: String,
    /// When, of a day: such as `08:30`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The fewest that do. None: not even [`AGENTS_MAX`].
    pub agents: Option<u32>,
    /// The same with those who are paid and not at the telephone (`shrinkagePercent`).
    pub scheduled: Option<u32>,
}

impl Search {
    /// Begins at a guess. Where that is nobody, nobody is needed.
    #[must_use]
    pub fn from(guess: u32) -> Self {
        let high = (guess == 0).then_some(0);
        Self { low: 0, high, next: guess.min(AGENTS_MAX) }
    }

    /// The number to be tried next. None: it is over.
    #[must_use]
    pub fn next(&self) -> Option<u32> {
        let is_open = self.high.is_none_or(|high| high > self.low + 1) && self.low < AGENTS_MAX;
        is_open.then_some(self.next)
    }

    /// Whether that number was enough.
    pub fn learn(&mut self, enough: bool) {
        // A guess is near: what is next to it is looked at before what is far.
        let tried = self.next;
        if enough {
            self.high = Some(tried);
        } else {
            self.low = tried;
        }
        self.next = match self.high {
            None => tried.saturating_add((tried / 8).max(1)).min(AGENTS_MAX),
            Some(high) if self.low == 0 && high > 1 => (high - (high / 8).max(1)).max(1),
            Some(high) => u32::midpoint(self.low, high),
        };
    }

    /// The fewest that were enough.
    #[must_use]
    pub const fn found(&self) -> Option<u32> {
        self.high
    }
}

impl Setup {
    /// Times at which a number of agents is sought: once, or in each interval.
    #[must_use]
    pub fn questions(&self) -> usize {
        self.intervals()
    }

    /// Where a search should begin: what Erlang C needs for the same work, less those who are there anyway.
    #[must_use]
    pub fn guess(&self, interval: usize) -> u32 {
        let Some(target) = &self.demand.find else { return 1 };
        let asked = |load: &usize| {
            target.queues.is_empty() || target.queues.contains(&self.demand.queues[*load].queue)
        };
        let loads = (0..self.demand.queues.len()).filter(asked);
        let (mut rate, mut work) = (0.0, 0.0);
        for load in loads {
            rate += self.rate(load, interval);
            work += self.rate(load, interval) * self.demand.queues[load].handling.mean_seconds;
        }
        let (percent, seconds) = self.target(0);
        let enough = |agents: &u32| {
            let line = Line { rate, handling: work / rate, agents: *agents };
            line.without_patience(seconds).is_some_and(|theory| theory.in_time * 100.0 >= percent)
        };
        let least = (work.ceil() as u32).clamp(1, AGENTS_MAX);
        if rate <= 0.0 {
            return 0;
        }
        (least..=AGENTS_MAX).find(enough).unwrap_or(AGENTS_MAX)
    }

    /// The same with so many agents in the group that is sought, as if that interval lasted for ever.
    ///
    /// # Errors
    /// The first field that cannot be simulated.
    pub fn with_agents(&self, agents: u32, interval: usize) -> Result<Self, Wrong> {
        let mut demand = self.demand.clone();
        let wanted = demand.find.as_ref().map(|target| target.group.clone());
        demand.day = None;
        for load in &mut demand.queues {
            at_interval(&mut load.contacts_per_hour, interval);
        }
        for group in &mut demand.groups {
            if let Members::MadeUp { count, .. } = &mut group.members {
                if Some(&group.name) == wanted.as_ref() {
                    *count = vec![agents];
                } else {
                    at_interval(count, interval);
                }
            }
        }
        Self::new(demand, &self.queues, &self.agents)
    }

    /// The same with the agents that were found.
    ///
    /// # Errors
    /// The first field that cannot be simulated.
    pub fn staffed(&self, found: &[Found]) -> Result<Self, Wrong> {
        let mut demand: Demand = self.demand.clone();
        let counts: Vec<u32> = found.iter().map(|found| found.agents.unwrap_or(AGENTS_MAX)).collect();
        for group in &mut demand.groups {
            if let Members::MadeUp { count, .. } = &mut group.members
                && found.first().is_some_and(|found| found.group == group.name)
            {
                count.clone_from(&counts);
            }
        }
        Self::new(demand, &self.queues, &self.agents)
    }

    /// Whether the queues that were asked for reach their target.
    #[must_use]
    pub fn is_reached(&self, forecast: &Forecast) -> bool {
        let queues = self.demand.find.as_ref().map_or(&[][..], |target| &target.queues);
        forecast.reaches(queues)
    }

    /// What is told of a search that is over.
    #[must_use]
    pub fn told(&self, search: &Search, interval: usize) -> Found {
        let target = self.demand.find.as_ref();
        let there = 1.0 - target.map_or(0.0, |target| target.shrinkage_percent) / 100.0;
        let agents = search.found();
        Found {
            group: target.map(|target| target.group.clone()).unwrap_or_default(),
            from: self.demand.day.map(|_| super::outcome::clock(self, interval)),
            agents,
            scheduled: agents.map(|agents| (f64::from(agents) / there - 1e-9).ceil() as u32),
        }
    }
}

fn at_interval<T: Copy>(list: &mut Vec<T>, interval: usize) {
    if let Some(only) = list.get(interval).or_else(|| list.last()).copied() {
        *list = vec![only];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_finds_the_fewest_that_do_from_any_guess() {
        for fewest in [1, 2, 3, 17, 99, 1_000, AGENTS_MAX] {
            for guess in [1, 2, 15, 100, AGENTS_MAX] {
                let (mut search, mut tries) = (Search::from(guess), 0);
                while let Some(agents) = search.next() {
                    search.learn(agents >= fewest);
                    tries += 1;
                }
                assert_eq!(search.found(), Some(fewest), "from {guess}");
                assert!(tries < 90, "{fewest} from {guess}: {tries}");
            }
        }
    }

    #[test]
    fn a_search_without_an_answer_ends() {
        let mut search = Search::from(3);
        while search.next().is_some() {
            search.learn(false);
        }
        assert_eq!(search.found(), None);
    }
}
