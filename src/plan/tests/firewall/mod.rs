//! What a customer's firewall must let through, in every format; carriers' ranges as Allowlists.

use std::{
    io::Write,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Command, Stdio},
};

use plan::{
    Plan, SourceFile,
    firewall::{self, Format, Published},
};

use super::{lines, now, planned};

fn two_networks() -> Plan {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures/two-networks.yaml");
    let plan = planned(&[SourceFile {
        path: "two-networks.yaml".into(),
        bytes: std::fs::read(path).unwrap().into(),
    }]);
    assert_eq!(lines(&plan.problems), "");
    plan
}

fn written(format: Format) -> String {
    let plan = two_networks();
    let (id, _) = plan.cluster("c20").unwrap();
    format.write("C20", &plan.firewall(id, None).unwrap())
}

#[test]
fn as_a_table() {
    insta::assert_snapshot!(written(Format::Text));
}

#[test]
fn as_csv() {
    insta::assert_snapshot!(written(Format::Csv).replace("\r\n", "\n"));
}

#[test]
fn as_json() {
    insta::assert_snapshot!(written(Format::Json));
}

#[test]
fn as_nftables() {
    insta::assert_snapshot!(written(Format::Nftables));
}

#[test]
fn as_terraform() {
    insta::assert_snapshot!(written(Format::Terraform));
}

/// `nft --check` asks the kernel, and so wants a right that not every machine gives.
#[test]
fn nft_takes_the_ruleset() {
    let nft = ["/usr/sbin/nft", "/sbin/nft"].into_iter().find(|path| Path::new(path).exists());
    let nft = nft.unwrap_or_else(|| panic!("nft is not installed: apt-get install nftables"));
    let check = |ruleset: &str| {
        // Root needs no user namespace, and could make none in a chroot (user_namespaces(7)).
        let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        let user = if root { [].as_slice() } else { &["--map-root-user"] };
        let mut command = Command::new("unshare");
        command.arg("--net").args(user).args([nft, "-c", "-f", "-"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // One that ends before it has read all says why on standard error.
        let _ = child.stdin.take().unwrap().write_all(ruleset.as_bytes());
        let output = child.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(check(&written(Format::Nftables)), (true, String::new()));
    assert!(
        !check("table inet broken { chain x { tcp dport nonsense accept } }").0,
        "nft checks nothing here"
    );
}

#[test]
fn one_tenant_sees_nothing_of_another() {
    let plan = two_networks();
    let (id, _) = plan.cluster("platform/c20").unwrap();
    let rules = plan.firewall(id, Some("globex")).unwrap();
    let text = Format::Text.write("C20", &rules);
    assert!(text.contains("globex/circuit") && !text.contains("acme"), "{text}");
}

/// Agents know the cluster by its names; packets of ours come from where others see them come from.
#[test]
fn agents_need_the_page_and_its_audio_and_servers_see_where_requests_come_from() {
    let manifest = r#"
apiVersion: switchboard.dev/v1alpha1
kind: VoiceCluster
metadata: {name: c14, namespace: platform}
spec:
  code: C14
  allowedNamespaces: [acme]
  networks: [{name: internet, bindAddress: 10.9.0.4, sipAdvertisedAddress: 203.0.113.4, rtpAdvertisedAddress: 203.0.113.9}]
  listeners:
  - {name: trunks, transport: UDP, port: 5060, network: internet}
  - {name: desk, transport: WSS, port: 443, network: internet, serves: Agents}
  - {name: phones, transport: TLS, port: 5061, network: internet, serves: Agents}
  tls: {certificateRef: {name: c14}}
  media: {ports: {first: 30000, last: 30999}}
  domains: [c14.example.net]
  egressAddresses: [203.0.113.77, "2001:db8::77"]
---
apiVersion: switchboard.dev/v1alpha1
kind: Tenant
metadata: {name: acme, namespace: acme}
spec: {clusterRef: {namespace: platform, name: c14}, country: US, timeZone: America/New_York}
---
apiVersion: switchboard.dev/v1alpha1
kind: Integration
metadata: {name: crm, namespace: acme}
spec: {url: "https://crm.acme.example:8443/api"}
"#;
    let plan = planned(&[SourceFile { path: "c14.yaml".into(), bytes: manifest.as_bytes().into() }]);
    assert!(!lines(&plan.problems).contains(": error["), "{}", lines(&plan.problems));
    let (id, _) = plan.cluster("c14").unwrap();
    insta::assert_snapshot!(Format::Text.write("C14", &plan.firewall(id, None).unwrap()));
}

fn imported(text: &str, published: Published) -> String {
    match firewall::import(text, published, "carrier", Some("platform")) {
        Ok(manifest) => {
            let file = SourceFile { path: "list.yaml".into(), bytes: manifest.clone().into_bytes().into() };
            assert_eq!(lines(&plan::check(&[file], now())), "", "{manifest}");
            manifest
        }
        Err(errors) => errors.iter().map(|error| format!("{error}\n")).collect(),
    }
}

#[test]
fn published_csv_becomes_an_allowlist_that_check_accepts() {
    let text = "cidr,validFrom,validUntil,comment\r\n\
                198.51.100.64/26,2027-02-01,,\"Chicago, \"\"new\"\" site\"\r\n\
                # what was added last\r\n\
                192.0.2.7,,2027-03-01T00:00:00Z,Dallas\r\n\
                2001:db8::/32,,,\r\n";
    insta::assert_snapshot!(imported(text, Published::Csv));
}

#[test]
fn published_json_is_a_list_of_objects_or_ranges() {
    let text = r#"["192.0.2.0/24", {"cidr": "198.51.100.0/24", "validFrom": "2027-01-01", "comment": "yes: no"}, {"validUntil": null, "cidr": "2001:db8::1"}]"#;
    insta::assert_snapshot!(imported(text, Published::Json));
}

#[test]
fn whatever_is_wrong_is_told_with_line_field_value_and_remedy() {
    let csv = "192.0.2.0/24\n192.0.2.9/24\nchicago\n0.0.0.0/0\n192.0.2.0/24,,,again\n198.51.100.0/24,2027-13-01,soon\n\
               203.0.113.0/24,2027-02-01,2027-01-01\n203.0.113.0/24,,,Chicago, new\n,,,nothing\n203.0.113.9,,,\"open\n";
    let json = "[\n \"192.0.2.0/33\",\n {\"cidr\": 7},\n {\"range\": \"192.0.2.0/24\"},\n {\"comment\": \"none\"},\n [],\n 5\n]";
    let all = [
        imported(csv, Published::Csv),
        imported("cidr,from\n", Published::Csv),
        imported("", Published::Csv),
        imported(json, Published::Json),
        imported("[\n\"a\",\n", Published::Json),
        imported("{}", Published::Json),
    ];
    insta::assert_snapshot!(all.join("--\n"));
}

#[test]
fn more_ranges_than_an_allowlist_holds_are_refused() {
    let text: String = (0..257).map(|index| format!("10.{}.{}.0/24\n", index / 256, index % 256)).collect();
    assert!(imported(&text, Published::Csv).contains("at most 256 ranges"));
}
