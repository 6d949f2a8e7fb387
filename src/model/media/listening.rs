//! What a leg's peer is listened to for besides keys.

use serde::{Deserialize, Serialize};

/// Names one listening of a leg; a new one takes the place of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ListenId(pub u64);

/// What is listened for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// Names it.
    pub id: ListenId,
    /// The language's tag (BCP 47).
    pub language: String,
    /// What may be said: one of these phrases and nothing else. Empty: any speech, which is only noticed. At most 64, of
    /// 64 characters each.
    pub phrases: Vec<String>,
    /// Whether speech stops what plays to the leg (barge-in), as soon as it begins.
    pub barge_in: bool,
    /// Silence that ends an utterance, in milliseconds.
    pub end_silence_ms: u16,
    /// Longest utterance, in milliseconds.
    pub max_ms: u32,
    /// Namespace of the tenant, whose own recogniser understands. Empty: nobody's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tenant: String,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Heard {
    /// Speech has begun.
    Began,
    /// An utterance is one of the phrases.
    Phrase {
        /// Which, by its place in the list.
        phrase: u16,
        /// How sure that is, in percent.
        confidence: u8,
    },
    /// An utterance that is none of the phrases, or, without phrases, the end of one.
    Other,
    /// This utterance could not be understood by a service, which may well be able to tell the next. Why: for the explanation.
    Missed(String),
    /// Nobody can tell what was said. Why: for the log and the explanation.
    Failed(String),
}
