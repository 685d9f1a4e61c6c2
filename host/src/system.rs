//! Everything that depends on the operating system: files, directories, processes, git, the terminal.

pub mod atomic;
pub mod cores;
pub mod detach;
pub mod directories;
pub mod git;
pub mod log;
pub mod open_files;
pub mod processes;
pub mod regular;
pub mod terminal;
