//! What changes about calls before and beside their flow: who may call, how many at once, where they arrive and leave.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use call::world::{Flow, World};
use jiff::{Timestamp, tz::TimeZone};
use model::{
    TrunkId,
    media::Codec,
    program::{DialTarget, Verb},
    snapshot::{Peer, Serves, Source, Trunk},
};

use super::{Change, numbers::Entry};

/// What a live number itself says, and that its trunk or its cluster is another.
pub fn number(old: &World, new: &World, before: &Entry<'_>, after: &Entry<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    differ(&mut changes, "calls at once", bound(before.range.calls_max), bound(after.range.calls_max));
    if before.trunk != after.trunk {
        let trunk = |entry: &Entry<'_>| format!("Trunk/{}", entry.trunk);
        differ(&mut changes, "arrives by", trunk(before), trunk(after));
    }
    let (a, b) = (&old.snapshot.cluster, &new.snapshot.cluster);
    differ(&mut changes, "runs on VoiceCluster", a.code.clone(), b.code.clone());
    if a.code == b.code {
        let of = format!("of VoiceCluster {}", a.code);
        let (c, d) = (a.limits.calls_max.to_string(), b.limits.calls_max.to_string());
        differ(&mut changes, &format!("calls at once {of}"), c, d);
    }
    let seconds = |world: &World| format!("{} s", world.snapshot.cluster.limits.call_seconds_max);
    differ(&mut changes, "longest call", seconds(old), seconds(new));
    changes
}

/// A trunk by which calls come in: who may send them where, how many, in which codecs.
pub fn inbound(old: &World, new: &World, id: &TrunkId, at: Timestamp) -> Vec<Change> {
    let mut changes = Vec::new();
    let (Some(before), Some(after)) = (old.snapshot.trunks.get(id), new.snapshot.trunks.get(id)) else {
        return changes;
    };
    shared(&mut changes, id, before, after);
    let (a, b) = (listeners(old, before), listeners(new, after));
    let told = |there: bool| if there { "heard" } else { "not heard" };
    for address in a.union(&b) {
        let about = format!("at {address}, by Trunk/{id}");
        differ(&mut changes, &about, told(a.contains(address)), told(b.contains(address)));
    }
    sources(&mut changes, [(old, before), (new, after)], id, at);
    changes
}

/// Trunks by which both flows dial: where their calls leave to.
pub fn dialled(old: &World, new: &World, before: &Flow, after: &Flow) -> Vec<Change> {
    let mut changes = Vec::new();
    let (a, b) = (dials(before), dials(after));
    for id in a.intersection(&b) {
        let (Some(before), Some(after)) = (old.snapshot.trunks.get(*id), new.snapshot.trunks.get(*id)) else {
            continue;
        };
        shared(&mut changes, id, before, after);
        differ(
            &mut changes,
            &format!("dials out by Trunk/{id} to"),
            peers(&before.peers),
            peers(&after.peers),
        );
    }
    changes
}

fn shared(changes: &mut Vec<Change>, id: &TrunkId, old: &Trunk, new: &Trunk) {
    let about = format!("calls at once of Trunk/{id}");
    differ(changes, &about, bound(old.calls_max), bound(new.calls_max));
    differ(changes, &format!("codecs of Trunk/{id}"), codecs(&old.codecs), codecs(&new.codecs));
}

fn differ(changes: &mut Vec<Change>, about: &str, old: impl Into<String>, new: impl Into<String>) {
    let (old, new) = (old.into(), new.into());
    if old != new {
        changes.push(Change::of_all(about, old, new));
    }
}

fn bound(calls: Option<u32>) -> String {
    calls.map_or_else(|| "no bound".into(), |calls| calls.to_string())
}

fn codecs(codecs: &[Codec]) -> String {
    let names: Vec<_> = codecs.iter().map(|codec| codec.name()).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn peers(peers: &[Peer]) -> String {
    let peer = |peer: &Peer| {
        let host = if peer.host.contains(':') { format!("[{}]", peer.host) } else { peer.host.clone() };
        format!("{host}:{} {}", peer.port, peer.transport)
    };
    let peers: Vec<_> = peers.iter().map(peer).collect();
    if peers.is_empty() { "nowhere".into() } else { peers.join(", else ") }
}

/// Where a trunk's peers find us.
fn listeners(world: &World, trunk: &Trunk) -> BTreeSet<String> {
    let listeners = world.snapshot.cluster.listeners.iter();
    let listeners =
        listeners.filter(|listener| listener.serves == Serves::Trunks && listener.network == trunk.network);
    listeners.map(|listener| format!("{} {}", listener.advertised, listener.transport)).collect()
}

fn dials(flow: &Flow) -> BTreeSet<&TrunkId> {
    let mut trunks = BTreeSet::new();
    for step in super::closure(flow).into_iter().flat_map(|flow| &flow.program.steps) {
        let (Verb::Dial(dial) | Verb::Transfer { dial, .. }) = &step.verb else { continue };
        for target in &dial.targets {
            match target {
                DialTarget::Number { trunks: all, .. } => trunks.extend(all),
                DialTarget::Extension { trunk, .. } => drop(trunks.insert(trunk)),
                DialTarget::Agent(_) => {}
            }
        }
    }
    trunks
}

/// When a range is valid, in what is left of time: from, until.
type Window = (Option<Timestamp>, Option<Timestamp>);

/// Addresses of one family in a row.
type Addresses = (bool, u128, u128);

/// Who may send calls, address by address: ranges that are listed otherwise but hold the same are no change.
fn sources(changes: &mut Vec<Change>, sides: [(&World, &Trunk); 2], id: &TrunkId, at: Timestamp) {
    let lists = sides.map(|(_, trunk)| listed(&trunk.sources, at));
    if lists[0] == lists[1] {
        return;
    }
    let mut edges: BTreeSet<(bool, u128)> = BTreeSet::new();
    for (v6, first, last) in lists.iter().flat_map(BTreeMap::keys) {
        edges.insert((*v6, *first));
        edges.extend(last.checked_add(1).map(|next| (*v6, next)));
    }
    let mut told: Vec<(Addresses, String, String)> = Vec::new();
    for edge in &edges {
        let next = edges.range((std::ops::Bound::Excluded(*edge), std::ops::Bound::Unbounded)).next();
        let most = if edge.0 { u128::MAX } else { u128::from(u32::MAX) };
        let last = next.filter(|next| next.0 == edge.0).map_or(most, |next| next.1 - 1);
        let windows = lists.each_ref().map(|list| windows(list, *edge));
        if windows[0] == windows[1] {
            continue;
        }
        let address = address(edge.0, edge.1);
        let text = |side: usize| admission(&windows[side], sides[side], address, at);
        let (old, new) = (text(0), text(1));
        match told.last_mut() {
            Some((addresses, before, after))
                if addresses.0 == edge.0
                    && addresses.2.checked_add(1) == Some(edge.1)
                    && (&*before, &*after) == (&old, &new) =>
            {
                addresses.2 = last;
            }
            _ => told.push(((edge.0, edge.1, last), old, new)),
        }
    }
    for (addresses, old, new) in told {
        differ(changes, &format!("from {}, by Trunk/{id}", range(addresses)), old, new);
    }
}

/// Ranges with the times at which they are still valid.
fn listed(sources: &[Source], at: Timestamp) -> BTreeMap<Addresses, BTreeSet<Window>> {
    let mut listed: BTreeMap<Addresses, BTreeSet<Window>> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.valid_until.is_none_or(|until| at < until)) {
        let (first, last) = (source.range.network(), source.range.broadcast());
        let from = source.valid_from.filter(|from| at < *from);
        let range = (first.is_ipv6(), bits(first), bits(last));
        listed.entry(range).or_default().insert((from, source.valid_until));
    }
    listed
}

/// When an address is admitted: windows that touch become one.
fn windows(list: &BTreeMap<Addresses, BTreeSet<Window>>, (v6, address): (bool, u128)) -> Vec<Window> {
    let holds = |(family, first, last): &Addresses| *family == v6 && (*first..=*last).contains(&address);
    let all = list.iter().filter(|(range, _)| holds(range)).flat_map(|(_, windows)| windows);
    let sorted: BTreeSet<Window> = all.copied().collect();
    let mut joined: Vec<Window> = Vec::new();
    for (from, until) in sorted {
        let Some((_, end)) = joined.last_mut() else {
            joined.push((from, until));
            continue;
        };
        match (*end, from) {
            (Some(ends), Some(begins)) if ends < begins => joined.push((from, until)),
            (None, _) => {}
            (Some(ends), _) => *end = until.map(|until| until.max(ends)),
        }
    }
    joined
}

fn admission(windows: &[Window], (world, trunk): (&World, &Trunk), address: IpAddr, at: Timestamp) -> String {
    let window = |window: &Window| match window {
        (None, None) => "heard".into(),
        (Some(from), None) => format!("heard from {}", date(*from)),
        (None, Some(until)) => format!("heard until {}", date(*until)),
        (Some(from), Some(until)) => format!("heard from {} until {}", date(*from), date(*until)),
    };
    if !windows.is_empty() {
        return windows.iter().map(window).collect::<Vec<String>>().join(", ");
    }
    let others = world.snapshot.trunks.values().filter(|other| {
        other.network == trunk.network && other.direction.is_inbound() && !std::ptr::eq(*other, trunk)
    });
    let other = others.into_iter().any(|other| other.sources.iter().any(|source| source.admits(address, at)));
    // The same that the engine does: another trunk's call finds no number, a callee's is refused, a stranger's is not heard.
    if other {
        "refused with 404".into()
    } else if world.knows(&trunk.network, address, at) {
        "refused with 403".into()
    } else {
        "not heard".into()
    }
}

/// The date alone at midnight UTC.
fn date(at: Timestamp) -> String {
    let utc = at.to_zoned(TimeZone::UTC);
    if utc.time() == jiff::civil::Time::midnight() { utc.date().to_string() } else { at.to_string() }
}

const fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits() as u128,
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn address(v6: bool, bits: u128) -> IpAddr {
    if v6 { IpAddr::V6(bits.into()) } else { IpAddr::V4(u32::try_from(bits).unwrap_or(u32::MAX).into()) }
}

/// An address, a prefix, or the first and the last address.
fn range((v6, first, last): Addresses) -> String {
    let (from, to) = (address(v6, first), address(v6, last));
    if first == last {
        return from.to_string();
    }
    let width: u32 = if v6 { 128 } else { 32 };
    let free = (last - first).checked_add(1).map_or(128, u128::trailing_zeros);
    let whole = free >= 128 || ((last - first) + 1 == 1 << free && first.is_multiple_of(1 << free));
    if whole { format!("{from}/{}", width.saturating_sub(free)) } else { format!("{from}–{to}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::AllowlistId;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn source(range: &str, from: Option<&str>, until: Option<&str>) -> Source {
        Source {
            range: range.parse().unwrap(),
            valid_from: from.map(at),
            valid_until: until.map(at),
            allowlist: AllowlistId::new("platform", "carrier"),
            of_pop: false,
        }
    }

    #[test]
    fn addresses_are_told_as_people_write_them() {
        let of = |first: &str, last: &str| {
            let (first, last): (IpAddr, IpAddr) = (first.parse().unwrap(), last.parse().unwrap());
            range((first.is_ipv6(), bits(first), bits(last)))
        };
        assert_eq!(of("192.0.2.7", "192.0.2.7"), "192.0.2.7");
        assert_eq!(of("192.0.2.0", "192.0.2.255"), "192.0.2.0/24");
        assert_eq!(of("0.0.0.0", "255.255.255.255"), "0.0.0.0/0");
        assert_eq!(of("192.0.2.1", "192.0.2.2"), "192.0.2.1–192.0.2.2");
        assert_eq!(of("2001:db8::", "2001:db8::ffff"), "2001:db8::/112");
        assert_eq!(of("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), "::/0");
    }

    #[test]
    fn windows_are_what_is_left_of_time_and_touching_ones_are_one() {
        let now = at("2026-06-01T00:00:00Z");
        let list = listed(
            &[
                source("192.0.2.0/24", None, Some("2026-01-01T00:00:00Z")),
                source("192.0.2.0/25", Some("2026-02-01T00:00:00Z"), Some("2026-07-01T00:00:00Z")),
                source("192.0.2.0/26", Some("2026-07-01T00:00:00Z"), Some("2026-08-01T00:00:00Z")),
                source("192.0.2.0/26", Some("2026-09-01T00:00:00Z"), None),
            ],
            now,
        );
        let of = |address: &str| windows(&list, (false, bits(address.parse().unwrap())));
        assert_eq!(
            of("192.0.2.1"),
            [(None, Some(at("2026-08-01T00:00:00Z"))), (Some(at("2026-09-01T00:00:00Z")), None)]
        );
        assert_eq!(of("192.0.2.100"), [(None, Some(at("2026-07-01T00:00:00Z")))]);
        assert_eq!(of("192.0.2.200"), []);
    }
}
