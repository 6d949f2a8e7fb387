//! The questions of [`call::locate`] put to the name servers of the system, and what is kept of the answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use call::{
    locate::{self, Answer, Asked, Failed, Kind, Locate, Located, Question},
    world::Names,
};
use hickory_resolver::{
    TokioResolver,
    config::{ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{RData, Record, RecordType},
    },
};
use tokio::task::JoinSet;
use tracing::warn;

/// How long one name server is waited for, and how often it is asked.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;

/// How long one search may take in all.
const SEARCH_MAX: Duration = Duration::from_secs(10);

/// Searches at a time.
const SEARCHES_MAX: usize = 32;

/// Where peers and registrars are, looked up again as their records say.
#[derive(Debug)]
pub struct Dns {
    resolver: Option<TokioResolver>,
    known: BTreeMap<Asked, Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The last good answer: it outlives name servers that fail.
    located: Option<Located>,
    due: Option<Instant>,
}

impl Dns {
    /// Asks the name servers that the system is set up with.
    #[must_use]
    pub fn system() -> Self {
        match TokioResolver::builder_tokio() {
            Ok(mut builder) => {
                bound(builder.options_mut());
                Self::built(builder.build())
            }
            Err(error) => Self::built(Err(error)),
        }
    }

    /// Asks given name servers.
    #[must_use]
    pub fn with(config: ResolverConfig) -> Self {
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        bound(builder.options_mut());
        Self::built(builder.build())
    }

    fn built(resolver: Result<TokioResolver, NetError>) -> Self {
        if let Err(error) = &resolver {
            warn!("no host name can be looked up: {error}");
        }
        Self { resolver: resolver.ok(), known: BTreeMap::new() }
    }

    /// Looks up what is due, and forgets what is no longer wanted. Gives what could not be found, as sentences; what was
    /// known of it stays.
    pub async fn look_up(&mut self, wanted: BTreeSet<Asked>) -> Vec<String> {
        self.known.retain(|asked, _| wanted.contains(asked));
        let now = Instant::now();
        let due =
            |asked: &Asked| self.known.get(asked).and_then(|known| known.due).is_none_or(|due| due <= now);
        let mut waiting: Vec<Asked> = wanted.into_iter().filter(due).collect();
        let mut searches = JoinSet::new();
        let mut told = Vec::new();
        loop {
            while searches.len() < SEARCHES_MAX
                && let Some(asked) = waiting.pop()
            {
                let resolver = self.resolver.clone();
                searches.spawn(async move {
                    let found = search(resolver.as_ref(), asked.clone()).await;
                    (asked, found)
                });
            }
            match searches.join_next().await {
                Some(Ok((asked, found))) => told.extend(self.keep(asked, found)),
                // A task that was cancelled or panicked: its name is due again.
                Some(Err(_)) => {}
                None => break,
            }
        }
        told.sort();
        told
    }

    /// Has something looked up again the next time, although its records would still hold.
    pub fn doubt(&mut self, asked: &Asked) {
        if let Some(known) = self.known.get_mut(asked) {
            known.due = None;
        }
    }

    /// What is known.
    #[must_use]
    pub fn names(&self) -> Names {
        let known = self.known.iter();
        known.filter_map(|(asked, known)| Some((asked.clone(), known.located.clone()?))).collect()
    }

    fn keep(&mut self, asked: Asked, found: Result<Located, Failed>) -> Option<String> {
        let known = self.known.entry(asked).or_default();
        match found {
            Ok(located) => {
                known.due = Some(Instant::now() + located.good_for);
                known.located = Some(located);
                None
            }
            Err(failed) => {
                known.due = Some(Instant::now() + locate::TTL.0);
                Some(failed.to_string())
            }
        }
    }
}

fn bound(options: &mut ResolverOpts) {
    options.timeout = ANSWER_WAIT;
    options.attempts = ATTEMPTS;
}

async fn search(resolver: Option<&TokioResolver>, asked: Asked) -> Result<Located, Failed> {
    let silent = Failed::NoAnswer { name: asked.host.clone() };
    let Some(resolver) = resolver else { return Err(silent) };
    let mut search = Locate::new(asked);
    let whole = async {
        while let Some(question) = search.poll() {
            let answer = ask(resolver, &question).await;
            search.handle(&question, answer);
        }
    };
    if tokio::time::timeout(SEARCH_MAX, whole).await.is_err() {
        return Err(silent);
    }
    search.done().cloned().unwrap_or(Err(silent))
}

async fn ask(resolver: &TokioResolver, question: &Question) -> Answer {
    let kind = match question.kind {
        Kind::Naptr => RecordType::NAPTR,
        Kind::Srv => RecordType::SRV,
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
    };
    match resolver.lookup(question.name.as_str(), kind).await {
        Ok(found) => {
            let good_for = found.valid_until().saturating_duration_since(Instant::now());
            Answer::Records(found.answers().iter().filter_map(record).collect(), Some(good_for))
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none)))
            if matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
        {
            let good_for = none.negative_ttl.map(|seconds| Duration::from_secs(u64::from(seconds)));
            Answer::Records(Vec::new(), good_for)
        }
        Err(_) => Answer::Failed,
    }
}

/// Records of other kinds, such as the CNAME on the way, say nothing.
fn record(record: &Record) -> Option<locate::Record> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if let RData::NAPTR(naptr) = &record.data {
        return Some(locate::Record::Naptr {
            order: naptr.order,
            preference: naptr.preference,
            flags: text(&naptr.flags),
            services: text(&naptr.services),
            replacement: naptr.replacement.to_ascii(),
        });
    }
    if let RData::SRV(srv) = &record.data {
        let (priority, weight, port) = (srv.priority, srv.weight, srv.port);
        return Some(locate::Record::Srv { priority, weight, port, target: srv.target.to_ascii() });
    }
    record.data.ip_addr().map(locate::Record::Address)
}

#[cfg(test)]
mod tests;
