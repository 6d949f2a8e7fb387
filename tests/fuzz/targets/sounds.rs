//! Files that prompts are made of: WAV of PCM and of G.711, Opus in Ogg, MP3. Whatever is wrong with one is said.
#![no_main]

use libfuzzer_sys::fuzz_target;

/// As `media` has them: these two files are read here without all that stands around them.
#[allow(dead_code)]
#[path = "../../../src/media/recording/ogg.rs"]
mod ogg;
#[allow(dead_code)]
#[path = "../../../src/media/sources.rs"]
mod sources;

mod recording {
    pub use crate::ogg::{Packets, parted, read_packets};
}

/// What they take of `media::library`.
mod library {
    pub const SOURCE_BYTES_MAX: usize = 50_000_000;
    pub const PROMPT_SECONDS_MAX: u64 = 3_600;

    #[derive(Debug, Clone)]
    #[allow(dead_code)]
    pub enum LoadErrorKind {
        TooLarge(usize),
        TooLong(u64),
        Empty,
        NotWav(String),
        NotOpus(String),
        NotMp3(String),
        Channels(u16),
        Rate(u32),
    }
}

fuzz_target!(|input: &[u8]| {
    let mut file = input.to_vec();
    if file.starts_with(b"OggS") {
        right(&mut file);
    }
    if let Ok(sound) = sources::decode(&file) {
        assert!(!sound.samples.is_empty() && sound.rate > 0);
    }
});

/// Gives every page the checksum that it should have, which chance would not find (RFC 3533 §6).
fn right(mut file: &mut [u8]) {
    while file.len() >= 27 && file.starts_with(b"OggS") {
        let segments = usize::from(file[26]);
        let Some(table) = file.get(27..27 + segments) else { return };
        let length = 27 + segments + table.iter().map(|&length| usize::from(length)).sum::<usize>();
        if length > file.len() {
            return;
        }
        let (page, rest) = file.split_at_mut(length);
        page[22..26].fill(0);
        let sum = page.iter().fold(0u32, |sum, &octet| {
            (0..8).fold(sum ^ u32::from(octet) << 24, |sum, _| sum << 1 ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 })
        });
        page[22..26].copy_from_slice(&sum.to_le_bytes());
        file = rest;
    }
}
