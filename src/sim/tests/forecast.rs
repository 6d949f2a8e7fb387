//! Forecasts of floors beside queueing theory, and what the floor says of waits beside the waits that came.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use model::{
    AgentId, Key, QueueId,
    centre::{Agent, Channel, Queue, RequiredSkill, Selection},
    demand::{Day, Demand, Group, Load, Members, Spread, Target, Times},
};
use sim::forecast::{Beside, Estimate, Forecast, Search, Setup, Waited};

/// Mean handling of all tests, in seconds.
const HANDLING: f64 = 180.0;

fn queue_id(name: &str) -> QueueId {
    QueueId(Key::new("acme", name))
}

fn queue(skill: &str) -> Queue {
    Queue {
        channels: vec![Channel::Voice],
        skills: vec![RequiredSkill { name: skill.into(), minimum: 5, relax: Vec::new() }],
        selection: Selection::LongestIdle,
        priority: 5,
        ageing_seconds: None,
        service_percent: 80,
        service_seconds: 20,
        contacts_max: 100_000,
        wait_seconds_max: 864_000,
        music: Vec::new(),
        announcements: Vec::new(),
        language: String::new(),
        ring_seconds: 15,
        wrap_up_seconds: 30,
        callback_first: model::centre::First::Agent,
        callback_prompt: Vec::new(),
        dispositions: Vec::new(),
        disposition_required: false,
    }
}

fn queues(names: &[&str]) -> BTreeMap<QueueId, Arc<Queue>> {
    names.iter().map(|name| (queue_id(name), Arc::new(queue(name)))).collect()
}

fn load(name: &str, contacts_per_hour: Vec<f64>) -> Load {
    let handling = Times { mean_seconds: HANDLING, spread: Spread::Exponential };
    Load { queue: queue_id(name), contacts_per_hour, handling, patience: None }
}

fn group(name: &str, count: Vec<u32>, skills: &[&str]) -> Group {
    let skills = skills.iter().map(|skill| ((*skill).to_owned(), 8)).collect();
    Group { name: name.into(), members: Members::MadeUp { count, skills, queues: BTreeMap::new() } }
}

fn demand(queues: Vec<Load>, groups: Vec<Group>) -> Demand {
    Demand {
        tenant: "acme".into(),
        day: None,
        queues,
        groups,
        answer_seconds: 0.0,
        missed_percent: 0.0,
        return_seconds: 60.0,
        find: None,
        replications: 10,
        hours: 20.0,
        warm_up_hours: None,
        seed: 1,
    }
}

/// One queue with so many agents, who would be busy for that share of their time if nobody hung up.
fn one(agents: u32, busy: f64, patience: Option<f64>) -> Demand {
    let mut load = load("sales", vec![busy * f64::from(agents) * 3_600.0 / HANDLING]);
    load.patience = patience.map(|mean_seconds| Times { mean_seconds, spread: Spread::Exponential });
    let mut demand = demand(vec![load], vec![group("team", vec![agents], &["sales"])]);
    // As many contacts for each, and never so few hours that a line cannot forget.
    demand.hours = (4_000.0 / demand.queues[0].contacts_per_hour[0]).max(10.0);
    demand
}

fn setup(demand: Demand) -> Setup {
    let names: Vec<&str> = demand.queues.iter().map(|load| load.queue.0.name()).collect();
    Setup::new(demand.clone(), &queues(&names), &BTreeMap::new()).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "some instant is needed, and none is compared with")]
fn forecast(demand: Demand) -> Forecast {
    let setup = setup(demand);
    let begins = Instant::now();
    let runs: Vec<_> = (0..setup.demand().replications).map(|index| setup.replicate(index, begins)).collect();
    Forecast::of(&setup, &runs)
}

/// Every wait that counts.
#[expect(clippy::disallowed_methods, reason = "some instant is needed, and none is compared with")]
fn waits(setup: &Setup) -> Vec<Waited> {
    let (begins, mut all) = (Instant::now(), Vec::new());
    for index in 0..setup.demand().replications {
        setup.watched(index, begins, &mut |waited| all.push(*waited));
    }
    all
}

/// Twice what 95 of 100 intervals allow, for there are many figures; and what percentiles are known to.
fn agrees(simulated: &Estimate, theory: f64, unit: f64) -> bool {
    (simulated.value - theory).abs() <= 2.0 * simulated.plus_minus + 0.01 * theory + unit
}

fn is_as_theory_says(demand: Demand) {
    let what = format!("{:?} {:?}", demand.queues, demand.groups);
    let Beside::Theory(theory) = forecast(demand).theory else { panic!("theory covers {what}") };
    for (name, expected, simulated) in theory.figures {
        let simulated = simulated.unwrap();
        let unit = if name.contains("ait") { 0.3 } else { 0.002 };
        assert!(agrees(&simulated, expected, unit), "{name} is {simulated:?}, not {expected}: {what}");
    }
}

#[test]
fn waits_are_those_of_erlang_c() {
    for (agents, busy) in
        [(1, 0.5), (1, 0.8), (4, 0.7), (4, 0.9), (12, 0.8), (12, 0.93), (40, 0.85), (40, 0.95)]
    {
        is_as_theory_says(one(agents, busy, None));
    }
}

#[test]
fn waits_are_those_of_erlang_a() {
    for (agents, busy, patience) in [
        (1, 0.9, 60.0),
        (4, 0.8, 180.0),
        (4, 1.2, 90.0),
        (12, 0.9, 600.0),
        (12, 1.5, 60.0),
        (40, 0.95, 120.0),
        (40, 1.1, 300.0),
    ] {
        is_as_theory_says(one(agents, busy, Some(patience)));
    }
}

#[test]
fn theory_is_silent_where_it_does_not_hold_and_says_why() {
    let mut odd = one(4, 0.8, Some(100.0));
    odd.queues[0].handling.spread = Spread::Fixed;
    odd.queues[0].patience = Some(Times { mean_seconds: 100.0, spread: Spread::LogNormal(50.0) });
    (odd.answer_seconds, odd.missed_percent) = (4.0, 1.0);
    odd.queues.push(load("support", vec![5.0]));
    odd.hours = 2.0;
    let Beside::Because(reasons) = forecast(odd).theory else { panic!("theory does not cover it") };
    let all = reasons.join("; ");
    for part in ["more than one queue", "handling is not", "patience is not", "take a while", "ring out"] {
        assert!(all.contains(part), "{part} is not in {all}");
    }
    let mut crowded = one(2, 1.4, None);
    crowded.hours = 2.0;
    let Beside::Because(reasons) = forecast(crowded).theory else { panic!("more comes than can be done") };
    assert!(reasons[0].contains("grows for ever"), "{reasons:?}");
}

#[test]
fn equal_seeds_give_equal_forecasts_and_others_do_not() {
    let small = || Demand { hours: 3.0, replications: 4, ..one(4, 0.9, Some(90.0)) };
    assert_eq!(forecast(small()), forecast(small()));
    assert_ne!(forecast(small()), forecast(Demand { seed: 2, ..small() }));
}

#[test]
fn agents_who_are_alike_do_more_together_than_apart() {
    let two = |groups| {
        let loads = vec![load("sales", vec![90.0]), load("support", vec![90.0])];
        forecast(Demand { hours: 10.0, ..demand(loads, groups) })
    };
    let apart = two(vec![group("a", vec![5], &["sales"]), group("b", vec![5], &["support"])]);
    let together = two(vec![group("all", vec![10], &["sales", "support"])]);
    for (one, other) in apart.queues.iter().zip(&together.queues) {
        let wait = |queue: &sim::forecast::QueueForecast| queue.figures.mean_wait.unwrap().value;
        assert!(wait(other) < 0.6 * wait(one), "{} and {}", wait(other), wait(one));
    }
    let load = 90.0 / 3_600.0 * HANDLING / 5.0;
    for occupancy in apart.groups.iter().chain(&together.groups).map(|group| group.occupancy.unwrap()) {
        assert!(agrees(&occupancy, load, 0.0), "{occupancy:?}");
    }
}

#[test]
fn who_rings_out_or_answers_late_costs_waiting() {
    let with = |answer_seconds, missed_percent| {
        let demand = Demand { answer_seconds, missed_percent, hours: 10.0, ..one(8, 0.8, Some(240.0)) };
        forecast(demand).queues[0].figures.clone()
    };
    let (prompt, late) = (with(0.0, 0.0), with(6.0, 5.0));
    let mean = |figures: &sim::forecast::QueueFigures| figures.mean_wait.unwrap().value;
    assert!(mean(&late) > mean(&prompt) + 6.0, "{} and {}", mean(&late), mean(&prompt));
    assert!(late.wait_p50.unwrap().value >= 5.9, "{:?}", late.wait_p50);
}

#[test]
fn a_day_has_its_intervals_and_its_agents_come_and_go() {
    let mut day = demand(
        vec![load("sales", vec![40.0, 160.0, 0.0, 40.0])],
        vec![group("team", vec![4, 10, 1, 4], &["sales"])],
    );
    day.day = Some(Day { opens_minutes: 8 * 60, interval_minutes: 30, intervals: 4 });
    day.replications = 40;
    let forecast = forecast(day);
    assert!((forecast.hours - 2.0).abs() < 1e-9 && forecast.warm_up_hours == 0.0);
    let sales = &forecast.queues[0];
    let from: Vec<&str> = sales.intervals.iter().map(|interval| interval.from.as_str()).collect();
    assert_eq!(from, ["08:00", "08:30", "09:00", "09:30"]);
    for (interval, rate) in sales.intervals.iter().zip([40.0, 160.0, 0.0, 40.0]) {
        let found = interval.figures.contacts_per_hour.unwrap();
        assert!(agrees(&found, rate, 0.0), "{} has {found:?}, not {rate}", interval.from);
    }
    assert_eq!(sales.intervals[2].figures.mean_wait, None, "nobody came");
    assert_eq!(forecast.groups[0].agents, [4, 10, 1, 4]);
    let Beside::Because(reasons) = &forecast.theory else { panic!("a day is none of the long run") };
    assert!(reasons[0].contains("in the course of the day"), "{reasons:?}");
}

#[test]
fn a_search_finds_as_many_agents_as_erlang_c_where_it_holds() {
    let mut sought = one(1, 1.0, None);
    sought.queues[0].contacts_per_hour = vec![150.0];
    sought.find = Some(Target {
        group: "team".into(),
        queues: Vec::new(),
        level: Some((80.0, 20.0)),
        shrinkage_percent: 30.0,
    });
    (sought.hours, sought.replications) = (20.0, 6);
    let sought = setup(sought);
    let mut search = Search::from(sought.guess(0));
    let mut tried = Vec::new();
    while let Some(agents) = search.next() {
        let with = sought.with_agents(agents, 0).unwrap();
        let enough = sought.is_reached(&forecast(with.demand().clone()));
        tried.push((agents, enough));
        search.learn(enough);
    }
    // 7.5 erlangs: Erlang C says 11 agents for 80 % within 20 s of 180 s.
    let found = sought.told(&search, 0);
    assert_eq!((found.agents, found.scheduled), (Some(11), Some(16)), "{tried:?}");
    assert!(tried.len() <= 4, "{tried:?}");
}

#[test]
fn what_cannot_be_simulated_is_named() {
    let known = queues(&["sales"]);
    let wrong = |change: fn(&mut Demand)| {
        let mut demand = one(4, 0.8, None);
        change(&mut demand);
        Setup::new(demand, &known, &BTreeMap::new()).unwrap_err().to_string()
    };
    for (told, part) in [
        (
            wrong(|d| d.queues[0].queue = queue_id("sails")),
            "queues[0].name: must be a Queue of tenant acme (sales), not `sails`",
        ),
        (
            wrong(|d| d.queues[0].handling.mean_seconds = 20.0),
            "queues[0].handling.meanSeconds: must be the time for a contact with the work after it, at least the 30 s",
        ),
        (
            wrong(|d| d.answer_seconds = 15.0),
            "answerSeconds: must be less than the 15 s that Queue sales rings",
        ),
        (wrong(|d| d.queues.push(d.queues[0].clone())), "queues[1].name: must stand once"),
        (wrong(|d| d.groups.push(d.groups[0].clone())), "agents[1].group: must be unique"),
        (
            wrong(|d| d.groups[0].members = Members::Named(vec![AgentId(Key::new("acme", "ada"))])),
            "agents[0].names[0]: must be an Agent of tenant acme, not `ada`",
        ),
        (wrong(|d| d.hours = 1e9), "replications: times"),
    ] {
        assert!(told.starts_with(part), "{told}");
    }
}

#[test]
fn agents_of_a_folder_are_grouped_by_what_they_serve() {
    let agent = |skills: &[&str]| {
        Arc::new(Agent {
            display_name: "Ada".into(),
            skills: skills.iter().map(|skill| ((*skill).to_owned(), 6)).collect(),
            languages: Vec::new(),
            stations: Vec::new(),
            capacity: BTreeMap::from([(Channel::Voice, 1)]),
            sign_in: None,
            session_seconds: 3_600,
            outbound_number: None,
            supervises: Default::default(),
            lossy: false,
            music: Vec::new(),
            queues: BTreeMap::new(),
        })
    };
    let team = [("ada", &["sales"][..]), ("ben", &["sales"]), ("cleo", &["sales", "support"]), ("dan", &[])];
    let agents = team.into_iter().map(|(name, skills)| (AgentId(Key::new("acme", name)), agent(skills)));
    let demand = Demand { hours: 1.0, ..demand(vec![load("sales", vec![20.0])], Vec::new()) };
    let setup = Setup::new(demand, &queues(&["sales", "support"]), &agents.collect()).unwrap();
    #[expect(clippy::disallowed_methods, reason = "some instant is needed, and none is compared with")]
    let runs = [0, 1].map(|index| setup.replicate(index, Instant::now()));
    let forecast = Forecast::of(&setup, &runs);
    let groups = forecast.groups.iter().map(|group| (group.name.as_str(), group.agents[0]));
    assert_eq!(groups.collect::<Vec<_>>(), [("sales", 2), ("sales + support", 1)]);
}

// --- what the floor says of waits ---

/// What was expected ÷ what came, and how far off it was by root mean square ÷ the mean that came, of those who had to wait.
fn held_against(waits: &[Waited], of: impl Fn(&Waited) -> bool) -> (f64, f64, usize) {
    let of = waits.iter().filter(|waited| of(waited) && waited.answered && !waited.wait.is_zero());
    let told: Vec<(f64, f64)> =
        of.filter_map(|waited| Some((waited.expected?.as_secs_f64(), waited.wait.as_secs_f64()))).collect();
    let count = told.len().max(1) as f64;
    let expected = told.iter().map(|told| told.0).sum::<f64>() / count;
    let came = told.iter().map(|told| told.1).sum::<f64>() / count;
    let square = told.iter().map(|(expected, came)| (expected - came).powi(2)).sum::<f64>() / count;
    (expected / came, square.sqrt() / came, told.len())
}

/// Places in the line by which errors are told.
const PLACES: [std::ops::Range<usize>; 4] = [0..1, 1..4, 4..12, 12..40];

fn is_about_right(waits: &[Waited], what: &str, within: f64) {
    for places in PLACES {
        let (bias, error, count) = held_against(waits, |waited| places.contains(&waited.ahead));
        if count < 400 {
            continue;
        }
        eprintln!("{what}, {places:?} ahead: {bias:.3} of what came, off by {error:.2}, {count} waits");
        assert!((bias - 1.0).abs() < within, "{what}, {places:?} ahead: {bias:.3} of what came");
        // k + 1 random times are off by 1/√(k + 1) whatever is known; what is known adds no more than a quarter.
        let least = 1.0 / ((places.start + 1) as f64).sqrt();
        assert!(error < 1.25 * least + 0.1, "{what}, {places:?} ahead: off by {error:.2} of what came");
    }
}

#[test]
fn the_wait_that_is_expected_comes() {
    for (agents, busy) in [(1, 0.7), (5, 0.7), (5, 0.9), (20, 0.8), (20, 0.95), (50, 0.97)] {
        let waits = waits(&setup(one(agents, busy, None)));
        is_about_right(&waits, &format!("{agents} agents, {busy} busy"), 0.12);
    }
}

#[test]
fn the_wait_that_is_expected_comes_where_agents_serve_several_queues() {
    let loads = vec![load("sales", vec![60.0]), load("support", vec![100.0]), load("billing", vec![20.0])];
    let groups = vec![
        group("both", vec![6], &["sales", "support"]),
        group("support", vec![2], &["support"]),
        group("billing", vec![2], &["billing", "sales"]),
    ];
    let setup = setup(Demand { hours: 60.0, ..demand(loads, groups) });
    let waits = waits(&setup);
    for (place, name) in ["sales", "support", "billing"].iter().enumerate() {
        let of: Vec<Waited> = waits.iter().filter(|waited| waited.load == place).copied().collect();
        is_about_right(&of, name, 0.25);
    }
}

#[test]
fn the_wait_that_is_expected_comes_to_who_stays_where_others_hang_up() {
    // Of who hangs up nobody knows how long the wait would have been: theory says it.
    for (busy, patience) in [(0.95, 120.0), (1.3, 180.0), (1.3, 60.0)] {
        let mut demand = one(20, busy, Some(patience));
        demand.hours = 60.0;
        let setup = setup(demand);
        let waits = waits(&setup);
        let (served, leaves) = (20.0 / HANDLING, 1.0 / patience);
        for ahead in [0_usize, 3, 8, 15] {
            let theory: f64 = (0..=ahead).map(|place| 1.0 / (served + place as f64 * leaves)).sum();
            let told = waits.iter().filter(|waited| waited.ahead == ahead && !waited.wait.is_zero());
            let told: Vec<f64> = told.filter_map(|waited| Some(waited.expected?.as_secs_f64())).collect();
            if told.len() < 200 {
                continue;
            }
            let mean = told.iter().sum::<f64>() / told.len() as f64;
            eprintln!("{busy} busy, patience {patience}, {ahead} ahead: {mean:.1} s, theory {theory:.1} s");
            assert!((mean / theory - 1.0).abs() < 0.12, "{ahead} ahead: {mean:.1} s, not {theory:.1} s");
        }
    }
}

#[test]
fn the_wait_that_is_expected_follows_agents_who_come_and_go() {
    let mut day = demand(
        vec![load("sales", vec![190.0, 190.0, 190.0])],
        vec![group("team", vec![8, 16, 8], &["sales"])],
    );
    day.day = Some(Day { opens_minutes: 0, interval_minutes: 60, intervals: 3 });
    day.replications = 150;
    let waits = waits(&setup(day));
    let minute = |waited: &Waited| waited.at.as_secs() / 60;
    for (from, until, what) in
        [(30, 48, "before"), (60, 62, "twice as many"), (120, 130, "half as many"), (150, 180, "later")]
    {
        let of = |waited: &Waited| (from..until).contains(&minute(waited)) && waited.ahead > 0;
        let (bias, error, count) = held_against(&waits, of);
        eprintln!("{what}: {bias:.3} of what came, off by {error:.2}, {count} waits");
        assert!(count > 100 && (0.8..1.25).contains(&bias), "{what}: {bias:.3} of what came, {count} waits");
    }
}
