use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use hickory_resolver::{
    config::{ConnectionConfig, NameServerConfig},
    proto::{
        op::Message,
        rr::{Name, rdata},
    },
};
use model::net::Transport;
use tokio::net::UdpSocket;

use super::*;

/// A name server on loopback with one zone.
struct Server {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

#[derive(Default)]
struct Zone {
    records: Vec<Record>,
    asked: Vec<String>,
    /// Whether it says that it cannot answer.
    fails: bool,
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn entry(of: &str, ttl: u32, data: RData) -> Record {
    Record::from_rdata(name(of), ttl, data)
}

async fn server(records: Vec<Record>) -> Server {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    let zone = Arc::new(Mutex::new(Zone { records, ..Zone::default() }));
    let served = Arc::clone(&zone);
    tokio::spawn(async move {
        let mut buffer = [0; 4_096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
            let answer = served.lock().unwrap().answer(&question);
            let _ = socket.send_to(&answer.to_vec().unwrap(), from).await;
        }
    });
    Server { address, zone }
}

impl Zone {
    fn answer(&mut self, question: &Message) -> Message {
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        for query in &question.queries {
            self.asked.push(format!("{} {}", query.query_type(), query.name().to_ascii().to_lowercase()));
            let fits = |record: &&Record| {
                record.name.to_lowercase() == query.name().to_lowercase()
                    && record.record_type() == query.query_type()
            };
            if self.fails {
                answer.metadata.response_code = ResponseCode::ServFail;
            } else {
                answer.add_answers(self.records.iter().filter(fits).cloned());
            }
            answer.add_query(query.clone());
        }
        answer
    }
}

impl Server {
    fn dns(&self) -> Dns {
        let mut connection = ConnectionConfig::udp();
        connection.port = self.address.port();
        let server = NameServerConfig::new(self.address.ip(), true, vec![connection]);
        Dns::with(ResolverConfig::from_name_servers(vec![server]))
    }
}

fn naptr(order: u16, services: &str, replacement: &str) -> RData {
    let of = |text: &str| text.as_bytes().to_vec().into_boxed_slice();
    RData::NAPTR(rdata::NAPTR::new(order, 0, of("s"), of(services), of(""), name(replacement)))
}

fn srv(priority: u16, weight: u16, port: u16, target: &str) -> RData {
    RData::SRV(rdata::SRV::new(priority, weight, port, name(target)))
}

fn a(address: [u8; 4]) -> RData {
    RData::A(rdata::A(address.into()))
}

fn wanted(transports: &[Transport]) -> Asked {
    Asked { host: "carrier.example".into(), port: None, transports: transports.to_vec() }
}

fn targets(dns: &Dns, asked: &Asked) -> Vec<String> {
    let names = dns.names();
    let of = |located: &Located| {
        let target = |target: &locate::Target| {
            format!("{} {} {:?}", target.priority, target.transport, target.addresses)
        };
        located.targets.iter().map(target).collect()
    };
    names.get(asked).map(of).unwrap_or_default()
}

#[tokio::test]
async fn a_domain_is_found_by_naptr_srv_and_address() {
    let server = server(vec![
        entry("carrier.example.", 300, naptr(20, "SIP+D2U", "_sip._udp.carrier.example.")),
        entry("carrier.example.", 300, naptr(10, "SIP+D2T", "_sip._tcp.carrier.example.")),
        entry("_sip._tcp.carrier.example.", 300, srv(10, 1, 5_070, "a.carrier.example.")),
        entry("_sip._tcp.carrier.example.", 300, srv(20, 1, 5_060, "b.carrier.example.")),
        entry("a.carrier.example.", 300, a([192, 0, 2, 1])),
        entry("b.carrier.example.", 300, a([192, 0, 2, 2])),
    ])
    .await;
    let mut dns = server.dns();
    let both = wanted(&[Transport::Udp, Transport::Tcp]);
    assert_eq!(dns.look_up([both.clone()].into()).await, Vec::<String>::new());
    assert_eq!(targets(&dns, &both), ["10 TCP [192.0.2.1:5070]", "20 TCP [192.0.2.2:5060]"]);

    // A transport that is given: its service alone is asked for, and there is none.
    let udp = wanted(&[Transport::Udp]);
    assert_eq!(dns.look_up([udp.clone()].into()).await, ["carrier.example has no address"]);
    assert!(targets(&dns, &udp).is_empty() && targets(&dns, &both).is_empty());
}

#[tokio::test]
async fn what_is_known_outlives_a_name_server_that_fails_and_is_not_asked_for_before_it_is_due() {
    let records = vec![
        entry("_sip._udp.carrier.example.", 1, srv(0, 0, 5_060, "a.carrier.example.")),
        entry("a.carrier.example.", 1, a([192, 0, 2, 1])),
    ];
    let server = server(records).await;
    let mut dns = server.dns();
    let udp = wanted(&[Transport::Udp]);
    assert!(dns.look_up([udp.clone()].into()).await.is_empty());
    let asked = server.zone.lock().unwrap().asked.len();
    assert!(asked >= 3, "{:?}", server.zone.lock().unwrap().asked);
    assert!(dns.look_up([udp.clone()].into()).await.is_empty());
    assert_eq!(server.zone.lock().unwrap().asked.len(), asked, "its 30 seconds are not over");

    server.zone.lock().unwrap().fails = true;
    // Due, and the answer that the resolver itself remembers is of a second.
    dns.known.get_mut(&udp).unwrap().due = None;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let told = dns.look_up([udp.clone()].into()).await;
    assert_eq!(told, ["the DNS gives no answer for _sip._udp.carrier.example"]);
    assert_eq!(targets(&dns, &udp), ["0 UDP [192.0.2.1:5060]"]);
}
