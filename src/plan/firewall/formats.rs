//! Rules as people, spreadsheets and firewalls read them. Equal rules give equal bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
};

use ipnet::IpNet;
use jiff::Timestamp;

use super::{Address, Any, Direction, Ports, Protocol, Purpose, Rule};

/// How rules are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A table for people.
    Text,
    /// Comma-separated values (RFC 4180) with a header.
    Csv,
    /// A list of objects.
    Json,
    /// A ruleset for `nft -f`.
    Nftables,
    /// A local value that any provider's resources can go through with `for_each`.
    Terraform,
}

const COLUMNS: [&str; 11] = [
    "direction",
    "purpose",
    "protocol",
    "source",
    "sourcePorts",
    "destination",
    "destinationPorts",
    "network",
    "trunk",
    "validFrom",
    "validUntil",
];

impl Format {
    /// The rules of the cluster of that code, with a line break at the end.
    #[must_use]
    pub fn write(self, cluster: &str, rules: &[Rule]) -> String {
        match self {
            Self::Text => text(cluster, rules),
            Self::Csv => csv(rules),
            Self::Json => json(rules),
            Self::Nftables => nftables(cluster, rules),
            Self::Terraform => terraform(cluster, rules),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(range) => write!(f, "{range}"),
            Self::Host(host) => f.write_str(host),
            Self::Any(Any::Any) => f.write_str("any"),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl Direction {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
        }
    }
}

impl Protocol {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Signalling => "SIP signalling",
            Self::AgentSignalling => "SIP signalling of agents' phones",
            Self::AgentPage => "agents' page and softphone signalling (HTTPS, WebSocket)",
            Self::Media => "audio (RTP, RTCP)",
            Self::Softphone => "softphone audio (WebRTC)",
            Self::Requests => "requests of flows (HTTPS)",
        }
    }
}

/// The cells of a rule, in the order of [`COLUMNS`].
fn cells(rule: &Rule) -> [String; 11] {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    [
        rule.direction.as_str().into(),
        rule.purpose.as_str().into(),
        rule.protocol.as_str().into(),
        rule.source.to_string(),
        rule.source_ports.map_or_else(|| "any".into(), |ports| ports.to_string()),
        rule.destination.to_string(),
        rule.destination_ports.to_string(),
        rule.network.clone(),
        rule.trunk.as_ref().map(ToString::to_string).unwrap_or_default(),
        time(rule.valid_from),
        time(rule.valid_until),
    ]
}

fn text(cluster: &str, rules: &[Rule]) -> String {
    let mut text = format!(
        "What a customer's firewall must let through for {cluster}. `out` leaves the customer for {cluster}, `in` comes from it.\n\n"
    );
    let header = COLUMNS.map(str::to_owned);
    let rows: Vec<[String; 11]> = [header].into_iter().chain(rules.iter().map(cells)).collect();
    let widths: Vec<usize> = (0..COLUMNS.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    for row in rows {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text += padded.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

fn csv(rules: &[Rule]) -> String {
    let quoted = |cell: &String| {
        if cell.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell.clone()
        }
    };
    let mut text = format!("{}\r\n", COLUMNS.join(","));
    for rule in rules {
        text += &cells(rule).iter().map(quoted).collect::<Vec<_>>().join(",");
        text += "\r\n";
    }
    text
}

fn json(rules: &[Rule]) -> String {
    // Rules hold nothing that JSON cannot: no map with keys that are no text, no number that is none.
    let mut text = serde_json::to_string_pretty(rules).unwrap_or_default();
    text.push('\n');
    text
}

/// One table with a chain for each direction. Names are resolved by nobody here: each is a set that is to be filled.
fn nftables(cluster: &str, rules: &[Rule]) -> String {
    let hosts: BTreeSet<&str> = rules
        .iter()
        .flat_map(|rule| [&rule.source, &rule.destination])
        .filter_map(|address| if let Address::Host(host) = address { Some(host.as_str()) } else { None })
        .collect();
    let names: BTreeMap<&str, String> =
        hosts.iter().enumerate().map(|(place, host)| (*host, format!("host_{}", place + 1))).collect();
    let mut text = format!(
        "#!/usr/sbin/nft -f\n# What a customer's firewall must let through for {cluster}. Jump to these chains from your own.\n"
    );
    let _ = writeln!(text, "table inet switchboard_{} {{", cluster.to_lowercase());
    for (host, name) in &names {
        let _ = writeln!(text, "  # Fill in the addresses of {host}.");
        let _ = writeln!(text, "  set {name} {{ type ipv4_addr; flags interval; comment \"{host}\"; }}");
    }
    for (direction, chain) in [(Direction::Out, "to_cluster"), (Direction::In, "from_cluster")] {
        let _ = writeln!(text, "  chain {chain} {{");
        for rule in rules.iter().filter(|rule| rule.direction == direction) {
            let _ = writeln!(text, "    {}", nft_rule(rule, &names));
        }
        text += "  }\n";
    }
    text + "}\n"
}

fn nft_rule(rule: &Rule, names: &BTreeMap<&str, String>) -> String {
    let protocol = rule.protocol.as_str();
    let mut parts = Vec::new();
    parts.extend(nft_address(&rule.source, "saddr", names));
    parts.extend(nft_address(&rule.destination, "daddr", names));
    parts.extend(rule.source_ports.map(|ports| format!("{protocol} sport {ports}")));
    parts.push(format!("{protocol} dport {}", rule.destination_ports));
    // Whole seconds since 1970: a date would be read in the firewall's own time zone.
    parts.extend(rule.valid_from.map(|time| format!("meta time >= {}", time.as_second())));
    parts.extend(rule.valid_until.map(|time| format!("meta time < {}", time.as_second())));
    let whose = rule.trunk.as_ref().map(|trunk| format!(", Trunk {trunk}")).unwrap_or_default();
    // A comment of nft has at most 128 bytes.
    let comment: String = format!("{}{whose}", rule.purpose.as_str()).chars().take(120).collect();
    format!("{} accept comment \"{comment}\"", parts.join(" "))
}

fn nft_address(address: &Address, field: &str, names: &BTreeMap<&str, String>) -> Option<String> {
    match address {
        Address::Any(Any::Any) => None,
        Address::Range(range) => {
            let version = if matches!(range, IpNet::V4(_)) { "ip" } else { "ip6" };
            Some(format!("{version} {field} {range}"))
        }
        Address::Host(host) => names.get(host.as_str()).map(|name| format!("ip {field} @{name}")),
    }
}

fn terraform(cluster: &str, rules: &[Rule]) -> String {
    let mut text = format!(
        "# What a customer's firewall must let through for {cluster}. Each firewall's provider has resources of its own: go through\n\
         # the list with for_each. `out` leaves the customer for {cluster}, `in` comes from it.\n\
         locals {{\n  switchboard_{} = [\n",
        cluster.to_lowercase()
    );
    for rule in rules {
        let fields = COLUMNS.iter().zip(cells(rule));
        let fields = fields.map(|(name, cell)| format!("{} = {}", snake(name), literal(&cell)));
        let _ = writeln!(text, "    {{ {} }},", fields.collect::<Vec<_>>().join(", "));
    }
    text + "  ]\n}\n"
}

fn snake(name: &str) -> String {
    let letters = name.chars().map(|letter| {
        if letter.is_ascii_uppercase() {
            format!("_{}", letter.to_ascii_lowercase())
        } else {
            letter.to_string()
        }
    });
    letters.collect()
}

/// A string of HCL; an absent value is null. `${` and `%{` would begin a template.
fn literal(cell: &str) -> String {
    if cell.is_empty() {
        return "null".into();
    }
    let escaped = cell.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "$${").replace("%{", "%%{");
    format!("\"{escaped}\"")
}
