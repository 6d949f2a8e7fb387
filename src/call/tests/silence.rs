//! Legs that nothing is heard from.

use call::{engine::Input, record::EndedBy};
use model::media::{Event, MediaEvent};

use crate::{
    twin::Virtual,
    world::{dial, hangup, play},
};

impl Virtual {
    /// The media server hears nothing from the leg that it got to know last.
    fn silence(&mut self, silent_ms: u32, heard_before: bool) {
        let (session, leg) = self.media.last.expect("media");
        let event = Event::Silent { leg, silent_ms, heard_before };
        self.engine.handle(self.now, Input::Media(MediaEvent { session, event }));
        self.settle();
    }
}

#[test]
fn a_caller_who_is_not_heard_is_explained_and_in_the_end_let_go() {
    let plays = ["a", "b", "c", "d", "e"].into_iter().zip(1..).map(|(name, next)| play(name, name, next));
    let mut world = Virtual::new(plays.chain([hangup("bye", "z")]).collect());
    world.call("+18005550100");
    world.silence(2_000, false);
    let told = world.told.last().unwrap();
    assert!(
        told.starts_with("NoInboundMedia: no RTP came from the caller in the 2 s after the answer"),
        "{told}"
    );
    world.silence(60_000, false);
    assert!(
        world.carrier.last.as_deref().is_some_and(|last| last.starts_with("OPTIONS ")),
        "{:?}",
        world.carrier.last
    );
    assert_eq!(world.heard(), "200", "it may still know of no call");
    world.pass(5);
    assert_eq!(world.heard(), "200 BYE");
    let record = world.nothing_is_left();
    assert_eq!(record.ended_by, EndedBy::MediaTimeout);
    let because = record.because.as_deref().unwrap();
    assert_eq!(because, "neither RTP nor RTCP came from the caller for 60 s");
}

#[test]
fn who_has_not_answered_may_be_silent() {
    let mut world = Virtual::new(vec![dial("ring", [1, 1, 1, 1]), hangup("bye", "")]);
    world.call("+18005550100");
    world.pbx_says(180);
    world.silence(2_000, false);
    world.silence(60_000, false);
    assert!(world.told.iter().all(|told| !told.contains("NoInboundMedia")), "{:?}", world.told);
    world.answer();
    assert_eq!(world.heard(), "180 200");
}

#[test]
fn a_dead_callee_ends_the_call() {
    let mut world = Virtual::new(vec![dial("ring", [1, 1, 1, 1]), hangup("bye", "")]);
    world.call("+18005550100");
    world.answer();
    world.silence(61_000, true);
    world.pass(5);
    assert_eq!((world.heard().as_str(), world.pbx.heard.join(" ").as_str()), ("200 BYE", "INVITE ACK BYE"));
    assert_eq!(world.nothing_is_left().ended_by, EndedBy::MediaTimeout);
}
