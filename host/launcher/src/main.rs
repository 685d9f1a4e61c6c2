//! `bin/posthog-llma.exe` of the plugin: does what the script `bin/posthog-llma` beside it does elsewhere, except for
//! downloading.
//!
//! Claude Code calls a hook by a path without an extension, and Windows appends `.exe`. npm installs the program in a
//! folder named after the platform, so this launcher has to find it.

#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "prints its own words and its own path, and passes on what the program has cleaned; never has the token"
)]

use std::env;
use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// The program's file name.
const PROGRAM: &str = if cfg!(windows) { "posthog-llma.exe" } else { "posthog-llma" };

/// The exit code that shells use when they can't find a program.
const NOT_FOUND: u8 = 127;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let is_hook = arguments.first().is_some_and(|first| first == "hook");
    let Some(program) = find(&folder_above(), accounts_home().as_deref()) else {
        if is_hook {
            return ExitCode::SUCCESS;
        }
        eprintln!(
            "posthog-llma is not installed, so no session is sent: see https://github.com/posthog/posthog-llma#install"
        );
        return ExitCode::from(NOT_FOUND);
    };
    let mut command = Command::new(&program);
    command.args(&arguments);
    if is_hook {
        // Hides failures: Claude Code shows the user that a hook failed, and passes a session-start hook's output to
        // the model.
        keep_own_streams();
        command.stdin(Stdio::inherit()).stdout(Stdio::piped()).stderr(Stdio::null());
        if let Ok(output) = command.output()
            && is_message(&output.stdout)
        {
            let _ = io::stdout().write_all(&output.stdout);
        }
        return ExitCode::SUCCESS;
    }
    match command.status() {
        // Windows exit codes have 32 bits; the program's own fit in 8.
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("posthog-llma cannot be started: {}: {error}", program.display());
            ExitCode::FAILURE
        }
    }
}

/// Is this a hook's message for the user? Anything else didn't come from the program.
fn is_message(said: &[u8]) -> bool {
    let said = said.trim_ascii();
    said.starts_with(b"{\"systemMessage\":") && said.ends_with(b"}")
}

/// Keeps the child from inheriting this process's standard streams; it gets its own. Otherwise, the child's own
/// children, which outlive it, would hold these streams open, and Claude Code would wait for them.
#[cfg(windows)]
#[expect(unsafe_code, reason = "a call of the system, with handles that are open as long as the process lives")]
fn keep_own_streams() {
    use std::os::windows::io::AsRawHandle as _;
    use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};
    for handle in [io::stdin().as_raw_handle(), io::stdout().as_raw_handle(), io::stderr().as_raw_handle()] {
        // Fails if the handle is closed or invalid; then there is nothing to keep.
        unsafe { SetHandleInformation(handle, HANDLE_FLAG_INHERIT, 0) };
    }
}

/// On other systems, a child inherits only the streams that it's given.
#[cfg(not(windows))]
fn keep_own_streams() {}

/// The account's home directory as the system knows it, because a project's settings can set the variables that name
/// it.
#[expect(unsafe_code, reason = "the environment is changed and put back while there is no other thread")]
fn accounts_home() -> Option<PathBuf> {
    const HOME: &str = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
    let given = env::var_os(HOME);
    // SAFETY: nothing has started a thread yet.
    unsafe { env::remove_var(HOME) };
    let home = env::home_dir();
    if let Some(given) = given {
        // SAFETY: as above.
        unsafe { env::set_var(HOME, given) };
    }
    home.filter(|home| home.is_absolute())
}

/// The plugin's folder: the parent of the folder with this program.
fn folder_above() -> PathBuf {
    let own = env::current_exe().unwrap_or_default();
    own.ancestors().nth(2).map(Path::to_owned).unwrap_or_default()
}

/// The plugin's own program, or one that was installed another way. Never searches `PATH`, which a project's settings
/// can set.
fn find(plugin: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let installed = ["AppData/Local/Programs/posthog-llma", ".cargo/bin"];
    let installed = home.into_iter().flat_map(|home| installed.map(|below| home.join(below)));
    let folders = [plugin.join("program")].into_iter().chain(installed);
    packaged(plugin).into_iter().chain(folders).map(|folder| folder.join(PROGRAM)).find(|program| program.is_file())
}

/// The folders of the programs that npm installed below the plugin, usually one.
fn packaged(plugin: &Path) -> Vec<PathBuf> {
    let begins =
        |path: &Path, with: &str| path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(with));
    let scopes = entries(&plugin.join("node_modules")).into_iter().filter(|path| begins(path, "@"));
    let packages = scopes.flat_map(|scope| entries(&scope)).filter(|path| begins(path, "llma-"));
    packages.map(|package| package.join("bin")).collect()
}

/// The entries of a folder, sorted; empty if it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().into_iter().flatten();
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_plugins_own_program_goes_before_an_installed_one() {
        let root = env::temp_dir().join(format!("posthog-llma-launcher-{}", std::process::id()));
        let (plugin, home) = (root.join("plugin"), root.join("home"));
        let places = [
            home.join(".cargo/bin"),
            home.join("AppData/Local/Programs/posthog-llma"),
            plugin.join("program"),
            plugin.join("node_modules/@posthog/llma-win32-x64/bin"),
        ];
        assert_eq!((find(&plugin, Some(&home)), find(&plugin, None)), (None, None));
        for place in &places {
            fs::create_dir_all(place).unwrap();
            fs::write(place.join(PROGRAM), "").unwrap();
            assert_eq!(find(&plugin, Some(&home)), Some(place.join(PROGRAM)));
        }
        fs::create_dir_all(plugin.join("node_modules/.bin")).unwrap();
        fs::create_dir_all(plugin.join("node_modules/@other/package/bin")).unwrap();
        assert_eq!(find(&plugin, Some(&home)), Some(places[3].join(PROGRAM)));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn only_what_is_meant_for_the_user_is_passed_on() {
        assert!(is_message(b"{\"systemMessage\":\"posthog-llma: x\"}\n"));
        for other in ["", "{}", "Segmentation fault", "{\"systemMessage\":\"x\"} and more", "{\"decision\":\"block\"}"]
        {
            assert!(!is_message(other.as_bytes()), "{other}");
        }
    }
}
