//! End the session a request came with.

use super::{Auth, Authenticated};
use crate::error::AuthError;
use crate::ports::{EndScope, StoreError};

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
        Ok(self.end_in_store(scope).await?)
    }

    pub(super) async fn end_in_store(&self, scope: EndScope) -> Result<u64, StoreError> {
        let ended = self.parts.store.end_sessions(scope, self.now()).await?.acknowledge();
        self.announce(&ended).await;
        Ok(ended.count)
    }
}
