//! The limits a deployment may set for accounts and sessions.

use std::time::Duration;

use crate::model::{HashParams, PasswordRules, SessionTimes};
use crate::ports::CapPolicy;

/// Everything configurable about accounts and sessions.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How long sessions live.
    pub sessions: SessionTimes,
    /// How many sessions a user may have at once, and what happens then. `None`: any number.
    pub session_cap: Option<(u32, CapPolicy)>,
    /// What is done when a session is used on another device or from another place.
    pub signals: SignalPolicy,
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

/// What is done about a signal. Of several signals the strongest reaction counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reaction {
    /// It is recorded.
    Observe,
    /// The request is refused: the user signs in again there. The session goes on elsewhere.
    Reauthenticate,
    /// The session ends.
    Revoke,
}

/// Reactions to signals about a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignalPolicy {
    /// The device differs from the one the session was opened on.
    pub device: Reaction,
    /// From which difference on, 0 to 100, a device is another one.
    pub device_threshold: u8,
    /// The network (IPv4 /24, IPv6 /48) is another than that of the last use.
    pub network: Reaction,
    /// The country is another than that of the last use.
    pub country: Reaction,
    /// The place of the last use is too far away for the time since.
    pub travel: Reaction,
}
