//! Verbs that decide where the contact goes: by the calendar, by conditions, by lot, by a service, by another flow.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::v1alpha1::{HEADER, LABEL, OBJECT_NAME, VARIABLE};

/// Goes by business hours.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hours {
    /// A BusinessHours of this namespace. Example: `support`.
    #[serde(rename = "ref")]
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub reference: String,

    /// The step within the hours. Absent: the next of the list.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<String>,

    /// The step outside them.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub closed: String,

    /// The step on a holiday. Absent: `closed`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holiday: Option<String>,
}

/// Goes by the first condition that holds.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Branch {
    /// In order. 1 to 32.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(min = 1, max = 32))]
    pub cases: Vec<Case>,

    /// The step where none holds. Absent: the next of the list.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<String>,
}

/// A condition and the step it leads to.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    /// A CEL expression that gives true or false. At most 1,024 characters. Example:
    /// `contact.number.startsWith("+1212")`.
    #[schemars(length(min = 1, max = 1_024))]
    pub when: String,

    /// The step that follows.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub next: String,
}

/// Gives variables their values.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Set {
    /// In order. 1 to 32.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(min = 1, max = 32))]
    pub values: Vec<Assignment>,

    /// The step that follows. Absent: the next of the list.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A variable and its new value.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// One of `spec.variables`. Example: `visits`.
    #[schemars(length(min = 1, max = 63), regex(pattern = VARIABLE))]
    pub variable: String,

    /// A CEL expression that gives what the variable holds. At most 1,024 characters. Example: `visits + 1`.
    #[schemars(length(min = 1, max = 1_024))]
    pub value: String,
}

/// Goes by lot: each call by chance, in the shares that are given.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.parts.map(p, p.percent).sum() <= 100").message("percent of all parts must not sum to more than 100").field_path(".parts"))]
#[x_kube(validation = Rule::new("!has(self.otherwise) || self.parts.map(p, p.percent).sum() != 100").message("otherwise may stand only where percent of all parts sums to less than 100").field_path(".otherwise"))]
#[serde(rename_all = "camelCase")]
pub struct Split {
    /// The shares. 1 to 16; their `percent` sums to at most 100.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(min = 1, max = 16))]
    pub parts: Vec<Part>,

    /// The step of all other calls. Absent: the next of the list; where the parts sum to 100 there are no others.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<String>,
}

/// A share of the calls and the step it leads to.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// So many of a hundred calls. 1 to 100. Example: `5`.
    #[schemars(range(min = 1, max = 100))]
    pub percent: i32,

    /// The step that follows.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub next: String,
}

/// Asks an Integration by HTTP and keeps what it answers. The contact hears nothing of it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("!has(self.body) || self.method in ['POST', 'PUT', 'PATCH']")
    .message("body may stand only where method is POST, PUT or PATCH").field_path(".body"))]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// An Integration of this namespace. Example: `crm`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub integration: String,

    /// Absent: `GET`.
    #[serde(default)]
    pub method: Method,

    /// A CEL expression that gives text: what is put behind the Integration's `url`, beginning with `/` or `?`. What
    /// a variable brings in is to be encoded by whoever sets it; a path with a control character, a space or a `#` is
    /// not sent but takes `failed`. Absent: nothing. At most 1,024 characters. Example:
    /// `'"/contacts/" + contact.number'`.
    #[schemars(length(min = 1, max = 1_024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,

    /// Headers besides the Integration's own, which they replace. At most 16.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<RequestHeader>,

    /// A CEL expression that gives text: what is sent, as `application/json` unless `headers` say otherwise. Absent:
    /// nothing. At most 1,024 characters. Example: `'{"number": "' + contact.number + '"}'`.
    #[schemars(length(min = 1, max = 1_024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,

    /// How long the answer may take before `failed` is taken. 1 to 10; absent: the Integration's `timeoutSeconds`.
    #[schemars(range(min = 1, max = 10))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i32>,

    /// What is kept of an answer of status 200 to 299, in order; all of it or, where one value cannot be had, nothing.
    /// At most 16.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub save: Vec<Saved>,

    /// The step after an answer of status 200 to 299. Absent: the next of the list.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,

    /// The step after another status, no answer in time, or an answer that `save` cannot read. Absent: a failure.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// A method of HTTP (RFC 9110 §9, RFC 5789).
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Reads.
    #[default]
    Get,
    /// Hands something over.
    Post,
    /// Replaces.
    Put,
    /// Changes in part.
    Patch,
    /// Removes.
    Delete,
}

/// A header of a request, with a value that is made for each call.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestHeader {
    /// Its name. Unique in the list. At most 64 characters. Example: `X-Contact`.
    #[schemars(length(min = 1, max = 64), regex(pattern = HEADER))]
    pub name: String,

    /// A CEL expression that gives text without line ends. For secrets there are the Integration's own headers. At most
    /// 1,024 characters. Example: `contact.number`.
    #[schemars(length(min = 1, max = 1_024))]
    pub value: String,
}

/// A variable and what it takes of an answer.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Saved {
    /// One of `spec.variables`. Example: `vip`.
    #[schemars(length(min = 1, max = 63), regex(pattern = VARIABLE))]
    pub variable: String,

    /// A CEL expression that gives what the variable holds, over `body` (the answer's JSON, of at most 64 KiB) and
    /// `status` (a whole number) besides the flow's names. At most 1,024 characters. Example: `body.vip`.
    #[schemars(length(min = 1, max = 1_024))]
    pub from: String,
}

/// Runs another flow, with variables of its own, and comes back where that one falls off its end.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// A RoutingFlow of this namespace, which must not lead back to this one by its own `call` steps. Flows call each
    /// other at most 8 deep. Example: `authenticate`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub flow: String,

    /// The step after it came back. Absent: the next of the list.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,

    /// The step after a failure that the other flow does not handle. Absent: this flow's `onError`; without one the call ends.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}
