//! A session, and the rules by which time ends it.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Fingerprint, Remembered, Role, SessionId, Timestamp, User, UserId};

/// Who vouched for the user when the session was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// A password checked by Phoenix.
    Password,
    /// Stack Auth (Hexclave).
    Stack,
    /// Another `OpenID` Connect issuer.
    Oidc,
}

impl Provider {
    /// The name, as in JSON and in a store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Stack => "stack",
            Self::Oidc => "oidc",
        }
    }

    /// Whether the token of the session is somebody else's, so that it cannot be replaced here.
    #[must_use]
    pub const fn is_external(self) -> bool {
        match self {
            Self::Password => false,
            Self::Stack | Self::Oidc => true,
        }
    }

    /// From the name in a store.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Password, Self::Stack, Self::Oidc].into_iter().find(|provider| provider.as_str() == text)
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
    /// Address it was last used from, to within the coalescing step.
    pub last_ip: Option<IpAddr>,
    /// The device it was opened on, as far as it was recognised.
    pub fingerprint: Option<Fingerprint>,
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

/// How long sessions live, by the role of their user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionTimes {
    /// Of every role that is not named.
    pub default: SessionLimits,
    /// Shorter ones, each for a role.
    pub roles: Vec<(Role, SessionLimits)>,
}

impl SessionTimes {
    /// The limits for users of this role.
    #[must_use]
    pub fn of(&self, role: &Role) -> &SessionLimits {
        self.roles.iter().find(|(named, _)| named == role).map_or(&self.default, |(_, limits)| limits)
    }
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

/// The environments in which a session was last used and found in order: a few, so that two devices or an
/// application's own server that take turns do not push each other out. Zero is none.
#[derive(Debug, Default)]
pub struct SeenEnvironments {
    in_order: [AtomicU64; 2],
    /// What was noticed and recorded last.
    told: [AtomicU64; 2],
}

impl SeenEnvironments {
    /// Whether it is one of them.
    #[must_use]
    pub fn contains(&self, environment: u64) -> bool {
        self.in_order.iter().any(|seen| seen.load(Ordering::Relaxed) == environment)
    }

    /// Remembers it in place of the one remembered longest.
    pub fn remember(&self, environment: u64) {
        let [first, second] = &self.in_order;
        second.store(first.swap(environment, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Notes that what was noticed in an environment is being recorded, by a hash of both. False when it was before: a
    /// device that is refused asks again and again.
    #[must_use]
    pub fn tell(&self, noticed: u64) -> bool {
        let [first, second] = &self.told;
        loop {
            let latest = first.load(Ordering::Relaxed);
            if latest == noticed || second.load(Ordering::Relaxed) == noticed {
                return false;
            }
            // Of the requests that a page sends at once, one tells.
            if first.compare_exchange(latest, noticed, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                second.store(latest, Ordering::Relaxed);
                return true;
            }
        }
    }
}

impl Clone for SeenEnvironments {
    fn clone(&self) -> Self {
        let copy = |slots: &[AtomicU64; 2]| {
            slots.each_ref().map(|slot| AtomicU64::new(slot.load(Ordering::Relaxed)))
        };
        Self { in_order: copy(&self.in_order), told: copy(&self.told) }
    }
}

/// A session together with its user: what every tier holds and every request is answered from.
///
/// In this order, because a request of a session that is not asked about often waits for each piece of it to reach the
/// processor: what every request reads is then in four of them.
#[derive(Debug, Serialize, Deserialize)]
#[repr(C)]
pub struct ActiveSession {
    /// What the presentation layer tells others of this value, for as long as it keeps it. Empty in every other tier.
    #[serde(skip)]
    pub telling: Remembered,
    /// Environments that need no second look. Known in this process only.
    #[serde(skip)]
    pub environments: SeenEnvironments,
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
        Self {
            telling: Remembered::default(),
            environments: SeenEnvironments::default(),
            session,
            user,
            rendered: OnceLock::new(),
        }
    }

    /// The same session, used at `now` from `ip`.
    #[must_use]
    pub fn seen_at(&self, now: Timestamp, ip: Option<IpAddr>) -> Self {
        let mut session = self.session.clone();
        let mut user = self.user.clone();
        session.last_seen_at = session.last_seen_at.max(now);
        session.last_ip = ip.or(session.last_ip);
        user.last_active_at = user.last_active_at.max(Some(now));
        Self { environments: self.environments.clone(), ..Self::new(session, user) }
    }

    /// Upper estimate of the memory this value holds, in bytes, with its rendered form. Of what is remembered beside it,
    /// what is left when its keeper let go of it.
    #[must_use]
    pub fn weight(&self) -> usize {
        const RENDERED_FIXED: usize = 640;
        let text = self.user.heap_bytes() + self.session.device.len();
        size_of::<Self>() + 2 * text + RENDERED_FIXED + Remembered::MAX_BYTES
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
            last_ip: None,
            fingerprint: None,
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
    fn a_role_may_have_shorter_times() {
        let short = SessionLimits { idle_timeout: Duration::from_secs(5), ..LIMITS };
        let times = SessionTimes { default: LIMITS, roles: vec![(Role::admin(), short)] };
        assert_eq!(times.of(&Role::admin()), &short);
        assert_eq!(times.of(&Role::user()), &LIMITS);
    }

    #[test]
    fn two_environments_that_take_turns_are_both_remembered() {
        let seen = SeenEnvironments::default();
        seen.remember(1);
        seen.remember(2);
        assert!(seen.contains(1) && seen.contains(2));
        seen.remember(3);
        assert!(!seen.contains(1) && seen.contains(2) && seen.contains(3));
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
