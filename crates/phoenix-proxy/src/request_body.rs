//! The body of a request on its way to an application, how far it is, and how long the head of its answer is waited for.
//!
//! Nothing is gathered: a frame is handed on before the next one is asked for.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;

use crate::failure::Failure;
use crate::hygiene;
use crate::pause::{Pauses, Timer};

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
    progress: Arc<Progress>,
}

/// Why an upload ended early. Only for the exchange; whoever waits reads [`Progress`].
#[derive(Clone, Copy, Debug, Error)]
pub(crate) enum UploadError {
    #[error("the body of the request is too large")]
    TooLarge,
    #[error("the body of the request broke off")]
    Broken,
}

/// How far an upload is, for those who wait for the answer.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    fate: AtomicU8,
    /// Counts frames, and wraps.
    moved: AtomicU32,
    /// Whether the last word was that the client must send more.
    starved: AtomicBool,
    waiter: AtomicWaker,
}

/// What became of an upload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    UnderWay,
    /// All of it was taken.
    Complete,
    TooLarge,
    Broken,
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
            _ => Fate::Abandoned,
        }
    }

    pub(crate) fn moved(&self) -> u32 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Only the first fate counts.
    fn end(&self, fate: Fate) {
        let code = match fate {
            Fate::UnderWay => return,
            Fate::Complete => 1,
            Fate::TooLarge => 2,
            Fate::Broken => 3,
            Fate::Abandoned => 4,
        };
        let _ = self.fate.compare_exchange(0, code, Ordering::AcqRel, Ordering::Acquire);
        self.waiter.wake();
    }
}

impl RequestBody {
    /// The body, and how far it is; of at most `max_body` bytes. It came over this version.
    pub(crate) fn new(
        incoming: Incoming,
        version: Version,
        max_body: u64,
    ) -> Result<(Self, Option<Arc<Progress>>), Failure> {
        if incoming.is_end_stream() {
            return Ok((Self::Empty, None));
        }
        if incoming.size_hint().lower() > max_body {
            return Err(Failure::BodyTooLarge);
        }
        let progress = Arc::<Progress>::default();
        let is_http2 = version == Version::HTTP_2;
        let upload = Upload { incoming, left: max_body, is_http2, progress: Arc::clone(&progress) };
        Ok((Self::Upload(Box::new(upload)), Some(progress)))
    }
}

/// Waits until a body that was announced as empty has ended so. In HTTP/2 it may yet turn out not to be what it was
/// announced as, and then the request is malformed and must not be passed on (RFC 9113 section 8.1.1); an application
/// that speaks HTTP/1.1 would have all of it by then.
pub(crate) async fn emptied(incoming: &mut Incoming, idle: Duration) -> Result<(), Failure> {
    while !incoming.is_end_stream() && incoming.size_hint().exact() == Some(0) {
        let frame = poll_fn(|context| Pin::new(&mut *incoming).poll_frame(context));
        match tokio::time::timeout(idle, frame).await {
            Ok(None) if !is_cut_off(incoming) => return Ok(()),
            Ok(Some(Ok(_))) => {}
            Ok(None | Some(Err(_))) | Err(_) => return Err(Failure::RequestBroken),
        }
    }
    Ok(())
}

/// Whether a body of HTTP/2 that gives no more has not come to its end. hyper takes every error with the code `NO_ERROR`
/// for an end: a reset with it, and a client that was given up because it answers no ping.
pub(crate) fn is_cut_off(incoming: &Incoming) -> bool {
    !incoming.is_end_stream()
}

impl Upload {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let Poll::Ready(next) = Pin::new(&mut self.incoming).poll_frame(context) else {
            self.progress.starved.store(true, Ordering::Relaxed);
            return Poll::Pending;
        };
        self.progress.starved.store(false, Ordering::Relaxed);
        self.progress.moved.fetch_add(1, Ordering::Relaxed);
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
    deadline: Duration,
    /// Set when the answer is not there at once.
    pub(crate) timer: Timer,
}

impl HeadWait {
    pub(crate) fn new(progress: Option<Arc<Progress>>, deadline: Duration, idle: Duration) -> Self {
        Self { progress, seen: 0, pauses: Pauses::new(idle), deadline, timer: Timer::default() }
    }

    /// What an error of the exchange means: the upload's fault comes first, because it caused the other.
    pub(crate) fn blame(&self, otherwise: Failure) -> Failure {
        match self.progress.as_ref().map(|progress| progress.fate()) {
            Some(Fate::TooLarge) => Failure::BodyTooLarge,
            Some(Fate::Broken) => Failure::RequestBroken,
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
                Fate::UnderWay => {
                    let moved = progress.moved();
                    if moved != self.seen {
                        self.seen = moved;
                        self.pauses.moved();
                    }
                    ready!(self.pauses.poll_too_long(context));
                    let starved = progress.starved.load(Ordering::Relaxed);
                    return Poll::Ready(if starved { Failure::RequestBroken } else { Failure::Timeout });
                }
                Fate::Complete | Fate::Abandoned => {}
            }
        }
        self.timer.poll(self.deadline, context).map(|()| Failure::Timeout)
    }
}
