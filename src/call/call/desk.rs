//! What an agent does with a conversation at the desk, on whatever telephone it is: the media server does it, and no telephone
//! need understand it.

use model::{AgentId, LegId, media::Order, program::DialTarget};

use super::{Call, Consult, Context, Effect, Listens, StateA, handover::Target, promise::public_telephone};
use crate::{
    cursor::Dialled,
    dial::{Branch, Party, Whom},
    engine::CallAct,
    record::EndedBy,
    registrar::StationId,
};

/// What agents have done.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// Media leg whose agent holds.
    pub held_by: Option<LegId>,
    /// Media leg whose agent is heard by nobody.
    pub muted: Option<LegId>,
    /// Who was told how the conversation stands, and how.
    told: Vec<Talk>,
}

/// How a conversation stands for an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Talk {
    /// Who.
    pub agent: AgentId,
    /// Whether the agent, or the agent's telephone, holds.
    pub on_hold: bool,
    /// Whether the agent is heard by nobody.
    pub muted: bool,
    /// Whom the agent asks back.
    pub consult: Option<Consult>,
    /// Whether whom the agent calls is still to answer, or the own telephone of one who is to listen.
    pub rings: bool,
    /// Whose conversation it is, where the agent only listens.
    pub listens: Option<Listens>,
}

/// What an agent's desk is told of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeskNews {
    /// It begins, or stands otherwise.
    Talk(Talk),
    /// It is over for the agent.
    Over(AgentId),
    /// Something was not done, or came to nothing.
    Refused {
        /// Who.
        agent: AgentId,
        /// Why, for people.
        because: String,
    },
}

impl Call {
    /// The agent on one side of the conversation.
    pub(super) fn agent_at(&self, is_a: bool) -> Option<&AgentId> {
        if is_a {
            return self.a.station.as_ref().map(|station| &station.agent);
        }
        let now = &self.joined()?.now;
        match &now.party {
            Party::Station(station) => Some(&station.agent),
            Party::Peer { .. } => now.agent.as_ref(),
            Party::Joined(_) => None,
        }
    }

    /// An agent does something with the conversation.
    ///
    /// # Errors
    /// Why not, for the agent.
    pub fn acted(&mut self, agent: &AgentId, act: CallAct, context: &mut Context<'_>) -> Result<(), String> {
        const NOBODY: &str = "you talk to nobody there";
        if let Some(done) = self.acted_listening(agent, &act, context) {
            return done;
        }
        if self.consult().is_some() && self.ending.is_none() {
            return self.acted_consulting(agent, act, context);
        }
        if self.calls().is_some_and(|talk| talk.agent == *agent) && self.joined().is_none() {
            if act != CallAct::HangUp {
                return Err("nobody has answered yet".into());
            }
            self.finish(EndedBy::Caller, 487, None, context);
            return Ok(());
        }
        let joined = self.joined().filter(|branch| branch.is_there() && self.ending.is_none());
        let Some(Branch { media, sip, .. }) = joined.filter(|_| self.a.state == StateA::Answered) else {
            return Err(NOBODY.into());
        };
        let (a, b) = ((self.a.media.id, Some(self.incoming.leg)), (media.id, *sip));
        let is_a = match (self.agent_at(true), self.agent_at(false)) {
            (Some(one), _) if one == agent => true,
            (_, Some(other)) if other == agent => false,
            (_, _) => return Err(NOBODY.into()),
        };
        let (own, leg) = if is_a { a } else { b };
        match act {
            CallAct::Hold => self.desk.held_by = Some(own),
            CallAct::Retrieve if self.phone_holds(is_a) => {
                return Err("your telephone holds: fetch the contact back there".into());
            }
            CallAct::Retrieve => self.desk.held_by = None,
            CallAct::Mute(muted) => self.mute(own, muted, context),
            CallAct::Digits(digits) => self.send_digits(!is_a, &digits, context),
            CallAct::HangUp if is_a => self.finish(EndedBy::Caller, 200, None, context),
            CallAct::HangUp => {
                self.drop_branches(|_| true, None, context);
                self.conclude(Dialled::Ended, 200, context);
            }
            CallAct::Transfer(to) => {
                let who = (leg.ok_or(NOBODY)?, self.telephone(agent, is_a, context).ok_or(NOBODY)?);
                match self.target_from_desk((who.0, &who.1), &to, context)? {
                    Target::Rings(whom) => {
                        self.desk.held_by = None;
                        self.hand_over(who, None, vec![whom], context);
                    }
                    Target::Enters(flow, number) => self.enter(who, None, (flow, number), context),
                }
            }
            CallAct::Consult(to) => {
                let who = (leg.ok_or(NOBODY)?, self.telephone(agent, is_a, context).ok_or(NOBODY)?);
                match self.target_from_desk((who.0, &who.1), &to, context)? {
                    Target::Rings(whom) => self.begin_consult(who, (to, whom), context),
                    Target::Enters(..) => {
                        return Err(format!(
                            "{to} leads into a flow, which nobody can ask back: transfer to it"
                        ));
                    }
                }
            }
            CallAct::Complete | CallAct::Conference | CallAct::EndConsult => {
                return Err("you ask nobody back: say consult first".into());
            }
        }
        Ok(())
    }

    pub(super) fn mute(&mut self, leg: LegId, muted: bool, context: &mut Context<'_>) {
        self.desk.muted = muted.then_some(leg);
        context.effects.push(Effect::Media(Order::Mute { leg, muted }));
    }

    /// The agent's telephone: one of the public network does not say that it is.
    fn telephone(&self, agent: &AgentId, is_a: bool, context: &Context<'_>) -> Option<StationId> {
        let known = match (is_a, self.joined().map(|branch| &branch.now.party)) {
            (true, _) => self.a.station.as_ref(),
            (false, Some(Party::Station(station))) => Some(station),
            (false, Some(Party::Peer { .. } | Party::Joined(_)) | None) => None,
        };
        if let Some(station) = known {
            return Some(station.clone());
        }
        public_telephone(agent, context)
    }

    fn target_from_desk(
        &self,
        (leg, station): (LegId, &StationId),
        to: &str,
        context: &Context<'_>,
    ) -> Result<Target, String> {
        let agent = &station.agent;
        let cluster = &context.environment.world.snapshot.cluster;
        let domain = cluster.domains.first().unwrap_or(&cluster.code);
        let target = self.refer_target((leg, station), &format!("sip:{to}@{domain}"), context);
        let target = target.map_err(|(_, because)| because)?;
        let is_self = |whom: &Whom| match whom {
            Whom::Target(DialTarget::Agent(named)) => named == agent,
            Whom::Station(station) => station.agent == *agent,
            Whom::Target(_) | Whom::Standing(_) | Whom::Emergency(_) => false,
        };
        match &target {
            Target::Rings(whom) if is_self(whom) => Err("that is you".into()),
            Target::Rings(_) | Target::Enters(..) => Ok(target),
        }
    }

    /// Tells agents how the conversation stands for them, where that is other than it was.
    pub(super) fn attend_talk(&mut self, context: &mut Context<'_>) {
        let talks: Vec<Talk> = self.talks().into_iter().chain(self.talk_of_supervisor()).collect();
        if talks == self.desk.told {
            return;
        }
        let told = std::mem::replace(&mut self.desk.told, talks);
        let talks = &self.desk.told;
        for gone in told.iter().filter(|one| !talks.iter().any(|now| now.agent == one.agent)) {
            context.effects.push(Effect::Desk(DeskNews::Over(gone.agent.clone())));
        }
        for new in talks.iter().filter(|now| !told.contains(now)) {
            context.effects.push(Effect::Desk(DeskNews::Talk(new.clone())));
        }
    }

    /// An agent calls somebody at the desk.
    fn calls(&self) -> Option<Talk> {
        let station = self.a.station.as_ref().filter(|_| self.is_outgoing && self.ending.is_none())?;
        let agent = station.agent.clone();
        Some(Talk { agent, on_hold: false, muted: false, consult: None, rings: true, listens: None })
    }

    /// The other side's number for an agent; empty: withheld.
    #[must_use]
    pub fn number_for(&self, agent: &AgentId) -> &str {
        let agent = self.supervised(agent).unwrap_or(agent);
        let calls = self.a.station.as_ref().is_some_and(|station| station.agent == *agent);
        if calls && self.is_outgoing { &self.incoming.to } else { &self.cursor.facts().contact_number }
    }

    pub(super) fn talks(&self) -> Vec<Talk> {
        if self.standing.is_some() {
            return Vec::new();
        }
        if let Some(talks) = self.talks_consulting() {
            return talks;
        }
        let joined = self.joined().filter(|branch| branch.is_there() && self.ending.is_none());
        let Some(branch) = joined else { return self.calls().into_iter().collect() };
        let sides = [(true, self.a.media.id), (false, branch.media.id)];
        let talk = |(is_a, own): (bool, LegId)| {
            Some(Talk {
                agent: self.agent_at(is_a)?.clone(),
                on_hold: self.desk.held_by == Some(own) || self.phone_holds(is_a),
                muted: self.desk.muted == Some(own),
                consult: None,
                rings: false,
                listens: None,
            })
        };
        sides.into_iter().filter_map(talk).collect()
    }
}
