//! The grammar of challenges and credentials (RFC 3261 §25.1, RFC 7616 §3.3, §3.4).

use super::{Algorithm, Answer, Challenge, Qop};
use crate::lex::{Lexer, is_token, text};

/// Most parameters of one challenge; what has more is no challenge.
const PARAMS_MAX: usize = 32;

/// What one scheme's name is followed by.
#[derive(Debug, Default)]
struct Params<'a> {
    scheme: &'a str,
    all: Vec<(&'a str, &'a str)>,
}

impl<'a> Params<'a> {
    /// A parameter, without its quotes. One that stands twice is nobody's.
    fn get(&self, name: &str) -> Option<&'a str> {
        let mut found = self.all.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let (_, value) = found.next()?;
        found.next().is_none().then_some(*value)
    }

    fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    fn algorithm(&self) -> Option<Algorithm> {
        self.get("algorithm").map_or(Some(Algorithm::Md5), Algorithm::parse)
    }
}

/// The Digest challenges of one field's value: usually one, but a list with commas is read as well.
pub fn challenges(value: &[u8]) -> Vec<Challenge> {
    schemes(value).iter().filter_map(challenge).collect()
}

/// The Digest credentials of one field's value.
pub fn answers(value: &[u8]) -> Vec<Answer> {
    schemes(value).iter().filter_map(answer).collect()
}

fn challenge(params: &Params<'_>) -> Option<Challenge> {
    let qop = match params.get("qop") {
        Some(offered) => {
            offered.split(',').any(|one| one.trim().eq_ignore_ascii_case("auth")).then_some(true)
        }
        None => Some(false),
    };
    Some(Challenge {
        realm: params.owned("realm")?,
        nonce: params.owned("nonce")?,
        opaque: params.owned("opaque"),
        algorithm: params.algorithm()?,
        qop: qop?,
        stale: params.get("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
    })
}

fn answer(params: &Params<'_>) -> Option<Answer> {
    let qop = match params.get("qop") {
        Some(qop) if qop.eq_ignore_ascii_case("auth") => Some(Qop {
            nc: params
                .get("nc")
                .filter(|nc| nc.len() == 8)
                .and_then(|nc| u32::from_str_radix(nc, 16).ok())?,
            cnonce: params.owned("cnonce")?,
        }),
        Some(_) => return None,
        None => None,
    };
    Some(Answer {
        username: params.owned("username")?,
        realm: params.owned("realm")?,
        nonce: params.owned("nonce")?,
        uri: params.owned("uri")?,
        response: params.owned("response")?,
        algorithm: params.algorithm()?,
        names_algorithm: params.get("algorithm").is_some(),
        opaque: params.owned("opaque"),
        qop,
    })
}

/// Each `Digest` of a value with its parameters; other schemes and what follows a fault are left out.
fn schemes(value: &[u8]) -> Vec<Params<'_>> {
    let mut lexer = Lexer::new(value);
    let mut found: Vec<Params<'_>> = Vec::new();
    let mut whole = true;
    while !lexer.at_end() {
        if lexer.eat(b',') {
            continue;
        }
        whole = read(&mut lexer, &mut found).is_some();
        if !whole {
            break;
        }
    }
    if !whole {
        found.pop();
    }
    found.retain(|params| params.scheme.eq_ignore_ascii_case("Digest"));
    found
}

/// A scheme's name, or a parameter of the last one.
fn read<'a>(lexer: &mut Lexer<'a>, found: &mut Vec<Params<'a>>) -> Option<()> {
    let name = lexer.token()?;
    if !lexer.separator(b'=') {
        // `token68` of another scheme ends with `=`, and then nothing of that scheme is wanted anyway.
        found.push(Params { scheme: name, all: Vec::new() });
        return Some(());
    }
    let value = match lexer.peek() {
        Some(b'"') => {
            let quoted = lexer.quoted()?;
            text(quoted.get(1..quoted.len() - 1)?)?
        }
        _ => text(lexer.take_while(|byte| is_token(byte) || matches!(byte, b'/' | b':' | b'@' | b'=')))?,
    };
    let last = found.last_mut().filter(|last| last.all.len() < PARAMS_MAX)?;
    last.all.push((name, value));
    Some(())
}

/// As it may stand between quotes.
pub fn escaped(plain: &str) -> String {
    plain.replace('\\', "\\\\").replace('"', "\\\"")
}
