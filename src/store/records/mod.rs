//! Records of interactions: in SQLite or in PostgreSQL, written off the path of calls, exactly once.
//!
//! Whoever makes them gives them to a [`Recorder`], which never makes anybody wait. It puts them on this machine's disk first
//! ([`spool`]) and brings them into the database from there, so that a database that is away, and a process that ends at
//! whatever moment, lose nothing; each has an id of its own, so that what is brought twice is there once.
//!
//! An interaction is written when it begins, without an end, and again when it is over, which closes it. One that is not
//! closed by a process which is gone is closed as [`LOST`].

mod recorder;
pub mod spool;
mod sql;

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

pub use self::{
    recorder::{Figures, Recorder, Rules, Settings},
    sql::{Postgres, PostgresConfig, Sqlite},
};

/// Rows of one page at most.
pub const PAGE_MAX: usize = 1_000;

/// How an interaction has ended whose process went away before it.
pub const LOST: &str = "Lost";

/// Digits of the time that an id begins with.
const TIME_DIGITS: usize = 12;

/// What a row can be found by besides its tenant and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// A number: the calling one, the one dialled, or a PhoneNumber.
    Number,
    /// An Agent, `namespace/name`.
    Agent,
    /// A Queue, `namespace/name`.
    Queue,
    /// A RoutingFlow, `namespace/name`.
    Flow,
    /// A Trunk, `namespace/name`.
    Trunk,
    /// What an agent has said of it.
    Disposition,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Agent => "agent",
            Self::Queue => "queue",
            Self::Flow => "flow",
            Self::Trunk => "trunk",
            Self::Disposition => "disposition",
        }
    }
}

/// One interaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Unique, and in the order of time: see [`id`].
    pub id: String,
    /// Namespace of the tenant; empty: of none.
    pub tenant: String,
    /// Whose disk it came from. The recorder says.
    pub owner: String,
    /// Of which run of a process it was.
    pub instance: String,
    /// When it began, in milliseconds since 1970.
    pub started_ms: i64,
    /// When it ended. None: it is up.
    pub ended_ms: Option<i64>,
    /// Who ended it.
    pub ended_by: Option<String>,
    /// What it can be found by.
    pub names: Vec<(Kind, String)>,
    /// What this is in place of an interaction's record: something that an agent has said of it. None: it is the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Said>,
    /// The whole record, or what was said: a JSON object.
    #[serde(skip)]
    pub body: String,
}

/// Something that is said of an interaction beside its record, once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Said {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// By which Agent, `namespace/name`.
    pub agent: String,
}

/// The id of an interaction: twelve hexadecimal digits of when it began, in milliseconds since 1970, then which run of a
/// process it was of, and which call.
#[must_use]
pub fn id(started_ms: i64, instance: &str, call: u64) -> String {
    format!("{}-{instance}-{call:x}", bound(started_ms))
}

/// What the ids of all that began at a time or later are not less than.
#[must_use]
pub fn bound(ms: i64) -> String {
    format!("{:0TIME_DIGITS$x}", ms.clamp(0, (1 << (4 * TIME_DIGITS)) - 1))
}

/// Whether a text may be an id.
#[must_use]
pub fn is_id(text: &str) -> bool {
    text.len() > TIME_DIGITS
        && text.len() <= 64
        && text.bytes().all(|octet| octet.is_ascii_hexdigit() || octet == b'-')
}

/// Which rows are asked for. Whatever is None is not asked about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Namespace of a tenant.
    pub tenant: Option<String>,
    /// All of these.
    pub names: Vec<(Kind, String)>,
    /// Began then or later, in milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// Began before then.
    pub to_ms: Option<i64>,
    /// Ended by whom.
    pub ended_by: Option<String>,
    /// Only what comes after the row of this id, which is to say what is older.
    pub after: Option<String>,
    /// Whether those that are up are meant too.
    pub open: bool,
}

impl Wanted {
    /// Whether a row is one of them.
    #[must_use]
    pub fn fits(&self, row: &Row) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| *tenant == row.tenant)
            && self.names.iter().all(|name| row.names.contains(name))
            && self.from_ms.is_none_or(|from| row.id >= bound(from))
            && self.to_ms.is_none_or(|to| row.id < bound(to))
            && self.ended_by.as_ref().is_none_or(|by| row.ended_by.as_ref() == Some(by))
            && self.after.as_ref().is_none_or(|after| row.id < *after)
            && (self.open || row.ended_ms.is_some())
    }
}

/// A row as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its id.
    pub id: String,
    /// Namespace of its tenant.
    pub tenant: String,
    /// The whole record: a JSON object.
    pub body: String,
}

/// Why records cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordsError {
    /// The database is away, or too busy: later it may go.
    #[error("{0}")]
    Away(String),
    /// The database takes these rows never.
    #[error("{0}")]
    Refused(String),
    /// It cannot be used yet.
    #[error("{0}")]
    Unready(String),
}

/// A database of records. Each call ends within a minute.
pub trait Records: Send + Sync + fmt::Debug {
    /// Writes rows, all or none. A row that is there already is closed if it is open and this one is not, or if it was closed
    /// as [`LOST`]; else it stays as it is. What was [`Said`] of an interaction is there once, however often it comes, and goes
    /// with it.
    ///
    /// # Errors
    /// [`RecordsError`].
    fn write<'a>(&'a self, rows: &'a [Row]) -> BoxFuture<'a, Result<(), RecordsError>>;

    /// Rows, the newest first: at most `most`, and at most [`PAGE_MAX`].
    ///
    /// # Errors
    /// [`RecordsError`].
    fn page<'a>(&'a self, wanted: &'a Wanted, most: usize)
    -> BoxFuture<'a, Result<Vec<Found>, RecordsError>>;

    /// One row. None: there is none.
    ///
    /// # Errors
    /// [`RecordsError`].
    fn find<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Found>, RecordsError>>;

    /// Rows that nobody has closed, though their process cannot any more: those of `owner` that are of another run than
    /// `instance`, and anybody's that began before `before_ms`. At most [`PAGE_MAX`].
    ///
    /// # Errors
    /// [`RecordsError`].
    fn orphans<'a>(
        &'a self,
        owner: &'a str,
        instance: &'a str,
        before_ms: i64,
    ) -> BoxFuture<'a, Result<Vec<Row>, RecordsError>>;

    /// Deletes what of a tenant began before `before_ms`: at most [`PAGE_MAX`] rows. How many they were.
    ///
    /// # Errors
    /// [`RecordsError`].
    fn delete<'a>(&'a self, tenant: &'a str, before_ms: i64) -> BoxFuture<'a, Result<u64, RecordsError>>;
}

/// What a row is made of, off the path of calls.
pub trait Source: Send + Sync + fmt::Debug {
    /// The row, whose owner the recorder fills in.
    fn row(&self) -> Row;
}

/// A database that cannot be used yet, and why.
#[derive(Debug)]
pub struct Unready(pub String);

impl Unready {
    fn answer<T: Send + 'static>(&self) -> BoxFuture<'static, Result<T, RecordsError>> {
        let error = RecordsError::Unready(self.0.clone());
        Box::pin(async move { Err(error) })
    }
}

impl Records for Unready {
    fn write<'a>(&'a self, _: &'a [Row]) -> BoxFuture<'a, Result<(), RecordsError>> {
        self.answer()
    }

    fn page<'a>(&'a self, _: &'a Wanted, _: usize) -> BoxFuture<'a, Result<Vec<Found>, RecordsError>> {
        self.answer()
    }

    fn find<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Found>, RecordsError>> {
        self.answer()
    }

    fn orphans<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: i64,
    ) -> BoxFuture<'a, Result<Vec<Row>, RecordsError>> {
        self.answer()
    }

    fn delete<'a>(&'a self, _: &'a str, _: i64) -> BoxFuture<'a, Result<u64, RecordsError>> {
        self.answer()
    }
}

/// What a spool's entry holds: a line about the row, and its record.
pub(crate) fn entry(row: &Row) -> Vec<u8> {
    // Strings and numbers always become JSON.
    let mut entry = serde_json::to_vec(row).unwrap_or_default();
    entry.push(b'\n');
    entry.extend(row.body.as_bytes());
    entry
}

/// The row of a spool's entry. None: it is none.
pub(crate) fn of_entry(entry: &[u8]) -> Option<Row> {
    let line = entry.iter().position(|octet| *octet == b'\n')?;
    let row: Row = serde_json::from_slice(&entry[..line]).ok()?;
    let body = String::from_utf8(entry[line + 1..].to_vec()).ok()?;
    Some(Row { body, ..row })
}

/// The row of an interaction whose process is gone: closed, at the time when that was found out.
pub(crate) fn lost(row: Row, now_ms: i64) -> Row {
    let mut record: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&row.body).unwrap_or_default();
    record.insert("endedBy".into(), LOST.into());
    record.insert("because".into(), "the process that had the call ended before it".into());
    let body = serde_json::Value::Object(record).to_string();
    Row { ended_ms: Some(now_ms), ended_by: Some(LOST.into()), body, ..row }
}

/// A record with what was said of it, in order: `dispositions`, a list.
#[must_use]
pub fn with_dispositions(mut body: String, said: &[String]) -> String {
    if said.is_empty() || !body.ends_with('}') {
        return body;
    }
    body.pop();
    let comma = if body.trim_end().ends_with('{') { "" } else { "," };
    body.push_str(&format!("{comma}\"dispositions\":[{}]}}", said.join(",")));
    body
}

/// A row of each id, closed if one of them is.
pub(crate) fn once(rows: &[Row]) -> Vec<&Row> {
    let mut places = std::collections::BTreeMap::new();
    let mut once: Vec<&Row> = Vec::with_capacity(rows.len());
    for row in rows.iter().filter(|row| row.said.is_none()) {
        let place = *places.entry(&row.id).or_insert(once.len());
        match once.get_mut(place) {
            None => once.push(row),
            Some(before) if is_newer(row, before) => *before = row,
            Some(_) => {}
        }
    }
    once
}

fn is_newer(row: &Row, before: &Row) -> bool {
    let is_lost = |row: &Row| row.ended_by.as_deref() == Some(LOST);
    row.ended_ms.is_some() && (before.ended_ms.is_none() || (is_lost(before) && !is_lost(row)))
}

/// Cheap to clone: several may read and write.
pub type Shared = Arc<dyn Records>;

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, ended_by: Option<&str>) -> Row {
        Row {
            id: id.into(),
            tenant: "acme".into(),
            owner: String::new(),
            instance: "1".into(),
            started_ms: 1,
            ended_ms: ended_by.map(|_| 2),
            ended_by: ended_by.map(Into::into),
            names: vec![(Kind::Agent, "acme/ada".into())],
            said: None,
            body: r#"{"to":"a\nb"}"#.into(),
        }
    }

    #[test]
    fn ids_are_in_the_order_of_time() {
        let (first, second) = (id(1_795_000_000_000, "00ff", 300), id(1_795_000_000_001, "00aa", 1));
        assert_eq!(first, "01a1ee565e00-00ff-12c");
        assert!(first < second && bound(1_795_000_000_001) > first && bound(1_795_000_000_001) <= second);
        assert!(is_id(&first));
        for text in ["", "01a1edfc6e00", "01a1edfc6e00-%", &"a".repeat(65)] {
            assert!(!is_id(text), "{text}");
        }
    }

    #[test]
    fn a_row_is_read_from_its_entry_as_it_was() {
        for row in [row("a", None), row("b", Some("Caller"))] {
            assert_eq!(of_entry(&entry(&row)).unwrap(), row);
        }
        assert_eq!(of_entry(b"{}\n{}"), None);
        assert_eq!(of_entry(b"no line"), None);
    }

    #[test]
    fn what_was_said_is_a_part_of_the_record() {
        let said = [r#"{"disposition":"sale"}"#.to_owned(), r#"{"disposition":"none"}"#.to_owned()];
        let told = with_dispositions(r#"{"id":"a"}"#.into(), &said);
        assert_eq!(told, r#"{"id":"a","dispositions":[{"disposition":"sale"},{"disposition":"none"}]}"#);
        assert_eq!(
            with_dispositions("{}".into(), &said[..1]),
            r#"{"dispositions":[{"disposition":"sale"}]}"#
        );
        assert_eq!(with_dispositions("{}".into(), &[]), "{}");
        let note = Row { said: Some(Said { at_ms: 5, agent: "acme/ada".into() }), ..row("a", None) };
        assert_eq!(of_entry(&entry(&note)).unwrap(), note);
        assert_eq!(once(std::slice::from_ref(&note)), Vec::<&Row>::new());
    }

    #[test]
    fn of_each_interaction_the_row_that_says_most_is_written() {
        let rows = [
            row("a", None),
            row("b", Some("Caller")),
            row("a", Some(LOST)),
            row("b", None),
            row("a", Some("Flow")),
            row("a", Some(LOST)),
        ];
        let once: Vec<_> = once(&rows).into_iter().map(|row| (&*row.id, row.ended_by.as_deref())).collect();
        assert_eq!(once, [("a", Some("Flow")), ("b", Some("Caller"))]);
    }

    #[test]
    fn who_asks_for_nothing_special_gets_all_that_is_over() {
        let over = row(&bound(5), Some("Caller"));
        type Change = fn(&mut Wanted);
        let table: [(&str, Change, bool); 10] = [
            ("nothing", |_| {}, true),
            ("tenant", |wanted| wanted.tenant = Some("acme".into()), true),
            ("another tenant", |wanted| wanted.tenant = Some("acm".into()), false),
            ("agent", |wanted| wanted.names.push((Kind::Agent, "acme/ada".into())), true),
            ("a queue of that name", |wanted| wanted.names.push((Kind::Queue, "acme/ada".into())), false),
            ("from", |wanted| wanted.from_ms = Some(5), true),
            ("from later", |wanted| wanted.from_ms = Some(6), false),
            ("to", |wanted| wanted.to_ms = Some(5), false),
            ("ended by", |wanted| wanted.ended_by = Some("Flow".into()), false),
            ("after itself", |wanted| wanted.after = Some(bound(5)), false),
        ];
        for (what, change, fits) in table {
            let mut wanted = Wanted::default();
            change(&mut wanted);
            assert_eq!(wanted.fits(&over), fits, "{what}");
        }
        let up = row("b", None);
        assert!(!Wanted::default().fits(&up));
        assert!(Wanted { open: true, ..Wanted::default() }.fits(&up));
    }
}
