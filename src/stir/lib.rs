//! Who calls, as a signature says it: Identity (RFC 8224), PASSporTs (RFC 8225), `shaken` (RFC 8588), `div` (RFC 8946),
//! and the numbers that a certificate stands for (RFC 8226).
//!
//! Pure: nothing is fetched, signed or verified here. [`judge::chain`] says which PASSporTs of an INVITE must hold and
//! what they must hold for; [`claim::Claim::unsigned`] gives the text to be signed. Keys and certificates are the shell's.

#![warn(missing_docs)]

pub mod authority;
pub mod claim;
pub mod identity;
pub mod judge;
pub mod number;
pub mod passport;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;

/// How far `iat` may be from now, either way, in seconds (RFC 8224 §6.2 step 4).
pub const FRESH_SECONDS: i64 = 60;

/// How sure the signer is that the caller may use the number (RFC 8588 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Attestation {
    /// Full: the customer is known, and the number is theirs.
    A,
    /// Partial: the customer is known, the number is not known to be theirs.
    B,
    /// Gateway: where the call came in is known, and no more.
    C,
}

impl Attestation {
    /// As it stands in a claim.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
        }
    }
}

impl fmt::Display for Attestation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a verification came to, as the `verstat` parameter of a number tells it (3GPP TS 24.229 §7.2A.20).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Verstat {
    /// A signature holds for the caller's number.
    #[serde(rename = "TN-Validation-Passed")]
    Passed,
    /// A signature was there and does not hold.
    #[serde(rename = "TN-Validation-Failed")]
    Failed,
    /// None was there, or it could not be checked.
    #[serde(rename = "No-TN-Validation")]
    None,
}

impl Verstat {
    /// As it stands in the parameter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "TN-Validation-Passed",
            Self::Failed => "TN-Validation-Failed",
            Self::None => "No-TN-Validation",
        }
    }
}

impl fmt::Display for Verstat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is wrong with the identity of a call: one status each (RFC 8224 §6.2.2), and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// 428: nothing is there that could be verified.
    #[error("{0}")]
    Missing(String),
    /// 403: it was signed too long ago, or is yet to be.
    #[error("{0}")]
    Stale(String),
    /// 436: its certificate cannot be had.
    #[error("{0}")]
    Unreachable(String),
    /// 437: its certificate stands for nothing that we trust, or not for the number.
    #[error("{0}")]
    Untrusted(String),
    /// 438: it cannot be read, does not fit the call, or the signature does not hold.
    #[error("{0}")]
    Invalid(String),
}

impl Fault {
    /// The status that refuses the call.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::Missing(_) => 428,
            Self::Stale(_) => 403,
            Self::Unreachable(_) => 436,
            Self::Untrusted(_) => 437,
            Self::Invalid(_) => 438,
        }
    }

    /// Its reason phrase.
    #[must_use]
    pub const fn phrase(&self) -> &'static str {
        match self {
            Self::Missing(_) => "Use Identity Header",
            Self::Stale(_) => "Stale Date",
            Self::Unreachable(_) => "Bad Identity Info",
            Self::Untrusted(_) => "Unsupported Credential",
            Self::Invalid(_) => "Invalid Identity Header",
        }
    }

    /// What it makes of the number: a certificate that cannot be had says nothing against the caller.
    #[must_use]
    pub const fn verstat(&self) -> Verstat {
        match self {
            Self::Missing(_) | Self::Unreachable(_) => Verstat::None,
            Self::Stale(_) | Self::Untrusted(_) | Self::Invalid(_) => Verstat::Failed,
        }
    }
}
