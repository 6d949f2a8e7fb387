//! Text becomes a WAV file by the program `espeak-ng`, as a process of its own, bounded in time and size.

use std::{
    fmt,
    io::{self, Read, Write},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::library::{LoadErrorKind, SOURCE_BYTES_MAX};

/// What speaks texts in place of espeak-ng.
pub trait Speaker: Send + Sync + fmt::Debug {
    /// The voice of a tenant, which is a namespace: equal names sound alike. None: it has none of its own.
    fn voice(&self, tenant: &str) -> Option<String>;

    /// A file of sound with the text spoken by the tenant's voice: WAV, Opus in Ogg, or MP3. It may block, and has to end within
    /// half a minute.
    ///
    /// # Errors
    /// Why nothing is spoken: espeak-ng does it then.
    fn speak(&self, tenant: &str, text: &str, language: &str) -> Result<Vec<u8>, String>;
}

/// The program, found by PATH.
pub const PROGRAM: &str = "espeak-ng";
/// Characters of a text at most.
const TEXT_MAX: usize = 10_000;
const TIMEOUT: Duration = Duration::from_secs(30);
/// Octets of what the program says on its error output that are told on.
const COMPLAINT_MAX: u64 = 500;

/// A WAV file with the text spoken.
///
/// # Errors
/// The kinds of [`LoadErrorKind`] that concern text.
pub fn speak(program: &str, text: &str, language: &str) -> Result<Vec<u8>, LoadErrorKind> {
    let length = text.chars().count();
    if text.trim().is_empty() || length > TEXT_MAX {
        return Err(LoadErrorKind::TextLength(length));
    }
    let mut child = started(program, language)?;
    let (sound, complaint, ended) = conversation(&mut child, text);
    match ended {
        None => Err(LoadErrorKind::SpeakerTimeout),
        Some(true) if sound.len() > 44 => Ok(with_true_lengths(sound)),
        Some(_) => Err(LoadErrorKind::Speaker(said(&complaint))),
    }
}

fn started(program: &str, language: &str) -> Result<Child, LoadErrorKind> {
    let child = Command::new(program)
        // As one word, so that a language can never be taken for another option.
        .arg(format!("-v{language}"))
        .args(["--stdin", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    child.map_err(|error| {
        let absent = error.kind() == io::ErrorKind::NotFound;
        if absent { LoadErrorKind::NoSpeaker } else { LoadErrorKind::Speaker(error.to_string()) }
    })
}

/// Gives the text and takes sound and complaint at once, lest either side wait for a full pipe. The last is whether it
/// succeeded, or `None` when its time was over.
fn conversation(child: &mut Child, text: &str) -> (Vec<u8>, Vec<u8>, Option<bool>) {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(text.as_bytes())));
        let sound = scope.spawn(move || drained(stdout, SOURCE_BYTES_MAX as u64 + 1));
        let complaint = scope.spawn(move || drained(stderr, COMPLAINT_MAX));
        let ended = waited(child);
        (sound.join().unwrap_or_default(), complaint.join().unwrap_or_default(), ended)
    })
}

fn drained(pipe: Option<impl Read>, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        // What came before an error is enough to say what was wrong.
        let _ = pipe.take(limit).read_to_end(&mut bytes);
    }
    bytes
}

fn waited(child: &mut Child) -> Option<bool> {
    let deadline = Instant::now() + TIMEOUT;
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            Ok(None) => thread::sleep(Duration::from_millis(5)),
            Err(_) => break,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// A stream's header cannot know the length, so espeak-ng and services write the greatest; the true ones are put in.
pub fn with_true_lengths(mut wav: Vec<u8>) -> Vec<u8> {
    if !wav.starts_with(b"RIFF") {
        return wav;
    }
    let Some(data) = wav.windows(4).take(100).position(|name| name == b"data") else { return wav };
    let begin = data + 8;
    let lengths = [(4, wav.len().saturating_sub(8)), (data + 4, wav.len().saturating_sub(begin) & !1)];
    for (place, length) in lengths {
        if let (Some(field), Ok(length)) = (wav.get_mut(place..place + 4), u32::try_from(length)) {
            field.copy_from_slice(&length.to_le_bytes());
        }
    }
    wav
}

fn said(complaint: &[u8]) -> String {
    let text = String::from_utf8_lossy(complaint);
    let text = text.trim().trim_start_matches("Error: ");
    if text.is_empty() { "nothing".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there() -> bool {
        Command::new(PROGRAM).arg("--version").output().is_ok()
    }

    #[test]
    fn without_the_program_the_error_says_what_to_install() {
        let error = speak("/nonexistent/espeak-ng", "Hello", "en").unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot speak text: the program `espeak-ng` was not found; install the package espeak-ng, or give the \
             prompt as a WAV file"
        );
    }

    #[test]
    fn text_must_be_something_and_not_too_much() {
        assert_eq!(speak(PROGRAM, " \n", "en"), Err(LoadErrorKind::TextLength(2)));
        let long = "x".repeat(TEXT_MAX + 1);
        assert_eq!(speak(PROGRAM, &long, "en"), Err(LoadErrorKind::TextLength(TEXT_MAX + 1)));
    }

    #[test]
    fn text_is_spoken_and_a_strange_language_refused() {
        if !there() {
            return;
        }
        let wav = speak(PROGRAM, "-x Hello <b>and</b> welcome.", "en-US").unwrap();
        let reader = hound::WavReader::new(&wav[..]).unwrap();
        assert!(reader.duration() > reader.spec().sample_rate / 2);
        assert!(matches!(speak(PROGRAM, "Hello", "zz-QQ"), Err(LoadErrorKind::Speaker(_))));
    }
}
