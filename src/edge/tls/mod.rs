//! Who is spoken to under TLS and how, by the snapshot and the Secrets of the moment.

mod server;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use call::lots::Lots;
use call::{
    certificate::{Identity, wanted_names},
    world::World,
};
use model::{
    Key, TrunkId,
    centre::SecretKey,
    net::{Flow, Transport},
    secrets::Secrets,
    snapshot::{Listener, Serves, Snapshot, Trunk},
    trunk::{TlsPolicy, TlsVersion, TrunkTls},
};
use rustls::{
    RootCertStore, ServerConfig,
    client::verify_server_cert_signed_by_trust_anchor,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, UnixTime, pem::PemObject},
    server::{ParsedCertificate, WebPkiClientVerifier},
};

pub use outbound::tls::client;
pub(crate) use outbound::tls::{names, public_authorities};

use self::{
    client::{Client, OwnCertificate, Settings},
    server::Asks,
};

/// Authorities, read once.
type Roots = Result<Arc<RootCertStore>, String>;

/// An authority's place: namespace and Secret. None: the machine's public ones.
type Authority = Option<(Key, String)>;

/// Authorities that were read. By whoever verifies, which is never the engine's thread.
type Read = Mutex<BTreeMap<Authority, Roots>>;

/// TLS of one engine's thread.
pub(crate) struct Tls {
    /// What was looked at last.
    seen: Arc<Snapshot>,
    policy: TlsPolicy,
    secrets: Secrets,
    provider: Arc<CryptoProvider>,
    for_trunks: Result<Arc<ServerConfig>, String>,
    for_agents: Result<Arc<ServerConfig>, String>,
    /// Made when they are first needed.
    clients: BTreeMap<TrunkId, Arc<LateClient>>,
    roots: Arc<Read>,
    /// How often [`Tls::renew`] found anything.
    renewals: u64,
}

/// What connects to a trunk's peers. Reading authorities and keys takes a while: whoever shakes hands first does it.
#[derive(Debug)]
pub(crate) struct LateClient {
    tls: TrunkTls,
    ca: Option<Vec<u8>>,
    /// Chain and key.
    own: Option<Secret>,
    made: OnceLock<Result<Client, String>>,
}

struct Secret {
    chain: Vec<u8>,
    key: Vec<u8>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl LateClient {
    /// The client, or what is wrong with its settings.
    pub fn made(&self) -> Result<&Client, String> {
        let make = || {
            let certificate =
                self.own.as_ref().map(|own| OwnCertificate { chain: &own.chain, key: &own.key });
            let settings = Settings {
                minimum_version: self.tls.minimum_version,
                suites: &self.tls.suites,
                ca: self.ca.as_deref(),
                certificate,
            };
            Client::new(&settings).map_err(|error| error.to_string())
        };
        self.made.get_or_init(make).as_ref().map_err(Clone::clone)
    }
}

/// What a peer has shown, and in which part.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// What is spoken.
    pub version: TlsVersion,
    /// Its certificate first; empty: it has shown none.
    pub chain: Vec<CertificateDer<'static>>,
    /// Whether it is the server: we have connected.
    pub as_server: bool,
}

/// Whom a connection of ours is to reach.
#[derive(Debug)]
pub(crate) struct Target {
    pub client: Arc<LateClient>,
    /// What the server is told that we look for.
    pub host: String,
    /// Of each list one name must stand in its certificate.
    pub names: Vec<Vec<String>>,
}

impl Target {
    /// Whether a certificate of these names is the right one.
    pub fn is_met_by(&self, found: &[String]) -> bool {
        self.names.iter().all(|wanted| names::any_of(found, wanted.iter().map(String::as_str)))
    }
}

impl Tls {
    pub fn new(world: &World) -> Self {
        let nothing = Err(String::new());
        let mut tls = Self {
            seen: Arc::clone(&world.snapshot),
            policy: TlsPolicy::default(),
            secrets: Secrets::default(),
            provider: Arc::new(aws_lc_rs::default_provider()),
            for_trunks: nothing.clone(),
            for_agents: nothing,
            clients: BTreeMap::new(),
            roots: Arc::default(),
            renewals: 0,
        };
        tls.make_servers(world);
        tls
    }

    /// After a snapshot or values of Secrets were applied: whether anything of it matters here. Connections that are up stay
    /// so.
    pub fn renew(&mut self, world: &World) -> bool {
        let is_same = self.policy == world.snapshot.cluster.tls && self.secrets == *world.secrets();
        let before = std::mem::replace(&mut self.seen, Arc::clone(&world.snapshot));
        if is_same && before.trunks == world.snapshot.trunks {
            return false;
        }
        self.clients.clear();
        self.renewals += 1;
        if !is_same {
            // Whoever still verifies by the old ones keeps them.
            self.roots = Arc::default();
            self.make_servers(world);
        }
        true
    }

    fn make_servers(&mut self, world: &World) {
        self.policy = world.snapshot.cluster.tls.clone();
        self.secrets = world.secrets().clone();
        let made = |asks| {
            let own = own_certificate(&self.policy, &self.secrets)?;
            server::config(&self.policy, own, asks).map(Arc::new).map_err(|because| {
                let secret = self.policy.certificate.as_ref().map(Key::to_string).unwrap_or_default();
                format!("Secret {secret}: {because}.")
            })
        };
        self.for_trunks = made(Asks::ForCertificate);
        self.for_agents = made(Asks::ForNone);
    }

    /// What a listener says to those who connect; or why it can say nothing.
    pub fn server(&self, listener: &Listener) -> Result<Arc<ServerConfig>, String> {
        match listener.serves {
            Serves::Trunks => self.for_trunks.clone(),
            Serves::Agents => self.for_agents.clone(),
        }
    }

    /// Whom a flow leads to, and how that is made sure of.
    ///
    /// Trunks whose peers have one address and port share its connections: what is offered must be the same, and the
    /// certificate must be right for each.
    pub fn target(&mut self, world: &World, flow: Flow) -> Result<Target, String> {
        let mut found = peers_at(world, flow);
        if found.is_empty() {
            found = callers_at(world, flow);
        }
        let Some((id, trunk, host, _)) = found.first().cloned() else {
            return Err(
                "no Trunk has a peer under TLS there, so nobody knows whose certificate it must show".into(),
            );
        };
        for (other, one, ..) in &found {
            if offer(other, one) != offer(id, trunk) {
                return Err(format!(
                    "Trunk {id} and Trunk {other} have a peer there, but not the same `tls`: make them equal"
                ));
            }
        }
        let names = found.into_iter().map(|(.., names)| names).collect();
        Ok(Target { client: self.client(id, &trunk.tls)?, host, names })
    }

    fn client(&mut self, id: &TrunkId, tls: &TrunkTls) -> Result<Arc<LateClient>, String> {
        if let Some(client) = self.clients.get(id) {
            return Ok(Arc::clone(client));
        }
        let ca = tls.ca.as_ref().map(|ca| value(&self.secrets, id.0.namespace(), ca)).transpose()?;
        // Without a certificate of ours the server may still be content.
        let own = own_certificate(&self.policy, &self.secrets).ok();
        let client = Arc::new(LateClient {
            tls: tls.clone(),
            ca: ca.map(<[u8]>::to_vec),
            own: own.map(|own| Secret { chain: own.chain.to_vec(), key: own.key.to_vec() }),
            made: OnceLock::new(),
        });
        self.clients.insert(id.clone(), Arc::clone(&client));
        Ok(client)
    }

    /// Who tells peers by what they have shown.
    pub fn judge(&self, world: &Arc<World>) -> Judge {
        Judge {
            world: Arc::clone(world),
            provider: Arc::clone(&self.provider),
            roots: Arc::clone(&self.roots),
            since: self.renewals,
        }
    }

    /// Whether a judge goes by what holds now.
    pub const fn is_current(&self, since: u64) -> bool {
        self.renewals == since
    }
}

/// Tells who a peer is that has shown a certificate; on any thread, since verifying takes a while.
pub(crate) struct Judge {
    world: Arc<World>,
    provider: Arc<CryptoProvider>,
    roots: Arc<Read>,
    /// What it goes by.
    pub since: u64,
}

impl Judge {
    /// Who a peer is that has shown a certificate.
    pub fn identify(&self, flow: Flow, shown: &Shown) -> Identity {
        let world = &self.world;
        let nobody = Identity { version: shown.version, ..Identity::default() };
        let Some((certificate, above)) = shown.chain.split_first() else { return nobody };
        let listener = world.snapshot.cluster.listeners.get(usize::from(flow.listener.0));
        let Some(listener) = listener else { return nobody };
        let now = jiff::Timestamp::now();
        let trunks = world.snapshot.trunks.iter().filter(|(_, trunk)| {
            let here = || trunk.sources.iter().any(|source| source.admits(flow.remote.ip(), now));
            trunk.network == listener.network && trunk.direction.is_inbound() && here()
        });
        let vouched: BTreeSet<TrunkId> = trunks
            .filter(|(id, trunk)| {
                let as_server = shown.as_server || trunk.tls.accept_server_auth_eku;
                let Ok(roots) = self.roots(id.0.namespace(), trunk.tls.ca.as_ref()) else { return false };
                (!shown.as_server && self.vouches_for_client(&roots, certificate, above))
                    || (as_server && self.vouches_for_server(&roots, certificate, above))
            })
            .map(|(id, _)| id.clone())
            .collect();
        Identity { certified: true, names: names::of(certificate), vouched, ..nobody }
    }

    fn vouches_for_client(
        &self,
        roots: &Arc<RootCertStore>,
        certificate: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
    ) -> bool {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(&self.provider));
        let verifier = verifier.build();
        verifier
            .is_ok_and(|verifier| verifier.verify_client_cert(certificate, above, UnixTime::now()).is_ok())
    }

    fn vouches_for_server(
        &self,
        roots: &RootCertStore,
        certificate: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
    ) -> bool {
        let algorithms = self.provider.signature_verification_algorithms.all;
        let Ok(certificate) = ParsedCertificate::try_from(certificate) else { return false };
        verify_server_cert_signed_by_trust_anchor(&certificate, roots, above, UnixTime::now(), algorithms)
            .is_ok()
    }

    fn roots(&self, namespace: &str, ca: Option<&SecretKey>) -> Roots {
        let authority: Authority = ca.map(|ca| (Key::new(namespace, &ca.name), ca.key.clone()));
        let secrets = self.world.secrets();
        let read = || {
            let public;
            let pem = match ca {
                Some(ca) => value(secrets, namespace, ca)?,
                None => {
                    public = public_authorities();
                    &public
                }
            };
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).filter_map(Result::ok));
            Ok(Arc::new(roots))
        };
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        roots.entry(authority).or_insert_with(read).clone()
    }
}

/// What decides over a handshake of ours, the name aside.
fn offer<'a>(id: &'a TrunkId, trunk: &'a Trunk) -> impl PartialEq + 'a {
    let namespace = trunk.tls.ca.as_ref().map(|_| id.0.namespace());
    (trunk.tls.minimum_version, &trunk.tls.suites, &trunk.tls.ca, namespace)
}

type Found<'w> = (&'w TrunkId, &'w Trunk, String, Vec<String>);

/// Peers that we call there.
fn peers_at(world: &World, flow: Flow) -> Vec<Found<'_>> {
    let trunks = world.snapshot.trunks.iter();
    let peers = trunks.flat_map(|(id, trunk)| trunk.peers.iter().map(move |peer| (id, trunk, peer)));
    let under_tls = peers.filter(|(.., peer)| peer.transport == Transport::Tls);
    let leads = |flows: Vec<Flow>| {
        flows.iter().any(|to| {
            to.transport == Transport::Tls && to.listener == flow.listener && to.remote == flow.remote
        })
    };
    // In whatever order.
    let mut lots = Lots::new(0);
    let there = under_tls.filter(|(id, _, peer)| leads(world.flows_to(id, peer, &mut lots)));
    let mut found: Vec<_> = there
        .map(|(id, trunk, peer)| (id, trunk, peer.host.clone(), names_of(trunk, Some(&peer.host))))
        .collect();
    // A registrar is who its domain says, wherever that leads (RFC 5922 §7.3), and so is a proxy before it.
    for (id, trunk) in &world.snapshot.trunks {
        for (host, flows) in world.flows_beside_peers(id, &mut lots) {
            if leads(flows) {
                let names = names_of(trunk, Some(&host));
                found.push((id, trunk, host, names));
            }
        }
    }
    found
}

/// Trunks whose calls come from there: a dialog's requests go where its Contact says.
fn callers_at(world: &World, flow: Flow) -> Vec<Found<'_>> {
    let listener = world.snapshot.cluster.listeners.get(usize::from(flow.listener.0));
    let now = jiff::Timestamp::now();
    let trunks = world.snapshot.trunks.iter().filter(|(_, trunk)| {
        listener.is_some_and(|listener| listener.network == trunk.network)
            && trunk.sources.iter().any(|source| source.admits(flow.remote.ip(), now))
    });
    let named = trunks.filter_map(|(id, trunk)| {
        let names = names_of(trunk, None);
        Some((id, trunk, names.first()?.clone(), names))
    });
    named.collect()
}

fn names_of(trunk: &Trunk, host: Option<&str>) -> Vec<String> {
    match host.filter(|_| trunk.tls.peer_names.is_empty()) {
        Some(host) => vec![host.to_owned()],
        None => wanted_names(trunk).map(str::to_owned).collect(),
    }
}

fn own_certificate<'a>(policy: &TlsPolicy, secrets: &'a Secrets) -> Result<OwnCertificate<'a>, String> {
    let Some(secret) = &policy.certificate else {
        return Err("the VoiceCluster's tls.certificateRef names no Secret.".into());
    };
    let read = |key| {
        secrets.get(secret, key).ok_or_else(|| format!("Secret {secret} has no `{key}`, or is not there."))
    };
    Ok(OwnCertificate { chain: read("tls.crt")?, key: read("tls.key")? })
}

fn value<'a>(secrets: &'a Secrets, namespace: &str, secret: &SecretKey) -> Result<&'a [u8], String> {
    let SecretKey { name, key } = secret;
    let object = Key::new(namespace, name);
    secrets.get(&object, key).ok_or_else(|| format!("Secret {object} has no `{key}`, or is not there"))
}
