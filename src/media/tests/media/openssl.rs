//! DTLS-SRTP with OpenSSL's own programs as the peer: its handshake, and the keys that it says it has.
//!
//! `openssl` speaks DTLS alone, so a socket of the test's stands before it as the peer's RTP port: what is DTLS goes through to it, and
//! all else the test protects and opens itself, with the keys that OpenSSL has exported.

use std::{
    fs,
    io::Read,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use model::{
    LegId,
    media::{
        CertificateHash, Codec, CryptoSuite, Dtls, DtlsFailure, DtlsRole, Event, Fingerprint, MasterKey, Srtp,
    },
};
use rtp::{
    packet::{Header, Packet},
    srtp::{OVERHEAD_MAX, Receiver, Sender},
};

use crate::peer::{PATIENCE, Phone, World};

const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// RFC 5764 §4.1.2 and RFC 7714 §14.2, as OpenSSL names them.
const PROFILES: [(&str, CryptoSuite); 3] = [
    ("SRTP_AES128_CM_SHA1_80", CryptoSuite::AesCm128HmacSha1_80),
    ("SRTP_AEAD_AES_128_GCM", CryptoSuite::AeadAes128Gcm),
    ("SRTP_AEAD_AES_256_GCM", CryptoSuite::AeadAes256Gcm),
];

fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().expect("openssl is installed");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What OpenSSL says of a certificate.
fn fingerprint(path: &Path) -> Fingerprint {
    let told = openssl(&["x509", "-noout", "-fingerprint", "-sha256", "-in", path.to_str().unwrap()]);
    let digits = told.trim().split('=').nth(1).unwrap();
    let value = digits.split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect();
    Fingerprint { hash: CertificateHash::Sha256, value }
}

/// `openssl s_client` or `s_server`, and the RTP port before it.
struct Peer {
    folder: tempfile::TempDir,
    child: Child,
    told: Arc<Mutex<String>>,
    rtp: Arc<UdpSocket>,
    /// What came to the RTP port and is no DTLS.
    came: mpsc::Receiver<Vec<u8>>,
    over: Arc<AtomicBool>,
    fingerprint: Fingerprint,
}

impl Peer {
    /// `ours`: the part of the media server, whose RTP port that is.
    fn start(ours: DtlsRole, server_port: u16, key: &[&str], more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [certificate, private] = ["peer.pem", "peer.key"].map(|name| folder.path().join(name));
        let [shown, secret] = [&certificate, &private].map(|path| path.to_str().unwrap());
        let made =
            ["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=peer", "-keyout", secret, "-out", shown];
        openssl(&[&made[..], key].concat());
        let bind = || {
            let socket = UdpSocket::bind((LOCALHOST, 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            Arc::new(socket)
        };
        let (rtp, inside) = (bind(), bind());
        let mut command = Command::new("openssl");
        let whereto = match ours {
            DtlsRole::Server => {
                command.args(["s_client", "-connect", &inside.local_addr().unwrap().to_string()]);
                None
            }
            DtlsRole::Client => {
                let port = bind().local_addr().unwrap().port();
                command.args(["s_server", "-accept", &format!("127.0.0.1:{port}"), "-verify", "1"]);
                Some(SocketAddr::from((LOCALHOST, port)))
            }
        };
        let export = ["-keymatexport", "EXTRACTOR-dtls_srtp", "-keymatexportlen"];
        command.args(["-dtls1_2", "-cert", shown, "-key", secret]).args(export).args(more);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap();
        let told = Arc::<Mutex<String>>::default();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        for mut from in [Box::new(stdout) as Box<dyn Read + Send>, Box::new(stderr)] {
            let told = Arc::clone(&told);
            thread::spawn(move || {
                let mut buffer = [0; 4_096];
                while let Ok(length @ 1..) = from.read(&mut buffer) {
                    told.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..length]));
                }
            });
        }
        let (sender, came) = mpsc::channel();
        let over = Arc::<AtomicBool>::default();
        let is_over = Arc::clone(&over);
        let (outer, inner) = (Arc::clone(&rtp), inside);
        let whereto = Arc::new(Mutex::new(whereto));
        let (learnt, ended) = (Arc::clone(&whereto), Arc::clone(&over));
        let (from_peer, to_server) = (Arc::clone(&inner), Arc::clone(&outer));
        thread::spawn(move || {
            let mut buffer = [0; 2_000];
            while !ended.load(Ordering::Relaxed) {
                let Ok((length, from)) = from_peer.recv_from(&mut buffer) else { continue };
                *learnt.lock().unwrap() = Some(from);
                to_server.send_to(&buffer[..length], (LOCALHOST, server_port)).unwrap();
            }
        });
        thread::spawn(move || {
            let mut buffer = [0; 2_000];
            while !is_over.load(Ordering::Relaxed) {
                let Ok((length, _)) = outer.recv_from(&mut buffer) else { continue };
                let whereto = *whereto.lock().unwrap();
                match (buffer[0], whereto) {
                    (20..=63, Some(whereto)) => {
                        inner.send_to(&buffer[..length], whereto).unwrap();
                    }
                    (20..=63, None) => {}
                    _ => drop(sender.send(buffer[..length].to_vec())),
                }
            }
        });
        let fingerprint = fingerprint(&certificate);
        let peer = Self { folder, child, told, rtp, came, over, fingerprint };
        if ours == DtlsRole::Client {
            peer.wait_for("ACCEPT");
        }
        peer
    }

    fn told(&self) -> String {
        self.told.lock().unwrap().clone()
    }

    fn wait_for(&self, text: &str) {
        let begun = Instant::now();
        while !self.told().contains(text) {
            assert!(begun.elapsed() < PATIENCE, "no {text} in {}", self.told());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The octets that OpenSSL has exported (RFC 5705).
    fn exported(&self) -> Vec<u8> {
        const BEFORE: &str = "Keying material: ";
        self.wait_for(BEFORE);
        let digits =
            |told: &str| told.split(BEFORE).nth(1)?.split_once('\n').map(|(line, _)| line.trim().to_owned());
        let begun = Instant::now();
        let digits = loop {
            assert!(begun.elapsed() < PATIENCE, "{}", self.told());
            if let Some(digits) = digits(&self.told()) {
                break digits;
            }
        };
        let octet = |place| u8::from_str_radix(&digits[place..place + 2], 16).unwrap();
        (0..digits.len()).step_by(2).map(octet).collect()
    }

    /// The certificate that OpenSSL was shown.
    fn shown(&self) -> Fingerprint {
        let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");
        self.wait_for(end);
        let told = self.told();
        let text = told.split(begin).nth(1).unwrap().split(end).next().unwrap();
        let path = self.folder.path().join("shown.pem");
        fs::write(&path, format!("{begin}{text}{end}\n")).unwrap();
        fingerprint(&path)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _gone_already = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server with a telephone on leg 1 and, bridged to it, leg 2, whose peer OpenSSL is.
struct Scene {
    world: World,
    phone: Phone,
    port: u16,
    fingerprint: Fingerprint,
}

impl Scene {
    fn new() -> Self {
        let world = World::new();
        let phone = world.phone(1, 1, Codec::Pcmu);
        let Event::Allocated { rtp_port: port, fingerprint, .. } = world.allocate(1, 2) else { panic!() };
        let fingerprint = *fingerprint.expect("a certificate");
        world.bridge(1, 1, 2);
        Self { world, phone, port, fingerprint }
    }

    fn meet(&self, peer: &Peer, known: &Fingerprint, role: DtlsRole) {
        let mut other = Phone::new(Codec::Pcmu, self.port);
        let parameters = &mut other.parameters;
        let remote = peer.rtp.local_addr().unwrap();
        (parameters.remote_rtp, parameters.remote_rtcp, parameters.rtcp_mux) = (remote, remote, true);
        parameters.srtp = Some(Box::new(Srtp::Dtls(Dtls { peer: known.clone(), role })));
        self.world.configure(1, 2, &other);
    }

    fn failure(&self) -> DtlsFailure {
        match self.world.event() {
            Event::Unprotected { leg: LegId(2), why } => why,
            other => panic!("{other:?}"),
        }
    }
}

/// What the peer sends with, and what it opens with (RFC 5764 §4.2: the client's key, the server's, their salts).
fn keys(suite: CryptoSuite, exported: &[u8], is_client: bool) -> (Sender, Receiver) {
    let (key, salt) = (suite.key_length(), suite.salt_length());
    let of = |place: usize| {
        let (key, salt) = (&exported[place * key..][..key], &exported[2 * key + place * salt..][..salt]);
        MasterKey::new(suite, [key, salt].concat())
    };
    let (own, other) = if is_client { (of(0), of(1)) } else { (of(1), of(0)) };
    (Sender::new(&own, 0).unwrap(), Receiver::new(&other).unwrap())
}

/// Both hear each other, OpenSSL's side by what it has exported.
fn talk(scene: &mut Scene, peer: &Peer, (mut send, mut receive): (Sender, Receiver)) {
    let begun = Instant::now();
    let mut header = Header { marker: false, payload_type: 0, sequence: 7, timestamp: 0, ssrc: 77 };
    while scene.phone.peek().iter().all(|(_, payload)| payload != &[0x31; 160]) {
        assert!(begun.elapsed() < PATIENCE, "OpenSSL's side is not heard");
        let mut packet = [&header.to_bytes()[..], &[0x31; 160], &[0; OVERHEAD_MAX]].concat();
        let length = send.protect(&mut packet, 172).unwrap();
        peer.rtp.send_to(&packet[..length], (LOCALHOST, scene.port)).unwrap();
        (header.sequence, header.timestamp) = (header.sequence + 1, header.timestamp + 160);
        thread::sleep(Duration::from_millis(20));
    }
    loop {
        assert!(begun.elapsed() < PATIENCE, "OpenSSL's side hears nothing");
        scene.phone.say(&[0x32; 160]);
        let Ok(mut packet) = peer.came.recv_timeout(Duration::from_millis(20)) else { continue };
        // Reports share the port (RFC 5761 §4).
        if matches!(packet[1], 192..=223) {
            continue;
        }
        assert!(!packet.windows(20).any(|window| window == [0x32; 20]), "in the clear");
        let length = receive.unprotect(&mut packet).expect("protected by the key that OpenSSL has");
        if Packet::parse(&packet[..length]).unwrap().payload == [0x32; 160] {
            return;
        }
    }
}

const ECDSA: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
const RSA: &[&str] = &["-newkey", "rsa:2048"];

#[test]
fn openssl_has_the_keys_that_we_have_in_either_part_and_by_each_profile() {
    for ours in [DtlsRole::Server, DtlsRole::Client] {
        for ((profile, suite), key) in PROFILES.into_iter().zip([ECDSA, RSA, ECDSA]) {
            let mut scene = Scene::new();
            let length = 2 * (suite.key_length() + suite.salt_length());
            let more = [&length.to_string(), "-use_srtp", profile];
            let peer = Peer::start(ours, scene.port, key, &more);
            scene.meet(&peer, &peer.fingerprint, ours);
            let exported = peer.exported();
            assert_eq!(exported.len(), length, "{}", peer.told());
            let told = peer.told();
            assert!(told.contains(&format!("SRTP Extension negotiated, profile={profile}")), "{told}");
            assert_eq!(peer.shown(), scene.fingerprint, "what the order's answer said of our certificate");
            talk(&mut scene, &peer, keys(suite, &exported, ours == DtlsRole::Server));
        }
    }
}

#[test]
fn openssl_takes_the_best_profile_that_both_have() {
    let mut scene = Scene::new();
    let all = ["56", "-use_srtp", "SRTP_AES128_CM_SHA1_32:SRTP_AEAD_AES_128_GCM"];
    let peer = Peer::start(DtlsRole::Server, scene.port, ECDSA, &all);
    scene.meet(&peer, &peer.fingerprint, DtlsRole::Server);
    talk(&mut scene, &peer, keys(CryptoSuite::AeadAes128Gcm, &peer.exported(), true));
}

#[test]
fn openssl_without_a_profile_of_ours_is_refused_and_hears_nothing() {
    for ours in [DtlsRole::Server, DtlsRole::Client] {
        for more in [&["60"][..], &["60", "-use_srtp", "SRTP_AES128_CM_SHA1_32"]] {
            let mut scene = Scene::new();
            let peer = Peer::start(ours, scene.port, ECDSA, more);
            scene.meet(&peer, &peer.fingerprint, ours);
            assert_eq!(scene.failure(), DtlsFailure::NoCommonProfile, "{ours:?} {more:?}: {}", peer.told());
            is_silent(&mut scene, &peer);
        }
    }
}

#[test]
fn openssl_with_another_certificate_than_was_agreed_is_refused_and_hears_nothing() {
    for ours in [DtlsRole::Server, DtlsRole::Client] {
        let mut scene = Scene::new();
        let peer = Peer::start(ours, scene.port, ECDSA, &["60", "-use_srtp", "SRTP_AES128_CM_SHA1_80"]);
        let mut strange = peer.fingerprint.clone();
        strange.value[0] ^= 1;
        scene.meet(&peer, &strange, ours);
        assert_eq!(scene.failure(), DtlsFailure::WrongFingerprint, "{ours:?}: {}", peer.told());
        is_silent(&mut scene, &peer);
    }
}

fn is_silent(scene: &mut Scene, peer: &Peer) {
    let before = scene.world.server.counters().packets_received;
    for octet in 1..20 {
        scene.phone.say(&[octet; 160]);
    }
    scene.world.await_received(before + 19);
    assert_eq!(peer.came.try_recv(), Err(mpsc::TryRecvError::Empty));
}
