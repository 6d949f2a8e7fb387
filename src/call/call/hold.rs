//! What a contact hears while an agent's phone holds it or hands it on: the tenant's music, for a phone says nothing then, or only
//! that it holds (RFC 3264 §8.4).

use model::{
    AudioId, LegId, PlayId,
    media::{Direction, Order},
};

use super::{AfterPlay, Call, Context, Effect};
use crate::{dial::Party, registrar::StationId, sdp_leg::MediaLeg};

/// Whether its peer wants to hear nothing.
fn holds(media: &MediaLeg) -> bool {
    let agreed = media.parameters.as_ref().map(|agreed| agreed.direction);
    matches!(agreed, Some(Direction::RecvOnly | Direction::Inactive))
}

impl Call {
    /// Begins or ends the music of a hold, whichever is due.
    pub(super) fn attend_hold(&mut self, context: &mut Context<'_>) {
        let due = self.held_by_a_phone(context);
        match (due, self.on_hold) {
            (Some((leg, music)), None) => {
                let play = PlayId(self.fresh_id());
                self.on_hold = Some(leg);
                context.effects.push(Effect::Media(Order::Unbridge { leg }));
                let order = Order::Play { leg, play, audio: music, times: None };
                context.effects.push(Effect::Media(order));
            }
            // Joined again they hear each other, and no music.
            (None, Some(_)) => self.bridge(context),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    /// The leg that is held, and what there is to hear.
    fn held_by_a_phone(&self, context: &Context<'_>) -> Option<(LegId, Vec<AudioId>)> {
        let joined = self.dialling.as_ref().filter(|dialling| dialling.joined.is_some())?;
        let branch = joined.branches.first().filter(|branch| branch.is_there() && self.ending.is_none())?;
        let (station, leg) = match (holds(&self.a.media), holds(&branch.media)) {
            (true, false) => (self.a.station.as_ref()?, branch.media.id),
            (false, true) => match &branch.now.party {
                Party::Station(station) => (station, self.a.media.id),
                Party::Peer { .. } | Party::Joined(_) => return None,
            },
            (true, true) | (false, false) => return None,
        };
        Some((leg, music_of(station, context))).filter(|(_, music)| !music.is_empty())
    }

    /// Whoever was held is joined with nobody any more.
    pub(super) fn end_hold(&mut self, context: &mut Context<'_>) {
        if let Some(leg) = self.on_hold.take() {
            context.effects.push(Effect::Media(Order::StopPlay { leg }));
        }
    }

    /// The contact waits for whom a phone hands it on to.
    pub(super) fn play_while_handed_on(&mut self, context: &mut Context<'_>) {
        let station = self.handover.as_ref().map(|handover| handover.station.clone());
        let music = station.map(|station| music_of(&station, context)).unwrap_or_default();
        self.play_on(music, AfterPlay::Ring, context);
    }
}

fn music_of(station: &StationId, context: &Context<'_>) -> Vec<AudioId> {
    let agents = &context.environment.world.snapshot.centre.agents;
    agents.get(&station.agent).map(|agent| agent.music.clone()).unwrap_or_default()
}
