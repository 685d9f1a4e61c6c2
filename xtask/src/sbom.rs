//! What the program and the component are made of: a software bill of materials (`CycloneDX` 1.5) and the licenses.

use crate::metadata;
use anyhow::Context as _;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use xtask::workspace;

/// The package that becomes the component, and its target.
const COMPONENT_PACKAGE: (&str, &str) = ("posthog-llma-component", "wasm32-unknown-unknown");

/// The packages that a program and the component in it are made of. Those that only build or test something are left out.
pub struct Shipped {
    target: String,
    /// The program's own, by its package URL.
    program: String,
    /// As cargo describes them, by their package URLs.
    packages: BTreeMap<String, Value>,
    depends_on: BTreeMap<String, BTreeSet<String>>,
}

impl Shipped {
    /// Asks cargo what a program consists of on a target.
    pub fn of(program: &str, target: &str) -> anyhow::Result<Self> {
        let mut shipped = Self {
            target: target.to_owned(),
            program: String::new(),
            packages: BTreeMap::new(),
            depends_on: BTreeMap::new(),
        };
        shipped.add(COMPONENT_PACKAGE.0, COMPONENT_PACKAGE.1)?;
        shipped.program = shipped.add(program, target)?;
        Ok(shipped)
    }

    /// Adds a package of the workspace, with what it depends on; returns its URL.
    fn add(&mut self, root: &str, target: &str) -> anyhow::Result<String> {
        let metadata = metadata::of_target(target)?;
        let (packages, nodes) = (by_id(&metadata["packages"]), by_id(&metadata["resolve"]["nodes"]));
        let root = packages.values().find(|p| p["name"] == root).context("the package is not in the workspace")?;
        let mut open = vec![text(&root["id"])];
        let mut seen: BTreeSet<&str> = open.iter().copied().collect();
        while let Some(id) = open.pop() {
            let package = *packages.get(id).context("cargo metadata names a package that it does not list")?;
            let edges = self.depends_on.entry(purl(package)).or_default();
            for dependency in list(&nodes.get(id).context("a package is not resolved")?["deps"]) {
                let is_shipped = list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
                let Some(next) = packages.get(text(&dependency["pkg"])).filter(|_| is_shipped) else { continue };
                edges.insert(purl(next));
                if seen.insert(text(&next["id"])) {
                    open.push(text(&next["id"]));
                }
            }
            self.packages.entry(purl(package)).or_insert_with(|| package.clone());
        }
        Ok(purl(root))
    }

    /// The bill.
    pub fn bill(&self) -> anyhow::Result<Value> {
        let checksums = checksums(&fs::read_to_string(workspace().join("Cargo.lock"))?);
        let program = self.packages.get(&self.program).context("the program is no package")?;
        let libraries = self.packages.iter().filter(|(reference, _)| **reference != self.program);
        let depends_on = self.depends_on.iter().map(|(reference, on)| json!({"ref": reference, "dependsOn": on}));
        Ok(json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": {
                "component": component(program, &checksums, "application"),
                "properties": [{"name": "target", "value": self.target}],
            },
            "components": libraries.map(|(_, package)| component(package, &checksums, "library")).collect::<Vec<_>>(),
            "dependencies": depends_on.collect::<Vec<_>>(),
        }))
    }

    /// The texts of all licenses: most of them ask to go with every copy. Each text once, with the packages it is of.
    pub fn notices(&self) -> anyhow::Result<String> {
        let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut without = Vec::new();
        for package in self.packages.values() {
            let name = format!("{} {}", text(&package["name"]), text(&package["version"]));
            let folder = Path::new(text(&package["manifest_path"])).parent().context("a package lies nowhere")?;
            let before = texts.values().map(Vec::len).sum::<usize>();
            for file in folder.read_dir().with_context(|| format!("cannot read the folder of {name}"))? {
                let file = file?;
                let kind = file.file_name().to_string_lossy().to_uppercase();
                let is_license =
                    ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"].iter().any(|k| kind.starts_with(k));
                if is_license && file.path().is_file() {
                    let text = String::from_utf8_lossy(&fs::read(file.path())?).replace("\r\n", "\n").trim().to_owned();
                    texts.entry(text).or_default().push(name.clone());
                }
            }
            if texts.values().map(Vec::len).sum::<usize>() == before {
                without.push(format!("{name} ({})\n", text(&package["license"])));
            }
        }
        let mut notices: Vec<(Vec<String>, String)> = texts.into_iter().map(|(text, of)| (of, text)).collect();
        notices.sort();
        let rule = "=".repeat(80);
        let mut out = String::new();
        for (of, text) in notices {
            let _ = write!(out, "{rule}\n{}\n{rule}\n\n{text}\n\n", of.join(", "));
        }
        let _ = write!(out, "{rule}\nThese packages hold no text of their license:\n{rule}\n\n{}", without.concat());
        Ok(out)
    }
}

fn component(package: &Value, checksums: &HashMap<(String, String), String>, kind: &str) -> Value {
    let (name, version) = (text(&package["name"]), text(&package["version"]));
    let mut component =
        json!({"type": kind, "bom-ref": purl(package), "name": name, "version": version, "purl": purl(package)});
    if let Some(license) = package["license"].as_str() {
        // Some old crates separate alternatives by a slash, which is no SPDX expression.
        component["licenses"] =
            json!([{"expression": license.replace('/', " OR ").split_whitespace().collect::<Vec<_>>().join(" ")}]);
    }
    if let Some(checksum) = checksums.get(&(name.to_owned(), version.to_owned())) {
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    if let Some(repository) = package["repository"].as_str() {
        component["externalReferences"] = json!([{"type": "vcs", "url": repository}]);
    }
    component
}

fn purl(package: &Value) -> String {
    format!("pkg:cargo/{}@{}", text(&package["name"]), text(&package["version"]).replace('+', "%2B"))
}

fn by_id(values: &Value) -> HashMap<&str, &Value> {
    list(values).iter().map(|value| (text(&value["id"]), value)).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The checksums in `Cargo.lock`, by name and version. Cargo writes the file itself, a member a line.
fn checksums(lock: &str) -> HashMap<(String, String), String> {
    let mut checksums = HashMap::new();
    for package in lock.split("[[package]]") {
        let member = |name: &str| {
            let line =
                package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"'));
            line.map(str::to_owned)
        };
        if let (Some(name), Some(version), Some(checksum)) = (member("name"), member("version"), member("checksum")) {
            checksums.insert((name, version), checksum);
        }
    }
    checksums
}
