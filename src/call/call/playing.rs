//! What the contact is played and told by the flow, and what follows it.

use model::{
    AudioId, PlayId,
    media::{Order, PlayEnd},
};

use super::{AfterPlay, Call, Context, Effect, EndedBy};
use crate::cursor::Speech;

impl Call {
    /// A `play` step: its prompts, then what is said.
    pub(super) fn play_step(
        &mut self,
        audio: Vec<AudioId>,
        say: Option<Box<Speech>>,
        context: &mut Context<'_>,
    ) {
        let then = if say.is_some() { AfterPlay::Say } else { AfterPlay::GoOn };
        self.to_say = say;
        self.play(audio, then, context);
    }

    /// Speaks by the tenant's voice.
    pub(super) fn say(
        &mut self,
        Speech { text, language }: Speech,
        then: AfterPlay,
        context: &mut Context<'_>,
    ) {
        let play = PlayId(self.fresh_id());
        self.playing = Some((play, then));
        let (leg, tenant) = (self.a.media.id, self.admitted().tenant.clone());
        context.effects.push(Effect::Media(Order::Say { leg, play, text, language, tenant }));
    }

    /// Plays again and again, until something stops it.
    pub(super) fn play_on(&mut self, audio: Vec<AudioId>, then: AfterPlay, context: &mut Context<'_>) {
        if audio.is_empty() {
            return;
        }
        let play = PlayId(self.fresh_id());
        self.playing = Some((play, then));
        let audio = audio.into_iter().map(|audio| self.here(audio, context)).collect();
        let order = Order::Play { leg: self.a.media.id, play, audio, times: None };
        context.effects.push(Effect::Media(order));
    }

    pub(super) fn play(&mut self, audio: Vec<AudioId>, then: AfterPlay, context: &mut Context<'_>) {
        if audio.is_empty() {
            return self.after_play(then, context);
        }
        let play = PlayId(self.fresh_id());
        self.playing = Some((play, then));
        let order = Order::Play { leg: self.a.media.id, play, audio, times: Some(1) };
        context.effects.push(Effect::Media(order));
    }

    pub(super) fn play_ended(&mut self, play: PlayId, how: PlayEnd, context: &mut Context<'_>) {
        if self.standing_played(play, context) {
            return;
        }
        let Some((_, then)) = self.playing.take_if(|(playing, _)| *playing == play) else {
            return self.asked_for_key(play, how, context);
        };
        match how {
            PlayEnd::Finished | PlayEnd::Stopped => self.after_play(then, context),
            PlayEnd::UnknownAudio if then == AfterPlay::Message && self.message_unplayed(context) => {}
            PlayEnd::UnknownAudio if then == AfterPlay::Queue && self.is_announcing() => {
                self.after_play(then, context);
            }
            // A media server that does not know the country's tone yet: what follows it does not wait for it.
            PlayEnd::UnknownAudio if matches!(then, AfterPlay::Ring | AfterPlay::Refuse) => {
                self.after_play(then, context);
            }
            PlayEnd::UnknownAudio => {
                let because = "a prompt is not on the media server, or a text cannot be spoken there";
                let actions = self.cursor.failed(because, context.environment);
                self.perform(actions, context);
            }
        }
    }

    fn after_play(&mut self, then: AfterPlay, context: &mut Context<'_>) {
        match then {
            AfterPlay::Ring | AfterPlay::Wait => {}
            AfterPlay::Say => {
                if let Some(say) = self.to_say.take() {
                    self.say(*say, AfterPlay::GoOn, context);
                }
            }
            AfterPlay::Queue => self.queue_played(context),
            AfterPlay::HangUp => self.finish(EndedBy::Flow, 200, None, context),
            AfterPlay::Refuse => self.unhelped(context),
            AfterPlay::Message => self.message_played(context),
            AfterPlay::GoOn => {
                let actions = self.cursor.played(context.environment);
                self.perform(actions, context);
            }
        }
    }
}
