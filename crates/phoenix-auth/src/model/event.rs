//! Things that happened to an account or session that its owner or an administrator may want to know.

use std::net::IpAddr;

use super::{EventId, SessionId, Timestamp, UserId};

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident $name:literal;)+) => {
        /// What happened.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum EventKind { $($(#[$doc])* $variant,)+ }

        impl EventKind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name, as in JSON and in a store.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

kinds! {
    /// A token was presented that had been replaced long ago; its session ended.
    TokenReplayed "token-replayed";
    /// A session was used on a device unlike the one it was opened on.
    DeviceChanged "device-changed";
    /// A session was used from another network than before.
    NetworkChanged "network-changed";
    /// A session was used from another country than before.
    CountryChanged "country-changed";
    /// A session was used from two places too far apart for the time between.
    ImpossibleTravel "impossible-travel";
    /// A session ended because the user opened more than they may have.
    SessionEvicted "session-evicted";
    /// A session was refused because the user has as many as they may.
    SessionRefused "session-refused";
    /// A session ended because of what was observed about it.
    SessionRevoked "session-revoked";
    /// A session was found to have ended at the identity provider.
    EndedAtProvider "ended-at-provider";
    /// An account was found to be deleted at the identity provider.
    DeletedAtProvider "deleted-at-provider";
}

impl EventKind {
    /// From the name in a store.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|kind| kind.as_str() == text).copied()
    }
}

/// Longest detail in bytes.
pub const MAX_EVENT_DETAIL_BYTES: usize = 200;

/// One event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecurityEvent {
    /// Its name; ordered by time.
    pub id: EventId,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
    /// Whose account.
    pub user_id: UserId,
    /// Which session.
    pub session_id: Option<SessionId>,
    /// From where.
    pub ip: Option<IpAddr>,
    /// A short text of ours, at most 200 bytes, such as `difference 72 of 100`.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_read_back() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::from_stored(kind.as_str()), Some(*kind));
        }
        assert_eq!(EventKind::from_stored("other"), None);
    }
}
