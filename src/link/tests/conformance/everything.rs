//! Every order and every event there is, as large as it may be, over both twins; and who has the stream.

use link::{
    MediaEvents as _, MediaOrders as _,
    wire::{FromEdge, media_client::MediaClient},
};
use model::{
    AudioId, LegId, PlayId, SessionId,
    media::{
        Bucket, Bursts, CertificateHash, Codec, CryptoSuite, Direction, Dtls, DtlsFailure, DtlsRole, Event,
        Fingerprint, Forked, Format, Heard, Hearing, ListenId, Listening, MasterKey, MediaEvent, MediaOrder,
        MediaParameters, OpusParameters, Order, Outbound, PlayEnd, Quality, Rating, Recorded, Recording,
        RecordingEnd, Refusal, Side, Source, SpanId, Srtp, SrtpKeys, Voices,
    },
};
use tokio::{sync::mpsc, time::sleep};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    media::{Server, World, allocate, allocated, attach, event, orders, play, release},
    world::{Over, bounded, identity},
};

/// A leg whose name is as long as they get.
const LEG: LegId = LegId(u64::MAX >> 24 << 16 | 200);
/// Parties of the largest conference that the bench holds.
const PARTIES: u64 = 50;
/// Buckets of the longest call.
const BUCKETS: u32 = 240;

fn parameters() -> MediaParameters {
    let key = |suite: CryptoSuite, octet: u8| MasterKey {
        suite,
        key_and_salt: vec![octet; suite.key_length() + suite.salt_length()],
        mki: vec![octet; 4],
    };
    MediaParameters {
        codec: Codec::Opus,
        send_payload_type: 96,
        receive_payload_type: 111,
        send_telephone_event: Some(97),
        receive_telephone_event: Some(101),
        remote_rtp: "[2001:db8::1]:40000".parse().unwrap(),
        remote_rtcp: "[2001:db8::1]:40001".parse().unwrap(),
        ptime_ms: 60,
        direction: Direction::SendOnly,
        comfort_noise: Some(13),
        rtcp_mux: true,
        srtp: Some(Box::new(Srtp::Sdes(SrtpKeys {
            send: key(CryptoSuite::AeadAes256Gcm, 255),
            receive: key(CryptoSuite::AesCm128HmacSha1_32, 254),
        }))),
        peer_first: true,
        opus: Some(OpusParameters {
            max_playback_rate: 16_000,
            max_bitrate: Some(20_000),
            in_band_fec: true,
            dtx: true,
        }),
    }
}

fn by_dtls() -> MediaParameters {
    let peer = Fingerprint { hash: CertificateHash::Sha512, value: vec![255; 64] };
    MediaParameters {
        srtp: Some(Box::new(Srtp::Dtls(Dtls { peer, role: DtlsRole::Server }))),
        ..parameters()
    }
}

fn all_orders() -> Vec<Order> {
    let hearing = |leg: u64| Hearing {
        leg: LegId(LEG.0 - leg),
        sources: (0..PARTIES)
            .filter(|other| *other != leg)
            .map(|other| Source { leg: LegId(LEG.0 - other), gain_db: -40 })
            .collect(),
    };
    let recording = Recording {
        name: "n".repeat(250),
        voices: Voices::Stereo(LEG, LegId(1)),
        format: Format::OggOpus,
        max_ms: Some(u32::MAX),
        silence_ms: Some(1),
        stop_keys: "0123456789*#ABCD".into(),
        mask_keys: true,
        about: None,
    };
    let listening = Listening {
        id: ListenId(7),
        language: "en-US".into(),
        phrases: vec!["ü".repeat(64); 64],
        barge_in: true,
        end_silence_ms: 700,
        max_ms: 60_000,
        tenant: "acme".into(),
    };
    let name = || "acme/2026/a b.wav".to_owned();
    vec![
        Order::Allocate {
            leg: LEG,
            network: "public".into(),
            shared: true,
            remote: Some("192.0.2.1:4000".parse().unwrap()),
        },
        Order::Extend { leg: LEG, span: SpanId(u64::MAX) },
        Order::Configure { leg: LEG, parameters: parameters() },
        Order::Configure { leg: LEG, parameters: by_dtls() },
        Order::Play { leg: LEG, play: PlayId(1), audio: vec![AudioId([255; 32]); 32], times: None },
        Order::PlayRecording { leg: LEG, play: PlayId(2), name: name() },
        Order::Say {
            leg: LEG,
            play: PlayId(3),
            text: "\u{1f4de}".repeat(1_000),
            language: "fr-CA".into(),
            tenant: "acme".into(),
        },
        Order::StopPlay { leg: LEG },
        Order::Bridge { a: LEG, b: LegId(2) },
        Order::Unbridge { leg: LEG },
        Order::SendDtmf { leg: LEG, digits: "1,".repeat(32), duration_ms: 100, gap_ms: 60 },
        Order::Record { leg: LEG, name: "own.wav".into() },
        Order::Mix((0..PARTIES).map(hearing).collect()),
        Order::Mix(Vec::new()),
        Order::Mute { leg: LEG, muted: true },
        Order::BeginRecording(Box::new(recording)),
        Order::PauseRecording { name: name(), paused: true },
        Order::EndRecording { name: name() },
        Order::ForgetRecording { name: name() },
        Order::Listen { leg: LEG, listening: Box::new(listening) },
        Order::StopListening { leg: LEG },
        Order::Fork { leg: LEG, of: Some(Forked { leg: LegId(1), side: Side::Sent }) },
        Order::Release { leg: LEG },
    ]
}

fn all_events() -> Vec<Event> {
    let heard = |heard| Event::Heard { leg: LEG, listening: ListenId(7), heard };
    let recorded = Recorded {
        name: "acme/2026/a b.wav".into(),
        end: RecordingEnd::Key('#'),
        ms: u64::MAX,
        sound_ms: 1,
        bytes: u64::MAX,
        failed: Some("no space left on device".into()),
    };
    let bucket = |place: u32| Bucket {
        at_s: place * 3_600,
        packets_received: u32::MAX,
        packets_lost: u32::MAX,
        jitter_ms: 1.0 / 3.0,
        round_trip_ms: Some(f32::MAX),
        mos_cq: Some(4.123_456),
    };
    let quality = Quality {
        packets_received: u64::MAX,
        jitter_ms_mean: 0.1,
        one_way_ms: Some(30.25),
        bursts: Some(Bursts { burst_density: 33.3, gap_density: 1.5, burst_ms: 140, gap_ms: 2_000 }),
        rating: Some(Rating { mos_cq: 4.1, r_factor: 88.8, ..Rating::default() }),
        outbound: Some(Outbound { packets_lost: 7, jitter_ms_max: 3.5 }),
        ..Quality::default()
    };
    vec![
        allocated(5),
        Event::Refused { leg: LegId(6), reason: Refusal::PortsExhausted },
        Event::Refused { leg: LegId(7), reason: Refusal::NoSpans },
        Event::Refused { leg: LegId(8), reason: Refusal::SpanTaken },
        Event::Refused { leg: LegId(9), reason: Refusal::SpanUnprotected },
        Event::PlayEnded { leg: LEG, play: PlayId(1), how: PlayEnd::UnknownAudio },
        Event::Dtmf { leg: LEG, digit: '*' },
        Event::DtmfSent { leg: LEG },
        Event::FirstPacket { leg: LEG },
        Event::Recorded(Box::new(recorded)),
        heard(Heard::Began),
        heard(Heard::Phrase { phrase: 63, confidence: 100 }),
        heard(Heard::Other),
        heard(Heard::Failed("ü".repeat(500))),
        Event::Silent { leg: LEG, silent_ms: u32::MAX, heard_before: true },
        Event::Unprotected { leg: LEG, why: DtlsFailure::TimedOut { heard: true } },
        Event::Unprotected { leg: LEG, why: DtlsFailure::WrongFingerprint },
        Event::Measured { leg: LEG, series: (0..BUCKETS).map(bucket).collect() },
        Event::Released { leg: LegId(5), quality: Box::new(quality) },
    ]
}

/// A new order stands in none of the tests here until it has a place in both.
const fn kind_of_order(order: &Order) -> usize {
    match order {
        Order::Allocate { .. } => 0,
        Order::Configure { .. } => 1,
        Order::Play { .. } => 2,
        Order::PlayRecording { .. } => 3,
        Order::Say { .. } => 4,
        Order::StopPlay { .. } => 5,
        Order::Bridge { .. } => 6,
        Order::Unbridge { .. } => 7,
        Order::SendDtmf { .. } => 8,
        Order::Record { .. } => 9,
        Order::Mix(_) => 10,
        Order::Mute { .. } => 11,
        Order::BeginRecording(_) => 12,
        Order::PauseRecording { .. } => 13,
        Order::EndRecording { .. } => 14,
        Order::ForgetRecording { .. } => 15,
        Order::Listen { .. } => 16,
        Order::StopListening { .. } => 17,
        Order::Fork { .. } => 18,
        Order::Release { .. } => 19,
        Order::Extend { .. } => 20,
    }
}

/// The same of events.
const fn kind_of_event(event: &Event) -> usize {
    match event {
        Event::Allocated { .. } => 0,
        Event::Refused { .. } => 1,
        Event::PlayEnded { .. } => 2,
        Event::Dtmf { .. } => 3,
        Event::DtmfSent { .. } => 4,
        Event::FirstPacket { .. } => 5,
        Event::Recorded(_) => 6,
        Event::Heard { .. } => 7,
        Event::Silent { .. } => 8,
        Event::Unprotected { .. } => 9,
        Event::Measured { .. } => 10,
        Event::Released { .. } => 11,
    }
}

conformance! {
    every_order_comes_as_it_was_given_however_large
    every_event_comes_as_it_was_told_however_large
    an_edge_that_asks_for_more_than_fits_is_told_and_the_rest_comes
}

async fn every_order_comes_as_it_was_given_however_large(world: World) {
    let (server, mut edge) = (Server::new(), world.edge("edge-0"));
    let _serving = world.join(&edge, &server).await;
    let given = all_orders();
    let kinds: std::collections::BTreeSet<_> = given.iter().map(kind_of_order).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), (0..=20).collect::<Vec<_>>(), "an order is missing");
    for order in &given {
        edge.pool.send(MediaOrder { session: SessionId(3), order: order.clone() }).unwrap();
    }
    // The last one is answered.
    while !matches!(edge.event().await.event, Event::Released { .. }) {}
    let came: Vec<_> = server.seen().into_iter().map(|order| order.order).collect();
    assert_eq!(came.len(), given.len());
    for (came, given) in came.iter().zip(&given) {
        assert!(came == given, "{given:?} came as {came:?}");
    }
}

async fn every_event_comes_as_it_was_told_however_large(world: World) {
    let (server, mut edge) = (Server::new(), world.edge("edge-0"));
    let _serving = world.join(&edge, &server).await;
    edge.pool.send(allocate(3, 5)).unwrap();
    assert_eq!(edge.event().await, event(3, allocated(5)));
    // More, which are the ones that are refused.
    for leg in 6..=9 {
        edge.pool.send(allocate(3, leg)).unwrap();
        assert_eq!(edge.event().await, event(3, allocated(leg)));
    }
    let session = server.seen()[0].session;
    let events = all_events();
    let kinds: std::collections::BTreeSet<_> = events.iter().map(kind_of_event).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), (0..=11).collect::<Vec<_>>(), "an event is missing");
    for told in events {
        server.streams.send(MediaEvent { session, event: told.clone() });
        assert_eq!(edge.event().await, event(3, told));
    }
    assert_eq!(server.streams.dropped(), 0);
}

async fn an_edge_that_asks_for_more_than_fits_is_told_and_the_rest_comes(world: World) {
    let (server, mut edge) = (Server::new(), world.edge("edge-0"));
    let _serving = world.join(&edge, &server).await;
    edge.pool.send(allocate(1, 1)).unwrap();
    assert_eq!(edge.event().await, event(1, allocated(1)));
    // At once, without giving the other side time: what was taken comes, in its order, and what was not was refused.
    let mut taken = Vec::new();
    for number in 0..40_000 {
        if edge.pool.send(play(1, 1, number)).is_ok() {
            taken.push(number);
        }
    }
    assert!(taken.len() >= 16_000, "{} were taken", taken.len());
    for number in taken {
        let ended = Event::PlayEnded { leg: LegId(1), play: PlayId(number), how: PlayEnd::Finished };
        assert_eq!(edge.event().await, event(1, ended));
    }
    edge.pool.send(release(1, 1)).unwrap();
    assert!(matches!(edge.event().await.event, Event::Released { .. }));
}

#[tokio::test]
async fn a_stream_that_another_of_its_edge_has_replaced_gives_no_more_orders() {
    let world = World::new(Over::Network);
    let server = Server::new();
    let serving = world.serve(&server, "127.0.0.1:0").await;
    let edge = identity(link::identity::Role::Edge);
    let mut streams = Vec::new();
    for _ in 0..2 {
        let name =
            link::identity::Identity::new(crate::world::cluster(), link::identity::Role::Media).dns_name();
        let address = serving.address().to_string();
        let channel = bounded(link::tls::channel(&world.tls(&edge), &address, &name)).await.unwrap();
        let (sender, said) = mpsc::channel(16);
        sender.send(FromEdge { what: Some(attach()) }).await.unwrap();
        let mut client = MediaClient::new(channel);
        let mut heard = bounded(client.attach(ReceiverStream::new(said))).await.unwrap().into_inner();
        // It is attached.
        bounded(heard.message()).await.unwrap().unwrap();
        streams.push((sender, heard));
    }
    let (mut newer, mut older) = (streams.pop().unwrap(), streams.pop().unwrap());
    // The older one may be gone before it has said it.
    let late = older.0.send(FromEdge { what: Some(orders(1, 0, &[allocate(1, 1)])) }).await;
    let ended = loop {
        match bounded(older.1.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the older stream ended without a reason, {late:?}"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), tonic::Code::Aborted, "{ended}");
    assert_eq!(server.seen(), [], "an order of the older stream was carried out");
    newer.0.send(FromEdge { what: Some(orders(1, 0, &[allocate(2, 2)])) }).await.unwrap();
    bounded(newer.1.message()).await.unwrap().unwrap();
    bounded(async {
        while server.seen().is_empty() {
            sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(server.seen().len(), 1);
    assert!(matches!(server.seen()[0].order, Order::Allocate { leg: LegId(2), .. }));
}
