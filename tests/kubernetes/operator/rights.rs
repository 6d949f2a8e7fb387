//! Who may do what, as the API server decides it.

use futures::{StreamExt, stream};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{Api, api::PostParams};

use super::world::{OPERATOR, SYSTEM, world};

const OWN: &str = "rights-acme";
const OTHER: &str = "rights-globex";
const PLATFORM: &str = "rights-platform";

/// In the order of a row's marks.
const WHO: [(&str, &str); 5] = [
    ("platform-admin", "system:serviceaccount:rights-platform:admin"),
    ("tenant-admin", "system:serviceaccount:rights-acme:admin"),
    ("viewer", "system:serviceaccount:rights-acme:viewer"),
    ("operator", OPERATOR),
    ("edge", "system:serviceaccount:switchboard-system:switchboard-edge"),
];

/// Verbs, of what, in which namespace, and who may: `p`latform-admin, `t`enant-admin, `v`iewer, `o`perator; the edge
/// never may.
const TABLE: &[(&str, &str, &str, &str)] = &[
    ("get", "tenant kinds", OWN, "ptv"),
    ("list watch", "tenant kinds", OWN, "ptvo"),
    ("create update patch delete deletecollection", "tenant kinds", OWN, "pt"),
    ("get", "tenant kinds", OTHER, "p"),
    ("list watch", "tenant kinds", OTHER, "po"),
    ("create update patch delete deletecollection", "tenant kinds", OTHER, "p"),
    ("get", "platform kinds", OWN, "pv"),
    ("list watch", "platform kinds", OWN, "pvo"),
    ("create update patch delete deletecollection", "platform kinds", OWN, "p"),
    ("create update patch delete deletecollection", "platform kinds", PLATFORM, "p"),
    ("get", "tenant kinds' status", OWN, "ptv"),
    ("get", "platform kinds' status", PLATFORM, "p"),
    ("patch", "tenant kinds' status", OWN, "o"),
    ("patch", "tenant kinds' status", OTHER, "o"),
    ("patch", "platform kinds' status", PLATFORM, "o"),
    ("create update delete", "tenant kinds' status", OWN, ""),
    ("get list watch", "/secrets", OWN, "o"),
    ("create update patch delete deletecollection", "/secrets", OWN, ""),
    ("get list watch create patch", "/secrets", PLATFORM, "o"),
    ("update delete deletecollection", "/secrets", PLATFORM, ""),
    ("get list watch create update patch delete", "/secrets", OTHER, ""),
    ("list watch update delete", "/secrets", SYSTEM, ""),
    ("get create patch", "/secrets/switchboard-link-ca", SYSTEM, "o"),
    ("get create patch", "/secrets/switchboard-webhook", SYSTEM, ""),
    ("get create patch", "/secrets/switchboard-plan-31", SYSTEM, "o"),
    ("get create patch", "/secrets/other", SYSTEM, ""),
    ("create", "coordination.k8s.io/leases", SYSTEM, "o"),
    ("get update", "coordination.k8s.io/leases/switchboard", SYSTEM, "o"),
    ("get update patch delete", "coordination.k8s.io/leases/other", SYSTEM, ""),
    ("create patch", "events.k8s.io/events", OWN, "o"),
    ("delete get list", "events.k8s.io/events", OWN, ""),
    ("get list create update patch delete", "apiextensions.k8s.io/customresourcedefinitions", "", ""),
    ("get patch", "admissionregistration.k8s.io/validatingwebhookconfigurations/switchboard", "", "o"),
    ("update delete", "admissionregistration.k8s.io/validatingwebhookconfigurations/switchboard", "", ""),
    ("get patch", "admissionregistration.k8s.io/validatingwebhookconfigurations/other", "", ""),
    (
        "patch delete",
        "admissionregistration.k8s.io/validatingadmissionpolicies/switchboard-platform-kinds",
        "",
        "",
    ),
    ("get list create delete", "/pods", OWN, ""),
    ("create", "/serviceaccounts", OWN, ""),
    ("get create", "/configmaps", OWN, ""),
    ("get patch delete", "/namespaces/rights-acme", OWN, ""),
    ("get create patch", "apps/deployments", PLATFORM, ""),
    ("create bind escalate", "rbac.authorization.k8s.io/rolebindings", OWN, ""),
    ("impersonate", "/serviceaccounts", SYSTEM, ""),
];

const PLATFORMS: [&str; 3] = ["carriers", "pointsofpresence", "voiceclusters"];

/// Group, resource, subresource and name of what a row speaks of.
fn resources(what: &str) -> Vec<[String; 4]> {
    if let Some((group, rest)) = what.split_once('/') {
        let (resource, name) = rest.split_once('/').unwrap_or((rest, ""));
        return vec![[group.into(), resource.into(), String::new(), name.into()]];
    }
    let status = if what.ends_with("' status") { "status" } else { "" };
    let platforms = what.starts_with("platform");
    let plurals = api::kinds().into_iter().map(|kind| kind.plural);
    let plurals = plurals.filter(|plural| PLATFORMS.contains(&plural.as_str()) == platforms);
    plurals.map(|plural| [api::GROUP.into(), plural, status.into(), String::new()]).collect()
}

fn review(user: &str, verb: &str, namespace: &str, of: &[String; 4]) -> SubjectAccessReview {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let [group, resource, subresource, name] = of;
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: some(user),
            resource_attributes: Some(ResourceAttributes {
                group: some(group),
                resource: some(resource),
                subresource: some(subresource),
                name: some(name),
                namespace: some(namespace),
                verb: some(verb),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}

fn bind_all() {
    let world = world();
    world.tenant_namespace(OWN);
    world.platform_namespace(PLATFORM);
    world.plane.namespaces([OTHER]);
    world.bind(OWN, "admin", "switchboard-tenant-admin");
    world.bind(OWN, "viewer", "switchboard-viewer");
    let everywhere = format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: rights-platform}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: switchboard-platform-admin}}
subjects: [{{kind: ServiceAccount, name: admin, namespace: {PLATFORM}}}]
"
    );
    world.apply(None, &everywhere).done();
}

#[test]
fn each_may_do_what_the_table_says_and_no_more() {
    bind_all();
    let world = world();
    let mut wanted = Vec::new();
    for (verbs, what, namespace, who) in TABLE {
        for (verb, of) in
            verbs.split(' ').flat_map(|verb| resources(what).into_iter().map(move |of| (verb, of)))
        {
            for (name, user) in WHO {
                let may = name != "edge" && who.contains(&name[..1]);
                wanted.push((
                    format!("{name}: {verb} {of:?} in {namespace:?}"),
                    may,
                    review(user, verb, namespace, &of),
                ));
            }
        }
    }
    assert!(wanted.len() > 2_000, "{}", wanted.len());
    let decide = || {
        let reviews: Api<SubjectAccessReview> = Api::all(world.client.clone());
        let asked = stream::iter(wanted.iter().map(|(line, may, review)| {
            let reviews = reviews.clone();
            async move {
                let found = reviews.create(&PostParams::default(), review).await.unwrap();
                let allowed = found.status.is_some_and(|status| status.allowed);
                (allowed != *may).then(|| format!("{line}: allowed {allowed}"))
            }
        }));
        world.run(asked.buffer_unordered(16).filter_map(std::future::ready).collect::<Vec<String>>())
    };
    // Bindings are seen a moment after they are made.
    let mut wrong = decide();
    for _ in 0..20 {
        if wrong.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
        wrong = decide();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Kubernetes' own role takes ours in.
#[test]
fn whoever_views_a_namespace_views_our_kinds_and_no_secret() {
    let world = world();
    world.plane.namespaces(["rights-view"]);
    let user = world.bind("rights-view", "somebody", "view");
    let may = |verb: &str, what: &str| {
        let user = format!("--as={user}");
        world.plane.kubectl(&["auth", "can-i", verb, what, "-n", "rights-view", &user]).succeeded
    };
    let trunks = format!("trunks.{}", api::GROUP);
    world.plane.until("the role is taken in", || may("list", &trunks));
    assert!(!may("patch", &trunks));
    assert!(!may("get", "secrets"));
}
