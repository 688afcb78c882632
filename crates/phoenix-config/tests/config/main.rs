//! The configuration from outside: every setting through every source, bad input, secrets, generated references.

mod bad_files;
mod entries;
mod every_setting;
mod gateway;
mod limits;
mod properties;
mod references;
mod renamed;
mod rules;
mod secrets;

use phoenix_config::{ConfigErrors, Loaded, Sources, load};

/// Loads what must be valid.
fn valid(sources: &Sources) -> Loaded {
    load(sources).map_err(|errors| errors.to_string()).expect("it must be valid")
}

/// Loads what must be refused.
fn refused(sources: &Sources) -> ConfigErrors {
    load(sources).expect_err("it must be refused")
}
