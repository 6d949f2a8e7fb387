//! A drawing as SVG: boxes and arrows with titles for screen readers, light and dark by the reader's preference.

use std::fmt::Write;

use super::{
    Drawing, Edge, Group, Node, Style,
    layout::{KIND, LABEL, LINE, LINE_HEIGHT, LOOP, Layout, Point, Rect, Route, TITLE},
    words,
};

/// Page, ink, soft ink, lines, lines back, failures.
const LIGHT: [&str; 6] = ["#ffffff", "#0f172a", "#475569", "#94a3b8", "#8b5cf6", "#dc2626"];
const DARK: [&str; 6] = ["#0d1117", "#e6edf3", "#9aa7b8", "#64748b", "#a78bfa", "#f87171"];

/// The document, with a line break at its end.
pub(super) fn write(drawing: &Drawing, layout: &Layout) -> String {
    let mut svg = String::new();
    head(&mut svg, drawing, layout);
    for (edge, route) in drawing.edges.iter().zip(&layout.routes) {
        arrow(&mut svg, drawing, edge, route, layout);
    }
    for (edge, route) in drawing.edges.iter().zip(&layout.routes) {
        label(&mut svg, edge, route, layout);
    }
    for (node, rect) in drawing.nodes.iter().zip(&layout.boxes) {
        card(&mut svg, node, *rect);
    }
    svg.push_str("</svg>\n");
    svg
}

/// Writing to a String cannot fail.
fn line(svg: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = writeln!(svg, "{text}");
}

fn head(svg: &mut String, drawing: &Drawing, layout: &Layout) {
    let (width, height) = (layout.width, layout.height);
    line(
        svg,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"title desc\">"
        ),
    );
    line(svg, format_args!("<title id=\"title\">{}</title>", words::escape(&drawing.title)));
    line(svg, format_args!("<desc id=\"desc\">{}</desc>", words::escape(&drawing.description)));
    line(svg, format_args!("<style>\n{}{}</style>", rules(), palettes()));
    line(svg, format_args!("<defs>"));
    for name in ["line", "back", "failure"] {
        line(
            svg,
            format_args!(
                "<marker id=\"{name}\" class=\"{name}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 0.5L8 4L0 7.5z\"/></marker>"
            ),
        );
    }
    line(svg, format_args!("</defs>"));
    line(svg, format_args!("<rect class=\"page\" width=\"{width}\" height=\"{height}\"/>"));
}

fn rules() -> String {
    format!(
        "text {{ font-family: system-ui, -apple-system, \"Segoe UI\", Roboto, \"DejaVu Sans\", sans-serif; }}\n\
         .title {{ font-size: {TITLE}px; font-weight: 600; }}\n\
         .kind {{ font-size: {KIND}px; font-weight: 600; letter-spacing: 0.6px; }}\n\
         .lines {{ font-size: {LINE}px; }}\n\
         .label {{ font-size: {LABEL}px; text-anchor: middle; }}\n\
         .beside {{ text-anchor: start; }}\n\
         .centred {{ text-anchor: middle; }}\n\
         .card {{ stroke-width: 1.2; }}\n\
         .edge path {{ fill: none; stroke-width: 1.4; }}\n\
         .edge.failure path {{ stroke-dasharray: 5 4; }}\n"
    )
}

fn palettes() -> String {
    let dark = palette(&DARK, Group::dark);
    let dark: String = dark.lines().map(|line| format!("  {line}\n")).collect();
    format!("{}@media (prefers-color-scheme: dark) {{\n{dark}}}\n", palette(&LIGHT, Group::light))
}

/// Rules that name colours: no custom properties, which not every renderer knows.
fn palette(
    [page, ink, soft, lines, back, failure]: &[&str; 6],
    of: fn(Group) -> [&'static str; 3],
) -> String {
    let mut rules = format!(
        ".page, .ground {{ fill: {page}; }}\n\
         .title {{ fill: {ink}; }}\n\
         .lines, .label {{ fill: {soft}; }}\n\
         .edge path {{ stroke: {lines}; }}\n\
         .line path {{ fill: {lines}; }}\n\
         .edge.back path {{ stroke: {back}; }}\n\
         marker.back path {{ fill: {back}; }}\n\
         .edge.failure path {{ stroke: {failure}; }}\n\
         marker.failure path {{ fill: {failure}; }}\n"
    );
    for group in Group::ALL {
        let [fill, stroke, accent] = of(group);
        let name = group.name();
        let _ = write!(
            rules,
            ".{name} .card {{ fill: {fill}; stroke: {stroke}; }}\n.{name} .kind {{ fill: {accent}; }}\n"
        );
        if matches!(group, Group::Entry | Group::Failure) {
            let _ = writeln!(rules, ".{name} .title {{ fill: {accent}; }}");
        }
    }
    rules
}

impl Group {
    /// Fill, stroke and accent on a light page.
    const fn light(self) -> [&'static str; 3] {
        match self {
            Self::Entry => ["#1e293b", "#1e293b", "#ffffff"],
            Self::Failure => ["#fef2f2", "#fca5a5", "#b91c1c"],
            Self::Talk | Self::Number => ["#eff6ff", "#93c5fd", "#1d4ed8"],
            Self::Decide | Self::Flow => ["#f5f3ff", "#c4b5fd", "#6d28d9"],
            Self::Connect | Self::Agents => ["#ecfdf5", "#6ee7b7", "#047857"],
            Self::End => ["#f1f5f9", "#94a3b8", "#475569"],
            Self::Trunk => ["#fffbeb", "#fcd34d", "#92400e"],
            Self::Carrier => ["#fafaf9", "#d6d3d1", "#57534e"],
            Self::Queue => ["#ecfeff", "#67e8f9", "#0e7490"],
            Self::Campaign => ["#fdf4ff", "#f0abfc", "#a21caf"],
            Self::Service => ["#fff1f2", "#fda4af", "#be123c"],
        }
    }

    /// Fill, stroke and accent on a dark page.
    const fn dark(self) -> [&'static str; 3] {
        match self {
            Self::Entry => ["#e2e8f0", "#e2e8f0", "#0f172a"],
            Self::Failure => ["#2a1215", "#7f1d1d", "#fca5a5"],
            Self::Talk | Self::Number => ["#0f1f38", "#2f5da8", "#93c5fd"],
            Self::Decide | Self::Flow => ["#1e1635", "#5b41a6", "#c4b5fd"],
            Self::Connect | Self::Agents => ["#0b2620", "#1f7a5c", "#6ee7b7"],
            Self::End => ["#1c2330", "#566176", "#cbd5e1"],
            Self::Trunk => ["#2a1f0b", "#8a6516", "#fcd34d"],
            Self::Carrier => ["#1f1d1b", "#57534e", "#d6d3d1"],
            Self::Queue => ["#0a2530", "#17718a", "#67e8f9"],
            Self::Campaign => ["#2a0f2e", "#86298f", "#f0abfc"],
            Self::Service => ["#2e0f18", "#95294a", "#fda4af"],
        }
    }
}

fn arrow(svg: &mut String, drawing: &Drawing, edge: &Edge, route: &Route, layout: &Layout) {
    let (class, marker) = match (edge.style, route.back) {
        (Style::Failure, _) => ("edge failure", "failure"),
        (Style::Plain, true) => ("edge back", "back"),
        (Style::Plain, false) => ("edge", "line"),
    };
    let path =
        if route.points.is_empty() { around(layout.boxes[edge.from]) } else { along(&route.points, drawing) };
    let (from, to) = (&drawing.nodes[edge.from].title, &drawing.nodes[edge.to].title);
    let by = if edge.label.is_empty() { String::new() } else { format!(": {}", edge.label) };
    line(
        svg,
        format_args!(
            "<g class=\"{class}\" data-from=\"{}\" data-to=\"{}\"><title>{}</title><path d=\"{path}\" marker-end=\"url(#{marker})\"/></g>",
            edge.from,
            edge.to,
            words::escape(&format!("{from} → {to}{by}")),
        ),
    );
}

/// Straight along the layers, curved between them; the curves begin and end along the direction.
fn along(points: &[Point], drawing: &Drawing) -> String {
    let mut path = String::new();
    for (place, to) in points.iter().enumerate() {
        let Some(from) = place.checked_sub(1).map(|before| points[before]) else {
            let _ = write!(path, "M{} {}", to.x, to.y);
            continue;
        };
        if place % 2 == 1 || from == *to {
            if from != *to {
                let _ = write!(path, "L{} {}", to.x, to.y);
            }
            continue;
        }
        let (a, b) = match drawing.direction {
            super::Direction::Down => {
                let middle = f64::midpoint(from.y, to.y);
                (Point { x: from.x, y: middle }, Point { x: to.x, y: middle })
            }
            super::Direction::Right => {
                let middle = f64::midpoint(from.x, to.x);
                (Point { x: middle, y: from.y }, Point { x: middle, y: to.y })
            }
        };
        let _ = write!(path, "C{} {} {} {} {} {}", a.x, a.y, b.x, b.y, to.x, to.y);
    }
    path
}

/// A loop at the right side of a box.
fn around(rect: Rect) -> String {
    let (x, y) = (rect.middle.x + rect.width / 2.0, rect.middle.y);
    let out = x + LOOP - 6.0;
    format!("M{x} {}C{out} {} {out} {} {x} {}", y - 9.0, y - 14.0, y + 14.0, y + 9.0)
}

fn label(svg: &mut String, edge: &Edge, route: &Route, layout: &Layout) {
    if edge.label.is_empty() {
        return;
    }
    let text = words::escape(&edge.label);
    if route.points.is_empty() {
        let rect = layout.boxes[edge.from];
        let (x, y) = (rect.middle.x + rect.width / 2.0 + LOOP - 8.0, rect.middle.y + 4.0);
        return line(svg, format_args!("<text class=\"label beside\" x=\"{x}\" y=\"{y}\">{text}</text>"));
    }
    let width = (words::width(&edge.label, LABEL) + 6.0).ceil();
    let Point { x, y } = route.label;
    line(
        svg,
        format_args!(
            "<rect class=\"ground\" x=\"{}\" y=\"{}\" width=\"{width}\" height=\"16\" rx=\"4\"/><text class=\"label\" x=\"{x}\" y=\"{}\">{text}</text>",
            x - width / 2.0,
            y - 8.0,
            y + 4.0,
        ),
    );
}

fn card(svg: &mut String, node: &Node, rect: Rect) {
    let Rect { middle, width, height } = rect;
    let (x, y) = (middle.x - width / 2.0, middle.y - height / 2.0);
    let round = match node.group {
        Group::Entry | Group::Failure => height / 2.0,
        Group::End => 16.0,
        Group::Agents => 14.0,
        Group::Talk
        | Group::Decide
        | Group::Connect
        | Group::Trunk
        | Group::Number
        | Group::Flow
        | Group::Carrier
        | Group::Queue
        | Group::Campaign
        | Group::Service => 7.0,
    };
    let told = [&node.kind, &node.title].into_iter().filter(|text| !text.is_empty());
    let told: Vec<_> = told.chain(&node.lines).map(|text| words::escape(text)).collect();
    line(svg, format_args!("<g class=\"node {}\"><title>{}</title>", node.group.name(), told.join("; ")));
    line(
        svg,
        format_args!(
            "<rect class=\"card\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{round}\"/>"
        ),
    );
    if node.kind.is_empty() {
        let title = words::escape(&node.title);
        line(
            svg,
            format_args!(
                "<text class=\"title centred\" x=\"{}\" y=\"{}\">{title}</text>",
                middle.x,
                middle.y + 5.0
            ),
        );
    } else {
        let left = x + 14.0;
        let kind = words::escape(&node.kind.to_uppercase());
        line(svg, format_args!("<text class=\"kind\" x=\"{left}\" y=\"{}\">{kind}</text>", y + 17.0));
        let title = words::escape(&node.title);
        line(svg, format_args!("<text class=\"title\" x=\"{left}\" y=\"{}\">{title}</text>", y + 35.0));
        let mut at = y + 36.0 + LINE_HEIGHT;
        for text in &node.lines {
            line(
                svg,
                format_args!("<text class=\"lines\" x=\"{left}\" y=\"{at}\">{}</text>", words::escape(text)),
            );
            at += LINE_HEIGHT;
        }
    }
    line(svg, format_args!("</g>"));
}
