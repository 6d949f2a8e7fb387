//! Copies of SIP messages for a capture server.

use std::{collections::BTreeSet, net::UdpSocket, time::Duration};

use crate::{
    harness::{PATIENCE, Setup, with_prepared},
    phone::{CARRIER, Phone},
};

#[test]
fn a_capture_server_gets_each_message_from_one_socket_for_as_long_as_it_stays_where_it_is() {
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    collector.set_read_timeout(Some(PATIENCE)).unwrap();
    let line =
        format!("  drainSeconds: 1\n  capture: {{collector: \"{}\"}}\n", collector.local_addr().unwrap());
    with_prepared(
        &Setup::default(),
        |system| system.edit("platform.yaml", "  drainSeconds: 1\n", &line),
        |system| {
            let mut sources = BTreeSet::new();
            for round in 0..2 {
                let mut phone = Phone::new(system, CARRIER, "+18005550103");
                phone.call("0 101");
                phone.hang_up();
                let mut missing = vec!["INVITE ", "SIP/2.0 200 ", "ACK ", "BYE "];
                let mut buffer = [0; 65_536];
                while !missing.is_empty() {
                    let (length, from) = collector.recv_from(&mut buffer).unwrap();
                    assert!(buffer.starts_with(b"HEP3"));
                    sources.insert(from);
                    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    if text.contains(&phone.call_id) {
                        missing.retain(|start| !text.contains(start));
                    }
                }
                if round == 0 {
                    // Names are looked up again after each change.
                    system.edit("platform.yaml", "callSeconds: 600", "callSeconds: 601");
                    system.wait_for_log("applied; new calls take it");
                    std::thread::sleep(Duration::from_millis(500));
                }
            }
            assert_eq!(sources.len(), 1, "{sources:?}");
            assert_eq!(system.metric("switchboard_capture_lost_total"), 0);
        },
    );
}
