//! The webhook's certificate and its `caBundle`, which is ours to keep.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use link::pki::Credentials;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::json;
use tracing::info;

use crate::{election::Leadership, keep::MANAGER};

/// For the API server, which shows no certificate and needs none: what it asks is harmless.
///
/// # Errors
/// When the credentials are of no use.
pub fn server_config(own: &Credentials) -> Result<rustls::ServerConfig, rustls::Error> {
    let general = |error: rustls::pki_types::pem::Error| rustls::Error::General(error.to_string());
    let chain = CertificateDer::pem_slice_iter(own.certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(general)?;
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).map_err(general)?;
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
}

/// Writes `caBundle` of every webhook of a configuration, if it is otherwise. A configuration that is not there is not made:
/// who wants no webhook has none.
///
/// # Errors
/// The API server's.
pub async fn keep(
    client: &Client,
    leadership: &Leadership,
    name: &str,
    bundle: &str,
) -> Result<(), kube::Error> {
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let Some(found) = configurations.get_opt(name).await? else { return Ok(()) };
    let webhooks = found.webhooks.unwrap_or_default();
    let stale = webhooks.iter().any(|webhook| {
        webhook.client_config.ca_bundle.as_ref().is_none_or(|there| there.0 != bundle.as_bytes())
    });
    if !stale || leadership.term().is_none() {
        return Ok(());
    }
    let bundle = k8s_openapi::ByteString(bundle.as_bytes().to_vec());
    let ours: Vec<_> = webhooks
        .iter()
        .map(|webhook| json!({"name": webhook.name, "clientConfig": {"caBundle": bundle}}))
        .collect();
    let body = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": ours,
    });
    // Installers write an empty one.
    let parameters = PatchParams::apply(MANAGER).force();
    configurations.patch(name, &parameters, &Patch::Apply(&body)).await?;
    info!(name, "caBundle written");
    Ok(())
}
