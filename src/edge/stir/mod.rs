//! Keys and certificates of STIR/SHAKEN: what [`call::engine::Output::Sign`] and [`Output::Verify`] ask for.
//!
//! [`Output::Verify`]: call::engine::Output::Verify

mod cache;
mod fetch;
mod keys;
#[cfg(test)]
mod tests;
mod trust;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc};

use call::{
    engine::{Input, ToSign, ToVerify},
    vetting::signer_speaks_for,
    world::World,
};
use ipnet::IpNet;
use jiff::Timestamp;
use model::{Key, TrunkId, centre::SecretKey, secrets::Secrets, snapshot::Snapshot};
use stir::{
    Fault,
    passport::{Party, Passport},
};
use tokio::sync::mpsc;

use self::{cache::Cache, fetch::Source, keys::Signer, trust::Anchors};
use crate::{observed::Observed, shell::Shared};

/// Calls that wait for the task that verifies them.
const QUEUE_MAX: usize = 1_024;

/// Verifications at a time; one more waits for its turn, or in vain.
const TASKS_MAX: usize = 256;

/// Keys and authorities of the trunks, as they are now, and certificates that were fetched.
pub struct Stir {
    seen: Arc<Snapshot>,
    secrets: Secrets,
    signers: BTreeMap<TrunkId, Result<Rc<Signer>, String>>,
    anchors: BTreeMap<TrunkId, Result<Rc<Anchors>, String>>,
    observed: Arc<Observed>,
    jobs: mpsc::Sender<Job>,
    queue: Option<mpsc::Receiver<Job>>,
}

/// A call to be verified.
pub struct Job {
    to_verify: ToVerify,
    anchors: Result<Rc<Anchors>, String>,
    ca: Option<Arc<[u8]>>,
    ranges: Vec<IpNet>,
}

impl Stir {
    pub fn new(world: &World, observed: Arc<Observed>) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        Self {
            seen: Arc::clone(&world.snapshot),
            secrets: world.secrets().clone(),
            signers: BTreeMap::new(),
            anchors: BTreeMap::new(),
            observed,
            jobs,
            queue: Some(queue),
        }
    }

    /// Reads anew what was read of other Secrets, or for other trunks.
    fn renew(&mut self, world: &World) {
        if Arc::ptr_eq(&self.seen, &world.snapshot) && self.secrets == *world.secrets() {
            return;
        }
        self.seen = Arc::clone(&world.snapshot);
        self.secrets = world.secrets().clone();
        self.signers.clear();
        self.anchors.clear();
    }

    /// Signs at once.
    pub fn sign(&mut self, world: &World, to_sign: &ToSign, now: Timestamp) -> Input {
        self.renew(world);
        let signer = match self.signers.get(&to_sign.trunk) {
            Some(known) => known.clone(),
            None => {
                let read = self.signer(&to_sign.trunk);
                self.signers.insert(to_sign.trunk.clone(), read.clone());
                read
            }
        };
        let signature = signer.and_then(|signer| signer.sign(&to_sign.text, now));
        let count = if signature.is_ok() {
            &self.observed.identities_signed
        } else {
            &self.observed.identities_unsigned
        };
        count.add(1);
        Input::Signed { ticket: to_sign.ticket, signature }
    }

    fn signer(&self, trunk: &TrunkId) -> Result<Rc<Signer>, String> {
        let gone = || format!("Trunk {trunk} signs nothing");
        let sign = self.seen.trunks.get(trunk).and_then(|trunk| trunk.stir.sign.as_ref()).ok_or_else(gone)?;
        let value = |secret| value(&self.secrets, trunk.0.namespace(), secret);
        Signer::new(value(&sign.key)?, value(&sign.certificate)?).map(Rc::new)
    }

    /// Has a call verified; gives the verdict at once if that cannot be.
    pub fn verify(&mut self, world: &World, to_verify: ToVerify) -> Option<Input> {
        self.renew(world);
        let trunk = to_verify.trunk.clone();
        let ticket = to_verify.ticket;
        let anchors = match self.anchors.get(&trunk) {
            Some(known) => known.clone(),
            None => {
                let read = self.read_anchors(&trunk);
                self.anchors.insert(trunk.clone(), read.clone());
                read
            }
        };
        let verify = self.seen.trunks.get(&trunk).and_then(|trunk| trunk.stir.verify.as_ref());
        let ca = verify.and_then(|verify| verify.ca.as_ref());
        let ca = ca.map(|ca| value(&self.secrets, trunk.0.namespace(), ca)).transpose();
        let job = match ca {
            Ok(ca) => Job {
                to_verify,
                anchors,
                ca: ca.map(Arc::from),
                ranges: self.seen.cluster.reachable_ranges.clone(),
            },
            Err(because) => return Some(verdict(ticket, Err(Fault::Unreachable(because)))),
        };
        self.jobs
            .try_send(job)
            .err()
            .map(|_| verdict(ticket, Err(Fault::Unreachable("too many calls wait for certificates".into()))))
    }

    fn read_anchors(&self, trunk: &TrunkId) -> Result<Rc<Anchors>, String> {
        let gone = || format!("Trunk {trunk} verifies nothing");
        let trunks = &self.seen.trunks;
        let verify = trunks.get(trunk).and_then(|trunk| trunk.stir.verify.as_ref()).ok_or_else(gone)?;
        let pem = value(&self.secrets, trunk.0.namespace(), &verify.anchors)?;
        Anchors::new(pem).map(Rc::new)
    }
}

const fn verdict(ticket: u64, verdict: Result<(), Fault>) -> Input {
    Input::Verified { ticket, verdict }
}

/// Takes calls to be verified, as long as the thread lives.
pub async fn serve(core: Shared) {
    let workers = core.borrow().workers();
    let (queue, observed) = {
        let stir = &mut core.borrow_mut().stir;
        (stir.queue.take(), Arc::clone(&stir.observed))
    };
    let Some(mut queue) = queue else { return };
    let cache = Rc::new(RefCell::new(Cache::by(workers)));
    let turns = Arc::new(tokio::sync::Semaphore::new(TASKS_MAX));
    while let Some(job) = queue.recv().await {
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
        let (core, cache, observed) = (Rc::clone(&core), Rc::clone(&cache), Arc::clone(&observed));
        tokio::task::spawn_local(async move {
            let ticket = job.to_verify.ticket;
            let found = verify(&job, &cache, &observed, Timestamp::now()).await;
            let count = if found.is_ok() { &observed.identities_passed } else { &observed.identities_failed };
            count.add(1);
            core.borrow_mut().step(verdict(ticket, found));
            drop(turn);
        });
    }
}

async fn verify(
    job: &Job,
    cache: &Rc<RefCell<Cache>>,
    observed: &Observed,
    now: Timestamp,
) -> Result<(), Fault> {
    let anchors = job.anchors.as_ref().map_err(|because| Fault::Untrusted(because.clone()))?;
    for passport in &job.to_verify.passports {
        let source =
            Source { url: passport.certificate_url.clone(), ca: job.ca.clone(), ranges: job.ranges.clone() };
        let chain = cache::get(cache, source, observed).await.map_err(Fault::Unreachable)?;
        let trusted = anchors.vouch_for(&chain, now).map_err(Fault::Untrusted)?;
        speaks_for(&trusted, passport)?;
        if !trusted.is_signed(&passport.signed, &passport.signature) {
            return Err(Fault::Invalid("the signature does not hold".into()));
        }
    }
    Ok(())
}

/// RFC 8226 §9: a certificate that lists numbers stands for those alone.
fn speaks_for(trusted: &trust::Trusted, passport: &Passport) -> Result<(), Fault> {
    let Some(numbers) = &trusted.numbers else { return Ok(()) };
    match signer_speaks_for(passport) {
        Some(Party::Number(number)) if numbers.have(number) => Ok(()),
        Some(Party::Number(_) | Party::Uri(_)) | None => {
            Err(Fault::Untrusted("its certificate does not stand for that number (TNAuthList)".into()))
        }
    }
}

fn value<'a>(secrets: &'a Secrets, namespace: &str, secret: &SecretKey) -> Result<&'a [u8], String> {
    let SecretKey { name, key } = secret;
    let object = Key::new(namespace, name);
    secrets.get(&object, key).ok_or_else(|| format!("Secret {object} has no `{key}`, or is not there"))
}
