//! Whatever is published and however often streams break: every pod comes to the last, and never goes back.

use link::{
    config::{Feed, Offer, Position},
    identity::Role,
};
use proptest::prelude::*;

use crate::world::*;

#[derive(Debug, Clone)]
enum Step {
    /// So many publications at once.
    Publish(u8),
    /// All streams break; the same operator leads again.
    Break,
    /// Another term begins.
    NextTerm,
    /// A pod takes and answers what it is offered, if anything is.
    Take { pod: u8, refuse: bool },
    /// The tasks run for a while.
    Run(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..4_u8).prop_map(Step::Publish),
        1 => Just(Step::Break),
        1 => Just(Step::NextTerm),
        4 => (0..3_u8, prop::bool::weighted(0.2)).prop_map(|(pod, refuse)| Step::Take { pod, refuse }),
        3 => (1..30_u8).prop_map(Step::Run),
    ]
}

struct Pod {
    feed: Feed,
    last: Position,
}

impl Pod {
    /// Takes an offer if there is one within so long.
    async fn take(&mut self, refuse: bool, wait: std::time::Duration) -> bool {
        let Ok(offer) = tokio::time::timeout(wait, self.feed.next()).await else { return false };
        let Offer::Publication { position, digest, .. } = offer else { return true };
        assert!(position >= self.last, "{position} after {}", self.last);
        if refuse {
            self.feed.refuse(position, "any", "no");
        } else {
            self.feed.acknowledge(position, digest);
            self.last = position;
        }
        true
    }
}

async fn run(steps: Vec<Step>) {
    let mut world = World::new(Over::Twin).await;
    let roles = [Role::Edge, Role::Media, Role::Edge];
    let mut pods: Vec<_> = roles
        .iter()
        .enumerate()
        .map(|(place, role)| Pod {
            feed: world.feed(*role, &format!("pod-{place}")),
            last: Position::default(),
        })
        .collect();
    let (mut term, mut sequence) = (1, 0);
    for step in steps {
        while world.reports.try_recv().is_ok() {}
        match step {
            Step::Publish(count) => {
                for _ in 0..count {
                    sequence += 1;
                    let kept = (sequence % 7).to_string();
                    world.publish(publication(
                        at(term, sequence),
                        &[("acme", &sequence.to_string()), ("kept", &kept)],
                    ));
                }
            }
            Step::Break => {
                world.hub.follow(None);
                world.hub.lead(term);
            }
            Step::NextTerm => {
                world.hub.follow(None);
                term += 1;
                sequence = 0;
                world.hub.lead(term);
            }
            Step::Take { pod, refuse } => {
                pods[usize::from(pod)].take(refuse, std::time::Duration::from_millis(1)).await;
            }
            Step::Run(turns) => {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
    let last = publication(at(term, sequence + 1), &[("last", "one")]);
    world.publish(last.clone());
    for pod in &mut pods {
        while pod.last != last.position {
            while world.reports.try_recv().is_ok() {}
            assert!(pod.take(false, std::time::Duration::from_secs(120)).await, "the last never comes");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_pod_comes_to_the_last_publication_and_never_goes_back(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(run(steps));
    }
}
