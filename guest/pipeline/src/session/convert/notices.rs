//! What is noticed in lines that don't become events, held until it is known which delivery covers it.

use super::emit::Emitter;
use crate::events::trace::Noticed;
use std::collections::BTreeMap;

/// Noticed in the file that is being read, by trace. If it is not known which lines earlier deliveries read, what stands
/// before an excluded event was covered by one.
#[derive(Debug)]
pub(super) struct Notices {
    by_trace: BTreeMap<u32, Noticed>,
    /// Is it known which lines earlier deliveries read? Then nothing of those arrives here.
    knows_lines: bool,
    /// The event before was excluded: up to the next prompt, all was there when it was delivered.
    covered: bool,
}

impl Notices {
    /// Starts empty. `knows_lines`: is it known which lines earlier deliveries read?
    pub(super) fn new(knows_lines: bool) -> Self {
        Self { by_trace: BTreeMap::new(), knows_lines, covered: false }
    }

    /// Something was noticed that belongs to this trace.
    pub(super) fn add(&mut self, trace: u32, noticed: Noticed) {
        *self.by_trace.entry(trace).or_default() += noticed;
    }

    /// Passes a complete event: either it is `sent`, or an earlier delivery covered it and everything up to it.
    pub(super) fn passed(&mut self, sent: bool, emitter: &mut Emitter) {
        self.covered = !sent && !self.knows_lines;
        if sent {
            self.tell(emitter);
        } else if self.covered {
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

    /// The end of a file: what is left belongs to this delivery.
    pub(super) fn settle(&mut self, emitter: &mut Emitter) {
        self.tell(emitter);
        self.covered = false;
    }
}
