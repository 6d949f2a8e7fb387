//! Whom to agree on keys with by DTLS (RFC 5763, RFC 8122, RFC 8842).
//!
//! Our offers say `actpass`; answers to them, `active` or `passive`. While fingerprint and role of a peer stay, so does the
//! association that it has with us.

use model::{
    media::{CertificateHash, Dtls, DtlsRole, Fingerprint},
    trunk::SrtpUse,
};

use super::{LocalMedia, Media};

/// Our side of DTLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalDtls {
    /// Of the certificate that we show.
    pub fingerprint: Fingerprint,
    /// Whether we leave it to the peer to begin where it leaves it to us: our packets may not reach it before its own.
    pub waits: bool,
    /// Whom we have met last.
    pub met: Option<Dtls>,
}

/// `a=setup` (RFC 4145 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    Active,
    Passive,
    Actpass,
    /// It wants no association for now, or says what we do not know.
    Holdconn,
}

impl Setup {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::Actpass => "actpass",
            Self::Holdconn => "holdconn",
        }
    }

    /// What our role is called in an answer.
    pub const fn of(role: DtlsRole) -> Self {
        match role {
            DtlsRole::Client => Self::Active,
            DtlsRole::Server => Self::Passive,
        }
    }

    pub fn parse(value: &str) -> Self {
        let known = [Self::Active, Self::Passive, Self::Actpass];
        let named = known.into_iter().find(|setup| value.trim().eq_ignore_ascii_case(setup.name()));
        named.unwrap_or(Self::Holdconn)
    }
}

/// `sha-256 4A:AD:…`. None: of a kind that we do not know, or broken; another line may do.
pub fn fingerprint(value: &str) -> Option<Fingerprint> {
    let (hash, digits) = value.trim().split_once(' ')?;
    let hash = CertificateHash::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(hash))?;
    let octet = |pair: &str| {
        let is_octet = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_octet.then(|| u8::from_str_radix(pair, 16).ok()).flatten()
    };
    let value: Option<Vec<u8>> = digits.trim().split(':').take(hash.length() + 1).map(octet).collect();
    let value = value.filter(|value| value.len() == hash.length())?;
    Some(Fingerprint { hash, value })
}

/// What to take of an offer. None: it has no DTLS, or we have none.
pub fn chosen(media: &Media<'_>, local: &LocalMedia) -> Option<Dtls> {
    let ours = local.dtls.as_ref().filter(|_| local.srtp != SrtpUse::Disabled)?;
    let peer = media.fingerprint.clone()?;
    let role = match media.setup {
        // An offer that says nothing means to begin (RFC 4145 §4.1).
        Some(Setup::Active) | None => DtlsRole::Server,
        Some(Setup::Passive) => DtlsRole::Client,
        Some(Setup::Actpass) => match &ours.met {
            Some(met) if met.peer == peer => met.role,
            _ if ours.waits => DtlsRole::Server,
            _ => DtlsRole::Client,
        },
        Some(Setup::Holdconn) => return None,
    };
    Some(Dtls { peer, role })
}

/// What an answer to our offer of DTLS says. None: it has none, or plays a part that an answer must not.
pub fn accepted(media: &Media<'_>) -> Option<Dtls> {
    let role = match media.setup {
        Some(Setup::Active) => DtlsRole::Server,
        // An answer that says nothing waits (RFC 4145 §4.1).
        Some(Setup::Passive) | None => DtlsRole::Client,
        Some(Setup::Actpass | Setup::Holdconn) => return None,
    };
    Some(Dtls { peer: media.fingerprint.clone()?, role })
}

#[cfg(test)]
mod tests {
    use model::{
        media::{Codec, Srtp},
        trunk::SrtpKeying,
    };

    use super::*;
    use crate::sdp::{KeySeed, SdpError, accept_answer, answer, offer};

    const SHA1: &str = "a=fingerprint:sha-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB\r\n";

    fn of(octet: u8) -> Fingerprint {
        Fingerprint { hash: CertificateHash::Sha256, value: vec![octet; 32] }
    }

    fn line(octet: u8) -> String {
        format!("a=fingerprint:{}\r\n", of(octet))
    }

    fn local(srtp: SrtpUse) -> LocalMedia {
        LocalMedia {
            srtp,
            offers_keys: true,
            dtls: Some(LocalDtls { fingerprint: of(1), waits: false, met: None }),
            ..LocalMedia::new([192, 0, 2, 1].into(), 20_000, vec![Codec::Pcmu], 7)
        }
    }

    fn both(srtp: SrtpUse) -> LocalMedia {
        LocalMedia { keys: KeySeed::new([7; 32]).keys(0), ..local(srtp) }
    }

    fn described(protocol: &str, more: &str) -> String {
        format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 {protocol} 0\r\n{more}"
        )
    }

    fn text(description: &[u8]) -> String {
        String::from_utf8(description.to_vec()).unwrap()
    }

    fn dtls(parameters: &model::media::MediaParameters) -> Option<&Dtls> {
        match parameters.srtp.as_deref() {
            Some(Srtp::Dtls(dtls)) => Some(dtls),
            Some(Srtp::Sdes(_)) | None => None,
        }
    }

    #[test]
    fn a_fingerprint_is_read_as_it_is_written_and_a_weak_or_broken_one_is_none() {
        for hash in CertificateHash::ALL {
            let value = (0..hash.length()).map(|n| n as u8 ^ 0xa5).collect();
            let ours = Fingerprint { hash, value };
            assert_eq!(fingerprint(&ours.to_string()), Some(ours.clone()));
            assert_eq!(fingerprint(&ours.to_string().to_ascii_lowercase()), Some(ours.clone()));
            let written = ours.to_string();
            for broken in
                [&written[..written.len() - 3], &format!("{written}:00"), &written.replace(':', " ")]
            {
                assert_eq!(fingerprint(broken), None, "{broken}");
            }
        }
        let odd = of(1).to_string().replacen("01", "+1", 1);
        for broken in ["", "sha-256", "sha-256 ", "md5 00", SHA1.trim_start_matches("a=fingerprint:"), &odd] {
            assert_eq!(fingerprint(broken), None, "{broken}");
        }
    }

    #[test]
    fn both_sides_agree_on_whom_to_meet_and_who_begins() {
        let caller = local(SrtpUse::Required);
        for waits in [false, true] {
            let mut callee = local(SrtpUse::Preferred);
            callee.dtls = Some(LocalDtls { fingerprint: of(2), waits, met: None });
            let offered = offer(&caller);
            let written = text(&offered);
            assert!(written.contains("m=audio 20000 UDP/TLS/RTP/SAVP 0 101\r\n"), "{written}");
            assert!(written.contains(&line(1)) && written.contains("a=setup:actpass\r\n"), "{written}");
            assert!(written.contains("a=rtcp-mux\r\n") && !written.contains("a=crypto"), "{written}");
            let (answered, theirs) = answer(&offered, &callee).unwrap();
            let ours = accept_answer(&caller, &answered).unwrap();
            let (we, they) = match waits {
                true => (DtlsRole::Client, DtlsRole::Server),
                false => (DtlsRole::Server, DtlsRole::Client),
            };
            assert_eq!(dtls(&ours), Some(&Dtls { peer: of(2), role: we }));
            assert_eq!(dtls(&theirs), Some(&Dtls { peer: of(1), role: they }));
            assert!(ours.rtcp_mux && theirs.rtcp_mux && ours.remote_rtcp == ours.remote_rtp);
        }
    }

    #[test]
    fn offers_are_answered_by_what_their_setup_leaves_us() {
        use DtlsRole::{Client, Server};
        let rows = [
            ("a=setup:actpass\r\n", Ok((Client, "active"))),
            ("a=setup:ACTIVE\r\n", Ok((Server, "passive"))),
            ("a=setup:passive\r\n", Ok((Client, "active"))),
            ("", Ok((Server, "passive"))),
            ("a=setup:holdconn\r\n", Err(SdpError::NotProtected)),
            ("a=setup:nonsense\r\n", Err(SdpError::NotProtected)),
        ];
        for (setup, expected) in rows {
            for protocol in ["UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF", "RTP/SAVP", "RTP/AVP"] {
                let offered = described(protocol, &format!("{}{setup}", line(9)));
                let answered = answer(offered.as_bytes(), &local(SrtpUse::Required));
                match (&answered, &expected) {
                    (Ok((answered, parameters)), Ok((role, name))) => {
                        assert_eq!(dtls(parameters), Some(&Dtls { peer: of(9), role: *role }), "{setup}");
                        let answered = text(answered);
                        assert!(answered.contains(&format!(" {protocol} 0\r\n")), "{answered}");
                        assert!(answered.contains(&format!("a=setup:{name}\r\n")), "{answered}");
                    }
                    (answered, expected) => {
                        assert_eq!(answered.as_ref().err(), expected.as_ref().err(), "{setup} {protocol}");
                    }
                }
            }
        }
    }

    #[test]
    fn answers_that_play_no_part_or_show_no_certificate_are_refused() {
        let rows = [
            ("UDP/TLS/RTP/SAVP", format!("{}a=setup:active\r\n", line(9)), Ok(DtlsRole::Server)),
            ("UDP/TLS/RTP/SAVP", format!("{}a=setup:passive\r\n", line(9)), Ok(DtlsRole::Client)),
            ("UDP/TLS/RTP/SAVP", line(9), Ok(DtlsRole::Client)),
            ("UDP/TLS/RTP/SAVP", format!("{}a=setup:actpass\r\n", line(9)), Err(SdpError::NotProtected)),
            ("UDP/TLS/RTP/SAVP", format!("{}a=setup:holdconn\r\n", line(9)), Err(SdpError::NotProtected)),
            ("UDP/TLS/RTP/SAVP", "a=setup:active\r\n".to_owned(), Err(SdpError::NotProtected)),
            ("UDP/TLS/RTP/SAVP", format!("{SHA1}a=setup:active\r\n"), Err(SdpError::NotProtected)),
            ("RTP/AVP", String::new(), Err(SdpError::NotProtected)),
        ];
        for (protocol, more, expected) in rows {
            let accepted = accept_answer(&local(SrtpUse::Required), described(protocol, &more).as_bytes());
            let role = accepted.map(|parameters| dtls(&parameters).expect("protected").role);
            assert_eq!(role, expected, "{protocol} {more}");
        }
        let plain = accept_answer(&local(SrtpUse::Preferred), described("RTP/AVP", "").as_bytes()).unwrap();
        assert_eq!(plain.srtp, None);
    }

    #[test]
    fn the_strongest_fingerprint_counts_and_one_for_the_whole_session_too() {
        let strong = Fingerprint { hash: CertificateHash::Sha512, value: vec![5; 64] };
        let more = format!("{SHA1}{}a=fingerprint:{strong}\r\na=setup:active\r\n", line(9));
        let (_, parameters) =
            answer(described("UDP/TLS/RTP/SAVP", &more).as_bytes(), &local(SrtpUse::Required)).unwrap();
        assert_eq!(dtls(&parameters).unwrap().peer, strong);
        let offered = described("UDP/TLS/RTP/SAVP", "")
            .replace("t=0 0", &format!("t=0 0\r\n{}a=setup:active", line(9)));
        let (_, parameters) = answer(offered.as_bytes(), &local(SrtpUse::Required)).unwrap();
        assert_eq!(dtls(&parameters), Some(&Dtls { peer: of(9), role: DtlsRole::Server }));
    }

    #[test]
    fn an_offer_has_both_ways_on_a_profile_that_protects_nothing_alone() {
        let written = text(&offer(&both(SrtpUse::Required)));
        assert!(written.contains("UDP/TLS/RTP/SAVP") && !written.contains("a=crypto"), "{written}");
        let preferred = both(SrtpUse::Preferred);
        let offered = offer(&preferred);
        let written = text(&offered);
        assert!(written.contains("m=audio 20000 RTP/AVP 0") && written.contains("a=crypto:1"), "{written}");
        assert!(written.contains("a=fingerprint") && written.contains("a=setup:actpass"), "{written}");
        let (_, parameters) = answer(&offered, &both(SrtpUse::Preferred)).unwrap();
        assert!(dtls(&parameters).is_some(), "rather than a key that others may have read");
        let sdes = LocalMedia { dtls: None, ..both(SrtpUse::Preferred) };
        let (answered, parameters) = answer(&offered, &sdes).unwrap();
        assert!(parameters.srtp.unwrap().keys().is_some());
        assert!(accept_answer(&preferred, &answered).unwrap().srtp.unwrap().keys().is_some());
        let plain =
            LocalMedia { dtls: None, keys: Vec::new(), srtp: SrtpUse::Disabled, ..both(SrtpUse::Preferred) };
        let (answered, parameters) = answer(&offered, &plain).unwrap();
        assert_eq!((parameters.srtp, accept_answer(&preferred, &answered).unwrap().srtp), (None, None));
        for (offers, has) in [(SrtpKeying::Sdes, "RTP/SAVP"), (SrtpKeying::Dtls, "UDP/TLS/RTP/SAVP")] {
            let written = text(&offer(&LocalMedia { offers, ..both(SrtpUse::Preferred) }));
            assert!(written.contains(&format!(" {has} 0")), "what was agreed on stays: {written}");
        }
    }

    #[test]
    fn who_has_no_dtls_refuses_it_and_no_key_stands_under_its_profile() {
        let none = LocalMedia { dtls: None, ..both(SrtpUse::Preferred) };
        let key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\r\n";
        for more in [format!("{}a=setup:actpass\r\n", line(9)), key.to_owned()] {
            let offered = described("UDP/TLS/RTP/SAVP", &more);
            assert_eq!(answer(offered.as_bytes(), &none).unwrap_err(), SdpError::ProtectedAlone);
        }
        let disabled = local(SrtpUse::Disabled);
        let offered = described("UDP/TLS/RTP/SAVP", &format!("{}a=setup:actpass\r\n", line(9)));
        assert_eq!(answer(offered.as_bytes(), &disabled).unwrap_err(), SdpError::ProtectedAlone);
    }

    #[test]
    fn whoever_was_met_keeps_its_part_until_it_is_another() {
        let mut callee = local(SrtpUse::Required);
        let again = described("UDP/TLS/RTP/SAVP", &format!("{}a=setup:actpass\r\n", line(9)));
        for role in [DtlsRole::Server, DtlsRole::Client] {
            callee.dtls.as_mut().unwrap().met = Some(Dtls { peer: of(9), role });
            let (_, parameters) = answer(again.as_bytes(), &callee).unwrap();
            assert_eq!(dtls(&parameters).unwrap().role, role);
        }
        callee.dtls.as_mut().unwrap().met = Some(Dtls { peer: of(8), role: DtlsRole::Server });
        let (_, parameters) = answer(again.as_bytes(), &callee).unwrap();
        assert_eq!(dtls(&parameters).unwrap().role, DtlsRole::Client);
    }
}
