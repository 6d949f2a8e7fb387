//! `message`: an SMS is handed to the tenant's service, and what the call makes of its answer.

use std::sync::Arc;

use call::engine::{Input, Response};
use model::{
    ContactPointId, E164, FlowId, IntegrationId, NumberId,
    centre::{ContactPoint, Dialling, Integration, PointKind},
    numbering::CostClass,
    program::{Expression, Step, Value, Variable, VariableKind, Verb},
    snapshot::Snapshot,
};

use crate::{
    twin::Virtual,
    world::{flow, hangup, snapshot, step},
};

const TEXT: &str = "We have got your call.";

fn number(text: &str) -> E164 {
    text.parse().unwrap()
}

/// Writes to whoever calls, or to `to`; who was written to hears s, others f.
fn writing(text: &str, to: Option<&str>) -> Snapshot {
    let mut snapshot = snapshot();
    let expression = |text: &str| Expression(format!("'{text}'"));
    let message = Verb::Message {
        text: expression(text),
        to: to.map(expression),
        next: step(1),
        failed: Some(step(2)),
    };
    let steps = vec![Step { name: "note".into(), verb: message }, hangup("sent", "s"), hangup("failed", "f")];
    snapshot.flows = [flow("main", steps, Vec::new())].into();
    let integration = Integration {
        url: "https://sms.example.com".into(),
        timeout_seconds: 3,
        headers: Vec::new(),
        requests_per_second_max: 100,
        tls13_only: false,
        suites: Vec::new(),
        ca: None,
        certificate: None,
        proxy: None,
    };
    let centre = &mut snapshot.centre;
    centre.integrations.insert(IntegrationId::new("acme", "sms"), Arc::new(integration));
    let dialling = Dialling {
        country: "US".into(),
        countries: vec!["US".into()],
        cost_classes: vec![CostClass::Free, CostClass::Normal],
        emergency_numbers: Vec::new(),
        trunks: Vec::new(),
        default_caller_id: None,
    };
    centre.dialling.insert(model::TenantId::new("acme", "acme"), Arc::new(dialling));
    point(&mut snapshot, "text", "main");
    snapshot
}

/// A point of contact that SMS are sent by, from that PhoneNumber.
fn point(snapshot: &mut Snapshot, name: &str, number: &str) {
    let kind = PointKind::Sms {
        number: NumberId::new("acme", number),
        integration: IntegrationId::new("acme", "sms"),
    };
    let point = ContactPoint {
        flow: FlowId::new("acme", "main"),
        kind,
        idle_seconds_max: 900,
        conversations_max: 100,
    };
    snapshot.centre.contact_points.insert(ContactPointId::new("acme", name), Arc::new(point));
}

impl Virtual {
    fn sms_service_says(&mut self, answer: Result<u16, &str>) {
        let asked = self.asked.last().expect("a request");
        let (call, request) = (asked.call, asked.request);
        let answer = answer.map(Response::of_status).map_err(str::to_owned);
        self.engine.handle(self.now, Input::Answered { call, request, answer });
        self.settle();
    }

    fn body_asked(&self) -> serde_json::Value {
        serde_json::from_str(self.asked[0].asked.body.as_deref().unwrap()).unwrap()
    }
}

#[test]
fn what_the_service_answers_is_the_outcome_and_the_path_says_why_it_failed() {
    for (answer, heard, passed) in [
        (Ok(200), "play(s)", "note: sent"),
        (Ok(202), "play(s)", "note: sent"),
        (Ok(302), "play(f)", "note: failed (Integration acme/sms: it answers 302)"),
        (Ok(503), "play(f)", "note: failed (Integration acme/sms: it answers 503)"),
        (
            Err("no answer within 3000 ms"),
            "play(f)",
            "note: failed (Integration acme/sms: no answer within 3000 ms)",
        ),
    ] {
        let mut world = Virtual::with(writing(TEXT, None));
        world.call("+18005550100");
        assert_eq!(world.heard(), "", "{answer:?}: nobody is answered for it");
        let asked = &world.asked[0].asked;
        assert!(asked.is_message && asked.path.is_empty());
        let body = world.body_asked();
        let id = body["id"].as_str().unwrap().to_owned();
        assert_eq!(
            body,
            serde_json::json!({"id": id, "from": "+18005550100", "to": "+12125550199", "text": TEXT})
        );
        assert_eq!(world.asked[0].asked.headers, [("Idempotency-Key".to_owned(), format!("\"{id}\""))]);
        world.sms_service_says(answer);
        assert_eq!(world.media.orders.last().unwrap(), heard, "{answer:?}");
        let failed = passed.strip_prefix("note: failed (").map(|why| why.trim_end_matches(')'));
        let told = failed.map(|why| format!("Step note: no SMS is sent: {why}"));
        assert_eq!(world.told, Vec::from_iter(told));
        world.pass(5);
        assert_eq!(world.nothing_is_left().path[0], passed);
    }
}

#[test]
fn ids_differ_from_call_to_call_and_a_long_text_is_cut() {
    let mut snapshot = writing(TEXT, None);
    let long = Value::String("ä".repeat(2_000));
    let long = Variable { name: "long".into(), kind: VariableKind::String, initial: long };
    let text = Expression("long".into());
    let (next, failed) = (step(1), Some(step(1)));
    let message = Verb::Message { text, to: None, next, failed };
    let steps = vec![Step { name: "note".into(), verb: message }, hangup("sent", "s")];
    snapshot.flows = [flow("main", steps, vec![long])].into();
    let mut world = Virtual::with(snapshot);
    let mut ids = Vec::new();
    for _ in 0..2 {
        world.asked.clear();
        world.call("+18005550100");
        let body = world.body_asked();
        ids.push(body["id"].clone());
        assert_eq!(body["text"].as_str().unwrap().chars().count(), 1_600);
        world.sms_service_says(Ok(200));
        world.pass(5);
    }
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn nothing_is_asked_where_nothing_can_be_sent() {
    let no_service = |snapshot: &mut Snapshot| snapshot.centre.contact_points.clear();
    let dead_number = |snapshot: &mut Snapshot| {
        snapshot.centre.contact_points.clear();
        point(snapshot, "text", "elsewhere");
    };
    let nothing = |_: &mut Snapshot| {};
    type Row<'a> = (&'a str, Option<&'a str>, &'a dyn Fn(&mut Snapshot), &'a str);
    let rows: [Row<'_>; 6] = [
        (TEXT, None, &no_service, "no ContactPoint of acme with `sms` has a live number"),
        (TEXT, None, &dead_number, "no ContactPoint of acme with `sms` has a live number"),
        ("", None, &nothing, "there is nothing to be sent"),
        (TEXT, Some("soon"), &nothing, "`to` is no telephone number"),
        (
            TEXT,
            Some("+442079460000"),
            &nothing,
            "+442079460000 is a number of GB, and the `dialling.countries` of acme are US",
        ),
        (
            TEXT,
            Some("+19005550100"),
            &nothing,
            "+19005550100 is a Premium number, and the `dialling.costClasses` of acme are Free, Normal",
        ),
    ];
    for (text, to, spoil, because) in rows {
        let mut snapshot = writing(text, to);
        spoil(&mut snapshot);
        let mut world = Virtual::with(snapshot);
        world.call("+18005550100");
        assert!(world.asked.is_empty(), "{because}");
        assert_eq!(world.media.orders.last().unwrap(), "play(f)", "{because}");
        world.pass(5);
        assert_eq!(world.nothing_is_left().path[0], format!("note: failed ({because})"));
    }
}

#[test]
fn who_called_a_number_without_a_service_is_written_to_from_the_first_that_has_one() {
    let mut snapshot = writing(TEXT, Some("+12125550123"));
    snapshot.centre.contact_points.clear();
    let live = snapshot.numbers.values_mut().next().unwrap();
    let mut other = live[0].clone();
    (other.first, other.last) = (number("+18005550105"), number("+18005550105"));
    other.id = NumberId::new("acme", "texts");
    live.push(other);
    point(&mut snapshot, "b", "nowhere");
    point(&mut snapshot, "c", "texts");
    let mut world = Virtual::with(snapshot);
    world.call("+18005550100");
    let body = world.body_asked();
    assert_eq!((&body["from"], &body["to"]), (&"+18005550105".into(), &"+12125550123".into()));
    world.sms_service_says(Ok(200));
    world.pass(5);
    world.nothing_is_left();
}

#[test]
fn a_service_that_nobody_tells_of_fails_by_itself_and_a_contact_may_hang_up_meanwhile() {
    let mut world = Virtual::with(writing(TEXT, None));
    world.call("+18005550100");
    world.pass(6);
    assert_eq!(world.media.orders.last().unwrap(), "play(f)");
    world.pass(5);
    world.nothing_is_left();

    let mut world = Virtual::with(writing(TEXT, None));
    world.call("+18005550100");
    let leg = world.carrier.leg();
    world.carrier.endpoint.cancel(world.now.instant, leg, &[]).unwrap();
    world.settle();
    world.sms_service_says(Ok(200));
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, Vec::<String>::new());
}
