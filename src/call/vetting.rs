//! Whether a caller's number is theirs, as signatures say it: what an INVITE says to it, and what of it goes on.

use jiff::fmt::rfc2822::DateTimeParser;
use model::{E164, snapshot::Trunk};
use sip::{
    uri::unescape,
    wire::{Message, Name},
};
use stir::{
    Attestation, Fault, Verstat,
    judge::{self, VALUES_MAX},
    number::canonical,
    passport::{Kind, MediaKey, Passport},
};

/// Lines of a session description that are looked through for fingerprints.
const LINES_MAX: usize = 256;

/// What is known of a caller's number, and what proves it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vetted {
    /// What came of the verification. None: nobody asked.
    pub verstat: Option<Verstat>,
    /// How sure the signer is. None: nothing was proved, or the signer does not say.
    pub attestation: Option<Attestation>,
    /// Values of Identity that a call that is handed on takes along; empty if they do not hold.
    pub identities: Vec<String>,
}

impl Vetted {
    /// Of a call that nobody verified.
    #[must_use]
    pub fn unasked(request: &Message) -> Self {
        Self { identities: kept(request), ..Self::default() }
    }

    /// Of what a verification came to.
    #[must_use]
    pub fn of(request: &Message, verdict: &Result<Vec<Passport>, Fault>) -> Self {
        match verdict {
            Ok(chain) => Self {
                verstat: Some(Verstat::Passed),
                attestation: chain.iter().find_map(|passport| passport.claims.attestation),
                identities: kept(request),
            },
            Err(fault) => Self { verstat: Some(fault.verstat()), ..Self::default() },
        }
    }
}

/// What an INVITE says that an Identity must fit. `called` is whom it is for, as it is written.
#[must_use]
pub fn facts(request: &Message, trunk: &Trunk, called: &str, now_seconds: i64) -> judge::Call {
    let formats = &trunk.number_formats;
    let whole = |written: &str| match formats.read(written) {
        Some(number) => canonical(&number.to_string()),
        None => canonical(written),
    };
    let caller = request.calling_number().map(unescape);
    let to = request.to().and_then(|to| to.uri.user).map(unescape);
    let mut destinations: Vec<String> =
        [Some(called), to.as_deref()].into_iter().flatten().filter_map(whole).collect();
    destinations.dedup();
    let date = request.header_text(Name::Date).and_then(|date| {
        let date = DateTimeParser::new().parse_timestamp(date.trim()).ok()?;
        Some(date.as_second())
    });
    judge::Call {
        origin: caller.as_deref().and_then(whole),
        destinations,
        date,
        now: now_seconds,
        media_keys: fingerprints(request.body()),
    }
}

/// Values of Identity, as many as are looked at.
#[must_use]
pub fn values(request: &Message) -> Vec<&str> {
    let values = request.headers(Name::Identity).filter_map(|value| std::str::from_utf8(value).ok());
    values.map(str::trim).take(VALUES_MAX).collect()
}

/// The number that a certificate must stand for: the caller's, or that of who diverted the call.
#[must_use]
pub const fn signer_speaks_for(passport: &Passport) -> Option<&stir::passport::Party> {
    match passport.kind {
        Kind::Plain | Kind::Shaken => Some(&passport.claims.origin),
        Kind::Div => passport.claims.diverter.as_ref(),
    }
}

/// A number as it is signed.
#[must_use]
pub fn signed_form(number: E164) -> String {
    number.as_u64().to_string()
}

fn kept(request: &Message) -> Vec<String> {
    values(request).into_iter().map(str::to_owned).collect()
}

/// RFC 8122 §5.
fn fingerprints(description: &[u8]) -> Vec<MediaKey> {
    let text = String::from_utf8_lossy(description);
    let lines = text.lines().take(LINES_MAX).filter_map(|line| line.strip_prefix("a=fingerprint:"));
    let keys = lines.filter_map(|line| line.trim().split_once(' '));
    let mut keys: Vec<MediaKey> =
        keys.filter_map(|(algorithm, digest)| MediaKey::new(algorithm, digest.trim())).collect();
    keys.sort();
    keys.dedup();
    keys
}
