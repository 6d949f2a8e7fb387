//! Responses to our requests, and their absence (RFC 3261 §8.1.3, §12.2.1.2, §13.2.2, §14.1).

use std::time::{Duration, Instant};

use bytes::Bytes;
use model::{LegId, net::Flow};

use super::{
    Ended, Endpoint, Event, Failure, Outcome,
    again::Again,
    leg::{Cancel, Phase, Reinvite},
    table::{Purpose, TxId},
};
use crate::{
    body,
    dialog::Dialog,
    transaction::{self, Input},
    typed,
    wire::{Message, Name},
};

/// How often a re-INVITE that meets another is sent.
const ATTEMPTS_MAX: u8 = 5;
/// Most forks of an INVITE whose 2xx are acknowledged; more than that is an attack.
const FORKS_MAX: usize = 16;

impl Endpoint {
    pub(super) fn on_response(&mut self, now: Instant, flow: Flow, response: &Message) {
        let Some(id) = self.table.find_client(response) else {
            return self.drop_bad(flow, "a response to nothing that we sent");
        };
        let Some(purpose) = self.table.get(id).map(|entry| entry.purpose) else { return };
        // A final response to INVITE that is no 2xx is acknowledged by the transaction.
        let is_invite = matches!(purpose, Purpose::Invite | Purpose::Reinvite);
        let ack = if is_invite && response.code() >= 300 {
            self.write_ack_of_failure(id, response)
        } else {
            Bytes::new()
        };
        let invite =
            if is_invite && (200..300).contains(&response.code()) { self.sent_invite(id) } else { None };
        let repeatable = matches!(response.code(), 401 | 407 | 422);
        let again = self.table.get(id).filter(|_| repeatable).and_then(Again::of);
        let outcome = self.drive(now, id, Input::Response(response.code(), ack));
        if outcome.passed && !self.is_sent_again(now, again, response) {
            self.on_passed(now, id, purpose, &outcome, invite.as_ref(), response);
        }
    }

    fn is_sent_again(&mut self, now: Instant, again: Option<Again>, response: &Message) -> bool {
        match response.code() {
            422 => self.is_422_taken(now, again, response),
            _ => self.is_challenge_taken(now, again, response),
        }
    }

    /// What a response that a transaction passed on means.
    pub(super) fn on_passed(
        &mut self,
        now: Instant,
        tx: TxId,
        purpose: Purpose,
        outcome: &Outcome,
        invite: Option<&Message>,
        response: &Message,
    ) {
        match (purpose, response.code()) {
            (Purpose::Invite, ..200) => self.on_progress(now, outcome, response),
            (Purpose::Invite, 200..300) => self.on_success(now, tx, outcome, invite, response),
            (Purpose::Invite, _) => self.on_failure(outcome, response),
            (Purpose::Reinvite, 200..) => self.on_reinvite_final(now, tx, outcome, invite, response),
            (Purpose::Update, 200..) => self.on_update_final(now, outcome, response),
            (Purpose::Refer, 200..) => self.on_refer_final(now, outcome, response),
            (Purpose::Notify, code @ 200..) => self.on_notify_final(now, outcome, code),
            (Purpose::Talk, code @ 300..) => self.on_answer_refused(outcome.leg, code),
            (Purpose::Bye, 200..) => self.on_bye_final(outcome),
            (Purpose::Info | Purpose::Probe, code @ (408 | 481)) => self.lose_dialog(now, outcome, code),
            (Purpose::Request(id), 200..) => self.finish_request(id, Some(response), Failure::Response),
            (
                Purpose::Reinvite
                | Purpose::Bye
                | Purpose::Info
                | Purpose::Probe
                | Purpose::Prack
                | Purpose::Update
                | Purpose::Refer
                | Purpose::Notify
                | Purpose::Talk
                | Purpose::Cancel
                | Purpose::Request(_)
                | Purpose::Serve,
                _,
            ) => {}
        }
    }

    /// What a transaction's end without a response means to its leg.
    pub(super) fn on_failed(&mut self, now: Instant, purpose: Purpose, outcome: &Outcome) {
        let Some(failed) = &outcome.failed else { return };
        let timed_out = *failed == transaction::Output::TimedOut;
        let (code, cause) = if timed_out { (408, Failure::TimedOut) } else { (503, Failure::Transport) };
        if let Purpose::Request(id) = purpose {
            return self.finish_request(id, None, cause);
        }
        let Some(id) = outcome.leg else { return };
        match purpose {
            Purpose::Invite => self.fail_calling(id, code, typed::reason_phrase(code).to_owned(), cause),
            Purpose::Reinvite | Purpose::Update | Purpose::Info | Purpose::Probe | Purpose::Refer
                if timed_out =>
            {
                self.lose_dialog(now, outcome, code);
            }
            Purpose::Reinvite | Purpose::Update => self.fail_reinvite(now, id, code),
            Purpose::Refer => self.finish_refer(id, code),
            Purpose::Notify => self.on_notify_final(now, outcome, code),
            Purpose::Talk => self.on_answer_refused(Some(id), code),
            Purpose::Bye => self.on_bye_final(outcome),
            Purpose::Serve => self.fail_ringing(id),
            Purpose::Info | Purpose::Probe | Purpose::Prack | Purpose::Cancel | Purpose::Request(_) => {}
        }
    }

    /// Timers of a leg: whichever is due does its work, the rest find that it is early.
    pub(super) fn wake_leg(&mut self, now: Instant, due: Instant, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id).filter(|leg| leg.scheduled == Some(due)) else {
            return;
        };
        leg.scheduled = None;
        let retry = leg.reinvite.as_ref().and_then(|reinvite| reinvite.retry_at).is_some_and(|at| at <= now);
        let stuck =
            leg.reinvite.as_ref().filter(|reinvite| reinvite.is_overdue(now)).map(|reinvite| reinvite.tx);
        let abandoned = match leg.phase {
            Phase::Calling { tx, cancel: Cancel::Sent { abandon_at }, .. } if abandon_at <= now => Some(tx),
            Phase::Calling { .. } | Phase::Ringing { .. } | Phase::Established | Phase::Ending => None,
        };
        self.wake_unacked(now, id);
        self.wake_reliable(now, id);
        self.wake_session(now, id);
        self.wake_transfer(now, id);
        if retry {
            self.retry_reinvite(now, id);
        }
        if let Some(tx) = stuck {
            let outcome = self.drive(now, tx, Input::Abandon);
            self.on_failed(now, Purpose::Reinvite, &outcome);
        }
        if let Some(tx) = abandoned {
            let outcome = self.drive(now, tx, Input::Abandon);
            self.on_failed(now, Purpose::Invite, &outcome);
        }
        self.schedule_leg(id);
    }

    fn write_ack_of_failure(&mut self, id: TxId, response: &Message) -> Bytes {
        let Some(invite) = self.sent_invite(id) else { return Bytes::new() };
        self.write_like(&invite, "ACK", response.header(Name::To).unwrap_or(b""), &[])
    }

    fn on_progress(&mut self, now: Instant, outcome: &Outcome, response: &Message) {
        let Some(id) = outcome.leg else { return };
        let in_order = self.is_progress_in_order(now, id, response);
        let Some(Phase::Calling { provisional, cancel, .. }) =
            self.legs.get_mut(&id).map(|leg| &mut leg.phase)
        else {
            return;
        };
        *provisional = true;
        match cancel {
            Cancel::Wanted(_) => self.send_cancel(now, id),
            Cancel::No if response.code() > 100 && in_order => {
                let sdp = body::description(response).ok().flatten();
                self.tell(Event::Progress { leg: id, code: response.code(), sdp });
            }
            Cancel::No | Cancel::Sent { .. } => {}
        }
    }

    /// The first 2xx makes the session, unless we cancelled it. A further one of another peer is acknowledged and
    /// ended (§13.2.2.4); a copy of one that we know is acknowledged again.
    fn on_success(
        &mut self,
        now: Instant,
        tx: TxId,
        outcome: &Outcome,
        invite: Option<&Message>,
        response: &Message,
    ) {
        if self.acknowledge_again(tx, response) {
            return;
        }
        let (Some(invite), Some(base)) = (invite, self.table.get(tx).map(|entry| entry.flow)) else { return };
        if self.table.get(tx).is_some_and(|entry| entry.acks.len() >= FORKS_MAX) {
            return;
        }
        let mut dialog = Dialog::of_client(invite, response);
        let leg = outcome.leg.and_then(|id| self.legs.get_mut(&id));
        let early = leg.and_then(|leg| leg.go_on_from_early(&mut dialog));
        self.acknowledge(tx, base, &dialog, invite.cseq());
        let phase = outcome.leg.and_then(|id| Some((id, &mut self.legs.get_mut(&id)?.phase)));
        match phase {
            Some((id, phase @ Phase::Calling { cancel: Cancel::No, .. })) => {
                *phase = Phase::Established;
                if let Some(leg) = self.legs.get_mut(&id) {
                    leg.dialog = Some(dialog);
                }
                self.session_as_client(now, id, response, invite.body());
                let sdp = body::description(response).ok().flatten().or(early);
                self.tell(Event::Answered { leg: id, sdp });
            }
            Some((id, Phase::Calling { .. })) => {
                self.send_stray_bye(now, base, &mut dialog);
                self.fail_calling(id, 487, typed::reason_phrase(487).to_owned(), Failure::Cancelled);
            }
            _ => self.send_stray_bye(now, base, &mut dialog),
        }
    }

    fn on_failure(&mut self, outcome: &Outcome, response: &Message) {
        let Some(id) = outcome.leg else { return };
        if self.legs.contains_key(&id) {
            self.tell(Event::Refused { leg: id, response: response.clone() });
        }
        let reason = String::from_utf8_lossy(response.reason()).into_owned();
        self.fail_calling(id, response.code(), reason, Failure::Response);
    }

    /// Ends a leg that we call. After a cancel that is the cause, whatever came.
    fn fail_calling(&mut self, id: LegId, code: u16, reason: String, cause: Failure) {
        let Some(Phase::Calling { cancel, .. }) = self.legs.get(&id).map(|leg| &leg.phase) else { return };
        let how = match (cancel, cause) {
            (Cancel::No, _) => Ended::Failed { code, reason, cause },
            (_, Failure::Response) => Ended::Failed { code, reason, cause: Failure::Cancelled },
            (_, Failure::TimedOut | Failure::Transport | Failure::Cancelled) => Ended::Failed {
                code: 487,
                reason: typed::reason_phrase(487).to_owned(),
                cause: Failure::Cancelled,
            },
        };
        self.end_leg(id, how);
    }

    /// The peer can no longer be answered.
    fn fail_ringing(&mut self, id: LegId) {
        if matches!(self.legs.get(&id).map(|leg| &leg.phase), Some(Phase::Ringing { .. })) {
            let reason = typed::reason_phrase(503).to_owned();
            self.end_leg(id, Ended::Failed { code: 503, reason, cause: Failure::Transport });
        }
    }

    fn on_reinvite_final(
        &mut self,
        now: Instant,
        tx: TxId,
        outcome: &Outcome,
        invite: Option<&Message>,
        response: &Message,
    ) {
        let Some(id) = outcome.leg else { return };
        match response.code() {
            ..300 => self.on_reinvite_success(now, id, tx, invite, response),
            491 => self.await_retry(now, id),
            code @ (408 | 481) => self.lose_dialog(now, outcome, code),
            code => self.fail_reinvite(now, id, code),
        }
    }

    fn on_update_final(&mut self, now: Instant, outcome: &Outcome, response: &Message) {
        let Some(id) = outcome.leg else { return };
        match response.code() {
            ..300 => {
                let Some(leg) = self.legs.get_mut(&id) else { return };
                let Some(update) = leg.reinvite.take_if(|reinvite| reinvite.is_update) else { return };
                if let Some(dialog) = &mut leg.dialog {
                    dialog.refresh_target(response);
                }
                self.session_as_client(now, id, response, &update.sdp);
                if !update.is_refresh {
                    let sdp = body::description(response).ok().flatten();
                    self.tell(Event::ReinviteAnswered { leg: id, sdp });
                }
                self.reinvite_next(now, id, update.next);
            }
            491 => self.await_retry(now, id),
            code @ (408 | 481) => self.lose_dialog(now, outcome, code),
            code => self.fail_reinvite(now, id, code),
        }
    }

    fn on_reinvite_success(
        &mut self,
        now: Instant,
        id: LegId,
        tx: TxId,
        invite: Option<&Message>,
        response: &Message,
    ) {
        if self.acknowledge_again(tx, response) {
            return;
        }
        let (Some(invite), Some(leg)) = (invite, self.legs.get_mut(&id)) else { return };
        let (base, known) = (leg.flow, leg.reinvite.take());
        let Some(dialog) = &mut leg.dialog else { return };
        dialog.refresh_target(response);
        let dialog = dialog.clone();
        self.acknowledge(tx, base, &dialog, invite.cseq());
        if let Some(reinvite) = known {
            self.session_as_client(now, id, response, &reinvite.sdp);
            let sdp = body::description(response).ok().flatten();
            self.tell(Event::ReinviteAnswered { leg: id, sdp });
            self.reinvite_next(now, id, reinvite.next);
        }
    }

    /// What waited for the end of a refresh goes out.
    fn reinvite_next(&mut self, now: Instant, id: LegId, next: Option<Box<Reinvite>>) {
        let Some(leg) = self.legs.get_mut(&id).filter(|leg| matches!(leg.phase, Phase::Established)) else {
            return;
        };
        if let Some(next) = next {
            leg.reinvite = Some(next);
            self.retry_reinvite(now, id);
        }
    }

    /// RFC 3261 §14.1: the owner of the Call-ID waits longer, so that the two do not meet again.
    fn await_retry(&mut self, now: Instant, id: LegId) {
        let steps = self.random.below(200);
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let least = if leg.is_caller { 2_100 } else { 0 };
        let wait = Duration::from_millis(least + if leg.is_caller { steps % 191 } else { steps } * 10);
        match &mut leg.reinvite {
            Some(reinvite) if reinvite.attempts < ATTEMPTS_MAX => reinvite.retry_at = Some(now + wait),
            Some(_) => self.fail_reinvite(now, id, 491),
            None => {}
        }
        self.schedule_leg(id);
    }

    fn retry_reinvite(&mut self, now: Instant, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if leg.asked.is_none() && leg.unacked.is_none() {
            return self.send_reinvite(now, id);
        }
        // The peer's own is under way: that counts as having met again.
        if let Some(reinvite) = &mut leg.reinvite {
            reinvite.attempts += 1;
        }
        self.await_retry(now, id);
    }

    fn fail_reinvite(&mut self, now: Instant, id: LegId, code: u16) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        match leg.reinvite.take() {
            Some(reinvite) if reinvite.is_refresh => {
                self.refresh_later(now, id, code);
                self.reinvite_next(now, id, reinvite.next);
            }
            Some(_) => self.tell(Event::ReinviteFailed { leg: id, code }),
            None => {}
        }
    }

    fn on_bye_final(&mut self, outcome: &Outcome) {
        if let Some(id) = outcome.leg {
            self.end_leg(id, Ended::Bye { by_us: true, reason: None });
        }
    }

    /// RFC 3261 §12.2.1.2: 481 says that the peer's side is gone; after 408 a BYE makes sure of it.
    pub(super) fn lose_dialog(&mut self, now: Instant, outcome: &Outcome, code: u16) {
        let Some(id) = outcome.leg else { return };
        if !matches!(self.legs.get(&id).map(|leg| &leg.phase), Some(Phase::Established)) {
            return;
        }
        if code == 408 {
            self.tell_end(id, Ended::DialogLost { code });
            self.send_bye(now, id, &[]);
        } else {
            self.answer_pending(now, id);
            self.end_leg(id, Ended::DialogLost { code });
        }
    }

    /// Sends the ACK of a 2xx and keeps it for the copies of that 2xx.
    fn acknowledge(&mut self, tx: TxId, base: Flow, dialog: &Dialog, cseq: u32) {
        let flow = dialog.flow(base);
        // An ACK is a transaction of its own, with a branch of its own (§13.2.2.4).
        let number = self.table.number();
        let branch = self.new_branch(number);
        let via = self.via(flow, &branch);
        let bytes = dialog.write_request(&mut self.writer, "ACK", cseq, &via).finish_empty();
        self.transmit(flow, bytes.clone());
        if let Some(entry) = self.table.get_mut(tx) {
            entry.acks.push((dialog.remote_tag().into(), flow, bytes));
        }
    }

    fn acknowledge_again(&mut self, tx: TxId, response: &Message) -> bool {
        let tag = response.to_tag().unwrap_or("");
        let Some(entry) = self.table.get(tx) else { return false };
        let Some((_, flow, bytes)) = entry.acks.iter().find(|(known, ..)| &**known == tag) else {
            return false;
        };
        let (flow, bytes) = (*flow, bytes.clone());
        self.transmit(flow, bytes);
        true
    }
}
