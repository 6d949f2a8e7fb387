//! An agent takes what is offered at the desk: the telephone that rings is asked to answer. The first one that can be asked is, and the next
//! where it refuses; one that has not said yet that it rings is waited for. How often the agent says so makes no difference.

use model::{AgentId, LegId};

use super::{Call, Context, DeskNews, Effect};
use crate::dial::{Branch, Party};

/// What an agent has accepted at the desk, until a telephone answers.
#[derive(Debug)]
pub(super) struct Accepting {
    agent: AgentId,
    /// Media leg of the telephone that was asked.
    asked: Option<LegId>,
    /// Those that refused.
    refused: Vec<LegId>,
}

impl Call {
    /// An agent accepts at the desk.
    ///
    /// # Errors
    /// It is not offered to the agent.
    pub fn accept(&mut self, agent: &AgentId) -> Result<(), String> {
        if self.agent_of_queue() == Some(agent) {
            // Said twice.
            return Ok(());
        }
        let branches = self.dialling.iter().flat_map(|dialling| &dialling.branches);
        let comes = branches.into_iter().any(|branch| branch.is_there());
        if !self.queueing.as_ref().is_some_and(|queueing| queueing.rings(agent)) {
            return Err("no such contact is offered to you".into());
        }
        if self.accepting.is_none() && !comes {
            let accepting = Accepting { agent: agent.clone(), asked: None, refused: Vec::new() };
            self.accepting = Some(Box::new(accepting));
        }
        Ok(())
    }

    /// Brings who is asked to answer into line with who rings.
    pub(super) fn attend_accepting(&mut self, context: &mut Context<'_>) {
        let Some(accepting) = &self.accepting else { return };
        let offered = self.queueing.as_ref().is_some_and(|queueing| queueing.rings(&accepting.agent));
        if !offered || self.ending.is_some() {
            self.accepting = None;
            return;
        }
        let branches =
            self.dialling.as_ref().map(|dialling| dialling.branches.as_slice()).unwrap_or_default();
        let rings = |branch: &&Branch| {
            matches!(branch.now.party, Party::Station(_)) && !branch.answered && branch.leaving.is_none()
        };
        if accepting.asked.is_some_and(|asked| branches.iter().any(|branch| branch.media.id == asked)) {
            return;
        }
        let mut left = branches.iter().filter(rings).filter(|it| !accepting.refused.contains(&it.media.id));
        let ready =
            left.clone().find(|branch| branch.rang).and_then(|branch| Some((branch.media.id, branch.sip?)));
        match ready {
            Some((media, leg)) => {
                if let Some(accepting) = &mut self.accepting {
                    accepting.asked = Some(media);
                }
                context.effects.push(Effect::AskToAnswer { leg });
            }
            // They will say soon that they ring.
            None if left.next().is_some() => {}
            None => {
                let agent = accepting.agent.clone();
                let because = "your telephone cannot be answered from the desk: answer it there".to_owned();
                context.effects.push(Effect::Desk(DeskNews::Refused { agent, because }));
                self.accepting = None;
            }
        }
    }

    /// A telephone does not answer for being asked to.
    pub fn answer_refused(&mut self, leg: LegId) {
        let branches = self.dialling.iter().flat_map(|dialling| &dialling.branches);
        let media = branches.into_iter().find(|branch| branch.sip == Some(leg)).map(|branch| branch.media.id);
        if let (Some(accepting), Some(media)) = (&mut self.accepting, media)
            && accepting.asked.take_if(|asked| *asked == media).is_some()
        {
            accepting.refused.push(media);
        }
    }
}
