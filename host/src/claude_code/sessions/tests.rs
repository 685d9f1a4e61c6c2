#![expect(clippy::disallowed_methods, reason = "the files are the test's own")]

use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;
use std::fs::File;

pub(super) const ID: &str = "3b7696ad-c8f8-43e2-a479-693b1ee6f815";
pub(super) const OTHER: &str = "e5c4c5d2-d7ed-4383-8851-5b62098a701c";

/// A configuration directory.
pub(super) struct Place {
    config: TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        let config = tempfile::tempdir().unwrap();
        fs::create_dir_all(config.path().join("projects/-p")).unwrap();
        Self { config }
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.config.path().join("projects").join(path)
    }

    pub(super) fn write(&self, path: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Creates a session's main transcript, modified this many seconds after the epoch.
    pub(super) fn session(&self, path: &str, seconds: u64) -> PathBuf {
        let path = self.write(path, "");
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        path
    }

    fn files(&self) -> SessionFiles {
        let main = self.write(&format!("-p/{ID}.jsonl"), "");
        SessionFiles::of_transcript(&main).unwrap()
    }

    fn agents(&self) -> Vec<String> {
        let ids = self.files().agents.into_iter().map(|agent| agent.agent_id);
        ids.collect()
    }

    pub(super) fn find(&self, query: impl AsRef<OsStr>) -> Result<PathBuf, FindError> {
        find(&[self.config.path().to_owned()], query.as_ref())
    }
}

fn line_of(session: &str) -> String {
    format!("{{\"type\":\"user\",\"sessionId\":\"{session}\",\"agentId\":\"a\"}}\n")
}

#[cfg(unix)]
pub(super) fn link(target: impl AsRef<Path>, path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(target, path).unwrap();
}

#[cfg(unix)]
fn pipe(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
}

#[test]
fn a_session_may_have_no_sub_agents() {
    let place = Place::new();
    let files = place.files();
    assert_eq!(files.id, ID);
    assert_eq!(files.main, place.path(&format!("-p/{ID}.jsonl")));
    assert_eq!(files.agents, []);
    assert!(files.unreadable.is_empty());
}

#[test]
fn sub_agents_lie_in_the_session_s_folder() {
    let place = Place::new();
    let path = place.write(&format!("-p/{ID}/subagents/agent-a1.jsonl"), "");
    place.write(&format!("-p/{ID}/subagents/agent-a1.meta.json"), "{\"x\":1}");
    let agent =
        AgentFile { agent_id: "a1".to_owned(), path, metadata: Some("{\"x\":1}".to_owned()), workflow_run: None };
    assert_eq!(place.files().agents, [agent]);
}

#[test]
fn workflow_agents_lie_in_the_run_s_folder() {
    let place = Place::new();
    let run = format!("-p/{ID}/subagents/workflows/wf_9-3ba");
    let path = place.write(&format!("{run}/agent-a2.jsonl"), "");
    place.write(&format!("{run}/agent-a2.meta.json"), "{}");
    place.write(&format!("{run}/journal.jsonl"), "{}");
    place.write(&format!("-p/{ID}/subagents/workflows/other/agent-a3.jsonl"), "");
    place.write(&format!("-p/{ID}/subagents/workflows/agent-a4.jsonl"), "");
    let agent = AgentFile {
        agent_id: "a2".to_owned(),
        path,
        metadata: Some("{}".to_owned()),
        workflow_run: Some("wf_9-3ba".to_owned()),
    };
    assert_eq!(place.files().agents, [agent]);
}

#[test]
fn flat_sub_agents_belong_to_the_session_their_lines_name() {
    let place = Place::new();
    let path = place.write("-p/agent-a5.jsonl", line_of(ID));
    place.write("-p/agent-a6.jsonl", line_of(OTHER));
    place.write("-p/agent-a7.jsonl", "");
    place.write("-p/agent-a8.jsonl", format!("{}{}", line_of(OTHER), line_of(ID)));
    let agent = AgentFile { agent_id: "a5".to_owned(), path, metadata: None, workflow_run: None };
    assert_eq!(place.files().agents, [agent]);
}

#[test]
fn lines_before_the_one_that_names_the_session_do_not_matter() {
    let place = Place::new();
    for (name, lines) in [
        ("a", "{\"type\":\"summary\"}\n"),
        ("b", "no json\n\n[]\n{\"sessionId\":null}\n{\"sessionId\":7}\n"),
        ("c", "\u{feff}{\"sessionId\":\"x\"}\n"),
        ("d", "{\"message\":{\"sessionId\":\"nested\"}}\n"),
    ] {
        place.write(&format!("-p/agent-{name}.jsonl"), format!("{lines}{}", line_of(ID)));
    }
    assert_eq!(place.agents(), ["a", "b", "c", "d"]);
}

#[test]
fn a_last_line_without_its_end_names_the_session_too() {
    let place = Place::new();
    place.write("-p/agent-a.jsonl", line_of(ID).trim_end());
    assert_eq!(place.agents(), ["a"]);
}

#[test]
fn only_the_first_64_kib_are_read() {
    let place = Place::new();
    let far = format!("{{\"a\":\"{}\"}}\n{}", "x".repeat(65_536), line_of(ID));
    place.write("-p/agent-far.jsonl", far);
    let near = format!("{{\"a\":\"{}\"}}\n{}", "x".repeat(60_000), line_of(ID));
    place.write("-p/agent-near.jsonl", near);
    assert_eq!(place.agents(), ["near"]);
}

#[test]
fn a_first_line_over_64_kib_names_the_session_before_its_message() {
    let place = Place::new();
    let text = "\\\"sessionId\\\":\\\"other\\\"é".repeat(10_000);
    let long = |before: &str| format!("{{{before}\"message\":{{\"content\":\"{text}\"}}}}\n");
    place.write("-p/agent-mine.jsonl", long(&format!("\"sessionId\":\"{ID}\",")));
    place.write("-p/agent-other.jsonl", long(&format!("\"sessionId\":\"{OTHER}\",")));
    place.write("-p/agent-none.jsonl", long(""));
    assert_eq!(place.agents(), ["mine"]);
}

#[test]
fn sub_agents_are_in_the_order_of_id_and_path() {
    let place = Place::new();
    let paths = [
        place.write(&format!("-p/{ID}/subagents/agent-a.jsonl"), ""),
        place.write("-p/agent-b.jsonl", line_of(ID)),
        place.write(&format!("-p/{ID}/subagents/agent-c.jsonl"), ""),
        place.write(&format!("-p/{ID}/subagents/workflows/wf_1/agent-c.jsonl"), ""),
        place.write(&format!("-p/{ID}/subagents/workflows/wf_2/agent-c.jsonl"), ""),
        place.write("-p/agent-c.jsonl", line_of(ID)),
    ];
    let found: Vec<PathBuf> = place.files().agents.into_iter().map(|a| a.path).collect();
    assert_eq!(found, paths);
}

#[test]
fn another_session_s_sub_agents_are_left_out() {
    let place = Place::new();
    place.write(&format!("-p/{OTHER}/subagents/agent-a.jsonl"), line_of(ID));
    place.write("-q/agent-b.jsonl", line_of(ID));
    assert_eq!(place.agents(), [""; 0]);
}

#[test]
fn files_of_other_names_are_no_sub_agents() {
    let place = Place::new();
    for name in [
        "agent-.jsonl",
        "agent-a.json",
        "agent-a.jsonl.bak",
        "Agent-a.jsonl",
        "a.jsonl",
        "agent-a.meta.json",
        "journal.jsonl",
    ] {
        place.write(&format!("-p/{ID}/subagents/{name}"), line_of(ID));
        place.write(&format!("-p/{name}"), line_of(ID));
    }
    assert_eq!(place.agents(), [""; 0]);
}

#[test]
fn metadata_that_is_large_or_no_text_is_left_out() {
    let place = Place::new();
    for (name, metadata) in [("fits", vec![b' '; 65_536]), ("large", vec![b' '; 65_537]), ("odd", vec![0xff])] {
        place.write(&format!("-p/{ID}/subagents/agent-{name}.jsonl"), "");
        place.write(&format!("-p/{ID}/subagents/agent-{name}.meta.json"), metadata);
    }
    let with_metadata: Vec<bool> = place.files().agents.iter().map(|agent| agent.metadata.is_some()).collect();
    assert_eq!(with_metadata, [true, false, false]);
}

#[test]
fn a_directory_is_no_sub_agent() {
    let place = Place::new();
    fs::create_dir_all(place.path(&format!("-p/{ID}/subagents/agent-a.jsonl"))).unwrap();
    fs::create_dir_all(place.path("-p/agent-b.jsonl")).unwrap();
    assert_eq!(place.agents(), [""; 0]);
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_not_opened() {
    let place = Place::new();
    pipe(&place.path(&format!("-p/{ID}/subagents/agent-a.jsonl")));
    pipe(&place.path("-p/agent-b.jsonl"));
    link("/dev/zero", &place.path("-p/agent-c.jsonl"));
    place.write(&format!("-p/{ID}/subagents/agent-d.jsonl"), "");
    pipe(&place.path(&format!("-p/{ID}/subagents/agent-d.meta.json")));
    let files = place.files();
    assert_eq!(files.agents.len(), 1);
    assert_eq!(files.agents[0].metadata, None);
}

#[cfg(unix)]
#[test]
fn links_that_lead_out_of_the_project_s_folder_are_left_out() {
    let place = Place::new();
    let outside = place.write("-q/agent-x.jsonl", line_of(ID));
    place.write("-q/agent-x.meta.json", "secret");
    let subagents = place.path(&format!("-p/{ID}/subagents"));
    link(&outside, &subagents.join("agent-a.jsonl"));
    link("../../../-q/agent-x.jsonl", &subagents.join("agent-b.jsonl"));
    link(&outside, &place.path("-p/agent-c.jsonl"));
    link(outside.parent().unwrap(), &subagents.join("workflows/wf_1"));
    link("missing", &subagents.join("agent-d.jsonl"));
    place.write(&format!("-p/{ID}/subagents/agent-e.jsonl"), "");
    link(place.path("-q/agent-x.meta.json"), &subagents.join("agent-e.meta.json"));

    let files = place.files();
    assert_eq!(files.agents.len(), 1, "{:?}", files.agents);
    assert_eq!(files.agents[0].agent_id, "e");
    assert_eq!(files.agents[0].metadata, None);
}

#[cfg(unix)]
#[test]
fn a_linked_folder_that_leads_out_is_left_out() {
    let place = Place::new();
    place.write("-q/subagents/agent-x.jsonl", line_of(ID));
    link(place.path("-q"), &place.path(&format!("-p/{ID}")));
    assert_eq!(place.agents(), [""; 0]);
}

#[cfg(unix)]
#[test]
fn a_link_within_the_project_s_folder_is_followed() {
    let place = Place::new();
    let target = place.write("-p/kept/a.jsonl", line_of(ID));
    link(target, &place.path("-p/agent-a.jsonl"));
    assert_eq!(place.agents(), ["a"]);
}

#[cfg(unix)]
#[test]
fn a_project_s_folder_may_be_a_link() {
    let place = Place::new();
    place.write(&format!("-p/{ID}.jsonl"), "");
    place.write(&format!("-p/{ID}/subagents/agent-a.jsonl"), "");
    link(place.path("-p"), &place.path("-link"));
    let main = place.path(&format!("-link/{ID}.jsonl"));
    assert_eq!(SessionFiles::of_transcript(&main).unwrap().agents.len(), 1);
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_read_is_reported() {
    let place = Place::new();
    let subagents = place.path(&format!("-p/{ID}/subagents"));
    link("subagents", &subagents);
    place.write("-p/agent-b.jsonl", line_of(ID));
    let files = place.files();
    assert_eq!(files.agents.len(), 1);
    let unreadable: Vec<&PathBuf> = files.unreadable.iter().map(|u| &u.path).collect();
    assert_eq!(unreadable, [&subagents, &subagents.join("workflows")]);
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_read_is_reported() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let paths =
        [place.write(&format!("-p/{ID}/subagents/agent-a.jsonl"), ""), place.write("-p/agent-b.jsonl", line_of(ID))];
    for path in &paths {
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    }
    if File::open(&paths[0]).is_ok() {
        return; // The superuser may read everything.
    }
    let files = place.files();
    assert_eq!(files.agents, []);
    assert_eq!(files.unreadable.len(), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf8_are_left_out() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    place.write(&format!("-p/{ID}/subagents/agent-a.jsonl"), "");
    let odd = |name: &[u8]| OsStr::from_bytes(name).to_owned();
    let subagents = place.path(&format!("-p/{ID}/subagents"));
    fs::write(subagents.join(odd(b"agent-\xff.jsonl")), line_of(ID)).unwrap();
    fs::write(place.path("-p").join(odd(b"agent-\xff.jsonl")), line_of(ID)).unwrap();
    fs::create_dir_all(subagents.join("workflows").join(odd(b"wf_\xff"))).unwrap();
    assert_eq!(place.agents(), ["a"]);

    let main = place.path("-p").join(odd(b"\xff.jsonl"));
    fs::write(&main, "").unwrap();
    assert!(matches!(SessionFiles::of_transcript(&main), Err(TranscriptError::Name { .. })));
    assert_eq!(place.find(&ID[..4]).unwrap(), place.path(&format!("-p/{ID}.jsonl")));
    assert!(matches!(place.find(odd(b"\xff")), Err(FindError::NotFound { .. })));

    let folder = place.path("").join(odd(b"-\xff"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(format!("{OTHER}.jsonl")), "").unwrap();
    let found = place.find(OTHER).unwrap();
    assert_eq!(found, folder.join(format!("{OTHER}.jsonl")));
    assert!(SessionFiles::of_transcript(&found).is_ok());
}

#[test]
fn what_is_no_transcript_is_refused() {
    let place = Place::new();
    let missing = SessionFiles::of_transcript(&place.path("-p/x.jsonl"));
    assert!(matches!(missing, Err(TranscriptError::Unreadable { .. })));
    let directory = SessionFiles::of_transcript(&place.path("-p"));
    assert!(matches!(directory, Err(TranscriptError::NotAFile { kind: "directory", .. })));
    let agent = place.write("-p/agent-a.jsonl", "");
    let agent = SessionFiles::of_transcript(&agent);
    assert!(matches!(agent, Err(TranscriptError::Agent { .. })));
    for name in [".jsonl", "..jsonl", "...jsonl"] {
        let unnamed = SessionFiles::of_transcript(&place.write(&format!("-p/{name}"), ""));
        assert!(matches!(unnamed, Err(TranscriptError::Name { .. })), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_no_transcript() {
    let place = Place::new();
    let path = place.path("-p/x.jsonl");
    pipe(&path);
    let refused = SessionFiles::of_transcript(&path);
    assert!(matches!(refused, Err(TranscriptError::NotAFile { .. })));
}

#[test]
fn a_transcript_may_have_any_name() {
    let place = Place::new();
    let main = place.write("-p/session.txt", "");
    assert_eq!(SessionFiles::of_transcript(&main).unwrap().id, "session.txt");
}
