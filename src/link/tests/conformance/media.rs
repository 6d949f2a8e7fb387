//! Orders and events between edges and media pods.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use link::{
    EventsTo, Full, MediaEvents, MediaOrders,
    config::{PodName, State, Topology, TopologyPod},
    identity::{Identity, Party, Role},
    media::{Pool, SESSIONS_END, Streams},
    pki::{Authority, Subject},
    server::Serving,
    tls::{Tls, channel},
    wire::{Attach, Batch, FromEdge, from_edge, media_client::MediaClient},
};
use model::{
    ClusterId, LegId, PlayId, SessionId,
    media::{CertificateHash, Event, Fingerprint, MediaEvent, MediaOrder, Order, PlayEnd, Refusal},
};
use tokio::{net::TcpListener, sync::mpsc, time::sleep};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    bad_peers::{Mode, Proxy},
    world::{Over, bounded, cluster, identity},
};

/// A media server that has ports for everybody.
pub struct Server {
    pub streams: Arc<Streams>,
    orders: Mutex<Vec<MediaOrder>>,
    answers: bool,
}

impl Server {
    pub fn new() -> Arc<Self> {
        Self::that(true)
    }

    fn that(answers: bool) -> Arc<Self> {
        Arc::new(Self { streams: Streams::new(cluster()), orders: Mutex::default(), answers })
    }

    pub fn seen(&self) -> Vec<MediaOrder> {
        self.orders.lock().unwrap().clone()
    }
}

/// The streams know the server only while they serve.
struct OrdersTo(Arc<Server>);

impl MediaOrders for OrdersTo {
    fn send(&self, order: MediaOrder) -> Result<(), Full> {
        let MediaOrder { session, order: what } = &order;
        let event = match what {
            Order::Allocate { leg, .. } => Some(allocated(leg.0)),
            Order::Release { leg } => Some(Event::Released { leg: *leg, quality: Default::default() }),
            Order::Play { leg, play, .. } => {
                Some(Event::PlayEnded { leg: *leg, play: *play, how: PlayEnd::Finished })
            }
            _ => None,
        };
        let session = *session;
        self.0.orders.lock().unwrap().push(order);
        if let Some(event) = event.filter(|_| self.0.answers) {
            self.0.streams.send(MediaEvent { session, event });
        }
        Ok(())
    }
}

pub fn allocated(leg: u64) -> Event {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let fingerprint = Fingerprint { hash: CertificateHash::Sha256, value: vec![leg as u8; 32] };
    let fingerprint = Some(Box::new(fingerprint));
    Event::Allocated { leg: LegId(leg), address, rtp_port: 20_000 + leg as u16, fingerprint }
}

pub fn event(session: u64, event: Event) -> MediaEvent {
    MediaEvent { session: SessionId(session), event }
}

pub fn allocate(session: u64, leg: u64) -> MediaOrder {
    let order =
        Order::Allocate { leg: LegId(leg), network: "public".to_owned(), shared: false, remote: None };
    MediaOrder { session: SessionId(session), order }
}

pub fn play(session: u64, leg: u64, play: u64) -> MediaOrder {
    let order = Order::Play { leg: LegId(leg), play: PlayId(play), audio: Vec::new(), times: Some(1) };
    MediaOrder { session: SessionId(session), order }
}

pub fn release(session: u64, leg: u64) -> MediaOrder {
    MediaOrder { session: SessionId(session), order: Order::Release { leg: LegId(leg) } }
}

pub struct World {
    over: Over,
    authority: Authority,
}

pub struct Edge {
    pub pool: Pool,
    events: mpsc::UnboundedReceiver<MediaEvent>,
}

impl Edge {
    pub async fn event(&mut self) -> MediaEvent {
        bounded(self.events.recv()).await.unwrap()
    }

    async fn up(&self, pods: usize) {
        bounded(async {
            while self.pool.connected() != pods {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

fn ready() -> State {
    State { ready: true, capacity: 1_000, ..State::default() }
}

impl World {
    pub fn new(over: Over) -> Self {
        Self { over, authority: Authority::generate("switchboard", SystemTime::now(), 30).unwrap() }
    }

    pub fn tls(&self, identity: &Identity) -> Tls {
        let subject = Subject::of(&Party::Pod(identity.clone()));
        Tls::new(&self.authority.issue(&subject, SystemTime::now(), 7).unwrap()).unwrap()
    }

    pub fn edge(&self, name: &str) -> Edge {
        let (sender, events) = mpsc::unbounded_channel();
        // Who has gone takes no events.
        let events_to = Arc::new(EventsTo(move |event| drop(sender.send(event))));
        let edge = identity(Role::Edge);
        let name = PodName::new(name, "1");
        Edge { pool: Pool::new(self.tls(&edge), edge, name, "a".to_owned(), 5, events_to), events }
    }

    pub async fn serve(&self, server: &Arc<Server>, address: &str) -> Serving {
        // The server before may not have let go of it yet.
        let listener = bounded(async {
            loop {
                match TcpListener::bind(address).await {
                    Ok(listener) => return listener,
                    Err(_) => sleep(Duration::from_millis(5)).await,
                }
            }
        });
        let listener = listener.await;
        let orders = Arc::new(OrdersTo(Arc::clone(server)));
        server.streams.serve(listener, self.tls(&identity(Role::Media)), orders).unwrap()
    }

    /// Lets an edge reach a media pod. What it gives must be kept.
    pub async fn join(&self, edge: &Edge, server: &Arc<Server>) -> Option<Serving> {
        let serving = match self.over {
            Over::Twin => {
                let orders = Arc::new(OrdersTo(Arc::clone(server)));
                edge.pool.attach(PodName::new("media-0", "1"), ready(), &server.streams, orders);
                None
            }
            Over::Network => {
                let serving = self.serve(server, "127.0.0.1:0").await;
                edge.pool.set_topology(&topology(serving.address()));
                Some(serving)
            }
        };
        edge.up(1).await;
        serving
    }
}

fn topology(link: SocketAddr) -> Topology {
    let state = State { link: Some(link), ..ready() };
    Topology { pods: vec![TopologyPod { role: Role::Media, pod: PodName::new("media-0", "1"), state }] }
}

conformance! {
    orders_and_events_of_a_session_come_in_their_order
    sessions_of_two_edges_do_not_meet
    without_a_media_pod_there_is_no_room
    a_session_ends_with_its_last_leg
}

async fn orders_and_events_of_a_session_come_in_their_order(world: World) {
    let (server, mut edge) = (Server::new(), world.edge("edge-0"));
    let _serving = world.join(&edge, &server).await;
    edge.pool.send(allocate(1, 1)).unwrap();
    assert_eq!(edge.event().await, event(1, allocated(1)));
    for number in 0..2_000 {
        edge.pool.send(play(1, 1, number)).unwrap();
    }
    for number in 0..2_000 {
        let ended = Event::PlayEnded { leg: LegId(1), play: PlayId(number), how: PlayEnd::Finished };
        assert_eq!(edge.event().await, event(1, ended));
    }
    assert_eq!(server.seen().len(), 2_001);
}

async fn sessions_of_two_edges_do_not_meet(world: World) {
    let (server, mut one, mut other) = (Server::new(), world.edge("edge-0"), world.edge("edge-1"));
    let serving = world.join(&one, &server).await;
    match &serving {
        Some(serving) => other.pool.set_topology(&topology(serving.address())),
        None => drop(world.join(&other, &server).await),
    }
    other.up(1).await;
    one.pool.send(allocate(1, 1)).unwrap();
    other.pool.send(allocate(1, 2)).unwrap();
    assert_eq!(one.event().await, event(1, allocated(1)));
    assert_eq!(other.event().await, event(1, allocated(2)));
    let ids: BTreeSet<_> = server.seen().iter().map(|order| order.session).collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.iter().all(|id| id.0 >= SESSIONS_END && id.0 % SESSIONS_END == 1), "{ids:?}");
}

async fn without_a_media_pod_there_is_no_room(world: World) {
    let edge = world.edge("edge-0");
    assert_eq!(edge.pool.send(allocate(1, 1)), Err(Full));
    // It crossed with the end of its session.
    assert_eq!(edge.pool.send(release(1, 1)), Ok(()));
    let server = Server::new();
    let _serving = world.join(&edge, &server).await;
    assert_eq!(edge.pool.send(allocate(SESSIONS_END, 1)), Err(Full));
    assert_eq!(server.seen(), []);
}

async fn a_session_ends_with_its_last_leg(world: World) {
    let (server, mut edge) = (Server::new(), world.edge("edge-0"));
    let _serving = world.join(&edge, &server).await;
    for leg in 1..=2 {
        edge.pool.send(allocate(1, leg)).unwrap();
        assert_eq!(edge.event().await, event(1, allocated(leg)));
    }
    for (leg, sessions) in [(1, 1), (2, 0)] {
        edge.pool.send(release(1, leg)).unwrap();
        assert!(matches!(edge.event().await.event, Event::Released { .. }));
        assert_eq!(edge.pool.sessions(), sessions);
    }
}

#[tokio::test]
async fn after_a_break_nothing_is_lost_and_nothing_is_done_twice() {
    let world = World::new(Over::Network);
    let (server, mut edge) = (Server::new(), world.edge("edge-0"));
    let mut serving = world.join(&edge, &server).await.unwrap();
    edge.pool.send(allocate(1, 1)).unwrap();
    assert_eq!(edge.event().await, event(1, allocated(1)));
    let address = serving.address().to_string();
    for round in 0..3_u64 {
        for number in 0..500 {
            edge.pool.send(play(1, 1, round * 1_000 + number)).unwrap();
        }
        drop(serving);
        for number in 500..1_000 {
            edge.pool.send(play(1, 1, round * 1_000 + number)).unwrap();
        }
        serving = world.serve(&server, &address).await;
    }
    for number in 0..3_000 {
        let ended = Event::PlayEnded { leg: LegId(1), play: PlayId(number), how: PlayEnd::Finished };
        assert_eq!(edge.event().await, event(1, ended));
    }
    let plays: Vec<_> = server.seen().into_iter().skip(1).map(|order| order.order).collect();
    let expected: Vec<_> = (0..3_000).map(|number| play(1, 1, number).order).collect();
    assert!(plays == expected, "each once, in order");
}

#[tokio::test]
async fn a_media_pod_that_falls_silent_is_let_go_and_found_again() {
    let world = World::new(Over::Network);
    let (server, mut edge) = (Server::new(), world.edge("edge-0"));
    let serving = world.serve(&server, "127.0.0.1:0").await;
    let proxy = Proxy::to(&serving).await;
    edge.pool.set_topology(&topology(proxy.address));
    edge.up(1).await;
    edge.pool.send(allocate(1, 1)).unwrap();
    assert_eq!(edge.event().await, event(1, allocated(1)));
    proxy.mode.send_replace(Mode::Silent);
    edge.pool.send(play(1, 1, 1)).unwrap();
    edge.up(0).await;
    assert_eq!(edge.pool.send(allocate(2, 2)), Err(Full), "nothing is up");
    edge.pool.send(play(1, 1, 2)).unwrap();
    proxy.mode.send_replace(Mode::Open);
    for number in 1..=2 {
        let ended = Event::PlayEnded { leg: LegId(1), play: PlayId(number), how: PlayEnd::Finished };
        assert_eq!(edge.event().await, event(1, ended));
    }
    assert_eq!(server.seen().len(), 3, "each once");
}

#[tokio::test]
async fn a_media_pod_that_has_begun_anew_refuses_the_legs_of_before() {
    let world = World::new(Over::Network);
    let (server, mut edge) = (Server::new(), world.edge("edge-0"));
    let serving = world.join(&edge, &server).await.unwrap();
    for leg in 1..=2 {
        edge.pool.send(allocate(1, leg)).unwrap();
        assert_eq!(edge.event().await, event(1, allocated(leg)));
    }
    let address = serving.address().to_string();
    drop(serving);
    let server = Server::new();
    let _serving = world.serve(&server, &address).await;
    for leg in 1..=2 {
        let refused = Event::Refused { leg: LegId(leg), reason: Refusal::Draining };
        assert_eq!(edge.event().await, event(1, refused));
    }
    edge.up(1).await;
    edge.pool.send(allocate(2, 3)).unwrap();
    assert_eq!(edge.event().await, event(2, allocated(3)));
}

#[tokio::test(start_paused = true)]
async fn an_allocation_without_an_answer_is_refused() {
    let world = World::new(Over::Twin);
    let (server, mut edge) = (Server::that(false), world.edge("edge-0"));
    world.join(&edge, &server).await;
    edge.pool.send(allocate(1, 1)).unwrap();
    let refused = Event::Refused { leg: LegId(1), reason: Refusal::Draining };
    assert_eq!(edge.event().await, event(1, refused));
}

#[tokio::test(start_paused = true)]
async fn legs_of_an_edge_that_stays_away_are_released() {
    let world = World::new(Over::Twin);
    let (server, mut edge) = (Server::new(), world.edge("edge-0"));
    world.join(&edge, &server).await;
    for (session, leg) in [(1, 1), (1, 2), (2, 3)] {
        edge.pool.send(allocate(session, leg)).unwrap();
        edge.event().await;
    }
    drop(edge);
    sleep(link::media::ATTACH_WAIT / 2).await;
    assert_eq!(server.seen().len(), 3, "audio goes on");
    sleep(link::media::ATTACH_WAIT).await;
    let released: Vec<_> = server.seen().into_iter().skip(3).map(|order| order.order).collect();
    assert_eq!(released, [1, 2, 3].map(|leg| Order::Release { leg: LegId(leg) }));
    assert_eq!((server.streams.connected(), server.streams.dropped()), (0, 0));
}

/// Says these to a media pod as `identity`, and gives with what the stream ends.
async fn told(
    world: &World,
    serving: &Serving,
    identity: &Identity,
    words: Vec<from_edge::What>,
) -> tonic::Code {
    let name = Identity::new(cluster(), Role::Media).dns_name();
    let tls = world.tls(identity);
    let address = serving.address().to_string();
    let channel = bounded(channel(&tls, &address, &name)).await.unwrap();
    let (sender, said) = mpsc::channel(16);
    for what in words {
        sender.send(FromEdge { what: Some(what) }).await.unwrap();
    }
    let mut client = MediaClient::new(channel);
    let mut heard = match bounded(client.attach(ReceiverStream::new(said))).await {
        Ok(heard) => heard.into_inner(),
        Err(status) => return status.code(),
    };
    loop {
        match bounded(heard.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => return tonic::Code::Ok,
            Err(status) => return status.code(),
        }
    }
}

pub fn attach() -> from_edge::What {
    from_edge::What::Attach(Attach { pod: "edge-9".to_owned(), instance: "1".to_owned(), received: 0 })
}

pub fn orders(first: u64, received: u64, orders: &[MediaOrder]) -> from_edge::What {
    let entries = orders.iter().map(|order| serde_json::to_vec(order).unwrap().into()).collect();
    from_edge::What::Orders(Batch { first, received, entries })
}

#[tokio::test]
async fn a_peer_that_does_not_keep_to_the_rules_is_let_go() {
    use tonic::Code::{InvalidArgument, PermissionDenied};

    let world = World::new(Over::Network);
    let server = Server::new();
    let serving = world.serve(&server, "127.0.0.1:0").await;
    let other = Identity::new(ClusterId::new("voice", "c15"), Role::Edge);
    let edge = identity(Role::Edge);
    let cases = [
        ("of another cluster", other, vec![attach()], PermissionDenied),
        ("a media pod", identity(Role::Media), vec![attach()], PermissionDenied),
        ("no attach", edge.clone(), vec![orders(1, 0, &[])], InvalidArgument),
        ("two of them", edge.clone(), vec![attach(), attach()], InvalidArgument),
        (
            "an id too high",
            edge.clone(),
            vec![attach(), orders(1, 0, &[allocate(SESSIONS_END, 1)])],
            InvalidArgument,
        ),
        ("a gap", edge.clone(), vec![attach(), orders(7, 0, &[allocate(1, 1)])], InvalidArgument),
        ("what was not sent", edge, vec![attach(), orders(1, 7, &[])], InvalidArgument),
    ];
    for (case, identity, words, code) in cases {
        assert_eq!(told(&world, &serving, &identity, words).await, code, "{case}");
    }
    assert_eq!(server.seen(), []);
}
