//! A small snapshot and short words for its flows.

use std::{collections::BTreeMap, sync::Arc};

use model::{
    AllowlistId, AudioId, ClusterId, E164, FlowId, HoursId, NumberId, TrunkId,
    media::Codec,
    net::Transport,
    program::{
        Ask, AskInput, Case, Choice, Dial, DialStrategy, DialTarget, Expression, Program, Rejection, Step,
        StepIx, Variable, VariableIx, Verb,
    },
    snapshot::{
        BusinessHours, Cluster, Delivers, Grant, Limits, Listener, Network, NumberRange, Peer, SCHEMA,
        Serves, Snapshot, Source, Trunk, TrunkDirection,
    },
    trunk::{CallerIdPolicy, NumberFormats, TlsPolicy, TrunkTls, default_failover_codes},
};

pub fn step(place: u16) -> StepIx {
    StepIx(place)
}

/// One prompt per letter.
pub fn audio(letters: &str) -> Vec<AudioId> {
    letters.bytes().map(|letter| AudioId([letter; 32])).collect()
}

fn named(name: &str, verb: Verb) -> Step {
    Step { name: name.into(), verb }
}

pub fn play(name: &str, letters: &str, next: u16) -> Step {
    named(name, Verb::Play { audio: audio(letters), say: None, early: false, next: step(next) })
}

pub fn play_early(name: &str, letters: &str, next: u16) -> Step {
    named(name, Verb::Play { audio: audio(letters), say: None, early: true, next: step(next) })
}

pub fn hangup(name: &str, letters: &str) -> Step {
    named(name, Verb::Hangup { audio: audio(letters), reject: None })
}

pub fn reject(name: &str) -> Step {
    named(name, Verb::Hangup { audio: Vec::new(), reject: Some(Rejection::Busy) })
}

/// Question q; 1 leads to `next`, all else to `otherwise`.
pub fn ask(name: &str, next: u16, otherwise: u16) -> Step {
    let ask = Ask {
        audio: audio("q"),
        timeout_ms: 5_000,
        inter_digit_ms: 2_000,
        attempts: 1,
        invalid_audio: Vec::new(),
        max_visits: None,
        input: AskInput::Choices(vec![Choice { digits: "1".into(), phrases: Vec::new(), next: step(next) }]),
        secret: false,
        language: String::new(),
        no_input: step(otherwise),
        no_match: step(otherwise),
    };
    named(name, Verb::Ask(ask))
}

pub fn branch(name: &str, cases: &[(&str, u16)], otherwise: u16) -> Step {
    let case = |(when, next): &(&str, u16)| Case { when: Expression((*when).into()), next: step(*next) };
    named(name, Verb::Branch { cases: cases.iter().map(case).collect(), otherwise: step(otherwise) })
}

pub fn set(name: &str, variable: u16, value: &str, next: u16) -> Step {
    let assignments = vec![(VariableIx(variable), Expression(value.into()))];
    named(name, Verb::Set { assignments, next: step(next) })
}

pub fn hours(name: &str, [open, closed, holiday]: [u16; 3]) -> Step {
    let hours = HoursId::new("acme", "office");
    named(name, Verb::Hours { hours, open: step(open), closed: step(closed), holiday: step(holiday) })
}

/// Rings extension 201 of the PBX for 20 s; outcomes ended, busy, no answer, failed.
pub fn dial(name: &str, [ended, busy, no_answer, failed]: [u16; 4]) -> Step {
    let trunk = TrunkId::new("acme", "pbx");
    let dial = Dial {
        targets: vec![DialTarget::Extension { user: "201".into(), trunk }],
        strategy: DialStrategy::InOrder,
        ring_ms: 20_000,
        ended: Some(step(ended)),
        busy: Some(step(busy)),
        no_answer: Some(step(no_answer)),
        failed: Some(step(failed)),
        relay_failure: false,
    };
    named(name, Verb::Dial(dial))
}

/// A flow of acme's. A step named `apology` is its onError.
pub fn flow(name: &str, steps: Vec<Step>, variables: Vec<Variable>) -> (FlowId, Arc<Program>) {
    let on_error = steps.iter().position(|step| step.name == "apology");
    let on_error = on_error.map(|place| step(u16::try_from(place).unwrap()));
    let revision = format!("{steps:?}");
    (
        FlowId::new("acme", name),
        Arc::new(Program { revision, variables, steps, on_error, translations: BTreeMap::new() }),
    )
}

pub fn trunk(address: &str, delivers: Delivers, peer: (&str, u16)) -> Trunk {
    let source = Source {
        range: address.parse().unwrap(),
        valid_from: None,
        valid_until: None,
        allowlist: AllowlistId::new("platform", "sources"),
        of_pop: false,
    };
    let peer = Peer {
        name: "one".into(),
        host: peer.0.into(),
        declared_port: Some(peer.1),
        port: peer.1,
        transport: Transport::Udp,
        priority: 0,
        weight: 0,
        large_by_tcp: false,
    };
    Trunk {
        network: "public".into(),
        delivers,
        ucaas_partner: false,
        direction: TrunkDirection::Both,
        sources: vec![source],
        peers: vec![peer],
        codecs: vec![Codec::Pcmu, Codec::Pcma],
        calls_max: None,
        grants: Vec::new(),
        calls_per_second_max: None,
        failover_codes: default_failover_codes(),
        srtp: Default::default(),
        srtp_keying: Default::default(),
        peer_first: false,
        insecure_keys: false,
        dtmf: Default::default(),
        shared_ports: false,
        digest: None,
        register: None,
        tls: TrunkTls::default(),
        number_formats: NumberFormats::default(),
        caller_id_policy: CallerIdPolicy::default(),
        emergency: false,
        outbound_proxy: None,
        health: None,
        stir: model::trunk::Stir::default(),
    }
}

/// Carrier 192.0.2.1, PBX 192.0.2.2, a Voip trunk 192.0.2.3; +18005550100 leads to acme/main.
fn public_network() -> Network {
    Network {
        name: "public".into(),
        rtp_bind: "192.0.2.100".parse().unwrap(),
        rtp_advertised: "192.0.2.100".parse().unwrap(),
        interface: None,
        attachment: None,
    }
}

pub fn snapshot() -> Snapshot {
    let number = |text: &str| text.parse::<E164>().unwrap();
    let carrier = TrunkId::new("platform", "carrier");
    let mut pstn = trunk("192.0.2.1/32", Delivers::Pstn, ("192.0.2.1", 5060));
    pstn.grants =
        vec![Grant { namespace: "acme".into(), first: number("+18005550100"), last: number("+18005550109") }];
    let live = NumberRange {
        first: number("+18005550100"),
        last: number("+18005550100"),
        id: NumberId::new("acme", "main"),
        flow: FlowId::new("acme", "main"),
        calls_max: None,
        forwarded_from: None,
        calls_per_second_max: None,
    };
    let weekday = vec![(9 * 3_600, 17 * 3_600)];
    let week = std::array::from_fn(|day| if day < 5 { weekday.clone() } else { Vec::new() });
    let office = BusinessHours {
        time_zone: "America/New_York".into(),
        week,
        holidays: vec![("2026-12-25".parse().unwrap(), "Christmas Day".into())],
    };
    Snapshot {
        schema: SCHEMA,
        cluster: Cluster {
            id: ClusterId::new("platform", "c14"),
            code: "C14".into(),
            listeners: vec![Listener {
                name: "udp".into(),
                transport: Transport::Udp,
                bind: "192.0.2.100:5060".parse().unwrap(),
                advertised: "192.0.2.100:5060".into(),
                network: "public".into(),
                serves: Serves::Trunks,
            }],
            networks: vec![public_network()],
            rtp_ports: (20_000, 20_999),
            packets: Default::default(),
            span_network: None,
            limits: Limits { calls_max: 100, call_seconds_max: 3_600 },
            drain_seconds: 30,
            tls: TlsPolicy::default(),
            domains: Vec::new(),
            digest_algorithms: model::trunk::default_digest_algorithms(),
            capture: None,
            reachable_ranges: Vec::new(),
            tracing: None,
            tenants: BTreeMap::new(),
            recorders: BTreeMap::new(),
            countries: BTreeMap::new(),
            speech: BTreeMap::new(),
            providers: BTreeMap::new(),
            services: BTreeMap::new(),
            keeping: model::snapshot::Keeping::default(),
        },
        trunks: [
            (carrier.clone(), pstn),
            (TrunkId::new("acme", "pbx"), trunk("192.0.2.2/32", Delivers::Pstn, ("192.0.2.2", 5060))),
            (TrunkId::new("platform", "voip"), trunk("192.0.2.3/32", Delivers::Voip, ("192.0.2.3", 5060))),
        ]
        .into(),
        numbers: [(carrier, vec![live])].into(),
        flows: BTreeMap::new(),
        hours: [(HoursId::new("acme", "office"), Arc::new(office))].into(),
        audio: BTreeMap::new(),
        centre: model::centre::Centre::default(),
    }
}
