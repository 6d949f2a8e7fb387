//! Kamailio is the carrier's proxy: it challenges, records its route, and passes calls both ways.

use std::{fs, process::Command, thread, time::Duration};

use crate::{
    agents::Agent,
    audio::{share, tone},
    harness::{Process, Setup, System, wait_until, with_prepared},
    phone::{CARRIER, Phone},
    works,
};

const RING: &str = "+18005550102";
const LONG: &str = "+18005550103";

/// The trunk to the proxy authenticates, registers and probes.
fn prepare(system: &System) {
    let more = format!(
        "  digest: {{username: switch, secretRef: {{name: proxy, key: password}}}}\n\
         \x20 register: {{registrar: \"{0}\", user: acme}}\n\
         \x20 health: {{periodSeconds: 5, timeoutSeconds: 1, failures: 1}}\n  peers:\n",
        system.pbx
    );
    system.edit("tenant.yaml", "  peers:\n", &more);
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: proxy, namespace: acme, labels: {switchboard.dev/use: \"true\"}}\n\
                  stringData: {password: made-up}\n";
    fs::write(system.manifest("proxy.yaml"), secret).unwrap();
}

struct Proxy(Process);

impl Proxy {
    fn start(system: &System, callee: u16) -> Self {
        let folder = system.dir.path().join("kamailio");
        fs::create_dir_all(&folder).unwrap();
        let words = [("$PROXY", system.pbx.port()), ("$EDGE", system.sip.port()), ("$CALLEE", callee)];
        let text = words.iter().fold(include_str!("peers/kamailio.cfg").to_owned(), |text, (word, port)| {
            text.replace(word, &port.to_string())
        });
        let file = folder.join("kamailio.cfg");
        fs::write(&file, text).unwrap();
        let mut command = Command::new("kamailio");
        command.args(["-DD", "-E", "-m", "64", "-M", "8", "-f"]).arg(&file).arg("-Y").arg(&folder);
        let proxy = Self(Process::start("kamailio", command));
        wait_until("kamailio listens", || std::net::UdpSocket::bind(system.pbx).is_err());
        proxy
    }

    fn wait_for(&self, text: &str) {
        wait_until(&format!("kamailio says `{text}`"), || self.0.errors().contains(text));
    }

    fn count(&self, text: &str) -> usize {
        self.0.errors().matches(text).count()
    }
}

#[test]
fn kamailio_challenges_us_records_its_route_and_passes_calls_both_ways() {
    with_prepared(&Setup::default(), prepare, |system| {
        let callee_port = system.peer_port();
        let proxy = Proxy::start(system, callee_port);
        // The first REGISTER came before the registrar was there: 64·T1 until it is given up, and a pause after it.
        for _ in 0..800 {
            if proxy.count("registered switch") > 0 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        proxy.wait_for("registered switch");
        system.wait_for_log("Trunk acme/desk-phones is registered");
        works::passed("Kamailio", "UDP", "registers our trunk, once its 401 is answered");

        // From us through it.
        let callee = Agent::start(system, callee_port, "pcmu", &tone(1_250.0, 60.0), None);
        let mut caller = Phone::new(system, CARRIER, RING);
        caller.call("0 101");
        callee.wait_for("Call established");
        proxy.wait_for("authenticated switch");
        thread::sleep(Duration::from_secs(2));
        let (acks, byes) = (proxy.count("seen ACK"), proxy.count("seen BYE"));
        assert!(acks >= 1, "the ACK goes by the recorded route");
        caller.hang_up();
        callee.wait_for("terminated");
        proxy.wait_for("seen BYE");
        assert_eq!(proxy.count("seen BYE"), byes + 1, "the BYE goes by the recorded route");
        callee.end();
        works::passed(
            "Kamailio",
            "UDP",
            "takes our call, once its 407 is answered; ACK and BYE go by its route",
        );

        // From it to us, ended by either side.
        for by_caller in [true, false] {
            let byes = proxy.count("seen BYE");
            let number = if by_caller { LONG } else { "+18005550100" };
            let uri = format!("sip:{number}@{}", system.pbx);
            let caller =
                Agent::start_with(system, system.peer_port(), "pcmu", &tone(550.0, 60.0), Some(&uri), "");
            caller.wait_for("Call established");
            if by_caller {
                thread::sleep(Duration::from_secs(1));
                let heard = caller.heard();
                assert!(share(&heard, 550.0) < 0.5, "one's own voice is heard");
            } else {
                caller.wait_for("terminated");
                caller.end();
            }
            wait_until("the BYE goes by the recorded route", || proxy.count("seen BYE") > byes);
            wait_until("the call is over", || system.metric("switchboard_calls") == 0);
        }
        works::passed("Kamailio", "UDP", "sends calls to us by its route; BYE of either side");

        // It goes, and we notice; nobody is called there meanwhile.
        let up = || {
            let text = system.get("/metrics");
            let line =
                text.lines().find(|line| line.starts_with("switchboard_peer_up{trunk=\"acme/desk-phones\""));
            line.is_some_and(|line| line.ends_with(" 1"))
        };
        wait_until("the proxy is up", up);
        proxy.0.terminate();
        wait_until("the proxy is down", || !up());
        let mut caller = Phone::new(system, CARRIER, RING);
        let offer = caller.offer("0 101");
        assert!(caller.invite(&offer).code() >= 480);
        works::passed("Kamailio", "UDP", "answers our OPTIONS, and is down when it does not");
    });
}
