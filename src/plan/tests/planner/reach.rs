//! Which clusters' pods must know of an object, and which Secrets they need.

use std::collections::{BTreeMap, BTreeSet};

use model::ClusterId;
use plan::{Effect, Planner, Reason, SecretKeys};
use serde_json::{Value, json};

use super::{Edit, Objects, anew, apply, cluster, first, id, key, secret, tenant, trunk};
use crate::now;

fn c14() -> ClusterId {
    ClusterId(key("platform/c14"))
}

fn keys(keys: &SecretKeys) -> BTreeMap<String, String> {
    let joined = |keys: &BTreeSet<String>| keys.iter().cloned().collect::<Vec<_>>().join(" ");
    keys.iter().map(|(secret, keys)| (secret.to_string(), joined(keys))).collect()
}

/// A world of two clusters: `platform/c14` serves acme, `gamma/c15` stands in a tenant's own namespace and has a trunk of
/// `delta`, which has no Tenant there.
#[test]
fn an_object_is_at_home_where_pods_must_know_of_it() {
    let mut objects = first();
    let mut other = cluster(1);
    other["code"] = json!("C15");
    other["networks"][0]["bindAddress"] = json!("127.0.0.2");
    other["allowedNamespaces"] = json!(["delta"]);
    objects.insert(("VoiceCluster", "gamma/c15"), other);
    let mut pbx = trunk(0);
    pbx["clusterRef"] = json!({"namespace": "gamma", "name": "c15"});
    pbx["grants"] = json!([]);
    objects.insert(("Trunk", "delta/pbx"), pbx);
    let mut strayed = tenant(0);
    strayed["clusterRef"]["name"] = json!("c99");
    objects.insert(("Tenant", "epsilon/epsilon"), strayed);
    let planner = anew(&objects, &Planner::new(None).plan());
    for (kind, name, homes) in [
        ("VoiceCluster", "platform/c14", vec!["platform/c14"]),
        ("VoiceCluster", "platform/c99", vec![]),
        ("Trunk", "platform/carrier", vec!["platform/c14"]),
        ("Trunk", "delta/pbx", vec!["gamma/c15"]),
        ("Trunk", "delta/gone", vec![]),
        ("PhoneNumber", "acme/a", vec!["platform/c14"]),
        ("Tenant", "acme/acme", vec!["platform/c14"]),
        ("Tenant", "epsilon/epsilon", vec![]),
        ("RoutingFlow", "platform/main", vec!["platform/c14"]),
        ("Allowlist", "delta/office", vec!["gamma/c15"]),
        ("Prompt", "gamma/welcome", vec!["gamma/c15"]),
        // Another namespace's name that begins the same is another namespace.
        ("Prompt", "del/welcome", vec![]),
    ] {
        let found: Vec<_> = planner.homes(&id((kind, name))).iter().map(ToString::to_string).collect();
        assert_eq!(found, homes, "{kind} {name}");
    }
}

fn everything_secret() -> Objects {
    let mut objects = first();
    let at = |name: &str| json!({"name": name, "key": "a"});
    let c14 = objects.get_mut(&("VoiceCluster", "platform/c14")).unwrap();
    c14["tls"] = json!({"certificateRef": {"name": "certificate"}});
    c14["stores"] = json!({"liveState": {
        "secretRef": at("redis"), "caSecretRef": at("redis-ca"), "sentinelPasswordSecretRef": at("sentinel"),
    }, "records": {
        "host": "db.example.net", "database": "calls", "user": "us", "passwordSecretRef": at("records"), "caSecretRef": at("records-ca"),
    }, "blobs": {
        "s3": {"bucket": "recordings", "accessKeyIdSecretRef": at("blobs"), "secretAccessKeySecretRef": at("blobs")},
    }});
    c14["tracing"] =
        json!({"endpoint": "http://otel:4317", "headersSecretRef": at("otel"), "caSecretRef": at("otel-ca")});
    let carrier = objects.get_mut(&("Trunk", "platform/carrier")).unwrap();
    carrier["stir"] = json!({
        "sign": {"keySecretRef": at("stir-key"), "certificateSecretRef": at("stir-chain"), "certificateUrl": "https://a.example/a"},
        "verify": {"anchorsSecretRef": at("stir-anchors"), "caSecretRef": at("stir-ca")},
    });
    carrier["digest"] = json!({"username": "us", "secretRef": at("digest")});
    carrier["tls"] = json!({"caSecretRef": at("trunk-ca")});
    let acme = objects.get_mut(&("Tenant", "acme/acme")).unwrap();
    acme["signIn"] = json!({"openIdConnect": {"issuer": "https://login.example.com", "clientId": "us", "secretRef": at("oidc"), "caSecretRef": at("oidc-ca")}});
    acme["services"] = json!([{"name": "dialler", "secretRef": at("dialler"), "may": ["Previews"]}]);
    let agent = objects.get_mut(&("Agent", "acme/ada")).unwrap();
    agent["outboundNumber"] = Value::Null;
    agent["signIn"] = json!({"secretRef": at("ada")});
    agent["stations"] =
        json!([{"name": "phone", "sip": {"username": "ada", "secretRef": {"name": "ada", "key": "b"}}}]);
    objects.insert(
        ("Integration", "acme/crm"),
        json!({
            "url": "https://crm.example.com", "headers": [{"name": "X-Token", "secretRef": at("header")}],
            "tls": {"caSecretRef": at("crm-ca"), "certificateSecretRef": {"name": "crm-certificate"}},
            "proxy": {"url": "http://proxy.example.com:3128", "secretRef": at("proxy")},
        }),
    );
    objects.insert(("ContactPoint", "acme/mail"), json!({"flowRef": {"name": "main"}, "email": {
        "address": "a@example.com", "imapServer": "imap.example.com", "smtpServer": "smtp.example.com", "secretRef": at("mail")}}));
    objects.insert(
        ("ContactPoint", "acme/social"),
        json!({"flowRef": {"name": "main"}, "social": {
        "network": "WhatsApp", "account": "acme", "secretRef": at("social")}}),
    );
    objects
}

/// Every Secret that a spec refers to.
fn referred(namespace: &str, value: &Value, found: &mut Vec<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let secret = name.to_lowercase().ends_with("secretref") || name == "certificateRef";
        match value["name"].as_str().filter(|_| secret) {
            Some(name) => found.push(format!("{namespace}/{name}")),
            None => referred(namespace, value, found),
        }
    }
    value.as_array().into_iter().flatten().for_each(|value| referred(namespace, value, found));
}

fn with_secrets() -> Objects {
    let mut objects = everything_secret();
    let mut names = Vec::new();
    for ((_, name), spec) in &objects {
        referred(key(name).namespace(), spec, &mut names);
    }
    for name in names {
        let object = json!({"metadata": {"labels": {"switchboard.dev/use": "true"}},
            "data": {"a": "", "b": "", "tls.crt": "", "tls.key": ""}});
        objects.insert(("Secret", name.leak()), object);
    }
    objects
}

#[test]
fn pods_need_the_secrets_of_what_is_in_force_and_no_role_another_s() {
    let planner = anew(&with_secrets(), &Planner::new(None).plan());
    let needs = planner.secrets(&c14());
    insta::assert_snapshot!(
        serde_json::to_string_pretty(&json!({"edge": keys(&needs.edge), "media": keys(&needs.media)}))
            .unwrap()
    );
    assert_eq!(planner.secrets(&ClusterId(key("platform/c99"))), plan::SecretNeeds::default());
    // A reference of a kind that nobody thought of here would need nothing.
    let mut names = Vec::new();
    for ((_, name), spec) in &everything_secret() {
        referred(key(name).namespace(), spec, &mut names);
    }
    names.sort();
    names.dedup();
    let mut needed: Vec<_> = needs.edge.keys().chain(needs.media.keys()).map(ToString::to_string).collect();
    needed.sort();
    assert_eq!(needed, names);
}

#[test]
fn every_reference_to_a_secret_of_the_schemas_is_in_that_world() {
    fn places(schema: &Value, path: &str, found: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if name.to_lowercase().ends_with("secretref") || name == "certificateRef" {
                found.push(path.clone());
            }
            places(field, &path, found);
            places(&field["items"], &path, found);
        }
    }
    let mut found = Vec::new();
    for kind in api::kinds() {
        places(&kind.schema["properties"]["spec"], kind.name, &mut found);
    }
    found.sort();
    insta::assert_snapshot!(found.join("\n"));
}

/// In a cluster there is no folder that could still get it.
#[test]
fn a_secret_that_is_not_there_is_an_error_and_a_withdrawn_one_is_missed_at_once() {
    let mut objects = first();
    let mut planner = anew(&objects, &Planner::new(None).plan());
    planner.take_turned();
    let crm = id(("Integration", "acme/crm"));
    let ours = |planner: &Planner| {
        planner.verdict(&crm).resolved_refs.map(|problem| (problem.reason, problem.message.clone()))
    };
    assert_eq!((ours(&planner), planner.verdict(&crm).effect), (None, Effect::Current));

    let secret = |spec| Edit { id: ("Secret", "acme/crm"), spec };
    apply(secret(None), &mut objects, &mut planner);
    planner.update(now());
    let message = "Namespace acme must have a Secret `crm` with the label `switchboard.dev/use: \"true\"`; until then this has no value.";
    assert_eq!(ours(&planner), Some((Reason::SecretNotFound, message.to_owned())));
    assert_eq!(planner.verdict(&crm).effect, Effect::Kept);
    assert_eq!(planner.take_turned(), BTreeSet::from([crm.clone()]));

    apply(secret(Some(super::secret(3))), &mut objects, &mut planner);
    planner.update(now());
    assert_eq!(ours(&planner).unwrap().0, Reason::SecretKeyNotFound);
    apply(secret(Some(super::secret(1))), &mut objects, &mut planner);
    planner.update(now());
    assert_eq!((ours(&planner), planner.verdict(&crm).effect), (None, Effect::Current));
}

/// Nobody who prints or keeps a planner can leak what it never had.
#[test]
fn no_value_of_a_secret_is_kept() {
    let mut objects = first();
    let mut object = secret(1);
    object["data"]["token"] = json!("aHVudGVyMg==");
    objects.insert(("Secret", "acme/crm"), object);
    let planner = anew(&objects, &Planner::new(None).plan());
    assert!(!String::from_utf8(planner.stored().unwrap()).unwrap().contains("aHVudGVyMg"));
    assert!(!format!("{planner:?}").contains("aHVudGVyMg"));
}
