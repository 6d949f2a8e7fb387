//! Manifests that a test applies: examples moved to namespaces and ports of its own, and the least that can be called.

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};

use super::{process::free_ports, world::World};
use crate::control_plane::repository;

/// RTP ports of a cluster.
const RTP_PORTS: u16 = 100;

/// Objects in the order in which they are applied.
#[derive(Debug, Clone, Default)]
pub struct Manifests(pub Vec<Value>);

impl Manifests {
    /// Each document of a text.
    pub fn read(text: &str) -> Self {
        let documents = text.split("\n---").map(|document| serde_yaml::from_str(document).unwrap());
        Self(documents.filter(|value: &Value| !value.is_null()).collect())
    }

    /// What stands in a folder of `examples`, patches and all else of Kustomize's apart.
    pub fn example(name: &str) -> Self {
        let mut files: Vec<_> = fs::read_dir(repository().join("examples").join(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
            .collect();
        files.sort();
        assert!(!files.is_empty(), "examples/{name} is empty");
        let texts: Vec<String> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        Self::read(&texts.join("\n---\n"))
    }

    /// As they were meant, in namespaces of the test's own: `platform` becomes `PREFIX-platform`, and so on.
    #[must_use]
    pub fn in_namespaces(mut self, prefix: &str) -> Self {
        for object in &mut self.0 {
            rename(object, prefix, false);
        }
        self
    }

    /// With ports of the test's own: every listener's port becomes one of two that are free, and RTP has its range.
    /// Returns the ports by what they were.
    pub fn on_free_ports(&mut self) -> BTreeMap<u16, u16> {
        let mut ports = BTreeMap::new();
        for cluster in self.0.iter_mut().filter(|object| object["kind"] == "VoiceCluster") {
            let listeners = cluster["spec"]["listeners"].as_array_mut().unwrap();
            for listener in listeners {
                let port = u16::try_from(listener["port"].as_u64().unwrap()).unwrap();
                listener["port"] = json!(*ports.entry(port).or_insert_with(|| free_ports(2)));
            }
            let first = free_ports(RTP_PORTS);
            cluster["spec"]["media"]["ports"] = json!({"first": first, "last": first + RTP_PORTS - 1});
        }
        ports
    }

    /// An object that is there.
    #[track_caller]
    pub fn object(&mut self, kind: &str, name: &str) -> &mut Value {
        let found =
            self.0.iter_mut().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    /// As one text, for `kubectl apply -f -`.
    pub fn text(&self) -> String {
        json!({"apiVersion": "v1", "kind": "List", "items": self.0}).to_string()
    }

    /// Makes the namespaces, labelled by what is in them, and applies everything.
    pub fn apply(&self, world: &World) {
        self.make_namespaces(world);
        world.apply(None, &self.text()).done();
    }

    /// Labelled by what is in them.
    pub fn make_namespaces(&self, world: &World) {
        for (namespace, platform) in self.namespaces() {
            if platform {
                world.platform_namespace(&namespace);
            } else {
                world.tenant_namespace(&namespace);
            }
        }
    }

    /// Each namespace, and whether it is the platform's.
    pub fn namespaces(&self) -> BTreeMap<String, bool> {
        let mut found = BTreeMap::new();
        for object in &self.0 {
            let namespace = object["metadata"]["namespace"].as_str().unwrap().to_owned();
            let platforms = ["VoiceCluster", "Carrier", "PointOfPresence"];
            let platform = platforms.contains(&object["kind"].as_str().unwrap_or_default());
            *found.entry(namespace).or_default() |= platform;
        }
        found
    }

    /// Kind, namespace and name of every object of ours.
    pub fn ids(&self) -> Vec<[String; 3]> {
        let ours = self.0.iter().filter(|object| object["apiVersion"] == api::API_VERSION);
        ours.map(|object| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let meta = &object["metadata"];
            [text(&object["kind"]), text(&meta["namespace"]), text(&meta["name"])]
        })
        .collect()
    }
}

/// Namespaces stand under `namespace`, and in `allowedNamespaces`.
fn rename(value: &mut Value, prefix: &str, is_namespace: bool) {
    match value {
        Value::String(text) if is_namespace => *text = format!("{prefix}-{text}"),
        Value::Array(entries) => entries.iter_mut().for_each(|entry| rename(entry, prefix, is_namespace)),
        Value::Object(fields) => {
            for (name, value) in fields {
                rename(value, prefix, ["namespace", "allowedNamespaces"].contains(&name.as_str()));
            }
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The least that can be called: a cluster, a carrier's trunk from 127.0.0.1, and a tenant with a number that rings a
/// telephone behind the carrier and one that hangs up.
#[derive(Debug)]
pub struct Least {
    pub manifests: Manifests,
    pub platform: String,
    pub tenant: String,
    /// Where it hears SIP.
    pub sip: u16,
    /// Where the carrier hears it.
    pub gateway: u16,
}

impl Least {
    pub fn new(prefix: &str) -> Self {
        let mut manifests = Manifests::read(include_str!("least.yaml")).in_namespaces(prefix);
        let ports = manifests.on_free_ports();
        let gateway = free_ports(2);
        manifests.object("Trunk", "carrier")["spec"]["peers"][0]["address"] =
            json!(format!("127.0.0.1:{gateway}"));
        Self {
            manifests,
            platform: format!("{prefix}-platform"),
            tenant: format!("{prefix}-acme"),
            sip: ports[&5060],
            gateway,
        }
    }
}
