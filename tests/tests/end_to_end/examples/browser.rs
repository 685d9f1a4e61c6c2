//! The page in a real headless browser.

use super::*;
use posthog_llma_tests::browser::Browser;
use posthog_llma_tests::examples::page;
use serde_json::Value;

/// What the page shows for these files, and the requests that it makes.
fn opened(files: &[PathBuf]) -> Option<Value> {
    let (browser, folder) = (Browser::find("examples/browser")?, page()?);
    let check = Command::new("node")
        .arg(folder.join("check.mjs"))
        .arg(browser.program())
        .arg("dist/index.html")
        .args(files)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    Some(serde_json::from_slice(&check.stdout).unwrap())
}

#[test]
fn the_page_shows_the_trace_and_makes_no_request() {
    let transcript = fixtures::transcripts("demo").unwrap().remove(0);
    let subagents = transcript.with_extension("").join("subagents");
    let agents = std::fs::read_dir(subagents).unwrap().map(|entry| entry.unwrap().path());
    let Some(seen) = opened(&[transcript].into_iter().chain(agents).collect::<Vec<_>>()) else { return };

    assert_eq!(seen["said"], "18 events: 9 model calls, 8 tool calls; 117545 tokens in, 1996 out");
    let rows: Vec<_> = seen["rows"].as_array().unwrap().iter().map(|row| row.as_str().unwrap()).collect();
    // The session is named after its first prompt, whose row says so.
    assert_eq!(rows[..2], ["Session", "Why does the checkout test fail? Fix it."]);
    // The sub-agent's tool call.
    assert!(rows.contains(&"Grep"), "{rows:#?}");
    assert_eq!(rows.iter().filter(|title| **title == "claude-opus-5-5").count(), 9);

    let requests = seen["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert!(requests[0].as_str().unwrap().ends_with("/dist/index.html"));
    assert_eq!((&seen["refused"], &seen["quiet"]), (&Value::Bool(true), &Value::Bool(true)), "{}", seen["errors"]);
}

#[test]
fn the_page_takes_a_session_that_went_on_in_another_folder() {
    let folder = tempfile::tempdir().unwrap();
    let folders = ["first", "second"].map(|name| folder.path().join(name));
    let transcript = fixtures::transcripts("demo").unwrap().remove(0);
    let [first, second] = fixtures::in_two_folders(&transcript, folders.each_ref().map(PathBuf::as_path)).unwrap();
    let agents = std::fs::read_dir(second.with_extension("").join("subagents")).unwrap();
    let agents = agents.map(|entry| entry.unwrap().path());
    // In either order.
    let files: Vec<_> = [second, first].into_iter().chain(agents).collect();
    let Some(seen) = opened(&files) else { return };
    assert_eq!(seen["said"], "18 events: 9 model calls, 8 tool calls; 117545 tokens in, 1996 out");
}

#[test]
fn the_page_says_that_a_file_is_no_transcript() {
    let directory = tempfile::tempdir().unwrap();
    let (notes, damaged) = (directory.path().join("notes.txt"), directory.path().join("damaged.jsonl"));
    std::fs::write(&notes, "<img src=x onerror=alert(1)>").unwrap();
    std::fs::write(&damaged, "<img src=x onerror=alert(1)>\n{\"type\":\n").unwrap();

    let Some(seen) = opened(&[notes]) else { return };
    assert_eq!(seen["said"], "One session's transcript is needed, and there are 0.");
    let seen = opened(&[damaged]).unwrap();
    assert_eq!(seen["said"], "0 events: 0 model calls, 0 tool calls; 0 tokens in, 0 out, 2 damaged lines");
    assert_eq!(seen["requests"].as_array().unwrap().len(), 1);
}
