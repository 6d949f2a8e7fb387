//! RTCP: compound packets read and written, round trip, transmission interval (RFC 3550 §6, A.2, A.7).
//!
//! [`Compound::parse`] checks a whole datagram, so that going through it afterwards cannot fail.

use std::time::Duration;

/// Octets that [`Own::write`] needs at most.
pub const OWN_MAX: usize = 256;
/// Octets of a CNAME that we write at most (RFC 3550 §6.5 allows 255).
pub const CNAME_MAX: usize = 64;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const CNAME_ITEM: u8 = 1;
const BLOCK_LENGTH: usize = 24;

/// A datagram that has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compound<'a> {
    bytes: &'a [u8],
}

/// One packet of a compound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// SR: from one who sends.
    SenderReport {
        /// Who.
        ssrc: u32,
        /// What it has sent.
        sender: SenderInfo,
        /// What it has received.
        reports: Reports<'a>,
    },
    /// RR: from one who only receives.
    ReceiverReport {
        /// Who.
        ssrc: u32,
        /// What it has received.
        reports: Reports<'a>,
    },
    /// SDES.
    SourceDescription {
        /// Source and CNAME of its first chunk that has one.
        cname: Option<(u32, &'a [u8])>,
    },
    /// BYE.
    Bye {
        /// Who leaves, four octets each.
        sources: &'a [u8],
    },
    /// XR ([`crate::xr`] reads it), APP, or a type unknown here: to be passed over.
    Other {
        /// Its packet type.
        packet_type: u8,
        /// What follows the first four octets, without padding.
        body: &'a [u8],
    },
}

/// The sender's part of an SR (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderInfo {
    /// When it was sent.
    pub ntp: Ntp,
    /// The same moment in timestamp units.
    pub timestamp: u32,
    /// RTP packets sent.
    pub packets: u32,
    /// Payload octets sent.
    pub octets: u32,
}

/// Report blocks, read as they are gone through. At most 31.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reports<'a> {
    bytes: &'a [u8],
}

/// A reception report block (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// The source it is about.
    pub ssrc: u32,
    /// Lost since the report before, in 256ths.
    pub fraction_lost: u8,
    /// Lost since the beginning: 24 bits with sign.
    pub cumulative_lost: i32,
    /// Cycles and highest sequence number.
    pub extended_highest: u32,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
    /// Middle of the NTP timestamp of the last SR from that source; 0 if none.
    pub last_sender_report: u32,
    /// Time since then in 65,536ths of a second.
    pub delay: u32,
}

/// A wall-clock moment: seconds since 1900 and 2^32nds (RFC 3550 §4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ntp(pub u64);

/// Why bytes are not RTCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotRtcp {
    /// Cut off, or lengths that do not add up.
    #[error("RTCP packet's length does not fit the datagram")]
    Length,
    /// Not version 2.
    #[error("RTCP version is {0}, not 2")]
    Version(u8),
    /// A compound begins with SR or RR (RFC 3550 §6.1).
    #[error("RTCP datagram begins with packet type {0}, not with a report")]
    FirstType(u8),
    /// Padding that is wrong, or not in the last packet.
    #[error("RTCP padding does not fit")]
    Padding,
}

impl<'a> Compound<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// [`NotRtcp`] where RFC 3550 A.2 would discard it.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, NotRtcp> {
        let (first, mut rest) = read(datagram)?;
        match first {
            Packet::SenderReport { .. } | Packet::ReceiverReport { .. } => {}
            Packet::SourceDescription { .. } => return Err(NotRtcp::FirstType(SOURCE_DESCRIPTION)),
            Packet::Bye { .. } => return Err(NotRtcp::FirstType(BYE)),
            Packet::Other { packet_type, .. } => return Err(NotRtcp::FirstType(packet_type)),
        }
        while !rest.is_empty() {
            rest = read(rest)?.1;
        }
        Ok(Self { bytes: datagram })
    }

    /// Its packets, in order.
    pub fn packets(&self) -> impl Iterator<Item = Packet<'a>> + use<'a> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (packet, next) = read(rest).ok()?;
            rest = next;
            Some(packet)
        })
    }
}

impl Reports<'_> {
    /// The blocks, in order.
    pub fn iter(&self) -> impl Iterator<Item = Report> + '_ {
        self.bytes.as_chunks::<BLOCK_LENGTH>().0.iter().map(Report::from_bytes)
    }
}

impl Ntp {
    /// From time since 1970.
    #[must_use]
    pub fn from_unix(since: Duration) -> Self {
        const YEARS_70: u64 = 2_208_988_800;
        let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
        Self((since.as_secs().wrapping_add(YEARS_70)) << 32 | fraction)
    }

    /// The middle 32 bits: 65,536ths of a second, wrapping every 18 hours.
    #[must_use]
    pub const fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

/// Round trip, from a report about us that arrived at `now` (RFC 3550 §6.4.1). `None` when the peer has not seen a
/// report of ours, or when its figures cannot be true.
#[must_use]
pub fn round_trip(now: Ntp, report: &Report) -> Option<Duration> {
    if report.last_sender_report == 0 {
        return None;
    }
    let taken = now.middle().wrapping_sub(report.last_sender_report).wrapping_sub(report.delay);
    // Clocks step; a peer may round its delay up. Half the range, 9 hours, is certainly wrong.
    let plausible = taken < 1 << 31;
    plausible.then(|| Duration::from_micros((u64::from(taken) * 1_000_000) >> 16))
}

/// A delay in the unit of [`Report::delay`], at most 18 hours.
#[must_use]
pub fn delay_units(delay: Duration) -> u32 {
    u32::try_from((delay.as_nanos() << 16) / 1_000_000_000).unwrap_or(u32::MAX)
}

/// What the transmission interval depends on (RFC 3550 §6.3, A.7).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// Participants, ourselves included; at least 1.
    pub members: u32,
    /// Those that have sent since the second-last report.
    pub senders: u32,
    /// RTCP's share of the bandwidth, in octets per second: normally 5 % of the session's.
    pub bandwidth: f64,
    /// Whether we are among the senders.
    pub we_sent: bool,
    /// Mean size of a compound with its IP and UDP headers, in octets.
    pub average_size: f64,
    /// Whether nothing has been sent yet.
    pub initial: bool,
}

impl Timing {
    /// Time to the next report; `random` is in 0.0..1.0 and spreads it from half to one and a half times.
    #[must_use]
    pub fn interval(&self, random: f64) -> Duration {
        const MINIMUM: f64 = 5.0;
        // e − 3/2: what timer reconsideration needs to be fair (RFC 3550 §6.3.1).
        const COMPENSATION: f64 = std::f64::consts::E - 1.5;
        let few_senders = f64::from(self.senders) <= f64::from(self.members) / 4.0;
        let (share, sharing) = match (few_senders, self.we_sent) {
            (false, _) => (1.0, self.members),
            (true, true) => (0.25, self.senders),
            (true, false) => (0.75, self.members.saturating_sub(self.senders)),
        };
        let minimum = if self.initial { MINIMUM / 2.0 } else { MINIMUM };
        let fair = self.average_size * f64::from(sharing) / (self.bandwidth * share).max(1.0);
        let seconds = fair.max(minimum) * (random.clamp(0.0, 1.0) + 0.5) / COMPENSATION;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(3_600))
    }
}

/// A compound of our own: SR or RR, SDES with CNAME, and BYE when leaving.
#[derive(Debug, Clone, Copy)]
pub struct Own<'a> {
    /// Ourselves.
    pub ssrc: u32,
    /// For an SR; `None` writes an RR.
    pub sender: Option<SenderInfo>,
    /// About the peer, once it has been heard.
    pub report: Option<Report>,
    /// At most [`CNAME_MAX`] octets are written.
    pub cname: &'a str,
    /// Whether we leave.
    pub bye: bool,
}

impl Own<'_> {
    /// Writes it.
    pub fn write<'b>(&self, buffer: &'b mut [u8; OWN_MAX]) -> &'b [u8] {
        let mut out = Out { buffer, length: 0 };
        let begun = out.begin(if self.sender.is_some() { SENDER_REPORT } else { RECEIVER_REPORT });
        out.put(&self.ssrc.to_be_bytes());
        if let Some(sender) = self.sender {
            out.put(&sender.ntp.0.to_be_bytes());
            out.put(&sender.timestamp.to_be_bytes());
            out.put(&sender.packets.to_be_bytes());
            out.put(&sender.octets.to_be_bytes());
        }
        if let Some(report) = &self.report {
            out.put(&report.to_bytes());
        }
        out.end(begun, self.report.is_some().into());
        self.write_cname(&mut out);
        if self.bye {
            let begun = out.begin(BYE);
            out.put(&self.ssrc.to_be_bytes());
            out.end(begun, 1);
        }
        let Out { buffer, length } = out;
        &buffer[..length]
    }

    fn write_cname(&self, out: &mut Out<'_>) {
        let cname = self.cname.as_bytes();
        let cname = &cname[..cname.len().min(CNAME_MAX)];
        let begun = out.begin(SOURCE_DESCRIPTION);
        out.put(&self.ssrc.to_be_bytes());
        out.put(&[CNAME_ITEM, u8::try_from(cname.len()).unwrap_or(0)]);
        out.put(cname);
        // Items end with at least one zero, and the chunk on a 32-bit boundary.
        out.put(&[0; 4][..4 - (2 + cname.len()) % 4]);
        out.end(begun, 1);
    }
}

impl Report {
    /// Its 24 octets.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; BLOCK_LENGTH] {
        let mut bytes = [0; BLOCK_LENGTH];
        let lost = self.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff).to_be_bytes();
        bytes[..4].copy_from_slice(&self.ssrc.to_be_bytes());
        bytes[4] = self.fraction_lost;
        bytes[5..8].copy_from_slice(&lost[1..]);
        let words = [self.extended_highest, self.jitter, self.last_sender_report, self.delay];
        for (place, word) in bytes[8..].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; BLOCK_LENGTH]) -> Self {
        Self {
            ssrc: word(bytes, 0),
            fraction_lost: bytes[4],
            // Shifted down from the top byte, the 24th bit is the sign.
            cumulative_lost: (word(bytes, 4) << 8).cast_signed() >> 8,
            extended_highest: word(bytes, 8),
            jitter: word(bytes, 12),
            last_sender_report: word(bytes, 16),
            delay: word(bytes, 20),
        }
    }
}

struct Out<'b> {
    buffer: &'b mut [u8; OWN_MAX],
    length: usize,
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.buffer[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    fn begin(&mut self, packet_type: u8) -> usize {
        let begun = self.length;
        self.put(&[0x80, packet_type, 0, 0]);
        begun
    }

    fn end(&mut self, begun: usize, count: u8) {
        let words = u16::try_from((self.length - begun) / 4 - 1).unwrap_or(0);
        self.buffer[begun] |= count;
        self.buffer[begun + 2..begun + 4].copy_from_slice(&words.to_be_bytes());
    }
}

/// One packet and what follows it.
fn read(bytes: &[u8]) -> Result<(Packet<'_>, &[u8]), NotRtcp> {
    let (head, _) = bytes.split_first_chunk::<4>().ok_or(NotRtcp::Length)?;
    let version = head[0] >> 6;
    if version != 2 {
        return Err(NotRtcp::Version(version));
    }
    let length = 4 * (usize::from(u16::from_be_bytes([head[2], head[3]])) + 1);
    let (packet, rest) = bytes.split_at_checked(length).ok_or(NotRtcp::Length)?;
    let padded = head[0] & 0x20 != 0;
    let body = if padded { without_padding(&packet[4..], rest)? } else { &packet[4..] };
    let count = usize::from(head[0] & 0x1f);
    let packet = match head[1] {
        SENDER_REPORT => sender_report(body, count)?,
        RECEIVER_REPORT => {
            let (fixed, body) = body.split_first_chunk::<4>().ok_or(NotRtcp::Length)?;
            Packet::ReceiverReport { ssrc: u32::from_be_bytes(*fixed), reports: reports(body, count)? }
        }
        SOURCE_DESCRIPTION => Packet::SourceDescription { cname: cname(body, count) },
        BYE => Packet::Bye { sources: body.get(..4 * count).ok_or(NotRtcp::Length)? },
        packet_type => Packet::Other { packet_type, body },
    };
    Ok((packet, rest))
}

fn without_padding<'a>(body: &'a [u8], rest: &[u8]) -> Result<&'a [u8], NotRtcp> {
    let count = body.last().map_or(0, |&count| usize::from(count));
    let fits = rest.is_empty() && count > 0 && count.is_multiple_of(4) && count <= body.len();
    fits.then(|| &body[..body.len() - count]).ok_or(NotRtcp::Padding)
}

fn sender_report(body: &[u8], count: usize) -> Result<Packet<'_>, NotRtcp> {
    let (fixed, body) = body.split_first_chunk::<24>().ok_or(NotRtcp::Length)?;
    let ntp = Ntp(u64::from(word(fixed, 4)) << 32 | u64::from(word(fixed, 8)));
    let sender =
        SenderInfo { ntp, timestamp: word(fixed, 12), packets: word(fixed, 16), octets: word(fixed, 20) };
    Ok(Packet::SenderReport { ssrc: word(fixed, 0), sender, reports: reports(body, count)? })
}

/// Report blocks; what follows them is a profile's extension.
fn reports(body: &[u8], count: usize) -> Result<Reports<'_>, NotRtcp> {
    let bytes = body.get(..BLOCK_LENGTH * count).ok_or(NotRtcp::Length)?;
    Ok(Reports { bytes })
}

/// The first CNAME. Nothing else of a description matters here, so a broken one is taken for an empty one.
fn cname(body: &[u8], chunks: usize) -> Option<(u32, &[u8])> {
    let mut rest = body;
    for _ in 0..chunks {
        let (ssrc, items) = rest.split_first_chunk::<4>()?;
        let mut at = 0;
        loop {
            let kind = *items.get(at)?;
            if kind == 0 {
                break;
            }
            let length = usize::from(*items.get(at + 1)?);
            let value = items.get(at + 2..at + 2 + length)?;
            if kind == CNAME_ITEM {
                return Some((u32::from_be_bytes(*ssrc), value));
            }
            at += 2 + length;
        }
        rest = items.get((at / 4 + 1) * 4..)?;
    }
    None
}

/// The big-endian word at `at`, which the caller has made sure of.
fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REPORT: Report = Report {
        ssrc: 9,
        fraction_lost: 64,
        cumulative_lost: -5,
        extended_highest: 0x1_0002,
        jitter: 80,
        last_sender_report: 0x1234_5678,
        delay: 65_536,
    };
    const SENDER: SenderInfo =
        SenderInfo { ntp: Ntp(0x0102_0304_0506_0708), timestamp: 160, packets: 50, octets: 8_000 };

    #[test]
    fn what_is_written_is_read() {
        let table = [
            (Some(SENDER), Some(REPORT), "", false),
            (Some(SENDER), None, "a", true),
            (None, Some(REPORT), "ab@c", true),
            (None, None, "sixty-four octets are the most that this writes into one CNAME!!", false),
        ];
        for (sender, report, name, bye) in table {
            let mut buffer = [0; OWN_MAX];
            let own = Own { ssrc: 7, sender, report, cname: name, bye };
            let written = own.write(&mut buffer);
            assert_eq!(written.len() % 4, 0);
            let packets: Vec<_> = Compound::parse(written).unwrap().packets().collect();
            let reports = match (packets[0], sender) {
                (Packet::SenderReport { ssrc: 7, sender, reports }, Some(sent)) if sender == sent => reports,
                (Packet::ReceiverReport { ssrc: 7, reports }, None) => reports,
                (other, _) => panic!("{other:?}"),
            };
            assert_eq!(reports.iter().next(), report);
            assert_eq!(packets[1], Packet::SourceDescription { cname: Some((7, name.as_bytes())) });
            let expected = bye.then_some(Packet::Bye { sources: &[0, 0, 0, 7] });
            assert_eq!(packets.get(2).copied(), expected);
        }
    }

    #[test]
    fn the_longest_compound_fits() {
        let cname = "x".repeat(300);
        let own = Own { ssrc: 7, sender: Some(SENDER), report: Some(REPORT), cname: &cname, bye: true };
        let mut buffer = [0; OWN_MAX];
        assert!(Compound::parse(own.write(&mut buffer)).is_ok());
    }

    #[test]
    fn what_is_not_rtcp_is_refused() {
        let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
        let with = |tail: &[u8]| [&report[..], tail].concat();
        let table: [(&str, Vec<u8>, NotRtcp); 9] = [
            ("empty", vec![], NotRtcp::Length),
            ("version 1", vec![0x40, 201, 0, 0], NotRtcp::Version(1)),
            ("begins with SDES", vec![0x80, 202, 0, 0], NotRtcp::FirstType(202)),
            ("begins with APP", vec![0x80, 204, 0, 0], NotRtcp::FirstType(204)),
            ("longer than it is", vec![0x80, 201, 0, 2, 0, 0, 0, 7], NotRtcp::Length),
            ("block cut off", vec![0x81, 201, 0, 1, 0, 0, 0, 7], NotRtcp::Length),
            ("rubbish behind", with(&[1]), NotRtcp::Length),
            ("padding inside", with(&[0xa0, 201, 0, 1, 0, 0, 0, 4, 0x80, 203, 0, 0]), NotRtcp::Padding),
            ("BYE without its sources", with(&[0x82, 203, 0, 1, 0, 0, 0, 7]), NotRtcp::Length),
        ];
        for (what, bytes, why) in table {
            assert_eq!(Compound::parse(&bytes), Err(why), "{what}");
        }
        assert!(Compound::parse(&with(&[0xa0, 203, 0, 1, 0, 0, 0, 4])).is_ok());
    }

    #[test]
    fn a_round_trip_is_what_the_peer_did_not_spend() {
        let sent = Ntp::from_unix(Duration::from_millis(1_000_000));
        let now = Ntp::from_unix(Duration::from_millis(1_000_350));
        let delay = delay_units(Duration::from_millis(300));
        let report = Report { last_sender_report: sent.middle(), delay, ..Report::default() };
        let taken = round_trip(now, &report).unwrap().as_secs_f64();
        assert!((0.0499..0.0501).contains(&taken), "{taken}");
        let impossible = Report { delay: delay * 2, ..report };
        assert_eq!(round_trip(now, &impossible), None);
        assert_eq!(round_trip(now, &Report::default()), None);
    }

    #[test]
    fn two_parties_report_every_five_seconds_more_or_less() {
        let call = Timing {
            members: 2,
            senders: 2,
            bandwidth: 400.0,
            we_sent: true,
            average_size: 120.0,
            initial: false,
        };
        let seconds = |timing: Timing, random| timing.interval(random).as_secs_f64();
        assert!((seconds(call, 0.0) - 2.5 / 1.21828).abs() < 0.001);
        assert!((seconds(call, 1.0) - 7.5 / 1.21828).abs() < 0.001);
        assert!((seconds(Timing { initial: true, ..call }, 0.5) - 2.5 / 1.21828).abs() < 0.001);
        let crowd = Timing { members: 1_000, senders: 1, we_sent: false, ..call };
        assert!((seconds(crowd, 0.5) - 999.0 * 120.0 / 300.0 / 1.21828).abs() < 0.01);
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            walk(&bytes);
        }

        #[test]
        fn any_damage_is_answered(place in 0usize..100, byte: u8, cut in 0usize..100) {
            let mut buffer = [0; OWN_MAX];
            let own = Own { ssrc: 7, sender: Some(SENDER), report: Some(REPORT), cname: "ab", bye: true };
            let mut bytes = own.write(&mut buffer).to_vec();
            let length = bytes.len();
            bytes[place % length] = byte;
            walk(&bytes);
            walk(&bytes[..cut % length]);
        }
    }

    fn walk(bytes: &[u8]) {
        let Ok(compound) = Compound::parse(bytes) else { return };
        for packet in compound.packets() {
            if let Packet::SenderReport { reports, .. } | Packet::ReceiverReport { reports, .. } = packet {
                reports.iter().for_each(|report| assert_eq!(Report::from_bytes(&report.to_bytes()), report));
            }
        }
    }
}
