//! What is asked of others' servers.
//!
//! An [`Integrations`] holds a [`service::Service`] for each Integration of a snapshot. A request of one goes by HTTP/1.1 over
//! TLS with exactly the suites of the platform (telephony 8), perhaps through a proxy (telephony 22), and only to addresses
//! that may be reached ([`reach`]); it is bounded in time, size and number, and a server that fails is left alone for a while
//! ([`guard`]). Redirects are answers like any other: they are not followed. On it are the voice and the recogniser
//! ([`openai`], [`vosk`]).
//!
//! Pure, without socket and clock: [`guard`], [`phrases`], [`proxy`], [`target`]. Values of headers and Secrets are printed
//! nowhere.

mod files;
pub mod guard;
pub mod openai;
pub mod phrases;
pub mod proxy;
pub mod reach;
mod registry;
pub mod service;
pub mod target;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod vosk;

pub use files::file;
pub use registry::Integrations;
pub use service::{Answer, Asked, Failed, Service};
