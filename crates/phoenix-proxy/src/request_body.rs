//! The body of a request on its way to an application, how far it is, and how long the head of its answer is waited for.
//!
//! Nothing is gathered: a frame is handed on before the next one is asked for.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::task::AbortHandle;

use crate::config::Clock;
use crate::failure::Failure;
use crate::forward::Options;
use crate::pace::Pace;
use crate::pause::{LONGEST_OF_CLIENT, Pauses, Timer};
use crate::{h2, hygiene};

/// Body of a request on its way to an application.
#[derive(Default)]
pub(crate) enum RequestBody {
    #[default]
    Empty,
    Upload(Box<Upload>),
}

/// A body that is passed on as it comes.
pub(crate) struct Upload {
    incoming: Incoming,
    /// Bytes that may still come.
    left: u64,
    /// Whether it came over HTTP/2, in which each body says where it ends.
    is_http2: bool,
    /// `None` where any speed will do.
    pace: Option<Pace>,
    clock: Clock,
    /// To be told when the first part is asked for, if it goes over HTTP/2.
    begun: Option<h2::Begun>,
    progress: Arc<Progress>,
}

/// Why an upload ended early. Only for the exchange; whoever waits reads [`Progress`].
#[derive(Clone, Copy, Debug, Error)]
pub(crate) enum UploadError {
    #[error("the body of the request is too large")]
    TooLarge,
    #[error("the body of the request broke off")]
    Broken,
    #[error("the body of the request comes too slowly")]
    Slow,
}

/// How far an upload is, for those who wait for the answer.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    fate: AtomicU8,
    /// Counts frames, and how often all that had come was taken; wraps.
    moved: AtomicU32,
    /// Whether the last word was that the client must send more.
    starved: AtomicBool,
    /// The head of the answer is there: both sides talk at their own pace from now on.
    answered: AtomicBool,
    waiter: AtomicWaker,
    /// The task that carries it, if it has one.
    task: OnceLock<AbortHandle>,
}

/// What became of an upload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    UnderWay,
    /// All of it was taken.
    Complete,
    TooLarge,
    Broken,
    /// It came too slowly.
    Slow,
    /// The exchange ended before.
    Abandoned,
}

impl Progress {
    pub(crate) fn fate(&self) -> Fate {
        match self.fate.load(Ordering::Acquire) {
            0 => Fate::UnderWay,
            1 => Fate::Complete,
            2 => Fate::TooLarge,
            3 => Fate::Broken,
            4 => Fate::Slow,
            _ => Fate::Abandoned,
        }
    }

    pub(crate) fn moved(&self) -> u32 {
        self.moved.load(Ordering::Relaxed)
    }

    /// The head of the answer is there.
    pub(crate) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// The task that carries it.
    pub(crate) fn is_carried_by(&self, task: AbortHandle) {
        let _ = self.task.set(task);
    }

    /// Nobody wants the rest. It ends also where its task waits for a server that takes nothing.
    pub(crate) fn abort(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// The client must send more.
    fn starve(&self) {
        if !self.starved.swap(true, Ordering::Relaxed) {
            // Whatever the wait was for until now, from here on it is for the client.
            self.moved.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Something came.
    fn feed(&self) {
        self.starved.store(false, Ordering::Relaxed);
        self.moved.fetch_add(1, Ordering::Relaxed);
    }

    /// Only the first fate counts.
    fn end(&self, fate: Fate) {
        let code = match fate {
            Fate::UnderWay => return,
            Fate::Complete => 1,
            Fate::TooLarge => 2,
            Fate::Broken => 3,
            Fate::Slow => 4,
            Fate::Abandoned => 5,
        };
        let _ = self.fate.compare_exchange(0, code, Ordering::AcqRel, Ordering::Acquire);
        self.waiter.wake();
    }
}

impl RequestBody {
    /// The body that came over this version, and how far it is.
    pub(crate) fn new(
        incoming: Incoming,
        version: Version,
        options: &Options,
        clock: &Clock,
    ) -> Result<(Self, Option<Arc<Progress>>), Failure> {
        if incoming.is_end_stream() {
            return Ok((Self::Empty, None));
        }
        if incoming.size_hint().lower() > options.max_body {
            return Err(Failure::BodyTooLarge);
        }
        let progress = Arc::<Progress>::default();
        let upload = Upload {
            incoming,
            left: options.max_body,
            is_http2: version == Version::HTTP_2,
            pace: options.client_pause.is_none().then(|| Pace::new(longest_of_client(options.idle, None))),
            clock: Arc::clone(clock),
            begun: None,
            progress: Arc::clone(&progress),
        };
        Ok((Self::Upload(Box::new(upload)), Some(progress)))
    }
}

/// How long a client may be waited for where the bound on pauses is `idle`: as long as is written for it, if that is.
fn longest_of_client(idle: Duration, written: Option<Duration>) -> Duration {
    written.unwrap_or_else(|| idle.min(LONGEST_OF_CLIENT))
}

/// Waits until a body that was announced as empty has ended so. In HTTP/2 it may yet turn out not to be what it was
/// announced as, and then the request is malformed and must not be passed on (RFC 9113 section 8.1.1); an application
/// that speaks HTTP/1.1 would have all of it by then.
pub(crate) async fn emptied(incoming: &mut Incoming, options: &Options) -> Result<(), Failure> {
    let ended = async {
        while !incoming.is_end_stream() && incoming.size_hint().exact() == Some(0) {
            match poll_fn(|context| Pin::new(&mut *incoming).poll_frame(context)).await {
                None if !is_cut_off(incoming) => return Ok(()),
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return Err(Failure::RequestBroken),
            }
        }
        Ok(())
    };
    // Frames without bytes are no progress.
    let longest = longest_of_client(options.idle, options.client_pause);
    tokio::time::timeout(longest, ended).await.unwrap_or(Err(Failure::RequestSlow))
}

/// Whether a body of HTTP/2 that gives no more has not come to its end. hyper takes every error with the code `NO_ERROR`
/// for an end: a reset with it, and a client that was given up because it answers no ping.
pub(crate) fn is_cut_off(incoming: &Incoming) -> bool {
    !incoming.is_end_stream()
}

impl Upload {
    /// It goes over this connection, if that takes it.
    pub(crate) fn goes_over(&mut self, begun: &h2::Begun) {
        self.begun = Some(begun.clone());
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        if let Some(begun) = self.begun.take() {
            begun.set(&self.progress);
        }
        let Poll::Ready(next) = Pin::new(&mut self.incoming).poll_frame(context) else {
            self.progress.starve();
            if let Some(pace) = self.pace.as_mut().filter(|pace| !pace.is_waiting()) {
                pace.waits((self.clock)());
            }
            return Poll::Pending;
        };
        self.progress.feed();
        if let Some(pace) = self.pace.as_mut().filter(|pace| pace.is_waiting()) {
            pace.came((self.clock)());
        }
        let frame = match next {
            None if !self.is_http2 || !is_cut_off(&self.incoming) => {
                self.progress.end(Fate::Complete);
                return Poll::Ready(None);
            }
            None | Some(Err(_)) => {
                self.progress.end(Fate::Broken);
                return Poll::Ready(Some(Err(UploadError::Broken)));
            }
            Some(Ok(frame)) => frame,
        };
        let frame = match frame.into_data() {
            Ok(data) => {
                let Some(left) = self.left.checked_sub(data.len() as u64) else {
                    self.progress.end(Fate::TooLarge);
                    return Poll::Ready(Some(Err(UploadError::TooLarge)));
                };
                self.left = left;
                let is_too_slow = self.pace.as_mut().is_some_and(|pace| pace.is_too_slow(data.len()));
                if is_too_slow && !self.progress.is_answered() {
                    self.progress.end(Fate::Slow);
                    return Poll::Ready(Some(Err(UploadError::Slow)));
                }
                Some(Frame::data(data))
            }
            Err(other) => other.into_trailers().ok().and_then(hygiene::trailers).map(Frame::trailers),
        };
        if frame.as_ref().is_none_or(Frame::is_trailers) || self.incoming.is_end_stream() {
            self.progress.end(Fate::Complete);
        }
        Poll::Ready(frame.map(Ok))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.progress.end(Fate::Abandoned);
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Upload(upload) => upload.poll_next(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Upload(upload) => upload.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Upload(upload) => upload.incoming.size_hint(),
        }
    }
}

/// The bound on waiting for the head of an answer: pauses while the request's body is under way, and the deadline from
/// its last byte on.
pub(crate) struct HeadWait {
    progress: Option<Arc<Progress>>,
    seen: u32,
    pauses: Pauses,
    /// Ticks of `pauses` for which the client may send nothing.
    of_client: u32,
    /// Ticks of `pauses` for which the application may take nothing.
    patience: u32,
    deadline: Duration,
    /// Set when the answer is not there at once.
    pub(crate) timer: Timer,
}

impl HeadWait {
    /// The client may pause for `client_pause`; without, as long as `idle`, and a minute at most.
    pub(crate) fn new(
        progress: Option<Arc<Progress>>,
        deadline: Duration,
        idle: Duration,
        client_pause: Option<Duration>,
    ) -> Self {
        let longest = longest_of_client(idle, client_pause);
        let pauses = Pauses::new(longest.min(idle));
        let (of_client, patience) = (pauses.ticks(longest), pauses.ticks(idle));
        Self { progress, seen: 0, pauses, of_client, patience, deadline, timer: Timer::default() }
    }

    /// What an error of the exchange means: the upload's fault comes first, because it caused the other.
    pub(crate) fn blame(&self, otherwise: Failure) -> Failure {
        match self.progress.as_ref().map(|progress| progress.fate()) {
            Some(Fate::TooLarge) => Failure::BodyTooLarge,
            Some(Fate::Broken) => Failure::RequestBroken,
            Some(Fate::Slow) => Failure::RequestSlow,
            Some(Fate::UnderWay | Fate::Complete | Fate::Abandoned) | None => otherwise,
        }
    }

    /// Ready when there is no more to wait for. To be asked after the answer was.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Failure> {
        if let Some(progress) = &self.progress {
            progress.waiter.register(context.waker());
            match progress.fate() {
                Fate::TooLarge => return Poll::Ready(Failure::BodyTooLarge),
                Fate::Broken => return Poll::Ready(Failure::RequestBroken),
                Fate::Slow => return Poll::Ready(Failure::RequestSlow),
                Fate::UnderWay => {
                    let moved = progress.moved();
                    if moved != self.seen {
                        self.seen = moved;
                        self.pauses.moved();
                    }
                    if progress.starved.load(Ordering::Relaxed) {
                        let silent = self.pauses.poll_silent(self.of_client, context);
                        return silent.map(|()| Failure::RequestSlow);
                    }
                    return self.pauses.poll_silent(self.patience, context).map(|()| Failure::Timeout);
                }
                Fate::Complete | Fate::Abandoned => {}
            }
        }
        self.timer.poll(self.deadline, context).map(|()| Failure::Timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(idle: Duration, client_pause: Option<Duration>) -> HeadWait {
        HeadWait::new(None, Duration::from_mins(1), idle, client_pause)
    }

    #[test]
    fn a_client_may_pause_for_a_minute_and_an_application_for_as_long_as_is_set() {
        for (idle, longest, patience) in [(300, 60, 20), (3600, 60, 240), (61, 60, 5), (60, 60, 4), (8, 8, 4)]
        {
            let idle = Duration::from_secs(idle);
            let wait = wait(idle, None);
            assert_eq!(longest_of_client(idle, None), Duration::from_secs(longest));
            assert_eq!((wait.of_client, wait.patience), (4, patience), "{idle:?}");
        }
    }

    #[test]
    fn a_client_may_pause_for_as_long_as_is_written() {
        for (idle, written, of_client, patience) in
            [(3600, 3600, 4, 4), (60, 3600, 240, 4), (3600, 60, 4, 240)]
        {
            let [idle, written] = [idle, written].map(Duration::from_secs);
            let wait = wait(idle, Some(written));
            assert_eq!(longest_of_client(idle, Some(written)), written);
            assert_eq!((wait.of_client, wait.patience), (of_client, patience), "{idle:?} {written:?}");
        }
    }

    #[test]
    fn the_pause_of_a_client_begins_when_all_that_had_come_was_taken() {
        let progress = Progress::default();
        let moved = |turn: fn(&Progress)| {
            let before = progress.moved();
            turn(&progress);
            progress.moved() - before
        };
        assert_eq!([moved(Progress::starve), moved(Progress::starve)], [1, 0]);
        assert_eq!([moved(Progress::feed), moved(Progress::starve), moved(Progress::starve)], [1, 1, 0]);
    }
}
