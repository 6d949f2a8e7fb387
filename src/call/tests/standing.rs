//! Telephones of agents that are rung once and kept up between contacts.

use std::sync::Arc;

use call::{
    engine::{AgentAct, CallAct, Input, Supervisee},
    record::SupervisionMode,
};
use model::{
    AgentId, QueueId,
    centre::StationKind,
    media::{Event as MediaEvent, MediaEvent as Told},
    snapshot::Snapshot,
};

use crate::{
    phones::{ADA, ADA_AT_HOME, BOB},
    queues::{centre, sales},
    twin::Virtual,
    world::audio,
};

/// Bob alone serves sales, and his telephone is kept up.
fn kept(at_once: bool) -> Snapshot {
    let mut snapshot = centre(sales());
    for (name, level) in [("ada", 0), ("bob", 9)] {
        let agent = Arc::make_mut(snapshot.centre.agents.get_mut(&AgentId::new("acme", name)).unwrap());
        agent.skills.insert("sales".into(), level);
        agent.music = audio("x");
        if name == "bob" {
            (agent.stations[0].persistent, agent.stations[0].answers_itself) = (true, at_once);
        } else {
            agent.supervises = [QueueId::new("acme", "sales")].into();
        }
    }
    snapshot
}

impl Virtual {
    /// Bob's telephone is told where its audio goes, and agrees.
    fn bob_moves(&mut self) {
        assert_eq!(self.phone_heard(BOB), "re-INVITE");
        let leg = self.more[BOB].leg();
        self.agrees(BOB, leg);
    }

    fn contact_goes(&mut self) {
        let leg = self.carrier.leg();
        self.carrier.endpoint.bye(self.now.instant, leg, &[]).unwrap();
        self.settle();
    }

    /// A contact comes, and is brought to Bob.
    fn contact_comes(&mut self) {
        self.call("+18005550100");
        self.pass(5);
        self.bob_moves();
        assert_eq!(self.media.orders.last().unwrap(), "bridge");
    }

    #[track_caller]
    fn all_is_over(&mut self) {
        self.pass(80);
        assert!(self.engine.is_idle(), "the engine keeps something");
        assert!(self.media.legs.is_empty(), "{:?}", self.media.legs);
    }
}

/// Bob is there, and his telephone is up.
fn up(snapshot: Snapshot) -> Virtual {
    let mut world = Virtual::office(snapshot);
    for phone in [ADA, BOB, ADA_AT_HOME] {
        world.register(phone);
    }
    world.acts("bob", AgentAct::SignIn);
    assert_eq!(world.phone_heard(BOB), "INVITE");
    assert_eq!(world.states, ["bob: Unreachable"]);
    world.other_says(BOB, 180);
    world.other_says(BOB, 200);
    assert_eq!(world.states, ["bob: Unreachable", "bob: Available"]);
    world.phone_heard(BOB);
    world.states.clear();
    world.media.orders.clear();
    world
}

#[test]
fn the_telephone_is_rung_once_and_hears_a_tone_and_the_queue_before_each_contact() {
    let mut world = up(kept(true));
    world.call("+18005550100");
    assert_eq!(world.offers, ["sales>bob"]);
    assert_eq!(world.orders().last().unwrap(), "play(b)", "the tone");
    world.pass(2);
    assert_eq!(world.orders().last().unwrap(), "say(sales)");
    assert_eq!(world.phone_heard(BOB), "");
    world.pass(3);
    world.bob_moves();
    assert_eq!(world.orders().last().unwrap(), "bridge");
    assert_eq!(world.states, ["bob: Offered", "bob: Busy"]);
    assert_eq!(world.talks, ["bob: talks"]);
    // From the desk it is as any other.
    world.at_desk("bob", CallAct::Hold);
    assert_eq!(world.orders(), ["unbridge", "play(x)"]);
    world.at_desk("bob", CallAct::Retrieve);
    assert_eq!(world.orders(), ["bridge"]);
    world.contact_goes();
    world.bob_moves();
    assert!(world.states.contains(&"bob: WrapUp(10)".to_owned()), "{:?}", world.states);
    world.pass(11);
    assert_eq!(world.states.last().unwrap(), "bob: Available");
    world.contact_comes();
    // The agent ends it at the desk, and the telephone stays.
    world.at_desk("bob", CallAct::HangUp);
    world.bob_moves();
    world.pass(20);
    // Goes, and the telephone goes with him.
    world.acts("bob", AgentAct::SignOut);
    assert_eq!(world.phone_heard(BOB), "BYE");
    world.all_is_over();
    let visits: Vec<_> = world.records.iter().flat_map(|record| &record.queues).collect();
    assert_eq!(visits.len(), 2);
    assert!(visits.iter().all(|visit| visit.agent == Some(AgentId::new("acme", "bob"))));
}

#[test]
fn an_agent_who_wants_to_be_asked_accepts_or_declines_at_the_desk() {
    let mut world = up(kept(false));
    world.call("+18005550100");
    world.pass(6);
    assert_eq!(world.phone_heard(BOB), "", "it waits for the desk");
    let call = world.offered.unwrap();
    world.acts("ada", AgentAct::Accept(call));
    assert_eq!(world.talks, ["ada: no such contact is offered to you"]);
    for _ in 0..2 {
        world.acts("bob", AgentAct::Accept(call));
    }
    world.bob_moves();
    assert_eq!(world.orders().last().unwrap(), "bridge");
    world.contact_goes();
    world.bob_moves();
    world.pass(11);
    // What is declined is heard of no more.
    world.call("+18005550100");
    world.acts("bob", AgentAct::Decline(world.offered.unwrap()));
    world.pass(6);
    assert!(!world.orders().contains(&"say(sales)".to_owned()));
    assert_eq!(
        (world.phone_heard(BOB).as_str(), world.states.last().unwrap().as_str()),
        ("", "bob: Available")
    );
    // Accepted before all of it is heard.
    world.pass(31);
    assert_eq!(world.offers.len(), 3);
    world.acts("bob", AgentAct::Accept(world.offered.unwrap()));
    world.bob_moves();
    assert_eq!(world.orders().last().unwrap(), "bridge");
    world.acts("bob", AgentAct::SignOut);
    assert_eq!(world.phone_heard(BOB), "", "he talks on");
    world.contact_goes();
    assert_eq!(world.phone_heard(BOB), "BYE");
    world.all_is_over();
}

#[test]
fn who_hangs_up_is_away_until_ready_again_and_the_contact_keeps_its_place() {
    let mut world = up(kept(true));
    world.call("+18005550100");
    world.pass(1);
    world.hangs_up(BOB);
    assert_eq!(world.states.last().unwrap(), "bob: Unreachable");
    assert!(world.heard().ends_with("200"), "the contact waits on");
    world.pass(30);
    assert_eq!(world.phone_heard(BOB), "bye", "it is not rung again by itself");
    world.acts("bob", AgentAct::Ready);
    assert_eq!(world.phone_heard(BOB), "INVITE");
    world.other_says(BOB, 200);
    assert_eq!(world.offers, ["sales>bob"; 2]);
    world.phone_heard(BOB);
    world.pass(5);
    world.bob_moves();
    // In a conversation it is the end of that, too.
    world.hangs_up(BOB);
    world.pass(3);
    let record = world.records.iter().find(|record| !record.queues.is_empty()).unwrap();
    assert_eq!(record.path, ["wait: ended", "served: hangup"]);
    assert!(record.queues[0].waited_ms >= 30_000, "{record:?}");
    world.pass(20);
    assert!(world.phone_heard(BOB).ends_with("bye"));
    world.acts("bob", AgentAct::SignOut);
    world.all_is_over();
}

#[test]
fn a_telephone_that_does_not_answer_leaves_its_agent_away_and_one_that_is_lost_is_rung_again() {
    let mut world = Virtual::office(kept(true));
    world.register(BOB);
    world.acts("bob", AgentAct::SignIn);
    world.other_says(BOB, 486);
    world.pass(60);
    assert_eq!(world.phone_heard(BOB), "INVITE Rejected { code: 486 }", "once");
    assert_eq!(world.states.last().unwrap(), "bob: Unreachable");
    world.acts("bob", AgentAct::Ready);
    assert_eq!(world.phone_heard(BOB), "INVITE");
    world.other_says(BOB, 200);
    world.phone_heard(BOB);
    // Nothing is heard of it any more.
    let leg = *world.media.legs.last().unwrap();
    let session = model::SessionId(leg.0 >> 16);
    let event = MediaEvent::Silent { leg, silent_ms: 60_000, heard_before: true };
    world.engine.handle(world.now, Input::Media(Told { session, event }));
    world.settle();
    world.pass(6);
    assert_eq!(world.phone_heard(BOB), "BYE");
    world.pass(3);
    assert_eq!(world.phone_heard(BOB), "INVITE", "it is rung again after a while");
    world.other_says(BOB, 503);
    assert_eq!(world.phone_heard(BOB), "Rejected { code: 503 }");
    world.pass(3);
    assert_eq!(world.phone_heard(BOB), "", "and after a longer one");
    world.pass(3);
    assert_eq!(world.phone_heard(BOB), "INVITE");
    world.acts("bob", AgentAct::SignOut);
    assert_eq!(world.phone_heard(BOB), "CANCEL");
    world.all_is_over();
}

#[test]
fn the_contact_may_hang_up_at_any_moment() {
    for seconds in [0, 1, 3] {
        let mut world = up(kept(true));
        world.call("+18005550100");
        world.pass(seconds);
        world.contact_goes();
        world.pass(6);
        assert_eq!(world.phone_heard(BOB), "", "after {seconds} s");
        assert_eq!(world.states.last().unwrap(), "bob: Available");
        // The next one is announced from the beginning.
        world.orders();
        world.contact_comes();
        world.acts("bob", AgentAct::SignOut);
        world.contact_goes();
        world.all_is_over();
    }
    // While the telephone is being told: it is told of both, one after the other.
    let mut world = up(kept(true));
    world.call("+18005550100");
    world.pass(5);
    assert_eq!(world.phone_heard(BOB), "re-INVITE");
    world.contact_goes();
    let leg = world.more[BOB].leg();
    world.agrees(BOB, leg);
    world.bob_moves();
    world.pass(11);
    world.contact_comes();
    world.contact_goes();
    world.bob_moves();
    world.acts("bob", AgentAct::SignOut);
    world.all_is_over();
}

#[test]
fn a_contact_is_handed_on_and_a_colleague_asked_back_and_the_telephone_stays() {
    for consults in [false, true] {
        let mut world = up(kept(true));
        world.contact_comes();
        world.phone_heard(ADA);
        if consults {
            world.at_desk("bob", CallAct::Consult("ada-desk".into()));
            world.other_says(ADA, 200);
            world.at_desk("bob", CallAct::Conference);
            world.at_desk("bob", CallAct::Complete);
        } else {
            world.at_desk("bob", CallAct::Transfer("ada-desk".into()));
            assert_eq!(world.phone_heard(BOB), "");
            world.other_says(ADA, 200);
        }
        assert_eq!(world.media.orders.last().unwrap(), "bridge");
        world.bob_moves();
        world.hangs_up(ADA);
        world.pass(3);
        assert_eq!(world.records[0].path, ["wait: ended", "served: hangup"]);
        world.acts("bob", AgentAct::SignOut);
        assert_eq!(world.phone_heard(BOB), "BYE");
        world.all_is_over();
    }
}

#[test]
fn what_the_agent_begins_goes_by_the_telephone_that_is_up() {
    let mut world = up(kept(true));
    world.acts("bob", AgentAct::Dial("ada-desk".into()));
    world.bob_moves();
    world.phone_heard(ADA_AT_HOME);
    world.other_says(ADA, 200);
    assert_eq!(world.media.orders.last().unwrap(), "bridge");
    world.at_desk("bob", CallAct::HangUp);
    world.bob_moves();
    // So does a supervisor's listening.
    let mut snapshot = kept(true);
    let ada = Arc::make_mut(snapshot.centre.agents.get_mut(&AgentId::new("acme", "ada")).unwrap());
    ada.stations.truncate(1);
    (ada.stations[0].persistent, ada.stations[0].answers_itself) = (true, true);
    let mut world = up(snapshot);
    world.acts("ada", AgentAct::SignIn);
    world.other_says(ADA, 200);
    world.contact_comes();
    world.phone_heard(ADA);
    let whom = Supervisee::Agent(AgentId::new("acme", "bob"));
    world.acts("ada", AgentAct::Supervise(whom, SupervisionMode::Monitor));
    assert_eq!(world.phone_heard(ADA), "re-INVITE");
    let leg = world.more[ADA].leg();
    world.agrees(ADA, leg);
    assert_eq!(world.media.orders.last().unwrap(), "mix(3)");
    world.contact_goes();
    assert_eq!(world.phone_heard(ADA), "re-INVITE", "it comes back as well");
    world.agrees(ADA, leg);
    world.bob_moves();
    for name in ["ada", "bob"] {
        world.acts(name, AgentAct::SignOut);
    }
    assert_eq!((world.phone_heard(ADA).as_str(), world.phone_heard(BOB).as_str()), ("BYE", "BYE"));
    world.all_is_over();
}

#[test]
fn a_telephone_of_the_public_network_presses_the_key_once() {
    let mut snapshot = kept(true);
    let bob = Arc::make_mut(snapshot.centre.agents.get_mut(&AgentId::new("acme", "bob")).unwrap());
    bob.stations[0].kind = StationKind::Pstn { number: "+12125550144".parse().unwrap() };
    let mut world = Virtual::office(snapshot);
    world.acts("bob", AgentAct::SignIn);
    assert!(world.carrier.heard.ends_with(&["INVITE".to_owned()]));
    let telephone = world.carrier.leg();
    world.carrier_says(200);
    assert!(world.orders().last().unwrap().contains("press 1"));
    assert_eq!(world.states, ["bob: Unreachable"], "a mailbox takes no contacts");
    let leg = *world.media.legs.last().unwrap();
    let session = model::SessionId(leg.0 >> 16);
    let event = MediaEvent::Dtmf { leg, digit: '1' };
    world.engine.handle(world.now, Input::Media(Told { session, event }));
    world.settle();
    assert_eq!(world.states.last().unwrap(), "bob: Available");
    for _ in 0..2 {
        world.carrier.heard.clear();
        world.call("+18005550100");
        let contact = world.carrier.leg();
        world.pass(5);
        let agrees = |world: &mut Virtual| {
            assert_eq!(world.carrier.heard.iter().filter(|heard| *heard == "re-INVITE").count(), 1);
            world.carrier.heard.clear();
            let answer = sip::sdp::offer(&world.carrier.media());
            world.carrier.endpoint.answer_reinvite(world.now.instant, telephone, answer).unwrap();
            world.settle();
        };
        agrees(&mut world);
        assert_eq!(world.media.orders.last().unwrap(), "bridge", "without a key");
        world.carrier.leg = Some(contact);
        world.contact_goes();
        agrees(&mut world);
        world.pass(11);
    }
    world.acts("bob", AgentAct::SignOut);
    world.all_is_over();
}

#[test]
fn a_drain_lets_telephones_go_and_ends() {
    let mut world = up(kept(true));
    world.contact_comes();
    world.engine.handle(world.now, Input::Drain);
    world.settle();
    assert_eq!(world.phone_heard(BOB), "", "the conversation goes on");
    world.contact_goes();
    assert_eq!(world.phone_heard(BOB), "BYE");
    world.all_is_over();
    let mut world = up(kept(true));
    world.engine.handle(world.now, Input::Drain);
    world.settle();
    assert_eq!(world.phone_heard(BOB), "BYE");
    world.all_is_over();
}
