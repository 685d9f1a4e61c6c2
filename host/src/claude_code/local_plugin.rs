//! Creates the plugin for a program that was installed without it: a marketplace in a folder of the user's, with a
//! plugin whose hooks call this program. It needs no network and no clone, which could be moved or removed.

use crate::system::atomic;
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Name of the marketplace. It differs from the published one's, so that a client can know both.
pub const MARKETPLACE: &str = "posthog-llma-local";

/// The plugin's name in a client.
pub const PLUGIN: &str = "posthog@posthog-llma-local";

/// The command that the published plugin's hooks call.
const LAUNCHER: &str = "${CLAUDE_PLUGIN_ROOT}/bin/posthog-llma";

/// The file that contains this command.
const HOOKS: &str = "hooks/hooks.json";

/// The plugin's folder in the marketplace's folder.
const FOLDER: &str = "plugin";

/// The published plugin's files that this one shares. Instead of the launcher, it has a script that runs this program.
const FILES: [(&str, &[u8]); 8] = [
    (".claude-plugin/icon.png", include_bytes!("../../../plugin/.claude-plugin/icon.png")),
    (".claude-plugin/plugin.json", include_bytes!("../../../plugin/.claude-plugin/plugin.json")),
    ("README.md", include_bytes!("../../../plugin/README.md")),
    ("commands/llma-cc-ingest.md", include_bytes!("../../../plugin/commands/llma-cc-ingest.md")),
    ("commands/llma-cc-setup.md", include_bytes!("../../../plugin/commands/llma-cc-setup.md")),
    ("commands/llma-cc-status.md", include_bytes!("../../../plugin/commands/llma-cc-status.md")),
    (HOOKS, include_bytes!("../../../plugin/hooks/hooks.json")),
    ("scripts/run", include_bytes!("../../../plugin/scripts/run")),
];

/// The marketplace's folder, inside the directory for files that other programs read.
pub fn folder(data: &Path) -> PathBuf {
    data.join("marketplace")
}

/// Writes the marketplace, with hooks that call `program`. Removes what an older version left in it.
pub fn write(folder: &Path, program: &Path) -> io::Result<()> {
    let program = program
        .to_str()
        .ok_or_else(|| io::Error::other(format!("{}: the program's path is not UTF-8", program.display())))?;
    let plugin = folder.join(FOLDER);
    let mut written = Vec::new();
    let mut put = |path: PathBuf, contents: &[u8]| {
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        atomic::write(&path, contents)?;
        written.push(path.clone());
        io::Result::Ok(path)
    };
    for (name, contents) in FILES {
        let path = plugin.join(name);
        if name == HOOKS { put(path, hooks(contents, program)?.as_bytes()) } else { put(path, contents) }?;
    }
    let launcher = put(plugin.join("bin/posthog-llma"), launcher(program).as_bytes())?;
    // Written last: this file makes the folder a marketplace.
    put(folder.join(".claude-plugin/marketplace.json"), format!("{:#}\n", marketplace()?).as_bytes())?;
    for path in [launcher, plugin.join("scripts/run")] {
        make_executable(&path)?;
    }
    remove_others(folder, &written)
}

/// The published hooks, with this program instead of the launcher.
fn hooks(published: &[u8], program: &str) -> io::Result<String> {
    let mut hooks: Value = serde_json::from_slice(published)?;
    let mut replaced = 0;
    for event in hooks["hooks"].as_object_mut().into_iter().flat_map(|events| events.values_mut()) {
        for hook in
            event.as_array_mut().into_iter().flatten().filter_map(|group| group["hooks"].as_array_mut()).flatten()
        {
            if hook["command"] == LAUNCHER {
                hook["command"] = program.into();
                replaced += 1;
            }
        }
    }
    if replaced == 0 {
        return Err(io::Error::other("the plugin's hooks call something else than its launcher"));
    }
    Ok(format!("{hooks:#}\n"))
}

/// The script that the plugin's commands run, in a shell on every platform, including Windows.
fn launcher(program: &str) -> String {
    let quoted = program.replace('\'', r"'\''");
    format!("#!/bin/sh\n# Written by `posthog-llma plugin install`.\nexec '{quoted}' \"$@\"\n")
}

fn marketplace() -> io::Result<Value> {
    let manifest: Value = serde_json::from_slice(include_bytes!("../../../plugin/.claude-plugin/plugin.json"))?;
    Ok(json!({
        "name": MARKETPLACE,
        "owner": manifest["author"],
        "description": "Claude Code sessions in PostHog, by the program that is installed on this machine",
        "plugins": [{
            "name": manifest["name"], "source": format!("./{FOLDER}"), "description": manifest["description"],
            "version": manifest["version"], "category": "monitoring", "homepage": manifest["homepage"],
            "license": manifest["license"],
        }],
    }))
}

#[cfg(unix)]
fn make_executable(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
}

/// This platform has no execute permission.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
fn make_executable(_: &Path) -> io::Result<()> {
    Ok(())
}

fn remove_others(folder: &Path, written: &[PathBuf]) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.symlink_metadata()?.is_dir() {
            remove_others(&path, written)?;
        } else if !written.contains(&path) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Removes the marketplace, and the folder that held nothing else. Returns whether it existed.
pub fn remove(folder: &Path) -> io::Result<bool> {
    match fs::remove_dir_all(folder) {
        Ok(()) => {
            if let Some(parent) = folder.parent() {
                // Fails if there is anything else in it, which then stays.
                let _ = fs::remove_dir(parent);
            }
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Is this program in a temporary folder, such as that of a package fetched for one command, or a plugin's folder?
pub fn is_passing(program: &Path) -> bool {
    let has = |name: &str| program.components().any(|part| part.as_os_str() == name);
    has("_npx") || has("dlx") || (has("plugins") && has("cache"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "the files are the test's own")]

    use super::*;

    fn read(path: &Path) -> Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn the_hooks_call_this_program_and_nothing_of_a_clone() {
        let home = tempfile::tempdir().unwrap();
        for program in
            ["/home/me/.cargo/bin/posthog-llma", r"C:\Users\Zoë van Dyk\.cargo\bin\posthog-llma.exe", "/o'\"k/p"]
        {
            let folder = folder(home.path());
            write(&folder, Path::new(program)).unwrap();
            let hooks = read(&folder.join("plugin/hooks/hooks.json"));
            for event in ["SessionStart", "Stop", "SessionEnd"] {
                let hook = &hooks["hooks"][event][0]["hooks"][0];
                assert_eq!((&hook["command"], &hook["args"]), (&program.into(), &json!(["hook"])), "{event}");
            }
            let marketplace = read(&folder.join(".claude-plugin/marketplace.json"));
            let plugin = &marketplace["plugins"][0];
            let source = folder.join(plugin["source"].as_str().unwrap());
            let manifest = read(&source.join(".claude-plugin/plugin.json"));
            assert_eq!((&plugin["name"], &plugin["version"]), (&manifest["name"], &manifest["version"]));
            assert_eq!(
                format!("{}@{}", plugin["name"].as_str().unwrap(), marketplace["name"].as_str().unwrap()),
                PLUGIN
            );
        }
    }

    #[test]
    #[cfg(unix)]
    fn its_commands_run_this_program() {
        let home = tempfile::tempdir().unwrap();
        let program = home.path().join("it's a $program");
        fs::write(&program, "#!/bin/sh\necho \"$@\"\n").unwrap();
        make_executable(&program).unwrap();
        let folder = folder(home.path());
        write(&folder, &program).unwrap();
        let output =
            std::process::Command::new(folder.join("plugin/scripts/run")).args(["/data", "status", "a b"]).output();
        assert_eq!(String::from_utf8(output.unwrap().stdout).unwrap(), "status a b\n");
    }

    #[test]
    fn all_files_of_the_plugin_are_in_it_but_what_looks_for_a_program() {
        let published = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("plugin");
        let mut found = Vec::new();
        let mut open = vec![published.clone()];
        while let Some(folder) = open.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    open.push(path);
                } else {
                    found.push(path.strip_prefix(&published).unwrap().to_string_lossy().replace('\\', "/"));
                }
            }
        }
        found.retain(|path| !path.starts_with("bin/") && path != "scripts/fetch");
        found.sort();
        assert_eq!(found, FILES.map(|(name, _)| name));
    }

    #[test]
    fn another_version_leaves_nothing_of_the_old_one() {
        let home = tempfile::tempdir().unwrap();
        let folder = folder(home.path());
        assert!(!remove(&folder).unwrap());
        write(&folder, Path::new("/p")).unwrap();
        fs::write(folder.join("plugin/commands/old.md"), "").unwrap();
        write(&folder, Path::new("/p")).unwrap();
        assert!(!folder.join("plugin/commands/old.md").exists());
        assert!(remove(&folder).unwrap() && !folder.exists());
    }

    #[test]
    fn a_program_that_is_fetched_for_one_command_is_none_to_call_later() {
        for (path, is) in [
            ("/home/me/.cargo/bin/posthog-llma", false),
            ("/home/me/.npm/_npx/1a2b/node_modules/@posthog/llma-linux-x64/bin/posthog-llma", true),
            ("/home/me/.claude/plugins/cache/posthog-llma/posthog/0.1.0/node_modules/x/bin/posthog-llma", true),
            ("/home/me/.cache/x/posthog-llma", false),
        ] {
            assert_eq!(is_passing(Path::new(path)), is, "{path}");
        }
    }
}
