//! DTLS-SRTP (RFC 5763, RFC 5764): how a leg and its peer agree on keys beside their audio, on the leg's own RTP socket.
//!
//! An [`Association`] takes datagrams and time, and gives datagrams and an outcome; the caller has the socket and the clock.
//! Who the peer is, the fingerprint of its certificate says, which came with the session description: nothing else about the
//! certificate counts. Ours is one for the life of the process, and its key is nowhere else.
//!
//! What it costs (`what_a_handshake_costs`, not optimised, 2 cores that a load of 18 shared): both ends together 5.8 ms of the
//! clock, in some eight datagrams. So a worker does it itself, between packets; a helper thread would cost more than it saves.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::BytesMut;
use model::media::{
    CertificateHash, CryptoSuite, Dtls, DtlsFailure, DtlsRole, Fingerprint, MasterKey, SrtpKeys,
};
use rtc_crypto::{RTCCryptoProvider, default_provider};
use rtc_dtls::{
    config::{ClientAuthType, ConfigBuilder, HandshakeConfig},
    crypto::Certificate,
    endpoint::{Endpoint, EndpointEvent},
    extension::extension_use_srtp::SrtpProtectionProfile,
    state::State,
};
use rtc_shared::{TransportProtocol, error::Error};
use sha2::{Digest, Sha256, Sha384, Sha512};

/// How long a handshake may take, from the agreement on. A peer that has answered begins at once.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(20);
/// When a flight is sent again for the first time (RFC 6347 §4.2.4.1 lets it be less than a second where that is too long:
/// nobody hears anything meanwhile). Each time is twice as long as the last one, up to four seconds: the library sends it
/// again seven times and then no more, which is as long as a handshake may take.
const RETRANSMISSION: Duration = Duration::from_millis(500);
const DOUBLINGS_MAX: u32 = 3;
/// Datagrams that one association takes at most: a handshake has some ten, with all repetitions some hundred.
const DATAGRAMS_MAX: u32 = 400;
/// Bytes of a datagram that we send, without IP and UDP: what passes through a tunnel or two.
const MTU: usize = 1_200;
/// RFC 5764 §4.2.
const EXPORTER: &str = "EXTRACTOR-dtls_srtp";
/// First octets of DTLS among all that comes to an RTP port (RFC 7983 §7).
const FIRST_OCTETS: std::ops::RangeInclusive<u8> = 20..=63;
/// Handshake messages that are remembered, each as number and fragment: a handshake has some ten.
const MESSAGES_MAX: usize = 64;
/// Octets before a record's content (RFC 6347 §4.1).
const RECORD_HEADER: usize = 13;

/// The one other end that an association has. Where it is, is the leg's affair.
const PEER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1));

/// The server's certificate and its key.
pub struct Identity {
    provider: Arc<dyn RTCCryptoProvider>,
    certificate: Certificate,
    fingerprint: Fingerprint,
}

impl Identity {
    /// A new one, signed by itself.
    ///
    /// # Errors
    /// What the library says; there is no reason for it.
    pub fn new() -> Result<Self, String> {
        let provider = default_provider().map_err(|error| error.to_string())?;
        let certificate = Certificate::generate_self_signed(["switchboard".to_owned()], provider.crypto())
            .map_err(|error| error.to_string())?;
        let shown = certificate.certificate.first().ok_or("a certificate without content")?;
        let fingerprint = fingerprint(CertificateHash::Sha256, shown);
        Ok(Self { provider, certificate, fingerprint })
    }

    /// Of the certificate.
    pub const fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    fn config(&self, dtls: &Dtls, strange: &Arc<AtomicBool>) -> Result<HandshakeConfig, Error> {
        let (peer, strange) = (dtls.peer.clone(), Arc::clone(strange));
        let known = move |certificates: &[Vec<u8>], _: &[_]| {
            if certificates.first().is_some_and(|shown| fingerprint(peer.hash, shown) == peer) {
                return Ok(());
            }
            strange.store(true, Ordering::Relaxed);
            Err(Error::Other("the certificate is not the one of the session description".to_owned()))
        };
        ConfigBuilder::default()
            .with_crypto_provider(Arc::clone(&self.provider))
            .with_certificates(vec![self.certificate.clone()])
            .with_srtp_protection_profiles(vec![
                SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            ])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            // No authority has signed it: `known` looks at it instead.
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(Arc::new(known)))
            .with_server_name("switchboard".to_owned())
            .with_flight_interval(RETRANSMISSION)
            .with_mtu(MTU)
            .build(dtls.role == DtlsRole::Client, None)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// What has come of a handshake.
#[derive(Debug)]
pub enum Outcome {
    /// Keys.
    Agreed(Box<SrtpKeys>),
    /// None, and none will.
    Failed(DtlsFailure),
}

/// What we have with one peer.
pub struct Association {
    identity: Arc<Identity>,
    dtls: Dtls,
    endpoint: Endpoint,
    /// Whether the peer has shown another certificate.
    strange: Arc<AtomicBool>,
    /// The library's timer, as it was last.
    armed: Option<Instant>,
    /// How often the last flight was sent again.
    repeated: u32,
    /// Handshake messages that have come in the clear: number and place of the fragment.
    seen: Vec<(u16, u32)>,
    ends_by: Instant,
    heard: bool,
    taken: u32,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// There are no keys yet.
    Shaking,
    /// There are; the end of the handshake may have to be said again.
    Agreed,
    /// Nothing is said any more.
    Over,
}

impl Association {
    /// Begins, or waits for the peer to begin. What is to be sent must be asked for.
    pub fn new(identity: Arc<Identity>, dtls: &Dtls, now: Instant) -> Self {
        let mut association = Self {
            identity,
            dtls: dtls.clone(),
            endpoint: Endpoint::new(PEER, TransportProtocol::UDP, None),
            strange: Arc::default(),
            armed: None,
            repeated: 0,
            seen: Vec::new(),
            ends_by: now + HANDSHAKE_MAX,
            heard: false,
            taken: 0,
            stage: Stage::Shaking,
        };
        if let Err(error) = association.begin(now) {
            // It is told when time is over: without a configuration nothing is sent or taken until then.
            tracing::warn!(%error, "a DTLS handshake cannot begin");
        }
        association
    }

    /// Whether a datagram is DTLS.
    pub fn is_dtls(datagram: &[u8]) -> bool {
        datagram.first().is_some_and(|first| FIRST_OCTETS.contains(first))
    }

    /// With whom.
    pub const fn with(&self) -> &Dtls {
        &self.dtls
    }

    /// Whether there are keys.
    pub fn is_agreed(&self) -> bool {
        self.stage == Stage::Agreed
    }

    fn begin(&mut self, now: Instant) -> Result<(), Error> {
        let config = Arc::new(self.identity.config(&self.dtls, &self.strange)?);
        match self.dtls.role {
            DtlsRole::Client => {
                self.endpoint.connect(now, PEER, config, None)?;
                self.armed = self.endpoint.poll_timeout(&PEER);
                Ok(())
            }
            DtlsRole::Server => {
                self.endpoint = Endpoint::new(PEER, TransportProtocol::UDP, Some(config));
                Ok(())
            }
        }
    }

    /// Takes a datagram of the peer.
    pub fn receive(&mut self, datagram: &[u8], now: Instant) -> Option<Outcome> {
        if self.stage == Stage::Over || self.taken >= DATAGRAMS_MAX || !is_whole(datagram) {
            return None;
        }
        self.taken += 1;
        self.heard = true;
        if self.is_repetition(datagram) {
            return None;
        }
        let read = self.endpoint.read(now, PEER, None, BytesMut::from(datagram));
        let armed = self.endpoint.poll_timeout(&PEER);
        if armed != self.armed {
            (self.armed, self.repeated) = (armed, 0);
        }
        match read {
            Ok(events) => {
                // Whoever says goodbye has no more to say, and need not be answered if it begins again.
                let mut outcome = None;
                #[expect(
                    clippy::wildcard_enum_match_arm,
                    reason = "the library may add more that changes nothing"
                )]
                for event in events {
                    match event {
                        EndpointEvent::HandshakeComplete if self.stage == Stage::Shaking => {
                            outcome = Some(self.complete());
                        }
                        EndpointEvent::PeerClosed if self.stage == Stage::Shaking => {
                            outcome = Some(self.fail(DtlsFailure::Broken));
                        }
                        EndpointEvent::PeerClosed => self.stage = Stage::Over,
                        _ => {}
                    }
                }
                outcome
            }
            Err(_) if self.stage == Stage::Agreed => None,
            Err(error) => {
                tracing::debug!(%error, "a DTLS handshake fails");
                Some(self.fail(self.failure(&error)))
            }
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library has a few hundred errors, of which two are told apart"
    )]
    fn failure(&self, error: &Error) -> DtlsFailure {
        if self.strange.load(Ordering::Relaxed) {
            return DtlsFailure::WrongFingerprint;
        }
        match error {
            Error::ErrServerNoMatchingSrtpProfile
            | Error::ErrClientNoMatchingSrtpProfile
            | Error::ErrRequestedButNoSrtpExtension => DtlsFailure::NoCommonProfile,
            _ => DtlsFailure::Broken,
        }
    }

    fn fail(&mut self, why: DtlsFailure) -> Outcome {
        self.stage = Stage::Over;
        Outcome::Failed(why)
    }

    fn complete(&mut self) -> Outcome {
        let Some(state) = self.endpoint.get_connection_state(PEER) else {
            return self.fail(DtlsFailure::Broken);
        };
        // A server that was shown no certificate has not looked at one.
        let shown = state.peer_certificates.first();
        if !shown.is_some_and(|shown| fingerprint(self.dtls.peer.hash, shown) == self.dtls.peer) {
            return self.fail(DtlsFailure::WrongFingerprint);
        }
        match keys(state, self.dtls.role) {
            Ok(keys) => {
                self.stage = Stage::Agreed;
                Outcome::Agreed(Box::new(keys))
            }
            Err(why) => self.fail(why),
        }
    }

    /// Whether a datagram says nothing new. The library would take it for progress, and say its own flight no more that may
    /// have been lost; but what asks a server for its cookie again must reach it.
    fn is_repetition(&mut self, datagram: &[u8]) -> bool {
        if self.stage != Stage::Shaking {
            return false;
        }
        let Some(messages) = messages(datagram) else { return false };
        let old = |message: &(u16, u32)| {
            self.seen.contains(message) && (self.dtls.role == DtlsRole::Client || message.0 != 0)
        };
        if self.armed.is_some() && messages.iter().all(old) {
            return true;
        }
        let room = MESSAGES_MAX.saturating_sub(self.seen.len());
        self.seen.extend(messages.into_iter().take(room));
        false
    }

    /// What is to be sent to the peer next.
    pub fn transmit(&mut self) -> Option<BytesMut> {
        self.endpoint.poll_transmit().map(|packet| packet.message)
    }

    /// When [`Association::timeout`] is due.
    pub fn due(&self) -> Option<Instant> {
        let shaking = self.stage == Stage::Shaking;
        let ends_by = shaking.then_some(self.ends_by);
        self.repeats_at().filter(|_| shaking).into_iter().chain(ends_by).min()
    }

    fn repeats_at(&self) -> Option<Instant> {
        let doubled = (1 << self.repeated.min(DOUBLINGS_MAX)) - 1;
        self.armed.map(|armed| armed + RETRANSMISSION * doubled)
    }

    /// Says again what was not answered, or gives up.
    pub fn timeout(&mut self, now: Instant) -> Option<Outcome> {
        if self.stage != Stage::Shaking {
            return None;
        }
        if self.ends_by <= now {
            return Some(self.fail(DtlsFailure::TimedOut { heard: self.heard }));
        }
        if self.repeats_at().is_some_and(|due| due <= now) {
            if self.endpoint.handle_timeout(PEER, now).is_err() {
                return Some(self.fail(DtlsFailure::TimedOut { heard: self.heard }));
            }
            self.armed = self.endpoint.poll_timeout(&PEER);
            self.repeated += 1;
        }
        None
    }
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Association")
            .field("dtls", &self.dtls)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

/// Whether a datagram is made of records, and of nothing else: what is not is discarded (RFC 6347 §4.1.2.7).
fn is_whole(mut datagram: &[u8]) -> bool {
    while let [20..=25, 0xfe, 0xfd..=0xff, ..] = datagram {
        let Some(length) = datagram.get(RECORD_HEADER - 2..RECORD_HEADER) else { return false };
        let end = RECORD_HEADER + usize::from(u16::from_be_bytes([length[0], length[1]]));
        match datagram.get(end..) {
            Some([]) => return true,
            Some(rest) => datagram = rest,
            None => return false,
        }
    }
    false
}

/// Number and fragment's place of each handshake message of a datagram of whole records. None: it has something else.
fn messages(mut datagram: &[u8]) -> Option<Vec<(u16, u32)>> {
    const HEADER: usize = 12;
    let mut messages = Vec::new();
    while let [kind, _, _, e0, e1, _, _, _, _, _, _, l0, l1, rest @ ..] = datagram {
        if (*kind, *e0, *e1) != (22, 0, 0) {
            return None;
        }
        let (mut record, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*l0, *l1])))?;
        while let [_, _, _, _, n0, n1, o0, o1, o2, f0, f1, f2, ..] = record {
            messages.push((u16::from_be_bytes([*n0, *n1]), u32::from_be_bytes([0, *o0, *o1, *o2])));
            let length = u32::from_be_bytes([0, *f0, *f1, *f2]) as usize;
            record = record.get(HEADER + length..)?;
        }
        datagram = rest;
    }
    Some(messages)
}

fn fingerprint(hash: CertificateHash, certificate: &[u8]) -> Fingerprint {
    let value = match hash {
        CertificateHash::Sha256 => Sha256::digest(certificate).to_vec(),
        CertificateHash::Sha384 => Sha384::digest(certificate).to_vec(),
        CertificateHash::Sha512 => Sha512::digest(certificate).to_vec(),
    };
    Fingerprint { hash, value }
}

/// The client's key, the server's, the client's salt and the server's (RFC 5764 §4.2).
fn keys(state: &State, role: DtlsRole) -> Result<SrtpKeys, DtlsFailure> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else there is, we have not offered")]
    let suite = match state.srtp_protection_profile() {
        SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => CryptoSuite::AeadAes256Gcm,
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => CryptoSuite::AeadAes128Gcm,
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => CryptoSuite::AesCm128HmacSha1_80,
        _ => return Err(DtlsFailure::NoCommonProfile),
    };
    let (key, salt) = (suite.key_length(), suite.salt_length());
    let secret = state.export_keying_material(EXPORTER, &[], 2 * (key + salt));
    let secret = secret.map_err(|_| DtlsFailure::Broken)?;
    let part = |from: usize, length: usize| secret.as_ref().get(from..from + length).unwrap_or_default();
    let of = |place: usize| {
        MasterKey::new(suite, [part(place * key, key), part(2 * key + place * salt, salt)].concat())
    };
    let (client, server) = (of(0), of(1));
    Ok(match role {
        DtlsRole::Client => SrtpKeys { send: client, receive: server },
        DtlsRole::Server => SrtpKeys { send: server, receive: client },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(server_knows: bool, client_knows: bool, now: Instant) -> (Association, Association) {
        let (one, other) = (Arc::new(Identity::new().unwrap()), Arc::new(Identity::new().unwrap()));
        let of = |identity: &Identity, known: bool| {
            let mut peer = identity.fingerprint().clone();
            peer.value[0] ^= u8::from(!known);
            peer
        };
        let server = Dtls { peer: of(&other, server_knows), role: DtlsRole::Server };
        let client = Dtls { peer: of(&one, client_knows), role: DtlsRole::Client };
        (Association::new(one, &server, now), Association::new(other, &client, now))
    }

    /// Carries all that either says to the other. `loses`: which datagrams are lost.
    fn carry(
        (a, b): (&mut Association, &mut Association),
        now: Instant,
        mut loses: impl FnMut() -> bool,
    ) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        loop {
            let (from_a, from_b) = (a.transmit(), b.transmit());
            if from_a.is_none() && from_b.is_none() {
                return outcomes;
            }
            outcomes.extend(from_a.filter(|_| !loses()).and_then(|datagram| b.receive(&datagram, now)));
            outcomes.extend(from_b.filter(|_| !loses()).and_then(|datagram| a.receive(&datagram, now)));
        }
    }

    fn agreed(outcomes: &[Outcome]) -> Vec<&SrtpKeys> {
        let mut agreed = Vec::new();
        for outcome in outcomes {
            if let Outcome::Agreed(keys) = outcome {
                agreed.push(keys.as_ref());
            }
        }
        agreed
    }

    #[test]
    fn both_ends_have_the_same_keys_crosswise() {
        let now = Instant::now();
        let (mut server, mut client) = ends(true, true, now);
        let outcomes = carry((&mut server, &mut client), now, || false);
        let [one, other] = agreed(&outcomes)[..] else { panic!("{outcomes:?}") };
        assert_eq!((&one.send, &one.receive), (&other.receive, &other.send));
        assert_eq!(one.send.suite, CryptoSuite::AeadAes256Gcm);
        assert_ne!(one.send, one.receive);
        assert!(server.due().is_none() && client.due().is_none());
    }

    #[test]
    fn who_shows_another_certificate_is_not_met() {
        let now = Instant::now();
        for (server_knows, client_knows) in [(false, true), (true, false), (false, false)] {
            let (mut server, mut client) = ends(server_knows, client_knows, now);
            let outcomes = carry((&mut server, &mut client), now, || false);
            assert!(
                outcomes.iter().any(|it| matches!(it, Outcome::Failed(DtlsFailure::WrongFingerprint))),
                "{outcomes:?}"
            );
            let of_who_knows = usize::from(server_knows != client_knows);
            assert!(agreed(&outcomes).len() <= of_who_knows, "{outcomes:?}");
        }
    }

    #[test]
    fn lost_datagrams_are_said_again() {
        let mut now = Instant::now();
        for every in 2..5 {
            let (mut server, mut client) = ends(true, true, now);
            let (mut count, mut outcomes) = (0, Vec::new());
            while outcomes.len() < 2 && (server.due().is_some() || client.due().is_some()) {
                outcomes.extend(carry((&mut server, &mut client), now, || {
                    count += 1;
                    count % every == 0 && count < 12
                }));
                now += RETRANSMISSION;
                outcomes.extend([&mut server, &mut client].into_iter().filter_map(|end| end.timeout(now)));
            }
            assert_eq!(agreed(&outcomes).len(), 2, "every {every}th: {outcomes:?}");
        }
    }

    #[test]
    fn a_peer_that_does_not_come_is_waited_for_so_long_and_one_that_comes_late_is_met() {
        let begun = Instant::now();
        for role in [DtlsRole::Server, DtlsRole::Client] {
            let identity = Arc::new(Identity::new().unwrap());
            let dtls = Dtls { peer: identity.fingerprint().clone(), role };
            let mut alone = Association::new(identity, &dtls, begun);
            let mut sent = 0;
            let outcome = loop {
                let now = alone.due().expect("an end");
                let outcome = alone.timeout(now);
                sent += std::iter::from_fn(|| alone.transmit()).count();
                if let Some(outcome) = outcome {
                    break (outcome, now);
                }
            };
            let (outcome, at) = outcome;
            assert!(matches!(outcome, Outcome::Failed(DtlsFailure::TimedOut { heard: false })));
            assert_eq!(at, begun + HANDSHAKE_MAX);
            assert_eq!(sent, if role == DtlsRole::Client { 8 } else { 0 });
        }
        let (mut server, mut client) = ends(true, true, begun);
        let mut now = begun;
        while now < begun + Duration::from_secs(7) {
            now = client.due().unwrap();
            assert!(client.timeout(now).is_none());
            while client.transmit().is_some() {}
        }
        now = client.due().unwrap();
        assert!(client.timeout(now).is_none());
        assert_eq!(agreed(&carry((&mut server, &mut client), now, || false)).len(), 2);
    }

    #[test]
    fn both_in_the_same_part_come_to_nothing() {
        let now = Instant::now();
        let (_, mut one) = ends(true, true, now);
        let (_, mut other) = ends(true, true, now);
        let mut outcomes = carry((&mut one, &mut other), now, || false);
        let end = now + HANDSHAKE_MAX;
        outcomes.extend([&mut one, &mut other].into_iter().filter_map(|it| it.timeout(end)));
        assert_eq!((agreed(&outcomes).len(), outcomes.len()), (0, 2), "{outcomes:?}");
    }

    #[test]
    fn what_is_no_record_changes_nothing() {
        let now = Instant::now();
        let (mut server, mut client) = ends(true, true, now);
        let mut flood: u32 = 7;
        for length in 0..600 {
            let mut noise = vec![22, 0xfe, 0xfd];
            noise.extend((0..length).map(|_| {
                flood = flood.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (flood >> 24) as u8
            }));
            assert!(is_whole(&noise) || server.receive(&noise, now).is_none());
        }
        for bad in [&[][..], &[20], &[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 1]] {
            assert!(server.receive(bad, now).is_none());
        }
        assert_eq!(agreed(&carry((&mut server, &mut client), now, || false)).len(), 2);
    }

    #[test]
    #[ignore = "a measurement"]
    fn what_a_handshake_costs() {
        let now = Instant::now();
        let identities = [Arc::new(Identity::new().unwrap()), Arc::new(Identity::new().unwrap())];
        let [one, other] = &identities;
        let (mut dearest, mut all) = (Duration::ZERO, Duration::ZERO);
        const ROUNDS: u32 = 100;
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            let server = Dtls { peer: other.fingerprint().clone(), role: DtlsRole::Server };
            let client = Dtls { peer: one.fingerprint().clone(), role: DtlsRole::Client };
            let mut ends =
                [Association::new(one.clone(), &server, now), Association::new(other.clone(), &client, now)];
            for turn in 0.. {
                let [a, b] = &mut ends;
                let (from, to) = if turn % 2 == 0 { (b, a) } else { (a, b) };
                let said: Vec<_> = std::iter::from_fn(|| from.transmit()).collect();
                if said.is_empty() {
                    break;
                }
                for datagram in said {
                    let begun = Instant::now();
                    to.receive(&datagram, now);
                    dearest = dearest.max(begun.elapsed());
                }
            }
            all += begun.elapsed();
            assert!(ends.iter().all(Association::is_agreed));
        }
        println!("both ends {:?}, the dearest datagram {dearest:?}", all / ROUNDS);
    }
}
