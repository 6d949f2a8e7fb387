//! Keys of a leg that are agreed on by DTLS (RFC 5764) at its RTP socket.
//!
//! Until there are some nothing is sent but the handshake, and nothing else is heard. An association stays for as long as its
//! peer's certificate, our role and the peer's signalled address do (RFC 8842 §4); until the next one has come to keys those
//! of the last one are good.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use model::media::{Dtls, DtlsFailure};

use super::{Leg, Told};
use crate::{
    crypt::Crypt,
    dtls::{Association, Identity, Outcome},
    sys::Datagram,
};

/// Bytes of a first datagram that is kept for later.
const EARLY_MAX: usize = 1_500;

/// What a leg has for it.
#[derive(Debug)]
pub struct Shaking {
    association: Association,
    /// Where the peer is by its description.
    signalled: SocketAddr,
    /// Where it spoke from, once it did.
    source: Option<SocketAddr>,
}

impl Leg {
    /// Whether a datagram at the RTP socket is a part of a handshake that may be looked at (RFC 7983).
    pub fn is_handshake(&self, datagram: &Datagram<'_>) -> bool {
        (self.shaking.is_some() || self.remote.is_none())
            && Association::is_dtls(&datagram.buffer[..datagram.length])
    }

    /// Meets a peer, or goes on with it.
    pub(super) fn meet(&mut self, dtls: &Dtls, signalled: SocketAddr, now: Instant) {
        let before = self.shaking.as_ref();
        let same_peer = before.is_some_and(|before| before.association.with().peer == dtls.peer);
        let same = before.is_some_and(|it| it.association.with() == dtls && it.signalled == signalled);
        // One that is held as of old (RFC 2543) has no address, and yet is who it was.
        let held = signalled.port() == 0 || signalled.ip().is_unspecified();
        if same || same_peer && held {
            return;
        }
        if !same_peer {
            self.crypt = None;
        }
        let Some(identity) = &self.identity else { return };
        let association = Association::new(Arc::clone(identity), dtls, now);
        self.shaking = Some(Box::new(Shaking { association, signalled, source: None }));
    }

    /// Takes a datagram of a handshake.
    pub fn shake(&mut self, datagram: &Datagram<'_>, now: Instant) -> Option<Told> {
        let bytes = &datagram.buffer[..datagram.length];
        let Some(remote) = &self.remote else {
            // The peer was quicker than the order that tells of it, and would say it again only after a second.
            if datagram.length <= EARLY_MAX {
                self.early = Some(Box::new((bytes.to_vec(), datagram.from)));
            }
            return None;
        };
        if !remote.latch.admits(datagram.from, now) {
            self.meter.discard();
            return None;
        }
        let shaking = self.shaking.as_mut()?;
        shaking.source = Some(datagram.from);
        let outcome = shaking.association.receive(bytes, now);
        self.shaken(outcome, now)
    }

    /// Takes what came before its peer was known.
    pub(super) fn shake_early(&mut self, now: Instant) -> Option<Told> {
        let (mut bytes, from) = *self.early.take()?;
        let length = bytes.len();
        self.shaking.as_ref()?;
        self.shake(&Datagram { buffer: &mut bytes, length, from, onward: &mut None }, now)
    }

    /// Does what is due of it. Returns when to be called again.
    pub(super) fn shake_on(&mut self, now: Instant, mut tell: impl FnMut(Told)) -> Option<Instant> {
        if let Some(told) = self.shake_early(now) {
            tell(told);
        }
        let shaking = self.shaking.as_mut()?;
        let outcome = if shaking.association.due()? <= now { shaking.association.timeout(now) } else { None };
        if let Some(told) = self.shaken(outcome, now) {
            tell(told);
        }
        self.shaking.as_ref()?.association.due()
    }

    /// Whether the peer is proven to be there.
    pub(super) fn has_met(&self) -> bool {
        self.shaking.as_ref().is_some_and(|shaking| shaking.association.is_agreed())
    }

    fn shaken(&mut self, outcome: Option<Outcome>, now: Instant) -> Option<Told> {
        let (shaking, remote) = (self.shaking.as_mut()?, self.remote.as_mut()?);
        let to = shaking.source.unwrap_or_else(|| remote.latch.source());
        while let Some(datagram) = shaking.association.transmit() {
            if to.port() == 0 || to.ip().is_unspecified() {
                continue;
            }
            if let Err(error) = self.door.rtp().send_to(&datagram, to) {
                tracing::trace!(leg = %self.id, %error, "DTLS not sent");
            }
        }
        match outcome? {
            Outcome::Agreed(keys) => {
                tracing::debug!(session = %self.session, leg = %self.id, suite = keys.send.suite.name(), "keys by DTLS");
                // It is the peer's own: nobody else has that certificate's key.
                remote.latch.hear(to, now);
                // A peer that waits for us hears us soon.
                remote.since = now;
                self.last_sent = None;
                let taken = match &mut self.crypt {
                    Some(crypt) => crypt.rekey(&keys, now),
                    None => Crypt::new(&keys).map(|crypt| self.crypt = Some(Box::new(crypt))),
                };
                taken.err().map(|_| Told::Unprotected(DtlsFailure::Broken))
            }
            Outcome::Failed(why) => {
                self.crypt = None;
                Some(Told::Unprotected(why))
            }
        }
    }

    /// Shows this certificate.
    pub fn set_identity(&mut self, identity: Arc<Identity>) {
        self.identity = Some(identity);
    }
}
