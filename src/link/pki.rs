//! Certificates of `link`: an authority that the operator keeps, and what it issues.
//!
//! Time is an input. A certificate is valid from two hours before it was made, so that a peer whose clock is an hour
//! behind takes it.

use std::{
    fmt,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::identity::Party;

/// How long before its making a certificate is valid.
const BACKDATED: Duration = Duration::from_secs(2 * 60 * 60);

/// Longest life of a certificate: what is later has no place in its form.
const DAYS_MAX: u32 = 36_500;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// What was read or asked for cannot be.
    #[error("the certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// No certificate in PEM.
    #[error("must be a certificate in PEM")]
    NotACertificate,
    /// A certificate and the key of another.
    #[error("the key must be that of the certificate")]
    OtherKey,
}

/// Who a certificate is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// Common name, for people.
    pub name: String,
    /// URIs.
    pub uris: Vec<String>,
    /// DNS names.
    pub dns: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
}

impl Subject {
    /// Of a party of `link`: its URI and the DNS name by which it is dialled.
    #[must_use]
    pub fn of(party: &Party) -> Self {
        // A common name has 64 characters at most (RFC 5280 appendix A), so the whole of it does not fit.
        let name = match party {
            Party::Operator => "switchboard operator".to_owned(),
            Party::Pod(identity) => format!("switchboard {}", identity.role),
        };
        Self { name, uris: vec![party.to_string()], dns: vec![party.dns_name()], addresses: Vec::new() }
    }
}

/// A certificate, its key, and whom its holder trusts. The key is printed `[redacted]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Certificates of authorities, in PEM; while one is replaced, of the old and the new.
    pub ca: String,
    /// The certificate, in PEM.
    pub certificate: String,
    /// Its key, in PEM (PKCS #8).
    pub key: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ca, certificate, key: _ } = self;
        let key = format_args!("[redacted]");
        f.debug_struct("Credentials")
            .field("ca", ca)
            .field("certificate", certificate)
            .field("key", &key)
            .finish()
    }
}

/// Issues certificates. Its key is printed `[redacted]`.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Authority {
    /// A new one, with a new key (ECDSA P-256).
    ///
    /// # Errors
    /// None but of the random number generator.
    pub fn generate(name: &str, now: SystemTime, days: u32) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = valid(CertificateParams::default(), now, days);
        params.distinguished_name = distinguished(name);
        // Nothing is issued below what this issues.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(serial(&key));
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// One that was kept.
    ///
    /// # Errors
    /// The PEM of either cannot be read, or they do not belong together.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, PkiError> {
        let key = KeyPair::from_pem(key)?;
        let certified = read(certificate, |parsed| parsed.public_key().subject_public_key.data.to_vec())?;
        if certified != key.public_key_raw() {
            return Err(PkiError::OtherKey);
        }
        let issuer = Issuer::from_ca_cert_pem(certificate, key)?;
        Ok(Self { certificate: certificate.to_owned(), issuer })
    }

    /// For those who shall trust it.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// To be kept where nobody else reads.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A certificate for both ends of TLS, with a new key. It trusts this authority alone; add others to `ca`.
    ///
    /// # Errors
    /// A name that no certificate can hold.
    pub fn issue(&self, subject: &Subject, now: SystemTime, days: u32) -> Result<Credentials, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = valid(CertificateParams::default(), now, days);
        params.distinguished_name = distinguished(&subject.name);
        for uri in &subject.uris {
            params.subject_alt_names.push(SanType::URI(uri.as_str().try_into()?));
        }
        for name in &subject.dns {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
        }
        params.subject_alt_names.extend(subject.addresses.iter().copied().map(SanType::IpAddress));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial(&key));
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Credentials { ca: self.certificate.clone(), certificate, key: key.serialize_pem() })
    }
}

/// When the first certificate of a PEM ends to be valid.
///
/// # Errors
/// There is none.
pub fn expiry(certificate: &str) -> Result<SystemTime, PkiError> {
    let seconds = read(certificate, |parsed| parsed.validity().not_after.timestamp())?;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

/// Looks at the first certificate of a PEM.
fn read<T>(certificate: &str, look: impl FnOnce(&X509Certificate<'_>) -> T) -> Result<T, PkiError> {
    let der =
        CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|_| PkiError::NotACertificate)?;
    let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| PkiError::NotACertificate)?;
    Ok(look(&parsed))
}

fn valid(mut params: CertificateParams, now: SystemTime, days: u32) -> CertificateParams {
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + DAY * days.min(DAYS_MAX)).into();
    params
}

fn distinguished(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// Of the key, which is new each time: so no two are equal, without a counter to keep (RFC 5280 §4.1.2.2: at most 20
/// octets, positive).
fn serial(key: &KeyPair) -> SerialNumber {
    let digest = model::section::Digest::of(key.public_key_raw());
    let mut octets = digest.as_bytes()[..16].to_vec();
    octets[0] &= 0x7f;
    SerialNumber::from(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000)
    }

    #[test]
    fn a_kept_authority_issues_as_before() {
        let authority = Authority::generate("switchboard", now(), 30).unwrap();
        let kept = Authority::from_pem(authority.certificate_pem(), &authority.key_pem()).unwrap();
        let credentials = kept.issue(&Subject::of(&Party::Operator), now(), 7).unwrap();
        assert_eq!(credentials.ca, authority.certificate_pem());
        assert_eq!(expiry(&credentials.certificate).unwrap(), now() + 7 * DAY);
        assert_eq!(expiry(&credentials.ca).unwrap(), now() + 30 * DAY);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let [one, other] = [(); 2].map(|()| Authority::generate("switchboard", now(), 30).unwrap());
        let mixed = Authority::from_pem(one.certificate_pem(), &other.key_pem());
        assert!(matches!(mixed, Err(PkiError::OtherKey)), "{mixed:?}");
        for (certificate, key) in [("", one.key_pem()), (one.certificate_pem(), String::new())] {
            assert!(Authority::from_pem(certificate, &key).is_err());
        }
    }

    #[test]
    fn a_key_never_prints() {
        let authority = Authority::generate("switchboard", now(), 30).unwrap();
        let credentials = authority.issue(&Subject::of(&Party::Operator), now(), 7).unwrap();
        let line = credentials.key.lines().nth(1).unwrap();
        let text = format!("{credentials:?} {authority:?}");
        assert!(text.contains("[redacted]") && !text.contains(line), "{text}");
    }

    #[test]
    fn what_is_no_certificate_has_no_expiry() {
        for bad in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(matches!(expiry(bad), Err(PkiError::NotACertificate)), "{bad}");
        }
    }
}
