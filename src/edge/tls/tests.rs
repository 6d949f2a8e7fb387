//! Handshakes of ours with OpenSSL's servers, and of OpenSSL's clients with ours, in memory.

use std::{pin::Pin, sync::Arc};

use model::{
    Key,
    trunk::{CipherSuite, TlsPolicy, TlsVersion},
};
use openssl::{
    bn::BigNum,
    dh::Dh,
    pkey::PKey,
    ssl::{Ssl, SslConnector, SslContext, SslMethod, SslVerifyMode, SslVersion},
    x509::X509,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize,
};
use tokio::io::DuplexStream;
use tokio_openssl::SslStream;
use tokio_rustls::TlsAcceptor;

use super::{
    client::{Client, Expected, HandshakeError, INTEGRATION_SUITES, OwnCertificate, Settings, SettingsError},
    server::{self, Asks},
};

const HOST: &str = "sip.carrier.example";

/// All that trunks are offered.
const SUITES: [(CipherSuite, &str, bool); 6] = [
    (CipherSuite::DheRsaAes128Gcm, "DHE-RSA-AES128-GCM-SHA256", true),
    (CipherSuite::EcdheRsaAes128Cbc, "ECDHE-RSA-AES128-SHA", true),
    (CipherSuite::EcdheEcdsaAes128Gcm, "ECDHE-ECDSA-AES128-GCM-SHA256", false),
    (CipherSuite::EcdheEcdsaAes256Gcm, "ECDHE-ECDSA-AES256-GCM-SHA384", false),
    (CipherSuite::EcdheRsaAes128Gcm, "ECDHE-RSA-AES128-GCM-SHA256", true),
    (CipherSuite::EcdheRsaAes256Gcm, "ECDHE-RSA-AES256-GCM-SHA384", true),
];

/// An authority, and a certificate of it for [`HOST`].
struct Made {
    ca: String,
    chain: String,
    key: String,
}

impl Made {
    fn new(rsa: bool) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Test Authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = if rsa {
            KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
        } else {
            KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        };
        let key = key.unwrap();
        let mut params = CertificateParams::new(vec![HOST.into()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &ca).unwrap();
        Self { ca: ca.pem(), chain: certificate.pem(), key: key.serialize_pem() }
    }

    fn own(&self) -> OwnCertificate<'_> {
        OwnCertificate { chain: self.chain.as_bytes(), key: self.key.as_bytes() }
    }
}

/// An OpenSSL server of TLS 1.2 with one suite.
fn context(made: &Made, suite: &str, dh: Dh<openssl::pkey::Params>) -> SslContext {
    let mut builder = SslContext::builder(SslMethod::tls_server()).unwrap();
    builder.set_security_level(0);
    builder.set_max_proto_version(Some(SslVersion::TLS1_2)).unwrap();
    builder.set_cipher_list(suite).unwrap();
    builder.set_tmp_dh(&dh).unwrap();
    builder.set_certificate(&X509::from_pem(made.chain.as_bytes()).unwrap()).unwrap();
    builder.set_private_key(&PKey::private_key_from_pem(made.key.as_bytes()).unwrap()).unwrap();
    builder.build()
}

fn group(prime: BigNum) -> Dh<openssl::pkey::Params> {
    Dh::from_pqg(prime, None, BigNum::from_u32(2).unwrap()).unwrap()
}

fn strong() -> Dh<openssl::pkey::Params> {
    group(BigNum::get_rfc3526_prime_2048().unwrap())
}

fn client(made: &Made, suites: &[CipherSuite], minimum_version: TlsVersion) -> Client {
    let ca = Some(made.ca.as_bytes());
    Client::new(&Settings { minimum_version, suites, ca, certificate: None }).unwrap()
}

/// The suite that was agreed upon.
async fn shake(
    client: &Client,
    server: &SslContext,
    host: &str,
    expected: Expected<'_>,
) -> Result<String, HandshakeError> {
    let (ours, theirs) = tokio::io::duplex(65_536);
    let mut server = SslStream::new(Ssl::new(server).unwrap(), theirs).unwrap();
    let accepting = async {
        // What went wrong is for the client to say.
        let _ = Pin::new(&mut server).accept().await;
    };
    let (shaken, ()) = tokio::join!(client.connect(ours, host, expected), accepting);
    Ok(shaken?.ssl().current_cipher().unwrap().name().to_owned())
}

#[tokio::test]
async fn a_server_with_any_one_of_the_suites_is_reached() {
    let (rsa, ecdsa) = (Made::new(true), Made::new(false));
    let all = SUITES.map(|(suite, ..)| suite);
    for (suite, name, is_rsa) in SUITES {
        let made = if is_rsa { &rsa } else { &ecdsa };
        let server = context(made, name, strong());
        let shaken = shake(&client(made, &all, TlsVersion::Tls12), &server, HOST, Expected::Host).await;
        assert_eq!(shaken.unwrap(), name);
        let integration = client(made, &INTEGRATION_SUITES, TlsVersion::Tls12);
        let shaken = shake(&integration, &server, HOST, Expected::Host).await;
        assert_eq!(shaken.is_ok(), INTEGRATION_SUITES.contains(&suite), "{name}");
        let new_alone = client(made, &all, TlsVersion::Tls13);
        assert!(shake(&new_alone, &server, HOST, Expected::Host).await.is_err(), "{name} under TLS 1.3");
    }
}

#[tokio::test]
async fn small_diffie_hellman_groups_are_refused_by_name() {
    let made = Made::new(true);
    let client = client(&made, &INTEGRATION_SUITES, TlsVersion::Tls12);
    let weak = context(&made, SUITES[0].1, group(BigNum::get_rfc2409_prime_1024().unwrap()));
    let error = shake(&client, &weak, HOST, Expected::Host).await.unwrap_err();
    assert!(matches!(error, HandshakeError::WeakDiffieHellman), "{error}");
}

#[tokio::test]
async fn another_name_or_authority_is_refused() {
    let (made, other) = (Made::new(true), Made::new(true));
    let suites = SUITES.map(|(suite, ..)| suite);
    let server = context(&made, SUITES[4].1, strong());
    let client = client(&made, &suites, TlsVersion::Tls12);
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    for (names, wanted) in [
        (vec![list(&[HOST])], true),
        (vec![list(&["other.example", "SIP.Carrier.Example"])], true),
        (vec![list(&[HOST]), list(&["other.example"])], false),
        (vec![list(&["carrier.example"])], false),
        (vec![list(&[])], false),
    ] {
        let shaken = shake(&client, &server, "192.0.2.7", Expected::SipNames(&names)).await;
        match shaken {
            Ok(_) => assert!(wanted, "{names:?}"),
            Err(error) => assert!(!wanted && matches!(error, HandshakeError::WrongName { .. }), "{error}"),
        }
    }
    assert!(shake(&client, &server, "other.example", Expected::Host).await.is_err());
    let stranger = self::client(&other, &suites, TlsVersion::Tls12);
    let error = shake(&stranger, &server, HOST, Expected::Host).await.unwrap_err();
    assert!(matches!(error, HandshakeError::Untrusted(_)), "{error}");
}

#[test]
fn settings_without_an_authority_or_with_another_key_are_refused() {
    let (made, other) = (Made::new(false), Made::new(false));
    let settings = Settings {
        minimum_version: TlsVersion::Tls12,
        suites: &INTEGRATION_SUITES,
        ca: Some(b""),
        certificate: None,
    };
    assert!(matches!(Client::new(&settings).unwrap_err(), SettingsError::NoAuthority));
    let foreign = OwnCertificate { key: other.key.as_bytes(), ..made.own() };
    let settings = Settings { ca: Some(made.ca.as_bytes()), certificate: Some(foreign), ..settings };
    let error = Client::new(&settings).unwrap_err();
    assert!(error.to_string().starts_with("our certificate or its key"), "{error}");
    assert_eq!(format!("{settings:?}").matches("PRIVATE").count(), 0);
}

fn policy(minimum_version: TlsVersion, inbound: &[CipherSuite]) -> TlsPolicy {
    TlsPolicy {
        minimum_version,
        inbound_suites: inbound.to_vec(),
        outbound_suites: Vec::new(),
        certificate: Some(Key::new("platform", "certificate")),
    }
}

/// The suite that our server agrees upon with one that offers only that.
async fn offer(config: &Arc<rustls::ServerConfig>, version: SslVersion, suite: &str) -> Option<String> {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
    builder.set_verify(SslVerifyMode::NONE);
    builder.set_security_level(0);
    builder.set_min_proto_version(Some(version)).unwrap();
    builder.set_max_proto_version(Some(version)).unwrap();
    if version == SslVersion::TLS1_3 {
        builder.set_ciphersuites(suite).unwrap();
    } else {
        builder.set_cipher_list(suite).unwrap();
    }
    let ssl = builder.build().configure().unwrap().verify_hostname(false).into_ssl(HOST).unwrap();
    let (ours, theirs): (DuplexStream, DuplexStream) = tokio::io::duplex(65_536);
    let mut client = SslStream::new(ssl, theirs).unwrap();
    let accepting = TlsAcceptor::from(Arc::clone(config)).accept(ours);
    let (accepted, connected) = tokio::join!(accepting, Pin::new(&mut client).connect());
    accepted.ok()?;
    connected.ok()?;
    Some(client.ssl().current_cipher().unwrap().name().to_owned())
}

#[tokio::test]
async fn our_servers_take_the_policys_suites_and_no_other() {
    let twelve = SslVersion::TLS1_2;
    let usual = [CipherSuite::EcdheRsaAes128Gcm, CipherSuite::EcdheRsaAes256Gcm];
    let small = [CipherSuite::EcdheRsaAes128Gcm];
    let rows = [
        (true, SslVersion::TLS1, "ECDHE-RSA-AES128-SHA", [false, false, false]),
        (true, SslVersion::TLS1_1, "ECDHE-RSA-AES128-SHA", [false, false, false]),
        (true, twelve, "DHE-RSA-AES128-GCM-SHA256", [false, false, false]),
        (true, twelve, "ECDHE-RSA-AES128-SHA", [false, false, false]),
        (true, twelve, "ECDHE-RSA-CHACHA20-POLY1305", [false, false, false]),
        (true, twelve, "AES128-GCM-SHA256", [false, false, false]),
        (true, twelve, "ECDHE-RSA-AES128-GCM-SHA256", [true, true, false]),
        (true, twelve, "ECDHE-RSA-AES256-GCM-SHA384", [true, false, false]),
        (false, twelve, "ECDHE-ECDSA-AES128-GCM-SHA256", [true, true, false]),
        (false, twelve, "ECDHE-ECDSA-AES256-GCM-SHA384", [true, false, false]),
        (true, SslVersion::TLS1_3, "TLS_AES_128_GCM_SHA256", [true, true, true]),
        (false, SslVersion::TLS1_3, "TLS_AES_256_GCM_SHA384", [true, true, true]),
    ];
    let (rsa, ecdsa) = (Made::new(true), Made::new(false));
    let policies = [
        policy(TlsVersion::Tls12, &usual),
        policy(TlsVersion::Tls12, &small),
        policy(TlsVersion::Tls13, &usual),
    ];
    for (is_rsa, version, suite, wanted) in rows {
        for (policy, wanted) in policies.iter().zip(wanted) {
            let own = if is_rsa { rsa.own() } else { ecdsa.own() };
            for asks in [Asks::ForCertificate, Asks::ForNone] {
                let config = Arc::new(server::config(policy, own, asks).unwrap());
                let found = offer(&config, version, suite).await;
                assert_eq!(found.as_deref(), wanted.then_some(suite), "{suite} {policy:?}");
            }
        }
    }
}

#[test]
fn a_certificate_that_is_none_is_told() {
    let made = Made::new(false);
    let policy = policy(TlsVersion::Tls12, &[CipherSuite::EcdheRsaAes128Gcm]);
    for (own, wanted) in [
        (OwnCertificate { chain: b"made-up", ..made.own() }, "`tls.crt` holds no certificate"),
        (OwnCertificate { key: b"made-up", ..made.own() }, "`tls.key` is no PEM"),
        (OwnCertificate { key: Made::new(false).key.as_bytes(), ..made.own() }, "are of no use"),
    ] {
        let error = server::config(&policy, own, Asks::ForNone).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    }
}
