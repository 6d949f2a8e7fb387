//! What a contact hears while an agent's phone holds it or hands it on: the tenant's music, for a phone says nothing then, or only
//! that it holds (RFC 3264 §8.4).

use acd::mutant;
use model::{
    AgentId, AudioId, LegId, PlayId,
    media::{Direction, Order},
};

use super::{AfterPlay, Call, Context, Effect};
use crate::sdp_leg::MediaLeg;

/// Whether its peer wants to hear nothing.
fn holds(media: &MediaLeg) -> bool {
    let agreed = media.parameters.as_ref().map(|agreed| agreed.direction);
    matches!(agreed, Some(Direction::RecvOnly | Direction::Inactive))
}

impl Call {
    /// Begins or ends the music of a hold, whichever is due.
    pub(super) fn attend_hold(&mut self, context: &mut Context<'_>) {
        let due = self.held_by_an_agent(context);
        match (due, self.on_hold) {
            (Some((leg, music)), None) => {
                let play = PlayId(self.fresh_id());
                self.on_hold = Some(leg);
                if !mutant!(HoldIgnored) {
                    context.effects.push(Effect::Media(Order::Unbridge { leg }));
                }
                if !music.is_empty() {
                    let order = Order::Play { leg, play, audio: music, times: None };
                    context.effects.push(Effect::Media(order));
                }
            }
            // Joined again they hear each other, and no music.
            (None, Some(_)) if mutant!(RetrieveIgnored) => self.on_hold = None,
            (None, Some(_)) => self.bridge(context),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    /// The leg that is held by an agent, and what there is to hear. Whom a telephone holds hears what comes from it where there is
    /// no music; whom the desk does hears nothing then.
    fn held_by_an_agent(&self, context: &Context<'_>) -> Option<(LegId, Vec<AudioId>)> {
        let branch = self.joined().filter(|branch| branch.is_there() && self.ending.is_none())?;
        let at_desk = |media: &MediaLeg| self.desk.held_by == Some(media.id);
        let (a, b) = (&self.a.media, &branch.media);
        let (is_a, by, leg) = match (holds(a) || at_desk(a), holds(b) || at_desk(b)) {
            (true, false) => (true, a, b.id),
            (false, true) => (false, b, a.id),
            (true, true) | (false, false) => return None,
        };
        let music = music_of(self.agent_at(is_a)?, context);
        (at_desk(by) || !music.is_empty()).then_some((leg, music))
    }

    /// Whether the telephone on one side of the conversation wants to hear nothing.
    pub(super) fn phone_holds(&self, is_a: bool) -> bool {
        if is_a { holds(&self.a.media) } else { self.joined().is_some_and(|branch| holds(&branch.media)) }
    }

    /// Whoever was held is joined with nobody any more.
    pub(super) fn end_hold(&mut self, context: &mut Context<'_>) {
        if let Some(leg) = self.on_hold.take() {
            context.effects.push(Effect::Media(Order::StopPlay { leg }));
        }
    }

    /// The contact waits for whom a phone hands it on to.
    pub(super) fn play_while_handed_on(&mut self, context: &mut Context<'_>) {
        let agent = self.handover.as_ref().map(|handover| &handover.station.agent);
        let music = agent.map(|agent| music_of(agent, context)).unwrap_or_default();
        self.play_on(music, AfterPlay::Ring, context);
    }
}

fn music_of(agent: &AgentId, context: &Context<'_>) -> Vec<AudioId> {
    let agents = &context.environment.world.snapshot.centre.agents;
    agents.get(agent).map(|agent| agent.music.clone()).unwrap_or_default()
}
