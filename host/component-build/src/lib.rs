//! Builds a component with a separate cargo process: for the build scripts of the sandbox and of the end-to-end tests, and for
//! `cargo xtask`.

#![expect(clippy::disallowed_macros, reason = "a build script talks to cargo by printing")]

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Variables meant for the outer build: its target, its compiler wrapper (clippy) and its profile.
const OUTER_VARIABLES: [&str; 9] = [
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CLIPPY_ARGS",
];

/// A build script's exit code. Prints the error, because cargo shows a script's output only if the script fails.
pub fn exit_code(built: Result<(), String>) -> ExitCode {
    match built {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// A package to build as a component.
pub struct ComponentPackage<'a> {
    /// The path of its `Cargo.toml`.
    pub manifest: PathBuf,
    /// The folder with its `Cargo.lock`: the workspace.
    pub workspace: PathBuf,
    /// Name of the library, as in the name of the `.wasm` file.
    pub library: &'a str,
    /// Target to build for.
    pub target: &'a str,
    /// Feature to build with.
    pub feature: Option<&'a str>,
    /// Profile to build with.
    pub profile: &'a str,
}

impl ComponentPackage<'_> {
    /// Builds the component for a build script, which runs again when one of its sources changes. Sets the component's
    /// path as `env!(variable)` for the crate, and returns it.
    pub fn build(&self, variable: &str, sources: &[&str]) -> Result<PathBuf, String> {
        for path in sources {
            println!("cargo:rerun-if-changed={}", self.workspace.join(path).display());
        }
        // Uses its own target directory, because cargo locks the outer one while this script runs. It is above
        // `<profile>/build/<package>-<hash>/out`, so that clippy, which has another hash, doesn't build everything
        // again.
        let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
        // The file's name is the same with and without a feature, so each has its own directory.
        let directory =
            profile_directory(&out).join("component").join(self.library).join(self.feature.unwrap_or_default());
        let component = self.compile(&directory)?;
        println!("cargo:rustc-env={variable}={}", component.display());
        Ok(component)
    }

    /// Compiles the component in this target directory, and returns its path.
    pub fn compile(&self, target_directory: &Path) -> Result<PathBuf, String> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args(["build", "--lib", "--target", self.target, "--profile", self.profile])
            .args(self.feature.iter().flat_map(|feature| ["--features", *feature]))
            .arg("--manifest-path")
            .arg(&self.manifest)
            .arg("--target-dir")
            .arg(target_directory);
        if self.workspace.join("Cargo.lock").exists() {
            command.arg("--locked");
        }
        for name in OUTER_VARIABLES {
            command.env_remove(name);
        }
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("CARGO_PROFILE_") {
                command.env_remove(name);
            }
        }
        let output = command.output().map_err(|error| format!("cargo cannot be started: {error}"))?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            let advice = if target_is_missing(&errors) {
                format!("\n\nThe target is missing. Run: rustup target add {}\n", self.target)
            } else {
                String::new()
            };
            return Err(format!("the component {} cannot be built:\n{errors}{advice}", self.library));
        }
        let file = format!("{}.wasm", self.library);
        let component = target_directory.join(self.target).join(self.profile).join(file);
        if !component.is_file() {
            return Err(format!("cargo built no {}", component.display()));
        }
        Ok(component)
    }
}

/// `<target directory>/<profile>`, the same for all platforms: when cross-compiling, cargo's `OUT_DIR` is `<target
/// directory>/<platform>/<profile>/build/<package>-<hash>/out`.
fn profile_directory(out: &Path) -> PathBuf {
    let profile = out.ancestors().nth(3).unwrap_or(out);
    let platform = profile.parent().filter(|parent| parent.file_name() == env::var_os("TARGET").as_deref());
    match (platform.and_then(Path::parent), profile.file_name()) {
        (Some(target_directory), Some(name)) => target_directory.join(name),
        _ => profile.to_owned(),
    }
}

/// Does rustc say that the standard library of a target is not installed (E0463)?
fn target_is_missing(errors: &str) -> bool {
    errors.contains("can't find crate for `core`")
        || errors.contains("can't find crate for `std`")
        || errors.contains("target may not be installed")
}

/// The directory of the package that this build script belongs to.
pub fn package_directory() -> Result<PathBuf, String> {
    env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).ok_or_else(|| "CARGO_MANIFEST_DIR is not set".to_owned())
}

/// The workspace: the nearest ancestor of the package that has the WIT interface.
pub fn workspace_directory(package: &Path) -> Result<PathBuf, String> {
    package
        .ancestors()
        .find(|directory| directory.join("wit/worlds.wit").is_file())
        .map(Path::to_owned)
        .ok_or_else(|| format!("{} is not in the workspace", package.display()))
}
