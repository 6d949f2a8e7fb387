//! Legs that nothing is heard from (telephony 15, 17).

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use model::LegId;

use super::{Call, Context, Effect, StateA, configure};
use crate::dial::Branch;

/// Neither RTP nor RTCP for so long ends a call.
const DEAD_MS: u32 = 60_000;

/// How long the answer to an OPTIONS is waited for that such a leg's peer is sent first: one that knows of no call says so.
const PROBE_WAIT: Duration = Duration::from_secs(5);

/// The call ends by a leg that is not heard.
#[derive(Debug)]
pub(super) struct Silenced {
    /// When.
    pub until: Instant,
    /// Why.
    pub because: String,
}

impl Call {
    /// A callee, or an agent who asks one back.
    fn peer_leg(&self, leg: LegId) -> Option<&Branch> {
        let branches = self.dialling.iter().flat_map(|dialling| &dialling.branches);
        let referrer = self.handover.iter().filter_map(|handover| handover.referrer.as_ref());
        branches.chain(referrer).find(|branch| branch.media.id == leg)
    }

    /// Neither RTP nor RTCP has come from a leg that is to send: at first it is told, in the end it ends the call, for a
    /// dead peer must not hold a trunk.
    pub(super) fn on_silence(
        &mut self,
        leg: LegId,
        (silent_ms, heard_before): (u32, bool),
        context: &mut Context<'_>,
    ) {
        if self.ending.is_some() || self.silenced.is_some() {
            return;
        }
        if self.is_supervisors(leg) {
            return self.supervisor_silent(leg, silent_ms, context);
        }
        let of_caller = leg == self.a.media.id;
        let answered = match of_caller {
            true => self.a.state == StateA::Answered,
            false => self.peer_leg(leg).is_some_and(|branch| branch.answered),
        };
        let media = match of_caller {
            true => Some(&self.a.media),
            false => self.peer_leg(leg).map(|branch| &branch.media),
        };
        let Some(media) = media else { return };
        if !answered {
            // Nothing need come before the answer: the media server waits anew.
            return configure(media, context);
        }
        let who = if of_caller { "the caller" } else { "the callee" };
        let remote = media.parameters.as_ref().map(|parameters| parameters.remote_rtp);
        if silent_ms >= DEAD_MS {
            let because = format!("neither RTP nor RTCP came from {who} for {} s", silent_ms / 1_000);
            let sip =
                if of_caller { Some(self.incoming.leg) } else { self.peer_leg(leg).and_then(|b| b.sip) };
            context.effects.extend(sip.map(|leg| Effect::Probe { leg }));
            let until = context.environment.now.instant + PROBE_WAIT;
            self.silenced = Some(Box::new(Silenced { until, because }));
            return;
        }
        if !heard_before {
            self.tell(no_inbound_media(who, silent_ms, remote), context);
        }
    }
}

impl Call {
    /// A supervisor's leg that is dead must not listen for ever; the conversation goes on.
    fn supervisor_silent(&mut self, leg: LegId, silent_ms: u32, context: &mut Context<'_>) {
        let Some(branch) = self.branch(leg) else { return };
        if !branch.answered {
            return configure(&branch.media, context);
        }
        if silent_ms >= DEAD_MS {
            let seconds = silent_ms / 1_000;
            self.break_supervision(
                format!("neither RTP nor RTCP came from your telephone for {seconds} s"),
                context,
            );
        }
    }
}

fn no_inbound_media(who: &str, silent_ms: u32, remote: Option<SocketAddr>) -> String {
    let seconds = silent_ms / 1_000;
    let cause = match remote.map(|remote| remote.ip()) {
        Some(std::net::IpAddr::V4(address)) if address.is_private() => {
            format!(
                "its description gives the private address {address}: if a NAT lies between, it may be waiting for our RTP there"
            )
        }
        Some(address) => format!(
            "a firewall before {address} or before the VoiceCluster's RTP ports drops it, or it waits for RTP before it sends"
        ),
        None => "nothing was agreed with it".to_owned(),
    };
    format!("NoInboundMedia: no RTP came from {who} in the {seconds} s after the answer; likely {cause}")
}
