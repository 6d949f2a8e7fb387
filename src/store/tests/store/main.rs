//! A folder and an S3 server hold the same promises, sealed and in the clear; so do SQLite and PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod gateway;
mod live;
mod postgres;
mod records;

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use gateway::Gateway;
use proptest::prelude::*;
use store::{Blobs, Error, Folder, Key, Keys, Name, S3};
use tempfile::TempDir;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn key(octet: u8) -> Key {
    Key::new(&[octet; 32]).unwrap()
}

fn folder(at: &TempDir, key: Option<Key>) -> Folder {
    Folder::open(at.path(), key).unwrap()
}

fn put(blobs: &dyn Blobs, text: &str, content: &[u8]) {
    let mut draft = blobs.begin(&name(text)).unwrap();
    draft.append(content).unwrap();
    assert_eq!(blobs.finish(draft, None).unwrap(), content.len() as u64);
}

fn get(blobs: &dyn Blobs, text: &str) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let mut reader = blobs.get(&name(text)).map_err(|error| error.to_string())?;
    reader.read_to_end(&mut content).map_err(|error| error.to_string())?;
    Ok(content)
}

fn names(blobs: &dyn Blobs, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let after = after.map(name);
    let found = blobs.list(prefix, after.as_ref(), limit).unwrap();
    found.iter().map(|found| found.name.to_string()).collect()
}

/// What every store promises.
fn promises(blobs: &dyn Blobs) {
    let long: Vec<u8> = (0..200_000u32).map(|n| (n / 7) as u8).collect();
    let mut draft = blobs.begin(&name("acme/calls/1.wav")).unwrap();
    draft.append(b"head").unwrap();
    long.chunks(70_000).for_each(|piece| draft.append(piece).unwrap());
    draft.sync().unwrap();
    assert_eq!(get(blobs, "acme/calls/1.wav").unwrap_err(), "there is no acme/calls/1.wav");
    assert!(matches!(blobs.begin(&name("acme/calls/1.wav")), Err(Error::Exists(_))));
    assert_eq!(blobs.finish(draft, Some(b"HEAD")).unwrap(), 200_004);
    assert_eq!(get(blobs, "acme/calls/1.wav").unwrap(), [b"HEAD", &long[..]].concat());

    let mut draft = blobs.begin(&name("bad-head")).unwrap();
    draft.append(b"head").unwrap();
    let error = blobs.finish(draft, Some(b"longer")).unwrap_err().to_string();
    assert_eq!(error, "the head of bad-head has 4 bytes and must have as many again, not 6");

    put(blobs, "acme/empty", b"");
    assert_eq!(get(blobs, "acme/empty").unwrap(), b"");
    for text in ["acme/calls/2.wav", "acme/calls.txt", "acme/calls/a/b", "acmes/3", "zeta"] {
        put(blobs, text, text.as_bytes());
    }
    let all = [
        "acme/calls.txt",
        "acme/calls/1.wav",
        "acme/calls/2.wav",
        "acme/calls/a/b",
        "acme/empty",
        "acmes/3",
        "zeta",
    ];
    assert_eq!(names(blobs, "", None, 100), all);
    assert_eq!(names(blobs, "", None, 3), all[..3]);
    assert_eq!(names(blobs, "", Some("acme/calls/2.wav"), 2), all[3..5]);
    assert_eq!(names(blobs, "acme/calls", None, 100), all[1..4]);
    assert_eq!(names(blobs, "acme", Some("acme/calls/a/b"), 100), ["acme/empty"]);
    assert_eq!(names(blobs, "nowhere", None, 100), [""; 0]);

    blobs.delete(&name("zeta")).unwrap();
    blobs.delete(&name("zeta")).unwrap();
    assert_eq!(names(blobs, "", Some("acme/empty"), 100), ["acmes/3"]);
    settle(blobs).unwrap();
    assert_eq!(names(blobs, "", Some("acme/empty"), 100), ["acmes/3"]);
    assert_eq!(get(blobs, "acme/calls/1.wav").unwrap(), [b"HEAD", &long[..]].concat());

    for text in ["first", "second"] {
        blobs.put(&name("index/1"), text.as_bytes()).unwrap();
        assert_eq!(get(blobs, "index/1").unwrap(), text.as_bytes());
        settle(blobs).unwrap();
        assert_eq!(get(blobs, "index/1").unwrap(), text.as_bytes());
    }
    assert!(matches!(blobs.noted(&name("a")), Err(Error::NotFound(_))));
    blobs.note(&name("a"), b"of whom").unwrap();
    assert_eq!(blobs.notes().unwrap(), [name("a")]);
    assert_eq!(blobs.noted(&name("a")).unwrap(), b"of whom");
    blobs.drop_note(&name("a")).unwrap();
    assert!(blobs.notes().unwrap().is_empty());
}

fn settle(blobs: &dyn Blobs) -> Result<(), Error> {
    for name in blobs.waiting()? {
        blobs.bring(&name)?;
    }
    assert_eq!(blobs.waiting()?, []);
    Ok(())
}

#[test]
fn a_folder_keeps_its_promises_sealed_or_not() {
    for key in [None, Some(key(7))] {
        let at = TempDir::new().unwrap();
        let sealed = key.is_some();
        let blobs = folder(&at, key);
        promises(&blobs);
        let stored = fs::read(at.path().join("acmes/3")).unwrap();
        assert_eq!(stored.windows(7).any(|window| window == b"acmes/3"), !sealed);
        assert!(matches!(blobs.begin(&name("acme/empty")), Err(Error::Exists(_))));
    }
}

#[test]
fn an_s3_server_keeps_the_same_promises_sealed_or_not() {
    let gateway = Gateway::start();
    for (bucket, key) in [("clear", None), ("sealed", Some(key(7)))] {
        let drafts = TempDir::new().unwrap();
        promises(&S3::open(gateway.config(bucket, drafts.path()), key).unwrap());
    }
    // More than one part of an upload.
    let drafts = TempDir::new().unwrap();
    let blobs = S3::open(gateway.config("clear", drafts.path()), None).unwrap();
    let long: Vec<u8> = (0..20_000_000u32).map(|n| (n >> 8) as u8 ^ n as u8).collect();
    put(&blobs, "long", &long);
    settle(&blobs).unwrap();
    assert!(get(&blobs, "long").unwrap() == long);
    let found = blobs.list("", Some(&name("lo")), 1).unwrap();
    assert_eq!(found[0].stored_bytes, 20_000_000);
}

#[test]
fn what_cannot_be_uploaded_waits_and_is_brought_later() {
    let gateway = Gateway::start();
    let drafts = TempDir::new().unwrap();
    let mut config = gateway.config("clear", drafts.path());
    config.credentials.secret = "wrong".into();
    config.waiting_max = 200;
    let blobs = S3::open(config.clone(), Some(key(1))).unwrap();
    put(&blobs, "a/1", b"sound");
    let error = blobs.bring(&name("a/1")).unwrap_err();
    assert!(matches!(&error, Error::Remote { name, .. } if name == "a/1"), "{error}");
    assert!(!error.to_string().contains("wrong"), "{error}");
    assert!(matches!(blobs.begin(&name("a/1")), Err(Error::Exists(_))));
    assert_eq!(get(&blobs, "a/1").unwrap(), b"sound", "it is heard before it is brought away");
    put(&blobs, "a/2", b"more sound");
    let error = blobs.begin(&name("a/3")).unwrap_err();
    assert!(matches!(error, Error::Full { most: 200, .. }), "{error}");
    drop(blobs);
    let blobs = S3::open(config, Some(key(1))).unwrap();
    assert!(matches!(blobs.begin(&name("a/3")), Err(Error::Full { .. })), "after a restart too");
    drop(blobs);
    let blobs = S3::open(gateway.config("clear", drafts.path()), Some(key(1))).unwrap();
    assert_eq!(names(&blobs, "a", None, 10), ["a/1", "a/2"], "what waits is in the list");
    blobs.delete(&name("a/2")).unwrap();
    assert_eq!(names(&blobs, "a", None, 10), ["a/1"]);
    settle(&blobs).unwrap();
    assert_eq!(names(&blobs, "a", None, 10), ["a/1"]);
    assert_eq!(get(&blobs, "a/1").unwrap(), b"sound");
    assert_eq!(fs::read_dir(drafts.path()).unwrap().count(), 0);
}

#[test]
fn a_newer_key_seals_and_the_older_ones_still_open() {
    let at = TempDir::new().unwrap();
    put(&folder(&at, Some(key(1))), "old", b"sound");
    let both = Folder::open(at.path(), Keys::new(vec![key(2), key(1)])).unwrap();
    put(&both, "new", b"more sound");
    assert_eq!(get(&both, "old").unwrap(), b"sound");
    let told = |octet, text| get(&folder(&at, Some(key(octet))), text);
    assert_eq!(told(2, "new").unwrap(), b"more sound");
    assert_eq!(told(1, "new").unwrap_err(), "new is sealed with another key than the one configured");
    assert_eq!(told(2, "old").unwrap_err(), "old is sealed with another key than the one configured");
}

#[test]
fn what_a_crash_leaves_is_resumed_and_its_torn_end_cut_off() {
    for key in [None, Some(key(3))] {
        let at = TempDir::new().unwrap();
        let blobs = folder(&at, key.clone());
        let mut draft = blobs.begin(&name("a/1")).unwrap();
        draft.append(b"head").unwrap();
        draft.append(b"sound").unwrap();
        drop((draft, blobs));
        let part = at.path().join(".drafts/a=1.part");
        if key.is_some() {
            // In the middle of the next frame.
            let torn = [&fs::read(&part).unwrap()[..], &[0, 0, 0, 9, 1, 2, 3]].concat();
            fs::write(&part, torn).unwrap();
        }
        let blobs = folder(&at, key);
        assert_eq!(blobs.unfinished().unwrap(), [name("a/1")]);
        let mut draft = blobs.resume(&name("a/1")).unwrap();
        assert_eq!((draft.length(), draft.head(4).unwrap()), (9, b"head".to_vec()));
        draft.append(b" and more").unwrap();
        blobs.finish(draft, Some(b"HEAD")).unwrap();
        assert_eq!(get(&blobs, "a/1").unwrap(), b"HEADsound and more");
        assert!(blobs.unfinished().unwrap().is_empty());
        assert!(matches!(blobs.resume(&name("a/2")), Err(Error::NotFound(_))));
    }
}

#[test]
fn a_draft_that_is_abandoned_leaves_nothing() {
    let at = TempDir::new().unwrap();
    let blobs = folder(&at, None);
    blobs.begin(&name("a")).unwrap().abandon();
    assert!(blobs.unfinished().unwrap().is_empty());
    blobs.begin(&name("a")).unwrap();
}

#[test]
fn another_key_and_no_key_and_none_needed_are_told_apart() {
    let at = TempDir::new().unwrap();
    put(&folder(&at, Some(key(1))), "sealed", b"sound");
    put(&folder(&at, None), "clear", b"sound without a seal, long enough to be one");
    let told = |key, text| get(&folder(&at, key), text).unwrap_err();
    assert_eq!(told(Some(key(2)), "sealed"), "sealed is sealed with another key than the one configured");
    assert_eq!(told(None, "sealed"), "sealed is sealed, but no key is configured");
    assert_eq!(told(Some(key(1)), "clear"), "clear is not sealed, but a key is configured");
    // A name is part of the seal.
    fs::rename(at.path().join("sealed"), at.path().join("moved")).unwrap();
    assert!(told(Some(key(1)), "moved").contains("the seal of moved is broken at byte 32"));
}

fn sealed_file(at: &TempDir) -> (PathBuf, Vec<u8>) {
    let blobs = folder(at, Some(key(1)));
    let mut draft = blobs.begin(&name("a")).unwrap();
    [&b"one"[..], b"two", b"three"].iter().for_each(|piece| draft.append(piece).unwrap());
    blobs.finish(draft, None).unwrap();
    let path = at.path().join("a");
    let stored = fs::read(&path).unwrap();
    (path, stored)
}

fn read_again(at: &TempDir, path: &Path, stored: &[u8]) -> Result<Vec<u8>, String> {
    fs::write(path, stored).unwrap();
    get(&folder(at, Some(key(1))), "a")
}

#[test]
fn frames_can_be_neither_left_out_nor_moved_nor_cut() {
    let at = TempDir::new().unwrap();
    let (path, stored) = sealed_file(&at);
    assert_eq!(read_again(&at, &path, &stored).unwrap(), b"onetwothree");
    let (one, two) = (&stored[32..67], &stored[67..102]);
    let swapped = [&stored[..32], two, one, &stored[102..]].concat();
    let without = [&stored[..32], one, &stored[102..]].concat();
    let longer = [&stored[..], &[0]].concat();
    for bad in [&swapped[..], &without, &longer, &stored[..stored.len() - 32], &stored[..40], &stored[..20]] {
        let error = read_again(&at, &path, bad).unwrap_err();
        assert!(error.contains("the seal of a is broken"), "{error}");
    }
}

proptest! {
    #[test]
    fn any_change_to_what_is_sealed_is_noticed(place in 0usize..32 * 4, bit in 0u32..8) {
        let at = TempDir::new().unwrap();
        let (path, mut stored) = sealed_file(&at);
        stored[place] ^= 1 << bit;
        prop_assert!(read_again(&at, &path, &stored).is_err());
    }
}

#[test]
fn a_disk_that_is_full_is_told_and_loses_nothing_before() {
    // A file system that is full from the beginning, which every Linux has.
    let at = TempDir::new().unwrap();
    let blobs = folder(&at, None);
    let mut draft = blobs.begin(&name("a")).unwrap();
    draft.append(b"kept").unwrap();
    let part = at.path().join(".drafts/a.part");
    fs::remove_file(&part).unwrap();
    std::os::unix::fs::symlink("/dev/full", &part).unwrap();
    drop(draft);
    let mut full = blobs.resume(&name("a")).unwrap();
    let error = full.append(&[0; 10]).unwrap_err().to_string();
    assert!(error.contains("a.part") && error.contains("No space left on device"), "{error}");
}
