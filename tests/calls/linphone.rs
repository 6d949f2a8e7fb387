//! linphone's command line calls, is called, and registers.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::{
    certificates::{Authority, For},
    harness::{Process, Setup, System, wait_until, with_prepared},
    phone::{CARRIER, Phone},
    registrar,
    tls::{EDGE, listener, prepare},
    works,
};

const LONG: &str = "+18005550103";
const RING: &str = "+18005550102";

/// One of them, without a sound card.
struct Linphone(Process);

impl Linphone {
    /// `more` are lines of its configuration besides; `uri` is called at once.
    fn start(system: &System, (transport, port): (&str, u16), more: &str, uri: Option<&str>) -> Self {
        let folder = system.dir.path().join(format!("linphone-{port}"));
        for place in [".local/share/linphone", ".config/linphone"] {
            fs::create_dir_all(folder.join(place)).unwrap();
        }
        let port_of = |name: &str| if name == transport { port } else { 0 };
        let text = format!(
            "[sip]\nsip_port={1}\nsip_tcp_port={2}\nsip_tls_port={3}\nbind_address=127.0.0.1\nguess_hostname=0\nuse_ipv6=0\n\
             contact=sip:201@127.0.0.1\nmedia_encryption=none\nverify_server_cn=0\nroot_ca={0}/ca.pem\n\
             client_cert_chain={0}/own.crt\nclient_cert_key={0}/own.key\n\
             [rtp]\naudio_rtp_port={4}\n[net]\nmtu=1300\n[video]\nenabled=0\n{more}",
            system.dir.path().display(),
            port_of("udp"),
            port_of("tcp"),
            port_of("tls"),
            system.peer_port()
        );
        fs::write(folder.join("linphonerc"), text).unwrap();
        let mut command = Command::new("linphonec");
        command.current_dir(&folder).env("HOME", &folder).args([
            "-a",
            "-c",
            "linphonerc",
            "-d",
            "5",
            "-l",
            "log",
        ]);
        command.args(uri.iter().flat_map(|uri| ["-s", uri]));
        Self(Process::start_with("linphonec", command, Stdio::piped()))
    }

    fn wait_for(&self, text: &str) {
        wait_until(&format!("linphone says `{text}`"), || self.0.output().contains(text));
    }
}

#[test]
fn linphone_calls_and_is_called_by_udp_tcp_and_tls() {
    let authority = Authority::new("Test Authority");
    let edge = authority.rsa(EDGE, For::Both);
    let set_up = |system: &System| prepare(system, &authority, Some(&edge));
    with_prepared(&Setup::default(), set_up, |system| {
        fs::write(system.dir.path().join("ca.pem"), authority.pem()).unwrap();
        // Listeners for trunks ask for a certificate. One that has none asks its user for it, and waits.
        let own = authority.ecdsa("phone.example", For::Clients);
        fs::write(system.dir.path().join("own.crt"), &own.chain).unwrap();
        fs::write(system.dir.path().join("own.key"), &own.key).unwrap();
        for (transport, name) in [("udp", "UDP"), ("tcp", "TCP"), ("tls", "TLS")] {
            let to = if transport == "tls" { listener(system, "tls") } else { system.sip };
            let uri = format!("sip:{LONG}@{to};transport={transport}");
            let caller = Linphone::start(system, (transport, system.peer_port()), "", Some(&uri));
            caller.wait_for("Media streams established");
            wait_until("the call is up", || system.metric("switchboard_calls") == 1);
            caller.0.terminate();
            wait_until("the call is over", || system.metric("switchboard_calls") == 0);
            works::passed("linphone", name, "calls, and hangs up");
        }
        let callee = Linphone::start(system, ("udp", system.pbx.port()), "", None);
        wait_until("linphone listens", || std::net::UdpSocket::bind(system.pbx).is_err());
        thread::sleep(Duration::from_secs(1));
        let mut phone = Phone::new(system, CARRIER, RING);
        phone.call("0 101");
        callee.wait_for("Media streams established");
        phone.hang_up();
        works::passed("linphone", "UDP", "is called");
    });
}

#[test]
fn linphone_registers_by_udp_and_tcp() {
    with_prepared(&Setup::default(), registrar::prepare, |system| {
        for (transport, name) in [("udp", "UDP"), ("tcp", "TCP")] {
            let more = format!(
                "[proxy_0]\nreg_proxy=<sip:{};transport={transport}>\nreg_identity=sip:ada-desk@c14.example\nreg_expires=60\n\
                 reg_sendregister=1\n[auth_info_0]\nusername=ada-desk\npasswd=made-up\nrealm=c14.example\ndomain=c14.example\n",
                registrar::listener(system)
            );
            let phone = Linphone::start(system, (transport, system.peer_port()), &more, None);
            let registered = || system.get("/api/v1/registrations").contains("ada");
            wait_until("the station is registered", registered);
            phone.0.terminate();
            wait_until("the station is gone", || !registered());
            works::passed("linphone", name, "registers with a digest, and goes");
        }
    });
}
