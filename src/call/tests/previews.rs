//! Previews: an agent sees whom it may call first, and both legs are ours.

use std::{collections::BTreeMap, time::Duration};

use call::engine::{AgentAct, Input, Preview};
use model::{CallId, QueueId};

use crate::{
    phones::{ADA, BOB},
    queues::{centre, sales},
    twin::Virtual,
};

const NUMBER: &str = "+16175550150";

fn preview(call_id: &str) -> Preview {
    Preview {
        call_id: call_id.into(),
        queue: QueueId::new("acme", "sales"),
        number: NUMBER.parse().unwrap(),
        caller_id: None,
        name: "Grace Hill".into(),
        variables: BTreeMap::from([("contract".into(), "4711".into())]),
        shown_for: Duration::from_secs(60),
        wait_max: Duration::from_secs(600),
    }
}

fn shown() -> (Virtual, CallId) {
    let mut world = Virtual::floor(centre(sales()));
    world.previews(preview("preview-1"));
    let call = world.begun[0].call;
    (world, call)
}

impl Virtual {
    fn previews(&mut self, preview: Preview) {
        self.engine.handle(self.now, Input::Preview(Box::new(preview)));
        self.settle();
    }
}

#[test]
fn the_agent_sees_the_card_says_dial_and_both_are_called() {
    let (mut world, call) = shown();
    assert_eq!(world.offers, ["sales>ada"]);
    let card = world.cards.last().unwrap();
    assert_eq!((card.name.as_str(), card.variables["contract"].as_str()), ("Grace Hill", "4711"));
    assert_eq!(world.states, ["ada: Offered"], "the agent is taken from here on");
    assert_eq!((world.phone_heard(ADA), world.heard()), (String::new(), String::new()));
    assert_eq!(world.engine.calls(), 0, "it is no call yet");
    // Longer than the queue rings.
    world.pass(50);
    world.acts("ada", AgentAct::Preview(call, true));
    assert_eq!((world.phone_heard(ADA), world.heard()), ("INVITE".into(), String::new()));
    world.other_says(ADA, 200);
    assert_eq!(world.heard(), "INVITE");
    let invite = world.carrier.last.clone().unwrap();
    assert!(invite.starts_with(&format!("INVITE sip:{NUMBER}@")), "{invite}");
    world.carrier_says(200);
    assert_eq!(world.media.orders.last().unwrap(), "bridge");
    world.pass(20);
    world.hangs_up(ADA);
    assert_eq!(world.states.last().unwrap(), "ada: WrapUp(10)");
    let record = world.nothing_is_left();
    assert_eq!((record.call_id.as_str(), record.to.as_str()), ("preview-1", NUMBER));
    assert_eq!(record.station.as_ref().unwrap().agent.0.name(), "ada");
    let codes: Vec<_> = record.egress.iter().map(|leg| leg.sip_code).collect();
    assert_eq!(codes, [200, 200]);
    assert_eq!(record.queues[0].outcome, "answered");
}

#[test]
fn who_is_skipped_is_not_called_and_the_record_says_who_skipped() {
    let (mut world, call) = shown();
    world.acts("bob", AgentAct::Preview(call, true));
    assert_eq!(world.talks.last().unwrap(), "bob: nobody waits there for your word");
    world.acts("ada", AgentAct::Preview(call, false));
    assert_eq!(world.states.last().unwrap(), "ada: Available");
    assert_eq!((world.phone_heard(ADA), world.heard()), (String::new(), String::new()));
    world.acts("ada", AgentAct::Preview(call, true));
    assert_eq!(world.talks.last().unwrap(), "ada: nobody waits there for your word");
    let record = world.nothing_is_left();
    assert_eq!(record.because.as_deref(), Some("Agent acme/ada skipped it"));
    assert!(record.egress.is_empty());
}

#[test]
fn a_card_that_is_let_be_goes_to_the_next_and_who_let_it_be_is_away() {
    let (mut world, call) = shown();
    world.pass(59);
    assert_eq!(world.states.last().unwrap(), "ada: Offered");
    world.pass(2);
    assert_eq!(world.states[1..], ["bob: Offered", "ada: Away(Unanswered)"]);
    world.acts("bob", AgentAct::Preview(call, true));
    world.other_says(BOB, 486);
    assert_eq!(world.heard(), "", "nobody is called for an agent who is not there");
    world.acts("bob", AgentAct::Away("Lunch".into()));
    world.pass(600);
    assert_eq!(world.nothing_is_left().because.as_deref(), Some("no agent was free in time"));
}

#[test]
fn who_does_not_answer_is_told_the_agent_and_the_record() {
    let (mut world, call) = shown();
    world.acts("ada", AgentAct::Preview(call, true));
    world.other_says(ADA, 200);
    world.carrier_says(486);
    assert!(world.phone_heard(ADA).ends_with("BYE"));
    assert!(world.talks.contains(&format!("ada: {NUMBER} is busy (486)")), "{:?}", world.talks);
    let record = world.nothing_is_left();
    assert_eq!(record.egress.iter().map(|leg| leg.sip_code).collect::<Vec<_>>(), [200, 486]);
}

#[test]
fn what_may_not_be_called_is_refused_with_its_reason() {
    let granted = "+18005550100".parse().unwrap();
    let strange = "+18005559999".parse().unwrap();
    for (change, because) in [
        (Preview { queue: QueueId::new("acme", "sails"), ..preview("p") }, "there is no Queue acme/sails"),
        (Preview { number: "+442079460000".parse().unwrap(), ..preview("p") }, "is a number of GB"),
        (Preview { caller_id: Some(strange), ..preview("p") }, "grants +18005559999 to acme"),
    ] {
        let mut world = Virtual::floor(centre(sales()));
        world.previews(change);
        let told = world.explanations.last().unwrap().to_string();
        assert!(told.contains(because), "{told}");
        assert!(world.begun.is_empty());
    }
    let mut world = Virtual::floor(centre(sales()));
    world.previews(Preview { caller_id: Some(granted), ..preview("p") });
    assert_eq!(world.begun[0].from, "+18005550100");
}

#[test]
fn a_contact_that_waits_longer_goes_before_a_preview() {
    let mut world = Virtual::floor(centre(sales()));
    world.acts("ada", AgentAct::Away("Lunch".into()));
    world.acts("bob", AgentAct::Away("Lunch".into()));
    world.call("+18005550100");
    world.pass(1);
    world.previews(preview("preview-1"));
    world.acts("ada", AgentAct::Ready);
    assert!(world.cards.is_empty());
    assert_eq!(world.phone_heard(ADA), "INVITE");
}
