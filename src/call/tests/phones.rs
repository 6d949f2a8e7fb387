//! Agents' phones in the twin: they register, dial, and are rung.

use std::sync::Arc;

use call::engine::Input;
use model::{
    AgentId, Key, LegId, TenantId, TrunkId,
    centre::{Agent, Dialling, Location, SecretKey, Station, StationKind},
    net::{Flow, ListenerIx, Transport},
    numbering::CostClass,
    program::{Dial, DialStrategy, DialTarget, Step, Verb},
    snapshot::{Listener, Serves, Snapshot},
};
use sip::{
    digest::{Algorithm, Credentials, Secret},
    endpoint::{Ended, Extensions, Header, Invite, OutOfDialog},
    sdp,
    wire::Method,
};

use crate::{
    twin::{PHONES, Phone, Virtual},
    world::{flow, hangup, snapshot, step},
};

/// Phones of the office by their places in `more`.
pub const ADA: usize = 0;
pub const BOB: usize = 1;
pub const ADA_AT_HOME: usize = 2;

pub fn sip_station(name: &str, username: &str) -> Station {
    let secret = SecretKey { name: "phones".into(), key: username.into() };
    Station {
        name: name.into(),
        kind: StationKind::Sip { username: username.into(), secret },
        persistent: false,
        answers_itself: false,
        emergency_location: None,
    }
}

fn agent(name: &str, stations: Vec<Station>, number: Option<&str>) -> Arc<Agent> {
    Arc::new(Agent {
        display_name: name.into(),
        skills: Default::default(),
        languages: Vec::new(),
        stations,
        capacity: Default::default(),
        sign_in: None,
        session_seconds: 43_200,
        outbound_number: number.map(|number| number.parse().unwrap()),
        lossy: false,
        music: Vec::new(),
        queues: std::collections::BTreeMap::new(),
        supervises: Default::default(),
    })
}

pub fn rules() -> Dialling {
    Dialling {
        country: "US".into(),
        countries: vec!["CA".into(), "US".into()],
        cost_classes: vec![CostClass::Free, CostClass::Normal],
        emergency_numbers: vec!["110".into()],
        trunks: vec![TrunkId::new("platform", "carrier")],
        default_caller_id: Some("+18005550100".parse().unwrap()),
    }
}

pub fn desk() -> Location {
    Location {
        country: "US".into(),
        region: Some("NY".into()),
        city: "New York".into(),
        street: "1 Example Street".into(),
        room: Some("Desk 4".into()),
        postal_code: None,
        carrier_location_id: None,
    }
}

/// Ada has a desk phone with a place and a number of her own, and one at home; Bob has a desk phone. The carrier takes calls
/// for help; +18005550100 plays `b` and hangs up.
pub fn office() -> Snapshot {
    let mut snapshot = snapshot();
    snapshot.flows = [flow("main", vec![hangup("bye", "b")], Vec::new())].into();
    snapshot.cluster.listeners.push(Listener {
        name: "phones".into(),
        transport: Transport::Udp,
        bind: PHONES.parse().unwrap(),
        advertised: PHONES.into(),
        network: "public".into(),
        serves: Serves::Agents,
    });
    snapshot.cluster.domains = vec!["c14.example".into()];
    let mut first = sip_station("desk", "ada-desk");
    first.emergency_location = Some(desk());
    let ada = agent("Ada", vec![first, sip_station("home", "ada-home")], Some("+18005550101"));
    let bob = agent("Bob", vec![sip_station("desk", "bob-desk")], None);
    snapshot.centre.agents = [(AgentId::new("acme", "ada"), ada), (AgentId::new("acme", "bob"), bob)].into();
    snapshot.centre.dialling.insert(TenantId(Key::new("acme", "acme")), Arc::new(rules()));
    snapshot.trunks.get_mut(&TrunkId::new("platform", "carrier")).unwrap().emergency = true;
    snapshot
}

fn towards_us() -> Flow {
    Flow {
        transport: Transport::Udp,
        listener: ListenerIx(0),
        remote: PHONES.parse().unwrap(),
        connection: 0,
    }
}

impl Virtual {
    /// The office with its phones, none of which has registered.
    pub fn office(snapshot: Snapshot) -> Self {
        let mut world = Self::with(snapshot);
        for (place, (address, user)) in [
            ("203.0.113.1:5060", "ada-desk"),
            ("203.0.113.2:5060", "bob-desk"),
            ("203.0.113.3:5060", "ada-home"),
        ]
        .into_iter()
        .enumerate()
        {
            let extensions = Extensions { transfers: true, ..Extensions::default() };
            let mut phone = Phone::with(address, 10 + place as u64, extensions);
            let secret = Secret::Password("made-up".into());
            phone.credentials = Some(Credentials { username: user.into(), secret, least: Algorithm::Md5 });
            world.more.push(phone);
        }
        let value = |user: &str| ((Key::new("acme", "phones"), user.to_owned()), b"made-up".to_vec());
        let secrets = ["ada-desk", "bob-desk", "ada-home"].map(value).into_iter().collect();
        world.engine.handle(world.now, Input::Secrets(secrets));
        world.settle();
        world
    }

    pub fn user(&self, which: usize) -> String {
        self.more[which].credentials.as_ref().unwrap().username.clone()
    }

    /// A phone registers.
    pub fn register(&mut self, which: usize) {
        let user = self.user(which);
        let phone = &mut self.more[which];
        let own = format!("<sip:{user}@c14.example>");
        let request = OutOfDialog {
            flow: towards_us(),
            tcp: None,
            method: Method::Register,
            request_uri: "sip:c14.example".into(),
            from: own.clone(),
            to: own,
            sequence: None,
            headers: vec![Header::new("Contact", format!("<sip:{user}@{}>", phone.address))],
            body: Default::default(),
            challenges: true,
        };
        phone.endpoint.request(self.now.instant, request).unwrap();
        self.settle();
        self.more[which].heard.clear();
    }

    /// A phone dials, and answers the challenge.
    pub fn dial(&mut self, which: usize, uri: &str) -> LegId {
        self.dial_with(which, uri, Vec::new())
    }

    pub fn dial_with(&mut self, which: usize, uri: &str, headers: Vec<Header>) -> LegId {
        let user = self.user(which);
        let phone = &mut self.more[which];
        let invite = Invite {
            flow: towards_us(),
            to: format!("<{uri}>"),
            request_uri: uri.into(),
            from: format!("<sip:{user}@c14.example>"),
            sdp: Some(sdp::offer(&phone.media())),
            max_forwards: 70,
            headers,
            challenges: true,
            tcp: None,
            attached: None,
            feature: None,
        };
        let leg = phone.endpoint.invite(self.now.instant, invite).unwrap();
        phone.leg = Some(leg);
        self.settle();
        leg
    }

    /// The carrier answers the INVITE that came to it.
    pub fn carrier_says(&mut self, code: u16) {
        let phone = &mut self.carrier;
        let leg = phone.leg();
        match code {
            ..200 => phone.endpoint.provisional(self.now.instant, leg, code, None, &[]).unwrap(),
            200 => {
                let (answer, _) = sdp::answer(phone.offer.as_ref().unwrap(), &phone.media()).unwrap();
                phone.endpoint.accept(self.now.instant, leg, answer, &[]).unwrap();
            }
            _ => phone.endpoint.reject(self.now.instant, leg, code, None, &[]).unwrap(),
        }
        self.settle();
    }

    /// A phone answers a re-INVITE.
    pub fn agrees(&mut self, which: usize, leg: LegId) {
        let phone = &mut self.more[which];
        let answer = sdp::offer(&phone.media());
        phone.endpoint.answer_reinvite(self.now.instant, leg, answer).unwrap();
        self.settle();
    }

    pub fn refers(&mut self, which: usize, leg: LegId, to: &str, headers: &[Header]) {
        let phone = &mut self.more[which];
        phone.endpoint.refer(self.now.instant, leg, &format!("<{to}>"), headers).unwrap();
        self.settle();
    }

    pub fn hangs_up(&mut self, which: usize) {
        let phone = &mut self.more[which];
        let leg = phone.leg();
        phone.endpoint.bye(self.now.instant, leg, &[]).unwrap();
        self.settle();
    }

    /// Why the latest call at a phone was cancelled or ended.
    pub fn ended_reason(&self, which: usize) -> String {
        match &self.more[which].ended {
            Some(Ended::Cancelled { reason } | Ended::Bye { reason, .. }) => {
                reason.clone().unwrap_or_default()
            }
            how => format!("{how:?}"),
        }
    }

    pub fn calls_are_none(&self) -> bool {
        self.engine.calls() == 0
    }

    /// What a phone heard since the last time.
    pub fn phone_heard(&mut self, which: usize) -> String {
        std::mem::take(&mut self.more[which].heard).join(" ")
    }

    /// Our peer's tag in the early dialog of the call that rings at a phone, as its latest answer had it.
    pub fn early_tag(&self, which: usize) -> String {
        let address = self.more[which].address;
        let sent =
            self.sent.iter().rev().find(|(from, text)| *from == address && text.starts_with("SIP/2.0 180"));
        let to = field(&sent.expect("a 180").1, "To");
        to.split("tag=").nth(1).unwrap_or_default().to_owned()
    }

    /// A header field of the latest message that came to the carrier.
    pub fn at_carrier(&self, name: &str) -> String {
        field(self.carrier.last.as_deref().unwrap_or_default(), name)
    }

    /// Why the latest INVITE was treated as it was.
    pub fn because(&self) -> String {
        let last = self.explanations.last().expect("an explanation");
        last.to_string().lines().last().unwrap_or_default().trim().to_owned()
    }
}

/// A header field of a message.
pub fn field(message: &str, name: &str) -> String {
    let mut lines = message.lines();
    let found = lines.find_map(|line| line.strip_prefix(&format!("{name}: ")));
    found.unwrap_or_default().to_owned()
}

/// Rings `agents`, then plays by outcome: ended a, busy b, no answer c, failed d.
pub fn rings(agents: &[&str], strategy: DialStrategy) -> Snapshot {
    let targets = agents.iter().map(|name| DialTarget::Agent(AgentId::new("acme", name)));
    let dial = Dial {
        targets: targets.collect(),
        strategy,
        ring_ms: 20_000,
        ended: Some(step(1)),
        busy: Some(step(2)),
        no_answer: Some(step(3)),
        failed: Some(step(4)),
        relay_failure: false,
    };
    let steps = vec![
        Step { name: "ring".into(), verb: Verb::Dial(dial) },
        hangup("ended", "a"),
        hangup("busy", "b"),
        hangup("away", "c"),
        hangup("failed", "d"),
    ];
    let mut snapshot = office();
    snapshot.flows = [flow("main", steps, Vec::new())].into();
    snapshot
}
