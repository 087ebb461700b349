//! Bounded memories of what was verified before: a record, a contract, a key or a checkpoint is checked once, however many
//! batches name it.
//!
//! Each has a limit in bytes and lets go what was used least lately. What was let go is read and checked again when it is
//! asked for: nothing that a memory holds is the only copy.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bridge_suite::Digest;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use prometheus::IntCounter;

use crate::metrics::Metrics;

/// What a memory takes of one entry besides its content: key, places in lists, counters.
const ENTRY_BYTES: usize = 256;

/// What was verified, by its digest. Copies share their content.
pub(crate) struct Memory<V> {
    cache: Cache<Digest, V>,
    hits: IntCounter,
    misses: IntCounter,
    let_go: Arc<AtomicBool>,
}

impl<V: Clone + Send + Sync + 'static> Memory<V> {
    /// An empty one, by the word of its metrics; `weigh` gives an entry's bytes.
    pub(crate) fn new(
        word: &'static str,
        bytes_max: usize,
        metrics: &Metrics,
        weigh: fn(&V) -> usize,
    ) -> Memory<V> {
        let let_go = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&let_go);
        let cache = Cache::builder()
            .max_capacity(u64::try_from(bytes_max).unwrap_or(u64::MAX))
            .weigher(move |_, value| {
                u32::try_from(weigh(value).saturating_add(ENTRY_BYTES)).unwrap_or(u32::MAX)
            })
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(move |_, _, cause| {
                if cause.was_evicted() {
                    told.store(true, Ordering::Relaxed);
                }
            })
            .build();
        Memory {
            cache,
            hits: metrics.hits.with_label_values(&[word]),
            misses: metrics.misses.with_label_values(&[word]),
            let_go,
        }
    }

    /// What is held, counted as a hit or a miss.
    pub(crate) fn find(&self, digest: &Digest) -> Option<V> {
        let found = self.cache.get(digest);
        if found.is_some() {
            self.hits.inc()
        } else {
            self.misses.inc()
        }
        found
    }

    /// The same, counted nowhere.
    pub(crate) fn peek(&self, digest: &Digest) -> Option<V> {
        self.cache.get(digest)
    }

    pub(crate) fn keep(&self, digest: Digest, value: V) {
        self.cache.insert(digest, value);
    }

    /// Whether anything was let go for lack of room, so that a miss does not mean that it never came.
    pub(crate) fn has_let_go(&self) -> bool {
        self.cache.run_pending_tasks();
        self.let_go.load(Ordering::Relaxed)
    }
}

impl<V> Clone for Memory<V> {
    fn clone(&self) -> Memory<V> {
        Memory {
            cache: self.cache.clone(),
            hits: self.hits.clone(),
            misses: self.misses.clone(),
            let_go: Arc::clone(&self.let_go),
        }
    }
}

impl<V> fmt::Debug for Memory<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("entries", &self.cache.entry_count()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_suite::sha256;

    const BYTES_MAX: usize = 10 * (1000 + ENTRY_BYTES);

    #[test]
    fn a_full_memory_lets_go_what_was_used_least_lately_and_says_so() {
        let metrics = Metrics::new().unwrap();
        let memory: Memory<Vec<u8>> = Memory::new("test", BYTES_MAX, &metrics, Vec::len);
        let digest = |n: u8| sha256(&[&[n]]);
        for n in 0..10 {
            memory.keep(digest(n), vec![n; 1000]);
        }
        assert!(!memory.has_let_go());
        assert!(memory.find(&digest(0)).is_some());
        for n in 10..15 {
            memory.keep(digest(n), vec![n; 1000]);
        }
        assert!(memory.has_let_go());
        assert!(memory.cache.weighted_size() <= BYTES_MAX as u64);
        assert!(memory.find(&digest(0)).is_some() && memory.find(&digest(1)).is_none());
        let text = metrics.text();
        assert!(text.contains("govbridge_verify_cache_hits_total{cache=\"test\"} 2"), "{text}");
        assert!(text.contains("govbridge_verify_cache_misses_total{cache=\"test\"} 1"), "{text}");
    }
}
