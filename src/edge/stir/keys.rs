//! A key of ours and its certificate.

use jiff::Timestamp;
use openssl::{
    ecdsa::EcdsaSig,
    error::ErrorStack,
    hash::{MessageDigest, hash},
    pkey::{PKey, Private},
    x509::X509,
};

use super::trust::{is_of_p256, is_valid_at};

/// Signs for a trunk.
pub struct Signer {
    key: PKey<Private>,
    certificate: X509,
}

impl Signer {
    /// Of a private key and the certificate's chain, both PEM.
    ///
    /// # Errors
    /// What is wrong with them, as a sentence that tells nothing of the key.
    pub fn new(key: &[u8], chain: &[u8]) -> Result<Self, String> {
        let key = PKey::private_key_from_pem(key).map_err(|_| "its key is no private key in PEM")?;
        let mut chain = X509::stack_from_pem(chain).map_err(|_| "its certificate is no PEM")?.into_iter();
        let certificate = chain.next().ok_or("its certificate is empty")?;
        let public = certificate.public_key().map_err(|_| "its certificate's key cannot be read")?;
        if !is_of_p256(&public) {
            return Err("its certificate's key must be of the curve P-256 (RFC 8225 §8.1)".into());
        }
        if !public.public_eq(&key) {
            return Err("its key is not that of its certificate".into());
        }
        Ok(Self { key, certificate })
    }

    /// ES256 (RFC 7518 §3.4).
    ///
    /// # Errors
    /// The certificate is out of date, so that nobody would take the signature.
    pub fn sign(&self, text: &str, now: Timestamp) -> Result<[u8; 64], String> {
        if !is_valid_at(&self.certificate, now) {
            let (from, until) = (self.certificate.not_before(), self.certificate.not_after());
            return Err(format!("its certificate is valid from {from} until {until} alone"));
        }
        self.es256(text).map_err(|_| "its key cannot sign".into())
    }

    fn es256(&self, text: &str) -> Result<[u8; 64], ErrorStack> {
        let digest = hash(MessageDigest::sha256(), text.as_bytes())?;
        let signature = EcdsaSig::sign(&digest, self.key.ec_key()?.as_ref())?;
        let mut raw = [0; 64];
        for (half, number) in raw.chunks_exact_mut(32).zip([signature.r(), signature.s()]) {
            half.copy_from_slice(&number.to_vec_padded(32)?);
        }
        Ok(raw)
    }
}
