//! What befalls a Redis, and what a writer and those who hold leases and calls make of it.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use store::live::{
    Acquired, Adoption, Agent, Ban, CallRecord, Change, Claimed, Event, Events, Lasting, Live, Lost, Memory,
    Renewed, Settings, State, Station, Writer,
};
use tokio::time::{sleep, timeout};

use super::{
    promises::{LONG, binding, lasting, presence, record, wanted},
    run,
    servers::{PATIENCE, Server, free_port, hasty, redis, wait_for},
};

/// Soon again, so that tests are short.
fn settings() -> Settings {
    Settings {
        probe_every: Duration::from_millis(50),
        slow: Duration::from_millis(100),
        pauses: (Duration::from_millis(20), Duration::from_millis(200)),
        ..Settings::default()
    }
}

/// One that waits for answers, and a writer that does not wait for long.
fn both(url: &str) -> (Arc<dyn Live>, Writer, Events) {
    let (writer, events) = Writer::start(Arc::new(hasty(url)), settings()).unwrap();
    (Arc::new(redis(url)), writer, events)
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what} does not come to hold");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn next(events: &mut Events) -> Option<Event> {
    timeout(PATIENCE, events.next()).await.unwrap()
}

async fn settled(writer: &Writer) {
    assert!(writer.settle(PATIENCE).await, "{:?}", writer.health());
}

fn call(n: usize, body: &'static [u8]) -> Lasting {
    lasting(Change::Call(record(&format!("c{n}"), "run-a", 1, body)))
}

fn ban(n: u8) -> Change {
    Change::Ban(Ban { address: [192, 0, 2, n].into(), count: 1 })
}

/// Until it answers again, whatever it was before.
async fn read(live: &Arc<dyn Live>, name: &str) -> Option<CallRecord> {
    let begun = Instant::now();
    loop {
        match live.call(name).await {
            Ok(found) => return found.map(|found| found.value),
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
    }
}

#[test]
fn a_redis_that_hangs_makes_nobody_wait_and_has_everything_once_it_goes_on() {
    let server = Server::start(&[]);
    run(async {
        let (live, writer, mut events) = both(&server.url());
        writer.put(call(0, b"before")).unwrap();
        settled(&writer).await;
        until("up", || writer.health().state == State::Up).await;

        server.pause();
        let begun = Instant::now();
        for n in 0..10_000 {
            writer.put(call(n % 10, if n < 9_990 { b"older" } else { b"newest" })).unwrap();
        }
        let took = begun.elapsed();
        until("down", || writer.health().state == State::Down).await;
        let health = writer.health();
        assert!(health.figures.waiting <= 10 && health.figures.coalesced > 9_900, "{health:?}");
        assert!(health.because.contains("has not answered for 300ms"), "{health:?}");
        let asked = hasty(&server.url()).call("c0").await;
        assert!(asked.is_err(), "{asked:?}");
        server.resume();
        settled(&writer).await;
        until("up", || writer.health().state == State::Up).await;
        for n in 0..10 {
            assert_eq!(read(&live, &format!("c{n}")).await.unwrap().body, &b"newest"[..]);
        }
        let figures = writer.health().figures;
        assert_eq!((figures.gap, figures.expired, figures.waiting), (0, 0, 0), "{figures:?}");
        assert_eq!(events.try_next(), None, "nothing was lost: nothing is said again");
        println!("10,000 changes were put within {took:?} while Redis hung");
    });
}

#[test]
fn what_expires_while_redis_hangs_is_never_believed() {
    let server = Server::start(&[]);
    run(async {
        let (live, writer, _events) = both(&server.url());
        settled(&writer).await;
        until("up", || writer.health().state == State::Up).await;
        server.pause();
        let station = Station::new("acme", "jane", "desk");
        let change = Change::Bind(station.clone(), binding("a", "edge-0", "x", 1));
        // It lies in the connection of the first attempt, and would stand from when it is read there.
        writer.put(Lasting::new(change, Duration::from_millis(1_000))).unwrap();
        let change = Change::Call(record("c1", "run-a", 1, b"x"));
        writer.put(Lasting::new(change, Duration::from_millis(1_000))).unwrap();
        let failed = writer.health().figures.failed;
        until("attempts that fail", || writer.health().figures.failed > failed + 1).await;
        until("expiry", || writer.health().figures.expired == 2).await;
        server.resume();
        writer.put(lasting(ban(1))).unwrap();
        settled(&writer).await;
        assert!(live.bindings(&station).await.unwrap().is_empty());
        assert_eq!(live.call("c1").await.unwrap(), None);
        assert_eq!(live.bans(None).await.unwrap().items.len(), 1);
    });
}

#[test]
fn a_redis_that_begins_anew_is_told_everything_again() {
    let mut server = Server::start(&[]);
    run(async {
        let (live, writer, mut events) = both(&server.url());
        (0..500).for_each(|n| writer.put(call(n, b"x")).unwrap());
        settled(&writer).await;
        let keys = live.nonce_keys(None, LONG).await.unwrap();
        assert_eq!(
            live.acquire(&wanted("floor/acme", "run-a", 0)).await.unwrap(),
            Acquired::Ours { epoch: 1 }
        );

        server.kill();
        until("down", || writer.health().because.contains("refused")).await;
        assert_eq!(writer.health().state, State::Down);
        writer.put(call(500, b"meanwhile")).unwrap();
        server.run();
        assert_eq!(next(&mut events).await, Some(Event::Resync(Lost::Store)));
        assert!(read(&live, "c499").await.is_none());
        (0..500).for_each(|n| writer.put(call(n, b"again")).unwrap());
        settled(&writer).await;
        assert_eq!(read(&live, "c499").await.unwrap().body, &b"again"[..]);
        assert_eq!(read(&live, "c500").await.unwrap().body, &b"meanwhile"[..]);
        // Nobody else takes the floor before its holder has said so again, and nobody's nonces end.
        let patient = store::live::Wanted { grace: LONG, ..wanted("floor/acme", "run-b", 0) };
        assert!(matches!(live.acquire(&patient).await.unwrap(), Acquired::Young { .. }));
        assert_eq!(live.renew("floor/acme", "run-a", 1, LONG).await.unwrap(), Renewed::Ours);
        assert!(matches!(live.acquire(&patient).await.unwrap(), Acquired::Theirs { epoch: 1, .. }));
        assert_eq!(live.nonce_keys(Some(&keys), LONG).await.unwrap().current, keys.current);

        // The same without a restart.
        let _: String = server.admin(&["FLUSHALL"]);
        assert_eq!(next(&mut events).await, Some(Event::Resync(Lost::Store)));
        assert_eq!(writer.health().figures.resyncs, 2);
    });
}

#[test]
fn a_redis_that_goes_back_in_time_is_noticed_and_epochs_rise_all_the_same() {
    let mut server = Server::start(&["--dbfilename", "dump.rdb"]);
    run(async {
        let (live, writer, mut events) = both(&server.url());
        writer.put(call(1, b"early")).unwrap();
        settled(&writer).await;
        let short =
            store::live::Wanted { lasts: Duration::from_millis(1), ..wanted("floor/acme", "run-a", 0) };
        assert_eq!(live.acquire(&short).await.unwrap(), Acquired::Ours { epoch: 1 });
        let _: String = server.admin(&["SAVE"]);
        fs::copy(server.path("dump.rdb"), server.path("kept.rdb")).unwrap();

        writer.put(call(1, b"late")).unwrap();
        writer.put(call(2, b"new")).unwrap();
        settled(&writer).await;
        let mut held = live.acquire(&wanted("floor/acme", "run-b", 0)).await.unwrap();
        while matches!(held, Acquired::Theirs { .. }) {
            held = live.acquire(&wanted("floor/acme", "run-b", 0)).await.unwrap();
        }
        assert_eq!(held, Acquired::Ours { epoch: 2 });
        let adoption = |to: &str, known_epoch| Adoption {
            call: "c1".into(),
            from: "run-a".into(),
            to: to.into(),
            known_epoch,
            lasts: LONG,
        };
        assert_eq!(
            live.claim(&adoption("run-b", 0)).await.unwrap(),
            Claimed::Ours(record("c1", "run-b", 2, b"late"))
        );

        server.kill();
        fs::copy(server.path("kept.rdb"), server.path("dump.rdb")).unwrap();
        server.run();
        assert_eq!(next(&mut events).await, Some(Event::Resync(Lost::Store)));
        assert_eq!(read(&live, "c1").await, Some(record("c1", "run-a", 1, b"early")));
        // Another asks every peer for the highest epoch they know, and says it.
        assert_eq!(
            live.acquire(&wanted("floor/acme", "run-c", 2)).await.unwrap(),
            Acquired::Ours { epoch: 3 }
        );
        let lost = Renewed::Lost { holder: "run-c".into(), epoch: 3 };
        assert_eq!(live.renew("floor/acme", "run-b", 2, LONG).await.unwrap(), lost);
        assert_eq!(
            live.claim(&adoption("run-c", 2)).await.unwrap(),
            Claimed::Ours(record("c1", "run-c", 3, b"early"))
        );
        // Who has lost a call hears it at the next word.
        writer.put(call(1, b"still mine")).unwrap();
        assert_eq!(
            next(&mut events).await,
            Some(Event::Fenced { call: "c1".into(), owner: "run-c".into(), epoch: 3 })
        );
    });
}

#[test]
fn a_full_redis_takes_away_and_goes_on_with_leases_and_takes_more_once_there_is_room() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]);
    run(async {
        let (live, writer, mut events) = both(&server.url());
        writer.put(lasting(ban(1))).unwrap();
        writer.put(call(1, b"x")).unwrap();
        settled(&writer).await;
        assert_eq!(
            live.acquire(&wanted("floor/acme", "run-a", 0)).await.unwrap(),
            Acquired::Ours { epoch: 1 }
        );
        let _: String = server.admin(&["CONFIG", "SET", "maxmemory", "1"]);
        until("full", || writer.health().state == State::Full).await;
        writer.put(call(2, b"y")).unwrap();
        writer.put(lasting(Change::Lift([192, 0, 2, 1].into()))).unwrap();
        let over = Change::Over { call: "c1".into(), owner: "run-a".into(), epoch: 1 };
        writer.put(lasting(over)).unwrap();
        until("what takes away", || writer.health().figures.waiting == 1).await;
        assert!(live.bans(None).await.unwrap().items.is_empty());
        assert_eq!(live.call("c1").await.unwrap(), None);
        let health = writer.health();
        assert!(health.state == State::Full && health.because.contains("OOM"), "{health:?}");
        assert_eq!(live.renew("floor/acme", "run-a", 1, LONG).await.unwrap(), Renewed::Ours);
        assert_eq!(
            live.acquire(&wanted("floor/other", "run-a", 0)).await.unwrap(),
            Acquired::Ours { epoch: 1 }
        );

        let _: String = server.admin(&["CONFIG", "SET", "maxmemory", "0"]);
        settled(&writer).await;
        assert_eq!(read(&live, "c2").await.unwrap().body, &b"y"[..]);
        until("up", || writer.health().state == State::Up).await;
        assert_eq!((events.try_next(), writer.health().figures.gap), (None, 0));
    });
}

#[test]
fn what_finds_no_room_is_counted_and_said_again_later() {
    let server = Server::start(&[]);
    run(async {
        let live: Arc<dyn Live> = Arc::new(redis(&server.url()));
        let few = Settings { waiting_max: 10, ..settings() };
        let (writer, mut events) = Writer::start(Arc::new(hasty(&server.url())), few).unwrap();
        settled(&writer).await;
        server.pause();
        until("nothing under way", || writer.health().state == State::Down).await;
        let taken = (0..100).filter(|n| writer.put(call(*n, b"x")).is_ok()).count();
        assert_eq!((taken, writer.room()), (10, 0));
        assert_eq!(writer.health().figures.gap, 90);
        writer.put(call(3, b"newer")).unwrap();
        server.resume();
        assert_eq!(next(&mut events).await, Some(Event::Resync(Lost::Gap)));
        // In portions, as there is room.
        for n in 0..100 {
            until("room", || writer.room() > 0).await;
            writer.put(call(n, if n == 3 { b"newer" } else { b"x" })).unwrap();
        }
        settled(&writer).await;
        for n in 0..100 {
            let body = read(&live, &format!("c{n}")).await.unwrap().body;
            assert_eq!(body, if n == 3 { &b"newer"[..] } else { &b"x"[..] });
        }
        assert_eq!(writer.health().figures.gap, 90);
    });
}

#[test]
fn a_redis_that_comes_later_is_no_matter_and_a_password_is_never_said() {
    let port = free_port();
    run(async {
        let (_live, writer, _events) = both(&format!("redis://:top-secret@127.0.0.1:{port}"));
        writer.put(call(1, b"x")).unwrap();
        until("down", || writer.health().because.contains("refused")).await;
        assert_eq!(writer.health().state, State::Down);
        drop(writer);
        let server = Server::with_password("another-secret");
        let (live, writer, _events) = both(&format!("redis://:top-secret@127.0.0.1:{}", server.port));
        writer.put(call(1, b"x")).unwrap();
        until("down", || writer.health().because.contains("Password")).await;
        let said = format!("{:?} {writer:?} {live:?}", writer.health());
        assert!(!said.contains("secret"), "{said}");
        let _: String = server.admin(&["CONFIG", "SET", "requirepass", "top-secret"]);
        settled(&writer).await;
    });
}

#[test]
fn what_is_in_the_way_of_one_change_holds_up_no_other() {
    let server = Server::start(&[]);
    run(async {
        let _: String = server.admin(&["SET", "{c14}:call:c5", "somebody else's"]);
        let (live, writer, _events) = both(&server.url());
        (0..10).for_each(|n| writer.put(call(n, b"x")).unwrap());
        settled(&writer).await;
        assert_eq!(writer.health().figures.refused, 1);
        for n in (0..10).filter(|n| *n != 5) {
            assert!(read(&live, &format!("c{n}")).await.is_some(), "{n}");
        }
    });
}

#[test]
fn behind_sentinels_the_new_master_has_what_the_old_one_had() {
    let mut master = Server::start(&[]);
    let replica = Server::start(&[
        "--replicaof",
        "127.0.0.1",
        &master.port.to_string(),
        "--repl-diskless-sync-delay",
        "0",
    ]);
    wait_for("a replica", || {
        replica.admin::<String>(&["INFO", "replication"]).contains("master_link_status:up")
    });
    let sentinel = Server::sentinel();
    let port = master.port.to_string();
    let _: String = sentinel.admin(&["SENTINEL", "MONITOR", "mymaster", "127.0.0.1", &port, "1"]);
    for (what, value) in [("down-after-milliseconds", "500"), ("failover-timeout", "5000")] {
        let _: String = sentinel.admin(&["SENTINEL", "SET", "mymaster", what, value]);
    }
    let knows = |what: &str| sentinel.admin::<String>(&["INFO", "sentinel"]).contains(what);
    wait_for("a Sentinel that knows the replica", || knows("slaves=1"));
    let nobody = free_port();
    let url = format!("redis+sentinel://127.0.0.1:{nobody},127.0.0.1:{}/mymaster", sentinel.port);
    run(async {
        let (live, writer, mut events) = both(&url);
        (0..100).for_each(|n| writer.put(call(n, b"x")).unwrap());
        settled(&writer).await;
        assert_eq!(
            live.acquire(&wanted("floor/acme", "run-a", 4)).await.unwrap(),
            Acquired::Ours { epoch: 5 }
        );
        until("replication", || {
            let offsets = |server: &Server, field: &str| {
                let info: String = server.admin(&["INFO", "replication"]);
                info.lines().find_map(|line| line.strip_prefix(field).map(str::to_owned))
            };
            offsets(&master, "master_repl_offset:") == offsets(&replica, "slave_repl_offset:")
        })
        .await;
        // What was acknowledged last may not have come over: that is found out, and said again.
        master.kill();
        writer.put(call(100, b"meanwhile")).unwrap();
        settled(&writer).await;
        if let Some(event) = events.try_next() {
            assert_eq!(event, Event::Resync(Lost::Store));
        }
        assert!(replica.admin::<String>(&["INFO", "replication"]).contains("role:master"));
        assert_eq!(read(&live, "c99").await.unwrap().body, &b"x"[..]);
        assert_eq!(read(&live, "c100").await.unwrap().body, &b"meanwhile"[..]);
        assert_eq!(live.renew("floor/acme", "run-a", 5, LONG).await.unwrap(), Renewed::Ours);
        assert!(matches!(
            live.acquire(&wanted("floor/acme", "run-b", 0)).await.unwrap(),
            Acquired::Theirs { epoch: 5, .. }
        ));
        let health = writer.health();
        println!("the failover was over after {} failed attempts", health.figures.failed);
    });
}

#[test]
fn in_a_cluster_our_keys_may_move_while_they_are_used() {
    let servers = super::cluster();
    let (from, to) = (&servers[2], &servers[0]);
    let id = |server: &Server| server.admin::<String>(&["CLUSTER", "MYID"]);
    let (from_id, to_id) = (id(from), id(to));
    let slot: u16 = from.admin(&["CLUSTER", "KEYSLOT", "{c14}"]);
    let slot = slot.to_string();
    run(async {
        let (live, writer, mut events) = both(&format!("redis+cluster://127.0.0.1:{}", servers[1].port));
        (0..100).for_each(|n| writer.put(call(n, b"x")).unwrap());
        settled(&writer).await;
        let _: String = to.admin(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
        let _: String = from.admin(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
        let port = to.port.to_string();
        loop {
            let keys: Vec<String> = from.admin(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
            if keys.is_empty() {
                break;
            }
            let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            migrate.extend(keys.iter().map(String::as_str));
            let _: String = from.admin(&migrate);
        }
        for server in [to, from, &servers[1]] {
            let _: String = server.admin(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
        }
        writer.put(call(100, b"after")).unwrap();
        settled(&writer).await;
        for n in 0..100 {
            assert!(read(&live, &format!("c{n}")).await.is_some(), "{n}");
        }
        assert_eq!(to.admin::<usize>(&["EXISTS", "{c14}:call:c100"]), 1);
        assert_eq!(events.try_next(), None, "nothing was lost");
    });
}

#[test]
fn who_loses_a_call_hears_of_it_and_what_waits_at_the_end_is_brought() {
    run(async {
        let live: Arc<dyn Live> = Arc::new(Memory::new());
        let (writer, mut events) = Writer::start(Arc::clone(&live), settings()).unwrap();
        writer.put(call(1, b"x")).unwrap();
        writer
            .put(lasting(Change::Present(Agent::new("acme", "jane"), presence("run-a", "Away", 1))))
            .unwrap();
        settled(&writer).await;
        let adoption = Adoption {
            call: "c1".into(),
            from: "run-a".into(),
            to: "run-b".into(),
            known_epoch: 0,
            lasts: LONG,
        };
        assert!(matches!(live.claim(&adoption).await.unwrap(), Claimed::Ours(_)));
        writer.put(call(1, b"y")).unwrap();
        assert_eq!(
            next(&mut events).await,
            Some(Event::Fenced { call: "c1".into(), owner: "run-b".into(), epoch: 2 })
        );
        let said = writer.put(lasting(Change::Call(record("c {", "run-a", 1, b"")))).unwrap_err().to_string();
        assert_eq!(said, "call is \"c {\" and may hold no ' '");
        writer.put(call(2, b"last")).unwrap();
        drop(writer);
        assert_eq!(next(&mut events).await, None);
        assert_eq!(live.call("c2").await.unwrap().unwrap().value.body, &b"last"[..]);
    });
}
