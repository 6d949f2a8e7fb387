//! INVITE server transaction: RFC 3261 §17.2.1, figure 7, with RFC 6026 §7.1.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Base, Input, Output, State, Timer, Timers, common};

/// One INVITE of the peer's. 100 Trying is for the layer above to send, at once.
#[derive(Debug)]
pub struct InviteServer {
    base: Base,
    last: Option<Bytes>,
    resend_after: Duration,
}

common!(InviteServer);

impl InviteServer {
    /// An INVITE came.
    #[must_use]
    pub fn new(reliable: bool, times: Timers) -> Self {
        Self { base: Base::new(State::Proceeding, reliable, times), last: None, resend_after: times.t1 }
    }

    /// The RFC's figure, one line per edge.
    pub fn handle(&mut self, now: Instant, input: Input) {
        use {Input::*, State::*};
        match (self.base.state, input) {
            (Proceeding, Respond(..200, bytes)) => self.send(bytes),
            (Proceeding, Respond(200..300, bytes)) => self.accept(now, bytes),
            (Proceeding, Respond(_, bytes)) => self.complete(now, bytes),
            (Proceeding | Completed, Retransmit) => self.resend(),
            // The dialog repeats its 2xx and hands the bytes down each time (RFC 6026 §7.1).
            (Accepted, Respond(200..300, bytes)) => self.base.emit(Output::Transmit(bytes)),
            (Completed, Ack) => self.base.linger(now, Confirmed, Timer::I, self.base.times.t4),
            (Proceeding | Completed, TransportFailed) => self.base.end_with(Output::Failed),
            (_, Timeout) => self.wake(now),
            // Late or duplicate: absorbing them is what the lingering states are for.
            (_, Retransmit | Ack | Respond(..) | TransportFailed) => {}
            (_, Response(..) | Abandon) => debug_assert!(false, "an input of a client"),
        }
    }

    fn accept(&mut self, now: Instant, bytes: Bytes) {
        self.base.emit(Output::Transmit(bytes));
        self.last = None;
        self.base.state = State::Accepted;
        self.base.timers.set(Timer::L, now + self.base.times.give_up());
    }

    fn complete(&mut self, now: Instant, bytes: Bytes) {
        self.send(bytes);
        self.base.state = State::Completed;
        self.base.timers.set(Timer::H, now + self.base.times.give_up());
        if !self.base.reliable {
            self.base.timers.set(Timer::G, now + self.base.times.t1);
        }
    }

    fn wake(&mut self, now: Instant) {
        while let Some(timer) = self.base.timers.take_due(now) {
            match timer {
                Timer::G => self.resend_later(now),
                Timer::H => self.base.end_with(Output::NoAck),
                Timer::A
                | Timer::B
                | Timer::D
                | Timer::E
                | Timer::F
                | Timer::I
                | Timer::J
                | Timer::K
                | Timer::L
                | Timer::M => self.base.end(),
            }
        }
    }

    fn resend_later(&mut self, now: Instant) {
        self.resend();
        self.resend_after = (2 * self.resend_after).min(self.base.times.t2);
        self.base.timers.set(Timer::G, now + self.resend_after);
    }

    fn send(&mut self, bytes: Bytes) {
        self.last = Some(bytes);
        self.resend();
    }

    fn resend(&mut self) {
        if let Some(bytes) = &self.last {
            self.base.emit(Output::Transmit(bytes.clone()));
        }
    }
}
