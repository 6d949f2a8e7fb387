//! Caps of trunks, numbers and the edge, and the codes that they are refused with.

use model::{TrunkId, snapshot::Snapshot};

use crate::{
    twin::Virtual,
    world::{dial, flow, hangup, play, snapshot},
};

type Spoil = fn(&mut Snapshot);

fn capped(spoil: Spoil) -> Virtual {
    let mut snapshot = snapshot();
    let steps = vec![play("hello", "h", 1), dial("ring", [2, 2, 2, 2]), hangup("bye", "b")];
    snapshot.flows = [flow("main", steps, Vec::new())].into();
    spoil(&mut snapshot);
    Virtual::with(snapshot)
}

fn carrier(snapshot: &mut Snapshot) -> &mut model::snapshot::Trunk {
    snapshot.trunks.get_mut(&TrunkId::new("platform", "carrier")).unwrap()
}

fn tenant(snapshot: &mut Snapshot) -> &mut model::snapshot::TenantLimits {
    snapshot.cluster.tenants.entry("acme".into()).or_default()
}

/// How the second call is refused: code, what its Reason is, whether the peer is told when to come again.
#[test]
fn each_cap_is_refused_so_that_nobody_else_is_stopped() {
    let rows: [(&str, Spoil, u16, &str, bool); 7] = [
        (
            "PhoneNumber acme/main's limits.calls of 1",
            |s| {
                s.numbers.values_mut().flatten().for_each(|range| range.calls_max = Some(1));
            },
            480,
            "Q.850;cause=42",
            false,
        ),
        (
            "PhoneNumber acme/main's limits.callsPerSecond of 1",
            |s| {
                s.numbers.values_mut().flatten().for_each(|range| range.calls_per_second_max = Some(1));
            },
            480,
            "Q.850;cause=42",
            false,
        ),
        (
            "limits.calls of 1 of namespace acme's Tenant",
            |s| tenant(s).calls_max = Some(1),
            480,
            "Q.850;cause=42",
            false,
        ),
        (
            "limits.callsPerSecond of 1 of namespace acme's Tenant",
            |s| tenant(s).calls_per_second_max = Some(1),
            480,
            "Q.850;cause=42",
            false,
        ),
        (
            "Trunk platform/carrier's limits.calls of 1",
            |s| carrier(s).calls_max = Some(1),
            503,
            "Q.850;cause=42",
            false,
        ),
        (
            "Trunk platform/carrier's limits.callsPerSecond of 1",
            |s| {
                carrier(s).calls_per_second_max = Some(1);
            },
            503,
            "Q.850;cause=42",
            false,
        ),
        ("limits.calls of 1 is reached", |s| s.cluster.limits.calls_max = 1, 503, "", true),
    ];
    for (because, spoil, code, reason, comes_again) in rows {
        let mut world = capped(spoil);
        world.call("+18005550100");
        world.call("+18005550100");
        assert_eq!(world.heard(), format!("200 {code}"), "{because}");
        let told = world.explanations[1].to_string();
        assert!(told.contains(because), "{told}");
        let refused = world.carrier.last.as_ref().unwrap();
        assert_eq!(refused.contains("Retry-After: "), comes_again, "{refused}");
        assert!(reason.is_empty() || refused.contains(&format!("Reason: {reason}")), "{refused}");
    }
}

#[test]
fn a_trunk_takes_as_many_calls_a_second_as_it_says() {
    let mut world = capped(|s| carrier(s).calls_per_second_max = Some(2));
    for _ in 0..3 {
        world.call("+18005550100");
    }
    assert_eq!(world.heard(), "200 200 503");
    world.pass(1);
    world.call("+18005550100");
    assert_eq!(world.carrier.heard[3], "200");
}

#[test]
fn calls_that_leave_count_against_their_trunk_too() {
    for (spoil, because) in [
        (
            (|s| pbx(s).calls_per_second_max = Some(1)) as Spoil,
            "Trunk acme/pbx's limits.callsPerSecond of 1 is reached",
        ),
        (|s| pbx(s).calls_max = Some(1), "Trunk acme/pbx's limits.calls of 1 is reached"),
    ] {
        let mut world = capped(spoil);
        world.call("+18005550100");
        world.call("+18005550100");
        world.pass(2);
        assert_eq!(world.pbx.heard, ["INVITE"], "{because}");
        assert_eq!(world.told, [because]);
    }
}

fn pbx(snapshot: &mut Snapshot) -> &mut model::snapshot::Trunk {
    snapshot.trunks.get_mut(&TrunkId::new("acme", "pbx")).unwrap()
}

#[test]
fn a_tenant_takes_calls_again_once_some_are_over_or_a_second_has_passed() {
    let mut world = capped(|s| tenant(s).calls_per_second_max = Some(2));
    for _ in 0..3 {
        world.call("+18005550100");
    }
    assert_eq!(world.heard(), "200 200 480");
    world.pass(1);
    world.call("+18005550100");
    assert_eq!(world.carrier.heard[3], "200");
}

/// The bound is that of all numbers together, and another tenant's calls do not count.
#[test]
fn a_tenants_bound_is_of_all_its_numbers_together() {
    let mut world = capped(|s| {
        tenant(s).calls_max = Some(2);
        let trunk = TrunkId::new("platform", "carrier");
        let ranges = s.numbers.get_mut(&trunk).unwrap();
        let mut second = ranges[0].clone();
        (second.first, second.last) = ("+18005550101".parse().unwrap(), "+18005550101".parse().unwrap());
        second.id = model::NumberId::new("acme", "second");
        let mut other = second.clone();
        (other.first, other.last) = ("+18005550102".parse().unwrap(), "+18005550102".parse().unwrap());
        other.id = model::NumberId::new("globex", "main");
        ranges.extend([second, other]);
    });
    for number in ["+18005550102", "+18005550100", "+18005550101", "+18005550101", "+18005550102"] {
        world.call(number);
    }
    assert_eq!(world.heard(), "200 200 200 480 200");
}
