//! Which clusters' pods must know of an object, and which Secrets they need.

use std::collections::{BTreeMap, BTreeSet};

use api::v1alpha1 as v1;
use model::{
    ClusterId, IntegrationId, Key,
    centre::{HeaderValue, Integration, PointKind, SecretKey, SignIn, StationKind},
    snapshot::Speech,
};

use crate::{
    Planner, content,
    problem::ObjectId,
    world::{Item, World},
};

/// Keys of a Secret of type `kubernetes.io/tls`.
const TLS_KEYS: [&str; 2] = ["tls.crt", "tls.key"];

/// Names of keys, by the Secret that has them.
pub type SecretKeys = BTreeMap<Key, BTreeSet<String>>;

/// The Secrets that a cluster's pods need, each role no more than it uses. Values are for others to find.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretNeeds {
    /// What edge pods need.
    pub edge: SecretKeys,
    /// What media pods need.
    pub media: SecretKeys,
}

impl Planner {
    /// The clusters whose pods must know of an object, as far as they are planned: of a VoiceCluster itself, of a Trunk its
    /// own; of all else the one of its namespace's Tenant, those of the namespace's Trunks, and the namespace's own.
    #[must_use]
    pub fn homes(&self, id: &ObjectId) -> BTreeSet<ClusterId> {
        let world = &self.base.world;
        let mut homes: BTreeSet<ClusterId> = match id.kind {
            "VoiceCluster" => BTreeSet::from([ClusterId(id.key.clone())]),
            "Trunk" => {
                world.trunks.get(&id.key).map(|trunk| ClusterId(trunk.cluster.clone())).into_iter().collect()
            }
            _ => namespaces_clusters(id.key.namespace(), world).map(|key| ClusterId(key.clone())).collect(),
        };
        homes.retain(|home| self.is_planned(home));
        homes
    }

    /// The keys of Secrets that a cluster's pods need for the objects in force there. A Secret that is named need not exist.
    #[must_use]
    pub fn secrets(&self, cluster: &ClusterId) -> SecretNeeds {
        let world = &self.base.world;
        let item = world.clusters.get(&cluster.0).filter(|_| self.is_planned(cluster));
        item.map(|item| needs(item, world)).unwrap_or_default()
    }
}

/// Of the objects in force in a cluster.
pub(crate) fn needs(item: &Item<v1::VoiceClusterSpec>, world: &World) -> SecretNeeds {
    let cluster = &item.id.key;
    let mut needs = SecretNeeds::default();
    of_cluster(item, &mut needs);
    for trunk in world.trunks.values().filter(|trunk| trunk.live && trunk.cluster == *cluster) {
        let namespace = trunk.item.namespace();
        let spec = &trunk.item.spec;
        spec.digest.iter().for_each(|digest| needs.edge(namespace, &digest.secret_ref));
        let authorities = spec.tls.iter().filter_map(|tls| tls.ca_secret_ref.as_ref());
        authorities.for_each(|authority| needs.edge(namespace, authority));
        spec.stir.iter().for_each(|stir| of_stir(namespace, stir, &mut needs));
    }
    let serves = |key: &Key| world.served.get(key.namespace()) == Some(cluster);
    for tenant in world.tenants.values().filter(|tenant| !tenant.draft && serves(&tenant.id.key)) {
        let provider = tenant.spec.sign_in.as_ref().and_then(|sign_in| sign_in.open_id_connect.as_ref());
        let secrets = provider.into_iter().flat_map(|of| [&of.secret_ref, &of.ca_secret_ref]).flatten();
        secrets.for_each(|secret| needs.edge(tenant.namespace(), secret));
        tenant.spec.services.iter().for_each(|service| needs.edge(tenant.namespace(), &service.secret_ref));
    }
    of_centre(world, &serves, &mut needs);
    let speech = world.tenants.values().filter(|tenant| !tenant.draft && serves(&tenant.id.key));
    for IntegrationId(key) in speech.filter_map(content::speech).flat_map(spoken_by) {
        // What speaks and understands is asked by the pods that have the sound.
        let mut asked = SecretNeeds::default();
        if let Some(integration) = world.centre.integrations.get(&key) {
            of_integration(&key, &integration.form, &mut asked);
        }
        asked.edge.into_iter().for_each(|(secret, keys)| needs.media.entry(secret).or_default().extend(keys));
    }
    needs
}

/// The cluster of a namespace's Tenant, of its Trunks, and those that stand in it.
fn namespaces_clusters<'w>(namespace: &'w str, world: &'w World) -> impl Iterator<Item = &'w Key> {
    let first = Key::new(namespace, "");
    let inside = move |key: &&Key| key.namespace() == namespace;
    let trunks = world.trunks.range(first.clone()..).take_while(move |(key, _)| inside(key));
    let own = world.clusters.range(first..).map(|(key, _)| key).take_while(inside);
    world.served.get(namespace).into_iter().chain(trunks.map(|(_, trunk)| &trunk.cluster)).chain(own)
}

fn of_cluster(item: &Item<v1::VoiceClusterSpec>, needs: &mut SecretNeeds) {
    let (namespace, spec) = (item.namespace(), &item.spec);
    spec.tls.certificate_ref.iter().for_each(|certificate| needs.certificate(namespace, &certificate.name));
    let capture = spec.capture.iter().filter_map(|capture| capture.secret_ref.as_ref());
    capture.for_each(|secret| needs.edge(namespace, secret));
    if let Some(tracing) = &spec.tracing {
        let secrets = tracing.headers_secret_ref.iter().chain(&tracing.ca_secret_ref);
        secrets.for_each(|secret| needs.edge(namespace, secret));
    }
    let Some(stores) = &spec.stores else { return };
    if let Some(live) = &stores.live_state {
        needs.edge(namespace, &live.secret_ref);
        let others = live.ca_secret_ref.iter().chain(&live.sentinel_password_secret_ref);
        others.for_each(|secret| needs.edge(namespace, secret));
    }
    if let Some(records) = &stores.records {
        needs.edge(namespace, &records.password_secret_ref);
        records.ca_secret_ref.iter().for_each(|authority| needs.edge(namespace, authority));
    }
    // Recordings go from the pods that make them straight to where they are kept.
    let Some(blobs) = &stores.blobs else { return };
    let bucket = blobs.s3.iter().flat_map(|bucket| {
        let ca = bucket.ca_secret_ref.iter();
        [&bucket.access_key_id_secret_ref, &bucket.secret_access_key_secret_ref].into_iter().chain(ca)
    });
    for secret in bucket.chain(blobs.sealing_keys.iter().map(|key| &key.secret_ref)) {
        add(&mut needs.media, namespace, &secret.name, &secret.key);
    }
}

fn spoken_by(speech: Speech) -> impl Iterator<Item = IntegrationId> {
    let voice = speech.voice.map(|voice| voice.integration);
    voice.into_iter().chain(speech.recogniser.map(|recogniser| recogniser.integration))
}

/// What is off needs none.
fn of_stir(namespace: &str, stir: &v1::Stir, needs: &mut SecretNeeds) {
    if let Some(sign) = &stir.sign {
        needs.edge(namespace, &sign.key_secret_ref);
        needs.edge(namespace, &sign.certificate_secret_ref);
    }
    for verify in stir.verify.iter().filter(|verify| verify.mode != v1::StirMode::Disabled) {
        needs.edge(namespace, &verify.anchors_secret_ref);
        verify.ca_secret_ref.iter().for_each(|authority| needs.edge(namespace, authority));
    }
}

/// Of what tenants have, in the form that is in force.
fn of_centre(world: &World, serves: &dyn Fn(&Key) -> bool, needs: &mut SecretNeeds) {
    let centre = &world.centre;
    for (key, agent) in centre.agents.iter().filter(|(key, _)| serves(key)) {
        let password = agent.form.sign_in.iter().filter_map(|sign_in| match sign_in {
            SignIn::Password(secret) => Some(secret),
            SignIn::Subject(_) => None,
        });
        let phones = agent.form.stations.iter().filter_map(|station| match &station.kind {
            StationKind::Sip { secret, .. } => Some(secret),
            StationKind::WebRtc { .. } | StationKind::Pstn { .. } => None,
        });
        password.chain(phones).for_each(|secret| needs.form(key, secret));
    }
    for (key, integration) in centre.integrations.iter().filter(|(key, _)| serves(key)) {
        of_integration(key, &integration.form, needs);
    }
    for (key, point) in centre.contact_points.iter().filter(|(key, _)| serves(key)) {
        match &point.form.kind {
            PointKind::Email { secret, .. } | PointKind::Social { secret, .. } => needs.form(key, secret),
            PointKind::Chat { .. } | PointKind::Sms { .. } => {}
        }
    }
}

fn of_integration(key: &Key, integration: &Integration, needs: &mut SecretNeeds) {
    let headers = integration.headers.iter().filter_map(|header| match &header.value {
        HeaderValue::Secret(secret) => Some(secret),
        HeaderValue::Text(_) => None,
    });
    let proxy = integration.proxy.iter().filter_map(|proxy| proxy.secret.as_ref());
    headers.chain(proxy).chain(&integration.ca).for_each(|secret| needs.form(key, secret));
    integration.certificate.iter().for_each(|name| needs.certificate(key.namespace(), name));
}

impl SecretNeeds {
    fn edge(&mut self, namespace: &str, reference: &v1::SecretKeyRef) {
        add(&mut self.edge, namespace, &reference.name, &reference.key);
    }

    fn form(&mut self, object: &Key, secret: &SecretKey) {
        add(&mut self.edge, object.namespace(), &secret.name, &secret.key);
    }

    fn certificate(&mut self, namespace: &str, name: &str) {
        TLS_KEYS.iter().for_each(|key| add(&mut self.edge, namespace, name, key));
    }
}

fn add(keys: &mut SecretKeys, namespace: &str, name: &str, key: &str) {
    keys.entry(Key::new(namespace, name)).or_default().insert(key.to_owned());
}
