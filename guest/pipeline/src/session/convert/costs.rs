//! Compares the client's own totals (`cost-state` lines, 2.1.300+) with the events.

use crate::transcript::entry::{Entry, ModelUsage};
use crate::transcript::lenient;
use std::collections::BTreeMap;

/// Input, output, cache read, cache write.
type Tokens = [u64; 4];

/// The difference is reported as a property once it exceeds one in this many of all tokens.
const WORTH_TELLING: u64 = 100;

/// What the client counted, and what the events add up to.
#[derive(Debug, Default)]
pub(super) struct Costs {
    /// The client's last totals.
    last: Option<Tokens>,
    /// Those that an earlier delivery compared with its events.
    before: Option<Tokens>,
    /// Totals over all events, and over those of earlier deliveries.
    events: Tokens,
    covered: Tokens,
    /// Has an event been sent by this delivery?
    sending: bool,
}

impl Costs {
    /// Reads a `cost-state` line. Each holds totals, so the last one counts. So does the last one that an earlier delivery
    /// read (`told`); if that is not known, the last one before the first event of this delivery.
    pub(super) fn read(&mut self, entry: &Entry<'_>, told: Option<bool>) {
        #[derive(serde::Deserialize)]
        struct Model(#[serde(deserialize_with = "lenient::object")] Option<ModelUsage>);
        let models = entry.model_usage.and_then(lenient::reparse::<BTreeMap<String, Model>>);
        let Some(models) = models else { return };
        let mut sums = Tokens::default();
        for usage in models.into_values().filter_map(|model| model.0) {
            let tokens = [
                usage.input_tokens,
                usage.output_tokens,
                usage.cache_read_input_tokens,
                usage.cache_creation_input_tokens,
            ];
            add(&mut sums, tokens);
        }
        self.last = Some(sums);
        if told.unwrap_or(!self.sending) {
            self.before = self.last;
        }
    }

    /// Adds an event's tokens; `covered`: an earlier delivery sent it.
    pub(super) fn add(&mut self, tokens: [Option<u64>; 4], covered: bool) {
        add(&mut self.events, tokens);
        if covered {
            add(&mut self.covered, tokens);
        } else {
            self.sending = true;
        }
    }

    /// Tokens that the client counted since the last delivery but no event has, and whether they are more than a
    /// hundredth.
    pub(super) fn unaccounted(&self) -> (Tokens, bool) {
        let Some(last) = self.last else { return (Tokens::default(), false) };
        let told = self.covered != Tokens::default();
        let before = self.before.filter(|_| told).unwrap_or_default();
        let mut missing = Tokens::default();
        for (i, missing) in missing.iter_mut().enumerate() {
            let now = last[i].saturating_sub(self.events[i]);
            *missing = now.saturating_sub(before[i].saturating_sub(self.covered[i]));
        }
        let sum = |tokens: Tokens| tokens.into_iter().fold(0_u64, u64::saturating_add);
        (missing, sum(missing).saturating_mul(WORTH_TELLING) > sum(last))
    }
}

fn add(sums: &mut Tokens, tokens: [Option<u64>; 4]) {
    for (sum, count) in sums.iter_mut().zip(tokens) {
        *sum = sum.saturating_add(count.unwrap_or_default());
    }
}
