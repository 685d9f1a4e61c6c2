//! What runs components: wasmtime, and the machine code of this program's component.

use super::SandboxError;
use std::sync::LazyLock;
use wasmtime::Engine;
use wasmtime::component::Component;

/// Alignment of the machine code in the program's file, in bytes: the largest page that a system of this processor has,
/// because protection is set by pages.
#[cfg_attr(target_arch = "x86_64", repr(C, align(4096)))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C, align(65536)))]
struct Aligned<T: ?Sized>(T);

/// The machine code of [`COMPONENT`](super::COMPONENT), which the build script compiled.
static CODE: &Aligned<[u8]> = &Aligned(*include_bytes!(env!("POSTHOG_LLMA_MACHINE_CODE")));

/// Runs components. There is one for the process: wasmtime knows each piece of machine code by where it stands, and the
/// program's stands there once.
static ENGINE: LazyLock<Result<Engine, SandboxError>> = LazyLock::new(|| {
    #[cfg_attr(not(target_os = "linux"), expect(unused_mut, reason = "changed on Linux"))]
    let mut config = posthog_llma_machine_code::settings(cfg!(windows));
    #[cfg(target_os = "linux")]
    config.with_custom_code_memory(Some(std::sync::Arc::new(in_place::Protection)));
    Engine::new(&config).map_err(SandboxError::setup)
});

/// The program's own component, loaded once.
static OURS: LazyLock<Result<Component, SandboxError>> = LazyLock::new(|| {
    let engine = engine()?;
    #[cfg(target_os = "linux")]
    if in_place::is_possible() {
        return in_place::component(engine).map_err(not_this_processor);
    }
    #[expect(unsafe_code, reason = "the code is part of this program")]
    // SAFETY: wasmtime wrote these bytes when this program was built. It checks that version, settings and processor
    // match.
    let component = unsafe { Component::deserialize(engine, &CODE.0) };
    component.map_err(not_this_processor)
});

fn engine() -> Result<&'static Engine, SandboxError> {
    ENGINE.as_ref().map_err(Clone::clone)
}

/// The program's own component. Fails on a processor that lacks what its code uses.
pub fn component() -> Result<&'static Component, SandboxError> {
    OURS.as_ref().map_err(Clone::clone)
}

/// Compiles another component.
#[cfg(feature = "compiler")]
pub fn compile(component: &[u8]) -> Result<Component, SandboxError> {
    Component::new(engine()?, component).map_err(SandboxError::setup)
}

/// Version and settings always match, because the code is part of the program.
fn not_this_processor(error: wasmtime::Error) -> SandboxError {
    SandboxError::setup(error.context("this processor cannot run the program's code; on x86-64, it needs SSE4.2"))
}

/// Code that runs where it stands in the program's file: the system reads only the pages that are used, and all processes
/// share them. Copying the code would take longer than everything else at a start.
#[cfg(target_os = "linux")]
mod in_place {
    use super::CODE;
    use rustix::mm::{MprotectFlags, mprotect};
    use rustix::param::page_size;
    use std::ptr::NonNull;
    use wasmtime::CustomCodeMemory;
    use wasmtime::component::Component;

    /// Do pages begin where the code begins? Old loaders ignore large alignments.
    pub(super) fn is_possible() -> bool {
        CODE.0.as_ptr().addr().is_multiple_of(page_size())
    }

    pub(super) fn component(engine: &wasmtime::Engine) -> wasmtime::Result<Component> {
        #[expect(unsafe_code, reason = "the code is part of this program")]
        // SAFETY: as in `OURS`; and it is in read-only memory as long as this process lives.
        unsafe {
            Component::deserialize_raw(engine, NonNull::from(&CODE.0))
        }
    }

    /// Makes code executable.
    pub(super) struct Protection;

    impl CustomCodeMemory for Protection {
        fn required_alignment(&self) -> usize {
            page_size()
        }

        fn publish_executable(&self, code: *const u8, length: usize) -> wasmtime::Result<()> {
            #[expect(unsafe_code, reason = "the system's own call")]
            // SAFETY: wasmtime calls this for the pages of its code alone, which nothing writes to any more.
            unsafe {
                mprotect(code.cast_mut().cast(), length, MprotectFlags::READ | MprotectFlags::EXEC)?;
            }
            Ok(())
        }

        /// Nothing to do: another component may run the same code, and what wasmtime copied is unmapped next.
        fn unpublish_executable(&self, _code: *const u8, _length: usize) -> wasmtime::Result<()> {
            Ok(())
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn code_runs_where_it_stands() {
        assert!(in_place::is_possible());
        let code = CODE.0.as_ptr_range();
        let image = component().unwrap().image_range();
        assert!(code.start <= image.start && image.end <= code.end);
    }
}
