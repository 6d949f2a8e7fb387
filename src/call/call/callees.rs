//! The other side of a call: whom a `dial` or a `transfer` rings, what comes of each, and who is joined.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use acd::mutant;
use model::{
    AgentId, LegId,
    media::{Codec, Order, Tone},
    program::{Dial, DialStrategy},
};
use sip::{
    endpoint::{Ended, Event as SipEvent},
    wire::Message,
};

use super::{AfterPlay, Call, Context, Effect, StateA, Waiting, configure, reinvited};
use crate::{
    admission::Origin,
    caller::Caller,
    cursor::Dialled,
    dial::{self, Branch, CANCEL_WAIT, Dialling, Leaving, SILENT_PEER, SLOW_PEER, Then, Try, Whom},
    dialling::Dialler,
    health::Heard,
    record::EndedBy,
    sdp_leg::{MediaLeg, Terms},
};

/// Q.850: switching equipment congestion.
const CONGESTION: u8 = 42;

/// Q.850: a normal end, and one that only time has shown.
const NORMAL: u8 = 16;
const TIMER_EXPIRED: u8 = 102;

/// Most phones of one target that ring at once.
pub(super) const FORKS_MAX: usize = 32;

/// Told to phones that rang while another one answered (RFC 3326 §2).
pub(super) const ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";

impl Call {
    pub(super) fn dial(&mut self, dial: Box<Dial>, context: &mut Context<'_>) {
        self.allocate_a(context);
        let targets = match &self.incoming.placement {
            Some(placement) => placement.targets.clone(),
            None => dial.targets.iter().cloned().map(Whom::Target).collect(),
        };
        self.dial_whom(dial, targets, context);
    }

    pub(super) fn dial_whom(&mut self, dial: Box<Dial>, targets: Vec<Whom>, context: &mut Context<'_>) {
        let simultaneous = dial.strategy == DialStrategy::Simultaneous;
        let rounds = if simultaneous { targets.len() } else { 1 };
        let failure = (Dialled::Failed, 480);
        let (branches, joined) = (Vec::new(), None);
        self.dialling = Some(Dialling { dial, targets, next_target: 0, branches, joined, failure });
        for _ in 0..rounds {
            self.ring_next(context);
        }
        self.conclude_if_done(context);
    }

    /// Rings the next target that can be reached at all.
    pub(super) fn ring_next(&mut self, context: &mut Context<'_>) {
        let environment = context.environment;
        let world = environment.world;
        let dials_back = self.dials_back();
        let shows_whom = [false, true].map(|usual| self.shows_whom_it_calls_back(usual));
        loop {
            let Some(dialling) = &mut self.dialling else { return };
            let Some(whom) = dialling.targets.get(dialling.next_target) else { return };
            dialling.next_target += 1;
            let own = |agent: &AgentId| {
                self.queueing.as_ref().is_some_and(|queueing| queueing.rings(agent))
                    || self.handover.as_ref().is_some_and(|handover| handover.station.agent == *agent)
                    || self.a.station.as_ref().is_some_and(|station| station.agent == *agent)
            };
            if let Some(agent) = whom.agent().filter(|agent| !own(agent) && context.trunks.is_engaged(agent))
            {
                dialling.failure = (Dialled::Busy, 486);
                let told = format!("Agent {agent} is in a conversation, or is being offered one");
                self.tell(told, context);
                continue;
            }
            let admitted = &self.incoming.admitted;
            let phone = match &admitted.origin {
                Origin::Station(station) => Dialler::of(world, station),
                Origin::Trunk(_) => None,
            };
            // Who is handed on is shown, not who hands on.
            // So is whom a telephone is to be joined with, where the desk has it rung.
            let handed_on = self.handover.is_some() || self.a.state == StateA::Outgoing;
            let usual = handed_on && (phone.is_some() || self.is_outgoing);
            let number = match shows_whom[usize::from(usual)] {
                true => &self.incoming.to,
                false => &self.incoming.from,
            };
            let shown = phone.filter(|_| !handed_on);
            // Nobody else may have a telephone listen into the room.
            let offered = |agent: &AgentId| self.queueing.as_ref().is_some_and(|it| it.rings(agent));
            let is_expected =
                whom.agent().is_some_and(|agent| offered(agent) || self.a.state == StateA::Outgoing);
            let by = self.handover.as_ref().and_then(|handover| Dialler::of(world, &handover.station));
            let caller = Caller {
                number,
                dialled: admitted.dialled.filter(|_| phone.is_none() && !dials_back),
                phone: shown.map(|phone| (phone.username(), phone.agent.display_name.as_str())),
                referred_by: by.map(|by| by.username()),
                tenant: &admitted.tenant,
                diverted: &self.incoming.diverted,
                verstat: self.incoming.vetted.verstat,
                identities: &self.incoming.vetted.identities,
                is_expected,
            };
            let standing = (context.trunks, environment.now.wall);
            let ways = dial::ways(world, whom, caller, standing, &mut self.incoming.lots);
            // Who has no phone at hand is away; a trunk that is full is our fault.
            dialling.failure = if ways.is_absent { (Dialled::NoAnswer, 480) } else { (Dialled::Failed, 503) };
            for what in ways.told {
                self.tell(what, context);
            }
            let rings = environment.now.instant + self.ring_time();
            let mut any = false;
            for mut tries in ways.forks.into_iter().take(FORKS_MAX) {
                let Some(now) = self.next_way(&mut tries, context) else { continue };
                any = true;
                self.ring(now, tries, rings, context);
            }
            if any {
                return;
            }
        }
    }

    fn ring_time(&self) -> Duration {
        let ring_ms = self.dialling.as_ref().map_or(0, |dialling| dialling.dial.ring_ms);
        Duration::from_millis(u64::from(ring_ms))
    }

    /// The next try that can come to something.
    pub(super) fn next_way(&self, tries: &mut VecDeque<Try>, context: &mut Context<'_>) -> Option<Try> {
        loop {
            let way = tries.pop_front()?;
            if way.terms.contradict() {
                self.tell(format!("{way} must be sent keys of SRTP (srtp: Required), and may not over signalling in the clear: use TLS, or say srtpKeying: Dtls or insecureKeys: Accepted"), context);
            } else if self.preferred(&way.terms).codecs.is_empty() {
                self.tell(
                    format!("{way} has no codec for what the caller speaks, which is only passed on"),
                    context,
                );
            } else {
                return Some(way);
            }
        }
    }

    fn ring(&mut self, now: Try, tries: VecDeque<Try>, ring_until: Instant, context: &mut Context<'_>) {
        if self.dialling.is_none() {
            return;
        }
        let branch = self.new_branch(now, tries, ring_until, context);
        if let Some(dialling) = &mut self.dialling {
            // Mostly there is one, and it lasts as long as the call.
            dialling.branches.reserve_exact(1);
            dialling.branches.push(branch);
        }
    }

    /// Somebody who is about to be rung: ports are asked for.
    pub(super) fn new_branch(
        &mut self,
        now: Try,
        tries: VecDeque<Try>,
        ring_until: Instant,
        context: &mut Context<'_>,
    ) -> Branch {
        let id = LegId(self.fresh_id());
        let terms = self.preferred(&now.terms);
        let mut media = MediaLeg::new(id, terms, self.incoming.keys.clone());
        let order = media.allocate(now.network.clone());
        self.unreleased += 1;
        context.effects.push(Effect::Media(order));
        Branch::new(media, now, tries, ring_until)
    }

    /// The A leg's codec first: equal codecs are relayed as they are. What cannot be decoded has no other.
    pub(super) fn preferred(&self, terms: &Terms) -> Terms {
        let mut terms = terms.clone();
        let agreed = self.a.media.parameters.as_ref().map(|parameters| parameters.codec);
        let spoken = agreed.or(self.incoming.spoken);
        let passed_on = spoken.filter(|codec| !codec.is_decoded());
        terms.codecs.retain(|codec| codec.is_decoded() == passed_on.is_none());
        // An agent whose network loses packets keeps Opus first.
        let first = terms.codecs.first().copied().filter(|first| terms.lossy && *first == Codec::Opus);
        terms.codecs.sort_by_key(|codec| (Some(*codec) != first, Some(*codec) != spoken));
        terms
    }

    pub(super) fn invite(&mut self, media: LegId, context: &mut Context<'_>) {
        let max_forwards = self.incoming.max_forwards;
        let Some(branch) = self.branch(media) else { return };
        let more = !branch.tries.is_empty();
        branch.asked_at = Some(context.environment.now.instant);
        branch.silent_until = more.then(|| context.environment.now.instant + SILENT_PEER);
        let who = branch.now.who();
        branch.plain |= who.is_some_and(|who| context.trunks.speaks_plain(&who));
        if let Some(invite) = branch.invite(max_forwards) {
            let (trunk, is_urgent) = (branch.now.trunk().cloned(), branch.now.is_urgent);
            let claim = branch.now.claim.clone();
            context.effects.push(Effect::Invite {
                branch: media,
                trunk,
                is_urgent,
                invite: Box::new(invite),
                claim,
            });
        }
    }

    /// The INVITE of the present try could not be sent: the next trunk may have room.
    pub(super) fn not_sent(&mut self, media: LegId, because: String, context: &mut Context<'_>) {
        self.tell(because, context);
        let Some(branch) = self.branch(media) else { return };
        let full = branch.now.trunk().cloned();
        branch.tries.retain(|next| next.trunk() != full.as_ref());
        self.try_on(media, (Dialled::Failed, 503), context);
    }

    /// The next try of a target, or the failure of the last one.
    fn try_on(&mut self, media: LegId, failure: (Dialled, u16), context: &mut Context<'_>) {
        let Some(branch) = self.branch(media) else { return };
        let (mut tries, ring_until) = (std::mem::take(&mut branch.tries), branch.ring_until);
        let next = self.next_way(&mut tries, context);
        let Some(branch) = self.branch(media) else { return };
        let Some(next) = next else {
            return self.branch_failed(media, failure, context);
        };
        // Ports and terms are those of a network and a trunk.
        if next.network == branch.now.network && next.terms == branch.now.terms {
            (branch.now, branch.tries, branch.plain) = (next, tries, false);
            return self.invite(media, context);
        }
        if self.is_supervisors(media) {
            let branch = self.new_branch(next, tries, ring_until, context);
            return self.retry_supervisor(media, branch, context);
        }
        self.drop_branches(|branch| branch.media.id == media, None, context);
        self.ring(next, tries, ring_until, context);
    }

    /// The leg's end comes next.
    pub(super) fn redirected(&mut self, media: LegId, response: &Message, context: &mut Context<'_>) {
        let world = context.environment.world;
        let mut lots = self.incoming.lots.clone();
        let Some(branch) = self.branch(media) else { return };
        match dial::redirected(world, branch, response, &mut lots) {
            Ok(()) => branch.goes_on = true,
            Err(because) => self.tell(because, context),
        }
        self.incoming.lots = lots;
    }

    pub(super) fn branch(&mut self, media: LegId) -> Option<&mut Branch> {
        let dialled = self.dialling.iter_mut().flat_map(|dialling| &mut dialling.branches);
        let listening = self.supervision.iter_mut().flat_map(|supervision| &mut supervision.branches);
        dialled.chain(listening).find(|branch| branch.media.id == media)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what the call did not ask for changes nothing")]
    pub(super) fn on_b(&mut self, leg: LegId, event: SipEvent, context: &mut Context<'_>) {
        let Some(dialling) = &mut self.dialling else { return };
        let Some(branch) = dialling.branches.iter_mut().find(|branch| branch.sip == Some(leg)) else {
            return self.on_referrer(leg, event, context);
        };
        let media = branch.media.id;
        match event {
            SipEvent::Progress { .. } | SipEvent::Answered { .. } if branch.leaving.is_some() => {}
            SipEvent::Progress { code, sdp, .. } => {
                branch.rang = true;
                branch.silent_until = None;
                self.progress(media, code, sdp.as_deref(), context);
            }
            SipEvent::Refused { response, .. } if (300..400).contains(&response.code()) => {
                self.redirected(media, &response, context);
            }
            SipEvent::AnswerRefused { .. } => self.answer_refused(leg),
            SipEvent::Answered { sdp, .. } => self.b_answered(media, sdp.as_deref(), context),
            SipEvent::Reinvited { sdp, .. } => reinvited(leg, &mut branch.media, sdp.as_deref(), context),
            SipEvent::ReinviteAnswered { sdp, .. } => self.rejoined(media, sdp.as_deref(), context),
            SipEvent::ReinviteFailed { code, .. } => self.not_rejoined(media, code, context),
            SipEvent::Referred { refer_to, .. } => self.referred(leg, &refer_to, context),
            SipEvent::Info { content_type, body, .. } => self.informed(media, &content_type, &body, context),
            SipEvent::Confirmed { sdp: Some(sdp), .. } if branch.media.accept(&sdp).is_ok() => {
                configure(&branch.media, context);
            }
            SipEvent::Ended { how, .. } => self.b_ended(media, &how, context),
            _ => {}
        }
    }

    /// 18x of a callee: relayed to a caller who is not answered yet.
    pub(super) fn progress(
        &mut self,
        media: LegId,
        code: u16,
        sdp: Option<&[u8]>,
        context: &mut Context<'_>,
    ) {
        self.tell_referrer(code, false, context);
        if self.a.state == StateA::Outgoing || self.consult_rings(media, sdp, context) {
            return;
        }
        // Who waits hears music until the agent is there.
        if self.queueing.as_ref().is_some_and(|queueing| queueing.is_rung()) {
            return;
        }
        let single = self.dialling.as_ref().is_some_and(|dialling| dialling.branches.len() == 1);
        let Some(branch) = self.branch(media) else { return };
        // What a mailbox says is nothing for the caller.
        let single = single && branch.now.confirms.is_none();
        let heard = single && sdp.is_some_and(|sdp| branch.media.accept(sdp).is_ok());
        if heard {
            configure(&branch.media, context);
            return self.join_early(context);
        }
        match self.a.state {
            StateA::Invited => {
                context.effects.push(Effect::Provisional { leg: self.incoming.leg, code, sdp: None });
            }
            // An answered caller hears no 180: the tone is ours to give.
            StateA::Answered if self.playing.is_none() => {
                let tone = self.tone(Tone::Ringback, context);
                self.play_on(vec![tone], AfterPlay::Ring, context);
            }
            StateA::Answered | StateA::Early | StateA::AwaitsAnswer | StateA::Outgoing | StateA::Over => {}
        }
    }

    /// A callee's announcement or own ringing tone is for the caller to hear.
    pub(super) fn join_early(&mut self, context: &mut Context<'_>) {
        let has_offer = self.incoming.offer.is_some() || self.a.answer.is_some();
        if self.a.state == StateA::Invited && !has_offer {
            let leg = self.incoming.leg;
            return context.effects.push(Effect::Provisional { leg, code: 180, sdp: None });
        }
        if self.audible(true, context) {
            self.bridge(context);
        } else {
            self.waiting = Some(Waiting::JoinEarly);
        }
    }

    pub(super) fn b_answered(&mut self, media: LegId, sdp: Option<&[u8]>, context: &mut Context<'_>) {
        let Some(branch) = self.branch(media) else { return };
        let agreed = match sdp {
            Some(sdp) => branch.media.accept(sdp).is_ok(),
            None => branch.media.is_agreed(),
        };
        let (sip, now) = (branch.sip, context.environment.now.wall);
        if !agreed {
            if let Some(leg) = branch.sip.take() {
                self.leg_ended(leg, (488, 88), now);
                context.effects.push(Effect::Forget { leg });
                let reason = Some("SIP;cause=488;text=\"The answer does not fit the offer\"".into());
                context.effects.push(Effect::Bye { leg, reason });
            }
            return self.branch_failed(media, (Dialled::Failed, 488), context);
        }
        branch.answered = true;
        sip.into_iter().for_each(|leg| self.leg_answered(leg, now));
        let Some(branch) = self.branch(media) else { return };
        let who = branch.now.who();
        let is_plain = branch.plain && !branch.media.is_protected();
        context.effects.extend(who.clone().filter(|_| is_plain).map(|who| Effect::SpeaksPlain { who }));
        context.effects.extend(who.map(|who| Effect::Heard { who, heard: Heard::Answered(200) }));
        configure(&branch.media, context);
        match branch.now.confirms {
            Some(_) => self.ask_for_key(media, context),
            None => self.taken(media, context),
        }
        let moved = self
            .branch(media)
            .and_then(|branch| branch.sip.filter(|_| std::mem::take(&mut branch.has_moved)));
        if let Some(sip) = moved {
            self.reinvite(media, sip, context);
        }
    }

    /// Somebody is there.
    pub(super) fn taken(&mut self, media: LegId, context: &mut Context<'_>) {
        if self.is_supervisors(media) {
            return self.supervisor_there(media, context);
        }
        if let Some(dialling) = &mut self.dialling {
            dialling.joined = Some(media);
        }
        self.drop_branches(|branch| branch.media.id != media, Some(ELSEWHERE), context);
        if self.a.state == StateA::Outgoing {
            return self.caller_answered(context);
        }
        self.promise_kept(context.environment.now.wall);
        if self.consulted(media, context) {
            return;
        }
        self.handed_on(context);
        self.agent_answered(context);
        self.join(context);
    }

    pub(super) fn join(&mut self, context: &mut Context<'_>) {
        if self.audible(false, context) {
            self.bridge(context);
        } else {
            self.waiting = Some(Waiting::Join);
        }
    }

    pub(super) fn bridge(&mut self, context: &mut Context<'_>) {
        (self.playing, self.on_hold) = (None, None);
        let Some(dialling) = &self.dialling else { return };
        if let Some(branch) = dialling.branches.first() {
            context.effects.push(Effect::Media(Order::Bridge { a: self.a.media.id, b: branch.media.id }));
        }
    }

    pub(super) fn b_ended(&mut self, media: LegId, how: &Ended, context: &mut Context<'_>) {
        let Some(branch) = self.branch(media) else { return };
        if let Some(leg) = branch.sip.take() {
            let cause = if matches!(how, Ended::Bye { .. }) { NORMAL } else { TIMER_EXPIRED };
            self.leg_ended(leg, (dial::code_of(how), cause), context.environment.now.wall);
        }
        let Some(branch) = self.branch(media) else { return };
        if branch.confirming.is_some() {
            return self.unconfirmed(media, context);
        }
        if branch.answered && self.is_supervisors(media) {
            return self.end_supervision(context);
        }
        let Some(branch) = self.branch(media) else { return };
        if branch.answered {
            self.waiting = None;
            self.drop_branches(|_| true, None, context);
            return self.conclude(Dialled::Ended, 200, context);
        }
        if let Some(leaving) = branch.leaving.take() {
            return self.left(media, &leaving.then, context);
        }
        // Who takes no keys is asked again without, and that only.
        let refused = matches!(how, Ended::Failed { code: 415 | 488, .. }) && !branch.rang && !branch.plain;
        if refused && branch.media.may_be_plain() && branch.media.offered_keys() {
            branch.plain = true;
            let told = format!("{} {}, and is asked again without SRTP", branch.now, dial::told(how));
            self.tell(told, context);
            return self.invite(media, context);
        }
        let trunks = &context.environment.world.snapshot.trunks;
        let trunk = branch.now.trunk().and_then(|id| trunks.get(id));
        let codes = trunk.map(|trunk| trunk.failover_codes.as_slice()).unwrap_or_default();
        let may = match branch.now.is_urgent {
            true => dial::may_try_another_for_help(branch.rang, how),
            false => dial::may_try_another(branch.rang, how, codes),
        };
        let goes_on = std::mem::take(&mut branch.goes_on) || may;
        let told = format!("{} {}", branch.now, dial::told(how));
        if let (Some(heard), Some(who)) = (dial::heard(how), branch.now.who()) {
            context.effects.push(Effect::Heard { who, heard });
        }
        // Who declines at one phone wants no other to go on ringing (RFC 3261 §16.7, step 5).
        let declined = matches!(how, Ended::Failed { code: 600.., .. });
        self.tell(told, context);
        if goes_on {
            return self.try_on(media, dial::outcome_of(how), context);
        }
        if declined
            && !self.is_supervisors(media)
            && let Some(dialling) = &mut self.dialling
            && dialling.joined.is_none()
        {
            let in_order = dialling.dial.strategy == DialStrategy::InOrder;
            self.drop_branches(|branch| in_order && branch.media.id != media, None, context);
        }
        self.branch_failed(media, dial::outcome_of(how), context);
    }

    /// A cancelled try is over, or was waited for long enough.
    fn left(&mut self, media: LegId, then: &Then, context: &mut Context<'_>) {
        match then {
            Then::TryOn => self.try_on(media, (Dialled::NoAnswer, 480), context),
            Then::GiveUp => self.branch_failed(media, (Dialled::NoAnswer, 480), context),
        }
    }

    pub(super) fn branch_failed(&mut self, media: LegId, failure: (Dialled, u16), context: &mut Context<'_>) {
        if self.is_supervisors(media) {
            return self.supervisor_missed(media, failure.1, context);
        }
        self.drop_branches(|branch| branch.media.id == media, None, context);
        let Some(dialling) = &mut self.dialling else { return };
        // Of several phones that rang, the one that was busy says more than those that nobody heard.
        if dialling.failure.0 != Dialled::Busy || failure.0 != Dialled::NoAnswer {
            dialling.failure = failure;
        }
        if dialling.joined.is_some() || !dialling.branches.is_empty() {
            return;
        }
        if dialling.dial.strategy == DialStrategy::InOrder {
            self.ring_next(context);
        }
        self.conclude_if_done(context);
    }

    pub(super) fn conclude_if_done(&mut self, context: &mut Context<'_>) {
        let Some(dialling) = &self.dialling else { return };
        if dialling.branches.is_empty() && dialling.next_target >= dialling.targets.len() {
            let (outcome, code) = dialling.failure;
            self.conclude(outcome, code, context);
        }
    }

    pub(super) fn conclude(&mut self, outcome: Dialled, code: u16, context: &mut Context<'_>) {
        let Some(dialling) = self.dialling.take() else { return };
        self.stop_ringing_tone(context);
        self.end_hold(context);
        if matches!(self.waiting, Some(Waiting::Join | Waiting::JoinEarly)) {
            self.waiting = None;
        }
        if self.a.state == StateA::Outgoing && self.promise.is_none() {
            return self.caller_unanswered(code, context);
        }
        let is_help = self.incoming.placement.as_ref().is_some_and(|placement| placement.is_help);
        if let Some(handover) = self.handover.take() {
            return self.handover_failed(handover, (outcome, code), context);
        }
        if self.dials_back() && outcome != Dialled::Ended {
            return self.contact_unreached(outcome, code, context);
        }
        if self.queueing.is_some() {
            return self.agent_gone(outcome, context);
        }
        if outcome != Dialled::Ended && outcome != Dialled::Busy && is_help {
            return self.apologize(context);
        }
        if outcome != Dialled::Ended && dialling.dial.relay_failure {
            self.callee_failed(outcome, code, context);
            // A 503 shuts the caller's whole trunk to us (RFC 3261 §21.5.4), and only what lies behind us is full.
            return match code {
                503 => {
                    let because = Some("the callee's network takes no more calls");
                    self.finish_for(EndedBy::Callee, (480, CONGESTION), because, context)
                }
                code => self.finish(EndedBy::Callee, code, None, context),
            };
        }
        let actions = self.cursor.dialled(outcome, context.environment);
        self.perform(actions, context);
    }

    /// Nobody can be called for help: whoever can hear it is told by a tone before the refusal.
    pub(super) fn apologize(&mut self, context: &mut Context<'_>) {
        let offered = self.incoming.offer.is_some() || self.a.answer.is_some();
        if !offered || !matches!(self.a.state, StateA::Invited | StateA::Early) {
            return self.unhelped(context);
        }
        if self.audible(true, context) {
            let tone = self.tone(Tone::SpecialInformation, context);
            self.play(vec![tone; 2], AfterPlay::Refuse, context);
        } else if self.ending.is_none() {
            self.waiting = Some(Waiting::Apology);
        }
    }

    pub(super) fn unhelped(&mut self, context: &mut Context<'_>) {
        let because = Some("nobody could be called for help");
        self.finish(EndedBy::Failure, 503, because, context);
    }

    /// Ends branches and gives their ports back.
    pub(super) fn drop_branches(
        &mut self,
        which: impl Fn(&Branch) -> bool,
        reason: Option<&'static str>,
        context: &mut Context<'_>,
    ) {
        let Some(dialling) = &mut self.dialling else { return };
        let (gone, kept) =
            std::mem::take(&mut dialling.branches).into_iter().partition(|branch| which(branch));
        dialling.branches = kept;
        let gone: Vec<Branch> = gone;
        for branch in gone {
            self.drop_branch(branch, reason, context);
        }
    }

    pub(super) fn drop_branch(
        &mut self,
        branch: Branch,
        reason: Option<&'static str>,
        context: &mut Context<'_>,
    ) {
        if let Some(leg) = branch.sip {
            self.leg_ended(leg, (487, NORMAL), context.environment.now.wall);
            context.effects.push(Effect::Forget { leg });
            match branch.answered {
                true if mutant!(LostBye) => {}
                false if mutant!(LostCancel) => {}
                true => context.effects.push(Effect::Bye { leg, reason: None }),
                false => context.effects.push(Effect::Cancel { leg, reason }),
            }
        }
        if branch.media.is_known() && !mutant!(LostRelease) {
            context.effects.push(Effect::Media(Order::Release { leg: branch.media.id }));
        }
    }

    pub(super) fn ring_timeouts(&mut self, now: Instant, context: &mut Context<'_>) {
        let dialled = self.dialling.iter().flat_map(|dialling| &dialling.branches);
        let listening = self.supervision.iter().flat_map(|supervision| &supervision.branches);
        let ringing = dialled.chain(listening).filter(|branch| !branch.is_there());
        let due = ringing.filter(|branch| branch.deadline().is_some_and(|at| at <= now));
        let due: Vec<LegId> = due.map(|branch| branch.media.id).collect();
        for media in due {
            self.ring_timeout(media, now, context);
        }
    }

    fn ring_timeout(&mut self, media: LegId, now: Instant, context: &mut Context<'_>) {
        let in_order = |dialling: &Dialling| {
            dialling.dial.strategy == DialStrategy::InOrder
                && dialling.next_target < dialling.targets.len()
                && dialling.branches.len() == 1
        };
        let more_targets = self.dialling.as_ref().is_some_and(in_order) && !self.is_supervisors(media);
        let Some(branch) = self.branch(media) else { return };
        if branch.confirming.is_some() {
            return self.unconfirmed(media, context);
        }
        if let Some(leaving) = branch.leaving.take() {
            // Should it answer after all, the endpoint acknowledges and ends that dialog by itself.
            if let Some(leg) = branch.sip.take() {
                context.effects.push(Effect::Forget { leg });
            }
            return self.left(media, &leaving.then, context);
        }
        let rang_out = branch.ring_until <= now;
        let patient = branch.asked_at.map(|asked_at| asked_at + SLOW_PEER).filter(|until| *until > now);
        if let (false, Some(until), Some(leg)) = (rang_out, patient, branch.sip)
            && context.trunks.is_proceeding(leg)
        {
            branch.silent_until = Some(until);
            return;
        }
        let waited = branch.asked_at.map_or(SILENT_PEER, |asked_at| now.saturating_duration_since(asked_at));
        let then = if rang_out { Then::GiveUp } else { Then::TryOn };
        let waits = branch.sip.filter(|_| !rang_out || more_targets);
        let Some(leg) = waits else { return self.left(media, &then, context) };
        branch.leaving = Some(Leaving { until: now + CANCEL_WAIT, then });
        let told = format!("{} stayed silent for {} s", branch.now, waited.as_secs());
        let who = branch.now.who();
        context.effects.push(Effect::Cancel { leg, reason: None });
        if !rang_out {
            context.effects.extend(who.map(|who| Effect::Heard { who, heard: Heard::Silent }));
            self.tell(told, context);
        }
    }
}
