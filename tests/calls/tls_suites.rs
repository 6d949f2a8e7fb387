//! Which suites go over the wire, as tshark reads the handshakes, and whom we call under TLS.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use openssl::{
    bn::BigNum,
    dh::Dh,
    pkey::PKey,
    ssl::{SslAcceptor, SslMethod, SslStream, SslVersion},
};

use crate::{
    certificates::{Authority, Certificate, For, acceptor},
    harness::{PATIENCE, Process, Setup, System, wait_until, with_prepared},
    phone::{CARRIER, Message, Phone},
    tls::{EDGE, PBX, RING, listener, pbx_under_tls, prepare},
    works,
};

/// Suites of TLS 1.2 that trunks are offered, by number, OpenSSL's name, and whether the certificate is of RSA.
const SUITES: [(&str, &str, bool); 6] = [
    ("0x009e", "DHE-RSA-AES128-GCM-SHA256", true),
    ("0xc013", "ECDHE-RSA-AES128-SHA", true),
    ("0xc02b", "ECDHE-ECDSA-AES128-GCM-SHA256", false),
    ("0xc02c", "ECDHE-ECDSA-AES256-GCM-SHA384", false),
    ("0xc02f", "ECDHE-RSA-AES128-GCM-SHA256", true),
    ("0xc030", "ECDHE-RSA-AES256-GCM-SHA384", true),
];

/// tshark at work.
struct Capture {
    file: std::path::PathBuf,
    process: Process,
}

impl Capture {
    fn start(system: &System, ports: &[u16]) -> Self {
        let file = system.dir.path().join("tls.pcapng");
        let filter: Vec<_> = ports.iter().map(|port| format!("tcp port {port}")).collect();
        let mut command = Command::new("tshark");
        command.args(["-i", "lo", "-f", &filter.join(" or "), "-w"]).arg(&file);
        let process = Process::start("tshark", command);
        wait_until("tshark captures (it needs root or CAP_NET_RAW)", || {
            process.errors().contains("Capturing on")
        });
        // What it says comes a moment before what it does.
        thread::sleep(Duration::from_secs(1));
        Self { file, process }
    }

    fn stop(self) -> std::path::PathBuf {
        thread::sleep(Duration::from_secs(1));
        self.process.interrupt();
        self.file
    }
}

/// Of each handshake message of a kind (1: ClientHello, 2: ServerHello) from or to a port, the suites and versions.
fn hellos(capture: &Path, kind: u8, port: u16) -> Vec<(Vec<String>, Vec<String>)> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(capture).args(["-d", &format!("tcp.port=={port},tls")]);
    command.args(["-Y", &format!("tls.handshake.type == {kind} && tcp.port == {port}")]);
    command.args(["-T", "fields", "-E", "separator=/t"]);
    for field in
        ["tls.handshake.ciphersuite", "tls.handshake.extensions.supported_version", "tls.handshake.version"]
    {
        command.args(["-e", field]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let list = |text: &str| text.split(',').filter(|text| !text.is_empty()).map(str::to_lowercase).collect();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows = text.lines().map(|line| {
        let mut fields = line.split('\t').map(list);
        let suites: Vec<String> = fields.next().unwrap();
        let newer: Vec<String> = fields.next().unwrap();
        (suites, if newer.is_empty() { fields.next().unwrap() } else { newer })
    });
    rows.collect()
}

/// The next connection.
fn accepted(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let mut stream = None;
    wait_until("somebody connects", || {
        stream = listener.accept().ok();
        stream.is_some()
    });
    let (stream, _) = stream.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A PBX that takes one connection and refuses one call on it; gives the suite and the INVITE.
fn busy_pbx(listener: &TcpListener, acceptor: &SslAcceptor) -> (String, Message) {
    let mut stream = acceptor.accept(accepted(listener)).unwrap();
    let suite = stream.ssl().current_cipher().unwrap().name().to_owned();
    let invite = request(&mut stream);
    answer(&mut stream, &invite, "486 Busy Here");
    assert_eq!(request(&mut stream).method(), "ACK");
    (suite, invite)
}

fn request(stream: &mut SslStream<TcpStream>) -> Message {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 4_096];
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "closed after {}", String::from_utf8_lossy(&bytes));
        bytes.extend(&buffer[..length]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let message = Message { text };
        let length = message.header("Content-Length").and_then(|length| length.parse::<usize>().ok());
        if length.is_some_and(|length| message.body().len() >= length) {
            return message;
        }
    }
}

fn answer(stream: &mut SslStream<TcpStream>, request: &Message, status: &str) {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for name in ["Via", "From", "Call-ID", "CSeq"] {
        text.push_str(&format!("{name}: {}\r\n", request.header(name).unwrap()));
    }
    let to = request.header("To").unwrap();
    text.push_str(&format!("To: {to};tag=pbx\r\nContent-Length: 0\r\n\r\n"));
    stream.write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_pbx_with_any_one_of_the_suites_is_called_and_the_client_hello_lists_them_all() {
    let authority = Authority::new("Test Authority");
    let edge = authority.ecdsa(EDGE, For::Both);
    let (rsa, ecdsa) = (authority.rsa(PBX, For::Servers), authority.ecdsa(PBX, For::Servers));
    let set_up = |system: &System| {
        prepare(system, &authority, Some(&edge));
        pbx_under_tls(system);
    };
    with_prepared(&Setup::default(), set_up, |system| {
        let capture = Capture::start(system, &[system.pbx.port()]);
        let listener = TcpListener::bind(system.pbx).unwrap();
        for (_, name, is_rsa) in SUITES {
            let acceptor = acceptor(if is_rsa { &rsa } else { &ecdsa }, Some(name));
            let answered = thread::scope(|scope| {
                let pbx = scope.spawn(|| busy_pbx(&listener, &acceptor));
                let mut phone = Phone::new(system, CARRIER, RING);
                let offer = phone.offer("0 101");
                assert_eq!(phone.invite(&offer).code(), 486, "{name}");
                pbx.join().unwrap()
            });
            assert_eq!(answered.0, name);
            let uri = format!("sip:201@{};transport=tls", system.pbx);
            assert!(answered.1.text.starts_with(&format!("INVITE {uri} SIP/2.0\r\n")), "{}", answered.1.text);
            assert!(answered.1.header("Via").unwrap().starts_with("SIP/2.0/TLS "), "{}", answered.1.text);
        }
        let file = capture.stop();
        let asked = hellos(&file, 1, system.pbx.port());
        assert_eq!(asked.len(), SUITES.len());
        for (suites, versions) in asked {
            let twelve = SUITES.iter().map(|(number, ..)| *number);
            let wanted: Vec<_> = ["0x1301", "0x1302"].into_iter().chain(twelve).collect();
            // By 0x00ff a client may say that it knows secure renegotiation (RFC 5746 §3.3): it is no suite.
            let suites: Vec<_> = suites.into_iter().filter(|suite| suite != "0x00ff").collect();
            assert_eq!(suites, wanted);
            assert_eq!(versions, ["0x0304", "0x0303"]);
            works::saw("our ClientHello to a trunk", &suites);
        }
        let chosen: Vec<_> =
            hellos(&file, 2, system.pbx.port()).into_iter().map(|(suites, _)| suites).collect();
        assert_eq!(chosen, SUITES.map(|(number, ..)| vec![number.to_owned()]));
    });
}

#[test]
fn our_listener_answers_the_policys_suites_and_no_other_on_the_wire() {
    let authority = Authority::new("Test Authority");
    let (rsa, ecdsa) = (authority.rsa(EDGE, For::Both), authority.ecdsa(EDGE, For::Both));
    let twelve: Vec<_> = SUITES.iter().map(|(number, name, rsa)| (*number, *name, *rsa, "-tls1_2")).collect();
    let more = [
        ("0x1301", "TLS_AES_128_GCM_SHA256", true, "-tls1_3"),
        ("0x1302", "TLS_AES_256_GCM_SHA384", false, "-tls1_3"),
        ("0xcca8", "ECDHE-RSA-CHACHA20-POLY1305", true, "-tls1_2"),
        ("0x009c", "AES128-GCM-SHA256", true, "-tls1_2"),
        ("0xc013", "ECDHE-RSA-AES128-SHA:@SECLEVEL=0", true, "-tls1_1"),
    ];
    let accepted = ["0xc02b", "0xc02c", "0xc02f", "0xc030", "0x1301", "0x1302"];
    for is_rsa in [true, false] {
        let edge = if is_rsa { &rsa } else { &ecdsa };
        with_prepared(
            &Setup::default(),
            |system| prepare(system, &authority, Some(edge)),
            |system| {
                let at = listener(system, "tls");
                let capture = Capture::start(system, &[at.port()]);
                let mut wanted = Vec::new();
                for (number, name, of_rsa, version) in twelve.iter().chain(&more) {
                    if *of_rsa != is_rsa {
                        continue;
                    }
                    let list = if *version == "-tls1_3" { "-ciphersuites" } else { "-cipher" };
                    let client = Command::new("openssl")
                        .args(["s_client", "-connect", &at.to_string(), version, list, name])
                        .stdin(std::process::Stdio::null())
                        .output()
                        .unwrap();
                    let is_taken = accepted.contains(number);
                    assert_eq!(client.status.success(), is_taken, "{name} {version}: {client:?}");
                    if is_taken {
                        wanted.push(vec![(*number).to_owned()]);
                    }
                }
                let file = capture.stop();
                let answered = hellos(&file, 2, at.port());
                let versions: BTreeSet<_> =
                    answered.iter().flat_map(|(_, versions)| versions.clone()).collect();
                let suites: Vec<_> = answered.into_iter().map(|(suites, _)| suites).collect();
                assert_eq!(suites, wanted);
                assert_eq!(versions, BTreeSet::from(["0x0303".into(), "0x0304".into()]));
                works::saw(
                    if is_rsa {
                        "our ServerHellos with an RSA certificate"
                    } else {
                        "our ServerHellos with an ECDSA certificate"
                    },
                    &wanted.concat(),
                );
            },
        );
    }
    works::passed("openssl", "TLS", "each suite of the policy is taken, each other is refused");
}

#[test]
fn a_pbx_of_another_name_is_not_called() {
    let (authority, other) = (Authority::new("Test Authority"), Authority::new("Another Authority"));
    let edge = authority.ecdsa(EDGE, For::Both);
    let set_up = |system: &System| {
        prepare(system, &authority, Some(&edge));
        pbx_under_tls(system);
    };
    with_prepared(&Setup::default(), set_up, |system| {
        let pbx = TcpListener::bind(system.pbx).unwrap();
        let rsa = authority.rsa(PBX, For::Servers);
        let rows = [
            (
                acceptor(&authority.ecdsa("evil.example", For::Servers), None),
                "names \"evil.example\", not \"pbx.example\"",
            ),
            (acceptor(&other.ecdsa(PBX, For::Servers), None), "the server's certificate is refused: "),
            (acceptor(&rsa, Some("AES128-GCM-SHA256")), "none of the versions and suites of TLS"),
            (weak_acceptor(&rsa), "the server's Diffie-Hellman group is below 2048 bits"),
        ];
        for (acceptor, wanted) in rows {
            let (code, call_id) = thread::scope(|scope| {
                scope.spawn(|| {
                    if let Ok(mut stream) = acceptor.accept(accepted(&pbx)) {
                        let read = stream.read(&mut [0; 1]);
                        assert!(!matches!(read, Ok(1)), "something was sent to a stranger");
                    }
                });
                let mut phone = Phone::new(system, CARRIER, RING);
                let offer = phone.offer("0 101");
                (phone.invite(&offer).code(), phone.call_id.clone())
            });
            assert!(code >= 480, "{code}");
            // Whoever asks about the call is told what its callee's server did.
            let explanation: serde_json::Value =
                serde_json::from_str(&system.get(&format!("/api/v1/explanations/{call_id}"))).unwrap();
            let course = explanation["course"].as_array().unwrap();
            let is_told = course.iter().any(|told| told.as_str().unwrap().contains(wanted));
            assert!(is_told, "{wanted} is not in {explanation}");
        }
        system.wait_for_log("no TLS with the peer");
        assert_eq!(system.metric("switchboard_tls_failed_total"), 4);
    });
}

/// A server of TLS 1.2 whose Diffie-Hellman group has 1,024 bits.
fn weak_acceptor(certificate: &Certificate) -> SslAcceptor {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    builder.set_security_level(0);
    builder.set_max_proto_version(Some(SslVersion::TLS1_2)).unwrap();
    builder.set_cipher_list("DHE-RSA-AES128-GCM-SHA256").unwrap();
    let group = Dh::from_pqg(BigNum::get_rfc2409_prime_1024().unwrap(), None, BigNum::from_u32(2).unwrap());
    builder.set_tmp_dh(&group.unwrap()).unwrap();
    builder.set_certificate(&certificate.x509()).unwrap();
    builder.set_private_key(&PKey::private_key_from_pem(certificate.key.as_bytes()).unwrap()).unwrap();
    builder.build()
}
