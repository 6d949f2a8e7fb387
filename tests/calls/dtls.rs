//! DTLS-SRTP, as real peers do it with us, and what becomes of calls whose handshake comes to nothing.

use std::fmt::Write as _;

use crate::{
    agents::{Agent, SPEECH_SECONDS},
    audio::tone,
    harness::{Setup, System, wait_until, with_prepared},
    negotiation::hear_each_other,
    phone::{CARRIER, Phone},
    rtp, works,
};

const GREET: &str = "+18005550100";
const RING: &str = "+18005550102";
const DTLS: &str = "  srtp: Required\n  srtpKeying: Dtls\n";

/// What the carrier's trunk and the PBX's say besides.
fn trunks(system: &System, carrier: &str, pbx: &str) {
    let gateway = "  direction: Both\n  allowlistRefs:\n  - name: carrier\n";
    system.edit("platform.yaml", gateway, &format!("{gateway}{carrier}"));
    let phones = "  allowlistRefs:\n  - name: desk-phones\n";
    system.edit("tenant.yaml", phones, &format!("{phones}{pbx}"));
}

/// A user agent that protects its audio in this way, if any, and insists on it.
fn agent(system: &System, port: u16, hertz: f64, number: Option<&str>, way: &str) -> Agent {
    let uri = number.map(|number| format!("sip:{number}@{}", system.sip));
    let account = include_str!("agent/accounts").trim_end();
    let mut account = account.to_owned();
    let mut more = String::new();
    if !way.is_empty() {
        let _ = write!(account, ";mediaenc={way}");
        let module = if way == "dtls_srtp" { "dtls_srtp" } else { "srtp" };
        let _ = write!(more, "module {module}.so\nrtcp_mux yes\n");
    }
    account.push('\n');
    Agent::launch(system, port, "pcmu", &tone(hertz, SPEECH_SECONDS), (uri.as_deref(), &more, &account))
}

/// Joins two of them.
fn joined(system: &System, caller: &str, callee: &str) -> String {
    let callee = agent(system, system.pbx.port(), 1_250.0, None, callee);
    let caller = agent(system, system.peer_port(), 550.0, Some(RING), caller);
    hear_each_other(system, caller, callee)
}

#[test]
fn baresip_calls_and_is_called_by_dtls_srtp() {
    with_prepared(
        &Setup::default(),
        |system| trunks(system, DTLS, DTLS),
        |system| {
            let told = joined(system, "dtls_srtp", "dtls_srtp");
            assert!(told.contains("UDP/TLS/RTP/SAVP"), "{told}");
            assert!(told.contains("a=setup:actpass") && told.contains("a=setup:active"), "{told}");
            assert!(told.to_lowercase().matches("a=fingerprint:sha-256 ").count() >= 4, "{told}");
            assert!(!told.contains("a=crypto"), "{told}");
            works::passed("baresip", "UDP", "calls and is called by DTLS-SRTP; both hear each other");
        },
    );
}

#[test]
fn whoever_does_dtls_talks_to_who_has_keys_in_its_description() {
    let both = "  srtp: Required\n  srtpKeying: Both\n  insecureKeys: Accepted\n";
    for (caller, callee, of_callee) in [
        ("dtls_srtp", "srtp-mand", "  srtp: Required\n  insecureKeys: Accepted\n"),
        ("srtp-mand", "dtls_srtp", DTLS),
        ("dtls_srtp", "", ""),
    ] {
        with_prepared(
            &Setup::default(),
            |system| trunks(system, both, of_callee),
            |system| {
                joined(system, caller, callee);
            },
        );
    }
    works::passed("baresip", "UDP", "speaks by DTLS-SRTP to who has SDES, or neither");
}

/// An offer of DTLS by somebody whose certificate nobody has seen.
fn offered(phone: &Phone, more: &str) -> String {
    let digits = vec!["A5"; 32].join(":");
    let offer = phone.offer("0 101").replace("RTP/AVP", "UDP/TLS/RTP/SAVP");
    format!("{offer}a=fingerprint:sha-256 {digits}\r\na=rtcp-mux\r\n{more}")
}

#[test]
fn a_call_whose_peer_breaks_the_handshake_off_ends_and_says_so() {
    with_prepared(
        &Setup::default(),
        |system| trunks(system, DTLS, ""),
        |system| {
            let mut phone = Phone::new(system, CARRIER, GREET);
            let offer = offered(&phone, "a=setup:actpass\r\n");
            let answer = phone.invite(&offer);
            assert_eq!(answer.code(), 200, "{}", answer.text);
            assert!(answer.body().contains("a=setup:active\r\n"), "{}", answer.body());
            // An alert: handshake failure (RFC 5246 §7.2).
            let alert = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40];
            phone.rtp.send_bytes(answer.audio(), &alert);
            phone.wait_for_bye();
            wait_until("the call ends", || system.records().len() == 1);
            let is_audio = |packet: &rtp::Packet| matches!(packet.payload_type, 0 | 8);
            assert!(!phone.rtp.packets().iter().any(is_audio), "something was said without protection");
            let told = system.get(&format!("/api/v1/explanations/{}", phone.call_id));
            assert!(told.contains("audio with the caller is not protected by DTLS-SRTP"), "{told}");
            assert!(told.contains("it broke the handshake off"), "{told}");
        },
    );
}

#[test]
fn an_offer_without_a_fingerprint_that_proves_anything_is_refused() {
    with_prepared(
        &Setup::default(),
        |system| trunks(system, DTLS, ""),
        |system| {
            let weak = |offer: String| offer.replace("sha-256", "sha-1");
            for (change, more) in [
                (&weak as &dyn Fn(String) -> String, "a=setup:actpass\r\n"),
                (&|offer: String| offer, "a=setup:holdconn\r\n"),
                (&|offer: String| offer.replace(":A5\r\n", "\r\n"), "a=setup:active\r\n"),
            ] {
                let mut phone = Phone::new(system, CARRIER, GREET);
                let offer = change(offered(&phone, more));
                assert_eq!(phone.invite(&offer).code(), 488, "{offer}");
                let told = system.get(&format!("/api/v1/explanations/{}", phone.call_id));
                assert!(told.contains("SRTP is required"), "{told}");
            }
        },
    );
}
