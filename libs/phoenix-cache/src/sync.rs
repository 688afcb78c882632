//! The concurrency primitives of the lease. Named in one place so that `tests/interleavings` and `tests/weak_memory`
//! can compile the same source with instrumented ones.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
pub(crate) use std::sync::{PoisonError, RwLock};
