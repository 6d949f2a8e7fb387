//! What the targets share: input that stands for several datagrams, and a clock that it drives.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

/// Cuts input into datagrams: each is led by its length, two octets.
pub fn datagrams(mut input: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = input.split_first_chunk::<2>()?;
        let (datagram, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
        input = rest;
        Some(datagram)
    })
}

/// A moment, so long after the first.
#[must_use]
pub fn moment(milliseconds: u64) -> Instant {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    *FIRST.get_or_init(Instant::now) + Duration::from_millis(milliseconds)
}
