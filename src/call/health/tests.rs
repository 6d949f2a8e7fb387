use model::net::{ListenerIx, Transport};

use super::*;

fn who(peer: &str) -> Who {
    let remote = "192.0.2.1:5060".parse().unwrap();
    let flow = Flow { transport: Transport::Udp, listener: ListenerIx(0), remote, connection: 0 };
    Who { trunk: TrunkId::new("platform", "carrier"), peer: peer.into(), flow }
}

const SETTINGS: trunk::Health = trunk::Health { period_seconds: 30, timeout_seconds: 5, failures: 3 };

fn start() -> Now {
    #[expect(clippy::disallowed_methods, reason = "the one clock of the test")]
    let instant = Instant::now();
    Now { instant, wall: "2026-11-23T15:00:00Z".parse().unwrap() }
}

/// Goes to the next probe and gives its number.
fn next_probe(health: &mut Health, now: &mut Now) -> u64 {
    for _ in 0..10 {
        now.instant = health.poll_timeout().unwrap();
        health.timeout(*now);
        while let Some(output) = health.poll() {
            if let Output::Probe { probe, .. } = output {
                return probe;
            }
        }
    }
    panic!("no probe")
}

/// What a row of probes hears, and whether the peer is up after each.
#[test]
fn so_many_failures_in_a_row_take_a_peer_down_and_two_answers_bring_it_back() {
    use Heard::{Answered, Silent, Unreachable};
    let rows: [&[(Heard, bool)]; 5] = [
        &[(Silent, true), (Silent, true), (Silent, false), (Silent, false)],
        &[(Silent, true), (Unreachable, true), (Answered(503), false)],
        &[(Silent, true), (Silent, true), (Answered(200), true), (Silent, true), (Silent, true)],
        &[
            (Answered(408), true),
            (Answered(408), true),
            (Answered(408), false),
            (Answered(200), false),
            (Silent, false),
            (Answered(200), false),
            (Answered(404), true),
        ],
        // Whoever refuses is there.
        &[(Answered(405), true), (Answered(501), true), (Answered(483), true), (Answered(401), true)],
    ];
    for row in rows {
        let (mut health, mut now) = (Health::new(7), start());
        health.watch(now, [(who("one"), SETTINGS)].into());
        for (heard, is_up) in row {
            let probe = next_probe(&mut health, &mut now);
            health.probed(now, &who("one"), probe, *heard);
            assert_eq!(health.down_since(&who("one")).is_none(), *is_up, "{row:?} at {heard:?}");
        }
    }
}

#[test]
fn a_probe_without_an_answer_in_time_fails_and_what_comes_later_is_nothing() {
    let (mut health, mut now) = (Health::new(7), start());
    let one = who("one");
    health.watch(now, [(one.clone(), trunk::Health { failures: 1, ..SETTINGS })].into());
    let probe = next_probe(&mut health, &mut now);
    now.instant += Duration::from_secs(4);
    health.timeout(now);
    assert_eq!(health.down_since(&one), None);
    now.instant += Duration::from_secs(1);
    health.timeout(now);
    assert_eq!(health.down_since(&one), Some(now.wall));
    let told = health.poll();
    assert_eq!(told, Some(Output::Changed { who: one.clone(), is_up: false, heard: Heard::Silent }));
    health.probed(now, &one, probe, Heard::Answered(200));
    health.probed(now, &one, probe, Heard::Answered(200));
    assert!(health.down_since(&one).is_some());
}

#[test]
fn probes_come_about_once_a_period_and_not_in_step() {
    let (mut health, mut now) = (Health::new(7), start());
    let begin = now.instant;
    let all: BTreeMap<Who, trunk::Health> = (0..50).map(|n| (who(&n.to_string()), SETTINGS)).collect();
    health.watch(now, all);
    let mut seconds = BTreeSet::new();
    let mut probes = 0;
    while now.instant < begin + Duration::from_secs(300) {
        let probe = next_probe(&mut health, &mut now);
        probes += 1;
        seconds.insert((now.instant - begin).as_secs());
        let asked = (0..50).map(|n| who(&n.to_string()));
        asked.for_each(|who| health.probed(now, &who, probe, Heard::Answered(200)));
    }
    assert!((450..=560).contains(&probes), "{probes} in ten periods");
    assert!(seconds.len() > 200, "spread over {} seconds", seconds.len());
}

#[test]
fn calls_tell_of_those_that_are_probed_alone() {
    let (mut health, now) = (Health::new(7), start());
    health.watch(now, [(who("one"), SETTINGS)].into());
    for _ in 0..3 {
        health.called(now, &who("one"), Heard::Silent);
        health.called(now, &who("two"), Heard::Silent);
    }
    assert!(health.down_since(&who("one")).is_some());
    assert_eq!(health.down_since(&who("two")), None);
    // Who is no longer watched is forgotten.
    health.watch(now, BTreeMap::new());
    assert_eq!((health.down_since(&who("one")), health.poll_timeout()), (None, None));
}
