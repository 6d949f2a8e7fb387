//! How calls that leave fare, trunk by trunk: for the metrics, and for nothing else.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use model::{LegId, TrunkId, net::Flow};
use sip::endpoint::{Ended, Event};

use crate::Now;

/// An INVITE of ours that has come to its end, or to an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Call-ID of the A leg that it was sent for.
    pub call_id: String,
    /// By which trunk it left.
    pub trunk: TrunkId,
    /// By which path.
    pub flow: Flow,
    /// When it left.
    pub began: Timestamp,
    /// How long until it came to that.
    pub took: Duration,
    /// SIP status: 200 for an answer, else the final one; 408, 487 or 503 where none came.
    pub code: u16,
    /// From the INVITE to the first 18x, or to the answer if none came before. None: neither came.
    pub post_dial_delay: Option<Duration>,
}

#[derive(Debug)]
struct Sent {
    call_id: String,
    trunk: TrunkId,
    flow: Flow,
    at: Now,
    delay: Option<Duration>,
}

/// Those that have not.
#[derive(Debug, Default)]
pub(super) struct Attempts(BTreeMap<LegId, Sent>);

impl Attempts {
    /// An INVITE has left.
    pub fn sent(&mut self, now: Now, leg: LegId, call_id: &str, (trunk, flow): (&TrunkId, Flow)) {
        let sent = Sent { call_id: call_id.to_owned(), trunk: trunk.clone(), flow, at: now, delay: None };
        self.0.insert(leg, sent);
    }

    /// Something happened on a leg. Gives what its INVITE has come to, once.
    #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else says what an INVITE comes to")]
    pub fn heard(&mut self, now: Instant, event: &Event) -> Option<Attempt> {
        let leg = event.leg()?;
        let sent = self.0.get_mut(&leg)?;
        let code = match event {
            Event::Progress { code: 180..=199, .. } => {
                sent.delay.get_or_insert_with(|| now.saturating_duration_since(sent.at.instant));
                return None;
            }
            Event::Answered { .. } => {
                sent.delay.get_or_insert_with(|| now.saturating_duration_since(sent.at.instant));
                200
            }
            Event::Ended { how: Ended::Failed { code, .. }, .. } => *code,
            Event::Ended { .. } => 487,
            _ => return None,
        };
        let Sent { call_id, trunk, flow, at, delay } = self.0.remove(&leg)?;
        let took = now.saturating_duration_since(at.instant);
        Some(Attempt { call_id, trunk, flow, began: at.wall, took, code, post_dial_delay: delay })
    }
}

#[cfg(test)]
mod tests {
    use model::net::{ListenerIx, Transport};
    use sip::endpoint::Failure;

    use super::*;

    fn ended(code: u16) -> Event {
        let how = Ended::Failed { code, reason: String::new(), cause: Failure::Response };
        Event::Ended { leg: LegId(1), how }
    }

    #[test]
    fn an_attempt_is_told_once_with_its_delay() {
        #[expect(clippy::disallowed_methods, reason = "a point in time to count from")]
        let start = Instant::now();
        let trunk = TrunkId::new("platform", "carrier");
        let remote = "192.0.2.1:5060".parse().unwrap();
        let flow = Flow { transport: Transport::Udp, listener: ListenerIx(0), remote, connection: 0 };
        let began: Timestamp = "2026-11-23T15:00:00Z".parse().unwrap();
        let at = |ms| start + Duration::from_millis(ms);
        let rings = || Event::Progress { leg: LegId(1), code: 180, sdp: None };
        let answers = || Event::Answered { leg: LegId(1), sdp: None };
        for (events, wanted) in [
            (vec![(100, rings()), (900, rings()), (5_000, answers()), (9_000, ended(500))], (200, Some(100))),
            (vec![(700, answers())], (200, Some(700))),
            (vec![(100, rings()), (300, ended(486))], (486, Some(100))),
            (vec![(300, ended(404))], (404, None)),
        ] {
            let mut attempts = Attempts::default();
            attempts.sent(Now { instant: start, wall: began }, LegId(1), "a", (&trunk, flow));
            let told: Vec<Attempt> =
                events.iter().filter_map(|(ms, event)| attempts.heard(at(*ms), event)).collect();
            let delay = wanted.1.map(Duration::from_millis);
            let last = events.iter().position(|(_, event)| !matches!(event, Event::Progress { .. }));
            let wanted = Attempt {
                call_id: "a".into(),
                trunk: trunk.clone(),
                flow,
                began,
                took: Duration::from_millis(events[last.unwrap()].0),
                code: wanted.0,
                post_dial_delay: delay,
            };
            assert_eq!(told, [wanted]);
            assert!(attempts.0.is_empty());
        }
    }
}
