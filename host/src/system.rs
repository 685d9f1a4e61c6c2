//! What the operating system is asked for: files, places, processes, git, the terminal.

pub mod atomic;
pub mod detach;
pub mod directories;
pub mod git;
pub mod terminal;
