//! `Tenant`: a customer, which is a namespace.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    E164, HTTPS_URL, LABEL, LANGUAGE, LocalRef, OBJECT_NAME, ObjectRef, SIP_USER, SecretKeyRef, Status,
};

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

    /// Trunks that telephone numbers are dialled by, tried in this order; calls for help by those that say `emergency:
    /// Accepted`. A trunk of another namespace must grant this one some numbers. Empty: neither flows nor agents can dial
    /// telephone numbers. At most 8.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(max = 8))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outbound_trunks: Vec<ObjectRef>,

    /// Skills that Agents may have and Queues may ask for. At most 256.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<Skill>,

    /// What agents may dial on their phones, and hand contacts on to. Absent: numbers of the tenant's own country that cost
    /// nothing or what calls usually do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialling: Option<Dialling>,

    /// How long things are kept. Absent: the defaults of its fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,

    /// Bounds of all its numbers together, of each pod for itself. Absent: the cluster's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<TenantLimits>,

    /// Prompts of this namespace that contacts hear while an agent's phone holds them or hands them on, and in queues without music
    /// of their own, one after another and again; each goes on where it was left. Absent: silence. At most 32. Example: `[spring, summer]`.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253), regex(pattern = OBJECT_NAME)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub music: Vec<String>,

    /// Services that speak to contacts and understand them. Absent: espeak-ng and pocketsphinx, which come with the media
    /// server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speech: Option<TenantSpeech>,

    /// Where calls are recorded by a session recording server of somebody else's (SIPREC, RFC 7866). Absent: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorder: Option<Recorder>,

    /// How agents sign in. Absent: by passwords.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<TenantSignIn>,

    /// Services of the tenant's that may do something by HTTP. Empty: none may. At most 16.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<TenantService>,
}

/// A service of the tenant's, and what it may do by HTTP.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantService {
    /// For people. Unique in the list. Example: `dialler`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,

    /// The token that it shows as bearer: whoever has it may do what `may` says. An empty one lets nobody in.
    pub secret_ref: SecretKeyRef,

    /// What it may do. 1 to 8. Example: `[Previews]`.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(min = 1, max = 8))]
    pub may: Vec<ServiceMay>,
}

/// What a service may do.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ServiceMay {
    /// Have agents shown whom they may call: `POST /api/v1/previews`.
    Previews,
}

fn default_languages() -> Vec<String> {
    vec!["en-US".to_owned()]
}

/// Services that speak and understand.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.voice) || has(self.recogniser)").message("speech must have voice, recogniser or both"))]
#[serde(rename_all = "camelCase")]
pub struct TenantSpeech {
    /// What speaks texts of Prompts and all that is said besides. Where it fails espeak-ng speaks, and the log says why; a
    /// Prompt is tried again every half minute. Absent: espeak-ng.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voice: Option<TenantVoice>,

    /// What tells which phrase of an `ask` was said. Where it fails the step takes `noMatch`, and the call's explanation says
    /// why. Absent: pocketsphinx, which knows English.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recogniser: Option<TenantRecogniser>,
}

/// A voice by HTTP: `POST {url}/v1/audio/speech`, as OpenAI's API has it and many servers after it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantVoice {
    /// The Integration of this namespace that it is reached by. Its `timeoutSeconds` bounds the wait for a text.
    pub integration_ref: LocalRef,

    /// The `model` of the request. At most 128 characters. Example: `tts-1`.
    #[schemars(length(min = 1, max = 128))]
    pub model: String,

    /// The `voice` of the request. At most 128 characters. Example: `alloy`.
    #[schemars(length(min = 1, max = 128))]
    pub voice: String,
}

/// A recogniser by HTTP or WebSocket.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantRecogniser {
    /// The Integration of this namespace that it is reached by. Its `timeoutSeconds`, at most 10, bounds the wait for what was
    /// said.
    pub integration_ref: LocalRef,

    /// What it speaks. Absent: `Transcriptions`.
    #[serde(default)]
    pub protocol: RecogniserProtocol,

    /// The `model` of a request for a transcription. Absent: `whisper-1`. At most 128 characters.
    #[schemars(length(min = 1, max = 128))]
    #[serde(default = "default_recogniser_model")]
    pub model: String,
}

fn default_recogniser_model() -> String {
    "whisper-1".to_owned()
}

/// What a recogniser speaks.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RecogniserProtocol {
    /// `POST {url}/v1/audio/transcriptions` with a WAV file of what was said, once it was said, as OpenAI's API has it.
    #[default]
    Transcriptions,
    /// The protocol of the Vosk server on a WebSocket at the Integration's URL: it hears while the contact speaks.
    Vosk,
}

/// Something that agents can do.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Skill {
    /// Unique in the tenant; Agents and Queues name it. At most 63 characters. Example: `billing`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,

    /// For people. Absent: none. At most 256 characters. Example: `Invoices and refunds`.
    #[schemars(length(min = 1, max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Bounds of a tenant.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.calls) || has(self.callsPerSecond)").message("limits must have calls, callsPerSecond or both"))]
#[serde(rename_all = "camelCase")]
pub struct TenantLimits {
    /// Calls at once to all its numbers; one more is answered 480. 1 to 100,000; absent: no bound of its own. Example: `200`.
    #[schemars(range(min = 1, max = 100_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<i32>,

    /// New calls a second to all its numbers; one more is answered 480. 1 to 10,000; absent: no bound of its own. Example:
    /// `20`.
    #[schemars(range(min = 1, max = 10_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls_per_second: Option<i32>,
}

/// A session recording server, to which calls are copied while they last (SIPREC, RFC 7866; metadata by RFC 7865).
///
/// It is called beside each recorded call and gets two streams, what the contact says and what it hears, with who is
/// connected; keys, and all that is said while a `secret` question is asked or the flow pauses, are left out.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorder {
    /// The Trunk that it is reached by, with `direction: Outbound` or `Both`. Its peers are tried in order when one does not
    /// answer or is lost; TLS, SRTP, codecs and limits are the trunk's. A trunk of another namespace must grant this one some
    /// numbers. Example: `{name: recorder}`.
    pub trunk_ref: ObjectRef,

    /// User of the recorder's URI. At most 64 characters. Absent: `srs`. Example: `acme`.
    #[schemars(length(min = 1, max = 64), regex(pattern = SIP_USER))]
    #[serde(default = "default_recorder_user")]
    pub user: String,

    /// Which calls are recorded. Absent: `ByFlow`.
    #[serde(default)]
    pub calls: RecordedCalls,

    /// What becomes of a call when no peer of the trunk records it, or none any more. Absent: `Continue`.
    #[serde(default)]
    pub on_failure: RecorderFailure,
}

fn default_recorder_user() -> String {
    "srs".to_owned()
}

/// Which calls a recorder gets.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RecordedCalls {
    /// Those whose flow says so: `record: {to: Recorder}`.
    #[default]
    ByFlow,
    /// All, from their answer to their end; a flow can pause it and not stop it.
    All,
}

/// What becomes of a call that is not recorded although it should be.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RecorderFailure {
    /// It goes on; its explanation says so.
    #[default]
    Continue,
    /// It is not held: a `record` step takes its `failed`, and a call under way ends.
    Refuse,
}

/// What may be dialled.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dialling {
    /// ISO 3166-1 codes of countries whose numbers may be dialled, two capital letters each. Empty: the tenant's own
    /// alone. At most 250. Example: `[US, CA]`.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 250), inner(length(min = 2, max = 2), regex(pattern = r"^[A-Z]{2}$")))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub countries: Vec<String>,

    /// What a call may cost. Absent: `[Free, Normal]`. 1 to 4.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(min = 1, max = 4))]
    #[serde(default = "default_cost_classes")]
    pub cost_classes: Vec<CostClass>,

    /// Emergency numbers of the tenant's country, besides 911, 933 and 112. At most 16. Example: `["110"]`.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 16), inner(length(min = 3, max = 6), regex(pattern = EMERGENCY)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emergency_numbers: Vec<String>,
}

fn default_cost_classes() -> Vec<CostClass> {
    vec![CostClass::Free, CostClass::Normal]
}

/// An emergency number.
pub const EMERGENCY: &str = "^[0-9]{3,6}$";

/// What calls to a number cost.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CostClass {
    /// Nothing.
    Free,
    /// What calls to places and mobiles cost.
    Normal,
    /// More than that: such numbers are a favourite of fraud.
    Premium,
    /// Much more.
    Satellite,
}

/// How long things are kept.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// Records of calls. 1 to 3,650; absent: 400.
    #[schemars(range(min = 1, max = 3_650))]
    #[serde(default = "default_record_days")]
    pub record_days: i32,

    /// Recordings. 1 to 3,650; absent: 90.
    #[schemars(range(min = 1, max = 3_650))]
    #[serde(default = "default_recording_days")]
    pub recording_days: i32,
}

const fn default_record_days() -> i32 {
    400
}

const fn default_recording_days() -> i32 {
    90
}

/// How agents sign in.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.passwords == 'Accepted' || has(self.openIdConnect)")
        .message("openIdConnect must stand where passwords are refused: else nobody could sign in").field_path(".openIdConnect"))]
#[serde(rename_all = "camelCase")]
pub struct TenantSignIn {
    /// Whether passwords are taken. Absent: `Accepted`.
    #[serde(default)]
    pub passwords: Passwords,

    /// A service that says who somebody is. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_id_connect: Option<OpenIdConnect>,

    /// After so long an agent must sign in again. 300 to 604,800; absent: 43,200.
    #[schemars(range(min = 300, max = 604_800))]
    #[serde(default = "default_session")]
    pub session_seconds: i32,
}

const fn default_session() -> i32 {
    43_200
}

/// Whether passwords are taken.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Passwords {
    /// Yes.
    #[default]
    Accepted,
    /// No: by OpenID Connect alone.
    Refused,
}

/// A service that says who somebody is (OpenID Connect Core 1.0).
///
/// It is reached over the cluster's outbound TLS policy, at public addresses and the VoiceCluster's `reachableRanges` alone.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenIdConnect {
    /// Its issuer, to the letter as the `iss` of its tokens has it. Below it there must be
    /// `/.well-known/openid-configuration`. At most 1,024 characters. Example: `https://login.example.com`.
    #[schemars(length(min = 9, max = 1024), regex(pattern = ISSUER))]
    pub issuer: String,

    /// What it calls us. At most 255 characters. Example: `switchboard`.
    #[schemars(length(min = 1, max = 255))]
    pub client_id: String,

    /// The client's secret. Absent: a public client. PKCE (RFC 7636) either way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,

    /// Certificates of authorities that are trusted in place of the public ones, PEM. Absent: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,

    /// The claim of the ID token that the `subject` of an Agent is held against. Absent: `sub`, the only one that a provider
    /// promises never to give to somebody else (OpenID Connect Core 1.0 §5.7). `email` counts only beside `email_verified: true`.
    /// At most 64 characters. Example: `email`.
    #[schemars(length(min = 1, max = 64), regex(pattern = CLAIM))]
    #[serde(default = "default_subject_claim")]
    pub subject_claim: String,

    /// Scopes that the page asks for besides `openid`; a claim may need one. Empty: none. At most 16, of 64 characters each.
    /// Example: `[email]`.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64), regex(pattern = SCOPE)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,

    /// Where the provider sends the browser back to; it must know the address. Absent: where the page says that it is, if the
    /// provider knows that. At most 1,024 characters. Example: `https://desk.example.com/`.
    #[schemars(length(min = 9, max = 1024), regex(pattern = HTTPS_URL))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<String>,
}

fn default_subject_claim() -> String {
    "sub".to_owned()
}

/// An issuer of OpenID Connect: no query, no fragment (Discovery 1.0 §3).
pub const ISSUER: &str = r"^https://[^\s/?#]+(/[^\s?#]*)?$";

/// A claim of a token.
pub const CLAIM: &str = "^[A-Za-z][-A-Za-z0-9_.:/]*$";

/// A scope (RFC 6749 §3.3).
pub const SCOPE: &str = r#"^[!#-\[\]-~]+$"#;
