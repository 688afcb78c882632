//! Waiting for a state instead of sleeping for a time: the condition is asked again and again until it holds, and a
//! bound turns a hang into a failure that says what was awaited.

use std::future::Future;
use std::thread;
use std::time::{Duration, Instant};

const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Waits until `condition` is true.
///
/// # Panics
/// When `bound` has passed; `what` completes the sentence "waited 5s for ...".
pub async fn until<F, Fut>(bound: Duration, what: &str, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    for_some(bound, what, || {
        let holds = condition();
        async move { holds.await.then_some(()) }
    })
    .await;
}

/// Waits until `attempt` returns something, and returns it.
///
/// # Panics
/// When `bound` has passed, also in the middle of an attempt.
pub async fn for_some<T, F, Fut>(bound: Duration, what: &str, mut attempt: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let attempts = async {
        let mut pause = SHORTEST_PAUSE;
        loop {
            if let Some(value) = attempt().await {
                return value;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    };
    let outcome = tokio::time::timeout(bound, attempts).await;
    outcome.unwrap_or_else(|_| panic!("waited {bound:?} for {what}"))
}

/// [`until`] for code without a runtime.
///
/// # Panics
/// When `bound` has passed.
#[track_caller]
pub fn until_blocking(bound: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    for_some_blocking(bound, what, || condition().then_some(()));
}

/// [`for_some`] for code without a runtime. An attempt that hangs is not interrupted.
///
/// # Panics
/// When `bound` has passed.
#[track_caller]
pub fn for_some_blocking<T>(bound: Duration, what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    let mut pause = SHORTEST_PAUSE;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(start.elapsed() < bound, "waited {bound:?} for {what}");
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
