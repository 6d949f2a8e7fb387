//! Identity, the PASSporTs in it, and the list of numbers of a certificate: read, and what is read holds together.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stir::{
    FRESH_SECONDS,
    authority::Numbers,
    identity::{Left, read},
    judge::{CHAIN_MAX, Call, chain},
    number::canonical,
    passport::Party,
};

const NOW: i64 = 1_443_208_345;

fuzz_target!(|input: &[u8]| {
    if let Some(numbers) = Numbers::read(input) {
        let _ = numbers.have("12155550121");
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(number) = canonical(text) {
        assert_eq!(canonical(&number).as_deref(), Some(number.as_str()));
    }
    let values: Vec<&str> = text.lines().collect();
    for value in &values {
        let left = Left { origin: "12155550121", destination: "12155550131", date: Some(NOW) };
        if let Ok(passport) = read(value, left) {
            assert!(!passport.claims.destinations.is_empty());
            assert_eq!(passport.signed.split('.').count(), 2);
        }
    }
    let call = Call {
        origin: Some("12155550121".into()),
        destinations: vec!["12155550131".into()],
        date: Some(NOW),
        now: NOW,
        media_keys: Vec::new(),
    };
    if let Ok(passports) = chain(&values, &call) {
        assert!((1..=CHAIN_MAX).contains(&passports.len()));
        for passport in &passports {
            assert!((passport.claims.issued_at - NOW).abs() <= FRESH_SECONDS);
            assert_eq!(passport.claims.origin, Party::Number("12155550121".into()));
        }
    }
});
