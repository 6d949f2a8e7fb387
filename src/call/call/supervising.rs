//! A supervisor listens to an agent's conversation, is heard by the agent alone, or by all: one more leg of the contact's media
//! session, beside whoever else is in it.
//!
//! The supervisor's own telephones ring first, as in a call made at the desk; nobody in the conversation hears anything of that.
//! Who hears whom is found anew after all that happens to the call: who is held hears music, whom the agent asks back is heard
//! as the contact would be. It lasts as long as the agent is in the conversation and the supervisor wants, and leaves the others
//! as they are: a leg that is released is heard by nobody.

use std::time::Duration;

use jiff::Timestamp;
use model::{
    AgentId, LegId, QueueId,
    centre::Agent,
    media::{Hearing, Order, Source},
    program::DialTarget,
};
use sip::endpoint::Event as SipEvent;

use super::{Call, Connected, Context, DeskNews, Effect, Talk, callees::ELSEWHERE, configure, reinvited};
use crate::{
    caller::Caller,
    dial::{self, Branch, Party, Whom},
    engine::CallAct,
    record::{SUPERVISIONS_MAX, Supervised, SupervisionMode},
    registrar::StationId,
};

/// How long the supervisor's telephones may ring.
const RING: Duration = Duration::from_secs(30);

/// The same sentence for a conversation that there is not and for one that is not theirs to hear.
pub const NOTHING_TO_HEAR: &str = "there is no such conversation that you may listen to";

/// A supervisor in a conversation, or about to be.
#[derive(Debug)]
pub(super) struct Supervision {
    supervisor: AgentId,
    /// In whose conversation.
    agent: AgentId,
    mode: SupervisionMode,
    /// The supervisor's telephones that ring, and in the end the one that was answered.
    pub branches: Vec<Branch>,
    joined: Option<LegId>,
    /// Who hears whom, as the media server was told.
    told: Vec<Hearing>,
}

/// What a supervisor's desk is told of a conversation that is not their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listens {
    /// Whose it is.
    pub agent: AgentId,
    /// Who hears the supervisor.
    pub mode: SupervisionMode,
}

impl Call {
    /// Who listens to the conversation, or is about to.
    #[must_use]
    pub fn supervisor(&self) -> Option<&AgentId> {
        self.supervision.as_ref().map(|supervision| &supervision.supervisor)
    }

    /// Whose conversation somebody listens to.
    #[must_use]
    pub fn supervised(&self, supervisor: &AgentId) -> Option<&AgentId> {
        let supervision = self.supervision.as_ref()?;
        (supervision.supervisor == *supervisor).then_some(&supervision.agent)
    }

    /// Whether a supervisor may listen to it at all: it came by a queue of theirs.
    #[must_use]
    pub fn may_be_heard_by(&self, supervisor: &Agent) -> bool {
        self.queue().is_some_and(|queue| supervisor.supervises.contains(queue))
    }

    /// The queue that the contact came by.
    #[must_use]
    pub fn queue_of(&self) -> Option<&QueueId> {
        self.queue()
    }

    /// The agent in the conversation: the one that is named, or else the first.
    #[must_use]
    pub fn talker(&self, named: Option<&AgentId>) -> Option<AgentId> {
        let mut talks = self.talks().into_iter().filter(|talk| !talk.rings);
        talks.find(|talk| named.is_none_or(|named| talk.agent == *named)).map(|talk| talk.agent)
    }

    /// Rings a supervisor, who is to hear an agent's conversation; or lets one who does be heard otherwise.
    ///
    /// # Errors
    /// Why not, for the supervisor.
    pub fn supervise(
        &mut self,
        supervisor: &AgentId,
        (agent, mode): (AgentId, SupervisionMode),
        connected: &mut Option<Connected>,
        context: &mut Context<'_>,
    ) -> Result<(), String> {
        if self.supervisions.len() >= SUPERVISIONS_MAX {
            return Err(format!("a conversation is listened to {SUPERVISIONS_MAX} times at most"));
        }
        match &mut self.supervision {
            Some(supervision) if supervision.supervisor != *supervisor => {
                return Err("another supervisor listens to this conversation already".into());
            }
            Some(supervision) => {
                if std::mem::replace(&mut supervision.mode, mode) != mode && supervision.joined.is_some() {
                    self.note_end_of_supervision(context.environment.now.wall);
                    self.note_supervision(context);
                }
                return Ok(());
            }
            None => {}
        }
        let branches = match connected.take() {
            Some(connected) => vec![self.connected_branch(connected, context)],
            None => self.ring_supervisor(supervisor, &agent, context),
        };
        if branches.is_empty() {
            return Err("none of your telephones can be rung, so you would hear nothing".into());
        }
        self.supervision = Some(Box::new(Supervision {
            supervisor: supervisor.clone(),
            agent,
            mode,
            branches,
            joined: None,
            told: Vec::new(),
        }));
        Ok(())
    }

    fn ring_supervisor(
        &mut self,
        supervisor: &AgentId,
        agent: &AgentId,
        context: &mut Context<'_>,
    ) -> Vec<Branch> {
        let environment = context.environment;
        let caller = Caller {
            number: self.number_for(agent),
            dialled: None,
            phone: None,
            referred_by: None,
            tenant: &self.incoming.admitted.tenant,
            diverted: &Default::default(),
            verstat: None,
            identities: &[],
            is_expected: true,
        };
        let whom = Whom::Target(DialTarget::Agent(supervisor.clone()));
        let standing = (context.trunks, environment.now.wall);
        // What is drawn must not depend on who is borrowed.
        let mut lots = self.incoming.lots.clone();
        let ways = dial::ways(environment.world, &whom, caller, standing, &mut lots);
        self.incoming.lots = lots;
        for what in ways.told {
            self.tell(what, context);
        }
        let rings = environment.now.instant + RING;
        let mut branches = Vec::new();
        for mut tries in ways.forks.into_iter().take(super::callees::FORKS_MAX) {
            let Some(now) = self.next_way(&mut tries, context) else { continue };
            branches.push(self.new_branch(now, tries, rings, context));
        }
        branches
    }

    /// A supervisor does something with the conversation. None: it is none of theirs to listen to.
    pub(super) fn acted_listening(
        &mut self,
        supervisor: &AgentId,
        act: &CallAct,
        context: &mut Context<'_>,
    ) -> Option<Result<(), String>> {
        self.supervised(supervisor)?;
        Some(match act {
            CallAct::HangUp => {
                self.end_supervision(context);
                Ok(())
            }
            CallAct::Hold
            | CallAct::Retrieve
            | CallAct::Mute(_)
            | CallAct::Digits(_)
            | CallAct::Transfer(_)
            | CallAct::Consult(_)
            | CallAct::Complete
            | CallAct::Conference
            | CallAct::EndConsult => {
                Err("you only listen there: say supervise with another mode, or hangUp".into())
            }
        })
    }

    /// Whether a media leg is a supervisor's.
    pub(super) fn is_supervisors(&self, media: LegId) -> bool {
        let branches = self.supervision.iter().flat_map(|supervision| &supervision.branches);
        branches.into_iter().any(|branch| branch.media.id == media)
    }

    /// Whether a SIP leg is a supervisor's.
    pub(super) fn is_supervisors_sip(&self, leg: LegId) -> bool {
        let branches = self.supervision.iter().flat_map(|supervision| &supervision.branches);
        branches.into_iter().any(|branch| branch.sip == Some(leg))
    }

    /// Whether a supervisor listens at a telephone.
    pub(super) fn is_listened_to_by(&self, station: &StationId) -> bool {
        let branches = self.supervision.iter().flat_map(|supervision| &supervision.branches);
        let there =
            |branch: &Branch| branch.is_there() && branch.now.party == Party::Station(station.clone());
        branches.into_iter().any(there)
    }

    /// Whether all hear the supervisor.
    pub(super) fn is_barged(&self) -> bool {
        let there = self.supervision.as_ref().filter(|supervision| supervision.joined.is_some());
        there.is_some_and(|supervision| supervision.mode == SupervisionMode::Barge)
    }

    /// How it stands for the supervisor.
    pub(super) fn talk_of_supervisor(&self) -> Option<Talk> {
        let supervision = self.supervision.as_ref()?;
        let listens = Listens { agent: supervision.agent.clone(), mode: supervision.mode };
        Some(Talk {
            agent: supervision.supervisor.clone(),
            on_hold: false,
            muted: false,
            consult: None,
            rings: supervision.joined.is_none(),
            listens: Some(listens),
        })
    }

    /// Something happened on a supervisor's SIP leg.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what the call did not ask for changes nothing")]
    pub(super) fn on_supervisor(&mut self, leg: LegId, event: SipEvent, context: &mut Context<'_>) {
        let branches = self.supervision.iter_mut().flat_map(|supervision| &mut supervision.branches);
        let Some(branch) = branches.into_iter().find(|branch| branch.sip == Some(leg)) else { return };
        let media = branch.media.id;
        match event {
            SipEvent::Progress { .. } | SipEvent::Answered { .. } if branch.leaving.is_some() => {}
            SipEvent::Progress { .. } => (branch.rang, branch.silent_until) = (true, None),
            SipEvent::Refused { response, .. } if (300..400).contains(&response.code()) => {
                self.redirected(media, &response, context);
            }
            SipEvent::Answered { sdp, .. } => self.b_answered(media, sdp.as_deref(), context),
            SipEvent::Reinvited { sdp, .. } => reinvited(leg, &mut branch.media, sdp.as_deref(), context),
            SipEvent::ReinviteAnswered { sdp: Some(sdp), .. }
            | SipEvent::Confirmed { sdp: Some(sdp), .. }
                if branch.media.accept(&sdp).is_ok() =>
            {
                let is_there = branch.is_there();
                configure(&branch.media, context);
                if is_there && self.supervision.as_ref().is_some_and(|it| it.joined.is_none()) {
                    self.supervisor_there(media, context);
                }
            }
            SipEvent::ReinviteFailed { code, .. } => self.supervisor_missed(media, code, context),
            SipEvent::Referred { .. } => context.effects.push(Effect::RejectRefer {
                leg,
                code: 403,
                because: "who listens to a conversation cannot hand it on".into(),
            }),
            SipEvent::Info { content_type, body, .. } => self.informed(media, &content_type, &body, context),
            SipEvent::Ended { how, .. } => self.b_ended(media, &how, context),
            _ => {}
        }
    }

    /// The supervisor has answered.
    pub(super) fn supervisor_there(&mut self, media: LegId, context: &mut Context<'_>) {
        if let Some(supervision) = &mut self.supervision {
            supervision.joined = Some(media);
        }
        self.drop_supervisors(|branch| branch.media.id != media, Some(ELSEWHERE), context);
        self.note_supervision(context);
    }

    /// One of the supervisor's telephones cannot be had, or is gone.
    pub(super) fn supervisor_missed(&mut self, media: LegId, code: u16, context: &mut Context<'_>) {
        self.drop_supervisors(|branch| branch.media.id == media, None, context);
        let Some(supervision) = &self.supervision else { return };
        if supervision.joined.is_none() && supervision.branches.is_empty() {
            context.effects.push(Effect::Desk(DeskNews::Refused {
                agent: supervision.supervisor.clone(),
                because: format!("your telephone was not answered ({code})"),
            }));
            self.end_supervision(context);
        }
    }

    /// It cannot go on, for a reason that the supervisor is told.
    pub fn break_supervision(&mut self, because: String, context: &mut Context<'_>) {
        let Some(supervision) = &self.supervision else { return };
        let agent = supervision.supervisor.clone();
        context.effects.push(Effect::Desk(DeskNews::Refused { agent, because }));
        self.end_supervision(context);
    }

    /// The supervisor leaves.
    pub fn end_supervision(&mut self, context: &mut Context<'_>) {
        self.drop_supervisors(|_| true, None, context);
        if self.supervision.take().is_some_and(|supervision| supervision.joined.is_some()) {
            self.note_end_of_supervision(context.environment.now.wall);
        }
    }

    fn drop_supervisors(
        &mut self,
        which: impl Fn(&Branch) -> bool,
        reason: Option<&'static str>,
        context: &mut Context<'_>,
    ) {
        let Some(supervision) = &mut self.supervision else { return };
        let (gone, kept): (Vec<Branch>, Vec<Branch>) =
            std::mem::take(&mut supervision.branches).into_iter().partition(|branch| which(branch));
        supervision.branches = kept;
        for branch in gone {
            self.drop_branch(branch, reason, context);
        }
    }

    /// Another way to the same telephone.
    pub(super) fn retry_supervisor(&mut self, media: LegId, branch: Branch, context: &mut Context<'_>) {
        self.drop_supervisors(|branch| branch.media.id == media, None, context);
        match &mut self.supervision {
            Some(supervision) => supervision.branches.push(branch),
            None => self.drop_branch(branch, None, context),
        }
    }

    fn note_supervision(&mut self, context: &mut Context<'_>) {
        let Some(supervision) = &self.supervision else { return };
        let Supervision { supervisor, agent, mode, .. } = &**supervision;
        self.tell(format!("Agent {supervisor} listens to Agent {agent} ({})", mode.word()), context);
        self.supervisions.push(Supervised {
            supervisor: supervisor.clone(),
            agent: agent.clone(),
            mode: *mode,
            started_at: context.environment.now.wall,
            ended_at: None,
        });
    }

    fn note_end_of_supervision(&mut self, now: Timestamp) {
        if let Some(last) = self.supervisions.last_mut().filter(|last| last.ended_at.is_none()) {
            last.ended_at = Some(now);
        }
    }

    /// Who listens in leaves with the agent.
    pub(super) fn attend_supervisor(&mut self, context: &mut Context<'_>) {
        let Some(supervision) = &self.supervision else { return };
        if self.ending.is_some() || self.talker(Some(&supervision.agent)).is_none() {
            self.end_supervision(context);
        }
    }

    /// Brings who hears whom into line with where the conversation is: whatever joins and parts legs knows of no supervisor.
    pub(super) fn attend_hearing(&mut self, context: &mut Context<'_>) {
        let Some(hearings) = self.hearings() else { return };
        let parts = |effect: &Effect| {
            matches!(effect, Effect::Media(Order::Bridge { .. } | Order::Unbridge { .. } | Order::Mix(_)))
        };
        let overruled = context.effects.iter().any(parts);
        let Some(supervision) = &mut self.supervision else { return };
        if overruled || supervision.told != hearings {
            supervision.told.clone_from(&hearings);
            context.effects.push(Effect::Media(Order::Mix(hearings)));
        }
    }

    /// Who is to hear whom. None: nobody listens in.
    fn hearings(&self) -> Option<Vec<Hearing>> {
        let supervision = self.supervision.as_ref()?;
        let supervisor = supervision.joined?;
        let (own, others) = self.talking_legs(&supervision.agent)?;
        let together: Vec<LegId> = std::iter::once(own).chain(others).collect();
        let hears_supervisor = |leg: LegId| match supervision.mode {
            SupervisionMode::Monitor => false,
            SupervisionMode::Whisper => leg == own,
            SupervisionMode::Barge => true,
        };
        let mut hearings: Vec<Hearing> = Vec::with_capacity(together.len() + 1);
        for leg in together.iter().copied() {
            let mut sources: Vec<LegId> = together.iter().copied().filter(|other| *other != leg).collect();
            sources.extend(Some(supervisor).filter(|_| hears_supervisor(leg)));
            hearings.push(hearing(leg, sources));
        }
        hearings.push(hearing(supervisor, together));
        hearings.retain(|hearing| !hearing.sources.is_empty());
        Some(hearings)
    }

    /// The leg of an agent in the conversation, and the legs of those who hear it now.
    fn talking_legs(&self, agent: &AgentId) -> Option<(LegId, Vec<LegId>)> {
        if self.consult().is_some() {
            return self.consulting_with(agent);
        }
        let branch = self.joined()?;
        let (a, b) = (self.a.media.id, branch.media.id);
        let is_a = self.agent_at(true) == Some(agent);
        let (own, other) = if is_a { (a, b) } else { (b, a) };
        Some((own, if self.on_hold.is_some() { Vec::new() } else { vec![other] }))
    }
}

fn hearing(leg: LegId, sources: Vec<LegId>) -> Hearing {
    Hearing { leg, sources: sources.into_iter().map(|leg| Source { leg, gain_db: 0 }).collect() }
}
