//! Phrases by pocketsphinx and its English model, as processes of their own that are killed when they hang.
//!
//! An utterance is searched twice: for the best of the phrases (a grammar of nothing else), and for the best row of single
//! sounds, which anything is. How the two scores differ, per 10 ms, says whether it was one of the phrases at all. The model
//! is for 16 kHz; of a telephone's 8 kHz the upper half is made by repeating each sample, since the model takes a band without
//! anything for something that nobody says.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{Recogniser, Said};

/// How long an utterance may take.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Least difference of the scores, per 10 ms, of a phrase that was said: by some twelve phrases in four of espeak-ng's voices
/// at 8 kHz. Short words fall on either side of it; a menu does well to have phrases of several syllables.
const LEAST: f64 = -1.5;
/// What the model makes words of.
const SOUNDS: [&str; 39] = [
    "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY",
    "JH", "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y",
    "Z", "ZH",
];

/// The program and its model: Debian's packages `pocketsphinx` and `pocketsphinx-en-us`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pocketsphinx {
    /// The program `pocketsphinx_batch`, found by PATH.
    pub program: PathBuf,
    /// Folder of the English model, with its dictionary.
    pub model: PathBuf,
    /// How long an utterance may take; then the process is killed.
    pub timeout: Duration,
}

impl Default for Pocketsphinx {
    fn default() -> Self {
        Self {
            program: "pocketsphinx_batch".into(),
            model: "/usr/share/pocketsphinx/model/en-us".into(),
            timeout: TIMEOUT,
        }
    }
}

impl Recogniser for Pocketsphinx {
    fn recognise(&self, said: &Said<'_>) -> Result<Option<(u16, u8)>, String> {
        if said.language.split('-').next() != Some("en") {
            return Err(format!("pocketsphinx knows English only, not `{}`", said.language));
        }
        let phrases: Vec<Vec<String>> = said.phrases.iter().map(|phrase| words(phrase)).collect();
        let dictionary = self.dictionary(&phrases)?;
        let failed = |what: &Path, error: std::io::Error| format!("{}: {error}", what.display());
        let work = WorkFolder::new()?;
        let alternatives: Vec<String> = phrases.iter().map(|phrase| phrase.join(" ")).collect();
        let sounds: Vec<String> = SOUNDS.iter().map(|sound| format!("_{sound}")).collect();
        for (name, content) in [
            ("words.dict", dictionary.into_bytes()),
            ("phrases.gram", grammar(&alternatives, "").into_bytes()),
            ("sounds.gram", grammar(&sounds, "+").into_bytes()),
            ("said.raw", wide(said)),
            ("said", b"said\n".to_vec()),
        ] {
            let path = work.0.join(name);
            fs::write(&path, content).map_err(|error| failed(&path, error))?;
        }
        let mut searches = Vec::new();
        for name in ["phrases", "sounds"] {
            searches.push(Search::start(self, &work.0, name)?);
        }
        let deadline = Instant::now() + self.timeout;
        let mut results = Vec::new();
        for search in searches {
            results.push(search.result(deadline, self.timeout)?);
        }
        let [Some((phrase, score)), any] = &results[..] else { return Ok(None) };
        let frames = said.pcm.len() as f64 / f64::from(said.rate / 100).max(1.0);
        // Nothing that could be any sound: the search has given up, and what it was is the phrase or nothing.
        let difference = any.as_ref().map_or(0.0, |(_, any)| (score - any) / frames.max(1.0));
        tracing::debug!(difference, "recognised");
        let place = alternatives.iter().position(|alternative| alternative == phrase);
        let place = place.and_then(|place| u16::try_from(place).ok()).filter(|_| difference >= LEAST);
        Ok(place.map(|place| (place, (60.0 + 10.0 * difference).clamp(1.0, 99.0) as u8)))
    }
}

impl Pocketsphinx {
    /// The part of the model's dictionary that the phrases need, and a word for each sound.
    fn dictionary(&self, phrases: &[Vec<String>]) -> Result<String, String> {
        let path = self.model.join("cmudict-en-us.dict");
        let file = fs::File::open(&path).map_err(|error| {
            format!("{}: {error}; install the packages pocketsphinx and pocketsphinx-en-us", path.display())
        })?;
        let mut wanted: BTreeMap<&str, bool> =
            phrases.iter().flatten().map(|word| (word.as_str(), false)).collect();
        let mut dictionary = String::new();
        for line in BufReader::new(file).lines() {
            let line = line.map_err(|error| format!("{}: {error}", path.display()))?;
            let word = line.split_whitespace().next().unwrap_or_default();
            // A second way to say a word is `word(2)`.
            if let Some(known) = wanted.get_mut(word.split('(').next().unwrap_or_default()) {
                *known = true;
                let _ = writeln!(dictionary, "{line}");
            }
        }
        if let Some((word, _)) = wanted.iter().find(|(_, known)| !**known) {
            return Err(format!(
                "the word `{word}` is not in pocketsphinx's dictionary: choose another phrase"
            ));
        }
        for sound in SOUNDS {
            let _ = writeln!(dictionary, "_{sound} {sound}");
        }
        Ok(dictionary)
    }
}

fn words(phrase: &str) -> Vec<String> {
    let word = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    phrase.split_whitespace().map(word).filter(|word| !word.is_empty()).collect()
}

fn grammar(alternatives: &[String], repeated: &str) -> String {
    format!("#JSGF V1.0;\ngrammar said;\npublic <said> = ( {} ){repeated} ;\n", alternatives.join(" | "))
}

/// Sound at 16 kHz, as octets.
fn wide(said: &Said<'_>) -> Vec<u8> {
    let copies = if said.rate == 8_000 { 2 } else { 1 };
    // The model does not know digital silence: a little noise lies under everything.
    let mut noise = 1u32;
    let sample = |&sample: &i16| std::iter::repeat_n(sample, copies).collect::<Vec<_>>();
    let samples = said.pcm.iter().flat_map(sample);
    let noisy = samples.map(|sample| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        sample.saturating_add((noise >> 28) as i16 - 8)
    });
    noisy.flat_map(i16::to_le_bytes).collect()
}

/// A folder for one utterance, which goes with it.
struct WorkFolder(PathBuf);

impl WorkFolder {
    fn new() -> Result<Self, String> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("switchboard-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// One search, a process.
struct Search {
    child: Child,
    found: PathBuf,
}

impl Search {
    fn start(with: &Pocketsphinx, folder: &Path, name: &str) -> Result<Self, String> {
        let found = folder.join(format!("{name}.found"));
        let child = Command::new(&with.program)
            .arg("-hmm")
            .arg(with.model.join("en-us"))
            .arg("-dict")
            .arg(folder.join("words.dict"))
            .arg("-jsgf")
            .arg(folder.join(format!("{name}.gram")))
            .args([
                "-adcin",
                "yes",
                "-cepext",
                ".raw",
                "-fwdflat",
                "no",
                "-bestpath",
                "no",
                "-logfn",
                "/dev/null",
            ])
            .arg("-cepdir")
            .arg(folder)
            .arg("-ctl")
            .arg(folder.join("said"))
            .arg("-hyp")
            .arg(&found)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.map_err(|error| match error.kind() == std::io::ErrorKind::NotFound {
            true => {
                "the program `pocketsphinx_batch` was not found; install the package pocketsphinx".to_owned()
            }
            false => format!("{}: {error}", with.program.display()),
        })?;
        Ok(Self { child, found })
    }

    /// What was found, and its score.
    fn result(mut self, deadline: Instant, timeout: Duration) -> Result<Option<(String, f64)>, String> {
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => break,
                Ok(Some(status)) => return Err(format!("pocketsphinx has failed: {status}")),
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
                Ok(None) => {
                    return Err(format!("pocketsphinx did not end within {} ms", timeout.as_millis()));
                }
                Err(error) => return Err(format!("pocketsphinx: {error}")),
            }
        }
        let text =
            fs::read_to_string(&self.found).map_err(|error| format!("{}: {error}", self.found.display()))?;
        // `technical support(2) (said -5280)`.
        let line = text.lines().next().unwrap_or_default();
        let Some((words, score)) = line.rsplit_once('(') else { return Ok(None) };
        let score =
            score.trim_end_matches(')').split_whitespace().next_back().and_then(|score| score.parse().ok());
        let plain = |word: &str| word.split('(').next().unwrap_or_default().to_owned();
        let words: Vec<String> = words.split_whitespace().map(plain).collect();
        Ok(score.filter(|_| !words.is_empty()).map(|score| (words.join(" "), score)))
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said<'a>(language: &'a str, phrases: &'a [String]) -> Said<'a> {
        Said { tenant: "", pcm: &[0; 8_000], rate: 8_000, language, phrases }
    }

    fn there() -> bool {
        Pocketsphinx::default().model.join("cmudict-en-us.dict").exists()
    }

    #[test]
    fn what_is_missing_is_named() {
        let phrases = ["Billing".to_owned(), "zzyzzx, please".to_owned()];
        let error = Pocketsphinx::default().recognise(&said("de-DE", &phrases)).unwrap_err();
        assert_eq!(error, "pocketsphinx knows English only, not `de-DE`");
        let nowhere = Pocketsphinx { model: "/nonexistent".into(), ..Pocketsphinx::default() };
        let error = nowhere.recognise(&said("en", &phrases)).unwrap_err();
        assert!(error.contains("install the packages pocketsphinx and pocketsphinx-en-us"), "{error}");
        if there() {
            let error = Pocketsphinx::default().recognise(&said("en", &phrases)).unwrap_err();
            assert!(error.contains("the word `zzyzzx` is not in pocketsphinx's dictionary"), "{error}");
            let nothing = Pocketsphinx { program: "/nonexistent/x".into(), ..Pocketsphinx::default() };
            let error = nothing.recognise(&said("en-GB", &phrases[..1])).unwrap_err();
            assert!(error.contains("install the package pocketsphinx"), "{error}");
        }
    }

    #[test]
    fn one_that_hangs_is_killed_and_told() {
        if !there() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("hangs");
        fs::write(&program, "#!/bin/sh\nexec sleep 60\n").unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let hanging =
            Pocketsphinx { program, timeout: Duration::from_millis(100), ..Pocketsphinx::default() };
        let phrases = ["billing".to_owned()];
        let error = hanging.recognise(&said("en", &phrases)).unwrap_err();
        assert_eq!(error, "pocketsphinx did not end within 100 ms");
    }
}
