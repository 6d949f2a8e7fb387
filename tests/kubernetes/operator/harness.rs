//! What these tests stand on does what they think it does.

use std::{pin::pin, time::Duration};

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Config,
    api::{DynamicObject, ListParams, Patch, PatchParams, WatchEvent, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::json;

use super::{
    audit,
    manifests::Manifests,
    process::{free_ports, until},
    proxy::{Fault, Proxy},
    world::{OPERATOR, World, world},
};

fn trunks(client: Client, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(api::GROUP, api::VERSION, "Trunk");
    Api::namespaced_with(client, namespace, &ApiResource::from_gvk(&kind))
}

/// A client with the operator's token.
fn through(world: &World, proxy: &Proxy) -> Client {
    let text = world.operator_kubeconfig(&format!("http://{}", proxy.address));
    world.run(async {
        let read = Kubeconfig::from_yaml(&text).unwrap();
        let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    })
}

fn code(error: kube::Error) -> u16 {
    let kube::Error::Api(status) = error else { panic!("{error}") };
    status.code
}

#[test]
fn a_proxy_passes_on_and_spoils_and_keeps_what_it_saw() {
    let world = world();
    world.tenant_namespace("harness-proxy");
    let proxy = Proxy::start(world);
    let client = through(world, &proxy);
    let trunks = trunks(client.clone(), "harness-proxy");
    world.run(async {
        trunks.list(&ListParams::default()).await.unwrap();
        proxy.spoil(Fault::Refused(409), 1, |seen| seen.is("list", "trunks"));
        assert_eq!(code(trunks.list(&ListParams::default()).await.unwrap_err()), 409);
        trunks.list(&ListParams::default()).await.unwrap();
        // The API server still knows who asks, and what it may.
        let refused = Api::<Namespace>::all(client).list(&ListParams::default()).await.unwrap_err();
        assert_eq!(code(refused), 403);
        let status = json!({"apiVersion": api::API_VERSION, "kind": "Trunk", "metadata": {"name": "no"}, "status": {}});
        let apply = PatchParams::apply("switchboard-status");
        trunks.patch_status("no", &apply, &Patch::Apply(&status)).await.unwrap_err();
    });
    let codes: Vec<(&str, String, u16)> =
        proxy.seen().into_iter().map(|seen| (seen.verb, seen.resource, seen.code)).collect();
    assert_eq!(
        codes,
        [
            ("list", "trunks".into(), 200),
            ("list", "trunks".into(), 409),
            ("list", "trunks".into(), 200),
            ("list", "namespaces".into(), 403),
            ("patch", "trunks/status".into(), 404),
        ]
    );
    assert_eq!(proxy.writes().len(), 1);
    until("the audit log has it too", || {
        let asked = audit::asked(&world.audit_log());
        asked.iter().any(|asked| asked.right.0 == "list namespaces" && !asked.allowed && asked.code == 403)
    });
}

/// The next object that is made. Another test's operator may write a status of one meanwhile.
async fn added(watch: &mut (impl Stream<Item = kube::Result<WatchEvent<DynamicObject>>> + Unpin)) -> String {
    loop {
        match watch.try_next().await.unwrap() {
            Some(WatchEvent::Added(object)) => return object.metadata.name.unwrap(),
            Some(WatchEvent::Modified(_) | WatchEvent::Bookmark(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_proxy_breaks_watches_and_holds_them() {
    let world = world();
    world.tenant_namespace("harness-watch");
    let proxy = Proxy::start(world);
    let trunks = trunks(through(world, &proxy), "harness-watch");
    let trunk = |name: &str| {
        format!(
            "{{apiVersion: switchboard.dev/v1alpha1, kind: Trunk, metadata: {{name: {name}, namespace: harness-watch}}, spec: {{
            clusterRef: {{name: c14}}, network: lan, connection: Dedicated, delivers: Pstn, peers: [{{name: a, address: 192.0.2.7}}]}}}}"
        )
    };
    let brief = Duration::from_millis(400);
    world.run(async {
        let version = trunks.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
        let parameters = WatchParams::default();
        let mut watch = pin!(trunks.watch(&parameters, &version).await.unwrap());
        world.apply(None, &trunk("one")).done();
        assert_eq!(added(&mut watch).await, "one");
        proxy.hold_watches();
        world.apply(None, &trunk("two")).done();
        tokio::time::timeout(brief, watch.next()).await.unwrap_err();
        proxy.heal();
        assert_eq!(added(&mut watch).await, "two");
        proxy.cut_watches();
        while matches!(watch.next().await, Some(Ok(_))) {}

        proxy.spoil(Fault::Expired, 1, |seen| seen.verb == "watch");
        let mut watch = pin!(trunks.watch(&parameters, &version).await.unwrap());
        let Some(WatchEvent::Error(status)) = watch.try_next().await.unwrap() else { panic!("not told") };
        assert_eq!(status.code, 410);
        proxy.spoil(Fault::Silent, 1, |seen| seen.verb == "watch");
        let mut watch = pin!(trunks.watch(&parameters, &version).await.unwrap());
        tokio::time::timeout(brief, watch.next()).await.unwrap_err();
        assert_eq!(proxy.heal(), 0);
    });
}

#[test]
fn an_example_moves_to_namespaces_and_ports_of_its_own() {
    let mut moved = Manifests::example("tenant").in_namespaces("x");
    let ports = moved.on_free_ports();
    let namespaces: Vec<_> = moved.namespaces().into_iter().collect();
    assert_eq!(namespaces, [("x-acme".into(), false), ("x-platform".into(), true)]);
    assert_eq!(moved.object("VoiceCluster", "c14")["spec"]["allowedNamespaces"], json!(["x-acme"]));
    assert_eq!(
        moved.object("Tenant", "acme")["spec"]["clusterRef"],
        json!({"namespace": "x-platform", "name": "c14"})
    );
    assert_eq!(moved.object("VoiceCluster", "c14")["spec"]["listeners"][0]["port"], json!(ports[&5060]));
    assert!(moved.ids().len() > 60);
    assert_ne!(free_ports(4), free_ports(4));
    assert!(OPERATOR.ends_with("switchboard-operator"));
}
