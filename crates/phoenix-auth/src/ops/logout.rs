//! End the session a request came with.

use super::{Auth, Authenticated};
use crate::error::AuthError;
use crate::ports::EndScope;

impl Auth {
    /// Ends the caller's own session. Ending one that has just ended elsewhere is a success too.
    ///
    /// # Errors
    /// `Store`.
    pub async fn logout(&self, caller: &Authenticated) -> Result<(), AuthError> {
        let session = &caller.active.session;
        self.end(EndScope::One(session.user_id, session.id)).await.map(|_| ())
    }

    pub(super) async fn end(&self, scope: EndScope) -> Result<u64, AuthError> {
        let ended = self.parts.store.end_sessions(scope, self.now()).await?.acknowledge();
        self.parts.cache.invalidate(&ended.invalidations).await;
        Ok(ended.count)
    }
}
