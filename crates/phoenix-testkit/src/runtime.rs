//! One background tokio runtime for the blocking calls of this crate, so that they work inside and outside of tests
//! that have a runtime of their own.

use std::future::Future;
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};

/// Longest time one blocking call may take.
const BOUND: Duration = Duration::from_mins(1);

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// Runs `future` on the background runtime and blocks the calling thread until it is done.
///
/// # Errors
/// When it takes longer than 60 seconds or panics.
pub(crate) fn block_on<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Result<T> {
    let runtime = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("testkit")
            .enable_all()
            .build()
            .expect("a runtime needs only one thread")
    });
    let (sender, receiver) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        let _ = sender.send(future.await);
    });
    receiver.recv_timeout(BOUND).context("a helper of the test kit did not finish")
}
