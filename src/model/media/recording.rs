//! What is recorded of a session, and what became of it.

use serde::{Deserialize, Serialize};

use crate::{LegId, kept::About};

/// Whose voices a recording holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Voices {
    /// What one leg says, in one channel.
    One(LegId),
    /// What two legs say, one on the left and one on the right.
    Stereo(LegId, LegId),
    /// What all legs of the session say, in one channel.
    Mixed,
}

/// How it is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Format {
    /// WAV, PCM of 16 bits.
    #[default]
    Wav,
    /// Opus in Ogg (RFC 7845).
    OggOpus,
}

/// What to record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// Name of what is stored, with `/` between its parts and without an extension; it names one recording for ever.
    pub name: String,
    /// Whose voices.
    pub voices: Voices,
    /// How it is written.
    pub format: Format,
    /// Ends after so long, in milliseconds. None: with the session.
    pub max_ms: Option<u32>,
    /// Ends when everybody was silent for so long, in milliseconds. None: silence ends nothing.
    pub silence_ms: Option<u32>,
    /// Keys of its voices that end it; they are told as `Dtmf` nevertheless.
    pub stop_keys: String,
    /// Whether keys are left out of the sound, tones and events alike.
    pub mask_keys: bool,
    /// What is known of it in lists. None: it is in none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<Box<About>>,
}

/// How a recording ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RecordingEnd {
    /// It was stopped, or its legs are gone.
    Stopped,
    /// It reached `max_ms`.
    Full,
    /// Everybody was silent.
    Silence,
    /// A key of `stop_keys` was pressed.
    Key(char),
}

/// What is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Its name with its extension, as the store has it.
    pub name: String,
    /// How it ended.
    pub end: RecordingEnd,
    /// Length in milliseconds, without pauses.
    pub ms: u64,
    /// Milliseconds in which somebody was heard.
    pub sound_ms: u64,
    /// Bytes stored.
    pub bytes: u64,
    /// Why it is not stored, or not whole. None: it is.
    pub failed: Option<String>,
}
