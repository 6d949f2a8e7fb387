//! What is told of a call's quality through a bad network, beside a capture at the socket that hears it.
//!
//! Two per cent of the packets are lost and each is up to 30 ms sooner or later than the others, by netem where the kernel has it and
//! by a relay of our own (`impaired/relay.py`, with a seed) where not. tshark captures where the edge's packets come in, and
//! `impaired/figures.py` makes of the capture what RFC 3550 A.3 and A.8 and RFC 3611 say, on its own.

use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    harness::{Process, Setup, System, with_prepared},
    networks::{self, Namespaces, ip},
    phone::Phone,
    rtp::Packet,
    sipp::{Run, Sipp},
};

/// Packets that each side says: one of 10 ms each.
const PACKETS: u32 = 10_400;
const PACKET: Duration = Duration::from_millis(10);
const LOSS_PERCENT: &str = "2";
const JITTER_MS: &str = "30";
const SEED: &str = "20261127";
/// Jitter of the two may differ by so much of it: they read their clocks at two places of one packet's way.
const JITTER_OFF: f64 = 0.05;

/// The way of customer one leads through a third namespace, which carries its frames.
struct Way<'a> {
    namespaces: &'a Namespaces,
    netem: bool,
    relay: Option<Process>,
}

impl<'a> Way<'a> {
    fn new(namespaces: &'a Namespaces) -> Self {
        let [edge, far] = ["edge", "one"].map(|name| namespaces.name(name));
        // Two's namespace is the middle of the way here.
        let middle = namespaces.name("two");
        for (place, link) in [(&edge, "one"), (&edge, "two")] {
            ip(&["-n", place, "link", "delete", link]);
        }
        for (place, link, middle_link, address) in
            [(&edge, "one", "near", "10.0.0.1/24"), (&far, "wan", "far", "10.0.0.5/24")]
        {
            ip(&[
                "-n",
                place,
                "link",
                "add",
                link,
                "type",
                "veth",
                "peer",
                "name",
                middle_link,
                "netns",
                &middle,
            ]);
            ip(&["-n", place, "address", "add", address, "dev", link]);
            ip(&["-n", place, "link", "set", link, "up"]);
            ip(&["-n", &middle, "link", "set", middle_link, "up"]);
        }
        let netem =
            namespaces.inside("two", || tc(&["qdisc", "add", "dev", "near", "root", "netem", "limit", "1"]));
        if netem {
            namespaces.inside("two", || tc(&["qdisc", "delete", "dev", "near", "root"]));
        }
        let mut way = Self { namespaces, netem, relay: None };
        way.carry("0", "0", 1);
        way
    }

    fn carry(&mut self, loss: &str, jitter: &str, first_port: u16) {
        let relay = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/calls/impaired/relay.py");
        self.relay = Some(self.namespaces.inside("two", || {
            let mut command = Command::new("python3");
            command.arg(relay).args(["far", "near", loss, jitter, &first_port.to_string(), SEED]);
            let process = Process::start("relay.py", command);
            process.wait_for_output("carries");
            process
        }));
    }

    /// From now on, packets to these ports and above suffer; with netem, all.
    fn impair(&mut self, first_port: u16) {
        if self.netem {
            let delay = format!("{}ms", 2 * JITTER_MS.parse::<u32>().unwrap());
            let (jitter, loss) = (format!("{JITTER_MS}ms"), format!("{LOSS_PERCENT}%"));
            let netem =
                ["qdisc", "add", "dev", "near", "root", "netem", "delay", &delay, &jitter, "loss", &loss];
            assert!(self.namespaces.inside("two", || tc(&netem)));
        } else {
            self.relay = None;
            self.carry(LOSS_PERCENT, JITTER_MS, first_port);
        }
    }

    fn mend(&mut self) {
        if self.netem {
            assert!(self.namespaces.inside("two", || tc(&["qdisc", "delete", "dev", "near", "root"])));
        } else {
            self.relay = None;
            self.carry("0", "0", 1);
        }
    }
}

fn tc(arguments: &[&str]) -> bool {
    Command::new("tc").args(arguments).output().is_ok_and(|output| output.status.success())
}

/// What the capture says of the packets that came to a port, and of each moment after so many of them.
fn judged(capture: &Path, port: u16, counts: &[u64]) -> Value {
    let figures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/calls/impaired/figures.py");
    let mut command = Command::new("python3");
    command.arg(figures).arg(capture).arg(port.to_string());
    let output = command.args(counts.iter().map(u64::to_string)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn number(value: &Value, path: &str) -> f64 {
    value.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {path} in {value}"))
}

fn near(what: &str, told: f64, captured: f64, off: f64) {
    assert!((told - captured).abs() <= off, "{what}: {told} is told, {captured} was captured");
}

/// Compares what a leg's record tells with what was captured at its port.
fn compare(name: &str, leg: &Value, capture: &Path, port: u16) -> f64 {
    let (quality, series) = (&leg["quality"], leg["series"].as_array().unwrap());
    let counts: Vec<u64> = series
        .iter()
        .scan(0, |sum, bucket| {
            *sum += bucket["packets_received"].as_u64().unwrap();
            Some(*sum)
        })
        .collect();
    let captured = judged(capture, port, &counts);
    eprintln!("{name}: {quality}\n{name}, captured: {captured}");
    assert_eq!(captured["sources"], 1, "{captured}");
    assert_eq!(quality["packets_received"], captured["received"], "{name}: {leg}");
    assert_eq!(quality["packets_lost"], captured["lost"], "{name}: {leg}");
    assert_eq!(counts.last().copied(), captured["received"].as_u64(), "{name}: the series is the whole");

    // A packet that is only late is no longer lost when it comes; a bucket that is over stays as it was.
    let (mut lost, mut jitters) = (0.0_f64, Vec::new());
    for (place, (bucket, count)) in series.iter().zip(&counts).enumerate() {
        assert_eq!(bucket["at_s"], place * 5, "{bucket}");
        if *count == 0 {
            // Nothing had come yet.
            continue;
        }
        let then = &captured["at"][count.to_string()];
        let lost_then = number(then, "/lost");
        near(
            &format!("{name}: lost in {bucket}"),
            number(bucket, "/packets_lost"),
            (lost_then - lost).max(0.0),
            0.0,
        );
        lost = lost.max(lost_then);
        let (told, measured) = (number(bucket, "/jitter_ms"), number(then, "/jitter_ms"));
        eprintln!(
            "{name} {:>4} s: {count:>6} packets, {lost:>4} lost, jitter {told:.2} ms, captured {measured:.2} ms",
            place * 5
        );
        // The last bucket is read twice, and has the greater of both.
        if place + 1 < series.len() && bucket["packets_received"].as_u64() > Some(100) {
            jitters.push((told, measured));
        }
    }
    assert!(jitters.len() >= 18, "{name}: {jitters:?}");
    // Whoever reads the socket may be kept waiting where the capture is not, on a machine that is busy: two buckets may show it.
    let near_enough =
        jitters.iter().filter(|(told, measured)| (told - measured).abs() <= measured * JITTER_OFF).count();
    assert!(near_enough + 2 >= jitters.len(), "{name}: {jitters:?}");
    let mean = |of: fn(&(f64, f64)) -> f64| jitters.iter().map(of).sum::<f64>() / jitters.len() as f64;
    let (told, measured) = (mean(|one| one.0), mean(|one| one.1));
    eprintln!("{name}: jitter {told:.2} ms in the mean, captured {measured:.2} ms");
    near(&format!("{name}: jitter"), told, measured, measured * JITTER_OFF);

    let of = |what: &str| {
        (number(quality, &format!("/bursts/{what}")), number(&captured, &format!("/bursts/{what}")))
    };
    for what in ["burst_density", "gap_density"] {
        let (told, measured) = of(what);
        near(&format!("{name}: {what}"), told, measured, 0.01);
    }
    for what in ["burst", "gap"] {
        let measured = number(&captured, &format!("/bursts/{what}")) * 10.0;
        near(&format!("{name}: {what}"), number(quality, &format!("/bursts/{what}_ms")), measured, 1.0);
    }
    let percent =
        number(&captured, "/lost") * 100.0 / (number(&captured, "/lost") + number(&captured, "/received"));
    near(&format!("{name}: loss"), number(quality, "/rating/loss_percent"), percent, 0.001);
    percent
}

/// Says so many packets of 10 ms in true time.
fn say(phone: &Phone, to: SocketAddr) {
    let mut next = Instant::now();
    for place in 0..PACKETS {
        let packet = Packet {
            payload_type: 0,
            sequence: (place as u16).wrapping_add(60_000),
            timestamp: place.wrapping_mul(80),
            ssrc: 7,
            payload: vec![0xff; 80],
        };
        phone.rtp.send(to, place == 0, &packet);
        // Who was kept waiting does not catch up: packets that leave at once would overtake each other by more than they may.
        next = (next + PACKET).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// Where sipp was told to send its audio.
fn audio_port(messages: &str) -> u16 {
    let line = messages.lines().find_map(|line| line.strip_prefix("m=audio ")).unwrap();
    line.split(' ').next().unwrap().parse().unwrap()
}

fn talk(system: &System, way: &mut Way<'_>) -> [u16; 2] {
    let text = include_str!("scenarios/echoes.xml").replace("RTP/AVP 0\n", "RTP/AVP 0\na=ptime:10\n");
    let run = Run {
        scenario: ("echoes-10", text.leak()),
        port: Some(networks::PBX),
        address: "10.0.0.5",
        more: &["-m", "1", "-l", "1", "-rtp_echo", "-timeout", "200s"],
        ..Run::default()
    };
    let namespaces = way.namespaces;
    let (pbx, mut caller, to) = namespaces.inside("one", || {
        let pbx = Sipp::start(system, &run);
        let mut caller = networks::phone(system, "UDP", networks::CUSTOMERS[0].rings);
        let offer = caller.offer("0") + "a=ptime:10\r\n";
        let answer = caller.invite(&offer);
        assert_eq!(answer.code(), 200, "{}", answer.text);
        let to = answer.audio();
        (pbx, caller, to)
    });
    // No message of SIP is on its way while that changes: this phone says nothing twice.
    thread::sleep(Duration::from_millis(700));
    way.impair(system.block + 100);
    say(&caller, to);
    // What is still on its way.
    thread::sleep(Duration::from_millis(500));
    way.mend();
    caller.hang_up();
    pbx.wait();
    [to.port(), audio_port(&pbx.messages())]
}

#[test]
fn what_is_told_of_a_call_through_a_bad_network_is_what_was_captured() {
    let namespaces = Namespaces::new();
    let mut way = Way::new(&namespaces);
    eprintln!("impaired by {}", if way.netem { "netem" } else { "a relay of the test's own" });
    let prepare = |system: &System| {
        networks::write_manifests(system, "UDP");
        // The second customer is elsewhere today.
        let second = "  - {name: two, bindAddress: 10.0.0.1, interface: two, allowedNamespaces: [two]}\n";
        system.edit(
            "platform.yaml",
            second,
            "  - {name: two, bindAddress: 127.0.0.1, allowedNamespaces: [two]}\n",
        );
    };
    namespaces.inside("edge", || {
        with_prepared(&Setup::default(), prepare, |system| {
            let capture = system.dir.path().join("capture.pcap");
            let mut command = Command::new("tshark");
            command
                .args(["-q", "-i", "one", "-f", "udp and dst host 10.0.0.1", "-F", "pcap", "-w"])
                .arg(&capture);
            let tshark = Process::start("tshark", command);
            crate::harness::wait_until("tshark captures", || tshark.errors().contains("Capturing on"));
            let ports = talk(system, &mut way);
            crate::harness::wait_until("the record is there", || !system.records().is_empty());
            tshark.terminate();
            let record = system.records().remove(0);
            let caller = compare("the caller", &record, &capture, ports[0]);
            let callee = compare("the callee", &record["legs"][0], &capture, ports[1]);
            let all = number(&record, "/quality/packets_received")
                + number(&record, "/legs/0/quality/packets_received");
            assert!(all >= 20_000.0, "{all} packets");
            assert!((1.0..3.0).contains(&caller), "{caller} % were lost");
            // It says again what has come through, and loses of that once more.
            assert!((2.0..6.0).contains(&callee), "{callee} % were lost");
        });
    });
}
