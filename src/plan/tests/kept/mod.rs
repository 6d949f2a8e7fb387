//! What stays live when an edit is wrong, and what goes although it would be convenient to keep it.

mod calls;
mod centre;
mod table;

use std::{collections::BTreeSet, sync::LazyLock};

use plan::{Plan, Reason, SourceFile};
use proptest::prelude::*;

use crate::{cases, lines, now, planned, quickstart};

/// The quickstart with pieces of its text replaced: file, what stands there, what shall stand there.
fn edited(edits: &[(&str, &str, &str)]) -> Vec<SourceFile> {
    let mut files = quickstart();
    for (name, from, to) in edits {
        let file = files.iter_mut().find(|file| file.path == *name).unwrap();
        let text = std::str::from_utf8(&file.bytes).unwrap();
        assert!(text.contains(from), "{name} has no `{from}`");
        file.bytes = text.replacen(from, to, 1).into_bytes().into();
    }
    files
}

fn after(last: &Plan, files: &[SourceFile]) -> Plan {
    let (resources, _) = plan::load(files);
    plan::plan(&resources, Some(last), now())
}

/// A line for each number that is live: where calls of it go, by the flow's revision.
fn live(plan: &Plan) -> Vec<String> {
    let clusters = plan.clusters.values();
    let numbers = clusters.flat_map(|cluster| {
        let snapshot = &cluster.snapshot;
        let ranges = snapshot
            .numbers
            .iter()
            .flat_map(|(trunk, ranges)| ranges.iter().map(move |range| (trunk, range)));
        ranges.map(|(trunk, range)| {
            format!("{trunk} {} {} {}", range.first, range.flow, snapshot.flows[&range.flow].revision)
        })
    });
    numbers.collect()
}

fn same_snapshot(a: &Plan, b: &Plan) -> bool {
    let parts =
        |plan: &Plan| plan.clusters.values().map(|cluster| cluster.snapshot.clone()).collect::<Vec<_>>();
    parts(a) == parts(b)
}

#[test]
fn a_bad_edit_is_reported_and_the_last_good_form_stays_live() {
    let good = planned(&quickstart());
    for (reason, edit) in [
        (Reason::InvalidValue, ("cluster.yaml", "port: 5060", "port: 0")),
        (Reason::PortClash, ("cluster.yaml", "port: 5060", "port: 20500")),
        (Reason::InvalidValue, ("carrier.yaml", "127.0.0.1/32", "127.0.0.1/33")),
        (Reason::SourceOverlap, ("pbx.yaml", "127.0.0.2/32", "127.0.0.0/8")),
        (Reason::UnknownNetwork, ("carrier.yaml", "network: loopback", "network: lan")),
        (Reason::UnknownTimeZone, ("tenant.yaml", "timeZone: America/New_York", "timeZone: Mars/Olympus")),
        (Reason::InvalidValue, ("numbers.yaml", "kind: TollFree", "kind: Free")),
        (Reason::WrongType, ("numbers.yaml", "\"+18005550100\"", "+18005550100")),
        (Reason::UnknownStep, ("flow-main.yaml", "next: sales", "next: sails")),
        (Reason::PromptNotFound, ("flow-main.yaml", "{prompt: billing", "{prompt: biling")),
        (Reason::InvalidExpression, ("flow-main.yaml", "visits > 2", "visits >")),
        (Reason::FileNotFound, ("prompts.yaml", "prompts/menu.wav", "prompts/menus.wav")),
        (Reason::InvalidDate, ("tenant.yaml", "2026-12-25", "2026-02-30")),
        (Reason::DuplicateKey, ("numbers.yaml", "  kind: TollFree", "  kind: Local\n  kind: TollFree")),
        (Reason::InvalidYaml, ("numbers.yaml", "number: \"+18005550100\"", "number: \"+18005550100")),
        (Reason::InvalidYaml, ("cluster.yaml", "allowedNamespaces: [acme]", "allowedNamespaces: [acme")),
        (Reason::MissingField, ("flow-main.yaml", "kind: RoutingFlow\n", "")),
        (Reason::UnknownKind, ("flow-main.yaml", "kind: RoutingFlow", "kind: Flow")),
    ] {
        let plan = after(&good, &edited(&[edit]));
        let found: Vec<_> = plan.problems.iter().map(|problem| problem.reason).collect();
        assert!(found.contains(&reason), "{edit:?}: {}", lines(&plan.problems));
        assert_eq!(live(&plan), live(&good), "{edit:?}");
        // And for as long as it stays wrong.
        assert!(same_snapshot(&after(&plan, &edited(&[edit])), &plan), "{edit:?}");
        let mended = after(&plan, &quickstart());
        assert_eq!(lines(&mended.problems), "");
        assert!(same_snapshot(&mended, &good), "{edit:?}");
    }
}

#[test]
fn a_bad_allowlist_admits_whom_it_admitted_and_a_deleted_one_nobody() {
    let good = planned(&quickstart());
    let sources = |plan: &Plan| {
        let trunks = plan.clusters.values().next().unwrap().snapshot.trunks.clone();
        let carrier = trunks.into_iter().find(|(id, _)| id.0.as_str() == "platform/carrier").unwrap().1;
        carrier.sources.iter().map(|source| source.range.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(sources(&good), ["127.0.0.1/32"]);
    let bad = after(&good, &edited(&[("carrier.yaml", "127.0.0.1/32", "127.0.0.1")]));
    assert_eq!(sources(&bad), ["127.0.0.1/32"]);
    let other = after(&good, &edited(&[("carrier.yaml", "127.0.0.1/32", "127.0.0.9/32")]));
    assert_eq!(sources(&other), ["127.0.0.9/32"]);
    let gone = after(&good, &edited(&[("carrier.yaml", "name: carrier", "name: renamed")]));
    assert!(sources(&gone).is_empty(), "{}", lines(&gone.problems));
}

#[test]
fn a_tenant_cannot_take_the_carriers_sources() {
    let wide = [("pbx.yaml", "127.0.0.2/32", "127.0.0.0/8")];
    let sources = |plan: &Plan| {
        let trunks = plan.clusters.values().flat_map(|cluster| cluster.snapshot.trunks.clone());
        let trunks = trunks.map(|(id, trunk)| (id.to_string(), trunk.sources[0].range.to_string()));
        trunks.collect::<Vec<_>>()
    };
    let entry = |trunk: &str, range: &str| (trunk.to_owned(), range.to_owned());
    let fresh = planned(&edited(&wide));
    assert_eq!(sources(&fresh), [entry("platform/carrier", "127.0.0.1/32")]);
    let good = planned(&quickstart());
    let kept = after(&good, &edited(&wide));
    assert_eq!(kept.problems[0].reason, Reason::SourceOverlap);
    assert_eq!(sources(&kept), sources(&good), "the PBX keeps what it had");
    let moved = after(&good, &edited(&[("pbx.yaml", "127.0.0.2/32", "127.0.0.1/32")]));
    assert_eq!(sources(&moved).len(), 1, "what is no longer listed is not kept");
}

#[test]
fn an_object_that_was_never_good_is_not_live() {
    for edit in [
        ("cluster.yaml", "port: 5060", "port: 0"),
        ("carrier.yaml", "network: loopback", "network: lan"),
        ("tenant.yaml", "country: US", "country: usa"),
        ("cluster.yaml", "allowedNamespaces: [acme]", "allowedNamespaces: [beta]"),
    ] {
        assert_eq!(live(&planned(&edited(&[edit]))), Vec::<String>::new(), "{edit:?}");
    }
    let plan = planned(&edited(&[("flow-main.yaml", "next: sales", "next: sails")]));
    assert_eq!(live(&plan).len(), 1, "the other number has a flow of its own");
    let (resources, _) = plan::load(&edited(&[("carrier.yaml", "127.0.0.1/32", "127.0.0.1/33")]));
    let plan = plan::plan(&resources, None, now());
    let snapshot = &plan.clusters.values().next().unwrap().snapshot;
    let carrier = snapshot.trunks.iter().find(|(id, _)| id.0.name() == "carrier").unwrap().1;
    assert!(carrier.sources.is_empty(), "an invalid list that was never valid admits nobody");
}

#[test]
fn a_number_outlives_its_flow_until_it_is_edited() {
    let good = planned(&quickstart());
    let mut files = quickstart();
    files.retain(|file| file.path != "flow-main.yaml");
    let orphaned = after(&good, &files);
    assert_eq!(live(&orphaned), live(&good));
    assert_eq!(orphaned.problems[0].reason, Reason::FlowNotFound, "{}", lines(&orphaned.problems));
    let again = after(&orphaned, &files);
    assert_eq!(live(&again), live(&good), "however often it is planned");

    let numbers = files.iter_mut().find(|file| file.path == "numbers.yaml").unwrap();
    let text = std::str::from_utf8(&numbers.bytes).unwrap().replacen("kind: TollFree", "kind: National", 1);
    numbers.bytes = text.into_bytes().into();
    let touched = after(&again, &files);
    assert_eq!(live(&touched).len(), 1, "an edited number follows what it says");
    let still = after(&touched, &files);
    assert_eq!(live(&still).len(), 1);
}

#[test]
fn what_is_deleted_or_withdrawn_goes_at_once() {
    let good = planned(&quickstart());
    let withdrawn = after(
        &good,
        &edited(&[(
            "carrier.yaml",
            "{first: \"+18005550100\", last: \"+18005550100\"}",
            "{first: \"+18005550199\", last: \"+18005550199\"}",
        )]),
    );
    assert_eq!(live(&withdrawn).len(), 1, "a withdrawn grant");
    assert_eq!(withdrawn.problems[0].reason, Reason::NumberNotGranted);

    let mut files = quickstart();
    files.retain(|file| file.path != "numbers.yaml");
    assert!(live(&after(&good, &files)).is_empty(), "deleted numbers");
    let mut files = quickstart();
    files.retain(|file| file.path != "cluster.yaml");
    assert!(after(&good, &files).clusters.is_empty(), "a deleted cluster");
    let refused =
        after(&good, &edited(&[("cluster.yaml", "allowedNamespaces: [acme]", "allowedNamespaces: [beta]")]));
    assert!(live(&refused).is_empty(), "a namespace no longer allowed");
}

#[test]
fn a_new_claim_cannot_push_out_an_old_one() {
    let good = planned(&quickstart());
    let squatter = "apiVersion: switchboard.dev/v1alpha1\nkind: PhoneNumber\nmetadata: {name: aaa, namespace: acme}\nspec:\n  number: \"+18005550100\"\n  kind: TollFree\n  origin: RespOrg\n  trunkRef: {namespace: platform, name: carrier}\n  flowRef: {name: reception}\n";
    let mut files = quickstart();
    files.push(SourceFile { path: "squatter.yaml".into(), bytes: squatter.as_bytes().into() });
    let plan = after(&good, &files);
    assert_eq!(live(&plan), live(&good));
    assert_eq!(plan.problems[0].reason, Reason::NumberTaken);
    assert_eq!(&*plan.problems[0].at.file, "squatter.yaml");
}

#[test]
fn what_is_kept_outlives_the_process() {
    let good = planned(&quickstart());
    let restarted = Plan::from_stored(&good.to_stored().unwrap()).unwrap();
    let mut files = edited(&[
        ("cluster.yaml", "port: 5060", "port: 0"),
        ("carrier.yaml", "127.0.0.1/32", "127.0.0.1/33"),
        ("flow-reception.yaml", "next: end", "next: ende"),
        ("prompts.yaml", "prompts/menu.wav", "prompts/menus.wav"),
        ("numbers.yaml", "kind: TollFree", "kind: [TollFree"),
    ]);
    files.retain(|file| file.path != "flow-main.yaml");
    assert!(same_snapshot(&after(&restarted, &files), &good));
    assert_eq!(restarted.to_stored().unwrap(), good.to_stored().unwrap());
}

#[test]
fn a_stored_plan_that_was_changed_is_refused() {
    let stored = planned(&quickstart()).to_stored().unwrap();
    for cut in [0, 1, 64, 65, stored.len() / 2, stored.len() - 1] {
        assert!(Plan::from_stored(&stored[..cut]).is_err(), "{cut}");
    }
    let mut flipped = stored;
    *flipped.last_mut().unwrap() ^= 1;
    assert!(Plan::from_stored(&flipped).is_err());
}

#[test]
fn a_secrets_value_is_never_printed() {
    let mut files = quickstart();
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {password: hunter2}\n";
    files.push(SourceFile { path: "secret.yaml".into(), bytes: secret.as_bytes().into() });
    let (resources, problems) = plan::load(&files);
    assert!(problems.is_empty());
    assert_eq!(resources.foreign.len(), 1);
    assert!(!format!("{:?}", resources.foreign).contains("hunter2"));
}

/// The quickstart's documents, each by itself; recordings stay where they are.
fn documents() -> (Vec<String>, Vec<SourceFile>) {
    let (manifests, others): (Vec<_>, Vec<_>) =
        quickstart().into_iter().partition(|file| file.path.ends_with(".yaml"));
    let texts = manifests.iter().flat_map(|file| {
        let text = std::str::from_utf8(&file.bytes).unwrap();
        text.split("---\n").map(str::to_owned).collect::<Vec<_>>()
    });
    (texts.collect(), others)
}

/// As it is planned undisturbed.
static QUICKSTART: LazyLock<Plan> = LazyLock::new(|| planned(&quickstart()));

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(16), ..ProptestConfig::default() })]

    #[test]
    fn order_and_files_of_documents_do_not_matter(order in Just(documents().0).prop_shuffle(), per_file in 1..8_usize) {
        let (_, mut files) = documents();
        for (index, part) in order.chunks(per_file).enumerate() {
            let bytes = part.join("---\n").into_bytes().into();
            files.push(SourceFile { path: format!("{index:03}.yaml"), bytes });
        }
        let shuffled = planned(&files);
        prop_assert_eq!(lines(&shuffled.problems), "");
        prop_assert!(same_snapshot(&shuffled, &QUICKSTART));
    }

    /// The second of two objects of one name is refused, whatever it says, and the first is what it was.
    #[test]
    fn documents_that_stand_twice_change_no_byte(order in Just(documents().0).prop_shuffle(), again in 0..8_usize) {
        let (_, mut files) = documents();
        let twice = &order[again % order.len()];
        let texts = [order.join("---\n"), twice.clone()];
        for (index, text) in texts.into_iter().enumerate() {
            files.push(SourceFile { path: format!("{index}.yaml"), bytes: text.into_bytes().into() });
        }
        let plan = planned(&files);
        let told: BTreeSet<Reason> = plan.problems.iter().map(|problem| problem.reason).collect();
        prop_assert_eq!(told, BTreeSet::from([Reason::DuplicateObject]));
        let digests = |plan: &Plan| plan.clusters.values().map(|cluster| cluster.sections().unwrap().digest()).collect::<Vec<_>>();
        prop_assert_eq!(digests(&plan), digests(&QUICKSTART));
    }

    #[test]
    fn no_manifest_causes_a_panic(cut in 0..2_000_usize, junk in "[-a-z0-9:{}\\[\\]&*\"' \n]{0,20}", which in 0..8_usize) {
        let mut files = quickstart();
        let file = files.iter_mut().filter(|file| file.path.ends_with(".yaml")).nth(which).unwrap();
        let text = std::str::from_utf8(&file.bytes).unwrap();
        let cut = (0..=cut.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        file.bytes = format!("{}{junk}{}", &text[..cut], &text[cut..]).into_bytes().into();
        for problem in plan::check(&files, now()) {
            prop_assert!(!problem.message.is_empty());
        }
    }
}
