//! Prompts, decoded once when they are loaded: nothing is computed while they play.
//!
//! Files are resampled to 8 kHz and encoded by both laws; what [`crate::coded`] adds for other codecs is made when it is first
//! wanted. Text is spoken by the program `espeak-ng`, as a process
//! of its own (its licence does not allow linking), which writes a WAV file in turn.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    num::NonZero,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use model::{
    AudioId,
    media::{BEEP_TONE, Codec, RINGING_TONE, Tone, UNOBTAINABLE_TONE, tone_of},
};
use rtp::{
    CLOCK_RATE,
    g711::Law,
    resample,
    tones::{self, Signal},
};

use crate::{
    coded::{Form, Forms},
    sources::{self, Sound},
    speech,
};

/// Octets of a file at most: 50 MB.
pub const SOURCE_BYTES_MAX: usize = 50_000_000;
/// Length of a prompt at most, in seconds: 60 minutes.
pub const PROMPT_SECONDS_MAX: u64 = 3_600;

/// All prompts, each as 8 kHz PCM and encoded by both laws. Cheap to clone: the sound is shared.
#[derive(Debug, Clone, Default)]
pub struct Library {
    prompts: BTreeMap<AudioId, Arc<Prompt>>,
    unplayable: usize,
}

/// Where a prompt's sound comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AudioSource {
    /// Bytes of a file, mono or stereo, 8 to 96 kHz: WAV (PCM of 8, 16, 24 or 32 bits, 32-bit float, or G.711), Opus in Ogg, or
    /// MP3. What it is, its beginning says.
    Wav(Arc<[u8]>),
    /// Text, spoken by `espeak-ng`.
    Speech {
        /// What is said; at most 10,000 characters.
        text: String,
        /// Language tag or name of an espeak-ng voice, such as `en-US`.
        language: String,
    },
}

/// A prompt that cannot be played, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct LoadError {
    /// The prompt.
    pub audio: AudioId,
    /// Why.
    pub kind: LoadErrorKind,
}

/// Why a prompt cannot be played. Each says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadErrorKind {
    /// Too many octets.
    #[error("the file has {0} bytes; at most 50 MB are allowed")]
    TooLarge(usize),
    /// Lasts too long.
    #[error("the sound lasts {0} seconds; at most 60 minutes are allowed")]
    TooLong(u64),
    /// No samples.
    #[error("the sound is empty")]
    Empty,
    /// Not a WAV file, or a broken one.
    #[error(
        "not a WAV file that can be read: {0}; it must hold PCM of 8, 16, 24 or 32 bits, 32-bit float, or G.711 (Opus in Ogg and MP3 are taken, too)"
    )]
    NotWav(String),
    /// An Ogg file without Opus, or a broken one.
    #[error("not an Ogg file with Opus that can be read: {0}")]
    NotOpus(String),
    /// Not an MP3 file, or a broken one.
    #[error("not an MP3 file that can be read: {0}")]
    NotMp3(String),
    /// Neither mono nor stereo.
    #[error("the file has {0} channels; it must be mono or stereo")]
    Channels(u16),
    /// A rate that cannot be converted.
    #[error("the file has a sample rate of {0} Hz; it must be 8000 to 96000 Hz")]
    Rate(u32),
    /// Text that is empty or too long.
    #[error("the text has {0} characters; it must have 1 to 10000")]
    TextLength(usize),
    /// The program is not there.
    #[error(
        "cannot speak text: the program `espeak-ng` was not found; install the package espeak-ng, or give the prompt as a WAV file"
    )]
    NoSpeaker,
    /// The program has failed.
    #[error("cannot speak text: `espeak-ng` says: {0}")]
    Speaker(String),
    /// The program has not ended in time.
    #[error("cannot speak text: `espeak-ng` did not end within 30 seconds")]
    SpeakerTimeout,
}

impl LoadErrorKind {
    /// Whether this one prompt is at fault, and not what would speak all of them.
    #[must_use]
    pub const fn is_of_the_file(&self) -> bool {
        !matches!(self, Self::NoSpeaker | Self::Speaker(_) | Self::SpeakerTimeout)
    }
}

/// One prompt, ready to be sent.
pub struct Prompt {
    pcm: Box<[i16]>,
    mu: Box<[u8]>,
    a: Box<[u8]>,
    forms: Forms,
}

impl Library {
    /// Decodes what is wanted, on all cores. What `last` has already is taken from it, since an [`AudioId`] is a
    /// hash of the sound's source.
    ///
    /// # Errors
    /// One [`LoadError`] per prompt that cannot be played, in the order of their ids.
    pub fn load(
        wanted: &BTreeMap<AudioId, AudioSource>,
        last: Option<&Self>,
    ) -> Result<Self, Vec<LoadError>> {
        match Self::load_most(wanted, last) {
            (library, errors) if errors.is_empty() => Ok(library),
            (_, errors) => Err(errors),
        }
    }

    /// As [`Library::load`], without those that cannot be played: of each an error, in the order of their ids.
    #[must_use]
    pub fn load_most(wanted: &BTreeMap<AudioId, AudioSource>, last: Option<&Self>) -> (Self, Vec<LoadError>) {
        let known = |audio: &AudioId| last.and_then(|last| last.prompts.get(audio).cloned());
        let mut prompts: BTreeMap<_, _> =
            wanted.keys().filter_map(|&audio| Some((audio, known(&audio)?))).collect();
        let missing: Vec<_> = wanted.iter().filter(|(audio, _)| !prompts.contains_key(audio)).collect();
        let mut errors = Vec::new();
        for (audio, result) in load_all(&missing) {
            match result {
                Ok(prompt) => _ = prompts.insert(audio, Arc::new(prompt)),
                Err(kind) => errors.push(LoadError { audio, kind }),
            }
        }
        errors.sort_by_key(|error| error.audio);
        (Self { prompts, unplayable: errors.len() }, errors)
    }

    /// All but these.
    #[must_use]
    pub fn without(&self, audio: &BTreeSet<AudioId>) -> Self {
        let others = self.prompts.iter().filter(|(id, _)| !audio.contains(id));
        let prompts = others.map(|(id, prompt)| (*id, Arc::clone(prompt))).collect();
        Self { prompts, unplayable: self.unplayable }
    }

    /// How many prompts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.prompts.len()
    }

    /// How many were wanted and cannot be played.
    #[must_use]
    pub const fn unplayable(&self) -> usize {
        self.unplayable
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prompts.is_empty()
    }

    /// A prompt, or one of the tones, which are always there.
    #[must_use]
    pub fn get(&self, audio: &AudioId) -> Option<Arc<Prompt>> {
        static BEEP: LazyLock<Arc<Prompt>> = LazyLock::new(|| Arc::new(Prompt::new(beep_tone())));
        match *audio {
            BEEP_TONE => Some(Arc::clone(&BEEP)),
            RINGING_TONE => Some(national(Signal::Ringback, "US")),
            UNOBTAINABLE_TONE => Some(national(Signal::SpecialInformation, "US")),
            _ => match tone_of(audio) {
                Some((tone, country)) => {
                    Some(national(signal(tone), str::from_utf8(&country).unwrap_or_default()))
                }
                None => self.prompts.get(audio).cloned(),
            },
        }
    }
}

/// Whether a prompt is a tone, which is no music.
pub fn is_tone(audio: &AudioId) -> bool {
    [RINGING_TONE, UNOBTAINABLE_TONE, BEEP_TONE].contains(audio) || tone_of(audio).is_some()
}

const fn signal(tone: Tone) -> Signal {
    match tone {
        Tone::Ringback => Signal::Ringback,
        Tone::Busy => Signal::Busy,
        Tone::Congestion => Signal::Congestion,
        Tone::SpecialInformation => Signal::SpecialInformation,
    }
}

/// One round of a tone, made when it is first wanted. Of each cadence there is one: at most those of `rtp`'s table are kept.
fn national(signal: Signal, country: &str) -> Arc<Prompt> {
    type Made = BTreeMap<(Signal, [u8; 2]), Arc<Prompt>>;
    static MADE: Mutex<Made> = Mutex::new(BTreeMap::new());
    let known = tones::is_known(country);
    let key = country.as_bytes().try_into().ok().filter(|_| known).unwrap_or_default();
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let tone = made.entry((signal, key)).or_insert_with(|| {
        let cadence = tones::cadence(country, signal);
        let milliseconds: usize = cadence.iter().map(|sound| usize::from(sound.duration_ms)).sum();
        let mut pcm = vec![0; milliseconds * (CLOCK_RATE as usize / 1_000)];
        tones::Player::new(cadence, CLOCK_RATE).fill(&mut pcm);
        Arc::new(Prompt::new(pcm))
    });
    Arc::clone(tone)
}

/// Half a second at 8 kHz, at −13 dBm0, without a click at either end.
fn beep_tone() -> Vec<i16> {
    const AMPLITUDE: f64 = 5_100.0;
    const RAMP: f64 = 80.0;
    let sample = |place: u32| {
        let loudness = f64::from(place.min(3_999 - place)) / RAMP;
        let tone = (f64::from(place) / 8_000.0 * 1_000.0 * std::f64::consts::TAU).sin();
        (AMPLITUDE * loudness.min(1.0) * tone) as i16
    };
    (0..4_000).map(sample).collect()
}

impl Prompt {
    /// Its samples at 8 kHz.
    #[must_use]
    pub fn pcm(&self) -> &[i16] {
        &self.pcm
    }

    /// Its packets in other codecs.
    pub(crate) const fn forms(&self) -> &Forms {
        &self.forms
    }

    /// Makes its packets in another codec.
    pub(crate) fn make(&self, form: Form) {
        self.forms.make(form, &self.pcm);
    }

    /// Encoded, one octet per sample.
    #[must_use]
    pub fn encoded(&self, codec: Codec) -> &[u8] {
        match codec {
            Codec::Pcma => &self.a,
            Codec::Pcmu | Codec::G722 | Codec::Opus | Codec::G729 => &self.mu,
        }
    }

    fn new(pcm: Vec<i16>) -> Self {
        let encoded = |law: Law| pcm.iter().map(|&sample| law.encode(sample)).collect();
        Self { mu: encoded(Law::Mu), a: encoded(Law::A), pcm: pcm.into(), forms: Forms::default() }
    }
}

impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prompt({} samples)", self.pcm.len())
    }
}

type Loaded = (AudioId, Result<Prompt, LoadErrorKind>);

fn load_all(missing: &[(&AudioId, &AudioSource)]) -> Vec<Loaded> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(missing.len());
    let (next, loaded) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((audio, source)) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let prompt = load_one(source);
                    loaded.lock().unwrap_or_else(PoisonError::into_inner).push((**audio, prompt));
                }
            });
        }
    });
    loaded.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn load_one(source: &AudioSource) -> Result<Prompt, LoadErrorKind> {
    match source {
        AudioSource::Wav(bytes) => decode(bytes),
        AudioSource::Speech { text, language } => decode(&speech::speak(speech::PROGRAM, text, language)?),
    }
}

/// Decodes a file.
///
/// # Errors
/// The kinds of [`LoadErrorKind`] that concern files.
pub fn decode(bytes: &[u8]) -> Result<Prompt, LoadErrorKind> {
    let Sound { samples, rate } = sources::decode(bytes)?;
    let pcm = resample::to_8k(&samples, rate).map_err(|error| LoadErrorKind::Rate(error.0))?;
    if pcm.is_empty() { Err(LoadErrorKind::Empty) } else { Ok(Prompt::new(pcm)) }
}

const _: () = assert!(CLOCK_RATE == 8_000, "resample::to_8k makes this rate");

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use hound::{SampleFormat, WavSpec};
    use model::media::national_tone;
    use proptest::prelude::*;

    use super::*;

    fn wav(spec: WavSpec, seconds: f64) -> Arc<[u8]> {
        let mut file = Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
        for at in 0..(seconds * f64::from(spec.sample_rate)) as u32 {
            let sound =
                (f64::from(at) * 440.0 * std::f64::consts::TAU / f64::from(spec.sample_rate)).sin() / 2.0;
            for _ in 0..spec.channels {
                match spec.sample_format {
                    SampleFormat::Float => writer.write_sample(sound as f32).unwrap(),
                    SampleFormat::Int => {
                        let scale = (1u64 << (spec.bits_per_sample - 1)) as f64;
                        writer.write_sample((sound * scale) as i32).unwrap();
                    }
                }
            }
        }
        writer.finalize().unwrap();
        file.into_inner().into()
    }

    fn spec(channels: u16, sample_rate: u32, bits_per_sample: u16, sample_format: SampleFormat) -> WavSpec {
        WavSpec { channels, sample_rate, bits_per_sample, sample_format }
    }

    fn load(source: AudioSource) -> Result<Library, LoadErrorKind> {
        let wanted = BTreeMap::from([(AudioId([1; 32]), source)]);
        Library::load(&wanted, None).map_err(|mut errors| errors.remove(0).kind)
    }

    #[test]
    fn every_form_of_wav_becomes_the_same_sound() {
        use SampleFormat::{Float, Int};
        let reference = load(AudioSource::Wav(wav(spec(1, 8_000, 16, Int), 0.5))).unwrap();
        let reference = reference.get(&AudioId([1; 32])).unwrap().pcm().to_vec();
        for (channels, rate, bits, format) in [
            (1, 8_000, 8, Int),
            (2, 8_000, 16, Int),
            (1, 16_000, 24, Int),
            (2, 44_100, 16, Int),
            (1, 48_000, 32, Int),
            (2, 48_000, 32, Float),
            (1, 96_000, 16, Int),
        ] {
            let library = load(AudioSource::Wav(wav(spec(channels, rate, bits, format), 0.5))).unwrap();
            let prompt = library.get(&AudioId([1; 32])).unwrap();
            assert_eq!(prompt.pcm().len(), 4_000);
            for (&sample, &expected) in prompt.pcm().iter().zip(&reference).skip(300).take(3_400) {
                let difference = i32::from(sample) - i32::from(expected);
                assert!(difference.abs() < 350, "{channels} {rate} {bits}: {difference}");
            }
            assert_eq!(prompt.encoded(Codec::Pcmu)[1_000], Law::Mu.encode(prompt.pcm()[1_000]));
            assert_eq!(prompt.encoded(Codec::Pcma)[1_000], Law::A.encode(prompt.pcm()[1_000]));
        }
    }

    /// A WAV file of format 6 or 7, with a chunk that nobody needs before its sound.
    fn law_wav(tag: u8, channels: u8, octets: &[u8]) -> Arc<[u8]> {
        let mut file = b"RIFF\0\0\0\0WAVEfmt \x12\0\0\0".to_vec();
        file.extend([tag, 0, channels, 0, 0x40, 0x1f, 0, 0, 0x40, 0x1f, 0, 0, channels, 0, 8, 0, 0, 0]);
        file.extend(*b"fact\x03\0\0\0abc\0data");
        file.extend((octets.len() as u32).to_le_bytes());
        file.extend(octets);
        file.into()
    }

    #[test]
    fn g711_in_wav_opus_in_ogg_and_mp3_become_the_same_sound() {
        let reference = wav(spec(1, 8_000, 16, SampleFormat::Int), 0.5);
        let reference = load(AudioSource::Wav(reference)).unwrap();
        let reference = reference.get(&AudioId([1; 32])).unwrap().pcm().to_vec();
        let octets = |law: Law| reference.iter().map(|&sample| law.encode(sample)).collect::<Vec<_>>();
        let both: Vec<u8> = octets(Law::Mu).into_iter().flat_map(|octet| [octet, octet]).collect();
        let files = [
            ("μ-law", law_wav(7, 1, &octets(Law::Mu))),
            ("A-law", law_wav(6, 1, &octets(Law::A))),
            ("μ-law of two channels", law_wav(7, 2, &both)),
            ("MP3", include_bytes!("tests/media/440hz.mp3")[..].into()),
            ("Opus", include_bytes!("tests/media/440hz.opus")[..].into()),
        ];
        for (what, file) in files {
            let library = load(AudioSource::Wav(file)).unwrap();
            let prompt = library.get(&AudioId([1; 32])).unwrap();
            let pcm = prompt.pcm();
            // An MP3 file has silence around its sound.
            assert!((4_000..6_000).contains(&pcm.len()), "{what}: {} samples", pcm.len());
            let at = pcm.iter().position(|sample| sample.abs() > 3_000).unwrap();
            let alike = |from: usize| {
                let pair = pcm[from..].iter().zip(&reference[400..3_000]);
                let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
                for (&a, &b) in pair {
                    let (a, b) = (f64::from(a), f64::from(b));
                    (ab, aa, bb) = (ab + a * b, aa + a * a, bb + b * b);
                }
                ab / f64::sqrt(aa * bb) * (aa / bb).min(bb / aa).sqrt()
            };
            let best = (at + 300..at + 600).map(alike).fold(0.0, f64::max);
            assert!(best > 0.93, "{what}: {best}");
        }
    }

    #[test]
    fn broken_ogg_and_mp3_files_say_so() {
        let opus = include_bytes!("tests/media/440hz.opus");
        let mp3 = include_bytes!("tests/media/440hz.mp3");
        for (bytes, message) in [
            (&opus[..opus.len() - 9], "the Ogg file is cut or damaged"),
            (&b"OggS and then nothing"[..], "not an Ogg file with Opus that can be read"),
            (&mp3[..20], "not an MP3 file that can be read"),
            (&b"ID3 and then nothing of any use"[..], "not an MP3 file that can be read"),
        ] {
            let error = load(AudioSource::Wav(bytes.into())).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_played_is_refused_with_its_reason() {
        use SampleFormat::Int;
        let good = wav(spec(1, 8_000, 16, Int), 0.1);
        let mut law = good.to_vec();
        law[20] = 2;
        let table: [(&str, Arc<[u8]>, &str); 8] = [
            ("rubbish", b"no sound at all"[..].into(), "not a WAV file"),
            ("empty file", [][..].into(), "not a WAV file"),
            ("cut off", good[..200].into(), "it ends too soon"),
            ("no samples", wav(spec(1, 8_000, 16, Int), 0.0), "the sound is empty"),
            ("six channels", wav(spec(6, 8_000, 16, Int), 0.1), "6 channels; it must be mono or stereo"),
            ("slow", wav(spec(1, 4_000, 16, Int), 0.1), "4000 Hz; it must be 8000 to 96000 Hz"),
            ("too long", wav(spec(1, 8_000, 8, Int), 3_602.0), "at most 60 minutes"),
            ("ADPCM", law.into(), "its encoding is neither PCM nor G.711"),
        ];
        for (what, bytes, message) in table {
            let error = load(AudioSource::Wav(bytes)).unwrap_err().to_string();
            assert!(error.contains(message), "{what}: {error}");
        }
        let large = load(AudioSource::Wav(vec![0; SOURCE_BYTES_MAX + 1].into())).unwrap_err();
        assert_eq!(large, LoadErrorKind::TooLarge(SOURCE_BYTES_MAX + 1));
    }

    #[test]
    fn every_bad_prompt_is_named_and_a_known_one_is_not_decoded_again() {
        let good = AudioSource::Wav(wav(spec(1, 8_000, 16, SampleFormat::Int), 0.1));
        let bad = AudioSource::Wav([][..].into());
        let id = |byte| AudioId([byte; 32]);
        let wanted = BTreeMap::from([(id(1), bad.clone()), (id(2), good.clone()), (id(3), bad.clone())]);
        let errors = Library::load(&wanted, None).unwrap_err();
        assert_eq!(errors.iter().map(|error| error.audio).collect::<Vec<_>>(), [id(1), id(3)]);

        let first = Library::load(&BTreeMap::from([(id(2), good)]), None).unwrap();
        // Its source is not looked at, being known.
        let second = Library::load(&BTreeMap::from([(id(2), bad)]), Some(&first)).unwrap();
        assert!(Arc::ptr_eq(&first.get(&id(2)).unwrap(), &second.get(&id(2)).unwrap()));
        assert_eq!((second.len(), Library::default().is_empty()), (1, true));
    }

    #[test]
    fn tones_are_those_of_the_country_and_one_round_long() {
        let library = Library::default();
        for (tone, country, milliseconds) in [
            (Tone::Ringback, "GB", 3_000),
            (Tone::Ringback, "de", 5_000),
            (Tone::Busy, "US", 1_000),
            (Tone::Congestion, "BR", 1_500),
            (Tone::SpecialInformation, "AU", 3_000),
            // E.180's recommendation.
            (Tone::Ringback, "AQ", 5_000),
            (Tone::Ringback, "", 5_000),
        ] {
            let audio = national_tone(tone, country);
            assert!(is_tone(&audio));
            let prompt = library.get(&audio).unwrap();
            assert_eq!(prompt.pcm().len(), milliseconds * 8, "{tone:?} {country}");
            assert!(Arc::ptr_eq(&prompt, &library.get(&audio).unwrap()));
        }
        let recommended = |country| library.get(&national_tone(Tone::Busy, country)).unwrap();
        assert!(Arc::ptr_eq(&recommended("AQ"), &recommended("a country")));
        assert_eq!(library.get(&RINGING_TONE).unwrap().pcm().len(), 48_000);
        assert_eq!(library.get(&UNOBTAINABLE_TONE).unwrap().pcm().len(), 15_920);
        assert!(!is_tone(&AudioId([1; 32])) && library.get(&AudioId([1; 32])).is_none());
    }

    proptest! {
        #[test]
        fn any_damage_to_a_wav_file_is_answered(changes in prop::collection::vec((0usize..60, any::<u8>()), 1..6), cut in 0usize..300) {
            let mut bytes = wav(spec(2, 8_000, 16, SampleFormat::Int), 0.05).to_vec();
            for (place, byte) in changes {
                bytes[place] = byte;
            }
            bytes.truncate(bytes.len() - cut);
            let _ = decode(&bytes);
        }

        #[test]
        fn any_damage_to_an_mp3_or_ogg_file_is_answered(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), ogg: bool) {
            let whole: &[u8] = if ogg { include_bytes!("tests/media/440hz.opus") } else { include_bytes!("tests/media/440hz.mp3") };
            let mut bytes = whole.to_vec();
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            let _ = decode(&bytes);
        }
    }
}
