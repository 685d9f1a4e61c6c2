//! Transcripts that vanish, shrink or change, and a delivery record that is missing, damaged or not writable.

use super::*;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

#[test]
fn a_transcript_that_vanished_is_given_up_and_said() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = session(&home, "aaaa", &Transcript::new().turns(1));
    owe(&home, &posthog, &transcript);
    fs::remove_file(&transcript).unwrap();
    home.ready("flush", &posthog).run().exits_with(1).says(&["aaaa  given up: its transcript no longer exists"]);
    let status = home.ready("status", &posthog).run().exits_with(1);
    status.prints(&["given up       1", "the transcript is gone", "flush --failed"]);
    // It comes back: the user had moved it, say.
    fs::write(&transcript, Transcript::new().turns(1).text()).unwrap();
    home.ready("flush", &posthog).arg("--failed").run().exits_with(0);
    assert_eq!(posthog.events().len(), 2);
}

#[test]
fn a_transcript_that_shrank_or_was_rewritten_sends_what_is_new_in_it() {
    let (home, posthog) = (Home::new(), posthog());
    let first = Transcript::new().turns(3).text();
    let transcript = home.write(".claude/projects/-work/aaaa.jsonl", &first);
    home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    assert_eq!(posthog.events().len(), 4);
    // Shrunk: nothing is new.
    fs::write(&transcript, first.split_inclusive('\n').take(2).collect::<String>()).unwrap();
    home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    assert_eq!(posthog.events().len(), 4);
    // Rewritten: one response, and its trace.
    fs::write(&transcript, Transcript::new().turns(1).text()).unwrap();
    home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    assert_eq!(posthog.events().len(), 6);
    assert!(arrivals(&posthog).values().all(|times| *times == 1));
}

#[test]
fn what_is_written_while_it_is_read_follows() {
    let home = Home::new();
    // The first answer takes a second: time for the client's last lines.
    let script = vec![Answer::Trickle { every: Duration::from_millis(8) }];
    let posthog = LocalPostHog::start(Config { script, ..Config::default() }).unwrap();
    let whole = Transcript::new().turns(3).text();
    let lines: Vec<_> = whole.split_inclusive('\n').collect();
    let transcript = home.write(".claude/projects/-work/aaaa.jsonl", lines[..4].concat());
    home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    until("the request is under way", || !posthog.requests().is_empty());
    File::options().append(true).open(&transcript).unwrap().write_all(lines[4..].concat().as_bytes()).unwrap();
    until("the rest follows", || posthog.events().len() == 5);
    until_nothing_is_owed(&home, &posthog);
    assert!(arrivals(&posthog).values().all(|times| *times == 1));
    traces_add_up(&posthog.events());
}

#[test]
fn a_record_that_was_deleted_is_made_anew() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = session(&home, "aaaa", &Transcript::new().turns(1));
    for sent in [2, 4] {
        home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
        until("it arrives", || posthog.events().len() == sent);
        until_nothing_is_owed(&home, &posthog);
        fs::remove_dir_all(record(&home).parent().unwrap()).unwrap();
    }
}

#[test]
fn a_record_that_is_broken_is_put_aside_and_said_and_sessions_go_on() {
    for damage in [&b"this is no database at all, and long enough to be looked at"[..], b"SQLite format 3\0garbage"] {
        let (home, posthog) = (Home::new(), posthog());
        home.write(".local/state/posthog-llma/outbox.sqlite", damage);
        let transcript = session(&home, "aaaa", &Transcript::new().turns(1));
        home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0).says_nothing();
        until("it arrives", || posthog.events().len() == 2);
        until_nothing_is_owed(&home, &posthog);
        home.ready("status", &posthog).run().prints(&["the delivery record was damaged", "damaged-"]);
    }
}

#[test]
fn a_record_that_was_cut_short_keeps_what_is_left_and_goes_on() {
    let (home, posthog) = (Home::new(), posthog());
    for i in 0..20 {
        let transcript = session(&home, &format!("session-{i:02}"), &Transcript::new().turns(20));
        home.send(&posthog, &transcript).run().exits_with(0);
    }
    let path = record(&home);
    let length = fs::metadata(&path).unwrap().len();
    for part in [length - 100, length / 2, 5000, 100, 1] {
        File::options().write(true).open(&path).unwrap().set_len(part).unwrap();
        let transcript = session(&home, &format!("after-{part}"), &Transcript::new().turns(1));
        let before = posthog.events().len();
        home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0).says_nothing();
        until("it arrives", || posthog.events().len() == before + 2);
        until_nothing_is_owed(&home, &posthog);
    }
}

#[test]
fn a_record_of_a_newer_version_is_not_touched() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = session(&home, "aaaa", &Transcript::new().turns(1));
    home.send(&posthog, &transcript).run().exits_with(0);
    set_version(&record(&home), 99);
    let before = fs::read(record(&home)).unwrap();
    let other = session(&home, "bbbb", &Transcript::new().turns(1));
    home.hook(&posthog, "SessionEnd", &other).run().exits_with(0).says_nothing();
    home.ready("flush", &posthog).run().exits_with(1).says(&["newer version of posthog-llma", "update"]);
    home.ready("status", &posthog).run().exits_with(1).prints(&["newer version of posthog-llma"]);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(fs::read(record(&home)).unwrap(), before);
    assert_eq!(posthog.events().len(), 2, "what cannot be written down is not sent");
    // After the update it is there, and says how the rest is sent.
    set_version(&record(&home), 1);
    let status = home.ready("status", &posthog).run();
    status.prints(&["never seen     1", "`posthog-llma ingest --all` sends the ones never seen"]);
    home.ready("ingest", &posthog).arg("--all").run().exits_with(0).prints(&["1 session sent, 1 delivered before"]);
    assert!(arrivals(&posthog).len() == 4 && arrivals(&posthog).values().all(|times| *times == 1));
}

/// Sets SQLite's `user_version`: four bytes at offset 60 of the file (sqlite.org/fileformat.html).
fn set_version(path: &Path, version: u32) {
    let mut bytes = fs::read(path).unwrap();
    bytes[60..64].copy_from_slice(&version.to_be_bytes());
    fs::write(path, bytes).unwrap();
    for journal in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{journal}", path.display()));
    }
}

#[test]
fn a_state_directory_that_cannot_be_made_disturbs_nobody_and_is_said() {
    let (home, posthog) = (Home::new(), posthog());
    let file = home.write("file", "");
    let transcript = session(&home, "aaaa", &Transcript::new().turns(1));
    let below_a_file = file.join("state");
    for state in [below_a_file.to_str().unwrap(), "relative"] {
        let with = |program: posthog_llma_tests::program::Program| program.env("POSTHOG_LLMA_STATE_DIR", state);
        with(home.hook(&posthog, "SessionEnd", &transcript)).run().exits_with(0).says_nothing();
        with(home.ready("flush", &posthog))
            .run()
            .exits_with(1)
            .says(&["the state directory", "POSTHOG_LLMA_STATE_DIR"]);
        with(home.ready("doctor", &posthog)).run().exits_with(1).prints(&["✗ state directory"]);
    }
    assert!(posthog.requests().iter().all(|request| request.status != Some(200)));
    // A command that was told to send does, and says what that means.
    let sent = home.send(&posthog, &transcript).env("POSTHOG_LLMA_STATE_DIR", "relative").run().exits_with(0);
    sent.says(&["cannot record what is sent"]);
}

/// A file system that is full: a small one of its own, for which the test needs to be root.
#[test]
fn a_full_disk_disturbs_nobody_and_nothing_is_sent_that_is_not_written_down() {
    let (home, posthog) = (Home::new(), posthog());
    let disk = home.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let transcript = session(&home, "aaaa", &Transcript::new().turns(1));
    let input =
        serde_json::json!({"hook_event_name": "SessionEnd", "session_id": "aaaa", "transcript_path": transcript});
    let script = format!(
        "mount -t tmpfs -o size=64k tmpfs {disk} && mkdir {disk}/state && dd if=/dev/zero of={disk}/fill bs=1k count=999 2>/dev/null
         echo '{input}' | \"$0\" hook; echo \"hook $?\"; \"$0\" flush; echo \"flush $?\"",
        disk = disk.display()
    );
    let output = std::process::Command::new("unshare")
        .args(["-m", "sh", "-c", &script, posthog_llma_tests::program::binary().to_str().unwrap()])
        .env("HOME", home.path())
        .env("POSTHOG_LLMA_STATE_DIR", disk.join("state"))
        .env("POSTHOG_LLMA_CC_ENABLED", "true")
        .env("POSTHOG_API_KEY", posthog_llma_tests::program::KEY)
        .env("POSTHOG_HOST", posthog.origin())
        .output();
    let Ok(output) = output else { return println!("skipped: there is no unshare") };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if err.contains("unshare") || err.contains("mount") {
        return println!("skipped: nothing can be mounted here: {err}");
    }
    assert!(out.contains("hook 0\n") && out.contains("flush 1\n"), "{out}{err}");
    assert!(err.contains("cannot use ") && err.contains("full"), "{err}");
    assert!(posthog.requests().is_empty());
}

#[test]
fn a_record_that_cannot_be_written_sends_nothing_from_a_hook() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = session(&home, "aaaa", &Transcript::new().turns(1));
    home.send(&posthog, &transcript).run().exits_with(0);
    let folder = record(&home).parent().unwrap().to_owned();
    for file in fs::read_dir(&folder).unwrap() {
        fs::set_permissions(file.unwrap().path(), fs::Permissions::from_mode(0o400)).unwrap();
    }
    if File::options().write(true).open(record(&home)).is_ok() {
        return println!("skipped: this user may write everything");
    }
    let other = session(&home, "bbbb", &Transcript::new().turns(1));
    home.hook(&posthog, "SessionEnd", &other).run().exits_with(0).says_nothing();
    home.ready("flush", &posthog).run().exits_with(1).says(&["cannot use the state directory"]);
    home.ready("status", &posthog).run().prints(&["delivered      1"]);
    assert_eq!(posthog.events().len(), 2);
}
