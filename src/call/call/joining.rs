//! An INVITE that takes the place of a leg of the call (Replaces, RFC 3891): a phone goes on where another one was, or answers what
//! rings elsewhere.

use bytes::Bytes;
use model::{LegId, media::Order};
use sip::endpoint::{Ended, Event as SipEvent};

use super::{Call, Context, Effect, StateA, configure, refusal_headers};
use crate::{
    dial::{Branch, Party, Try},
    record::cause_of,
    registrar::StationId,
    sdp_leg::{At, MediaLeg, Terms},
};

/// A phone that is about to take a place.
#[derive(Debug)]
pub(super) struct Joiner {
    pub sip: LegId,
    pub media: MediaLeg,
    offer: Bytes,
    station: StationId,
    network: String,
    terms: Terms,
    replaces: LegId,
}

impl Call {
    /// Whether a phone may take the place of a leg: that of another phone, or of whoever is only being rung.
    #[must_use]
    pub fn may_replace(&self, leg: LegId) -> bool {
        self.ending.is_none()
            && self.joiner.is_none()
            && self.handover.is_none()
            && self.station_at(leg).is_some()
            && (leg != self.incoming.leg || self.is_joined_with(leg))
    }

    /// A phone has come for the place of a leg.
    pub fn replace(
        &mut self,
        (sip, offer): (LegId, Bytes),
        (station, network, terms): (StationId, String, Terms),
        replaces: LegId,
        context: &mut Context<'_>,
    ) {
        let (id, keys) = (LegId(self.fresh_id()), self.incoming.keys.clone());
        let mut media = MediaLeg::new(id, self.preferred(&terms), keys);
        self.unreleased += 1;
        context.effects.push(Effect::Media(media.allocate(network.clone())));
        self.joiner = Some(Box::new(Joiner { sip, media, offer, station, network, terms, replaces }));
    }

    pub(super) fn on_joiner(&mut self, event: &SipEvent, context: &mut Context<'_>) {
        if matches!(event, SipEvent::Ended { how: Ended::Cancelled { .. } | Ended::Failed { .. }, .. })
            && let Some(joiner) = self.joiner.take()
        {
            context.effects.push(Effect::Media(Order::Release { leg: joiner.media.id }));
        }
    }

    /// It has ports: it is answered, and whose place it takes is let go.
    pub(super) fn take_place(&mut self, mut joiner: Box<Joiner>, at: At, context: &mut Context<'_>) {
        joiner.media.allocated(at, self.id.0);
        let answer = joiner.media.answer(&joiner.offer);
        let there = self.station_at(joiner.replaces).is_some() && self.ending.is_none();
        let Some(sdp) = answer.ok().filter(|_| there) else {
            let headers = refusal_headers(cause_of(488), None);
            context.effects.push(Effect::Reject {
                leg: joiner.sip,
                code: if there { 488 } else { 481 },
                headers,
            });
            return context.effects.push(Effect::Media(Order::Release { leg: joiner.media.id }));
        };
        context.effects.push(Effect::Accept { leg: joiner.sip, sdp });
        configure(&joiner.media, context);
        if joiner.replaces == self.incoming.leg {
            self.turn_round();
        }
        let replaces = joiner.replaces;
        let now = Try::joined(Party::Station(joiner.station), joiner.network, joiner.terms);
        let mut branch = Branch::new(joiner.media, now, Default::default(), self.ends_by);
        (branch.sip, branch.answered) = (Some(joiner.sip), true);
        let media = branch.media.id;
        // Those that only ring for the same contact have rung enough.
        self.drop_branches(|known| known.sip == Some(replaces) || !known.is_there(), None, context);
        if let Some(dialling) = &mut self.dialling {
            dialling.branches.insert(0, branch);
            dialling.joined = Some(media);
        }
        if self.a.state == StateA::Over {
            return;
        }
        self.join(context);
    }
}
