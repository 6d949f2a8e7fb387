//! Crowds: what must be so is so, equal plans run alike, and what fails is made small.

#![expect(clippy::disallowed_methods, reason = "a test begins at some time")]

use std::time::{Duration, Instant};

use sim::crowd::{self, Failed, Fault, Invariant, Plan, Size, Violation, What};

/// A thousand interactions; tests/campaign has more.
const FIRST: u64 = 1;
const SEEDS: u64 = 9;
const CONTACTS: u32 = 120;

fn plan(seed: u64) -> Plan {
    Plan::of(seed, Size { contacts: CONTACTS })
}

#[test]
fn a_thousand_contacts_come_to_their_ends() {
    let begins = Instant::now();
    let mut all = crowd::Tally::default();
    for seed in FIRST..FIRST + SEEDS {
        let ran = crowd::run(&plan(seed), begins);
        if let Some(failed) = ran.failed {
            panic!("seed {seed} fails after {:?}: {:?}", failed.at, failed.violation);
        }
        all.add(&ran.tally);
    }
    assert_eq!(all.interactions, SEEDS * u64::from(CONTACTS));
    // A campaign in which nothing happens finds nothing.
    let offered = all.offers > all.interactions / 4 && all.answered > all.interactions / 8;
    for invariant in Invariant::ALL {
        assert!(all.held(invariant) > 0, "{invariant:?} is never held against anything");
    }
    assert!(offered, "{} offers, {} answered", all.offers, all.answered);
}

#[test]
fn equal_plans_run_alike() {
    let begins = Instant::now();
    let first = crowd::run(&plan(7), begins);
    let again = crowd::run(&plan(7), begins + Duration::from_secs(3_600));
    assert_eq!(first.tally, again.tally);
    assert_eq!(plan(7), plan(7));
    assert_ne!(plan(7), plan(8));
}

/// Fails where the contact calls while telephones are cut off.
fn fails(plan: &Plan) -> Option<Failed> {
    let calls = plan.contacts().any(|contact| contact.id == 17);
    let cut = plan.parts.iter().any(|part| matches!(part.what, What::Fault(Fault::PhoneVanishes(..))));
    let violation = Violation { invariant: Invariant::Ends, message: "made up".into() };
    (calls && cut).then(|| Failed { violation, at: Duration::from_hours(24), ladder: Vec::new() })
}

#[test]
fn what_fails_is_made_as_small_as_it_can_be() {
    let found = (1..).map(plan).find(|plan| fails(plan).is_some()).unwrap();
    let shrunk = crowd::shrink_with(&found, 5_000, fails).unwrap();
    let told: Vec<String> = shrunk.plan.parts.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told.iter().any(|part| part.contains("contact 17 calls")), "{told:#?}");
    assert!(told.iter().any(|part| part.contains("PhoneVanishes")), "{told:#?}");
    let contact = shrunk.plan.contacts().next().unwrap();
    assert_eq!((contact.deeds.len(), contact.rings.len()), (0, 1), "what it does without is left out");
    assert!(
        crowd::shrink(&plan(15), Instant::now(), 10).is_none(),
        "what does not fail cannot be made small"
    );
}
