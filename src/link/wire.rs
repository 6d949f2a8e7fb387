//! What crosses the network, as `config.proto` and `media.proto` say it. Fields are only ever added; what a reader does not
//! know it ignores.
//!
//! Nothing here is to be trusted: what comes off the wire is checked where it becomes a type of [`config`](crate::config).
//! No message prints itself, since some hold secrets.

#![allow(
    missing_debug_implementations,
    clippy::use_self,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    clippy::redundant_clone,
    clippy::manual_let_else,
    clippy::unused_async,
    reason = "generated"
)]

use ::bytes::Bytes;
use model::section::Digest;

tonic::include_proto!("switchboard.link.v1");

impl From<crate::config::Position> for Position {
    fn from(crate::config::Position { term, sequence }: crate::config::Position) -> Self {
        Self { term, sequence }
    }
}

impl From<Position> for crate::config::Position {
    fn from(Position { term, sequence }: Position) -> Self {
        Self { term, sequence }
    }
}

pub(crate) fn digest(digest: Digest) -> Bytes {
    Bytes::copy_from_slice(digest.as_bytes())
}

pub(crate) fn read_digest(bytes: &[u8]) -> Option<Digest> {
    bytes.try_into().ok().map(Digest::from_bytes)
}

impl Held {
    pub(crate) fn new(position: crate::config::Position, sections: Digest) -> Self {
        Self { position: Some(position.into()), digest: digest(sections) }
    }

    pub(crate) fn read(&self) -> Option<(crate::config::Position, Digest)> {
        Some((self.position?.into(), read_digest(&self.digest)?))
    }
}
