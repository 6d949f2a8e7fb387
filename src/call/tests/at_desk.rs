//! What agents do with a conversation at the desk: the telephone that it is on need understand nothing of it.

use call::engine::{AgentAct, AgentOrder, CallAct, Input};
use model::{AgentId, CallId, media::Direction};

use crate::{
    holding::talking,
    phones::{ADA, BOB},
    twin::Virtual,
};

impl Virtual {
    fn at_desk(&mut self, name: &str, act: CallAct) {
        let call = self.talking.expect("a conversation");
        self.does(name, call, act);
    }

    fn does(&mut self, name: &str, call: CallId, act: CallAct) {
        let order = AgentOrder { agent: AgentId::new("acme", name), act: AgentAct::Call(call, act) };
        self.engine.handle(self.now, Input::Agent(Box::new(order)));
        self.settle();
    }

    fn talks(&mut self) -> Vec<String> {
        std::mem::take(&mut self.talks)
    }
}

#[test]
fn a_contact_is_held_muted_and_sent_keys_whatever_the_telephone_can_do() {
    let (mut world, bob) = talking("xy");
    assert_eq!(world.talks(), ["bob: talks"]);
    world.at_desk("bob", CallAct::Hold);
    assert_eq!(world.orders(), ["unbridge", "play(xy)"]);
    world.at_desk("bob", CallAct::Hold);
    assert!(world.orders().is_empty());
    world.at_desk("bob", CallAct::Retrieve);
    assert_eq!(world.orders(), ["bridge"]);
    world.at_desk("bob", CallAct::Mute(true));
    world.at_desk("bob", CallAct::Mute(false));
    world.at_desk("bob", CallAct::Digits("12#".into()));
    assert_eq!(world.orders(), ["mute", "unmute", "send(12#)"]);
    assert_eq!(world.talks(), ["bob: talks held", "bob: talks", "bob: talks muted", "bob: talks"]);
    // What the telephone holds the telephone fetches back.
    world.bob_says(bob, Direction::SendOnly, 2);
    world.at_desk("bob", CallAct::Retrieve);
    world.bob_says(bob, Direction::SendRecv, 3);
    let told = world.talks();
    assert_eq!((told.len(), told[0].as_str(), told[2].as_str()), (3, "bob: talks held", "bob: talks"));
    assert!(told[1].starts_with("bob: your telephone holds"), "{told:?}");
    // Without music there is silence.
    let (mut world, _) = talking("");
    world.at_desk("bob", CallAct::Hold);
    assert_eq!(world.orders(), ["unbridge"]);
}

#[test]
fn an_agent_who_hangs_up_at_the_desk_leaves_the_contact_to_the_flow() {
    let (mut world, _) = talking("x");
    world.phone_heard(BOB);
    world.at_desk("bob", CallAct::HangUp);
    assert!(world.phone_heard(BOB).ends_with("BYE"));
    assert_eq!(world.heard(), "200", "the contact goes on");
    assert_eq!(world.talks()[1..], ["bob: over"]);
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, ["ring: ended", "ended: hangup"]);
}

#[test]
fn a_contact_is_handed_on_at_the_desk_and_comes_back_if_nobody_takes_it() {
    let (mut world, _) = talking("x");
    world.phone_heard(BOB);
    world.talks();
    world.at_desk("bob", CallAct::Transfer("ada-desk".into()));
    assert_eq!(world.orders(), ["unbridge", "play(x)"]);
    world.other_says(ADA, 486);
    assert_eq!(world.orders().last().unwrap(), "bridge");
    let told = world.talks();
    assert!(
        told.iter().any(|told| told == "bob: nobody took the contact, who is back with you (486)"),
        "{told:?}"
    );
    assert_eq!(told.last().unwrap(), "bob: talks");
    assert_eq!(world.phone_heard(BOB), "", "the telephone notices nothing");
    world.at_desk("bob", CallAct::Transfer("ada".into()));
    world.other_says(ADA, 200);
    assert_eq!(world.phone_heard(BOB), "BYE");
    assert_eq!(world.orders().last().unwrap(), "bridge");
    assert_eq!(world.talks(), ["bob: over", "ada: talks"]);
}

#[test]
fn what_cannot_be_is_refused_and_says_why() {
    let (mut world, _) = talking("x");
    world.talks();
    for (act, because) in [
        (CallAct::Transfer("bob".into()), "that is you"),
        (CallAct::Transfer("bob-desk".into()), "that is you"),
        (CallAct::Transfer("nobody".into()), "nobody"),
    ] {
        world.at_desk("bob", act);
        let told = world.talks();
        assert!(told.len() == 1 && told[0].contains(because), "{told:?}");
    }
    // Another's call is as good as none.
    world.at_desk("ada", CallAct::HangUp);
    let call = world.talking.unwrap();
    world.does("bob", CallId(call.0 + 1), CallAct::HangUp);
    assert_eq!(world.talks(), ["ada: you talk to nobody there", "bob: you talk to nobody there"]);
    assert!(world.orders().is_empty());
}
