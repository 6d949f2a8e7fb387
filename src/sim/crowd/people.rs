//! What people do: contacts, agents at their telephones and at their desks, whoever is called, and services.

use std::time::Duration;

use acd::{Away, State};
use call::{
    call::Talk,
    engine::{AfterWork, AgentAct, AgentOrder, CallAct, Input, Response, ToAsk},
    lots::Lots,
};
use model::{
    AgentId, CallId, LegId, SessionId,
    media::{Event, MediaEvent},
};

use super::{
    centre,
    network::Bad,
    plan::{Act, Answer, Contact, Cue, Deed, Does, Fault, How, Ring, Who, Whom},
    run::{Crowd, Task},
};

/// How long somebody thinks who is asked for a key.
const THINKS: Duration = Duration::from_secs(1);

const fn ms(count: u32) -> Duration {
    Duration::from_millis(count as u64)
}

impl Crowd<'_> {
    pub(super) fn does(&mut self, task: Task) {
        let now = self.now.instant;
        match task {
            Task::Part(place) => self.part(place),
            Task::Deed(contact, call, deed) => self.deed(contact, call, deed),
            Task::Answers(leg, talks) => {
                self.people.answer(now, leg);
                if let Some(talks) = talks {
                    self.later(ms(talks), Task::HangsUp(leg));
                }
            }
            Task::Refuses(leg, code) => self.people.refuse(now, leg, code),
            Task::Declines(agent, call) => {
                self.watch.declines(agent, call);
                self.order_agent(agent, AgentAct::Decline(call));
            }
            Task::HangsUp(leg) => self.people.hang_up(now, leg),
            Task::Confirms(session, leg, name) => {
                self.watch.confirmed(&name);
                let event = Event::Dtmf { leg, digit: '1' };
                self.tell(Input::Media(MediaEvent { session, event }));
            }
            Task::Deliver(to_us, flow, bytes) => self.deliver(to_us, flow, bytes),
            Task::Serves(call, request, answer) => self.tell(Input::Answered { call, request, answer }),
            Task::Says(event) => self.tell(Input::Media(event)),
            Task::Restores(queue, agent) => {
                if let Some(queue) = queue {
                    self.changes.queues_gone[queue] = false;
                }
                if let Some(agent) = agent {
                    self.changes.agents_gone[agent] = false;
                }
                self.reconfigure();
                // Who comes new begins anew.
                if let Some(agent) = agent {
                    self.act(agent, Act::Ready);
                }
            }
            Task::Registers => self.registers(),
            Task::Returns(agent) => {
                if self.watch.has_missed(agent) {
                    self.act(agent, Act::Ready);
                }
            }
        }
    }

    pub(super) fn order_agent(&mut self, agent: usize, act: AgentAct) {
        let order = AgentOrder { agent: centre::agent_id(agent), act };
        self.tell(Input::Agent(Box::new(order)));
    }

    /// A contact calls.
    pub(super) fn calls(&mut self, contact: &Contact) {
        let from = centre::contact_number(contact.id).to_string();
        let to = centre::own_number(contact.number).to_string();
        let Some(leg) = self.people.call(self.now.instant, &from, &to) else { return };
        if let Some(line) = self.people.line_mut(leg) {
            line.refuses_reinvites = contact.refuses_reinvites;
        }
        self.by_leg.insert(leg, contact.id);
        self.callers.entry(contact.id).or_default().leg = Some(leg);
        self.cue(contact.id, None, Cue::Called);
    }

    /// What is done after a cue.
    fn cue(&mut self, contact: u32, call: Option<CallId>, cue: Cue) {
        let Some(found) = self.contacts.get(&contact).copied() else { return };
        for deed in found.deeds.iter().filter(|deed| deed.cue == cue) {
            self.later(ms(deed.after), Task::Deed(contact, call, *deed));
        }
    }

    pub(super) fn answered(&mut self, leg: LegId) {
        let Some(line) = self.people.line(leg) else { return };
        let call = self.watch.call_of(&line.call_id);
        if let Some(contact) = self.by_leg.get(&leg).copied() {
            self.cue(contact, call, Cue::Answered);
        }
    }

    /// An agent talks.
    pub(super) fn talks(&mut self, call: CallId, talk: &Talk) {
        let Some(agent) = self.is_agent(&talk.agent).filter(|_| !talk.rings) else { return };
        self.last[agent] = Some(call);
        if let Some(contact) = self.watch.contact_in(call)
            && self.talked.insert((contact, call))
        {
            self.cue(contact, Some(call), Cue::Talking);
        }
    }

    pub(super) fn becomes(&mut self, agent: &AgentId, state: &State) {
        let Some(agent) = self.is_agent(agent) else { return };
        match state {
            State::WrapUp(_) => {
                if let Some(call) = self.last[agent]
                    && let Some(contact) = self.watch.contact_in(call)
                {
                    self.cue(contact, Some(call), Cue::WrapUp);
                }
            }
            State::Away(Away::Unanswered) => {
                let seed = self.plan.seed ^ (agent as u64) << 32;
                let after = Lots::new(seed).between(5_000, 40_000);
                self.later(Duration::from_millis(after), Task::Returns(agent));
            }
            State::SignedOut
            | State::Unreachable
            | State::Away(Away::Chosen(_))
            | State::Available
            | State::Offered
            | State::Busy => {}
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a contact has a telephone and nothing else")]
    fn deed(&mut self, contact: u32, call: Option<CallId>, Deed { who, does, .. }: Deed) {
        let now = self.now.instant;
        let leg = self.callers.get(&contact).and_then(|caller| caller.leg);
        let own = leg.and_then(|leg| self.people.line(leg));
        let call = call.or_else(|| own.and_then(|line| self.watch.call_of(&line.call_id)));
        self.watch.tally.did(does);
        if who == Who::Contact {
            let Some(leg) = leg else { return };
            match does {
                Does::HangUp => self.people.hang_up(now, leg),
                Does::Tire if !call.is_some_and(|call| self.watch.is_talking(call)) => {
                    self.people.hang_up(now, leg);
                }
                Does::PhoneHold(holds) => self.people.hold(now, leg, holds),
                Does::Key(key) => {
                    if let Some(call) = call {
                        self.press(call, key);
                    }
                }
                _ => {}
            }
            return;
        }
        let Some(call) = call else { return };
        let Some(agent) = self.watch.agent_in(call) else { return };
        self.agent_does(agent, call, does);
    }

    fn press(&mut self, call: CallId, key: char) {
        let session = SessionId(call.0);
        let Some(leg) = self.media.contact(session) else { return };
        self.media.key(self.now.instant, leg, key);
        self.settle();
        self.tell(Input::Media(MediaEvent { session, event: Event::Dtmf { leg, digit: key } }));
    }

    /// The telephone at which an agent is in a call.
    fn telephone(&self, agent: usize, call: CallId) -> Option<LegId> {
        let mut lines = self.people.lines();
        let found = lines.find(|(_, line)| {
            let is_own = line.agent == Some(agent) || centre::public_agent(&line.to) == Some(agent);
            is_own && line.is_up && self.watch.call_of(&line.call_id) == Some(call)
        });
        found.map(|(leg, _)| leg)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what is left is done at the desk, below")]
    fn agent_does(&mut self, agent: usize, call: CallId, does: Does) {
        let now = self.now.instant;
        if let Does::PhoneRefer(Whom::Own(_)) | Does::Transfer(Whom::Own(_)) = does {
            self.watch.enters(call, now);
        }
        if let Some(leg) = self.telephone(agent, call) {
            match does {
                Does::HangUp => return self.people.hang_up(now, leg),
                Does::PhoneHold(holds) => return self.people.hold(now, leg, holds),
                Does::PhoneRefer(whom) => return self.people.refer(now, leg, &dialled(whom)),
                _ => {}
            }
        }
        let act = match does {
            Does::Hold => CallAct::Hold,
            Does::Retrieve => CallAct::Retrieve,
            Does::Mute(muted) => CallAct::Mute(muted),
            Does::Digits => CallAct::Digits("12#".into()),
            Does::DeskHangUp => CallAct::HangUp,
            Does::Transfer(whom) => CallAct::Transfer(dialled(whom)),
            Does::Consult(whom) => CallAct::Consult(dialled(whom)),
            Does::Complete => CallAct::Complete,
            Does::Conference => CallAct::Conference,
            Does::EndConsult => CallAct::EndConsult,
            Does::Finish => return self.order_agent(agent, AgentAct::Finish(call, AfterWork::default())),
            Does::Extend(seconds) => {
                let time = Duration::from_secs(seconds.into());
                self.watch.extended(agent, now + time);
                return self.order_agent(agent, AgentAct::Extend(call, time));
            }
            Does::Nonsense => {
                let other = (agent + 1) % self.last.len();
                self.order_agent(other, AgentAct::Call(call, CallAct::HangUp));
                self.watch.declines(agent, call);
                self.order_agent(agent, AgentAct::Decline(call));
                self.order_agent(agent, AgentAct::Finish(call, AfterWork::default()));
                return self.order_agent(agent, AgentAct::Call(CallId(call.0 + 1_000_000), CallAct::Hold));
            }
            Does::HangUp | Does::Tire | Does::Key(_) | Does::PhoneHold(_) | Does::PhoneRefer(_) => return,
        };
        self.order_agent(agent, AgentAct::Call(call, act));
    }

    /// What an agent does by himself.
    pub(super) fn act(&mut self, agent: usize, act: Act) {
        let now = self.now.instant;
        let is_public = self.plan.centre.agents[agent].is_public;
        let order = match act {
            Act::Ready => AgentAct::Ready,
            Act::Away => AgentAct::Away("Lunch".into()),
            Act::SignOut => AgentAct::SignOut,
            Act::SignIn => AgentAct::SignIn,
            Act::Dial(whom) => AgentAct::Dial(dialled(whom)),
            Act::PhoneDial(_) | Act::Unregister | Act::Register if is_public => return,
            Act::PhoneDial(whom) => {
                let _ = self.people.dial(now, agent, &dialled(whom));
                return;
            }
            Act::Unregister | Act::Register => {
                self.registered[agent] = act == Act::Register;
                return self.people.register(now, agent, act == Act::Register);
            }
        };
        self.watch.begin(self.now);
        self.watch.acts(agent, act);
        self.order_agent(agent, order);
        self.settle();
    }

    /// A telephone is rung.
    pub(super) fn rings(&mut self, leg: LegId) {
        let Some(line) = self.people.line(leg) else { return };
        let call = self.watch.call_of(&line.call_id);
        let (agent, called) = (line.agent, centre::contact_of(&line.to));
        let contact = call.and_then(|call| self.watch.contact_in(call));
        let ring = match contact.and_then(|contact| Some((contact, self.contacts.get(&contact)?))) {
            Some((id, contact)) => {
                let caller = self.callers.entry(id).or_default();
                caller.rung += 1;
                let place = (caller.rung - 1).min(contact.rings.len().saturating_sub(1));
                contact.rings.get(place).copied()
            }
            None => None,
        };
        let ring = ring.unwrap_or_else(|| self.unplanned(leg));
        if let Some(contact) = called {
            // It is called back.
            self.by_leg.insert(leg, contact);
            self.callers.entry(contact).or_default().leg = Some(leg);
        }
        let after = ms(ring.after);
        match (ring.how, agent, call) {
            (How::Answers, ..) => self.later(after, Task::Answers(leg, ring.talks)),
            (How::Refuses(code), ..) => self.later(after, Task::Refuses(leg, code)),
            (How::Declines, Some(agent), Some(call)) => self.later(after, Task::Declines(agent, call)),
            (How::Declines, ..) | (How::RingsOut, ..) => {}
        }
    }

    /// What becomes of telephones that ring for no contact: the caller's own, and whom an agent calls.
    fn unplanned(&self, leg: LegId) -> Ring {
        let mut lots = Lots::new(self.plan.seed ^ leg.0);
        let (how, talks) = match lots.below(10) {
            0 => (How::Refuses(486), None),
            1 => (How::RingsOut, None),
            _ => (How::Answers, Some(lots.between(2_000, 30_000) as u32)),
        };
        Ring { after: lots.between(300, 5_000) as u32, how, talks }
    }

    /// A telephone of the public network is asked for a key.
    pub(super) fn asked_for_key(&mut self, session: SessionId, leg: LegId) {
        let presses = Lots::new(self.plan.seed ^ leg.0).below(5) > 0;
        let asked = self.watch.asked_for_key(CallId(session.0)).filter(|_| presses);
        if let Some(name) = asked {
            self.later(THINKS, Task::Confirms(session, leg, name));
        }
    }

    /// A service is asked.
    pub(super) fn serve(&mut self, ToAsk { call, request, .. }: ToAsk) {
        let contact = self.watch.contact_in(call).and_then(|contact| self.contacts.get(&contact));
        let answer = contact.map_or(Answer::Never, |contact| contact.answer);
        let read = |status, body: &str| {
            Response::parse(status, body.as_bytes()).map_err(|unreadable| unreadable.to_string())
        };
        let (after, answer) = match answer {
            Answer::Json(after, vip) => {
                (after, read(200, if vip { "{\"vip\":true}" } else { "{\"vip\":false}" }))
            }
            Answer::Status(after, status) => (after, read(status, "{}")),
            Answer::Garbage(after) => (after, read(200, "<html>vip</html>")),
            Answer::Never => return,
        };
        self.later(ms(after), Task::Serves(call, request, answer));
    }

    /// Something breaks, or is changed.
    pub(super) fn fault(&mut self, fault: Fault) {
        let now = self.now.instant;
        self.watch.tally.broke(fault);
        match fault {
            Fault::MediaRefuses(length) => self.media_refuses = now + ms(length),
            Fault::MediaSilent(length) => self.media_silent = now + ms(length),
            Fault::MediaMoves => self.move_media(),
            Fault::PhoneVanishes(agent, length) => self.network.vanish(agent, now + ms(length)),
            Fault::Network { length, lost, doubled, late } => {
                self.network.spoil(Bad { until: now + ms(length), lost, doubled, late: ms(late) });
            }
            Fault::Stall(length) => {
                self.pass(ms(length));
                self.watch.stalls(self.now);
            }
            Fault::QueueGone(queue, length) => {
                self.changes.queues_gone[queue] = true;
                self.reconfigure();
                self.later(ms(length), Task::Restores(Some(queue), None));
            }
            Fault::AgentGone(agent, length) => {
                self.changes.agents_gone[agent] = true;
                self.reconfigure();
                self.later(ms(length), Task::Restores(None, Some(agent)));
            }
            Fault::SkillsChange(agent) => {
                let mut lots = Lots::new(self.plan.seed ^ agent as u64);
                self.watch.learn(agent, [(); super::plan::QUEUES].map(|()| lots.below(11) as u8));
                self.reconfigure();
            }
            Fault::FlowChanges(number) => {
                self.changes.flows[number] += 1;
                self.reconfigure();
            }
            Fault::Drain => {
                self.watch.drain();
                self.tell(Input::Drain);
            }
        }
    }
}

/// As it is dialled.
fn dialled(whom: Whom) -> String {
    match whom {
        Whom::Agent(agent) => centre::agent_name(agent),
        Whom::Outside(one) => centre::outside_number(one).to_string(),
        Whom::Own(number) => centre::own_number(number).to_string(),
        Whom::Nobody => "nobody".into(),
    }
}
