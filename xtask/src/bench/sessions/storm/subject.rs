//! How the session of a round is made and revoked: the one thing in which storms differ.

use anyhow::{Result, ensure};
use futures_util::future::BoxFuture;
use phoenix_testkit::http::Client;
use phoenix_testkit::stack_auth::{FakeStackAuth, NewUser};
use serde_json::json;

use crate::bench::sessions::cluster::{log_in, me, token_of, with_token};

/// The password of the accounts that storms use.
const PASSWORD: &str = "seven green bicycles at noon";

/// A way to be signed in, and to end it.
pub(crate) trait Subject: Sync {
    /// For tables and bars.
    fn name(&self) -> &'static str;

    /// Signs in at `node`. Rounds that go on at once have different slots; a slot comes back in the next period, when
    /// what it was signed in to before has been revoked.
    ///
    /// # Errors
    /// When the node refuses.
    fn sign_in<'a>(&'a self, node: &'a Client, slot: usize) -> BoxFuture<'a, Result<SignedIn>>;
}

/// What a storm needs to know of a session, or of several that end together. All are complete, encoded requests, see
/// [`crate::bench::load::request`], which every node understands.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn {
    /// `GET /api/auth/me`, once for each session.
    pub(crate) asks: Vec<Vec<u8>>,
    /// Revokes all of them; acknowledged by a 2xx.
    pub(crate) revoke: Vec<u8>,
}

/// An account for each slot.
#[derive(Debug)]
struct Accounts(&'static str);

impl Accounts {
    async fn register(&self, node: &Client, slots: usize) -> Result<()> {
        for slot in 0..slots {
            let body = json!({"email": self.email(slot), "password": PASSWORD, "transport": "bearer"});
            let answer = node.post("/api/auth/register").json(&body).send().await?;
            ensure!(answer.status == 201, "registration failed: {}", answer.text());
            token_of(&answer)?;
        }
        Ok(())
    }

    async fn log_in(&self, node: &Client, slot: usize) -> Result<String> {
        log_in(node, &self.email(slot), PASSWORD).await
    }

    fn email(&self, slot: usize) -> String {
        format!("{}{slot}@example.com", self.0)
    }
}

/// One session, signed in with a password, ended by logging out.
#[derive(Debug)]
pub(crate) struct OneSession(Accounts);

impl OneSession {
    /// Makes the accounts.
    ///
    /// # Errors
    /// When the node refuses.
    pub(crate) async fn prepare(node: &Client, slots: usize) -> Result<Self> {
        let accounts = Accounts("storm");
        accounts.register(node, slots).await?;
        Ok(Self(accounts))
    }
}

impl Subject for OneSession {
    fn name(&self) -> &'static str {
        "one session"
    }

    fn sign_in<'a>(&'a self, node: &'a Client, slot: usize) -> BoxFuture<'a, Result<SignedIn>> {
        Box::pin(async move {
            let token = self.0.log_in(node, slot).await?;
            Ok(SignedIn { asks: vec![me(&token)], revoke: with_token("POST", "/api/auth/logout", &token) })
        })
    }
}

/// A session of Stack Auth, opened here by its first request and ended by logging out here. The access token stays
/// valid in itself for minutes: nothing but what the nodes tell each other ends it.
#[derive(Debug)]
pub(crate) struct StackSession<'a> {
    provider: &'a FakeStackAuth,
    /// One for each slot.
    users: Vec<String>,
}

impl<'a> StackSession<'a> {
    /// Makes the provider's users.
    pub(crate) fn prepare(provider: &'a FakeStackAuth, slots: usize) -> Self {
        let user = |slot| NewUser::normal().email(&format!("stack{slot}@example.com"));
        Self { provider, users: (0..slots).map(|slot| provider.create_user(user(slot)).id).collect() }
    }
}

impl Subject for StackSession<'_> {
    fn name(&self) -> &'static str {
        "Stack session"
    }

    fn sign_in<'a>(&'a self, node: &'a Client, slot: usize) -> BoxFuture<'a, Result<SignedIn>> {
        Box::pin(async move {
            let token = self.provider.sign_in(&self.users[slot]).access_token;
            let answer = node.get("/api/auth/me").bearer(&token).send().await?;
            ensure!(answer.status == 200, "a new Stack session was refused: {}", answer.text());
            Ok(SignedIn { asks: vec![me(&token)], revoke: with_token("POST", "/api/auth/logout", &token) })
        })
    }
}

/// Two sessions of one user, ended by one of them logging out everywhere.
#[derive(Debug)]
pub(crate) struct Everywhere(Accounts);

impl Everywhere {
    /// Makes the accounts.
    ///
    /// # Errors
    /// When the node refuses.
    pub(crate) async fn prepare(node: &Client, slots: usize) -> Result<Self> {
        let accounts = Accounts("everywhere");
        accounts.register(node, slots).await?;
        Ok(Self(accounts))
    }
}

impl Subject for Everywhere {
    fn name(&self) -> &'static str {
        "log out everywhere"
    }

    fn sign_in<'a>(&'a self, node: &'a Client, slot: usize) -> BoxFuture<'a, Result<SignedIn>> {
        Box::pin(async move {
            let first = self.0.log_in(node, slot).await?;
            let second = self.0.log_in(node, slot).await?;
            Ok(SignedIn {
                asks: vec![me(&first), me(&second)],
                revoke: with_token("DELETE", "/api/auth/sessions?scope=all", &second),
            })
        })
    }
}
