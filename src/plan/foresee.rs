//! What would be said of an object if it were written so: for whoever must answer before it is.
//!
//! Nothing changes by asking. What an object proves by itself is told apart from what depends on others, which may be on
//! their way.

use std::collections::{BTreeMap, BTreeSet};

use api::v1alpha1 as v1;
use jiff::Timestamp;
use model::Key;
use serde_json::{Value, json};

use crate::{
    Planner,
    base::{Base, Touched},
    checks::{self, Secrets},
    numbers::{Bench, Numbers, phone_number},
    planner,
    problem::{ConditionType, ObjectId, Problem, Reason, Severity},
    resources::{NUMBER, Object, Report, Resources, Source, Spec},
    schema,
    world::{Good, Item, World},
};

/// Numbers that are looked at for what a change does to them, and how many of them are told.
const NUMBERS_MAX: usize = 1_000;
const NUMBERS_TOLD: usize = 10;

/// Accepted or not by what others say, or by what this version can do.
const UNPROVEN: &[Reason] = &[Reason::ForbiddenDestination, Reason::NotYetEffective, Reason::UnknownCountry];

/// A caller of every flow under proof. No object can have its name.
const CALLER: &str = "";

/// What would be wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Foresight {
    /// Errors that the object proves by itself, and that its former self did not have: nothing that others do can make it
    /// right.
    pub own: Vec<Problem>,
    /// All else, warnings included: what the object has in spite of which it may be written, what depends on other objects,
    /// and what would be wrong with others because of it. Each names its object.
    pub across: Vec<Problem>,
}

impl Planner {
    /// What would be said of an object if its `spec` were this, or of others if it were deleted where there is none. `old` is
    /// the spec that it has now; None where it is new.
    ///
    /// A number is said to be taken although whoever has it waits to leave it for the one that this one leaves.
    ///
    /// What the API server's schema says is said too, as something that depends on others: the schema there may be of
    /// another version. Of a kind that is not ours nothing is said.
    #[must_use]
    pub fn foresee(&self, kind: &str, key: &Key, spec: Option<&Value>, old: Option<&Value>) -> Foresight {
        let Some(kind) = schema::kinds().find(|known| *known == kind) else {
            return Foresight::default();
        };
        let id = ObjectId { kind, key: key.clone() };
        let Some(spec) = spec else {
            let across = if kind == NUMBER { Vec::new() } else { self.world_with(&id, None).1 };
            return Foresight { own: Vec::new(), across };
        };
        let (object, unread) = planner::read(id.clone(), spec);
        if let Some(problem) = unread {
            return Foresight { own: Vec::new(), across: vec![problem] };
        }
        let proven = proven(&object, self.now);
        let before =
            old.map(|old| self::proven(&planner::read(id.clone(), old).0, self.now)).unwrap_or_default();
        let (told, others) = if kind == NUMBER {
            (self.number_with(&object), Vec::new())
        } else {
            self.world_with(&id, Some(object))
        };
        let (own, across): (Vec<_>, Vec<_>) =
            told.into_iter().partition(|problem| proven.contains(problem) && !before.contains(problem));
        let told = across.into_iter().chain(others).chain(by_schema(&id, spec));
        let mut foresight = Foresight { own, across: told.collect() };
        for problems in [&mut foresight.own, &mut foresight.across] {
            problems.sort();
            problems.dedup();
        }
        foresight
    }

    /// What would be said of a number.
    fn number_with(&self, object: &Object) -> Vec<Problem> {
        let last = self.numbers.live.get(&object.id.key).map(|number| &number.spec);
        number_told(object, &self.numbers, &self.base.world, |bench, item, report| {
            self.numbers.number(item, last, bench, report);
        })
    }

    /// What would be said of an object that is no number, and what else would be wrong with others.
    fn world_with(&self, id: &ObjectId, object: Option<Object>) -> (Vec<Problem>, Vec<Problem>) {
        let mut base = self.base.clone();
        base.take_turned();
        let mut resources = self.resources.without_numbers();
        let mut touched = self.touched.clone();
        let before = resources.take(id);
        let deleted = object.is_none();
        if before.is_some() != object.is_some() {
            touched.names.insert(id.kind);
        }
        touched.kinds.insert(id.kind);
        touched.ids.insert(id.clone());
        object.map(|object| resources.put(object));
        base.update(&resources, &Good::of(&self.base.world, &self.numbers), &touched, self.now);
        let mut others = Vec::new();
        for other in base.take_turned().iter().filter(|other| *other != id && resources.contains(other)) {
            let known = self.base.told(other);
            let told = base.told(other).into_iter().filter(|problem| problem.severity == Severity::Error);
            others.extend(told.filter(|problem| !known.contains(problem)).cloned());
        }
        others.extend(self.numbers_in(&base.world, id, deleted));
        (base.told(id).into_iter().cloned().collect(), others)
    }

    /// What would be wrong with live numbers in another world, as far as they have to do with an object that is otherwise
    /// there.
    fn numbers_in(&self, world: &World, id: &ObjectId, deleted: bool) -> Vec<Problem> {
        let keys: Vec<&Key> = match id.kind {
            "Trunk" => self.numbers.of_trunk(&id.key).take(NUMBERS_MAX).collect(),
            "Tenant" => self.numbers.of_namespace(id.key.namespace()).take(NUMBERS_MAX).collect(),
            // One that is wrong stays as it was.
            "RoutingFlow" if deleted => world.directory.numbers.leads(&id.key).take(NUMBERS_MAX).collect(),
            _ => Vec::new(),
        };
        let objects = keys.into_iter().filter_map(|key| self.resources.numbers.get(key));
        let others = objects.filter_map(|object| {
            let last = phone_number(object);
            let told = number_told(object, &self.numbers, world, |bench, item, report| {
                self.numbers.eligible(item, last, bench, report);
            });
            let known = self.numbers.told(&object.id.key);
            told.into_iter().find(|problem| problem.severity == Severity::Error && !known.contains(problem))
        });
        others.take(NUMBERS_TOLD).collect()
    }
}

/// What is said of a number in a world by one who judges it.
fn number_told(
    object: &Object,
    numbers: &Numbers,
    world: &World,
    judge: impl FnOnce(&Bench<'_>, &Item<v1::PhoneNumberSpec>, &mut Report),
) -> Vec<Problem> {
    let mut report = Report::default();
    checks::alone(object, &Secrets::default(), world, &mut report);
    report.begin();
    let bench = Bench {
        resources: &Resources::default(),
        hidden: &BTreeSet::new(),
        world,
        flows: &numbers.orphans,
        before: &BTreeMap::new(),
    };
    if let Some(spec) = phone_number(object) {
        judge(&bench, &checks::item(object, spec), &mut report);
    }
    report.problems
}

/// Errors of an object that it has in every world: in one where nothing else is but what could call it.
fn proven(object: &Object, now: Timestamp) -> Vec<Problem> {
    let mut problems = if object.id.kind == NUMBER {
        let (numbers, world) = (Numbers::default(), World::default());
        number_told(object, &numbers, &world, |bench, item, report| {
            numbers.number(item, None, bench, report);
        })
    } else {
        let mut resources = Resources::default();
        resources.put(object.clone());
        caller(object).map(|caller| resources.put(caller));
        let mut base = Base::default();
        base.update(&resources, &Good::default(), &Touched::everything(), now);
        base.told(&object.id).into_iter().cloned().collect()
    };
    problems.retain(|problem| {
        problem.severity == Severity::Error
            && problem.reason.condition() == ConditionType::Accepted
            && !UNPROVEN.contains(&problem.reason)
            // What a contact does in another flow can break a loop.
            && !(problem.reason == Reason::EndlessLoop && calls(object))
    });
    problems
}

fn calls(object: &Object) -> bool {
    let flow = object.spec.as_ref().and_then(Spec::routing_flow);
    flow.is_some_and(|flow| flow.steps.iter().any(|step| step.call.is_some()))
}

/// A flow that calls this one: then it may end without a last word.
fn caller(object: &Object) -> Option<Object> {
    if object.id.kind != "RoutingFlow" {
        return None;
    }
    let id = ObjectId { kind: object.id.kind, key: Key::new(object.id.key.namespace(), CALLER) };
    let call = json!({"flow": object.id.key.name(), "next": "end", "failed": "end"});
    let spec = json!({"steps": [{"name": "call", "call": call}, {"name": "end", "hangup": {}}]});
    let spec = Spec::read(id.kind, &spec).ok()?;
    Some(Object { id, spec: Some(spec), sound: true, source: Source::live() })
}

/// What the schema of this version has against a spec. The API server has dropped what its own does not know.
fn by_schema(id: &ObjectId, spec: &Value) -> Vec<Problem> {
    let object = json!({"metadata": {"namespace": id.key.namespace(), "name": id.key.name()}, "spec": spec});
    let faults = schema::validate(id.kind, &object).into_iter();
    let faults = faults.filter(|fault| fault.reason != Reason::UnknownField);
    let problem = |fault: schema::Fault| Problem {
        at: Source::live().at(&fault.field),
        severity: Severity::Error,
        reason: fault.reason,
        object: Some(id.clone()),
        field: fault.field,
        message: fault.message,
    };
    faults.map(problem).collect()
}
