//! SQLite and PostgreSQL hold the same promises, and a recorder loses nothing, whatever ends when.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures::future::BoxFuture;
use store::records::{
    Found, Kind, LOST, Postgres, PostgresConfig, Recorder, Records, RecordsError, Row, Rules, Said, Settings,
    Shared, Source, Sqlite, Unready, Wanted, id,
};
use tempfile::TempDir;

use crate::postgres::Server;

const PATIENCE: Duration = Duration::from_secs(60);

/// 2027-01-15.
const START: i64 = 1_800_000_000_000;

fn row(call: u64, ended_by: Option<&str>) -> Row {
    let started_ms = START + i64::try_from(call).unwrap() * 1_000;
    let id = id(started_ms, "0a", call);
    let by = ended_by.map_or_else(|| "null".to_owned(), |by| format!("\"{by}\""));
    Row {
        body: format!(r#"{{"id":"{id}","to":"a\u0000b {call}","endedBy":{by}}}"#),
        id,
        tenant: if call.is_multiple_of(2) { "acme" } else { "other" }.into(),
        owner: "me".into(),
        instance: "0a".into(),
        started_ms,
        ended_ms: ended_by.map(|_| started_ms + 500),
        ended_by: ended_by.map(Into::into),
        names: vec![
            (Kind::Number, format!("+1212555{call:04}")),
            (Kind::Number, "+18005550100".into()),
            (Kind::Agent, format!("acme/agent-{}", call % 3)),
            (Kind::Queue, "acme/sales\0".into()),
        ],
        said: None,
    }
}

/// What an agent has said of a call, so long after it.
fn said(call: u64, agent: &str, after_ms: i64, disposition: &str) -> Row {
    let of = row(call, None);
    let at_ms = of.started_ms + after_ms;
    Row {
        ended_ms: Some(at_ms),
        names: vec![(Kind::Disposition, disposition.into())],
        body: format!(r#"{{"disposition":"{disposition}","agent":"{agent}"}}"#),
        said: Some(Said { at_ms, agent: agent.into() }),
        ..of
    }
}

fn closed(call: u64) -> Row {
    row(call, Some("Caller"))
}

fn calls(found: &[Found]) -> Vec<u64> {
    let call = |found: &Found| u64::from_str_radix(found.id.rsplit('-').next().unwrap(), 16).unwrap();
    found.iter().map(call).collect()
}

async fn ids(records: &dyn Records, wanted: &Wanted, most: usize) -> Vec<u64> {
    calls(&records.page(wanted, most).await.unwrap())
}

/// What every database promises.
async fn promises(records: &dyn Records) {
    let all: Vec<Row> = (0..10).map(closed).collect();
    records.write(&all).await.unwrap();
    records.write(&all[3..]).await.unwrap();
    let any = Wanted::default();
    assert_eq!(ids(records, &any, 100).await, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0], "each is there once");
    assert_eq!(ids(records, &any, 3).await, [9, 8, 7]);
    let found = records.find(&all[4].id).await.unwrap().unwrap();
    assert_eq!((found.tenant, found.body), ("acme".into(), all[4].body.clone()), "as it was written");
    assert_eq!(records.find("01").await.unwrap(), None);

    let table: [(&str, Wanted, &[u64]); 9] = [
        ("after", Wanted { after: Some(all[3].id.clone()), ..any.clone() }, &[2, 1, 0]),
        ("tenant", Wanted { tenant: Some("acme".into()), ..any.clone() }, &[8, 6, 4, 2, 0]),
        ("another tenant", Wanted { tenant: Some("acm%".into()), ..any.clone() }, &[]),
        ("number", Wanted { names: vec![(Kind::Number, "+12125550007".into())], ..any.clone() }, &[7]),
        (
            "number and agent",
            Wanted {
                names: vec![(Kind::Number, "+18005550100".into()), (Kind::Agent, "acme/agent-1".into())],
                ..any.clone()
            },
            &[7, 4, 1],
        ),
        (
            "a queue of another kind",
            Wanted { names: vec![(Kind::Queue, "acme/agent-1".into())], ..any.clone() },
            &[],
        ),
        (
            "times",
            Wanted { from_ms: Some(START + 2_000), to_ms: Some(START + 5_000), ..any.clone() },
            &[4, 3, 2],
        ),
        ("ended by", Wanted { ended_by: Some("Flow".into()), ..any.clone() }, &[]),
        (
            "a text that is no text",
            Wanted {
                names: vec![(Kind::Queue, "acme/sales\0".into())],
                tenant: Some("\0acme".into()),
                ..any.clone()
            },
            &[8, 6, 4, 2, 0],
        ),
    ];
    for (what, wanted, calls) in table {
        assert_eq!(ids(records, &wanted, 100).await, calls, "{what}");
    }
    opens_and_closes(records).await;
    keeps_what_is_said(records).await;

    assert_eq!(records.delete("acme", START + 6_000).await.unwrap(), 3);
    assert_eq!(records.delete("acme", START + 6_000).await.unwrap(), 0);
    assert_eq!(
        ids(records, &Wanted { to_ms: Some(START + 10_000), ..any }, 100).await,
        [9, 8, 7, 6, 5, 3, 1]
    );
}

async fn keeps_what_is_said(records: &dyn Records) {
    let [sale, none] = [said(7, "acme/ada", 9_000, "sale"), said(7, "acme/bob", 4_000, "none")];
    records.write(&[sale.clone(), none.clone(), sale.clone()]).await.unwrap();
    records.write(&[sale, said(40, "acme/ada", 1, "sale"), row(40, None), none]).await.unwrap();
    let of = |name: &str| Wanted { names: vec![(Kind::Disposition, name.into())], ..Wanted::default() };
    assert_eq!(ids(records, &of("sale"), 9).await, [7], "and none that is up");
    assert_eq!(ids(records, &of("none"), 9).await, [7]);
    assert_eq!(ids(records, &of("sal"), 9).await, [0; 0]);
    let told = r#","dispositions":[{"disposition":"none","agent":"acme/bob"},{"disposition":"sale","agent":"acme/ada"}]}"#;
    let body = closed(7).body;
    let wanted = format!("{}{told}", body.strip_suffix('}').unwrap());
    let found = records.find(&closed(7).id).await.unwrap().unwrap();
    assert_eq!(found.body, wanted, "each once, in the order of time");
    assert_eq!(records.page(&of("sale"), 9).await.unwrap()[0].body, wanted);
    let orphan = records.write(&[said(41, "acme/ada", 1, "sale")]).await;
    assert!(matches!(orphan, Err(RecordsError::Refused(_))), "of a call that there is not: {orphan:?}");
    records.write(&[closed(40)]).await.unwrap();
    assert_eq!(records.delete("acme", START + 40_001).await.unwrap(), 7, "what was said goes with its call");
    assert_eq!(ids(records, &of("sale"), 9).await, [7]);
    let again: Vec<Row> = [0, 2, 4, 6, 8, 20].into_iter().map(closed).collect();
    records.write(&again).await.unwrap();
}

async fn opens_and_closes(records: &dyn Records) {
    let (any, up) = (Wanted { from_ms: Some(START + 20_000), ..Wanted::default() }, row(20, None));
    let all = Wanted { open: true, ..any.clone() };
    records.write(std::slice::from_ref(&up)).await.unwrap();
    assert_eq!((ids(records, &any, 9).await, ids(records, &all, 9).await), (vec![], vec![20]));
    let orphans = async |owner, instance, before| {
        let rows = records.orphans(owner, instance, before).await.unwrap();
        rows.into_iter().map(|row| row.started_ms - START).collect::<Vec<_>>()
    };
    assert_eq!(orphans("me", "0a", 0).await, [0; 0], "it is this run's");
    assert_eq!(orphans("me", "0b", 0).await, [20_000]);
    assert_eq!(orphans("you", "0b", START + 20_000).await, [0; 0], "it is another's, and young");
    assert_eq!(orphans("you", "0b", START + 20_001).await, [20_000]);
    records.write(&[row(20, Some(LOST)), up.clone()]).await.unwrap();
    assert_eq!(orphans("me", "0b", i64::MAX).await, [0; 0]);
    let by = async |by: &str| ids(records, &Wanted { ended_by: Some(by.into()), ..any.clone() }, 9).await;
    assert_eq!(by(LOST).await, [20]);
    records.write(&[closed(20)]).await.unwrap();
    assert_eq!((by(LOST).await, by("Caller").await), (vec![], vec![20]), "who knows better is believed");
    records.write(&[row(20, Some(LOST)), row(20, Some("Flow"))]).await.unwrap();
    assert_eq!(by("Caller").await, [20], "and nobody after that");
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test)
}

#[test]
fn sqlite_keeps_its_promises() {
    let at = TempDir::new().unwrap();
    run(async {
        promises(&Sqlite::new(&at.path().join("records.db"))).await;
        let again = Sqlite::new(&at.path().join("records.db"));
        assert_eq!(ids(&again, &Wanted::default(), 100).await.len(), 8, "another process finds it");
        let nowhere = Sqlite::new(&at.path().join("no/such/folder/records.db"));
        assert!(matches!(nowhere.find("01").await, Err(RecordsError::Away(_))));
    });
}

#[test]
fn postgresql_keeps_the_same_promises_over_tls_alone() {
    let mut server = Server::start();
    run(async {
        promises(&Postgres::new(server.config())).await;
        let told = async |config: PostgresConfig| {
            let error = Postgres::new(config).find("01").await.unwrap_err();
            assert!(!error.to_string().contains("a password"), "{error}");
            error.to_string()
        };
        let wrong = PostgresConfig { password: "wrong".into(), ..server.config() };
        assert!(told(wrong).await.contains("password authentication failed"));
        let other = PostgresConfig { host: "127.0.0.1".into(), ..server.config() };
        let error = told(other).await;
        assert!(error.contains("certificate"), "it is not the server of that name: {error}");
        let stranger = PostgresConfig { ca: None, ..server.config() };
        let error = told(stranger).await;
        assert!(error.contains("certificate"), "nobody that is known vouches for it: {error}");
        let plain = PostgresConfig { tls: false, ..server.config() };
        assert!(Postgres::new(plain).find("01").await.unwrap().is_none());
        assert!(!format!("{:?}", server.config()).contains("a password"));
        server.stop();
        assert!(matches!(Postgres::new(server.config()).find("01").await, Err(RecordsError::Away(_))));
    });
}

#[derive(Debug)]
struct Made(Row);

impl Source for Made {
    fn row(&self) -> Row {
        self.0.clone()
    }
}

fn recorder(folder: &Path, store: Shared) -> Recorder {
    // Who had it before may still be ending.
    let begun = Instant::now();
    loop {
        let settings = Settings { folder: folder.into(), waiting_max: 64 << 20 };
        match Recorder::start(&settings, Arc::clone(&store)) {
            Ok(recorder) => return recorder,
            Err(error) if begun.elapsed() > PATIENCE => panic!("{error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn everything(records: &dyn Records) -> Vec<u64> {
    let (mut all, mut wanted) = (Vec::new(), Wanted { open: true, ..Wanted::default() });
    loop {
        let page = records.page(&wanted, 700).await.unwrap();
        let Some(last) = page.last() else { return all };
        wanted.after = Some(last.id.clone());
        all.extend(calls(&page));
    }
}

/// A server that is stopped under load and started again, and a recorder that is, in the middle of it.
#[test]
fn postgresql_stopped_for_a_while_under_load_loses_nothing_and_has_nothing_twice() {
    const CALLS: u64 = 6_000;
    let (at, mut server) = (TempDir::new().unwrap(), Server::start());
    run(async {
        let store: Shared = Arc::new(Postgres::new(server.config()));
        let mut own = recorder(at.path(), Arc::clone(&store));
        for call in 0..CALLS {
            match call {
                2_000 => {
                    until("some are brought", || own.figures().written > 0).await;
                    server.stop();
                }
                3_000 => until("the database is found away", || own.figures().away).await,
                4_000 => {
                    // What is not on the disk when a process ends is nobody's promise: all is, once it is flushed.
                    assert!(!own.settle(Duration::from_secs(2)).await);
                    assert!(own.figures().waiting >= 2_000);
                    drop(own);
                    own = recorder(at.path(), Arc::clone(&store));
                }
                5_000 => server.run(),
                _ => {}
            }
            assert!(own.put(Arc::new(Made(row(call, None)))) && own.put(Arc::new(Made(closed(call)))));
            if call % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
        assert!(own.settle(PATIENCE).await);
        let there = everything(&*store).await;
        assert_eq!(there, (0..CALLS).rev().collect::<Vec<_>>());
        assert_eq!((own.figures().lost, own.figures().refused), (0, 0));
        let by = Wanted { ended_by: Some("Caller".into()), ..Wanted::default() };
        assert_eq!(ids(&*store, &by, 1_000).await.len(), 1_000, "and each is closed");
    });
}

#[test]
fn records_wait_for_a_database_and_go_to_another_when_that_is_named() {
    let at = TempDir::new().unwrap();
    run(async {
        let own = recorder(at.path(), Arc::new(Unready("nobody has said yet".into())));
        assert!(own.put(Arc::new(Made(closed(1)))));
        assert!(!own.settle(Duration::from_millis(100)).await);
        let figures = own.figures();
        assert_eq!((figures.waiting, figures.written), (1, 0));
        assert!(figures.waiting_octets > 100);
        let settings = Settings { folder: at.path().into(), waiting_max: 1 };
        let error = Recorder::start(&settings, own.store()).unwrap_err().to_string();
        assert!(error.contains("another process uses this folder"), "{error}");
        own.set(Arc::new(Sqlite::new(&at.path().join("records.db"))));
        assert!(own.settle(PATIENCE).await);
        assert_eq!(ids(&*own.store(), &Wanted::default(), 9).await, [1]);
        assert_eq!((own.figures().waiting, own.figures().away), (0, false));
    });
}

/// A database that takes one row never.
#[derive(Debug)]
struct Fussy(Sqlite);

impl Records for Fussy {
    fn write<'a>(&'a self, rows: &'a [Row]) -> BoxFuture<'a, Result<(), RecordsError>> {
        Box::pin(async move {
            if rows.iter().any(|row| row.started_ms == START + 2_000) {
                return Err(RecordsError::Refused("not this one".into()));
            }
            self.0.write(rows).await
        })
    }

    fn page<'a>(
        &'a self,
        wanted: &'a Wanted,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<Found>, RecordsError>> {
        self.0.page(wanted, most)
    }

    fn find<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Found>, RecordsError>> {
        self.0.find(id)
    }

    fn orphans<'a>(
        &'a self,
        owner: &'a str,
        instance: &'a str,
        before_ms: i64,
    ) -> BoxFuture<'a, Result<Vec<Row>, RecordsError>> {
        self.0.orphans(owner, instance, before_ms)
    }

    fn delete<'a>(&'a self, tenant: &'a str, before_ms: i64) -> BoxFuture<'a, Result<u64, RecordsError>> {
        self.0.delete(tenant, before_ms)
    }
}

#[test]
fn what_a_database_never_takes_is_set_aside_and_holds_up_nothing() {
    let at = TempDir::new().unwrap();
    run(async {
        let own = recorder(at.path(), Arc::new(Fussy(Sqlite::new(&at.path().join("records.db")))));
        (1..4).for_each(|call| assert!(own.put(Arc::new(Made(closed(call))))));
        assert!(own.settle(PATIENCE).await);
        assert_eq!(ids(&*own.store(), &Wanted::default(), 9).await, [3, 1]);
        assert_eq!(own.figures().refused, 1);
        let aside = fs::read_to_string(at.path().join("refused.jsonl")).unwrap();
        assert_eq!(aside, format!("{}\n", closed(2).body));
    });
}

#[test]
fn a_call_whose_process_went_away_is_lost_and_what_is_old_is_deleted() {
    let at = TempDir::new().unwrap();
    let day = 86_400_000;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let at_day = |days: i64, call: u64, ended_by: Option<&str>, instance: &str| {
        let started_ms = i64::try_from(now).unwrap() - days * day;
        Row {
            id: id(started_ms, instance, call),
            started_ms,
            instance: instance.into(),
            ..row(call, ended_by)
        }
    };
    run(async {
        let store: Shared = Arc::new(Sqlite::new(&at.path().join("records.db")));
        let own = recorder(at.path(), Arc::clone(&store));
        let instance = own.instance().to_owned();
        assert!(own.put(Arc::new(Made(at_day(0, 2, None, &instance)))));
        assert!(own.settle(PATIENCE).await);
        drop(own);
        let own = recorder(at.path(), Arc::clone(&store));
        let lost = Wanted { ended_by: Some(LOST.into()), ..Wanted::default() };
        let begun = Instant::now();
        let found = loop {
            let found = store.page(&lost, 9).await.unwrap();
            if !found.is_empty() {
                break found;
            }
            assert!(begun.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(found[0].body.contains(r#""endedBy":"Lost""#), "{}", found[0].body);
        assert!(found[0].body.contains("the process that had the call ended before it"));

        let instance = own.instance().to_owned();
        for (days, call) in [(0, 4), (9, 6), (11, 8), (11, 9)] {
            assert!(own.put(Arc::new(Made(at_day(days, call, Some("Flow"), &instance)))));
        }
        // One that is up stays open, and another's that is too old for a call does not.
        assert!(own.put(Arc::new(Made(at_day(0, 10, None, &instance)))));
        let foreign = Row { owner: "you".into(), ..at_day(2, 12, None, "0c") };
        store.write(&[foreign]).await.unwrap();
        assert!(own.settle(PATIENCE).await);
        let days = BTreeMap::from([("acme".to_owned(), 10)]);
        own.keep(Rules { days, call_max: Duration::from_secs(3_600) });
        let begun = Instant::now();
        loop {
            let (mut all, mut lost) = (everything(&*store).await, ids(&*store, &lost, 9).await);
            if all.len() == 6 && lost.len() == 2 {
                all.sort_unstable();
                lost.sort_unstable();
                assert_eq!(all, [2, 4, 6, 9, 10, 12], "of another tenant nobody has said anything");
                assert_eq!(lost, [2, 12]);
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{all:?} {lost:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}
