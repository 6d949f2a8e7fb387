//! An RTP socket that keeps what it hears and sends what it is told, octet for octet.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::audio;

/// A packet that came (RFC 3550 §5.1).
#[derive(Debug, Clone)]
pub struct Packet {
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub payload: Vec<u8>,
}

impl Packet {
    /// As it goes over the wire.
    pub fn bytes(&self, marker: bool) -> Vec<u8> {
        let mut bytes = vec![0x80, u8::from(marker) << 7 | self.payload_type];
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.timestamp.to_be_bytes());
        bytes.extend(self.ssrc.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }
}

/// The socket, with a thread that listens.
#[derive(Debug)]
pub struct Rtp {
    pub local: SocketAddr,
    socket: UdpSocket,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    over: Arc<AtomicBool>,
}

impl Rtp {
    pub fn bind(address: SocketAddr) -> Self {
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (heard, over) = (Arc::<Mutex<Vec<Vec<u8>>>>::default(), Arc::<AtomicBool>::default());
        let (listener, kept, ended) = (socket.try_clone().unwrap(), Arc::clone(&heard), Arc::clone(&over));
        thread::spawn(move || {
            let mut buffer = [0; 2_048];
            while !ended.load(Ordering::Relaxed) {
                if let Ok(length) = listener.recv(&mut buffer) {
                    kept.lock().unwrap().push(buffer[..length].to_vec());
                }
            }
        });
        Self { local: socket.local_addr().unwrap(), socket, heard, over }
    }

    pub fn packets(&self) -> Vec<Packet> {
        self.heard.lock().unwrap().iter().filter_map(|bytes| parse(bytes)).collect()
    }

    /// What came, as it came.
    pub fn datagrams(&self) -> Vec<Vec<u8>> {
        self.heard.lock().unwrap().clone()
    }

    /// What was heard, packet after packet by sequence number, a lost one as silence.
    ///
    /// Not by timestamp: on a busy machine the sender may pause, which is a pause and no other sound.
    pub fn samples(&self) -> Vec<i16> {
        let packets = self.packets();
        let Some(first) = packets.first().map(|packet| packet.sequence) else { return Vec::new() };
        let mut frames = std::collections::BTreeMap::new();
        for packet in packets.iter().filter(|packet| matches!(packet.payload_type, 0 | 8)) {
            let decoded = audio::decode(packet.payload_type, &packet.payload);
            frames.insert(packet.sequence.wrapping_sub(first), decoded);
        }
        let last = frames.last_key_value().map_or(0, |(place, _)| *place);
        (0..=last).flat_map(|place| frames.remove(&place).unwrap_or_else(|| vec![0; 160])).collect()
    }

    /// What was heard, packet after packet as they came.
    pub fn samples_as_they_came(&self) -> Vec<i16> {
        let packets = self.packets();
        packets.iter().flat_map(|packet| audio::decode(packet.payload_type, &packet.payload)).collect()
    }

    /// The socket, for whoever speaks while others have the rest.
    pub fn sender(&self) -> UdpSocket {
        self.socket.try_clone().unwrap()
    }

    /// Sends octets that need not be a packet.
    pub fn send_bytes(&self, to: SocketAddr, bytes: &[u8]) {
        self.socket.send_to(bytes, to).unwrap();
    }

    pub fn send(&self, to: SocketAddr, marker: bool, packet: &Packet) {
        self.send_bytes(to, &packet.bytes(marker));
    }
}

impl Drop for Rtp {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

pub fn parse(bytes: &[u8]) -> Option<Packet> {
    let (header, payload) = bytes.split_at_checked(12)?;
    Some(Packet {
        payload_type: header[1] & 0x7f,
        sequence: u16::from_be_bytes([header[2], header[3]]),
        timestamp: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
        ssrc: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
        payload: payload.to_vec(),
    })
}
