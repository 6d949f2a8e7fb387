//! What is wrong with a folder of manifests, as people, editors and alerts read it.

use std::{fmt, sync::Arc};

use model::Key;
use serde::Serialize;

/// One thing that is wrong, where it stands and what would be right.
///
/// Printed `file:line:column: error[Reason]: message`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Where it stands.
    #[serde(flatten)]
    pub at: Location,
    /// Whether the object can be used as it is.
    pub severity: Severity,
    /// Out of a closed list.
    pub reason: Reason,
    /// The object, where one can be told.
    pub object: Option<ObjectId>,
    /// Path of the field in the object, such as `spec.steps[2].ask.noInput`; empty for the object or file itself.
    pub field: String,
    /// A sentence that says what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, severity, reason, message, .. } = self;
        write!(f, "{at}: {severity}[{reason}]: {message}")
    }
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Location {
    /// As it was given to the loader.
    pub file: Arc<str>,
    /// From 1 up.
    pub line: u32,
    /// In characters, from 1 up.
    pub column: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// The object does not do what it says.
    Error,
    /// It does, and that may not be what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// Kind, namespace and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ObjectId {
    /// Such as `Trunk`.
    pub kind: &'static str,
    /// Namespace and name.
    pub key: Key,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.key)
    }
}

/// The condition that a reason shows in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    /// The object itself is right; else its last good form stays live.
    Accepted,
    /// All it refers to exists and admits it.
    ResolvedRefs,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $condition:ident)*) => {
        /// Why. Closed: people write alerts on these words.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// As it is printed.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The condition that it shows in.
            #[must_use]
            pub const fn condition(self) -> ConditionType {
                match self { $(Self::$name => ConditionType::$condition,)* }
            }
        }
    };
}

reasons! {
    /// The file is not UTF-8, or larger than it may be.
    UnreadableFile Accepted
    /// The text is not YAML.
    InvalidYaml Accepted
    /// A mapping has a key twice.
    DuplicateKey Accepted
    /// The document is no object of a kind we know.
    UnknownKind Accepted
    /// A folder that Kustomize makes manifests of: what stands in it is not what is applied.
    NotRendered Accepted
    /// A version of ours that does not exist.
    UnknownVersion Accepted
    /// Two objects of one kind and name.
    DuplicateObject Accepted
    /// A field that the kind does not have.
    UnknownField Accepted
    /// A field that must stand is absent.
    MissingField Accepted
    /// A value of the wrong type.
    WrongType Accepted
    /// A value out of its bounds, not of the enumeration, not of the pattern, or against a rule of the schema.
    InvalidValue Accepted
    /// A list that may hold an entry once has it twice.
    DuplicateEntry Accepted
    /// A listener or trunk names a network that its cluster does not have.
    UnknownNetwork Accepted
    /// A country whose prefixes this version does not know, or that has no telephone numbers.
    UnknownCountry Accepted
    /// Two listeners, or a listener and the RTP range, bind one port of one address.
    PortClash Accepted
    /// Two trunks of one network admit the same source.
    SourceOverlap Accepted
    /// A trunk that calls come in by admits nobody.
    NoSources Accepted
    /// A range of an Allowlist is not valid any more.
    ExpiredRange Accepted
    /// A range of an Allowlist ends within 30 days.
    ExpiringRange Accepted
    /// A trunk says `ucaasPartner` and its cluster does not.
    UcaasPartnerNotGranted ResolvedRefs
    /// A number on a trunk whose calls are refused, because they are Voip and no UCaaS partner's.
    VoipNotAdmitted ResolvedRefs
    /// A number on a trunk that no calls come in by, or a callee on one that none leave by.
    WrongDirection ResolvedRefs
    /// No such VoiceCluster.
    ClusterNotFound ResolvedRefs
    /// No Tenant in the namespace.
    TenantNotFound ResolvedRefs
    /// A second Tenant in one namespace.
    DuplicateTenant Accepted
    /// No such Trunk.
    TrunkNotFound ResolvedRefs
    /// No such RoutingFlow, or none that can be used.
    FlowNotFound ResolvedRefs
    /// No such Prompt, or none that can be used.
    PromptNotFound ResolvedRefs
    /// No such BusinessHours, or none that can be used.
    HoursNotFound ResolvedRefs
    /// No such Allowlist.
    AllowlistNotFound ResolvedRefs
    /// The object referred to does not admit this namespace.
    NotPermitted ResolvedRefs
    /// The trunk does not grant the number to the namespace.
    NumberNotGranted ResolvedRefs
    /// Two PhoneNumbers claim one number of one trunk.
    NumberTaken Accepted
    /// A caller id that no outbound trunk grants to the namespace.
    CallerIdNotGranted ResolvedRefs
    /// A `dial` of a telephone number by a tenant without outbound trunks.
    NoOutboundTrunk ResolvedRefs
    /// A flow of a tenant without a recorder has calls recorded by it.
    NoRecorder ResolvedRefs
    /// A flow writes to callers, and its tenant has no point of contact that SMS are sent by.
    NoSmsService ResolvedRefs
    /// Two steps of one name.
    DuplicateStep Accepted
    /// No step of that name in the flow.
    UnknownStep Accepted
    /// A step that no call can reach.
    UnreachableStep Accepted
    /// A step after which nothing follows.
    DeadEnd Accepted
    /// A failure that neither the step nor `onError` handles.
    UnhandledFailure Accepted
    /// A loop in which the contact does nothing.
    EndlessLoop Accepted
    /// Flows that call each other in a circle.
    FlowRecursion Accepted
    /// Flows that call each other deeper than a call can follow.
    FlowsTooDeep Accepted
    /// The keys of one choice begin another's, or two choices have one phrase.
    AmbiguousChoice Accepted
    /// A variable that the flow does not declare.
    UnknownVariable Accepted
    /// A variable, or its value, of the wrong kind.
    WrongKind Accepted
    /// An expression that cannot be compiled.
    InvalidExpression Accepted
    /// No such file beside the manifest.
    FileNotFound ResolvedRefs
    /// A file that is not the audio it should be.
    InvalidAudio Accepted
    /// No such time zone.
    UnknownTimeZone Accepted
    /// Intervals of one day overlap.
    HoursOverlap Accepted
    /// A day that the calendar does not have.
    InvalidDate Accepted
    /// A field, or a whole object, that is accepted although nothing acts on it yet.
    NotYetEffective Accepted
    /// No such Carrier.
    CarrierNotFound ResolvedRefs
    /// No such PointOfPresence.
    PointOfPresenceNotFound ResolvedRefs
    /// No such NumberOrder.
    OrderNotFound ResolvedRefs
    /// No such PhoneNumber.
    NumberNotFound ResolvedRefs
    /// No such Queue.
    QueueNotFound ResolvedRefs
    /// No such Agent.
    AgentNotFound ResolvedRefs
    /// No such VoicemailBox.
    BoxNotFound ResolvedRefs
    /// No such Integration.
    IntegrationNotFound ResolvedRefs
    /// No such ContactList or DoNotCallList.
    ListNotFound ResolvedRefs
    /// No such Secret in the folder.
    SecretNotFound ResolvedRefs
    /// A Secret without the label that lets objects refer to it.
    SecretNotReleased ResolvedRefs
    /// A Secret without the key that is asked for.
    SecretKeyNotFound ResolvedRefs
    /// A secret that stands where everybody can read it.
    SecretInline Accepted
    /// A host inside the platform's own networks.
    ForbiddenDestination Accepted
    /// A listener under TLS without a certificate.
    CertificateMissing Accepted
    /// A trunk whose calls no listener of its cluster can send, or take with the certificate that they must show.
    NoListener Accepted
    /// A trunk or Integration and its cluster have no suite of TLS in common.
    NoCommonSuite Accepted
    /// A trunk none of whose codecs can be decoded.
    NoUsableCodec Accepted
    /// A trunk's peer and its cluster's pods would wait for each other's audio.
    MediaCannotFlow Accepted
    /// A carrier that has no such numbers.
    NumberNotServed ResolvedRefs
    /// A number of another responsible organisation than the carrier's.
    BoughtElsewhere Accepted
    /// A toll-free number that is treated as one of a place.
    TollFreeAsLocal Accepted
    /// Agents whose tenant has no trunk for emergency calls.
    NoEmergencyTrunk Accepted
    /// A station without a place that help could be sent to.
    NoEmergencyLocation Accepted
    /// Digits that must not be kept and are not masked.
    CardDigitsNotSecret Accepted
    /// A skill that the Tenant does not declare.
    UnknownSkill Accepted
    /// A language that the Tenant does not declare.
    UnknownLanguage Accepted
    /// A prompt that has translations, but not into each of the Tenant's languages.
    LanguageMissing Accepted
    /// A flow of chats or messages with a step that needs a voice.
    VoiceVerbWithoutVoice Accepted
    /// A skill that no agent has.
    SkillNobodyHas Accepted
    /// A queue that no agent can serve.
    NobodyServes Accepted
    /// An agent who takes calls and has no station.
    NoStation Accepted
    /// An agent who can take nothing.
    NoCapacity Accepted
    /// An agent who signs in in a way that the tenant does not have.
    CannotSignIn Accepted
    /// A subject of the tenant's provider that another agent is already.
    SubjectTaken Accepted
    /// A predictive campaign without a bound of abandoned contacts.
    NoAbandonCap Accepted
    /// A campaign that never may dial.
    NoCallingHours Accepted
    /// A campaign that may dial when people must not be called.
    OutsideCallingHours Accepted
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
