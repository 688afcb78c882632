//! A request's way to a server: its head, and its body with the framing of HTTP/1.1 (RFC 9112 sections 6 and 7). Nothing
//! of the body is gathered: one part is on its way before the next is asked for.

use std::fmt::Write as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, TRAILER};
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame};
use tokio::io::AsyncWrite;

use super::head;
use crate::config::Origin;
use crate::connect::Stream;
use crate::outbound::Outbound;
use crate::request_body::RequestBody;

/// What of a request is still to be sent.
#[derive(Default)]
pub(super) struct Upload {
    /// The head, or the framing before `data`.
    front: BytesMut,
    /// A part of the body.
    data: Bytes,
    /// The framing after `data`.
    back: &'static [u8],
    /// What is still to come, if anything is.
    body: Option<RequestBody>,
    framing: Framing,
    /// The trailers that the head speaks of. Others are not sent (RFC 9110 section 6.6.2 lets a recipient count on it).
    announced: Vec<HeaderName>,
    /// Nothing was sent, and nothing taken off the body.
    is_untouched: bool,
    /// Written, but perhaps not yet on its way.
    is_unflushed: bool,
}

/// How a body's end is told.
#[derive(Clone, Copy, Default)]
enum Framing {
    /// By its length, of which so much is left.
    Exact(u64),
    #[default]
    Chunked,
}

impl Upload {
    /// Takes a request; the one before is over.
    pub(super) fn begin(&mut self, request: &mut Outbound<'_>, origin: &Origin, keep_host: bool) {
        let length =
            request.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let has_body = matches!(request.body, RequestBody::Upload(_));
        self.framing = length.map_or(Framing::Chunked, Framing::Exact);
        self.announced.clear();
        if has_body {
            let names = request.headers.get_all(TRAILER).iter();
            let names = names.flat_map(|names| names.as_bytes().split(|byte| *byte == b','));
            self.announced.extend(names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()));
        }
        self.front.clear();
        head::write(&mut self.front, request, request.host(origin, keep_host), has_body && length.is_none());
        self.body = has_body.then(|| std::mem::take(&mut request.body));
        self.is_untouched = true;
        self.is_unflushed = true;
    }

    /// Whether all of it is on its way.
    pub(super) fn is_over(&self) -> bool {
        self.body.is_none() && self.is_written() && !self.is_unflushed
    }

    /// Whether nothing was sent, and the body can be taken back.
    pub(super) fn is_untouched(&self) -> bool {
        self.is_untouched
    }

    /// The body of a request that was not touched.
    pub(super) fn take_body(&mut self) -> RequestBody {
        self.body.take().unwrap_or_default()
    }

    /// No more is sent.
    pub(super) fn abandon(&mut self) {
        *self = Self::default();
    }

    /// Sends what there is; ready when all of it is on its way.
    pub(super) fn poll(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // The first part goes with the head.
            if self.data.is_empty()
                && self.back.is_empty()
                && let Some(body) = &mut self.body
            {
                let frame = Pin::new(body).poll_frame(context);
                if frame.is_ready() {
                    self.is_untouched = false;
                }
                match frame {
                    Poll::Ready(Some(Ok(frame))) => self.add(frame)?,
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(io::Error::other(error))),
                    Poll::Ready(None) => self.end(None)?,
                    Poll::Pending => {
                        ready!(self.poll_write(stream, context))?;
                        return Poll::Pending;
                    }
                }
            }
            ready!(self.poll_write(stream, context))?;
            if self.body.is_none() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn add(&mut self, frame: Frame<Bytes>) -> io::Result<()> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(other) => return self.end(other.trailers_ref()),
        };
        if data.is_empty() {
            return Ok(());
        }
        match &mut self.framing {
            Framing::Exact(left) => {
                let after = left.checked_sub(data.len() as u64);
                *left = after.ok_or_else(|| io::Error::other("the body is longer than it was said to be"))?;
            }
            Framing::Chunked => {
                let _ = write!(self.front, "{:x}\r\n", data.len());
                self.back = b"\r\n";
            }
        }
        self.data = data;
        if self.body.as_ref().is_some_and(Body::is_end_stream) {
            if matches!(self.framing, Framing::Chunked) {
                self.back = b"\r\n0\r\n\r\n";
                self.body = None;
                return Ok(());
            }
            return self.end(None);
        }
        Ok(())
    }

    /// The body has ended.
    fn end(&mut self, trailers: Option<&HeaderMap>) -> io::Result<()> {
        self.body = None;
        match self.framing {
            Framing::Exact(0) => {}
            Framing::Exact(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Framing::Chunked => {
                self.front.extend_from_slice(b"0\r\n");
                let announced = |name: &HeaderName| self.announced.contains(name);
                for (name, value) in trailers.into_iter().flatten().filter(|(name, _)| announced(name)) {
                    for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                        self.front.extend_from_slice(part);
                    }
                }
                self.front.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }

    fn is_written(&self) -> bool {
        self.front.is_empty() && self.data.is_empty() && self.back.is_empty()
    }

    /// Writes what was taken, and lets it go on its way.
    fn poll_write(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_written() {
            let written = ready!(self.poll_write_some(Pin::new(&mut *stream), context))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            (self.is_untouched, self.is_unflushed) = (false, true);
            let of_front = written.min(self.front.len());
            self.front.advance(of_front);
            let of_data = (written - of_front).min(self.data.len());
            self.data.advance(of_data);
            self.back = self.back.get(written - of_front - of_data..).unwrap_or_default();
        }
        self.data = Bytes::new();
        if self.is_unflushed {
            ready!(Pin::new(stream).poll_flush(context))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_some(
        &self,
        stream: Pin<&mut Stream>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.data.is_empty() && self.back.is_empty() {
            // For one slice, the system's plain write costs less.
            return stream.poll_write(context, &self.front);
        }
        let slices = [&*self.front, &*self.data, self.back].map(IoSlice::new);
        let first = slices.iter().take_while(|slice| slice.is_empty()).count();
        stream.poll_write_vectored(context, slices.get(first..).unwrap_or_default())
    }
}
