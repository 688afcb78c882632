//! Tests of the files that `tests/interleavings` and `tests/weak_memory` compile again, which is why they do not stand
//! there.

mod freshness;
mod memory;
