//! The native host of the component: what to read, where it may go, what was delivered.

pub mod sandbox;
