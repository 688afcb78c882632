//! How the bytes of an answer go to the socket, whether they do, and what happens after the last of them.
//!
//! Its head and its body lie in different places. Small ones are put together and written at once, because the segments
//! of a gathered write cost the kernel more than the copy; large ones are gathered, and never copied. Over TLS what is
//! put together is one record instead of several. Owns no queue: what the socket did not take is asked for again.

use std::io::{IoSlice, Result};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::reaper::Flow;

/// Most bytes that are copied to be written together.
const TOGETHER_BYTES: usize = 8 * 1024;

/// A stream whose gathered writes are plain ones where they are small.
pub(super) struct Gathering<S> {
    stream: S,
    /// For what is put together; as large as that was at most.
    together: Vec<u8>,
}

impl<S> Gathering<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, together: Vec::new() }
    }
}

/// Bytes that are read at once of what nobody wants.
const UNWANTED_BYTES: usize = 8 * 1024;

/// A stream that tells whether its client takes what is written, and that is closed in two steps (RFC 9112 section
/// 9.6). Who closes while the client still sends, as a request that is refused does, makes the client's system reset
/// the connection, and perhaps throw away the answer before the client has read it. So when all is said the client is
/// told, and what it sends is read and dropped until it closes too, or the reaper's patience ends.
pub(super) struct Flowing<S> {
    stream: S,
    flow: Flow,
    has_said_all: bool,
    /// The client has: there is nothing to wait for.
    has_heard_all: bool,
}

impl<S> Flowing<S> {
    pub(super) const fn new(stream: S, flow: Flow) -> Self {
        Self { stream, flow, has_said_all: false, has_heard_all: false }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Flowing<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.flow.note(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.flow.note(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        // TLS keeps what it could not write, and reports it here.
        self.flow.note(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let Self { stream, flow, has_said_all, has_heard_all } = &mut *self;
        let mut stream = Pin::new(stream);
        if !*has_said_all {
            let shut_down = stream.as_mut().poll_shutdown(context);
            flow.note(shut_down.is_pending());
            ready!(shut_down)?;
            *has_said_all = true;
            flow.heard();
        }
        // The other direction of a tunnel is somebody's.
        if *has_heard_all || flow.is_tunnel() {
            return Poll::Ready(Ok(()));
        }
        let mut unwanted = [MaybeUninit::uninit(); UNWANTED_BYTES];
        loop {
            let mut unwanted = ReadBuf::uninit(&mut unwanted);
            match stream.as_mut().poll_read(context, &mut unwanted) {
                Poll::Ready(Ok(())) if !unwanted.filled().is_empty() => flow.heard(),
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Flowing<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.has_heard_all |= read.is_ready() && room > 0 && buffer.filled().len() == before;
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathering<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let Self { stream, together } = &mut *self;
        let stream = Pin::new(stream);
        if let [part] = parts {
            return stream.poll_write(context, part);
        }
        let bytes = parts.iter().fold(0_usize, |bytes, part| bytes.saturating_add(part.len()));
        if bytes > TOGETHER_BYTES {
            return stream.poll_write_vectored(context, parts);
        }
        together.clear();
        for part in parts {
            together.extend_from_slice(part);
        }
        stream.poll_write(context, together)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::reaper::Reaper;
    use super::*;

    /// Takes so many bytes at a time, and notes how each came.
    struct Socket {
        most: usize,
        taken: Vec<u8>,
        gathered: Vec<bool>,
    }

    impl Socket {
        fn take(&mut self, part: &[u8], room: &mut usize) {
            let count = part.len().min(*room);
            self.taken.extend_from_slice(&part[..count]);
            *room -= count;
        }
    }

    impl AsyncWrite for Socket {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
            let mut room = self.most;
            self.take(bytes, &mut room);
            self.gathered.push(false);
            Poll::Ready(Ok(self.most - room))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            parts: &[IoSlice<'_>],
        ) -> Poll<Result<usize>> {
            let mut room = self.most;
            for part in parts {
                self.take(part, &mut room);
            }
            self.gathered.push(true);
            Poll::Ready(Ok(self.most - room))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Has so many bytes to read, then nothing for now, and then its end.
    struct Client {
        bytes: usize,
        pauses: bool,
        shut_down: bool,
    }

    impl AsyncRead for Client {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<Result<()>> {
            let count = self.bytes.min(buffer.remaining());
            if count == 0 && std::mem::take(&mut self.pauses) {
                return Poll::Pending;
            }
            buffer.put_slice(&vec![b'x'; count]);
            self.bytes -= count;
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Client {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            self.shut_down = true;
            Poll::Ready(Ok(()))
        }
    }

    fn shut_down(stream: &mut Flowing<Client>) -> Poll<()> {
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(stream).poll_shutdown(&mut context).map(|result| result.expect("nothing fails here"))
    }

    #[test]
    fn a_connection_is_closed_when_its_client_has_said_all() {
        let reaper = Arc::new(Reaper::new(Duration::MAX, Duration::MAX, Duration::MAX));
        let watched = reaper.watch();
        let client = |bytes, pauses| Flowing::new(Client { bytes, pauses, shut_down: false }, watched.flow());
        for (bytes, pauses) in [(0, false), (1, false), (100_000, true), (0, true)] {
            let mut stream = client(bytes, pauses);
            assert_eq!(shut_down(&mut stream).is_pending(), pauses, "{bytes}");
            assert!(stream.stream.shut_down);
            assert!(shut_down(&mut stream).is_ready());
            assert_eq!(stream.stream.bytes, 0);
        }
        // Who has said all before is not asked again, and what comes in a tunnel is for somebody.
        let mut stream = client(0, false);
        let mut context = Context::from_waker(Waker::noop());
        let mut byte = [0];
        assert!(Pin::new(&mut stream).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_ready());
        stream.stream.pauses = true;
        assert!(shut_down(&mut stream).is_ready());
        watched.marker().begin().becomes_tunnel();
        let mut stream = client(10, true);
        assert!(shut_down(&mut stream).is_ready());
        assert_eq!(stream.stream.bytes, 10);
    }

    fn write(parts: &[Vec<u8>], most: usize) -> (usize, Socket) {
        let mut stream = Gathering::new(Socket { most, taken: Vec::new(), gathered: Vec::new() });
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut context = Context::from_waker(Waker::noop());
        let written = Pin::new(&mut stream).poll_write_vectored(&mut context, &slices);
        let Poll::Ready(Ok(written)) = written else { unreachable!("this socket is always ready") };
        (written, stream.stream)
    }

    #[test]
    fn what_is_small_is_one_plain_write_and_what_is_large_is_gathered() {
        let head = vec![1; 300];
        for (body, is_gathered) in [(0, false), (1024, false), (TOGETHER_BYTES - 300, false), (8000, true)] {
            let (written, socket) = write(&[head.clone(), vec![2; body]], usize::MAX);
            assert_eq!((written, socket.gathered), (300 + body, vec![is_gathered]), "{body}");
        }
        assert_eq!(write(&[vec![1; 100_000]], usize::MAX).1.gathered, [false], "one part needs no gathering");
    }

    proptest! {
        #[test]
        fn the_bytes_are_those_of_the_parts_as_far_as_the_socket_takes_them(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6000), 0..5),
            most in 1_usize..20_000,
        ) {
            let (written, socket) = write(&parts, most);
            let all = parts.concat();
            prop_assert_eq!(written, all.len().min(most));
            prop_assert_eq!(&socket.taken[..], &all[..written]);
        }
    }
}
