//! What the programs and components are made of, as `.ci/bills` writes it down with cargo-cyclonedx and cargo-about.

use anyhow::{Context as _, Result};
use std::fs;
use std::path::Path;

/// The licenses of all that is in the program and the component: most of them ask to go with every copy.
pub const LICENSES: &str = "THIRD-PARTY-LICENSES.txt";

/// The bills of materials (`CycloneDX`): the program's, and the component's, which the program carries.
const BILLS: [&str; 2] = ["sbom.cdx.json", "component.cdx.json"];

/// Copies all of it into a folder.
pub fn copy(bills: &Path, to: &Path) -> Result<()> {
    for name in BILLS.iter().chain([&LICENSES]) {
        copy_one(&bills.join(name), &to.join(name))?;
    }
    Ok(())
}

/// Copies the licenses alone into a folder.
pub fn copy_licenses(bills: &Path, to: &Path) -> Result<()> {
    copy_one(&bills.join(LICENSES), &to.join(LICENSES))
}

fn copy_one(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot find {}: `.ci/bills FOLDER` makes it", from.display()))?;
    Ok(())
}
