//! What a contact meets on the way through a flow, as what it is and not as it is called: two steps, variables or prompts of
//! different names but equal effect are one and the same here.

use call::world::{Flow, World};
use model::{
    AudioId, Key,
    program::{Ask, AskInput, Dial, DialStrategy, DialTarget, Verb},
    snapshot::{Audio, AudioSource},
};

use crate::walk::{Next, Walk};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Heard {
    /// By its content.
    pub audio: AudioId,
    /// Before the call is answered, which costs the caller nothing.
    pub early: bool,
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
    /// What else a contact notices of it, in a fixed order.
    pub aspects: Vec<(&'static str, Shown)>,
    /// What is heard of it, with the words for that.
    pub audio: Vec<(&'static str, Vec<AudioId>)>,
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
    /// Of a verb that waits for nobody; never a stop.
    Passing,
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
    /// Where people read the identity itself.
    fn plain(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { key: text.clone(), text }
    }
}

impl View<'_> {
    /// What a step does.
    #[must_use]
    pub fn verb(&self, step: &str) -> Option<&Verb> {
        let step = self.flow.program.steps.iter().find(|known| known.name == step)?;
        Some(&step.verb)
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
            let (Some(Verb::Play { audio, early, .. }), Some(way)) =
                (self.verb(&told.step), told.ways.first())
            else {
                return Leg { heard, stop: Stop::Place(*place) };
            };
            let early = *early && !told.answered;
            heard.extend(audio.iter().map(|audio| Heard { audio: *audio, early }));
            next = &way.next;
        }
        let stop = match next {
            Next::End { step, how } => {
                if let Some(Verb::Hangup { audio, reject: None }) = self.verb(step) {
                    heard.extend(audio.iter().map(|audio| Heard { audio: *audio, early: false }));
                }
                Stop::End(self.ending(step, how))
            }
            Next::Place(_) | Next::Cut => Stop::Cut,
        };
        Leg { heard, stop }
    }

    fn ending(&self, step: &str, how: &str) -> Ending {
        let refuses = how.starts_with("refuses");
        match self.verb(step) {
            _ if how.starts_with("fails and the call is refused") => Ending::Failed,
            _ if how.starts_with("fails") => Ending::Broken,
            Some(Verb::Hangup { reject: Some(reject), .. }) if refuses => Ending::Refused(reject.status()),
            _ if refuses => Ending::Relayed,
            _ => Ending::HangUp,
        }
    }

    /// What somebody decides about at a place.
    #[must_use]
    pub fn sight(&self, place: usize) -> Sight {
        let told = &self.walk.places[place];
        match self.verb(&told.step) {
            Some(Verb::Ask(ask)) => self.asks(ask),
            Some(Verb::Dial(dial)) => self.rings(dial, told.answered),
            Some(
                Verb::Play { .. }
                | Verb::Hours { .. }
                | Verb::Branch { .. }
                | Verb::Set { .. }
                | Verb::Hangup { .. },
            )
            | None => Sight {
                kind: Kind::Passing,
                name: Shown::plain(told.does.clone()),
                aspects: Vec::new(),
                audio: Vec::new(),
            },
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
        if long {
            aspects.push(("waits for the next key", Shown::plain(seconds(ask.inter_digit_ms))));
        }
        let mut audio = vec![("hears", ask.audio.clone())];
        if several {
            audio.push(("after a wrong key hears", ask.invalid_audio.clone()));
        }
        Sight { kind, name, aspects, audio }
    }

    fn rings(&self, dial: &Dial, answered: bool) -> Sight {
        let target = |target: &DialTarget| match target {
            DialTarget::Number { number, trunks, .. } => {
                let trunks: Vec<_> = trunks.iter().map(|trunk| self.named("Trunk", &trunk.0)).collect();
                format!("{number} by {}", trunks.join(", else "))
            }
            DialTarget::Extension { user, trunk } => {
                format!("extension {user} of {}", self.named("Trunk", &trunk.0))
            }
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
            DialTarget::Extension { .. } => None,
        });
        let mut shown: Vec<_> = shown.collect();
        shown.dedup();
        let answer = if answered { "once the call is answered" } else { "before the call is answered" };
        let mut aspects =
            vec![("rings for", Shown::plain(seconds(dial.ring_ms))), ("rings", Shown::plain(answer))];
        if !shown.is_empty() {
            aspects.push(("shows the callee", Shown::plain(shown.join(", "))));
        }
        let name = Shown::plain(format!("rings {}", targets.join(join)));
        Sight { kind: Kind::Ring, name, aspects, audio: Vec::new() }
    }

    /// A leg in words, but for what both sides hear first.
    #[must_use]
    pub fn text(&self, leg: &Leg, from: usize) -> String {
        let audio: Vec<_> = leg.heard.iter().skip(from).map(|heard| heard.audio).collect();
        let mut parts = Vec::new();
        if !audio.is_empty() {
            parts.push(format!("hears {}", self.heard(&audio)));
        }
        parts.push(match &leg.stop {
            Stop::Place(place) => {
                let sight = self.sight(*place);
                let audio = sight.audio.first().filter(|(_, audio)| !audio.is_empty());
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
    pub fn heard(&self, audio: &[AudioId]) -> String {
        if audio.is_empty() {
            return "nothing".into();
        }
        let names: Vec<_> = audio.iter().map(|id| self.prompt(id)).collect();
        names.join(", ")
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

/// An outcome as a call's record names it, in words.
#[must_use]
pub fn outcome(name: &str) -> String {
    if let Some(digits) = name.strip_prefix("choice ") {
        return format!("press {digits}");
    }
    match name {
        "digits" => "digits entered".into(),
        "ended" => "after the conversation".into(),
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
        (AudioSource::Wav { .. }, AudioSource::Wav { .. }) => ("audio changed", short(ids.0), short(ids.1)),
        (AudioSource::Speech { .. }, AudioSource::Wav { .. }) => {
            ("text became audio", "text".into(), short(ids.1))
        }
        (AudioSource::Wav { .. }, AudioSource::Speech { .. }) => {
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
