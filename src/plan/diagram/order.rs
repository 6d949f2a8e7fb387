//! Which vertex stands beside which: few crossings, by barycentres and by exchanging neighbours.

/// Sweeps down and up; the best order of all is kept.
const SWEEPS: usize = 24;

/// Above this many segments neighbours are not exchanged: barycentres alone are good enough for what nobody can survey.
const EXCHANGES_MAX: usize = 4_000;

/// The vertices of each layer in their order.
pub(super) fn layers(layer_of: &[usize], segments: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let mut sweep = Sweep::new(layer_of, segments);
    let mut layers = sweep.initial(layer_of);
    let mut best = (sweep.crossings(&layers), layers.clone());
    for round in 0..SWEEPS {
        sweep.barycentres(&mut layers, round % 2 == 0);
        if segments.len() <= EXCHANGES_MAX {
            sweep.exchange(&mut layers);
        }
        let crossings = sweep.crossings(&layers);
        if crossings < best.0 {
            best = (crossings, layers.clone());
        }
        if best.0 == 0 {
            break;
        }
    }
    best.1
}

struct Sweep {
    above: Vec<Vec<usize>>,
    below: Vec<Vec<usize>>,
    place: Vec<usize>,
}

impl Sweep {
    fn new(layer_of: &[usize], segments: &[(usize, usize)]) -> Self {
        let mut above = vec![Vec::new(); layer_of.len()];
        let mut below = vec![Vec::new(); layer_of.len()];
        for (upper, lower) in segments {
            below[*upper].push(*lower);
            above[*lower].push(*upper);
        }
        Self { above, below, place: vec![0; layer_of.len()] }
    }

    /// As a walk from above meets them: what belongs together begins together.
    fn initial(&mut self, layer_of: &[usize]) -> Vec<Vec<usize>> {
        let count = layer_of.iter().max().map_or(0, |last| last + 1);
        let mut layers = vec![Vec::new(); count];
        let mut seen = vec![false; layer_of.len()];
        let mut roots: Vec<usize> = (0..layer_of.len()).collect();
        roots.sort_by_key(|vertex| (!self.above[*vertex].is_empty(), layer_of[*vertex], *vertex));
        for root in roots {
            let mut stack = vec![root];
            while let Some(vertex) = stack.pop() {
                if std::mem::replace(&mut seen[vertex], true) {
                    continue;
                }
                layers[layer_of[vertex]].push(vertex);
                stack.extend(self.below[vertex].iter().rev());
            }
        }
        self.number(&layers);
        layers
    }

    fn number(&mut self, layers: &[Vec<usize>]) {
        for layer in layers {
            for (place, vertex) in layer.iter().enumerate() {
                self.place[*vertex] = place;
            }
        }
    }

    fn barycentres(&mut self, layers: &mut [Vec<usize>], down: bool) {
        let count = layers.len();
        for step in 0..count {
            let layer = &mut layers[if down { step } else { count - 1 - step }];
            let centre = |vertex: &usize| {
                let near = if down { &self.above[*vertex] } else { &self.below[*vertex] };
                if near.is_empty() {
                    return number(self.place[*vertex]);
                }
                near.iter().map(|other| number(self.place[*other])).sum::<f64>() / number(near.len())
            };
            let mut keyed: Vec<(f64, usize)> = layer.iter().map(|vertex| (centre(vertex), *vertex)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            *layer = keyed.into_iter().map(|(_, vertex)| vertex).collect();
            for (place, vertex) in layer.iter().enumerate() {
                self.place[*vertex] = place;
            }
        }
    }

    /// Exchanges neighbours as long as that takes crossings away; each round takes at least one, and there are few.
    fn exchange(&mut self, layers: &mut [Vec<usize>]) {
        for _ in 0..SWEEPS {
            let mut changed = false;
            for layer in layers.iter_mut() {
                for left in 0..layer.len().saturating_sub(1) {
                    let (a, b) = (layer[left], layer[left + 1]);
                    if self.crossed(a, b) > self.crossed(b, a) {
                        layer.swap(left, left + 1);
                        self.place.swap(a, b);
                        changed = true;
                    }
                }
            }
            if !changed {
                break;
            }
        }
    }

    /// Crossings between the segments of two vertices of a layer if `left` stands left of `right`.
    fn crossed(&self, left: usize, right: usize) -> usize {
        let between = |near: &[Vec<usize>]| {
            let pairs = near[left].iter().flat_map(|a| near[right].iter().map(move |b| (a, b)));
            pairs.filter(|(a, b)| self.place[**a] > self.place[**b]).count()
        };
        between(&self.above) + between(&self.below)
    }

    fn crossings(&self, layers: &[Vec<usize>]) -> usize {
        layers.iter().map(|layer| self.crossings_below(layer)).sum()
    }

    /// Inversions of the lower ends, the upper ends being in order (Barth, Mutzel, Jünger 2004).
    fn crossings_below(&self, layer: &[usize]) -> usize {
        let mut ends = Vec::new();
        for vertex in layer {
            let mut lower: Vec<usize> = self.below[*vertex].iter().map(|other| self.place[*other]).collect();
            lower.sort_unstable();
            ends.extend(lower);
        }
        let size = ends.iter().max().map_or(0, |last| last + 2);
        let mut tree = vec![0_usize; size];
        let mut crossings = 0;
        for (seen, end) in ends.into_iter().enumerate() {
            let mut index = end + 1;
            let mut not_after = 0;
            while index > 0 {
                not_after += tree[index];
                index &= index - 1;
            }
            crossings += seen - not_after;
            let mut index = end + 1;
            while index < size {
                tree[index] += 1;
                index += index & index.wrapping_neg();
            }
        }
        crossings
    }
}

fn number(value: usize) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two above and two below, joined crosswise: one exchange frees them.
    #[test]
    fn a_needless_crossing_is_taken_away() {
        let segments = [(0, 3), (1, 2)];
        let ordered = layers(&[0, 0, 1, 1], &segments);
        let sweep = {
            let mut sweep = Sweep::new(&[0, 0, 1, 1], &segments);
            sweep.number(&ordered);
            sweep
        };
        assert_eq!(sweep.crossings(&ordered), 0);
    }

    #[test]
    fn crossings_are_counted() {
        // Three above, three below, each joined with each: nine crossings.
        let segments: Vec<_> = (0..3).flat_map(|upper| (3..6).map(move |lower| (upper, lower))).collect();
        let mut sweep = Sweep::new(&[0, 0, 0, 1, 1, 1], &segments);
        let layers = vec![vec![0, 1, 2], vec![3, 4, 5]];
        sweep.number(&layers);
        assert_eq!(sweep.crossings(&layers), 9);
    }
}
