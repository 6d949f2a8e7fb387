//! The Identity header field: a PASSporT, whole or its signature alone, and where its certificate is (RFC 8224 §4).

use crate::{
    Fault,
    claim::{Claim, plain_parts},
    passport::{Kind, Passport, URL_MAX, clip, encoded, invalid, signature},
};

/// Longest value that is looked at, in octets.
pub const VALUE_MAX: usize = 12_288;

/// What a compact form leaves out, as the request itself says it (RFC 8224 §7).
#[derive(Debug, Clone, Copy)]
pub struct Left<'a> {
    /// Canonical number of the caller.
    pub origin: &'a str,
    /// Canonical number that is called.
    pub destination: &'a str,
    /// Date of the request, in seconds since 1970.
    pub date: Option<i64>,
}

/// Reads one value.
///
/// # Errors
/// [`Fault::Missing`]: it is of a kind that is not known here.
pub fn read(value: &str, left: Left<'_>) -> Result<Passport, Fault> {
    if value.len() > VALUE_MAX {
        return invalid(&format!("it is longer than {VALUE_MAX} octets"));
    }
    let mut pieces = split(value).into_iter();
    let token = pieces.next().unwrap_or_default().trim();
    let mut parameters = Parameters::default();
    for piece in pieces {
        parameters.take(piece.trim())?;
    }
    let Some(info) = parameters.info.filter(|info| !info.is_empty() && info.len() <= URL_MAX) else {
        return invalid("it has no `info` of a usable length");
    };
    if parameters.alg.is_some_and(|alg| !alg.eq_ignore_ascii_case("ES256")) {
        return invalid("`alg` must be ES256");
    }
    let ppt = parameters.ppt.as_deref();
    let kind = Kind::of(ppt).ok_or_else(|| {
        Fault::Missing(format!("`ppt` {:?} is not known here", clip(ppt.unwrap_or_default(), 32)))
    })?;
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(sign), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return invalid("its PASSporT has no three parts");
    };
    if header.is_empty() && payload.is_empty() {
        return compact(kind, info, sign, left);
    }
    let passport = Passport::read(header, payload, sign)?;
    // §4.1: what is said twice is said alike.
    if passport.kind != kind {
        return invalid("its `ppt` is not that of its PASSporT");
    }
    if passport.certificate_url != info {
        return invalid("its `info` is not the `x5u` of its PASSporT");
    }
    Ok(passport)
}

/// What was left out is made anew from the request (RFC 8224 §7, RFC 8225 §7).
fn compact(kind: Kind, info: &str, sign: &str, left: Left<'_>) -> Result<Passport, Fault> {
    if kind != Kind::Plain {
        return invalid("a compact form of an extension leaves out what only its signer knows");
    }
    let Some(date) = left.date else {
        return invalid("its form is compact, and the request has no Date to go with it");
    };
    let (header, payload) = plain_parts(info, left.origin, left.destination, date);
    let signature = signature(sign)?;
    let passport = Passport::read(&encoded(&header), &encoded(&payload), sign)?;
    Ok(Passport { signature, ..passport })
}

/// A value to be sent.
#[must_use]
pub fn write(claim: &Claim, certificate_url: &str, signed: &str, signature: &[u8; 64]) -> String {
    let signature = crate::passport::encoded_signature(signature);
    let ppt = claim.kind().ppt().map(|ppt| format!(";ppt={ppt}")).unwrap_or_default();
    format!("{signed}.{signature};info=<{certificate_url}>;alg=ES256{ppt}")
}

#[derive(Debug, Default)]
struct Parameters<'v> {
    info: Option<&'v str>,
    alg: Option<&'v str>,
    ppt: Option<String>,
}

impl<'v> Parameters<'v> {
    fn take(&mut self, piece: &'v str) -> Result<(), Fault> {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        let (name, value) = (name.trim_end(), value.trim_start());
        let twice = |is_there: bool| if is_there { invalid(&format!("it has two `{name}`")) } else { Ok(()) };
        if name.eq_ignore_ascii_case("info") {
            twice(self.info.is_some())?;
            let inner = value.strip_prefix('<').and_then(|value| value.strip_suffix('>'));
            self.info = Some(inner.map_or_else(|| value.trim_matches('"'), str::trim));
        } else if name.eq_ignore_ascii_case("alg") {
            twice(self.alg.is_some())?;
            self.alg = Some(value.trim_matches('"'));
        } else if name.eq_ignore_ascii_case("ppt") {
            twice(self.ppt.is_some())?;
            self.ppt = Some(value.trim_matches('"').to_ascii_lowercase());
        }
        Ok(())
    }
}

/// At semicolons, but not within `<>` and quotes: a URL may have some.
fn split(value: &str) -> Vec<&str> {
    let (mut pieces, mut start, mut inside) = (Vec::new(), 0, None);
    for (place, byte) in value.bytes().enumerate() {
        match (inside, byte) {
            (None, b'<') => inside = Some(b'>'),
            (None, b'"') => inside = Some(b'"'),
            (Some(end), byte) if byte == end => inside = None,
            (None, b';') => {
                pieces.push(&value[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    pieces.push(&value[start..]);
    pieces
}
