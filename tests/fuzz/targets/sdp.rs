//! Session descriptions: an offer is answered with something that can be used, or refused (RFC 3264).
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::{
    media::{CertificateHash, Codec, Fingerprint, MediaParameters, Srtp},
    trunk::SrtpUse,
};
use sip::sdp::{KeySeed, LocalDtls, LocalMedia, Numbers, accept_answer, answer, offer};

const ALL: &[Codec] = &[Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma, Codec::G729];

fuzz_target!(|input: &[u8]| {
    let sides = [
        (&[Codec::Pcmu, Codec::Pcma][..], SrtpUse::Disabled),
        (&[Codec::Pcma][..], SrtpUse::Required),
        (ALL, SrtpUse::Preferred),
    ];
    for (codecs, srtp) in sides {
        let local = local(codecs, srtp);
        if let Ok((description, parameters)) = answer(input, &local) {
            check(&parameters, &local);
            assert!(std::str::from_utf8(&description).expect("our answer is text").ends_with("\r\n"));
            // Whatever numbers the peer gave, our next offer is one, and each number in it means one thing.
            let again = LocalMedia { agreed: Some(Numbers::of(&parameters)), ..local.clone() };
            let next = offer(&again);
            let text = std::str::from_utf8(&next).expect("our offer is text");
            let line = text.lines().find(|line| line.starts_with("m=audio")).expect("a stream");
            let mut numbers: Vec<_> = line.split(' ').skip(3).collect();
            let count = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), count, "{line}");
            assert!(answer(&next, &local).is_ok());
        }
        if let Ok(parameters) = accept_answer(&local, input) {
            check(&parameters, &local);
        }
    }
});

fn local(codecs: &[Codec], srtp: SrtpUse) -> LocalMedia {
    let keyed = srtp != SrtpUse::Disabled;
    LocalMedia {
        srtp,
        offers_keys: keyed,
        comfort_noise: true,
        dtls: keyed.then(|| LocalDtls {
            fingerprint: Fingerprint { hash: CertificateHash::Sha256, value: vec![7; 32] },
            waits: srtp == SrtpUse::Required,
            met: None,
        }),
        keys: if keyed { KeySeed::new([7; 32]).keys(0) } else { Vec::new() },
        ..LocalMedia::new([127, 0, 0, 1].into(), 20_000, codecs.to_vec(), 1)
    }
}

fn check(parameters: &MediaParameters, local: &LocalMedia) {
    assert!(local.codecs.contains(&parameters.codec));
    assert!((10..=60).contains(&parameters.ptime_ms) && parameters.ptime_ms % 10 == 0);
    let beside = [parameters.send_telephone_event, parameters.receive_telephone_event, parameters.comfort_noise];
    assert!(parameters.send_payload_type < 128 && parameters.receive_payload_type < 128);
    assert!(beside.into_iter().flatten().all(|payload_type| payload_type < 128));
    assert_eq!(parameters.opus.is_some(), parameters.codec == Codec::Opus);
    match &parameters.srtp {
        None => assert_ne!(local.srtp, SrtpUse::Required),
        Some(srtp) => {
            assert_ne!(local.srtp, SrtpUse::Disabled);
            let Srtp::Sdes(srtp) = &**srtp else {
                let Srtp::Dtls(dtls) = &**srtp else { return };
                assert!(local.dtls.is_some() && dtls.peer.value.len() == dtls.peer.hash.length());
                return;
            };
            assert!(local.keys.iter().any(|key| key.key_and_salt == srtp.send.key_and_salt));
            assert_eq!(srtp.send.suite, srtp.receive.suite);
            let suite = srtp.receive.suite;
            assert_eq!(srtp.receive.key_and_salt.len(), suite.key_length() + suite.salt_length());
        }
    }
}
