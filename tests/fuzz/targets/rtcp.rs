//! RTCP compounds and the extended reports in them: read whole or not at all, and what we write of them is read again
//! (RFC 3550 §6, RFC 3611).
#![no_main]

use fuzz::{datagrams, moment};
use libfuzzer_sys::fuzz_target;
use rtp::{
    packet::Header,
    quality::Meter,
    rtcp::{Compound, Ntp, OWN_MAX, Own, Packet},
    xr::{self, Extended},
};

fuzz_target!(|input: &[u8]| {
    let mut meter = Meter::default();
    for (datagram, tick) in datagrams(input).zip(0..) {
        let now = moment(tick * 500);
        let Ok(compound) = Compound::parse(datagram) else { continue };
        assert!(compound.packets().count() > 0);
        for packet in compound.packets() {
            take(&mut meter, packet, tick, now);
        }
        let report = meter.report(now);
        let own = Own { ssrc: 1, sender: None, report, cname: "fuzz@127.0.0.1", bye: tick % 2 == 1 };
        assert!(Compound::parse(own.write(&mut [0; OWN_MAX])).is_ok());
    }
    let _ = meter.quality();
});

fn take(meter: &mut Meter, packet: Packet<'_>, tick: u64, now: std::time::Instant) {
    let ntp = Ntp(tick << 31);
    match packet {
        Packet::SenderReport { ssrc, sender, reports } => {
            let header = Header { ssrc, sequence: tick as u16, timestamp: sender.timestamp, ..Header::default() };
            meter.receive(&header, true, now);
            meter.sender_report(ssrc, &sender, now);
            reports.iter().for_each(|report| meter.report_about_us(&report, ntp));
        }
        Packet::ReceiverReport { reports, .. } => {
            reports.iter().for_each(|report| meter.report_about_us(&report, ntp));
        }
        Packet::SourceDescription { cname } => assert!(cname.is_none_or(|(_, name)| name.len() <= 255)),
        Packet::Bye { sources } => assert_eq!(sources.len() % 4, 0),
        Packet::Other { packet_type: xr::PACKET_TYPE, body } => extended(meter, body, ntp),
        Packet::Other { .. } => {}
    }
}

fn extended(meter: &mut Meter, body: &[u8], now: Ntp) {
    let Ok(report) = Extended::parse(body, 1) else { return };
    if let Some(taken) = report.last_reference.and_then(|answer| answer.round_trip(now)) {
        meter.round_trip(taken);
    }
    let mut buffer = [0; xr::OWN_MAX];
    let written = report.write(&mut buffer);
    // The head of four octets is the compound's.
    assert_eq!(Extended::parse(&written[4..], 1), Ok(report));
}
