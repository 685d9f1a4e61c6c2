//! What a component can do with a file's handle: ask for the size and the bytes. Everything else is refused.

use super::files::{SessionFile, read, stat};
use super::state::State;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType, Val};
use wasmtime_wasi::filesystem::Descriptor;

/// What else `wasi:filesystem` lets a component ask of a file.
const REFUSED: [&str; 24] = [
    "advise",
    "append-via-stream",
    "create-directory-at",
    "get-flags",
    "get-type",
    "link-at",
    "metadata-hash",
    "metadata-hash-at",
    "open-at",
    "read-directory",
    "read-via-stream",
    "readlink-at",
    "remove-directory-at",
    "rename-at",
    "set-size",
    "set-times",
    "set-times-at",
    "stat-at",
    "symlink-at",
    "sync",
    "sync-data",
    "unlink-file-at",
    "write",
    "write-via-stream",
];

/// Links the handles, in place of those of `wasmtime-wasi`.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance("wasi:filesystem/types@0.2.12")?;
    // The bindings' type of a handle. Behind each is a `SessionFile`.
    types.resource("descriptor", ResourceType::host::<Descriptor>(), |mut store, number| {
        let (granted, table) = store.data_mut().files();
        granted.close(number);
        table.delete(Resource::<SessionFile>::new_own(number))?;
        Ok(())
    })?;
    types.func_wrap(
        "[method]descriptor.stat",
        |mut store: StoreContextMut<'_, State>, (file,): (Resource<Descriptor>,)| {
            let (granted, table) = store.data_mut().files();
            Ok((granted.file(table, &file)?.and_then(|file| stat(file)),))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.read",
        |mut store: StoreContextMut<'_, State>, (file, length, offset): (Resource<Descriptor>, u64, u64)| {
            let (granted, table) = store.data_mut().files();
            Ok((granted.file(table, &file)?.and_then(|file| read(file, length, offset)),))
        },
    )?;
    for name in REFUSED {
        types.func_new_async(&format!("[method]descriptor.{name}"), |mut store, _, arguments, results| {
            Box::new(async move {
                for argument in arguments {
                    if let Val::Resource(handle) = argument {
                        handle.resource_drop_async(&mut store).await?;
                    }
                }
                results[0] = Val::Result(Err(Some(Box::new(Val::Enum("not-permitted".to_owned())))));
                Ok(())
            })
        })?;
    }
    linker.allow_shadowing(false);
    Ok(())
}
