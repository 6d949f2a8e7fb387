//! Master keys of our own, from a secret alone: equal secrets, equal keys, and no key tells of another.

use std::fmt;

use hmac::{Hmac, Mac, digest::KeyInit};
use model::media::{CryptoSuite, MasterKey};
use sha2::Sha256;

/// A secret that keys come from. It prints nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySeed([u8; 32]);

impl fmt::Debug for KeySeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl KeySeed {
    /// From random octets.
    #[must_use]
    pub const fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The seed of something that has a number of its own.
    #[must_use]
    pub fn of(&self, number: u64) -> Self {
        Self(self.over(b"seed", number, 0))
    }

    /// A key of a suite. Another generation is another key.
    #[must_use]
    pub fn key(&self, suite: CryptoSuite, generation: u64) -> MasterKey {
        let length = suite.key_length() + suite.salt_length();
        let mut key_and_salt = Vec::with_capacity(64);
        for block in 0..2 {
            key_and_salt.extend(self.over(suite.name().as_bytes(), generation, block));
        }
        key_and_salt.truncate(length);
        MasterKey::new(suite, key_and_salt)
    }

    /// One key for each suite, best first.
    #[must_use]
    pub fn keys(&self, generation: u64) -> Vec<MasterKey> {
        CryptoSuite::ALL.into_iter().map(|suite| self.key(suite, generation)).collect()
    }

    fn over(&self, what: &[u8], number: u64, block: u8) -> [u8; 32] {
        let mut key = hmac::digest::Key::<Hmac<Sha256>>::default();
        key[..self.0.len()].copy_from_slice(&self.0);
        let mut mac: Hmac<Sha256> = KeyInit::new(&key);
        mac.update(&number.to_be_bytes());
        mac.update(&[block]);
        mac.update(what);
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_keys_are_equal() {
        let seed = KeySeed::new([7; 32]);
        let seeds = [seed.clone(), seed.of(1), seed.of(2), seed.of(1).of(2)];
        let keys = seeds.iter().flat_map(|seed| (0..3).flat_map(|generation| seed.keys(generation)));
        let keys: Vec<Vec<u8>> = keys.map(|key| key.key_and_salt).collect();
        let parts: BTreeSet<&[u8]> = keys.iter().map(|key| &key[..16]).collect();
        assert_eq!(parts.len(), keys.len());
        assert_eq!(seed.keys(0), KeySeed::new([7; 32]).keys(0));
        assert!(!format!("{seed:?} {:?}", seed.keys(0)).contains('7'));
    }

    #[test]
    fn keys_have_their_suites_lengths() {
        for key in KeySeed::new([7; 32]).keys(0) {
            assert_eq!(key.key_and_salt.len(), key.suite.key_length() + key.suite.salt_length());
        }
    }
}
