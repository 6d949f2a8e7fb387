//! The floor beside queueing theory, where its assumptions hold: contacts at random, times at random, patience without end.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::{Duration, Instant},
};

use model::{
    AgentId, Key, QueueId,
    centre::{Channel, Selection},
};

use super::chaos::{agent, queue};
use crate::{Arrival, ContactId, Floor, Output};

/// Uniform in 0 to 1, from Steele, Lea and Flood's generator.
struct Lots(u64);

impl Lots {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut lot = self.0;
        lot = (lot ^ (lot >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        lot = (lot ^ (lot >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((lot ^ (lot >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn exponential(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.uniform()).ln())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    Comes,
    Done(u64),
}

struct Outcome {
    mean_wait: f64,
    waited: f64,
    /// Sums of the waits that were foretold, and that came.
    foretold: f64,
    came: f64,
}

#[expect(clippy::disallowed_methods, reason = "a test begins at some time")]
fn run(agents: u32, load: f64, contacts: u64) -> Outcome {
    let began = Instant::now();
    let handling = Duration::from_secs(180);
    let between = handling.div_f64(load * f64::from(agents));
    let id = QueueId(Key::new("acme", "sales"));
    let mut sales = queue(Vec::new(), Selection::LongestIdle);
    sales.contacts_max = 10_000;
    sales.wait_seconds_max = 86_400;
    let names: Vec<AgentId> = (0..agents).map(|at| AgentId(Key::new("acme", &format!("a{at}")))).collect();
    let queues = BTreeMap::from([(id.clone(), Arc::new(sales))]);
    let team: BTreeMap<_, _> = names.iter().map(|name| (name.clone(), Arc::new(agent(&[])))).collect();
    let mut floor = Floor::new(began);
    floor.configure(queues.iter(), team.iter(), began);
    for name in &names {
        floor.sign(name, true, began);
        floor.reach(name, true, began);
    }
    let mut lots = Lots(7);
    let mut agenda = BinaryHeap::from([Reverse((began, Happens::Comes))]);
    let (mut next, mut waited, mut waits, mut answered) = (0, 0_u64, 0.0, 0_u64);
    let (mut foretold, mut came) = (0.0, 0.0);
    let mut entered: BTreeMap<u64, (Instant, Option<Duration>)> = BTreeMap::new();
    let mut handled: BTreeMap<u64, AgentId> = BTreeMap::new();
    while let Some(Reverse((now, happens))) = agenda.pop() {
        floor.timeout(now);
        match happens {
            Happens::Comes if next < contacts => {
                let contact = ContactId(next);
                next += 1;
                let arrival = Arrival {
                    contact,
                    queue: id.clone(),
                    channel: Channel::Voice,
                    priority: None,
                    entered: now,
                    wait_max: None,
                    calls_back: false,
                    sender: None,
                };
                floor.enter(&arrival, now).unwrap();
                entered.insert(contact.0, (now, floor.expected_wait(contact)));
                agenda.push(Reverse((now + lots.exponential(between), Happens::Comes)));
            }
            Happens::Comes => {}
            Happens::Done(contact) => {
                if let Some(agent) = handled.remove(&contact) {
                    floor.release(&agent, ContactId(contact), now);
                }
            }
        }
        while let Some(output) = floor.poll() {
            if let Output::Offer { contact, agent, .. } = output {
                assert!(floor.accept(&agent, contact, now));
                handled.insert(contact.0, agent);
                agenda.push(Reverse((now + lots.exponential(handling), Happens::Done(contact.0))));
                let (since, guess) = entered.remove(&contact.0).unwrap();
                let wait = (now - since).as_secs_f64();
                answered += 1;
                waits += wait;
                if wait > 0.0 {
                    waited += 1;
                    if let Some(guess) = guess {
                        foretold += guess.as_secs_f64();
                        came += wait;
                    }
                }
            }
        }
    }
    assert_eq!(answered, contacts, "everybody is answered, and once");
    Outcome { mean_wait: waits / answered as f64, waited: waited as f64 / answered as f64, foretold, came }
}

/// Share of contacts who wait, by Erlang's formula C.
fn erlang_c(agents: u32, load: f64) -> f64 {
    let offered = load * f64::from(agents);
    let blocked =
        (1..=agents).fold(1.0, |blocked, agent| offered * blocked / (f64::from(agent) + offered * blocked));
    blocked / (1.0 - load * (1.0 - blocked))
}

#[test]
fn waits_are_those_of_erlangs_formula() {
    for (agents, load) in [(1, 0.7), (10, 0.9), (50, 0.95)] {
        let outcome = run(agents, load, 200_000);
        let share = erlang_c(agents, load);
        let mean = share * 180.0 / (f64::from(agents) * (1.0 - load));
        let error = |found: f64, theory: f64| (found / theory - 1.0).abs();
        assert!(error(outcome.waited, share) < 0.05, "{agents}: {} wait, not {share}", outcome.waited);
        assert!(error(outcome.mean_wait, mean) < 0.10, "{agents}: {} s, not {mean}", outcome.mean_wait);
    }
}

#[test]
fn the_wait_that_is_foretold_comes() {
    for (agents, load) in [(5, 0.9), (20, 0.95)] {
        let outcome = run(agents, load, 100_000);
        let ratio = outcome.foretold / outcome.came;
        assert!((0.85..1.15).contains(&ratio), "{agents}: {ratio} of what came was foretold");
    }
}
