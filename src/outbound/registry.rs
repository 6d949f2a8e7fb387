//! The services of a snapshot.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use ipnet::IpNet;
use model::{
    IntegrationId, Key,
    centre::{HeaderValue, Integration},
    secrets::Secrets,
    snapshot::Snapshot,
    trunk::TlsPolicy,
};

use crate::service::{Failed, Service};

/// The services that there are now. Read live: a request takes the newest form.
#[derive(Default)]
pub struct Integrations(RwLock<BTreeMap<IntegrationId, Known>>);

struct Known {
    made_of: MadeOf,
    service: Result<Arc<Service>, String>,
}

/// What a service is made of; as long as it is the same, so is the service, with what it knows of its server.
#[derive(Clone, PartialEq)]
struct MadeOf {
    form: Arc<Integration>,
    secrets: Secrets,
    policy: TlsPolicy,
    ranges: Vec<IpNet>,
}

impl fmt::Debug for Integrations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Integrations")
    }
}

impl Integrations {
    /// From now on those of this snapshot. Of `secrets` each takes what it names.
    pub fn update(&self, snapshot: &Snapshot, secrets: &Secrets) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut last = std::mem::take(&mut *known);
        let cluster = &snapshot.cluster;
        for (id, form) in &snapshot.centre.integrations {
            let made_of = MadeOf {
                form: Arc::clone(form),
                secrets: named(&id.0, form, secrets),
                policy: cluster.tls.clone(),
                ranges: cluster.reachable_ranges.clone(),
            };
            let same = last.remove(id).filter(|known| known.made_of == made_of);
            let one = same.unwrap_or_else(|| {
                let bounds = (&made_of.policy, &made_of.ranges[..]);
                let service = Service::new(&id.0, form, &made_of.secrets, bounds).map(Arc::new);
                if let Err(because) = &service {
                    tracing::warn!(integration = %id.0, because, "an Integration cannot be asked");
                }
                Known { made_of, service }
            });
            known.insert(id.clone(), one);
        }
    }

    /// One of them.
    ///
    /// # Errors
    /// There is none of that name, or it is of no use.
    pub fn get(&self, id: &IntegrationId) -> Result<Arc<Service>, Failed> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match known.get(id).map(|known| &known.service) {
            Some(Ok(service)) => Ok(Arc::clone(service)),
            Some(Err(because)) => Err(Failed::Settings(because.clone())),
            None => Err(Failed::Settings(format!("there is no Integration {}", id.0))),
        }
    }
}

/// The values that an Integration names.
fn named(name: &Key, form: &Integration, secrets: &Secrets) -> Secrets {
    let headers = form.headers.iter().filter_map(|header| match &header.value {
        HeaderValue::Secret(secret) => Some(secret),
        HeaderValue::Text(_) => None,
    });
    let proxy = form.proxy.iter().filter_map(|proxy| proxy.secret.as_ref());
    let single =
        headers.chain(proxy).chain(&form.ca).map(|secret| (secret.name.as_str(), secret.key.as_str()));
    let own = form.certificate.iter().flat_map(|object| [(object.as_str(), "tls.crt"), (object, "tls.key")]);
    let values = single.chain(own).filter_map(|(object, key)| {
        let object = Key::new(name.namespace(), object);
        let value = secrets.get(&object, key)?.to_vec();
        Some(((object, key.to_owned()), value))
    });
    values.collect()
}
