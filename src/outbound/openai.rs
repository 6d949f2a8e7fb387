//! A voice and a recogniser by the HTTP API that many services and servers speak after OpenAI's: `POST /v1/audio/speech` and
//! `POST /v1/audio/transcriptions`.

use std::time::Duration;

use bytes::Bytes;
use hyper::{
    Method,
    header::{self, HeaderValue},
};
use serde_json::{Value, json};

use crate::{Asked, Failed, Service};

/// Longest sound that is taken, in octets: almost six minutes at 24 kHz.
pub const SOUND_MAX: usize = 16 * 1024 * 1024;
/// Longest transcript with all that is told about it, in octets.
const TRANSCRIPT_MAX: usize = 256 * 1024;
/// How sure a transcript is whose service does not say.
const USUALLY: u8 = 80;
/// Between the parts of a form; no octets of sound are taken for it, since it stands in quotes of the length of a line.
const BOUNDARY: &str = "switchboard-7d1b9f0c2e5a4386";

/// A text as a WAV file, or another form of sound that the service prefers.
///
/// # Errors
/// Why there is none.
pub async fn speech(service: &Service, model: &str, voice: &str, text: &str) -> Result<Bytes, Failed> {
    let body = json!({"model": model, "input": text, "voice": voice, "response_format": "wav"});
    let mut asked = Asked::new(Method::POST, "/v1/audio/speech", body.to_string(), SOUND_MAX);
    asked.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // The same text said again is the same sound.
    asked.idempotent = true;
    let answer = service.request(&asked).await?.good()?;
    let kind =
        answer.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if answer.body.is_empty() || kind.starts_with("application/json") || kind.starts_with("text/") {
        return Err(Failed::Answer(format!("no sound, but {} octets of {kind:?}", answer.body.len())));
    }
    Ok(answer.body)
}

/// An utterance.
#[derive(Debug, Clone, Copy)]
pub struct Utterance<'a> {
    /// Its samples.
    pub pcm: &'a [i16],
    /// Samples a second.
    pub rate: u32,
    /// The language's tag (BCP 47).
    pub language: &'a str,
    /// What it may be: a hint.
    pub phrases: &'a [String],
}

/// What was said, and how sure that is in percent.
///
/// # Errors
/// Why nobody can tell.
pub async fn transcription(
    service: &Service,
    model: &str,
    utterance: &Utterance<'_>,
    longest: Duration,
) -> Result<(String, u8), Failed> {
    let body = form(model, utterance);
    let mut asked = Asked::new(Method::POST, "/v1/audio/transcriptions", body, TRANSCRIPT_MAX);
    let kind = HeaderValue::try_from(format!("multipart/form-data; boundary={BOUNDARY}"));
    asked.headers.insert(header::CONTENT_TYPE, kind.map_err(|error| Failed::Settings(error.to_string()))?);
    asked.idempotent = true;
    asked.timeout = Some(longest);
    let answer = service.request(&asked).await?.good()?;
    transcript(&answer.body).ok_or_else(|| Failed::Answer("what is no transcript in JSON".into()))
}

/// RFC 7578.
fn form(model: &str, utterance: &Utterance<'_>) -> Vec<u8> {
    let language = utterance.language.split('-').next().unwrap_or_default();
    let hint = utterance.phrases.join(", ");
    let fields = [
        ("model", model),
        ("language", language),
        ("prompt", &hint),
        ("temperature", "0"),
        ("response_format", "verbose_json"),
    ];
    let mut form = Vec::new();
    for (name, value) in fields {
        // A value with the boundary in it would end there.
        let value = value.replace(BOUNDARY, "");
        let part =
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        form.extend(part.into_bytes());
    }
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"said.wav\"\r\nContent-Type: audio/wav\r\n\r\n"
    );
    form.extend(head.into_bytes());
    form.extend(wav(utterance.pcm, utterance.rate));
    form.extend(format!("\r\n--{BOUNDARY}--\r\n").into_bytes());
    form
}

/// A WAV file of one channel.
fn wav(pcm: &[i16], rate: u32) -> Vec<u8> {
    let octets = u32::try_from(pcm.len() * 2).unwrap_or(u32::MAX);
    let mut file = b"RIFF".to_vec();
    file.extend(octets.saturating_add(36).to_le_bytes());
    file.extend(*b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(rate.to_le_bytes());
    file.extend(rate.saturating_mul(2).to_le_bytes());
    file.extend(*b"\x02\0\x10\0data");
    file.extend(octets.to_le_bytes());
    file.extend(pcm.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

/// Of an answer: its text, and what its segments say of their likelihood.
fn transcript(body: &[u8]) -> Option<(String, u8)> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let text = answer.get("text")?.as_str()?.to_owned();
    let segments = answer.get("segments").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let chances: Vec<f64> = segments
        .iter()
        .filter_map(|segment| {
            let likely = segment.get("avg_logprob")?.as_f64()?.exp();
            let silence = segment.get("no_speech_prob").and_then(Value::as_f64).unwrap_or(0.0);
            Some(likely * (1.0 - silence))
        })
        .collect();
    if chances.is_empty() {
        return Some((text, USUALLY));
    }
    let mean = chances.iter().sum::<f64>() / chances.len() as f64;
    Some((text, (100.0 * mean).clamp(0.0, 100.0) as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_is_as_sure_as_its_segments_are_likely() {
        let sure = |body: &str| transcript(body.as_bytes());
        assert_eq!(sure(r#"{"text": "sales"}"#), Some(("sales".into(), USUALLY)));
        let body = r#"{"text": "sales", "segments": [{"avg_logprob": 0.0, "no_speech_prob": 0.5}, {"avg_logprob": -0.10536}]}"#;
        assert_eq!(sure(body).map(|(_, sure)| sure), Some(70));
        assert_eq!(sure(r#"{"error": "x"}"#), None);
        assert_eq!(sure("sales"), None);
        assert_eq!(
            sure(r#"{"text": "x", "segments": [{"avg_logprob": 1e9}]}"#).map(|(_, sure)| sure),
            Some(100)
        );
    }

    #[test]
    fn a_form_has_the_sound_and_what_it_may_be() {
        let phrases = ["yes".to_owned(), "no".to_owned()];
        let utterance = Utterance { pcm: &[1, 2, 3], rate: 8_000, language: "en-US", phrases: &phrases };
        let form = form("whisper-1", &utterance);
        let text = String::from_utf8_lossy(&form);
        for wanted in
            ["name=\"model\"\r\n\r\nwhisper-1", "name=\"language\"\r\n\r\nen\r\n", "yes, no", "WAVEfmt "]
        {
            assert!(text.contains(wanted), "{wanted}");
        }
        assert!(text.ends_with(&format!("\r\n--{BOUNDARY}--\r\n")));
    }
}
