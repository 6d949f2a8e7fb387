//! The control plane of these tests: kube-controller-manager, the chart, an audit log of what the operators ask for.

use std::{future::Future, path::PathBuf, sync::LazyLock};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
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

static SHARED: LazyLock<World> = LazyLock::new(World::start);

/// The first who asks starts it.
pub fn world() -> &'static World {
    &SHARED
}

pub struct World {
    pub plane: ControlPlane,
    pub client: Client,
    pub runtime: Runtime,
}

impl World {
    fn start() -> Self {
        let plane = ControlPlane::start(&Settings { controllers: true, audit_policy: Some(AUDIT_POLICY) });
        plane.define();
        plane.namespaces([SYSTEM]);
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(async {
            let read = Kubeconfig::read_from(&plane.kubeconfig).unwrap();
            let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.unwrap();
            Client::try_from(config).unwrap()
        });
        let world = Self { plane, client, runtime };
        world.apply_chart().done();
        world
    }

    /// The chart as it stands in Git.
    pub fn apply_chart(&self) -> Outcome {
        let templates = templates();
        let apply = ["apply", "--server-side", "--warnings-as-errors", "-f", templates.to_str().unwrap()];
        self.plane.kubectl(&apply)
    }

    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
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

    /// Gives a ServiceAccount `role` in one namespace, and returns its name as the API server knows it.
    pub fn bind(&self, namespace: &str, account: &str, role: &str) -> String {
        let manifest = format!(
            "apiVersion: v1
kind: ServiceAccount
metadata: {{name: {account}, namespace: {namespace}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {account}, namespace: {namespace}}}
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
}

pub fn templates() -> PathBuf {
    repository().join("charts/switchboard/templates")
}
