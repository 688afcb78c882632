//! HTTP/1.1 with a server: one exchange at a time on a connection that is driven by whoever waits for it.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use crate::body::{self, AnswerBody, AnswerError, Fate, HeadWait, Progress, RequestBody};
use crate::connect::Stream;
use crate::failure::{self, Failure};
use crate::pause::Pauses;
use crate::server::Place;

/// Largest head of an answer, and largest set of trailers, in bytes.
const HEAD_BYTES: usize = 64 * 1024;
/// Longest wait for a connection to become a tunnel once the server has agreed.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection.
pub(crate) struct Link {
    sender: SendRequest<RequestBody>,
    /// `None` when it has ended, or somebody else drives it.
    connection: Option<Connection<TokioIo<Stream>, RequestBody>>,
    /// It has ended, but may hold the stream of an upgrade.
    is_over: bool,
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Link").field("is_over", &self.is_over).finish_non_exhaustive()
    }
}

/// An exchange that came to nothing.
pub(crate) struct Broken {
    pub(crate) failure: Failure,
    /// The request, if nothing of it was sent.
    pub(crate) unsent: Option<Box<Request<RequestBody>>>,
}

/// Begins to speak HTTP/1.1.
pub(crate) async fn open(stream: Stream) -> Result<Box<Link>, Failure> {
    let mut builder = http1::Builder::new();
    // The number of fields has hyper's default bound of 100: any other costs an allocation for each answer.
    builder.max_buf_size(HEAD_BYTES).max_header_size(HEAD_BYTES);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|_| Failure::Closed)?;
    Ok(Box::new(Link { sender, connection: Some(connection), is_over: false }))
}

impl Link {
    /// Sends a request in origin form and waits for the head of its answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
        wait: &mut HeadWait,
    ) -> Result<Response<Incoming>, Broken> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let (connection, is_over) = (&mut self.connection, &mut self.is_over);
        poll_fn(move |context| {
            drive(connection, is_over, context);
            let mut answered = answer.as_mut().poll(context);
            if answered.is_pending() && *is_over {
                // A request that it did not get to is handed back when it is dropped.
                *connection = None;
                answered = answer.as_mut().poll(context);
            }
            match answered {
                Poll::Ready(Ok(answer)) => Poll::Ready(Ok(answer)),
                Poll::Ready(Err(mut error)) => {
                    let unsent = error.take_message().map(Box::new);
                    let failure = wait.blame(failure::of_exchange(error.error()));
                    Poll::Ready(Err(Broken { failure, unsent }))
                }
                Poll::Pending => wait.poll(context).map(|failure| Err(Broken { failure, unsent: None })),
            }
        })
        .await
    }

    /// The stream of a connection on which the server has agreed to something else, and what of it was read.
    pub(crate) async fn into_stream(mut self: Box<Self>) -> Result<(Stream, Bytes), Failure> {
        let (connection, is_over) = (&mut self.connection, &mut self.is_over);
        let ended = poll_fn(|context| {
            drive(connection, is_over, context);
            if *is_over { Poll::Ready(()) } else { Poll::Pending }
        });
        tokio::time::timeout(UPGRADE_TIMEOUT, ended).await.map_err(|_| Failure::Closed)?;
        let parts = self.connection.take().ok_or(Failure::Closed)?.into_parts();
        Ok((parts.io.into_inner(), parts.read_buf))
    }

    /// Whether it waits for the next request. Nobody is woken by it afterwards.
    pub(crate) fn is_idle(&mut self) -> bool {
        // A waker of this task would be woken by the next user, on behalf of another client.
        drive(&mut self.connection, &mut self.is_over, &mut Context::from_waker(Waker::noop()));
        !self.is_over && self.connection.is_some() && self.sender.is_ready()
    }

    /// Lets a task drive the connection, until the handle is dropped.
    fn detach(&mut self, tasks: &TaskTracker) -> Option<Detached> {
        let mut connection = self.connection.take()?;
        let task = async move {
            let _ = poll_fn(|context| connection.poll_without_shutdown(context)).await;
        };
        Some(Detached(tasks.spawn(task).abort_handle()))
    }
}

fn drive(
    connection: &mut Option<Connection<TokioIo<Stream>, RequestBody>>,
    is_over: &mut bool,
    context: &mut Context<'_>,
) {
    if let Some(open) = connection
        && !*is_over
        && open.poll_without_shutdown(context).is_ready()
    {
        *is_over = true;
    }
}

/// A connection that a task drives. Dropping it closes the connection.
#[derive(Debug)]
struct Detached(AbortHandle);

impl Drop for Detached {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Body of an answer. It drives its connection, and gives it back to the server's pool at its end.
#[derive(Debug)]
pub(crate) struct Answer {
    incoming: Incoming,
    /// Came with the head.
    first: Option<Frame<Bytes>>,
    /// The connection, until the end.
    link: Option<Box<Link>>,
    detached: Option<Detached>,
    place: Option<Place>,
    pauses: Pauses,
    progress: Option<Arc<Progress>>,
    seen: u32,
    /// Until when the connection may be used again.
    usable_until: Option<Duration>,
}

/// What an answer's body needs besides the answer.
pub(crate) struct Rest {
    pub(crate) link: Box<Link>,
    pub(crate) place: Place,
    pub(crate) progress: Option<Arc<Progress>>,
    pub(crate) idle: Duration,
    /// Until when the connection may be used again; `None` if it must not.
    pub(crate) usable_until: Option<Duration>,
}

/// The body of an answer. What has come with the head is taken at once: most answers are complete then, and their
/// connection is free.
pub(crate) async fn answer(
    incoming: Incoming,
    rest: Rest,
    tasks: &TaskTracker,
) -> Result<AnswerBody, Failure> {
    let Rest { link, place, progress, idle, usable_until } = rest;
    let mut answer = Answer {
        incoming,
        first: None,
        link: Some(link),
        detached: None,
        place: Some(place),
        pauses: Pauses::new(idle),
        progress,
        seen: 0,
        usable_until,
    };
    if answer.progress.as_ref().is_some_and(|progress| progress.fate() == Fate::UnderWay) {
        // The answer came before the end of the request. A client may send all before it reads anything, so the upload
        // must go on though nobody asks for the body.
        answer.detached = answer.link.as_mut().and_then(|link| link.detach(tasks));
        answer.link = None;
        return Ok(AnswerBody(body::Answer::Http1(Box::new(answer))));
    }
    if answer.incoming.is_end_stream() {
        answer.finish();
        return Ok(AnswerBody::EMPTY);
    }
    match poll_fn(|context| Poll::Ready(answer.poll_incoming(context))).await {
        Poll::Ready(None) => return Ok(AnswerBody::EMPTY),
        // Nothing was sent to the client yet.
        Poll::Ready(Some(Err(_))) => return Err(Failure::Closed),
        Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
            Ok(bytes) if answer.link.is_none() => return Ok(AnswerBody(body::Answer::Whole(bytes))),
            Ok(bytes) => answer.first = Some(Frame::data(bytes)),
            Err(trailers) => answer.first = Some(trailers),
        },
        Poll::Pending => {}
    }
    Ok(AnswerBody(body::Answer::Http1(Box::new(answer))))
}

impl Answer {
    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        if let Poll::Ready(next) = self.poll_incoming(context) {
            self.pauses.moved();
            return Poll::Ready(next.map(|next| next.map_err(AnswerError::Broken)));
        }
        if let Some(moved) = self.progress.as_ref().map(|progress| progress.moved())
            && moved != self.seen
        {
            self.seen = moved;
            self.pauses.moved();
        }
        self.pauses.poll_too_long(context).map(|()| {
            self.close();
            Some(Err(AnswerError::Idle))
        })
    }

    fn poll_incoming(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut next = Pin::new(&mut self.incoming).poll_frame(context);
        if next.is_pending()
            && let Some(link) = &mut self.link
        {
            drive(&mut link.connection, &mut link.is_over, context);
            if link.is_over {
                link.connection = None;
            }
            next = Pin::new(&mut self.incoming).poll_frame(context);
        }
        match next {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => {
                if self.incoming.is_end_stream() || frame.is_trailers() {
                    self.finish();
                }
                // Trailers of which nothing is left are the end.
                Poll::Ready(body::cleaned(frame).map(Ok))
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.close();
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    /// All of the answer is here.
    fn finish(&mut self) {
        if let (Some(mut link), Some(place)) = (self.link.take(), self.place.take())
            && let Some(until) = self.usable_until
            && link.is_idle()
        {
            place.server().pool.put(link, until);
        }
        self.close();
    }

    fn close(&mut self) {
        self.link = None;
        self.detached = None;
        self.place = None;
    }

    pub(crate) fn is_end(&self) -> bool {
        self.first.is_none() && self.incoming.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
        let rest = self.incoming.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(first));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(first));
        }
        hint
    }
}
