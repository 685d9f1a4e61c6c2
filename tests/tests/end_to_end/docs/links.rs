//! Links and file names point to something that exists.

use super::page::Page;
use super::workspace;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A heading's anchor: lower case, words joined by hyphens, without punctuation.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#'))).collect()
}

/// The targets of a page's links and images.
fn targets(page: &Page) -> Vec<String> {
    let prose = page.prose();
    prose.split("](").skip(1).map(|rest| rest.split(')').next().unwrap().to_owned()).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut links = 0;
    for page in Page::all() {
        for target in targets(&page) {
            if target.starts_with("https://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((&target, ""));
            let path = match file {
                "" => workspace().join(&page.path),
                file => workspace().join(&page.path).with_file_name(file),
            };
            assert!(path.exists(), "{} links to {target}", page.path);
            if !heading.is_empty() {
                let text = fs::read_to_string(&path).unwrap();
                assert!(anchors(&text).contains(heading), "{} links to {target}: no such heading", page.path);
            }
            links += 1;
        }
    }
    assert!(links > 60, "only {links} links were found");
}

#[test]
fn the_list_of_pages_is_whole() {
    let listed: BTreeSet<String> = targets(&Page::read("docs/README.md")).into_iter().collect();
    for entry in fs::read_dir(workspace().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if Path::new(&name).extension().is_some_and(|extension| extension == "md") && name != "README.md" {
            assert!(listed.contains(&name), "docs/README.md does not list {name}");
        }
    }
}

#[test]
fn every_file_that_is_named_is_there() {
    let places = ["guest/", "host/", "tests/", "wit/", "docs/", "examples/", "xtask/", "plugin/", ".ci/", ".github/"];
    let made = ["examples/browser/dist", "examples/node/generated", "plugin/program"];
    let mut names = 0;
    for page in Page::all().into_iter().filter(|page| page.path != "CHANGELOG.md") {
        let prose = page.prose();
        let spans = prose.split('`').skip(1).step_by(2).filter_map(|span| span.split_whitespace().next());
        for name in spans.filter(|name| places.iter().any(|place| name.starts_with(place))) {
            let is_a_pattern = name.contains(['<', '*', '…', '{']) || made.iter().any(|made| name.starts_with(made));
            if !is_a_pattern {
                assert!(workspace().join(name).exists(), "{} names {name}", page.path);
                names += 1;
            }
        }
    }
    assert!(names > 40, "only {names} files are named");
}
