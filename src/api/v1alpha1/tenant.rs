//! `Tenant`: a customer, which is a namespace.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{E164, LANGUAGE, ObjectRef, Status};

/// A customer. The namespace is the tenant; this object says which VoiceCluster serves it and what holds for all of it.
///
/// One per namespace; its name is up to you.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchboard.dev",
    version = "v1alpha1",
    kind = "Tenant",
    doc = "A customer. The namespace is the tenant; this object says what holds for all of it.",
    namespaced,
    status = "Status",
    shortname = "ten",
    category = "switchboard",
    derive = "PartialEq",
    cel,
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Country", type_ = "string", json_path = ".spec.country"),
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
#[serde(rename_all = "camelCase")]
pub struct TenantSpec {
    /// The VoiceCluster that serves this tenant; it must list the namespace in `allowedNamespaces`.
    pub cluster_ref: ObjectRef,

    /// ISO 3166-1 code of the tenant's country, two capital letters. Example: `US`.
    #[schemars(length(min = 2, max = 2), regex(pattern = r"^[A-Z]{2}$"))]
    pub country: String,

    /// IANA time zone in which the tenant's hours are meant where a BusinessHours names none. At most 64 characters.
    /// Example: `America/New_York`.
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,

    /// Languages that the tenant's contacts are spoken to in, the usual one first. Absent: `[en-US]`. 1 to 16.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(min = 1, max = 16), inner(length(min = 2, max = 16), regex(pattern = LANGUAGE)))]
    #[serde(default = "default_languages")]
    pub languages: Vec<String>,

    /// Number that callees of a `dial` see where the step says none. It must be granted to this namespace by a trunk.
    /// Absent: such calls go out without one. Example: `"+12125550100"`.
    #[schemars(length(min = 3, max = 16), regex(pattern = E164))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_caller_id: Option<String>,

    /// Trunks that telephone numbers are dialled by, tried in this order. A trunk of another namespace must grant this
    /// one some numbers. Empty: flows cannot dial telephone numbers. At most 8.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(max = 8))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outbound_trunks: Vec<ObjectRef>,
}

fn default_languages() -> Vec<String> {
    vec!["en-US".to_owned()]
}
