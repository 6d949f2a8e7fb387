//! `request`: what a service is asked for a call, and what the call makes of the answer.

use std::sync::Arc;

use call::engine::{Input, Response};
use model::{
    IntegrationId,
    centre::Integration,
    program::{Expression, Method, Request, Step, Value, Variable, VariableIx, VariableKind, Verb},
    snapshot::Snapshot,
};

use crate::{
    twin::Virtual,
    world::{branch, flow, hangup, snapshot, step},
};

/// Asks the CRM who calls: VIPs hear v, others o, and f whoever it says nothing of.
fn crm() -> Snapshot {
    let mut snapshot = snapshot();
    let request = Request {
        integration: IntegrationId::new("acme", "crm"),
        method: Method::Get,
        path: Some(Expression("'/contacts/' + contact.number".into())),
        headers: Vec::new(),
        body: None,
        timeout_ms: None,
        save: vec![(VariableIx(0), Expression("body.vip".into()))],
        next: step(1),
        failed: Some(step(4)),
    };
    let vip = Variable { name: "vip".into(), kind: VariableKind::Boolean, initial: Value::Boolean(false) };
    let steps = vec![
        Step { name: "lookup".into(), verb: Verb::Request(Box::new(request)) },
        branch("who", &[("vip", 2)], 3),
        hangup("vip", "v"),
        hangup("other", "o"),
        hangup("unknown", "f"),
    ];
    snapshot.flows = [flow("main", steps, vec![vip])].into();
    let integration = Integration {
        url: "https://crm.example.com".into(),
        timeout_seconds: 3,
        headers: Vec::new(),
        requests_per_second_max: 100,
        tls13_only: false,
        suites: Vec::new(),
        ca: None,
        certificate: None,
        proxy: None,
    };
    snapshot.centre.integrations.insert(IntegrationId::new("acme", "crm"), Arc::new(integration));
    snapshot
}

impl Virtual {
    fn service_says(&mut self, answer: Result<(u16, &str), &str>) {
        let asked = self.asked.last().expect("a request");
        let (call, request) = (asked.call, asked.request);
        let answer = match answer {
            Ok((status, body)) => Ok(Response::parse(status, body.as_bytes()).unwrap()),
            Err(because) => Err(because.to_owned()),
        };
        self.engine.handle(self.now, Input::Answered { call, request, answer });
        self.settle();
    }
}

#[test]
fn an_answer_leads_the_call_which_is_not_answered_for_it() {
    for (answer, heard, passed, told) in [
        (Ok((200, r#"{"vip": true}"#)), "play(v)", "lookup: answered", None),
        (Ok((200, r#"{"vip": false}"#)), "play(o)", "lookup: answered", None),
        (Ok((404, "")), "play(f)", "lookup: failed", Some("it answers 404")),
        (Ok((200, "{}")), "play(f)", "lookup: failed", Some("its answer has not all that the step saves")),
        (Err("no answer within 3000 ms"), "play(f)", "lookup: failed", Some("no answer within 3000 ms")),
    ] {
        let mut world = Virtual::with(crm());
        world.call("+18005550100");
        assert_eq!(world.heard(), "", "{answer:?}");
        let asked = &world.asked[0].asked;
        assert_eq!(
            (asked.path.as_str(), asked.integration.to_string()),
            ("/contacts/+12125550199", "acme/crm".into())
        );
        world.service_says(answer);
        assert_eq!(world.media.orders.last().unwrap(), heard, "{answer:?}");
        assert_eq!(world.heard(), "200");
        let because = told.map(|told| format!("Step lookup: Integration acme/crm: {told}"));
        assert_eq!(world.told.len(), usize::from(because.is_some()), "{:?}", world.told);
        assert!(because.is_none_or(|because| world.told[0].starts_with(&because)), "{:?}", world.told);
        world.pass(5);
        assert_eq!(world.nothing_is_left().path[0], passed);
    }
}

#[test]
fn a_request_that_nobody_answers_ends_by_itself() {
    let mut world = Virtual::with(crm());
    world.call("+18005550100");
    world.pass(4);
    assert!(world.media.orders.is_empty());
    world.pass(2);
    assert_eq!(world.media.orders.last().unwrap(), "play(f)");
    // What comes after all that changes nothing.
    world.service_says(Ok((200, r#"{"vip": true}"#)));
    world.pass(5);
    assert_eq!(world.nothing_is_left().path, ["lookup: failed", "unknown: hangup"]);
}

#[test]
fn a_contact_who_hangs_up_meanwhile_is_gone() {
    let mut world = Virtual::with(crm());
    world.call("+18005550100");
    let leg = world.carrier.leg();
    world.carrier.endpoint.cancel(world.now.instant, leg, &[]).unwrap();
    world.settle();
    world.service_says(Ok((200, r#"{"vip": true}"#)));
    world.pass(3);
    assert!(world.media.orders.is_empty());
    assert_eq!(world.nothing_is_left().path, Vec::<String>::new());
}
