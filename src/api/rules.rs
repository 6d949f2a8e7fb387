//! The API server's own rules, run without one: one valid object of each kind, and each row spoils one thing.

use kube::core::cel::Validator;
use serde_json::{Value, json};

use crate::kinds;

fn valid(kind: &str) -> Value {
    let (name, spec) = match kind {
        "VoiceCluster" => (
            "c14",
            json!({
                "code": "C14",
                "networks": [{"name": "lan", "bindAddress": "192.0.2.1"}],
                "listeners": [{"name": "udp", "transport": "UDP", "port": 5060, "network": "lan"}],
                "media": {"ports": {"first": 20000, "last": 20999}},
            }),
        ),
        "Tenant" => ("acme", json!({"clusterRef": {"name": "c14"}, "country": "US", "timeZone": "UTC"})),
        "Trunk" => (
            "carrier",
            json!({
                "clusterRef": {"name": "c14"}, "network": "lan", "connection": "PhoneLine", "delivers": "Pstn",
                "peers": [{"name": "a", "address": "192.0.2.7"}],
                "grants": [{"namespace": "acme", "ranges": [{"first": "+12125550100", "last": "+12125550109"}]}],
            }),
        ),
        "PhoneNumber" => (
            "main",
            json!({
                "number": "+12125550100", "kind": "Local", "origin": "Carrier",
                "trunkRef": {"name": "carrier"}, "flowRef": {"name": "main"},
            }),
        ),
        "Allowlist" => ("carrier", json!({"ranges": [{"cidr": "192.0.2.0/24"}]})),
        "RoutingFlow" => (
            "main",
            json!({
                "variables": [{"name": "visits", "type": "Integer"}],
                "steps": [
                    {"name": "menu", "ask": {"choices": [{"digits": "1", "next": "end"}]}},
                    {"name": "ring", "dial": {"to": [{"number": "+12125550199"}]}},
                    {"name": "end", "hangup": {}},
                ],
            }),
        ),
        "Prompt" => ("welcome", json!({"file": "welcome.wav"})),
        _ => further(kind),
    };
    json!({"apiVersion": crate::API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn further(kind: &str) -> (&'static str, Value) {
    match kind {
        "PointOfPresence" => {
            ("chicago", json!({"region": "us-central", "gateways": [{"name": "a", "address": "192.0.2.7"}]}))
        }
        "Carrier" => (
            "example",
            json!({"company": "Example", "respOrgId": "XYZ01", "ordering": {"driver": "Http", "url": "https://orders.example.net/v1"}}),
        ),
        "NumberOrder" => (
            "more",
            json!({"carrierRef": {"name": "example"}, "kind": "TollFree", "country": "US", "count": 10}),
        ),
        "VoicemailBox" => ("support", json!({"emails": ["support@example.com"]})),
        "Integration" => (
            "crm",
            json!({"url": "https://crm.example.com/api", "headers": [{"name": "X-Tenant", "value": "acme"}]}),
        ),
        "Queue" => (
            "sales",
            json!({"skills": [{"name": "sales", "minimum": 3, "relax": [{"afterSeconds": 30, "minimum": 1}]}]}),
        ),
        "Agent" => (
            "ada",
            json!({
                "displayName": "Ada Lopez", "stations": [{"name": "desk", "webRtc": {}}],
                "signIn": {"subject": "ada@example.com"},
            }),
        ),
        "Campaign" => (
            "renewals",
            json!({
                "mode": "Predictive", "listRefs": [{"name": "june"}], "queueRef": {"name": "sales"},
                "abandonPercentMax": 3, "attempts": {"max": 3, "perDayMax": 1},
            }),
        ),
        "ContactList" => ("june", json!({"contacts": [{"number": "+12125550142"}]})),
        "DoNotCallList" => ("never", json!({"numbers": ["+12125550143"]})),
        "ContactPoint" => (
            "web",
            json!({
                "flowRef": {"name": "main"},
                "chat": {"origins": ["https://www.example.com"], "survey": [{"name": "team", "text": "Which team?"}, {"name": "topic", "text": "What about?"}]},
            }),
        ),
        "CallTest" => (
            "sales",
            json!({
                "call": {"to": "+12125550100"}, "callees": [{"extension": "200"}], "script": [{"press": "1"}],
                "expect": {"outcome": "Bridged"},
            }),
        ),
        _ => ("office", json!({"week": [{"days": ["Monday"], "from": "09:00", "to": "17:00"}]})),
    }
}

/// What the rules say of an object, and of it after `old`.
fn verdict(kind: &str, object: &Value, old: Option<&Value>) -> String {
    let known = kinds().into_iter().find(|known| known.name == kind).unwrap();
    match Validator::new().validate(&known.schema, object, old) {
        Ok(()) => String::new(),
        Err(errors) => errors.to_string(),
    }
}

/// Sets the value at a path below `spec`; `null` removes it.
fn spoil(object: &mut Value, path: &str, value: Value) {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = if parent.is_empty() { "/spec".to_owned() } else { format!("/spec/{parent}") };
    let parent = object.pointer_mut(&parent).unwrap_or_else(|| panic!("{path}"));
    match (parent, value) {
        (Value::Array(items), value) => items[name.parse::<usize>().unwrap()] = value,
        (Value::Object(fields), Value::Null) => drop(fields.remove(name)),
        (Value::Object(fields), value) => drop(fields.insert(name.to_owned(), value)),
        (other, _) => panic!("{path} is in {other}"),
    }
}

#[test]
fn the_valid_objects_are_valid() {
    for kind in kinds() {
        let object = valid(kind.name);
        assert_eq!(verdict(kind.name, &object, Some(&object)), "", "{}", kind.name);
    }
}

/// Each row spoils one thing of a valid object.
fn each_is_told(rows: &[(&str, &str, Value, &str)]) {
    for (kind, path, value, message) in rows {
        let mut object = valid(kind);
        spoil(&mut object, path, value.clone());
        let found = verdict(kind, &object, None);
        assert!(found.contains(message), "{kind} {path}: wanted `{message}`, found `{found}`");
    }
}

#[test]
fn one_fault_one_message() {
    let rows = [
        ("VoiceCluster", "code", json!("E39"), "metadata.name must be spec.code in lower case"),
        ("VoiceCluster", "listeners/0/network", json!("wan"), "must name one of spec.networks"),
        ("VoiceCluster", "networks/0/bindAddress", json!("localhost"), "bindAddress must be an IP address"),
        ("VoiceCluster", "networks/0/bindAddress", json!("0.0.0.0"), "must say sipAdvertisedAddress"),
        (
            "VoiceCluster",
            "networks/0/rtpAdvertisedAddress",
            json!("sip.example.net"),
            "must be an IP address",
        ),
        ("VoiceCluster", "media/ports/last", json!(20000), "last must be greater than first"),
        ("Trunk", "peers", Value::Null, "must have at least one peer"),
        ("Trunk", "ucaasPartner", json!({"company": "Example"}), "only where delivers is Voip"),
        ("Trunk", "codecs", json!(["PCMU", "PCMU"]), "must not name one twice"),
        ("Trunk", "grants/0/ranges/0/last", json!("+12125550099"), "last must have as many digits"),
        ("Trunk", "grants/0/ranges/0/last", json!("+121255501000"), "last must have as many digits"),
        ("PhoneNumber", "number", Value::Null, "exactly one of number and range"),
        ("PhoneNumber", "range", json!({"first": "+121", "last": "+122"}), "exactly one of number and range"),
        ("Allowlist", "ranges/0/cidr", json!("192.0.2.0"), "cidr must be an address and the length"),
        ("Allowlist", "ranges/0/cidr", json!("0.0.0.0/0"), "only with any: true"),
        (
            "Allowlist",
            "ranges/0",
            json!({"cidr": "192.0.2.0/24", "validFrom": "2027-01-01T00:00:00Z", "validUntil": "2026-01-01T00:00:00Z"}),
            "validUntil must come after validFrom",
        ),
        ("RoutingFlow", "variables/0/name", json!("contact"), "must not be contact, call, body or status"),
        ("RoutingFlow", "steps/2/name", json!("menu"), "names of steps must be unique"),
        ("RoutingFlow", "steps/2/hangup", Value::Null, "exactly one verb"),
        ("RoutingFlow", "steps/2/play", json!({"prompt": "x"}), "exactly one verb"),
        ("RoutingFlow", "steps/0/ask/choices", Value::Null, "exactly one of choices and digits"),
        ("RoutingFlow", "steps/1/dial/to/0", json!({}), "exactly one of number, extension and agent"),
        (
            "RoutingFlow",
            "steps/0/ask",
            json!({"digits": {"variable": "visits", "min": 5, "max": 4}}),
            "max must not be less than min",
        ),
        ("RoutingFlow", "steps/2/hangup", json!({"prompt": "x", "reject": "Busy"}), "both prompt and reject"),
        ("RoutingFlow", "steps/0", json!({"name": "x", "play": {}}), "must have prompt, prompts or say"),
        (
            "RoutingFlow",
            "steps/0",
            json!({"name": "x", "play": {"prompt": "a", "prompts": ["b"]}}),
            "at most one of prompt and prompts",
        ),
        ("Queue", "announcements", json!([{"afterSeconds": 5}]), "must have prompt, say or both"),
        (
            "RoutingFlow",
            "steps/0",
            json!({"name": "x", "wait": {"seconds": 5, "maxVisits": 3}}),
            "wait must have exceeded where it has maxVisits",
        ),
        (
            "RoutingFlow",
            "steps/0",
            json!({"name": "x", "split": {"parts": [{"percent": 60, "next": "ring"}, {"percent": 41, "next": "end"}]}}),
            "must not sum to more than 100",
        ),
        (
            "RoutingFlow",
            "steps/0",
            json!({"name": "x", "split": {"parts": [{"percent": 100, "next": "ring"}], "otherwise": "end"}}),
            "otherwise may stand only where",
        ),
        (
            "RoutingFlow",
            "steps/0",
            json!({"name": "x", "request": {"integration": "crm", "body": "'a'"}}),
            "body may stand only where method is",
        ),
        ("Prompt", "file", Value::Null, "exactly one of file, text"),
        ("BusinessHours", "week/0/to", json!("09:00"), "to must come after from"),
    ];
    each_is_told(&rows);
}

#[test]
fn one_fault_of_what_a_trunk_may_say_besides_gets_one_message() {
    let rows = [
        ("Prompt", "translations", json!([{"language": "es-US"}]), "a translation must have exactly one"),
        ("VoiceCluster", "edge", json!({"replicas": 2}), "more than one edge must share stores"),
        (
            "VoiceCluster",
            "egressAddresses",
            json!(["sip.example.net"]),
            "egressAddresses must be IP addresses",
        ),
        ("VoiceCluster", "reachableRanges", json!(["10.0.0.0"]), "reachableRanges must be addresses with"),
        ("Trunk", "failoverCodes", json!([486, 503]), "failoverCodes must not have 486"),
        (
            "Trunk",
            "numberFormats",
            json!({"inbound": "National", "outbound": "E164"}),
            "country must stand where",
        ),
        (
            "Trunk",
            "health",
            json!({"periodSeconds": 5, "timeoutSeconds": 5, "failures": 3}),
            "timeoutSeconds must be less than periodSeconds",
        ),
        (
            "Tenant",
            "signIn",
            json!({"passwords": "Refused", "sessionSeconds": 600}),
            "openIdConnect must stand where passwords are refused",
        ),
        ("PhoneNumber", "respOrg", json!({"id": "XYZ01"}), "respOrg may stand only where"),
        ("PhoneNumber", "porting", json!({"fromCarrier": "x"}), "porting may stand only where"),
        (
            "PhoneNumber",
            "forwarding",
            json!({"carrier": "x", "number": "+12125550144"}),
            "forwarding may stand only where",
        ),
        (
            "PhoneNumber",
            "channels",
            json!([{"channel": "Voice", "flowRef": {"name": "main"}}]),
            "channel must not be Voice",
        ),
        (
            "Allowlist",
            "ranges/0/cidr",
            json!("192.0.2.7/24"),
            "as 192.0.2.7/24 has; for the one address write 192.0.2.7/32",
        ),
        (
            "Allowlist",
            "ranges/0/cidr",
            json!("2001:db8::7/32"),
            "as 2001:db8::7/32 has; for the one address write 2001:db8::7/128",
        ),
        (
            "Allowlist",
            "ports",
            json!([{"name": "sip", "protocol": "UDP", "first": 5061, "last": 5060}]),
            "last must not be less than first",
        ),
    ];
    each_is_told(&rows);
}

#[test]
fn one_fault_of_staff_and_services_gets_one_message() {
    let rows = [
        ("Carrier", "ordering/url", Value::Null, "url must stand where driver is Http"),
        ("VoicemailBox", "emails", Value::Null, "must have emails, queueRef or agentRefs"),
        ("Integration", "headers/0/value", Value::Null, "exactly one of value and secretRef"),
        (
            "Queue",
            "skills/0/relax",
            json!([{"afterSeconds": 30, "minimum": 2}, {"afterSeconds": 30, "minimum": 1}]),
            "must not name one afterSeconds twice",
        ),
        ("Agent", "stations/0/webRtc", Value::Null, "exactly one of webRtc, sip and pstn"),
        ("Agent", "signIn/subject", Value::Null, "exactly one of secretRef and subject"),
        ("Campaign", "abandonPercentMax", Value::Null, "must have abandonPercentMax"),
        ("Campaign", "attempts/perDayMax", json!(4), "perDayMax must not be greater than max"),
        ("ContactList", "contacts", Value::Null, "exactly one of contacts, remote and configMapRef"),
        ("DoNotCallList", "numbers", Value::Null, "exactly one of numbers, remote and configMapRef"),
        ("ContactPoint", "chat", Value::Null, "exactly one of chat, email, sms and social"),
        ("ContactPoint", "chat/survey/1/name", json!("team"), "questions must have unique names"),
        ("CallTest", "script/0", json!({}), "an act must have exactly one"),
        ("CallTest", "callees/0/number", json!("+12125550100"), "exactly one of number and extension"),
    ];
    each_is_told(&rows);
}

#[test]
fn what_must_not_change_does_not() {
    for (kind, path, value, message) in [
        ("VoiceCluster", "code", json!("C15"), "code must not change"),
        ("Trunk", "clusterRef/name", json!("e39"), "clusterRef must not change"),
        ("NumberOrder", "carrierRef/name", json!("other"), "carrierRef must not change"),
    ] {
        let mut object = valid(kind);
        spoil(&mut object, path, value);
        let found = verdict(kind, &object, Some(&valid(kind)));
        assert!(found.contains(message), "{kind} {path}: {found}");
    }
}
