//! What operators asked the API server for, against what the chart grants them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_json::Value;

use super::world::templates;

/// The chart's roles that are bound to the operator.
const ROLES: [(&str, &str); 4] = [
    ("ClusterRole", "switchboard-operator"),
    ("Role", "switchboard-operator"),
    ("ClusterRole", "switchboard-cluster-secrets"),
    ("ClusterRole", "switchboard-secrets"),
];

/// A verb on a resource (`trunks/status`), with its group after a point.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right(pub String);

impl Right {
    fn new(verb: &str, group: &str, resource: &str) -> Self {
        let point = if group.is_empty() { "" } else { "." };
        Self(format!("{verb} {resource}{point}{group}"))
    }
}

/// One request in the audit log.
#[derive(Debug, Clone)]
pub struct Asked {
    pub right: Right,
    /// Namespace and name, empty where there is none.
    pub object: (String, String),
    pub code: u64,
    /// By RBAC.
    pub allowed: bool,
    /// The last word on it. A watch that still stands has not had it.
    pub complete: bool,
}

impl Asked {
    /// Whether it wrote, or tried to, other than to say that it still leads.
    pub fn is_write(&self) -> bool {
        let verb = self.right.0.split(' ').next().unwrap_or_default();
        !["get", "list", "watch"].contains(&verb) && !self.right.0.contains(" leases.")
    }
}

/// Every request of the log that names a resource.
pub fn asked(log: &str) -> Vec<Asked> {
    // The last line may still be being written.
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let asked = events.filter_map(|event| {
        let of = event.get("objectRef")?;
        let text = |name: &str| of.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut resource = text("resource").to_owned();
        if !text("subresource").is_empty() {
            resource = format!("{resource}/{}", text("subresource"));
        }
        Some(Asked {
            right: Right::new(event["verb"].as_str()?, text("apiGroup"), &resource),
            object: (text("namespace").to_owned(), text("name").to_owned()),
            code: event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default(),
            allowed: event["annotations"]["authorization.k8s.io/decision"] == "allow",
            complete: event["stage"] == "ResponseComplete",
        })
    });
    asked.collect()
}

/// What was used, or asked for in vain. Server-side apply that creates needs `create` as well.
pub fn used(asked: &[Asked]) -> BTreeSet<Right> {
    let created = asked.iter().filter(|asked| asked.code == 201 && asked.right.0.starts_with("patch "));
    let created = created.map(|asked| Right(asked.right.0.replacen("patch", "create", 1)));
    asked.iter().map(|asked| asked.right.clone()).chain(created).collect()
}

/// What the chart's roles grant.
pub fn granted() -> BTreeSet<Right> {
    let text = fs::read_to_string(templates().join("roles.yaml")).unwrap();
    let mut found = BTreeMap::new();
    for document in text.split("\n---\n") {
        let role: Value = serde_yaml::from_str(document).unwrap();
        let key = (
            role["kind"].as_str().unwrap().to_owned(),
            role["metadata"]["name"].as_str().unwrap().to_owned(),
        );
        found.insert(key, role);
    }
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for (kind, name) in ROLES {
        let role = &found[&(kind.to_owned(), name.to_owned())];
        for rule in role["rules"].as_array().unwrap() {
            for (group, resource) in texts(&rule["apiGroups"])
                .iter()
                .flat_map(|group| texts(&rule["resources"]).into_iter().map(move |of| (group, of)))
            {
                rights.extend(texts(&rule["verbs"]).iter().map(|verb| Right::new(verb, group, &resource)));
            }
        }
    }
    rights
}

#[test]
fn nothing_is_granted_by_a_star() {
    let granted = granted();
    assert!(granted.len() > 70, "{}", granted.len());
    assert!(granted.iter().all(|right| !right.0.contains('*')));
    assert!(granted.contains(&Right("patch trunks/status.switchboard.dev".into())));
    assert!(granted.contains(&Right("watch secrets".into())));
    assert!(!granted.contains(&Right("update trunks.switchboard.dev".into())));
}

#[test]
fn a_line_of_the_audit_log_is_a_right() {
    let line = |verb: &str, code: u64| {
        format!(
            r#"{{"stage":"ResponseComplete","verb":"{verb}","objectRef":{{"resource":"secrets","namespace":"a","name":"b","apiVersion":"v1"}},"responseStatus":{{"code":{code}}},"annotations":{{"authorization.k8s.io/decision":"allow"}}}}"#
        )
    };
    let log = [line("patch", 201), line("list", 200), "{\"half".into()].join("\n");
    let found = asked(&log);
    assert_eq!(found.len(), 2);
    assert!(found[0].is_write() && found[0].allowed && found[0].complete && !found[1].is_write());
    assert_eq!(found[0].object, ("a".into(), "b".into()));
    let used: Vec<String> = used(&found).into_iter().map(|right| right.0).collect();
    assert_eq!(used, ["create secrets", "list secrets", "patch secrets"]);
}
