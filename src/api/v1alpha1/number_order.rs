//! `NumberOrder`: a wish for more numbers.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{DATE, LocalRef, NumberKind, ObjectRef, Status};

/// A wish for more numbers, which the carrier fulfils.
///
/// Toll-free numbers of which we are the responsible organisation come in this way only.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchboard.dev",
    version = "v1alpha1",
    kind = "NumberOrder",
    doc = "A wish for more numbers, which the carrier fulfils.",
    namespaced,
    status = "Status",
    shortname = "order",
    category = "switchboard",
    derive = "PartialEq",
    cel,
    printcolumn(name = "Carrier", type_ = "string", json_path = ".spec.carrierRef.name"),
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.kind"),
    printcolumn(name = "Count", type_ = "integer", json_path = ".spec.count"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct NumberOrderSpec {
    /// The Carrier to order from; it must list this namespace in `allowedNamespaces`. Must not change: an order
    /// elsewhere is a new NumberOrder.
    #[x_kube(validation = Rule::new("self == oldSelf").message("carrierRef must not change: create a new NumberOrder"))]
    pub carrier_ref: ObjectRef,

    /// What kind of numbers. Example: `TollFree`.
    pub kind: NumberKind,

    /// ISO 3166-1 code of the numbers' country, two capital letters. Example: `US`.
    #[schemars(length(min = 2, max = 2), regex(pattern = r"^[A-Z]{2}$"))]
    pub country: String,

    /// What the numbers must begin with, in E.164. Absent: anything. At most 11 digits. Example: `"+1212"`.
    #[schemars(length(min = 2, max = 12), regex(pattern = PREFIX))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,

    /// How many. 1 to 1,000. Example: `10`.
    #[schemars(range(min = 1, max = 1_000))]
    pub count: i32,

    /// Whether they must follow one another. Absent: no.
    #[serde(default)]
    pub consecutive: bool,

    /// The trunk that is to deliver them. Absent: the carrier chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk_ref: Option<ObjectRef>,

    /// The RoutingFlow of this namespace that their calls are to follow. Absent: PhoneNumbers are written by people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_ref: Option<LocalRef>,

    /// The day they are needed by. Absent: as soon as can be. Example: `"2026-09-01"`.
    #[schemars(length(min = 10, max = 10), regex(pattern = DATE))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed_by: Option<String>,
}

/// The beginning of telephone numbers (ITU-T E.164).
pub const PREFIX: &str = r"^\+[1-9][0-9]{0,10}$";
