//! A telephone of an agent that is rung once and kept up between contacts (telephony 2): a call of its own, which hears nothing until
//! a contact comes. Then it hears a tone and the name of the queue, and its leg goes to the contact's call; after the conversation
//! it comes back. The telephone is told by re-INVITEs where its audio goes, and never rings.

use std::time::{Duration, Instant};

use model::{
    AgentId, CallId, LegId, PlayId, QueueId,
    media::{BEEP_TONE, Order},
};
use sip::endpoint::{Ended, Event as SipEvent};

use super::{Call, Connected, Context, Effect, Environment, Incoming, NOBODY, StateA, handover};
use crate::{
    cursor::Dialled,
    dial::{Branch, Dialling, Party, Try, Whom},
    record::EndedBy,
    registrar::StationId,
    sdp_leg::MediaLeg,
};

/// How long it may ring, in milliseconds.
const RING_MS: u32 = 30_000;

/// How long it is kept up before it is rung anew.
const KEPT_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How often a telephone that comes back is told so, and how long the next time is waited for: something else may be under way.
const TRIES_MAX: u8 = 5;
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The language of an agent where neither it nor its tenant names one.
const LANGUAGE: &str = "en-US";

/// A telephone that is kept up.
#[derive(Debug)]
pub(super) struct Standing {
    agent: AgentId,
    stage: Stage,
    next: Option<Next>,
    /// Whether its audio is not protected.
    plain: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Rings,
    Idle,
    /// Its leg is in another call.
    Lent,
    /// It comes back: whether it is being told so, how often it was, and when it is again.
    Returns {
        told: bool,
        tries: u8,
        again: Option<Instant>,
    },
}

/// A contact that is offered.
#[derive(Debug)]
struct Next {
    call: CallId,
    name: String,
    language: String,
    said: Said,
    accepted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    Tone(PlayId),
    Name(PlayId),
    All,
}

/// What becomes of a telephone that is kept up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandingNews {
    /// It is up, and with no contact.
    Up,
    /// It may go to this contact.
    Ready(CallId),
    /// It is not up any more.
    Down(StandingEnd),
}

/// Why a telephone is kept up no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandingEnd {
    /// It rang, and nobody was there.
    Unanswered,
    /// It could not be rung.
    Unreached,
    /// The agent hung up.
    HungUp,
    /// It was lost.
    Lost,
    /// We let it go.
    LetGo,
}

impl Call {
    /// A telephone that is to be kept up; [`ring_standing`](Self::ring_standing) rings it.
    #[must_use]
    pub fn standing(id: CallId, incoming: Incoming, environment: Environment<'_>, agent: AgentId) -> Self {
        let mut call = Self::new(id, incoming, environment);
        (call.a.state, call.is_outgoing) = (StateA::Outgoing, true);
        call.ends_by = environment.now.instant + KEPT_MAX;
        call.standing = Some(Box::new(Standing { agent, stage: Stage::Rings, next: None, plain: false }));
        call
    }

    /// Rings it.
    pub fn ring_standing(&mut self, context: &mut Context<'_>) {
        let Some(standing) = &self.standing else { return };
        let whom = Whom::Standing(standing.agent.clone());
        self.dial_whom(handover::rings_for(RING_MS), vec![whom], context);
    }

    /// The telephone that it is.
    #[must_use]
    pub const fn standing_station(&self) -> Option<&StationId> {
        self.a.station.as_ref()
    }

    /// It was answered.
    pub(super) fn standing_up(&mut self, context: &mut Context<'_>) {
        let branch = self.dialling.take().and_then(|dialling| dialling.branches.into_iter().next());
        let station = branch.as_ref().and_then(|branch| match &branch.now.party {
            Party::Station(station) => Some(station.clone()),
            // A number of the public network does not say whose it is.
            Party::Peer { .. } | Party::Joined(_) => self.a.station.clone(),
        });
        if !self.become_caller(branch, context) {
            return;
        }
        self.a.station = station;
        self.answered_at = Some(context.environment.now.wall);
        let plain = !self.a.media.is_protected();
        if let Some(standing) = &mut self.standing {
            (standing.stage, standing.plain) = (Stage::Idle, plain);
        }
        context.effects.push(Effect::Standing(StandingNews::Up));
        self.go_on_announcing(context);
    }

    /// Nobody answers it.
    pub(super) fn standing_unanswered(&mut self, code: u16, context: &mut Context<'_>) {
        self.finish(EndedBy::Failure, code, Some("the telephone that is kept up was not answered"), context);
    }

    /// How its end is told.
    pub(super) fn standing_ends(&mut self, by: EndedBy, code: u16, context: &mut Context<'_>) {
        let Some(standing) = &mut self.standing else { return };
        standing.next = None;
        let how = match (standing.stage, by, code) {
            (_, EndedBy::Flow, _) => StandingEnd::LetGo,
            (Stage::Rings, _, 408 | 480 | 486 | 487 | 600 | 603) => StandingEnd::Unanswered,
            (Stage::Rings, ..) => StandingEnd::Unreached,
            (_, EndedBy::Caller, _) => StandingEnd::HungUp,
            (..) => StandingEnd::Lost,
        };
        context.effects.push(Effect::Standing(StandingNews::Down(how)));
    }

    /// Lets it go.
    pub fn end_standing(&mut self, context: &mut Context<'_>) {
        self.finish(EndedBy::Flow, 200, None, context);
    }

    /// Its leg ended while it was in another call.
    pub fn standing_lost(&mut self, how: &Ended, context: &mut Context<'_>) {
        let by = if matches!(how, Ended::Bye { .. }) { EndedBy::Caller } else { EndedBy::Failure };
        self.finish(by, 200, None, context);
    }

    /// A contact of a queue is offered to the agent: the telephone is told so, and says when it may go there, at once or when
    /// the agent says so at the desk.
    pub fn announce(&mut self, call: CallId, (queue, at_once): (&QueueId, bool), context: &mut Context<'_>) {
        let Some(standing) = &mut self.standing else { return };
        let agents = &context.environment.world.snapshot.centre.agents;
        let language = agents.get(&standing.agent).and_then(|agent| agent.languages.first());
        standing.next = Some(Next {
            call,
            name: queue.0.name().replace(['-', '.'], " "),
            language: language.map_or(LANGUAGE, String::as_str).to_owned(),
            said: Said::Nothing,
            accepted: at_once,
        });
        self.go_on_announcing(context);
    }

    /// The agent has accepted at the desk, and need hear no more.
    pub fn accept_next(&mut self, context: &mut Context<'_>) {
        let Some(standing) = &mut self.standing else { return };
        let Some(next) = &mut standing.next else { return };
        if !std::mem::replace(&mut next.accepted, true) && standing.stage == Stage::Idle {
            next.said = Said::All;
            context.effects.push(Effect::Media(Order::StopPlay { leg: self.a.media.id }));
            self.go_on_announcing(context);
        }
    }

    /// The contact is offered no more.
    pub fn forget_next(&mut self, context: &mut Context<'_>) {
        let next = self.standing.as_mut().and_then(|standing| standing.next.take());
        if next.is_some_and(|next| matches!(next.said, Said::Tone(_) | Said::Name(_))) {
            context.effects.push(Effect::Media(Order::StopPlay { leg: self.a.media.id }));
        }
    }

    /// Something was played to it to its end. Whether it is a telephone that is kept up.
    pub(super) fn standing_played(&mut self, play: PlayId, context: &mut Context<'_>) -> bool {
        let Some(standing) = self.standing.as_mut().filter(|standing| standing.stage != Stage::Rings) else {
            return false;
        };
        if standing
            .next
            .as_ref()
            .is_some_and(|next| [Said::Tone(play), Said::Name(play)].contains(&next.said))
        {
            self.go_on_announcing(context);
        }
        true
    }

    fn go_on_announcing(&mut self, context: &mut Context<'_>) {
        let (play, leg) = (PlayId(self.fresh_id()), self.a.media.id);
        let tenant = self.incoming.admitted.tenant.clone();
        let Some(standing) = self.standing.as_mut().filter(|standing| standing.stage == Stage::Idle) else {
            return;
        };
        let Some(next) = &mut standing.next else { return };
        let order = match next.said {
            Said::Nothing => {
                next.said = Said::Tone(play);
                Order::Play { leg, play, audio: vec![BEEP_TONE], times: Some(1) }
            }
            Said::Tone(_) => {
                next.said = Said::Name(play);
                let (text, language) = (next.name.clone(), next.language.clone());
                Order::Say { leg, play, text, language, tenant }
            }
            Said::Name(_) | Said::All => {
                next.said = Said::All;
                if next.accepted {
                    let ready = StandingNews::Ready(next.call);
                    standing.next = None;
                    context.effects.push(Effect::Standing(ready));
                }
                return;
            }
        };
        context.effects.push(Effect::Media(order));
    }

    /// Its leg goes to another call. None: it is with no contact just now.
    pub fn lend(&mut self, context: &mut Context<'_>) -> Option<Connected> {
        let idle = |standing: &&mut Box<Standing>| standing.stage == Stage::Idle;
        let station = self.a.station.clone()?;
        let standing = self.standing.as_mut().filter(idle).filter(|_| self.ending.is_none())?;
        (standing.stage, standing.next) = (Stage::Lent, None);
        let mut terms = self.incoming.terms.clone();
        terms.keying = self.a.media.keying().unwrap_or(terms.keying);
        let sip = std::mem::replace(&mut self.incoming.leg, NOBODY);
        let network = self.incoming.network.clone();
        let is_protected = self.a.media.is_protected();
        context.effects.push(Effect::Media(Order::Release { leg: self.a.media.id }));
        let id = LegId(self.fresh_id());
        self.a.media = MediaLeg::new(id, terms.clone(), self.incoming.keys.clone());
        self.a.state = StateA::Over;
        Some(Connected { sip, party: Party::Station(station), network, terms, is_protected })
    }

    /// It comes back.
    pub fn take_back(&mut self, leg: LegId, context: &mut Context<'_>) {
        let Some(standing) = &mut self.standing else { return };
        standing.stage = Stage::Returns { told: false, tries: 0, again: None };
        (self.incoming.leg, self.a.state) = (leg, StateA::Answered);
        self.unreleased += 1;
        context.effects.push(Effect::Media(self.a.media.allocate(self.incoming.network.clone())));
    }

    /// It has ports, or others: it is told so.
    pub(super) fn tell_standing(&mut self, context: &mut Context<'_>) {
        let (leg, branch) = (self.incoming.leg, self.a.media.id);
        let Some(standing) = &mut self.standing else { return };
        let tries = match standing.stage {
            Stage::Returns { told: true, .. } | Stage::Rings | Stage::Lent => return,
            Stage::Returns { tries, .. } => tries + 1,
            Stage::Idle => 1,
        };
        if tries > TRIES_MAX {
            return self.finish(
                EndedBy::Failure,
                408,
                Some("the telephone could not be told where its audio goes"),
                context,
            );
        }
        standing.stage = Stage::Returns { told: true, tries, again: None };
        if !self.a.media.is_agreed() {
            self.a.media.offer_keys(!standing.plain);
        }
        if let Some(sdp) = self.a.media.offer() {
            context.effects.push(Effect::Reinvite { branch, leg, sdp });
        }
    }

    /// It could not be told now. Whether it is a telephone that is kept up.
    pub(super) fn standing_untold(&mut self, context: &Context<'_>) -> bool {
        let Some(standing) = &mut self.standing else { return false };
        if let Stage::Returns { told, again, .. } = &mut standing.stage {
            (*told, *again) = (false, Some(context.environment.now.instant + TRY_AGAIN));
        }
        true
    }

    /// When it is told again.
    pub(super) fn standing_deadline(&self) -> Option<Instant> {
        match self.standing.as_ref()?.stage {
            Stage::Returns { again, .. } => again,
            Stage::Rings | Stage::Idle | Stage::Lent => None,
        }
    }

    pub(super) fn standing_timeout(&mut self, now: Instant, context: &mut Context<'_>) {
        if self.standing_deadline().is_some_and(|at| at <= now) {
            self.tell_standing(context);
        }
    }

    /// What a telephone that is kept up says to our re-INVITE. Whether it was that.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is as with any caller")]
    pub(super) fn on_standing(&mut self, event: &SipEvent, context: &mut Context<'_>) -> bool {
        let Some(Stage::Returns { told, .. }) = self.standing.as_ref().map(|standing| standing.stage) else {
            return false;
        };
        match event {
            // One that was under way before is over: now it can be told.
            SipEvent::ReinviteAnswered { .. } | SipEvent::ReinviteFailed { .. } if !told => {
                if self.a.media.is_known() {
                    self.tell_standing(context);
                }
            }
            SipEvent::ReinviteAnswered { sdp: Some(sdp), .. } if self.a.media.accept(sdp).is_ok() => {
                super::configure(&self.a.media, context);
                if let Some(standing) = &mut self.standing {
                    standing.stage = Stage::Idle;
                }
                context.effects.push(Effect::Standing(StandingNews::Up));
                self.go_on_announcing(context);
            }
            SipEvent::ReinviteAnswered { .. } | SipEvent::ReinviteFailed { .. } => {
                let because = Some("the telephone does not take its audio back");
                self.finish(EndedBy::Failure, 488, because, context);
            }
            _ => return false,
        }
        true
    }

    // --- the call that it goes to ---

    /// The floor offers the contact to an agent whose telephone is up.
    pub fn offered_standing(&mut self, agent: AgentId, context: &mut Context<'_>) {
        if self.begin_offer(&agent).is_none() {
            context.effects.push(Effect::Floor(Box::new(super::FloorOrder::Decline(agent))));
        }
    }

    /// Whether it is offered to an agent just now.
    #[must_use]
    pub fn is_offered_to(&self, agent: &AgentId) -> bool {
        self.queueing.as_ref().is_some_and(|queueing| queueing.rings(agent))
    }

    /// A telephone that was kept up comes: for the contact that is offered, or to make a call.
    pub fn attach(&mut self, whom: Connected, context: &mut Context<'_>) {
        let offered = self.queueing.as_ref().is_some_and(|queueing| queueing.is_rung());
        let awaited = offered || self.a.state == StateA::Outgoing;
        if !awaited || self.dialling.is_some() || self.ending.is_some() {
            return context.effects.push(Effect::Bye { leg: whom.sip, reason: None });
        }
        let branch = self.connected_branch(whom, context);
        self.dialling = Some(Dialling {
            dial: handover::rings(),
            targets: Vec::new(),
            next_target: 0,
            branches: vec![branch],
            joined: None,
            failure: (Dialled::Failed, 503),
        });
    }

    /// Somebody of another call, connected, as a leg of this one: ports are asked for, and then they are told so.
    pub(super) fn connected_branch(&mut self, whom: Connected, context: &mut Context<'_>) -> Branch {
        let id = LegId(self.fresh_id());
        let mut media = MediaLeg::new(id, self.preferred(&whom.terms), self.incoming.keys.clone());
        let order = media.allocate(whom.network.clone());
        let now = Try::joined(whom.party, whom.network, whom.terms);
        let mut branch = Branch::new(media, now, Default::default(), self.ends_by);
        (branch.sip, branch.answered) = (Some(whom.sip), true);
        branch.plain = !whom.is_protected;
        self.unreleased += 1;
        context.effects.push(Effect::Media(order));
        branch
    }
}
