//! What planning costs as a platform grows: cold, one changed number, one changed flow, what is sent, and memory.
//!
//! Without an argument each size runs in a process of its own, so that its memory is its own, and one line per figure goes
//! to standard output: `plan.figure OURS UNIT - - -`; there is no peer that plans calls. With a count, that size alone.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it prints figures, and ends at what it did not expect"
)]

use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use model::Key;
use plan::Planner;
use serde_json::{Value, json};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
const TENANTS: usize = 100;
const FLOWS: usize = 1_000;
const QUEUES: usize = 1_000;
const AGENTS: usize = 10_000;
/// How often a change is made; the middle one is told, and the 99th of a hundred.
const CHANGES: usize = 101;

fn main() {
    // `cargo bench` adds arguments of its own.
    let size = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    match size {
        Some(size) => one(size),
        None => all(),
    }
}

fn all() {
    let mut figures: BTreeMap<(String, usize), f64> = BTreeMap::new();
    for size in SIZES {
        let output = Command::new(std::env::current_exe().unwrap()).arg(size.to_string()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            println!("{line}");
            let mut words = line.split(' ');
            let name =
                words.next().unwrap().trim_start_matches("plan.").rsplit_once('_').unwrap().0.to_owned();
            figures.insert((name, size), words.next().unwrap().parse().unwrap());
        }
    }
    let [_, middle, most] = SIZES;
    let n_log_n = |n: usize| n as f64 * (n as f64).log2();
    for name in ["cold", "change_number", "memory"] {
        let growth = figures[&(name.to_owned(), most)] / figures[&(name.to_owned(), middle)];
        println!(
            "plan.{name}_growth {growth:.2} times n_log_n {:.2} {:.2}",
            n_log_n(most) / n_log_n(middle),
            growth * n_log_n(middle) / n_log_n(most)
        );
    }
}

fn one(size: usize) {
    let now: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
    let told = |name: &str, figure: f64, unit: &str| println!("plan.{name}_{size} {figure:.2} {unit} - - -");

    // One object after another, as a watch brings them; making them up is not counted.
    let mut planner = Planner::new(None);
    let mut spent = Duration::ZERO;
    objects(size, &mut |kind, key, spec| {
        let start = Instant::now();
        planner.declare(kind, key, &spec).unwrap();
        spent += start.elapsed();
    });
    let start = Instant::now();
    planner.update(now);
    spent += start.elapsed();
    told("cold", milliseconds(spent), "ms");
    let errors: Vec<_> =
        planner.problems().filter(|problem| problem.severity == plan::Severity::Error).collect();
    assert!(errors.is_empty(), "{}", errors[0]);
    let plan = planner.clusters().next().unwrap().1;
    let (count, octets) = (plan.iter().len(), plan.size());
    told("snapshot", octets as f64 / 1024.0, "KiB");
    told("sections", count as f64, "count");

    let mut change = |kind: &str, name: &str, specs: [Value; 2]| {
        let mut sizes = Vec::new();
        let mut times: Vec<Duration> = Vec::new();
        for round in 0..CHANGES {
            let before = planner.clusters().next().unwrap().1.clone();
            let start = Instant::now();
            planner.declare(kind, name.parse().unwrap(), &specs[round % 2]).unwrap();
            let changed = planner.update(now);
            times.push(start.elapsed());
            assert_eq!(changed.len(), 1);
            let delta = before.delta_to(planner.clusters().next().unwrap().1);
            assert_eq!((delta.changed.len(), delta.removed.len()), (1, 0));
            sizes.push(delta.size());
        }
        times.sort();
        (milliseconds(times[CHANGES / 2]), milliseconds(times[CHANGES * 99 / 100]), sizes[0] as f64 / 1024.0)
    };
    let numbers = [11, 10].map(|calls| {
        let mut spec = number(0, size);
        spec["limits"] = json!({"calls": calls});
        spec
    });
    let (middle, worst, octets) = change("PhoneNumber", "tenant-000/number-0", numbers);
    told("change_number", middle, "ms");
    told("change_number_p99", worst, "ms");
    told("delta_number", octets, "KiB");
    let (middle, worst, octets) = change("RoutingFlow", "tenant-000/flow-0", [flow(8), flow(5)]);
    told("change_flow", middle, "ms");
    told("change_flow_p99", worst, "ms");
    told("delta_flow", octets, "KiB");
    for (name, kind, key, spec) in [
        ("foresee_number", "PhoneNumber", key("tenant-000", "number-0"), number(0, size)),
        ("foresee_flow", "RoutingFlow", key("tenant-000", "flow-0"), flow(8)),
    ] {
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..CHANGES {
            let start = Instant::now();
            let foresight = planner.foresee(kind, &key, Some(&spec), Some(&spec));
            times.push(start.elapsed());
            assert!(foresight.own.is_empty());
        }
        times.sort();
        told(name, milliseconds(times[CHANGES / 2]), "ms");
    }
    told("memory", resident_mib(), "MiB");
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// Resident memory of this process now; what was needed to make the objects is given back before.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn tenant(index: usize) -> String {
    format!("tenant-{:03}", index % TENANTS)
}

/// Every object of a platform with a hundred tenants.
fn objects(size: usize, take: &mut dyn FnMut(&str, Key, Value)) {
    take("VoiceCluster", key("platform", "c14"), cluster());
    take("Allowlist", key("platform", "carrier"), json!({"ranges": [{"cidr": "192.0.2.0/24"}]}));
    take("Trunk", key("platform", "carrier"), trunk(size));
    let week = json!([{"days": ["Monday", "Tuesday"], "from": "09:00", "to": "17:00"}]);
    for index in 0..TENANTS {
        let namespace = tenant(index);
        let spec = json!({
            "clusterRef": {"namespace": "platform", "name": "c14"}, "country": "US", "timeZone": "America/New_York",
            "languages": ["en-US"], "outboundTrunks": [{"namespace": "platform", "name": "carrier"}],
            "skills": [{"name": "sales"}, {"name": "billing"}, {"name": "support"}],
        });
        take("Tenant", key(&namespace, "tenant"), spec);
        take("BusinessHours", key(&namespace, "shop"), json!({"week": week}));
        let text = json!({"language": "en-US", "text": "For sales press one."});
        take("Prompt", key(&namespace, "menu"), json!({"text": text}));
    }
    let mut each = |kind: &str, count: usize, name: &str, spec: &dyn Fn(usize) -> Value| {
        for index in 0..count {
            take(kind, key(&tenant(index), &format!("{name}-{}", index / TENANTS)), spec(index));
        }
    };
    each("RoutingFlow", FLOWS, "flow", &|index| flow(index % 6 + 4));
    each("Queue", QUEUES, "queue", &queue);
    each("Agent", AGENTS, "agent", &agent);
    each("PhoneNumber", size, "number", &|index| number(index, size));
}

fn key(namespace: &str, name: &str) -> Key {
    Key::new(namespace, name)
}

fn cluster() -> Value {
    let namespaces: Vec<String> = (0..TENANTS).map(tenant).collect();
    json!({
        "code": "C14", "allowedNamespaces": namespaces,
        "networks": [{"name": "public", "bindAddress": "198.51.100.1"}],
        "listeners": [{"name": "udp", "transport": "UDP", "port": 5060, "network": "public", "serves": "Trunks"}],
        "media": {"ports": {"first": 20000, "last": 29999}}, "limits": {"calls": 5000, "callSeconds": 14400}, "drainSeconds": 60,
    })
}

/// Each tenant has a block of numbers of its own.
fn trunk(size: usize) -> Value {
    let each = size.div_ceil(TENANTS);
    let grants: Vec<Value> = (0..TENANTS)
        .map(|tenant_index| {
            let first = 13_120_000_000 + (tenant_index * each) as u64;
            let range =
                json!({"first": format!("+{first}"), "last": format!("+{}", first + each as u64 - 1)});
            json!({"namespace": tenant(tenant_index), "ranges": [range]})
        })
        .collect();
    json!({
        "clusterRef": {"name": "c14"}, "network": "public", "connection": "PhoneLine", "delivers": "Pstn",
        "allowlistRefs": [{"name": "carrier"}], "peers": [{"name": "sbc", "address": "192.0.2.7"}], "grants": grants,
    })
}

/// In its tenant's block.
fn number(index: usize, size: usize) -> Value {
    let each = size.div_ceil(TENANTS);
    let digits = 13_120_000_000 + (index % TENANTS * each + index / TENANTS) as u64;
    json!({
        "number": format!("+{digits}"), "kind": "Local", "origin": "Carrier",
        "trunkRef": {"namespace": "platform", "name": "carrier"},
        "flowRef": {"name": format!("flow-{}", index / TENANTS % (FLOWS / TENANTS))},
    })
}

/// A flow of the usual size: hours, a menu, and what its choices lead to.
fn flow(choices: usize) -> Value {
    let choice = |digit: usize| json!({"digits": format!("{digit}"), "next": format!("step-{digit}")});
    let mut steps = vec![
        json!({"name": "open", "hours": {"ref": "shop", "open": "menu", "closed": "closed"}}),
        json!({"name": "menu", "ask": {"prompt": "menu", "timeoutSeconds": 5, "attempts": 3,
            "choices": (1..=choices.min(9)).map(choice).collect::<Vec<_>>(), "noInput": "closed", "noMatch": "closed"}}),
    ];
    for digit in 1..=choices.min(9) {
        steps.push(json!({"name": format!("step-{digit}"), "queue": {
            "ref": format!("queue-{digit}"), "timedOut": "closed", "full": "closed", "noAgents": "closed"}}));
    }
    steps.push(json!({"name": "closed", "play": {"prompt": "menu", "next": "end"}}));
    steps.push(json!({"name": "end", "hangup": {}}));
    json!({"steps": steps, "onError": "closed"})
}

fn queue(index: usize) -> Value {
    let skill = ["sales", "billing", "support"][index % 3];
    json!({
        "skills": [{"name": skill, "minimum": 3, "relax": [{"afterSeconds": 60, "minimum": 1}]}],
        "selection": "LongestIdle", "serviceLevel": {"percent": 80, "seconds": 20},
        "limits": {"contacts": 100, "waitSeconds": 900}, "ringSeconds": 15, "wrapUpSeconds": 30,
    })
}

fn agent(index: usize) -> Value {
    let level = index % 10 + 1;
    json!({
        "displayName": format!("Agent {index}"),
        "skills": [{"name": "sales", "level": level}, {"name": "billing", "level": level}, {"name": "support", "level": level}],
        "stations": [{"name": "browser", "webRtc": {}, "emergencyLocation": {"country": "US", "region": "NY", "city": "New York", "street": "1 Example Street", "postalCode": "10001"}}],
        "capacity": {"voice": 1}, "signIn": {"subject": format!("agent-{index}@example.com")},
    })
}
