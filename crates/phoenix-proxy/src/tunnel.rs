//! Carries bytes between a client and a server that agreed to speak something else.
//!
//! An idle tunnel holds no buffer: bytes are read into the stack, and only what the other side does not take at once is
//! kept, until it does.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use crate::pause::Pauses;

/// Most bytes read at once, and most that are kept for each direction.
const BUFFER_BYTES: usize = 16 * 1024;

/// How many tunnels there are.
#[derive(Clone, Debug)]
pub(crate) struct Tunnels {
    open: Arc<AtomicUsize>,
    most: usize,
}

/// One of them. Dropping it makes room.
#[derive(Debug)]
pub(crate) struct TunnelPlace(Arc<AtomicUsize>);

impl Tunnels {
    pub(crate) fn new(most: usize) -> Self {
        Self { open: Arc::default(), most }
    }

    pub(crate) fn enter(&self) -> Option<TunnelPlace> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let place = TunnelPlace(Arc::clone(&self.open));
        (before < self.most).then_some(place)
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Drop for TunnelPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One direction.
#[derive(Debug, Default)]
struct Half {
    /// Read, but not yet written.
    rest: Bytes,
    /// Written, but perhaps not yet on its way.
    unflushed: bool,
    /// No more will come.
    is_over: bool,
    /// The other side knows.
    is_shut: bool,
}

impl Half {
    /// Moves what can be moved; ready when this direction has ended. Sets `moved` if anything did.
    fn poll<R, W>(
        &mut self,
        context: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        moved: &mut bool,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut space = [MaybeUninit::uninit(); BUFFER_BYTES];
        loop {
            while self.rest.has_remaining() {
                let written = ready!(Pin::new(&mut *to).poll_write(context, &self.rest))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.rest.advance(written);
                (self.unflushed, *moved) = (true, true);
            }
            self.rest = Bytes::new();
            if self.is_over {
                if !self.is_shut {
                    ready!(Pin::new(&mut *to).poll_shutdown(context))?;
                    self.is_shut = true;
                }
                return Poll::Ready(Ok(()));
            }
            let mut buffer = ReadBuf::uninit(&mut space);
            if Pin::new(&mut *from).poll_read(context, &mut buffer)?.is_pending() {
                if self.unflushed {
                    ready!(Pin::new(&mut *to).poll_flush(context))?;
                    self.unflushed = false;
                }
                return Poll::Pending;
            }
            *moved = true;
            let bytes = buffer.filled();
            if bytes.is_empty() {
                self.is_over = true;
                continue;
            }
            match Pin::new(&mut *to).poll_write(context, bytes)? {
                Poll::Ready(written) => {
                    self.unflushed = true;
                    if written < bytes.len() {
                        self.rest = Bytes::copy_from_slice(&bytes[written..]);
                    }
                }
                Poll::Pending => self.rest = Bytes::copy_from_slice(bytes),
            }
        }
    }
}

/// Carries bytes until both directions have ended, one breaks, nothing moves for `idle`, or it is told to stop.
/// `early` is what the server sent with its agreement.
pub(crate) async fn carry<C, S>(
    mut client: C,
    mut server: S,
    early: Bytes,
    idle: Duration,
    stop: &CancellationToken,
) where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut up = Half::default();
    let mut down = Half { rest: early, ..Half::default() };
    let mut pauses = Pauses::new(idle);
    let carried = poll_fn(|context| {
        let mut moved = false;
        let ups = up.poll(context, &mut client, &mut server, &mut moved)?;
        let downs = down.poll(context, &mut server, &mut client, &mut moved)?;
        if ups.is_ready() && downs.is_ready() {
            return Poll::Ready(Ok::<(), io::Error>(()));
        }
        if moved {
            pauses.moved();
        }
        pauses.poll_too_long(context).map(Ok)
    });
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        // How a tunnel ends is between the two sides; both see their connection close.
        _ = carried => {}
    }
}
