//! `posthog-llma`, the program.

fn main() {}
