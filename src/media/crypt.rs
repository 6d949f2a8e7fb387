//! SRTP at a leg's sockets (RFC 3711, RFC 7714): inside, everything is plain.
//!
//! A new key protects what we send from the moment it is configured; what comes may still be protected with the one
//! before for [`OVERLAP`], since the peer's switch-over crosses ours (RFC 4568 §7.1.4 lets both be in use). While a key
//! stays, so do its roll-over counter and replay window; a key that comes back goes on where it stopped, for under one
//! key and SSRC no index may be used twice.

use std::time::{Duration, Instant};

use model::media::{MasterKey, SrtpKeys};
use rtp::srtp::{Receiver, Sender, SrtpError};

/// How long the peer's former key is accepted.
pub const OVERLAP: Duration = Duration::from_secs(2);
/// Octets of a datagram that may be tried with two keys.
const DATAGRAM_MAX: usize = 2_048;

/// The keys of one leg and where they are.
pub struct Crypt {
    keys: SrtpKeys,
    send: Sender,
    receive: Receiver,
    sent_before: Option<(MasterKey, Sender)>,
    received_before: Option<Former>,
}

struct Former {
    key: MasterKey,
    receiver: Receiver,
    until: Instant,
}

impl Crypt {
    /// Begins with these keys.
    ///
    /// # Errors
    /// A key without its suite's length.
    pub fn new(keys: &SrtpKeys) -> Result<Self, SrtpError> {
        Ok(Self {
            send: Sender::new(&keys.send, 0)?,
            receive: Receiver::new(&keys.receive)?,
            keys: keys.clone(),
            sent_before: None,
            received_before: None,
        })
    }

    /// Goes on with these keys.
    ///
    /// # Errors
    /// As [`Crypt::new`]; what was before stays.
    pub fn rekey(&mut self, keys: &SrtpKeys, now: Instant) -> Result<(), SrtpError> {
        if keys.send != self.keys.send {
            let sender = match self.sent_before.take_if(|(key, _)| *key == keys.send) {
                Some((_, sender)) => sender,
                None => Sender::new(&keys.send, 0)?,
            };
            let former = std::mem::replace(&mut self.keys.send, keys.send.clone());
            self.sent_before = Some((former, std::mem::replace(&mut self.send, sender)));
        }
        if keys.receive != self.keys.receive {
            let receiver = match self.received_before.take_if(|former| former.key == keys.receive) {
                Some(former) => former.receiver,
                None => Receiver::following(&keys.receive, &self.receive)?,
            };
            let key = std::mem::replace(&mut self.keys.receive, keys.receive.clone());
            let receiver = std::mem::replace(&mut self.receive, receiver);
            self.received_before = Some(Former { key, receiver, until: now + OVERLAP });
        }
        Ok(())
    }

    /// Opens a datagram in place. Returns how long the plain one is; `None`: forged, replayed, or not protected at all.
    pub fn open(&mut self, datagram: &mut [u8], rtcp: bool, now: Instant) -> Option<usize> {
        let former = self.received_before.as_mut().filter(|former| now <= former.until);
        let Some(former) = former else { return opened(&mut self.receive, datagram, rtcp) };
        // What fails may be spoilt, so the second try needs it as it came.
        let mut copy = [0; DATAGRAM_MAX];
        let copy = copy.get_mut(..datagram.len())?;
        copy.copy_from_slice(datagram);
        opened(&mut self.receive, datagram, rtcp).or_else(|| {
            datagram.copy_from_slice(copy);
            opened(&mut former.receiver, datagram, rtcp)
        })
    }

    /// Protects the first `length` octets in place, with what is added behind them. Returns how long it is now.
    pub fn close(&mut self, buffer: &mut [u8], length: usize, rtcp: bool) -> Option<usize> {
        let closed =
            if rtcp { self.send.protect_rtcp(buffer, length) } else { self.send.protect(buffer, length) };
        closed.inspect_err(|error| tracing::trace!(%error, "not protected")).ok()
    }
}

fn opened(receiver: &mut Receiver, datagram: &mut [u8], rtcp: bool) -> Option<usize> {
    let opened = if rtcp { receiver.unprotect_rtcp(datagram) } else { receiver.unprotect(datagram) };
    opened.inspect_err(|error| tracing::trace!(%error, "not opened")).ok()
}

impl std::fmt::Debug for Crypt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crypt").field("keys", &self.keys).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use model::media::CryptoSuite;
    use rtp::{packet::Header, srtp::OVERHEAD_MAX};

    use super::*;

    fn key(octet: u8) -> MasterKey {
        MasterKey::new(CryptoSuite::AeadAes128Gcm, vec![octet; 28])
    }

    fn keys(send: u8, receive: u8) -> SrtpKeys {
        SrtpKeys { send: key(send), receive: key(receive) }
    }

    fn packet(crypt: &mut Crypt, sequence: u16) -> Vec<u8> {
        let header = Header { sequence, ssrc: 7, ..Header::default() };
        let mut buffer = [&header.to_bytes()[..], b"sound", &[0; OVERHEAD_MAX]].concat();
        let length = crypt.close(&mut buffer, 17, false).unwrap();
        buffer.truncate(length);
        buffer
    }

    fn hears(crypt: &mut Crypt, mut packet: Vec<u8>, now: Instant) -> bool {
        crypt.open(&mut packet, false, now).is_some_and(|length| &packet[12..length] == b"sound")
    }

    #[test]
    fn a_new_key_protects_at_once_and_the_old_one_opens_for_two_seconds() {
        let now = Instant::now();
        let (mut us, mut peer) = (Crypt::new(&keys(1, 2)).unwrap(), Crypt::new(&keys(2, 1)).unwrap());
        let first = packet(&mut peer, 1);
        assert!(hears(&mut us, first.clone(), now));
        assert!(!hears(&mut us, first, now), "replayed");
        us.rekey(&keys(3, 4), now).unwrap();
        let (late, later) = (packet(&mut peer, 2), packet(&mut peer, 3));
        peer.rekey(&keys(4, 3), now).unwrap();
        let new = packet(&mut peer, 4);
        assert!(hears(&mut us, new, now) && hears(&mut us, late, now + OVERLAP));
        assert!(!hears(&mut us, later, now + OVERLAP + Duration::from_millis(1)));
        let ours = packet(&mut us, 9);
        assert!(hears(&mut peer, ours, now));
    }

    #[test]
    fn a_key_that_stays_or_comes_back_uses_no_index_twice() {
        let now = Instant::now();
        let mut us = Crypt::new(&keys(1, 2)).unwrap();
        packet(&mut us, 5);
        us.rekey(&keys(1, 2), now).unwrap();
        us.rekey(&keys(8, 2), now).unwrap();
        us.rekey(&keys(1, 2), now).unwrap();
        let mut again = [0x80, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 7].to_vec();
        again.resize(40, 0);
        assert_eq!(us.close(&mut again, 12, false), None);
    }

    #[test]
    fn a_peer_whose_counter_has_rolled_over_may_keep_it_under_a_new_key_or_begin_anew() {
        let now = Instant::now();
        for keeps in [true, false] {
            let (mut us, mut peer) = (Crypt::new(&keys(1, 2)).unwrap(), Crypt::new(&keys(2, 1)).unwrap());
            for sequence in [65_534, 65_535, 0, 1] {
                let said = packet(&mut peer, sequence);
                assert!(hears(&mut us, said, now));
            }
            us.rekey(&keys(1, 4), now).unwrap();
            peer.send = Sender::new(&key(4), u32::from(keeps)).unwrap();
            let mut forged = packet(&mut Crypt::new(&keys(9, 1)).unwrap(), 2);
            forged[11] = 7;
            assert!(!hears(&mut us, forged, now));
            for sequence in [2, 3, 4] {
                let said = packet(&mut peer, sequence);
                assert!(hears(&mut us, said.clone(), now), "{keeps} {sequence}");
                assert!(!hears(&mut us, said, now), "replayed: {keeps} {sequence}");
            }
        }
    }

    #[test]
    fn a_key_of_a_wrong_length_is_refused_and_what_was_stays() {
        let now = Instant::now();
        let (mut us, mut peer) = (Crypt::new(&keys(1, 2)).unwrap(), Crypt::new(&keys(2, 1)).unwrap());
        let mut wrong = keys(3, 2);
        wrong.send.key_and_salt.pop();
        assert!(us.rekey(&wrong, now).is_err());
        let ours = packet(&mut us, 1);
        assert!(hears(&mut peer, ours, now));
    }
}
