//! What is measured of a leg, and told of it.

use std::time::Duration;

use model::{
    LegId,
    media::{Codec, Event, Order},
};
use rtp::{
    rtcp::{Compound, Packet},
    xr::{self, Extended},
};

use crate::peer::World;

#[test]
fn losses_are_counted_exactly_and_judged() {
    let world = World::new();
    let mut phone = world.phone(1, 1, Codec::Pcmu);
    // 400 packets: a burst of 5 lost, and 5 lost far from each other.
    let mut said = 0;
    for place in 0..400u32 {
        let lost = (100..105).contains(&place) || place % 60 == 59 && place > 150;
        let header = phone.header;
        if lost {
            phone.header.sequence = header.sequence.wrapping_add(1);
            phone.header.timestamp = header.timestamp.wrapping_add(160);
        } else {
            phone.say(&[1; 160]);
            said += 1;
            if said % 50 == 0 {
                // A socket holds no more than some 250.
                world.await_received(said);
            }
        }
    }
    let lost = 5 + (151..400).filter(|place| place % 60 == 59).count() as u64;
    world.await_received(400 - lost);
    world.order(1, Order::Release { leg: LegId(1) });
    let series = loop {
        match world.any_event() {
            Event::Measured { leg: LegId(1), series } => break series,
            Event::FirstPacket { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    let Event::Released { quality, .. } = world.event() else { panic!() };
    assert_eq!((quality.packets_received, quality.packets_lost), (400 - lost, lost));
    let (received, missing) = series.iter().fold((0, 0), |(received, lost), bucket| {
        (received + u64::from(bucket.packets_received), lost + u64::from(bucket.packets_lost))
    });
    assert_eq!((received, missing, series[0].at_s), (400 - lost, lost, 0));
    let bursts = quality.bursts.unwrap();
    // RFC 3611's reference counts a transition into a burst for the first loss of all besides: (4 + 2) packets over 2.
    assert!(bursts.burst_density > 50.0 && bursts.burst_ms == 60, "{bursts:?}");
    assert!(bursts.gap_density < 2.0, "{bursts:?}");
    let rating = quality.rating.unwrap();
    let percent = lost as f32 * 100.0 / 400.0;
    assert!((rating.loss_percent - percent).abs() < 0.01 && rating.burst_ratio > 1.0, "{rating:?}");
    assert!((3.0..4.4).contains(&rating.mos_cq) && rating.r_factor < 93.2, "{rating:?}");
}

#[test]
fn jitter_is_measured_in_each_codecs_clock() {
    for codec in [Codec::Pcmu, Codec::Opus] {
        let world = World::new();
        let mut phone = world.phone(1, 1, codec);
        let step = codec.clock_rate() / 50;
        for _ in 0..25 {
            let header = phone.header;
            phone.send(header, &[0x08, 0, 0]);
            phone.header.sequence = header.sequence.wrapping_add(1);
            phone.header.timestamp = header.timestamp.wrapping_add(step);
            std::thread::sleep(Duration::from_millis(20));
        }
        world.await_received(25);
        let quality = world.release(1, 1);
        // The clock of a wrong codec would drift by 16 ms a packet, and more.
        assert!(quality.jitter_ms_max < 10.0, "{codec:?} {quality:?}");
    }
}

#[test]
fn extended_reports_tell_a_peer_how_it_is_heard_and_measure_the_way() {
    let world = World::new();
    let mut phone = world.phone(1, 1, Codec::Pcmu);
    for _ in 0..10 {
        phone.say(&[1; 160]);
    }
    world.await_received(10);
    // The first report comes within a few seconds.
    let mut datagram = [0; 500];
    let length = phone.rtcp.recv(&mut datagram).unwrap();
    let compound = Compound::parse(&datagram[..length]).unwrap();
    let voip = compound.packets().find_map(|packet| match packet {
        Packet::Other { packet_type: xr::PACKET_TYPE, body } => Extended::parse(body, 0).unwrap().voip,
        _ => None,
    });
    let voip = voip.expect("VoIP metrics");
    assert_eq!((voip.ssrc, voip.loss_rate), (phone.header.ssrc, 0));
    assert!((40..=45).contains(&voip.mos_cq), "{voip:?}");
}
