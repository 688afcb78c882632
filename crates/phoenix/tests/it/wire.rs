//! A connection on which a test sends bytes and reads them as they come.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest wait for anything that should happen soon.
const SOON: Duration = Duration::from_secs(20);

/// A connection, and what was read of it and not used yet.
pub(crate) struct Wire<S = TcpStream> {
    stream: S,
    ahead: Vec<u8>,
}

/// A frame of a WebSocket (RFC 6455 section 5.2): its code and its payload.
pub(crate) type Frame = (u8, Vec<u8>);

/// Asks for a WebSocket, with the key of RFC 6455 section 1.3.
pub(crate) fn upgrade(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("it happens soon")
}

impl Wire {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::on(soon(TcpStream::connect(address)).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn on(stream: S) -> Self {
        Self { stream, ahead: Vec::new() }
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// As much as goes: the other side may have had enough.
    pub(crate) async fn try_write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = soon(self.stream.write_all(bytes.as_ref())).await;
    }

    /// Everything up to and with this text.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.ahead.windows(text.len()).position(|part| part == text.as_bytes()) {
                let rest = self.ahead.split_off(at + text.len());
                let found = std::mem::replace(&mut self.ahead, rest);
                return String::from_utf8_lossy(&found).into_owned();
            }
            let mut space = vec![0; 16 * 1024];
            let read = soon(self.stream.read(&mut space)).await.unwrap();
            assert!(read > 0, "{text:?} never came: {}", String::from_utf8_lossy(&self.ahead));
            self.ahead.extend_from_slice(&space[..read]);
        }
    }

    /// The head of an answer.
    pub(crate) async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// Everything until the other side closes; a reset is an end as well.
    pub(crate) async fn rest(&mut self) -> String {
        let mut all = std::mem::take(&mut self.ahead);
        let _ = soon(self.stream.read_to_end(&mut all)).await;
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Reads so many bytes, and forgets them.
    pub(crate) async fn skip(&mut self, count: usize) {
        let mut left = count.saturating_sub(self.ahead.len());
        self.ahead.clear();
        let mut space = vec![0; 64 * 1024];
        while left > 0 {
            let read = soon(self.stream.read(&mut space)).await.unwrap();
            assert!(read > 0, "the answer ended {left} bytes early");
            left = left.saturating_sub(read);
        }
    }

    /// Sends a frame, masked as clients must.
    pub(crate) async fn send_frame(&mut self, code: u8, payload: &[u8]) {
        let mask = [7, 1, 250, 33];
        let length = u8::try_from(payload.len()).unwrap();
        assert!(length < 126, "short frames only");
        let mut frame = vec![0x80 | code, 0x80 | length];
        frame.extend_from_slice(&mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.write(frame).await;
    }

    /// The next frame of the server.
    pub(crate) async fn frame(&mut self) -> Frame {
        let start = self.take(2).await;
        let payload = self.take(usize::from(start[1])).await;
        (start[0] & 0x0F, payload)
    }

    async fn take(&mut self, count: usize) -> Vec<u8> {
        while self.ahead.len() < count {
            let mut space = vec![0; 1024];
            let read = soon(self.stream.read(&mut space)).await.unwrap();
            assert!(read > 0, "the connection ended");
            self.ahead.extend_from_slice(&space[..read]);
        }
        let rest = self.ahead.split_off(count);
        std::mem::replace(&mut self.ahead, rest)
    }
}
