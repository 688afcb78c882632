//! The body of every answer: a buffer we rendered, a stream from a route, or an application's.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::Full;

use crate::gateway::ForwardBody;

/// Why a body ends before its time.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Body of an answer.
#[derive(Debug)]
pub enum Body {
    /// Complete.
    Full(Full<Bytes>),
    /// From a route of ours.
    Routed(axum::body::Body),
    /// From an application behind us.
    Forwarded(ForwardBody),
}

/// A body that is complete.
#[must_use]
pub fn full(bytes: Bytes) -> Body {
    Body::Full(Full::new(bytes))
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Full(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Self::Routed(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Forwarded(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(body) => body.is_end_stream(),
            Self::Routed(body) => body.is_end_stream(),
            Self::Forwarded(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(body) => body.size_hint(),
            Self::Routed(body) => body.size_hint(),
            Self::Forwarded(body) => body.size_hint(),
        }
    }
}
