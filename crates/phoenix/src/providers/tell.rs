//! Stack Auth is told of sessions that ended here, a few at a time, and again if it cannot be told at once.
//!
//! They stay ended here whether or not it is told.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use phoenix_auth::model::Timestamp;
use phoenix_auth::ports::{Clock, EndedExternal};
use phoenix_identity::{StackApi, StackApiError, StackSession};
use tokio::sync::mpsc;

use super::Providers;
use super::sync::SESSION_PREFIX;
use crate::lifecycle::Lifecycle;

/// Ended sessions waiting for the provider to be told. At the bound new ones are dropped: they stay ended here.
const QUEUE: usize = 4096;
/// Told at the same time.
const PARALLEL: usize = 4;
/// Tries to tell the provider, each after twice the pause of the one before.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// What ended here and when.
#[derive(Debug)]
pub(super) struct Ending {
    what: EndedExternal,
    at: Timestamp,
}

/// Endings on their way to the provider.
#[derive(Default)]
pub(super) struct Endings {
    /// Set when somebody is there to tell of them.
    started: OnceLock<Started>,
}

struct Started {
    sender: mpsc::Sender<Ending>,
    clock: Arc<dyn Clock>,
}

impl Endings {
    /// For the one task that tells of them; `None` if it is there already.
    pub(super) fn start(&self, clock: &Arc<dyn Clock>) -> Option<mpsc::Receiver<Ending>> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let started = Started { sender, clock: Arc::clone(clock) };
        self.started.set(started).is_ok().then_some(receiver)
    }

    /// Those of `sessions` that are of this issuer ended just now.
    pub(super) fn note(&self, issuer: &str, sessions: &[EndedExternal]) {
        let Some(Started { sender, clock }) = self.started.get() else { return };
        let at = clock.now().wall;
        for ended in sessions.iter().filter(|ended| ended.identity.issuer() == issuer) {
            if sender.try_send(Ending { what: ended.clone(), at }).is_err() {
                tracing::warn!(
                    "too many ended sessions wait; Stack Auth is not told of one, which stays ended here"
                );
            }
        }
    }
}

/// Tells of endings as they come.
pub(super) async fn tell(
    lifecycle: Lifecycle,
    providers: Arc<Providers>,
    mut waiting: mpsc::Receiver<Ending>,
) {
    let Some(api) = providers.identity.stack() else { return };
    let endings = stream::poll_fn(|context| waiting.poll_recv(context));
    endings.for_each_concurrent(PARALLEL, |ending| tell_one(&lifecycle, api, ending)).await;
}

async fn tell_one(lifecycle: &Lifecycle, api: &StackApi, ending: Ending) {
    let mut pause = FIRST_PAUSE;
    for attempt in 1..=TRIES {
        let Err(error) = end_there(api, &ending).await else { return };
        if attempt == TRIES || !may_pass(&error) {
            let cause = &error as &dyn std::error::Error;
            tracing::warn!(
                error = cause,
                "Stack Auth was not told of an ended session, which stays ended here"
            );
            return;
        }
        if !lifecycle.pause(pause).await {
            return;
        }
        pause *= 2;
    }
}

/// Whether another try may succeed. What makes no sense once makes none the next time.
fn may_pass(error: &StackApiError) -> bool {
    error.is_outage() && !matches!(error, StackApiError::Garbage)
}

async fn end_there(api: &StackApi, ending: &Ending) -> Result<(), StackApiError> {
    let Ending { what, at } = ending;
    let subject = what.identity.subject();
    if let Some(session) = &what.session {
        let name = session.strip_prefix(SESSION_PREFIX).unwrap_or(session);
        return api.end_session(subject, name).await.map(|_| ());
    }
    for session in concerned(api.sessions(subject).await?.unwrap_or_default(), *at) {
        api.end_session(subject, &session.id).await?;
    }
    Ok(())
}

/// When all sessions ended, those opened later are not meant, however late the provider is told.
fn concerned(listed: Vec<StackSession>, ended_at: Timestamp) -> impl Iterator<Item = StackSession> {
    listed.into_iter().filter(move |session| session.created_at_millis <= ended_at.as_millis())
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use phoenix_auth::model::{Identity, Moment};

    use super::*;

    #[test]
    fn sessions_opened_after_the_end_of_all_are_left_alone() {
        let opened = |millis: i64| StackSession {
            id: millis.to_string(),
            user_id: "u".to_owned(),
            created_at_millis: millis,
            last_used_at_millis: None,
            is_impersonation: false,
        };
        let listed = vec![opened(1), opened(999), opened(1000), opened(1001)];
        let ids: Vec<_> = concerned(listed, Timestamp::from_millis(1000)).map(|session| session.id).collect();
        assert_eq!(ids, ["1", "999", "1000"]);
    }

    #[test]
    fn only_outages_are_worth_another_try() {
        for (error, again) in [
            (StackApiError::Garbage, false),
            (StackApiError::Id, false),
            (StackApiError::Refused { status: StatusCode::FORBIDDEN, code: None }, false),
            (StackApiError::RateLimited { retry_after: None }, true),
            (StackApiError::Failed(StatusCode::BAD_GATEWAY), true),
        ] {
            assert_eq!(may_pass(&error), again, "{error:?}");
        }
    }

    struct Five;

    impl Clock for Five {
        fn now(&self) -> Moment {
            Moment { wall: Timestamp::from_millis(5), mono: self.mono() }
        }

        fn mono(&self) -> Duration {
            Duration::ZERO
        }
    }

    #[test]
    fn what_waits_is_of_the_project_and_bounded() {
        let endings = Endings::default();
        let clock: Arc<dyn Clock> = Arc::new(Five);
        let mut waiting = endings.start(&clock).unwrap();
        assert!(endings.start(&clock).is_none());
        let of = |issuer| EndedExternal { identity: Identity::new(issuer, "u").unwrap(), session: None };
        endings.note("stack:p", &[of("https://id.example"), of("stack:p")]);
        endings.note("stack:p", &vec![of("stack:p"); QUEUE]);
        assert_eq!(waiting.len(), QUEUE);
        let first = waiting.try_recv().unwrap();
        assert_eq!((first.what, first.at), (of("stack:p"), Timestamp::from_millis(5)));
    }
}
