//! REGISTERs of agents' phones, right or wrong, octet for octet.

use std::net::SocketAddr;

use sip::{
    digest::{self, Algorithm, Credentials, Secret},
    wire,
};

use crate::{
    harness::{PATIENCE, System},
    phone::Message,
    registrar::listener,
    streams::{Datagrams, Wire},
};

const URI: &str = "sip:c14.example";

/// One phone's REGISTERs, over UDP.
#[derive(Debug)]
pub struct Registration {
    wire: Datagrams,
    username: String,
    password: String,
    cseq: u32,
    /// Seconds that it asks for.
    pub expires_s: u32,
}

impl Registration {
    pub fn new(system: &System, from: [u8; 4], username: &str, password: &str) -> Self {
        Self::at(listener(system), from, username, password)
    }

    /// One for a registrar elsewhere.
    pub fn at(registrar: SocketAddr, from: [u8; 4], username: &str, password: &str) -> Self {
        let wire = Datagrams::new(from.into(), registrar);
        Self { wire, username: username.into(), password: password.into(), cseq: 0, expires_s: 60 }
    }

    /// Sends the next REGISTER, with or without a proof, and gives its answer.
    pub fn send(&mut self, proof: Option<&str>) -> Message {
        self.cseq += 1;
        let (local, number) = (self.wire.local(), self.cseq);
        let proof = proof.map(|proof| format!("Authorization: {proof}\r\n")).unwrap_or_default();
        let text = format!(
            "REGISTER {URI} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bKr{}n{number}\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@c14.example>;tag=r\r\nTo: <sip:{user}@c14.example>\r\nCall-ID: r{}\r\nCSeq: {number} REGISTER\r\n\
             Contact: <sip:{user}@{local}>\r\nExpires: {}\r\n{proof}Content-Length: 0\r\n\r\n",
            local.port(),
            local.port(),
            self.expires_s,
            user = self.username
        );
        self.wire.send(text.as_bytes());
        let wanted = format!("{number} REGISTER");
        loop {
            let text = self.wire.receive(PATIENCE).unwrap_or_else(|| panic!("no answer to\n{text}"));
            let answer = Message { text };
            if answer.header("CSeq") == Some(&wanted) {
                return answer;
            }
        }
    }

    /// The answer to a challenge, the so-manieth by its nonce.
    pub fn proof(&self, challenge: &Message, count: u32) -> String {
        let response = wire::Message::parse(challenge.text.clone().into()).unwrap();
        let secret = Secret::Password(self.password.clone());
        let credentials = Credentials { username: self.username.clone(), secret, least: Algorithm::Md5 };
        digest::answers(&response, &credentials, "REGISTER", URI, count, "c0ffee").remove(0).value
    }
}
