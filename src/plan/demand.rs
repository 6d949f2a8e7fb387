//! Reads what a floor's forecast is asked for: a document of its own beside the manifests, not one of them.
//!
//! ```yaml
//! tenant: acme                        # namespace; absent: the only one that has Queues
//! day: {opens: "08:00", intervalMinutes: 30}   # absent: rates and agents are the same for ever
//! queues:
//! - name: support
//!   contactsPerHour: [40, 90, 120]    # one for each interval of the day, or one number
//!   handling: {meanSeconds: 240, distribution: LogNormal, deviationSeconds: 150}   # with the work after the contact
//!   patience: {meanSeconds: 180}      # absent: nobody hangs up. Exponential, LogNormal or Fixed; absent: Exponential
//! agents:                             # absent: all Agents of the tenant, all the time
//! - group: team
//!   count: [4, 9, 12]                 # made-up agents: one for each interval of the day, or one number
//!   skills: [{name: support, level: 6}]
//!   queues: [{name: support, rank: 0}]   # absent: all whose skills suffice
//! - group: seniors
//!   names: [dev, iris]                # Agents of the folder
//! answerSeconds: 3                    # how long an agent's telephone rings; absent: 0
//! missedPercent: 2                    # offers that ring out; absent: 0
//! returnSeconds: 60                   # after which who let one ring out is back; absent: 60
//! find: {group: team, queues: [support], percent: 80, seconds: 20, shrinkagePercent: 30}   # how many agents are needed
//! replications: 20                    # runs
//! hours: 20                           # of each that count, where there is no day
//! warmUpHours: 2                      # before them; absent: see `sim::forecast`
//! seed: 1
//! ```
//!
//! Strict: what is not known, or not of its kind, or out of its bounds, is a problem at its line.

use std::{collections::BTreeMap, fmt::Display, sync::Arc};

use model::{
    AgentId, Key, QueueId,
    demand::{
        AGENTS_MAX, Day, Demand, Group, INTERVALS_MAX, Load, Members, PARTS_MAX, REPLICATIONS_MAX, Spread,
        Target, Times,
    },
};
use serde_json::{Map, Value};

use crate::{
    SourceFile,
    load::text_of,
    problem::{Location, Problem, Reason, Severity},
    resources::{Source, location},
    words, yaml,
};

/// Most contacts in an hour.
const RATE_MAX: f64 = 100_000.0;

/// Longest mean of a time, in seconds: a day.
const SECONDS_MAX: f64 = 86_400.0;

/// Runs, and hours of each, where nothing is said.
pub const REPLICATIONS: u32 = 20;
pub const HOURS: f64 = 20.0;

/// After so long an agent who let an offer ring out is back, where nothing is said.
pub const RETURN_SECONDS: f64 = 60.0;

/// A demand, and where its fields stand.
#[derive(Debug, Clone)]
pub struct PlannedDemand {
    /// What it says.
    pub demand: Demand,
    source: Source,
}

impl PlannedDemand {
    /// Where a field stands, such as `queues[0].name`; where it is not, what is nearest around it.
    #[must_use]
    pub fn at(&self, field: &str) -> Location {
        self.source.at(field)
    }
}

/// Reads a demand. `tenants` are the namespaces that have Queues.
///
/// # Errors
/// Everything that is wrong, by line.
pub fn read_demand(file: &SourceFile, tenants: &[&str]) -> Result<PlannedDemand, Vec<Problem>> {
    let name: Arc<str> = file.path.as_str().into();
    let problem = |at, reason, message| Problem {
        at: location(&name, at),
        severity: Severity::Error,
        reason,
        object: None,
        field: String::new(),
        message,
    };
    let text = match text_of(&file.bytes) {
        Ok(text) => text,
        Err((at, message)) => return Err(vec![problem(at, Reason::UnreadableFile, message)]),
    };
    let (documents, faults) = yaml::parse(text);
    if !faults.is_empty() {
        let reason = |fault: &yaml::Fault| {
            if fault.duplicate_key { Reason::DuplicateKey } else { Reason::InvalidYaml }
        };
        return Err(faults
            .into_iter()
            .map(|fault| problem(fault.at, reason(&fault), fault.message))
            .collect());
    }
    let mut documents = documents.into_iter();
    let (Some(document), None) = (documents.next(), documents.next()) else {
        let message =
            "The file must hold one document: `queues`, `agents` and what else a forecast is asked for.";
        return Err(vec![problem(yaml::Position::default(), Reason::InvalidYaml, message.to_owned())]);
    };
    let source = Source { file: name, root: Arc::new(document.root) };
    let mut reader = Reader { source: &source, problems: Vec::new() };
    let demand = reader.demand(&source.root.to_json(), tenants);
    let mut problems = reader.problems;
    match demand {
        Some(demand) if problems.is_empty() => Ok(PlannedDemand { demand, source }),
        Some(_) | None => {
            problems.sort();
            Err(problems)
        }
    }
}

type Object = Map<String, Value>;

struct Reader<'a> {
    source: &'a Source,
    problems: Vec<Problem>,
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// A value as the message shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        Value::Number(number) => format!("{number}"),
        Value::Bool(truth) => format!("{truth}"),
        Value::Null => "nothing".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a mapping".into(),
    }
}

impl Reader<'_> {
    fn problem(&mut self, path: &str, reason: Reason, message: impl Display) {
        let about = if path.is_empty() { "The document".to_owned() } else { format!("`{path}`") };
        self.problems.push(Problem {
            at: self.source.at(path),
            severity: Severity::Error,
            reason,
            object: None,
            field: path.to_owned(),
            message: format!("{about} {message}."),
        });
    }

    fn object<'v>(&mut self, value: &'v Value, path: &str, known: &[&str]) -> Option<&'v Object> {
        let Value::Object(object) = value else {
            let message = format!("must be a mapping with {}, not {}", words::all_of(known), shown(value));
            self.problem(path, Reason::WrongType, message);
            return None;
        };
        for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
            let near = words::nearest(key, known.iter().copied());
            let meant = near.map_or_else(|| words::any_of(known), |near| format!("`{near}`"));
            self.problem(
                &below(path, key),
                Reason::UnknownField,
                format!("is no field here; it may be {meant}"),
            );
        }
        Some(object)
    }

    fn missing(&mut self, path: &str, key: &str, like: &str) {
        self.problem(&below(path, key), Reason::MissingField, format!("must be given, such as {like}"));
    }

    fn in_bounds(&mut self, value: &Value, path: &str, (least, most): (f64, f64), what: &str) -> Option<f64> {
        let number = value.as_f64().filter(|number| (least..=most).contains(number));
        let number = number.filter(|number| what != WHOLE || number.fract() == 0.0);
        if number.is_none() {
            let reason = if value.is_number() { Reason::InvalidValue } else { Reason::WrongType };
            self.problem(path, reason, format!("must be {what} of {least} to {most}, not {}", shown(value)));
        }
        number
    }

    fn number(&mut self, object: &Object, path: &str, key: &str, bounds: (f64, f64)) -> Option<f64> {
        let value = object.get(key)?;
        self.in_bounds(value, &below(path, key), bounds, "a number")
    }

    fn whole(&mut self, object: &Object, path: &str, key: &str, bounds: (f64, f64)) -> Option<u32> {
        let value = object.get(key)?;
        self.in_bounds(value, &below(path, key), bounds, WHOLE).map(|number| number as u32)
    }

    fn text<'v>(&mut self, object: &'v Object, path: &str, key: &str) -> Option<&'v str> {
        let value = object.get(key)?;
        let text = value.as_str().filter(|text| !text.is_empty());
        if text.is_none() {
            let message = format!("must be a name or text, not {}", shown(value));
            self.problem(&below(path, key), Reason::WrongType, message);
        }
        text
    }

    /// A list of 1 to `most`.
    fn list<'v>(&mut self, object: &'v Object, path: &str, key: &str, most: usize) -> Option<&'v [Value]> {
        let value = object.get(key)?;
        let list = value.as_array().map(Vec::as_slice).filter(|list| (1..=most).contains(&list.len()));
        if list.is_none() {
            let found =
                value.as_array().map_or_else(|| shown(value), |list| format!("one of {}", list.len()));
            let message = format!("must be a list of 1 to {most}, not {found}");
            self.problem(&below(path, key), Reason::WrongType, message);
        }
        list
    }

    /// One number, or a list with one for each interval.
    fn profile(&mut self, object: &Object, path: &str, key: &str, most: f64, what: &str) -> Option<Vec<f64>> {
        if !object.get(key)?.is_array() {
            let number = self.in_bounds(object.get(key)?, &below(path, key), (0.0, most), what);
            return number.map(|number| vec![number]);
        }
        let list = self.list(object, path, key, INTERVALS_MAX)?;
        let items = list.iter().enumerate();
        let path = below(path, key);
        items.map(|(at, item)| self.in_bounds(item, &format!("{path}[{at}]"), (0.0, most), what)).collect()
    }

    fn demand(&mut self, root: &Value, tenants: &[&str]) -> Option<Demand> {
        const KNOWN: [&str; 12] = [
            "tenant",
            "day",
            "queues",
            "agents",
            "answerSeconds",
            "missedPercent",
            "returnSeconds",
            "find",
            "replications",
            "hours",
            "warmUpHours",
            "seed",
        ];
        let root = self.object(root, "", &KNOWN)?;
        let tenant = self.tenant(root, tenants);
        let space = tenant.clone().unwrap_or_default();
        if !root.contains_key("queues") {
            self.missing(
                "",
                "queues",
                "[{name: support, contactsPerHour: 120, handling: {meanSeconds: 240}}]",
            );
        }
        let queues = self.list(root, "", "queues", PARTS_MAX).unwrap_or_default().iter().enumerate();
        let queues: Vec<Load> = queues.filter_map(|(at, item)| self.load(item, at, &space)).collect();
        let groups = self.list(root, "", "agents", PARTS_MAX).unwrap_or_default().iter().enumerate();
        let groups: Vec<Group> = groups.filter_map(|(at, item)| self.group(item, at, &space)).collect();
        let day = self.day(root, &queues, &groups);
        let find = root.get("find").and_then(|find| self.target(find, &space));
        let demand = Demand {
            tenant: tenant?,
            day,
            queues,
            groups,
            answer_seconds: self.number(root, "", "answerSeconds", (0.0, 300.0)).unwrap_or(0.0),
            missed_percent: self.number(root, "", "missedPercent", (0.0, 90.0)).unwrap_or(0.0),
            return_seconds: self
                .number(root, "", "returnSeconds", (1.0, SECONDS_MAX))
                .unwrap_or(RETURN_SECONDS),
            find,
            replications: self
                .whole(root, "", "replications", (2.0, REPLICATIONS_MAX.into()))
                .unwrap_or(REPLICATIONS),
            hours: self.number(root, "", "hours", (0.1, 10_000.0)).unwrap_or(HOURS),
            warm_up_hours: self.number(root, "", "warmUpHours", (0.0, 10_000.0)),
            seed: self.whole(root, "", "seed", (0.0, u32::MAX.into())).map_or(1, u64::from),
        };
        if demand.day.is_some() {
            for key in ["hours", "warmUpHours"].into_iter().filter(|key| root.contains_key(*key)) {
                self.problem(
                    key,
                    Reason::InvalidValue,
                    "must not be given beside `day`, all of which counts",
                );
            }
        }
        Some(demand)
    }

    fn tenant(&mut self, root: &Object, tenants: &[&str]) -> Option<String> {
        if root.contains_key("tenant") {
            let tenant = self.text(root, "", "tenant")?;
            if !tenants.contains(&tenant) {
                let message =
                    format!("must be a namespace that has Queues ({}), not `{tenant}`", tenants.join(", "));
                self.problem("tenant", Reason::TenantNotFound, message);
            }
            return Some(tenant.to_owned());
        }
        match tenants {
            [only] => Some((*only).to_owned()),
            _ => {
                let message =
                    format!("must be one of the namespaces that have Queues: {}", tenants.join(", "));
                self.problem("tenant", Reason::MissingField, message);
                None
            }
        }
    }

    fn load(&mut self, value: &Value, at: usize, tenant: &str) -> Option<Load> {
        let path = format!("queues[{at}]");
        let object = self.object(value, &path, &["name", "contactsPerHour", "handling", "patience"])?;
        for (key, like) in
            [("name", "support"), ("contactsPerHour", "120"), ("handling", "{meanSeconds: 240}")]
        {
            if !object.contains_key(key) {
                self.missing(&path, key, like);
            }
        }
        let name = self.text(object, &path, "name");
        let rates = self.profile(object, &path, "contactsPerHour", RATE_MAX, "a number");
        let handling = object.get("handling").and_then(|times| self.times(times, &below(&path, "handling")));
        let patience = object.get("patience").map(|times| self.times(times, &below(&path, "patience")));
        Some(Load {
            queue: QueueId(Key::new(tenant, name?)),
            contacts_per_hour: rates?,
            handling: handling?,
            patience: patience.flatten(),
        })
    }

    fn times(&mut self, value: &Value, path: &str) -> Option<Times> {
        let object = self.object(value, path, &["meanSeconds", "distribution", "deviationSeconds"])?;
        if !object.contains_key("meanSeconds") {
            self.missing(path, "meanSeconds", "240");
        }
        let mean_seconds = self.number(object, path, "meanSeconds", (1.0, SECONDS_MAX));
        let deviation = self.number(object, path, "deviationSeconds", (0.1, SECONDS_MAX));
        let distribution = if object.contains_key("distribution") {
            self.text(object, path, "distribution")?
        } else {
            "Exponential"
        };
        let spread = match distribution {
            "Exponential" => Spread::Exponential,
            "Fixed" => Spread::Fixed,
            "LogNormal" if !object.contains_key("deviationSeconds") => {
                self.missing(path, "deviationSeconds", "120");
                return None;
            }
            "LogNormal" => Spread::LogNormal(deviation?),
            other => {
                let message = format!("must be `Exponential`, `LogNormal` or `Fixed`, not `{other}`");
                self.problem(&below(path, "distribution"), Reason::InvalidValue, message);
                return None;
            }
        };
        if distribution != "LogNormal" && object.contains_key("deviationSeconds") {
            let message =
                format!("must not be given: a distribution `{distribution}` has none; `LogNormal` has");
            self.problem(&below(path, "deviationSeconds"), Reason::InvalidValue, message);
        }
        Some(Times { mean_seconds: mean_seconds?, spread })
    }

    fn group(&mut self, value: &Value, at: usize, tenant: &str) -> Option<Group> {
        let path = format!("agents[{at}]");
        let object = self.object(value, &path, &["group", "count", "skills", "queues", "names"])?;
        if !object.contains_key("group") {
            self.missing(&path, "group", "team");
        }
        let name = self.text(object, &path, "group")?.to_owned();
        if object.contains_key("names") == object.contains_key("count") {
            let message = "must have either `names`, of Agents of the folder, or `count`, of made-up ones";
            self.problem(&path, Reason::InvalidValue, message);
            return None;
        }
        if object.contains_key("names") {
            for key in ["skills", "queues"].into_iter().filter(|key| object.contains_key(*key)) {
                let message = "must not be given beside `names`: the Agents say it";
                self.problem(&below(&path, key), Reason::InvalidValue, message);
            }
            let names = self.list(object, &path, "names", AGENTS_MAX as usize)?;
            let mut agents = Vec::new();
            for (at, name) in names.iter().enumerate() {
                match name.as_str() {
                    Some(name) => agents.push(AgentId(Key::new(tenant, name))),
                    None => {
                        let message = format!("must be the name of an Agent, not {}", shown(name));
                        self.problem(&format!("{path}.names[{at}]"), Reason::WrongType, message);
                    }
                }
            }
            return Some(Group { name, members: Members::Named(agents) });
        }
        let count = self.profile(object, &path, "count", AGENTS_MAX.into(), WHOLE);
        let skills = self.pairs(object, &path, ("skills", "level"), (1.0, 10.0));
        let queues = self.pairs(object, &path, ("queues", "rank"), (0.0, 255.0));
        let queues = queues.into_iter().map(|(name, rank)| (QueueId(Key::new(tenant, &name)), rank));
        let members = Members::MadeUp {
            count: count?.into_iter().map(|count| count as u32).collect(),
            skills,
            queues: queues.collect(),
        };
        Some(Group { name, members })
    }

    /// `[{name: support, level: 6}]`.
    fn pairs(
        &mut self,
        object: &Object,
        path: &str,
        (key, word): (&str, &str),
        bounds: (f64, f64),
    ) -> BTreeMap<String, u8> {
        let mut pairs = BTreeMap::new();
        let list = self.list(object, path, key, PARTS_MAX).unwrap_or_default();
        for (at, item) in list.iter().enumerate() {
            let path = format!("{path}.{key}[{at}]");
            let Some(object) = self.object(item, &path, &["name", word]) else { continue };
            for (key, like) in [("name", "support"), (word, "5")] {
                if !object.contains_key(key) {
                    self.missing(&path, key, like);
                }
            }
            let name = self.text(object, &path, "name");
            let number = self.whole(object, &path, word, bounds);
            if let (Some(name), Some(number)) = (name, number)
                && pairs.insert(name.to_owned(), number as u8).is_some()
            {
                let message = format!("must stand once; `{name}` stands before");
                self.problem(&below(&path, "name"), Reason::DuplicateEntry, message);
            }
        }
        pairs
    }

    /// Its intervals are as many as the lists are long.
    fn day(&mut self, root: &Object, queues: &[Load], groups: &[Group]) -> Option<Day> {
        let rates = queues.iter().map(|load| load.contacts_per_hour.len());
        let counts = groups.iter().filter_map(|group| match &group.members {
            Members::MadeUp { count, .. } => Some(count.len()),
            Members::Named(_) => None,
        });
        let mut lengths: Vec<usize> = rates.chain(counts).filter(|length| *length > 1).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let Some(value) = root.get("day") else {
            if !lengths.is_empty() {
                self.missing(
                    "",
                    "day",
                    "{opens: \"08:00\", intervalMinutes: 30}, where a list has a number for each interval",
                );
            }
            return None;
        };
        let object = self.object(value, "day", &["opens", "intervalMinutes"])?;
        if lengths.len() > 1 {
            let lengths: Vec<String> = lengths.iter().map(usize::to_string).collect();
            let message = format!(
                "has as many intervals as a list of `contactsPerHour` or `count` is long, and lists are {} long; they must be alike",
                lengths.join(" and ")
            );
            self.problem("day", Reason::InvalidValue, message);
        }
        let intervals = lengths.first().copied();
        if intervals.is_none() {
            let message = "needs a list of `contactsPerHour` or `count` with a number for each interval";
            self.problem("day", Reason::InvalidValue, message);
        }
        let opens = if object.contains_key("opens") { self.clock(object)? } else { 0 };
        let interval_minutes = self.whole(object, "day", "intervalMinutes", (1.0, 1_440.0));
        if !object.contains_key("intervalMinutes") {
            self.missing("day", "intervalMinutes", "30");
        }
        Some(Day { opens_minutes: opens, interval_minutes: interval_minutes?, intervals: intervals? })
    }

    /// `08:30`, in minutes after midnight.
    fn clock(&mut self, object: &Object) -> Option<u32> {
        let text = self.text(object, "day", "opens")?;
        let parts = text.split_once(':').filter(|(_, minutes)| minutes.len() == 2);
        let minutes = parts.and_then(|(hours, minutes)| {
            let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
            (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
        });
        if minutes.is_none() {
            let message = format!("must be a time such as \"08:30\", not `{text}`");
            self.problem("day.opens", Reason::InvalidValue, message);
        }
        minutes
    }

    fn target(&mut self, value: &Value, tenant: &str) -> Option<Target> {
        let known = ["group", "queues", "percent", "seconds", "shrinkagePercent"];
        let object = self.object(value, "find", &known)?;
        if !object.contains_key("group") {
            self.missing("find", "group", "team");
        }
        let group = self.text(object, "find", "group")?.to_owned();
        let mut queues = Vec::new();
        for (at, name) in
            self.list(object, "find", "queues", PARTS_MAX).unwrap_or_default().iter().enumerate()
        {
            match name.as_str() {
                Some(name) => queues.push(QueueId(Key::new(tenant, name))),
                None => {
                    let message = format!("must be the name of a queue, not {}", shown(name));
                    self.problem(&format!("find.queues[{at}]"), Reason::WrongType, message);
                }
            }
        }
        let percent = self.number(object, "find", "percent", (1.0, 99.9));
        let seconds = self.number(object, "find", "seconds", (0.0, SECONDS_MAX));
        for (here, other) in [("percent", "seconds"), ("seconds", "percent")] {
            if object.contains_key(here) && !object.contains_key(other) {
                self.missing("find", other, if other == "percent" { "80" } else { "20" });
            }
        }
        let shrinkage_percent = self.number(object, "find", "shrinkagePercent", (0.0, 90.0)).unwrap_or(0.0);
        Some(Target { group, queues, level: percent.zip(seconds), shrinkage_percent })
    }
}

const WHOLE: &str = "a whole number";
