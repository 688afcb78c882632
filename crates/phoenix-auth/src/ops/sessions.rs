//! List and end sessions: a user their own, an administrator anybody's.

use super::{Auth, Authenticated};
use crate::error::AuthError;
use crate::model::{Liveness, SessionId, SessionSummary, UserId};
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
}

impl Auth {
    /// The caller's live sessions, the last used first, at most 500.
    ///
    /// # Errors
    /// `Store`.
    pub async fn own_sessions(&self, caller: &Authenticated) -> Result<Vec<SessionLine>, AuthError> {
        let own = caller.active.session.id;
        let sessions = self.live_sessions(caller.active.user.id).await?;
        Ok(sessions
            .into_iter()
            .map(|summary| SessionLine { current: summary.session.id == own, summary })
            .collect())
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
    pub async fn sessions_of(&self, user_id: UserId) -> Result<Vec<SessionSummary>, AuthError> {
        self.user(user_id).await?;
        self.live_sessions(user_id).await
    }

    /// Ends one session of any user, for an administrator.
    ///
    /// # Errors
    /// `NotFound`, `Store`.
    pub async fn end_session_of(&self, user_id: UserId, id: SessionId) -> Result<(), AuthError> {
        found(self.end(EndScope::One(user_id, id)).await?)
    }

    async fn live_sessions(&self, user_id: UserId) -> Result<Vec<SessionSummary>, AuthError> {
        let now = self.now();
        let limits = self.parts.policy.sessions;
        let mut sessions = self.parts.store.sessions_of(user_id, MAX_LISTED).await?;
        sessions.retain(|summary| {
            matches!(summary.session.liveness(now, &limits), Liveness::Live | Liveness::LiveUnrecorded)
        });
        Ok(sessions)
    }
}

fn found(count: u64) -> Result<(), AuthError> {
    if count == 0 { Err(AuthError::NotFound) } else { Ok(()) }
}
