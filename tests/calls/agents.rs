//! baresip is the caller, and the callee of `dial`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use crate::{
    audio::{self, likeness, loud_part, share, tone},
    harness::{Process, Setup, System, wait_until, with_system},
    works,
};

/// How long a user agent has something to say: it hangs up at the end of its file.
pub const SPEECH_SECONDS: f64 = 120.0;

/// A user agent with a note to say.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    folder: PathBuf,
}

impl Agent {
    /// Starts one that speaks `codecs` and says `speech`; it calls `number`, or answers whoever calls its `port`.
    pub fn start(system: &System, port: u16, codecs: &str, speech: &[i16], number: Option<&str>) -> Self {
        let uri = number.map(|number| format!("sip:{number}@{}", system.sip));
        Self::start_with(system, port, codecs, speech, uri.as_deref(), "")
    }

    /// The same with a whole URI and more lines of configuration.
    pub fn start_with(
        system: &System,
        port: u16,
        codecs: &str,
        speech: &[i16],
        uri: Option<&str>,
        more: &str,
    ) -> Self {
        Self::launch(system, port, codecs, speech, (uri, more, include_str!("agent/accounts")))
    }

    /// Starts one that registers by an account of its own.
    pub fn registering(system: &System, port: u16, account: &str) -> Self {
        Self::launch(system, port, "pcmu", &tone(550.0, 1.0), (None, "", account))
    }

    /// Starts one with an account of its own and something to say; it calls `uri`, if there is one.
    pub fn with_account(
        system: &System,
        port: u16,
        speech: &[i16],
        (account, uri): (&str, Option<&str>),
    ) -> Self {
        Self::launch(system, port, "pcmu", speech, (uri, "", account))
    }

    /// Starts one with more lines of configuration and an account of its own.
    pub fn launch(
        system: &System,
        port: u16,
        codecs: &str,
        speech: &[i16],
        (uri, more, account): (Option<&str>, &str, &str),
    ) -> Self {
        let folder = system.dir.path().join(format!("baresip-{port}"));
        fs::create_dir_all(&folder).unwrap();
        audio::write_wav(&folder.join("speech.wav"), speech);
        let rtp = system.peer_port();
        system.peer_port();
        let words = [
            ("$PORT", port.to_string()),
            ("$CODECS", codecs.to_owned()),
            ("$RTP", format!("{rtp}-{}", rtp + 3)),
            ("$FOLDER", folder.display().to_string()),
            ("$MODULES", modules()),
        ];
        for (name, text) in [("config", include_str!("agent/config")), ("accounts", account)] {
            let text = words.iter().fold(text.to_owned(), |text, (word, value)| text.replace(word, value));
            let more = if name == "config" { more } else { "" };
            // What is said first counts.
            let text = if more.contains("rtcp_mux") { text.replace("rtcp_mux no\n", "") } else { text };
            fs::write(folder.join(name), text + more).unwrap();
        }
        fs::write(folder.join("contacts"), "").unwrap();
        let mut command = Command::new("baresip");
        command.arg("-f").arg(&folder);
        if let Some(uri) = uri {
            command.args(["-e", &format!("/dial {uri}")]);
        }
        let process = Process::start("baresip", command);
        process.wait_for_output("baresip is ready");
        Self { process, folder }
    }

    /// Waits until its output says something.
    pub fn wait_for(&self, text: &str) {
        wait_until(&format!("baresip says `{text}`"), || {
            self.process.output().contains(text) || self.process.errors().contains(text)
        });
    }

    /// Ends it; what is registered is registered no more.
    pub fn end(self) {
        self.process.terminate();
    }

    /// Ends it, with its call, and gives what it heard.
    pub fn heard(self) -> Vec<i16> {
        self.process.terminate();
        let dumps = fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        let decoded = dumps.filter(|path| path.to_string_lossy().ends_with("-dec.wav"));
        let decoded: Vec<_> = decoded.collect();
        assert_eq!(decoded.len(), 1, "{decoded:?}");
        audio::read_wav(&decoded[0])
    }
}

fn modules() -> String {
    let places = ["/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules"];
    let place = places.iter().find(|place| Path::new(place).is_dir());
    place.unwrap_or_else(|| panic!("baresip's modules are nowhere: install baresip-core")).to_string()
}

#[test]
fn baresip_hears_the_prompts_and_no_others() {
    with_system(&Setup::default(), |system| {
        let speech = tone(440.0, SPEECH_SECONDS);
        let agent = Agent::start(system, system.peer_port(), "pcmu", &speech, Some("+18005550100"));
        agent.wait_for("terminated");
        let heard = agent.heard();
        for (name, is_heard) in [("welcome", true), ("bye", true), ("menu", false), ("one", false)] {
            // What still waits in its jitter buffer when the BYE comes is never heard.
            let found = likeness(&system.prompt(name)[..4_800], &heard);
            assert_eq!(found > 0.9, is_heard, "{name}: {found:.3} in {} samples", heard.len());
        }
        assert_eq!(system.path_of_call(1), ["welcome: played", "bye: hangup"]);
        works::passed("baresip", "UDP", "hears the prompts of a flow");
    });
}

#[test]
fn dial_joins_two_phones_that_speak_the_same_codec() {
    with_system(&Setup::default(), |system| drop(joined(system, "pcmu", "pcmu", "+18005550102")));
}

#[test]
fn dial_joins_two_phones_that_speak_different_codecs() {
    with_system(&Setup::default(), |system| drop(joined(system, "pcmu", "pcma", "+18005550102")));
}

#[test]
fn dial_after_a_prompt_joins_two_phones() {
    with_system(&Setup::default(), |system| {
        let heard = joined(system, "pcma", "pcmu", "+18005550105");
        let found = likeness(&system.prompt("welcome"), &heard);
        assert!(found > 0.9, "{found:.3}");
    });
}

/// Joins two phones, compares what each hears with what the other says, and gives what the caller heard.
fn joined(system: &System, caller: &str, callee: &str, number: &str) -> Vec<i16> {
    let callee = Agent::start(system, system.pbx.port(), callee, &tone(1_250.0, SPEECH_SECONDS), None);
    let caller = Agent::start(system, system.peer_port(), caller, &tone(550.0, SPEECH_SECONDS), Some(number));
    callee.wait_for("Call established");
    caller.wait_for("Call established");
    // Both talk.
    thread::sleep(Duration::from_secs(4));
    assert_eq!(system.metric("switchboard_calls"), 1);
    let by_caller = caller.heard();
    callee.wait_for("terminated");
    let by_callee = callee.heard();
    assert_hears(&by_callee, 550.0, 1_250.0);
    assert_hears(&by_caller[by_caller.len().saturating_sub(24_000)..], 1_250.0, 550.0);
    by_caller
}

/// Two seconds of a note from the other side, and nothing of its own.
pub fn assert_hears(samples: &[i16], other: f64, own: f64) {
    let loud = loud_part(samples);
    assert!(loud.len() > 16_000, "{} of {} samples are loud", loud.len(), samples.len());
    let (found, echo) = (share(loud, other), share(loud, own));
    assert!(found > 0.9, "{found:.3} of what is heard is the other's {other} Hz");
    assert!(echo < 0.01, "{echo:.3} of what is heard is one's own {own} Hz");
}
