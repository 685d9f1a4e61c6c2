//! The commands page matches the program's help, and no page mentions a command or flag that doesn't exist.

use super::machine::{Machine, succeeded, workspace};
use super::page::Page;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

const PAGE: &str = "docs/commands.md";

/// The help texts of all visible commands, in the order of `--help`.
fn helps() -> Vec<(String, String)> {
    let machine = Machine::new();
    let help = |command: &str| {
        succeeded(&machine.shell(&format!("posthog-llma {command} --help")).output().unwrap()).trim_end().to_owned()
    };
    let all = help("");
    let (_, list) = all.split_once("Commands:\n").unwrap();
    let names = list.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    let commands = names.filter(|name| *name != "help").map(|name| (name.to_owned(), help(name)));
    let commands: Vec<_> = commands.collect();
    [(String::new(), all)].into_iter().chain(commands).collect()
}

/// `UPDATE=1 cargo test -p posthog-llma-tests --test end_to_end the_page_of_commands` writes the page.
#[test]
fn the_page_of_commands_is_what_help_prints() {
    let mut page =
        "# Commands\n\nWhat `--help` prints, command by command. [Tours](tours.md) show the common ones at work.\n"
            .to_owned();
    for (name, help) in helps() {
        let heading = if name.is_empty() { "posthog-llma".to_owned() } else { name };
        let _ = write!(page, "\n## {heading}\n\n```text\n{help}\n```\n");
    }
    let path = workspace().join(PAGE);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    assert!(written == page, "{PAGE} is not what --help prints: run this test with UPDATE=1 and review the page");
}

/// The words of each command line quoted in a page.
fn quoted(page: &Page) -> Vec<Vec<String>> {
    let prose = page.prose();
    let spans = prose.split('`').skip(1).step_by(2).map(str::to_owned);
    let lines = page.every_block().into_iter().filter(|block| ["sh", "yaml", "dockerfile"].contains(&&*block.language));
    let lines = lines.flat_map(|block| block.text.lines().map(str::to_owned).collect::<Vec<_>>());
    let texts = spans.chain(lines);
    texts
        .flat_map(|text| {
            let parts = text.split([';', '|', '&', '(', ')', '"', '\'']).map(str::to_owned).collect::<Vec<_>>();
            parts.into_iter().filter_map(|part| {
                let words: Vec<String> = part.split_whitespace().map(str::to_owned).collect();
                let at = words.iter().position(|word| word == "posthog-llma" || word == "@posthog/llma")?;
                // A name alone is a program, a plugin or a package, not a command.
                (at + 1 < words.len()).then(|| words[at + 1..].to_vec())
            })
        })
        .collect()
}

#[test]
fn every_command_and_flag_that_a_page_names_exists() {
    let flags: BTreeMap<String, BTreeSet<String>> = helps()
        .into_iter()
        .map(|(name, help)| {
            let words = help.split([' ', ',', '\n', '[', ']', '=']).filter(|word| word.starts_with('-'));
            (name, words.map(str::to_owned).collect())
        })
        .collect();
    let hidden = ["hook", "worker", "detach"];
    let mut commands = 0;
    for page in Page::all().into_iter().filter(|page| page.path != "CHANGELOG.md") {
        for words in quoted(&page) {
            let name = words[0].trim_end_matches([',', '.', ':']);
            // `posthog-llma --version`, or a placeholder.
            if name.starts_with('-') || name.chars().any(|c| !c.is_ascii_lowercase()) || hidden.contains(&name) {
                continue;
            }
            let known = flags.get(name).unwrap_or_else(|| panic!("{}: there is no command {name:?}", page.path));
            for flag in words[1..].iter().take_while(|word| *word != "#").filter(|word| word.starts_with("--")) {
                let flag = flag.split('=').next().unwrap();
                assert!(known.contains(flag), "{}: {name} has no {flag}", page.path);
            }
            commands += 1;
        }
    }
    assert!(commands > 40, "only {commands} commands are named");
}
