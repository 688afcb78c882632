//! List and end sessions: a user their own, an administrator anybody's.

use super::{Auth, Authenticated};
use crate::error::AuthError;
use crate::model::{Country, Liveness, SessionId, SessionSummary, User, UserId};
use crate::ports::EndScope;

/// Most sessions listed at once; the last used come first.
const MAX_LISTED: u32 = 500;

/// A line of a list of sessions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionLine {
    /// The session.
    pub summary: SessionSummary,
    /// Whether it is the caller's own.
    pub current: bool,
    /// Country of the address it was last used from, if a file that knows is configured.
    pub country: Option<Country>,
}

impl Auth {
    /// The caller's live sessions, the last used first, at most 500.
    ///
    /// # Errors
    /// `Store`.
    pub async fn own_sessions(&self, caller: &Authenticated) -> Result<Vec<SessionLine>, AuthError> {
        let own = caller.active.session.id;
        let sessions = self.live_sessions(&caller.active.user).await?;
        Ok(sessions.into_iter().map(|summary| self.line(summary, Some(own))).collect())
    }

    /// Ends one of the caller's sessions.
    ///
    /// # Errors
    /// `NotFound` when the caller has no such session, `Store`.
    pub async fn end_own_session(&self, caller: &Authenticated, id: SessionId) -> Result<(), AuthError> {
        found(self.end(EndScope::One(caller.active.user.id, id)).await?)
    }

    /// Ends all of the caller's sessions but the present one. Returns how many.
    ///
    /// # Errors
    /// `Store`.
    pub async fn end_other_sessions(&self, caller: &Authenticated) -> Result<u64, AuthError> {
        self.end(EndScope::Others(caller.active.user.id, caller.active.session.id)).await
    }

    /// Ends all sessions of a user. Returns how many.
    ///
    /// # Errors
    /// `Store`.
    pub async fn end_all_sessions(&self, user_id: UserId) -> Result<u64, AuthError> {
        self.end(EndScope::All(user_id)).await
    }

    /// Any user's live sessions, for an administrator.
    ///
    /// # Errors
    /// `NotFound`, `Store`.
    pub async fn sessions_of(&self, user_id: UserId) -> Result<(User, Vec<SessionLine>), AuthError> {
        let user = self.user(user_id).await?;
        let sessions = self.live_sessions(&user).await?;
        let lines = sessions.into_iter().map(|summary| self.line(summary, None)).collect();
        Ok((user, lines))
    }

    /// Ends one session of any user, for an administrator.
    ///
    /// # Errors
    /// `NotFound`, `Store`.
    pub async fn end_session_of(&self, user_id: UserId, id: SessionId) -> Result<(), AuthError> {
        found(self.end(EndScope::One(user_id, id)).await?)
    }

    fn line(&self, summary: SessionSummary, own: Option<SessionId>) -> SessionLine {
        let session = &summary.session;
        let place = session.last_ip.or(session.ip_address).zip(self.parts.geo.as_ref());
        let country = place.and_then(|(ip, geo)| geo.locate(ip)).and_then(|place| place.country);
        SessionLine { current: Some(session.id) == own, country, summary }
    }

    async fn live_sessions(&self, user: &User) -> Result<Vec<SessionSummary>, AuthError> {
        let now = self.now();
        let limits = self.parts.policy.sessions.of(&user.role);
        let mut sessions = self.parts.store.sessions_of(user.id, MAX_LISTED).await?;
        sessions.retain(|summary| {
            matches!(summary.session.liveness(now, limits), Liveness::Live | Liveness::LiveUnrecorded)
        });
        Ok(sessions)
    }
}

fn found(count: u64) -> Result<(), AuthError> {
    if count == 0 { Err(AuthError::NotFound) } else { Ok(()) }
}
