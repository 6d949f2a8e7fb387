//! The control plane of these tests: kube-controller-manager, the chart, an audit log of what the operators ask for.

use std::{
    collections::BTreeSet,
    fs,
    future::Future,
    path::PathBuf,
    sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError},
};

use kube::{
    Api, Client, Config,
    api::{DeleteParams, DynamicObject, ListParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, GroupVersionKind},
};
use tokio::runtime::Runtime;

use crate::control_plane::{ControlPlane, Outcome, Settings, repository};

/// Where the chart puts everything.
pub const SYSTEM: &str = "switchboard-system";

/// Who the operator is to the API server.
pub const OPERATOR: &str = "system:serviceaccount:switchboard-system:switchboard-operator";

/// What operators do, and nobody else. Only requests that last, which are watches, have a stage ResponseStarted.
const AUDIT_POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, users: [\"system:serviceaccount:switchboard-system:switchboard-operator\"]}
- {level: None}
";

static SHARED: LazyLock<World> = LazyLock::new(|| {
    World::start(&Settings { controllers: true, audit_policy: Some(AUDIT_POLICY), ..Settings::default() })
});
static TURN: Mutex<()> = Mutex::new(());

/// The first who asks starts it.
pub fn world() -> &'static World {
    &SHARED
}

/// The world without any other operator and without any object of ours.
pub fn alone() -> (MutexGuard<'static, ()>, &'static World) {
    // A test that failed leaves nothing that the next one does not clear away.
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let world = world();
    world.clear();
    (turn, world)
}

pub struct World {
    pub plane: ControlPlane,
    pub client: Client,
    pub runtime: Runtime,
    token: OnceLock<String>,
}

impl World {
    /// One of its own, with the chart.
    pub fn start(settings: &Settings) -> Self {
        let plane = ControlPlane::start(settings);
        plane.define();
        plane.namespaces([SYSTEM]);
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(async { Client::try_from(configuration(&plane).await).unwrap() });
        let world = Self { plane, client, runtime, token: OnceLock::new() };
        world.apply_chart().done();
        world
    }

    /// The administrator's.
    pub async fn config(&self) -> Config {
        configuration(&self.plane).await
    }

    /// The chart as it stands in Git.
    pub fn apply_chart(&self) -> Outcome {
        let templates = templates();
        let apply = ["apply", "--server-side", "--warnings-as-errors", "-f", templates.to_str().unwrap()];
        self.plane.kubectl(&apply)
    }

    /// For an operator that reaches the API server at `server`.
    pub fn operator_kubeconfig(&self, server: &str) -> String {
        let token = self.token.get_or_init(|| {
            let create = ["create", "token", "switchboard-operator", "-n", SYSTEM, "--duration=12h"];
            self.plane.kubectl(&create).done().trim().to_owned()
        });
        format!(
            "apiVersion: v1
kind: Config
current-context: operator
clusters: [{{name: proxy, cluster: {{server: \"{server}\"}}}}]
users: [{{name: operator, user: {{token: {token}}}}}]
contexts: [{{name: operator, context: {{cluster: proxy, user: operator}}}}]
"
        )
    }

    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// What the operators asked the API server for, in lines of JSON, oldest first.
    pub fn audit_log(&self) -> String {
        fs::read_to_string(self.plane.folder.join("audit.log")).unwrap_or_default()
    }

    /// A namespace as a tenant's is prepared: labelled, its Secrets readable to the operator.
    pub fn tenant_namespace(&self, name: &str) {
        self.namespace(name, "tenant", &["switchboard-secrets"]);
    }

    /// A namespace of the platform, with VoiceClusters in it.
    pub fn platform_namespace(&self, name: &str) {
        self.namespace(name, "platform", &["switchboard-secrets", "switchboard-cluster-secrets"]);
    }

    fn namespace(&self, name: &str, role: &str, bound: &[&str]) {
        let mut manifest = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{switchboard.dev/role: {role}}}}}\n"
        );
        for bound in bound {
            manifest += &format!(
                "---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {bound}, namespace: {name}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {bound}}}
subjects: [{{kind: ServiceAccount, name: switchboard-operator, namespace: {SYSTEM}}}]
"
            );
        }
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        self.plane.kubectl_with(&apply, &manifest).done();
    }

    /// Gives a ServiceAccount `role` in its namespace, and returns its name as the API server knows it.
    pub fn bind(&self, namespace: &str, account: &str, role: &str) -> String {
        let manifest = format!(
            "apiVersion: v1
kind: ServiceAccount
metadata: {{name: {account}, namespace: {namespace}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {account}-{role}, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}
subjects: [{{kind: ServiceAccount, name: {account}, namespace: {namespace}}}]
"
        );
        self.plane.kubectl_with(&["apply", "--server-side", "-f", "-"], &manifest).done();
        format!("system:serviceaccount:{namespace}:{account}")
    }

    /// Applies a manifest as a user, an administrator where none is named.
    pub fn apply(&self, user: Option<&str>, manifest: &str) -> Outcome {
        let user = user.map(|user| format!("--as={user}"));
        let mut arguments = vec!["apply", "--server-side", "--field-manager=test", "-f", "-"];
        arguments.extend(user.as_deref());
        self.plane.kubectl_with(&arguments, manifest)
    }

    /// Deletes all objects of ours, and what operators have kept.
    pub fn clear(&self) {
        // kubectl asks a few times a second at most, for each of hundreds of objects.
        let (delete, every) = (DeleteParams::default(), ListParams::default());
        self.run(async {
            for kind in api::kinds() {
                let resource = ApiResource::from_gvk_with_plural(
                    &GroupVersionKind::gvk(api::GROUP, api::VERSION, kind.name),
                    &kind.plural,
                );
                let all: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
                let objects = all.list_metadata(&every).await.unwrap();
                let namespaces: BTreeSet<String> =
                    objects.items.into_iter().filter_map(|object| object.metadata.namespace).collect();
                for namespace in namespaces {
                    let objects: Api<DynamicObject> =
                        Api::namespaced_with(self.client.clone(), &namespace, &resource);
                    objects.delete_collection(&delete, &every).await.unwrap();
                }
            }
        });
        self.plane.kubectl(&["delete", "secrets,leases", "--all", "-n", SYSTEM]).done();
        // A webhook that no longer answers, and the bundle of an authority that is gone.
        let configuration = templates().join("webhook.yaml");
        let configuration = configuration.to_str().unwrap();
        self.plane.kubectl(&["delete", "--ignore-not-found", "-f", configuration]).done();
        self.plane.kubectl(&["apply", "--server-side", "-f", configuration]).done();
    }
}

async fn configuration(plane: &ControlPlane) -> Config {
    let read = Kubeconfig::read_from(&plane.kubeconfig).unwrap();
    Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.unwrap()
}

pub fn templates() -> PathBuf {
    repository().join("charts/switchboard/templates")
}
