//! Calls that agents' phones make, and those that come back to them from whoever sends help.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use model::{
    E164, FlowId, LegId,
    media::Codec,
    net::{Flow as NetFlow, Transport},
    program::{Dial, DialStrategy, DialTarget, Program, Step, Verb},
    snapshot::Trunk,
};
use sip::{endpoint::Header, sdp, wire::Message};

use super::{Engine, OUTPUTS_MAX, Output, StationNews, Tidings};
use crate::{
    Now,
    admission::{Admitted, Numbered, Origin, Refusal},
    call::Incoming,
    caller::Diverted,
    dial::{self, Placement, Whom},
    dialling::{self, Destination, Dialler, Emergency},
    explanation::{Explanation, Outcome},
    lots::Lots,
    registrar::StationId,
    sdp_leg::Terms,
    vetting::Vetted,
    world::{Flow, World},
};

/// How long whoever a phone calls may ring: a proxy's timer C (RFC 3261 §16.6). Callers tire of it before.
const RING_MS: u32 = 180_000;

/// For so long after a call for help whoever calls its number by a trunk that carries such calls is brought to the phone that
/// called. Those who send help have no mark of their own that carriers keep (RFC 7090 §3), so every caller counts.
pub const CALLBACK: Duration = Duration::from_secs(30 * 60);

/// Most numbers that are watched for those who call back.
const CALLBACKS_MAX: usize = 1_024;

/// Numbers that those who send help may call back, the phones that called, and until when.
#[derive(Debug, Default)]
pub(super) struct Callbacks {
    numbers: BTreeMap<E164, (StationId, Instant)>,
    /// Where they called from: neither bans nor rates hold these back meanwhile.
    sources: BTreeMap<IpAddr, Instant>,
}

impl Callbacks {
    pub(super) fn expect(&mut self, now: Instant, number: E164, station: &StationId) {
        self.numbers.retain(|_, (_, until)| *until > now);
        if self.numbers.len() < CALLBACKS_MAX || self.numbers.contains_key(&number) {
            self.numbers.insert(number, (station.clone(), now + CALLBACK));
        }
    }

    pub(super) fn hear(&mut self, now: Instant, source: IpAddr) {
        self.sources.retain(|_, until| *until > now);
        if self.sources.len() < CALLBACKS_MAX {
            self.sources.insert(source, now + CALLBACK);
        }
    }

    pub(super) fn whose(&self, now: Instant, number: E164) -> Option<&StationId> {
        self.numbers.get(&number).filter(|(_, until)| *until > now).map(|(station, _)| station)
    }

    /// Whether a phone called for help from there lately.
    pub fn called_from(&self, now: Instant, source: IpAddr) -> bool {
        self.sources.get(&source).is_some_and(|until| *until > now)
    }
}

/// An INVITE of a phone that has proved who it is.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub leg: LegId,
    pub flow: NetFlow,
    pub request: &'a Message,
    pub offer: Option<Bytes>,
    pub station: StationId,
}

impl Engine {
    /// A phone calls somebody.
    pub(super) fn station_calls(&mut self, now: Now, asked: Asked<'_>, mut explanation: Explanation) {
        let world = Arc::clone(&self.world);
        let Asked { leg, flow, request, offer, station } = asked;
        let Some(dialler) = Dialler::of(&world, &station) else {
            let because = format!("station {station} is no longer there.");
            return self.refuse_station(now, leg, explanation, plain(403, because));
        };
        let number = dialler.number().map(|number| number.to_string());
        explanation.from = number.unwrap_or_else(|| dialler.username().to_owned());
        let domain = request.from().map(|from| from.uri.host).unwrap_or_default();
        let destination = match request.uri() {
            Some(uri) => dialling::resolve(&world, dialler, (&uri, domain)),
            None => Err(plain(416, "the Request-URI cannot be read.".into())),
        };
        let terms = Terms::of_phone(flow.transport, dialler.agent.lossy);
        let spoken = destination.and_then(|destination| {
            let is_urgent = matches!(destination, Destination::Emergency(_));
            Ok((destination, self.room_for_phone(&world, is_urgent, &terms, offer.as_deref())?))
        });
        let (destination, spoken) = match spoken {
            Ok(found) => found,
            Err(refusal) => return self.refuse_station(now, leg, explanation, refusal),
        };
        let (number, placement, ours) = match self.placed(&world, dialler, &destination, &explanation.to) {
            Ok(placed) => placed,
            Err(refusal) => return self.refuse_station(now, leg, explanation, refusal),
        };
        if let Destination::Emergency(emergency) = &destination {
            let address = flow.remote.ip().to_canonical();
            self.callbacks.hear(now.instant, address);
            self.tell_others(Tidings::CalledForHelp(address));
            self.calls_for_help(now, &world, emergency, &explanation.call_id);
        }
        explanation.outcome = match &number {
            Some((_, flow)) if ours.is_some() => {
                Outcome::Placed { station: station.clone(), to: format!("RoutingFlow {}", flow.id) }
            }
            _ => Outcome::Placed { station: station.clone(), to: told(&destination) },
        };
        self.push(Output::Explanation(Box::new(explanation.clone())));
        let (numbered, led) = match number {
            Some((numbered, flow)) => (Some(numbered), flow),
            None => (None, unled(dialler.tenant())),
        };
        let incoming = Incoming {
            leg,
            call_id: explanation.call_id,
            from: explanation.from,
            to: explanation.to,
            placement,
            part_of: self.held_by(&station),
            diverted: Diverted::default(),
            vetted: Vetted::default(),
            max_forwards: request.max_forwards().unwrap_or(70).saturating_sub(1),
            lots: Lots::new(self.lots.draw()),
            offer,
            is_record_aware: super::is_record_aware(request),
            spoken,
            network: network(&world, flow),
            terms,
            keys: self.keys.clone(),
            admitted: Admitted {
                origin: Origin::Station(station.clone()),
                tenant: dialler.tenant().to_owned(),
                number: numbered,
                dialled: ours,
                first_dialled: None,
                flow: led,
            },
        };
        self.admit(now, leg, incoming);
    }

    /// What there is to be done for a destination: the number of ours with its flow, or whom to ring.
    #[expect(clippy::type_complexity, reason = "read in one place")]
    pub(super) fn placed(
        &self,
        world: &World,
        dialler: Dialler<'_>,
        destination: &Destination,
        dialled: &str,
    ) -> Result<(Option<(Numbered, Arc<Flow>)>, Option<Placement>, Option<E164>), Refusal> {
        let ring =
            |whom: Whom, is_help: bool| Ok((None, Some(Placement { targets: vec![whom], is_help }), None));
        match destination {
            Destination::Emergency(emergency) => ring(Whom::Emergency(Arc::clone(emergency)), true),
            Destination::Station(station) if station == dialler.id => Err(Refusal {
                reason: Some("Q.850;cause=17"),
                ..plain(486, format!("{station} calls itself."))
            }),
            Destination::Station(station) => ring(Whom::Station(station.clone()), false),
            Destination::Agent(agent) => ring(Whom::Target(DialTarget::Agent(agent.clone())), false),
            Destination::Number(number) => {
                let trunks = dialler.rules.map(|rules| rules.trunks.clone()).unwrap_or_default();
                let target = DialTarget::Number { number: *number, trunks, caller_id: dialler.number() };
                ring(Whom::Target(target), false)
            }
            Destination::Own(trunk, range) => {
                let flow = world.flow(&range.flow).ok_or_else(|| {
                    let because = format!(
                        "RoutingFlow {} of PhoneNumber {} is missing: apply it.",
                        range.flow, range.id
                    );
                    Refusal { reason: Some("Q.850;cause=41"), ..plain(500, because) }
                })?;
                if let Some(limit) = self.load.at_number_cap(trunk, range) {
                    let because = format!("PhoneNumber {}'s limits.calls of {limit} is reached.", range.id);
                    return Err(Refusal { reason: Some("Q.850;cause=42"), ..plain(480, because) });
                }
                let country = dialler.rules.map(|rules| rules.country.as_str()).unwrap_or_default();
                let number = model::numbering::dialled(country, dialled).unwrap_or(range.first);
                let numbered = Numbered { trunk: trunk.clone(), range: (**range).clone() };
                Ok((Some((numbered, Arc::clone(flow))), None, Some(number)))
            }
        }
    }

    /// Whether there is room for a phone's call, and whether its offer can be answered. A call for help has room always.
    pub(super) fn room_for_phone(
        &self,
        world: &World,
        is_urgent: bool,
        terms: &Terms,
        offer: Option<&[u8]>,
    ) -> Result<Option<Codec>, Refusal> {
        let busy = |because: String| Refusal { code: 503, because, reason: None, retry_after: true };
        let limit = world.snapshot.cluster.limits.calls_max;
        if self.draining && !is_urgent {
            return Err(busy("this edge is draining and takes no new calls.".into()));
        }
        if self.out.len() >= OUTPUTS_MAX && !is_urgent {
            return Err(busy("this edge has more to do than it can.".into()));
        }
        if self.load.calls_now() >= limit && !is_urgent {
            return Err(busy(format!("the VoiceCluster's limits.calls of {limit} is reached.")));
        }
        match offer.map(|offer| sdp::answer(offer, &terms.trial())) {
            None => Ok(None),
            Some(Ok((_, parameters))) => Ok(Some(parameters.codec)),
            Some(Err(error)) => {
                let codecs: Vec<_> = terms.codecs.iter().map(|codec| codec.name()).collect();
                let keys = if terms.may_send_keys { "" } else { "; keys of SRTP only come under TLS" };
                let because = format!("{error}; phones may use {}{keys}.", codecs.join(", "));
                Err(Refusal { reason: Some("Q.850;cause=88"), ..plain(488, because) })
            }
        }
    }

    /// Tells those who look after the tenant, and expects whoever calls back.
    pub(super) fn calls_for_help(&mut self, now: Now, world: &World, emergency: &Emergency, call_id: &str) {
        for id in &emergency.trunks {
            let Some(trunk) = world.snapshot.trunks.get(id) else { continue };
            if let Some(number) = dial::callback(world, emergency, (id, trunk)) {
                self.callbacks.expect(now.instant, number, &emergency.station);
                self.tell_others(Tidings::Expects(number, emergency.station.clone()));
            }
        }
        self.push(Output::StationNews(StationNews::Emergency {
            station: emergency.station.clone(),
            number: emergency.number.clone(),
            call_id: call_id.to_owned(),
            is_carried: !emergency.trunks.is_empty(),
        }));
    }

    /// The phone that a call of a trunk goes back to, whatever its number leads to: those who send help call back, and must
    /// meet no menu and no queue.
    pub(super) fn calls_back(
        &self,
        now: Now,
        trunk: &Trunk,
        dialled: &str,
        request: &Message,
    ) -> Option<StationId> {
        let is_marked = request.fields().any(|(name, value)| {
            name.eq_ignore_ascii_case("Priority") && value.trim_ascii().eq_ignore_ascii_case(b"psap-callback")
        });
        let number = trunk.number_formats.read(dialled).filter(|_| trunk.emergency || is_marked)?;
        self.callbacks.whose(now.instant, number).cloned()
    }

    /// Brings such a call to the phone, and to the agent's others if that is in vain.
    pub(super) fn return_call(
        &mut self,
        now: Now,
        (leg, transport, offer, request): (LegId, Transport, Option<Bytes>, &Message),
        (id, trunk): (&model::TrunkId, &Trunk),
        station: StationId,
        mut explanation: Explanation,
    ) {
        let terms = Terms::of_trunk(trunk, transport).decoded();
        let spoken = offer.as_deref().map(|offer| sdp::answer(offer, &terms.trial()));
        let spoken = match spoken {
            None => None,
            Some(Ok((_, parameters))) => Some(parameters.codec),
            Some(Err(error)) => {
                let refusal = Refusal { reason: Some("Q.850;cause=88"), ..plain(488, format!("{error}.")) };
                return self.refuse_station(now, leg, explanation, refusal);
            }
        };
        let to = format!("station {station}, which called for help a while ago");
        explanation.outcome = Outcome::Placed { station: station.clone(), to };
        self.push(Output::Explanation(Box::new(explanation.clone())));
        let tenant = station.agent.0.namespace().to_owned();
        let agent = DialTarget::Agent(station.agent.clone());
        let incoming = Incoming {
            leg,
            call_id: explanation.call_id,
            from: explanation.from,
            to: explanation.to.clone(),
            placement: Some(Placement {
                targets: vec![Whom::Station(station), Whom::Target(agent)],
                is_help: false,
            }),
            part_of: None,
            diverted: Diverted::default(),
            vetted: Vetted::default(),
            max_forwards: request.max_forwards().unwrap_or(70).saturating_sub(1),
            lots: Lots::new(self.lots.draw()),
            offer,
            is_record_aware: super::is_record_aware(request),
            spoken,
            network: trunk.network.clone(),
            terms,
            keys: self.keys.clone(),
            admitted: Admitted {
                origin: Origin::Trunk(id.clone()),
                number: None,
                dialled: trunk.number_formats.read(&explanation.to),
                first_dialled: None,
                flow: unled(&tenant),
                tenant,
            },
        };
        self.admit(now, leg, incoming);
    }

    /// A phone is told the rule that it broke, for people too (RFC 3261 §20.43, warn-code 399).
    pub(super) fn refuse_station(
        &mut self,
        now: Now,
        leg: LegId,
        mut explanation: Explanation,
        refusal: Refusal,
    ) {
        let Refusal { code, because, reason, retry_after } = refusal;
        let text: String = because.chars().filter(|c| !matches!(c, '"' | '\\') && !c.is_control()).collect();
        let host = self.world.snapshot.cluster.domains.first().unwrap_or(&self.world.snapshot.cluster.code);
        let mut headers = vec![Header::new("Warning", format!("399 {host} \"{text}\""))];
        headers.extend(reason.map(|reason| Header::new("Reason", reason)));
        if retry_after {
            headers.push(self.retry_after());
        }
        explanation.outcome = Outcome::Refused { code, because };
        self.push(Output::Explanation(Box::new(explanation)));
        // It was there a moment ago; if its CANCEL came first, that has answered it.
        let _ = self.endpoint.reject(now.instant, leg, code, None, &headers);
    }

    /// Call-ID of a call that a phone is in already: what it dials meanwhile belongs to that one.
    fn held_by(&self, station: &StationId) -> Option<String> {
        let mut calls = self.calls.values();
        calls.find(|call| !call.is_ending() && call.is_with(station)).map(|call| call.call_id().to_owned())
    }
}

pub(super) fn plain(code: u16, because: String) -> Refusal {
    Refusal { code, because, reason: Some("Q.850;cause=21"), retry_after: false }
}

pub(super) fn told(destination: &Destination) -> String {
    match destination {
        Destination::Emergency(emergency) if emergency.trunks.is_empty() => {
            format!("{}, and no trunk of the tenant carries calls for help", emergency.number)
        }
        Destination::Emergency(emergency) => {
            let trunks: Vec<String> = emergency.trunks.iter().map(|trunk| format!("Trunk {trunk}")).collect();
            let place = if emergency.location.is_some() { "with" } else { "without" };
            format!("{} for help by {}, {place} its place", emergency.number, trunks.join(", "))
        }
        Destination::Station(station) => format!("station {station}"),
        Destination::Agent(agent) => format!("Agent {agent}"),
        Destination::Own(_, range) => format!("PhoneNumber {}", range.id),
        Destination::Number(number) => number.to_string(),
    }
}

/// What a call runs that no flow leads: it rings whom its placement names.
pub(super) fn unled(tenant: &str) -> Arc<Flow> {
    let dial = Dial {
        targets: Vec::new(),
        strategy: DialStrategy::InOrder,
        ring_ms: RING_MS,
        ended: None,
        busy: None,
        no_answer: None,
        failed: None,
        relay_failure: true,
    };
    let step = Step { name: "dial".into(), verb: Verb::Dial(dial) };
    let program = Program {
        revision: String::new(),
        variables: Vec::new(),
        steps: vec![step],
        on_error: None,
        translations: Default::default(),
    };
    Arc::new(Flow::without_expressions(FlowId::new(tenant, "dialled"), Arc::new(program)))
}

/// Name of the network that a message came by.
fn network(world: &World, flow: NetFlow) -> String {
    let listener = world.snapshot.cluster.listeners.get(usize::from(flow.listener.0));
    listener.map(|listener| listener.network.clone()).unwrap_or_default()
}
