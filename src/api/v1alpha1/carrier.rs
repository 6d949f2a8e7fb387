//! `Carrier`: a company that carries calls and gives out numbers.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HTTPS_URL, LABEL, LocalRef, NumberKind, SecretKeyRef, Status};

/// A company that carries calls and gives out numbers.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchboard.dev",
    version = "v1alpha1",
    kind = "Carrier",
    doc = "A company that carries calls and gives out numbers.",
    namespaced,
    status = "Status",
    shortname = "carr",
    category = "switchboard",
    derive = "PartialEq",
    cel,
    printcolumn(name = "Company", type_ = "string", json_path = ".spec.company"),
    printcolumn(name = "RespOrg", type_ = "string", json_path = ".spec.respOrgId"),
    printcolumn(name = "Ordering", type_ = "string", json_path = ".spec.ordering.driver"),
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
pub struct CarrierSpec {
    /// Its name, for people. At most 128 characters. Example: `Example Carrier Inc.`.
    #[schemars(length(min = 1, max = 128))]
    pub company: String,

    /// Its PointsOfPresence, of this namespace. At most 64.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pop_refs: Vec<LocalRef>,

    /// What numbers it can deliver, by country. Empty: not said, and nothing is checked by it. At most 250.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["country".into()]))]
    #[schemars(length(max = 250))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub serves: Vec<ServedNumbers>,

    /// Its id as responsible organisation of toll-free numbers: two letters, then three letters or digits. Absent: it
    /// is none. Example: `XYZ01`.
    #[schemars(length(min = 5, max = 5), regex(pattern = RESP_ORG))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resp_org_id: Option<String>,

    /// Namespaces whose NumberOrders it takes. Empty: none but its own. At most 1,000. Example: `[acme]`.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 1_000), inner(length(min = 1, max = 63), regex(pattern = LABEL)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_namespaces: Vec<String>,

    /// How numbers are ordered from it. Absent: not through us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordering: Option<Ordering>,
}

/// An id of a responsible organisation: two letters of the entity, three of its unit.
pub const RESP_ORG: &str = "^[A-Z]{2}[A-Z0-9]{3}$";

/// A country's numbers that a carrier delivers.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServedNumbers {
    /// ISO 3166-1 code, two capital letters. Unique in the list. Example: `US`.
    #[schemars(length(min = 2, max = 2), regex(pattern = r"^[A-Z]{2}$"))]
    pub country: String,

    /// Kinds of numbers. 1 to 4. Example: `[TollFree, Local]`.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(min = 1, max = 4))]
    pub kinds: Vec<NumberKind>,
}

/// How numbers are ordered from a carrier.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("(self.driver == 'Http') == has(self.url)")
        .message("url must stand where driver is Http, and only there").field_path(".url"))]
#[serde(rename_all = "camelCase")]
pub struct Ordering {
    /// Who talks to the carrier. Example: `Manual`.
    pub driver: OrderingDriver,

    /// Where orders are sent; only with `Http`, and then it must stand. At most 1,024 characters. Example:
    /// `https://orders.example.net/v1`.
    #[schemars(length(min = 9, max = 1024), regex(pattern = HTTPS_URL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,

    /// The token that orders are sent with. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
}

/// Who talks to the carrier about numbers.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OrderingDriver {
    /// People, who then write PhoneNumbers.
    Manual,
    /// We, by its HTTP interface.
    Http,
}
