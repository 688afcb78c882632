//! The `phoenix` binary: the allocator, and the exit code.

use std::process::ExitCode;

/// Half the memory of the system's allocator under our load, and as fast (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    phoenix::cli::main()
}
