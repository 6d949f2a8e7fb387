//! Recordings, judged by what can be heard in them.

use std::{
    fs,
    path::Path,
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use media::Services;
use model::{
    LegId, PlayId,
    media::{Codec, Event, Format, Order, PlayEnd, Recorded, Recording, RecordingEnd, Voices},
};
use rtp::{
    codec::{Encoder, PAYLOAD_MAX},
    dtmf,
    g711::Law,
};
use store::{Blobs, Draft, Error, Folder, Found, Name};
use tempfile::TempDir;

use crate::{
    LEG, ended,
    peer::{Phone, World, correlation, decoded, sound},
};

const RATE: u32 = 8_000;

fn world(store: Arc<dyn Blobs>) -> World {
    World::with_services(8, Services { store: Some(store), ..Services::default() })
}

pub fn folder(at: &TempDir) -> Arc<dyn Blobs> {
    Arc::new(Folder::open(at.path(), None).unwrap())
}

pub fn recording(name: &str, voices: Voices) -> Recording {
    Recording {
        name: name.into(),
        voices,
        format: Format::Wav,
        max_ms: None,
        silence_ms: None,
        stop_keys: String::new(),
        mask_keys: false,
        about: None,
    }
}

pub fn begin(world: &World, session: u64, recording: Recording) {
    world.order(session, Order::BeginRecording(Box::new(recording)));
    world.settle(session);
}

/// The next event, but that a telephone says nothing.
pub fn told(world: &World) -> Event {
    loop {
        match world.event() {
            Event::Silent { .. } => {}
            event => return event,
        }
    }
}

fn recorded(world: &World) -> Recorded {
    match told(world) {
        Event::Recorded(recorded) => *recorded,
        other => panic!("{other:?}"),
    }
}

pub fn end(world: &World, session: u64, name: &str) -> Recorded {
    world.order(session, Order::EndRecording { name: name.into() });
    let recorded = recorded(world);
    assert_eq!(recorded.failed, None);
    recorded
}

/// Says a sound in real time.
pub fn say(phone: &mut Phone, said: &[i16]) {
    let law = Law::from(phone.parameters.codec);
    let begun = Instant::now();
    for (place, frame) in (0u32..).zip(said.chunks(160)) {
        phone.say(&frame.iter().map(|&sample| law.encode(sample)).collect::<Vec<_>>());
        let due = Duration::from_millis(20) * (place + 1);
        sleep(due.saturating_sub(begun.elapsed()));
    }
}

pub fn channels(path: &Path) -> (Vec<Vec<i16>>, u32) {
    let mut wav = hound::WavReader::open(path).unwrap();
    let spec = wav.spec();
    let samples: Vec<i16> = wav.samples().map(Result::unwrap).collect();
    let channel = |place| samples.iter().skip(place).step_by(spec.channels.into()).copied().collect();
    ((0..spec.channels.into()).map(channel).collect(), spec.sample_rate)
}

/// The best likeness of a sound to any part of another, and where.
pub fn found(in_this: &[i16], said: &[i16]) -> (f64, usize) {
    let at = 0..=in_this.len().saturating_sub(said.len());
    let likeness = |at: usize| (correlation(&in_this[at..in_this.len().min(at + said.len())], said), at);
    at.map(likeness).max_by(|one, other| one.0.total_cmp(&other.0)).unwrap()
}

#[test]
fn two_legs_are_recorded_left_and_right_and_both_together() {
    let at = TempDir::new().unwrap();
    let world = world(folder(&at));
    let (mut a, mut b) = (world.phone(1, 1, Codec::Pcmu), world.phone(1, 2, Codec::Pcma));
    begin(&world, 1, recording("acme/both", Voices::Stereo(LegId(1), LegId(2))));
    begin(&world, 1, recording("acme/mixed", Voices::Mixed));
    let (one, other) = (sound(RATE, 0.4, 1.0), sound(RATE, 0.4, 5.0));
    std::thread::scope(|scope| {
        scope.spawn(|| say(&mut a, &one));
        scope.spawn(|| say(&mut b, &other));
    });
    let stereo = end(&world, 1, "acme/both");
    assert_eq!((stereo.name.as_str(), stereo.end), ("acme/both.wav", RecordingEnd::Stopped));
    assert!(stereo.sound_ms >= 380 && stereo.ms < 5_000, "{stereo:?}");
    let mixed = end(&world, 1, "acme/mixed");

    let (both, rate) = channels(&at.path().join("acme/both.wav"));
    assert_eq!((both.len(), rate), (2, RATE));
    assert_eq!(both[0].len() as u64, stereo.ms * 8);
    let ((left, left_at), (right, right_at)) = (found(&both[0], &one), found(&both[1], &other));
    assert!(left > 0.99 && right > 0.99, "{left} {right}");
    assert!(found(&both[0], &other).0 < 0.3);
    let (mono, _) = channels(&at.path().join("acme/mixed.wav"));
    assert_eq!(fs::metadata(at.path().join("acme/mixed.wav")).unwrap().len(), mixed.bytes);
    // The sum of both, where both lie; each recording rounds to whole samples by itself.
    let sum = |right_at: usize| {
        let mut sum = vec![0i16; both[0].len() + 1];
        for (begin, said) in [(left_at, &one), (right_at, &other)] {
            let part = sum[begin..].iter_mut();
            part.zip(said).for_each(|(sum, &said)| *sum = sum.saturating_add(said));
        }
        sum[left_at.min(right_at)..left_at.max(right_at) + one.len()].to_vec()
    };
    let likeness = [right_at - 1, right_at, right_at + 1].map(|at| found(&mono[0], &sum(at)).0);
    assert!(likeness.iter().any(|&likeness| likeness > 0.98), "{likeness:?}");
}

#[test]
fn a_pause_is_left_out_and_the_rest_stays_whole() {
    let at = TempDir::new().unwrap();
    let world = world(folder(&at));
    let mut phone = world.phone(1, 1, Codec::Pcmu);
    begin(&world, 1, recording("a", Voices::One(LEG)));
    let [before, secret, after] = [1.0, 5.0, 9.0].map(|seed| sound(RATE, 0.3, seed));
    say(&mut phone, &before);
    for (paused, said) in [(true, &secret), (false, &after)] {
        world.order(1, Order::PauseRecording { name: "a".into(), paused });
        world.settle(1);
        say(&mut phone, said);
    }
    let recorded = end(&world, 1, "a");
    let (channels, _) = channels(&at.path().join("a.wav"));
    assert!(found(&channels[0], &before[..2_000]).0 > 0.98);
    assert!(found(&channels[0], &after[400..]).0 > 0.98);
    assert!(found(&channels[0], &secret[400..2_000]).0 < 0.4);
    assert!(recorded.ms < 5_000 && recorded.sound_ms <= 900, "{recorded:?}");
}

#[test]
fn a_key_ends_a_recording_and_is_left_out_of_its_sound() {
    let at = TempDir::new().unwrap();
    let world = world(folder(&at));
    let mut phone = world.phone(1, 1, Codec::Pcmu);
    let masked = Recording { mask_keys: true, stop_keys: "#".into(), ..recording("a", Voices::One(LEG)) };
    begin(&world, 1, masked);
    let said = sound(RATE, 0.2, 1.0);
    say(&mut phone, &said);
    // A telephone that sends the tone beside the event.
    let begin = phone.header.timestamp;
    let mut tone = [0; 800];
    dtmf::Tone::new(5).unwrap().fill(&mut tone);
    for (place, frame) in tone.chunks(160).enumerate() {
        let duration = 160 * (place as u16 + 1);
        let payload = dtmf::Payload { code: 5, end: place == 4, volume: 10, duration };
        phone.press(begin, payload.to_bytes());
        say(&mut phone, frame);
    }
    assert_eq!(world.event(), Event::Dtmf { leg: LEG, digit: '5' });
    say(&mut phone, &said);
    phone.press(
        phone.header.timestamp,
        dtmf::Payload { code: 11, end: true, volume: 10, duration: 400 }.to_bytes(),
    );
    assert_eq!(world.event(), Event::Dtmf { leg: LEG, digit: '#' });
    let recorded = recorded(&world);
    assert_eq!((recorded.end, recorded.failed), (RecordingEnd::Key('#'), None));
    let (channels, _) = channels(&at.path().join("a.wav"));
    let likeness = found(&channels[0], &tone);
    assert!(likeness.0 < 0.3, "{likeness:?}");
    assert!(found(&channels[0], &said[..1_200]).0 > 0.98);
}

#[test]
fn silence_and_the_longest_length_end_a_recording() {
    let at = TempDir::new().unwrap();
    let world = world(folder(&at));
    let mut phone = world.phone(1, 1, Codec::Pcmu);
    begin(&world, 1, Recording { silence_ms: Some(400), ..recording("silence", Voices::One(LEG)) });
    say(&mut phone, &sound(RATE, 0.3, 1.0));
    let silence = recorded(&world);
    assert_eq!((silence.end, silence.failed.as_ref()), (RecordingEnd::Silence, None));
    assert!((600..2_500).contains(&silence.ms), "{silence:?}");
    begin(&world, 1, Recording { max_ms: Some(500), ..recording("full", Voices::One(LEG)) });
    let full = recorded(&world);
    assert_eq!((full.end, full.ms, full.sound_ms), (RecordingEnd::Full, 500, 0));
    // What has ended is ignored.
    world.order(1, Order::EndRecording { name: "full".into() });
    world.settle(1);
}

#[test]
fn wide_voices_are_recorded_as_opus_in_ogg_and_played_again() {
    let at = TempDir::new().unwrap();
    let world = world(folder(&at));
    let mut opus = world.phone_with(1, 1, Codec::Opus, |_| {});
    let mut narrow = world.phone(1, 2, Codec::Pcma);
    let listener = world.phone(2, 1, Codec::Pcmu);
    let voices = Voices::Stereo(LegId(1), LegId(2));
    begin(&world, 1, Recording { format: Format::OggOpus, ..recording("wide", voices) });
    let said = sound(16_000, 1.0, 1.0);
    let mut encoder = Encoder::new(Codec::Opus, &Default::default()).unwrap();
    let begun = Instant::now();
    for (place, frame) in (0u32..).zip(said.chunks(320)) {
        let mut payload = [0; PAYLOAD_MAX];
        let length = encoder.encode(frame, &mut payload).unwrap();
        opus.send(opus.header, &payload[..length]);
        opus.header.sequence = opus.header.sequence.wrapping_add(1);
        opus.header.timestamp = opus.header.timestamp.wrapping_add(960);
        narrow.say(&[Law::A.silence(); 160]);
        sleep((Duration::from_millis(20) * (place + 1)).saturating_sub(begun.elapsed()));
    }
    let recorded = end(&world, 1, "wide");
    assert_eq!(recorded.name, "wide.opus");
    assert!(recorded.sound_ms >= 900, "{recorded:?}");
    let stored = fs::read(at.path().join("wide.opus")).unwrap();
    assert!(stored.starts_with(b"OggS") && recorded.bytes < 20_000, "{recorded:?}");

    world.order(2, Order::PlayRecording { leg: LEG, play: PlayId(1), name: "wide.opus".into() });
    let heard = decoded(Codec::Pcmu, &listener.hear_many(50));
    let narrow_said = sound(RATE, 1.0, 1.0);
    let likeness = found(&heard, &narrow_said[800..5_600]);
    assert!(likeness.0 > 0.9, "{likeness:?}");
    assert_eq!(told(&world), ended(1, PlayEnd::Finished));
}

#[test]
fn a_recording_is_played_by_its_name_and_an_unknown_one_is_told() {
    let at = TempDir::new().unwrap();
    let world = world(folder(&at));
    let mut phone = world.phone(1, 1, Codec::Pcmu);
    begin(&world, 1, recording("box/1", Voices::One(LEG)));
    let said = sound(RATE, 0.5, 1.0);
    say(&mut phone, &said);
    let recorded = end(&world, 1, "box/1");
    world.order(1, Order::PlayRecording { leg: LEG, play: PlayId(1), name: recorded.name });
    let heard = decoded(Codec::Pcmu, &phone.hear_many(25));
    assert!(found(&heard, &said[400..3_600]).0 > 0.98);
    assert_eq!(told(&world), ended(1, PlayEnd::Finished));
    for (play, name) in [(2, "box/2.wav"), (3, "../secret")] {
        world.order(1, Order::PlayRecording { leg: LEG, play: PlayId(play), name: name.into() });
        assert_eq!(told(&world), ended(play, PlayEnd::UnknownAudio));
    }
}

#[test]
fn what_a_crash_leaves_is_finished_at_the_next_start_with_all_but_two_seconds() {
    let at = TempDir::new().unwrap();
    let world = world(folder(&at));
    let mut phone = world.phone(1, 1, Codec::Pcmu);
    begin(&world, 1, recording("a", Voices::One(LEG)));
    let said = sound(RATE, 3.0, 1.0);
    say(&mut phone, &said);
    // What the disk has at this moment is all that a crash would leave.
    let after = TempDir::new().unwrap();
    fs::create_dir(after.path().join(".drafts")).unwrap();
    fs::copy(at.path().join(".drafts/a.wav.part"), after.path().join(".drafts/a.wav.part")).unwrap();
    let _next = self::world(folder(&after));
    let (channels, _) = channels(&after.path().join("a.wav"));
    assert!(channels[0].len() >= 8_000, "{} samples", channels[0].len());
    assert!(found(&channels[0], &said[..6_000]).0 > 0.98);
    assert_eq!(fs::read_dir(after.path().join(".drafts")).unwrap().count(), 0);
}

/// A store that takes its time, or whose disk is full.
#[derive(Debug)]
struct Bad {
    inner: Folder,
    slow: &'static str,
    full: &'static str,
}

impl Blobs for Bad {
    fn begin(&self, name: &Name) -> Result<Draft, Error> {
        if name.is_below(self.full) {
            return Err(Error::Disk { path: "full".into(), source: std::io::ErrorKind::StorageFull.into() });
        }
        self.inner.begin(name)
    }

    fn unfinished(&self) -> Result<Vec<Name>, Error> {
        self.inner.unfinished()
    }

    fn resume(&self, name: &Name) -> Result<Draft, Error> {
        self.inner.resume(name)
    }

    fn finish(&self, draft: Draft, head: Option<&[u8]>) -> Result<u64, Error> {
        if draft.name().is_below(self.slow) {
            sleep(Duration::from_secs(2));
        }
        self.inner.finish(draft, head)
    }

    fn waiting(&self) -> Result<Vec<Name>, Error> {
        self.inner.waiting()
    }

    fn bring(&self, name: &Name) -> Result<(), Error> {
        self.inner.bring(name)
    }

    fn put(&self, name: &Name, bytes: &[u8]) -> Result<(), Error> {
        self.inner.put(name, bytes)
    }

    fn note(&self, name: &Name, bytes: &[u8]) -> Result<(), Error> {
        self.inner.note(name, bytes)
    }

    fn notes(&self) -> Result<Vec<Name>, Error> {
        self.inner.notes()
    }

    fn noted(&self, name: &Name) -> Result<Vec<u8>, Error> {
        self.inner.noted(name)
    }

    fn drop_note(&self, name: &Name) -> Result<(), Error> {
        self.inner.drop_note(name)
    }

    fn get(&self, name: &Name) -> Result<Box<dyn std::io::Read + Send>, Error> {
        self.inner.get(name)
    }

    fn list(&self, prefix: &str, after: Option<&Name>, limit: usize) -> Result<Vec<Found>, Error> {
        self.inner.list(prefix, after, limit)
    }

    fn delete(&self, name: &Name) -> Result<(), Error> {
        self.inner.delete(name)
    }
}

#[test]
fn a_full_disk_and_a_slow_store_cost_other_calls_nothing() {
    let at = TempDir::new().unwrap();
    let inner = Folder::open(at.path(), None).unwrap();
    let world = world(Arc::new(Bad { inner, slow: "slow", full: "full" }));
    let mut phones = [1, 2, 3].map(|session| world.phone(session, 1, Codec::Pcmu));
    begin(&world, 2, recording("slow/a", Voices::One(LEG)));
    begin(&world, 3, recording("good/a", Voices::One(LEG)));
    world.order(1, Order::BeginRecording(Box::new(recording("full/a", Voices::One(LEG)))));
    let failed = recorded(&world);
    assert_eq!((failed.name.as_str(), failed.bytes), ("full/a.wav", 0));
    assert_eq!(failed.failed.as_deref(), Some("full: no storage space"));
    world.order(2, Order::EndRecording { name: "slow/a".into() });
    let said = sound(RATE, 0.4, 1.0);
    phones.iter_mut().skip(1).for_each(|phone| say(phone, &said));
    assert_eq!(end(&world, 3, "good/a").name, "good/a.wav");
    let (channels, _) = channels(&at.path().join("good/a.wav"));
    assert!(found(&channels[0], &said).0 > 0.98);
    assert_eq!(recorded(&world).name, "slow/a.wav");
}

#[test]
fn what_cannot_be_recorded_is_told_at_once() {
    let at = TempDir::new().unwrap();
    let world = world(folder(&at));
    let _phone = world.phone(1, 1, Codec::Pcmu);
    let told = |name: &str| {
        world.order(1, Order::BeginRecording(Box::new(recording(name, Voices::One(LEG)))));
        recorded(&world).failed.unwrap()
    };
    assert!(told("../escape").contains("`../escape.wav`: a name must be"));
    begin(&world, 1, recording("a", Voices::One(LEG)));
    assert_eq!(told("a"), "a recording of this name runs already");
    end(&world, 1, "a");
    assert_eq!(told("a"), "there is a a.wav already");

    let without = World::new();
    let _phone = without.phone(1, 1, Codec::Pcmu);
    without.order(1, Order::BeginRecording(Box::new(recording("a", Voices::One(LEG)))));
    assert_eq!(recorded(&without).failed.unwrap(), "no store for recordings is configured");
}

#[test]
fn a_recording_ends_with_its_legs_and_is_told() {
    let at = TempDir::new().unwrap();
    let world = world(folder(&at));
    let _phones = [world.phone(1, 1, Codec::Pcmu), world.phone(1, 2, Codec::Pcmu)];
    begin(&world, 1, recording("one", Voices::One(LEG)));
    begin(&world, 1, recording("all", Voices::Mixed));
    let mut told = Vec::new();
    for leg in [1, 2] {
        world.order(1, Order::Release { leg: LegId(leg) });
    }
    while told.len() < 2 {
        if let Event::Recorded(recorded) = world.event() {
            assert_eq!((recorded.end, recorded.failed), (RecordingEnd::Stopped, None));
            told.push(recorded.name);
        }
    }
    told.sort();
    assert_eq!(told, ["all.wav", "one.wav"]);
}
