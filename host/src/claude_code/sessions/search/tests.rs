#[cfg(unix)]
use super::super::tests::link;
use super::super::tests::{ID, OTHER, Place};
use super::*;

#[test]
fn a_session_is_found_by_its_id_in_any_project() {
    let place = Place::new();
    place.session(&format!("-p/{OTHER}.jsonl"), 1);
    let path = place.session(&format!("-q/{ID}.jsonl"), 1);
    assert_eq!(place.find(ID).unwrap(), path);
    assert_eq!(place.find(format!("{ID}.jsonl")).unwrap(), path);
}

#[test]
fn a_session_is_found_by_the_start_of_its_id() {
    let place = Place::new();
    place.session(&format!("-p/{OTHER}.jsonl"), 1);
    let path = place.session(&format!("-q/{ID}.jsonl"), 1);
    assert_eq!(place.find("3").unwrap(), path);
    assert_eq!(place.find("3b7696ad-c8").unwrap(), path);
    assert!(place.find("b7696ad").is_err());
}

#[test]
fn the_case_of_an_id_does_not_matter() {
    let place = Place::new();
    let lower = place.session(&format!("-p/{ID}.jsonl"), 1);
    assert_eq!(place.find(ID.to_uppercase()).unwrap(), lower);
    assert_eq!(place.find("3B76").unwrap(), lower);
    let upper = place.session("-p/ABCD.jsonl", 1);
    assert_eq!(place.find("abcd").unwrap(), upper);
    assert_eq!(place.find("abC").unwrap(), upper);
}

#[test]
fn a_whole_id_is_preferred_to_the_start_of_another() {
    let place = Place::new();
    let whole = place.session("-p/abc.jsonl", 1);
    place.session("-p/abcd.jsonl", 2);
    assert_eq!(place.find("abc").unwrap(), whole);
    assert!(matches!(place.find("ab"), Err(FindError::Ambiguous { .. })));
}

#[test]
fn of_the_same_id_in_several_projects_the_one_modified_last_is_taken() {
    let place = Place::new();
    place.session(&format!("-p/{ID}.jsonl"), 10);
    let latest = place.session(&format!("-q/{ID}.jsonl"), 30);
    place.session(&format!("-r/{ID}.jsonl"), 20);
    assert_eq!(place.find(ID).unwrap(), latest);
    assert_eq!(place.find("3b7").unwrap(), latest);
}

#[test]
fn of_the_same_id_and_time_it_is_always_the_same_one() {
    let place = Place::new();
    for folder in ["-b", "-c", "-a"] {
        place.session(&format!("{folder}/{ID}.jsonl"), 10);
    }
    assert_eq!(place.find(ID).unwrap(), place.path(&format!("-c/{ID}.jsonl")));
}

#[test]
fn several_sessions_are_listed_the_latest_first() {
    let place = Place::new();
    place.session("-p/abc1.jsonl", 10);
    place.session("-q/abc2.jsonl", 20);
    let message = place.find("AB").unwrap_err().to_string();
    let expected = format!(
        "2 sessions have an ID that starts with \"AB\"; give more of it:\n  abc2 in {}\n  abc1 in {}",
        place.path("-q").display(),
        place.path("-p").display()
    );
    assert_eq!(message, expected);
}

#[test]
fn at_most_ten_sessions_are_listed() {
    let place = Place::new();
    for number in 0..13 {
        place.session(&format!("-p/a{number}.jsonl"), number);
    }
    let message = place.find("a").unwrap_err().to_string();
    assert_eq!(message.matches("\n  a").count(), 11, "{message}");
    assert!(message.contains("a12 in"), "{message}");
    assert!(!message.contains("a2 in"), "{message}");
    assert!(message.ends_with("and 3 more"), "{message}");
}

#[test]
fn a_session_that_is_not_found_is_an_error_that_says_where_and_how_to_list() {
    let place = Place::new();
    place.session("-p/abc.jsonl", 1);
    let message = place.find("xyz").unwrap_err().to_string();
    let projects = place.path("");
    let projects = projects.to_str().unwrap().trim_end_matches('/');
    assert_eq!(
        message,
        format!(
            "no session \"xyz\" among the 1 in {projects}; `posthog-llma ingest --list --all` lists them (set \
             CLAUDE_CONFIG_DIR if Claude Code's directory is not ~/.claude)"
        )
    );
}

#[test]
fn a_missing_configuration_directory_is_an_error_that_names_it() {
    let message = find(&["/no/such".into()], OsStr::new("x")).unwrap_err().to_string();
    assert!(message.contains("/no/such"), "{message}");
    assert!(message.contains("CLAUDE_CONFIG_DIR"), "{message}");
}

#[test]
fn an_empty_query_is_an_error() {
    let place = Place::new();
    place.session("-p/abc.jsonl", 1);
    assert!(matches!(place.find(""), Err(FindError::Empty)));
    assert!(matches!(place.find(".jsonl"), Err(FindError::Empty)));
}

#[test]
fn sub_agents_and_directories_are_no_sessions() {
    let place = Place::new();
    place.write("-p/agent-abc.jsonl", "");
    place.write("-p/abc.txt", "");
    place.write("abc.jsonl", "");
    fs::create_dir_all(place.path("-p/abcd.jsonl")).unwrap();
    fs::create_dir_all(place.path("-p/abce")).unwrap();
    for query in ["agent-abc", "abc", "a", "."] {
        assert!(matches!(place.find(query), Err(FindError::NotFound { .. })), "{query}");
    }
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_read_is_counted() {
    let place = Place::new();
    link("-loop", &place.path("-loop"));
    let message = place.find("abc").unwrap_err().to_string();
    assert!(message.contains("(1 folder cannot be read)"), "{message}");
    let path = place.session("-p/abc.jsonl", 1);
    assert_eq!(place.find("abc").unwrap(), path);
}

#[test]
fn a_path_is_a_path_and_nothing_else() {
    let place = Place::new();
    let path = place.session(&format!("-p/{ID}.jsonl"), 1);
    assert_eq!(place.find(&path).unwrap(), path);
    for query in [format!("./{ID}"), format!("-p/{ID}"), format!("{ID}/"), "../x".to_owned()] {
        let refused = place.find(&query);
        assert!(matches!(refused, Err(FindError::Transcript(TranscriptError::Unreadable { .. }))), "{query}");
    }
}

#[test]
fn a_path_must_be_that_of_a_main_transcript() {
    let place = Place::new();
    let agent = place.write("-p/agent-a.jsonl", "");
    for path in [agent, place.path("-p")] {
        assert!(matches!(place.find(&path), Err(FindError::Transcript(_))));
    }
}
