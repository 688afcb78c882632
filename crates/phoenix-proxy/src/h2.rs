//! HTTP/2 with a server: all exchanges share one connection, which a task of its own drives.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::task::TaskTracker;

use crate::body::{self, AnswerError};
use crate::config::Origin;
use crate::connect::Stream;
use crate::failure::{self, Failure};
use crate::h1::Broken;
use crate::outbound::Outbound;
use crate::pause::Pauses;
use crate::request_body::{self, HeadWait, Progress, RequestBody};
use crate::server::Place;

/// Largest head of an answer in bytes, as RFC 9113 counts (section 6.5.2).
const HEAD_BYTES: u32 = 64 * 1024;
/// Bytes that a server may send ahead on one stream.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes that a server may send ahead on a connection.
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// A connection on which nothing comes for this long is asked for a sign of life.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Without one for this long, it is closed.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// The way to a server that speaks HTTP/2. A clone is another way over the same connection.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    requests: SendRequest<RequestBody>,
    begun: Begun,
}

/// The upload that was asked for its first part last. hyper asks right before it makes the task that carries the rest, and
/// tells nobody which task that is: so the next one made is it, or what waits for the head of its answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Begun(Arc<Mutex<Option<Arc<Progress>>>>);

impl Begun {
    /// To be called when an upload is asked for its first part.
    pub(crate) fn set(&self, upload: &Arc<Progress>) {
        *self.lock() = Some(Arc::clone(upload));
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Progress>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// Whether both lead over the same connection.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.begun.0, &other.begun.0)
    }

    /// Whether no more requests can be sent.
    pub(crate) fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }
}

/// Runs a connection's tasks under the tracker.
#[derive(Clone)]
struct Tasks {
    tracker: TaskTracker,
    begun: Begun,
}

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        let upload = self.begun.lock().take();
        let task = self.tracker.spawn(future);
        if let Some(upload) = upload {
            upload.is_carried_by(task.abort_handle());
        }
    }
}

/// Begins to speak HTTP/2. The connection ends when the last of its links is dropped, or with the server.
pub(crate) async fn open(stream: Stream, tasks: &TaskTracker) -> Result<Link, Failure> {
    let begun = Begun::default();
    let mut builder = http2::Builder::new(Tasks { tracker: tasks.clone(), begun: begun.clone() });
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    let (requests, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|_| Failure::Closed)?;
    tasks.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to a server of the application");
        }
    });
    Ok(Link { requests, begun })
}

/// Sends a request and waits for the head of its answer. The body is taken out of the request unless nothing was sent.
pub(crate) async fn send(
    link: &mut Link,
    request: &mut Outbound<'_>,
    origin: &Origin,
    keep_host: bool,
    wait: &mut HeadWait,
) -> Result<Response<Incoming>, Broken> {
    let has_body = match &mut request.body {
        RequestBody::Upload(upload) => {
            upload.goes_over(&link.begun);
            true
        }
        RequestBody::Empty => false,
    };
    let mut answer = pin!(link.requests.try_send_request(request.take_http2(origin, keep_host)));
    poll_fn(move |context| match answer.as_mut().poll(context) {
        Poll::Ready(Ok(answer)) => Poll::Ready(Ok(answer)),
        Poll::Ready(Err(mut error)) => {
            let unsent = error.take_message();
            let refusal = failure::refusal(error.error());
            let is_unsent = unsent.is_some() || (refusal.is_some() && !has_body);
            if let Some(unsent) = unsent {
                request.body = unsent.into_body();
            }
            let failure = wait.blame(failure::of_exchange(error.error()));
            Poll::Ready(Err(Broken { failure, is_unsent, refusal }))
        }
        Poll::Pending => {
            wait.poll(context).map(|failure| Err(Broken { failure, is_unsent: false, refusal: None }))
        }
    })
    .await
}

/// Body of an answer. Dropping it resets the stream, and ends the upload: hyper resets only what waits for a head.
#[derive(Debug)]
pub(crate) struct Answer {
    incoming: Incoming,
    pauses: Pauses,
    progress: Option<Arc<Progress>>,
    seen: u32,
    _place: Place,
}

impl Answer {
    pub(crate) fn new(
        incoming: Incoming,
        idle: Duration,
        progress: Option<Arc<Progress>>,
        place: Place,
    ) -> Self {
        Self { incoming, pauses: Pauses::new(idle), progress, seen: 0, _place: place }
    }

    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        if let Poll::Ready(next) = Pin::new(&mut self.incoming).poll_frame(context) {
            self.pauses.moved();
            return Poll::Ready(match next {
                None if request_body::is_cut_off(&self.incoming) => {
                    Some(Err(AnswerError::Broken(io::Error::from(io::ErrorKind::UnexpectedEof).into())))
                }
                None => None,
                Some(Ok(frame)) => body::cleaned(frame).map(Ok),
                Some(Err(error)) => Some(Err(AnswerError::Broken(error.into()))),
            });
        }
        if let Some(moved) = self.progress.as_ref().map(|progress| progress.moved())
            && moved != self.seen
        {
            self.seen = moved;
            self.pauses.moved();
        }
        self.pauses.poll_too_long(context).map(|()| Some(Err(AnswerError::Idle)))
    }

    pub(crate) fn is_end(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(progress) = &self.progress {
            progress.abort();
        }
    }
}
