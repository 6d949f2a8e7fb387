//! Whose a message is where an edge has several engines.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use call::{
    Now,
    engine::{Config, Engine, Shard},
};
use jiff::Timestamp;
use model::{
    AgentId,
    net::{Flow, ListenerIx, Transport},
    snapshot::Snapshot,
};
use sip::endpoint;

use crate::{stations::agent, world::snapshot};

const COUNT: usize = 4;

fn engine(index: usize, snapshot: Snapshot) -> Engine {
    let config = Config {
        token: "e1e1e1".into(),
        shard: Shard { index, count: COUNT },
        together: None,
        first_call: 1,
        seed: 7,
        legs_max: 100,
        transactions_max: 100,
        nonces: sip::digest::Nonces::new(&[7; 32]),
    };
    Engine::new(config, Arc::new(snapshot), Default::default()).unwrap()
}

/// Who owns it, by each engine's own answer where they must agree.
fn owner(engines: &[Engine], text: &str) -> Vec<usize> {
    #[expect(clippy::disallowed_methods, reason = "a point in time to count from")]
    let now = Now { instant: Instant::now(), wall: "2026-11-23T15:00:00Z".parse::<Timestamp>().unwrap() };
    let flow = Flow {
        transport: Transport::Udp,
        listener: ListenerIx(0),
        remote: "192.0.2.1:5060".parse().unwrap(),
        connection: 0,
    };
    let input = endpoint::Input::datagram(flow, text.to_owned().into());
    engines.iter().map(|engine| engine.owner(now, &flow, &input)).collect()
}

fn request(method: &str, call_id: &str, to: &str, more: &str) -> String {
    let uri = "sip:+18005550100@192.0.2.100";
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n{more}From: <sip:+12125550199@192.0.2.1>;tag=f\r\n\
         To: <{uri}>{to}\r\nCall-ID: {call_id}\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
}

#[test]
fn what_we_have_named_goes_where_its_name_says() {
    let engines: Vec<_> = (0..COUNT).map(|index| engine(index, snapshot())).collect();
    for (owned, letter) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let tag = format!(";tag=e1e1e1{letter}-5-00c0ffee");
        for method in ["BYE", "ACK", "INVITE", "PRACK", "UPDATE", "INFO", "REFER"] {
            assert_eq!(owner(&engines, &request(method, "a", &tag, "")), [owned; COUNT], "{method} {letter}");
        }
        let response = format!(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.100;branch=z9hG4bKe1e1e1{letter}-5-00c0ffee\r\nFrom: <sip:a@b>;tag=f\r\n\
             To: <sip:c@d>;tag=t\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!(owner(&engines, &response), [owned; COUNT], "{letter}");
        // One that has come round: whoever sent it can tell.
        let via = format!("Via: SIP/2.0/UDP 192.0.2.100;branch=z9hG4bKe1e1e1{letter}-6-00c0ffee\r\n");
        assert_eq!(owner(&engines, &request("INVITE", "a", "", &via)), [owned; COUNT], "{letter}");
    }
    // Names that no engine has given are each reader's own to answer.
    let foreign = ["e1e1e1e-5-0", "e1e1e1A-5-0", "e1e1e1", "e1e1e", "x", "e1e1e1\u{fc}-1"];
    for tag in foreign {
        let owners = owner(&engines, &request("BYE", "a", &format!(";tag={tag}"), ""));
        assert_eq!(owners, [0, 1, 2, 3], "{tag}");
    }
}

#[test]
fn what_opens_a_call_goes_by_its_call_id_and_a_cancel_with_it() {
    let engines: Vec<_> = (0..COUNT).map(|index| engine(index, snapshot())).collect();
    let mut shares = BTreeMap::new();
    for call in 0..400 {
        let call_id = format!("{call}@192.0.2.1");
        let owners = owner(&engines, &request("INVITE", &call_id, "", ""));
        assert!(owners.iter().all(|owner| *owner == owners[0]), "{owners:?}");
        assert_eq!(owner(&engines, &request("CANCEL", &call_id, "", "")), owners);
        *shares.entry(owners[0]).or_insert(0) += 1;
    }
    assert!(shares.len() == COUNT && shares.values().all(|share| (60..=140).contains(share)), "{shares:?}");
    // What opens nothing is answered by whoever reads it.
    assert_eq!(owner(&engines, &request("OPTIONS", "a", "", "")), [0, 1, 2, 3]);
}

#[test]
fn all_calls_of_a_tenant_with_agents_meet_in_one_engine() {
    let mut snapshot = snapshot();
    snapshot.centre.agents.insert(AgentId::new("acme", "ada"), agent(Vec::new()));
    let engines: Vec<_> = (0..COUNT).map(|index| engine(index, snapshot.clone())).collect();
    let first = owner(&engines, &request("INVITE", "first", "", ""));
    for call in 0..100 {
        assert_eq!(owner(&engines, &request("INVITE", &format!("{call}"), "", "")), first);
    }
}
