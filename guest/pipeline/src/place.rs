//! The place of a line in its session: which turn, which thread.

/// The place of a line.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Index of its turn.
    pub turn: u32,
    /// Index of its thread.
    pub thread: u32,
}
