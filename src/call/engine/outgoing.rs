//! Calls that an agent makes at the desk: the agent's own telephones ring first, and whoever is called is rung once one of them
//! is answered.

use model::{AgentId, CallId, centre::StationKind};
use sip::uri::Uri;

use super::{
    Engine, Output,
    placing::{told, unled},
};
use crate::{
    Now,
    admission::{Admitted, Origin},
    call::{Call, Incoming, NOBODY},
    caller::Diverted,
    cursor::Environment,
    dialling::{self, Destination, Dialler},
    explanation::{Explanation, Outcome},
    lots::Lots,
    registrar::StationId,
    sdp_leg::Terms,
    vetting::Vetted,
    world::World,
};

/// Hops that are left to an INVITE of ours (RFC 3261 §8.1.1.6).
const HOPS: u8 = 70;

impl Engine {
    /// An agent calls a number, an extension or another agent, named as the telephone would.
    pub(super) fn agent_calls(&mut self, now: Now, agent: &AgentId, to: &str) {
        if let Err(because) = self.agent_tries(now, agent, to) {
            self.push(Output::Refused { call: None, agent: agent.clone(), because });
        }
    }

    fn agent_tries(&mut self, now: Now, agent: &AgentId, to: &str) -> Result<(), String> {
        let world = std::sync::Arc::clone(&self.world);
        let station = match self.standing_of(agent) {
            Some(station) => station,
            None => self.telephone_of(&world, agent)?,
        };
        let dialler = Dialler::of(&world, &station).ok_or_else(|| format!("{station} is gone"))?;
        let busy = |call: &Call| call.has_agent(agent) || !call.is_ending() && call.is_with(&station);
        if self.calls.values().any(|call| busy(call)) {
            return Err("you are in a conversation: hold or end it first".into());
        }
        let domain = world.snapshot.cluster.domains.first().unwrap_or(&world.snapshot.cluster.code);
        let address = format!("sip:{to}@{domain}");
        let uri = Uri::parse(address.as_bytes()).map_err(|bad| format!("`to` cannot be dialled: {bad}"))?;
        let refused = |refusal: crate::admission::Refusal| refusal.because;
        let destination = dialling::resolve(&world, dialler, (&uri, domain)).map_err(refused)?;
        let is_self = match &destination {
            Destination::Agent(named) => named == agent,
            Destination::Station(named) => named.agent == *agent,
            Destination::Emergency(_) | Destination::Own(..) | Destination::Number(_) => false,
        };
        if is_self {
            return Err("that is you".into());
        }
        let is_urgent = matches!(destination, Destination::Emergency(_));
        let terms = Terms::of_phone(model::net::Transport::Udp, dialler.agent.lossy);
        self.room_for_phone(&world, is_urgent, &terms, None).map_err(refused)?;
        let (number, placement, ours) = self.placed(&world, dialler, &destination, to).map_err(refused)?;
        let from =
            dialler.number().map_or_else(|| dialler.username().to_owned(), |number| number.to_string());
        let call_id = format!("desk-{:016x}", self.lots.draw());
        if let Destination::Emergency(emergency) = &destination {
            self.calls_for_help(now, &world, emergency, &call_id);
        }
        let led = number.as_ref().map(|(_, flow)| format!("RoutingFlow {}", flow.id));
        let outcome =
            Outcome::Placed { station: station.clone(), to: led.unwrap_or_else(|| told(&destination)) };
        let names = (call_id, from, to.to_owned());
        self.push(Output::Explanation(Box::new(unheard(now, &names, outcome))));
        let (numbered, led) = match number {
            Some((numbered, flow)) => (Some(numbered), flow),
            None => (None, unled(dialler.tenant())),
        };
        let admitted = Admitted {
            origin: Origin::Station(station.clone()),
            tenant: dialler.tenant().to_owned(),
            number: numbered,
            dialled: ours,
            first_dialled: None,
            flow: led,
        };
        let incoming = Incoming { placement, ..self.of_ours(names, terms, admitted) };
        let id = self.begin_outgoing(now, incoming, Call::outgoing);
        match self.lend_own(now, agent, id) {
            Some(connected) => self.with_call(now, id, |call, context| call.attach(connected, context)),
            None => self.with_call(now, id, Call::ring_caller),
        }
        Ok(())
    }

    /// What a call is made of whose first leg is ours.
    pub(super) fn of_ours(
        &mut self,
        (call_id, from, to): (String, String, String),
        terms: Terms,
        admitted: Admitted,
    ) -> Incoming {
        Incoming {
            leg: NOBODY,
            call_id,
            from,
            to,
            placement: None,
            part_of: None,
            diverted: Diverted::default(),
            vetted: Vetted::default(),
            max_forwards: HOPS,
            lots: Lots::new(self.lots.draw()),
            offer: None,
            is_record_aware: false,
            spoken: None,
            network: String::new(),
            terms,
            keys: self.keys.clone(),
            admitted,
        }
    }

    /// What the agent is called at: a telephone that is registered, or else one of the public network.
    fn telephone_of(&self, world: &World, agent: &AgentId) -> Result<StationId, String> {
        let found =
            world.snapshot.centre.agents.get(agent).ok_or_else(|| format!("Agent {agent} is gone"))?;
        let id = |name: &String| StationId { agent: agent.clone(), station: name.clone() };
        let registered = found.stations.iter().map(|station| id(&station.name));
        let registered = registered.into_iter().find(|id| !self.registrar.bindings(id).is_empty());
        let public = found.stations.iter().find(|station| matches!(station.kind, StationKind::Pstn { .. }));
        registered.or_else(|| public.map(|station| id(&station.name))).ok_or_else(|| {
            "none of your telephones is registered, so nobody can be called by them".to_owned()
        })
    }

    /// A call that begins with a leg of ours, still to be started.
    pub(super) fn begin_outgoing(
        &mut self,
        now: Now,
        incoming: Incoming,
        make: impl FnOnce(CallId, Incoming, Environment<'_>) -> Call,
    ) -> CallId {
        let number = incoming.admitted.number.clone();
        let id = self.make_outgoing(now, incoming, make);
        self.load.begin(id, NOBODY, None, number.as_ref());
        if let Some(numbered) = number {
            let tenant = self.world.snapshot.cluster.tenants.get(numbered.range.id.0.namespace());
            self.load.spend_number(&numbered.trunk, &numbered.range, tenant, now.instant);
        }
        id
    }

    /// The same of one that is not counted yet.
    pub(super) fn make_outgoing(
        &mut self,
        now: Now,
        incoming: Incoming,
        make: impl FnOnce(CallId, Incoming, Environment<'_>) -> Call,
    ) -> CallId {
        let id = CallId(self.next_call);
        self.next_call += 1;
        let world = std::sync::Arc::clone(&self.world);
        let environment = Environment { world: &world, expressions: &self.expressions, now };
        let call = make(id, incoming, environment);
        self.push(Output::Begun(Box::new(call.begun())));
        self.calls.insert(id, Box::new(call));
        id
    }
}

/// Why there is a call that no INVITE has begun: its Call-ID, who calls, and whom.
pub(super) fn unheard(
    now: Now,
    (call_id, from, to): &(String, String, String),
    outcome: Outcome,
) -> Explanation {
    Explanation {
        call_id: call_id.clone(),
        at: now.wall,
        source: None,
        listener: String::new(),
        from: from.clone(),
        to: to.clone(),
        candidates: Vec::new(),
        outcome,
        legs: Vec::new(),
        course: Vec::new(),
    }
}
