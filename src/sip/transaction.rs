//! Transactions (RFC 3261 §17) with the `Accepted` states of RFC 6026, timers A to M.
//!
//! Four machines, one contract:
//!
//! 1. `handle` one input with the time it happened;
//! 2. `poll` until `None`;
//! 3. sleep until `poll_timeout`, then `handle` [`Input::Timeout`].
//!
//! Each keeps its timers in a table of fixed size. What is sent leaves as the bytes that were given, so a copy is
//! equal in every byte and shares their memory. Over a reliable transport nothing is sent twice by timers A, E and G,
//! and timers D, I, J and K are zero.

use std::time::{Duration, Instant};

use bytes::Bytes;
use smallvec::SmallVec;

mod invite_client;
mod invite_server;
mod other_client;
mod other_server;

pub use invite_client::InviteClient;
pub use invite_server::InviteServer;
pub use other_client::OtherClient;
pub use other_server::OtherServer;

/// Base values of the timers (RFC 3261 §17.1.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// Estimate of the round trip.
    pub t1: Duration,
    /// Longest pause between two copies of a message.
    pub t2: Duration,
    /// How long a message may live in the network.
    pub t4: Duration,
}

impl Timers {
    /// 64·T1, after which a transaction is given up.
    #[must_use]
    pub fn give_up(&self) -> Duration {
        self.t1 * 64
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) }
    }
}

/// A timer by its letter. C is a proxy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// INVITE is sent again.
    A,
    /// INVITE is given up.
    B,
    /// Copies of a final response to INVITE are absorbed.
    D,
    /// Request is sent again.
    E,
    /// Request is given up.
    F,
    /// Final response to INVITE is sent again.
    G,
    /// ACK is given up.
    H,
    /// Copies of ACK are absorbed.
    I,
    /// Copies of the request are absorbed.
    J,
    /// Copies of the response are absorbed.
    K,
    /// Copies of an accepted INVITE are absorbed (RFC 6026).
    L,
    /// Further 2xx are absorbed (RFC 6026).
    M,
}

/// The states of all four machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// INVITE client: sent, nothing came.
    Calling,
    /// Others than INVITE: the request is sent or came, no response yet.
    Trying,
    /// A provisional response came or was sent; of an INVITE server the first state.
    Proceeding,
    /// A 2xx to INVITE came or was sent. The dialog owns its ACK and its copies.
    Accepted,
    /// The final response came or was sent.
    Completed,
    /// INVITE server: the ACK came.
    Confirmed,
    /// Over.
    Terminated,
}

/// What happened to a transaction. Each machine takes those that can happen to it and ignores the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Server: the peer sent the same request again.
    Retransmit,
    /// INVITE server: the ACK of what was not a 2xx.
    Ack,
    /// Server: the layer above answers with this code and these bytes.
    Respond(u16, Bytes),
    /// Client: a response with this code came. For 300 to 699 to an INVITE the ACK that acknowledges it.
    Response(u16, Bytes),
    /// INVITE client: the CANCEL led to no final response (RFC 3261 §9.1).
    Abandon,
    /// The transport could not deliver.
    TransportFailed,
    /// The deadline of `poll_timeout` has come. Early is harmless.
    Timeout,
}

/// What a transaction wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this.
    Transmit(Bytes),
    /// Client: pass the response on to the layer above.
    Pass,
    /// Client: timer B or F.
    TimedOut,
    /// INVITE server: timer H.
    NoAck,
    /// The transport failed before the end.
    Failed,
}

/// No state arms more than two timers, so two slots are the whole table. Arming a timer again moves it.
#[derive(Debug, Clone, Copy, Default)]
struct TimerTable([Option<(Timer, Instant)>; 2]);

impl TimerTable {
    fn set(&mut self, timer: Timer, at: Instant) {
        let place = self.0.iter().position(|slot| slot.is_some_and(|(armed, _)| armed == timer));
        let place = place.or_else(|| self.0.iter().position(Option::is_none));
        debug_assert!(place.is_some(), "a third timer is armed");
        if let Some(slot) = place.and_then(|place| self.0.get_mut(place)) {
            *slot = Some((timer, at));
        }
    }

    fn stop(&mut self, timer: Timer) {
        for slot in &mut self.0 {
            *slot = slot.filter(|(armed, _)| *armed != timer);
        }
    }

    fn stop_all(&mut self) {
        *self = Self::default();
    }

    fn next(&self) -> Option<(Instant, Timer)> {
        self.0.iter().flatten().map(|(timer, at)| (*at, *timer)).min()
    }

    fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let (_, timer) = self.next().filter(|(at, _)| *at <= now)?;
        self.stop(timer);
        Some(timer)
    }
}

/// What the four machines share.
#[derive(Debug)]
struct Base {
    state: State,
    reliable: bool,
    times: Timers,
    timers: TimerTable,
    out: SmallVec<[Output; 2]>,
}

impl Base {
    fn new(state: State, reliable: bool, times: Timers) -> Self {
        Self { state, reliable, times, timers: TimerTable::default(), out: SmallVec::new() }
    }

    fn poll(&mut self) -> Option<Output> {
        (!self.out.is_empty()).then(|| self.out.remove(0))
    }

    fn emit(&mut self, output: Output) {
        self.out.push(output);
    }

    fn end(&mut self) {
        self.state = State::Terminated;
        self.timers.stop_all();
    }

    fn end_with(&mut self, output: Output) {
        self.emit(output);
        self.end();
    }

    /// Enters a state that only absorbs copies: for `linger`, or not at all over a reliable transport.
    fn linger(&mut self, now: Instant, state: State, timer: Timer, linger: Duration) {
        self.timers.stop_all();
        self.state = state;
        if self.reliable {
            self.end();
        } else {
            self.timers.set(timer, now + linger);
        }
    }
}

macro_rules! common {
    ($machine:ident) => {
        impl $machine {
            /// Its state.
            #[must_use]
            pub const fn state(&self) -> State {
                self.base.state
            }

            /// What it wants. To be drained after each `handle`.
            pub fn poll(&mut self) -> Option<Output> {
                self.base.poll()
            }

            /// When it wants to be woken, and by which timer. May change after every `handle`.
            #[must_use]
            pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
                self.base.timers.next()
            }
        }
    };
}
use common;

#[cfg(test)]
pub(crate) mod tests;
