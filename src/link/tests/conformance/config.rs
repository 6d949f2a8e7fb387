//! The configuration stream.

use std::{collections::BTreeMap, sync::Arc};

use link::{
    config::{Held, Hub, Offer, PodName, Position, Publication, State, Topology, TopologyPod, What},
    identity::Role,
};
use model::AudioId;

use crate::world::*;

macro_rules! conformance {
    ($($name:ident)*) => {
        mod twin {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::World::new(super::Over::Twin).await).await;
            })*
        }
        mod network {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::World::new(super::Over::Network).await).await;
            })*
        }
    };
}

conformance! {
    a_pod_gets_the_whole_and_then_what_changed
    what_is_longer_than_a_message_comes_whole
    a_pod_that_is_busy_gets_the_newest_next
    an_acknowledgement_is_reported_with_its_pod
    a_refusal_is_reported_with_its_path_and_the_pod_goes_on
    a_pod_that_holds_what_is_published_is_told_so
    a_lower_term_is_refused
    a_follower_ends_its_streams
    secrets_go_to_their_role_alone_and_again_when_they_change
    prompts_go_to_media_pods_alone
    a_topology_arrives_and_the_newest_wins
    a_state_is_reported
    a_goodbye_is_told_from_a_break
    a_retired_cluster_ends_its_streams
    a_second_stream_of_a_pod_takes_the_place_of_the_first
    what_is_of_another_term_is_not_published
}

async fn a_pod_gets_the_whole_and_then_what_changed(mut world: World) {
    world.publish(publication(at(1, 1), &[("acme", "a"), ("globex", "g")]));
    let feed = world.feed(Role::Edge, "edge-0");
    let first = applied(&feed).await;
    assert_eq!((first.position, first.sections), (at(1, 1), sections(&[("acme", "a"), ("globex", "g")])));
    assert_eq!(world.acknowledged().await, at(1, 1));
    world.publish(publication(at(1, 2), &[("acme", "b"), ("initech", "i")]));
    let second = applied(&feed).await;
    assert_eq!((second.position, second.sections), (at(1, 2), sections(&[("acme", "b"), ("initech", "i")])));
    assert_eq!(world.acknowledged().await, at(1, 2));
    assert_eq!(feed.position(), Some(at(1, 2)));
}

async fn what_is_longer_than_a_message_comes_whole(world: World) {
    let long = "0123456789".repeat(350_000);
    let contents = [("acme", long.as_str()), ("globex", "g"), ("initech", &long[1..])];
    world.publish(publication(at(1, 1), &contents));
    let feed = world.feed(Role::Edge, "edge-0");
    assert_eq!(applied(&feed).await.sections, sections(&contents));
}

async fn a_pod_that_is_busy_gets_the_newest_next(mut world: World) {
    world.publish(publication(at(1, 1), &[("acme", "1")]));
    let feed = world.feed(Role::Edge, "edge-0");
    let first = offered(&feed).await;
    for sequence in 2..=50 {
        world.publish(publication(at(1, sequence), &[("acme", &sequence.to_string())]));
    }
    feed.acknowledge(first.position, first.sections.digest());
    assert_eq!(world.acknowledged().await, at(1, 1));
    assert_eq!(applied(&feed).await.position, at(1, 50));
    assert_eq!(world.acknowledged().await, at(1, 50));
}

async fn an_acknowledgement_is_reported_with_its_pod(mut world: World) {
    let feed = world.feed(Role::Media, "media-3");
    let joined = world.report().await;
    assert_eq!(joined.what, What::Joined { held: None, version: "test".to_owned() });
    world.publish(publication(at(1, 1), &[("acme", "a")]));
    applied(&feed).await;
    let report = world.report().await;
    assert_eq!(report.pod, PodName::new("media-3", "1").of(&identity(Role::Media)));
    let digest = sections(&[("acme", "a")]).digest();
    assert_eq!(report.what, What::Acknowledged { position: at(1, 1), digest });
}

async fn a_refusal_is_reported_with_its_path_and_the_pod_goes_on(mut world: World) {
    world.publish(publication(at(1, 1), &[("acme", "good")]));
    let feed = world.feed(Role::Edge, "edge-0");
    applied(&feed).await;
    world.publish(publication(at(1, 2), &[("acme", "bad")]));
    let bad = offered(&feed).await;
    feed.refuse(bad.position, "flows.acme/main", "has no steps");
    let refused = |path: &str, message: &str| What::Refused {
        position: at(1, 2),
        path: path.to_owned(),
        message: message.to_owned(),
    };
    let report =
        world.until(|report| matches!(report.what, What::Refused { .. }).then(|| report.what.clone()));
    assert_eq!(report.await, refused("flows.acme/main", "has no steps"));
    assert_eq!(feed.position(), Some(at(1, 1)));
    world.publish(publication(at(1, 3), &[("acme", "better")]));
    assert_eq!(applied(&feed).await.sections, sections(&[("acme", "better")]));
    assert_eq!(world.acknowledged().await, at(1, 3));
}

fn held(position: Position, contents: &[(&str, &str)]) -> Option<Held> {
    Some(Held { position, sections: sections(contents), blobs: Arc::default() })
}

async fn a_pod_that_holds_what_is_published_is_told_so(mut world: World) {
    world.publish(publication(at(1, 9), &[("acme", "a")]));
    let feed = world.feed_with(Role::Edge, "edge-0", held(at(1, 8), &[("acme", "a")]));
    let digest = sections(&[("acme", "a")]).digest();
    assert_eq!(
        world.what().await,
        What::Joined { held: Some((at(1, 8), digest)), version: "test".to_owned() }
    );
    assert_eq!(applied(&feed).await.position, at(1, 9));
    assert_eq!(world.acknowledged().await, at(1, 9));
}

async fn a_lower_term_is_refused(mut world: World) {
    world.publish(publication(at(1, 900), &[("acme", "old")]));
    let feed = world.feed_with(Role::Edge, "edge-0", held(at(2, 1), &[("acme", "new")]));
    let refused = world.until(|report| match &report.what {
        What::Refused { position, path, .. } => Some((*position, path.clone())),
        _ => None,
    });
    assert_eq!(refused.await, (at(1, 900), "position".to_owned()));
    world.hub.lead(3);
    world.publish(publication(at(3, 1), &[("acme", "newer")]));
    assert_eq!(applied(&feed).await.position, at(3, 1));
}

async fn a_follower_ends_its_streams(mut world: World) {
    world.publish(publication(at(1, 1), &[("acme", "a")]));
    let feed = world.feed(Role::Edge, "edge-0");
    applied(&feed).await;
    world.acknowledged().await;
    world.hub.follow(None);
    assert_eq!(world.what().await, What::Left { goodbye: false });
    // What was published before is not what the next term says.
    world.hub.lead(2);
    assert!(
        matches!(world.what().await, What::Joined { held: Some((position, _)), .. } if position == at(1, 1))
    );
    world.publish(publication(at(2, 1), &[("acme", "b")]));
    assert_eq!(applied(&feed).await.position, at(2, 1));
}

async fn secrets_go_to_their_role_alone_and_again_when_they_change(mut world: World) {
    let mut one = publication(at(1, 1), &[("acme", "a")]);
    one.edge_secrets = secrets("hunter2");
    world.publish(one.clone());
    let (edge, media) = (world.feed(Role::Edge, "edge-0"), world.feed(Role::Media, "media-0"));
    assert_eq!(applied(&edge).await.edge_secrets, secrets("hunter2"));
    assert!(applied(&media).await.media_secrets.is_empty());
    one.position = at(1, 2);
    one.edge_secrets = secrets("hunter3");
    world.publish(one.clone());
    let changed = applied(&edge).await;
    assert_eq!((changed.position, changed.edge_secrets), (at(1, 2), secrets("hunter3")));
    assert_eq!(changed.sections, one.sections);
    assert!(applied(&media).await.media_secrets.is_empty());
    // Other content: the pod still has its secrets.
    world.publish(Publication { position: at(1, 3), sections: sections(&[("acme", "b")]), ..one });
    assert_eq!(applied(&edge).await.edge_secrets, secrets("hunter3"));
    while world.acknowledged().await != at(1, 3) {}
}

fn blobs(ids: &[u8]) -> link::config::Blobs {
    let blob = |id: &u8| (AudioId([*id; 32]), Arc::from(vec![*id; 300_000 + usize::from(*id)]));
    Arc::new(ids.iter().map(blob).collect::<BTreeMap<_, _>>())
}

async fn prompts_go_to_media_pods_alone(world: World) {
    let with = |sequence, ids: &[u8]| Publication {
        blobs: blobs(ids),
        ..publication(at(1, sequence), &[("a", "a")])
    };
    world.publish(with(1, &[1, 2, 3, 4]));
    let (edge, media) = (world.feed(Role::Edge, "edge-0"), world.feed(Role::Media, "media-0"));
    assert!(applied(&edge).await.blobs.is_empty());
    assert_eq!(applied(&media).await.blobs, blobs(&[1, 2, 3, 4]));
    world.publish(with(2, &[2, 5]));
    assert!(applied(&edge).await.blobs.is_empty());
    assert_eq!(applied(&media).await.blobs, blobs(&[2, 5]));
}

fn topology(calls: u32) -> Topology {
    let state = State {
        ready: true,
        draining: calls == 0,
        calls,
        capacity: 100,
        link: Some("10.1.2.3:9444".parse().unwrap()),
        node: Some("10.9.9.9".parse().unwrap()),
        zone: "a".to_owned(),
    };
    Topology { pods: vec![TopologyPod { role: Role::Media, pod: PodName::new("media-0", "x"), state }] }
}

async fn a_topology_arrives_and_the_newest_wins(world: World) {
    let feed = world.feed(Role::Edge, "edge-0");
    for calls in 0..=20 {
        world.hub.set_topology(&cluster(), topology(calls));
    }
    bounded(async { while feed.next().await != Offer::Topology(topology(20)) {} }).await;
    // It does not wait for the verdict on a publication.
    world.publish(publication(at(1, 1), &[("acme", "a")]));
    offered(&feed).await;
    world.hub.set_topology(&cluster(), topology(21));
    bounded(async { while feed.next().await != Offer::Topology(topology(21)) {} }).await;
}

async fn a_state_is_reported(mut world: World) {
    let feed = world.feed(Role::Edge, "edge-0");
    let said = topology(17).pods.remove(0).state;
    feed.state(said.clone());
    world.until(|report| (report.what == What::State(said.clone())).then_some(())).await;
}

async fn a_goodbye_is_told_from_a_break(mut world: World) {
    let (leaving, broken) = (world.feed(Role::Edge, "edge-0"), world.feed(Role::Edge, "edge-1"));
    for _ in 0..2 {
        assert!(matches!(world.what().await, What::Joined { .. }));
    }
    bounded(leaving.goodbye()).await;
    let left = world.report().await;
    assert_eq!((left.pod.name.as_str(), left.what), ("edge-0", What::Left { goodbye: true }));
    drop(broken);
    let left = world.report().await;
    assert_eq!((left.pod.name.as_str(), left.what), ("edge-1", What::Left { goodbye: false }));
}

async fn a_retired_cluster_ends_its_streams(mut world: World) {
    world.publish(publication(at(1, 1), &[("acme", "a")]));
    let feed = world.feed(Role::Edge, "edge-0");
    applied(&feed).await;
    world.acknowledged().await;
    world.hub.retire(&cluster());
    assert_eq!(world.what().await, What::Left { goodbye: false });
}

async fn a_second_stream_of_a_pod_takes_the_place_of_the_first(mut world: World) {
    let _first = world.feed(Role::Edge, "edge-0");
    assert!(matches!(world.what().await, What::Joined { .. }));
    let _second = world.feed(Role::Edge, "edge-0");
    // The order tells who is there: never a newcomer and then the leaving of the one before.
    assert_eq!(world.what().await, What::Left { goodbye: false });
    assert!(matches!(world.what().await, What::Joined { .. }));
}

async fn what_is_of_another_term_is_not_published(world: World) {
    let refused = world.hub.publish(&cluster(), publication(at(2, 1), &[]));
    assert_eq!(refused.unwrap_err().to_string(), "the operator does not lead with term 2");
    world.hub.follow(None);
    assert!(world.hub.publish(&cluster(), publication(at(1, 1), &[])).is_err());
}

#[tokio::test]
async fn a_pod_goes_on_at_the_holder_that_a_follower_names() {
    let world = World::new(Over::Network).await;
    let (leader, mut reports) = Hub::new();
    leader.lead(2);
    leader.publish(&cluster(), publication(at(2, 1), &[("acme", "led")])).unwrap();
    let serving = world.serve(&leader).await;
    world.hub.follow(Some(serving.address().to_string()));
    let raw = world.raw(&identity(Role::Edge)).await.err().expect("a follower serves nobody");
    assert_eq!(raw.code(), tonic::Code::Unavailable);
    assert!(raw.message().contains(&serving.address().to_string()), "{raw}");
    let feed = world.feed(Role::Edge, "edge-0");
    assert_eq!(applied(&feed).await.position, at(2, 1));
    assert!(matches!(bounded(reports.recv()).await.unwrap().what, What::Joined { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_a_verdict_is_let_go_and_asked_again() {
    let mut world = World::new(Over::Twin).await;
    world.publish(publication(at(1, 1), &[("acme", "a")]));
    let feed = world.feed(Role::Edge, "edge-0");
    offered(&feed).await;
    // Time flies while everybody waits; the heartbeats go on.
    while tokio::time::timeout(Hub::SILENCE_MAX * 6, world.reports.recv())
        .await
        .expect("the stream ends")
        .unwrap()
        .what
        != (What::Left { goodbye: false })
    {}
    assert_eq!(applied(&feed).await.position, at(1, 1));
    assert_eq!(world.acknowledged().await, at(1, 1));
}
