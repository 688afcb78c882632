//! Exchange an email and a password for a session.

use super::{Auth, ClientInfo, PasswordJob, PasswordOutcome, SignedIn};
use crate::error::AuthError;
use crate::model::{Durable, Email, Password, PasswordHash, Role, SessionId, User};
use crate::ports::{Credentials, SessionOpened};

/// What a user sends.
#[derive(Debug)]
pub struct LoginRequest {
    /// Address, not yet checked.
    pub email: String,
    /// Password, not yet checked.
    pub password: String,
    /// Where they are.
    pub client: ClientInfo,
    /// The session they are signed in with already. It ends: signing in again makes a new one.
    pub replaces: Option<SessionId>,
}

impl Auth {
    /// Opens a session.
    ///
    /// An unknown address and a wrong password take the same path, the same time, and give the same answer.
    ///
    /// # Errors
    /// `InvalidCredentials`, `AccountDisabled` (only with the right password), `Invalid`, `Busy`, `Store`.
    pub async fn login(&self, request: LoginRequest) -> Result<SignedIn, AuthError> {
        let email = Email::parse(&request.email).map_err(|e| AuthError::field("email", e.to_string()))?;
        let password =
            Password::new(request.password).map_err(|e| AuthError::field("password", e.to_string()))?;
        let known = self.parts.store.credentials(&email.key()).await?;
        let Some(credentials) = self.verify(known, password).await? else {
            return Err(AuthError::InvalidCredentials);
        };
        if !self.may_sign_in(&credentials.user) {
            return Err(AuthError::AccountDisabled);
        }
        let now = self.now();
        let (token, session) = self.prepare_session(&credentials.user, &request.client, now);
        let opened = self
            .parts
            .store
            .open_session(&session, credentials.auth_epoch, request.replaces)
            .await?
            .acknowledge();
        match opened {
            SessionOpened::Opened(replaced) => {
                self.parts.cache.invalidate(replaced.as_slice()).await;
                let mut user = credentials.user;
                user.last_active_at = Some(now);
                Ok(SignedIn::new(token, session.session, user))
            }
            // The password was changed or the account disabled between our check and now.
            SessionOpened::Refused => Err(AuthError::InvalidCredentials),
        }
    }

    /// The credentials, if the password is theirs. Verifies against a decoy when there are none.
    pub(super) async fn verify(
        &self,
        known: Option<Credentials>,
        password: Password,
    ) -> Result<Option<Credentials>, AuthError> {
        let hash = known.as_ref().map_or_else(|| self.decoy.clone(), |c| c.password_hash.clone());
        match self.parts.passwords.run(PasswordJob::Verify { password, hash }).await? {
            PasswordOutcome::Right(stronger) => {
                if let (Some(known), Some(stronger)) = (&known, &stronger) {
                    self.upgrade(known, stronger).await;
                }
                Ok(known)
            }
            PasswordOutcome::Wrong => Ok(None),
            PasswordOutcome::Failed(error) => Err(AuthError::Hashing(error)),
            PasswordOutcome::Created(_) | PasswordOutcome::Refused(_) => {
                unreachable!("a Verify job is answered with Right, Wrong or Failed")
            }
        }
    }

    /// Stores a stronger hash. Signing in does not depend on it; the next login tries again.
    async fn upgrade(&self, known: &Credentials, stronger: &PasswordHash) {
        let outcome =
            self.parts.store.upgrade_password_hash(known.user.id, &known.password_hash, stronger).await;
        match outcome.map(Durable::acknowledge) {
            Ok(upgraded) => tracing::info!(user_id = %known.user.id, upgraded, "password hash upgraded"),
            Err(error) => tracing::warn!(user_id = %known.user.id, ?error, "password hash not upgraded"),
        }
    }

    /// Whether the account may have sessions at all.
    pub(super) fn may_sign_in(&self, user: &User) -> bool {
        !user.disabled
            && (user.role != Role::demo() || self.parts.policy.demo_accounts)
            && (user.role != Role::test() || self.parts.policy.test_account)
    }
}
