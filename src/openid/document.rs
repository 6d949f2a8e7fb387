//! What a provider says of itself (OpenID Connect Discovery 1.0 §3), and where it says so.

use serde::Deserialize;

use crate::clip;

/// Largest document, in octets.
pub const DOCUMENT_MAX: usize = 256 * 1_024;

/// Longest address in one, in octets.
const ADDRESS_MAX: usize = 2_048;

/// Why a document is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It is something else.
    #[error("what stands at its address is no configuration of an OpenID provider: {0}")]
    Form(String),
    /// It speaks for somebody else (Discovery 1.0 §4.3).
    #[error(
        "its configuration names the issuer `{found}`, not `{wanted}`: `issuer` must be what the provider calls itself"
    )]
    Issuer {
        /// As the document has it.
        found: String,
        /// As the tenant has it.
        wanted: String,
    },
    /// Where something is to be fetched cannot be asked over TLS.
    #[error("its `{name}` is `{found}`, which is no https address")]
    Address {
        /// The member of the document.
        name: &'static str,
        /// As the document has it.
        found: String,
    },
    /// It takes clients' secrets only in ways that we do not have.
    #[error("it takes a client's secret by none of client_secret_basic and client_secret_post")]
    Authentication,
}

/// How a client's secret is shown at the token endpoint (Core 1.0 §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// As user and password of HTTP.
    Basic,
    /// In the form.
    Post,
}

/// What a provider says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Where browsers are sent.
    pub authorization_endpoint: String,
    /// Where codes are exchanged.
    pub token_endpoint: String,
    /// Where its keys are.
    pub jwks_uri: String,
    /// How a secret is shown to it. None: in no way that we have.
    pub authentication: Option<Authentication>,
}

#[derive(Deserialize)]
struct Written {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// Where the document of an issuer is (Discovery 1.0 §4).
#[must_use]
pub fn address(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer))
}

/// Scheme with host, and path with query, of an https address without user and fragment. None: it is none.
#[must_use]
pub fn parts(address: &str) -> Option<(&str, &str)> {
    let rest = address.strip_prefix("https://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let is_good = !host.is_empty()
        && !host.contains('@')
        && !path.contains('#')
        && address.len() <= ADDRESS_MAX
        && address.chars().all(|c| c.is_ascii_graphic());
    is_good.then(|| (&address[..address.len() - path.len()], path))
}

/// Reads a document, which must name the same issuer to the letter.
///
/// # Errors
/// What of it is of no use.
pub fn read(body: &[u8], issuer: &str) -> Result<Document, Fault> {
    let written: Written =
        serde_json::from_slice(body).map_err(|error| Fault::Form(clip(&error.to_string())))?;
    if written.issuer != issuer {
        return Err(Fault::Issuer { found: clip(&written.issuer), wanted: issuer.to_owned() });
    }
    for (name, address) in [
        ("authorization_endpoint", &written.authorization_endpoint),
        ("token_endpoint", &written.token_endpoint),
        ("jwks_uri", &written.jwks_uri),
    ] {
        if parts(address).is_none() {
            return Err(Fault::Address { name, found: clip(address) });
        }
    }
    let methods = written.token_endpoint_auth_methods_supported;
    let has = |method: &str| methods.as_ref().is_some_and(|all| all.iter().any(|one| one == method));
    // Nothing said is Basic (Discovery 1.0 §3).
    let authentication = if methods.is_none() || has("client_secret_basic") {
        Some(Authentication::Basic)
    } else {
        has("client_secret_post").then_some(Authentication::Post)
    };
    Ok(Document {
        authorization_endpoint: written.authorization_endpoint,
        token_endpoint: written.token_endpoint,
        jwks_uri: written.jwks_uri,
        authentication,
    })
}
