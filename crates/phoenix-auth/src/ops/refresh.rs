//! Replace a session's token by its successor.

use super::{Auth, ClientInfo, SignedIn};
use crate::error::AuthError;
use crate::model::{Durable, EventId, EventKind, Liveness, SecurityEvent, SessionToken, UserId};
use crate::ports::{Invalidation, Rotated, Rotation, Stale};

impl Auth {
    /// Rotates the token. Requests that race with the same token are handed the same successor; a token that
    /// was replaced longer ago than the grace ends its session.
    ///
    /// # Errors
    /// `SessionEnded`, `TokenReplayed`, `Store`.
    pub async fn refresh(
        &self,
        presented: &SessionToken,
        client: &ClientInfo,
    ) -> Result<SignedIn, AuthError> {
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
                    active.session.liveness(now, self.parts.policy.sessions.of(&active.user.role)),
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
                self.note_replay(user_id, invalidation.as_ref(), client);
                Err(AuthError::TokenReplayed)
            }
        }
    }

    fn note_replay(&self, user_id: UserId, ended: Option<&Invalidation>, client: &ClientInfo) {
        let at = self.now();
        let session_id = match ended.map(|entry| entry.stale) {
            Some(Stale::Session(id)) => Some(id),
            Some(Stale::User(_)) | None => None,
        };
        let (kind, detail) = (EventKind::TokenReplayed, String::new());
        let id = EventId::generate(at, &*self.parts.entropy);
        self.parts.events.note(SecurityEvent { id, at, kind, user_id, session_id, ip: client.ip, detail });
    }
}
