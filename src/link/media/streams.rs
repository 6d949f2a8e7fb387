//! The media pod's end.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use model::{
    ClusterId, LegId, SessionId,
    media::{Event, MediaEvent, MediaOrder, Order, Refusal},
};
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use super::{
    ATTACH_WAIT, SESSIONS_END,
    outbox::{Outbox, new_entries},
};
use crate::{
    MediaEvents, MediaOrders,
    config::NAME_MAX,
    identity::{Identity, Role},
    lock,
    server::{self, Serving},
    tls::Tls,
    wire::{Attach, Attached, Batch, FromEdge, ToEdge, from_edge, media_server, to_edge},
};

/// Edge processes at once, with those whose stream broke not long ago.
const EDGES_MAX: usize = 1_024;

/// Events of one edge that are not confirmed.
const EVENTS_MAX: usize = 65_536;

/// Messages on their way to or from one edge, besides what the network holds.
pub(super) const MESSAGES_MAX: usize = 4;

/// How long an edge may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// How long an order waits for the media server to have room.
const ORDER_WAIT: Duration = Duration::from_secs(1);
const ORDER_RETRY: Duration = Duration::from_millis(5);

/// Bits of a session's id that are the edge's own.
const OWN_BITS: u32 = SESSIONS_END.trailing_zeros();

/// The streams of all edges of one media pod. Events go in, each to the edge of its session.
///
/// Sessions of different edges have equal ids; here the number of the edge stands above them.
pub struct Streams {
    cluster: ClusterId,
    edges: Mutex<Edges>,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Edges {
    last: u16,
    by_number: BTreeMap<u16, Arc<Edge>>,
    /// By name and instance.
    by_name: BTreeMap<(String, String), u16>,
}

impl Edges {
    /// The edge process and whether it was here before.
    fn of(&mut self, name: (String, String)) -> Result<(Arc<Edge>, bool), Status> {
        if let Some(edge) = self.by_name.get(&name).and_then(|number| self.by_number.get(number)) {
            return Ok((Arc::clone(edge), true));
        }
        if self.by_number.len() >= EDGES_MAX {
            return Err(Status::resource_exhausted("the media pod serves as many edges as it can"));
        }
        // 0 is for orders that do not come over a stream. A number comes again late: no event is still about the one before.
        let next = |number: u16| number.checked_add(1).unwrap_or(1);
        self.last = next(self.last);
        while self.by_number.contains_key(&self.last) {
            self.last = next(self.last);
        }
        let state = State {
            received: 0,
            events: Outbox::new(EVENTS_MAX),
            sessions: BTreeMap::new(),
            stream: 0,
            up: false,
        };
        let edge = Arc::new(Edge { number: self.last, state: Mutex::new(state), changed: Notify::new() });
        self.by_number.insert(self.last, Arc::clone(&edge));
        self.by_name.insert(name, self.last);
        Ok((edge, false))
    }
}

/// One edge process.
struct Edge {
    number: u16,
    state: Mutex<State>,
    /// There are events, or another stream has come.
    changed: Notify,
}

struct State {
    /// Number of the last order that was carried out.
    received: u64,
    events: Outbox,
    sessions: BTreeMap<SessionId, BTreeSet<LegId>>,
    /// Counts its streams; an earlier one ends.
    stream: u64,
    up: bool,
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl Streams {
    /// For edges of this cluster alone.
    #[must_use]
    pub fn new(cluster: ClusterId) -> Arc<Self> {
        Arc::new(Self { cluster, edges: Mutex::default(), dropped: AtomicU64::new(0) })
    }

    /// Serves edges, whose orders are given to `orders`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn serve(
        self: &Arc<Self>,
        listener: TcpListener,
        tls: Tls,
        orders: Arc<dyn MediaOrders>,
    ) -> io::Result<Serving> {
        let service = media_server::MediaServer::new(Service { streams: Arc::clone(self), orders });
        let service = service.max_decoding_message_size(server::MESSAGE_MAX);
        server::serve(listener, tls, |mut server| server.add_service(service))
    }

    /// Events that found the queue of their edge full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Edge processes whose stream is up.
    #[must_use]
    pub fn connected(&self) -> usize {
        lock(&self.edges).by_number.values().filter(|edge| lock(&edge.state).up).count()
    }

    /// A new stream of whom a certificate names.
    pub(super) fn open(
        self: &Arc<Self>,
        identity: &Identity,
        orders: Arc<dyn MediaOrders>,
        said: impl Stream<Item = Result<FromEdge, Status>> + Send + 'static,
    ) -> Result<ReceiverStream<Result<ToEdge, Status>>, Status> {
        if identity.role != Role::Edge || identity.cluster != self.cluster {
            return Err(Status::permission_denied("the certificate must be of an edge of this VoiceCluster"));
        }
        let (told, heard) = mpsc::channel(MESSAGES_MAX);
        tokio::spawn(run(Arc::clone(self), orders, Box::pin(said), told));
        Ok(ReceiverStream::new(heard))
    }

    fn forget(&self, number: u16) {
        let mut edges = lock(&self.edges);
        edges.by_number.remove(&number);
        edges.by_name.retain(|_, of| *of != number);
    }
}

impl MediaEvents for Streams {
    fn send(&self, event: MediaEvent) {
        let MediaEvent { session: SessionId(id), event } = event;
        let number = u16::try_from(id >> OWN_BITS).unwrap_or_default();
        let edge = lock(&self.edges).by_number.get(&number).cloned();
        // Released after its edge was gone for too long.
        let Some(edge) = edge else { return };
        let session = SessionId(id & (SESSIONS_END - 1));
        let mut state = lock(&edge.state);
        if let Event::Refused { leg, .. } | Event::Released { leg, .. } = event
            && let Some(legs) = state.sessions.get_mut(&session)
        {
            legs.remove(&leg);
            if legs.is_empty() {
                state.sessions.remove(&session);
            }
        }
        let entry = serde_json::to_vec(&MediaEvent { session, event });
        if entry.ok().is_none_or(|entry| state.events.push(entry).is_err()) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        drop(state);
        edge.changed.notify_one();
    }
}

type Said = Pin<Box<dyn Stream<Item = Result<FromEdge, Status>> + Send>>;

type Told = mpsc::Sender<Result<ToEdge, Status>>;

async fn run(streams: Arc<Streams>, orders: Arc<dyn MediaOrders>, mut said: Said, told: Told) {
    let attach = match timeout(SILENCE_MAX, said.next()).await {
        Ok(Some(Ok(FromEdge { what: Some(from_edge::What::Attach(attach)) }))) => attach,
        Ok(Some(Ok(_))) => {
            let _ = told.send(Err(Status::invalid_argument("the stream must begin with an attach"))).await;
            return;
        }
        Ok(None | Some(Err(_))) | Err(_) => return,
    };
    let end = match attached(&streams, attach) {
        Err(status) => Err(status),
        Ok((edge, number, resumed)) => {
            let session = Session { streams: &streams, edge: &edge, orders: &*orders, number };
            let end = session.serve(resumed, said, &told).await;
            let last = {
                let mut state = lock(&edge.state);
                let last = state.stream == number;
                state.up &= !last;
                last
            };
            if last {
                tokio::spawn(release_later(streams, edge, orders, number));
            }
            end
        }
    };
    if let Err(status) = end {
        // An edge that does not listen misses it.
        let _ = timeout(ORDER_WAIT, told.send(Err(status))).await;
    }
}

/// The edge, the number of this stream, and whether its sessions are still there.
fn attached(streams: &Streams, attach: Attach) -> Result<(Arc<Edge>, u64, bool), Status> {
    let Attach { pod, instance, received } = attach;
    if !(1..=NAME_MAX).contains(&pod.len()) || !(1..=NAME_MAX).contains(&instance.len()) {
        return Err(Status::invalid_argument("an edge and its instance must have names of 1 to 256 octets"));
    }
    // Held throughout, so that none attaches to what is being forgotten.
    let mut edges = lock(&streams.edges);
    let (edge, resumed) = edges.of((pod, instance))?;
    let mut state = lock(&edge.state);
    let possible = state.events.resume(if resumed { received } else { 0 });
    if !possible {
        return Err(Status::invalid_argument("the edge has events that were never sent"));
    }
    state.stream += 1;
    state.up = true;
    let number = state.stream;
    drop(state);
    // The stream before sees that it is not the last any more.
    edge.changed.notify_one();
    Ok((edge, number, resumed))
}

/// Once an edge was gone for too long its legs give their ports back.
async fn release_later(streams: Arc<Streams>, edge: Arc<Edge>, orders: Arc<dyn MediaOrders>, stream: u64) {
    sleep(ATTACH_WAIT).await;
    let sessions = {
        // Looked at while no edge can attach to it.
        let mut edges = lock(&streams.edges);
        let mut state = lock(&edge.state);
        if state.stream != stream || state.up {
            return;
        }
        edges.by_name.retain(|_, of| *of != edge.number);
        std::mem::take(&mut state.sessions)
    };
    tracing::warn!(sessions = sessions.len(), "an edge is gone; its legs are released");
    for (session, legs) in sessions {
        for leg in legs {
            give(&*orders, MediaOrder { session: edge.own(session), order: Order::Release { leg } }).await;
        }
    }
    streams.forget(edge.number);
}

/// Gives an order to the media server, which may need a moment. False: it has no room for too long.
async fn give(orders: &dyn MediaOrders, order: MediaOrder) -> bool {
    let until = Instant::now() + ORDER_WAIT;
    while orders.send(order.clone()).is_err() {
        if Instant::now() >= until {
            return false;
        }
        sleep(ORDER_RETRY).await;
    }
    true
}

impl Edge {
    /// A session's id on this media server.
    fn own(&self, session: SessionId) -> SessionId {
        SessionId(u64::from(self.number) << OWN_BITS | session.0)
    }
}

struct Session<'a> {
    streams: &'a Streams,
    edge: &'a Edge,
    orders: &'a dyn MediaOrders,
    number: u64,
}

impl Session<'_> {
    async fn serve(&self, resumed: bool, mut said: Said, told: &Told) -> Result<(), Status> {
        let received = lock(&self.edge.state).received;
        let attached = ToEdge { what: Some(to_edge::What::Attached(Attached { resumed, received })) };
        if told.send(Ok(attached)).await.is_err() {
            return Ok(());
        }
        let (mut heard_at, mut owes) = (Instant::now(), false);
        loop {
            let has_more = {
                let state = lock(&self.edge.state);
                if state.stream != self.number {
                    return Err(Status::aborted("another stream of this edge has come"));
                }
                state.events.has_more()
            };
            tokio::select! {
                message = said.next() => {
                    let Some(Ok(message)) = message else { return Ok(()) };
                    self.hear(message).await?;
                    (heard_at, owes) = (Instant::now(), true);
                }
                permit = told.reserve(), if owes || has_more => {
                    let Ok(permit) = permit else { return Ok(()) };
                    let mut state = lock(&self.edge.state);
                    let received = state.received;
                    let batch = state.events.batch(received);
                    permit.send(Ok(ToEdge { what: Some(to_edge::What::Events(batch)) }));
                    owes = false;
                }
                () = self.edge.changed.notified() => {}
                () = sleep_until(heard_at + SILENCE_MAX) => {
                    return Err(Status::deadline_exceeded("the edge has said nothing for too long"));
                }
            }
        }
    }

    async fn hear(&self, message: FromEdge) -> Result<(), Status> {
        // What a later version says is not for this one.
        let Some(what) = message.what else { return Ok(()) };
        let batch = match what {
            from_edge::What::Attach(_) => return Err(Status::invalid_argument("an attach may come once")),
            from_edge::What::Orders(batch) => batch,
        };
        if !lock(&self.edge.state).events.confirmed(batch.received) {
            return Err(Status::invalid_argument("events that were never sent are confirmed"));
        }
        self.orders(batch).await
    }

    async fn orders(&self, batch: Batch) -> Result<(), Status> {
        let received = lock(&self.edge.state).received;
        let new = new_entries(batch, received).ok_or(Status::invalid_argument("orders are missing"))?;
        for entry in new {
            // Counted first: whatever comes of it, it is not done twice, nor by a stream that came meanwhile.
            {
                let mut state = lock(&self.edge.state);
                if state.stream != self.number {
                    return Err(Status::aborted("another stream of this edge has come"));
                }
                state.received += 1;
            }
            let Ok(MediaOrder { session, order }) = serde_json::from_slice(&entry) else {
                // Of a later version.
                tracing::warn!("an order that is not known");
                continue;
            };
            if session.0 >= SESSIONS_END {
                return Err(Status::invalid_argument("the id of a session must be below 2^48"));
            }
            let allocates = if let Order::Allocate { leg, .. } | Order::Extend { leg, .. } = &order {
                Some(*leg)
            } else {
                None
            };
            if let Some(leg) = allocates {
                lock(&self.edge.state).sessions.entry(session).or_default().insert(leg);
            }
            let id = self.edge.own(session);
            if !give(self.orders, MediaOrder { session: id, order }).await
                && let Some(leg) = allocates
            {
                let event = Event::Refused { leg, reason: Refusal::PortsExhausted };
                self.streams.send(MediaEvent { session: id, event });
            }
        }
        Ok(())
    }
}

struct Service {
    streams: Arc<Streams>,
    orders: Arc<dyn MediaOrders>,
}

#[tonic::async_trait]
impl media_server::Media for Service {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<ToEdge, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<FromEdge>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let identity = server::pod(&request)?;
        let told = self.streams.open(&identity, Arc::clone(&self.orders), request.into_inner())?;
        Ok(Response::new(Box::pin(told)))
    }
}
