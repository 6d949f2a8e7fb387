//! The seal: AES-256-GCM in frames, so that a blob can be written as it comes and read without holding it whole.
//!
//! ```text
//! blob   = header frame* last
//! header = "SWBSEAL1" salt[16] check[8]
//! frame  = word[4] nonce[12] ciphertext[length] tag[16]
//! ```
//!
//! `word` is big-endian: the highest bit marks the last frame, which every whole blob has, and the rest is the length of the
//! plaintext, at most [`FRAME_MAX`]. A blob's own key is HKDF-SHA-256 (RFC 5869) of the configured key with `salt`, and
//! `"switchboard blob"`, a zero octet and the blob's name as info; `check` is the beginning of the same with `"switchboard
//! check"` alone, and tells another key from damage. A nonce is random. The additional data is the frame's place as a
//! 64-bit big-endian number, and its word: frames can be neither left out, nor moved, nor taken from another blob.

use std::{
    fmt,
    io::{self, Read},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
};

use crate::{Error, Name};

/// Octets of plaintext of one frame at most.
pub(crate) const FRAME_MAX: usize = 64 << 10;
/// Octets before the first frame.
pub(crate) const HEADER: usize = 32;

const MAGIC: &[u8; 8] = b"SWBSEAL1";
const SALT: usize = 16;
const WORD: usize = 4;
const TAG: usize = 16;
const LAST: u32 = 1 << 31;

/// What blobs are sealed with: 32 octets, which are never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

/// Not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key must be 32 bytes, or 64 hexadecimal digits, not {0} bytes; `openssl rand -hex 32` makes one")]
pub struct BadKey(usize);

impl Key {
    /// From the value of a Secret: 32 octets, or 64 hexadecimal digits with or without white space around.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn new(value: &[u8]) -> Result<Self, BadKey> {
        if let Ok(key) = value.try_into() {
            return Ok(Self(key));
        }
        let digits = value.trim_ascii();
        let nibble = |digit: u8| (digit as char).to_digit(16).map(|value| value as u8);
        let octets: Option<Vec<u8>> =
            digits.chunks(2).map(|pair| Some(nibble(pair[0])? << 4 | nibble(*pair.get(1)?)?)).collect();
        octets.and_then(|octets| octets.try_into().ok()).map(Self).ok_or(BadKey(value.len()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The keys of a store: the first seals what is new, and all open. None: nothing is sealed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// In the order in which they are tried.
    #[must_use]
    pub const fn new(keys: Vec<Key>) -> Self {
        Self(keys)
    }

    /// Whether nothing is sealed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn newest(&self) -> Option<&Key> {
        self.0.first()
    }
}

impl From<Option<Key>> for Keys {
    fn from(key: Option<Key>) -> Self {
        Self(key.into_iter().collect())
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn derived<const N: usize>(key: &Key, salt: &[u8], info: &[&[u8]]) -> Result<[u8; N], Error> {
    let mut out = [0; N];
    let key = Salt::new(HKDF_SHA256, salt).extract(&key.0);
    let made = key.expand(info, Length(N)).and_then(|okm| okm.fill(&mut out));
    made.map(|()| out).map_err(|_| Error::NoRandom)
}

/// What seals and opens one blob.
pub(crate) struct Seal {
    key: LessSafeKey,
    pub header: [u8; HEADER],
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

/// A frame's beginning.
#[derive(Debug, Clone, Copy)]
struct Word(u32);

impl Word {
    const fn length(self) -> usize {
        (self.0 & !LAST) as usize
    }

    const fn is_last(self) -> bool {
        self.0 & LAST != 0
    }
}

impl Seal {
    /// For a new blob.
    pub fn new(key: &Key, name: &Name) -> Result<Self, Error> {
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt).map_err(|_| Error::NoRandom)?;
        Self::with(key, name, salt)
    }

    /// For the blob with this header, by whichever of the keys has sealed it.
    pub fn of(keys: &Keys, name: &Name, header: &[u8; HEADER]) -> Result<Self, Error> {
        let mut salt = [0; SALT];
        salt.copy_from_slice(&header[MAGIC.len()..MAGIC.len() + SALT]);
        for key in &keys.0 {
            let seal = Self::with(key, name, salt)?;
            if seal.header == *header {
                return Ok(seal);
            }
        }
        Err(Error::OtherKey(name.clone()))
    }

    pub fn is_header(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    fn with(key: &Key, name: &Name, salt: [u8; SALT]) -> Result<Self, Error> {
        let own: [u8; 32] = derived(key, &salt, &[b"switchboard blob\0", name.as_str().as_bytes()])?;
        let check: [u8; 8] = derived(key, &salt, &[b"switchboard check"])?;
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(MAGIC);
        header[8..24].copy_from_slice(&salt);
        header[24..].copy_from_slice(&check);
        let unbound = UnboundKey::new(&AES_256_GCM, &own).map_err(|_| Error::NoRandom)?;
        Ok(Self { key: LessSafeKey::new(unbound), header })
    }

    /// A frame's octets.
    pub fn frame(&self, place: u64, plain: &[u8], last: bool) -> Result<Vec<u8>, Error> {
        let word = (plain.len() as u32 | if last { LAST } else { 0 }).to_be_bytes();
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| Error::NoRandom)?;
        let mut frame = Vec::with_capacity(sealed_length(plain.len()));
        frame.extend_from_slice(&word);
        frame.extend_from_slice(&nonce);
        frame.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let text = &mut frame[WORD + NONCE_LEN..];
        let tag = self.key.seal_in_place_separate_tag(nonce, data(place, word), text);
        frame.extend_from_slice(tag.map_err(|_| Error::NoRandom)?.as_ref());
        Ok(frame)
    }

    /// The next frame of a reader, and whether it is the last. `None`: it is not whole, or not what was sealed.
    pub fn read(&self, place: u64, from: &mut impl Read) -> io::Result<Option<(Vec<u8>, bool)>> {
        let mut head = [0; WORD + NONCE_LEN];
        if !filled(from, &mut head)? {
            return Ok(None);
        }
        let [a, b, c, d, nonce @ ..] = head;
        let word = Word(u32::from_be_bytes([a, b, c, d]));
        if word.length() > FRAME_MAX {
            return Ok(None);
        }
        let mut text = vec![0; word.length() + TAG];
        if !filled(from, &mut text)? {
            return Ok(None);
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = self.key.open_in_place(nonce, data(place, [a, b, c, d]), &mut text).is_ok();
        text.truncate(word.length());
        Ok(opened.then_some((text, word.is_last())))
    }
}

/// All of a small blob, as it is stored.
pub(crate) fn closed(keys: &Keys, name: &Name, plain: &[u8]) -> Result<Vec<u8>, Error> {
    let Some(key) = keys.newest() else { return Ok(plain.to_vec()) };
    let seal = Seal::new(key, name)?;
    let mut stored = seal.header.to_vec();
    let mut place = 0;
    for piece in plain.chunks(FRAME_MAX) {
        stored.extend(seal.frame(place, piece, false)?);
        place += 1;
    }
    stored.extend(seal.frame(place, &[], true)?);
    Ok(stored)
}

/// Octets of a frame of so much plaintext.
pub(crate) const fn sealed_length(plain: usize) -> usize {
    WORD + NONCE_LEN + plain + TAG
}

fn data(place: u64, word: [u8; WORD]) -> Aad<[u8; 12]> {
    let mut data = [0; 12];
    data[..8].copy_from_slice(&place.to_be_bytes());
    data[8..].copy_from_slice(&word);
    Aad::from(data)
}

/// Fills a buffer. `false`: it ended before.
pub(crate) fn filled(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens what is stored: unsealed when there is a key.
pub(crate) fn opened(
    mut stored: Box<dyn Read + Send>,
    name: &Name,
    keys: &Keys,
) -> Result<Box<dyn Read + Send>, Error> {
    let mut header = [0; HEADER];
    let mut length = 0;
    while length < HEADER {
        match stored.read(&mut header[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::Disk { path: name.as_str().into(), source: error }),
        }
    }
    let sealed = Seal::is_header(&header[..length]);
    match () {
        () if keys.is_empty() && sealed => Err(Error::Unexpected { name: name.clone(), sealed }),
        () if keys.is_empty() => Ok(Box::new(io::Cursor::new(header[..length].to_vec()).chain(stored))),
        () if !sealed => Err(Error::Unexpected { name: name.clone(), sealed }),
        () if length < HEADER => Err(Error::Broken { name: name.clone(), at: length as u64 }),
        () => {
            let seal = Seal::of(keys, name, &header)?;
            let at = HEADER as u64;
            Ok(Box::new(Opened {
                stored,
                seal,
                name: name.clone(),
                place: 0,
                at,
                plain: Vec::new(),
                taken: 0,
                last: false,
            }))
        }
    }
}

struct Opened {
    stored: Box<dyn Read + Send>,
    seal: Seal,
    name: Name,
    place: u64,
    at: u64,
    plain: Vec<u8>,
    taken: usize,
    last: bool,
}

impl Read for Opened {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.plain.len() {
            if self.last {
                // Whatever follows the last frame was put there by somebody else.
                let more = self.stored.read(&mut [0])? > 0;
                return if more { Err(self.broken()) } else { Ok(0) };
            }
            let Some((plain, last)) = self.seal.read(self.place, &mut self.stored)? else {
                return Err(self.broken());
            };
            self.at += sealed_length(plain.len()) as u64;
            (self.plain, self.taken, self.last) = (plain, 0, last);
            self.place += 1;
        }
        let count = out.len().min(self.plain.len() - self.taken);
        out[..count].copy_from_slice(&self.plain[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

impl Opened {
    fn broken(&self) -> io::Error {
        let error = Error::Broken { name: self.name.clone(), at: self.at };
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_octets_or_their_digits_and_is_not_printed() {
        let digits = "00ff".repeat(16);
        let key = Key::new(digits.as_bytes()).unwrap();
        assert_eq!(Key::new(format!("{digits}\n").as_bytes()).unwrap(), key);
        assert_eq!(Key::new(&[0, 255].repeat(16)).unwrap(), key);
        assert_eq!(format!("{key:?}"), "[redacted]");
        for bad in [&b""[..], b"secret", &[b'g'; 64], &[b'0'; 63], &[0; 33]] {
            let error = Key::new(bad).unwrap_err();
            assert!(error.to_string().contains("openssl rand -hex 32"), "{error}");
        }
    }
}
