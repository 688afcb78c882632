//! Why there is no answer, and what that says of the server.

use std::error::Error;

use thiserror::Error as ThisError;

/// Why there is no answer of the application.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ThisError)]
pub enum Failure {
    /// No server is up: none was asked.
    #[error("no server of the upstream is up")]
    NoneUp,
    /// Every server has as many requests as it may have, or there are as many tunnels as there may be.
    #[error("every server of the upstream is full")]
    Full,
    /// No connection came about.
    #[error("the server cannot be reached")]
    Unreachable,
    /// No TLS that can be trusted came about.
    #[error("the server's TLS cannot be trusted")]
    Untrusted,
    /// The connection ended before the head of the answer was complete.
    #[error("the server closed the connection without an answer")]
    Closed,
    /// What was answered is no HTTP, is longer than allowed, or was not asked for.
    #[error("the server's answer is no valid HTTP")]
    Garbage,
    /// No connection in time.
    #[error("no connection to the server in time")]
    ConnectTimeout,
    /// No head of an answer in time, or the server does not take the request's body.
    #[error("no answer of the server in time")]
    Timeout,
    /// The request's body is larger than allowed.
    #[error("the body of the request is too large")]
    BodyTooLarge,
    /// The client's request broke off.
    #[error("the request broke off")]
    RequestBroken,
    /// The client paused for too long within its request, or sent too slowly.
    #[error("the body of the request came too slowly")]
    RequestSlow,
    /// The request asks for an upgrade that is incomplete or cannot be passed on.
    #[error("the upgrade cannot be passed on")]
    BadUpgrade,
}

impl Failure {
    /// Whether it says that the server is not well. That an answer takes long speaks against one path, not the server.
    pub(crate) const fn speaks_against_server(self) -> bool {
        match self {
            Self::Unreachable | Self::Untrusted | Self::Closed | Self::ConnectTimeout => true,
            // Garbage is of the path that was asked for, which clients choose; the server is there.
            Self::Garbage
            | Self::NoneUp
            | Self::Full
            | Self::Timeout
            | Self::BodyTooLarge
            | Self::RequestBroken
            | Self::RequestSlow
            | Self::BadUpgrade => false,
        }
    }

    /// Whether no connection came about, so that another server may be asked whatever the request is.
    pub(crate) const fn is_before_connection(self) -> bool {
        matches!(self, Self::Unreachable | Self::Untrusted | Self::ConnectTimeout)
    }

    /// For reports.
    pub(crate) fn reason(self) -> String {
        self.to_string()
    }
}

/// What an error of an exchange means, if it was not the request's body that failed.
pub(crate) fn of_exchange(error: &hyper::Error) -> Failure {
    if error.is_parse() || error.is_parse_too_large() || error.is_parse_status() {
        return Failure::Garbage;
    }
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(protocol) = inner.downcast_ref::<hyper::Error>()
            && (protocol.is_parse() || protocol.is_parse_too_large())
        {
            return Failure::Garbage;
        }
        source = inner.source();
    }
    Failure::Closed
}

/// How a server of HTTP/2 said that it did nothing with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// It refused the stream, and takes others on the same connection.
    Stream,
    /// It goes away, and began with none from this one on.
    GoAway,
}

/// Whether a server of HTTP/2 said that it did nothing with the request, so that any may be sent again (RFC 9113 section
/// 8.7), and how.
pub(crate) fn refusal(error: &hyper::Error) -> Option<Refusal> {
    let error = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    let error = error.filter(|error| error.is_remote())?;
    if error.is_go_away() {
        return Some(Refusal::GoAway);
    }
    (error.reason() == Some(h2::Reason::REFUSED_STREAM)).then_some(Refusal::Stream)
}
