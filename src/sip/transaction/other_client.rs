//! Client transaction of any request but INVITE and ACK: RFC 3261 §17.1.2, figure 6.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Base, Input, Output, State, Timer, Timers, common};

/// One request of ours.
#[derive(Debug)]
pub struct OtherClient {
    base: Base,
    request: Bytes,
    resend_after: Duration,
}

common!(OtherClient);

impl OtherClient {
    /// Sends `request`.
    #[must_use]
    pub fn new(now: Instant, reliable: bool, times: Timers, request: Bytes) -> Self {
        let mut base = Base::new(State::Trying, reliable, times);
        base.emit(Output::Transmit(request.clone()));
        base.timers.set(Timer::F, now + times.give_up());
        if !reliable {
            base.timers.set(Timer::E, now + times.t1);
        }
        Self { base, request, resend_after: times.t1 }
    }

    /// The request.
    #[must_use]
    pub const fn request(&self) -> &Bytes {
        &self.request
    }

    /// The RFC's figure, one line per edge.
    pub fn handle(&mut self, now: Instant, input: Input) {
        use {Input::*, State::*};
        match (self.base.state, input) {
            (Trying | Proceeding, Response(..200, _)) => self.proceed(),
            (Trying | Proceeding, Response(..)) => self.complete(now),
            (Trying | Proceeding, TransportFailed) => self.base.end_with(Output::Failed),
            (_, Timeout) => self.wake(now),
            (_, Response(..) | TransportFailed) => {}
            (_, Retransmit | Ack | Respond(..) | Abandon) => {
                debug_assert!(false, "not an input of this machine")
            }
        }
    }

    fn proceed(&mut self) {
        self.base.state = State::Proceeding;
        self.base.emit(Output::Pass);
    }

    fn complete(&mut self, now: Instant) {
        self.base.emit(Output::Pass);
        self.base.linger(now, State::Completed, Timer::K, self.base.times.t4);
    }

    fn wake(&mut self, now: Instant) {
        while let Some(timer) = self.base.timers.take_due(now) {
            match timer {
                Timer::E => self.resend(now),
                Timer::F => self.base.end_with(Output::TimedOut),
                Timer::A
                | Timer::B
                | Timer::D
                | Timer::G
                | Timer::H
                | Timer::I
                | Timer::J
                | Timer::K
                | Timer::L
                | Timer::M => self.base.end(),
            }
        }
    }

    fn resend(&mut self, now: Instant) {
        self.base.emit(Output::Transmit(self.request.clone()));
        let t2 = self.base.times.t2;
        self.resend_after =
            if self.base.state == State::Proceeding { t2 } else { (2 * self.resend_after).min(t2) };
        self.base.timers.set(Timer::E, now + self.resend_after);
    }
}
