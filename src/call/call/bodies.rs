//! What goes to media servers and peers on a leg's behalf.

use model::{LegId, media::Order};
use sip::endpoint::Header;

use super::{Context, Effect};
use crate::{
    sdp_leg::MediaLeg,
    siprec::description::{Records, told},
};

pub(super) fn configure(media: &MediaLeg, context: &mut Context<'_>) {
    if let Some(parameters) = &media.parameters {
        let order = Order::Configure { leg: media.id, parameters: parameters.clone() };
        context.effects.push(Effect::Media(order));
    }
}

/// Hold and resume, new addresses, new codecs: answered for this leg alone, the other one's audio goes on.
pub(super) fn reinvited(leg: LegId, media: &mut MediaLeg, sdp: Option<&[u8]>, context: &mut Context<'_>) {
    reinvited_as(leg, media, sdp, Records::Off, context);
}

/// The same for somebody who is told whether the call is recorded.
pub(super) fn reinvited_as(
    leg: LegId,
    media: &mut MediaLeg,
    sdp: Option<&[u8]>,
    shown: Records,
    context: &mut Context<'_>,
) {
    let answer = match sdp {
        Some(offer) => media.answer(offer).ok(),
        None => media.offer(),
    };
    let Some(answer) = answer else {
        return context.effects.push(Effect::RejectReinvite { leg, code: 488 });
    };
    let answer = if shown == Records::Off { answer } else { told(&answer, shown) };
    context.effects.push(Effect::AnswerReinvite { leg, sdp: answer });
    if sdp.is_some() {
        configure(media, context);
    }
}

/// A refusal for want of room says when to come again; any other says why (RFC 3326).
pub(super) fn refusal_headers(cause: u8, because: Option<&str>) -> Vec<Header> {
    let mut headers = Vec::new();
    if let Some(because) = because {
        let text = quoted(because);
        headers.push(Header::new("Reason", format!("Q.850;cause={cause};text=\"{text}\"")));
    }
    headers
}

pub(super) fn quoted(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '"' | '\\') && !c.is_control()).take(120).collect()
}
