//! Nonces that need no memory, and the little memory that refuses replays (RFC 7616 §3.3, §5.4, §5.12).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

use super::hex;

/// How long a nonce may be used, in milliseconds.
pub const NONCE_LIFE_MS: u64 = 30_000;

/// How far the clocks of those who share a key may be apart, in milliseconds.
const SKEW_MS: u64 = 2_000;
/// Octets of time, salt and the part of the code that is kept.
const LENGTH: usize = 8 + 8 + 16;

/// Makes nonces and knows them again. Whoever has the key can check them, so all edges share it. Prints `[redacted]`.
#[derive(Clone)]
pub struct Nonces {
    keyed: Hmac<Sha256>,
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonces([redacted])")
    }
}

/// What a nonce that came back is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Ours, for this source and realm, and young enough.
    Fresh,
    /// Ours, but too old: challenge again with `stale=true`, if the proof was right.
    Stale,
    /// Not ours, or for another source or realm.
    Foreign,
}

impl Nonces {
    /// With a key of 32 octets or more; a shorter one is taken, too, and weaker.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        // To the length of a block, as RFC 2104 §2 does it.
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        if key.len() > block.len() {
            block[..32].copy_from_slice(&Sha256::digest(key));
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        Self { keyed: Hmac::new(&block) }
    }

    /// A key for something else, which tells nothing of this one nor of any nonce: no nonce begins with a time that far.
    #[must_use]
    pub fn key_for(&self, what: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.keyed.clone();
        mac.update(b"a key for something else");
        for part in what {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// A nonce for a source and realm. `now_ms` is the time of the wall clock in milliseconds since 1970; `salt`
    /// differs from nonce to nonce, so that two phones behind one address do not get the same.
    #[must_use]
    pub fn issue(&self, now_ms: u64, source: IpAddr, realm: &str, salt: u64) -> String {
        let head = [now_ms.to_be_bytes(), salt.to_be_bytes()].concat();
        let code = self.over(&head, source, realm).finalize().into_bytes();
        hex(&head) + &hex(&code[..16])
    }

    /// Checks a nonce that came back.
    #[must_use]
    pub fn check(&self, nonce: &str, now_ms: u64, source: IpAddr, realm: &str) -> Freshness {
        let Some(bytes) = unhex(nonce) else { return Freshness::Foreign };
        let (head, code) = bytes.split_at(16);
        if self.over(head, source, realm).verify_truncated_left(code).is_err() {
            return Freshness::Foreign;
        }
        let issued_ms = issued_ms(&bytes);
        let young = now_ms < issued_ms.saturating_add(NONCE_LIFE_MS) && issued_ms <= now_ms + SKEW_MS;
        if young { Freshness::Fresh } else { Freshness::Stale }
    }

    fn over(&self, head: &[u8], source: IpAddr, realm: &str) -> Hmac<Sha256> {
        let mut mac = self.keyed.clone();
        mac.update(head);
        let source = match source {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        mac.update(&source.octets());
        mac.update(realm.as_bytes());
        mac
    }
}

/// Which counts were used with which nonce. Bounded: see [`Window::new`].
#[derive(Debug)]
pub struct Window {
    used: BTreeMap<[u8; LENGTH], Used>,
    by_age: BTreeSet<(u64, [u8; LENGTH])>,
    nonces_max: usize,
}

/// The highest count and which of the 64 below it came: bit 0 is the highest itself.
#[derive(Debug, Clone, Copy)]
struct Used {
    highest: u32,
    came: u64,
}

/// What became of a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It came for the first time.
    First,
    /// It came before, or is so old that it may have.
    Again,
    /// So many nonces are in use that this one could not be remembered. To be treated like a stale one.
    Full,
}

impl Window {
    /// Remembers at most `nonces_max` nonces, some 160 octets each, for as long as they live.
    #[must_use]
    pub const fn new(nonces_max: usize) -> Self {
        Self { used: BTreeMap::new(), by_age: BTreeSet::new(), nonces_max }
    }

    /// Takes a count with a nonce that was found fresh. An answer without qop has the count 0, once.
    pub fn take(&mut self, nonce: &str, nc: u32, now_ms: u64) -> Taken {
        let Some(key) = unhex(nonce) else { return Taken::Again };
        self.forget_old(now_ms);
        if let Some(used) = self.used.get_mut(&key) {
            return used.take(nc);
        }
        if self.used.len() >= self.nonces_max {
            return Taken::Full;
        }
        self.used.insert(key, Used { highest: nc, came: 1 });
        self.by_age.insert((issued_ms(&key), key));
        Taken::First
    }

    /// How many nonces are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.used.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.used.is_empty()
    }

    fn forget_old(&mut self, now_ms: u64) {
        while let Some((issued_ms, key)) = self.by_age.first().copied()
            && issued_ms.saturating_add(NONCE_LIFE_MS) <= now_ms
        {
            self.by_age.pop_first();
            self.used.remove(&key);
        }
    }
}

impl Used {
    fn take(&mut self, nc: u32) -> Taken {
        if nc > self.highest {
            self.came = self.came.checked_shl(nc - self.highest).unwrap_or(0) | 1;
            self.highest = nc;
            return Taken::First;
        }
        let Some(bit) = 1_u64.checked_shl(self.highest - nc) else { return Taken::Again };
        let again = self.came & bit != 0;
        self.came |= bit;
        if again { Taken::Again } else { Taken::First }
    }
}

fn issued_ms(bytes: &[u8; LENGTH]) -> u64 {
    bytes[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn unhex(text: &str) -> Option<[u8; LENGTH]> {
    if text.len() != 2 * LENGTH
        || !text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    {
        return None;
    }
    let mut bytes = [0; LENGTH];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(bytes)
}
