//! Where a SIP server is: NAPTR, SRV, A and AAAA records (RFC 3263), without asking anybody.
//!
//! The contract: [`Locate::poll`] until `None` gives the questions to ask; [`Locate::handle`] each answer, in any
//! order; poll again; [`Locate::done`] is the outcome, once every question is answered.
//!
//! The order among equals is drawn anew for each call ([`Lots::order`](crate::lots::Lots::order)), so what is kept has
//! priorities and weights.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use model::net::Transport;

/// Bounds of how long an answer is good for, whatever its records say: a name server shall neither be flooded nor
/// forgotten.
pub const TTL: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(3_600));

/// Most NAPTR or SRV records of one answer that are looked at; the best.
pub const RECORDS_MAX: usize = 16;

/// Most addresses of one host that are kept.
pub const ADDRESSES_MAX: usize = 8;

/// A server that is looked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// A host name or an address, without brackets.
    pub host: String,
    /// Port, if one is given: then no SRV record is asked for (RFC 3263 §4.2).
    pub port: Option<u16>,
    /// Transports that may be used, the preferred one first. A single one is given, and no NAPTR record is asked for
    /// (§4.1).
    pub transports: Vec<Transport>,
}

/// A question to a name server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// Which name, in lower case. With a dot at its end it is whole, and no search list applies.
    pub name: String,
    /// Which records of it.
    pub kind: Kind,
}

/// A kind of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// RFC 3403.
    Naptr,
    /// RFC 2782.
    Srv,
    /// IPv4.
    A,
    /// IPv6.
    Aaaa,
}

/// What a name server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Records of the kind that was asked for, or none. How long they are good for, if that was said.
    Records(Vec<Record>, Option<Duration>),
    /// It did not answer, or could not.
    Failed,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Which services a domain has.
    Naptr {
        /// Lower is looked at first.
        order: u16,
        /// Among those of one order, lower is preferred.
        preference: u16,
        /// `s`, `a`, `u`, …
        flags: String,
        /// `SIP+D2U` and the like.
        services: String,
        /// The name to go on with.
        replacement: String,
    },
    /// Which hosts a service has.
    Srv {
        /// Lower is tried first.
        priority: u16,
        /// Among those of one priority.
        weight: u16,
        /// Port.
        port: u16,
        /// Host. `.`: the service is not offered.
        target: String,
    },
    /// An address of a host.
    Address(IpAddr),
}

/// A server that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Its hosts. Never empty.
    pub targets: Vec<Target>,
    /// How long this is good for, within [`TTL`].
    pub good_for: Duration,
}

/// A host of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Lower is tried first.
    pub priority: u16,
    /// Among those of one priority.
    pub weight: u16,
    /// What it speaks.
    pub transport: Transport,
    /// Where it is, best first. Never empty.
    pub addresses: Vec<SocketAddr>,
}

/// Why a server was not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// A name server is silent or says that it cannot answer.
    #[error("the DNS gives no answer for {name}")]
    NoAnswer {
        /// Name that was asked for.
        name: String,
    },
    /// RFC 2782: an SRV record whose target is the root.
    #[error("the SRV record of {name} says that there is no such service")]
    NotOffered {
        /// Name that was asked for.
        name: String,
    },
    /// All names are there, or not, and none has an address.
    #[error("{host} has no address")]
    NoAddress {
        /// Host that was looked for.
        host: String,
    },
}

/// A search under way.
#[derive(Debug)]
pub struct Locate {
    asked: Asked,
    waiting: VecDeque<Question>,
    open: BTreeSet<Question>,
    /// SRV names that were not asked for yet, the preferred one first.
    services: VecDeque<(String, Transport)>,
    service: Option<(String, Transport)>,
    hosts: Vec<Host>,
    found: BTreeMap<String, Vec<IpAddr>>,
    silent: BTreeSet<String>,
    good_for: Duration,
    done: Option<Result<Located, Failed>>,
}

#[derive(Debug)]
struct Host {
    priority: u16,
    weight: u16,
    port: u16,
    transport: Transport,
    name: String,
}

impl Locate {
    /// Begins a search.
    #[must_use]
    pub fn new(asked: Asked) -> Self {
        let mut search = Self {
            waiting: VecDeque::new(),
            open: BTreeSet::new(),
            services: VecDeque::new(),
            service: None,
            hosts: Vec::new(),
            found: BTreeMap::new(),
            silent: BTreeSet::new(),
            good_for: TTL.1,
            done: None,
            asked,
        };
        search.begin();
        search
    }

    /// What to ask next.
    pub fn poll(&mut self) -> Option<Question> {
        let question = self.waiting.pop_front()?;
        self.open.insert(question.clone());
        Some(question)
    }

    /// Takes the answer to a question that was polled; of any other nothing comes.
    pub fn handle(&mut self, question: &Question, answer: Answer) {
        if !self.open.remove(question) || self.done.is_some() {
            return;
        }
        let records = match answer {
            Answer::Records(records, good_for) => {
                self.good_for = self.good_for.min(good_for.unwrap_or(TTL.0));
                Some(records)
            }
            Answer::Failed => None,
        };
        match (question.kind, records) {
            (Kind::Naptr | Kind::Srv, None) => {
                self.done = Some(Err(Failed::NoAnswer { name: question.name.clone() }));
            }
            (Kind::Naptr, Some(records)) => self.naptr(&records),
            (Kind::Srv, Some(records)) => self.srv(&records),
            (Kind::A | Kind::Aaaa, records) => self.addresses(question, records),
        }
    }

    /// What came of it, once it is known.
    #[must_use]
    pub const fn done(&self) -> Option<&Result<Located, Failed>> {
        self.done.as_ref()
    }

    fn begin(&mut self) {
        let transport = self.asked.transports.first().copied().unwrap_or(Transport::Udp);
        let host = self.asked.host.trim_end_matches('.').to_ascii_lowercase();
        if let Ok(address) = host.parse::<IpAddr>() {
            let port = self.asked.port.unwrap_or_else(|| usual_port(transport));
            let addresses = vec![SocketAddr::new(address, port)];
            let target = Target { priority: 0, weight: 0, transport, addresses };
            self.done = Some(Ok(Located { targets: vec![target], good_for: TTL.1 }));
        } else if let Some(port) = self.asked.port {
            self.host_alone(host, port, transport);
        } else if self.asked.transports.len() > 1 {
            self.waiting.push_back(Question { name: host, kind: Kind::Naptr });
        } else {
            self.services.push_back((service(&host, transport), transport));
            self.next_service();
        }
    }

    /// §4.1: the services of the lowest order and preference that we speak. Without any, SRV records of each transport
    /// that we speak are asked for.
    fn naptr(&mut self, records: &[Record]) {
        let mut offered: Vec<(u16, u16, &String, Transport)> = Vec::new();
        for record in records {
            let Record::Naptr { order, preference, flags, services, replacement } = record else { continue };
            if let Some(transport) = transport_of(services)
                && flags.eq_ignore_ascii_case("s")
                && self.asked.transports.contains(&transport)
            {
                offered.push((*order, *preference, replacement, transport));
            }
        }
        offered.sort_by_key(|(order, preference, ..)| (*order, *preference));
        offered.truncate(RECORDS_MAX);
        let offered = offered.into_iter();
        self.services = offered.map(|(.., name, transport)| (whole(name), transport)).collect();
        if self.services.is_empty() {
            let host = plain(&self.asked.host);
            let each = self.asked.transports.iter();
            self.services = each.map(|transport| (service(&host, *transport), *transport)).collect();
        }
        self.next_service();
    }

    fn next_service(&mut self) {
        if let Some((name, transport)) = self.services.pop_front() {
            self.service = Some((name.clone(), transport));
            self.waiting.push_back(Question { name, kind: Kind::Srv });
        } else {
            // §4.2: no SRV records, so the host's own addresses with the usual port.
            let transport = self.asked.transports.first().copied().unwrap_or(Transport::Udp);
            self.host_alone(plain(&self.asked.host), usual_port(transport), transport);
        }
    }

    fn srv(&mut self, records: &[Record]) {
        let Some((name, transport)) = self.service.take() else { return };
        for record in records {
            let Record::Srv { priority, weight, port, target } = record else { continue };
            let (priority, weight, port) = (*priority, *weight, *port);
            self.hosts.push(Host { priority, weight, port, transport, name: whole(target) });
        }
        if self.hosts.is_empty() {
            return self.next_service();
        }
        self.hosts.retain(|host| host.name != "." && host.port != 0);
        if self.hosts.is_empty() {
            self.done = Some(Err(Failed::NotOffered { name }));
            return;
        }
        self.hosts.sort_by(|a, b| (a.priority, b.weight, &a.name).cmp(&(b.priority, a.weight, &b.name)));
        self.hosts.truncate(RECORDS_MAX);
        let names: BTreeSet<String> = self.hosts.iter().map(|host| host.name.clone()).collect();
        names.into_iter().for_each(|name| self.ask_for_addresses(name));
    }

    fn host_alone(&mut self, name: String, port: u16, transport: Transport) {
        self.hosts = vec![Host { priority: 0, weight: 0, port, transport, name: name.clone() }];
        self.ask_for_addresses(name);
    }

    fn ask_for_addresses(&mut self, name: String) {
        match plain(&name).parse::<IpAddr>() {
            // Forbidden (RFC 2782), and met all the same.
            Ok(address) => {
                self.found.insert(name, vec![address]);
                self.conclude_if_done();
            }
            Err(_) => {
                for kind in [Kind::A, Kind::Aaaa] {
                    self.waiting.push_back(Question { name: name.clone(), kind });
                }
            }
        }
    }

    fn addresses(&mut self, question: &Question, records: Option<Vec<Record>>) {
        match records {
            Some(records) => {
                let found = self.found.entry(question.name.clone()).or_default();
                for record in records {
                    if let Record::Address(address) = record
                        && !found.contains(&address)
                        && found.len() < ADDRESSES_MAX
                    {
                        found.push(address);
                    }
                }
                // IPv4 first: which family a call may leave by is for the listeners to say.
                found.sort_by_key(IpAddr::is_ipv6);
            }
            None => {
                self.silent.insert(question.name.clone());
            }
        }
        self.conclude_if_done();
    }

    fn conclude_if_done(&mut self) {
        if !self.open.is_empty() || !self.waiting.is_empty() {
            return;
        }
        let mut targets = Vec::new();
        for host in &self.hosts {
            let addresses = self.found.get(&host.name).map(Vec::as_slice).unwrap_or_default();
            if !addresses.is_empty() {
                targets.push(Target {
                    priority: host.priority,
                    weight: host.weight,
                    transport: host.transport,
                    addresses: addresses.iter().map(|address| SocketAddr::new(*address, host.port)).collect(),
                });
            }
        }
        let failed = || match self.silent.first() {
            Some(name) => Failed::NoAnswer { name: name.clone() },
            None => Failed::NoAddress { host: self.asked.host.clone() },
        };
        self.done = Some(if targets.is_empty() {
            Err(failed())
        } else {
            Ok(Located { targets, good_for: self.good_for.clamp(TTL.0, TTL.1) })
        });
    }
}

/// RFC 3261 §19.1.2, RFC 7118 §5.
#[must_use]
pub const fn usual_port(transport: Transport) -> u16 {
    match transport {
        Transport::Udp | Transport::Tcp => 5060,
        Transport::Tls => 5061,
        Transport::Ws => 80,
        Transport::Wss => 443,
    }
}

/// The name of an SRV record (RFC 3263 §4.1, RFC 7118 §7).
fn service(host: &str, transport: Transport) -> String {
    let prefix = match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tcp => "_sip._tcp",
        Transport::Tls => "_sips._tcp",
        Transport::Ws => "_sip._ws",
        Transport::Wss => "_sips._ws",
    };
    format!("{prefix}.{host}")
}

/// RFC 3263 §4.1, RFC 7118 §7.
fn transport_of(services: &str) -> Option<Transport> {
    let known = [
        ("SIP+D2U", Transport::Udp),
        ("SIP+D2T", Transport::Tcp),
        ("SIPS+D2T", Transport::Tls),
        ("SIP+D2W", Transport::Ws),
        ("SIPS+D2W", Transport::Wss),
    ];
    known.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(services)).map(|(_, transport)| transport)
}

/// A name out of a record.
fn whole(name: &str) -> String {
    format!("{}.", plain(name))
}

/// In lower case and without the root's dot.
fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
