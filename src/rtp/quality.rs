//! What is measured on one leg, for its reception reports and for its record (RFC 3550 §6.4, A.1, A.3, A.8).

use std::time::Instant;

use model::media::Quality;

use crate::{
    jitter_estimate::JitterEstimate,
    packet::Header,
    rtcp::{Ntp, Report, SenderInfo, delay_units, round_trip},
    sequence::{Order, Sequence},
};

/// Counts and measures.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    quality: Quality,
    source: Option<Source>,
    /// Lost of sources that have been replaced.
    lost_before: u64,
    octets_sent: u32,
    /// The RTP clock of sources that begin from now on, in Hz; 0: that of telephone audio.
    clock: u32,
    sent_clock: u32,
}

#[derive(Debug, Clone)]
struct Source {
    ssrc: u32,
    sequence: Sequence,
    jitter: JitterEstimate,
    last_sender_report: Option<(u32, Instant)>,
}

/// What a packet is to its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The stream's first, or the first of a new source.
    First,
    /// One more.
    Next,
    /// Late or a duplicate.
    Older,
    /// Far off: to be discarded, and counted as such already.
    Invalid,
}

impl Meter {
    /// Takes a packet from the peer. Without `timed`, it does not count for jitter: a telephone-event's timestamp
    /// is that of its beginning.
    pub fn receive(&mut self, header: &Header, timed: bool, now: Instant) -> Arrival {
        let arrival = match &mut self.source {
            Some(source) if source.ssrc == header.ssrc => match source.sequence.receive(header.sequence) {
                Order::Newer { .. } => Arrival::Next,
                Order::Older => Arrival::Older,
                Order::Invalid => {
                    self.discard();
                    return Arrival::Invalid;
                }
                Order::Restarted => {
                    source.jitter.interrupt();
                    Arrival::First
                }
            },
            _ => {
                self.begin(header);
                Arrival::First
            }
        };
        self.quality.packets_received += 1;
        if timed {
            self.time(header.timestamp, now);
        }
        arrival
    }

    /// What RTP's clock is from now on, in Hz, both ways.
    pub fn set_clock(&mut self, clock: u32) {
        if std::mem::replace(&mut self.clock, clock) != clock
            && let Some(source) = &mut self.source
        {
            source.jitter = JitterEstimate::new(clock);
        }
        self.sent_clock = clock;
    }

    /// Interarrival jitter of the present source in milliseconds.
    #[must_use]
    pub fn jitter_ms(&self) -> f32 {
        self.source.as_ref().map_or(0.0, |source| source.jitter.present_ms())
    }

    /// The round trip was measured by other reports than about us.
    pub fn round_trip(&mut self, taken: std::time::Duration) {
        self.quality.round_trip_ms = Some(taken.as_secs_f32() * 1_000.0);
    }

    /// The source that is heard.
    #[must_use]
    pub fn ssrc(&self) -> Option<u32> {
        self.source.as_ref().map(|source| source.ssrc)
    }

    /// A packet was thrown away.
    pub const fn discard(&mut self) {
        self.quality.packets_discarded += 1;
    }

    /// A packet with so many octets of payload was sent.
    pub const fn sent(&mut self, octets: usize) {
        self.quality.packets_sent += 1;
        self.octets_sent = self.octets_sent.wrapping_add(octets as u32);
    }

    /// The peer's SR has come.
    pub fn sender_report(&mut self, ssrc: u32, sender: &SenderInfo, now: Instant) {
        if let Some(source) = self.source.as_mut().filter(|source| source.ssrc == ssrc) {
            source.last_sender_report = Some((sender.ntp.middle(), now));
        }
    }

    /// The peer's report about us has come.
    pub fn report_about_us(&mut self, report: &Report, now: Ntp) {
        if let Some(taken) = round_trip(now, report) {
            self.quality.round_trip_ms = Some(taken.as_secs_f32() * 1000.0);
        }
        let clock = if self.sent_clock == 0 { crate::CLOCK_RATE } else { self.sent_clock };
        let jitter_ms = (f64::from(report.jitter) * 1_000.0 / f64::from(clock)) as f32;
        let outbound = self.quality.outbound.get_or_insert_default();
        outbound.packets_lost = u64::try_from(report.cumulative_lost).unwrap_or(0);
        outbound.jitter_ms_max = outbound.jitter_ms_max.max(jitter_ms);
    }

    /// Our report about the peer, once it has sent. Begins a new interval.
    pub fn report(&mut self, now: Instant) -> Option<Report> {
        let source = self.source.as_mut()?;
        let report = source.sequence.report();
        let (last_sender_report, delay) = source
            .last_sender_report
            .map_or((0, 0), |(middle, at)| (middle, delay_units(now.saturating_duration_since(at))));
        Some(Report {
            ssrc: source.ssrc,
            fraction_lost: report.fraction_lost,
            cumulative_lost: report.cumulative_lost,
            extended_highest: report.extended_highest,
            jitter: source.jitter.jitter(),
            last_sender_report,
            delay,
        })
    }

    /// The sender's part of our report. The counts wrap, as the field does.
    #[must_use]
    pub const fn sender_info(&self, ntp: Ntp, timestamp: u32) -> SenderInfo {
        SenderInfo { ntp, timestamp, packets: self.quality.packets_sent as u32, octets: self.octets_sent }
    }

    /// Packets sent so far.
    #[must_use]
    pub const fn packets_sent(&self) -> u64 {
        self.quality.packets_sent
    }

    /// All that was measured until now.
    #[must_use]
    pub fn quality(&self) -> Quality {
        let lost = self.source.as_ref().map_or(0, |source| source.sequence.lost());
        let jitter = self.source.as_ref().map_or(0.0, |source| source.jitter.greatest_ms());
        Quality {
            packets_lost: self.lost_before + lost,
            jitter_ms_max: jitter.max(self.quality.jitter_ms_max),
            ..self.quality
        }
    }

    fn begin(&mut self, header: &Header) {
        let Quality { packets_lost, jitter_ms_max, .. } = self.quality();
        self.lost_before = packets_lost;
        self.quality.jitter_ms_max = jitter_ms_max;
        self.source = Some(Source {
            ssrc: header.ssrc,
            sequence: Sequence::new(header.sequence),
            jitter: JitterEstimate::new(if self.clock == 0 { crate::CLOCK_RATE } else { self.clock }),
            last_sender_report: None,
        });
    }

    fn time(&mut self, timestamp: u32, now: Instant) {
        if let Some(source) = &mut self.source {
            source.jitter.receive(now, timestamp);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tests::some_instant;

    fn header(ssrc: u32, sequence: u16) -> Header {
        let timestamp = u32::from(sequence) * 160;
        Header { marker: false, payload_type: 0, sequence, timestamp, ssrc }
    }

    #[test]
    fn a_stream_with_a_loss_and_a_new_source_is_measured_whole() {
        let (mut meter, start) = (Meter::default(), some_instant());
        let stream = [(1, 1), (1, 2), (1, 4), (2, 900), (2, 902)];
        let arrivals: Vec<_> = (0..)
            .zip(stream)
            .map(|(at, (ssrc, sequence))| {
                meter.receive(&header(ssrc, sequence), true, start + Duration::from_millis(20 * at))
            })
            .collect();
        use Arrival::{First, Next};
        assert_eq!(arrivals, [First, Next, Next, First, Next]);
        meter.discard();
        meter.sent(160);
        let quality = meter.quality();
        assert_eq!((quality.packets_received, quality.packets_sent), (5, 1));
        assert_eq!((quality.packets_lost, quality.packets_discarded), (2, 1));
        assert!(quality.jitter_ms_max > 0.0);
        assert_eq!(quality.round_trip_ms, None);
    }

    #[test]
    fn a_far_packet_is_discarded_and_counted() {
        let (mut meter, now) = (Meter::default(), some_instant());
        meter.receive(&header(1, 1), true, now);
        assert_eq!(meter.receive(&header(1, 30_000), true, now), Arrival::Invalid);
        assert_eq!(meter.receive(&header(1, 30_001), true, now), Arrival::First);
        assert_eq!(meter.quality().packets_discarded, 1);
        assert_eq!(meter.quality().packets_received, 2);
    }

    #[test]
    fn two_parties_measure_their_round_trip() {
        let start = some_instant();
        let ntp = |ms: u64| Ntp::from_unix(Duration::from_millis(5_000_000 + ms));
        let (mut us, mut peer) = (Meter::default(), Meter::default());
        peer.receive(&header(7, 1), true, start);
        peer.sender_report(7, &us.sender_info(ntp(0), 0), start + Duration::from_millis(30));
        let report = peer.report(start + Duration::from_millis(1_030)).unwrap();
        assert_eq!(report.ssrc, 7);
        us.report_about_us(&report, ntp(1_060));
        let taken = us.quality().round_trip_ms.unwrap();
        assert!((59.9..60.1).contains(&taken), "{taken}");
    }

    #[test]
    fn before_the_peers_first_packet_there_is_nothing_to_report() {
        assert_eq!(Meter::default().report(some_instant()), None);
    }
}
