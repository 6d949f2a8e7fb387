//! What is measured of one leg besides counts: how losses lie together, how it would be judged, and how it went.
//!
//! Loss and late packets are followed one by one; all else is read off every five seconds, so that a packet costs a few
//! instructions.

use std::time::{Duration, Instant};

use model::media::{Bucket, Codec, Quality, Rating};
use rtp::{
    burst::{Bursts, Figures},
    emodel::{self, Inputs},
    quality::Meter,
    rtcp::Ntp,
    timeline::{BUCKET, Timeline},
    xr::{Extended, LastReference, VoipMetrics},
};

/// Delay of a jitter buffer that is not ours, in milliseconds: a leg that is relayed is played out by its hearer.
const PLAYOUT_MS: f64 = 40.0;

/// From mouth to ear: half of the round trip (of RTCP's LSR and DLSR, RFC 3550 §6.4.1, or of DLRR, RFC 3611 §4.5), for no clock is
/// known to be the peer's; what a jitter buffer holds; and the packet, which must be full before it can leave. No round trip: 0.
fn mouth_to_ear_ms(round_trip_ms: Option<f32>, playout_ms: Option<u32>, packet_ms: f64) -> f64 {
    f64::from(round_trip_ms.unwrap_or(0.0)) / 2.0 + playout_ms.map_or(PLAYOUT_MS, f64::from) + packet_ms
}

/// The figures of one leg.
#[derive(Debug)]
pub struct Measure {
    begun: Instant,
    bursts: Bursts,
    codec: Codec,
    packet_ms: f64,
    /// Delay of our own jitter buffer while there is one.
    playout_ms: Option<u32>,
    timeline: Option<Timeline>,
    due: Option<Instant>,
    /// Packets received and lost, and milliseconds made up, until the last reading.
    marks: (u64, u64, u64),
    /// Mean of the jitter read off, and how often.
    jitter: (f64, u32),
    /// The peer's reference time (RFC 3611 §4.4), when it came, and of whom.
    reference: Option<(u32, u32, Instant)>,
}

impl Measure {
    /// Of a leg that begins now.
    pub fn new(now: Instant) -> Self {
        Self {
            begun: now,
            bursts: Bursts::default(),
            codec: Codec::Pcmu,
            packet_ms: 20.0,
            playout_ms: None,
            timeline: None,
            due: None,
            marks: (0, 0, 0),
            jitter: (0.0, 0),
            reference: None,
        }
    }

    /// What is heard from now on, in packets of about so long.
    pub fn configure(&mut self, codec: Codec, packet: Duration, now: Instant) {
        (self.codec, self.packet_ms) = (codec, packet.as_secs_f64() * 1_000.0);
        self.due = self.due.or_else(|| Some(self.next_bucket(now)));
    }

    /// When the bucket that it is now is over. Readings fall on the buckets' own bounds: beside them, a reading that is a
    /// little late would count for the next.
    fn next_bucket(&self, now: Instant) -> Instant {
        let whole = now.saturating_duration_since(self.begun).as_nanos() / BUCKET.as_nanos();
        let whole = u32::try_from(whole).unwrap_or(u32::MAX - 1);
        self.begun + BUCKET * (whole + 1)
    }

    /// A packet was accepted.
    pub fn receive(&mut self, sequence: u16) {
        self.bursts.receive(sequence, true);
    }

    /// A packet that was accepted came too late to be heard.
    pub fn discard(&mut self, sequence: u16) {
        self.bursts.discard(sequence);
    }

    /// When to be read off next.
    pub const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Reads off what the last seconds were like, if they are over.
    pub fn read(&mut self, meter: &Meter, decoded: (u64, Option<u32>), now: Instant) {
        let Some(due) = self.due.filter(|due| *due <= now) else { return };
        // A reading that was late makes none of the next ones later.
        self.due = Some(self.next_bucket(now));
        self.read_now(meter, decoded, due);
    }

    fn read_now(&mut self, meter: &Meter, (concealed_ms, playout_ms): (u64, Option<u32>), now: Instant) {
        let quality = meter.quality();
        let (received, lost, concealed) = self.marks;
        // What was taken for lost and came after all is told already: it stands for the next that is lost.
        self.marks = (quality.packets_received, quality.packets_lost.max(lost), concealed_ms);
        self.playout_ms = playout_ms.or(self.playout_ms);
        if quality.packets_received == received && quality.packets_lost <= lost {
            return;
        }
        let jitter = f64::from(meter.jitter_ms());
        self.jitter.1 += 1;
        self.jitter.0 += (jitter - self.jitter.0) / f64::from(self.jitter.1);
        let r = self.rating(&self.figures(), quality.round_trip_ms).map(|rating| rating.r_factor);
        let begun = self.begun;
        // The moment belongs to the seconds that are over.
        let at = now.checked_sub(Duration::from_millis(1)).unwrap_or(now);
        let bucket = self.timeline.get_or_insert_with(|| Timeline::new(begun)).at(at);
        let grown = |now: u64, before: u64| u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX);
        bucket.received += grown(quality.packets_received, received);
        bucket.lost += grown(quality.packets_lost, lost);
        bucket.concealed_ms += grown(concealed_ms, concealed);
        bucket.jitter_ms_max = bucket.jitter_ms_max.max(jitter as f32);
        bucket.round_trip_ms = quality.round_trip_ms.unwrap_or(bucket.round_trip_ms);
        bucket.r_min = match (bucket.r_min, r) {
            (Some(before), Some(now)) => Some(before.min(now)),
            (before, now) => before.or(now),
        };
    }

    /// All that was measured.
    pub fn quality(&mut self, meter: &Meter, decoded: (u64, Option<u32>), now: Instant) -> Quality {
        self.read_now(meter, decoded, now);
        let quality = meter.quality();
        let figures = self.figures();
        let heard = figures.packets > 0;
        let percent = |share: f64| (share * 100.0) as f32;
        Quality {
            jitter_ms_mean: self.jitter.0 as f32,
            concealed_ms: decoded.0,
            one_way_ms: quality.round_trip_ms.map(|both| both / 2.0),
            bursts: heard.then(|| model::media::Bursts {
                burst_density: percent(figures.burst_density),
                gap_density: percent(figures.gap_density),
                burst_ms: figures.burst_ms as u32,
                gap_ms: figures.gap_ms as u32,
            }),
            rating: self.rating(&figures, quality.round_trip_ms),
            ..quality
        }
    }

    /// How it went, five seconds by five seconds.
    pub fn series(&self) -> Vec<Bucket> {
        let Some(timeline) = &self.timeline else { return Vec::new() };
        let length = timeline.bucket().as_secs() as u32;
        let buckets = (0..).zip(timeline.buckets()).map(|(place, bucket)| Bucket {
            at_s: place * length,
            packets_received: bucket.received,
            packets_lost: bucket.lost,
            jitter_ms: bucket.jitter_ms_max,
            round_trip_ms: Some(bucket.round_trip_ms).filter(|&taken| taken > 0.0),
            mos_cq: bucket.r_min.map(|r| emodel::mos(f64::from(r)) as f32),
        });
        buckets.collect()
    }

    /// Our extended report about a peer's source, in answer to its own.
    pub fn extended(&self, ssrc: u32, about: u32, meter: &Meter, now: Instant) -> Extended {
        let figures = self.figures();
        let quality = meter.quality();
        let voip = self.inputs(&figures, quality.round_trip_ms).map(|inputs| {
            let delay = quality.round_trip_ms.unwrap_or(0.0) as u16;
            let metrics = VoipMetrics::measured(about, &figures, &inputs.rating());
            VoipMetrics { round_trip_delay: delay, ..metrics }
        });
        let last_reference = self.reference.map(|(ssrc, reference, at)| {
            let delay = rtp::rtcp::delay_units(now.saturating_duration_since(at));
            LastReference { ssrc, reference, delay }
        });
        Extended { ssrc, reference_time: None, last_reference, voip }
    }

    /// Takes the peer's.
    pub fn hear(&mut self, report: &Extended, now: Instant) {
        if let Some(reference) = report.reference_time {
            self.reference = Some((report.ssrc, Ntp::middle(reference), now));
        }
    }

    fn figures(&self) -> Figures {
        self.bursts.figures(self.packet_ms)
    }

    fn inputs(&self, figures: &Figures, round_trip_ms: Option<f32>) -> Option<Inputs> {
        let one_way_delay_ms = mouth_to_ear_ms(round_trip_ms, self.playout_ms, self.packet_ms);
        (figures.packets > 0).then(|| Inputs {
            loss_percent: figures.loss_percent(),
            burst_ratio: figures.burst_ratio,
            one_way_delay_ms,
            ..Inputs::of(self.codec)
        })
    }

    fn rating(&self, figures: &Figures, round_trip_ms: Option<f32>) -> Option<Rating> {
        let inputs = self.inputs(figures, round_trip_ms)?;
        let rating = inputs.rating();
        Some(Rating {
            mos_cq: rating.mos as f32,
            r_factor: rating.r as f32,
            delay_ms: inputs.one_way_delay_ms as f32,
            loss_percent: inputs.loss_percent as f32,
            burst_ratio: inputs.burst_ratio as f32,
            codec_impairment: inputs.equipment_impairment as f32,
            codec_robustness: inputs.loss_robustness as f32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of the README's table under "What a call's quality says": codec, round trip, jitter buffer, packet, loss, burst ratio, and
    /// what comes of them.
    #[test]
    fn the_readmes_examples_are_what_comes_out() {
        let text = include_str!("../../README.md").split("### What a call's quality says").nth(1).unwrap();
        let rows = text.lines().filter(|line| line.starts_with("| PCMU") || line.starts_with("| OPUS"));
        let mut count = 0;
        for row in rows {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [codec, round_trip, playout, packet, loss, burst, delay, r, mos] = cells[..] else {
                panic!("{row}");
            };
            let number = |text: &str| text.parse::<f64>().unwrap();
            let playout = (playout != "not ours").then(|| playout.parse().unwrap());
            let found = mouth_to_ear_ms(Some(round_trip.parse().unwrap()), playout, number(packet));
            assert!((found - number(delay)).abs() < 0.01, "{row}: {found} ms");
            let rating = Inputs {
                loss_percent: number(loss),
                burst_ratio: number(burst),
                one_way_delay_ms: found,
                ..Inputs::of(if codec == "PCMU" { Codec::Pcmu } else { Codec::Opus })
            }
            .rating();
            assert!((rating.r - number(r)).abs() < 0.051, "{row}: R {}", rating.r);
            assert!((rating.mos - number(mos)).abs() < 0.0051, "{row}: MOS {}", rating.mos);
            count += 1;
        }
        assert_eq!(count, 6);
    }
}
