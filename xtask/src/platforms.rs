//! The platforms that a release has a program for.

/// A platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Platform {
    /// Its Rust target.
    pub target: &'static str,
    /// Node.js's `process.platform`.
    pub os: &'static str,
    /// Node.js's `process.arch`.
    pub cpu: &'static str,
}

/// All platforms. The Linux programs are static and don't need the system's C library; those linked with glibc are for
/// package managers and `cargo binstall`.
pub const PLATFORMS: [Platform; 6] = [
    Platform { target: "x86_64-unknown-linux-musl", os: "linux", cpu: "x64" },
    Platform { target: "aarch64-unknown-linux-musl", os: "linux", cpu: "arm64" },
    Platform { target: "x86_64-apple-darwin", os: "darwin", cpu: "x64" },
    Platform { target: "aarch64-apple-darwin", os: "darwin", cpu: "arm64" },
    Platform { target: "x86_64-pc-windows-msvc", os: "win32", cpu: "x64" },
    Platform { target: "aarch64-pc-windows-msvc", os: "win32", cpu: "arm64" },
];

impl Platform {
    /// Its name in packages and files: `linux-x64`.
    pub fn name(self) -> String {
        format!("{}-{}", self.os, self.cpu)
    }

    /// The program's file name.
    pub fn program(self) -> &'static str {
        if self.os == "win32" { "posthog-llma.exe" } else { "posthog-llma" }
    }
}
