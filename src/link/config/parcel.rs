//! A publication in messages, and back.

use std::{collections::BTreeMap, collections::BTreeSet, collections::VecDeque, sync::Arc};

use bytes::Bytes;
use model::{
    AudioId, Key,
    section::{Delta, Digest, Section, SectionName, Sections},
};
use prost::Message;

use super::{Blobs, MESSAGE_MAX, Position, Publication, Secrets};
use crate::wire::{self, Begin, Commit, Piece, Pieces, SecretName, ToPod, piece::Of, to_pod};

/// Octets of a message that are no content: its own frame, and the frame and name of one piece.
const OVERHEAD: usize = 2_048;

/// Most octets of all content of one publication that a pod takes.
const CONTENT_MAX: usize = 1 << 30;

/// What is on its way to one pod. Chunks are cut when they are asked for; until then all is shared.
pub struct Parcel {
    begin: Option<Begin>,
    things: VecDeque<Thing>,
    committed: bool,
}

struct Thing {
    of: Of,
    content: Content,
    sent: usize,
}

enum Content {
    Gone,
    Section(Section),
    Blob(Arc<[u8]>),
    Secret(Bytes),
}

impl Content {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Gone => &[],
            Self::Section(section) => section.bytes(),
            Self::Blob(bytes) => bytes,
            Self::Secret(bytes) => bytes,
        }
    }
}

/// What a pod has, as far as it matters for what it is sent.
pub struct Base<'a> {
    /// None: it gets everything.
    pub sections: Option<&'a Sections>,
    /// Prompts that it has. None: its role needs none.
    pub blobs: Option<&'a BTreeSet<AudioId>>,
    /// None: those that it has are right.
    pub secrets: Option<&'a Secrets>,
}

impl Parcel {
    pub fn new(publication: &Publication, base: &Base<'_>) -> Self {
        let Delta { schema, base: from, target, removed, changed } =
            base.sections.unwrap_or(&Sections::default()).delta_to(&publication.sections);
        let mut things = VecDeque::new();
        let mut add = |of, content| things.push_back(Thing { of, content, sent: 0 });
        for name in removed {
            add(Of::Section(name.as_str().to_owned()), Content::Gone);
        }
        for (name, section) in changed {
            add(Of::Section(name.as_str().to_owned()), Content::Section(section));
        }
        if let Some(has) = base.blobs {
            for id in has.iter().filter(|id| !publication.blobs.contains_key(id)) {
                add(Of::Audio(Bytes::copy_from_slice(&id.0)), Content::Gone);
            }
            for (id, blob) in publication.blobs.iter().filter(|(id, _)| !has.contains(id)) {
                add(Of::Audio(Bytes::copy_from_slice(&id.0)), Content::Blob(Arc::clone(blob)));
            }
        }
        for (object, key, value) in base.secrets.iter().flat_map(|secrets| secrets.iter()) {
            let name = SecretName { object: object.as_str().to_owned(), key: key.to_owned() };
            add(Of::Secret(name), Content::Secret(Bytes::copy_from_slice(value)));
        }
        let begin = Begin {
            position: Some(publication.position.into()),
            schema,
            base: base.sections.map(|_| wire::digest(from)).unwrap_or_default(),
            target: wire::digest(target),
            secrets: base.secrets.is_some(),
        };
        Self { begin: Some(begin), things, committed: false }
    }

    /// The next message, each at most [`MESSAGE_MAX`] octets.
    pub fn next(&mut self) -> Option<ToPod> {
        let what = if let Some(begin) = self.begin.take() {
            to_pod::What::Begin(begin)
        } else if !self.things.is_empty() {
            to_pod::What::Pieces(self.pieces())
        } else if !self.committed {
            self.committed = true;
            to_pod::What::Commit(Commit {})
        } else {
            return None;
        };
        Some(ToPod { what: Some(what) })
    }

    fn pieces(&mut self) -> Pieces {
        let (mut pieces, mut room) = (Vec::new(), MESSAGE_MAX);
        while room > OVERHEAD
            && let Some(thing) = self.things.front_mut()
        {
            let rest = &thing.content.bytes()[thing.sent..];
            let content = &rest[..rest.len().min(room - OVERHEAD)];
            let piece = Piece {
                of: Some(thing.of.clone()),
                content: Bytes::copy_from_slice(content),
                more: content.len() < rest.len(),
                removed: matches!(thing.content, Content::Gone),
            };
            thing.sent += content.len();
            // A length's varint and the field's key, besides the piece itself.
            room = room.saturating_sub(piece.encoded_len() + 8);
            if !piece.more {
                self.things.pop_front();
            }
            pieces.push(piece);
        }
        Pieces { pieces }
    }
}

/// What a parcel holds, once it is here.
pub struct Unpacked {
    pub digest: Digest,
    pub sections: Arc<Sections>,
    pub blobs: Blobs,
    /// None: those of before.
    pub secrets: Option<Secrets>,
}

/// Why a parcel cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// It begins at what is not here.
    Base,
    /// The field at fault, and a sentence.
    Refused(&'static str, String),
}

/// A parcel that is being put together.
pub struct Assembly {
    position: Position,
    schema: u32,
    base: Option<Digest>,
    target: Digest,
    with_secrets: bool,
    open: Option<(Of, Vec<u8>)>,
    size: usize,
    removed: Vec<SectionName>,
    changed: Vec<(SectionName, Section)>,
    blobs: BTreeMap<AudioId, Option<Arc<[u8]>>>,
    secrets: Vec<((Key, String), Vec<u8>)>,
}

fn malformed(message: &str) -> Fault {
    Fault::Refused("wire", message.to_owned())
}

impl Assembly {
    pub fn new(begin: &Begin) -> Result<Self, Fault> {
        let position = begin.position.ok_or_else(|| malformed("a publication must have a position"))?;
        let base = match begin.base.is_empty() {
            true => None,
            false => Some(wire::read_digest(&begin.base).ok_or_else(|| malformed("no hash begins it"))?),
        };
        Ok(Self {
            position: position.into(),
            schema: begin.schema,
            base,
            target: wire::read_digest(&begin.target).ok_or_else(|| malformed("no hash ends it"))?,
            with_secrets: begin.secrets,
            open: None,
            size: 0,
            removed: Vec::new(),
            changed: Vec::new(),
            blobs: BTreeMap::new(),
            secrets: Vec::new(),
        })
    }

    pub const fn position(&self) -> Position {
        self.position
    }

    /// Whether it is everything, not a change.
    pub const fn is_whole(&self) -> bool {
        self.base.is_none()
    }

    pub fn take(&mut self, piece: Piece) -> Result<(), Fault> {
        // A kind of thing that this version does not know is not for it.
        let Some(of) = piece.of else { return Ok(()) };
        self.size = self.size.saturating_add(piece.content.len() + 64);
        if self.size > CONTENT_MAX {
            return Err(malformed("a publication may not hold more than 1 GiB"));
        }
        let content = match self.open.take() {
            Some((open, mut content)) if open == of => {
                content.extend_from_slice(&piece.content);
                content
            }
            Some(_) => return Err(malformed("a thing must be whole before another begins")),
            None => piece.content.to_vec(),
        };
        if piece.more {
            self.open = Some((of, content));
            return Ok(());
        }
        self.whole(of, content, piece.removed)
    }

    fn whole(&mut self, of: Of, content: Vec<u8>, removed: bool) -> Result<(), Fault> {
        match of {
            Of::Section(name) => {
                let name = serde_json::from_value(name.into())
                    .map_err(|error| Fault::Refused("wire", error.to_string()))?;
                match removed {
                    true => self.removed.push(name),
                    false => self.changed.push((name, Section::from_bytes(content))),
                }
            }
            Of::Audio(id) => {
                let id = <[u8; 32]>::try_from(id.as_ref()).map_err(|_| malformed("no id of audio"))?;
                self.blobs.insert(AudioId(id), (!removed).then(|| content.into()));
            }
            Of::Secret(SecretName { object, key }) => {
                let object = object.parse().map_err(|_| malformed("no name of a Secret"))?;
                self.secrets.push(((object, key), content));
            }
        }
        Ok(())
    }

    /// Puts it on top of what is here, and proves that what comes out is what was meant.
    pub fn finish(self, sections: &Sections, blobs: &Blobs) -> Result<Unpacked, Fault> {
        if self.open.is_some() {
            return Err(malformed("a thing must be whole before the publication ends"));
        }
        let nothing = Sections::default();
        let (from, base) = match self.base {
            None => (&nothing, nothing.digest()),
            Some(base) => (sections, base),
        };
        let delta = Delta {
            schema: self.schema,
            base,
            target: self.target,
            removed: self.removed,
            changed: self.changed,
        };
        let sections = from.apply(&delta).map_err(|error| {
            use model::section::SectionError::{Base, Schema, Target};
            match (&error, self.base) {
                (Base { .. }, _) | (Target { .. }, Some(_)) => Fault::Base,
                (Schema(_), _) => Fault::Refused("schema", error.to_string()),
                (_, _) => Fault::Refused("sections", error.to_string()),
            }
        })?;
        let blobs = match self.blobs.is_empty() {
            true => Arc::clone(blobs),
            false => {
                let mut all = BTreeMap::clone(blobs);
                for (id, blob) in self.blobs {
                    match blob {
                        Some(blob) => all.insert(id, blob),
                        None => all.remove(&id),
                    };
                }
                Arc::new(all)
            }
        };
        Ok(Unpacked {
            digest: self.target,
            sections: Arc::new(sections),
            blobs,
            secrets: self.with_secrets.then(|| self.secrets.into_iter().collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    use model::section::Part;
    use proptest::prelude::*;

    use super::*;

    type Contents = BTreeMap<u8, Vec<u8>>;

    fn publication(contents: &Contents) -> Publication {
        let mut sections = Sections::default();
        for (name, content) in contents {
            sections.insert(SectionName::of_bucket(*name), Section::from_bytes(content.clone()));
        }
        // An id names its content.
        let id = |blob: &[u8]| AudioId(*Digest::of(blob).as_bytes());
        let blobs = contents.values().map(|blob| (id(blob), blob.as_slice().into())).collect();
        let secret = |(name, value): (&u8, &Vec<u8>)| {
            ((Key::new("acme", "crm"), format!("{name}").repeat(100)), value.clone())
        };
        Publication {
            position: Position { term: 1, sequence: 1 },
            sections: Arc::new(sections),
            blobs: Arc::new(blobs),
            media_secrets: contents.iter().map(secret).collect(),
            edge_secrets: Secrets::default(),
        }
    }

    /// Sends what makes `new` of `old`, and gives what comes of it.
    fn sent(old: &Publication, new: &Publication, whole: bool) -> Unpacked {
        let has = old.blobs.keys().copied().collect();
        let base = Base {
            sections: (!whole).then_some(&*old.sections),
            blobs: Some(&has),
            secrets: Some(&new.media_secrets),
        };
        let mut parcel = Parcel::new(new, &base);
        let mut assembly = None;
        while let Some(message) = parcel.next() {
            assert!(message.encoded_len() <= MESSAGE_MAX, "{}", message.encoded_len());
            match message.what.unwrap() {
                to_pod::What::Begin(begin) => assembly = Some(Assembly::new(&begin).unwrap()),
                to_pod::What::Pieces(pieces) => {
                    for piece in pieces.pieces {
                        assembly.as_mut().unwrap().take(piece).unwrap();
                    }
                }
                to_pod::What::Commit(_) => break,
                to_pod::What::Topology(_) => unreachable!(),
            }
        }
        assert!(parcel.next().is_none());
        assembly.unwrap().finish(&old.sections, &old.blobs).map_err(|fault| format!("{fault:?}")).unwrap()
    }

    fn contents() -> impl Strategy<Value = Contents> {
        let size = prop_oneof![
            8 => 0..64_usize,
            1 => MESSAGE_MAX - 4 * OVERHEAD..MESSAGE_MAX + OVERHEAD,
            1 => 2 * MESSAGE_MAX..3 * MESSAGE_MAX,
        ];
        let content = (size, any::<u8>()).prop_map(|(size, octet)| vec![octet; size]);
        prop::collection::btree_map(0..8_u8, content, 0..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn whatever_is_sent_arrives_in_messages_within_the_bound(old in contents(), new in contents(), whole: bool) {
            let (old, new) = (publication(&old), publication(&new));
            let unpacked = sent(&old, &new, whole);
            prop_assert_eq!(&unpacked.sections, &new.sections);
            prop_assert_eq!(unpacked.blobs, new.blobs);
            prop_assert!(unpacked.secrets == Some(new.media_secrets));
        }
    }

    #[test]
    fn one_changed_section_costs_one_section() {
        let content = |part, name: &str| (SectionName::of(part, name), Section::from_bytes(vec![0; 10_000]));
        let mut sections = Sections::default();
        for tenant in 0..100 {
            let (name, section) = content(Part::Flows, &tenant.to_string());
            sections.insert(name, section);
        }
        let mut new = sections.clone();
        new.insert(SectionName::of(Part::Flows, "7"), Section::from_bytes(vec![1; 10_000]));
        let publication = Publication { sections: Arc::new(new), ..Publication::default() };
        let base = Base { sections: Some(&sections), blobs: None, secrets: None };
        let mut parcel = Parcel::new(&publication, &base);
        let octets: usize = std::iter::from_fn(|| parcel.next()).map(|message| message.encoded_len()).sum();
        assert!(octets < 10_300, "{octets}");
    }
}
