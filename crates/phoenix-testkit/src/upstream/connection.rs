//! One connection of the application: reads requests and carries out their scripts.

use std::io;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::request::{Reader, Seen};
use super::script::{Script, Step};
use super::{Shared, websocket};

/// Bytes read at once when they are only sent back or thrown away.
const READ_BYTES: usize = 64 * 1024;

/// What comes after a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    /// The next step or request.
    Goes,
    /// Nothing: the connection is over.
    Ends,
}

/// Serves the connection until one side ends it.
pub(super) async fn run(mut stream: TcpStream, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let mut reader = Reader::default();
    loop {
        let mut seen = match reader.head(&mut stream).await {
            Ok(Some(seen)) => seen,
            Ok(None) => return,
            Err(_) => {
                shared.gone.fetch_add(1, Ordering::SeqCst);
                return;
            }
        };
        shared.requests.fetch_add(1, Ordering::SeqCst);
        let script = shared.script(seen.path());
        if script.reads_body {
            let each = |bytes: usize| {
                shared.body_bytes.fetch_add(bytes as u64, Ordering::SeqCst);
            };
            if seen.header("expect").is_some() {
                let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
            }
            if reader.body(&mut stream, &mut seen, each).await.is_err() {
                shared.gone.fetch_add(1, Ordering::SeqCst);
                return;
            }
        }
        if !shared.is_forgetful.load(Ordering::Relaxed) {
            shared.remember(seen.clone());
        }
        let played = play(&mut stream, &mut reader, &script, &seen).await;
        if played.is_ok() {
            shared.played.fetch_add(1, Ordering::SeqCst);
        }
        match played {
            Ok(Next::Goes) if script.reads_body => {}
            Ok(Next::Goes | Next::Ends) => return,
            Err(_) => {
                shared.gone.fetch_add(1, Ordering::SeqCst);
                return;
            }
        }
    }
}

/// Carries out the steps. An error is the other side going away before they are done.
async fn play(stream: &mut TcpStream, reader: &mut Reader, script: &Script, seen: &Seen) -> io::Result<Next> {
    for step in &script.steps {
        let next = match step {
            Step::Send(bytes) => stream.write_all(bytes).await.map(|()| Next::Goes),
            Step::Forever(bytes, every) => loop {
                stream.write_all(bytes).await?;
                if !every.is_zero() {
                    watching(stream, tokio::time::sleep(*every)).await?;
                }
            },
            Step::Pause(time) => watching(stream, tokio::time::sleep(*time)).await.map(|()| Next::Goes),
            Step::Hang => watching(stream, std::future::pending()).await.map(|()| Next::Goes),
            Step::Stuck => std::future::pending().await,
            Step::Close => {
                let _ = stream.shutdown().await;
                Ok(Next::Ends)
            }
            Step::Reset => {
                let _ = stream.set_zero_linger();
                Ok(Next::Ends)
            }
            Step::Echo => {
                let body = seen.to_json();
                let body = if seen.method == "HEAD" { String::new() } else { body };
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.map(|()| Next::Goes)
            }
            Step::Mirror => mirror(stream, reader).await.map(|()| Next::Ends),
            Step::WebSocket => websocket::serve(stream, reader.take_ahead(), seen).await.map(|()| Next::Ends),
            Step::Pipe => pipe(stream, reader.take_ahead()).await.map(|()| Next::Ends),
        }?;
        if next == Next::Ends {
            return Ok(Next::Ends);
        }
    }
    Ok(Next::Goes)
}

/// Waits for `what`, unless the other side goes away first. What it sends meanwhile is thrown away.
async fn watching(stream: &mut TcpStream, what: impl Future<Output = ()>) -> io::Result<()> {
    let mut space = vec![0; READ_BYTES];
    tokio::pin!(what);
    loop {
        tokio::select! {
            biased;
            () = &mut what => return Ok(()),
            read = stream.read(&mut space) => {
                if read? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
    }
}

/// Sends back every byte until the other side has sent all of its own.
async fn pipe(stream: &mut TcpStream, ahead: Vec<u8>) -> io::Result<()> {
    stream.write_all(&ahead).await?;
    let mut space = vec![0; READ_BYTES];
    loop {
        let read = stream.read(&mut space).await?;
        if read == 0 {
            // A side that has ended its own direction still reads.
            stream.write_all(b"bye").await?;
            return stream.shutdown().await;
        }
        stream.write_all(&space[..read]).await?;
    }
}

/// Answers at once, and passes back the raw bytes of the request's chunks as the chunks of the answer.
async fn mirror(stream: &mut TcpStream, reader: &mut Reader) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
    let mut ahead = reader.take_ahead();
    let mut space = vec![0; READ_BYTES];
    let mut last = Vec::new();
    loop {
        stream.write_all(&ahead).await?;
        last.extend_from_slice(&ahead);
        if last.ends_with(b"0\r\n\r\n") {
            return stream.shutdown().await;
        }
        let begin = last.len().saturating_sub(5);
        last.drain(..begin);
        let read = stream.read(&mut space).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        ahead = space[..read].to_vec();
    }
}
