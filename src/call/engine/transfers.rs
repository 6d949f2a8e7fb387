//! Calls that agents' phones join: a REFER to a dialog of ours, and an INVITE that takes the place of a leg (RFC 3891).

use model::{CallId, LegId};
use sip::{endpoint::Header, header::DialogName};

use super::{
    Engine, Output, Told,
    placing::{Asked, plain},
};
use crate::{
    Now,
    call::Connected,
    explanation::{Explanation, Outcome},
    sdp_leg::Terms,
};

/// Two calls of one phone that are to become one.
struct Pair {
    first: (CallId, LegId),
    second: (CallId, LegId),
}

impl Engine {
    /// A phone hands the contact of one of its calls on to whom it talks to in another.
    pub(super) fn referred_to_a_dialog(&mut self, now: Now, leg: LegId, replaces: &str) {
        let pair = match self.pair(leg, replaces) {
            Ok(pair) => pair,
            Err(refused) => {
                let call = self.legs.get(&leg).and_then(|call| self.calls.get(call));
                let call_id = call.map(|call| call.call_id().to_owned()).unwrap_or_default();
                return self.refuse_refer(now, leg, &call_id, refused);
            }
        };
        let Pair { first: (first, leg), second: (second, other) } = pair;
        let rung = self.calls.get(&second).map(|call| call.rung()).unwrap_or_default();
        if !rung.is_empty() {
            // Whom it has rung is rung for the contact: an INVITE that has no answer yet has no audio to move.
            let into = self.calls.get(&first).map(|call| call.call_id().to_owned()).unwrap_or_default();
            self.with_call(now, second, |call, context| call.yield_to(&into, context));
            return self.with_call(now, first, |call, context| call.hand_on(leg, rung, context));
        }
        let _ = self.endpoint.accept_refer(now.instant, leg);
        // The call whose contact came to the phone is the one that goes on.
        let is_a_leg =
            |call: CallId, leg: LegId| self.calls.get(&call).is_some_and(|call| call.a_leg() == leg);
        if is_a_leg(first, leg) && !is_a_leg(second, other) {
            let _ = self.endpoint.notify_refer(now.instant, leg, 200, true);
            self.unite(now, (second, other, None), (first, leg));
        } else {
            self.unite(now, (first, leg, Some(leg)), (second, other));
        }
    }

    /// Two calls of one tenant's phones, each of which talks to somebody.
    fn pair(&self, leg: LegId, replaces: &str) -> Result<Pair, (u16, String)> {
        let no = |code: u16, because: &str| (code, because.to_owned());
        // Never 481, which would say that the dialog of the REFER itself is gone (RFC 5057 §5.1).
        let name = DialogName::parse_replaces(replaces.as_bytes());
        let name = name.ok_or_else(|| no(400, "the Replaces of the Refer-To is malformed"))?;
        let first = self.legs.get(&leg).copied().ok_or_else(|| no(481, "the call is gone"))?;
        let other = self.endpoint.leg_named(&name);
        let second = other.and_then(|other| Some((*self.legs.get(&other)?, other)));
        let (second, other) =
            second.ok_or_else(|| no(404, "the dialog that the Refer-To replaces is not known"))?;
        let whose = |call: CallId, leg: LegId| self.calls.get(&call).and_then(|call| call.station_at(leg));
        let (Some(mine), Some(theirs)) = (whose(first, leg), whose(second, other)) else {
            return Err(no(403, "only phones of agents may hand a call on by REFER"));
        };
        if mine.agent.0.namespace() != theirs.agent.0.namespace() || first == second {
            return Err(no(
                403,
                "the dialog that the Refer-To replaces is not another one of the same tenant",
            ));
        }
        Ok(Pair { first: (first, leg), second: (second, other) })
    }

    /// Whoever talks to the phone at `other` in `gone` comes to `stays`, in the place of the phone at `leg`.
    fn unite(
        &mut self,
        now: Now,
        (stays, leg, told): (CallId, LegId, Option<LegId>),
        (gone, other): (CallId, LegId),
    ) {
        let into = self.calls.get(&stays).map(|call| call.call_id().to_owned()).unwrap_or_default();
        let mut connected: Option<Connected> = None;
        self.with_call(now, gone, |call, context| connected = call.let_go(other, &into, context));
        match connected {
            Some(connected) => {
                self.legs.insert(connected.sip, stays);
                self.with_call(now, stays, |call, context| call.take_in(leg, told, connected, context));
            }
            None => {
                let _ = self.endpoint.notify_refer(now.instant, told.unwrap_or(leg), 481, true);
            }
        }
    }

    /// A phone comes to take the place of a leg.
    pub(super) fn station_replaces(
        &mut self,
        now: Now,
        asked: Asked<'_>,
        replaces: LegId,
        mut explanation: Explanation,
    ) {
        let Asked { leg, flow, offer, station, .. } = asked;
        let found = self.legs.get(&replaces).and_then(|id| Some((*id, self.calls.get(id)?)));
        let found = found.filter(|(_, call)| {
            call.admitted().tenant == station.agent.0.namespace() && call.may_replace(replaces)
        });
        let Some((call, to)) = found.map(|(id, call)| (id, call.call_id().to_owned())) else {
            let because = "no phone of the tenant has the dialog that it would replace.".into();
            return self.refuse_station(now, leg, explanation, plain(481, because));
        };
        let Some(offer) = offer else {
            let because = "an INVITE that replaces another must carry an offer.".into();
            return self.refuse_station(now, leg, explanation, plain(488, because));
        };
        explanation.outcome =
            Outcome::Placed { station: station.clone(), to: format!("whoever is in the call {to}") };
        self.push(Output::Explanation(Box::new(explanation)));
        let listener = self.world.snapshot.cluster.listeners.get(usize::from(flow.listener.0));
        let network = listener.map(|listener| listener.network.clone()).unwrap_or_default();
        self.legs.insert(leg, call);
        self.with_call(now, call, |call, context| {
            let terms = Terms::of_phone(flow.transport, false);
            call.replace((leg, offer), (station, network, terms), replaces, context);
        });
    }

    /// A REFER is refused with the rule that it broke.
    pub(super) fn refuse_refer(
        &mut self,
        now: Now,
        leg: LegId,
        call_id: &str,
        (code, because): (u16, String),
    ) {
        let text: String = because.chars().filter(|c| !matches!(c, '"' | '\\') && !c.is_control()).collect();
        let host = self.world.snapshot.cluster.domains.first().unwrap_or(&self.world.snapshot.cluster.code);
        let warning = Header::new("Warning", format!("399 {host} \"{text}\""));
        let _ = self.endpoint.reject_refer(now.instant, leg, code, &[warning]);
        let what = format!("a REFER was answered {code}: {because}");
        self.push(Output::Told(Box::new(Told { call_id: call_id.to_owned(), what })));
    }
}
