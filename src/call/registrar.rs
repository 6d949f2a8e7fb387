//! The registrar of agents' phones (RFC 3261 §10.3): where each station is reached, and until when.
//!
//! Pure: REGISTERs of proven stations and the time go in; answers, deadlines and news of who came and went come out.
//! A binding keeps the flow that it came by, and requests go back that way whatever its Contact says: phones stand behind
//! NATs (RFC 5626 §5.3).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::Timestamp;
use model::{
    AgentId,
    net::{Flow, Transport},
};
use serde::Serialize;
use sip::{
    endpoint::Header,
    outbound::{self, Binding, Wish},
    uri::{Scheme, Uri},
    wire::Message,
};

use crate::Now;

/// Shortest and longest registration; the longest is also what one gets that asks for none.
const EXPIRES_S: (u32, u32) = (60, 3_600);

/// Most contacts of a station at once.
pub const BINDINGS_MAX: usize = 10;

/// Longest Contact that is kept, in octets.
const CONTACT_MAX: usize = 512;

/// Between two keep-alives towards a phone behind a NAT that sends none itself (RFC 5626 §4.4.1 has phones do it every 24
/// to 30 s over UDP).
const KEEP_ALIVE: Duration = Duration::from_secs(25);

/// In seconds: how long a phone may stay silent on its flow (RFC 5626 §10).
const FLOW_TIMER_S: u32 = 120;

/// A phone of an agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct StationId {
    /// Whose it is.
    pub agent: AgentId,
    /// Its name in the agent.
    pub station: String,
}

impl fmt::Display for StationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of Agent {}", self.station, self.agent)
    }
}

/// Where a station is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Request-URI of what is sent there.
    pub contact: Box<str>,
    /// Values of Route on the way there (RFC 3327 §5.3).
    pub path: Box<[Box<str>]>,
    /// The way it came, and requests go.
    pub flow: Flow,
    /// Preference in thousandths.
    pub q: u16,
    /// Which device (RFC 5626 §4.1), and which of its flows.
    device: Option<(Box<str>, u32)>,
    call_id: Box<str>,
    cseq: u32,
    expires_at: Instant,
    keep_at: Option<Instant>,
}

/// What a REGISTER is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// SIP status code.
    pub code: u16,
    /// Its header fields.
    pub headers: Vec<Header>,
    /// What is wrong, as a sentence. Empty: nothing.
    pub because: String,
}

/// What others are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A station can be reached that could not.
    Came(StationId),
    /// A station can be reached no more.
    Went(StationId),
    /// These octets are to go by a flow, so that NATs keep it open.
    KeepAlive(Flow, Bytes),
}

/// All bindings of a shard.
#[derive(Debug, Default)]
pub struct Registrar {
    stations: BTreeMap<StationId, Vec<Bound>>,
    deadlines: BTreeSet<(Instant, StationId)>,
    /// Whose bindings came by which way.
    ways: BTreeSet<(Flow, StationId)>,
    news: VecDeque<News>,
}

impl Registrar {
    /// Takes a REGISTER of a station that has proved who it is: all of it, or nothing.
    pub fn register(&mut self, now: Now, station: &StationId, flow: Flow, register: &Message) -> Answer {
        let wish = match outbound::wish(register) {
            Ok(wish) => wish,
            Err(bad) => return refuse(400, format!("the REGISTER is wrong: {bad}.")),
        };
        let known = self.stations.get(station).cloned().unwrap_or_default();
        let next = match wish {
            Wish::Query => Ok(known),
            Wish::RemoveAll => match known.iter().all(|bound| is_newer(bound, register)) {
                true => Ok(Vec::new()),
                false => Err(out_of_order()),
            },
            Wish::Bind => bind(known, now.instant, flow, register),
        };
        match next {
            Err(answer) => answer,
            Ok(next) => {
                let headers = headers(now, &next, register, flow);
                self.replace(station, next);
                Answer { code: 200, headers, because: String::new() }
            }
        }
    }

    /// Where a station is reached, the most preferred and the latest first. Empty: nowhere.
    #[must_use]
    pub fn bindings(&self, station: &StationId) -> &[Bound] {
        self.stations.get(station).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether a registered phone speaks there.
    #[must_use]
    pub fn knows(&self, flow: &Flow) -> bool {
        self.at(flow).next().is_some()
    }

    /// Stations that registered by a flow.
    pub fn at(&self, flow: &Flow) -> impl Iterator<Item = &StationId> {
        let least = StationId { agent: AgentId::new("", ""), station: String::new() };
        let (from, flow) = ((*flow, least), *flow);
        self.ways.range(from..).take_while(move |(way, _)| *way == flow).map(|(_, station)| station)
    }

    /// Stations that can be reached, and by how many bindings in all.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        (self.stations.len(), self.stations.values().map(Vec::len).sum())
    }

    /// All stations that can be reached.
    pub fn stations(&self) -> impl Iterator<Item = (&StationId, &[Bound])> {
        self.stations.iter().map(|(station, bounds)| (station, bounds.as_slice()))
    }

    /// Forgets stations that there are no more.
    pub fn retain(&mut self, keep: impl Fn(&StationId) -> bool) {
        let gone: Vec<StationId> = self.stations.keys().filter(|station| !keep(station)).cloned().collect();
        gone.iter().for_each(|station| self.replace(station, Vec::new()));
    }

    /// A connection is gone, and with it the way to whoever came by it (RFC 5626 §7).
    pub fn lost(&mut self, flow: &Flow) {
        let touched: Vec<StationId> = self.at(flow).cloned().collect();
        for station in touched {
            let mut bounds = self.bindings(&station).to_vec();
            bounds.retain(|bound| bound.flow != *flow);
            self.replace(&station, bounds);
        }
    }

    /// Bindings end, and phones behind NATs are kept in reach.
    pub fn timeout(&mut self, now: Instant) {
        while self.deadlines.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, station)) = self.deadlines.pop_first()
        {
            let mut bounds = self.bindings(&station).to_vec();
            bounds.retain(|bound| bound.expires_at > now);
            for bound in &mut bounds {
                if bound.keep_at.is_some_and(|at| at <= now) {
                    bound.keep_at = Some(now + KEEP_ALIVE);
                    self.news.push_back(News::KeepAlive(bound.flow, Bytes::from_static(b"\r\n\r\n")));
                }
            }
            self.replace(&station, bounds);
        }
    }

    /// When [`timeout`](Self::timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// What there is to tell.
    pub fn poll(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    fn replace(&mut self, station: &StationId, mut bounds: Vec<Bound>) {
        let before = self.stations.get(station);
        if let Some(at) = before.and_then(|bounds| deadline(bounds)) {
            self.deadlines.remove(&(at, station.clone()));
        }
        let was_there = before.is_some();
        for bound in before.into_iter().flatten() {
            self.ways.remove(&(bound.flow, station.clone()));
        }
        self.ways.extend(bounds.iter().map(|bound| (bound.flow, station.clone())));
        if bounds.is_empty() {
            if was_there {
                self.stations.remove(station);
                self.news.push_back(News::Went(station.clone()));
            }
            return;
        }
        bounds.sort_by_key(|bound| (std::cmp::Reverse(bound.q), std::cmp::Reverse(bound.expires_at)));
        if let Some(at) = deadline(&bounds) {
            self.deadlines.insert((at, station.clone()));
        }
        self.stations.insert(station.clone(), bounds);
        if !was_there {
            self.news.push_back(News::Came(station.clone()));
        }
    }
}

fn deadline(bounds: &[Bound]) -> Option<Instant> {
    bounds.iter().flat_map(|bound| [Some(bound.expires_at), bound.keep_at]).flatten().min()
}

/// RFC 3261 §10.3, step 7: of one Call-ID only what has a higher number counts.
fn is_newer(bound: &Bound, register: &Message) -> bool {
    *bound.call_id != *register.call_id() || register.cseq() > bound.cseq
}

fn out_of_order() -> Answer {
    refuse(500, "the REGISTER's CSeq is not higher than that of one before.".into())
}

fn refuse(code: u16, because: String) -> Answer {
    Answer { code, headers: Vec::new(), because }
}

fn bind(mut bounds: Vec<Bound>, now: Instant, flow: Flow, register: &Message) -> Result<Vec<Bound>, Answer> {
    let path: Box<[Box<str>]> = outbound::path(register).into_iter().map(Into::into).collect();
    for binding in outbound::bindings(register) {
        if !matches!(binding.uri.scheme, Scheme::Sip | Scheme::Sips) || binding.uri.text.len() > CONTACT_MAX {
            let because = format!("a Contact must be a SIP URI of at most {CONTACT_MAX} octets.");
            return Err(refuse(400, because));
        }
        let device = device(&binding, register, &path)?;
        let place = bounds.iter().position(|bound| is_same(bound, &binding, device.as_ref()));
        if place.is_some_and(|place| !is_newer(&bounds[place], register)) {
            return Err(out_of_order());
        }
        let expires = binding.expires_s.unwrap_or(EXPIRES_S.1).min(EXPIRES_S.1);
        if (1..EXPIRES_S.0).contains(&expires) {
            let mut answer = refuse(423, format!("a registration lasts {} seconds or more.", EXPIRES_S.0));
            answer.headers.push(Header::new("Min-Expires", EXPIRES_S.0.to_string()));
            return Err(answer);
        }
        place.map(|place| bounds.remove(place));
        if expires == 0 {
            continue;
        }
        if bounds.len() >= BINDINGS_MAX {
            return Err(refuse(403, format!("the station has {BINDINGS_MAX} bindings already.")));
        }
        // A phone that does outbound keeps its own flow open.
        let keeps = flow.transport == Transport::Udp && device.is_none() && is_behind_nat(&flow, register);
        bounds.push(Bound {
            contact: binding.uri.text.into(),
            path: path.clone(),
            flow,
            q: binding.q,
            device,
            call_id: register.call_id().into(),
            cseq: register.cseq(),
            expires_at: now + Duration::from_secs(expires.into()),
            keep_at: keeps.then(|| now + KEEP_ALIVE),
        });
    }
    Ok(bounds)
}

/// RFC 5626 §6: a device's flow, if its first hop can do that.
fn device(
    binding: &Binding<'_>,
    register: &Message,
    path: &[Box<str>],
) -> Result<Option<(Box<str>, u32)>, Answer> {
    let (Some(instance), Some(reg_id)) = (binding.instance, binding.reg_id) else { return Ok(None) };
    let by_a_proxy_that_can = path.first().is_some_and(|first| {
        let uri = first.trim_start_matches('<').trim_end_matches('>');
        Uri::parse(uri.as_bytes()).is_ok_and(|uri| uri.param("ob").is_some())
    });
    if outbound::is_first_hop(register) || by_a_proxy_that_can {
        return Ok(Some((instance.into(), reg_id)));
    }
    if register.vias().count() > 1 {
        return Err(refuse(439, "the proxy before us cannot keep flows (RFC 5626).".into()));
    }
    Ok(None)
}

fn is_same(bound: &Bound, binding: &Binding<'_>, device: Option<&(Box<str>, u32)>) -> bool {
    match (&bound.device, device) {
        (Some(known), Some(device)) => known == device,
        (None, None) => {
            let known = Uri::parse(bound.contact.as_bytes());
            known.is_ok_and(|known| known.is_equivalent(&binding.uri))
        }
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn is_behind_nat(flow: &Flow, register: &Message) -> bool {
    let host = register.via().and_then(|via| sip::uri::host_ip(via.host));
    host.is_none_or(|host| host != flow.remote.ip().to_canonical())
}

fn headers(now: Now, bounds: &[Bound], register: &Message, flow: Flow) -> Vec<Header> {
    let mut headers: Vec<Header> = bounds
        .iter()
        .map(|bound| {
            let left = bound.expires_at.saturating_duration_since(now.instant).as_secs();
            let device = bound
                .device
                .as_ref()
                .map(|(instance, reg_id)| format!(";+sip.instance=\"<{instance}>\";reg-id={reg_id}"));
            let device = device.unwrap_or_default();
            Header::new("Contact", format!("<{}>;expires={left}{device}", bound.contact))
        })
        .collect();
    headers.extend(outbound::path(register).into_iter().map(|route| Header::new("Path", route)));
    let does_outbound = bounds.iter().any(|bound| bound.device.is_some() && bound.flow == flow);
    if does_outbound {
        headers.push(Header::new("Require", "outbound"));
        headers.push(Header::new("Flow-Timer", FLOW_TIMER_S.to_string()));
    }
    headers.push(Header::new("Supported", "path, outbound"));
    headers.extend(date(now.wall).map(|date| Header::new("Date", date)));
    headers
}

/// RFC 3261 §20.17.
fn date(now: Timestamp) -> Option<String> {
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).ok()
}

#[cfg(test)]
mod tests {
    use model::net::ListenerIx;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a point in time to count from")]
    fn moment() -> Instant {
        Instant::now()
    }

    fn station() -> StationId {
        StationId { agent: AgentId::new("acme", "ada"), station: "desk".into() }
    }

    fn flow(remote: &str) -> Flow {
        Flow {
            transport: Transport::Udp,
            listener: ListenerIx(0),
            remote: remote.parse().unwrap(),
            connection: 0,
        }
    }

    fn at(start: Instant, seconds: u64) -> Now {
        let wall = Timestamp::from_second(1_700_000_000 + i64::try_from(seconds).unwrap()).unwrap();
        Now { instant: start + Duration::from_secs(seconds), wall }
    }

    fn register(cseq: u32, fields: &str) -> Message {
        let text = format!(
            "REGISTER sip:c14.example SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bK{cseq}\r\n\
             From: <sip:ada-desk@c14.example>;tag=a\r\nTo: <sip:ada-desk@c14.example>\r\nCall-ID: one\r\n\
             CSeq: {cseq} REGISTER\r\nMax-Forwards: 70\r\n{fields}Content-Length: 0\r\n\r\n"
        );
        Message::parse(text.into_bytes().into()).unwrap()
    }

    fn contacts(answer: &Answer) -> Vec<&str> {
        let contacts = answer.headers.iter().filter(|header| header.name == "Contact");
        contacts.map(|header| header.value.as_str()).collect()
    }

    #[test]
    fn a_phone_comes_refreshes_and_goes() {
        let (mut registrar, start) = (Registrar::default(), moment());
        let contact = "Contact: <sip:ada-desk@10.0.0.9:5060>\r\n";
        let here = flow("192.0.2.7:1024");
        let answer = registrar.register(at(start, 0), &station(), here, &register(1, contact));
        assert_eq!(
            (answer.code, contacts(&answer)),
            (200, vec!["<sip:ada-desk@10.0.0.9:5060>;expires=3600"])
        );
        assert!(answer.headers.contains(&Header::new("Date", "Tue, 14 Nov 2023 22:13:20 GMT")));
        assert_eq!(registrar.poll(), Some(News::Came(station())));
        assert_eq!(registrar.bindings(&station())[0].flow, here);
        assert!(registrar.knows(&here) && !registrar.knows(&flow("192.0.2.8:1024")));

        let answer = registrar.register(
            at(start, 100),
            &station(),
            here,
            &register(2, &format!("{contact}Expires: 120\r\n")),
        );
        assert_eq!(contacts(&answer), ["<sip:ada-desk@10.0.0.9:5060>;expires=120"]);
        assert_eq!((registrar.poll(), registrar.count()), (None, (1, 1)));
        let answer = registrar.register(at(start, 110), &station(), here, &register(3, ""));
        assert_eq!(contacts(&answer), ["<sip:ada-desk@10.0.0.9:5060>;expires=110"]);

        let answer = registrar.register(
            at(start, 120),
            &station(),
            here,
            &register(4, "Contact: *\r\nExpires: 0\r\n"),
        );
        assert_eq!((answer.code, contacts(&answer).len()), (200, 0));
        assert_eq!(registrar.poll(), Some(News::Went(station())));
        assert_eq!((registrar.poll_timeout(), registrar.count()), (None, (0, 0)));
    }

    #[test]
    fn what_is_not_refreshed_ends_and_a_nat_is_kept_open_until_then() {
        let (mut registrar, start) = (Registrar::default(), moment());
        let here = flow("192.0.2.7:1024");
        let fields = "Contact: <sip:ada-desk@10.0.0.9>;expires=60\r\n";
        registrar.register(at(start, 0), &station(), here, &register(1, fields));
        registrar.poll();
        let mut told = Vec::new();
        while let Some(due) = registrar.poll_timeout() {
            registrar.timeout(due);
            while let Some(news) = registrar.poll() {
                told.push(((due - start).as_secs(), news));
            }
        }
        let keep = News::KeepAlive(here, Bytes::from_static(b"\r\n\r\n"));
        assert_eq!(told, [(25, keep.clone()), (50, keep), (60, News::Went(station()))]);
    }

    #[test]
    fn a_bad_register_changes_nothing_and_is_told_why() {
        let start = moment();
        let here = flow("192.0.2.7:1024");
        let ten: String = (0..11).map(|n| format!("Contact: <sip:a@10.0.0.{n}>\r\n")).collect();
        for (cseq, fields, code) in [
            (2, "Contact: <sip:b@10.0.0.9>, <sip:c@10.0.0.9>;expires=30\r\n", 423),
            (1, "Contact: <sip:a@10.0.0.9>\r\n", 500),
            (1, "Contact: *\r\nExpires: 0\r\n", 500),
            (2, "Contact: *\r\n", 400),
            (2, "Contact: <tel:+1>\r\n", 400),
            (2, &*ten, 403),
        ] {
            let mut registrar = Registrar::default();
            registrar.register(at(start, 0), &station(), here, &register(1, "Contact: <sip:a@10.0.0.9>\r\n"));
            let before = registrar.bindings(&station()).to_vec();
            let answer = registrar.register(at(start, 1), &station(), here, &register(cseq, fields));
            assert_eq!(answer.code, code, "{fields}");
            assert!(!answer.because.is_empty() && registrar.bindings(&station()) == before, "{fields}");
        }
    }

    #[test]
    fn devices_replace_their_own_flows_and_lose_them_with_their_connections() {
        let (mut registrar, start) = (Registrar::default(), moment());
        let tcp = |connection| Flow { transport: Transport::Tcp, connection, ..flow("192.0.2.7:1024") };
        let fields = |reg_id: u32| {
            format!(
                "Supported: path, outbound\r\nContact: <sip:ada-desk@10.0.0.9;transport=tcp>;\
                 +sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>\";reg-id={reg_id}\r\n"
            )
        };
        let answer = registrar.register(at(start, 0), &station(), tcp(1), &register(1, &fields(1)));
        assert!(answer.headers.contains(&Header::new("Require", "outbound")));
        registrar.register(at(start, 1), &station(), tcp(2), &register(2, &fields(2)));
        assert_eq!(registrar.count(), (1, 2));
        registrar.register(at(start, 2), &station(), tcp(3), &register(3, &fields(1)));
        let flows: Vec<u64> =
            registrar.bindings(&station()).iter().map(|bound| bound.flow.connection).collect();
        assert_eq!(flows, [3, 2]);
        registrar.lost(&tcp(3));
        assert_eq!(registrar.count(), (1, 1));
        registrar.retain(|_| false);
        assert_eq!(registrar.count(), (0, 0));
    }

    #[test]
    fn a_path_is_echoed_and_taken() {
        let (mut registrar, start) = (Registrar::default(), moment());
        let fields = "Supported: path\r\nPath: <sip:p1.example;lr>\r\nContact: <sip:a@10.0.0.9>\r\n";
        let answer =
            registrar.register(at(start, 0), &station(), flow("192.0.2.7:5060"), &register(1, fields));
        assert!(answer.headers.contains(&Header::new("Path", "<sip:p1.example;lr>")));
        assert_eq!(&*registrar.bindings(&station())[0].path[0], "<sip:p1.example;lr>");
    }
}
