//! Opus in Ogg (RFC 3533, RFC 7845): what recordings are written as, and prompts read from.

use std::fmt;

/// Ticks a second of a granule position.
pub const GRANULES: u32 = 48_000;
/// Octets of one packet that is read, and packets of one file: an hour of frames of 2.5 ms.
const PACKET_MAX: usize = 64 << 10;
const PACKETS_MAX: usize = 1_440_000;
/// Segments of a page.
const SEGMENTS_MAX: usize = 255;
const HEAD: usize = 27;

/// Writes one stream as pages.
#[derive(Debug)]
pub struct Pages {
    serial: u32,
    sequence: u32,
    segments: Vec<u8>,
    body: Vec<u8>,
    granule: u64,
}

impl Pages {
    /// A stream; `serial` tells it from others in a file.
    pub const fn new(serial: u32) -> Self {
        Self { serial, sequence: 0, segments: Vec::new(), body: Vec::new(), granule: 0 }
    }

    /// The two pages that a stream begins with.
    pub fn begin(&mut self, channels: u8, input_rate: u32, pre_skip: u16) -> Vec<u8> {
        let mut head = b"OpusHead\x01".to_vec();
        head.push(channels);
        head.extend_from_slice(&pre_skip.to_le_bytes());
        head.extend_from_slice(&input_rate.to_le_bytes());
        head.extend_from_slice(&[0, 0]);
        // Each channel is a stream of its own (§5.1.1), so that none is heard in the other.
        if channels > 1 {
            head.push(1);
            head.extend_from_slice(&[channels, 0]);
            head.extend(0..channels);
        } else {
            head.push(0);
        }
        let mut tags = b"OpusTags".to_vec();
        let vendor = b"switchboard";
        tags.extend_from_slice(&(vendor.len() as u32).to_le_bytes());
        tags.extend_from_slice(vendor);
        tags.extend_from_slice(&[0; 4]);
        self.push(&head, 0);
        let mut pages = self.page(false);
        self.push(&tags, 0);
        pages.extend(self.page(false));
        pages
    }

    /// Adds a packet after which the stream has lasted so long. Gives a page when there is no room for it.
    pub fn packet(&mut self, packet: &[u8], granule: u64) -> Option<Vec<u8>> {
        let full = self.segments.len() + packet.len() / 255 + 1 > SEGMENTS_MAX;
        let page = full.then(|| self.page(false));
        self.push(packet, granule);
        page
    }

    /// What was added, as a page. `last`: nothing comes after it.
    pub fn page(&mut self, last: bool) -> Vec<u8> {
        let mut page = Vec::with_capacity(HEAD + self.segments.len() + self.body.len());
        page.extend_from_slice(b"OggS\0");
        page.push(u8::from(self.sequence == 0) << 1 | u8::from(last) << 2);
        page.extend_from_slice(&self.granule.to_le_bytes());
        page.extend_from_slice(&self.serial.to_le_bytes());
        page.extend_from_slice(&self.sequence.to_le_bytes());
        page.extend_from_slice(&[0; 4]);
        page.push(self.segments.len() as u8);
        page.append(&mut self.segments);
        page.append(&mut self.body);
        let checksum = checksum(&page);
        page[22..26].copy_from_slice(&checksum.to_le_bytes());
        self.sequence += 1;
        page
    }

    /// Says how long the stream is in the end, which may be within its last packet (§4.4).
    pub const fn set_end(&mut self, granule: u64) {
        self.granule = granule;
    }

    fn push(&mut self, packet: &[u8], granule: u64) {
        self.segments.extend(std::iter::repeat_n(255, packet.len() / 255));
        self.segments.push((packet.len() % 255) as u8);
        self.body.extend_from_slice(packet);
        self.granule = granule;
    }
}

/// Two packets of one frame each as one of two streams (RFC 6716 appendix B: all but the last say their length).
pub fn joined(left: &[u8], right: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let Some((&toc, frame)) = left.split_first() else { return };
    out.push(toc);
    match frame.len() {
        short @ 0..252 => out.push(short as u8),
        long => {
            // §3.2.1: 4 × second + first.
            let first = 252 + (long - 252) % 4;
            out.extend_from_slice(&[first as u8, ((long - first) / 4) as u8]);
        }
    }
    out.extend_from_slice(frame);
    out.extend_from_slice(right);
}

/// Why something is no Ogg/Opus that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OggError {
    /// It does not begin as one.
    NotOgg,
    /// It is Ogg, but not Opus.
    NotOpus,
    /// It is cut, or a page's checksum is wrong.
    Broken,
    /// More than two channels, or a mapping that we do not know.
    Channels(u8),
    /// It lasts longer than anybody would listen.
    TooLong,
}

impl fmt::Display for OggError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOgg => f.write_str("it does not begin with an Ogg page"),
            Self::NotOpus => f.write_str("the Ogg file holds no Opus"),
            Self::Broken => f.write_str("the Ogg file is cut or damaged"),
            Self::Channels(channels) => {
                write!(f, "the Ogg file has {channels} channels; it must be mono or stereo")
            }
            Self::TooLong => f.write_str("the Ogg file has too many packets"),
        }
    }
}

/// What an Ogg/Opus file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packets {
    /// Its packets of sound.
    pub packets: Vec<Vec<u8>>,
    /// Streams that each packet holds: 1, or 2 of which the first says its length.
    pub streams: u8,
    /// Samples at 48 kHz to be left out at the beginning.
    pub pre_skip: u16,
    /// Samples at 48 kHz, `pre_skip` included. None: nobody said.
    pub end: Option<u64>,
    /// In 1/256 dB.
    pub gain: i16,
}

/// Reads the packets of an Ogg/Opus file.
///
/// # Errors
/// [`OggError`].
pub fn read_packets(mut bytes: &[u8]) -> Result<Packets, OggError> {
    if !bytes.starts_with(b"OggS") {
        return Err(OggError::NotOgg);
    }
    let (mut serial, mut packets, mut rest, mut end) = (None, Vec::new(), Vec::new(), None);
    while !bytes.is_empty() {
        let (page, after) = next_page(bytes).ok_or(OggError::Broken)?;
        bytes = after;
        // Other streams of the file are none of ours.
        if *serial.get_or_insert(page.serial) != page.serial {
            continue;
        }
        let mut body = page.body;
        for &length in page.segments {
            let (piece, more) = body.split_at_checked(length.into()).ok_or(OggError::Broken)?;
            body = more;
            rest.extend_from_slice(piece);
            if rest.len() > PACKET_MAX {
                return Err(OggError::Broken);
            }
            if length < 255 {
                packets.push(std::mem::take(&mut rest));
            }
        }
        if packets.len() > PACKETS_MAX {
            return Err(OggError::TooLong);
        }
        end = (page.granule != u64::MAX).then_some(page.granule).or(end);
    }
    if packets.len() < 2 {
        return Err(OggError::NotOpus);
    }
    let sound = packets.split_off(2);
    let head = &packets[0];
    if !head.starts_with(b"OpusHead") || head.len() < 19 || head[8] >> 4 != 0 {
        return Err(OggError::NotOpus);
    }
    let streams = match (head[9], head[18]) {
        (1..=2, 0) => 1,
        (channels @ 1..=2, _) if head.len() >= 21 + usize::from(channels) && (1..=2).contains(&head[19]) => {
            head[19]
        }
        (channels, _) => return Err(OggError::Channels(channels)),
    };
    let pre_skip = u16::from_le_bytes([head[10], head[11]]);
    let gain = i16::from_le_bytes([head[16], head[17]]);
    Ok(Packets { packets: sound, streams, pre_skip, end, gain })
}

/// The two packets of a packet of two streams.
pub fn parted(packet: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (&toc, rest) = packet.split_first()?;
    // Our own recordings have one frame a packet; others with more are few, and refused.
    if toc & 3 != 0 {
        return None;
    }
    let (length, rest) = match *rest.first()? {
        short @ 0..252 => (usize::from(short), &rest[1..]),
        first => (4 * usize::from(*rest.get(1)?) + usize::from(first), &rest[2..]),
    };
    let (frame, other) = rest.split_at_checked(length)?;
    let mut first = vec![toc];
    first.extend_from_slice(frame);
    Some((first, other))
}

struct Page<'a> {
    serial: u32,
    granule: u64,
    segments: &'a [u8],
    body: &'a [u8],
}

fn next_page(bytes: &[u8]) -> Option<(Page<'_>, &[u8])> {
    let head = bytes.get(..HEAD)?;
    let count = usize::from(head[26]);
    let segments = bytes.get(HEAD..HEAD + count)?;
    let length: usize = segments.iter().map(|&length| usize::from(length)).sum();
    let whole = bytes.get(..HEAD + count + length)?;
    let said = u32::from_le_bytes(head[22..26].try_into().ok()?);
    let mut zeroed = whole.to_vec();
    zeroed[22..26].fill(0);
    if !head.starts_with(b"OggS\0") || checksum(&zeroed) != said {
        return None;
    }
    let granule = u64::from_le_bytes(head[6..14].try_into().ok()?);
    let serial = u32::from_le_bytes(head[14..18].try_into().ok()?);
    Some((Page { serial, granule, segments, body: &whole[HEAD + count..] }, &bytes[whole.len()..]))
}

/// CRC-32 with the polynomial 0x04c11db7, neither reflected nor inverted (RFC 3533 §6).
fn checksum(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut place = 0;
        while place < 256 {
            let (mut value, mut bit) = ((place as u32) << 24, 0);
            while bit < 8 {
                value = if value & 1 << 31 != 0 { value << 1 ^ 0x04c1_1db7 } else { value << 1 };
                bit += 1;
            }
            table[place] = value;
            place += 1;
        }
        table
    };
    bytes.iter().fold(0, |sum, &byte| sum << 8 ^ TABLE[(sum >> 24) as usize ^ usize::from(byte)])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(channels: u8, packets: &[Vec<u8>]) -> Vec<u8> {
        let mut pages = Pages::new(7);
        let mut file = pages.begin(channels, 8_000, 312);
        for (place, packet) in packets.iter().enumerate() {
            file.extend(pages.packet(packet, 960 * (place as u64 + 1)).unwrap_or_default());
        }
        file.extend(pages.page(true));
        file
    }

    #[test]
    fn packets_come_back_as_they_were_written_whatever_their_length() {
        for length in [0, 1, 254, 255, 256, 510, 1_275] {
            let packets: Vec<Vec<u8>> = (0..300).map(|n| vec![n as u8; length]).collect();
            let read = read_packets(&file(1, &packets)).unwrap();
            assert_eq!(
                (read.packets, read.pre_skip, read.end, read.streams),
                (packets, 312, Some(300 * 960), 1)
            );
        }
    }

    #[test]
    fn two_streams_are_joined_and_parted() {
        let mut joint = Vec::new();
        for length in [1, 2, 252, 253, 254, 255, 600, 1_275] {
            let (left, right) = (vec![8; length], vec![9; 40]);
            joined(&left, &right, &mut joint);
            assert_eq!(parted(&joint), Some((left, &right[..])), "{length}");
        }
        assert_eq!(read_packets(&file(2, &[joint])).unwrap().streams, 2);
    }

    #[test]
    fn what_is_no_opus_is_told_apart() {
        assert_eq!(read_packets(b"RIFF"), Err(OggError::NotOgg));
        assert_eq!(read_packets(b"OggS"), Err(OggError::Broken));
        let good = file(1, &[vec![1; 20]]);
        assert_eq!(read_packets(&good[..good.len() - 1]), Err(OggError::Broken));
        let mut pages = Pages::new(1);
        pages.push(b"\x01vorbis and so on, much longer than that", 0);
        let mut vorbis = pages.page(false);
        pages.push(b"comments", 0);
        vorbis.extend(pages.page(true));
        assert_eq!(read_packets(&vorbis), Err(OggError::NotOpus));
        assert_eq!(read_packets(&file(6, &[])), Err(OggError::Channels(6)));
    }

    proptest! {
        #[test]
        fn any_damage_to_an_ogg_file_is_answered(place in 0usize..200, byte: u8, cut in 0usize..300) {
            let mut bytes = file(1, &vec![vec![5; 100]; 3]);
            let length = bytes.len();
            bytes[place % length] = byte;
            bytes.truncate(length.saturating_sub(cut));
            let _ = read_packets(&bytes);
        }
    }
}
