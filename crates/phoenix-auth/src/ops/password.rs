//! Change a password.

use super::{Auth, Authenticated, ClientInfo, SignedIn};
use crate::error::AuthError;
use crate::model::{Password, User, UserId};
use crate::ports::{Credentials, PasswordChange, SessionOpened};

/// What a signed-in user sends.
#[derive(Debug)]
pub struct PasswordRequest {
    /// The password in use.
    pub current: String,
    /// The one to be used.
    pub new: String,
    /// Where they are.
    pub client: ClientInfo,
}

impl Auth {
    /// Changes the caller's password, ends all their sessions, and goes on with a new one.
    ///
    /// # Errors
    /// `InvalidCredentials` when the current password is wrong, `Invalid`, `SharedAccount`, `ExternalSession`,
    /// `SessionEnded`,
    /// `Busy`, `Store`.
    pub async fn change_password(
        &self,
        caller: &Authenticated,
        request: PasswordRequest,
    ) -> Result<SignedIn, AuthError> {
        if caller.active.user.role.is_shared() {
            return Err(AuthError::SharedAccount);
        }
        if caller.active.session.provider.is_external() {
            return Err(AuthError::ExternalSession);
        }
        let current =
            Password::new(request.current).map_err(|e| AuthError::field("currentPassword", e.to_string()))?;
        let new = Password::new(request.new).map_err(|e| AuthError::field("newPassword", e.to_string()))?;
        let known = self.parts.store.credentials_by_id(caller.active.user.id).await?;
        let Some(Credentials { user, auth_epoch, .. }) = self.verify(known, current).await? else {
            return Err(AuthError::InvalidCredentials);
        };
        let password_hash = self.new_password_hash("newPassword", new, address(&user)).await?;
        let at = self.now();
        let (token, session) = self.prepare_session(&user, &request.client, at);
        let shown = session.session.clone();
        let change =
            PasswordChange { user_id: user.id, auth_epoch, password_hash, session: Some(session), at };
        self.apply(change).await.map_err(|error| match error {
            AuthError::NotFound => AuthError::SessionEnded,
            other => other,
        })?;
        Ok(SignedIn::new(token, shown, user))
    }

    /// Sets a password without the current one, and ends all sessions: for administrators at the command line.
    ///
    /// # Errors
    /// `NotFound`, `ExternalSession` when an outside provider vouches for the user, `Invalid`, `Busy`, `Store`.
    pub async fn reset_password(&self, user_id: UserId, new: String) -> Result<(), AuthError> {
        let new = Password::new(new).map_err(|e| AuthError::field("password", e.to_string()))?;
        let Some(known) = self.parts.store.credentials_by_id(user_id).await? else {
            return Err(AuthError::NotFound);
        };
        if known.password_hash.is_none() {
            // Nobody could sign in with it: an outside identity provider vouches for this user.
            return Err(AuthError::ExternalSession);
        }
        let context = address(&known.user);
        let password_hash = self.new_password_hash("password", new, context).await?;
        let at = self.now();
        let auth_epoch = known.auth_epoch;
        self.apply(PasswordChange { user_id, auth_epoch, password_hash, session: None, at }).await
    }

    async fn apply(&self, change: PasswordChange) -> Result<(), AuthError> {
        match self.parts.store.change_password(&change).await?.acknowledge() {
            SessionOpened::Opened(ended) => {
                self.announce(&ended).await;
                Ok(())
            }
            SessionOpened::Refused | SessionOpened::CapReached => Err(AuthError::NotFound),
        }
    }
}

/// Words that a password must not be built on.
fn address(user: &User) -> Vec<String> {
    user.email.iter().map(|email| email.as_str().to_owned()).collect()
}
