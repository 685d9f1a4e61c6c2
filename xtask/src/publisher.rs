//! Who publishes this, and where: `[workspace.metadata.publisher]` in the workspace's `Cargo.toml`.

use crate::metadata;
use anyhow::{Context as _, Result};
use xtask::platforms::Platform;

/// The names that a fork changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publisher {
    /// The owner of the repository on GitHub.
    pub owner: String,
    /// The repository's name.
    pub repository: String,
    /// The npm package; the platforms' packages have the platform's name appended.
    pub npm_package: String,
}

impl Publisher {
    /// Reads it from cargo's metadata.
    pub fn of_workspace() -> Result<Self> {
        let metadata = metadata::of_workspace()?;
        let publisher = &metadata["metadata"]["publisher"];
        let named = |name: &str| {
            let text = publisher[name].as_str();
            text.map(str::to_owned)
                .with_context(|| format!("Cargo.toml has no `{name}` in workspace.metadata.publisher"))
        };
        Ok(Self { owner: named("owner")?, repository: named("repository")?, npm_package: named("npm-package")? })
    }

    /// The repository's URL.
    pub fn address(&self) -> String {
        format!("https://github.com/{}/{}", self.owner, self.repository)
    }

    /// The URL of a version's release files.
    pub fn release(&self, version: &str) -> String {
        format!("{}/releases/download/v{version}", self.address())
    }

    /// A platform's package on npm.
    pub fn platform_package(&self, platform: Platform) -> String {
        format!("{}-{}", self.npm_package, platform.name())
    }
}
