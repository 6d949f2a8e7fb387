//! Two field managers on one object: lists of named things merge, lists whose order has a meaning go as a whole.

use serde_json::{Value, json};

use super::control_plane::{Outcome, control_plane};

const ALICE: &str = "alice";
const BOB: &str = "bob";

fn manifest(kind: &str, name: &str, spec: &Value) -> String {
    json!({"apiVersion": api::API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec})
        .to_string()
}

fn apply(namespace: &str, manager: &str, manifest: &str, force: bool) -> Outcome {
    let manager = format!("--field-manager={manager}");
    let force = format!("--force-conflicts={force}");
    let arguments =
        ["apply", "--server-side", "-n", namespace, &manager, &force, "--warnings-as-errors", "-f", "-"];
    control_plane().kubectl_with(&arguments, manifest)
}

/// What both managers must agree on, then what Alice and Bob each have in a list.
struct Shared {
    kind: &'static str,
    name: &'static str,
    base: Value,
    list: &'static str,
    alice: Value,
    bob: Value,
}

impl Shared {
    fn new(kind: &'static str, base: Value, list: &'static str, alice: Value, bob: Value) -> Self {
        let name = if kind == "VoiceCluster" { "c14" } else { "shared" };
        Self { kind, name, base, list, alice, bob }
    }

    fn with(&self, entries: &[&Value]) -> String {
        let mut spec = self.base.clone();
        spec[self.list] = json!(entries);
        manifest(self.kind, self.name, &spec)
    }

    /// The entries that the server has, without what it filled in.
    fn entries(&self, namespace: &str) -> Vec<Value> {
        let stored = control_plane().object(namespace, self.kind, self.name);
        let entries = stored["spec"][self.list].as_array().cloned().unwrap_or_default();
        let bare = |entry: Value| {
            let ours = [&self.alice, &self.bob].into_iter().find(|ours| contains(&entry, ours));
            ours.cloned().unwrap_or(entry)
        };
        entries.into_iter().map(bare).collect()
    }
}

/// Whether all of `part` is in `whole`.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(name, value)| whole.get(name).is_some_and(|found| contains(found, value)))
        }
        (whole, part) => whole == part,
    }
}

fn cluster() -> Value {
    json!({
        "code": "C14",
        "networks": [{"name": "lan", "bindAddress": "192.0.2.1"}],
        "listeners": [{"name": "base", "transport": "UDP", "port": 5062, "network": "lan"}],
        "media": {"ports": {"first": 20000, "last": 20999}},
    })
}

fn trunk() -> Value {
    json!({
        "clusterRef": {"name": "c14"}, "network": "lan", "connection": "PhoneLine", "delivers": "Pstn",
        "direction": "Inbound",
    })
}

/// Each manager adds an entry; then each takes its own away, and the other's stays.
fn merge(namespace: &str, rows: &[Shared]) {
    control_plane().namespaces([namespace]);
    for row in rows {
        let (kind, list) = (row.kind, row.list);
        apply(namespace, ALICE, &row.with(&[&row.alice]), false).done();
        apply(namespace, BOB, &row.with(&[&row.bob]), false).done();
        let both = row.entries(namespace);
        assert!(
            both.len() == 2 && both.contains(&row.alice) && both.contains(&row.bob),
            "{kind} {list}: {both:?}"
        );
        apply(namespace, ALICE, &row.with(&[]), false).done();
        assert_eq!(row.entries(namespace), std::slice::from_ref(&row.bob), "{kind} {list}");
        control_plane().kubectl(&["delete", "-n", namespace, kind, row.name]).done();
    }
}

#[test]
fn lists_of_named_things_merge_by_their_key() {
    let range = |number: &str| json!([{"first": number, "last": number}]);
    let mut listeners = cluster();
    listeners["listeners"] = Value::Null;
    merge(
        "merge-by-key",
        &[
            Shared::new(
                "VoiceCluster",
                listeners,
                "listeners",
                json!({"name": "udp", "transport": "UDP", "port": 5060, "network": "lan"}),
                json!({"name": "tcp", "transport": "TCP", "port": 5060, "network": "lan"}),
            ),
            Shared::new(
                "Allowlist",
                json!({}),
                "ranges",
                json!({"cidr": "192.0.2.0/24", "comment": "Chicago"}),
                json!({"cidr": "2001:db8::/32"}),
            ),
            Shared::new(
                "Trunk",
                trunk(),
                "grants",
                json!({"namespace": "acme", "ranges": range("+12125550100")}),
                json!({"namespace": "umbrella", "ranges": range("+12125550200")}),
            ),
            Shared::new(
                "Trunk",
                trunk(),
                "peers",
                json!({"name": "a", "address": "192.0.2.7"}),
                json!({"name": "b", "address": "192.0.2.8", "weight": 10}),
            ),
            Shared::new(
                "Agent",
                json!({"displayName": "Ada Lopez"}),
                "skills",
                json!({"name": "billing", "level": 7}),
                json!({"name": "sales", "level": 3}),
            ),
            Shared::new(
                "Agent",
                json!({"displayName": "Ada Lopez"}),
                "stations",
                json!({"name": "desk", "webRtc": {}}),
                json!({"name": "home", "pstn": {"number": "+12125550199"}}),
            ),
        ],
    );
}

#[test]
fn sets_merge_by_their_values() {
    merge(
        "merge-sets",
        &[
            Shared::new(
                "Allowlist",
                json!({}),
                "domains",
                json!("sip.example.net"),
                json!("media.example.net"),
            ),
            Shared::new("VoiceCluster", cluster(), "egressAddresses", json!("192.0.2.1"), json!("192.0.2.2")),
            Shared::new("Trunk", trunk(), "failoverCodes", json!(503), json!(500)),
            Shared::new(
                "VoicemailBox",
                json!({"queueRef": {"name": "sales"}}),
                "emails",
                json!("a@example.com"),
                json!("b@example.com"),
            ),
        ],
    );
}

#[test]
fn lists_whose_order_has_a_meaning_belong_to_one_manager_as_a_whole() {
    let plane = control_plane();
    plane.namespaces(["atomic"]);
    let menu = |digits: &str, number: &str| {
        json!([
            {"name": "menu", "ask": {"choices": [{"digits": digits, "next": "ring"}]}},
            {"name": "ring", "dial": {"to": [{"number": number}]}},
        ])
    };
    let flow = |digits, number| ("RoutingFlow", "steps", json!({"steps": menu(digits, number)}));
    let mut codecs = [trunk(), trunk()];
    codecs[0]["codecs"] = json!(["PCMU", "PCMA"]);
    codecs[1]["codecs"] = json!(["PCMA", "PCMU"]);
    let [alices, bobs] = codecs;
    let speaks = |languages| json!({"displayName": "Ada Lopez", "languages": languages});
    let rows = [
        // Another key of one choice, then another target of one dial.
        (flow("1", "+12125550199"), flow("2", "+12125550199").2),
        (flow("1", "+12125550199"), flow("1", "+12125550198").2),
        (("Trunk", "codecs", alices), bobs),
        (("Agent", "languages", speaks(json!(["en-US", "es-US"]))), speaks(json!(["en-US"]))),
    ];
    for ((kind, list, alices), bobs) in rows {
        apply("atomic", ALICE, &manifest(kind, "whole", &alices), false).done();
        let bobs_manifest = manifest(kind, "whole", &bobs);
        let conflict = apply("atomic", BOB, &bobs_manifest, false).refused();
        assert!(conflict.contains("Apply failed with 1 conflict"), "{conflict}");
        assert!(conflict.contains(&format!("conflict with \"{ALICE}\": .spec.{list}")), "{conflict}");
        apply("atomic", BOB, &bobs_manifest, true).done();
        let stored = plane.object("atomic", kind, "whole");
        let (found, wanted) = (&stored["spec"][list], &bobs[list]);
        assert_eq!(found.as_array().map(Vec::len), wanted.as_array().map(Vec::len), "{kind}: {found}");
        let conflict = apply("atomic", ALICE, &manifest(kind, "whole", &alices), false).refused();
        assert!(conflict.contains(&format!("conflict with \"{BOB}\": .spec.{list}")), "{conflict}");
        plane.kubectl(&["delete", "-n", "atomic", kind, "whole"]).done();
    }
}
