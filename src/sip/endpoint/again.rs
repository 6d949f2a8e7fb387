//! Requests that are sent anew: with credentials (RFC 3261 §8.1.3.5, §22.2), by UDP after all (§18.1.1).

use std::time::Instant;

use bytes::Bytes;
use model::{LegId, net::Flow};

use super::{
    ChallengeId, Endpoint, Event, Header, Misuse, Outcome, Sleeper, State, Wake,
    leg::Phase,
    table::{Entry, Machine, Purpose, TxId},
};
use crate::{
    transaction::{InviteClient, OtherClient},
    wire::{Message, Method, Name},
};

/// How often one request is sent with credentials (RFC 3261 §22.1 wants an end).
const ATTEMPTS_MAX: u8 = 2;
/// Most requests that wait for credentials at a time; a challenge beyond is final.
const CHALLENGED_MAX: usize = 1_024;

/// A request of ours that was challenged.
#[derive(Debug)]
pub struct Challenged {
    again: Again,
    response: Message,
    give_up_at: Instant,
}

/// All it takes to send a request anew.
#[derive(Debug)]
pub struct Again {
    pub request: Bytes,
    pub flow: Flow,
    pub fallback: Option<Flow>,
    pub udp: Option<Flow>,
    pub tcp: Option<Flow>,
    pub leg: Option<LegId>,
    pub purpose: Purpose,
    pub attempts: u8,
}

impl Again {
    pub fn of(entry: &Entry) -> Option<Self> {
        Some(Self {
            request: entry.machine.request()?.clone(),
            flow: entry.flow,
            fallback: entry.fallback,
            udp: entry.udp,
            tcp: entry.tcp,
            leg: entry.leg,
            purpose: entry.purpose,
            attempts: entry.attempts,
        })
    }
}

impl Endpoint {
    /// Sends a challenged request again with further header fields: the same one with a higher CSeq and another branch
    /// (RFC 3261 §8.1.3.5). Fields of the same names in it are left out. A second challenge is told, too, a third is
    /// final.
    ///
    /// # Errors
    /// When nothing waits for it any more, or the transaction table is full; it then waits on.
    pub fn retry_with(&mut self, now: Instant, id: ChallengeId, headers: &[Header]) -> Result<(), Misuse> {
        if self.table_is_full() {
            return Err(Misuse::TableFull);
        }
        let Challenged { again, .. } = self.challenged.remove(&id).ok_or(Misuse::NoSuchRequest)?;
        self.send_again(now, again, headers).map(|_| ()).ok_or(Misuse::NoSuchRequest)
    }

    /// Takes the challenge for the final response that it is.
    ///
    /// # Errors
    /// When nothing waits for it any more.
    pub fn give_up(&mut self, now: Instant, id: ChallengeId) -> Result<(), Misuse> {
        let Challenged { again, response, .. } = self.challenged.remove(&id).ok_or(Misuse::NoSuchRequest)?;
        let outcome = Outcome { passed: true, failed: None, leg: again.leg };
        self.on_passed(now, 0, again.purpose, &outcome, None, &response);
        Ok(())
    }

    /// Those that nobody has answered in time are final. Their deadlines have the order of their numbers.
    pub(super) fn forget_challenges(&mut self, now: Instant) {
        self.challenged_wakes = false;
        while let Some((id, _)) = self.challenged.first_key_value().filter(|(_, one)| one.give_up_at <= now) {
            let _answered = self.give_up(now, *id);
        }
        self.wake_for_challenges();
    }

    fn wake_for_challenges(&mut self) {
        if let Some((_, first)) = self.challenged.first_key_value().filter(|_| !self.challenged_wakes) {
            self.challenged_wakes = true;
            self.wakes.push((first.give_up_at, Sleeper::Challenged, Wake::Undecided));
        }
    }

    /// The challenge that a leg's first INVITE waits with.
    pub(super) fn challenge_of(&self, leg: LegId) -> Option<ChallengeId> {
        let mut waiting = self.challenged.iter();
        waiting
            .find(|(_, challenged)| {
                challenged.again.leg == Some(leg) && challenged.again.purpose == Purpose::Invite
            })
            .map(|(id, _)| *id)
    }

    /// Whether a 401 or 407 is told and its request kept.
    pub(super) fn is_challenge_taken(
        &mut self,
        now: Instant,
        again: Option<Again>,
        response: &Message,
    ) -> bool {
        let Some(mut again) = again.filter(|again| again.attempts < ATTEMPTS_MAX) else { return false };
        let wanted = match (again.purpose, again.leg) {
            (Purpose::Request(id), _) => self.own.get(&id).is_some_and(|own| own.challenges),
            (Purpose::Cancel | Purpose::Serve, _) | (_, None) => false,
            (Purpose::Invite, Some(leg)) => self.legs.get(&leg).is_some_and(|leg| {
                leg.challenges && matches!(leg.phase, Phase::Calling { cancel: super::leg::Cancel::No, .. })
            }),
            (_, Some(leg)) => self.legs.get(&leg).is_some_and(|leg| leg.challenges),
        };
        if !wanted || self.challenged.len() >= CHALLENGED_MAX {
            return false;
        }
        let Ok(request) = Message::parse(again.request.clone()) else { return false };
        again.attempts += 1;
        let id = ChallengeId(self.table.number());
        let give_up_at = now + self.config.timers.give_up();
        self.tell(Event::Challenged {
            id,
            leg: again.leg,
            method: request.method(),
            request_uri: request.uri_text().to_owned(),
            response: response.clone(),
        });
        self.challenged.insert(id, Challenged { again, response: response.clone(), give_up_at });
        self.wake_for_challenges();
        true
    }

    /// Sends a request anew with the next CSeq. `None`: its leg or the request is gone.
    pub(super) fn send_again(&mut self, now: Instant, again: Again, headers: &[Header]) -> Option<TxId> {
        let request = Message::parse(again.request.clone()).ok()?;
        let mut cseq = request.cseq() + 1;
        match (again.purpose, again.leg) {
            (Purpose::Request(id), _) => self.own.get_mut(&id)?.sequence.cseq = cseq,
            (Purpose::Invite, Some(leg)) => {
                let leg = self.legs.get(&leg)?;
                matches!(leg.phase, Phase::Calling { .. }).then_some(())?;
            }
            (_, Some(leg)) => cseq = self.legs.get_mut(&leg)?.dialog.as_mut()?.next_cseq(),
            (_, None) => return None,
        }
        Some(self.start_anew(now, &request, again, cseq, headers))
    }

    /// Goes on by UDP when the connection that a request needed for its size cannot be had (§18.1.1).
    pub(super) fn falls_back_to_udp(&mut self, now: Instant, id: TxId) -> bool {
        let Some(entry) = self.table.get(id) else { return false };
        let untouched = matches!(entry.machine.state(), State::Calling | State::Trying);
        let (Some(udp), Some(again)) = (entry.udp.filter(|_| untouched), Again::of(entry)) else {
            return false;
        };
        let Ok(request) = Message::parse(again.request.clone()) else { return false };
        self.table.remove(id);
        let again = Again { flow: udp, fallback: None, udp: None, tcp: None, ..again };
        self.start_anew(now, &request, again, request.cseq(), &[]);
        true
    }

    /// Starts a client transaction, by TCP if its request is too large for the UDP flow that it was made for.
    pub(super) fn start_by_size(&mut self, now: Instant, tx: TxId, mut entry: Entry, tcp: Option<Flow>) {
        entry.tcp = tcp.filter(|_| !entry.flow.transport.is_reliable());
        let large = entry.machine.request().is_some_and(|bytes| bytes.len() > self.config.mtu);
        let again = Again::of(&entry).filter(|again| large && again.tcp.is_some());
        let request = again.as_ref().and_then(|again| Message::parse(again.request.clone()).ok());
        match again.zip(request) {
            Some((again, request)) => {
                self.start_anew(now, &request, again, request.cseq(), &[]);
            }
            None => self.start(tx, entry),
        }
    }

    fn start_anew(
        &mut self,
        now: Instant,
        request: &Message,
        mut again: Again,
        cseq: u32,
        headers: &[Header],
    ) -> TxId {
        let more: usize = headers.iter().map(|header| header.name.len() + header.value.len() + 4).sum();
        if request.bytes().len() + more > self.config.mtu
            && let Some(tcp) = again.tcp.take()
        {
            again.udp = Some(std::mem::replace(&mut again.flow, tcp));
        }
        let Again { flow, fallback, udp, tcp, leg, purpose, attempts, .. } = again;
        let tx = self.table.number();
        let branch = self.new_branch(tx);
        let via = self.via(flow, &branch);
        let bytes = self.write_again(request, &via, cseq, headers);
        let (reliable, timers) = (flow.transport.is_reliable(), self.config.timers);
        let machine = if request.method() == Method::Invite {
            Machine::InviteClient(InviteClient::new(now, reliable, timers, bytes))
        } else {
            Machine::OtherClient(OtherClient::new(now, reliable, timers, bytes))
        };
        let mut entry = Entry::client(machine, flow, leg, purpose, &branch);
        (entry.fallback, entry.udp, entry.tcp, entry.attempts) = (fallback, udp, tcp, attempts);
        self.start(tx, entry);
        self.point_to(leg, purpose, tx);
        tx
    }

    /// Tells a leg the new number of a transaction that it keeps in mind.
    fn point_to(&mut self, leg: Option<LegId>, purpose: Purpose, new: TxId) {
        let Some(leg) = leg.and_then(|leg| self.legs.get_mut(&leg)) else { return };
        match (purpose, &mut leg.phase, &mut leg.reinvite) {
            (Purpose::Invite, Phase::Calling { tx, provisional, .. }, _) => {
                (*tx, *provisional) = (new, false)
            }
            (Purpose::Reinvite | Purpose::Update, _, Some(reinvite)) => reinvite.tx = new,
            _ => {}
        }
    }

    /// The same request with another Via and number. Given fields replace those of their names.
    fn write_again(&mut self, request: &Message, via: &str, cseq: u32, headers: &[Header]) -> Bytes {
        let replaced = |name: &str| {
            Name::lookup(name.as_bytes()) == Name::ContentLength
                || headers.iter().any(|header| header.name.eq_ignore_ascii_case(name))
        };
        let writer = &mut self.writer;
        writer.request(request.method_text(), request.uri_text()).header("Via", via);
        for (name, value) in request.fields() {
            let known = Name::lookup(name.as_bytes());
            if known == Name::CSeq {
                writer.header("CSeq", format!("{cseq} {}", request.method_text()));
            } else if known != Name::Via && !replaced(name) {
                writer.header(name, value);
            }
        }
        for header in headers {
            writer.header(&header.name, &header.value);
        }
        // Its Content-Type was copied.
        writer.finish("", request.body())
    }
}
