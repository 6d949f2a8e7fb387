//! What stands on the box of each kind.

use std::collections::BTreeMap;

use api::v1alpha1 as v1;
use model::{
    Key, TrunkId,
    snapshot::{NumberRange, Trunk},
};

use super::super::{Group, Node, words};

/// Most skills that a box of agents names.
const SKILLS_MAX: usize = 4;

/// How boxes are written: names of the namespace at home stand alone, others with theirs.
pub(super) struct Cards<'a> {
    pub home: Option<&'a str>,
}

impl Cards<'_> {
    fn name(&self, key: &Key) -> String {
        if self.home == Some(key.namespace()) { key.name().to_owned() } else { key.to_string() }
    }

    pub fn carrier(&self, key: &Key, spec: &v1::CarrierSpec) -> Node {
        let resp_org = spec.resp_org_id.iter().map(|id| format!("RespOrg {id}"));
        let lines = [spec.company.clone()].into_iter().chain(resp_org);
        node("Carrier", &self.name(key), lines.collect(), Group::Carrier)
    }

    pub fn pop(&self, key: &Key, spec: &v1::PointOfPresenceSpec) -> Node {
        let gateways = spec.gateways.iter().map(|gateway| format!("{} {}", gateway.name, gateway.address));
        let lines = [spec.region.clone()].into_iter().chain(gateways);
        node("PointOfPresence", &self.name(key), words::first_lines(lines.collect()), Group::Carrier)
    }

    /// `declared` is the object, where it is at hand.
    pub fn inbound(&self, id: &TrunkId, trunk: &Trunk, declared: Option<&v1::TrunkSpec>, code: &str) -> Node {
        let how = declared.map(|spec| format!("{}, delivers {}", connection(spec), delivers(spec)));
        let sources = trunk.sources.iter().map(|source| format!("from {}", source.range));
        let at = format!("{code} · network {}", trunk.network);
        let lines = [at].into_iter().chain(how).chain(sources);
        node("Trunk", &self.name(&id.0), words::first_lines(lines.collect()), Group::Trunk)
    }

    pub fn outbound(&self, id: &TrunkId, trunk: &Trunk) -> Node {
        let peers = trunk.peers.iter();
        let lines = peers.map(|peer| format!("{}:{} {}", peer.host, peer.port, peer.transport)).collect();
        node("Trunk, outbound", &self.name(&id.0), words::first_lines(lines), Group::Trunk)
    }

    /// Numbers that come by one trunk and lead to one flow.
    pub fn numbers(&self, ranges: &[&NumberRange]) -> Node {
        if let [one] = ranges {
            return node("PhoneNumber", &range(one), vec![self.name(&one.id.0)], Group::Number);
        }
        let count: u64 = ranges.iter().map(|range| range.last.as_u64() - range.first.as_u64() + 1).sum();
        let objects = u64::try_from(ranges.len()).unwrap_or(u64::MAX);
        let title = if count == objects {
            format!("{count} numbers")
        } else {
            format!("{count} numbers in {objects} objects")
        };
        let lines = ranges.iter().map(|one| format!("{} {}", range(one), one.id.0.name())).collect();
        node("PhoneNumber", &title, words::first_lines(lines), Group::Number)
    }

    pub fn flow(&self, key: &Key, steps: usize) -> Node {
        let lines = vec![if steps == 1 { "1 step".into() } else { format!("{steps} steps") }];
        node("RoutingFlow", &self.name(key), lines, Group::Flow)
    }

    pub fn point(&self, key: &Key, spec: &v1::ContactPointSpec) -> Node {
        let chat = spec
            .chat
            .iter()
            .flat_map(|chat| chat.origins.iter().map(|origin| format!("chat on {}", host(origin))));
        let email = spec.email.iter().map(|email| format!("email to {}", email.address));
        let sms = spec.sms.iter().map(|sms| format!("SMS to {}", sms.number_ref.name));
        let social = spec.social.iter().map(|social| format!("{:?} {}", social.network, social.account));
        let lines = chat.chain(email).chain(sms).chain(social).collect();
        node("ContactPoint", &self.name(key), words::first_lines(lines), Group::Number)
    }

    pub fn campaign(&self, key: &Key, spec: &v1::CampaignSpec) -> Node {
        let lists: Vec<&str> = spec.list_refs.iter().map(|list| list.name.as_str()).collect();
        let caller = spec.caller_id.iter().map(|number| format!("shows {number}"));
        let lines = [format!("{:?}", spec.mode), format!("calls {}", lists.join(", "))];
        node("Campaign", &self.name(key), lines.into_iter().chain(caller).collect(), Group::Campaign)
    }

    pub fn queue(&self, key: &Key, spec: &v1::QueueSpec) -> Node {
        let channels: Vec<String> = spec.channels.iter().map(|channel| format!("{channel:?}")).collect();
        let skills = spec.skills.iter().map(|skill| {
            let last = skill.relax.iter().map(|relaxation| relaxation.minimum).min();
            let later = last.map(|least| format!(", later {least}")).unwrap_or_default();
            format!("{} from {}{later}", skill.name, skill.minimum)
        });
        let level = format!("{} % within {} s", spec.service_level.percent, spec.service_level.seconds);
        let lines = [channels.join(", ")].into_iter().chain(skills).chain([level]);
        node("Queue", &self.name(key), words::first_lines(lines.collect()), Group::Queue)
    }

    /// Agents who serve the same queues.
    pub fn agents(agents: &[&v1::AgentSpec], kind: &str) -> Node {
        let title = match agents {
            [one] => one.display_name.clone(),
            several => format!("{} agents", several.len()),
        };
        let mut lines: Vec<String> = wrapped(&skills(agents), 2, "");
        lines.extend(stations(agents));
        if agents.len() > 1 {
            let names: Vec<String> = agents.iter().map(|agent| agent.display_name.clone()).collect();
            lines.extend(wrapped(&names, words::LINES_MAX + 1 - lines.len(), "more"));
        }
        node(kind, &title, lines, Group::Agents)
    }

    pub fn voicemail(&self, key: &Key, spec: &v1::VoicemailBoxSpec) -> Node {
        let emails = spec.emails.iter().map(|email| format!("mailed to {email}"));
        let queue = spec.queue_ref.iter().map(|queue| format!("heard by queue {}", queue.name));
        let agents = spec.agent_refs.iter().map(|agent| format!("heard by {}", agent.name));
        let lines = emails.chain(queue).chain(agents).collect();
        node("VoicemailBox", &self.name(key), words::first_lines(lines), Group::Service)
    }

    pub fn integration(&self, key: &Key, spec: &v1::IntegrationSpec) -> Node {
        node("Integration", &self.name(key), vec![host(&spec.url).to_owned()], Group::Service)
    }
}

fn node(kind: &str, title: &str, lines: Vec<String>, group: Group) -> Node {
    let lines = lines.iter().map(|line| words::cut(line)).collect();
    Node { kind: kind.into(), title: words::cut(title), lines, group, column: 0 }
}

const fn connection(spec: &v1::TrunkSpec) -> &'static str {
    match spec.connection {
        v1::Connection::PhoneLine => "PhoneLine",
        v1::Connection::Internet => "Internet",
        v1::Connection::Dedicated => "Dedicated",
    }
}

const fn delivers(spec: &v1::TrunkSpec) -> &'static str {
    match spec.delivers {
        v1::Delivers::Pstn => "Pstn",
        v1::Delivers::Voip => "Voip",
    }
}

fn range(range: &NumberRange) -> String {
    if range.first == range.last {
        return range.first.to_string();
    }
    // Of the last number only the digits in which it differs.
    let (first, last) = (range.first.to_string(), range.last.to_string());
    let same = first.chars().zip(last.chars()).take_while(|(a, b)| a == b).count();
    format!("{first}–{}", last.chars().skip(same).collect::<String>())
}

/// The host of a URL or origin.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

/// Skills that all of them have, with their levels.
fn skills(agents: &[&v1::AgentSpec]) -> Vec<String> {
    let mut levels: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for skill in agents.iter().flat_map(|agent| &agent.skills) {
        levels.entry(&skill.name).or_default().push(skill.level);
    }
    let common = levels.into_iter().filter(|(_, levels)| levels.len() == agents.len());
    let told = common.filter_map(|(name, levels)| {
        let (least, most) = (levels.iter().min()?, levels.iter().max()?);
        Some(if least == most { format!("{name} {least}") } else { format!("{name} {least}–{most}") })
    });
    told.take(SKILLS_MAX).collect()
}

/// How many of them sit at what, by the station they are offered first.
fn stations(agents: &[&v1::AgentSpec]) -> Option<String> {
    let (mut browsers, mut phones, mut numbers) = (0_usize, 0_usize, 0_usize);
    for station in agents.iter().filter_map(|agent| agent.stations.first()) {
        let count = if station.web_rtc.is_some() {
            &mut browsers
        } else if station.sip.is_some() {
            &mut phones
        } else {
            &mut numbers
        };
        *count += 1;
    }
    let told = [(browsers, "browser"), (phones, "SIP"), (numbers, "PSTN")].into_iter();
    let told: Vec<String> =
        told.filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    (!told.is_empty()).then(|| told.join(" · "))
}

/// Words in lines, and how many more there are.
fn wrapped(all: &[String], lines_max: usize, more: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (place, word) in all.iter().enumerate() {
        let comma = if place + 1 < all.len() { "," } else { "" };
        let rest = format!(" and {} {more}", all.len() - place);
        let full = lines.len() == lines_max;
        // In the last line there must be room for how many more there are.
        let kept = if full && place + 1 < all.len() { rest.chars().count() } else { 0 };
        let fits = |line: &str| line.chars().count() + word.chars().count() + 2 + kept <= words::LINE_MAX;
        match lines.last_mut() {
            Some(line) if fits(line) => *line += &format!(" {word}{comma}"),
            Some(line) if full => {
                *line = format!("{}{}", line.trim_end_matches(','), rest.trim_end());
                return lines;
            }
            _ => lines.push(format!("{word}{comma}")),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_wrapped_and_those_without_room_are_counted() {
        let names = |count: usize| (0..count).map(|n| format!("Person {n:02}")).collect::<Vec<_>>();
        assert_eq!(wrapped(&names(2), 2, "more"), ["Person 00, Person 01"]);
        assert_eq!(wrapped(&names(4), 2, "more"), ["Person 00, Person 01, Person 02,", "Person 03"]);
        let many = wrapped(&names(40), 2, "more");
        assert_eq!(many, ["Person 00, Person 01, Person 02,", "Person 03, Person 04 and 35 more"]);
        assert!(many.iter().all(|line| line.chars().count() <= words::LINE_MAX));
    }

    #[test]
    fn of_the_last_number_of_a_range_only_what_differs_is_told() {
        let ranged = |first: &str, last: &str| NumberRange {
            first: first.parse().unwrap(),
            last: last.parse().unwrap(),
            id: model::NumberId::new("acme", "x"),
            flow: model::FlowId::new("acme", "main"),
            calls_max: None,
            forwarded_from: None,
            calls_per_second_max: None,
        };
        assert_eq!(range(&ranged("+12125550102", "+12125550105")), "+12125550102–5");
        assert_eq!(range(&ranged("+12125550102", "+12125550102")), "+12125550102");
    }
}
