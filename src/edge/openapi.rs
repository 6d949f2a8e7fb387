//! `/api/v1/openapi.json`: what the edge serves over HTTP, as a document of OpenAPI 3.1. It needs no token.
//!
//! The tests below compare it with the routes that there are, and with what is served there.

use axum::{
    http::header,
    response::{IntoResponse, Response},
};

/// But for the version.
const DOCUMENT: &str = include_str!("openapi.json");

fn document() -> String {
    DOCUMENT.replacen("\"VERSION\"", concat!("\"", env!("CARGO_PKG_VERSION"), "\""), 1)
}

pub(crate) async fn serve() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document()).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use call::{
        explanation::{Candidate, Explanation, Outcome},
        record::{Disposed, Egress, EndedBy, Measured, Record, Sound, Supervised, SupervisionMode, Visit},
        registrar::StationId,
    };
    use jiff::Timestamp;
    use model::{
        AgentId, CallId, FlowId, LegId, NumberId, QueueId, TrunkId,
        media::{Bucket, Quality},
    };
    use serde::Serialize;
    use serde_json::{Value, json};

    use super::document;
    use crate::{
        floors::{AgentNow, Counts, QueueNow},
        interactions::{Kept, Said},
    };

    fn parsed() -> Value {
        serde_json::from_str(&document()).unwrap()
    }

    /// Where a value is otherwise than its schema says. What OpenAPI has of JSON Schema and the document uses.
    fn faults(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let found = document.pointer(reference.trim_start_matches('#'));
            return faults(document, found.unwrap_or_else(|| panic!("{reference}")), value, at);
        }
        for (word, most) in [("oneOf", 1), ("anyOf", usize::MAX)] {
            let Some(ways) = schema.get(word).and_then(Value::as_array) else { continue };
            let fit = ways.iter().filter(|way| faults(document, way, value, at).is_empty()).count();
            let is_good = (1..=most).contains(&fit);
            return if is_good { Vec::new() } else { vec![format!("{at}: {fit} of {word} fit {value}")] };
        }
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let is_kind = |wanted: &Value| wanted == kind || (wanted == "number" && kind == "integer");
        let mut found = Vec::new();
        match schema.get("type") {
            Some(Value::Array(kinds)) if kinds.iter().any(is_kind) => {}
            Some(wanted @ Value::String(_)) if is_kind(wanted) => {}
            wanted => return vec![format!("{at}: {value} is no {wanted:?}")],
        }
        if schema.get("enum").and_then(Value::as_array).is_some_and(|all| !all.contains(value)) {
            found.push(format!("{at}: {value} is not listed"));
        }
        for (place, item) in value.as_array().into_iter().flatten().enumerate() {
            found.extend(faults(document, &schema["items"], item, &format!("{at}[{place}]")));
        }
        if let Some(fields) = value.as_object() {
            let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
            let absent = required.filter(|name| !fields.contains_key(name.as_str().unwrap()));
            found.extend(absent.map(|name| format!("{at}: {name} is absent")));
            for (name, field) in fields {
                match schema.get("properties").and_then(|known| known.get(name)) {
                    Some(known) => found.extend(faults(document, known, field, &format!("{at}.{name}"))),
                    None if schema.get("additionalProperties") == Some(&Value::Bool(false)) => {
                        found.push(format!("{at}: {name} is not told of"));
                    }
                    None => {}
                }
            }
        }
        found
    }

    fn assert_fits(schema: &str, example: &impl Serialize) {
        let document = parsed();
        let schema = &document["components"]["schemas"][schema];
        assert!(schema.is_object());
        let found = faults(&document, schema, &serde_json::to_value(example).unwrap(), "");
        assert_eq!(found, Vec::<String>::new());
    }

    /// Paths and methods of a router, as they stand in its source.
    fn routes(source: &str) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        for route in source.split(".route(\"").skip(1) {
            let (path, rest) = route.split_once('"').unwrap();
            let line: String = rest.chars().take_while(|c| *c != '\n').collect();
            for method in ["get", "post", "put", "patch", "delete"] {
                if line.contains(&format!(" {method}(")) || line.contains(&format!(".{method}(")) {
                    found.insert((path.replace("{*", "{"), method.to_owned()));
                }
            }
        }
        found
    }

    #[test]
    fn every_route_is_told_of_and_no_other() {
        let mut served = routes(include_str!("http.rs"));
        served.extend(routes(include_str!("desk/mod.rs")));
        assert!(served.len() > 20, "{served:?}");
        let document = parsed();
        let paths = document["paths"].as_object().unwrap().iter();
        let told = paths.flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(|method| (path.clone(), method.clone()))
        });
        assert_eq!(told.collect::<BTreeSet<_>>(), served);
    }

    #[test]
    fn the_document_is_one_of_openapi() {
        let document = parsed();
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let mut names = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let id = operation["operationId"].as_str().unwrap();
                assert!(names.insert(id.to_owned()), "{id} is there twice");
                assert!(operation["summary"].is_string(), "{method} {path}");
                assert!(!operation["responses"].as_object().unwrap().is_empty(), "{method} {path}");
                let parameters = operation["parameters"].as_array().into_iter().flatten();
                let in_path = parameters.filter(|parameter| parameter["in"] == "path");
                let named: Vec<_> = in_path.map(|it| it["name"].as_str().unwrap()).collect();
                let wanted: Vec<_> = path.split(['{', '}']).skip(1).step_by(2).collect();
                assert_eq!(named, wanted, "{method} {path}");
            }
        }
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
        for (name, _) in document["components"]["schemas"].as_object().unwrap() {
            assert!(text.contains(&format!("#/components/schemas/{name}\"")), "nothing refers to {name}");
        }
    }

    #[test]
    fn what_queues_and_agents_are_told_by_fits() {
        let counts = Counts::from(acd::Figures::default());
        let queue = QueueNow {
            id: QueueId::new("acme", "sales"),
            at: Timestamp::UNIX_EPOCH,
            waiting: 1,
            longest_wait_seconds: Some(1.5),
            signed_in: 2,
            available: 0,
            busy: 2,
            occupancy: None,
            expected_wait_seconds: None,
            total: counts,
            recent: counts,
        };
        assert_fits("Queue", &queue);
        for (reason, until) in [(None, None), (Some("Lunch".into()), Some(Timestamp::UNIX_EPOCH))] {
            let id = AgentId::new("acme", "ada");
            let state = "Away";
            assert_fits("Agent", &AgentNow { id, state, reason, until, since: Timestamp::UNIX_EPOCH });
        }
        assert_fits("Station", &StationId { agent: AgentId::new("acme", "ada"), station: "desk".into() });
    }

    #[test]
    fn explanations_fit_whatever_came_of_the_invite() {
        let station = StationId { agent: AgentId::new("acme", "ada"), station: "desk".into() };
        let because = "nobody".to_owned();
        for outcome in [
            Outcome::Routed {
                trunk: TrunkId::new("platform", "carrier"),
                number: NumberId::new("acme", "main"),
                flow: FlowId::new("acme", "main"),
            },
            Outcome::Placed { station, to: "Agent acme/bob".into() },
            Outcome::Refused { code: 404, because: because.clone() },
            Outcome::Challenged { because: because.clone() },
            Outcome::Promised { queue: QueueId::new("acme", "sales") },
            Outcome::Ignored { because },
        ] {
            let explanation = Explanation {
                call_id: "a@b".into(),
                at: Timestamp::UNIX_EPOCH,
                source: Some("192.0.2.1:5060".parse().unwrap()),
                listener: "udp".into(),
                from: String::new(),
                to: "+18005550100".into(),
                candidates: vec![Candidate { object: "Trunk platform/carrier".into(), failed: None }],
                outcome,
                legs: vec!["c@d".into()],
                course: vec!["rang".into()],
            };
            assert_fits("Explanation", &explanation);
        }
    }

    fn record() -> Record {
        let at = Timestamp::UNIX_EPOCH;
        let sound = Sound::begun("acme/calls/1".into(), None, at, 2);
        let quality = Some(Quality::default());
        let series = vec![Bucket::default()];
        Record {
            call: CallId(7),
            call_id: "a@b".into(),
            tenant: "acme".into(),
            from: "+12125550199".into(),
            verstat: Some(::stir::Verstat::Passed),
            attestation: Some(::stir::Attestation::A),
            to: "+18005550100".into(),
            trunk: Some(TrunkId::new("platform", "carrier")),
            station: Some(StationId { agent: AgentId::new("acme", "ada"), station: "desk".into() }),
            number: Some(NumberId::new("acme", "main")),
            flow: Some(FlowId::new("acme", "main")),
            revision: Some("0a".into()),
            part_of: Some("c@d".into()),
            started_at: at,
            answered_at: Some(at),
            ended_at: at,
            path: vec!["wait: ended".into()],
            path_at: vec![at],
            ended_by: EndedBy::Lost,
            sip_code: 200,
            cause: 16,
            because: None,
            quality,
            series: series.clone(),
            egress: vec![Egress {
                leg: LegId(1),
                whom: "Trunk platform/carrier".into(),
                invited_at: at,
                answered_at: None,
                ended_at: Some(at),
                sip_code: 486,
                cause: 17,
            }],
            legs: vec![Measured { leg: LegId(1), quality, series }],
            recordings: vec![sound.clone()],
            voicemails: vec![sound],
            queues: vec![Visit {
                queue: QueueId::new("acme", "sales"),
                entered_at: at,
                waited_ms: 5,
                agent: Some(AgentId::new("acme", "ada")),
                outcome: "answered",
            }],
            supervisions: vec![Supervised {
                supervisor: AgentId::new("acme", "sue"),
                agent: AgentId::new("acme", "ada"),
                mode: SupervisionMode::Whisper,
                started_at: at,
                ended_at: None,
            }],
        }
    }

    #[test]
    fn records_fit_with_all_that_agents_say_of_them() {
        use store::records::{Source as _, with_dispositions};
        let body = Kept::over(Box::new(record()), "0a".into()).row().body;
        let disposed = Disposed {
            call: CallId(7),
            started_at: Timestamp::UNIX_EPOCH,
            tenant: "acme".into(),
            agent: AgentId::new("acme", "ada"),
            queue: QueueId::new("acme", "sales"),
            disposition: "sale".into(),
            notes: Some("Two".into()),
            timed_out: true,
            at: Timestamp::UNIX_EPOCH,
        };
        let said = Said::new(disposed, "0a".into()).row();
        assert_eq!(said.id, Kept::over(Box::new(record()), "0a".into()).row().id);
        let told: Value = serde_json::from_str(&with_dispositions(body, &[said.body])).unwrap();
        assert!(told["dispositions"][0]["disposition"] == "sale", "{told}");
        assert_fits("Interaction", &told);
    }

    #[test]
    fn a_value_that_does_not_fit_is_found() {
        let document = parsed();
        let schema = &document["components"]["schemas"]["Agent"];
        let good = json!({"agent": "acme/ada", "state": "Away", "since": "1970-01-01T00:00:00Z"});
        assert!(faults(&document, schema, &good, "").is_empty());
        for (name, bad) in [("state", json!("Asleep")), ("state", json!(1)), ("more", json!(1))] {
            let mut agent = good.clone();
            agent[name] = bad;
            assert_eq!(faults(&document, schema, &agent, "").len(), 1, "{agent}");
        }
        assert_eq!(faults(&document, schema, &json!({"agent": "acme/ada", "state": "Away"}), "").len(), 1);
    }
}
