//! Connections of stream transports: accepting, opening, framing, writing.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    rc::{Rc, Weak},
    time::Duration,
};

use bytes::Bytes;
use call::{certificate::Identity, engine::Input};
use model::net::{Flow, ListenerIx, Transport};
use sip::wire::{Frame, Message, StreamFramer};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};
use tracing::{debug, info, trace};

use crate::{
    secure,
    shell::{Core, Cut, Shared},
    tls::Shown,
    websocket,
};

/// Connections at once. Further ones are closed as they come.
const CONNECTIONS_MAX: usize = 8_192;

/// Connections at once of one address, so that nobody has them all.
const CONNECTIONS_OF_ONE_MAX: usize = 2_048;

/// Handshakes at once, which cost more than anything else that a stranger can ask for.
const HANDSHAKES_MAX: usize = 1_024;

/// Handshakes at once of one address.
const HANDSHAKES_OF_ONE_MAX: usize = 256;

/// Octets of messages that are not complete, of all connections, and of those of one address.
const HELD_MAX: usize = 64 << 20;
const HELD_OF_ONE_MAX: usize = 8 << 20;

/// Messages that wait to be written to one connection. A peer that does not read loses its connection.
const UNWRITTEN_MAX: usize = 256;

/// Messages that are sent once more when their connection turns out to have been closed.
const UNANSWERED_MAX: usize = 16;

/// How long a message may take from its first byte to its last.
const MESSAGE_WAIT: Duration = Duration::from_secs(30);

/// How long whoever connects may wait with its first message.
pub const FIRST_WAIT: Duration = Duration::from_secs(60);

/// How long a message may wait for a peer that does not read.
const WRITE_WAIT: Duration = Duration::from_secs(30);

/// How long a connection may say nothing at all. Longer than calls last as a rule: they end by it.
const IDLE_WAIT: Duration = Duration::from_hours(2);

/// How long opening a connection may take.
const CONNECT_WAIT: Duration = Duration::from_secs(4);

/// When a silent peer's machine is asked whether it is still there.
const ALIVE_AFTER: Duration = Duration::from_secs(60);

/// The connections of an engine's thread.
#[derive(Default)]
pub struct Streams {
    listeners: BTreeMap<ListenerIx, Local>,
    connections: BTreeMap<u64, Connection>,
    by_remote: BTreeMap<(ListenerIx, SocketAddr), u64>,
    of_source: BTreeMap<Source, usize>,
    handshakes: Counts,
    /// Octets of messages that are not complete.
    held: Counts,
    last: u64,
    core: Weak<RefCell<Core>>,
}

/// Where connections of ours begin.
#[derive(Clone)]
struct Local {
    address: IpAddr,
    interface: Option<String>,
    /// Place of its network.
    network: u16,
}

/// A peer's address, on a network.
type Source = (u16, IpAddr);

/// How much there is of something, in all and of each source.
type Counts = Rc<RefCell<(usize, BTreeMap<Source, usize>)>>;

struct Connection {
    flow: Flow,
    unwritten: mpsc::Sender<Bytes>,
    /// What the peer proves itself by.
    shown: Option<Shown>,
    identity: Option<Identity>,
    /// Whether we have opened it.
    opened: bool,
    /// Whether anything has come by it.
    heard: bool,
    /// What was sent by a connection of ours after the last that came: lost, if it was closed meanwhile.
    unanswered: Vec<Bytes>,
    /// Where else it is reached by this connection (RFC 5923).
    alias: Option<SocketAddr>,
}

/// A share of what there may be in all and of each source, given back when it is dropped.
pub struct Share {
    counts: Counts,
    source: Source,
    taken: usize,
}

/// A handshake under way.
pub type Handshake = Share;

impl Share {
    const fn none(counts: Counts, source: Source) -> Self {
        Self { counts, source, taken: 0 }
    }

    /// Takes so much in place of what it had. False: it would be too much, and it has nothing now.
    fn take(&mut self, amount: usize, (most, most_of_one): (usize, usize)) -> bool {
        if amount == self.taken {
            return true;
        }
        let mut counts = self.counts.borrow_mut();
        let (all, of_source) = &mut *counts;
        let of_one = of_source.entry(self.source).or_default();
        *all -= self.taken;
        *of_one -= self.taken;
        let fits = *all + amount <= most && *of_one + amount <= most_of_one;
        self.taken = if fits { amount } else { 0 };
        *all += self.taken;
        *of_one += self.taken;
        if *of_one == 0 {
            of_source.remove(&self.source);
        }
        fits
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.take(0, (usize::MAX, usize::MAX));
    }
}

impl Streams {
    pub fn add_listener(
        &mut self,
        listener: ListenerIx,
        (local, interface, network): (SocketAddr, Option<String>, u16),
        core: &Shared,
    ) {
        self.listeners.insert(listener, Local { address: local.ip(), interface, network });
        self.core = Rc::downgrade(core);
    }

    /// Sends by the flow's connection, by another one to the same peer, or by a new one. False: it could not be queued.
    pub fn send(&mut self, flow: Flow, bytes: Bytes) -> bool {
        let known = self.connections.get(&flow.connection).map(|_| flow.connection);
        let known = known.or_else(|| self.by_remote.get(&(flow.listener, flow.remote)).copied());
        if let Some(connection) = known.and_then(|known| self.connections.get_mut(&known)) {
            // An ACK is never answered; one that is lost is asked for again.
            let answered = !bytes.starts_with(b"ACK ");
            if connection.opened && answered && connection.unanswered.len() < UNANSWERED_MAX {
                connection.unanswered.push(bytes.clone());
            }
            return connection.unwritten.try_send(bytes).is_ok();
        }
        // A page cannot be connected to.
        let opens = matches!(flow.transport, Transport::Tcp | Transport::Tls);
        let (Some(core), Some(local), true) =
            (self.core.upgrade(), self.listeners.get(&flow.listener), opens)
        else {
            return false;
        };
        let local = local.clone();
        let Some((flow, unwritten)) = self.add(flow, true) else { return false };
        let queued = self.connections[&flow.connection].unwritten.try_send(bytes).is_ok();
        tokio::task::spawn_local(connect(core, flow, local, unwritten));
        queued
    }

    /// Numbers a connection. None: there are too many.
    fn add(&mut self, flow: Flow, opened: bool) -> Option<(Flow, mpsc::Receiver<Bytes>)> {
        let source = self.source(&flow);
        let of_one = self.of_source.get(&source).copied().unwrap_or(0);
        if self.connections.len() >= CONNECTIONS_MAX || of_one >= CONNECTIONS_OF_ONE_MAX {
            return None;
        }
        self.last += 1;
        let flow = Flow { connection: self.last, ..flow };
        let (unwritten, receiver) = mpsc::channel(UNWRITTEN_MAX);
        let connection = Connection {
            flow,
            unwritten,
            shown: None,
            identity: None,
            opened,
            heard: false,
            unanswered: Vec::new(),
            alias: None,
        };
        self.connections.insert(flow.connection, connection);
        // Under TLS who has called us from a port is not yet known to be who is called there.
        if opened || flow.transport == Transport::Tcp {
            self.by_remote.insert((flow.listener, flow.remote), flow.connection);
        }
        self.of_source.insert(source, of_one + 1);
        Some((flow, receiver))
    }

    fn remove(&mut self, connection: u64) -> Option<Connection> {
        let removed = self.connections.remove(&connection)?;
        let Connection { flow, alias, .. } = removed;
        for remote in [Some(flow.remote), alias].into_iter().flatten() {
            self.forget_remote((flow.listener, remote), connection);
        }
        let source = self.source(&flow);
        match self.of_source.get_mut(&source) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                self.of_source.remove(&source);
            }
        }
        Some(removed)
    }

    fn heard(&mut self, connection: u64) {
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.heard = true;
            connection.unanswered.clear();
        }
    }

    fn forget_remote(&mut self, key: (ListenerIx, SocketAddr), connection: u64) {
        if self.by_remote.get(&key) == Some(&connection) {
            self.by_remote.remove(&key);
        }
    }

    fn source(&self, flow: &Flow) -> Source {
        let network = self.listeners.get(&flow.listener).map_or(u16::MAX, |local| local.network);
        (network, flow.remote.ip().to_canonical())
    }

    /// None: there are too many, in all or of its source.
    pub fn begin_handshake(&self, flow: &Flow) -> Option<Handshake> {
        let mut share = Share::none(Rc::clone(&self.handshakes), self.source(flow));
        share.take(1, (HANDSHAKES_MAX, HANDSHAKES_OF_ONE_MAX)).then_some(share)
    }

    /// A share of the memory for what is not complete; nothing yet.
    fn holding(&self, flow: &Flow) -> Share {
        Share::none(Rc::clone(&self.held), self.source(flow))
    }

    /// Keeps what a connection's peer has shown, and who it is by that. False: it is gone.
    pub fn identified(&mut self, connection: u64, shown: Shown, identity: Identity) -> bool {
        let found = self.connections.get_mut(&connection);
        let is_there = found.is_some();
        if let Some(connection) = found {
            connection.shown = Some(shown);
            connection.identity = Some(identity);
        }
        is_there
    }

    /// Whether a connection must say something soon: those that others have opened.
    fn waits(&self, flow: &Flow, for_agents: bool) -> Option<FirstWait> {
        let is_theirs = self.connections.get(&flow.connection).is_some_and(|one| !one.opened);
        let wait = if for_agents { FirstWait::ForMessage } else { FirstWait::ForAnything };
        is_theirs.then_some(wait)
    }

    /// Connections whose peers have shown something.
    pub fn shown(&self) -> Vec<(Flow, Shown)> {
        let shown = self.connections.values().filter_map(|one| Some((one.flow, one.shown.clone()?)));
        shown.collect()
    }

    pub fn identity(&self, connection: u64) -> Option<&Identity> {
        self.connections.get(&connection)?.identity.as_ref()
    }

    /// Nothing new is sent by the connection; what belongs to it still is.
    pub fn retire(&mut self, flow: Flow) {
        self.forget_remote((flow.listener, flow.remote), flow.connection);
    }

    /// From now on the peer is reached at that address by this connection (RFC 5923 §5).
    pub fn add_alias(&mut self, flow: Flow, alias: SocketAddr) {
        let Some(connection) = self.connections.get_mut(&flow.connection) else { return };
        if let Some(before) = connection.alias.replace(alias).filter(|before| *before != alias) {
            self.forget_remote((flow.listener, before), flow.connection);
        }
        self.by_remote.insert((flow.listener, alias), flow.connection);
    }

    /// Whether [`Streams::add_alias`] would be news.
    pub fn has_alias(&self, flow: Flow, alias: SocketAddr) -> bool {
        self.by_remote.get(&(flow.listener, alias)) == Some(&flow.connection)
    }
}

pub async fn accept(core: Shared, listener: ListenerIx, transport: Transport, socket: TcpListener) {
    loop {
        let (stream, remote) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or gone before it was accepted: neither is mended by trying at once.
                info!("a connection was not accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let flow = Flow { transport, listener, remote, connection: 0 };
        let added = {
            let mut core = core.borrow_mut();
            if !core.admits(listener, remote.ip()) {
                core.refuse_connection(flow);
                continue;
            }
            if !core.may_connect(&flow) {
                core.complain(flow, "closed a connection: this source connects too often");
                continue;
            }
            core.streams.add(flow, false)
        };
        match added {
            Some((flow, unwritten)) => {
                tokio::task::spawn_local(welcome(Rc::clone(&core), flow, stream, unwritten));
            }
            None => core.borrow_mut().cut(flow, Cut::Crowd, "there are too many already"),
        }
    }
}

async fn welcome(core: Shared, flow: Flow, stream: TcpStream, unwritten: mpsc::Receiver<Bytes>) {
    prepare(&stream);
    match flow.transport {
        Transport::Udp | Transport::Tcp => {
            let (reader, writer) = stream.into_split();
            exchange(&core, flow, (reader, writer), unwritten).await;
        }
        Transport::Tls => {
            if let Some(stream) = secure::accept(&core, flow, stream).await {
                exchange(&core, flow, tokio::io::split(stream), unwritten).await;
            }
        }
        Transport::Ws => websocket::exchange(&core, flow, stream, unwritten).await,
        Transport::Wss => {
            if let Some(stream) = secure::accept(&core, flow, stream).await {
                websocket::exchange(&core, flow, stream, unwritten).await;
            }
        }
    }
    close(&core, flow);
}

async fn connect(core: Shared, flow: Flow, local: Local, unwritten: mpsc::Receiver<Bytes>) {
    let stream = match timeout(CONNECT_WAIT, open(flow.remote, &local)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(format!("cannot connect: {error}")),
        Err(_) => Err(format!("cannot connect: no answer for {CONNECT_WAIT:?}")),
    };
    let failed = match stream {
        Ok(stream) if flow.transport == Transport::Tls => {
            prepare(&stream);
            match secure::connect(&core, flow, stream).await {
                Ok(stream) => {
                    exchange(&core, flow, tokio::io::split(stream), unwritten).await;
                    None
                }
                Err(because) => Some((because, unwritten)),
            }
        }
        Ok(stream) => {
            prepare(&stream);
            exchange(&core, flow, stream.into_split(), unwritten).await;
            None
        }
        Err(because) => Some((because, unwritten)),
    };
    if let Some((because, mut unwritten)) = failed {
        debug!(%flow, "{because}");
        let mut core = core.borrow_mut();
        core.streams.remove(flow.connection);
        let waiting: Vec<_> = std::iter::from_fn(|| unwritten.try_recv().ok()).collect();
        core.unconnected(&flow, &waiting, &because);
        // Transactions know the flow as it was asked for, with the shell free to choose the connection.
        core.step(Input::Unreachable { flow: Flow { connection: 0, ..flow } });
    }
}

async fn open(remote: SocketAddr, local: &Local) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(interface) = &local.interface {
        SockRef::from(&socket).bind_device(Some(interface.as_bytes()))?;
    }
    socket.bind(SocketAddr::new(local.address, 0))?;
    socket.connect(remote).await
}

fn prepare(stream: &TcpStream) {
    // Without either a connection works too.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(ALIVE_AFTER));
}

/// Once more is harmless.
///
/// A peer may close a connection at the moment when we use it again: what has met nobody goes by a new one. One that has
/// never said a word is not asked twice.
fn close(core: &Shared, flow: Flow) {
    let mut core = core.borrow_mut();
    let Some(removed) = core.streams.remove(flow.connection) else { return };
    core.step(Input::Unreachable { flow });
    let anew = Flow { connection: 0, ..flow };
    match (removed.opened, removed.heard) {
        (true, true) => removed.unanswered.into_iter().for_each(|bytes| {
            core.streams.send(anew, bytes);
        }),
        // Transactions know the flow as it was asked for, with the shell free to choose the connection.
        (true, false) => core.step(Input::Unreachable { flow: anew }),
        (false, _) => {}
    }
}

/// Reads and writes until either fails, and closes.
async fn exchange<R, W>(core: &Shared, flow: Flow, (reader, writer): (R, W), unwritten: mpsc::Receiver<Bytes>)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut writing = pin!(write(writer, unwritten));
    let writes = tokio::select! {
        () = read(core, flow, reader) => true,
        () = &mut writing => false,
    };
    close(core, flow);
    if writes {
        // What is queued is still written: an error is answered before its connection closes.
        let _ = timeout(CONNECT_WAIT, writing).await;
    }
}

async fn write<W: AsyncWrite + Unpin>(mut writer: W, mut unwritten: mpsc::Receiver<Bytes>) {
    while let Some(bytes) = unwritten.recv().await {
        let writing = async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        };
        if !matches!(timeout(WRITE_WAIT, writing).await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = writer.shutdown().await;
}

async fn read<R: AsyncRead + Unpin>(core: &Shared, flow: Flow, mut reader: R) {
    let mut framer = StreamFramer::default();
    let mut buffer = vec![0; 16_384];
    let (mut holding, mut waits) = {
        let core = core.borrow();
        (core.streams.holding(&flow), core.streams.waits(&flow, core.is_for_agents(&flow)))
    };
    let mut until = Instant::now() + if waits.is_some() { FIRST_WAIT } else { IDLE_WAIT };
    let first_until = until;
    loop {
        match timeout_at(until, reader.read(&mut buffer)).await {
            Err(_) if framer.is_inside_message() => {
                let what = format!("a message took longer than {MESSAGE_WAIT:?}");
                return core.borrow_mut().cut(flow, Cut::Slow, &what);
            }
            Err(_) if waits.is_some() => {
                let what = format!("no message came within {FIRST_WAIT:?}");
                return core.borrow_mut().cut(flow, Cut::Slow, &what);
            }
            Err(_) => return debug!(%flow, "closed a connection: nothing came for {IDLE_WAIT:?}"),
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(length)) => {
                // A message that trickles in has the time from its first byte, not from its latest.
                let begins = !framer.is_inside_message();
                framer.push(&buffer[..length]);
                let mut came = false;
                while let Some(frame) = framer.next_frame() {
                    came = true;
                    match (&frame, waits) {
                        (Frame::Ping, Some(FirstWait::ForMessage)) => {}
                        (Frame::Ping, _) => waits = None,
                        (Frame::Message(_) | Frame::Malformed { .. }, _) => {
                            waits = None;
                            keep_pace(core, &flow).await;
                        }
                    }
                    if !take(core, flow, frame) {
                        return;
                    }
                }
                if !holding.take(framer.held(), (HELD_MAX, HELD_OF_ONE_MAX)) {
                    let what = "too much of messages waits for its end";
                    return core.borrow_mut().cut(flow, Cut::Heavy, what);
                }
                if !framer.is_inside_message() {
                    until = if waits.is_some() { first_until } else { Instant::now() + IDLE_WAIT };
                } else if begins || came {
                    until = Instant::now() + MESSAGE_WAIT;
                }
            }
        }
    }
}

/// What a connection that others have opened must say soon.
#[derive(Debug, Clone, Copy)]
enum FirstWait {
    /// Anything: a keep-alive is enough of a peer that is listed.
    ForAnything,
    /// A message.
    ForMessage,
}

/// Waits until a source may say one more thing. Whoever sends by a connection is slowed down by it, and nothing is lost.
pub async fn keep_pace(core: &Shared, flow: &Flow) {
    loop {
        let wait = core.borrow_mut().pace(flow);
        if wait.is_zero() {
            return;
        }
        tokio::time::sleep(wait).await;
    }
}

/// False: the connection is to be closed.
fn take(core: &Shared, flow: Flow, frame: Frame) -> bool {
    let mut core = core.borrow_mut();
    core.streams.heard(flow.connection);
    match frame {
        Frame::Ping => core.streams.send(flow, Bytes::from_static(b"\r\n")),
        Frame::Message(message) => {
            trace!(%flow, "← {}", String::from_utf8_lossy(message.bytes()));
            core.received();
            if let Some(alias) = alias(flow, &message) {
                core.alias(flow, alias);
            }
            core.step(Input::Message { flow, message: Box::new(message) });
            true
        }
        Frame::Malformed { malformed, bytes, close } => {
            core.received();
            core.step(Input::Malformed { flow, malformed: Box::new(malformed), bytes });
            !close
        }
    }
}

/// Where a peer under TLS would be reached by the connection that its request came by (RFC 5923 §4).
fn alias(flow: Flow, message: &Message) -> Option<SocketAddr> {
    if flow.transport != Transport::Tls || !message.is_request() {
        return None;
    }
    let via = message.via()?;
    via.params.get("alias")?;
    Some(SocketAddr::new(flow.remote.ip(), via.port.unwrap_or(5061)))
}
