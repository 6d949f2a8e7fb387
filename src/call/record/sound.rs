//! What was recorded of a call: the call itself, part by part, and messages that the contact left.

use jiff::Timestamp;
use model::{
    CallId, VoicemailBoxId,
    media::{Recorded, RecordingEnd},
};
use serde::Serialize;

/// A recording, or a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sound {
    /// Its name in the store; with an extension as soon as it is stored.
    pub name: String,
    /// Whose message it is. None: it is a recording of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voicemail_box: Option<VoicemailBoxId>,
    /// When it began.
    pub started_at: Timestamp,
    /// 1, or 2 with the contact on the left and whoever it was joined to on the right.
    pub channels: u8,
    /// Its length in milliseconds, without gaps. None: the media server has not said.
    pub ms: Option<u64>,
    /// Milliseconds in which somebody was heard.
    pub sound_ms: Option<u64>,
    /// Bytes that are stored.
    pub bytes: Option<u64>,
    /// How it ended.
    pub end: Option<RecordingEnd>,
    /// Why it is not stored, or not whole. None: it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl Sound {
    /// One that has just begun.
    #[must_use]
    pub const fn begun(
        name: String,
        voicemail_box: Option<VoicemailBoxId>,
        started_at: Timestamp,
        channels: u8,
    ) -> Self {
        Self {
            name,
            voicemail_box,
            started_at,
            channels,
            ms: None,
            sound_ms: None,
            bytes: None,
            end: None,
            failed: None,
        }
    }

    /// Whether the media server has yet to say what became of it.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.end.is_none() && self.failed.is_none()
    }

    /// Whether this is what a media server tells of: it adds an extension.
    #[must_use]
    pub fn is(&self, stored: &str) -> bool {
        let more = stored.strip_prefix(self.name.as_str());
        more.is_some_and(|more| more.is_empty() || more.starts_with('.'))
    }

    /// Takes what the media server says of it.
    pub fn close(&mut self, recorded: &Recorded) {
        let Recorded { name, end, ms, sound_ms, bytes, failed } = recorded;
        self.name.clone_from(name);
        (self.end, self.ms) = (Some(*end), Some(*ms));
        (self.sound_ms, self.bytes) = (Some(*sound_ms), Some(*bytes));
        self.failed.clone_from(failed);
    }
}

/// A recording or a message has been stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Saved {
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
    /// What.
    #[serde(flatten)]
    pub sound: Sound,
}
