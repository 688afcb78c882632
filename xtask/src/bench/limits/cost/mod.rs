//! Part `cost`: time, allocations and calls of Redis of a decision.

mod memory;
mod redis;

use anyhow::Result;

use crate::bench::report::Bar;

pub(super) fn run(quick: bool) -> Result<Vec<Bar>> {
    let mut bars = memory::run(quick)?;
    bars.extend(redis::run(quick)?);
    Ok(bars)
}
