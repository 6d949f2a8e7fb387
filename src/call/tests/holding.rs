//! What a contact hears while an agent's phone holds it or hands it on.

use std::sync::Arc;

use model::{AgentId, LegId, media::Direction, program::DialStrategy};
use sip::sdp;

use crate::{
    phones::{ADA, ADA_AT_HOME, BOB, rings},
    twin::Virtual,
    world::audio,
};

/// The carrier's caller talks to Bob, whose tenant has this music.
pub fn talking(music: &str) -> (Virtual, LegId) {
    let mut snapshot = rings(&["bob"], DialStrategy::InOrder);
    for name in ["ada", "bob"] {
        let agent = snapshot.centre.agents.get_mut(&AgentId::new("acme", name)).unwrap();
        Arc::make_mut(agent).music = music.chars().flat_map(|one| audio(&one.to_string())).collect();
    }
    let mut world = Virtual::office(snapshot);
    for phone in [ADA, BOB, ADA_AT_HOME] {
        world.register(phone);
    }
    world.call("+18005550100");
    world.other_says(BOB, 200);
    let bob = world.more[BOB].leg();
    world.media.orders.clear();
    (world, bob)
}

impl Virtual {
    pub fn bob_says(&mut self, bob: LegId, direction: Direction, version: u64) {
        let mut media = self.more[BOB].media();
        (media.direction, media.version) = (direction, version);
        self.more[BOB].endpoint.reinvite(self.now.instant, bob, sdp::offer(&media)).unwrap();
        self.settle();
        // Each re-INVITE is answered before the next.
        self.pass(1);
    }

    fn contact_says(&mut self, direction: Direction, version: u64) {
        let leg = self.carrier.leg();
        let mut media = self.carrier.media();
        (media.direction, media.version) = (direction, version);
        self.carrier.endpoint.reinvite(self.now.instant, leg, sdp::offer(&media)).unwrap();
        self.settle();
        self.pass(1);
    }

    pub fn orders(&mut self) -> Vec<String> {
        std::mem::take(&mut self.media.orders)
    }
}

#[test]
fn a_contact_on_hold_hears_the_tenants_music_until_it_is_fetched_back() {
    let (mut world, bob) = talking("xy");
    world.bob_says(bob, Direction::SendOnly, 2);
    assert_eq!(world.orders(), ["configure(Pcmu,RecvOnly)", "unbridge", "play(xy)"]);
    // Said once more it changes nothing.
    world.bob_says(bob, Direction::Inactive, 3);
    assert_eq!(world.orders(), ["configure(Pcmu,Inactive)"]);
    world.bob_says(bob, Direction::SendRecv, 4);
    assert_eq!(world.orders(), ["configure(Pcmu,SendRecv)", "bridge"]);
    world.bob_says(bob, Direction::SendOnly, 5);
    assert_eq!(world.orders()[1..], ["unbridge", "play(xy)"]);
    // An agent who hangs up takes the music along.
    world.hangs_up(BOB);
    assert!(!world.orders().iter().any(|order| order == "play(xy)"), "the flow's prompt is heard");
    world.pass(3);
    assert_eq!(world.nothing_is_left().path, ["ring: ended", "ended: hangup"]);
}

#[test]
fn a_contact_that_hangs_up_on_hold_ends_the_call() {
    let (mut world, bob) = talking("x");
    world.bob_says(bob, Direction::SendOnly, 2);
    let leg = world.carrier.leg();
    world.carrier.endpoint.bye(world.now.instant, leg, &[]).unwrap();
    world.settle();
    assert!(world.phone_heard(BOB).ends_with("BYE"));
    world.pass(3);
    world.nothing_is_left();
}

#[test]
fn nobody_hears_music_where_there_is_none_or_both_hold_or_the_contact_does() {
    let (mut world, bob) = talking("");
    world.bob_says(bob, Direction::SendOnly, 2);
    assert_eq!(world.orders(), ["configure(Pcmu,RecvOnly)"]);

    let (mut world, bob) = talking("x");
    world.contact_says(Direction::SendOnly, 2);
    assert_eq!(world.orders(), ["configure(Pcmu,RecvOnly)"], "a contact's network has music of its own");
    world.bob_says(bob, Direction::SendOnly, 2);
    assert_eq!(world.orders(), ["configure(Pcmu,RecvOnly)"]);
    world.contact_says(Direction::SendRecv, 3);
    assert_eq!(world.orders(), ["configure(Pcmu,SendRecv)", "unbridge", "play(x)"]);
}

#[test]
fn a_contact_who_is_handed_on_keeps_its_music_until_somebody_is_there() {
    let (mut world, bob) = talking("xy");
    world.bob_says(bob, Direction::SendOnly, 2);
    world.orders();
    world.refers(BOB, bob, "sip:ada-desk@c14.example", &[]);
    world.more[BOB].endpoint.bye(world.now.instant, bob, &[]).unwrap();
    world.settle();
    let orders = world.orders();
    assert_eq!(orders[..2], ["unbridge", "play(xy)"], "{orders:?}");
    world.other_says(ADA, 180);
    assert!(!world.orders().iter().any(|order| order.starts_with("play")), "no ringing tone over it");
    // Nobody takes it, so Bob is rung again, and the music goes on.
    world.other_says(ADA, 603);
    let orders = world.orders();
    assert!(orders.iter().any(|order| order == "play(xy)"), "{orders:?}");
    world.other_says(BOB, 200);
    assert_eq!(world.orders().last().unwrap(), "bridge");
}
