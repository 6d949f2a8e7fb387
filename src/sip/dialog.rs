//! A dialog (RFC 3261 §12): who its two ends are, their sequence numbers, and where requests in it go.

use std::net::{IpAddr, SocketAddr};

use model::net::{Flow, Transport};

use crate::{
    header::{DialogName, NameAddr},
    uri::Uri,
    wire::{Message, Name, Writer},
};

/// Most members of a route set that are kept; a message with more is refused by its size long before.
const ROUTES_MAX: usize = 32;
/// Longest Contact or route that is kept.
const URI_MAX: usize = 1024;

/// One dialog, from its first response with a tag on.
#[derive(Debug, Clone)]
pub struct Dialog {
    call_id: Box<str>,
    local_tag: Box<str>,
    remote_tag: Box<str>,
    /// Field values with their tags, as they stand in From and To of a request of ours.
    local: Box<[u8]>,
    remote: Box<[u8]>,
    local_cseq: u32,
    remote_cseq: Option<u32>,
    target: Box<str>,
    routes: Box<[Box<str>]>,
}

impl Dialog {
    /// The callee's side (§12.1.1).
    #[must_use]
    pub fn of_server(request: &Message, local_tag: &str, local_cseq: u32) -> Self {
        let to = request.header(Name::To).unwrap_or(b"");
        let contact =
            contact_of(request).or_else(|| request.from().map(|from| from.uri.without_headers().to_owned()));
        Self {
            call_id: request.call_id().into(),
            local_tag: local_tag.into(),
            remote_tag: request.from_tag().unwrap_or("").into(),
            local: [to, b";tag=", local_tag.as_bytes()].concat().into(),
            remote: request.header(Name::From).unwrap_or(b"").into(),
            local_cseq,
            remote_cseq: Some(request.cseq()),
            target: contact.unwrap_or_default().into(),
            routes: routes_of(request).collect(),
        }
    }

    /// The caller's side (§12.1.2), from our INVITE and a response with a tag.
    #[must_use]
    pub fn of_client(request: &Message, response: &Message) -> Self {
        let mut routes: Vec<_> = routes_of(response).collect();
        routes.reverse();
        Self {
            call_id: request.call_id().into(),
            local_tag: request.from_tag().unwrap_or("").into(),
            remote_tag: response.to_tag().unwrap_or("").into(),
            local: request.header(Name::From).unwrap_or(b"").into(),
            remote: response.header(Name::To).unwrap_or(b"").into(),
            local_cseq: request.cseq(),
            remote_cseq: None,
            target: contact_of(response).unwrap_or_else(|| request.uri_text().to_owned()).into(),
            routes: routes.into(),
        }
    }

    /// Whether a request from the peer belongs to it (§12.2.2).
    #[must_use]
    pub fn is_of(&self, request: &Message) -> bool {
        request.call_id() == &*self.call_id
            && request.to_tag() == Some(&*self.local_tag)
            && request.from_tag().unwrap_or("") == &*self.remote_tag
    }

    /// Its Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Whether a name from outside means it. The tag `0` is also an absent one (RFC 3891 §3).
    #[must_use]
    pub fn is_named(&self, name: &DialogName<'_>) -> bool {
        let remote =
            name.remote_tag == &*self.remote_tag || (name.remote_tag == "0" && self.remote_tag.is_empty());
        name.call_id == &*self.call_id && name.local_tag == &*self.local_tag && remote
    }

    /// Our tag.
    #[must_use]
    pub fn local_tag(&self) -> &str {
        &self.local_tag
    }

    /// The peer's tag; empty for a peer of RFC 2543.
    #[must_use]
    pub fn remote_tag(&self) -> &str {
        &self.remote_tag
    }

    /// Takes the number of a request from the peer; `false` when it is not higher than the last (§12.2.2).
    pub fn take_remote_cseq(&mut self, number: u32) -> bool {
        let in_order = self.remote_cseq.is_none_or(|last| number > last);
        if in_order {
            self.remote_cseq = Some(number);
        }
        in_order
    }

    /// The number of our next request, one higher than the last.
    pub const fn next_cseq(&mut self) -> u32 {
        self.local_cseq = self.local_cseq.wrapping_add(1) & 0x7fff_ffff;
        self.local_cseq
    }

    /// Takes over the numbers that an early dialog with the same peer has used: ours from `early`, theirs from `known`.
    pub fn go_on_from(&mut self, early: &Self, known: Option<&Self>) {
        self.local_cseq = self.local_cseq.max(early.local_cseq);
        self.remote_cseq = known.and_then(|known| known.remote_cseq);
    }

    /// Takes the Contact of a target refresh request or its response (§12.2).
    pub fn refresh_target(&mut self, message: &Message) {
        if let Some(contact) = contact_of(message) {
            self.target = contact.into();
        }
    }

    /// Begins a request in the dialog (§12.2.1.1): all but Contact, further fields and body.
    pub fn write_request<'a>(
        &self,
        writer: &'a mut Writer,
        method: &str,
        cseq: u32,
        via: &str,
    ) -> &'a mut Writer {
        let strict = self.routes.first().filter(|first| !is_loose(first));
        let uri = strict
            .and_then(|first| NameAddr::parse(first.as_bytes()))
            .map_or(&*self.target, |first| first.uri.without_headers());
        writer.request(method, uri).header("Via", via).number("Max-Forwards", 70_u64);
        let after_strict = usize::from(strict.is_some());
        for route in &self.routes[after_strict..] {
            writer.header("Route", route.as_bytes());
        }
        if strict.is_some() {
            writer.header("Route", format!("<{}>", self.target));
        }
        writer
            .header("From", &self.local)
            .header("To", &self.remote)
            .header("Call-ID", self.call_id.as_bytes());
        writer.header("CSeq", format!("{cseq} {method}"))
    }

    /// Where a request in the dialog goes: to the next hop if it is an address, by the same listener. `base` is the
    /// flow that the dialog was made on; its connection is kept while the peer is the same.
    #[must_use]
    pub fn flow(&self, base: Flow) -> Flow {
        match self.next_hop(base) {
            Some(remote) if base.transport.is_reliable() && remote.ip() == base.remote.ip() => base,
            Some(remote) if remote == base.remote => base,
            Some(remote) => Flow { remote, connection: 0, ..base },
            None => base,
        }
    }

    /// Where it goes when the connection of [`Dialog::flow`] is lost: a new one to the next hop.
    #[must_use]
    pub fn other_flow(&self, base: Flow) -> Option<Flow> {
        let remote = self.next_hop(base).filter(|_| base.connection != 0)?;
        Some(Flow { remote, connection: 0, ..base })
    }

    fn next_hop(&self, base: Flow) -> Option<SocketAddr> {
        let uri = match self.routes.first() {
            Some(route) => NameAddr::parse(route.as_bytes())?.uri,
            None => Uri::parse(self.target.as_bytes()).ok()?,
        };
        // The peer asks for the very flow that its Contact came by (RFC 5626 §5.4).
        if self.routes.is_empty() && uri.param("ob").is_some() {
            return None;
        }
        let port = uri.port.unwrap_or(default_port(base.transport));
        same_family(uri.ip()?, base.remote.ip()).map(|ip| SocketAddr::new(ip, port))
    }
}

/// Port of a URI without one (RFC 3261 §19.1.2).
#[must_use]
pub const fn default_port(transport: Transport) -> u16 {
    match transport {
        Transport::Udp | Transport::Tcp => 5060,
        Transport::Tls => 5061,
        Transport::Ws => 80,
        Transport::Wss => 443,
    }
}

/// An address as the socket of `like` writes it; `None` if that socket cannot reach it.
fn same_family(ip: IpAddr, like: IpAddr) -> Option<IpAddr> {
    match (ip, like) {
        (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => Some(ip),
        (IpAddr::V4(v4), IpAddr::V6(v6)) => v6.to_ipv4_mapped().map(|_| v4.to_ipv6_mapped().into()),
        (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

/// Without its header fields, which no Request-URI may have (§19.1.1).
fn contact_of(message: &Message) -> Option<String> {
    let contact = message.addresses(Name::Contact).next()?;
    Some(contact.uri.without_headers()).filter(|text| text.len() <= URI_MAX).map(str::to_owned)
}

fn routes_of(message: &Message) -> impl Iterator<Item = Box<str>> {
    let routes = message.addresses(Name::RecordRoute).filter(|route| route.uri.text.len() <= URI_MAX);
    routes.take(ROUTES_MAX).map(|route| format!("<{}>", route.uri.text).into())
}

fn is_loose(route: &str) -> bool {
    NameAddr::parse(route.as_bytes()).is_some_and(|route| route.uri.param("lr").is_some())
}
