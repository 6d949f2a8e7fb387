//! Prompts.
use model::AudioId;
use std::{collections::BTreeMap, sync::Arc};

/// All prompts, decoded once: each as 8 kHz PCM and encoded by both laws.
#[derive(Debug, Clone, Default)]
pub struct Library {}

/// Where a prompt's sound comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AudioSource {
    /// Bytes of a WAV file.
    Wav(Arc<[u8]>),
    /// Text, spoken by `espeak-ng`.
    Speech {
        /// What is said.
        text: String,
        /// Language tag, such as `en-US`.
        language: String,
    },
}

/// A prompt that cannot be played, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct LoadError {
    /// The prompt.
    pub audio: AudioId,
    /// Why.
    pub kind: LoadErrorKind,
}

/// Why a prompt cannot be played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadErrorKind {
    /// Not a WAV file.
    #[error("not a WAV file that can be read: {0}")]
    NotWav(String),
}

impl Library {
    /// Decodes what is wanted.
    ///
    /// # Errors
    /// One [`LoadError`] per prompt that cannot be played.
    pub fn load(
        _wanted: &BTreeMap<AudioId, AudioSource>,
        _last: Option<&Self>,
    ) -> Result<Self, Vec<LoadError>> {
        Ok(Self {})
    }
}
