//! What we sign: a `shaken` for calls that begin with us, a `div` for calls that are handed on.

use crate::{
    Attestation,
    passport::{Kind, encoded, quoted},
};

/// What is to be signed. Numbers are canonical.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// RFC 8588.
    Shaken {
        /// Who calls.
        origin: String,
        /// Who is called.
        destination: String,
        /// How sure we are that the caller may use the number.
        attestation: Attestation,
        /// A UUID that tells us, and nobody else, whose call it is.
        origin_id: String,
    },
    /// RFC 8946.
    Div {
        /// Who called in the first place.
        origin: String,
        /// Who is called now.
        destination: String,
        /// Whom the call was for before.
        diverter: String,
    },
}

impl Claim {
    /// What kind of PASSporT it makes.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Shaken { .. } => Kind::Shaken,
            Self::Div { .. } => Kind::Div,
        }
    }

    /// The text that is signed: names in the order of their bytes, and no space (RFC 8225 §9).
    #[must_use]
    pub fn unsigned(&self, issued_at: i64, certificate_url: &str) -> String {
        let payload = match self {
            Self::Shaken { origin, destination, attestation, origin_id } => format!(
                "{{\"attest\":\"{attestation}\",\"dest\":{{\"tn\":[{}]}},\"iat\":{issued_at},\"orig\":{{\"tn\":{}}},\"origid\":{}}}",
                quoted(destination),
                quoted(origin),
                quoted(origin_id)
            ),
            Self::Div { origin, destination, diverter } => format!(
                "{{\"dest\":{{\"tn\":[{}]}},\"div\":{{\"tn\":{}}},\"iat\":{issued_at},\"orig\":{{\"tn\":{}}}}}",
                quoted(destination),
                quoted(diverter),
                quoted(origin)
            ),
        };
        let header = header(self.kind(), certificate_url);
        format!("{}.{}", encoded(&header), encoded(&payload))
    }
}

/// Header and payload of a PASSporT without extension.
pub(crate) fn plain_parts(url: &str, origin: &str, destination: &str, issued_at: i64) -> (String, String) {
    let payload = format!(
        "{{\"dest\":{{\"tn\":[{}]}},\"iat\":{issued_at},\"orig\":{{\"tn\":{}}}}}",
        quoted(destination),
        quoted(origin)
    );
    (header(Kind::Plain, url), payload)
}

fn header(kind: Kind, url: &str) -> String {
    let ppt = kind.ppt().map(|ppt| format!("\"ppt\":\"{ppt}\",")).unwrap_or_default();
    format!("{{\"alg\":\"ES256\",{ppt}\"typ\":\"passport\",\"x5u\":{}}}", quoted(url))
}
