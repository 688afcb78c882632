//! The use cases, one file each, as methods of [`Auth`].

mod administer;
mod authenticate;
mod bootstrap;
mod events;
mod external;
mod known_device;
mod login;
mod logout;
mod maintain;
mod password;
mod password_work;
mod refresh;
mod register;
mod sessions;
mod signals;

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{
    ActiveSession, Fingerprint, KeyRing, PasswordHash, Provider, Session, SessionId, SessionLimits,
    SessionToken, Timestamp, User, UserAgent, device_label,
};
use crate::policy::Policy;
use crate::ports::{
    Clock, Entropy, EventSink, GeoLocator, IdentityVerifier, NewSession, PasswordPool, SessionCache,
    SessionCap, Store,
};

pub use authenticate::{AuthenticateError, Authenticated, Credential, Rejection, Verdict};
pub use bootstrap::{FirstAdministrator, SpecialAccount};
pub use events::MAX_LISTED_EVENTS;
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
    /// Checks tokens of outside identity providers, if any are accepted.
    pub identity: Option<Arc<dyn IdentityVerifier>>,
    /// Tells where addresses are, if a file that knows is configured.
    pub geo: Option<Arc<dyn GeoLocator>>,
    /// Takes security events.
    pub events: Arc<dyn EventSink>,
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
    /// The device, as far as it can be recognised.
    pub fingerprint: Option<Fingerprint>,
    /// A hash of everything that tells devices and places apart; zero when it was not taken.
    pub environment: u64,
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

    /// Whether a text has the shape of an outside provider's token, and such tokens are accepted.
    #[must_use]
    pub fn takes_external(&self, text: &str) -> bool {
        self.parts.identity.as_ref().is_some_and(|verifier| verifier.has_shape(text))
    }

    /// Whether tokens of outside identity providers are accepted at all.
    #[must_use]
    pub fn has_identity_provider(&self) -> bool {
        self.parts.identity.is_some()
    }

    fn session_cap(&self, limits: &SessionLimits, now: Timestamp) -> Option<SessionCap> {
        let (most, policy) = self.parts.policy.session_cap?;
        // A step later than sessions end: the last use of one may still wait to be written.
        let idle_before = now.minus(limits.idle_timeout).minus(limits.last_seen_step * 2);
        Some(SessionCap { most, policy, idle_before })
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
            expires_at: now.plus(self.parts.policy.sessions.of(&user.role).absolute_timeout),
            last_seen_at: now,
            provider: Provider::Password,
            device: device_label(&client.user_agent),
            ip_address: client.ip,
            last_ip: client.ip,
            fingerprint: client.fingerprint,
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
