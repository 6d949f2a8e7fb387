//! What we sign of a call that leaves: how sure we are of the number that it shows (RFC 8588 §4, RFC 8946 §4.1).

use std::fmt::Write;

use model::{E164, TrunkId, section::Digest, snapshot::Trunk, trunk};
use stir::{Attestation, claim::Claim};

use crate::{caller::Caller, vetting::signed_form};

/// Whose a number is that a call shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The tenant's: granted to it, or live for it.
    Theirs,
    /// The tenant says so, on a trunk of its own.
    Claimed,
    /// That of whoever called, whose call is handed on.
    Passed,
}

/// What is to be signed of a call to `destination` that shows `number`. None: its trunk signs nothing.
#[must_use]
pub fn claim(
    (id, trunk): (&TrunkId, &Trunk),
    caller: Caller<'_>,
    (number, whose): (E164, Whose),
    destination: E164,
) -> Option<Claim> {
    let sign = trunk.stir.sign.as_ref()?;
    let (origin, destination) = (signed_form(number), signed_form(destination));
    if let (Whose::Passed, false, Some(diverter)) = (whose, caller.identities.is_empty(), caller.dialled) {
        return Some(Claim::Div { origin, destination, diverter: signed_form(diverter) });
    }
    let earned = match whose {
        Whose::Theirs => Attestation::A,
        Whose::Claimed => Attestation::B,
        Whose::Passed => Attestation::C,
    };
    let most = match sign.maximum_attestation {
        trunk::Attestation::A => Attestation::A,
        trunk::Attestation::B => Attestation::B,
        trunk::Attestation::C => Attestation::C,
    };
    let origin_id = sign.origin_id.clone().unwrap_or_else(|| origin_id(id, caller.tenant));
    Some(Claim::Shaken { origin, destination, attestation: earned.max(most), origin_id })
}

/// A UUID of version 8 (RFC 9562 §5.8), made of whose call it is.
fn origin_id(trunk: &TrunkId, tenant: &str) -> String {
    let digest = Digest::of(format!("origid {trunk} {tenant}").as_bytes());
    let mut id = String::with_capacity(36);
    for (place, byte) in digest.as_bytes().iter().take(16).enumerate() {
        let byte = match place {
            6 => 0x80 | (byte & 0x0f),
            8 => 0x80 | (byte & 0x3f),
            _ => *byte,
        };
        if matches!(place, 4 | 6 | 8 | 10) {
            id.push('-');
        }
        // Writing to a String cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    id
}
