//! The interface: its documentation as Markdown, and whether it is still compatible with the released ones.

use crate::workspace;
use anyhow::{Context as _, Result, anyhow, bail};
use semver::{Comparator, Op, Version};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use wit_parser::{
    Case, Docs, Field, Function, FunctionKind, Handle, InterfaceId, PackageId, Resolve, Type, TypeDefKind, TypeId,
    UnresolvedPackageGroup, WorldId, WorldItem,
};

/// The path of the Markdown page in the workspace.
pub const PAGE: &str = "docs/wit.md";

/// The package in `wit/`, with its dependencies.
pub fn current() -> Result<(Resolve, PackageId)> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(workspace().join("wit"))?;
    Ok((resolve, package))
}

/// The documentation of a package.
pub fn markdown(resolve: &Resolve, package: PackageId) -> String {
    let described = &resolve.packages[package];
    let mut page = Page { resolve, text: String::new() };
    let _ = writeln!(page.text, "# `{}`\n", described.name);
    let _ = writeln!(page.text, "Made from `wit/` by `cargo xtask wit`.");
    for (name, world) in &described.worlds {
        let _ = writeln!(page.text, "\n## World `{name}`");
        page.world(*world);
    }
    for (name, interface) in &described.interfaces {
        let _ = writeln!(page.text, "\n## Interface `{name}`");
        page.interface(*interface);
    }
    page.text
}

struct Page<'a> {
    resolve: &'a Resolve,
    text: String,
}

impl Page<'_> {
    fn docs(&mut self, docs: &Docs) {
        if let Some(text) = &docs.contents {
            let _ = writeln!(self.text, "\n{}", text.trim());
        }
    }

    fn world(&mut self, id: WorldId) {
        let world = &self.resolve.worlds[id];
        self.docs(&world.docs);
        for (what, items) in [("Imports", &world.imports), ("Exports", &world.exports)] {
            if items.is_empty() {
                let _ = writeln!(self.text, "\n{what}: nothing.");
                continue;
            }
            let _ = writeln!(self.text, "\n{what}:\n");
            for (key, item) in items {
                let name = self.resolve.name_world_key(key);
                match item {
                    WorldItem::Interface { id, .. } if self.resolve.interfaces[*id].functions.is_empty() => {
                        let _ = writeln!(self.text, "- `{name}`, types without functions");
                    }
                    _ => {
                        let _ = writeln!(self.text, "- `{name}`");
                    }
                }
            }
        }
    }

    fn interface(&mut self, id: InterfaceId) {
        let interface = &self.resolve.interfaces[id];
        self.docs(&interface.docs);
        for (name, id) in &interface.types {
            self.type_definition(name, *id);
            for function in interface.functions.values().filter(|function| resource(function) == Some(*id)) {
                self.function(&format!("#### `{name}.{}`", function.item_name()), function);
            }
        }
        for function in interface.functions.values().filter(|function| resource(function).is_none()) {
            self.function(&format!("### `{}`", function.name), function);
        }
    }

    fn type_definition(&mut self, name: &str, id: TypeId) {
        let definition = &self.resolve.types[id];
        let kind = match &definition.kind {
            // A type that is used from another interface.
            TypeDefKind::Type(_) => return,
            other => other.as_str(),
        };
        let _ = writeln!(self.text, "\n### {kind} `{name}`");
        self.docs(&definition.docs);
        let payload = |ty: &Option<Type>| ty.as_ref().map(|ty| self.type_name(ty));
        let (first, rows): (_, Vec<_>) = match &definition.kind {
            TypeDefKind::Record(record) => {
                let row = |field: &Field| (field.name.clone(), Some(self.type_name(&field.ty)), field.docs.clone());
                ("Field", record.fields.iter().map(row).collect())
            }
            TypeDefKind::Variant(variant) => {
                let row = |case: &Case| (case.name.clone(), payload(&case.ty), case.docs.clone());
                ("Case", variant.cases.iter().map(row).collect())
            }
            TypeDefKind::Enum(cases) => {
                ("Case", cases.cases.iter().map(|case| (case.name.clone(), None, case.docs.clone())).collect())
            }
            _ => return,
        };
        let _ = writeln!(self.text, "\n| {first} | Type | |\n|---|---|---|");
        for (name, ty, docs) in rows {
            let ty = ty.map_or_else(String::new, |ty| format!("`{ty}`"));
            let docs = docs.contents.as_deref().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
            let _ = writeln!(self.text, "| `{name}` | {ty} | {} |", docs.replace('|', "\\|"));
        }
    }

    fn function(&mut self, heading: &str, function: &Function) {
        let parameters: Vec<_> = function
            .params
            .iter()
            .filter(|parameter| parameter.name != "self")
            .map(|parameter| format!("{}: {}", parameter.name, self.type_name(&parameter.ty)))
            .collect();
        let kind = if matches!(function.kind, FunctionKind::Static(_)) { "static func" } else { "func" };
        let result = function.result.as_ref().map_or_else(String::new, |ty| format!(" -> {}", self.type_name(ty)));
        let parameters = parameters.join(", ");
        let _ = writeln!(self.text, "\n{heading}\n\n```wit\n{kind}({parameters}){result}\n```");
        self.docs(&function.docs);
    }

    fn type_name(&self, ty: &Type) -> String {
        let Type::Id(id) = ty else { return primitive(*ty).to_owned() };
        let definition = &self.resolve.types[*id];
        if let Some(name) = &definition.name {
            return name.clone();
        }
        let or_none = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "_".to_owned(), |ty| self.type_name(ty));
        match &definition.kind {
            TypeDefKind::Option(ty) => format!("option<{}>", self.type_name(ty)),
            TypeDefKind::List(ty) => format!("list<{}>", self.type_name(ty)),
            TypeDefKind::Tuple(tuple) => {
                let types: Vec<_> = tuple.types.iter().map(|ty| self.type_name(ty)).collect();
                format!("tuple<{}>", types.join(", "))
            }
            TypeDefKind::Result(result) if result.err.is_none() => match &result.ok {
                None => "result".to_owned(),
                Some(ok) => format!("result<{}>", self.type_name(ok)),
            },
            TypeDefKind::Result(result) => format!("result<{}, {}>", or_none(&result.ok), or_none(&result.err)),
            TypeDefKind::Handle(Handle::Own(id)) => self.type_name(&Type::Id(*id)),
            TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", self.type_name(&Type::Id(*id))),
            other => other.as_str().to_owned(),
        }
    }
}

/// The resource that a function belongs to.
fn resource(function: &Function) -> Option<TypeId> {
    match function.kind {
        FunctionKind::Method(id) | FunctionKind::Static(id) | FunctionKind::Constructor(id) => Some(id),
        _ => None,
    }
}

fn primitive(ty: Type) -> &'static str {
    match ty {
        Type::Bool => "bool",
        Type::U8 => "u8",
        Type::U16 => "u16",
        Type::U32 => "u32",
        Type::U64 => "u64",
        Type::S8 => "s8",
        Type::S16 => "s16",
        Type::S32 => "s32",
        Type::S64 => "s64",
        Type::F32 => "f32",
        Type::F64 => "f64",
        Type::Char => "char",
        Type::String => "string",
        Type::ErrorContext | Type::Id(_) => "error-context",
    }
}

/// The folders of the released interfaces, each named after its version.
pub fn released() -> Result<Vec<PathBuf>> {
    let mut folders: Vec<_> =
        fs::read_dir(workspace().join("wit/released"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    folders.sort();
    Ok(folders)
}

/// Returns an error if a host written for the released interface cannot use what `folder` describes now, although its
/// version says it should.
///
/// `wit-component` compares: a component of the current world must fit where one of the released world is expected. So
/// it may export more and import less.
pub fn check_compatible(folder: &Path, released: &Path) -> Result<()> {
    let mut resolve = Resolve::default();
    let (current, _) = resolve.push_path(folder)?;
    let name = &resolve.packages[current].name;
    let now = name.version.clone().context("the interface has no version")?;
    let (name, before) = (name.to_string(), version(released)?);
    if !compatible(&now, &before) {
        return Ok(());
    }
    // Two packages with the same name and version can't be loaded together.
    let released_name = name.replace(&format!("@{now}"), &format!("@{before}"));
    let stand_in = name.replace(&format!("@{now}"), "@0.0.0-released");
    let mut sources = String::new();
    for file in fs::read_dir(released)? {
        let text = fs::read_to_string(file?.path())?;
        let text = text.strip_prefix(&format!("package {released_name};")).context("a file that names no package")?;
        sources.push_str(text);
    }
    let text = format!("package {stand_in};\n{sources}");
    let parsed = UnresolvedPackageGroup::parse(released.join("all.wit"), &text)?;
    let previous = resolve.push_group(parsed)?;

    for (world, before) in resolve.packages[previous].worlds.clone() {
        let Some(now) = resolve.packages[current].worlds.get(&world).copied() else {
            bail!("the world {world} is gone, and the version is still compatible with {}", version(released)?);
        };
        wit_component::semver_check(resolve.clone(), now, before)
            .with_context(|| format!("the world {world} does not fit where that of {} did", released.display()))?;
    }
    Ok(())
}

fn version(released: &Path) -> Result<Version> {
    let name = released.file_name().and_then(|name| name.to_str()).context("a folder without a name")?;
    Version::parse(name).map_err(|error| anyhow!("{} is named by no version: {error}", released.display()))
}

/// Is `now` compatible with `before`, by its version?
fn compatible(now: &Version, before: &Version) -> bool {
    let caret = Comparator {
        op: Op::Caret,
        major: before.major,
        minor: Some(before.minor),
        patch: Some(before.patch),
        pre: before.pre.clone(),
    };
    caret.matches(now)
}
