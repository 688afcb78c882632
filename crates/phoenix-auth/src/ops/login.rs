//! Exchange an email and a password for a session.

use super::{Auth, ClientInfo, PasswordJob, PasswordOutcome, SignedIn};
use crate::error::AuthError;
use crate::model::{
    ActiveSession, Durable, Email, EventKind, Password, PasswordHash, Role, Seq, SessionId, User,
};
use crate::ports::{Credentials, SessionOpened, SessionsEnded, Stale};

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
    /// `InvalidCredentials`, `AccountDisabled` (only with the right password), `SessionCapReached`, `Invalid`, `Busy`,
    /// `Store`.
    pub async fn login(&self, request: LoginRequest) -> Result<SignedIn, AuthError> {
        let email = Email::parse(&request.email).map_err(|e| AuthError::field("email", e.to_string()))?;
        let password =
            Password::new(request.password).map_err(|e| AuthError::field("password", e.to_string()))?;
        // Before anything is read that the caches will be filled with.
        let stamp = self.parts.cache.stamp();
        let known = self.parts.store.credentials(&email.key()).await?;
        let Some(credentials) = self.verify(known, password).await? else {
            return Err(AuthError::InvalidCredentials);
        };
        if !self.may_sign_in(&credentials.user) {
            return Err(AuthError::AccountDisabled);
        }
        let now = self.now();
        let (token, session) = self.prepare_session(&credentials.user, &request.client, now);
        let cap = self.session_cap(self.parts.policy.sessions.of(&credentials.user.role), now);
        let store = &self.parts.store;
        let opened = store.open_session(&session, credentials.auth_epoch, request.replaces, cap).await?;
        match opened.acknowledge() {
            SessionOpened::Opened(ended) => {
                self.announce(&ended).await;
                let user = User { last_active_at: Some(now), ..credentials.user };
                let signed = SignedIn::new(token, session.session, user);
                self.note_evictions(&ended, request.replaces, &signed.active, &request.client);
                Ok(self.keep(signed, stamp))
            }
            // The password was changed or the account disabled between our check and now.
            SessionOpened::Refused => Err(AuthError::InvalidCredentials),
            SessionOpened::CapReached => {
                let refused = ActiveSession::new(session.session, credentials.user);
                self.note_event(EventKind::SessionRefused, &refused, &request.client, String::new());
                Err(AuthError::SessionCapReached)
            }
        }
    }

    /// Refuses a sign-in without looking at the password, as if it were wrong: the same steps, the same work, the same
    /// answer. For guesses at an account that is attacked from many places.
    ///
    /// # Errors
    /// Always: `InvalidCredentials`, or what else [`Auth::login`] answers before it knows whether the password is
    /// right.
    pub async fn refuse_login(&self, request: LoginRequest) -> Result<SignedIn, AuthError> {
        let email = Email::parse(&request.email).map_err(|e| AuthError::field("email", e.to_string()))?;
        let password =
            Password::new(request.password).map_err(|e| AuthError::field("password", e.to_string()))?;
        let _unused = self.parts.store.credentials(&email.key()).await?;
        // The decoy's: it is nobody's password.
        let _wrong = self.verify(None, password).await?;
        Err(AuthError::InvalidCredentials)
    }

    /// Fills the caches with what was just opened, so that its first use finds it.
    pub(super) fn keep(&self, signed: SignedIn, stamp: Seq) -> SignedIn {
        let SignedIn { token, active } = &signed;
        let copy = ActiveSession::new(active.session.clone(), active.user.clone());
        self.parts.cache.opened(&token.hash(&self.parts.keys), copy, stamp);
        signed
    }

    pub(super) fn note_evictions(
        &self,
        ended: &SessionsEnded,
        replaced: Option<SessionId>,
        active: &ActiveSession,
        client: &ClientInfo,
    ) {
        for entry in &ended.invalidations {
            if let Stale::Session(id) = entry.stale
                && Some(id) != replaced
            {
                self.note_event(EventKind::SessionEvicted, active, client, format!("session {id}"));
            }
        }
    }

    /// The credentials, if the password is theirs. Verifies against a decoy when there are none.
    pub(super) async fn verify(
        &self,
        known: Option<Credentials>,
        password: Password,
    ) -> Result<Option<Credentials>, AuthError> {
        // An account without a password is as if there were none.
        let known = known.filter(|known| known.password_hash.is_some());
        let hash = known.as_ref().and_then(|known| known.password_hash.clone());
        let hash = hash.unwrap_or_else(|| self.decoy.clone());
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
        let Some(present) = &known.password_hash else { return };
        let outcome = self.parts.store.upgrade_password_hash(known.user.id, present, stronger).await;
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
