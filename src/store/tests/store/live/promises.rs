//! What every live state promises.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use store::live::{
    Acquired, Adoption, Agent, BINDINGS_MAX, Ban, Binding, CallRecord, Change, Claimed, Content, ContentId,
    Counts, Cursor, Lasting, Live, LiveError, Outcome, Page, Presence, Renewed, SOCKETS_MAX, Socket,
    Standing, Station, Turn, Wanted, elsewhere,
};
use tokio::time::sleep;

use super::servers::PATIENCE;

pub const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(150);

pub async fn all(live: &dyn Live) {
    turns(live).await;
    registrations(live).await;
    agents(live).await;
    counts(live).await;
    leases(live).await;
    calls(live).await;
    claims(live).await;
    contents(live).await;
    bans(live).await;
    nonces(live).await;
    pages(live).await;
    bad_input(live).await;
}

pub fn binding(id: &str, edge: &str, call_id: &str, cseq: u32) -> Binding {
    Binding {
        id: id.into(),
        edge: edge.into(),
        flow: format!("tcp 7 of {edge}"),
        contact: format!("sip:{id}@192.0.2.1:5062;transport=tcp"),
        path: vec!["<sip:p1.example.com;lr>".into()],
        q: 500,
        device: Some(("urn:uuid:0001".into(), 1)),
        call_id: call_id.into(),
        cseq,
    }
}

pub fn record(call: &str, owner: &str, epoch: u64, body: &'static [u8]) -> CallRecord {
    CallRecord { call: call.into(), owner: owner.into(), epoch, body: Bytes::from_static(body) }
}

pub fn presence(edge: &str, state: &str, order: u64) -> Presence {
    Presence { edge: edge.into(), state: state.into(), reason: None, since_ms: 1_800_000_000_000, order }
}

pub fn lasting(change: Change) -> Lasting {
    Lasting::new(change, LONG)
}

async fn write(live: &dyn Live, turn: &Turn, changes: impl IntoIterator<Item = Change>) -> Vec<Outcome> {
    let changes: Vec<Lasting> = changes.into_iter().map(lasting).collect();
    live.write(turn, &changes).await.unwrap().outcomes
}

async fn one(live: &dyn Live, turn: &Turn, change: Change) -> Outcome {
    write(live, turn, [change]).await.remove(0)
}

fn stands<T>(standing: &Standing<T>) -> bool {
    standing.left > Duration::ZERO && standing.left <= LONG
}

/// Until something is not there any more.
async fn goes<T>(mut there: impl AsyncFnMut() -> Option<T>) {
    let begun = Instant::now();
    while there().await.is_some() {
        assert!(begun.elapsed() < PATIENCE, "what has expired is still there");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn turns(live: &dyn Live) {
    let first = live.enter("turns").await.unwrap();
    assert_eq!(live.write(&first, &[]).await.unwrap().batches, first.batches + 1);
    let second = live.enter("turns").await.unwrap();
    assert_eq!((second.turn, second.batches), (first.turn + 1, first.batches + 1));
    let change = lasting(Change::Ban(Ban { address: "192.0.2.200".parse().unwrap(), count: 1 }));
    let refused = live.write(&first, std::slice::from_ref(&change)).await.unwrap_err();
    assert_eq!(refused, LiveError::Superseded("turns".into()));
    assert!(live.bans(None).await.unwrap().items.is_empty(), "nothing of an earlier turn is done");
    let unknown = Turn { writer: "nobody".into(), turn: 1, batches: 0 };
    assert_eq!(live.write(&unknown, &[]).await.unwrap_err(), LiveError::Superseded("nobody".into()));
}

async fn registrations(live: &dyn Live) {
    let turn = live.enter("registrations").await.unwrap();
    let station = Station::new("acme", "jane", "desk");
    assert!(live.bindings(&station).await.unwrap().is_empty());
    let bind = |binding: &Binding| Change::Bind(station.clone(), binding.clone());
    let first = binding("a", "edge-0", "x@phone", 7);
    let preferred = Binding { q: 1_000, ..binding("b", "edge-1", "y@phone", 1) };
    let outcomes = write(live, &turn, [bind(&first), bind(&preferred)]).await;
    assert_eq!(outcomes, [Outcome::Done, Outcome::Done]);
    let bound = live.bindings(&station).await.unwrap();
    assert_eq!(bound.iter().map(|bound| &bound.value).collect::<Vec<_>>(), [&preferred, &first]);
    assert!(bound.iter().all(stands));

    // RFC 3261 §10.3: what comes out of order is not taken; from another edge it may come in order.
    assert_eq!(one(live, &turn, bind(&binding("a", "edge-1", "x@phone", 6))).await, Outcome::Older);
    assert_eq!(one(live, &turn, bind(&binding("a", "edge-2", "x@phone", 8))).await, Outcome::Done);
    assert_eq!(one(live, &turn, bind(&binding("a", "edge-3", "z@phone", 1))).await, Outcome::Done);
    let unbind = |edge: &str| Change::Unbind { station: station.clone(), id: "a".into(), edge: edge.into() };
    assert_eq!(
        one(live, &turn, unbind("edge-0")).await,
        Outcome::Older,
        "its connection is not the way any more"
    );
    assert_eq!(live.bindings(&station).await.unwrap()[1].value.edge, "edge-3");
    assert_eq!(one(live, &turn, unbind("edge-3")).await, Outcome::Done);
    assert_eq!(one(live, &turn, unbind("edge-3")).await, Outcome::Done, "twice is once");
    assert_eq!(live.bindings(&station).await.unwrap().len(), 1);

    let many = (0..BINDINGS_MAX).map(|n| bind(&binding(&format!("n{n}"), "edge-0", "x@phone", 1)));
    let outcomes = write(live, &turn, many).await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::TooMany).count(), 1);
    assert_eq!(outcomes.last(), Some(&Outcome::TooMany));
    assert_eq!(one(live, &turn, bind(&preferred)).await, Outcome::Done, "one that is there is said again");

    let other = Station::new("acme", "john", "desk");
    let short = Lasting::new(Change::Bind(other.clone(), first.clone()), SHORT);
    live.write(&turn, &[short]).await.unwrap();
    goes(async || live.bindings(&other).await.unwrap().pop()).await;
    let page = live.stations("acme", None).await.unwrap();
    assert_eq!(page.items.iter().map(|(station, _)| station).collect::<Vec<_>>(), [&station]);
    assert_eq!(page.items[0].1.len(), BINDINGS_MAX);
    assert!(live.stations("other", None).await.unwrap().items.is_empty());
    // What expired was only older in its own time.
    assert_eq!(
        one(live, &turn, Change::Bind(other.clone(), binding("a", "edge-1", "x@phone", 1))).await,
        Outcome::Done
    );
    let gone = Change::Unbind { station: other.clone(), id: "a".into(), edge: "edge-1".into() };
    assert_eq!(one(live, &turn, gone).await, Outcome::Done);
    assert_eq!(live.stations("acme", None).await.unwrap().items.len(), 1);
}

async fn agents(live: &dyn Live) {
    let turn = live.enter("agents").await.unwrap();
    let jane = Agent::new("acme", "jane");
    assert_eq!(live.agent(&jane).await.unwrap().presence, None);
    let socket = |id: &str, edge: &str| Socket { id: id.into(), edge: edge.into(), session: "s1".into() };
    let changes = [
        Change::Present(jane.clone(), presence("edge-0", "Available", 5)),
        Change::Attach(jane.clone(), socket("1", "edge-0")),
        Change::Attach(jane.clone(), socket("2", "edge-1")),
    ];
    assert_eq!(write(live, &turn, changes).await, [Outcome::Done, Outcome::Done, Outcome::Done]);
    let state = live.agent(&jane).await.unwrap();
    assert_eq!(state.presence.as_ref().map(|presence| presence.value.state.as_str()), Some("Available"));
    assert_eq!(
        state.sockets.iter().map(|socket| socket.value.edge.as_str()).collect::<Vec<_>>(),
        ["edge-0", "edge-1"]
    );

    let late = Change::Present(jane.clone(), presence("edge-0", "Away", 4));
    assert_eq!(one(live, &turn, late).await, Outcome::Older);
    let newer = Change::Present(jane.clone(), presence("edge-1", "Away", 6));
    assert_eq!(one(live, &turn, newer).await, Outcome::Done);
    let gone = |edge: &str| Change::Absent { agent: jane.clone(), edge: edge.into() };
    assert_eq!(one(live, &turn, gone("edge-0")).await, Outcome::Older);
    let detach =
        |id: &str, edge: &str| Change::Detach { agent: jane.clone(), id: id.into(), edge: edge.into() };
    assert_eq!(one(live, &turn, detach("2", "edge-0")).await, Outcome::Older);
    assert_eq!(one(live, &turn, detach("2", "edge-1")).await, Outcome::Done);
    let page = live.agents("acme", None).await.unwrap();
    assert_eq!(page.items.len(), 1);
    assert_eq!((page.items[0].0.name.as_str(), page.items[0].1.sockets.len()), ("jane", 1));
    let many = (0..SOCKETS_MAX).map(|n| Change::Attach(jane.clone(), socket(&format!("n{n}"), "edge-0")));
    let outcomes = write(live, &turn, many).await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::TooMany).count(), 2);
    assert_eq!(one(live, &turn, gone("edge-1")).await, Outcome::Done);
    assert_eq!(live.agent(&jane).await.unwrap().presence, None);
}

async fn counts(live: &dyn Live) {
    let turn = live.enter("counts").await.unwrap();
    let count = |edge: &str, of: &[(&str, u64)]| {
        let values = of.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect::<BTreeMap<_, _>>();
        Change::Count(Counts { edge: edge.into(), values })
    };
    let trunk = "trunk/platform/carrier";
    write(live, &turn, [count("edge-0", &[(trunk, 5)]), count("edge-1", &[(trunk, 7), ("tenant/acme", 1)])])
        .await;
    let short = Lasting::new(count("edge-2", &[(trunk, 100)]), SHORT);
    live.write(&turn, &[short]).await.unwrap();
    goes(async || live.counts().await.unwrap().into_iter().find(|counts| counts.value.edge == "edge-2"))
        .await;
    let counted = live.counts().await.unwrap();
    assert_eq!(elsewhere(&counted, "edge-0", trunk), 7, "a dead edge's calls are not counted for ever");
    assert_eq!(elsewhere(&counted, "edge-9", trunk), 12);
    assert_eq!(elsewhere(&counted, "edge-0", "tenant/acme"), 1);
    write(live, &turn, [count("edge-1", &[(trunk, 2)])]).await;
    let counted = live.counts().await.unwrap();
    assert_eq!((elsewhere(&counted, "edge-0", trunk), elsewhere(&counted, "edge-0", "tenant/acme")), (2, 0));
}

pub fn wanted(lease: &str, holder: &str, known_epoch: u64) -> Wanted {
    Wanted { lease: lease.into(), holder: holder.into(), lasts: LONG, known_epoch, grace: Duration::ZERO }
}

async fn leases(live: &dyn Live) {
    let floor = "floor/acme";
    assert_eq!(live.acquire(&wanted(floor, "edge-0", 0)).await.unwrap(), Acquired::Ours { epoch: 1 });
    let theirs = live.acquire(&wanted(floor, "edge-1", 9)).await.unwrap();
    assert!(
        matches!(&theirs, Acquired::Theirs { holder, epoch: 1, left } if holder == "edge-0" && *left <= LONG)
    );
    assert_eq!(live.renew(floor, "edge-0", 1, LONG).await.unwrap(), Renewed::Ours);
    let lost = Renewed::Lost { holder: "edge-0".into(), epoch: 1 };
    assert_eq!(
        live.renew(floor, "edge-1", 1, LONG).await.unwrap(),
        lost,
        "two with one epoch: the one that is known"
    );
    live.release(floor, "edge-1", 1).await.unwrap();
    assert!(matches!(live.acquire(&wanted(floor, "edge-1", 0)).await.unwrap(), Acquired::Theirs { .. }));
    live.release(floor, "edge-0", 1).await.unwrap();
    assert_eq!(live.acquire(&wanted(floor, "edge-1", 0)).await.unwrap(), Acquired::Ours { epoch: 2 });
    let lost = Renewed::Lost { holder: "edge-1".into(), epoch: 2 };
    assert_eq!(live.renew(floor, "edge-0", 1, LONG).await.unwrap(), lost);
    // A store that has gone back learns the epoch of who holds it, and of who has heard of one.
    assert_eq!(live.renew(floor, "edge-2", 5, SHORT).await.unwrap(), Renewed::Ours);
    goes(async || {
        let acquired = live.acquire(&wanted(floor, "edge-3", 3)).await.unwrap();
        if acquired == (Acquired::Ours { epoch: 6 }) { None } else { Some(acquired) }
    })
    .await;
    live.release(floor, "edge-3", 6).await.unwrap();
    assert_eq!(live.acquire(&wanted(floor, "edge-4", 10)).await.unwrap(), Acquired::Ours { epoch: 11 });
    assert_eq!(
        live.acquire(&wanted(floor, "edge-4", 0)).await.unwrap(),
        Acquired::Ours { epoch: 12 },
        "again: anew"
    );

    // Nobody takes what a young store may not have heard of yet.
    let patient = Wanted { grace: Duration::from_secs(3_600), ..wanted("floor/young", "edge-0", 0) };
    assert!(
        matches!(live.acquire(&patient).await.unwrap(), Acquired::Young { left } if left <= patient.grace)
    );
    assert_eq!(live.renew("floor/young", "edge-1", 3, LONG).await.unwrap(), Renewed::Ours);
    assert!(matches!(live.acquire(&patient).await.unwrap(), Acquired::Theirs { epoch: 3, .. }));
}

async fn calls(live: &dyn Live) {
    let turn = live.enter("calls").await.unwrap();
    let put = |record: CallRecord| Change::Call(record);
    let over = |owner: &str, epoch| Change::Over { call: "c1".into(), owner: owner.into(), epoch };
    assert_eq!(live.call("c1").await.unwrap(), None);
    assert_eq!(one(live, &turn, put(record("c1", "run-a", 1, b"ringing\0\xff"))).await, Outcome::Done);
    assert_eq!(one(live, &turn, put(record("c1", "run-a", 1, b"answered"))).await, Outcome::Done);
    let found = live.call("c1").await.unwrap().unwrap();
    assert_eq!(found.value, record("c1", "run-a", 1, b"answered"));
    assert!(stands(&found));
    let fenced = |owner: &str, epoch| Outcome::Fenced { owner: owner.into(), epoch };
    assert_eq!(one(live, &turn, put(record("c1", "run-b", 1, b"mine"))).await, fenced("run-a", 1));
    assert_eq!(one(live, &turn, over("run-b", 1)).await, fenced("run-a", 1));
    // A store that has gone back learns the epoch of who has claimed it.
    assert_eq!(one(live, &turn, put(record("c1", "run-b", 2, b"claimed"))).await, Outcome::Done);
    assert_eq!(one(live, &turn, put(record("c1", "run-a", 1, b"late"))).await, fenced("run-b", 2));
    let of = async |owner: &str| live.calls_of(owner, None).await.unwrap().items;
    assert_eq!((of("run-a").await.len(), of("run-b").await.len()), (0, 1));
    assert_eq!(live.owners(None).await.unwrap().items, ["run-b"]);
    assert_eq!(one(live, &turn, over("run-b", 2)).await, Outcome::Done);
    assert_eq!(one(live, &turn, over("run-b", 2)).await, Outcome::Done, "twice is once");
    assert_eq!(live.call("c1").await.unwrap(), None);
    assert!(of("run-b").await.is_empty() && live.owners(None).await.unwrap().items.is_empty());
    for late in [record("c1", "run-a", 1, b""), record("c1", "run-b", 2, b"")] {
        assert_eq!(one(live, &turn, put(late)).await, fenced("run-b", 2), "what is over stays over");
    }
    let short = Lasting::new(put(record("c2", "run-a", 1, b"x")), SHORT);
    live.write(&turn, &[short]).await.unwrap();
    goes(async || live.call("c2").await.unwrap()).await;
    assert!(of("run-a").await.is_empty());
}

async fn claims(live: &dyn Live) {
    let turn = live.enter("claims").await.unwrap();
    let claim = |call: &str, to: &str, known_epoch| Adoption {
        call: call.into(),
        from: "lost".into(),
        to: to.into(),
        known_epoch,
        lasts: LONG,
    };
    assert_eq!(live.claim(&claim("k0", "run-a", 0)).await.unwrap(), Claimed::Gone);
    let records = (1..=20).map(|n| Change::Call(record(&format!("k{n}"), "lost", 1, b"body")));
    write(live, &turn, records).await;
    let page = live.calls_of("lost", None).await.unwrap();
    assert_eq!((page.items.len(), page.next), (20, None));
    // Three adopters want all of them, at once: each call has one.
    let adopt = async |to: &'static str| {
        let mut ours = 0;
        for n in 1..=20 {
            match live.claim(&claim(&format!("k{n}"), to, 0)).await.unwrap() {
                Claimed::Ours(found) => {
                    assert_eq!(found, record(&format!("k{n}"), to, 2, b"body"));
                    ours += 1;
                }
                Claimed::Theirs { owner, epoch } => assert!(owner != to && epoch == 2, "{owner} {epoch}"),
                Claimed::Gone => panic!("k{n} is gone"),
            }
        }
        ours
    };
    let (a, b, c) = futures::join!(adopt("run-a"), adopt("run-b"), adopt("run-c"));
    assert_eq!(a + b + c, 20);
    assert!(live.calls_of("lost", None).await.unwrap().items.is_empty());
    let mut adopted = 0;
    for owner in ["run-a", "run-b", "run-c"] {
        adopted += live.calls_of(owner, None).await.unwrap().items.len();
    }
    assert_eq!(adopted, 20);
    // Asked again, since the answer was lost: it is the same.
    write(live, &turn, [Change::Call(record("k21", "lost", 4, b"b"))]).await;
    let first = live.claim(&claim("k21", "run-a", 7)).await.unwrap();
    assert_eq!(first, Claimed::Ours(record("k21", "run-a", 8, b"b")), "no lower than anybody has seen");
    assert_eq!(live.claim(&claim("k21", "run-a", 7)).await.unwrap(), first);
    let fenced = Outcome::Fenced { owner: "run-a".into(), epoch: 8 };
    assert_eq!(one(live, &turn, Change::Call(record("k21", "lost", 4, b"still here"))).await, fenced);
    let over = Change::Over { call: "k21".into(), owner: "run-a".into(), epoch: 8 };
    assert_eq!(one(live, &turn, over).await, Outcome::Done);
    assert_eq!(live.claim(&claim("k21", "run-b", 0)).await.unwrap(), Claimed::Gone);
}

async fn contents(live: &dyn Live) {
    let turn = live.enter("contents").await.unwrap();
    let large: Vec<u8> = (0..300_000u32).map(|n| (n / 3) as u8).collect();
    let (prompt, program) = (Content::new(large.into()), Content::new(Bytes::from_static(b"{}")));
    assert_eq!(live.content(&prompt.id()).await.unwrap(), None);
    let keep = [Change::Keep(prompt.clone()), Change::Keep(program.clone()), Change::Keep(prompt.clone())];
    assert_eq!(write(live, &turn, keep).await, [Outcome::Done, Outcome::Done, Outcome::Done]);
    assert_eq!(live.content(&prompt.id()).await.unwrap(), Some(prompt.clone()));
    assert_eq!(live.content(&program.id()).await.unwrap(), Some(program.clone()));
    let shown = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    assert_eq!(program.id().to_string(), shown);
    // Its expiry is what was said last.
    live.write(&turn, &[Lasting::new(Change::Keep(program.clone()), SHORT)]).await.unwrap();
    goes(async || live.content(&program.id()).await.unwrap()).await;
    assert_eq!(live.content(&ContentId::from_bytes([7; 32])).await.unwrap(), None);
}

async fn bans(live: &dyn Live) {
    let turn = live.enter("bans").await.unwrap();
    let ban = |address: &str, count| Change::Ban(Ban { address: address.parse().unwrap(), count });
    write(live, &turn, [ban("192.0.2.1", 1), ban("2001:db8::1", 3), ban("192.0.2.1", 2)]).await;
    let short = Lasting::new(ban("192.0.2.3", 1), SHORT);
    live.write(&turn, &[short]).await.unwrap();
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let banned = async |of: &str| {
        let found = live.bans(None).await.unwrap().items;
        found.into_iter().find(|ban| ban.value.address == address(of))
    };
    assert_eq!(banned("192.0.2.1").await.unwrap().value.count, 2);
    goes(async || banned("192.0.2.3").await).await;
    write(live, &turn, [Change::Lift(address("192.0.2.1"))]).await;
    let left: Vec<Ban> = live.bans(None).await.unwrap().items.into_iter().map(|ban| ban.value).collect();
    assert_eq!(left, [Ban { address: address("2001:db8::1"), count: 3 }]);
    write(live, &turn, [Change::Lift(address("2001:db8::1"))]).await;
}

async fn nonces(live: &dyn Live) {
    let every = Duration::from_secs(3_600);
    let first = live.nonce_keys(None, every).await.unwrap();
    assert!(first.left <= every && first.previous.is_none());
    let again = live.nonce_keys(None, every).await.unwrap();
    assert_eq!((&again.current, &again.previous), (&first.current, &None), "all edges have the same");
    assert_ne!(first.current.as_bytes(), &[0; 32]);
    assert_eq!(format!("{:?}", first.current), "[redacted]");
    assert!(!format!("{first:?}").contains(&format!("{:?}", first.current.as_bytes())));
}

/// All of a list, in pages.
async fn every<T>(mut page: impl AsyncFnMut(Option<&Cursor>) -> Page<T>) -> (Vec<T>, usize) {
    let (mut all, mut pages, mut after) = (Vec::new(), 0, None);
    loop {
        let Page { items, next } = page(after.as_ref()).await;
        all.extend(items);
        pages += 1;
        let Some(next) = next else { return (all, pages) };
        after = Some(next);
    }
}

async fn pages(live: &dyn Live) {
    let turn = live.enter("pages").await.unwrap();
    let address = |n: u32| IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + n));
    for hundred in 0..6 {
        // Of one batch, they end at the same time.
        let bans = (0..100).map(|n| Change::Ban(Ban { address: address(hundred * 100 + n), count: 1 }));
        write(live, &turn, bans).await;
        let calls = (0..100).map(|n| Change::Call(record(&format!("p{hundred}-{n}"), "pages", 1, b"x")));
        write(live, &turn, calls).await;
        let stations = (0..100).map(|n| Station::new("many", &format!("a{hundred}"), &format!("s{n}")));
        write(live, &turn, stations.map(|station| Change::Bind(station, binding("a", "edge-0", "x", 1))))
            .await;
        let agents = (0..100).map(|n| Agent::new("many", &format!("a{hundred}-{n}")));
        write(live, &turn, agents.map(|agent| Change::Present(agent, presence("edge-0", "Away", 1)))).await;
    }
    let (bans, pages) = every(async |after| live.bans(after).await.unwrap()).await;
    assert_eq!((bans.len(), pages), (600, 3));
    assert_eq!(bans.iter().map(|ban| ban.value.address).collect::<BTreeSet<_>>().len(), 600);
    let (calls, _) = every(async |after| live.calls_of("pages", after).await.unwrap()).await;
    assert_eq!(calls.iter().map(|call| &call.value.call).collect::<BTreeSet<_>>().len(), 600);
    let (stations, _) = every(async |after| live.stations("many", after).await.unwrap()).await;
    assert_eq!(stations.iter().map(|(station, _)| station).collect::<BTreeSet<_>>().len(), 600);
    let (agents, _) = every(async |after| live.agents("many", after).await.unwrap()).await;
    assert_eq!(agents.iter().map(|(agent, _)| agent).collect::<BTreeSet<_>>().len(), 600);
    assert!(agents.iter().all(|(_, state)| state.presence.as_ref().is_some_and(stands)));
}

async fn bad_input(live: &dyn Live) {
    let turn = live.enter("bad").await.unwrap();
    let station = Station::new("acme", "a/b", "desk");
    let bind = |binding: Binding| Change::Bind(Station::new("acme", "bad", "desk"), binding);
    let good = binding("a", "edge-0", "x", 1);
    let table = [
        (Change::Bind(station, good.clone()), "agent.name is \"a/b\" and may hold no '/'"),
        (
            bind(Binding { edge: "edge 0".into(), ..good.clone() }),
            "binding.edge is \"edge 0\" and may hold no ' '",
        ),
        (bind(Binding { q: 1_001, ..good.clone() }), "binding.q is 1001 and may be 1000 at most"),
        (
            bind(Binding { contact: "x".repeat(1_025), ..good.clone() }),
            "binding.contact has 1025 octets and may have 1024 at most",
        ),
        (
            bind(Binding { flow: "a\nb".into(), ..good.clone() }),
            "binding.flow is \"a\\nb\" and may not hold the control character '\\n'",
        ),
        (
            bind(Binding { path: vec!["x".into(); 9], ..good }),
            "binding.path has 9 values and may have 8 at most",
        ),
        (Change::Call(record("", "a", 1, b"")), "call is empty and must not be"),
        (Change::Call(record("c{1}", "a", 1, b"")), "call is \"c{1}\" and may hold no '{'"),
        (
            Change::Call(record("c", "a", 1 << 53, b"")),
            "call.epoch is 9007199254740992 and may be 9007199254740991 at most",
        ),
        (
            Change::Call(CallRecord { body: vec![0; 65_537].into(), ..record("c", "a", 1, b"") }),
            "call.body has 65537 octets and may have 65536 at most",
        ),
    ];
    for (change, said) in table {
        let error = live.write(&turn, &[lasting(change)]).await.unwrap_err();
        assert_eq!(error.to_string(), said);
    }
    let endless = Lasting::new(Change::Ban(Ban { address: [192, 0, 2, 9].into(), count: 1 }), Duration::MAX);
    let said = live.write(&turn, &[endless]).await.unwrap_err().to_string();
    assert!(said.starts_with("lasts is ") && said.ends_with(" and must be 1ms to 2592000s"), "{said}");
    let many = vec![lasting(Change::Lift([192, 0, 2, 9].into())); 129];
    assert_eq!(
        live.write(&turn, &many).await.unwrap_err().to_string(),
        "changes are 129 and may be 128 at most"
    );
    let said = live.acquire(&wanted("a lease", "edge-0", 0)).await.unwrap_err().to_string();
    assert_eq!(said, "lease is \"a lease\" and may hold no ' '");
    let said = live.nonce_keys(None, Duration::from_secs(1)).await.unwrap_err().to_string();
    assert_eq!(said, "every is 1s and must be 60s to 604800s");
    assert!(
        live.bindings(&Station::new("acme", "bad", "desk")).await.unwrap().is_empty(),
        "nothing of it is there"
    );
}
