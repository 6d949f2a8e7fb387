//! `Integration`: an HTTP service that flows may call, and that may speak and understand for the Tenant.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{CipherSuite, DOMAIN, HTTPS_URL, LocalRef, SecretKeyRef, Status, TlsVersion};

/// An HTTP service that flows may call.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchboard.dev",
    version = "v1alpha1",
    kind = "Integration",
    doc = "An HTTP service that flows may call.",
    namespaced,
    status = "Status",
    shortname = "intg",
    category = "switchboard",
    derive = "PartialEq",
    cel,
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.url"),
    printcolumn(name = "Timeout", type_ = "integer", json_path = ".spec.timeoutSeconds"),
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
pub struct IntegrationSpec {
    /// Where it is; a step's `path` is put behind it. No user, no password. Loopback, link-local, private and cluster
    /// addresses are refused unless the VoiceCluster lists them in `reachableRanges`. At most 1,024 characters.
    /// Example: `https://crm.example.com/api`.
    #[schemars(length(min = 9, max = 1024), regex(pattern = HTTPS_URL))]
    pub url: String,

    /// How long a request may take before the step takes `failed`, and a text or what was said before others do it in the
    /// service's place (see the Tenant's `speech`). 1 to 30; absent: 2.
    #[schemars(range(min = 1, max = 30))]
    #[serde(default = "default_request_seconds")]
    pub timeout_seconds: i32,

    /// Headers that every request bears. At most 16.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Header>,

    /// Bounds of TLS. Absent: version 1.2 or higher, the four suites of the platform, public certificate authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<IntegrationTls>,

    /// Requests a second, of each pod; one more takes `failed`. 1 to 1,000; absent: 50.
    #[schemars(range(min = 1, max = 1_000))]
    #[serde(default = "default_requests_per_second")]
    pub calls_per_second: i32,

    /// An HTTP proxy to go through (CONNECT); TLS is verified from end to end. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
}

const fn default_request_seconds() -> i32 {
    2
}

const fn default_requests_per_second() -> i32 {
    50
}

/// A header of a request.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.value) != has(self.secretRef)")
        .message("a header must have exactly one of value and secretRef"))]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Its name. Unique in the list. At most 64 characters. Example: `X-Tenant`.
    #[schemars(length(min = 1, max = 64), regex(pattern = HEADER))]
    pub name: String,

    /// Its value, for whatever is no secret. At most 1,024 characters. Example: `acme`.
    #[schemars(length(min = 1, max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,

    /// Its value, out of a Secret. Exactly one of `value` and `secretRef` stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
}

/// A name of a header (RFC 9110 §5.1), in letters, digits and `-`.
pub const HEADER: &str = "^[A-Za-z][-A-Za-z0-9]{0,63}$";

/// Bounds of TLS towards a service.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntegrationTls {
    /// The oldest version that is spoken. Absent: `TLSv1.2`.
    #[serde(default)]
    pub minimum_version: TlsVersion,

    /// Suites of TLS 1.2 to offer, out of the four that the VoiceCluster may offer to services; those with ECDHE and RSA in GCM
    /// are for trunks alone. Empty: all of those. At most 6.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 6))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<CipherSuite>,

    /// Certificates (PEM) of the authorities to trust. Absent: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,

    /// A Secret of type `kubernetes.io/tls` to show as client. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_secret_ref: Option<LocalRef>,
}

/// An HTTP proxy to go through.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proxy {
    /// Where it is, without user and password. At most 1,024 characters. Example: `http://proxy.example.com:3128`.
    #[schemars(length(min = 8, max = 1024), regex(pattern = PROXY_URL))]
    pub url: String,

    /// `user:password` for it. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,

    /// Domains that are reached directly, with all below them. At most 64. Example: `[example.com]`.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253), regex(pattern = DOMAIN)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_proxy: Vec<String>,
}

/// Where a proxy is.
pub const PROXY_URL: &str = r"^https?://[^\s/?#]+/?$";
