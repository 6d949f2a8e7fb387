//! Offers and answers as text, and everything that is none.

use proptest::prelude::*;

use model::media::OpusParameters;

use super::*;

fn local() -> LocalMedia {
    LocalMedia::new("192.0.2.1".parse().unwrap(), 20_000, vec![Codec::Pcmu, Codec::Pcma], 7)
}

fn described(media: &str) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n{media}")
}

#[test]
fn our_offer_reads_as_it_should() {
    let offer = offer(&local());
    let expected = "v=0\r\no=- 7 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=audio 20000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n";
    assert_eq!(std::str::from_utf8(&offer).unwrap(), expected);
}

#[test]
fn the_first_codec_of_the_offer_that_we_have_is_taken() {
    for (media, codec, payload_type, event) in [
        ("m=audio 4000 RTP/AVP 18 8 0\r\n", Codec::Pcma, 8, None),
        ("m=audio 4000 RTP/AVP 0\r\n", Codec::Pcmu, 0, None),
        ("m=audio 4000 RTP/AVP 97 0\r\na=rtpmap:97 pcma/8000/1\r\n", Codec::Pcma, 97, None),
        ("m=audio 4000 RTP/AVP 97 0\r\na=rtpmap:97 PCMA/16000\r\n", Codec::Pcmu, 0, None),
        ("m=audio 4000 RTP/AVP 96 0\r\na=rtpmap:96 telephone-event/8000\r\n", Codec::Pcmu, 0, Some(96)),
        ("m=audio 4000 RTP/AVP 96 0\r\na=rtpmap:96 telephone-event/48000\r\n", Codec::Pcmu, 0, None),
    ] {
        let (text, parameters) = answer(described(media).as_bytes(), &local()).unwrap();
        let agreed = (parameters.codec, parameters.send_payload_type, parameters.send_telephone_event);
        assert_eq!(agreed, (codec, payload_type, event), "{media}");
        let list = event.map_or(format!("{payload_type}\r\n"), |event| format!("{payload_type} {event}\r\n"));
        let line = format!("m=audio 20000 RTP/AVP {list}");
        assert!(std::str::from_utf8(&text).unwrap().contains(&line), "{media}");
    }
}

#[test]
fn other_streams_are_refused_in_their_place() {
    let media = "m=video 5000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\nm=audio 4000 RTP/AVP 0\r\nm=image 6000 udptl t38\r\n";
    let (text, _) = answer(described(media).as_bytes(), &local()).unwrap();
    let text = std::str::from_utf8(&text).unwrap();
    let streams: Vec<_> = text.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(streams, ["m=video 0 RTP/AVP 96", "m=audio 20000 RTP/AVP 0", "m=image 0 udptl t38"]);
}

#[test]
fn direction_is_ours() {
    for (attributes, wanted, ours) in [
        ("a=sendonly\r\n", Direction::SendRecv, Direction::RecvOnly),
        ("a=recvonly\r\n", Direction::SendRecv, Direction::SendOnly),
        ("a=inactive\r\n", Direction::SendRecv, Direction::Inactive),
        ("", Direction::SendRecv, Direction::SendRecv),
        ("", Direction::SendOnly, Direction::SendOnly),
        ("a=sendonly\r\n", Direction::SendOnly, Direction::Inactive),
        ("c=IN IP4 0.0.0.0\r\n", Direction::SendRecv, Direction::RecvOnly),
    ] {
        let media = format!("m=audio 4000 RTP/AVP 0\r\n{attributes}");
        let local = LocalMedia { direction: wanted, ..local() };
        let (_, parameters) = answer(described(&media).as_bytes(), &local).unwrap();
        assert_eq!(parameters.direction, ours, "{attributes}");
    }
}

#[test]
fn addresses_and_packet_length_are_read() {
    let media =
        "m=audio 4000 RTP/AVP 0\r\nc=IN IP6 2001:db8::9\r\na=rtcp:4999 IN IP4 192.0.2.77\r\na=ptime:30\r\n";
    let (_, parameters) = answer(described(media).as_bytes(), &local()).unwrap();
    assert_eq!(parameters.remote_rtp, "[2001:db8::9]:4000".parse().unwrap());
    assert_eq!(parameters.remote_rtcp, "192.0.2.77:4999".parse().unwrap());
    assert_eq!(parameters.ptime_ms, 30);
    let (_, parameters) =
        answer(described("m=audio 65535 RTP/AVP 0\r\na=ptime:0\r\n").as_bytes(), &local()).unwrap();
    assert_eq!((parameters.remote_rtcp.port(), parameters.ptime_ms), (65535, 20));
}

#[test]
fn what_cannot_be_agreed_on_is_refused() {
    for (media, error) in [
        ("m=audio 4000 RTP/AVP 18\r\n", SdpError::NoCommonCodec),
        ("m=audio 4000 RTP/AVP 101\r\na=rtpmap:101 telephone-event/8000\r\n", SdpError::NoCommonCodec),
        ("m=audio 0 RTP/AVP 0\r\n", SdpError::NoAudio),
        ("m=audio 4000 RTP/SAVP 0\r\n", SdpError::ProtectedAlone),
        ("m=audio 4000 UDP/TLS/RTP/SAVPF 0\r\n", SdpError::ProtectedAlone),
        ("m=audio 0 RTP/AVP 0\r\nm=image 4000 udptl t38\r\n", SdpError::FaxAlone),
        ("m=video 4000 RTP/AVP 0\r\n", SdpError::NoAudio),
        ("", SdpError::NoAudio),
    ] {
        assert_eq!(answer(described(media).as_bytes(), &local()).unwrap_err(), error, "{media}");
    }
}

#[test]
fn a_malformed_line_is_named() {
    for (media, line) in [
        ("m=audio 40", 6),
        ("m=", 6),
        ("m=audio 70000 RTP/AVP 0\r\n", 6),
        ("m=audio -1 RTP/AVP 0\r\n", 6),
        ("m=audio 4000 RTP/AVP 300\r\n", 6),
        ("m=audio 4000 RTP/AVP\r\n", 6),
        ("m=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PC\r\n", 7),
        ("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 1.2.3.4.5\r\n", 7),
        ("m=audio 4000 RTP/AVP 0\r\nc=IN\r\n", 7),
        ("m=audio 4000 RTP/AVP 0\r\nx", 7),
    ] {
        let error = answer(described(media).as_bytes(), &local()).unwrap_err();
        assert!(matches!(error, SdpError::Malformed { line: at, .. } if at == line), "{media} {error}");
    }
    for whole in ["", "v=1\r\n", "o=-\r\nv=0\r\n", "v=0\r\nm=audio 4000 RTP/AVP 0\r\n"] {
        assert!(matches!(answer(whole.as_bytes(), &local()), Err(SdpError::Malformed { .. })), "{whole}");
    }
}

#[test]
fn bare_line_feeds_end_lines_too() {
    let text = described("m=audio 4000 RTP/AVP 0\r\n").replace('\r', "");
    assert!(answer(text.as_bytes(), &local()).is_ok());
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _whatever = answer(&bytes, &local());
        let _whatever = accept_answer(&local(), &bytes);
    }

    #[test]
    fn nor_does_a_spoilt_description(at in 0_usize..300, byte: u8, cut in 0_usize..400) {
        let mut bytes = offer(&local()).to_vec();
        let length = bytes.len();
        bytes[at % length] = byte;
        bytes.truncate(cut.max(1));
        let agreed = answer(&bytes, &local()).map(|(_, parameters)| parameters);
        prop_assert_eq!(could_answer(&bytes, &local()), agreed);
        let _whatever = accept_answer(&local(), &bytes);
    }

    #[test]
    fn both_sides_agree(port in 1_u16..65_000, event: bool, other_event: bool, swap: bool, ptime in 0_u16..100) {
        let mut codecs = vec![Codec::Pcmu, Codec::Pcma];
        if swap {
            codecs.reverse();
        }
        let caller = LocalMedia { rtp_port: port, telephone_event: event, ptime_ms: ptime, codecs, ..local() };
        let callee = LocalMedia { telephone_event: other_event, direction: Direction::SendOnly, ..local() };
        let (text, theirs) = answer(&offer(&caller), &callee).unwrap();
        let ours = accept_answer(&caller, &text).unwrap();
        prop_assert_eq!(could_answer(&offer(&caller), &callee), Ok(theirs.clone()));
        prop_assert_eq!(ours.codec, theirs.codec);
        prop_assert_eq!(ours.codec, caller.codecs[0]);
        prop_assert_eq!(ours.send_payload_type, theirs.receive_payload_type);
        prop_assert_eq!(ours.send_telephone_event.is_some(), event && other_event);
        prop_assert_eq!(ours.ptime_ms, theirs.ptime_ms);
        prop_assert_eq!(ours.direction, Direction::RecvOnly);
        prop_assert_eq!(theirs.remote_rtp.port(), port);
    }
}

const ALL: [Codec; 5] = [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma, Codec::G729];

fn of(text: &[u8]) -> Vec<&str> {
    std::str::from_utf8(text).unwrap().lines().collect()
}

#[test]
fn an_offer_has_events_at_each_clock_rate_in_use() {
    let text = offer(&LocalMedia { codecs: ALL.to_vec(), ..local() });
    let expected = [
        "m=audio 20000 RTP/AVP 111 9 0 8 18 101 110",
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 useinbandfec=1",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:18 G729/8000",
        "a=fmtp:18 annexb=no",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=rtpmap:110 telephone-event/48000",
        "a=fmtp:110 0-15",
        "a=ptime:20",
        "a=sendrecv",
    ];
    assert_eq!(of(&text)[5..], expected);
}

#[test]
fn what_comes_beside_the_codec_is_of_its_clock_rate() {
    let offered = "m=audio 4000 RTP/AVP 96 0 97 98 13\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:97 telephone-event/8000\r\n\
        a=rtpmap:98 telephone-event/48000\r\na=fmtp:96 maxplaybackrate=16000; maxaveragebitrate=20000;useinbandfec=1;usedtx=1\r\n";
    let rows = [
        (vec![Codec::Opus, Codec::Pcmu], Codec::Opus, 96, Some(98), None),
        (vec![Codec::Pcmu, Codec::Pcma], Codec::Pcmu, 0, Some(97), Some(13)),
    ];
    for (codecs, codec, number, event, noise) in rows {
        let local = LocalMedia { codecs, comfort_noise: true, ..local() };
        let (text, parameters) = answer(described(offered).as_bytes(), &local).unwrap();
        let agreed = (parameters.codec, parameters.receive_payload_type);
        assert_eq!(agreed, (codec, number));
        assert_eq!((parameters.receive_telephone_event, parameters.comfort_noise), (event, noise));
        let has_noise = of(&text).contains(&"a=rtpmap:13 CN/8000");
        assert_eq!(has_noise, noise.is_some());
        let opus = OpusParameters {
            max_playback_rate: 16_000,
            max_bitrate: Some(20_000),
            in_band_fec: true,
            dtx: true,
        };
        assert_eq!(parameters.opus, (codec == Codec::Opus).then_some(opus));
    }
}

#[test]
fn a_codec_that_is_only_passed_on_comes_last() {
    let local = LocalMedia { codecs: vec![Codec::G729, Codec::Pcma], ..local() };
    let taken = |formats: &str| {
        let media = format!("m=audio 4000 RTP/AVP {formats}\r\n");
        answer(described(&media).as_bytes(), &local).map(|(_, parameters)| parameters.codec)
    };
    assert_eq!(taken("18 8"), Ok(Codec::Pcma));
    assert_eq!(taken("18"), Ok(Codec::G729));
    assert_eq!(taken("3"), Err(SdpError::NoCommonCodec));
}

#[test]
fn numbers_that_were_agreed_on_are_kept_in_our_offers() {
    let first =
        "m=audio 4000 RTP/AVP 101 111\r\na=rtpmap:101 opus/48000/2\r\na=rtpmap:111 telephone-event/48000\r\n";
    let local = LocalMedia { codecs: vec![Codec::Opus, Codec::Pcmu], ..local() };
    let (_, parameters) = answer(described(first).as_bytes(), &local).unwrap();
    let local = LocalMedia { agreed: Some(Numbers::of(&parameters)), ..local };
    let text = offer(&local);
    let text = of(&text);
    assert_eq!(text[5], "m=audio 20000 RTP/AVP 101 0 96 111");
    assert!(
        text.contains(&"a=rtpmap:101 opus/48000/2") && text.contains(&"a=rtpmap:96 telephone-event/8000")
    );
    let answered =
        "m=audio 4000 RTP/AVP 101 111\r\na=rtpmap:101 opus/48000/2\r\na=rtpmap:111 telephone-event/48000\r\n";
    let again = accept_answer(&local, described(answered).as_bytes()).unwrap();
    assert_eq!((again.receive_payload_type, again.receive_telephone_event), (101, Some(111)));
}

#[test]
fn rtcp_shares_the_port_if_the_offer_has_it_so() {
    for (attribute, muxed, port) in [("a=rtcp-mux\r\n", true, 4_000), ("", false, 4_001)] {
        let media = format!("m=audio 4000 RTP/AVPF 0\r\n{attribute}");
        let (text, parameters) = answer(described(&media).as_bytes(), &local()).unwrap();
        assert_eq!((parameters.rtcp_mux, parameters.remote_rtcp.port()), (muxed, port));
        assert_eq!(of(&text).contains(&"a=rtcp-mux"), muxed);
        assert!(of(&text).contains(&"m=audio 20000 RTP/AVPF 0"), "the profile is the offer's");
    }
}

#[test]
fn packets_are_no_longer_than_the_peer_takes() {
    for (attributes, ptime_ms) in [
        ("a=ptime:40\r\na=maxptime:30\r\n", 30),
        ("a=maxptime:10\r\n", 10),
        ("a=maxptime:500\r\n", 20),
        ("a=maxptime:0\r\n", 20),
    ] {
        let media = format!("m=audio 4000 RTP/AVP 0\r\n{attributes}");
        let (_, parameters) = answer(described(&media).as_bytes(), &local()).unwrap();
        assert_eq!(parameters.ptime_ms, ptime_ms, "{attributes}");
    }
}

fn keyed(srtp: SrtpUse) -> LocalMedia {
    LocalMedia { srtp, offers_keys: true, keys: KeySeed::new([7; 32]).keys(0), ..local() }
}

const THEIRS: &str = "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

#[test]
fn both_sides_agree_on_keys() {
    let caller = keyed(SrtpUse::Required);
    let callee = LocalMedia { keys: KeySeed::new([8; 32]).keys(0), ..keyed(SrtpUse::Preferred) };
    let text = offer(&caller);
    let lines = of(&text);
    assert_eq!(lines[5], "m=audio 20000 RTP/SAVP 0 8 101");
    assert!(
        lines[6].starts_with("a=crypto:1 AEAD_AES_128_GCM inline:"),
        "the cheapest comes first: {}",
        lines[6]
    );
    let (answer, theirs) = answer(&text, &callee).unwrap();
    let ours = accept_answer(&caller, &answer).unwrap();
    let (ours, theirs) = (ours.srtp.unwrap(), theirs.srtp.unwrap());
    let (ours, theirs) = (ours.keys().unwrap(), theirs.keys().unwrap());
    assert_eq!((&ours.send, &ours.receive), (&theirs.receive, &theirs.send));
    assert_eq!(of(&answer).iter().filter(|line| line.starts_with("a=crypto:")).count(), 1);
    assert_ne!(ours.send, ours.receive);
}

#[test]
fn an_offer_is_answered_as_protected_as_it_may_be() {
    use SrtpUse::{Disabled, Preferred, Required};
    let crypto = |tag: u32| format!("a=crypto:{tag} AES_CM_128_HMAC_SHA1_80 {THEIRS}\r\n");
    let unknown = "a=crypto:1 F8_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\r\n";
    let (secure, plain) = ("m=audio 4000 RTP/SAVP 0\r\n", "m=audio 4000 RTP/AVP 0\r\n");
    let rows = [
        (plain.to_owned(), Disabled, Ok(None)),
        (plain.to_owned(), Preferred, Ok(None)),
        (plain.to_owned(), Required, Err(SdpError::NotProtected)),
        (format!("{secure}{}", crypto(1)), Disabled, Err(SdpError::ProtectedAlone)),
        (format!("{secure}{}", crypto(1)), Preferred, Ok(Some(1))),
        (format!("{secure}{}", crypto(4)), Required, Ok(Some(4))),
        (format!("{secure}{unknown}{}", crypto(2)), Required, Ok(Some(2))),
        (format!("{secure}{unknown}"), Preferred, Err(SdpError::ProtectedAlone)),
        (format!("{secure}{unknown}"), Required, Err(SdpError::NotProtected)),
        (format!("{plain}{}", crypto(1)), Disabled, Ok(None)),
        (format!("{plain}{}", crypto(1)), Preferred, Ok(Some(1))),
        (format!("{plain}{}", crypto(1)), Required, Ok(Some(1))),
        (format!("{plain}{secure}{}", crypto(1)), Preferred, Ok(Some(1))),
        (format!("{secure}{}{plain}", crypto(1)), Disabled, Ok(None)),
    ];
    for (media, srtp, expected) in rows {
        let answered = answer(described(&media).as_bytes(), &keyed(srtp));
        let tag = answered.as_ref().map(|(text, _)| {
            let line = of(text).into_iter().find_map(|line| line.strip_prefix("a=crypto:"));
            line.map(|line| line.split(' ').next().unwrap().parse::<u32>().unwrap())
        });
        assert_eq!(tag.map_err(Clone::clone), expected, "{srtp:?} {media}");
        if let Ok((_, parameters)) = &answered {
            assert_eq!(parameters.srtp.is_some(), expected.unwrap().is_some(), "{srtp:?} {media}");
        }
    }
}

#[test]
fn an_answer_must_have_one_of_our_keys() {
    use SrtpUse::{Preferred, Required};
    let line = |tag: u32, suite: &str| format!("a=crypto:{tag} {suite} {THEIRS}\r\n");
    let (secure, plain) = ("m=audio 4000 RTP/SAVP 0\r\n", "m=audio 4000 RTP/AVP 0\r\n");
    let rows = [
        (format!("{secure}{}", line(3, "AES_CM_128_HMAC_SHA1_80")), Required, Ok(true)),
        (format!("{secure}{}", line(1, "AES_CM_128_HMAC_SHA1_80")), Required, Err(SdpError::NotProtected)),
        (format!("{secure}{}", line(9, "AES_CM_128_HMAC_SHA1_80")), Preferred, Err(SdpError::NotProtected)),
        (secure.to_owned(), Preferred, Err(SdpError::NotProtected)),
        (plain.to_owned(), Preferred, Ok(false)),
        (plain.to_owned(), Required, Err(SdpError::NotProtected)),
    ];
    for (media, srtp, expected) in rows {
        let accepted = accept_answer(&keyed(srtp), described(&media).as_bytes());
        assert_eq!(accepted.map(|parameters| parameters.srtp.is_some()), expected, "{srtp:?} {media}");
    }
    let plain_offer = LocalMedia { offers_keys: false, ..keyed(SrtpUse::Preferred) };
    let answer = described(&format!("{secure}{}", line(3, "AES_CM_128_HMAC_SHA1_80")));
    assert_eq!(accept_answer(&plain_offer, answer.as_bytes()).unwrap_err(), SdpError::ProtectedAlone);
}

#[test]
fn who_identifies_its_key_is_answered_with_the_same_identifier() {
    let offer = described(&format!(
        "m=audio 4000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 {THEIRS}|2^31|1:4\r\n"
    ));
    let (text, parameters) = answer(offer.as_bytes(), &keyed(SrtpUse::Required)).unwrap();
    let line = of(&text).into_iter().find(|line| line.starts_with("a=crypto:")).unwrap();
    assert!(line.ends_with("|1:4"), "{line}");
    let srtp = parameters.srtp.unwrap();
    let keys = srtp.keys().unwrap();
    assert_eq!((&keys.send.mki, &keys.receive.mki), (&vec![0, 0, 0, 1], &vec![0, 0, 0, 1]));

    // Ours has none, whatever the answer has.
    let answer =
        described(&format!("m=audio 4000 RTP/SAVP 0\r\na=crypto:3 AES_CM_128_HMAC_SHA1_80 {THEIRS}|7:1\r\n"));
    let srtp = accept_answer(&keyed(SrtpUse::Required), answer.as_bytes()).unwrap().srtp.unwrap();
    let keys = srtp.keys().unwrap();
    assert_eq!((&keys.send.mki, &keys.receive.mki), (&vec![], &vec![7]));
}

#[test]
fn descriptions_print_no_key() {
    let text = offer(&keyed(SrtpUse::Required));
    let (_, parameters) = answer(&text, &keyed(SrtpUse::Required)).unwrap();
    let printed = format!("{parameters:?} {:?}", keyed(SrtpUse::Required));
    let key = of(&text)[6].split("inline:").nth(1).unwrap().to_owned();
    assert!(printed.contains("[redacted]") && !printed.contains(&key), "{printed}");
}

proptest! {
    #[test]
    fn any_two_sides_with_a_codec_in_common_agree(
        ours in prop::sample::subsequence(ALL.to_vec(), 1..=5).prop_shuffle(),
        theirs in prop::sample::subsequence(ALL.to_vec(), 1..=5).prop_shuffle(),
        keys in any::<bool>(),
    ) {
        let base = if keys { keyed(SrtpUse::Preferred) } else { local() };
        let caller = LocalMedia { codecs: ours.clone(), ..base };
        let callee = LocalMedia { codecs: theirs.clone(), ..keyed(SrtpUse::Preferred) };
        match answer(&offer(&caller), &callee) {
            Ok((text, answered)) => {
                let accepted = accept_answer(&caller, &text).unwrap();
                prop_assert!(ours.contains(&accepted.codec) && theirs.contains(&accepted.codec));
                prop_assert_eq!(accepted.codec, answered.codec);
                prop_assert_eq!(accepted.send_payload_type, answered.receive_payload_type);
                prop_assert_eq!(accepted.receive_telephone_event, answered.send_telephone_event);
                prop_assert!(accepted.send_telephone_event.is_some());
                prop_assert_eq!(accepted.srtp.is_some(), keys);
            }
            Err(error) => {
                prop_assert_eq!(error, SdpError::NoCommonCodec);
                prop_assert!(!ours.iter().any(|codec| theirs.contains(codec)));
            }
        }
    }
}
