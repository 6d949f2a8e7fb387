//! Each row is what happens to a contact, in words, and what the flow then does, in words.

use std::time::{Duration, Instant};

use call::{
    Now,
    cursor::{Action, Cursor, Dialled, Environment, Facts},
    world::World,
};
use model::program::{Ask, AskInput, Choice, Step, Value, Variable, VariableIx, VariableKind, Verb};

use crate::world::{audio, branch, dial, flow, hangup, hours, play, reject, set, snapshot, step};

/// A contact in a flow, in virtual time.
struct Contact {
    world: World,
    expressions: expr::Engine,
    cursor: Cursor,
    now: Now,
}

impl Contact {
    fn of(steps: Vec<Step>, variables: Vec<Variable>, number: &str) -> Self {
        let mut snapshot = snapshot();
        snapshot.flows = [flow("main", steps, variables)].into();
        Self::in_world(snapshot, number)
    }

    fn in_world(snapshot: model::snapshot::Snapshot, number: &str) -> Self {
        let world = World::new(snapshot.into(), Default::default(), None).unwrap();
        let flow = world.flow(&model::FlowId::new("acme", "main")).unwrap().clone();
        let facts = Facts {
            contact_number: number.into(),
            contact_verstat: "",
            call_number: "+18005550100".into(),
            call_trunk: "platform/carrier".into(),
        };
        #[expect(clippy::disallowed_methods, reason = "the one clock of the tests")]
        let instant = Instant::now();
        let now = Now { instant, wall: "2026-11-23T15:00:00Z".parse().unwrap() };
        Self { world, expressions: expr::Engine::new(), cursor: Cursor::new(flow, facts), now }
    }

    /// Runs words and tells the actions in words.
    fn hears(&mut self, script: &str) -> String {
        let mut told = Vec::new();
        for word in script.split_whitespace() {
            let environment =
                Environment { world: &self.world, expressions: &self.expressions, now: self.now };
            let actions = match word {
                "begin" => self.cursor.begin(environment),
                "played" => self.cursor.played(environment),
                "silence" => {
                    let due = self.cursor.deadline().expect("a deadline");
                    self.now.instant = due;
                    self.cursor.silence(Environment { now: self.now, ..environment })
                }
                "early" => {
                    self.now.instant += Duration::from_millis(1);
                    self.cursor.silence(Environment { now: self.now, ..environment })
                }
                "ended" => self.cursor.dialled(Dialled::Ended, environment),
                "busy" => self.cursor.dialled(Dialled::Busy, environment),
                "no-answer" => self.cursor.dialled(Dialled::NoAnswer, environment),
                "failed" => self.cursor.dialled(Dialled::Failed, environment),
                "broken" => self.cursor.failed("something broke", environment),
                key => self.cursor.pressed(key.chars().next().unwrap(), environment),
            };
            told.extend(actions.iter().map(words));
        }
        told.join(" ")
    }
}

pub fn words(action: &Action) -> String {
    let names = |audio: &[model::AudioId]| {
        let names = audio.iter().map(|id| char::from(id.0[0]).to_string());
        names.collect::<Vec<_>>().join("+")
    };
    match action {
        Action::Play { audio, say, early } => {
            let said = say.iter().map(|say| format!(" {} in {}", say.text, say.language));
            let how = if *early { "early" } else { "play" };
            format!("{how}({}{})", names(audio), said.collect::<String>())
        }
        Action::StopPlay => "stop".into(),
        Action::Dial(_) => "dial".into(),
        Action::Reject(rejection) => format!("reject({})", rejection.status()),
        Action::Hangup(audio) => format!("hangup({})", names(audio)),
        Action::Fail(because) => format!("fail({because})"),
        Action::End => "end".into(),
        Action::Draw => "draw".into(),
        Action::Wait(audio) => format!("wait({})", names(audio)),
        Action::Request(asked) => format!("{}({})", asked.method, asked.path),
        Action::Queue { queue, priority, .. } => {
            format!("queue({}{})", queue.0.name(), priority.map(|p| format!("@{p}")).unwrap_or_default())
        }
        Action::Callback { queue, number, .. } => format!("callback({}:{number})", queue.0.name()),
        Action::Voicemail { voicemail_box, .. } => format!("voicemail({})", voicemail_box.0.name()),
        Action::Record(action, _) => format!("record({action:?})"),
        Action::Message { text, to } => {
            format!("message({text}{})", to.map(|to| format!(">{to}")).unwrap_or_default())
        }
    }
}

/// Question q, invalid i; 1 → sales, 22 → billing; three attempts.
fn menu() -> Vec<Step> {
    let choice = |digits: &str, next| Choice { digits: digits.into(), phrases: Vec::new(), next };
    let input = AskInput::Choices(vec![choice("1", step(1)), choice("22", step(2))]);
    let ask = Ask {
        audio: audio("q"),
        timeout_ms: 5_000,
        inter_digit_ms: 2_000,
        attempts: 3,
        invalid_audio: audio("i"),
        max_visits: Some(2),
        input,
        secret: false,
        language: String::new(),
        no_input: step(3),
        no_match: step(4),
    };
    vec![
        Step { name: "menu".into(), verb: Verb::Ask(ask) },
        play("sales", "s", 0),
        play("billing", "b", 0),
        hangup("silent", "g"),
        hangup("wrong", "w"),
    ]
}

#[test]
fn a_menu_takes_keys_waits_and_gives_up() {
    for (script, wanted) in [
        ("begin played 1", "play(q) play(s)"),
        ("begin 1", "play(q) stop play(s)"),
        ("begin played 2 2", "play(q) play(b)"),
        ("begin played 2 silence", "play(q) play(i+q)"),
        ("begin played 9", "play(q) play(i+q)"),
        ("begin 9", "play(q) stop play(i+q)"),
        ("begin played silence", "play(q) play(q)"),
        ("begin played early", "play(q)"),
        ("begin played silence played silence played silence", "play(q) play(q) play(q) hangup(g)"),
        ("begin played 9 played 9 played 9", "play(q) play(i+q) play(i+q) hangup(w)"),
        ("begin played 9 played silence played 1", "play(q) play(i+q) play(q) play(s)"),
        // Back from sales: the second visit asks again, the third is one too many.
        ("begin played 1 played played 1 played", "play(q) play(s) play(q) play(s) hangup(w)"),
        // Typed ahead while sales plays: the menu is not played again.
        ("begin played 1 2 2 played", "play(q) play(s) play(b)"),
        ("begin played 1 7 played", "play(q) play(s) play(i+q)"),
        ("begin played 1 2 played 2", "play(q) play(s) play(b)"),
    ] {
        assert_eq!(Contact::of(menu(), Vec::new(), "").hears(script), wanted, "{script}");
    }
}

#[test]
fn digits_go_into_a_variable() {
    let digits = |terminator| {
        let input = AskInput::Digits { variable: VariableIx(0), min: 2, max: 4, terminator, next: step(1) };
        let ask = Ask {
            audio: audio("q"),
            timeout_ms: 5_000,
            inter_digit_ms: 2_000,
            attempts: 1,
            invalid_audio: Vec::new(),
            max_visits: None,
            input,
            secret: true,
            language: String::new(),
            no_input: step(2),
            no_match: step(3),
        };
        vec![
            Step { name: "account".into(), verb: Verb::Ask(ask) },
            branch("known", &[("account == '42'", 2), ("account == '1234'", 3)], 4),
            hangup("first", "a"),
            hangup("second", "b"),
            hangup("other", "c"),
        ]
    };
    let account = || {
        vec![Variable {
            name: "account".into(),
            kind: VariableKind::String,
            initial: Value::String("".into()),
        }]
    };
    for (terminator, script, wanted) in [
        (None, "begin played 4 2 silence", "play(q) hangup(a)"),
        (None, "begin played 1 2 3 4", "play(q) hangup(b)"),
        (None, "begin played 1 silence", "play(q) hangup(b)"), // too few: noMatch, which is step 3 here
        (None, "begin played silence", "play(q) hangup(a)"),   // noInput, which is step 2 here
        (Some('#'), "begin played 4 2 #", "play(q) hangup(a)"),
        (Some('#'), "begin played 4 #", "play(q) hangup(b)"),
    ] {
        let mut contact = Contact::of(digits(terminator), account(), "");
        assert_eq!(contact.hears(script), wanted, "{script}");
        assert!(!contact.cursor.path().join(" ").contains("42"), "secret digits stay out of the path");
    }
}

#[test]
fn steps_without_the_contact_are_walked_through() {
    let steps = || {
        vec![
            hours("open", [1, 4, 5]),
            set("count", 0, "visits + 1", 2),
            branch("local", &[("contact.number.startsWith('+1212')", 3)], 6),
            hangup("hello", "l"),
            hangup("closed", "c"),
            hangup("holiday", "h"),
            hangup("others", "o"),
        ]
    };
    let visits =
        || vec![Variable { name: "visits".into(), kind: VariableKind::Integer, initial: Value::Integer(0) }];
    let mut contact = Contact::of(steps(), visits(), "+12125550199");
    assert_eq!(contact.hears("begin"), "hangup(l)");
    assert_eq!(contact.cursor.path(), ["open: open", "count: set", "local: case 1", "hello: hangup"]);
    assert_eq!(Contact::of(steps(), visits(), "+441632960000").hears("begin"), "hangup(o)");

    let mut contact = Contact::of(steps(), visits(), "");
    contact.now.wall = "2026-11-23T23:30:00Z".parse().unwrap();
    assert_eq!(contact.hears("begin"), "hangup(c)");
    let mut contact = Contact::of(steps(), visits(), "");
    contact.now.wall = "2026-12-25T15:00:00Z".parse().unwrap();
    assert_eq!(contact.hears("begin"), "hangup(h)");
}

/// What the language is, and what is heard: `q` is English and has translations, `x` has none.
#[test]
fn a_contact_hears_prompts_in_its_own_language() {
    let id = |name: &str| audio(name)[0];
    let text = |name: &str, initial: &str| Variable {
        name: name.into(),
        kind: VariableKind::String,
        initial: Value::String(initial.into()),
    };
    for (variable, language, wanted) in [
        ("language", "", "play(q) play(x) hangup(q)"),
        ("language", "es-US", "play(e) play(x) hangup(e)"),
        ("language", "ES-us", "play(e) play(x) hangup(e)"),
        ("language", "fr-CA", "play(f) play(x) hangup(f)"),
        // Another region's, and that of no translation.
        ("language", "fr", "play(f) play(x) hangup(f)"),
        ("language", "en-GB", "play(q) play(x) hangup(q)"),
        ("language", "de-DE", "play(q) play(x) hangup(q)"),
        ("tongue", "es-US", "play(q) play(x) hangup(q)"),
    ] {
        let steps = vec![play("first", "q", 1), play("second", "x", 2), hangup("bye", "q")];
        let (name, program) = flow("main", steps, vec![text(variable, language)]);
        let mut program = (*program).clone();
        let tongues = [("en-US", "q"), ("es-US", "e"), ("fr-CA", "f")];
        let tongues = tongues.map(|(language, name)| (language.to_owned(), id(name)));
        program.translations.insert(id("q"), tongues.into());
        let mut snapshot = snapshot();
        snapshot.flows = [(name, program.into())].into();
        let mut contact = Contact::in_world(snapshot, "");
        assert_eq!(contact.hears("begin played played"), wanted, "{variable} {language}");
    }
}

#[test]
fn a_dial_goes_on_by_its_outcome() {
    let steps = || {
        vec![dial("ring", [1, 2, 3, 4]), hangup("e", "e"), hangup("b", "b"), hangup("n", "n"), reject("f")]
    };
    for (outcome, wanted) in [
        ("ended", "dial hangup(e)"),
        ("busy", "dial hangup(b)"),
        ("no-answer", "dial hangup(n)"),
        ("failed", "dial reject(486)"),
    ] {
        assert_eq!(Contact::of(steps(), Vec::new(), "").hears(&format!("begin {outcome}")), wanted);
    }
}

#[test]
fn a_failure_goes_to_on_error_once() {
    let overflow = |next| set("sum", 0, "9223372036854775807 + visits", next);
    let visits =
        || vec![Variable { name: "visits".into(), kind: VariableKind::Integer, initial: Value::Integer(1) }];
    // `flow` gives step 1 as onError where there is one of that name.
    let mut contact =
        Contact::of(vec![overflow(1), play("apology", "a", 2), hangup("bye", "b")], visits(), "");
    assert_eq!(contact.hears("begin played"), "play(a) hangup(b)");

    let mut contact = Contact::of(vec![overflow(1), hangup("bye", "b")], visits(), "");
    let told = contact.hears("begin");
    assert!(told.starts_with("fail(step `sum`: the expression could not be evaluated"), "{told}");
}

#[test]
fn a_loop_without_the_contact_ends() {
    let steps = vec![branch("a", &[("true", 1)], 1), branch("b", &[("true", 0)], 0)];
    let told = Contact::of(steps, Vec::new(), "").hears("begin");
    assert!(told.contains("1000 steps went by without the contact"), "{told}");
}
