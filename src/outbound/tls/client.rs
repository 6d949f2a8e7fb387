//! TLS towards others' servers: exactly the suites that a policy says, and TLS 1.3.
//!
//! OpenSSL, because rustls has neither finite-field Diffie-Hellman nor CBC with SHA-1. What connects to us goes by
//! rustls.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use model::trunk::{CipherSuite, TlsVersion};
use openssl::{
    error::ErrorStack,
    nid::Nid,
    pkey::PKey,
    ssl::{SslConnector, SslConnectorBuilder, SslMethod, SslVerifyMode, SslVersion},
    x509::{X509, X509Ref, X509StoreContextRef, X509VerifyResult, store::X509StoreBuilder},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_openssl::SslStream;

use super::names;

/// What servers that are no trunk's are offered in TLS 1.2, in this order.
pub const INTEGRATION_SUITES: [CipherSuite; 4] = [
    CipherSuite::DheRsaAes128Gcm,
    CipherSuite::EcdheRsaAes128Cbc,
    CipherSuite::EcdheEcdsaAes128Gcm,
    CipherSuite::EcdheEcdsaAes256Gcm,
];

/// Without this OpenSSL adds ChaCha20 to what it offers in TLS 1.3.
const TLS13_SUITES: &str = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";

/// At least 112 bits: Diffie-Hellman and RSA of 2,048.
const SECURITY_LEVEL: u32 = 2;

/// Certificates of one PEM file that are read.
const CERTIFICATES_MAX: usize = 4_096;

/// Letters of an issuer's name that are told.
const ISSUER_MAX: usize = 64;

/// A certificate with its chain, and its key, both PEM.
#[derive(Clone, Copy)]
pub struct OwnCertificate<'a> {
    /// The certificate first, then those that vouch for it.
    pub chain: &'a [u8],
    /// Its key.
    pub key: &'a [u8],
}

impl std::fmt::Debug for OwnCertificate<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// How servers are spoken to.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// The oldest version that is spoken.
    pub minimum_version: TlsVersion,
    /// Suites of TLS 1.2, in the order of the offer.
    pub suites: &'a [CipherSuite],
    /// Authorities to trust (PEM). None: the machine's public ones.
    pub ca: Option<&'a [u8]>,
    /// What we show where a server asks.
    pub certificate: Option<OwnCertificate<'a>>,
}

/// Why settings are of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// They hold no authority at all.
    #[error("there is no authority (CA certificate) to trust")]
    NoAuthority,
    /// What is not PEM, or a key that does not fit.
    #[error("{what}: {source}")]
    OpenSsl {
        /// What of them.
        what: &'static str,
        /// What OpenSSL says.
        source: ErrorStack,
    },
}

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The server's Diffie-Hellman group is below 2,048 bits.
    #[error(
        "the server's Diffie-Hellman group is below 2048 bits, which is refused: it must take a larger one"
    )]
    WeakDiffieHellman,
    /// The chain ends at no authority that is trusted, or is out of date.
    #[error("the server's certificate is refused: {0}")]
    Untrusted(String),
    /// The chain ends at an authority that nobody here knows: this one.
    #[error(
        "the server's certificate is refused: {0:?}, who vouches for it, is none of the trusted authorities"
    )]
    UnknownAuthority(String),
    /// The certificate is another's.
    #[error("the server's certificate names {found}, not {wanted}")]
    WrongName {
        /// Names that it has.
        found: String,
        /// One of these should be among them.
        wanted: String,
    },
    /// The server takes none of the versions and suites that it is offered.
    #[error("the server takes none of the versions and suites of TLS that it is offered: {0}")]
    NothingInCommon(String),
    /// The server wants a certificate of ours that it trusts.
    #[error("the server refuses our certificate, or that we show none: {0}")]
    Refused(String),
    /// The connection broke, or the server breaks rules.
    #[error("{0}")]
    Failed(String),
}

/// Which certificate is the right one.
#[derive(Debug, Clone, Copy)]
pub enum Expected<'a> {
    /// One for the host, by the rules of the web (RFC 6125).
    Host,
    /// One with, of each list, one name or more, by the rules of SIP (RFC 5922).
    SipNames(&'a [Vec<String>]),
}

/// Connects to servers of one kind.
#[derive(Clone)]
pub struct Client(SslConnector);

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// Reads the PEM once, for many connections.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn new(settings: &Settings<'_>) -> Result<Self, SettingsError> {
        let failed = |what| move |source| SettingsError::OpenSsl { what, source };
        let mut builder = bounded(settings).map_err(failed("TLS cannot be set up"))?;
        let read;
        let ca = match settings.ca {
            Some(ca) => ca,
            None => {
                read = super::public_authorities();
                &read
            }
        };
        let mut store = X509StoreBuilder::new().map_err(failed("TLS cannot be set up"))?;
        let authorities = X509::stack_from_pem(ca).map_err(failed("the authorities are no PEM"))?;
        if authorities.is_empty() {
            return Err(SettingsError::NoAuthority);
        }
        for authority in authorities.into_iter().take(CERTIFICATES_MAX) {
            store.add_cert(authority).map_err(failed("an authority is refused"))?;
        }
        builder.set_cert_store(store.build());
        if let Some(own) = settings.certificate {
            show(&mut builder, own).map_err(failed("our certificate or its key is of no use"))?;
        }
        Ok(Self(builder.build()))
    }

    /// Shakes hands and verifies chain and name. `host` is a name or an address.
    ///
    /// # Errors
    /// Why there is no connection; `stream` is gone then.
    pub async fn connect<S>(
        &self,
        stream: S,
        host: &str,
        expected: Expected<'_>,
    ) -> Result<SslStream<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let failed = |error: ErrorStack| HandshakeError::Failed(error.to_string());
        let mut configuration = self.0.configure().map_err(failed)?;
        configuration.set_verify_hostname(matches!(expected, Expected::Host));
        let mut ssl = configuration.into_ssl(host).map_err(failed)?;
        let stranger = Arc::default();
        let seen = Arc::clone(&stranger);
        ssl.set_verify_callback(SslVerifyMode::PEER, move |good, chain| noted(good, chain, &seen));
        let mut stream = SslStream::new(ssl, stream).map_err(failed)?;
        if let Err(error) = Pin::new(&mut stream).connect().await {
            let stranger = stranger.lock().unwrap_or_else(PoisonError::into_inner).take();
            return Err(stranger.map_or_else(
                || why(&error, stream.ssl().verify_result()),
                HandshakeError::UnknownAuthority,
            ));
        }
        if let Expected::SipNames(wanted) = expected {
            let found = names_of(&stream);
            for wanted in wanted {
                if !names::any_of(&found, wanted.iter().map(String::as_str)) {
                    return Err(HandshakeError::WrongName { found: list(&found), wanted: list(wanted) });
                }
            }
        }
        Ok(stream)
    }
}

/// Verification goes on as it would have; who vouches for the last certificate that is known by nobody is kept.
fn noted(good: bool, chain: &mut X509StoreContextRef, stranger: &Mutex<Option<String>>) -> bool {
    // Of x509_vfy.h: the issuer is not there, or vouches for itself and is not trusted.
    const UNKNOWN: [i32; 4] = [2, 18, 19, 20];
    if !good && UNKNOWN.contains(&chain.error().as_raw()) {
        let issuer = chain.current_cert().map(issuer).unwrap_or_default();
        *stranger.lock().unwrap_or_else(PoisonError::into_inner) = Some(issuer);
    }
    good
}

/// As its most telling part says, which is a stranger's word: short, and for printing as a literal.
fn issuer(certificate: &X509Ref) -> String {
    let of = |nid| certificate.issuer_name().entries_by_nid(nid).next();
    let part = of(Nid::COMMONNAME).or_else(|| of(Nid::ORGANIZATIONNAME));
    let text = part.map(|part| String::from_utf8_lossy(part.data().as_slice()).into_owned());
    text.unwrap_or_default().chars().take(ISSUER_MAX).collect()
}

/// SIP domains and addresses of the server's certificate.
pub fn names_of<S>(stream: &SslStream<S>) -> Vec<String> {
    let certificate = stream.ssl().peer_certificate().and_then(|certificate| certificate.to_der().ok());
    certificate.map(|der| names::of(&der)).unwrap_or_default()
}

fn bounded(settings: &Settings<'_>) -> Result<SslConnectorBuilder, ErrorStack> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    builder.set_verify(SslVerifyMode::PEER);
    builder.set_security_level(SECURITY_LEVEL);
    builder.set_ciphersuites(TLS13_SUITES)?;
    let suites: Vec<_> = settings.suites.iter().map(|suite| openssl_name(*suite)).collect();
    if settings.minimum_version == TlsVersion::Tls13 || suites.is_empty() {
        builder.set_min_proto_version(Some(SslVersion::TLS1_3))?;
    } else {
        builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        builder.set_cipher_list(&suites.join(":"))?;
    }
    Ok(builder)
}

fn show(builder: &mut SslConnectorBuilder, own: OwnCertificate<'_>) -> Result<(), ErrorStack> {
    let mut chain = X509::stack_from_pem(own.chain)?.into_iter().take(CERTIFICATES_MAX);
    if let Some(certificate) = chain.next() {
        builder.set_certificate(&certificate)?;
    }
    chain.try_for_each(|certificate| builder.add_extra_chain_cert(certificate))?;
    let key = PKey::private_key_from_pem(own.key)?;
    builder.set_private_key(&key)?;
    builder.check_private_key()
}

const fn openssl_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::DheRsaAes128Gcm => "DHE-RSA-AES128-GCM-SHA256",
        CipherSuite::EcdheRsaAes128Cbc => "ECDHE-RSA-AES128-SHA",
        CipherSuite::EcdheEcdsaAes128Gcm => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::EcdheEcdsaAes256Gcm => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::EcdheRsaAes128Gcm => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::EcdheRsaAes256Gcm => "ECDHE-RSA-AES256-GCM-SHA384",
    }
}

fn why(error: &openssl::ssl::Error, verified: X509VerifyResult) -> HandshakeError {
    let mut reasons =
        error.ssl_error().into_iter().flat_map(ErrorStack::errors).filter_map(|error| error.reason());
    if reasons.clone().any(|reason| reason == "dh key too small") {
        HandshakeError::WeakDiffieHellman
    } else if verified != X509VerifyResult::OK {
        HandshakeError::Untrusted(verified.error_string().to_owned())
    } else {
        let reason = reasons.next().map_or_else(|| error.to_string(), str::to_owned);
        let is = |words: &[&str]| words.iter().any(|word| reason.contains(word));
        if is(&[
            "handshake failure",
            "no ciphers",
            "no shared",
            "unsupported protocol",
            "protocol version",
            "insufficient security",
        ]) {
            HandshakeError::NothingInCommon(reason)
        } else if is(&[
            "alert bad certificate",
            "alert unknown ca",
            "alert certificate",
            "certificate required",
            "alert access denied",
            "alert unsupported certificate",
        ]) {
            HandshakeError::Refused(reason)
        } else {
            HandshakeError::Failed(reason)
        }
    }
}

/// Names come from a stranger: few, and as text.
fn list(names: &[String]) -> String {
    let few: Vec<_> = names.iter().take(4).map(|name| format!("{name:?}")).collect();
    if few.is_empty() { "nobody".into() } else { few.join(" or ") }
}
