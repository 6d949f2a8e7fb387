//! A SIP phone that does exactly what a test says, right or wrong; sipp and baresip are the real ones.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use crate::{
    harness::{PATIENCE, System},
    rtp::Rtp,
    streams::{Datagrams, Wire},
};

/// Where the carrier's calls come from.
pub const CARRIER: [u8; 4] = [127, 0, 0, 1];

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A message that came.
#[derive(Debug, Clone)]
pub struct Message {
    pub text: String,
}

impl Message {
    /// Status code; 0 for a request.
    pub fn code(&self) -> u16 {
        self.text.strip_prefix("SIP/2.0 ").map_or(0, |rest| rest[..3].parse().unwrap())
    }

    pub fn method(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let (head, _) = self.text.split_once("\r\n\r\n")?;
        let fields = head.lines().filter_map(|line| line.split_once(':'));
        fields
            .map(|(field, value)| (field, value.trim()))
            .find(|(field, _)| *field == name)
            .map(|(_, value)| value)
    }

    pub fn headers(&self, name: &str) -> Vec<&str> {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        let fields = head.lines().filter_map(|line| line.split_once(':'));
        fields.filter(|(field, _)| *field == name).map(|(_, value)| value.trim()).collect()
    }

    pub fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    /// Where the described audio is to be sent.
    pub fn audio(&self) -> SocketAddr {
        let line = |prefix| self.body().lines().find_map(|line: &str| line.strip_prefix(prefix));
        let address = line("c=IN IP4 ").or_else(|| line("c=IN IP6 "));
        let address: IpAddr = address.unwrap().parse().unwrap();
        let port = line("m=audio ").unwrap().split(' ').next().unwrap().parse().unwrap();
        SocketAddr::new(address, port)
    }
}

/// The phone, for one call.
#[derive(Debug)]
pub struct Phone {
    pub rtp: Rtp,
    pub call_id: String,
    wire: Box<dyn Wire>,
    number: String,
    tag: u32,
    cseq: u32,
    to: String,
    target: String,
}

impl Phone {
    pub fn new(system: &System, address: [u8; 4], number: &str) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::from(address), 0)).unwrap();
        Self::by(system, Box::new(Datagrams { socket, server: system.sip }), number)
    }

    /// One that has another way to the system.
    pub fn by(system: &System, wire: Box<dyn Wire>, number: &str) -> Self {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let server = wire.server();
        Self {
            rtp: Rtp::bind((wire.local().ip(), system.peer_port()).into()),
            call_id: format!("phone-{id}-{}", std::process::id()),
            wire,
            number: number.into(),
            tag: id,
            cseq: 0,
            to: format!("<sip:{number}@{server}>"),
            target: format!("sip:{number}@{server}"),
        }
    }

    /// One for another call by the same way.
    pub fn again(self, system: &System) -> Self {
        Self::by(system, self.wire, &self.number)
    }

    /// An offer of these formats, by their static numbers; 101 is telephone-event.
    pub fn offer(&self, formats: &str) -> String {
        let local = self.rtp.local;
        let event = if formats.contains("101") {
            "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n"
        } else {
            ""
        };
        format!(
            "v=0\r\no=phone 1 1 IN {2} {0}\r\ns=-\r\nc=IN {2} {0}\r\nt=0 0\r\nm=audio {1} RTP/AVP {formats}\r\n{event}",
            local.ip(),
            local.port(),
            if local.is_ipv4() { "IP4" } else { "IP6" }
        )
    }

    /// A request of this call, the next one or (for ACK and CANCEL) of the last CSeq.
    pub fn request(&mut self, method: &str, headers: &str, body: &str) -> String {
        if !matches!(method, "ACK" | "CANCEL") {
            self.cseq += 1;
        }
        // A CANCEL, and the ACK of a refusal, are of the INVITE's transaction; an ACK of a 2xx is one of its own.
        let own = if method == "ACK" && self.is_established() { "ack" } else { "" };
        self.write(method, own, headers, body)
    }

    fn is_established(&self) -> bool {
        self.to.contains(";tag=")
    }

    fn write(&self, method: &str, branch: &str, headers: &str, body: &str) -> String {
        let (local, transport) = (self.wire.local(), self.wire.transport());
        let kind = if body.is_empty() || headers.contains("Content-Type") {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/{transport} {local};rport;branch=z9hG4bK{id}c{cseq}{branch}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:+12125550199@{local}>;tag=t{tag}\r\nTo: {to}\r\nCall-ID: {id}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:phone@{local}>\r\n{headers}{kind}Content-Length: {length}\r\n\r\n{body}",
            target = self.target,
            id = self.call_id,
            cseq = self.cseq,
            tag = self.tag,
            to = self.to,
            length = body.len()
        )
    }

    pub fn send(&self, text: impl AsRef<[u8]>) {
        self.wire.send(text.as_ref());
    }

    /// The next message, if one comes in time.
    pub fn receive(&self, within: Duration) -> Option<Message> {
        self.wire.receive(within).map(|text| Message { text })
    }

    /// The final response to the last request.
    pub fn final_response(&self) -> Message {
        let until = Instant::now() + PATIENCE;
        let wanted = format!("{} ", self.cseq);
        while let Some(message) =
            self.receive(until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)))
        {
            if message.code() >= 200 && message.header("CSeq").is_some_and(|cseq| cseq.starts_with(&wanted)) {
                return message;
            }
        }
        panic!("{}: no final response to {} {}", self.call_id, self.cseq, self.number);
    }

    /// Sends an INVITE and takes its final response, which is acknowledged.
    pub fn invite(&mut self, body: &str) -> Message {
        let invite = self.request("INVITE", "", body);
        self.send(&invite);
        let answer = self.final_response();
        self.acknowledge(&answer, "");
        answer
    }

    /// Sends an ACK; after a 2xx the dialog is established.
    pub fn acknowledge(&mut self, answer: &Message, body: &str) {
        let to = answer.header("To").unwrap().to_owned();
        if answer.code() < 300 {
            self.to = to;
            let contact = answer.header("Contact").unwrap();
            self.target = contact.trim_start_matches('<').split('>').next().unwrap().to_owned();
            let ack = self.request("ACK", "", body);
            self.send(&ack);
        } else {
            let kept = std::mem::replace(&mut self.to, to);
            let ack = self.write("ACK", "", "", body);
            self.to = kept;
            self.send(&ack);
        }
    }

    /// Sends the ACK of a final response to an INVITE within the dialog, whichever it was.
    pub fn acknowledge_reinvite(&mut self, answer: &Message) {
        let number = answer.header("CSeq").unwrap().split(' ').next().unwrap().parse().unwrap();
        let latest = std::mem::replace(&mut self.cseq, number);
        let own = if answer.code() < 300 { "ack" } else { "" };
        let ack = self.write("ACK", own, "", "");
        self.cseq = latest;
        self.send(&ack);
    }

    /// Calls and is answered.
    pub fn call(&mut self, formats: &str) -> Message {
        let answer = self.invite(&self.offer(formats));
        assert_eq!(answer.code(), 200, "{}", answer.text);
        answer
    }

    /// Ends the call.
    pub fn hang_up(&mut self) {
        let bye = self.request("BYE", "", "");
        self.send(&bye);
        assert_eq!(self.final_response().code(), 200);
    }

    /// Waits until the other side ends the call, and says yes.
    pub fn wait_for_bye(&self) -> Message {
        let until = Instant::now() + PATIENCE;
        while let Some(message) =
            self.receive(until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)))
        {
            if message.method() == "BYE" {
                self.answer(&message, "200 OK");
                return message;
            }
        }
        panic!("{}: no BYE came", self.call_id);
    }

    /// Answers a request.
    pub fn answer(&self, request: &Message, status: &str) {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            for value in request.headers(name) {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        self.send(text + "Content-Length: 0\r\n\r\n");
    }
}
