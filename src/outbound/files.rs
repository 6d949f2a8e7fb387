//! Files that a tenant names by their URL and their SHA-256.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use ipnet::IpNet;
use model::{Key, centre::Integration, secrets::Secrets, trunk::TlsPolicy};

use crate::{Asked, Failed, Service};

/// Longest wait for a file.
const FETCHED_MAX: Duration = Duration::from_secs(20);

/// Fetches a file of at most so many octets by HTTPS, from where the guard lets a tenant reach; a redirect is not followed.
///
/// # Errors
/// Why it cannot be had. An answer that is no success is an error.
pub async fn file(
    owner: &Key,
    url: &str,
    octets_max: usize,
    bounds: (&TlsPolicy, &[IpNet]),
) -> Result<Bytes, Failed> {
    let form = Integration {
        url: url.to_owned(),
        timeout_seconds: u32::try_from(FETCHED_MAX.as_secs()).unwrap_or(u32::MAX),
        headers: Vec::new(),
        requests_per_second_max: 1,
        tls13_only: false,
        suites: Vec::new(),
        ca: None,
        certificate: None,
        proxy: None,
    };
    let service = Service::new(owner, &form, &Secrets::default(), bounds).map_err(Failed::Settings)?;
    let answer = service.request(&Asked::new(Method::GET, "", Bytes::new(), octets_max)).await?;
    Ok(answer.good()?.body)
}
