//! `view`: the tree in the terminal, and the page in a real browser.

use super::*;
use posthog_llma_tests::browser::Browser;
use posthog_llma_tests::program::{Program, until};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn view(home: &Home, session: impl AsRef<std::ffi::OsStr>) -> Program {
    home.program(["view"]).arg(session)
}

/// Writes a session's page and returns it.
fn page(home: &Home, session: impl AsRef<std::ffi::OsStr>) -> String {
    let path = home.path().join("work/page.html");
    view(home, session).arg("--html").arg(&path).run().exits_with(0).says_nothing();
    fs::read_to_string(path).unwrap()
}

/// The events in a page, read as its script reads them.
fn events_in(page: &str) -> Vec<Value> {
    let (_, data) = page.split_once("<script type=\"application/json\" id=\"events\">").unwrap();
    let (data, _) = data.split_once("</script>").unwrap();
    serde_json::from_str(data).unwrap()
}

/// Helpers that the browser's scripts share.
const KEYS: &str = "\
const one = (selector) => document.querySelector(selector);
const list = one('.list');
const key = (key) => list.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
const titles = () => [...document.querySelectorAll('.row .title')].map((title) => title.textContent);
const type = (text) => { one('.bar input').value = text; one('.bar input').dispatchEvent(new Event('input')); };
";

#[test]
fn the_tree_has_turns_generations_tools_sub_agents_and_errors() {
    let outcome = view(&Home::new(), fixture(DEMO)).run().exits_with(0).says_nothing();
    let outcome = outcome.prints(&[
        "Why does the checkout test fail? Fix it.\n19.5 s  42 in + 117,503 cached, 1,996 out",
        "\n+1 −1 in 1 file, 2 retries\n",
        "├─ ❯ Why does the checkout test fail? Fix it.  15.2 s  ✗ 2  ↻ 2  +1 −1  30 in + 78,354 cached, 1,651 out\n",
        "│  ├─ claude-opus-5-5  3.0 s  4 in + 14,213 cached, 412 out  I'll look at",
        "│  │     ├─ claude-opus-5-5 [Explore]  1.2 s",
        "✗ API Error: 529 Overloaded",
        "└─ ❯ Try again.  3.9 s  12 in + 39,149 cached, 345 out\n",
    ]);
    // A line for each event but the trace, which has three, and one for each turn.
    assert_eq!(outcome.stdout.lines().count(), 17 + 3 + 2);
    assert!(!outcome.stdout.contains('\u{1b}'), "colors where nobody sees them");
}

#[test]
fn the_tree_has_colors_where_they_are_wanted_and_the_same_text() {
    let plain = view(&Home::new(), fixture(DEMO)).run().exits_with(0).stdout;
    let colored = view(&Home::new(), fixture(DEMO)).env("CLICOLOR_FORCE", "1").run().exits_with(0).stdout;
    assert!(colored.contains("\u{1b}[31m✗"), "{colored}");
    let mut text = String::new();
    for piece in colored.split("\u{1b}[") {
        text += if text.is_empty() && !colored.starts_with('\u{1b}') {
            piece
        } else {
            piece.split_once('m').map_or("", |(_, t)| t)
        };
    }
    assert_eq!(text, plain);
    let never = view(&Home::new(), fixture(DEMO)).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1").run();
    assert_eq!(never.exits_with(0).stdout, plain);
}

#[test]
fn in_privacy_mode_the_tree_has_no_text() {
    let outcome = view(&Home::new(), fixture(DEMO)).env("POSTHOG_LLMA_PRIVACY_MODE", "true").run().exits_with(0);
    for text in ["checkout", "Try again", "Overloaded", "git log"] {
        assert!(!outcome.stdout.contains(text), "{text}: {}", outcome.stdout);
    }
    outcome.prints(&["Bash", "claude-opus-5-5 [Explore]  1.2 s  3 in + 6,120 cached, 118 out"]);
}

#[test]
fn the_page_holds_exactly_the_events_that_convert_prints() {
    for case in [DEMO, "2.1.330/workflow", "2.1.330/bigout"] {
        let (home, session) = (Home::new(), fixture(case));
        let converted = home.convert(&session).run().exits_with(0).events();
        assert_eq!(events_in(&page(&home, &session)), converted, "{case}");
    }
}

#[test]
fn the_page_of_privacy_mode_holds_what_privacy_mode_leaves() {
    let (home, session) = (Home::new(), fixture(DEMO));
    let path = home.path().join("work/page.html");
    let view = view(&home, &session).env("POSTHOG_LLMA_PRIVACY_MODE", "true").arg("--html").arg(&path);
    view.run().exits_with(0);
    let page = fs::read_to_string(path).unwrap();
    let convert = home.convert(&session).env("POSTHOG_LLMA_PRIVACY_MODE", "true");
    assert_eq!(events_in(&page), convert.run().exits_with(0).events());
    assert!(!page.contains("checkout test"));
}

#[test]
fn the_page_may_ask_for_nothing() {
    let page = page(&Home::new(), fixture(DEMO));
    assert!(page.contains("content=\"default-src 'none'; style-src 'sha256-"));
    assert!(!page.contains("unsafe-"));
    let own = page.replace(&page[page.find("[{").unwrap()..page.find("}]</script>").unwrap()], "");
    for outside in ["http:", "https:", "//cdn", "url(", "@import", "fetch(", "XMLHttpRequest", "eval(", "innerHTML"] {
        assert!(!own.contains(outside), "{outside}");
    }
}

/// The end tags of every kind of block, and scripts that `watched` would notice.
const TAG: &str =
    "</script></style></title><!--<script>watched.push('ran')</script><img src=x onerror=\"watched.push('ran')\">";

/// A session with this text everywhere a text can be.
fn full_of(home: &Home, text: &str) -> PathBuf {
    let line = |mut line: Value| {
        for name in ["cwd", "gitBranch", "version", "entrypoint"] {
            line[name] = json!(text);
        }
        line
    };
    let response = |id: &str, blocks: Value| {
        line(json!({"type": "assistant", "message": {"id": id, "role": "assistant", "model": text, "stop_reason": text,
            "content": blocks, "usage": {"input_tokens": 3, "output_tokens": 7, "service_tier": text}}}))
    };
    let transcript = Transcript::new()
        .line(line(json!({"type": "user", "promptId": "p1", "message": {"role": "user", "content": text}})))
        .line(response(
            "m1",
            json!([{"type": "thinking", "thinking": text}, {"type": "text", "text": text},
                {"type": "tool_use", "id": "t1", "name": text, "input": {text: text}},
                {"type": "tool_use", "id": "t2", "name": format!("mcp__{text}__x"), "input": text}]),
        ))
        .line(line(json!({"type": "user", "message": {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": text, "is_error": true}]}})))
        .line(line(json!({"type": "user", "message": {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": text}]}]}})))
        .line(line(json!({"type": "assistant", "isApiErrorMessage": true, "apiErrorType": text, "message": {
            "id": "m2", "role": "assistant", "model": "<synthetic>", "content": [{"type": "text", "text": text}]}})));
    home.write(".claude/projects/-work/<img src=x onerror=alert(1)>.jsonl", transcript.text())
}

#[test]
fn tags_and_scripts_in_a_transcript_are_only_text_in_the_page() {
    let home = Home::new();
    let session = full_of(&home, TAG);
    let page = page(&home, &session);
    assert_eq!(page.matches("</script").count(), 2, "the data block's end and the script's");
    assert_eq!(page.matches("<img").count(), 0);
    let Some(browser) = Browser::find("the test of tags in a transcript") else { return };
    let seen = browser.run(
        &page,
        &format!(
            "{KEYS} const shown = []; key('Home');
             for (let i = 0; i < 12; i++) {{ for (const tab of [0, 1]) {{ key('t'); shown.push(one('.detail').textContent); }} key('j'); }}
             return {{ images: document.images.length, scripts: document.scripts.length, title: document.title,
                events: drawTrace.length, rows: titles(), shown: shown.join('') }};"
        ),
    );
    // The data block, the page's script, and this test's two.
    assert_eq!((&seen["images"], &seen["scripts"], &seen["events"]), (&json!(0), &json!(4), &json!(2)));
    assert!(seen["rows"].to_string().contains("</script>"), "{seen}");
    for what in ["<img src=x onerror=", "watched.push('ran')"] {
        assert!(seen["shown"].as_str().unwrap().matches(what).count() > 20, "the details show {what:?} as text");
    }
}

#[test]
fn the_page_draws_filters_and_searches() {
    let Some(browser) = Browser::find("the test of the page") else { return };
    let home = Home::new();
    let seen = browser.run(
        &page(&home, fixture(DEMO)),
        &format!(
            "{KEYS} const out = {{ title: document.title, all: titles(), about: one('header').textContent }};
             out.times = [...document.querySelectorAll('.time')].map((time) => time.textContent);
             key('e'); out.error = one('.detail').textContent;
             key('t'); out.sent = [...document.querySelectorAll('.detail th')].map((th) => th.textContent); key('t');
             one('.errors').click(); out.errors = [...document.querySelectorAll('.row:not(.dim) .title')].map((t) => t.textContent); one('.errors').click();
             one('.bar select').value = 'tool'; one('.bar select').dispatchEvent(new Event('change')); out.tools = one('.matches').textContent;
             key('Escape'); type('REDUCE'); out.found = one('.matches').textContent; out.marks = document.querySelectorAll('mark').length;
             key('Escape'); type('nowhere to be found'); out.nothing = [titles(), one('.detail').textContent];
             key('Escape'); key('Home'); key('ArrowRight'); key('ArrowLeft'); out.closed = titles().length;
             key('o'); out.open = titles().length; out.active = one('#' + list.getAttribute('aria-activedescendant')).textContent;
             return out;"
        ),
    );
    assert_eq!(seen["title"], "Why does the checkout test fail? Fix it. · Claude Code session");
    // The trace, two turns, and the other events.
    assert_eq!(seen["all"].as_array().unwrap().len(), 1 + 2 + 17);
    for fact in ["19.5 swork", "9model calls", "8tool calls", "2errors", "fix/checkout-total"] {
        assert!(seen["about"].as_str().unwrap().contains(fact), "{fact}: {}", seen["about"]);
    }
    // What was done before a turn's first event is not waiting: nothing was waited for in this session.
    let times: Vec<&str> = seen["times"].as_array().unwrap().iter().map(|time| time.as_str().unwrap()).collect();
    assert!(times.contains(&"15.2 s") && !times.iter().any(|time| time.contains("waiting")), "{times:?}");
    assert!(seen["error"].as_str().unwrap().contains("Expected values to be strictly equal"), "{}", seen["error"]);
    assert_eq!(seen["errors"], json!(["Bash", "claude-opus-5-5"]));
    assert_eq!(seen["tools"], "8 of 20 rows");
    let events = events_in(&page(&home, fixture(DEMO)));
    let found = events.iter().filter(|event| event.to_string().to_lowercase().contains("reduce")).count();
    assert_eq!(seen["found"], format!("{found} of 20 rows"));
    assert!(seen["marks"].as_u64().unwrap() > 0);
    assert_eq!(seen["nothing"], json!([[], "Nothing matches."]));
    assert_eq!(seen["open"], 20);
    // Of the selected event, all properties, and the envelope.
    let failed = events.iter().find(|e| e["event"] == "$ai_span" && e["properties"]["$ai_is_error"] == true).unwrap();
    let names = |of: &Value| of.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
    let sent: std::collections::BTreeSet<String> =
        seen["sent"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    let mut expected = names(&failed["properties"]);
    expected.extend(names(failed));
    expected.remove("properties");
    assert_eq!(sent, expected);
}

#[test]
fn the_page_of_a_long_session_draws_only_the_rows_that_are_seen() {
    let Some(browser) = Browser::find("the test of a long session") else { return };
    let home = Home::new();
    let session = home.session(Transcript::new().turns(5000).text());
    let page = page(&home, &session);
    assert_eq!(events_in(&page).len(), 5001);
    let seen = browser.run(
        &page,
        &format!(
            "{KEYS} const rows = () => document.querySelectorAll('.row').length; const out = {{}};
             out.closed = rows(); key('o'); out.open = rows(); key('End'); out.last = one('.detail').textContent;
             type('answer 4321'); out.found = one('.matches').textContent; return out;"
        ),
    );
    for rows in ["closed", "open"] {
        assert!((20..100).contains(&seen[rows].as_u64().unwrap()), "{seen}");
    }
    assert!(seen["last"].as_str().unwrap().contains("answer 5000"), "{}", seen["last"]);
    assert_eq!(seen["found"], "1 of 10,001 rows");
}

#[test]
fn on_a_narrow_screen_nothing_is_cut_off_and_the_list_begins_above_the_fold() {
    let Some(browser) = Browser::find("the test of a narrow screen") else { return };
    let seen = browser.run_in(
        "500,844",
        &page(&Home::new(), fixture(DEMO)),
        "const trace = document.querySelector('.trace'); const out = { width: innerWidth, height: innerHeight, right: 0 };
         // A phone has less than a window here can have.
         trace.style.width = '390px';
         for (const of of ['header', '.stats', '.bar', '.bar button:last-child', '.list', '.axis'])
           out.right = Math.max(out.right, trace.querySelector(of).getBoundingClientRect().right);
         out.top = trace.querySelector('.list').getBoundingClientRect().top; return out;",
    );
    assert!(seen["width"].as_f64().unwrap() <= 560.0, "{seen}");
    assert!(seen["right"].as_f64().unwrap() <= 390.0, "{seen}");
    assert!(seen["top"].as_f64().unwrap() < 300.0, "{seen}");
}

#[test]
fn a_page_that_cannot_be_written_is_an_error_that_names_the_file() {
    let home = Home::new();
    fs::create_dir(home.path().join("work/folder")).unwrap();
    for path in ["folder", "missing/page.html"] {
        let outcome = view(&home, fixture(DEMO)).args(["--html", path]).run().exits_with(1);
        outcome.says(&["posthog-llma: error: cannot write", path]);
    }
}

#[test]
fn a_session_that_cannot_be_converted_leaves_the_old_page() {
    let home = Home::new();
    let session = home.session(Transcript::new().turns(3000).text());
    let path = home.write("work/page.html", "old");
    view(&home, &session).args(["--max-time", "0.01", "--html"]).arg(&path).run().exits_with(1);
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(entries(path.parent().unwrap()), ["page.html"], "nothing is left beside it");
}

#[cfg(unix)]
#[test]
fn an_interrupted_page_leaves_the_old_one_and_nothing_beside_it() {
    let home = Home::new();
    let session = home.session(Transcript::new().turns(60_000).text());
    let path = home.write("work/page.html", "old");
    let running = view(&home, &session).arg("--html").arg(&path).start();
    until("the page is begun", || entries(path.parent().unwrap()).len() == 2);
    running.interrupt().exits_with(130).says(&["interrupted", "is as it was before"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(entries(path.parent().unwrap()), ["page.html"]);
}

fn entries(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
