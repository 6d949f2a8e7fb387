//! What was said in messages, written down: after the call, as well as a machine can, one message at a time.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::catalogue::Catalogue;

/// Messages that wait; further ones are not written down.
const WAITING_MAX: usize = 64;
/// Bytes of one message at most: ten minutes at 16 kHz, and its head.
const MESSAGE_MAX: u64 = 20 << 20;
/// Characters of what is written down at most.
const TEXT_MAX: usize = 8_000;
/// Samples of one piece, which is cut where it is quietest: 15 s.
const PIECE: usize = 15 * RATE;
/// What the model hears, in samples a second.
const RATE: usize = 16_000;

/// What writes speech down.
pub trait Transcriber: Send + Sync + fmt::Debug {
    /// The words of a sound of 16 bits and 16 kHz; empty if there are none. It may block, and gives up when `over` is set.
    ///
    /// # Errors
    /// Why nobody can tell.
    fn transcribe(&self, pcm: &[i16], over: &AtomicBool) -> Result<String, String>;
}

/// Debian's packages `pocketsphinx` and `pocketsphinx-en-us`, with the model's own three-word statistics of English.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dictation {
    /// The program `pocketsphinx_batch`, found by PATH.
    pub program: PathBuf,
    /// Folder of the English model.
    pub model: PathBuf,
}

impl Default for Dictation {
    fn default() -> Self {
        Self { program: "pocketsphinx_batch".into(), model: "/usr/share/pocketsphinx/model/en-us".into() }
    }
}

impl Transcriber for Dictation {
    fn transcribe(&self, pcm: &[i16], over: &AtomicBool) -> Result<String, String> {
        let work = WorkFolder::new()?;
        let failed = |what: &Path, error: std::io::Error| format!("{}: {error}", what.display());
        let pieces = pieces(pcm);
        let mut list = String::new();
        for (place, piece) in pieces.iter().enumerate() {
            let path = work.0.join(format!("{place:04}.raw"));
            let octets: Vec<u8> = piece.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            fs::write(&path, octets).map_err(|error| failed(&path, error))?;
            list.push_str(&format!("{place:04}\n"));
        }
        let (ctl, hyp) = (work.0.join("said"), work.0.join("found"));
        fs::write(&ctl, list).map_err(|error| failed(&ctl, error))?;
        let child = Command::new(&self.program)
            .arg("-hmm")
            .arg(self.model.join("en-us"))
            .arg("-dict")
            .arg(self.model.join("cmudict-en-us.dict"))
            .arg("-lm")
            .arg(self.model.join("en-us.lm.bin"))
            .args(["-adcin", "yes", "-cepext", ".raw", "-samprate", "16000", "-cepdir"])
            .arg(&work.0)
            .arg("-ctl")
            .arg(&ctl)
            .arg("-hyp")
            .arg(&hyp)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.map_err(|error| {
            let program = self.program.display();
            format!("{program}: {error}; install the packages pocketsphinx and pocketsphinx-en-us")
        })?;
        // A small machine that has calls to carry may need ten times as long as it took to say.
        let most = Duration::from_secs(60) + Duration::from_secs((pcm.len() / RATE) as u64 * 10);
        Running(child).wait(most, over)?;
        let found = fs::read_to_string(&hyp).map_err(|error| failed(&hyp, error))?;
        let lines = found.lines().map(|line| line.rsplit_once(" (").map_or(line, |(words, _)| words));
        let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
        Ok(words.join(" ").chars().take(TEXT_MAX).collect())
    }
}

/// Cut where it is quietest in the last third of each piece.
fn pieces(mut pcm: &[i16]) -> Vec<&[i16]> {
    let mut pieces = Vec::new();
    while pcm.len() > PIECE {
        let window = RATE / 10;
        let loud = |at: &usize| -> u64 {
            pcm[*at..*at + window].iter().map(|sample| u64::from(sample.unsigned_abs())).sum()
        };
        let at = (PIECE * 2 / 3..PIECE - window).step_by(window / 2).min_by_key(loud).unwrap_or(PIECE);
        let (piece, rest) = pcm.split_at(at + window / 2);
        pieces.push(piece);
        pcm = rest;
    }
    pieces.push(pcm);
    pieces
}

struct Running(Child);

impl Running {
    fn wait(mut self, most: Duration, over: &AtomicBool) -> Result<(), String> {
        let until = Instant::now() + most;
        loop {
            match self.0.try_wait().map_err(|error| error.to_string())? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("it has failed ({status})")),
                None if over.load(Ordering::Relaxed) => return Err("the process ends".to_owned()),
                None if Instant::now() >= until => {
                    return Err(format!("it has taken more than {} s", most.as_secs()));
                }
                None => thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder of its own, which goes when it is dropped.
struct WorkFolder(PathBuf);

impl WorkFolder {
    fn new() -> Result<Self, String> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("switchboard-message-{}-{count}", std::process::id()));
        // What callers say is nobody else's to read.
        let mut builder = fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The thread. Dropping it ends what it does.
#[derive(Debug)]
pub struct Scribe {
    messages: Option<mpsc::SyncSender<String>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Scribe {
    /// Starts it.
    pub fn start(catalogue: Arc<Catalogue>, transcriber: Arc<dyn Transcriber>) -> std::io::Result<Self> {
        let (sender, messages) = mpsc::sync_channel::<String>(WAITING_MAX);
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let run = move || {
            while let Ok(name) = messages.recv() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let written = catalogue.read(&name, MESSAGE_MAX).and_then(|bytes| {
                    let pcm = samples(&bytes).ok_or("it is no WAV of one channel")?;
                    transcriber.transcribe(&pcm, &ends)
                });
                match written {
                    Ok(text) => catalogue.transcribed(&name, text),
                    Err(why) => tracing::warn!(name, why, "a message is not written down"),
                }
            }
        };
        let thread = thread::Builder::new().name("media-scribe".into()).spawn(run)?;
        Ok(Self { messages: Some(sender), over, thread: Some(thread) })
    }

    /// What hands messages over.
    pub fn messages(&self) -> Option<mpsc::SyncSender<String>> {
        self.messages.clone()
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.messages = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// At 16 kHz: of 8 kHz each twice, since the model takes a band without anything for something that nobody says.
fn samples(wav: &[u8]) -> Option<Vec<i16>> {
    let mut reader = hound::WavReader::new(wav).ok()?;
    let spec = reader.spec();
    let times = match (spec.channels, spec.sample_rate) {
        (1, 8_000) => 2,
        (1, 16_000) => 1,
        _ => return None,
    };
    let samples = reader.samples::<i16>().map_while(Result::ok);
    Some(samples.flat_map(|sample| std::iter::repeat_n(sample, times)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_where_nobody_speaks() {
        let mut pcm = vec![5_000_i16; 20 * RATE];
        pcm[12 * RATE..12 * RATE + RATE / 4].fill(0);
        let pieces = pieces(&pcm);
        assert_eq!(pieces.len(), 2);
        let cut = pieces[0].len();
        assert!((12 * RATE..12 * RATE + RATE / 4).contains(&cut), "{cut}");
        assert_eq!(cut + pieces[1].len(), pcm.len());
    }

    #[test]
    fn one_that_is_missing_or_hangs_is_told() {
        let over = AtomicBool::new(false);
        let missing = Dictation { program: "no-such-program".into(), ..Dictation::default() };
        let told = missing.transcribe(&[0; 160], &over).unwrap_err();
        assert!(told.contains("install the packages pocketsphinx"), "{told}");
    }
}
