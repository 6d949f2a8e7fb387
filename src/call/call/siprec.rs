//! The recording session of a call: a dialog of its own beside it (RFC 7866), which never stands in its way.
//!
//! It follows the call: after all that happens, what the recorder knows is compared with where the call is, and what differs is
//! told. A recorder that is lost is replaced by the next peer of its trunk; the call knows nothing of it unless the tenant wants
//! no call unrecorded.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;
use jiff::Timestamp;
use model::{
    LegId,
    media::{Forked, Order, Side},
    program::{DialTarget, RecordTo},
    snapshot::Recorder,
    trunk::DtmfMethod,
};
use sip::endpoint::{Attached, Ended, Event as SipEvent};

use super::{Call, Context, Effect, StateA, configure};
use crate::{
    admission::Origin,
    caller::Caller,
    cursor::Action,
    dial::{self, Branch, Party, SILENT_PEER, SLOW_PEER, Sent, Try, Whom},
    dialling::Dialler,
    health::Heard,
    record::EndedBy,
    registrar::StationId,
    sdp_leg::{At, MediaLeg, Ports, Terms},
    siprec::{
        description::{self, Records},
        metadata::{self, Id, Participant, Scene},
    },
};

/// Most recording sessions of one call: one that is lost is made anew, but not for ever.
const SESSIONS_MAX: u8 = 4;

/// Most participants that a recorder is told of; the latest that left are kept.
const PARTICIPANTS_MAX: usize = 16;

/// What a recorder is to know of a call.
#[derive(Debug, Default)]
pub(super) struct Siprec {
    /// Whether the flow has it recorded.
    on: bool,
    /// Whether the `record` step waits until it is.
    awaited: bool,
    /// Whether no peer is asked any more.
    given_up: bool,
    begun: u8,
    /// Names of the call and its streams, and when it began to be recorded.
    named: Option<([Id; 3], Timestamp)>,
    participants: Vec<Participant>,
    /// How often they have changed.
    changes: u32,
    session: Option<Box<Session>>,
    /// What the contact's phone was told last, if it wants to be told.
    shown: Records,
}

/// A recording session.
#[derive(Debug)]
struct Session {
    now: Try,
    tries: VecDeque<Try>,
    /// What the contact says, and what it hears.
    legs: [MediaLeg; 2],
    sip: Option<LegId>,
    answered: bool,
    /// A re-INVITE of ours is under way.
    changing: bool,
    /// Whether the present peer takes no keys.
    plain: bool,
    /// What the media server copies: of whom.
    copied: Option<LegId>,
    /// What it was told last: how many changes of participants, and whether it pauses.
    told: (u32, bool),
    until: Instant,
    /// Whether the present peer was given more time.
    patient: bool,
}

impl Siprec {
    /// When [`Call::siprec_timeout`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.session.as_ref().filter(|session| !session.answered).map(|session| session.until)
    }

    /// What the contact's phone was told last.
    pub const fn shown(&self) -> Records {
        self.shown
    }

    fn session_of(&mut self, media: LegId) -> Option<&mut Session> {
        self.session.as_deref_mut().filter(|session| session.legs.iter().any(|leg| leg.id == media))
    }
}

impl Session {
    fn is_ready(&self) -> bool {
        self.legs.iter().all(|leg| matches!(leg.ports, Ports::Ready(_)))
    }

    fn describe(&mut self, anew: bool, paused: bool) -> Option<Bytes> {
        let with_keys = !self.plain;
        let mut parts = Vec::with_capacity(2);
        for leg in &mut self.legs {
            leg.send_only(paused);
            parts.push(if anew { leg.offer_anew(with_keys) } else { leg.offer() }?);
        }
        Some(description::joined(&parts))
    }

    /// Takes an answer. False: it has no stream for us.
    fn accept(&mut self, sdp: &[u8]) -> bool {
        let parts = description::parted(sdp, self.legs.len());
        let mut any = false;
        for (leg, part) in self.legs.iter_mut().zip(parts) {
            any |= part.is_some_and(|part| leg.accept(&part).is_ok());
        }
        any
    }

    /// Answers the recorder's offer.
    fn answer(&mut self, sdp: &[u8], paused: bool) -> Option<Bytes> {
        let offered = description::parted(sdp, self.legs.len());
        let mut parts = Vec::with_capacity(2);
        for (leg, offer) in self.legs.iter_mut().zip(offered) {
            leg.send_only(paused);
            parts.push(leg.answer(&offer?).ok()?);
        }
        Some(description::joined(&parts))
    }
}

impl Call {
    /// The tenant's recorder.
    fn recorder_of<'w>(&self, context: &Context<'w>) -> Option<&'w Recorder> {
        context.environment.world.snapshot.cluster.recorders.get(&self.incoming.admitted.tenant)
    }

    /// Whether a SIP leg is the recorder's.
    pub(super) fn is_recorders(&self, leg: LegId) -> bool {
        self.siprec.session.as_ref().is_some_and(|session| session.sip == Some(leg))
    }

    /// A `record` step begins. Whether it waits.
    pub(super) fn begin_siprec(&mut self, to: RecordTo, context: &mut Context<'_>) -> Option<Vec<Action>> {
        if self.recorder_of(context).is_none() {
            let tenant = &self.incoming.admitted.tenant;
            self.tell(format!("the Tenant of {tenant} has no recorder"), context);
            return (to == RecordTo::Recorder).then(|| self.cursor.done(false, context.environment));
        }
        let is_known = self.siprec.session.as_ref().is_some_and(|session| session.answered);
        self.siprec.on = true;
        match to {
            RecordTo::Recorder if is_known => Some(self.cursor.done(true, context.environment)),
            RecordTo::Recorder => {
                self.siprec.awaited = true;
                (self.siprec.given_up, self.siprec.begun) = (false, 0);
                Some(Vec::new())
            }
            RecordTo::Both | RecordTo::Store => None,
        }
    }

    /// A `record` step ends it.
    pub(super) const fn stop_siprec(&mut self) {
        self.siprec.on = false;
    }

    /// Whether a recorder has the call, or is to have it.
    pub(super) const fn is_siprec(&self) -> bool {
        self.siprec.on || self.siprec.session.is_some()
    }

    /// Brings what the recorder knows into line with where the call is.
    pub(super) fn attend_siprec(&mut self, context: &mut Context<'_>) {
        let all = self.recorder_of(context).map(|recorder| recorder.all);
        let is_call = self.standing.is_none();
        let talks = is_call && self.a.state == StateA::Answered && self.a.media.is_agreed();
        let wanted = all.is_some_and(|all| all || self.siprec.on) && talks && !self.siprec.given_up;
        if wanted {
            self.follow_participants(context);
        }
        match &self.siprec.session {
            None if wanted => self.call_recorder(context),
            Some(_) if all.is_none() || !(all == Some(true) || self.siprec.on) => self.end_siprec(context),
            Some(session) if session.answered => self.update_recorder(context),
            Some(_) | None => {}
        }
    }

    /// Whether the contact is recorded, here or there.
    fn records(&self) -> Records {
        let by_recorder = self.siprec.session.as_ref().is_some_and(|session| session.answered);
        match (by_recorder || self.recorder.on, self.is_unheard()) {
            (false, _) => Records::Off,
            (true, false) => Records::On,
            (true, true) => Records::Paused,
        }
    }

    /// Tells the contact's phone that it is recorded, or no more, if it wants to know (RFC 7866 §7.1).
    pub(super) fn show_recording(&mut self, context: &mut Context<'_>) {
        let records = self.records();
        let free = self.a.state == StateA::Answered && self.a.media.is_agreed() && !self.a.reoffered;
        if !self.incoming.is_record_aware || self.siprec.shown == records || !free {
            return;
        }
        let Some(sdp) = self.a.media.offer() else { return };
        self.siprec.shown = records;
        let (branch, leg) = (self.a.media.id, self.incoming.leg);
        context.effects.push(Effect::Reinvite { branch, leg, sdp: description::told(&sdp, records) });
    }

    /// That could not be told now; it is tried again with the next that happens.
    pub(super) const fn not_shown(&mut self) {
        self.siprec.shown = Records::Off;
    }

    fn is_unheard(&self) -> bool {
        self.recorder.paused || self.cursor.is_secret()
    }

    /// The SRS is called by the first way there is.
    fn call_recorder(&mut self, context: &mut Context<'_>) {
        let Some(recorder) = self.recorder_of(context) else { return };
        if self.siprec.begun >= SESSIONS_MAX {
            return self.give_recorder_up("it was lost too often", context);
        }
        self.siprec.begun += 1;
        let now = context.environment.now;
        let (lots, began) = (&mut self.incoming.lots, now.wall);
        self.siprec
            .named
            .get_or_insert_with(|| ([0; 3].map(|_: u8| Id::of(lots.draw(), lots.draw())), began));
        let target = DialTarget::Extension { user: recorder.user.clone(), trunk: recorder.trunk.clone() };
        let caller = Caller {
            number: &self.incoming.to,
            dialled: None,
            phone: None,
            referred_by: None,
            tenant: &self.incoming.admitted.tenant,
            diverted: &Default::default(),
            verstat: None,
            identities: &[],
            is_expected: false,
        };
        let standing = (context.trunks, now.wall);
        let ways = dial::ways(
            context.environment.world,
            &Whom::Target(target),
            caller,
            standing,
            &mut self.incoming.lots,
        );
        for what in ways.told {
            self.tell(format!("the recorder: {what}"), context);
        }
        let tries = ways.forks.into_iter().next().unwrap_or_default();
        self.try_recorder(tries, context);
    }

    /// The next way to the recorder.
    fn try_recorder(&mut self, mut tries: VecDeque<Try>, context: &mut Context<'_>) {
        let Some(mut way) = tries.pop_front() else {
            return self.give_recorder_up("no peer of its trunk records it", context);
        };
        // Keys are nobody's to hear, and it has nothing to say.
        way.terms = Terms { dtmf: DtmfMethod::InBand, shared_port: false, ..way.terms };
        let terms = self.preferred(&way.terms);
        if way.terms.contradict() || terms.codecs.is_empty() {
            let why = if terms.codecs.is_empty() {
                "has no codec of the call's"
            } else {
                "must be sent keys of SRTP, and may not over signalling in the clear: use TLS"
            };
            self.tell(format!("the recorder: {way} {why}"), context);
            return self.try_recorder(tries, context);
        }
        let legs = [self.fresh_id(), self.fresh_id()].map(|id| {
            let mut leg = MediaLeg::new(LegId(id), terms.clone(), self.incoming.keys.clone());
            let order = leg.allocate(way.network.clone());
            context.effects.push(Effect::Media(order));
            leg
        });
        self.unreleased += 2;
        self.siprec.session = Some(Box::new(Session {
            now: way,
            tries,
            legs,
            sip: None,
            answered: false,
            changing: false,
            plain: false,
            copied: None,
            told: (0, false),
            until: context.environment.now.instant + SILENT_PEER,
            patient: false,
        }));
    }

    /// The media server has given ports. Whether they were the recorder's.
    pub(super) fn siprec_allocated(&mut self, media: LegId, at: &At, context: &mut Context<'_>) -> bool {
        let session_id = self.id.0;
        let Some(session) = self.siprec.session_of(media) else { return false };
        for leg in session.legs.iter_mut().filter(|leg| leg.id == media) {
            leg.allocated(at.clone(), session_id);
        }
        if session.is_ready() && session.sip.is_none() {
            self.invite_recorder(context);
        }
        true
    }

    /// The media server has no ports. Whether they were for the recorder.
    pub(super) fn siprec_refused(&mut self, media: LegId, because: &str, context: &mut Context<'_>) -> bool {
        let Some(session) = self.siprec.session_of(media) else { return false };
        for leg in session.legs.iter_mut().filter(|leg| leg.id == media) {
            leg.ports = Ports::None;
        }
        self.end_siprec(context);
        self.give_recorder_up(because, context);
        true
    }

    fn invite_recorder(&mut self, context: &mut Context<'_>) {
        let (paused, changes) = (self.is_unheard(), self.siprec.changes);
        let Some(attached) = self.metadata() else { return };
        let now = context.environment.now.instant;
        let max_forwards = self.incoming.max_forwards;
        let Some(session) = self.siprec.session.as_deref_mut() else { return };
        let speaks_plain = session.now.who().is_some_and(|who| context.trunks.speaks_plain(&who));
        session.plain |= speaks_plain;
        let Some(sdp) = session.describe(true, paused) else { return };
        session.told = (changes, paused);
        session.until = now + SILENT_PEER;
        context.effects.push(Effect::Invite {
            branch: session.legs[0].id,
            trunk: session.now.trunk().cloned(),
            is_urgent: false,
            invite: Box::new(session.now.record(sdp, attached, max_forwards)),
            claim: None,
        });
    }

    /// What became of the INVITE. None: it was another's.
    pub(super) fn siprec_invited(
        &mut self,
        branch: LegId,
        sent: Sent,
        context: &mut Context<'_>,
    ) -> Option<Sent> {
        let Some(session) = self.siprec.session_of(branch) else { return Some(sent) };
        match sent {
            Sent::As(leg) => session.sip = Some(leg),
            Sent::Refused(because) if session.answered => {
                session.changing = false;
                self.tell(format!("the recorder is not told of a change: {because}"), context);
            }
            Sent::Refused(because) => self.next_recorder(&because, context),
        }
        None
    }

    /// Something happened on the recorder's leg.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what the call did not ask for changes nothing")]
    pub(super) fn on_recorder(&mut self, event: SipEvent, context: &mut Context<'_>) {
        let paused = self.is_unheard();
        let Some(session) = self.siprec.session.as_deref_mut() else { return };
        let Some(leg) = session.sip else { return };
        match event {
            SipEvent::Progress { .. } => {
                (session.until, session.patient) = (context.environment.now.instant + SLOW_PEER, true);
            }
            SipEvent::Answered { sdp, .. } => self.recorder_answered(sdp.as_deref(), context),
            SipEvent::ReinviteAnswered { sdp, .. } => {
                session.changing = false;
                if sdp.is_some_and(|sdp| session.accept(&sdp)) {
                    self.configure_recorder(context);
                }
            }
            SipEvent::ReinviteFailed { code, .. } => {
                session.changing = false;
                self.tell(format!("the recorder has refused a change ({code})"), context);
            }
            SipEvent::Reinvited { sdp, .. } => {
                let answer = match sdp {
                    Some(offer) => session.answer(&offer, paused),
                    None => session.describe(false, paused),
                };
                let Some(sdp) = answer else {
                    return context.effects.push(Effect::RejectReinvite { leg, code: 488 });
                };
                context.effects.push(Effect::AnswerReinvite { leg, sdp });
                self.configure_recorder(context);
            }
            SipEvent::Confirmed { sdp: Some(sdp), .. } if session.accept(&sdp) => {
                self.configure_recorder(context);
            }
            SipEvent::Referred { .. } => {
                let because = "a recorder hands nothing on".to_owned();
                context.effects.push(Effect::RejectRefer { leg, code: 403, because });
            }
            SipEvent::Ended { how, .. } => self.recorder_ended(&how, context),
            _ => {}
        }
    }

    fn recorder_answered(&mut self, sdp: Option<&[u8]>, context: &mut Context<'_>) {
        let Some(session) = self.siprec.session.as_deref_mut() else { return };
        if !sdp.is_some_and(|sdp| session.accept(sdp)) {
            session.answered = true;
            return self.next_recorder("its answer has none of the streams that were offered", context);
        }
        session.answered = true;
        let (who, told) = (session.now.who(), format!("{} records the call", session.now));
        let is_plain = session.plain && !session.legs[0].is_protected();
        context.effects.extend(who.clone().filter(|_| is_plain).map(|who| Effect::SpeaksPlain { who }));
        context.effects.extend(who.map(|who| Effect::Heard { who, heard: Heard::Answered(200) }));
        self.tell(told, context);
        self.configure_recorder(context);
        self.recorder_is_known(true, context);
    }

    /// The `record` step goes on.
    fn recorder_is_known(&mut self, records: bool, context: &mut Context<'_>) {
        if std::mem::take(&mut self.siprec.awaited) && self.ending.is_none() {
            let actions = self.cursor.done(records, context.environment);
            self.perform(actions, context);
        }
    }

    fn recorder_ended(&mut self, how: &Ended, context: &mut Context<'_>) {
        let Some(session) = self.siprec.session.as_deref_mut() else { return };
        session.sip = None;
        let told = dial::told(how);
        if session.answered {
            self.tell(format!("the recorder is lost: {} {told}", self.recorder_name()), context);
            self.end_siprec(context);
            // Who has ended it does not want it: the others of the trunk may.
            return;
        }
        let refused = matches!(how, Ended::Failed { code: 415 | 488, .. }) && !session.plain;
        let [says, _] = &session.legs;
        if refused && says.may_be_plain() && says.offered_keys() {
            session.plain = true;
            let told = format!("the recorder: {} {told}, and is asked again without SRTP", session.now);
            self.tell(told, context);
            return self.invite_recorder(context);
        }
        let who = session.now.who();
        if let (Some(heard), Some(who)) = (dial::heard(how), who) {
            context.effects.push(Effect::Heard { who, heard });
        }
        self.next_recorder(&told, context);
    }

    fn recorder_name(&self) -> String {
        self.siprec.session.as_ref().map(|session| session.now.to_string()).unwrap_or_default()
    }

    /// The present peer does not record: the next one may.
    fn next_recorder(&mut self, because: &str, context: &mut Context<'_>) {
        self.tell(format!("the recorder: {} {because}", self.recorder_name()), context);
        let tries = self.siprec.session.as_deref_mut().map(|session| std::mem::take(&mut session.tries));
        self.end_siprec(context);
        self.try_recorder(tries.unwrap_or_default(), context);
    }

    /// The recorder is silent.
    pub(super) fn siprec_timeout(&mut self, now: Instant, context: &mut Context<'_>) {
        let Some(session) = self.siprec.session.as_deref_mut() else { return };
        if session.answered || session.until > now {
            return;
        }
        let proceeds = session.sip.is_some_and(|leg| context.trunks.is_proceeding(leg));
        if proceeds && !std::mem::replace(&mut session.patient, true) {
            session.until = now + SLOW_PEER;
            return;
        }
        let who = session.now.who();
        context.effects.extend(who.map(|who| Effect::Heard { who, heard: Heard::Silent }));
        self.next_recorder("stayed silent", context);
    }

    /// Nobody records the call.
    fn give_recorder_up(&mut self, because: &str, context: &mut Context<'_>) {
        self.siprec.given_up = true;
        // Nothing may hold a call for help up.
        let is_help = self.incoming.placement.as_ref().is_some_and(|placement| placement.is_help);
        let required = self.recorder_of(context).is_some_and(|recorder| recorder.required) && !is_help;
        let then = if required { "and may not go on so" } else { "and goes on" };
        self.tell(format!("the call is not recorded, {then}: {because}"), context);
        if required && !self.siprec.awaited {
            return self.finish(EndedBy::Failure, 503, Some("the call cannot be recorded"), context);
        }
        self.siprec.on &= !required;
        self.recorder_is_known(!required, context);
    }

    /// Takes leave of the recorder, whatever it knows.
    pub(super) fn end_siprec(&mut self, context: &mut Context<'_>) {
        let Some(session) = self.siprec.session.take() else { return };
        if let Some(leg) = session.sip {
            context.effects.push(Effect::Forget { leg });
            context.effects.push(match session.answered {
                true => Effect::Bye { leg, reason: None },
                false => Effect::Cancel { leg, reason: None },
            });
        }
        for leg in session.legs.iter().filter(|leg| leg.is_known()) {
            context.effects.push(Effect::Media(Order::Release { leg: leg.id }));
        }
    }

    fn configure_recorder(&mut self, context: &mut Context<'_>) {
        let Some(session) = self.siprec.session.as_deref() else { return };
        session.legs.iter().for_each(|leg| configure(leg, context));
    }

    /// Copies what the call's contact says and hears now, and tells who talks.
    fn update_recorder(&mut self, context: &mut Context<'_>) {
        let (paused, changes, contact) = (self.is_unheard(), self.siprec.changes, self.a.media.id);
        let attached = self.metadata();
        let Some(session) = self.siprec.session.as_deref_mut() else { return };
        // What is said in secret is not sent at all, whatever the recorder makes of what it is told.
        let copied = (!paused).then_some(contact);
        if session.copied != copied {
            session.copied = copied;
            for (leg, side) in session.legs.iter().zip([Side::Received, Side::Sent]) {
                let of = copied.map(|leg| Forked { leg, side });
                context.effects.push(Effect::Media(Order::Fork { leg: leg.id, of }));
            }
        }
        if session.told == (changes, paused) || session.changing {
            return;
        }
        let (Some(leg), Some(attached)) = (session.sip, attached) else { return };
        let Some(sdp) = session.describe(false, paused) else { return };
        (session.told, session.changing) = ((changes, paused), true);
        let (branch, attached) = (session.legs[0].id, Box::new(attached));
        context.effects.push(Effect::TellRecorder { branch, leg, sdp, attached });
    }

    fn metadata(&self) -> Option<Attached> {
        let (ids, began) = self.siprec.named?;
        let scene =
            Scene { ids, call_id: &self.incoming.call_id, began, participants: &self.siprec.participants };
        Some(Attached {
            content_type: metadata::CONTENT_TYPE,
            disposition: metadata::DISPOSITION,
            content_id: "metadata@switchboard".into(),
            content: metadata::written(&scene).into(),
        })
    }

    /// Notes who has come and gone, who holds and is held.
    fn follow_participants(&mut self, context: &Context<'_>) {
        let now = context.environment.now.wall;
        let talks = |media: Option<&MediaLeg>| {
            let agreed = media.and_then(|media| media.parameters.as_ref());
            agreed.map_or((true, true), |agreed| (agreed.direction.receives(), agreed.direction.sends()))
        };
        let contact = (self.contact(context), talks(Some(&self.a.media)));
        let other = (self.other(context), talks(self.joined().map(|branch| &branch.media)));
        let siprec = &mut self.siprec;
        let is = |one: &Participant, (aor, name): &(String, String)| one.aor == *aor && one.name == *name;
        let there = siprec.participants.iter_mut().filter(|one| one.left.is_none());
        for gone in there.filter(|one| !is(one, &contact.0) && !is(one, &other.0)) {
            gone.left = Some(now);
            siprec.changes += 1;
        }
        for (place, (who, talks)) in [contact, other].into_iter().enumerate() {
            let known = siprec.participants.iter_mut().find(|one| one.left.is_none() && is(one, &who));
            if let Some(known) = known {
                if known.talks != talks {
                    known.talks = talks;
                    siprec.changes += 1;
                }
                continue;
            }
            if siprec.participants.len() >= PARTICIPANTS_MAX
                && let Some(oldest) = siprec.participants.iter().position(|one| one.left.is_some())
            {
                siprec.participants.remove(oldest);
            }
            let id = Id::of(self.incoming.lots.draw(), self.incoming.lots.draw());
            let new = Participant { id, aor: who.0, name: who.1, joined: now, left: None, talks };
            // The contact stands first.
            let place = if place == 0 { 0 } else { siprec.participants.len() };
            siprec.participants.insert(place, new);
            siprec.changes += 1;
        }
    }

    pub(super) fn joined(&self) -> Option<&Branch> {
        let joined = self.dialling.as_ref().filter(|dialling| dialling.joined.is_some());
        // Whom an agent asks back talks to the agent.
        let joined = joined.filter(|_| self.consult().is_none());
        joined.and_then(|dialling| dialling.branches.first())
    }

    /// Address and name of the contact.
    fn contact(&self, context: &Context<'_>) -> (String, String) {
        if let Some(station) = &self.a.station {
            return of_station(station, context);
        }
        match &self.incoming.admitted.origin {
            // The phone's call has turned round.
            Origin::Station(_) => (aor(&self.incoming.to, context), String::new()),
            Origin::Trunk(_) => (aor(&self.incoming.from, context), String::new()),
        }
    }

    /// Address and name of whom the contact talks to: the flow, if nobody else.
    fn other(&self, context: &Context<'_>) -> (String, String) {
        let Some(branch) = self.joined() else {
            return (aor(&self.incoming.to, context), self.cursor.flow().id.0.name().to_owned());
        };
        match &branch.now.party {
            Party::Station(station) => of_station(station, context),
            Party::Peer { .. } => (branch.now.aor().to_owned(), String::new()),
            Party::Joined(who) => (aor("", context), who.clone()),
        }
    }
}

fn of_station(station: &StationId, context: &Context<'_>) -> (String, String) {
    let dialler = Dialler::of(context.environment.world, station);
    let name = dialler.map(|dialler| dialler.agent.display_name.clone());
    let user = dialler.map(|dialler| dialler.username().to_owned());
    (aor(&user.unwrap_or_default(), context), name.unwrap_or_default())
}

/// Address of record of a number or a user of ours. Empty: nobody's to know (RFC 3323 §4.1.1.3).
fn aor(who: &str, context: &Context<'_>) -> String {
    if who.is_empty() {
        return "sip:anonymous@anonymous.invalid".to_owned();
    }
    if who.strip_prefix('+').is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_digit())) {
        return format!("tel:{who}");
    }
    let cluster = &context.environment.world.snapshot.cluster;
    let host = cluster.domains.first().map_or_else(
        || cluster.listeners.first().map_or("invalid", |listener| listener.advertised.as_str()),
        String::as_str,
    );
    format!("sip:{}@{host}", crate::location::user(who))
}
