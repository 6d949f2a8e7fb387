//! A phone that is called and does exactly what a test says: it answers by itself, keeps every packet that it hears, and can press keys.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    audio,
    harness::{System, wait_until},
    phone::Message,
    rtp::{Packet, Rtp},
};

/// The phone, for one call.
#[derive(Debug)]
pub struct Callee {
    pub rtp: Rtp,
    socket: UdpSocket,
    messages: Arc<Mutex<Vec<(Message, SocketAddr)>>>,
    over: Arc<AtomicBool>,
}

impl Callee {
    /// Waits for a call at that port, which it answers with these formats; 101 is telephone-event.
    pub fn start(system: &System, port: u16, formats: &str) -> Self {
        let rtp = Rtp::bind(([127, 0, 0, 1], system.peer_port()).into());
        let socket = UdpSocket::bind(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let event = if formats.contains("101") {
            "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n"
        } else {
            ""
        };
        let body = format!(
            "v=0\r\no=callee 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} RTP/AVP {formats}\r\n{event}",
            rtp.local.port()
        );
        let (messages, over) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let (own, kept, ended) = (socket.try_clone().unwrap(), Arc::clone(&messages), Arc::clone(&over));
        thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while !ended.load(Ordering::Relaxed) {
                let Ok((length, from)) = own.recv_from(&mut buffer) else { continue };
                let message = Message { text: String::from_utf8_lossy(&buffer[..length]).into_owned() };
                let body = if message.method() == "INVITE" { body.as_str() } else { "" };
                if message.code() == 0 && message.method() != "ACK" {
                    let _ = own.send_to(answer(&message, own.local_addr().unwrap(), body).as_bytes(), from);
                }
                kept.lock().unwrap().push((message, from));
            }
        });
        Self { rtp, socket, messages, over }
    }

    /// Requests of a method that have come, each once.
    pub fn requests(&self, method: &str) -> Vec<Message> {
        let mut seen = Vec::new();
        for (message, _) in &*self.messages.lock().unwrap() {
            let is_new = |one: &Message| {
                one.header("CSeq") != message.header("CSeq")
                    || one.header("Call-ID") != message.header("Call-ID")
            };
            if message.method() == method && seen.iter().all(is_new) {
                seen.push(message.clone());
            }
        }
        seen
    }

    fn invite(&self) -> (Message, SocketAddr) {
        wait_until("the callee is called", || !self.requests("ACK").is_empty());
        let messages = self.messages.lock().unwrap();
        messages.iter().find(|(message, _)| message.method() == "INVITE").unwrap().clone()
    }

    /// Where its audio goes, once it has answered.
    pub fn audio(&self) -> SocketAddr {
        self.invite().0.audio()
    }

    /// Sends a key by INFO.
    pub fn inform(&self, key: char) {
        let (invite, server) = self.invite();
        let local = self.socket.local_addr().unwrap();
        let contact = invite.header("Contact").unwrap();
        let target = contact.trim_start_matches('<').split('>').next().unwrap();
        let body = format!("Signal={key}\r\nDuration=160\r\n");
        let text = format!(
            "INFO {target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bKcallee{key}\r\nMax-Forwards: 70\r\n\
             From: {};tag=callee\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 1 INFO\r\nContact: <sip:callee@{local}>\r\n\
             Content-Type: application/dtmf-relay\r\nContent-Length: {}\r\n\r\n{body}",
            invite.header("To").unwrap(),
            invite.header("From").unwrap(),
            invite.header("Call-ID").unwrap(),
            body.len()
        );
        self.socket.send_to(text.as_bytes(), server).unwrap();
        let answered = |message: &Message| message.code() >= 200 && message.header("CSeq") == Some("1 INFO");
        wait_until("the INFO is answered", || {
            self.messages.lock().unwrap().iter().any(|(message, _)| answered(message))
        });
    }
}

impl Drop for Callee {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn answer(request: &Message, local: SocketAddr, body: &str) -> String {
    let mut text = "SIP/2.0 200 OK\r\n".to_owned();
    for name in ["Via", "From", "Call-ID", "CSeq"] {
        request.headers(name).iter().for_each(|value| text += &format!("{name}: {value}\r\n"));
    }
    let to = request.header("To").unwrap_or_default();
    let tag = if to.contains("tag=") { "" } else { ";tag=callee" };
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    text + &format!(
        "To: {to}{tag}\r\nContact: <sip:callee@{local}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A stream that somebody says, packet by packet of 20 ms in true time.
pub struct Stream<'a> {
    pub rtp: &'a Rtp,
    pub to: SocketAddr,
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    next: std::time::Instant,
}

impl<'a> Stream<'a> {
    pub fn new(rtp: &'a Rtp, to: SocketAddr, ssrc: u32) -> Self {
        let next = std::time::Instant::now();
        Self { rtp, to, payload_type: 0, sequence: 65_500, timestamp: u32::MAX - 8_000, ssrc, next }
    }

    fn put(&mut self, payload_type: u8, timestamp: u32, marker: bool, payload: Vec<u8>) {
        let packet = Packet { payload_type, sequence: self.sequence, timestamp, ssrc: self.ssrc, payload };
        self.rtp.send(self.to, marker, &packet);
        self.sequence = self.sequence.wrapping_add(1);
    }

    fn pause(&mut self) {
        // Who was kept waiting begins anew, and does not say everything at once.
        let now = std::time::Instant::now();
        self.next = self.next.max(now.checked_sub(Duration::from_millis(100)).unwrap_or(now))
            + Duration::from_millis(20);
        thread::sleep(self.next.saturating_duration_since(now));
        self.timestamp = self.timestamp.wrapping_add(160);
    }

    /// Says this, in PCMU or, as payload type 8, PCMA.
    pub fn say(&mut self, samples: &[i16]) {
        for frame in samples.chunks_exact(160) {
            let coded = frame.iter().map(|sample| audio::encode_as(self.payload_type, *sample)).collect();
            self.put(self.payload_type, self.timestamp, false, coded);
            self.pause();
        }
    }

    /// One packet more, at once.
    pub fn rush(&mut self, payload: &[u8]) {
        self.put(self.payload_type, self.timestamp, false, payload.to_vec());
        self.timestamp = self.timestamp.wrapping_add(160);
    }

    pub fn silence(&mut self, milliseconds: usize) {
        self.say(&vec![0; milliseconds * 8]);
    }

    /// A key of 100 ms as event (RFC 4733).
    pub fn event(&mut self, key: char) {
        let (code, began) = ("0123456789*#ABCD".find(key).unwrap() as u8, self.timestamp);
        for place in 1..=5_u16 {
            let [high, low] = (place * 160).to_be_bytes();
            self.put(101, began, place == 1, vec![code, 10, high, low]);
            self.pause();
        }
        for _ in 0..3 {
            self.put(101, began, false, vec![code, 0x8a, 3, 0x20]);
        }
    }

    /// A key of 160 ms as two tones (ITU-T Q.23).
    pub fn tones(&mut self, key: char) {
        let (low, high) = audio::key_tones(key);
        let samples: Vec<i16> = (0..1_280)
            .map(|at| {
                let turn = f64::from(at) / 8_000.0 * std::f64::consts::TAU;
                ((turn * low).sin() * 5_000.0 + (turn * high).sin() * 5_000.0) as i16
            })
            .collect();
        self.say(&samples);
    }
}
