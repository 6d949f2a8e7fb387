//! Calls that wait for a signature, made or verified: what is asked of the shell, and for how long.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::fmt::rfc2822::DateTimePrinter;
use model::{CallId, LegId, TrunkId, net::Transport};
use sip::{
    endpoint::{Header, Invite},
    wire::Message,
};
use stir::{Fault, Verstat, claim::Claim, identity, judge, passport::Passport};

use super::{Engine, Output, arrival::Arrival};
use crate::{
    Now,
    call::Told,
    dial::Sent,
    explanation::{Candidate, Explanation, Outcome},
    vetting::{self, Vetted},
};

/// How long a call waits until certificates are fetched and signatures verified; then they cannot be had.
pub const VERIFY_WAIT: Duration = Duration::from_secs(3);

/// How long a call waits for our signature; then it leaves without one.
pub const SIGN_WAIT: Duration = Duration::from_millis(500);

/// Most calls that wait at a time, each way. One more goes on at once, without a signature or as if its certificate could
/// not be had.
const WAITING_MAX: usize = 4_096;

/// What the shell is asked to verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToVerify {
    /// To be told with the verdict.
    pub ticket: u64,
    /// The trunk that the call came by: whose signers it trusts.
    pub trunk: TrunkId,
    /// All of them must hold.
    pub passports: Vec<Passport>,
}

/// What the shell is asked to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToSign {
    /// To be told with the signature.
    pub ticket: u64,
    /// The trunk that the call leaves by: whose key it is.
    pub trunk: TrunkId,
    /// The text.
    pub text: String,
}

/// Calls that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    last: u64,
    arrivals: BTreeMap<u64, Held>,
    invites: BTreeMap<u64, Unsent>,
    due: BTreeSet<(Instant, u64)>,
}

/// A call that came.
#[derive(Debug)]
struct Held {
    leg: LegId,
    trunk: TrunkId,
    transport: Transport,
    request: Message,
    offer: Option<Bytes>,
    explanation: Explanation,
    passports: Vec<Passport>,
}

/// A call that is to leave.
#[derive(Debug)]
struct Unsent {
    call: CallId,
    branch: LegId,
    trunk: TrunkId,
    invite: Box<Invite>,
    claim: Claim,
    text: String,
}

impl Waiting {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    fn ticket(&mut self, until: Instant) -> u64 {
        self.last += 1;
        self.due.insert((until, self.last));
        self.last
    }

    /// Its caller has given up.
    pub(super) fn forget(&mut self, leg: LegId) {
        self.arrivals.retain(|_, held| held.leg != leg);
    }
}

impl Engine {
    /// Has the Identity of a call verified. Gives the arrival back, with what it comes to, if that is clear already.
    pub(super) fn vet<'a>(
        &mut self,
        now: Now,
        arrival: Arrival<'a>,
    ) -> Option<(Arrival<'a>, Result<Vec<Passport>, Fault>)> {
        let world = std::sync::Arc::clone(&self.world);
        let trunk = world.snapshot.trunks.get(arrival.trunk)?;
        let facts = vetting::facts(arrival.request, trunk, &arrival.explanation.to, now.wall.as_second());
        let passports = match judge::chain(&vetting::values(arrival.request), &facts) {
            Ok(passports) => passports,
            Err(fault) => return Some((arrival, Err(fault))),
        };
        if self.waiting.arrivals.len() >= WAITING_MAX {
            let fault = Fault::Unreachable("too many calls wait for certificates".into());
            return Some((arrival, Err(fault)));
        }
        let ticket = self.waiting.ticket(now.instant + VERIFY_WAIT);
        let Arrival { leg, trunk, transport, request, offer, explanation } = arrival;
        let to_verify = ToVerify { ticket, trunk: trunk.clone(), passports: passports.clone() };
        let held = Held {
            leg,
            trunk: trunk.clone(),
            transport,
            request: request.clone(),
            offer,
            explanation,
            passports,
        };
        self.waiting.arrivals.insert(ticket, held);
        self.push(Output::Verify(Box::new(to_verify)));
        None
    }

    /// The shell has verified, or could not.
    pub(super) fn verified(&mut self, now: Now, ticket: u64, verdict: Result<(), Fault>) {
        let Some(held) = self.waiting.arrivals.remove(&ticket) else { return };
        let Held { leg, trunk, transport, request, offer, explanation, passports } = held;
        let arrival = Arrival { leg, trunk: &trunk, transport, request: &request, offer, explanation };
        self.arrived(now, arrival, Some(verdict.map(|()| passports)));
    }

    /// Whether a call goes on with what its verification came to: it does not where its trunk requires that it passes.
    pub(super) fn passes(
        &mut self,
        now: Now,
        arrival: &mut Arrival<'_>,
        verdict: &Result<Vec<Passport>, Fault>,
    ) -> bool {
        let vetted = Vetted::of(arrival.request, verdict);
        let verstat = vetted.verstat.unwrap_or(Verstat::None);
        let attested = vetted.attestation.map(|level| format!(", attested {level}")).unwrap_or_default();
        let failed = verdict.as_ref().err().map(ToString::to_string);
        let candidate = Candidate { object: format!("Identity ({verstat}{attested})"), failed };
        arrival.explanation.candidates.push(candidate);
        let trunk = self.world.snapshot.trunks.get(arrival.trunk);
        let required =
            trunk.and_then(|trunk| trunk.stir.verify.as_ref()).is_some_and(|verify| verify.required);
        let Some(fault) = verdict.as_ref().err().filter(|_| required) else { return true };
        let because = format!(
            "Trunk {} takes only calls whose Identity holds (stir.verify.mode: Require): {fault}.",
            arrival.trunk
        );
        arrival.explanation.outcome = Outcome::Refused { code: fault.code(), because };
        self.push(Output::Explanation(Box::new(arrival.explanation.clone())));
        // RFC 9410 §4.
        let reason = format!("STIR;cause={};text=\"{}\"", fault.code(), fault.phrase());
        // It was there a moment ago; if its CANCEL came first, that has answered it.
        let headers = [Header::new("Reason", reason)];
        let _ = self.endpoint.reject(now.instant, arrival.leg, fault.code(), Some(fault.phrase()), &headers);
        false
    }

    /// Has an INVITE signed before it leaves. Gives it back if nothing is to be signed.
    pub(super) fn sign(
        &mut self,
        now: Now,
        call: CallId,
        (branch, trunk): (LegId, &TrunkId),
        invite: Box<Invite>,
        claim: Option<Claim>,
    ) -> Option<Box<Invite>> {
        let world = std::sync::Arc::clone(&self.world);
        let sign = world.snapshot.trunks.get(trunk).and_then(|trunk| trunk.stir.sign.as_ref());
        let (Some(claim), Some(sign)) = (claim, sign) else { return Some(invite) };
        // A later try of a branch takes the place of the one before.
        self.waiting.invites.retain(|_, unsent| (unsent.call, unsent.branch) != (call, branch));
        if self.waiting.invites.len() >= WAITING_MAX {
            return Some(invite);
        }
        let text = claim.unsigned(now.wall.as_second(), &sign.certificate_url);
        let ticket = self.waiting.ticket(now.instant + SIGN_WAIT);
        let to_sign = ToSign { ticket, trunk: trunk.clone(), text: text.clone() };
        let unsent = Unsent { call, branch, trunk: trunk.clone(), invite, claim, text };
        self.waiting.invites.insert(ticket, unsent);
        self.push(Output::Sign(Box::new(to_sign)));
        None
    }

    /// The shell has signed, or could not.
    pub(super) fn signed(&mut self, now: Now, ticket: u64, signature: Result<[u8; 64], String>) {
        let Some(unsent) = self.waiting.invites.remove(&ticket) else { return };
        let Unsent { call, branch, trunk, mut invite, claim, text } = unsent;
        let Some(waits) = self.calls.get(&call).filter(|call| call.awaits(branch)) else { return };
        let call_id = waits.call_id().to_owned();
        let world = std::sync::Arc::clone(&self.world);
        let sign = world.snapshot.trunks.get(&trunk).and_then(|trunk| trunk.stir.sign.as_ref());
        match (signature, sign) {
            (Ok(signature), Some(sign)) => {
                let value = identity::write(&claim, &sign.certificate_url, &text, &signature);
                // RFC 8224 §4.1: with it goes a Date.
                if let Ok(date) = DateTimePrinter::new().timestamp_to_rfc9110_string(&now.wall) {
                    invite.headers.push(Header::new("Date", date));
                }
                invite.headers.push(Header::new("Identity", value));
            }
            (Err(because), _) => {
                let what = format!("the call leaves Trunk {trunk} without an Identity of ours: {because}");
                self.push(Output::Told(Box::new(Told { call_id, what })));
            }
            (Ok(_), None) => {}
        }
        let sent = match self.calls.remove(&call) {
            Some(call) => {
                let sent = self.invite(now, &call, (Some(&trunk), false), *invite);
                self.calls.insert(CallId(call.session().0), call);
                sent
            }
            None => Sent::Refused("the call is gone".into()),
        };
        self.with_call(now, call, |call, context| call.invited(branch, sent, context));
    }

    /// What was waited for too long.
    pub(super) fn stop_waiting(&mut self, now: Now) {
        while let Some((at, ticket)) = self.waiting.due.first().copied()
            && at <= now.instant
        {
            self.waiting.due.pop_first();
            let fault = Fault::Unreachable(format!(
                "its certificate was not there within {} s",
                VERIFY_WAIT.as_secs()
            ));
            self.verified(now, ticket, Err(fault));
            self.signed(now, ticket, Err("it was not signed in time".into()));
        }
    }
}
