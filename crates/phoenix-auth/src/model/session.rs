//! A session, and the rules by which time ends it.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{SessionId, Timestamp, User, UserId};

/// Who vouched for the user when the session was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// A password checked by Phoenix.
    Password,
}

impl Provider {
    /// The name, as in JSON and in a store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
        }
    }

    /// From the name in a store.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        (text == "password").then_some(Self::Password)
    }
}

/// An open session, without its token.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it ends whatever happens.
    pub expires_at: Timestamp,
    /// Last authenticated request, to within the coalescing step.
    pub last_seen_at: Timestamp,
    /// Who vouched for the user.
    pub provider: Provider,
    /// Short name of the device it was opened on.
    pub device: String,
    /// Address it was opened from.
    pub ip_address: Option<IpAddr>,
}

/// How long sessions live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionLimits {
    /// A session not used for this long ends.
    pub idle_timeout: Duration,
    /// A session older than this ends.
    pub absolute_timeout: Duration,
    /// `last_seen_at` is written at most this often; an idle time-out is exact to within it.
    pub last_seen_step: Duration,
}

/// What time has done to a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Liveness {
    /// Usable.
    Live,
    /// Usable, and its `last_seen_at` is a step old: it should be written.
    LiveUnrecorded,
    /// Not used for longer than the idle time-out.
    Idle,
    /// Older than the absolute time-out.
    Expired,
}

impl Session {
    /// When the session ends if it is not used again: never before `idle_timeout` has passed since the last
    /// request, at most one step after.
    #[must_use]
    pub fn idle_expires_at(&self, limits: &SessionLimits) -> Timestamp {
        self.last_seen_at.plus(limits.idle_timeout).plus(limits.last_seen_step).min(self.expires_at)
    }

    /// What time has done to the session by `now`.
    #[must_use]
    pub fn liveness(&self, now: Timestamp, limits: &SessionLimits) -> Liveness {
        if now >= self.expires_at {
            Liveness::Expired
        } else if now >= self.idle_expires_at(limits) {
            Liveness::Idle
        } else if now >= self.last_seen_at.plus(limits.last_seen_step) {
            Liveness::LiveUnrecorded
        } else {
            Liveness::Live
        }
    }
}

/// A session together with its user: what every tier holds and every request is answered from.
#[derive(Debug, Serialize, Deserialize)]
pub struct ActiveSession {
    /// The session.
    pub session: Session,
    /// Its user.
    pub user: User,
    /// Where the presentation layer keeps its rendered form of this value. Empty in every other tier.
    #[serde(skip)]
    pub rendered: OnceLock<Bytes>,
}

impl ActiveSession {
    /// Pairs a session with its user.
    #[must_use]
    pub fn new(session: Session, user: User) -> Self {
        Self { session, user, rendered: OnceLock::new() }
    }

    /// The same session, used at `now`.
    #[must_use]
    pub fn seen_at(&self, now: Timestamp) -> Self {
        let mut session = self.session.clone();
        let mut user = self.user.clone();
        session.last_seen_at = session.last_seen_at.max(now);
        user.last_active_at = user.last_active_at.max(Some(now));
        Self::new(session, user)
    }

    /// Upper estimate of the memory this value holds, in bytes, with its rendered form.
    #[must_use]
    pub fn weight(&self) -> usize {
        const RENDERED_FIXED: usize = 640;
        let text = self.user.heap_bytes() + self.session.device.len();
        size_of::<Self>() + 2 * text + RENDERED_FIXED
    }
}

/// A line of a user's list of sessions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionSummary {
    /// The session.
    pub session: Session,
    /// The `User-Agent` it was opened with.
    pub user_agent: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const LIMITS: SessionLimits = SessionLimits {
        idle_timeout: Duration::from_mins(10),
        absolute_timeout: Duration::from_hours(1),
        last_seen_step: Duration::from_mins(1),
    };

    fn session() -> Session {
        Session {
            id: SessionId::from_uuid(Uuid::nil()),
            user_id: UserId::from_uuid(Uuid::nil()),
            created_at: Timestamp::from_millis(0),
            expires_at: Timestamp::from_millis(3_600_000),
            last_seen_at: Timestamp::from_millis(0),
            provider: Provider::Password,
            device: "curl".into(),
            ip_address: None,
        }
    }

    // spec: A6
    #[test]
    fn idle_time_out_is_never_early_and_at_most_a_step_late() {
        let at = |millis| session().liveness(Timestamp::from_millis(millis), &LIMITS);
        assert_eq!(at(59_999), Liveness::Live);
        assert_eq!(at(60_000), Liveness::LiveUnrecorded);
        assert_eq!(at(600_000), Liveness::LiveUnrecorded);
        assert_eq!(at(659_999), Liveness::LiveUnrecorded);
        assert_eq!(at(660_000), Liveness::Idle);
    }

    // spec: A6
    #[test]
    fn absolute_time_out_is_exact() {
        let mut session = session();
        session.last_seen_at = Timestamp::from_millis(3_599_999);
        assert_eq!(session.liveness(Timestamp::from_millis(3_599_999), &LIMITS), Liveness::Live);
        assert_eq!(session.liveness(Timestamp::from_millis(3_600_000), &LIMITS), Liveness::Expired);
        assert_eq!(session.idle_expires_at(&LIMITS), session.expires_at);
    }
}
