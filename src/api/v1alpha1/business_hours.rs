//! `BusinessHours`: when somebody is there.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Status;

/// When somebody is there: hours of the week, and holidays, in a time zone.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchboard.dev",
    version = "v1alpha1",
    kind = "BusinessHours",
    doc = "When somebody is there: hours of the week, and holidays, in a time zone.",
    plural = "businesshours",
    namespaced,
    status = "Status",
    shortname = "bh",
    category = "switchboard",
    derive = "PartialEq",
    cel,
    printcolumn(name = "Zone", type_ = "string", json_path = ".spec.timeZone"),
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
pub struct BusinessHoursSpec {
    /// IANA time zone that the times and dates are meant in. Absent: the Tenant's. At most 64 characters. Example:
    /// `America/New_York`.
    #[schemars(length(min = 1, max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,

    /// Hours of the week. Empty: always closed. At most 50.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(max = 50))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub week: Vec<Interval>,

    /// Whole days that are holidays, whatever `week` says. At most 200.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["date".into()]))]
    #[schemars(length(max = 200))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holidays: Vec<Holiday>,
}

/// Open from `from` to `to` on each of `days`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.from < self.to")
    .message("to must come after from; an interval over midnight must be written as two, one to 24:00 and one from 00:00").field_path(".to"))]
#[serde(rename_all = "camelCase")]
pub struct Interval {
    /// The days. 1 to 7. Example: `[Monday, Tuesday]`.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(min = 1, max = 7))]
    pub days: Vec<Day>,

    /// Local time of opening, hours and minutes. Example: `"09:00"`.
    #[schemars(length(min = 5, max = 5), regex(pattern = CLOCK_FROM))]
    pub from: String,

    /// Local time of closing, hours and minutes; `"24:00"` is midnight. Example: `"17:30"`.
    #[schemars(length(min = 5, max = 5), regex(pattern = CLOCK_TO))]
    pub to: String,
}

/// Hours and minutes from 00:00 to 23:59.
pub const CLOCK_FROM: &str = "^([01][0-9]|2[0-3]):[0-5][0-9]$";

/// Hours and minutes from 00:01 to 24:00.
pub const CLOCK_TO: &str = "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$";

/// A day of the week.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Day {
    /// The first.
    Monday,
    /// The second.
    Tuesday,
    /// The third.
    Wednesday,
    /// The fourth.
    Thursday,
    /// The fifth.
    Friday,
    /// The sixth.
    Saturday,
    /// The seventh.
    Sunday,
}

/// A day that is a holiday.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holiday {
    /// The day: year, month and day. Unique in the list. Example: `"2026-12-25"`.
    #[schemars(length(min = 10, max = 10), regex(pattern = DATE))]
    pub date: String,

    /// Its name, for people. At most 128 characters. Example: `Christmas Day`.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
}

/// Year, month and day.
pub const DATE: &str = "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$";
