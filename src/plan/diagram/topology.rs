//! What leads where: trunks → numbers → flows → trunks that are dialled.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    FlowId, TrunkId,
    program::{DialTarget, Program, Verb},
    snapshot::{NumberRange, Snapshot, Trunk},
};

use super::{Direction, Drawing, Edge, Group, NoDiagram, Node, Style, words};
use crate::Plan;

/// Most boxes of a topology.
pub(super) const BOXES_MAX: usize = 2_000;

/// What a box stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Inbound(TrunkId),
    /// Numbers that come by one trunk and lead to one flow are one box.
    Numbers(TrunkId, FlowId),
    Flow(FlowId),
    Outbound(TrunkId),
}

#[derive(Default)]
struct Boxes {
    places: BTreeMap<Thing, usize>,
    nodes: Vec<Node>,
    edges: BTreeMap<(usize, usize), BTreeSet<String>>,
}

/// The drawing of all clusters.
pub(super) fn drawing(plan: &Plan) -> Result<Drawing, NoDiagram> {
    let mut boxes = Boxes::default();
    let mut codes = Vec::new();
    for cluster in plan.clusters.values() {
        codes.push(cluster.snapshot.cluster.code.clone());
        cluster_boxes(&cluster.snapshot, &mut boxes);
        if boxes.nodes.len() > BOXES_MAX {
            return Err(NoDiagram::TooLarge { what: "boxes" });
        }
    }
    if boxes.nodes.is_empty() {
        return Err(NoDiagram::Empty);
    }
    let description = description(&boxes);
    let edges = boxes.edges.into_iter().map(|((from, to), labels)| Edge {
        from,
        to,
        label: words::cut(&labels.into_iter().collect::<Vec<_>>().join(", ")),
        style: Style::Plain,
    });
    Ok(Drawing {
        title: format!("Topology of {}", codes.join(", ")),
        description,
        direction: Direction::Right,
        edges: edges.collect(),
        nodes: boxes.nodes,
    })
}

fn description(boxes: &Boxes) -> String {
    let lead = |(from, to): &(usize, usize)| {
        let (from, to) = (&boxes.nodes[*from], &boxes.nodes[*to]);
        format!("{} {} leads to {} {}.", from.kind, from.title, to.kind, to.title)
    };
    boxes.edges.keys().map(lead).collect::<Vec<_>>().join(" ")
}

fn cluster_boxes(snapshot: &Snapshot, boxes: &mut Boxes) {
    for (id, trunk) in snapshot.trunks.iter().filter(|(_, trunk)| trunk.direction.is_inbound()) {
        let inbound = boxes.place(Thing::Inbound(id.clone()), || inbound(id, trunk, &snapshot.cluster.code));
        let ranges = snapshot.numbers.get(id).map(Vec::as_slice).unwrap_or_default();
        for (flow, numbers) in by_flow(ranges) {
            let thing = Thing::Numbers(id.clone(), flow.clone());
            let number = boxes.place(thing, || numbers_node(&numbers));
            let to = boxes.place(Thing::Flow(flow.clone()), || flow_node(flow, snapshot));
            boxes.lead(inbound, number, None);
            boxes.lead(number, to, None);
        }
    }
    for (id, trunk) in snapshot.trunks.iter().filter(|(_, trunk)| !trunk.direction.is_inbound()) {
        boxes.place(Thing::Outbound(id.clone()), || outbound(id, trunk));
    }
    for (id, program) in &snapshot.flows {
        let from = boxes.place(Thing::Flow(id.clone()), || flow_node(id, snapshot));
        for (trunk, whom) in dialled(program) {
            let Some(declared) = snapshot.trunks.get(trunk) else { continue };
            let to = boxes.place(Thing::Outbound(trunk.clone()), || outbound(trunk, declared));
            boxes.lead(from, to, Some(whom));
        }
    }
}

impl Boxes {
    fn place(&mut self, thing: Thing, node: impl FnOnce() -> Node) -> usize {
        let next = self.nodes.len();
        let place = *self.places.entry(thing).or_insert(next);
        if place == next {
            self.nodes.push(node());
        }
        place
    }

    fn lead(&mut self, from: usize, to: usize, label: Option<String>) {
        self.edges.entry((from, to)).or_default().extend(label);
    }
}

fn by_flow(ranges: &[NumberRange]) -> BTreeMap<&FlowId, Vec<&NumberRange>> {
    let mut flows: BTreeMap<&FlowId, Vec<&NumberRange>> = BTreeMap::new();
    for range in ranges {
        flows.entry(&range.flow).or_default().push(range);
    }
    flows
}

/// Whom a flow dials by which trunk.
fn dialled(program: &Program) -> Vec<(&TrunkId, String)> {
    let dials = program.steps.iter().filter_map(|step| {
        if let Verb::Dial(dial) | Verb::Transfer { dial, .. } = &step.verb { Some(dial) } else { None }
    });
    let targets = dials.flat_map(|dial| &dial.targets);
    let by = targets.flat_map(|target| match target {
        DialTarget::Number { number, trunks, .. } => {
            trunks.iter().map(|trunk| (trunk, number.to_string())).collect::<Vec<_>>()
        }
        DialTarget::Extension { user, trunk } => vec![(trunk, user.clone())],
        DialTarget::Agent(_) => Vec::new(),
    });
    by.collect()
}

fn inbound(id: &TrunkId, trunk: &Trunk, cluster: &str) -> Node {
    let sources = trunk.sources.iter().map(|source| format!("from {}", source.range)).collect();
    let at = format!("{cluster} · network {}", trunk.network);
    let lines = [at].into_iter().chain(words::first_lines(sources));
    node("Trunk", &id.to_string(), lines.collect(), Group::Trunk)
}

fn outbound(id: &TrunkId, trunk: &Trunk) -> Node {
    let peers =
        trunk.peers.iter().map(|peer| format!("{}:{} {}", peer.host, peer.port, peer.transport)).collect();
    node("Trunk, outbound", &id.to_string(), words::first_lines(peers), Group::Connect)
}

fn numbers_node(ranges: &[&NumberRange]) -> Node {
    let named = |range: &&NumberRange| {
        let name = range.id.0.name();
        if range.first == range.last {
            format!("{} {name}", range.first)
        } else {
            format!("{}–{} {name}", range.first, last_digits(range))
        }
    };
    if let [one] = ranges {
        let title = if one.first == one.last {
            one.first.to_string()
        } else {
            format!("{}–{}", one.first, last_digits(one))
        };
        return node("PhoneNumber", &title, vec![one.id.to_string()], Group::Number);
    }
    let count: u64 = ranges.iter().map(|range| range.last.as_u64() - range.first.as_u64() + 1).sum();
    let objects = u64::try_from(ranges.len()).unwrap_or(u64::MAX);
    let title = if count == objects {
        format!("{count} numbers")
    } else {
        format!("{count} numbers in {objects} objects")
    };
    let lines = ranges.iter().map(named).collect();
    node("PhoneNumber", &title, words::first_lines(lines), Group::Number)
}

/// The digits in which the last number of a range differs from the first.
fn last_digits(range: &NumberRange) -> String {
    let (first, last) = (range.first.to_string(), range.last.to_string());
    let same = first.chars().zip(last.chars()).take_while(|(a, b)| a == b).count();
    last.chars().skip(same).collect()
}

fn flow_node(id: &FlowId, snapshot: &Snapshot) -> Node {
    let steps = snapshot.flows.get(id).map_or(0, |program| program.steps.len());
    node("RoutingFlow", &id.to_string(), vec![format!("{steps} steps")], Group::Flow)
}

fn node(kind: &str, title: &str, lines: Vec<String>, group: Group) -> Node {
    let lines = lines.iter().map(|line| words::cut(line)).collect();
    Node { kind: kind.into(), title: words::cut(title), lines, group }
}
