//! What a contact meets on the way through a flow, as what it is and not as it is called: two steps, variables or prompts of
//! different names but equal effect are one and the same here.

use call::world::{Flow, World};
use model::{
    AudioId, Key,
    program::{
        Ask, AskInput, Dial, DialStrategy, DialTarget, Pronunciation, RecordAction, TransferKind, Verb,
    },
    snapshot::{Audio, AudioSource},
};

use super::{centre, closure};
use crate::walk::{End, Next, Place, Target, Walk, Way};

/// Most that is heard one after the other without a choice.
pub const HEARD_MAX: usize = 256;

/// A walk, and what its names stand for.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Whose snapshot.
    pub world: &'a World,
    /// Which flow was walked.
    pub flow: &'a Flow,
    /// Its paths.
    pub walk: &'a Walk,
    /// The tenant's own; other namespaces are told with an object's name.
    pub namespace: &'a str,
    /// Who calls; empty if withheld.
    pub caller: &'a str,
}

/// What happens between two points at which somebody decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// What is heard, in order.
    pub heard: Vec<Heard>,
    /// What comes then.
    pub stop: Stop,
}

/// Something that is heard to its end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Heard {
    /// What.
    pub sound: Sound,
    /// Before the call is answered, which costs the caller nothing.
    pub early: bool,
}

/// What is heard, by its content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sound {
    /// Played once.
    Audio(AudioId),
    /// Played again and again for so many milliseconds; nothing: silence.
    While(u32, Vec<AudioId>),
    /// What an expression gives, and how it is read.
    Said(String, Pronunciation),
}

/// Where somebody decides, or nobody does any more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// A place of the walk.
    Place(usize),
    /// The end of the call.
    End(Ending),
    /// Further than the walk goes.
    Cut,
}

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// We end it.
    HangUp,
    /// It is refused unanswered, with this SIP status code.
    Refused(u16),
    /// It is refused unanswered, with whatever the callee said.
    Relayed,
    /// It fails unanswered: 500.
    Failed,
    /// It fails after the answer.
    Broken,
    /// The number leads nowhere; with the code that a call to it gets, if it is heard at all.
    NotLive(Option<u16>),
}

/// A place at which somebody decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Places of different kinds have nothing in common that could be compared.
    pub kind: Kind,
    /// What it is, in short.
    pub name: Shown,
    /// The same at length, where there is more to it.
    pub does: Option<Shown>,
    /// What else a contact notices of it, in a fixed order.
    pub aspects: Vec<(&'static str, Shown)>,
    /// What is heard of it, with the words for that.
    pub audio: Vec<(&'static str, Vec<Sound>)>,
}

/// What kind of place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Keys choose.
    Menu,
    /// Keys are entered.
    Digits,
    /// Others ring.
    Ring,
    /// The contact is handed on.
    Transfer,
    /// An agent is waited for.
    Queue,
    /// The contact is to be called back.
    Callback,
    /// A message is taken.
    Voicemail,
    /// The recording begins, ends, or leaves a gap.
    Record,
    /// Something is written to somebody.
    Message,
    /// A service is asked.
    Request,
    /// A lot decides.
    Split,
    /// Of a verb that waits for nobody; never a stop.
    Passing,
}

impl Kind {
    /// Whether the contact notices nothing of it, but for what follows.
    #[must_use]
    pub const fn is_unnoticed(self) -> bool {
        matches!(self, Self::Record | Self::Message | Self::Request | Self::Split)
    }
}

/// Something by its identity, and as people read it.
#[derive(Debug, Clone)]
pub struct Shown {
    key: String,
    /// For people.
    pub text: String,
}

impl PartialEq for Shown {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Shown {}

impl Shown {
    /// With an identity that people do not read.
    pub fn of(key: String, text: String) -> Self {
        Self { key, text }
    }

    /// Where people read the identity itself.
    pub fn plain(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { key: text.clone(), text }
    }
}

impl View<'_> {
    /// What a step does; of a called flow, its name stands before the step's.
    #[must_use]
    pub fn verb(&self, step: &str) -> Option<&Verb> {
        let (flow, name) = match step.split_once('/') {
            None => (self.flow, step),
            Some((flow, name)) => {
                (closure(self.flow).into_iter().find(|known| known.id.0.name() == flow)?, name)
            }
        };
        flow.program.steps.iter().find(|known| known.name == name).map(|step| &step.verb)
    }

    /// From where a way leads on to the next stop.
    #[must_use]
    pub fn leg(&self, next: &Next) -> Leg {
        let mut heard = Vec::new();
        let mut next = next;
        while let Next::Place(place) = next
            && heard.len() < HEARD_MAX
        {
            let told = &self.walk.places[*place];
            let Some((sounds, way)) = self.passing(told) else {
                return Leg { heard, stop: Stop::Place(*place) };
            };
            heard.extend(sounds);
            next = &way.next;
        }
        let stop = match next {
            Next::End { step, end, how } => {
                if let (End::HungUp, Some(Verb::Hangup { audio, reject: None })) = (end, self.verb(step)) {
                    let sounds = audio.iter().copied().map(Sound::Audio);
                    heard.extend(sounds.map(|sound| Heard { sound, early: false }));
                }
                Stop::End(ending(*end, how))
            }
            Next::Place(_) | Next::Cut => Stop::Cut,
        };
        Leg { heard, stop }
    }

    /// What is heard at a place where nobody decides, and the one way on.
    fn passing<'p>(&self, told: &'p Place) -> Option<(Vec<Heard>, &'p Way)> {
        let way = told.ways.first()?;
        match self.verb(&told.step)? {
            Verb::Play { audio, say, early, .. } => {
                let early = *early && !told.answered;
                let said = say.iter().map(|say| Sound::Said(say.value.0.clone(), say.pronunciation));
                let sounds = audio.iter().copied().map(Sound::Audio).chain(said);
                Some((sounds.map(|sound| Heard { sound, early }).collect(), way))
            }
            Verb::Wait { ms, audio, .. } => {
                Some((vec![Heard { sound: Sound::While(*ms, audio.clone()), early: false }], way))
            }
            Verb::Ask(_)
            | Verb::Hours { .. }
            | Verb::Branch { .. }
            | Verb::Set { .. }
            | Verb::Split { .. }
            | Verb::Request(_)
            | Verb::Call { .. }
            | Verb::Dial(_)
            | Verb::Transfer { .. }
            | Verb::Queue(_)
            | Verb::Callback { .. }
            | Verb::Voicemail { .. }
            | Verb::Record { .. }
            | Verb::Message { .. }
            | Verb::Hangup { .. } => None,
        }
    }

    /// What somebody decides about at a place.
    #[must_use]
    pub fn sight(&self, place: usize) -> Sight {
        let told = &self.walk.places[place];
        let first = told.targets.first().map_or_else(String::new, |target| self.target(target));
        let does = self.declared(&told.does);
        match self.verb(&told.step) {
            Some(Verb::Ask(ask)) => self.asks(ask),
            Some(Verb::Dial(dial)) => self.rings(dial, told.answered, Kind::Ring),
            Some(Verb::Transfer { dial, kind }) => {
                let mut sight = self.rings(dial, told.answered, Kind::Transfer);
                let by = match kind {
                    TransferKind::Blind => "us",
                    TransferKind::Refer => "the caller's side",
                };
                sight.aspects.push(("is handed on by", Shown::plain(by)));
                sight
            }
            Some(Verb::Queue(queue)) => {
                let (aspects, audio) = centre::queue(&self.world.snapshot, &queue.queue);
                Sight { aspects, audio, ..Sight::of(Kind::Queue, first, Some(does)) }
            }
            Some(Verb::Callback { .. }) => {
                Sight::of(Kind::Callback, format!("callback by {first}"), Some(does))
            }
            Some(Verb::Voicemail { voicemail_box, greeting, max_ms, .. }) => {
                let of_box = centre::voicemail_box(&self.world.snapshot, voicemail_box, self.namespace);
                let (own, longest, readers) = of_box.unwrap_or((Vec::new(), 0, Shown::plain("nobody")));
                let said: Vec<Sound> = greeting.iter().copied().map(Sound::Audio).collect();
                let longest = max_ms.unwrap_or(longest.saturating_mul(1_000));
                Sight {
                    aspects: vec![("longest message", Shown::plain(seconds(longest))), ("goes to", readers)],
                    audio: vec![("greeted with", if said.is_empty() { own } else { said })],
                    ..Sight::of(Kind::Voicemail, first, None)
                }
            }
            Some(Verb::Record { action, .. }) => {
                let how = match action {
                    RecordAction::Start => "recording begins",
                    RecordAction::Stop => "recording ends",
                    RecordAction::Pause => "recording leaves a gap",
                    RecordAction::Resume => "recording goes on",
                };
                Sight::of(Kind::Record, how, None)
            }
            Some(Verb::Message { .. }) => Sight::of(Kind::Message, does, None),
            Some(Verb::Request(request)) => {
                let aspects = centre::integration(&self.world.snapshot, &request.integration);
                Sight { aspects, ..Sight::of(Kind::Request, format!("asks {first}"), Some(does)) }
            }
            Some(Verb::Split { .. }) => Sight::of(Kind::Split, does, None),
            Some(
                Verb::Play { .. }
                | Verb::Wait { .. }
                | Verb::Hours { .. }
                | Verb::Branch { .. }
                | Verb::Set { .. }
                | Verb::Call { .. }
                | Verb::Hangup { .. },
            )
            | None => Sight::of(Kind::Passing, does, None),
        }
    }

    /// What a place does, for whomever calls.
    fn declared(&self, does: &str) -> String {
        if self.caller.is_empty() {
            return does.to_owned();
        }
        does.replace(self.caller, "‹contact.number›")
    }

    fn target(&self, target: &Target) -> String {
        match target {
            Target::Agent(id) => self.named("Agent", &id.0),
            Target::Extension { user, trunk } => {
                format!("extension {user} of {}", self.named("Trunk", &trunk.0))
            }
            Target::Integration(id) => self.named("Integration", &id.0),
            Target::Number(number) => number.to_string(),
            Target::Queue(id) => self.named("Queue", &id.0),
            Target::VoicemailBox(id) => self.named("VoicemailBox", &id.0),
        }
    }

    fn asks(&self, ask: &Ask) -> Sight {
        let several = ask.attempts > 1;
        let mut aspects = vec![
            ("asked at most", Shown::plain(times(ask.attempts))),
            ("waits for a key", Shown::plain(seconds(ask.timeout_ms))),
        ];
        let (kind, name, long) = match &ask.input {
            AskInput::Choices(choices) => {
                let digits: Vec<_> = choices.iter().map(|choice| choice.digits.as_str()).collect();
                let name = Shown { key: String::new(), text: format!("menu {}", digits.join(", ")) };
                (Kind::Menu, name, choices.iter().any(|choice| choice.digits.len() > 1))
            }
            AskInput::Digits { min, max, terminator, .. } => {
                let count = if min == max { min.to_string() } else { format!("{min} to {max}") };
                let end = terminator.map(|key| format!(", ended by {key}")).unwrap_or_default();
                (Kind::Digits, Shown::plain(format!("asks for {count} digits{end}")), *max > 1)
            }
        };
        if let AskInput::Choices(choices) = &ask.input
            && choices.iter().any(|choice| !choice.phrases.is_empty())
        {
            let said = choices.iter().filter(|choice| !choice.phrases.is_empty());
            let said: Vec<_> =
                said.map(|choice| format!("{} for {}", choice.phrases.join(" or "), choice.digits)).collect();
            aspects.push(("may be said", Shown::plain(said.join(", "))));
            aspects.push(("is understood in", Shown::plain(ask.language.clone())));
        }
        if long {
            aspects.push(("waits for the next key", Shown::plain(seconds(ask.inter_digit_ms))));
        }
        let sounds = |audio: &[AudioId]| audio.iter().copied().map(Sound::Audio).collect();
        let mut audio = vec![("hears", sounds(&ask.audio))];
        if several {
            audio.push(("after a wrong key hears", sounds(&ask.invalid_audio)));
        }
        Sight { kind, name, does: None, aspects, audio }
    }

    fn rings(&self, dial: &Dial, answered: bool, kind: Kind) -> Sight {
        let target = |target: &DialTarget| match target {
            DialTarget::Number { number, trunks, .. } => {
                let trunks: Vec<_> = trunks.iter().map(|trunk| self.named("Trunk", &trunk.0)).collect();
                format!("{number} by {}", trunks.join(", else "))
            }
            DialTarget::Extension { user, trunk } => {
                format!("extension {user} of {}", self.named("Trunk", &trunk.0))
            }
            DialTarget::Agent(id) => self.named("Agent", &id.0),
        };
        let targets: Vec<_> = dial.targets.iter().map(target).collect();
        let join = match dial.strategy {
            DialStrategy::InOrder => ", then ",
            DialStrategy::Simultaneous => " and ",
        };
        let shown = dial.targets.iter().filter_map(|target| match target {
            DialTarget::Number { caller_id, .. } => {
                Some(caller_id.map_or_else(|| "no number".to_owned(), |number| number.to_string()))
            }
            DialTarget::Extension { .. } | DialTarget::Agent(_) => None,
        });
        let mut shown: Vec<_> = shown.collect();
        shown.dedup();
        let answer = if answered { "once the call is answered" } else { "before the call is answered" };
        let mut aspects =
            vec![("rings for", Shown::plain(seconds(dial.ring_ms))), ("rings", Shown::plain(answer))];
        if !shown.is_empty() {
            aspects.push(("shows the callee", Shown::plain(shown.join(", "))));
        }
        let verb = if kind == Kind::Transfer { "is handed on to" } else { "rings" };
        let name = Shown::plain(format!("{verb} {}", targets.join(join)));
        Sight { kind, name, does: None, aspects, audio: Vec::new() }
    }

    /// A leg in words, but for what both sides hear first.
    #[must_use]
    pub fn text(&self, leg: &Leg, from: usize) -> String {
        let sounds: Vec<_> = leg.heard.iter().skip(from).map(|heard| heard.sound.clone()).collect();
        let mut parts = Vec::new();
        if !sounds.is_empty() {
            parts.push(format!("hears {}", self.heard(&sounds)));
        }
        parts.push(match &leg.stop {
            Stop::Place(place) => {
                let sight = self.sight(*place);
                let asks = matches!(sight.kind, Kind::Menu | Kind::Digits);
                let audio = sight.audio.first().filter(|(_, audio)| asks && !audio.is_empty());
                let with = audio.map(|(_, audio)| format!(" with {}", self.heard(audio))).unwrap_or_default();
                format!("{}{with}", sight.name.text)
            }
            Stop::End(ending) => ending.text(),
            Stop::Cut => "further than is looked at".into(),
        });
        parts.join(", ")
    }

    /// Names of what is heard.
    #[must_use]
    pub fn heard(&self, sounds: &[Sound]) -> String {
        if sounds.is_empty() {
            return "nothing".into();
        }
        let names: Vec<_> = sounds.iter().map(|sound| self.sound(sound)).collect();
        names.join(", ")
    }

    /// Name of what is heard.
    #[must_use]
    pub fn sound(&self, sound: &Sound) -> String {
        match sound {
            Sound::Audio(id) => self.prompt(id),
            Sound::While(ms, audio) if audio.is_empty() => format!("{} of silence", seconds(*ms)),
            Sound::While(ms, audio) => {
                let names: Vec<_> = audio.iter().map(|id| self.prompt(id)).collect();
                format!("{} of {}", seconds(*ms), names.join(", "))
            }
            Sound::Said(source, Pronunciation::Text) => format!("what `{source}` gives"),
            Sound::Said(source, how) => format!("what `{source}` gives, read as {how:?}"),
        }
    }

    /// Name of a prompt.
    #[must_use]
    pub fn prompt(&self, id: &AudioId) -> String {
        let audio = self.audio(id);
        audio.map_or_else(|| format!("audio {id}"), |audio| self.named("Prompt", &audio.prompt.0))
    }

    /// What is behind an id.
    #[must_use]
    pub fn audio(&self, id: &AudioId) -> Option<&Audio> {
        self.world.snapshot.audio.get(id)
    }

    /// Kind and name, with the namespace where it is another.
    #[must_use]
    pub fn named(&self, kind: &str, key: &Key) -> String {
        named(kind, key, self.namespace)
    }
}

/// Kind and name, with the namespace where it is not the tenant's own.
#[must_use]
pub fn named(kind: &str, key: &Key, namespace: &str) -> String {
    if key.namespace() == namespace { format!("{kind}/{}", key.name()) } else { format!("{kind}/{key}") }
}

impl Sound {
    /// What it is made of.
    #[must_use]
    pub fn audio(&self) -> &[AudioId] {
        match self {
            Self::Audio(id) => std::slice::from_ref(id),
            Self::While(_, audio) => audio,
            Self::Said(..) => &[],
        }
    }
}

impl Sight {
    fn of(kind: Kind, name: impl Into<String>, does: Option<String>) -> Self {
        let does = does.map(Shown::plain);
        Self { kind, name: Shown::plain(name), does, aspects: Vec::new(), audio: Vec::new() }
    }
}

fn ending(end: End, how: &str) -> Ending {
    match end {
        End::HungUp => Ending::HangUp,
        End::Refused(code) => Ending::Refused(code),
        End::Relayed => Ending::Relayed,
        End::Failed if how.starts_with("fails and the call is refused") => Ending::Failed,
        End::Failed => Ending::Broken,
    }
}

impl Ending {
    /// For people.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::HangUp => "ends the call".into(),
            Self::Refused(code) => format!("refused with {code}"),
            Self::Relayed => "refused with the callee's own code".into(),
            Self::Failed => "fails with 500".into(),
            Self::Broken => "fails and ends the call".into(),
            Self::NotLive(Some(code)) => format!("not live ({code})"),
            Self::NotLive(None) => "not live".into(),
        }
    }
}

/// What happens on a way, in words.
#[must_use]
pub fn happens(way: &Way) -> String {
    if way.saved.is_empty() { outcome(&way.outcome) } else { way.saved.join(" and ") }
}

/// An outcome as a call's record names it, in words.
fn outcome(name: &str) -> String {
    if let Some(digits) = name.strip_prefix("choice ") {
        return format!("press {digits}");
    }
    match name {
        "digits" => "digits entered".into(),
        "ended" => "after the conversation".into(),
        "left" => "after the message".into(),
        _ => words(name),
    }
}

/// `noInput` as `no input`.
fn words(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 2);
    for character in name.chars() {
        if character.is_ascii_uppercase() {
            text.push(' ');
        }
        text.push(character.to_ascii_lowercase());
    }
    text
}

/// What changed about a prompt that kept its name: what in words, before and after.
#[must_use]
pub fn content(old: &Audio, new: &Audio, ids: (&AudioId, &AudioId)) -> (&'static str, String, String) {
    match (&old.source, &new.source) {
        (
            AudioSource::Speech { text: before, language: was },
            AudioSource::Speech { text: after, language: is },
        ) => {
            if before == after {
                return ("language changed", was.clone(), is.clone());
            }
            let (before, after) = excerpts(before, after);
            ("text changed", before, after)
        }
        (
            AudioSource::Wav { .. } | AudioSource::Remote { .. },
            AudioSource::Wav { .. } | AudioSource::Remote { .. },
        ) => ("audio changed", short(ids.0), short(ids.1)),
        (AudioSource::Speech { .. }, AudioSource::Wav { .. } | AudioSource::Remote { .. }) => {
            ("text became audio", "text".into(), short(ids.1))
        }
        (AudioSource::Wav { .. } | AudioSource::Remote { .. }, AudioSource::Speech { .. }) => {
            ("audio became text", short(ids.0), "text".into())
        }
    }
}

/// The first digits of the SHA-256.
fn short(id: &AudioId) -> String {
    id.to_string().chars().take(8).collect()
}

/// Characters of a text that are shown.
const EXCERPT: usize = 40;

/// Characters before the first difference that are shown.
const LEAD: usize = 12;

/// Two texts around where they begin to differ.
fn excerpts(old: &str, new: &str) -> (String, String) {
    let same = old.chars().zip(new.chars()).take_while(|(a, b)| a == b).count();
    let from = if same > EXCERPT - LEAD { same - LEAD } else { 0 };
    let excerpt = |text: &str| {
        let shown: String = text.chars().skip(from).take(EXCERPT).collect();
        let before = if from > 0 { "…" } else { "" };
        let after = if text.chars().count() > from + EXCERPT { "…" } else { "" };
        format!("“{before}{shown}{after}”")
    };
    (excerpt(old), excerpt(new))
}

fn times(count: u16) -> String {
    if count == 1 { "once".into() } else { format!("{count} times") }
}

fn seconds(milliseconds: u32) -> String {
    let (whole, rest) = (milliseconds / 1_000, milliseconds % 1_000);
    if rest == 0 { format!("{whole} s") } else { format!("{whole}.{rest:03} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_told_in_words() {
        for (name, wanted) in [
            ("choice 12", "press 12"),
            ("noInput", "no input"),
            ("noAgents", "no agents"),
            ("busy", "busy"),
            ("ended", "after the conversation"),
        ] {
            assert_eq!(outcome(name), wanted);
        }
    }

    #[test]
    fn long_texts_are_shown_where_they_differ() {
        let old = "Welcome to Acme in New York. We are open from nine to five every day of the week.";
        let new = old.replace("nine", "ten");
        assert_eq!(
            excerpts(old, &new),
            (
                "“…e open from nine to five every day of th…”".into(),
                "“…e open from ten to five every day of the…”".into()
            )
        );
        assert_eq!(excerpts("Hello", "Hi"), ("“Hello”".into(), "“Hi”".into()));
    }
}
