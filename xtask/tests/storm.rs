//! The storm of `cargo xtask bench sessions` on debug builds: one period, in which nothing is broken.

use std::path::{Path, PathBuf};

use anyhow::Result;
use xtask::bench::{build, sessions};

/// The server that the tests of the whole workspace have built, else a new build.
fn phoenix() -> Result<PathBuf> {
    let built = Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("phoenix");
    if built.is_file() { Ok(built) } else { build::debug("phoenix", "phoenix") }
}

#[test]
fn a_period_without_a_fault_holds_the_bound() -> Result<()> {
    let tally = sessions::short_storm(&phoenix()?, 1)?;
    assert_eq!((tally.rounds(), tally.late()), (6, 0));
    let bars = tally.bars("storm");
    let value = |what: &str| bars.iter().find(|bar| bar.name.ends_with(what)).map(|bar| bar.value);
    assert_eq!(value("revokes not acknowledged"), Some(0.0));
    assert_eq!(value("refused while signed in"), Some(0.0));
    assert_eq!(value("failed where the database is reached"), Some(0.0));
    Ok(())
}
