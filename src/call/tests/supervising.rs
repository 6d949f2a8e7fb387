//! A supervisor listens to an agent's conversation: who hears whom, what the others notice, and when it is over.

use std::{collections::BTreeMap, sync::Arc};

use call::{
    engine::{AgentAct, CallAct, Input, Supervisee},
    record::SupervisionMode::{self, Barge, Monitor, Whisper},
};
use model::{
    AgentId, CallId, LegId, QueueId,
    centre::{Agent, Station, StationKind},
    media::{Direction, Event as MediaEvent, MediaEvent as Told},
    program::{RecordAction, RecordTo, Step, Verb},
    snapshot::Snapshot,
};

use crate::{
    phones::{ADA, ADA_AT_HOME as CLEO, BOB, sip_station},
    queues::{centre, sales},
    twin::Virtual,
    world::{audio, step},
};

/// Ada and Cleo may listen to sales, which Bob alone serves.
fn staff() -> Snapshot {
    let mut snapshot = centre(sales());
    let agents = &mut snapshot.centre.agents;
    let change = |agents: &mut BTreeMap<AgentId, Arc<Agent>>, name: &str, skilled: bool| {
        let agent = Arc::make_mut(agents.get_mut(&AgentId::new("acme", name)).unwrap());
        agent.music = audio("x");
        agent.skills = BTreeMap::from_iter(skilled.then(|| ("sales".to_owned(), 9)));
        if !skilled {
            agent.supervises = [QueueId::new("acme", "sales")].into();
        }
    };
    change(agents, "bob", true);
    change(agents, "ada", false);
    let ada = Arc::make_mut(agents.get_mut(&AgentId::new("acme", "ada")).unwrap());
    ada.stations.truncate(1);
    let cleo = Agent {
        display_name: "Cleo".into(),
        stations: vec![sip_station("home", "ada-home")],
        outbound_number: None,
        ..ada.clone()
    };
    agents.insert(AgentId::new("acme", "cleo"), Arc::new(cleo));
    snapshot
}

/// Who is who among the media legs.
struct Scene {
    world: Virtual,
    legs: Vec<(LegId, &'static str)>,
}

impl Scene {
    /// A contact of sales talks to Bob.
    fn new(snapshot: Snapshot) -> Self {
        let mut world = Virtual::office(snapshot);
        for (phone, name) in [(ADA, "ada"), (BOB, "bob"), (CLEO, "cleo")] {
            world.register(phone);
            world.acts(name, AgentAct::SignIn);
        }
        world.call("+18005550100");
        let mut scene = Self { world, legs: Vec::new() };
        scene.meet("contact");
        scene.world.other_says(BOB, 200);
        scene.meet("bob");
        for phone in [ADA, BOB, CLEO] {
            scene.world.phone_heard(phone);
        }
        scene.world.carrier.heard.clear();
        scene.world.states.clear();
        scene.world.talks.clear();
        scene.world.media.orders.clear();
        scene
    }

    /// The newest leg is theirs.
    fn meet(&mut self, name: &'static str) {
        let known: Vec<LegId> = self.legs.iter().map(|(leg, _)| *leg).collect();
        let new: Vec<LegId> =
            self.world.media.legs.iter().copied().filter(|leg| !known.contains(leg)).collect();
        if let Some(leg) = new.first() {
            self.legs.push((*leg, name));
        }
    }

    fn who(&self, leg: LegId) -> &'static str {
        self.legs.iter().rev().find(|(known, _)| *known == leg).map_or("?", |(_, name)| *name)
    }

    /// Who hears whom by the last mixing, as `hearer:heard+heard`.
    fn hears(&self) -> String {
        let words = self.world.media.hearings.iter().map(|hearing| {
            let heard: Vec<_> = hearing.sources.iter().map(|source| self.who(source.leg)).collect();
            format!("{}:{}", self.who(hearing.leg), heard.join("+"))
        });
        words.collect::<Vec<_>>().join(" ")
    }

    fn supervise(&mut self, by: &str, of: &str, mode: SupervisionMode) {
        let agent = AgentId::new("acme", of);
        self.world.acts(by, AgentAct::Supervise(Supervisee::Agent(agent), mode));
    }

    fn does(&mut self, name: &str, act: CallAct) {
        let call = self.world.talking.expect("a conversation");
        self.world.acts(name, AgentAct::Call(call, act));
    }

    fn talks(&mut self) -> Vec<String> {
        std::mem::take(&mut self.world.talks)
    }

    fn orders(&mut self) -> Vec<String> {
        std::mem::take(&mut self.world.media.orders)
    }

    /// Ada listens.
    fn listening(mode: SupervisionMode) -> Self {
        let mut scene = Self::new(staff());
        scene.supervise("ada", "bob", mode);
        scene.world.other_says(ADA, 200);
        scene.meet("ada");
        scene.world.phone_heard(ADA);
        scene.world.states.clear();
        scene.world.talks.clear();
        scene.world.media.orders.clear();
        scene
    }

    /// Neither Bob nor the contact has noticed anything.
    fn nobody_noticed(&mut self) {
        assert_eq!((self.world.phone_heard(BOB).as_str(), self.world.heard().as_str()), ("", ""));
    }

    /// Ada is free, and her telephone was let go.
    fn ada_is_free(&mut self) {
        assert!(self.talks().contains(&"ada: over".to_owned()));
        assert_eq!(self.world.states.last().unwrap(), "ada: Available");
        assert!(!self.world.media.legs.iter().any(|leg| self.who(*leg) == "ada"), "her leg is released");
    }

    fn contact_hangs_up(&mut self) {
        let leg = self.world.carrier.leg();
        self.world.carrier.endpoint.bye(self.world.now.instant, leg, &[]).unwrap();
        self.world.settle();
    }

    fn heard_in(&mut self) -> Vec<String> {
        self.world.pass(3);
        let record = self.world.nothing_is_left();
        let words = record.supervisions.iter().map(|it| {
            let seconds = it.ended_at.expect("an end").duration_since(it.started_at).as_secs();
            format!("{} {} {} {seconds}", it.supervisor.0.name(), it.mode.word(), it.agent.0.name())
        });
        words.collect()
    }
}

const MONITORED: &str = "contact:bob bob:contact ada:bob+contact";

fn sorted(hears: &str) -> Vec<&str> {
    let mut words: Vec<&str> = hears.split(' ').collect();
    words.sort_unstable();
    words
}

#[track_caller]
fn assert_hears(scene: &Scene, wanted: &str) {
    assert_eq!(sorted(&scene.hears()), sorted(wanted));
}

#[test]
fn a_supervisor_is_rung_first_listens_whispers_barges_in_and_leaves() {
    let mut scene = Scene::new(staff());
    scene.supervise("ada", "bob", Monitor);
    assert_eq!(scene.talks(), ["ada: talks rings Monitor bob"]);
    assert_eq!(scene.world.states, ["ada: Busy"], "no contact is offered meanwhile");
    scene.world.other_says(ADA, 180);
    assert_eq!(scene.orders(), Vec::<String>::new(), "nobody hears that a telephone rings");
    scene.world.other_says(ADA, 200);
    scene.meet("ada");
    assert_eq!(scene.orders(), ["configure(Pcmu,SendRecv)", "mix(3)"]);
    assert_hears(&scene, MONITORED);
    assert_eq!(scene.talks(), ["ada: talks Monitor bob"]);
    scene.world.pass(5);
    scene.supervise("ada", "bob", Whisper);
    assert_hears(&scene, "contact:bob bob:contact+ada ada:bob+contact");
    scene.world.pass(4);
    scene.supervise("ada", "bob", Barge);
    assert_hears(&scene, "contact:bob+ada bob:contact+ada ada:bob+contact");
    assert_eq!(scene.talks(), ["ada: talks Whisper bob", "ada: talks Barge bob"]);
    scene.world.pass(3);
    // The same once more changes nothing.
    scene.orders();
    scene.supervise("ada", "bob", Barge);
    assert_eq!(scene.orders(), Vec::<String>::new());
    scene.supervise("ada", "bob", Monitor);
    assert_hears(&scene, MONITORED);
    scene.world.pass(2);
    scene.does("ada", CallAct::HangUp);
    assert!(scene.world.phone_heard(ADA).ends_with("BYE"));
    scene.ada_is_free();
    scene.nobody_noticed();
    scene.world.pass(2);
    scene.contact_hangs_up();
    let heard = scene.heard_in();
    assert_eq!(heard, ["ada Monitor bob 5", "ada Whisper bob 4", "ada Barge bob 3", "ada Monitor bob 2"]);
    let egress = &scene.world.records[0].egress;
    assert!(egress[1].whom.contains("acme/ada") && egress[1].sip_code == 200, "{egress:?}");
}

#[test]
fn what_a_supervisor_may_not_hear_is_as_what_there_is_not() {
    const NOTHING: &str = "there is no such conversation that you may listen to";
    let mut snapshot = staff();
    let cleo = snapshot.centre.agents.get_mut(&AgentId::new("acme", "cleo")).unwrap();
    Arc::make_mut(cleo).supervises = [QueueId::new("acme", "billing")].into();
    let mut scene = Scene::new(snapshot);
    let call = scene.world.talking.unwrap();
    for (by, whom) in [
        // Bob may listen to nobody, and Cleo to other queues; nobody there talks, or is there at all.
        ("bob", Supervisee::Agent(AgentId::new("acme", "bob"))),
        ("cleo", Supervisee::Agent(AgentId::new("acme", "bob"))),
        ("cleo", Supervisee::Call(call)),
        ("ada", Supervisee::Agent(AgentId::new("acme", "cleo"))),
        ("ada", Supervisee::Agent(AgentId::new("acme", "nobody"))),
        ("ada", Supervisee::Agent(AgentId::new("other", "bob"))),
        ("ada", Supervisee::Call(CallId(call.0 + 1))),
    ] {
        scene.world.acts(by, AgentAct::Supervise(whom.clone(), Monitor));
        assert_eq!(scene.talks(), [format!("{by}: {NOTHING}")], "{whom:?}");
    }
    assert_eq!(scene.world.phone_heard(ADA) + &scene.world.phone_heard(CLEO), "");
    // A conversation that came by no queue is nobody's to hear.
    scene.contact_hangs_up();
    scene.world.pass(3);
    scene.world.dial(BOB, "sip:ada-home@c14.example");
    scene.world.other_says(CLEO, 200);
    scene.talks();
    scene.supervise("ada", "bob", Monitor);
    assert_eq!(scene.talks(), [format!("ada: {NOTHING}")]);
}

#[test]
fn a_conversation_has_one_supervisor_and_a_supervisor_one_conversation() {
    let mut scene = Scene::listening(Monitor);
    scene.supervise("cleo", "bob", Monitor);
    assert_eq!(scene.talks(), ["cleo: another supervisor listens to this conversation already"]);
    scene.does("ada", CallAct::Hold);
    assert_eq!(scene.talks(), ["ada: you only listen there: say supervise with another mode, or hangUp"]);
    scene.does("cleo", CallAct::HangUp);
    assert_eq!(scene.talks(), ["cleo: you talk to nobody there"]);
    scene.world.acts("ada", AgentAct::Dial("bob-desk".into()));
    assert_eq!(scene.talks(), ["ada: you are in a conversation: hold or end it first"]);
    let call = scene.world.talking.unwrap();
    scene.world.acts("ada", AgentAct::Supervise(Supervisee::Call(call), Whisper));
    assert_eq!(scene.talks(), ["ada: talks Whisper bob"], "the conversation may be named, too");
    scene.does("ada", CallAct::HangUp);
    scene.supervise("cleo", "bob", Monitor);
    scene.world.other_says(CLEO, 200);
    assert_eq!(scene.talks(), ["ada: over", "cleo: talks rings Monitor bob", "cleo: talks Monitor bob"]);
    // Who talks hears nobody else.
    scene.world.dial(ADA, "sip:+12125550177@c14.example");
    scene.supervise("ada", "bob", Monitor);
    let told = scene.talks();
    assert!(told.contains(&"ada: you are in a conversation: end it first".to_owned()), "{told:?}");
}

#[test]
fn a_supervisor_who_cannot_be_rung_or_does_not_answer_is_told_why() {
    let mut scene = Scene::new(staff());
    scene.supervise("ada", "bob", Monitor);
    scene.talks();
    scene.world.other_says(ADA, 486);
    assert_eq!(scene.talks(), ["ada: your telephone was not answered (486)", "ada: over"]);
    scene.supervise("ada", "bob", Monitor);
    scene.world.pass(31);
    assert!(scene.world.phone_heard(ADA).ends_with("INVITE CANCEL"));
    let told = scene.talks();
    assert_eq!(told[1..], ["ada: your telephone was not answered (480)", "ada: over"], "{told:?}");
    // It is given up while it rings.
    scene.supervise("ada", "bob", Monitor);
    scene.does("ada", CallAct::HangUp);
    assert!(scene.world.phone_heard(ADA).ends_with("INVITE CANCEL"));
    assert_eq!(scene.world.states.last().unwrap(), "ada: Available");
    scene.nobody_noticed();
    scene.contact_hangs_up();
    assert_eq!(scene.heard_in(), Vec::<String>::new());

    let mut world = Virtual::office(staff());
    world.register(BOB);
    for name in ["ada", "bob"] {
        world.acts(name, AgentAct::SignIn);
    }
    world.call("+18005550100");
    world.other_says(BOB, 200);
    world.acts("ada", AgentAct::Supervise(Supervisee::Agent(AgentId::new("acme", "bob")), Monitor));
    let told = world.talks.last().unwrap();
    assert_eq!(told, "ada: none of your telephones is registered, so you would hear nothing");
}

#[test]
fn it_ends_with_the_conversation_whoever_hangs_up() {
    for who in ["bob", "bob at the desk", "contact", "ada", "ada signs out"] {
        let mut scene = Scene::listening(Monitor);
        scene.world.pass(7);
        match who {
            "bob" => scene.world.hangs_up(BOB),
            "bob at the desk" => scene.does("bob", CallAct::HangUp),
            "contact" => scene.contact_hangs_up(),
            "ada" => scene.world.hangs_up(ADA),
            _ => scene.world.acts("ada", AgentAct::SignOut),
        }
        if who == "ada signs out" {
            assert_eq!(scene.talks(), ["ada: over"]);
            assert_eq!(scene.world.states.last().unwrap(), "ada: SignedOut");
        } else {
            scene.ada_is_free();
        }
        if who.starts_with("ada") {
            scene.nobody_noticed();
            scene.contact_hangs_up();
        } else {
            assert!(scene.world.phone_heard(ADA).ends_with("BYE"), "{who}");
        }
        assert_eq!(scene.heard_in(), ["ada Monitor bob 7"], "{who}");
    }
    // The same while the telephone rings.
    for who in ["bob", "contact"] {
        let mut scene = Scene::new(staff());
        scene.supervise("ada", "bob", Monitor);
        if who == "bob" {
            scene.world.hangs_up(BOB)
        } else {
            scene.contact_hangs_up()
        }
        assert!(scene.world.phone_heard(ADA).ends_with("INVITE CANCEL"), "{who}");
        assert_eq!(scene.heard_in(), Vec::<String>::new());
    }
}

#[test]
fn while_the_contact_is_on_hold_the_agent_alone_is_heard() {
    let mut scene = Scene::listening(Whisper);
    scene.does("bob", CallAct::Hold);
    assert_eq!(scene.orders(), ["unbridge", "play(x)", "mix(2)"]);
    assert_hears(&scene, "bob:ada ada:bob");
    scene.supervise("ada", "bob", Barge);
    assert_hears(&scene, "bob:ada ada:bob");
    scene.does("bob", CallAct::Retrieve);
    assert_hears(&scene, "contact:bob+ada bob:contact+ada ada:bob+contact");
    // The telephone may hold, too.
    let bob = scene.world.more[BOB].leg();
    scene.world.bob_says(bob, Direction::SendOnly, 2);
    assert_hears(&scene, "bob:ada ada:bob");
    scene.world.bob_says(bob, Direction::SendRecv, 3);
    assert_hears(&scene, "contact:bob+ada bob:contact+ada ada:bob+contact");
    scene.does("bob", CallAct::Hold);
    scene.orders();
    scene.does("ada", CallAct::HangUp);
    assert_eq!(scene.orders(), Vec::<String>::new(), "the contact's music goes on");
    scene.does("bob", CallAct::Retrieve);
    assert_eq!(scene.orders(), ["bridge"], "relayed as before");
    scene.contact_hangs_up();
    assert_eq!(scene.heard_in(), ["ada Whisper bob 0", "ada Barge bob 2"]);
}

#[test]
fn it_ends_where_the_agent_hands_the_contact_on() {
    let mut scene = Scene::listening(Barge);
    scene.does("bob", CallAct::Transfer("ada-home".into()));
    assert!(scene.world.phone_heard(ADA).ends_with("BYE"));
    assert!(scene.talks().contains(&"ada: over".to_owned()));
    scene.world.other_says(CLEO, 200);
    assert_eq!(scene.orders().last().unwrap(), "bridge");
    // Whoever has the contact now may be listened to, for it is a contact of the queue still.
    scene.talks();
    scene.supervise("ada", "bob", Monitor);
    scene.supervise("ada", "cleo", Monitor);
    let told = scene.talks();
    assert_eq!(told[1..], ["ada: talks rings Monitor cleo"], "{told:?}");
    scene.contact_hangs_up();
    assert_eq!(scene.heard_in(), ["ada Barge bob 0"]);
}

#[test]
fn whom_the_agent_asks_back_is_heard_in_the_contacts_place_and_with_it_in_a_conference() {
    let mut scene = Scene::listening(Whisper);
    scene.does("bob", CallAct::Consult("ada-home".into()));
    scene.meet("cleo");
    assert_hears(&scene, "bob:ada ada:bob");
    scene.world.other_says(CLEO, 200);
    assert_hears(&scene, "bob:cleo+ada cleo:bob ada:bob+cleo");
    scene.does("bob", CallAct::Conference);
    assert_hears(&scene, "contact:bob+cleo bob:contact+cleo+ada cleo:bob+contact ada:bob+contact+cleo");
    scene.supervise("ada", "bob", Monitor);
    assert_hears(&scene, "contact:bob+cleo bob:contact+cleo cleo:bob+contact ada:bob+contact+cleo");
    scene.does("bob", CallAct::EndConsult);
    assert_hears(&scene, MONITORED);
    // The one who is asked can be listened to as well as the one who asks.
    scene.does("ada", CallAct::HangUp);
    scene.does("bob", CallAct::Consult("ada-home".into()));
    scene.meet("cleo");
    scene.world.other_says(CLEO, 200);
    scene.supervise("ada", "cleo", Whisper);
    scene.world.other_says(ADA, 200);
    scene.meet("ada");
    assert_hears(&scene, "cleo:bob+ada bob:cleo ada:cleo+bob");
    // The contact is hers now, and so Ada stays.
    scene.does("bob", CallAct::Complete);
    assert_hears(&scene, "contact:cleo cleo:contact+ada ada:cleo+contact");
    scene.world.hangs_up(CLEO);
    assert!(scene.world.phone_heard(ADA).ends_with("BYE"));
    scene.world.pass(3);
    scene.world.nothing_is_left();

    let mut scene = Scene::listening(Monitor);
    scene.does("bob", CallAct::Consult("ada-home".into()));
    scene.world.other_says(CLEO, 200);
    scene.does("bob", CallAct::Complete);
    scene.ada_is_free();
    assert_eq!(scene.orders().last().unwrap(), "bridge");
    scene.contact_hangs_up();
    assert_eq!(scene.heard_in(), ["ada Monitor bob 0"]);
}

#[test]
fn a_right_that_is_withdrawn_ends_it_at_once() {
    let mut scene = Scene::listening(Barge);
    let mut snapshot = staff();
    let ada = snapshot.centre.agents.get_mut(&AgentId::new("acme", "ada")).unwrap();
    Arc::make_mut(ada).supervises.clear();
    scene.world.engine.apply(snapshot.into()).unwrap();
    scene.world.engine.handle(scene.world.now, Input::Timeout);
    scene.world.settle();
    let told = scene.talks();
    assert_eq!(told, ["ada: you may listen to this queue's conversations no more", "ada: over"]);
    assert!(scene.world.phone_heard(ADA).ends_with("BYE"));
    scene.nobody_noticed();
}

#[test]
fn a_supervisor_on_a_telephone_of_the_public_network_presses_a_key_first() {
    let mut snapshot = staff();
    let ada = snapshot.centre.agents.get_mut(&AgentId::new("acme", "ada")).unwrap();
    Arc::make_mut(ada).stations = vec![Station {
        name: "mobile".into(),
        kind: StationKind::Pstn { number: "+12125550144".parse().unwrap() },
        persistent: false,
        answers_itself: false,
        emergency_location: None,
    }];
    let mut scene = Scene::new(snapshot);
    let contact = scene.world.carrier.leg();
    scene.supervise("ada", "bob", Barge);
    scene.meet("ada");
    let (ada, _) = *scene.legs.last().unwrap();
    scene.world.carrier_says(200);
    let orders = scene.orders();
    assert!(orders.last().unwrap().contains("press 1"), "{orders:?}");
    assert_eq!(scene.talks(), ["ada: talks rings Barge bob"], "a mailbox hears nobody");
    let (session, _) = scene.world.media.last.unwrap();
    for digit in ['7', '1', '5'] {
        let event = MediaEvent::Dtmf { leg: ada, digit };
        scene.world.engine.handle(scene.world.now, Input::Media(Told { session, event }));
        scene.world.settle();
    }
    assert_hears(&scene, "contact:bob+ada bob:contact+ada ada:bob+contact");
    let orders = scene.orders();
    assert!(!orders.iter().any(|order| order.starts_with("send")), "keys are nobody's: {orders:?}");
    // Nothing comes from it any more: that ends the supervisor's part alone.
    let event = MediaEvent::Silent { leg: ada, silent_ms: 60_000, heard_before: true };
    scene.world.engine.handle(scene.world.now, Input::Media(Told { session, event }));
    scene.world.settle();
    let told = scene.talks();
    assert!(told.iter().any(|told| told.contains("came from your telephone for 60 s")), "{told:?}");
    assert_eq!(told.last().unwrap(), "ada: over");
    scene.world.carrier.leg = Some(contact);
    scene.contact_hangs_up();
    assert_eq!(scene.heard_in(), ["ada Barge bob 0"]);
}

#[test]
fn a_recording_goes_on_and_has_whoever_the_contact_hears() {
    let mut snapshot = staff();
    let program = Arc::make_mut(snapshot.flows.values_mut().next().unwrap());
    let next = step(u16::try_from(program.steps.len()).unwrap());
    let on = Verb::Record { action: RecordAction::Start, to: RecordTo::Store, next, failed: None };
    // A flow begins with its first step.
    let first = std::mem::replace(&mut program.steps[0], Step { name: "on".into(), verb: on });
    program.steps.push(first);
    let mut world = Virtual::office(snapshot);
    for (phone, name) in [(ADA, "ada"), (BOB, "bob"), (CLEO, "cleo")] {
        world.register(phone);
        world.acts(name, AgentAct::SignIn);
    }
    world.call("+18005550100");
    world.pass(1);
    world.other_says(BOB, 200);
    let recordings = |world: &mut Virtual| -> Vec<String> {
        let orders = std::mem::take(&mut world.media.orders).into_iter();
        orders.filter(|order| order.starts_with("record(") || order == "end").collect()
    };
    let stereo = recordings(&mut world).pop().unwrap();
    assert!(stereo.contains('|'), "{stereo}");
    let supervise = |world: &mut Virtual, mode| {
        let whom = Supervisee::Agent(AgentId::new("acme", "bob"));
        world.acts("ada", AgentAct::Supervise(whom, mode));
    };
    supervise(&mut world, Monitor);
    world.other_says(ADA, 200);
    supervise(&mut world, Whisper);
    assert_eq!(recordings(&mut world), Vec::<String>::new(), "it goes on as it was");
    supervise(&mut world, Barge);
    assert_eq!(recordings(&mut world), ["end", "record(all,-,-)"]);
    supervise(&mut world, Monitor);
    assert_eq!(recordings(&mut world), ["end".to_owned(), stereo]);
    let leg = world.carrier.leg();
    world.carrier.endpoint.bye(world.now.instant, leg, &[]).unwrap();
    world.settle();
    assert_eq!(world.nothing_is_left().recordings.len(), 4);
}
