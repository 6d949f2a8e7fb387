//! The objects of a folder, typed and with the place that each field stands at.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, LazyLock},
};

use api::v1alpha1 as v1;
use model::Key;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    problem::{ConditionType, Location, ObjectId, Problem, Reason, Severity},
    yaml::{Entries, Node, NodeKind, Position},
};

/// The kind that there are most objects of.
pub(crate) const NUMBER: &str = "PhoneNumber";

/// Everything that a folder holds: our objects, others' objects, and files beside them.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    /// Ours but PhoneNumbers, by kind, those that are wrong by themselves included.
    pub(crate) objects: BTreeMap<&'static str, BTreeMap<Key, Object>>,
    /// PhoneNumbers, likewise: there may be a hundred thousand, and what changes is mostly one of them.
    pub(crate) numbers: BTreeMap<Key, Object>,
    /// Objects of kinds that are not ours, such as `Namespace` and `Secret`.
    pub foreign: Vec<Foreign>,
    /// Files that are no manifests, by the path they were given with.
    pub(crate) files: BTreeMap<String, Arc<[u8]>>,
    /// Files in which something could not be read at all, so that an object may be missing by mistake.
    pub(crate) incomplete: BTreeSet<Arc<str>>,
    /// What the loader found.
    pub(crate) problems: Vec<Problem>,
}

impl Resources {
    /// Kind, namespace and name of each of our objects.
    pub fn ids(&self) -> impl Iterator<Item = &ObjectId> {
        self.all().map(|object| &object.id)
    }

    /// Each of our objects.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Object> {
        self.others().chain(self.numbers.values())
    }

    /// Each of our objects but PhoneNumbers.
    pub(crate) fn others(&self) -> impl Iterator<Item = &Object> {
        self.objects.values().flat_map(BTreeMap::values)
    }

    /// The objects of a kind.
    pub(crate) fn of(&self, kind: &str) -> impl Iterator<Item = &Object> {
        self.objects.get(kind).into_iter().flat_map(BTreeMap::values)
    }

    pub(crate) fn find(&self, id: &ObjectId) -> Option<&Object> {
        if id.kind == NUMBER { self.numbers.get(&id.key) } else { self.objects.get(id.kind)?.get(&id.key) }
    }

    pub(crate) fn contains(&self, id: &ObjectId) -> bool {
        self.find(id).is_some()
    }

    /// Puts an object in the place of the one that had its name, and gives that back.
    pub(crate) fn put(&mut self, object: Object) -> Option<Object> {
        let key = object.id.key.clone();
        self.kind(object.id.kind).insert(key, object)
    }

    /// Takes an object away.
    pub(crate) fn take(&mut self, id: &ObjectId) -> Option<Object> {
        self.kind(id.kind).remove(&id.key)
    }

    fn kind(&mut self, kind: &'static str) -> &mut BTreeMap<Key, Object> {
        if kind == NUMBER { &mut self.numbers } else { self.objects.entry(kind).or_default() }
    }

    /// All but the PhoneNumbers.
    pub(crate) fn without_numbers(&self) -> Self {
        Self {
            objects: self.objects.clone(),
            numbers: BTreeMap::new(),
            foreign: self.foreign.clone(),
            files: self.files.clone(),
            incomplete: self.incomplete.clone(),
            problems: Vec::new(),
        }
    }

    /// Kind, name and file of each object that stands in one.
    pub(crate) fn stand(&self) -> Vec<(String, Key, Arc<str>)> {
        let standing = self.all().filter(|object| !object.source.is_live());
        let mut files: Vec<_> = standing
            .map(|object| (object.id.kind.to_owned(), object.id.key.clone(), Arc::clone(&object.source.file)))
            .collect();
        files.sort();
        files
    }
}

/// An object of a kind of ours.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub id: ObjectId,
    /// None where it cannot even be read.
    pub spec: Option<Spec>,
    /// Whether its schema and rules have nothing against it. If not, it is looked at only to tell what else is wrong.
    pub sound: bool,
    pub source: Source,
}

impl Object {
    /// Whether both stand at one place and say the same.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.source.root, &other.source.root)
            && self.sound == other.sound
            && self.spec == other.spec
    }
}

/// An object of a kind that is not ours.
#[derive(Clone)]
pub struct Foreign {
    /// Such as `v1`.
    pub api_version: String,
    /// Such as `Secret`.
    pub kind: String,
    /// Namespace and name.
    pub key: Key,
    /// All of it. A Secret's values are in here: never print it.
    pub object: Value,
}

impl Foreign {
    /// Whether it is a ConfigMap.
    pub(crate) fn is_config_map(&self) -> bool {
        self.kind == "ConfigMap" && self.api_version == "v1"
    }

    /// What a planner looks at: the labels of a Secret, and the names of its keys; of a ConfigMap the data that is no text. None:
    /// it is neither.
    pub(crate) fn without_values(self) -> Option<Self> {
        if self.is_config_map() {
            let object = json!({"binaryData": self.object.get("binaryData")});
            return Some(Self { object, ..self });
        }
        let Self { api_version, kind, key, object } = self;
        let keys: serde_json::Map<String, Value> = ["data", "stringData"]
            .iter()
            .filter_map(|data| object.get(data)?.as_object())
            .flat_map(|data| data.keys().map(|name| (name.clone(), Value::Null)))
            .collect();
        let labels = object.pointer("/metadata/labels").cloned().unwrap_or_default();
        let object = json!({"metadata": {"labels": labels}, "data": keys});
        (kind == "Secret").then_some(Self { api_version, kind, key, object })
    }
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} [redacted]", self.api_version, self.kind, self.key)
    }
}

/// Where an object stands.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub file: Arc<str>,
    pub root: Arc<Node>,
}

/// Stands for all objects that stand in no file.
static LIVE: LazyLock<Source> = LazyLock::new(|| {
    let root = Node { at: Position::default(), kind: NodeKind::Mapping(Entries::default()) };
    Source { file: "cluster".into(), root: Arc::new(root) }
});

impl Source {
    /// Of objects that stand in no file: their problems tell object and field.
    pub fn live() -> Self {
        LIVE.clone()
    }

    /// Whether the object stands in no file.
    pub fn is_live(&self) -> bool {
        Arc::ptr_eq(&self.root, &LIVE.root)
    }

    /// The value at a path.
    pub fn at(&self, path: &str) -> Location {
        self.location(self.root.locate(path))
    }

    /// The key at a path.
    pub fn at_key(&self, path: &str) -> Location {
        self.location(self.root.locate_key(path))
    }

    /// A place in the same file.
    pub fn location(&self, at: Position) -> Location {
        location(&self.file, at)
    }

    /// The folder of the file, with a `/` at its end; empty for the root.
    pub fn folder(&self) -> &str {
        self.file.rfind('/').map_or("", |slash| &self.file[..=slash])
    }
}

pub(crate) fn location(file: &Arc<str>, at: Position) -> Location {
    Location { file: Arc::clone(file), line: at.line.max(1), column: at.column.max(1) }
}

/// What an object says, by its kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Spec {
    VoiceCluster(Arc<v1::VoiceClusterSpec>),
    Tenant(Arc<v1::TenantSpec>),
    Trunk(Arc<v1::TrunkSpec>),
    PhoneNumber(Arc<v1::PhoneNumberSpec>),
    Allowlist(Arc<v1::AllowlistSpec>),
    RoutingFlow(Arc<v1::RoutingFlowSpec>),
    Prompt(Arc<v1::PromptSpec>),
    BusinessHours(Arc<v1::BusinessHoursSpec>),
    PointOfPresence(Arc<v1::PointOfPresenceSpec>),
    Carrier(Arc<v1::CarrierSpec>),
    NumberOrder(Arc<v1::NumberOrderSpec>),
    VoicemailBox(Arc<v1::VoicemailBoxSpec>),
    Integration(Arc<v1::IntegrationSpec>),
    Queue(Arc<v1::QueueSpec>),
    Agent(Arc<v1::AgentSpec>),
    Campaign(Arc<v1::CampaignSpec>),
    ContactList(Arc<v1::ContactListSpec>),
    DoNotCallList(Arc<v1::DoNotCallListSpec>),
    ContactPoint(Arc<v1::ContactPointSpec>),
    CallTest(Arc<v1::CallTestSpec>),
}

impl Spec {
    /// Reads the `spec` of an object that its schema has accepted.
    pub fn read(kind: &str, spec: &Value) -> Result<Self, String> {
        match kind {
            "VoiceCluster" => read(spec).map(Self::VoiceCluster),
            "Tenant" => read(spec).map(Self::Tenant),
            "Trunk" => read(spec).map(Self::Trunk),
            "PhoneNumber" => read(spec).map(Self::PhoneNumber),
            "Allowlist" => read(spec).map(Self::Allowlist),
            "RoutingFlow" => read(spec).map(Self::RoutingFlow),
            "Prompt" => read(spec).map(Self::Prompt),
            "BusinessHours" => read(spec).map(Self::BusinessHours),
            "PointOfPresence" => read(spec).map(Self::PointOfPresence),
            "Carrier" => read(spec).map(Self::Carrier),
            "NumberOrder" => read(spec).map(Self::NumberOrder),
            "VoicemailBox" => read(spec).map(Self::VoicemailBox),
            "Integration" => read(spec).map(Self::Integration),
            "Queue" => read(spec).map(Self::Queue),
            "Agent" => read(spec).map(Self::Agent),
            "Campaign" => read(spec).map(Self::Campaign),
            "ContactList" => read(spec).map(Self::ContactList),
            "DoNotCallList" => read(spec).map(Self::DoNotCallList),
            "ContactPoint" => read(spec).map(Self::ContactPoint),
            "CallTest" => read(spec).map(Self::CallTest),
            _ => Err(format!("`{kind}` is not a kind of ours.")),
        }
    }
}

impl Spec {
    /// As it would stand in a manifest, defaults included.
    pub fn to_json(&self) -> Value {
        let json = match self {
            Self::VoiceCluster(spec) => serde_json::to_value(spec),
            Self::Tenant(spec) => serde_json::to_value(spec),
            Self::Trunk(spec) => serde_json::to_value(spec),
            Self::PhoneNumber(spec) => serde_json::to_value(spec),
            Self::Allowlist(spec) => serde_json::to_value(spec),
            Self::RoutingFlow(spec) => serde_json::to_value(spec),
            Self::Prompt(spec) => serde_json::to_value(spec),
            Self::BusinessHours(spec) => serde_json::to_value(spec),
            Self::PointOfPresence(spec) => serde_json::to_value(spec),
            Self::Carrier(spec) => serde_json::to_value(spec),
            Self::NumberOrder(spec) => serde_json::to_value(spec),
            Self::VoicemailBox(spec) => serde_json::to_value(spec),
            Self::Integration(spec) => serde_json::to_value(spec),
            Self::Queue(spec) => serde_json::to_value(spec),
            Self::Agent(spec) => serde_json::to_value(spec),
            Self::Campaign(spec) => serde_json::to_value(spec),
            Self::ContactList(spec) => serde_json::to_value(spec),
            Self::DoNotCallList(spec) => serde_json::to_value(spec),
            Self::ContactPoint(spec) => serde_json::to_value(spec),
            Self::CallTest(spec) => serde_json::to_value(spec),
        };
        // Specs have no maps with keys other than text, so there is nothing that could fail.
        json.unwrap_or_default()
    }
}

macro_rules! pick {
    ($($name:ident $kind:ident $spec:ident)*) => {
        impl Spec {$(
            /// The spec, if it is of this kind.
            pub const fn $name(&self) -> Option<&Arc<v1::$spec>> {
                if let Self::$kind(spec) = self { Some(spec) } else { None }
            }
        )*}
    };
}

pick! {
    voice_cluster VoiceCluster VoiceClusterSpec
    tenant Tenant TenantSpec
    trunk Trunk TrunkSpec
    phone_number PhoneNumber PhoneNumberSpec
    allowlist Allowlist AllowlistSpec
    routing_flow RoutingFlow RoutingFlowSpec
    prompt Prompt PromptSpec
    business_hours BusinessHours BusinessHoursSpec
    carrier Carrier CarrierSpec
    point_of_presence PointOfPresence PointOfPresenceSpec
    agent Agent AgentSpec
}

fn read<T: DeserializeOwned>(spec: &Value) -> Result<Arc<T>, String> {
    T::deserialize(spec).map(Arc::new).map_err(|error| format!("The object cannot be read: {error}."))
}

/// Collects problems of one object after another.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub problems: Vec<Problem>,
    objections: BTreeSet<ConditionType>,
}

impl Report {
    /// Turns to the next object.
    pub fn begin(&mut self) {
        self.objections.clear();
    }

    /// Whether an error of this condition was reported since the last `begin`.
    pub fn objected(&self, condition: ConditionType) -> bool {
        self.objections.contains(&condition)
    }

    /// An object refers to one that is wrong and was told of: this one cannot be used, and there is nothing to add.
    pub fn unresolved(&mut self) {
        self.objections.insert(ConditionType::ResolvedRefs);
    }

    /// An error at the value of a field.
    pub fn error(
        &mut self,
        id: &ObjectId,
        source: Option<&Source>,
        field: &str,
        reason: Reason,
        message: impl Into<String>,
    ) {
        self.add(Severity::Error, id, source, field, reason, message.into());
    }

    /// A warning at the value of a field.
    pub fn warning(
        &mut self,
        id: &ObjectId,
        source: Option<&Source>,
        field: &str,
        reason: Reason,
        message: impl Into<String>,
    ) {
        self.add(Severity::Warning, id, source, field, reason, message.into());
    }

    /// An error that does not keep the object from being used.
    pub fn tolerated(
        &mut self,
        id: &ObjectId,
        source: Option<&Source>,
        field: &str,
        reason: Reason,
        message: impl Into<String>,
    ) {
        let objections = self.objections.clone();
        self.add(Severity::Error, id, source, field, reason, message.into());
        self.objections = objections;
    }

    /// A form that was kept from before has no place in a file: what is wrong with it was said of the form before.
    fn add(
        &mut self,
        severity: Severity,
        id: &ObjectId,
        source: Option<&Source>,
        field: &str,
        reason: Reason,
        message: String,
    ) {
        if severity == Severity::Error {
            self.objections.insert(reason.condition());
        }
        let Some(source) = source else {
            return;
        };
        self.problems.push(Problem {
            at: source.at(field),
            severity,
            reason,
            object: Some(id.clone()),
            field: field.to_owned(),
            message,
        });
    }
}
