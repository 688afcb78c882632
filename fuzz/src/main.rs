//! What libFuzzer drives: one binary for all targets, so that one build serves them. `PHOENIX_FUZZ_TARGET` names the
//! target; `cargo xtask fuzz` sets it.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use phoenix_fuzz::Target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    #[expect(clippy::disallowed_methods, reason = "libFuzzer owns the command line")]
    let name = std::env::var("PHOENIX_FUZZ_TARGET").unwrap_or_default();
    phoenix_fuzz::named(&name).expect("PHOENIX_FUZZ_TARGET names a target; cargo xtask fuzz lists them")
});

fuzz_target!(|data: &[u8]| (TARGET.run)(data));
