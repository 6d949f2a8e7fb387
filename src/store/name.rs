//! Names of blobs, which are paths in a folder and keys in S3 alike.

use std::fmt;

/// Octets of a name at most.
pub const NAME_MAX: usize = 200;

/// A blob's name: parts of letters, digits and `_.+-` with `/` between them; no part begins with a dot or a dash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

/// A text that is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name must be 1 to {NAME_MAX} letters, digits and `_.+-`, with `/` between its parts, none of which is empty or begins with `.` or `-`"
)]
pub struct BadName;

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// [`BadName`].
    pub fn new(text: &str) -> Result<Self, BadName> {
        let good = !text.is_empty() && text.len() <= NAME_MAX && text.split('/').all(is_part);
        if good { Ok(Self(text.into())) } else { Err(BadName) }
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it begins with the parts of a prefix, and goes on.
    #[must_use]
    pub fn is_below(&self, prefix: &str) -> bool {
        let prefix = prefix.trim_end_matches('/');
        prefix.is_empty() || self.0.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
    }

    /// As one part, for a draft's file.
    pub(crate) fn flat(&self) -> String {
        self.0.replace('/', "=")
    }

    pub(crate) fn from_flat(flat: &str) -> Option<Self> {
        Self::new(&flat.replace('=', "/")).ok()
    }
}

fn is_part(part: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte);
    !part.is_empty() && !part.starts_with(['.', '-']) && part.bytes().all(known)
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_below_its_folder() {
        for good in ["a", "acme/2026-11-26/01J.wav", "_a/+12125550100.opus", &"x".repeat(NAME_MAX)] {
            let name = Name::new(good).unwrap();
            assert_eq!(Name::from_flat(&name.flat()), Some(name));
        }
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            "../a",
            "a/..",
            ".a",
            "a/.b",
            "-a",
            "a b",
            "a\\b",
            "ä",
            "a=b",
            "a\0",
            &"x".repeat(201),
        ] {
            assert_eq!(Name::new(bad), Err(BadName), "{bad}");
        }
    }

    #[test]
    fn a_prefix_is_of_whole_parts() {
        let name = Name::new("acme/box/1.wav").unwrap();
        for (prefix, wanted) in [
            ("", true),
            ("acme", true),
            ("acme/", true),
            ("acme/box", true),
            ("ac", false),
            ("acme/box/1", false),
            ("acme/box/1.wav", false),
        ] {
            assert_eq!(name.is_below(prefix), wanted, "{prefix}");
        }
    }
}
