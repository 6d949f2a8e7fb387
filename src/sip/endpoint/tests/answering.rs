//! A telephone that rings is asked to answer.

use super::{peer::*, *};
use crate::{pair::config, wire::Method};

fn calling() -> (Endpoint, LegId, Message) {
    let mut config = config(1, Transport::Udp);
    config.extensions.transfers = true;
    let mut endpoint = Endpoint::new(config, 1);
    let leg = endpoint.invite(epoch(), invite_to(flow())).unwrap();
    let invite = sent(&mut endpoint).remove(0).1;
    (endpoint, leg, invite)
}

#[test]
fn it_is_asked_in_its_early_dialog_and_what_comes_of_it_is_its_answer() {
    let (mut endpoint, leg, invite) = calling();
    assert_eq!(endpoint.ask_to_answer(epoch(), leg), Err(Misuse::WrongState), "nothing rings yet");
    reply(&mut endpoint, &invite, 100, "", "");
    assert_eq!(endpoint.ask_to_answer(epoch(), leg), Err(Misuse::WrongState));
    reply(&mut endpoint, &invite, 180, ";tag=phone", "Contact: <sip:phone@203.0.113.5:7000>\r\n");
    endpoint.ask_to_answer(epoch(), leg).unwrap();
    let notify = sent(&mut endpoint).remove(0).1;
    assert_eq!(notify.method(), Method::Notify);
    let text = |name: &str| String::from_utf8_lossy(notify.named(name).unwrap()).into_owned();
    assert_eq!((text("Event").as_str(), text("Subscription-State").as_str()), ("talk", "active"));
    assert_eq!((notify.to_tag(), notify.call_id()), (Some("phone"), invite.call_id()));
    assert!(notify.cseq() > invite.cseq() && notify.named("Contact").is_some());
    assert!(reply(&mut endpoint, &notify, 200, "", "").is_empty());
    reply_by(&mut endpoint, flow(), &invite, 200, ";tag=phone", "Contact: <sip:phone@203.0.113.5:7000>\r\n");
    let (acks, told) = both(&mut endpoint);
    let told: Vec<String> = told.iter().map(words).collect();
    assert_eq!((acks.len(), told.as_slice()), (1, ["Answered".to_owned()].as_slice()));
    // Once it has answered there is nothing to be asked, and our next request has a higher number.
    assert_eq!(endpoint.ask_to_answer(epoch(), leg), Err(Misuse::WrongState));
    endpoint.bye(epoch(), leg, &[]).unwrap();
    assert!(sent(&mut endpoint)[0].1.cseq() > notify.cseq());
}

#[test]
fn a_telephone_that_refuses_rings_on() {
    for code in [405, 481, 489, 501] {
        let (mut endpoint, leg, invite) = calling();
        reply(&mut endpoint, &invite, 180, ";tag=phone", "");
        endpoint.ask_to_answer(epoch(), leg).unwrap();
        let notify = sent(&mut endpoint).remove(0).1;
        reply_by(&mut endpoint, flow(), &notify, code, "", "");
        let (sent, told) = both(&mut endpoint);
        assert_eq!(told.iter().map(words).collect::<Vec<_>>(), [format!("AnswerRefused {code}")]);
        assert!(sent.is_empty() && endpoint.legs() == 1);
    }
    // Our own endpoint knows of no such event.
    let mut pair = pair(Transport::Udp);
    pair.extend(TRANSFERS);
    let invite = pair.invite_from(0, Some(OFFER));
    let caller = pair.ends[0].invite(pair.now, invite).unwrap();
    pair.run_for(Duration::from_secs(1));
    let callee = invited(&mut pair);
    pair.ends[1].provisional(pair.now, callee, 180, None, &[]).unwrap();
    pair.run_for(Duration::from_secs(1));
    pair.ends[0].ask_to_answer(pair.now, caller).unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(told(&mut pair), ["0 Progress 180", "0 AnswerRefused 489"]);
}
