//! Which calls change between two configurations, and not which lines.
//!
//! A symbolic walk over number × time × caller × what contact and callees do: [`call::admission`] decides over each number on
//! both sides, the real cursor walks both flows at each kind of time and for each class of callers, and the walks are held
//! side by side. Equal changes are folded: over times, callers, ways through a flow, and numbers.
//!
//! What nobody on the line can notice is no change: names of steps, variables and prompts of equal content, order of
//! documents, files, comments. Bounds are named, and whatever they leave out is counted.

mod calendar;
mod callers;
mod centre;
mod compare;
mod fold;
mod glob;
mod numbers;
mod outcome;
mod text;
mod trunks;

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

use call::{
    Now,
    admission::{self, Admission},
    cursor::{Environment, Facts},
    hours::State,
    world::{Flow, World},
};
use expr::{Input, Reads};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use model::{E164, FlowId, HoursId, NumberId, TrunkId, program::Verb, snapshot::BusinessHours};
use serde::Serialize;

use self::{
    compare::Path,
    numbers::{Entry, Segment},
    outcome::{Ending, View},
};
use crate::{
    explain::Idle,
    walk::{self, Walk},
};

pub use self::glob::Glob;

/// Most walks of two flows that are held side by side for one pair of flows.
pub const WALKS_MAX: usize = 512;

/// A configuration that calls could run by.
#[derive(Debug, Clone, Default)]
pub struct Side<'a> {
    /// One for each cluster.
    pub worlds: Vec<&'a World>,
    /// IANA time zone of each tenant, by namespace; UTC where there is none.
    pub zones: BTreeMap<String, String>,
}

/// Which calls change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    /// By the numbers that share them, in the order of their first numbers.
    pub groups: Vec<Group>,
    /// How much was not looked at, because a bound was reached.
    pub cut: usize,
    /// What a reader must know to judge how complete this is; sentences.
    pub notes: Vec<String>,
}

/// Numbers whose calls change alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Sorted, apart.
    pub numbers: Vec<Numbers>,
    /// What changes.
    pub changes: Vec<Change>,
}

/// Numbers in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Numbers {
    /// First number.
    pub first: E164,
    /// Last number.
    pub last: E164,
    /// PhoneNumber objects that they are of, on either side.
    pub objects: BTreeSet<NumberId>,
}

/// A change of calls.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// At which times, in the tenant's time zone. None: always.
    pub when: Option<String>,
    /// For which callers. None: for all.
    pub callers: Option<String>,
    /// What contact and callees do until it is noticed; each is one way. An empty one: nothing.
    pub paths: Vec<Vec<String>>,
    /// What about. Empty: all that comes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// Before.
    pub old: String,
    /// After.
    pub new: String,
}

impl Change {
    /// Of every call, whatever is done in it.
    fn of_all(about: impl Into<String>, old: impl Into<String>, new: impl Into<String>) -> Self {
        Self {
            when: None,
            callers: None,
            paths: vec![Vec::new()],
            about: about.into(),
            old: old.into(),
            new: new.into(),
        }
    }
}

/// Compares two configurations. What is over at `now` changes no call.
#[must_use]
pub fn changes(old: &Side<'_>, new: &Side<'_>, now: Now) -> Changes {
    let mut comparer = Comparer {
        sides: [old, new],
        now,
        expressions: expr::Engine::new(),
        flows: BTreeMap::new(),
        walks: BTreeMap::new(),
        compared: BTreeMap::new(),
        trunks: BTreeMap::new(),
        cut: 0,
        notes: BTreeSet::new(),
    };
    let mut folder = fold::Folder::default();
    for segment in numbers::segments(old, new) {
        for segment in comparer.split(segment) {
            let changes = comparer.number(&segment);
            folder.add(&segment, changes);
        }
    }
    Changes { groups: folder.groups(), cut: comparer.cut, notes: comparer.notes.into_iter().collect() }
}

/// Whether a live number of the configuration is meant.
#[must_use]
pub fn has(side: &Side<'_>, glob: &Glob) -> bool {
    let ranges = side.worlds.iter().flat_map(|world| world.snapshot.numbers.values().flatten());
    ranges.into_iter().any(|range| glob.matches(range.first, range.last, [&range.id]))
}

/// Where a call to a number begins.
#[derive(Debug, Clone)]
enum Start {
    /// In a flow of a world of its side, by its place.
    Flow(usize, Arc<Flow>, TrunkId),
    Ends(Ending),
}

/// A start by what decides over all that follows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum StartKey {
    Flow(usize, FlowId, FactsKey),
    Ends(Ending),
}

/// What a flow can see of number and trunk: verdicts of its comparisons, and what it asks otherwise.
type FactsKey = (Vec<bool>, Option<E164>, Option<TrunkId>);

/// Side, world, flow, what it sees of number and trunk, caller, and what the hours that it asks say.
type WalkKey = (usize, usize, FlowId, FactsKey, String, Vec<u8>);

struct Comparer<'a> {
    sides: [&'a Side<'a>; 2],
    now: Now,
    expressions: expr::Engine,
    /// What each flow reads, by side, world and name.
    flows: BTreeMap<(usize, usize, FlowId), Rc<Reads>>,
    walks: BTreeMap<WalkKey, Rc<Walk>>,
    compared: BTreeMap<(StartKey, StartKey), Rc<Vec<Change>>>,
    trunks: BTreeMap<TrunkId, Rc<Vec<Change>>>,
    cut: usize,
    notes: BTreeSet<String>,
}

impl<'a> Comparer<'a> {
    /// All that changes for the numbers of a segment.
    fn number(&mut self, segment: &Segment<'a>) -> Vec<Change> {
        let mut changes = Vec::new();
        for (old, new) in segment.pairs() {
            let before = changes.len();
            let starts = [self.start(0, old, new, segment.first), self.start(1, new, old, segment.first)];
            changes.extend(self.starts(starts, segment.first).iter().cloned());
            let (Some(old), Some(new)) = (old, new) else {
                // That it begins or ends to be live by a trunk matters where there are several.
                if segment.old.len().max(segment.new.len()) > 1 {
                    let by = old.or(new).map_or(String::new(), |entry| format!("by Trunk/{}", entry.trunk));
                    changes[before..].iter_mut().for_each(|change| change.about.clone_from(&by));
                }
                continue;
            };
            changes.extend(trunks::number(self.world(0, old), self.world(1, new), old, new));
            if old.trunk == new.trunk {
                changes.extend(self.trunk(old, new).iter().cloned());
            }
        }
        changes
    }

    fn world(&self, side: usize, entry: &Entry<'a>) -> &'a World {
        self.sides[side].worlds[entry.world]
    }

    fn trunk(&mut self, old: &Entry<'a>, new: &Entry<'a>) -> Rc<Vec<Change>> {
        if let Some(known) = self.trunks.get(old.trunk) {
            return Rc::clone(known);
        }
        let worlds = (self.world(0, old), self.world(1, new));
        let changes = Rc::new(trunks::inbound(worlds.0, worlds.1, old.trunk, self.now.wall));
        self.trunks.insert(old.trunk.clone(), Rc::clone(&changes));
        changes
    }

    /// Where a call begins on a side; of a number that is not live there, by the trunk of the other side.
    fn start(
        &self,
        side: usize,
        entry: Option<&Entry<'a>>,
        other: Option<&Entry<'a>>,
        number: E164,
    ) -> Start {
        let worlds = &self.sides[side].worlds;
        let Some(id) = entry.or(other).map(|entry| entry.trunk) else {
            return Start::Ends(Ending::NotLive(None));
        };
        let place = entry
            .map(|entry| entry.world)
            .or_else(|| worlds.iter().position(|world| world.snapshot.trunks.contains_key(id)));
        let found = place.and_then(|place| Some((place, worlds[place].snapshot.trunks.get(id)?)));
        let Some((place, trunk)) = found else { return Start::Ends(Ending::NotLive(None)) };
        let Admission { verdict, .. } =
            admission::admit(worlds[place], (id, trunk), (&number.to_string(), None), &Idle);
        match verdict {
            Ok(admitted) => Start::Flow(place, admitted.flow, id.clone()),
            Err(refusal) if entry.is_none() => Start::Ends(Ending::NotLive(Some(refusal.code))),
            Err(refusal) => Start::Ends(Ending::Refused(refusal.code)),
        }
    }

    /// A flow that asks for the number that was dialled takes the numbers of a range apart.
    fn split(&mut self, segment: Segment<'a>) -> Vec<Segment<'a>> {
        let mut edges = BTreeSet::new();
        for (side, entries) in [&segment.old, &segment.new].into_iter().enumerate() {
            for entry in entries {
                let Some(flow) = self.world(side, entry).flow(&entry.range.flow) else { continue };
                let reads = self.reads(side, entry.world, flow);
                for test in callers::tests(&reads, Input::CallNumber) {
                    edges.extend(numbers::edges(test, segment.first));
                }
            }
        }
        segment.split(&edges)
    }

    fn reads(&mut self, side: usize, world: usize, flow: &Flow) -> Rc<Reads> {
        let key = (side, world, flow.id.clone());
        Rc::clone(self.flows.entry(key).or_insert_with(|| Rc::new(callers::reads(flow))))
    }

    fn key(&mut self, side: usize, start: &Start, number: E164) -> StartKey {
        let (world, flow, trunk) = match start {
            Start::Ends(ending) => return StartKey::Ends(*ending),
            Start::Flow(world, flow, trunk) => (*world, flow, trunk),
        };
        let reads = self.reads(side, world, flow);
        let dialled = number.to_string();
        let verdicts = |input, text: &str| {
            let tests = callers::tests(&reads, input).into_iter();
            tests.map(|test| test.passes(text)).collect::<Vec<_>>()
        };
        let mut facts = verdicts(Input::CallNumber, &dialled);
        facts.extend(verdicts(Input::CallTrunk, &trunk.to_string()));
        let by_number = reads.otherwise.contains(&Input::CallNumber);
        let by_trunk = reads.otherwise.contains(&Input::CallTrunk);
        let facts = (facts, by_number.then_some(number), by_trunk.then(|| trunk.clone()));
        StartKey::Flow(world, flow.id.clone(), facts)
    }

    /// What changes between two starts of calls to `number`.
    fn starts(&mut self, starts: [Start; 2], number: E164) -> Rc<Vec<Change>> {
        let keys = (self.key(0, &starts[0], number), self.key(1, &starts[1], number));
        if let Some(known) = self.compared.get(&keys) {
            return Rc::clone(known);
        }
        let mut changes = Vec::new();
        if !self.equal(&starts) {
            changes = self.compare(&starts, &keys, number);
        }
        if let [Start::Flow(old, before, _), Start::Flow(new, after, _)] = &starts {
            let worlds = (self.sides[0].worlds[*old], self.sides[1].worlds[*new]);
            changes.extend(trunks::dialled(worlds.0, worlds.1, before, after));
        }
        let changes = Rc::new(changes);
        self.compared.insert(keys, Rc::clone(&changes));
        changes
    }

    /// Whether no walk could differ: equal programs at equal hours. Audio is named by its content.
    fn equal(&self, starts: &[Start; 2]) -> bool {
        match starts {
            [Start::Flow(old, before, by), Start::Flow(new, after, other)] => {
                let hours = |side: usize, world: usize, flow: &Flow| {
                    let snapshot = &self.sides[side].worlds[world].snapshot;
                    let hours = hours_of(flow).into_iter();
                    hours.map(|id| snapshot.hours.get(&id).cloned()).collect::<Vec<_>>()
                };
                let programs = |flow: &'_ Flow| {
                    closure(flow).into_iter().map(|flow| Arc::clone(&flow.program)).collect::<Vec<_>>()
                };
                let snapshot = |side: usize, world: usize| &*self.sides[side].worlds[world].snapshot;
                programs(before) == programs(after)
                    && centre::met(snapshot(0, *old), before) == centre::met(snapshot(1, *new), after)
                    && by == other
                    && hours(0, *old, before) == hours(1, *new, after)
            }
            [Start::Ends(old), Start::Ends(new)] => old == new,
            [Start::Flow(..), Start::Ends(_)] | [Start::Ends(_), Start::Flow(..)] => false,
        }
    }

    fn compare(&mut self, starts: &[Start; 2], keys: &(StartKey, StartKey), number: E164) -> Vec<Change> {
        let mut reads = Reads::default();
        let mut hours: [Vec<Arc<BusinessHours>>; 2] = Default::default();
        let mut namespace = None;
        for (side, start) in starts.iter().enumerate() {
            let Start::Flow(world, flow, _) = start else { continue };
            reads.extend((*self.reads(side, *world, flow)).clone());
            let snapshot = &self.sides[side].worlds[*world].snapshot;
            hours[side] = hours_of(flow).iter().filter_map(|id| snapshot.hours.get(id).cloned()).collect();
            namespace = Some(flow.id.0.namespace().to_owned());
        }
        let zone = self.zone(&namespace.unwrap_or_default());
        let callers = callers::classes(&reads);
        let calendar = calendar::calendar(&hours.iter().flatten().collect::<Vec<_>>(), &zone, self.now.wall);
        self.note(starts, &callers, &calendar);
        let mut cells = fold::Cells::default();
        let mut walked = 0;
        for (moment, (signature, wall)) in calendar.moments.iter().enumerate() {
            let states = signature.split_at(hours[0].len());
            for (class, caller) in callers.classes.iter().enumerate() {
                walked += 1;
                if walked > WALKS_MAX {
                    self.cut += 1;
                    continue;
                }
                let now = Now { wall: *wall, ..self.now };
                let old = self.walked(0, (&starts[0], &keys.0), number, &caller.number, states.0, now);
                let new = self.walked(1, (&starts[1], &keys.1), number, &caller.number, states.1, now);
                let path = |side: usize, walk| self.path((side, &starts[side]), walk, &caller.number);
                let paths = (path(0, old.as_deref()), path(1, new.as_deref()));
                let compared = compare::compare(paths.0, paths.1);
                self.cut += compared.cut;
                cells.add((moment, class), compared);
            }
        }
        cells.changes(&calendar, &callers.classes)
    }

    fn path<'w>(
        &'w self,
        (side, start): (usize, &'w Start),
        walk: Option<&'w Walk>,
        caller: &'w str,
    ) -> Path<'w> {
        match (start, walk) {
            (Start::Flow(world, flow, _), Some(walk)) => {
                let world = self.sides[side].worlds[*world];
                Path::Flow(View { world, flow, walk, namespace: flow.id.0.namespace(), caller })
            }
            (Start::Ends(ending), _) => Path::Ends(*ending),
            (Start::Flow(..), None) => Path::Ends(Ending::Failed),
        }
    }

    fn walked(
        &mut self,
        side: usize,
        (start, key): (&Start, &StartKey),
        number: E164,
        caller: &str,
        states: &[State],
        now: Now,
    ) -> Option<Rc<Walk>> {
        let (Start::Flow(world, flow, trunk), StartKey::Flow(_, _, facts)) = (start, key) else {
            return None;
        };
        let states = states.iter().map(|state| *state as u8).collect();
        let key = (side, *world, flow.id.clone(), facts.clone(), caller.to_owned(), states);
        if let Some(known) = self.walks.get(&key) {
            return Some(Rc::clone(known));
        }
        let facts = Facts {
            contact_number: caller.to_owned(),
            contact_verstat: "",
            call_number: number.to_string(),
            call_trunk: trunk.to_string(),
        };
        let world = self.sides[side].worlds[*world];
        let walk = walk::walk(flow, facts, Environment { world, expressions: &self.expressions, now });
        if walk.cut > 0 {
            self.cut += walk.cut;
            let flow = &flow.id;
            self.notes.insert(format!("RoutingFlow {flow} has ways that lead further than is looked at."));
        }
        let walk = Rc::new(walk);
        self.walks.insert(key, Rc::clone(&walk));
        Some(walk)
    }

    /// What keeps a comparison from being complete.
    fn note(&mut self, starts: &[Start; 2], callers: &callers::Callers, calendar: &calendar::Calendar) {
        self.cut += callers.cut + calendar.cut;
        let flows = starts.iter().filter_map(|start| match start {
            Start::Flow(_, flow, _) => Some(flow.id.to_string()),
            Start::Ends(_) => None,
        });
        let flows: BTreeSet<String> = flows.collect();
        let flow = flows.into_iter().collect::<Vec<_>>().join(" and ");
        if callers.sampled {
            self.notes.insert(format!(
                "RoutingFlow {flow} asks more of contact.number than whether it is or begins with a constant: callers are sampled."
            ));
        }
        if callers.cut > 0 {
            let most = callers::CALLERS_MAX;
            self.notes.insert(format!("RoutingFlow {flow} tells more than {most} classes of callers apart."));
        }
        if let Some(monday) = calendar.as_of {
            self.notes.insert(format!(
                "RoutingFlow {flow} goes by clocks of several time zones: times are those of the week of {monday}."
            ));
        }
    }

    fn zone(&self, namespace: &str) -> TimeZone {
        let name = self.sides[1].zones.get(namespace).or_else(|| self.sides[0].zones.get(namespace));
        name.and_then(|name| TimeZoneDatabase::bundled().get(name).ok()).unwrap_or(TimeZone::UTC)
    }
}

/// A flow and all that it calls, each once.
fn closure(flow: &Flow) -> Vec<&Flow> {
    let mut found = vec![flow];
    let mut looked_at = 0;
    while let Some(flow) = found.get(looked_at).copied() {
        looked_at += 1;
        for callee in flow.program.calls().into_iter().filter_map(|id| flow.callee(id)) {
            if found.iter().all(|known| known.id != callee.id) {
                found.push(callee);
            }
        }
    }
    found
}

/// Business hours that a flow and those that it calls ask, each once.
fn hours_of(flow: &Flow) -> BTreeSet<HoursId> {
    let steps = closure(flow).into_iter().flat_map(|flow| &flow.program.steps);
    let hours =
        steps.filter_map(
            |step| {
                if let Verb::Hours { hours, .. } = &step.verb { Some(hours.clone()) } else { None }
            },
        );
    hours.collect()
}
