//! The wire's form: each message in `tests/wire/` must be written and read for ever as it is there. Once a version is out,
//! a file there is never changed, only added.

use std::{fmt::Write, fs, path::PathBuf};

use link::wire::*;
use model::{
    LegId, SessionId,
    media::{MediaEvent, MediaOrder, Order},
};
use prost::Message;

use crate::world::*;

fn position() -> Option<Position> {
    Some(Position { term: 3, sequence: 300 })
}

fn held() -> Held {
    Held { position: position(), digest: vec![7; 32].into() }
}

fn state() -> State {
    State {
        ready: true,
        draining: true,
        calls: 12,
        capacity: 500,
        link: "10.1.2.3:9444".to_owned(),
        node: "fd00::1".to_owned(),
        zone: "eu-1a".to_owned(),
    }
}

fn piece(of: piece::Of, content: &str) -> Piece {
    Piece { of: Some(of), content: content.as_bytes().to_vec().into(), more: false, removed: false }
}

/// By name: who says it, and its octets.
fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let from_pod = |name, what| (name, FromPod { what: Some(what) }.encode_to_vec());
    let to_pod = |name, what| (name, ToPod { what: Some(what) }.encode_to_vec());
    let from_edge = |name, what| (name, FromEdge { what: Some(what) }.encode_to_vec());
    let to_edge = |name, what| (name, ToEdge { what: Some(what) }.encode_to_vec());
    let hello = Hello {
        schema: 1,
        cluster: "voice/c14".to_owned(),
        role: "media".to_owned(),
        pod: "c14-media-0".to_owned(),
        instance: "1f".to_owned(),
        held: Some(held()),
        audio: vec![vec![9; 32].into()],
        version: "0.1.0".to_owned(),
    };
    let refused = Refused {
        position: position(),
        path: "cluster.listeners".to_owned(),
        message: "must not change".to_owned(),
    };
    let begin = Begin {
        position: position(),
        schema: 1,
        base: vec![1; 32].into(),
        target: vec![2; 32].into(),
        secrets: true,
    };
    let secret = SecretName { object: "acme/crm".to_owned(), key: "token".to_owned() };
    let mut pieces = vec![
        piece(piece::Of::Section("flows/acme".to_owned()), "{}"),
        piece(piece::Of::Audio(vec![9; 32].into()), "RIFF"),
        piece(piece::Of::Secret(secret), "value"),
        piece(piece::Of::Section("numbers/7f".to_owned()), ""),
    ];
    pieces[1].more = true;
    pieces[3].removed = true;
    let pod = Pod {
        role: "media".to_owned(),
        pod: "c14-media-0".to_owned(),
        instance: "1f".to_owned(),
        state: Some(state()),
    };
    let order = MediaOrder { session: SessionId(5), order: Order::Release { leg: LegId(6) } };
    let event =
        MediaEvent { session: SessionId(5), event: model::media::Event::Dtmf { leg: LegId(6), digit: '#' } };
    let order = serde_json::to_vec(&order).unwrap();
    let event = serde_json::to_vec(&event).unwrap();
    vec![
        from_pod("hello", from_pod::What::Hello(hello)),
        from_pod("acknowledged", from_pod::What::Acknowledged(held())),
        from_pod("refused", from_pod::What::Refused(refused)),
        from_pod("state", from_pod::What::State(state())),
        from_pod("goodbye", from_pod::What::Goodbye(Goodbye {})),
        from_pod("whole", from_pod::What::Whole(Whole {})),
        to_pod("begin", to_pod::What::Begin(begin)),
        to_pod("pieces", to_pod::What::Pieces(Pieces { pieces })),
        to_pod("commit", to_pod::What::Commit(Commit {})),
        to_pod("topology", to_pod::What::Topology(Topology { pods: vec![pod] })),
        from_edge(
            "attach",
            from_edge::What::Attach(Attach {
                pod: "c14-edge-0".to_owned(),
                instance: "a0".to_owned(),
                received: 40,
            }),
        ),
        from_edge(
            "orders",
            from_edge::What::Orders(Batch { first: 41, received: 7, entries: vec![order.into()] }),
        ),
        to_edge("attached", to_edge::What::Attached(Attached { resumed: true, received: 40 })),
        to_edge(
            "events",
            to_edge::What::Events(Batch { first: 8, received: 41, entries: vec![event.into()] }),
        ),
    ]
}

fn hex(octets: &[u8]) -> String {
    let mut text = String::new();
    for line in octets.chunks(32) {
        for octet in line {
            write!(text, "{octet:02x}").unwrap();
        }
        text.push('\n');
    }
    text
}

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(octet).collect()
}

#[test]
fn every_message_is_written_and_read_as_ever() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/wire");
    let messages = messages();
    for (name, now) in &messages {
        let path = folder.join(format!("{name}.hex"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() && !path.exists() {
            fs::write(&path, hex(now)).unwrap();
        }
        let kept = octets(&fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}")));
        assert!(*now == kept, "{name} is written as\n{}", hex(now));
        // Read and written again, nothing is lost.
        let again = match *name {
            "attach" | "orders" => FromEdge::decode(&*kept).unwrap().encode_to_vec(),
            "attached" | "events" => ToEdge::decode(&*kept).unwrap().encode_to_vec(),
            "begin" | "pieces" | "commit" | "topology" => ToPod::decode(&*kept).unwrap().encode_to_vec(),
            _ => FromPod::decode(&*kept).unwrap().encode_to_vec(),
        };
        assert!(again == kept, "{name} is not read as it is written");
    }
    let files = fs::read_dir(folder).unwrap().count();
    assert_eq!(files, messages.len(), "each file in tests/wire must have its message here");
}

/// Field 1,000, a string, and field 1,001, a varint: of a version to come.
const FUTURE: &[u8] = &[0xc2, 0x3e, 3, b'n', b'e', b'w', 0xc8, 0x3e, 42];

#[test]
fn fields_from_the_future_are_ignored() {
    for (name, mut octets) in messages() {
        octets.extend_from_slice(FUTURE);
        let known = match name {
            "attach" | "orders" => FromEdge::decode(&*octets).map(|read| read.what.is_some()),
            "attached" | "events" => ToEdge::decode(&*octets).map(|read| read.what.is_some()),
            "begin" | "pieces" | "commit" | "topology" => {
                ToPod::decode(&*octets).map(|read| read.what.is_some())
            }
            _ => FromPod::decode(&*octets).map(|read| read.what.is_some()),
        };
        assert_eq!(known, Ok(true), "{name}");
    }
    let mut inner = held().encode_to_vec();
    inner.extend_from_slice(FUTURE);
    assert!(Held::decode(&*inner) == Ok(held()));
    // A member of a oneof that is not known is none.
    assert!(ToPod::decode(FUTURE).is_ok_and(|read| read.what.is_none()));
    assert!(Piece::decode(FUTURE).is_ok_and(|read| read.of.is_none()));
}

#[tokio::test]
async fn words_from_the_future_do_not_end_a_stream() {
    let world = World::new(Over::Network).await;
    world.publish(publication(at(1, 1), &[("acme", "a")]));
    let edge = identity(link::identity::Role::Edge);
    let mut raw = world.raw(&edge).await.unwrap();
    raw.say(from_pod::What::Hello(hello(&edge, "edge-0"))).await;
    raw.parcel().await;
    bounded(raw.told.send(FromPod { what: None })).await.unwrap();
    raw.acknowledge(at(1, 1), sections(&[("acme", "a")]).digest()).await;
    world.publish(publication(at(1, 2), &[("acme", "b")]));
    assert_eq!(raw.parcel().await.len(), 3, "begin, pieces, commit");
}
