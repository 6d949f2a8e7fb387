//! Transactions (RFC 3261 §17, RFC 6026).

use std::time::Duration;

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

impl Default for Timers {
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
        }
    }
}

/// A timer by its letter.
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
