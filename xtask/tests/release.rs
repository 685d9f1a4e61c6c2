//! What `cargo xtask release` makes, from stand-ins for the programs of all platforms.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use flate2::read::GzDecoder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;
use xtask::platforms::PLATFORMS;

const BILLS: [&str; 3] = ["sbom.cdx.json", "component.cdx.json", "THIRD-PARTY-LICENSES.txt"];

/// Programs and bills, to make a release of.
fn built() -> TempDir {
    let built = TempDir::new().unwrap();
    for platform in PLATFORMS {
        let program = built.path().join("programs").join(platform.name()).join(platform.program());
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::write(program, format!("the program for {}", platform.target)).unwrap();
    }
    fs::create_dir(built.path().join("bills")).unwrap();
    for name in BILLS {
        fs::write(built.path().join("bills").join(name), format!("the {name}")).unwrap();
    }
    built
}

fn release(built: &Path, more: &[&str]) -> Output {
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    xtask.args(["release", "--level", "1", "--programs"]).arg(built.join("programs"));
    xtask.args(more).arg("--out").arg(built.join("out")).output().unwrap()
}

/// Files in an archive, with their contents.
fn entries(archive: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(GzDecoder::new(fs::File::open(archive).unwrap()));
    let entry = |mut entry: tar::Entry<'_, _>| {
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).unwrap();
        (entry.path().unwrap().to_string_lossy().into_owned(), contents)
    };
    archive.entries().unwrap().map(|found| entry(found.unwrap())).collect()
}

#[test]
fn a_release_has_what_it_is_attested_by_and_the_licenses_go_with_every_program() {
    let built = built();
    let bills = built.path().join("bills");
    let output = release(built.path(), &["--bills", bills.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let out = built.path().join("out");
    let sums = fs::read_to_string(out.join("SHA256SUMS")).unwrap();
    for name in BILLS {
        assert_eq!(fs::read_to_string(out.join(name)).unwrap(), format!("the {name}"));
        assert!(sums.contains(&format!("  {name}\n")), "{sums}");
    }
    let workflow = fs::read_to_string(xtask::workspace().join(".github/workflows/release.yml")).unwrap();
    let paths = workflow.lines().filter_map(|line| line.trim().strip_prefix("sbom-path: target/release-files/"));
    let paths: Vec<_> = paths.collect();
    assert!(!paths.is_empty() && paths.iter().all(|path| BILLS.contains(path)), "{paths:?}");
    for platform in PLATFORMS {
        let package = format!("npm/posthog-llma-{}-{}.tgz", platform.name(), env!("CARGO_PKG_VERSION"));
        let entries = entries(&out.join(&package));
        assert_eq!(entries["package/THIRD-PARTY-LICENSES.txt"], b"the THIRD-PARTY-LICENSES.txt", "{package}");
    }
}

#[test]
fn the_archive_that_cargo_binstall_looks_for_is_there_with_the_program_in_it() {
    let manifest = Command::new(env!("CARGO")).args(["metadata", "--no-deps", "--format-version=1"]).output().unwrap();
    let metadata: Value = serde_json::from_slice(&manifest.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "posthog-llma").unwrap();
    let binstall = &package["metadata"]["binstall"];
    assert_eq!(binstall["pkg-fmt"], "tgz");
    let built = built();
    let bills = built.path().join("bills");
    let output = release(built.path(), &["--bills", bills.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for platform in PLATFORMS {
        let extension = platform.program().strip_prefix("posthog-llma").unwrap();
        let filled = |template: &Value| {
            let mut text = template.as_str().unwrap().to_owned();
            for (name, value) in [
                ("repo", package["repository"].as_str().unwrap()),
                ("name", "posthog-llma"),
                ("version", package["version"].as_str().unwrap()),
                ("target", platform.target),
                ("bin", "posthog-llma"),
                ("binary-ext", extension),
            ] {
                text = text.replace(&format!("{{ {name} }}"), value);
            }
            assert!(!text.contains('{'), "{text}");
            text
        };
        let url = filled(&binstall["pkg-url"]);
        let tag = format!("/releases/download/v{}/", env!("CARGO_PKG_VERSION"));
        let (address, file) = url.split_once(&tag).unwrap();
        assert_eq!(address, package["repository"].as_str().unwrap());
        let entries = entries(&built.path().join("out").join(file));
        let program = format!("the program for {}", platform.target);
        assert_eq!(entries[&filled(&binstall["bin-dir"])], program.as_bytes(), "{file}");
    }
}

#[test]
fn a_release_without_bills_or_without_a_platform_is_none() {
    let built = built();
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let output = release(built.path(), &[]);
    assert!(!output.status.success() && said(&output).contains("--bills"), "{}", said(&output));
    let bills = built.path().join("bills");
    fs::remove_file(bills.join("component.cdx.json")).unwrap();
    let output = release(built.path(), &["--bills", bills.to_str().unwrap()]);
    assert!(!output.status.success() && said(&output).contains("component.cdx.json"), "{}", said(&output));
    fs::remove_file(built.path().join("programs/darwin-x64/posthog-llma")).unwrap();
    let output = release(built.path(), &["--bills", bills.to_str().unwrap()]);
    assert!(!output.status.success() && said(&output).contains("darwin-x64"), "{}", said(&output));
    let output = release(built.path(), &["--partial"]);
    assert!(output.status.success(), "{}", said(&output));
}
