//! Binding what a cluster listens on.

use std::{io, os::fd::AsFd};

use model::{net::Transport, snapshot::Listener};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{StartError, hint, sys};

/// Receive buffer of a datagram socket, in bytes: what a burst may need while the engine is busy.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1_024;

/// Sockets that are bound and not yet listened to.
#[derive(Debug)]
pub struct Sockets(pub Vec<(Transport, Bound)>);

#[derive(Debug)]
pub enum Bound {
    Datagrams(std::net::UdpSocket),
    Connections(std::net::TcpListener),
}

impl Sockets {
    /// `shared`: other engines may bind the same addresses, and the kernel deals datagrams and connections out.
    pub fn bind(listeners: &[Listener], shared: bool) -> Result<Self, StartError> {
        let bind = |listener: &Listener| {
            let bound = bind(listener, shared).map_err(|source| StartError::Bind {
                listener: listener.name.clone(),
                transport: listener.transport,
                address: listener.bind,
                hint: hint(listener, &source),
                source,
            });
            bound.map(|bound| (listener.transport, bound))
        };
        listeners.iter().map(bind).collect::<Result<_, _>>().map(Self)
    }
}

fn bind(listener: &Listener, shared: bool) -> io::Result<Bound> {
    let (kind, protocol) = match listener.transport {
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
        Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => (Type::STREAM, Protocol::TCP),
    };
    let socket = Socket::new(Domain::for_address(listener.bind), kind, Some(protocol))?;
    if listener.bind.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.set_reuse_port(shared)?;
    if listener.transport == Transport::Udp {
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        sys::keep_errors(socket.as_fd(), listener.bind.is_ipv6())?;
        socket.bind(&listener.bind.into())?;
        return Ok(Bound::Datagrams(socket.into()));
    }
    // A restart must not wait for the connections of the one before.
    socket.set_reuse_address(true)?;
    socket.bind(&listener.bind.into())?;
    socket.listen(BACKLOG)?;
    Ok(Bound::Connections(socket.into()))
}

#[cfg(test)]
mod tests {
    use model::snapshot::Serves;

    use super::*;

    #[test]
    fn addresses_are_shared_only_by_those_who_say_so() {
        for (transport, bind) in [
            (Transport::Udp, "127.0.0.1:0"),
            (Transport::Tcp, "127.0.0.1:0"),
            (Transport::Tls, "[::1]:0"),
            (Transport::Udp, "[::1]:0"),
        ] {
            let mut listener = Listener {
                name: "one".into(),
                transport,
                bind: bind.parse().unwrap(),
                advertised: bind.into(),
                network: "lan".into(),
                serves: Serves::Trunks,
            };
            let Sockets(first) = Sockets::bind(std::slice::from_ref(&listener), true).unwrap();
            listener.bind = match &first[0].1 {
                Bound::Datagrams(socket) => socket.local_addr().unwrap(),
                Bound::Connections(socket) => socket.local_addr().unwrap(),
            };
            let listeners = [listener];
            assert!(Sockets::bind(&listeners, true).is_ok(), "{transport} {bind}");
            let error = Sockets::bind(&listeners, false).unwrap_err().to_string();
            assert!(error.contains("another program has it"), "{error}");
        }
    }
}
