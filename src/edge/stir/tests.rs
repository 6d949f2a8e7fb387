use std::sync::atomic::{AtomicUsize, Ordering};

use openssl::{
    bn::BigNum,
    ec::{EcGroup, EcKey},
    nid::Nid,
    pkey::PKey,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize, SanType,
};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use stir::{Attestation, claim::Claim, passport};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::{
    fetch::{BODY_MAX, KEPT, KEPT_USUALLY, fetch, good_for},
    trust::Trusted,
    *,
};

/// RFC 7515, Appendix A.3: text, signature, and the key's two coordinates.
const RFC_7515: (&str, &str, &str, &str) = (
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    "7fcdce2770f6c45d4183cbee6fdb4b7b580733357be9ef13bacf6e3c7bd15445",
    "c7f144cd1bbd9b7e872cdfedb9eeb9f4b3695d6ea90b24ad8a4623288588e5ad",
);

#[test]
fn the_signature_of_rfc_7515_holds_and_none_that_is_changed() {
    let (text, signature, x, y) = RFC_7515;
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let [x, y] = [x, y].map(|number| BigNum::from_hex_str(number).unwrap());
    let key = EcKey::from_public_key_affine_coordinates(&group, &x, &y).unwrap();
    let signer = Trusted::of(PKey::from_ec_key(key).unwrap());
    let signature = passport::signature(signature).unwrap();
    assert!(signer.is_signed(text, &signature));
    assert!(!signer.is_signed(&text[1..], &signature));
    for place in [0, 31, 32, 63] {
        let mut changed = signature;
        changed[place] ^= 1;
        assert!(!signer.is_signed(text, &changed), "octet {place}");
    }
    assert!(!signer.is_signed(text, &[0; 64]));
}

/// An authority of signers, or of servers.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, both PEM.
struct Certificate {
    chain: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn certify(&self, key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "SHAKEN 1234");
        change(&mut params);
        let chain = params.signed_by(&key, &self.0).unwrap().pem();
        Certificate { chain, key: key.serialize_pem() }
    }

    fn signer(&self, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        self.certify(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(), change)
    }

    /// For `localhost`.
    fn server(&self) -> Certificate {
        self.signer(|params| {
            params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().unwrap())];
        })
    }
}

/// `[2] "12155550121"`, or another number.
fn numbers(number: &str) -> CustomExtension {
    let number = number.as_bytes();
    let length = u8::try_from(number.len()).unwrap();
    let der = [&[0x30, length + 4, 0xa2, length + 2, 0x16, length], number].concat();
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 26], der)
}

fn chain(certificate: &Certificate) -> Vec<openssl::x509::X509> {
    openssl::x509::X509::stack_from_pem(certificate.chain.as_bytes()).unwrap()
}

#[test]
fn what_we_sign_others_can_verify() {
    let authority = Authority::new("STI-CA");
    let certificate = authority.signer(|_| {});
    let signer = Signer::new(certificate.key.as_bytes(), certificate.chain.as_bytes()).unwrap();
    let now = Timestamp::now();
    let trusted =
        Anchors::new(authority.pem().as_bytes()).unwrap().vouch_for(&chain(&certificate), now).unwrap();
    for round in 0..32 {
        let text = format!("text {round}");
        let signature = signer.sign(&text, now).unwrap();
        assert!(trusted.is_signed(&text, &signature));
        assert!(!trusted.is_signed("another", &signature));
    }
}

#[test]
fn a_key_that_nobody_would_take_signs_nothing() {
    let authority = Authority::new("STI-CA");
    let (one, other) = (authority.signer(|_| {}), authority.signer(|_| {}));
    let past = authority.signer(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let large = authority.certify(KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(), |_| {});
    let refused = |key: &str, chain: &str| match Signer::new(key.as_bytes(), chain.as_bytes()) {
        Ok(signer) => signer.sign("text", Timestamp::now()).unwrap_err(),
        Err(because) => because,
    };
    for (because, wanted) in [
        (refused(&other.key, &one.chain), "not that of its certificate"),
        (refused(&past.key, &past.chain), "is valid from"),
        (refused(&large.key, &large.chain), "P-256"),
        (refused("a", &one.chain), "no private key"),
        (refused(&one.key, ""), "is empty"),
    ] {
        assert!(because.contains(wanted), "{because}");
        assert!(!because.contains("PRIVATE"), "{because}");
    }
}

#[test]
fn only_certificates_of_an_authority_that_is_trusted_are_taken() {
    let (authority, other) = (Authority::new("STI-CA"), Authority::new("Another"));
    let anchors = Anchors::new(authority.pem().as_bytes()).unwrap();
    let middle = {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Intermediate");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        Authority(CertifiedIssuer::signed_by(params, key, &authority.0).unwrap())
    };
    let below = middle.signer(|_| {});
    let whole = Certificate { chain: below.chain.clone() + &middle.pem(), key: String::new() };
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    for (what, certificate, wanted) in [
        ("right", authority.signer(|_| {}), None),
        ("with its chain", whole, None),
        ("without its chain", below, Some("unable to get local issuer")),
        ("another authority", other.signer(|_| {}), Some("unable to get local issuer")),
        ("past", authority.signer(|p| p.not_after = rcgen::date_time_ymd(2020, 1, 1)), Some("expired")),
        (
            "to come",
            authority.signer(|p| p.not_before = rcgen::date_time_ymd(2200, 1, 1)),
            Some("not yet valid"),
        ),
        ("RSA", authority.certify(rsa, |_| {}), Some("P-256")),
        (
            "P-384",
            authority.certify(KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(), |_| {}),
            Some("P-256"),
        ),
    ] {
        match (anchors.vouch_for(&chain(&certificate), Timestamp::now()), wanted) {
            (Ok(_), None) => {}
            (Err(because), Some(wanted)) => assert!(because.contains(wanted), "{what}: {because}"),
            (Ok(_), Some(_)) => panic!("{what} is taken"),
            (Err(because), None) => panic!("{what}: {because}"),
        }
    }
    assert!(Anchors::new(b"").is_err());
}

/// A server on this machine; counts requests.
async fn serve(certificate: &Certificate, answer: Vec<u8>) -> (u16, Arc<AtomicUsize>) {
    let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = [0; 2_048];
            let _ = stream.read(&mut head).await;
            count.fetch_add(1, Ordering::Relaxed);
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
        }
    });
    (port, asked)
}

fn answer(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn source(port: u16, authority: &Authority) -> Source {
    Source {
        url: format!("https://localhost:{port}/c14.pem"),
        ca: Some(authority.pem().into_bytes().into()),
        ranges: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
    }
}

#[tokio::test]
async fn a_certificate_is_fetched_from_where_it_may_be_and_nothing_else() {
    let (servers, signers, other) =
        (Authority::new("Web"), Authority::new("STI-CA"), Authority::new("Another"));
    let server = servers.server();
    let certificate = signers.signer(|_| {});
    let (port, _) = serve(&server, answer("Cache-Control: max-age=120\r\n", &certificate.chain)).await;
    let good = source(port, &servers);
    let fetched = fetch(&good).await.unwrap();
    assert_eq!((fetched.chain.len(), fetched.good_for.as_secs()), (1, 120));

    let moved = b"HTTP/1.1 302 Found\r\nLocation: https://localhost/a\r\nContent-Length: 0\r\n\r\n".to_vec();
    let (moved, _) = serve(&server, moved).await;
    let (long, _) = serve(&server, answer("", &"a".repeat(BODY_MAX + 1))).await;
    let (other_body, _) = serve(&server, answer("", "no certificate")).await;
    let (many, _) = serve(&server, answer("", &certificate.chain.repeat(9))).await;
    let at = |url: &str| Source { url: url.to_owned(), ..good.clone() };
    for (what, source, wanted) in [
        ("not listed", Source { ranges: Vec::new(), ..good.clone() }, "reachableRanges"),
        (
            "not listed by address",
            Source { ranges: Vec::new(), ..at(&format!("https://127.0.0.1:{port}/")) },
            "reachableRanges",
        ),
        ("the cloud's own", at("https://169.254.169.254/"), "reachableRanges"),
        (
            "another authority",
            Source { ca: Some(other.pem().into_bytes().into()), ..good.clone() },
            "not trusted",
        ),
        ("in the clear", at(&format!("http://localhost:{port}/")), "by HTTPS"),
        ("with a user", at(&format!("https://a@localhost:{port}/")), "by HTTPS"),
        ("no URL", at("a b"), "URL"),
        ("moved", source(moved, &servers), "answers 302"),
        ("too long", source(long, &servers), "longer than"),
        ("no certificate", source(other_body, &servers), "no certificate"),
        ("a long chain", source(many, &servers), "are many"),
        ("nobody there", at("https://localhost:1/"), "cannot be reached"),
    ] {
        let because = fetch(&source).await.map(|_| ()).unwrap_err();
        assert!(because.contains(wanted), "{what}: {because}");
    }
}

#[test]
fn a_certificate_is_kept_as_its_server_says_within_bounds() {
    for (control, wanted) in [
        (None, KEPT_USUALLY),
        (Some("public, max-age=7200"), std::time::Duration::from_secs(7_200)),
        (Some("max-age=\"300\""), std::time::Duration::from_secs(300)),
        (Some("max-age=1"), KEPT.0),
        (Some("max-age=99999999"), KEPT.1),
        (Some("no-store"), KEPT.0),
        (Some("private"), KEPT_USUALLY),
    ] {
        assert_eq!(good_for(control), wanted, "{control:?}");
    }
}

/// A call of +12155550121 to +12155550131, signed.
fn signed(certificate: &Certificate, url: &str) -> Passport {
    let claim = Claim::Shaken {
        origin: "12155550121".into(),
        destination: "12155550131".into(),
        attestation: Attestation::A,
        origin_id: "a".into(),
    };
    let text = claim.unsigned(Timestamp::now().as_second(), url);
    let key = PKey::private_key_from_pem(certificate.key.as_bytes()).unwrap();
    let digest = openssl::sha::sha256(text.as_bytes());
    let made = openssl::ecdsa::EcdsaSig::sign(&digest, &key.ec_key().unwrap()).unwrap();
    let halves = [made.r(), made.s()].map(|half| half.to_vec_padded(32).unwrap());
    let value = stir::identity::write(&claim, url, &text, &halves.concat().try_into().unwrap());
    let left = stir::identity::Left { origin: "", destination: "", date: None };
    stir::identity::read(&value, left).unwrap()
}

#[tokio::test]
async fn a_call_passes_if_its_signer_may_speak_for_the_number() {
    let (servers, signers) = (Authority::new("Web"), Authority::new("STI-CA"));
    let observed = Observed::default();
    let cache = Rc::new(RefCell::new(Cache::default()));
    type Change = fn(&mut CertificateParams);
    type Forge = fn(&mut Passport);
    let rows: [(&str, Change, Forge, Result<(), u16>); 5] = [
        ("right", |_| {}, |_| {}, Ok(())),
        ("lists it", |p| p.custom_extensions.push(numbers("12155550121")), |_| {}, Ok(())),
        ("lists another", |p| p.custom_extensions.push(numbers("12155550122")), |_| {}, Err(437)),
        ("expired", |p| p.not_after = rcgen::date_time_ymd(2020, 1, 1), |_| {}, Err(437)),
        ("forged", |_| {}, |passport| passport.signature[7] ^= 1, Err(438)),
    ];
    for (what, change, forge, wanted) in rows {
        let certificate = signers.signer(change);
        let (port, asked) = serve(&servers.server(), answer("", &certificate.chain)).await;
        let source = source(port, &servers);
        let mut passport = signed(&certificate, &source.url);
        forge(&mut passport);
        let job = Job {
            to_verify: ToVerify { ticket: 1, trunk: TrunkId::new("a", "a"), passports: vec![passport] },
            anchors: Anchors::new(signers.pem().as_bytes()).map(Rc::new),
            ca: source.ca.clone(),
            ranges: source.ranges.clone(),
        };
        for _ in 0..3 {
            let found = verify(&job, &cache, &observed, Timestamp::now()).await;
            assert_eq!(found.map_err(|fault| fault.code()), wanted, "{what}");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1, "{what}: it is fetched once");
    }
    assert_eq!((observed.certificates_fetched.get(), observed.certificates_failed.get()), (5, 0));
}

#[tokio::test]
async fn calls_that_need_one_certificate_at_once_share_its_fetch() {
    let (servers, signers) = (Authority::new("Web"), Authority::new("STI-CA"));
    let certificate = signers.signer(|_| {});
    let (port, asked) = serve(&servers.server(), answer("", &certificate.chain)).await;
    let (observed, cache) = (Observed::default(), Rc::new(RefCell::new(Cache::default())));
    let gets = (0..20).map(|_| cache::get(&cache, source(port, &servers), &observed));
    let found = futures::future::join_all(gets).await;
    assert!(found.iter().all(Result::is_ok));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}
