//! sipp is the carrier.

use std::{process::Command, thread, time::Duration};

use crate::{
    afterwards::Ordinary,
    audio::likeness,
    harness::{Process, Setup, System, wait_until, with_system},
    phone::CARRIER,
    rtp::Rtp,
    sipp::{Run, Sipp, scenario},
    works,
};

pub const GREET: &str = "+18005550100";
const MENU: &str = "+18005550101";
const RING: &str = "+18005550102";
const LONG: &str = "+18005550103";

fn ear(system: &System) -> Rtp {
    Rtp::bind((CARRIER, system.peer_port()).into())
}

fn call(system: &System, scenario: (&'static str, &'static str), number: &str, rtp: &Rtp) -> Sipp {
    Sipp::start(system, &Run { scenario, number, rtp: Some(rtp.local), ..Run::default() })
}

/// Whether the caller of GREET heard both of its prompts, and none of another flow.
fn assert_greeted(system: &System, rtp: &Rtp) {
    let heard = rtp.samples();
    for name in ["welcome", "bye"] {
        let found = likeness(&system.prompt(name), &heard);
        assert!(found > 0.97, "{name}: {found:.3} in {} samples", heard.len());
    }
    let found = likeness(&system.prompt("menu"), &heard);
    assert!(found < 0.8, "menu: {found:.3}");
}

#[test]
fn a_caller_hears_the_prompts_and_the_flow_hangs_up() {
    with_system(&Setup::default(), |system| {
        let rtp = ear(system);
        call(system, scenario!("answered"), GREET, &rtp).wait();
        assert_greeted(system, &rtp);
        assert_eq!(system.path_of_call(1), ["welcome: played", "bye: hangup"]);
        assert_eq!(system.records()[0]["endedBy"], "Flow");
    });
}

#[test]
fn a_caller_may_hang_up() {
    with_system(&Setup::default(), |system| {
        let rtp = ear(system);
        call(system, scenario!("hangs-up"), LONG, &rtp).wait();
        system.path_of_call(1);
        assert_eq!(system.records()[0]["endedBy"], "Caller");
        let heard = rtp.packets().len();
        thread::sleep(Duration::from_millis(300));
        assert_eq!(rtp.packets().len(), heard, "audio goes on after the call");
    });
}

#[test]
fn a_caller_who_gives_up_while_it_rings_cancels_the_callee_too() {
    with_system(&Setup::default(), |system| {
        let callee = Sipp::start(
            system,
            &Run { scenario: scenario!("rings-only"), port: Some(system.pbx.port()), ..Run::default() },
        );
        call(system, scenario!("cancels"), RING, &ear(system)).wait();
        callee.wait();
        system.path_of_call(1);
        assert_eq!(system.records()[0]["sipCode"], 487);
        works::passed("sipp", "UDP", "gives up while it rings; the callee is cancelled");
    });
}

#[test]
fn hold_and_resume_are_answered_with_their_mirror_and_the_call_goes_on() {
    with_system(&Setup::default(), |system| {
        let rtp = ear(system);
        let caller = call(system, scenario!("holds"), LONG, &rtp);
        caller.wait();
        let heard = rtp.samples();
        let found = likeness(&system.prompt("long")[..2_400], &heard);
        assert!(found > 0.97, "before the hold: {found:.3}");
        // Half a second before the hold, another that is still sent to who only listens, two after the resumption.
        let packets = rtp.packets().len();
        assert!(packets > 90, "{packets} packets: the call did not resume");
        assert!(packets < 175, "{packets} packets: audio was sent to who was on hold");
        works::passed("sipp", "UDP", "hold and resume by re-INVITE");
    });
}

#[test]
fn an_invite_without_an_offer_gets_ours_and_its_answer_is_taken_from_the_ack() {
    with_system(&Setup::default(), |system| {
        let rtp = ear(system);
        call(system, scenario!("late-offer"), GREET, &rtp).wait();
        assert!(rtp.packets().iter().all(|packet| packet.payload_type == 8), "A-law was agreed");
        assert_greeted(system, &rtp);
        works::passed("sipp", "UDP", "an INVITE without an offer");
    });
}

#[test]
fn a_200_that_was_lost_or_not_acknowledged_is_sent_again() {
    with_system(&Setup::default(), |system| {
        let rtp = ear(system);
        let caller = call(system, scenario!("acks-late"), GREET, &rtp);
        caller.wait();
        assert!(caller.count("SIP/2.0 200") >= 3, "{}", caller.messages());
        assert_greeted(system, &rtp);
    });
}

#[test]
fn a_caller_who_never_sends_an_ack_is_given_up_with_a_bye() {
    with_system(&Setup::default(), |system| {
        let rtp = ear(system);
        call(system, scenario!("never-acks"), LONG, &rtp).wait();
        system.path_of_call(1);
        assert_eq!(system.records()[0]["endedBy"], "Failure");
        assert_eq!(system.records()[0]["because"], "the caller never sent an ACK");
        works::passed(
            "sipp",
            "UDP",
            "a 200 that was lost is sent again; without an ACK the call is given up",
        );
    });
}

#[test]
fn a_hundred_calls_at_once_are_all_answered_and_all_end() {
    hundred(&[]);
    works::passed("sipp", "UDP", "100 calls at once");
}

#[test]
fn a_hundred_calls_at_once_on_one_tcp_connection_are_all_answered_and_all_end() {
    hundred(&["-t", "t1"]);
    works::passed("sipp", "TCP", "100 calls at once on one connection");
}

fn hundred(transport: &[&str]) {
    let setup = Setup {
        pairs: None,
        flows: &[(
            "play: {prompt: welcome}\n  - name: bye",
            "play: {prompts: [welcome, welcome, welcome, welcome, welcome, welcome]}\n  - name: bye",
        )],
        ..Setup::default()
    };
    with_system(&setup, |system| {
        let rtp = ear(system);
        let more = [&["-r", "50", "-m", "100", "-l", "100"], transport].concat();
        let run = Run {
            scenario: scenario!("answered"),
            number: GREET,
            rtp: Some(rtp.local),
            more: &more,
            ..Run::default()
        };
        let carrier = Sipp::start(system, &run);
        system.wait_for_metric("switchboard_calls", 100);
        carrier.wait();
        assert_eq!(system.metric("switchboard_calls_routed_total"), 100);
        assert_eq!(system.metric("switchboard_calls_refused_total"), 0);
        system.wait_for_metric("switchboard_calls_ended_total", 100);
        for record in system.records() {
            assert_eq!((&record["sipCode"], &record["endedBy"]), (&200.into(), &"Flow".into()), "{record}");
        }
    });
}

#[test]
fn a_number_that_nobody_has_is_refused_with_404_and_the_reason() {
    with_system(&Setup::default(), |system| {
        let rtp = ear(system);
        call(system, scenario!("refused-404"), "+18005550109", &rtp).wait();
        // A number of another trunk is refused the same, and explained differently.
        call(system, scenario!("refused-404"), "+18005550110", &rtp).wait();
        system.wait_for_log("no PhoneNumber declares it: apply one.");
        system.wait_for_log("+18005550110 is live on Trunk platform/second, not on Trunk platform/carrier");
        let run = Run {
            scenario: scenario!("hangs-up"),
            number: "+18005550110",
            rtp: Some(rtp.local),
            address: "127.0.0.3",
            ..Run::default()
        };
        Sipp::start(system, &run).wait();
    });
}

#[test]
fn a_key_of_sipps_recording_leads_to_its_branch() {
    with_system(&Setup::default(), |system| {
        let run = Run { scenario: scenario!("presses-2"), number: MENU, ..Run::default() };
        Sipp::start(system, &run).wait();
        assert_eq!(system.path_of_call(1)[1..], ["two: played", "bye: hangup"]);
        works::passed("sipp", "UDP", "a key of its recording is understood");
    });
}

#[test]
fn sipps_own_scenarios_call_and_are_called() {
    with_system(&Setup::default(), |system| {
        let mut uas = Command::new("sipp");
        uas.current_dir(system.dir.path()).args([
            "-sn",
            "uas",
            "-i",
            "127.0.0.1",
            "-mi",
            "127.0.0.1",
            "-nostdin",
        ]);
        let (port, media) = (system.pbx.port().to_string(), system.peer_port().to_string());
        // It takes the port two above as well, for video.
        system.peer_port();
        uas.args(["-p", &port, "-mp", &media, "-m", "10", "-timeout", "60s", "-timeout_error"]);
        let uas = Process::start("sipp -sn uas", uas);
        wait_until("sipp listens", || std::net::UdpSocket::bind(system.pbx).is_err());
        Ordinary { number: RING, count: 10, per_second: 10, ..Ordinary::of(system) }
            .start(system)
            .wait_for_all();
        assert!(uas.wait().success(), "{}", uas.output());
        works::passed("sipp", "UDP", "its own scenario uac calls");
        works::passed("sipp", "UDP", "its own scenario uas is called");
    });
}
