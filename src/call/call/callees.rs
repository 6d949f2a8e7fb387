//! The other side of a call: whom a `dial` or a `transfer` rings, what comes of each, and who is joined.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use model::{
    LegId,
    media::{Codec, Order, RINGING_TONE},
    program::{Dial, DialStrategy, DialTarget},
};
use sip::{
    endpoint::{Ended, Event as SipEvent},
    wire::Message,
};

use super::{AfterPlay, Call, Context, Effect, StateA, Waiting, configure, reinvited};
use crate::{
    caller::Caller,
    cursor::Dialled,
    dial::{self, Branch, CANCEL_WAIT, Dialling, Leaving, SILENT_PEER, SLOW_PEER, Then, Try},
    health::Heard,
    record::EndedBy,
    sdp_leg::{MediaLeg, Ports},
};

/// Q.850: switching equipment congestion.
const CONGESTION: u8 = 42;

impl Call {
    pub(super) fn dial(&mut self, dial: Box<Dial>, context: &mut Context<'_>) {
        self.allocate_a(context);
        let simultaneous = dial.strategy == DialStrategy::Simultaneous;
        let targets = dial.targets.len();
        let failure = (Dialled::Failed, 480);
        self.dialling = Some(Dialling { dial, next_target: 0, branches: Vec::new(), joined: None, failure });
        let rounds = if simultaneous { targets } else { 1 };
        for _ in 0..rounds {
            self.ring_next(context);
        }
        self.conclude_if_done(context);
    }

    /// Rings the next target that can be reached at all.
    pub(super) fn ring_next(&mut self, context: &mut Context<'_>) {
        let world = context.environment.world;
        loop {
            let Some(dialling) = &mut self.dialling else { return };
            let Some(target) = dialling.dial.targets.get(dialling.next_target) else { return };
            dialling.next_target += 1;
            let admitted = &self.incoming.admitted;
            let caller = Caller {
                number: &self.incoming.from,
                dialled: admitted.dialled,
                tenant: admitted.number.id.0.namespace(),
                diverted: &self.incoming.diverted,
                verstat: self.incoming.vetted.verstat,
                identities: &self.incoming.vetted.identities,
            };
            if matches!(target, DialTarget::Agent(_)) {
                dialling.failure = (Dialled::Failed, 480);
                self.unperformed("ringing an Agent", context);
                continue;
            }
            let mut ways = dial::ways(world, target, caller, context.trunks, &mut self.incoming.lots);
            let now = ways.tries.pop_front();
            if now.is_none() {
                dialling.failure = (Dialled::Failed, 503);
            }
            for what in ways.told {
                self.tell(what, context);
            }
            if let Some(now) = now {
                let rings = context.environment.now.instant + self.ring_time();
                return self.ring(now, ways.tries, rings, context);
            }
        }
    }

    fn ring_time(&self) -> Duration {
        let ring_ms = self.dialling.as_ref().map_or(0, |dialling| dialling.dial.ring_ms);
        Duration::from_millis(u64::from(ring_ms))
    }

    fn ring(&mut self, now: Try, tries: VecDeque<Try>, ring_until: Instant, context: &mut Context<'_>) {
        let id = LegId(self.fresh_id());
        let codecs = self.preferred(&now.codecs);
        let Some(dialling) = &mut self.dialling else { return };
        let network = now.network.clone();
        let mut media = MediaLeg::new(id, codecs);
        media.ports = Ports::Asked;
        dialling.branches.push(Branch {
            media,
            sip: None,
            now,
            tries,
            rang: false,
            answered: false,
            ring_until,
            silent_until: None,
            asked_at: None,
            redirections: 0,
            goes_on: false,
            leaving: None,
        });
        self.unreleased += 1;
        context.effects.push(Effect::Media(Order::Allocate { leg: id, network }));
    }

    /// The A leg's codec first: equal codecs are relayed as they are.
    pub(super) fn preferred(&self, codecs: &[Codec]) -> Vec<Codec> {
        let mut codecs = codecs.to_vec();
        let agreed = self.a.media.parameters.as_ref().map(|parameters| parameters.codec);
        let spoken = agreed.or(self.incoming.spoken);
        codecs.sort_by_key(|codec| Some(*codec) != spoken);
        codecs
    }

    pub(super) fn invite(&mut self, media: LegId, context: &mut Context<'_>) {
        let max_forwards = self.incoming.max_forwards;
        let Some(branch) = self.branch(media) else { return };
        let more = !branch.tries.is_empty();
        branch.asked_at = Some(context.environment.now.instant);
        branch.silent_until = more.then(|| context.environment.now.instant + SILENT_PEER);
        if let Some(invite) = branch.invite(max_forwards) {
            let (trunk, claim) = (branch.now.trunk.clone(), branch.now.claim.clone());
            context.effects.push(Effect::Invite { branch: media, trunk, invite: Box::new(invite), claim });
        }
    }

    /// The INVITE of the present try could not be sent: the next trunk may have room.
    pub(super) fn not_sent(&mut self, media: LegId, because: String, context: &mut Context<'_>) {
        self.tell(because, context);
        let Some(branch) = self.branch(media) else { return };
        let full = branch.now.trunk.clone();
        branch.tries.retain(|next| next.trunk != full);
        self.try_on(media, (Dialled::Failed, 503), context);
    }

    /// The next try of a target, or the failure of the last one.
    fn try_on(&mut self, media: LegId, failure: (Dialled, u16), context: &mut Context<'_>) {
        let Some(branch) = self.branch(media) else { return };
        let Some(next) = branch.tries.pop_front() else {
            return self.branch_failed(media, failure, context);
        };
        // Ports and codecs are those of a network and a trunk.
        if next.network == branch.now.network && next.codecs == branch.now.codecs {
            branch.now = next;
            return self.invite(media, context);
        }
        let (tries, ring_until) = (std::mem::take(&mut branch.tries), branch.ring_until);
        self.drop_branches(|branch| branch.media.id == media, context);
        self.ring(next, tries, ring_until, context);
    }

    /// The leg's end comes next.
    fn redirected(&mut self, media: LegId, response: &Message, context: &mut Context<'_>) {
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
        let dialling = self.dialling.as_mut()?;
        dialling.branches.iter_mut().find(|branch| branch.media.id == media)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what the call did not ask for changes nothing")]
    pub(super) fn on_b(&mut self, leg: LegId, event: SipEvent, context: &mut Context<'_>) {
        let Some(dialling) = &mut self.dialling else { return };
        let Some(branch) = dialling.branches.iter_mut().find(|branch| branch.sip == Some(leg)) else {
            return;
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
            SipEvent::Answered { sdp, .. } => self.b_answered(media, sdp.as_deref(), context),
            SipEvent::Reinvited { sdp, .. } => reinvited(leg, &mut branch.media, sdp.as_deref(), context),
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
        let single = self.dialling.as_ref().is_some_and(|dialling| dialling.branches.len() == 1);
        let Some(branch) = self.branch(media) else { return };
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
                self.play_on(vec![RINGING_TONE], AfterPlay::Ring, context);
            }
            StateA::Answered | StateA::Early | StateA::AwaitsAnswer | StateA::Over => {}
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
        if !agreed {
            if let Some(leg) = branch.sip.take() {
                context.effects.push(Effect::Forget { leg });
                let reason = Some("SIP;cause=488;text=\"The answer does not fit the offer\"".into());
                context.effects.push(Effect::Bye { leg, reason });
            }
            return self.branch_failed(media, (Dialled::Failed, 488), context);
        }
        branch.answered = true;
        context.effects.push(Effect::Heard { who: branch.now.who(), heard: Heard::Answered(200) });
        configure(&branch.media, context);
        if let Some(dialling) = &mut self.dialling {
            dialling.joined = Some(media);
        }
        self.drop_branches(|branch| branch.media.id != media, context);
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
        self.playing = None;
        let Some(dialling) = &self.dialling else { return };
        if let Some(branch) = dialling.branches.first() {
            context.effects.push(Effect::Media(Order::Bridge { a: self.a.media.id, b: branch.media.id }));
        }
    }

    pub(super) fn b_ended(&mut self, media: LegId, how: &Ended, context: &mut Context<'_>) {
        let Some(branch) = self.branch(media) else { return };
        branch.sip = None;
        if branch.answered {
            self.waiting = None;
            self.drop_branches(|_| true, context);
            return self.conclude(Dialled::Ended, 200, context);
        }
        if let Some(leaving) = branch.leaving.take() {
            return self.left(media, &leaving.then, context);
        }
        let trunk = context.environment.world.snapshot.trunks.get(&branch.now.trunk);
        let codes = trunk.map(|trunk| trunk.failover_codes.as_slice()).unwrap_or_default();
        let goes_on = std::mem::take(&mut branch.goes_on) || dial::may_try_another(branch.rang, how, codes);
        let told = format!("{} {}", branch.now, dial::told(how));
        if let Some(heard) = dial::heard(how) {
            context.effects.push(Effect::Heard { who: branch.now.who(), heard });
        }
        self.tell(told, context);
        if goes_on {
            return self.try_on(media, dial::outcome_of(how), context);
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
        self.drop_branches(|branch| branch.media.id == media, context);
        let Some(dialling) = &mut self.dialling else { return };
        dialling.failure = failure;
        if dialling.joined.is_some() {
            return;
        }
        if dialling.dial.strategy == DialStrategy::InOrder {
            self.ring_next(context);
        }
        self.conclude_if_done(context);
    }

    pub(super) fn conclude_if_done(&mut self, context: &mut Context<'_>) {
        let Some(dialling) = &self.dialling else { return };
        if dialling.branches.is_empty() && dialling.next_target >= dialling.dial.targets.len() {
            let (outcome, code) = dialling.failure;
            self.conclude(outcome, code, context);
        }
    }

    pub(super) fn conclude(&mut self, outcome: Dialled, code: u16, context: &mut Context<'_>) {
        let Some(dialling) = self.dialling.take() else { return };
        if self.playing.take_if(|(_, then)| *then == AfterPlay::Ring).is_some() {
            context.effects.push(Effect::Media(Order::StopPlay { leg: self.a.media.id }));
        }
        if matches!(self.waiting, Some(Waiting::Join | Waiting::JoinEarly)) {
            self.waiting = None;
        }
        if outcome != Dialled::Ended && dialling.dial.relay_failure {
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

    /// Ends branches and gives their ports back.
    pub(super) fn drop_branches(&mut self, which: impl Fn(&Branch) -> bool, context: &mut Context<'_>) {
        let Some(dialling) = &mut self.dialling else { return };
        let (gone, kept) =
            std::mem::take(&mut dialling.branches).into_iter().partition(|branch| which(branch));
        dialling.branches = kept;
        let gone: Vec<Branch> = gone;
        for branch in gone {
            if let Some(leg) = branch.sip {
                context.effects.push(Effect::Forget { leg });
                let end =
                    if branch.answered { Effect::Bye { leg, reason: None } } else { Effect::Cancel { leg } };
                context.effects.push(end);
            }
            if branch.media.is_known() {
                context.effects.push(Effect::Media(Order::Release { leg: branch.media.id }));
            }
        }
    }

    pub(super) fn ring_timeouts(&mut self, now: Instant, context: &mut Context<'_>) {
        let Some(dialling) = &self.dialling else { return };
        let ringing = dialling.branches.iter().filter(|branch| !branch.answered);
        let due = ringing.filter(|branch| branch.deadline().is_some_and(|at| at <= now));
        let due: Vec<LegId> = due.map(|branch| branch.media.id).collect();
        for media in due {
            self.ring_timeout(media, now, context);
        }
    }

    fn ring_timeout(&mut self, media: LegId, now: Instant, context: &mut Context<'_>) {
        let in_order = |dialling: &Dialling| {
            dialling.dial.strategy == DialStrategy::InOrder
                && dialling.next_target < dialling.dial.targets.len()
        };
        let more_targets = self.dialling.as_ref().is_some_and(in_order);
        let Some(branch) = self.branch(media) else { return };
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
        context.effects.push(Effect::Cancel { leg });
        if !rang_out {
            context.effects.push(Effect::Heard { who, heard: Heard::Silent });
            self.tell(told, context);
        }
    }
}
