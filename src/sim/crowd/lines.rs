//! All telephones of a crowd: the carrier's, at which contacts and everybody else outside are, and one of each agent.
//!
//! They are one SIP endpoint with an address for each, whose timers run like ours.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    time::Instant,
};

use bytes::Bytes;
use model::{
    LegId,
    media::{Codec, Direction},
    net::{Flow, ListenerIx, Transport},
};
use sip::{
    digest::{self, Algorithm, Credentials, Secret},
    endpoint::{self, Endpoint, Event, Extensions, Header, Invite, ListenerConfig, OutOfDialog, Output},
    sdp::{self, LocalMedia},
    transaction::Timers,
    uri::unescape,
    wire::{Message, Method},
};

use super::centre::{self, DOMAIN};
use crate::world::plain::{self, Plain, SECRET};

const LEGS_MAX: usize = 20_000;
const TRANSACTIONS_MAX: usize = 60_000;

/// Port that nobody sends audio to.
const RTP_PORT: u16 = 40_000;

/// How long a registration lasts, in seconds.
const REGISTERED_FOR: u32 = 3_600;

/// One end of a call.
#[derive(Debug)]
pub struct Line {
    /// Whose telephone it is. None: somebody in the public network.
    pub agent: Option<usize>,
    pub call_id: String,
    /// What was dialled.
    pub to: String,
    /// Whether it began here.
    pub is_ours: bool,
    pub is_up: bool,
    pub refuses_reinvites: bool,
    /// Whether what it says next is that it holds.
    pub holds: bool,
    listener: ListenerIx,
    offer: Option<Bytes>,
    version: u64,
}

/// What somebody notices at a telephone.
#[derive(Debug)]
pub enum News {
    Rings(LegId),
    Answered(LegId),
    Over(Box<Line>, LegId),
}

#[derive(Debug)]
pub struct Lines {
    endpoint: Endpoint,
    /// Where each telephone is: a place is a listener of the endpoint.
    places: Vec<SocketAddr>,
    by_address: HashMap<SocketAddr, ListenerIx>,
    ours: Vec<SocketAddr>,
    /// The carrier's place, and the listener of ours that hears it.
    carrier: (usize, ListenerIx),
    phones: ListenerIx,
    /// Trunks come first; agents' telephones after so many.
    trunks: usize,
    lines: BTreeMap<LegId, Line>,
    pub news: Vec<News>,
    /// From where to which listener of ours.
    pub wire: Vec<(Flow, Bytes)>,
}

impl Lines {
    /// None: the centre has no carrier, or nothing hears its telephones.
    pub fn new(plain: &Plain, agents: usize, seed: u64) -> Option<Self> {
        let trunks = (0..plain.trunks.len()).map(plain::trunk_address);
        let places: Vec<SocketAddr> = trunks.chain((0..agents).map(plain::phone_address)).collect();
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
            extensions: Extensions { reliable: false, session: None, transfers: true },
        };
        let indexed = places.iter().enumerate();
        let by_address =
            indexed.filter_map(|(place, at)| Some((*at, ListenerIx(u16::try_from(place).ok()?)))).collect();
        Some(Self {
            endpoint: Endpoint::new(config, seed),
            by_address,
            places,
            ours: plain.ours.clone(),
            carrier: plain.way_in(&centre::carrier())?,
            phones: plain.phones?,
            trunks: plain.trunks.len(),
            lines: BTreeMap::new(),
            news: Vec::new(),
            wire: Vec::new(),
        })
    }

    pub fn line(&self, leg: LegId) -> Option<&Line> {
        self.lines.get(&leg)
    }

    pub fn line_mut(&mut self, leg: LegId) -> Option<&mut Line> {
        self.lines.get_mut(&leg)
    }

    /// Lines that are there still.
    pub fn lines(&self) -> impl Iterator<Item = (LegId, &Line)> {
        self.lines.iter().map(|(leg, line)| (*leg, line))
    }

    /// Whose telephone is at an address of the made-up network.
    pub fn agent_at(&self, address: &SocketAddr) -> Option<usize> {
        usize::from(self.by_address.get(address)?.0).checked_sub(self.trunks)
    }

    pub fn transactions(&self) -> usize {
        self.endpoint.transactions()
    }

    fn flow(&self, place: usize, ours: ListenerIx) -> Option<Flow> {
        let listener = ListenerIx(u16::try_from(place).ok()?);
        let remote = *self.ours.get(usize::from(ours.0))?;
        Some(Flow { transport: Transport::Udp, listener, remote, connection: 0 })
    }

    fn media(&self, listener: ListenerIx, holds: bool, version: u64) -> Option<LocalMedia> {
        let address = self.places.get(usize::from(listener.0))?.ip();
        let mut media = LocalMedia::new(address, RTP_PORT, vec![Codec::Pcmu], 1);
        media.version += version;
        if holds {
            media.direction = Direction::SendOnly;
        }
        Some(media)
    }

    /// An agent's telephone registers, or is no longer there.
    pub fn register(&mut self, now: Instant, agent: usize, comes: bool) {
        let Some(flow) = self.flow(self.trunks + agent, self.phones) else { return };
        let username = phone_name(agent);
        // The first label of the host names the namespace.
        let host = format!("{}.invalid", centre::TENANT);
        let own = format!("<sip:{username}@{host}>");
        let expires = if comes { REGISTERED_FOR } else { 0 };
        let contact = format!("<sip:{username}@{}>;expires={expires}", self.places[self.trunks + agent]);
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
        self.drain(now);
    }

    /// Somebody calls by the carrier.
    pub fn call(&mut self, now: Instant, from: &str, to: &str) -> Option<LegId> {
        let flow = self.flow(self.carrier.0, self.carrier.1)?;
        let own = self.places.get(self.carrier.0)?.ip();
        let from = format!("<sip:{from}@{own}>");
        let uri = format!("sip:{to}@{}", flow.remote);
        self.invite(now, (flow, None), (from, to), uri)
    }

    /// An agent dials at the telephone.
    pub fn dial(&mut self, now: Instant, agent: usize, to: &str) -> Option<LegId> {
        let flow = self.flow(self.trunks + agent, self.phones)?;
        let from = format!("<sip:{}@{DOMAIN}>", phone_name(agent));
        self.invite(now, (flow, Some(agent)), (from, to), format!("sip:{to}@{DOMAIN}"))
    }

    fn invite(
        &mut self,
        now: Instant,
        (flow, agent): (Flow, Option<usize>),
        (from, to): (String, &str),
        uri: String,
    ) -> Option<LegId> {
        let invite = Invite {
            flow,
            to: format!("<{uri}>"),
            request_uri: uri,
            from,
            sdp: Some(sdp::offer(&self.media(flow.listener, false, 0)?)),
            max_forwards: 70,
            headers: Vec::new(),
            challenges: agent.is_some(),
            tcp: None,
            attached: None,
            feature: None,
        };
        let leg = self.endpoint.invite(now, invite).ok()?;
        let line = Line {
            agent,
            call_id: self.endpoint.call_id(leg).unwrap_or_default(),
            to: to.to_owned(),
            is_ours: true,
            is_up: false,
            refuses_reinvites: false,
            holds: false,
            listener: flow.listener,
            offer: None,
            version: 0,
        };
        self.lines.insert(leg, line);
        self.drain(now);
        Some(leg)
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
    pub fn answer(&mut self, now: Instant, leg: LegId) {
        let Some(line) = self.lines.get_mut(&leg).filter(|line| !line.is_ours && !line.is_up) else { return };
        let offer = line.offer.take();
        let listener = line.listener;
        let Some(media) = self.media(listener, false, 0) else { return };
        let description = match &offer {
            Some(offer) => sdp::answer(offer, &media).ok().map(|(answer, _)| answer),
            None => Some(sdp::offer(&media)),
        };
        let taken = description.is_some_and(|sdp| self.endpoint.accept(now, leg, sdp, &[]).is_ok());
        if let Some(line) = self.lines.get_mut(&leg).filter(|_| taken) {
            line.is_up = true;
        }
        self.drain(now);
    }

    pub fn refuse(&mut self, now: Instant, leg: LegId, code: u16) {
        let _ = self.endpoint.reject(now, leg, code, None, &[]);
        self.drain(now);
    }

    /// Somebody hangs up, gives up before there was an answer, or does not take it.
    pub fn hang_up(&mut self, now: Instant, leg: LegId) {
        let Some(line) = self.lines.get(&leg) else { return };
        let _ = match (line.is_up, line.is_ours) {
            (true, _) => self.endpoint.bye(now, leg, &[]),
            (false, true) => self.endpoint.cancel(now, leg, &[]),
            (false, false) => self.endpoint.reject(now, leg, 480, None, &[]),
        };
        self.drain(now);
    }

    /// Holds, or ends that, by re-INVITE.
    pub fn hold(&mut self, now: Instant, leg: LegId, holds: bool) {
        let Some(line) = self.lines.get_mut(&leg).filter(|line| line.is_up) else { return };
        (line.holds, line.version) = (holds, line.version + 1);
        let (listener, version) = (line.listener, line.version);
        if let Some(media) = self.media(listener, holds, version) {
            let _ = self.endpoint.reinvite(now, leg, sdp::offer(&media));
        }
        self.drain(now);
    }

    /// Hands on by REFER.
    pub fn refer(&mut self, now: Instant, leg: LegId, to: &str) {
        let _ = self.endpoint.refer(now, leg, &format!("<sip:{to}@{DOMAIN}>"), &[]);
        self.drain(now);
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout().map(|(at, _)| at)
    }

    pub fn timeout(&mut self, now: Instant) {
        self.endpoint.handle(now, endpoint::Input::Timeout);
        self.drain(now);
    }

    fn drain(&mut self, now: Instant) {
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
                if let Some(line) = self.lines.get_mut(&leg) {
                    line.is_up = true;
                    self.news.push(News::Answered(leg));
                }
            }
            Event::Reinvited { leg, sdp } => self.reinvited(now, leg, sdp.as_ref()),
            Event::Referred { leg, .. } => {
                let _ = self.endpoint.reject_refer(now, leg, 603, &[]);
            }
            Event::Challenged { id, method, request_uri, response, .. } => {
                self.prove(now, (id, method), &request_uri, &response);
            }
            Event::Requested { id, .. } => {
                let _ = self.endpoint.respond_to(now, id, 200, &[]);
            }
            Event::Ended { leg, .. } => {
                if let Some(line) = self.lines.remove(&leg) {
                    self.news.push(News::Over(Box::new(line), leg));
                }
            }
            Event::Progress { .. }
            | Event::ProgressConfirmed { .. }
            | Event::Refused { .. }
            | Event::Confirmed { .. }
            | Event::ReinviteAnswered { .. }
            | Event::ReinviteFailed { .. }
            | Event::Info { .. }
            | Event::AnswerRefused { .. }
            | Event::ReferProgress { .. }
            | Event::RequestDone { .. } => {}
        }
    }

    fn reinvited(&mut self, now: Instant, leg: LegId, offer: Option<&Bytes>) {
        let Some(line) = self.lines.get_mut(&leg) else { return };
        if line.refuses_reinvites {
            let _ = self.endpoint.reject_reinvite(now, leg, 488);
            return;
        }
        line.version += 1;
        let (listener, holds, version) = (line.listener, line.holds, line.version);
        let Some(media) = self.media(listener, holds, version) else { return };
        let description = match offer {
            Some(offer) => sdp::answer(offer, &media).ok().map(|(answer, _)| answer),
            None => Some(sdp::offer(&media)),
        };
        if let Some(description) = description {
            let _ = self.endpoint.answer_reinvite(now, leg, description);
        }
    }

    fn prove(
        &mut self,
        now: Instant,
        (id, method): (endpoint::ChallengeId, Method),
        uri: &str,
        response: &Message,
    ) {
        let own = if method == Method::Register { response.to() } else { response.from() };
        let username = own.and_then(|own| own.uri.user).map(unescape);
        let credentials = Credentials {
            username: username.unwrap_or_default().into_owned(),
            secret: Secret::Password(SECRET.to_owned()),
            least: Algorithm::Md5,
        };
        let headers = digest::answers(response, &credentials, method.as_str(), uri, 1, "people");
        let _ = self.endpoint.retry_with(now, id, &headers);
    }

    fn rings(&mut self, now: Instant, (leg, flow): (LegId, Flow), request: &Message, offer: Option<Bytes>) {
        let agent = usize::from(flow.listener.0).checked_sub(self.trunks);
        let to = unescape(request.called_number().unwrap_or_default()).into_owned();
        let line = Line {
            agent,
            call_id: request.call_id().to_owned(),
            to,
            is_ours: false,
            is_up: false,
            refuses_reinvites: false,
            holds: false,
            listener: flow.listener,
            offer,
            version: 0,
        };
        self.lines.insert(leg, line);
        self.news.push(News::Rings(leg));
        let _ = self.endpoint.provisional(now, leg, 180, None, &[]);
    }
}

fn phone_name(agent: usize) -> String {
    format!("{}-desk", centre::agent_name(agent))
}
