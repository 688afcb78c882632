//! A Stack Auth (Hexclave) server for tests and benchmarks: in this process, on a free port of 127.0.0.1, with state,
//! faults on command and counters. It is written from the facts in the wire reference of Stack Auth; where the real
//! server is careless, so is this one: above all, an access token stays valid after its session is gone.
//!
//! This file owns the handle and its life; `control` is what tests do with it. `server` listens, `routes` answer, `state` remembers, `keys`, `token` and `forgery` make
//! tokens, `cookies` and `webhook` make what browsers and Svix send. It stores passwords in plain text and compares
//! them at once, so it tells nothing about the time of a real sign-in.

mod control;
mod cookies;
mod decode;
mod encoding;
mod errors;
mod faults;
mod forgery;
mod keys;
mod reply;
mod request;
mod routes;
mod server;
mod state;
mod token;
mod webhook;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use socket2::SockRef;
use tokio::sync::watch;

pub use cookies::{
    Cookie, CookieEncoding, access_cookie, authorization, refresh_cookie, refresh_cookie_for_domain,
    sdk_cookies, x_stack_auth,
};
pub use faults::{Fault, JwksMode, Route};
pub use forgery::{Forgery, PublicKeyForm};
pub use keys::{KeyIndex, UserType};
pub use request::SeenRequest;
pub use state::{NewUser, Project, Session, User};
pub use token::{ACCESS_TOKEN_LIFETIME_S, Inconsistency, IssuerHost, TokenSpec};
pub use webhook::{Delivery, WebhookEvent, WebhookFlaw, WebhookSender};

use crate::port;
use faults::Counters;
use keys::AudienceKeys;
use state::State;

/// The project that every fake has.
pub const PROJECT: &str = "c6f1a1c5-4b1e-4f0a-9a3c-5d1d2f7b8e90";
/// The server's secret until the keys are rotated.
const SERVER_SECRET: &str = "the-secret-of-the-fake";
/// Connections that may wait to be accepted: a benchmark opens a thousand at once.
const BACKLOG: i32 = 4096;

/// Tells the time in unix seconds.
type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How a fake is to be made.
#[derive(Clone)]
#[must_use = "options do nothing until the fake is started"]
pub struct Options {
    project: Project,
    server_secret: String,
    clock: Clock,
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Options").field("project", &self.project).finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            project: Project::new(PROJECT),
            server_secret: SERVER_SECRET.to_owned(),
            clock: Arc::new(system_clock),
        }
    }
}

impl Options {
    /// Another project than [`PROJECT`].
    pub fn project(mut self, project: Project) -> Self {
        self.project = project;
        self
    }

    /// The secret (`STACK_SERVER_SECRET`) that the keys follow from.
    pub fn server_secret(mut self, secret: &str) -> Self {
        secret.clone_into(&mut self.server_secret);
        self
    }

    /// Another clock, in unix seconds.
    pub fn clock(mut self, clock: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Starts the fake.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be made.
    pub fn start(self) -> Result<FakeStackAuth> {
        FakeStackAuth::start_with(self)
    }
}

fn system_clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock stands after 1970");
    i64::try_from(since.as_secs()).expect("the clock stands before the year 292 billion")
}

/// What the handle and the server's thread share.
struct Shared {
    own_url: String,
    clock: Clock,
    state: Mutex<State>,
    counters: Counters,
    /// Changes when faults end, so that hanging calls end, too.
    healed: watch::Sender<()>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_s(&self) -> i64 {
        (self.clock)()
    }

    fn keys(&self, audience: &str) -> Arc<AudienceKeys> {
        self.state().keys(audience)
    }

    fn mint(&self, spec: &TokenSpec) -> String {
        let host = self.state().issuer_host.clone();
        spec.mint(&host, &self.own_url, |audience| self.keys(audience))
    }

    /// A new token of a session, or nothing when its user is gone.
    fn access_token(&self, project: &str, session: &Session) -> Option<String> {
        let spec = self.state().tenancy(project)?.token_of(session, self.now_s())?;
        Some(self.mint(&spec))
    }
}

/// A running fake. Dropping it closes everything. Methods without a project act in the project of the options.
pub struct FakeStackAuth {
    address: SocketAddr,
    project: Project,
    shared: Arc<Shared>,
    stop: Option<watch::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl fmt::Debug for FakeStackAuth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FakeStackAuth").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A session with its tokens, as a client has them after sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// Whose session it is.
    pub user_id: String,
    /// The session, `refresh_token_id` in tokens.
    pub session_id: String,
    /// 45 characters.
    pub refresh_token: String,
    /// A JWT.
    pub access_token: String,
}

/// Starting, addresses, time.
impl FakeStackAuth {
    /// Starts a fake with the system's clock and one project, [`PROJECT`].
    ///
    /// # Errors
    /// When the thread or its runtime cannot be made.
    pub fn start() -> Result<Self> {
        Options::default().start()
    }

    fn start_with(options: Options) -> Result<Self> {
        let listener = port::listen();
        SockRef::from(&listener).listen(BACKLOG).context("make the queue of connections longer")?;
        listener.set_nonblocking(true).context("make the listener non-blocking")?;
        let address = listener.local_addr().context("ask for the listener's address")?;
        let mut state = State::new(options.server_secret);
        state.add_project(options.project.clone());
        let shared = Arc::new(Shared {
            own_url: format!("http://{address}"),
            clock: options.clock,
            state: Mutex::new(state),
            counters: Counters::default(),
            healed: watch::Sender::new(()),
        });
        let (stop, stopped) = watch::channel(());
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("make a runtime")?;
        let server = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("stack-auth".to_owned())
            .spawn(move || runtime.block_on(server::run(listener, server, stopped)))
            .context("start the fake's thread")?;
        Ok(Self { address, project: options.project, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The API's base address, `http://127.0.0.1:PORT`; paths begin with `/api/v1`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.shared.own_url
    }

    /// The project of the options with its keys.
    #[must_use]
    pub fn project(&self) -> &Project {
        &self.project
    }

    /// The project's id.
    #[must_use]
    pub fn project_id(&self) -> &str {
        &self.project.id
    }

    /// The fake's time, unix seconds.
    #[must_use]
    pub fn now_s(&self) -> i64 {
        self.shared.now_s()
    }

    /// One more project, without users.
    pub fn add_project(&self, project: Project) {
        self.shared.state().add_project(project);
    }
}

impl Drop for FakeStackAuth {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
