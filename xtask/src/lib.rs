//! What `cargo xtask` can do, one module per command. A library, so that its own tests and the benchmarks share the
//! load generator. Nothing here is part of the product.
#![expect(
    clippy::disallowed_methods,
    reason = "a developer's tool measures real time and reads its environment"
)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to its user")]

pub mod bench;
pub mod check;
pub mod dist;
pub mod fuzz;
pub mod regen;
mod shell;
pub mod spec;
pub mod test;
