//! The pods, as their streams tell of them: which are there, and which publication all of them have.
//!
//! Pure. A pod counts once it has acknowledged a publication no older than that which all others have: pods that come
//! withdraw nothing. One that drains or has said good-bye counts no more; one that falls silent counts on, until it is
//! forgotten.

use std::{collections::BTreeMap, time::Duration};

use link::{
    config::{PodId, PodName, Position, Report, State, Topology, TopologyPod, What},
    identity::Role,
};
use model::ClusterId;

/// A pod that said nothing for so long is unreachable.
pub const SILENT: Duration = Duration::from_secs(10);

/// A pod that said nothing for so long is forgotten.
pub const FORGOTTEN: Duration = Duration::from_secs(60);

/// Most pods that are told apart, of all clusters.
const PODS_MAX: usize = 4_096;

/// What became of a publication at a pod that refused it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which publication.
    pub position: Position,
    /// The field.
    pub path: String,
    /// The pod's sentence.
    pub message: String,
}

#[derive(Debug)]
struct Pod {
    connected: bool,
    heard: Duration,
    state: State,
    acknowledged: Option<(Position, Duration)>,
    counts: bool,
    refusal: Option<Refusal>,
}

/// All pods of all clusters.
#[derive(Debug, Default)]
pub struct Fleet {
    pods: BTreeMap<PodId, Pod>,
}

/// What a report has changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Which publication all pods of a role have, or whether there is any pod.
    pub acknowledged: bool,
    /// Who is there, and how they are.
    pub topology: bool,
    /// Who is silent.
    pub silence: bool,
    /// Whether a pod has refused something.
    pub refused: bool,
}

impl Fleet {
    /// Takes in what a stream tells.
    pub fn report(&mut self, now: Duration, report: Report) -> Moved {
        let Report { pod: id, what } = report;
        if !self.pods.contains_key(&id)
            && (!matches!(what, What::Joined { .. }) || self.pods.len() >= PODS_MAX)
        {
            return Moved::default();
        }
        let newest = self.acknowledged(&id.cluster, id.role);
        let pod = self.pods.entry(id.clone()).or_insert_with(|| Pod {
            connected: true,
            heard: now,
            state: State::default(),
            acknowledged: None,
            counts: false,
            refusal: None,
        });
        let was_silent = pod.is_silent(now);
        let mut moved = Moved::default();
        match what {
            What::Joined { .. } => {
                pod.connected = true;
                pod.heard = now;
                moved.topology = true;
                // The same pod in a new process: what the old one had, nobody has any more.
                let old =
                    self.pods.keys().filter(|other| is_same(other, &id) && other.instance != id.instance);
                let old: Vec<PodId> = old.cloned().collect();
                for old in old {
                    moved.acknowledged |= self.pods.remove(&old).is_some_and(|pod| pod.counts);
                }
            }
            What::Acknowledged { position, .. } => {
                pod.heard = now;
                pod.acknowledged = Some((position, now));
                pod.refusal = None;
                pod.counts |= !pod.state.draining && newest.is_none_or(|newest| position >= newest);
                moved.acknowledged = true;
                moved.topology = true;
            }
            What::Refused { position, path, message } => {
                pod.heard = now;
                pod.refusal = Some(Refusal { position, path, message });
                moved.acknowledged = true;
                moved.refused = true;
            }
            What::State(state) => {
                pod.heard = now;
                moved.topology = pod.state != state;
                if state.draining && pod.counts {
                    pod.counts = false;
                    moved.acknowledged = true;
                }
                pod.state = state;
            }
            What::Left { goodbye } => {
                pod.connected = false;
                moved.topology = true;
                if goodbye {
                    moved.acknowledged = pod.counts;
                    self.pods.remove(&id);
                }
            }
            What::Misbehaved(_) | _ => {}
        }
        moved.silence |= was_silent;
        moved
    }

    /// Lets time pass.
    pub fn pass(&mut self, now: Duration) -> Moved {
        let before = self.pods.len();
        self.pods.retain(|_, pod| now < pod.heard + FORGOTTEN);
        let gone = self.pods.len() != before;
        Moved { acknowledged: gone, topology: gone, silence: gone, refused: false }
    }

    /// When something will be otherwise if nobody says anything.
    #[must_use]
    pub fn next(&self, now: Duration) -> Option<Duration> {
        let turns = self.pods.values().flat_map(|pod| [pod.heard + SILENT, pod.heard + FORGOTTEN]);
        turns.filter(|turn| *turn > now).min()
    }

    /// The newest publication that every pod of a role that counts has. None: no pod counts.
    #[must_use]
    pub fn acknowledged(&self, cluster: &ClusterId, role: Role) -> Option<Position> {
        let pods = self.of(cluster).filter(|(id, pod)| id.role == role && pod.counts);
        pods.filter_map(|(_, pod)| pod.acknowledged.map(|(position, _)| position)).min()
    }

    /// How many pods of a role count.
    #[must_use]
    pub fn count(&self, cluster: &ClusterId, role: Role) -> usize {
        self.of(cluster).filter(|(id, pod)| id.role == role && pod.counts).count()
    }

    /// A pod that has refused a publication and has not acknowledged one since, the first by name.
    #[must_use]
    pub fn refusal(&self, cluster: &ClusterId) -> Option<(&PodId, &Refusal)> {
        self.of(cluster).find_map(|(id, pod)| Some((id, pod.refusal.as_ref()?)))
    }

    /// A pod that counts and has been silent, the first by name.
    #[must_use]
    pub fn silent(&self, cluster: &ClusterId, now: Duration) -> Option<&PodId> {
        self.of(cluster).find(|(_, pod)| pod.counts && pod.is_silent(now)).map(|(id, _)| id)
    }

    /// What pods are told of each other: those that are connected, or have not been silent for long.
    #[must_use]
    pub fn topology(&self, cluster: &ClusterId, now: Duration) -> Topology {
        let alive = self.of(cluster).filter(|(_, pod)| pod.connected || !pod.is_silent(now));
        let pods = alive.map(|(id, pod)| TopologyPod {
            role: id.role,
            pod: PodName::new(id.name.clone(), id.instance.clone()),
            state: pod.state.clone(),
        });
        Topology { pods: pods.collect() }
    }

    /// Of each pod that has acknowledged something: for how long it has had it.
    pub fn ages(&self, now: Duration) -> impl Iterator<Item = (&PodId, Duration)> {
        let acknowledged = self.pods.iter().filter_map(|(id, pod)| Some((id, pod.acknowledged?.1)));
        acknowledged.map(move |(id, at)| (id, now.saturating_sub(at)))
    }

    fn of<'f, 'c>(
        &'f self,
        cluster: &'c ClusterId,
    ) -> impl Iterator<Item = (&'f PodId, &'f Pod)> + use<'f, 'c> {
        self.pods.iter().filter(move |(id, _)| id.cluster == *cluster)
    }
}

fn is_same(a: &PodId, b: &PodId) -> bool {
    a.cluster == b.cluster && a.role == b.role && a.name == b.name
}

impl Pod {
    fn is_silent(&self, now: Duration) -> bool {
        now >= self.heard + SILENT
    }
}

#[cfg(test)]
mod tests {
    use model::section::Digest;

    use super::*;

    fn cluster() -> ClusterId {
        ClusterId("voice/c14".parse().unwrap())
    }

    fn pod(name: &str, instance: &str) -> PodId {
        PodId { cluster: cluster(), role: Role::Edge, name: name.into(), instance: instance.into() }
    }

    fn at(sequence: u64) -> Position {
        Position { term: 1, sequence }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn joined() -> What {
        What::Joined { held: None, version: String::new() }
    }

    fn acknowledged(sequence: u64) -> What {
        What::Acknowledged { position: at(sequence), digest: Digest::of(b"") }
    }

    fn tell(fleet: &mut Fleet, second: u64, name: &str, what: What) {
        fleet.report(seconds(second), Report { pod: pod(name, "1"), what });
    }

    #[test]
    fn all_have_what_the_last_of_them_has() {
        let mut fleet = Fleet::default();
        assert_eq!(fleet.acknowledged(&cluster(), Role::Edge), None);
        tell(&mut fleet, 0, "a", joined());
        assert_eq!(fleet.acknowledged(&cluster(), Role::Edge), None, "who has nothing does not count");
        tell(&mut fleet, 0, "a", acknowledged(1));
        tell(&mut fleet, 0, "b", joined());
        tell(&mut fleet, 0, "b", acknowledged(1));
        tell(&mut fleet, 1, "a", acknowledged(2));
        assert_eq!(fleet.acknowledged(&cluster(), Role::Edge), Some(at(1)));
        tell(&mut fleet, 1, "b", acknowledged(2));
        assert_eq!(fleet.acknowledged(&cluster(), Role::Edge), Some(at(2)));
        assert_eq!(fleet.acknowledged(&cluster(), Role::Media), None);
    }

    #[test]
    fn pods_that_come_withdraw_nothing() {
        let mut fleet = Fleet::default();
        tell(&mut fleet, 0, "a", joined());
        tell(&mut fleet, 0, "a", acknowledged(5));
        tell(&mut fleet, 1, "b", joined());
        tell(&mut fleet, 1, "b", acknowledged(3));
        assert_eq!(
            fleet.acknowledged(&cluster(), Role::Edge),
            Some(at(5)),
            "b is behind and does not count yet"
        );
        tell(&mut fleet, 1, "b", acknowledged(5));
        assert_eq!(fleet.count(&cluster(), Role::Edge), 2);
    }

    #[test]
    fn who_drains_or_says_good_bye_counts_no_more() {
        let mut fleet = Fleet::default();
        for name in ["a", "b", "c"] {
            tell(&mut fleet, 0, name, joined());
            tell(&mut fleet, 0, name, acknowledged(1));
        }
        tell(&mut fleet, 1, "a", acknowledged(2));
        tell(&mut fleet, 1, "b", What::State(State { draining: true, ..State::default() }));
        tell(&mut fleet, 1, "c", What::Left { goodbye: true });
        assert_eq!(fleet.acknowledged(&cluster(), Role::Edge), Some(at(2)));
    }

    #[test]
    fn a_silent_pod_counts_until_it_is_forgotten() {
        let mut fleet = Fleet::default();
        tell(&mut fleet, 0, "a", joined());
        tell(&mut fleet, 0, "a", acknowledged(1));
        tell(&mut fleet, 1, "a", What::Left { goodbye: false });
        assert_eq!(fleet.next(seconds(1)), Some(SILENT));
        assert_eq!(fleet.silent(&cluster(), seconds(9)), None);
        assert_eq!(fleet.silent(&cluster(), seconds(10)).map(|pod| pod.name.as_str()), Some("a"));
        assert!(fleet.topology(&cluster(), seconds(10)).pods.is_empty());
        fleet.pass(seconds(59));
        assert_eq!(fleet.acknowledged(&cluster(), Role::Edge), Some(at(1)));
        assert!(fleet.pass(seconds(60)).acknowledged);
        assert_eq!(fleet.acknowledged(&cluster(), Role::Edge), None);
    }

    #[test]
    fn a_pod_that_begins_anew_takes_the_place_of_its_old_process() {
        let mut fleet = Fleet::default();
        tell(&mut fleet, 0, "a", joined());
        tell(&mut fleet, 0, "a", acknowledged(1));
        fleet.report(seconds(2), Report { pod: pod("a", "2"), what: joined() });
        assert_eq!(fleet.acknowledged(&cluster(), Role::Edge), None, "the new process has nothing yet");
    }

    #[test]
    fn a_refusal_stands_until_something_is_acknowledged() {
        let mut fleet = Fleet::default();
        tell(&mut fleet, 0, "a", joined());
        let refused =
            What::Refused { position: at(1), path: "cluster.networks".into(), message: "no".into() };
        tell(&mut fleet, 0, "a", refused);
        assert_eq!(fleet.refusal(&cluster()).unwrap().1.path, "cluster.networks");
        tell(&mut fleet, 1, "a", acknowledged(2));
        assert_eq!(fleet.refusal(&cluster()), None);
    }

    #[test]
    fn reports_of_pods_that_never_joined_are_nothing() {
        let mut fleet = Fleet::default();
        tell(&mut fleet, 0, "a", acknowledged(9));
        assert_eq!(fleet.acknowledged(&cluster(), Role::Edge), None);
    }
}
