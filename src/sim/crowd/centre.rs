//! The centre that a plan asks for, as the snapshot of an edge.

use std::{collections::BTreeMap, sync::Arc};

use ipnet::IpNet;
use model::{
    AgentId, AllowlistId, AudioId, ClusterId, E164, FlowId, IntegrationId, Key, NumberId, QueueId, TenantId,
    TrunkId, VoicemailBoxId,
    centre::{
        Agent, Announcement, Channel, Dialling, Integration, Queue, RequiredSkill, SecretKey, Selection,
        Station, StationKind, VoicemailBox, WaitFigure,
    },
    net::Transport,
    numbering::CostClass,
    program::{
        Ask, AskInput, Case, Choice, Dial, DialStrategy, DialTarget, Expression, Method, Program,
        Queue as Waits, Request, Step, StepIx, Value, Variable, VariableIx, VariableKind, Verb,
    },
    snapshot::{
        Cluster, Grant, Keeping, Limits, Listener, Network, NumberRange, Peer, SCHEMA, Serves, Snapshot,
        Source, Trunk, TrunkDirection,
    },
    trunk::{TlsPolicy, default_digest_algorithms},
};

use super::plan::{self, NUMBERS, QUEUES};

/// The tenant.
pub const TENANT: &str = "crowd";

/// Host of the telephones' addresses: its first label names the tenant.
pub const DOMAIN: &str = "c1.example";

/// Longest call.
pub const CALL_SECONDS_MAX: u32 = 900;

/// Names of queues and of the numbers' flows.
const QUEUE_NAMES: [&str; QUEUES] = ["sales", "support", "billing"];
const NUMBER_NAMES: [&str; NUMBERS] = ["plain", "menu", "lookup", "direct", "capped", "overflow"];

/// The number whose flow asks a service.
pub const ASKING: usize = 2;

/// The number with a cap.
pub const CAPPED: usize = 4;

/// First number of the centre, and of contacts; the two digits before the last are of agents' own telephones, or of others.
const OWN: u64 = 18_005_550_100;
const CONTACTS: u64 = 12_126_000_000;
const OUTSIDE: u64 = 12_125_550_100;
const PUBLIC: u64 = 12_125_550_130;

pub fn agent_name(agent: usize) -> String {
    format!("agent{agent}")
}

pub fn number_name(number: usize) -> &'static str {
    NUMBER_NAMES.get(number).copied().unwrap_or("none")
}

pub fn agent_id(agent: usize) -> AgentId {
    AgentId::new(TENANT, &agent_name(agent))
}

/// The place of an agent.
pub fn agent_of(id: &AgentId) -> Option<usize> {
    id.0.name().strip_prefix("agent")?.parse().ok()
}

pub fn queue_id(queue: usize) -> QueueId {
    QueueId::new(TENANT, QUEUE_NAMES.get(queue).copied().unwrap_or("none"))
}

/// The place of a queue.
pub fn queue_of(id: &QueueId) -> Option<usize> {
    QUEUE_NAMES.iter().position(|name| *name == id.0.name())
}

fn e164(digits: u64) -> E164 {
    format!("+{digits}").parse().unwrap_or_else(|_| unreachable!("+{digits} is a number"))
}

pub fn own_number(number: usize) -> E164 {
    e164(OWN + number as u64)
}

pub fn contact_number(contact: u32) -> E164 {
    e164(CONTACTS + u64::from(contact))
}

pub fn outside_number(one: u8) -> E164 {
    e164(OUTSIDE + u64::from(one))
}

fn public_number(agent: usize) -> E164 {
    e164(PUBLIC + agent as u64)
}

/// The contact of a number.
pub fn contact_of(number: &str) -> Option<u32> {
    let digits: u64 = number.strip_prefix('+')?.parse().ok()?;
    u32::try_from(digits.checked_sub(CONTACTS)?).ok()
}

/// Whose telephone of the public network a number is.
pub fn public_agent(number: &str) -> Option<usize> {
    let digits: u64 = number.strip_prefix('+')?.parse().ok()?;
    let place = usize::try_from(digits.checked_sub(PUBLIC)?).ok()?;
    (place < plan::AGENTS_MAX).then_some(place)
}

pub fn carrier() -> TrunkId {
    TrunkId::new("platform", "carrier")
}

/// One sound for each letter.
fn audio(letter: u8) -> Vec<AudioId> {
    vec![AudioId([letter; 32])]
}

fn step(place: u16) -> StepIx {
    StepIx(place)
}

fn named(name: &str, verb: Verb) -> Step {
    Step { name: name.into(), verb }
}

fn hangup(name: &str) -> Step {
    named(name, Verb::Hangup { audio: audio(b'g'), reject: None })
}

/// Waits in a queue; where its step's name ends in a number, that is the priority.
fn waits(name: &str, queue: usize, max: Option<u32>, [ended, late, full, nobody]: [u16; 4]) -> Step {
    let priority = name.rsplit('-').next().and_then(|last| last.parse::<u8>().ok());
    named(
        name,
        Verb::Queue(Waits {
            queue: queue_id(queue),
            priority: priority.map(|priority| Expression(priority.to_string())),
            max_wait_ms: max,
            ended: Some(step(ended)),
            timed_out: Some(step(late)),
            full: Some(step(full)),
            no_agents: Some(step(nobody)),
        }),
    )
}

fn promise(name: &str, queue: usize, keep_place: bool, next: u16) -> Step {
    named(
        name,
        Verb::Callback {
            queue: queue_id(queue),
            keep_place,
            number: None,
            attempts: 2,
            retry_ms: 45_000,
            first: None,
            next: step(next),
            failed: Some(step(next)),
        },
    )
}

fn voicemail(name: &str, next: u16) -> Step {
    named(
        name,
        Verb::Voicemail {
            voicemail_box: VoicemailBoxId::new(TENANT, "box"),
            greeting: Vec::new(),
            max_ms: Some(20_000),
            next: step(next),
            failed: Some(step(next)),
        },
    )
}

fn ask() -> Ask {
    let choice = |digits: &str, next| Choice { digits: digits.into(), phrases: Vec::new(), next: step(next) };
    Ask {
        audio: audio(b'q'),
        timeout_ms: 3_000,
        inter_digit_ms: 1_000,
        attempts: 2,
        invalid_audio: Vec::new(),
        max_visits: None,
        input: AskInput::Choices(vec![choice("1", 1), choice("2", 2), choice("3", 3)]),
        secret: false,
        language: String::new(),
        no_input: step(1),
        no_match: step(4),
    }
}

/// `generation` makes it another than before.
fn program(number: usize, generation: u32) -> Program {
    let mut variables = Vec::new();
    let steps = match number {
        1 => vec![
            named("menu", Verb::Ask(ask())),
            waits("wait-support", 1, None, [4, 3, 3, 3]),
            waits("wait-sales-8", 0, Some(25_000), [4, 5, 5, 5]),
            voicemail("message", 4),
            hangup("bye"),
            promise("later", 0, true, 4),
        ],
        2 => {
            let initial = Value::Boolean(false);
            variables.push(Variable { name: "vip".into(), kind: VariableKind::Boolean, initial });
            vec![
                named("lookup", Verb::Request(Box::new(lookup()))),
                named(
                    "who",
                    Verb::Branch {
                        cases: vec![Case { when: Expression("vip".into()), next: step(2) }],
                        otherwise: step(3),
                    },
                ),
                waits("wait-vip-9", 1, None, [4, 4, 3, 4]),
                waits("wait-other-3", 1, Some(60_000), [4, 5, 4, 4]),
                hangup("bye"),
                promise("later", 1, false, 4),
            ]
        }
        3 => vec![named("ring", Verb::Dial(direct())), voicemail("message", 2), hangup("bye")],
        4 => vec![waits("wait-billing", 2, None, [1, 2, 1, 2]), hangup("bye"), promise("later", 2, true, 1)],
        5 => vec![
            waits("wait-billing", 2, Some(12_000), [3, 1, 1, 1]),
            waits("wait-sales", 0, Some(40_000), [3, 2, 3, 3]),
            promise("later", 0, true, 3),
            hangup("bye"),
        ],
        _ => vec![
            named("greet", Verb::Play { audio: audio(b'h'), say: None, early: false, next: step(1) }),
            waits("wait-sales", 0, None, [2, 3, 4, 4]),
            hangup("bye"),
            promise("later", 0, true, 2),
            voicemail("message", 2),
        ],
    };
    let revision = format!("{number}.{generation}");
    Program { revision, variables, steps, on_error: None, translations: BTreeMap::new() }
}

fn lookup() -> Request {
    Request {
        integration: IntegrationId::new(TENANT, "crm"),
        method: Method::Get,
        path: Some(Expression("'/contacts/' + contact.number".into())),
        headers: Vec::new(),
        body: None,
        timeout_ms: Some(2_000),
        save: vec![(VariableIx(0), Expression("body.vip".into()))],
        next: step(1),
        failed: Some(step(3)),
    }
}

fn direct() -> Dial {
    let outside = DialTarget::Number { number: outside_number(0), trunks: vec![carrier()], caller_id: None };
    Dial {
        targets: vec![DialTarget::Agent(agent_id(0)), DialTarget::Agent(agent_id(1)), outside],
        strategy: DialStrategy::InOrder,
        ring_ms: 12_000,
        ended: Some(step(2)),
        busy: Some(step(1)),
        no_answer: Some(step(1)),
        failed: Some(step(1)),
        relay_failure: false,
    }
}

fn queue(place: usize, plan: &plan::Queue) -> Queue {
    let skill = RequiredSkill {
        name: QUEUE_NAMES.get(place).copied().unwrap_or_default().to_owned(),
        minimum: plan.minimum,
        relax: plan.relax.clone(),
    };
    let told = Announcement {
        after_seconds: 15,
        audio: audio(b'a'),
        say: vec![WaitFigure::Position, WaitFigure::Wait],
    };
    Queue {
        channels: vec![Channel::Voice],
        skills: vec![skill],
        selection: selection(plan.selection),
        priority: 5,
        ageing_seconds: plan.ageing,
        service_percent: 80,
        service_seconds: 20,
        contacts_max: plan.contacts_max,
        wait_seconds_max: plan.wait_max,
        music: audio(b'm'),
        announcements: if place == 1 { vec![told] } else { Vec::new() },
        language: String::new(),
        ring_seconds: plan.ring,
        wrap_up_seconds: plan.wrap_up,
        callback_first: model::centre::First::Agent,
        callback_prompt: Vec::new(),
        dispositions: Vec::new(),
        disposition_required: false,
    }
}

/// The place of a number.
pub fn number_of(number: &str) -> Option<usize> {
    (0..NUMBERS).find(|place| own_number(*place).to_string() == number)
}

/// Whether who is promised a call in a queue keeps the place: in every flow but the one that promises calls in support.
pub const fn keeps_place(queue: usize) -> bool {
    queue != 1
}

/// The selection at a place.
pub const fn selection(place: u8) -> Selection {
    match place {
        0 => Selection::LongestIdle,
        1 => Selection::MostSkilled,
        2 => Selection::LeastSkilled,
        3 => Selection::RoundRobin,
        _ => Selection::LeastOccupied,
    }
}

fn agent(place: usize, plan: &plan::Agent) -> Agent {
    let skills = QUEUE_NAMES.iter().zip(plan.skills).filter(|(_, level)| *level > 0);
    let kind = if plan.is_public {
        StationKind::Pstn { number: public_number(place) }
    } else {
        let username = format!("{}-desk", agent_name(place));
        let secret = SecretKey { name: "phones".into(), key: username.clone() };
        StationKind::Sip { username, secret }
    };
    let station = Station {
        name: "desk".into(),
        kind,
        persistent: false,
        answers_itself: false,
        emergency_location: None,
    };
    Agent {
        display_name: agent_name(place),
        skills: skills.map(|(name, level)| ((*name).to_owned(), level)).collect(),
        languages: Vec::new(),
        stations: vec![station],
        capacity: BTreeMap::from([(Channel::Voice, plan.capacity)]),
        sign_in: None,
        session_seconds: model::centre::SESSION_SECONDS,
        outbound_number: None,
        supervises: Default::default(),
        lossy: false,
        music: audio(b'o'),
        queues: plan.ranks.iter().map(|(queue, rank)| (queue_id(*queue), *rank)).collect(),
    }
}

fn trunk() -> Trunk {
    let source = Source {
        range: IpNet::from(std::net::IpAddr::from([0, 0, 0, 0])),
        valid_from: None,
        valid_until: None,
        allowlist: AllowlistId::new("platform", "sources"),
        of_pop: false,
    };
    let peer = Peer {
        name: "one".into(),
        host: "192.0.2.1".into(),
        declared_port: Some(5060),
        port: 5060,
        transport: Transport::Udp,
        priority: 0,
        weight: 0,
        large_by_tcp: false,
    };
    Trunk {
        direction: TrunkDirection::Both,
        peers: vec![peer],
        grants: vec![Grant { namespace: TENANT.into(), first: own_number(0), last: own_number(NUMBERS) }],
        ..crate::world::plain::usual_trunk("public".into(), source)
    }
}

fn listener(name: &str, serves: Serves, last: u8) -> Listener {
    let address = std::net::SocketAddr::from(([192, 0, 2, last], 5060));
    Listener {
        name: name.into(),
        transport: Transport::Udp,
        bind: address,
        advertised: address.to_string(),
        network: "public".into(),
        serves,
    }
}

fn cluster() -> Cluster {
    Cluster {
        id: ClusterId::new("platform", "c1"),
        code: "C1".into(),
        listeners: vec![listener("trunks", Serves::Trunks, 100), listener("phones", Serves::Agents, 101)],
        networks: vec![Network {
            name: "public".into(),
            rtp_bind: std::net::IpAddr::from([192, 0, 2, 100]),
            rtp_advertised: std::net::IpAddr::from([192, 0, 2, 100]),
            interface: None,
            attachment: None,
        }],
        rtp_ports: (20_000, 59_999),
        packets: Default::default(),
        span_network: None,
        limits: Limits { calls_max: 2_000, call_seconds_max: CALL_SECONDS_MAX },
        drain_seconds: 30,
        tls: TlsPolicy::default(),
        domains: vec![DOMAIN.into()],
        digest_algorithms: default_digest_algorithms(),
        capture: None,
        reachable_ranges: Vec::new(),
        tracing: None,
        tenants: BTreeMap::new(),
        recorders: BTreeMap::new(),
        countries: BTreeMap::new(),
        speech: BTreeMap::new(),
        providers: BTreeMap::new(),
        services: BTreeMap::new(),
        keeping: Keeping::default(),
    }
}

/// What may change while calls are up.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    pub queues_gone: [bool; QUEUES],
    pub agents_gone: Vec<bool>,
    /// How often the flow of each number was edited.
    pub flows: [u32; NUMBERS],
}

/// The centre as a snapshot.
pub fn snapshot(centre: &plan::Centre, changes: &Changes) -> Snapshot {
    let range = |number: usize| NumberRange {
        first: own_number(number),
        last: own_number(number),
        id: NumberId::new(TENANT, number_name(number)),
        flow: FlowId::new(TENANT, number_name(number)),
        calls_max: (number == CAPPED).then_some(centre.cap),
        forwarded_from: None,
        calls_per_second_max: None,
    };
    let flow = |number: usize| {
        let generation = changes.flows.get(number).copied().unwrap_or_default();
        (FlowId::new(TENANT, number_name(number)), Arc::new(program(number, generation)))
    };
    let queues = centre.queues.iter().enumerate();
    let queues = queues.filter(|(place, _)| !changes.queues_gone.get(*place).copied().unwrap_or_default());
    let agents = centre.agents.iter().enumerate();
    let agents = agents.filter(|(place, _)| !changes.agents_gone.get(*place).copied().unwrap_or_default());
    let mut snapshot = Snapshot {
        schema: SCHEMA,
        cluster: cluster(),
        trunks: [(carrier(), trunk())].into(),
        numbers: [(carrier(), (0..NUMBERS).map(range).collect())].into(),
        flows: (0..NUMBERS).map(flow).collect(),
        hours: BTreeMap::new(),
        audio: BTreeMap::new(),
        centre: model::centre::Centre::default(),
    };
    let into = &mut snapshot.centre;
    into.queues = queues.map(|(place, found)| (queue_id(place), Arc::new(queue(place, found)))).collect();
    into.agents = agents.map(|(place, found)| (agent_id(place), Arc::new(agent(place, found)))).collect();
    into.dialling = [(TenantId(Key::new(TENANT, TENANT)), Arc::new(dialling()))].into();
    into.voicemail_boxes = [(VoicemailBoxId::new(TENANT, "box"), Arc::new(voicemail_box()))].into();
    into.integrations = [(IntegrationId::new(TENANT, "crm"), Arc::new(integration()))].into();
    snapshot
}

fn dialling() -> Dialling {
    Dialling {
        country: "US".into(),
        countries: vec!["US".into()],
        cost_classes: vec![CostClass::Free, CostClass::Normal],
        emergency_numbers: Vec::new(),
        trunks: vec![carrier()],
        default_caller_id: Some(own_number(0)),
    }
}

fn voicemail_box() -> VoicemailBox {
    VoicemailBox {
        greeting: audio(b'v'),
        emails: Vec::new(),
        queue: None,
        agents: Vec::new(),
        message_seconds_max: 20,
        messages_max: 100,
        retention_days: 30,
        transcribed: false,
        speech_seconds_min: 0,
        silence_seconds: 4,
        review: Vec::new(),
    }
}

fn integration() -> Integration {
    Integration {
        url: "https://crm.example.com".into(),
        timeout_seconds: 3,
        headers: Vec::new(),
        requests_per_second_max: 100,
        tls13_only: false,
        suites: Vec::new(),
        ca: None,
        certificate: None,
        proxy: None,
    }
}
