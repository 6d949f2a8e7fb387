//! TLS towards others' servers.

pub mod client;
pub mod names;

/// The machine's public authorities, as PEM; empty if it has none.
#[must_use]
pub fn public_authorities() -> Vec<u8> {
    let file = openssl_probe::probe().cert_file;
    file.and_then(|file| std::fs::read(file).ok()).unwrap_or_default()
}
