//! Calls that we begin: who is called back before the agent, and whom an agent is shown first, over HTTP, the desk's socket
//! and the telephones.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::{Value, json};

use crate::{
    audio::{share, tone},
    callee::{Callee, Stream},
    desk::{ADA, Desk, agent_phone, prepare, token},
    harness::{PATIENCE, Setup, System, wait_until, with_prepared},
    phone::{CARRIER, Phone},
    stations::gateway,
};

/// What the contact says, in Hz.
const CONTACT: f64 = 1_250.0;

const TOKEN: &str = "a-token-that-nobody-guesses";

/// Status and answer.
fn post(system: &System, bearer: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(system.http).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST /api/v1/previews HTTP/1.1\r\nHost: test\r\nConnection: close\r\nAuthorization: Bearer {bearer}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
}

/// A service of the tenant's may have agents shown whom to call.
fn previewing(system: &System) {
    prepare(system);
    let skills = "  skills: [{name: sales}]\n";
    let service = format!(
        "{skills}  services: [{{name: dialler, secretRef: {{name: dialler, key: token}}, may: [Previews]}}]\n"
    );
    system.edit("tenant.yaml", skills, &service);
    let secret = format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: dialler, namespace: acme, labels: {{switchboard.dev/use: \"true\"}}}}
stringData: {{token: {TOKEN}}}
"
    );
    fs::write(system.manifest("dialler.yaml"), secret).unwrap();
}

#[test]
fn an_agent_sees_whom_it_may_call_says_dial_and_both_legs_are_ours() {
    with_prepared(&Setup::default(), previewing, |system| {
        let good = json!({
            "queue": "acme/sales", "number": "+12125550142", "name": "Grace Hill",
            "variables": {"contract": "4711"},
        });
        let with = |name: &str, value: Value| {
            let mut wanted = good.clone();
            wanted[name] = value;
            wanted.to_string()
        };
        let session = token(system, "acme/ada");
        for (bearer, body, status, because) in [
            ("", good.to_string(), 401, "no service of a Tenant has this token"),
            ("made-up", good.to_string(), 401, "no service of a Tenant has this token"),
            (session.as_str(), good.to_string(), 403, "the token of a service"),
            (TOKEN, with("queue", json!("acme/sails")), 404, "acme has no Queue acme/sails"),
            (TOKEN, with("queue", json!("beta/sales")), 404, "acme has no Queue beta/sales"),
            (TOKEN, with("number", json!("2125550142")), 400, "`number` must be a number in E.164"),
            (TOKEN, with("number", json!("+442079460000")), 422, "is a number of GB"),
            (TOKEN, with("callerId", json!("+12125559999")), 422, "grants +12125559999 to acme"),
            (TOKEN, with("previewSeconds", json!(1)), 400, "`previewSeconds` is 1 and must be 5 to 600"),
            (TOKEN, with("more", json!(1)), 422, "unknown field `more`"),
        ] {
            let (found, answer) = post(system, bearer, &body);
            assert_eq!(found, status, "{body}: {answer}");
            assert!(answer["error"].as_str().unwrap().contains(because), "{answer}");
        }
        let callee = Callee::start(system, gateway(system), "0 101");
        let ada_phone = agent_phone(system, "ada", ADA);
        let mut ada = Desk::open(system, &session).unwrap();
        ada.hear("welcome");
        ada.say(json!({"type": "ready"}));
        ada.state("Available");
        // The first one is skipped.
        let (status, first) = post(system, TOKEN, &good.to_string());
        assert_eq!(status, 202, "{first}");
        let card = ada.hear("preview");
        assert_eq!((&card["name"], &card["variables"]["contract"]), (&json!("Grace Hill"), &json!("4711")));
        assert_eq!((&card["number"], &card["callId"]), (&json!("+12125550142"), &first["callId"]));
        ada.say(json!({"type": "skip", "interaction": card["interaction"]}));
        ada.state("Available");
        wait_until("the record is there", || system.records().len() == 1);
        assert_eq!(system.records()[0]["because"], "Agent acme/ada skipped it");
        assert!(callee.requests("INVITE").is_empty());
        // The second one is called.
        let (_, second) = post(system, TOKEN, &good.to_string());
        let card = ada.hear("preview");
        ada.say(json!({"type": "dial", "interaction": card["interaction"]}));
        let mut said = Stream::new(&callee.rtp, callee.audio(), 7);
        said.say(&tone(CONTACT, 3.0));
        ada.say(json!({"type": "hangUp", "interaction": card["interaction"]}));
        ada.state("WrapUp");
        wait_until("the contact is let go", || !callee.requests("BYE").is_empty());
        assert!(share(&ada_phone.heard(), CONTACT) > 0.3, "Ada hears the contact");
        assert!(share(&callee.rtp.samples(), ADA) > 0.5, "the contact hears Ada");
        wait_until("both records are there", || system.records().len() == 2);
        let records = system.records();
        let called = records.iter().find(|record| record["callId"] == second["callId"]).unwrap();
        let legs: Vec<_> = called["egress"].as_array().unwrap().iter().map(|leg| &leg["sipCode"]).collect();
        assert_eq!(legs, [&json!(200), &json!(200)], "both legs are ours");
        assert_eq!(called["queues"][0]["agent"], "acme/ada");
        assert!(!system.log().contains(TOKEN));
        ada.say(json!({"type": "signOut"}));
    });
}

#[test]
fn a_contact_that_is_called_first_hears_why_until_the_agent_is_there() {
    let first = |system: &System| {
        prepare(system);
        let promise =
            "  - name: promise\n    callback: {queue: sales, first: Contact, next: nobody, failed: nobody}\n";
        system.edit("floor.yaml", "noAgents: nobody}\n", &format!("noAgents: promise}}\n{promise}"));
        let greeted = "  wrapUpSeconds: 60\n  callbackPrompt: one\n";
        system.edit("floor.yaml", "  wrapUpSeconds: 60\n", greeted);
    };
    with_prepared(&Setup::default(), first, |system| {
        let mut caller = Phone::new(system, CARRIER, "+18005550100");
        caller.call("0 101");
        caller.wait_for_bye();
        assert_eq!(system.path_of_call(1)[..2], ["wait: noAgents", "promise: promised"]);
        let callee = Callee::start(system, gateway(system), "0 101");
        let ada_phone = agent_phone(system, "ada", ADA);
        let mut ada = Desk::of(system, "acme/ada");
        ada.say(json!({"type": "ready"}));
        let offer = ada.hear("offer");
        assert_eq!(offer["callback"], true);
        ada.state("Busy");
        let mut said = Stream::new(&callee.rtp, callee.audio(), 7);
        said.say(&tone(CONTACT, 3.0));
        ada.say(json!({"type": "hangUp", "interaction": offer["interaction"]}));
        ada.state("WrapUp");
        assert!(share(&ada_phone.heard(), CONTACT) > 0.3, "Ada hears the contact");
        assert!(share(&callee.rtp.samples(), ADA) > 0.3, "the contact hears Ada");
        wait_until("both records are there", || system.records().len() == 2);
        let records = system.records();
        let back = records.iter().find(|record| record["partOf"].is_string()).unwrap();
        assert_eq!((&back["from"], &back["station"]), (&json!("+18005550100"), &Value::Null));
        let whom: Vec<_> =
            back["egress"].as_array().unwrap().iter().map(|leg| leg["whom"].to_string()).collect();
        assert!(whom[0].contains("carrier") && whom[1].contains("ada"), "{whom:?}");
        ada.say(json!({"type": "signOut"}));
    });
}
