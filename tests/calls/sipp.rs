//! sipp as carrier or as callee: scenarios in `scenarios/`, in which `@WORDS@` stand for messages that many have.

use std::{fs, net::SocketAddr, process::Command};

use crate::harness::{Process, System};

/// A running sipp.
#[derive(Debug)]
pub struct Sipp {
    process: Process,
    trace: std::path::PathBuf,
}

/// How a scenario is run.
#[derive(Debug)]
pub struct Run<'a> {
    /// Scenario's file name and text.
    pub scenario: (&'static str, &'static str),
    /// Whom it calls; empty where it is called.
    pub number: &'a str,
    /// Where its audio is heard; absent: at a port of its own, by sipp itself.
    pub rtp: Option<SocketAddr>,
    /// SIP port; absent: one of the system's peers' ports.
    pub port: Option<u16>,
    /// Address it calls from.
    pub address: &'a str,
    /// Whom it calls; absent: the system.
    pub server: Option<SocketAddr>,
    /// Further arguments.
    pub more: &'a [&'a str],
}

impl Default for Run<'_> {
    fn default() -> Self {
        Self {
            scenario: ("", ""),
            number: "",
            rtp: None,
            port: None,
            address: "127.0.0.1",
            server: None,
            more: &["-m", "1", "-l", "1"],
        }
    }
}

/// Names a scenario of `scenarios/`.
macro_rules! scenario {
    ($name:literal) => {
        ($name, include_str!(concat!("scenarios/", $name, ".xml")))
    };
}
pub(crate) use scenario;

const PARTS: [(&str, &str); 5] = [
    ("@INVITE@", include_str!("scenarios/parts/invite.xml")),
    ("@RINGING@", include_str!("scenarios/parts/ringing.xml")),
    ("@ACK@", include_str!("scenarios/parts/ack.xml")),
    ("@BYE@", include_str!("scenarios/parts/bye.xml")),
    ("@EXPECT_BYE@", include_str!("scenarios/parts/expect-bye.xml")),
];

impl Sipp {
    pub fn start(system: &System, run: &Run<'_>) -> Self {
        let (name, text) = run.scenario;
        let port = run.port.unwrap_or_else(|| system.peer_port());
        let media = system.peer_port();
        // It takes the port two above as well, for video.
        system.peer_port();
        let folder = system.dir.path().join(format!("sipp-{port}"));
        fs::create_dir_all(&folder).unwrap();
        let text =
            PARTS.iter().fold(text.to_owned(), |text, (word, part)| text.replace(word, part.trim_end()));
        let file = folder.join(format!("{name}.xml"));
        fs::write(&file, text).unwrap();
        let trace = folder.join("messages");
        let rtp = run.rtp.map_or(media, |rtp| rtp.port());
        let mut command = Command::new("sipp");
        command.current_dir(&folder).arg("-sf").arg(file).arg("-message_file").arg(&trace);
        command.args([
            "-i",
            run.address,
            "-mi",
            run.address,
            "-nostdin",
            "-trace_msg",
            "-trace_err",
            "-trace_screen",
        ]);
        command.args(["-p", &port.to_string(), "-mp", &media.to_string(), "-key", "rtp", &rtp.to_string()]);
        command.args(["-timeout", "80s", "-timeout_error", "-default_behaviors", "all,-bye"]).args(run.more);
        if !run.number.is_empty() {
            command.args(["-s", run.number]).arg(run.server.unwrap_or(system.sip).to_string());
        }
        let sipp = Self { process: Process::start("sipp", command), trace };
        if run.number.is_empty() {
            crate::harness::wait_until("sipp listens", || is_bound(run.address, port));
        }
        sipp
    }

    /// Waits until every one of its calls has gone by its scenario.
    pub fn wait(&self) {
        let status = self.process.wait();
        if !status.success() {
            panic!(
                "sipp: {status}\n{}\n{}\n{}",
                self.process.output(),
                self.process.errors(),
                self.messages()
            );
        }
    }

    /// What was sent and received.
    pub fn messages(&self) -> String {
        fs::read_to_string(&self.trace).unwrap_or_default()
    }

    /// How many messages begin with `start`.
    pub fn count(&self, start: &str) -> usize {
        self.messages().lines().filter(|line| line.starts_with(start)).count()
    }
}

fn is_bound(address: &str, port: u16) -> bool {
    std::net::UdpSocket::bind((address, port)).is_err()
        || std::net::TcpListener::bind((address, port)).is_err()
}
