//! What stands before each packet of a span between media servers, in any form: read as it was written, or not at all.
#![no_main]

use libfuzzer_sys::fuzz_target;

/// As `media` has it: this file is read here without all that stands around it.
#[path = "../../../src/media/span/header.rs"]
mod header;

use header::{HEADER_LENGTH, PACKET_MIN, header, read};

fuzz_target!(|input: &[u8]| {
    let Some(span) = read(input) else { return };
    assert!(input.len() >= HEADER_LENGTH + PACKET_MIN);
    assert_eq!(input[..HEADER_LENGTH], header(span));
    assert_eq!(input[HEADER_LENGTH] >> 6, 2, "RTP and RTCP of version 2 alone");
    for cut in 0..HEADER_LENGTH + PACKET_MIN {
        assert_eq!(read(&input[..cut]), None);
    }
});
