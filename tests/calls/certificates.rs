//! An authority of the test's own, certificates of it, and connections that show them.

use openssl::{
    pkey::PKey,
    ssl::{SslAcceptor, SslConnector, SslMethod, SslVerifyMode, SslVersion},
    x509::{X509, store::X509StoreBuilder},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize,
};

/// Signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, both PEM.
#[derive(Clone)]
pub struct Certificate {
    pub chain: String,
    pub key: String,
}

/// What a certificate is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum For {
    Servers,
    Clients,
    Both,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn rsa(&self, name: &str, usage: For) -> Certificate {
        self.sign(name, usage, KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap())
    }

    pub fn ecdsa(&self, name: &str, usage: For) -> Certificate {
        self.sign(name, usage, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap())
    }

    fn sign(&self, name: &str, usage: For, key: KeyPair) -> Certificate {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = match usage {
            For::Servers => vec![ExtendedKeyUsagePurpose::ServerAuth],
            For::Clients => vec![ExtendedKeyUsagePurpose::ClientAuth],
            For::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        };
        let chain = params.signed_by(&key, &self.0).unwrap().pem();
        Certificate { chain, key: key.serialize_pem() }
    }
}

impl Certificate {
    pub fn x509(&self) -> X509 {
        X509::from_pem(self.chain.as_bytes()).unwrap()
    }

    /// As a manifest.
    pub fn secret(&self, namespace: &str, name: &str) -> String {
        secret(namespace, name, &[("tls.crt", &self.chain), ("tls.key", &self.key)])
    }
}

/// A Secret as a manifest.
pub fn secret(namespace: &str, name: &str, values: &[(&str, &str)]) -> String {
    let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).into()));
    let document = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": {"switchboard.dev/use": "true"}},
        "stringData": serde_json::Map::from_iter(values),
    });
    format!("---\n{document}\n")
}

/// Connects as one who trusts `authority` and may show a certificate.
pub fn connector(authority: &Authority, shown: Option<&Certificate>) -> SslConnector {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
    builder.set_verify(SslVerifyMode::PEER);
    let mut store = X509StoreBuilder::new().unwrap();
    store.add_cert(X509::from_pem(authority.pem().as_bytes()).unwrap()).unwrap();
    builder.set_cert_store(store.build());
    if let Some(shown) = shown {
        builder.set_certificate(&shown.x509()).unwrap();
        builder.set_private_key(&PKey::private_key_from_pem(shown.key.as_bytes()).unwrap()).unwrap();
    }
    builder.build()
}

/// A server of TLS 1.2 with one suite, or of TLS 1.3 as well with all.
pub fn acceptor(certificate: &Certificate, suite: Option<&str>) -> SslAcceptor {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    if let Some(suite) = suite {
        builder.set_max_proto_version(Some(SslVersion::TLS1_2)).unwrap();
        builder.set_cipher_list(suite).unwrap();
    }
    builder.set_certificate(&certificate.x509()).unwrap();
    builder.set_private_key(&PKey::private_key_from_pem(certificate.key.as_bytes()).unwrap()).unwrap();
    builder.build()
}
