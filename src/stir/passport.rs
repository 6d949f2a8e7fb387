//! A PASSporT: a JSON Web Signature over who calls whom, and when (RFC 8225).

use std::fmt::Write;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use crate::{Attestation, Fault, number::canonical};

/// Longest part of one, in base64 characters: what carriers send is below 600.
pub const PART_MAX: usize = 4_096;

/// Longest URL of a certificate.
pub const URL_MAX: usize = 1_024;

/// Most destinations of one.
pub const DESTINATIONS_MAX: usize = 32;

/// What kind it is of: what its claims mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// RFC 8225 alone.
    Plain,
    /// RFC 8588.
    Shaken,
    /// RFC 8946.
    Div,
}

impl Kind {
    /// Of a `ppt`. None: an extension that is not known here.
    #[must_use]
    pub fn of(ppt: Option<&str>) -> Option<Self> {
        match ppt {
            None => Some(Self::Plain),
            Some("shaken") => Some(Self::Shaken),
            Some("div") => Some(Self::Div),
            Some(_) => None,
        }
    }

    /// Its `ppt`.
    #[must_use]
    pub const fn ppt(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Shaken => Some("shaken"),
            Self::Div => Some("div"),
        }
    }
}

/// Somebody: a telephone number in its canonical form, or a URI.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// `tn`
    Number(String),
    /// `uri`
    Uri(String),
}

/// A fingerprint of the caller's media keys (RFC 8225 §5.2.2).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MediaKey {
    /// In lower case, such as `sha-256`.
    pub algorithm: String,
    /// Hexadecimal digits in upper case, without colons.
    pub digest: String,
}

/// What one claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Who calls.
    pub origin: Party,
    /// Who is called.
    pub destinations: Vec<Party>,
    /// When it was signed, in seconds since 1970.
    pub issued_at: i64,
    /// The caller's media keys, sorted. Empty: none are claimed.
    pub media_keys: Vec<MediaKey>,
    /// How sure the signer is. `shaken` alone.
    pub attestation: Option<Attestation>,
    /// Where the call came in, as its carrier alone can tell. `shaken` alone.
    pub origin_id: Option<String>,
    /// Who diverted the call. `div` alone.
    pub diverter: Option<Party>,
}

/// A PASSporT that can be read; whether it holds is to be verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passport {
    /// What kind it is of.
    pub kind: Kind,
    /// Where its certificate is.
    pub certificate_url: String,
    /// What it claims.
    pub claims: Claims,
    /// What was signed.
    pub signed: String,
    /// ES256: r and s, 32 octets each (RFC 7518 §3.4).
    pub signature: [u8; 64],
}

impl Passport {
    /// Reads header and payload, as they were sent.
    ///
    /// # Errors
    /// [`Fault::Missing`]: it is of a kind that is not known here, which is as if it were not there.
    pub fn read(header: &str, payload: &str, signature: &str) -> Result<Self, Fault> {
        let head = object("header", header)?;
        let ppt = text(&head, "ppt");
        let kind = Kind::of(ppt).ok_or_else(|| {
            Fault::Missing(format!("`ppt` {:?} is not known here", clip(ppt.unwrap_or(""), 32)))
        })?;
        if head.contains_key("crit") {
            return invalid("its header has `crit`, and nothing that it could name is known here");
        }
        for (name, wanted) in [("typ", "passport"), ("alg", "ES256")] {
            if text(&head, name) != Some(wanted) {
                return invalid(&format!("`{name}` of its header must be `{wanted}`"));
            }
        }
        let url = text(&head, "x5u").filter(|url| url.len() <= URL_MAX);
        let Some(url) = url else { return invalid("its header has no `x5u` of a usable length") };
        let claims = claims(kind, &object("payload", payload)?)?;
        let signature = self::signature(signature)?;
        let signed = format!("{header}.{payload}");
        Ok(Self { kind, certificate_url: url.to_owned(), claims, signed, signature })
    }
}

/// Reads a signature.
///
/// # Errors
/// It is no ES256.
pub fn signature(text: &str) -> Result<[u8; 64], Fault> {
    let bytes = decoded("signature", text)?;
    bytes.try_into().or_else(|_| invalid("its signature is no ES256: that has 64 octets"))
}

/// A JSON text in the form that is signed: no space, and base64 (RFC 8225 §9 for the order, which is the caller's).
pub(crate) fn encoded(json: &str) -> String {
    URL_SAFE_NO_PAD.encode(json)
}

/// The base64 of a signature.
#[must_use]
pub fn encoded_signature(signature: &[u8; 64]) -> String {
    URL_SAFE_NO_PAD.encode(signature)
}

/// A JSON string (RFC 8259 §7), without escapes that need not be (RFC 8225 §9).
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            control if control < ' ' => {
                // Writing to a String cannot fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn claims(kind: Kind, payload: &Map<String, Value>) -> Result<Claims, Fault> {
    let origin = payload.get("orig").and_then(one_party);
    let Some(origin) = origin else { return invalid("`orig` must be one number or one URI") };
    let destinations = payload.get("dest").map(parties).unwrap_or_default();
    if destinations.is_empty() || destinations.len() > DESTINATIONS_MAX {
        return invalid("`dest` must name somebody, and not too many");
    }
    let Some(issued_at) = payload.get("iat").and_then(Value::as_i64) else {
        return invalid("`iat` must be a number of seconds");
    };
    let media_keys = match payload.get("mky") {
        None => Vec::new(),
        Some(keys) => media_keys(keys)
            .ok_or_else(|| Fault::Invalid("`mky` must list fingerprints with `alg` and `dig`".into()))?,
    };
    let mut claims = Claims {
        origin,
        destinations,
        issued_at,
        media_keys,
        attestation: None,
        origin_id: None,
        diverter: None,
    };
    match kind {
        Kind::Plain => {}
        Kind::Shaken => {
            claims.attestation = match text(payload, "attest") {
                Some("A") => Some(Attestation::A),
                Some("B") => Some(Attestation::B),
                Some("C") => Some(Attestation::C),
                _ => return invalid("`attest` of a `shaken` must be A, B or C"),
            };
            claims.origin_id = text(payload, "origid").map(str::to_owned);
            if claims.origin_id.is_none() {
                return invalid("a `shaken` must have `origid`");
            }
        }
        Kind::Div => {
            claims.diverter = payload.get("div").and_then(one_party);
            if claims.diverter.is_none() {
                return invalid("`div` must be one number or one URI");
            }
        }
    }
    Ok(claims)
}

/// `{"tn": "…"}` or `{"uri": "…"}`.
fn one_party(value: &Value) -> Option<Party> {
    let value = value.as_object()?;
    match (text(value, "tn"), text(value, "uri")) {
        (Some(number), None) => canonical(number).map(Party::Number),
        (None, Some(uri)) => Some(Party::Uri(uri.to_owned())),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

/// `{"tn": ["…"], "uri": ["…"]}`; what is no number among numbers is left out, for it can match nobody.
fn parties(value: &Value) -> Vec<Party> {
    let list = |name: &str| {
        let list = value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(Value::as_str).take(DESTINATIONS_MAX + 1).collect::<Vec<_>>()
    };
    let numbers = list("tn").into_iter().filter_map(canonical).map(Party::Number);
    numbers.chain(list("uri").into_iter().map(|uri| Party::Uri(uri.to_owned()))).collect()
}

fn media_keys(value: &Value) -> Option<Vec<MediaKey>> {
    let list = value.as_array().filter(|list| !list.is_empty() && list.len() <= DESTINATIONS_MAX)?;
    let key = |value: &Value| {
        let value = value.as_object()?;
        MediaKey::new(text(value, "alg")?, text(value, "dig")?)
    };
    let mut keys = list.iter().map(key).collect::<Option<Vec<_>>>()?;
    keys.sort();
    keys.dedup();
    Some(keys)
}

impl MediaKey {
    /// None: the digest is none.
    #[must_use]
    pub fn new(algorithm: &str, digest: &str) -> Option<Self> {
        let digest: String = digest.chars().filter(|character| *character != ':').collect();
        let fits = !digest.is_empty()
            && digest.len() <= 128
            && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
            && algorithm.len() <= 32;
        fits.then(|| Self { algorithm: algorithm.to_ascii_lowercase(), digest: digest.to_ascii_uppercase() })
    }
}

fn object(what: &str, part: &str) -> Result<Map<String, Value>, Fault> {
    let bytes = decoded(what, part)?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) | Err(_) => invalid(&format!("its {what} is no JSON object")),
    }
}

fn decoded(what: &str, part: &str) -> Result<Vec<u8>, Fault> {
    if part.len() > PART_MAX {
        return invalid(&format!("its {what} is longer than {PART_MAX} characters"));
    }
    URL_SAFE_NO_PAD.decode(part).or_else(|_| invalid(&format!("its {what} is no base64url")))
}

fn text<'v>(object: &'v Map<String, Value>, name: &str) -> Option<&'v str> {
    object.get(name).and_then(Value::as_str)
}

pub(crate) fn invalid<T>(what: &str) -> Result<T, Fault> {
    Err(Fault::Invalid(what.to_owned()))
}

/// The beginning of what a stranger wrote.
pub(crate) fn clip(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}
