//! A process that outlives the one that starts it.
//!
//! When a hook takes too long the client kills it with all its descendants, even those with a session of their own, as long
//! as their parent still runs; one whose parent is gone survives (measured with seven versions). So this program starts itself
//! twice: the first copy only starts the second and ends.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Name of the command that starts the second copy.
pub const DETACH: &str = "detach";
/// Its flag for [`Stdin::Inherit`].
const INHERIT: &str = "--stdin";

/// Where the process's standard input comes from. Its outputs go nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin {
    /// Nowhere.
    Null,
    /// The caller's, which the caller must not have read from.
    Inherit,
}

/// Starts this program with these arguments and this variable more, in this directory, by way of a copy that ends at once.
/// Does not wait for it.
pub fn start(
    arguments: &[OsString],
    variable: Option<(&str, String)>,
    directory: &Path,
    stdin: Stdin,
) -> io::Result<()> {
    let mut command = own_command(stdin)?;
    command.envs(variable);
    command.arg(DETACH);
    if stdin == Stdin::Inherit {
        command.arg(INHERIT);
    }
    command.arg("--").args(arguments).current_dir(directory);
    spawn(&mut command)
}

/// What the first copy does: it starts the second and ends.
pub fn pass_on(arguments: &[OsString], stdin: Stdin) -> io::Result<()> {
    own_command(stdin)?.args(arguments).spawn().map(drop)
}

/// What the second copy does first: it leaves its caller's terminal. (The first one could not: it leads a process group.)
#[cfg(unix)]
pub fn leave() {
    let _ = rustix::process::setsid();
}

/// Its console is its own already.
#[cfg(not(unix))]
pub fn leave() {}

fn own_command(stdin: Stdin) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    // An output of the caller's that is kept open keeps the client waiting.
    command.stdin(if stdin == Stdin::Null { Stdio::null() } else { Stdio::inherit() });
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}

#[cfg(unix)]
fn spawn(command: &mut Command) -> io::Result<()> {
    // Ctrl-C reaches the caller's whole process group.
    std::os::unix::process::CommandExt::process_group(command, 0);
    command.spawn().map(drop)
}

/// A process outside of the caller's group of Ctrl-C, and outside of its job, which may be ended as a whole. A job that does
/// not let go of processes makes the start fail: then it stays in it. Its console has no window, and what it starts shares
/// that; a process without any console would make git open a window.
#[cfg(windows)]
fn spawn(command: &mut Command) -> io::Result<()> {
    use std::os::windows::process::CommandExt as _;
    const CREATE_NO_WINDOW: u32 = 0x0800_0000;
    const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;
    const CREATE_BREAKAWAY_FROM_JOB: u32 = 0x0100_0000;
    keep_own_streams();
    let own = CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP;
    match command.creation_flags(own | CREATE_BREAKAWAY_FROM_JOB).spawn() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => command.creation_flags(own).spawn().map(drop),
        spawned => spawned.map(drop),
    }
}

/// Keeps this process's standard streams from its children. On Windows a child gets every handle that can be inherited, those
/// that it is given and all others: the worker would hold the caller's pipes, and the client would wait for it.
#[cfg(windows)]
#[expect(unsafe_code, reason = "two calls of the system, with handles that are open as long as the process lives")]
#[expect(clippy::disallowed_methods, reason = "takes the handles, and prints nothing")]
fn keep_own_streams() {
    use std::os::windows::io::AsRawHandle as _;
    use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};
    let handles = [io::stdin().as_raw_handle(), io::stdout().as_raw_handle(), io::stderr().as_raw_handle()];
    for handle in handles {
        // One that is closed or no handle at all is refused, and then there is nothing to keep.
        unsafe { SetHandleInformation(handle, HANDLE_FLAG_INHERIT, 0) };
    }
}
