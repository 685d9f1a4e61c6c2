//! Turns Claude Code sessions into `PostHog` AI events.
