//! Where passwords are hashed: a fixed number of threads of low priority, a bounded number of waiting callers, a
//! bounded wait.
//!
//! The threads are their own, not the runtime's, because they run at the lowest priority: a burst of logins uses
//! what the requests leave over.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use phoenix_auth::model::HashParams;
use phoenix_auth::ops::{PasswordJob, PasswordOutcome};
use phoenix_auth::ports::{Entropy, PasswordPool, PasswordPoolBusy};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Callers that may wait for a worker at once.
const MAX_WAITING: usize = 1024;

/// Runs password work on threads of its own.
pub(crate) struct PasswordThreads {
    /// One permit for each thread, so that work is handed over only when a thread is free: the channel never holds
    /// more than there are threads.
    workers: Arc<Semaphore>,
    work: Mutex<Sender<Work>>,
    waiting: AtomicUsize,
    max_wait: Duration,
}

/// Work for a thread. The permit belongs to the work, not to the caller: who hangs up does not make room for another
/// hash while his own still runs.
struct Work {
    job: PasswordJob,
    answer: oneshot::Sender<PasswordOutcome>,
    _permit: OwnedSemaphorePermit,
}

impl PasswordThreads {
    /// Starts the threads. They end when the pool is dropped.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(
        threads: usize,
        max_wait: Duration,
        params: HashParams,
        entropy: &Arc<dyn Entropy>,
    ) -> io::Result<Self> {
        let (sender, receiver) = channel();
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..threads {
            let (receiver, entropy) = (Arc::clone(&receiver), Arc::clone(entropy));
            thread::Builder::new()
                .name(format!("password-{number}"))
                .spawn(move || run_thread(&receiver, params, &*entropy))?;
        }
        Ok(Self {
            workers: Arc::new(Semaphore::new(threads)),
            work: Mutex::new(sender),
            waiting: AtomicUsize::new(0),
            max_wait,
        })
    }

    fn busy(&self) -> PasswordPoolBusy {
        PasswordPoolBusy { retry_after: self.max_wait.max(Duration::from_secs(1)) }
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, PasswordPoolBusy> {
        let _waiting = Waiting::enter(&self.waiting).ok_or_else(|| self.busy())?;
        let acquired = tokio::time::timeout(self.max_wait, Arc::clone(&self.workers).acquire_owned()).await;
        acquired.map_err(|_elapsed| self.busy())?.map_err(|_closed| self.busy())
    }
}

fn run_thread(receiver: &Mutex<Receiver<Work>>, params: HashParams, entropy: &dyn Entropy) {
    yield_to_requests();
    loop {
        let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Work { job, answer, _permit }) = next else { return };
        let done = catch_unwind(AssertUnwindSafe(|| job.run(&params, entropy)));
        // After a panic the caller learns that nothing came of it, and the thread goes on. A caller that has left
        // misses nothing; the permit is given back either way.
        if let Ok(outcome) = done {
            let _ = answer.send(outcome);
        }
    }
}

/// Gives way to every other thread the moment it has work. A low priority alone (`nice 19`) makes requests wait up to
/// 3 ms for the end of a time slice (measured, docs/benchmarks.md). Not allowed to, a thread works all the same.
#[cfg(target_os = "linux")]
fn yield_to_requests() {
    use thread_priority::unix::{set_thread_priority_and_policy, thread_native_id};
    use thread_priority::{NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy};
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy) {
        tracing::debug!(?error, "password threads run at normal priority");
    }
}

#[cfg(not(target_os = "linux"))]
fn yield_to_requests() {}

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
impl PasswordPool for PasswordThreads {
    async fn run(&self, job: PasswordJob) -> Result<PasswordOutcome, PasswordPoolBusy> {
        let permit = self.permit().await?;
        let (answer, outcome) = oneshot::channel();
        let work = Work { job, answer, _permit: permit };
        // Both fail only when a thread panicked while hashing.
        self.work.lock().unwrap_or_else(PoisonError::into_inner).send(work).map_err(|_| self.busy())?;
        outcome.await.map_err(|_| self.busy())
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

    fn pool(workers: usize, max_wait: Duration) -> PasswordThreads {
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        PasswordThreads::start(workers, max_wait, CHEAP, &entropy).expect("threads start")
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
