//! The tables of settings match the program.

use super::machine::{Machine, succeeded};
use super::page::Page;
use posthog_llma_pipeline::options;

/// The rows of the table with this header.
fn rows(text: &str, head: &str) -> Vec<String> {
    let (_, table) = text.split_once(&format!("\n{head}\n|---|---|---|\n")).unwrap();
    table.lines().take_while(|line| line.starts_with('|')).map(|row| row.replace('`', "")).collect()
}

/// The page says more about an option than its entry, but nothing else.
#[test]
fn the_table_of_settings_is_the_table_of_options() {
    let rows = rows(&Page::read("docs/configuration.md").text, "| Variable | Default | Meaning |");
    for (row, entry) in rows.iter().zip(options::table()) {
        let default = entry.default().unwrap_or_else(|| "none".to_owned());
        let expected = format!("| {} | {default} | {}", entry.variable, entry.help);
        assert!(row.to_lowercase().starts_with(&expected.to_lowercase()), "{row}\n{expected}");
    }
    assert_eq!(rows.len(), options::table().count());
}

#[test]
fn the_other_variables_are_listed_too() {
    let rows = rows(&Page::read("docs/configuration.md").text, "| Variable | Used by | Meaning |");
    for variable in options::OTHER_VARIABLES {
        assert!(rows.iter().any(|row| row.starts_with(&format!("| {variable} |"))), "{variable}");
    }
}

#[test]
fn the_help_lists_every_option() {
    let help = succeeded(&Machine::new().shell("posthog-llma --help").output().unwrap());
    for entry in options::table() {
        let line = help.lines().find(|line| line.trim_start().starts_with(&format!("{} ", entry.variable)));
        assert!(line.is_some_and(|line| line.contains(entry.help)), "{}: {line:?}", entry.variable);
    }
}
