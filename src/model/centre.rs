//! What a tenant's contact centre is made of besides its flows: queues, agents, voicemail, services, campaigns and points of
//! contact. Names are resolved, sounds are audio, durations are seconds; secrets are named, never held.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    AgentId, AudioId, CampaignId, ContactListId, ContactPointId, DoNotCallListId, E164, FlowId, HoursId,
    IntegrationId, Key, NumberId, QueueId, TenantId, TrunkId, VoicemailBoxId, numbering::CostClass,
};

/// All of it, of every tenant of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Centre {
    /// Where contacts wait.
    pub queues: BTreeMap<QueueId, Arc<Queue>>,
    /// Who talks to them.
    pub agents: BTreeMap<AgentId, Arc<Agent>>,
    /// Where messages go.
    pub voicemail_boxes: BTreeMap<VoicemailBoxId, Arc<VoicemailBox>>,
    /// Services that flows call.
    pub integrations: BTreeMap<IntegrationId, Arc<Integration>>,
    /// Calls that we begin.
    pub campaigns: BTreeMap<CampaignId, Arc<Campaign>>,
    /// Whom campaigns dial.
    pub contact_lists: BTreeMap<ContactListId, Arc<ContactList>>,
    /// Whom they do not.
    pub do_not_call_lists: BTreeMap<DoNotCallListId, Arc<DoNotCallList>>,
    /// How who writes gets in.
    pub contact_points: BTreeMap<ContactPointId, Arc<ContactPoint>>,
    /// What phones may dial, and by which trunks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dialling: BTreeMap<TenantId, Arc<Dialling>>,
}

impl Centre {
    /// What the phones of a tenant may dial. None: there is no such tenant.
    #[must_use]
    pub fn dialling(&self, namespace: &str) -> Option<&Dialling> {
        // Keys sort by their namespace first, and there is one Tenant in each.
        let first = self.dialling.range(TenantId(Key::new(namespace, ""))..).next();
        first.filter(|(id, _)| id.0.namespace() == namespace).map(|(_, dialling)| &**dialling)
    }
}

/// What a tenant's phones may dial, by which trunks, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dialling {
    /// ISO 3166-1 code of the country whose way of dialling holds.
    pub country: String,
    /// Countries whose numbers may be dialled, sorted; not empty.
    pub countries: Vec<String>,
    /// What a call may cost, sorted.
    pub cost_classes: Vec<CostClass>,
    /// Emergency numbers besides those that hold everywhere, sorted.
    pub emergency_numbers: Vec<String>,
    /// By which trunks, in the order to be tried.
    pub trunks: Vec<TrunkId>,
    /// What callees see where the agent has no number of its own.
    pub default_caller_id: Option<E164>,
}

/// How somebody gets in touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Channel {
    /// A telephone call.
    Voice,
    /// An email.
    Email,
    /// A text message.
    Sms,
    /// A chat on a web page.
    Chat,
    /// A message of a social network.
    Social,
}

/// Who of the two is called first when a contact is called back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum First {
    /// The agent, who hears it ring at the contact.
    #[default]
    Agent,
    /// The contact, for whom an agent is held ready.
    Contact,
}

impl First {
    /// Whether nothing need be said of it.
    #[must_use]
    pub const fn is_agent(&self) -> bool {
        matches!(self, Self::Agent)
    }
}

/// All of them, in their order.
pub const CHANNELS: [Channel; 5] =
    [Channel::Voice, Channel::Email, Channel::Sms, Channel::Chat, Channel::Social];

/// Where contacts wait for an agent who can help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// What may wait here; not empty.
    pub channels: Vec<Channel>,
    /// What an agent must be able to do. None: anything.
    pub skills: Vec<RequiredSkill>,
    /// Who of several agents is offered a contact.
    pub selection: Selection,
    /// 0 to 9; contacts of a higher one are offered first, if their flow says nothing else.
    pub priority: u8,
    /// Waiting for so long raises a contact's priority by one. None: it never rises.
    pub ageing_seconds: Option<u32>,
    /// So many of a hundred contacts are to be answered…
    pub service_percent: u8,
    /// … within so many seconds.
    pub service_seconds: u32,
    /// Contacts that may wait at once.
    pub contacts_max: u32,
    /// How long one may wait.
    pub wait_seconds_max: u32,
    /// What is heard while waiting. Empty: silence.
    pub music: Vec<AudioId>,
    /// In the order of their times.
    pub announcements: Vec<Announcement>,
    /// Tag (BCP 47) of the language that contacts are spoken to in where their flow names none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub language: String,
    /// How long an agent is rung.
    pub ring_seconds: u32,
    /// How long an agent has after a contact before the next is offered.
    pub wrap_up_seconds: u32,
    /// Who is called first when a contact is called back, where the flow does not say.
    #[serde(default, skip_serializing_if = "First::is_agent")]
    pub callback_first: First,
    /// What a contact hears that is called first, when it answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub callback_prompt: Vec<AudioId>,
    /// What an agent may say of a contact in that time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dispositions: Vec<Disposition>,
    /// Whether an agent must say one of them to be done before it is over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disposition_required: bool,
}

/// What has come of a contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Disposition {
    /// As records have it.
    pub name: String,
    /// For people.
    pub title: String,
}

/// What an agent must be able to do, and how well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequiredSkill {
    /// As the Tenant declares it.
    pub name: String,
    /// 1 to 10.
    pub minimum: u8,
    /// After so many seconds so much less is enough; sorted by time.
    pub relax: Vec<(u32, u8)>,
}

impl RequiredSkill {
    /// What is enough after a wait of so many seconds.
    #[must_use]
    pub fn minimum_after(&self, seconds: u32) -> u8 {
        let relaxed = self.relax.iter().rev().find(|(after, _)| *after <= seconds);
        relaxed.map_or(self.minimum, |(_, minimum)| *minimum)
    }
}

/// Who of several agents is offered a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selection {
    /// Who has had nothing to do for longest.
    LongestIdle,
    /// Who does it best.
    MostSkilled,
    /// Who does it just well enough.
    LeastSkilled,
    /// One after another.
    RoundRobin,
    /// Who has had the least to do of late.
    LeastOccupied,
}

/// Something that a waiting contact hears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Announcement {
    /// After so long, and as long again after each time.
    pub after_seconds: u32,
    /// What is heard.
    pub audio: Vec<AudioId>,
    /// What is spoken after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub say: Vec<WaitFigure>,
}

/// What somebody who waits may want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WaitFigure {
    /// The place in the queue.
    Position,
    /// How long the wait will still be.
    Wait,
}

/// Somebody who talks to contacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// For people.
    pub display_name: String,
    /// Skills with levels of 1 to 10.
    pub skills: BTreeMap<String, u8>,
    /// BCP 47 tags.
    pub languages: Vec<String>,
    /// Where calls reach the agent, in the order of preference.
    pub stations: Vec<Station>,
    /// Contacts at once, by channel; channels without any are absent.
    pub capacity: BTreeMap<Channel, u8>,
    /// How the agent signs in. None: not at all.
    pub sign_in: Option<SignIn>,
    /// After so long the agent must sign in again.
    #[serde(default = "session_seconds")]
    pub session_seconds: u32,
    /// What callees see of outbound calls. None: the tenant's default.
    pub outbound_number: Option<E164>,
    /// Whether the agent's network loses packets, so that codecs which cope are offered first.
    pub lossy: bool,
    /// What contacts hear while the agent's phone holds them or hands them on. Empty: silence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub music: Vec<AudioId>,
    /// Queues that the agent serves where the skills suffice, by rank: contacts of a lower one are offered first. Empty: all
    /// queues whose skills suffice, and all alike.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub queues: BTreeMap<QueueId, u8>,
    /// Queues to whose conversations the agent may listen. Empty: to none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub supervises: BTreeSet<QueueId>,
}

/// Seconds of an agent's session where the tenant says nothing.
pub const SESSION_SECONDS: u32 = 43_200;

const fn session_seconds() -> u32 {
    SESSION_SECONDS
}

/// How an agent signs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SignIn {
    /// With a password, as a Secret has it.
    Password(SecretKey),
    /// As this subject of the tenant's OpenID provider.
    Subject(String),
}

/// A key of a Secret, of the same namespace as what names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretKey {
    /// Name of the Secret.
    pub name: String,
    /// Which of its keys.
    pub key: String,
}

/// A telephone of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Station {
    /// Unique in the agent.
    pub name: String,
    /// What it is.
    pub kind: StationKind,
    /// Whether its leg stays up between calls.
    pub persistent: bool,
    /// Whether it answers by itself what a queue offers and what its agent begins.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answers_itself: bool,
    /// Where help is to be sent.
    pub emergency_location: Option<Location>,
}

/// What a station is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StationKind {
    /// The softphone of the agent's page.
    #[serde(rename_all = "camelCase")]
    WebRtc {
        /// Whether Opus is offered first, else PCMU.
        opus: bool,
    },
    /// A phone that registers.
    Sip {
        /// As it registers.
        username: String,
        /// Its own password or hash.
        secret: SecretKey,
    },
    /// A telephone of the public network.
    Pstn {
        /// Its number.
        number: E164,
    },
}

/// A place that help can be sent to (RFC 5139).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Location {
    /// ISO 3166-1, two letters.
    pub country: String,
    /// State or province.
    pub region: Option<String>,
    /// Town.
    pub city: String,
    /// Street and house number.
    pub street: String,
    /// Floor, room or desk.
    pub room: Option<String>,
    /// Postal code.
    pub postal_code: Option<String>,
    /// What the carrier calls the place, where that is what it wants to be told.
    pub carrier_location_id: Option<String>,
}

/// Where voicemail goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VoicemailBox {
    /// What is heard first, unless the step says something else. Empty: the tone alone.
    pub greeting: Vec<AudioId>,
    /// Who gets it by email.
    pub emails: Vec<String>,
    /// The queue that it is offered in.
    pub queue: Option<QueueId>,
    /// Agents who see it.
    pub agents: Vec<AgentId>,
    /// Longest message.
    pub message_seconds_max: u32,
    /// Messages that it holds.
    pub messages_max: u32,
    /// How long they are kept.
    pub retention_days: u32,
    /// Whether they are written down.
    pub transcribed: bool,
    /// Speech that a message must have to be kept.
    #[serde(default = "default_speech_seconds", skip_serializing_if = "is_default_speech")]
    pub speech_seconds_min: u32,
    /// Silence that ends one.
    #[serde(default = "default_silence_seconds", skip_serializing_if = "is_default_silence")]
    pub silence_seconds: u32,
    /// What is heard after one, and says which key keeps it, plays it or takes another. Empty: it is kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub review: Vec<AudioId>,
}

const fn default_speech_seconds() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_default_speech(seconds: &u32) -> bool {
    *seconds == default_speech_seconds()
}

const fn default_silence_seconds() -> u32 {
    5
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_default_silence(seconds: &u32) -> bool {
    *seconds == default_silence_seconds()
}

/// A service that flows may call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Integration {
    /// What paths are put behind.
    pub url: String,
    /// Longest wait for an answer.
    pub timeout_seconds: u32,
    /// Sent with each request.
    pub headers: Vec<Header>,
    /// Requests in a second.
    pub requests_per_second_max: u32,
    /// Whether nothing below TLS 1.3 is spoken.
    pub tls13_only: bool,
    /// TLS 1.2 suites by their IANA names, in the order of preference. Empty: the cluster's.
    pub suites: Vec<String>,
    /// Certificates of authorities that are trusted. None: the public ones.
    pub ca: Option<SecretKey>,
    /// Name of the Secret with our certificate and its key.
    pub certificate: Option<String>,
    /// By way of this proxy.
    pub proxy: Option<Proxy>,
}

/// A header of HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: HeaderValue,
}

/// The value of a header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HeaderValue {
    /// For everybody to read.
    Text(String),
    /// As a Secret has it.
    Secret(SecretKey),
}

/// An HTTP proxy that a customer asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proxy {
    /// Scheme, host and port.
    pub url: String,
    /// `user:password`.
    pub secret: Option<SecretKey>,
    /// Hosts that are reached without it.
    pub no_proxy: Vec<String>,
}

/// Calls that we begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Campaign {
    /// Who decides when a contact is dialled.
    pub mode: CampaignMode,
    /// Whom.
    pub lists: Vec<ContactListId>,
    /// Whom not.
    pub do_not_call: Vec<DoNotCallListId>,
    /// Whose agents talk to them.
    pub queue: QueueId,
    /// What contacts see. None: the tenant's default.
    pub caller_id: Option<E164>,
    /// When. None: never.
    pub calling_hours: Option<HoursId>,
    /// Not before.
    pub starts_at: Option<Timestamp>,
    /// Not at this time or later.
    pub ends_at: Option<Timestamp>,
    /// Times that a contact is dialled in all.
    pub attempts_max: u32,
    /// Times in a day.
    pub attempts_per_day_max: u32,
    /// From one to the next.
    pub retry_seconds: u32,
    /// Of a hundred who answer, so many may meet no agent. None: nobody is dialled ahead.
    pub abandon_percent_max: Option<u8>,
    /// How long it rings.
    pub ring_seconds: u32,
    /// What is heard by who meets no agent.
    pub abandoned: Vec<AudioId>,
}

/// Who decides when a contact is dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CampaignMode {
    /// The agent, who sees the contact first.
    Preview,
    /// We, when an agent is free.
    Progressive,
    /// We, before one is.
    Predictive,
}

/// Where a list comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ListSource<T> {
    /// Its entries.
    Inline(Vec<T>),
    /// Fetched from a URL; the SHA-256 of its bytes in hexadecimal digits.
    Remote {
        /// From where.
        url: String,
        /// Of what is fetched.
        sha256: String,
    },
    /// A key of a ConfigMap.
    ConfigMap(SecretKey),
}

/// Whom campaigns dial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContactList {
    /// The contacts.
    pub source: ListSource<ListedContact>,
    /// IANA time zone of those that have none of their own. None: the tenant's.
    pub time_zone: Option<String>,
}

/// A contact of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedContact {
    /// To be dialled.
    pub number: E164,
    /// For the agent.
    pub name: Option<String>,
    /// IANA time zone.
    pub time_zone: Option<String>,
}

/// Whom no campaign dials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DoNotCallList {
    /// The numbers.
    pub source: ListSource<E164>,
}

/// How who writes gets in, and to which flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContactPoint {
    /// What becomes of it.
    pub flow: FlowId,
    /// What it is.
    pub kind: PointKind,
    /// A conversation in which nobody writes for so long ends.
    pub idle_seconds_max: u32,
    /// Conversations at once.
    pub conversations_max: u32,
}

/// What a point of contact is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PointKind {
    /// A chat on web pages.
    Chat {
        /// Origins (RFC 6454) of the pages.
        origins: Vec<String>,
        /// Asked before it begins.
        survey: Vec<Question>,
    },
    /// A mailbox.
    #[serde(rename_all = "camelCase")]
    Email {
        /// Its address.
        address: String,
        /// Host and port that mail is fetched from.
        imap_server: String,
        /// Host and port that mail is sent by.
        smtp_server: String,
        /// `user:password` of both.
        secret: SecretKey,
    },
    /// A telephone number that takes text messages.
    Sms {
        /// The number.
        number: NumberId,
        /// The service that brings and takes them.
        integration: IntegrationId,
    },
    /// An account of a social network.
    Social {
        /// Which one.
        network: SocialNetwork,
        /// Its name there.
        account: String,
        /// What lets us in.
        secret: SecretKey,
    },
}

/// A social network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SocialNetwork {
    /// Messenger.
    Facebook,
    /// Direct messages.
    Instagram,
    /// Its business platform.
    WhatsApp,
    /// Direct messages.
    X,
}

/// A question before a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// As flows know the answer.
    pub name: String,
    /// As it is asked.
    pub text: String,
    /// Answers to choose from. Empty: free text.
    pub options: Vec<String>,
    /// Whether there is no chat without an answer.
    pub required: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skill_relaxes_by_its_steps() {
        let skill = RequiredSkill { name: "sales".into(), minimum: 8, relax: vec![(30, 5), (60, 2)] };
        let minimums = [0, 29, 30, 59, 60, 3_600].map(|seconds| skill.minimum_after(seconds));
        assert_eq!(minimums, [8, 8, 5, 5, 2, 2]);
    }
}
