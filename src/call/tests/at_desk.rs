//! What agents do with a conversation at the desk: the telephone that it is on need understand nothing of it.

use call::engine::{AgentAct, AgentOrder, CallAct, Input};
use model::{AgentId, CallId, media::Direction, program::DialStrategy};

use crate::{
    holding::talking,
    phones::{ADA, ADA_AT_HOME, BOB, rings},
    twin::Virtual,
};

impl Virtual {
    pub fn at_desk(&mut self, name: &str, act: CallAct) {
        let call = self.talking.expect("a conversation");
        self.does(name, call, act);
    }

    pub fn does(&mut self, name: &str, call: CallId, act: CallAct) {
        let order = AgentOrder { agent: AgentId::new("acme", name), act: AgentAct::Call(call, act) };
        self.engine.handle(self.now, Input::Agent(Box::new(order)));
        self.settle();
    }

    pub fn talks(&mut self) -> Vec<String> {
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

/// Bob talks to the contact and asks Ada back.
fn consulting() -> Virtual {
    let (mut world, _) = talking("x");
    world.phone_heard(BOB);
    world.talks();
    world.at_desk("bob", CallAct::Consult("ada-desk".into()));
    assert_eq!(world.orders(), ["unbridge", "play(x)", "play(r)"]);
    assert_eq!(world.talks(), ["bob: talks held Rings ada-desk"]);
    world
}

#[test]
fn whom_an_agent_asks_back_takes_the_contact_when_the_agent_says_so() {
    let mut world = consulting();
    world.other_says(ADA, 200);
    assert_eq!(world.orders().last().unwrap(), "bridge");
    assert_eq!(world.talks(), ["bob: talks held Talks ada-desk", "ada: talks"]);
    // Ada may not do with the contact what is Bob's to do.
    world.at_desk("ada", CallAct::Hold);
    assert_eq!(world.talks(), ["ada: a colleague asks you: the contact is not yours yet"]);
    world.at_desk("bob", CallAct::Hold);
    assert_eq!(world.talks(), ["bob: you ask somebody back: say complete, conference or endConsult first"]);
    world.at_desk("bob", CallAct::Complete);
    assert_eq!(world.phone_heard(BOB), "BYE");
    assert_eq!(world.orders(), ["bridge"]);
    assert_eq!(world.talks(), ["bob: over"]);
    world.at_desk("ada", CallAct::HangUp);
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, ["ring: ended", "ended: hangup"]);
}

#[test]
fn an_agent_who_hangs_up_while_asking_back_hands_on() {
    // Ada is there already.
    for by_telephone in [false, true] {
        let mut world = consulting();
        world.other_says(ADA, 200);
        if by_telephone {
            world.hangs_up(BOB);
        } else {
            world.at_desk("bob", CallAct::HangUp);
        }
        assert_eq!(world.orders().last().unwrap(), "bridge");
        assert_eq!(world.talks().last().unwrap(), "bob: over", "Ada talks on");
        world.at_desk("ada", CallAct::HangUp);
        world.pass(3);
        assert_eq!(world.nothing_is_left().path, ["ring: ended", "ended: hangup"]);
    }
    // She is still rung.
    let mut world = consulting();
    world.at_desk("bob", CallAct::HangUp);
    assert!(world.phone_heard(BOB).ends_with("BYE"));
    world.other_says(ADA, 200);
    assert_eq!(world.orders().last().unwrap(), "bridge");
    assert_eq!(world.talks().last().unwrap(), "ada: talks");
}

#[test]
fn who_is_not_reached_or_hangs_up_leaves_the_agent_with_the_contact() {
    let mut world = consulting();
    world.other_says(ADA, 486);
    assert_eq!(world.orders().last().unwrap(), "bridge");
    assert_eq!(
        world.talks(),
        ["bob: ada-desk was not reached (486): the contact is back with you", "bob: talks"]
    );
    world.at_desk("bob", CallAct::Consult("ada-desk".into()));
    world.other_says(ADA, 200);
    world.talks();
    world.hangs_up(ADA);
    assert_eq!(world.orders().last().unwrap(), "bridge");
    assert_eq!(world.talks(), ["ada: over", "bob: talks"]);
    assert_eq!(world.phone_heard(BOB), "", "the telephone notices nothing");
    // While it rings, the agent may go back at once.
    world.at_desk("bob", CallAct::Consult("ada-desk".into()));
    world.at_desk("bob", CallAct::EndConsult);
    assert_eq!(world.orders().last().unwrap(), "bridge");
    assert_eq!(world.talks().last().unwrap(), "bob: talks");
    world.hangs_up(BOB);
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, ["ring: ended", "ended: hangup"]);
}

#[test]
fn all_three_talk_and_whoever_leaves_leaves_the_other_two() {
    for who in ["bob", "ada", "contact"] {
        let mut world = consulting();
        world.at_desk("bob", CallAct::Conference);
        let told = world.talks();
        assert_eq!(told, ["bob: nobody is there yet who could be brought together with the contact"]);
        world.other_says(ADA, 200);
        world.orders();
        world.at_desk("bob", CallAct::Conference);
        assert_eq!(world.orders().last().unwrap(), "mix(3)");
        let told = world.talks();
        assert_eq!(told.last().unwrap(), "bob: talks Conference ada-desk", "{told:?}");
        match who {
            "bob" => world.at_desk("bob", CallAct::HangUp),
            "ada" => world.hangs_up(ADA),
            _ => {
                let leg = world.carrier.leg();
                world.carrier.endpoint.bye(world.now.instant, leg, &[]).unwrap();
                world.settle();
                world.pass(3);
                world.nothing_is_left();
                continue;
            }
        }
        let orders = world.orders();
        assert!(orders.contains(&"mix(0)".to_owned()), "{orders:?}");
        assert_eq!(orders.last().unwrap(), "bridge", "{who}");
        let left = if who == "bob" { "bob: over" } else { "bob: talks" };
        assert_eq!(world.talks().last().unwrap(), left, "{who}");
    }
}

/// Ada and Bob at their telephones.
fn at_their_telephones() -> Virtual {
    let mut world = Virtual::office(rings(&["bob"], DialStrategy::InOrder));
    for phone in [ADA, BOB] {
        world.register(phone);
    }
    world.phone_heard(BOB);
    world
}

impl Virtual {
    fn dials(&mut self, name: &str, to: &str) {
        let order = AgentOrder { agent: AgentId::new("acme", name), act: AgentAct::Dial(to.into()) };
        self.engine.handle(self.now, Input::Agent(Box::new(order)));
        self.settle();
    }
}

#[test]
fn who_dials_at_the_desk_is_rung_first_and_then_joined_to_whom_they_dial() {
    let mut world = at_their_telephones();
    world.dials("bob", "ada-desk");
    assert_eq!(world.talks(), ["bob: talks rings"]);
    assert_eq!(world.phone_heard(ADA), "", "nobody is rung for whoever is not there");
    world.other_says(BOB, 200);
    world.other_says(ADA, 180);
    assert_eq!(world.orders().last().unwrap(), "play(r)", "Bob hears it ring");
    world.other_says(ADA, 200);
    assert_eq!(world.orders().last().unwrap(), "bridge");
    assert_eq!(world.talks(), ["bob: talks", "ada: talks"]);
    world.dials("bob", "ada-home");
    assert_eq!(world.talks(), ["bob: you are in a conversation: hold or end it first"]);
    world.at_desk("bob", CallAct::Hold);
    world.at_desk("bob", CallAct::Retrieve);
    world.at_desk("bob", CallAct::HangUp);
    assert!(world.phone_heard(BOB).ends_with("BYE") && world.phone_heard(ADA).ends_with("BYE"));
    world.pass(3);
    let record = world.nothing_is_left();
    assert_eq!((record.to.as_str(), record.sip_code), ("ada-desk", 200));
}

#[test]
fn who_dials_at_the_desk_is_told_why_nobody_is_there() {
    let mut world = at_their_telephones();
    world.dials("bob", "ada-desk");
    world.other_says(BOB, 486);
    assert_eq!(
        world.talks(),
        ["bob: talks rings", "bob: your telephone was not answered (486)", "bob: over"]
    );
    world.pass(3);
    assert_eq!(world.nothing_is_left().sip_code, 480);
    let mut world = at_their_telephones();
    world.dials("bob", "ada-desk");
    world.other_says(BOB, 200);
    world.other_says(ADA, 486);
    assert_eq!(world.talks(), ["bob: talks rings", "bob: ada-desk is busy (486)", "bob: over"]);
    assert!(world.phone_heard(BOB).ends_with("BYE"));
    world.pass(3);
    world.nothing_is_left();
    // It is given up before anybody has answered.
    for answered in [false, true] {
        let mut world = at_their_telephones();
        world.dials("bob", "ada-desk");
        if answered {
            world.other_says(BOB, 200);
        }
        world.at_desk("bob", CallAct::HangUp);
        assert_eq!(world.talks(), ["bob: talks rings", "bob: over"]);
        world.pass(3);
        world.nothing_is_left();
    }
    let mut world = at_their_telephones();
    // Nor is she rung at one telephone who talks on another.
    world.register(ADA_AT_HOME);
    world.dials("bob", "ada-home");
    world.other_says(BOB, 200);
    world.other_says(ADA_AT_HOME, 200);
    world.talks();
    world.dials("ada", "bob-desk");
    assert_eq!(world.talks(), ["ada: you are in a conversation: hold or end it first"]);
    world.at_desk("bob", CallAct::HangUp);
    world.talks();
    for (to, because) in [("bob", "that is you"), ("nobody", "nobody")] {
        world.dials("bob", to);
        let told = world.talks();
        assert!(told.len() == 1 && told[0].contains(because), "{told:?}");
    }
}

#[test]
fn what_cannot_be_is_refused_and_says_why() {
    let (mut world, _) = talking("x");
    world.talks();
    for (act, because) in [
        (CallAct::Transfer("bob".into()), "that is you"),
        (CallAct::Transfer("bob-desk".into()), "that is you"),
        (CallAct::Transfer("nobody".into()), "nobody"),
        (CallAct::Consult("bob".into()), "that is you"),
        (CallAct::Consult("+18005550100".into()), "leads into a flow"),
        (CallAct::Complete, "you ask nobody back"),
        (CallAct::Conference, "you ask nobody back"),
        (CallAct::EndConsult, "you ask nobody back"),
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
