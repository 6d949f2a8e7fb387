//! The ladder that an edge keeps of a call, as text.

use std::{fmt::Write, net::SocketAddr, time::Duration};

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, body::Bytes, header};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

/// How long an edge may take.
const WAIT: Duration = Duration::from_secs(5);

/// Largest answer in octets.
const ANSWER_MAX: usize = 16 << 20;

/// What an edge keeps of the call with that Call-ID.
pub async fn of(edge: SocketAddr, call_id: &str) -> anyhow::Result<String> {
    let answer = timeout(WAIT, get(edge, &format!("/api/v1/ladders/{}", escaped(call_id)))).await;
    text(&answer.context("it does not answer")??)
}

async fn get(edge: SocketAddr, path: &str) -> anyhow::Result<Value> {
    let stream = TcpStream::connect(edge).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(path).header(header::HOST, edge.to_string()).body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
    if status != StatusCode::OK {
        bail!("{status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(serde_json::from_slice(&body)?)
}

/// A Call-ID may hold what a path may not (RFC 3261 §25.1, RFC 3986 §3.3).
fn escaped(call_id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~@:".contains(&byte);
    let mut text = String::with_capacity(call_id.len());
    for byte in call_id.bytes() {
        if plain(byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn text(rungs: &Value) -> anyhow::Result<String> {
    let rungs = rungs.as_array().context("the answer is no list")?;
    let field = |rung: &Value, name: &str| rung[name].as_str().unwrap_or_default().to_owned();
    let at = |rung: &Value| field(rung, "at").parse::<Timestamp>().ok();
    let first = rungs.first().and_then(at).unwrap_or_default();
    let mut text = String::from("the edge's ladder:");
    for rung in rungs {
        let since = at(rung).unwrap_or(first).duration_since(first);
        let arrow = if rung["direction"] == "in" { "←" } else { "→" };
        let _ = write!(
            text,
            "\n{:9.3}  {arrow} {} {}",
            since.as_secs_f64(),
            field(rung, "transport"),
            field(rung, "remote")
        );
        for line in field(rung, "message").lines().filter(|line| !line.is_empty()) {
            let _ = write!(text, "\n             {line}");
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ladder_is_told_from_its_first_message_on() {
        let rungs = serde_json::json!([
            {"at": "2026-11-23T15:00:00Z", "direction": "in", "transport": "UDP", "remote": "192.0.2.1:5060",
             "message": "INVITE sip:a@b SIP/2.0\r\nTo: x\r\n\r\nv=0\r\n"},
            {"at": "2026-11-23T15:00:01.25Z", "direction": "out", "transport": "TLS", "remote": "192.0.2.2:5061",
             "message": "SIP/2.0 200 OK\r\n\r\n"},
        ]);
        let wanted = "the edge's ladder:\n    0.000  ← UDP 192.0.2.1:5060\n             INVITE sip:a@b SIP/2.0\n             \
            To: x\n             v=0\n    1.250  → TLS 192.0.2.2:5061\n             SIP/2.0 200 OK";
        assert_eq!(text(&rungs).unwrap(), wanted);
        assert!(text(&Value::Null).is_err());
        assert_eq!(escaped("a/b c@[x]"), "a%2Fb%20c@%5Bx%5D");
    }
}
