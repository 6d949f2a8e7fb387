//! INVITE client transaction: RFC 3261 §17.1.1, figure 5, with RFC 6026 §7.2.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Base, Input, Output, State, Timer, Timers, common};

/// Timer D lasts at least this long over UDP (RFC 3261 §17.1.1.2).
const TIMER_D: Duration = Duration::from_secs(32);

/// One INVITE of ours. A 2xx is acknowledged by the dialog, anything else from 300 up by this machine.
#[derive(Debug)]
pub struct InviteClient {
    base: Base,
    request: Bytes,
    ack: Bytes,
    resend_after: Duration,
}

common!(InviteClient);

impl InviteClient {
    /// Sends `request`.
    #[must_use]
    pub fn new(now: Instant, reliable: bool, times: Timers, request: Bytes) -> Self {
        let mut base = Base::new(State::Calling, reliable, times);
        base.emit(Output::Transmit(request.clone()));
        base.timers.set(Timer::B, now + times.give_up());
        if !reliable {
            base.timers.set(Timer::A, now + times.t1);
        }
        Self { base, request, ack: Bytes::new(), resend_after: times.t1 }
    }

    /// The INVITE, from which ACK and CANCEL are made (RFC 3261 §9.1, §17.1.1.3).
    #[must_use]
    pub const fn request(&self) -> &Bytes {
        &self.request
    }

    /// The RFC's figure, one line per edge.
    pub fn handle(&mut self, now: Instant, input: Input) {
        use {Input::*, State::*};
        match (self.base.state, input) {
            (Calling | Proceeding, Response(..200, _)) => self.proceed(),
            (Calling | Proceeding, Response(200..300, _)) => self.accept(now),
            (Calling | Proceeding, Response(_, ack)) => self.complete(now, ack),
            (Accepted, Response(200..300, _)) => self.base.emit(Output::Pass),
            (Completed, Response(300.., _)) => self.acknowledge(),
            (Calling | Proceeding, Abandon) => self.base.end_with(Output::TimedOut),
            (Calling | Proceeding | Completed, TransportFailed) => self.base.end_with(Output::Failed),
            (_, Timeout) => self.wake(now),
            // A 2xx is the dialog's to acknowledge; its ACK failing ends nothing here (RFC 6026 §7.2).
            (_, Response(..) | Abandon | TransportFailed) => {}
            (_, Retransmit | Ack | Respond(..)) => debug_assert!(false, "an input of a server"),
        }
    }

    fn proceed(&mut self) {
        self.base.timers.stop_all();
        self.base.state = State::Proceeding;
        self.base.emit(Output::Pass);
    }

    fn accept(&mut self, now: Instant) {
        self.base.timers.stop_all();
        self.base.state = State::Accepted;
        self.base.timers.set(Timer::M, now + self.base.times.give_up());
        self.base.emit(Output::Pass);
    }

    fn complete(&mut self, now: Instant, ack: Bytes) {
        self.ack = ack;
        self.acknowledge();
        self.base.emit(Output::Pass);
        let linger = TIMER_D.max(self.base.times.give_up());
        self.base.linger(now, State::Completed, Timer::D, linger);
    }

    fn acknowledge(&mut self) {
        self.base.emit(Output::Transmit(self.ack.clone()));
    }

    fn wake(&mut self, now: Instant) {
        while let Some(timer) = self.base.timers.take_due(now) {
            match timer {
                Timer::A => self.resend(now),
                Timer::B => self.base.end_with(Output::TimedOut),
                Timer::D
                | Timer::E
                | Timer::F
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
        self.resend_after *= 2;
        self.base.timers.set(Timer::A, now + self.resend_after);
    }
}
