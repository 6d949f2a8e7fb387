//! What a forecast is asked for, and what is said of what cannot be read.

use model::demand::{Members, Spread};
use plan::{PlannedDemand, SourceFile, read_demand};

const WHOLE: &str = "\
tenant: acme
day: {opens: \"08:30\", intervalMinutes: 30}
queues:
- name: support
  contactsPerHour: [40, 90.5]
  handling: {meanSeconds: 240, distribution: LogNormal, deviationSeconds: 150}
  patience: {meanSeconds: 180}
- {name: sales, contactsPerHour: 12, handling: {meanSeconds: 300, distribution: Fixed}}
agents:
- {group: team, count: [4, 9], skills: [{name: support, level: 6}], queues: [{name: support, rank: 1}]}
- {group: seniors, names: [dev, iris]}
answerSeconds: 3
missedPercent: 2.5
find: {group: team, queues: [support], percent: 80, seconds: 20, shrinkagePercent: 30}
replications: 50
seed: 7
";

fn read(text: &str, tenants: &[&str]) -> Result<PlannedDemand, Vec<String>> {
    let file = SourceFile { path: "floor.yaml".into(), bytes: text.as_bytes().into() };
    read_demand(&file, tenants).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn a_demand_is_read_whole() {
    let planned = read(WHOLE, &["acme", "other"]).unwrap();
    let demand = &planned.demand;
    let day = demand.day.unwrap();
    assert_eq!((day.opens_minutes, day.interval_minutes, day.intervals), (510, 30, 2));
    assert_eq!(demand.queues[0].contacts_per_hour, [40.0, 90.5]);
    assert_eq!(demand.queues[0].handling.spread, Spread::LogNormal(150.0));
    assert_eq!(demand.queues[0].patience.unwrap().spread, Spread::Exponential);
    assert_eq!(demand.queues[1].patience, None);
    let Members::MadeUp { count, skills, queues } = &demand.groups[0].members else { panic!("made up") };
    assert_eq!((count.as_slice(), skills["support"], queues.len()), ([4, 9].as_slice(), 6, 1));
    assert!(matches!(&demand.groups[1].members, Members::Named(names) if names.len() == 2));
    let find = demand.find.as_ref().unwrap();
    assert_eq!((find.level, find.queues.len()), (Some((80.0, 20.0)), 1));
    assert_eq!((demand.replications, demand.seed, demand.return_seconds), (50, 7, 60.0));
    assert_eq!(planned.at("queues[1].handling.meanSeconds").to_string(), "floor.yaml:8:62");
}

#[test]
fn little_is_enough() {
    let little = "queues: [{name: support, contactsPerHour: 120, handling: {meanSeconds: 240}}]";
    let demand = read(little, &["acme"]).unwrap().demand;
    assert_eq!((demand.tenant.as_str(), demand.day, demand.groups.len()), ("acme", None, 0));
    let several = read(little, &["acme", "other"]).unwrap_err();
    assert_eq!(
        several,
        [
            "floor.yaml:1:1: error[MissingField]: `tenant` must be one of the namespaces that have Queues: acme, other."
        ]
    );
}

/// The whole with a line in place of another, and what is said of it.
fn spoilt(line: &str, by: &str) -> Vec<String> {
    assert!(WHOLE.contains(line), "{line}");
    read(&WHOLE.replacen(line, by, 1), &["acme"]).err().unwrap_or_default()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_is_wrong_is_told_with_line_field_and_value() {
    for (line, by, told) in [
        (
            "seed: 7",
            "sede: 7",
            "floor.yaml:16:7: error[UnknownField]: `sede` is no field here; it may be `seed`.",
        ),
        (
            "seed: 7",
            "seed: -1",
            "floor.yaml:16:7: error[InvalidValue]: `seed` must be a whole number of 0 to 4294967295, not -1.",
        ),
        (
            "replications: 50",
            "replications: 1",
            "floor.yaml:15:15: error[InvalidValue]: `replications` must be a whole number of 2 to 10000, not 1.",
        ),
        (
            "[40, 90.5]",
            "[40, many]",
            "floor.yaml:5:25: error[WrongType]: `queues[0].contactsPerHour[1]` must be a number of 0 to 100000, not `many`.",
        ),
        (
            "[40, 90.5]",
            "[]",
            "floor.yaml:5:20: error[WrongType]: `queues[0].contactsPerHour` must be a list of 1 to 288, not one of 0.",
        ),
        (
            "[40, 90.5]",
            "[40, 90, 50]",
            "floor.yaml:2:6: error[InvalidValue]: `day` has as many intervals as a list of `contactsPerHour` or `count` is long, and lists are 2 and 3 long; they must be alike.",
        ),
        (
            "LogNormal",
            "Normal",
            "floor.yaml:6:46: error[InvalidValue]: `queues[0].handling.distribution` must be `Exponential`, `LogNormal` or `Fixed`, not `Normal`.",
        ),
        (
            "LogNormal",
            "Fixed",
            "floor.yaml:6:71: error[InvalidValue]: `queues[0].handling.deviationSeconds` must not be given: a distribution `Fixed` has none; `LogNormal` has.",
        ),
        (
            "{meanSeconds: 180}",
            "180",
            "floor.yaml:7:13: error[WrongType]: `queues[0].patience` must be a mapping with `meanSeconds`, `distribution` and `deviationSeconds`, not 180.",
        ),
        (
            "count: [4, 9]",
            "count: 4.5",
            "floor.yaml:10:24: error[InvalidValue]: `agents[0].count` must be a whole number of 0 to 5000, not 4.5.",
        ),
        (
            "names: [dev, iris]",
            "skills: []",
            "floor.yaml:11:3: error[InvalidValue]: `agents[1]` must have either `names`, of Agents of the folder, or `count`, of made-up ones.",
        ),
        (
            "percent: 80, ",
            "",
            "floor.yaml:14:1: error[MissingField]: `find.percent` must be given, such as 80.",
        ),
        (
            "\"08:30\"",
            "\"8.30\"",
            "floor.yaml:2:14: error[InvalidValue]: `day.opens` must be a time such as \"08:30\", not `8.30`.",
        ),
        (
            "tenant: acme",
            "tenant: acem",
            "floor.yaml:1:9: error[TenantNotFound]: `tenant` must be a namespace that has Queues (acme), not `acem`.",
        ),
        (
            "seed: 7",
            "hours: 3",
            "floor.yaml:16:8: error[InvalidValue]: `hours` must not be given beside `day`, all of which counts.",
        ),
        ("seed: 7", "seed: 7\nseed: 8", "floor.yaml:17:1: error[DuplicateKey]: "),
        (
            "seed: 7",
            "seed: 7\n---\nseed: 8",
            "floor.yaml:1:1: error[InvalidYaml]: The file must hold one document",
        ),
    ] {
        let found = spoilt(line, by);
        assert!(found.len() == 1 && found[0].starts_with(told), "{found:#?}\n is not\n{told}");
    }
    let all = spoilt("day: {opens: \"08:30\", intervalMinutes: 30}\n", "");
    assert!(all.len() == 1 && all[0].contains("`day` must be given"), "{all:?}");
    assert_eq!(read("", &["acme"]).unwrap_err().len(), 1);
    assert_eq!(read("queues: [", &["acme"]).unwrap_err().len(), 1);
}
