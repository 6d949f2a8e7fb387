//! Messages on the wire.
use bytes::Bytes;

/// A message.
#[derive(Debug, Clone)]
pub struct Message {
    bytes: Bytes,
}

/// Bytes that are no message.
#[derive(Debug)]
pub struct Malformed {}

impl Message {
    /// Parses a datagram.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: Bytes) -> Result<Self, Malformed> {
        Ok(Self { bytes })
    }
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}
