//! A drawing as mermaid's flowchart.

use std::fmt::Write;

use super::{Direction, Drawing, Group, Node, Style};

/// The text, with a line break at its end.
pub(super) fn write(drawing: &Drawing) -> String {
    let mut text = String::new();
    let direction = match drawing.direction {
        Direction::Down => "TD",
        Direction::Right => "LR",
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "---\ntitle: \"{}\"\n---\nflowchart {direction}", quoted(&drawing.title));
    for (place, node) in drawing.nodes.iter().enumerate() {
        let (open, close) = shape(node.group);
        let _ = writeln!(text, "  n{place}{open}\"{}\"{close}:::{}", content(node), node.group.name());
    }
    for edge in &drawing.edges {
        let arrow = match edge.style {
            Style::Plain => "-->",
            Style::Failure => "-.->",
        };
        let label =
            if edge.label.is_empty() { String::new() } else { format!("|\"{}\"|", quoted(&edge.label)) };
        let _ = writeln!(text, "  n{} {arrow}{label} n{}", edge.from, edge.to);
    }
    let used = |group: &&Group| drawing.nodes.iter().any(|node| node.group == **group);
    for group in Group::ALL.iter().filter(used) {
        let _ = writeln!(text, "  classDef {} {}", group.name(), colours(*group));
    }
    text
}

fn content(node: &Node) -> String {
    let kind = if node.kind.is_empty() { String::new() } else { format!("<i>{}</i> ", quoted(&node.kind)) };
    let lines: String = node.lines.iter().map(|line| format!("<br/>{}", quoted(line))).collect();
    format!("{kind}<b>{}</b>{lines}", quoted(&node.title))
}

const fn shape(group: Group) -> (&'static str, &'static str) {
    match group {
        Group::Entry | Group::Failure | Group::End => ("([", "])"),
        Group::Decide => ("{{", "}}"),
        Group::Talk | Group::Connect | Group::Flow | Group::Carrier => ("[", "]"),
        Group::Trunk | Group::Number | Group::Campaign | Group::Service => ("(", ")"),
        Group::Queue => ("[[", "]]"),
        Group::Agents => ("([", "])"),
    }
}

/// Readable on a light page and on a dark one: the text has its own ground.
const fn colours(group: Group) -> &'static str {
    match group {
        Group::Entry => "fill:#334155,stroke:#0f172a,color:#ffffff",
        Group::Failure => "fill:#fef2f2,stroke:#dc2626,color:#7f1d1d",
        Group::Talk | Group::Number => "fill:#eff6ff,stroke:#3b82f6,color:#172554",
        Group::Decide | Group::Flow => "fill:#f5f3ff,stroke:#8b5cf6,color:#2e1065",
        Group::Connect | Group::Agents => "fill:#ecfdf5,stroke:#10b981,color:#022c22",
        Group::End => "fill:#f1f5f9,stroke:#64748b,color:#0f172a",
        Group::Trunk => "fill:#fffbeb,stroke:#d97706,color:#451a03",
        Group::Carrier => "fill:#f5f5f4,stroke:#78716c,color:#1c1917",
        Group::Queue => "fill:#ecfeff,stroke:#0891b2,color:#083344",
        Group::Campaign => "fill:#fdf4ff,stroke:#c026d3,color:#4a044e",
        Group::Service => "fill:#fff1f2,stroke:#e11d48,color:#4c0519",
    }
}

/// Mermaid's entity codes: what would end a string or begin a tag.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("#quot;"),
            '#' => quoted.push_str("#35;"),
            '<' => quoted.push_str("#lt;"),
            '>' => quoted.push_str("#gt;"),
            '&' => quoted.push_str("#amp;"),
            '`' => quoted.push_str("#96;"),
            character if character.is_control() => quoted.push(' '),
            character => quoted.push(character),
        }
    }
    quoted
}
