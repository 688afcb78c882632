//! Users and sessions to fill a store with, and short ways to do so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use phoenix_auth::model::{
    ActiveSession, Durable, Email, Identity, PasswordHash, Profile, Provider, Role, Seq, Session, SessionId,
    Timestamp, TokenHash, UserAgent, UserId,
};
use phoenix_auth::ports::{
    Credentials, ExternalOpened, ExternalProfile, FoundSession, LogPage, NewExternalSession, NewSession,
    NewUser, Rotated, Rotation, SessionOpened, SessionsEnded, UserCreated,
};
use uuid::Uuid;

use crate::harness::{Db, TestStore};

/// A moment that every test starts at.
pub(crate) const NOON: Timestamp = Timestamp::from_millis(1_790_000_000_000);
/// How long the sessions of tests live, in milliseconds.
pub(crate) const LIFETIME_MS: i64 = 3_600_000;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Identifiers in rising order, unique in the test process.
pub(crate) fn next_uuid() -> Uuid {
    Uuid::from_u64_pair(0x0190_0000_0000_7000, 0x8000_0000_0000_0000 | NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A hash that no other call returns.
pub(crate) fn next_hash() -> TokenHash {
    let mut bytes = [0xab; 32];
    bytes[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    TokenHash::from_bytes(bytes)
}

/// Milliseconds after [`NOON`].
pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(NOON.as_millis() + millis)
}

pub(crate) fn new_user(email: &str) -> NewUser {
    NewUser {
        id: UserId::from_uuid(next_uuid()),
        email: Email::parse(email).expect("an address"),
        password_hash: PasswordHash::from_stored(format!("$argon2id$of {email}")),
        role: Role::user(),
        profile: Profile::default(),
        created_at: NOON,
    }
}

pub(crate) fn new_session(user_id: UserId) -> NewSession {
    NewSession {
        session: Session {
            id: SessionId::from_uuid(next_uuid()),
            user_id,
            created_at: NOON,
            expires_at: at(LIFETIME_MS),
            last_seen_at: NOON,
            provider: Provider::Password,
            device: "Firefox on Linux".to_owned(),
            ip_address: Some("2001:db8::7".parse().expect("an address")),
            last_ip: Some("2001:db8::7".parse().expect("an address")),
            fingerprint: None,
        },
        token_hash: next_hash(),
        user_agent: UserAgent::new("Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"),
    }
}

/// A user as a provider knows them.
pub(crate) fn identity(subject: &str) -> Identity {
    Identity::new("stack:project", subject).expect("an identity")
}

/// What every outside session of these tests says about its user.
pub(crate) fn said(email: &str) -> ExternalProfile {
    let profile = Profile { username: Some("Ada".to_owned()), ..Profile::default() };
    ExternalProfile { email: Email::parse(email).ok(), email_verified: true, profile }
}

/// Hash of the provider's session of this name.
pub(crate) fn external_hash(name: &str) -> TokenHash {
    let mut bytes = [0xee; 32];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    TokenHash::from_bytes(bytes)
}

/// A session of this name, at most 32 bytes, for this user of the provider. Its token was issued at noon.
pub(crate) fn new_external(subject: &str, name: &str) -> NewExternalSession {
    let user_id = UserId::from_uuid(next_uuid());
    let NewSession { mut session, user_agent, .. } = new_session(user_id);
    session.provider = Provider::Stack;
    NewExternalSession {
        identity: identity(subject),
        user_id,
        profile: said("ada@example.com"),
        session,
        external_id: name.to_owned(),
        token_hash: external_hash(name),
        user_agent,
        issued_at: NOON,
        cap: None,
    }
}

/// Opens an outside session that must open.
pub(crate) async fn open_external(store: &dyn TestStore, new: &NewExternalSession) -> Arc<ActiveSession> {
    match store.open_external(new).await.map(Durable::acknowledge).expect("the store answers") {
        ExternalOpened::Opened { active, .. } => active,
        refused => unreachable!("{refused:?}"),
    }
}

/// Adds a user and returns its name.
pub(crate) async fn add_user(store: &dyn TestStore, email: &str) -> UserId {
    add(store, new_user(email)).await
}

/// Adds an administrator and returns its name.
pub(crate) async fn add_administrator(store: &dyn TestStore, email: &str) -> UserId {
    add(store, NewUser { role: Role::admin(), ..new_user(email) }).await
}

async fn add(store: &dyn TestStore, user: NewUser) -> UserId {
    let created = store.create_user(&user, None).await.map(Durable::acknowledge);
    assert!(matches!(created, Ok(UserCreated::Created)), "{created:?}");
    user.id
}

/// Opens a session for a user at its present epoch.
pub(crate) async fn sign_in(store: &dyn TestStore, user_id: UserId) -> NewSession {
    let session = new_session(user_id);
    open(store, &session).await;
    session
}

/// Opens this session at its user's present epoch.
pub(crate) async fn open(store: &dyn TestStore, session: &NewSession) {
    let epoch = credentials(store, session.session.user_id).await.auth_epoch;
    let opened = store.open_session(session, epoch, None, None).await.map(Durable::acknowledge);
    assert!(matches!(opened, Ok(SessionOpened::Opened(SessionsEnded { count: 0, .. }))), "{opened:?}");
}

pub(crate) async fn credentials(store: &dyn TestStore, user_id: UserId) -> Credentials {
    store.credentials_by_id(user_id).await.expect("the store answers").expect("the user exists")
}

impl Db {
    /// Looks a token up with no grace for replaced ones.
    pub(crate) async fn find(&self, hash: &TokenHash) -> Option<FoundSession> {
        self.find_since(hash, Timestamp::from_millis(i64::MAX)).await
    }

    /// Looks a token up; replaced ones count since `superseded_after`.
    pub(crate) async fn find_since(
        &self,
        hash: &TokenHash,
        superseded_after: Timestamp,
    ) -> Option<FoundSession> {
        self.store.find_session(hash, superseded_after).await.expect("the store answers")
    }

    pub(crate) async fn rotate(&self, rotation: &Rotation) -> Rotated {
        self.store.rotate_token(rotation).await.expect("the store answers").acknowledge()
    }

    pub(crate) async fn log_after(&self, seq: u64, limit: u32) -> LogPage {
        self.store.log_after(Seq(seq), limit).await.expect("the store answers")
    }

    pub(crate) async fn last_seq(&self) -> u64 {
        self.log_after(0, 0).await.last.0
    }
}
