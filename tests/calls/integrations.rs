//! A tenant's own voice and recogniser, through Integrations: services of the test's own behind its own authority, and all
//! that can be wrong with them.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use openssl::{
    sha::sha256,
    ssl::{SslAcceptor, SslStream},
};
use tokio_tungstenite::tungstenite::{self, Message};

use crate::{
    audio::{self, likeness, melody, missing_ms},
    callee::{Callee, Stream},
    certificates::{Authority, For, acceptor, secret},
    harness::{Setup, System, wait_until, with_prepared},
    phone::{CARRIER, Phone},
    sounds::{Mouth, spoken},
};

const HOST: &str = "127.0.0.1";
const NUMBER: &str = "+18005550107";
const RING: &str = "+18005550102";
const TEXT: &str = "Welcome to the voice of a service";

const FLOWS: &str = r#"apiVersion: switchboard.dev/v1alpha1
kind: Prompt
metadata: {name: greeting, namespace: acme}
spec: {text: {text: $TEXT, language: en-US}}
---
apiVersion: switchboard.dev/v1alpha1
kind: RoutingFlow
metadata: {name: spoken, namespace: acme}
spec:
  steps:
  - name: hello
    play: {prompt: greeting}
  - name: menu
    ask:
      prompt: one
      timeoutSeconds: 20
      attempts: 1
      choices:
      - {digits: "1", phrases: [sales, buy something], next: bad}
      - {digits: "2", phrases: [leave a message], next: good}
      noInput: bad
      noMatch: unheard
  - name: good
    play: {prompt: good, next: bye}
  - name: unheard
    play: {prompt: two, next: bye}
  - name: bad
    play: {prompt: bad, next: bye}
  - name: bye
    hangup: {}
---
apiVersion: switchboard.dev/v1alpha1
kind: PhoneNumber
metadata: {name: spoken, namespace: acme}
spec:
  number: "+18005550107"
  kind: TollFree
  origin: RespOrg
  trunkRef: {namespace: platform, name: carrier}
  flowRef: {name: spoken}
---
apiVersion: switchboard.dev/v1alpha1
kind: Integration
metadata: {name: speech, namespace: acme}
spec:
  url: https://127.0.0.1:$PORT
  timeoutSeconds: 1
  headers:
  - {name: Authorization, secretRef: {name: speech, key: token}}
  tls: {caSecretRef: {name: speech, key: ca.crt}}
"#;

const VOICE: &str = "  speech: {voice: {integrationRef: {name: speech}, model: tts-1, voice: alloy}}\n";
const RECOGNISER: &str = "  speech: {recogniser: {integrationRef: {name: speech}}}\n";
const STREAM: &str = "  speech: {recogniser: {integrationRef: {name: speech}, protocol: Vosk}}\n";

/// What a service does with a request: an answer, or nothing for ever.
pub type Does = Arc<dyn Fn(&Request) -> Option<Vec<u8>> + Send + Sync>;

pub struct Request {
    pub head: String,
    pub body: Vec<u8>,
}

/// A service of HTTP, and what it was asked.
pub struct Service {
    pub port: u16,
    pub asked: Arc<Mutex<Vec<Request>>>,
}

pub fn serve(acceptor: SslAcceptor, does: Does) -> Service {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked: Arc<Mutex<Vec<Request>>> = Arc::default();
    let service = Service { port, asked: Arc::clone(&asked) };
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (acceptor, does, asked) = (acceptor.clone(), Arc::clone(&does), Arc::clone(&asked));
            thread::spawn(move || {
                let Ok(mut stream) = acceptor.accept(stream) else { return };
                while let Some(request) = read(&mut stream) {
                    let answer = does(&request);
                    asked.lock().unwrap().push(request);
                    match answer {
                        None => thread::sleep(Duration::from_secs(60)),
                        // It says nothing and closes.
                        Some(answer) if answer.is_empty() => return,
                        Some(answer) => {
                            if stream.write_all(&answer).is_err() {
                                return;
                            }
                        }
                    }
                }
            });
        }
    });
    service
}

fn read(stream: &mut impl Read) -> Option<Request> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            if bytes.len() >= end + 4 + length {
                return Some(Request { head, body: bytes.split_off(end + 4) });
            }
        }
        let mut more = [0; 16_384];
        match stream.read(&mut more) {
            Ok(0) | Err(_) => return None,
            Ok(length) => bytes.extend(&more[..length]),
        }
    }
}

pub fn answer(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// As services send it that begin before they know the end: the lengths are the greatest.
fn endless_wav(samples: &[i16]) -> Vec<u8> {
    let mut file = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\xff\xff\xff\xff".to_vec();
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

/// Manifests: `speech` of the Tenant, reached at `port`, perhaps with more of the Integration.
pub fn prepare(system: &System, (authority, port): (&Authority, u16), speech: &str, more: &str) {
    let text = FLOWS.replace("$PORT", &port.to_string()).replace("$TEXT", TEXT);
    let text = text.replace("  tls: {ca", &format!("{more}  tls: {{ca"));
    let secrets = [("token", "Bearer t0ken"), ("ca.crt", &authority.pem()), ("proxy", "me:pr0xy")];
    fs::write(system.manifest("integrations.yaml"), text + &secret("acme", "speech", &secrets)).unwrap();
    let tenant = fs::read_to_string(system.manifest("tenant.yaml")).unwrap();
    let (tenant, rest) = tenant.split_once("---").unwrap();
    fs::write(system.manifest("tenant.yaml"), format!("{tenant}{speech}---{rest}")).unwrap();
    let reachable = "  reachableRanges: [127.0.0.0/8]\n  drainSeconds: 1\n";
    system.edit("platform.yaml", "  drainSeconds: 1\n", reachable);
}

pub fn here() -> (Authority, SslAcceptor) {
    let authority = Authority::new("Test Authority");
    let shown = acceptor(&authority.ecdsa(HOST, For::Servers), None);
    (authority, shown)
}

/// What espeak-ng makes of a text.
pub fn by_espeak(system: &System, text: &str) -> Vec<i16> {
    let [raw, path] = ["raw.wav", "espeak.wav"].map(|name| system.dir.path().join(name));
    let spoken = Command::new("espeak-ng").args(["-ven-US", "-w"]).arg(&raw).arg(text).status().unwrap();
    let converted = Command::new("sox")
        .arg(&raw)
        .args(["-r", "8000", "-c", "1", "-b", "16"])
        .arg(&path)
        .status()
        .unwrap();
    assert!(spoken.success() && converted.success());
    audio::read_wav(&path)
}

/// Calls, and says how like what is heard first is to `wanted`.
fn greeted(system: &System, wanted: &[i16]) -> f64 {
    let mut phone = Phone::new(system, CARRIER, NUMBER);
    let to = phone.call("0 101").audio();
    let mut mouth = Mouth::new(&phone, to);
    // The greeting, and the beginning of the question after it.
    mouth.silence(5_000);
    phone.hang_up();
    system.path_of_call(1);
    likeness(wanted, &phone.rtp.samples())
}

#[test]
fn a_services_voice_is_what_callers_hear_and_its_token_is_told_nobody() {
    let (authority, shown) = here();
    let voice = melody(91, 2.0);
    let file = endless_wav(&voice);
    let service = serve(shown, Arc::new(move |_| Some(answer("200 OK", "audio/wav", &file))));
    let prepare = |system: &System| prepare(system, (&authority, service.port), VOICE, "");
    with_prepared(&Setup::default(), prepare, |system| {
        let found = greeted(system, &voice);
        assert!(found > 0.95, "the service's voice: {found:.3}");
        let asked = service.asked.lock().unwrap();
        assert_eq!(asked.len(), 1, "a text is spoken once");
        assert!(asked[0].head.starts_with("POST /v1/audio/speech HTTP/1.1"), "{}", asked[0].head);
        assert!(asked[0].head.contains("authorization: Bearer t0ken"), "{}", asked[0].head);
        let body: serde_json::Value = serde_json::from_slice(&asked[0].body).unwrap();
        let wanted =
            serde_json::json!({"model": "tts-1", "voice": "alloy", "input": TEXT, "response_format": "wav"});
        assert_eq!(body, wanted);
        assert!(!system.log().contains("t0ken"));
    });
}

#[test]
fn where_a_voice_fails_espeak_speaks_and_the_log_says_why() {
    let (authority, shown) = here();
    let other = Authority::new("Other Authority");
    let rows: [(&str, SslAcceptor, Does, &str); 5] = [
        ("it hangs", shown.clone(), Arc::new(|_| None), "no answer within 1000 ms"),
        (
            "it is not well",
            shown.clone(),
            Arc::new(|_| Some(answer("500 Oh", "text/plain", b"no"))),
            "it answers 500",
        ),
        (
            "it never ends",
            shown.clone(),
            Arc::new(|_| Some(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nRIFF".to_vec())),
            "the answer is longer than",
        ),
        (
            "it says what is no sound",
            shown,
            Arc::new(|_| Some(answer("200 OK", "audio/wav", b"RIFF and no more"))),
            "not a WAV file that can be read",
        ),
        (
            "it is somebody else",
            acceptor(&other.ecdsa(HOST, For::Servers), None),
            Arc::new(|_| Some(answer("200 OK", "audio/wav", b"RIFF"))),
            "\"Other Authority\", who vouches for it, is none of the trusted authorities",
        ),
    ];
    for (what, shown, does, because) in rows {
        let service = serve(shown, does);
        let prepare = |system: &System| prepare(system, (&authority, service.port), VOICE, "");
        with_prepared(&Setup::default(), prepare, |system| {
            let found = greeted(system, &by_espeak(system, TEXT));
            assert!(found > 0.8, "{what}: espeak-ng's voice: {found:.3}");
            let log = system.log();
            assert!(log.contains("espeak-ng speaks in place of the tenant's voice"), "{what}: {log}");
            assert!(log.contains(because), "{what}: {log}");
        });
    }
}

#[test]
fn a_service_within_the_platform_is_not_asked_unless_the_cluster_lists_it() {
    let (authority, shown) = here();
    let service = serve(shown, Arc::new(|_| Some(answer("200 OK", "audio/wav", b"RIFF"))));
    let prepare = |system: &System| {
        prepare(system, (&authority, service.port), VOICE, "");
        system.edit("platform.yaml", "  reachableRanges: [127.0.0.0/8]\n", "");
    };
    with_prepared(&Setup::default(), prepare, |system| {
        let found = greeted(system, &by_espeak(system, TEXT));
        assert!(found > 0.8, "espeak-ng's voice: {found:.3}");
        assert!(system.log().contains("error[ForbiddenDestination]"), "{}", system.log());
        assert!(service.asked.lock().unwrap().is_empty());
    });
}

/// Lets through to `to`, and tells whom it was asked for.
fn proxy(to: u16) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = Arc::clone(&heads);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let told = Arc::clone(&told);
            thread::spawn(move || {
                let Some(request) = read(&mut stream) else { return };
                told.lock().unwrap().push(request.head);
                stream.write_all(b"HTTP/1.1 200 Go\r\n\r\n").unwrap();
                let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
                let pass = |mut from: TcpStream, mut to: TcpStream| {
                    thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                    })
                };
                pass(stream.try_clone().unwrap(), server.try_clone().unwrap());
                pass(server, stream);
            });
        }
    });
    (port, heads)
}

#[test]
fn a_service_is_reached_through_a_proxy_and_an_inspecting_one_is_told() {
    let (authority, shown) = here();
    let voice = melody(92, 2.0);
    let file = endless_wav(&voice);
    let does: Does = Arc::new(move |_| Some(answer("200 OK", "audio/wav", &file)));
    let inspector = Authority::new("Corp Inspection");
    let inspecting = acceptor(&inspector.ecdsa(HOST, For::Servers), None);
    for (inspected, shown) in [(false, shown), (true, inspecting)] {
        let service = serve(shown, Arc::clone(&does));
        let (port, heads) = proxy(service.port);
        let by = format!(
            "  proxy: {{url: \"http://127.0.0.1:{port}\", secretRef: {{name: speech, key: proxy}}}}\n"
        );
        // Whoever is asked for is the proxy's business: nobody listens there.
        let prepare = |system: &System| prepare(system, (&authority, 9), VOICE, &by);
        with_prepared(&Setup::default(), prepare, |system| {
            let found = greeted(system, &voice);
            let head = heads.lock().unwrap()[0].clone();
            assert!(head.starts_with("CONNECT 127.0.0.1:9 HTTP/1.1"), "{head}");
            assert!(head.contains("Proxy-Authorization: Basic bWU6cHIweHk="), "{head}");
            assert_eq!(found > 0.95, !inspected, "the service's voice: {found:.3}");
            let log = system.log();
            assert_eq!(log.contains("is intercepted on its way through the proxy"), inspected, "{log}");
            assert_eq!(log.contains("\"Corp Inspection\""), inspected, "{log}");
        });
    }
}

/// The greeting is a file of this service's, with this SHA-256.
fn fetches(system: &System, (authority, port): (&Authority, u16), digest: &str) {
    prepare(system, (authority, port), "", "");
    let text = format!("{{text: {{text: {TEXT}, language: en-US}}}}");
    let url = format!("https://{HOST}:{port}/voice.wav");
    system.edit("integrations.yaml", &text, &format!("{{remote: {{url: \"{url}\", sha256: {digest}}}}}"));
    fs::write(system.dir.path().join("authorities.pem"), authority.pem()).unwrap();
    fs::create_dir_all(system.dir.path().join("state/prompts")).unwrap();
}

#[test]
fn a_prompt_that_comes_late_holds_nothing_up_and_is_heard_once_it_is_there() {
    let voice = melody(94, 2.0);
    let dir = tempfile::tempdir().unwrap();
    audio::write_wav(&dir.path().join("voice.wav"), &voice);
    let file = fs::read(dir.path().join("voice.wav")).unwrap();
    let digest: String = sha256(&file).iter().map(|octet| format!("{octet:02x}")).collect();
    let (authority, shown) = here();
    let good = answer("200 OK", "audio/wav", &file);
    let slow = Arc::new(move |_: &Request| {
        thread::sleep(Duration::from_secs(10));
        Some(good.clone())
    });
    let service = serve(shown, slow);
    let prepare = |system: &System| fetches(system, (&authority, service.port), &digest);
    with_prepared(&Setup::default(), prepare, |system| {
        // It is ready, and the file is not there.
        let on_disk = system.dir.path().join("state/prompts").join(&digest);
        assert!(!on_disk.exists() && system.log().contains("has not come in 5 s"), "{}", system.log());
        wait_until("the file is there", || on_disk.exists());
        thread::sleep(Duration::from_secs(3));
        let found = greeted(system, &voice);
        assert!(found > 0.95, "{found:.3}");
        assert_eq!(service.asked.lock().unwrap().len(), 1);
    });
}

#[test]
fn a_prompt_is_fetched_once_and_never_taken_for_another() {
    let voice = melody(93, 2.0);
    let dir = tempfile::tempdir().unwrap();
    audio::write_wav(&dir.path().join("voice.wav"), &voice);
    let file = fs::read(dir.path().join("voice.wav")).unwrap();
    let digest: String = sha256(&file).iter().map(|octet| format!("{octet:02x}")).collect();
    let good = answer("200 OK", "audio/wav", &file);
    let another = answer("200 OK", "audio/wav", &[&file[..], b"!"].concat());
    let elsewhere =
        b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1/\r\nContent-Length: 0\r\n\r\n".to_vec();
    for (what, gives, kept, because) in [
        ("the file", Some(good), false, None),
        ("one that is there already", None, true, None),
        ("another file", Some(another), false, Some("its SHA-256 is")),
        ("a redirect", Some(elsewhere), false, Some("302")),
    ] {
        let (authority, shown) = here();
        let service = serve(shown, Arc::new(move |_| gives.clone()));
        let prepare = |system: &System| {
            fetches(system, (&authority, service.port), &digest);
            if kept {
                fs::write(system.dir.path().join("state/prompts").join(&digest), &file).unwrap();
            }
        };
        with_prepared(&Setup::default(), prepare, |system| {
            let asked = service.asked.lock().unwrap().len();
            assert_eq!(asked == 0, kept, "{what}: asked {asked} times");
            let on_disk = system.dir.path().join("state/prompts").join(&digest);
            match because {
                None => {
                    let found = greeted(system, &voice);
                    assert!(found > 0.95, "{what}: {found:.3}");
                    assert_eq!(fs::read(on_disk).unwrap(), file, "{what}");
                }
                Some(because) => {
                    let log = system.log();
                    assert!(
                        log.contains("voice.wav cannot be fetched") && log.contains(because),
                        "{what}: {log}"
                    );
                    assert!(!on_disk.exists(), "{what}");
                }
            }
        });
    }
}

/// Calls, says it is to leave a message, and gives back the path.
fn says(system: &System, last: &str) -> (Vec<String>, String, Vec<i16>) {
    let wish = spoken(system, "leave a message");
    let mut phone = Phone::new(system, CARRIER, NUMBER);
    let to = phone.call("0 101").audio();
    let mut mouth = Mouth::new(&phone, to);
    // The greeting lasts for half of it, and what is said then stops the question.
    mouth.silence(4_500);
    mouth.say(&wish);
    mouth.silence(1_500);
    phone.wait_for_bye();
    let found = likeness(&system.prompt(last), &phone.rtp.samples());
    assert!(found > 0.9, "prompt {last}: {found:.3}");
    let path = system.path_of_call(1);
    (path, system.get(&format!("/api/v1/explanations/{}", phone.call_id)), wish)
}

/// The same while two others talk, who must not lose a word by it.
fn says_beside_others(system: &System, last: &str) -> (Vec<String>, String) {
    let callee = Callee::start(system, system.pbx.port(), "0");
    let mut other = Phone::new(system, CARRIER, RING);
    let to = other.call("0").audio();
    let (words, over) = (melody(121, 6.0), AtomicBool::new(false));
    let mut path = None;
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = Stream::new(&other.rtp, to, 7);
            // From before anything is understood until after it could not be.
            for _ in 0..6 {
                stream.say(&words);
                if over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        path = Some(says(system, last));
        over.store(true, Ordering::Relaxed);
    });
    let packets = callee.rtp.packets();
    assert!(packets.len() > 400, "{} packets", packets.len());
    for pair in packets.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1), "a packet is lost");
    }
    let missing = missing_ms(&words, &callee.rtp.samples());
    assert!(missing <= 240, "{missing} ms of the others' words are missing");
    other.hang_up();
    let (path, told, _) = path.unwrap();
    (path, told)
}

#[test]
fn a_service_that_transcribes_leads_the_caller_where_the_words_say() {
    let (authority, shown) = here();
    let transcript = b"{\"text\": \" Leave a message, please.\", \"segments\": [{\"avg_logprob\": -0.1}]}";
    let service = serve(shown, Arc::new(|_| Some(answer("200 OK", "application/json", transcript))));
    let prepare = |system: &System| prepare(system, (&authority, service.port), RECOGNISER, "");
    with_prepared(&Setup::default(), prepare, |system| {
        let (path, told, wish) = says(system, "good");
        assert_eq!(path[1], "menu: choice 2");
        assert!(told.contains("the contact said “leave a message” with 81 %"), "{told}");
        let asked = service.asked.lock().unwrap();
        let request = &asked[0];
        assert!(request.head.starts_with("POST /v1/audio/transcriptions HTTP/1.1"), "{}", request.head);
        let at = request.body.windows(4).position(|four| four == b"RIFF").unwrap();
        let file = system.dir.path().join("asked.wav");
        fs::write(&file, &request.body[at..]).unwrap();
        let found = likeness(audio::loud_part(&wish), &audio::read_wav(&file));
        assert!(found > 0.9, "what was said: {found:.3}");
    });
}

#[test]
fn a_transcriber_that_hangs_is_no_match_and_says_so() {
    let (authority, shown) = here();
    let service = serve(shown, Arc::new(|_| None));
    let prepare = |system: &System| prepare(system, (&authority, service.port), RECOGNISER, "");
    with_prepared(&Setup::default(), prepare, |system| {
        let (path, told) = says_beside_others(system, "two");
        assert_eq!(path[1], "menu: noMatch");
        let because = "could not be understood: Integration acme/speech: no answer within 1000 ms";
        assert!(told.contains(because), "{told}");
    });
}

/// A Vosk server, and the sound that it heard.
fn recogniser(acceptor: SslAcceptor, hangs: bool) -> (u16, Arc<Mutex<Vec<i16>>>) {
    const SAID: &str = r#"{"text": "leave a message", "result": [{"word": "leave", "conf": 0.9}, {"word": "a", "conf": 0.8}, {"word": "message", "conf": 1.0}]}"#;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard: Arc<Mutex<Vec<i16>>> = Arc::default();
    let sound = Arc::clone(&heard);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let Ok(stream) = acceptor.accept(stream) else { continue };
            let Ok(mut socket) = tungstenite::accept::<SslStream<TcpStream>>(stream) else { continue };
            while let Ok(message) = socket.read() {
                let says = match &message {
                    Message::Binary(octets) => {
                        let samples = octets.chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]]));
                        sound.lock().unwrap().extend(samples);
                        Some(r#"{"partial": ""}"#)
                    }
                    Message::Text(text) => text.contains("eof").then_some(SAID),
                    Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => None,
                };
                let Some(says) = says.filter(|_| !hangs) else { continue };
                if socket.send(Message::text(says)).is_err() {
                    break;
                }
            }
        }
    });
    (port, heard)
}

#[test]
fn a_recogniser_on_a_websocket_hears_while_the_caller_speaks() {
    let (authority, shown) = here();
    let (port, heard) = recogniser(shown, false);
    let prepare = |system: &System| prepare(system, (&authority, port), STREAM, "");
    with_prepared(&Setup::default(), prepare, |system| {
        let (path, told, wish) = says(system, "good");
        assert_eq!(path[1], "menu: choice 2");
        assert!(told.contains("the contact said “leave a message” with 90 %"), "{told}");
        let found = likeness(audio::loud_part(&wish), &heard.lock().unwrap());
        assert!(found > 0.9, "what was said: {found:.3}");
    });
}

#[test]
fn a_recogniser_on_a_websocket_that_hangs_is_no_match_and_says_so() {
    let (authority, shown) = here();
    let (port, _) = recogniser(shown, true);
    let prepare = |system: &System| prepare(system, (&authority, port), STREAM, "");
    with_prepared(&Setup::default(), prepare, |system| {
        let (path, told) = says_beside_others(system, "two");
        assert_eq!(path[1], "menu: noMatch");
        assert!(
            told.contains("could not be understood: Integration acme/speech: no answer within"),
            "{told}"
        );
    });
}

const TEXTS: &str = r#"apiVersion: switchboard.dev/v1alpha1
kind: RoutingFlow
metadata: {name: texting, namespace: acme}
spec:
  steps:
  - {name: note, message: {text: "'We have got your call.'", next: good, failed: bad}}
  - {name: good, play: {prompt: good, next: bye}}
  - {name: bad, play: {prompt: bad, next: bye}}
  - {name: bye, hangup: {}}
---
apiVersion: switchboard.dev/v1alpha1
kind: PhoneNumber
metadata: {name: texting, namespace: acme}
spec:
  number: "+18005550108"
  kind: TollFree
  origin: RespOrg
  trunkRef: {namespace: platform, name: carrier}
  flowRef: {name: texting}
---
apiVersion: switchboard.dev/v1alpha1
kind: RoutingFlow
metadata: {name: texts, namespace: acme}
spec:
  steps:
  - {name: end, hangup: {}}
---
apiVersion: switchboard.dev/v1alpha1
kind: ContactPoint
metadata: {name: text, namespace: acme}
spec:
  flowRef: {name: texts}
  sms: {numberRef: {name: texting}, integrationRef: {name: speech}}
---
"#;

/// Calls the number that writes back. Gives the path and what the explanation says.
fn written(system: &System, last: &str) -> (Vec<String>, String) {
    let mut phone = Phone::new(system, CARRIER, "+18005550108");
    phone.call("0 101");
    phone.wait_for_bye();
    let found = likeness(&system.prompt(last), &phone.rtp.samples());
    assert!(found > 0.9, "prompt {last}: {found:.3}");
    let path = system.path_of_call(1);
    (path, system.get(&format!("/api/v1/explanations/{}", phone.call_id)))
}

/// By a service of SMS that does so with each request.
fn texting(does: Does, run: impl FnOnce(&System, &Service)) {
    let (authority, shown) = here();
    let service = serve(shown, does);
    let prepare = |system: &System| {
        prepare(system, (&authority, service.port), "", "");
        let text = fs::read_to_string(system.manifest("integrations.yaml")).unwrap();
        fs::write(system.manifest("integrations.yaml"), format!("{TEXTS}{text}")).unwrap();
    };
    with_prepared(&Setup::default(), prepare, |system| run(system, &service));
}

#[test]
fn an_sms_is_handed_to_the_tenants_service_whose_answer_is_the_outcome() {
    // That it answers in a page of HTML does not matter: its status does.
    let taken: Does = Arc::new(|_| Some(answer("202 Accepted", "text/html", b"<p>Taken.</p>")));
    texting(taken, |system, service| {
        let (path, _) = written(system, "good");
        assert_eq!(path[0], "note: sent");
        let asked = service.asked.lock().unwrap();
        assert_eq!(asked.len(), 1);
        let head = asked[0].head.to_ascii_lowercase();
        assert!(head.starts_with("post / http/1.1"), "{head}");
        assert!(head.contains("authorization: bearer t0ken"), "{head}");
        assert!(head.contains("content-type: application/json"), "{head}");
        let body: serde_json::Value = serde_json::from_slice(&asked[0].body).unwrap();
        let id = body["id"].as_str().unwrap();
        assert_eq!(id.len(), 32);
        assert!(head.contains(&format!("idempotency-key: \"{id}\"")), "{head}");
        let text = "We have got your call.";
        assert_eq!(
            body,
            serde_json::json!({"id": id, "from": "+18005550108", "to": body["to"], "text": text})
        );
        assert!(body["to"].as_str().unwrap().starts_with('+'), "{body}");
        assert!(!system.log().contains(text), "what is written is told nobody");
    });
}

#[test]
fn an_sms_that_the_service_does_not_take_is_a_failure_with_its_reason() {
    let rows: [(Does, &str); 2] = [
        (Arc::new(|_| Some(answer("422 No", "application/json", b"{}"))), "it answers 422"),
        (Arc::new(|_| None), "no answer within 1000 ms"),
    ];
    for (does, because) in rows {
        texting(does, |system, _| {
            let (path, told) = written(system, "bad");
            assert_eq!(path[0], format!("note: failed (Integration acme/speech: {because})"));
            assert!(
                told.contains(&format!("Step note: no SMS is sent: Integration acme/speech: {because}")),
                "{told}"
            );
        });
    }
}

#[test]
fn an_sms_whose_connection_breaks_is_sent_once_more_with_the_same_id() {
    let times = std::sync::atomic::AtomicUsize::new(0);
    let does: Does = Arc::new(move |_| match times.fetch_add(1, Ordering::Relaxed) {
        // It goes away without a word, as one that restarts does.
        0 => Some(Vec::new()),
        _ => Some(answer("200 OK", "application/json", b"{}")),
    });
    texting(does, |system, service| {
        let (path, _) = written(system, "good");
        assert_eq!(path[0], "note: sent");
        let asked = service.asked.lock().unwrap();
        let ids: Vec<serde_json::Value> =
            asked.iter().map(|asked| serde_json::from_slice(&asked.body).unwrap()).collect();
        assert_eq!(asked.len(), 2, "{ids:?}");
        assert_eq!(ids[0], ids[1]);
    });
}
