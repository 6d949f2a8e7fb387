//! What can be seen of an edge from outside: counters, and the latest explanations and records.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write,
    net::IpAddr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use call::{
    call::Told,
    engine::{AgentOrder, Attempt, Engine, Preview, StationNews},
    explanation::{COURSE_MAX, Explanation, LEGS_MAX, Outcome},
    locate::Asked,
    record::{Begun, Disposed, Record},
    registrar::StationId,
    world::{Names, World},
};

use jiff::Timestamp;
use model::{net::ListenerIx, snapshot::Listener};
use store::records::{self, Recorder};
use tokio::sync::mpsc;

use crate::{
    Control,
    figures::Figures,
    floors::{self, Floors},
    interactions::{Kept, Said},
    ladder::{Ladder, Rung},
    sounds::Sounds,
};

/// Explanations and records that are kept.
const KEPT_MAX: usize = 1_024;

/// A number that any thread may raise and read.
#[derive(Debug, Default)]
pub struct Number(AtomicU64);

impl Number {
    /// Adds.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Takes a part of the sum for another than it was: `known` is what it was, and becomes what it is.
    pub fn renew(&self, known: &mut u64, value: u64) {
        if *known != value {
            // Wraps where it falls.
            self.0.fetch_add(value.wrapping_sub(*known), Ordering::Relaxed);
            *known = value;
        }
    }

    /// Reads.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What was heard and said on one listener.
#[derive(Debug, Default)]
pub struct AtListener {
    name: String,
    transport: &'static str,
    /// SIP messages of sources that are known.
    pub received: Number,
    /// SIP messages.
    pub sent: Number,
    /// Handshakes under TLS that came to a connection.
    pub tls_sessions: Number,
    /// Those that came to nothing.
    pub tls_failed: Number,
}

/// Counters, explanations and records of one edge.
#[derive(Debug, Default)]
pub struct Observed {
    /// Calls that are up.
    pub calls: Number,
    /// INVITEs that a flow took.
    pub routed: Number,
    /// INVITEs of agents' phones that were taken.
    pub placed: Number,
    /// Calls for help.
    pub emergencies: Number,
    /// INVITEs that were refused.
    pub refused: Number,
    /// Calls that are over.
    pub ended: Number,
    /// SIP messages and packets received.
    pub packets_received: Number,
    /// SIP messages sent.
    pub packets_sent: Number,
    /// SIP messages that could not be sent.
    pub packets_unsent: Number,
    /// Packets of sources that no trunk admits.
    pub strangers: Number,
    /// Bad messages.
    pub malformed: Number,
    /// Handshakes under TLS that came to a connection, both ways.
    pub tls_sessions: Number,
    /// Handshakes under TLS that came to nothing.
    pub tls_failed: Number,
    /// Messages of sources that say more than they may: datagrams, which were dropped.
    pub excess_messages: Number,
    /// The same of connections: they waited.
    pub paced_messages: Number,
    /// Connections that a source opened faster than it may.
    pub excess_connections: Number,
    /// Connections that there was no room for.
    pub connections_refused: Number,
    /// Connections that were closed because their messages did not come.
    pub connections_slow: Number,
    /// Connections that were closed because too much of their messages waited for its end.
    pub connections_heavy: Number,
    /// Handshakes that were not begun because too many were under way.
    pub handshakes_refused: Number,
    /// Media events that found the queue full.
    pub events_dropped: Number,
    /// Messages that one engine has read for another, which is too far behind.
    pub relays_dropped: Number,
    /// Media orders that the media server did not take.
    pub orders_dropped: Number,
    /// Copies of SIP messages that a capture server was sent.
    pub copies_sent: Number,
    /// Copies that were lost.
    pub copies_lost: Number,
    /// Calls that left with a signature of ours.
    pub identities_signed: Number,
    /// Calls that should have, and left without.
    pub identities_unsigned: Number,
    /// Calls whose signatures were verified, and hold.
    pub identities_passed: Number,
    /// Calls whose signatures were verified, and do not hold or cannot be checked.
    pub identities_failed: Number,
    /// Requests of flows that were answered, whatever the status.
    pub requests_answered: Number,
    /// Those that were not.
    pub requests_failed: Number,
    /// Certificates of signers that were fetched.
    pub certificates_fetched: Number,
    /// Those that could not be.
    pub certificates_failed: Number,
    /// Spans of calls that a collector has taken.
    pub spans_sent: Number,
    /// Spans that were lost.
    pub spans_lost: Number,
    /// SIP messages that were sent once more for want of an answer.
    pub retransmitted: Number,
    /// What was heard and said, listener by listener; they stay the same as long as the edge lives.
    listeners: OnceLock<Vec<AtListener>>,
    /// The latest SIP messages.
    pub ladder: Ladder,
    /// The latest recordings and messages.
    pub sounds: Sounds,
    /// Queues and agents.
    pub floors: Floors,
    /// What the edge runs by.
    world: Mutex<Option<Arc<World>>>,
    explanations: Mutex<VecDeque<Explanation>>,
    records: Mutex<VecDeque<Arc<Kept>>>,
    /// What agents have said of contacts of late.
    said: Mutex<VecDeque<Arc<Said>>>,
    /// Where records go besides. None: nowhere.
    recorder: OnceLock<Recorder>,
    /// Which run of a process it is: a part of the ids of records.
    instance: OnceLock<Arc<str>>,
    standing: Mutex<BTreeMap<String, bool>>,
    figures: Mutex<Figures>,
    stations: Mutex<BTreeSet<StationId>>,
    bans: Mutex<BTreeMap<IpAddr, Timestamp>>,
    /// Where registrars want calls to go.
    routes: Mutex<BTreeSet<Asked>>,
    /// What the engine was told last.
    names: Mutex<Option<Names>>,
    /// Copies that were lost when somebody asked last.
    lost_before: Number,
    /// Weak: whoever only looks must not keep the edge.
    control: OnceLock<mpsc::WeakSender<Control>>,
}

impl Observed {
    /// Names the listeners. Once.
    pub(crate) fn name_listeners(&self, listeners: &[Listener]) {
        let named = listeners.iter().map(|listener| AtListener {
            name: listener.name.clone(),
            transport: listener.transport.as_str(),
            ..AtListener::default()
        });
        // There is one edge for each of these.
        let _ = self.listeners.set(named.collect());
    }

    /// What was heard and said on a listener.
    #[must_use]
    pub fn at(&self, listener: ListenerIx) -> Option<&AtListener> {
        self.listeners.get()?.get(usize::from(listener.0))
    }

    /// Keeps an explanation.
    pub fn explain(&self, explanation: Explanation) {
        match &explanation.outcome {
            Outcome::Routed { .. } => self.routed.add(1),
            Outcome::Placed { .. } => self.placed.add(1),
            Outcome::Refused { code, .. } => {
                self.refused.add(1);
                let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
                figures.refused(&explanation.listener, *code);
            }
            Outcome::Ignored { .. } => self.refused.add(1),
            // The INVITE that answers is the one that counts; a promise is a call once somebody is rung.
            Outcome::Challenged { .. } | Outcome::Promised { .. } => {}
        }
        keep(&self.explanations, explanation, KEPT_MAX);
    }

    /// Adds the Call-ID of a leg that was dialled to the latest explanation of its call.
    pub fn dialled(&self, call_id: &str, leg: String) {
        let mut kept = self.explanations.lock().unwrap_or_else(PoisonError::into_inner);
        let explanation = kept.iter_mut().rev().find(|explanation| explanation.call_id == call_id);
        if let Some(explanation) = explanation
            && explanation.legs.len() < LEGS_MAX
        {
            explanation.legs.push(leg);
        }
    }

    /// The latest messages of the call whose A leg has that Call-ID.
    #[must_use]
    pub fn ladder_of(&self, call_id: &str) -> Vec<Rung> {
        let legs = self.explanation(call_id).map(|explanation| explanation.legs).unwrap_or_default();
        let mut call_ids = vec![call_id];
        call_ids.extend(legs.iter().map(String::as_str));
        self.ladder.of(&call_ids)
    }

    /// Adds to the latest explanation of a call what befell it.
    pub fn tell(&self, told: &Told) {
        let mut kept = self.explanations.lock().unwrap_or_else(PoisonError::into_inner);
        let explanation = kept.iter_mut().rev().find(|explanation| explanation.call_id == told.call_id);
        if let Some(explanation) = explanation
            && explanation.course.len() < COURSE_MAX
        {
            explanation.course.push(told.what.clone());
        }
    }

    /// Adds to the latest explanation of the call that has a leg with that Call-ID what befell it.
    pub fn tell_of_leg(&self, call_id: &str, what: &str) {
        let mut kept = self.explanations.lock().unwrap_or_else(PoisonError::into_inner);
        let explanation = kept.iter_mut().rev().find(|explanation| {
            explanation.call_id == call_id || explanation.legs.iter().any(|leg| leg == call_id)
        });
        if let Some(explanation) = explanation
            && explanation.course.len() < COURSE_MAX
        {
            explanation.course.push(what.to_owned());
        }
    }

    /// Where registrars want calls to go, to be looked up.
    pub(crate) fn routes(&self) -> BTreeSet<Asked> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether names are others than when this was asked last.
    pub(crate) fn are_news(&self, names: &Names) -> bool {
        let mut known = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        known.replace(names.clone()).as_ref() != Some(names)
    }

    /// Whether copies were lost since this was asked last.
    pub(crate) fn has_lost_copies(&self) -> bool {
        let lost = self.copies_lost.get();
        let before = self.lost_before.get();
        self.lost_before.add(lost - before);
        lost > before
    }

    /// Keeps which peers are up and which trunks are registered.
    pub fn standing(&self, engine: &Engine) {
        *self.routes.lock().unwrap_or_else(PoisonError::into_inner) = engine.routes();
        let peers = engine.peers().map(|(who, down_since)| {
            let (peer, flow) = (label(&who.peer), label(&who.flow.to_string()));
            let name =
                format!("switchboard_peer_up{{trunk=\"{}\",peer=\"{peer}\",address=\"{flow}\"}}", who.trunk);
            (name, down_since.is_none())
        });
        let registrations = engine.registrations().map(|(trunk, standing)| {
            (format!("switchboard_trunk_registered{{trunk=\"{trunk}\"}}"), standing.since.is_some())
        });
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = peers.chain(registrations).collect();
    }

    /// Counts what a call that left has come to.
    pub fn attempt(&self, attempt: &Attempt) {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).left(attempt);
    }

    /// By what a ban can be lifted. Once.
    pub(crate) fn let_lift(&self, control: mpsc::WeakSender<Control>) {
        // There is one edge for each of these.
        let _ = self.control.set(control);
    }

    /// Keeps what happened to stations.
    pub fn station_news(&self, news: StationNews) {
        let mut stations = self.stations.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bans = self.bans.lock().unwrap_or_else(PoisonError::into_inner);
        match news {
            StationNews::Came(station) => drop(stations.insert(station)),
            StationNews::Went(station) => drop(stations.remove(&station)),
            StationNews::Banned { address, until } => drop(bans.insert(address, until)),
            StationNews::Lifted { address } => drop(bans.remove(&address)),
            StationNews::Emergency { .. } => self.emergencies.add(1),
            StationNews::Told { .. } => {}
        }
    }

    /// Stations that are registered.
    #[must_use]
    pub fn stations(&self) -> Vec<StationId> {
        self.stations.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Sources that are not heard, and until when.
    #[must_use]
    pub fn bans(&self) -> Vec<(IpAddr, Timestamp)> {
        let mut bans = self.bans.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Timestamp::now();
        bans.retain(|_, until| *until > now);
        bans.iter().map(|(address, until)| (*address, *until)).collect()
    }

    /// Has a source heard again. False: it was not banned.
    pub fn lift(&self, address: IpAddr) -> bool {
        let known = self.bans().iter().any(|(banned, _)| *banned == address);
        let control = self.control.get().and_then(mpsc::WeakSender::upgrade);
        known && control.is_some_and(|control| control.try_send(Control::Lift(address)).is_ok())
    }

    pub(crate) fn show_world(&self, world: &Arc<World>) {
        *self.world.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(world));
    }

    /// What the edge runs by. None: it has not begun.
    #[must_use]
    pub fn world(&self) -> Option<Arc<World>> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has an agent do something. False: the edge is going, or too busy.
    pub fn act(&self, order: AgentOrder) -> bool {
        let control = self.control.get().and_then(mpsc::WeakSender::upgrade);
        control.is_some_and(|control| control.try_send(Control::Agent(Box::new(order))).is_ok())
    }

    /// Has an agent shown whom it may call. False: the edge is going, or too busy.
    pub(crate) fn preview(&self, preview: Preview) -> bool {
        let control = self.control.get().and_then(mpsc::WeakSender::upgrade);
        control.is_some_and(|control| control.try_send(Control::Preview(Box::new(preview))).is_ok())
    }

    /// Where records go besides. Once, before the first.
    pub(crate) fn record_to(&self, recorder: Recorder) {
        let _ = self.instance.set(recorder.instance().into());
        // There is one edge for each of these.
        let _ = self.recorder.set(recorder);
    }

    /// Where records go besides.
    #[must_use]
    pub fn recorder(&self) -> Option<&Recorder> {
        self.recorder.get()
    }

    fn instance(&self) -> Arc<str> {
        let drawn = || {
            let mut octets = [0; 8];
            // Without them, ids differ by their times and calls.
            let _ = openssl::rand::rand_bytes(&mut octets);
            format!("{:016x}", u64::from_le_bytes(octets)).into()
        };
        Arc::clone(self.instance.get_or_init(drawn))
    }

    /// Has it written that a call has begun.
    pub fn begun(&self, begun: Box<Begun>) {
        if let Some(recorder) = self.recorder.get() {
            recorder.put(Arc::new(Kept::up(begun, self.instance())));
        }
    }

    /// Keeps a record.
    pub fn record(&self, record: Box<Record>) {
        self.ended.add(1);
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).came(&record);
        let kept = Arc::new(Kept::over(record, self.instance()));
        if let Some(recorder) = self.recorder.get() {
            recorder.put(Arc::clone(&kept) as _);
        }
        keep(&self.records, kept, KEPT_MAX);
    }

    /// Keeps what an agent has said of a contact.
    pub fn disposed(&self, disposed: Disposed) {
        let kept = Arc::new(Said::new(disposed, self.instance()));
        if let Some(recorder) = self.recorder.get() {
            recorder.put(Arc::clone(&kept) as _);
        }
        // Several agents may have had one contact.
        keep(&self.said, kept, 4 * KEPT_MAX);
    }

    /// What agents have said of late, the first first.
    #[must_use]
    pub(crate) fn said(&self) -> Vec<Arc<Said>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The latest explanation of the INVITE with that Call-ID.
    #[must_use]
    pub fn explanation(&self, call_id: &str) -> Option<Explanation> {
        let kept = self.explanations.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().find(|explanation| explanation.call_id == call_id).cloned()
    }

    /// The latest records, those first that ended last.
    #[must_use]
    pub fn records(&self) -> Vec<Arc<Kept>> {
        let kept = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().cloned().collect()
    }

    /// The sums over several edges, in the text format of Prometheus.
    #[must_use]
    pub fn metrics(edges: &[Arc<Self>]) -> String {
        let mut text = String::new();
        for (name, kind, help, of) in NUMBERS {
            let sum = edges.iter().map(|edge| of(edge).get()).sum();
            write_metric(&mut text, &format!("switchboard_{name}"), kind, help, sum);
        }
        let stations = edges.iter().map(|edge| edge.stations().len() as u64).sum();
        let help = "Agents' phones that are registered.";
        write_metric(&mut text, "switchboard_stations_registered", "gauge", help, stations);
        write_listeners(&mut text, edges);
        write_rejected(&mut text, edges);
        write_standing(&mut text, edges);
        let mut figures = Figures::default();
        for edge in edges {
            figures.add(&edge.figures.lock().unwrap_or_else(PoisonError::into_inner));
        }
        figures.write(&mut text);
        floors::write(&mut text, edges.iter().map(|edge| &edge.floors));
        write_records(&mut text, edges);
        text
    }
}

type Of = fn(&Observed) -> &Number;

/// Name, kind, help and place of what is one number for the whole edge.
const NUMBERS: [(&str, &str, &str, Of); 29] = [
    ("calls_placed_total", "counter", "INVITEs of agents' phones that were taken.", |seen| &seen.placed),
    ("emergency_calls_total", "counter", "Calls for help of agents' phones.", |seen| &seen.emergencies),
    ("calls", "gauge", "Calls that are up.", |seen| &seen.calls),
    ("calls_routed_total", "counter", "INVITEs that a flow took.", |seen| &seen.routed),
    ("calls_refused_total", "counter", "INVITEs that were refused.", |seen| &seen.refused),
    ("calls_ended_total", "counter", "Calls that are over.", |seen| &seen.ended),
    ("sip_received_total", "counter", "SIP messages received.", |seen| &seen.packets_received),
    ("sip_sent_total", "counter", "SIP messages sent.", |seen| &seen.packets_sent),
    ("sip_unsent_total", "counter", "SIP messages that could not be sent.", |seen| &seen.packets_unsent),
    ("sip_strangers_total", "counter", "Packets of sources that no trunk admits.", |seen| &seen.strangers),
    ("sip_malformed_total", "counter", "Bad SIP messages.", |seen| &seen.malformed),
    ("capture_sent_total", "counter", "Copies of SIP messages sent to a capture server.", |seen| {
        &seen.copies_sent
    }),
    ("capture_lost_total", "counter", "Copies of SIP messages that were lost.", |seen| &seen.copies_lost),
    ("tls_sessions_total", "counter", "TLS handshakes that came to a connection.", |seen| &seen.tls_sessions),
    ("tls_failed_total", "counter", "TLS handshakes that came to nothing.", |seen| &seen.tls_failed),
    ("identities_signed_total", "counter", "Calls that left with a signature of ours.", |seen| {
        &seen.identities_signed
    }),
    (
        "identities_unsigned_total",
        "counter",
        "Calls that should have left with a signature of ours, and left without.",
        |seen| &seen.identities_unsigned,
    ),
    ("requests_answered_total", "counter", "Requests of flows that were answered.", |seen| {
        &seen.requests_answered
    }),
    ("requests_failed_total", "counter", "Requests of flows without an answer.", |seen| {
        &seen.requests_failed
    }),
    ("identities_passed_total", "counter", "Calls whose signatures hold.", |seen| &seen.identities_passed),
    (
        "identities_failed_total",
        "counter",
        "Calls whose signatures do not hold or cannot be checked.",
        |seen| &seen.identities_failed,
    ),
    ("certificates_fetched_total", "counter", "Certificates of signers fetched.", |seen| {
        &seen.certificates_fetched
    }),
    ("certificates_failed_total", "counter", "Certificates of signers that could not be fetched.", |seen| {
        &seen.certificates_failed
    }),
    ("spans_sent_total", "counter", "Spans of calls that a collector has taken.", |seen| &seen.spans_sent),
    ("spans_lost_total", "counter", "Spans of calls that were lost.", |seen| &seen.spans_lost),
    (
        "sip_retransmitted_total",
        "counter",
        "SIP messages that were sent once more for want of an answer.",
        |seen| &seen.retransmitted,
    ),
    ("sip_relays_dropped_total", "counter", "SIP messages lost between the engines of an edge.", |seen| {
        &seen.relays_dropped
    }),
    ("media_events_dropped_total", "counter", "Media events dropped.", |seen| &seen.events_dropped),
    ("media_orders_dropped_total", "counter", "Media orders dropped.", |seen| &seen.orders_dropped),
];

/// Listener by listener; those of one name are the same on every edge.
fn write_listeners(text: &mut String, edges: &[Arc<Observed>]) {
    type Of = fn(&AtListener) -> &Number;
    let all: [(&str, &str, Of); 4] = [
        ("received_total", "SIP messages of known sources that a listener received.", |at| &at.received),
        ("sent_total", "SIP messages that a listener sent.", |at| &at.sent),
        ("tls_sessions_total", "TLS handshakes of a listener that came to a connection.", |at| {
            &at.tls_sessions
        }),
        ("tls_failed_total", "TLS handshakes of a listener that came to nothing.", |at| &at.tls_failed),
    ];
    for (name, help, of) in all {
        let name = format!("switchboard_listener_{name}");
        let mut sums: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for at in edges.iter().filter_map(|edge| edge.listeners.get()).flatten() {
            *sums.entry((&at.name, at.transport)).or_default() += of(at).get();
        }
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n");
        for ((listener, transport), sum) in sums {
            let listener = label(listener);
            let _ = writeln!(text, "{name}{{listener=\"{listener}\",transport=\"{transport}\"}} {sum}");
        }
    }
}

/// What was not heard, by reason.
fn write_rejected(text: &mut String, edges: &[Arc<Observed>]) {
    type Of = fn(&Observed) -> &Number;
    let all: [(&str, Of); 9] = [
        ("stranger", |seen| &seen.strangers),
        ("malformed", |seen| &seen.malformed),
        ("rate", |seen| &seen.excess_messages),
        ("paced", |seen| &seen.paced_messages),
        ("connectionRate", |seen| &seen.excess_connections),
        ("connections", |seen| &seen.connections_refused),
        ("handshakes", |seen| &seen.handshakes_refused),
        ("slow", |seen| &seen.connections_slow),
        ("memory", |seen| &seen.connections_heavy),
    ];
    let name = "switchboard_sip_rejected_total";
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "# HELP {name} Messages and connections that were dropped, refused, closed or (paced) made to wait, by reason.\n# TYPE {name} counter\n"
    );
    for (reason, of) in all {
        let sum: u64 = edges.iter().map(|edge| of(edge).get()).sum();
        let _ = writeln!(text, "{name}{{reason=\"{reason}\"}} {sum}");
    }
}

/// How records fare on their way to where they are kept.
fn write_records(text: &mut String, edges: &[Arc<Observed>]) {
    let figures: Vec<_> = edges.iter().filter_map(|edge| edge.recorder().map(Recorder::figures)).collect();
    let sum = |of: fn(&records::Figures) -> u64| figures.iter().map(of).sum::<u64>();
    for (name, kind, help, value) in [
        ("waiting", "gauge", "Records on the disk that wait for the database.", sum(|it| it.waiting)),
        ("waiting_bytes", "gauge", "Bytes of these.", sum(|it| it.waiting_octets)),
        ("written_total", "counter", "Records that the database has taken.", sum(|it| it.written)),
        ("lost_total", "counter", "Records that found no room, and are lost.", sum(|it| it.lost)),
        ("refused_total", "counter", "Records that the database takes never.", sum(|it| it.refused)),
        (
            "spool_full",
            "gauge",
            "Disks that take no more records: as many wait as may, or they cannot be written.",
            sum(|it| u64::from(it.full)),
        ),
        ("store_away", "gauge", "Databases of records that do not answer.", sum(|it| u64::from(it.away))),
    ] {
        write_metric(text, &format!("switchboard_records_{name}"), kind, help, value);
    }
}

/// Peers and registrations: 1 or 0 each.
fn write_standing(text: &mut String, edges: &[Arc<Observed>]) {
    let mut all = BTreeMap::new();
    for edge in edges {
        all.extend(edge.standing.lock().unwrap_or_else(PoisonError::into_inner).clone());
    }
    for (name, help) in [
        ("switchboard_peer_up", "Whether a peer that is probed answers."),
        ("switchboard_trunk_registered", "Whether a trunk\'s registrar has taken us."),
    ] {
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n");
        for (sample, value) in all.iter().filter(|(sample, _)| sample.starts_with(&format!("{name}{{"))) {
            let _ = writeln!(text, "{sample} {}", u8::from(*value));
        }
    }
}

/// The value of a label, which may hold no quote, backslash or line break.
pub(crate) fn label(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '"' | '\\') && !c.is_control()).collect()
}

/// Adds one metric in the text format of Prometheus.
pub fn write_metric(text: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    // Writing to a String cannot fail.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
}

fn keep<T>(kept: &Mutex<VecDeque<T>>, item: T, most: usize) {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() == most {
        kept.pop_front();
    }
    kept.push_back(item);
}

#[cfg(test)]
mod tests {
    use model::{net::Transport, snapshot::Serves};

    use super::*;

    #[test]
    fn what_a_listener_hears_and_says_is_told_by_its_name_and_every_metric_has_a_help() {
        let observed = Arc::new(Observed::default());
        observed.name_listeners(&[Listener {
            name: "trunks".into(),
            transport: Transport::Tls,
            bind: "127.0.0.1:5061".parse().unwrap(),
            advertised: "127.0.0.1:5061".into(),
            network: "lan".into(),
            serves: Serves::Trunks,
        }]);
        let at = observed.at(ListenerIx(0)).unwrap();
        at.received.add(3);
        at.sent.add(2);
        at.tls_sessions.add(1);
        assert!(observed.at(ListenerIx(1)).is_none());
        observed.retransmitted.add(7);
        let text = Observed::metrics(&[Arc::clone(&observed), observed]);
        for line in [
            "switchboard_listener_received_total{listener=\"trunks\",transport=\"TLS\"} 6",
            "switchboard_listener_sent_total{listener=\"trunks\",transport=\"TLS\"} 4",
            "switchboard_listener_tls_sessions_total{listener=\"trunks\",transport=\"TLS\"} 2",
            "switchboard_listener_tls_failed_total{listener=\"trunks\",transport=\"TLS\"} 0",
            "switchboard_sip_retransmitted_total 14",
            "switchboard_stations_registered 0",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
        let helped: BTreeSet<_> =
            text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
        let typed: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        assert_eq!(helped.len(), typed.len(), "each has one HELP and one TYPE");
        assert!(typed.iter().all(|name| helped.contains(name)));
    }
}
