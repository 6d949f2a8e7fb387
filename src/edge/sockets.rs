//! Binding what a cluster listens on.

use std::{io, os::fd::AsFd};

use model::{
    net::{ListenerIx, Transport},
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
pub struct Sockets(pub Vec<(ListenerIx, Transport, Bound)>);

#[derive(Debug)]
pub enum Bound {
    Datagrams(std::net::UdpSocket),
    Connections(std::net::TcpListener),
}

impl Sockets {
    /// Those of so many engines. Each has a socket of its own for every listener of datagrams, which the kernel deals out
    /// by source; connections are for the first.
    ///
    /// `shared`: other processes may bind the same addresses too.
    pub fn bind(cluster: &Cluster, shared: bool, count: usize) -> Result<Vec<Self>, StartError> {
        let mut all: Vec<Self> = (0..count.max(1)).map(|_| Self(Vec::new())).collect();
        for (place, listener) in cluster.listeners.iter().enumerate() {
            let interface = interface(cluster, listener);
            let place = ListenerIx(u16::try_from(place).unwrap_or(u16::MAX));
            let bind = |shared| {
                bind(listener, interface, shared).map_err(|source| StartError::Bind {
                    listener: listener.name.clone(),
                    transport: listener.transport,
                    address: listener.bind,
                    hint: hint(listener, interface, &source),
                    source,
                })
            };
            let alone = count <= 1 || listener.transport != Transport::Udp;
            if !shared && !alone {
                // Sharing with another program of the same user would lose what the kernel gives to that: it must not be there.
                drop(bind(false)?);
            }
            let engines = if alone { 1 } else { count };
            for sockets in all.iter_mut().take(engines) {
                sockets.0.push((place, listener.transport, bind(shared || !alone)?));
            }
        }
        Ok(all)
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
            let first = Sockets::bind(&cluster, true, 1).unwrap();
            listener.bind = match &first[0].0[0].2 {
                Bound::Datagrams(socket) => socket.local_addr().unwrap(),
                Bound::Connections(socket) => socket.local_addr().unwrap(),
            };
            cluster.listeners = vec![listener];
            assert!(Sockets::bind(&cluster, true, 1).is_ok(), "{transport} {bind}");
            for engines in [1, 3] {
                let error = Sockets::bind(&cluster, false, engines).unwrap_err().to_string();
                assert!(error.contains("another program has it"), "{error}");
            }
            drop(first);
            let each = Sockets::bind(&cluster, false, 3).unwrap();
            let counts: Vec<_> = each.iter().map(|of_one| of_one.0.len()).collect();
            assert_eq!(counts, if transport == Transport::Udp { [1, 1, 1] } else { [1, 0, 0] });
            let error = Sockets::bind(&cluster, false, 1).unwrap_err().to_string();
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
            assert!(Sockets::bind(&cluster, false, 1).is_ok(), "{transport}");
            cluster.networks[0].interface = Some("none0".into());
            let error = Sockets::bind(&cluster, false, 1).unwrap_err().to_string();
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
            packets: Default::default(),
            span_network: None,
            limits: Limits { calls_max: 1, call_seconds_max: 60 },
            drain_seconds: 0,
            tls: TlsPolicy::default(),
            domains: Vec::new(),
            digest_algorithms: Vec::new(),
            capture: None,
            reachable_ranges: Vec::new(),
            tracing: None,
            tenants: Default::default(),
            recorders: Default::default(),
            countries: Default::default(),
            speech: Default::default(),
            providers: Default::default(),
            services: Default::default(),
            keeping: Default::default(),
        }
    }
}
