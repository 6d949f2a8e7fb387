//! A media server behind the network, as a media pod's is.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use link::{
    EventsTo, MediaOrders,
    config::{PodName, State, Topology, TopologyPod},
    identity::{Identity, Party, Role},
    media::{Pool, Streams},
    pki::{Authority, Subject},
    server::Serving,
    tls::Tls,
};
use media::{Config, Network, Server};
use model::{
    ClusterId, LegId, SessionId,
    media::{Event, MediaEvent, MediaOrder, Order},
};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::peer::PATIENCE;

fn cluster() -> ClusterId {
    ClusterId::new("voice", "c14")
}

struct Pki(Authority);

impl Pki {
    fn tls(&self, role: Role) -> Tls {
        let subject = Subject::of(&Party::Pod(Identity::new(cluster(), role)));
        Tls::new(&self.0.issue(&subject, SystemTime::now(), 7).unwrap()).unwrap()
    }
}

async fn serve(pki: &Pki, streams: &Arc<Streams>, server: &Server, address: &str) -> Serving {
    let listener = loop {
        // The server before may not have let go of it yet.
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_) => sleep(Duration::from_millis(5)).await,
        }
    };
    streams.serve(listener, pki.tls(Role::Media), Arc::new(server.handle())).unwrap()
}

struct Edge {
    pool: Pool,
    events: mpsc::UnboundedReceiver<MediaEvent>,
}

impl Edge {
    async fn new(pki: &Pki, name: &str, serving: &Serving) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let (identity, pod) = (Identity::new(cluster(), Role::Edge), PodName::new(name, "1"));
        let events_to = Arc::new(EventsTo(move |event| drop(sender.send(event))));
        let pool = Pool::new(pki.tls(Role::Edge), identity, pod, String::new(), 1, events_to);
        let state = State { ready: true, capacity: 100, link: Some(serving.address()), ..State::default() };
        let pod = TopologyPod { role: Role::Media, pod: PodName::new("media-0", "1"), state };
        pool.set_topology(&Topology { pods: vec![pod] });
        while pool.connected() == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        Self { pool, events }
    }

    fn order(&self, order: Order) {
        self.pool.send(MediaOrder { session: SessionId(1), order }).unwrap();
    }

    async fn event(&mut self) -> Event {
        self.events.recv().await.unwrap().event
    }
}

async fn two_edges() {
    let pki = Pki(Authority::generate("switchboard", SystemTime::now(), 30).unwrap());
    let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let networks =
        vec![Network { name: "lan".into(), bind: localhost, advertised: localhost, interface: None }];
    let streams = Streams::new(cluster());
    let config = Config {
        networks,
        ports: 23_900..=23_919,
        workers: Some(2),
        recordings: None,
        sessions_max: 10,
        services: Default::default(),
        silent_after: PATIENCE,
    };
    let server = Server::start(config, streams.clone()).unwrap();
    let serving = serve(&pki, &streams, &server, "127.0.0.1:0").await;
    let mut edges = [Edge::new(&pki, "edge-0", &serving).await, Edge::new(&pki, "edge-1", &serving).await];
    let mut ports = Vec::new();
    for edge in &mut edges {
        edge.order(Order::Allocate { leg: LegId(1), network: "lan".into(), shared: false, remote: None });
        let Event::Allocated { rtp_port, .. } = edge.event().await else { panic!("no ports") };
        ports.push(rtp_port);
    }
    assert_ne!(ports[0], ports[1], "of equal ids, two sessions");
    // The connection breaks, the sessions do not.
    let address = serving.address().to_string();
    drop(serving);
    edges[0].order(Order::Release { leg: LegId(1) });
    assert_eq!(server.counters().sessions, 2);
    let _serving = serve(&pki, &streams, &server, &address).await;
    assert!(matches!(edges[0].event().await, Event::Released { leg: LegId(1), .. }));
    assert_eq!(server.counters().sessions, 1);
    edges[1].order(Order::Release { leg: LegId(1) });
    assert!(matches!(edges[1].event().await, Event::Released { .. }));
    assert_eq!(server.counters().sessions, 0);
}

#[test]
fn two_edges_share_a_media_pod_and_keep_their_sessions_over_a_break() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(3 * PATIENCE, two_edges()).await }).expect("within half a minute");
}
