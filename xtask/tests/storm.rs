//! The storm and the part with a provider of `cargo xtask bench sessions` on debug builds: small, and nothing is broken.

use std::path::{Path, PathBuf};

use anyhow::Result;
use xtask::bench::report::Limit;
use xtask::bench::{build, sessions};

/// The server that the tests of the whole workspace have built, else a new build.
fn phoenix() -> Result<PathBuf> {
    let built = Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("phoenix");
    if built.is_file() { Ok(built) } else { build::debug("phoenix", "phoenix") }
}

#[test]
fn a_period_without_a_fault_holds_the_bound() -> Result<()> {
    for tally in sessions::short_storms(&phoenix()?, 1)? {
        assert_eq!((tally.rounds(), tally.late()), (6, 0));
        let bars = tally.bars("storm");
        let value = |what: &str| bars.iter().find(|bar| bar.name.ends_with(what)).map(|bar| bar.value);
        assert_eq!(value("revokes not acknowledged"), Some(0.0));
        assert_eq!(value("refused while signed in"), Some(0.0));
        assert_eq!(value("failed where the database is reached"), Some(0.0));
    }
    Ok(())
}

#[test]
fn the_provider_is_asked_seldom_and_a_new_user_is_made_once() -> Result<()> {
    let bars = sessions::short_provider(&phoenix()?)?;
    // How fast a debug build is says nothing.
    let missed: Vec<_> = bars.iter().filter(|bar| !bar.pass && !bar.name.contains("faster")).collect();
    assert!(missed.is_empty(), "{missed:?}");
    assert!(bars.iter().filter(|bar| bar.bar != Limit::None).count() >= 6, "{bars:?}");
    Ok(())
}
