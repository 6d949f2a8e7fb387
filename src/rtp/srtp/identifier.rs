//! The master key identifier of a packet (RFC 3711 §3.1; RFC 7714 §4 for AEAD): before the tag where that stands apart, else
//! last. It is not authenticated.

use model::media::{MKI_MAX, MasterKey};

use super::{SrtpError, keys::Keys};

/// Of one key. Most have none.
#[derive(Debug, Clone, Copy)]
pub struct Identifier {
    bytes: [u8; MKI_MAX],
    length: usize,
}

impl Identifier {
    pub fn new(key: &MasterKey) -> Result<Self, SrtpError> {
        let mut bytes = [0; MKI_MAX];
        bytes.get_mut(..key.mki.len()).ok_or(SrtpError::Key)?.copy_from_slice(&key.mki);
        Ok(Self { bytes, length: key.mki.len() })
    }

    /// Asked before anything is encrypted: what was is not to be encrypted again. The keys ask for the room of the tag.
    pub const fn has_room(&self, packet: &[u8], length: usize) -> Result<(), SrtpError> {
        const TAG_MAX: usize = 20;
        if self.length == 0 || packet.len() >= length + TAG_MAX + self.length {
            Ok(())
        } else {
            Err(SrtpError::NoRoom)
        }
    }

    /// Puts it into the first `length` bytes, which are protected, and says how long they are now.
    pub fn put(&self, packet: &mut [u8], length: usize, keys: &Keys) -> Result<usize, SrtpError> {
        if self.length == 0 {
            return Ok(length);
        }
        let at = length.checked_sub(keys.behind_identifier()).ok_or(SrtpError::Malformed)?;
        let packet = packet.get_mut(..length + self.length).ok_or(SrtpError::NoRoom)?;
        packet.copy_within(at..length, at + self.length);
        packet[at..at + self.length].copy_from_slice(&self.bytes[..self.length]);
        Ok(length + self.length)
    }

    /// Takes it out. Gives the packet as it is without.
    pub fn take<'p>(&self, packet: &'p mut [u8], keys: &Keys) -> Result<&'p mut [u8], SrtpError> {
        if self.length == 0 {
            return Ok(packet);
        }
        let length = packet.len().checked_sub(self.length).ok_or(SrtpError::Malformed)?;
        let at = length.checked_sub(keys.behind_identifier()).ok_or(SrtpError::Malformed)?;
        if packet[at..at + self.length] != self.bytes[..self.length] {
            return Err(SrtpError::Forged);
        }
        packet.copy_within(at + self.length.., at);
        Ok(&mut packet[..length])
    }
}
