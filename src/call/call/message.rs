//! A message that the contact leaves: greeting, tone, what is said, and what the contact then makes of it.

use std::time::{Duration, Instant};

use model::{
    AudioId, PlayId, VoicemailBoxId,
    media::{BEEP_TONE, Order, Recorded, RecordingEnd, Voices},
};

use super::{AfterPlay, Call, Context, Effect, recording::STORE_WAIT};
use crate::cursor::Action;

/// How long a key is waited for after the question what becomes of a message.
const REVIEW_WAIT: Duration = Duration::from_secs(5);

/// How often that is asked before the message is kept.
const REVIEWS_MAX: u8 = 3;

/// Ends a greeting, and a message.
const DONE: char = '#';

/// A message that is being left.
#[derive(Debug)]
pub(super) struct Message {
    voicemail_box: VoicemailBoxId,
    longest_ms: u32,
    silence_ms: u32,
    /// Speech that it must have.
    least_ms: u64,
    /// Asks what becomes of it. Empty: nobody asks.
    review: Vec<AudioId>,
    stage: Stage,
    /// Name of what was said, in the store.
    taken: Option<String>,
    asked: u8,
    /// Whether the key that ends it has come.
    ended: bool,
    pub deadline: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// Greeting and tone are played.
    Greeting,
    /// The contact speaks.
    Recording(String),
    /// It was too long: a tone says so.
    Closing,
    /// It is asked what becomes of it.
    Review,
    /// It is played.
    Hearing,
}

impl Call {
    /// A `voicemail` step, once the contact can hear.
    pub(super) fn take_message(
        &mut self,
        id: &VoicemailBoxId,
        (greeting, longest): (Vec<AudioId>, Option<Duration>),
        context: &mut Context<'_>,
    ) -> Vec<Action> {
        let boxes = &context.environment.world.snapshot.centre.voicemail_boxes;
        let Some(found) = boxes.get(id).cloned() else {
            self.tell(format!("VoicemailBox {id} is gone"), context);
            return self.cursor.done(false, context.environment);
        };
        let longest = longest.map(|longest| u32::try_from(longest.as_millis()).unwrap_or(u32::MAX));
        self.message = Some(Message {
            voicemail_box: id.clone(),
            longest_ms: longest.unwrap_or_else(|| found.message_seconds_max.saturating_mul(1_000)),
            silence_ms: found.silence_seconds.saturating_mul(1_000),
            least_ms: u64::from(found.speech_seconds_min) * 1_000,
            review: found.review.clone(),
            stage: Stage::Greeting,
            taken: None,
            asked: 0,
            ended: false,
            deadline: None,
        });
        let mut audio = if greeting.is_empty() { found.greeting.clone() } else { greeting };
        audio.push(BEEP_TONE);
        self.play(audio, AfterPlay::Message, context);
        Vec::new()
    }

    /// What was played has ended.
    pub(super) fn message_played(&mut self, context: &mut Context<'_>) {
        let Some(message) = &mut self.message else { return };
        match message.stage {
            Stage::Greeting => self.record_message(context),
            Stage::Closing => self.review(context),
            Stage::Hearing => self.ask_what_becomes(context),
            Stage::Review => message.deadline = Some(context.environment.now.instant + REVIEW_WAIT),
            Stage::Recording(_) => {}
        }
    }

    /// What was to be played is not on the media server. False: that is not for messages to handle.
    pub(super) fn message_unplayed(&mut self, context: &mut Context<'_>) -> bool {
        match self.message.as_ref().map(|message| &message.stage) {
            Some(Stage::Hearing) => {
                self.tell("the message cannot be played".into(), context);
                self.ask_what_becomes(context);
                true
            }
            Some(_) => {
                self.drop_message(context);
                false
            }
            None => false,
        }
    }

    fn record_message(&mut self, context: &mut Context<'_>) {
        let may = self.may_record();
        let Some(message) = &mut self.message else { return };
        if !may {
            self.message = None;
            self.tell("the call has as many recordings as it may".into(), context);
            let actions = self.cursor.done(false, context.environment);
            return self.perform(actions, context);
        }
        let (longest, silence) = (message.longest_ms, message.silence_ms);
        let longest_wait = Duration::from_millis(u64::from(longest)) + STORE_WAIT;
        (message.ended, message.taken) = (false, None);
        message.deadline = Some(context.environment.now.instant + longest_wait);
        let voicemail_box = message.voicemail_box.clone();
        let what = (Voices::One(self.a.media.id), Some(longest), Some(silence));
        let name = self.begin_recording(Some(&voicemail_box), what, context);
        if let Some(message) = &mut self.message {
            message.stage = Stage::Recording(name);
        }
    }

    /// What was said is stored, or could not be.
    pub(super) fn message_recorded(&mut self, name: &str, recorded: &Recorded, context: &mut Context<'_>) {
        let here = |message: &&mut Message| message.stage == Stage::Recording(name.to_owned());
        let stored = recorded.name.clone();
        let Some(message) = self.message.as_mut().filter(here) else {
            // Whoever hangs up has said all.
            return self.keep_or_drop(&stored, recorded, context);
        };
        message.deadline = None;
        let least_ms = message.least_ms;
        if let RecordingEnd::Key(key) = recorded.end
            && !message.ended
        {
            self.swallows = Some(key);
        }
        if recorded.failed.is_some() {
            self.message = None;
            let actions = self.cursor.done(false, context.environment);
            return self.perform(actions, context);
        }
        if recorded.sound_ms < least_ms {
            self.message = None;
            self.forget_sound(&stored, context);
            let actions = self.cursor.left_nothing(context.environment);
            return self.perform(actions, context);
        }
        message.taken = Some(stored);
        if recorded.end == RecordingEnd::Full {
            message.stage = Stage::Closing;
            return self.play(vec![BEEP_TONE], AfterPlay::Message, context);
        }
        self.review(context);
    }

    /// A message whose sender is gone.
    fn keep_or_drop(&mut self, stored: &str, recorded: &Recorded, context: &mut Context<'_>) {
        let sound = self.recorder.sounds.iter().find(|sound| sound.name == stored);
        let id = sound.and_then(|sound| sound.voicemail_box.as_ref());
        let boxes = &context.environment.world.snapshot.centre.voicemail_boxes;
        let least_ms = id.and_then(|id| boxes.get(id)).map_or(0, |found| found.speech_seconds_min * 1_000);
        if recorded.failed.is_none() {
            match recorded.sound_ms < u64::from(least_ms) {
                true => self.forget_sound(stored, context),
                false => self.saved(stored, context),
            }
        }
    }

    fn review(&mut self, context: &mut Context<'_>) {
        match self.message.as_ref().is_some_and(|message| message.review.is_empty()) {
            true => self.keep_message(context),
            false => self.ask_what_becomes(context),
        }
    }

    fn ask_what_becomes(&mut self, context: &mut Context<'_>) {
        let Some(message) = &mut self.message else { return };
        message.asked += 1;
        message.deadline = None;
        if message.asked > REVIEWS_MAX {
            return self.keep_message(context);
        }
        message.stage = Stage::Review;
        let review = message.review.clone();
        self.play(review, AfterPlay::Message, context);
    }

    /// It stays, and the flow goes on.
    fn keep_message(&mut self, context: &mut Context<'_>) {
        let taken = self.message.take().and_then(|message| message.taken);
        if let Some(name) = &taken {
            self.saved(name, context);
        }
        let actions = self.cursor.done(taken.is_some(), context.environment);
        self.perform(actions, context);
    }

    /// A key of whoever leaves a message.
    pub(super) fn message_key(&mut self, key: char, context: &mut Context<'_>) {
        let Some(message) = &mut self.message else { return };
        match (&message.stage, key) {
            (Stage::Greeting, DONE) => self.play(vec![BEEP_TONE], AfterPlay::Message, context),
            (Stage::Recording(name), DONE) => {
                // The media server has heard it too, unless it came by INFO.
                message.ended = true;
                context.effects.push(Effect::Media(Order::EndRecording { name: name.clone() }));
            }
            (Stage::Closing | Stage::Review | Stage::Hearing, '1') if !message.review.is_empty() => {
                self.stop_message_play(context);
                self.keep_message(context);
            }
            (Stage::Review | Stage::Hearing, '2') => self.hear_message(context),
            (Stage::Review | Stage::Hearing, '3') => self.take_another(context),
            (Stage::Greeting | Stage::Recording(_) | Stage::Closing | Stage::Review | Stage::Hearing, _) => {}
        }
    }

    fn hear_message(&mut self, context: &mut Context<'_>) {
        let play = PlayId(self.fresh_id());
        let Some(message) = &mut self.message else { return };
        let Some(name) = message.taken.clone() else { return };
        (message.stage, message.asked, message.deadline) = (Stage::Hearing, 0, None);
        self.playing = Some((play, AfterPlay::Message));
        context.effects.push(Effect::Media(Order::PlayRecording { leg: self.a.media.id, play, name }));
    }

    fn take_another(&mut self, context: &mut Context<'_>) {
        let Some(message) = &mut self.message else { return };
        (message.stage, message.asked, message.deadline) = (Stage::Greeting, 0, None);
        if let Some(name) = message.taken.take() {
            self.forget_sound(&name, context);
        }
        self.play(vec![BEEP_TONE], AfterPlay::Message, context);
    }

    fn stop_message_play(&mut self, context: &mut Context<'_>) {
        if self.playing.take_if(|(_, then)| *then == AfterPlay::Message).is_some() {
            context.effects.push(Effect::Media(Order::StopPlay { leg: self.a.media.id }));
        }
    }

    pub(super) fn message_timeout(&mut self, now: Instant, context: &mut Context<'_>) {
        let Some(message) = &mut self.message else { return };
        if message.deadline.take_if(|deadline| *deadline <= now).is_none() {
            return;
        }
        let Stage::Recording(name) = &message.stage else { return self.ask_what_becomes(context) };
        let name = name.clone();
        self.message = None;
        context.effects.push(Effect::Media(Order::EndRecording { name }));
        self.tell("the media server does not say what became of the message".into(), context);
        let actions = self.cursor.done(false, context.environment);
        self.perform(actions, context);
    }

    /// The contact is gone, or something else has gone wrong: what was said stays.
    pub(super) fn drop_message(&mut self, context: &mut Context<'_>) {
        let Some(message) = self.message.take() else { return };
        if let Stage::Recording(name) = message.stage {
            context.effects.push(Effect::Media(Order::EndRecording { name }));
        }
        if let Some(name) = &message.taken {
            self.saved(name, context);
        }
    }

    fn forget_sound(&mut self, name: &str, context: &mut Context<'_>) {
        self.recorder.sounds.retain(|sound| sound.name != name);
        context.effects.push(Effect::Media(Order::ForgetRecording { name: name.to_owned() }));
    }
}
