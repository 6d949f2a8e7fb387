//! The campaign: crowds, seed by seed, on all cores, until so many contacts have called; and the mutants of the engine, each of
//! which must be caught by them.

#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use acd::mutants::{self, Mutant};
use sim::crowd::{self, Failed, Invariant, Plan, Size, Tally};

/// Contacts of one crowd.
const CONTACTS: u32 = 200;

/// Most contacts of the crowds in which a mutant must be caught.
const MUTANT_MAX: u64 = 60_000;

/// How often a plan that fails is tried with less.
const TRIES: usize = 1_000;

/// How often the campaign says how far it is.
const TELLS: Duration = Duration::from_secs(20);

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
enum Order {
    /// So many interactions, from this seed on.
    Campaign(u64, u64),
    Mutants,
}

fn main() -> ExitCode {
    let order = match order(std::env::args().skip(1)) {
        Ok(order) => order,
        Err(wrong) => {
            println!("{wrong}; use: [INTERACTIONS] [--seed N] | mutants");
            return ExitCode::from(2);
        }
    };
    let is_good = match order {
        Order::Campaign(interactions, seed) => campaign(interactions, seed),
        Order::Mutants => all_mutants(),
    };
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn order(mut words: impl Iterator<Item = String>) -> Result<Order, String> {
    let (mut interactions, mut seed) = (None, None);
    while let Some(word) = words.next() {
        match word.as_str() {
            "mutants" => return Ok(Order::Mutants),
            "--seed" => {
                let value = words.next().ok_or("--seed takes a number")?;
                seed = Some(value.parse().map_err(|_| format!("--seed {value} is no number"))?);
            }
            _ => interactions = Some(word.parse().map_err(|_| format!("{word} is no number"))?),
        }
    }
    // A seed alone is one crowd.
    let interactions = interactions.unwrap_or(if seed.is_some() { 1 } else { 1_000_000 });
    Ok(Order::Campaign(interactions, seed.unwrap_or(1)))
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn plan(seed: u64) -> Plan {
    Plan::of(seed, Size { contacts: CONTACTS })
}

fn campaign(interactions: u64, first: u64) -> bool {
    let begun = Instant::now();
    let seeds = interactions.div_ceil(CONTACTS.into());
    let (next, done, stop) = (AtomicU64::new(first), AtomicU64::new(0), AtomicBool::new(false));
    let (sum, failed) = (Mutex::new(Tally::default()), Mutex::new(None));
    thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                let mut own = Tally::default();
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        break;
                    }
                    let ran = crowd::run(&plan(seed), begun);
                    own.add(&ran.tally);
                    done.fetch_add(1, Ordering::Relaxed);
                    if let Some(found) = ran.failed {
                        stop.store(true, Ordering::Relaxed);
                        let mut failed = failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                        // The lowest of those that fail at once, so that equal campaigns tell the same.
                        if failed.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
                            *failed = Some((seed, found));
                        }
                    }
                }
                sum.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).add(&own);
            });
        }
        scope.spawn(|| {
            let mut told = begun;
            while done.load(Ordering::Relaxed) < seeds && !stop.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(200));
                if told.elapsed() >= TELLS {
                    told = Instant::now();
                    let done = done.load(Ordering::Relaxed) * u64::from(CONTACTS);
                    println!("{done} interactions after {} s", begun.elapsed().as_secs());
                }
            }
        });
    });
    let sum = sum.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    summary(&sum, (first, seeds), begun.elapsed());
    let failed = failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some((seed, failed)) = failed {
        report(seed, &failed, begun);
        return false;
    }
    true
}

/// A failure, its seed, and as little as it takes.
fn report(seed: u64, failed: &Failed, begun: Instant) {
    println!("\nseed {seed} FAILED after {:.3} s:", failed.at.as_secs_f64());
    println!("  {:?}: {}", failed.violation.invariant, failed.violation.message);
    let Some(shrunk) = crowd::shrink(&plan(seed), begun, TRIES) else {
        println!("  it does not fail again: not all that it depends on is in its plan");
        return;
    };
    println!("\nas little as it takes ({} tries): {:#?}", shrunk.tries, shrunk.plan.centre);
    for part in &shrunk.plan.parts {
        println!("{part}");
    }
    println!("\nthe end of the ladder:");
    for line in &shrunk.failed.ladder {
        println!("{line}");
    }
    println!("\n  {:?}: {}", shrunk.failed.violation.invariant, shrunk.failed.violation.message);
    println!("again: tests/campaign/run --seed {seed}");
}

fn summary(sum: &Tally, (first, seeds): (u64, u64), took: Duration) {
    let row = |name: &str, value: String| println!("{name:<34} {value:>14}");
    let count = |name: &str, value: u64| row(name, value.to_string());
    println!();
    count("interactions", sum.interactions);
    row("seeds", format!("{} of {seeds} from {first}", sum.crowds));
    count("inputs of the engine", sum.inputs);
    count("SIP messages", sum.messages);
    count("  lost on the way", sum.lost);
    count("calls", sum.calls);
    for (name, times) in &sum.outcomes {
        count(&format!("  {name}"), *times);
    }
    count("  refused for a cap", sum.capped);
    count("legs dialled", sum.legs);
    count("waits", sum.waits);
    row("  longest", format!("{:.1} s", sum.longest_wait.as_secs_f64()));
    count("offers", sum.offers);
    count("  answered", sum.answered);
    println!("what people did");
    for (name, times) in &sum.deeds {
        count(&format!("  {name}"), *times);
    }
    println!("what broke or changed");
    for (name, times) in &sum.faults {
        count(&format!("  {name}"), *times);
    }
    println!("what was held, and how often");
    for invariant in Invariant::ALL {
        count(&format!("  {invariant:?}"), sum.held(invariant));
    }
    row("seconds", format!("{:.1}", took.as_secs_f64()));
    row("interactions per second", format!("{:.0}", sum.interactions as f64 / took.as_secs_f64()));
}

/// How a mutant was caught.
struct Caught {
    mutant: Mutant,
    interactions: u64,
    /// The seed, and what was said.
    by: Option<(u64, String)>,
}

impl std::fmt::Display for Caught {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = format!("{:?}", self.mutant);
        let (seed, told) = match &self.by {
            Some((seed, told)) => (seed.to_string(), told.chars().take(130).collect()),
            None => ("-".into(), String::from("SURVIVES")),
        };
        write!(f, "{name:<28} {seed:>6} {:>13}  {told}", self.interactions)
    }
}

fn all_mutants() -> bool {
    let begun = Instant::now();
    let (next, all) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let furthest = AtomicU64::new(1);
    println!("{:<28} {:>6} {:>13}  caught by", "mutant", "seed", "interactions");
    thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let mutant = usize::try_from(place).ok().and_then(|place| Mutant::ALL.get(place));
                    let Some(mutant) = mutant.copied() else { break };
                    let caught = hunt(mutant, begun);
                    if let Some((seed, _)) = &caught.by {
                        furthest.fetch_max(*seed, Ordering::Relaxed);
                    }
                    let mut all = all.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    println!("{caught}");
                    all.push(caught);
                }
            });
        }
    });
    let all = all.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let survivors = all.iter().filter(|caught| caught.by.is_none()).count();
    // Where nothing is wrong nothing is found.
    let clean =
        (1..=furthest.into_inner()).find_map(|seed| Some((seed, crowd::run(&plan(seed), begun).failed?)));
    if let Some((seed, failed)) = &clean {
        println!("without a mutant seed {seed} fails as well: {}", failed.violation.message);
    }
    println!("{} mutants, {survivors} survive; {:.1} s", all.len(), begun.elapsed().as_secs_f64());
    survivors == 0 && clean.is_none()
}

fn hunt(mutant: Mutant, begun: Instant) -> Caught {
    mutants::choose(Some(mutant));
    let mut interactions = 0;
    let mut by = None;
    for seed in 1.. {
        if interactions >= MUTANT_MAX {
            break;
        }
        // Whoever panics is caught as well.
        let Ok(ran) = std::panic::catch_unwind(|| crowd::run(&plan(seed), begun)) else {
            by = Some((seed, "it panics".into()));
            break;
        };
        interactions += ran.tally.interactions;
        if let Some(Failed { violation, .. }) = ran.failed {
            by = Some((seed, format!("{:?}: {}", violation.invariant, violation.message)));
            break;
        }
    }
    mutants::choose(None);
    Caught { mutant, interactions, by }
}
