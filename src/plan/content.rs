//! Prompts and BusinessHours: read, checked, and brought into the form of a snapshot.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::v1alpha1 as v1;
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::civil;
use model::{
    AudioId, IntegrationId, Key, PromptId,
    snapshot::{Audio, AudioSource, BusinessHours, Speech, SpeechRecogniser, SpeechVoice},
};
use sha2::{Digest, Sha256};

use crate::{
    platform::time_zone,
    problem::Reason,
    resources::{Foreign, Report},
    schema, words,
    world::{Item, ResolvedPrompt, World},
};

/// Largest audio file, in bytes: half an hour at 8 kHz.
pub const AUDIO_MAX: usize = 32 * 1024 * 1024;

/// Longest audio, in seconds: what media servers take.
const SECONDS_MAX: u64 = 3_600;

/// Rates at which a prompt may be sampled, in Hz.
const RATES: std::ops::RangeInclusive<u32> = 8_000..=48_000;

/// Where audio may be found.
pub(crate) struct Files<'a> {
    /// Beside the manifests, by their paths.
    pub beside: &'a BTreeMap<String, Arc<[u8]>>,
    /// ConfigMaps among others.
    pub others: &'a [Foreign],
}

/// Where a prompt, or a translation of one, says its audio is.
struct Named<'a> {
    at: String,
    text: Option<(&'a str, &'a str)>,
    file: Option<&'a String>,
    map: Option<&'a v1::ConfigMapKeyRef>,
    remote: Option<&'a v1::Remote>,
}

/// The audio of a prompt, if it is there and sound, in all languages.
pub(crate) fn prompt(
    item: &Item<v1::PromptSpec>,
    files: &Files<'_>,
    world: &World,
    report: &mut Report,
) -> Option<ResolvedPrompt> {
    let spec = &item.spec;
    let voice = world.tenants.get(item.namespace()).and_then(speech).and_then(|own| own.voice);
    let own = Named {
        at: "spec".to_owned(),
        text: spec.text.as_ref().map(|speech| (speech.text.as_str(), speech.language.as_str())),
        file: spec.file.as_ref(),
        map: spec.config_map_ref.as_ref(),
        remote: spec.remote.as_ref(),
    };
    let own = audio(item, &own, (files, voice.as_ref()), report);
    let mut translations = BTreeMap::new();
    for (index, translation) in spec.translations.iter().enumerate() {
        let named = Named {
            at: format!("spec.translations[{index}]"),
            text: translation.text.as_ref().map(|text| (text.as_str(), translation.language.as_str())),
            file: translation.file.as_ref(),
            map: None,
            remote: translation.remote.as_ref(),
        };
        translations
            .insert(translation.language.clone(), audio(item, &named, (files, voice.as_ref()), report));
    }
    let whole = translations.into_iter().map(|(language, audio)| Some((language, audio?)));
    Some(ResolvedPrompt { translations: whole.collect::<Option<_>>()?, ..own? })
}

fn audio(
    item: &Item<v1::PromptSpec>,
    named: &Named<'_>,
    (files, voice): (&Files<'_>, Option<&SpeechVoice>),
    report: &mut Report,
) -> Option<ResolvedPrompt> {
    let (prompt, translations) = (PromptId(item.id.key.clone()), BTreeMap::new());
    if let Some((text, language)) = named.text {
        let mut content = format!("speech\0{language}\0{text}");
        // Said by another voice it is another sound.
        if let Some(SpeechVoice { integration, model, voice }) = voice {
            content.push_str(&format!("\0{}\0{model}\0{voice}", integration.0));
        }
        let source = AudioSource::Speech { text: text.to_owned(), language: language.to_owned() };
        let audio = Audio { prompt, source };
        return Some(ResolvedPrompt { id: digest(content.as_bytes()), audio, blob: None, translations });
    }
    if let Some(v1::Remote { url, sha256 }) = named.remote {
        // The schema has told of what is no SHA-256.
        let (id, source) = (sha256.parse().ok()?, AudioSource::Remote { url: url.clone() });
        return Some(ResolvedPrompt { id, audio: Audio { prompt, source }, blob: None, translations });
    }
    let (origin, field, blob) = match (named.file, named.map) {
        (Some(file), _) => {
            let file = Some(file).filter(|file| schema::matches(v1::PROMPT_FILE, file))?;
            let field = format!("{}.file", named.at);
            let (origin, blob) = beside(item, file, files.beside, &field, report)?;
            (origin, field, blob)
        }
        (None, Some(map)) => {
            let field = format!("{}.configMapRef", named.at);
            let blob = in_map(item, map, files.others, &field, report)?;
            (format!("ConfigMap {}/{}: {}", item.namespace(), map.name, map.key), field, blob)
        }
        (None, None) => return None,
    };
    if let Err(fault) = sound(&blob) {
        let message = format!(
            "`{origin}` {fault}; save it as a WAV file with PCM of 8 to 32 bits, 32-bit float or G.711, mono or stereo, 8 to 48 kHz, as Opus in Ogg, or as MP3."
        );
        item.error(report, &field, Reason::InvalidAudio, message);
        return None;
    }
    let audio = Audio { prompt, source: AudioSource::Wav { origin } };
    Some(ResolvedPrompt { id: digest(&blob), audio, blob: Some(blob), translations })
}

/// A file from the manifest's folder.
fn beside(
    item: &Item<v1::PromptSpec>,
    file: &str,
    files: &BTreeMap<String, Arc<[u8]>>,
    field: &str,
    report: &mut Report,
) -> Option<(String, Arc<[u8]>)> {
    let folder = item.source.as_ref().map_or("", |source| source.folder());
    let origin = format!("{folder}{file}");
    let Some(blob) = files.get(&origin) else {
        let hint = words::did_you_mean(&origin, files.keys().map(String::as_str));
        let message = format!(
            "There is no file `{origin}`; put it there or correct the path, which counts from this manifest's folder{hint}"
        );
        item.error(report, field, Reason::FileNotFound, message);
        return None;
    };
    Some((origin, Arc::clone(blob)))
}

/// A value of a ConfigMap's `binaryData`.
fn in_map(
    item: &Item<v1::PromptSpec>,
    reference: &v1::ConfigMapKeyRef,
    others: &[Foreign],
    field: &str,
    report: &mut Report,
) -> Option<Arc<[u8]>> {
    let (namespace, v1::ConfigMapKeyRef { name, key }) = (item.namespace(), reference);
    let mut maps = others.iter().filter(|other| other.is_config_map() && other.key.namespace() == namespace);
    let Some(map) = maps.clone().find(|map| map.key.name() == name) else {
        let hint = words::did_you_mean(name, maps.by_ref().map(|map| map.key.name()));
        let message = format!("There is no ConfigMap {namespace}/{name}{hint}");
        item.error(report, &format!("{field}.name"), Reason::FileNotFound, message);
        return None;
    };
    let values = |data: &str| map.object.get(data).and_then(serde_json::Value::as_object);
    let known = values("binaryData");
    let field = format!("{field}.key");
    let Some(value) = known.and_then(|values| values.get(key)) else {
        let message = if values("data").is_some_and(|values| values.contains_key(key)) {
            format!(
                "ConfigMap {namespace}/{name} has `{key}` in `data`, which is text; put it into `binaryData`, in base64."
            )
        } else {
            let hint =
                words::did_you_mean(key, known.into_iter().flat_map(|all| all.keys().map(String::as_str)));
            format!("ConfigMap {namespace}/{name} has no `{key}` in its `binaryData`{hint}")
        };
        item.error(report, &field, Reason::FileNotFound, message);
        return None;
    };
    // Folded text has white space in it, which the API server passes over, too.
    let text: String = value.as_str().unwrap_or_default().split_ascii_whitespace().collect();
    match BASE64_STANDARD.decode(text) {
        Ok(bytes) => Some(bytes.into()),
        Err(error) => {
            let message = format!("`{key}` of ConfigMap {namespace}/{name} is not in base64: {error}.");
            item.error(report, &field, Reason::InvalidAudio, message);
            None
        }
    }
}

/// What a tenant has speak and understand.
pub(crate) fn speech(tenant: &Item<v1::TenantSpec>) -> Option<Speech> {
    let spec = tenant.spec.speech.as_ref()?;
    let integration = |reference: &v1::LocalRef| IntegrationId(Key::new(tenant.namespace(), &reference.name));
    Some(Speech {
        voice: spec.voice.as_ref().map(|voice| SpeechVoice {
            integration: integration(&voice.integration_ref),
            model: voice.model.clone(),
            voice: voice.voice.clone(),
        }),
        recogniser: spec.recogniser.as_ref().map(|recogniser| SpeechRecogniser {
            integration: integration(&recogniser.integration_ref),
            streams: recogniser.protocol == v1::RecogniserProtocol::Vosk,
            model: recogniser.model.clone(),
        }),
    })
}

fn digest(bytes: &[u8]) -> AudioId {
    AudioId(Sha256::digest(bytes).into())
}

/// Whether a file's beginning promises audio that can be played; media servers read all of it.
fn sound(bytes: &[u8]) -> Result<(), String> {
    if bytes.len() > AUDIO_MAX {
        return Err(format!("has {} bytes, more than {AUDIO_MAX}", bytes.len()));
    }
    match bytes {
        [b'O', b'g', b'g', b'S', ..] => opus(bytes),
        [b'I', b'D', b'3', ..] => mp3(tagged(bytes)),
        [0xff, second, ..] if second & 0xe6 == 0xe2 => mp3(bytes),
        _ => wav(bytes),
    }
}

/// What follows a tag (ID3v2.4 §3.1): its length has seven bits an octet.
fn tagged(bytes: &[u8]) -> &[u8] {
    let length = bytes.get(6..10).unwrap_or_default();
    let length = length.iter().fold(0, |sum, octet| sum << 7 | usize::from(octet & 0x7f));
    let footer = if bytes.get(5).is_some_and(|flags| flags & 0x10 != 0) { 10 } else { 0 };
    bytes.get(10 + length + footer..).unwrap_or_default()
}

/// Whether there is a frame of layer III (ISO 11172-3 §2.4.2.3); some fill up with zeros before it.
fn mp3(bytes: &[u8]) -> Result<(), String> {
    let is_frame = |pair: &[u8]| pair[0] == 0xff && pair[1] & 0xe6 == 0xe2;
    let found = bytes.windows(2).take(65_536).any(is_frame);
    if found { Ok(()) } else { Err("has no frame of MPEG layer III".to_owned()) }
}

/// The first page holds the identification header and nothing else (RFC 7845 §5.1).
fn opus(bytes: &[u8]) -> Result<(), String> {
    let segments = usize::from(bytes.get(26).copied().unwrap_or_default());
    match bytes.get(27 + segments..) {
        Some([b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', _, 1 | 2, ..]) => Ok(()),
        Some([b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', _, channels, ..]) => {
            Err(format!("has {channels} channels"))
        }
        _ => Err("is an Ogg file without Opus".to_owned()),
    }
}

/// The header of a RIFF file (Microsoft RIFF, 1991; RFC 2361 for formats 1, 6 and 7).
fn wav(bytes: &[u8]) -> Result<(), String> {
    if bytes.get(..4) != Some(b"RIFF") || bytes.get(8..12) != Some(b"WAVE") {
        return Err("is not a WAV file".to_owned());
    }
    let mut per_second = None;
    let mut rest = &bytes[12..];
    while let Some((header, body)) = rest.split_at_checked(8) {
        let size = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        match &header[..4] {
            b"fmt " => {
                per_second = Some(format(body)?);
            }
            b"data" => return samples(size, body, per_second),
            _ => {}
        }
        // Chunks begin at even places.
        rest = body.get(size.saturating_add(size % 2)..).unwrap_or_default();
    }
    Err("has no samples".to_owned())
}

fn samples(size: usize, body: &[u8], per_second: Option<u64>) -> Result<(), String> {
    let Some(per_second) = per_second else {
        return Err("has no format before its samples".to_owned());
    };
    if size == 0 || body.is_empty() {
        return Err("has no samples".to_owned());
    }
    if size > body.len() {
        return Err(format!(
            "is cut off: it says that it has {size} bytes of samples, and has {}",
            body.len()
        ));
    }
    match size as u64 / per_second {
        seconds if seconds > SECONDS_MAX => Err(format!("lasts {seconds} seconds, more than {SECONDS_MAX}")),
        _ => Ok(()),
    }
}

/// How many bytes a second has.
fn format(body: &[u8]) -> Result<u64, String> {
    let Some(fields) = body.first_chunk::<16>() else {
        return Err("is cut off".to_owned());
    };
    let word = |at: usize| u16::from_le_bytes([fields[at], fields[at + 1]]);
    let rate = u32::from_le_bytes([fields[4], fields[5], fields[6], fields[7]]);
    let (format, channels, bits) = (word(0), word(2), word(14));
    // An extensible format says in its sub-format what it is.
    let format = match (format, body.get(24..26)) {
        (0xfffe, Some(&[low, high])) => u16::from_le_bytes([low, high]),
        _ => format,
    };
    let known: &[u16] = match format {
        1 => &[8, 16, 24, 32],
        3 => &[32],
        6 | 7 => &[8],
        _ => return Err(format!("has format {format}, which is neither PCM nor G.711")),
    };
    if !(1..=2).contains(&channels) {
        return Err(format!("has {channels} channels"));
    }
    if !known.contains(&bits) {
        return Err(format!("has {bits} bits a sample"));
    }
    if !RATES.contains(&rate) {
        return Err(format!("is sampled at {rate} Hz"));
    }
    Ok(u64::from(rate) * u64::from(channels) * u64::from(bits / 8))
}

/// The hours in the form of a snapshot.
pub(crate) fn hours(item: &Item<v1::BusinessHoursSpec>, world: &World, report: &mut Report) -> BusinessHours {
    let own = item.spec.time_zone.as_ref();
    let tenant = world.tenants.get(item.namespace()).map(|tenant| &tenant.spec.time_zone);
    if let Some(name) = own {
        time_zone(item, name, report);
    } else if tenant.is_none() {
        let message = format!(
            "`timeZone` must be given: namespace {} has no Tenant whose time zone could be taken.",
            item.namespace()
        );
        item.error(report, "spec", Reason::TenantNotFound, message);
    }
    BusinessHours {
        time_zone: own.or(tenant).cloned().unwrap_or_default(),
        week: week(item, report),
        holidays: holidays(item, report),
    }
}

fn week(item: &Item<v1::BusinessHoursSpec>, report: &mut Report) -> [Vec<(u32, u32)>; 7] {
    let mut week: [BTreeSet<(u32, u32)>; 7] = Default::default();
    for (index, interval) in item.spec.week.iter().enumerate() {
        let (from, to) = (seconds(&interval.from), seconds(&interval.to));
        for day in &interval.days {
            let known = &mut week[*day as usize];
            if let Some((begin, end)) = known.iter().find(|(begin, end)| from < *end && *begin < to) {
                let message = format!(
                    "{day:?} has {} to {} already, which overlaps {} to {}; make them one interval or move them apart.",
                    clock(*begin),
                    clock(*end),
                    interval.from,
                    interval.to
                );
                item.error(report, &format!("spec.week[{index}]"), Reason::HoursOverlap, message);
                continue;
            }
            known.insert((from, to));
        }
    }
    week.map(|day| day.into_iter().collect())
}

/// Seconds since midnight of `HH:MM`, which the schema has checked.
fn seconds(clock: &str) -> u32 {
    let (hours, minutes) = clock.split_once(':').unwrap_or_default();
    let number = |text: &str| text.parse::<u32>().unwrap_or_default();
    number(hours).saturating_mul(3_600).saturating_add(number(minutes).saturating_mul(60))
}

fn clock(seconds: u32) -> String {
    format!("{:02}:{:02}", seconds / 3_600, seconds % 3_600 / 60)
}

fn holidays(item: &Item<v1::BusinessHoursSpec>, report: &mut Report) -> Vec<(civil::Date, String)> {
    let mut holidays = BTreeMap::new();
    for (index, holiday) in item.spec.holidays.iter().enumerate() {
        match holiday.date.parse::<civil::Date>() {
            Ok(date) => {
                holidays.insert(date, holiday.name.clone());
            }
            Err(_) => {
                let message = format!("The calendar has no day {}; write an existing one.", holiday.date);
                item.error(report, &format!("spec.holidays[{index}].date"), Reason::InvalidDate, message);
            }
        }
    }
    holidays.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tag, bits a sample, rate, channels; bytes of samples that are promised, and that are there.
    fn file((tag, bits, rate, channels): (u16, u16, u32, u16), (promised, there): (u32, usize)) -> Vec<u8> {
        let mut bytes = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0".to_vec();
        let frame = u32::from(channels * bits / 8);
        for word in [tag, channels] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(rate.to_le_bytes());
        bytes.extend((rate * frame).to_le_bytes());
        bytes.extend((frame as u16).to_le_bytes());
        bytes.extend(bits.to_le_bytes());
        bytes.extend(b"data");
        bytes.extend(promised.to_le_bytes());
        bytes.resize(bytes.len() + there, 0);
        bytes
    }

    #[test]
    fn what_media_servers_take_is_taken_and_all_else_says_why_not() {
        let wav = |form| file(form, (320, 320));
        let opus = |channels: u8, what: &[u8]| {
            let mut bytes = b"OggS".to_vec();
            bytes.resize(26, 0);
            bytes.extend([1, 19]);
            bytes.extend(what);
            bytes.extend([1, channels, 0, 0]);
            bytes
        };
        let table: [(Vec<u8>, Result<(), &str>); 21] = [
            (wav((1, 8, 8_000, 1)), Ok(())),
            (wav((1, 16, 44_100, 2)), Ok(())),
            (wav((1, 24, 48_000, 2)), Ok(())),
            (wav((1, 32, 16_000, 1)), Ok(())),
            (wav((3, 32, 48_000, 1)), Ok(())),
            (wav((6, 8, 8_000, 1)), Ok(())),
            (wav((7, 8, 8_000, 2)), Ok(())),
            (opus(2, b"OpusHead"), Ok(())),
            (b"ID3\x04\0\0\0\0\0\x02xx\xff\xfb\x90\0".to_vec(), Ok(())),
            (b"\xff\xfb\x90\0".to_vec(), Ok(())),
            (wav((2, 4, 8_000, 1)), Err("has format 2, which is neither PCM nor G.711")),
            (wav((3, 64, 48_000, 1)), Err("has 64 bits a sample")),
            (wav((1, 16, 4_000, 1)), Err("is sampled at 4000 Hz")),
            (wav((1, 16, 96_000, 1)), Err("is sampled at 96000 Hz")),
            (wav((1, 16, 8_000, 6)), Err("has 6 channels")),
            (
                file((1, 16, 8_000, 1), (320, 300)),
                Err("is cut off: it says that it has 320 bytes of samples, and has 300"),
            ),
            (file((7, 8, 8_000, 1), (28_808_000, 28_808_000)), Err("lasts 3601 seconds, more than 3600")),
            (vec![0; AUDIO_MAX + 1], Err("has 33554433 bytes, more than 33554432")),
            (opus(6, b"OpusHead"), Err("has 6 channels")),
            (opus(1, b"\x01vorbis\0"), Err("is an Ogg file without Opus")),
            (b"ID3\x04\0\0\0\0\0\x02xxno sound".to_vec(), Err("has no frame of MPEG layer III")),
        ];
        for (place, (bytes, wanted)) in table.into_iter().enumerate() {
            assert_eq!(sound(&bytes), wanted.map_err(str::to_owned), "row {place}");
        }
    }
}
