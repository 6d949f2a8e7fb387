//! Connections of stream transports: accepting, opening, framing, writing.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    rc::{Rc, Weak},
    time::Duration,
};

use bytes::Bytes;
use call::engine::Input;
use model::net::{Flow, ListenerIx, Transport};
use sip::wire::{Frame, StreamFramer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::timeout,
};
use tracing::{debug, info, trace};

use crate::shell::{Core, Shared};

/// Connections at once. Further ones are closed as they come.
const CONNECTIONS_MAX: usize = 8_192;

/// Messages that wait to be written to one connection. A peer that does not read loses its connection.
const UNWRITTEN_MAX: usize = 256;

/// How long a message may take from its first byte to its last.
const MESSAGE_WAIT: Duration = Duration::from_secs(30);

/// How long opening a connection may take.
const CONNECT_WAIT: Duration = Duration::from_secs(4);

/// The connections of an engine's thread.
#[derive(Default)]
pub struct Streams {
    listeners: BTreeMap<ListenerIx, IpAddr>,
    connections: BTreeMap<u64, Connection>,
    by_remote: BTreeMap<(ListenerIx, SocketAddr), u64>,
    last: u64,
    core: Weak<std::cell::RefCell<Core>>,
}

struct Connection {
    flow: Flow,
    unwritten: mpsc::Sender<Bytes>,
}

impl Streams {
    pub fn add_listener(&mut self, listener: ListenerIx, local: SocketAddr, core: &Shared) {
        self.listeners.insert(listener, local.ip());
        self.core = Rc::downgrade(core);
    }

    /// Sends by the flow's connection, by another one to the same peer, or by a new one. False: it could not be queued.
    pub fn send(&mut self, flow: Flow, bytes: Bytes) -> bool {
        let known = self.connections.get(&flow.connection).map(|_| flow.connection);
        let known = known.or_else(|| self.by_remote.get(&(flow.listener, flow.remote)).copied());
        if let Some(connection) = known.and_then(|known| self.connections.get(&known)) {
            return connection.unwritten.try_send(bytes).is_ok();
        }
        let (Some(core), Some(local)) = (self.core.upgrade(), self.listeners.get(&flow.listener)) else {
            return false;
        };
        let local = *local;
        let Some((flow, unwritten)) = self.add(flow) else { return false };
        let queued = self.connections[&flow.connection].unwritten.try_send(bytes).is_ok();
        tokio::task::spawn_local(connect(core, flow, local, unwritten));
        queued
    }

    /// Numbers a connection. None: there are too many.
    fn add(&mut self, flow: Flow) -> Option<(Flow, mpsc::Receiver<Bytes>)> {
        if self.connections.len() >= CONNECTIONS_MAX {
            return None;
        }
        self.last += 1;
        let flow = Flow { connection: self.last, ..flow };
        let (unwritten, receiver) = mpsc::channel(UNWRITTEN_MAX);
        self.connections.insert(flow.connection, Connection { flow, unwritten });
        self.by_remote.insert((flow.listener, flow.remote), flow.connection);
        Some((flow, receiver))
    }

    fn remove(&mut self, connection: u64) {
        if let Some(Connection { flow, .. }) = self.connections.remove(&connection) {
            let key = (flow.listener, flow.remote);
            if self.by_remote.get(&key) == Some(&connection) {
                self.by_remote.remove(&key);
            }
        }
    }
}

pub async fn accept(core: Shared, listener: ListenerIx, socket: TcpListener) {
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
        let flow = Flow { transport: Transport::Tcp, listener, remote, connection: 0 };
        let added = {
            let mut core = core.borrow_mut();
            if !core.admits(listener, remote.ip()) {
                core.refuse_connection(flow);
                continue;
            }
            core.streams.add(flow)
        };
        match added {
            Some((flow, unwritten)) => {
                tokio::task::spawn_local(serve(Rc::clone(&core), flow, stream, unwritten));
            }
            None => info!(%flow, "closed a connection: there are {CONNECTIONS_MAX} already"),
        }
    }
}

async fn connect(core: Shared, flow: Flow, local: IpAddr, unwritten: mpsc::Receiver<Bytes>) {
    match timeout(CONNECT_WAIT, open(flow.remote, local)).await {
        Ok(Ok(stream)) => return serve(core, flow, stream, unwritten).await,
        Ok(Err(error)) => debug!(%flow, "cannot connect: {error}"),
        Err(_) => debug!(%flow, "cannot connect: no answer for {CONNECT_WAIT:?}"),
    }
    let mut core = core.borrow_mut();
    core.streams.remove(flow.connection);
    // Transactions know the flow as it was asked for, with the shell free to choose the connection.
    core.step(Input::Unreachable { flow: Flow { connection: 0, ..flow } });
}

async fn open(remote: SocketAddr, local: IpAddr) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(local, 0))?;
    socket.connect(remote).await
}

async fn serve(core: Shared, flow: Flow, stream: TcpStream, unwritten: mpsc::Receiver<Bytes>) {
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    let writing = tokio::task::spawn_local(write(writer, unwritten));
    read(&core, flow, reader).await;
    {
        let mut core = core.borrow_mut();
        core.streams.remove(flow.connection);
        core.step(Input::Unreachable { flow });
    }
    // What is queued is still written: an error is answered before its connection closes.
    let _ = timeout(CONNECT_WAIT, writing).await;
}

async fn write(mut writer: OwnedWriteHalf, mut unwritten: mpsc::Receiver<Bytes>) {
    while let Some(bytes) = unwritten.recv().await {
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await;
}

async fn read(core: &Shared, flow: Flow, mut reader: OwnedReadHalf) {
    let mut framer = StreamFramer::default();
    let mut buffer = vec![0; 16_384];
    loop {
        let reading = reader.read(&mut buffer);
        let read = if framer.is_inside_message() {
            match timeout(MESSAGE_WAIT, reading).await {
                Ok(read) => read,
                Err(_) => {
                    return info!(%flow, "closed a connection: a message took longer than {MESSAGE_WAIT:?}");
                }
            }
        } else {
            reading.await
        };
        match read {
            Ok(0) | Err(_) => return,
            Ok(length) => framer.push(&buffer[..length]),
        }
        while let Some(frame) = framer.next_frame() {
            if !take(core, flow, frame) {
                return;
            }
        }
    }
}

/// False: the connection is to be closed.
fn take(core: &Shared, flow: Flow, frame: Frame) -> bool {
    let mut core = core.borrow_mut();
    match frame {
        Frame::Ping => core.streams.send(flow, Bytes::from_static(b"\r\n")),
        Frame::Message(message) => {
            trace!(%flow, "← {}", String::from_utf8_lossy(message.bytes()));
            core.received();
            core.step(Input::Message { flow, message: Box::new(message) });
            true
        }
        Frame::Malformed { malformed, close } => {
            core.received();
            core.step(Input::Malformed { flow, malformed: Box::new(malformed) });
            !close
        }
    }
}
