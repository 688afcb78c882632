//! In step with Stack Auth: sessions that ended here are ended there, and sessions in use are checked there.
//!
//! Stack Auth sends no message when a session ends (only when a user is changed or deleted), so the sessions seen
//! lately are asked for, a bounded number a second. Nothing here decides whether a request is let in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use phoenix_auth::Auth;
use phoenix_auth::model::{Identity, SessionId, UserId};
use phoenix_auth::ports::{Clock, EndedExternal};
use phoenix_identity::{StackApi, StackApiError};
use tokio::sync::mpsc;

use super::Providers;
use crate::lifecycle::Lifecycle;

/// Most users watched. At the bound new ones are not checked until others are forgotten.
const MAX_USERS: usize = 100_000;
/// Most sessions of one user watched.
const MAX_SESSIONS: usize = 64;
/// A user not seen for so long is no longer checked: their token is over, and the next brings them back.
const FORGET_AFTER: Duration = Duration::from_mins(15);
/// Users are looked through this often.
const TICK: Duration = Duration::from_secs(1);
/// Most users asked for in one tick.
const CALLS_PER_TICK: usize = 20;
/// Pause after a call failed, when the provider does not say how long.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(10);
/// Ended sessions waiting for the provider to be told. At the bound new ones are dropped: they stay ended here.
const QUEUE: usize = 4096;
/// Tries to tell the provider, each after twice the pause of the one before.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How a session is written in `VerifiedToken::session`, before the provider's own name of it.
const SESSION_PREFIX: &str = "session:";

/// What is known of the project's sessions.
pub(crate) struct StackSync {
    issuer: String,
    poll_interval: Duration,
    watched: Mutex<Watched>,
    to_tell: mpsc::Sender<EndedExternal>,
    told: Mutex<Option<mpsc::Receiver<EndedExternal>>>,
}

#[derive(Default)]
struct Watched {
    users: HashMap<String, User>,
    /// Monotonic time of the last tick: users are seen between two of them.
    now: Duration,
}

struct User {
    id: UserId,
    /// By the provider's name.
    sessions: HashMap<String, Session>,
    seen_at: Duration,
    check_at: Duration,
}

struct Session {
    id: SessionId,
    /// Whether the provider has listed it. One that it never listed is not missed: an administrator may be behind it.
    listed: bool,
}

impl StackSync {
    pub(super) fn new(issuer: String, poll_interval: Duration) -> Self {
        let (to_tell, told) = mpsc::channel(QUEUE);
        Self { issuer, poll_interval, watched: Mutex::default(), to_tell, told: Mutex::new(Some(told)) }
    }

    /// How the project is named as an issuer.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(super) fn seen(&self, subject: &str, session: &str, user_id: UserId, session_id: SessionId) {
        let Some(session) = session.strip_prefix(SESSION_PREFIX) else { return };
        let mut watched = self.lock();
        let now = watched.now;
        if !watched.users.contains_key(subject) && watched.users.len() >= MAX_USERS {
            return;
        }
        let user = watched.users.entry(subject.to_owned()).or_insert_with(|| User {
            id: user_id,
            sessions: HashMap::new(),
            seen_at: now,
            check_at: now + self.poll_interval,
        });
        (user.id, user.seen_at) = (user_id, now);
        if user.sessions.len() < MAX_SESSIONS || user.sessions.contains_key(session) {
            user.sessions
                .entry(session.to_owned())
                .and_modify(|known| known.id = session_id)
                .or_insert(Session { id: session_id, listed: false });
        }
    }

    pub(super) fn ended(&self, sessions: &[EndedExternal]) {
        for ended in sessions.iter().filter(|ended| ended.identity.issuer() == self.issuer) {
            if self.to_tell.try_send(ended.clone()).is_err() {
                tracing::warn!(
                    "too many ended sessions wait; Stack Auth is not told of one, which stays ended here"
                );
            }
        }
    }

    /// Users whose turn it is, at most [`CALLS_PER_TICK`]; forgets those not seen for long.
    fn due(&self, now: Duration) -> Vec<String> {
        let mut watched = self.lock();
        watched.now = now;
        watched.users.retain(|_, user| now.saturating_sub(user.seen_at) < FORGET_AFTER);
        let mut due: Vec<_> = watched.users.iter_mut().filter(|(_, user)| user.check_at <= now).collect();
        due.sort_by_key(|(_, user)| user.check_at);
        due.truncate(CALLS_PER_TICK);
        due.into_iter()
            .map(|(subject, user)| {
                user.check_at = now + self.poll_interval;
                subject.clone()
            })
            .collect()
    }

    /// Sessions that the provider listed before and lists no more.
    fn compare(&self, subject: &str, listed: &[String]) -> Vec<(UserId, SessionId)> {
        let mut watched = self.lock();
        let Some(user) = watched.users.get_mut(subject) else { return Vec::new() };
        let mut gone = Vec::new();
        user.sessions.retain(|name, session| {
            if listed.contains(name) {
                session.listed = true;
                return true;
            }
            if session.listed {
                gone.push((user.id, session.id));
            }
            !session.listed
        });
        gone
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts what runs beside requests: keys refreshed ahead, and with Stack Auth sessions checked and ended there.
pub(crate) fn run(lifecycle: &Lifecycle, providers: &Arc<Providers>, auth: &Auth, clock: &Arc<dyn Clock>) {
    let (keys, time) = (Arc::clone(providers), Arc::clone(clock));
    let life = lifecycle.clone();
    lifecycle.spawn("identity providers' keys", async move {
        loop {
            let now = time.mono();
            let next = keys.identity.refresh_keys(now).await;
            let pause = next.saturating_sub(time.mono()).clamp(TICK, Duration::from_secs(5));
            if !life.pause(pause).await {
                return;
            }
        }
    });
    let Some(stack) = &providers.stack else { return };
    if !stack.poll_interval.is_zero() {
        let work = poll(lifecycle.clone(), Arc::clone(providers), auth.clone(), Arc::clone(clock));
        lifecycle.spawn("Stack Auth sessions", work);
    }
    let told = stack.told.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(told) = told {
        let (work, stopping) =
            (tell(lifecycle.clone(), Arc::clone(providers), told), lifecycle.stopping().clone());
        lifecycle.spawn("Stack Auth sign-outs", async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = work => {}
            }
        });
    }
}

async fn poll(lifecycle: Lifecycle, providers: Arc<Providers>, auth: Auth, clock: Arc<dyn Clock>) {
    let (Some(stack), Some(api)) = (&providers.stack, providers.identity.stack()) else { return };
    let mut pause = TICK;
    while lifecycle.pause(pause).await {
        pause = TICK;
        for subject in stack.due(clock.mono()) {
            if lifecycle.stopping().is_cancelled() {
                return;
            }
            if let Err(error) = check(stack, api, &auth, &subject).await {
                pause = failed(&error);
                break;
            }
        }
    }
}

async fn check(stack: &StackSync, api: &StackApi, auth: &Auth, subject: &str) -> Result<(), StackApiError> {
    let Some(identity) = Identity::new(&stack.issuer, subject) else { return Ok(()) };
    let outcome = match api.sessions(subject).await? {
        None => auth.deleted_at_provider(&identity).await.map(|_| ()),
        Some(listed) => {
            let listed: Vec<_> = listed.into_iter().map(|session| session.id).collect();
            let mut outcome = Ok(());
            for (user_id, session_id) in stack.compare(subject, &listed) {
                outcome = outcome.and(auth.ended_at_provider(user_id, session_id).await);
            }
            outcome
        }
    };
    if let Err(error) = outcome {
        tracing::warn!(?error, "a session that ended at Stack Auth could not be ended here");
    }
    Ok(())
}

fn failed(error: &StackApiError) -> Duration {
    let cause = error as &dyn std::error::Error;
    tracing::warn!(error = cause, "Stack Auth could not be asked which sessions there are");
    match error {
        StackApiError::RateLimited { retry_after: Some(pause) } => (*pause).max(TICK),
        _ => PAUSE_AFTER_FAILURE,
    }
}

async fn tell(lifecycle: Lifecycle, providers: Arc<Providers>, mut told: mpsc::Receiver<EndedExternal>) {
    let Some(api) = providers.identity.stack() else { return };
    while let Some(ended) = told.recv().await {
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=TRIES {
            match end_there(api, &ended).await {
                Ok(()) => break,
                Err(error) if attempt == TRIES || !error.is_outage() => {
                    let cause = &error as &dyn std::error::Error;
                    tracing::warn!(
                        error = cause,
                        "Stack Auth was not told of an ended session, which stays ended here"
                    );
                    break;
                }
                Err(_) => {
                    if !lifecycle.pause(pause).await {
                        return;
                    }
                    pause *= 2;
                }
            }
        }
    }
}

async fn end_there(api: &StackApi, ended: &EndedExternal) -> Result<(), StackApiError> {
    let subject = ended.identity.subject();
    if let Some(session) = &ended.session {
        let name = session.strip_prefix(SESSION_PREFIX).unwrap_or(session);
        return api.end_session(subject, name).await.map(|_| ());
    }
    for session in api.sessions(subject).await?.unwrap_or_default() {
        api.end_session(subject, &session.id).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn sync() -> StackSync {
        StackSync::new("stack:p".to_owned(), Duration::from_mins(1))
    }

    fn user(number: u128) -> UserId {
        UserId::from_uuid(Uuid::from_u128(number))
    }

    fn session(number: u128) -> SessionId {
        SessionId::from_uuid(Uuid::from_u128(number))
    }

    // spec: A10
    #[test]
    fn a_session_is_missed_only_after_it_was_listed() {
        let sync = sync();
        sync.seen("u", "session:one", user(1), session(1));
        sync.seen("u", "session:two", user(1), session(2));
        assert!(sync.compare("u", &["one".to_owned()]).is_empty(), "the second was never listed");
        assert_eq!(sync.compare("u", &[]), [(user(1), session(1))]);
        assert!(sync.compare("u", &[]).is_empty(), "ended once");
    }

    #[test]
    fn users_are_checked_once_in_an_interval_and_forgotten_when_they_are_gone() {
        let sync = sync();
        sync.due(Duration::from_secs(1));
        sync.seen("u", "session:one", user(1), session(1));
        assert!(sync.due(Duration::from_mins(1)).is_empty());
        assert_eq!(sync.due(Duration::from_secs(61)), ["u"]);
        assert!(sync.due(Duration::from_secs(62)).is_empty());
        assert!(sync.due(Duration::from_secs(1) + FORGET_AFTER).is_empty());
        assert!(sync.lock().users.is_empty());
    }

    #[test]
    fn calls_of_one_tick_are_bounded_and_everybody_has_a_turn() {
        let sync = sync();
        for number in 0..50 {
            sync.seen(&format!("u{number}"), "session:s", user(number), session(number));
        }
        let mut seen = std::collections::HashSet::new();
        for tick in 0..3 {
            let due = sync.due(Duration::from_secs(60 + tick));
            assert!(due.len() <= CALLS_PER_TICK);
            seen.extend(due);
        }
        assert_eq!(seen.len(), 50);
    }

    #[test]
    fn sessions_of_one_user_are_bounded_and_other_tokens_are_not_watched() {
        let sync = sync();
        for number in 0..200 {
            sync.seen("u", &format!("session:{number}"), user(1), session(number));
        }
        sync.seen("v", "token:x", user(2), session(1));
        let watched = sync.lock();
        assert_eq!(watched.users.get("u").map(|user| user.sessions.len()), Some(MAX_SESSIONS));
        assert!(!watched.users.contains_key("v"));
    }
}
