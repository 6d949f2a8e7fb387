//! One call: its A leg, the legs it dials, and the media session that joins them (a B2BUA).
//!
//! Pure. What happens on the legs and at the media server comes in by methods; [`Effect`]s go out, to be carried out in
//! order. When the A leg is answered: the first thing that must be heard answers it, unless it is early media; a
//! `dial` answers it when the callee does.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use acd::mutant;
use bytes::Bytes;
use jiff::Timestamp;
use model::{
    AgentId, CallId, LegId, PlayId, QueueId, SessionId,
    media::{Event as MediaEvent, Order},
};
use sip::endpoint::{Ended, Event as SipEvent};
use stir::Verstat;

use crate::{
    admission::{Admitted, Origin},
    cursor::{Action, Cursor, Environment, Facts, Speech},
    dial::{Branch, Dialling, Party, Sent},
    record::{Egress, EndedBy, Measured, Supervised, Visit, cause_of},
    registrar::StationId,
    sdp_leg::{At, MediaLeg, Ports},
};

mod accepting;
mod account;
mod asking;
mod bodies;
mod callees;
mod confirming;
mod consulting;
mod desk;
mod digits;
mod effect;
mod handover;
mod hold;
mod joining;
mod listening;
mod message;
mod outgoing;
mod playing;
mod promise;
mod queueing;
mod recording;
mod refusing;
mod silence;
mod siprec;
mod standing;
mod supervising;
mod texting;
mod tones;
mod unprotected;

use accepting::Accepting;
use asking::Asking;
use bodies::{configure, quoted, refusal_headers, reinvited, reinvited_as};
use desk::Desk;
use handover::Handover;
use joining::Joiner;
use listening::Ear;
use message::Message;
use promise::Promise;
use queueing::Queueing;
use recording::{Recorder, STORE_WAIT};
use silence::Silenced;
use siprec::Siprec;
use standing::Standing;
use supervising::Supervision;

pub use confirming::Confirming;
pub use consulting::{Consult, ConsultStage};
pub use desk::{DeskNews, Talk};
pub use effect::{Context, Effect, FloorOrder, Incoming, Told, Trunks};
pub use handover::{Connected, NOBODY};
pub use promise::{Card, PRESENT_MAX, PROMISE_MAX, Promised};
pub use standing::{StandingEnd, StandingNews};
pub use supervising::{Listens, NOTHING_TO_HEAR};

/// How long the end of a call waits for its media server.
const RELEASE_WAIT: Duration = Duration::from_secs(2);

/// One call.
#[derive(Debug)]
pub struct Call {
    id: CallId,
    incoming: Incoming,
    cursor: Cursor,
    /// Path through flows that a phone has taken the contact out of.
    earlier: Vec<(String, Timestamp)>,
    a: LegA,
    dialling: Option<Dialling>,
    handover: Option<Box<Handover>>,
    /// The leg that hears music in place of whoever holds it.
    on_hold: Option<LegId>,
    desk: Desk,
    joiner: Option<Box<Joiner>>,
    supervision: Option<Box<Supervision>>,
    standing: Option<Box<Standing>>,
    playing: Option<(PlayId, AfterPlay)>,
    /// What is spoken once the prompts before it are over.
    to_say: Option<Box<Speech>>,
    waiting: Option<Waiting>,
    asking: Option<Box<Asking>>,
    recorder: Recorder,
    siprec: Siprec,
    message: Option<Message>,
    queueing: Option<Box<Queueing>>,
    accepting: Option<Box<Accepting>>,
    /// Agents who talk in it, as the floor was told.
    held: Vec<AgentId>,
    /// Waits that are over.
    visits: Vec<Visit>,
    /// Who has listened.
    supervisions: Vec<Supervised>,
    /// A key that has ended a message and is still to come.
    swallows: Option<char>,
    ear: Option<Ear>,
    silenced: Option<Box<Silenced>>,
    started_at: Timestamp,
    answered_at: Option<Timestamp>,
    ends_by: Instant,
    ending: Option<Ending>,
    /// Whether an agent makes it at the desk.
    is_outgoing: bool,
    /// Whether who was called has become the A leg.
    has_turned: bool,
    /// Whom it calls back.
    promise: Option<Box<Promise>>,
    /// The queue that was left last, and since when the wait in it counted.
    left: Option<(QueueId, Instant, Timestamp)>,
    used_ids: u64,
    unreleased: u32,
    measured: Vec<Measured>,
    /// Legs that were dialled, each with its SIP leg.
    egress: Vec<(LegId, Egress)>,
}

#[derive(Debug)]
struct LegA {
    media: MediaLeg,
    /// The phone that it is.
    station: Option<StationId>,
    state: StateA,
    answer: Option<Bytes>,
    /// Our 2xx to a re-INVITE carried an offer: the ACK brings the answer.
    reoffered: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StateA {
    /// It is a leg of ours that is still rung.
    Outgoing,
    Invited,
    /// 183 with a description was sent.
    Early,
    /// 200 with our offer was sent; the ACK brings the answer.
    AwaitsAnswer,
    Answered,
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AfterPlay {
    GoOn,
    /// Something is to be said after it.
    Say,
    HangUp,
    /// The ringing tone, which others end.
    Ring,
    /// The music of a `wait`, which the wait ends.
    Wait,
    /// What is heard in a queue.
    Queue,
    /// Greeting, tone and questions about a message.
    Message,
    /// The tone of a call that cannot be made.
    Refuse,
}

/// What goes on once the A leg can hear.
#[derive(Debug)]
enum Waiting {
    For(Action),
    Join,
    JoinEarly,
    Apology,
}

#[derive(Debug)]
struct Ending {
    by: EndedBy,
    code: u16,
    /// Q.850.
    cause: u8,
    because: Option<String>,
    at_most_until: Instant,
}

impl Call {
    /// A call at the entry of its flow; [`begin`](Self::begin) starts it.
    #[must_use]
    pub fn new(id: CallId, incoming: Incoming, environment: Environment<'_>) -> Self {
        let facts = Facts {
            contact_number: incoming.from.clone(),
            contact_verstat: incoming.vetted.verstat.map_or("", Verstat::as_str),
            call_number: incoming.admitted.called().map(|called| called.to_string()).unwrap_or_default(),
            call_trunk: incoming.admitted.trunk().map(ToString::to_string).unwrap_or_default(),
        };
        let cursor = Cursor::new(incoming.admitted.flow.clone(), facts);
        let longest = u64::from(environment.world.snapshot.cluster.limits.call_seconds_max);
        let media = MediaLeg::new(LegId(id.0 << 16), incoming.terms.clone(), incoming.keys.clone());
        let station = match &incoming.admitted.origin {
            Origin::Station(station) => Some(station.clone()),
            Origin::Trunk(_) => None,
        };
        Self {
            id,
            cursor,
            earlier: Vec::new(),
            a: LegA { media, station, state: StateA::Invited, answer: None, reoffered: false },
            incoming,
            dialling: None,
            handover: None,
            on_hold: None,
            desk: Desk::default(),
            joiner: None,
            supervision: None,
            standing: None,
            silenced: None,
            playing: None,
            to_say: None,
            waiting: None,
            asking: None,
            recorder: Recorder::default(),
            siprec: Siprec::default(),
            message: None,
            queueing: None,
            accepting: None,
            held: Vec::new(),
            visits: Vec::new(),
            supervisions: Vec::new(),
            swallows: None,
            ear: None,
            started_at: environment.now.wall,
            answered_at: None,
            ends_by: environment.now.instant + Duration::from_secs(longest),
            ending: None,
            is_outgoing: false,
            has_turned: false,
            promise: None,
            left: None,
            used_ids: 0,
            unreleased: 0,
            measured: Vec::new(),
            egress: Vec::new(),
        }
    }

    /// The media session.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        SessionId(self.id.0)
    }

    /// SIP leg of the caller.
    #[must_use]
    pub const fn a_leg(&self) -> LegId {
        self.incoming.leg
    }

    /// Whether a branch is there whose INVITE is still to be sent.
    #[must_use]
    pub fn awaits(&self, branch: LegId) -> bool {
        let dialled = self.dialling.iter().flat_map(|dialling| &dialling.branches);
        let listening = self.supervision.iter().flat_map(|supervision| &supervision.branches);
        dialled
            .chain(listening)
            .any(|one| one.media.id == branch && one.sip.is_none() && one.leaving.is_none())
    }

    /// Where it is in its flow.
    #[must_use]
    pub const fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Call-ID of the A leg.
    #[must_use]
    pub fn call_id(&self) -> &str {
        &self.incoming.call_id
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> CallId {
        self.id
    }

    /// When it began.
    #[must_use]
    pub const fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Number of who called; empty: withheld.
    #[must_use]
    pub fn number(&self) -> &str {
        &self.incoming.from
    }

    /// Where it came from and leads to.
    #[must_use]
    pub const fn admitted(&self) -> &Admitted {
        &self.incoming.admitted
    }

    /// Whether a phone is in it: it called, or was called and has answered.
    #[must_use]
    pub fn is_with(&self, station: &StationId) -> bool {
        if self.standing.is_some() {
            return false;
        }
        let called = self.a.station.as_ref() == Some(station);
        let branches = self.dialling.iter().flat_map(|dialling| &dialling.branches);
        let mut answered = branches.filter(|branch| branch.is_there());
        called
            || answered.any(|branch| branch.now.party == Party::Station(station.clone()))
            || self.is_listened_to_by(station)
    }

    /// Whether its end has begun: no leg of it is up any more.
    #[must_use]
    pub const fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Whether nothing is left to be done.
    #[must_use]
    pub fn is_over(&self, now: Instant) -> bool {
        let is_done = self.unreleased == 0 && !self.recorder.is_open();
        self.ending.as_ref().is_some_and(|ending| is_done || ending.at_most_until <= now)
    }

    /// When [`timeout`](Self::timeout) is due.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        if let Some(ending) = &self.ending {
            return ending.at_most_until;
        }
        let dialled = self.dialling.iter().flat_map(|dialling| &dialling.branches);
        let listening = self.supervision.iter().flat_map(|supervision| &supervision.branches);
        let ringing = dialled.chain(listening).filter(|branch| !branch.is_there());
        let dial = ringing.filter_map(Branch::deadline).min().filter(|_| !mutant!(LostRingTimeout));
        let message = self.message.as_ref().and_then(|message| message.deadline);
        let silenced = self.silenced.as_ref().map(|silenced| silenced.until);
        let announced = self.queueing.as_ref().and_then(|queueing| queueing.deadline());
        let siprec = self.siprec.deadline();
        let recorder = self.recorder.deadline();
        let asked = self.asking.as_ref().map(|asking| asking.until);
        let asked = asked.filter(|_| !mutant!(LostRequestTimeout));
        let promise = self.promise.as_ref().and_then(|promise| promise.deadline());
        let standing = self.standing_deadline();
        let cursor = self.cursor.deadline();
        let others = [cursor, dial, message, recorder, silenced, announced, siprec, asked, promise, standing];
        others.into_iter().flatten().fold(self.ends_by, Instant::min)
    }

    /// Enters the flow.
    pub fn begin(&mut self, context: &mut Context<'_>) {
        let actions = self.cursor.begin(context.environment);
        self.perform(actions, context);
    }

    /// A deadline has come.
    pub fn timeout(&mut self, context: &mut Context<'_>) {
        let now = context.environment.now.instant;
        if self.ending.is_some() {
            return;
        }
        if self.ends_by <= now {
            return self.finish(EndedBy::Deadline, 480, Some("the longest call time is over"), context);
        }
        if let Some(silenced) = self.silenced.take_if(|silenced| silenced.until <= now) {
            return self.finish(EndedBy::MediaTimeout, 408, Some(&silenced.because), context);
        }
        self.ring_timeouts(now, context);
        self.recording_timeout(now, context);
        self.siprec_timeout(now, context);
        self.message_timeout(now, context);
        self.queue_timeout(now, context);
        self.request_timeout(now, context);
        self.promise_timeout(now, context);
        self.standing_timeout(now, context);
        let actions = self.cursor.silence(context.environment);
        self.perform(actions, context);
    }

    /// Ends the call from outside.
    pub fn end(&mut self, because: &str, context: &mut Context<'_>) {
        if self.is_waiting_promise() {
            return self.lose(context);
        }
        self.finish(EndedBy::Deadline, 503, Some(because), context);
    }

    /// Something happened on a SIP leg of the call.
    pub fn on_sip(&mut self, event: SipEvent, context: &mut Context<'_>) {
        let Some(leg) = event.leg() else { return };
        if leg == self.incoming.leg {
            self.on_a(event, context);
        } else if self.joiner.as_ref().is_some_and(|joiner| joiner.sip == leg) {
            self.on_joiner(&event, context);
        } else if self.is_supervisors_sip(leg) {
            self.on_supervisor(leg, event, context);
        } else if self.is_recorders(leg) {
            self.on_recorder(event, context);
        } else {
            self.on_b(leg, event, context);
        }
    }

    /// The media server tells something.
    pub fn on_media(&mut self, event: MediaEvent, context: &mut Context<'_>) {
        match event {
            MediaEvent::Allocated { leg, address, rtp_port, fingerprint } if leg == self.a.media.id => {
                self.a.media.allocated(At { address, rtp_port, fingerprint }, self.id.0);
                self.a_allocated(context);
            }
            MediaEvent::Allocated { leg, address, rtp_port, fingerprint } => {
                let at = At { address, rtp_port, fingerprint };
                if self.siprec_allocated(leg, &at, context) {
                    return;
                }
                let session_id = self.id.0;
                if let Some(branch) = self.branch(leg) {
                    branch.media.allocated(at, session_id);
                    match branch.sip {
                        Some(sip) if branch.answered => self.reinvite(leg, sip, context),
                        // It has moved, which can be told once the first offer is answered.
                        Some(_) => branch.has_moved = true,
                        None => self.invite(leg, context),
                    }
                } else if let Some(joiner) = self.joiner.take_if(|joiner| joiner.media.id == leg) {
                    self.take_place(joiner, at, context);
                }
            }
            MediaEvent::Refused { leg, reason } => self.refused(leg, reason, context),
            MediaEvent::PlayEnded { play, how, .. } => self.play_ended(play, how, context),
            MediaEvent::Dtmf { leg, digit } => self.heard_digit(leg, digit, context),
            MediaEvent::Released { leg, quality } => {
                self.unreleased = self.unreleased.saturating_sub(1);
                if let Some(measured) = self.measured(leg) {
                    measured.quality = Some(*quality);
                }
            }
            MediaEvent::Recorded(recorded) => self.recorded(&recorded, context),
            MediaEvent::Heard { listening, heard, .. } => self.heard(listening, heard, context),
            MediaEvent::Measured { leg, series } => {
                if let Some(measured) = self.measured(leg) {
                    measured.series = series;
                }
            }
            MediaEvent::DtmfSent { .. } | MediaEvent::FirstPacket { .. } => {}
            MediaEvent::Unprotected { leg, why } => self.on_unprotected(leg, why, context),
            MediaEvent::Silent { leg, silent_ms, heard_before } => {
                self.on_silence(leg, (silent_ms, heard_before), context);
            }
        }
    }

    /// An [`Effect::Invite`] was carried out, or could not be.
    pub fn invited(&mut self, branch: LegId, sent: Sent, context: &mut Context<'_>) {
        let Some(sent) = self.siprec_invited(branch, sent, context) else { return };
        if branch == self.a.media.id {
            if matches!(sent, Sent::Refused(_)) && self.standing_untold(context) {
                return;
            }
            return self.not_shown();
        }
        match (self.branch(branch), sent) {
            (Some(known), Sent::As(leg)) => {
                known.sip = Some(leg);
                let whom = known.now.to_string();
                self.leg_left(leg, (branch, whom), context.environment.now.wall);
            }
            (None, Sent::As(leg)) => context.effects.push(Effect::Cancel { leg, reason: None }),
            (Some(_), Sent::Refused(because)) => self.not_sent(branch, because, context),
            (None, Sent::Refused(_)) => {}
        }
    }

    fn perform(&mut self, actions: Vec<Action>, context: &mut Context<'_>) {
        let mut waiting: VecDeque<Action> = actions.into();
        while let Some(action) = waiting.pop_front() {
            waiting.extend(self.start(action, context));
        }
    }

    /// Gives what follows at once.
    fn start(&mut self, action: Action, context: &mut Context<'_>) -> Vec<Action> {
        if self.ending.is_some() {
            return Vec::new();
        }
        match action {
            Action::StopPlay => {
                if self.playing.take().is_some() {
                    context.effects.push(Effect::Media(Order::StopPlay { leg: self.a.media.id }));
                }
            }
            Action::Play { ref audio, ref say, early } => {
                if self.audible(early, context) {
                    self.play_step(audio.clone(), say.clone(), context);
                } else {
                    self.waiting = Some(Waiting::For(action));
                }
            }
            Action::Wait(ref audio) => {
                if self.audible(false, context) {
                    self.cursor.waits(context.environment);
                    self.play_on(audio.clone(), AfterPlay::Wait, context);
                } else {
                    self.waiting = Some(Waiting::For(action));
                }
            }
            Action::Hangup(ref audio) => {
                if self.audible(false, context) {
                    self.play(audio.clone(), AfterPlay::HangUp, context);
                } else {
                    self.waiting = Some(Waiting::For(action));
                }
            }
            Action::Draw => {
                let number = self.incoming.lots.percent();
                return self.cursor.drawn(number, context.environment);
            }
            Action::Reject(rejection) => self.finish(EndedBy::Flow, rejection.status(), None, context),
            Action::End => self.finish(EndedBy::Callee, 200, None, context),
            Action::Fail(because) => self.finish(EndedBy::Failure, 500, Some(&because), context),
            Action::Dial(dial) => self.dial(dial, context),
            Action::Record(what, to) => {
                if self.audible(false, context) {
                    return self.record_step(what, to, context);
                }
                self.waiting = Some(Waiting::For(action));
            }
            Action::Voicemail { ref voicemail_box, ref greeting, longest } => {
                if self.audible(false, context) {
                    return self.take_message(voicemail_box, (greeting.clone(), longest), context);
                }
                self.waiting = Some(Waiting::For(action));
            }
            Action::Queue { ref queue, priority, max_wait } => {
                if self.waits_without_leg() || self.audible(false, context) {
                    self.queue_up(queue.clone(), (priority, max_wait), context);
                } else {
                    self.waiting = Some(Waiting::For(action));
                }
            }
            Action::Request(asked) => self.ask_service(*asked, context),
            Action::Callback { .. } if self.audible(false, context) => self.promise_step(&action, context),
            Action::Callback { .. } => self.waiting = Some(Waiting::For(action)),
            Action::Message { text, to } => return self.message_step(&text, to, context),
        }
        Vec::new()
    }

    /// For the call's explanation.
    pub(crate) fn tell(&self, what: String, context: &mut Context<'_>) {
        context.effects.push(Effect::Tell(Told { call_id: self.incoming.call_id.clone(), what }));
    }

    /// A key of the contact. While two legs are joined, keys are theirs.
    fn pressed(&mut self, key: char, context: &mut Context<'_>) {
        if self.swallows.take() == Some(key) {
            return;
        }
        if self.message.is_some() {
            return self.message_key(key, context);
        }
        if self.ending.is_none() && self.dialling.is_none() {
            let actions = self.cursor.pressed(key, context.environment);
            self.perform(actions, context);
        }
    }

    /// Brings the A leg to where it can hear. False: not yet, and `waiting` goes on once it can.
    fn audible(&mut self, early: bool, context: &mut Context<'_>) -> bool {
        let leg = self.incoming.leg;
        match (self.a.state, &self.a.media.ports) {
            (StateA::Over | StateA::Outgoing, _) => false,
            (_, Ports::None) => {
                self.allocate_a(context);
                false
            }
            (_, Ports::Asked) | (StateA::AwaitsAnswer, _) => false,
            (StateA::Answered, Ports::Ready(_)) => true,
            (StateA::Early, Ports::Ready(_)) if early => true,
            (StateA::Invited | StateA::Early, Ports::Ready(_)) => match self.a.answer.clone() {
                Some(sdp) if early => {
                    self.a.state = StateA::Early;
                    context.effects.push(Effect::Provisional { leg, code: 183, sdp: Some(sdp) });
                    true
                }
                Some(sdp) => {
                    self.a.state = StateA::Answered;
                    self.answered_at = Some(context.environment.now.wall);
                    context.effects.push(Effect::Accept { leg, sdp });
                    true
                }
                // RFC 3261 §13.2.1: an INVITE without an offer gets ours in the 2xx.
                None => {
                    if let Some(sdp) = self.a.media.offer() {
                        self.a.state = StateA::AwaitsAnswer;
                        self.answered_at = Some(context.environment.now.wall);
                        context.effects.push(Effect::Accept { leg, sdp });
                    }
                    false
                }
            },
        }
    }

    fn allocate_a(&mut self, context: &mut Context<'_>) {
        if !self.a.media.is_known() {
            self.unreleased += 1;
            let (network, offer) = (self.incoming.network.clone(), self.incoming.offer.as_deref());
            let order = self.a.media.allocate_for(network, offer);
            context.effects.push(Effect::Media(order));
        }
    }

    fn a_allocated(&mut self, context: &mut Context<'_>) {
        if self.ending.is_some() {
            return;
        }
        if self.standing.is_some() {
            return self.tell_standing(context);
        }
        if let Some(offer) = self.incoming.offer.take() {
            match self.a.media.answer(&offer) {
                Ok(answer) => {
                    self.a.answer = Some(answer);
                    self.configure_a(context);
                }
                Err(error) => return self.finish(EndedBy::Failure, 488, Some(&error.to_string()), context),
            }
        }
        self.resume(context);
    }

    fn configure_a(&self, context: &mut Context<'_>) {
        configure(&self.a.media, context);
    }

    fn resume(&mut self, context: &mut Context<'_>) {
        match self.waiting.take() {
            Some(Waiting::For(action)) => self.perform(vec![action], context),
            Some(Waiting::Join) => self.join(context),
            Some(Waiting::JoinEarly) => self.join_early(context),
            Some(Waiting::Apology) => self.apologize(context),
            None => {}
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what the call did not ask for changes nothing")]
    fn on_a(&mut self, event: SipEvent, context: &mut Context<'_>) {
        if self.on_standing(&event, context) {
            return;
        }
        match event {
            SipEvent::Confirmed { sdp, .. } => self.a_confirmed(sdp.as_deref(), context),
            SipEvent::Reinvited { sdp, .. } => {
                let leg = self.incoming.leg;
                self.a.reoffered = sdp.is_none();
                let shown = self.siprec.shown();
                reinvited_as(leg, &mut self.a.media, sdp.as_deref(), shown, context);
            }
            SipEvent::ReinviteAnswered { sdp: Some(sdp), .. } if self.a.media.accept(&sdp).is_ok() => {
                self.configure_a(context);
            }
            SipEvent::Referred { leg, refer_to, .. } => self.referred(leg, &refer_to, context),
            SipEvent::Info { content_type, body, .. } => {
                self.informed(self.a.media.id, &content_type, &body, context);
            }
            SipEvent::Ended { how: Ended::Cancelled { .. }, .. } if mutant!(CancelIgnored) => {}
            SipEvent::Ended { how, .. } => {
                self.a.state = StateA::Over;
                let (by, code, because) = match how {
                    Ended::Cancelled { .. } => (EndedBy::Caller, 487, None),
                    Ended::Bye { .. } if mutant!(WrongEndedBy) => (EndedBy::Callee, 200, None),
                    Ended::Bye { .. } => (EndedBy::Caller, 200, None),
                    Ended::Rejected { code } => (EndedBy::Flow, code, None),
                    Ended::NoAck => (EndedBy::Failure, 408, Some("the caller never sent an ACK")),
                    Ended::DialogLost { code } => {
                        (EndedBy::Failure, code, Some("the caller's dialog was lost"))
                    }
                    Ended::Failed { code, .. } => (EndedBy::Failure, code, Some("the caller's leg failed")),
                };
                self.finish(by, code, because, context);
            }
            _ => {}
        }
    }

    fn a_confirmed(&mut self, sdp: Option<&[u8]>, context: &mut Context<'_>) {
        let awaited = self.a.state == StateA::AwaitsAnswer || std::mem::take(&mut self.a.reoffered);
        if !awaited || self.ending.is_some() {
            return;
        }
        match sdp.map(|sdp| self.a.media.accept(sdp).map(|_| ())) {
            Some(Ok(())) => {
                self.a.state = StateA::Answered;
                self.configure_a(context);
                self.resume(context);
            }
            Some(Err(error)) => self.finish(EndedBy::Failure, 488, Some(&error.to_string()), context),
            None => self.finish(
                EndedBy::Failure,
                400,
                Some("the caller's ACK has no answer to our offer"),
                context,
            ),
        }
    }

    fn finish(&mut self, by: EndedBy, code: u16, because: Option<&str>, context: &mut Context<'_>) {
        self.finish_for(by, (code, cause_of(code)), because, context);
    }

    /// With a cause (Q.850) that is not the code's own.
    fn finish_for(
        &mut self,
        by: EndedBy,
        (code, cause): (u16, u8),
        because: Option<&str>,
        context: &mut Context<'_>,
    ) {
        if self.ending.is_some() {
            return;
        }
        self.standing_ends(by, code, context);
        self.drop_message(context);
        self.leave_queue(by == EndedBy::Caller, context);
        self.end_recording(context);
        self.end_siprec(context);
        let wait = if self.recorder.is_open() { STORE_WAIT } else { RELEASE_WAIT };
        let at_most_until = context.environment.now.instant + wait;
        self.ending = Some(Ending { by, code, cause, because: because.map(str::to_owned), at_most_until });
        (self.waiting, self.playing, self.asking) = (None, None, None);
        self.drop_branches(|_| true, None, context);
        self.dialling = None;
        self.drop_others(context);
        let leg = self.incoming.leg;
        match self.a.state {
            StateA::Over | StateA::Outgoing => {}
            StateA::Invited | StateA::Early => {
                // A flow that hangs up unheard still ends the INVITE with a final response.
                let code = if code < 300 { 480 } else { code };
                context.effects.push(Effect::Reject { leg, code, headers: refusal_headers(cause, because) });
            }
            StateA::AwaitsAnswer | StateA::Answered => {
                let reason = because.map(|because| format!("SIP;cause={code};text=\"{}\"", quoted(because)));
                context.effects.push(Effect::Bye { leg, reason });
            }
        }
        if self.a.media.is_known() {
            context.effects.push(Effect::Media(Order::Release { leg: self.a.media.id }));
        }
    }

    fn fresh_id(&mut self) -> u64 {
        self.used_ids += 1;
        (self.id.0 << 16) | (self.used_ids & 0xffff)
    }
}
