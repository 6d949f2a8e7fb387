//! `DoNotCallList`: whom no campaign calls.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{ConfigMapKeyRef, E164, Remote, Status};

/// Whom no campaign calls.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchboard.dev",
    version = "v1alpha1",
    kind = "DoNotCallList",
    doc = "Whom no campaign calls.",
    namespaced,
    status = "Status",
    shortname = "dnc",
    category = "switchboard",
    derive = "PartialEq",
    cel,
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.remote.url"),
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
#[x_kube(validation = Rule::new("(has(self.numbers) ? 1 : 0) + (has(self.remote) ? 1 : 0) + (has(self.configMapRef) ? 1 : 0) == 1")
        .message("spec must have exactly one of numbers, remote and configMapRef"))]
#[serde(rename_all = "camelCase")]
pub struct DoNotCallListSpec {
    /// Numbers, in E.164. At most 10,000; more come by `remote`. Example: `["+12125550143"]`.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 10_000), inner(length(min = 3, max = 16), regex(pattern = E164)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub numbers: Vec<String>,

    /// A file with one number a line. Exactly one of `numbers`, `remote` and `configMapRef` stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Remote>,

    /// The same file out of a ConfigMap of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapKeyRef>,
}
