//! A component's metadata: the custom sections that registries and `wasm-tools metadata show` read.
//!
//! The names and contents follow the OCI annotations that wasm-metadata defines: one section each, with UTF-8 text. The
//! component's name is in a section of the component model's binary format.

use crate::workspace;
use anyhow::{Context as _, Result};
use std::fs;
use std::process::Command;

/// Appends the sections to a component.
pub fn annotate(component: &mut Vec<u8>, world: &str) -> Result<()> {
    let manifest = fs::read_to_string(workspace().join("guest/component/Cargo.toml"))?;
    let description = quoted(&manifest, "description").context("the component's package has no description")?;
    let workspace_manifest = fs::read_to_string(workspace().join("Cargo.toml"))?;
    let source = quoted(&workspace_manifest, "repository").context("the workspace has no repository")?;
    let mut name = vec![0];
    let text = string(&format!("posthog:llm-analytics/{world}"));
    name.extend(leb128(text.len()));
    name.extend(text);
    section(component, "component-name", &name);
    for (field, value) in [
        ("version", Some(env!("CARGO_PKG_VERSION").to_owned())),
        ("description", Some(description.to_owned())),
        ("licenses", Some(env!("CARGO_PKG_LICENSE").to_owned())),
        ("source", Some(source.to_owned())),
        ("homepage", Some(source.to_owned())),
        ("revision", revision()),
    ] {
        if let Some(value) = value {
            section(component, field, value.as_bytes());
        }
    }
    Ok(())
}

/// The commit, in a git checkout.
fn revision() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(workspace()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The first value with this name in a manifest.
fn quoted<'a>(manifest: &'a str, name: &str) -> Option<&'a str> {
    let line = manifest.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='))?;
    line.trim().strip_prefix('"')?.strip_suffix('"')
}

/// Appends a custom section: 0, the size, the name, the contents.
fn section(component: &mut Vec<u8>, name: &str, contents: &[u8]) {
    let name = string(name);
    component.push(0);
    component.extend(leb128(name.len() + contents.len()));
    component.extend(name);
    component.extend(contents);
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = leb128(text.len());
    bytes.extend(text.as_bytes());
    bytes
}

/// A LEB128 number: seven bits per byte, lowest first.
fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let seven = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(seven);
            return bytes;
        }
        bytes.push(seven | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_the_specification_has_them() {
        assert_eq!(
            (leb128(0), leb128(127), leb128(128), leb128(624_485)),
            (vec![0], vec![0x7f], vec![0x80, 1], vec![0xe5, 0x8e, 0x26])
        );
    }

    #[test]
    fn every_field_is_a_section_of_its_own() {
        let mut component = Vec::new();
        annotate(&mut component, "exporter").unwrap();
        let (mut rest, mut fields) = (&component[..], Vec::new());
        let number = |rest: &mut &[u8]| {
            let (mut value, mut shift) = (0, 0);
            loop {
                let byte = rest[0];
                *rest = &rest[1..];
                value |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    return value;
                }
            }
        };
        while let [0, tail @ ..] = rest {
            let mut tail = tail;
            let size = number(&mut tail);
            let (mut body, next) = tail.split_at(size);
            let length = number(&mut body);
            let (name, contents) = body.split_at(length);
            fields.push((String::from_utf8(name.to_vec()).unwrap(), String::from_utf8(contents.to_vec()).unwrap()));
            rest = next;
        }
        assert!(rest.is_empty());
        let value = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
        assert_eq!(value("version"), Some(env!("CARGO_PKG_VERSION")));
        assert_eq!(value("licenses"), Some("MIT"));
        assert!(value("source").unwrap().starts_with("https://"));
        assert!(value("component-name").unwrap().ends_with("posthog:llm-analytics/exporter"));
    }
}
