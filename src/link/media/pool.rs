//! The edge's end.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use model::{
    LegId, SessionId,
    media::{Event, MediaEvent, MediaOrder, Order, Refusal},
};
use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    ATTACH_WAIT, SESSIONS_END, Streams,
    member::{self, Way},
    outbox::{Outbox, new_entries},
};
use crate::{
    Full, MediaEvents, MediaOrders,
    backoff::Backoff,
    config::{PodName, State, Topology},
    identity::{Identity, Role},
    lock,
    tls::Tls,
    wire::{Attach, Batch},
};

/// Orders to one media pod that are not confirmed.
const ORDERS_MAX: usize = 16_384;

/// Media pods at once, with those that are gone and have sessions.
const MEMBERS_MAX: usize = 1_024;

/// How long a media pod may take to give a leg its ports.
const ALLOCATE_WAIT: Duration = Duration::from_secs(5);

const SWEEP: Duration = Duration::from_secs(1);

/// The media pods of an edge. Orders go in, each to the pod of its session. Cheap to clone.
///
/// A session goes where its first `Allocate` or `Extend` went: to the less loaded of two that are up and do not drain, of the edge's own
/// zone if any is. It never moves. When its pod is lost for good, or answers one with nothing for five
/// seconds, each leg concerned is `Refused` with [`Refusal::Draining`], so that no call waits for ever.
#[derive(Clone)]
pub struct Pool(Arc<Owner>);

struct Owner {
    shared: Arc<Shared>,
    sweep: AbortHandle,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.sweep.abort();
        for member in lock(&self.shared.state).members.values() {
            member.task.as_ref().inspect(|task| task.abort());
        }
    }
}

pub(super) struct Shared {
    pub tls: Tls,
    pub identity: Identity,
    pub pod: PodName,
    zone: String,
    events: Arc<dyn MediaEvents>,
    state: Mutex<Pods>,
}

/// A media pod by name and instance.
pub(super) type MemberId = (String, String);

struct Pods {
    members: BTreeMap<MemberId, Member>,
    sessions: BTreeMap<SessionId, Session>,
    random: Backoff,
}

struct Member {
    orders: Outbox,
    /// Number of the last event that has come.
    received: u64,
    /// By the topology.
    state: State,
    /// The newest topology names it.
    listed: bool,
    sessions: u32,
    /// Counts how often its sessions were given up. It may still have them: so we come as another instance.
    given_up: u32,
    /// None: its stream is up.
    down_since: Option<Instant>,
    changed: Arc<Notify>,
    task: Option<AbortHandle>,
}

struct Session {
    member: MemberId,
    legs: BTreeMap<LegId, Leg>,
}

#[derive(Clone, Copy, PartialEq)]
enum Leg {
    /// Without an answer since.
    Asked(Instant),
    /// It has ports.
    Allocated,
    /// The edge was told that it has none.
    GivenUp,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("connected", &self.connected()).finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool without pods. `identity` and `pod` are the edge's, `zone` that of its node. Events are told to `events`.
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn new(
        tls: Tls,
        identity: Identity,
        pod: PodName,
        zone: String,
        seed: u64,
        events: Arc<dyn MediaEvents>,
    ) -> Self {
        let pods = Pods { members: BTreeMap::new(), sessions: BTreeMap::new(), random: Backoff::new(seed) };
        let shared = Arc::new(Shared { tls, identity, pod, zone, events, state: Mutex::new(pods) });
        let sweep = tokio::spawn(sweep(Arc::downgrade(&shared))).abort_handle();
        Self(Arc::new(Owner { shared, sweep }))
    }

    /// Connects to the media pods that it names. One that it no longer names keeps its sessions; while its stream is up and
    /// no other can, it gets new ones. Must be called within a tokio runtime.
    pub fn set_topology(&self, topology: &Topology) {
        let mut pods = lock(&self.0.shared.state);
        pods.members.values_mut().for_each(|member| member.listed = false);
        for pod in topology.pods.iter().filter(|pod| pod.role == Role::Media) {
            let id = (pod.pod.name.clone(), pod.pod.instance.clone());
            let moved = pods.members.get(&id).is_some_and(|member| member.state.link != pod.state.link);
            let way = pod.state.link.map(Way::Network);
            self.upsert(&mut pods, id, pod.state.clone(), way, moved);
        }
        pods.remove_unneeded();
    }

    /// The in-process twin: a media pod of this very process, over the same streams. Must be called within a tokio runtime.
    pub fn attach(&self, pod: PodName, state: State, streams: &Arc<Streams>, orders: Arc<dyn MediaOrders>) {
        let way = Way::Twin(Arc::clone(streams), orders);
        let id = (pod.name, pod.instance);
        self.upsert(&mut lock(&self.0.shared.state), id, state, Some(way), false);
    }

    /// Media pods whose stream is up.
    #[must_use]
    pub fn connected(&self) -> usize {
        let pods = lock(&self.0.shared.state);
        pods.members.values().filter(|member| member.down_since.is_none()).count()
    }

    /// Sessions that have a media pod.
    #[must_use]
    pub fn sessions(&self) -> usize {
        lock(&self.0.shared.state).sessions.len()
    }

    fn upsert(&self, pods: &mut Pods, id: MemberId, state: State, way: Option<Way>, moved: bool) {
        if pods.members.len() >= MEMBERS_MAX && !pods.members.contains_key(&id) {
            return;
        }
        let seed = pods.random.random();
        let member = pods.members.entry(id.clone()).or_insert_with(Member::new);
        member.state = state;
        member.listed = true;
        if moved && let Some(task) = member.task.take() {
            task.abort();
            member.down_since.get_or_insert_with(Instant::now);
        }
        if member.task.is_none()
            && let Some(way) = way
        {
            let shared = Arc::downgrade(&self.0.shared);
            let run = member::run(shared, id, way, Arc::clone(&member.changed), Backoff::new(seed));
            member.task = Some(tokio::spawn(run).abort_handle());
        }
    }
}

impl MediaOrders for Pool {
    fn send(&self, order: MediaOrder) -> Result<(), Full> {
        if order.session.0 >= SESSIONS_END {
            return Err(Full);
        }
        let entry = serde_json::to_vec(&order).map_err(|_| Full)?;
        let mut pods = lock(&self.0.shared.state);
        let pods = &mut *pods;
        let allocates = if let Order::Allocate { leg, .. } | Order::Extend { leg, .. } = order.order {
            Some(leg)
        } else {
            None
        };
        let id = match (pods.sessions.get(&order.session), allocates) {
            (Some(session), _) => session.member.clone(),
            (None, Some(_)) => pods.choose(&self.0.shared.zone).ok_or(Full)?,
            // It crossed with the end of its session.
            (None, None) => return Ok(()),
        };
        let Some(member) = pods.members.get_mut(&id) else { return Ok(()) };
        member.orders.push(entry).map_err(|_| Full)?;
        member.changed.notify_one();
        if let Some(leg) = allocates {
            let session = pods.sessions.entry(order.session).or_insert_with(|| {
                member.sessions += 1;
                Session { member: id, legs: BTreeMap::new() }
            });
            session.legs.insert(leg, Leg::Asked(Instant::now()));
        }
        Ok(())
    }
}

impl Member {
    fn new() -> Self {
        Self {
            orders: Outbox::new(ORDERS_MAX),
            received: 0,
            state: State::default(),
            listed: true,
            sessions: 0,
            given_up: 0,
            down_since: Some(Instant::now()),
            changed: Arc::default(),
            task: None,
        }
    }

    /// Sessions now: what it said, or what it has of us if that is more.
    fn load(&self) -> u32 {
        self.state.calls.max(self.sessions)
    }

    fn takes(&self) -> bool {
        self.down_since.is_none()
            && self.state.ready
            && !self.state.draining
            && self.load() < self.state.capacity
    }

    /// Whether it is less loaded, in proportion to what it can.
    fn better_than(&self, other: &Self) -> bool {
        let share = |a: &Self, b: &Self| u64::from(a.load()) * u64::from(b.state.capacity);
        share(self, other) < share(other, self)
    }
}

impl Pods {
    /// Where a new session goes.
    fn choose(&mut self, zone: &str) -> Option<MemberId> {
        let preferences: [&dyn Fn(&Member) -> bool; 3] =
            [&|member| member.listed && member.state.zone == zone, &|member| member.listed, &|_| true];
        let candidates = preferences.iter().find_map(|preferred| {
            let fit = self.members.iter().filter(|(_, member)| member.takes() && preferred(member));
            let fit: Vec<_> = fit.collect();
            (!fit.is_empty()).then_some(fit)
        })?;
        let mut draw = || {
            let place = self.random.random() % candidates.len() as u64;
            candidates[usize::try_from(place).unwrap_or_default()]
        };
        let ((one, first), mut other) = (draw(), draw());
        // Two of them, if there are two.
        for _ in 0..4 {
            if other.0 == one {
                other = draw();
            }
        }
        Some(if other.1.better_than(first) { other.0 } else { one }.clone())
    }

    /// Ends what nobody needs: a member that is not named, not up, and has no session.
    fn remove_unneeded(&mut self) {
        self.members.retain(|_, member| {
            let needed = member.listed || member.down_since.is_none() || member.sessions > 0;
            if !needed && let Some(task) = &member.task {
                task.abort();
            }
            needed
        });
    }

    /// Forgets a leg, and its session with the last.
    fn remove(&mut self, session: SessionId, leg: LegId) -> Option<Leg> {
        let of = self.sessions.get_mut(&session)?;
        let leg = of.legs.remove(&leg);
        if of.legs.is_empty()
            && let Some(Session { member, .. }) = self.sessions.remove(&session)
            && let Some(member) = self.members.get_mut(&member)
        {
            member.sessions = member.sessions.saturating_sub(1);
        }
        leg
    }

    /// All sessions of a member are gone. Gives what the edge must hear.
    fn lose(&mut self, id: &MemberId) -> Vec<MediaEvent> {
        let mut told = Vec::new();
        self.sessions.retain(|session, of| {
            if of.member != *id {
                return true;
            }
            let legs = of.legs.iter().filter(|(_, leg)| **leg != Leg::GivenUp);
            told.extend(legs.map(|(leg, _)| refused(*session, *leg)));
            false
        });
        if let Some(member) = self.members.get_mut(id) {
            member.sessions = 0;
            member.orders = Outbox::new(ORDERS_MAX);
            member.received = 0;
        }
        told
    }

    /// As [`Pods::lose`], for what may still know of them.
    fn give_up(&mut self, id: &MemberId) -> Vec<MediaEvent> {
        if let Some(member) = self.members.get_mut(id) {
            member.given_up = member.given_up.wrapping_add(1);
        }
        self.lose(id)
    }

    /// What an event means to the edge. None: nothing.
    fn heard(&mut self, id: &MemberId, event: MediaEvent) -> Option<MediaEvent> {
        let session = event.session;
        // A recording may be stored when its session is over.
        let recorded = matches!(event.event, Event::Recorded(_)) && !self.sessions.contains_key(&session);
        if recorded {
            return Some(event);
        }
        if self.sessions.get(&session).is_none_or(|of| of.member != *id) {
            return None;
        }
        match &event.event {
            Event::Allocated { leg, .. } => {
                let state = self.sessions.get_mut(&session)?.legs.get_mut(leg)?;
                if *state == Leg::GivenUp {
                    // Too late: nobody will use these ports.
                    let order = MediaOrder { session, order: Order::Release { leg: *leg } };
                    let member = self.members.get_mut(id)?;
                    member.orders.push(serde_json::to_vec(&order).ok()?).ok()?;
                    member.changed.notify_one();
                    return None;
                }
                *state = Leg::Allocated;
            }
            Event::Refused { leg, .. } | Event::Released { leg, .. } => {
                if self.remove(session, *leg)? == Leg::GivenUp {
                    return None;
                }
            }
            Event::PlayEnded { .. }
            | Event::Dtmf { .. }
            | Event::DtmfSent { .. }
            | Event::FirstPacket { .. }
            | Event::Recorded(_)
            | Event::Heard { .. }
            | Event::Silent { .. }
            | Event::Unprotected { .. }
            | Event::Measured { .. } => {}
        }
        Some(event)
    }

    /// Gives up what takes too long. Gives what the edge must hear.
    fn sweep(&mut self, now: Instant) -> Vec<MediaEvent> {
        let mut told = Vec::new();
        for (session, of) in &mut self.sessions {
            for (leg, state) in &mut of.legs {
                if matches!(*state, Leg::Asked(since) if now >= since + ALLOCATE_WAIT) {
                    *state = Leg::GivenUp;
                    told.push(refused(*session, *leg));
                }
            }
        }
        let lost = self.members.iter().filter(|(id, member)| self.is_lost(id, member, now));
        let lost: Vec<_> = lost.map(|(id, _)| id.clone()).collect();
        for id in lost {
            told.extend(self.give_up(&id));
        }
        self.remove_unneeded();
        told
    }

    /// Whether a member's sessions are over: it was away for too long, or another instance has its name.
    fn is_lost(&self, (name, instance): &MemberId, member: &Member, now: Instant) -> bool {
        let Some(since) = member.down_since.filter(|_| member.sessions > 0) else { return false };
        let replaced =
            |(other, of): (&MemberId, &Member)| other.0 == *name && other.1 != *instance && of.listed;
        now >= since + ATTACH_WAIT || !member.listed && self.members.iter().any(replaced)
    }
}

const fn refused(session: SessionId, leg: LegId) -> MediaEvent {
    MediaEvent { session, event: Event::Refused { leg, reason: Refusal::Draining } }
}

async fn sweep(shared: Weak<Shared>) {
    let mut tick = interval(SWEEP);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        let told = lock(&shared.state).sweep(Instant::now());
        shared.tell(told);
    }
}

impl Shared {
    fn tell(&self, events: impl IntoIterator<Item = MediaEvent>) {
        events.into_iter().for_each(|event| self.events.send(event));
    }

    /// How we come to a member.
    pub fn attach(&self, id: &MemberId) -> Attach {
        let pods = lock(&self.state);
        let (received, given_up) =
            pods.members.get(id).map_or((0, 0), |member| (member.received, member.given_up));
        let PodName { name: pod, mut instance } = self.pod.clone();
        // A media pod that was restarted in its place is another member at the same address: neither stream may end the other.
        instance = format!("{instance}@{}", id.1);
        if given_up > 0 {
            instance = format!("{instance}+{given_up}");
        }
        Attach { pod, instance, received }
    }

    /// A member's stream is up. False: both ends do not fit together, and begin anew next time.
    pub fn up(&self, id: &MemberId, resumed: bool, received: u64) -> bool {
        let mut pods = lock(&self.state);
        // Another process, or one that has waited for too long: it knows nothing.
        let mut lost = if resumed { Vec::new() } else { pods.lose(id) };
        let fits = pods.members.get_mut(id).is_some_and(|member| member.orders.resume(received));
        if !fits {
            lost.extend(pods.give_up(id));
        } else if let Some(member) = pods.members.get_mut(id) {
            member.down_since = None;
        }
        drop(pods);
        self.tell(lost);
        fits
    }

    /// A member's stream has ended.
    pub fn down(&self, id: &MemberId) {
        if let Some(member) = lock(&self.state).members.get_mut(id) {
            member.down_since.get_or_insert_with(Instant::now);
        }
    }

    /// The next orders for a member. None: there are none.
    pub fn orders(&self, id: &MemberId, even_if_empty: bool) -> Option<Batch> {
        let mut pods = lock(&self.state);
        let member = pods.members.get_mut(id)?;
        let wanted = even_if_empty || member.orders.has_more();
        wanted.then(|| member.orders.batch(member.received))
    }

    pub fn has_orders(&self, id: &MemberId) -> bool {
        lock(&self.state).members.get(id).is_some_and(|member| member.orders.has_more())
    }

    /// Events of a member have come. False: it does not keep to the rules.
    pub fn heard(&self, id: &MemberId, batch: Batch) -> bool {
        let mut told = Vec::new();
        let mut pods = lock(&self.state);
        let Some(member) = pods.members.get_mut(id) else { return false };
        if !member.orders.confirmed(batch.received) {
            return false;
        }
        let Some(new) = new_entries(batch, member.received) else { return false };
        let new: Vec<_> = new.collect();
        member.received += new.len() as u64;
        for entry in new {
            // An event of a later version is passed over.
            if let Ok(event) = serde_json::from_slice(&entry) {
                told.extend(pods.heard(id, event));
            }
        }
        drop(pods);
        self.tell(told);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> MemberId {
        (name.to_owned(), "1".to_owned())
    }

    fn pods(members: &[(&str, &str, u32)]) -> Pods {
        let mut pods = Pods { members: BTreeMap::new(), sessions: BTreeMap::new(), random: Backoff::new(3) };
        for (name, zone, calls) in members {
            let state = State {
                ready: true,
                calls: *calls,
                capacity: 100,
                zone: (*zone).to_owned(),
                ..State::default()
            };
            pods.members.insert(id(name), Member { state, down_since: None, ..Member::new() });
        }
        pods
    }

    fn chosen(pods: &mut Pods, zone: &str) -> BTreeMap<String, u32> {
        let mut chosen = BTreeMap::new();
        for _ in 0..300 {
            if let Some((name, _)) = pods.choose(zone) {
                *chosen.entry(name).or_default() += 1;
            }
        }
        chosen
    }

    #[test]
    fn a_session_goes_to_the_less_loaded_of_two_of_the_same_zone() {
        let mut pods = pods(&[("a", "x", 90), ("b", "x", 10), ("c", "x", 50), ("d", "y", 0)]);
        let counts = chosen(&mut pods, "x");
        // The most loaded is never the better of two; the least loaded always is, when drawn.
        assert!(
            !counts.contains_key("a") && !counts.contains_key("d") && counts["b"] > counts["c"],
            "{counts:?}"
        );
        assert_eq!(chosen(&mut pods, "y").keys().collect::<Vec<_>>(), ["d"]);
        assert_eq!(chosen(&mut pods, "z").values().sum::<u32>(), 300, "another zone is better than none");
    }

    #[test]
    fn a_session_never_goes_where_it_is_not_taken() {
        let mut pods = pods(&[("full", "x", 100), ("drains", "x", 0), ("down", "x", 0), ("unready", "x", 0)]);
        pods.members.get_mut(&id("drains")).unwrap().state.draining = true;
        pods.members.get_mut(&id("down")).unwrap().down_since = Some(Instant::now());
        pods.members.get_mut(&id("unready")).unwrap().state.ready = false;
        assert_eq!(chosen(&mut pods, "x"), BTreeMap::new());
    }

    #[test]
    fn a_pod_that_no_topology_names_is_the_last_resort() {
        let mut pods = pods(&[("named", "y", 90), ("up", "x", 0)]);
        pods.members.get_mut(&id("up")).unwrap().listed = false;
        assert_eq!(chosen(&mut pods, "x").keys().collect::<Vec<_>>(), ["named"]);
        pods.members.get_mut(&id("named")).unwrap().state.draining = true;
        assert_eq!(chosen(&mut pods, "x").keys().collect::<Vec<_>>(), ["up"]);
    }

    fn with_leg(pods: &mut Pods, name: &str, leg: Leg) {
        pods.members.get_mut(&id(name)).unwrap().sessions += 1;
        let legs = BTreeMap::from([(LegId(1), leg)]);
        pods.sessions.insert(SessionId(1), Session { member: id(name), legs });
    }

    #[test]
    fn legs_of_a_pod_that_is_away_for_a_minute_are_refused() {
        let (mut pods, now) = (pods(&[("a", "x", 0)]), Instant::now());
        with_leg(&mut pods, "a", Leg::Allocated);
        pods.members.get_mut(&id("a")).unwrap().down_since = Some(now);
        assert_eq!(pods.sweep(now + ATTACH_WAIT - SWEEP), []);
        assert_eq!(pods.sweep(now + ATTACH_WAIT), [refused(SessionId(1), LegId(1))]);
        assert!(pods.sessions.is_empty());
        assert_eq!(pods.members[&id("a")].given_up, 1, "it may still have them");
    }

    #[test]
    fn legs_of_a_pod_that_another_has_replaced_are_refused_at_once() {
        let (mut pods, now) = (pods(&[("a", "x", 0)]), Instant::now());
        with_leg(&mut pods, "a", Leg::Allocated);
        let old = pods.members.get_mut(&id("a")).unwrap();
        (old.down_since, old.listed) = (Some(now), false);
        assert_eq!(pods.sweep(now), []);
        pods.members.insert(("a".to_owned(), "2".to_owned()), Member::new());
        assert_eq!(pods.sweep(now), [refused(SessionId(1), LegId(1))]);
        assert!(!pods.members.contains_key(&id("a")));
    }

    #[test]
    fn ports_that_come_too_late_are_given_back() {
        let (mut pods, now) = (pods(&[("a", "x", 0)]), Instant::now());
        with_leg(&mut pods, "a", Leg::Asked(now));
        assert_eq!(pods.sweep(now + ALLOCATE_WAIT), [refused(SessionId(1), LegId(1))]);
        let address = "192.0.2.1".parse().unwrap();
        let late = Event::Allocated { leg: LegId(1), address, rtp_port: 20_000, fingerprint: None };
        assert_eq!(pods.heard(&id("a"), MediaEvent { session: SessionId(1), event: late }), None);
        assert!(pods.members[&id("a")].orders.has_more(), "a release");
        let event = Event::Released { leg: LegId(1), quality: Default::default() };
        assert_eq!(pods.heard(&id("a"), MediaEvent { session: SessionId(1), event }), None);
        assert!(pods.sessions.is_empty());
    }
}
