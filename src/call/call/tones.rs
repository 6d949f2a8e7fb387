//! What the networks of the tenant's country say without words.

use model::{
    AudioId,
    media::{RINGING_TONE, Tone, UNOBTAINABLE_TONE, national_tone, tone_of},
};

use super::{Call, Context};

/// The country of a tone in a flow, which sounds as in that of the tenant.
const HERE: [u8; 2] = [0; 2];

impl Call {
    /// A tone as the networks of the tenant's country have it.
    pub(super) fn tone(&self, tone: Tone, context: &Context<'_>) -> AudioId {
        let countries = &context.environment.world.snapshot.cluster.countries;
        let country = countries.get(self.cursor.flow().id.0.namespace());
        match (country, tone) {
            (Some(country), _) => national_tone(tone, country),
            (None, Tone::Ringback) => RINGING_TONE,
            (None, Tone::SpecialInformation) => UNOBTAINABLE_TONE,
            (None, Tone::Busy | Tone::Congestion) => national_tone(tone, "US"),
        }
    }

    /// As it sounds in the tenant's country, if it is a tone of a flow.
    pub(super) fn here(&self, audio: AudioId, context: &Context<'_>) -> AudioId {
        match tone_of(&audio) {
            Some((tone, HERE)) => self.tone(tone, context),
            _ => audio,
        }
    }
}
