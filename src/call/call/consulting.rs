//! An agent asks somebody back at the desk while the contact waits with music: whom it asks is a leg of the same media session.
//!
//! The contact stays where it is until the agent hands it on (`complete`), brings all three together (`conference`), or comes
//! back to it (`endConsult`). An agent who hangs up hands on; whoever is asked and hangs up, or is not reached, leaves the
//! agent with the contact. A contact who hangs up ends it for all.

use acd::mutant;
use model::{
    AgentId, LegId, PlayId,
    media::{Hearing, Order, Source, Tone},
};

use super::{Call, Context, DeskNews, Effect, Talk, handover::Handover};
use crate::{
    cursor::Dialled,
    dial::{Dialling, Party, Whom},
    engine::CallAct,
    registrar::StationId,
};

/// Somebody who is asked back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consult {
    /// As the agent named them.
    pub to: String,
    /// How far it is.
    pub stage: ConsultStage,
}

/// How far asking somebody back is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsultStage {
    /// They are rung.
    Rings,
    /// They talk to the agent, and the contact hears music.
    Talks,
    /// All three talk.
    Conference,
}

impl Call {
    /// Whom an agent asks back.
    pub(super) fn consult(&self) -> Option<&Consult> {
        self.handover.as_ref()?.consult.as_ref()
    }

    fn stage(&mut self) -> Option<&mut ConsultStage> {
        Some(&mut self.handover.as_mut()?.consult.as_mut()?.stage)
    }

    /// Whether all three talk.
    pub(super) fn is_conference(&self) -> bool {
        self.consult().is_some_and(|consult| consult.stage == ConsultStage::Conference)
    }

    /// The agent's own leg, and that of whom the agent asks, once they are there.
    fn consulting_legs(&self) -> (Option<LegId>, Option<LegId>) {
        let own = self.handover.as_ref().and_then(|handover| handover.referrer.as_ref());
        let joined = self.dialling.as_ref().and_then(|dialling| dialling.joined);
        (own.map(|branch| branch.media.id), joined)
    }

    /// Begins to ring somebody for the agent at a leg.
    pub(super) fn begin_consult(
        &mut self,
        (leg, station): (LegId, StationId),
        (to, whom): (String, Whom),
        context: &mut Context<'_>,
    ) {
        let agent = station.agent.clone();
        if !self.part((leg, station), None) {
            return;
        }
        let Some(handover) = &mut self.handover else { return };
        let own = handover.referrer.as_ref().map(|branch| branch.media.id);
        handover.consult = Some(Consult { to: to.clone(), stage: ConsultStage::Rings });
        self.desk.held_by = None;
        self.end_hold(context);
        context.effects.push(Effect::Media(Order::Unbridge { leg: self.a.media.id }));
        self.play_while_handed_on(context);
        if let Some(leg) = own {
            let (play, tone) = (PlayId(self.fresh_id()), self.tone(Tone::Ringback, context));
            let order = Order::Play { leg, play, audio: vec![tone], times: None };
            context.effects.push(Effect::Media(order));
        }
        self.tell(format!("Agent {agent} asks {to} back while the contact waits"), context);
        self.dial_whom(super::handover::rings(), vec![whom], context);
    }

    /// Whom the agent asks says something before the answer, for the agent alone. False: nobody is asked.
    pub(super) fn consult_rings(
        &mut self,
        media: LegId,
        sdp: Option<&[u8]>,
        context: &mut Context<'_>,
    ) -> bool {
        if self.consult().is_none() {
            return false;
        }
        let (own, _) = self.consulting_legs();
        let Some(branch) = self.branch(media) else { return true };
        let heard = branch.now.confirms.is_none() && sdp.is_some_and(|sdp| branch.media.accept(sdp).is_ok());
        if let Some(own) = own.filter(|_| heard) {
            super::configure(&branch.media, context);
            context.effects.push(Effect::Media(Order::Bridge { a: own, b: media }));
        }
        true
    }

    /// Whom the agent asks is there. False: nobody is asked.
    pub(super) fn consulted(&mut self, media: LegId, context: &mut Context<'_>) -> bool {
        let Some(stage) = self.stage() else { return false };
        *stage = ConsultStage::Talks;
        if let (Some(own), _) = self.consulting_legs() {
            context.effects.push(Effect::Media(Order::Bridge { a: own, b: media }));
        }
        true
    }

    /// Who is in it does something.
    ///
    /// # Errors
    /// Why not, for the agent.
    pub(super) fn acted_consulting(
        &mut self,
        agent: &AgentId,
        act: CallAct,
        context: &mut Context<'_>,
    ) -> Result<(), String> {
        const NOBODY: &str = "you talk to nobody there";
        let (own, other) = self.consulting_legs();
        let asking = self.handover.as_ref().is_some_and(|handover| handover.station.agent == *agent);
        if asking {
            match act {
                CallAct::Complete => self.complete(context),
                CallAct::Conference => return self.confer(context),
                CallAct::EndConsult => self.end_consult(context),
                CallAct::HangUp => self.leave_consult(context),
                CallAct::Mute(muted) => self.mute(own.ok_or(NOBODY)?, muted, context),
                CallAct::Digits(digits) if other.is_some() => self.send_digits(false, &digits, context),
                CallAct::Digits(_) => return Err("nobody is there yet who could hear keys".into()),
                CallAct::Hold | CallAct::Retrieve | CallAct::Transfer(_) | CallAct::Consult(_) => {
                    return Err("you ask somebody back: say complete, conference or endConsult first".into());
                }
            }
            return Ok(());
        }
        let leg = other.filter(|_| self.asked_agent() == Some(agent)).ok_or(NOBODY)?;
        match act {
            CallAct::HangUp => {
                self.drop_branches(|_| true, None, context);
                self.conclude(Dialled::Ended, 200, context);
            }
            CallAct::Mute(muted) => self.mute(leg, muted, context),
            CallAct::Hold
            | CallAct::Retrieve
            | CallAct::Digits(_)
            | CallAct::Transfer(_)
            | CallAct::Consult(_)
            | CallAct::Complete
            | CallAct::Conference
            | CallAct::EndConsult => {
                return Err("a colleague asks you: the contact is not yours yet".into());
            }
        }
        Ok(())
    }

    /// The leg of an agent who asks somebody back, or is asked, and the legs of those who hear it.
    pub(super) fn consulting_with(&self, agent: &AgentId) -> Option<(LegId, Vec<LegId>)> {
        let stage = self.consult()?.stage;
        let (own, other) = self.consulting_legs();
        let (leg, peer) = if self.asked_agent() == Some(agent) { (other?, own) } else { (own?, other) };
        Some((
            leg,
            match stage {
                ConsultStage::Rings => Vec::new(),
                ConsultStage::Talks => peer.into_iter().collect(),
                ConsultStage::Conference => std::iter::once(self.a.media.id).chain(peer).collect(),
            },
        ))
    }

    /// The agent who is asked and there.
    pub(super) fn asked_agent(&self) -> Option<&AgentId> {
        self.consult()?;
        let dialling = self.dialling.as_ref()?;
        let branch = dialling.branches.iter().find(|branch| Some(branch.media.id) == dialling.joined)?;
        match &branch.now.party {
            Party::Station(station) => Some(&station.agent),
            Party::Peer { .. } | Party::Joined(_) => None,
        }
    }

    /// How it stands for the agent who asks, and for one who is asked. None: nobody is asked.
    pub(super) fn talks_consulting(&self) -> Option<Vec<Talk>> {
        let (consult, handover) = (self.consult()?, self.handover.as_ref()?);
        if self.ending.is_some() {
            return Some(Vec::new());
        }
        let (own, other) = self.consulting_legs();
        let is_muted = |leg: Option<LegId>| leg.is_some() && self.desk.muted == leg;
        let asking = Talk {
            agent: handover.station.agent.clone(),
            on_hold: consult.stage != ConsultStage::Conference,
            muted: is_muted(own),
            consult: Some(consult.clone()),
            rings: false,
            listens: None,
        };
        let asked = self.asked_agent().map(|agent| Talk {
            agent: agent.clone(),
            on_hold: false,
            muted: is_muted(other),
            consult: None,
            rings: false,
            listens: None,
        });
        Some(std::iter::once(asking).chain(asked).collect())
    }

    /// The contact is theirs now, or whoever takes it once they do.
    pub(super) fn complete(&mut self, context: &mut Context<'_>) {
        let (own, _) = self.consulting_legs();
        let Some(consult) = self.handover.as_mut().and_then(|handover| handover.consult.take()) else {
            return;
        };
        if consult.stage == ConsultStage::Rings {
            // From here on it is a contact that is handed on.
            context.effects.extend(own.map(|leg| Effect::Media(Order::StopPlay { leg })));
            return;
        }
        if consult.stage == ConsultStage::Conference {
            context.effects.push(Effect::Media(Order::Mix(Vec::new())));
        }
        self.handed_on(context);
        self.join(context);
    }

    /// The agent hangs up.
    fn leave_consult(&mut self, context: &mut Context<'_>) {
        self.complete(context);
        if let Some(handover) = &mut self.handover {
            super::handover::end(handover.referrer.take(), context);
        }
    }

    fn confer(&mut self, context: &mut Context<'_>) -> Result<(), String> {
        let (Some(own), Some(other)) = self.consulting_legs() else {
            return Err("nobody is there yet who could be brought together with the contact".into());
        };
        let Some(stage) = self.stage() else { return Ok(()) };
        if std::mem::replace(stage, ConsultStage::Conference) == ConsultStage::Conference {
            return Ok(());
        }
        self.stop_ringing_tone(context);
        let legs = [self.a.media.id, own, other];
        let hears = |leg: LegId| {
            let others = legs.iter().filter(|one| **one != leg);
            Hearing { leg, sources: others.map(|leg| Source { leg: *leg, gain_db: 0 }).collect() }
        };
        context.effects.push(Effect::Media(Order::Mix(legs.into_iter().map(hears).collect())));
        self.tell("the contact, the agent and whom the agent asked are together".into(), context);
        Ok(())
    }

    /// The agent lets whom they ask go, and is with the contact.
    fn end_consult(&mut self, context: &mut Context<'_>) {
        self.drop_branches(|_| true, None, context);
        self.conclude(Dialled::Ended, 200, context);
    }

    /// Whom an agent asked is gone, or was not reached: what is to be told of it.
    pub(super) fn consult_over(
        &mut self,
        handover: &Handover,
        (outcome, code): (Dialled, u16),
        context: &mut Context<'_>,
    ) -> Option<DeskNews> {
        let consult = handover.consult.as_ref()?;
        let own = handover.referrer.as_ref().map(|branch| branch.media.id);
        match consult.stage {
            ConsultStage::Rings => {
                context.effects.extend(own.map(|leg| Effect::Media(Order::StopPlay { leg })));
            }
            ConsultStage::Conference => context.effects.push(Effect::Media(Order::Mix(Vec::new()))),
            ConsultStage::Talks => {}
        }
        let because = match (consult.stage, outcome) {
            (ConsultStage::Rings, Dialled::Ended) | (ConsultStage::Talks | ConsultStage::Conference, _) => {
                return None;
            }
            (ConsultStage::Rings, _) => {
                format!("{} was not reached ({code}): the contact is back with you", consult.to)
            }
        };
        Some(DeskNews::Refused { agent: handover.station.agent.clone(), because })
    }

    /// The agent and the contact are together again, as `original` had brought them.
    pub(super) fn rejoin(
        &mut self,
        mut handover: Box<Handover>,
        context: &mut Context<'_>,
    ) -> Option<Box<Handover>> {
        let Some(branch) = handover.referrer.take() else { return Some(handover) };
        let (joined, dial) = (Some(branch.media.id), handover.original);
        self.dialling = Some(Dialling {
            dial,
            targets: Vec::new(),
            next_target: 0,
            branches: vec![branch],
            joined,
            failure: (Dialled::Failed, 480),
        });
        if !mutant!(ReturnUnjoined) {
            self.join(context);
        }
        None
    }
}
