//! One connection of HAProxy: the hello, then questions and answers, several under way at once.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use phoenix_http::{Peer, Stack};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::frame::{self, Frame, Goodbye, LENGTH_BYTES, MAX_FRAME_BYTES, Value};
use super::message;

/// Most questions of one connection that are worked on at once; the rest waits in the system's buffers.
const MAX_UNDER_WAY: usize = 128;
/// The hello, the rest of a frame that has begun, and the writing of an answer may take this long. Between questions
/// HAProxy may keep quiet as long as it likes.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Serves the connection until it ends. Questions under way are answered when the process drains.
pub(super) async fn run(mut stream: TcpStream, peer: Peer, stack: &Stack, draining: &CancellationToken) {
    let mut input = BytesMut::with_capacity(LENGTH_BYTES);
    let goodbye = match tokio::time::timeout(TIMEOUT, greet(&mut stream, &mut input)).await {
        Ok(Ok(Some(max_frame))) => {
            let agent = Connection { peer, stack, max_frame, under_way: FuturesUnordered::new() };
            agent.answer(&mut stream, &mut input, draining).await
        }
        Ok(Ok(None)) => return,
        Ok(Err(end)) => end,
        Err(_elapsed) => End::Because(Goodbye::TimedOut),
    };
    if let End::Because(why) = goodbye {
        tracing::debug!(?why, "a connection of HAProxy ends");
        let _ = write(&mut stream, &frame::agent_disconnect(why)).await;
    }
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// HAProxy left, or cannot be written to.
    Gone,
    /// It is told why.
    Because(Goodbye),
}

impl From<Goodbye> for End {
    fn from(why: Goodbye) -> Self {
        Self::Because(why)
    }
}

/// The hello of both sides: the longest frame, or `None` after a mere check whether the agent is there.
async fn greet(stream: &mut TcpStream, input: &mut BytesMut) -> Result<Option<u32>, End> {
    let first = loop {
        if let Some(frame) = next_frame(input, MAX_FRAME_BYTES)? {
            break frame;
        }
        read(stream, input).await?;
    };
    let Frame::Hello(hello) = frame::read(&first)? else { return Err(Goodbye::Invalid.into()) };
    write(stream, &frame::agent_hello(hello)).await?;
    Ok((!hello.is_health_check).then_some(hello.max_frame))
}

struct Connection<'a> {
    peer: Peer,
    stack: &'a Stack,
    max_frame: u32,
    under_way: FuturesUnordered<BoxFuture<'a, Result<Vec<u8>, Goodbye>>>,
}

impl Connection<'_> {
    async fn answer(
        mut self,
        stream: &mut TcpStream,
        input: &mut BytesMut,
        draining: &CancellationToken,
    ) -> End {
        let mut is_ending = false;
        loop {
            while !is_ending && self.under_way.len() < MAX_UNDER_WAY {
                match next_frame(input, self.max_frame) {
                    Ok(Some(bytes)) => match self.begin(&bytes) {
                        Ok(()) => {}
                        Err(end) => return end,
                    },
                    Ok(None) => break,
                    Err(why) => return why.into(),
                }
            }
            if is_ending && self.under_way.is_empty() {
                return Goodbye::Normal.into();
            }
            let has_begun = !input.is_empty();
            let may_read = !is_ending && self.under_way.len() < MAX_UNDER_WAY;
            let outcome = tokio::select! {
                () = draining.cancelled(), if !is_ending => {
                    is_ending = true;
                    Ok(())
                }
                Some(answer) = self.under_way.next() => match answer {
                    Ok(answer) => write(stream, &answer).await,
                    Err(why) => Err(why.into()),
                },
                outcome = read_some(stream, input, has_begun), if may_read => outcome,
            };
            if let Err(end) = outcome {
                return end;
            }
        }
    }

    fn begin(&self, bytes: &Bytes) -> Result<(), End> {
        let (stream, id, messages) = match frame::read(bytes)? {
            Frame::Notify { stream, frame, messages } => (stream, frame, bytes.slice_ref(messages)),
            Frame::Disconnect => return Err(Goodbye::Normal.into()),
            Frame::Hello(_) => return Err(Goodbye::Invalid.into()),
            Frame::Unknown => return Ok(()),
        };
        let (stack, peer, max_frame) = (self.stack, self.peer, self.max_frame);
        self.under_way.push(Box::pin(async move {
            let Some(described) = message::question(&messages)? else {
                return Ok(frame::ack(stream, id, &[]));
            };
            let verdict = stack.judge(peer, described).await;
            let answer = frame::ack(stream, id, &message::variables(&verdict));
            if answer.len() - LENGTH_BYTES <= max_frame as usize {
                return Ok(answer);
            }
            // Larger than HAProxy takes. It is not let through half identified.
            Ok(frame::ack(stream, id, &[("status", Value::Number(500))]))
        }));
        Ok(())
    }
}

/// Takes a whole frame, without its length, if one is there.
fn next_frame(input: &mut BytesMut, max: u32) -> Result<Option<Bytes>, Goodbye> {
    let Some(length) = input.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length);
    if length > max {
        return Err(Goodbye::TooBig);
    }
    let length = length as usize;
    if input.len() < LENGTH_BYTES + length {
        input.reserve(LENGTH_BYTES + length - input.len());
        return Ok(None);
    }
    input.advance(LENGTH_BYTES);
    Ok(Some(input.split_to(length).freeze()))
}

async fn read(stream: &mut TcpStream, input: &mut BytesMut) -> Result<(), End> {
    match stream.read_buf(input).await {
        Ok(1..) => Ok(()),
        Ok(0) | Err(_) => Err(End::Gone),
    }
}

/// Reads once. Nothing is lost when it is given up.
async fn read_some(stream: &mut TcpStream, input: &mut BytesMut, has_begun: bool) -> Result<(), End> {
    if !has_begun {
        return read(stream, input).await;
    }
    let outcome = tokio::time::timeout(TIMEOUT, read(stream, input)).await;
    outcome.unwrap_or(Err(End::Because(Goodbye::TimedOut)))
}

async fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), End> {
    match tokio::time::timeout(TIMEOUT, stream.write_all(bytes)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(End::Gone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_whole_and_bounded() {
        let mut input = BytesMut::from(&b"\0\0\0\x02ab\0\0\0\x01"[..]);
        assert_eq!(next_frame(&mut input, 2), Ok(Some(Bytes::from_static(b"ab"))));
        assert_eq!(next_frame(&mut input, 2), Ok(None));
        input.extend_from_slice(b"c");
        assert_eq!(next_frame(&mut input, 2), Ok(Some(Bytes::from_static(b"c"))));
        assert_eq!(next_frame(&mut input, 2), Ok(None));
        assert_eq!(next_frame(&mut BytesMut::from(&b"\0\0\0\x03"[..]), 2), Err(Goodbye::TooBig));
        assert_eq!(next_frame(&mut BytesMut::from(&b"\xff\xff\xff\xff"[..]), 16_384), Err(Goodbye::TooBig));
    }
}
