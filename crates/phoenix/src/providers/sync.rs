//! In step with Stack Auth: sessions in use are checked there. What ended here is told by `tell.rs`.
//!
//! Stack Auth sends no message when a session ends (only when a user is changed or deleted), so the sessions seen
//! lately are asked for, a bounded number a second. Nothing here decides whether a request is let in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use phoenix_auth::Auth;
use phoenix_auth::model::{Identity, Moment, SessionId, Timestamp, UserId};
use phoenix_auth::ports::Clock;
use phoenix_identity::{StackApi, StackApiError};

use super::Providers;
use super::tell::{Endings, tell};
use crate::lifecycle::Lifecycle;

/// Most users watched. At the bound new ones are not checked until others are forgotten.
const MAX_USERS: usize = 100_000;
/// Most sessions of one user watched.
const MAX_SESSIONS: usize = 64;
/// A user not seen for so long is no longer checked if their token is over: the next brings them back.
const FORGET_AFTER: Duration = Duration::from_mins(15);
/// Users are looked through this often.
const TICK: Duration = Duration::from_secs(1);
/// Most users asked for in one tick.
const CALLS_PER_TICK: usize = 20;
/// Pause after a call failed, when the provider does not say how long.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(10);
/// How a session is written in `VerifiedToken::session`, before the provider's own name of it.
pub(super) const SESSION_PREFIX: &str = "session:";

/// What is known of the project's sessions.
pub(crate) struct StackSync {
    issuer: String,
    poll_interval: Duration,
    watched: Mutex<Watched>,
    /// What ended here.
    pub(super) endings: Endings,
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
    /// End of the token that counts the longest.
    until: Timestamp,
    check_at: Duration,
}

struct Session {
    id: SessionId,
    /// Whether the provider has listed it. One that it never listed is not missed: an administrator may be behind it.
    listed: bool,
}

/// A session that ended at the provider.
#[derive(PartialEq, Eq, Debug)]
struct Gone {
    /// The provider's name.
    name: String,
    user_id: UserId,
    session_id: SessionId,
}

impl StackSync {
    pub(super) fn new(issuer: String, poll_interval: Duration) -> Self {
        Self { issuer, poll_interval, watched: Mutex::default(), endings: Endings::default() }
    }

    /// How the project is named as an issuer.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// A session was seen with a token that counts until `until`.
    pub(super) fn seen(
        &self,
        (subject, session): (&str, &str),
        (user_id, session_id): (UserId, SessionId),
        until: Timestamp,
    ) {
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
            until,
            check_at: now + self.poll_interval,
        });
        (user.id, user.seen_at, user.until) = (user_id, now, user.until.max(until));
        if user.sessions.len() < MAX_SESSIONS || user.sessions.contains_key(session) {
            user.sessions
                .entry(session.to_owned())
                .and_modify(|known| known.id = session_id)
                .or_insert(Session { id: session_id, listed: false });
        }
    }

    /// Users whose turn it is, at most [`CALLS_PER_TICK`]; forgets those not seen for long whose token is over.
    fn due(&self, Moment { wall, mono: now }: Moment) -> Vec<String> {
        let mut watched = self.lock();
        watched.now = now;
        let seen_lately = |user: &User| now.saturating_sub(user.seen_at) < FORGET_AFTER;
        watched.users.retain(|_, user| seen_lately(user) || wall < user.until);
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

    /// These had their turn, but were not asked for: they have it again at the next tick.
    fn put_back(&self, subjects: &[String], now: Duration) {
        let mut watched = self.lock();
        for subject in subjects {
            if let Some(user) = watched.users.get_mut(subject) {
                user.check_at = now;
            }
        }
    }

    /// Sessions that the provider listed before and lists no more. They are found again until they are forgotten.
    fn compare(&self, subject: &str, listed: &[String]) -> Vec<Gone> {
        let mut watched = self.lock();
        let Some(user) = watched.users.get_mut(subject) else { return Vec::new() };
        let mut gone = Vec::new();
        for (name, session) in &mut user.sessions {
            if listed.contains(name) {
                session.listed = true;
            } else if session.listed {
                gone.push(Gone { name: name.clone(), user_id: user.id, session_id: session.id });
            }
        }
        gone
    }

    /// A session has ended here too.
    fn forget_session(&self, subject: &str, name: &str) {
        if let Some(user) = self.lock().users.get_mut(subject) {
            user.sessions.remove(name);
        }
    }

    /// A user is not there any more.
    fn forget_user(&self, subject: &str) {
        self.lock().users.remove(subject);
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
    if let Some(waiting) = stack.endings.start(clock) {
        let work = tell(lifecycle.clone(), Arc::clone(providers), waiting);
        let stopping = lifecycle.stopping().clone();
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
        let due = stack.due(clock.now());
        for (place, subject) in due.iter().enumerate() {
            if lifecycle.stopping().is_cancelled() {
                return;
            }
            let Err(error) = check(stack, api, &auth, subject).await else { continue };
            let cause = &error as &dyn std::error::Error;
            tracing::warn!(error = cause, "Stack Auth could not be asked which sessions of a user there are");
            if let Some(longer) = pause_after(&error) {
                pause = longer;
                stack.put_back(&due[place + 1..], clock.mono());
                break;
            }
        }
    }
}

async fn check(stack: &StackSync, api: &StackApi, auth: &Auth, subject: &str) -> Result<(), StackApiError> {
    let Some(identity) = Identity::new(&stack.issuer, subject) else { return Ok(()) };
    let outcome = match api.sessions(subject).await? {
        None => auth.deleted_at_provider(&identity).await.map(|_| stack.forget_user(subject)),
        Some(listed) => {
            let listed: Vec<_> = listed.into_iter().map(|session| session.id).collect();
            let mut outcome = Ok(());
            for gone in stack.compare(subject, &listed) {
                let ended = auth.ended_at_provider(gone.user_id, gone.session_id).await;
                // What failed is tried again at the next check.
                outcome = outcome.and(ended.map(|()| stack.forget_session(subject, &gone.name)));
            }
            outcome
        }
    };
    if let Err(error) = outcome {
        tracing::warn!(?error, "a session that ended at Stack Auth could not be ended here");
    }
    Ok(())
}

/// How long nobody is asked for, after trouble that concerns everybody; `None` after an answer about one user.
fn pause_after(error: &StackApiError) -> Option<Duration> {
    match error {
        StackApiError::RateLimited { retry_after } => {
            Some(retry_after.map_or(PAUSE_AFTER_FAILURE, |pause| pause.max(TICK)))
        }
        StackApiError::Failed(_) | StackApiError::Unreachable(_) => Some(PAUSE_AFTER_FAILURE),
        StackApiError::Garbage | StackApiError::Id | StackApiError::Refused { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use uuid::Uuid;

    use super::*;

    fn sync() -> StackSync {
        StackSync::new("stack:p".to_owned(), Duration::from_mins(1))
    }

    /// End of a token that is over.
    const OVER: Timestamp = Timestamp::from_millis(0);

    fn at(mono: Duration) -> Moment {
        Moment { wall: Timestamp::from_millis(0).plus(mono), mono }
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
        sync.seen(("u", "session:one"), (user(1), session(1)), OVER);
        sync.seen(("u", "session:two"), (user(1), session(2)), OVER);
        assert!(sync.compare("u", &["one".to_owned()]).is_empty(), "the second was never listed");
        let gone = [Gone { name: "one".to_owned(), user_id: user(1), session_id: session(1) }];
        assert_eq!(sync.compare("u", &[]), gone);
        assert_eq!(sync.compare("u", &[]), gone, "found until it has ended here too");
        sync.forget_session("u", "one");
        assert!(sync.compare("u", &[]).is_empty(), "ended once");
        sync.forget_user("u");
        assert!(sync.lock().users.is_empty());
    }

    #[test]
    fn a_user_is_watched_until_the_token_last_seen_is_over() {
        let sync = sync();
        let end = Timestamp::from_millis(0).plus(FORGET_AFTER * 4);
        sync.seen(("u", "session:one"), (user(1), session(1)), end);
        sync.seen(("u", "session:two"), (user(1), session(2)), OVER);
        assert_eq!(sync.due(at((FORGET_AFTER * 4).saturating_sub(TICK))), ["u"]);
        assert!(sync.due(at(FORGET_AFTER * 4)).is_empty());
        assert!(sync.lock().users.is_empty());
    }

    #[test]
    fn who_was_not_reached_has_a_turn_at_the_next_tick() {
        let sync = sync();
        for number in 0..3 {
            sync.seen((&format!("u{number}"), "session:s"), (user(number), session(number)), OVER);
        }
        let now = Duration::from_mins(1);
        let due = sync.due(at(now));
        assert_eq!(due.len(), 3);
        sync.put_back(&due[1..], now);
        let mut again = sync.due(at(now + TICK));
        again.sort();
        let mut left = due[1..].to_vec();
        left.sort();
        assert_eq!(again, left);
    }

    #[test]
    fn only_trouble_that_concerns_everybody_stops_the_asking() {
        let after = |error| pause_after(&error);
        let refused = StackApiError::Refused { status: StatusCode::BAD_REQUEST, code: None };
        for of_one in [StackApiError::Garbage, StackApiError::Id, refused] {
            assert_eq!(after(of_one), None);
        }
        assert_eq!(after(StackApiError::Failed(StatusCode::BAD_GATEWAY)), Some(PAUSE_AFTER_FAILURE));
        assert_eq!(after(StackApiError::Unreachable("gone".into())), Some(PAUSE_AFTER_FAILURE));
        let limited = |seconds| StackApiError::RateLimited { retry_after: seconds };
        assert_eq!(after(limited(None)), Some(PAUSE_AFTER_FAILURE));
        assert_eq!(after(limited(Some(Duration::from_secs(40)))), Some(Duration::from_secs(40)));
        assert_eq!(after(limited(Some(Duration::ZERO))), Some(TICK));
    }

    #[test]
    fn users_are_checked_once_in_an_interval_and_forgotten_when_they_are_gone() {
        let sync = sync();
        sync.due(at(Duration::from_secs(1)));
        sync.seen(("u", "session:one"), (user(1), session(1)), OVER);
        assert!(sync.due(at(Duration::from_mins(1))).is_empty());
        assert_eq!(sync.due(at(Duration::from_secs(61))), ["u"]);
        assert!(sync.due(at(Duration::from_secs(62))).is_empty());
        assert!(sync.due(at(Duration::from_secs(1) + FORGET_AFTER)).is_empty());
        assert!(sync.lock().users.is_empty());
    }

    #[test]
    fn calls_of_one_tick_are_bounded_and_everybody_has_a_turn() {
        let sync = sync();
        for number in 0..50 {
            sync.seen((&format!("u{number}"), "session:s"), (user(number), session(number)), OVER);
        }
        let mut seen = std::collections::HashSet::new();
        for tick in 0..3 {
            let due = sync.due(at(Duration::from_secs(60 + tick)));
            assert!(due.len() <= CALLS_PER_TICK);
            seen.extend(due);
        }
        assert_eq!(seen.len(), 50);
    }

    #[test]
    fn sessions_of_one_user_are_bounded_and_other_tokens_are_not_watched() {
        let sync = sync();
        for number in 0..200 {
            sync.seen(("u", &format!("session:{number}")), (user(1), session(number)), OVER);
        }
        sync.seen(("v", "token:x"), (user(2), session(1)), OVER);
        let watched = sync.lock();
        assert_eq!(watched.users.get("u").map(|user| user.sessions.len()), Some(MAX_SESSIONS));
        assert!(!watched.users.contains_key("v"));
    }
}
