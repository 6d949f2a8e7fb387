//! What goes on beside calls: probes of peers, registrations, and answers to challenges.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::{LegId, TrunkId, net::Flow as NetFlow, snapshot::Trunk, trunk::Register};
use sip::{
    digest::{self, Algorithm, Challenge, Credentials, Secret},
    endpoint::{ChallengeId, Event as SipEvent, Failure, Header, OutOfDialog, RequestId, Sequence},
    wire::{Message, Method, Name},
};

use super::{Engine, Output, Tidings, TrunkNews};
use crate::{
    Now,
    dial::{host_port, uri_of},
    health::{self, Heard, Who},
    locate::Asked,
    registration::{self, Reply, Standing},
    world::{World, asked_for_route},
};

/// What a request outside of dialogs is for.
#[derive(Debug)]
pub(super) enum Purpose {
    Probe { who: Who, probe: u64 },
    Register { trunk: TrunkId, flow: NetFlow, contact: String, expires_seconds: u32 },
}

/// Requests outside of dialogs, and the registrations that they belong to.
#[derive(Debug, Default)]
pub(super) struct Outside {
    requests: BTreeMap<RequestId, Purpose>,
    sequences: BTreeMap<TrunkId, Sequence>,
}

impl Engine {
    /// Peers that are watched, with since when they are down.
    pub fn peers(&self) -> impl Iterator<Item = (&Who, Option<Timestamp>)> {
        self.health.peers()
    }

    /// Where registrars want calls to go, to be looked up beside what the snapshot names.
    #[must_use]
    pub fn routes(&self) -> BTreeSet<Asked> {
        let snapshot = &self.world.snapshot;
        let routes = self.registrations.standings().filter_map(|(id, standing)| {
            let trunk = snapshot.trunks.get(id)?;
            asked_for_route(snapshot, trunk, standing.service_route.first()?)
        });
        routes.filter(|asked| !asked.transports.is_empty()).collect()
    }

    /// Registrations of ours.
    pub fn registrations(&self) -> impl Iterator<Item = (&TrunkId, &Standing)> {
        self.registrations.standings()
    }

    /// After a change of the snapshot, of names or secrets: whom to watch, and where to register.
    pub(super) fn look_over(&mut self, now: Now) {
        // Peers are to be probed once, and registrars told once.
        if !self.shard.is_home() {
            return;
        }
        let world = std::sync::Arc::clone(&self.world);
        let mut watched = BTreeMap::new();
        let mut registered = BTreeMap::new();
        for (id, trunk) in &world.snapshot.trunks {
            if let Some(health) = trunk.health.as_ref().filter(|_| trunk.direction.is_outbound()) {
                for peer in &trunk.peers {
                    for flow in world.flows_to(id, peer, &mut self.lots) {
                        let who = Who { trunk: id.clone(), peer: peer.name.clone(), flow };
                        watched.insert(who, health.clone());
                    }
                }
            }
            // One that cannot be sent yet begins as soon as its registrar is found.
            if let Some(register) = &trunk.register
                && !world.flows_to_registrar(id, &mut self.lots).is_empty()
            {
                registered.insert(id.clone(), register.clone());
            }
        }
        self.health.watch(now, watched);
        self.registrations.wish(now.instant, &registered);
        self.registrations.timeout(now);
        self.stands();
    }

    fn stands(&mut self) {
        self.push(Output::Standing);
        if !self.shard.is_alone() {
            self.tell_others(Tidings::Standing(std::sync::Arc::new(self.standings())));
        }
    }

    /// Carries out what the machines want. Gives whether there was anything.
    pub(super) fn drain_outside(&mut self, now: Now) -> bool {
        let mut any = false;
        while let Some(output) = self.health.poll() {
            any = true;
            match output {
                health::Output::Probe { who, probe } => self.probe(now, who, probe),
                health::Output::Changed { who, is_up, heard } => {
                    let state = if is_up { "is up again" } else { "is down" };
                    let what = format!(
                        "peer `{}` of Trunk {} ({}) {state}: {}",
                        who.peer,
                        who.trunk,
                        who.flow,
                        said(heard)
                    );
                    self.news(what, !is_up);
                }
            }
        }
        while let Some(output) = self.registrations.poll() {
            any = true;
            match output {
                registration::Output::Send { trunk, expires_seconds, attempt } => {
                    self.register(now, trunk, expires_seconds, attempt);
                }
                registration::Output::Changed { trunk, is_registered, because } => {
                    let is_bad = !is_registered && !self.draining;
                    self.news(format!("Trunk {trunk} {because}"), is_bad);
                }
            }
        }
        any
    }

    fn news(&mut self, what: String, is_bad: bool) {
        self.push(Output::TrunkNews(TrunkNews { what, is_bad }));
        if self.shard.is_home() {
            self.stands();
        }
    }

    fn probe(&mut self, now: Now, who: Who, probe: u64) {
        let world = std::sync::Arc::clone(&self.world);
        let peer = world.snapshot.trunks.get(&who.trunk);
        let peer = peer.and_then(|trunk| trunk.peers.iter().find(|peer| peer.name == who.peer));
        let Some(peer) = peer else { return self.health.abandoned(&who, probe) };
        let mut headers = vec![Header::new("Accept", "application/sdp")];
        let trunk = world.snapshot.trunks.get(&who.trunk);
        headers.extend(trunk.and_then(World::preset_route).map(|route| Header::new("Route", route)));
        let options = OutOfDialog {
            flow: who.flow,
            tcp: None,
            method: Method::Options,
            request_uri: uri_of(None, peer, true),
            from: format!("<sip:{}>", self.sent_by(&who.flow)),
            to: format!("<{}>", uri_of(None, peer, false)),
            sequence: None,
            headers,
            body: Default::default(),
            challenges: false,
        };
        match self.endpoint.request(now.instant, options) {
            Ok(id) => {
                self.outside.requests.insert(id, Purpose::Probe { who, probe });
            }
            // That our table is full says nothing about the peer.
            Err(_) => self.health.abandoned(&who, probe),
        }
    }

    fn register(&mut self, now: Now, trunk: TrunkId, expires_seconds: u32, attempt: u32) {
        let world = std::sync::Arc::clone(&self.world);
        let flows = world.flows_to_registrar(&trunk, &mut self.lots);
        let spec =
            world.snapshot.trunks.get(&trunk).and_then(|trunk| trunk.register.as_ref().zip(Some(trunk)));
        let known = self.registrations.standing(&trunk).and_then(|standing| standing.flow);
        // The registrar that took it is asked first; after each failure another address.
        let next = flows.get(attempt as usize % flows.len().max(1)).copied();
        let Some(((register, spec), flow)) = spec.zip(known.filter(|_| attempt == 0).or(next)) else {
            return self.registrations.replied(now, &trunk, None, Reply::Unreachable);
        };
        let aor = format!("<sip:{}@{}>", register.user, host_port(&register.host, None));
        let contact = format!("sip:{}@{}", register.user, self.sent_by(&flow));
        let expires = expires_seconds.to_string();
        let mut headers = vec![
            Header::new("Contact", format!("<{contact}{}>;expires={expires}", transport_param(&flow))),
            Header::new("Expires", expires),
        ];
        headers.extend(World::preset_route(spec).map(|route| Header::new("Route", route)));
        let request = OutOfDialog {
            flow,
            tcp: None,
            method: Method::Register,
            request_uri: format!("sip:{}", host_port(&register.host, register.port)),
            from: aor.clone(),
            to: aor,
            sequence: self.outside.sequences.get(&trunk).cloned(),
            headers,
            body: Default::default(),
            challenges: spec.digest.is_some(),
        };
        match self.endpoint.request(now.instant, request) {
            Ok(id) => {
                let purpose = Purpose::Register { trunk, flow, contact, expires_seconds };
                self.outside.requests.insert(id, purpose);
            }
            Err(_) => self.registrations.replied(now, &trunk, None, Reply::Unreachable),
        }
    }

    /// A request of ours is over, or was challenged; a peer's was never asked for.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all else is about legs")]
    pub(super) fn outside_event(&mut self, now: Now, event: SipEvent) {
        match event {
            SipEvent::RequestDone { id, response, cause, sequence } => {
                self.request_done(now, id, response.as_ref(), (cause, sequence));
            }
            SipEvent::Challenged { id, leg, method, request_uri, response } => {
                self.challenged(now, (id, leg), (method, &request_uri), &response);
            }
            _ => {}
        }
    }

    fn request_done(
        &mut self,
        now: Now,
        id: RequestId,
        response: Option<&Message>,
        (cause, sequence): (Failure, Sequence),
    ) {
        match self.outside.requests.remove(&id) {
            Some(Purpose::Probe { who, probe }) => {
                let heard = match (response, cause) {
                    (Some(response), _) => Heard::Answered(response.code()),
                    (None, Failure::Transport) => Heard::Unreachable,
                    (None, _) => Heard::Silent,
                };
                self.health.probed(now, &who, probe, heard);
            }
            Some(Purpose::Register { trunk, flow, contact, expires_seconds }) => {
                self.outside.sequences.insert(trunk.clone(), sequence);
                let reply = match (response, cause) {
                    (Some(response), _) => reply(response, &contact, expires_seconds),
                    (None, Failure::Transport) => Reply::Unreachable,
                    (None, _) => Reply::Silent,
                };
                self.registrations.replied(now, &trunk, Some(flow), reply);
            }
            None => {}
        }
    }

    /// A 401 or 407 to a request of ours, within a call or a REGISTER.
    fn challenged(
        &mut self,
        now: Now,
        (id, leg): (ChallengeId, Option<LegId>),
        (method, uri): (Method, &str),
        response: &Message,
    ) {
        let world = std::sync::Arc::clone(&self.world);
        let trunk = match leg {
            Some(leg) => self.load.trunk_of(leg).cloned(),
            None => registered_trunk(&world, response),
        };
        let trunk = trunk.and_then(|id| world.snapshot.trunks.get_key_value(&id));
        let headers = trunk.map(|trunk| self.credentials(&world, trunk, (method, uri), response));
        let answered = match headers {
            Some(Ok(headers)) => self.endpoint.retry_with(now.instant, id, &headers),
            Some(Err(because)) => {
                self.news(because, true);
                self.endpoint.give_up(now.instant, id)
            }
            None => self.endpoint.give_up(now.instant, id),
        };
        // Its leg is over, or the table is full: the challenge is given up by itself.
        let _ = answered;
    }

    fn credentials(
        &mut self,
        world: &World,
        (id, trunk): (&TrunkId, &Trunk),
        (method, uri): (Method, &str),
        response: &Message,
    ) -> Result<Vec<Header>, String> {
        let digest = trunk
            .digest
            .as_ref()
            .ok_or_else(|| format!("Trunk {id} challenges us, and it has no `digest` to answer with"))?;
        let password = world.password(id, digest).ok_or_else(|| {
            format!(
                "Trunk {id} challenges us, and key `{}` of Secret {}/{} is not at hand",
                digest.secret.key,
                id.0.namespace(),
                digest.secret.name
            )
        })?;
        let credentials = Credentials {
            username: digest.username.clone(),
            secret: Secret::Password(password),
            least: Algorithm::Md5,
        };
        let cnonce = format!("{:016x}", self.lots.draw());
        let mut headers = digest::answers(response, &credentials, method.as_str(), uri, 1, &cnonce);
        if let Some(realm) = &digest.realm {
            // A realm that nobody expects gets no proof to work on.
            headers.retain(|header| header.value.contains(&format!("realm=\"{realm}\"")));
        }
        if headers.is_empty() {
            let challenges = [Challenge::all(response, false), Challenge::all(response, true)].concat();
            let realms: Vec<String> =
                challenges.iter().map(|challenge| format!("`{}`", challenge.realm)).collect();
            return Err(format!(
                "Trunk {id} challenges us in a way that its `digest` cannot answer (realm {})",
                realms.join(", ")
            ));
        }
        Ok(headers)
    }

    pub(super) fn sent_by(&self, flow: &NetFlow) -> String {
        let listener = self.world.snapshot.cluster.listeners.get(usize::from(flow.listener.0));
        listener.map(|listener| listener.advertised.clone()).unwrap_or_default()
    }
}

/// The trunk whose address of record a REGISTER's response is about.
fn registered_trunk(world: &World, response: &Message) -> Option<TrunkId> {
    let to = response.to()?;
    let fits = |register: &Register| {
        to.uri.user == Some(register.user.as_str()) && to.uri.host == host_port(&register.host, None)
    };
    let mut trunks = world.snapshot.trunks.iter();
    trunks.find(|(_, trunk)| trunk.register.as_ref().is_some_and(fits)).map(|(id, _)| id.clone())
}

fn reply(response: &Message, contact: &str, asked_seconds: u32) -> Reply {
    let number = |text: &str| text.trim().split(|c: char| !c.is_ascii_digit()).next()?.parse::<u32>().ok();
    let named = |name: &str| number(std::str::from_utf8(response.named(name)?).ok()?);
    match response.code() {
        200..=299 => {
            // Other bindings of the address of record stand beside ours (RFC 3261 §10.3).
            let ours = response.addresses(Name::Contact).find(|address| is_ours(address.uri.text, contact));
            let granted = ours.and_then(|address| number(address.params.get("expires")?));
            let expires = response.header_text(Name::Expires).and_then(number);
            let is_route = |name: &str| name.eq_ignore_ascii_case("Service-Route");
            let routes = response.fields().filter(|(name, _)| is_route(name));
            let routes =
                routes.filter_map(|(_, value)| Some(std::str::from_utf8(value).ok()?.trim().to_owned()));
            Reply::Granted {
                expires_seconds: granted.or(expires).unwrap_or(asked_seconds),
                service_route: routes.take(registration::ROUTES_MAX).collect(),
            }
        }
        423 => Reply::TooBrief(named("Min-Expires").unwrap_or(0)),
        code => Reply::Refused(code, response.header_text(Name::RetryAfter).and_then(number)),
    }
}

fn is_ours(uri: &str, contact: &str) -> bool {
    uri.strip_prefix(contact).is_some_and(|rest| rest.is_empty() || rest.starts_with(';'))
}

fn transport_param(flow: &NetFlow) -> &'static str {
    use model::net::Transport;
    match flow.transport {
        Transport::Udp => "",
        Transport::Tcp => ";transport=tcp",
        Transport::Tls => ";transport=tls",
        Transport::Ws | Transport::Wss => ";transport=ws",
    }
}

fn said(heard: Heard) -> String {
    match heard {
        Heard::Answered(code) => format!("it answered {code}"),
        Heard::Silent => "it gave no answer in time".into(),
        Heard::Unreachable => "it cannot be reached".into(),
    }
}
