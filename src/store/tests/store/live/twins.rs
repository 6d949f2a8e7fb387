//! Memory and Redis answer alike, whatever comes in whatever order.

use std::{sync::Arc, time::Duration};

use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestRng, TestRunner},
};
use store::live::{
    Adoption, Agent, Change, Counts, Live, Memory, Redis, RedisConfig, Socket, Station, Turn, Wanted,
};

use super::{
    promises::{LONG, binding, lasting, presence, record},
    run,
    servers::Server,
};

/// Something that one does, of few things, so that it often is about the same.
#[derive(Debug, Clone)]
enum Step {
    Write(Vec<Change>),
    Acquire(Wanted),
    Renew(String, String, u64),
    Release(String, String, u64),
    Claim(Adoption),
    Enter,
}

fn edges() -> impl Strategy<Value = String> {
    "edge-[0-2]"
}

fn changes() -> impl Strategy<Value = Change> {
    let station = || "[ab]".prop_map(|name| Station::new("acme", "jane", &name));
    let agent = || "[ab]".prop_map(|name| Agent::new("acme", &name));
    prop_oneof![
        (station(), "[xyz]", edges(), "[kl]", 0..3u32).prop_map(|(station, id, edge, call_id, cseq)| {
            Change::Bind(station, binding(&id, &edge, &call_id, cseq))
        }),
        (station(), "[xyz]", edges()).prop_map(|(station, id, edge)| Change::Unbind { station, id, edge }),
        (agent(), edges(), 0..3u64)
            .prop_map(|(agent, edge, order)| Change::Present(agent, presence(&edge, "Away", order))),
        (agent(), edges()).prop_map(|(agent, edge)| Change::Absent { agent, edge }),
        (agent(), "[12]", edges()).prop_map(|(agent, id, edge)| {
            Change::Attach(agent, Socket { id, edge, session: "s".into() })
        }),
        (agent(), "[12]", edges()).prop_map(|(agent, id, edge)| Change::Detach { agent, id, edge }),
        (edges(), 0..9u64).prop_map(|(edge, count)| {
            Change::Count(Counts { edge, values: [("calls".to_owned(), count)].into() })
        }),
        ("c[12]", edges(), 1..4u64)
            .prop_map(|(call, owner, epoch)| Change::Call(record(&call, &owner, epoch, b"x"))),
        ("c[12]", edges(), 1..4u64).prop_map(|(call, owner, epoch)| Change::Over { call, owner, epoch }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lease = || "floor/[ab]";
    let step = prop_oneof![
        6 => vec(changes(), 1..6).prop_map(Step::Write),
        2 => (lease(), edges(), 0..4u64).prop_map(|(lease, holder, known_epoch)| {
            Step::Acquire(Wanted { lease, holder, lasts: LONG, known_epoch, grace: Duration::ZERO })
        }),
        2 => (lease(), edges(), 1..5u64).prop_map(|(lease, holder, epoch)| Step::Renew(lease, holder, epoch)),
        1 => (lease(), edges(), 1..5u64).prop_map(|(lease, holder, epoch)| Step::Release(lease, holder, epoch)),
        2 => ("c[12]", edges(), edges(), 0..3u64).prop_map(|(call, from, to, known_epoch)| {
            Step::Claim(Adoption { call, from, to, known_epoch, lasts: LONG })
        }),
        1 => Just(Step::Enter),
    ];
    vec(step, 1..30)
}

/// What is said of a step, without how long anything stands yet.
async fn take(live: &dyn Live, turn: &mut Turn, step: &Step) -> String {
    let said = match step {
        Step::Write(changes) => {
            let changes: Vec<_> = changes.iter().cloned().map(lasting).collect();
            format!("{:?}", live.write(turn, &changes).await)
        }
        Step::Acquire(wanted) => format!("{:?}", live.acquire(wanted).await),
        Step::Renew(lease, holder, epoch) => format!("{:?}", live.renew(lease, holder, *epoch, LONG).await),
        Step::Release(lease, holder, epoch) => format!("{:?}", live.release(lease, holder, *epoch).await),
        Step::Claim(adoption) => format!("{:?}", live.claim(adoption).await),
        Step::Enter => {
            *turn = live.enter("w").await.unwrap();
            format!("{turn:?}")
        }
    };
    without_times(&said)
}

fn without_times(said: &str) -> String {
    let mut parts = said.split("left: ");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str("left");
        text.push_str(part.trim_start_matches(|it: char| it.is_ascii_alphanumeric() || it == '.'));
    }
    text
}

/// All that can be asked, in an order that both have.
async fn everything(live: &dyn Live) -> Vec<String> {
    let mut all = vec![format!("{:?}", live.owners(None).await.map(|page| page.items.len()))];
    for name in ["a", "b"] {
        all.push(format!("{:?}", live.bindings(&Station::new("acme", "jane", name)).await));
        all.push(format!("{:?}", live.agent(&Agent::new("acme", name)).await));
    }
    for call in ["c1", "c2"] {
        all.push(format!("{:?}", live.call(call).await));
    }
    for edge in ["edge-0", "edge-1", "edge-2"] {
        let mut calls = live.calls_of(edge, None).await.unwrap().items;
        calls.sort_by(|a, b| a.value.call.cmp(&b.value.call));
        all.push(format!("{calls:?}"));
    }
    let mut counts = live.counts().await.unwrap();
    counts.sort_by(|a, b| a.value.edge.cmp(&b.value.edge));
    all.push(format!("{counts:?}"));
    let mut stations = live.stations("acme", None).await.unwrap().items;
    stations.sort_by(|a, b| a.0.cmp(&b.0));
    all.push(format!("{stations:?}"));
    let mut agents = live.agents("acme", None).await.unwrap().items;
    agents.sort_by(|a, b| a.0.cmp(&b.0));
    all.push(format!("{agents:?}"));
    all.iter().map(|said| without_times(said)).collect()
}

#[test]
fn memory_and_redis_answer_alike() {
    let server = Server::start(&[]);
    let rng = TestRng::deterministic_rng(prop::test_runner::RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    run(async {
        let mut taken = 0;
        for case in 0..150 {
            let steps = steps().new_tree(&mut runner).unwrap().current();
            let mut config = RedisConfig::from_url(&format!("c{case}"), &server.url()).unwrap();
            config.answer = Duration::from_secs(5);
            let redis: Arc<dyn Live> = Arc::new(Redis::new(config).unwrap());
            let memory: Arc<dyn Live> = Arc::new(Memory::new());
            let mut turns = (redis.enter("w").await.unwrap(), memory.enter("w").await.unwrap());
            for (n, step) in steps.iter().enumerate() {
                let of_redis = take(redis.as_ref(), &mut turns.0, step).await;
                let of_memory = take(memory.as_ref(), &mut turns.1, step).await;
                assert_eq!(of_redis, of_memory, "case {case}, step {n}: {steps:#?}");
                taken += 1;
            }
            let (of_redis, of_memory) = (everything(redis.as_ref()).await, everything(memory.as_ref()).await);
            // An edge whose calls others have taken may be listed there still.
            assert_eq!(of_redis[1..], of_memory[1..], "case {case}: {steps:#?}");
        }
        assert!(taken > 1_000);
    });
}
