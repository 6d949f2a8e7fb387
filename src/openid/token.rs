//! Whether an ID token holds (OpenID Connect Core 1.0 §3.1.3.7), and whose it is.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use crate::{
    clip,
    keys::{Algorithm, Found, Keys},
};

/// Longest token, in octets.
pub const TOKEN_MAX: usize = 16 * 1_024;

/// How far clocks may be apart, in seconds.
pub const SKEW_SECONDS: i64 = 60;

/// How long after its issue a token may be used, in seconds, however long it says that it holds.
pub const AGE_SECONDS_MAX: i64 = 600;

/// Longest subject, in octets.
const SUBJECT_MAX: usize = 255;

/// What a token must say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Whose tokens are taken.
    pub issuer: &'a str,
    /// What the provider calls us.
    pub client_id: &'a str,
    /// What the page made up for this sign-in.
    pub nonce: &'a str,
    /// The claim that says who it is.
    pub subject_claim: &'a str,
}

/// A token that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The value of the claim that says who it is.
    pub subject: String,
    /// By what it is told apart from others: the hash of what is signed. A signature could be written in another way.
    pub id: [u8; 32],
    /// When it holds no more, whoever asks; in seconds since 1970.
    pub until: i64,
}

/// Why a token does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It is none.
    #[error("the token is no signed JWT: {0}")]
    Form(&'static str),
    /// It is signed in a way that proves nothing to us.
    #[error("the token says `alg` {0}; it must be one of RS256, PS256, ES256 and EdDSA")]
    Algorithm(String),
    /// No key of the provider's has its `kid` and fits its `alg`.
    #[error("the token is signed with a key that the provider does not publish")]
    UnknownKey,
    /// It names no key, and there are several.
    #[error("the token has no `kid`, and the provider has several keys")]
    WhichKey,
    /// The signature does not hold.
    #[error("the signature of the token does not hold")]
    Signature,
    /// A claim is not there, or of another form.
    #[error("the token must have the claim `{0}`")]
    Missing(String),
    /// It is somebody else's.
    #[error("`iss` of the token is {0}, which is not the tenant's issuer")]
    Issuer(String),
    /// It is for somebody else.
    #[error("the token is for {0} (`aud`), not for us")]
    Audience(String),
    /// It was issued to somebody else.
    #[error("the token was issued to {0} (`azp`), not to us")]
    Party(String),
    /// Its time is over.
    #[error("the token has expired, {0} s ago")]
    Expired(i64),
    /// It is from the future.
    #[error("`{0}` of the token is {1} s ahead of our clock")]
    Early(&'static str, i64),
    /// It was issued long ago.
    #[error("the token was issued {0} s ago; at most {AGE_SECONDS_MAX} s may pass until it is used")]
    Old(i64),
    /// It belongs to another sign-in.
    #[error("`nonce` of the token is not the one of this sign-in")]
    Nonce,
    /// The provider does not vouch for the address.
    #[error(
        "the token has no `email_verified: true`: an address of mail says who it is only where the provider has verified it"
    )]
    Unverified,
}

/// Looks at a token, given the provider's keys and the time in seconds since 1970.
///
/// # Errors
/// The first thing for which it does not hold. Nothing that it says is looked at before its signature holds.
pub fn verify(token: &str, keys: &Keys, expected: &Expected<'_>, now: i64) -> Result<Verified, Refused> {
    if token.len() > TOKEN_MAX {
        return Err(Refused::Form("it is too long"));
    }
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refused::Form("it has not three parts"));
    };
    let header_of = object(header).ok_or(Refused::Form("its header is no JSON object"))?;
    let signed = &token[..header.len() + 1 + payload.len()];
    let signature =
        URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refused::Form("its signature is no base64url"))?;
    signed_by_provider(&header_of, keys, signed, &signature)?;
    let claims = Claims(object(payload).ok_or(Refused::Form("its payload is no JSON object"))?);
    for_us(&claims, expected)?;
    let until = in_time(&claims, now)?;
    if claims.text("nonce") != Some(expected.nonce) {
        return Err(Refused::Nonce);
    }
    let subject = subject(&claims, expected.subject_claim)?;
    let mut id = [0; 32];
    id.copy_from_slice(digest(&SHA256, signed.as_bytes()).as_ref());
    Ok(Verified { subject, id, until })
}

fn signed_by_provider(
    header: &Map<String, Value>,
    keys: &Keys,
    signed: &str,
    signature: &[u8],
) -> Result<(), Refused> {
    let text = |name: &str| header.get(name).and_then(Value::as_str);
    let named = text("alg").unwrap_or("nothing");
    let algorithm = Algorithm::named(named).ok_or_else(|| Refused::Algorithm(clip(named)))?;
    // RFC 7515 §4.1.11: what must be understood and is not.
    if header.contains_key("crit") {
        return Err(Refused::Form("its header has `crit`"));
    }
    // RFC 8725 §3.11: other tokens of the same provider are signed with the same keys.
    if header
        .get("typ")
        .is_some_and(|kind| !kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("JWT")))
    {
        return Err(Refused::Form("its `typ` is not JWT"));
    }
    match keys.find(text("kid"), algorithm) {
        Found::One(signer) if signer.verifies(signed.as_bytes(), signature) => Ok(()),
        Found::One(_) => Err(Refused::Signature),
        Found::None => Err(Refused::UnknownKey),
        Found::Several => Err(Refused::WhichKey),
    }
}

/// Core 1.0 §3.1.3.7, 2 to 5.
fn for_us(claims: &Claims, expected: &Expected<'_>) -> Result<(), Refused> {
    let issuer = claims.text("iss").ok_or_else(|| Refused::Missing("iss".into()))?;
    if issuer != expected.issuer {
        return Err(Refused::Issuer(clip(issuer)));
    }
    let audiences = claims.audiences().ok_or_else(|| Refused::Missing("aud".into()))?;
    if !audiences.contains(&expected.client_id) {
        return Err(Refused::Audience(clip(&audiences.join(", "))));
    }
    match claims.0.get("azp") {
        Some(party) if party.as_str() == Some(expected.client_id) => Ok(()),
        Some(party) => Err(Refused::Party(clip(party.as_str().unwrap_or("what is no text")))),
        None if audiences.len() > 1 => Err(Refused::Missing("azp".into())),
        None => Ok(()),
    }
}

/// Core 1.0 §3.1.3.7, 9 and 10, and `nbf` of RFC 7519 §4.1.5. Gives when the token holds no more.
fn in_time(claims: &Claims, now: i64) -> Result<i64, Refused> {
    let expires = claims.time("exp").ok_or_else(|| Refused::Missing("exp".into()))?;
    let issued = claims.time("iat").ok_or_else(|| Refused::Missing("iat".into()))?;
    let over = now.saturating_sub(expires);
    if over > SKEW_SECONDS {
        return Err(Refused::Expired(over));
    }
    for (name, time) in [("iat", Some(issued)), ("nbf", claims.time("nbf"))] {
        let ahead = time.map_or(0, |time| time.saturating_sub(now));
        if ahead > SKEW_SECONDS {
            return Err(Refused::Early(name, ahead));
        }
    }
    let age = now.saturating_sub(issued);
    if age > AGE_SECONDS_MAX + SKEW_SECONDS {
        return Err(Refused::Old(age));
    }
    let latest = issued.saturating_add(AGE_SECONDS_MAX).min(expires);
    Ok(latest.saturating_add(SKEW_SECONDS))
}

fn subject(claims: &Claims, claim: &str) -> Result<String, Refused> {
    // `sub` is there in every ID token (Core 1.0 §2), whoever it is that we look for.
    let text = |name: &str| claims.text(name).filter(|text| !text.is_empty() && text.len() <= SUBJECT_MAX);
    text("sub").ok_or_else(|| Refused::Missing("sub".into()))?;
    let subject = text(claim).ok_or_else(|| Refused::Missing(claim.to_owned()))?;
    if claim == "email" && claims.0.get("email_verified") != Some(&Value::Bool(true)) {
        return Err(Refused::Unverified);
    }
    Ok(subject.to_owned())
}

struct Claims(Map<String, Value>);

impl Claims {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// A NumericDate (RFC 7519 §2), which may have a fraction.
    fn time(&self, name: &str) -> Option<i64> {
        let value = self.0.get(name)?;
        value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
    }

    /// One or several (RFC 7519 §4.1.3).
    fn audiences(&self) -> Option<Vec<&str>> {
        match self.0.get("aud")? {
            Value::String(one) => Some(vec![one]),
            Value::Array(several) if !several.is_empty() => several.iter().map(Value::as_str).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    let octets = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&octets).ok()
}
