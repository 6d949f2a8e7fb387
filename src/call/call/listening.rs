//! Words of the contact: what an `ask` listens for besides keys.

use std::time::Duration;

use model::media::{Heard, ListenId, Listening, Order};

use super::{Call, Context, Effect, Ports, StateA};

/// Least confidence, in percent, with which a phrase counts as said.
pub const CONFIDENCE_MIN: u8 = 40;

/// Silence that ends an utterance.
const END_SILENCE_MS: u16 = 700;

/// Longest utterance.
const UTTERANCE_MS: u32 = 8_000;

/// How long a recogniser may think about an utterance of that length.
const RECOGNISER_WAIT: Duration = Duration::from_secs(15);

/// Most phrases that are listened for at once.
const PHRASES_MAX: usize = 64;

/// A listening of the contact.
#[derive(Debug)]
pub(super) struct Ear {
    id: ListenId,
    /// Which question it is for.
    question: u32,
    phrases: Vec<String>,
}

impl Call {
    pub(super) fn attend_listening(&mut self, context: &mut Context<'_>) {
        let hears = self.a.state == StateA::Answered && matches!(self.a.media.ports, Ports::Ready(_));
        let wanted = self.cursor.listens().filter(|_| hears && self.dialling.is_none());
        let question = wanted.as_ref().map(|listens| listens.question);
        if question == self.ear.as_ref().map(|ear| ear.question) {
            return;
        }
        let leg = self.a.media.id;
        let new = wanted.map(|listens| {
            let phrases: Vec<_> = listens.phrases.into_iter().map(str::to_owned).take(PHRASES_MAX).collect();
            (listens.question, listens.language.to_owned(), phrases)
        });
        let Some((question, language, phrases)) = new else {
            self.ear = None;
            return context.effects.push(Effect::Media(Order::StopListening { leg }));
        };
        let id = ListenId(self.fresh_id());
        self.ear = Some(Ear { id, question, phrases: phrases.clone() });
        let listening = Box::new(Listening {
            id,
            language,
            phrases,
            barge_in: true,
            end_silence_ms: END_SILENCE_MS,
            max_ms: UTTERANCE_MS,
            tenant: self.admitted().tenant.clone(),
        });
        context.effects.push(Effect::Media(Order::Listen { leg, listening }));
    }

    /// Something was heard of the contact.
    pub(super) fn heard(&mut self, listening: ListenId, heard: Heard, context: &mut Context<'_>) {
        let Some(ear) = self.ear.as_ref().filter(|ear| ear.id == listening && self.ending.is_none()) else {
            return;
        };
        let environment = context.environment;
        let actions = match heard {
            Heard::Began => {
                let longest = Duration::from_millis(u64::from(UTTERANCE_MS)) + RECOGNISER_WAIT;
                self.cursor.speaks(longest, environment);
                Vec::new()
            }
            Heard::Phrase { phrase, confidence } => {
                let Some(words) = ear.phrases.get(usize::from(phrase)).cloned() else { return };
                let sure = confidence >= CONFIDENCE_MIN;
                if !self.cursor.is_secret() {
                    let unsure = if sure { "" } else { ", which is too unsure to count" };
                    self.tell(format!("the contact said “{words}” with {confidence} %{unsure}"), context);
                }
                match sure {
                    true => self.cursor.said(&words, environment),
                    false => self.cursor.unheard(environment),
                }
            }
            Heard::Other => {
                self.tell("the contact said something else than a phrase".into(), context);
                self.cursor.unheard(environment)
            }
            Heard::Missed(because) => {
                self.tell(format!("what the contact said could not be understood: {because}"), context);
                self.cursor.unheard(environment)
            }
            Heard::Failed(because) => {
                self.tell(format!("words are not understood, keys alone count: {because}"), context);
                self.cursor.deaf(environment);
                Vec::new()
            }
        };
        self.perform(actions, context);
    }
}
