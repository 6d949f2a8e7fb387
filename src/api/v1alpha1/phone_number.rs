//! `PhoneNumber`: a telephone number, or a range of them, and where its calls go.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Channel, ConfigMapKeyRef, DATE, E164, LocalRef, Location, NumberRange, ObjectRef, RESP_ORG, Status,
};

/// A telephone number, or a range of them, and the flow that its calls follow.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchboard.dev",
    version = "v1alpha1",
    kind = "PhoneNumber",
    doc = "A telephone number, or a range of them, and the flow that its calls follow.",
    namespaced,
    status = "Status",
    shortname = "num",
    category = "switchboard",
    derive = "PartialEq",
    cel,
    printcolumn(name = "Number", type_ = "string", json_path = ".spec.number"),
    printcolumn(name = "Range", type_ = "string", json_path = ".spec.range.first"),
    printcolumn(name = "Flow", type_ = "string", json_path = ".spec.flowRef.name"),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Programmed')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = Rule::new("has(self.number) != has(self.range)")
        .message("spec must have exactly one of number and range"),
    validation = Rule::new("!has(self.respOrg) || self.origin == 'RespOrg'")
        .message("respOrg may stand only where origin is RespOrg").field_path(".respOrg"),
    validation = Rule::new("!has(self.porting) || self.origin == 'Ported'")
        .message("porting may stand only where origin is Ported").field_path(".porting"),
    validation = Rule::new("!has(self.forwarding) || self.origin == 'RemoteCallForwarding'")
        .message("forwarding may stand only where origin is RemoteCallForwarding").field_path(".forwarding"),
)]
#[serde(rename_all = "camelCase")]
pub struct PhoneNumberSpec {
    /// One number, in E.164. Example: `"+18005550100"`, in quotes, or YAML makes it an integer.
    #[schemars(length(min = 3, max = 16), regex(pattern = E164))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,

    /// Numbers that follow one another. Exactly one of `number` and `range` stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<Box<NumberRange>>,

    /// What kind of number it is.
    pub kind: NumberKind,

    /// How we came by it.
    pub origin: NumberOrigin,

    /// The trunk that delivers its calls; it must grant the number to this namespace, or be of this namespace.
    pub trunk_ref: ObjectRef,

    /// The RoutingFlow of this namespace that its calls follow.
    pub flow_ref: LocalRef,

    /// Who is its responsible organisation, and by which order it came. Only where `origin` is `RespOrg`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resp_org: Option<Box<RespOrg>>,

    /// How far its porting is. Only where `origin` is `Ported`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub porting: Option<Box<Porting>>,

    /// Who forwards it. Only where `origin` is `RemoteCallForwarding`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarding: Option<Box<Forwarding>>,

    /// Flows of other channels than voice. At most 4.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["channel".into()]))]
    #[schemars(length(max = 4))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<ChannelFlow>,

    /// The place of callbacks of emergency services. Absent: the stations' alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency_location: Option<Box<Location>>,

    /// Bounds. Absent: the trunk's and the cluster's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<NumberLimits>,
}

/// What kind a number is.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NumberKind {
    /// Free for the caller.
    TollFree,
    /// Of a place.
    Local,
    /// Of a country, not of a place.
    National,
    /// Of a mobile network.
    Mobile,
}

/// How we came by a number.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NumberOrigin {
    /// Ours as responsible organisation of toll-free numbers.
    RespOrg,
    /// Ported to our carrier.
    Ported,
    /// Forwarded to us by the carrier that keeps it.
    RemoteCallForwarding,
    /// Rented from the carrier.
    Carrier,
    /// Behind the tenant's own PBX.
    Pbx,
}

/// Bounds of a number.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NumberLimits {
    /// Calls at once, a range's together; one more is answered 480. 1 to 100,000. Example: `20`.
    #[schemars(range(min = 1, max = 100_000))]
    pub calls: i32,

    /// New calls a second, a range's together; one more is answered 480. 1 to 10,000; absent: no bound of its own. Example:
    /// `5`.
    #[schemars(range(min = 1, max = 10_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls_per_second: Option<i32>,
}

/// A toll-free number's responsible organisation.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RespOrg {
    /// Its id: two letters, then three letters or digits. Example: `XYZ01`.
    #[schemars(length(min = 5, max = 5), regex(pattern = RESP_ORG))]
    pub id: String,

    /// The NumberOrder of this namespace that it came by. Absent: it was there before us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_ref: Option<LocalRef>,
}

/// The work-flow of porting a number to our carrier.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("!has(self.requestedOn) || !has(self.portsOn) || self.requestedOn <= self.portsOn")
        .message("portsOn must not come before requestedOn").field_path(".portsOn"))]
#[serde(rename_all = "camelCase")]
pub struct Porting {
    /// The company that loses it. At most 128 characters. Example: `Former Carrier Inc.`.
    #[schemars(length(min = 1, max = 128))]
    pub from_carrier: String,

    /// The day that the order was placed. Absent: not yet. Example: `"2026-05-01"`.
    #[schemars(length(min = 10, max = 10), regex(pattern = DATE))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_on: Option<String>,

    /// The day that the losing company agreed to. Absent: not yet. Example: `"2026-05-10"`.
    #[schemars(length(min = 10, max = 10), regex(pattern = DATE))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_on: Option<String>,

    /// The day that calls come to us. Absent: not agreed. Example: `"2026-06-01"`.
    #[schemars(length(min = 10, max = 10), regex(pattern = DATE))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports_on: Option<String>,

    /// The letter of authorisation, in a ConfigMap of this namespace. Absent: kept elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letter_ref: Option<ConfigMapKeyRef>,
}

/// Who forwards a number to us.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("!has(self.since) || !has(self.until) || self.since <= self.until")
        .message("until must not come before since").field_path(".until"))]
#[serde(rename_all = "camelCase")]
pub struct Forwarding {
    /// The company that keeps it. At most 128 characters. Example: `Local Carrier Inc.`.
    #[schemars(length(min = 1, max = 128))]
    pub carrier: String,

    /// The number it is forwarded from, in E.164, which callers dial: a call of the trunk that was first diverted by it
    /// (Diversion, History-Info) is this number's, and shows it as the one that was called. Example: `"+12125550144"`.
    #[schemars(length(min = 3, max = 16), regex(pattern = E164))]
    pub number: String,

    /// The first day. Absent: unknown. Example: `"2026-05-01"`.
    #[schemars(length(min = 10, max = 10), regex(pattern = DATE))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,

    /// The last day. Absent: without end. Example: `"2027-05-01"`.
    #[schemars(length(min = 10, max = 10), regex(pattern = DATE))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// The flow of a channel.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.channel != 'Voice'")
        .message("channel must not be Voice: its flow is flowRef").field_path(".channel"))]
#[serde(rename_all = "camelCase")]
pub struct ChannelFlow {
    /// The channel; not `Voice`, whose flow is `flowRef`. Unique in the list. Example: `Sms`.
    pub channel: Channel,

    /// A RoutingFlow of this namespace.
    pub flow_ref: LocalRef,
}
