//! What was really on the wire, as tshark reads it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use crate::{
    agents::Agent,
    audio::tone,
    harness::{Process, Setup, System, with_system},
    works,
};

/// A packet's fields as text, in the order they were asked for.
type Row = Vec<String>;

fn tshark(system: &System, capture: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(capture).args(["-d", &format!("udp.port=={},sip", system.sip.port())]);
    command.args(["-d", &format!("udp.port=={},sip", system.pbx.port())]).args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn rows(system: &System, capture: &Path, filter: &str, fields: &[&str]) -> Vec<Row> {
    let mut arguments = vec!["-Y", filter, "-T", "fields", "-E", "separator=/t"];
    fields.iter().for_each(|field| arguments.extend(["-e", *field]));
    let text = tshark(system, capture, &arguments);
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

#[test]
fn a_prompt_and_a_conversation_are_sound_on_the_wire() {
    with_system(&Setup::default(), |system| {
        let capture = system.dir.path().join("capture.pcapng");
        converse(system, &capture);

        let bad = rows(
            system,
            &capture,
            "sip && (_ws.malformed || _ws.expert.severity >= 6291456)",
            &["frame.number", "_ws.expert.message"],
        );
        assert!(bad.is_empty(), "{bad:?}");
        let requests = rows(system, &capture, "sip.Method", &["sip.Method"]);
        let count = |method: &str| requests.iter().filter(|row| row[0] == method).count();
        assert_eq!((count("INVITE"), count("ACK"), count("BYE")), (2, 2, 2), "{requests:?}");

        let ports = system.block + 100..system.block + 400;
        let streams = streams(system, &capture);
        let ours: Vec<_> = streams.iter().filter(|((from, _), _)| ports.contains(from)).collect();
        assert_eq!(
            ours.len(),
            2,
            "one stream to each phone, across prompt and conversation: {:?}",
            streams.keys()
        );
        for ((from, ssrc), packets) in ours {
            assert_is_sound(packets, &format!("from {from}, SSRC {ssrc}"));
        }
        // A-law to the caller, mu-law to the callee, as each agreed; nothing else.
        let kinds: BTreeSet<_> = streams
            .iter()
            .filter(|((from, _), _)| ports.contains(from))
            .flat_map(|(_, packets)| packets.iter().map(|packet| packet.kind))
            .collect();
        assert_eq!(kinds, BTreeSet::from([0, 8]));

        let reports = rows(system, &capture, "rtcp", &["udp.srcport", "rtcp.pt", "rtcp.senderssrc"]);
        let from_us: Vec<_> = reports.iter().filter(|row| ports.contains(&row[0].parse().unwrap())).collect();
        assert!(from_us.iter().any(|row| row[1].contains("200")), "no sender report of ours in {reports:?}");
        let broken = rows(system, &capture, "rtcp && _ws.malformed", &["frame.number"]);
        assert!(broken.is_empty(), "{broken:?}");
        works::passed("tshark", "UDP", "finds nothing malformed in a call's SIP, RTP and RTCP");
    });
}

/// A call that hears a prompt, then talks to a phone for so long that reports are due.
fn converse(system: &System, capture: &Path) {
    let first = system.block;
    let mut command = Command::new("tshark");
    command.args(["-i", "lo", "-f", &format!("udp portrange {first}-{}", first + 399), "-w"]).arg(capture);
    let reader = Process::start("tshark", command);
    crate::harness::wait_until("tshark captures (it needs root or CAP_NET_RAW)", || {
        let told = reader.errors();
        assert!(
            !told.contains("permission") && !told.contains("no interfaces"),
            "tshark cannot capture: {told}"
        );
        told.contains("Capturing on")
    });
    // What it says comes a moment before what it does.
    thread::sleep(Duration::from_secs(1));
    let callee = Agent::start(system, system.pbx.port(), "pcmu", &tone(1_250.0, 60.0), None);
    let caller = Agent::start(system, system.peer_port(), "pcma", &tone(550.0, 60.0), Some("+18005550105"));
    callee.wait_for("Call established");
    thread::sleep(Duration::from_secs(8));
    caller.heard();
    callee.wait_for("terminated");
    callee.heard();
    thread::sleep(Duration::from_millis(500));
    reader.interrupt();
}

#[derive(Debug)]
struct Packet {
    sequence: u16,
    timestamp: u32,
    kind: u8,
    marker: bool,
    at: f64,
}

/// RTP packets by source port and SSRC, in the order they were seen.
fn streams(system: &System, capture: &Path) -> BTreeMap<(u16, String), Vec<Packet>> {
    let fields = [
        "udp.srcport",
        "rtp.ssrc",
        "rtp.seq",
        "rtp.timestamp",
        "rtp.p_type",
        "rtp.marker",
        "frame.time_relative",
    ];
    let mut streams = BTreeMap::<_, Vec<_>>::new();
    for row in rows(system, capture, "rtp && !rtcp", &fields) {
        let packet = Packet {
            sequence: row[2].parse().unwrap(),
            timestamp: row[3].parse().unwrap(),
            kind: row[4].parse().unwrap(),
            marker: matches!(row[5].as_str(), "1" | "True"),
            at: row[6].parse().unwrap(),
        };
        streams.entry((row[0].parse().unwrap(), row[1].clone())).or_default().push(packet);
    }
    streams
}

/// No number is missing or twice, timestamps never go back, and they go as the clock does.
fn assert_is_sound(packets: &[Packet], which: &str) {
    assert!(packets.len() > 300, "{which}: only {} packets", packets.len());
    assert!(packets[0].marker, "{which}: the first packet begins a talk spurt");
    for pair in packets.windows(2) {
        let [one, next] = pair else { continue };
        assert_eq!(next.sequence, one.sequence.wrapping_add(1), "{which}: {one:?} is followed by {next:?}");
        let step = next.timestamp.wrapping_sub(one.timestamp);
        assert!((1..8_000 * 20).contains(&step), "{which}: {one:?} is followed by {next:?}");
    }
    let (first, last) = (&packets[0], &packets[packets.len() - 1]);
    let by_timestamp = f64::from(last.timestamp.wrapping_sub(first.timestamp)) / 8_000.0;
    let drift = (by_timestamp - (last.at - first.at)).abs();
    assert!(drift < 0.5, "{which}: timestamps are {drift:.2} s off the clock");
}
