//! Where passwords are hashed: a bounded number of threads, a bounded number of waiting callers, a bounded wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use phoenix_auth::model::HashParams;
use phoenix_auth::ops::{PasswordJob, PasswordOutcome};
use phoenix_auth::ports::{Entropy, PasswordPool, PasswordPoolBusy};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Callers that may wait for a worker at once.
const MAX_WAITING: usize = 1024;

/// Runs password work on blocking threads.
pub(crate) struct BlockingPasswords {
    workers: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_wait: Duration,
    params: HashParams,
    entropy: Arc<dyn Entropy>,
    tasks: TaskTracker,
}

impl BlockingPasswords {
    pub(crate) fn new(
        workers: usize,
        max_wait: Duration,
        params: HashParams,
        entropy: Arc<dyn Entropy>,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            workers: Arc::new(Semaphore::new(workers)),
            waiting: AtomicUsize::new(0),
            max_wait,
            params,
            entropy,
            tasks,
        }
    }

    fn busy(&self) -> PasswordPoolBusy {
        PasswordPoolBusy { retry_after: self.max_wait.max(Duration::from_secs(1)) }
    }
}

/// Counts a caller that waits, for as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(counter: &'a AtomicUsize) -> Option<Self> {
        let entered = Self(counter);
        (counter.fetch_add(1, Ordering::Relaxed) < MAX_WAITING).then_some(entered)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl PasswordPool for BlockingPasswords {
    async fn run(&self, job: PasswordJob) -> Result<PasswordOutcome, PasswordPoolBusy> {
        let permit = {
            let _waiting = Waiting::enter(&self.waiting).ok_or_else(|| self.busy())?;
            let acquired =
                tokio::time::timeout(self.max_wait, Arc::clone(&self.workers).acquire_owned()).await;
            acquired.map_err(|_elapsed| self.busy())?.map_err(|_closed| self.busy())?
        };
        let (params, entropy) = (self.params, Arc::clone(&self.entropy));
        let work = move || {
            // The permit belongs to the work, not to the caller: who hangs up does not make room for another hash
            // while his own still runs.
            let _permit = permit;
            job.run(&params, &*entropy)
        };
        // A panic while hashing, or the process going down.
        self.tasks.spawn_blocking(work).await.map_err(|_| self.busy())
    }
}

#[cfg(test)]
mod tests {
    use phoenix_auth::model::{Password, PasswordHash};

    use super::*;
    use crate::entropy::SystemEntropy;

    const CHEAP: HashParams = HashParams { memory_kib: 64, iterations: 1, parallelism: 1 };
    /// About a tenth of a second.
    const SLOW: HashParams = HashParams { memory_kib: 65_536, iterations: 3, parallelism: 1 };

    fn pool(workers: usize, max_wait: Duration) -> BlockingPasswords {
        BlockingPasswords::new(workers, max_wait, CHEAP, Arc::new(SystemEntropy), TaskTracker::new())
    }

    fn password() -> Password {
        Password::new("some password".into()).expect("within bounds")
    }

    fn slow_job() -> PasswordJob {
        let hash = SLOW.hash(&password(), &SystemEntropy).expect("allowed parameters");
        PasswordJob::Verify {
            password: password(),
            hash: PasswordHash::from_stored(hash.as_str().to_owned()),
        }
    }

    #[tokio::test]
    async fn abandoned_work_keeps_its_permit() {
        let pool = pool(1, Duration::from_secs(5));
        {
            let mut abandoned = Box::pin(pool.run(slow_job()));
            let polled = tokio::time::timeout(Duration::from_millis(1), &mut abandoned).await;
            assert!(polled.is_err(), "the work is under way");
        }
        assert_eq!(pool.workers.available_permits(), 0, "and goes on though its caller left");
        let outcome = pool.run(slow_job()).await.expect("in its turn");
        assert!(matches!(outcome, PasswordOutcome::Right(None)));
    }

    #[tokio::test]
    async fn a_caller_waits_no_longer_than_the_bound() {
        let pool = pool(1, Duration::from_millis(1));
        let (first, second) = tokio::join!(pool.run(slow_job()), pool.run(slow_job()));
        assert!(first.is_ok());
        assert_eq!(second.expect_err("no worker in time").retry_after, Duration::from_secs(1));
        assert_eq!(pool.waiting.load(Ordering::Relaxed), 0);
    }
}
