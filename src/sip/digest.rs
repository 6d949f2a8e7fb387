//! Digest authentication (RFC 7616 as RFC 3261 §22 and RFC 8760 use it): challenges, answers to them, nonces.
//!
//! SHA-512-256, SHA-256 and MD5, each with `qop=auth` or without qop. `-sess` variants and `auth-int` are not known:
//! a challenge that wants them is left out, an answer that uses them does not parse.
//!
//! Time and what must be random are inputs, as everywhere in this crate.

use std::fmt;

use hmac::digest::Digest as _;
use md5::Md5;
use sha2::{Sha256, Sha512_256};
use subtle::ConstantTimeEq as _;

use crate::{
    endpoint::Header,
    wire::{Message, Name},
};

mod nonce;
mod parse;

pub use nonce::{Freshness, NONCE_LIFE_MS, Nonces, Taken, Window};

/// Most challenges of one message that are looked at.
const CHALLENGES_MAX: usize = 16;

/// A hash algorithm (RFC 8760 §2), weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// `MD5`, which is what no algorithm parameter means (RFC 7616 §3.3).
    Md5,
    /// `SHA-256`
    Sha256,
    /// `SHA-512-256`
    Sha512256,
}

impl Algorithm {
    /// All of them, strongest first: the order in which challenges are written (RFC 8760 §2.3).
    pub const ALL: [Self; 3] = [Self::Sha512256, Self::Sha256, Self::Md5];

    /// As it stands in a header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
            Self::Sha512256 => "SHA-512-256",
        }
    }

    /// From a header's text, in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(text))
    }

    /// The hash of the parts with a colon between them, in lower-case hex.
    fn hash(self, parts: &[&str]) -> String {
        let text = parts.join(":");
        match self {
            Self::Md5 => hex(&Md5::digest(text)),
            Self::Sha256 => hex(&Sha256::digest(text)),
            Self::Sha512256 => hex(&Sha512_256::digest(text)),
        }
    }
}

/// What a user proves to know. Prints `[redacted]`.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The password itself.
    Password(String),
    /// `H(username:realm:password)` in hex, for each algorithm that it is known for.
    Ha1 {
        /// For MD5.
        md5: Option<String>,
        /// For SHA-256.
        sha256: Option<String>,
        /// For SHA-512-256.
        sha512_256: Option<String>,
    },
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Secret {
    /// What an unknown user is checked against, so that the answer takes as long as for a known one. Nobody's.
    #[must_use]
    pub const fn of_nobody() -> Self {
        Self::Password(String::new())
    }

    /// Whether it can be used with an algorithm.
    #[must_use]
    pub const fn has(&self, algorithm: Algorithm) -> bool {
        match (self, algorithm) {
            (Self::Password(_), _) => true,
            (Self::Ha1 { md5, .. }, Algorithm::Md5) => md5.is_some(),
            (Self::Ha1 { sha256, .. }, Algorithm::Sha256) => sha256.is_some(),
            (Self::Ha1 { sha512_256, .. }, Algorithm::Sha512256) => sha512_256.is_some(),
        }
    }

    /// `H(username:realm:password)` (RFC 7616 §3.4.2), in lower-case hex.
    #[must_use]
    pub fn ha1(&self, algorithm: Algorithm, username: &str, realm: &str) -> Option<String> {
        let known = match (self, algorithm) {
            (Self::Password(password), _) => return Some(algorithm.hash(&[username, realm, password])),
            (Self::Ha1 { md5, .. }, Algorithm::Md5) => md5,
            (Self::Ha1 { sha256, .. }, Algorithm::Sha256) => sha256,
            (Self::Ha1 { sha512_256, .. }, Algorithm::Sha512256) => sha512_256,
        };
        known.as_ref().map(|known| known.to_ascii_lowercase())
    }
}

/// What we answer challenges with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Its secret.
    pub secret: Secret,
    /// The weakest algorithm that is used; a challenge with a weaker one is not answered.
    pub least: Algorithm,
}

/// A challenge of a `WWW-Authenticate` or `Proxy-Authenticate` field. Texts are those between the quotes, with their
/// backslashes, which is what the hashes are over (RFC 7616 §3.4.1, `unq`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Whose users are meant.
    pub realm: String,
    /// To be given back.
    pub nonce: String,
    /// To be given back.
    pub opaque: Option<String>,
    /// Algorithm.
    pub algorithm: Algorithm,
    /// Whether `qop="auth"` is offered; else the answer has no qop (RFC 7616 §3.4.1, for RFC 2069).
    pub qop: bool,
    /// The secret was right, only the nonce was too old.
    pub stale: bool,
}

impl Challenge {
    /// All challenges of a 401 or 407 that we know, in order: those of `WWW-Authenticate` or, with `of_proxy`, of
    /// `Proxy-Authenticate`.
    #[must_use]
    pub fn all(response: &Message, of_proxy: bool) -> Vec<Self> {
        let name = if of_proxy { Name::ProxyAuthenticate } else { Name::WwwAuthenticate };
        response.headers(name).flat_map(parse::challenges).take(CHALLENGES_MAX).collect()
    }

    /// Of several challenges the one with the strongest algorithm, at least `least`; of equals the first.
    #[must_use]
    pub fn strongest(challenges: &[Self], least: Algorithm) -> Option<&Self> {
        let usable = challenges.iter().filter(|challenge| challenge.algorithm >= least);
        usable.rev().max_by_key(|challenge| challenge.algorithm)
    }

    /// As the value of a header field.
    #[must_use]
    pub fn to_value(&self) -> String {
        let mut value = format!(
            "Digest realm=\"{}\", nonce=\"{}\", algorithm={}",
            self.realm,
            self.nonce,
            self.algorithm.as_str()
        );
        if let Some(opaque) = &self.opaque {
            value += &format!(", opaque=\"{opaque}\"");
        }
        if self.qop {
            value += ", qop=\"auth\"";
        }
        if self.stale {
            value += ", stale=true";
        }
        value
    }

    /// The answer to it. `nc` counts the answers with this nonce from 1; `cnonce` must be hard to guess.
    ///
    /// `None`: the secret is not known for its algorithm.
    #[must_use]
    pub fn answer(
        &self,
        credentials: &Credentials,
        method: &str,
        uri: &str,
        nc: u32,
        cnonce: &str,
    ) -> Option<Answer> {
        let username = parse::escaped(&credentials.username);
        let ha1 = credentials.secret.ha1(self.algorithm, &username, &self.realm)?;
        let mut answer = Answer {
            username,
            realm: self.realm.clone(),
            nonce: self.nonce.clone(),
            uri: uri.to_owned(),
            response: String::new(),
            algorithm: self.algorithm,
            names_algorithm: true,
            opaque: self.opaque.clone(),
            qop: self.qop.then(|| Qop { nc, cnonce: cnonce.to_owned() }),
        };
        answer.response = answer.expected(&ha1, method);
        Some(answer)
    }
}

/// The parameters of `qop=auth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qop {
    /// How many requests used this nonce, this one included.
    pub nc: u32,
    /// The client's nonce.
    pub cnonce: String,
}

/// Credentials of an `Authorization` or `Proxy-Authorization` field. Texts are as those of [`Challenge`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Who says that it is.
    pub username: String,
    /// The challenge's realm.
    pub realm: String,
    /// The challenge's nonce.
    pub nonce: String,
    /// The request's URI, which proxies may have changed since (RFC 3261 §22.4).
    pub uri: String,
    /// The proof, in hex.
    pub response: String,
    /// Algorithm.
    pub algorithm: Algorithm,
    /// Whether the algorithm parameter is there; without it MD5 is meant.
    pub names_algorithm: bool,
    /// The challenge's opaque.
    pub opaque: Option<String>,
    /// `None`: there is no qop.
    pub qop: Option<Qop>,
}

impl Answer {
    /// All Digest credentials of a request that we can read, in order: those of `Authorization` or, with `of_proxy`,
    /// of `Proxy-Authorization`.
    #[must_use]
    pub fn all(request: &Message, of_proxy: bool) -> Vec<Self> {
        let name = if of_proxy { Name::ProxyAuthorization } else { Name::Authorization };
        request.headers(name).flat_map(parse::answers).take(CHALLENGES_MAX).collect()
    }

    /// As the value of a header field.
    #[must_use]
    pub fn to_value(&self) -> String {
        let mut value = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{}\", response=\"{}\"",
            self.username, self.realm, self.nonce, self.uri, self.response
        );
        if self.names_algorithm {
            value += &format!(", algorithm={}", self.algorithm.as_str());
        }
        if let Some(opaque) = &self.opaque {
            value += &format!(", opaque=\"{opaque}\"");
        }
        if let Some(Qop { nc, cnonce }) = &self.qop {
            value += &format!(", qop=auth, nc={nc:08x}, cnonce=\"{cnonce}\"");
        }
        value
    }

    /// Whether its proof is right for a secret, in a time that does not depend on where it is wrong.
    ///
    /// Nonce, realm and URI are for the caller to check.
    #[must_use]
    pub fn is_right(&self, secret: &Secret, method: &str) -> bool {
        let (ha1, known) = match secret.ha1(self.algorithm, &self.username, &self.realm) {
            Some(ha1) => (ha1, true),
            None => (String::new(), false),
        };
        let expected = self.expected(&ha1, method);
        let same = expected.as_bytes().ct_eq(self.response.to_ascii_lowercase().as_bytes());
        bool::from(same) & known
    }

    /// RFC 7616 §3.4.1.
    fn expected(&self, ha1: &str, method: &str) -> String {
        let ha2 = self.algorithm.hash(&[method, &self.uri]);
        match &self.qop {
            Some(Qop { nc, cnonce }) => {
                self.algorithm.hash(&[ha1, &self.nonce, &format!("{nc:08x}"), cnonce, "auth", &ha2])
            }
            None => self.algorithm.hash(&[ha1, &self.nonce, &ha2]),
        }
    }
}

/// The fields that answer a 401 or 407: for each realm its strongest challenge (RFC 3261 §22.2, §22.3, RFC 8760
/// §2.4). Empty when none can be answered, and then the response is final.
///
/// `uri` is the Request-URI of the request that was challenged, `nc` and `cnonce` are as in [`Challenge::answer`].
#[must_use]
pub fn answers(
    response: &Message,
    credentials: &Credentials,
    method: &str,
    uri: &str,
    nc: u32,
    cnonce: &str,
) -> Vec<Header> {
    let mut headers = Vec::new();
    for (of_proxy, name) in [(false, "Authorization"), (true, "Proxy-Authorization")] {
        let mut left = Challenge::all(response, of_proxy);
        left.retain(|challenge| credentials.secret.has(challenge.algorithm));
        while let Some(first) = left.first() {
            let realm = first.realm.clone();
            let (here, elsewhere) = left.into_iter().partition(|challenge| challenge.realm == realm);
            left = elsewhere;
            let answer = Challenge::strongest(&here, credentials.least)
                .and_then(|challenge| challenge.answer(credentials, method, uri, nc, cnonce));
            headers.extend(answer.map(|answer| Header::new(name, answer.to_value())));
        }
    }
    headers
}

/// Lower-case hex.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
