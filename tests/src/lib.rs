//! End-to-end tests: the real program, the real component, a strict local PostHog.
