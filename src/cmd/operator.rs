//! `switchboard operator`: from custom resources to acknowledged snapshots.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Args;
use operator::{Options, Webhook, lease::Terms};

use super::{host_name, random, stop_signal, trace};

#[derive(Debug, Args)]
pub struct Arguments {
    /// How the API server is reached. Absent: as a pod reaches it, or as `kubectl` does.
    #[arg(long, value_name = "FILE", env = "SWITCHBOARD_KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// Where the operator's Lease and Secrets lie.
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE", default_value = "switchboard-system")]
    namespace: String,
    /// What this replica calls itself in the Lease. Absent: the host's name.
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    identity: Option<String>,
    /// Where pods reach this replica, as told to those who ask another one. Absent: nobody is sent here.
    #[arg(long, value_name = "HOST:PORT", env = "SWITCHBOARD_ADDRESS", default_value = "")]
    address: String,
    /// Where edge and media pods connect, by mutual TLS.
    #[arg(long, value_name = "ADDRESS", env = "SWITCHBOARD_LINK", default_value = "127.0.0.1:7443")]
    link: SocketAddr,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(long, value_name = "ADDRESS", env = "SWITCHBOARD_HTTP", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Where admission reviews are answered, by TLS. Absent: nowhere.
    #[arg(long, value_name = "ADDRESS", env = "SWITCHBOARD_WEBHOOK")]
    webhook: Option<SocketAddr>,
    /// DNS names and addresses that the API server knows the webhook by.
    #[arg(
        long,
        value_name = "NAME",
        env = "SWITCHBOARD_WEBHOOK_NAMES",
        value_delimiter = ',',
        requires = "webhook"
    )]
    webhook_names: Vec<String>,
    /// The ValidatingWebhookConfiguration whose `caBundle` the operator keeps.
    #[arg(
        long,
        value_name = "NAME",
        env = "SWITCHBOARD_WEBHOOK_CONFIGURATION",
        default_value = "switchboard"
    )]
    webhook_configuration: String,
    /// Name of the Lease.
    #[arg(long, value_name = "NAME", env = "SWITCHBOARD_LEASE", default_value = "switchboard")]
    lease: String,
    /// For how long the Lease is held without being renewed.
    #[arg(long, value_name = "SECONDS", env = "SWITCHBOARD_LEASE_SECONDS", default_value_t = 15)]
    lease_seconds: u64,
    /// When a holder that cannot renew stops, before another may begin.
    #[arg(long, value_name = "SECONDS", env = "SWITCHBOARD_RENEW_DEADLINE_SECONDS", default_value_t = 10)]
    renew_deadline_seconds: u64,
    /// Between two looks at the Lease.
    #[arg(long, value_name = "SECONDS", env = "SWITCHBOARD_RETRY_SECONDS", default_value_t = 2)]
    retry_seconds: u64,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    trace("info,kube=warn");
    let seconds = Duration::from_secs;
    let terms = Terms {
        duration: seconds(arguments.lease_seconds),
        renew_deadline: seconds(arguments.renew_deadline_seconds),
        retry: seconds(arguments.retry_seconds),
    };
    let name = match &arguments.identity {
        Some(name) => name.clone(),
        None => host_name(),
    };
    let options = Options {
        namespace: arguments.namespace.clone(),
        lease: arguments.lease.clone(),
        identity: format!("{name}_{:016x}", random()?),
        address: arguments.address.clone(),
        terms: terms.checked().context("--lease-seconds, --renew-deadline-seconds and --retry-seconds")?,
        link: arguments.link,
        http: arguments.http,
        webhook: arguments.webhook.map(|listen| Webhook {
            listen,
            names: arguments.webhook_names.clone(),
            configuration: arguments.webhook_configuration.clone(),
        }),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(async {
        let kube =
            operator::kube_config(arguments.kubeconfig.as_deref()).await.map_err(anyhow::Error::msg)?;
        let (told, stopped) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let _ = told.send(stop_signal().await);
        });
        operator::run(options, kube, async {
            let _ = stopped.await;
        })
        .await?;
        Ok(ExitCode::SUCCESS)
    });
    // A lost lease ends the process at once, while the core's thread may be at work: it must not meet a runtime that
    // shuts down.
    std::mem::forget(runtime);
    ended
}
