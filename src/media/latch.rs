//! Which source a leg listens to, and where it sends: symmetric RTP (RFC 4961) with as little trust as will do.
//!
//! The signalled address is always heard. Another port of a known address, as a NAT gives, is taken while the present
//! source is silent. Another address altogether is taken only in the first two seconds and only before anything
//! valid has come, which is when a telephone behind a NAT makes itself known. All else is a stranger.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

/// How long another address may make itself known.
pub const OPEN: Duration = Duration::from_secs(2);
/// Silence of the present source after which another port of its address is believed.
pub const SILENCE: Duration = Duration::from_millis(500);

/// The source of one leg.
#[derive(Debug, Clone)]
pub struct Latch {
    signalled: SocketAddr,
    source: SocketAddr,
    opened: Instant,
    heard: Option<Instant>,
}

impl Latch {
    /// Begins with what the session description said.
    #[must_use]
    pub const fn new(signalled: SocketAddr, now: Instant) -> Self {
        Self { signalled, source: signalled, opened: now, heard: None }
    }

    /// What the session description said.
    #[must_use]
    pub const fn signalled(&self) -> SocketAddr {
        self.signalled
    }

    /// Where to send.
    #[must_use]
    pub const fn source(&self) -> SocketAddr {
        self.source
    }

    /// Whether a packet from there may be heard, if it proves to be valid.
    #[must_use]
    pub fn admits(&self, from: SocketAddr, now: Instant) -> bool {
        if from == self.source || from == self.signalled {
            return true;
        }
        let known = from.ip() == self.source.ip() || from.ip() == self.signalled.ip();
        match self.heard {
            Some(heard) => known && now.saturating_duration_since(heard) >= SILENCE,
            None => known || now.saturating_duration_since(self.opened) <= OPEN,
        }
    }

    /// A valid packet has come from an address that was admitted.
    pub fn hear(&mut self, from: SocketAddr, now: Instant) {
        self.source = from;
        self.heard = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_source_is_admitted_or_not() {
        let (signalled, port, stranger) = (at("10.0.0.1:4000"), at("10.0.0.1:4002"), at("10.0.0.9:4000"));
        // Who was heard last and when (ms); who comes and when; whether it is heard.
        let table = [
            ("the signalled one", None, signalled, 0, true),
            ("the signalled one, much later", Some((port, 10)), signalled, 20, true),
            ("the signalled one drives out a stranger", Some((stranger, 10)), signalled, 20, true),
            ("another port at first", None, port, 9_000, true),
            ("another port beside a live source", Some((signalled, 100)), port, 120, false),
            ("another port after silence", Some((signalled, 100)), port, 700, true),
            ("a stranger at first", None, stranger, 1_999, true),
            ("a stranger too late", None, stranger, 2_001, false),
            ("a stranger beside a live source", Some((signalled, 100)), stranger, 120, false),
            ("a stranger after silence", Some((signalled, 100)), stranger, 900, false),
        ];
        for (what, heard, from, ms, admitted) in table {
            let start = Instant::now();
            let mut latch = Latch::new(signalled, start);
            if let Some((from, ms)) = heard {
                latch.hear(from, start + Duration::from_millis(ms));
            }
            assert_eq!(latch.admits(from, start + Duration::from_millis(ms)), admitted, "{what}");
        }
    }
}
