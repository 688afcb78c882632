//! The limits a deployment may set for accounts and sessions.

use std::time::Duration;

use crate::model::{HashParams, PasswordRules, SessionLimits};

/// Everything configurable about accounts and sessions.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How long sessions live.
    pub sessions: SessionLimits,
    /// A token that was refreshed may be presented again for this long.
    pub refresh_grace: Duration,
    /// What a new password must meet.
    pub password: PasswordRules,
    /// Cost of a new hash.
    pub hash: HashParams,
    /// Whether strangers may register.
    pub registration_open: bool,
    /// Whether the demonstration accounts may be used.
    pub demo_accounts: bool,
    /// Whether the account for automatic tests may be used.
    pub test_account: bool,
}
