//! The engine's thread: its sockets, its timer, and what is done with its outputs.
//!
//! One current-thread runtime; every task on it borrows the [`Core`] for one step and never across an `await`.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use call::{
    Now,
    engine::{Engine, Input, Output},
    explanation::Outcome,
};
use jiff::Timestamp;
use link::MediaOrders;
use model::{
    media::{Event, MediaEvent, MediaOrder, Order, Refusal},
    net::{Flow, ListenerIx, Transport},
    snapshot::Listener,
};
use sip::endpoint::Done;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::Interest,
    net::{TcpListener, UdpSocket},
    sync::{Notify, mpsc, oneshot},
    task::LocalSet,
};
use tracing::{debug, error, info, trace, warn};

use crate::{
    Control, StartError, hint,
    observed::Observed,
    stream::{self, Streams},
    sys,
};

/// Datagrams taken from one socket before the others have their turn.
const BATCH: usize = 64;

/// Receive buffer of a datagram socket, in bytes: what a burst may need while the engine is busy.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Sources that are remembered, so that each is logged once in [`QUIET`].
const QUIET_MAX: usize = 1_024;
const QUIET: Duration = Duration::from_secs(10);

pub type Shared = Rc<RefCell<Core>>;

/// Sockets that are bound and not yet listened to.
#[derive(Debug)]
pub struct Sockets(Vec<Bound>);

#[derive(Debug)]
enum Bound {
    Datagrams(std::net::UdpSocket),
    Connections(std::net::TcpListener),
}

impl Sockets {
    pub fn bind(listeners: &[Listener]) -> Result<Self, StartError> {
        let bind = |listener: &Listener| {
            bind(listener).map_err(|source| StartError::Bind {
                listener: listener.name.clone(),
                transport: listener.transport,
                address: listener.bind,
                hint: hint(listener, &source),
                source,
            })
        };
        listeners.iter().map(bind).collect::<Result<_, _>>().map(Self)
    }
}

fn bind(listener: &Listener) -> io::Result<Bound> {
    let domain = Domain::for_address(listener.bind);
    match listener.transport {
        Transport::Udp => {
            let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
            if listener.bind.is_ipv6() {
                socket.set_only_v6(true)?;
            }
            socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
            sys::keep_errors(socket.as_fd(), listener.bind.is_ipv6())?;
            socket.set_nonblocking(true)?;
            socket.bind(&listener.bind.into())?;
            Ok(Bound::Datagrams(socket.into()))
        }
        Transport::Tcp => {
            let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
            if listener.bind.is_ipv6() {
                socket.set_only_v6(true)?;
            }
            // A restart must not wait for the connections of the one before.
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&listener.bind.into())?;
            socket.listen(1_024)?;
            Ok(Bound::Connections(socket.into()))
        }
        Transport::Tls | Transport::Ws | Transport::Wss => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// What the tasks of the thread share.
pub struct Core {
    engine: Engine,
    orders: Arc<dyn MediaOrders>,
    observed: Arc<Observed>,
    datagrams: BTreeMap<ListenerIx, Rc<UdpSocket>>,
    pub streams: Streams,
    timer: Rc<Notify>,
    woken_at: Option<Instant>,
    quiet: BTreeMap<IpAddr, Instant>,
    /// Told once the engine is idle.
    stopping: Option<oneshot::Sender<()>>,
}

impl Core {
    pub fn new(engine: Engine, orders: Arc<dyn MediaOrders>, observed: Arc<Observed>) -> Self {
        Self {
            engine,
            orders,
            observed,
            datagrams: BTreeMap::new(),
            streams: Streams::default(),
            timer: Rc::default(),
            woken_at: None,
            quiet: BTreeMap::new(),
            stopping: None,
        }
    }

    /// Gives the engine an input and carries out what it says.
    pub fn step(&mut self, input: Input) {
        let now = now();
        self.engine.handle(now, input);
        // An order that the media server does not take is answered in its stead, which may give further orders.
        while let Some(refused) = self.carry_out(now) {
            self.engine.handle(now, Input::Media(refused));
        }
        self.observed.calls.set(self.engine.calls());
        let due = self.engine.poll_timeout();
        if due.is_some_and(|due| self.woken_at.is_none_or(|woken| due < woken)) {
            self.timer.notify_one();
        }
        if self.engine.is_idle()
            && let Some(stopping) = self.stopping.take()
        {
            let _ = stopping.send(());
        }
    }

    fn carry_out(&mut self, now: Now) -> Option<MediaEvent> {
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Transmit { flow, bytes } => self.transmit(flow, bytes),
                Output::Media(order) => {
                    if let Some(refused) = self.order(order) {
                        return Some(refused);
                    }
                }
                Output::Note(note) => {
                    self.observed.malformed.add(1);
                    match note.done {
                        Done::Answered(code) => info!(flow = %note.flow, answered = code, "{}", note.what),
                        Done::Dropped => info!(flow = %note.flow, "dropped: {}", note.what),
                    }
                }
                Output::Stranger { flow } => self.stranger(flow, now),
                Output::Explanation(explanation) => {
                    if let Outcome::Refused { code, because } = &explanation.outcome {
                        info!(call_id = explanation.call_id, code, "refused: {because}");
                    }
                    debug!("{explanation}");
                    self.observed.explain(*explanation);
                }
                Output::Unperformed(step) => {
                    warn!(call_id = step.call_id, step = step.step, "not performed yet: {}", step.what);
                    self.observed.unperformed(&step);
                }
                Output::Told(told) => {
                    info!(call_id = told.call_id, "{}", told.what);
                    self.observed.tell(&told);
                }
                Output::TrunkNews(news) if news.is_bad => warn!("{}", news.what),
                Output::TrunkNews(news) => info!("{}", news.what),
                Output::Standing => self.observed.standing(&self.engine),
                Output::Record(record) => {
                    info!(
                        call = %record.call,
                        flow = %record.flow,
                        trunk = %record.trunk,
                        code = record.sip_code,
                        ended_by = ?record.ended_by,
                        because = record.because.as_deref(),
                        "call ended after {} steps",
                        record.path.len()
                    );
                    self.observed.record(*record);
                }
            }
        }
        None
    }

    fn order(&self, order: MediaOrder) -> Option<MediaEvent> {
        let session = order.session;
        let allocates = match &order.order {
            Order::Allocate { leg, .. } => Some(*leg),
            Order::Configure { .. }
            | Order::Play { .. }
            | Order::StopPlay { .. }
            | Order::Bridge { .. }
            | Order::Unbridge { .. }
            | Order::SendDtmf { .. }
            | Order::Record { .. }
            | Order::Release { .. } => None,
        };
        if self.orders.send(order).is_ok() {
            return None;
        }
        self.observed.orders_dropped.add(1);
        let leg = allocates?;
        Some(MediaEvent { session, event: Event::Refused { leg, reason: Refusal::Draining } })
    }

    fn transmit(&mut self, flow: Flow, bytes: Bytes) {
        trace!(%flow, "→ {}", String::from_utf8_lossy(&bytes));
        let sent = match self.datagrams.get(&flow.listener) {
            // What the socket has no room for is lost like any datagram, and sent again by its transaction.
            Some(socket) => send(socket, &bytes, flow.remote),
            None => self.streams.send(flow, bytes),
        };
        let count = if sent { &self.observed.packets_sent } else { &self.observed.packets_unsent };
        count.add(1);
    }

    /// One line per source and ten seconds: a flood must not fill the log.
    fn stranger(&mut self, flow: Flow, now: Now) {
        self.observed.strangers.add(1);
        let source = flow.remote.ip();
        if self.quiet.get(&source).is_some_and(|until| now.instant < *until) {
            return;
        }
        if self.quiet.len() >= QUIET_MAX {
            self.quiet.clear();
        }
        self.quiet.insert(source, now.instant + QUIET);
        let because = Engine::why_stranger(self.engine.world(), &flow, now);
        info!(%flow, "ignored: {because}");
    }

    pub fn refuse_connection(&mut self, flow: Flow) {
        self.stranger(flow, now());
    }

    pub fn admits(&self, listener: ListenerIx, address: IpAddr) -> bool {
        Engine::admits_connection(self.engine.world(), listener, address, Timestamp::now())
    }

    pub fn received(&self) {
        self.observed.packets_received.add(1);
    }

    fn control(&mut self, control: Control) {
        match control {
            Control::Apply(snapshot, answer) => {
                let _ = answer.send(self.engine.apply(snapshot));
                self.step(Input::Timeout);
            }
            Control::Names(names) => self.step(Input::Names(names)),
            Control::Secrets(secrets) => self.step(Input::Secrets(secrets)),
            Control::Drain => self.step(Input::Drain),
            Control::Stop(because, answer) => {
                self.stopping = Some(answer);
                self.step(Input::Stop { because });
            }
        }
    }
}

pub fn now() -> Now {
    Now { instant: Instant::now(), wall: Timestamp::now() }
}

/// The thread's life.
pub fn run(
    core: Core,
    sockets: Sockets,
    events: mpsc::Receiver<MediaEvent>,
    control: mpsc::Receiver<Control>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return error!("the edge's runtime cannot start: {error}"),
    };
    let local = LocalSet::new();
    local.block_on(&runtime, live(Rc::new(RefCell::new(core)), sockets, events, control));
}

async fn live(
    core: Shared,
    sockets: Sockets,
    events: mpsc::Receiver<MediaEvent>,
    mut control: mpsc::Receiver<Control>,
) {
    for (place, bound) in sockets.0.into_iter().enumerate() {
        let listener = ListenerIx(u16::try_from(place).unwrap_or(u16::MAX));
        if let Err(error) = listen(&core, listener, bound) {
            error!("a listener cannot be polled: {error}");
        }
    }
    tokio::task::spawn_local(take_events(Rc::clone(&core), events));
    tokio::task::spawn_local(keep_time(Rc::clone(&core)));
    // Peers may be probed and registrars be told from now on.
    core.borrow_mut().step(Input::Timeout);
    while let Some(order) = control.recv().await {
        core.borrow_mut().control(order);
    }
}

fn listen(core: &Shared, listener: ListenerIx, bound: Bound) -> io::Result<()> {
    match bound {
        Bound::Datagrams(socket) => {
            let socket = Rc::new(UdpSocket::from_std(socket)?);
            core.borrow_mut().datagrams.insert(listener, Rc::clone(&socket));
            tokio::task::spawn_local(take_datagrams(Rc::clone(core), listener, socket));
        }
        Bound::Connections(socket) => {
            core.borrow_mut().streams.add_listener(listener, socket.local_addr()?, core);
            let socket = TcpListener::from_std(socket)?;
            tokio::task::spawn_local(stream::accept(Rc::clone(core), listener, socket));
        }
    }
    Ok(())
}

async fn take_datagrams(core: Shared, listener: ListenerIx, socket: Rc<UdpSocket>) {
    let mut buffer = vec![0; 65_536];
    loop {
        if let Err(error) = socket.ready(Interest::READABLE | Interest::ERROR).await {
            return error!("a datagram socket failed: {error}");
        }
        for _ in 0..BATCH {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, remote)) => take_datagram(&core, listener, remote, &buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // A datagram that was sent came back; the error queue says whose.
                Err(error) => trace!("{error}"),
            }
        }
        for _ in 0..BATCH {
            let taken = socket.try_io(Interest::ERROR, || {
                sys::take_error(socket.as_fd()).ok_or_else(|| io::ErrorKind::WouldBlock.into())
            });
            let Ok(remote) = taken else { break };
            debug!(%remote, "a datagram came back: nobody listens there");
            let flow = Flow { transport: Transport::Udp, listener, remote, connection: 0 };
            core.borrow_mut().step(Input::Unreachable { flow });
        }
        tokio::task::yield_now().await;
    }
}

/// An error that waits on the socket is of a datagram before: it is taken off, and this one gets its own try.
fn send(socket: &UdpSocket, bytes: &[u8], remote: SocketAddr) -> bool {
    match socket.try_send_to(bytes, remote) {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
        Err(_) => socket.try_send_to(bytes, remote).is_ok(),
    }
}

fn take_datagram(core: &Shared, listener: ListenerIx, remote: SocketAddr, bytes: &[u8]) {
    let flow = Flow { transport: Transport::Udp, listener, remote, connection: 0 };
    trace!(%flow, "← {}", String::from_utf8_lossy(bytes));
    let mut core = core.borrow_mut();
    core.received();
    core.step(Input::Packet { flow, bytes: Bytes::copy_from_slice(bytes) });
}

async fn take_events(core: Shared, mut events: mpsc::Receiver<MediaEvent>) {
    while let Some(event) = events.recv().await {
        core.borrow_mut().step(Input::Media(event));
    }
    warn!("the media server has ended");
}

async fn keep_time(core: Shared) {
    let timer = Rc::clone(&core.borrow().timer);
    loop {
        let due = {
            let mut core = core.borrow_mut();
            core.woken_at = core.engine.poll_timeout();
            core.woken_at
        };
        match due {
            None => timer.notified().await,
            Some(due) => {
                tokio::select! {
                    () = timer.notified() => continue,
                    () = tokio::time::sleep_until(due.into()) => {}
                }
                core.borrow_mut().step(Input::Timeout);
            }
        }
    }
}
