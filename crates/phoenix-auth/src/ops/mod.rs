//! The use cases, one file each, as methods of [`Auth`].

mod administer;
mod authenticate;
mod bootstrap;
mod login;
mod logout;
mod maintain;
mod password;
mod password_work;
mod refresh;
mod register;
mod sessions;

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{
    ActiveSession, KeyRing, PasswordHash, Provider, Session, SessionId, SessionToken, Timestamp, User,
    UserAgent, device_label,
};
use crate::policy::Policy;
use crate::ports::{Clock, Entropy, NewSession, PasswordPool, SessionCache, Store};

pub use authenticate::{Authenticated, Rejection};
pub use bootstrap::{FirstAdministrator, SpecialAccount};
pub use login::LoginRequest;
pub use maintain::CleanUp;
pub use password::PasswordRequest;
pub use password_work::{PasswordJob, PasswordOutcome};
pub use register::RegisterRequest;
pub use sessions::SessionLine;

/// What the use cases need, put together by the composition root.
#[derive(Clone)]
pub struct Parts {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// The tiers in front of it.
    pub cache: Arc<dyn SessionCache>,
    /// Where passwords are hashed.
    pub passwords: Arc<dyn PasswordPool>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Keys of this instance.
    pub keys: KeyRing,
    /// Limits of this deployment.
    pub policy: Policy,
}

/// The use cases. Cheap to clone.
#[derive(Clone)]
pub struct Auth {
    parts: Arc<Parts>,
    /// Verified against when there is no such user, so that the answer takes the same time.
    decoy: PasswordHash,
}

/// Where a request comes from.
#[derive(Clone, Debug, Default)]
pub struct ClientInfo {
    /// Its address.
    pub ip: Option<IpAddr>,
    /// Its `User-Agent`.
    pub user_agent: UserAgent,
}

/// The outcome of everything that opens or renews a session.
#[derive(Debug)]
pub struct SignedIn {
    /// To be handed to the client, once.
    pub token: SessionToken,
    /// The session and its user.
    pub active: ActiveSession,
}

impl Auth {
    /// Puts the use cases together.
    ///
    /// # Errors
    /// `Hashing` when the policy's hash parameters are not allowed.
    pub fn new(parts: Parts) -> Result<Self, crate::AuthError> {
        let decoy = parts.policy.hash.decoy(&*parts.entropy).map_err(crate::AuthError::Hashing)?;
        Ok(Self { parts: Arc::new(parts), decoy })
    }

    /// The limits in force.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.parts.policy
    }

    /// Keys of this instance.
    #[must_use]
    pub fn keys(&self) -> &KeyRing {
        &self.parts.keys
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now().wall
    }

    /// A new session for `user`, not stored yet.
    fn prepare_session(
        &self,
        user: &User,
        client: &ClientInfo,
        now: Timestamp,
    ) -> (SessionToken, NewSession) {
        let token = SessionToken::generate(&*self.parts.entropy);
        let session = Session {
            id: SessionId::generate(now, &*self.parts.entropy),
            user_id: user.id,
            created_at: now,
            expires_at: now.plus(self.parts.policy.sessions.absolute_timeout),
            last_seen_at: now,
            provider: Provider::Password,
            device: device_label(&client.user_agent),
            ip_address: client.ip,
        };
        let token_hash = token.hash(&self.parts.keys);
        (token, NewSession { session, token_hash, user_agent: client.user_agent.clone() })
    }
}

impl SignedIn {
    fn new(token: SessionToken, session: Session, user: User) -> Self {
        Self { token, active: ActiveSession::new(session, user) }
    }
}
