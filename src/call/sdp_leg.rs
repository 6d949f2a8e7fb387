//! One leg's side of offer and answer (RFC 3264): which ports it has, what was agreed, which version comes next; with which
//! keys (RFC 4568) or by whose certificate (RFC 5763), and where its digits come from.

use std::net::IpAddr;

use bytes::Bytes;
use model::{
    LegId,
    media::{CertificateHash, Codec, Direction, Fingerprint, MediaParameters, Order, Srtp},
    net::Transport,
    snapshot::Trunk,
    trunk::{DtmfMethod, SrtpKeying, SrtpUse},
};
use sip::sdp::{self, KeySeed, LocalDtls, LocalMedia, Numbers, SdpError};

/// What phones of agents may use, best first.
pub const PHONE_CODECS: &[Codec] = &[Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus];

/// What one side of a call may use, and must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Best first.
    pub codecs: Vec<Codec>,
    /// Whether audio is protected.
    pub srtp: SrtpUse,
    /// In which ways keys are agreed on.
    pub keying: SrtpKeying,
    /// Whether keys may be sent by its signalling.
    pub may_send_keys: bool,
    /// Whether our offers try keys first where they are preferred.
    pub offers_keys: bool,
    /// Where digits come from, and how they are sent.
    pub dtmf: DtmfMethod,
    /// Whether it may share a port with other legs.
    pub shared_port: bool,
    /// Whether nothing that we send reaches it before it has sent something.
    pub peer_first: bool,
    /// Whether its network loses packets: Opus comes first, whatever the other side speaks.
    pub lossy: bool,
}

impl Terms {
    /// Those of a trunk, whose signalling goes by `transport`.
    #[must_use]
    pub fn of_trunk(trunk: &Trunk, transport: Transport) -> Self {
        let may_send_keys = trunk.insecure_keys || is_private(transport);
        let hopeless =
            trunk.srtp == SrtpUse::Preferred && !may_send_keys && trunk.srtp_keying == SrtpKeying::Sdes;
        let srtp = if hopeless { SrtpUse::Disabled } else { trunk.srtp };
        Self {
            codecs: trunk.codecs.clone(),
            srtp,
            keying: trunk.srtp_keying,
            may_send_keys,
            offers_keys: true,
            dtmf: trunk.dtmf,
            shared_port: trunk.shared_ports,
            peer_first: trunk.peer_first,
            lossy: false,
        }
    }

    /// Those of a phone: it gets SRTP if it asks for it in whichever way, and no port that others use, for its address is seldom what it says.
    /// Opus comes first where the phone's network loses packets.
    #[must_use]
    pub fn of_phone(transport: Transport, lossy: bool) -> Self {
        let may_send_keys = is_private(transport);
        let mut codecs = PHONE_CODECS.to_vec();
        if lossy {
            codecs.sort_by_key(|codec| *codec != Codec::Opus);
        }
        Self {
            codecs,
            srtp: SrtpUse::Preferred,
            keying: SrtpKeying::Both,
            may_send_keys,
            offers_keys: false,
            dtmf: DtmfMethod::Auto,
            shared_port: false,
            peer_first: false,
            lossy,
        }
    }

    /// Without what can only be passed on.
    #[must_use]
    pub fn decoded(mut self) -> Self {
        self.codecs.retain(|codec| codec.is_decoded());
        self
    }

    /// For a call for help, which no want of keys may hold up.
    #[must_use]
    pub fn for_help(mut self) -> Self {
        if self.srtp == SrtpUse::Required {
            self.srtp = if self.contradict() { SrtpUse::Disabled } else { SrtpUse::Preferred };
        }
        self
    }

    /// What we would say, to see whether an offer can be answered before any port is taken.
    #[must_use]
    pub fn trial(&self) -> LocalMedia {
        let hash = CertificateHash::Sha256;
        let at = At {
            address: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            rtp_port: 9,
            fingerprint: Some(Box::new(Fingerprint { hash, value: vec![0; hash.length()] })),
        };
        self.local(at, 0, || KeySeed::new([0; 32]))
    }

    /// Whether keys must be sent, and must not.
    #[must_use]
    pub fn contradict(&self) -> bool {
        self.srtp == SrtpUse::Required && !self.may_send_keys && self.keying == SrtpKeying::Sdes
    }

    fn local(&self, at: At, session_id: u64, seed: impl FnOnce() -> KeySeed) -> LocalMedia {
        let protected = self.srtp != SrtpUse::Disabled;
        let keyed = protected && self.may_send_keys && self.keying != SrtpKeying::Dtls;
        let fingerprint = at.fingerprint.filter(|_| protected && self.keying != SrtpKeying::Sdes);
        // A phone may be behind a NAT: it begins.
        let waits = self.peer_first || !self.offers_keys;
        LocalMedia {
            comfort_noise: true,
            telephone_event: matches!(self.dtmf, DtmfMethod::Auto | DtmfMethod::Rfc4733),
            srtp: self.srtp,
            offers_keys: self.srtp == SrtpUse::Required,
            keys: if keyed { seed().keys(0) } else { Vec::new() },
            dtls: fingerprint.map(|fingerprint| LocalDtls { fingerprint: *fingerprint, waits, met: None }),
            ..LocalMedia::new(at.address, at.rtp_port, self.codecs.clone(), session_id)
        }
    }
}

/// Whether nobody on the way reads it (RFC 4568 §7).
const fn is_private(transport: Transport) -> bool {
    match transport {
        Transport::Tls | Transport::Wss => true,
        Transport::Udp | Transport::Tcp | Transport::Ws => false,
    }
}

/// What the media server gave a leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// Advertised.
    pub address: IpAddr,
    /// For RTP.
    pub rtp_port: u16,
    /// Of its certificate. None: it has no DTLS.
    pub fingerprint: Option<Box<Fingerprint>>,
}

/// Where a leg's media is.
#[derive(Debug)]
pub enum Ports {
    /// Not asked for.
    None,
    /// Asked for.
    Asked,
    /// There.
    Ready(LocalMedia),
}

/// The media side of a leg.
#[derive(Debug)]
pub struct MediaLeg {
    /// As the media server knows it.
    pub id: LegId,
    /// Ours.
    pub ports: Ports,
    /// What was agreed last.
    pub parameters: Option<MediaParameters>,
    terms: Terms,
    /// Of the engine; the leg's own is told apart by its id.
    seed: KeySeed,
    /// Of its keys.
    generation: u64,
    /// Whether a digit came by INFO: then none is taken from the audio any more.
    digits_by_info: bool,
}

impl MediaLeg {
    /// A leg without ports.
    pub const fn new(id: LegId, terms: Terms, seed: KeySeed) -> Self {
        let (ports, parameters) = (Ports::None, None);
        Self { id, ports, parameters, terms, seed, generation: 0, digits_by_info: false }
    }

    /// Asks for its ports, to offer them.
    pub fn allocate(&mut self, network: String) -> Order {
        self.ports = Ports::Asked;
        Order::Allocate { leg: self.id, network, shared: self.terms.shared_port, remote: None }
    }

    /// Asks for its ports, to answer an offer with them. Without one no port is shared: nothing says yet where audio comes
    /// from, and who was told a port in a 200 is not told another.
    pub fn allocate_for(&mut self, network: String, offer: Option<&[u8]>) -> Order {
        self.ports = Ports::Asked;
        let offer = offer.filter(|_| self.terms.shared_port);
        let remote = offer.and_then(|offer| sdp::could_answer(offer, &self.terms.trial()).ok());
        let remote = remote.map(|parameters| parameters.remote_rtp);
        Order::Allocate { leg: self.id, network, shared: remote.is_some(), remote }
    }

    /// Whether the media server knows the leg.
    pub const fn is_known(&self) -> bool {
        !matches!(self.ports, Ports::None)
    }

    /// Whether audio can be heard.
    pub const fn is_agreed(&self) -> bool {
        self.parameters.is_some()
    }

    /// Whether its audio is protected.
    pub fn is_protected(&self) -> bool {
        self.parameters.as_ref().is_some_and(|parameters| parameters.srtp.is_some())
    }

    /// In which way its keys were agreed on. None: it has none.
    pub fn keying(&self) -> Option<SrtpKeying> {
        self.parameters.as_ref()?.srtp.as_deref().map(keying)
    }

    /// Whether it does without keys if it must.
    pub fn may_be_plain(&self) -> bool {
        self.terms.srtp == SrtpUse::Preferred
    }

    /// The media server gave ports, or others than before.
    pub fn allocated(&mut self, at: At, session_id: u64) {
        if let Ports::Ready(local) = &mut self.ports {
            (local.address, local.rtp_port) = (at.address, at.rtp_port);
            return;
        }
        let seed = || self.seed.of(self.id.0);
        self.ports = Ports::Ready(self.terms.local(at, session_id, seed));
    }

    /// We only send, or nothing for now.
    pub const fn send_only(&mut self, paused: bool) {
        if let Ports::Ready(local) = &mut self.ports {
            local.direction = if paused { Direction::Inactive } else { Direction::SendOnly };
        }
    }

    /// Our offers have keys, or none where they are only preferred.
    pub fn offer_keys(&mut self, with_keys: bool) {
        let Ports::Ready(local) = &mut self.ports else { return };
        local.offers_keys = match local.srtp {
            SrtpUse::Disabled => false,
            SrtpUse::Preferred => with_keys,
            SrtpUse::Required => true,
        };
    }

    /// Whether the last offer had keys.
    pub fn offered_keys(&self) -> bool {
        matches!(&self.ports, Ports::Ready(local) if local.protects_offers())
    }

    /// Our offer to somebody who has not seen one of this leg: what others were told protects nothing.
    pub fn offer_anew(&mut self, with_keys: bool) -> Option<Bytes> {
        self.offer_keys(with_keys && self.terms.offers_keys);
        // Who may send none has none.
        if let Ports::Ready(local) = &mut self.ports
            && local.offers_keys
            && !local.keys.is_empty()
        {
            local.keys = self.seed.of(self.id.0).keys(self.generation);
            self.generation += 1;
        }
        self.offer()
    }

    /// Our offer. None without ports or without codecs, or where it must be protected and cannot be.
    pub fn offer(&mut self) -> Option<Bytes> {
        let Ports::Ready(local) = &mut self.ports else { return None };
        let bare = local.srtp == SrtpUse::Required && !local.protects_offers();
        if local.codecs.is_empty() || bare {
            return None;
        }
        let offer = sdp::offer(local);
        local.version += 1;
        Some(offer)
    }

    /// Answers the peer's offer.
    pub fn answer(&mut self, offer: &[u8]) -> Result<Bytes, SdpError> {
        let Ports::Ready(local) = &mut self.ports else { return Err(SdpError::NoAudio) };
        let (answer, parameters) = sdp::answer(offer, local)?;
        local.version += 1;
        self.agree(parameters);
        Ok(answer)
    }

    /// Takes the peer's answer to our last offer.
    pub fn accept(&mut self, answer: &[u8]) -> Result<&MediaParameters, SdpError> {
        let Ports::Ready(local) = &self.ports else { return Err(SdpError::NoAudio) };
        let parameters = sdp::accept_answer(local, answer)?;
        Ok(self.agree(parameters))
    }

    /// Numbers and protection stay what they are in our later offers. A key that is no longer used is never used again: its
    /// roll-over counter is gone with it.
    fn agree(&mut self, parameters: MediaParameters) -> &MediaParameters {
        let parameters = MediaParameters { peer_first: self.terms.peer_first, ..parameters };
        let key =
            |parameters: &MediaParameters| parameters.srtp.as_ref()?.keys().map(|keys| keys.send.clone());
        let now = key(&parameters);
        let spent = self.parameters.as_ref().and_then(key).filter(|key| now.as_ref() != Some(key));
        if let Ports::Ready(local) = &mut self.ports {
            local.agreed = Some(Numbers::of(&parameters));
            local.offers_keys = parameters.srtp.is_some();
            local.offers = parameters.srtp.as_deref().map_or(SrtpKeying::Both, keying);
            if let (Some(Srtp::Dtls(met)), Some(dtls)) = (parameters.srtp.as_deref(), &mut local.dtls) {
                dtls.met = Some(met.clone());
            }
            if let Some(spent) = spent
                && let Some(place) = local.keys.iter().position(|key| key.key_and_salt == spent.key_and_salt)
            {
                self.generation += 1;
                local.keys[place] = self.seed.of(self.id.0).key(spent.suite, self.generation + (1 << 32));
            }
        }
        self.parameters.insert(parameters)
    }

    /// Whether a digit that the media server heard counts: events where they were agreed on, else tones, as long as the peer
    /// has sent none by INFO. There is never more than one source of digits.
    pub fn hears_digits(&self) -> bool {
        match self.terms.dtmf {
            DtmfMethod::Auto => self.has_events() || !self.digits_by_info,
            DtmfMethod::Rfc4733 => self.has_events(),
            DtmfMethod::Info => false,
            DtmfMethod::InBand => true,
        }
    }

    /// Whether a digit that came by INFO counts.
    pub fn takes_info(&mut self) -> bool {
        let takes = match self.terms.dtmf {
            DtmfMethod::Auto => self.is_agreed() && !self.has_events(),
            DtmfMethod::Info => true,
            DtmfMethod::Rfc4733 | DtmfMethod::InBand => false,
        };
        self.digits_by_info |= takes;
        takes
    }

    /// Whether digits are sent by INFO.
    pub fn sends_info(&self) -> bool {
        match self.terms.dtmf {
            DtmfMethod::Auto => self.digits_by_info && !self.has_events(),
            DtmfMethod::Info => true,
            DtmfMethod::Rfc4733 | DtmfMethod::InBand => false,
        }
    }

    /// Whether events were agreed on (RFC 4733).
    pub fn has_events(&self) -> bool {
        self.parameters.as_ref().is_some_and(|parameters| parameters.receive_telephone_event.is_some())
    }
}

const fn keying(srtp: &Srtp) -> SrtpKeying {
    match srtp {
        Srtp::Sdes(_) => SrtpKeying::Sdes,
        Srtp::Dtls(_) => SrtpKeying::Dtls,
    }
}
