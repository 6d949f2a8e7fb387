//! A code for a token: the request to the token endpoint (Core 1.0 §3.1.3.1, RFC 7636 §4.5), and its answer.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use crate::{
    clip,
    document::{Authentication, Document, Fault},
};

/// Largest answer, in octets.
pub const ANSWER_MAX: usize = 64 * 1_024;

/// A code, and what goes with it.
pub struct Code<'a> {
    /// As the browser came back with it.
    pub code: &'a str,
    /// What its challenge was made of (RFC 7636 §4.1).
    pub verifier: &'a str,
    /// Where the browser was sent back to.
    pub redirect_uri: &'a str,
}

/// Who asks.
pub struct Client<'a> {
    /// What the provider calls us.
    pub id: &'a str,
    /// None: a public client.
    pub secret: Option<&'a str>,
}

/// A request to the token endpoint: `application/x-www-form-urlencoded`.
pub struct Form {
    /// Its body.
    pub body: String,
    /// Value of `Authorization`. None: it has none.
    pub authorization: Option<String>,
}

impl fmt::Debug for Code<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Debug for Client<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.id).finish()
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Writes the request.
///
/// # Errors
/// [`Fault::Authentication`].
pub fn form(document: &Document, client: &Client<'_>, code: &Code<'_>) -> Result<Form, Fault> {
    let mut fields = vec![
        ("grant_type", "authorization_code"),
        ("code", code.code),
        ("redirect_uri", code.redirect_uri),
        ("code_verifier", code.verifier),
    ];
    let mut authorization = None;
    match (client.secret, document.authentication) {
        (None, _) => fields.push(("client_id", client.id)),
        (Some(_), None) => return Err(Fault::Authentication),
        // RFC 6749 §2.3.1: each is encoded before they are joined.
        (Some(secret), Some(Authentication::Basic)) => {
            let joined = format!("{}:{}", encoded(client.id), encoded(secret));
            authorization = Some(format!("Basic {}", STANDARD.encode(joined)));
        }
        (Some(secret), Some(Authentication::Post)) => {
            fields.extend([("client_id", client.id), ("client_secret", secret)]);
        }
    }
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    Ok(Form { body: fields.join("&"), authorization })
}

/// RFC 6749 Appendix B.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(octet.into()),
            _ => encoded.push_str(&format!("%{octet:02X}")),
        }
    }
    encoded
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not take the code: it was used, is too old, of another client, or its verifier or address is another one.
    #[error("the provider does not take the code ({0})")]
    Code(String),
    /// It does not take us.
    #[error(
        "the provider does not take us as a client ({0}): `clientId`, `secretRef` or `redirectUri` is not as it has them"
    )]
    Client(String),
    /// It is not well, or speaks otherwise.
    #[error("the token endpoint answers {0}")]
    Answer(String),
}

#[derive(Deserialize)]
struct Answered {
    id_token: Option<String>,
    error: Option<String>,
}

/// Reads the answer: the ID token.
///
/// # Errors
/// Why there is none.
pub fn read(status: u16, body: &[u8]) -> Result<String, Refusal> {
    let answered: Option<Answered> = serde_json::from_slice(body).ok();
    if (200..300).contains(&status) {
        let token = answered.and_then(|answered| answered.id_token);
        return token.ok_or_else(|| {
            Refusal::Answer(format!("{status} without an id_token: it is asked for by the scope `openid`"))
        });
    }
    let error = answered.and_then(|answered| answered.error);
    match (status, error.as_deref()) {
        // RFC 6749 §5.2.
        (400 | 401, Some("invalid_client" | "unauthorized_client" | "unsupported_grant_type")) | (401, _) => {
            Err(Refusal::Client(error.as_deref().map_or_else(|| status.to_string(), clip)))
        }
        (400, Some(error)) => Err(Refusal::Code(clip(error))),
        (300..=399, _) => Err(Refusal::Answer(format!("{status}, a redirection, which is not followed"))),
        _ => Err(Refusal::Answer(status.to_string())),
    }
}
