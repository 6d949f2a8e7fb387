//! Recordings and messages as they are kept: what is known of each besides its sound, under which names, and for how long.
//!
//! A sound's name is `TENANT/calls/20261127T013000Z-…` or `TENANT/voicemail/BOX/20261127T013000Z-…`. What is known of it is
//! beside it in the store under `index/` and the same name with each digit of the time subtracted from 9, so that a list in
//! the order of names has the newest first, and all that began before a moment stands together at the end.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{CallId, VoicemailBoxId, media::RecordingEnd, snapshot::Snapshot};

/// Where what is known of sounds is.
pub const INDEX: &str = "index";
/// Where it is said which messages were heard.
pub const HEARD: &str = "heard";
/// Most characters of a box's name that a message's name tells: stores take names of 200.
pub const BOX_NAME_MAX: usize = 80;
/// Days that recordings are kept where a tenant says nothing.
pub const RECORDING_DAYS: u32 = 90;
/// Days that records of calls are kept where a tenant says nothing.
pub const RECORD_DAYS: u32 = 400;
/// Characters of a time in a name.
const STAMP: usize = 16;

/// Of what a sound is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// Of which call.
    pub call: CallId,
    /// Call-ID of its A leg.
    pub call_id: String,
    /// Namespace of the tenant.
    pub tenant: String,
    /// Calling number; empty if withheld.
    pub from: String,
    /// Number that was dialled.
    pub to: String,
    /// When the sound began.
    pub started_at: Timestamp,
    /// 1, or 2 with the contact on the left.
    pub channels: u8,
    /// Whose message it is. None: it is a recording of the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voicemail_box: Option<VoicemailBoxId>,
    /// Messages that the box holds. 0: as many as come.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub messages_max: u32,
    /// Whether the message is written down.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transcribed: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What is known of a sound that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its name in the store.
    pub name: String,
    /// Of what it is.
    #[serde(flatten)]
    pub about: About,
    /// Its length in milliseconds, without gaps. None: nobody knows, since a crash has interrupted it.
    pub ms: Option<u64>,
    /// Milliseconds in which somebody was heard.
    pub sound_ms: Option<u64>,
    /// Its bytes, unsealed.
    pub bytes: u64,
    /// How it ended. None: a crash has interrupted it.
    pub end: Option<RecordingEnd>,
    /// Why it is not whole. None: it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// What was said, as far as a machine can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transcript: Option<String>,
    /// Whether somebody has fetched the message.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub heard: bool,
}

/// Sounds that belong together: those of a tenant's calls, or of one box.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    /// Namespace of the tenant.
    pub tenant: String,
    /// The box, by the beginning of its name. None: recordings of calls.
    pub voicemail_box: Option<String>,
}

impl Group {
    /// Recordings of a tenant's calls.
    #[must_use]
    pub fn calls(tenant: &str) -> Self {
        Self { tenant: tenant.to_owned(), voicemail_box: None }
    }

    /// Messages of a box.
    #[must_use]
    pub fn of_box(id: &VoicemailBoxId) -> Self {
        let name = id.0.name().chars().take(BOX_NAME_MAX).collect();
        Self { tenant: id.0.namespace().to_owned(), voicemail_box: Some(name) }
    }

    /// What the names of its sounds begin with.
    #[must_use]
    pub fn prefix(&self) -> String {
        match &self.voicemail_box {
            Some(name) => format!("{}/voicemail/{name}", self.tenant),
            None => format!("{}/calls", self.tenant),
        }
    }

    /// The group of a sound.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let mut parts = name.split('/');
        let (tenant, kind) = (parts.next()?.to_owned(), parts.next()?);
        let voicemail_box = match kind {
            "calls" => None,
            "voicemail" => Some(parts.next()?.to_owned()),
            _ => return None,
        };
        parts.next()?;
        parts.next().is_none().then_some(Self { tenant, voicemail_box })
    }
}

/// Where what is known of a sound is. None: its name tells no time, and nothing is.
#[must_use]
pub fn index_name(sound: &str) -> Option<String> {
    turned(sound).map(|turned| format!("{INDEX}/{turned}"))
}

/// Where it is said that a message was heard.
#[must_use]
pub fn heard_name(sound: &str) -> Option<String> {
    turned(sound).map(|turned| format!("{HEARD}/{turned}"))
}

/// The sound that something under `index/` or `heard/` is about.
#[must_use]
pub fn sound_name(known: &str) -> Option<String> {
    known.split_once('/').and_then(|(_, turned_name)| turned(turned_name))
}

/// A time as names tell it, in UTC.
#[must_use]
pub fn stamp(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The name with its time turned round, which turned again is the name.
fn turned(name: &str) -> Option<String> {
    Group::of(name)?;
    let (folder, last) = name.rsplit_once('/')?;
    let (stamp, rest) = last.split_at_checked(STAMP)?;
    let is_stamp = stamp.char_indices().all(|(place, character)| match place {
        8 => character == 'T',
        15 => character == 'Z',
        _ => character.is_ascii_digit(),
    });
    is_stamp.then(|| format!("{folder}/{}{rest}", turned_stamp(stamp)))
}

fn turned_stamp(stamp: &str) -> String {
    let turn = |character: char| match character.to_digit(10) {
        Some(digit) => char::from_digit(9 - digit, 10).unwrap_or(character),
        None => character,
    };
    stamp.chars().map(turn).collect()
}

/// For how long sounds are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keeping {
    /// Days of recordings of calls, by tenant.
    tenants: BTreeMap<String, u32>,
    /// Days of messages, by box.
    boxes: BTreeMap<Group, u32>,
}

/// What of a group is due to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// All that is known after this name, within the group.
    pub after: String,
    /// By what setting, for a log and a record.
    pub because: String,
}

impl Keeping {
    /// As a snapshot says.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut boxes = BTreeMap::new();
        for (id, found) in &snapshot.centre.voicemail_boxes {
            // Two boxes may have one beginning of a name: nothing is deleted too early.
            let days: &mut u32 = boxes.entry(Group::of_box(id)).or_default();
            *days = (*days).max(found.retention_days);
        }
        let tenants = tenants(snapshot, RECORDING_DAYS, &snapshot.cluster.keeping.recording_days);
        Self { tenants, boxes }
    }

    /// What of a group is due at a time. None: nothing, and nothing of a tenant that is not known; messages of a box that is
    /// gone are kept as long as recordings.
    #[must_use]
    pub fn due(&self, group: &Group, now: Timestamp) -> Option<Due> {
        let tenant = || {
            let days = *self.tenants.get(&group.tenant)?;
            Some((days, format!("Tenant {}: retention.recordingDays is {days}", group.tenant)))
        };
        let own = |name: &String| {
            let days = *self.boxes.get(group)?;
            Some((days, format!("VoicemailBox {}/{name}: retentionDays is {days}", group.tenant)))
        };
        let (days, because) = group.voicemail_box.as_ref().and_then(own).or_else(tenant)?;
        let before = now.checked_sub(SignedDuration::from_hours(24 * i64::from(days))).ok()?;
        let after = format!("{INDEX}/{}/{}", group.prefix(), turned_stamp(&stamp(before)));
        Some(Due { after, because })
    }
}

/// Days that records of calls are kept, by tenant, as a snapshot says.
#[must_use]
pub fn record_days(snapshot: &Snapshot) -> BTreeMap<String, u32> {
    tenants(snapshot, RECORD_DAYS, &snapshot.cluster.keeping.record_days)
}

/// Whose tenant nothing tells of, of his nothing is deleted.
fn tenants(snapshot: &Snapshot, days: u32, others: &BTreeMap<String, u32>) -> BTreeMap<String, u32> {
    let numbers = snapshot.numbers.values().flatten().map(|range| range.id.0.namespace());
    let flows = snapshot.flows.keys().map(|flow| flow.0.namespace());
    let staff = snapshot.centre.agents.keys().map(|agent| agent.0.namespace());
    let boxed = snapshot.centre.voicemail_boxes.keys().map(|id| id.0.namespace());
    let served = numbers.chain(flows).chain(staff).chain(boxed);
    let mut tenants: BTreeMap<String, u32> = served.map(|namespace| (namespace.to_owned(), days)).collect();
    tenants.extend(others.clone());
    tenants
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_name_of_what_is_known_leads_back_and_the_newest_comes_first() {
        let older = "acme/calls/20261127T013000Z-0000abcd-1.wav";
        let newer = "acme/calls/20261127T013001Z-0000abcd-1.wav";
        let [first, second] = [newer, older].map(|name| index_name(name).unwrap());
        assert_eq!(second, "index/acme/calls/79738872T986999Z-0000abcd-1.wav");
        assert!(first < second);
        assert_eq!(sound_name(&second).unwrap(), older);
        let message = "acme/voicemail/support/20261127T013000Z-0000abcd-2.wav";
        assert_eq!(sound_name(&heard_name(message).unwrap()).unwrap(), message);
        for other in [
            "a.wav",
            "acme/calls/1.wav",
            "acme/other/20261127T013000Z-1.wav",
            "acme/calls/x/20261127T013000Z",
        ] {
            assert_eq!(index_name(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_as_old_as_it_may_be_is_due_and_nothing_younger() {
        let group = Group::calls("acme");
        let mut keeping = Keeping::default();
        assert_eq!(keeping.due(&group, at("2026-11-27T01:30:00Z")), None, "nobody has said");
        keeping.tenants.insert("acme".into(), 90);
        let due = keeping.due(&group, at("2026-11-27T01:30:00Z")).unwrap();
        assert_eq!(due.because, "Tenant acme: retention.recordingDays is 90");
        let is_due = |began: &str| {
            let name = format!("acme/calls/{}-0000abcd-1.wav", stamp(at(began)));
            index_name(&name).unwrap() > due.after
        };
        assert!(is_due("2026-08-29T01:30:00Z"));
        assert!(is_due("2025-12-31T23:59:59Z"));
        assert!(!is_due("2026-08-29T01:30:01Z"));
        let gone = Group { tenant: "acme".into(), voicemail_box: Some("support".into()) };
        assert_eq!(keeping.due(&gone, at("2026-11-27T01:30:00Z")).unwrap().because, due.because);
        keeping.boxes.insert(gone.clone(), 30);
        let own = keeping.due(&gone, at("2026-11-27T01:30:00Z")).unwrap();
        assert_eq!(own.because, "VoicemailBox acme/support: retentionDays is 30");
        assert_eq!(own.after, format!("index/acme/voicemail/support/{}", turned_stamp("20261028T013000Z")));
    }
}
