//! What an administrator may do with accounts.

use super::Auth;
use crate::error::AuthError;
use crate::model::{Email, Role, User, UserId};
use crate::ports::{AccessChange, AccessChanged};

impl Auth {
    /// At most `limit` accounts after `after`, oldest first.
    ///
    /// # Errors
    /// `Store`.
    pub async fn users(&self, after: Option<UserId>, limit: u32) -> Result<Vec<User>, AuthError> {
        Ok(self.parts.store.users(after, limit).await?)
    }

    /// One account.
    ///
    /// # Errors
    /// `NotFound`, `Store`.
    pub async fn user(&self, id: UserId) -> Result<User, AuthError> {
        let known = self.parts.store.credentials_by_id(id).await?;
        known.map(|credentials| credentials.user).ok_or(AuthError::NotFound)
    }

    /// One account by its address.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`, `Store`.
    pub async fn user_by_email(&self, email: &str) -> Result<User, AuthError> {
        let email = Email::parse(email).map_err(|e| AuthError::field("email", e.to_string()))?;
        let known = self.parts.store.credentials(&email.key()).await?;
        known.map(|credentials| credentials.user).ok_or(AuthError::NotFound)
    }

    /// Changes role or access. Sessions end if anything changed: all of the user's when the account is disabled, those
    /// with a token of ours when the role changes.
    ///
    /// # Errors
    /// `NotFound`, `LastAdministrator`, `Store`.
    pub async fn change_access(
        &self,
        user_id: UserId,
        role: Option<Role>,
        disabled: Option<bool>,
    ) -> Result<User, AuthError> {
        let change = AccessChange { user_id, role, disabled, at: self.now() };
        match self.parts.store.change_access(&change).await?.acknowledge() {
            AccessChanged::Changed { user, ended } => {
                self.announce(&ended).await;
                Ok(*user)
            }
            AccessChanged::NotFound => Err(AuthError::NotFound),
            AccessChanged::LastAdministrator => Err(AuthError::LastAdministrator),
        }
    }
}
