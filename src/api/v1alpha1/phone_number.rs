//! `PhoneNumber`: a telephone number, or a range of them, and where its calls go.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{E164, LocalRef, NumberRange, ObjectRef, Status};

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
#[x_kube(validation = Rule::new("has(self.number) != has(self.range)")
    .message("spec must have exactly one of number and range"))]
#[serde(rename_all = "camelCase")]
pub struct PhoneNumberSpec {
    /// One number, in E.164. Example: `"+18005550100"`, in quotes, or YAML makes it an integer.
    #[schemars(length(min = 3, max = 16), regex(pattern = E164))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,

    /// Numbers that follow one another. Exactly one of `number` and `range` stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<NumberRange>,

    /// What kind of number it is.
    pub kind: NumberKind,

    /// How we came by it.
    pub origin: NumberOrigin,

    /// The trunk that delivers its calls; it must grant the number to this namespace, or be of this namespace.
    pub trunk_ref: ObjectRef,

    /// The RoutingFlow of this namespace that its calls follow.
    pub flow_ref: LocalRef,

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
}
