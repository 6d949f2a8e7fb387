//! Pictures of a plan: a flow, and what leads where in the whole folder; as mermaid text and as SVG.
//!
//! What calls run is drawn in its compiled form. A [`Drawing`] is a graph of boxes and labelled arrows; both
//! notations are made of it. Equal plans give equal bytes.

mod flow;
mod layout;
mod mermaid;
mod order;
mod place;
mod svg;
mod topology;
mod words;

use model::Key;

use crate::{Plan, Resources};

/// How a picture is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// SVG 1.1, light and dark by the reader's preference.
    Svg,
    /// Text that Git hosts and wikis draw.
    Mermaid,
}

/// Why there is no picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoDiagram {
    /// No such flow, or none that can be used.
    #[error("there is no RoutingFlow {0} that can be used: `switchboard check` tells what is wrong")]
    NoFlow(Key),
    /// Nothing leads anywhere.
    #[error(
        "there is nothing to draw: the folder has no Trunk, RoutingFlow, Queue or Agent that can be used: `switchboard check` tells what is wrong"
    )]
    Empty,
    /// Nothing of that namespace can be drawn.
    #[error("namespace {namespace} has nothing that can be drawn; there are: {}", known.join(", "))]
    NoNamespace {
        /// As it was asked for.
        namespace: String,
        /// Those that have something.
        known: Vec<String>,
    },
    /// More boxes, or more bends, than a picture can show.
    #[error("the picture would have more than {most} {what}: draw one flow, or use mermaid", most = self.most())]
    TooLarge {
        /// `boxes` or `bends`.
        what: &'static str,
    },
}

impl NoDiagram {
    fn most(&self) -> usize {
        if matches!(self, Self::TooLarge { what: "boxes" }) {
            topology::BOXES_MAX
        } else {
            layout::VERTICES_MAX
        }
    }
}

impl Plan {
    /// A flow: steps as boxes with their verbs, outcomes as arrows, the entry, the ends and `onError`.
    ///
    /// # Errors
    /// No such flow; too large for SVG.
    pub fn flow_diagram(&self, flow: &Key, notation: Notation) -> Result<String, NoDiagram> {
        let compiled = self.good().flows.get(flow).ok_or_else(|| NoDiagram::NoFlow(flow.clone()))?;
        write(&flow::drawing(flow, compiled), notation)
    }

    /// What leads where: carriers, points of presence, trunks, numbers, flows, queues and agents, and whatever else flows
    /// name. `resources` are those that were planned. With a namespace: what that tenant has and what leads to it.
    ///
    /// # Errors
    /// Nothing to draw; no such namespace; too large.
    pub fn topology_diagram(
        &self,
        resources: &Resources,
        namespace: Option<&str>,
        notation: Notation,
    ) -> Result<String, NoDiagram> {
        write(&topology::drawing(self, resources, namespace)?, notation)
    }
}

fn write(drawing: &Drawing, notation: Notation) -> Result<String, NoDiagram> {
    match notation {
        Notation::Mermaid => Ok(mermaid::write(drawing)),
        Notation::Svg => Ok(svg::write(drawing, &layout::lay_out(drawing)?)),
    }
}

/// Boxes and arrows between them.
#[derive(Debug)]
struct Drawing {
    title: String,
    description: String,
    direction: Direction,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
}

/// Which way the arrows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Down,
    Right,
}

/// A box.
#[derive(Debug)]
struct Node {
    /// What it is, such as a verb or kind; empty for an entry.
    kind: String,
    title: String,
    lines: Vec<String>,
    group: Group,
    /// The first layer in which it may stand.
    column: usize,
}

/// What boxes are coloured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    /// Where a call enters.
    Entry,
    /// Where a failure enters.
    Failure,
    /// The contact hears or says something.
    Talk,
    /// Nothing but a decision.
    Decide,
    /// Somebody else comes in.
    Connect,
    /// The call ends.
    End,
    /// A carrier or PBX.
    Trunk,
    /// Telephone numbers.
    Number,
    /// A flow.
    Flow,
    /// A carrier and its places.
    Carrier,
    /// Where contacts wait.
    Queue,
    /// People.
    Agents,
    /// Calls that we begin.
    Campaign,
    /// What keeps or answers something for a flow.
    Service,
}

/// An arrow.
#[derive(Debug)]
struct Edge {
    from: usize,
    to: usize,
    label: String,
    style: Style,
}

/// What arrows are coloured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Failure,
}

impl Group {
    const ALL: [Self; 14] = [
        Self::Entry,
        Self::Failure,
        Self::Talk,
        Self::Decide,
        Self::Connect,
        Self::End,
        Self::Trunk,
        Self::Number,
        Self::Flow,
        Self::Carrier,
        Self::Queue,
        Self::Agents,
        Self::Campaign,
        Self::Service,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::Failure => "failure",
            Self::Talk => "talk",
            Self::Decide => "decide",
            Self::Connect => "connect",
            Self::End => "end",
            Self::Trunk => "trunk",
            Self::Number => "number",
            Self::Flow => "flow",
            Self::Carrier => "carrier",
            Self::Queue => "queue",
            Self::Agents => "agents",
            Self::Campaign => "campaign",
            Self::Service => "service",
        }
    }
}
