//! Where boxes and arrows go: a layered layout after Sugiyama, Tagawa and Toda (IEEE Trans. SMC 11, 1981).
//!
//! Arrows that lead back are turned round for the layout; boxes go to layers by the longest path to them; an arrow's label
//! takes the half layer below its box; an arrow over several layers bends once in each. Arrows that lead far to one box
//! join on their way, so that ten ways to the end of a call are one line near it. Each bend has a place of its own in its
//! layer and arrows run straight along a layer's height, so none can cross a box.
//!
//! Everything here is in two axes: `across` the layers' direction and `along` it. Only the result is in x and y.

use std::collections::{BTreeMap, BTreeSet};

use super::{Direction, Drawing, NoDiagram, Node, order, place, words};

/// Most vertices, bends included.
pub(super) const VERTICES_MAX: usize = 20_000;

/// Font sizes, in pixels.
pub(super) const TITLE: f64 = 14.0;
pub(super) const LINE: f64 = 12.0;
pub(super) const KIND: f64 = 10.0;
pub(super) const LABEL: f64 = 11.0;

/// From one line of a box to the next, in pixels.
pub(super) const LINE_HEIGHT: f64 = 17.0;

/// Free space around it all.
const MARGIN: f64 = 24.0;

/// Between ports of one side of a box.
const PORTS_APART: f64 = 18.0;

/// Extents of a bend.
const BEND: (f64, f64) = (place::THIN, place::THIN);

/// How far a self loop goes out.
pub(super) const LOOP: f64 = 30.0;

/// A place in the picture, in pixels from its upper left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub x: f64,
    pub y: f64,
}

/// A rectangle by its middle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    pub middle: Point,
    pub width: f64,
    pub height: f64,
}

/// Where everything is.
#[derive(Debug)]
pub(super) struct Layout {
    pub width: f64,
    pub height: f64,
    /// By node.
    pub boxes: Vec<Rect>,
    /// By edge.
    pub routes: Vec<Route>,
}

/// The way of an arrow.
#[derive(Debug)]
pub(super) struct Route {
    /// Straight and curved by turns: an even point and the next one are joined by a straight line along the direction,
    /// an odd one and the next by a curve. Empty for a loop.
    pub points: Vec<Point>,
    pub label: Point,
    /// Whether it leads against the direction.
    pub back: bool,
}

/// What has a place in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Vertex {
    Box(usize),
    Label(usize),
    /// Of all arrows to a box that come by a layer, forward or back.
    Bend {
        to: usize,
        layer: usize,
        back: bool,
    },
}

/// Size of a box.
fn size(node: &Node) -> (f64, f64) {
    let lines = node.lines.iter().map(|line| words::width(line, LINE));
    let title = words::width(&node.title, TITLE) * 1.06;
    let kind = words::width(&node.kind.to_uppercase(), KIND) * 1.12;
    let widest = lines.fold(title.max(kind), f64::max);
    let rows = f64::from(u32::try_from(node.lines.len()).unwrap_or(u32::MAX));
    let head = if node.kind.is_empty() { 32.0 } else { 46.0 };
    let tail = if node.lines.is_empty() { 0.0 } else { rows * LINE_HEIGHT + 4.0 };
    ((widest + 30.0).max(72.0).ceil(), head + tail)
}

/// Sizes of all boxes. Those of one column are of one width: their edges are the lines that an eye follows.
fn sizes(drawing: &Drawing, rank: &[usize]) -> Vec<(f64, f64)> {
    let mut sizes: Vec<(f64, f64)> = drawing.nodes.iter().map(size).collect();
    if drawing.direction == Direction::Right {
        let mut widest = BTreeMap::new();
        for ((width, _), rank) in sizes.iter().zip(rank) {
            let most = widest.entry(*rank).or_insert(*width);
            *most = width.max(*most);
        }
        for (size, rank) in sizes.iter_mut().zip(rank) {
            size.0 = widest.get(rank).copied().unwrap_or(size.0);
        }
    }
    sizes
}

/// Lays a drawing out.
pub(super) fn lay_out(drawing: &Drawing) -> Result<Layout, NoDiagram> {
    let ranks = Ranks::of(drawing);
    let graph = Graph::new(drawing, &ranks, sizes(drawing, &ranks.rank))?;
    let layers = order::layers(&graph.layer_of, &graph.segments);
    let across = place::across(&layers, &graph.segments, &graph.extents);
    Ok(graph.finish(drawing, &layers, across))
}

/// Layer of each box, and which arrows lead back.
struct Ranks {
    rank: Vec<usize>,
    back: Vec<bool>,
}

impl Ranks {
    fn of(drawing: &Drawing) -> Self {
        let count = drawing.nodes.len();
        let mut outgoing: Vec<Vec<usize>> = vec![Vec::new(); count];
        let mut incoming = vec![0_usize; count];
        for (index, edge) in drawing.edges.iter().enumerate().filter(|(_, edge)| edge.from != edge.to) {
            outgoing[edge.from].push(index);
            incoming[edge.to] += 1;
        }
        let back = back(drawing, &outgoing);
        let mut rank: Vec<usize> = drawing.nodes.iter().map(|node| node.column).collect();
        for from in in_order(drawing, &outgoing, &back) {
            for index in outgoing[from].iter().filter(|index| !back[**index]) {
                let to = drawing.edges[*index].to;
                rank[to] = rank[to].max(rank[from] + 1);
            }
        }
        for from in (0..count).filter(|node| incoming[*node] == 0) {
            let nearest = outgoing[from].iter().map(|index| rank[drawing.edges[*index].to]).min();
            let before = nearest.map_or(0, |nearest| nearest.saturating_sub(1));
            rank[from] = before.max(drawing.nodes[from].column);
        }
        Self { rank, back }
    }
}

/// Arrows of a cycle that lead to a box that stands earlier: people write a flow from above. Every cycle has one.
fn back(drawing: &Drawing, outgoing: &[Vec<usize>]) -> Vec<bool> {
    let closes = |from: usize, to: usize| {
        let mut seen = vec![false; outgoing.len()];
        let mut stack = vec![to];
        while let Some(node) = stack.pop() {
            if !std::mem::replace(&mut seen[node], true) {
                stack.extend(outgoing[node].iter().map(|index| drawing.edges[*index].to));
            }
        }
        seen[from]
    };
    drawing.edges.iter().map(|edge| edge.to < edge.from && closes(edge.from, edge.to)).collect()
}

/// Boxes so that every arrow that does not lead back leads to a later one (Kahn 1962).
fn in_order(drawing: &Drawing, outgoing: &[Vec<usize>], back: &[bool]) -> Vec<usize> {
    let ahead = |node: usize| {
        let forward = outgoing[node].iter().filter(|index| !back[**index]);
        forward.map(|index| drawing.edges[*index].to).collect::<Vec<_>>()
    };
    let mut awaited = vec![0_usize; outgoing.len()];
    for node in 0..outgoing.len() {
        ahead(node).into_iter().for_each(|to| awaited[to] += 1);
    }
    let mut order: Vec<usize> = (0..outgoing.len()).filter(|node| awaited[*node] == 0).collect();
    let mut next = 0;
    while let Some(node) = order.get(next).copied() {
        next += 1;
        for to in ahead(node) {
            awaited[to] -= 1;
            if awaited[to] == 0 {
                order.push(to);
            }
        }
    }
    order
}

/// Vertices in layers, and what joins those of one layer and the next.
struct Graph {
    vertices: Vec<Vertex>,
    layer_of: Vec<usize>,
    /// Before and after the middle, across.
    extents: Vec<(f64, f64)>,
    along: Vec<f64>,
    segments: Vec<(usize, usize)>,
    /// Vertices of each arrow, in its own direction.
    chains: Vec<Vec<usize>>,
    back: Vec<bool>,
    /// Width and height of each box.
    sizes: Vec<(f64, f64)>,
}

impl Graph {
    fn new(drawing: &Drawing, ranks: &Ranks, sizes: Vec<(f64, f64)>) -> Result<Self, NoDiagram> {
        let graph = Self::empty(ranks.back.clone(), sizes);
        let mut build = Builder { drawing, places: BTreeMap::new(), graph };
        for node in 0..drawing.nodes.len() {
            build.vertex(Vertex::Box(node), 2 * ranks.rank[node])?;
        }
        let mut segments = BTreeSet::new();
        for (index, edge) in drawing.edges.iter().enumerate() {
            let chain = if edge.from == edge.to { Vec::new() } else { build.chain(index, ranks)? };
            for pair in chain.windows(2) {
                let (a, b) = (pair[0], pair[1]);
                segments.insert(if build.graph.layer_of[a] < build.graph.layer_of[b] {
                    (a, b)
                } else {
                    (b, a)
                });
            }
            build.graph.chains.push(chain);
        }
        build.graph.segments = segments.into_iter().collect();
        Ok(build.graph)
    }

    const fn empty(back: Vec<bool>, sizes: Vec<(f64, f64)>) -> Self {
        Self {
            vertices: Vec::new(),
            layer_of: Vec::new(),
            extents: Vec::new(),
            along: Vec::new(),
            segments: Vec::new(),
            chains: Vec::new(),
            back,
            sizes,
        }
    }
}

struct Builder<'a> {
    drawing: &'a Drawing,
    places: BTreeMap<Vertex, usize>,
    graph: Graph,
}

impl Builder<'_> {
    fn vertex(&mut self, vertex: Vertex, layer: usize) -> Result<usize, NoDiagram> {
        if let Some(known) = self.places.get(&vertex) {
            return Ok(*known);
        }
        let place = self.graph.vertices.len();
        if place >= VERTICES_MAX {
            return Err(NoDiagram::TooLarge { what: "bends" });
        }
        let (extents, along) = self.extents(vertex);
        self.graph.vertices.push(vertex);
        self.graph.layer_of.push(layer);
        self.graph.extents.push(extents);
        self.graph.along.push(along);
        self.places.insert(vertex, place);
        Ok(place)
    }

    fn extents(&self, vertex: Vertex) -> ((f64, f64), f64) {
        let turned = |(width, height): (f64, f64)| match self.drawing.direction {
            Direction::Down => (width, height),
            Direction::Right => (height, width),
        };
        match vertex {
            Vertex::Box(node) => {
                let (across, along) = turned(self.graph.sizes[node]);
                let loops = self.drawing.edges.iter().filter(|edge| edge.from == node && edge.to == node);
                let beside = loops.map(|edge| LOOP + words::width(&edge.label, LABEL)).fold(0.0, f64::max);
                ((across / 2.0, across / 2.0 + beside), along)
            }
            Vertex::Label(edge) => {
                let label = &self.drawing.edges[edge].label;
                if label.is_empty() {
                    return (BEND, 0.0);
                }
                let (across, along) = turned((words::width(label, LABEL) + 12.0, 18.0));
                ((across / 2.0, across / 2.0), along)
            }
            Vertex::Bend { .. } => (BEND, 0.0),
        }
    }

    /// The vertices of an arrow: its box, its label, bends, the box it leads to.
    fn chain(&mut self, index: usize, ranks: &Ranks) -> Result<Vec<usize>, NoDiagram> {
        let edge = &self.drawing.edges[index];
        let (from, to) = (2 * ranks.rank[edge.from], 2 * ranks.rank[edge.to]);
        let back = ranks.back[index];
        let layers: Vec<usize> = if back { (to + 1..from).rev().collect() } else { (from + 1..to).collect() };
        let mut chain = vec![self.vertex(Vertex::Box(edge.from), from)?];
        for (place, layer) in layers.into_iter().enumerate() {
            let vertex =
                if place == 0 { Vertex::Label(index) } else { Vertex::Bend { to: edge.to, layer, back } };
            chain.push(self.vertex(vertex, layer)?);
        }
        chain.push(self.vertex(Vertex::Box(edge.to), to)?);
        Ok(chain)
    }
}

impl Graph {
    fn finish(self, drawing: &Drawing, layers: &[Vec<usize>], across: Vec<f64>) -> Layout {
        let bands = self.bands(layers, &across);
        let ports = self.ports(&across);
        let first = |vertex: usize| across[vertex] - self.extents[vertex].0;
        let last = |vertex: usize| across[vertex] + self.extents[vertex].1;
        let count = across.len();
        let least = (0..count).map(first).fold(f64::INFINITY, f64::min) - MARGIN;
        let most = (0..count).map(last).fold(f64::NEG_INFINITY, f64::max) + MARGIN;
        let turn = |across: f64, along: f64| {
            let (across, along) = ((across - least).round(), along.round());
            match drawing.direction {
                Direction::Down => Point { x: across, y: along },
                Direction::Right => Point { x: along, y: across },
            }
        };
        let boxes = (0..drawing.nodes.len()).map(|node| {
            let (width, height) = self.sizes[node];
            let (begin, end) = bands[self.layer_of[node]];
            Rect { middle: turn(across[node], f64::midpoint(begin, end)), width, height }
        });
        let routes = (0..drawing.edges.len()).map(|edge| self.route(edge, &across, &bands, &ports, &turn));
        let far = turn(most, bands.last().map_or(0.0, |band| band.1) + MARGIN);
        Layout { boxes: boxes.collect(), routes: routes.collect(), width: far.x, height: far.y }
    }

    /// Begin and end of each layer. The further its arrows lead across, the more room lies before the next.
    fn bands(&self, layers: &[Vec<usize>], across: &[f64]) -> Vec<(f64, f64)> {
        let mut widest = vec![0.0_f64; layers.len()];
        for (upper, lower) in &self.segments {
            let layer = self.layer_of[*upper];
            widest[layer] = widest[layer].max((across[*upper] - across[*lower]).abs());
        }
        let mut begin = MARGIN;
        let bands = layers.iter().zip(&widest).map(|(layer, widest)| {
            let along = layer.iter().map(|vertex| self.along[*vertex]).fold(0.0, f64::max);
            let band = (begin, begin + along);
            begin = band.1 + (widest / 9.0).clamp(16.0, 44.0);
            band
        });
        bands.collect()
    }

    /// Where on a box's side its arrow to or from a neighbour begins. Arrows that come in by a line they share end at one
    /// point; all are in the order of where they come from.
    fn ports(&self, across: &[f64]) -> BTreeMap<(usize, usize), f64> {
        let mut sides: BTreeMap<(usize, bool), Vec<usize>> = BTreeMap::new();
        for (upper, lower) in &self.segments {
            for (me, other, below) in [(*upper, *lower, true), (*lower, *upper, false)] {
                if matches!(self.vertices[me], Vertex::Box(_)) {
                    sides.entry((me, below)).or_default().push(other);
                }
            }
        }
        let mut ports = BTreeMap::new();
        for ((me, _), mut others) in sides {
            others.sort_by(|a, b| across[*a].total_cmp(&across[*b]).then(a.cmp(b)));
            let half = across_of(&self.vertices, &self.extents, me);
            let count = others.len();
            let gaps = f64::from(u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX));
            let apart = if count > 1 { PORTS_APART.min((2.0 * half - 20.0).max(0.0) / gaps) } else { 0.0 };
            let mut at = across[me] - apart * gaps / 2.0;
            for other in others {
                ports.insert((me, other), at);
                at += apart;
            }
        }
        ports
    }

    fn route(
        &self,
        edge: usize,
        across: &[f64],
        bands: &[(f64, f64)],
        ports: &BTreeMap<(usize, usize), f64>,
        turn: &dyn Fn(f64, f64) -> Point,
    ) -> Route {
        let chain = &self.chains[edge];
        let back = self.back[edge];
        let mut points = Vec::new();
        let mut label = Point { x: 0.0, y: 0.0 };
        for (place, vertex) in chain.iter().enumerate() {
            let (begin, end) = bands[self.layer_of[*vertex]];
            let (enter, leave) = if back { (end, begin) } else { (begin, end) };
            let middle = f64::midpoint(begin, end);
            let half = self.along[*vertex] / 2.0;
            let inner = |outward: bool| if outward == back { middle - half } else { middle + half };
            if place == 0 {
                let at = ports.get(&(*vertex, chain[1])).copied().unwrap_or(across[*vertex]);
                points.extend([turn(at, inner(true)), turn(at, leave)]);
            } else if place + 1 == chain.len() {
                let at = ports.get(&(*vertex, chain[place - 1])).copied().unwrap_or(across[*vertex]);
                points.extend([turn(at, enter), turn(at, inner(false))]);
            } else if end > begin {
                // A layer without thickness has nothing that a curve could meet: it need not bend there.
                points.extend([turn(across[*vertex], enter), turn(across[*vertex], leave)]);
                if place == 1 {
                    label = turn(across[*vertex], middle);
                }
            }
        }
        Route { points, label, back }
    }
}

/// Half of a box's side, without what lies beside it.
fn across_of(vertices: &[Vertex], extents: &[(f64, f64)], vertex: usize) -> f64 {
    debug_assert!(matches!(vertices[vertex], Vertex::Box(_)));
    extents[vertex].0
}
