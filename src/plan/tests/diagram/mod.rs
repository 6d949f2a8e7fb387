//! Pictures: mermaid as snapshots, SVG by its structure.

use std::{collections::BTreeMap, path::Path};

use model::Key;
use plan::{NoDiagram, Notation, Plan, SourceFile};

use super::{lines, now, planned, quickstart, repository, support};

/// A folder's picture without `--flow`.
fn topology(files: &[SourceFile], namespace: Option<&str>, notation: Notation) -> Result<String, NoDiagram> {
    let (resources, _) = plan::load(files);
    plan::plan(&resources, None, now()).topology_diagram(&resources, namespace, notation)
}

fn with_thirty() -> (Vec<SourceFile>, Plan) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures/thirty-steps.yaml");
    let mut files = quickstart();
    files.push(SourceFile { path: "thirty.yaml".into(), bytes: std::fs::read(path).unwrap().into() });
    let plan = planned(&files);
    assert_eq!(lines(&plan.problems), "");
    (files, plan)
}

fn tenant() -> Vec<SourceFile> {
    support::folder(&repository().join("examples/tenant"))
}

/// A contact centre in one flow, in the place of the quickstart's.
fn contact_centre() -> Plan {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures/contact-centre.yaml");
    let mut files = quickstart();
    let main = files.iter_mut().find(|file| file.path == "flow-main.yaml").unwrap();
    main.bytes = std::fs::read(path).unwrap().into();
    planned(&files)
}

#[test]
fn a_contact_centre_in_one_flow_is_accepted() {
    let plan = contact_centre();
    let errors: Vec<_> =
        plan.problems.iter().filter(|problem| problem.severity == plan::Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let flow = &plan.clusters.values().next().unwrap().snapshot.flows[&model::FlowId::new("acme", "main")];
    assert_eq!(flow.steps.len(), 11);
}

#[test]
fn a_contact_centre_as_mermaid() {
    insta::assert_snapshot!(contact_centre().flow_diagram(&key("main"), Notation::Mermaid).unwrap());
}

fn key(name: &str) -> Key {
    Key::new("acme", name)
}

#[test]
fn the_quickstarts_flow_as_mermaid() {
    insta::assert_snapshot!(planned(&quickstart()).flow_diagram(&key("main"), Notation::Mermaid).unwrap());
}

#[test]
fn the_topology_as_mermaid() {
    insta::assert_snapshot!(topology(&with_thirty().0, None, Notation::Mermaid).unwrap());
}

#[test]
fn a_contact_centres_topology_as_mermaid() {
    insta::assert_snapshot!(topology(&tenant(), None, Notation::Mermaid).unwrap());
}

#[test]
fn a_contact_centres_topology_as_svg() {
    insta::assert_snapshot!(topology(&tenant(), None, Notation::Svg).unwrap());
}

#[test]
fn a_flow_that_is_not_there_has_no_picture() {
    let found = planned(&quickstart()).flow_diagram(&key("mian"), Notation::Svg);
    assert_eq!(found, Err(NoDiagram::NoFlow(key("mian"))));
}

#[test]
fn a_folder_without_trunks_has_no_topology() {
    assert_eq!(topology(&[], None, Notation::Svg), Err(NoDiagram::Empty));
}

#[test]
fn a_tenants_picture_has_what_is_its_own_and_what_leads_to_it() {
    let mut files = tenant();
    let other = "apiVersion: switchboard.dev/v1alpha1\nkind: Queue\nmetadata: {name: elsewhere, namespace: globex}\nspec: {}\n---\napiVersion: switchboard.dev/v1alpha1\nkind: Agent\nmetadata: {name: zoe, namespace: globex}\nspec: {displayName: Zoe Young, capacity: {chat: 1, voice: 1}, stations: [{name: browser, webRtc: {}}]}\n";
    files.push(SourceFile { path: "other.yaml".into(), bytes: other.as_bytes().into() });
    let of = |namespace| topology(&files, Some(namespace), Notation::Mermaid).unwrap();
    assert_eq!(of("acme"), topology(&tenant(), None, Notation::Mermaid).unwrap());
    insta::assert_snapshot!(of("globex"));
    let all = topology(&files, None, Notation::Mermaid).unwrap();
    assert!(all.contains("<b>globex/elsewhere</b>") && all.contains("<b>acme/sales</b>"), "{all}");
    let unknown = topology(&files, Some("acmee"), Notation::Mermaid).unwrap_err();
    assert_eq!(unknown.to_string(), "namespace acmee has nothing that can be drawn; there are: acme, globex");
}

/// An element of a well-formed document: its name, its attributes, its text.
#[derive(Debug)]
struct Element {
    name: String,
    attributes: BTreeMap<String, String>,
    inside: String,
}

/// Reads as much XML as we write, and refuses what is not well-formed.
fn elements(svg: &str) -> Vec<Element> {
    let (mut rest, mut open, mut all) = (svg, Vec::new(), Vec::<Element>::new());
    while let Some(at) = rest.find('<') {
        let text = &rest[..at];
        assert!(
            !text.contains('>') || open.iter().any(|index: &usize| all[*index].name == "style"),
            "{text}"
        );
        for part in text.split('&').skip(1) {
            assert!(["amp;", "lt;", "gt;", "quot;"].iter().any(|entity| part.starts_with(entity)), "{text}");
        }
        if let Some(index) = open.last() {
            let element: &mut Element = &mut all[*index];
            element.inside.push_str(text);
        }
        let end = at + rest[at..].find('>').unwrap();
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            let index = open.pop().unwrap();
            assert_eq!(all[index].name, name);
            continue;
        }
        let (tag, closed) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        let pairs = attributes.split_inclusive("\" ").filter(|pair| !pair.trim().is_empty());
        let pair = |pair: &str| {
            let (name, value) = pair.trim().split_once("=\"").unwrap();
            (name.to_owned(), value.strip_suffix('"').unwrap().to_owned())
        };
        all.push(Element { name: name.into(), attributes: pairs.map(pair).collect(), inside: String::new() });
        if !closed {
            open.push(all.len() - 1);
        }
    }
    assert!(open.is_empty(), "{open:?} is never closed");
    all
}

/// Left, top, right, bottom.
fn rectangles(elements: &[Element], class: &str) -> Vec<[f64; 4]> {
    let found =
        elements.iter().filter(|element| element.attributes.get("class").is_some_and(|is| is == class));
    let rectangle = |element: &Element| {
        let of = |name: &str| element.attributes[name].parse::<f64>().unwrap();
        [of("x"), of("y"), of("x") + of("width"), of("y") + of("height")]
    };
    found.map(rectangle).collect()
}

fn apart(a: &[f64; 4], b: &[f64; 4]) -> bool {
    a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1]
}

/// Points on a path of ours: M, L and C.
fn points(path: &str) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for command in
        path.split_inclusive(|letter: char| letter.is_ascii_digit()).collect::<String>().split(['M', 'L'])
    {
        for (place, part) in command.split('C').enumerate() {
            let numbers: Vec<f64> = part.split_whitespace().map(|number| number.parse().unwrap()).collect();
            match (place, numbers.as_slice()) {
                (_, []) => {}
                (0, [x, y]) => {
                    if let Some((from_x, from_y)) = points.last().copied() {
                        points.extend((1..20).map(|step| {
                            let t = f64::from(step) / 20.0;
                            (from_x + (x - from_x) * t, from_y + (y - from_y) * t)
                        }));
                    }
                    points.push((*x, *y));
                }
                (_, [ax, ay, bx, by, x, y]) => {
                    let (from_x, from_y) = points.last().copied().unwrap();
                    points.extend((1..=20).map(|step| {
                        let t = f64::from(step) / 20.0;
                        let s = 1.0 - t;
                        let at = |a: f64, b: f64, c: f64, d: f64| {
                            s * s * s * a + 3.0 * s * s * t * b + 3.0 * s * t * t * c + t * t * t * d
                        };
                        (at(from_x, *ax, *bx, *x), at(from_y, *ay, *by, *y))
                    }));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    points
}

fn pictures() -> Vec<(String, usize, usize)> {
    let (files, plan) = with_thirty();
    let svg = |name: &str| plan.flow_diagram(&key(name), Notation::Svg).unwrap();
    let text = |name: &str| plan.flow_diagram(&key(name), Notation::Mermaid).unwrap();
    let count = |text: &str| {
        let arrows = text.lines().filter(|line| line.contains("-->") || line.contains("-.->")).count();
        (text.lines().filter(|line| line.contains(":::")).count(), arrows)
    };
    let flows = ["main", "thirty", "reception"].map(|name| {
        let (nodes, edges) = count(&text(name));
        (svg(name), nodes, edges)
    });
    let centre = contact_centre();
    let (nodes, edges) = count(&centre.flow_diagram(&key("main"), Notation::Mermaid).unwrap());
    let centre = (centre.flow_diagram(&key("main"), Notation::Svg).unwrap(), nodes, edges);
    let topologies = [files, tenant()].map(|files| {
        let (nodes, edges) = count(&topology(&files, None, Notation::Mermaid).unwrap());
        (topology(&files, None, Notation::Svg).unwrap(), nodes, edges)
    });
    flows.into_iter().chain([centre]).chain(topologies).collect()
}

#[test]
fn an_svg_is_well_formed_and_holds_every_box_and_every_arrow() {
    for (svg, nodes, edges) in pictures() {
        let elements = elements(&svg);
        let of_class = |class: &str| {
            let has = |element: &&Element| {
                element.attributes.get("class").is_some_and(|is| is.split(' ').next() == Some(class))
            };
            elements.iter().filter(has).count()
        };
        assert_eq!((of_class("node"), of_class("edge")), (nodes, edges));
        let told: Vec<_> = elements.iter().filter(|e| e.name == "title" || e.name == "desc").collect();
        assert!(told.iter().all(|element| !element.inside.is_empty()));
        assert_eq!(elements[0].attributes["aria-labelledby"], "title desc");
    }
}

#[test]
fn neither_boxes_nor_labels_lie_on_one_another() {
    for (svg, ..) in pictures() {
        let elements = elements(&svg);
        let mut all = rectangles(&elements, "card");
        all.extend(rectangles(&elements, "ground"));
        for (place, a) in all.iter().enumerate() {
            for b in &all[place + 1..] {
                assert!(apart(a, b), "{a:?} {b:?}");
            }
        }
    }
}

/// Arrows begin and end at the edge of a box; a pixel of it is not within.
#[test]
fn no_arrow_crosses_a_box() {
    for (svg, ..) in pictures() {
        let elements = elements(&svg);
        let boxes = rectangles(&elements, "card");
        let paths = elements.iter().filter(|element| element.attributes.contains_key("marker-end"));
        for path in paths {
            for (x, y) in points(&path.attributes["d"]) {
                let within =
                    |b: &&[f64; 4]| x > b[0] + 1.5 && x < b[2] - 1.5 && y > b[1] + 1.5 && y < b[3] - 1.5;
                let hit = boxes.iter().find(within);
                assert_eq!(hit, None, "({x}, {y}) of {}", path.attributes["d"]);
            }
        }
    }
}

#[test]
fn equal_folders_give_equal_pictures_in_whatever_order() {
    let plan = planned(&quickstart());
    let mut files = quickstart();
    files.reverse();
    let other = planned(&files);
    for notation in [Notation::Svg, Notation::Mermaid] {
        let (mut tenant, there) = (tenant(), topology(&tenant(), None, notation));
        tenant.reverse();
        assert_eq!(topology(&tenant, None, notation), there);
        assert_eq!(plan.flow_diagram(&key("main"), notation), other.flow_diagram(&key("main"), notation));
    }
}

#[test]
fn a_flow_of_five_hundred_steps_is_drawn_or_refused() {
    let step = |index: usize| {
        let (near, far) = ((index + 1).min(499), (index * 7 + 3) % 500);
        if index == 499 {
            return "  - {name: s499, hangup: {}}\n".to_owned();
        }
        format!(
            "  - name: s{index}\n    ask: {{prompt: menu, maxVisits: 2, choices: [{{digits: \"1\", next: s{near}}}, {{digits: \"2\", next: s{far}}}], noInput: s499, noMatch: s499}}\n"
        )
    };
    let steps: String = (0..500).map(step).collect();
    let flow = format!(
        "apiVersion: switchboard.dev/v1alpha1\nkind: RoutingFlow\nmetadata: {{name: large, namespace: acme}}\nspec:\n  steps:\n{steps}"
    );
    let mut files = quickstart();
    files.push(SourceFile { path: "large.yaml".into(), bytes: flow.into_bytes().into() });
    let plan = planned(&files);
    assert_eq!(lines(&plan.problems), "");
    assert!(plan.flow_diagram(&key("large"), Notation::Mermaid).is_ok());
    let svg = plan.flow_diagram(&key("large"), Notation::Svg);
    assert_eq!(svg, Err(NoDiagram::TooLarge { what: "bends" }));
}
