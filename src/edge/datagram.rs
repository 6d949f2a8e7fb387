//! Datagrams: taken and sent in batches.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::AsFd,
    rc::Rc,
};

use bytes::Bytes;
use call::engine::Input;
use model::net::{Flow, ListenerIx, Transport};
use tokio::io::{Interest, unix::AsyncFd};
use tracing::{debug, error, trace};

use crate::{
    shell::{Core, Shared},
    stun, sys,
};

/// Batches taken from one socket before the others have their turn.
const BATCHES: usize = 2;

/// Errors taken from one socket before the others have their turn.
const ERRORS: usize = 64;

/// A keep-alive and its answer (RFC 5626 §3.5.1), which is for streams; some phones do so over UDP.
const PING: &[u8] = b"\r\n\r\n";
const PONG: &[u8] = b"\r\n";

type Polled = AsyncFd<UdpSocket>;

/// The datagram sockets of an engine's thread, with what waits to be sent.
#[derive(Default)]
pub struct Datagrams(BTreeMap<ListenerIx, Sender>);

struct Sender {
    socket: Rc<Polled>,
    unsent: Vec<(SocketAddr, Bytes)>,
}

impl Datagrams {
    pub fn add(&mut self, listener: ListenerIx, socket: Rc<Polled>) {
        self.0.insert(listener, Sender { socket, unsent: Vec::new() });
    }

    /// To be sent by the next [`Datagrams::flush`]. False: the listener is none of datagrams.
    pub fn push(&mut self, listener: ListenerIx, remote: SocketAddr, bytes: &Bytes) -> bool {
        let sender = self.0.get_mut(&listener);
        sender.map(|sender| sender.unsent.push((remote, bytes.clone()))).is_some()
    }

    /// Sends what waits, each listener's together; tells how many were sent and how many were not. What a socket has no
    /// room for is lost like any datagram, and sent again by its transaction.
    pub fn flush(&mut self) -> (usize, usize) {
        let (mut sent, mut count) = (0, 0);
        for Sender { socket, unsent } in self.0.values_mut().filter(|sender| !sender.unsent.is_empty()) {
            count += unsent.len();
            sent += send(socket.get_ref(), unsent);
            unsent.clear();
        }
        (sent, count - sent)
    }
}

fn send(socket: &UdpSocket, datagrams: &[(SocketAddr, Bytes)]) -> usize {
    let (mut at, mut sent, mut tried) = (0, 0, false);
    while at < datagrams.len() {
        match sys::send(socket.as_fd(), &datagrams[at..]) {
            Ok(count) => {
                (at, sent, tried) = (at + count, sent + count, false);
                if count == 0 {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // An error that waits on the socket is of a datagram before: it is taken off, and this one gets its own try.
            Err(_) if !tried => tried = true,
            Err(error) => {
                debug!(remote = %datagrams[at].0, "a datagram cannot be sent: {error}");
                (at, tried) = (at + 1, false);
            }
        }
    }
    sent
}

pub async fn take(core: Shared, listener: ListenerIx, socket: Rc<Polled>) {
    let mut batch = sys::Batch::new();
    loop {
        if let Err(error) = socket.ready(Interest::READABLE | Interest::ERROR).await {
            return error!("a datagram socket failed: {error}");
        }
        let mut is_dry = false;
        for _ in 0..BATCHES {
            // After a batch that was not full nothing waits, or comes with a notice of its own: no call is needed to know.
            let receive = |socket: &UdpSocket| match is_dry {
                true => Err(io::ErrorKind::WouldBlock.into()),
                false => batch.receive(socket.as_fd()),
            };
            match socket.try_io(Interest::READABLE, receive) {
                Ok(count) => {
                    is_dry = count < sys::BATCH;
                    let mut core = core.borrow_mut();
                    core.hold();
                    batch
                        .datagrams()
                        .for_each(|(remote, bytes)| take_one(&mut core, listener, remote, bytes));
                    core.release();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    is_dry = true;
                    break;
                }
                // A datagram that was sent came back; the error queue says whose.
                Err(error) => trace!("{error}"),
            }
        }
        for _ in 0..ERRORS {
            let taken = socket.try_io(Interest::ERROR, |socket| {
                sys::take_error(socket.as_fd()).ok_or_else(|| io::ErrorKind::WouldBlock.into())
            });
            let Ok(remote) = taken else { break };
            debug!(%remote, "a datagram came back: nobody listens there");
            let flow = Flow { transport: Transport::Udp, listener, remote, connection: 0 };
            core.borrow_mut().step(Input::Unreachable { flow });
        }
        // Waiting for more gives the others their turn already.
        if !is_dry {
            tokio::task::yield_now().await;
        }
    }
}

fn take_one(core: &mut Core, listener: ListenerIx, remote: SocketAddr, bytes: &[u8]) {
    let flow = Flow { transport: Transport::Udp, listener, remote, connection: 0 };
    trace!(%flow, "← {}", String::from_utf8_lossy(bytes));
    core.received();
    if let Some(answer) = keep_alive(bytes, remote) {
        // A stranger is told as little by this as by anything else.
        if core.admits(listener, remote.ip()) {
            core.datagrams.push(listener, remote, &answer);
        } else {
            core.refuse_connection(flow);
        }
        return;
    }
    // Memory of its own: whoever keeps the message must not keep the batch.
    core.step(Input::Packet { flow, bytes: Bytes::copy_from_slice(bytes) });
}

fn keep_alive(bytes: &[u8], remote: SocketAddr) -> Option<Bytes> {
    match bytes.first()? {
        0 => stun::answer(bytes, remote).map(Bytes::from),
        b'\r' if bytes == PING => Some(Bytes::from_static(PONG)),
        _ => None,
    }
}
