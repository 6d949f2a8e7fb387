//! Which numbers a certificate stands for: the TNAuthList extension (RFC 8226 §9).

use crate::number::canonical;

/// Object identifier of the extension, id-pe-TNAuthList.
pub const OID: &str = "1.3.6.1.5.5.7.1.26";

/// Most entries of one.
pub const ENTRIES_MAX: usize = 10_000;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// All numbers of a provider; which these are, no certificate tells.
    Provider(String),
    /// Numbers that follow one another: the first, and how many.
    Range(String, u64),
    /// One number.
    One(String),
}

/// Numbers that a certificate stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers(pub Vec<Entry>);

impl Numbers {
    /// Reads the value of the extension (DER). None: it is not one.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let (SEQUENCE, mut inner, []) = element(der)? else { return None };
        let mut entries = Vec::new();
        while !inner.is_empty() {
            let (tag, value, rest) = element(inner)?;
            inner = rest;
            if entries.len() == ENTRIES_MAX {
                return None;
            }
            entries.push(entry(tag, value)?);
        }
        (!entries.is_empty()).then_some(Self(entries))
    }

    /// Whether they have a canonical number. A provider's code has every number: only the provider's own books, which its
    /// authority vouches for, say which.
    #[must_use]
    pub fn have(&self, number: &str) -> bool {
        self.0.iter().any(|entry| match entry {
            Entry::Provider(_) => true,
            Entry::One(one) => one == number,
            Entry::Range(first, count) => {
                let offset = first.len() == number.len();
                let numbers = first.parse::<u64>().ok().zip(number.parse::<u64>().ok());
                offset
                    && numbers.is_some_and(|(first, number)| {
                        number.checked_sub(first).is_some_and(|offset| offset < *count)
                    })
            }
        })
    }
}

const SEQUENCE: u8 = 0x30;
const IA5_STRING: u8 = 0x16;
const INTEGER: u8 = 0x02;
/// `[0]`, `[1]` and `[2]`, explicit.
const PROVIDER: u8 = 0xa0;
const RANGE: u8 = 0xa1;
const ONE: u8 = 0xa2;

fn entry(tag: u8, value: &[u8]) -> Option<Entry> {
    match (tag, element(value)?) {
        (PROVIDER, (IA5_STRING, code, [])) => Some(Entry::Provider(text(code)?)),
        (ONE, (IA5_STRING, number, [])) => Some(Entry::One(canonical(&text(number)?)?)),
        (RANGE, (SEQUENCE, range, [])) => {
            let (IA5_STRING, first, rest) = element(range)? else { return None };
            let (INTEGER, count, []) = element(rest)? else { return None };
            Some(Entry::Range(canonical(&text(first)?)?, integer(count)?))
        }
        _ => None,
    }
}

fn text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    (text.is_ascii() && text.len() <= 64).then(|| text.to_owned())
}

fn integer(bytes: &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first()?;
    let digits = if *first == 0 { rest } else { bytes };
    if first & 0x80 != 0 || digits.len() > 8 {
        return None;
    }
    Some(digits.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
}

/// Tag, value, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((*tag, value, rest))
}
