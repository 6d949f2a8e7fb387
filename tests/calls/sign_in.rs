//! Agents sign in by OpenID Connect: with a provider of Authlib's, and with one of the test's own for all that the first would
//! not say.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use openssl::{
    hash::MessageDigest,
    pkey::{PKey, Private},
    rsa::Rsa,
    sha::sha256,
    sign::Signer,
};
use serde_json::{Value, json};

use crate::{
    certificates::{Authority, For, connector, secret},
    desk::{ADA, Desk, PASSWORD, agent_phone, prepare, request},
    harness::{PATIENCE, Process, Setup, System, get, wait_until, with_prepared},
    integrations::{Does, answer, here, serve},
};

const HOST: &str = "127.0.0.1";
const BACK: &str = "https://desk.example.com/";
const CLIENT_SECRET: &str = "a secret of the provider and us";
const OTHER_SECRET: &str = "a secret of the provider and somebody else";
const FORM: &str = "application/x-www-form-urlencoded";
const NONCE: &str = "made-up-for-this-sign-in";
/// RFC 7636 Appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// Ada has a subject in place of a password, and the tenant a provider.
fn with_provider(system: &System, authority: &Authority, issuer: &str, more: &str) {
    prepare(system);
    system.edit(
        "floor.yaml",
        "  displayName: Ada Lopez\n  skills: [{name: sales, level: 9}]\n  signIn: {secretRef: {name: people, key: password}}\n",
        "  displayName: Ada Lopez\n  skills: [{name: sales, level: 9}]\n  signIn: {subject: ada@example.com}\n",
    );
    let sales = "  skills: [{name: sales}]\n";
    let provider = format!(
        "{sales}  signIn:\n    openIdConnect:\n      issuer: {issuer}\n      clientId: switchboard\n      subjectClaim: email\n      scopes: [email]\n      caSecretRef: {{name: sign-in, key: ca.crt}}\n{more}"
    );
    system.edit("tenant.yaml", sales, &provider);
    system.edit(
        "platform.yaml",
        "  drainSeconds: 1\n",
        "  reachableRanges: [127.0.0.0/8]\n  drainSeconds: 1\n",
    );
    let values = [("ca.crt", authority.pem()), ("secret", CLIENT_SECRET.to_owned())];
    let values: Vec<_> = values.iter().map(|(key, value)| (*key, value.as_str())).collect();
    fs::write(system.manifest("sign-in.yaml"), secret("acme", "sign-in", &values)).unwrap();
}

fn sessions(system: &System, body: &Value) -> (u16, Value) {
    request(system.http, "POST", ("", &body.to_string()))
}

/// What is refused: its status and its reason.
fn refused((status, answer): (u16, Value)) -> (u16, String, String) {
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    (status, text("reason"), text("error"))
}

/// oidc-provider-mock, an OpenID provider made of Authlib, under TLS; `tests/run` installs it.
struct Provider {
    process: Process,
    port: u16,
}

impl Provider {
    fn start(folder: &Path, port: u16, authority: &Authority) -> Self {
        let shown = authority.ecdsa(HOST, For::Servers);
        let path = |name: &str| folder.join(name);
        fs::write(path("provider.crt"), &shown.chain).unwrap();
        fs::write(path("provider.key"), &shown.key).unwrap();
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"));
        let mut command = Command::new(target.join("tools/bin/python"));
        command.args(["-m", "uvicorn", "--factory", "oidc_provider_mock:app", "--interface", "wsgi"]);
        command.args(["--host", HOST, "--port", &port.to_string()]);
        command.arg("--ssl-certfile").arg(path("provider.crt"));
        command.arg("--ssl-keyfile").arg(path("provider.key"));
        let process = Process::start("oidc-provider-mock", command);
        wait_until("the provider listens", || TcpStream::connect((HOST, port)).is_ok());
        let mut browser = Browser::new(authority, port);
        for (who, address) in [("1", "ada@example.com"), ("2", "eve@example.com")] {
            let claims = json!({"email": address, "email_verified": true}).to_string();
            assert_eq!(browser.ask("PUT", &format!("/users/{who}"), "application/json", "", &claims).0, 204);
        }
        Self { process, port }
    }
}

/// Somebody's browser, as far as signing in needs one.
struct Browser<'a> {
    authority: &'a Authority,
    port: u16,
    cookies: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    fn new(authority: &'a Authority, port: u16) -> Self {
        Self { authority, port, cookies: BTreeMap::new() }
    }

    /// Status, `Location`, and body.
    fn ask(&mut self, method: &str, path: &str, kind: &str, more: &str, body: &str) -> (u16, String, String) {
        let stream = TcpStream::connect((HOST, self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = connector(self.authority, None).connect(HOST, stream).unwrap();
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        // Of an older version, so that the answer comes in one piece.
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {HOST}:{}\r\nCookie: {}\r\n{more}Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            self.port,
            cookies.join("; "),
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // Some end without saying so to TLS.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let mut location = String::new();
        for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
            match name.to_ascii_lowercase().as_str() {
                "location" => location = value.to_owned(),
                "set-cookie" => {
                    let (name, rest) = value.split_once('=').unwrap();
                    let value = rest.split(';').next().unwrap_or_default();
                    self.cookies.insert(name.to_owned(), value.to_owned());
                }
                _ => {}
            }
        }
        (head.split(' ').nth(1).unwrap().parse().unwrap(), location, body.to_owned())
    }

    /// Signs in as somebody for a client, and gives the code.
    fn code(&mut self, client: &str, who: &str) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()));
        let path = format!(
            "/oauth2/authorize?response_type=code&client_id={client}&redirect_uri=https%3A%2F%2Fdesk.example.com%2F&scope=openid+email&state=st4te&nonce={NONCE}&code_challenge={challenge}&code_challenge_method=S256"
        );
        let (status, _, page) = self.ask("GET", &path, FORM, "", "");
        assert!(status == 200 && page.contains("name=\"sub\""), "{status} {page}");
        let (status, location, _) = self.ask("POST", &path, FORM, "", &format!("sub={who}"));
        assert_eq!(status, 302, "{location}");
        let query = location.strip_prefix(BACK).unwrap_or_else(|| panic!("sent to {location}"));
        assert!(query.contains("state=st4te"), "{query}");
        let code = query.split(['?', '&']).find_map(|field| field.strip_prefix("code="));
        code.unwrap_or_else(|| panic!("no code in {query}")).to_owned()
    }

    /// The ID token for a code, as a client gets it by itself.
    fn token(&mut self, (client, secret): (&str, &str), code: &str) -> String {
        let basic = STANDARD.encode(format!("{client}:{}", secret.replace(' ', "+")));
        let form = format!(
            "grant_type=authorization_code&code={code}&redirect_uri=https%3A%2F%2Fdesk.example.com%2F&code_verifier={VERIFIER}"
        );
        let basic = format!("Authorization: Basic {basic}\r\n");
        let (status, _, body) = self.ask("POST", "/oauth2/token", FORM, &basic, &form);
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status, 200, "{body}");
        answer["id_token"].as_str().unwrap().to_owned()
    }
}

#[test]
fn whom_the_provider_knows_has_a_desk() {
    let authority = Authority::new("Test Authority");
    let running = Mutex::new(None);
    let prepare = |system: &System| {
        let started = Provider::start(system.dir.path(), system.own_port(3), &authority);
        let issuer = format!("https://{HOST}:{}", started.port);
        let more = "      secretRef: {name: sign-in, key: secret}\n";
        with_provider(system, &authority, &issuer, more);
        *running.lock().unwrap() = Some(started);
    };
    with_prepared(&Setup::default(), prepare, |system| {
        let provider = running.lock().unwrap().take().unwrap();
        let issuer = format!("https://{HOST}:{}", provider.port);
        let offer: Value = serde_json::from_str(&system.get("/api/v1/sign-in?tenant=acme")).unwrap();
        let wanted = json!({"tenant": "acme", "passwords": true, "openIdConnect": {
            "issuer": issuer, "authorizationEndpoint": format!("{issuer}/oauth2/authorize"), "clientId": "switchboard",
            "scopes": ["openid", "email"], "codeChallengeMethod": "S256"}});
        assert_eq!(offer, wanted);
        assert!(system.get("/api/v1/sign-in?tenant=nobody").contains("NoSignIn"));

        let _phone = agent_phone(system, "ada", ADA);
        let mut browser = Browser::new(&authority, provider.port);
        let with_code = |code: &str| json!({"tenant": "acme", "code": code, "codeVerifier": VERIFIER, "redirectUri": BACK, "nonce": NONCE});
        let code = browser.code("switchboard", "1");
        let (status, session) = sessions(system, &with_code(&code));
        assert_eq!((status, &session["agent"]), (201, &json!("acme/ada")), "{session}");
        assert_eq!(session["displayName"], "Ada Lopez");
        let bearer = session["token"].as_str().unwrap().to_owned();
        let mut desk = Desk::open(system, &bearer).unwrap();
        assert_eq!(desk.hear("welcome")["agent"], "acme/ada");
        desk.say(json!({"type": "ready"}));
        desk.state("Available");

        let (status, reason, _) = refused(sessions(system, &with_code(&code)));
        assert_eq!((status, reason.as_str()), (401, "CodeRefused"), "a code is used once");
        let (status, reason, error) =
            refused(sessions(system, &with_code(&browser.code("switchboard", "2"))));
        assert_eq!((status, reason.as_str()), (401, "UnknownSubject"), "{error}");

        let with_token = |token: &str| json!({"tenant": "acme", "idToken": token, "nonce": NONCE});
        let code = browser.code("other", "1");
        let others = browser.token(("other", OTHER_SECRET), &code);
        let (status, reason, error) = refused(sessions(system, &with_token(&others)));
        assert_eq!((status, reason.as_str()), (401, "TokenRefused"));
        assert_eq!(error, "the token is for other (`aud`), not for us");
        let code = browser.code("switchboard", "1");
        let own = browser.token(("switchboard", CLIENT_SECRET), &code);
        let mut wrong = with_token(&own);
        wrong["nonce"] = json!("another");
        assert_eq!(refused(sessions(system, &wrong)).1, "TokenRefused", "it belongs to another sign-in");
        assert_eq!(sessions(system, &with_token(&own)).0, 201);
        let (status, reason, _) = refused(sessions(system, &with_token(&own)));
        assert_eq!((status, reason.as_str()), (401, "TokenUsed"));
        assert_eq!(
            refused(sessions(system, &json!({"tenant": "gone", "idToken": own, "nonce": NONCE}))).1,
            "NoProvider"
        );
        // Whoever has a password still signs in by it.
        assert_eq!(sessions(system, &json!({"agent": "acme/bob", "password": PASSWORD})).0, 201);

        // Without the provider nobody comes, and who is here stays.
        let code = browser.code("switchboard", "1");
        provider.process.terminate();
        let (status, reason, error) = refused(sessions(system, &with_code(&code)));
        assert_eq!((status, reason.as_str()), (503, "ProviderUnavailable"), "{error}");
        desk.say(json!({"type": "away", "reason": "Lunch"}));
        desk.state("Away");
        assert_eq!(request(system.http, "DELETE", (&bearer, "")).0, 204);
        let log = system.log();
        for told in [CLIENT_SECRET, &code, &own, &others, &bearer, VERIFIER] {
            assert!(!log.contains(told), "{told} is in the log");
        }
    });
}

/// A provider of the test's own, which signs what it is told to.
#[derive(Clone)]
struct Own {
    issuer: String,
    keys: Arc<Mutex<(String, PKey<Private>)>>,
}

impl Own {
    fn new() -> Self {
        Self { issuer: String::new(), keys: Arc::new(Mutex::new(("first".into(), Self::key()))) }
    }

    fn key() -> PKey<Private> {
        PKey::from_rsa(Rsa::generate(2_048).unwrap()).unwrap()
    }

    fn jwks(&self) -> Value {
        let (kid, key) = &*self.keys.lock().unwrap();
        let rsa = key.rsa().unwrap();
        let encoded = |number: &openssl::bn::BigNumRef| URL_SAFE_NO_PAD.encode(number.to_vec());
        json!({"keys": [{"kty": "RSA", "kid": kid, "alg": "RS256", "n": encoded(rsa.n()), "e": encoded(rsa.e())}]})
    }

    /// Of Ada, as it should be but for `changes`.
    fn token(&self, changes: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({
            "iss": self.issuer, "aud": "switchboard", "sub": "1", "exp": now + 300, "iat": now, "nonce": NONCE,
            "email": "ada@example.com", "email_verified": true, "jti": changes.to_string(),
        });
        changes.as_object().unwrap().iter().for_each(|(name, value)| claims[name] = value.clone());
        let (kid, key) = &*self.keys.lock().unwrap();
        let encoded = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let text = format!("{}.{}", encoded(&json!({"alg": "RS256", "kid": kid})), encoded(&claims));
        let mut signer = Signer::new(MessageDigest::sha256(), key).unwrap();
        signer.update(text.as_bytes()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signer.sign_to_vec().unwrap()))
    }

    /// What it answers; below /hangs nothing, and below /stranger it speaks for somebody else.
    fn does(&self, issuer: Arc<Mutex<String>>) -> Does {
        let own = self.clone();
        Arc::new(move |request| {
            let path = request.head.split(' ').nth(1).unwrap();
            let issuer = issuer.lock().unwrap().clone();
            let body = match path {
                "/.well-known/openid-configuration" | "/stranger/.well-known/openid-configuration" => json!({
                    "issuer": issuer, "authorization_endpoint": format!("{issuer}/auth"),
                    "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/keys/"),
                }),
                "/keys/" => own.jwks(),
                path if path.starts_with("/hangs") => return None,
                path if path.starts_with("/moved") => {
                    let head = format!(
                        "HTTP/1.1 302 Found\r\nLocation: {issuer}{}\r\nContent-Length: 0\r\n\r\n",
                        &path[6..]
                    );
                    return Some(head.into_bytes());
                }
                _ => return Some(answer("404 Not Found", "text/plain", b"")),
            };
            Some(answer("200 OK", "application/json", body.to_string().as_bytes()))
        })
    }
}

#[test]
fn only_a_token_that_holds_opens_a_session_and_a_provider_may_change_its_keys() {
    let (authority, shown) = here();
    let mut own = Own::new();
    let issuer: Arc<Mutex<String>> = Arc::default();
    let service = serve(shown, own.does(Arc::clone(&issuer)));
    own.issuer = format!("https://{HOST}:{}", service.port);
    issuer.lock().unwrap().clone_from(&own.issuer);
    let prepare = |system: &System| with_provider(system, &authority, &own.issuer, "");
    with_prepared(&Setup::default(), prepare, |system| {
        let shows =
            |token: &str| sessions(system, &json!({"tenant": "acme", "idToken": token, "nonce": NONCE}));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        for (changes, wanted) in [
            (json!({"exp": now - 120, "iat": now - 180}), "has expired"),
            (json!({"iat": now - 3_600}), "was issued"),
            (json!({"iss": "https://login.example.com"}), "not the tenant's issuer"),
            (json!({"aud": ["switchboard", "other"]}), "`azp`"),
            (json!({"email_verified": false}), "email_verified"),
        ] {
            let (status, reason, error) = refused(shows(&own.token(&changes)));
            assert_eq!((status, reason.as_str()), (401, "TokenRefused"), "{changes}");
            assert!(error.contains(wanted), "{changes}: {error}");
        }
        let (status, session) = shows(&own.token(&json!({})));
        assert_eq!(status, 201, "{session}");
        let bearer = session["token"].as_str().unwrap().to_owned();
        // Other keys, which we look for when a token is signed with one.
        *own.keys.lock().unwrap() = ("second".into(), Own::key());
        let token = own.token(&json!({"jti": "another"}));
        // Not so often that we are held off for guessing.
        let found = (0..30).any(|_| {
            let is_found = shows(&token).0 == 201;
            if !is_found {
                thread::sleep(Duration::from_secs(1));
            }
            is_found
        });
        assert!(found, "the new key is found");
        let asked =
            || service.asked.lock().unwrap().iter().filter(|asked| asked.head.contains("/keys/")).count();
        let before = asked();
        *own.keys.lock().unwrap() = ("third".into(), Own::key());
        let token = own.token(&json!({"jti": "a third"}));
        for _ in 0..5 {
            assert_eq!(refused(shows(&token)).1, "TokenRefused");
        }
        assert_eq!(asked(), before, "whoever makes up keys has us fetch them no more often");
        // Who says that it is another provider ends what the last one has vouched for.
        system.edit(
            "tenant.yaml",
            &format!("issuer: {}\n", own.issuer),
            &format!("issuer: {}/stranger\n", own.issuer),
        );
        wait_until("who was there is gone", || Desk::open(system, &bearer).is_err());
        for (from, to, wanted) in [
            ("/stranger", "/hangs", "names the issuer"),
            ("/hangs", "/moved", "no answer within 4000 ms"),
            ("/moved", "", "302, a redirection, which is not followed"),
        ] {
            let (status, reason, error) = refused(shows(&token));
            assert_eq!((status, reason.as_str()), (503, "ProviderUnavailable"), "{from}");
            assert!(error.contains(wanted), "{from}: {error}");
            let offer = get(system.http, "/api/v1/sign-in?tenant=acme").unwrap();
            assert!(offer.contains("ProviderUnavailable") && offer.contains("\"passwords\":true"), "{offer}");
            let issuer = |path: &str| format!("issuer: {}{path}\n", own.issuer);
            system.edit("tenant.yaml", &issuer(from), &issuer(to));
            let next = match to {
                "/hangs" => "no answer",
                "/moved" => "302",
                _ => "authorizationEndpoint",
            };
            wait_until("the tenant has the next provider", || {
                get(system.http, "/api/v1/sign-in?tenant=acme").unwrap().contains(next)
            });
        }
        assert_eq!(shows(&token).0, 201, "it is well again");
    });
}

#[test]
fn whoever_fails_again_and_again_is_not_heard_for_a_while() {
    let (authority, shown) = here();
    let mut own = Own::new();
    let issuer: Arc<Mutex<String>> = Arc::default();
    let service = serve(shown, own.does(Arc::clone(&issuer)));
    own.issuer = format!("https://{HOST}:{}", service.port);
    issuer.lock().unwrap().clone_from(&own.issuer);
    let prepare = |system: &System| {
        with_provider(system, &authority, &own.issuer, "      redirectUri: https://desk.example.com/\n")
    };
    with_prepared(&Setup::default(), prepare, |system| {
        let by_code = |name: &str, value: Value| {
            let mut body = json!({"tenant": "acme", "code": "c", "codeVerifier": VERIFIER, "nonce": NONCE});
            body[name] = value;
            refused(sessions(system, &body))
        };
        for (name, value, wanted) in [
            ("codeVerifier", json!("short"), "`codeVerifier` must have 43 to 128"),
            ("code", json!("a b"), "`code` must have 1 to 4096"),
            ("nonce", json!(""), "`nonce` must have 1 to 255"),
            ("redirectUri", json!("https://evil.example/"), "`redirectUri` must be the one of the Tenant"),
        ] {
            let (status, reason, error) = by_code(name, value);
            assert_eq!((status, reason.as_str()), (400, "InvalidRequest"), "{name}");
            assert!(error.contains(wanted), "{name}: {error}");
        }
        // Its token endpoint is not there.
        assert_eq!(by_code("nonce", json!(NONCE)).1, "ProviderUnavailable");
        let shows =
            |token: &str| sessions(system, &json!({"tenant": "acme", "idToken": token, "nonce": NONCE}));
        let bad = own.token(&json!({"aud": "other"}));
        for _ in 0..50 {
            assert_eq!(shows(&bad).0, 401);
        }
        let (status, reason, _) = refused(shows(&own.token(&json!({}))));
        assert_eq!((status, reason.as_str()), (429, "TooManyFailures"));
    });
}
