//! Server transaction of any request but INVITE and ACK: RFC 3261 §17.2.2, figure 8.

use std::time::Instant;

use bytes::Bytes;

use super::{Base, Input, Output, State, Timer, Timers, common};

/// One request of the peer's.
#[derive(Debug)]
pub struct OtherServer {
    base: Base,
    last: Option<Bytes>,
}

common!(OtherServer);

impl OtherServer {
    /// A request came.
    #[must_use]
    pub fn new(reliable: bool, times: Timers) -> Self {
        Self { base: Base::new(State::Trying, reliable, times), last: None }
    }

    /// The RFC's figure, one line per edge.
    pub fn handle(&mut self, now: Instant, input: Input) {
        use {Input::*, State::*};
        match (self.base.state, input) {
            (Trying | Proceeding, Respond(..200, bytes)) => self.proceed(bytes),
            (Trying | Proceeding, Respond(_, bytes)) => self.complete(now, bytes),
            (Proceeding | Completed, Retransmit) => self.resend(),
            (Trying | Proceeding | Completed, TransportFailed) => self.base.end_with(Output::Failed),
            (_, Timeout) => self.wake(now),
            (_, Retransmit | Respond(..) | TransportFailed) => {}
            (_, Response(..) | Abandon | Ack) => debug_assert!(false, "not an input of this machine"),
        }
    }

    fn proceed(&mut self, bytes: Bytes) {
        self.base.state = State::Proceeding;
        self.last = Some(bytes);
        self.resend();
    }

    fn complete(&mut self, now: Instant, bytes: Bytes) {
        self.last = Some(bytes);
        self.resend();
        self.base.linger(now, State::Completed, Timer::J, self.base.times.give_up());
    }

    fn resend(&mut self) {
        if let Some(bytes) = &self.last {
            self.base.emit(Output::Transmit(bytes.clone()));
        }
    }

    fn wake(&mut self, now: Instant) {
        while self.base.timers.take_due(now).is_some() {
            self.base.end();
        }
    }
}
