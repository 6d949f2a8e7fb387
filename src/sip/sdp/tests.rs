//! Offers and answers as text, and everything that is none.

use proptest::prelude::*;

use super::*;

fn local() -> LocalMedia {
    LocalMedia {
        address: "192.0.2.1".parse().unwrap(),
        rtp_port: 20_000,
        codecs: vec![Codec::Pcmu, Codec::Pcma],
        telephone_event: true,
        ptime_ms: 20,
        direction: Direction::SendRecv,
        session_id: 7,
        version: 1,
    }
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
        ("m=audio 4000 RTP/SAVP 0\r\n", SdpError::NoAudio),
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
        let _whatever = answer(&bytes, &local());
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
        prop_assert_eq!(ours.codec, theirs.codec);
        prop_assert_eq!(ours.codec, caller.codecs[0]);
        prop_assert_eq!(ours.send_payload_type, theirs.receive_payload_type);
        prop_assert_eq!(ours.send_telephone_event.is_some(), event && other_event);
        prop_assert_eq!(ours.ptime_ms, theirs.ptime_ms);
        prop_assert_eq!(ours.direction, Direction::RecvOnly);
        prop_assert_eq!(theirs.remote_rtp.port(), port);
    }
}
