//! Codecs and keys, as real peers agree on them with us.

use std::{thread, time::Duration};

use crate::{
    agents::{Agent, SPEECH_SECONDS, assert_hears},
    audio::{likeness, tone},
    harness::{Setup, System, with_prepared},
    phone::{CARRIER, Phone},
    sipp::{Run, Sipp, scenario},
    works,
};

const GREET: &str = "+18005550100";
const RING: &str = "+18005550102";

/// What the carrier's trunk and the PBX's say besides.
fn trunks(system: &System, carrier: &str, pbx: &str) {
    let gateway = "  direction: Both\n  allowlistRefs:\n  - name: carrier\n";
    system.edit("platform.yaml", gateway, &format!("{gateway}{carrier}"));
    let phones = "  allowlistRefs:\n  - name: desk-phones\n";
    system.edit("tenant.yaml", phones, &format!("{phones}{pbx}"));
}

/// A user agent of these codecs, with modules and, where it insists on SRTP, with its keys.
fn agent(system: &System, port: u16, codecs: &str, hertz: f64, number: Option<&str>, keyed: bool) -> Agent {
    let uri = number.map(|number| format!("sip:{number}@{}", system.sip));
    let account = include_str!("agent/accounts").trim_end();
    let account = format!("{account}{}\n", if keyed { ";mediaenc=srtp-mand" } else { "" });
    let more = "module g722.so\nmodule opus.so\nmodule srtp.so\n";
    let more = if keyed { more } else { more.trim_end_matches("module srtp.so\n") };
    Agent::launch(system, port, codecs, &tone(hertz, SPEECH_SECONDS), (uri.as_deref(), more, &account))
}

/// Joins two of them, who must hear each other and nothing else; gives the ladder of the call.
fn joined(
    system: &System,
    (caller, caller_keyed): (&str, bool),
    (callee, callee_keyed): (&str, bool),
) -> String {
    let callee = agent(system, system.pbx.port(), callee, 1_250.0, None, callee_keyed);
    let caller = agent(system, system.peer_port(), caller, 550.0, Some(RING), caller_keyed);
    hear_each_other(system, caller, callee)
}

/// The caller, at 550 Hz, and the callee, at 1,250, must hear each other and nothing else; gives explanation and ladder of the
/// call.
pub fn hear_each_other(system: &System, caller: Agent, callee: Agent) -> String {
    callee.wait_for("Call established");
    caller.wait_for("Call established");
    thread::sleep(Duration::from_secs(4));
    let by_caller = caller.heard();
    callee.wait_for("terminated");
    let by_callee = callee.heard();
    assert_hears(&by_callee, 550.0, 1_250.0);
    assert_hears(&by_caller[by_caller.len().saturating_sub(24_000)..], 1_250.0, 550.0);
    system.path_of_call(1);
    let record = &system.records()[0];
    let id = record["callId"].as_str().unwrap();
    system.get(&format!("/api/v1/explanations/{id}")) + &system.get(&format!("/api/v1/ladders/{id}"))
}

#[test]
fn baresip_calls_and_is_called_by_srtp() {
    let keys = "  srtp: Required\n  insecureKeys: Accepted\n";
    with_prepared(
        &Setup::default(),
        |system| trunks(system, keys, keys),
        |system| {
            let told = joined(system, ("pcmu", true), ("pcma", true));
            assert!(told.contains("RTP/SAVP 0") && told.contains("RTP/SAVP 8"), "{told}");
            let keys = told.matches("inline:").count();
            assert!(keys >= 4, "offers and answers of both legs: {told}");
            assert_eq!(told.matches("inline:[redacted]").count(), keys, "{told}");
            assert!(!system.log().contains("inline:"));
            works::passed("baresip", "UDP", "calls and is called by SRTP (SDES); both hear each other");
        },
    );
}

#[test]
fn who_knows_no_srtp_is_called_without_where_it_is_preferred() {
    let keys = "  srtp: Preferred\n  insecureKeys: Accepted\n";
    with_prepared(
        &Setup::default(),
        |system| trunks(system, keys, keys),
        |system| {
            let told = joined(system, ("pcmu", true), ("pcmu", false));
            assert!(told.contains("asked again without SRTP"), "{told}");
            works::passed("baresip", "UDP", "is called without SRTP, once it has refused it");
        },
    );
}

#[test]
fn baresip_speaks_wide_band_codecs_to_its_like_and_to_others() {
    let codecs = "  codecs: [OPUS, G722, PCMU, PCMA]\n";
    for (caller, callee) in [
        ("opus/48000/2", "opus/48000/2"),
        ("opus/48000/2", "pcmu"),
        ("pcma", "opus/48000/2"),
        ("g722", "pcmu"),
        ("g722", "g722"),
    ] {
        with_prepared(
            &Setup::default(),
            |system| trunks(system, codecs, codecs),
            |system| {
                joined(system, (caller, false), (callee, false));
            },
        );
    }
    works::passed("baresip", "UDP", "speaks Opus and G.722, to its like and to G.711");
}

#[test]
fn g729_is_passed_on_and_is_refused_where_a_prompt_would_be_heard() {
    let codecs = "  codecs: [PCMU, PCMA, G729]\n";
    with_prepared(
        &Setup::default(),
        |system| trunks(system, codecs, codecs),
        |system| {
            let run =
                Run { scenario: scenario!("answers-g729"), port: Some(system.pbx.port()), ..Run::default() };
            let callee = Sipp::start(system, &run);
            let mut phone = Phone::new(system, CARRIER, RING);
            let answer = phone.call("18 101");
            assert!(answer.body().contains("RTP/AVP 18 101\r\n"), "{}", answer.body());
            phone.hang_up();
            callee.wait();
            assert!(callee.messages().contains("RTP/AVP 18 101"), "{}", callee.messages());
            let mut phone = Phone::new(system, CARRIER, GREET);
            let offer = phone.offer("18 101");
            assert_eq!(phone.invite(&offer).code(), 488);
            let told = system.get(&format!("/api/v1/explanations/{}", phone.call_id));
            assert!(told.contains("G729 alone"), "{told}");
        },
    );
}

#[test]
fn fax_is_refused_alone_and_beside_audio_and_the_call_goes_on() {
    with_prepared(
        &Setup::default(),
        |_| {},
        |system| {
            let mut phone = Phone::new(system, CARRIER, GREET);
            let fax = "m=image 4000 udptl t38\r\na=T38FaxVersion:0\r\n";
            let audio = phone.offer("0 101");
            let (head, _) = audio.split_once("m=").unwrap();
            let alone = format!("{head}{fax}");
            assert_eq!(phone.invite(&alone).code(), 488);
            let told = system.get(&format!("/api/v1/explanations/{}", phone.call_id));
            assert!(told.contains("fax (T.38)"), "{told}");

            let mut phone = Phone::new(system, CARRIER, GREET);
            let beside = phone.offer("0 101") + fax;
            let answer = phone.invite(&beside);
            assert_eq!(answer.code(), 200, "{}", answer.text);
            assert!(answer.body().contains("m=image 0 udptl t38"), "{}", answer.body());
            // A fax machine asks to go over to T.38 (RFC 3264 §8): no, and the audio stays.
            let reinvite = phone.request("INVITE", "", &alone);
            phone.send(&reinvite);
            let refused = phone.final_response();
            assert_eq!(refused.code(), 488);
            phone.acknowledge_reinvite(&refused);
            phone.wait_for_bye();
            let found = likeness(&system.prompt("welcome"), &phone.rtp.samples());
            assert!(found > 0.97, "{found:.3}");
        },
    );
}

#[test]
fn a_trunk_without_keys_refuses_srtp_alone_and_one_that_must_have_them_refuses_all_else() {
    with_prepared(
        &Setup::default(),
        |system| trunks(system, "  srtp: Required\n", ""),
        |system| {
            let mut phone = Phone::new(system, CARRIER, GREET);
            let offer = phone.offer("0 101");
            assert_eq!(phone.invite(&offer).code(), 488);
            let told = system.get(&format!("/api/v1/explanations/{}", phone.call_id));
            assert!(told.contains("insecureKeys: Accepted"), "{told}");
        },
    );
}
