//! A carrier's published address ranges as an Allowlist.
//!
//! CSV (RFC 4180) has the columns `cidr[,validFrom,validUntil,comment]`, in that order or as a header says. JSON is a list
//! of such objects, or of plain ranges. A bare address is a range of one. All that is wrong is told in one go.

use std::{collections::BTreeMap, fmt};

use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::Value;

use crate::yaml::{self, Node, NodeKind};

/// Most ranges of an Allowlist.
const RANGES_MAX: usize = 256;

/// Most characters of a comment.
const COMMENT_MAX: usize = 256;

/// Characters of a wrong value that are told.
const VALUE_MAX: usize = 80;

const COLUMNS: [&str; 4] = ["cidr", "validFrom", "validUntil", "comment"];

/// What a carrier publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Comma-separated values.
    Csv,
    /// A list of objects or texts.
    Json,
}

/// Something that is wrong: line, field, value and remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportError {
    /// From 1 up.
    pub line: u32,
    /// Such as `cidr`; empty for the line itself.
    pub field: String,
    /// What stands there.
    pub value: String,
    /// A sentence.
    pub remedy: String,
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match (self.field.is_empty(), self.value.is_empty()) {
            (true, true) => {}
            (true, false) => write!(f, "`{}`: ", self.value)?,
            (false, _) => write!(f, "{} `{}`: ", self.field, self.value)?,
        }
        f.write_str(&self.remedy)
    }
}

/// A row as it stands there: texts by field.
struct Row {
    line: u32,
    cells: BTreeMap<String, String>,
}

/// A range that is right.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    cidr: IpNet,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    comment: Option<String>,
    line: u32,
}

/// The manifest of an Allowlist of these ranges, sorted.
///
/// # Errors
/// Everything that is wrong, by line.
pub fn import(
    text: &str,
    published: Published,
    name: &str,
    namespace: Option<&str>,
) -> Result<String, Vec<ImportError>> {
    let mut errors = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let rows = match published {
        Published::Csv => csv_rows(text, &mut errors),
        Published::Json => json_rows(text, &mut errors),
    };
    let mut ranges: Vec<Range> = rows.iter().filter_map(|row| range(row, &mut errors)).collect();
    ranges.sort();
    for pair in ranges.windows(2).filter(|pair| pair[0].cidr == pair[1].cidr) {
        let remedy = format!("it stands on line {} already; keep one of them.", pair[0].line);
        errors.push(error(pair[1].line, "cidr", &pair[1].cidr.to_string(), remedy));
    }
    if ranges.len() > RANGES_MAX {
        let remedy = format!(
            "an Allowlist may have at most {RANGES_MAX} ranges; join neighbours, or import two files."
        );
        errors.push(error(1, "", &format!("{} ranges", ranges.len()), remedy));
    }
    if ranges.is_empty() && errors.is_empty() {
        errors.push(error(1, "", "", "there is no range; an Allowlist without ranges admits nobody.".into()));
    }
    errors.sort_by_key(|error| error.line);
    if errors.is_empty() { Ok(manifest(&ranges, name, namespace)) } else { Err(errors) }
}

fn error(line: u32, field: &str, value: &str, remedy: String) -> ImportError {
    let value: String = value.trim().chars().filter(|letter| !letter.is_control()).take(VALUE_MAX).collect();
    ImportError { line, field: field.into(), value, remedy }
}

fn csv_rows(text: &str, errors: &mut Vec<ImportError>) -> Vec<Row> {
    let mut names: Vec<String> = COLUMNS.map(str::to_owned).to_vec();
    let mut rows = Vec::new();
    let mut first = true;
    for (line, record) in records(text, errors) {
        let header =
            std::mem::take(&mut first) && record.iter().any(|cell| cell.trim().eq_ignore_ascii_case("cidr"));
        if header {
            names = record.iter().filter_map(|cell| column(line, cell.trim(), errors)).collect();
            continue;
        }
        if record.len() > names.len() {
            let remedy = format!(
                "a line has at most {} fields: {}; quote a comment that has commas.",
                names.len(),
                names.join(", ")
            );
            errors.push(error(line, "", &record.join(","), remedy));
            continue;
        }
        let cells = names.iter().cloned().zip(record.iter().map(|cell| cell.trim().to_owned()));
        rows.push(Row { line, cells: cells.collect() });
    }
    rows
}

fn column(line: u32, name: &str, errors: &mut Vec<ImportError>) -> Option<String> {
    let known = COLUMNS.iter().find(|known| known.eq_ignore_ascii_case(name));
    if known.is_none() {
        errors.push(error(line, "column", name, format!("the columns are {}.", COLUMNS.join(", "))));
    }
    known.map(|known| (*known).to_owned())
}

/// Records of RFC 4180, each with the line on which it begins. Empty lines and those that begin with `#` are passed over.
fn records(text: &str, errors: &mut Vec<ImportError>) -> Vec<(u32, Vec<String>)> {
    let mut records = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while !rest.is_empty() {
        let (cells, after, lines, closed) = record(rest);
        if !closed {
            errors.push(error(
                line,
                "",
                &cells.join(","),
                "a quotation mark is never closed: close it, or double it.".into(),
            ));
        } else if !(cells.iter().all(|cell| cell.trim().is_empty()) || cells[0].starts_with('#')) {
            records.push((line, cells));
        }
        line += lines;
        rest = after;
    }
    records
}

/// The first record, what follows it, how many lines it has, and whether its quotation marks are closed.
fn record(text: &str) -> (Vec<String>, &str, u32, bool) {
    let mut cells = vec![String::new()];
    let (mut quoted, mut lines) = (false, 1);
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let Some(cell) = cells.last_mut() else { break };
        match character {
            '"' if quoted && characters.peek().is_some_and(|(_, next)| *next == '"') => {
                characters.next();
                cell.push('"');
            }
            '"' if quoted || cell.trim().is_empty() => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            '\n' if !quoted => return (cells, &text[at + 1..], lines, true),
            '\r' if !quoted => {}
            _ => {
                lines += u32::from(character == '\n');
                cell.push(character);
            }
        }
    }
    (cells, "", lines, !quoted)
}

/// JSON is YAML, and our reader of YAML knows lines.
fn json_rows(text: &str, errors: &mut Vec<ImportError>) -> Vec<Row> {
    if let Err(wrong) = serde_json::from_str::<Value>(text) {
        let line = u32::try_from(wrong.line()).unwrap_or(u32::MAX);
        errors.push(error(line.max(1), "", "", format!("this is not JSON: {wrong}.")));
        return Vec::new();
    }
    let (documents, faults) = yaml::parse(text);
    errors.extend(faults.into_iter().map(|fault| error(fault.at.line, "", "", fault.message)));
    let Some(NodeKind::Sequence(items)) = documents.into_iter().next().map(|document| document.root.kind)
    else {
        errors.push(error(
            1,
            "",
            "",
            "the file must be a list, such as [{\"cidr\": \"192.0.2.0/24\"}].".into(),
        ));
        return Vec::new();
    };
    items.iter().filter_map(|item| json_row(item, errors)).collect()
}

fn json_row(item: &Node, errors: &mut Vec<ImportError>) -> Option<Row> {
    let line = item.at.line;
    match &item.kind {
        NodeKind::Scalar { text, plain: false } => {
            Some(Row { line, cells: BTreeMap::from([("cidr".to_owned(), text.clone())]) })
        }
        NodeKind::Mapping(entries) => {
            let mut cells = BTreeMap::new();
            let before = errors.len();
            for entry in entries.iter() {
                let name = column(entry.key_at.line, &entry.key, errors)?;
                match &entry.value.kind {
                    NodeKind::Scalar { text, plain: false } => drop(cells.insert(name, text.clone())),
                    NodeKind::Scalar { text, plain: true } if text == "null" => {}
                    NodeKind::Scalar { text, .. } => {
                        errors.push(error(
                            entry.value.at.line,
                            &name,
                            text,
                            "it must be a text in quotes.".into(),
                        ));
                    }
                    NodeKind::Sequence(_) | NodeKind::Mapping(_) => {
                        errors.push(error(
                            entry.value.at.line,
                            &name,
                            "",
                            "it must be a text in quotes.".into(),
                        ));
                    }
                }
            }
            (errors.len() == before).then_some(Row { line, cells })
        }
        NodeKind::Scalar { text, plain: true } => {
            errors.push(error(line, "cidr", text, "it must be a text such as \"192.0.2.0/24\".".into()));
            None
        }
        NodeKind::Sequence(_) => {
            errors.push(error(line, "", "", "an entry must be a text or an object with `cidr`.".into()));
            None
        }
    }
}

fn range(row: &Row, errors: &mut Vec<ImportError>) -> Option<Range> {
    let before = errors.len();
    let cell = |name: &str| row.cells.get(name).map(String::as_str).filter(|text| !text.is_empty());
    let cidr = cidr(row.line, cell("cidr").unwrap_or_default(), errors);
    let (from, until) = (cell("validFrom"), cell("validUntil"));
    let from = from.and_then(|text| time(row.line, "validFrom", text, errors));
    let until = until.and_then(|text| time(row.line, "validUntil", text, errors));
    if let (Some(from), Some(until)) = (from, until)
        && until <= from
    {
        errors.push(error(
            row.line,
            "validUntil",
            &until.to_string(),
            format!("it must come after validFrom, {from}."),
        ));
    }
    let comment = cell("comment");
    if let Some(comment) = comment.filter(|comment| comment.chars().count() > COMMENT_MAX) {
        errors.push(error(
            row.line,
            "comment",
            comment,
            format!("it may have at most {COMMENT_MAX} characters."),
        ));
    }
    let cidr = cidr.filter(|_| errors.len() == before)?;
    Some(Range { cidr, from, until, comment: comment.map(str::to_owned), line: row.line })
}

fn cidr(line: u32, text: &str, errors: &mut Vec<ImportError>) -> Option<IpNet> {
    let single = text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
    let Some(range) = single.or_else(|| text.parse().ok()) else {
        let remedy =
            "it must be an address and the length of its prefix, such as 192.0.2.0/24 or 2001:db8::/32.";
        errors.push(error(line, "cidr", text, remedy.into()));
        return None;
    };
    if range.prefix_len() == 0 {
        let remedy = "every address is nobody's range; whoever means it writes the Allowlist by hand, with `any: true`.";
        errors.push(error(line, "cidr", text, remedy.into()));
        return None;
    }
    if range != range.trunc() {
        let (whole, most) = (range.trunc(), range.max_prefix_len());
        let remedy = format!(
            "it has bits beyond its prefix; write {whole} for the range or {}/{most} for the one address.",
            range.addr()
        );
        errors.push(error(line, "cidr", text, remedy));
        return None;
    }
    Some(range)
}

/// A time, or a day, which begins at midnight UTC.
fn time(line: u32, field: &str, text: &str, errors: &mut Vec<ImportError>) -> Option<Timestamp> {
    let day = || text.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    let time = text.parse::<Timestamp>().ok().or_else(|| day().map(|day| day.timestamp()));
    if time.is_none() {
        let remedy = "it must be a time such as 2026-01-01T00:00:00Z, or a day such as 2026-01-01, which begins at 00:00 UTC.";
        errors.push(error(line, field, text, remedy.into()));
    }
    time
}

fn manifest(ranges: &[Range], name: &str, namespace: Option<&str>) -> String {
    let place = namespace.map(|namespace| format!(", namespace: {namespace}")).unwrap_or_default();
    let mut text = format!(
        "apiVersion: {}\nkind: Allowlist\nmetadata: {{name: {name}{place}}}\nspec:\n  ranges:\n",
        api::API_VERSION
    );
    for range in ranges {
        text += &format!("  - cidr: {}\n", quoted(&range.cidr.to_string()));
        let dates = [("validFrom", range.from), ("validUntil", range.until)];
        for (field, time) in dates.into_iter().filter_map(|(field, time)| Some((field, time?))) {
            text += &format!("    {field}: {}\n", quoted(&time.to_string()));
        }
        if let Some(comment) = &range.comment {
            text += &format!("    comment: {}\n", quoted(comment));
        }
    }
    text
}

/// A string of YAML in double quotes, which JSON's are.
fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}
