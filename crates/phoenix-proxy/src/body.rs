//! The body of an answer on its way to the client, as it comes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;

use crate::stalls::Watched;
use crate::{h1, h2, hygiene};

/// Why an answer's body ended before its end. The client's connection must end, too: part of it was sent.
#[derive(Debug, Error)]
pub enum AnswerError {
    /// The application broke it off, or it is no valid HTTP.
    #[error("the application broke off its answer")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing came for too long.
    #[error("the application paused for too long within its answer")]
    Idle,
    /// The client took nothing for too long.
    #[error("the client paused for too long within the answer")]
    Unread,
}

/// Body of an application's answer, as it comes. Dropping it ends the exchange.
#[derive(Debug)]
pub struct AnswerBody(pub(crate) Answer);

#[derive(Debug)]
pub(crate) enum Answer {
    /// Nothing is left.
    Empty,
    /// All of it came with the head.
    Whole(Bytes),
    Stream(Watched<Stream>),
}

/// An answer that comes in parts.
#[derive(Debug)]
pub(crate) enum Stream {
    Http1(h1::Answer),
    Http2(h2::Answer),
}

impl Body for Stream {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        match self.get_mut() {
            Self::Http1(answer) => answer.poll_next(context),
            Self::Http2(answer) => answer.poll_next(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(answer) => answer.is_end(),
            Self::Http2(answer) => answer.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(answer) => answer.size_hint(),
            Self::Http2(answer) => answer.size_hint(),
        }
    }
}

impl AnswerBody {
    pub(crate) const EMPTY: Self = Self(Answer::Empty);

    /// The body, if all of it is here.
    ///
    /// # Errors
    /// The same body, if more is to come.
    pub fn into_whole(self) -> Result<Bytes, Self> {
        match self.0 {
            Answer::Empty => Ok(Bytes::new()),
            Answer::Whole(bytes) => Ok(bytes),
            Answer::Stream(_) => Err(self),
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        match &mut self.0 {
            Answer::Empty => Poll::Ready(None),
            Answer::Whole(bytes) => {
                let frame = Frame::data(std::mem::take(bytes));
                self.0 = Answer::Empty;
                Poll::Ready(Some(Ok(frame)))
            }
            Answer::Stream(stream) => stream.poll_next(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Answer::Empty => true,
            Answer::Whole(_) => false,
            Answer::Stream(stream) => stream.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Answer::Empty => SizeHint::with_exact(0),
            Answer::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Answer::Stream(stream) => stream.size_hint(),
        }
    }
}

/// Removes from an answer's trailers what may not be there.
pub(crate) fn cleaned(frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
    match frame.into_data() {
        Ok(data) => Some(Frame::data(data)),
        Err(other) => other.into_trailers().ok().and_then(hygiene::trailers).map(Frame::trailers),
    }
}
