//! Opens a connection to a server: TCP, and TLS with the protocol that both sides agree on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::{Origin, Protocol};
use crate::failure::Failure;

/// A connection to a server.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What is spoken on a new connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Spoken {
    Http1,
    Http2,
}

/// Opens a connection within `timeout`; one that speaks HTTP/1.1 if it is for an upgrade.
pub(crate) async fn connect(
    origin: &Origin,
    protocol: Protocol,
    for_upgrade: bool,
    timeout: Duration,
) -> Result<(Stream, Spoken), Failure> {
    let opened = tokio::time::timeout(timeout, open(origin, protocol, for_upgrade)).await;
    opened.unwrap_or(Err(Failure::ConnectTimeout))
}

async fn open(origin: &Origin, protocol: Protocol, for_upgrade: bool) -> Result<(Stream, Spoken), Failure> {
    let address = (origin.server.host.as_str(), origin.server.port);
    let stream = TcpStream::connect(address).await.map_err(|error| {
        tracing::debug!(server = %origin.server, %error, "connect to a server of the application");
        Failure::Unreachable
    })?;
    // What is written is a whole message or part of a stream; neither is to wait for more.
    let _ = stream.set_nodelay(true);
    let Some(tls) = &origin.tls else {
        let spoken = if protocol == Protocol::Http2 { Spoken::Http2 } else { Spoken::Http1 };
        return Ok((Stream::Plain(stream), spoken));
    };
    let config = if for_upgrade { &tls.http1 } else { &tls.config };
    let connector = TlsConnector::from(std::sync::Arc::clone(config));
    let stream = connector.connect(tls.name.clone(), stream).await.map_err(|error| {
        tracing::debug!(server = %origin.server, %error, "TLS with a server of the application");
        Failure::Untrusted
    })?;
    let agreed = stream.get_ref().1.alpn_protocol();
    let spoken = match (protocol, agreed) {
        (_, Some(b"h2")) | (Protocol::Http2, None) => Spoken::Http2,
        (_, _) => Spoken::Http1,
    };
    Ok((Stream::Tls(Box::new(stream)), spoken))
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A request without a body is one slice, for which the system's plain write costs less.
        if let [bytes] = slices {
            return self.poll_write(context, bytes);
        }
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
