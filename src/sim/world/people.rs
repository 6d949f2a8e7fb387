//! Everybody at the other end of a line: carriers, PBXs, contacts and agents' telephones, behind one SIP endpoint with an
//! address for each.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Instant,
};

use bytes::Bytes;
use model::{
    AgentId, E164, LegId,
    calltest::{Behaviour, CallTest, Does, Whom},
    centre::StationKind,
    media::Codec,
    net::{Flow, ListenerIx, Transport},
};
use sip::{
    digest::{self, Algorithm, Credentials, Secret},
    endpoint::{
        self, Ended, Endpoint, Event, Extensions, Header, Invite, ListenerConfig, OutOfDialog, Output,
    },
    sdp::{self, LocalMedia},
    transaction::Timers,
    uri::unescape,
    wire::{Message, Method},
};

use super::plain::{self, Plain, SECRET};

/// Most legs and transactions.
const LEGS_MAX: usize = 8_000;
const TRANSACTIONS_MAX: usize = 20_000;

/// Port that nobody sends audio to.
const RTP_PORT: u16 = 40_000;

/// Who does not say what to do lets it ring.
const IGNORES: Behaviour = Behaviour { does: Does::Ignore, after_seconds: 0, talk_seconds: None };

/// A telephone of an agent that registers.
#[derive(Debug)]
struct Station {
    agent: AgentId,
    username: String,
    behaviour: Behaviour,
}

/// Somebody is rung.
#[derive(Debug, Clone)]
pub(super) struct Rung {
    pub leg: LegId,
    /// Call-ID of the leg.
    pub call_id: String,
    pub behaviour: Behaviour,
    /// Whether a key must be pressed to take the call.
    pub confirms: bool,
}

/// What somebody at the other end notices.
#[derive(Debug)]
pub(super) enum News {
    /// Somebody is rung.
    Rings(Rung),
    /// A call that began here is answered.
    Answered(LegId),
    /// A leg is over; of one that began here and was refused, with which code.
    Over(LegId, Option<u16>),
}

#[derive(Debug)]
pub(super) struct People {
    endpoint: Endpoint,
    /// Where each is: a place is a listener of the endpoint.
    places: Vec<SocketAddr>,
    by_address: BTreeMap<SocketAddr, ListenerIx>,
    /// Our listeners.
    ours: Vec<SocketAddr>,
    /// Trunks come first; telephones after so many.
    trunks: usize,
    stations: Vec<Station>,
    /// Numbers of agents who are there.
    mobiles: BTreeMap<E164, Behaviour>,
    callees: BTreeMap<Whom, Behaviour>,
    /// Offers that wait to be answered.
    offers: BTreeMap<LegId, Option<Bytes>>,
    /// Where each leg is.
    lines: BTreeMap<LegId, ListenerIx>,
    up: BTreeSet<LegId>,
    pub news: Vec<News>,
    /// From where to which listener of ours.
    pub wire: Vec<(Flow, Bytes)>,
}

impl People {
    pub fn new(plain: &Plain, test: &CallTest) -> Self {
        let (mut stations, mut mobiles) = (Vec::new(), BTreeMap::new());
        for (id, behaviour) in &test.agents {
            let agent = plain.world.snapshot.centre.agents.get(id);
            for station in agent.into_iter().flat_map(|agent| &agent.stations) {
                match &station.kind {
                    StationKind::Sip { username, .. } => stations.push(Station {
                        agent: id.clone(),
                        username: username.clone(),
                        behaviour: *behaviour,
                    }),
                    StationKind::Pstn { number } => {
                        mobiles.insert(*number, *behaviour);
                    }
                    StationKind::WebRtc { .. } => {}
                }
            }
        }
        let trunks = (0..plain.trunks.len()).map(plain::trunk_address);
        let places: Vec<SocketAddr> = trunks.chain((0..stations.len()).map(plain::phone_address)).collect();
        let listener = |address: &SocketAddr| ListenerConfig {
            transport: Transport::Udp,
            sent_by: address.to_string(),
            serves_register: false,
        };
        let config = endpoint::Config {
            listeners: places.iter().map(listener).collect(),
            token: "people".into(),
            user_agent: String::new(),
            legs_max: LEGS_MAX,
            transactions_max: TRANSACTIONS_MAX,
            timers: Timers::default(),
            mtu: endpoint::MTU,
            extensions: Extensions { reliable: false, session: None, transfers: false },
        };
        let indexed = places.iter().enumerate();
        let indexed = indexed.filter_map(|(place, at)| Some((*at, ListenerIx(u16::try_from(place).ok()?))));
        let by_address = indexed.collect();
        Self {
            endpoint: Endpoint::new(config, 11),
            by_address,
            places,
            ours: plain.ours.clone(),
            trunks: plain.trunks.len(),
            stations,
            mobiles,
            callees: test.callees.iter().cloned().collect(),
            offers: BTreeMap::new(),
            lines: BTreeMap::new(),
            up: BTreeSet::new(),
            news: Vec::new(),
            wire: Vec::new(),
        }
    }

    /// From a place of theirs to a listener of ours.
    fn flow(&self, place: usize, ours: ListenerIx) -> Option<Flow> {
        let listener = ListenerIx(u16::try_from(place).ok()?);
        let remote = *self.ours.get(usize::from(ours.0))?;
        Some(Flow { transport: Transport::Udp, listener, remote, connection: 0 })
    }

    fn media(&self, listener: ListenerIx) -> Option<LocalMedia> {
        let address = self.places.get(usize::from(listener.0))?.ip();
        Some(LocalMedia::new(address, RTP_PORT, vec![Codec::Pcmu], 1))
    }

    /// Telephones of agents who are there register.
    pub fn register(&mut self, now: Instant, phones: Option<ListenerIx>) {
        let Some(phones) = phones else { return };
        for place in 0..self.stations.len() {
            let Some(flow) = self.flow(self.trunks + place, phones) else { continue };
            let Station { agent, username, .. } = &self.stations[place];
            // The first label of the host names the namespace.
            let host = format!("{}.invalid", agent.0.namespace());
            let own = format!("<sip:{username}@{host}>");
            let contact = format!("<sip:{username}@{}>", self.places[self.trunks + place]);
            let request = OutOfDialog {
                flow,
                tcp: None,
                method: Method::Register,
                request_uri: format!("sip:{host}"),
                from: own.clone(),
                to: own,
                sequence: None,
                headers: vec![Header::new("Contact", contact)],
                body: (String::new(), Bytes::new()),
                challenges: true,
            };
            let _ = self.endpoint.request(now, request);
        }
        self.drain(now);
    }

    /// A contact calls by a trunk. None: there is no room for it.
    pub fn call(
        &mut self,
        now: Instant,
        (place, ours): (usize, ListenerIx),
        (from, to): (Option<E164>, E164),
    ) -> Option<LegId> {
        let flow = self.flow(place, ours)?;
        let own = self.places.get(place)?.ip();
        let from = match from {
            Some(number) => format!("<sip:{number}@{own}>"),
            // RFC 3323 §4.1.1.3
            None => "\"Anonymous\" <sip:anonymous@anonymous.invalid>".to_owned(),
        };
        let uri = format!("sip:{to}@{}", flow.remote);
        let invite = Invite {
            flow,
            to: format!("<{uri}>"),
            request_uri: uri,
            from,
            sdp: Some(sdp::offer(&self.media(flow.listener)?)),
            max_forwards: 70,
            headers: Vec::new(),
            challenges: false,
            tcp: None,
            attached: None,
            feature: None,
        };
        let leg = self.endpoint.invite(now, invite).ok()?;
        self.lines.insert(leg, flow.listener);
        self.drain(now);
        Some(leg)
    }

    /// Call-ID of a leg that began here.
    pub fn call_id(&self, leg: LegId) -> String {
        self.endpoint.call_id(leg).unwrap_or_default()
    }

    /// A message of ours to somebody.
    pub fn hear(&mut self, now: Instant, flow: Flow, bytes: Bytes) {
        let Some(listener) = self.by_address.get(&flow.remote).copied() else { return };
        let Some(from) = self.ours.get(usize::from(flow.listener.0)).copied() else { return };
        let flow = Flow { transport: Transport::Udp, listener, remote: from, connection: 0 };
        self.endpoint.handle(now, endpoint::Input::datagram(flow, bytes));
        self.drain(now);
    }

    /// Somebody takes a call.
    pub fn answer(&mut self, now: Instant, leg: LegId) -> bool {
        let Some(offer) = self.offers.remove(&leg) else { return false };
        let description = self.description(leg, offer.as_ref());
        let answered =
            description.is_some_and(|description| self.endpoint.accept(now, leg, description, &[]).is_ok());
        if answered {
            self.up.insert(leg);
        }
        self.drain(now);
        answered
    }

    /// The answer to an offer, or an offer.
    fn description(&self, leg: LegId, offer: Option<&Bytes>) -> Option<Bytes> {
        let media = self.media(*self.lines.get(&leg)?)?;
        match offer {
            Some(offer) => sdp::answer(offer, &media).ok().map(|(answer, _)| answer),
            None => Some(sdp::offer(&media)),
        }
    }

    /// Somebody refuses a call.
    pub fn refuse(&mut self, now: Instant, leg: LegId, code: u16) {
        let _ = self.endpoint.reject(now, leg, code, None, &[]);
        self.drain(now);
    }

    /// Somebody hangs up, or gives up before there was an answer.
    pub fn hang_up(&mut self, now: Instant, leg: LegId) {
        let _ = match self.up.contains(&leg) {
            true => self.endpoint.bye(now, leg, &[]),
            false => self.endpoint.cancel(now, leg, &[]),
        };
        self.drain(now);
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout().map(|(at, _)| at)
    }

    pub fn timeout(&mut self, now: Instant) {
        self.endpoint.handle(now, endpoint::Input::Timeout);
        self.drain(now);
    }

    /// Sends what there is to be sent.
    pub fn drain(&mut self, now: Instant) {
        while let Some(output) = self.endpoint.poll() {
            match output {
                Output::Transmit { flow, bytes } => self.send(flow, bytes),
                Output::Event(event) => self.event(now, event),
                Output::Note(_) => {}
            }
        }
    }

    fn send(&mut self, flow: Flow, bytes: Bytes) {
        let Some(from) = self.places.get(usize::from(flow.listener.0)).copied() else { return };
        let Some(place) = self.ours.iter().position(|ours| *ours == flow.remote) else { return };
        let Ok(place) = u16::try_from(place) else { return };
        let flow =
            Flow { transport: Transport::Udp, listener: ListenerIx(place), remote: from, connection: 0 };
        self.wire.push((flow, bytes));
    }

    fn event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Invited { leg, flow, request, sdp, .. } => self.rings(now, (leg, flow), &request, sdp),
            Event::Answered { leg, .. } => {
                self.up.insert(leg);
                self.news.push(News::Answered(leg));
            }
            Event::Reinvited { leg, sdp } => {
                if let Some(description) = self.description(leg, sdp.as_ref()) {
                    let _ = self.endpoint.answer_reinvite(now, leg, description);
                }
            }
            Event::Referred { leg, .. } => {
                let _ = self.endpoint.reject_refer(now, leg, 603, &[]);
            }
            Event::Challenged { id, method, request_uri, response, .. } => {
                self.prove(now, (id, method), &request_uri, &response);
            }
            Event::Requested { id, .. } => {
                let _ = self.endpoint.respond_to(now, id, 200, &[]);
            }
            Event::Ended { leg, how } => {
                self.offers.remove(&leg);
                self.lines.remove(&leg);
                self.up.remove(&leg);
                let code = if let Ended::Failed { code, .. } = how { Some(code) } else { None };
                self.news.push(News::Over(leg, code));
            }
            Event::Progress { .. }
            | Event::ProgressConfirmed { .. }
            | Event::Refused { .. }
            | Event::Confirmed { .. }
            | Event::ReinviteAnswered { .. }
            | Event::ReinviteFailed { .. }
            | Event::Info { .. }
            | Event::ReferProgress { .. }
            | Event::AnswerRefused { .. }
            | Event::RequestDone { .. } => {}
        }
    }

    fn prove(
        &mut self,
        now: Instant,
        (id, method): (endpoint::ChallengeId, Method),
        uri: &str,
        response: &Message,
    ) {
        let username = response.to().and_then(|to| to.uri.user).map(unescape);
        let credentials = Credentials {
            username: username.unwrap_or_default().into_owned(),
            secret: Secret::Password(SECRET.to_owned()),
            least: Algorithm::Md5,
        };
        let headers = digest::answers(response, &credentials, method.as_str(), uri, 1, "people");
        let _ = self.endpoint.retry_with(now, id, &headers);
    }

    fn rings(&mut self, now: Instant, (leg, flow): (LegId, Flow), request: &Message, sdp: Option<Bytes>) {
        let place = usize::from(flow.listener.0);
        let station = place.checked_sub(self.trunks).and_then(|place| self.stations.get(place));
        let (behaviour, confirms) = match station {
            Some(station) => (station.behaviour, false),
            None => self.callee(request),
        };
        self.offers.insert(leg, sdp);
        self.lines.insert(leg, flow.listener);
        if !matches!(behaviour.does, Does::Busy | Does::Fail) {
            let _ = self.endpoint.provisional(now, leg, 180, None, &[]);
        }
        let call_id = request.call_id().to_owned();
        self.news.push(News::Rings(Rung { leg, call_id, behaviour, confirms }));
    }

    /// Whom a trunk rings, and whether that is an agent at a telephone of the public network.
    fn callee(&self, request: &Message) -> (Behaviour, bool) {
        let user = unescape(request.called_number().unwrap_or_default()).into_owned();
        let number = user.parse::<E164>().ok();
        if let Some(mobile) = number.and_then(|number| self.mobiles.get(&number)) {
            return (*mobile, true);
        }
        let number = number.and_then(|number| self.callees.get(&Whom::Number(number)));
        let behaviour = number.or_else(|| self.callees.get(&Whom::Extension(user)));
        (behaviour.copied().unwrap_or(IGNORES), false)
    }
}
