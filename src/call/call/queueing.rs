//! A contact that waits for an agent: what it hears, who is rung for it, and what the floor is told of both.
//!
//! The floor decides who is offered what ([`acd`]); the call rings the agent's telephones as any other's. The contact hears
//! the queue's music until one of them answers, and waits on at its place where none does.

use std::time::{Duration, Instant};

use acd::{Outcome, Refusal, Withdrawal, mutant};
use jiff::Timestamp;
use model::{
    AgentId, AudioId, QueueId,
    centre::WaitFigure,
    media::{Order, Tone},
    program::DialTarget,
    spoken,
};

use super::{AfterPlay, Call, Context, Effect, FloorOrder, StateA, Waiting};
use crate::{
    cursor::{Dialled, Queued, Speech},
    dial::{Party, Whom},
    engine::Offered,
    record::{VISITS_MAX, Visit},
};

/// The floor ends an offer; the call's own end of it is a net below.
const RING_SLACK: Duration = Duration::from_secs(2);

/// A wait for an agent, and the conversation that it leads to.
#[derive(Debug)]
pub(super) struct Queueing {
    queue: QueueId,
    priority: Option<u8>,
    wait_max: Option<Duration>,
    entered: Instant,
    entered_at: Timestamp,
    stage: Stage,
    music: Vec<AudioId>,
    /// When what is told next, by its place.
    announcement: Option<(Instant, usize)>,
    announcing: bool,
    /// What is still to be said of the present one.
    to_say: Vec<WaitFigure>,
    /// Who handed the contact on in vain, and is not offered it at once.
    sender: Option<AgentId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// The floor has not said whether there is room.
    Asks,
    Waits,
    /// An agent's telephones ring.
    Rings(AgentId),
    /// An agent has answered.
    With(AgentId),
    /// The agent has handed the contact on.
    HandedOn,
}

impl Queueing {
    /// When something is to be told.
    pub fn deadline(&self) -> Option<Instant> {
        let waits = matches!(self.stage, Stage::Waits | Stage::Rings(_)) && !self.announcing;
        self.announcement.filter(|_| waits).map(|(at, _)| at)
    }

    /// Whether that agent is rung for it by its queue.
    pub fn rings(&self, agent: &AgentId) -> bool {
        matches!(&self.stage, Stage::Rings(rung) if rung == agent)
    }

    /// Where it waits.
    pub const fn queue(&self) -> &QueueId {
        &self.queue
    }

    /// Whether an agent is being rung.
    pub const fn is_rung(&self) -> bool {
        matches!(self.stage, Stage::Rings(_))
    }

    /// The agent has left, and somebody else is in the conversation.
    pub fn hand_on(&mut self) {
        self.stage = Stage::HandedOn;
    }
}

impl Call {
    /// The queue that the contact waits in, or came from.
    pub(super) fn queue(&self) -> Option<&QueueId> {
        self.queueing.as_ref().map(|queueing| &queueing.queue)
    }

    /// Where the contact waits, who is rung for it, and how many steps it has passed. None: it does not wait.
    #[must_use]
    pub fn waits(&self) -> Option<(&QueueId, Option<&AgentId>, usize)> {
        let queueing = self.queueing.as_ref()?;
        let passed = self.earlier.len() + self.cursor.path().len();
        match &queueing.stage {
            Stage::Waits => Some((&queueing.queue, None, passed)),
            Stage::Rings(agent) => Some((&queueing.queue, Some(agent), passed)),
            Stage::Asks | Stage::With(_) | Stage::HandedOn => None,
        }
    }

    /// The agent whom the queue has brought the contact to.
    pub(super) fn agent_of_queue(&self) -> Option<&AgentId> {
        match &self.queueing.as_ref()?.stage {
            Stage::With(agent) => Some(agent),
            Stage::Asks | Stage::Waits | Stage::Rings(_) | Stage::HandedOn => None,
        }
    }

    /// A `queue` step, once the contact can hear.
    pub(super) fn queue_up(
        &mut self,
        queue: QueueId,
        (priority, wait_max): (Option<u8>, Option<Duration>),
        context: &mut Context<'_>,
    ) {
        let now = context.environment.now;
        let kept = self.promise.as_ref().filter(|promise| !promise.is_there);
        let kept = kept.map(|promise| (promise.promised.entered, promise.promised.entered_at));
        let (entered, entered_at) = kept.unwrap_or((now.instant, now.wall));
        self.queueing = Some(Box::new(Queueing {
            queue,
            priority,
            wait_max,
            entered,
            entered_at,
            stage: Stage::Asks,
            music: Vec::new(),
            announcement: None,
            announcing: false,
            to_say: Vec::new(),
            sender: None,
        }));
        self.ask_floor(context);
    }

    fn ask_floor(&mut self, context: &mut Context<'_>) {
        let Some(queueing) = &mut self.queueing else { return };
        queueing.stage = Stage::Asks;
        let (queue, priority) = (queueing.queue.clone(), queueing.priority);
        let (entered, wait_max) = (queueing.entered, queueing.wait_max);
        let sender = queueing.sender.clone();
        let calls_back = self.is_to_be_called();
        let order = FloorOrder::Enter { queue, priority, entered, wait_max, calls_back, sender };
        context.effects.push(Effect::Floor(Box::new(order)));
    }

    /// The floor says whether the contact may wait.
    pub fn entered(&mut self, entered: Result<(), Refusal>, context: &mut Context<'_>) {
        let environment = context.environment;
        let is_to_be_called = self.is_to_be_called();
        let Some(queueing) = &mut self.queueing else { return };
        let refused = match entered {
            Ok(()) => {
                queueing.stage = Stage::Waits;
                // Nobody is there to hear anything.
                if is_to_be_called {
                    return;
                }
                // What changes while it waits is for those who come later.
                if let Some(found) = environment.world.snapshot.centre.queues.get(&queueing.queue) {
                    queueing.music.clone_from(&found.music);
                }
                self.announce_next(0, context);
                return self.play_music(context);
            }
            Err(refused) => refused,
        };
        let actions = match refused {
            Refusal::Full => {
                self.leave_for("full", None, context);
                self.cursor.queued(Queued::Full, environment)
            }
            Refusal::NoAgents => {
                self.leave_for("noAgents", None, context);
                self.cursor.queued(Queued::NoAgents, environment)
            }
            Refusal::NoQueue | Refusal::Channel | Refusal::Twice => {
                self.leave_for("failed", None, context);
                self.cursor.failed(&refused.to_string(), environment)
            }
        };
        self.perform(actions, context);
    }

    fn play_music(&mut self, context: &mut Context<'_>) {
        let mut music = self.queueing.as_ref().map(|queueing| queueing.music.clone()).unwrap_or_default();
        // Who was called, and hears nothing, hangs up.
        if music.is_empty() && self.keeps_promise() {
            music.push(self.tone(Tone::Ringback, context));
        }
        self.play_on(music, AfterPlay::Queue, context);
    }

    /// Who was called back is there and hears why; the agent who is held ready, if one still is, is rung.
    pub(super) fn greet_and_ring(&mut self, context: &mut Context<'_>) {
        let queues = &context.environment.world.snapshot.centre.queues;
        let now = context.environment.now.instant;
        let Some(queueing) = &mut self.queueing else { return };
        let found = queues.get(&queueing.queue);
        queueing.music = found.map(|queue| queue.music.clone()).unwrap_or_default();
        let greeting = found.map(|queue| queue.callback_prompt.clone()).unwrap_or_default();
        let rings = Duration::from_secs(found.map_or(0, |queue| queue.ring_seconds).into());
        // After the last announcement comes the first one.
        let last = found.map_or(0, |queue| queue.announcements.len().saturating_sub(1));
        (queueing.announcement, queueing.announcing) = (Some((now, last)), true);
        let ready = match &queueing.stage {
            Stage::Rings(agent) => Some(agent.clone()),
            Stage::Asks | Stage::Waits | Stage::With(_) | Stage::HandedOn => None,
        };
        self.play(greeting, AfterPlay::Queue, context);
        if let Some(agent) = ready {
            self.ring_held(agent, rings, context);
        }
    }

    fn announce_next(&mut self, place: usize, context: &mut Context<'_>) {
        let now = context.environment.now.instant;
        let Some(queueing) = &mut self.queueing else { return };
        let queues = &context.environment.world.snapshot.centre.queues;
        let announcements = queues.get(&queueing.queue).map_or(&[][..], |queue| &queue.announcements);
        let place = if place < announcements.len() { place } else { 0 };
        queueing.announcement = announcements
            .get(place)
            .map(|next| (now + Duration::from_secs(next.after_seconds.into()), place));
    }

    /// It is time to tell something.
    pub(super) fn queue_timeout(&mut self, now: Instant, context: &mut Context<'_>) {
        let Some(queueing) = &mut self.queueing else { return };
        let due = queueing.deadline().is_some_and(|at| at <= now);
        let Some((_, place)) = queueing.announcement.filter(|_| due) else { return };
        let queues = &context.environment.world.snapshot.centre.queues;
        let found = queues.get(&queueing.queue).and_then(|queue| queue.announcements.get(place));
        let Some(found) = found else { return self.announce_next(place + 1, context) };
        queueing.announcing = true;
        queueing.to_say.clone_from(&found.say);
        let audio = found.audio.clone();
        self.stop_queue_sound(context);
        self.play(audio, AfterPlay::Queue, context);
    }

    /// Whether something is told at present, which is no reason to fail.
    pub(super) fn is_announcing(&self) -> bool {
        self.queueing.as_ref().is_some_and(|queueing| queueing.announcing)
    }

    /// The floor says how many go before the contact, and how long it will wait, if that is known.
    pub fn placed(&mut self, ahead: Option<usize>, wait: Option<Duration>, context: &mut Context<'_>) {
        let Some(queueing) = self.queueing.as_mut().filter(|queueing| queueing.announcing) else { return };
        let usual = context.environment.world.snapshot.centre.queues.get(&queueing.queue);
        let usual = usual.map(|queue| queue.language.as_str()).filter(|language| !language.is_empty());
        let language = self.cursor.language().or(usual).unwrap_or("en-US").to_owned();
        let sentence = |figure| match figure {
            WaitFigure::Position => {
                ahead.map(|ahead| spoken::position(u32::try_from(ahead + 1).unwrap_or(u32::MAX), &language))
            }
            WaitFigure::Wait => wait.map(|wait| spoken::wait(wait, &language)),
        };
        let said: Vec<String> =
            std::mem::take(&mut queueing.to_say).into_iter().filter_map(sentence).collect();
        match said.is_empty() {
            true => self.queue_played(context),
            false => self.say(Speech { text: said.join(" "), language }, AfterPlay::Queue, context),
        }
    }

    /// What was played while the contact waits has ended: an announcement, or the first half of one, for music never does.
    pub(super) fn queue_played(&mut self, context: &mut Context<'_>) {
        let Some(queueing) = &mut self.queueing else { return };
        if queueing.announcing && !queueing.to_say.is_empty() {
            let order = FloorOrder::Place(queueing.queue.clone());
            return context.effects.push(Effect::Floor(Box::new(order)));
        }
        if !std::mem::take(&mut queueing.announcing) {
            return;
        }
        let place = queueing.announcement.map_or(0, |(_, place)| place);
        self.announce_next(place + 1, context);
        self.play_music(context);
    }

    fn stop_queue_sound(&mut self, context: &mut Context<'_>) {
        if self.playing.take_if(|(_, then)| *then == AfterPlay::Queue).is_some() {
            context.effects.push(Effect::Media(Order::StopPlay { leg: self.a.media.id }));
        }
    }

    /// The floor offers the contact to an agent.
    pub fn offered(&mut self, agent: AgentId, until: Instant, context: &mut Context<'_>) {
        if self.begin_offer(&agent).is_none() {
            return context.effects.push(Effect::Floor(Box::new(FloorOrder::Decline(agent))));
        }
        if !self.holds_ready(&agent, context) {
            let rings = until.saturating_duration_since(context.environment.now.instant);
            self.ring_agent(agent, rings, context);
        }
    }

    /// It is offered to an agent from now on. None: it does not wait.
    pub(super) fn begin_offer(&mut self, agent: &AgentId) -> Option<()> {
        let free = (self.dialling.is_none() || self.dials_contact_first()) && self.ending.is_none();
        let waits = self.queueing.as_mut().filter(|queueing| free && queueing.stage == Stage::Waits);
        waits.map(|queueing| queueing.stage = Stage::Rings(agent.clone()))
    }

    /// An agent who was held ready takes the contact: the offer ends anew, and a telephone that is up is told, or others ring.
    pub(super) fn ring_held(&mut self, agent: AgentId, rings: Duration, context: &mut Context<'_>) {
        let order = FloorOrder::Prolong(agent.clone(), rings);
        context.effects.push(Effect::Floor(Box::new(order)));
        if context.trunks.is_up(&agent) {
            context.effects.push(Effect::Announce { agent, rings });
        } else {
            self.ring_agent(agent, rings, context);
        }
    }

    /// Rings the agent who is offered the contact.
    pub fn ring_agent(&mut self, agent: AgentId, rings: Duration, context: &mut Context<'_>) {
        let ring_ms = u32::try_from((rings + RING_SLACK).as_millis()).unwrap_or(u32::MAX);
        let dial = super::handover::rings_for(ring_ms);
        self.dial_whom(dial, vec![Whom::Target(DialTarget::Agent(agent))], context);
    }

    /// What an agent who is offered it shall know.
    #[must_use]
    pub fn card(&self, now: Instant, (agent, queue, until): (AgentId, QueueId, Instant)) -> Offered {
        let entered = self.queueing.as_ref().map_or(now, |queueing| queueing.entered);
        Offered {
            call: self.id,
            call_id: self.incoming.call_id.clone(),
            agent,
            queue,
            number: self.cursor.facts().contact_number.clone(),
            is_callback: self.promise.is_some() && !self.is_preview(),
            preview: self.promise.as_ref().and_then(|promise| promise.promised.card.clone()),
            dialled: self.cursor.facts().call_number.clone(),
            path: self.earlier.iter().map(|(step, _)| step).chain(self.cursor.path()).cloned().collect(),
            waited: now.saturating_duration_since(entered),
            until,
        }
    }

    /// The same of where it waits.
    #[must_use]
    pub fn card_of_queue(&self, now: Instant, agent: AgentId, until: Instant) -> Option<Offered> {
        let queue = self.queue()?.clone();
        Some(self.card(now, (agent, queue, until)))
    }

    /// The floor takes an offer back.
    pub fn withdrawn(&mut self, agent: &AgentId, reason: Withdrawal, context: &mut Context<'_>) {
        let Some(queueing) = self.queueing.as_mut().filter(|queueing| queueing.rings(agent)) else { return };
        queueing.stage = Stage::Waits;
        self.stop_ringing(context);
        let what = match reason {
            Withdrawal::Unanswered => format!("Agent {agent} did not answer, and is away now"),
            Withdrawal::AgentGone => format!("Agent {agent} signed out, or can be reached no more"),
            Withdrawal::ContactLeft => return,
        };
        self.tell(what, context);
    }

    /// The agent has said elsewhere than at the telephone that the contact is not wanted.
    pub fn declined(&mut self, agent: &AgentId, context: &mut Context<'_>) {
        if let Some(queueing) = self.queueing.as_mut().filter(|queueing| queueing.rings(agent)) {
            queueing.stage = Stage::Waits;
            self.stop_ringing(context);
        }
    }

    fn stop_ringing(&mut self, context: &mut Context<'_>) {
        // Whoever is called rings on: another agent may be free by then.
        if self.dials_contact_first() {
            return;
        }
        self.drop_branches(|_| true, None, context);
        self.dialling = None;
        if matches!(self.waiting, Some(Waiting::Join | Waiting::JoinEarly)) {
            self.waiting = None;
        }
    }

    /// The floor says that the wait is over.
    pub fn wait_over(&mut self, outcome: Outcome, context: &mut Context<'_>) {
        let waits = |queueing: &Queueing| matches!(queueing.stage, Stage::Waits | Stage::Rings(_));
        if self.ending.is_some() || !self.queueing.as_deref().is_some_and(waits) {
            return;
        }
        self.stop_ringing(context);
        self.stop_queue_sound(context);
        if self.keeps_promise() {
            return self.promise_waited_in_vain(outcome, context);
        }
        let environment = context.environment;
        let actions = match outcome {
            Outcome::TimedOut => {
                self.leave_for("timedOut", None, context);
                self.cursor.queued(Queued::TimedOut, environment)
            }
            Outcome::NoAgents => {
                self.leave_for("noAgents", None, context);
                self.cursor.queued(Queued::NoAgents, environment)
            }
            Outcome::QueueGone => {
                self.leave_for("failed", None, context);
                self.cursor.failed("the queue was deleted while the contact waited", environment)
            }
        };
        self.perform(actions, context);
    }

    /// Whoever was rung has answered.
    pub(super) fn agent_answered(&mut self, context: &mut Context<'_>) {
        let Some(queueing) = &mut self.queueing else { return };
        let Stage::Rings(agent) = queueing.stage.clone() else { return };
        queueing.stage = Stage::With(agent.clone());
        (queueing.announcement, queueing.announcing) = (None, false);
        queueing.to_say.clear();
        self.held.push(agent.clone());
        context.effects.push(Effect::Floor(Box::new(FloorOrder::Accept(agent.clone()))));
        self.note_visit("answered", Some(agent), context);
    }

    /// The telephones of the agent who was rung, or the agent who talked, are gone.
    pub(super) fn agent_gone(&mut self, outcome: Dialled, context: &mut Context<'_>) {
        let Some(queueing) = &mut self.queueing else { return };
        match queueing.stage.clone() {
            Stage::Rings(agent) => {
                queueing.stage = Stage::Waits;
                let order = match outcome {
                    Dialled::Busy => FloorOrder::Decline(agent),
                    Dialled::Ended | Dialled::NoAnswer | Dialled::Failed => FloorOrder::Miss(agent),
                };
                context.effects.push(Effect::Floor(Box::new(order)));
            }
            Stage::With(_) | Stage::HandedOn if outcome == Dialled::Ended => {
                self.queueing = None;
                let actions = self.cursor.queued(Queued::Ended, context.environment);
                self.perform(actions, context);
            }
            // Nobody whom the agent named took the contact, and the agent did not come back: it waits as if it had never
            // been answered.
            Stage::With(agent) => {
                queueing.sender = Some(agent).filter(|_| !mutant!(SenderForgotten));
                self.ask_floor(context);
            }
            Stage::HandedOn => self.ask_floor(context),
            Stage::Asks | Stage::Waits => {}
        }
    }

    /// The call ends.
    pub(super) fn leave_queue(&mut self, abandoned: bool, context: &mut Context<'_>) {
        let Some(queueing) = &self.queueing else { return };
        if matches!(queueing.stage, Stage::Asks | Stage::Waits | Stage::Rings(_)) {
            let order = FloorOrder::Leave { queue: queueing.queue.clone(), abandoned };
            if !mutant!(LostAbandon) {
                context.effects.push(Effect::Floor(Box::new(order)));
            }
            if !mutant!(VisitForgotten) {
                self.note_visit(if abandoned { "abandoned" } else { "ended" }, None, context);
            }
        }
        self.queueing = None;
    }

    pub(super) fn leave_for(
        &mut self,
        outcome: &'static str,
        agent: Option<AgentId>,
        context: &mut Context<'_>,
    ) {
        self.note_visit(outcome, agent, context);
        self.queueing = None;
    }

    fn note_visit(&mut self, outcome: &'static str, agent: Option<AgentId>, context: &mut Context<'_>) {
        let Some(queueing) = self.queueing.as_ref().filter(|_| self.visits.len() < VISITS_MAX) else {
            return;
        };
        let since = if mutant!(WrongWait) { context.environment.now.instant } else { queueing.entered };
        let waited = context.environment.now.instant.saturating_duration_since(since);
        self.left = Some((queueing.queue.clone(), queueing.entered, queueing.entered_at));
        self.visits.push(Visit {
            queue: queueing.queue.clone(),
            entered_at: queueing.entered_at,
            waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
            agent,
            outcome,
        });
    }

    /// Tells the floor who talks in this call, and who no more: whatever brought or took them.
    pub(super) fn attend_agents(&mut self, context: &mut Context<'_>) {
        let present = self.agents_present();
        if present == self.held {
            return;
        }
        let mut order = |order| context.effects.push(Effect::Floor(Box::new(order)));
        for agent in self.held.iter().filter(|agent| !present.contains(agent) && !mutant!(ForgottenRelease)) {
            order(FloorOrder::Release(agent.clone()));
        }
        for agent in present.iter().filter(|agent| !self.held.contains(agent) && !mutant!(ForgottenTake)) {
            order(FloorOrder::Take(agent.clone()));
        }
        self.held = present;
    }

    /// Whether an agent talks in it, on whatever telephone, or is rung to begin it.
    #[must_use]
    pub fn has_agent(&self, agent: &AgentId) -> bool {
        self.held.contains(agent)
    }

    fn agents_present(&self) -> Vec<AgentId> {
        let mut present = Vec::new();
        if self.ending.is_some() || self.standing.is_some() {
            return present;
        }
        let mut add = |agent: &AgentId| {
            if !present.contains(agent) {
                present.push(agent.clone());
            }
        };
        if let Some(station) = self.a.station.as_ref().filter(|_| self.a.state != StateA::Over) {
            add(&station.agent);
        }
        if let Some(agent) = self.handover.as_ref().and_then(|handover| handover.agent_there()) {
            add(agent);
        }
        let branches = self.dialling.iter().flat_map(|dialling| &dialling.branches);
        let mut answered = false;
        for branch in branches.filter(|branch| branch.is_there()) {
            answered = true;
            match &branch.now.party {
                Party::Station(station) => add(&station.agent),
                Party::Peer { .. } | Party::Joined(_) => branch.now.agent.iter().for_each(&mut add),
            }
        }
        // A telephone of the public network does not say whose it is.
        if let Some(Stage::With(agent)) = self.queueing.as_ref().map(|queueing| &queueing.stage)
            && answered
            && self.handover.is_none()
        {
            add(agent);
        }
        self.supervisor().into_iter().for_each(add);
        present
    }
}
