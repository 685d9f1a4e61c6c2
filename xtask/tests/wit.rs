//! The interface's documentation is of this interface, and hosts of a released one can use it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;
use xtask::{wit, workspace};

#[test]
fn the_documentation_is_of_this_interface() {
    let (resolve, package) = wit::current().unwrap();
    let page = fs::read_to_string(workspace().join(wit::PAGE)).unwrap();
    assert!(page == wit::markdown(&resolve, package), "run `cargo xtask wit`");
}

#[test]
fn a_host_of_each_released_interface_can_use_this_one() {
    let released = wit::released().unwrap();
    assert!(!released.is_empty());
    for folder in released {
        wit::check_compatible(&workspace().join("wit"), &folder).unwrap();
    }
}

/// What the check says of the interface with this text replaced in each of its files.
fn changed(replacements: &[(&str, &str)]) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    copy(&workspace().join("wit"), directory.path());
    for (from, to) in replacements {
        let mut found = false;
        for file in ["types.wit", "command.wit", "conversion.wit", "delivery.wit", "worlds.wit"] {
            let path = directory.path().join(file);
            let text = fs::read_to_string(&path).unwrap();
            found |= text.contains(from);
            fs::write(path, text.replace(from, to)).unwrap();
        }
        assert!(found, "{from}");
    }
    let released = workspace().join("wit/released/0.1.0");
    wit::check_compatible(directory.path(), &released).map_err(|error| format!("{error:#}"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

const FINISH: &str = "finish: func() -> result<_, sequence-error>;";

#[test]
fn a_field_less_or_more_is_incompatible() {
    for change in [("        lines: u64,\n", ""), ("        lines: u64,\n", "        lines: u64, words: u64,\n")] {
        let error = changed(&[change]).unwrap_err();
        assert!(error.contains("does not fit where that of"), "{error}");
    }
}

#[test]
fn a_function_less_and_a_world_less_are_incompatible() {
    let error = changed(&[(FINISH, "")]).unwrap_err();
    assert!(error.contains("does not fit where that of"), "{error}");
    let error = changed(&[("world converter", "world transformer")]).unwrap_err();
    assert!(error.contains("the world converter is gone"), "{error}");
}

#[test]
fn an_import_more_is_incompatible() {
    let error =
        changed(&[("    export types;", "    import wasi:random/random@0.2.12;\n    export types;")]).unwrap_err();
    assert!(error.contains("the world converter does not fit"), "{error}");
}

#[test]
fn a_function_more_is_compatible() {
    changed(&[(FINISH, &format!("{FINISH} bytes-left: func() -> u64;"))]).unwrap();
}

#[test]
fn another_version_may_be_another_interface() {
    changed(&[(FINISH, ""), ("@0.1.0", "@0.2.0")]).unwrap();
}
