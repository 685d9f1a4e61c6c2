//! The server component: clients post sessions, and it returns or delivers their events.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use flate2::Compression;
use flate2::write::GzEncoder;
use posthog_llma::claude_code::sessions::SessionFiles;
use posthog_llma_local_posthog::{Answer, Config, LocalPostHog};
use posthog_llma_tests::fixtures;
use posthog_llma_tests::program::{Home, KEY};
use posthog_llma_tests::server::Server;
use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

static SERVER: LazyLock<Server> =
    LazyLock::new(|| Server::start(1, &[("POSTHOG_LLMA_DISTINCT_ID", "dev@example.com")]));

const TAR: (&str, &str) = ("content-type", "application/x-tar");

fn transcript(case: &str) -> PathBuf {
    fixtures::transcripts(case).unwrap().remove(0)
}

/// The session's files in a tar archive, as `tar -C PROJECT -cf - SESSION.jsonl SESSION` makes it.
fn archive(main: &Path) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_path_with_name(main, main.file_name().unwrap()).unwrap();
    let folder = main.with_extension("");
    if folder.is_dir() {
        archive.append_dir_all(folder.file_name().unwrap(), &folder).unwrap();
    }
    // Those of older versions.
    for agent in SessionFiles::of_transcript(main).unwrap().agents {
        if agent.path.parent() == main.parent() {
            archive.append_path_with_name(&agent.path, agent.path.file_name().unwrap()).unwrap();
        }
    }
    archive.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Our program's output for the session.
fn expected(main: &Path) -> String {
    let program = Home::new().program(["convert"]).arg(main).env("POSTHOG_LLMA_DISTINCT_ID", "dev@example.com").run();
    program.exits_with(0).stdout.clone()
}

#[test]
fn an_archive_is_converted_as_our_program_does() {
    for case in ["2.1.330/subfg", "2.1.330/workflow", "2.0.76/sub2", "demo"] {
        let main = transcript(case);
        let (status, events) = SERVER.request("POST /convert", &[TAR], &archive(&main)).unwrap();
        assert_eq!((status, String::from_utf8(events).unwrap()), (200, expected(&main)), "{case}");
    }
}

#[test]
fn the_transcripts_of_one_session_in_several_projects_folders_are_one_session() {
    for case in ["2.1.330/parallel", "2.1.330/subfg"] {
        let folder = tempfile::tempdir().unwrap();
        let folders = ["projects/-b-first", "projects/-a-second"].map(|name| folder.path().join(name));
        let mains = fixtures::in_two_folders(&transcript(case), folders.each_ref().map(PathBuf::as_path)).unwrap();
        // With the folder's name before them, or without, as from two homes.
        for prefix in ["", "projects"] {
            let mut archive = tar::Builder::new(Vec::new());
            archive.append_dir_all(prefix, folder.path().join("projects")).unwrap();
            let archive = archive.into_inner().unwrap();
            let (status, events) = SERVER.request("POST /convert", &[TAR], &archive).unwrap();
            assert_eq!((status, String::from_utf8(events).unwrap()), (200, expected(&mains[1])), "{case} {prefix}");
        }
    }
}

#[test]
fn a_lone_transcript_is_converted_too_compressed_or_not() {
    let main = transcript("2.1.330/parallel");
    let (id, bytes) = (main.file_stem().unwrap().to_str().unwrap(), fs::read(&main).unwrap());
    let headers = [("posthog-session-id", id), ("content-encoding", "gzip")];
    for (headers, body) in [(&headers[..1], bytes.clone()), (&headers[..], gzip(&bytes))] {
        let (status, events) = SERVER.request("POST /convert", headers, &body).unwrap();
        assert_eq!((status, String::from_utf8(events).unwrap()), (200, expected(&main)));
    }
}

#[test]
fn headers_say_whose_the_session_is() {
    let headers = [TAR, ("posthog-distinct-id", "ci@example.com"), ("posthog-git-repo", "owner/name")];
    let (_, events) = SERVER.request("POST /convert", &headers, &archive(&transcript("demo"))).unwrap();
    for line in String::from_utf8(events).unwrap().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&event["distinct_id"], &event["properties"]["$ai_git_repo"]),
            (&"ci@example.com".into(), &"owner/name".into())
        );
    }
}

/// The status, and the error in the response.
fn error(server: &Server, head: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    let (status, body) = server.request(head, headers, body).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    (status, body["error"].as_str().unwrap().to_owned())
}

/// A request's line, headers and body, and the status and part of the reason in its response.
type Refused<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [u8], u16, &'a str);

#[test]
fn what_cannot_be_answered_is_refused_with_a_reason() {
    let demo = archive(&transcript("demo"));
    let two = [&demo[..demo.len() - 1024], &archive(&transcript("2.1.330/plain"))].concat();
    let cases: [Refused<'_>; 9] = [
        ("GET /convert", &[], b"", 405, "only GET /, POST /convert"),
        ("POST /other", &[], b"", 404, "there is only /"),
        ("POST /convert", &[], b"{}", 400, "in the header posthog-session-id"),
        ("POST /convert", &[TAR], b"no archive", 400, "not what its headers say"),
        ("POST /convert", &[TAR], &[0; 1024], 400, "it holds 0"),
        ("POST /convert", &[TAR], &demo[..700], 400, "not what its headers say"),
        ("POST /convert", &[TAR], &two, 400, "it holds 2"),
        ("POST /convert", &[TAR, ("content-encoding", "br")], &demo, 415, "content-encoding br: only gzip"),
        ("POST /convert", &[TAR, ("content-encoding", "gzip")], &demo, 400, "not what its headers say"),
    ];
    for (head, headers, body, status, reason) in cases {
        let (answered, said) = error(&SERVER, head, headers, body);
        assert!(answered == status && said.contains(reason), "{head} {headers:?}: {answered} {said}");
    }
    let (status, usage) = SERVER.request("GET /", &[], b"").unwrap();
    assert!(status == 200 && usage.starts_with(b"POST /convert"));
}

#[test]
fn a_session_that_would_not_fit_into_memory_is_refused() {
    // 65 MiB of zeros in some kilobytes.
    let bomb = gzip(&vec![0; 1 << 20]).repeat(65);
    let headers = [("posthog-session-id", "x"), ("content-encoding", "gzip")];
    let (status, said) = error(&SERVER, "POST /convert", &headers, &bomb);
    assert!(status == 413 && said.contains("more than 67108864 bytes"), "{status} {said}");
}

#[test]
fn damaged_lines_lose_nothing_else() {
    let main = transcript("2.1.330/parallel");
    let id = main.file_stem().unwrap().to_str().unwrap();
    let bytes = [b"not json\n\xff\xfe\n".to_vec(), fs::read(&main).unwrap(), b"{\"type\":".to_vec()].concat();
    let (status, events) = SERVER.request("POST /convert", &[("posthog-session-id", id)], &bytes).unwrap();
    let expected = expected(&main).replace("\"claude_code_bad_lines\":0", "\"claude_code_bad_lines\":3");
    assert_eq!((status, String::from_utf8(events).unwrap()), (200, expected));
}

#[test]
fn a_session_is_delivered_and_the_answer_says_what_arrived() {
    let posthog = LocalPostHog::start(Config::default()).unwrap();
    let server = Server::start(1, &[("POSTHOG_HOST", &posthog.origin()), ("POSTHOG_API_KEY", KEY)]);
    let (status, report) = server.request("POST /deliver", &[TAR], &archive(&transcript("demo"))).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!((status, &report["accepted"], &report["error"]), (200, &18.into(), &Value::Null), "{report}");
    assert_eq!(report["rejected"].as_array().unwrap().len(), 0);
    assert_eq!(posthog.events().len(), 18);
}

#[test]
fn a_delivery_that_fails_is_an_answer_without_the_key() {
    let refuse = Answer::Status { code: 401, headers: Vec::new(), body: "{\"detail\":\"no such key\"}".to_owned() };
    let posthog = LocalPostHog::start(Config { script: vec![refuse], ..Config::default() }).unwrap();
    let server = Server::start(1, &[("POSTHOG_HOST", &posthog.origin()), ("POSTHOG_API_KEY", KEY)]);
    let (status, report) = server.request("POST /deliver", &[TAR], &archive(&transcript("demo"))).unwrap();
    let text = String::from_utf8(report).unwrap();
    assert!(status == 502 && text.contains("401") && text.contains("no such key"), "{status} {text}");
    assert!(!text.contains(KEY));

    let without_key = Server::start(1, &[("POSTHOG_HOST", &posthog.origin())]);
    let (status, said) = error(&without_key, "POST /deliver", &[TAR], &archive(&transcript("demo")));
    assert_eq!((status, said.as_str()), (500, "POSTHOG_API_KEY is not set"));
}

#[test]
fn a_token_is_asked_for_where_there_is_one() {
    let server = Server::start(1, &[("POSTHOG_LLMA_SERVER_TOKEN", "a-long-secret")]);
    let demo = archive(&transcript("demo"));
    for given in [None, Some("Bearer a-long-secre"), Some("Bearer a-long-secret2"), Some("a-long-secret")] {
        let headers: Vec<_> = [TAR].into_iter().chain(given.map(|given| ("authorization", given))).collect();
        let (status, said) = error(&server, "POST /convert", &headers, &demo);
        assert_eq!((status, said.as_str()), (401, "the header authorization must be: Bearer TOKEN"), "{given:?}");
    }
    let (status, _) =
        server.request("POST /convert", &[TAR, ("authorization", "Bearer a-long-secret")], &demo).unwrap();
    assert_eq!(status, 200);
}

#[test]
fn a_setting_that_cannot_be_used_is_named() {
    let server = Server::start(1, &[("POSTHOG_LLMA_PRIVACY_MODE", "perhaps")]);
    let (status, said) = error(&server, "POST /convert", &[TAR], &archive(&transcript("demo")));
    assert!(status == 500 && said.contains("POSTHOG_LLMA_PRIVACY_MODE"), "{status} {said}");
}
