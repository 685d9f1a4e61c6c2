//! The plugin's launcher where no program came with the plugin: it fetches the one that the plugin was published with, and
//! runs no other. A shell script stands in for the program.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod release_host;

use flate2::Compression;
use flate2::write::GzEncoder;
use release_host::{Answer, ReleaseHost};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The published file's name.
const FILE: &str = "posthog-llma-9.9.9-test.gz";
const VERSION: &str = "9.9.9";

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The name of this machine in the list.
fn platform() -> String {
    let os = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let cpu = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    format!("{os}-{cpu}")
}

/// A machine with the plugin as it was published, and a host of its release.
struct Machine {
    folder: TempDir,
    host: ReleaseHost,
    archive: Vec<u8>,
}

impl Machine {
    fn new() -> Self {
        Self::with_digests(|archive, program| (sha256(archive), sha256(program)))
    }

    /// With a list that has these digests of the compressed file and of the program.
    fn with_digests(digests: impl Fn(&[u8], &[u8]) -> (String, String)) -> Self {
        let folder = TempDir::new().unwrap();
        let said = folder.path().join("said");
        let program = format!("#!/bin/sh\necho \"program $*\"\necho \"$* $(cat)\" >> '{}'\n", said.display());
        let archive = gzip(program.as_bytes());
        let host = ReleaseHost::start(FILE, archive.clone());
        let plugin = folder.path().join("it's a plugin");
        for file in ["bin/posthog-llma", "scripts/fetch", "scripts/run"] {
            let to = plugin.join(file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(xtask::workspace().join("plugin").join(file), to).unwrap();
        }
        let (archive_digest, program_digest) = digests(&archive, program.as_bytes());
        let list = format!(
            "version {VERSION}\nfrom {}\nother other plan9-vax other.gz\n{archive_digest} {program_digest} {} {FILE}\n",
            host.address(),
            platform()
        );
        fs::write(plugin.join("program.sha256"), list).unwrap();
        Self { folder, host, archive }
    }

    fn plugin(&self) -> PathBuf {
        self.folder.path().join("it's a plugin")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn launcher(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.plugin().join("bin/posthog-llma"));
        command.args(arguments).env_clear().env("HOME", self.folder.path().join("home"));
        command.env("CLAUDE_PLUGIN_DATA", self.data()).stdin(Stdio::null());
        command
    }

    fn command(&self) -> Output {
        self.launcher(&["status"]).output().unwrap()
    }

    /// Runs a command that must end without the program, and gives the one line that it says.
    #[track_caller]
    fn refusal(&self, command: &mut Command) -> String {
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(127), 1), "{said}");
        assert!(output.stdout.is_empty() && !self.has_program(), "{said}");
        assert!(
            said.starts_with(&format!("posthog-llma {VERSION} is not installed, so no session is sent: ")),
            "{said}"
        );
        said
    }

    fn hook(&self, event: &str) -> Output {
        let mut child = spawn(self.launcher(&["hook"]).stdin(Stdio::piped()));
        let input = format!("{{\"hook_event_name\":\"{event}\"}}");
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Is there anything that could be run, or what is left of one?
    fn has_program(&self) -> bool {
        fs::read_dir(self.data()).is_ok_and(|mut entries| {
            entries.any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with("program-"))
        })
    }

    /// What the program was called with.
    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("said")).unwrap_or_default()
    }
}

fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[track_caller]
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_first_command_fetches_the_program_and_says_so_in_one_line_and_the_next_one_just_runs_it() {
    let machine = Machine::new();
    let output = machine.command();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "program status\n");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1);
    assert!(said.contains(VERSION) && said.contains(&machine.host.address()) && said.contains("SHA-256"), "{said}");
    let again = machine.command();
    assert_eq!((again.stdout, again.stderr), (b"program status\n".to_vec(), Vec::new()));
    assert_eq!(machine.host.requests().len(), 1);
    let data = machine.data();
    let entries: Vec<_> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(fs::metadata(&entries[0]).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn the_start_of_a_session_fetches_in_the_background_and_hands_over_its_input() {
    let machine = Machine::new();
    machine.host.answers(Answer::Slowly);
    let output = machine.hook("SessionStart");
    assert!(!machine.has_program(), "no session waits for the network");
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    eventually("the program is called", || machine.said().contains("hook {\"hook_event_name\":\"SessionStart\"}"));
    let output = machine.hook("SessionEnd");
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    assert!(machine.said().contains("SessionEnd"));
}

#[test]
fn the_end_of_a_session_never_fetches() {
    let machine = Machine::new();
    let output = machine.hook("SessionEnd");
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    thread::sleep(Duration::from_millis(300));
    assert!(machine.host.requests().is_empty() && !machine.has_program());
}

#[test]
fn a_tampered_archive_is_not_run() {
    let machine = Machine::new();
    let mut tampered = machine.archive.clone();
    *tampered.last_mut().unwrap() ^= 1;
    machine.host.answers(Answer::With(tampered));
    let said = machine.refusal(&mut machine.launcher(&["status"]));
    assert!(said.contains("SHA-256 differs") && said.contains(FILE), "{said}");
    assert_eq!(machine.said(), "");
}

#[test]
fn another_program_in_the_archive_is_not_run() {
    let machine = Machine::with_digests(|archive, _| (sha256(archive), sha256(b"another")));
    let said = machine.refusal(&mut machine.launcher(&["status"]));
    assert!(said.contains("the program in") && said.contains("SHA-256 differs"), "{said}");
}

#[test]
fn half_a_download_is_not_run() {
    let machine = Machine::new();
    machine.host.answers(Answer::Half);
    let said = machine.refusal(&mut machine.launcher(&["status"]));
    assert!(said.contains("cannot be fetched") || said.contains("SHA-256 differs"), "{said}");
    machine.host.answers(Answer::Whole);
    assert_eq!(machine.command().stdout, b"program status\n", "the next command tries again");
}

#[test]
fn no_network_is_said_and_a_later_command_tries_again() {
    let machine = Machine::new();
    machine.host.answers(Answer::Nothing);
    let said = machine.refusal(&mut machine.launcher(&["status"]));
    assert!(said.contains("cannot be fetched") && said.contains(&machine.host.address()), "{said}");
    machine.host.answers(Answer::NotFound);
    assert!(machine.refusal(&mut machine.launcher(&["status"])).contains("404"));
    machine.host.answers(Answer::Whole);
    assert_eq!(machine.command().stdout, b"program status\n");
}

#[test]
fn what_went_wrong_in_the_background_is_kept_for_whoever_looks() {
    let machine = Machine::new();
    machine.host.answers(Answer::NotFound);
    machine.hook("SessionStart");
    let kept = machine.data().join("not-fetched");
    eventually("it is written down", || fs::read_to_string(&kept).is_ok_and(|said| said.contains("404")));
    machine.host.answers(Answer::Whole);
    machine.command();
    assert!(!kept.exists(), "that is over");
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    let machine = Machine::new();
    for data in ["/dev/null/data", "/proc/posthog-llma"] {
        let said = machine.refusal(machine.launcher(&["status"]).env("CLAUDE_PLUGIN_DATA", data));
        assert!(said.contains(data), "{said}");
    }
    let said = machine.refusal(machine.launcher(&["status"]).env_remove("CLAUDE_PLUGIN_DATA"));
    assert!(said.contains("CLAUDE_PLUGIN_DATA"), "{said}");
    let output = machine.launcher(&["hook"]).env("CLAUDE_PLUGIN_DATA", "/dev/null/data").output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

/// Mounts a file system at the data folder and calls the launcher there: its end, and what is in the folder then. None where
/// nothing can be mounted.
fn on_file_system(machine: &Machine, test: &str, options: &str, before: &str, call: &str) -> Option<Output> {
    let data = machine.data();
    fs::create_dir(&data).unwrap();
    let script = format!(
        "mount -t tmpfs -o {options} none \"$CLAUDE_PLUGIN_DATA\" || exit 77\n{before}\n\
         \"$0\" {call}; code=$?; ls \"$CLAUDE_PLUGIN_DATA\"; exit $code"
    );
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", &script]).arg(machine.plugin().join("bin/posthog-llma"));
    let output = command.env("CLAUDE_PLUGIN_DATA", &data).stdin(Stdio::null()).output();
    match output {
        Ok(output) if !matches!(output.status.code(), Some(1 | 77)) => Some(output),
        other => {
            let _ = writeln!(std::io::stderr(), "skipped: no file system can be mounted for {test}: {other:?}");
            None
        }
    }
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing_behind() {
    let machine = Machine::new();
    // A file system with room for folders, but for no file's contents.
    let fill = "dd if=/dev/zero of=\"$CLAUDE_PLUGIN_DATA/full\" bs=4k count=1 2> /dev/null";
    let test = "the test of a full disk";
    let Some(output) = on_file_system(&machine, test, "size=4k,nr_inodes=16", fill, "status") else { return };
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(127), 1), "{said}");
    assert!(said.contains("cannot be"), "{said}");
    let left = String::from_utf8(output.stdout).unwrap();
    assert!(!left.contains("program-") && !left.contains("fetching"), "{left}");
}

#[test]
fn a_read_only_home_is_said_by_a_command_and_disturbs_no_session() {
    for call in ["status", "hook"] {
        let machine = Machine::new();
        let Some(output) = on_file_system(&machine, "the test of a read-only home", "ro", "", call) else { return };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.stdout.is_empty() && machine.host.requests().is_empty(), "{output:?}");
        if call == "hook" {
            assert!(output.status.success() && said.is_empty(), "{output:?}");
        } else {
            assert_eq!((output.status.code(), said.lines().count()), (Some(127), 1), "{said}");
            assert!(said.contains("cannot be written to"), "{said}");
        }
    }
}

#[test]
fn of_two_that_start_at_once_one_fetches_and_both_run() {
    let machine = Machine::new();
    machine.host.answers(Answer::Slowly);
    let children: Vec<_> = (0..4).map(|_| spawn(&mut machine.launcher(&["status"]))).collect();
    for child in children {
        assert_eq!(child.wait_with_output().unwrap().stdout, b"program status\n");
    }
    assert_eq!(machine.host.requests().len(), 1);
}

#[test]
fn who_was_killed_while_fetching_does_not_stop_others_for_long() {
    let machine = Machine::new();
    let fetching = machine.data().join("fetching");
    fs::create_dir_all(&fetching).unwrap();
    fs::write(fetching.join("archive"), "half").unwrap();
    // A hook does not wait; nor does it take what may still be written.
    machine.hook("SessionStart");
    thread::sleep(Duration::from_millis(200));
    assert!(machine.host.requests().is_empty());
    let old = std::time::SystemTime::now() - Duration::from_mins(20);
    fs::File::open(&fetching).unwrap().set_modified(old).unwrap();
    assert_eq!(machine.command().stdout, b"program status\n");
}

#[test]
fn a_program_in_a_folder_that_others_can_write_to_is_fetched_again() {
    let machine = Machine::new();
    machine.command();
    let folder = fs::read_dir(machine.data()).unwrap().next().unwrap().unwrap().path();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(folder.join("posthog-llma"), "#!/bin/sh\necho evil\n").unwrap();
    assert_eq!(machine.command().stdout, b"program status\n");
    assert_eq!(machine.host.requests().len(), 2);
}

#[test]
fn a_new_version_takes_the_place_of_the_old_one() {
    let machine = Machine::new();
    let old = machine.data().join("program-0123456789abcdef");
    fs::create_dir_all(&old).unwrap();
    fs::write(old.join("posthog-llma"), "#!/bin/sh\necho old\n").unwrap();
    assert_eq!(machine.command().stdout, b"program status\n");
    assert!(!old.exists());
}

#[test]
fn a_folder_of_files_replaces_the_network() {
    let machine = Machine::new();
    machine.host.answers(Answer::Nothing);
    let dist = machine.folder.path().join("dist");
    fs::create_dir(&dist).unwrap();
    let said = machine.refusal(machine.launcher(&["status"]).env("POSTHOG_LLMA_DIST", &dist));
    assert!(said.contains(dist.to_str().unwrap()), "{said}");
    fs::write(dist.join(FILE), &machine.archive).unwrap();
    let output = machine.launcher(&["status"]).env("POSTHOG_LLMA_DIST", &dist).output().unwrap();
    assert_eq!(output.stdout, b"program status\n");
    assert!(machine.host.requests().is_empty());
}

#[test]
fn a_folder_of_other_files_is_refused_as_well() {
    let machine = Machine::new();
    let dist = machine.folder.path().join("dist");
    fs::create_dir(&dist).unwrap();
    fs::write(dist.join(FILE), gzip(b"#!/bin/sh\necho evil\n")).unwrap();
    let said = machine.refusal(machine.launcher(&["status"]).env("POSTHOG_LLMA_DIST", &dist));
    assert!(said.contains("SHA-256 differs"), "{said}");
}

#[test]
fn tools_of_the_projects_path_are_not_used() {
    let machine = Machine::new();
    let tools = machine.folder.path().join("tools");
    fs::create_dir(&tools).unwrap();
    for tool in ["curl", "wget", "sha256sum", "shasum", "gzip", "posthog-llma", "uname", "ls", "cat", "git"] {
        let path = tools.join(tool);
        fs::write(&path, format!("#!/bin/sh\ntouch '{}'\n", machine.folder.path().join("used").display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let output = machine.launcher(&["status"]).env("PATH", &tools).output().unwrap();
    assert_eq!(output.stdout, b"program status\n");
    assert!(!machine.folder.path().join("used").exists());
}

#[test]
fn the_proxy_of_the_environment_is_used() {
    let machine = Machine::new();
    let proxy = ReleaseHost::start(FILE, machine.archive.clone());
    machine.host.answers(Answer::Nothing);
    let output = machine.launcher(&["status"]).env("http_proxy", proxy.address()).output().unwrap();
    assert_eq!(output.stdout, b"program status\n");
    // A proxy is asked for the whole address.
    assert_eq!(proxy.requests(), [format!("{}/{FILE}", machine.host.address())]);
}

#[test]
fn an_address_that_is_neither_https_nor_this_machine_is_refused() {
    let machine = Machine::new();
    let list = machine.plugin().join("program.sha256");
    let text = fs::read_to_string(&list).unwrap().replace(&machine.host.address(), "http://release.example");
    fs::write(list, text).unwrap();
    let said = machine.refusal(&mut machine.launcher(&["status"]));
    assert!(said.contains("neither https nor this machine"), "{said}");
}

#[test]
fn a_platform_without_a_program_is_named() {
    let machine = Machine::new();
    let list = machine.plugin().join("program.sha256");
    let text = fs::read_to_string(&list).unwrap().replace(&format!(" {} ", platform()), " plan9-x64 ");
    fs::write(list, text).unwrap();
    let said = machine.refusal(&mut machine.launcher(&["status"]));
    assert!(said.contains(&platform()), "{said}");
    let output = machine.hook("SessionStart");
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_slash_command_shows_why_there_is_no_program() {
    let machine = Machine::new();
    machine.host.answers(Answer::NotFound);
    let mut run = Command::new("sh");
    run.arg(Path::new(&machine.plugin()).join("scripts/run")).arg(machine.data()).arg("status");
    let output = run.env("HOME", machine.folder.path()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{said}");
    assert!(said.contains("is not installed, so no session is sent") && said.contains("404"), "{said}");
}
