//! HTTP/1.1 with a server: one exchange at a time on a connection that is driven by whoever waits for it.
//!
//! Owns the connection and its exchange. `head` knows heads and where an answer ends, `chunked` the chunked coding,
//! `upload` the way of a request's body, `answer` that of an answer's.

mod answer;
mod chunked;
mod head;
mod upload;

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

use self::upload::Upload;
use crate::config::Origin;
use crate::connect::Stream;
use crate::failure::{Failure, Refusal};
use crate::outbound::Outbound;
use crate::pause::Timer;
use crate::request_body::HeadWait;

// What takes bytes of a server apart is public for the sake of `fuzz/`.
pub use self::answer::{Decoder, Part};
pub use self::chunked::Malformed;
pub use self::head::{Garbage, Head, Length, read as read_head};

pub(crate) use self::answer::{Answer, Rest, answer};

/// Room for one read, at first.
const MIN_READ_BYTES: usize = 8 * 1024;
/// Most bytes read at once. What an answer needs beyond this waits in the system, and so holds the server back.
const MAX_READ_BYTES: usize = 128 * 1024;

/// A connection.
pub(crate) struct Link {
    stream: Stream,
    /// Read, but not yet used.
    input: BytesMut,
    /// Room for the next read: grows with what comes.
    room: usize,
    upload: Upload,
    /// For the waits of one exchange after another.
    timer: Timer,
    /// It must not be used again.
    is_spent: bool,
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Link").field("is_spent", &self.is_spent).finish_non_exhaustive()
    }
}

/// An exchange that came to nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Broken {
    pub(crate) failure: Failure,
    /// Nothing of the request was sent, or the server said that it did nothing with it: it can be sent again.
    pub(crate) is_unsent: bool,
    /// How the server said that it did nothing with the request, if it did.
    pub(crate) refusal: Option<Refusal>,
}

impl Link {
    /// Begins to speak HTTP/1.1.
    pub(crate) fn new(stream: Stream) -> Box<Self> {
        Box::new(Self {
            stream,
            input: BytesMut::new(),
            room: MIN_READ_BYTES,
            upload: Upload::default(),
            timer: Timer::default(),
            is_spent: false,
        })
    }

    /// Sends a request and waits for the head of its answer. The body is taken out of the request unless nothing was sent.
    pub(crate) async fn send(
        &mut self,
        request: &mut Outbound<'_>,
        origin: &Origin,
        keep_host: bool,
        wait: &mut HeadWait,
    ) -> Result<Head, Broken> {
        self.upload.begin(request, origin, keep_host);
        wait.timer = std::mem::take(&mut self.timer);
        let mut is_first = true;
        let sent = poll_fn(|context| {
            if std::mem::take(&mut is_first) {
                return self.poll_begin(wait, context);
            }
            self.poll_head(request, wait, context)
        });
        let sent = sent.await;
        self.timer = std::mem::take(&mut wait.timer);
        self.timer.stop();
        sent.map_err(|failure| {
            let is_unsent = self.upload.is_untouched();
            if is_unsent {
                request.body = self.upload.take_body();
            }
            Broken { failure, is_unsent, refusal: None }
        })
    }

    /// Sends the beginning of a request on a connection that is still there. No answer can have come yet; whoever waits
    /// is woken when one does.
    fn poll_begin(&mut self, wait: &mut HeadWait, context: &mut Context<'_>) -> Poll<Result<Head, Failure>> {
        // What a server says before it is asked is no answer, and after its end it says no more.
        if self.is_spent || !self.input.is_empty() || self.poll_fill(context, 0).is_ready() {
            self.is_spent = true;
            return Poll::Ready(Err(Failure::Closed));
        }
        match self.poll_upload(context) {
            // It may have answered before it closed: why it does not want the rest, for example.
            Poll::Ready(Err(_)) if !self.upload.is_untouched() => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(wait.blame(Failure::Closed))),
            Poll::Ready(Ok(())) | Poll::Pending => wait.poll(context).map(Err),
        }
    }

    fn poll_head(
        &mut self,
        request: &Outbound<'_>,
        wait: &mut HeadWait,
        context: &mut Context<'_>,
    ) -> Poll<Result<Head, Failure>> {
        if self.poll_upload(context).is_ready() {
            let blamed = wait.blame(Failure::Closed);
            if blamed != Failure::Closed {
                return Poll::Ready(Err(blamed));
            }
        }
        loop {
            match self.poll_fill(context, 0) {
                Poll::Ready(Ok(0) | Err(_)) => {
                    return Poll::Ready(Err(wait.blame(Failure::Closed)));
                }
                Poll::Ready(Ok(_)) => match read_head(&mut self.input, &request.method) {
                    Ok(Some((head, is_kept))) => {
                        self.is_spent |= !is_kept;
                        return Poll::Ready(Ok(head));
                    }
                    Ok(None) => {}
                    Err(_) => return Poll::Ready(Err(wait.blame(Failure::Garbage))),
                },
                Poll::Pending => return wait.poll(context).map(Err),
            }
        }
    }

    /// Sends what there is of the request; ready when all of it is on its way. An error is of the connection, or of the
    /// body, which says so itself.
    fn poll_upload(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.upload.is_over() {
            return Poll::Ready(Ok(()));
        }
        let sent = self.upload.poll(&mut self.stream, context);
        if let Poll::Ready(Err(_)) = sent {
            self.is_spent = true;
            if !self.upload.is_untouched() {
                self.upload.abandon();
            }
        }
        sent
    }

    /// Reads more, if there is any; at least `expected` bytes are welcome.
    fn poll_fill(&mut self, context: &mut Context<'_>, expected: u64) -> Poll<io::Result<usize>> {
        let expected = usize::try_from(expected).unwrap_or(MAX_READ_BYTES).min(MAX_READ_BYTES);
        let offered = self.room.max(expected);
        self.input.reserve(offered);
        let read = ready!(poll_read_buf(Pin::new(&mut self.stream), context, &mut self.input))?;
        if read >= self.room {
            self.room = (self.room * 2).min(MAX_READ_BYTES);
        } else if read < self.room / 8 {
            self.room = (self.room / 2).max(MIN_READ_BYTES);
        }
        Poll::Ready(Ok(read))
    }

    /// The stream of a connection on which the server has agreed to something else, and what of it was read.
    pub(crate) fn into_stream(self: Box<Self>) -> (Stream, Bytes) {
        (self.stream, self.input.freeze())
    }

    /// Whether it could take another request, as far as it knows. What is not needed meanwhile is given back.
    fn rest(&mut self) -> bool {
        let is_ready = !self.is_spent && self.upload.is_over() && self.input.is_empty();
        if self.room > MIN_READ_BYTES {
            self.input = BytesMut::new();
        }
        is_ready
    }

    /// Whether it waits for the next request. Nobody is woken by it afterwards.
    pub(crate) fn is_idle(&mut self) -> bool {
        if self.is_spent {
            return false;
        }
        // A waker of this task would be woken by the next user, on behalf of another client.
        let mut context = Context::from_waker(Waker::noop());
        let mut byte = [0];
        self.is_spent =
            Pin::new(&mut self.stream).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_ready();
        !self.is_spent
    }
}
