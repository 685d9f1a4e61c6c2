//! What `cargo xtask dist` makes, from the program of the dev profile.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use flate2::read::GzDecoder;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Makes it in a folder of its own. The program is built only where it is older than its sources.
fn dist(out: &Path) -> PathBuf {
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    // What cargo says of this package to its tests; build scripts would take it for a change and run again.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name == "OUT_DIR" || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            xtask.env_remove(&*name);
        }
    }
    // No compression: the program of the dev profile is large, and so slow is this one.
    let bills = out.join("bills");
    fs::create_dir(&bills).unwrap();
    for name in ["sbom.cdx.json", "component.cdx.json", "THIRD-PARTY-LICENSES.txt"] {
        fs::write(bills.join(name), format!("the {name}")).unwrap();
    }
    let arguments = ["dist", "--profile", "dev", "--level", "0", "--bills"];
    let output = xtask.args(arguments).arg(bills).arg("--out").arg(out).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().lines().next().unwrap())
}

/// Names in the archive, with modes.
fn entries(archive: &Path) -> BTreeMap<String, u32> {
    let mut archive = tar::Archive::new(GzDecoder::new(fs::File::open(archive).unwrap()));
    let entries = archive.entries().unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 946_684_800));
            (entry.path().unwrap().to_string_lossy().into_owned(), header.mode().unwrap())
        })
        .collect()
}

#[test]
fn the_archive_is_a_marketplace_with_the_program_the_component_checksums_and_the_bill() {
    let out = TempDir::new().unwrap();
    let folder = dist(out.path());
    let name = folder.file_name().unwrap().to_str().unwrap();
    let archive = out.path().join(format!("{name}.tar.gz"));
    let entries = entries(&archive);
    let mode = |path: &str| entries.get(&format!("{name}/{path}")).copied();
    let program = format!("plugin/program/posthog-llma{}", std::env::consts::EXE_SUFFIX);
    for executable in [&*program, "plugin/bin/posthog-llma", "plugin/scripts/run"] {
        assert_eq!(mode(executable), Some(0o755), "{executable}");
    }
    for file in [
        ".claude-plugin/marketplace.json",
        "plugin/.claude-plugin/plugin.json",
        "plugin/hooks/hooks.json",
        "plugin/commands/llma-cc-status.md",
        "posthog_llma_component.wasm",
        "wit/conversion.wit",
        "wit/worlds.wit",
        "share/man/man1/posthog-llma.1",
        "share/man/man1/posthog-llma-setup.1",
        "share/bash-completion/completions/posthog-llma",
        "sbom.cdx.json",
        "SHA256SUMS",
        "LICENSE",
        "THIRD-PARTY-LICENSES.txt",
    ] {
        assert_eq!(mode(file), Some(0o644), "{file}");
    }

    // Every file but the list itself has its checksum, and the archive has one beside it.
    let sums = fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    assert_eq!(sums.lines().count(), entries.len() - 1);
    check_sums(&folder, "SHA256SUMS");
    check_sums(out.path(), &format!("{name}.tar.gz.sha256"));

    let version = Command::new(folder.join(program)).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(version.stdout).unwrap(), format!("posthog-llma {}\n", env!("CARGO_PKG_VERSION")));

    for name in ["sbom.cdx.json", "component.cdx.json", "THIRD-PARTY-LICENSES.txt"] {
        assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), format!("the {name}"));
    }
}

/// Does `sha256sum` find what the list says? Without that program (macOS, Windows), the list is not checked.
fn check_sums(folder: &Path, list: &str) {
    if let Ok(output) =
        Command::new("sha256sum").args(["--check", "--strict", "--quiet", list]).current_dir(folder).output()
    {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
