//! The npm packages: one with the plugin, and one per platform with its program.
//!
//! `npm` installs the optional dependency whose `os` and `cpu` match the machine. Claude Code installs a plugin's
//! dependencies only from a lock file in the package, and `npm-shrinkwrap.json` is the only one that gets published. It
//! pins each platform's package by its SHA-512 and names no registry, so any registry can serve it.

use crate::archive;
use crate::bills;
use crate::publisher::Publisher;
use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha512};
use std::fs;
use std::path::{Path, PathBuf};
use xtask::platforms::Platform;
use xtask::workspace;

/// The settings that the packages share.
pub struct Packages<'a> {
    pub publisher: &'a Publisher,
    pub version: &'a str,
    pub description: &'a str,
    /// The folder to make the packages in.
    pub out: &'a Path,
    pub mtime: u64,
    /// Compression level.
    pub level: u32,
    /// The output of `.ci/bills`.
    pub bills: Option<&'a Path>,
}

/// A finished package: its platform, and its file's hash for the lock file.
pub struct Made {
    pub platform: Platform,
    integrity: String,
}

impl Packages<'_> {
    /// Makes a platform's package.
    pub fn platform(&self, platform: Platform, program: &Path) -> Result<Made> {
        let name = self.publisher.platform_package(platform);
        let folder = self.folder(&name)?;
        let executable = format!("bin/{}", platform.program());
        fs::create_dir_all(folder.join("bin"))?;
        fs::copy(program, folder.join(&executable)).with_context(|| format!("cannot copy {}", program.display()))?;
        if let Some(bills) = self.bills {
            bills::copy_licenses(bills, &folder)?;
        }
        let mut manifest = self.manifest(&name);
        manifest.insert(
            "description".into(),
            format!("The program of {} for {}", self.publisher.npm_package, platform.name()).into(),
        );
        manifest.insert("os".into(), json!([platform.os]));
        manifest.insert("cpu".into(), json!([platform.cpu]));
        // A package manager that keeps packages packed couldn't run the program.
        manifest.insert("preferUnplugged".into(), true.into());
        write_json(&folder.join("package.json"), &manifest)?;
        let file = self.pack(&folder, &name, &[&executable])?;
        let integrity = format!("sha512-{}", STANDARD.encode(Sha512::digest(fs::read(&file)?)));
        Ok(Made { platform, integrity })
    }

    /// Makes the package that users install: the plugin in `plugin`, and the script that `npx` runs.
    pub fn main(&self, platforms: &[Made], plugin: &Path, executables: &[&str]) -> Result<PathBuf> {
        let name = &self.publisher.npm_package;
        let folder = self.folder(name)?;
        for file in archive::files(plugin)? {
            let to = folder.join(&file);
            fs::create_dir_all(to.parent().context("a file of the plugin is in no folder")?)?;
            fs::copy(plugin.join(&file), to)?;
        }
        let run = fs::read_to_string(workspace().join("packaging/posthog-llma.mjs"))?.replace("@PACKAGE@", name);
        fs::write(folder.join("posthog-llma.mjs"), run)?;
        let (mut dependencies, mut locked) = (Map::new(), Map::new());
        for made in platforms {
            let name = self.publisher.platform_package(made.platform);
            let (os, cpu) = (json!([made.platform.os]), json!([made.platform.cpu]));
            let entry = json!({"version": self.version, "integrity": made.integrity, "license": "MIT", "optional": true, "os": os, "cpu": cpu});
            locked.insert(format!("node_modules/{name}"), entry);
            dependencies.insert(name, self.version.into());
        }
        let mut manifest = self.manifest(name);
        manifest.insert("description".into(), self.description.into());
        manifest.insert("bin".into(), json!({"posthog-llma": "posthog-llma.mjs"}));
        manifest.insert("engines".into(), json!({"node": ">=18"}));
        manifest.insert("optionalDependencies".into(), dependencies.clone().into());
        let root = json!({"name": name, "version": self.version, "license": "MIT", "optionalDependencies": dependencies,
            "bin": {"posthog-llma": "posthog-llma.mjs"}, "engines": {"node": ">=18"}});
        let mut packages = Map::from_iter([(String::new(), root)]);
        packages.extend(locked);
        let lock = json!({"name": name, "version": self.version, "lockfileVersion": 3, "requires": true, "packages": packages});
        write_json(&folder.join("package.json"), &manifest)?;
        write_json(
            &folder.join("npm-shrinkwrap.json"),
            lock.as_object().context("the lock file is not a JSON object")?,
        )?;
        let mut executables = Vec::from(executables);
        executables.push("posthog-llma.mjs");
        self.pack(&folder, name, &executables)
    }

    fn manifest(&self, name: &str) -> Map<String, Value> {
        let repository = json!({"type": "git", "url": format!("git+{}.git", self.publisher.address())});
        let members = [
            ("name", name.into()),
            ("version", self.version.into()),
            ("license", "MIT".into()),
            ("homepage", self.publisher.address().into()),
            ("repository", repository),
        ];
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Creates an empty folder for a package's files. `npm` expects them below `package`.
    fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.out.join("unpacked").join(file_name(name)).join("package");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        fs::copy(workspace().join("LICENSE"), folder.join("LICENSE"))?;
        Ok(folder)
    }

    fn pack(&self, folder: &Path, name: &str, executables: &[&str]) -> Result<PathBuf> {
        let file = self.out.join(format!("{}-{}.tgz", file_name(name), self.version));
        archive::pack(folder, executables, self.mtime, self.level, &file)?;
        Ok(file)
    }
}

/// A package's file name, as `npm pack` forms it.
fn file_name(package: &str) -> String {
    package.trim_start_matches('@').replace('/', "-")
}

fn write_json(path: &Path, object: &Map<String, Value>) -> Result<()> {
    let text = serde_json::to_string_pretty(object)?;
    fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}
