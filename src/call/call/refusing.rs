//! Legs that a media server has no ports for.

use model::{LegId, media::Refusal};

use super::{Call, Context, Effect, EndedBy, refusal_headers};
use crate::{cursor::Dialled, record::cause_of, sdp_leg::Ports};

impl Call {
    /// The media server has no ports for a leg.
    pub(super) fn refused(&mut self, leg: LegId, reason: Refusal, context: &mut Context<'_>) {
        self.unreleased = self.unreleased.saturating_sub(1);
        let because = match reason {
            Refusal::PortsExhausted => "every RTP port of the VoiceCluster's media.ports is in use",
            Refusal::NoSuchNetwork => "the media server has no such network",
            Refusal::Draining => "the media server is draining",
            Refusal::NoSpans => {
                "the VoiceCluster names no media.spanNetwork, so no media pod reaches another"
            }
            Refusal::SpanTaken => "a span between media pods has the name of another",
            Refusal::SpanUnprotected => "a span between media pods has not two keys of AEAD-GCM",
        };
        if leg == self.a.media.id {
            self.a.media.ports = Ports::None;
            self.finish(EndedBy::Failure, 503, Some(because), context);
        } else if let Some(branch) = self.branch(leg) {
            branch.media.ports = Ports::None;
            self.branch_failed(leg, (Dialled::Failed, 503), context);
        } else if self.siprec_refused(leg, because, context) {
        } else if let Some(joiner) = self.joiner.take_if(|joiner| joiner.media.id == leg) {
            let headers = refusal_headers(cause_of(503), Some(because));
            context.effects.push(Effect::Reject { leg: joiner.sip, code: 503, headers });
        }
    }
}
