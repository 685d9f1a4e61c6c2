//! Other processes on this machine: their parents and the environment each was started with.

use std::ffi::OsString;

/// A process: its ID and its start time in the system's own unit. The system reuses IDs, but not pairs.
pub type Process = (u32, u64);

/// Variables with their values.
pub type Variables = Vec<(OsString, OsString)>;

/// What the system reports about a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The program's name; on Windows, in lower case and without `.exe`.
    pub name: String,
    /// The parent's process ID.
    pub parent: u32,
    /// The start time, in the system's own unit.
    pub started: u64,
}

/// Describes a process, from `/proc/<pid>/stat` (man 5 `proc_pid_stat`); `None` if it does not exist or the system does
/// not say.
#[cfg(not(any(target_os = "macos", windows)))]
pub fn describe(process: u32) -> Option<Description> {
    let text = kernel_file(process, "stat").ok()?;
    let text = String::from_utf8_lossy(&text);
    // The name is in parentheses and may itself contain some.
    let (_, rest) = text.split_once('(')?;
    let (name, rest) = rest.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    // Field 22 of the file; field 18 from here.
    let started = fields.nth(17)?.parse().ok()?;
    // A zombie has exited, but its parent has not waited for it.
    (state != "Z").then(|| Description { name: name.to_owned(), parent, started })
}

/// The environment a process was started with, without anything it has set since. `None` if the system does not reveal
/// it, or not to us.
#[cfg(not(any(target_os = "macos", windows)))]
pub fn first_environment(process: u32) -> Option<Variables> {
    Some(variables(&kernel_file(process, "environ").ok()?))
}

/// A file of the kernel's about a process. They have no size, so that `fs::read` begins with 32 bytes: six to eight calls
/// for a file, and a hook reads two for each process above it. The buffer is on the stack: musl asks the system for each
/// large one.
#[cfg(not(any(target_os = "macos", windows)))]
fn kernel_file(process: u32, name: &str) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    #[expect(clippy::disallowed_methods, reason = "the kernel's own files")]
    let mut file = std::fs::File::open(format!("/proc/{process}/{name}"))?;
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(bytes),
            Ok(length) => bytes.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(target_os = "macos")]
pub use mac_os::{describe, first_environment};
#[cfg(windows)]
pub use windows::{describe, first_environment};

/// Parses `NAME=value` entries, each terminated by a zero byte.
#[cfg(unix)]
fn variables(bytes: &[u8]) -> Variables {
    use std::os::unix::ffi::OsStringExt as _;
    let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let variable = |line: &[u8]| {
        // A name may start with `=`.
        let at = 1 + line.get(1..)?.iter().position(|byte| *byte == b'=')?;
        Some((text(&line[..at]), text(&line[at + 1..])))
    };
    bytes.split(|byte| *byte == 0).filter_map(variable).collect()
}

#[cfg(target_os = "macos")]
mod mac_os {
    use super::{Description, Variables, variables};
    use std::ffi::CStr;
    use std::mem;

    /// Describes a process, with `proc_pidinfo`.
    pub fn describe(process: u32) -> Option<Description> {
        let size = i32::try_from(size_of::<libc::proc_bsdinfo>()).ok()?;
        #[expect(unsafe_code, reason = "the system's own call")]
        // SAFETY: all fields of the structure are numbers, and the system writes no more than the size it is given.
        let info = unsafe {
            let mut info: libc::proc_bsdinfo = mem::zeroed();
            let to = (&raw mut info).cast();
            let written = libc::proc_pidinfo(i32::try_from(process).ok()?, libc::PROC_PIDTBSDINFO, 0, to, size);
            (written == size).then_some(info)?
        };
        let name: Vec<u8> =
            info.pbi_comm.iter().map(|byte| byte.cast_unsigned()).take_while(|byte| *byte != 0).collect();
        let started = info.pbi_start_tvsec.wrapping_mul(1_000_000).wrapping_add(info.pbi_start_tvusec);
        Some(Description { name: String::from_utf8_lossy(&name).into_owned(), parent: info.pbi_ppid, started })
    }

    /// The environment a process was started with, from `KERN_PROCARGS2`.
    pub fn first_environment(process: u32) -> Option<Variables> {
        let mut names = [libc::CTL_KERN, libc::KERN_PROCARGS2, i32::try_from(process).ok()?];
        let mut size = 1024 * 1024;
        let mut bytes = vec![0_u8; size];
        #[expect(unsafe_code, reason = "the system's own call")]
        // SAFETY: the system writes no more than the size it is given, and reports how much it wrote.
        let read = unsafe {
            let to = bytes.as_mut_ptr().cast();
            libc::sysctl(names.as_mut_ptr(), 3, to, &raw mut size, std::ptr::null_mut(), 0)
        };
        (read == 0).then(|| bytes.truncate(size))?;
        environment(&bytes)
    }

    /// The buffer holds the number of arguments, the program's path, zeros, the arguments, then the environment.
    fn environment(bytes: &[u8]) -> Option<Variables> {
        let (count, rest) = bytes.split_first_chunk::<4>()?;
        let path = CStr::from_bytes_until_nul(rest).ok()?;
        let mut rest = &rest[path.count_bytes()..];
        rest = &rest[rest.iter().position(|byte| *byte != 0)?..];
        for _ in 0..i32::from_ne_bytes(*count) {
            rest = &rest[rest.iter().position(|byte| *byte == 0)? + 1..];
        }
        // An empty string ends the environment: what follows belongs to the system.
        let end = rest.windows(2).position(|pair| pair == [0, 0]).unwrap_or(rest.len());
        Some(variables(&rest[..end]))
    }
}

#[cfg(windows)]
mod windows {
    use super::{Description, Variables};
    use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
    use windows_sys::Win32::Foundation::{FILETIME, INVALID_HANDLE_VALUE};
    use windows_sys::Win32::System::Diagnostics::ToolHelp::{
        CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
    };
    use windows_sys::Win32::System::Threading::{GetProcessTimes, OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION};

    /// Describes a process, from the system's list. A parent that started after its child is a different process that
    /// reuses the ID of the exited parent: then there is no parent.
    pub fn describe(process: u32) -> Option<Description> {
        let (name, parent) = listed(process)?;
        let name = name.to_lowercase();
        let name = name.strip_suffix(".exe").unwrap_or(&name).to_owned();
        // The start time of another user's process is not readable.
        let started = started(process).unwrap_or_default();
        let parent = if self::started(parent).is_some_and(|parents| parents > started) { 0 } else { parent };
        Some(Description { name, parent, started })
    }

    /// Always `None`: on Windows, only the process itself can read its environment.
    pub fn first_environment(_: u32) -> Option<Variables> {
        None
    }

    #[expect(unsafe_code, reason = "the system's own calls")]
    fn listed(process: u32) -> Option<(String, u32)> {
        // SAFETY: the handle stays open until the end, and the entry has the size that it states.
        unsafe {
            let list = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0);
            if list == INVALID_HANDLE_VALUE {
                return None;
            }
            let list = OwnedHandle::from_raw_handle(list);
            let mut entry = PROCESSENTRY32W { dwSize: size_of::<PROCESSENTRY32W>() as u32, ..std::mem::zeroed() };
            let mut more = Process32FirstW(list.as_raw_handle(), &raw mut entry);
            while more != 0 {
                if entry.th32ProcessID == process {
                    let length = entry.szExeFile.iter().position(|unit| *unit == 0).unwrap_or(entry.szExeFile.len());
                    return Some((String::from_utf16_lossy(&entry.szExeFile[..length]), entry.th32ParentProcessID));
                }
                more = Process32NextW(list.as_raw_handle(), &raw mut entry);
            }
        }
        None
    }

    /// The process's start time, in 100 ns units since 1601.
    #[expect(unsafe_code, reason = "the system's own calls")]
    fn started(process: u32) -> Option<u64> {
        let mut times = [FILETIME { dwLowDateTime: 0, dwHighDateTime: 0 }; 4];
        // SAFETY: the handle stays open until the end, and each time is written to its own variable.
        unsafe {
            let handle = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, process);
            if handle.is_null() {
                return None;
            }
            let handle = OwnedHandle::from_raw_handle(handle);
            let [started, ended, kernel, user] = times.each_mut().map(std::ptr::from_mut);
            if GetProcessTimes(handle.as_raw_handle(), started, ended, kernel, user) == 0 {
                return None;
            }
        }
        Some(u64::from(times[0].dwHighDateTime) << 32 | u64::from(times[0].dwLowDateTime))
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_has_its_parent_and_the_environment_it_was_started_with() {
        let mut command = Command::new("sh");
        command.args(["-c", "export LATER=1; exec_nothing() { :; }; sleep 10"]).env_clear();
        command.env("FIRST", "a=b\nc").env("EMPTY", "").env("PATH", "/usr/bin:/bin");
        let mut child = command.stdin(Stdio::null()).spawn().unwrap();
        let found = loop {
            // Until the child calls exec, it has this process's environment.
            let found = first_environment(child.id()).unwrap();
            if found.iter().any(|(name, _)| name == "FIRST") {
                break found;
            }
        };
        let value = |name: &str| found.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
        assert_eq!(value("FIRST"), Some("a=b\nc".into()));
        assert_eq!(value("EMPTY"), Some("".into()));
        assert_eq!(value("LATER"), None);
        assert_eq!(describe(child.id()).unwrap().parent, std::process::id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(first_environment(child.id()), None);
    }

    #[test]
    fn odd_environments_are_read() {
        assert_eq!(variables(b""), []);
        assert_eq!(
            variables(b"A=b\0\0=C:=d\0nothing\0E="),
            [("A".into(), "b".into()), ("=C:".into(), "d".into()), ("E".into(), "".into())]
        );
    }
}
