//! Pictures of a plan: a flow, and what leads where in the whole folder; as mermaid text and as SVG.
//!
//! What is drawn is the compiled form that calls run. A [`Drawing`] is a graph of boxes and labelled arrows; both
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

use crate::Plan;

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
    /// No cluster has a trunk, so nothing leads anywhere.
    #[error("there is nothing to draw: no VoiceCluster of the folder has a Trunk that can be used")]
    Empty,
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

    /// Every cluster's trunks, the numbers that come by them, the flows these lead to, and the trunks that flows dial.
    ///
    /// # Errors
    /// Nothing to draw; too large.
    pub fn topology_diagram(&self, notation: Notation) -> Result<String, NoDiagram> {
        write(&topology::drawing(self)?, notation)
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
    const ALL: [Self; 9] = [
        Self::Entry,
        Self::Failure,
        Self::Talk,
        Self::Decide,
        Self::Connect,
        Self::End,
        Self::Trunk,
        Self::Number,
        Self::Flow,
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
        }
    }
}
