//! A snapshot in sections: what is kept, compared, sent and acknowledged piece by piece.
//!
//! A snapshot is a sorted map of sections, by kind and tenant; numbers lie in [`BUCKETS`] of them, by the hash of their
//! object's name. A section has canonical bytes and a hash, and the snapshot's hash is over the names and hashes of all of
//! them. So one changed number costs one section, however many numbers there are, and who has the hash has the whole.
//!
//! Canonical bytes are JSON without white space: fields in the order of their declaration, maps by their keys. Equal
//! content has equal bytes.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use crate::{
    AudioId, Key, NumberId, TrunkId,
    centre::Centre,
    snapshot::{Audio, Cluster, NumberRange, SCHEMA, Snapshot},
};

/// Sections that numbers are spread over.
pub const BUCKETS: usize = 256;

/// SHA-256, printed as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// As they come from a wire.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// As they go onto a wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        AudioId::deserialize(deserializer).map(|AudioId(bytes)| Self(bytes))
    }
}

macro_rules! parts {
    ($($(#[$doc:meta])* $name:ident $text:literal)*) => {
        /// What a section is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Part { $($(#[$doc])* $name,)* }

        impl Part {
            /// Every part, in the order of their names.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// As names of sections begin.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

parts! {
    /// Who talks to contacts.
    Agents "agents"
    /// What may be heard.
    Audio "audio"
    /// Calls that we begin.
    Campaigns "campaigns"
    /// The cluster itself.
    Cluster "cluster"
    /// Whom campaigns dial.
    ContactLists "contactlists"
    /// How who writes gets in.
    ContactPoints "contactpoints"
    /// What a tenant's phones may dial, and by which trunks.
    Dialling "dialling"
    /// Whom no campaign dials.
    DoNotCallLists "donotcalllists"
    /// Compiled flows.
    Flows "flows"
    /// Business hours.
    Hours "hours"
    /// Services that flows call.
    Integrations "integrations"
    /// Live numbers.
    Numbers "numbers"
    /// Where contacts wait.
    Queues "queues"
    /// Trunks.
    Trunks "trunks"
    /// Where messages go.
    VoicemailBoxes "voicemailboxes"
}

/// What a section is about, and of whom: `cluster`, `flows/acme`, `numbers/7f`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SectionName(Arc<str>);

impl SectionName {
    /// The section of the cluster itself.
    #[must_use]
    pub fn cluster() -> Self {
        Self(Part::Cluster.as_str().into())
    }

    /// The section of a tenant, or of the platform, by namespace.
    #[must_use]
    pub fn of(part: Part, namespace: &str) -> Self {
        Self(format!("{}/{namespace}", part.as_str()).into())
    }

    /// The section that holds a number.
    #[must_use]
    pub fn of_number(number: &NumberId) -> Self {
        Self::of_bucket(bucket(&number.0))
    }

    /// The section of one bucket of numbers.
    #[must_use]
    pub fn of_bucket(bucket: u8) -> Self {
        Self(format!("{}/{bucket:02x}", Part::Numbers.as_str()).into())
    }

    /// What it is about. None: this version knows no such part.
    #[must_use]
    pub fn part(&self) -> Option<Part> {
        let name = self.0.split('/').next().unwrap_or_default();
        Part::ALL.iter().copied().find(|part| part.as_str() == name)
    }

    /// As it is printed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SectionName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        if text.is_empty() || text.len() > 128 {
            return Err(de::Error::custom("the name of a section must have 1 to 128 characters"));
        }
        Ok(Self(text.into()))
    }
}

/// The bucket of a number: the first octet of the SHA-256 of its object's namespace and name.
#[must_use]
pub fn bucket(number: &Key) -> u8 {
    Digest::of(number.as_str().as_bytes()).0[0]
}

/// Canonical bytes and their hash. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Section {
    bytes: Arc<[u8]>,
    digest: Digest,
}

impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.bytes))
    }
}

impl Section {
    /// Of what it shall hold.
    ///
    /// # Errors
    /// None that content of a snapshot could cause.
    pub fn of<T: Serialize + ?Sized>(content: &T) -> Result<Self, serde_json::Error> {
        Ok(Self::from_bytes(serde_json::to_vec(content)?))
    }

    /// Of bytes as they come from a wire or a disk.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self { digest: Digest::of(&bytes), bytes: bytes.into() }
    }

    /// The canonical bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Their hash.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

/// A number as its bucket holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BucketEntry {
    /// The trunk that it is live on.
    pub trunk: TrunkId,
    /// The number, or the range.
    pub range: NumberRange,
}

impl BucketEntry {
    /// Buckets are sorted by this.
    #[must_use]
    pub fn order(&self) -> (&TrunkId, crate::E164) {
        (&self.trunk, self.range.first)
    }
}

/// A snapshot in sections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sections {
    map: BTreeMap<SectionName, Section>,
}

/// Why sections are no snapshot, or a delta cannot be applied. Nothing is half applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SectionError {
    /// What a section holds is not of its form.
    #[error("section {section}: {message}")]
    Content {
        /// Which one.
        section: SectionName,
        /// What is wrong, with the place.
        message: String,
    },
    /// A section that must be there is not.
    #[error("section {0} is missing")]
    Missing(SectionName),
    /// A section that this version does not know.
    #[error("section {0} is of no part that this version knows")]
    Unknown(SectionName),
    /// The writer's form is another.
    #[error("schema must be {SCHEMA}, not {0}")]
    Schema(u32),
    /// A delta from other sections than these.
    #[error("the delta begins at {wanted}, but what is here is {found}")]
    Base {
        /// Where the delta begins.
        wanted: Digest,
        /// What it was to be applied to.
        found: Digest,
    },
    /// What comes out is not what was meant.
    #[error("the delta leads to {wanted}, but what came out is {found}")]
    Target {
        /// What the writer had.
        wanted: Digest,
        /// What came out.
        found: Digest,
    },
}

impl Sections {
    /// A snapshot, cut up.
    ///
    /// # Errors
    /// None that a snapshot could cause.
    pub fn of(snapshot: &Snapshot) -> Result<Self, serde_json::Error> {
        let mut sections = Self::default();
        sections.write(None, snapshot)?;
        let mut buckets: BTreeMap<u8, Vec<BucketEntry>> = BTreeMap::new();
        for (trunk, ranges) in &snapshot.numbers {
            for range in ranges {
                let entry = BucketEntry { trunk: trunk.clone(), range: range.clone() };
                buckets.entry(bucket(&range.id.0)).or_default().push(entry);
            }
        }
        for (bucket, entries) in buckets {
            sections.insert(SectionName::of_bucket(bucket), Section::of(&entries)?);
        }
        Ok(sections)
    }

    /// Writes what a snapshot holds but numbers, as far as it is other than `last`, which is what these sections hold. Gives
    /// whether anything is.
    ///
    /// # Errors
    /// None that a snapshot could cause.
    pub fn write(&mut self, last: Option<&Snapshot>, new: &Snapshot) -> Result<bool, serde_json::Error> {
        let mut written = false;
        if last.map(|last| &last.cluster) != Some(&new.cluster) {
            self.insert(SectionName::cluster(), Section::of(&new.cluster)?);
            written = true;
        }
        macro_rules! write {
            ($($part:ident $field:ident $($below:ident)?;)*) => {$(
                let (old, now) = (last.map(|of| &of.$field$(.$below)?), &new.$field$(.$below)?);
                written |= self.tenants(Part::$part, old, now, |id, _| id.0.namespace())?;
            )*};
        }
        write! {
            Trunks trunks;
            Flows flows;
            Hours hours;
            Queues centre queues;
            Agents centre agents;
            VoicemailBoxes centre voicemail_boxes;
            Integrations centre integrations;
            Campaigns centre campaigns;
            ContactLists centre contact_lists;
            Dialling centre dialling;
            DoNotCallLists centre do_not_call_lists;
            ContactPoints centre contact_points;
        }
        written |= self.tenants(Part::Audio, last.map(|last| &last.audio), &new.audio, owner)?;
        Ok(written)
    }

    /// Writes the sections of those tenants of whom anything came, went or is other than it was.
    fn tenants<K: Serialize + Ord, V: Serialize + PartialEq>(
        &mut self,
        part: Part,
        last: Option<&BTreeMap<K, V>>,
        new: &BTreeMap<K, V>,
        of: impl for<'a> Fn(&'a K, &'a V) -> &'a str,
    ) -> Result<bool, serde_json::Error> {
        let differs = |of_one: &BTreeMap<K, V>, other: Option<&BTreeMap<K, V>>| -> BTreeSet<String> {
            let same = |key: &K, value: &V| other.and_then(|other| other.get(key)) == Some(value);
            let entries = of_one.iter().filter(|(key, value)| !same(key, value));
            entries.map(|(key, value)| of(key, value).to_owned()).collect()
        };
        let mut moved = differs(new, last);
        moved.extend(last.map(|last| differs(last, Some(new))).unwrap_or_default());
        let mut contents: BTreeMap<&str, BTreeMap<&K, &V>> = BTreeMap::new();
        for (key, value) in new {
            if let Some(namespace) = moved.get(of(key, value)) {
                contents.entry(namespace).or_default().insert(key, value);
            }
        }
        for namespace in &moved {
            let name = SectionName::of(part, namespace);
            match contents.get(namespace.as_str()) {
                Some(content) => self.insert(name, Section::of(content)?),
                None => self.remove(&name),
            }
        }
        Ok(!moved.is_empty())
    }

    /// The snapshot that they are.
    ///
    /// # Errors
    /// The first section that is missing, unknown or wrong.
    pub fn snapshot(&self) -> Result<Snapshot, SectionError> {
        let cluster = SectionName::cluster();
        let section = self.map.get(&cluster).ok_or_else(|| SectionError::Missing(cluster.clone()))?;
        let mut snapshot = Snapshot {
            schema: SCHEMA,
            cluster: read::<Cluster>(&cluster, section)?,
            trunks: BTreeMap::new(),
            numbers: BTreeMap::new(),
            flows: BTreeMap::new(),
            hours: BTreeMap::new(),
            audio: BTreeMap::new(),
            centre: Centre::default(),
        };
        for (name, section) in &self.map {
            match name.part().ok_or_else(|| SectionError::Unknown(name.clone()))? {
                Part::Cluster => {}
                Part::Trunks => snapshot.trunks.append(&mut read(name, section)?),
                Part::Flows => snapshot.flows.append(&mut read(name, section)?),
                Part::Hours => snapshot.hours.append(&mut read(name, section)?),
                Part::Queues => snapshot.centre.queues.append(&mut read(name, section)?),
                Part::Agents => snapshot.centre.agents.append(&mut read(name, section)?),
                Part::VoicemailBoxes => snapshot.centre.voicemail_boxes.append(&mut read(name, section)?),
                Part::Integrations => snapshot.centre.integrations.append(&mut read(name, section)?),
                Part::Campaigns => snapshot.centre.campaigns.append(&mut read(name, section)?),
                Part::ContactLists => snapshot.centre.contact_lists.append(&mut read(name, section)?),
                Part::Dialling => snapshot.centre.dialling.append(&mut read(name, section)?),
                Part::DoNotCallLists => snapshot.centre.do_not_call_lists.append(&mut read(name, section)?),
                Part::ContactPoints => snapshot.centre.contact_points.append(&mut read(name, section)?),
                Part::Audio => {
                    let audio: BTreeMap<_, _> = read(name, section)?;
                    // Of several prompts with equal content the first names it, and names come in their order.
                    for (id, one) in audio {
                        snapshot.audio.entry(id).or_insert(one);
                    }
                }
                Part::Numbers => {
                    for BucketEntry { trunk, range } in read::<Vec<BucketEntry>>(name, section)? {
                        snapshot.numbers.entry(trunk).or_default().push(range);
                    }
                }
            }
        }
        snapshot.numbers.values_mut().for_each(|ranges| ranges.sort_by_key(|range| range.first));
        Ok(snapshot)
    }

    /// Over the schema and every name and hash.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        hash.update(SCHEMA.to_be_bytes());
        for (name, section) in &self.map {
            // No name holds an octet 0, so no two lists of names run together alike.
            hash.update(name.as_str());
            hash.update([0]);
            hash.update(section.digest.0);
        }
        Digest(hash.finalize().into())
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&SectionName, &Section)> {
        self.map.iter()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, name: &SectionName) -> Option<&Section> {
        self.map.get(name)
    }

    /// Puts one in the place of what was there.
    pub fn insert(&mut self, name: SectionName, section: Section) {
        self.map.insert(name, section);
    }

    /// Takes one away.
    pub fn remove(&mut self, name: &SectionName) {
        self.map.remove(name);
    }

    /// Octets of all of them.
    #[must_use]
    pub fn size(&self) -> usize {
        self.map.values().map(|section| section.bytes.len()).sum()
    }

    /// What makes other sections of these.
    #[must_use]
    pub fn delta_to(&self, new: &Self) -> Delta {
        let removed = self.map.keys().filter(|name| !new.map.contains_key(name));
        let differs = |(name, section): &(&SectionName, &Section)| {
            self.map.get(name).map(|old| old.digest) != Some(section.digest)
        };
        Delta {
            schema: SCHEMA,
            base: self.digest(),
            target: new.digest(),
            removed: removed.cloned().collect(),
            changed: new
                .map
                .iter()
                .filter(differs)
                .map(|(name, section)| (name.clone(), section.clone()))
                .collect(),
        }
    }

    /// The sections that a delta leads to.
    ///
    /// # Errors
    /// Another schema; a delta that begins elsewhere; one that leads elsewhere than it says.
    pub fn apply(&self, delta: &Delta) -> Result<Self, SectionError> {
        if delta.schema != SCHEMA {
            return Err(SectionError::Schema(delta.schema));
        }
        let found = self.digest();
        if found != delta.base {
            return Err(SectionError::Base { wanted: delta.base, found });
        }
        let mut next = self.clone();
        delta.removed.iter().for_each(|name| next.remove(name));
        for (name, section) in &delta.changed {
            next.insert(name.clone(), section.clone());
        }
        let found = next.digest();
        if found != delta.target {
            return Err(SectionError::Target { wanted: delta.target, found });
        }
        Ok(next)
    }
}

/// What makes one snapshot of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// [`SCHEMA`] of the writer.
    pub schema: u32,
    /// The hash of the sections that it begins at.
    pub base: Digest,
    /// The hash of those that it leads to.
    pub target: Digest,
    /// Sections that are gone.
    pub removed: Vec<SectionName>,
    /// Sections that are new or other than they were.
    pub changed: Vec<(SectionName, Section)>,
}

impl Delta {
    /// Whether it changes nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.changed.is_empty()
    }

    /// Octets of names and content.
    #[must_use]
    pub fn size(&self) -> usize {
        let removed = self.removed.iter().map(|name| name.as_str().len());
        let changed = self.changed.iter().map(|(name, section)| name.as_str().len() + section.bytes.len());
        removed.chain(changed).sum()
    }
}

/// Whose prompt it is.
fn owner<'a>(_: &'a AudioId, audio: &'a Audio) -> &'a str {
    audio.prompt.0.namespace()
}

fn read<T: DeserializeOwned>(name: &SectionName, section: &Section) -> Result<T, SectionError> {
    serde_json::from_slice(&section.bytes)
        .map_err(|error| SectionError::Content { section: name.clone(), message: error.to_string() })
}
