//! What the programs and components are made of, as `.ci/bills` records it with cargo-cyclonedx and cargo-about.

use anyhow::{Context as _, Result};
use std::fs;
use std::path::Path;

/// The licenses of everything in the program and the component: most require being included with every copy.
pub const LICENSES: &str = "THIRD-PARTY-LICENSES.txt";

/// The bills of materials (`CycloneDX`): the program's, and that of the component embedded in it.
const BILLS: [&str; 2] = ["sbom.cdx.json", "component.cdx.json"];

/// Copies the bills and the licenses into a folder.
pub fn copy(bills: &Path, to: &Path) -> Result<()> {
    for name in BILLS.iter().chain([&LICENSES]) {
        copy_one(&bills.join(name), &to.join(name))?;
    }
    Ok(())
}

/// Copies only the licenses into a folder.
pub fn copy_licenses(bills: &Path, to: &Path) -> Result<()> {
    copy_one(&bills.join(LICENSES), &to.join(LICENSES))
}

fn copy_one(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot find {}: `.ci/bills FOLDER` makes it", from.display()))?;
    Ok(())
}
