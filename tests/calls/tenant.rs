//! `examples/tenant` as it stands, with ports of the test's own, hours that are always open, and agents who sign in by password:
//! two telephones of agents with different skills, contacts of sipp and baresip, a blind and a warm transfer, and what tshark
//! and the records say of them.

use std::{collections::BTreeSet, fs, path::Path, process::Command, thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    agents::{Agent, SPEECH_SECONDS},
    audio::{share, tone},
    desk::{Desk, hash, token},
    harness::{Process, Setup, System, wait_until, with_prepared},
    phone::CARRIER,
    rtp::Rtp,
    sipp::{Run, Sipp, scenario},
};

/// Numbers whose flows lead straight to a queue, and whoever serves it by skill.
const TO_SUPPORT: &str = "+13125550101";
const TO_BILLING: &str = "+12125550102";
const AGENTS: [(&str, f64); 2] = [("dev", 550.0), ("liam", 850.0)];
const CONTACT: f64 = 1_250.0;

fn prepare(system: &System) {
    let folder = system.manifest("");
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir_all(&folder).unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tenant");
    for file in fs::read_dir(example).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
    }
    let (sip, phones, pages) = (system.sip.port(), system.own_port(2), system.own_port(3));
    system.edit("cluster.yaml", "port: 5060", &format!("port: {sip}"));
    system.edit("cluster.yaml", "port: 5070", &format!("port: {phones}"));
    system.edit("cluster.yaml", "port: 8443", &format!("port: {pages}"));
    let ports = format!("first: {}, last: {}", system.block + 100, system.block + 399);
    system.edit("cluster.yaml", "first: 20000, last: 20999", &ports);
    // baresip knows no other.
    system.edit("cluster.yaml", "  drainSeconds: 30\n", "  drainSeconds: 1\n  digestAlgorithms: [MD5]\n");
    system.edit("hours.yaml", "\"2026-", "\"2001-");
    system.edit("hours.yaml", "\"2027-", "\"2002-");
    let week = "[Monday, Tuesday, Wednesday, Thursday, Friday]";
    let always = "{days: [Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday], from: \"00:00\", to: \"24:00\"}";
    for (from, to) in [("08:00", "20:00"), ("09:00", "17:00")] {
        let hours = format!("{{days: {week}, from: \"{from}\", to: \"{to}\"}}");
        system.edit("hours.yaml", &hours, always);
    }
    system.edit("hours.yaml", "  - {days: [Saturday], from: \"10:00\", to: \"18:00\"}\n", "");
    system.edit("tenant.yaml", "    passwords: Refused\n", "");
    for (agent, _) in AGENTS {
        let by_password = "signIn: {secretRef: {name: people, key: password}}";
        system.edit("agents.yaml", &format!("signIn: {{subject: {agent}@example.com}}"), by_password);
    }
    let people = format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: people, namespace: acme, labels: {{switchboard.dev/use: \"true\"}}}}
stringData: {{password: '{}'}}
",
        hash()
    );
    fs::write(system.manifest("people.yaml"), people).unwrap();
}

fn agent(system: &System, (name, note): (&str, f64)) -> (Agent, Desk) {
    let account = format!(
        "<sip:{name}@127.0.0.1:{}>;auth_user={name};auth_pass=made-up;regint=60;answermode=auto;audio_codecs=pcmu\n",
        system.own_port(2)
    );
    let speech = tone(note, SPEECH_SECONDS);
    let phone = Agent::with_account(system, system.peer_port(), &speech, (&account, None));
    wait_until("the telephone is registered", || {
        system.get("/api/v1/registrations").contains(&format!("acme/{name}"))
    });
    let mut desk = Desk::open(system, &token(system, &format!("acme/{name}"))).unwrap();
    desk.hear("welcome");
    desk.say(json!({"type": "ready"}));
    desk.state("Available");
    (phone, desk)
}

fn about(kind: &str, offer: &Value) -> Value {
    json!({"type": kind, "interaction": offer["interaction"]})
}

fn to(kind: &str, offer: &Value, whom: &str) -> Value {
    json!({"type": kind, "interaction": offer["interaction"], "to": whom})
}

/// Rows of fields of what was captured.
fn read(system: &System, capture: &Path, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(capture);
    for port in [system.sip.port(), system.own_port(2)] {
        command.args(["-d", &format!("udp.port=={port},sip")]);
    }
    command.args(["-Y", filter, "-T", "fields", "-E", "separator=/t"]);
    fields.iter().for_each(|field| _ = command.args(["-e", field]));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

#[test]
fn the_tenant_of_the_examples_works_two_agents_and_hands_contacts_on() {
    with_prepared(&Setup::default(), prepare, |system| {
        let (_dev_phone, mut dev) = agent(system, AGENTS[0]);
        let (_liam_phone, mut liam) = agent(system, AGENTS[1]);
        blind(system, (&mut dev, &mut liam));
        warm(system, &mut liam);
        for desk in [&mut dev, &mut liam] {
            desk.say(json!({"type": "signOut"}));
        }
    });
}

/// Support's contact, of sipp: Dev is rung, for Liam knows billing alone; he gets the contact all the same.
fn blind(system: &System, (dev, liam): (&mut Desk, &mut Desk)) {
    let rtp = Rtp::bind((CARRIER, system.peer_port()).into());
    let run =
        Run { scenario: scenario!("answered"), number: TO_SUPPORT, rtp: Some(rtp.local), ..Run::default() };
    let contact = Sipp::start(system, &run);
    let offer = dev.hear("offer");
    assert_eq!(offer["queue"], "acme/support");
    dev.state("Busy");
    thread::sleep(Duration::from_secs(3));
    dev.say(to("transfer", &offer, "liam"));
    assert_eq!(dev.hear("callOver")["interaction"], offer["interaction"]);
    assert_eq!(liam.hear("call")["interaction"], offer["interaction"]);
    thread::sleep(Duration::from_secs(3));
    liam.say(about("hangUp", &offer));
    contact.wait();
    let heard = rtp.samples();
    assert!(share(&heard[8_000..16_000], AGENTS[0].1) > 0.9, "first the contact hears Dev");
    wait_until("the record is there", || system.records().len() == 1);
    let record = system.records()[0].clone();
    assert_eq!(
        (&record["queues"][0]["queue"], &record["queues"][0]["agent"]),
        (&json!("acme/support"), &json!("acme/dev"))
    );
    let path: Vec<String> = serde_json::from_value(record["path"].clone()).unwrap();
    assert_eq!(path[0], "hours: open", "{path:?}");
    assert!(heard.chunks(8_000).any(|second| share(second, AGENTS[1].1) > 0.9), "then Liam");
    dev.say(about("finish", &offer));
    dev.state("Available");
}

/// Billing's contact, of baresip: Liam asks Dev back and hands on; all three legs are on one media server's address.
fn warm(system: &System, liam: &mut Desk) {
    let capture = system.dir.path().join("warm.pcapng");
    let mut command = Command::new("tshark");
    let filter = format!("udp portrange {}-{}", system.block, system.block + 399);
    command.args(["-i", "lo", "-f", &filter, "-w"]).arg(&capture);
    let reader = Process::start("tshark", command);
    wait_until("tshark captures (it needs root or CAP_NET_RAW)", || reader.errors().contains("Capturing on"));
    thread::sleep(Duration::from_secs(1));
    let speech = tone(CONTACT, SPEECH_SECONDS);
    let contact = Agent::start(system, system.peer_port(), "pcmu", &speech, Some(TO_BILLING));
    let offer = liam.hear("offer");
    assert_eq!(offer["queue"], "acme/billing");
    contact.wait_for("Call established");
    thread::sleep(Duration::from_secs(3));
    liam.say(to("consult", &offer, "dev"));
    while liam.hear("call")["consult"]["state"] != "Talks" {}
    thread::sleep(Duration::from_secs(3));
    liam.say(about("complete", &offer));
    assert_eq!(liam.hear("callOver")["interaction"], offer["interaction"]);
    thread::sleep(Duration::from_secs(3));
    let heard = contact.heard();
    assert!(share(&heard[8_000..16_000], AGENTS[1].1) > 0.9, "first the contact hears Liam");
    assert!(share(&heard[heard.len() - 8_000..], AGENTS[0].1) > 0.9, "in the end it hears Dev");
    wait_until("the record is there", || system.records().len() == 2);
    reader.interrupt();
    // The edge's descriptions of the three legs: one address, a port each; and RTP went from just those.
    let described = read(
        system,
        &capture,
        &format!("sdp && (udp.srcport == {} || udp.srcport == {})", system.sip.port(), system.own_port(2)),
        &["sip.Call-ID", "sdp.connection_info.address", "sdp.media.port"],
    );
    let legs: BTreeSet<_> = described.iter().map(|row| row[0].clone()).collect();
    assert_eq!(legs.len(), 3, "{described:?}");
    let addresses: BTreeSet<_> = described.iter().map(|row| row[1].clone()).collect();
    assert_eq!(addresses, BTreeSet::from(["127.0.0.1".to_owned()]), "{described:?}");
    let ports: BTreeSet<_> = described.iter().map(|row| row[2].clone()).collect();
    assert_eq!(ports.len(), 3, "{described:?}");
    let sent = read(
        system,
        &capture,
        &format!("rtp && udp.srcport >= {}", system.block + 100),
        &["ip.src", "udp.srcport"],
    );
    let sent: BTreeSet<_> = sent.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let wanted: BTreeSet<_> = ports.into_iter().map(|port| ("127.0.0.1".to_owned(), port)).collect();
    assert_eq!(sent, wanted, "each leg's audio comes from the address and port that its description gives");
    let record = system.records()[0].clone();
    assert_eq!(record["queues"][0]["agent"], "acme/liam");
    let legs = record["legs"].as_array().unwrap();
    eprintln!("three legs on 127.0.0.1: {wanted:?}; other legs of the record: {}", json!(legs));
    assert!(legs.len() >= 2, "{record}");
}
