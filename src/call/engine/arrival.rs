//! A new INVITE: whether it is proved, admitted and can be answered, and why.

use std::sync::Arc;

use bytes::Bytes;
use model::{
    CallId, LegId, TrunkId,
    media::Codec,
    net::{Flow as NetFlow, Transport},
    snapshot::Trunk,
};
use sip::{
    endpoint::Header,
    sdp::{self, SdpError},
    uri::unescape,
    wire::Message,
};

use stir::{Fault, passport::Passport};

use super::{Engine, OUTPUTS_MAX, Output, gate::Passage};
use crate::{
    Now,
    admission::{self, Admission, Admitted, Numbered, Refusal},
    call::{Call, Incoming},
    caller::{Diverted, Identity},
    certificate::Proof,
    cursor::Environment,
    explanation::{Explanation, Outcome},
    lots::Lots,
    sdp_leg::Terms,
    vetting::Vetted,
};

/// An INVITE of a trunk, on its way into a flow.
pub(super) struct Arrival<'a> {
    pub leg: LegId,
    pub trunk: &'a TrunkId,
    pub transport: Transport,
    pub request: &'a Message,
    pub offer: Option<Bytes>,
    pub explanation: Explanation,
}

impl Engine {
    pub(super) fn invited(
        &mut self,
        now: Now,
        (leg, replaces): (LegId, Option<LegId>),
        flow: NetFlow,
        request: &Message,
        offer: Option<Bytes>,
    ) {
        let mut explanation = self.explanation(now, &flow, request);
        if self.is_for_agents(&flow) {
            return self.station_invites(now, (leg, flow), request, offer, explanation);
        }
        let world = Arc::clone(&self.world);
        let proof = Proof::Shown(self.identities.get(&flow.connection));
        let (id, trunk) = match admission::trunk_of(&world, &flow, proof, now) {
            Ok(trunk) => trunk,
            // A peer that we only call, or one whose listing ended while the INVITE was under way.
            Err((candidates, because)) => {
                explanation.candidates = candidates;
                return self.refuse(now, leg, explanation, refusal(403, because, "Q.850;cause=21"));
            }
        };
        match self.gate.pass(now, &world, (id, trunk), (flow.remote.ip(), request), &mut self.lots) {
            Passage::Open => {}
            Passage::Challenged { headers, because } => {
                return self.challenge(now, leg, explanation, (headers, because));
            }
            Passage::Closed(because) => {
                return self.refuse(now, leg, explanation, refusal(500, because, "Q.850;cause=41"));
            }
        }
        if replaces.is_some() {
            let because =
                format!("Trunk {id} may not take the place of a leg (Replaces): only agents' phones may.");
            return self.refuse(now, leg, explanation, refusal(403, because, "Q.850;cause=21"));
        }
        explanation.from = Identity::of(request, &trunk.number_formats).number;
        explanation.to = called(request, trunk);
        if let Some(station) = self.calls_back(now, trunk, &explanation.to, request) {
            return self.return_call(
                now,
                (leg, flow.transport, offer, request),
                (id, trunk),
                station,
                explanation,
            );
        }
        self.arrived(
            now,
            Arrival { leg, trunk: id, transport: flow.transport, request, offer, explanation },
            None,
        );
    }

    /// An INVITE of a trunk that is proved to be its own; `verdict` is what the verification of its Identity came to, if
    /// that was asked for.
    pub(super) fn arrived(
        &mut self,
        now: Now,
        mut arrival: Arrival<'_>,
        verdict: Option<Result<Vec<Passport>, Fault>>,
    ) {
        let world = Arc::clone(&self.world);
        let (id, request, leg) = (arrival.trunk, arrival.request, arrival.leg);
        let Some(trunk) = world.snapshot.trunks.get(id) else {
            let because = format!("Trunk {id} is gone.");
            return self.refuse(now, leg, arrival.explanation, refusal(403, because, "Q.850;cause=21"));
        };
        let explanation = &mut arrival.explanation;
        let diverted = Diverted::of(request, &trunk.number_formats);
        if let Some((code, because)) = diverted.goes_round(trunk.number_formats.read(&explanation.to)) {
            let because = format!("{because}; see its Diversion and History-Info.");
            return self.refuse(now, leg, arrival.explanation, refusal(code, because, "Q.850;cause=25"));
        }
        let dialled = (explanation.to.as_str(), diverted.by.first().copied());
        let Admission { candidates, verdict: admission } =
            admission::admit(&world, (id, trunk), dialled, &self.load.at(now.instant));
        explanation.candidates = candidates;
        let (offer, terms) = (arrival.offer.as_deref(), Terms::of_trunk(trunk, arrival.transport));
        let admitted = admission.and_then(|admitted| self.room(id, admitted, terms, offer));
        let (admitted, terms, spoken) = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => return self.refuse(now, leg, arrival.explanation, refusal),
        };
        let vetted = match (verdict, &trunk.stir.verify) {
            (_, None) => Vetted::unasked(request),
            (Some(verdict), Some(_)) => {
                if !self.passes(now, &mut arrival, &verdict) {
                    return;
                }
                Vetted::of(request, &verdict)
            }
            (None, Some(_)) => {
                // It comes back here with its verdict.
                let Some((arrival, verdict)) = self.vet(now, arrival) else { return };
                return self.arrived(now, arrival, Some(verdict));
            }
        };
        let Arrival { mut explanation, offer, .. } = arrival;
        explanation.outcome = admitted.outcome();
        self.push(Output::Explanation(Box::new(explanation.clone())));
        let incoming = Incoming {
            leg,
            call_id: explanation.call_id,
            from: explanation.from,
            to: admitted.called().map(|called| called.to_string()).unwrap_or_default(),
            placement: None,
            part_of: None,
            diverted,
            vetted,
            max_forwards: request.max_forwards().unwrap_or(70).saturating_sub(1),
            lots: Lots::new(self.lots.draw()).with_percent(self.percent),
            offer,
            is_record_aware: super::is_record_aware(request),
            spoken,
            network: trunk.network.clone(),
            terms,
            keys: self.keys.clone(),
            admitted,
        };
        self.admit(now, leg, incoming);
    }

    /// What no snapshot can say: whether this shard takes calls, and whether the offer can be answered.
    fn room(
        &self,
        id: &TrunkId,
        admitted: Admitted,
        terms: Terms,
        offer: Option<&[u8]>,
    ) -> Result<(Admitted, Terms, Option<Codec>), Refusal> {
        let busy =
            |because: &str| Refusal { code: 503, because: because.into(), reason: None, retry_after: true };
        if self.draining {
            return Err(busy("this edge is draining and takes no new calls."));
        }
        if self.out.len() >= OUTPUTS_MAX {
            return Err(busy("this edge has more to do than it can."));
        }
        let whole = terms.clone();
        let terms = if admitted.flow.passes_on() { terms } else { terms.decoded() };
        let spoken = offer.map(|offer| sdp::could_answer(offer, &terms.trial())).transpose();
        match spoken {
            Ok(spoken) => Ok((admitted, terms, spoken.map(|parameters| parameters.codec))),
            Err(error) => {
                let passed_on = offer.and_then(|offer| sdp::could_answer(offer, &whole.trial()).ok());
                Err(unanswerable(id, &whole, &error, passed_on.is_some()))
            }
        }
    }

    pub(super) fn admit(&mut self, now: Now, leg: LegId, incoming: Incoming) {
        let id = CallId(self.next_call);
        self.next_call += 1;
        let (trunk, number) = (incoming.admitted.trunk(), incoming.admitted.number.as_ref());
        self.load.begin(id, leg, trunk, number);
        if let Some((trunk, limits)) = trunk.and_then(|trunk| self.world.snapshot.trunks.get_key_value(trunk))
        {
            self.load.spend(trunk, limits, now.instant);
        }
        if let Some(Numbered { trunk, range }) = number {
            let tenant = self.world.snapshot.cluster.tenants.get(range.id.0.namespace());
            self.load.spend_number(trunk, range, tenant, now.instant);
        }
        self.legs.insert(leg, id);
        let world = Arc::clone(&self.world);
        let environment = Environment { world: &world, expressions: &self.expressions, now };
        let call = Call::new(id, incoming, environment);
        self.push(Output::Begun(Box::new(call.begun())));
        self.calls.insert(id, Box::new(call));
        self.with_call(now, id, Call::begin);
    }

    pub(super) fn challenge(
        &mut self,
        now: Now,
        leg: LegId,
        mut explanation: Explanation,
        (headers, because): (Vec<Header>, String),
    ) {
        explanation.outcome = Outcome::Challenged { because };
        self.push(Output::Explanation(Box::new(explanation)));
        // It was there a moment ago; if its CANCEL came first, that has answered it.
        let _ = self.endpoint.reject(now.instant, leg, 401, None, &headers);
    }

    fn refuse(&mut self, now: Now, leg: LegId, mut explanation: Explanation, refusal: Refusal) {
        let Refusal { code, because, reason, retry_after } = refusal;
        let mut headers: Vec<_> = reason.map(|reason| Header::new("Reason", reason)).into_iter().collect();
        if retry_after {
            headers.push(self.retry_after());
        }
        explanation.outcome = Outcome::Refused { code, because };
        self.push(Output::Explanation(Box::new(explanation)));
        // It was there a moment ago; if its CANCEL came first, that has answered it.
        let _ = self.endpoint.reject(now.instant, leg, code, None, &headers);
    }

    fn explanation(&self, now: Now, flow: &NetFlow, request: &Message) -> Explanation {
        let listener = self.world.snapshot.cluster.listeners.get(usize::from(flow.listener.0));
        Explanation {
            call_id: request.call_id().to_owned(),
            at: now.wall,
            source: Some(flow.remote),
            listener: listener.map(|listener| listener.name.clone()).unwrap_or_default(),
            from: Identity::of(request, &Default::default()).number,
            to: unescape(request.called_number().unwrap_or_default()).into_owned(),
            candidates: Vec::new(),
            outcome: Outcome::Ignored { because: String::new() },
            legs: Vec::new(),
            course: Vec::new(),
        }
    }
}

fn refusal(code: u16, because: String, reason: &'static str) -> Refusal {
    Refusal { code, because, reason: Some(reason), retry_after: false }
}

/// Whom an INVITE is for: its Request-URI, or To where that is the Contact that we registered with.
pub(super) fn called(request: &Message, trunk: &Trunk) -> String {
    let called = unescape(request.called_number().unwrap_or_default()).into_owned();
    let ours = trunk.register.as_ref().is_some_and(|register| register.user == called);
    let to = if ours { request.to().and_then(|to| to.uri.user) } else { None };
    to.map_or(called, |user| unescape(user).into_owned())
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else is wrong with an offer cannot be answered either"
)]
fn unanswerable(trunk: &TrunkId, terms: &Terms, error: &SdpError, passed_on: bool) -> Refusal {
    let (code, reason) = match error {
        SdpError::Malformed { .. } => (400, "Q.850;cause=95"),
        _ => (488, "Q.850;cause=88"),
    };
    let because = match error {
        SdpError::NoCommonCodec if passed_on => format!(
            "the session description has G729 alone, which is only passed on: by a flow that begins with a `dial` to numbers or extensions, without a recording; let Trunk {trunk}'s carrier offer PCMU or PCMA too."
        ),
        SdpError::NotProtected if terms.contradict() => format!(
            "Trunk {trunk} says srtp: Required, and keys may not be sent over signalling in the clear: let the call come by TLS, or say srtpKeying: Dtls or insecureKeys: Accepted."
        ),
        SdpError::NotProtected | SdpError::ProtectedAlone => {
            format!(
                "{error}; Trunk {trunk} takes SRTP as its spec.srtp, spec.srtpKeying and spec.insecureKeys say."
            )
        }
        SdpError::FaxAlone => format!("{error}."),
        _ => format!("{error}; Trunk {trunk} has the codecs that its spec.codecs list."),
    };
    Refusal { code, because, reason: Some(reason), retry_after: false }
}
