//! No stranger decides: a repository that nobody trusts speaks in every way it can, and every command runs in it.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod trust {
    mod decisions;
    mod privacy;
    mod sessions;
    mod stage;
    mod table;
}
