//! What runs offline: CallTests by the engine, contacts of a simulated floor, steps of a flow.
//!
//! One line per figure goes to standard output: `suite.figure OURS UNIT - - -`. `_core` is of one thread, processor time that others
//! take not taken out; without it all cores share the work.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark prints and takes the time"
)]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use call::{
    Now,
    cursor::{Cursor, Environment, Facts},
    world::{Names, World},
};
use model::{
    FlowId, Key, QueueId,
    calltest::CallTest,
    centre::{Channel, Queue, Selection},
    demand::{Demand, Group, Load, Members, Spread, Times},
};
use plan::SourceFile;
use sim::{forecast::Setup, world::Stage};

/// That of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// CallTests that are run at least.
const TESTS: usize = 2_000;

/// Steps of the flow that is run, and how often.
const STEPS: usize = 200;
const RUNS: usize = 5_000;

fn example(name: &str) -> Vec<SourceFile> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let read = |path: &std::path::PathBuf| SourceFile {
        path: path.file_name().unwrap().to_str().unwrap().to_owned(),
        bytes: fs::read(path).unwrap().into(),
    };
    paths.iter().map(read).collect()
}

fn print(name: &str, value: f64) {
    println!("{name} {value:.0} 1/s - - -");
}

/// Those of the tenant's example, again and again.
fn call_tests() {
    let (resources, _) = plan::load(&example("tenant"));
    let plan = plan::plan(&resources, None, "2026-06-15T12:00:00Z".parse().unwrap());
    let stage = Stage::new(&plan.clusters.values().next().unwrap().snapshot, &BTreeMap::new()).unwrap();
    let tests: Vec<CallTest> =
        plan::call_tests(&resources, &plan).into_iter().filter_map(|(_, test)| Some(test?.test)).collect();
    let count = TESTS.div_ceil(tests.len()) * tests.len();
    let begins = Instant::now();
    let passes = |place: usize| stage.run(&tests[place % tests.len()], begins).failures.is_empty();
    for place in 0..tests.len() {
        assert!(passes(place), "the tenant's tests pass");
    }
    let cores = thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    for (name, threads) in [("calltests.per_second_core", 1), ("calltests.per_second", cores)] {
        let (next, began) = (AtomicUsize::new(0), Instant::now());
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let place = next.fetch_add(1, Ordering::Relaxed);
                        if place >= count {
                            break;
                        }
                        assert!(passes(place), "a test that passed does not");
                    }
                });
            }
        });
        print(name, count as f64 / began.elapsed().as_secs_f64());
    }
}

/// A floor of fifty agents who are busy nine tenths of their time, where contacts hang up.
fn floor() {
    let id = QueueId(Key::new("acme", "sales"));
    let queue = Queue {
        channels: vec![Channel::Voice],
        skills: Vec::new(),
        selection: Selection::LongestIdle,
        priority: 5,
        ageing_seconds: Some(20),
        service_percent: 80,
        service_seconds: 20,
        contacts_max: 10_000,
        wait_seconds_max: 3_600,
        music: Vec::new(),
        announcements: Vec::new(),
        language: String::new(),
        ring_seconds: 15,
        wrap_up_seconds: 10,
        callback_first: model::centre::First::Agent,
        callback_prompt: Vec::new(),
        dispositions: Vec::new(),
        disposition_required: false,
    };
    let times = |mean_seconds| Times { mean_seconds, spread: Spread::Exponential };
    let load = Load {
        queue: id.clone(),
        contacts_per_hour: vec![900.0],
        handling: times(180.0),
        patience: Some(times(120.0)),
    };
    let members = Members::MadeUp { count: vec![50], skills: BTreeMap::new(), queues: BTreeMap::new() };
    let demand = Demand {
        tenant: "acme".into(),
        day: None,
        queues: vec![load],
        groups: vec![Group { name: "team".into(), members }],
        answer_seconds: 3.0,
        missed_percent: 1.0,
        return_seconds: 60.0,
        find: None,
        replications: 2,
        hours: 200.0,
        warm_up_hours: Some(1.0),
        seed: 1,
    };
    let queues = BTreeMap::from([(id, Arc::new(queue))]);
    let setup = Setup::new(demand, &queues, &BTreeMap::new()).unwrap();
    let (mut contacts, began) = (0_u64, Instant::now());
    setup.watched(0, began, &mut |_| contacts += 1);
    print("acd.simulated_contacts_per_second_core", contacts as f64 / began.elapsed().as_secs_f64());
}

/// A flow that sets a variable and branches by it, step after step.
fn steps() {
    let mut flow = String::from(
        "apiVersion: switchboard.dev/v1alpha1\nkind: RoutingFlow\nmetadata: {name: main, namespace: acme}\nspec:\n  variables: [{name: lot, type: Integer, initial: \"0\"}]\n  onError: end\n  steps:\n",
    );
    for step in 0..STEPS / 2 {
        let _ = write!(
            flow,
            "  - name: s{step}\n    set: {{values: [{{variable: lot, value: \"{step} + 1\"}}]}}\n  - name: b{step}\n    branch: {{cases: [{{when: \"lot == 0\", next: end}}], otherwise: {}}}\n",
            if step + 1 < STEPS / 2 { format!("s{}", step + 1) } else { "end".into() }
        );
    }
    flow.push_str("  - name: end\n    hangup: {}\n");
    let mut files = example("quickstart");
    files.iter_mut().find(|file| file.path == "flow-main.yaml").unwrap().bytes = flow.into_bytes().into();
    let (resources, _) = plan::load(&files);
    let plan = plan::plan(&resources, None, "2026-06-15T12:00:00Z".parse().unwrap());
    let told: String = plan.problems.iter().map(|problem| format!("{problem}\n")).collect();
    let snapshot = &plan.clusters.values().next().unwrap().snapshot;
    let world = World::new(Arc::clone(snapshot), Names::new(), None).unwrap();
    let flow = world.flow(&FlowId::new("acme", "main")).unwrap_or_else(|| panic!("{told}")).clone();
    let expressions = expr::Engine::new();
    let now = Now { instant: Instant::now(), wall: "2026-06-15T12:00:00Z".parse().unwrap() };
    let (mut passed, began) = (0, Instant::now());
    for _ in 0..RUNS {
        let facts = Facts {
            contact_number: "+13125550142".into(),
            contact_verstat: "",
            call_number: "+18005550100".into(),
            call_trunk: "platform/carrier".into(),
        };
        let mut cursor = Cursor::new(Arc::clone(&flow), facts);
        cursor.begin(Environment { world: &world, expressions: &expressions, now });
        passed += cursor.path().len();
    }
    assert!(passed >= RUNS * STEPS, "{passed} steps\n{told}");
    print("acd.flow_steps_per_second_core", passed as f64 / began.elapsed().as_secs_f64());
}

fn main() {
    call_tests();
    floor();
    steps();
}
