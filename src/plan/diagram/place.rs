//! How far across each vertex stands, its order being given: near its neighbours, long arrows straight, nothing overlapping.
//!
//! Layer by layer, each vertex wishes to stand where its neighbours are on average. The wishes nearest to which an order
//! with least distances can be kept are found exactly, by pooling adjacent violators (Ayer et al. 1955): with the
//! distances taken off, it is a regression to a rising row.

use std::collections::BTreeSet;

/// Sweeps down and up.
const SWEEPS: usize = 30;

/// Of these, the last: each vertex then goes by the neighbours of both sides.
const LAST_SWEEPS: usize = 4;

/// How often all chains of bends are straightened: one makes room for another.
const STRAIGHTENINGS: usize = 3;

/// Between neighbours of a layer, in pixels.
const APART: f64 = 22.0;

/// Half the width of a bend. Bends of one chain are to stand straight.
pub(super) const THIN: f64 = 5.0;

/// The middle of each vertex across. `extents` are how far each goes before and after it.
pub(super) fn across(layers: &[Vec<usize>], segments: &[(usize, usize)], extents: &[(f64, f64)]) -> Vec<f64> {
    let count = extents.len();
    let (mut above, mut below) = (vec![Vec::new(); count], vec![Vec::new(); count]);
    for (upper, lower) in segments {
        below[*upper].push(*lower);
        above[*lower].push(*upper);
    }
    let mut across = vec![0.0; count];
    for layer in layers {
        let mut at = 0.0;
        for vertex in layer {
            at += extents[*vertex].0;
            across[*vertex] = at;
            at += extents[*vertex].1 + APART;
        }
        layer.iter().for_each(|vertex| across[*vertex] -= (at - APART) / 2.0);
    }
    let thin = |vertex: usize| extents[vertex].0 <= THIN;
    let weight = |vertex: usize, near: &[usize]| match thin(vertex) {
        _ if near.is_empty() => 0.2,
        true if near.iter().any(|other| thin(*other)) => 12.0,
        true => 3.0,
        false => 1.0,
    };
    for sweep in 0..SWEEPS {
        let down = sweep % 2 == 0;
        let both = sweep + LAST_SWEEPS >= SWEEPS;
        let mut settle = |layer: &Vec<usize>| {
            let wish = |vertex: &usize| {
                let near: Vec<usize> = match (both, down) {
                    (true, _) => above[*vertex].iter().chain(&below[*vertex]).copied().collect(),
                    (false, true) => above[*vertex].clone(),
                    (false, false) => below[*vertex].clone(),
                };
                let mean = if near.is_empty() { across[*vertex] } else { mean(&near, &across) };
                (mean, weight(*vertex, &near))
            };
            let wishes: Vec<(f64, f64)> = layer.iter().map(wish).collect();
            for (vertex, at) in layer.iter().zip(nearest(layer, &wishes, extents)) {
                across[*vertex] = at;
            }
        };
        if down { layers.iter().for_each(&mut settle) } else { layers.iter().rev().for_each(&mut settle) }
    }
    let chains = chains(layers, &below, thin);
    for _ in 0..STRAIGHTENINGS {
        chains.iter().for_each(|chain| straighten(chain, layers, extents, &mut across));
    }
    across
}

/// Bends one below the other, each with its layer.
fn chains(
    layers: &[Vec<usize>],
    below: &[Vec<usize>],
    thin: impl Fn(usize) -> bool,
) -> Vec<Vec<(usize, usize)>> {
    let mut chains = Vec::new();
    let mut seen = BTreeSet::new();
    for (layer, vertices) in layers.iter().enumerate() {
        for vertex in vertices.iter().copied().filter(|vertex| thin(*vertex)) {
            let (mut chain, mut at, mut layer) = (Vec::new(), Some(vertex), layer);
            while let Some(vertex) = at.filter(|vertex| seen.insert(*vertex)) {
                chain.push((vertex, layer));
                layer += 1;
                at = below[vertex].iter().copied().find(|other| thin(*other));
            }
            if chain.len() > 1 {
                chains.push(chain);
            }
        }
    }
    chains
}

/// Puts as many bends as have room for it on one line, run by run from above.
fn straighten(chain: &[(usize, usize)], layers: &[Vec<usize>], extents: &[(f64, f64)], across: &mut [f64]) {
    let mut rest = chain;
    while !rest.is_empty() {
        let (mut least, mut most, mut run) = (f64::NEG_INFINITY, f64::INFINITY, 0);
        for (vertex, layer) in rest {
            let (low, high) = room(*vertex, &layers[*layer], extents, across);
            if low.max(least) > high.min(most) {
                break;
            }
            (least, most, run) = (low.max(least), high.min(most), run + 1);
        }
        // A bend has at least the room in which it stands; rounding may hide that.
        let (now, later) = rest.split_at(run.max(1));
        if run > 1 {
            let wish = now.iter().map(|(vertex, _)| across[*vertex]).sum::<f64>() / number(run);
            let line = wish.max(least).min(most);
            now.iter().for_each(|(vertex, _)| across[*vertex] = line);
        }
        rest = later;
    }
}

/// How far to each side a vertex may go.
fn room(vertex: usize, layer: &[usize], extents: &[(f64, f64)], across: &[f64]) -> (f64, f64) {
    let Some(place) = layer.iter().position(|other| *other == vertex) else {
        return (across[vertex], across[vertex]);
    };
    let (before, after) = extents[vertex];
    let left = place.checked_sub(1).map(|left| layer[left]);
    let low = left.map_or(f64::NEG_INFINITY, |left| across[left] + extents[left].1 + APART + before);
    let high = layer
        .get(place + 1)
        .map_or(f64::INFINITY, |right| across[*right] - extents[*right].0 - APART - after);
    (low, high)
}

fn number(value: usize) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}

fn mean(near: &[usize], across: &[f64]) -> f64 {
    let sum: f64 = near.iter().map(|vertex| across[*vertex]).sum();
    sum / number(near.len())
}

/// The row nearest to the wishes, each with its weight, in which neighbours do not overlap.
fn nearest(layer: &[usize], wishes: &[(f64, f64)], extents: &[(f64, f64)]) -> Vec<f64> {
    let mut offsets = Vec::with_capacity(layer.len());
    let mut offset = 0.0;
    for (place, vertex) in layer.iter().enumerate() {
        if place > 0 {
            offset += extents[layer[place - 1]].1 + APART + extents[*vertex].0;
        }
        offsets.push(offset);
    }
    // Pools: sum of weighted wishes, weight, members.
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for ((wish, weight), offset) in wishes.iter().zip(&offsets) {
        pools.push(((wish - offset) * weight, *weight, 1));
        while let [.., before, last] = pools.as_slice()
            && before.0 / before.1 >= last.0 / last.1
        {
            let merged = (before.0 + last.0, before.1 + last.1, before.2 + last.2);
            pools.truncate(pools.len() - 2);
            pools.push(merged);
        }
    }
    let levels = pools.iter().flat_map(|(sum, weight, members)| std::iter::repeat_n(sum / weight, *members));
    levels.zip(offsets).map(|(level, offset)| level + offset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_that_wish_for_one_place_stand_beside_it() {
        let extents = [(10.0, 10.0), (10.0, 10.0)];
        let found = nearest(&[0, 1], &[(0.0, 1.0), (0.0, 1.0)], &extents);
        assert_eq!(found, [-(20.0 + APART) / 2.0, (20.0 + APART) / 2.0]);
    }

    #[test]
    fn whoever_has_room_gets_the_wish() {
        let extents = [(10.0, 10.0), (10.0, 10.0)];
        assert_eq!(nearest(&[0, 1], &[(-100.0, 1.0), (100.0, 1.0)], &extents), [-100.0, 100.0]);
    }
}
