//! Telephone numbers as they are signed (RFC 8224 §8.3).

/// Longest number, in characters: E.164 has 15 digits, and numbers of private plans may have more.
pub const LONGEST: usize = 32;

/// Digits, `*` and `#`, without `+`, separators and parameters. None: it is no telephone number.
#[must_use]
pub fn canonical(text: &str) -> Option<String> {
    let user = text.split(';').next().unwrap_or_default().trim();
    let mut number = String::with_capacity(user.len().min(LONGEST));
    for (place, character) in user.chars().enumerate() {
        match character {
            '0'..='9' | '*' | '#' if number.len() < LONGEST => number.push(character),
            '+' if place == 0 => {}
            '-' | '.' | '(' | ')' | ' ' => {}
            _ => return None,
        }
    }
    (!number.is_empty()).then_some(number)
}
