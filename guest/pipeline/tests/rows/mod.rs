//! Every row and every rule of the contract between transcripts and events, each with a test that fails without it.

mod lines;

mod agents;
mod bad_lines;
mod calls;
mod chat;
mod copies;
mod cost;
mod deliveries;
mod envelope;
mod failures;
mod folders;
mod generation;
mod grouping;
mod held;
mod interrupted;
mod outcome;
mod parent;
mod privacy;
mod reading;
mod redaction;
mod resumed;
mod span;
mod time;
mod tokens;
mod tool_spans;
mod trace;
