//! What threads can do to each other inside the lease: the very source files of the lease and of the memory, compiled
//! here with shuttle's atomics and locks, under every schedule of small scenarios and under random schedules of a large
//! one.
//!
//! Not proved here: shuttle runs one thread at a time and treats every atomic as sequentially consistent, so orderings
//! that are too weak go unseen (`weak_memory` looks for them); and `quick_cache` is not instrumented, so each of its
//! operations is one step.

mod model;
mod schedules;

#[expect(dead_code, unreachable_pub, reason = "a part of the library, compiled with other primitives")]
#[path = "../../src/freshness.rs"]
mod freshness;
#[expect(dead_code, unreachable_pub, reason = "a part of the library")]
#[path = "../../src/key.rs"]
mod key;
#[expect(dead_code, unreachable_pub, reason = "a part of the library, compiled with other primitives")]
#[path = "../../src/memory.rs"]
mod memory;

/// Stands for `src/sync.rs`.
mod sync {
    pub(crate) use shuttle::sync::atomic::{AtomicU64, Ordering};
    pub(crate) use shuttle::sync::{PoisonError, RwLock};
}
