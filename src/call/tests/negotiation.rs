//! What both sides of a call agree on: codecs, keys of SRTP, where digits come from, and what is refused.

use bytes::Bytes;
use call::engine::Input;
use model::{
    TrunkId,
    media::{Codec, CryptoSuite, DtlsFailure, DtlsRole, Event, MediaEvent, Srtp},
    program::Step,
    snapshot::{Snapshot, Trunk},
    trunk::{DtmfMethod, SrtpKeying, SrtpUse},
};

use crate::{
    twin::{Virtual, fingerprint},
    world::{dial, flow, hangup, play, snapshot},
};

const NUMBER: &str = "+18005550100";

fn pbx(snapshot: &mut Snapshot) -> &mut Trunk {
    snapshot.trunks.get_mut(&TrunkId::new("acme", "pbx")).unwrap()
}

fn carrier(snapshot: &mut Snapshot) -> &mut Trunk {
    snapshot.trunks.get_mut(&TrunkId::new("platform", "carrier")).unwrap()
}

fn ringing() -> Vec<Step> {
    vec![dial("ring", [1, 2, 3, 4]), hangup("e", "e"), hangup("b", "b"), hangup("n", "n"), hangup("f", "f")]
}

fn with(steps: Vec<Step>, change: impl FnOnce(&mut Snapshot)) -> Virtual {
    let mut snapshot = snapshot();
    snapshot.flows = [flow("main", steps, Vec::new())].into();
    change(&mut snapshot);
    Virtual::with(snapshot)
}

fn media_line(text: &str) -> &str {
    text.lines().find(|line| line.starts_with("m=")).expect("a stream")
}

/// What the PBX was offered last.
fn offered(world: &Virtual) -> String {
    String::from_utf8_lossy(world.pbx.offer.as_ref().expect("an offer")).into_owned()
}

fn because(world: &Virtual) -> String {
    let outcome = &world.explanations.last().expect("an explanation").outcome;
    if let call::explanation::Outcome::Refused { code, because } = outcome {
        return format!("{code} {because}");
    }
    format!("{outcome:?}")
}

#[test]
fn the_callee_is_offered_the_callers_codec_first() {
    let all = [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus];
    let rows = [
        (vec![Codec::Opus, Codec::Pcmu], "111 0 8 9 101 110"),
        (vec![Codec::G722], "9 0 8 111 101 110"),
        (vec![Codec::Pcma], "8 0 9 111 101 110"),
    ];
    for (speaks, expected) in rows {
        let mut world = with(ringing(), |snapshot| {
            carrier(snapshot).codecs = all.to_vec();
            pbx(snapshot).codecs = all.to_vec();
        });
        world.carrier.codecs = speaks.clone();
        world.pbx.codecs = speaks.clone();
        world.call(NUMBER);
        let text = offered(&world);
        assert!(media_line(&text).ends_with(&format!("RTP/AVP {expected}")), "{speaks:?} {text}");
        world.answer();
        let codecs: Vec<_> = world.media.configured.iter().map(|(_, parameters)| parameters.codec).collect();
        assert!(codecs.len() >= 2 && codecs.iter().all(|codec| *codec == speaks[0]), "{codecs:?}");
    }
}

#[test]
fn g729_alone_is_passed_on_by_a_flow_that_dials_a_trunk_at_once() {
    let g729 = |snapshot: &mut Snapshot| {
        carrier(snapshot).codecs.push(Codec::G729);
        pbx(snapshot).codecs.push(Codec::G729);
    };
    let mut world = with(ringing(), g729);
    (world.carrier.codecs, world.pbx.codecs) = (vec![Codec::G729], vec![Codec::G729, Codec::Pcmu]);
    world.call(NUMBER);
    let text = offered(&world);
    assert!(media_line(&text).ends_with("RTP/AVP 18 101") && text.contains("annexb=no"), "{text}");
    world.answer();
    assert!(world.media.configured.iter().all(|(_, parameters)| parameters.codec == Codec::G729));

    let mut world = with([vec![play("hello", "a", 1)], ringing()].concat(), g729);
    world.carrier.codecs = vec![Codec::G729];
    world.call(NUMBER);
    assert_eq!(world.heard(), "488");
    let told = because(&world);
    assert!(told.contains("G729 alone") && told.contains("begins with a `dial`"), "{told}");

    let mut world = with(ringing(), |snapshot| carrier(snapshot).codecs.push(Codec::G729));
    world.carrier.codecs = vec![Codec::G729];
    world.call(NUMBER);
    assert!(world.pbx.heard.is_empty());
    assert!(world.told[0].contains("has no codec for what the caller speaks"), "{:?}", world.told);

    let mut world = with(ringing(), g729);
    world.carrier.codecs = vec![Codec::G729, Codec::Pcma];
    world.call(NUMBER);
    assert!(media_line(&offered(&world)).ends_with("RTP/AVP 8 0 101"), "what is understood comes first");
}

#[test]
fn fax_alone_is_refused() {
    let mut world = with(ringing(), |_| {});
    let sdp =
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=image 4000 udptl t38\r\n";
    world.call_with(NUMBER, Some(Bytes::from_static(sdp.as_bytes())), 70);
    assert_eq!(world.heard(), "488");
    assert!(because(&world).contains("fax (T.38)"), "{}", because(&world));
}

#[test]
fn a_call_comes_in_as_protected_as_its_trunk_wants() {
    use SrtpUse::{Disabled, Preferred, Required};
    // Trunk's srtp, its insecureKeys, the caller's wish; what becomes of it, and whether it is protected.
    let rows = [
        (Disabled, true, Disabled, Ok(false)),
        (Disabled, true, Required, Err("spec.srtp")),
        (Preferred, true, Disabled, Ok(false)),
        (Preferred, true, Required, Ok(true)),
        (Preferred, false, Required, Err("spec.insecureKeys")),
        (Preferred, false, Disabled, Ok(false)),
        (Required, true, Required, Ok(true)),
        (Required, true, Disabled, Err("SRTP is required")),
        (Required, false, Required, Err("insecureKeys: Accepted")),
        (Required, false, Disabled, Err("insecureKeys: Accepted")),
    ];
    for (srtp, insecure_keys, wish, expected) in rows {
        let mut world = with(vec![play("hello", "a", 1), hangup("e", "e")], |snapshot| {
            let trunk = carrier(snapshot);
            (trunk.srtp, trunk.insecure_keys) = (srtp, insecure_keys);
        });
        world.carrier.srtp = wish;
        world.call(NUMBER);
        let row = format!("{srtp:?} {insecure_keys} {wish:?}");
        match expected {
            Ok(protected) => {
                assert_eq!(world.heard(), "200", "{row} {}", because(&world));
                let (_, parameters) = &world.media.configured[0];
                assert_eq!(parameters.srtp.is_some(), protected, "{row}");
            }
            Err(words) => {
                assert_eq!(world.heard(), "488", "{row}");
                assert!(because(&world).contains(words), "{row}: {}", because(&world));
            }
        }
    }
}

fn keyed(srtp: SrtpUse, insecure_keys: bool) -> Virtual {
    with(ringing(), |snapshot| {
        let trunk = pbx(snapshot);
        (trunk.srtp, trunk.insecure_keys) = (srtp, insecure_keys);
    })
}

fn hang_up(world: &mut Virtual) {
    let leg = world.carrier.leg.take();
    if let Some(leg) = leg {
        let _ = world.carrier.endpoint.bye(world.now.instant, leg, &[]);
    }
    world.settle();
}

#[test]
fn who_takes_no_keys_is_asked_again_without_and_that_is_remembered() {
    for code in [488, 415] {
        let mut world = keyed(SrtpUse::Preferred, true);
        world.call(NUMBER);
        assert!(media_line(&offered(&world)).contains("RTP/SAVP 0"), "{}", offered(&world));
        world.pbx_says(code);
        assert!(media_line(&offered(&world)).contains("RTP/AVP 0") && !offered(&world).contains("a=crypto"));
        assert!(world.told[0].contains("asked again without SRTP"), "{:?}", world.told);
        world.answer();
        assert!(world.media.configured.iter().all(|(_, parameters)| parameters.srtp.is_none()));
        assert_eq!(world.pbx.heard.iter().filter(|word| *word == "INVITE").count(), 2);
        hang_up(&mut world);
        world.call(NUMBER);
        assert!(media_line(&offered(&world)).contains("RTP/AVP 0"), "it is known to take none");
        // Not for ever: it may have learnt.
        hang_up(&mut world);
        world.pass(6 * 60 * 60 + 200);
        world.call(NUMBER);
        assert!(media_line(&offered(&world)).contains("RTP/SAVP 0"));
    }
}

#[test]
fn a_refusal_for_another_reason_is_not_held_against_keys() {
    let mut world = keyed(SrtpUse::Preferred, true);
    world.call(NUMBER);
    world.pbx_says(488);
    world.pbx_says(488);
    assert_eq!(world.pbx.heard.iter().filter(|word| *word == "INVITE").count(), 2, "twice and no more");
    world.pass(40);
    world.call(NUMBER);
    assert!(media_line(&offered(&world)).contains("RTP/SAVP 0"), "who refused both showed nothing");
}

#[test]
fn a_trunk_that_must_be_protected_is_never_asked_without() {
    let mut world = keyed(SrtpUse::Required, true);
    world.call(NUMBER);
    world.pbx_says(488);
    assert_eq!(world.pbx.heard.iter().filter(|word| *word == "INVITE").count(), 1);

    let mut world = keyed(SrtpUse::Required, false);
    world.call(NUMBER);
    assert!(world.pbx.heard.is_empty());
    assert!(world.told[0].contains("insecureKeys: Accepted"), "{:?}", world.told);

    let mut world = keyed(SrtpUse::Preferred, false);
    world.call(NUMBER);
    assert!(media_line(&offered(&world)).contains("RTP/AVP 0"), "no keys in the clear");
}

#[test]
fn keys_are_of_one_leg_and_one_peer_alone() {
    let mut world = keyed(SrtpUse::Preferred, true);
    (world.pbx.srtp, world.carrier.srtp) = (SrtpUse::Required, SrtpUse::Disabled);
    let mut keys = Vec::new();
    for _ in 0..3 {
        world.call(NUMBER);
        let text = offered(&world);
        keys.extend(text.lines().filter(|line| line.starts_with("a=crypto:")).map(str::to_owned));
        world.answer();
        let (_, parameters) = world.media.configured.last().unwrap();
        let srtp = parameters.srtp.as_ref().and_then(|srtp| srtp.keys()).expect("protected");
        assert_eq!(srtp.send.suite, CryptoSuite::AeadAes128Gcm, "the cheapest is taken");
        assert_ne!(srtp.send, srtp.receive);
        hang_up(&mut world);
    }
    assert_eq!(keys.len(), 15);
    let parts: std::collections::BTreeSet<_> = keys.iter().map(|line| line.split("inline:").nth(1)).collect();
    assert_eq!(parts.len(), keys.len());
    let printed =
        format!("{:?} {:?} {:?} {:?}", world.explanations, world.records, world.told, world.media.configured);
    assert!(printed.contains("[redacted]") && !printed.contains("inline:"));
    assert!(parts.iter().flatten().all(|key| !printed.contains(*key)));
}

#[test]
fn a_new_key_comes_with_a_new_offer_and_ours_stays() {
    let mut world = with(vec![play("hello", "a", 1), hangup("e", "e")], |snapshot| {
        let trunk = carrier(snapshot);
        (trunk.srtp, trunk.insecure_keys) = (SrtpUse::Preferred, true);
    });
    world.carrier.srtp = SrtpUse::Required;
    world.call(NUMBER);
    let leg = world.carrier.leg();
    let mut again = |change: &dyn Fn(&mut sip::sdp::LocalMedia)| {
        let mut media = world.carrier.media();
        change(&mut media);
        let offer = sip::sdp::offer(&media);
        world.carrier.endpoint.reinvite(world.now.instant, leg, offer).unwrap();
        world.settle();
        world.media.configured.last().unwrap().1.srtp.as_ref().and_then(|srtp| srtp.keys().cloned())
    };
    let first = again(&|_| {}).expect("protected");
    let seed = sip::sdp::KeySeed::new([10; 32]);
    let second = again(&|media| media.keys = seed.keys(0)).expect("protected");
    assert_eq!(first.send, second.send, "the roll-over counter goes on");
    assert_ne!(first.receive, second.receive);
    // Another suite, and back: the first key has been given up meanwhile.
    let other =
        again(&|media| media.keys = vec![seed.key(CryptoSuite::AesCm128HmacSha1_80, 1)]).expect("protected");
    let third = again(&|media| media.keys = seed.keys(2)).expect("protected");
    assert_eq!((first.send.suite, third.send.suite), (third.send.suite, first.send.suite));
    assert_ne!(first.send, third.send);
    assert_ne!(other.send, third.send);
    assert_eq!(again(&|media| media.offers_keys = false), None);
    let fifth = again(&|media| media.keys = seed.keys(3)).expect("protected");
    assert_ne!(third.send, fifth.send);
}

#[test]
fn a_trunk_of_dtls_is_called_and_calls_by_it_over_signalling_in_the_clear() {
    use SrtpKeying::{Both, Dtls};
    for (srtp, ours, theirs, line) in [
        (SrtpUse::Required, Dtls, Dtls, "UDP/TLS/RTP/SAVP 0"),
        (SrtpUse::Required, Both, Dtls, "UDP/TLS/RTP/SAVP 0"),
        (SrtpUse::Preferred, Dtls, Dtls, "UDP/TLS/RTP/SAVP 0"),
        (SrtpUse::Preferred, Both, Dtls, "UDP/TLS/RTP/SAVP 0"),
    ] {
        let mut world = with(ringing(), |snapshot| {
            for trunk in snapshot.trunks.values_mut() {
                (trunk.srtp, trunk.srtp_keying, trunk.insecure_keys) = (srtp, ours, false);
            }
        });
        for peer in [&mut world.carrier, &mut world.pbx] {
            (peer.srtp, peer.keying) = (SrtpUse::Required, theirs);
        }
        world.call(NUMBER);
        let text = offered(&world);
        assert!(media_line(&text).contains(line), "{srtp:?} {ours:?} {theirs:?} {text}");
        assert!(!text.contains("a=crypto"), "no key may be read on the way: {text}");
        assert!(text.contains("a=fingerprint:sha-256 07:07:") && text.contains("a=setup:actpass"), "{text}");
        world.answer();
        let (_, parameters) = world.media.configured.last().expect("media");
        let Some(Srtp::Dtls(dtls)) = parameters.srtp.as_deref() else { panic!("{parameters:?}") };
        assert_eq!((&dtls.peer, dtls.role), (&fingerprint(9), DtlsRole::Server), "the callee begins");
        let caller = world.media.configured.iter().find(|(_, it)| it.remote_rtp != parameters.remote_rtp);
        let Some(Srtp::Dtls(dtls)) = caller.expect("the caller's").1.srtp.as_deref() else { panic!() };
        assert_eq!(dtls.role, DtlsRole::Client, "its offer left it to us");
        assert!(parameters.rtcp_mux);
    }
}

#[test]
fn a_handshake_that_fails_ends_the_call_and_the_explanation_says_why() {
    let rows = [
        (DtlsFailure::WrongFingerprint, "its certificate is not the one of its `a=fingerprint:sha-256`"),
        (DtlsFailure::TimedOut { heard: false }, "no DTLS packet came from it"),
        (DtlsFailure::TimedOut { heard: true }, "did not come to its end in time"),
        (DtlsFailure::NoCommonProfile, "it has none of AEAD_AES_256_GCM"),
        (DtlsFailure::Broken, "none of somebody active (we are passive)"),
    ];
    for (why, words) in rows {
        let mut world = with(ringing(), |snapshot| {
            for trunk in snapshot.trunks.values_mut() {
                (trunk.srtp, trunk.srtp_keying) = (SrtpUse::Preferred, SrtpKeying::Dtls);
            }
        });
        (world.pbx.srtp, world.pbx.keying) = (SrtpUse::Required, SrtpKeying::Dtls);
        world.call(NUMBER);
        world.answer();
        let (leg, parameters) = world.media.configured.last().expect("media");
        assert!(matches!(parameters.srtp.as_deref(), Some(Srtp::Dtls(_))), "{parameters:?}");
        let (session, _) = world.media.last.expect("a session");
        let event = Event::Unprotected { leg: *leg, why };
        world.engine.handle(world.now, Input::Media(MediaEvent { session, event }));
        world.settle();
        let told = format!("{:?} {:?} {:?}", world.told, world.records, world.pbx.last);
        assert!(told.contains("audio with the callee is not protected by DTLS-SRTP"), "{told}");
        assert!(told.contains(words), "{told}");
        assert_eq!(world.carrier.heard.last().map(String::as_str), Some("BYE"), "{:?}", world.carrier.heard);
    }
}

#[test]
fn digits_have_one_source_and_reach_the_other_side() {
    use DtmfMethod::{Auto, InBand, Info, Rfc4733};
    // The caller's trunk and the callee's, whether events are agreed with the caller; what an INFO of the caller leads to, and
    // what a digit that the media server hears afterwards does.
    let rows = [
        (Auto, Auto, true, "", ""),
        (Auto, Auto, false, "send(5)", ""),
        (Auto, Info, true, "", "INFO"),
        (Auto, Info, false, "INFO", ""),
        (Info, Auto, true, "send(5)", ""),
        (Info, Info, true, "INFO", ""),
        (InBand, Info, true, "", "INFO"),
        (Rfc4733, Info, true, "", "INFO"),
        (Rfc4733, Info, false, "", ""),
    ];
    for (ours, theirs, events, by_info, by_media) in rows {
        let mut world = with(ringing(), |snapshot| {
            carrier(snapshot).dtmf = ours;
            pbx(snapshot).dtmf = theirs;
        });
        let mut media = world.carrier.media();
        media.telephone_event = events;
        world.call_with(NUMBER, Some(sip::sdp::offer(&media)), 70);
        let has_event = offered(&world).contains("telephone-event");
        assert_eq!(has_event, matches!(theirs, Auto | Rfc4733), "{theirs:?}");
        world.answer();
        let row = format!("{ours:?} {theirs:?} {events}");
        let did = |world: &mut Virtual| {
            let sent =
                world.media.orders.drain(..).find(|order| order.starts_with("send")).unwrap_or_default();
            let info = world.pbx.heard.drain(..).find(|word| word == "INFO").unwrap_or_default();
            sent + &info
        };
        did(&mut world);
        let body = Bytes::from_static(b"Signal=5\r\nDuration=160\r\n");
        let leg = world.carrier.leg();
        world.carrier.endpoint.info(world.now.instant, leg, "application/dtmf-relay", body).unwrap();
        world.settle();
        assert_eq!(did(&mut world), by_info, "{row} by INFO");
        world.press('5');
        assert_eq!(did(&mut world), by_media, "{row} by the media server");
    }
}

#[test]
fn legs_share_ports_where_their_trunk_says_so() {
    let mut world = with(ringing(), |snapshot| carrier(snapshot).shared_ports = true);
    world.call(NUMBER);
    assert_eq!(world.media.shared, [true, false]);
}
