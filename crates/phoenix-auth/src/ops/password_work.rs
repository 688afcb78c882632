//! The work that costs tens of milliseconds of CPU: hashing, verifying, and estimating a new password.
//! Pure; where it runs is the pool's concern.

use std::fmt;

use crate::model::{HashParams, Password, PasswordError, PasswordHash, PasswordHashError, PasswordRules};
use crate::ports::Entropy;

/// One piece of password work.
pub enum PasswordJob {
    /// Check a new password against the rules and hash it.
    Create {
        /// The new password.
        password: Password,
        /// What it must meet.
        rules: PasswordRules,
        /// Words that must not make it up.
        context: Vec<String>,
    },
    /// Check a password; hash it anew if the stored hash is weaker than today's cost.
    Verify {
        /// As typed.
        password: Password,
        /// As stored.
        hash: PasswordHash,
    },
}

/// What came of it.
#[derive(Debug)]
pub enum PasswordOutcome {
    /// The new password's hash.
    Created(PasswordHash),
    /// The new password does not meet the rules.
    Refused(PasswordError),
    /// The password is right. Holds a stronger hash if the stored one was too weak.
    Right(Option<PasswordHash>),
    /// The password is wrong.
    Wrong,
    /// Hashing failed.
    Failed(PasswordHashError),
}

impl PasswordJob {
    /// Does the work on this thread, at cost `params`.
    pub fn run(self, params: &HashParams, entropy: &dyn Entropy) -> PasswordOutcome {
        match self {
            Self::Create { password, rules, context } => {
                let context: Vec<&str> = context.iter().map(String::as_str).collect();
                match rules.check(&password, &context) {
                    Ok(()) => params
                        .hash(&password, entropy)
                        .map_or_else(PasswordOutcome::Failed, PasswordOutcome::Created),
                    Err(error) => PasswordOutcome::Refused(error),
                }
            }
            Self::Verify { password, hash } => match hash.verify(&password) {
                Ok(false) => PasswordOutcome::Wrong,
                Ok(true) if hash.is_weaker_than(params) => {
                    PasswordOutcome::Right(params.hash(&password, entropy).ok())
                }
                Ok(true) => PasswordOutcome::Right(None),
                Err(error) => PasswordOutcome::Failed(error),
            },
        }
    }
}

impl fmt::Debug for PasswordJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create { .. } => "PasswordJob::Create",
            Self::Verify { .. } => "PasswordJob::Verify",
        })
    }
}
