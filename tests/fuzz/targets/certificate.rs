//! Whom a peer's certificate names (RFC 5922 §7.1), of any octets that it shows.
#![no_main]

#[path = "../../../src/outbound/tls/names.rs"]
mod names;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let found = names::of(input);
    assert!(found.len() <= 2 * 1_024);
    for name in &found {
        assert!(!name.is_empty() && name.len() <= 253 && !name.contains('*'), "{name:?}");
        assert_eq!(name.to_ascii_lowercase(), *name);
        assert!(names::any_of(&found, std::iter::once(name.as_str())));
    }
    assert!(!names::any_of(&found, std::iter::once("")));
});
