//! Text that must not be seen. Owns that it is never printed and is wiped when dropped; not the copies that the
//! process was started with (its environment, the text of its configuration file).

use std::fmt;

use zeroize::Zeroizing;

/// What stands where a secret would.
pub(crate) const REDACTED: &str = "<redacted>";

/// A secret. `Debug` and `Display` print `<redacted>`; the memory is zeroed on drop. Deliberately not comparable:
/// whoever compares secrets chooses a constant-time comparison.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes ownership of the text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself. Every call is a place to look at in a review.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}
