//! Where a line stands in its session: which turn, which thread.

/// Where a line stands.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Index of its turn.
    pub turn: u32,
    /// Index of its thread.
    pub thread: u32,
}
