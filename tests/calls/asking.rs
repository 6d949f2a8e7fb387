//! Flows that ask services: what is sent, what is kept of the answer, and all that can be wrong with it.

use std::{fs, sync::Arc};

use crate::{
    audio::likeness,
    harness::{Setup, System, with_prepared},
    integrations::{self, Request, answer, here, serve},
    phone::{CARRIER, Phone},
};

const NUMBER: &str = "+18005550108";

const FLOW: &str = r#"apiVersion: switchboard.dev/v1alpha1
kind: RoutingFlow
metadata: {name: asks, namespace: acme}
spec:
  variables:
  - {name: vip, type: Boolean}
  - {name: city, type: String}
  steps:
  - name: lookup
    request:
      integration: speech
      method: POST
      path: "'/contacts/' + contact.number"
      headers: [{name: X-Called, value: call.number}]
      body: |
        '{"number": "' + contact.number + '"}'
      save: [{variable: vip, from: body.vip}, {variable: city, from: body.address.city}]
      next: who
      failed: unknown
  - name: who
    branch: {cases: [{when: vip && city == 'Zürich', next: known}], otherwise: unknown}
  - name: known
    hangup: {prompt: good}
  - name: unknown
    hangup: {prompt: bad}
---
apiVersion: switchboard.dev/v1alpha1
kind: PhoneNumber
metadata: {name: asks, namespace: acme}
spec:
  number: "+18005550108"
  kind: TollFree
  origin: RespOrg
  trunkRef: {namespace: platform, name: carrier}
  flowRef: {name: asks}
"#;

const KNOWN: &str = r#"{"vip": true, "address": {"city": "Zürich"}}"#;

/// Calls, and gives back the path and the explanation.
fn heard(system: &System, prompt: &str) -> (Vec<String>, String) {
    let mut phone = Phone::new(system, CARRIER, NUMBER);
    phone.call("0 101");
    phone.wait_for_bye();
    let found = likeness(&system.prompt(prompt), &phone.rtp.samples());
    assert!(found > 0.97, "prompt {prompt}: {found:.3}");
    let path = system.path_of_call(1);
    (path, system.get(&format!("/api/v1/explanations/{}", phone.call_id)))
}

fn asking(
    does: impl Fn(&Request) -> Option<Vec<u8>> + Send + Sync + 'static,
    test: impl FnOnce(&System, &integrations::Service),
) {
    let (authority, shown) = here();
    let service = serve(shown, Arc::new(does));
    let prepare = |system: &System| {
        integrations::prepare(system, (&authority, service.port), "", "");
        fs::write(system.manifest("asks.yaml"), FLOW).unwrap();
    };
    with_prepared(&Setup::default(), prepare, |system| test(system, &service));
}

#[test]
fn a_flow_goes_where_the_answer_leads_and_its_token_is_told_nobody() {
    asking(
        |_| Some(answer("200 OK", "application/json", KNOWN.as_bytes())),
        |system, service| {
            let (path, told) = heard(system, "good");
            assert_eq!(path, ["lookup: answered", "who: case 1", "known: hangup"]);
            let asked = service.asked.lock().unwrap();
            let Request { head, body } = &asked[0];
            assert!(head.starts_with("POST /contacts/+12125550199 HTTP/1.1"), "{head}");
            for field in
                ["authorization: Bearer t0ken", "x-called: +18005550108", "content-type: application/json"]
            {
                assert!(head.contains(field), "{field}: {head}");
            }
            assert_eq!(String::from_utf8_lossy(body).trim(), r#"{"number": "+12125550199"}"#);
            assert_eq!(system.metric("switchboard_requests_answered_total"), 1);
            assert!(!told.contains("t0ken") && !system.log().contains("t0ken"));
        },
    );
}

#[test]
fn an_answer_that_is_none_takes_the_failure_and_says_why() {
    let json = |status: &str, body: &[u8]| Some(answer(status, "application/json", body));
    let large = [b"{\"vip\": \"".as_slice(), &[b'x'; 10_000_000], b"\"}"].concat();
    let elsewhere =
        b"HTTP/1.1 302 Found\r\nLocation: /contacts/+12125550199\r\nContent-Length: 0\r\n\r\n".to_vec();
    for (what, gives, because) in [
        ("it hangs", None, "no answer within 1000 ms"),
        ("ten megabytes", json("200 OK", &large), "the answer is longer than 65536 octets"),
        ("HTML", Some(answer("200 OK", "text/html", b"<html></html>")), "the answer is not JSON"),
        ("a redirect to itself", Some(elsewhere), "it answers 302"),
        ("nobody", json("404 Not Found", b"{}"), "it answers 404"),
        ("half of it", json("200 OK", br#"{"vip": true}"#), "its answer has not all that the step saves"),
    ] {
        asking(
            move |_| gives.clone(),
            |system, service| {
                let (path, told) = heard(system, "bad");
                assert_eq!(path, ["lookup: failed", "unknown: hangup"], "{what}");
                assert!(
                    told.contains(&format!("Step lookup: Integration acme/speech: {because}")),
                    "{what}: {told}"
                );
                // A POST is never sent twice.
                assert_eq!(service.asked.lock().unwrap().len(), 1, "{what}");
            },
        );
    }
}
