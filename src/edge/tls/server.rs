//! TLS of those who connect to us: rustls, by the cluster's policy.

use std::sync::Arc;

use model::trunk::{CipherSuite as Suite, TlsPolicy, TlsVersion};
use rustls::{
    CipherSuite, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
    client::danger::HandshakeSignatureValid,
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::danger::{ClientCertVerified, ClientCertVerifier},
    version::{TLS12, TLS13},
};

use super::client::OwnCertificate;

/// Whether clients are asked for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// They may show one: peers of trunks.
    ForCertificate,
    /// They are not, for a browser would ask its user.
    ForNone,
}

/// What a policy's listeners say and show.
pub fn config(policy: &TlsPolicy, own: OwnCertificate<'_>, asks: Asks) -> Result<ServerConfig, String> {
    let provider = Arc::new(provider(policy));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(own.chain).collect();
    let chain = chain.map_err(|error| format!("`tls.crt` is no PEM: {error}"))?;
    if chain.is_empty() {
        return Err("`tls.crt` holds no certificate".into());
    }
    let key =
        PrivateKeyDer::from_pem_slice(own.key).map_err(|error| format!("`tls.key` is no PEM: {error}"))?;
    let algorithms = provider.signature_verification_algorithms;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(policy))
        .map_err(|error| error.to_string())?;
    let builder = match asks {
        Asks::ForNone => builder.with_no_client_auth(),
        Asks::ForCertificate => builder.with_client_cert_verifier(Arc::new(AnyCertificate(algorithms))),
    };
    builder
        .with_single_cert(chain, key)
        .map_err(|error| format!("`tls.crt` and `tls.key` are of no use: {error}"))
}

static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
static NEW: [&SupportedProtocolVersion; 1] = [&TLS13];

fn versions(policy: &TlsPolicy) -> &'static [&'static SupportedProtocolVersion] {
    let old = policy.minimum_version == TlsVersion::Tls12 && !tls12(policy).is_empty();
    if old { &BOTH } else { &NEW }
}

fn provider(policy: &TlsPolicy) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    let mut wanted = vec![CipherSuite::TLS13_AES_128_GCM_SHA256, CipherSuite::TLS13_AES_256_GCM_SHA384];
    wanted.extend(tls12(policy));
    provider.cipher_suites.retain(|suite| wanted.contains(&suite.suite()));
    provider
}

/// The policy's, as far as rustls has them; with each for an RSA certificate its twin for one with an elliptic curve.
fn tls12(policy: &TlsPolicy) -> Vec<CipherSuite> {
    let suites = policy.inbound_suites.iter().flat_map(|suite| match suite {
        Suite::EcdheRsaAes128Gcm => vec![
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        ],
        Suite::EcdheRsaAes256Gcm => vec![
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        ],
        Suite::EcdheEcdsaAes128Gcm => vec![CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256],
        Suite::EcdheEcdsaAes256Gcm => vec![CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384],
        Suite::DheRsaAes128Gcm | Suite::EcdheRsaAes128Cbc => Vec::new(),
    });
    suites.collect()
}

/// Takes any certificate whose key the client has. Whether it is right is for the trunk to say, which nobody knows yet:
/// each has authorities of its own.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
