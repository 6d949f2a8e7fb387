//! `Campaign`: calls that we begin.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{E164, LocalRef, OBJECT_NAME, Status, TIME};

/// Calls that we begin: whom, when, how often, by whom.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchboard.dev",
    version = "v1alpha1",
    kind = "Campaign",
    doc = "Calls that we begin: whom, when, how often, by whom.",
    namespaced,
    status = "Status",
    shortname = "camp",
    category = "switchboard",
    derive = "PartialEq",
    cel,
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Queue", type_ = "string", json_path = ".spec.queueRef.name"),
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
#[x_kube(
    validation = Rule::new("self.mode != 'Predictive' || has(self.abandonPercentMax)")
        .message("a predictive campaign must have abandonPercentMax").field_path(".abandonPercentMax"),
    validation = Rule::new("!has(self.startsAt) || !has(self.endsAt) || timestamp(self.startsAt) < timestamp(self.endsAt)")
        .message("endsAt must come after startsAt").field_path(".endsAt"),
)]
#[serde(rename_all = "camelCase")]
pub struct CampaignSpec {
    /// Who decides when a number is dialled. Example: `Progressive`.
    pub mode: CampaignMode,

    /// ContactLists of this namespace. 1 to 16.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(min = 1, max = 16))]
    pub list_refs: Vec<LocalRef>,

    /// DoNotCallLists of this namespace; their numbers are never dialled. At most 16.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub do_not_call_refs: Vec<LocalRef>,

    /// The Queue of this namespace whose agents talk.
    pub queue_ref: LocalRef,

    /// Number that contacts see. It must be granted to this namespace by an outbound trunk. Absent: the Tenant's
    /// `defaultCallerId`.
    #[schemars(length(min = 3, max = 16), regex(pattern = E164))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_id: Option<String>,

    /// A BusinessHours of this namespace; outside it nobody is dialled. Meant in each contact's own time zone where the
    /// list has one. Absent: nobody is dialled at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calling_hours_ref: Option<LocalRef>,

    /// Nobody is dialled before this time (RFC 3339). Absent: at once. Example: `2026-09-01T09:00:00-04:00`.
    #[schemars(length(min = 20, max = 35), regex(pattern = TIME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<String>,

    /// Nobody is dialled at this time or later (RFC 3339). Absent: when the lists are through. Example:
    /// `2026-09-30T17:00:00-04:00`.
    #[schemars(length(min = 20, max = 35), regex(pattern = TIME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<String>,

    /// How often a contact is tried. Absent: the defaults of its fields.
    #[serde(default)]
    pub attempts: Attempts,

    /// Most contacts, of a hundred who answer, that may meet no agent; pacing keeps below it. 1 to 10. Must stand where
    /// `mode` is `Predictive`; many countries demand 3.
    #[schemars(range(min = 1, max = 10))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abandon_percent_max: Option<i32>,

    /// How long a contact is rung. 15 to 120; absent: 25.
    #[schemars(range(min = 15, max = 120))]
    #[serde(default = "default_campaign_ring_seconds")]
    pub ring_seconds: i32,

    /// A Prompt of this namespace for a contact who answers while no agent is free. Absent: the call ends after 2
    /// seconds.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abandoned_prompt: Option<String>,
}

/// Who decides when a number is dialled.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CampaignMode {
    /// The agent, who sees the contact first.
    Preview,
    /// We, one number for each free agent.
    Progressive,
    /// We, more numbers than there are free agents, within the abandon cap.
    Predictive,
}

/// How often a contact is tried.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.perDayMax <= self.max")
        .message("perDayMax must not be greater than max").field_path(".perDayMax"))]
#[serde(rename_all = "camelCase")]
pub struct Attempts {
    /// Tries of one contact in all. 1 to 20; absent: 3.
    #[schemars(range(min = 1, max = 20))]
    #[serde(default = "default_tries")]
    pub max: i32,

    /// Tries of one contact in a day. 1 to 10; absent: 1.
    #[schemars(range(min = 1, max = 10))]
    #[serde(default = "default_tries_per_day")]
    pub per_day_max: i32,

    /// Between two tries. 300 to 604,800; absent: 14,400.
    #[schemars(range(min = 300, max = 604_800))]
    #[serde(default = "default_retry_seconds")]
    pub retry_seconds: i32,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            max: default_tries(),
            per_day_max: default_tries_per_day(),
            retry_seconds: default_retry_seconds(),
        }
    }
}

const fn default_tries() -> i32 {
    3
}

const fn default_tries_per_day() -> i32 {
    1
}

const fn default_retry_seconds() -> i32 {
    14_400
}

const fn default_campaign_ring_seconds() -> i32 {
    25
}
