//! Records of calls as they are kept, and given out at `/api/v1/interactions`.
//!
//! `GET /api/v1/interactions` gives those that are over, the newest first, as a JSON array, or as CSV with `format=csv` or
//! `Accept: text/csv`. Each filter that is given must fit: `tenant` (a namespace), `number` (the calling one, the one dialled,
//! or a PhoneNumber as `namespace/name`), `agent`, `queue`, `flow` and `trunk` (`namespace/name`), `from` and `to` (times of the
//! beginning as RFC 3339 says them; `to` is not included), `endedBy`, `disposition` (as an agent has named it, or `none`). A record's
//! `dispositions` are what agents have said in the work after the contact, and come when that is done. `open=true` adds those that are up. `limit` is 1 to 1,000;
//! where there is more, the header field Link (RFC 8288) has the next page, with an opaque `cursor`.
//! `GET /api/v1/interactions/{id}` gives one.
//!
//! They come out of the database of the cluster, where there is one, and out of memory: what has ended just now is there before
//! the database has it. With the session of an agent (`Authorization: Bearer …`), those of another tenant are not there; without
//! one, records are given out where HTTP is served at a loopback address, and nowhere else.

mod said;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{Path, Query, RawQuery, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use call::record::{Begun, EndedBy, Record};
use jiff::Timestamp;
use model::Key;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::records::{self, Found, Kind, LOST, Row, Source, Wanted};

pub use self::said::Said;
use self::said::Sayings;
use crate::{
    desk::{Desks, problem},
    observed::Observed,
};

/// For how long a record is looked for in memory where there is a database: much longer than it takes to get there.
const FRESH_MS: i64 = 10 * 60 * 1_000;

/// The columns of a list in CSV, by where they are in a record.
const COLUMNS: [&str; 22] = [
    "id",
    "tenant",
    "callId",
    "from",
    "to",
    "number",
    "trunk",
    "flow",
    "startedAt",
    "answeredAt",
    "endedAt",
    "endedBy",
    "sipCode",
    "cause",
    "because",
    "queues",
    "agents",
    "waitedMs",
    "recordings",
    "voicemails",
    "dispositions",
    "notes",
];

/// What of a record a desk shows with an offer.
const PREVIOUS: [&str; 9] =
    ["id", "from", "to", "flow", "startedAt", "endedAt", "endedBy", "queues", "dispositions"];

/// A record as it is kept.
#[derive(Debug)]
pub struct Kept {
    instance: Arc<str>,
    what: What,
}

#[derive(Debug)]
enum What {
    Up(Box<Begun>),
    Over(Box<Record>),
}

/// As it is given out.
#[derive(Serialize)]
struct Told<'a, T> {
    id: &'a str,
    #[serde(flatten)]
    record: &'a T,
}

impl Kept {
    /// A call that begins.
    #[must_use]
    pub const fn up(begun: Box<Begun>, instance: Arc<str>) -> Self {
        Self { instance, what: What::Up(begun) }
    }

    /// A call that is over.
    #[must_use]
    pub const fn over(record: Box<Record>, instance: Arc<str>) -> Self {
        Self { instance, what: What::Over(record) }
    }

    fn id(&self) -> String {
        let (started_at, call) = match &self.what {
            What::Up(begun) => (begun.started_at, begun.call),
            What::Over(record) => (record.started_at, record.call),
        };
        records::id(started_at.as_millisecond(), &self.instance, call.0)
    }

    fn ended_ms(&self) -> Option<i64> {
        match &self.what {
            What::Up(_) => None,
            What::Over(record) => Some(record.ended_at.as_millisecond()),
        }
    }
}

impl Source for Kept {
    fn row(&self) -> Row {
        match &self.what {
            What::Up(begun) => {
                self.row_of(begun, (&begun.tenant, begun.started_at), (None, None), names(begun))
            }
            What::Over(record) => {
                let ended = (self.ended_ms(), Some(word(record.ended_by)));
                self.row_of(&**record, (&record.tenant, record.started_at), ended, all_names(record))
            }
        }
    }
}

impl Kept {
    fn row_of<T: Serialize>(
        &self,
        record: &T,
        (tenant, started_at): (&str, Timestamp),
        (ended_ms, ended_by): (Option<i64>, Option<&str>),
        names: Vec<(Kind, String)>,
    ) -> Row {
        let id = self.id();
        // Strings, numbers and lists of them always become JSON.
        let body = serde_json::to_string(&Told { id: &id, record }).unwrap_or_else(|_| "{}".into());
        Row {
            tenant: tenant.to_owned(),
            owner: String::new(),
            instance: self.instance.to_string(),
            started_ms: started_at.as_millisecond(),
            ended_ms,
            ended_by: ended_by.map(Into::into),
            names,
            said: None,
            body,
            id,
        }
    }
}

const fn word(by: EndedBy) -> &'static str {
    match by {
        EndedBy::Caller => "Caller",
        EndedBy::Callee => "Callee",
        EndedBy::Flow => "Flow",
        EndedBy::Deadline => "Deadline",
        EndedBy::MediaTimeout => "MediaTimeout",
        EndedBy::Failure => "Failure",
        EndedBy::Lost => LOST,
    }
}

/// What `endedBy` may be.
const ENDED_BY: [&str; 7] = ["Caller", "Callee", "Flow", "Deadline", "MediaTimeout", "Failure", LOST];

fn names(begun: &Begun) -> Vec<(Kind, String)> {
    let Begun { from, to, number, trunk, flow, station, .. } = begun;
    let numbers = [Some(from.clone()), Some(to.clone()), number.as_ref().map(ToString::to_string)];
    let numbers = numbers.into_iter().flatten().filter(|number| !number.is_empty());
    let mut names: Vec<_> = numbers.map(|number| (Kind::Number, number)).collect();
    names.extend(trunk.iter().map(|trunk| (Kind::Trunk, trunk.to_string())));
    names.extend(flow.iter().map(|flow| (Kind::Flow, flow.to_string())));
    names.extend(station.iter().map(|station| (Kind::Agent, station.agent.to_string())));
    names.sort_unstable();
    names.dedup();
    names
}

fn all_names(record: &Record) -> Vec<(Kind, String)> {
    let begun = Begun {
        call: record.call,
        call_id: String::new(),
        tenant: String::new(),
        from: record.from.clone(),
        to: record.to.clone(),
        trunk: record.trunk.clone(),
        station: record.station.clone(),
        number: record.number.clone(),
        flow: record.flow.clone(),
        part_of: None,
        started_at: record.started_at,
    };
    let mut names = names(&begun);
    for visit in &record.queues {
        names.push((Kind::Queue, visit.queue.to_string()));
        names.extend(visit.agent.iter().map(|agent| (Kind::Agent, agent.to_string())));
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// What is asked for, as it stands in the query.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Asked {
    limit: Option<usize>,
    cursor: Option<String>,
    tenant: Option<String>,
    number: Option<String>,
    agent: Option<String>,
    queue: Option<String>,
    flow: Option<String>,
    trunk: Option<String>,
    disposition: Option<String>,
    from: Option<String>,
    to: Option<String>,
    ended_by: Option<String>,
    open: Option<bool>,
    format: Option<String>,
}

/// A `+` in a query is a space to whoever takes the query for a form.
fn plus(text: &str) -> String {
    text.replace(' ', "+")
}

fn time(name: &str, text: Option<&str>) -> Result<Option<i64>, String> {
    let Some(text) = text else { return Ok(None) };
    let at: Result<Timestamp, _> = plus(text).parse();
    let at = at.map_err(|_| {
        format!("`{name}` is `{text}` and must be a time with its zone, such as 2026-11-27T08:00:00Z")
    })?;
    Ok(Some(at.as_millisecond()))
}

fn object(name: &str, text: &str) -> Result<String, String> {
    let is_key = text.parse::<Key>().is_ok();
    let wrong = || format!("`{name}` is `{text}` and must be namespace/name, such as acme/sales");
    is_key.then(|| text.to_owned()).ok_or_else(wrong)
}

impl Asked {
    fn wanted(&self) -> Result<(Wanted, usize), String> {
        let all = [
            ("cursor", &self.cursor),
            ("tenant", &self.tenant),
            ("number", &self.number),
            ("agent", &self.agent),
            ("queue", &self.queue),
            ("flow", &self.flow),
            ("trunk", &self.trunk),
            ("disposition", &self.disposition),
            ("endedBy", &self.ended_by),
        ];
        if let Some((name, _)) = all.iter().find(|(_, value)| value.as_deref() == Some("")) {
            return Err(format!("`{name}` is empty, which never means all: leave it out"));
        }
        let most = self.limit.unwrap_or(100);
        if !(1..=records::PAGE_MAX).contains(&most) {
            return Err(format!("`limit` is {most} and must be 1 to {}", records::PAGE_MAX));
        }
        if let Some(by) = self.ended_by.as_deref().filter(|by| !ENDED_BY.contains(by)) {
            return Err(format!("`endedBy` is `{by}` and must be one of {}", ENDED_BY.join(", ")));
        }
        if self.cursor.as_deref().is_some_and(|cursor| !records::is_id(cursor)) {
            return Err("`cursor` must be what the page before said, or be left out".into());
        }
        let mut names = Vec::new();
        names.extend(self.number.as_deref().map(|number| (Kind::Number, plus(number))));
        for (kind, name, value) in [
            (Kind::Agent, "agent", &self.agent),
            (Kind::Queue, "queue", &self.queue),
            (Kind::Flow, "flow", &self.flow),
            (Kind::Trunk, "trunk", &self.trunk),
        ] {
            if let Some(value) = value {
                names.push((kind, object(name, value)?));
            }
        }
        names.extend(self.disposition.clone().map(|name| (Kind::Disposition, name)));
        let wanted = Wanted {
            tenant: self.tenant.clone(),
            names,
            from_ms: time("from", self.from.as_deref())?,
            to_ms: time("to", self.to.as_deref())?,
            ended_by: self.ended_by.clone(),
            after: self.cursor.clone(),
            open: self.open.unwrap_or(false),
        };
        Ok((wanted, most))
    }

    /// Whether CSV is wanted.
    fn is_csv(&self, headers: &HeaderMap) -> Result<bool, String> {
        match self.format.as_deref() {
            Some("csv") => Ok(true),
            Some("json") => Ok(false),
            Some(other) => Err(format!("`format` is `{other}` and must be json or csv")),
            None => {
                let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
                Ok(accept.is_some_and(|accept| accept.trim_start().starts_with("text/csv")))
            }
        }
    }
}

/// Records, the newest first.
pub(crate) async fn page(
    State(desks): State<Arc<Desks>>,
    RawQuery(raw): RawQuery,
    asked: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let whose = match desks.whose(&headers) {
        Ok(whose) => whose,
        Err(refused) => return *refused,
    };
    let asked = asked.map_err(|bad| bad.body_text());
    let read = asked.and_then(|Query(asked)| Ok((asked.wanted()?, asked.is_csv(&headers)?)));
    let ((mut wanted, most), is_csv) = match read {
        Ok(read) => read,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error),
    };
    let mut found = Vec::new();
    let own = whose.map(|agent| agent.0.namespace().to_owned());
    if own.is_none() || wanted.tenant.is_none() || wanted.tenant == own {
        wanted.tenant = own.or(wanted.tenant);
        found = match listed(&desks.edges(), &wanted, most).await {
            Ok(found) => found,
            Err(error) => return problem(StatusCode::SERVICE_UNAVAILABLE, &error),
        };
    }
    let next = found.last().filter(|_| found.len() == most).and_then(|last| link(raw.as_deref(), &last.id));
    let (kind, text) = match is_csv {
        true => ("text/csv; charset=utf-8; header=present", csv(&found)),
        false => ("application/json", json(&found)),
    };
    let mut response = ([(header::CONTENT_TYPE, kind)], text).into_response();
    if let Some(next) = next {
        response.headers_mut().insert(header::LINK, next);
    }
    response
}

/// One record.
pub(crate) async fn one(
    State(desks): State<Arc<Desks>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let whose = match desks.whose(&headers) {
        Ok(whose) => whose,
        Err(refused) => return *refused,
    };
    let found = match by_id(&desks.edges(), &id).await {
        Ok(found) => found,
        Err(error) => return problem(StatusCode::SERVICE_UNAVAILABLE, &error),
    };
    // Whether another tenant has it is nobody's business.
    let is_theirs = |found: &Found| whose.as_ref().is_none_or(|agent| agent.0.namespace() == found.tenant);
    match found.filter(is_theirs) {
        Some(found) => ([(header::CONTENT_TYPE, "application/json")], found.body).into_response(),
        None => problem(StatusCode::NOT_FOUND, "there is no interaction of this id"),
    }
}

fn found(row: Row) -> Found {
    Found { id: row.id, tenant: row.tenant, body: row.body }
}

async fn listed(edges: &[Arc<Observed>], wanted: &Wanted, most: usize) -> Result<Vec<Found>, String> {
    let mut all: BTreeMap<String, Found> = BTreeMap::new();
    for edge in edges {
        let mut since = i64::MIN;
        if let Some(recorder) = edge.recorder() {
            let page = recorder.store().page(wanted, most).await;
            let page = page.map_err(|error| format!("the database of records: {error}"))?;
            all.extend(page.into_iter().map(|found| (found.id.clone(), found)));
            since = Timestamp::now().as_millisecond() - FRESH_MS;
        }
        let said = Sayings::of(edge.said());
        let fresh = edge.records().into_iter().filter(|kept| kept.ended_ms().is_some_and(|at| at >= since));
        let rows = fresh.map(|kept| said.complete(kept.row())).filter(|row| wanted.fits(row));
        all.extend(rows.map(|row| (row.id.clone(), found(row))));
    }
    Ok(all.into_values().rev().take(most).collect())
}

async fn by_id(edges: &[Arc<Observed>], id: &str) -> Result<Option<Found>, String> {
    if !records::is_id(id) {
        return Ok(None);
    }
    for edge in edges {
        if let Some(kept) = edge.records().into_iter().find(|kept| kept.id() == id) {
            return Ok(Some(found(Sayings::of(edge.said()).complete(kept.row()))));
        }
        let Some(recorder) = edge.recorder() else { continue };
        let found = recorder.store().find(id).await;
        if let Some(found) = found.map_err(|error| format!("the database of records: {error}"))? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// What an agent is to know of the latest calls of a tenant with a number.
///
/// # Errors
/// The database cannot be read.
pub(crate) async fn previous(
    edges: &[Arc<Observed>],
    tenant: &str,
    number: &str,
    most: usize,
) -> Result<Vec<Value>, String> {
    let names = vec![(Kind::Number, number.to_owned())];
    let wanted = Wanted { tenant: Some(tenant.to_owned()), names, ..Wanted::default() };
    let found = listed(edges, &wanted, most).await?;
    let short = |found: &Found| {
        let record: Value = serde_json::from_str(&found.body).unwrap_or_default();
        let told = PREVIOUS.iter().filter_map(|name| Some(((*name).to_owned(), record.get(name)?.clone())));
        Value::Object(told.collect())
    };
    Ok(found.iter().map(short).collect())
}

/// The next page: the same query, from here on.
fn link(query: Option<&str>, last: &str) -> Option<HeaderValue> {
    let kept = query.unwrap_or_default().split('&');
    let kept = kept.filter(|part| !part.is_empty() && !part.starts_with("cursor="));
    let cursor = format!("cursor={last}");
    let query: Vec<&str> = kept.chain([&*cursor]).collect();
    HeaderValue::from_str(&format!("</api/v1/interactions?{}>; rel=\"next\"", query.join("&"))).ok()
}

fn json(found: &[Found]) -> String {
    let bodies: Vec<&str> = found.iter().map(|found| &*found.body).collect();
    format!("[{}]", bodies.join(","))
}

/// As RFC 4180 says, a line for each.
fn csv(found: &[Found]) -> String {
    let mut text = COLUMNS.join(",");
    text += "\r\n";
    for found in found {
        let record: Value = serde_json::from_str(&found.body).unwrap_or_default();
        let cells: Vec<String> = COLUMNS.iter().map(|name| cell(&column(&record, name))).collect();
        text += &cells.join(",");
        text += "\r\n";
    }
    text
}

fn column(record: &Value, name: &str) -> String {
    let list = |list: &str, of: &dyn Fn(&Value) -> Option<String>| {
        let entries = record.get(list).and_then(Value::as_array).into_iter().flatten();
        entries.filter_map(of).collect::<Vec<_>>().join(" ")
    };
    let text = |of: &str, entry: &Value| entry.get(of).and_then(Value::as_str).map(str::to_owned);
    match name {
        "queues" => list("queues", &|visit| text("queue", visit)),
        "agents" => list("queues", &|visit| text("agent", visit)),
        "dispositions" => list(name, &|said| text("disposition", said)),
        "notes" => {
            let said = record.get("dispositions").and_then(Value::as_array).into_iter().flatten();
            said.filter_map(|said| text("notes", said)).collect::<Vec<_>>().join(" / ")
        }
        "recordings" | "voicemails" => list(name, &|sound| text("name", sound)),
        "waitedMs" => {
            let visits = record.get("queues").and_then(Value::as_array).into_iter().flatten();
            let waited = visits.filter_map(|visit| visit.get("waitedMs")?.as_u64()).reduce(|a, b| a + b);
            waited.map(|ms| ms.to_string()).unwrap_or_default()
        }
        _ => match record.get(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        },
    }
}

/// What a spreadsheet shows, and does not work out: who calls chooses what the name of the caller is.
fn cell(text: &str) -> String {
    let is_number =
        text.strip_prefix('+').is_some_and(|rest| rest.bytes().all(|octet| octet.is_ascii_digit()));
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number;
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Result<(Wanted, usize), String> {
        let uri = format!("http://a/?{query}").parse().unwrap();
        let Query(asked) = Query::<Asked>::try_from_uri(&uri).map_err(|bad| bad.body_text())?;
        asked.wanted()
    }

    #[test]
    fn a_query_that_cannot_be_read_is_told_and_never_means_all() {
        for (query, told) in [
            ("limit=0", "`limit` is 0 and must be 1 to 1000"),
            ("limit=1001", "`limit` is 1001 and must be 1 to 1000"),
            ("tenant=", "`tenant` is empty, which never means all: leave it out"),
            ("agent=ada", "`agent` is `ada` and must be namespace/name, such as acme/sales"),
            (
                "from=today",
                "`from` is `today` and must be a time with its zone, such as 2026-11-27T08:00:00Z",
            ),
            (
                "endedBy=Me",
                "`endedBy` is `Me` and must be one of Caller, Callee, Flow, Deadline, MediaTimeout, Failure, Lost",
            ),
            ("cursor=%25", "`cursor` must be what the page before said, or be left out"),
        ] {
            assert_eq!(asked(query).unwrap_err(), told, "{query}");
        }
        let told = asked("tennant=acme").unwrap_err();
        assert!(told.contains("unknown field `tennant`"), "{told}");
    }

    #[test]
    fn filters_are_read_and_a_plus_is_a_plus() {
        let (wanted, most) = asked(
            "number=+12125550199&agent=acme/ada&from=2026-11-27T08:00:00+01:00&to=2026-11-27T08:00:00Z&endedBy=Flow&limit=7",
        )
        .unwrap();
        let names = vec![(Kind::Number, "+12125550199".into()), (Kind::Agent, "acme/ada".into())];
        assert_eq!((wanted.names, most), (names, 7));
        assert_eq!(wanted.to_ms.unwrap() - wanted.from_ms.unwrap(), 3_600_000);
        assert_eq!((wanted.ended_by.as_deref(), wanted.open, wanted.tenant), (Some("Flow"), false, None));
        assert_eq!(asked("").unwrap(), (Wanted::default(), 100));
    }

    #[test]
    fn the_next_page_is_asked_as_this_one_was() {
        let next = |query| link(query, "0a-1-1").unwrap().to_str().unwrap().to_owned();
        assert_eq!(next(None), "</api/v1/interactions?cursor=0a-1-1>; rel=\"next\"");
        assert_eq!(
            next(Some("limit=1&cursor=0b-1-1&tenant=acme")),
            "</api/v1/interactions?limit=1&tenant=acme&cursor=0a-1-1>; rel=\"next\""
        );
    }

    #[test]
    fn csv_quotes_what_must_be_and_has_nothing_worked_out() {
        let body = r#"{"id":"0a","from":"=1+1","to":"+18005550100","because":"a, \"b\"","sipCode":200,"answeredAt":null,
            "queues":[{"queue":"acme/a","agent":"acme/ada","waitedMs":5},{"queue":"acme/b","waitedMs":6}],
            "voicemails":[{"name":"acme/voicemail/1.wav"}],
            "dispositions":[{"disposition":"sale","notes":"=2"},{"disposition":"none"},{"disposition":"no","notes":"a\nb"}]}"#;
        let found = Found { id: "0a".into(), tenant: "acme".into(), body: body.into() };
        let text = csv(&[found]);
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines[0], COLUMNS.join(","));
        let row = "0a,,,'=1+1,+18005550100,,,,,,,,200,,\"a, \"\"b\"\"\",acme/a acme/b,acme/ada,11,,acme/voicemail/1.wav,sale none no,\"'=2 / a\nb\"";
        assert_eq!(lines[1..], [row, ""]);
    }
}
