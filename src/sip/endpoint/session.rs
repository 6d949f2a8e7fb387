//! Session timers (RFC 4028): a session that nobody refreshes ends, so that a lost peer does not hold it for ever.

use std::time::{Duration, Instant};

use bytes::Bytes;
use model::{LegId, net::Flow};

use super::{
    Ended, Endpoint, Header, SessionTimer,
    again::Again,
    leg::{Leg, Phase, Reinvite},
    table::Purpose,
};
use crate::{
    header::{Refresher, SessionExpires, tokens},
    wire::{Message, Method, Name},
};

/// The option tag.
pub const TAG: &str = "timer";
/// The least that any session may last (§5), in seconds.
const LEAST_S: u32 = 90;
/// The most that a 422 makes us ask for, in seconds: a day.
const MOST_S: u32 = 86_400;
/// How often a request is sent with a longer time.
const ATTEMPTS_MAX: u8 = 3;
/// How long before its end a session that was not refreshed is ended at most (§10).
const EARLY_S: u32 = 32;
/// How long a refresh waits that something else is in the way of, or that was refused: this part of the session's time.
const PAUSE_PART: u32 = 20;

/// A session that expires.
#[derive(Debug)]
pub struct Session {
    seconds: u32,
    we_refresh: bool,
    /// When it ends if no refresh came until then.
    ends_at: Instant,
    /// When we refresh it next; `None`: the peer does, or ours is under way.
    refresh_at: Option<Instant>,
    /// Our last description, for a peer that must be refreshed by re-INVITE.
    sdp: Box<[u8]>,
}

impl Session {
    fn new(now: Instant, seconds: u32, we_refresh: bool, sdp: Box<[u8]>) -> Self {
        let seconds = seconds.clamp(LEAST_S, MOST_S);
        let early = EARLY_S.min(seconds / 3);
        let after = |seconds: u32| now + Duration::from_secs(seconds.into());
        Self {
            seconds,
            we_refresh,
            ends_at: after(seconds - early),
            refresh_at: we_refresh.then(|| after(seconds / 2)),
            sdp,
        }
    }

    fn pause(&self) -> Duration {
        Duration::from_secs((self.seconds / PAUSE_PART).into())
    }

    pub fn poll_timeout(&self) -> Instant {
        self.refresh_at.unwrap_or(self.ends_at).min(self.ends_at)
    }
}

impl SessionTimer {
    /// Within what the RFC allows.
    fn bounded(self) -> (u32, u32) {
        let min_s = self.min_s.clamp(LEAST_S, MOST_S);
        (self.expires_s.clamp(min_s, MOST_S), min_s)
    }
}

impl Endpoint {
    /// The fields of a first INVITE.
    pub(super) fn session_asked(&self) -> Vec<Header> {
        let Some((expires_s, min_s)) = self.config.extensions.session.map(SessionTimer::bounded) else {
            return Vec::new();
        };
        let mut headers = vec![Header::new("Session-Expires", expires_s.to_string())];
        if min_s > LEAST_S {
            headers.push(Header::new("Min-SE", min_s.to_string()));
        }
        headers
    }

    /// The fields of a re-INVITE or UPDATE: the timer goes on as it is (§7.4).
    pub(super) fn session_kept(leg: &Leg) -> Option<Header> {
        let session = leg.session.as_ref()?;
        let refresher = if session.we_refresh { Refresher::Uac } else { Refresher::Uas };
        let value = SessionExpires { seconds: session.seconds, refresher: Some(refresher) };
        Some(Header::new("Session-Expires", value.to_value()))
    }

    /// Whether a request wants a session that is too short (§9): then it is answered 422.
    pub(super) fn is_session_too_short(&mut self, flow: Flow, request: &Message) -> bool {
        let Some((_, min_s)) = self.config.extensions.session.map(SessionTimer::bounded) else {
            return false;
        };
        let asks = matches!(request.method(), Method::Invite | Method::Update);
        let wanted = request.header(Name::SessionExpires).and_then(SessionExpires::parse);
        if !asks || !supports(request, TAG) || wanted.is_none_or(|wanted| wanted.seconds >= min_s) {
            return false;
        }
        let min = Header::new("Min-SE", min_s.to_string());
        self.refuse(flow, request, 422, &[min], "the session interval is too short");
        true
    }

    /// The fields of our 2xx to a peer's INVITE or UPDATE, and the timer that they start (§9, table 2). `sdp` is our
    /// description now; empty: it is the one of before.
    pub(super) fn session_as_server(
        &mut self,
        now: Instant,
        id: LegId,
        request: &Message,
        sdp: &[u8],
    ) -> Vec<Header> {
        let timer = self.config.extensions.session.map(SessionTimer::bounded);
        let Some(leg) = self.legs.get_mut(&id) else { return Vec::new() };
        leg.heed_allow(request);
        let Some((expires_s, min_s)) = timer else { return Vec::new() };
        let sdp = leg.sdp_for_refresh(sdp);
        let read = |name| request.header(name).and_then(SessionExpires::parse);
        let (wanted, least) = (read(Name::SessionExpires), read(Name::MinSe));
        let least = least.map_or(min_s, |least| least.seconds.clamp(min_s, MOST_S));
        let knows = supports(request, TAG);
        let (seconds, refresher) = match (wanted, knows) {
            (Some(wanted), true) => (wanted.seconds.min(expires_s).max(least), wanted.refresher),
            // A proxy asks for it, and only we can refresh.
            (Some(wanted), false) => (wanted.seconds.min(expires_s).max(least), Some(Refresher::Uas)),
            (None, true) => (expires_s.max(least), Some(Refresher::Uas)),
            (None, false) => {
                leg.session = None;
                return Vec::new();
            }
        };
        let refresher = refresher.unwrap_or(Refresher::Uac);
        leg.session = Some(Box::new(Session::new(now, seconds, refresher == Refresher::Uas, sdp)));
        self.schedule_leg(id);
        let value = SessionExpires { seconds, refresher: Some(refresher) };
        let mut headers = vec![Header::new("Session-Expires", value.to_value())];
        if refresher == Refresher::Uac {
            headers.push(Header::new("Require", TAG));
        }
        headers
    }

    /// The timer that a 2xx to our INVITE or UPDATE starts (§7.2). Without Session-Expires the session does not end.
    pub(super) fn session_as_client(&mut self, now: Instant, id: LegId, response: &Message, sdp: &[u8]) {
        let is_on = self.config.extensions.session.is_some();
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.heed_allow(response);
        let sdp = leg.sdp_for_refresh(sdp);
        let agreed = response.header(Name::SessionExpires).and_then(SessionExpires::parse).filter(|_| is_on);
        leg.session = agreed.map(|agreed| {
            let we_refresh = agreed.refresher != Some(Refresher::Uas);
            Box::new(Session::new(now, agreed.seconds, we_refresh, sdp))
        });
        self.schedule_leg(id);
    }

    /// Sends an INVITE or UPDATE that got a 422 again, with the time that it asks for (§7.3).
    pub(super) fn is_422_taken(&mut self, now: Instant, again: Option<Again>, response: &Message) -> bool {
        let is_on = self.config.extensions.session.is_some();
        let Some(mut again) = again.filter(|again| is_on && again.attempts < ATTEMPTS_MAX) else {
            return false;
        };
        let min = response.header(Name::MinSe).and_then(SessionExpires::parse);
        let Some(min) = min.filter(|min| (1..=MOST_S).contains(&min.seconds)) else { return false };
        if !matches!(again.purpose, Purpose::Invite | Purpose::Reinvite | Purpose::Update) {
            return false;
        }
        let Some(leg) = again.leg.and_then(|id| self.legs.get(&id)).filter(|leg| !leg.is_cancelled()) else {
            return false;
        };
        let refresher = leg.session.as_ref().map(|session| session.we_refresh);
        let refresher = refresher.map(|ours| if ours { Refresher::Uac } else { Refresher::Uas });
        let ours = self.config.extensions.session.map_or(0, |timer| timer.bounded().0);
        let value = SessionExpires { seconds: min.seconds.max(ours), refresher };
        again.attempts += 1;
        let headers = [
            Header::new("Session-Expires", value.to_value()),
            Header::new("Min-SE", min.seconds.to_string()),
        ];
        self.send_again(now, again, &headers).is_some()
    }

    /// Refreshes the session, or ends it.
    pub(super) fn wake_session(&mut self, now: Instant, id: LegId) {
        let full = self.table_is_full();
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let busy = full || leg.asked.is_some() || leg.unacked.is_some() || leg.reinvite.is_some();
        let by_update = leg.peer_updates;
        let Some(session) = leg.session.as_mut().filter(|_| matches!(leg.phase, Phase::Established)) else {
            return;
        };
        if now >= session.ends_at {
            leg.session = None;
            let reason = Header::new("Reason", "SIP;cause=408;text=\"Session expired\"");
            self.tell_end(id, Ended::DialogLost { code: 408 });
            return self.send_bye(now, id, &[reason]);
        }
        if session.refresh_at.is_none_or(|at| at > now) {
            return;
        }
        if busy {
            session.refresh_at = Some(now + session.pause());
            return;
        }
        session.refresh_at = None;
        let sdp = if by_update { Bytes::new() } else { Bytes::copy_from_slice(&session.sdp) };
        leg.reinvite = Some(Box::new(Reinvite::new(now, sdp, by_update, true)));
        self.send_reinvite(now, id);
    }

    /// A refresh of ours was refused: again later, by INVITE if the peer does not know UPDATE after all. The session goes
    /// on until its time is over (§10).
    pub(super) fn refresh_later(&mut self, now: Instant, id: LegId, code: u16) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if matches!(code, 405 | 501) {
            leg.peer_updates = false;
        }
        if let Some(session) = &mut leg.session {
            session.refresh_at = Some(now + session.pause());
        }
        self.schedule_leg(id);
    }
}

impl Leg {
    fn heed_allow(&mut self, message: &Message) {
        let mut methods = message.headers(Name::Allow).flat_map(tokens).peekable();
        if methods.peek().is_some() {
            self.peer_updates = methods.any(|method| method == Method::Update.as_str());
        }
    }

    fn sdp_for_refresh(&mut self, new: &[u8]) -> Box<[u8]> {
        match self.session.as_mut().filter(|_| new.is_empty()) {
            Some(session) => std::mem::take(&mut session.sdp),
            None => new.into(),
        }
    }
}

/// Whether a message names an option tag in Supported or Require.
pub(super) fn supports(message: &Message, tag: &str) -> bool {
    let names = [Name::Supported, Name::Require].into_iter().flat_map(|name| message.headers(name));
    names.flat_map(tokens).any(|one| one.eq_ignore_ascii_case(tag))
}
