//! Starting a process that outlives its parent.
//!
//! When a hook takes too long, the client kills it with all its descendants, even those in their own session, as long
//! as their parent is still running. A process whose parent has exited survives (measured with seven versions). So this
//! program starts itself twice: the first copy only starts the second and exits.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Name of the command that starts the second copy.
pub const DETACH: &str = "detach";
/// The command's flag for [`Stdin::Inherit`].
const INHERIT: &str = "--stdin";

/// Where the process's standard input comes from. Its output streams are discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin {
    /// The null device.
    Null,
    /// The caller's standard input. The caller must not have read from it.
    Inherit,
}

/// Starts this program in this directory with these arguments and this additional variable, through a copy that exits
/// at once. Does not wait for it.
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

/// Runs in the first copy: starts the second copy and exits.
pub fn pass_on(arguments: &[OsString], stdin: Stdin) -> io::Result<()> {
    own_command(stdin)?.args(arguments).spawn().map(drop)
}

/// The second copy calls this first, to leave its caller's terminal. (The first copy cannot: it leads a process group.)
#[cfg(unix)]
pub fn leave() {
    let _ = rustix::process::setsid();
}

/// On Windows, the copy already has its own console.
#[cfg(not(unix))]
pub fn leave() {}

fn own_command(stdin: Stdin) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    // The client waits as long as any of the caller's output streams is open.
    command.stdin(if stdin == Stdin::Null { Stdio::null() } else { Stdio::inherit() });
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}

#[cfg(unix)]
fn spawn(command: &mut Command) -> io::Result<()> {
    // Ctrl-C goes to the caller's whole process group.
    std::os::unix::process::CommandExt::process_group(command, 0);
    command.spawn().map(drop)
}

/// Starts a process outside the caller's Ctrl-C group and outside its job, which may be terminated as a whole. If the
/// job does not allow breakaway, the first attempt fails and the process is started inside the job. The process gets a
/// console without a window, which its children share; without any console, git would open a window.
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

/// Makes this process's standard streams non-inheritable. On Windows, a child inherits every inheritable handle, not
/// only the ones passed to it: the worker would hold the caller's pipes open, and the client would wait for it.
#[cfg(windows)]
#[expect(unsafe_code, reason = "two calls of the system, with handles that are open as long as the process lives")]
#[expect(clippy::disallowed_methods, reason = "takes the handles, and prints nothing")]
fn keep_own_streams() {
    use std::os::windows::io::AsRawHandle as _;
    use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};
    let handles = [io::stdin().as_raw_handle(), io::stdout().as_raw_handle(), io::stderr().as_raw_handle()];
    for handle in handles {
        // The call fails for a closed or invalid handle, and then there is nothing to protect.
        unsafe { SetHandleInformation(handle, HANDLE_FLAG_INHERIT, 0) };
    }
}
