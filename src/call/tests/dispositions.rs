//! The work after a contact: what an agent may say of it, and what comes to its record.

use call::engine::{AfterWork, AgentAct, Input};
use model::{
    CallId,
    centre::{Disposition, Queue},
};

use crate::{
    phones::ADA,
    queues::{centre, sales},
    twin::Virtual,
};

fn asking(required: bool) -> Virtual {
    let of = |(name, title): (&str, &str)| Disposition { name: name.into(), title: title.into() };
    let dispositions = [("sale", "Has bought something"), ("later", "Call again")].map(of).to_vec();
    Virtual::floor(centre(Queue { dispositions, disposition_required: required, ..sales() }))
}

fn says(disposition: Option<&str>, notes: Option<&str>) -> AfterWork {
    AfterWork { disposition: disposition.map(Into::into), notes: notes.map(Into::into) }
}

impl Virtual {
    /// Ada talks to a contact, who hangs up.
    fn served(&mut self) -> CallId {
        self.media.last = None;
        self.call("+18005550100");
        let call = CallId(self.media.last.unwrap().0.0);
        self.other_says(ADA, 200);
        self.pass(5);
        self.caller_hangs_up();
        call
    }

    fn said(&self) -> Vec<String> {
        let told = |one: &call::record::Disposed| {
            let over = if one.timed_out { " over" } else { "" };
            let notes = one.notes.as_deref().unwrap_or_default();
            format!("{} {} {}: {notes}{over}", one.agent.0.name(), one.queue.0.name(), one.disposition)
        };
        self.disposed.iter().map(told).collect()
    }

    fn finish(&mut self, call: CallId, after: AfterWork) {
        self.acts("ada", AgentAct::Finish(call, after));
    }
}

#[test]
fn what_the_agent_says_comes_after_the_record_and_names_its_call() {
    let mut world = asking(true);
    let call = world.served();
    world.pass(3);
    assert_eq!(world.wraps, ["ada sales [sale later]!"]);
    assert_eq!(world.records.len(), 1, "the record does not wait");
    world.finish(call, says(Some("sale"), Some("Two of them.\nBy Friday.")));
    assert_eq!(world.states.last().unwrap(), "ada: Available");
    assert_eq!(world.said(), ["ada sales sale: Two of them.\nBy Friday."]);
    let (disposed, record) = (&world.disposed[0], &world.records[0]);
    assert_eq!((disposed.call, disposed.started_at), (record.call, record.started_at));
    assert_eq!(disposed.tenant, record.tenant);
    assert_eq!(world.wraps[1..], ["ada over"]);
    world.finish(call, says(Some("later"), None));
    assert_eq!(world.said().len(), 1, "it is said once");
    assert_eq!(world.talks.last().unwrap(), "ada: there is no work after that contact");
    world.nothing_is_left();
}

#[test]
fn what_is_no_disposition_is_refused_by_name_with_those_that_there_are() {
    for (required, after, because) in [
        (true, says(Some("sael"), None), "`sael` is no disposition of Queue acme/sales: it has sale, later"),
        (true, says(Some("none"), None), "`none` is no disposition of Queue acme/sales: it has sale, later"),
        (true, says(None, Some("?")), "Queue acme/sales wants one of its dispositions: sale, later"),
    ] {
        let mut world = asking(required);
        let call = world.served();
        world.finish(call, after);
        assert_eq!(world.talks.last().unwrap(), &format!("ada: {because}"));
        assert!(world.disposed.is_empty(), "{because}");
        assert!(world.states.last().unwrap().starts_with("ada: WrapUp"), "{because}");
        world.pass(15);
        assert_eq!(world.said(), ["ada sales none:  over"]);
        world.nothing_is_left();
    }
    let mut world = Virtual::floor(centre(sales()));
    let call = world.served();
    world.finish(call, says(Some("sale"), None));
    let because = "Queue acme/sales has no dispositions, so that `sale` is none";
    assert_eq!(world.talks.last().unwrap(), &format!("ada: {because}"));
}

#[test]
fn where_one_may_be_left_out_none_is_recorded_and_notes_are_kept_without_any() {
    let mut world = asking(false);
    let call = world.served();
    world.finish(call, says(None, Some(" ")));
    assert_eq!(world.said(), ["ada sales none: "]);

    let mut world = Virtual::floor(centre(sales()));
    let call = world.served();
    assert_eq!(world.wraps, ["ada sales []"]);
    world.finish(call, AfterWork::default());
    assert!(world.disposed.is_empty(), "nothing was asked and nothing said");
    let call = world.served();
    world.finish(call, says(None, Some("A wrong number.")));
    assert_eq!(world.said(), ["ada sales none: A wrong number."]);
    world.served();
    world.pass(15);
    assert_eq!(world.said().len(), 1);
}

#[test]
fn an_edge_that_goes_waits_for_what_agents_say_and_records_none_at_its_end() {
    let mut world = asking(true);
    let call = world.served();
    world.engine.handle(world.now, Input::Drain);
    world.pass(4);
    assert!(!world.engine.is_idle());
    world.finish(call, says(Some("later"), None));
    world.pass(40);
    assert!(world.engine.is_idle());

    let mut world = asking(true);
    world.served();
    world.pass(4);
    world.engine.handle(world.now, Input::Stop { because: "the edge goes" });
    world.settle();
    assert_eq!(world.said(), ["ada sales none:  over"]);
}
