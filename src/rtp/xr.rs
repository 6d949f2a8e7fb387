//! Extended reports (RFC 3611): receiver reference time, DLRR, and VoIP metrics, read and written.
//!
//! Reference time and DLRR give a party that only listens its round trip, as SR and RR give one that speaks. Block types other than these
//! are passed over.

use std::time::Duration;

use crate::{
    burst::Figures,
    emodel::Rating,
    rtcp::{Ntp, Report, round_trip},
};

/// RTCP packet type of an extended report.
pub const PACKET_TYPE: u8 = 207;
/// Octets that [`Extended::write`] needs at most.
pub const OWN_MAX: usize = 72;
/// Blocks that are looked at in one packet; a sender has one of each.
pub const BLOCKS_MAX: usize = 32;

const REFERENCE_TIME: u8 = 4;
const DLRR: u8 = 5;
const VOIP_METRICS: u8 = 7;
const VOIP_LENGTH: usize = 32;

/// Levels and losses that are not known (RFC 3611 §4.7).
pub const UNAVAILABLE: u8 = 127;

/// A packet that is no extended report, or whose lengths do not add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("extended report's blocks do not fit the packet")]
pub struct Malformed;

/// One extended report.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Extended {
    /// Who sends it.
    pub ssrc: u32,
    /// Its clock (§4.4): to be sent by one that sends no SR.
    pub reference_time: Option<Ntp>,
    /// Answer to a reference time (§4.5); of several, the one for `about`, see [`Extended::parse`].
    pub last_reference: Option<LastReference>,
    /// §4.7.
    pub voip: Option<VoipMetrics>,
}

/// One sub-block of DLRR (RFC 3611 §4.5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LastReference {
    /// Whose reference time it answers.
    pub ssrc: u32,
    /// Middle of that time's NTP timestamp ([`Ntp::middle`]).
    pub reference: u32,
    /// Time since, in 65,536ths of a second.
    pub delay: u32,
}

impl LastReference {
    /// Round trip, seen from who sent the reference time and got this answer at `now`. `None` when it cannot be true.
    #[must_use]
    pub fn round_trip(&self, now: Ntp) -> Option<Duration> {
        round_trip(
            now,
            &Report { last_sender_report: self.reference, delay: self.delay, ..Report::default() },
        )
    }
}

/// How a voice call is received (RFC 3611 §4.7), as the block has it: shares in 256ths, times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoipMetrics {
    /// The source it is about.
    pub ssrc: u32,
    /// Share of packets lost.
    pub loss_rate: u8,
    /// Share of packets discarded by the jitter buffer.
    pub discard_rate: u8,
    /// Share of packets lost or discarded within bursts, and within gaps.
    pub burst_density: u8,
    /// See `burst_density`.
    pub gap_density: u8,
    /// Mean length of bursts, and of gaps.
    pub burst_duration: u16,
    /// See `burst_duration`.
    pub gap_duration: u16,
    /// Between both ends of RTP; 0: not known.
    pub round_trip_delay: u16,
    /// Of the reporting end itself; 0: not known.
    pub end_system_delay: u16,
    /// Of speech, in dBm0; 127: not known.
    pub signal_level: i8,
    /// Of silence, in dBm0; 127: not known.
    pub noise_level: i8,
    /// Residual echo return loss in dB; 127: not known.
    pub echo_return_loss: u8,
    /// The gap threshold that was used.
    pub gmin: u8,
    /// R, 0 to 100; 127: not known.
    pub r_factor: u8,
    /// R of another network behind; 127: not known.
    pub external_r_factor: u8,
    /// MOS for listening and for conversation, times ten: 10 to 50; 127: not known.
    pub mos_lq: u8,
    /// See `mos_lq`.
    pub mos_cq: u8,
    /// How losses are concealed and the jitter buffer adapts (§4.7.6).
    pub configuration: u8,
    /// Delay of the jitter buffer now, at its most, and the most it could have.
    pub jitter_buffer_nominal: u16,
    /// See `jitter_buffer_nominal`.
    pub jitter_buffer_maximum: u16,
    /// See `jitter_buffer_nominal`.
    pub jitter_buffer_absolute_maximum: u16,
}

impl Default for VoipMetrics {
    /// All that can be unknown is.
    fn default() -> Self {
        Self {
            ssrc: 0,
            loss_rate: 0,
            discard_rate: 0,
            burst_density: 0,
            gap_density: 0,
            burst_duration: 0,
            gap_duration: 0,
            round_trip_delay: 0,
            end_system_delay: 0,
            signal_level: UNAVAILABLE.cast_signed(),
            noise_level: UNAVAILABLE.cast_signed(),
            echo_return_loss: UNAVAILABLE,
            gmin: crate::burst::GMIN as u8,
            r_factor: UNAVAILABLE,
            external_r_factor: UNAVAILABLE,
            mos_lq: UNAVAILABLE,
            mos_cq: UNAVAILABLE,
            configuration: 0,
            jitter_buffer_nominal: 0,
            jitter_buffer_maximum: 0,
            jitter_buffer_absolute_maximum: 0,
        }
    }
}

/// §4.7.6: concealment is enhanced (it adapts to the sound), the jitter buffer adapts at a medium rate.
pub const ENHANCED_AND_ADAPTIVE: u8 = 0b1011_0111;

impl VoipMetrics {
    /// With what was measured of the source.
    #[must_use]
    pub fn measured(ssrc: u32, figures: &Figures, rating: &Rating) -> Self {
        let rate = |count: u64| share(count as f64 / figures.packets.max(1) as f64);
        Self {
            ssrc,
            loss_rate: rate(figures.lost),
            discard_rate: rate(figures.discarded),
            burst_density: share(figures.burst_density),
            gap_density: share(figures.gap_density),
            burst_duration: milliseconds(figures.burst_ms),
            gap_duration: milliseconds(figures.gap_ms),
            r_factor: rating.r.round() as u8,
            mos_cq: (rating.mos * 10.0).round() as u8,
            configuration: ENHANCED_AND_ADAPTIVE,
            ..Self::default()
        }
    }

    fn to_bytes(self) -> [u8; VOIP_LENGTH] {
        let mut bytes = [0; VOIP_LENGTH];
        bytes[..4].copy_from_slice(&self.ssrc.to_be_bytes());
        bytes[4..8].copy_from_slice(&[
            self.loss_rate,
            self.discard_rate,
            self.burst_density,
            self.gap_density,
        ]);
        let times = [self.burst_duration, self.gap_duration, self.round_trip_delay, self.end_system_delay];
        for (place, time) in bytes[8..16].chunks_exact_mut(2).zip(times) {
            place.copy_from_slice(&time.to_be_bytes());
        }
        let levels = [
            self.signal_level.cast_unsigned(),
            self.noise_level.cast_unsigned(),
            self.echo_return_loss,
            self.gmin,
        ];
        bytes[16..20].copy_from_slice(&levels);
        bytes[20..24].copy_from_slice(&[self.r_factor, self.external_r_factor, self.mos_lq, self.mos_cq]);
        bytes[24] = self.configuration;
        let buffer =
            [self.jitter_buffer_nominal, self.jitter_buffer_maximum, self.jitter_buffer_absolute_maximum];
        for (place, delay) in bytes[26..].chunks_exact_mut(2).zip(buffer) {
            place.copy_from_slice(&delay.to_be_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; VOIP_LENGTH]) -> Self {
        let half = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        Self {
            ssrc: u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            loss_rate: bytes[4],
            discard_rate: bytes[5],
            burst_density: bytes[6],
            gap_density: bytes[7],
            burst_duration: half(8),
            gap_duration: half(10),
            round_trip_delay: half(12),
            end_system_delay: half(14),
            signal_level: bytes[16].cast_signed(),
            noise_level: bytes[17].cast_signed(),
            echo_return_loss: bytes[18],
            gmin: bytes[19],
            r_factor: bytes[20],
            external_r_factor: bytes[21],
            mos_lq: bytes[22],
            mos_cq: bytes[23],
            configuration: bytes[24],
            jitter_buffer_nominal: half(26),
            jitter_buffer_maximum: half(28),
            jitter_buffer_absolute_maximum: half(30),
        }
    }
}

/// As 256ths: a whole is 255 (RFC 3611 §4.7.1).
fn share(part: f64) -> u8 {
    (part * 256.0).floor() as u8
}

fn milliseconds(time: f64) -> u16 {
    time.round() as u16
}

impl Extended {
    /// Reads what follows the first four octets of a packet of type [`PACKET_TYPE`]
    /// ([`crate::rtcp::Packet::Other`]). Of DLRR's answers the one for `about` is taken, of blocks that come twice the first.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(body: &[u8], about: u32) -> Result<Self, Malformed> {
        let (ssrc, mut rest) = body.split_first_chunk::<4>().ok_or(Malformed)?;
        let mut report = Self { ssrc: u32::from_be_bytes(*ssrc), ..Self::default() };
        for _ in 0..BLOCKS_MAX {
            if rest.is_empty() {
                break;
            }
            let (&[kind, _, l0, l1], after) = rest.split_first_chunk::<4>().ok_or(Malformed)?;
            let length = 4 * usize::from(u16::from_be_bytes([l0, l1]));
            let (block, after) = after.split_at_checked(length).ok_or(Malformed)?;
            rest = after;
            match kind {
                REFERENCE_TIME => {
                    let time = u64::from_be_bytes(*block.as_array().ok_or(Malformed)?);
                    report.reference_time.get_or_insert(Ntp(time));
                }
                DLRR => {
                    let (answers, rest) = block.as_chunks::<12>();
                    if !rest.is_empty() {
                        return Err(Malformed);
                    }
                    let mine = answers.iter().map(last_reference).find(|answer| answer.ssrc == about);
                    report.last_reference = report.last_reference.or(mine);
                }
                VOIP_METRICS => {
                    let metrics = VoipMetrics::from_bytes(block.as_array().ok_or(Malformed)?);
                    report.voip.get_or_insert(metrics);
                }
                _ => {}
            }
        }
        Ok(report)
    }

    /// Writes the whole packet, to be appended to a compound that begins with SR or RR.
    pub fn write<'b>(&self, buffer: &'b mut [u8; OWN_MAX]) -> &'b [u8] {
        let mut length = 0;
        let mut put = |bytes: &[u8]| {
            buffer[length..length + bytes.len()].copy_from_slice(bytes);
            length += bytes.len();
        };
        put(&[0x80, PACKET_TYPE, 0, 0]);
        put(&self.ssrc.to_be_bytes());
        if let Some(time) = self.reference_time {
            put(&[REFERENCE_TIME, 0, 0, 2]);
            put(&time.0.to_be_bytes());
        }
        if let Some(answer) = self.last_reference {
            put(&[DLRR, 0, 0, 3]);
            put(&answer.ssrc.to_be_bytes());
            put(&answer.reference.to_be_bytes());
            put(&answer.delay.to_be_bytes());
        }
        if let Some(metrics) = self.voip {
            put(&[VOIP_METRICS, 0, 0, (VOIP_LENGTH / 4) as u8]);
            put(&metrics.to_bytes());
        }
        let words = (length / 4 - 1) as u8;
        buffer[3] = words;
        &buffer[..length]
    }
}

fn last_reference(bytes: &[u8; 12]) -> LastReference {
    let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    LastReference { ssrc: word(0), reference: word(4), delay: word(8) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        emodel::Inputs,
        rtcp::{Compound, Own, Packet, delay_units},
    };

    fn metrics() -> VoipMetrics {
        VoipMetrics {
            ssrc: 9,
            loss_rate: 5,
            discard_rate: 2,
            burst_density: 100,
            gap_density: 3,
            burst_duration: 240,
            gap_duration: 9_000,
            round_trip_delay: 80,
            end_system_delay: 60,
            signal_level: -18,
            noise_level: -62,
            jitter_buffer_nominal: 40,
            jitter_buffer_maximum: 90,
            jitter_buffer_absolute_maximum: 200,
            ..VoipMetrics::default()
        }
    }

    #[test]
    fn what_is_written_is_read_within_a_compound() {
        let answer = LastReference { ssrc: 9, reference: 0x1234_5678, delay: 65_536 };
        let table = [
            Extended { ssrc: 7, ..Extended::default() },
            Extended { ssrc: 7, reference_time: Some(Ntp(0x0102_0304_0506_0708)), ..Extended::default() },
            Extended { ssrc: 7, last_reference: Some(answer), ..Extended::default() },
            Extended {
                ssrc: 7,
                reference_time: Some(Ntp(5)),
                last_reference: Some(answer),
                voip: Some(metrics()),
            },
        ];
        for report in table {
            let mut compound = [0; crate::rtcp::OWN_MAX];
            let own = Own { ssrc: 7, sender: None, report: None, cname: "a", bye: false };
            let mut bytes = own.write(&mut compound).to_vec();
            bytes.extend_from_slice(report.write(&mut [0; OWN_MAX]));
            let packets: Vec<_> = Compound::parse(&bytes).unwrap().packets().collect();
            let Packet::Other { packet_type: PACKET_TYPE, body } = packets[2] else { panic!("{packets:?}") };
            assert_eq!(Extended::parse(body, 9), Ok(report));
        }
    }

    #[test]
    fn the_blocks_are_laid_out_as_rfc_3611_says() {
        let report = Extended { ssrc: 7, voip: Some(metrics()), ..Extended::default() };
        let mut buffer = [0; OWN_MAX];
        let bytes = report.write(&mut buffer);
        assert_eq!(bytes[..12], [0x80, 207, 0, 10, 0, 0, 0, 7, 7, 0, 0, 8]);
        assert_eq!(bytes[12..28], [0, 0, 0, 9, 5, 2, 100, 3, 0, 240, 0x23, 0x28, 0, 80, 0, 60]);
        assert_eq!(bytes[28..44], [238, 194, 127, 16, 127, 127, 127, 127, 0, 0, 0, 40, 0, 90, 0, 200]);
    }

    #[test]
    fn a_listener_measures_its_round_trip() {
        let at = |ms: u64| Ntp::from_unix(Duration::from_millis(7_000_000 + ms));
        let answer = LastReference {
            ssrc: 1,
            reference: at(0).middle(),
            delay: delay_units(Duration::from_millis(500)),
        };
        let taken = answer.round_trip(at(570)).unwrap().as_secs_f64();
        assert!((0.0699..0.0701).contains(&taken), "{taken}");
        assert_eq!(LastReference::default().round_trip(at(0)), None);
    }

    #[test]
    fn unknown_blocks_are_passed_over_and_broken_ones_refused() {
        let unknown = [0, 0, 0, 7, 99, 0, 0, 1, 1, 2, 3, 4, 4, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
        assert_eq!(Extended::parse(&unknown, 0).unwrap().reference_time, Some(Ntp(0x1_0000_0002)));
        let table: [(&str, &[u8]); 6] = [
            ("no source", &[0, 0, 7]),
            ("half a block", &[0, 0, 0, 7, 4, 0]),
            ("longer than it is", &[0, 0, 0, 7, 4, 0, 0, 2, 1, 2, 3, 4]),
            ("a short reference time", &[0, 0, 0, 7, 4, 0, 0, 1, 1, 2, 3, 4]),
            ("half an answer", &[0, 0, 0, 7, 5, 0, 0, 1, 1, 2, 3, 4]),
            ("short metrics", &[0, 0, 0, 7, 7, 0, 0, 1, 1, 2, 3, 4]),
        ];
        for (what, body) in table {
            assert_eq!(Extended::parse(body, 0), Err(Malformed), "{what}");
        }
    }

    #[test]
    fn measured_figures_fill_the_block() {
        let figures = Figures {
            packets: 1_000,
            lost: 20,
            discarded: 10,
            burst_density: 0.5,
            gap_density: 0.01,
            burst_ms: 123.4,
            gap_ms: 99_999.0,
            burst_ratio: 1.2,
        };
        let rating = Inputs { loss_percent: 3.0, ..Inputs::of(model::media::Codec::Pcmu) }.rating();
        let metrics = VoipMetrics::measured(5, &figures, &rating);
        assert_eq!(
            (metrics.loss_rate, metrics.discard_rate, metrics.burst_density, metrics.gap_density),
            (5, 2, 128, 2)
        );
        assert_eq!((metrics.burst_duration, metrics.gap_duration), (123, u16::MAX));
        assert!((80..86).contains(&metrics.r_factor) && (40..43).contains(&metrics.mos_cq), "{metrics:?}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(body in prop::collection::vec(any::<u8>(), 0..200), about: u32) {
            if let Ok(report) = Extended::parse(&body, about) {
                let mut buffer = [0; OWN_MAX];
                let written = report.write(&mut buffer);
                let mut again = Extended::parse(&written[4..], about);
                if let Ok(again) = &mut again {
                    again.voip = again.voip.map(|metrics| VoipMetrics { ..metrics });
                }
                prop_assert_eq!(again, Ok(report));
            }
        }
    }
}
