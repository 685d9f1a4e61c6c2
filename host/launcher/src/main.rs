//! `bin/posthog-llma.exe` of the plugin: what `bin/posthog-llma` beside it is elsewhere, but for fetching.
//!
//! Claude Code calls a hook by a path without an extension, to which Windows adds `.exe`. A package's program is in a folder
//! named after its platform, so something has to look.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// The program's file.
const PROGRAM: &str = if cfg!(windows) { "posthog-llma.exe" } else { "posthog-llma" };

/// There is no such program, as shells say it.
const NOT_FOUND: u8 = 127;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let is_hook = arguments.first().is_some_and(|first| first == "hook");
    let Some(program) = find(&folder_above(), |name| env::var_os(name).map(PathBuf::from)) else {
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
        // Claude Code shows the user what a hook says, and that it failed.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let _ = command.status();
        return ExitCode::SUCCESS;
    }
    match command.status() {
        // A code of Windows has 32 bits; of the program's own, all are small.
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("posthog-llma cannot be started: {}: {error}", program.display());
            ExitCode::FAILURE
        }
    }
}

/// The plugin: the folder above the one that this program is in.
fn folder_above() -> PathBuf {
    let own = env::current_exe().unwrap_or_default();
    own.ancestors().nth(2).map(Path::to_owned).unwrap_or_default()
}

/// The program of the plugin, else one that was installed otherwise. `PATH` is not asked: a project's settings can set it.
fn find(plugin: &Path, variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let installed = [("LOCALAPPDATA", "Programs/posthog-llma"), ("USERPROFILE", ".cargo/bin")];
    let folders = [plugin.join("program")]
        .into_iter()
        .chain(installed.iter().filter_map(|(name, below)| Some(variable(name)?.join(below))));
    packaged(plugin).into_iter().chain(folders).map(|folder| folder.join(PROGRAM)).find(|program| program.is_file())
}

/// Folders of the programs that npm has installed below the plugin: one, as a rule.
fn packaged(plugin: &Path) -> Vec<PathBuf> {
    let begins =
        |path: &Path, with: &str| path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(with));
    let scopes = entries(&plugin.join("node_modules")).into_iter().filter(|path| begins(path, "@"));
    let packages = scopes.flat_map(|scope| entries(&scope)).filter(|path| begins(path, "llma-"));
    packages.map(|package| package.join("bin")).collect()
}

/// What is in a folder, sorted; nothing, if that cannot be read.
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
        let (plugin, local) = (root.join("plugin"), root.join("local"));
        let variable = |name: &str| (name == "LOCALAPPDATA").then(|| local.clone());
        let places = [
            local.join("Programs/posthog-llma"),
            plugin.join("program"),
            plugin.join("node_modules/@posthog/llma-win32-x64/bin"),
        ];
        assert_eq!(find(&plugin, variable), None);
        for place in &places {
            fs::create_dir_all(place).unwrap();
            fs::write(place.join(PROGRAM), "").unwrap();
            assert_eq!(find(&plugin, variable), Some(place.join(PROGRAM)));
        }
        fs::create_dir_all(plugin.join("node_modules/.bin")).unwrap();
        fs::create_dir_all(plugin.join("node_modules/@other/package/bin")).unwrap();
        assert_eq!(find(&plugin, variable), Some(places[2].join(PROGRAM)));
        fs::remove_dir_all(root).unwrap();
    }
}
