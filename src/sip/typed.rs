//! The one place where the `rsip` crate is used, for what it is right for: registered values.
//!
//! No byte from a peer goes through it, and no public signature shows it.

use std::sync::LazyLock;

use rsip::{Method, StatusCode};

/// The registered reason phrase of a status code; for an unregistered one that of its class (RFC 3261 §8.1.3.2).
#[must_use]
pub fn reason_phrase(code: u16) -> &'static str {
    /// Phrases by code, from 100 to 699; built once.
    static PHRASES: LazyLock<Vec<String>> = LazyLock::new(|| (100..700).map(registered).collect());
    let place = usize::from(code.clamp(100, 699) - 100);
    PHRASES.get(place).map_or("", String::as_str)
}

/// Value of Allow: what this endpoint serves, with or without REFER and its NOTIFY.
#[must_use]
pub fn allow(transfers: bool) -> &'static str {
    static ALLOW: LazyLock<String> = LazyLock::new(|| {
        let served = [
            Method::Invite,
            Method::Ack,
            Method::Cancel,
            Method::Bye,
            Method::Options,
            Method::Info,
            Method::Update,
            Method::PRack,
        ];
        served.map(|method| method.to_string()).join(", ")
    });
    static WITH_TRANSFERS: LazyLock<String> = LazyLock::new(|| {
        let served = [Method::Refer, Method::Notify];
        format!("{}, {}", *ALLOW, served.map(|method| method.to_string()).join(", "))
    });
    if transfers { &WITH_TRANSFERS } else { &ALLOW }
}

fn registered(code: u16) -> String {
    // RFC 6665 §8.3.1, which rsip does not name.
    if code == 202 {
        return "Accepted".into();
    }
    let text = StatusCode::from(code).to_string();
    let variant = text.split_once(' ').map_or("", |(_, variant)| variant);
    if variant.starts_with(|first: char| first.is_ascii_alphabetic()) && variant != "Other" {
        return spaced(variant);
    }
    let class =
        ["Trying", "OK", "Multiple Choices", "Bad Request", "Server Internal Error", "Busy Everywhere"];
    class.get(usize::from(code / 100) - 1).map_or_else(String::new, |phrase| (*phrase).to_owned())
}

/// `BusyHere` as `Busy Here`: rsip prints the name of its variant.
fn spaced(variant: &str) -> String {
    let mut phrase = String::with_capacity(variant.len() + 6);
    let mut after_lower = false;
    for letter in variant.chars() {
        if after_lower && letter.is_ascii_uppercase() {
            phrase.push(' ');
        }
        after_lower = letter.is_ascii_lowercase();
        phrase.push(letter);
    }
    phrase
        .replace("Request Uri ", "Request-URI ")
        .replace("Uri ", "URI ")
        .replace("Call Transaction", "Call/Transaction")
        .replace("Time Out", "Time-out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_the_registered_ones() {
        for (code, phrase) in [
            (100, "Trying"),
            (200, "OK"),
            (414, "Request-URI Too Long"),
            (481, "Call/Transaction Does Not Exist"),
            (486, "Busy Here"),
            (488, "Not Acceptable Here"),
            (504, "Server Time-out"),
            (498, "Bad Request"),
            (699, "Busy Everywhere"),
        ] {
            assert_eq!(reason_phrase(code), phrase);
        }
        assert_eq!(allow(false), "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK");
        assert_eq!(allow(true), "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REFER, NOTIFY");
    }
}
