//! A provider's keys (JWK Set, RFC 7517), and signatures by them (RFC 7518, RFC 8037).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::Value;

use crate::clip;

/// Largest set, in octets.
pub const SET_MAX: usize = 256 * 1_024;

/// Keys of a set that are looked at.
const KEYS_MAX: usize = 64;

/// How an ID token may be signed. Nothing else is: neither `none`, nor by a secret that others know as well (HS256).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// By its name (RFC 7518 §3.1, RFC 8037 §3.1). None: it is none of these.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "PS256" => Some(Self::Ps256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// A set of public keys; those that no ID token may be signed with are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys(Vec<Key>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    id: Option<String>,
    /// The only algorithm that it is for, if it says so.
    algorithm: Option<Algorithm>,
    public: Public,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Public {
    /// Modulus and exponent, big-endian, without leading zeros.
    Rsa(Vec<u8>, Vec<u8>),
    /// A point of P-256, uncompressed.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// Which key of a set a token is signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'k> {
    /// This one.
    One(Signer<'k>),
    /// None that there is.
    None,
    /// It does not say, and there are several that it could be (Core 1.0 §10.1).
    Several,
}

/// A key, and how it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signer<'k>(&'k Key, Algorithm);

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Keys {
    /// Reads a set. A key that cannot be used, or is of a kind that is not known, is passed over.
    ///
    /// # Errors
    /// It is no set, or has no key that an ID token may be signed with.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        let set: Set = serde_json::from_slice(body)
            .map_err(|error| format!("its keys are no JWK Set: {}", clip(&error.to_string())))?;
        let keys: Vec<Key> = set.keys.into_iter().take(KEYS_MAX).filter_map(key).collect();
        if keys.is_empty() {
            return Err("it has no key for RS256, PS256, ES256 or EdDSA".to_owned());
        }
        Ok(Self(keys))
    }

    /// The key that a token is signed with, by what its header says.
    #[must_use]
    pub fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Found<'_> {
        let mut fitting = self.0.iter().filter(|key| {
            let is_meant = id.is_none() || key.id.as_deref() == id;
            is_meant && key.fits(algorithm)
        });
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Found::One(Signer(key, algorithm)),
            (Some(_), Some(_)) => Found::Several,
            (None, _) => Found::None,
        }
    }
}

impl Key {
    /// The kind of a key decides how it may be used, whatever a token says.
    fn fits(&self, algorithm: Algorithm) -> bool {
        let is_of_kind = match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => matches!(self.public, Public::Rsa(..)),
            Algorithm::Es256 => matches!(self.public, Public::P256(_)),
            Algorithm::EdDsa => matches!(self.public, Public::Ed25519(_)),
        };
        is_of_kind && self.algorithm.is_none_or(|only| only == algorithm)
    }
}

impl Signer<'_> {
    /// Whether a signature of this key over `text` holds.
    #[must_use]
    pub fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        let rsa = |n: &[u8], e: &[u8], parameters: &RsaParameters| {
            RsaPublicKeyComponents { n, e }.verify(parameters, text, signature)
        };
        let verified = match (&self.0.public, self.1) {
            (Public::Rsa(n, e), Algorithm::Ps256) => rsa(n, e, &RSA_PSS_2048_8192_SHA256),
            (Public::Rsa(n, e), _) => rsa(n, e, &RSA_PKCS1_2048_8192_SHA256),
            (Public::P256(point), _) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(text, signature)
            }
            (Public::Ed25519(key), _) => UnparsedPublicKey::new(&ED25519, key).verify(text, signature),
        };
        verified.is_ok()
    }
}

fn key(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let is_for_signatures = jwk.r#use.as_deref().is_none_or(|uses| uses == "sig")
        && jwk.key_ops.as_ref().is_none_or(|all| all.iter().any(|one| one == "verify"));
    if !is_for_signatures {
        return None;
    }
    let algorithm = match &jwk.alg {
        // A key for something else is for nothing here.
        Some(name) => Some(Algorithm::named(name)?),
        None => None,
    };
    let decoded = |part: &Option<String>| URL_SAFE_NO_PAD.decode(part.as_deref()?).ok();
    let exactly = |part: &Option<String>, octets: usize| decoded(part).filter(|part| part.len() == octets);
    let public = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => {
            let number = |part| {
                let octets = decoded(part)?;
                let start = octets.iter().position(|octet| *octet != 0)?;
                Some(octets[start..].to_vec())
            };
            Public::Rsa(number(&jwk.n)?, number(&jwk.e)?)
        }
        ("EC", Some("P-256")) => {
            let point = [vec![4], exactly(&jwk.x, 32)?, exactly(&jwk.y, 32)?];
            Public::P256(point.concat())
        }
        ("OKP", Some("Ed25519")) => Public::Ed25519(exactly(&jwk.x, 32)?),
        _ => return None,
    };
    Some(Key { id: jwk.kid, algorithm, public })
}
