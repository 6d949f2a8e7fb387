//! SIP without I/O: wire, URIs, digest, transactions, dialogs, session descriptions, and the user-agent core over them.
//!
//! Pure: no socket, clock, task, lock or randomness. Time is passed in as `now`; what is random comes from a seed.
//! [`endpoint::Endpoint`] is what the layers above use; the other modules are what it is made of.

#![warn(missing_docs)]

mod body;
pub mod dialog;
pub mod digest;
pub mod endpoint;
pub mod header;
mod lex;
pub mod outbound;
#[cfg(any(test, feature = "testing"))]
pub mod pair;
pub mod sdp;
pub mod transaction;
mod typed;
pub mod uri;
pub mod wire;
