//! What works with whom: each test that a real peer takes part in says so here, and README.md is what they said.
//!
//! The test of this module begins last, by its name, and waits for the others of its run. A row that did not pass, or that
//! README.md does not have, fails it; `UPDATE_GOLDEN=1` writes README.md anew. Versions are those of the run that wrote it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::attackers::sipvicious;

/// A peer, a transport, and what is done.
type Row = (&'static str, &'static str, &'static str);

const ROWS: [Row; 39] = [
    ("Kamailio", "UDP", "answers our OPTIONS, and is down when it does not"),
    ("Kamailio", "UDP", "registers our trunk, once its 401 is answered"),
    ("Kamailio", "UDP", "sends calls to us by its route; BYE of either side"),
    ("Kamailio", "UDP", "takes our call, once its 407 is answered; ACK and BYE go by its route"),
    ("SIPVicious", "UDP", "svcrack is banned before it comes to the right password"),
    ("SIPVicious", "UDP", "svmap finds nothing on a listener for trunks"),
    ("SIPVicious", "UDP", "svwar sees no difference between users and names that nobody has"),
    ("baresip", "TCP", "calls and is called; both hear each other"),
    ("baresip", "TCP", "registers with a digest, and goes"),
    ("baresip", "TLS", "calls and is called; both hear each other"),
    ("baresip", "UDP", "calls and is called by DTLS-SRTP; both hear each other"),
    ("baresip", "UDP", "calls and is called by SRTP (SDES); both hear each other"),
    ("baresip", "UDP", "calls and is called; both hear each other"),
    ("baresip", "UDP", "hears the prompts of a flow"),
    ("baresip", "UDP", "is called without SRTP, once it has refused it"),
    ("baresip", "UDP", "registers with a digest, and goes"),
    ("baresip", "UDP", "speaks Opus and G.722, to its like and to G.711"),
    ("baresip", "UDP", "speaks by DTLS-SRTP to who has SDES, or neither"),
    ("linphone", "TCP", "calls, and hangs up"),
    ("linphone", "TCP", "registers with a digest, and goes"),
    ("linphone", "TLS", "calls, and hangs up"),
    ("linphone", "UDP", "calls, and hangs up"),
    ("linphone", "UDP", "is called"),
    ("linphone", "UDP", "registers with a digest, and goes"),
    ("openssl", "TLS", "each suite of the policy is taken, each other is refused"),
    ("sipp", "TCP", "100 calls at once on one connection"),
    ("sipp", "UDP", "100 calls at once"),
    ("sipp", "UDP", "a 200 that was lost is sent again; without an ACK the call is given up"),
    ("sipp", "UDP", "a key of its recording is understood"),
    ("sipp", "UDP", "an INVITE without an offer"),
    ("sipp", "UDP", "gives up while it rings; the callee is cancelled"),
    ("sipp", "UDP", "hold and resume by re-INVITE"),
    ("sipp", "UDP", "its own scenario uac calls"),
    ("sipp", "UDP", "its own scenario uas is called"),
    ("sipsak", "TCP", "its OPTIONS is answered 200"),
    ("sipsak", "UDP", "20,000 OPTIONS as fast as they go stop no call"),
    ("sipsak", "UDP", "200 trashed messages stop no call"),
    ("sipsak", "UDP", "its OPTIONS is answered 200"),
    ("tshark", "UDP", "finds nothing malformed in a call's SIP, RTP and RTCP"),
];

/// How long the last of the others may take.
const OTHERS_WAIT: Duration = Duration::from_secs(240);

static PASSED: Mutex<BTreeSet<Row>> = Mutex::new(BTreeSet::new());
static SUITES: Mutex<BTreeMap<&str, String>> = Mutex::new(BTreeMap::new());

/// Said by a test whose peer did what the row says.
pub fn passed(peer: &'static str, transport: &'static str, what: &'static str) {
    let row = (peer, transport, what);
    assert!(ROWS.contains(&row), "{row:?} is no row of works.rs: add it");
    PASSED.lock().unwrap_or_else(PoisonError::into_inner).insert(row);
}

/// Suites that tshark saw in a handshake, in their order.
pub fn saw(which: &'static str, suites: &[String]) {
    SUITES.lock().unwrap_or_else(PoisonError::into_inner).insert(which, suites.join(", "));
}

const HANDSHAKES: [&str; 3] = [
    "our ClientHello to a trunk",
    "our ServerHellos with an RSA certificate",
    "our ServerHellos with an ECDSA certificate",
];

#[test]
fn with_real_peers_as_the_readme_says() {
    if let Some(filter) = filter() {
        return eprintln!("only `{filter}` runs: README.md is not compared");
    }
    let passed = || PASSED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let suites = || SUITES.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let until = Instant::now() + OTHERS_WAIT;
    while (passed().len() < ROWS.len() || suites().len() < HANDSHAKES.len()) && Instant::now() < until {
        thread::sleep(Duration::from_millis(100));
    }
    let (passed, suites) = (passed(), suites());
    let missing: Vec<_> = ROWS.iter().filter(|row| !passed.contains(*row)).collect();
    assert!(missing.is_empty(), "these did not pass: {missing:#?}");
    let unseen: Vec<_> = HANDSHAKES.iter().filter(|which| !suites.contains_key(*which)).collect();
    assert!(unseen.is_empty(), "of these handshakes nothing was seen: {unseen:?}");
    let changed = compare("peers", &table()) | compare("handshakes", &handshakes(&suites));
    assert!(!changed, "tests/calls/README.md says otherwise: UPDATE_GOLDEN=1 writes it");
}

/// What else than all tests the runner was asked for.
fn filter() -> Option<String> {
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--skip" | "--test-threads" => drop(arguments.next()),
            "--exact" | "--ignored" => return Some(argument),
            word if !word.starts_with('-') => return Some(argument),
            _ => {}
        }
    }
    None
}

fn table() -> String {
    let mut text = "| peer | version | transport | what it does |\n| --- | --- | --- | --- |\n".to_owned();
    let versions: BTreeMap<_, _> = ROWS.iter().map(|(peer, ..)| (*peer, version(peer))).collect();
    for (peer, transport, what) in ROWS {
        writeln!(text, "| {peer} | {} | {transport} | {what} |", versions[peer]).unwrap();
    }
    text
}

fn handshakes(suites: &BTreeMap<&str, String>) -> String {
    let mut text = String::new();
    for which in HANDSHAKES {
        writeln!(text, "- {which}: {}", suites[which]).unwrap();
    }
    text
}

/// The first word with a full stop among digits that a peer says of itself.
fn version(peer: &str) -> String {
    let (program, arguments): (PathBuf, &[&str]) = match peer {
        "SIPVicious" => (sipvicious("sipvicious_svmap"), &["--version"]),
        "Kamailio" => ("kamailio".into(), &["-v"]),
        "baresip" => ("dpkg-query".into(), &["-W", "-f=${Version}", "baresip-core"]),
        "linphone" => ("linphonec".into(), &["--version"]),
        "openssl" => ("openssl".into(), &["version"]),
        "sipp" => ("sipp".into(), &["-v"]),
        "sipsak" => ("sipsak".into(), &["--version"]),
        "tshark" => ("tshark".into(), &["--version"]),
        _ => return "?".into(),
    };
    let Ok(output) = Command::new(program).args(arguments).output() else { return "?".into() };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let words = said.split(|letter: char| letter.is_whitespace() || "(),".contains(letter));
    let mut numbers = words.map(|word| word.trim_start_matches('v').trim_end_matches('.'));
    let version =
        numbers.find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()) && word.contains('.'));
    version.unwrap_or("?").to_owned()
}

fn readme() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/calls/README.md")
}

/// Whether a part of README.md, between its marks, is another; if it may be, it is written. Versions alone are no change.
pub fn compare(part: &str, text: &str) -> bool {
    let whole = fs::read_to_string(readme()).unwrap();
    let marks = (format!("<!-- {part} -->\n"), format!("<!-- end of {part} -->\n"));
    let (before, rest) = whole.split_once(&marks.0).unwrap_or_else(|| panic!("README.md has no {}", marks.0));
    let (was, after) = rest.split_once(&marks.1).unwrap_or_else(|| panic!("README.md has no {}", marks.1));
    if was == text {
        return false;
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(readme(), format!("{before}{}{text}{}{after}", marks.0, marks.1)).unwrap();
        return false;
    }
    let is_same = without_versions(was) == without_versions(text);
    let what = if is_same { "other versions than README.md has" } else { "README.md is to say" };
    eprintln!("{part}: {what}\n{text}");
    !is_same
}

fn without_versions(table: &str) -> String {
    let rows = table.lines().map(|line| {
        let cells: Vec<_> = line.split(" | ").collect();
        let keeps = |place: &usize| cells.len() < 4 || *place != 1;
        (0..cells.len()).filter(keeps).map(|place| cells[place]).collect::<Vec<_>>().join(" | ")
    });
    rows.collect::<Vec<_>>().join("\n")
}
