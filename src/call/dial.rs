//! A `dial` under way: whom it rings, by which peers, and what came of each try.

use std::{
    collections::VecDeque,
    net::IpAddr,
    time::{Duration, Instant},
};

use model::{
    E164, LegId, TrunkId,
    media::Codec,
    net::{Flow as NetFlow, Transport},
    program::{Dial, DialTarget},
    snapshot::Peer,
};
use sip::endpoint::{Ended, Failure, Header, Invite};

use crate::{cursor::Dialled, sdp_leg::MediaLeg, world::World};

/// How long a peer may stay silent before the next one is tried, if there is one.
pub const SILENT_PEER: Duration = Duration::from_secs(4);

/// Most tries of one target, over all trunks, peers and addresses.
const TRIES_MAX: usize = 16;

/// A `dial` under way.
#[derive(Debug)]
pub struct Dialling {
    /// What the step says.
    pub dial: Box<Dial>,
    /// The target that comes next.
    pub next_target: usize,
    /// Those that ring.
    pub branches: Vec<Branch>,
    /// The one that answered.
    pub joined: Option<LegId>,
    /// How the latest failure is told: outcome, and code for a caller who is not answered yet.
    pub failure: (Dialled, u16),
}

/// One target that rings.
#[derive(Debug)]
pub struct Branch {
    /// Its media.
    pub media: MediaLeg,
    /// Its SIP leg, once the INVITE is out.
    pub sip: Option<LegId>,
    /// What is tried now.
    pub now: Try,
    /// What is tried next.
    pub tries: VecDeque<Try>,
    /// Whether any 18x came: then no other peer may be tried.
    pub rang: bool,
    /// Whether it has answered.
    pub answered: bool,
    /// When it has rung long enough.
    pub ring_until: Instant,
    /// When the present peer has been silent long enough.
    pub silent_until: Option<Instant>,
}

/// A way to reach a target.
#[derive(Debug, Clone)]
pub struct Try {
    /// Which trunk, for its caps.
    pub trunk: TrunkId,
    /// Name of the trunk's network, for media.
    pub network: String,
    /// What the trunk may use, in its order.
    pub codecs: Vec<Codec>,
    flow: NetFlow,
    request_uri: String,
    from: String,
    to: String,
}

/// Who calls, as a callee is to see it.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// Number, or empty if withheld.
    pub number: &'a str,
    /// Number that the caller dialled: the tenant's own.
    pub dialled: &'a str,
}

impl Branch {
    /// The INVITE of the present try.
    pub fn invite(&mut self, max_forwards: u8, headers: Vec<Header>) -> Option<Invite> {
        Some(Invite {
            flow: self.now.flow,
            request_uri: self.now.request_uri.clone(),
            from: self.now.from.clone(),
            to: self.now.to.clone(),
            sdp: Some(self.media.offer()?),
            max_forwards,
            headers,
            challenges: false,
            tcp: None,
        })
    }
}

/// All ways to reach a target, best first, as far as `admits` lets calls onto their trunks.
pub fn tries(
    world: &World,
    target: &DialTarget,
    caller: Caller<'_>,
    admits: &dyn Fn(&TrunkId) -> bool,
) -> VecDeque<Try> {
    let mut tries = VecDeque::new();
    let (trunks, user, shown) = match target {
        DialTarget::Number { number, trunks, caller_id } => {
            let shown = caller_id.as_ref().map_or_else(|| caller.dialled.to_owned(), E164::to_string);
            (trunks.as_slice(), number.to_string(), shown)
        }
        DialTarget::Extension { user, trunk } => {
            (std::slice::from_ref(trunk), user.clone(), caller.number.to_owned())
        }
        // Which of its stations rings is for an agent's floor to say, and none runs here.
        DialTarget::Agent(_) => return tries,
    };
    for id in trunks.iter().filter(|id| admits(id)) {
        let Some(trunk) = world.snapshot.trunks.get(id).filter(|trunk| trunk.direction.is_outbound()) else {
            continue;
        };
        for peer in &trunk.peers {
            for flow in world.flows_to(id, peer) {
                let local = world.snapshot.cluster.listeners.get(usize::from(flow.listener.0));
                let host = local.map_or("", |listener| listener.advertised.as_str());
                tries.push_back(Try {
                    trunk: id.clone(),
                    network: trunk.network.clone(),
                    codecs: trunk.codecs.clone(),
                    flow,
                    request_uri: uri(&user, peer, true),
                    from: identity(&shown, host),
                    to: format!("<{}>", uri(&user, peer, false)),
                });
            }
        }
    }
    tries.truncate(TRIES_MAX);
    tries
}

fn uri(user: &str, peer: &Peer, with_transport: bool) -> String {
    let host = match peer.host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        Ok(IpAddr::V4(_)) | Err(_) => peer.host.clone(),
    };
    // RFC 3261 §19.1.2: without a port it is that of the transport, which the To header does not have.
    let usual = if peer.transport == Transport::Tls && with_transport { 5061 } else { 5060 };
    let port = if peer.port == usual { String::new() } else { format!(":{}", peer.port) };
    let transport = match peer.transport {
        Transport::Tcp if with_transport => ";transport=tcp",
        Transport::Tls if with_transport => ";transport=tls",
        Transport::Udp | Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => "",
    };
    format!("sip:{user}@{host}{port}{transport}")
}

/// A withheld or unprintable number is anonymous (RFC 3323 §4.1).
fn identity(number: &str, host: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-_.*#".contains(&byte);
    if number.is_empty() || !number.bytes().all(plain) {
        return "\"Anonymous\" <sip:anonymous@anonymous.invalid>".into();
    }
    // RFC 3261 §25.1: `#` is no character of a user part.
    format!("<sip:{}@{host}>", number.replace('#', "%23"))
}

/// How a failed try is told to the flow, with the code for a caller who is not answered yet.
pub fn outcome_of(how: &Ended) -> (Dialled, u16) {
    match how {
        Ended::Failed { code: code @ (486 | 600), .. } => (Dialled::Busy, *code),
        Ended::Failed { cause: Failure::Cancelled, .. } => (Dialled::NoAnswer, 480),
        Ended::Failed { code: code @ (408 | 480), .. } => (Dialled::NoAnswer, *code),
        Ended::Failed { code: code @ 400..=699, .. } => (Dialled::Failed, *code),
        Ended::Failed { .. }
        | Ended::Cancelled { .. }
        | Ended::Rejected { .. }
        | Ended::Bye { .. }
        | Ended::NoAck
        | Ended::DialogLost { .. } => (Dialled::Failed, 480),
    }
}

/// Whether another peer may be tried: never after an 18x, a 486 or a 6xx.
pub fn may_try_another(branch: &Branch, how: &Ended) -> bool {
    let Ended::Failed { code, cause, .. } = how else { return false };
    let failed = match cause {
        Failure::TimedOut | Failure::Transport => true,
        Failure::Response => matches!(code, 500..=599),
        Failure::Cancelled => false,
    };
    failed && !branch.rang && !branch.tries.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(code: u16, cause: Failure) -> Ended {
        Ended::Failed { code, reason: String::new(), cause }
    }

    #[test]
    fn a_failure_is_told_by_its_code() {
        for (how, wanted) in [
            (failed(486, Failure::Response), (Dialled::Busy, 486)),
            (failed(600, Failure::Response), (Dialled::Busy, 600)),
            (failed(480, Failure::Response), (Dialled::NoAnswer, 480)),
            (failed(408, Failure::TimedOut), (Dialled::NoAnswer, 408)),
            (failed(487, Failure::Cancelled), (Dialled::NoAnswer, 480)),
            (failed(404, Failure::Response), (Dialled::Failed, 404)),
            (failed(503, Failure::Transport), (Dialled::Failed, 503)),
            (failed(302, Failure::Response), (Dialled::Failed, 480)),
            (failed(603, Failure::Response), (Dialled::Failed, 603)),
        ] {
            assert_eq!(outcome_of(&how), wanted, "{how:?}");
        }
    }

    #[test]
    fn a_hostile_number_is_anonymous() {
        assert_eq!(identity("+12125550100", "192.0.2.1:5060"), "<sip:+12125550100@192.0.2.1:5060>");
        for hostile in ["", "a>b", "x\r\nVia: y", "\"", "a b"] {
            assert!(identity(hostile, "h").contains("anonymous.invalid"), "{hostile:?}");
        }
    }
}
