//! Names and numbers, parsed once where they enter and never again.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A telephone number in E.164 form: a country code and at most 15 digits in all (ITU-T E.164 §6).
///
/// Printed and parsed with its leading `+`. A country code never begins with 0, so the number itself holds
/// every digit and equal numbers are equal integers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct E164(u64);

impl E164 {
    /// Digits after the `+`, as an integer.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The number `offset` places further on, if it has as many digits as this one.
    #[must_use]
    pub fn checked_add(self, offset: u64) -> Option<Self> {
        let sum = self.0.checked_add(offset)?;
        (sum.ilog10() == self.0.ilog10()).then_some(Self(sum))
    }

    /// How many digits follow the `+`: 2 to 15.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.0.ilog10() + 1
    }

    /// Never: a number has digits.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        false
    }
}

/// Why a text is not an [`E164`] number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be `+` and 2 to 15 digits, country code first, such as +12125550100")]
pub struct NotE164;

impl FromStr for E164 {
    type Err = NotE164;

    fn from_str(text: &str) -> Result<Self, NotE164> {
        let digits = text.strip_prefix('+').ok_or(NotE164)?;
        let valid = (2..=15).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0');
        if !valid {
            return Err(NotE164);
        }
        digits.parse().map(Self).map_err(|_| NotE164)
    }
}

impl fmt::Display for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

impl fmt::Debug for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for E164 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for E164 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Namespace and name of an object, printed `namespace/name`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// Neither part may hold a `/`; Kubernetes allows none.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        debug_assert!(!namespace.contains('/') && !name.contains('/'));
        Self(format!("{namespace}/{name}").into())
    }

    /// The part before the `/`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// The part after the `/`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }

    /// `namespace/name`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a [`Key`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be `namespace/name`")]
pub struct NotAKey;

impl FromStr for Key {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let (namespace, name) = text.split_once('/').ok_or(NotAKey)?;
        if namespace.is_empty() || name.is_empty() || name.contains('/') {
            return Err(NotAKey);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

macro_rules! object_ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Key);

        impl $name {
            /// From the object's namespace and name.
            #[must_use]
            pub fn new(namespace: &str, name: &str) -> Self {
                Self(Key::new(namespace, name))
            }
        }

        impl From<Key> for $name {
            fn from(key: Key) -> Self {
                Self(key)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    )*};
}

object_ids! {
    /// A `VoiceCluster`.
    ClusterId
    /// A `Trunk`.
    TrunkId
    /// A `PhoneNumber` object, which may hold a range.
    NumberId
    /// A `RoutingFlow`.
    FlowId
    /// A `Prompt`.
    PromptId
    /// A `BusinessHours`.
    HoursId
    /// An `Allowlist`.
    AllowlistId
    /// A `Queue`.
    QueueId
    /// An `Agent`.
    AgentId
    /// A `VoicemailBox`.
    VoicemailBoxId
    /// An `Integration`.
    IntegrationId
    /// A `Campaign`.
    CampaignId
    /// A `ContactList`.
    ContactListId
    /// A `DoNotCallList`.
    DoNotCallListId
    /// A `ContactPoint`.
    ContactPointId
    /// A `Tenant`.
    TenantId
}

macro_rules! runtime_ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:x})"), self.0)
            }
        }
    )*};
}

runtime_ids! {
    /// One interaction from its first INVITE to its last BYE. Unique within an edge's life.
    CallId
    /// One SIP leg of a call. Unique within an edge's life.
    LegId
    /// One media session: the legs that may hear each other. Unique within an edge's life.
    SessionId
    /// One playing of prompts to a leg.
    PlayId
}

/// SHA-256 of what is heard: of a file's bytes, or of the text and its language. Prompts are found by it, so a
/// call keeps the audio that it began with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AudioId(pub [u8; 32]);

impl fmt::Display for AudioId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AudioId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not an [`AudioId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 64 hexadecimal digits")]
pub struct NotAudioId;

impl FromStr for AudioId {
    type Err = NotAudioId;

    fn from_str(text: &str) -> Result<Self, NotAudioId> {
        if text.len() != 64 || !text.is_ascii() {
            return Err(NotAudioId);
        }
        let mut bytes = [0; 32];
        for (place, byte) in bytes.iter_mut().enumerate() {
            let pair = &text[2 * place..2 * place + 2];
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NotAudioId)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for AudioId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AudioId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e164_takes_a_plus_and_two_to_fifteen_digits() {
        for good in ["+12", "+12125550100", "+123456789012345"] {
            assert_eq!(good.parse::<E164>().unwrap().to_string(), good);
        }
        for bad in ["", "+", "+1", "12125550100", "+0212", "+1234567890123456", "+1 212", "+١٢"] {
            assert_eq!(bad.parse::<E164>(), Err(NotE164), "{bad}");
        }
    }

    #[test]
    fn a_range_never_grows_a_digit() {
        let last: E164 = "+99".parse().unwrap();
        assert_eq!(last.checked_add(1), None);
    }

    #[test]
    fn a_key_has_two_parts() {
        let key: Key = "acme/main".parse().unwrap();
        assert_eq!((key.namespace(), key.name()), ("acme", "main"));
        for bad in ["main", "/main", "acme/", "a/b/c"] {
            assert_eq!(bad.parse::<Key>(), Err(NotAKey), "{bad}");
        }
    }
}
