//! The head of a WAV file: PCM of 16 bits.

/// Its length.
pub const HEAD: usize = 44;

/// The head of a file with so many octets of sound.
pub fn head(channels: u16, rate: u32, octets: u64) -> [u8; HEAD] {
    // A length beyond 4 GiB cannot be said; readers then go by the file's end.
    let octets = u32::try_from(octets).unwrap_or(u32::MAX - 36);
    let block = channels * 2;
    let mut head = [0; HEAD];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        head[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(b"RIFF");
    put(&(octets.saturating_add(36)).to_le_bytes());
    put(b"WAVEfmt ");
    put(&16u32.to_le_bytes());
    put(&1u16.to_le_bytes());
    put(&channels.to_le_bytes());
    put(&rate.to_le_bytes());
    put(&(rate * u32::from(block)).to_le_bytes());
    put(&block.to_le_bytes());
    put(&16u16.to_le_bytes());
    put(b"data");
    put(&octets.to_le_bytes());
    head
}

/// The same head for another length. None: it is none of ours.
pub fn mended(old: &[u8], octets: u64) -> Option<[u8; HEAD]> {
    if old.len() != HEAD || !old.starts_with(b"RIFF") {
        return None;
    }
    let channels = u16::from_le_bytes([old[22], old[23]]);
    let rate = u32::from_le_bytes([old[24], old[25], old[26], old[27]]);
    let whole = octets - octets % u64::from(channels.max(1) * 2);
    (channels > 0).then(|| head(channels, rate, whole))
}

/// Length of so much sound behind a head. None: it is none of ours.
pub fn milliseconds(head: &[u8], octets: u64) -> Option<u64> {
    mended(head, octets)?;
    let rate = u64::from(u32::from_le_bytes([head[28], head[29], head[30], head[31]]));
    (octets * 1_000).checked_div(rate)
}
