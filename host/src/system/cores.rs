//! Work for all cores.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread;

/// Applies `work` to all items, on all cores; the results have the items' order. For calls that wait for the system: a thread
/// for a few of them takes longer than they do.
pub fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let parts = items.chunks(items.len().div_ceil(cores).max(LEAST));
    thread::scope(|scope| {
        let threads: Vec<_> = parts.map(|part| scope.spawn(|| part.iter().map(&work).collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// Items that are worth a thread.
const LEAST: usize = 64;

#[cfg(test)]
mod tests {
    use super::map;

    #[test]
    fn results_have_the_order_of_the_items() {
        for count in [0, 1, 63, 64, 65, 1000] {
            let items: Vec<usize> = (0..count).collect();
            assert_eq!(map(&items, |item| item + 1), (1..=count).collect::<Vec<_>>());
        }
    }
}
