use super::*;

/// A zone: `name KIND record…`, one record a line; a kind with a question mark is not answered.
type Zone<'a> = &'a [(&'a str, Kind, &'a str)];

fn record(kind: Kind, text: &str) -> Record {
    let words: Vec<&str> = text.split(' ').collect();
    let number = |place: usize| words[place].parse::<u16>().unwrap();
    match kind {
        Kind::Naptr => Record::Naptr {
            order: number(0),
            preference: number(1),
            flags: words[2].into(),
            services: words[3].into(),
            replacement: words[4].into(),
        },
        Kind::Srv => {
            Record::Srv { priority: number(0), weight: number(1), port: number(2), target: words[3].into() }
        }
        Kind::A | Kind::Aaaa => Record::Address(text.parse().unwrap()),
    }
}

/// What was asked, and what came of it.
fn search(asked: Asked, zone: Zone<'_>) -> (String, String) {
    let mut search = Locate::new(asked);
    let mut questions = Vec::new();
    while let Some(question) = search.poll() {
        questions.push(format!("{:?} {}", question.kind, question.name));
        assert!(questions.len() < 100);
        let of_it =
            zone.iter().filter(|(name, kind, _)| *name == plain(&question.name) && *kind == question.kind);
        let texts: Vec<&str> = of_it.map(|(.., text)| *text).collect();
        let answer = if texts == ["?"] {
            Answer::Failed
        } else {
            let records = texts.iter().map(|text| record(question.kind, text)).collect();
            Answer::Records(records, Some(Duration::from_secs(300)))
        };
        search.handle(&question, answer);
    }
    let told = match search.done().expect("an outcome") {
        Err(failed) => failed.to_string(),
        Ok(located) => {
            let target = |target: &Target| {
                let addresses: Vec<String> = target.addresses.iter().map(ToString::to_string).collect();
                format!("{}/{} {} {}", target.priority, target.weight, target.transport, addresses.join("+"))
            };
            located.targets.iter().map(target).collect::<Vec<_>>().join(", ")
        }
    };
    (questions.join(", "), told)
}

fn asked(host: &str, port: Option<u16>, transports: &[Transport]) -> Asked {
    Asked { host: host.into(), port, transports: transports.to_vec() }
}

use Kind::{A, Aaaa, Naptr, Srv};
use Transport::{Tcp, Tls, Udp};

#[test]
fn an_address_needs_no_question() {
    for (host, port, transport, wanted) in [
        ("192.0.2.7", None, Udp, "0/0 UDP 192.0.2.7:5060"),
        ("192.0.2.7", Some(5080), Tcp, "0/0 TCP 192.0.2.7:5080"),
        ("2001:db8::7", None, Tls, "0/0 TLS [2001:db8::7]:5061"),
    ] {
        assert_eq!(search(asked(host, port, &[transport]), &[]), (String::new(), wanted.into()));
    }
}

#[test]
fn a_port_that_is_given_asks_for_addresses_alone() {
    let zone: Zone<'_> = &[
        ("_sip._udp.example.net", Srv, "1 1 5080 other.example.net"),
        ("example.net", A, "192.0.2.1"),
        ("example.net", A, "192.0.2.2"),
        ("example.net", Aaaa, "2001:db8::1"),
    ];
    let (questions, found) = search(asked("Example.NET", Some(5070), &[Udp]), zone);
    assert_eq!(questions, "A example.net, Aaaa example.net");
    assert_eq!(found, "0/0 UDP 192.0.2.1:5070+192.0.2.2:5070+[2001:db8::1]:5070");
}

#[test]
fn a_transport_that_is_given_asks_for_its_service() {
    let zone: Zone<'_> = &[
        ("example.net", Naptr, "1 1 s SIP+D2U _sip._udp.elsewhere.example"),
        ("_sips._tcp.example.net", Srv, "20 0 5061 c.example.net."),
        ("_sips._tcp.example.net", Srv, "10 10 5061 A.example.net."),
        ("_sips._tcp.example.net", Srv, "10 30 5071 b.example.net."),
        ("a.example.net", A, "192.0.2.1"),
        ("b.example.net", Aaaa, "2001:db8::2"),
    ];
    let (questions, found) = search(asked("example.net", None, &[Tls]), zone);
    assert!(questions.starts_with("Srv _sips._tcp.example.net, A a.example.net"), "{questions}");
    // Without an address host c is none.
    assert_eq!(found, "10/30 TLS [2001:db8::2]:5071, 10/10 TLS 192.0.2.1:5061");
}

#[test]
fn without_a_service_the_host_itself_is_the_server() {
    let zone: Zone<'_> = &[("example.net", A, "192.0.2.9")];
    let (questions, found) = search(asked("example.net", None, &[Tcp]), zone);
    assert_eq!(questions, "Srv _sip._tcp.example.net, A example.net, Aaaa example.net");
    assert_eq!(found, "0/0 TCP 192.0.2.9:5060");
}

/// RFC 3263 §4.1, with its own example.
#[test]
fn a_domain_says_which_transports_it_prefers() {
    let zone: Zone<'_> = &[
        ("example.com", Naptr, "50 50 s SIPS+D2T _sips._tcp.example.com."),
        ("example.com", Naptr, "90 50 s SIP+D2T _sip._tcp.example.com"),
        ("example.com", Naptr, "100 50 s SIP+D2U _sip._udp.example.com."),
        ("example.com", Naptr, "10 50 u E2U+sip !^.*$!sip:x@y!"),
        ("_sip._tcp.example.com", Srv, "0 1 5060 server1.example.com"),
        ("_sip._tcp.example.com", Srv, "0 2 5060 server2.example.com"),
        ("_sip._udp.example.com", Srv, "0 1 5060 server3.example.com"),
        ("server1.example.com", A, "192.0.2.1"),
        ("server2.example.com", A, "192.0.2.2"),
        ("server3.example.com", A, "192.0.2.3"),
    ];
    let (_, found) = search(asked("example.com", None, &[Udp, Tcp]), zone);
    assert_eq!(found, "0/2 TCP 192.0.2.2:5060, 0/1 TCP 192.0.2.1:5060");
    // The preferred service has no records: the next one is asked for.
    let (questions, found) = search(asked("example.com", None, &[Udp, Tls]), zone);
    assert!(
        questions.starts_with("Naptr example.com, Srv _sips._tcp.example.com., Srv _sip._udp.example.com.")
    );
    assert_eq!(found, "0/1 UDP 192.0.2.3:5060");
}

#[test]
fn without_naptr_each_transport_is_asked_for_in_our_order() {
    let zone: Zone<'_> =
        &[("_sip._tcp.example.net", Srv, "0 0 5060 a.example.net"), ("a.example.net", A, "192.0.2.1")];
    let (questions, found) = search(asked("example.net", None, &[Udp, Tcp]), zone);
    assert!(questions.starts_with("Naptr example.net, Srv _sip._udp.example.net, Srv _sip._tcp.example.net"));
    assert_eq!(found, "0/0 TCP 192.0.2.1:5060");
}

#[test]
fn what_cannot_be_found_is_told() {
    let rows: [(Zone<'_>, &str); 5] = [
        (&[], "example.net has no address"),
        (
            &[("_sip._udp.example.net", Srv, "0 0 0 .")],
            "the SRV record of _sip._udp.example.net says that there is no such service",
        ),
        (&[("_sip._udp.example.net", Srv, "?")], "the DNS gives no answer for _sip._udp.example.net"),
        (&[("example.net", A, "?"), ("example.net", Aaaa, "?")], "the DNS gives no answer for example.net"),
        (&[("_sip._udp.example.net", Srv, "0 0 5060 a.example.net")], "example.net has no address"),
    ];
    for (zone, wanted) in rows {
        assert_eq!(search(asked("example.net", None, &[Udp]), zone).1, wanted);
    }
    // One family's silence does not hide the other's addresses.
    let zone: Zone<'_> = &[("example.net", A, "192.0.2.1"), ("example.net", Aaaa, "?")];
    assert_eq!(search(asked("example.net", None, &[Udp]), zone).1, "0/0 UDP 192.0.2.1:5060");
}

#[test]
fn an_answer_is_good_for_its_shortest_record_within_bounds() {
    for (srv, a, wanted) in [
        (Some(600), Some(300), 300),
        (Some(1), Some(300), 30),
        (Some(90_000), Some(90_000), 3_600),
        (None, Some(300), 30),
    ] {
        let mut search = Locate::new(asked("example.net", None, &[Udp]));
        while let Some(question) = search.poll() {
            let (records, ttl) = match question.kind {
                Srv => (vec![record(Srv, "0 0 5060 a.example.net")], srv),
                A => (vec![record(A, "192.0.2.1")], a),
                Naptr | Aaaa => (Vec::new(), Some(3_600)),
            };
            search.handle(&question, Answer::Records(records, ttl.map(Duration::from_secs)));
        }
        let Some(Ok(located)) = search.done() else { panic!("{:?}", search.done()) };
        assert_eq!(located.good_for.as_secs(), wanted, "{srv:?} {a:?}");
    }
}

#[test]
fn a_hostile_zone_is_bounded_and_answers_nobody_asked_for_are_ignored() {
    let mut search = Locate::new(asked("example.net", None, &[Udp]));
    let mut asked_for = 0;
    search.handle(&Question { name: "example.net".into(), kind: A }, Answer::Failed);
    while let Some(question) = search.poll() {
        asked_for += 1;
        let records = (0..1_000_u16).map(|n| match question.kind {
            Srv => Record::Srv { priority: n, weight: 0, port: 5060, target: format!("h{n}.example.net") },
            Naptr | A | Aaaa => Record::Address(IpAddr::from([10, 0, (n >> 8) as u8, n as u8])),
        });
        search.handle(&question, Answer::Records(records.collect(), None));
    }
    assert_eq!(asked_for, 1 + 2 * RECORDS_MAX);
    let Some(Ok(located)) = search.done() else { panic!("{:?}", search.done()) };
    assert!(located.targets.len() == RECORDS_MAX);
    assert!(located.targets.iter().all(|target| target.addresses.len() == ADDRESSES_MAX));
}
