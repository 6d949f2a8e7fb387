//! A phone hands its contact on (REFER, RFC 3515): whom it names is rung for the contact, who hears it ring.
//!
//! The phone may hang up as soon as its REFER is taken, and many do: the contact stays, and if nobody answers the agent is rung
//! again. Whoever hands on is a callee from then on, and the contact the A leg, whichever of the two called.

use std::sync::Arc;

use acd::mutant;
use model::{
    AgentId, E164, LegId,
    media::Order,
    program::{Dial, DialStrategy, DialTarget},
};
use sip::{endpoint::Event as SipEvent, uri::Uri};

use super::{AfterPlay, Call, Consult, Context, DeskNews, Effect, StateA, configure, reinvited};
use crate::{
    cursor::{Cursor, Dialled, Facts},
    dial::{Branch, Dialling, Party, Whom},
    dialling::{self, Destination, Dialler},
    record::EndedBy,
    registrar::StationId,
    sdp_leg::Terms,
    world::Flow,
};

/// How long whom a contact is handed on to may ring, in milliseconds.
const RING_MS: u32 = 60_000;

/// How long the agent who handed on in vain is rung again, in milliseconds.
const RECALL_MS: u32 = 30_000;

/// A SIP leg that there is none of: whose A leg has gone to another call, or is still to come.
pub const NOBODY: LegId = LegId(u64::MAX);

/// A contact that is being handed on.
#[derive(Debug)]
pub(super) struct Handover {
    /// The phone that does it.
    pub station: StationId,
    /// Its leg, while it has not hung up.
    pub referrer: Option<Branch>,
    /// Its SIP leg, which is told how it goes even after it has hung up.
    told: Option<LegId>,
    /// What brought the two together: its outcome is the whole conversation's.
    pub original: Box<Dial>,
    /// Whether the agent is rung again.
    recalls: bool,
    /// Whom the agent asks back before. None: the contact is whoever's takes it.
    pub consult: Option<Consult>,
}

/// What a REFER leads to.
pub(super) enum Target {
    /// Somebody is rung.
    Rings(Whom),
    /// The contact enters a flow, that of this number.
    Enters(Arc<Flow>, E164),
}

/// Somebody who leaves one call for another, connected.
#[derive(Debug)]
pub struct Connected {
    /// SIP leg.
    pub sip: LegId,
    pub(super) party: Party,
    pub(super) network: String,
    pub(super) terms: Terms,
    pub(super) is_protected: bool,
}

/// What hands a contact on: every failure is told to whoever does it.
pub(super) fn rings() -> Box<Dial> {
    rings_for(RING_MS)
}

pub(super) fn rings_for(ring_ms: u32) -> Box<Dial> {
    Box::new(Dial {
        targets: Vec::new(),
        strategy: DialStrategy::InOrder,
        ring_ms,
        ended: None,
        busy: None,
        no_answer: None,
        failed: None,
        relay_failure: false,
    })
}

impl Handover {
    /// Whose phone has not hung up yet.
    pub fn agent_there(&self) -> Option<&AgentId> {
        self.referrer.as_ref().map(|_| &self.station.agent)
    }
}

impl Call {
    /// The phone at a SIP leg of the call. None: it is no phone's.
    #[must_use]
    pub fn station_at(&self, leg: LegId) -> Option<&StationId> {
        if leg == self.incoming.leg {
            return self.a.station.as_ref();
        }
        let branches = self.dialling.iter().flat_map(|dialling| &dialling.branches);
        match &branches.into_iter().find(|branch| branch.sip == Some(leg))?.now.party {
            Party::Station(station) => Some(station),
            Party::Peer { .. } | Party::Joined(_) => None,
        }
    }

    /// A REFER came.
    pub(super) fn referred(&mut self, leg: LegId, refer_to: &str, context: &mut Context<'_>) {
        let station = self.station_at(leg).cloned();
        let station =
            station.ok_or_else(|| (403, "only phones of agents may hand a call on by REFER".to_owned()));
        let target = station.and_then(|station| {
            let target = self.refer_target((leg, &station), refer_to, context)?;
            Ok((target, station))
        });
        match target {
            Ok((Target::Rings(whom), station)) => {
                self.hand_over((leg, station), Some(leg), vec![whom], context);
            }
            Ok((Target::Enters(flow, number), station)) => {
                self.enter((leg, station), Some(leg), (flow, number), context);
            }
            Err((code, because)) => context.effects.push(Effect::RejectRefer { leg, code, because }),
        }
    }

    /// Whom a REFER names, by the rules of the phone that sent it: its URI is never followed as it stands.
    pub(super) fn refer_target(
        &self,
        (leg, station): (LegId, &StationId),
        refer_to: &str,
        context: &Context<'_>,
    ) -> Result<Target, (u16, String)> {
        if !self.is_joined_with(leg) {
            return Err((403, "nobody is connected who could be handed on".into()));
        }
        let world = context.environment.world;
        let dialler = Dialler::of(world, station).ok_or_else(|| (403, format!("{station} is gone")))?;
        let uri = Uri::parse(refer_to.as_bytes()).map_err(|bad| (400, format!("the Refer-To {bad}")))?;
        let domain = world.snapshot.cluster.domains.first().unwrap_or(&world.snapshot.cluster.code);
        let destination = dialling::resolve(world, dialler, (&uri, domain));
        Ok(Target::Rings(match destination.map_err(|refusal| (refusal.code, refusal.because))? {
            Destination::Emergency(emergency) => Whom::Emergency(emergency),
            Destination::Station(station) => Whom::Station(station),
            Destination::Agent(agent) => Whom::Target(DialTarget::Agent(agent)),
            Destination::Number(number) => {
                let trunks = dialler.rules.map(|rules| rules.trunks.clone()).unwrap_or_default();
                Whom::Target(DialTarget::Number { number, trunks, caller_id: dialler.number() })
            }
            Destination::Own(_, range) => {
                let flow = world.flow(&range.flow);
                let missing =
                    || (500, format!("RoutingFlow {} of PhoneNumber {} is missing", range.flow, range.id));
                return Ok(Target::Enters(Arc::clone(flow.ok_or_else(missing)?), range.first));
            }
        }))
    }

    /// The contact goes on in the flow of a number of the tenant, and the phone is done.
    pub(super) fn enter(
        &mut self,
        who: (LegId, StationId),
        told: Option<LegId>,
        (flow, number): (Arc<Flow>, E164),
        context: &mut Context<'_>,
    ) {
        if !self.part(who, told) {
            return;
        }
        self.end_hold(context);
        context.effects.extend(told.map(|leg| Effect::AcceptRefer { leg }));
        context.effects.push(Effect::Media(Order::Unbridge { leg: self.a.media.id }));
        self.handed_on(context);
        self.queueing = None;
        let facts = Facts { call_number: number.to_string(), ..self.cursor.facts().clone() };
        let cursor = std::mem::replace(&mut self.cursor, Cursor::new(flow, facts));
        self.earlier.extend(cursor.path().iter().cloned().zip(cursor.path_at().iter().copied()));
        self.incoming.placement = None;
        let actions = self.cursor.begin(context.environment);
        self.perform(actions, context);
    }

    /// Whether a leg is one of two that talk.
    pub(super) fn is_joined_with(&self, leg: LegId) -> bool {
        let joined = self.dialling.as_ref().filter(|dialling| dialling.joined.is_some());
        let free = self.ending.is_none() && self.handover.is_none() && self.a.state == StateA::Answered;
        let branch = joined.and_then(|dialling| dialling.branches.first()).filter(|_| free);
        branch.is_some_and(|branch| leg == self.incoming.leg || branch.sip == Some(leg))
    }

    /// Whom the call rings that a phone has made. Empty: it is another, or has been answered.
    #[must_use]
    pub fn rung(&self) -> Vec<Whom> {
        let rings = self.dialling.as_ref().is_some_and(|dialling| dialling.joined.is_none());
        let placement = self.incoming.placement.as_ref().filter(|_| rings && self.ending.is_none());
        placement.map(|placement| placement.targets.clone()).unwrap_or_default()
    }

    /// Whom it rings is rung by the call with Call-ID `into` from now on.
    pub fn yield_to(&mut self, into: &str, context: &mut Context<'_>) {
        self.incoming.part_of = Some(into.to_owned());
        self.finish(EndedBy::Caller, 487, None, context);
    }

    /// A phone hands its contact on to whom another call of its has rung.
    pub fn hand_on(&mut self, leg: LegId, targets: Vec<Whom>, context: &mut Context<'_>) {
        if let Some(station) = self.station_at(leg).cloned() {
            self.hand_over((leg, station), Some(leg), targets, context);
        }
    }

    /// The phone at a leg does so, and is told at another how it goes; or its agent does at the desk.
    pub(super) fn hand_over(
        &mut self,
        who: (LegId, StationId),
        told: Option<LegId>,
        targets: Vec<Whom>,
        context: &mut Context<'_>,
    ) {
        if self.part(who, told) {
            self.end_hold(context);
            context.effects.extend(told.map(|leg| Effect::AcceptRefer { leg }));
            context.effects.push(Effect::Media(Order::Unbridge { leg: self.a.media.id }));
            self.play_while_handed_on(context);
            self.dial_whom(rings(), targets, context);
        }
    }

    /// Takes the phone out of the conversation, to be told at `told` how it goes on. False: it was in none.
    pub(super) fn part(&mut self, (leg, station): (LegId, StationId), told: Option<LegId>) -> bool {
        if leg == self.incoming.leg {
            self.turn_round();
        }
        let Some(mut dialling) = self.dialling.take() else { return false };
        let Some(place) = dialling.branches.iter().position(|branch| branch.sip == Some(leg)) else {
            self.dialling = Some(dialling);
            return false;
        };
        let referrer = Some(dialling.branches.remove(place));
        let original = dialling.dial;
        self.handover =
            Some(Box::new(Handover { station, referrer, told, original, recalls: false, consult: None }));
        true
    }

    /// Who called becomes the callee, and who was called the A leg.
    pub(super) fn turn_round(&mut self) {
        let Some(branch) = self.dialling.as_mut().and_then(|dialling| dialling.branches.first_mut()) else {
            return;
        };
        let Some(sip) = branch.sip else { return };
        branch.sip = Some(std::mem::replace(&mut self.incoming.leg, sip));
        // Whom it has turned to before is not who was called first, and nobody has said the number.
        let number = if self.has_turned { String::new() } else { self.incoming.to.clone() };
        self.cursor.is_for(number);
        self.has_turned = true;
        // What the other wanted to know is not known of this one.
        self.incoming.is_record_aware = false;
        std::mem::swap(&mut self.a.media, &mut branch.media);
        std::mem::swap(&mut self.incoming.network, &mut branch.now.network);
        std::mem::swap(&mut self.incoming.terms, &mut branch.now.terms);
        let caller = match self.a.station.take() {
            Some(station) => Party::Station(station),
            None => Party::Joined(format!("caller {}", self.incoming.from)),
        };
        if let Party::Station(station) = std::mem::replace(&mut branch.now.party, caller) {
            self.a.station = Some(station);
        }
        if let Some(dialling) = &mut self.dialling {
            dialling.joined = dialling.branches.first().map(|branch| branch.media.id);
        }
        (self.a.answer, self.a.reoffered) = (None, false);
    }

    /// Tells the phone how it goes with whom it named.
    pub(super) fn tell_referrer(&self, code: u16, is_final: bool, context: &mut Context<'_>) {
        let told =
            self.handover.as_ref().filter(|handover| !handover.recalls).and_then(|handover| handover.told);
        context.effects.extend(told.map(|leg| Effect::NotifyRefer { leg, code, is_final }));
    }

    /// Somebody has taken the contact.
    pub(super) fn handed_on(&mut self, context: &mut Context<'_>) {
        self.tell_referrer(200, true, context);
        let Some(handover) = self.handover.take() else { return };
        if let Some(queueing) = &mut self.queueing {
            queueing.hand_on();
        }
        if let Some(dialling) = &mut self.dialling {
            dialling.dial = handover.original;
        }
        if !mutant!(ReferrerStays) {
            end(handover.referrer, context);
        }
    }

    /// Nobody has: the phone has the contact back, or is rung again.
    pub(super) fn handover_failed(
        &mut self,
        mut handover: Box<Handover>,
        (outcome, code): (Dialled, u16),
        context: &mut Context<'_>,
    ) {
        if handover.consult.is_some() {
            let told = self.consult_over(&handover, (outcome, code), context);
            context.effects.extend(told.map(Effect::Desk));
            handover.consult = None;
        } else if !handover.recalls {
            context.effects.push(match handover.told {
                Some(leg) => Effect::NotifyRefer { leg, code, is_final: true },
                None => Effect::Desk(DeskNews::Refused {
                    agent: handover.station.agent.clone(),
                    because: format!("nobody took the contact, who is back with you ({code})"),
                }),
            });
        }
        let Some(mut handover) = self.rejoin(handover, context) else { return };
        if !handover.recalls {
            let agent = Whom::Target(DialTarget::Agent(handover.station.agent.clone()));
            self.tell(format!("nobody took the contact, so {} is rung again", handover.station), context);
            handover.recalls = true;
            self.handover = Some(handover);
            self.play_while_handed_on(context);
            return self.dial_whom(rings_for(RECALL_MS), vec![agent], context);
        }
        // The step that brought contact and agent together ends as if the agent had never answered.
        self.dialling = Some(Dialling {
            dial: handover.original,
            targets: Vec::new(),
            next_target: 0,
            branches: Vec::new(),
            joined: None,
            failure: (outcome, code),
        });
        self.conclude(if outcome == Dialled::Ended { Dialled::NoAnswer } else { outcome }, 480, context);
    }

    /// Something happened at the leg of the phone that hands on.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what the call did not ask for changes nothing")]
    pub(super) fn on_referrer(&mut self, leg: LegId, event: SipEvent, context: &mut Context<'_>) {
        let Some(handover) = &mut self.handover else { return };
        let Some(branch) = handover.referrer.as_mut().filter(|branch| branch.sip == Some(leg)) else {
            return;
        };
        match event {
            SipEvent::Reinvited { sdp, .. } => reinvited(leg, &mut branch.media, sdp.as_deref(), context),
            SipEvent::Ended { .. } => {
                if let Some(branch) = handover.referrer.take() {
                    context.effects.push(Effect::Media(Order::Release { leg: branch.media.id }));
                }
                // Who asks somebody back and hangs up hands on.
                self.complete(context);
            }
            _ => {}
        }
    }

    /// The end of the call is the end of whoever else waits in it.
    pub(super) fn drop_others(&mut self, context: &mut Context<'_>) {
        self.end_supervision(context);
        self.tell_referrer(487, true, context);
        if let Some(handover) = self.handover.take() {
            end(handover.referrer, context);
        }
        if let Some(joiner) = self.joiner.take() {
            context.effects.push(Effect::Reject { leg: joiner.sip, code: 487, headers: Vec::new() });
            context.effects.push(Effect::Media(Order::Release { leg: joiner.media.id }));
        }
    }

    /// Lets whoever talks to the phone at `leg` go, still connected, and ends: the call with Call-ID `into` takes them. None:
    /// nobody does.
    pub fn let_go(&mut self, leg: LegId, into: &str, context: &mut Context<'_>) -> Option<Connected> {
        if !self.is_joined_with(leg) {
            return None;
        }
        if leg == self.incoming.leg {
            self.turn_round();
        }
        // The other one is the A leg now; it stays up, and so is no longer ours.
        let sip = std::mem::replace(&mut self.incoming.leg, NOBODY);
        let party = match self.a.station.take() {
            Some(station) => Party::Station(station),
            None => Party::Joined(format!("whoever talked to {}", self.incoming.from)),
        };
        let (network, mut terms) = (self.incoming.network.clone(), self.incoming.terms.clone());
        terms.keying = self.a.media.keying().unwrap_or(terms.keying);
        let is_protected = self.a.media.is_protected();
        self.a.state = StateA::Over;
        self.incoming.part_of = Some(into.to_owned());
        self.finish(EndedBy::Caller, 200, None, context);
        Some(Connected { sip, party, network, terms, is_protected })
    }

    /// Puts somebody of another call in the place of the phone at `leg`, which is told so at `told`.
    pub fn take_in(&mut self, leg: LegId, told: Option<LegId>, whom: Connected, context: &mut Context<'_>) {
        let station = self.station_at(leg).cloned();
        if !station.is_some_and(|station| self.part((leg, station), told)) {
            return context.effects.push(Effect::Bye { leg: whom.sip, reason: None });
        }
        self.end_hold(context);
        context.effects.push(Effect::Media(Order::Unbridge { leg: self.a.media.id }));
        let branch = self.connected_branch(whom, context);
        self.dialling = Some(Dialling {
            dial: rings(),
            targets: Vec::new(),
            next_target: 0,
            branches: vec![branch],
            joined: None,
            failure: (Dialled::Failed, 480),
        });
    }

    /// Somebody of another call is told where their audio goes from now on.
    pub(super) fn reinvite(&mut self, media: LegId, leg: LegId, context: &mut Context<'_>) {
        let Some(branch) = self.branch(media) else { return };
        if !branch.media.is_agreed() {
            branch.media.offer_keys(!branch.plain);
        }
        if let Some(sdp) = branch.media.offer() {
            context.effects.push(Effect::Reinvite { branch: media, leg, sdp });
        }
    }

    /// They agree.
    pub(super) fn rejoined(&mut self, media: LegId, sdp: Option<&[u8]>, context: &mut Context<'_>) {
        let Some(branch) = self.branch(media) else { return };
        if sdp.is_none_or(|sdp| branch.media.accept(sdp).is_err()) {
            return self.not_rejoined(media, 488, context);
        }
        configure(&branch.media, context);
        // Only its port was another: whoever answered has not pressed the key yet.
        if branch.confirming.is_some() {
            return;
        }
        if let Some(dialling) = &mut self.dialling {
            dialling.joined = Some(media);
        }
        if self.a.state == StateA::Outgoing {
            return self.caller_answered(context);
        }
        self.handed_on(context);
        self.agent_answered(context);
        self.join(context);
    }

    /// They do not: what they heard is gone, so they are let go.
    pub(super) fn not_rejoined(&mut self, media: LegId, code: u16, context: &mut Context<'_>) {
        let offered = self.queueing.as_ref().is_some_and(|queueing| queueing.is_rung());
        if self.handover.is_some() || offered || self.a.state == StateA::Outgoing {
            self.branch_failed(media, (Dialled::Failed, code), context);
        }
    }

    pub(super) fn stop_ringing_tone(&mut self, context: &mut Context<'_>) {
        if self.playing.take_if(|(_, then)| *then == AfterPlay::Ring).is_some() {
            context.effects.push(Effect::Media(Order::StopPlay { leg: self.a.media.id }));
        }
    }
}

pub(super) fn end(branch: Option<Branch>, context: &mut Context<'_>) {
    let Some(branch) = branch else { return };
    if let Some(leg) = branch.sip {
        context.effects.push(Effect::Forget { leg });
        context.effects.push(Effect::Bye { leg, reason: None });
    }
    if branch.media.is_known() {
        context.effects.push(Effect::Media(Order::Release { leg: branch.media.id }));
    }
}
