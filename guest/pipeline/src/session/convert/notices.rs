//! What is noticed in lines that don't become events, held until it is known which delivery covers it.

use super::emit::Emitter;
use crate::events::trace::Noticed;
use std::collections::BTreeMap;

/// Noticed in the file that is being read, by trace. What stands before an excluded event was covered before.
#[derive(Debug, Default)]
pub(super) struct Notices {
    by_trace: BTreeMap<u32, Noticed>,
    /// The event before was excluded: up to the next prompt, all was there when it was delivered.
    covered: bool,
}

impl Notices {
    /// Something was noticed that belongs to this trace.
    pub(super) fn add(&mut self, trace: u32, noticed: Noticed) {
        *self.by_trace.entry(trace).or_default() += noticed;
    }

    /// Passes a complete event: either it is `sent`, or an earlier delivery covered it and everything up to it.
    pub(super) fn passed(&mut self, sent: bool, emitter: &mut Emitter) {
        self.covered = !sent;
        if sent {
            self.tell(emitter);
        } else {
            self.by_trace.clear();
        }
    }

    fn tell(&mut self, emitter: &mut Emitter) {
        while let Some((trace, noticed)) = self.by_trace.pop_first() {
            emitter.trace(trace).totals.noticed += noticed;
        }
    }

    /// A prompt starts a turn.
    pub(super) fn prompted(&mut self) {
        if self.covered {
            self.by_trace.clear();
        }
    }

    /// The end of a file: what is left belongs to this delivery; while the session runs it belongs to the one that covers the
    /// next event. (The last line may be half of one.)
    pub(super) fn settle(&mut self, emitter: &mut Emitter) {
        if emitter.runs() {
            self.by_trace.clear();
        }
        self.tell(emitter);
        self.covered = false;
    }
}
