//! `switchboard check` on what no repository can hold: links, pipes, devices, files of megabytes; and on standard input.

#![expect(clippy::unwrap_used, reason = "tests")]

mod pull_request;

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    os::unix::{fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// Largest manifest, in bytes.
const FILE_MAX: usize = 10 * 1024 * 1024;

/// A folder of its own, gone when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("switchboard-check-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// With the quickstart in it, which has no fault.
    fn of_the_quickstart(name: &str) -> Self {
        let folder = Self::new(name);
        copy(&repository().join("examples/quickstart"), &folder.0);
        folder
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.0.join(name), content).unwrap();
    }

    /// Exit code, what is printed, and what is said on standard error, with the folder's name taken out.
    fn check(&self) -> (i32, String, String) {
        // Twice what the largest folder of these tests takes.
        let script = "ulimit -v 6000000; exec \"$0\" check \"$1\"";
        let binary = env!("CARGO_BIN_EXE_switchboard");
        told(&Command::new("sh").args(["-c", script, binary]).arg(&self.0).output().unwrap(), &self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn told(output: &Output, folder: &Path) -> (i32, String, String) {
    let text = |bytes: &[u8]| {
        let folder = folder.display().to_string();
        String::from_utf8_lossy(bytes).replace(&format!("{folder}/"), "").replace(&folder, "DIR")
    };
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// The command with something at its standard input.
fn piped(arguments: &[&str], input: &[u8]) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // What is refused is not read to its end.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    told(&output, Path::new("/nowhere"))
}

fn nothing() -> (i32, String, String) {
    (0, String::new(), String::new())
}

/// The quickstart's manifests in one stream; its prompts are files, which a stream has not.
fn quickstart_stream() -> String {
    let mut names: Vec<_> = fs::read_dir(repository().join("examples/quickstart")).unwrap().collect();
    names.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
    let paths = names.into_iter().map(|entry| entry.unwrap().path());
    let manifests = paths.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    manifests.fold(String::new(), |mut stream, path| {
        write!(stream, "---\n{}", fs::read_to_string(path).unwrap()).unwrap();
        stream
    })
}

#[test]
fn a_folder_that_links_lead_into_again_is_read_once() {
    let folder = Folder::of_the_quickstart("loop");
    symlink(".", folder.0.join("again")).unwrap();
    symlink("..", folder.0.join("prompts/up")).unwrap();
    symlink("prompts", folder.0.join("aside")).unwrap();
    assert_eq!(folder.check(), nothing());
}

#[test]
fn all_that_cannot_be_read_is_told_in_one_run_beside_all_that_is_wrong() {
    let folder = Folder::of_the_quickstart("unreadable");
    symlink("/nowhere/flows.yaml", folder.0.join("a-dangling.yaml")).unwrap();
    symlink("/nowhere/flows", folder.0.join("b-dangling")).unwrap();
    symlink("c-itself.yaml", folder.0.join("c-itself.yaml")).unwrap();
    assert!(Command::new("mkfifo").arg(folder.0.join("d-pipe.yaml")).status().unwrap().success());
    let _socket = UnixListener::bind(folder.0.join("e-socket.yml")).unwrap();
    symlink("/dev/zero", folder.0.join("f-device.json")).unwrap();
    // A file that can be opened and not be read, whoever tries.
    symlink("/proc/self/mem", folder.0.join("g-broken.yaml")).unwrap();
    folder.write("h-large.yaml", vec![b'#'; FILE_MAX + 1]);
    folder.write("i-latin.yaml", b"kind: Queue\nmetadata: {name: caf\xe9}\n");
    folder.write(
        "j-wrong.yaml",
        "apiVersion: switchboard.dev/v1alpha1\nkind: Queu\nmetadata: {name: a}\nspec: {}\n",
    );
    folder.write("k-other.txt", "not ours");
    symlink("/nowhere/notes.txt", folder.0.join("l-other.txt")).unwrap();
    let (code, lines, complaint) = folder.check();
    let wanted = "\
a-dangling.yaml:1:1: error[UnreadableFile]: This is a link to /nowhere/flows.yaml, which is not there; mend or remove it.
b-dangling:1:1: error[UnreadableFile]: This is a link to /nowhere/flows, which is not there; mend or remove it.
c-itself.yaml:1:1: error[UnreadableFile]: The file cannot be read: Too many levels of symbolic links (os error 40).
d-pipe.yaml:1:1: error[UnreadableFile]: This is a FIFO; a manifest must be a file.
e-socket.yml:1:1: error[UnreadableFile]: This is a socket; a manifest must be a file.
f-device.json:1:1: error[UnreadableFile]: This is a device; a manifest must be a file.
g-broken.yaml:1:1: error[UnreadableFile]: The file cannot be read: Input/output error (os error 5).
h-large.yaml:1:1: error[UnreadableFile]: The file has 10485761 bytes; it may have at most 10485760. Split it.
i-latin.yaml:2:21: error[UnreadableFile]: The file must be UTF-8 text; save it as UTF-8.
j-wrong.yaml:2:7: error[UnknownKind]: API version switchboard.dev/v1alpha1 has no kind `Queu`; did you mean `Queue`?
";
    assert_eq!((code, lines.as_str(), complaint.as_str()), (1, wanted, ""));
}

#[test]
fn other_verbs_refuse_a_folder_that_cannot_be_read_whole() {
    let folder = Folder::of_the_quickstart("refused");
    symlink("/nowhere/flows.yaml", folder.0.join("flows.yaml")).unwrap();
    let binary = env!("CARGO_BIN_EXE_switchboard");
    let output = Command::new(binary).arg("diagram").arg(&folder.0).output().unwrap();
    let wanted = "switchboard: cannot read all of DIR:\nflows.yaml:1:1: error[UnreadableFile]: This is a link to /nowhere/flows.yaml, which is not there; mend or remove it.\n";
    assert_eq!(told(&output, &folder.0), (1, String::new(), wanted.into()));
}

#[test]
fn folders_nest_as_deep_as_a_person_can_follow() {
    let folder = Folder::of_the_quickstart("deep");
    let deep = folder.0.join(vec!["d"; 80].join("/"));
    fs::create_dir_all(&deep).unwrap();
    let (code, lines, _) = folder.check();
    let path = vec!["d"; 65].join("/");
    let wanted = format!(
        "{path}:1:1: error[UnreadableFile]: Folders may nest 64 deep; this one is not looked into.\n"
    );
    assert_eq!((code, lines), (1, wanted));
}

#[test]
fn a_file_of_ten_megabytes_is_read_whole() {
    let folder = Folder::of_the_quickstart("ten-megabytes");
    let object = "apiVersion: switchboard.dev/v1alpha1\nkind: Queu\nmetadata: {name: last}\nspec: {}\n";
    let line = "# A comment, as generators leave them behind by the thousand.\n";
    let mut text = line.repeat((FILE_MAX - object.len()) / line.len());
    let lines_before = text.lines().count();
    text.push_str(object);
    text.push_str(&"#".repeat(FILE_MAX - text.len()));
    folder.write("large.yaml", &text);
    let (code, lines, _) = folder.check();
    let wanted = format!(
        "large.yaml:{}:7: error[UnknownKind]: API version switchboard.dev/v1alpha1 has no kind `Queu`; did you mean `Queue`?\n",
        lines_before + 2
    );
    assert_eq!((code, lines), (1, wanted));
}

/// A mapping of so many keys, each unknown: nothing may compare each with each, and nobody reads that many lines.
#[test]
fn a_hundred_thousand_unknown_fields_are_told_as_far_as_a_person_reads() {
    let folder = Folder::of_the_quickstart("wide");
    let keys: String = (0..100_000).fold(String::new(), |mut keys, key| {
        writeln!(keys, "  k{key}: 1").unwrap();
        keys
    });
    let head =
        "apiVersion: switchboard.dev/v1alpha1\nkind: Queue\nmetadata: {name: wide, namespace: acme}\nspec:\n";
    folder.write("wide.yaml", format!("{head}{keys}"));
    let (code, lines, _) = folder.check();
    assert_eq!(code, 1);
    let unknown = lines.lines().filter(|line| line.contains("error[UnknownField]")).count();
    assert_eq!(unknown, 1_000);
    assert!(
        lines.contains("wide.yaml:4:1: error[InvalidValue]: The object has 99000 more of such problems.\n"),
        "{lines}"
    );
}

#[test]
fn a_stream_is_checked_like_a_file() {
    let stream = quickstart_stream().replace("kind: Local", "kind: Locla");
    let (code, lines, complaint) = piped(&["check", "-"], stream.as_bytes());
    assert_eq!((code, complaint.as_str()), (1, ""));
    let at = 1 + stream.lines().position(|line| line.contains("Locla")).unwrap();
    assert!(lines.contains(&format!("-:{at}:")) && lines.contains("did you mean `Local`?"), "{lines}");
}

#[test]
fn an_empty_stream_is_a_failure_of_whatever_should_have_written_it() {
    for verb in [&["check", "-"][..], &["diagram", "-"], &["firewall", "-", "--cluster", "C14"]] {
        let (code, lines, complaint) = piped(verb, b"\n");
        assert_eq!((code, lines.as_str()), (1, ""));
        assert_eq!(complaint, "switchboard: standard input is empty\n");
    }
}

#[test]
fn one_manifest_can_be_checked_alone() {
    let folder = Folder::new("alone");
    folder.write(
        "queue.yaml",
        "apiVersion: switchboard.dev/v1alpha1\nkind: Queue\nmetadata: {name: a}\nspec: {channels: [Fax]}\n",
    );
    folder.write("other.txt", "");
    let check = |name: &str| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_switchboard")).arg("check").arg(folder.0.join(name)).output();
        told(&output.unwrap(), &folder.0)
    };
    let (code, lines, _) = check("queue.yaml");
    assert_eq!(code, 1);
    assert!(lines.starts_with("queue.yaml:4:19: error[InvalidValue]"), "{lines}");
    let (code, _, complaint) = check("other.txt");
    assert_eq!(code, 1);
    assert_eq!(complaint, "switchboard: other.txt is no manifest (.yaml, .yml or .json) and no folder\n");
}
