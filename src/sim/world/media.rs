//! The media server of a made-up world: prompts last as long as their audio, nobody is heard but as a test says.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use model::{
    AudioId, LegId, PlayId, SessionId,
    media::{
        Event, Listening, MediaEvent, MediaOrder, Order, PlayEnd, Recorded, Recording, RecordingEnd, Voices,
    },
    program::spoken,
    snapshot::{AudioSource, Snapshot},
};

/// How long a letter takes to be spoken, and the least that anything does.
const LETTER: Duration = Duration::from_millis(65);
const SPOKEN_MIN: Duration = Duration::from_millis(500);

/// How long tones last, and sounds whose files are elsewhere.
const TONE: Duration = Duration::from_millis(500);
const ELSEWHERE: Duration = Duration::from_secs(5);

/// How long it takes to say something.
pub(crate) fn spoken_time(text: &str) -> Duration {
    let letters = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
    LETTER.saturating_mul(letters).max(SPOKEN_MIN)
}

/// How long each sound of a snapshot lasts; of files, as `known` says.
pub(crate) fn lengths(
    snapshot: &Snapshot,
    known: &BTreeMap<AudioId, Duration>,
) -> BTreeMap<AudioId, Duration> {
    let length = |(id, audio): (&AudioId, &model::snapshot::Audio)| {
        let length = match &audio.source {
            AudioSource::Speech { text, .. } => spoken_time(text),
            AudioSource::Wav { .. } | AudioSource::Remote { .. } => {
                known.get(id).copied().unwrap_or(ELSEWHERE)
            }
        };
        (*id, length)
    };
    snapshot.audio.iter().map(length).collect()
}

/// Something that a leg hears.
#[derive(Debug)]
struct Playing {
    session: SessionId,
    play: PlayId,
    /// Sounds, and when each ends.
    parts: Vec<(AudioId, Instant)>,
    /// Which of them sounds.
    at: usize,
    /// Whether it begins again after the last.
    is_endless: bool,
    /// Whether it is the contact who hears it.
    is_contact: bool,
}

impl Playing {
    /// When the part that sounds ends. None: nothing comes of it, as of the last part of what is endless.
    fn due(&self) -> Option<Instant> {
        let is_last = self.at + 1 >= self.parts.len();
        self.parts.get(self.at).filter(|_| !(is_last && self.is_endless)).map(|(_, end)| *end)
    }
}

/// A sound reached the ears of the contact of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noticed {
    pub session: SessionId,
    pub audio: AudioId,
    /// It began; else it was heard whole. What is endless is as good as whole once it begins.
    pub begins: bool,
}

/// A callee is asked for a key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AskedForKey {
    pub session: SessionId,
    pub leg: LegId,
}

#[derive(Debug)]
struct Recorder {
    session: SessionId,
    recording: Recording,
    since: Instant,
    /// Until when the contact speaks, and for how long it has.
    speech: (Instant, Duration),
}

impl Recorder {
    fn of(&self) -> Option<LegId> {
        if let Voices::One(leg) = self.recording.voices { Some(leg) } else { None }
    }

    /// When it ends by itself, and why.
    fn due(&self) -> Option<(Instant, RecordingEnd)> {
        let after = |ms: Option<u32>, from: Instant| Some(from + Duration::from_millis(u64::from(ms?)));
        let full = after(self.recording.max_ms, self.since).map(|at| (at, RecordingEnd::Full));
        let silent = after(self.recording.silence_ms, self.speech.0).map(|at| (at, RecordingEnd::Silence));
        [full, silent].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

#[derive(Debug)]
pub(crate) struct Media {
    lengths: std::sync::Arc<BTreeMap<AudioId, Duration>>,
    /// Whether sounds can be stored.
    stores: bool,
    port: u16,
    /// The first leg of each session is the contact's.
    contacts: BTreeMap<SessionId, LegId>,
    playing: BTreeMap<LegId, Playing>,
    /// When what plays comes to the end of a part: hundreds may wait and hear music.
    ends: BTreeSet<(Instant, LegId)>,
    listening: BTreeMap<LegId, Listening>,
    recorders: BTreeMap<String, Recorder>,
    bridges: BTreeMap<LegId, LegId>,
    /// What there is to tell the engine, in order.
    pub events: Vec<MediaEvent>,
    pub noticed: Vec<Noticed>,
    pub asked_for_key: Vec<AskedForKey>,
}

impl Media {
    pub fn new(lengths: std::sync::Arc<BTreeMap<AudioId, Duration>>, stores: bool) -> Self {
        Self {
            lengths,
            stores,
            port: 20_000,
            contacts: BTreeMap::new(),
            playing: BTreeMap::new(),
            ends: BTreeSet::new(),
            listening: BTreeMap::new(),
            recorders: BTreeMap::new(),
            bridges: BTreeMap::new(),
            events: Vec::new(),
            noticed: Vec::new(),
            asked_for_key: Vec::new(),
        }
    }

    /// The contact's leg.
    pub fn contact(&self, session: SessionId) -> Option<LegId> {
        self.contacts.get(&session).copied()
    }

    /// Whether somebody is joined to a leg.
    pub fn is_bridged(&self, leg: LegId) -> bool {
        self.bridges.contains_key(&leg)
    }

    /// What a leg is listened to for.
    pub fn listens(&self, leg: LegId) -> Option<&Listening> {
        self.listening.get(&leg)
    }

    /// Whether a message is taken of a leg.
    pub fn takes_message(&self, leg: LegId) -> bool {
        self.recorders.values().any(|recorder| recorder.of() == Some(leg))
    }

    /// Somebody speaks from now on for so long: what barges in stops what plays.
    pub fn speaks(&mut self, now: Instant, leg: LegId, length: Duration) {
        for recorder in self.recorders.values_mut().filter(|recorder| recorder.of() == Some(leg)) {
            recorder.speech = (now + length, recorder.speech.1 + length);
        }
        if self.listening.get(&leg).is_some_and(|listening| listening.barge_in) {
            self.stop(leg, PlayEnd::Stopped);
        }
    }

    /// The place of a phrase among those that are listened for.
    pub fn phrase(&self, leg: LegId, words: &str) -> Option<u16> {
        let phrases = &self.listening.get(&leg)?.phrases;
        let place = phrases.iter().position(|phrase| spoken(phrase) == spoken(words))?;
        u16::try_from(place).ok()
    }

    /// A key came: it ends a message that says so.
    pub fn key(&mut self, now: Instant, leg: LegId, key: char) {
        let ends =
            |recorder: &Recorder| recorder.of() == Some(leg) && recorder.recording.stop_keys.contains(key);
        let names = self.recorders.iter().filter(|(_, recorder)| ends(recorder));
        let names: Vec<String> = names.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.end_recording(now, &name, RecordingEnd::Key(key));
        }
    }

    /// When something ends by itself.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let plays = self.ends.first().map(|(at, _)| *at).into_iter();
        let recordings = self.recorders.values().filter_map(|recorder| recorder.due().map(|(at, _)| at));
        plays.chain(recordings).min()
    }

    /// Ends what is due, in the order of its times.
    pub fn timeout(&mut self, now: Instant) {
        while let Some((at, leg)) = self.ends.first().copied()
            && at <= now
        {
            self.ends.pop_first();
            self.play_on(now, leg);
        }
        let ended = self.recorders.iter().filter_map(|(name, one)| {
            let (at, how) = one.due()?;
            (at <= now).then(|| (name.clone(), how))
        });
        for (name, how) in ended.collect::<Vec<_>>() {
            self.end_recording(now, &name, how);
        }
    }

    fn play_on(&mut self, now: Instant, leg: LegId) {
        let Some(playing) = self.playing.get_mut(&leg) else { return };
        let is_contact = playing.is_contact;
        while let Some((audio, end)) = playing.parts.get(playing.at).copied()
            && end <= now
        {
            playing.at += 1;
            if is_contact && !playing.is_endless {
                self.noticed.push(Noticed { session: playing.session, audio, begins: false });
            }
            if let Some((next, _)) = playing.parts.get(playing.at).filter(|_| is_contact) {
                let begun = Noticed { session: playing.session, audio: *next, begins: true };
                self.noticed.push(begun);
                if playing.is_endless {
                    self.noticed.push(Noticed { begins: false, ..begun });
                }
            }
        }
        let is_over = playing.at >= playing.parts.len() && !playing.is_endless;
        self.ends.extend(playing.due().map(|end| (end, leg)));
        if is_over {
            self.stop(leg, PlayEnd::Finished);
        }
    }

    fn stop(&mut self, leg: LegId, how: PlayEnd) {
        if let Some(playing) = self.playing.remove(&leg) {
            if let Some(end) = playing.due() {
                self.ends.remove(&(end, leg));
            }
            let Playing { session, play, .. } = playing;
            self.tell(session, Event::PlayEnded { leg, play, how });
        }
    }

    fn tell(&mut self, session: SessionId, event: Event) {
        self.events.push(MediaEvent { session, event });
    }

    fn play(&mut self, now: Instant, leg: LegId, (session, play): (SessionId, PlayId), sounds: Sounds) {
        self.stop(leg, PlayEnd::Stopped);
        let Sounds { audio, is_endless } = sounds;
        let mut end = now;
        let parts = audio.into_iter().map(|(audio, length)| {
            end += length;
            (audio, end)
        });
        let parts: Vec<_> = parts.collect();
        let is_contact = self.contacts.get(&session) == Some(&leg);
        if let Some((first, _)) = parts.first().filter(|_| is_contact) {
            self.noticed.push(Noticed { session, audio: *first, begins: true });
            if is_endless {
                self.noticed.push(Noticed { session, audio: *first, begins: false });
            }
        }
        let is_empty = parts.is_empty();
        let playing = Playing { session, play, parts, at: 0, is_endless, is_contact };
        self.ends.extend(playing.due().map(|end| (end, leg)));
        self.playing.insert(leg, playing);
        if is_empty && !is_endless {
            self.stop(leg, PlayEnd::Finished);
        }
    }

    fn end_recording(&mut self, now: Instant, name: &str, end: RecordingEnd) {
        let Some(Recorder { session, recording, since, speech, .. }) = self.recorders.remove(name) else {
            return;
        };
        let length = now.saturating_duration_since(since);
        // Whoever hangs up while speaking has not said all.
        let unsaid = speech.0.saturating_duration_since(now);
        let sound = match recording.voices {
            Voices::One(_) => speech.1.saturating_sub(unsaid).min(length),
            Voices::Stereo(..) | Voices::Mixed => length,
        };
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let recorded = Recorded {
            name: format!("{name}.wav"),
            end,
            ms: ms(length),
            sound_ms: ms(sound),
            bytes: ms(length).saturating_mul(16),
            failed: (!self.stores).then(|| "the test's `store` fails".to_owned()),
        };
        self.tell(session, Event::Recorded(Box::new(recorded)));
    }

    fn begin_recording(&mut self, now: Instant, session: SessionId, recording: Recording) {
        let name = recording.name.clone();
        let recorder = Recorder { session, recording, since: now, speech: (now, Duration::ZERO) };
        self.recorders.insert(name.clone(), recorder);
        if !self.stores {
            self.end_recording(now, &name, RecordingEnd::Stopped);
        }
    }

    fn part(&mut self, leg: LegId) {
        if let Some(other) = self.bridges.remove(&leg) {
            self.bridges.remove(&other);
        }
    }

    fn sounds(&self, audio: Vec<AudioId>, times: Option<u16>) -> Sounds {
        let length = |audio: AudioId| (audio, self.lengths.get(&audio).copied().unwrap_or(TONE));
        let once: Vec<_> = audio.into_iter().map(length).collect();
        let audio = match times {
            None | Some(1) => once,
            Some(times) => once.repeat(usize::from(times)),
        };
        Sounds { audio, is_endless: times.is_none() }
    }

    /// Carries an order out; what comes of it is in `events`.
    pub fn take(&mut self, now: Instant, MediaOrder { session, order }: MediaOrder) {
        match order {
            Order::Allocate { leg, .. } => {
                self.contacts.entry(session).or_insert(leg);
                // Nobody looks whether two have one.
                self.port = if self.port >= 60_000 { 20_000 } else { self.port + 2 };
                let (address, rtp_port) = (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 250)), self.port);
                self.tell(session, Event::Allocated { leg, address, rtp_port, fingerprint: None });
            }
            Order::Play { leg, play, audio, times } => {
                let sounds = self.sounds(audio, times);
                self.play(now, leg, (session, play), sounds);
            }
            Order::Say { leg, play, text, .. } => {
                let length = spoken_time(&text);
                self.play(now, leg, (session, play), Sounds::silent(length));
                if self.contact(session) != Some(leg) {
                    self.asked_for_key.push(AskedForKey { session, leg });
                }
            }
            Order::PlayRecording { leg, play, .. } => {
                self.play(now, leg, (session, play), Sounds::silent(ELSEWHERE));
            }
            Order::StopPlay { leg } => self.stop(leg, PlayEnd::Stopped),
            Order::Bridge { a, b } => {
                for leg in [a, b] {
                    self.part(leg);
                    self.stop(leg, PlayEnd::Stopped);
                }
                self.bridges.extend([(a, b), (b, a)]);
            }
            Order::Unbridge { leg } => self.part(leg),
            Order::Release { leg } => self.release(now, session, leg),
            Order::BeginRecording(recording) => self.begin_recording(now, session, *recording),
            Order::EndRecording { name } => self.end_recording(now, &name, RecordingEnd::Stopped),
            Order::Listen { leg, listening } => {
                self.listening.insert(leg, *listening);
            }
            Order::StopListening { leg } => {
                self.listening.remove(&leg);
            }
            Order::SendDtmf { leg, .. } => self.tell(session, Event::DtmfSent { leg }),
            Order::Configure { .. }
            | Order::Extend { .. }
            | Order::Record { .. }
            | Order::Mix(_)
            | Order::Mute { .. }
            | Order::PauseRecording { .. }
            | Order::ForgetRecording { .. }
            | Order::Fork { .. } => {}
        }
    }

    fn release(&mut self, now: Instant, session: SessionId, leg: LegId) {
        self.stop(leg, PlayEnd::Stopped);
        self.part(leg);
        self.listening.remove(&leg);
        let of = |recorder: &Recorder| match recorder.recording.voices {
            Voices::One(one) => one == leg,
            Voices::Stereo(left, right) => left == leg || right == leg,
            Voices::Mixed => false,
        };
        let names = self.recorders.iter().filter(|(_, recorder)| of(recorder));
        let names: Vec<String> = names.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.end_recording(now, &name, RecordingEnd::Stopped);
        }
        self.tell(session, Event::Released { leg, quality: Box::default() });
    }
}

/// What is played, and how long each part lasts.
struct Sounds {
    audio: Vec<(AudioId, Duration)>,
    is_endless: bool,
}

impl Sounds {
    /// What is no prompt.
    fn silent(length: Duration) -> Self {
        Self { audio: vec![(AudioId([0; 32]), length)], is_endless: false }
    }
}
