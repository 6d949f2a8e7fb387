//! Binding what a cluster listens on.

use std::{io, os::fd::AsFd};

use model::{
    net::Transport,
    snapshot::{Cluster, Listener},
};
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
    pub fn bind(cluster: &Cluster, shared: bool) -> Result<Self, StartError> {
        let bind = |listener: &Listener| {
            let interface = interface(cluster, listener);
            let bound = bind(listener, interface, shared).map_err(|source| StartError::Bind {
                listener: listener.name.clone(),
                transport: listener.transport,
                address: listener.bind,
                hint: hint(listener, interface, &source),
                source,
            });
            bound.map(|bound| (listener.transport, bound))
        };
        cluster.listeners.iter().map(bind).collect::<Result<_, _>>().map(Self)
    }
}

/// What a listener's sockets are bound to beside its address.
pub fn interface<'a>(cluster: &'a Cluster, listener: &Listener) -> Option<&'a str> {
    cluster.networks.iter().find(|network| network.name == listener.network)?.interface.as_deref()
}

fn bind(listener: &Listener, interface: Option<&str>, shared: bool) -> io::Result<Bound> {
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
    if let Some(interface) = interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
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
    use model::{
        ClusterId,
        snapshot::{Limits, Network, Serves},
        trunk::TlsPolicy,
    };

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
            let mut cluster = cluster(listener.clone());
            let Sockets(first) = Sockets::bind(&cluster, true).unwrap();
            listener.bind = match &first[0].1 {
                Bound::Datagrams(socket) => socket.local_addr().unwrap(),
                Bound::Connections(socket) => socket.local_addr().unwrap(),
            };
            cluster.listeners = vec![listener];
            assert!(Sockets::bind(&cluster, true).is_ok(), "{transport} {bind}");
            let error = Sockets::bind(&cluster, false).unwrap_err().to_string();
            assert!(error.contains("another program has it"), "{error}");
        }
    }

    #[test]
    fn an_interface_is_bound_or_named_as_missing() {
        for transport in [Transport::Udp, Transport::Tcp] {
            let mut cluster = cluster(Listener {
                name: "one".into(),
                transport,
                bind: "127.0.0.1:0".parse().unwrap(),
                advertised: "127.0.0.1:0".into(),
                network: "lan".into(),
                serves: Serves::Trunks,
            });
            cluster.networks[0].interface = Some("lo".into());
            assert!(Sockets::bind(&cluster, false).is_ok(), "{transport}");
            cluster.networks[0].interface = Some("none0".into());
            let error = Sockets::bind(&cluster, false).unwrap_err().to_string();
            assert!(error.contains("change the network's interface"), "{error}");
        }
    }

    fn cluster(listener: Listener) -> Cluster {
        let localhost = "127.0.0.1".parse().unwrap();
        Cluster {
            id: ClusterId::new("platform", "c14"),
            code: "C14".into(),
            listeners: vec![listener],
            networks: vec![Network {
                name: "lan".into(),
                rtp_bind: localhost,
                rtp_advertised: localhost,
                interface: None,
                attachment: None,
            }],
            rtp_ports: (20_000, 20_999),
            limits: Limits { calls_max: 1, call_seconds_max: 60 },
            drain_seconds: 0,
            tls: TlsPolicy::default(),
            domains: Vec::new(),
            digest_algorithms: Vec::new(),
            capture: None,
            reachable_ranges: Vec::new(),
            tracing: None,
            tenants: Default::default(),
        }
    }
}
