//! Projects, users, sessions and keys of the fake: what the routes read and tests change. No HTTP.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::encoding::{refresh_token, uuid};
use super::faults::{Faults, JwksMode, Route};
use super::keys::{AudienceKeys, UserType};
use super::request::SeenRequest;
use super::token::{IssuerHost, TokenSpec};

/// Most users and most sessions of one project; more is a mistake of the test.
const MOST: usize = 2_000_000;
/// Life of a session unless said otherwise, in milliseconds: a year.
pub(super) const SESSION_LIFETIME_MS: i64 = 365 * 24 * 60 * 60 * 1000;
/// Most projects.
const MOST_PROJECTS: usize = 1_000;

/// A project and its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its id, the `aud` of its tokens.
    pub id: String,
    /// `pck_...`.
    pub publishable_client_key: String,
    /// `ssk_...`.
    pub secret_server_key: String,
    /// `sak_...`.
    pub super_secret_admin_key: String,
    /// Whether calls of type client must bring the publishable key.
    pub requires_publishable_client_key: bool,
}

impl Project {
    /// A project with keys made of its id.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            publishable_client_key: format!("pck_{id}"),
            secret_server_key: format!("ssk_{id}"),
            super_secret_admin_key: format!("sak_{id}"),
            requires_publishable_client_key: false,
        }
    }
}

/// A user to be created.
#[derive(Clone, Debug)]
#[must_use = "a user exists once it is created"]
pub struct NewUser {
    user_type: UserType,
    name: Option<String>,
    email: Option<String>,
    password: Option<String>,
    requires_mfa: bool,
}

impl NewUser {
    /// A user of this type without name, e-mail address and password.
    pub fn new(user_type: UserType) -> Self {
        Self { user_type, name: None, email: None, password: None, requires_mfa: false }
    }

    /// A user who may use everything.
    pub fn normal() -> Self {
        Self::new(UserType::Normal)
    }

    /// A user with an unverified e-mail address.
    pub fn restricted() -> Self {
        Self::new(UserType::Restricted)
    }

    /// A user who has not signed up.
    pub fn anonymous() -> Self {
        Self::new(UserType::Anonymous)
    }

    /// With a display name.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// With an e-mail address.
    pub fn email(mut self, email: &str) -> Self {
        self.email = Some(email.to_owned());
        self
    }

    /// With a password, which needs an e-mail address to sign in.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// With a second factor, so that the password alone does not sign in.
    pub fn mfa(mut self) -> Self {
        self.requires_mfa = true;
        self
    }
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// `sub` of the user's tokens.
    pub id: String,
    /// Decides issuer, audience and key of the next token.
    pub user_type: UserType,
    /// Display name.
    pub name: Option<String>,
    /// Primary e-mail address; verified unless the user is restricted.
    pub email: Option<String>,
    /// In plain text.
    pub password: Option<String>,
    /// Whether a second factor is required.
    pub requires_mfa: bool,
    /// Unix seconds.
    pub signed_up_at_s: i64,
}

impl User {
    /// Null or why the user is restricted.
    pub(super) fn restricted_reason(&self) -> Value {
        match self.user_type {
            UserType::Normal => Value::Null,
            UserType::Restricted => json!({ "type": "email_not_verified" }),
            UserType::Anonymous => json!({ "type": "anonymous" }),
        }
    }
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// `refresh_token_id` of its tokens.
    pub id: String,
    /// Whose it is.
    pub user_id: String,
    /// 45 characters.
    pub refresh_token: String,
    /// Unix milliseconds.
    pub created_at_ms: i64,
    /// Unix milliseconds.
    pub last_used_at_ms: i64,
    /// Unix milliseconds.
    pub expires_at_ms: i64,
    /// Whether an administrator acts as the user.
    pub is_impersonation: bool,
}

/// The users and sessions of a project.
#[derive(Debug)]
pub(super) struct Tenancy {
    pub(super) project: Project,
    pub(super) users: HashMap<String, User>,
    by_email: HashMap<String, String>,
    sessions: HashMap<String, Session>,
    by_refresh_token: HashMap<String, String>,
    by_user: HashMap<String, Vec<String>>,
}

impl Tenancy {
    fn new(project: Project) -> Self {
        Self {
            project,
            users: HashMap::new(),
            by_email: HashMap::new(),
            sessions: HashMap::new(),
            by_refresh_token: HashMap::new(),
            by_user: HashMap::new(),
        }
    }

    pub(super) fn create_user(&mut self, new: NewUser, now_s: i64) -> User {
        assert!(self.users.len() < MOST, "a project has at most {MOST} users");
        let NewUser { user_type, name, email, password, requires_mfa } = new;
        let user = User { id: uuid(), user_type, name, email, password, requires_mfa, signed_up_at_s: now_s };
        if let Some(email) = &user.email {
            let taken = self.by_email.insert(email.clone(), user.id.clone());
            assert!(taken.is_none(), "the test creates two users with the address {email}");
        }
        self.users.insert(user.id.clone(), user.clone());
        user
    }

    /// Removes the user with all sessions.
    pub(super) fn delete_user(&mut self, id: &str) -> bool {
        let Some(user) = self.users.remove(id) else { return false };
        if let Some(email) = user.email {
            self.by_email.remove(&email);
        }
        for session in self.by_user.remove(id).unwrap_or_default() {
            self.forget_session(&session);
        }
        true
    }

    pub(super) fn user_by_email(&self, email: &str) -> Option<&User> {
        self.users.get(self.by_email.get(email)?)
    }

    pub(super) fn create_session(
        &mut self,
        user: &str,
        now_s: i64,
        lifetime_ms: i64,
        is_impersonation: bool,
    ) -> Option<Session> {
        assert!(self.sessions.len() < MOST, "a project has at most {MOST} sessions");
        let user_id = self.users.get(user)?.id.clone();
        let created_at_ms = now_s * 1000;
        let session = Session {
            id: uuid(),
            user_id: user_id.clone(),
            refresh_token: refresh_token(),
            created_at_ms,
            last_used_at_ms: created_at_ms,
            expires_at_ms: created_at_ms + lifetime_ms,
            is_impersonation,
        };
        self.by_refresh_token.insert(session.refresh_token.clone(), session.id.clone());
        self.by_user.entry(user_id).or_default().push(session.id.clone());
        self.sessions.insert(session.id.clone(), session.clone());
        Some(session)
    }

    pub(super) fn delete_session(&mut self, id: &str) -> bool {
        let Some(user) = self.forget_session(id) else { return false };
        if let Some(sessions) = self.by_user.get_mut(&user) {
            sessions.retain(|session| session != id);
        }
        true
    }

    fn forget_session(&mut self, id: &str) -> Option<String> {
        let session = self.sessions.remove(id)?;
        self.by_refresh_token.remove(&session.refresh_token);
        Some(session.user_id)
    }

    pub(super) fn session(&self, id: &str) -> Option<&Session> {
        self.sessions.get(id)
    }

    pub(super) fn session_mut(&mut self, id: &str) -> Option<&mut Session> {
        self.sessions.get_mut(id)
    }

    /// The session of a refresh token that has not expired; it counts as used.
    pub(super) fn refresh(&mut self, refresh_token: &str, now_s: i64) -> Option<Session> {
        let id = self.by_refresh_token.get(refresh_token)?;
        let session = self.sessions.get_mut(id)?;
        if session.expires_at_ms < now_s * 1000 {
            return None;
        }
        session.last_used_at_ms = now_s * 1000;
        Some(session.clone())
    }

    /// All sessions of a user, also expired ones, newest first.
    pub(super) fn sessions_of(&self, user: &str) -> Vec<Session> {
        let ids = self.by_user.get(user).map(Vec::as_slice).unwrap_or_default();
        ids.iter().rev().filter_map(|id| self.sessions.get(id)).cloned().collect()
    }

    /// What a token of this session says now.
    pub(super) fn token_of(&self, session: &Session, now_s: i64) -> Option<TokenSpec> {
        let user = self.users.get(&session.user_id)?;
        let spec = TokenSpec::new(&self.project.id, user.user_type, now_s)
            .user(&user.id)
            .session(&session.id)
            .claim("name", user.name.clone())
            .claim("email", user.email.clone())
            .claim("requires_totp_mfa", user.requires_mfa)
            .claim("signed_up_at", user.signed_up_at_s);
        Some(spec)
    }
}

/// Everything that can change.
#[derive(Debug)]
pub(super) struct State {
    server_secret: String,
    pub(super) issuer_host: IssuerHost,
    pub(super) jwks: JwksMode,
    pub(super) faults: Faults,
    pub(super) last: [Option<SeenRequest>; Route::ALL.len()],
    tenancies: HashMap<String, Tenancy>,
    /// Keys of the known projects' audiences, made when first asked for.
    keys: HashMap<String, Arc<AudienceKeys>>,
    /// Key ids that are published no more.
    dropped: HashSet<String>,
}

impl State {
    pub(super) fn new(server_secret: String) -> Self {
        Self {
            server_secret,
            issuer_host: IssuerHost::Own,
            jwks: JwksMode::Normal,
            faults: Faults::default(),
            last: Default::default(),
            tenancies: HashMap::new(),
            keys: HashMap::new(),
            dropped: HashSet::new(),
        }
    }

    pub(super) fn add_project(&mut self, project: Project) {
        assert!(self.tenancies.len() < MOST_PROJECTS, "a fake has at most {MOST_PROJECTS} projects");
        self.tenancies.insert(project.id.clone(), Tenancy::new(project));
    }

    pub(super) fn tenancy(&self, project: &str) -> Option<&Tenancy> {
        self.tenancies.get(project)
    }

    pub(super) fn tenancy_mut(&mut self, project: &str) -> Option<&mut Tenancy> {
        self.tenancies.get_mut(project)
    }

    /// The keys of any audience, as the server derives them from its secret.
    pub(super) fn keys(&mut self, audience: &str) -> Arc<AudienceKeys> {
        if let Some(keys) = self.keys.get(audience) {
            return Arc::clone(keys);
        }
        let keys = Arc::new(AudienceKeys::derive(&self.server_secret, audience));
        // Audiences come from clients, too; only those of known projects are kept.
        let project = audience.split(':').next().unwrap_or_default();
        let is_known = UserType::ALL.iter().any(|kind| kind.audience(project) == audience);
        if is_known && self.tenancies.contains_key(project) {
            self.keys.insert(audience.to_owned(), Arc::clone(&keys));
        }
        keys
    }

    /// Another server secret, hence other keys in all projects at once.
    pub(super) fn rotate(&mut self, server_secret: String) {
        self.server_secret = server_secret;
        self.keys.clear();
        self.dropped.clear();
    }

    pub(super) fn drop_key(&mut self, kid: String) {
        self.dropped.insert(kid);
    }

    pub(super) fn is_dropped(&self, kid: &str) -> bool {
        self.dropped.contains(kid)
    }

    /// The published keys of these types of user, each type's legacy key first.
    pub(super) fn jwks(&mut self, project: &str, types: &[UserType]) -> Vec<Value> {
        let keys: Vec<_> = types.iter().map(|kind| self.keys(&kind.audience(project))).collect();
        let published = keys.iter().flat_map(|keys| keys.both()).filter(|key| !self.is_dropped(&key.kid));
        published.map(super::keys::SigningKey::jwk).collect()
    }
}
