//! The body of every answer: a buffer we rendered, or a stream from a route.

use bytes::Bytes;
use http_body_util::{Either, Full};

/// Body of an answer.
pub type Body = Either<Full<Bytes>, axum::body::Body>;

/// A body that is complete.
#[must_use]
pub fn full(bytes: Bytes) -> Body {
    Either::Left(Full::new(bytes))
}
