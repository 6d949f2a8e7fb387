//! The quickstart, edited as a tenant would edit it, and which calls change by that.

use std::{sync::Arc, time::Instant};

use call::{
    Now,
    world::{Names, World},
};
use plan::{Plan, SourceFile};
use proptest::prelude::*;
use sim::{
    changes::{Changes, Side, changes},
    explain::{Explained, Question, explain},
};

use crate::quickstart;

/// Thanksgiving, in the morning of New York.
const AT: &str = "2026-11-26T12:00:00Z";

/// The quickstart with office hours from Monday to Friday.
fn before() -> Vec<SourceFile> {
    let mut files = quickstart();
    edit(
        &mut files,
        "tenant.yaml",
        "[Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday]\n    from: \"00:00\"\n    to: \"24:00\"",
        "[Monday, Tuesday, Wednesday, Thursday, Friday]\n    from: \"09:00\"\n    to: \"17:00\"",
    );
    files
}

fn edit(files: &mut [SourceFile], file: &str, from: &str, to: &str) {
    let file = files.iter_mut().find(|known| known.path == file).unwrap();
    let text = std::str::from_utf8(&file.bytes).unwrap();
    assert!(text.contains(from), "{} does not hold {from}", file.path);
    file.bytes = text.replace(from, to).into_bytes().into();
}

pub fn planned(files: &[SourceFile]) -> Plan {
    let (resources, _) = plan::load(files);
    let plan = plan::plan(&resources, None, AT.parse().unwrap());
    let problems = plan.problems.iter().filter(|problem| problem.severity == plan::Severity::Error);
    let problems: String = problems.map(|problem| format!("{problem}\n")).collect();
    assert_eq!(problems, "");
    plan
}

#[expect(clippy::disallowed_methods, reason = "some instant is needed, and none is compared with")]
pub fn compared(old: &Plan, new: &Plan) -> Changes {
    let (old_worlds, new_worlds) = (worlds(old), worlds(new));
    let (old, new) = (side(old, &old_worlds), side(new, &new_worlds));
    changes(&old, &new, Now { instant: Instant::now(), wall: AT.parse().unwrap() })
}

fn worlds(plan: &Plan) -> Vec<World> {
    let clusters = plan.clusters.values();
    clusters.map(|cluster| World::new(Arc::clone(&cluster.snapshot), Names::new(), None).unwrap()).collect()
}

fn side<'w>(plan: &Plan, worlds: &'w [World]) -> Side<'w> {
    let zones = plan.time_zones().map(|(namespace, zone)| (namespace.to_owned(), zone.to_owned()));
    Side { worlds: worlds.iter().collect(), zones: zones.collect() }
}

fn told(old: &[SourceFile], new: &[SourceFile]) -> String {
    compared(&planned(old), &planned(new)).to_string()
}

/// File, what stands there, and what shall.
type Edit<'a> = (&'a str, &'a str, &'a str);

/// What comes of each of some edits under its title. The way back must tell as much.
fn all(cases: &[(&str, &[Edit<'_>])]) -> String {
    let mut text = String::new();
    for (title, edits) in cases {
        let mut new = before();
        for (file, from, to) in *edits {
            edit(&mut new, file, from, to);
        }
        let found = told(&before(), &new);
        let back = told(&new, &before());
        assert_eq!(back.lines().count(), found.lines().count(), "{title}:\n{found}back:\n{back}");
        text += &format!("## {title}\n{found}\n");
    }
    text
}

#[test]
fn hours_change_calls_at_the_times_that_change() {
    let week = "to: \"17:00\"";
    let saturday = "to: \"17:00\"\n  - {days: [Saturday], from: \"10:00\", to: \"18:00\"}";
    let eve = "  holidays:\n  - {date: \"2026-12-24\", name: Christmas Eve}\n";
    let over = "  holidays:\n  - {date: \"2026-07-03\", name: Independence Day}\n";
    let zone = "spec:\n  timeZone: America/New_York\n  week";
    insta::assert_snapshot!(all(&[
        ("open on Saturdays", &[("tenant.yaml", week, saturday)]),
        ("closed earlier", &[("tenant.yaml", week, "to: \"16:30\"")]),
        ("one more holiday", &[("tenant.yaml", "  holidays:\n", eve)]),
        ("a holiday that is over", &[("tenant.yaml", "  holidays:\n", over)]),
        ("another name of a holiday", &[("tenant.yaml", "Christmas Day", "Xmas")]),
        ("another time zone", &[("tenant.yaml", zone, &zone.replace("New_York", "Chicago"))]),
        (
            "holidays are told apart from closed hours",
            &[("flow-main.yaml", "closed: closed}", "closed: closed, holiday: goodbye}")],
        ),
    ]));
}

#[test]
fn a_menu_changes_calls_by_what_is_pressed() {
    let menu = "flow-main.yaml";
    let three = "{digits: \"2\", next: billing}\n      - {digits: \"3\", next: billing}";
    insta::assert_snapshot!(all(&[
        ("another key", &[(menu, "{digits: \"2\", next: billing}", "{digits: \"3\", next: billing}")]),
        ("one more key", &[(menu, "{digits: \"2\", next: billing}", three)]),
        ("another way for silence", &[(menu, "noInput: goodbye ", "noInput: sales ")]),
        ("more patience", &[(menu, "timeoutSeconds: 5", "timeoutSeconds: 8")]),
        ("one attempt", &[(menu, "attempts: 3", "attempts: 1")]),
        ("one visit", &[(menu, "maxVisits: 5", "maxVisits: 1")]),
        ("another question", &[(menu, "      prompt: menu\n", "      prompt: opening-hours\n")]),
        ("nothing after a wrong key", &[(menu, "      invalidPrompt: invalid\n", "")]),
        (
            "more is heard",
            &[(menu, "play: {prompt: billing, next", "play: {prompts: [billing, closed], next")],
        ),
        ("a variable counts otherwise", &[(menu, "visits > 2", "visits > 1")]),
        (
            "digits in place of choices",
            &[
                (
                    menu,
                    "  - {name: visits, type: Integer, initial: \"0\"}",
                    "  - {name: visits, type: Integer, initial: \"0\"}\n  - {name: order, type: String}"
                ),
                (
                    menu,
                    "play: {prompt: billing, next: goodbye}",
                    "ask: {prompt: billing, digits: {variable: order, min: 4, max: 6, next: sales}, noInput: goodbye, noMatch: goodbye}"
                ),
            ]
        ),
    ]));
}

#[test]
fn a_dial_changes_calls_by_what_the_callee_does() {
    let (main, reception) = ("flow-main.yaml", "flow-reception.yaml");
    let extension = "- extension: {trunkRef: {name: desk-phones}, user: \"200\"}";
    let failures = "busy: nobody\n      noAnswer: nobody\n      failed: nobody\n";
    let number = "- {number: \"+12125550150\"}";
    insta::assert_snapshot!(all(&[
        ("another extension", &[(main, "user: \"201\"", "user: \"202\"")]),
        ("rings longer", &[(main, "ringSeconds: 15", "ringSeconds: 25")]),
        ("another way for busy", &[(main, "busy: nobody", "busy: goodbye")]),
        ("a number in place of an extension", &[(reception, extension, number)]),
        ("both, one after the other", &[(reception, extension, &format!("{extension}\n      {number}"))]),
        (
            "the callee's own code",
            &[(reception, &format!("      {failures}"), ""), (reception, "next: end\n", "next: nobody\n")]
        ),
        (
            "refused as busy",
            &[
                (reception, failures, "busy: busy\n      noAnswer: nobody\n      failed: nobody\n"),
                (reception, "  - name: end\n", "  - {name: busy, hangup: {reject: Busy}}\n  - name: end\n"),
                (reception, "play: {prompt: nobody}", "play: {prompt: nobody, next: end}"),
            ]
        ),
        (
            "answered first",
            &[(reception, "  steps:\n", "  steps:\n  - name: hello\n    play: {prompt: welcome}\n"),]
        ),
        (
            "heard before the answer",
            &[(reception, "play: {prompt: nobody}", "play: {prompt: nobody, early: true}"),]
        ),
        (
            "another caller id",
            &[
                ("pbx.yaml", "transport: UDP}", "transport: UDP}"),
                ("tenant.yaml", "defaultCallerId: \"+12125550100\"", "defaultCallerId: \"+18005550100\""),
            ]
        ),
        (
            "the PBX moves",
            &[("pbx.yaml", "127.0.0.1:5070\", transport: UDP", "127.0.0.1:5071\", transport: TCP"),]
        ),
    ]));
}

#[test]
fn a_caller_id_is_shown_to_callees_alone() {
    let extension = "- extension: {trunkRef: {name: desk-phones}, user: \"200\"}";
    let mut old = before();
    edit(&mut old, "flow-reception.yaml", extension, "- {number: \"+12125550150\"}");
    let mut new = old.clone();
    edit(&mut new, "tenant.yaml", "defaultCallerId: \"+12125550100\"", "defaultCallerId: \"+18005550100\"");
    assert_eq!(told(&old, &new), "+12125550100: shows the callee: +12125550100 → +18005550100\n");
}

#[test]
fn callers_are_told_apart_as_the_flow_tells_them_apart() {
    let main = "flow-main.yaml";
    let case = "- {when: 'contact.number.startsWith(\"+1212\")', next: welcome-local}";
    let cases = |more: &str| format!("{case}\n      - {{when: '{more}', next: welcome-local}}");
    insta::assert_snapshot!(all(&[
        ("another city", &[(main, "\"+1212\"", "\"+1213\"")]),
        ("a country besides", &[(main, case, &cases("contact.number.startsWith(\"+44\")"))]),
        (
            "one caller besides",
            &[(main, case, &cases("contact.number in [\"+13125550150\", \"+13125550151\"]"))]
        ),
        ("who withholds the number", &[(main, case, &cases("contact.number == \"\""))]),
        ("by length", &[(main, case, &cases("size(contact.number) > 12"))]),
        ("by the trunk", &[(main, case, &cases("call.trunk == \"platform/carrier\""))]),
        ("by the number dialled", &[(main, case, &cases("call.number == \"+18005550100\""))]),
        (
            "by a copy",
            &[
                (main, "initial: \"0\"}", "initial: \"0\"}\n  - {name: from, type: String}"),
                (
                    main,
                    "  - name: who\n",
                    "  - {name: copy, set: {values: [{variable: from, value: contact.number}]}}\n  - name: who\n"
                ),
                (main, case, &cases("from.startsWith(\"+44\")")),
            ]
        ),
    ]));
}

#[test]
fn prompts_change_calls_by_their_content() {
    let mut old = before();
    edit(
        &mut old,
        "prompts.yaml",
        "{file: prompts/welcome.wav}",
        "{text: {text: Welcome to Acme, language: en-US}}",
    );
    let mut new = old.clone();
    edit(&mut new, "prompts.yaml", "Welcome to Acme", "Hello from Acme");
    edit(&mut new, "prompts.yaml", "prompts/sales.wav", "prompts/billing.wav");
    insta::assert_snapshot!(told(&old, &new));
}

#[test]
fn numbers_begin_and_cease_to_be_live() {
    let range = "  range: {first: \"+12125550101\", last: \"+12125550109\"}\n";
    let block = |flow: &str| {
        format!(
            "---\napiVersion: switchboard.dev/v1alpha1\nkind: PhoneNumber\nmetadata: {{name: block, namespace: acme}}\nspec:\n{range}  kind: Local\n  origin: Carrier\n  trunkRef: {{namespace: platform, name: carrier}}\n  flowRef: {{name: {flow}}}\n"
        )
    };
    let calls = "  limits: {calls: 20}\n";
    let to = |flow: &str| format!("{calls}{}", block(flow));
    let numbers = "numbers.yaml";
    insta::assert_snapshot!(all(&[
        ("a block for the reception", &[(numbers, calls, &to("reception"))]),
        ("a block for the menu", &[(numbers, calls, &to("main"))]),
        ("another flow", &[(numbers, "flowRef: {name: reception}", "flowRef: {name: main}")]),
        (
            "another number",
            &[
                (numbers, "\"+12125550100\"", "\"+12125550105\""),
                ("tenant.yaml", "+12125550100", "+12125550105"),
            ]
        ),
        ("more calls at once", &[(numbers, calls, "  limits: {calls: 30}\n")]),
        ("no bound", &[(numbers, calls, "")]),
    ]));
}

#[test]
fn a_range_changes_only_where_it_does() {
    let with = |first: &str, flow: &str| {
        let mut files = before();
        let to = format!(
            "  limits: {{calls: 20}}\n---\napiVersion: switchboard.dev/v1alpha1\nkind: PhoneNumber\nmetadata: {{name: block, namespace: acme}}\nspec:\n  range: {{first: \"{first}\", last: \"+12125550109\"}}\n  kind: Local\n  origin: Carrier\n  trunkRef: {{namespace: platform, name: carrier}}\n  flowRef: {{name: {flow}}}\n"
        );
        edit(&mut files, "numbers.yaml", "  limits: {calls: 20}\n", &to);
        files
    };
    let dialled = |mut files: Vec<SourceFile>| {
        let case =
            "cases:\n      - {when: 'call.number in [\"+12125550103\", \"+12125550104\"]', next: goodbye}";
        edit(&mut files, "flow-main.yaml", "cases:", case);
        files
    };
    let told = |old: &[SourceFile], new: &[SourceFile]| told(old, new);
    insta::assert_snapshot!(format!(
        "## grown\n{}\n## some of the numbers dialled\n{}",
        told(&with("+12125550105", "reception"), &with("+12125550102", "reception")),
        told(&with("+12125550101", "main"), &dialled(with("+12125550101", "main"))),
    ));
}

#[test]
fn trunks_change_calls_by_who_may_send_them() {
    let (carrier, range) = ("carrier.yaml", "  - {cidr: 127.0.0.1/32, comment: This machine}");
    let until = "  - {cidr: 127.0.0.1/32, validUntil: \"2027-01-01T00:00:00Z\"}";
    let halves = "  - {cidr: 127.0.0.1/32}\n  - {cidr: 198.51.100.0/25}\n  - {cidr: 198.51.100.128/25}";
    let over = "  - {cidr: 127.0.0.1/32}\n  - {cidr: 198.51.100.0/24, validUntil: \"2026-01-01T00:00:00Z\"}";
    let coming = "  - {cidr: 127.0.0.1/32}\n  - {cidr: 198.51.100.0/24, validFrom: \"2027-01-01T00:00:00Z\"}";
    let voip = "  delivers: Voip\n  ucaasPartner: {company: Example UCaaS}";
    insta::assert_snapshot!(all(&[
        ("a range in two halves", &[(carrier, range, halves)]),
        ("a range that was over", &[(carrier, range, over)]),
        ("a range to come", &[(carrier, range, coming)]),
        ("an end", &[(carrier, range, until)]),
        ("calls at once", &[(carrier, "limits: {calls: 200}", "limits: {calls: 100}")]),
        ("codecs", &[(carrier, "  limits: {calls: 200}", "  codecs: [PCMA]\n  limits: {calls: 200}")]),
        ("peers of a trunk that no flow dials by", &[(carrier, "127.0.0.1:5080", "127.0.0.1:5081")]),
        (
            "a UCaaS partner's",
            &[
                (carrier, "  delivers: Pstn", voip),
                ("cluster.yaml", "  allowedNamespaces:", "  ucaasPartners: [platform]\n  allowedNamespaces:"),
            ]
        ),
        ("longest call", &[("cluster.yaml", "callSeconds: 3600", "callSeconds: 1800")]),
        (
            "the edge listens elsewhere",
            &[(
                "cluster.yaml",
                "{name: udp, transport: UDP, port: 5060",
                "{name: udp, transport: UDP, port: 5062"
            )]
        ),
    ]));
}

/// A variable that counts without end makes each round another place: what is left out is said.
#[test]
fn what_is_not_looked_at_is_said() {
    let endless = |end: &str| {
        let mut files = before();
        let steps = format!(
            "  steps:\n  - name: menu\n    ask: {{prompt: menu, choices: [{{digits: \"1\", next: more}}], noInput: end, noMatch: end}}\n  - {{name: more, set: {{values: [{{variable: round, value: round + 1}}], next: menu}}}}\n  - {{name: end, hangup: {{{end}}}}}\n"
        );
        let main = files.iter_mut().find(|file| file.path == "flow-reception.yaml").unwrap();
        main.bytes = format!("apiVersion: switchboard.dev/v1alpha1\nkind: RoutingFlow\nmetadata: {{name: reception, namespace: acme}}\nspec:\n  variables: [{{name: round, type: Integer, initial: \"0\"}}]\n{steps}").into_bytes().into();
        files
    };
    insta::assert_snapshot!(told(&endless(""), &endless("prompt: goodbye")));
}

#[test]
fn json_holds_what_the_lines_say() {
    let mut new = before();
    edit(&mut new, "flow-main.yaml", "busy: nobody", "busy: goodbye");
    edit(&mut new, "tenant.yaml", "to: \"17:00\"", "to: \"16:30\"");
    let changes = compared(&planned(&before()), &planned(&new));
    insta::assert_snapshot!(serde_json::to_string_pretty(&changes).unwrap());
}

/// A thousand numbers that share a flow are one walk: far below a second where it is compiled with optimisation.
#[test]
fn many_numbers_are_compared_without_walking_for_each() {
    let many = |key: &str| {
        let mut files = before();
        edit(&mut files, "flow-main.yaml", "{digits: \"2\", next: billing}", key);
        edit(
            &mut files,
            "carrier.yaml",
            "    - {first: \"+18005550100\"",
            "    - {first: \"+13120000000\", last: \"+13129999999\"}\n    - {first: \"+18005550100\"",
        );
        let number = |index: usize| {
            let kind = "apiVersion: switchboard.dev/v1alpha1\nkind: PhoneNumber";
            let digits = 2 * index;
            format!(
                "---\n{kind}\nmetadata: {{name: n{index}, namespace: acme}}\nspec: {{number: \"+1312{digits:07}\", kind: Local, origin: Carrier, trunkRef: {{namespace: platform, name: carrier}}, flowRef: {{name: main}}}}\n"
            )
        };
        let numbers: String = (0..1_000).map(number).collect();
        files.push(SourceFile { path: "many.yaml".into(), bytes: numbers.into_bytes().into() });
        files
    };
    let changes = compared(
        &planned(&many("{digits: \"2\", next: billing}")),
        &planned(&many("{digits: \"3\", next: billing}")),
    );
    let [group] = changes.groups.as_slice() else { panic!("{changes}") };
    assert_eq!((group.numbers.len(), group.changes.len()), (1_001, 2));
}

/// Edits that can be made together.
const EDITS: [Edit<'_>; 12] = [
    ("tenant.yaml", "to: \"17:00\"", "to: \"16:45\""),
    ("tenant.yaml", "Thursday, Friday]", "Thursday, Friday, Sunday]"),
    ("tenant.yaml", "  - {date: \"2027-01-01\", name: New Year's Day}\n", ""),
    ("flow-main.yaml", "\"+1212\"", "\"+1312\""),
    ("flow-main.yaml", "closed: closed}", "closed: closed, holiday: goodbye}"),
    ("flow-main.yaml", "{digits: \"2\", next: billing}", "{digits: \"3\", next: billing}"),
    ("flow-main.yaml", "visits > 2", "visits > 1"),
    ("flow-main.yaml", "busy: nobody", "busy: goodbye"),
    ("flow-main.yaml", "ringSeconds: 15", "ringSeconds: 16"),
    ("flow-reception.yaml", "failed: nobody", "failed: end"),
    ("numbers.yaml", "\"+12125550100\"", "\"+12125550105\""),
    ("prompts.yaml", "{file: prompts/closed.wav}", "{text: {text: Closed., language: en-US}}"),
];

/// What becomes of a call at one time, by names that the edits leave alone.
#[expect(clippy::disallowed_methods, reason = "some instant is needed, and none is compared with")]
fn asked(world: &World, from: &str, to: &str, wall: jiff::Timestamp) -> Vec<String> {
    let question = Question { from: from.into(), to: to.into(), source: None, trunk: None };
    let mut asked = explain(world, &question, Now { instant: Instant::now(), wall });
    let told = |one: &mut Explained| {
        if let Some(walk) = &mut one.walk {
            walk.revision.clear();
        }
        format!("{:?} {:?}", one.explanation.outcome, one.walk)
    };
    asked.iter_mut().map(told).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the edge would do otherwise, at any time and for any caller, is told of the number.
    #[test]
    fn no_change_is_missed(chosen in 0_u32..1 << EDITS.len(), seconds in proptest::collection::vec(0_i64..400 * 86_400, 12)) {
        let mut new = before();
        for (_, (file, from, to)) in EDITS.iter().enumerate().filter(|(place, _)| chosen >> place & 1 == 1) {
            edit(&mut new, file, from, to);
        }
        edit(&mut new, "tenant.yaml", "defaultCallerId: \"+12125550100\"", "defaultCallerId: \"+18005550100\"");
        let (old, new) = (planned(&before()), planned(&new));
        let changes = compared(&old, &new);
        let (old, new) = (worlds(&old), worlds(&new));
        let start: jiff::Timestamp = AT.parse().unwrap();
        for second in seconds {
            let at = start + jiff::SignedDuration::from_secs(second);
            for to in ["+18005550100", "+12125550100", "+12125550105", "+12125550109"] {
                for from in ["+12125550123", "+13125550123", "+442071234567", "anonymous"] {
                    let number = to.parse().unwrap();
                    let numbers = changes.groups.iter().flat_map(|group| &group.numbers);
                    let told = numbers.into_iter().any(|numbers| numbers.first <= number && number <= numbers.last);
                    let same = asked(&old[0], from, to, at) == asked(&new[0], from, to, at);
                    prop_assert!(same || told, "{} → {} at {}: {}", from, to, at, changes);
                }
            }
        }
    }
}
