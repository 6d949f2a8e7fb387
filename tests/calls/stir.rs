//! STIR/SHAKEN on the wire: what we sign OpenSSL can verify, and what others sign is fetched for, verified and judged.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openssl::{bn::BigNum, ecdsa::EcdsaSig, pkey::PKey, sha::sha256};
use serde_json::{Value, json};

use crate::{
    certificates::{Authority, Certificate, For, acceptor, secret},
    harness::{Setup, System, with_prepared},
    phone::{CARRIER, Message, Phone},
    sipp::{Run, Sipp, scenario},
};

const GREET: &str = "+18005550100";
const SECOND: &str = "+18005550110";
const OUT: &str = "+18005550109";
const X5U: &str = "https://certificates.example.net/c14.pem";

/// A number whose calls leave again by the carrier's gateway.
const LEAVES: &str = "---
apiVersion: switchboard.dev/v1alpha1
kind: RoutingFlow
metadata: {name: leave, namespace: acme}
spec:
  steps:
  - name: away
    transfer: {to: {number: \"+13125550177\"}, busy: end, noAnswer: end, failed: end}
  - name: end
    hangup: {}
---
apiVersion: switchboard.dev/v1alpha1
kind: PhoneNumber
metadata: {name: leave, namespace: acme}
spec:
  number: \"+18005550109\"
  kind: TollFree
  origin: RespOrg
  trunkRef: {namespace: platform, name: carrier}
  flowRef: {name: leave}
";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn json_of(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Values of Identity in the INVITEs that sipp took.
fn identities(messages: &str) -> Vec<&str> {
    messages.lines().filter_map(|line| line.strip_prefix("Identity: ")).map(str::trim).collect()
}

#[test]
fn what_leaves_signed_can_be_verified_with_our_certificate() {
    let authority = Authority::new("STI-CA");
    let signer = authority.ecdsa("SHAKEN 1234", For::Both);
    let sign = "  limits: {calls: 300}
  stir:
    sign:
      keySecretRef: {name: signer, key: tls.key}
      certificateSecretRef: {name: signer, key: tls.crt}
      certificateUrl: https://certificates.example.net/c14.pem
";
    with_prepared(
        &Setup::default(),
        |system| {
            system.edit("platform.yaml", "  limits: {calls: 300}\n", sign);
            fs::write(system.manifest("signer.yaml"), signer.secret("platform", "signer")).unwrap();
            fs::write(system.manifest("leave.yaml"), LEAVES).unwrap();
        },
        |system| {
            let gateway = Sipp::start(
                system,
                &Run { scenario: scenario!("rings-only"), port: Some(system.block + 4), ..Run::default() },
            );
            Sipp::start(system, &Run { scenario: scenario!("cancels"), number: OUT, ..Run::default() })
                .wait();
            gateway.wait();
            let messages = gateway.messages();
            let [value] = identities(&messages).try_into().unwrap();
            let (token, parameters) = value.split_once(';').unwrap();
            assert_eq!(parameters, format!("info=<{X5U}>;alg=ES256;ppt=shaken"));
            let [header, payload, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
            assert_eq!(
                json_of(header),
                json!({"alg": "ES256", "ppt": "shaken", "typ": "passport", "x5u": X5U})
            );
            let claims = json_of(payload);
            assert_eq!(claims["orig"], json!({"tn": "18005550100"}));
            assert_eq!(claims["dest"], json!({"tn": ["13125550177"]}));
            assert_eq!(claims["attest"], "A");
            assert!(claims["iat"].as_u64().unwrap().abs_diff(now()) <= 60);
            let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
            let (r, s) = raw.split_at(32);
            let half = |bytes: &[u8]| BigNum::from_slice(bytes).unwrap();
            let made = EcdsaSig::from_private_components(half(r), half(s)).unwrap();
            let key = signer.x509().public_key().unwrap().ec_key().unwrap();
            let digest = sha256(format!("{header}.{payload}").as_bytes());
            assert!(made.verify(&digest, &key).unwrap());
            assert!(messages.lines().any(|line| line.starts_with("Date: ")));
            assert_eq!(system.metric("switchboard_identities_signed_total"), 1);
            system.path_of_call(1);
        },
    );
}

/// What a carrier signs of a call of +12125550199.
fn sign(signer: &Certificate, url: &str, destination: &str, age_s: u64) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(json!({"alg": "ES256", "ppt": "shaken", "typ": "passport", "x5u": url}));
    let payload = part(json!({
        "attest": "A",
        "dest": {"tn": [destination.trim_start_matches('+')]},
        "iat": now() - age_s,
        "orig": {"tn": "12125550199"},
        "origid": "123e4567-e89b-12d3-a456-426655440000",
    }));
    let key = PKey::private_key_from_pem(signer.key.as_bytes()).unwrap();
    let digest = sha256(format!("{header}.{payload}").as_bytes());
    let made = EcdsaSig::sign(&digest, &key.ec_key().unwrap()).unwrap();
    let raw = [made.r(), made.s()].map(|half| half.to_vec_padded(32).unwrap()).concat();
    let signature = URL_SAFE_NO_PAD.encode(raw);
    format!("Identity: {header}.{payload}.{signature};info=<{url}>;alg=ES256;ppt=shaken\r\n")
}

/// A server of certificates: `/one` and `/two` are those two. Counts requests.
fn serve(shown: &Certificate, one: &Certificate, two: &Certificate) -> (u16, Arc<AtomicUsize>) {
    let (acceptor, listener) = (acceptor(shown, None), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    let (one, two, count) = (one.chain.clone(), two.chain.clone(), Arc::new(AtomicUsize::new(0)));
    let asked = Arc::clone(&count);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = acceptor.accept(stream.unwrap()) else { continue };
            let mut head = [0; 4_096];
            let length = stream.read(&mut head).unwrap_or(0);
            count.fetch_add(1, Ordering::Relaxed);
            let is_one = head[..length].starts_with(b"GET /one ");
            let body = if is_one { &one } else { &two };
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes());
            let _ = stream.shutdown();
        }
    });
    (port, asked)
}

fn call(system: &System, from: [u8; 4], number: &str, identity: &str) -> (Phone, Message) {
    let mut phone = Phone::new(system, from, number);
    let offer = phone.offer("0 101");
    let invite = phone.request("INVITE", identity, &offer);
    phone.send(&invite);
    let answer = phone.final_response();
    phone.acknowledge(&answer, "");
    (phone, answer)
}

#[test]
fn a_call_with_a_signature_that_holds_passes_and_a_forged_one_is_refused_or_noted() {
    let (web, signers, strangers) =
        (Authority::new("Web"), Authority::new("STI-CA"), Authority::new("Strangers"));
    let server = web.ecdsa("localhost", For::Servers);
    let (signer, stranger) =
        (signers.ecdsa("SHAKEN 1234", For::Both), strangers.ecdsa("SHAKEN 1234", For::Both));
    let (port, asked) = serve(&server, &signer, &stranger);
    let verify = |mode: &str| {
        format!(
            "  stir:
    verify:
      mode: {mode}
      anchorsSecretRef: {{name: authorities, key: signers.pem}}
      caSecretRef: {{name: authorities, key: web.pem}}
"
        )
    };
    with_prepared(
        &Setup::default(),
        |system| {
            let required = format!("  limits: {{calls: 300}}\n{}", verify("Require"));
            system.edit("platform.yaml", "  limits: {calls: 300}\n", &required);
            let noted = format!("  - name: second\n{}  grants:\n", verify("Note"));
            system.edit("platform.yaml", "  - name: second\n  grants:\n", &noted);
            let reach = "  drainSeconds: 1\n  reachableRanges: [127.0.0.0/8, \"::1/128\"]\n";
            system.edit("platform.yaml", "  drainSeconds: 1\n", reach);
            let (web, signers) = (web.pem(), signers.pem());
            let values = [("web.pem", web.as_str()), ("signers.pem", signers.as_str())];
            fs::write(system.manifest("authorities.yaml"), secret("platform", "authorities", &values))
                .unwrap();
        },
        |system| {
            let one = format!("https://localhost:{port}/one");
            let two = format!("https://localhost:{port}/two");
            for _ in 0..2 {
                let (phone, answer) = call(system, CARRIER, GREET, &sign(&signer, &one, GREET, 0));
                assert_eq!(answer.code(), 200, "{}", answer.text);
                phone.wait_for_bye();
            }
            assert_eq!(asked.load(Ordering::Relaxed), 1, "the certificate is fetched once");
            let good = sign(&signer, &one, GREET, 0);
            let rows = [
                (String::new(), 428),
                (sign(&signer, &one, "+18005550101", 0), 438),
                (sign(&signer, &one, GREET, 120), 403),
                (sign(&stranger, &one, GREET, 0), 438),
                (sign(&stranger, &two, GREET, 0), 437),
                (sign(&signer, "https://169.254.169.254/one", GREET, 0), 436),
                (good.replace("https://localhost", "http://localhost"), 438),
            ];
            for (identity, wanted) in &rows {
                let (_, answer) = call(system, CARRIER, GREET, identity);
                assert_eq!(answer.code(), *wanted, "{identity}{}", answer.text);
                let reason = answer.header("Reason").unwrap();
                assert!(reason.starts_with(&format!("STIR;cause={wanted};text=")), "{reason}");
            }
            // The same on a trunk that only notes: the call passes, and its record says what it is worth.
            for (identity, wanted) in [
                (sign(&signer, &one, SECOND, 0), "TN-Validation-Passed"),
                (sign(&stranger, &one, SECOND, 0), "TN-Validation-Failed"),
                (String::new(), "No-TN-Validation"),
            ] {
                let before = system.records().len();
                let (phone, answer) = call(system, [127, 0, 0, 3], SECOND, &identity);
                assert_eq!(answer.code(), 200, "{}", answer.text);
                phone.wait_for_bye();
                system.path_of_call(before + 1);
                assert_eq!(system.records()[0]["verstat"], wanted);
                let told = system.get(&format!("/api/v1/explanations/{}", phone.call_id));
                assert!(told.contains(&format!("Identity ({wanted}")), "{told}");
            }
        },
    );
}
