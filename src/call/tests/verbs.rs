//! Verbs that go beyond prompts, keys and callees: what happens, in words, and what the flow then does, in words.

use std::time::Instant;

use call::{
    Now,
    cursor::{Cursor, Dialled, Environment, Facts, Queued, Requested},
    world::{Refused, World},
};
use model::{
    AgentId, FlowId, IntegrationId, QueueId, VoicemailBoxId,
    program::{
        Ask, AskInput, Choice, Dial, DialStrategy, DialTarget, Expression, Method, Part, Program,
        Pronunciation, Queue, RecordAction, RecordTo, Request, Say, Step, StepIx, TransferKind, Value,
        Variable, VariableIx, VariableKind, Verb,
    },
};

use crate::{
    cursor::words,
    world::{audio, branch, flow, hangup, play, set, snapshot, step},
};

type Flows = Vec<(FlowId, std::sync::Arc<Program>)>;

/// A contact in a flow `main`, and others that it calls.
struct Contact {
    world: World,
    expressions: expr::Engine,
    cursor: Cursor,
    now: Now,
}

fn world(flows: Flows) -> Result<World, Refused> {
    let mut snapshot = snapshot();
    snapshot.flows = flows.into_iter().collect();
    World::new(snapshot.into(), Default::default(), None)
}

impl Contact {
    fn of(flows: Flows) -> Self {
        let world = world(flows).unwrap();
        let flow = world.flow(&FlowId::new("acme", "main")).unwrap().clone();
        let facts = Facts {
            contact_number: "+12125550199".into(),
            contact_verstat: "",
            call_number: "+18005550100".into(),
            call_trunk: "platform/carrier".into(),
        };
        #[expect(clippy::disallowed_methods, reason = "the one clock of the tests")]
        let instant = Instant::now();
        let now = Now { instant, wall: "2026-11-23T15:00:00Z".parse().unwrap() };
        Self { world, expressions: expr::Engine::new(), cursor: Cursor::new(flow, facts), now }
    }

    fn hears(&mut self, script: &[&str]) -> String {
        let mut told = Vec::new();
        for word in script {
            if *word == "time" {
                self.now.instant = self.cursor.deadline().expect("a deadline");
            }
            let environment =
                Environment { world: &self.world, expressions: &self.expressions, now: self.now };
            let cursor = &mut self.cursor;
            let actions = match *word {
                "begin" => cursor.begin(environment),
                "played" => cursor.played(environment),
                "time" => cursor.silence(environment),
                "waits" => {
                    cursor.waits(environment);
                    Vec::new()
                }
                "ended" => cursor.queued(Queued::Ended, environment),
                "timed-out" => cursor.queued(Queued::TimedOut, environment),
                "full" => cursor.queued(Queued::Full, environment),
                "no-agents" => cursor.queued(Queued::NoAgents, environment),
                "talked" => cursor.dialled(Dialled::Ended, environment),
                "busy" => cursor.dialled(Dialled::Busy, environment),
                "done" => cursor.done(true, environment),
                "failed" => cursor.done(false, environment),
                "unanswered" => cursor.requested(Requested::Failed, environment),
                "sent" => cursor.messaged(Ok(()), environment),
                "unsent" => cursor.messaged(Err("it answers 500"), environment),
                word => match word.split_once(' ') {
                    Some(("say", words)) => cursor.said(words, environment),
                    Some(("lot", number)) => cursor.drawn(number.parse().unwrap(), environment),
                    Some((status, body)) => {
                        let response = expr::Response::parse(status.parse().unwrap(), body.as_bytes());
                        cursor.requested(Requested::Answered(&response.unwrap()), environment)
                    }
                    None => cursor.pressed(word.chars().next().unwrap(), environment),
                },
            };
            told.extend(actions.iter().map(words));
        }
        told.join(" ")
    }
}

fn main(steps: Vec<Step>, variables: Vec<Variable>) -> Flows {
    vec![flow("main", steps, variables)]
}

fn does(name: &str, verb: Verb) -> Step {
    Step { name: name.into(), verb }
}

fn vip() -> Vec<Variable> {
    let vip = Variable { name: "vip".into(), kind: VariableKind::Boolean, initial: Value::Boolean(false) };
    let tier = Variable { name: "tier".into(), kind: VariableKind::Integer, initial: Value::Integer(0) };
    vec![vip, tier]
}

fn cel(source: &str) -> Expression {
    Expression(source.into())
}

/// Each row: what happens, what the flow does.
fn rows(flows: impl Fn() -> Flows, rows: &[(&[&str], &str)]) {
    for (script, wanted) in rows {
        assert_eq!(Contact::of(flows()).hears(script), *wanted, "{script:?}");
    }
}

#[test]
fn a_queue_goes_by_its_outcome_and_ends_the_call_after_a_conversation() {
    let flows = || {
        let queue = Queue {
            queue: QueueId::new("acme", "sales"),
            priority: Some(cel("vip ? 9 : 40")),
            max_wait_ms: None,
            ended: None,
            timed_out: Some(step(1)),
            full: Some(step(2)),
            no_agents: None,
        };
        let steps = vec![
            does("wait", Verb::Queue(queue)),
            hangup("late", "l"),
            hangup("full", "f"),
            play("apology", "a", 0),
        ];
        main(steps, vip())
    };
    rows(
        flows,
        &[
            (&["begin", "ended"], "queue(sales@9) end"),
            (&["begin", "timed-out"], "queue(sales@9) hangup(l)"),
            (&["begin", "full"], "queue(sales@9) hangup(f)"),
            (&["begin", "no-agents", "played", "ended"], "queue(sales@9) play(a) queue(sales@9) end"),
            (
                &["begin", "no-agents", "played", "no-agents"],
                "queue(sales@9) play(a) queue(sales@9) fail(step `wait`: `noAgents` is not handled, and the contact has done nothing since `onError` was gone to)",
            ),
        ],
    );
}

#[test]
fn an_answer_is_saved_whole_or_not_at_all() {
    let flows = |path: &'static str| {
        move || {
            let request = Request {
                integration: IntegrationId::new("acme", "crm"),
                method: Method::Get,
                path: Some(cel(path)),
                headers: vec![("X-Contact".into(), cel("contact.number"))],
                body: None,
                timeout_ms: Some(1_000),
                save: vec![(VariableIx(0), cel("body.vip")), (VariableIx(1), cel("status + body.tier"))],
                next: step(1),
                failed: Some(step(2)),
            };
            let steps = vec![
                does("lookup", Verb::Request(Box::new(request))),
                branch("who", &[("vip && tier == 203", 3)], 2),
                branch("failed", &[("vip || tier != 0", 4)], 5),
                hangup("vip", "v"),
                hangup("half", "h"),
                hangup("nobody", "n"),
            ];
            main(steps, vip())
        }
    };
    let asks = "GET(/contacts/+12125550199)";
    let rows_of = [
        ("200 {\"vip\": true, \"tier\": 3}", "hangup(v)"),
        ("200 {\"vip\": true}", "hangup(n)"),
        ("200 {\"vip\": 1, \"tier\": 3}", "hangup(n)"),
        ("200 []", "hangup(n)"),
        ("404 {\"vip\": true, \"tier\": 3}", "hangup(n)"),
        ("unanswered", "hangup(n)"),
    ];
    for (answer, wanted) in rows_of {
        let wanted = format!("{asks} {wanted}");
        rows(flows("'/contacts/' + contact.number"), &[(&["begin", answer], &wanted)]);
    }
    // What could make two requests of one is not sent at all.
    for path in ["'/contacts/a b'", "'/a\\r\\nX: y'", "'/a#b'", "'//x' + '\\u00e9'", "'contacts'"] {
        rows(flows(path), &[(&["begin"], "hangup(n)")]);
    }
}

#[test]
fn what_is_said_is_worked_out_when_it_is_its_turn_and_in_the_contacts_language() {
    let flows = |source: &str, pronunciation, language: &str| {
        let say = Some(Box::new(Say { value: cel(source), pronunciation, language: "en-US".into() }));
        let play = Verb::Play { audio: audio("w"), say, early: false, next: step(1) };
        let named = Variable {
            name: "language".into(),
            kind: VariableKind::String,
            initial: Value::String(language.into()),
        };
        main(vec![does("tell", play), hangup("bye", "b"), hangup("failed", "f")], vec![named])
    };
    for (source, pronunciation, language, wanted) in [
        ("'You called ' + call.number", Pronunciation::Text, "", "play(w You called +18005550100 in en-US)"),
        ("40 + 2", Pronunciation::Number, "es-US", "play(w 42 in es-US)"),
        ("-1 - 1", Pronunciation::Number, "fr-CA", "play(w moins 2 in fr-CA)"),
        ("'2026-12-24'", Pronunciation::Date, "de", "play(w Donnerstag, der 24. Dezember in de)"),
    ] {
        let mut contact = Contact::of(flows(source, pronunciation, language));
        assert_eq!(contact.hears(&["begin", "played"]), format!("{wanted} hangup(b)"), "{source}");
    }
    for source in ["'no date'", "''"] {
        let told = Contact::of(flows(source, Pronunciation::Date, "")).hears(&["begin"]);
        assert!(told.contains("cannot be read as a date"), "{told}");
    }
}

#[test]
fn a_lot_falls_into_its_part() {
    let flows = |others: bool| {
        move || {
            let part = |percent, next| Part { percent, next: step(next) };
            let parts = if others { vec![part(5, 1), part(45, 2)] } else { vec![part(5, 1), part(95, 2)] };
            let split = Verb::Split { parts, otherwise: others.then(|| step(3)) };
            main(vec![does("lot", split), hangup("a", "a"), hangup("b", "b"), hangup("c", "c")], Vec::new())
        }
    };
    for (number, with, without) in
        [(0, "a", "a"), (4, "a", "a"), (5, "b", "b"), (49, "b", "b"), (50, "c", "b"), (99, "c", "b")]
    {
        let lot = format!("lot {number}");
        rows(flows(true), &[(&["begin", &lot], &format!("draw hangup({with})"))]);
        rows(flows(false), &[(&["begin", &lot], &format!("draw hangup({without})"))]);
    }
}

#[test]
fn a_wait_ends_by_itself_and_is_bounded() {
    let flows = || {
        let wait = |bound| Verb::Wait { ms: 30_000, audio: audio("m"), next: step(0), bound };
        main(vec![does("pause", wait(Some((2, step(1))))), hangup("end", "e")], Vec::new())
    };
    rows(
        flows,
        &[
            (&["begin", "waits", "1"], "wait(m)"),
            (&["begin", "waits", "time", "waits", "time"], "wait(m) stop wait(m) stop hangup(e)"),
        ],
    );
}

#[test]
fn callback_voicemail_record_and_message_are_done_or_fail() {
    let then = |name: &str, verb| {
        let flows = move || main(vec![does(name, verb), hangup("done", "d"), hangup("failed", "f")], vip());
        flows()
    };
    let (next, failed) = (step(1), Some(step(2)));
    let callback = |number: Option<&str>| Verb::Callback {
        queue: QueueId::new("acme", "sales"),
        keep_place: true,
        number: number.map(cel),
        attempts: 1,
        retry_ms: 0,
        first: None,
        next,
        failed,
    };
    let message = |to: Option<&str>| Verb::Message { text: cel("'Hello'"), to: to.map(cel), next, failed };
    let voicemail = Verb::Voicemail {
        voicemail_box: VoicemailBoxId::new("acme", "support"),
        greeting: audio("g"),
        max_ms: None,
        next,
        failed,
    };
    for (verb, does) in [
        (callback(None), "callback(sales:+12125550199)"),
        (callback(Some("'+16175550150'")), "callback(sales:+16175550150)"),
        (voicemail, "voicemail(support)"),
        (Verb::Record { action: RecordAction::Pause, to: RecordTo::Store, next, failed }, "record(Pause)"),
    ] {
        for (how, wanted) in [("done", "d"), ("failed", "f")] {
            let told = Contact::of(then("step", verb.clone())).hears(&["begin", how]);
            assert_eq!(told, format!("{does} hangup({wanted})"), "{how}");
        }
    }
    for (verb, does) in [
        (message(None), "message(Hello)"),
        (message(Some("'+1617' + '5550150'")), "message(Hello>+16175550150)"),
    ] {
        for (how, wanted, passed) in
            [("sent", "d", "step: sent"), ("unsent", "f", "step: failed (it answers 500)")]
        {
            let mut contact = Contact::of(then("step", verb.clone()));
            assert_eq!(contact.hears(&["begin", how]), format!("{does} hangup({wanted})"), "{how}");
            assert_eq!(contact.cursor.path()[0], passed);
        }
    }
    for verb in [callback(Some("'anonymous'")), message(Some("''"))] {
        assert_eq!(Contact::of(then("step", verb)).hears(&["begin"]), "hangup(f)");
    }
}

#[test]
fn a_transfer_ends_the_call_unless_it_fails() {
    let flows = || {
        let dial = Dial {
            targets: vec![DialTarget::Agent(AgentId::new("acme", "ada"))],
            strategy: DialStrategy::InOrder,
            ring_ms: 20_000,
            ended: None,
            busy: Some(step(1)),
            no_answer: None,
            failed: None,
            relay_failure: false,
        };
        let transfer = Verb::Transfer { dial, kind: TransferKind::Blind };
        main(vec![does("hand", transfer), hangup("busy", "b")], Vec::new())
    };
    rows(flows, &[(&["begin", "talked"], "dial end"), (&["begin", "busy"], "dial hangup(b)")]);
}

#[test]
fn words_choose_as_keys_do() {
    let flows = || {
        let choice = |digits: &str, phrases: &[&str], next| Choice {
            digits: digits.into(),
            phrases: phrases.iter().map(|phrase| (*phrase).to_owned()).collect(),
            next: step(next),
        };
        let choices = vec![choice("1", &["sales", "buy something"], 1), choice("2", &[], 2)];
        let ask = Ask {
            audio: audio("q"),
            timeout_ms: 5_000,
            inter_digit_ms: 2_000,
            attempts: 2,
            invalid_audio: audio("i"),
            max_visits: None,
            input: AskInput::Choices(choices),
            secret: false,
            language: String::new(),
            no_input: step(3),
            no_match: step(4),
        };
        let ends = [("sales", "s"), ("two", "t"), ("silent", "g"), ("wrong", "w")];
        let ends = ends.map(|(name, letters)| hangup(name, letters));
        main(std::iter::once(does("menu", Verb::Ask(ask))).chain(ends).collect(), Vec::new())
    };
    rows(
        flows,
        &[
            (&["begin", "say Buy  something"], "play(q) stop hangup(s)"),
            (&["begin", "played", "say fax", "say fax"], "play(q) play(i+q) stop hangup(w)"),
            (&["begin", "played", "2"], "play(q) hangup(t)"),
        ],
    );
}

fn called(name: &str, next: u16, failed: Option<u16>) -> Step {
    let flow = FlowId::new("acme", name);
    does("call", Verb::Call { flow, next: step(next), failed: failed.map(step) })
}

fn returning(name: &str) -> Step {
    does(name, Verb::Play { audio: audio("r"), say: None, early: false, next: StepIx::RETURN })
}

#[test]
fn a_called_flow_has_variables_of_its_own_and_comes_back() {
    let flows = || {
        let count = || {
            vec![Variable { name: "count".into(), kind: VariableKind::Integer, initial: Value::Integer(0) }]
        };
        let main = vec![
            set("first", 0, "count + 5", 1),
            called("inner", 2, None),
            branch("kept", &[("count == 5", 3)], 4),
            hangup("yes", "y"),
            hangup("no", "n"),
        ];
        let inner = vec![branch("fresh", &[("count == 0", 1)], 2), returning("back"), hangup("stale", "s")];
        vec![flow("main", main, count()), flow("inner", inner, count())]
    };
    let mut contact = Contact::of(flows());
    assert_eq!(contact.hears(&["begin", "played"]), "play(r) hangup(y)");
    assert_eq!(
        contact.cursor.path(),
        [
            "first: set",
            "call: called",
            "inner/fresh: case 1",
            "inner/back: played",
            "call: returned",
            "kept: case 1",
            "yes: hangup"
        ]
    );
    assert_eq!(contact.cursor.flow().id, FlowId::new("acme", "main"));
}

#[test]
fn a_failure_in_a_called_flow_goes_to_whoever_handles_it() {
    let broken = || set("sum", 0, "9223372036854775807 + count", 0);
    let count =
        || vec![Variable { name: "count".into(), kind: VariableKind::Integer, initial: Value::Integer(1) }];
    let flows = |failed, inner: Vec<Step>, handled: bool| {
        let end = if handled { play("apology", "a", 2) } else { hangup("end", "e") };
        let main = vec![called("inner", 2, failed), end, hangup("bye", "b")];
        vec![flow("main", main, Vec::new()), flow("inner", inner, count())]
    };
    let own = || vec![broken(), hangup("apology", "o")];
    for (flows, wanted) in [
        (flows(None, own(), true), "hangup(o)"),
        (flows(Some(2), vec![broken()], true), "hangup(b)"),
        (flows(None, vec![broken()], true), "play(a)"),
    ] {
        assert_eq!(Contact::of(flows).hears(&["begin"]), wanted);
    }
    let told = Contact::of(flows(None, vec![broken()], false)).hears(&["begin"]);
    assert!(told.starts_with("fail(step `inner/sum`: the expression"), "{told}");
}

#[test]
fn a_flow_that_nobody_called_just_ends() {
    assert_eq!(
        Contact::of(main(vec![returning("only")], Vec::new())).hears(&["begin", "played"]),
        "play(r) hangup()"
    );
}

/// A snapshot comes over a network: that calls between flows end is proved before a call trusts it.
#[test]
fn flows_in_a_circle_or_too_deep_are_refused_whole() {
    let chain = |length: u16| -> Flows {
        let name = |place: u16| if place == 0 { "main".into() } else { format!("f{place}") };
        let link = |place: u16| match place + 1 < length {
            true => {
                flow(&name(place), vec![called(&name(place + 1), 1, None), hangup("end", "e")], Vec::new())
            }
            false => flow(&name(place), vec![hangup("end", "e")], Vec::new()),
        };
        (0..length).map(link).collect()
    };
    assert_eq!(Contact::of(chain(8)).hears(&["begin"]), "hangup(e)");
    let circle = vec![
        flow("main", vec![called("b", 1, None), hangup("end", "e")], Vec::new()),
        flow("b", vec![called("main", 1, None), hangup("end", "e")], Vec::new()),
    ];
    let missing = main(vec![called("nobody", 1, None), hangup("end", "e")], Vec::new());
    for (flows, field) in
        [(chain(9), "flows.acme/main"), (circle, "flows.acme/b"), (missing, "flows.acme/main")]
    {
        assert_eq!(world(flows).unwrap_err().field, field);
    }
}

/// A call keeps the flows that it began with, those that it calls included.
#[test]
fn a_flow_is_made_anew_when_one_that_it_calls_changes() {
    let flows = |end: &str| {
        let inner = flow("inner", vec![hangup("end", end)], Vec::new());
        let other = flow("other", vec![hangup("end", "o")], Vec::new());
        let main = flow("main", vec![called("inner", 0, None)], Vec::new());
        [main, inner, other]
    };
    let make = |end: &str, last: Option<&World>| {
        let mut snapshot = snapshot();
        snapshot.flows = flows(end).into_iter().collect();
        World::new(snapshot.into(), Default::default(), last).unwrap()
    };
    let of = |world: &World, name: &str| world.flow(&FlowId::new("acme", name)).unwrap().clone();
    let first = make("a", None);
    for (end, same) in [("a", true), ("b", false)] {
        let second = make(end, Some(&first));
        for (name, wanted) in [("main", same), ("inner", same), ("other", true)] {
            let kept = std::sync::Arc::ptr_eq(&of(&first, name), &of(&second, name));
            assert_eq!(kept, wanted, "{end} {name}");
        }
    }
}
