//! The tokens that all header fields are made of (RFC 3261 §25.1), over bytes: peers do send Latin-1.

/// One look for each byte: most of parsing is to ask where a token ends.
const TOKENS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        let it = byte as u8;
        table[byte] = it.is_ascii_alphanumeric()
            || matches!(it, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~');
        byte += 1;
    }
    table
};

/// Whether a byte belongs to `token`.
pub const fn is_token(byte: u8) -> bool {
    TOKENS[byte as usize]
}

/// Bytes of names and IPv4 addresses.
const HOSTS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        let it = byte as u8;
        table[byte] = it.is_ascii_alphanumeric() || matches!(it, b'-' | b'.' | b'_');
        byte += 1;
    }
    table
};

/// Whether a byte belongs to `unreserved`.
pub const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')')
}

/// A place in a header value.
#[derive(Debug, Clone, Copy)]
pub struct Lexer<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

impl<'a> Lexer<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Skips white space; folds are white space already.
    pub fn space(&mut self) {
        self.take_while(|byte| matches!(byte, b' ' | b'\t'));
    }

    /// Skips white space and tells whether nothing is left.
    pub fn at_end(&mut self) -> bool {
        self.space();
        self.at == self.bytes.len()
    }

    /// Takes `byte` if it is next.
    pub fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Takes `byte` with white space around it, if it is next.
    pub fn separator(&mut self, byte: u8) -> bool {
        let next = self.peek();
        if next != Some(byte) && !matches!(next, Some(b' ' | b'\t')) {
            return false;
        }
        let before = *self;
        self.space();
        if self.eat(byte) {
            self.space();
            return true;
        }
        *self = before;
        false
    }

    pub fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().position(|byte| !wanted(*byte)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// A `token`, not empty.
    pub fn token(&mut self) -> Option<&'a str> {
        text(self.token_bytes()?)
    }

    /// The same, which is ASCII.
    pub fn token_bytes(&mut self) -> Option<&'a [u8]> {
        Some(self.take_while(is_token)).filter(|token| !token.is_empty())
    }

    /// A quoted string with its quotes, from its first one on.
    pub fn quoted(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        if !self.eat(b'"') {
            return None;
        }
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.bytes.get(start..self.at)
    }

    /// `host`: a name, an IPv4 address, or an IPv6 address in brackets.
    pub fn host(&mut self) -> Option<&'a str> {
        text(self.host_bytes()?)
    }

    /// The same, which is ASCII.
    pub fn host_bytes(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        if self.eat(b'[') {
            self.take_while(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
            if !self.eat(b']') {
                return None;
            }
            let host = &self.bytes[start..self.at];
            let address = text(&host[1..host.len() - 1])?;
            return address.parse::<std::net::Ipv6Addr>().ok().map(|_| host);
        }
        let name = self.take_while(|byte| HOSTS[usize::from(byte)]);
        name.iter().any(u8::is_ascii_alphanumeric).then_some(name)
    }

    /// Digits, at most `max`.
    pub fn number(&mut self, max: u64) -> Option<u64> {
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        let (first, rest) = digits.split_first()?;
        let more = |number: u64, digit: &u8| number.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
        let number = rest.iter().try_fold(u64::from(first - b'0'), more)?;
        (number <= max).then_some(number)
    }

    /// A port, not 0.
    pub fn port(&mut self) -> Option<u16> {
        let number = self.number(u16::MAX.into())?;
        u16::try_from(number).ok().filter(|port| *port != 0)
    }
}

/// Bytes that were checked to be ASCII, as text.
pub fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// What stands before and after the first such byte, which is ASCII. Quicker in what is short than a search for a character.
pub fn split_once(text: &str, at: u8) -> Option<(&str, &str)> {
    let place = text.bytes().position(|byte| byte == at)?;
    Some((&text[..place], &text[place + 1..]))
}

/// The same of the last such byte.
pub fn rsplit_once(text: &str, at: u8) -> Option<(&str, &str)> {
    let place = text.bytes().rposition(|byte| byte == at)?;
    Some((&text[..place], &text[place + 1..]))
}

/// Without white space at both ends.
pub const fn trim(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

/// Whether every `%` begins an escape.
pub fn escapes_are_whole(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let [_, high, low, ..] = &rest[at..] else { return false };
        if !(high.is_ascii_hexdigit() && low.is_ascii_hexdigit()) {
            return false;
        }
        rest = &rest[at + 3..];
    }
    true
}
