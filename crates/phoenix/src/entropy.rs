//! The one place where the process asks for randomness.

use phoenix_auth::ports::Entropy;

/// The operating system's generator.
#[derive(Clone, Copy, Debug)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the source of randomness")]
    fn fill(&self, out: &mut [u8]) {
        getrandom::fill(out).expect("the operating system gives randomness; no token may be made without it");
    }
}

/// A random number.
pub fn number(entropy: &dyn Entropy) -> u64 {
    let mut bytes = [0; 8];
    entropy.fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
