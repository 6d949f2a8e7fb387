//! Where frames of a recording go: coded, and written some twice a second.

use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
    path::PathBuf,
};

use model::media::{Codec, Format, OpusParameters};
use rtp::codec::{Encoder, PAYLOAD_MAX};
use store::Draft;

use super::{
    ogg::{GRANULES, Pages, joined},
    wav,
};

/// Frames of 20 ms that are written at a time: half a second.
const FRAMES: u32 = 25;
/// Writes after which the disk is asked to have them: a second.
const WRITES: u32 = 2;
/// What libopus needs before what it gives, at 48 kHz (RFC 7845 §4.2).
const PRE_SKIP: u16 = 312;
/// Bits a second and channel of Opus: speech that nobody tells from the original.
const BITRATE: u32 = 24_000;

/// Where the octets go.
#[derive(Debug)]
pub enum Destination {
    /// To a store.
    Draft(Draft),
    /// Into a file as it is.
    File(File, PathBuf),
}

/// A recording's end.
#[derive(Debug)]
pub struct Written {
    /// What was written, unless it is a file, which is whole.
    pub draft: Option<Draft>,
    /// What takes the place of its head.
    pub head: Option<Vec<u8>>,
    /// Octets written.
    pub bytes: u64,
    /// Why it is not whole.
    pub failed: Option<String>,
}

/// Takes frames of 20 ms.
#[derive(Debug)]
pub struct Sink {
    to: Destination,
    coder: Coder,
    channels: u16,
    rate: u32,
    buffer: Vec<u8>,
    frames: u32,
    writes: u32,
    written: u64,
    failed: Option<String>,
}

#[derive(Debug)]
enum Coder {
    Wav,
    Opus { pages: Pages, encoders: Vec<Encoder>, granule: u64, joint: Vec<u8> },
}

impl Sink {
    /// Begins, with the head of the format.
    ///
    /// # Errors
    /// Why nothing can be written.
    pub fn new(
        to: Destination,
        format: Format,
        channels: u16,
        rate: u32,
        serial: u32,
    ) -> Result<Self, String> {
        let (coder, head) = match format {
            Format::Wav => (Coder::Wav, wav::head(channels, rate, 0).to_vec()),
            Format::OggOpus => {
                let parameters = OpusParameters { max_bitrate: Some(BITRATE), ..OpusParameters::default() };
                let encoder = |_| Encoder::with_rate(Codec::Opus, &parameters, rate);
                let encoders = (0..channels).map(encoder).collect::<Result<Vec<_>, _>>();
                let encoders = encoders.map_err(|error| error.to_string())?;
                let mut pages = Pages::new(serial);
                let head = pages.begin(channels as u8, rate, PRE_SKIP);
                (Coder::Opus { pages, encoders, granule: 0, joint: Vec::new() }, head)
            }
        };
        let (buffer, frames, writes, written) = (Vec::new(), 0, 0, 0);
        let mut sink = Self { to, coder, channels, rate, buffer, frames, writes, written, failed: None };
        sink.append(&head);
        match sink.failed.take() {
            Some(why) => Err(why),
            None => Ok(sink),
        }
    }

    /// Takes 20 ms of each channel.
    pub fn frame(&mut self, channels: &[Vec<i16>]) {
        if self.failed.is_some() {
            return;
        }
        match &mut self.coder {
            Coder::Wav => {
                let length = channels.first().map_or(0, Vec::len);
                let samples =
                    (0..length).flat_map(|place| channels.iter().map(move |channel| channel[place]));
                self.buffer.extend(samples.flat_map(i16::to_le_bytes));
            }
            Coder::Opus { pages, encoders, granule, joint } => {
                let mut coded = Vec::with_capacity(2);
                for (encoder, channel) in encoders.iter_mut().zip(channels) {
                    let mut payload = [0; PAYLOAD_MAX];
                    let length = encoder.encode(channel, &mut payload).unwrap_or(0);
                    // Of no length would be no packet: a frame of no octets instead (RFC 6716 §3.2.1).
                    coded.push(if length == 0 { vec![0x08] } else { payload[..length].to_vec() });
                }
                let samples = channels.first().map_or(0, Vec::len) as u64;
                *granule += samples * u64::from(GRANULES / self.rate);
                let packet = match &coded[..] {
                    [left, right] => {
                        joined(left, right, joint);
                        &*joint
                    }
                    _ => coded.first().map_or(&[][..], Vec::as_slice),
                };
                self.buffer.extend(pages.packet(packet, *granule).unwrap_or_default());
            }
        }
        self.frames += 1;
        if self.frames >= FRAMES {
            self.write();
        }
    }

    /// Whether nothing more can be written.
    pub const fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Writes what is left.
    pub fn finish(mut self) -> Written {
        if let Coder::Opus { pages, encoders, granule, joint } = &mut self.coder {
            // What the encoder has kept of the sound comes with one more frame.
            let end = *granule + u64::from(PRE_SKIP);
            let silence = vec![0; (self.rate / 50) as usize];
            let mut coded = Vec::new();
            for encoder in encoders {
                let mut payload = [0; PAYLOAD_MAX];
                let length = encoder.encode(&silence, &mut payload).unwrap_or(0);
                coded.push(if length == 0 { vec![0x08] } else { payload[..length].to_vec() });
            }
            if let [left, right] = &coded[..] {
                joined(left, right, joint);
                coded = vec![joint.clone()];
            }
            let full = pages.packet(coded.first().map_or(&[][..], Vec::as_slice), end);
            pages.set_end(end);
            self.buffer.extend(full.unwrap_or_default());
            let last = pages.page(true);
            self.buffer.extend(last);
        }
        let buffer = std::mem::take(&mut self.buffer);
        self.append(&buffer);
        let head = matches!(self.coder, Coder::Wav).then(|| {
            let octets = self.written.saturating_sub(wav::HEAD as u64);
            let block = u64::from(self.channels) * 2;
            wav::head(self.channels, self.rate, octets - octets % block).to_vec()
        });
        let bytes = self.written;
        match self.to {
            Destination::Draft(draft) => Written { draft: Some(draft), head, bytes, failed: self.failed },
            Destination::File(mut file, path) => {
                if let Some(head) = head {
                    let written = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&head));
                    if let Err(error) = written {
                        self.failed.get_or_insert(format!("{}: {error}", path.display()));
                    }
                }
                Written { draft: None, head: None, bytes, failed: self.failed }
            }
        }
    }

    fn write(&mut self) {
        self.frames = 0;
        let mut buffer = std::mem::take(&mut self.buffer);
        if let Coder::Opus { pages, .. } = &mut self.coder {
            buffer.extend(pages.page(false));
        }
        self.append(&buffer);
        buffer.clear();
        self.buffer = buffer;
        self.writes += 1;
        if self.writes >= WRITES {
            self.writes = 0;
            if let Destination::Draft(draft) = &self.to
                && let Err(error) = draft.sync()
            {
                self.fail(error.to_string());
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.failed.is_some() || bytes.is_empty() {
            return;
        }
        let appended = match &mut self.to {
            Destination::Draft(draft) => draft.append(bytes).map_err(|error| error.to_string()),
            Destination::File(file, path) => {
                file.write_all(bytes).map_err(|error| format!("{}: {error}", path.display()))
            }
        };
        match appended {
            Ok(()) => self.written += bytes.len() as u64,
            Err(why) => self.fail(why),
        }
    }

    fn fail(&mut self, why: String) {
        tracing::error!(why, "a recording breaks off");
        self.failed.get_or_insert(why);
    }
}
