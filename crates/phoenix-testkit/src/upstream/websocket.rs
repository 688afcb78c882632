//! The server's side of a WebSocket (RFC 6455) that echoes messages, answers pings and closes when it is asked to.

use std::io;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::request::Seen;

/// Section 1.3.
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Most bytes of a frame.
const FRAME_BYTES: u64 = 16 * 1024 * 1024;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// What a server answers to a key.
#[must_use]
pub(super) fn accept(key: &str) -> String {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{MAGIC}").as_bytes());
    STANDARD.encode(digest.as_ref())
}

/// Shakes hands, then echoes until the client closes.
pub(super) async fn serve(stream: &mut TcpStream, mut ahead: Vec<u8>, seen: &Seen) -> io::Result<()> {
    let Some(key) = seen.header("sec-websocket-key") else {
        stream.write_all(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n").await?;
        return Ok(());
    };
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        accept(key)
    );
    stream.write_all(head.as_bytes()).await?;
    loop {
        let start = take(stream, &mut ahead, 2).await?;
        let (code, short) = (start[0] & 0x0F, start[1] & 0x7F);
        let length = match short {
            126 => u64::from(u16::from_be_bytes(array(&take(stream, &mut ahead, 2).await?))),
            127 => u64::from_be_bytes(array(&take(stream, &mut ahead, 8).await?)),
            short => u64::from(short),
        };
        if start[1] & 0x80 == 0 || length > FRAME_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mask = take(stream, &mut ahead, 4).await?;
        let mut payload = take(stream, &mut ahead, usize::try_from(length).unwrap_or_default()).await?;
        for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        let code = if code == PING { PONG } else { code };
        stream.write_all(&frame((start[0] & 0xF0) | code, &payload)).await?;
        if code == CLOSE {
            return stream.shutdown().await;
        }
    }
}

/// A frame of a server.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if short < 126 => frame.push(short),
        (_, Ok(middle)) => {
            frame.push(126);
            frame.extend_from_slice(&middle.to_be_bytes());
        }
        (_, Err(_)) => {
            frame.push(127);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("as many bytes were taken")
}

async fn take(stream: &mut TcpStream, ahead: &mut Vec<u8>, count: usize) -> io::Result<Vec<u8>> {
    while ahead.len() < count {
        let mut space = vec![0; 4096];
        let read = stream.read(&mut space).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        ahead.extend_from_slice(&space[..read]);
    }
    let rest = ahead.split_off(count);
    Ok(std::mem::replace(ahead, rest))
}
