//! What a test does with a running fake: users and sessions, tokens and keys, faults and counters.

use std::time::Duration;

use serde_json::Value;

use super::faults::{Fault, Faults, JwksMode, Route};
use super::forgery::Forgery;
use super::keys::{AudienceKeys, KeyIndex, UserType};
use super::request::SeenRequest;
use super::state::{NewUser, SESSION_LIFETIME_MS, Session, Tenancy, User};
use super::token::{IssuerHost, TokenSpec};
use super::{FakeStackAuth, SignedIn, encoding};

/// Secrets tried until one gives a short coordinate; each key does with probability 1/128.
const ATTEMPTS: u32 = 10_000;

/// Users and sessions.
impl FakeStackAuth {
    fn tenancy<T>(&self, change: impl FnOnce(&mut Tenancy) -> T) -> T {
        let mut state = self.shared.state();
        change(state.tenancy_mut(&self.project.id).expect("projects are never removed"))
    }

    /// Creates a user.
    ///
    /// # Panics
    /// When another user has the same e-mail address.
    #[must_use]
    pub fn create_user(&self, user: NewUser) -> User {
        let now_s = self.now_s();
        self.tenancy(|tenancy| tenancy.create_user(user, now_s))
    }

    /// A user as the fake has it now.
    #[must_use]
    pub fn user(&self, id: &str) -> Option<User> {
        self.tenancy(|tenancy| tenancy.users.get(id).cloned())
    }

    /// Makes the user one of another type; tokens issued before keep theirs.
    ///
    /// # Panics
    /// When there is no such user.
    #[track_caller]
    pub fn set_user_type(&self, id: &str, user_type: UserType) {
        let done = self.tenancy(|tenancy| tenancy.users.get_mut(id).map(|user| user.user_type = user_type));
        assert!(done.is_some(), "there is no user {id}");
    }

    /// Deletes a user with all sessions.
    ///
    /// # Panics
    /// When there is no such user.
    #[track_caller]
    pub fn delete_user(&self, id: &str) {
        assert!(self.tenancy(|tenancy| tenancy.delete_user(id)), "there is no user {id}");
    }

    /// Signs a user in.
    ///
    /// # Panics
    /// When there is no such user.
    #[must_use]
    pub fn sign_in(&self, user: &str) -> SignedIn {
        let now_s = self.now_s();
        let session = self.tenancy(|tenancy| tenancy.create_session(user, now_s, SESSION_LIFETIME_MS, false));
        let session = session.unwrap_or_else(|| panic!("there is no user {user} to sign in"));
        let access_token = self.access_token(&session.id).expect("its user was there just now");
        let Session { id, user_id, refresh_token, .. } = session;
        SignedIn { user_id, session_id: id, refresh_token, access_token }
    }

    /// Creates a user of this type and signs it in.
    #[must_use]
    pub fn sign_up(&self, user: NewUser) -> SignedIn {
        let user = self.create_user(user);
        self.sign_in(&user.id)
    }

    /// A session as the fake has it now.
    #[must_use]
    pub fn session(&self, id: &str) -> Option<Session> {
        self.tenancy(|tenancy| tenancy.session(id).cloned())
    }

    /// All sessions of a user, newest first.
    #[must_use]
    pub fn sessions_of(&self, user: &str) -> Vec<Session> {
        self.tenancy(|tenancy| tenancy.sessions_of(user))
    }

    /// Deletes a session, as a sign-out at Stack would. Its access tokens stay valid.
    ///
    /// # Panics
    /// When there is no such session.
    #[track_caller]
    pub fn delete_session(&self, id: &str) {
        assert!(self.tenancy(|tenancy| tenancy.delete_session(id)), "there is no session {id}");
    }

    /// Lets a session expire one second ago. It is still listed, as at Stack.
    ///
    /// # Panics
    /// When there is no such session.
    #[track_caller]
    pub fn expire_session(&self, id: &str) {
        let at_ms = (self.now_s() - 1) * 1000;
        let done =
            self.tenancy(|tenancy| tenancy.session_mut(id).map(|session| session.expires_at_ms = at_ms));
        assert!(done.is_some(), "there is no session {id}");
    }
}

/// Tokens and keys.
impl FakeStackAuth {
    /// A new access token of a session, as a refresh gives it; nothing when the session is gone.
    #[must_use]
    pub fn access_token(&self, session: &str) -> Option<String> {
        Some(self.mint(&self.token_of(session)?))
    }

    /// What a token of this session says now, to be changed; nothing when the session is gone.
    #[must_use]
    pub fn token_of(&self, session: &str) -> Option<TokenSpec> {
        let now_s = self.now_s();
        self.tenancy(|tenancy| tenancy.token_of(tenancy.session(session)?, now_s))
    }

    /// A valid token of this type, to be changed. Its user and session need not exist.
    pub fn token(&self, user_type: UserType) -> TokenSpec {
        TokenSpec::new(&self.project.id, user_type, self.now_s())
    }

    /// Makes the token.
    #[must_use]
    pub fn mint(&self, spec: &TokenSpec) -> String {
        self.shared.mint(spec)
    }

    /// A forged token: [`FakeStackAuth::mint`] of `spec` with that forgery.
    #[must_use]
    pub fn forge(&self, spec: &TokenSpec, forgery: Forgery) -> String {
        self.mint(&spec.clone().forged(forgery))
    }

    /// Every forgery there is. `jku` and `x5u` point to this fake ([`Route::AttackerJwks`]); the other project is
    /// `another-project`, whose keys the fake derives as it derives all.
    #[must_use]
    pub fn forgeries(&self) -> Vec<Forgery> {
        Forgery::all(&format!("{}/attacker/jwks.json", self.url()), "another-project")
    }

    /// The address in front of the issuer in tokens from now on.
    pub fn set_issuer_host(&self, host: IssuerHost) {
        self.shared.state().issuer_host = host;
    }

    /// The key id of a key of the project.
    #[must_use]
    pub fn kid(&self, user_type: UserType, index: KeyIndex) -> String {
        self.shared.keys(&user_type.audience(&self.project.id)).get(index).kid.clone()
    }

    /// The published JWKs of the project for these types of user.
    #[must_use]
    pub fn jwks(&self, types: &[UserType]) -> Vec<Value> {
        self.shared.state().jwks(&self.project.id, types)
    }

    /// Swaps all keys at once, as a new server secret does. Tokens signed before are refused from now on.
    pub fn rotate_keys(&self) {
        self.shared.state().rotate(encoding::uuid());
    }

    /// Swaps all keys for ones of which the legacy key of this type has a coordinate shorter than 32 bytes.
    pub fn rotate_to_short_coordinate(&self, user_type: UserType) {
        let audience = user_type.audience(&self.project.id);
        let secrets = (0..ATTEMPTS).map(|attempt| format!("short-{attempt}"));
        let mut short = secrets.filter(|secret| AudienceKeys::derive(secret, &audience).legacy.is_short());
        let secret = short.next().expect("one of 128 keys has a short coordinate");
        self.shared.state().rotate(secret);
    }

    /// Takes a key out of the key set, and refuses its tokens. Minting with it stays possible.
    pub fn drop_key(&self, user_type: UserType, index: KeyIndex) {
        let kid = self.kid(user_type, index);
        self.shared.state().drop_key(kid);
    }
}

/// Faults and counters.
impl FakeStackAuth {
    /// What the key set's route answers from now on.
    pub fn set_jwks(&self, mode: JwksMode) {
        self.shared.state().jwks = mode;
        self.shared.healed.send_replace(());
    }

    /// Delays every answer of every route.
    pub fn set_latency(&self, latency: Duration) {
        for route in Route::ALL {
            self.set_latency_of(route, latency);
        }
    }

    /// Delays every answer of a route.
    pub fn set_latency_of(&self, route: Route, latency: Duration) {
        self.shared.state().faults.set_latency(route, latency);
    }

    /// Every call of the route meets the fault from now on.
    pub fn fail(&self, route: Route, fault: Fault) {
        self.shared.state().faults.plan(route, fault, None);
    }

    /// The next `times` calls of the route meet the fault, later ones do not.
    pub fn fail_times(&self, route: Route, fault: Fault, times: u64) {
        self.shared.state().faults.plan(route, fault, Some(times));
    }

    /// Every call of every route meets the fault from now on.
    pub fn fail_all(&self, fault: &Fault) {
        for route in Route::ALL {
            self.fail(route, fault.clone());
        }
    }

    /// Ends all faults and delays; calls that hang end with a reset.
    pub fn heal(&self) {
        {
            let mut state = self.shared.state();
            state.faults = Faults::default();
            state.jwks = JwksMode::Normal;
        }
        self.shared.healed.send_replace(());
    }

    /// Calls of a route so far; a call counts before anything is answered.
    #[must_use]
    pub fn calls(&self, route: Route) -> u64 {
        self.shared.counters.calls(route)
    }

    /// Calls of all routes so far.
    #[must_use]
    pub fn total_calls(&self) -> u64 {
        Route::ALL.into_iter().map(|route| self.calls(route)).sum()
    }

    /// Calls of a route that are not answered yet.
    #[must_use]
    pub fn running(&self, route: Route) -> u64 {
        self.shared.counters.running(route)
    }

    /// Most calls of a route that were under way at once.
    #[must_use]
    pub fn most_running(&self, route: Route) -> u64 {
        self.shared.counters.most_running(route)
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.counters.connections()
    }

    /// Starts counting from zero.
    pub fn reset_counters(&self) {
        self.shared.counters.reset();
    }

    /// What a route was last called with.
    #[must_use]
    pub fn last_request(&self, route: Route) -> Option<SeenRequest> {
        self.shared.state().last[route as usize].clone()
    }
}
