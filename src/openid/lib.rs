//! OpenID Connect Core 1.0 and Discovery 1.0, as far as a relying party needs them: what a provider says of itself, its keys
//! (RFC 7517), whether an ID token holds (Core §3.1.3.7), and which tokens were used.
//!
//! Pure: nothing is fetched here, and time comes from outside, in seconds since 1970. Tokens, codes and secrets are printed
//! nowhere; a refusal names claims, never the token.

#![warn(missing_docs)]

pub mod document;
pub mod exchange;
pub mod keys;
#[cfg(test)]
mod tests;
pub mod token;
pub mod used;

/// What of somebody else's text is repeated to people: at most 100 characters, without control characters.
fn clip(text: &str) -> String {
    const MOST: usize = 100;
    let mut short: String =
        text.chars().take(MOST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(MOST).is_some() {
        short.push('…');
    }
    short
}
