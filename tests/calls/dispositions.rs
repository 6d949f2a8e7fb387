//! What an agent says of a contact at the desk, and where it is found again: over the socket, and at `/api/v1/interactions`.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    agents::{Agent, SPEECH_SECONDS},
    audio::tone,
    desk::{ADA, Desk, agent_phone, prepare},
    harness::{Setup, System, wait_until, with_prepared},
};

fn asking(system: &System) {
    prepare(system);
    let asked = "  wrapUpSeconds: 60
  dispositionChoice: Required
  dispositions:
  - {name: sale, title: Has bought something}
  - {name: later, title: Call again}
";
    system.edit("floor.yaml", "  wrapUpSeconds: 60\n", asked);
}

fn found(system: &System, query: &str) -> Vec<Value> {
    serde_json::from_str(&system.get(&format!("/api/v1/interactions{query}"))).unwrap()
}

#[test]
fn an_agent_names_a_disposition_and_the_record_has_it() {
    with_prepared(&Setup::default(), asking, |system| {
        let _phone = agent_phone(system, "ada", ADA);
        let mut ada = Desk::of(system, "acme/ada");
        ada.say(json!({"type": "ready"}));
        ada.state("Available");
        let speech = tone(1_250.0, SPEECH_SECONDS);
        let caller = Agent::start(system, system.peer_port(), "pcmu", &speech, Some("+18005550100"));
        ada.state("Busy");
        caller.wait_for("Call established");
        thread::sleep(Duration::from_secs(1));
        caller.end();
        let work = ada.hear("wrapUp");
        assert_eq!((&work["queue"], &work["required"]), (&json!("acme/sales"), &json!(true)));
        let wanted = json!([
            {"name": "sale", "title": "Has bought something"},
            {"name": "later", "title": "Call again"},
        ]);
        assert_eq!(work["dispositions"], wanted);
        wait_until("the record is there", || !system.records().is_empty());
        assert_eq!(system.records()[0]["dispositions"], Value::Null, "it does not wait for the agent");
        // A page that is loaded anew finds the work.
        let mut again = Desk::open(system, &crate::desk::token(system, "acme/ada")).unwrap();
        assert_eq!(again.hear("welcome")["wrapUps"][0]["interaction"], work["interaction"]);
        let finish = |more: Value| {
            let mut finish = json!({"type": "finish", "interaction": work["interaction"]});
            finish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            finish
        };
        for (more, because) in [
            (json!({}), "Queue acme/sales wants one of its dispositions: sale, later"),
            (
                json!({"disposition": "sael"}),
                "`sael` is no disposition of Queue acme/sales: it has sale, later",
            ),
            (
                json!({"disposition": "sale", "notes": "x".repeat(2_001)}),
                "`notes` must be at most 2000 characters, without control characters but line feed and tab",
            ),
        ] {
            again.say(finish(more));
            assert_eq!(again.hear("error")["message"], because);
        }
        again.say(finish(json!({"disposition": "sale", "notes": "=Two\nby Friday"})));
        again.hear("wrapUpOver");
        again.state("Available");
        let record = &found(system, "?disposition=sale")[0];
        let said = &record["dispositions"][0];
        assert_eq!((&said["agent"], &said["queue"]), (&json!("acme/ada"), &json!("acme/sales")));
        assert_eq!((&said["disposition"], &said["notes"]), (&json!("sale"), &json!("=Two\nby Friday")));
        let one = system.get(&format!("/api/v1/interactions/{}", record["id"].as_str().unwrap()));
        assert_eq!(serde_json::from_str::<Value>(&one).unwrap(), *record);
        assert!(found(system, "?disposition=later").is_empty());
        let csv = system.get("/api/v1/interactions?format=csv");
        assert!(csv.starts_with("id,") && csv.contains(",sale,\"'=Two\nby Friday\""), "{csv}");
        again.say(json!({"type": "signOut"}));
    });
}
