//! Services of the test's own, with its own authority, on this machine.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{SinkExt, StreamExt};
use hyper::Method;
use model::{
    IntegrationId, Key,
    centre::{Header, HeaderValue, Integration, Proxy, SecretKey},
    secrets::Secrets,
    trunk::{CipherSuite, TlsPolicy, TlsVersion},
};
use openssl::{
    pkey::PKey,
    ssl::{Ssl, SslAcceptor, SslMethod, SslVerifyMode},
    x509::X509,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_openssl::SslStream;
use tokio_tungstenite::tungstenite::Message;

use crate::{Asked, Failed, Service, guard::FAILURES_MAX, openai, vosk};

/// An authority and a certificate of it.
struct Made {
    ca: String,
    chain: String,
    key: String,
}

fn made(authority: &str, host: &str) -> Made {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, authority);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec![host.into()]).unwrap().signed_by(&key, &ca).unwrap();
    Made { ca: ca.pem(), chain: own.pem(), key: key.serialize_pem() }
}

impl Made {
    fn acceptor(&self, client_ca: Option<&Self>) -> SslAcceptor {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        builder.set_certificate(&X509::from_pem(self.chain.as_bytes()).unwrap()).unwrap();
        builder.set_private_key(&PKey::private_key_from_pem(self.key.as_bytes()).unwrap()).unwrap();
        if let Some(ca) = client_ca {
            builder.cert_store_mut().add_cert(X509::from_pem(ca.ca.as_bytes()).unwrap()).unwrap();
            builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        }
        builder.build()
    }
}

/// What a server does with one request.
type Does = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

/// Requests as they came, and the port.
struct Server {
    port: u16,
    requests: mpsc::UnboundedReceiver<String>,
    connections: Arc<AtomicUsize>,
}

/// Serves; an empty answer is none for ever.
async fn serve(acceptor: SslAcceptor, does: Does) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, requests) = mpsc::unbounded_channel();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let (acceptor, does, tell) = (acceptor.clone(), Arc::clone(&does), tell.clone());
            tokio::spawn(async move {
                let mut stream = SslStream::new(Ssl::new(acceptor.context()).unwrap(), stream).unwrap();
                if Pin::new(&mut stream).accept().await.is_err() {
                    return;
                }
                while let Some(request) = read(&mut stream).await {
                    let answer = does(&request);
                    let _ = tell.send(request);
                    if answer.is_empty() {
                        std::future::pending::<()>().await;
                    }
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                    if answer.starts_with(b"HTTP/1.1 200 bye") {
                        let _ = stream.shutdown().await;
                        return;
                    }
                }
            });
        }
    });
    Server { port, requests, connections }
}

/// A whole request. None: the connection has ended.
async fn read(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            if bytes.len() >= head.len() + 4 + length {
                return Some(text);
            }
        }
        let mut more = [0; 4_096];
        match stream.read(&mut more).await {
            Ok(0) | Err(_) => return None,
            Ok(length) => bytes.extend(&more[..length]),
        }
    }
}

fn answer(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn form(port: u16) -> Integration {
    Integration {
        url: format!("https://localhost:{port}/api"),
        timeout_seconds: 2,
        headers: Vec::new(),
        requests_per_second_max: 1_000,
        tls13_only: false,
        suites: Vec::new(),
        ca: Some(SecretKey { name: "ca".into(), key: "ca.crt".into() }),
        certificate: None,
        proxy: None,
    }
}

fn secrets(made: &Made) -> Secrets {
    let value = |name: &str, key: &str, value: &str| {
        ((Key::new("acme", name), key.to_owned()), value.as_bytes().to_vec())
    };
    [
        value("ca", "ca.crt", &made.ca),
        value("token", "value", "Bearer s3cret\n"),
        value("proxy", "credentials", "user:p4ssword"),
        value("own", "tls.crt", &made.chain),
        value("own", "tls.key", &made.key),
    ]
    .into_iter()
    .collect()
}

fn policy() -> TlsPolicy {
    use CipherSuite::{
        DheRsaAes128Gcm, EcdheEcdsaAes128Gcm, EcdheEcdsaAes256Gcm, EcdheRsaAes128Cbc, EcdheRsaAes128Gcm,
        EcdheRsaAes256Gcm,
    };
    TlsPolicy {
        outbound_suites: vec![
            EcdheRsaAes256Gcm,
            EcdheRsaAes128Gcm,
            EcdheEcdsaAes256Gcm,
            EcdheEcdsaAes128Gcm,
            EcdheRsaAes128Cbc,
            DheRsaAes128Gcm,
        ],
        ..TlsPolicy::default()
    }
}

fn service(form: &Integration, made: &Made) -> Service {
    let ranges = ["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    Service::new(&Key::new("acme", "crm"), form, &secrets(made), (&policy(), &ranges)).unwrap()
}

fn get() -> Asked {
    Asked::new(Method::GET, "/x?y=1", "", 1_000)
}

#[tokio::test]
async fn a_request_bears_the_headers_and_connections_are_used_again() {
    let made = made("Test Authority", "localhost");
    let mut server = serve(made.acceptor(None), Arc::new(|_| answer("200 OK", "text/plain", b"hello"))).await;
    let token = HeaderValue::Secret(SecretKey { name: "token".into(), key: "value".into() });
    let headers = vec![
        Header { name: "Authorization".into(), value: token },
        Header { name: "X-Tenant".into(), value: HeaderValue::Text("acme".into()) },
    ];
    let service = service(&Integration { headers, ..form(server.port) }, &made);
    for _ in 0..3 {
        let answer = service.request(&get()).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"hello"[..]));
        let request = server.requests.recv().await.unwrap();
        assert!(request.starts_with("GET /api/x?y=1 HTTP/1.1\r\n"), "{request}");
        for line in ["authorization: Bearer s3cret\r\n", "x-tenant: acme\r\n"] {
            assert!(request.contains(line), "{request}");
        }
        assert_eq!(request.matches("\r\nhost: ").count(), 1, "{request}");
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
    let printed = format!("{service:?} {:?}", get());
    assert!(!printed.contains("s3cret"), "{printed}");
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_replaced() {
    let made = made("Test Authority", "localhost");
    let bye = b"HTTP/1.1 200 bye\r\nContent-Length: 2\r\n\r\nhi".to_vec();
    let server = serve(made.acceptor(None), Arc::new(move |_| bye.clone())).await;
    let service = service(&form(server.port), &made);
    for _ in 0..5 {
        let asked = Asked { idempotent: false, ..Asked::new(Method::POST, "/x", "body", 100) };
        assert_eq!(&service.request(&asked).await.unwrap().body[..], b"hi");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_a_long_one_is_refused() {
    let made = made("Test Authority", "localhost");
    let redirect = b"HTTP/1.1 302 Found\r\nLocation: https://localhost/\r\nContent-Length: 0\r\n\r\n";
    let server = serve(made.acceptor(None), Arc::new(|_| redirect.to_vec())).await;
    let service_302 = service(&form(server.port), &made);
    let refused = service_302.request(&get()).await.unwrap().good().unwrap_err().to_string();
    assert!(refused.contains("302, a redirection, which is not followed"), "{refused}");
    for head in ["Content-Length: 2000\r\n", "Transfer-Encoding: chunked\r\n"] {
        let chunk = format!("7d0\r\n{}\r\n0\r\n\r\n", "x".repeat(2_000));
        let long = format!("HTTP/1.1 200 OK\r\n{head}\r\n{chunk}").into_bytes();
        let server = serve(made.acceptor(None), Arc::new(move |_| long.clone())).await;
        let failed = service(&form(server.port), &made).request(&get()).await.unwrap_err();
        assert!(matches!(failed, Failed::TooLarge(1_000)), "{failed}");
    }
}

#[tokio::test]
async fn a_service_that_hangs_is_given_up_and_then_left_alone() {
    let made = made("Test Authority", "localhost");
    let server = serve(made.acceptor(None), Arc::new(|_| Vec::new())).await;
    let service = service(&form(server.port), &made);
    let asked = Asked { timeout: Some(Duration::from_millis(50)), ..get() };
    for _ in 0..FAILURES_MAX {
        let failed = service.request(&asked).await.unwrap_err();
        assert!(matches!(failed, Failed::Timeout(_)), "{failed}");
    }
    let failed = service.request(&asked).await.unwrap_err();
    assert!(failed.to_string().contains("left alone"), "{failed}");
}

#[tokio::test]
async fn too_many_requests_in_a_second_are_not_sent() {
    let made = made("Test Authority", "localhost");
    let server = serve(made.acceptor(None), Arc::new(|_| answer("200 OK", "text/plain", b""))).await;
    let service = service(&Integration { requests_per_second_max: 1, ..form(server.port) }, &made);
    service.request(&get()).await.unwrap();
    let failed = service.request(&get()).await.unwrap_err();
    assert!(failed.to_string().contains("callsPerSecond"), "{failed}");
}

#[tokio::test]
async fn another_certificate_is_refused_and_ours_is_shown() {
    let (made, other) = (made("Test Authority", "localhost"), self::made("Other Authority", "localhost"));
    let server = serve(other.acceptor(None), Arc::new(|_| answer("200 OK", "text/plain", b""))).await;
    let failed = service(&form(server.port), &made).request(&get()).await.unwrap_err().to_string();
    assert!(failed.contains("\"Other Authority\", who vouches for it, is none of the trusted"), "{failed}");

    let elsewhere = self::made("Test Authority", "elsewhere.example");
    let server = serve(elsewhere.acceptor(None), Arc::new(|_| answer("200 OK", "text/plain", b""))).await;
    let failed = service(&form(server.port), &elsewhere).request(&get()).await.unwrap_err();
    assert!(matches!(&failed, Failed::Tls { .. }), "{failed}");

    let server = serve(made.acceptor(Some(&made)), Arc::new(|_| answer("200 OK", "text/plain", b""))).await;
    let failed = service(&form(server.port), &made).request(&get()).await.unwrap_err();
    assert!(matches!(&failed, Failed::Tls { .. } | Failed::Broken(_)), "{failed}");
    let shown = Integration { certificate: Some("own".into()), ..form(server.port) };
    service(&shown, &made).request(&get()).await.unwrap();
}

#[tokio::test]
async fn private_addresses_are_refused_unless_they_are_listed() {
    let made = made("Test Authority", "localhost");
    for url in ["https://localhost:9", "https://127.0.0.1:9", "https://[::1]:9", "https://169.254.169.254"] {
        let form = Integration { url: url.into(), ..form(9) };
        let service =
            Service::new(&Key::new("acme", "crm"), &form, &secrets(&made), (&policy(), &[])).unwrap();
        let failed = service.request(&get()).await.unwrap_err();
        assert!(matches!(failed, Failed::Refused(_)), "{url}: {failed}");
    }
}

/// Lets through to `to` whatever it is asked for, and tells the heads.
async fn proxy(to: u16, says: &'static str) -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, heads) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let head = read(&mut stream).await.unwrap();
                let _ = tell.send(head);
                stream.write_all(says.as_bytes()).await.unwrap();
                let mut server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
            });
        }
    });
    (port, heads)
}

#[tokio::test]
async fn a_proxy_is_gone_through_and_one_that_intercepts_is_told() {
    let (made, other) = (made("Test Authority", "localhost"), self::made("Corp Inspection", "localhost"));
    let server = serve(made.acceptor(None), Arc::new(|_| answer("200 OK", "text/plain", b"hello"))).await;
    let inspecting = serve(other.acceptor(None), Arc::new(|_| answer("200 OK", "text/plain", b""))).await;
    let by = |port: u16| {
        let secret = Some(SecretKey { name: "proxy".into(), key: "credentials".into() });
        Some(Proxy { url: format!("http://127.0.0.1:{port}"), secret, no_proxy: vec!["example.com".into()] })
    };
    let (port, mut heads) = proxy(server.port, "HTTP/1.1 200 Go\r\nX: y\r\n\r\n").await;
    let service_by = service(&Integration { proxy: by(port), ..form(server.port) }, &made);
    assert_eq!(&service_by.request(&get()).await.unwrap().body[..], b"hello");
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with(&format!("CONNECT localhost:{} HTTP/1.1\r\n", server.port)), "{head}");
    assert!(head.contains("Proxy-Authorization: Basic dXNlcjpwNHNzd29yZA==\r\n"), "{head}");

    let (port, _heads) = proxy(inspecting.port, "HTTP/1.1 200 Go\r\n\r\n").await;
    let failed = service(&Integration { proxy: by(port), ..form(server.port) }, &made)
        .request(&get())
        .await
        .unwrap_err();
    assert!(failed.to_string().contains("intercepted"), "{failed}");
    assert!(failed.to_string().contains("\"Corp Inspection\""), "{failed}");

    for (says, wanted) in [
        ("HTTP/1.1 407 Who\r\n\r\n", "`secretRef` is wrong or missing"),
        ("HTTP/1.1 403 No\r\n\r\n", "answers 403"),
        ("SSH-2.0\r\n\r\n", "no HTTP"),
    ] {
        let (port, _heads) = proxy(server.port, says).await;
        let service = service(&Integration { proxy: by(port), ..form(server.port) }, &made);
        let failed = service.request(&get()).await.unwrap_err().to_string();
        assert!(failed.contains(wanted), "{failed}");
    }
}

/// Suites of a ClientHello (RFC 8446 §4.1.2).
async fn suites_of_hello(form: Integration, made: &Made) -> Vec<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let service = service(&Integration { url: format!("https://127.0.0.1:{port}"), ..form }, made);
    let asking = tokio::spawn(async move { service.request(&get()).await });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut hello = vec![0; 5];
    stream.read_exact(&mut hello).await.unwrap();
    let mut body = vec![0; usize::from(u16::from_be_bytes([hello[3], hello[4]]))];
    stream.read_exact(&mut body).await.unwrap();
    drop(stream);
    assert!(asking.await.unwrap().is_err());
    let session = usize::from(body[38]);
    let begin = 39 + session;
    let length = usize::from(u16::from_be_bytes([body[begin], body[begin + 1]]));
    let suites = body[begin + 2..begin + 2 + length].chunks(2);
    let suites = suites.map(|suite| u16::from_be_bytes([suite[0], suite[1]]));
    // The signal of RFC 5746 is no suite, and some builds tell it by an extension.
    suites.filter(|suite| *suite != 0x00ff).collect()
}

#[tokio::test]
async fn exactly_the_four_suites_are_offered_and_fewer_where_it_says_so() {
    let made = made("Test Authority", "localhost");
    let all = suites_of_hello(form(0), &made).await;
    assert_eq!(all, [0x1301, 0x1302, 0x009e, 0xc013, 0xc02b, 0xc02c]);
    let one = vec!["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256".into()];
    let fewer = suites_of_hello(Integration { suites: one, ..form(0) }, &made).await;
    assert_eq!(fewer, [0x1301, 0x1302, 0xc02b]);
    // What only trunks are offered is no Integration's.
    let trunks = vec!["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384".into()];
    let none = suites_of_hello(Integration { suites: trunks, ..form(0) }, &made).await;
    assert!(!none.contains(&0xc030) && none.contains(&0x1301), "{none:x?}");
    let newer = suites_of_hello(Integration { tls13_only: true, ..form(0) }, &made).await;
    assert!(!newer.contains(&0xc02b) && newer.contains(&0x1302), "{newer:x?}");
    assert_eq!(TlsVersion::default(), TlsVersion::Tls12);
}

#[test]
fn settings_of_no_use_are_named_and_values_are_not() {
    let made = made("Test Authority", "localhost");
    let new = |form: &Integration| {
        let made = Service::new(&Key::new("acme", "crm"), form, &secrets(&made), (&policy(), &[]));
        made.map(drop).unwrap_err()
    };
    let missing = SecretKey { name: "ca".into(), key: "other".into() };
    assert_eq!(new(&Integration { ca: Some(missing), ..form(1) }), "Secret acme/ca has no key `other`");
    let broken = Header { name: "X-Y".into(), value: HeaderValue::Text("hidden\nvalue".into()) };
    let told = new(&Integration { headers: vec![broken], ..form(1) });
    assert!(told.contains("`X-Y`") && !told.contains("hidden"), "{told}");
    let ours = Header { name: "Content-Length".into(), value: HeaderValue::Text("3".into()) };
    assert!(new(&Integration { headers: vec![ours], ..form(1) }).contains("for us to set"));
}

#[tokio::test]
async fn a_voice_speaks_and_a_recogniser_tells() {
    let made = made("Test Authority", "localhost");
    let does = |request: &str| match request.lines().next().unwrap_or_default() {
        line if line.starts_with("POST /api/v1/audio/speech ") && request.contains("\"json\"") => {
            answer("200 OK", "application/json", b"{}")
        }
        line if line.starts_with("POST /api/v1/audio/speech ") => answer("200 OK", "audio/wav", b"RIFF"),
        line if line.starts_with("POST /api/v1/audio/transcriptions ") => {
            answer("200 OK", "application/json", b"{\"text\": \"Buy something.\"}")
        }
        _ => answer("404 Not Found", "text/plain", b""),
    };
    let mut server = serve(made.acceptor(None), Arc::new(does)).await;
    let service = service(&form(server.port), &made);
    let sound = openai::speech(&service, "tts-1", "alloy", "Say \"hello\"").await.unwrap();
    assert_eq!(&sound[..], b"RIFF");
    let request = server.requests.recv().await.unwrap();
    for wanted in ["\"model\":\"tts-1\"", "\"voice\":\"alloy\"", "\"input\":\"Say \\\"hello\\\"\"", "\"wav\""]
    {
        assert!(request.contains(wanted), "{request}");
    }
    let failed = openai::speech(&service, "json", "alloy", "x").await.unwrap_err().to_string();
    assert!(failed.contains("no sound"), "{failed}");
    let phrases = ["sales".to_owned(), "buy something".to_owned()];
    let utterance = openai::Utterance { pcm: &[0; 800], rate: 8_000, language: "en-US", phrases: &phrases };
    let (said, sure) =
        openai::transcription(&service, "whisper-1", &utterance, service.timeout()).await.unwrap();
    assert_eq!(crate::phrases::which(&said, sure, &phrases), Some((1, 80)));
}

/// A Vosk server of one call: what it is told, and what it says.
async fn recogniser(made: &Made, hangs: bool) -> (u16, mpsc::UnboundedReceiver<Message>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = made.acceptor(None);
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = SslStream::new(Ssl::new(acceptor.context()).unwrap(), stream).unwrap();
        Pin::new(&mut stream).accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            let says = match &message {
                Message::Binary(_) => r#"{"partial": "bu"}"#,
                Message::Text(text) if text.contains("eof") => {
                    r#"{"text": "buy something", "result": [{"word": "buy", "conf": 0.8}, {"word": "something", "conf": 1.0}]}"#
                }
                Message::Text(_)
                | Message::Ping(_)
                | Message::Pong(_)
                | Message::Close(_)
                | Message::Frame(_) => "",
            };
            let _ = tell.send(message);
            if !says.is_empty() && !hangs {
                socket.send(Message::text(says)).await.unwrap();
            }
        }
    });
    (port, told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_recogniser_hears_while_somebody_speaks() {
    let made = made("Test Authority", "localhost");
    let (port, mut told) = recogniser(&made, false).await;
    let service = Arc::new(service(&form(port), &made));
    let runtime = tokio::runtime::Handle::current();
    let phrases = ["Buy something!".to_owned()];
    let mut listening = vosk::Listening::begin(&runtime, service, 8_000, &phrases);
    (0..10).for_each(|_| listening.hear(&[0x0102; 160]));
    // As media asks, whose threads are no runtime's.
    let ended = std::thread::spawn(move || listening.ended(&runtime, Duration::from_secs(5)));
    let ended = tokio::task::spawn_blocking(|| ended.join().unwrap()).await.unwrap();
    assert_eq!(ended.unwrap(), ("buy something".to_owned(), 90));
    let mut messages = Vec::new();
    while let Ok(message) = told.try_recv() {
        messages.push(message);
    }
    let Message::Text(config) = &messages[0] else { panic!("{:?}", messages[0]) };
    assert!(config.contains("\"sample_rate\":8000") && config.contains("\"buy something\""), "{config}");
    assert_eq!(messages[1], Message::binary([2, 1].repeat(160)));
    assert!(messages.len() >= 12, "{}", messages.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_recogniser_that_hangs_is_given_up() {
    let made = made("Test Authority", "localhost");
    let (port, _told) = recogniser(&made, true).await;
    let service = Arc::new(service(&form(port), &made));
    let runtime = tokio::runtime::Handle::current();
    let mut listening = vosk::Listening::begin(&runtime, service, 8_000, &[]);
    listening.hear(&[0; 160]);
    let ended = tokio::task::spawn_blocking(move || listening.ended(&runtime, Duration::from_millis(100)));
    assert!(matches!(ended.await.unwrap(), Err(Failed::Timeout(_))));
}

#[test]
fn a_snapshot_that_says_the_same_keeps_what_is_known_of_a_server() {
    let made = made("Test Authority", "localhost");
    let integrations = crate::Integrations::default();
    let id = IntegrationId::new("acme", "crm");
    let failed = integrations.get(&id).unwrap_err().to_string();
    assert_eq!(failed, "there is no Integration acme/crm");
    let mut snapshot = snapshot();
    snapshot.centre.integrations.insert(id.clone(), Arc::new(form(1)));
    integrations.update(&snapshot, &secrets(&made));
    let first = integrations.get(&id).unwrap();
    integrations.update(&snapshot, &secrets(&made));
    assert!(Arc::ptr_eq(&first, &integrations.get(&id).unwrap()));
    snapshot.cluster.reachable_ranges.push("10.0.0.0/8".parse().unwrap());
    integrations.update(&snapshot, &secrets(&made));
    assert!(!Arc::ptr_eq(&first, &integrations.get(&id).unwrap()));
    integrations.update(&snapshot, &Secrets::default());
    assert_eq!(integrations.get(&id).unwrap_err().to_string(), "Secret acme/ca has no key `ca.crt`");
}

fn snapshot() -> model::snapshot::Snapshot {
    let json = serde_json::json!({
        "schema": 1,
        "cluster": {
            "id": "platform/c14", "code": "C14", "listeners": [], "networks": [], "rtpPorts": [20000, 20999],
            "limits": {"callsMax": 10, "callSecondsMax": 60}, "drainSeconds": 1
        },
        "trunks": {}, "numbers": {}, "flows": {}, "hours": {}, "audio": {}
    });
    serde_json::from_value(json).unwrap()
}
