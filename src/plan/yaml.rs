//! YAML 1.2 with positions: a tree in which every key and value knows its line and column.
//!
//! Plain scalars are read as the API server's reader does (YAML 1.1's booleans included), so that a file means here
//! what it means there.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

/// Deepest nesting of a document.
pub const DEPTH_MAX: usize = 64;

/// Most nodes of a file, those that aliases repeat included.
pub const NODES_MAX: usize = 2_000_000;

/// A place in a file, both from 1 up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

/// A value and where it begins.
#[derive(Debug, Clone)]
pub struct Node {
    pub at: Position,
    pub kind: NodeKind,
}

/// What a value is.
#[derive(Debug, Clone)]
pub enum NodeKind {
    /// Text, and whether it stands without quotes.
    Scalar { text: String, plain: bool },
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values.
    Mapping(Entries),
}

/// Mappings with more keys than this are searched by an index: a file of megabytes may be one mapping.
const INDEXED_FROM: usize = 32;

/// Keys and values of a mapping, in the order of the file; no key twice.
#[derive(Debug, Clone, Default)]
pub struct Entries {
    list: Vec<Entry>,
    /// Places by key; empty while there are few.
    places: BTreeMap<String, usize>,
}

impl Entries {
    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.list.iter()
    }

    pub fn get(&self, key: &str) -> Option<&Entry> {
        if self.list.len() <= INDEXED_FROM {
            return self.list.iter().find(|entry| entry.key == key);
        }
        self.list.get(*self.places.get(key)?)
    }

    /// Adds an entry whose key is not there yet.
    fn push(&mut self, entry: Entry) {
        let place = self.list.len();
        self.list.push(entry);
        match place {
            ..INDEXED_FROM => {}
            INDEXED_FROM => {
                let keys = self.list.iter().map(|entry| entry.key.clone());
                self.places = keys.zip(0..).collect();
            }
            _ => drop(self.places.insert(self.list[place].key.clone(), place)),
        }
    }
}

/// A key and its value.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: String,
    pub key_at: Position,
    pub value: Node,
}

/// Something that is wrong with the text itself.
#[derive(Debug, Clone)]
pub struct Fault {
    pub at: Position,
    pub duplicate_key: bool,
    pub message: String,
}

impl Node {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        let NodeKind::Mapping(entries) = &self.kind else {
            return None;
        };
        entries.get(key)
    }

    /// The text, if the node is a scalar that means text.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Scalar { text, plain } => {
                let means_text = !plain || matches!(resolve(text), Value::String(_));
                means_text.then_some(text.as_str())
            }
            NodeKind::Sequence(_) | NodeKind::Mapping(_) => None,
        }
    }

    /// As JSON. A key without a value is left out: to the API server null and absent are one.
    pub fn to_json(&self) -> Value {
        match &self.kind {
            NodeKind::Scalar { text, plain: true } => resolve(text),
            NodeKind::Scalar { text, plain: false } => Value::String(text.clone()),
            NodeKind::Sequence(items) => items.iter().map(Self::to_json).collect(),
            NodeKind::Mapping(entries) => {
                let pairs = entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json()));
                let object: Map<_, _> = pairs.filter(|(_, value)| !value.is_null()).collect();
                Value::Object(object)
            }
        }
    }

    /// Where the value at `path` begins, or its key where the value is a block below it; where there is none, the key of
    /// its nearest ancestor.
    pub fn locate(&self, path: &str) -> Position {
        let (mut node, mut at) = (self, self.at);
        for segment in segments(path) {
            match node.child(segment) {
                Some((child, key_at)) => (node, at) = (child, key_at),
                None => return at,
            }
        }
        if node.at.line == at.line { node.at } else { at }
    }

    /// Where the key at `path` stands; where there is none, that of its nearest ancestor.
    pub fn locate_key(&self, path: &str) -> Position {
        let (mut node, mut at) = (self, self.at);
        for segment in segments(path) {
            match node.child(segment) {
                Some((child, key_at)) => (node, at) = (child, key_at),
                None => break,
            }
        }
        at
    }

    fn child(&self, segment: Segment<'_>) -> Option<(&Self, Position)> {
        match (&self.kind, segment) {
            (NodeKind::Mapping(_), Segment::Key(key)) => {
                self.get(key).map(|entry| (&entry.value, entry.key_at))
            }
            (NodeKind::Sequence(items), Segment::Index(index)) => {
                items.get(index).map(|item| (item, item.at))
            }
            _ => None,
        }
    }

    fn size(&self) -> usize {
        1 + match &self.kind {
            NodeKind::Scalar { .. } => 0,
            NodeKind::Sequence(items) => items.iter().map(Self::size).sum(),
            NodeKind::Mapping(entries) => entries.iter().map(|entry| entry.value.size()).sum(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Segment<'a> {
    Key(&'a str),
    Index(usize),
}

fn segments(path: &str) -> impl Iterator<Item = Segment<'_>> {
    path.split(['.', '[']).filter(|part| !part.is_empty()).map(|part| {
        let index = part.strip_suffix(']').and_then(|index| index.parse().ok());
        index.map_or(Segment::Key(part), Segment::Index)
    })
}

/// A document that could be read.
#[derive(Debug, Clone)]
pub struct Document {
    pub root: Node,
    /// Whether no mapping in it has a key twice.
    pub sound: bool,
}

/// Every document of a text, and all that is wrong. One that cannot be read does not hide those after it.
pub fn parse(text: &str) -> (Vec<Document>, Vec<Fault>) {
    let (mut documents, mut faults) = (Vec::new(), Vec::new());
    let mut nodes_left = NODES_MAX;
    for (first_line, chunk) in chunks(text) {
        let mut reader = Reader::new(first_line, &mut nodes_left);
        if let Err(fault) = reader.read(chunk) {
            faults.push(fault);
        }
        documents.append(&mut reader.documents);
        faults.append(&mut reader.faults);
    }
    (documents, faults)
}

/// The text between lines that begin with `---`, each with the number of lines before it.
fn chunks(text: &str) -> Vec<(u32, &str)> {
    let mut chunks = Vec::new();
    let (mut start, mut start_line, mut offset) = (0, 0, 0);
    for (line, content) in (0..).zip(text.split_inclusive('\n')) {
        let marker = content
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if marker && offset > start {
            chunks.push((start_line, &text[start..offset]));
            (start, start_line) = (offset, line);
        }
        offset += content.len();
    }
    chunks.push((start_line, &text[start..]));
    chunks
}

struct Reader<'a> {
    first_line: u32,
    nodes_left: &'a mut usize,
    stack: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    documents: Vec<Document>,
    faults: Vec<Fault>,
    /// How many faults there were before this document.
    faults_before: usize,
}

/// A list or mapping whose end has not come yet.
struct Open {
    at: Position,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    Sequence(Vec<Node>),
    Mapping {
        entries: Entries,
        key: Option<(String, Position)>,
        /// Values of `<<`: what the mapping says itself goes before, wherever it stands.
        merges: Vec<Node>,
    },
}

impl<'a> Reader<'a> {
    const fn new(first_line: u32, nodes_left: &'a mut usize) -> Self {
        Self {
            first_line,
            nodes_left,
            stack: Vec::new(),
            anchors: BTreeMap::new(),
            documents: Vec::new(),
            faults: Vec::new(),
            faults_before: 0,
        }
    }

    fn read(&mut self, text: &str) -> Result<(), Fault> {
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| self.scan_fault(&error, text))?;
            self.event(event, span)?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let at = self.position(span.start.line(), span.start.col());
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let text_tag = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                let plain = style == ScalarStyle::Plain && !text_tag;
                let kind = NodeKind::Scalar { text: text.into_owned(), plain };
                self.close(Node { at, kind }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(Open { at, anchor, kind: OpenKind::Sequence(Vec::new()) })
            }
            Event::MappingStart(_, anchor, _) => {
                let kind = OpenKind::Mapping { entries: Entries::default(), key: None, merges: Vec::new() };
                self.open(Open { at, anchor, kind })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::StreamStart
            | Event::StreamEnd
            | Event::Comment(..)
            | Event::Anchor(..)
            | Event::UnresolvedAlias(..) => Ok(()),
            _ => Ok(()),
        }
    }

    fn open(&mut self, open: Open) -> Result<(), Fault> {
        if self.stack.len() >= DEPTH_MAX {
            let message =
                format!("The document nests deeper than {DEPTH_MAX} levels; no object of ours does.");
            return Err(Fault { at: open.at, duplicate_key: false, message });
        }
        self.stack.push(open);
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        let Some(open) = self.stack.pop() else {
            return Ok(());
        };
        let kind = match open.kind {
            OpenKind::Sequence(items) => NodeKind::Sequence(items),
            OpenKind::Mapping { mut entries, merges, .. } => {
                let faults = merges.into_iter().filter_map(|value| merge(&mut entries, value, true));
                self.faults.extend(faults);
                NodeKind::Mapping(entries)
            }
        };
        self.close(Node { at: open.at, kind }, open.anchor)
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), Fault> {
        let Some(node) = self.anchors.get(&anchor) else {
            let message = "An alias must not stand within what it names.".to_owned();
            return Err(Fault { at, duplicate_key: false, message });
        };
        let mut node = node.clone();
        self.spend(node.size(), at)?;
        node.at = at;
        self.place(node)
    }

    /// A value is complete: remembers it where it has an anchor and puts it where it belongs.
    fn close(&mut self, node: Node, anchor: usize) -> Result<(), Fault> {
        self.spend(1, node.at)?;
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.place(node)
    }

    fn spend(&mut self, nodes: usize, at: Position) -> Result<(), Fault> {
        let left = self.nodes_left.checked_sub(nodes);
        *self.nodes_left = left.ok_or_else(|| Fault {
            at,
            duplicate_key: false,
            message: format!("The file has more than {NODES_MAX} values, its aliases counted; split it."),
        })?;
        Ok(())
    }

    fn place(&mut self, node: Node) -> Result<(), Fault> {
        match self.stack.last_mut().map(|open| &mut open.kind) {
            None => {
                let sound = self.faults.len() == self.faults_before;
                self.faults_before = self.faults.len();
                self.documents.push(Document { root: node, sound });
            }
            Some(OpenKind::Sequence(items)) => items.push(node),
            Some(OpenKind::Mapping { entries, key, merges }) => match key.take() {
                None => match node.kind {
                    NodeKind::Scalar { text, .. } => *key = Some((text, node.at)),
                    NodeKind::Sequence(_) | NodeKind::Mapping(_) => {
                        let message = "A key must be a word, not a list or mapping.".to_owned();
                        return Err(Fault { at: node.at, duplicate_key: false, message });
                    }
                },
                Some((key, _)) if key == "<<" => merges.push(node),
                Some((key, key_at)) => {
                    let duplicate = add(entries, Entry { key, key_at, value: node });
                    self.faults.extend(duplicate);
                }
            },
        }
        Ok(())
    }

    fn position(&self, line: usize, column: usize) -> Position {
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        Position {
            line: self.first_line.saturating_add(line),
            column: u32::try_from(column).unwrap_or(u32::MAX).saturating_add(1),
        }
    }

    fn scan_fault(&self, error: &ScanError, text: &str) -> Fault {
        let marker = error.marker();
        let at = self.position(marker.line(), marker.col());
        match tab(text, marker.line()) {
            Some((line, column)) => Fault {
                at: self.position(line, column),
                duplicate_key: false,
                message: "YAML must be indented with spaces; this line has a tab.".to_owned(),
            },
            None => Fault {
                at,
                duplicate_key: false,
                message: format!("This is not valid YAML: {}.", error.info().trim_end_matches('.')),
            },
        }
    }
}

/// A tab in the indentation of the line that the parser stopped at, or of the one before.
fn tab(text: &str, line: usize) -> Option<(usize, usize)> {
    let first = line.saturating_sub(1).max(1);
    (first..=line).find_map(|number| {
        let content = text.lines().nth(number - 1)?;
        let indent = content.len() - content.trim_start_matches([' ', '\t']).len();
        content[..indent].find('\t').map(|column| (number, column))
    })
}

/// Adds an entry, or tells that its key is there already.
fn add(entries: &mut Entries, entry: Entry) -> Option<Fault> {
    if let Some(first) = entries.get(&entry.key) {
        return Some(Fault {
            at: entry.key_at,
            duplicate_key: true,
            message: format!(
                "`{}` stands here already, on line {}; remove one of the two.",
                entry.key, first.key_at.line
            ),
        });
    }
    entries.push(entry);
    None
}

/// What a mapping has of the value of `<<`: all that it does not have itself; of several values the first (YAML 1.1 merge
/// keys).
fn merge(entries: &mut Entries, value: Node, lists: bool) -> Option<Fault> {
    match value.kind {
        NodeKind::Mapping(merged) => {
            for entry in merged.list {
                if entries.get(&entry.key).is_none() {
                    entries.push(entry);
                }
            }
            None
        }
        NodeKind::Sequence(items) if lists => {
            items.into_iter().map(|item| merge(entries, item, false)).fold(None, Option::or)
        }
        NodeKind::Sequence(_) | NodeKind::Scalar { .. } => Some(Fault {
            at: value.at,
            duplicate_key: false,
            message: "`<<` must merge a mapping or a list of mappings.".to_owned(),
        }),
    }
}

/// What a scalar without quotes means.
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            return Value::Bool(true);
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return Value::String(text.to_owned());
    }
    number(text).unwrap_or_else(|| Value::String(text.to_owned()))
}

fn number(text: &str) -> Option<Value> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if let Ok(integer) = digits.parse::<i64>() {
        return Some(integer.into());
    }
    if let Some(hexadecimal) = digits.strip_prefix("0x") {
        return i64::from_str_radix(hexadecimal, 16).ok().map(Value::from);
    }
    let float_like = digits.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
        && digits.bytes().any(|byte| byte.is_ascii_digit());
    let float = digits.parse::<f64>().ok().filter(|_| float_like)?;
    serde_json::Number::from_f64(float).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Vec<Value> {
        let (documents, faults) = parse(text);
        assert!(faults.is_empty(), "{faults:?}");
        documents.iter().map(|document| document.root.to_json()).collect()
    }

    #[test]
    fn plain_scalars_mean_what_they_mean_to_the_api_server() {
        for (text, wanted) in [
            ("a: 1", r#"{"a":1}"#),
            ("a: +18005550100", r#"{"a":18005550100}"#),
            ("a: \"+18005550100\"", r#"{"a":"+18005550100"}"#),
            ("a: yes", r#"{"a":true}"#),
            ("a: 'yes'", r#"{"a":"yes"}"#),
            ("a: 1.5", r#"{"a":1.5}"#),
            ("a: 0x10", r#"{"a":16}"#),
            ("a: 09:00", r#"{"a":"09:00"}"#),
            ("a: 2026-12-25", r#"{"a":"2026-12-25"}"#),
            ("a: 192.0.2.1", r#"{"a":"192.0.2.1"}"#),
            ("a: ~", "{}"),
            ("a:", "{}"),
            ("a: [1, two]", r#"{"a":[1,"two"]}"#),
            ("a: &x {b: 1}\nc: *x", r#"{"a":{"b":1},"c":{"b":1}}"#),
            ("a: &x {b: 1}\nc: {<<: *x, d: 2}", r#"{"a":{"b":1},"c":{"b":1,"d":2}}"#),
            (
                "a: &x {b: 1, c: 2}\nd: {<<: [*x, {c: 3, e: 4}], b: 5}",
                r#"{"a":{"b":1,"c":2},"d":{"b":5,"c":2,"e":4}}"#,
            ),
            ("a: !!str 1", r#"{"a":"1"}"#),
            ("a: |\n  x\n  y\n", r#"{"a":"x\ny\n"}"#),
        ] {
            assert_eq!(json(text)[0].to_string(), wanted, "{text}");
        }
    }

    #[test]
    fn positions_hold_across_documents_comments_and_windows_line_ends() {
        let text = "# first\r\na: 1\r\n---\r\n# second\r\nb:\r\n  - c: x\r\n    d: y\r\n";
        let (documents, faults) = parse(text);
        assert!(faults.is_empty(), "{faults:?}");
        let at = |document: usize, path: &str| {
            let Position { line, column } = documents[document].root.locate(path);
            (line, column)
        };
        assert_eq!(at(0, "a"), (2, 4));
        assert_eq!(at(1, "b[0].d"), (7, 8));
        assert_eq!(at(1, "b[0].absent"), (6, 5), "the nearest ancestor");
        assert_eq!(at(1, "b[7]"), (5, 1));
    }

    #[test]
    fn a_broken_document_does_not_hide_the_next() {
        let (documents, faults) = parse("a: [1\n---\nb: 2\n---\nc: 1\nc: 2\n");
        assert_eq!(documents.len(), 2);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert_eq!(faults[1].at, Position { line: 6, column: 1 });
    }

    #[test]
    fn a_tab_is_named_as_such() {
        let (_, faults) = parse("a:\n\tb: 1\n");
        assert!(faults[0].message.contains("tab"), "{faults:?}");
        assert_eq!(faults[0].at, Position { line: 2, column: 1 });
    }

    #[test]
    fn aliases_cannot_multiply_without_end() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let previous = format!("*a{}", level - 1);
            let items = vec![previous; 10].join(", ");
            text += &format!("a{level}: &a{level} [{items}]\n");
        }
        let (_, faults) = parse(&text);
        assert!(faults[0].message.contains("more than"), "{faults:?}");
    }

    #[test]
    fn a_mapping_is_searched_alike_with_few_keys_and_with_many() {
        for count in [1, INDEXED_FROM, INDEXED_FROM + 1, 10_000] {
            let text: String = (0..count).map(|key| format!("k{key}: {key}\n")).collect();
            let (documents, faults) = parse(&format!("{text}k0: again\n"));
            assert_eq!(faults.len(), 1, "{count}");
            let root = &documents[0].root;
            assert!((0..count).all(|key| root.get(&format!("k{key}")).unwrap().value.to_json() == key));
            assert!(root.get("k").is_none());
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let text = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
        let (_, faults) = parse(&text);
        assert!(faults[0].message.contains("deeper"), "{faults:?}");
    }

    proptest::proptest! {
        #[test]
        fn no_text_causes_a_panic(text in "[-a-z0-9:{}\\[\\],&*!|>'\"%#?@`~\n\t \r.]{0,200}") {
            parse(&text);
        }
    }
}
