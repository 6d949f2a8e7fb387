//! REFER in a dialog, both ways (RFC 3515, RFC 7647, RFC 4488, RFC 3892).

use std::time::{Duration, Instant};

use model::{LegId, net::Flow};

use super::{
    Ended, Endpoint, Event, Header, Misuse, Outcome,
    leg::{Leg, Phase},
    table::{Purpose, TxId},
};
use crate::{
    header::{MediaType, NameAddr, Params},
    lex::Lexer,
    typed,
    uri::unescape,
    wire::{Message, Name},
};

/// How long a REFER's subscription lasts that does not end before: a call's longest ringing, and some.
const SUBSCRIPTION: Duration = Duration::from_secs(300);

/// The REFERs of a leg, one in each direction at a time.
#[derive(Debug, Default)]
pub struct Transfer {
    /// The peer's, which the layer above has not decided on.
    asked: Option<Asked>,
    /// The peer's, which was accepted and wants to know how it goes on.
    notifier: Option<Notifier>,
    /// Ours.
    sent: Option<Sent>,
    /// How many the peer has sent. All but the first have an id (RFC 3515 §2.4.6).
    taken: u32,
}

#[derive(Debug)]
struct Asked {
    tx: TxId,
    request: Box<Message>,
}

#[derive(Debug)]
struct Notifier {
    /// The value of Event.
    event: String,
    ends_at: Instant,
    last: (u16, bool),
    /// Whether a NOTIFY is under way; the next one waits, so that none overtakes another.
    under_way: bool,
    waits: bool,
}

#[derive(Debug)]
struct Sent {
    /// Its number, which NOTIFYs may have as their id.
    cseq: u32,
    ends_at: Instant,
}

impl Transfer {
    pub fn poll_timeout(&self) -> Option<Instant> {
        let notifier = self.notifier.as_ref().map(|notifier| notifier.ends_at);
        let sent = self.sent.as_ref().map(|sent| sent.ends_at);
        notifier.into_iter().chain(sent).min()
    }

    /// The transaction of a REFER without answer.
    pub fn asked(&self) -> Option<TxId> {
        self.asked.as_ref().map(|asked| asked.tx)
    }
}

impl Leg {
    /// Whether the peer still wants to hear of its REFER.
    pub fn is_notifying(&self) -> bool {
        self.transfer.as_ref().is_some_and(|transfer| transfer.notifier.is_some())
    }

    fn transfer(&mut self) -> &mut Transfer {
        self.transfer.get_or_insert_default()
    }
}

impl Endpoint {
    /// Accepts the peer's REFER with 202. If it wants to know how it goes on, it is told that it is being tried; then
    /// `notify_refer` is due.
    ///
    /// # Errors
    /// When there is none to accept.
    pub fn accept_refer(&mut self, now: Instant, leg: LegId) -> Result<(), Misuse> {
        let Asked { tx, request } = self.take_refer(leg)?;
        if !wants_progress(&request) {
            let headers = [Header::new("Refer-Sub", "false")];
            self.respond_within(now, leg, tx, &request, 202, &headers);
            return Ok(());
        }
        self.respond_within(now, leg, tx, &request, 202, &[]);
        let known = self.live(leg)?.transfer();
        known.taken += 1;
        let event =
            if known.taken == 1 { "refer".to_owned() } else { format!("refer;id={}", request.cseq()) };
        known.notifier = Some(Notifier {
            event,
            ends_at: now + SUBSCRIPTION,
            last: (100, false),
            under_way: false,
            waits: true,
        });
        self.send_notify(now, leg);
        self.schedule_leg(leg);
        Ok(())
    }

    /// Refuses the peer's REFER with a code from 300 to 699.
    ///
    /// # Errors
    /// When there is none to refuse, or the code is another.
    pub fn reject_refer(
        &mut self,
        now: Instant,
        leg: LegId,
        code: u16,
        headers: &[Header],
    ) -> Result<(), Misuse> {
        if !(300..700).contains(&code) {
            return Err(Misuse::BadCode);
        }
        let Asked { tx, request } = self.take_refer(leg)?;
        self.respond_plain(now, leg, tx, &request, code, headers);
        Ok(())
    }

    /// Tells the peer how the call that it asked for goes on: the status code that came for it, and whether that is the
    /// end. It may have hung up in between. Of several that wait for the one before, only the last is sent.
    ///
    /// # Errors
    /// When nobody wants to know, or the code is not from 100 to 699.
    pub fn notify_refer(
        &mut self,
        now: Instant,
        leg: LegId,
        code: u16,
        terminated: bool,
    ) -> Result<(), Misuse> {
        if !(100..700).contains(&code) {
            return Err(Misuse::BadCode);
        }
        let known = self.legs.get_mut(&leg).ok_or(Misuse::NoSuchLeg)?;
        let notifier = known.transfer.as_mut().and_then(|transfer| transfer.notifier.as_mut());
        let notifier = notifier.filter(|notifier| !notifier.last.1).ok_or(Misuse::WrongState)?;
        notifier.last = (code, terminated);
        notifier.waits = true;
        self.send_notify(now, leg);
        Ok(())
    }

    /// Asks the peer to call somebody: the value of Refer-To, a name-addr. With `Refer-Sub: false` among the headers it
    /// may be that nothing is told but the end.
    ///
    /// # Errors
    /// When the leg is not established, another REFER of ours is under way, or the transaction table is full.
    pub fn refer(
        &mut self,
        now: Instant,
        leg: LegId,
        refer_to: &str,
        headers: &[Header],
    ) -> Result<(), Misuse> {
        let full = self.table_is_full();
        let known = self.live(leg)?;
        let free = known.transfer.as_ref().is_none_or(|transfer| transfer.sent.is_none());
        if !free || !matches!(known.phase, Phase::Established) {
            return Err(Misuse::WrongState);
        }
        if full {
            return Err(Misuse::TableFull);
        }
        let mut all = vec![Header::new("Refer-To", refer_to)];
        all.extend_from_slice(headers);
        let tx = self.send_within(now, leg, Purpose::Refer, "REFER", &all, ("", &[]));
        let request = tx.and_then(|tx| self.table.get(tx)?.machine.request().cloned());
        let cseq = request.and_then(|bytes| Message::parse(bytes).ok()).map_or(0, |request| request.cseq());
        self.live(leg)?.transfer().sent = Some(Sent { cseq, ends_at: now + SUBSCRIPTION });
        self.schedule_leg(leg);
        Ok(())
    }

    pub(super) fn on_refer(&mut self, flow: Flow, id: LegId, request: &Message) {
        let mut targets = request.headers(Name::ReferTo);
        let target = targets.next().and_then(NameAddr::parse).filter(|_| targets.next().is_none());
        let Some(target) = target else {
            return self.refuse(flow, request, 400, &[], "a REFER without exactly one Refer-To");
        };
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let free =
            leg.transfer.as_ref().is_none_or(|known| known.asked.is_none() && known.notifier.is_none());
        if !free || !matches!(leg.phase, Phase::Established) {
            return self.refuse_overlap(flow, request);
        }
        let tx = self.start_server(flow, request, Some(id));
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.transfer().asked = Some(Asked { tx, request: Box::new(request.clone()) });
        }
        let mut headers = target.uri.headers();
        let replaces = headers.find(|(name, _)| name.eq_ignore_ascii_case("Replaces"));
        let referred_by = request.header(Name::ReferredBy);
        self.tell(Event::Referred {
            leg: id,
            refer_to: target.uri.without_headers().to_owned(),
            replaces: replaces.map(|(_, value)| unescape(value).into_owned()),
            referred_by: referred_by.map(|value| String::from_utf8_lossy(value).into_owned()),
            wants_progress: wants_progress(request),
        });
    }

    /// A NOTIFY about our REFER; any other is 481 or, about something else, 489.
    pub(super) fn on_notify(&mut self, now: Instant, flow: Flow, id: LegId, request: &Message) {
        let Some((package, event_id)) = request.header(Name::Event).and_then(event) else {
            return self.refuse(flow, request, 400, &[], "a NOTIFY without an Event");
        };
        if !package.eq_ignore_ascii_case("refer") {
            return self.refuse(
                flow,
                request,
                489,
                &[Header::new("Allow-Events", "refer")],
                "an unknown event",
            );
        }
        let transfer = self.legs.get(&id).and_then(|leg| leg.transfer.as_ref());
        let sent = transfer.and_then(|transfer| transfer.sent.as_ref());
        if sent.is_none_or(|sent| event_id.is_some_and(|number| number != sent.cseq)) {
            return self.refuse(flow, request, 481, &[], "a NOTIFY that nobody asked for");
        }
        let tx = self.start_server(flow, request, Some(id));
        self.respond_within(now, id, tx, request, 200, &[]);
        let state = request.header(Name::SubscriptionState).unwrap_or(b"");
        let word = state.split(|byte| *byte == b';').next().unwrap_or(b"").trim_ascii();
        let is_final = word.eq_ignore_ascii_case(b"terminated");
        // A fragment that cannot be read says nothing, and so that nothing is decided yet.
        let code = status_in(request).unwrap_or(if is_final { 500 } else { 100 });
        if is_final {
            self.finish_refer(id, code);
        } else {
            self.tell(Event::ReferProgress { leg: id, code, is_final });
        }
    }

    pub(super) fn on_refer_final(&mut self, now: Instant, outcome: &Outcome, response: &Message) {
        let Some(id) = outcome.leg else { return };
        let declined = response.header_text(Name::ReferSub).is_some_and(is_false);
        match response.code() {
            ..300 if declined => self.finish_refer(id, response.code()),
            ..300 => {}
            code @ (408 | 481) => {
                self.finish_refer(id, code);
                self.lose_dialog(now, outcome, code);
            }
            code => self.finish_refer(id, code),
        }
    }

    /// Nothing more is heard of our REFER.
    pub(super) fn finish_refer(&mut self, id: LegId, code: u16) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let sent = leg.transfer.as_mut().and_then(|transfer| transfer.sent.take());
        if sent.is_some() && !leg.is_over {
            self.tell(Event::ReferProgress { leg: id, code, is_final: true });
        }
    }

    /// The answer to a NOTIFY of ours: the next may go, or the subscription is over (RFC 6665 §4.2.2).
    pub(super) fn on_notify_final(&mut self, now: Instant, outcome: &Outcome, code: u16) {
        let Some(id) = outcome.leg else { return };
        let Some(transfer) = self.legs.get_mut(&id).and_then(|leg| leg.transfer.as_mut()) else { return };
        let Some(notifier) = &mut transfer.notifier else { return };
        notifier.under_way = false;
        let over = code >= 300 || (notifier.last.1 && !notifier.waits);
        if !over {
            return self.send_notify(now, id);
        }
        transfer.notifier = None;
        self.forget_if_over(id);
    }

    /// What still waits is sent before a BYE of ours ends it all.
    pub(super) fn notify_what_waits(&mut self, now: Instant, id: LegId) {
        let transfer = self.legs.get_mut(&id).and_then(|leg| leg.transfer.as_mut());
        if let Some(notifier) = transfer.and_then(|transfer| transfer.notifier.as_mut()) {
            notifier.under_way = false;
            self.send_notify(now, id);
        }
    }

    pub(super) fn wake_transfer(&mut self, now: Instant, id: LegId) {
        let Some(transfer) = self.legs.get_mut(&id).and_then(|leg| leg.transfer.as_mut()) else { return };
        let unheard = transfer.sent.as_ref().is_some_and(|sent| sent.ends_at <= now);
        if let Some(notifier) = transfer.notifier.as_mut().filter(|notifier| notifier.ends_at <= now) {
            // Its NOTIFY takes 64·T1 at most; then nothing holds the leg.
            if notifier.last.1 {
                transfer.notifier = None;
                self.forget_if_over(id);
            } else {
                notifier.ends_at = now + self.config.timers.give_up();
                notifier.last.1 = true;
                notifier.waits = true;
                self.send_notify(now, id);
            }
        }
        if unheard {
            self.finish_refer(id, 408);
        }
    }

    fn send_notify(&mut self, now: Instant, id: LegId) {
        // It waits on, for the next code or for the end of the subscription.
        if self.table_is_full() {
            return;
        }
        let transfer = self.legs.get_mut(&id).and_then(|leg| leg.transfer.as_mut());
        let Some(notifier) = transfer.and_then(|transfer| transfer.notifier.as_mut()) else { return };
        if notifier.under_way || !notifier.waits {
            return;
        }
        (notifier.under_way, notifier.waits) = (true, false);
        let (code, terminated) = notifier.last;
        let left_s = notifier.ends_at.saturating_duration_since(now).as_secs();
        let state = match terminated {
            true => "terminated;reason=noresource".to_owned(),
            false => format!("active;expires={left_s}"),
        };
        let headers =
            [Header::new("Event", notifier.event.clone()), Header::new("Subscription-State", state)];
        let fragment = format!("SIP/2.0 {code} {}\r\n", typed::reason_phrase(code));
        let body = ("message/sipfrag;version=2.0", fragment.as_bytes());
        self.send_within(now, id, Purpose::Notify, "NOTIFY", &headers, body);
    }

    fn take_refer(&mut self, id: LegId) -> Result<Asked, Misuse> {
        let transfer = self.live(id)?.transfer.as_mut();
        transfer.and_then(|transfer| transfer.asked.take()).ok_or(Misuse::WrongState)
    }

    /// A REFER that nobody has decided on when the dialog ends.
    pub(super) fn answer_refer(&mut self, now: Instant, id: LegId) {
        let transfer = self.legs.get_mut(&id).and_then(|leg| leg.transfer.as_mut());
        if let Some(Asked { tx, request }) = transfer.and_then(|transfer| transfer.asked.take()) {
            self.respond_plain(now, id, tx, &request, 487, &[]);
        }
    }

    /// The peer's BYE came long ago; only the subscription kept the leg.
    fn forget_if_over(&mut self, id: LegId) {
        let Some(leg) = self.legs.get(&id).filter(|leg| leg.is_over) else { return };
        if matches!(leg.phase, Phase::Ending) && !leg.says_bye {
            self.end_leg(id, Ended::Bye { by_us: false, reason: None });
        }
    }
}

/// Whether a REFER wants a subscription (RFC 4488 §4).
fn wants_progress(request: &Message) -> bool {
    !request.header_text(Name::ReferSub).is_some_and(is_false)
}

fn is_false(value: &str) -> bool {
    value.split(';').next().is_some_and(|word| word.trim().eq_ignore_ascii_case("false"))
}

/// Package and id of an Event field.
fn event(value: &[u8]) -> Option<(&str, Option<u32>)> {
    let mut lexer = Lexer::new(value);
    lexer.space();
    let package = lexer.token()?;
    let params = Params::parse(&mut lexer)?;
    Some((package, params.get("id").and_then(|id| id.parse().ok())))
}

/// The status code of a message/sipfrag (RFC 3420).
fn status_in(request: &Message) -> Option<u16> {
    let kind = request.header(Name::ContentType).and_then(MediaType::parse)?;
    let line = request.body().split(|byte| *byte == b'\r' || *byte == b'\n').next()?;
    let mut words = line.split(|byte| *byte == b' ');
    let is_status = kind.is("message", "sipfrag")
        && words.next().is_some_and(|word| word.eq_ignore_ascii_case(b"SIP/2.0"));
    let code = words.next().and_then(crate::lex::text)?.parse().ok()?;
    (is_status && (100..700).contains(&code)).then_some(code)
}
