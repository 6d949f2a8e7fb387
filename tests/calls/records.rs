//! Records of calls at `/api/v1/interactions`: what is found by what, page by page, as JSON and CSV; what outlives a process that
//! ends or is killed; and a PostgreSQL server that is away for a while.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Command,
};

use serde_json::Value;

use crate::{
    desk,
    harness::{PATIENCE, Process, SWITCHBOARD, Setup, System, wait_until},
    phone::{CARRIER, Phone},
    postgres::Server,
};

/// A number of another tenant than acme.
const BETA: &str = "+18005550109";

fn prepare(system: &System) {
    desk::prepare(system);
    system.edit("platform.yaml", "allowedNamespaces: [acme]", "allowedNamespaces: [acme, beta]");
    let (acme, beta) = (
        "    - {first: \"+18005550100\", last: \"+18005550109\"}\n",
        "    - {first: \"+18005550100\", last: \"+18005550108\"}\n  - namespace: beta\n    ranges: [{first: \"+18005550109\", last: \"+18005550109\"}]\n",
    );
    system.edit("platform.yaml", acme, beta);
    let text = "apiVersion: switchboard.dev/v1alpha1
kind: Tenant
metadata: {name: beta, namespace: beta}
spec: {clusterRef: {namespace: platform, name: c14}, country: US, timeZone: America/New_York}
---
apiVersion: switchboard.dev/v1alpha1
kind: RoutingFlow
metadata: {name: bye, namespace: beta}
spec: {steps: [{name: pause, wait: {seconds: 1}}, {name: bye, hangup: {}}]}
---
apiVersion: switchboard.dev/v1alpha1
kind: PhoneNumber
metadata: {name: bye, namespace: beta}
spec:
  number: \"+18005550109\"
  kind: TollFree
  origin: RespOrg
  trunkRef: {namespace: platform, name: carrier}
  flowRef: {name: bye}
";
    fs::write(system.manifest("beta.yaml"), text).unwrap();
    fs::create_dir(system.dir.path().join("state")).unwrap();
}

fn start(system: &System) -> Process {
    let mut command = Command::new(SWITCHBOARD);
    command.arg("local").arg(system.manifest("")).arg("--http").arg(system.http.to_string());
    command.arg("--state").arg(system.dir.path().join("state"));
    let process = Process::start("switchboard", command);
    process.wait_for_output("ready:");
    process
}

/// Status, header and body of what is served there.
fn ask(system: &System, path: &str, more: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(system.http).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{more}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), head.to_owned(), body.to_owned())
}

fn found(system: &System, query: &str) -> Vec<Value> {
    let (status, _, body) = ask(system, &format!("/api/v1/interactions{query}"), "");
    assert_eq!(status, 200, "{query}: {body}");
    serde_json::from_str(&body).unwrap()
}

fn text<'a>(record: &'a Value, name: &str) -> &'a str {
    record[name].as_str().unwrap_or_else(|| panic!("no `{name}`: {record}"))
}

/// A call that ends by itself, once it is told of.
fn call(system: &System, number: &str) {
    let before = found(system, "?limit=1000").len();
    let mut phone = Phone::new(system, CARRIER, number);
    phone.call("0 101");
    phone.wait_for_bye();
    wait_until("the call is told of", || found(system, "?limit=1000").len() > before);
}

#[test]
fn calls_are_found_by_what_they_had_to_do_with_and_no_other_tenants_by_an_agent() {
    let system = System::without_process(&Setup::default());
    prepare(&system);
    let process = start(&system);
    call(&system, "+18005550100");
    call(&system, BETA);
    call(&system, "+18005550100");
    let all = found(&system, "");
    let tenants: Vec<&str> = all.iter().map(|record| text(record, "tenant")).collect();
    assert_eq!(tenants, ["acme", "beta", "acme"], "the newest first");
    assert_eq!(all[0]["path"].as_array().unwrap().len(), all[0]["pathAt"].as_array().unwrap().len());
    let from = text(&all[1], "startedAt");
    for (query, count) in [
        ("?tenant=acme", 2),
        ("?tenant=acm", 0),
        ("?queue=acme/sales", 2),
        ("?queue=acme/sales&tenant=beta", 0),
        ("?flow=beta/bye", 1),
        ("?trunk=platform/carrier", 3),
        ("?agent=acme/ada", 0),
        ("?number=+12125550199", 3),
        ("?number=%2B18005550109", 1),
        ("?number=beta/bye", 1),
        ("?endedBy=Flow", 3),
        ("?endedBy=Lost", 0),
        (&format!("?from={from}"), 2),
        (&format!("?to={from}"), 1),
        (&format!("?from={from}&to={from}"), 0),
    ] {
        assert_eq!(found(&system, query).len(), count, "{query}");
    }
    let (status, _, body) = ask(&system, "/api/v1/interactions?tenat=acme", "");
    assert_eq!((status, body.contains("unknown field `tenat`")), (400, true), "{body}");
    pages(&system, &all);

    let (ours, theirs) = (text(&all[0], "id"), text(&all[1], "id"));
    let bearer = format!("Authorization: Bearer {}\r\n", desk::token(&system, "acme/ada"));
    let one = |id: &str, more: &str| {
        let (status, _, body) = ask(&system, &format!("/api/v1/interactions/{id}"), more);
        (status, serde_json::from_str::<Value>(&body).unwrap()["callId"].clone())
    };
    assert_eq!(one(ours, &bearer), (200, all[0]["callId"].clone()));
    assert_eq!(one(theirs, ""), (200, all[1]["callId"].clone()));
    let nobodys = ask(&system, "/api/v1/interactions/019a00000000-0-1", &bearer);
    let others = ask(&system, &format!("/api/v1/interactions/{theirs}"), &bearer);
    assert_eq!((others.0, &others.2), (404, &nobodys.2), "as if there were none");
    let listed = |query: &str| ask(&system, &format!("/api/v1/interactions{query}"), &bearer).2;
    assert_eq!(listed("").matches("\"tenant\":\"acme\"").count(), 2);
    assert!(!listed("").contains("beta") && listed("?tenant=beta") == "[]");
    assert_eq!(ask(&system, "/api/v1/interactions", "Authorization: Bearer made-up\r\n").0, 401);
    process.end();
}

fn pages(system: &System, all: &[Value]) {
    let (mut path, mut seen) = ("/api/v1/interactions?limit=2&trunk=platform/carrier".to_owned(), Vec::new());
    loop {
        let (_, head, body) = ask(system, &path, "");
        seen.extend(serde_json::from_str::<Vec<Value>>(&body).unwrap());
        let link = head.lines().find_map(|line| line.strip_prefix("link: <"));
        let Some(link) = link else { break };
        path = link.strip_suffix(">; rel=\"next\"").unwrap().to_owned();
        assert!(path.contains("&trunk=platform/carrier&cursor="), "{path}");
    }
    assert_eq!(seen, all);

    let (_, head, csv) = ask(system, "/api/v1/interactions?format=csv&limit=1000", "");
    assert!(head.contains("content-type: text/csv; charset=utf-8"), "{head}");
    assert_eq!(csv, ask(system, "/api/v1/interactions?limit=1000", "Accept: text/csv\r\n").2);
    let lines: Vec<&str> = csv.lines().collect();
    assert!(lines[0].starts_with("id,tenant,callId,from,to,number,trunk,flow,startedAt,"));
    let begin = format!(
        "{},beta,{},+12125550199,{BETA},beta/bye,platform/carrier,beta/bye,",
        text(&all[1], "id"),
        text(&all[1], "callId")
    );
    assert!(lines[2].starts_with(&begin), "{}\n{begin}", lines[2]);
    assert!(lines[1].contains(",Flow,200,16,") && lines[1].contains(",acme/sales,"), "{}", lines[1]);
    assert_eq!(lines.len(), 4);
}

#[test]
fn records_outlive_the_process_and_a_call_that_did_not_is_lost() {
    let system = System::without_process(&Setup::default());
    prepare(&system);
    let process = start(&system);
    call(&system, BETA);
    let before = found(&system, "");
    process.end();
    let process = start(&system);
    assert_eq!(found(&system, ""), before, "it is as it was");
    let id = text(&before[0], "id");
    assert_eq!(ask(&system, &format!("/api/v1/interactions/{id}"), "").0, 200);

    let mut phone = Phone::new(&system, CARRIER, "+18005550103");
    phone.call("0 101");
    wait_until("the call that is up is told of", || found(&system, "?open=true").len() == 2);
    let up = &found(&system, "?open=true")[0];
    assert_eq!((text(up, "to"), &up["endedAt"]), ("+18005550103", &Value::Null));
    assert_eq!(found(&system, "").len(), 1);
    process.tell("KILL");
    process.wait();
    let process = start(&system);
    wait_until("the call is lost", || found(&system, "").len() == 2);
    let lost = &found(&system, "?endedBy=Lost")[0];
    assert_eq!((text(lost, "id"), text(lost, "callId")), (text(up, "id"), &*phone.call_id));
    assert_eq!(text(lost, "because"), "the process that had the call ended before it");
    call(&system, BETA);
    let tenants: Vec<Value> = found(&system, "").into_iter().map(|record| record["tenant"].clone()).collect();
    assert_eq!(tenants, ["beta", "acme", "beta"]);
    process.end();
}

#[test]
fn records_go_to_postgresql_and_wait_on_the_disk_while_it_is_away() {
    let mut server = Server::start();
    let config = server.config();
    let system = System::without_process(&Setup::default());
    prepare(&system);
    let stores = format!(
        "  drainSeconds: 1\n  stores:\n    records:\n      host: {}\n      port: {}\n      database: {}\n      user: {}\n      \
         passwordSecretRef: {{name: database, key: password}}\n      caSecretRef: {{name: database, key: ca}}\n",
        config.host, config.port, config.database, config.user
    );
    system.edit("platform.yaml", "  drainSeconds: 1\n", &stores);
    let ca = String::from_utf8(config.ca.unwrap()).unwrap();
    let secret = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "database", "namespace": "platform", "labels": {"switchboard.dev/use": "true"}},
        "stringData": {"password": config.password, "ca": ca},
    });
    fs::write(system.manifest("database.yaml"), secret.to_string()).unwrap();
    let process = start(&system);
    call(&system, BETA);
    // It begins, and it ends.
    wait_until("the database has it", || system.metric("switchboard_records_written_total") >= 2);
    assert!(!system.dir.path().join("state/records/platform/c14/records.db").exists());
    server.stop();
    let mut phone = Phone::new(&system, CARRIER, BETA);
    phone.call("0 101");
    phone.wait_for_bye();
    wait_until("it is found away", || system.metric("switchboard_records_store_away") == 1);
    wait_until("the record waits", || system.metric("switchboard_records_waiting") == 2);
    let (status, _, body) = ask(&system, "/api/v1/interactions", "");
    assert_eq!((status, body.contains("the database of records: ")), (503, true), "{body}");
    assert!(process.terminate().success());
    assert!(process.errors().contains("records wait in"), "{}", process.errors());
    assert!(!process.errors().contains(&config.password));
    let process = start(&system);
    server.run();
    wait_until("both are there", || {
        ask(&system, "/api/v1/interactions", "").0 == 200 && found(&system, "").len() == 2
    });
    wait_until("nothing waits", || system.metric("switchboard_records_waiting") == 0);
    assert_eq!(found(&system, "?tenant=beta&endedBy=Flow").len(), 2);
    assert_eq!(system.metric("switchboard_records_lost_total"), 0);
    process.end();
}
