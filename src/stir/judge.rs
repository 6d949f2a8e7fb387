//! Which PASSporTs of an INVITE must hold, before any certificate is fetched (RFC 8224 §6.2, RFC 8946 §4.2).

use crate::{
    FRESH_SECONDS, Fault,
    identity::{self, Left},
    passport::{Kind, MediaKey, Party, Passport},
};

/// Most Identity header fields of a request that are looked at.
pub const VALUES_MAX: usize = 8;

/// Most PASSporTs that lead from the first destination to the present one.
pub const CHAIN_MAX: usize = 5;

/// What the request says.
#[derive(Debug, Clone)]
pub struct Call {
    /// Canonical number of the caller. None: it names none.
    pub origin: Option<String>,
    /// Canonical numbers that are called: that of the Request-URI, and that of To.
    pub destinations: Vec<String>,
    /// Its Date, in seconds since 1970.
    pub date: Option<i64>,
    /// Now, in seconds since 1970.
    pub now: i64,
    /// Fingerprints of its session description, sorted.
    pub media_keys: Vec<MediaKey>,
}

/// The PASSporTs that must all hold so that the caller's number is proved: one that names caller and callee, or one that
/// names caller and the first callee, and `div`s that lead on from there.
///
/// # Errors
/// What is wrong, if none do.
pub fn chain(values: &[&str], call: &Call) -> Result<Vec<Passport>, Fault> {
    if values.is_empty() {
        return Err(Fault::Missing("it has no Identity".into()));
    }
    let Some(origin) = &call.origin else {
        return Err(Fault::Invalid("the call names no number that an Identity could be for".into()));
    };
    let destination = call.destinations.first().map(String::as_str).unwrap_or_default();
    let left = Left { origin, destination, date: call.date };
    let (mut read, mut fault) = (Vec::new(), None);
    for value in values.iter().take(VALUES_MAX) {
        match identity::read(value, left).and_then(|passport| fits(passport, origin, call)) {
            Ok(passport) => read.push(passport),
            // The first that is wrong tells most; one of an unknown kind tells nothing beside others.
            Err(found) if matches!(fault, None | Some(Fault::Missing(_))) => fault = Some(found),
            Err(_) => {}
        }
    }
    for first in read.iter().filter(|passport| passport.kind != Kind::Div) {
        if let Some(chain) = lead_on(first, &read, call) {
            return Ok(chain.into_iter().cloned().collect());
        }
    }
    let has_first = read.iter().any(|passport| passport.kind != Kind::Div);
    Err(match fault {
        _ if has_first => Fault::Invalid("`dest` is not who is called, and no `div` leads there".into()),
        Some(fault) => fault,
        None => Fault::Missing("it has no Identity but those of diversions".into()),
    })
}

/// What must be so of each.
fn fits(passport: Passport, origin: &str, call: &Call) -> Result<Passport, Fault> {
    let claims = &passport.claims;
    let age = call.now.saturating_sub(claims.issued_at);
    if age.saturating_abs() > FRESH_SECONDS {
        return Err(Fault::Stale(format!(
            "it was signed {age} s ago, and {FRESH_SECONDS} s either way are taken: look at the clocks"
        )));
    }
    if claims.origin != Party::Number(origin.to_owned()) {
        return Err(Fault::Invalid("`orig` is not who calls".into()));
    }
    if !claims.media_keys.is_empty() && claims.media_keys != call.media_keys {
        return Err(Fault::Invalid("`mky` are not the fingerprints of the offer".into()));
    }
    Ok(passport)
}

/// The shortest way from a first PASSporT to who is called.
fn lead_on<'p>(first: &'p Passport, read: &'p [Passport], call: &Call) -> Option<Vec<&'p Passport>> {
    let is_there = |passport: &Passport| {
        passport
            .claims
            .destinations
            .iter()
            .any(|party| matches!(party, Party::Number(number) if call.destinations.contains(number)))
    };
    let mut ways = vec![vec![first]];
    for _ in 0..CHAIN_MAX {
        if let Some(way) = ways.iter().find(|way| way.last().is_some_and(|last| is_there(last))) {
            return Some(way.clone());
        }
        let longer = ways.iter().flat_map(|way| {
            let destinations = way.last().map(|last| last.claims.destinations.as_slice()).unwrap_or_default();
            let next = read.iter().filter(move |passport| {
                let diverter = passport.claims.diverter.as_ref();
                diverter.is_some_and(|diverter| destinations.contains(diverter))
                    && !way.iter().any(|before| std::ptr::eq(*before, *passport))
            });
            next.map(|next| way.iter().copied().chain([next]).collect::<Vec<_>>())
        });
        ways = longer.take(VALUES_MAX * VALUES_MAX).collect();
    }
    None
}
