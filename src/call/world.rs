//! A snapshot made ready for calls: expressions compiled, time zones looked up, peers' names resolved.
//!
//! A call keeps the [`Flow`] it began with; hours, trunks, numbers and caps it reads live, from the world of the moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use jiff::Timestamp;
use model::{
    E164, FlowId, HoursId, Key, TrunkId,
    centre::StationKind,
    net::{Flow as NetFlow, ListenerIx, Transport},
    program::{AskInput, CALLS_MAX, DialTarget, Expression, Program, StepIx, Verb},
    secrets::Secrets,
    snapshot::{NumberRange, Peer, SCHEMA, Serves, Snapshot, Source, Trunk},
    trunk::{Register, TrunkDigest},
};
use sip::{
    digest::Secret,
    uri::{Scheme, Uri},
};

use crate::{
    dial::host_port,
    dialling,
    hours::Hours,
    locate::{Asked, Locate, Located, Target},
    lots::Lots,
    messaging::{self, Sender},
    rates::{self, Rate},
    registrar::StationId,
};

/// Longest Request-URI that is looked at for an emergency number.
const LINE_MAX: usize = 256;

/// Where peers and registrars are, as the shell looked them up.
pub type Names = BTreeMap<Asked, Located>;

/// What must be looked up for a snapshot: peers and registrars that are no addresses.
#[must_use]
pub fn asked(snapshot: &Snapshot) -> BTreeSet<Asked> {
    let mut asked = BTreeSet::new();
    for trunk in snapshot.trunks.values() {
        if let Some(proxy) = &trunk.outbound_proxy {
            asked.insert(by_domain(snapshot, trunk, (&proxy.host, proxy.port)));
            continue;
        }
        asked.extend(trunk.peers.iter().map(asked_for));
        asked.extend(trunk.register.iter().map(|register| registrar(snapshot, trunk, register)));
    }
    asked.retain(|asked| asked.host.parse::<IpAddr>().is_err());
    asked
}

/// The YAML gives a peer's transport.
fn asked_for(peer: &Peer) -> Asked {
    Asked { host: peer.host.clone(), port: peer.declared_port, transports: vec![peer.transport] }
}

fn registrar(snapshot: &Snapshot, trunk: &Trunk, register: &Register) -> Asked {
    by_domain(snapshot, trunk, (&register.host, register.port))
}

/// A registrar's or proxy's transport is its domain's to say, as far as listeners of the trunk's network speak it.
fn by_domain(snapshot: &Snapshot, trunk: &Trunk, (host, port): (&str, Option<u16>)) -> Asked {
    let ours = |transport: &Transport| {
        let mut listeners = snapshot.cluster.listeners.iter();
        listeners.any(|listener| {
            listener.network == trunk.network
                && listener.transport == *transport
                && listener.serves == Serves::Trunks
        })
    };
    let preferred = [Transport::Udp, Transport::Tcp, Transport::Tls];
    let transports = preferred.into_iter().filter(ours).collect();
    Asked { host: host.to_owned(), port, transports }
}

/// The next hop of a Route, if it can be read.
#[must_use]
pub fn asked_for_route(snapshot: &Snapshot, trunk: &Trunk, route: &str) -> Option<Asked> {
    let text = route.split_once('<').map_or(route, |(_, rest)| rest);
    let uri = Uri::parse(text.split('>').next()?.as_bytes()).ok()?;
    let host = uri.host.trim_matches(['[', ']']);
    let asked = by_domain(snapshot, trunk, (host, uri.port));
    let is_secure = uri.scheme == Scheme::Sips;
    let named = |transport: &Transport| match uri.param("transport") {
        Some(name) if name.eq_ignore_ascii_case("tcp") => *transport == Transport::Tcp,
        Some(name) if name.eq_ignore_ascii_case("tls") => *transport == Transport::Tls,
        Some(name) if name.eq_ignore_ascii_case("udp") => *transport == Transport::Udp,
        Some(_) => false,
        None => !is_secure || *transport == Transport::Tls,
    };
    let transports = asked.transports.iter().copied().filter(named).collect();
    Some(Asked { transports, ..asked })
}

/// A flow that calls can run.
#[derive(Debug)]
pub struct Flow {
    /// Its object.
    pub id: FlowId,
    /// What it does.
    pub program: Arc<Program>,
    expressions: BTreeMap<Expression, expr::Compiled>,
    /// Those over a service's answer.
    saved: BTreeMap<Expression, expr::Compiled>,
    /// Flows that it calls: a call keeps those that it began with.
    callees: BTreeMap<FlowId, Arc<Self>>,
}

impl Flow {
    /// Whether what its calls speak may be passed on without being understood: it rings somebody by a trunk at once, and
    /// records nothing.
    #[must_use]
    pub fn passes_on(&self) -> bool {
        let steps = &self.program.steps;
        let (Some(Verb::Dial(dial)) | Some(Verb::Transfer { dial, .. })) =
            steps.first().map(|step| &step.verb)
        else {
            return false;
        };
        let by_trunk = |target: &DialTarget| !matches!(target, DialTarget::Agent(_));
        dial.targets.iter().all(by_trunk)
            && !steps.iter().any(|step| matches!(step.verb, Verb::Record { .. }))
    }

    /// Compiles the expressions. `callees` are all flows that the program calls.
    ///
    /// # Errors
    /// Names the step whose expression is wrong.
    pub fn new(
        id: FlowId,
        program: Arc<Program>,
        callees: BTreeMap<FlowId, Arc<Self>>,
    ) -> Result<Self, Refused> {
        let refuse = |field: &str, message: String| Refused { field: format!("flows.{id}.{field}"), message };
        check_targets(&program).map_err(|(field, message)| refuse(&field, message))?;
        let scope = expr::Scope::flow(program.variables.iter().map(|v| (v.name.as_str(), v.kind)));
        let answered = scope.with_response();
        let (mut expressions, mut saved) = (BTreeMap::new(), BTreeMap::new());
        for step in &program.steps {
            let refuse = |error: expr::Error| refuse(&format!("steps.{}", step.name), error.to_string());
            for expression in step.verb.expressions() {
                let compiled = expr::compile(&expression.0, &scope).map_err(refuse)?;
                expressions.insert(expression.clone(), compiled);
            }
            let Verb::Request(request) = &step.verb else { continue };
            for (_, expression) in &request.save {
                let compiled = expr::compile(&expression.0, &answered).map_err(refuse)?;
                saved.insert(expression.clone(), compiled);
            }
        }
        Ok(Self { id, program, expressions, saved, callees })
    }

    /// A flow of no expressions that calls no other.
    pub(crate) const fn without_expressions(id: FlowId, program: Arc<Program>) -> Self {
        Self { id, program, expressions: BTreeMap::new(), saved: BTreeMap::new(), callees: BTreeMap::new() }
    }

    /// A flow that this one calls, as it was when this one was made ready.
    #[must_use]
    pub fn callee(&self, id: &FlowId) -> Option<&Arc<Self>> {
        self.callees.get(id)
    }

    /// Every expression over the flow's own names.
    pub fn expressions(&self) -> impl Iterator<Item = &expr::Compiled> {
        self.expressions.values()
    }

    /// The compiled form of an expression over an answer.
    pub(crate) fn saved(&self, expression: &Expression) -> Option<&expr::Compiled> {
        self.saved.get(expression)
    }

    /// The compiled form of an expression of this flow.
    #[must_use]
    pub fn expression(&self, expression: &Expression) -> Option<&expr::Compiled> {
        self.expressions.get(expression)
    }
}

/// A snapshot comes over a network: that every step leads to a step is proved before a call trusts it.
fn check_targets(program: &Program) -> Result<(), (String, String)> {
    let count = program.steps.len();
    if count == 0 || count > model::program::STEPS_MAX {
        return Err((
            "steps".into(),
            format!("a program must have 1 to {} steps, not {count}", model::program::STEPS_MAX),
        ));
    }
    if program.on_error.is_some_and(|step| usize::from(step.0) >= count) {
        return Err(("onError".into(), "must be a step of the program".into()));
    }
    for step in &program.steps {
        let (targets, variables) = step.verb.references();
        let known = |target: &StepIx| usize::from(target.0) < count || *target == StepIx::RETURN;
        if !targets.iter().all(known) {
            return Err((format!("steps.{}", step.name), "must lead to steps of the program".into()));
        }
        if variables.iter().any(|variable| usize::from(variable.0) >= program.variables.len()) {
            return Err((format!("steps.{}", step.name), "must set variables of the program".into()));
        }
        if let Verb::Ask(ask) = &step.verb
            && let AskInput::Digits { min, max, .. } = &ask.input
            && (min > max || *min == 0)
        {
            return Err((
                format!("steps.{}", step.name),
                "must take at least 1 and at most `max` digits".into(),
            ));
        }
    }
    Ok(())
}

/// Why a snapshot is refused: the path of the field, and what would be right. What was there stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Refused {
    /// Path within the snapshot.
    pub field: String,
    /// A sentence.
    pub message: String,
}

/// A snapshot made ready.
#[derive(Debug)]
pub struct World {
    /// What it was made of.
    pub snapshot: Arc<Snapshot>,
    flows: BTreeMap<FlowId, Arc<Flow>>,
    hours: BTreeMap<HoursId, Hours>,
    names: Names,
    secrets: Secrets,
    /// Sources of inbound trunks by network, and how many messages a second each may send: what every packet is held against.
    sources: BTreeMap<String, Vec<(Source, u32)>>,
    /// Place of each listener's network.
    places: Vec<u16>,
    /// Phones that may register, by the name they register with.
    stations: BTreeMap<String, Vec<(StationId, Key, String)>>,
    /// Numbers that other carriers forward here, by what callers dial: the first of the range each leads to.
    forwarded: BTreeMap<(TrunkId, E164), E164>,
    /// Emergency numbers of all tenants.
    emergency_numbers: BTreeSet<String>,
    /// Addresses of peers by network: those that we call speak too.
    peers: BTreeMap<String, BTreeSet<IpAddr>>,
    /// What SMS are sent by, by tenant.
    senders: BTreeMap<String, Vec<Sender>>,
    /// Tenants with agents or queues.
    floors: BTreeSet<String>,
}

impl World {
    /// Makes a snapshot ready, keeping what `last` already compiled.
    ///
    /// # Errors
    /// The first field that is wrong; nothing is half applied.
    pub fn new(snapshot: Arc<Snapshot>, names: Names, last: Option<&Self>) -> Result<Self, Refused> {
        if snapshot.schema != SCHEMA {
            let message = format!("must be {SCHEMA}, not {}", snapshot.schema);
            return Err(Refused { field: "schema".into(), message });
        }
        let flows = flows(&snapshot, last)?;
        let mut hours = BTreeMap::new();
        for (id, declared) in &snapshot.hours {
            let ready = Hours::new(Arc::clone(declared)).ok_or_else(|| Refused {
                field: format!("hours.{id}.timeZone"),
                message: format!("must be an IANA time zone, not `{}`", declared.time_zone),
            })?;
            hours.insert(id.clone(), ready);
        }
        let (sources, peers, forwarded) =
            (sources(&snapshot), peers(&snapshot, &names), forwarded(&snapshot));
        let secrets = last.map(|last| last.secrets.clone()).unwrap_or_default();
        let stations = stations(&snapshot);
        let rules = snapshot.centre.dialling.values();
        let emergency_numbers = rules.flat_map(|rules| rules.emergency_numbers.iter().cloned()).collect();
        let places = places(&snapshot);
        let senders = messaging::senders(&snapshot);
        let floors = floors(&snapshot);
        Ok(Self {
            snapshot,
            flows,
            hours,
            names,
            secrets,
            sources,
            places,
            stations,
            forwarded,
            emergency_numbers,
            peers,
            senders,
            floors,
        })
    }

    /// The same with other values of Secrets.
    #[must_use]
    pub fn with_secrets(self, secrets: Secrets) -> Self {
        Self { secrets, ..self }
    }

    /// Values of Secrets.
    #[must_use]
    pub const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// What SMS of a tenant are sent by.
    #[must_use]
    pub fn senders(&self, tenant: &str) -> &[Sender] {
        self.senders.get(tenant).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether a tenant, which is a namespace, has agents or queues: then all that is for it meets in one engine.
    #[must_use]
    pub fn has_floor(&self, tenant: &str) -> bool {
        self.floors.contains(tenant)
    }

    /// The password of a trunk's digest, which lies in the trunk's namespace.
    #[must_use]
    pub fn password(&self, trunk: &TrunkId, digest: &TrunkDigest) -> Option<String> {
        let object = Key::new(trunk.0.namespace(), &digest.secret.name);
        let value = self.secrets.get(&object, &digest.secret.key)?;
        String::from_utf8(value.to_vec()).ok()
    }

    /// The phone that registers as `username` at `host`: the one of the namespace that the host's first label names, else
    /// the only one of that name.
    #[must_use]
    pub fn station(&self, username: &str, host: &str) -> Option<&StationId> {
        let named = self.stations.get(username)?;
        let label = host.split('.').next().unwrap_or_default();
        let here = named.iter().find(|(station, ..)| station.agent.0.namespace().eq_ignore_ascii_case(label));
        match (here, named.as_slice()) {
            (Some((station, ..)), _) | (None, [(station, ..)]) => Some(station),
            (None, _) => None,
        }
    }

    /// Whether there is such a phone.
    #[must_use]
    pub fn has_station(&self, station: &StationId) -> bool {
        let agent = self.snapshot.centre.agents.get(&station.agent);
        let phones = agent.into_iter().flat_map(|agent| &agent.stations);
        phones
            .filter(|phone| matches!(phone.kind, StationKind::Sip { .. }))
            .any(|phone| phone.name == station.station)
    }

    /// What a phone proves to know. None: the Secret's value is not at hand.
    #[must_use]
    pub fn station_secret(&self, username: &str, station: &StationId) -> Option<Secret> {
        let (_, object, key) = self.stations.get(username)?.iter().find(|(known, ..)| known == station)?;
        let value = std::str::from_utf8(self.secrets.get(object, key)?).ok()?;
        Some(secret_of(value))
    }

    /// Whether a packet from `address` may be looked at: an inbound trunk of the network admits it, or a call of ours
    /// may go there. Allocates nothing.
    #[must_use]
    pub fn knows(&self, network: &str, address: IpAddr, wall: Timestamp) -> bool {
        self.rate_of(network, address, wall).is_some()
    }

    /// How many messages a second a source may send that [`World::knows`]; by the bounds of its trunk.
    #[must_use]
    pub fn rate_of(&self, network: &str, address: IpAddr, wall: Timestamp) -> Option<Rate> {
        let sources = self.sources.get(network).map(Vec::as_slice).unwrap_or_default();
        let own = sources.iter().find(|(source, _)| source.admits(address, wall));
        if let Some((_, per_second)) = own {
            return Some(Rate { per_second: *per_second, burst: *per_second });
        }
        self.peers.get(network).is_some_and(|peers| peers.contains(&address)).then_some(rates::OF_TRUNKS)
    }

    /// Place of a listener's network in the snapshot.
    #[must_use]
    pub fn place_of(&self, listener: ListenerIx) -> u16 {
        self.places.get(usize::from(listener.0)).copied().unwrap_or(u16::MAX)
    }

    /// The live number of a trunk that another carrier forwards here when `first` is dialled.
    #[must_use]
    pub fn forwarded(&self, trunk: &TrunkId, first: E164) -> Option<&NumberRange> {
        let ours = self.forwarded.get(&(trunk.clone(), first))?;
        self.snapshot.number(trunk, *ours)
    }

    /// Whether a message begins like a call for help, of whichever tenant: looked at before it is parsed.
    #[must_use]
    pub fn is_for_help(&self, bytes: &[u8]) -> bool {
        let Some(rest) = bytes.strip_prefix(b"INVITE ") else { return false };
        let length = rest.iter().take(LINE_MAX).position(|byte| *byte == b' ');
        let uri = length.and_then(|length| Uri::parse(&rest[..length]).ok());
        uri.is_some_and(|uri| {
            dialling::emergency_number(&uri, None).is_some()
                || uri.user.is_some_and(|user| self.emergency_numbers.contains(user))
        })
    }

    /// Where peers and registrars are.
    #[must_use]
    pub const fn names(&self) -> &Names {
        &self.names
    }

    /// The flow of that name.
    #[must_use]
    pub fn flow(&self, id: &FlowId) -> Option<&Arc<Flow>> {
        self.flows.get(id)
    }

    /// The business hours of that name.
    #[must_use]
    pub fn hours(&self, id: &HoursId) -> Option<&Hours> {
        self.hours.get(id)
    }

    /// Flows that a call to `peer` of `trunk` can leave by, best first and equals as the lots say. Empty: its name is
    /// not resolved, or the trunk's network has no listener of that transport.
    #[must_use]
    pub fn flows_to(&self, trunk: &TrunkId, peer: &Peer, lots: &mut Lots) -> Vec<NetFlow> {
        let Some(trunk) = self.snapshot.trunks.get(trunk) else { return Vec::new() };
        match self.to_proxy(trunk) {
            Some(proxy) => self.flows(&trunk.network, &proxy, lots),
            None => self.flows(&trunk.network, &asked_for(peer), lots),
        }
    }

    /// The Route that says that requests of a trunk go through its proxy (RFC 3261 §8.1.2).
    #[must_use]
    pub fn preset_route(trunk: &Trunk) -> Option<String> {
        let proxy = trunk.outbound_proxy.as_ref()?;
        Some(format!("<sip:{};lr>", host_port(&proxy.host, proxy.port)))
    }

    fn to_proxy(&self, trunk: &Trunk) -> Option<Asked> {
        let proxy = trunk.outbound_proxy.as_ref()?;
        Some(by_domain(&self.snapshot, trunk, (&proxy.host, proxy.port)))
    }

    /// Flows to the next hop of a Route that a registrar wants a trunk's calls to take. Empty: it is not resolved.
    #[must_use]
    pub fn flows_by_route(&self, trunk: &TrunkId, route: &str, lots: &mut Lots) -> Vec<NetFlow> {
        let Some(trunk) = self.snapshot.trunks.get(trunk) else { return Vec::new() };
        let asked = asked_for_route(&self.snapshot, trunk, route);
        asked.map(|asked| self.flows(&trunk.network, &asked, lots)).unwrap_or_default()
    }

    /// Hosts that requests of a trunk go to and that are no peers, each with its flows: its proxy, its registrar, and where
    /// registrars want calls to go.
    #[must_use]
    pub fn flows_beside_peers(&self, id: &TrunkId, lots: &mut Lots) -> Vec<(String, Vec<NetFlow>)> {
        let Some(trunk) = self.snapshot.trunks.get(id) else { return Vec::new() };
        let mut asked: Vec<Asked> = self.to_proxy(trunk).into_iter().collect();
        if let Some(register) = &trunk.register {
            if asked.is_empty() {
                asked.push(registrar(&self.snapshot, trunk, register));
            }
            asked.extend(self.beside().cloned());
        }
        let flows = asked.into_iter().map(|asked| {
            let flows = self.flows(&trunk.network, &asked, lots);
            (asked.host, flows)
        });
        flows.collect()
    }

    /// What was looked up beside the snapshot's own names: next hops of Service-Routes.
    fn beside(&self) -> impl Iterator<Item = &Asked> {
        beside(&self.snapshot, &self.names)
    }

    /// Flows that a registration of a trunk can leave by, like those to a peer.
    #[must_use]
    pub fn flows_to_registrar(&self, trunk: &TrunkId, lots: &mut Lots) -> Vec<NetFlow> {
        let Some(trunk) = self.snapshot.trunks.get(trunk) else { return Vec::new() };
        let Some(register) = &trunk.register else { return Vec::new() };
        let asked = self.to_proxy(trunk).unwrap_or_else(|| registrar(&self.snapshot, trunk, register));
        self.flows(&trunk.network, &asked, lots)
    }

    fn flows(&self, network: &str, asked: &Asked, lots: &mut Lots) -> Vec<NetFlow> {
        let targets = located(asked, &self.names).into_iter();
        let targets = targets.map(|target| (target.priority, target.weight, target)).collect();
        let mut flows = Vec::new();
        for target in lots.order(targets) {
            let found =
                target.addresses.iter().filter_map(|remote| self.flow_by(network, target.transport, *remote));
            flows.extend(found);
        }
        flows
    }

    /// The stream that requests to a peer take which are too large for a datagram of `flow`. None: they go as datagrams.
    #[must_use]
    pub fn stream_beside(&self, trunk: &TrunkId, peer: &Peer, flow: NetFlow) -> Option<NetFlow> {
        let trunk = self.snapshot.trunks.get(trunk).filter(|_| peer.large_by_tcp)?;
        (flow.transport == Transport::Udp)
            .then(|| self.flow_by(&trunk.network, Transport::Tcp, flow.remote))?
    }

    fn flow_by(&self, network: &str, transport: Transport, remote: SocketAddr) -> Option<NetFlow> {
        let fits = |listener: &model::snapshot::Listener| {
            listener.network == network
                && listener.transport == transport
                && listener.serves == Serves::Trunks
                && listener.bind.is_ipv4() == remote.is_ipv4()
        };
        let place = self.snapshot.cluster.listeners.iter().position(fits)?;
        Some(NetFlow { transport, listener: ListenerIx(u16::try_from(place).ok()?), remote, connection: 0 })
    }
}

/// All flows, those first that call none, as they are before those that call them.
fn flows(snapshot: &Snapshot, last: Option<&World>) -> Result<BTreeMap<FlowId, Arc<Flow>>, Refused> {
    let mut ready: BTreeMap<FlowId, Arc<Flow>> = BTreeMap::new();
    for _ in 0..CALLS_MAX {
        let waiting = snapshot.flows.iter().filter(|(id, _)| !ready.contains_key(*id));
        let mut level = Vec::new();
        for (id, program) in waiting {
            let callees = program.calls().into_iter();
            let callees = callees.map(|callee| Some((callee.clone(), Arc::clone(ready.get(callee)?))));
            let Some(callees) = callees.collect::<Option<BTreeMap<_, _>>>() else { continue };
            let known = last.and_then(|last| last.flows.get(id));
            let same = |flow: &&Arc<Flow>| {
                let pairs = flow.callees.iter().zip(&callees);
                flow.program == *program
                    && flow.callees.len() == callees.len()
                    && pairs.into_iter().all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(a.1, b.1))
            };
            level.push(match known.filter(same) {
                Some(flow) => Arc::clone(flow),
                None => Arc::new(Flow::new(id.clone(), Arc::clone(program), callees)?),
            });
        }
        if level.is_empty() {
            break;
        }
        ready.extend(level.into_iter().map(|flow| (flow.id.clone(), flow)));
    }
    match snapshot.flows.keys().find(|id| !ready.contains_key(*id)) {
        None => Ok(ready),
        Some(id) => {
            let message = format!(
                "must call only flows of the snapshot, no circle of them, and none deeper than {CALLS_MAX}"
            );
            Err(Refused { field: format!("flows.{id}"), message })
        }
    }
}

fn floors(snapshot: &Snapshot) -> BTreeSet<String> {
    let agents = snapshot.centre.agents.keys().map(|id| id.0.namespace());
    let queues = snapshot.centre.queues.keys().map(|id| id.0.namespace());
    let tenants: BTreeSet<&str> = agents.chain(queues).collect();
    tenants.into_iter().map(str::to_owned).collect()
}

fn stations(snapshot: &Snapshot) -> BTreeMap<String, Vec<(StationId, Key, String)>> {
    let mut stations: BTreeMap<String, Vec<(StationId, Key, String)>> = BTreeMap::new();
    for (id, agent) in &snapshot.centre.agents {
        for station in &agent.stations {
            let StationKind::Sip { username, secret } = &station.kind else { continue };
            let named = StationId { agent: id.clone(), station: station.name.clone() };
            let object = Key::new(id.0.namespace(), &secret.name);
            stations.entry(username.clone()).or_default().push((named, object, secret.key.clone()));
        }
    }
    stations
}

/// A password, or lines of an algorithm, a colon, and the hash of username, realm and password in hex.
fn secret_of(value: &str) -> Secret {
    let mut hashes: BTreeMap<&str, String> = BTreeMap::new();
    for line in value.lines() {
        let hash = line.split_once(':').filter(|(algorithm, hash)| {
            let length = if *algorithm == "MD5" { 32 } else { 64 };
            ["MD5", "SHA-256", "SHA-512-256"].contains(algorithm)
                && hash.len() == length
                && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        let Some((algorithm, hash)) = hash else { return Secret::Password(value.to_owned()) };
        hashes.insert(algorithm, hash.to_owned());
    }
    if hashes.is_empty() {
        return Secret::Password(value.to_owned());
    }
    Secret::Ha1 {
        md5: hashes.remove("MD5"),
        sha256: hashes.remove("SHA-256"),
        sha512_256: hashes.remove("SHA-512-256"),
    }
}

fn forwarded(snapshot: &Snapshot) -> BTreeMap<(TrunkId, E164), E164> {
    let ranges =
        snapshot.numbers.iter().flat_map(|(trunk, ranges)| ranges.iter().map(move |range| (trunk, range)));
    ranges.filter_map(|(trunk, range)| Some(((trunk.clone(), range.forwarded_from?), range.first))).collect()
}

fn sources(snapshot: &Snapshot) -> BTreeMap<String, Vec<(Source, u32)>> {
    let mut sources: BTreeMap<String, Vec<(Source, u32)>> = BTreeMap::new();
    for trunk in snapshot.trunks.values().filter(|trunk| trunk.direction.is_inbound()) {
        let calls = trunk.calls_per_second_max.map(|calls| calls.saturating_mul(rates::MESSAGES_OF_CALL));
        let most = rates::OF_TRUNKS.per_second;
        let per_second = calls.map_or(most, |messages| messages.clamp(rates::OF_TRUNKS_MIN, most));
        let of_trunk = trunk.sources.iter().map(|source| (source.clone(), per_second));
        sources.entry(trunk.network.clone()).or_default().extend(of_trunk);
    }
    sources
}

fn places(snapshot: &Snapshot) -> Vec<u16> {
    let networks = &snapshot.cluster.networks;
    let place = |name: &str| networks.iter().position(|network| network.name == name);
    let listeners = snapshot.cluster.listeners.iter();
    listeners
        .map(|one| place(&one.network).and_then(|at| u16::try_from(at).ok()).unwrap_or(u16::MAX))
        .collect()
}

fn peers(snapshot: &Snapshot, names: &Names) -> BTreeMap<String, BTreeSet<IpAddr>> {
    let mut peers: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
    for trunk in snapshot.trunks.values() {
        let outbound = trunk.peers.iter().filter(|_| trunk.direction.is_outbound()).map(asked_for);
        let registers = trunk.register.iter().map(|register| registrar(snapshot, trunk, register));
        let routes = beside(snapshot, names).filter(|_| trunk.register.is_some()).cloned();
        let proxy = trunk.outbound_proxy.iter();
        let proxy = proxy.map(|proxy| by_domain(snapshot, trunk, (&proxy.host, proxy.port)));
        let targets =
            outbound.chain(registers).chain(routes).chain(proxy).flat_map(|asked| located(&asked, names));
        let addresses = targets.flat_map(|target| target.addresses).map(|address| address.ip());
        peers.entry(trunk.network.clone()).or_default().extend(addresses);
    }
    peers
}

fn beside<'a>(snapshot: &Snapshot, names: &'a Names) -> impl Iterator<Item = &'a Asked> {
    let own = if names.is_empty() { BTreeSet::new() } else { asked(snapshot) };
    names.keys().filter(move |asked| !own.contains(*asked))
}

fn located(asked: &Asked, names: &Names) -> Vec<Target> {
    if let Some(known) = names.get(asked) {
        return known.targets.clone();
    }
    // An address needs no question.
    match Locate::new(asked.clone()).done() {
        Some(Ok(located)) => located.targets.clone(),
        Some(Err(_)) | None => Vec::new(),
    }
}
