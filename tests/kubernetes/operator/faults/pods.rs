//! Pods that do not keep to what is agreed, on the operator's real listener, with certificates that it has issued.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures::stream;
use link::{
    identity::{Identity, OPERATOR_NAME, Party, Role},
    pki::{Authority, Subject},
    tls::{CredentialsFile, Tls, channel},
    wire::{Begin, FromPod, Held, Hello, ToPod, config_client::ConfigClient, from_pod, to_pod},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{sleep, timeout},
};
use tonic::{Code, Status, Streaming};

use super::{A_WHILE, Least, Operator, Pod, Scene, Stage, Value, credentials, id, message, until};
use crate::operator::process::never;

fn said(what: from_pod::What) -> FromPod {
    FromPod { what: Some(what) }
}

fn hello((namespace, cluster): (&str, &str), role: Role) -> FromPod {
    said(from_pod::What::Hello(Hello {
        schema: model::snapshot::SCHEMA,
        cluster: format!("{namespace}/{cluster}"),
        role: role.to_string(),
        pod: "liar".into(),
        instance: "1".into(),
        ..Hello::default()
    }))
}

type Line = (mpsc::Sender<FromPod>, Streaming<ToPod>);

async fn call(tls: &Tls, operator: SocketAddr, first: FromPod) -> Result<Line, Status> {
    let channel = channel(tls, &operator.to_string(), OPERATOR_NAME).await;
    let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
    let (say, said) = mpsc::channel(4);
    say.send(first).await.unwrap();
    let said = stream::unfold(said, |mut said| async move { Some((said.recv().await?, said)) });
    let heard = ConfigClient::new(channel).watch(said).await?;
    Ok((say, heard.into_inner()))
}

/// The last word of a stream.
async fn last_word(heard: &mut Streaming<ToPod>) -> Status {
    timeout(Duration::from_secs(30), async {
        loop {
            match heard.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok("ended"),
                Err(status) => return status,
            }
        }
    })
    .await
    .unwrap()
}

/// What begins, once all of it has come.
async fn publication(heard: &mut Streaming<ToPod>) -> Begin {
    timeout(Duration::from_secs(30), async {
        let mut begun = None;
        loop {
            match heard.message().await.unwrap().unwrap().what {
                Some(to_pod::What::Begin(begin)) => begun = Some(begin),
                Some(to_pod::What::Commit(_)) => return begun.unwrap(),
                _ => {}
            }
        }
    })
    .await
    .unwrap()
}

/// Another cluster with all that belongs to it, beside that of `Least`.
fn another(prefix: &str) -> Least {
    let mut least = Least::new(prefix);
    let text = serde_json::to_string(&least.manifests.0).unwrap();
    let text =
        text.replace("+121255501", "+121255502").replace("\"C14\"", "\"C15\"").replace("\"c14\"", "\"c15\"");
    least.manifests.0 = serde_json::from_str::<Vec<Value>>(&text).unwrap();
    least
}

fn misbehaved(operator: &Operator) -> f64 {
    operator.metric("switchboard_operator_streams_misbehaved_total").unwrap_or_default()
}

#[test]
fn what_was_not_sent_is_not_acknowledged() {
    let stage = Stage::new();
    let least = Least::new("liar");
    least.manifests.apply(stage.world);
    let operator = stage.operator("liar");
    operator.await_ready();
    let cluster = (&*least.platform, "c14");
    let _media = Pod::new(&stage, cluster, Role::Media);
    let tls = credentials(&stage, cluster, Role::Edge);
    type Lie = fn(&mut Held);
    let lies: [Lie; 4] = [
        |held| held.position.as_mut().unwrap().sequence += 1_000,
        |held| held.position.as_mut().unwrap().term += 1,
        |held| held.digest = vec![7; 32].into(),
        |held| held.digest.clear(),
    ];
    for (count, lie) in lies.into_iter().enumerate() {
        let status = stage.world.run(async {
            let (say, mut heard) = call(&tls, operator.link, hello(cluster, Role::Edge)).await.unwrap();
            let Begin { position, target, .. } = publication(&mut heard).await;
            let mut held = Held { position, digest: target };
            lie(&mut held);
            say.send(said(from_pod::What::Acknowledged(held))).await.unwrap();
            last_word(&mut heard).await
        });
        assert_eq!(status.code(), Code::InvalidArgument, "lie {count}: {status}");
        until("it is counted", || misbehaved(&operator) >= (count + 1) as f64);
    }
    assert!(operator.process.log().contains("pod misbehaved"));
    never("a liar is believed", A_WHILE, || {
        stage
            .condition("phonenumber", &least.tenant, "main", "Programmed")
            .is_some_and(|(status, _)| status == "True")
    });
    let _edge = Pod::new(&stage, cluster, Role::Edge);
    stage.await_condition("phonenumber", &least.tenant, "main", "Programmed", "True");
}

#[test]
fn a_certificate_says_whose_word_it_is() {
    let stage = Stage::new();
    let (least, other) = (Least::new("owner"), another("thief"));
    least.manifests.apply(stage.world);
    other.manifests.apply(stage.world);
    let operator = stage.operator("owner");
    operator.await_ready();
    let (ours, theirs) = ((&*least.platform, "c14"), (&*other.platform, "c15"));
    let stolen = credentials(&stage, theirs, Role::Edge);
    let edge = credentials(&stage, ours, Role::Edge);
    let told = |tls: &Tls, first: FromPod| {
        stage.world.run(async {
            match call(tls, operator.link, first).await {
                Ok((_say, mut heard)) => last_word(&mut heard).await,
                Err(status) => status,
            }
        })
    };
    for (what, tls, first) in [
        ("of another cluster", &stolen, hello(ours, Role::Edge)),
        ("of another role", &edge, hello(ours, Role::Media)),
        ("of both", &stolen, hello(ours, Role::Media)),
    ] {
        let status = told(tls, first);
        assert_eq!(status.code(), Code::PermissionDenied, "{what}: {status}");
    }
    until("they are counted", || misbehaved(&operator) >= 3.0);

    // One whose authority is its own.
    let folder = stage.folder.path().join(format!("{}-c14-edge-link", ours.0));
    let mut credentials = CredentialsFile::read(&folder).unwrap();
    let authority = Authority::generate("Switchboard", SystemTime::now(), 30).unwrap();
    let party = Party::Pod(Identity::new(id(ours), Role::Edge));
    let forged = authority.issue(&Subject::of(&party), SystemTime::now(), 30).unwrap();
    (credentials.certificate, credentials.key) = (forged.certificate, forged.key);
    let status = told(&Tls::new(&credentials).unwrap(), hello(ours, Role::Edge));
    assert!(![Code::Ok, Code::PermissionDenied].contains(&status.code()), "{status}");
    assert!(!operator.process.log().contains("pod joined"), "{}", operator.process.log());

    let _pods = super::pods(&stage, ours);
    stage.await_condition("phonenumber", &least.tenant, "main", "Programmed", "True");
}

#[test]
fn a_pod_that_refuses_everything_is_named_and_other_clusters_go_on() {
    let stage = Stage::new();
    let (least, mut other) = (Least::new("refusal"), another("beside"));
    least.manifests.apply(stage.world);
    other.manifests.apply(stage.world);
    let operator = stage.operator("refusal");
    operator.await_ready();
    let cluster = (&*least.platform, "c14");
    let _media = Pod::new(&stage, cluster, Role::Media);
    let _edge = Pod::new(&stage, cluster, Role::Edge);
    let _others = super::pods(&stage, (&other.platform, "c15"));
    stage.await_condition("phonenumber", &least.tenant, "main", "Programmed", "True");
    let tls = credentials(&stage, cluster, Role::Edge);
    let address = operator.link.to_string();
    let _refuses = Pod::named(&stage, tls, cluster, Role::Edge, "never", &address, Some("cluster.networks"));
    stage.await_condition("voicecluster", &least.platform, "c14", "Programmed", "False/SnapshotRefused");
    let told = message(&stage, "voicecluster", &least.platform, "c14", "Programmed");
    for part in ["never", "cluster.networks", "must be something else"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    let refusals = format!(
        "switchboard_operator_snapshot_refusals_total{{cluster=\"{}/c14\",role=\"edge\"}}",
        cluster.0
    );
    until("it is counted", || operator.metric(&refusals).is_some_and(|count| count >= 1.0));
    let changed = other.manifests.object("PhoneNumber", "main");
    changed["spec"]["limits"] = serde_json::json!({"calls": 9});
    stage.apply(&changed.clone()).unwrap();
    until("other clusters go on", || {
        let found = stage.world.plane.object(&other.tenant, "phonenumber", "main");
        found["status"]["programmedGeneration"] == 2
    });
    let counted = operator.metric(&refusals).unwrap();
    never("it is told again and again", A_WHILE, || operator.metric(&refusals).unwrap() > counted + 2.0);
}

/// Passes on what it hears; once told to be slow, no more than an octet a second of what the operator says.
async fn relay(listener: TcpListener, operator: SocketAddr, slow: Arc<AtomicBool>) {
    while let Ok((pod, _)) = listener.accept().await {
        let slow = Arc::clone(&slow);
        tokio::spawn(async move {
            let Ok(operator) = TcpStream::connect(operator).await else { return };
            let ((mut from_pod, mut to_pod), (mut from, mut to)) = (pod.into_split(), operator.into_split());
            let said = tokio::spawn(async move { copy(&mut from_pod, &mut to).await });
            let mut buffer = [0; 16_384];
            loop {
                let room = if slow.load(Ordering::Relaxed) { 1 } else { buffer.len() };
                let Ok(count @ 1..) = from.read(&mut buffer[..room]).await else { break };
                if to_pod.write_all(&buffer[..count]).await.is_err() {
                    break;
                }
                if slow.load(Ordering::Relaxed) {
                    sleep(Duration::from_secs(1)).await;
                }
            }
            said.abort();
        });
    }
}

#[test]
fn a_pod_that_reads_an_octet_a_second_holds_back_nobody_else() {
    let mut scene = Scene::new("slow");
    let platform = scene.least.platform.clone();
    let cluster = (&*platform, "c14");
    let stage = &scene.stage;
    let slow = Arc::new(AtomicBool::new(false));
    let address = stage.world.run(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(relay(listener, scene.operator.link, Arc::clone(&slow)));
        address
    });
    let tls = credentials(stage, cluster, Role::Edge);
    let reader = Pod::named(stage, tls, cluster, Role::Edge, "slow", &address.to_string(), None);
    until("the slow one is there", || reader.feed.is_connected() && reader.feed.position().is_some());
    slow.store(true, Ordering::Relaxed);
    let before = scene.operator.process.resident_kib();
    // The pods that read have each change; that all pods have it is not said. What the relay had begun to read when it
    // became slow may still reach the slow one whole.
    let fast = scene.pods[0].feed.clone();
    until("who reads is told", || {
        (0..20).for_each(|_| scene.change());
        fast.position() > reader.feed.position()
    });
    let stage = &scene.stage;
    never("it is said that the slow one has it", Duration::from_secs(2), || scene.is_programmed());
    stage.world.run(reader.feed.goodbye());
    scene.await_programmed("a pod that reads too slowly");
    let now = scene.operator.process.resident_kib();
    assert!(now < before + 32 * 1_024, "from {before} KiB to {now} KiB");
}
