//! Verbs by which the contact hears, says or presses something, and the end of the call.

use api::v1alpha1 as v1;
use model::{
    AudioId, VoicemailBoxId,
    media::{Tone, national_tone},
    program::{
        Ask, AskInput, Choice, Pronunciation, RecordAction, RecordTo, Rejection, Say, VariableIx,
        VariableKind, Verb, spoken,
    },
    snapshot::AudioSource,
};

use super::{Compiler, milliseconds, small};
use crate::problem::Reason;

/// Most phrases that a media server listens for at once.
const PHRASES_MAX: usize = 64;

impl Compiler<'_> {
    pub(super) fn talk(&mut self, step: &v1::Step, at: &str) -> Option<Verb> {
        if let Some(play) = &step.play {
            Some(self.play(play, at))
        } else if let Some(ask) = &step.ask {
            Some(self.ask(ask, at))
        } else if let Some(voicemail) = &step.voicemail {
            Some(self.voicemail(voicemail, at))
        } else if let Some(record) = &step.record {
            Some(self.record(record, at))
        } else {
            step.wait.as_ref().map(|wait| self.wait(wait, at))
        }
    }

    fn play(&mut self, play: &v1::Play, at: &str) -> Verb {
        let audio = match (&play.prompt, &play.prompts) {
            (Some(name), _) => self.prompt(name, &format!("{at}.play.prompt")).into_iter().collect(),
            (None, Some(names)) => {
                let prompts = names.iter().enumerate();
                prompts
                    .filter_map(|(index, name)| self.prompt(name, &format!("{at}.play.prompts[{index}]")))
                    .collect()
            }
            (None, None) => Vec::new(),
        };
        let next = self.follow(play.next.as_deref(), at, "play.next", true);
        let say = play.say.as_ref().map(|say| Box::new(self.say(say, &format!("{at}.play.say.value"))));
        Verb::Play { audio, say, early: play.early, next }
    }

    fn say(&mut self, say: &v1::Say, field: &str) -> Say {
        let pronunciation = match say.pronunciation {
            v1::Pronunciation::Text => Pronunciation::Text,
            v1::Pronunciation::Number => Pronunciation::Number,
            v1::Pronunciation::Digits => Pronunciation::Digits,
            v1::Pronunciation::Date => Pronunciation::Date,
            v1::Pronunciation::Time => Pronunciation::Time,
        };
        let (wanted, whose) = match pronunciation {
            Pronunciation::Number => (VariableKind::Integer, "what is said as a number"),
            Pronunciation::Text | Pronunciation::Digits | Pronunciation::Date | Pronunciation::Time => {
                (VariableKind::String, "what is said")
            }
        };
        let value = self.expression(&say.value, wanted, whose, field);
        let tenant = self.world.tenants.get(self.item.namespace());
        let language = tenant.and_then(|tenant| tenant.spec.languages.first());
        Say { value, pronunciation, language: language.map_or("en-US", String::as_str).to_owned() }
    }

    fn ask(&mut self, ask: &v1::Ask, at: &str) -> Verb {
        let prompt = |compiler: &mut Self, name: &Option<String>, field: &str| {
            let name = name.as_deref();
            name.and_then(|name| compiler.prompt(name, &format!("{at}.ask.{field}"))).into_iter().collect()
        };
        let audio: Vec<AudioId> = prompt(self, &ask.prompt, "prompt");
        let invalid_audio = prompt(self, &ask.invalid_prompt, "invalidPrompt");
        let input = match &ask.digits {
            Some(digits) => self.digits(digits, at),
            None => AskInput::Choices(self.choices(ask.choices.as_deref().unwrap_or_default(), at)),
        };
        let language = self.spoken_language(&audio, &input, at);
        // Silence goes on by itself, until `maxVisits` turns it to `noMatch`; a wrong key is something that was done.
        let bounded = ask.max_visits.is_some();
        let no_input = self.follow(ask.no_input.as_deref(), at, "ask.noInput", !bounded);
        let no_match = self.follow(ask.no_match.as_deref(), at, "ask.noMatch", bounded);
        Verb::Ask(Ask {
            audio,
            timeout_ms: milliseconds(ask.timeout_seconds),
            inter_digit_ms: milliseconds(ask.inter_digit_seconds),
            attempts: small(ask.attempts),
            invalid_audio,
            max_visits: ask.max_visits.map(small),
            input,
            secret: ask.secret,
            language,
            no_input,
            no_match,
        })
    }

    fn digits(&mut self, digits: &v1::Digits, at: &str) -> AskInput {
        let field = format!("{at}.ask.digits.variable");
        let variable = self.variable(&digits.variable, &field);
        if let Some((_, kind)) = variable
            && kind != VariableKind::String
        {
            let message = format!(
                "`{}` must be a variable of type String: digits may begin with 0, * or #.",
                digits.variable
            );
            self.item.error(self.report, &field, Reason::WrongKind, message);
        }
        let next = self.follow(digits.next.as_deref(), at, "ask.digits.next", false);
        AskInput::Digits {
            variable: variable.map_or(VariableIx(0), |(place, _)| place),
            min: small(digits.min),
            max: small(digits.max),
            terminator: digits.terminator.as_ref().and_then(|key| key.chars().next()),
            next,
        }
    }

    fn choices(&mut self, choices: &[v1::Choice], at: &str) -> Vec<Choice> {
        let mut compiled: Vec<Choice> = Vec::new();
        for (index, choice) in choices.iter().enumerate() {
            let field = format!("{at}.ask.choices[{index}]");
            let begins = |a: &str, b: &str| a.starts_with(b) || b.starts_with(a);
            if let Some(other) = compiled.iter().find(|other| begins(&other.digits, &choice.digits)) {
                let message = format!(
                    "Keys {} and {} cannot be told apart while they are pressed; no choice's keys may begin another's.",
                    other.digits, choice.digits
                );
                self.item.error(self.report, &format!("{field}.digits"), Reason::AmbiguousChoice, message);
            }
            let phrases = self.phrases(choice, &compiled, &field);
            let next = self.follow(Some(&choice.next), at, &format!("ask.choices[{index}].next"), false);
            compiled.push(Choice { digits: choice.digits.clone(), phrases, next });
        }
        compiled
    }

    /// The language that phrases are listened for in: that of the question where it is a text to speak, else the first of the
    /// tenant's. Empty: nothing is listened for.
    fn spoken_language(&mut self, question: &[AudioId], input: &AskInput, at: &str) -> String {
        let AskInput::Choices(choices) = input else { return String::new() };
        let count: usize = choices.iter().map(|choice| choice.phrases.len()).sum();
        let Some(first) = choices.iter().position(|choice| !choice.phrases.is_empty()) else {
            return String::new();
        };
        let field = format!("{at}.ask.choices[{first}].phrases");
        if count > PHRASES_MAX {
            let message = format!(
                "At most {PHRASES_MAX} phrases are told apart at one step, but there are {count}: leave some out, or ask twice."
            );
            self.item.error(self.report, &field, Reason::AmbiguousChoice, message);
        }
        let asked = question.first().and_then(|id| self.prompts.get(id));
        let asked = asked.and_then(|prompt| match &prompt.audio.source {
            AudioSource::Speech { language, .. } => Some(language),
            AudioSource::Wav { .. } | AudioSource::Remote { .. } => None,
        });
        let tenant = self.world.tenants.get(self.item.namespace());
        let tenants = tenant.and_then(|tenant| tenant.spec.languages.first());
        let language = asked.or(tenants).map_or("en-US", String::as_str).to_owned();
        let tag = language.split('-').next().unwrap_or_default();
        if !tag.eq_ignore_ascii_case("en") {
            let message = format!(
                "Only English is understood yet, and this step's language is {language}: its phrases are not heard, its keys are."
            );
            self.item.warning(self.report, &field, Reason::NotYetEffective, message);
        }
        language
    }

    /// What can be said instead of a choice's keys.
    fn phrases(&mut self, choice: &v1::Choice, before: &[Choice], field: &str) -> Vec<String> {
        let mut phrases: Vec<String> = Vec::new();
        for (index, phrase) in choice.phrases.iter().enumerate() {
            let words = spoken(phrase);
            let other = before.iter().find(|other| other.phrases.contains(&words));
            let whose = other.map(|other| format!("choice {}", other.digits));
            let whose = whose.or_else(|| phrases.contains(&words).then(|| "this choice".to_owned()));
            if let Some(whose) = whose {
                let message =
                    format!("Phrase `{words}` stands already at {whose}; say it at one choice only, once.");
                let field = format!("{field}.phrases[{index}]");
                self.item.error(self.report, &field, Reason::AmbiguousChoice, message);
            }
            phrases.push(words);
        }
        phrases
    }

    fn voicemail(&mut self, voicemail: &v1::Voicemail, at: &str) -> Verb {
        let kind = ("VoicemailBox", Reason::BoxNotFound);
        let voicemail_box = self.object(kind, &voicemail.voicemail_box, &format!("{at}.voicemail.box"));
        let greeting =
            self.optional_prompt(voicemail.greeting.as_deref(), &format!("{at}.voicemail.greeting"));
        // Whoever leaves a message does something.
        let next = self.follow(voicemail.next.as_deref(), at, "voicemail.next", false);
        let failed = self.failure(voicemail.failed.as_deref(), at, ("voicemail", "failed"), true);
        Verb::Voicemail {
            voicemail_box: VoicemailBoxId(voicemail_box),
            greeting,
            max_ms: voicemail.max_seconds.map(milliseconds),
            next,
            failed,
        }
    }

    fn record(&mut self, record: &v1::Record, at: &str) -> Verb {
        let next = self.follow(record.next.as_deref(), at, "record.next", true);
        let failed = self.failure(record.failed.as_deref(), at, ("record", "failed"), true);
        let action = match record.action {
            v1::RecordAction::Start => RecordAction::Start,
            v1::RecordAction::Stop => RecordAction::Stop,
            v1::RecordAction::Pause => RecordAction::Pause,
            v1::RecordAction::Resume => RecordAction::Resume,
        };
        let to = match record.to {
            v1::RecordTo::Store => RecordTo::Store,
            v1::RecordTo::Recorder => RecordTo::Recorder,
            v1::RecordTo::Both => RecordTo::Both,
        };
        let namespace = self.item.namespace();
        let begins = action == RecordAction::Start && to.is_recorder();
        let recorder = self.world.tenants.get(namespace).and_then(|tenant| tenant.spec.recorder.as_ref());
        if begins && recorder.is_none() {
            let message = format!(
                "The Tenant of namespace {namespace} must have a `recorder` before a flow may say `to: {to:?}`; `to: Store` needs none."
            );
            self.item.error(self.report, &format!("{at}.record.to"), Reason::NoRecorder, message);
        }
        Verb::Record { action, to, next, failed }
    }

    fn wait(&mut self, wait: &v1::Wait, at: &str) -> Verb {
        let audio = match wait.tone {
            Some(tone) => vec![national_tone(self::tone(tone), "")],
            None => self.optional_prompt(wait.prompt.as_deref(), &format!("{at}.wait.prompt")),
        };
        // Time passes by itself; what bounds it is the number of visits.
        let next = self.follow(wait.next.as_deref(), at, "wait.next", wait.max_visits.is_none());
        let exceeded = wait.exceeded.as_deref().zip(wait.max_visits);
        let bound =
            exceeded.map(|(name, most)| (small(most), self.follow(Some(name), at, "wait.exceeded", true)));
        Verb::Wait { ms: milliseconds(wait.seconds), audio, next, bound }
    }

    pub(super) fn hangup(&mut self, hangup: Option<&v1::Hangup>, at: &str) -> Verb {
        let prompt = hangup.and_then(|hangup| hangup.prompt.as_deref());
        let audio = prompt.and_then(|name| self.prompt(name, &format!("{at}.hangup.prompt")));
        let reject = hangup.and_then(|hangup| hangup.reject).map(|reject| match reject {
            v1::Rejection::Busy => Rejection::Busy,
            v1::Rejection::Decline => Rejection::Decline,
            v1::Rejection::NotFound => Rejection::NotFound,
            v1::Rejection::Unavailable => Rejection::Unavailable,
            v1::Rejection::Forbidden => Rejection::Forbidden,
        });
        Verb::Hangup { audio: audio.into_iter().collect(), reject }
    }

    fn optional_prompt(&mut self, name: Option<&str>, field: &str) -> Vec<AudioId> {
        name.and_then(|name| self.prompt(name, field)).into_iter().collect()
    }
}

const fn tone(tone: v1::Tone) -> Tone {
    match tone {
        v1::Tone::Ringback => Tone::Ringback,
        v1::Tone::Busy => Tone::Busy,
        v1::Tone::Congestion => Tone::Congestion,
        v1::Tone::SpecialInformation => Tone::SpecialInformation,
    }
}
