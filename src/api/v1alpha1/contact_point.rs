//! `ContactPoint`: how a contact gets in without a telephone.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DOMAIN, EMAIL, LocalRef, SecretKeyRef, Status, VARIABLE};

/// How a contact gets in without a telephone: chat, email, SMS, social.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchboard.dev",
    version = "v1alpha1",
    kind = "ContactPoint",
    doc = "How a contact gets in without a telephone: chat, email, SMS, social.",
    namespaced,
    status = "Status",
    shortname = "cpt",
    category = "switchboard",
    derive = "PartialEq",
    cel,
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
#[x_kube(validation = Rule::new("(has(self.chat) ? 1 : 0) + (has(self.email) ? 1 : 0) + (has(self.sms) ? 1 : 0) + (has(self.social) ? 1 : 0) == 1")
        .message("spec must have exactly one of chat, email, sms and social"))]
#[serde(rename_all = "camelCase")]
pub struct ContactPointSpec {
    /// The RoutingFlow of this namespace that its contacts follow.
    pub flow_ref: LocalRef,

    /// A chat on a web page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<ChatPoint>,

    /// A mailbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<EmailPoint>,

    /// Text messages to a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sms: Option<SmsPoint>,

    /// An account of a social network. Exactly one of `chat`, `email`, `sms` and `social` stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub social: Option<SocialPoint>,

    /// After so long a silence of the contact the conversation ends. 30 to 604,800; absent: 900.
    #[schemars(range(min = 30, max = 604_800))]
    #[serde(default = "default_idle_seconds")]
    pub idle_seconds: i32,

    /// Conversations at once; one more is told to come again. 1 to 10,000; absent: 100.
    #[schemars(range(min = 1, max = 10_000))]
    #[serde(default = "default_conversations")]
    pub limit: i32,
}

const fn default_idle_seconds() -> i32 {
    900
}

const fn default_conversations() -> i32 {
    100
}

/// A chat on a web page.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatPoint {
    /// Origins of the pages that may show it. 1 to 32. Example: `[https://www.example.com]`.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(min = 1, max = 32), inner(length(min = 9, max = 261), regex(pattern = ORIGIN)))]
    pub origins: Vec<String>,

    /// What is asked before the chat; the answers are in the flow's `contact`. At most 10.
    #[x_kube(merge_strategy = ListMerge::Atomic, validation = Rule::new("self.all(a, self.exists_one(b, a.name == b.name))").message("questions must have unique names"))]
    #[schemars(length(max = 10))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub survey: Vec<Question>,
}

/// An origin of a web page (RFC 6454).
pub const ORIGIN: &str = r"^https://[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?(:[1-9][0-9]{0,4})?$";

/// A question of a survey.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// As expressions call the answer. Unique in the survey. At most 63 characters. Example: `team`.
    #[schemars(length(min = 1, max = 63), regex(pattern = VARIABLE))]
    pub name: String,

    /// What is asked. At most 256 characters. Example: `Which team do you need?`.
    #[schemars(length(min = 1, max = 256))]
    pub text: String,

    /// Answers to choose from. Empty: the contact writes freely. At most 20. Example: `[Sales, Support]`.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 20), inner(length(min = 1, max = 64)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,

    /// Whether it must be answered. Absent: `Optional`.
    #[serde(default)]
    pub answer: Answer,
}

/// Whether a question must be answered.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Answer {
    /// It may be left out.
    #[default]
    Optional,
    /// The chat begins with it only.
    Required,
}

/// A mailbox.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EmailPoint {
    /// The address that contacts write to and hear from. Example: `support@example.com`.
    #[schemars(length(min = 3, max = 254), regex(pattern = EMAIL))]
    pub address: String,

    /// Host that mail is fetched from (IMAP over TLS, port 993). Example: `imap.example.com`.
    #[schemars(length(min = 1, max = 253), regex(pattern = DOMAIN))]
    pub imap_server: String,

    /// Host that mail is sent by (SMTP over TLS, port 465). Example: `smtp.example.com`.
    #[schemars(length(min = 1, max = 253), regex(pattern = DOMAIN))]
    pub smtp_server: String,

    /// `user:password` for both.
    pub secret_ref: SecretKeyRef,
}

/// Text messages to a number.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SmsPoint {
    /// A PhoneNumber of this namespace: what receivers see.
    pub number_ref: LocalRef,

    /// The Integration of this namespace that messages are sent by: how, `message` of a RoutingFlow says.
    pub integration_ref: LocalRef,
}

/// An account of a social network.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SocialPoint {
    /// Which one. Example: `WhatsApp`.
    pub network: SocialNetwork,

    /// The account, as the network calls it. At most 128 characters. Example: `acme-support`.
    #[schemars(length(min = 1, max = 128))]
    pub account: String,

    /// The token for it.
    pub secret_ref: SecretKeyRef,
}

/// A social network.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SocialNetwork {
    /// Facebook Messenger.
    Facebook,
    /// Instagram.
    Instagram,
    /// WhatsApp.
    WhatsApp,
    /// X.
    X,
}
