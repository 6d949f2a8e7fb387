//! baresip registers as an agent's phone.

use std::{fs, net::SocketAddr, time::Duration};

use crate::{
    agents::Agent,
    harness::{Setup, System, wait_until, with_prepared},
    works,
};

/// An agent with one phone, and listeners for phones. baresip 1.0 gives up at a challenge of another algorithm than MD5.
pub fn prepare(system: &System) {
    let port = listener(system).port();
    let rows = ["UDP", "TCP"].map(|transport| {
        format!(
            "  - {{name: phones-{}, transport: {transport}, port: {port}, network: loopback, serves: Agents}}\n",
            transport.to_lowercase()
        )
    });
    system.edit("platform.yaml", "  media:\n", &(rows.concat() + "  media:\n"));
    system.edit(
        "platform.yaml",
        "  drainSeconds: 1\n",
        "  drainSeconds: 1\n  domains: [c14.example]\n  digestAlgorithms: [MD5]\n",
    );
    fs::write(
        system.manifest("agents.yaml"),
        "apiVersion: v1
kind: Secret
metadata: {name: phones, namespace: acme, labels: {switchboard.dev/use: \"true\"}}
stringData: {ada: made-up}
---
apiVersion: switchboard.dev/v1alpha1
kind: Agent
metadata: {name: ada, namespace: acme}
spec:
  displayName: Ada Lopez
  stations:
  - {name: desk, sip: {username: ada-desk, secretRef: {name: phones, key: ada}}}
  capacity: {voice: 1}
",
    )
    .unwrap();
}

pub fn listener(system: &System) -> SocketAddr {
    SocketAddr::new(system.sip.ip(), system.own_port(0))
}

fn phone(system: &System, transport: &str, password: &str) -> Agent {
    let account = format!(
        "<sip:ada-desk@{};transport={transport}>;auth_user=ada-desk;auth_pass={password};regint=60\n",
        listener(system)
    );
    Agent::registering(system, system.peer_port(), &account)
}

fn registered(system: &System) -> String {
    system.get("/api/v1/registrations")
}

#[test]
fn baresip_registers_and_goes_by_udp_and_tcp() {
    with_prepared(&Setup::default(), prepare, |system| {
        for transport in ["udp", "tcp"] {
            let phone = phone(system, transport, "made-up");
            phone.wait_for("200 OK");
            wait_until("the station is registered", || {
                registered(system).contains(r#"{"agent":"acme/ada","station":"desk"}"#)
            });
            phone.end();
            wait_until("the station is gone", || registered(system).ends_with("[]"));
            let by = if transport == "udp" { "UDP" } else { "TCP" };
            works::passed("baresip", by, "registers with a digest, and goes");
        }
        system.wait_for_log("desk of Agent acme/ada is registered no more");
        assert!(!system.log().contains("made-up"));
    });
}

#[test]
fn baresip_with_a_wrong_password_is_not_registered() {
    with_prepared(&Setup::default(), prepare, |system| {
        let phone = phone(system, "udp", "wrong");
        phone.wait_for("401 Unauthorized");
        std::thread::sleep(Duration::from_millis(500));
        assert!(registered(system).ends_with("[]"));
        phone.end();
    });
}
