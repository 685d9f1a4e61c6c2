#![expect(clippy::disallowed_methods, reason = "the files are the test's own")]

use super::*;
use posthog_llma_pipeline::options::ApiKey;
use posthog_llma_pipeline::origin::Origin;
use posthog_llma_sandbox::bindings::exports::posthog::llm_analytics::delivery::{
    BatchReport, EventReport, Refusal, Verdict,
};
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::{EventId, EventKind, TokenCounts};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

/// An outbox with a destination.
struct Case {
    directory: TempDir,
    outbox: Outbox,
    destination: DestinationId,
}

fn destination(outbox: &mut Outbox, key: &str) -> DestinationId {
    outbox.destination(&Origin::default(), &ApiKey::parse(key).unwrap()).unwrap()
}

fn case() -> Case {
    let directory = tempfile::tempdir().unwrap();
    let (mut outbox, warning) = Outbox::open(directory.path(), PATIENCE).unwrap();
    assert_eq!(warning, None);
    let destination = destination(&mut outbox, "phc_one");
    Case { directory, outbox, destination }
}

fn sighting(transcript: &str) -> Sighting<'_> {
    Sighting {
        transcript: Path::new(transcript),
        session_id: "id",
        options: "{}",
        project: None,
        hook: Some("SessionEnd"),
        at: now(),
    }
}

fn ids(range: std::ops::Range<u64>) -> Vec<EventId> {
    range.map(|n| EventId { high: n << 32, low: n }).collect()
}

fn events(range: std::ops::Range<u64>, verdict: &Verdict) -> Vec<EventReport> {
    let event = |id| EventReport { id, kind: EventKind::Span, verdict: verdict.clone() };
    ids(range).into_iter().map(event).collect()
}

fn batch(accepted: std::ops::Range<u64>, last: bool) -> BatchReport {
    BatchReport {
        events: events(accepted, &Verdict::Accepted),
        tokens: TokenCounts { input: 0, output: 0, cache_read: 0, cache_creation: 0 },
        shortened_events: 0,
        requests: 1,
        raw_bytes: 0,
        sent_bytes: 0,
        path: String::new(),
        quota_limited: Vec::new(),
        bytes_read: 0,
        last,
    }
}

fn low(ids: &[EventId]) -> Vec<u64> {
    let mut low: Vec<_> = ids.iter().map(|id| id.low).collect();
    low.sort_unstable();
    low
}

#[test]
fn what_was_accepted_before_the_last_batch_is_uncovered_and_covered_after_it() {
    let Case { mut outbox, destination, .. } = case();
    let session = outbox.owe(destination, &sighting("/a"), 0).unwrap();
    outbox.record(destination, session, &batch(0..3, false), "state").unwrap();
    assert_eq!(low(&outbox.uncovered(session).unwrap()), [0, 1, 2]);
    assert_eq!(low(&outbox.known(destination, Some(session), &ids(0..9)).unwrap()), [] as [u64; 0]);
    assert_eq!(outbox.owed(destination, false).unwrap().len(), 1);

    outbox.record(destination, session, &batch(3..5, true), "state").unwrap();
    assert_eq!(low(&outbox.uncovered(session).unwrap()), [] as [u64; 0]);
    assert_eq!(low(&outbox.known(destination, Some(session), &ids(0..9)).unwrap()), [0, 1, 2, 3, 4]);
    assert!(outbox.owed(destination, true).unwrap().is_empty());
    assert!(outbox.is_delivered(session, "state").unwrap());
    assert!(!outbox.is_delivered(session, "another").unwrap());
}

#[test]
fn what_another_session_sent_is_known_though_its_delivery_is_not_at_its_end() {
    let Case { mut outbox, destination, .. } = case();
    let origin = outbox.owe(destination, &sighting("/origin"), 0).unwrap();
    outbox.record(destination, origin, &batch(0..3, false), "state").unwrap();
    let fork = outbox.owe(destination, &sighting("/fork"), 0).unwrap();
    assert_eq!(low(&outbox.known(destination, Some(fork), &ids(0..9)).unwrap()), [0, 1, 2]);
    assert!(outbox.uncovered(fork).unwrap().is_empty());
}

#[test]
fn what_was_refused_for_good_is_known_and_counted() {
    let Case { mut outbox, destination, .. } = case();
    let session = outbox.owe(destination, &sighting("/a"), 0).unwrap();
    let mut decided = batch(0..2, true);
    decided.events.extend(events(7..8, &Verdict::Rejected(Refusal { status: 400, message: "no".into() })));
    outbox.record(destination, session, &decided, "s").unwrap();
    assert_eq!(low(&outbox.known(destination, Some(session), &ids(0..9)).unwrap()), [0, 1, 7]);
    assert_eq!(outbox.refused(session).unwrap(), 1);
    outbox.forget(destination, session, &ids(0..9)).unwrap();
    assert_eq!(
        (outbox.refused(session).unwrap(), outbox.known(destination, Some(session), &ids(0..9)).unwrap().len()),
        (0, 0)
    );
}

#[test]
fn destinations_do_not_mix() {
    let Case { mut outbox, destination: one, .. } = case();
    let other = destination(&mut outbox, "phc_other");
    assert_ne!(one, other);
    assert_eq!(destination(&mut outbox, "phc_one"), one);
    let session = outbox.owe(one, &sighting("/a"), 0).unwrap();
    outbox.record(one, session, &batch(0..3, true), "state").unwrap();
    let same = outbox.owe(other, &sighting("/a"), 0).unwrap();
    assert_ne!(session, same);
    assert!(outbox.known(other, Some(same), &ids(0..9)).unwrap().is_empty());
}

#[test]
fn the_back_off_begins_at_five_seconds_and_grows_to_hours() {
    let seconds: Vec<_> = (1..12).map(|attempts| Backoff::after(attempts).as_secs()).collect();
    assert!((5..=5).contains(&seconds[0]) && (20..=22).contains(&seconds[1]), "{seconds:?}");
    assert!(seconds.windows(2).all(|pair| pair[0] < pair[1] || pair[1] >= 6 * 3600), "{seconds:?}");
    assert!((21_600..=23_760).contains(&seconds[10]), "{seconds:?}");
    assert!(Backoff::after(u32::MAX) <= Backoff::LONGEST.mul_f64(1.1));
}

#[test]
fn a_server_that_fails_is_due_later_and_one_that_asks_to_wait_not_before() {
    let Case { mut outbox, destination, .. } = case();
    outbox.server_failed(destination, "no", false, None).unwrap();
    let (due, asked) = outbox.destination_due(destination).unwrap();
    assert!((4000..=6000).contains(&(due - now())) && asked == 0);
    outbox.server_failed(destination, "later", false, Some(Duration::from_hours(1))).unwrap();
    let (due, asked) = outbox.destination_due(destination).unwrap();
    assert!(due == asked && due - now() > 3_500_000);
    let session = outbox.owe(destination, &sighting("/a"), 0).unwrap();
    outbox.record(destination, session, &batch(0..1, false), "s").unwrap();
    assert_eq!(outbox.destination_due(destination).unwrap(), (0, 0));
}

#[test]
fn what_cannot_be_delivered_for_a_week_is_given_up_and_can_be_tried_again() {
    let Case { mut outbox, destination, .. } = case();
    let old = outbox.owe(destination, &sighting("/old"), 0).unwrap();
    let bad = outbox.owe(destination, &sighting("/bad"), 0).unwrap();
    outbox.owe(destination, &sighting("/new"), 0).unwrap();
    let long_ago = now() - 8 * 86_400_000;
    let age = "UPDATE session SET owed_at = ?1 WHERE id IN (?2, ?3)";
    outbox.write(|db| db.execute(age, (long_ago, old.0, bad.0))).unwrap();

    outbox.session_failed(bad, "unreadable").unwrap();
    outbox.server_failed(destination, "down", false, None).unwrap();
    let counts = |outbox: &Outbox| outbox.summary(Some(destination)).unwrap().destination.sessions;
    assert_eq!((counts(&outbox).failed, counts(&outbox).owed), (2, 1));
    let failed = outbox.summary(Some(destination)).unwrap().failed;
    let errors: Vec<_> = failed.iter().map(|failed| (failed.error.as_str(), failed.due_at)).collect();
    assert!(errors.contains(&("down", None)) && errors.contains(&("unreadable", None)), "{errors:?}");

    assert_eq!(outbox.retry_failed(destination).unwrap(), 2);
    assert_eq!(counts(&outbox).failed, 0);
    // A session that ends again starts over, too.
    outbox.give_up(old, "gone").unwrap();
    outbox.owe(destination, &sighting("/old"), 0).unwrap();
    assert_eq!(counts(&outbox).failed, 0);
}

#[test]
fn a_command_does_not_change_the_settings_that_a_hook_wrote_down() {
    let Case { mut outbox, destination, .. } = case();
    outbox.owe(destination, &Sighting { options: "private", ..sighting("/a") }, 0).unwrap();
    outbox.see(destination, &Sighting { options: "open", hook: None, ..sighting("/a") }).unwrap();
    assert_eq!(outbox.owed(destination, true).unwrap()[0].options, "private");
    assert_eq!(outbox.noted(HOOK).unwrap().unwrap().text, "SessionEnd");
}

#[test]
fn the_project_that_was_said_first_counts() {
    let Case { mut outbox, destination, .. } = case();
    outbox.owe(destination, &sighting("/a"), 0).unwrap();
    assert_eq!(outbox.stored(Path::new("/a")).unwrap().project, None);
    for project in ["shop", "other", ""] {
        let later = Sighting { project: Some(project), at: now() + 1000, ..sighting("/a") };
        outbox.owe(destination, &later, 0).unwrap();
        assert_eq!(outbox.stored(Path::new("/a")).unwrap().project.as_deref(), Some("shop"), "{project:?}");
    }
    // Having no project name is an answer, too.
    outbox.owe(destination, &Sighting { project: Some(""), ..sighting("/b") }, 0).unwrap();
    outbox.owe(destination, &Sighting { project: Some("late"), at: now() + 1000, ..sighting("/b") }, 0).unwrap();
    assert_eq!(outbox.stored(Path::new("/b")).unwrap().project.as_deref(), Some(""));
    assert_eq!(outbox.stored(Path::new("/c")).unwrap(), Stored::default());
}

#[test]
fn what_was_seen_later_is_not_overwritten_by_what_comes_late() {
    let Case { mut outbox, destination, .. } = case();
    let start = Sighting { at: now() - 1000, ..sighting("/a") };
    let end = Sighting { at: now() - 500, ..sighting("/a") };
    let session = outbox.owe(destination, &end, 0).unwrap();
    // The worker of the session's start was slower than the hook of its end.
    assert_eq!(outbox.runs(destination, &start, Some((1, 1))).unwrap(), session);
    assert!(outbox.running(destination).unwrap().is_empty());
    // After the delivery, the worker records again what the hook recorded.
    outbox.record(destination, session, &batch(0..1, true), "s").unwrap();
    outbox.owe(destination, &end, 0).unwrap();
    assert!(outbox.owed(destination, true).unwrap().is_empty());
    // The session ends again.
    outbox.owe(destination, &sighting("/a"), 0).unwrap();
    assert_eq!(outbox.owed(destination, true).unwrap().len(), 1);
}

#[test]
fn many_processes_write_at_once() {
    let directory = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let directory = directory.path();
            scope.spawn(move || {
                for i in 0..25 {
                    // Each opens the file anew, as a hook does; the first ones create it.
                    let (mut outbox, _) = Outbox::open(directory, PATIENCE).unwrap();
                    let destination = destination(&mut outbox, "phc_one");
                    let session = outbox.owe(destination, &sighting(&format!("/{thread}/{i}")), 0).unwrap();
                    let first = thread * 100 + i;
                    outbox.record(destination, session, &batch(first..first + 1, false), "s").unwrap();
                }
            });
        }
    });
    let (mut outbox, _) = Outbox::open_and_check(directory.path()).unwrap();
    let destination = destination(&mut outbox, "phc_one");
    assert_eq!(outbox.owed(destination, true).unwrap().len(), 200);
}

#[test]
fn a_record_that_is_damaged_in_the_middle_is_replaced_and_its_good_rows_stay() {
    let Case { directory, mut outbox, destination: id } = case();
    let session = outbox.owe(id, &sighting("/a"), 0).unwrap();
    outbox.record(id, session, &batch(0..20_000, true), "s").unwrap();
    let path = outbox.path().to_owned();
    drop(outbox);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0xa5);
    fs::write(&path, bytes).unwrap();

    let (mut outbox, warning) = Outbox::open_and_check(directory.path()).unwrap();
    assert!(warning.unwrap().contains("rows of it were recovered"));
    assert!(outbox.noted(DAMAGED).unwrap().is_some());
    assert_eq!(destination(&mut outbox, "phc_one"), id);
    let known = outbox.known(id, Some(session), &ids(0..20_000)).unwrap().len();
    assert!(known > 1000, "{known}");
    let aside = fs::read_dir(directory.path()).unwrap().flatten();
    assert!(aside.into_iter().any(|file| file.file_name().to_string_lossy().contains("damaged-")));
    assert!(Outbox::open_and_check(directory.path()).unwrap().1.is_none());
}

#[test]
#[cfg(unix)]
fn the_state_directory_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let outer = tempfile::tempdir().unwrap();
    let directory = outer.path().join("a/b");
    Outbox::open(&directory, PATIENCE).unwrap();
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn to_look_makes_nothing() {
    let outer = tempfile::tempdir().unwrap();
    let directory = outer.path().join("none");
    assert!(Outbox::open_to_read(&directory).unwrap().is_none());
    assert!(!directory.exists());
}

#[test]
fn what_a_complete_delivery_read_is_not_read_anew_and_one_that_sent_nothing_read_nothing() {
    let Case { mut outbox, destination, .. } = case();
    let session = outbox.owe(destination, &sighting("/a"), 0).unwrap();
    let read = |outbox: &Outbox, session| {
        let read = outbox.read_before(session).unwrap();
        read.iter().map(|(path, bytes)| format!("{path} {bytes}")).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(read(&outbox, session), "");
    outbox.begin(session, r#"{"state":"1","ends":{"/a":10},"hold_after":0,"hold_calls":false}"#).unwrap();
    outbox.record(destination, session, &batch(0..3, false), "1").unwrap();
    assert_eq!(read(&outbox, session), "", "it is not complete");
    outbox.record(destination, session, &batch(3..5, true), "1").unwrap();
    assert_eq!(read(&outbox, session), "/a 10");
    outbox.begin(session, r#"{"ends":{"/a":15,"/b":7}}"#).unwrap();
    outbox.complete(session, "2").unwrap();
    assert_eq!(read(&outbox, session), "/a 10", "nothing was sent");
    // All was accepted, but nobody could record that it was the last.
    outbox.begin(session, r#"{"ends":{"/a":15,"/b":7}}"#).unwrap();
    outbox.record(destination, session, &batch(5..6, false), "2").unwrap();
    outbox.complete(session, "2").unwrap();
    assert_eq!(read(&outbox, session), "/a 15, /b 7");
    outbox.begin(session, r#"{"ends":{"/b":9}}"#).unwrap();
    outbox.record(destination, session, &batch(6..7, true), "3").unwrap();
    assert_eq!(read(&outbox, session), "/a 15, /b 9");
    // What another destination has is not sent to this one, nor counted.
    let other = self::destination(&mut outbox, "phc_two");
    outbox.owe(destination, &sighting("/a"), 0).unwrap();
    outbox.redirect(other).unwrap();
    let there = outbox.session(other, Path::new("/a")).unwrap().unwrap();
    assert_eq!(read(&outbox, there), "/a 15, /b 9");
    outbox.forget(destination, session, &ids(0..9)).unwrap();
    assert_eq!(read(&outbox, session), "");
    // Whatever stands there, the session can be delivered.
    for extent in ["", "{}", "[]", r#"{"ends":5}"#] {
        outbox.begin(session, extent).unwrap();
        outbox.record(destination, session, &batch(8..9, true), "4").unwrap();
        assert_eq!(read(&outbox, session), "");
    }
}

/// A record as another version of this program would leave it.
fn changed_by(sql: &str) -> (Case, Connection) {
    let Case { directory, mut outbox, destination } = case();
    outbox.owe(destination, &sighting("/owed"), 0).unwrap();
    let delivered = outbox.owe(destination, &sighting("/delivered"), 0).unwrap();
    outbox.record(destination, delivered, &batch(1..4, true), "state").unwrap();
    let path = outbox.path().to_owned();
    drop(outbox);
    let db = Connection::open(&path).unwrap();
    db.execute_batch(sql).unwrap();
    let (outbox, warning) = Outbox::open_and_check(directory.path()).unwrap();
    assert_eq!(warning, None);
    (Case { directory, outbox, destination }, db)
}

#[track_caller]
fn nothing_is_lost(case: &mut Case) {
    let Case { outbox, destination, .. } = case;
    let owed = outbox.owed(*destination, true).unwrap();
    assert_eq!(owed.iter().map(|owed| owed.transcript.to_str().unwrap()).collect::<Vec<_>>(), ["/owed"]);
    assert_eq!(low(&outbox.known(*destination, None, &ids(0..9)).unwrap()), [1, 2, 3]);
    // The record stays usable.
    outbox.owe(*destination, &Sighting { project: Some("shop"), ..sighting("/new") }, 0).unwrap();
    outbox.record(*destination, owed[0].id, &batch(5..6, true), "state").unwrap();
    assert_eq!(outbox.owed(*destination, true).unwrap().len(), 1);
    assert_eq!(outbox.stored(Path::new("/new")).unwrap().project.as_deref(), Some("shop"));
}

#[test]
fn a_record_of_a_newer_version_with_more_in_it_is_used_and_keeps_that() {
    let (mut case, db) = changed_by(
        "ALTER TABLE session ADD COLUMN of_the_future TEXT; ALTER TABLE destination ADD COLUMN mood TEXT NOT NULL DEFAULT 'good';
         CREATE TABLE future (a TEXT); INSERT INTO future VALUES ('kept'); UPDATE session SET of_the_future = 'kept';
         INSERT INTO note VALUES ('future', 'kept', 1); PRAGMA application_id = 99;",
    );
    nothing_is_lost(&mut case);
    let kept =
        "SELECT count(*) FROM session, future, note WHERE of_the_future = 'kept' AND a = 'kept' AND note.text = 'kept'";
    assert_eq!(db.query_row(kept, [], |row| row.get::<_, i64>(0)).unwrap(), 2, "the two sessions of before");
    assert_eq!(db.query_row("PRAGMA application_id", [], |row| row.get::<_, i64>(0)).unwrap(), 99);
}

#[test]
fn a_record_of_the_first_version_gets_what_it_lacks_and_loses_nothing() {
    let (mut case, _) = changed_by(
        "ALTER TABLE session DROP COLUMN read_before; ALTER TABLE session DROP COLUMN project; ALTER TABLE session DROP COLUMN since; ALTER TABLE session DROP COLUMN ends;
         ALTER TABLE session DROP COLUMN turn_at; ALTER TABLE session DROP COLUMN hooked;
         ALTER TABLE destination DROP COLUMN lane; ALTER TABLE destination DROP COLUMN lane_until;
         ALTER TABLE destination DROP COLUMN over_limit; PRAGMA application_id = 0;",
    );
    nothing_is_lost(&mut case);
}

/// IDs in random order, like event IDs.
fn random_ids(from: u64, count: u64) -> Vec<EventId> {
    let mix = |n: u64| {
        let n = (n ^ (n >> 31)).wrapping_mul(0x7FB5_D329_728E_A185);
        (n ^ (n >> 27)).wrapping_mul(0x81DA_DEF4_BC2D_D44D)
    };
    (from..from + count).map(|n| EventId { high: mix(n + 1), low: mix(n + 77) }).collect()
}

fn random_batch(from: u64, count: u64, last: bool) -> BatchReport {
    let event = |id| EventReport { id, kind: EventKind::Span, verdict: Verdict::Accepted };
    BatchReport { events: random_ids(from, count).into_iter().map(event).collect(), ..batch(0..0, last) }
}

#[test]
fn a_file_of_version_1_is_read_and_gets_what_it_lacks() {
    let directory = tempfile::tempdir().unwrap();
    let old = Connection::open(directory.path().join(FILE_NAME)).unwrap();
    old.execute_batch(include_str!("schema.sql")).unwrap();
    old.execute_batch("INSERT INTO destination (origin, key_hash) VALUES ('o', 'k')").unwrap();
    old.execute_batch(
        "INSERT INTO accepted VALUES (1, x'00000001000000000000000000000001', 1, 1),
             (1, x'00000002000000000000000000000002', 1, 0)",
    )
    .unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    drop(old);
    let (mut outbox, warning) = Outbox::open(directory.path(), PATIENCE).unwrap();
    assert_eq!((warning, outbox.version().unwrap()), (None, VERSION));
    let (destination, session) = (DestinationId(1), SessionId(1));
    assert_eq!(low(&outbox.known(destination, Some(session), &ids(0..9)).unwrap()), [1]);
    assert_eq!(low(&outbox.uncovered(session).unwrap()), [2]);
    outbox.record(destination, session, &batch(3..4, true), "state").unwrap();
    assert_eq!(low(&outbox.known(destination, Some(session), &ids(0..9)).unwrap()), [1, 2, 3]);
    assert!(outbox.uncovered(session).unwrap().is_empty());
}

#[test]
fn what_is_written_down_is_found_before_and_after_it_is_put_in_order() {
    let Case { mut outbox, destination, .. } = case();
    let session = outbox.owe(destination, &sighting("/a"), 0).unwrap();
    let other = outbox.owe(destination, &sighting("/b"), 0).unwrap();
    // More than may wait in the journal.
    for n in 0..50 {
        outbox.record(destination, session, &random_batch(n * 100, 100, false), "state").unwrap();
    }
    outbox.record(destination, other, &random_batch(90_000, 3, true), "state").unwrap();
    let all = random_ids(0, 5000);
    for settled in [false, true] {
        assert_eq!(outbox.known(destination, Some(session), &all).unwrap().len(), 0);
        assert_eq!(outbox.known(destination, Some(other), &all).unwrap().len(), 5000);
        assert_eq!(outbox.known(destination, None, &random_ids(90_000, 5)).unwrap().len(), 3);
        assert_eq!(outbox.uncovered(session).unwrap().len(), 5000);
        assert!(outbox.uncovered(other).unwrap().is_empty());
        if !settled {
            outbox.settle().unwrap();
        }
    }
    outbox.complete(session, "state").unwrap();
    assert_eq!(outbox.known(destination, Some(session), &all).unwrap().len(), 5000);
    outbox.forget(destination, session, &all).unwrap();
    assert_eq!(outbox.known(destination, Some(other), &all).unwrap().len(), 0);
}

#[test]
fn a_batch_of_many_sessions_writes_a_handful_of_pages() {
    let Case { outbox, destination, directory } = case();
    let mut outbox = outbox.in_bulk().unwrap();
    outbox.read(|db| db.pragma_update(None, "wal_autocheckpoint", 0)).unwrap();
    let pages = || {
        let log = directory.path().join(format!("{FILE_NAME}-wal"));
        fs::metadata(log).unwrap().len() / 4120
    };
    let session = outbox.owe(destination, &sighting("/a"), 0).unwrap();
    let before = pages();
    for n in 0..200 {
        outbox.record(destination, session, &random_batch(n * 100, 100, n == 199), "state").unwrap();
    }
    let written = pages() - before;
    assert!(written < 200 * 3, "{written} pages for 20,000 events");
    outbox.end_bulk().unwrap();
    assert!(pages() - before - written < 400, "{} pages to put them in order", pages() - before - written);
    assert_eq!(outbox.known(destination, None, &random_ids(0, 20_000)).unwrap().len(), 20_000);
}

/// How many steps the database takes for this.
fn steps(outbox: &mut Outbox, work: impl FnOnce(&mut Outbox)) -> u64 {
    // A wait for the disk, which depends on the time, takes steps of its own.
    outbox.bulk.as_mut().unwrap().synced = Instant::now() + Duration::from_mins(1);
    let count = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&count);
    let count_one = move || {
        counting.fetch_add(1, Ordering::Relaxed);
        false
    };
    outbox.db.progress_handler(1, Some(count_one)).unwrap();
    work(outbox);
    outbox.db.progress_handler(0, None::<fn() -> bool>).unwrap();
    count.load(Ordering::Relaxed)
}

#[test]
fn what_a_session_takes_does_not_depend_on_how_many_there_are() {
    let transcript = |n: u64| format!("/p/{n:08}.jsonl");
    let deliver = |outbox: &mut Outbox, to: DestinationId, n: u64| {
        let path = transcript(n);
        let seen = Sighting { hook: None, session_id: &path[3..11], ..sighting(&path) };
        outbox.stored(seen.transcript).unwrap();
        let id = outbox.see(to, &seen).unwrap();
        assert!(!outbox.is_delivered(id, "state").unwrap());
        assert_eq!(outbox.extent(id).unwrap(), None);
        outbox.begin(id, "{}").unwrap();
        assert!(outbox.known(to, Some(id), &random_ids(n * 4, 4)).unwrap().is_empty());
        assert!(outbox.uncovered(id).unwrap().is_empty());
        outbox.record(to, id, &random_batch(n * 4, 4, true), "state held").unwrap();
        outbox.complete(id, "state").unwrap();
        outbox.delivered_whole(id).unwrap();
        assert!(outbox.is_delivered(id, "state").unwrap());
    };
    let hooks = |outbox: &mut Outbox, to: DestinationId, n: u64| {
        let path = transcript(n);
        // After the delivery, whichever millisecond that was in.
        let seen = Sighting { session_id: &path[3..11], at: now() + 1000, ..sighting(&path) };
        outbox.runs(to, &Sighting { hook: Some("SessionStart"), ..seen.clone() }, None).unwrap();
        outbox.turn_ended(to, &seen, None).unwrap();
        outbox.owe(to, &seen, 0).unwrap();
    };
    let Case { outbox, destination: to, directory: _directory } = case();
    let mut outbox = outbox.in_bulk().unwrap();
    deliver(&mut outbox, to, 0);
    let few = steps(&mut outbox, |outbox| deliver(outbox, to, 1));
    let few_of_hook = steps(&mut outbox, |outbox| hooks(outbox, to, 1));
    (2..300).for_each(|n| deliver(&mut outbox, to, n));
    let many = steps(&mut outbox, |outbox| deliver(outbox, to, 300));
    let many_of_hook = steps(&mut outbox, |outbox| hooks(outbox, to, 300));
    assert!(many < few * 3 / 2, "{many} instead of {few} steps");
    assert!(many_of_hook < few_of_hook * 3 / 2, "{many_of_hook} instead of {few_of_hook} steps for hooks");
}

#[test]
fn a_bulk_delivery_waits_for_the_disk_now_and_then() {
    let level = |outbox: &mut Outbox| -> i64 {
        outbox.write(|db| db.query_row("PRAGMA synchronous", [], |row| row.get(0))).unwrap()
    };
    let (normal, full) = (1, 2);
    let Case { mut outbox, directory: _directory, .. } = case();
    assert_eq!(level(&mut outbox), full);
    let mut outbox = outbox.in_bulk().unwrap();
    let is_late = |outbox: &mut Outbox| {
        let bulk = outbox.bulk.as_mut().unwrap();
        bulk.synced = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
    };
    for _ in 0..2 {
        is_late(&mut outbox);
        assert_eq!(level(&mut outbox), full);
        outbox.bulk.as_mut().unwrap().synced = Instant::now() + Duration::from_mins(1);
        assert_eq!(level(&mut outbox), normal);
    }
    outbox.end_bulk().unwrap();
    assert_eq!(level(&mut outbox), full);
}
