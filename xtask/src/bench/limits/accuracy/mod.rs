//! Part `accuracy`: are decisions what an exact log of admissions says?

mod contenders;
mod memory;
mod shared;
mod tally;

pub(super) use tally::Tally;

use anyhow::Result;

use crate::bench::report::Bar;

pub(super) fn run(quick: bool) -> Result<Vec<Bar>> {
    let mut bars = memory::run(quick)?;
    bars.extend(shared::run(quick)?);
    bars.extend(contenders::run(quick)?);
    Ok(bars)
}
