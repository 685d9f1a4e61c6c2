//! Tasks that cargo doesn't do itself in this workspace.

mod annotations;
pub mod components;
pub mod platforms;
pub mod wit;

use std::path::Path;

/// The workspace's directory, where its sources were when this was built.
pub fn workspace() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}
