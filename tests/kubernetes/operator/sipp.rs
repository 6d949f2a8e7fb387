//! Calls by sipp through a cluster's pods, with the scenarios of `tests/calls`.

use std::{fs, net::SocketAddr, process::Command};

use super::{
    process::{Process, free_ports, until},
    stage::Stage,
};

macro_rules! scenario {
    ($name:literal) => {
        ($name, include_str!(concat!("../../calls/scenarios/", $name, ".xml")))
    };
}

/// Calls, is answered, says BYE a moment later.
pub const HANGS_UP: (&str, &str) = scenario!("hangs-up");
/// Is refused as a number that nobody has.
pub const REFUSED: (&str, &str) = scenario!("refused-404");

const PARTS: [(&str, &str); 5] = [
    ("@INVITE@", include_str!("../../calls/scenarios/parts/invite.xml")),
    ("@RINGING@", include_str!("../../calls/scenarios/parts/ringing.xml")),
    ("@ACK@", include_str!("../../calls/scenarios/parts/ack.xml")),
    ("@BYE@", include_str!("../../calls/scenarios/parts/bye.xml")),
    ("@EXPECT_BYE@", include_str!("../../calls/scenarios/parts/expect-bye.xml")),
];

/// sipp that answers every call, at a port of 127.0.0.1.
pub struct Callee {
    process: Process,
    trace: std::path::PathBuf,
}

impl Callee {
    pub fn start(stage: &Stage, port: u16) -> Self {
        let (name, trace) =
            (format!("callee-{port}"), stage.folder.path().join(format!("callee-{port}.messages")));
        let media = free_ports(4).to_string();
        let mut command = Command::new("sipp");
        command.args(["-sn", "uas", "-i", "127.0.0.1", "-p", &port.to_string(), "-mp", &media, "-nostdin"]);
        command.current_dir(stage.folder.path()).arg("-trace_msg").arg("-message_file").arg(&trace);
        let process = Process::start(stage.folder.path(), &name, &mut command);
        until("sipp listens", || std::net::UdpSocket::bind(("127.0.0.1", port)).is_err());
        Self { process, trace }
    }

    /// Whom the calls were for, in order.
    pub fn called(&self) -> Vec<String> {
        assert!(self.process.ended().is_none(), "the callee has ended");
        let text =
            fs::read(&self.trace).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
        let users = text.lines().filter_map(|line| line.strip_prefix("INVITE sip:")?.split('@').next());
        users.map(str::to_owned).collect()
    }
}

/// A call from 127.0.0.1, which must go by its scenario.
#[track_caller]
pub fn call(stage: &Stage, to: SocketAddr, number: &str, (name, text): (&str, &str)) {
    let port = free_ports(2);
    let media = free_ports(4).to_string();
    let file = stage.folder.path().join(format!("{name}.xml"));
    let text = PARTS.iter().fold(text.to_owned(), |text, (word, part)| text.replace(word, part.trim_end()));
    fs::write(&file, text).unwrap();
    let mut command = Command::new("sipp");
    command.current_dir(stage.folder.path()).arg("-sf").arg(&file).arg("-trace_msg").arg("-message_file");
    command.arg(stage.folder.path().join(format!("caller-{port}.messages")));
    command.args(["-i", "127.0.0.1", "-mi", "127.0.0.1", "-p", &port.to_string(), "-mp", &media]);
    command.args([
        "-key",
        "rtp",
        &media,
        "-m",
        "1",
        "-l",
        "1",
        "-nostdin",
        "-timeout",
        "60s",
        "-timeout_error",
    ]);
    command.args(["-default_behaviors", "all,-bye", "-s", number, &to.to_string()]);
    let caller = Process::start(stage.folder.path(), &format!("caller-{port}"), &mut command);
    let status = caller.wait();
    let messages = fs::read(stage.folder.path().join(format!("caller-{port}.messages"))).unwrap_or_default();
    assert!(status.success(), "{name} to {number}: {status}\n{}", String::from_utf8_lossy(&messages));
}
