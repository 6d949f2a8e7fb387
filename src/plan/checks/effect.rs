//! Fields that the schema accepts although nothing acts on them yet: nobody shall believe in a setting that does
//! nothing.

use serde_json::Value;

use super::{Fields, has_form};
use crate::{
    problem::Reason,
    resources::{Object, Report, Spec},
    words,
};

/// Kinds that are checked and nothing more.
const KINDS: &[&str] = &["Campaign", "ContactList", "ContactPoint", "DoNotCallList", "NumberOrder"];

/// What happens without a field.
#[derive(Debug, Clone, Copy)]
enum Meanwhile {
    /// As if the field were absent.
    Ignored,
    /// Nothing listens on the network, and no audio goes there.
    Silent,
}

use Meanwhile::{Ignored, Silent};

/// Suites that our servers have; those with finite-field Diffie-Hellman or CBC they have not.
const SERVED_SUITES: &[&str] = &[
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
];

/// Kind, field, and the values that need no warning because they are what happens anyway.
const FIELDS: &[(&str, &str, &[&str], Meanwhile)] = &[
    ("VoiceCluster", "spec.tls.inboundSuites[]", SERVED_SUITES, Ignored),
    ("VoiceCluster", "spec.networks[].attachment", &[], Silent),
    ("VoiceCluster", "spec.edge", &[], Ignored),
    ("VoiceCluster", "spec.exposure", &["HostNetwork"], Ignored),
    ("VoiceCluster", "spec.stores.liveState", &[], Ignored),
    ("VoiceCluster", "spec.media.replicas", &[], Ignored),
    ("VoiceCluster", "spec.media.spanNetwork", &[], Ignored),
    ("PointOfPresence", "spec.mediaRanges", &[], Ignored),
    ("Carrier", "spec.ordering", &[], Ignored),
    ("Queue", "spec.channels[]", &["Voice"], Ignored),
    ("Agent", "spec.stations[].webRtc", &[], Ignored),
    ("Agent", "spec.capacity.chat", &["0"], Ignored),
    ("Agent", "spec.capacity.email", &["0"], Ignored),
    ("Agent", "spec.capacity.sms", &["0"], Ignored),
    ("Agent", "spec.capacity.social", &["0"], Ignored),
    ("PhoneNumber", "spec.porting", &[], Ignored),
    ("PhoneNumber", "spec.forwarding.since", &[], Ignored),
    ("PhoneNumber", "spec.forwarding.until", &[], Ignored),
    ("PhoneNumber", "spec.channels", &[], Ignored),
    ("PhoneNumber", "spec.emergencyLocation", &[], Ignored),
    ("RoutingFlow", "spec.steps[].transfer.kind", &["Blind"], Ignored),
    ("VoicemailBox", "spec.emails", &[], Ignored),
    ("VoicemailBox", "spec.queueRef", &[], Ignored),
    ("Allowlist", "spec.domains", &[], Ignored),
    ("Allowlist", "spec.ports", &[], Ignored),
];

/// One warning for each field that is not in effect, or one for the whole object.
pub(super) fn check(object: &Object, fields: &Fields, report: &mut Report) {
    let (id, source) = (&object.id, Some(&object.source));
    if KINDS.contains(&id.kind) {
        let message = match &object.spec {
            Some(Spec::ContactPoint(point)) if point.sms.is_some() => {
                "Messages are sent by this ContactPoint, but none that come in are taken yet.".to_owned()
            }
            _ => format!("{} objects are checked, but nothing acts on them yet.", id.kind),
        };
        report.warning(id, source, "kind", Reason::NotYetEffective, message);
        return;
    }
    for (path, value) in fields.iter() {
        let meanwhile = FIELDS.iter().find(|(kind, form, anyway, _)| {
            *kind == id.kind && has_form(path, form) && !happens_anyway(value, anyway)
        });
        if let Some((.., meanwhile)) = meanwhile {
            report.warning(id, source, path, Reason::NotYetEffective, sentence(path, value, *meanwhile));
        }
    }
}

fn happens_anyway(value: &Value, anyway: &[&str]) -> bool {
    value.as_str().is_some_and(|text| anyway.contains(&text))
        || value.as_i64().is_some_and(|number| anyway.contains(&number.to_string().as_str()))
        || value.as_array().is_some_and(Vec::is_empty)
}

fn sentence(path: &str, value: &Value, meanwhile: Meanwhile) -> String {
    let said = value.as_str().map_or_else(String::new, |text| format!(": {}", words::clip(text)));
    let name = format!("`{}{said}`", words::last(path));
    match meanwhile {
        Ignored => format!("{name} is accepted, but nothing acts on it yet."),
        Silent => format!("{name} is not available yet: nothing listens on this network until it is."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row about a field that was renamed would warn of nothing.
    #[test]
    fn every_row_is_about_a_field_that_there_is() {
        let kinds = api::kinds();
        let schema = |name: &str| &kinds.iter().find(|kind| kind.name == name).unwrap().schema;
        for kind in KINDS {
            schema(kind);
        }
        for (kind, form, ..) in FIELDS {
            let pointer = form.replace("[]", "/items").replace('.', "/properties/");
            let found = schema(kind).pointer(&format!("/properties/{pointer}"));
            assert!(found.is_some(), "{kind} has no {form}");
        }
    }
}
