//! SIP over WebSocket (RFC 7118): one message in each frame, the subprotocol `sip`.

use std::time::Duration;

use bytes::Bytes;
use call::engine::Input;
use futures::{Sink, SinkExt, Stream, StreamExt};
use model::net::Flow;
use sip::wire::{self, ParseError};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};
use tokio_tungstenite::{
    accept_hdr_async_with_config,
    tungstenite::{
        Error, Message, Utf8Bytes,
        handshake::server::{ErrorResponse, Request, Response},
        http::{HeaderMap, HeaderValue, StatusCode, header},
        protocol::WebSocketConfig,
    },
};
use tracing::{debug, trace};

use crate::{
    shell::{Cut, Shared},
    stream::{self, FIRST_WAIT},
};

/// How long the page's request may take.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);

/// A message's head and body at their longest.
const MESSAGE_MAX: usize = wire::HEAD_MAX + wire::BODY_MAX;

/// What is written to a peer that does not read, in bytes.
const UNWRITTEN_MAX: usize = 4 * MESSAGE_MAX;

/// How often a silent peer is pinged, which keeps its path through NAT open.
const PING_EVERY: Duration = Duration::from_secs(30);

/// How long nothing may come, answers to pings included.
const SILENCE_MAX: Duration = Duration::from_secs(100);

/// How long a message may wait for a peer that does not read.
const WRITE_WAIT: Duration = Duration::from_secs(30);

/// Upgrades the connection, then reads and writes until either fails.
pub async fn exchange<S>(core: &Shared, flow: Flow, stream: S, unwritten: mpsc::Receiver<Bytes>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (hosts, under_way) = {
        let core = core.borrow();
        (core.own_hosts(flow), core.begin_handshake(flow))
    };
    if under_way.is_none() {
        return core.borrow_mut().complain(flow, "closed a connection: too many handshakes are under way");
    }
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX))
        .max_write_buffer_size(UNWRITTEN_MAX);
    let upgrading = accept_hdr_async_with_config(stream, Policy { hosts }, Some(config));
    let upgraded = timeout(HANDSHAKE_WAIT, upgrading).await;
    drop(under_way);
    let stream = match upgraded {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return core.borrow_mut().complain(flow, &format!("no WebSocket with who connected: {error}"));
        }
        Err(_) => return core.borrow_mut().complain(flow, "no WebSocket with who connected: it is too slow"),
    };
    let (writer, reader) = stream.split();
    tokio::select! {
        () = read(core, flow, reader) => {}
        () = write(writer, unwritten) => {}
    }
}

/// Who may use the listener from which page.
struct Policy {
    /// Hosts of our own, in lower case.
    hosts: Vec<String>,
}

impl tokio_tungstenite::tungstenite::handshake::server::Callback for Policy {
    fn on_request(self, request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
        if !speaks_sip(request.headers()) {
            return Err(refusal(StatusCode::BAD_REQUEST, "the subprotocol must be `sip` (RFC 7118)"));
        }
        if !self.admits(request.headers()) {
            return Err(refusal(StatusCode::FORBIDDEN, "pages of this origin may not connect"));
        }
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("sip"));
        Ok(response)
    }
}

impl Policy {
    /// A page must be of one of the hosts. A phone that is no browser has no origin.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        let Some((_, rest)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else {
            return false;
        };
        let host = match rest.split_once(']') {
            Some((v6, _)) => v6.trim_start_matches('['),
            None => rest.split(':').next().unwrap_or_default(),
        };
        self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
    }
}

fn speaks_sip(headers: &HeaderMap) -> bool {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let mut offered = offered.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    offered.any(|name| name.trim().eq_ignore_ascii_case("sip"))
}

fn refusal(status: StatusCode, text: &str) -> ErrorResponse {
    let mut response = ErrorResponse::new(Some(format!("{text}\n")));
    *response.status_mut() = status;
    response
}

async fn read(core: &Shared, flow: Flow, mut reader: impl Stream<Item = Result<Message, Error>> + Unpin) {
    let mut first_until = Some(Instant::now() + FIRST_WAIT);
    loop {
        let until = Instant::now() + SILENCE_MAX;
        let until = first_until.map_or(until, |first| first.min(until));
        let message = match timeout_at(until, reader.next()).await {
            // Whoever answers pings and says nothing wants nothing of us.
            Err(_) if first_until.is_some() => {
                let what = format!("no message came within {FIRST_WAIT:?}");
                return core.borrow_mut().cut(flow, Cut::Slow, &what);
            }
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(error))) => return debug!(%flow, "a WebSocket broke: {error}"),
            Ok(None) => return,
            Err(_) => return debug!(%flow, "closed a WebSocket: nothing came for {SILENCE_MAX:?}"),
        };
        let bytes = match message {
            Message::Text(text) => Bytes::from(text),
            Message::Binary(bytes) => bytes,
            // A ping is answered by who read it.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            Message::Close(_) => return,
        };
        first_until = None;
        stream::keep_pace(core, &flow).await;
        if !take(core, flow, bytes) {
            return;
        }
    }
}

/// False: it is no SIP, and its sender may leave.
fn take(core: &Shared, flow: Flow, bytes: Bytes) -> bool {
    trace!(%flow, "← {}", String::from_utf8_lossy(&bytes));
    let mut core = core.borrow_mut();
    core.received();
    let (input, stays) = match wire::Message::parse(bytes.clone()) {
        Ok(message) => (Input::Message { flow, message: Box::new(message) }, true),
        Err(malformed) => {
            let stays = !matches!(malformed.error, ParseError::NotSip);
            (Input::Malformed { flow, malformed: Box::new(malformed), bytes }, stays)
        }
    };
    core.step(input);
    stays
}

async fn write(mut writer: impl Sink<Message> + Unpin, mut unwritten: mpsc::Receiver<Bytes>) {
    loop {
        let message = match timeout(PING_EVERY, unwritten.recv()).await {
            Ok(Some(bytes)) => framed(bytes),
            Ok(None) => break,
            Err(_) => Message::Ping(Bytes::new()),
        };
        if !matches!(timeout(WRITE_WAIT, writer.send(message)).await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = timeout(WRITE_WAIT, writer.close()).await;
}

/// Text, which scripts read more easily; what is no UTF-8 cannot be (RFC 7118 §5).
fn framed(bytes: Bytes) -> Message {
    match Utf8Bytes::try_from(bytes.clone()) {
        Ok(text) => Message::Text(text),
        Err(_) => Message::Binary(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(rows: &[(header::HeaderName, &str)]) -> HeaderMap {
        rows.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn pages_of_our_own_domains_and_phones_may_connect() {
        let policy = Policy { hosts: vec!["c14.example.net".into(), "2001:db8::1".into()] };
        for (origin, wanted) in [
            (None, true),
            (Some("https://c14.example.net"), true),
            (Some("https://C14.example.net:8443"), true),
            (Some("https://[2001:db8::1]:8443"), true),
            (Some("https://evil.example"), false),
            (Some("https://c14.example.net.evil.example"), false),
            (Some("https://a.c14.example.net"), false),
            (Some("null"), false),
            (Some(""), false),
        ] {
            let rows: Vec<_> = origin.into_iter().map(|origin| (header::ORIGIN, origin)).collect();
            assert_eq!(policy.admits(&headers(&rows)), wanted, "{origin:?}");
        }
    }

    #[test]
    fn the_subprotocol_is_found_in_a_list() {
        for (offered, wanted) in [("sip", true), ("msrp, SIP", true), ("msrp", false), ("", false)] {
            let rows = [(header::SEC_WEBSOCKET_PROTOCOL, offered)];
            assert_eq!(speaks_sip(&headers(&rows)), wanted, "{offered}");
        }
        assert!(!speaks_sip(&HeaderMap::new()));
    }
}
