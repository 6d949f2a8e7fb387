//! A new INVITE: whether it is proved, admitted and can be answered, and why.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use model::{
    CallId, LegId, TrunkId,
    media::{Codec, Direction},
    net::Flow as NetFlow,
    snapshot::Trunk,
};
use sip::{
    endpoint::Header,
    sdp::{self, LocalMedia, SdpError},
    uri::unescape,
    wire::Message,
};

use super::{Engine, OUTPUTS_MAX, Output, gate::Passage};
use crate::{
    Now,
    admission::{self, Admission, Admitted, Refusal},
    call::{Call, Incoming},
    caller::{Diverted, Identity},
    certificate::Proof,
    cursor::Environment,
    explanation::{Explanation, Outcome},
    lots::Lots,
};

impl Engine {
    pub(super) fn invited(
        &mut self,
        now: Now,
        leg: LegId,
        flow: NetFlow,
        request: &Message,
        offer: Option<Bytes>,
    ) {
        let mut explanation = self.explanation(now, &flow, request);
        if self.is_for_agents(&flow) {
            return self.station_invites(now, leg, flow, request, explanation);
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
        explanation.from = Identity::of(request, &trunk.number_formats).number;
        explanation.to = called(request, trunk);
        let diverted = Diverted::of(request, &trunk.number_formats);
        if let Some((code, because)) = diverted.goes_round(trunk.number_formats.read(&explanation.to)) {
            let because = format!("{because}; see its Diversion and History-Info.");
            return self.refuse(now, leg, explanation, refusal(code, because, "Q.850;cause=25"));
        }
        let dialled = (explanation.to.as_str(), diverted.by.first().copied());
        let Admission { candidates, verdict } =
            admission::admit(&world, (id, trunk), dialled, &self.load.at(now.instant));
        explanation.candidates = candidates;
        let (admitted, spoken) =
            match verdict.and_then(|admitted| self.room(trunk, admitted, offer.as_deref())) {
                Ok(admitted) => admitted,
                Err(refusal) => return self.refuse(now, leg, explanation, refusal),
            };
        explanation.outcome = Outcome::Routed {
            trunk: admitted.trunk.clone(),
            number: admitted.number.id.clone(),
            flow: admitted.number.flow.clone(),
        };
        self.push(Output::Explanation(Box::new(explanation.clone())));
        let incoming = Incoming {
            leg,
            call_id: explanation.call_id,
            from: explanation.from,
            diverted,
            max_forwards: request.max_forwards().unwrap_or(70).saturating_sub(1),
            lots: Lots::new(self.lots.draw()),
            offer,
            spoken,
            network: trunk.network.clone(),
            codecs: trunk.codecs.clone(),
            admitted,
        };
        self.admit(now, leg, incoming);
    }

    /// What no snapshot can say: whether this shard takes calls, and whether the offer can be answered.
    fn room(
        &self,
        trunk: &Trunk,
        admitted: Admitted,
        offer: Option<&[u8]>,
    ) -> Result<(Admitted, Option<Codec>), Refusal> {
        let busy =
            |because: &str| Refusal { code: 503, because: because.into(), reason: None, retry_after: true };
        if self.draining {
            return Err(busy("this edge is draining and takes no new calls."));
        }
        if self.out.len() >= OUTPUTS_MAX {
            return Err(busy("this edge has more to do than it can."));
        }
        match offer.map(|offer| sdp::answer(offer, &trial(trunk.codecs.clone()))) {
            None => Ok((admitted, None)),
            Some(Ok((_, parameters))) => Ok((admitted, Some(parameters.codec))),
            Some(Err(error)) => Err(unanswerable(&admitted.trunk, &error)),
        }
    }

    fn admit(&mut self, now: Now, leg: LegId, incoming: Incoming) {
        let id = CallId(self.next_call);
        self.next_call += 1;
        let Admitted { trunk, number, .. } = &incoming.admitted;
        self.load.begin(id, leg, trunk, number);
        if let Some(limits) = self.world.snapshot.trunks.get(trunk) {
            self.load.spend(trunk, limits, now.instant);
        }
        self.legs.insert(leg, id);
        let world = Arc::clone(&self.world);
        let environment = Environment { world: &world, expressions: &self.expressions, now };
        let call = Call::new(id, incoming, environment);
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
            source: flow.remote,
            listener: listener.map(|listener| listener.name.clone()).unwrap_or_default(),
            from: Identity::of(request, &Default::default()).number,
            to: unescape(request.called_number().unwrap_or_default()).into_owned(),
            candidates: Vec::new(),
            outcome: Outcome::Ignored { because: String::new() },
            legs: Vec::new(),
            unperformed: Vec::new(),
            course: Vec::new(),
        }
    }
}

fn refusal(code: u16, because: String, reason: &'static str) -> Refusal {
    Refusal { code, because, reason: Some(reason), retry_after: false }
}

/// Whom an INVITE is for: its Request-URI, or To where that is the Contact that we registered with.
fn called(request: &Message, trunk: &Trunk) -> String {
    let called = unescape(request.called_number().unwrap_or_default()).into_owned();
    let ours = trunk.register.as_ref().is_some_and(|register| register.user == called);
    let to = request.to().filter(|_| ours).and_then(|to| to.uri.user);
    to.map_or(called, |user| unescape(user).into_owned())
}

/// What we would say, to see whether the offer can be answered before any port is taken.
fn trial(codecs: Vec<Codec>) -> LocalMedia {
    LocalMedia {
        address: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        rtp_port: 9,
        codecs,
        telephone_event: true,
        ptime_ms: 20,
        direction: Direction::SendRecv,
        session_id: 0,
        version: 0,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else is wrong with an offer cannot be answered either"
)]
fn unanswerable(trunk: &TrunkId, error: &SdpError) -> Refusal {
    let (code, reason) = match error {
        SdpError::Malformed { .. } => (400, "Q.850;cause=95"),
        _ => (488, "Q.850;cause=88"),
    };
    let because = format!("{error}; Trunk {trunk} has the codecs that its spec.codecs list.");
    Refusal { code, because, reason: Some(reason), retry_after: false }
}
