//! `ContactList`: whom a campaign calls.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{ConfigMapKeyRef, E164, Remote, Status};

/// Whom a campaign calls.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchboard.dev",
    version = "v1alpha1",
    kind = "ContactList",
    doc = "Whom a campaign calls.",
    namespaced,
    status = "Status",
    shortname = "clist",
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
#[x_kube(validation = Rule::new("(has(self.contacts) ? 1 : 0) + (has(self.remote) ? 1 : 0) + (has(self.configMapRef) ? 1 : 0) == 1")
        .message("spec must have exactly one of contacts, remote and configMapRef"))]
#[serde(rename_all = "camelCase")]
pub struct ContactListSpec {
    /// Contacts. At most 1,000; more come by `remote`.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["number".into()]))]
    #[schemars(length(max = 1_000))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<ListedContact>,

    /// A file (CSV with the columns `number`, `name`, `timeZone`). Exactly one of `contacts`, `remote` and
    /// `configMapRef` stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Remote>,

    /// The same file out of a ConfigMap of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapKeyRef>,

    /// IANA time zone of contacts that name none. Absent: the Tenant's. At most 64 characters. Example:
    /// `America/Chicago`.
    #[schemars(length(min = 1, max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// Somebody to call.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedContact {
    /// In E.164. Unique in the list. Example: `"+12125550142"`.
    #[schemars(length(min = 3, max = 16), regex(pattern = E164))]
    pub number: String,

    /// Name, for the agent. At most 128 characters. Example: `Grace Chen`.
    #[schemars(length(min = 1, max = 128))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,

    /// IANA time zone in which the contact may be called. Absent: the list's. At most 64 characters. Example:
    /// `America/Denver`.
    #[schemars(length(min = 1, max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}
