//! What a listener hears while a call changes: prompts, a callee, hold, another address, another codec, another party.
//!
//! To whoever hears it a leg is one stream (RFC 3550 §5.1): one source, sequence numbers without a hole, a clock that never goes
//! back. That nobody hears a call enter and leave the slow plane with a third party is shown in `src/media/tests/media/planes.rs`.

use std::{thread, time::Duration};

use crate::{
    audio::{self, likeness, melody, missing_ms},
    callee::{Callee, Stream},
    harness::{Setup, System, wait_until, with_prepared, with_system},
    phone::{CARRIER, Phone},
    rtp::{Packet, Rtp},
    stations::{self, Desk},
};

const RING: &str = "+18005550102";
const RECEPTION: &str = "+18005550105";
/// Sound that may be missing around a change: one piece that is compared, of 240 ms.
const TORN_MS: usize = 240;

/// That the packets are one stream, from the first one to the last.
fn assert_one_stream(what: &str, packets: &[Packet]) {
    assert!(packets.len() > 100, "{what}: {} packets", packets.len());
    for pair in packets.windows(2) {
        let (one, next) = (&pair[0], &pair[1]);
        let of = |packet: &Packet| (packet.payload_type, packet.ssrc, packet.sequence, packet.timestamp);
        assert_eq!(one.ssrc, next.ssrc, "{what}: another source, {:?} {:?}", of(one), of(next));
        assert_eq!(next.sequence, one.sequence.wrapping_add(1), "{what}: {:?} {:?}", of(one), of(next));
        let ahead = next.timestamp.wrapping_sub(one.timestamp);
        // A leg on hold may say nothing for seconds.
        assert!((160..80_000).contains(&ahead), "{what}: its clock, {:?} {:?}", of(one), of(next));
    }
}

fn decoded(packets: &[Packet]) -> Vec<i16> {
    packets.iter().flat_map(|packet| audio::decode(packet.payload_type, &packet.payload)).collect()
}

/// Both say something at once.
fn talk(one: (&mut Stream<'_>, &[i16]), other: (&mut Stream<'_>, &[i16])) {
    thread::scope(|scope| {
        let (stream, samples) = one;
        scope.spawn(move || stream.say(samples));
        other.0.say(other.1);
    });
    // What is still on its way.
    thread::sleep(Duration::from_millis(200));
}

fn assert_heard(what: &str, said: &[i16], heard: &[i16]) {
    let missing = missing_ms(said, heard);
    assert!(missing <= TORN_MS, "{what}: {missing} of {} ms are missing", said.len() / 8);
}

#[test]
fn prompts_ringing_and_the_callee_are_one_stream() {
    with_system(&Setup::default(), |system| {
        let callee = Callee::start(system, system.pbx.port(), "0");
        let mut phone = Phone::new(system, CARRIER, RECEPTION);
        let to = phone.call("0").audio();
        let (by_caller, by_callee) = (melody(91, 2.4), melody(92, 2.4));
        let back = callee.audio();
        let (mut caller, mut other) = (Stream::new(&phone.rtp, to, 7), Stream::new(&callee.rtp, back, 8));
        talk((&mut caller, &by_caller), (&mut other, &by_callee));
        let packets = phone.rtp.packets();
        assert_one_stream("the caller", &packets);
        assert_one_stream("the callee", &callee.rtp.packets());
        let heard = decoded(&packets);
        let found = likeness(&system.prompt("welcome"), &heard);
        assert!(found > 0.97, "the prompt: {found:.3}");
        assert_heard("the caller", &by_callee, &heard);
        assert_heard("the callee", &by_caller, &decoded(&callee.rtp.packets()));
        phone.hang_up();
        system.path_of_call(1);
        // Each leg is measured, and what one said the other was sent.
        wait_until("the record is there", || !system.records().is_empty());
        let record = system.records().remove(0);
        let [of_callee] = record["legs"].as_array().unwrap().as_slice() else { panic!("{record}") };
        for (leg, count) in [(&record, 120), (of_callee, 120)] {
            assert_eq!(leg["quality"]["packets_received"], count, "{record}");
            let sum: u64 = leg["series"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["packets_received"].as_u64().unwrap())
                .sum();
            assert_eq!(sum, count, "{record}");
            // The estimate, and all that it is made of.
            for input in [
                "mos_cq",
                "r_factor",
                "delay_ms",
                "loss_percent",
                "burst_ratio",
                "codec_impairment",
                "codec_robustness",
            ] {
                assert!(leg["quality"]["rating"][input].is_number(), "{input}: {record}");
            }
        }
    });
}

#[test]
fn hold_and_retrieval_are_one_stream_to_both() {
    with_system(&Setup::default(), |system| {
        let callee = Callee::start(system, system.pbx.port(), "0");
        let mut phone = Phone::new(system, CARRIER, RING);
        let to = phone.call("0").audio();
        let back = callee.audio();
        let parts = [melody(93, 1.92), melody(94, 1.92), melody(95, 1.92), melody(96, 1.92)];
        let mut clocks: Option<[(u16, u32); 2]> = None;
        let listens = |phone: &mut Phone, direction: &str| {
            let offer =
                phone.offer("0").replace("o=phone 1 1", "o=phone 1 2") + &format!("a={direction}\r\n");
            let invite = phone.request("INVITE", "", &offer);
            phone.send(&invite);
            let answer = phone.final_response();
            assert_eq!(answer.code(), 200, "{}", answer.text);
            phone.acknowledge_reinvite(&answer);
            answer
        };
        for (round, direction) in [(0, "sendonly"), (1, "sendrecv")] {
            {
                let (mut caller, mut other) =
                    (Stream::new(&phone.rtp, to, 7), Stream::new(&callee.rtp, back, 8));
                if let Some([one, two]) = clocks {
                    (caller.sequence, caller.timestamp) = one;
                    (other.sequence, other.timestamp) = two;
                }
                talk((&mut caller, &parts[2 * round]), (&mut other, &parts[2 * round + 1]));
                clocks = Some([
                    (caller.sequence, caller.timestamp.wrapping_add(8_000)),
                    (other.sequence, other.timestamp.wrapping_add(8_000)),
                ]);
            }
            if round == 0 {
                let answer = listens(&mut phone, direction);
                assert!(answer.body().contains("a=recvonly"), "{}", answer.body());
                thread::sleep(Duration::from_secs(1));
                listens(&mut phone, "sendrecv");
            }
        }
        for (what, rtp, said) in [("the caller", &phone.rtp, [1, 3]), ("the callee", &callee.rtp, [0, 2])] {
            assert_one_stream(what, &rtp.packets());
            let heard = decoded(&rtp.packets());
            said.iter().for_each(|part| assert_heard(what, &parts[*part], &heard));
        }
        phone.hang_up();
    });
}

#[test]
fn whom_an_agent_holds_hears_the_tenants_music_where_it_was_left() {
    let prepare = |system: &System| {
        stations::prepare(system);
        let trunks = "  outboundTrunks:\n";
        system.edit("tenant.yaml", trunks, &format!("  music: [one, two]\n{trunks}"));
    };
    with_prepared(&Setup::default(), prepare, |system| {
        let callee = Callee::start(system, stations::gateway(system), "0");
        let mut ada = Desk::new(system, "ada", "+12125550177");
        let rtp = Rtp::bind(([127, 0, 0, 1], system.peer_port()).into());
        let to = ada.call(rtp.local.port()).audio();
        let (before, after) = (melody(111, 1.44), melody(112, 1.44));
        let silence = vec![0; before.len()];
        let (mut one, mut other) = (Stream::new(&rtp, to, 7), Stream::new(&callee.rtp, callee.audio(), 8));
        talk((&mut one, &before), (&mut other, &silence));
        let heard = || decoded(&callee.rtp.packets());
        let music = [system.prompt("one"), system.prompt("two")];
        let half = music[0].len() / 2;

        let answer = ada.reinvite(rtp.local.port(), "sendonly");
        assert!(answer.body().contains("a=recvonly"), "{}", answer.body());
        let begun = heard().len();
        wait_until("half of the first piece is heard", || heard().len() > begun + half);
        ada.reinvite(rtp.local.port(), "sendrecv");
        let first = heard()[begun..].to_vec();
        one.timestamp = one.timestamp.wrapping_add(first.len() as u32);
        talk((&mut one, &after), (&mut other, &silence));
        let between = heard().len();
        ada.reinvite(rtp.local.port(), "inactive");
        wait_until("the other half and the second piece are heard", || {
            heard().len() > between + half + music[1].len() + 4_000
        });

        let all = heard();
        let found = likeness(&music[0][..half.min(first.len())], &all[begun..begun + half + 2_400]);
        assert!(found > 0.95, "the music begins: {found:.3}");
        let again = &all[between..between + half];
        let found = likeness(&music[0][..half], again);
        assert!(found < 0.8, "the music begins anew: {found:.3}");
        assert!(audio::missing_ms(&music[1], &all[between..]) <= TORN_MS, "the second piece");
        for said in [&before, &after] {
            assert_heard("the callee", said, &all);
        }
        assert_one_stream("the callee", &callee.rtp.packets());
        ada.hang_up();
    });
}

#[test]
fn another_address_and_another_codec_go_on_with_the_same_stream() {
    with_system(&Setup::default(), |system| {
        let callee = Callee::start(system, system.pbx.port(), "0");
        let mut phone = Phone::new(system, CARRIER, RING);
        let to = phone.call("0").audio();
        let back = callee.audio();
        let (before, after) = (melody(97, 1.92), melody(98, 1.92));
        let (by_callee, then_by_callee) = (melody(99, 1.92), melody(100, 1.92));
        let clock = {
            let (mut caller, mut other) = (Stream::new(&phone.rtp, to, 7), Stream::new(&callee.rtp, back, 8));
            talk((&mut caller, &before), (&mut other, &by_callee));
            (other.sequence, other.timestamp)
        };
        // It moves to another socket, begins a source of its own there, and speaks A-law.
        let moved = Rtp::bind(([127, 0, 0, 1], system.peer_port()).into());
        let (old, new) = (phone.rtp.local.port().to_string(), moved.local.port().to_string());
        let offer = phone
            .offer("8")
            .replace("o=phone 1 1", "o=phone 1 2")
            .replace(&format!("audio {old}"), &format!("audio {new}"));
        let invite = phone.request("INVITE", "", &offer);
        phone.send(&invite);
        let answer = phone.final_response();
        assert!(answer.code() == 200 && answer.body().contains("RTP/AVP 8"), "{}", answer.text);
        phone.acknowledge_reinvite(&answer);
        {
            let mut caller = Stream::new(&moved, answer.audio(), 17);
            caller.payload_type = 8;
            let mut other = Stream::new(&callee.rtp, back, 8);
            (other.sequence, other.timestamp) = (clock.0, clock.1.wrapping_add(1_600));
            talk((&mut caller, &after), (&mut other, &then_by_callee));
        }
        let heard = callee.rtp.packets();
        assert!(heard.iter().all(|packet| packet.payload_type == 0), "the callee's codec is what it was");
        assert_one_stream("the callee", &heard);
        for said in [&before, &after] {
            assert_heard("the callee", said, &decoded(&heard));
        }
        let there = moved.packets();
        assert!(there.iter().all(|packet| packet.payload_type == 8), "it asked for A-law");
        let all = [phone.rtp.packets(), there.clone()].concat();
        assert_one_stream("the caller, at both places", &all);
        assert_heard("the caller, where it was", &by_callee, &decoded(&phone.rtp.packets()));
        assert_heard("the caller, where it is", &then_by_callee, &decoded(&there));
        phone.hang_up();
    });
}

#[test]
fn a_callee_that_is_handed_on_hears_one_stream() {
    with_prepared(&Setup::default(), stations::prepare, |system| {
        let callee = Callee::start(system, stations::gateway(system), "0");
        let bob = stations::phone(system, "bob-desk", stations::BOB, ("", None));
        let mut ada = Desk::new(system, "ada", "+12125550177");
        let rtp = Rtp::bind(([127, 0, 0, 1], system.peer_port()).into());
        let to = ada.call(rtp.local.port()).audio();
        let by_ada = melody(101, 2.4);
        let back = callee.audio();
        {
            let (mut one, mut other) = (Stream::new(&rtp, to, 7), Stream::new(&callee.rtp, back, 8));
            talk((&mut one, &by_ada), (&mut other, &vec![0; by_ada.len()]));
        }
        let refer = format!("Refer-To: <sip:bob-desk@{}>\r\n", stations::listener(system));
        let answer = ada.request("REFER", &refer, "");
        assert_eq!(answer.code(), 202, "{}", answer.text);
        bob.wait_for("Call established");
        // A second and a half of him.
        wait_until("the callee hears Bob", || {
            let heard = decoded(&callee.rtp.packets());
            heard.len() > 12_000 && audio::share(&heard[heard.len() - 12_000..], stations::BOB) > 0.9
        });
        let packets = callee.rtp.packets();
        assert_one_stream("the callee", &packets);
        assert_heard("the callee", &by_ada, &decoded(&packets));
        bob.end();
    });
}
