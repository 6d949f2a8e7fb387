//! RTCP of one leg: reports and BYE out, reports in (RFC 3550 §6).

use std::{
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use rtp::{
    quality::Meter,
    rtcp::{Compound, Ntp, OWN_MAX, Own, Packet, Timing},
    xr::{self, Extended},
};

use crate::{measure::Measure, outgoing::Outgoing, sys};

/// RTCP's share of a G.711 call, in octets per second: 5 % of 64 kbit/s (RFC 3550 §6.2).
const BANDWIDTH: f64 = 400.0;
/// SR with one block, CNAME, UDP and IP.
const AVERAGE_SIZE: f64 = 120.0;

/// When to report, whereto, and as whom.
#[derive(Debug)]
pub struct Reports {
    cname: [u8; 16],
    to: Option<SocketAddr>,
    signalled: Option<SocketAddr>,
    due: Option<Instant>,
    /// Share of our packets that the peer lost of late, in percent, until it is asked for.
    lost_percent: Option<u8>,
    /// Packets sent until the last report, and until the one before.
    sent_marks: [u64; 2],
}

impl Reports {
    /// `random` makes a name that cannot be linked to other legs (RFC 7022 §4.2).
    pub fn new(random: u64) -> Self {
        let mut cname = *b"0123456789abcdef";
        let digits = cname;
        for (place, octet) in cname.iter_mut().enumerate() {
            *octet = digits[(random >> (4 * place)) as usize & 0x0f];
        }
        Self { cname, to: None, signalled: None, due: None, lost_percent: None, sent_marks: [0; 2] }
    }

    /// Begins to report, or goes on to another address.
    pub fn configure(&mut self, remote: SocketAddr, now: Instant) {
        if self.signalled != Some(remote) {
            (self.signalled, self.to) = (Some(remote), Some(remote));
        }
        self.due.get_or_insert_with(|| now + interval(true, false));
    }

    /// When the next report is due; far away before [`Reports::configure`].
    pub fn due(&self) -> Instant {
        self.due.unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600))
    }

    /// Writes a report, with a BYE when leaving, into the beginning of `buffer`. Returns its length and where it goes.
    pub fn write(
        &mut self,
        buffer: &mut [u8; OWN_MAX],
        outgoing: &Outgoing,
        meter: &mut Meter,
        bye: bool,
        now: Instant,
    ) -> Option<(usize, SocketAddr)> {
        let sends = meter.packets_sent() > self.sent_marks[1];
        self.sent_marks = [meter.packets_sent(), self.sent_marks[0]];
        self.due = Some(now + interval(false, sends));
        let sender = sends.then(|| meter.sender_info(wall_clock(), outgoing.timestamp_at(now)));
        let cname = std::str::from_utf8(&self.cname).unwrap_or_default();
        let own = Own { ssrc: outgoing.ssrc(), sender, report: meter.report(now), cname, bye };
        let to = self.to.filter(|to| to.port() != 0 && !to.ip().is_unspecified())?;
        Some((own.write(buffer).len(), to))
    }

    /// Share of our packets that the peer lost of late, in percent, if it has said so anew.
    pub fn take_lost_percent(&mut self) -> Option<u8> {
        self.lost_percent.take()
    }

    /// Takes the peer's. `false`: it is not RTCP.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        from: SocketAddr,
        ssrc: u32,
        (meter, measure): (&mut Meter, &mut Measure),
        now: Instant,
    ) -> bool {
        let Ok(compound) = Compound::parse(bytes) else { return false };
        self.to = Some(from);
        let wall_clock = wall_clock();
        for packet in compound.packets() {
            let reports = match packet {
                Packet::SenderReport { ssrc, sender, reports } => {
                    meter.sender_report(ssrc, &sender, now);
                    reports
                }
                Packet::ReceiverReport { reports, .. } => reports,
                Packet::Other { packet_type: xr::PACKET_TYPE, body } => {
                    if let Ok(extended) = Extended::parse(body, ssrc) {
                        measure.hear(&extended, now);
                        let answer = extended.last_reference.filter(|answer| answer.ssrc == ssrc);
                        if let Some(taken) = answer.and_then(|answer| answer.round_trip(wall_clock)) {
                            meter.round_trip(taken);
                        }
                    }
                    continue;
                }
                Packet::SourceDescription { .. } | Packet::Bye { .. } | Packet::Other { .. } => continue,
            };
            for report in reports.iter().filter(|report| report.ssrc == ssrc) {
                meter.report_about_us(&report, wall_clock);
                self.lost_percent = Some((u16::from(report.fraction_lost) * 100 / 256) as u8);
            }
        }
        true
    }
}

fn interval(initial: bool, we_sent: bool) -> Duration {
    let timing =
        Timing { members: 2, senders: 2, bandwidth: BANDWIDTH, we_sent, average_size: AVERAGE_SIZE, initial };
    timing.interval((sys::random() >> 32) as f64 / f64::from(u32::MAX))
}

fn wall_clock() -> Ntp {
    Ntp::from_unix(SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default())
}
