//! What one tenant can do to another by applying manifests: nothing.

use serde_json::Value;

use super::{
    manifests::Manifests,
    stage::{Stage, Verdicts, condition, id_of},
};

const PREFIX: &str = "tenancy";

/// What must come of an attempt.
#[derive(Debug)]
enum Outcome {
    /// The API server does not take it, and says so.
    Refused(String),
    /// It is taken, and this condition of it becomes False with this reason.
    False(String, String),
    /// It is taken: the next attempt builds on it.
    Allowed,
}

#[derive(Debug)]
struct Attempt {
    object: Value,
    outcome: Outcome,
}

fn attempts() -> Vec<Attempt> {
    let read = |document: &str| {
        let wish = document.lines().filter_map(|line| line.strip_prefix("# ")).next_back().unwrap();
        let outcome = match wish.split_once(' ') {
            Some(("refused:", words)) => Outcome::Refused(renamed(words)),
            Some((condition, reason)) => Outcome::False(condition.to_owned(), reason.to_owned()),
            None => Outcome::Allowed,
        };
        let object = Manifests::read(document).in_namespaces(PREFIX).0.remove(0);
        Attempt { object, outcome }
    };
    include_str!("tenancy/attempts.yaml").split("\n---\n").map(read).collect()
}

/// Refusals name the namespace.
fn renamed(words: &str) -> String {
    words.replace("in the namespace \"", &format!("in the namespace \"{PREFIX}-"))
}

/// Who applies it: the administrator of its own namespace if that is an attacker's, else globex's.
fn attacker(object: &Value) -> String {
    let namespace = object["metadata"]["namespace"].as_str().unwrap();
    let name = if namespace.ends_with("aardvark") { "aardvark" } else { "globex" };
    format!("system:serviceaccount:{PREFIX}-{name}:admin")
}

/// What is said of everything that is not an attacker's.
fn of_others(stage: &Stage) -> Verdicts {
    let mut verdicts = stage.verdicts();
    verdicts.retain(|id, _| {
        !["globex", "aardvark"].iter().any(|attacker| id.contains(&format!("{PREFIX}-{attacker}/")))
    });
    verdicts
}

fn difference(cause: &str, before: &Verdicts, after: &Verdicts) -> String {
    let mut text = String::new();
    for (id, before) in before {
        for (of, before) in before {
            let after = after.get(id).and_then(|told| told.get(of));
            if after != Some(before) {
                text += &format!("{cause} changes {of} of {id} from {before} to {after:?}\n");
            }
        }
    }
    text
}

#[test]
fn no_manifest_of_a_tenant_reaches_another_ones_things() {
    let stage = Stage::new();
    let world = stage.world;
    let base = Manifests::read(include_str!("tenancy/base.yaml")).in_namespaces(PREFIX);
    base.apply(world);
    for attacker in ["globex", "aardvark"] {
        let namespace = format!("{PREFIX}-{attacker}");
        world.bind(&namespace, "admin", "switchboard-tenant-admin");
        // So that it may write Secrets, as tenants usually may.
        world.bind(&namespace, "admin", "edit");
    }
    let operator = stage.operator("tenancy");
    operator.await_ready();
    for [kind, namespace, name] in base.ids() {
        stage.await_condition(&kind, &namespace, &name, "ResolvedRefs", "True");
        stage.await_condition(&kind, &namespace, &name, "Accepted", "True");
    }
    stage.settle(&operator);
    let before = of_others(&stage);
    assert!(before.len() >= 15, "{}", before.len());

    let attempts = attempts();
    assert!(attempts.len() >= 25, "{}", attempts.len());
    let mut wrong = String::new();
    for attempt in &attempts {
        if let Err(complaint) = make(&stage, attempt) {
            wrong += &format!("{}: {complaint}\n", id_of(&attempt.object));
        }
        if matches!(attempt.outcome, Outcome::Refused(_)) {
            continue;
        }
        wrong += &difference(&id_of(&attempt.object), &before, &of_others(&stage));
        if let Outcome::False(..) = attempt.outcome {
            stage.delete(&attempt.object).unwrap();
            for object in base.0.iter().filter(|object| id_of(object) == id_of(&attempt.object)) {
                stage.apply(object).unwrap();
            }
        }
    }
    // What comes late comes before this.
    stage.settle(&operator);
    wrong += &difference("something", &before, &of_others(&stage));
    assert!(wrong.is_empty(), "{wrong}");
}

fn make(stage: &Stage, attempt: &Attempt) -> Result<(), String> {
    let world = stage.world;
    let user = attacker(&attempt.object);
    let found = world.apply(Some(&user), &attempt.object.to_string());
    let (of, reason) = match &attempt.outcome {
        Outcome::Refused(words) if found.succeeded => {
            return Err(format!("is taken, and should be refused: {words}"));
        }
        Outcome::Refused(words) if !found.stderr.contains(words) => {
            return Err(format!("is refused with other words than {words}: {}", found.stderr));
        }
        Outcome::Refused(_) => return Ok(()),
        Outcome::False(..) | Outcome::Allowed if !found.succeeded => {
            return Err(format!("is refused: {}", found.stderr));
        }
        Outcome::Allowed => return Ok(()),
        Outcome::False(condition, reason) => (condition, reason),
    };
    let meta = &attempt.object["metadata"];
    let (namespace, name) = (meta["namespace"].as_str().unwrap(), meta["name"].as_str().unwrap());
    let kind = attempt.object["kind"].as_str().unwrap();
    let mut last = None;
    for _ in 0..100 {
        let found = world.plane.object(namespace, kind, name);
        // A word on what it was before is no answer.
        if found["status"]["observedGeneration"] == found["metadata"]["generation"] {
            last = condition(&found, of);
            if last == Some(("False".into(), reason.clone())) {
                return Ok(());
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Err(format!("{of} is {last:?}, not False/{reason}"))
}
