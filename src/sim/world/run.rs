//! A test under way: the engine, everybody around it, and one clock for all.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use call::{
    Now,
    engine::{AgentAct, AgentOrder, Config, Engine, Input, Output, Response, Shard, ToAsk},
    explanation::Outcome,
};
use jiff::SignedDuration;
use model::{
    CallId, FlowId, LegId, SessionId,
    calltest::{Act, Behaviour, CallOutcome, CallTest, Does},
    media::{Event, Heard, ListenId, MediaEvent},
    net::Flow,
};
use sip::digest::Nonces;

use super::{
    Stage,
    media::{self, Media},
    people::{News, People, Rung},
    plain,
    story::Story,
};

/// From one key to the next.
const KEYS: Duration = Duration::from_millis(200);

/// From one contact that has come before to the next.
const OTHERS: Duration = Duration::from_millis(100);

/// How often telephones register; a registration lasts an hour.
const REGISTERS: Duration = Duration::from_secs(1_800);

/// When another comes for one who has left a queue.
const ANOTHER: Duration = Duration::from_secs(5);

/// How long a person thinks who is asked for a key.
const THINKS: Duration = Duration::from_secs(1);

/// How sure it is what the contact of a test says, in percent.
const CONFIDENCE: u8 = 95;

/// Seed of all that is drawn.
const SEED: u64 = 7;

/// Most times that the clock of a test is moved, and how far in all.
pub const MOVES_MAX: usize = 200_000;
pub const TIME_MAX: Duration = Duration::from_secs(48 * 3_600);

/// Something that somebody does later.
#[derive(Debug)]
enum Deed {
    Answer(Rung),
    Refuse(LegId, u16),
    /// Somebody hangs up; whether that is the tested call's.
    HangUp(LegId, bool),
    /// A callee presses the key that it is asked for.
    Confirm(SessionId, LegId),
    /// Another comes to a queue of the test.
    Come(usize),
    /// Telephones register again.
    Register,
    /// The contact presses a key.
    Press(char),
    /// The contact has said something.
    Said(ListenId, String),
    Serve {
        call: CallId,
        request: u64,
        answer: Result<Response, String>,
    },
}

/// Why a test has come to no end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stuck {
    pub field: String,
    pub message: String,
}

pub(super) struct Run<'a> {
    stage: &'a Stage,
    test: &'a CallTest,
    now: Now,
    begun: Instant,
    engine: Engine,
    people: People,
    media: Media,
    agenda: BTreeMap<(Instant, u64), Deed>,
    deeds: u64,
    moves: usize,
    /// Contacts that have come before, and the field that says so; what became of those that are gone.
    others: BTreeMap<LegId, usize>,
    gone: Vec<(usize, Option<u16>)>,
    leg: Option<LegId>,
    session: Option<SessionId>,
    /// Call-IDs of the legs that were dialled for it.
    dialled: BTreeSet<String>,
    /// Answered telephones that are asked for a key.
    confirming: VecDeque<Rung>,
    /// The act that is next, and not before when.
    pub act: usize,
    act_at: Instant,
    has_waited: bool,
    /// How many sounds the acts before have listened to.
    ears: usize,
    pub story: Story,
}

impl<'a> Run<'a> {
    /// A world in which everybody is there whom the test names, a moment before the call.
    pub fn new(stage: &'a Stage, test: &'a CallTest, begins: Instant) -> Self {
        let config = Config {
            token: "sim".into(),
            shard: Shard::ALONE,
            together: None,
            first_call: 1,
            seed: SEED,
            legs_max: 8_000,
            transactions_max: 20_000,
            nonces: Nonces::new(&[7; 32]),
        };
        let mut engine = Engine::of(config, stage.plain.world.clone());
        if let Some(lot) = test.lot {
            engine.set_percent(lot);
        }
        Self {
            stage,
            test,
            now: Now { instant: begins, wall: test.at },
            begun: begins,
            engine,
            people: People::new(&stage.plain, test),
            media: Media::new(stage.lengths.clone(), test.stores),
            agenda: BTreeMap::new(),
            deeds: 0,
            moves: 0,
            others: BTreeMap::new(),
            gone: Vec::new(),
            leg: None,
            session: None,
            dialled: BTreeSet::new(),
            confirming: VecDeque::new(),
            act: 0,
            act_at: begins,
            has_waited: false,
            ears: 0,
            story: Story::default(),
        }
    }

    /// Runs it to its end.
    pub fn run(&mut self) -> Result<(), Stuck> {
        self.prepare()?;
        self.call()?;
        while !self.is_over() {
            self.advance(None)?;
            self.act();
        }
        Ok(())
    }

    /// Whether the call's flow, or one that it calls, has a step; without a flow nothing is known.
    pub fn has_step(&self, step: &str) -> bool {
        let Some(flow) = &self.story.flow else { return true };
        let (id, name) = match step.split_once('/') {
            Some((callee, name)) => (FlowId::new(flow.0.namespace(), callee), name),
            None => (flow.clone(), step),
        };
        let program = self.stage.plain.world.flow(&id);
        program.is_some_and(|flow| flow.program.steps.iter().any(|known| known.name == name))
    }

    /// How long the call took, or has taken so far.
    pub fn length(&self) -> Duration {
        self.story.over_at.unwrap_or(self.now.instant).saturating_duration_since(self.begun)
    }

    /// How long after the INVITE something was.
    pub fn since_begun(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.begun)
    }

    /// Agents sign in, and others come to queues.
    fn prepare(&mut self) -> Result<(), Stuck> {
        self.tell(Input::Timeout);
        self.does(Deed::Register);
        self.settle();
        for (agent, _) in &self.test.agents {
            let order = AgentOrder { agent: agent.clone(), act: AgentAct::SignIn };
            self.tell(Input::Agent(Box::new(order)));
            self.settle();
        }
        for (place, (queue, count)) in self.test.queues.iter().enumerate() {
            for _ in 0..(*count).min(plain::OTHERS_MAX) {
                if !self.another_comes(place) {
                    let message = format!(
                        "nobody can come to Queue {queue}: the VoiceCluster has no such queue, or no listener for trunks"
                    );
                    return Err(Stuck { field: format!("spec.queues[{place}]"), message });
                }
                self.settle();
                let until = self.now.instant + OTHERS;
                while self.now.instant < until {
                    self.advance(Some(until))?;
                }
            }
        }
        if let Some((place, code)) = self.gone.first() {
            let lost = self.gone.iter().filter(|(other, _)| other == place).count();
            let (queue, count) = &self.test.queues[*place];
            let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
            let message = format!(
                "{lost} of {count} contacts could not wait in Queue {queue}{code}: it takes nobody while no agent is there who serves it, and no more than its limits.contacts"
            );
            return Err(Stuck { field: format!("spec.queues[{place}].waiting"), message });
        }
        Ok(())
    }

    /// Another contact calls for a queue of the test.
    fn another_comes(&mut self, place: usize) -> bool {
        let (trunk, numbers) = &self.stage.plain.others;
        let number = self.test.queues.get(place).and_then(|(queue, _)| numbers.get(queue));
        let (Some(way), Some(number)) = (self.stage.plain.way_in(trunk), number) else { return false };
        let leg = self.people.call(self.now.instant, way, (None, *number));
        self.others.extend(leg.map(|leg| (leg, place)));
        leg.is_some()
    }

    /// The call comes.
    fn call(&mut self) -> Result<(), Stuck> {
        let plain = &self.stage.plain;
        let snapshot = &plain.world.snapshot;
        let live = || plain.trunks.iter().find(|trunk| snapshot.number(trunk, self.test.to).is_some());
        let Some(trunk) = self.test.trunk.as_ref().or_else(live) else {
            let message = format!("{} is live on no trunk of the VoiceCluster", self.test.to);
            return Err(Stuck { field: "spec.call.to".into(), message });
        };
        let Some(way) = plain.way_in(trunk) else {
            let message =
                format!("Trunk {trunk} is none of the VoiceCluster's, or no listener hears its network");
            return Err(Stuck { field: "spec.call.trunkRef".into(), message });
        };
        (self.begun, self.act_at) = (self.now.instant, self.now.instant);
        // Those before came before that time.
        self.now.wall = self.test.at;
        self.leg = self.people.call(self.now.instant, way, (self.test.from, self.test.to));
        if let Some(leg) = self.leg {
            self.story.call_id = self.people.call_id(leg);
        }
        self.settle();
        self.act();
        Ok(())
    }

    /// Whether nothing more is to be waited for.
    fn is_over(&self) -> bool {
        let story = &self.story;
        if story.record.is_some()
            || (story.call.is_none() && (story.over_at.is_some() || story.because.is_some()))
        {
            return true;
        }
        let is_done = self.act >= self.test.script.len() && self.now.instant >= self.act_at;
        let is_left = self
            .agenda
            .values()
            .any(|deed| matches!(deed, Deed::HangUp(_, true) | Deed::Press(_) | Deed::Said(..)));
        if !is_done || is_left || story.over_at.is_some() {
            return false;
        }
        let waits =
            self.test.expect.outcome == CallOutcome::Queued && story.is_queued && story.offered.is_empty();
        story.is_talking || waits
    }

    fn later(&mut self, after: Duration, deed: Deed) {
        self.deeds += 1;
        self.agenda.insert((self.now.instant + after, self.deeds), deed);
    }

    /// Goes to the next time at which something happens, or to `until`, and lets it happen.
    fn advance(&mut self, until: Option<Instant>) -> Result<(), Stuck> {
        self.moves += 1;
        let stuck = |message: String| Err(Stuck { field: "spec".into(), message });
        if self.moves > MOVES_MAX {
            return stuck(format!(
                "the test does not end: more than {MOVES_MAX} things have happened; the path was {}",
                self.story.told_path()
            ));
        }
        if self.now.instant.saturating_duration_since(self.begun) > TIME_MAX {
            let hours = TIME_MAX.as_secs() / 3_600;
            return stuck(format!(
                "the test does not end: {hours} hours are over; the path was {}",
                self.story.told_path()
            ));
        }
        let act_at = Some(self.act_at).filter(|at| *at > self.now.instant);
        let timers = self.timers();
        let due = [
            timers[0],
            timers[1],
            timers[2],
            self.agenda.first_key_value().map(|((at, _), _)| *at),
            act_at,
            until,
        ];
        let Some(next) = due.into_iter().flatten().min() else {
            return stuck(format!("nothing more happens; the path was {}", self.story.told_path()));
        };
        self.go_to(next);
        let now = self.now.instant;
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let mut timers = Some(timers);
        while let Some(entry) = self.agenda.first_entry()
            && entry.key().0 <= self.now.instant
        {
            let deed = entry.remove();
            self.does(deed);
            self.settle();
            timers = None;
        }
        if is_due(timers.map_or_else(|| self.media.poll_timeout(), |[.., media]| media)) {
            self.media.timeout(now);
            self.settle();
            timers = None;
        }
        // What has happened meanwhile may be due at once.
        let [engine, people, _] = timers.unwrap_or_else(|| self.timers()).map(is_due);
        if engine {
            self.tell(Input::Timeout);
        }
        if people {
            self.people.timeout(now);
        }
        if engine || people {
            self.settle();
        }
        Ok(())
    }

    /// When the engine, the people and the media server want to be woken.
    fn timers(&self) -> [Option<Instant>; 3] {
        [self.engine.poll_timeout(), self.people.poll_timeout(), self.media.poll_timeout()]
    }

    fn go_to(&mut self, at: Instant) {
        let step = at.saturating_duration_since(self.now.instant);
        self.now.instant += step;
        let step = SignedDuration::try_from(step).unwrap_or(SignedDuration::MAX);
        self.now.wall = self.now.wall.checked_add(step).unwrap_or(self.now.wall);
    }

    /// Tells the engine something, and looks at what it does to the call.
    fn tell(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        self.sample();
    }

    fn sample(&mut self) {
        if let Some(call) = self.story.call
            && let Some(cursor) = self.engine.cursor(call)
        {
            self.story.sample(self.now.instant, cursor, !self.test.expect.variables.is_empty());
        }
    }

    /// Lets everything happen that happens at this very time.
    fn settle(&mut self) {
        loop {
            let mut is_quiet = true;
            while let Some(output) = self.engine.poll() {
                is_quiet = false;
                self.carry_out(output);
            }
            is_quiet &=
                self.people.wire.is_empty() && self.media.events.is_empty() && self.people.news.is_empty();
            if is_quiet {
                break;
            }
            for (flow, bytes) in std::mem::take(&mut self.people.wire) {
                self.deliver(flow, bytes);
            }
            for event in std::mem::take(&mut self.media.events) {
                self.tell(Input::Media(event));
            }
            for news in std::mem::take(&mut self.people.news) {
                self.learn(news);
            }
        }
        self.look_at_media();
    }

    fn deliver(&mut self, flow: Flow, bytes: bytes::Bytes) {
        self.tell(Input::Packet { flow, bytes });
        if self.leg.is_some() && self.story.call.is_none() {
            self.story.call = self.engine.call_named(&self.story.call_id);
            self.session = self.story.call.map(|call| SessionId(call.0));
            self.sample();
        }
    }

    fn look_at_media(&mut self) {
        for noticed in self.media.noticed.drain(..) {
            if Some(noticed.session) == self.session {
                self.story.notice(noticed.audio, noticed.begins);
            }
        }
        for asked in std::mem::take(&mut self.media.asked_for_key) {
            if !self.confirming.is_empty() {
                self.later(THINKS, Deed::Confirm(asked.session, asked.leg));
            }
        }
        let talks = self.story.is_answered && self.contact().is_some_and(|leg| self.media.is_bridged(leg));
        if talks {
            self.story.bridged_at.get_or_insert(self.now.instant);
        }
        // Whoever talked until the end has talked.
        if talks || (self.story.over_at.is_none() && self.story.record.is_none()) {
            self.story.is_talking = talks;
        }
    }

    /// The media server's leg of the contact.
    fn contact(&self) -> Option<LegId> {
        self.media.contact(self.session?)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "`note` names them all")]
    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Transmit { flow, bytes } => self.people.hear(self.now.instant, flow, bytes),
            Output::Media(order) => self.media.take(self.now.instant, order),
            Output::Request(asked) => self.serve(*asked),
            output => self.note(output),
        }
    }

    /// What the engine says of the call.
    fn note(&mut self, output: Output) {
        let ours = self.story.call;
        match output {
            Output::Explanation(explanation) if explanation.call_id == self.story.call_id => {
                if let Outcome::Refused { because, .. } | Outcome::Ignored { because } = explanation.outcome {
                    self.story.because = Some(because);
                }
            }
            Output::Stranger { .. } | Output::Excess { .. } if self.leg.is_some() && ours.is_none() => {
                let because = "no trunk admits its source at this time, and nothing was sent";
                self.story.because = Some(because.to_owned());
            }
            Output::Dialled { call_id, leg } if call_id == self.story.call_id => {
                self.dialled.insert(leg);
            }
            Output::Told(told) if told.call_id == self.story.call_id => self.story.tell(told.what),
            Output::Saved(saved) if saved.call_id == self.story.call_id => {
                if saved.sound.voicemail_box.is_some() {
                    self.story.message_at.get_or_insert(self.now.instant);
                }
            }
            Output::Offered(offered) if Some(offered.call) == ours => {
                self.story.offered.insert(offered.agent);
            }
            Output::OfferOver { call, agent } if Some(call) == ours => {
                self.story.offered.remove(&agent);
            }
            Output::Talk(talking) if Some(talking.call) == ours => {
                self.story.offered.remove(&talking.talk.agent);
                if self.story.agents.last() != Some(&talking.talk.agent) {
                    self.story.agents.push(talking.talk.agent);
                }
            }
            Output::Record(record) if record.call_id == self.story.call_id => self.story.end(*record),
            Output::Transmit { .. }
            | Output::Media(_)
            | Output::Request(_)
            | Output::Explanation(_)
            | Output::Stranger { .. }
            | Output::Excess { .. }
            | Output::Told(_)
            | Output::Saved(_)
            | Output::Offered(_)
            | Output::OfferOver { .. }
            | Output::Talk(_)
            | Output::Record(_)
            | Output::Heard { .. }
            | Output::Note(_)
            | Output::Dialled { .. }
            | Output::Verify(_)
            | Output::Sign(_)
            | Output::TrunkNews(_)
            | Output::Attempt(_)
            | Output::StationNews(_)
            | Output::AgentState { .. }
            | Output::TalkOver { .. }
            | Output::WrapUp(_)
            | Output::WrapUpOver { .. }
            | Output::Disposed(_)
            | Output::Refused { .. }
            | Output::Standing
            | Output::Begun(_)
            | Output::Tidings(_) => {}
        }
    }

    fn serve(&mut self, ToAsk { call, request, asked }: ToAsk) {
        let (after, answer) = match self.test.answers.get(&asked.integration) {
            Some(answer) if asked.is_message => {
                if let Some(text) = asked.body.filter(|_| Some(call) == self.story.call && answer.is_good()) {
                    self.story.write(&text);
                }
                (answer.after_seconds, Ok(Response::of_status(answer.status)))
            }
            Some(answer) => {
                let read = Response::parse(answer.status, answer.body.as_bytes());
                (answer.after_seconds, read.map_err(|unreadable| unreadable.to_string()))
            }
            None => (0, Err("the test's `responses` do not name it".to_owned())),
        };
        self.later(seconds(after), Deed::Serve { call, request, answer });
    }

    fn learn(&mut self, news: News) {
        match news {
            News::Rings(rung) => self.rings(rung),
            News::Answered(leg) if Some(leg) == self.leg => self.story.is_answered = true,
            News::Over(leg, code) if Some(leg) == self.leg => {
                self.story.over_at.get_or_insert(self.now.instant);
                self.story.refused = code;
            }
            News::Over(leg, code) => {
                match self.others.remove(&leg) {
                    Some(place) if self.leg.is_some() => self.later(ANOTHER, Deed::Come(place)),
                    Some(place) => self.gone.push((place, code)),
                    None => {}
                }
                self.confirming.retain(|rung| rung.leg != leg);
            }
            News::Answered(_) => {}
        }
    }

    fn rings(&mut self, rung: Rung) {
        let Behaviour { does, after_seconds, .. } = rung.behaviour;
        let after = seconds(after_seconds);
        match does {
            Does::Answer => self.later(after, Deed::Answer(rung)),
            Does::Decline => self.later(after, Deed::Refuse(rung.leg, 603)),
            Does::Busy => self.later(Duration::ZERO, Deed::Refuse(rung.leg, 486)),
            Does::Fail => self.later(Duration::ZERO, Deed::Refuse(rung.leg, 500)),
            Does::Ignore => {}
        }
    }

    fn does(&mut self, deed: Deed) {
        let now = self.now.instant;
        match deed {
            Deed::Answer(rung) => {
                let is_up = self.people.answer(now, rung.leg);
                match rung.confirms {
                    true if is_up => self.confirming.push_back(rung),
                    false if is_up => self.talks(&rung),
                    _ => {}
                }
            }
            Deed::Register => {
                self.people.register(now, self.stage.plain.phones);
                self.later(REGISTERS, Deed::Register);
            }
            Deed::Come(place) => {
                self.another_comes(place);
            }
            Deed::Refuse(leg, code) => self.people.refuse(now, leg, code),
            Deed::HangUp(leg, _) => self.people.hang_up(now, leg),
            Deed::Confirm(session, leg) => {
                if let Some(rung) = self.confirming.pop_front() {
                    self.talks(&rung);
                    let event = Event::Dtmf { leg, digit: '1' };
                    self.tell(Input::Media(MediaEvent { session, event }));
                }
            }
            Deed::Press(digit) => {
                if let (Some(session), Some(leg)) = (self.session, self.contact()) {
                    self.media.key(now, leg, digit);
                    self.settle();
                    self.tell(Input::Media(MediaEvent { session, event: Event::Dtmf { leg, digit } }));
                }
            }
            Deed::Said(listening, words) => self.said(listening, &words),
            Deed::Serve { call, request, answer } => self.tell(Input::Answered { call, request, answer }),
        }
    }

    fn talks(&mut self, rung: &Rung) {
        if let Some(talk) = rung.behaviour.talk_seconds {
            let is_ours = self.dialled.contains(&rung.call_id);
            self.later(seconds(talk), Deed::HangUp(rung.leg, is_ours));
        }
    }

    fn said(&mut self, listening: ListenId, words: &str) {
        let (Some(session), Some(leg)) = (self.session, self.contact()) else { return };
        if self.media.listens(leg).is_none_or(|listens| listens.id != listening) {
            return;
        }
        let heard = match self.media.phrase(leg, words) {
            Some(phrase) => Heard::Phrase { phrase, confidence: CONFIDENCE },
            None => Heard::Other,
        };
        self.tell(Input::Media(MediaEvent { session, event: Event::Heard { leg, listening, heard } }));
    }

    /// The contact does what can be done now.
    fn act(&mut self) {
        while let Some(act) = self.test.script.get(self.act)
            && self.now.instant >= self.act_at
            && self.story.over_at.is_none()
        {
            let is_done = match act {
                Act::Wait(time) => {
                    self.act_at = self.now.instant + seconds(*time);
                    true
                }
                Act::HangUp(after) if *after > 0 && !self.has_waited => {
                    self.act_at = self.now.instant + seconds(*after);
                    self.has_waited = true;
                    continue;
                }
                Act::HangUp(_) => {
                    if let Some(leg) = self.leg {
                        self.people.hang_up(self.now.instant, leg);
                    }
                    true
                }
                Act::Press(keys) => self.press(keys),
                Act::Say(words) => self.say(words),
                Act::Hear(sound) => {
                    let new = self.story.heard.get(self.ears..).unwrap_or_default();
                    let found = new.iter().position(|heard| sound.audio.contains(heard));
                    self.ears += found.map_or(0, |place| place + 1);
                    found.is_some()
                }
            };
            if !is_done {
                return;
            }
            self.act += 1;
            self.has_waited = false;
            self.settle();
        }
    }

    fn press(&mut self, keys: &str) -> bool {
        if !self.story.is_answered {
            return false;
        }
        let mut after = Duration::ZERO;
        for key in keys.chars() {
            self.later(after, Deed::Press(key));
            after += KEYS;
        }
        self.act_at = self.now.instant + after;
        true
    }

    fn say(&mut self, words: &str) -> bool {
        let (Some(session), Some(leg)) = (self.session, self.contact()) else { return false };
        let listening = self.media.listens(leg).map(|listening| listening.id);
        if listening.is_none() && !self.media.takes_message(leg) {
            return false;
        }
        let length = media::spoken_time(words);
        self.media.speaks(self.now.instant, leg, length);
        if let Some(listening) = listening {
            let event = Event::Heard { leg, listening, heard: Heard::Began };
            self.tell(Input::Media(MediaEvent { session, event }));
            self.later(length, Deed::Said(listening, words.to_owned()));
        }
        self.act_at = self.now.instant + length;
        true
    }
}

const fn seconds(count: u32) -> Duration {
    Duration::from_secs(count as u64)
}
