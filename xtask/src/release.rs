//! `cargo xtask release`: makes what is published, from the programs that the platforms' machines have built.

use crate::archive::{self, mtime};
use crate::bills;
use crate::npm::Packages;
use crate::publisher::Publisher;
use crate::zip;
use anyhow::{Context as _, Result, bail};
use clap::Args;
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use xtask::platforms::{PLATFORMS, Platform};
use xtask::workspace;

/// The size limits of the release's programs: compressed, as downloaded, and on disk.
const MOST_COMPRESSED: u64 = 12 << 20;
const MOST_ON_DISK: u64 = 30 << 20;

/// The plugin's executable files.
pub const PLUGIN_EXECUTABLES: [&str; 3] = ["bin/posthog-llma", "bin/posthog-llma.exe", "scripts/run"];

/// `release`
#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder with the programs: <PLATFORM>/posthog-llma or .exe, such as linux-x64/posthog-llma
    #[arg(long, value_name = "FOLDER")]
    programs: PathBuf,
    /// Where to put everything; target/release-files unless given
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Address from which the programs are fetched; the repository's release unless given
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// Folder with what `.ci/bills` makes: bills of materials and licenses
    #[arg(long, value_name = "FOLDER", required_unless_present = "partial")]
    bills: Option<PathBuf>,
    /// Leave out platforms whose program is missing, and bills that are not given
    #[arg(long)]
    partial: bool,
    /// Do not check the size of the programs: those of the dev profile are larger
    #[arg(long)]
    any_size: bool,
    /// Compression of the programs
    #[arg(long, value_name = "0-9", default_value = "9", value_parser = clap::value_parser!(u32).range(0..=9))]
    level: u32,
}

/// A platform's file, as the launcher and the installers need it.
struct Published {
    platform: Platform,
    file: String,
    archive_digest: String,
    program_digest: String,
}

/// Makes all files, and prints their folder.
pub fn run(arguments: &Arguments) -> Result<()> {
    let publisher = Publisher::of_workspace()?;
    let version = env!("CARGO_PKG_VERSION");
    let out = arguments.out.clone().unwrap_or_else(|| workspace().join("target/release-files"));
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("cannot remove the old {}", out.display()))?;
    }
    let npm = out.join("npm");
    fs::create_dir_all(&npm)?;
    let from = arguments.from.clone().unwrap_or_else(|| publisher.release(version));
    let manifest: Value = serde_json::from_slice(&fs::read(workspace().join("plugin/.claude-plugin/plugin.json"))?)?;
    let description = manifest["description"].as_str().context("the plugin has no description")?;
    let (mtime, level, bills) = (mtime()?, arguments.level, arguments.bills.as_deref());
    let packages = Packages { publisher: &publisher, version, description, out: &npm, mtime, level, bills };
    let binstall = Binstall { version, out: &out, mtime, level, bills };

    let (mut programs, mut made) = (Vec::new(), Vec::new());
    for platform in PLATFORMS {
        let program = arguments.programs.join(platform.name()).join(platform.program());
        if !program.is_file() {
            if arguments.partial {
                continue;
            }
            bail!("cannot find {} (--partial leaves the platform out)", program.display());
        }
        let entry = compress(platform, &program, &out, arguments.level)?;
        if !arguments.any_size {
            within("the program", &program, MOST_ON_DISK)?;
            within("the compressed program", &out.join(&entry.file), MOST_COMPRESSED)?;
        }
        programs.push(entry);
        made.push(packages.platform(platform, &program)?);
        binstall.pack(platform, &program)?;
    }
    if programs.is_empty() {
        bail!("no program found in {}", arguments.programs.display());
    }

    let list = list(version, &from, &programs);
    let plugin = stage_plugin(&out, &arguments.programs, &list)?;
    let names = archive::file_names(&plugin)?;
    let archive = zip::pack(&plugin, &names, &PLUGIN_EXECUTABLES)?;
    let archive_name = format!("posthog-llma-plugin-{version}.zip");
    fs::write(out.join(&archive_name), archive)?;
    packages.main(&made, &plugin, &PLUGIN_EXECUTABLES)?;
    fs::remove_dir_all(npm.join("unpacked"))?;
    fs::remove_dir_all(plugin)?;

    let archive_digest = archive::sha256(&out.join(&archive_name))?;
    // Claude Code fetches archives only over https, so this is the release's address, regardless of `from`.
    let archive = format!("{}/{archive_name}", publisher.release(version));
    let marketplace = marketplace(&publisher, version, description, &archive, &archive_digest);
    fs::write(out.join("marketplace.json"), format!("{marketplace:#}\n"))?;
    let template = Template { publisher: &publisher, version, from: &from, list: &list, published: &programs };
    for name in ["install.sh", "install.ps1", "posthog-llma.rb"] {
        template.fill(name, &out.join(name))?;
    }
    fs::write(out.join("program.sha256"), &list)?;
    if let Some(bills) = bills {
        bills::copy(bills, &out)?;
    }
    let mut sums = String::new();
    for file in archive::file_names(&out)? {
        let _ = writeln!(sums, "{}  {file}", archive::sha256(&out.join(&file))?);
    }
    fs::write(out.join("SHA256SUMS"), sums)?;
    println!("{}", out.display());
    Ok(())
}

/// The marketplace in the repository: the first plugin is installed through npm, the second doesn't need npm.
pub fn marketplace(publisher: &Publisher, version: &str, description: &str, archive: &str, digest: &str) -> Value {
    let plugin = |name: &str, source: Value, how: &str| {
        json!({"name": name, "source": source, "description": format!("{description}{how}"), "version": version,
            "category": "monitoring", "homepage": publisher.address(), "license": "MIT"})
    };
    let npm = json!({"source": "npm", "package": publisher.npm_package, "version": version});
    let archive = json!({"source": "archive", "url": archive, "sha256": digest});
    json!({
        "name": "posthog-llma",
        "owner": {"name": "PostHog", "url": publisher.address()},
        "description": "Claude Code sessions in PostHog",
        "plugins": [
            plugin("posthog", npm, ""),
            plugin("posthog-standalone", archive, " For machines without npm: fetches its program once, checked by its SHA-256."),
        ],
    })
}

/// Compresses a program, always to the same bytes.
fn compress(platform: Platform, program: &Path, out: &Path, level: u32) -> Result<Published> {
    let file = format!("posthog-llma-{}-{}.gz", env!("CARGO_PKG_VERSION"), platform.name());
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let mut encoder = GzBuilder::new().mtime(0).write(fs::File::create(out.join(&file))?, Compression::new(level));
    encoder.write_all(&bytes)?;
    encoder.finish()?;
    let archive_digest = archive::sha256(&out.join(&file))?;
    Ok(Published { platform, archive_digest, program_digest: archive::sha256(program)?, file })
}

/// The archives that `cargo binstall` downloads. The metadata of the program's package gives their URL and contents.
struct Binstall<'a> {
    version: &'a str,
    out: &'a Path,
    mtime: u64,
    level: u32,
    bills: Option<&'a Path>,
}

impl Binstall<'_> {
    fn pack(&self, platform: Platform, program: &Path) -> Result<()> {
        let name = format!("posthog-llma-{}-{}", self.version, platform.target);
        let folder = self.out.join(&name);
        fs::create_dir_all(&folder)?;
        fs::copy(program, folder.join(platform.program()))?;
        fs::copy(workspace().join("LICENSE"), folder.join("LICENSE"))?;
        if let Some(bills) = self.bills {
            bills::copy_licenses(bills, &folder)?;
        }
        let archive = self.out.join(format!("{name}.tar.gz"));
        archive::pack(&folder, &[platform.program()], self.mtime, self.level, &archive)?;
        fs::remove_dir_all(folder)?;
        Ok(())
    }
}

fn within(what: &str, file: &Path, most: u64) -> Result<()> {
    let size = file.metadata()?.len();
    if size > most {
        bail!("{what} {} has {size} bytes, {} more than it may", file.display(), size - most);
    }
    Ok(())
}

/// The list of programs, in the format that `plugin/scripts/fetch` documents and reads.
fn list(version: &str, from: &str, published: &[Published]) -> String {
    let mut list = format!("version {version}\nfrom {from}\n");
    for Published { platform, file, archive_digest, program_digest } in published {
        let _ = writeln!(list, "{archive_digest} {program_digest} {} {file}", platform.name());
    }
    list
}

/// The plugin as published: with the list and, if it was built, the launcher for Windows.
fn stage_plugin(out: &Path, programs: &Path, list: &str) -> Result<PathBuf> {
    let (from, plugin) = (workspace().join("plugin"), out.join("plugin"));
    for file in archive::file_names(&from)? {
        let to = plugin.join(&file);
        fs::create_dir_all(to.parent().context("a file of the plugin is in no folder")?)?;
        fs::copy(from.join(&file), to)?;
    }
    fs::write(plugin.join("program.sha256"), list)?;
    let launcher = programs.join("win32-x64/posthog-llma-launcher.exe");
    if launcher.is_file() {
        fs::copy(launcher, plugin.join("bin/posthog-llma.exe"))?;
    }
    Ok(plugin)
}

/// The installers and the formula, whose sources are in `packaging`.
struct Template<'a> {
    publisher: &'a Publisher,
    version: &'a str,
    from: &'a str,
    list: &'a str,
    published: &'a [Published],
}

impl Template<'_> {
    fn fill(&self, name: &str, to: &Path) -> Result<()> {
        let source = workspace().join("packaging").join(name);
        let text = fs::read_to_string(&source).with_context(|| format!("cannot read {}", source.display()))?;
        let fetch = fs::read_to_string(workspace().join("plugin/scripts/fetch"))?;
        let text = text
            .replace("@FETCH@\n", &fetch)
            .replace("@LIST@", self.list)
            .replace("@BLOCKS@\n", &self.formula_blocks())
            .replace("@VERSION@", self.version)
            .replace("@DESCRIPTION@", "Claude Code sessions in PostHog, through a sandbox")
            .replace("@OWNER@", &self.publisher.owner)
            .replace("@NAME@", &self.publisher.repository)
            .replace("@REPOSITORY@", &self.publisher.address());
        fs::write(to, text).with_context(|| format!("cannot write {}", to.display()))
    }

    fn formula_blocks(&self) -> String {
        let mut blocks = String::new();
        for (os, on) in [("darwin", "on_macos"), ("linux", "on_linux")] {
            let _ = writeln!(blocks, "  {on} do");
            for entry in self.published.iter().filter(|entry| entry.platform.os == os) {
                let on = if entry.platform.cpu == "arm64" { "on_arm" } else { "on_intel" };
                let Published { file, archive_digest, .. } = entry;
                let _ = write!(
                    blocks,
                    "    {on} do\n      url \"{}/{file}\"\n      sha256 \"{archive_digest}\"\n    end\n",
                    self.from
                );
            }
            blocks.push_str("  end\n");
        }
        blocks.push('\n');
        blocks
    }
}
