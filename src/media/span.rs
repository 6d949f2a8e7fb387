//! Spans: audio between media servers of one cluster, when a leg's pod is not the contact's (telephony 2).
//!
//! Each worker has one port for all its spans, and each packet is led by its span's name ([`header`]). What SRTP is for a
//! telephone's leg it is here: the replay window, the roll-over counter, and the count of what was thrown away are those of
//! [`crate::crypt`], since a span's end is a leg like any other whose peer is a leg of another server. So relaying, mixing,
//! recording, keys and silence are what they are elsewhere, and the payload goes as it is where both sides have one codec.
//!
//! What a turn of the worker has for other servers goes out at its end: to each as few messages as the kernel can cut into
//! datagrams of one length ([`crate::sys`]). What that spares, for a packet of PCMU all its way across two servers of one worker
//! each, both workers' CPU-µs (`tests/bench/span.rs`, medians of three rounds of 3 s, two quiet cores, telephones included):
//!
//! | calls | segmented and coalesced | packets a message | `sendmmsg` and `recvmmsg` | ratio |
//! |---|---|---|---|---|
//! | 50 | 22.2 | 1.4 | 23.2 | 0.96 |
//! | 500 | 11.6 | 2.2 | 13.9 | 0.83 |
//!
//! So little gathers while packets are spread over their 20 ms and a worker takes each as it comes. Under a load of six more
//! does: 7.6 to 31.6 packets a message at 500 calls, and 0.73 in a build for development. Nothing was measured across a network
//! card.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Weak, atomic::Ordering},
};

use model::media::SpanId;

use crate::{
    legs::Key,
    ports::Pair,
    sys::{self, Outlet},
    tally::Tally,
};

mod header;

pub use header::HEADER_LENGTH;
use header::{header, read};

/// Where a server's workers have their ports for spans.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The network, by its place in the configuration.
    pub network: usize,
    /// What the other servers are told.
    pub address: IpAddr,
    /// Whether the kernel may segment and coalesce.
    pub segments: bool,
}

/// The ends of spans at one worker.
#[derive(Debug, Default)]
pub struct Ends {
    pair: Option<Arc<Pair>>,
    legs: HashMap<SpanId, Key>,
}

impl Ends {
    /// The port, once there is one.
    pub const fn pair(&self) -> Option<&Arc<Pair>> {
        self.pair.as_ref()
    }

    /// Has that port from now on, on the worker's own thread.
    pub fn open(&mut self, pair: &Arc<Pair>, segments: bool, tally: &Arc<Tally>) {
        let segments = segments && sys::coalesce(pair.rtp.as_fd());
        let outbox =
            Outbox { outlet: Outlet::new(segments), pair: Arc::downgrade(pair), tally: Arc::clone(tally) };
        OUTBOX.set(Some(outbox));
        self.pair = Some(Arc::clone(pair));
    }

    /// What all spans are read from.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.pair.as_ref().map(|pair| pair.rtp.as_fd())
    }

    /// Whether a span ends here.
    pub fn holds(&self, span: SpanId) -> bool {
        self.legs.contains_key(&span)
    }

    /// A span ends at that leg.
    pub fn enter(&mut self, span: SpanId, key: Key) {
        self.legs.insert(span, key);
    }

    /// It does no more.
    pub fn leave(&mut self, span: Option<SpanId>) {
        if let Some(span) = span {
            self.legs.remove(&span);
        }
    }

    /// Whose a datagram is.
    pub fn whose(&self, datagram: &[u8]) -> Option<Key> {
        self.legs.get(&read(datagram)?).copied()
    }
}

/// What a worker's turn has for other servers. On its own thread, because a leg sends from deep within.
struct Outbox {
    outlet: Outlet,
    /// The engine's, which is gone before what is the thread's own.
    pair: Weak<Pair>,
    tally: Arc<Tally>,
}

thread_local! {
    static OUTBOX: RefCell<Option<Outbox>> = const { RefCell::new(None) };
}

fn at_outbox<T>(work: impl FnOnce(&mut Outbox) -> T) -> Option<T> {
    OUTBOX.with(|outbox| outbox.try_borrow_mut().ok()?.as_mut().map(work))
}

/// Sends a packet of that span with the worker's turn.
///
/// # Errors
/// This thread has no port for spans.
pub fn send(span: SpanId, packet: &[u8], to: SocketAddr) -> io::Result<()> {
    let put = |outbox: &mut Outbox| {
        if outbox.outlet.is_full(HEADER_LENGTH + packet.len()) {
            outbox.flush();
        }
        outbox.outlet.push([&header(span), packet], to);
    };
    at_outbox(put).ok_or_else(|| io::ErrorKind::NotConnected.into())
}

/// Sends what a turn has come to.
pub fn flush() {
    at_outbox(Outbox::flush);
}

impl Outbox {
    fn flush(&mut self) {
        let packets = self.outlet.waiting();
        if packets == 0 {
            return;
        }
        let Some(pair) = self.pair.upgrade() else { return };
        // Counted before any can have come.
        self.tally.span_sent.fetch_add(packets as u64, Ordering::Relaxed);
        let messages = self.outlet.flush(pair.rtp.as_fd());
        self.tally.span_messages.fetch_add(messages as u64, Ordering::Relaxed);
    }
}
