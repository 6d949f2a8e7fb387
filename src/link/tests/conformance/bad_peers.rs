//! Peers that do not keep to the rules, over the network.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use link::{
    config::{Misbehaviour, PodName, Report, What},
    identity::{Identity, Party, Role},
    pki::{Authority, Credentials, Subject},
    server::Serving,
    tls::Tls,
    wire::{self, from_pod, to_pod},
};
use model::{ClusterId, section::Digest};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::Code;

use crate::world::*;

fn edge() -> Identity {
    identity(Role::Edge)
}

async fn misbehaviour(world: &mut World) -> Misbehaviour {
    world
        .until(|report| match report.what {
            What::Misbehaved(fault) => Some(fault),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn a_hello_that_names_another_cluster_or_role_than_its_certificate_is_refused() {
    let mut world = World::new(Over::Network).await;
    let other = Identity::new(ClusterId::new("voice", "c15"), Role::Edge);
    for lie in [other, identity(Role::Media)] {
        let mut raw = world.raw(&edge()).await.unwrap();
        raw.say(from_pod::What::Hello(hello(&lie, "edge-0"))).await;
        assert_eq!(raw.end().await.code(), Code::PermissionDenied);
        let report = world.report().await;
        // Whose fault it is follows the certificate.
        assert_eq!(report.pod, PodName::new("edge-0", "1").of(&edge()));
        assert_eq!(report.what, What::Misbehaved(Misbehaviour::NotItsCertificate));
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_or_none_of_ours_gets_no_stream() {
    let world = World::new(Over::Network).await;
    let stranger = Authority::generate("switchboard", SystemTime::now(), 30).unwrap();
    let forged = stranger.issue(&Subject::of(&Party::Pod(edge())), SystemTime::now(), 7).unwrap();
    // It trusts us; we do not trust it.
    let forged = Credentials { ca: world.authority.certificate_pem().to_owned(), ..forged };
    assert!(world.raw_with(&forged).await.is_err());
    let nameless = Subject { name: "somebody".to_owned(), ..Subject::default() };
    let nameless = world.authority.issue(&nameless, SystemTime::now(), 7).unwrap();
    assert!(world.raw_with(&nameless).await.is_err());
    let operator = world.authority.issue(&Subject::of(&Party::Operator), SystemTime::now(), 7).unwrap();
    let refused = world.raw_with(&operator).await.err().expect("an operator is no pod");
    assert_eq!(refused.code(), Code::PermissionDenied);
    let mut both = Subject::of(&Party::Pod(edge()));
    both.uris.push(identity(Role::Media).to_string());
    let both = world.authority.issue(&both, SystemTime::now(), 7).unwrap();
    assert!(world.raw_with(&both).await.is_err());
}

#[tokio::test]
async fn no_certificate_gets_no_stream() {
    let world = World::new(Over::Network).await;
    // Plain HTTP/2, without any handshake.
    let mut plain = TcpStream::connect(world.address()).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // An alert, or a reset.
    let _ = bounded(plain.read_to_end(&mut answer)).await;
    assert!(!answer.windows(4).any(|bytes| bytes == b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn a_pod_does_not_talk_to_an_operator_of_another_authority() {
    let world = World::new(Over::Network).await;
    let credentials = world.credentials(&edge());
    let stranger = Authority::generate("switchboard", SystemTime::now(), 30).unwrap();
    let distrusts = Credentials { ca: stranger.certificate_pem().to_owned(), ..credentials };
    assert!(world.raw_with(&distrusts).await.is_err());
}

#[tokio::test]
async fn a_certificate_of_a_clock_an_hour_away_is_taken_and_an_expired_one_is_not() {
    let world = World::new(Over::Network).await;
    let hour = Duration::from_secs(3_600);
    let subject = Subject::of(&Party::Pod(edge()));
    for made in [SystemTime::now() + hour, SystemTime::now() - hour] {
        let credentials = world.authority.issue(&subject, made, 1).unwrap();
        assert!(world.raw_with(&credentials).await.is_ok());
    }
    let expired = world.authority.issue(&subject, SystemTime::now() - 25 * hour, 1).unwrap();
    assert!(world.raw_with(&expired).await.is_err());
}

#[tokio::test]
async fn an_acknowledgement_of_what_was_not_sent_ends_the_stream() {
    let mut world = World::new(Over::Network).await;
    world.publish(publication(at(1, 1), &[("acme", "a")]));
    let digest = sections(&[("acme", "a")]).digest();
    let lies = [(at(1, 2), digest), (at(9, 1), digest), (at(1, 1), Digest::of(b"no"))];
    for (position, digest) in lies {
        let mut raw = world.raw(&edge()).await.unwrap();
        raw.say(from_pod::What::Hello(hello(&edge(), "edge-0"))).await;
        raw.parcel().await;
        raw.acknowledge(position, digest).await;
        assert_eq!(raw.end().await.code(), Code::InvalidArgument);
        assert_eq!(misbehaviour(&mut world).await, Misbehaviour::NotSent);
        assert_eq!(world.what().await, What::Left { goodbye: false });
    }
}

#[tokio::test]
async fn an_acknowledgement_before_the_end_of_a_publication_ends_the_stream() {
    let mut world = World::new(Over::Network).await;
    let long = "x".repeat(16 << 20);
    world.publish(publication(at(1, 1), &[("acme", &long)]));
    let mut raw = world.raw(&edge()).await.unwrap();
    raw.say(from_pod::What::Hello(hello(&edge(), "edge-0"))).await;
    assert!(matches!(raw.hear().await, Ok(Some(to_pod::What::Begin(_)))));
    raw.acknowledge(at(1, 1), sections(&[("acme", &long)]).digest()).await;
    assert_eq!(misbehaviour(&mut world).await, Misbehaviour::NotSent);
}

#[tokio::test]
async fn a_stream_must_begin_with_one_hello() {
    let mut world = World::new(Over::Network).await;
    let mut raw = world.raw(&edge()).await.unwrap();
    raw.say(from_pod::What::State(wire::State::default())).await;
    assert_eq!(raw.end().await.code(), Code::InvalidArgument);
    assert_eq!(misbehaviour(&mut world).await, Misbehaviour::NoHello);
    let mut raw = world.raw(&edge()).await.unwrap();
    for _ in 0..2 {
        raw.say(from_pod::What::Hello(hello(&edge(), "edge-0"))).await;
    }
    assert_eq!(raw.end().await.code(), Code::InvalidArgument);
    assert_eq!(misbehaviour(&mut world).await, Misbehaviour::NoHello);
}

#[tokio::test]
async fn a_delta_names_only_what_changed_and_a_pod_may_ask_for_the_whole() {
    let world = World::new(Over::Network).await;
    let (old, new) = ([("acme", "a"), ("globex", "g")], [("acme", "b"), ("globex", "g")]);
    world.publish(publication(at(1, 1), &old));
    let mut raw = world.raw(&edge()).await.unwrap();
    raw.say(from_pod::What::Hello(hello(&edge(), "edge-0"))).await;
    raw.parcel().await;
    raw.acknowledge(at(1, 1), sections(&old).digest()).await;
    world.publish(publication(at(1, 2), &new));
    let names = |parcel: Vec<to_pod::What>| {
        let mut names = Vec::new();
        for what in parcel {
            if let to_pod::What::Pieces(pieces) = what {
                names.extend(pieces.pieces.into_iter().map(|piece| match piece.of {
                    Some(wire::piece::Of::Section(name)) => name,
                    _ => "other".to_owned(),
                }));
            }
        }
        names
    };
    assert_eq!(names(raw.parcel().await), ["flows/acme"]);
    raw.say(from_pod::What::Whole(wire::Whole {})).await;
    assert_eq!(names(raw.parcel().await), ["flows/acme", "flows/globex"]);
    // Once is enough.
    raw.say(from_pod::What::Whole(wire::Whole {})).await;
    assert_eq!(raw.end().await.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn words_of_a_pod_are_cut_or_refused_when_they_are_too_long() {
    let mut world = World::new(Over::Network).await;
    world.publish(publication(at(1, 1), &[("acme", "a")]));
    let mut raw = world.raw(&edge()).await.unwrap();
    let long = "ü".repeat(5_000);
    raw.say(from_pod::What::Hello(wire::Hello { version: long.clone(), ..hello(&edge(), "edge-0") })).await;
    let What::Joined { version, .. } = world.what().await else { panic!("no hello") };
    assert_eq!(version, "ü".repeat(128));
    raw.parcel().await;
    let position = Some(at(1, 1).into());
    raw.say(from_pod::What::Refused(wire::Refused { position, path: long.clone(), message: long.clone() }))
        .await;
    let What::Refused { path, message, .. } = world.what().await else { panic!("no refusal") };
    assert_eq!((path.len(), message.len()), (1_024, 1_024));
    raw.say(from_pod::What::State(wire::State { zone: long.clone(), ..Default::default() })).await;
    assert!(matches!(misbehaviour(&mut world).await, Misbehaviour::Malformed(_)));
    let mut raw = world.raw(&edge()).await.unwrap();
    raw.say(from_pod::What::Hello(hello(&edge(), &long))).await;
    assert_eq!(raw.end().await.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_pod_that_refuses_everything_is_sent_each_publication_once() {
    let mut world = World::new(Over::Network).await;
    let feed = world.feed(Role::Edge, "edge-0");
    for sequence in 1..=20 {
        world.publish(publication(at(1, sequence), &[("acme", &sequence.to_string())]));
        let offer = offered(&feed).await;
        assert_eq!(offer.position, at(1, sequence));
        feed.refuse(offer.position, "everything", "no");
        let refused =
            |report: &Report| matches!(report.what, What::Refused { .. }).then(|| report.what.clone());
        let What::Refused { position, .. } = world.until(refused).await else { unreachable!() };
        assert_eq!(position, at(1, sequence));
    }
    assert_eq!(feed.position(), None);
}

#[tokio::test]
async fn a_pod_that_does_not_read_hurts_nobody() {
    let mut world = World::new(Over::Network).await;
    let long = "x".repeat(16 << 20);
    let slow = world.raw(&edge()).await.unwrap();
    slow.say(from_pod::What::Hello(hello(&edge(), "slow"))).await;
    world.until(|report| matches!(report.what, What::Joined { .. }).then_some(())).await;
    let quick = world.feed(Role::Edge, "quick");
    for sequence in 1..=5 {
        world.publish(publication(at(1, sequence), &[("acme", &long[..long.len() - sequence as usize])]));
        assert_eq!(applied(&quick).await.position, at(1, sequence));
        assert_eq!(world.acknowledged().await, at(1, sequence));
    }
}

/// Passes bytes on, until told to pass none, or one a second towards the pod.
pub struct Proxy {
    pub address: SocketAddr,
    pub mode: tokio::sync::watch::Sender<Mode>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Mode {
    Open,
    Trickle,
    Silent,
}

impl Proxy {
    pub async fn to(serving: &Serving) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, target) = (listener.local_addr().unwrap(), serving.address());
        let (mode, modes) = tokio::sync::watch::channel(Mode::Open);
        tokio::spawn(async move {
            while let Ok((pod, _)) = listener.accept().await {
                let operator = TcpStream::connect(target).await.unwrap();
                let ((from_pod, to_pod), (from_operator, to_operator)) =
                    (pod.into_split(), operator.into_split());
                tokio::spawn(pass(from_pod, to_operator, modes.clone()));
                tokio::spawn(pass(from_operator, to_pod, modes.clone()));
            }
        });
        Self { address, mode }
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut modes: tokio::sync::watch::Receiver<Mode>,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let mode = *modes.borrow_and_update();
        let most = if mode == Mode::Trickle { 1 } else { buffer.len() };
        tokio::select! {
            changed = modes.changed() => if changed.is_err() { return },
            read = from.read(&mut buffer[..most]), if mode != Mode::Silent => match read {
                Ok(octets @ 1..) => {
                    if to.write_all(&buffer[..octets]).await.is_err() { return }
                    if mode == Mode::Trickle {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
                _ => return,
            }
        }
    }
}

fn feed_at(world: &World, address: &str, name: &str) -> link::config::Feed {
    let start =
        link::config::Start { pod: PodName::new(name, "1"), version: String::new(), held: None, seed: 1 };
    let tls = Tls::new(&world.credentials(&edge())).unwrap();
    link::config::Feed::connect(tls, edge(), vec![address.to_owned()], start)
}

#[tokio::test]
async fn half_open_connections_and_those_of_a_byte_a_second_are_let_go_and_come_back() {
    let mut world = World::new(Over::Network).await;
    world.publish(publication(at(1, 1), &[("acme", "a")]));
    let proxy = Proxy::to(world.serving.as_ref().unwrap()).await;
    let feed = feed_at(&world, &proxy.address.to_string(), "edge-0");
    applied(&feed).await;
    assert_eq!(world.acknowledged().await, at(1, 1));
    for (round, mode) in [Mode::Silent, Mode::Trickle].into_iter().enumerate() {
        proxy.mode.send_replace(mode);
        let sequence = round as u64 + 2;
        world.publish(publication(at(1, sequence), &[("acme", &"b".repeat(100_000 + round))]));
        // Neither end hears of the other; both notice.
        world.until(|report| (report.what == What::Left { goodbye: false }).then_some(())).await;
        proxy.mode.send_replace(Mode::Open);
        assert_eq!(applied(&feed).await.position, at(1, sequence));
        assert_eq!(world.acknowledged().await, at(1, sequence));
    }
}

#[tokio::test]
async fn certificates_rotate_while_streams_stay_up() {
    let mut world = World::new(Over::Network).await;
    let (now, operator) = (SystemTime::now(), Subject::of(&Party::Operator));
    world.publish(publication(at(1, 1), &[("acme", "a")]));
    let old = world.feed(Role::Edge, "old");
    applied(&old).await;
    world.acknowledged().await;
    let new = Authority::generate("switchboard", now, 30).unwrap();
    let bundle = format!("{}{}", world.authority.certificate_pem(), new.certificate_pem());
    // First all trust both, then certificates of the new one are issued.
    let both = |credentials: Credentials| Credentials { ca: bundle.clone(), ..credentials };
    world.tls.replace(&both(world.authority.issue(&operator, now, 7).unwrap())).unwrap();
    let issued = both(new.issue(&Subject::of(&Party::Pod(edge())), now, 7).unwrap());
    let mut raw = world.raw_with(&issued).await.unwrap();
    raw.say(from_pod::What::Hello(hello(&edge(), "new"))).await;
    raw.parcel().await;
    // Then the old one is trusted no more.
    world.tls.replace(&new.issue(&operator, now, 7).unwrap()).unwrap();
    assert!(world.raw(&edge()).await.is_err());
    world.publish(publication(at(1, 2), &[("acme", "b")]));
    assert_eq!(applied(&old).await.position, at(1, 2));
    assert_eq!(world.acknowledged().await, at(1, 2));
}

#[tokio::test]
async fn credentials_in_a_folder_are_read_again() {
    let world = World::new(Over::Network).await;
    let folder = tempfile::tempdir().unwrap();
    let write = |credentials: &Credentials| {
        for (name, text) in [
            ("ca.crt", &credentials.ca),
            ("tls.crt", &credentials.certificate),
            ("tls.key", &credentials.key),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
    };
    let stranger = Authority::generate("switchboard", SystemTime::now(), 30).unwrap();
    let subject = Subject::of(&Party::Pod(edge()));
    write(&stranger.issue(&subject, SystemTime::now(), 7).unwrap());
    let file = link::tls::CredentialsFile::watch(folder.path()).unwrap();
    let start =
        link::config::Start { pod: PodName::new("e", "1"), version: String::new(), held: None, seed: 1 };
    let feed = link::config::Feed::connect(file.tls(), edge(), vec![world.address()], start);
    world.publish(publication(at(1, 1), &[("acme", "a")]));
    write(&world.credentials(&edge()));
    assert_eq!(applied(&feed).await.position, at(1, 1));
    std::fs::remove_file(folder.path().join("tls.key")).unwrap();
    assert!(link::tls::CredentialsFile::watch(folder.path()).is_err());
}
