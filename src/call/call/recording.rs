//! The recording of a call, part by part: a part ends where the contact is joined to somebody else, so that each holds the
//! contact on the left and whoever it talks to on the right.

use std::time::{Duration, Instant};

use model::{
    VoicemailBoxId,
    kept::{About, Group, stamp},
    media::{Format, Order, Recorded, Recording, Voices},
    program::{RecordAction, RecordTo},
};

use super::{Call, Context, Effect};
use crate::{
    cursor::Action,
    record::{Saved, Sound},
};

/// Most parts and messages of one call.
const SOUNDS_MAX: u32 = 64;

/// How long a `record` step waits for a media server that cannot record; one that can says nothing.
const REFUSAL_WAIT: Duration = Duration::from_millis(300);

/// How long the end of a call waits for what is still to be stored.
pub(super) const STORE_WAIT: Duration = Duration::from_secs(30);

/// What is recorded of a call.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    /// Whether the flow has turned it on.
    pub on: bool,
    /// Whether the flow has it leave a gap.
    pub paused: bool,
    part: Option<Part>,
    /// Until when the `record` step waits for a refusal.
    refused_until: Option<Instant>,
    /// All of the call, messages too.
    pub sounds: Vec<Sound>,
    /// How many there have been, thrown away or not.
    count: u32,
    /// What the names of this call's sounds have in common, drawn by lot.
    token: Option<u32>,
}

/// The part that runs.
#[derive(Debug)]
struct Part {
    name: String,
    voices: Voices,
    paused: bool,
}

impl Recorder {
    /// Whether something is still to be stored.
    pub fn is_open(&self) -> bool {
        self.sounds.iter().any(Sound::is_open)
    }

    /// When [`Call::recording_timeout`] is due.
    pub const fn deadline(&self) -> Option<Instant> {
        self.refused_until
    }

    /// What is kept of it: messages, or recordings of the call.
    pub fn kept(&self, messages: bool) -> Vec<Sound> {
        let kept = self.sounds.iter().filter(|sound| sound.voicemail_box.is_some() == messages);
        let told = |sound: &Sound| {
            let mut sound = sound.clone();
            if sound.is_open() {
                sound.failed = Some("the media server did not say in time that it is stored".into());
            }
            sound
        };
        kept.map(told).collect()
    }
}

impl Call {
    /// Brings what is recorded and listened to into line with where the call is: after all that happens to it.
    pub fn attend(&mut self, context: &mut Context<'_>) {
        self.attend_accepting(context);
        self.attend_supervisor(context);
        self.attend_agents(context);
        self.attend_talk(context);
        if self.ending.is_none() {
            self.attend_hold(context);
            self.attend_hearing(context);
            self.attend_recording(context);
            self.attend_siprec(context);
            self.show_recording(context);
            self.attend_listening(context);
        }
    }

    /// A `record` step, once the contact can be heard.
    pub(super) fn record_step(
        &mut self,
        action: RecordAction,
        to: RecordTo,
        context: &mut Context<'_>,
    ) -> Vec<Action> {
        if action == RecordAction::Start && to.is_recorder() {
            if !self.recorder.on {
                self.recorder.paused = false;
            }
            if let Some(actions) = self.begin_siprec(to, context) {
                return actions;
            }
        }
        let is_siprec = self.is_siprec();
        let recorder = &mut self.recorder;
        match action {
            RecordAction::Start if !recorder.on && recorder.count >= SOUNDS_MAX => {
                self.tell(format!("a call has at most {SOUNDS_MAX} recordings"), context);
                return self.cursor.done(false, context.environment);
            }
            RecordAction::Start if !recorder.on => {
                (recorder.on, recorder.paused) = (true, false);
                recorder.refused_until = Some(context.environment.now.instant + REFUSAL_WAIT);
                return Vec::new();
            }
            RecordAction::Start | RecordAction::Resume => recorder.paused = false,
            RecordAction::Pause => recorder.paused = recorder.on || is_siprec,
            RecordAction::Stop => recorder.on = false,
        }
        if action == RecordAction::Stop {
            self.stop_siprec();
        }
        self.cursor.done(true, context.environment)
    }

    pub(super) fn recording_timeout(&mut self, now: Instant, context: &mut Context<'_>) {
        if self.recorder.refused_until.take_if(|until| *until <= now).is_some() {
            let actions = self.cursor.done(true, context.environment);
            self.perform(actions, context);
        }
    }

    fn attend_recording(&mut self, context: &mut Context<'_>) {
        let voices = self.voices();
        let ends = |part: &Part| !self.recorder.on || part.voices != voices;
        if self.recorder.part.as_ref().is_some_and(ends) {
            self.end_part(context);
        }
        if self.recorder.on && self.recorder.part.is_none() {
            if self.recorder.count >= SOUNDS_MAX {
                self.recorder.on = false;
                return self.tell(format!("a call has at most {SOUNDS_MAX} recordings"), context);
            }
            let name = self.begin_recording(None, (voices.clone(), None, None), context);
            self.recorder.part = Some(Part { name, voices, paused: false });
        }
        // What is pressed in secret is nobody's to hear, and no tone of it may be either.
        let paused = self.recorder.paused || self.cursor.is_secret();
        if let Some(part) = &mut self.recorder.part
            && part.paused != paused
        {
            part.paused = paused;
            context.effects.push(Effect::Media(Order::PauseRecording { name: part.name.clone(), paused }));
        }
    }

    fn voices(&self) -> Voices {
        if self.is_conference() || self.is_barged() {
            return Voices::Mixed;
        }
        match self.joined() {
            Some(branch) => Voices::Stereo(self.a.media.id, branch.media.id),
            None => Voices::One(self.a.media.id),
        }
    }

    /// Gives its name.
    pub(super) fn begin_recording(
        &mut self,
        voicemail_box: Option<&VoicemailBoxId>,
        (voices, max_ms, silence_ms): (Voices, Option<u32>, Option<u32>),
        context: &mut Context<'_>,
    ) -> String {
        let name = self.sound_name(voicemail_box);
        let channels = if matches!(voices, Voices::Stereo(..)) { 2 } else { 1 };
        let began = context.environment.now.wall;
        self.recorder.sounds.push(Sound::begun(name.clone(), voicemail_box.cloned(), began, channels));
        let boxes = &context.environment.world.snapshot.centre.voicemail_boxes;
        let found = voicemail_box.and_then(|id| boxes.get(id));
        let about = About {
            call: self.id,
            call_id: self.incoming.call_id.clone(),
            tenant: self.incoming.admitted.tenant.clone(),
            from: self.incoming.from.clone(),
            to: self.incoming.to.clone(),
            started_at: began,
            channels,
            voicemail_box: voicemail_box.cloned(),
            messages_max: found.map_or(0, |found| found.messages_max),
            transcribed: found.is_some_and(|found| found.transcribed),
        };
        context.effects.push(Effect::Media(Order::BeginRecording(Box::new(Recording {
            name: name.clone(),
            voices,
            format: Format::Wav,
            max_ms,
            silence_ms,
            stop_keys: voicemail_box.map_or_else(String::new, |_| "#".to_owned()),
            mask_keys: true,
            about: Some(Box::new(about)),
        }))));
        name
    }

    /// Whether one more can be taken.
    pub(super) const fn may_record(&self) -> bool {
        self.recorder.count < SOUNDS_MAX
    }

    /// One that no other call gives: calls are counted anew by each edge.
    fn sound_name(&mut self, voicemail_box: Option<&VoicemailBoxId>) -> String {
        let lots = &mut self.incoming.lots;
        let token = *self.recorder.token.get_or_insert_with(|| lots.draw() as u32);
        self.recorder.count += 1;
        let group = match voicemail_box {
            Some(id) => Group::of_box(id),
            None => Group::calls(&self.incoming.admitted.tenant),
        };
        let began = stamp(self.started_at);
        format!("{}/{began}-{token:08x}-{}", group.prefix(), self.recorder.count)
    }

    fn end_part(&mut self, context: &mut Context<'_>) {
        if let Some(Part { name, .. }) = self.recorder.part.take() {
            context.effects.push(Effect::Media(Order::EndRecording { name }));
        }
    }

    /// The call is at its end.
    pub(super) fn end_recording(&mut self, context: &mut Context<'_>) {
        self.recorder.refused_until = None;
        self.end_part(context);
    }

    /// The media server has stored something, or could not.
    pub(super) fn recorded(&mut self, recorded: &Recorded, context: &mut Context<'_>) {
        let mut sounds = self.recorder.sounds.iter_mut();
        let Some(sound) = sounds.find(|sound| sound.is_open() && sound.is(&recorded.name)) else { return };
        let name = std::mem::take(&mut sound.name);
        sound.close(recorded);
        let is_message = sound.voicemail_box.is_some();
        if let Some(because) = &recorded.failed {
            self.tell(format!("recording {} has failed: {because}", recorded.name), context);
        }
        if is_message {
            return self.message_recorded(&name, recorded, context);
        }
        if recorded.failed.is_none() {
            self.saved(&recorded.name, context);
        }
        if self.recorder.part.take_if(|part| part.name == name).is_some() && recorded.failed.is_some() {
            self.recorder.on = false;
            if self.recorder.refused_until.take().is_some() {
                let actions = self.cursor.done(false, context.environment);
                self.perform(actions, context);
            }
        }
    }

    /// Says that a sound is stored and stays.
    pub(super) fn saved(&self, name: &str, context: &mut Context<'_>) {
        let Some(sound) = self.recorder.sounds.iter().find(|sound| sound.name == name) else { return };
        let seconds = sound.ms.unwrap_or_default() as f64 / 1_000.0;
        let what = match &sound.voicemail_box {
            Some(voicemail_box) => format!("a message for VoicemailBox {voicemail_box}"),
            None => "a recording".to_owned(),
        };
        self.tell(format!("{what} of {seconds:.1} s is stored as {name}"), context);
        context.effects.push(Effect::Saved(Box::new(Saved {
            call: self.id,
            call_id: self.incoming.call_id.clone(),
            tenant: self.incoming.admitted.tenant.clone(),
            from: self.incoming.from.clone(),
            to: self.incoming.to.clone(),
            sound: sound.clone(),
        })));
    }
}
