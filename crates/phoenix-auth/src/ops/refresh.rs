//! Replace a session's token by its successor.

use super::{Auth, SignedIn};
use crate::error::AuthError;
use crate::model::{Durable, Liveness, SessionToken};
use crate::ports::{Rotated, Rotation};

impl Auth {
    /// Rotates the token. Requests that race with the same token are handed the same successor; a token that
    /// was replaced longer ago than the grace ends its session.
    ///
    /// # Errors
    /// `SessionEnded`, `TokenReplayed`, `Store`.
    pub async fn refresh(&self, presented: &SessionToken) -> Result<SignedIn, AuthError> {
        let now = self.now();
        let successor = presented.successor(&self.parts.keys);
        let rotation = Rotation {
            presented: presented.hash(&self.parts.keys),
            successor: successor.hash(&self.parts.keys),
            at: now,
            superseded_after: now.minus(self.parts.policy.refresh_grace),
        };
        match self.parts.store.rotate_token(&rotation).await.map(Durable::acknowledge)? {
            Rotated::Rotated(active, invalidation) => {
                self.parts.cache.invalidate(invalidation.as_slice()).await;
                let live = matches!(
                    active.session.liveness(now, &self.parts.policy.sessions),
                    Liveness::Live | Liveness::LiveUnrecorded
                );
                if live && self.may_sign_in(&active.user) {
                    Ok(SignedIn { token: successor, active: *active })
                } else {
                    Err(AuthError::SessionEnded)
                }
            }
            Rotated::Unknown => Err(AuthError::SessionEnded),
            Rotated::Replayed(user_id, invalidation) => {
                self.parts.cache.invalidate(invalidation.as_slice()).await;
                tracing::warn!(%user_id, "a replaced session token was presented again; the session was ended");
                Err(AuthError::TokenReplayed)
            }
        }
    }
}
