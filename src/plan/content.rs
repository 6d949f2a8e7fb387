//! Prompts and BusinessHours: read, checked, and brought into the form of a snapshot.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::v1alpha1 as v1;
use jiff::civil;
use model::{
    AudioId, IntegrationId, Key, PromptId,
    snapshot::{Audio, AudioSource, BusinessHours, Speech, SpeechRecogniser, SpeechVoice},
};
use sha2::{Digest, Sha256};

use crate::{
    platform::time_zone,
    problem::Reason,
    resources::Report,
    schema, words,
    world::{Item, ResolvedPrompt, World},
};

/// Largest audio file, in bytes: half an hour at 8 kHz.
pub const AUDIO_MAX: usize = 32 * 1024 * 1024;

/// Rates at which a prompt may be sampled, in Hz.
const RATES: std::ops::RangeInclusive<u32> = 8_000..=48_000;

/// The audio of a prompt, if it is there and sound.
pub(crate) fn prompt(
    item: &Item<v1::PromptSpec>,
    files: &BTreeMap<String, Arc<[u8]>>,
    world: &World,
    report: &mut Report,
) -> Option<ResolvedPrompt> {
    let prompt = PromptId(item.id.key.clone());
    if let Some(speech) = &item.spec.text {
        let mut content = format!("speech\0{}\0{}", speech.language, speech.text);
        // Said by another voice it is another sound.
        let own = world.tenants.get(item.namespace()).and_then(self::speech).and_then(|own| own.voice);
        if let Some(SpeechVoice { integration, model, voice }) = own {
            content.push_str(&format!("\0{}\0{model}\0{voice}", integration.0));
        }
        let source = AudioSource::Speech { text: speech.text.clone(), language: speech.language.clone() };
        return Some(ResolvedPrompt {
            id: digest(content.as_bytes()),
            audio: Audio { prompt, source },
            blob: None,
        });
    }
    for (field, there) in [
        ("spec.remote", item.spec.remote.is_some()),
        ("spec.configMapRef", item.spec.config_map_ref.is_some()),
    ] {
        if there {
            let message =
                "Audio from there cannot be fetched yet, so no flow could play it; use `file` or `text`.";
            item.error(report, field, Reason::NotYetEffective, message);
        }
    }
    let file = item.spec.file.as_ref().filter(|file| schema::matches(v1::PROMPT_FILE, file))?;
    let folder = item.source.as_ref().map_or("", |source| source.folder());
    let origin = format!("{folder}{file}");
    let Some(blob) = files.get(&origin) else {
        let hint = words::did_you_mean(&origin, files.keys().map(String::as_str));
        let message = format!(
            "There is no file `{origin}`; put it there or correct the path, which counts from this manifest's folder{hint}"
        );
        item.error(report, "spec.file", Reason::FileNotFound, message);
        return None;
    };
    if let Err(fault) = wav(blob) {
        let message = format!(
            "`{origin}` {fault}; save it as a WAV file with PCM of 8 or 16 bits, mono or stereo, 8 to 48 kHz."
        );
        item.error(report, "spec.file", Reason::InvalidAudio, message);
        return None;
    }
    let audio = Audio { prompt, source: AudioSource::Wav { origin } };
    Some(ResolvedPrompt { id: digest(blob), audio, blob: Some(Arc::clone(blob)) })
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

/// Whether the header of a RIFF file promises audio that can be played (Microsoft RIFF, 1991; RFC 2361 for format 1).
fn wav(bytes: &[u8]) -> Result<(), String> {
    if bytes.len() > AUDIO_MAX {
        return Err(format!("has {} bytes, more than {AUDIO_MAX}", bytes.len()));
    }
    if bytes.get(..4) != Some(b"RIFF") || bytes.get(8..12) != Some(b"WAVE") {
        return Err("is not a WAV file".to_owned());
    }
    let mut format_seen = false;
    let mut rest = &bytes[12..];
    while let Some((header, body)) = rest.split_at_checked(8) {
        let size = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        match &header[..4] {
            b"fmt " => {
                format(body)?;
                format_seen = true;
            }
            b"data" if !format_seen => return Err("has no format before its samples".to_owned()),
            b"data" if size == 0 || body.is_empty() => return Err("has no samples".to_owned()),
            b"data" => return Ok(()),
            _ => {}
        }
        // Chunks begin at even places.
        rest = body.get(size.saturating_add(size % 2)..).unwrap_or_default();
    }
    Err("has no samples".to_owned())
}

fn format(body: &[u8]) -> Result<(), String> {
    let Some(fields) = body.first_chunk::<16>() else {
        return Err("is cut off".to_owned());
    };
    let word = |at: usize| u16::from_le_bytes([fields[at], fields[at + 1]]);
    let rate = u32::from_le_bytes([fields[4], fields[5], fields[6], fields[7]]);
    let (format, channels, bits) = (word(0), word(2), word(14));
    if format != 1 {
        return Err(format!("has format {format}, not PCM"));
    }
    if !(1..=2).contains(&channels) {
        return Err(format!("has {channels} channels"));
    }
    if bits != 8 && bits != 16 {
        return Err(format!("has {bits} bits a sample"));
    }
    if !RATES.contains(&rate) {
        return Err(format!("is sampled at {rate} Hz"));
    }
    Ok(())
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
