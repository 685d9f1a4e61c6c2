//! Compiled code is kept, only for this user.

use super::*;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// Every file of compiled code, with its modification time.
fn compiled(folder: &Path) -> Vec<(PathBuf, SystemTime)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_big = path.metadata().unwrap().len() > 10_000;
        if path.is_dir() {
            found.extend(compiled(&path));
        } else if is_big {
            let modified = path.metadata().unwrap().modified().unwrap();
            found.push((path, modified));
        }
    }
    found
}

#[test]
#[cfg(unix)]
fn only_the_first_run_compiles_into_a_directory_for_this_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let session = home.session(Transcript::new().turns(1).text());
    let run = || home.convert(&session).env("XDG_CACHE_HOME", home.path().join("caches")).run();
    let cache = home.path().join("caches/posthog-llma");

    let first = run().exits_with(0).says_nothing();
    assert_eq!(cache.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let code = compiled(&cache);
    assert_eq!(code.len(), 1, "{code:?}");

    assert_eq!(run().exits_with(0).says_nothing().stdout, first.stdout);
    assert_eq!(compiled(&cache), code);
}

#[test]
fn an_unusable_cache_directory_is_a_warning_and_no_failure() {
    let home = Home::new();
    let session = home.session(Transcript::new().turns(1).text());
    let file = home.write("file", "");
    let outcome = home.convert(&session).env("XDG_CACHE_HOME", &file).run().exits_with(0);
    let directory = file.join("posthog-llma");
    let outcome = outcome.says(&["warning: the cache directory", directory.to_str().unwrap(), "cannot be used"]);
    assert_eq!(outcome.events().len(), 2);
}
