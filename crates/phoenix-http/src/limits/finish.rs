//! Work that is finished although whoever waits for it goes away. Does not own what the work is.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Work that nobody waits for any more is given up after this time.
const LONGEST: Duration = Duration::from_secs(30);

/// Finishes what others leave. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Finisher {
    tasks: TaskTracker,
    room: Arc<Semaphore>,
}

impl Finisher {
    /// Runs in `tasks` what others leave, at most `most` at once. What is beyond is dropped.
    pub(super) fn new(tasks: TaskTracker, most: usize) -> Self {
        Self { tasks, room: Arc::new(Semaphore::new(most)) }
    }

    /// Does the work where it is awaited. If that is dropped before the work is done, the rest is done elsewhere, unless
    /// it takes too long or there is too much of it: then it is dropped.
    pub(super) fn finish<T>(&self, work: impl Future<Output = T> + Send + 'static) -> Finishing<T>
    where
        T: Send + 'static,
    {
        Finishing { work: Some(Box::pin(work)), finisher: self.clone() }
    }
}

/// See [`Finisher::finish`].
#[must_use = "futures do nothing unless polled"]
pub(super) struct Finishing<T: Send + 'static> {
    /// `None` once it is done.
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    finisher: Finisher,
}

impl<T: Send + 'static> fmt::Debug for Finishing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finishing").field("is_done", &self.work.is_none()).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Future for Finishing<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // Taken out, so that work that panics is not gone on with.
        let mut work = self.work.take().expect("nobody asks again for what they were given");
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Finishing<T> {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        let Ok(place) = Arc::clone(&self.finisher.room).try_acquire_owned() else { return };
        // Without a runtime the process ends.
        let Ok(runtime) = Handle::try_current() else { return };
        let rest = async move {
            let _place = place;
            if tokio::time::timeout(LONGEST, work).await.is_err() {
                tracing::debug!("what nobody waited for any more took too long");
            }
        };
        self.finisher.tasks.spawn_on(rest.in_current_span(), &runtime);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::task::Waker;

    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    /// Work that says when it is done, after it was told to go on.
    fn work(finisher: &Finisher) -> (Finishing<()>, oneshot::Sender<()>, oneshot::Receiver<()>) {
        let ((go_on, told), (done, is_done)) = (oneshot::channel(), oneshot::channel());
        let work = finisher.finish(async move {
            told.await.ok();
            done.send(()).ok();
        });
        (work, go_on, is_done)
    }

    #[tokio::test]
    async fn what_is_left_is_finished_up_to_the_bound_and_the_rest_dropped() {
        let tasks = TaskTracker::new();
        let finisher = Finisher::new(tasks.clone(), 2);
        let mut left: Vec<_> = (0..3).map(|_| work(&finisher)).collect();
        for (work, ..) in &mut left {
            assert!(work.now_or_never().is_none());
        }
        let left: Vec<_> =
            left.into_iter().map(|(work, go_on, is_done)| (drop(work), go_on, is_done)).collect();
        assert_eq!(tasks.len(), 2);
        let mut ended = Vec::new();
        for ((), go_on, is_done) in left {
            drop(go_on);
            ended.push(is_done.await.is_ok());
        }
        assert_eq!(ended, [true, true, false]);
        tasks.close();
        tasks.wait().await;
        // There is room again, and who waits to the end needs none.
        let (again, _go_on, _is_done) = work(&finisher);
        drop(again);
        assert_eq!(tasks.len(), 1);
        assert_eq!(finisher.finish(async { 7 }).await, 7);
        assert_eq!(tasks.len(), 1);
    }

    #[tokio::test]
    async fn work_that_panicked_is_not_gone_on_with() {
        let finisher = Finisher::new(TaskTracker::new(), 2);
        let mut work = finisher.finish(async { assert!(finisher_is_broken(), "on purpose") });
        let poll = || Pin::new(&mut work).poll(&mut Context::from_waker(Waker::noop()));
        assert!(catch_unwind(AssertUnwindSafe(poll)).is_err());
        drop(work);
        assert!(finisher.tasks.is_empty());
    }

    fn finisher_is_broken() -> bool {
        false
    }
}
