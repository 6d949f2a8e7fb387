//! Session descriptions: an offer is answered with something that can be used, or refused (RFC 3264).
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::media::{Codec, Direction, MediaParameters};
use sip::sdp::{LocalMedia, accept_answer, answer, offer};

fuzz_target!(|input: &[u8]| {
    for codecs in [&[Codec::Pcmu, Codec::Pcma][..], &[Codec::Pcma][..]] {
        let local = local(codecs);
        if let Ok((description, parameters)) = answer(input, &local) {
            check(&parameters, codecs);
            assert!(std::str::from_utf8(&description).expect("our answer is text").ends_with("\r\n"));
        }
        if let Ok(parameters) = accept_answer(&local, input) {
            check(&parameters, codecs);
        }
        assert!(!offer(&local).is_empty());
    }
});

fn local(codecs: &[Codec]) -> LocalMedia {
    LocalMedia {
        address: [127, 0, 0, 1].into(),
        rtp_port: 20_000,
        codecs: codecs.to_vec(),
        telephone_event: true,
        ptime_ms: 20,
        direction: Direction::SendRecv,
        session_id: 1,
        version: 1,
    }
}

fn check(parameters: &MediaParameters, codecs: &[Codec]) {
    assert!(codecs.contains(&parameters.codec));
    assert!((10..=60).contains(&parameters.ptime_ms) && parameters.ptime_ms % 10 == 0);
    let types = [parameters.send_telephone_event, parameters.receive_telephone_event];
    assert!(parameters.send_payload_type < 128 && parameters.receive_payload_type < 128);
    assert!(types.into_iter().flatten().all(|payload_type| payload_type < 128));
}
