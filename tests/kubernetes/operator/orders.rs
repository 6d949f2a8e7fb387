//! GitOps tools apply in any order, and delete and apply again: it always comes to the same.

use std::collections::VecDeque;

use serde_json::Value;

use super::{
    manifests::Manifests,
    stage::{Stage, Verdicts, id_of},
};
use crate::control_plane::repository;

const ORDERS: u64 = 20;

/// xorshift64*: the same seed gives the same order on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).unwrap() % bound
    }
}

/// Applies every object once more than it is deleted, in an order that `seed` decides.
fn apply_in_some_order(stage: &Stage, objects: &[Value], seed: u64) {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ seed);
    let mut left: Vec<&Value> = objects.iter().collect();
    let mut queue = VecDeque::new();
    while !left.is_empty() {
        queue.push_back(left.swap_remove(dice.below(left.len())));
    }
    let mut there: Vec<&Value> = Vec::new();
    let mut deletions = objects.len() / 2;
    while let Some(object) = queue.pop_front() {
        if let Err(error) = stage.apply(object) {
            panic!("seed {seed}: {} is refused for its place in the order: {error}", id_of(object));
        }
        there.push(object);
        if deletions > 0 && dice.below(2) == 0 {
            deletions -= 1;
            let gone = there.swap_remove(dice.below(there.len()));
            stage.delete(gone).unwrap();
            queue.push_back(gone);
        }
    }
}

#[test]
fn every_order_of_applying_and_deleting_ends_in_the_same_state() {
    let stage = Stage::new();
    let text = std::fs::read_to_string(repository().join("tests/gitops/production.yaml")).unwrap();
    let operator = stage.operator_with_webhook("orders");
    operator.await_ready();
    // Each order in namespaces of its own, so that what settles slowly settles for all of them at once.
    let mut count = 0;
    for seed in 0..ORDERS {
        let manifests = Manifests::read(&text).in_namespaces(&format!("orders-{seed}"));
        manifests.make_namespaces(stage.world);
        apply_in_some_order(&stage, &manifests.0, seed);
        count = manifests.0.len();
    }
    stage.settle(&operator);
    let all = stage.verdicts();
    let of = |seed: u64| -> Verdicts {
        let prefix = format!("orders-{seed}-");
        let own = all.iter().filter(|(id, _)| id.contains(&prefix));
        let bare = |text: &String| text.replace(&prefix, "");
        own.map(|(id, told)| (bare(id), told.iter().map(|(of, told)| (of.clone(), bare(told))).collect()))
            .collect()
    };
    let first = of(0);
    assert_eq!(first.len(), count);
    assert!(first.values().all(|told| told["Accepted"].starts_with("True")), "{first:#?}");
    for seed in 1..ORDERS {
        for (id, told) in of(seed) {
            assert_eq!(Some(&told), first.get(&id), "seed {seed}: {id}");
        }
    }
}

/// The same names, with other objects behind them each time.
#[test]
fn what_is_deleted_and_made_again_is_told_of_again() {
    let stage = Stage::new();
    let text = std::fs::read_to_string(repository().join("tests/gitops/production.yaml")).unwrap();
    let operator = stage.operator("again");
    operator.await_ready();
    let manifests = Manifests::read(&text).in_namespaces("again");
    manifests.make_namespaces(stage.world);
    for seed in 0..ORDERS {
        apply_in_some_order(&stage, &manifests.0, seed);
        stage.await_seen(&operator);
        if seed + 1 < ORDERS {
            manifests.0.iter().for_each(|object| stage.delete(object).unwrap());
        }
    }
    stage.settle(&operator);
}
