//! TLS both ways: whose certificate is taken, and what becomes of calls when ours changes.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    thread,
    time::Duration,
};

use crate::{
    agents::Agent,
    audio::{likeness, share, tone},
    certificates::{Authority, Certificate, For, connector, secret},
    harness::{PATIENCE, Setup, System, wait_until, with_prepared},
    phone::{CARRIER, Message, Phone},
    streams::{Stream, Wire, over, tcp, tcp_at, tls},
    works,
};

const GREET: &str = "+18005550100";
pub const RING: &str = "+18005550102";
const LONG: &str = "+18005550103";
const SECURE_GREET: &str = "+18005550112";
const SECURE_LONG: &str = "+18005550113";

/// What our listeners call themselves, what the PBX does, and the carrier that must show a certificate.
pub const EDGE: &str = "c14.example.net";
pub const PBX: &str = "pbx.example";
const CARRIER_NAME: &str = "sip.carrier.example";
const SECURE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 5));

/// Listeners beside the usual ones, by their places among a system's own ports.
pub fn listener(system: &System, name: &str) -> SocketAddr {
    let (address, place): (IpAddr, u16) = match name {
        "tls" => (CARRIER.into(), 0),
        "ws" => (CARRIER.into(), 1),
        "wss" => (CARRIER.into(), 2),
        "six" => (std::net::Ipv6Addr::LOCALHOST.into(), 3),
        _ => (std::net::Ipv6Addr::LOCALHOST.into(), 4),
    };
    SocketAddr::new(address, system.own_port(place))
}

/// Adds listeners of every kind, and the trunks of `secure.yaml`.
pub fn prepare(system: &System, authority: &Authority, edge: Option<&Certificate>) {
    system.edit(
        "platform.yaml",
        "  - {name: loopback, bindAddress: 127.0.0.1}\n",
        "  - {name: loopback, bindAddress: 127.0.0.1}\n  - {name: six, bindAddress: \"::1\"}\n",
    );
    let rows = [
        ("tls", "TLS", "loopback"),
        ("ws", "WS", "loopback"),
        ("wss", "WSS", "loopback"),
        ("six", "UDP", "six"),
        ("six", "TCP", "six"),
        ("six-tls", "TLS", "six"),
    ];
    let rows = rows.map(|(name, transport, network)| {
        let port = listener(system, name).port();
        let name = format!("{name}-{}", transport.to_lowercase());
        format!("  - {{name: {name}, transport: {transport}, port: {port}, network: {network}}}\n")
    });
    system.edit("platform.yaml", "  media:\n", &(rows.concat() + "  media:\n"));
    system.edit(
        "platform.yaml",
        "  drainSeconds: 1\n",
        "  drainSeconds: 1\n  domains: [c14.example.net]\n  tls: {certificateRef: {name: edge}}\n",
    );
    fs::write(system.manifest("secure.yaml"), include_str!("manifests/secure.yaml")).unwrap();
    let ca = authority.pem();
    let mut secrets: String =
        ["platform", "acme"].iter().map(|space| secret(space, "authority", &[("ca.crt", &ca)])).collect();
    secrets.extend(edge.map(|edge| edge.secret("platform", "edge")));
    fs::write(system.manifest("secrets.yaml"), secrets).unwrap();
}

/// Makes the PBX one that is called under TLS.
pub fn pbx_under_tls(system: &System) {
    system.edit("tenant.yaml", "transport: UDP}", "transport: TLS}");
    let bounds =
        "  tls:\n    peerNames: [pbx.example]\n    caSecretRef: {name: authority, key: ca.crt}\n  peers:\n";
    system.edit("tenant.yaml", "  peers:\n", bounds);
}

fn phone_under_tls(
    system: &System,
    from: IpAddr,
    authority: &Authority,
    shown: Option<&Certificate>,
    number: &str,
) -> Phone {
    let stream = tls(from, listener(system, "tls"), &connector(authority, shown));
    Phone::by(system, Box::new(Stream::new("TLS", stream)), number)
}

pub fn assert_is_greeted(system: &System, phone: &mut Phone) {
    phone.call("0 101");
    phone.wait_for_bye();
    let heard = phone.rtp.samples();
    let found = likeness(&system.prompt("welcome"), &heard);
    assert!(found > 0.97, "{found:.3}");
}

#[test]
fn a_carrier_that_must_show_a_certificate_is_admitted_by_its_name_and_authority_alone() {
    let (authority, other) = (Authority::new("Test Authority"), Authority::new("Another Authority"));
    let edge = authority.ecdsa(EDGE, For::Both);
    with_prepared(
        &Setup::default(),
        |system| prepare(system, &authority, Some(&edge)),
        |system| {
            let right = authority.ecdsa(CARRIER_NAME, For::Clients);
            let mut phone = phone_under_tls(system, SECURE, &authority, Some(&right), SECURE_GREET);
            assert_is_greeted(system, &mut phone);
            let rows = [
                ("another name", Some(authority.ecdsa("evil.example", For::Clients))),
                ("a wildcard", Some(authority.ecdsa("*.carrier.example", For::Clients))),
                ("another authority", Some(other.ecdsa(CARRIER_NAME, For::Clients))),
                ("a certificate for servers", Some(authority.ecdsa(CARRIER_NAME, For::Servers))),
                ("no certificate", None),
            ];
            for (what, shown) in &rows {
                let mut phone = phone_under_tls(system, SECURE, &authority, shown.as_ref(), SECURE_GREET);
                let offer = phone.offer("0 101");
                assert_eq!(phone.invite(&offer).code(), 403, "{what}");
            }
            let mut in_the_clear = Phone::new(system, [127, 0, 0, 5], SECURE_GREET);
            let offer = in_the_clear.offer("0 101");
            assert_eq!(in_the_clear.invite(&offer).code(), 403);
            system.wait_for_log("names \"evil.example\", none of its tls.peerNames");
            system.wait_for_log("no authority that it trusts");
            assert_eq!(system.metric("switchboard_calls_refused_total"), rows.len() as u64 + 1);

            // Public authorities are about to sign for servers alone: who says so takes these for clients.
            system.edit(
                "secure.yaml",
                "    clientCertificate: Required\n",
                "    clientCertificate: Required\n    serverAuthEku: Accepted\n",
            );
            system.wait_for_log("applied; new calls take it, running calls keep what they began with");
            let for_servers = authority.ecdsa(CARRIER_NAME, For::Servers);
            let mut phone = phone_under_tls(system, SECURE, &authority, Some(&for_servers), SECURE_GREET);
            assert_is_greeted(system, &mut phone);
        },
    );
}

#[test]
fn a_certificate_is_changed_while_a_call_is_up() {
    let authority = Authority::new("Test Authority");
    let (old, new) = (authority.ecdsa(EDGE, For::Both), authority.rsa(EDGE, For::Both));
    with_prepared(
        &Setup::default(),
        |system| prepare(system, &authority, Some(&old)),
        |system| {
            let shown = || {
                let stream = tls(CARRIER.into(), listener(system, "tls"), &connector(&authority, None));
                stream.ssl().peer_certificate().unwrap().to_der().unwrap()
            };
            let carrier = authority.ecdsa(CARRIER_NAME, For::Clients);
            let mut phone = phone_under_tls(system, SECURE, &authority, Some(&carrier), SECURE_LONG);
            phone.call("0 101");
            assert_eq!(shown(), old.x509().to_der().unwrap());
            let path = system.manifest("secrets.yaml");
            let secrets = fs::read_to_string(&path).unwrap();
            let secrets = secrets.replace(&old.secret("platform", "edge"), &new.secret("platform", "edge"));
            fs::write(path, secrets).unwrap();
            wait_until("new connections are shown the new certificate", || {
                shown() == new.x509().to_der().unwrap()
            });
            assert_eq!(system.metric("switchboard_calls"), 1);
            phone.hang_up();
            // The very connection takes further calls.
            phone = phone.again(system);
            phone.call("0 101");
            phone.hang_up();
        },
    );
}

#[test]
fn a_listener_without_its_certificate_closes_each_connection_and_says_why() {
    let authority = Authority::new("Test Authority");
    with_prepared(
        &Setup::default(),
        |system| prepare(system, &authority, None),
        |system| {
            for name in ["tls", "wss", "six-tls"] {
                let at = listener(system, name);
                let from = if at.is_ipv4() { CARRIER.into() } else { at.ip() };
                let stream = Stream::new("TLS", tcp(from, at));
                assert!(stream.is_closed(), "{name}");
            }
            system
                .wait_for_log("closed a connection: Secret platform/edge has no `tls.crt`, or is not there.");
            // All else goes on.
            let mut phone = Phone::new(system, CARRIER, GREET);
            assert_is_greeted(system, &mut phone);
        },
    );
}

#[test]
fn who_does_not_shake_hands_is_closed() {
    let authority = Authority::new("Test Authority");
    let edge = authority.ecdsa(EDGE, For::Both);
    with_prepared(
        &Setup::default(),
        |system| prepare(system, &authority, Some(&edge)),
        |system| {
            let (tls_at, ws_at) = (listener(system, "tls"), listener(system, "ws"));
            let silent = Stream::new("TLS", tcp(CARRIER.into(), tls_at));
            let slow = Stream::new("TLS", tcp(CARRIER.into(), tls_at));
            let half_asked = Stream::new("WS", tcp(CARRIER.into(), ws_at));
            // The head of a record, and then nothing.
            slow.send(&[0x16, 0x03, 0x01]);
            half_asked.send(b"GET / HTTP/1.1\r\nHost: a\r\n");
            let in_the_clear = Stream::new("TCP", tcp(CARRIER.into(), tls_at));
            in_the_clear.send(b"OPTIONS sip:a@b SIP/2.0\r\n\r\n");
            in_the_clear.octets(1);
            // A stranger is closed before anything is said.
            assert!(Stream::new("TLS", tcp([127, 0, 0, 9].into(), tls_at)).is_closed());
            for stream in [silent, slow, half_asked] {
                assert!(stream.is_closed());
            }
            let mut phone = phone_under_tls(system, CARRIER.into(), &authority, None, GREET);
            assert_is_greeted(system, &mut phone);
            assert!(system.metric("switchboard_tls_failed_total") >= 3);
        },
    );
}

#[test]
fn a_pbx_is_called_by_the_connection_that_it_has_opened_if_it_says_so_with_a_certificate() {
    let authority = Authority::new("Test Authority");
    let edge = authority.ecdsa(EDGE, For::Both);
    let set_up = |system: &System| {
        prepare(system, &authority, Some(&edge));
        pbx_under_tls(system);
        system.edit("tenant.yaml", "address: \"127.0.0.1:", "address: \"127.0.0.2:");
    };
    with_prepared(&Setup::default(), set_up, |system| {
        let at = listener(system, "tls");
        let options = |port: u16, alias: &str| {
            format!(
                "OPTIONS sip:{at} SIP/2.0\r\nVia: SIP/2.0/TLS pbx.example:{port};branch=z9hG4bKa{port}{alias}\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:pbx@pbx.example>;tag=a\r\nTo: <sip:{at}>\r\nCall-ID: {port}{alias}\r\n\
                 CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
            )
        };
        let port = system.pbx.port();
        let open = |from: u16, certificate: &Certificate, alias: &str| {
            let stream = tcp_at(([127, 0, 0, 2], from).into(), at);
            let stream = over(stream, &connector(&authority, Some(certificate)));
            let stream = Stream::new("TLS", stream);
            stream.send(options(port, alias).as_bytes());
            let answer = stream.receive(PATIENCE).unwrap();
            assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
            stream
        };
        // One that says nothing of it, one that is another, and one that comes from the very port: none is called.
        let without = open(0, &authority.ecdsa(PBX, For::Clients), "");
        let stranger = open(0, &authority.ecdsa("evil.example", For::Clients), ";alias");
        let squatter = open(port, &authority.ecdsa("evil.example", For::Clients), "");
        let call = || {
            let mut phone = Phone::new(system, CARRIER, RING);
            let offer = phone.offer("0 101");
            phone.invite(&offer).code()
        };
        assert!(call() >= 480);
        let alias = open(0, &authority.ecdsa(PBX, For::Clients), ";alias");
        let code = thread::scope(|scope| {
            let code = scope.spawn(call);
            let invite = Message { text: alias.receive(PATIENCE).unwrap() };
            assert_eq!(invite.method(), "INVITE", "{}", invite.text);
            let mut text = "SIP/2.0 486 Busy Here\r\n".to_owned();
            for name in ["Via", "From", "Call-ID", "CSeq"] {
                text.push_str(&format!("{name}: {}\r\n", invite.header(name).unwrap()));
            }
            let to = invite.header("To").unwrap();
            alias.send(format!("{text}To: {to};tag=pbx\r\nContent-Length: 0\r\n\r\n").as_bytes());
            let ack = alias.receive(PATIENCE).unwrap();
            assert!(ack.starts_with("ACK "), "{ack}");
            code.join().unwrap()
        });
        assert_eq!(code, 486);
        for stream in [without, stranger, squatter] {
            assert_eq!(stream.receive(Duration::from_millis(200)), None);
        }
    });
}

#[test]
fn baresip_calls_and_is_called_under_tls_tcp_and_udp() {
    let authority = Authority::new("Test Authority");
    let (edge, pbx) = (authority.rsa(EDGE, For::Both), authority.rsa(PBX, For::Servers));
    for transport in ["udp", "tcp", "tls"] {
        let under_tls = transport == "tls";
        let set_up = |system: &System| {
            prepare(system, &authority, Some(&edge));
            if under_tls {
                pbx_under_tls(system);
                // It listens under TLS at the port above.
                let (from, to) = (system.pbx, SocketAddr::new(system.pbx.ip(), system.pbx.port() + 1));
                system.edit("tenant.yaml", &format!("\"{from}\""), &format!("\"{to}\""));
            } else {
                system.edit(
                    "tenant.yaml",
                    "transport: UDP}",
                    &format!("transport: {}}}", transport.to_uppercase()),
                );
            }
        };
        with_prepared(&Setup::default(), set_up, |system| {
            let file = system.dir.path().join("pbx.pem");
            fs::write(&file, format!("{}{}", pbx.chain, pbx.key)).unwrap();
            let ca = system.dir.path().join("ca.pem");
            fs::write(&ca, authority.pem()).unwrap();
            let more = format!("sip_certificate {}\nsip_cafile {}\n", file.display(), ca.display());
            let speech = tone(1_250.0, 60.0);
            let callee = Agent::start_with(system, system.pbx.port(), "pcmu", &speech, None, &more);
            let to = if under_tls { listener(system, "tls") } else { system.sip };
            let uri = format!("sip:+18005550105@{to};transport={transport}");
            let caller =
                Agent::start_with(system, system.peer_port(), "pcma", &tone(550.0, 60.0), Some(&uri), &more);
            callee.wait_for("Call established");
            thread::sleep(Duration::from_secs(3));
            let heard = callee.heard();
            let found = share(&heard[heard.len() / 2..], 550.0);
            assert!(found > 0.8, "{transport}: {found:.2}");
            caller.wait_for("terminated");
            // It opens further ones for what it sends in a dialog.
            let sessions = system.metric("switchboard_tls_sessions_total");
            assert_eq!(sessions >= 2, under_tls, "{transport}: {sessions}");
            let by =
                [("udp", "UDP"), ("tcp", "TCP"), ("tls", "TLS")].iter().find(|(name, _)| *name == transport);
            works::passed("baresip", by.unwrap().1, "calls and is called; both hear each other");
        });
    }
}

#[test]
fn a_call_is_up_under_tls_without_a_certificate_where_none_is_asked_for() {
    let authority = Authority::new("Test Authority");
    let edge = authority.ecdsa(EDGE, For::Both);
    with_prepared(
        &Setup::default(),
        |system| prepare(system, &authority, Some(&edge)),
        |system| {
            let mut phone = phone_under_tls(system, CARRIER.into(), &authority, None, LONG);
            let answer = phone.call("0 101");
            let contact = answer.header("Contact").unwrap();
            assert!(contact.contains(&format!("@{};transport=tls>", listener(system, "tls"))), "{contact}");
            phone.hang_up();
            system.path_of_call(1);
            assert_eq!(system.records()[0]["endedBy"], "Caller");
        },
    );
}

#[test]
fn the_example_of_a_carrier_under_tls_takes_a_call() {
    let authority = Authority::new("Test Authority");
    let edge = authority.rsa("e39.example.net", For::Both);
    let set_up = |system: &System| {
        let folder = system.manifest("");
        for file in
            fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).filter(|path| path.is_file())
        {
            fs::remove_file(file).unwrap();
        }
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/carrier-tls");
        for name in ["cluster.yaml", "carrier.yaml", "tenant.yaml"] {
            fs::copy(example.join(name), folder.join(name)).unwrap();
        }
        // What two runs on one machine cannot share, and an authority that is no public one.
        let port = listener(system, "tls").port();
        system.edit("cluster.yaml", "port: 5061,", &format!("port: {port},"));
        let media = format!("{{first: {}, last: {}}}", system.block + 100, system.block + 399);
        system.edit("cluster.yaml", "{first: 21000, last: 21999}", &media);
        system.edit("carrier.yaml", "  tls:\n", "  tls:\n    caSecretRef: {name: authority, key: ca.crt}\n");
        let ca = secret("platform", "authority", &[("ca.crt", &authority.pem())]);
        fs::write(folder.join("secrets.yaml"), edge.secret("platform", "e39-certificate") + &ca).unwrap();
    };
    with_prepared(&Setup::default(), set_up, |system| {
        let carrier = authority.rsa(CARRIER_NAME, For::Servers);
        let number = "+12125550120";
        let mut phone = phone_under_tls(system, CARRIER.into(), &authority, Some(&carrier), number);
        phone.call("0 101");
        phone.wait_for_bye();
        assert_eq!(system.path_of_call(1), ["welcome: played", "end: hangup"]);
        let mut nobody = phone_under_tls(system, CARRIER.into(), &authority, None, number);
        let offer = nobody.offer("0 101");
        assert_eq!(nobody.invite(&offer).code(), 403);
    });
}
