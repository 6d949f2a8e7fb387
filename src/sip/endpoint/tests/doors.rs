//! What is refused at the door, answered without a transaction, or taken only once.

use model::net::Transport;

use super::{peer::*, *};
use crate::{pair::config, wire::Name};

#[test]
fn options_are_answered_with_what_we_can() {
    let mut endpoint = endpoint();
    let (_, response) = feed(&mut endpoint, &request("OPTIONS", 1, "", "")).remove(0);
    assert_eq!(response.code(), 200);
    assert_eq!(
        response.header_text(Name::Allow),
        Some("INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REGISTER")
    );
    assert_eq!(response.header_text(Name::Accept), Some("application/sdp"));
    assert!(response.header(Name::Supported).is_some());
    assert_eq!(endpoint.transactions(), 0);
}

#[test]
fn a_copy_of_an_invite_makes_no_second_leg() {
    let mut endpoint = endpoint();
    let invite = request("INVITE", 1, "", "");
    assert_eq!(codes(&mut endpoint, &invite), [100]);
    assert_eq!(codes(&mut endpoint, &invite), [100]);
    assert_eq!(endpoint.legs(), 1);
    let by_another_path = invite.replace("branch=z9hG4bKINVITE1", "branch=z9hG4bKother");
    assert_eq!(codes(&mut endpoint, &by_another_path), [482]);
    assert_eq!(endpoint.legs(), 1);
}

#[test]
fn full_tables_are_a_503_with_retry_after() {
    for (legs_max, transactions_max) in [(1, 100), (100, 1)] {
        let config = Config { legs_max, transactions_max, ..config(1, Transport::Udp) };
        let mut endpoint = Endpoint::new(config, 1);
        feed(&mut endpoint, &request("INVITE", 1, "", ""));
        let (_, response) = feed(&mut endpoint, &request("INVITE", 2, "", "")).remove(0);
        assert_eq!(response.code(), 503);
        assert!(response.header(Name::RetryAfter).is_some());
        assert_eq!((endpoint.legs(), endpoint.transactions()), (1, 1));
        let invite = invite_to(flow());
        assert_eq!(endpoint.invite(epoch(), invite), Err(Full));
    }
}

#[test]
fn a_datagram_without_rport_is_answered_to_its_sent_by() {
    for (sent_by, port) in [
        ("198.51.100.7:5080", 5080),
        ("198.51.100.7", 5060),
        ("phone.example:5090", 5090),
        ("10.0.0.1:5080", 6000),
    ] {
        let text = request("OPTIONS", 1, "", "").replace("198.51.100.7:6000;rport", sent_by);
        let (to, _) = feed(&mut endpoint(), &text).remove(0);
        assert_eq!(to.remote.port(), port, "{sent_by}");
    }
}

#[test]
fn requests_in_the_dialog_go_to_the_contact() {
    let mut endpoint = endpoint();
    let (leg, _) = answered(&mut endpoint);
    endpoint.bye(epoch(), leg, &[]).unwrap();
    let (to, bye) = sent(&mut endpoint).remove(0);
    assert_eq!((to.remote, bye.uri_text()), ("203.0.113.5:7000".parse().unwrap(), "sip:a@203.0.113.5:7000"));
}

#[test]
fn a_route_set_is_followed_from_its_top() {
    let mut endpoint = endpoint();
    let routes = "Record-Route: <sip:198.51.100.8;lr>, <sip:198.51.100.9;lr>\r\n";
    feed(&mut endpoint, &request("INVITE", 1, "", routes));
    endpoint.accept(epoch(), LegId(1), bytes(OFFER), &[]).unwrap();
    let (_, response) = sent(&mut endpoint).remove(0);
    assert_eq!(response.addresses(Name::RecordRoute).count(), 2);
    feed(&mut endpoint, &request("ACK", 1, response.to_tag().unwrap(), ""));
    endpoint.bye(epoch(), LegId(1), &[]).unwrap();
    let (to, bye) = sent(&mut endpoint).remove(0);
    assert_eq!(to.remote, "198.51.100.8:5060".parse().unwrap());
    assert_eq!(
        bye.addresses(Name::Route).map(|route| route.uri.text).collect::<Vec<_>>(),
        ["sip:198.51.100.8;lr", "sip:198.51.100.9;lr"]
    );
}

#[test]
fn requests_out_of_order_are_a_500() {
    let mut endpoint = endpoint();
    let (_, tag) = answered(&mut endpoint);
    assert_eq!(codes(&mut endpoint, &request("INFO", 5, &tag, "")), [200]);
    assert_eq!(codes(&mut endpoint, &request("INFO", 4, &tag, "")), [500]);
    assert_eq!(codes(&mut endpoint, &request("INFO", 5, &tag, "")), [200]);
    assert_eq!(codes(&mut endpoint, &request("INFO", 6, "other-1-0", "")), [481]);
}

#[test]
fn a_reinvite_before_the_last_is_answered_is_a_500_with_retry_after() {
    let mut endpoint = endpoint();
    let (leg, tag) = answered(&mut endpoint);
    assert_eq!(codes(&mut endpoint, &request("INVITE", 2, &tag, "")), [100]);
    let (_, response) = feed(&mut endpoint, &request("INVITE", 3, &tag, "")).remove(0);
    assert_eq!((response.code(), response.header(Name::RetryAfter).is_some()), (500, true));
    assert_eq!(
        codes(&mut endpoint, &request("CANCEL", 2, &tag, "").replace("z9hG4bKCANCEL2", "z9hG4bKINVITE2")),
        [200, 487]
    );
    assert_eq!(endpoint.answer_reinvite(epoch(), leg, bytes(ANSWER)), Err(Misuse::WrongState));
}

#[test]
fn an_update_with_an_offer_asks_and_one_without_refreshes() {
    let mut endpoint = endpoint();
    let (leg, tag) = answered(&mut endpoint);
    let plain = request("UPDATE", 2, &tag, "").replace("203.0.113.5", "203.0.113.6");
    assert_eq!(codes(&mut endpoint, &plain), [200]);
    let offer = request("UPDATE", 3, &tag, "Content-Type: application/sdp\r\n") + "v=0";
    assert_eq!(codes(&mut endpoint, &offer), [0_u16; 0]);
    endpoint.answer_reinvite(epoch(), leg, bytes(ANSWER)).unwrap();
    assert_eq!(sent(&mut endpoint)[0].1.body(), ANSWER.as_bytes());
    endpoint.bye(epoch(), leg, &[]).unwrap();
    assert_eq!(sent(&mut endpoint)[0].0.remote.ip(), std::net::IpAddr::from([203, 0, 113, 5]));
}

#[test]
fn a_bye_while_ringing_ends_the_invite_with_487() {
    let mut endpoint = endpoint();
    feed(&mut endpoint, &request("INVITE", 1, "", ""));
    endpoint.provisional(epoch(), LegId(1), 180, None, &[]).unwrap();
    let (_, ringing) = sent(&mut endpoint).remove(0);
    assert_eq!(codes(&mut endpoint, &request("BYE", 2, ringing.to_tag().unwrap(), "")), [487, 200]);
    assert_eq!(endpoint.legs(), 0);
}

#[test]
fn a_second_2xx_of_a_fork_is_acknowledged_and_ended() {
    let mut pair = pair(Transport::Udp);
    let invite = pair.invite_from(0, Some(OFFER));
    pair.ends[0].invite(epoch(), invite).unwrap();
    let (_, invite) = sent(&mut pair.ends[0]).remove(0);
    for (tag, expected) in
        [("one", vec!["ACK"]), ("two", vec!["ACK", "BYE"]), ("one", vec!["ACK"]), ("two", vec!["ACK"])]
    {
        let mut writer = Writer::default();
        writer.response(200, None);
        crate::wire::copy_for_response(&mut writer, &invite, &pair.flow_to(1), Some(tag));
        writer.header("Contact", format!("<sip:{tag}@192.0.2.2>"));
        let input = Input::datagram(pair.flow_to(1), writer.finish_empty());
        pair.ends[0].handle(epoch(), input);
        let sent = sent(&mut pair.ends[0]);
        assert_eq!(
            sent.iter().map(|(_, message)| message.method_text()).collect::<Vec<_>>(),
            expected,
            "{tag}"
        );
        assert_eq!(sent[0].1.uri_text(), format!("sip:{tag}@192.0.2.2"));
    }
    assert_eq!(pair.ends[0].legs(), 1);
}

#[test]
fn our_own_invite_that_comes_back_by_a_proxy_is_a_loop() {
    let mut pair = pair(Transport::Udp);
    let invite = pair.invite_from(0, Some(OFFER));
    pair.ends[0].invite(epoch(), invite).unwrap();
    let (_, invite) = sent(&mut pair.ends[0]).remove(0);
    let via = invite.header_text(Name::Via).unwrap();
    let text = request("INVITE", 9, "", &format!("Via: {via}\r\n"));
    let looped = text.replace("sip:+18005550100@192.0.2.2 SIP", &format!("{} SIP", invite.uri_text()));
    assert_eq!(codes(&mut pair.ends[0], &looped), [482]);
    assert_eq!(codes(&mut pair.ends[0], &text), [100]);
}

#[test]
fn a_reinvite_that_never_gets_a_final_response_ends() {
    let mut pair = pair(Transport::Udp);
    let [caller, _] = established(&mut pair);
    pair.ends[0].reinvite(pair.now, caller, bytes("v=0\r\n")).unwrap();
    let mut seen = Vec::new();
    pair.settle(|_, side, event| seen.push(format!("{side} {}", words(&event))));
    assert_eq!(seen, ["1 Reinvited v=0\r\n", "0 DialogLost 408", "1 Bye false -"]);
    assert!(pair.is_empty());
}
