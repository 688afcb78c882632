//! From a connection to one that is encrypted: bounded in time and number, with an answer for who speaks plain HTTP.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustls::HandshakeKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{HTTP2, TlsServer};

/// For who speaks HTTP where HTTPS is spoken.
const SPEAK_HTTPS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 49\r\nConnection: close\r\n\r\nThis port speaks HTTPS: write https:// before it\n";
/// Most bytes of such a request that are taken, so that the answer arrives before the connection is cut.
const MAX_TAKEN: u64 = 64 * 1024;

/// A connection after its handshake.
pub(crate) struct Secured {
    pub(crate) stream: TlsStream<TcpStream>,
    /// Chosen by ALPN; HTTP/1.1 otherwise.
    pub(crate) is_http2: bool,
    /// Whether the client showed a certificate of an administrator.
    pub(crate) has_certificate: bool,
}

impl TlsServer {
    /// The handshake, complete within `limit`. `None` when it was not, and whoever can be answered was.
    pub(crate) async fn accept(&self, stream: TcpStream, limit: Duration) -> Option<Secured> {
        match tokio::time::timeout(limit, self.shake_hands(stream)).await {
            Ok(Ok(secured)) => secured,
            Ok(Err(error)) => {
                self.counters.failed.fetch_add(1, Ordering::Relaxed);
                // What the client did wrong, in words of rustls; nothing that it sent.
                tracing::debug!(error = &error as &dyn std::error::Error, "a TLS handshake failed");
                None
            }
            Err(_elapsed) => {
                self.counters.failed.fetch_add(1, Ordering::Relaxed);
                tracing::debug!("a TLS handshake was not complete in time");
                None
            }
        }
    }

    async fn shake_hands(&self, mut stream: TcpStream) -> io::Result<Option<Secured>> {
        // Who says nothing takes no place from those who do.
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Ok(None);
        }
        // No record of TLS begins with a letter (RFC 8446 section 5.1), every request of HTTP does.
        if first[0].is_ascii_alphabetic() {
            self.counters.plain.fetch_add(1, Ordering::Relaxed);
            answer_in_plain(&mut stream).await?;
            return Ok(None);
        }
        let Ok(_permit) = self.handshakes.acquire().await else { return Ok(None) };
        stream.set_nodelay(true)?;
        let config = Arc::clone(&self.live.load().config);
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let (_, connection) = stream.get_ref();
        self.counters.complete.fetch_add(1, Ordering::Relaxed);
        if connection.handshake_kind() == Some(HandshakeKind::Resumed) {
            self.counters.resumed.fetch_add(1, Ordering::Relaxed);
        }
        let is_http2 = connection.alpn_protocol() == Some(HTTP2);
        let has_certificate = self.has_certificate(connection);
        Ok(Some(Secured { stream, is_http2, has_certificate }))
    }
}

async fn answer_in_plain(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(SPEAK_HTTPS).await?;
    stream.shutdown().await?;
    // A connection closed over unread bytes is reset, and the answer lost. The caller bounds the time.
    let mut rest = stream.take(MAX_TAKEN);
    let mut sink = [0; 1024];
    while rest.read(&mut sink).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_answer_says_how_long_it_is() {
        let text = std::str::from_utf8(SPEAK_HTTPS).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
