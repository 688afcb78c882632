//! The chunked coding of an answer (RFC 9112 section 7.1), read strictly: what two readers could take to end in different
//! places is refused.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use thiserror::Error;

use super::head::{self, HEAD_BYTES, MAX_FIELDS};

/// Most bytes of chunk extensions in one answer. Nobody sends any; without a bound they could go on for ever.
const EXTENSION_BYTES: u32 = 16 * 1024;
/// Most digits of a chunk's size.
const SIZE_DIGITS: u8 = 16;

/// What follows the data of the last chunk if there are no trailers, as nearly everybody writes it.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// The body is not chunked as it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the chunks of the answer are malformed")]
pub struct Malformed;

/// How far a body is.
#[derive(Debug)]
pub(crate) struct Chunked {
    state: State,
    extensions: u32,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Size { size: u64, digits: u8 },
    Extension { size: u64 },
    SizeEnd { size: u64 },
    Data { left: u64 },
    DataEnd { is_cr_seen: bool },
    Trailers,
    Over,
}

/// What the bytes that are there come to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// More bytes are needed.
    More,
    /// A part of the body.
    Data(Bytes),
    /// All of it is there; with the trailers, if there are any.
    End(Option<HeaderMap>),
}

impl Chunked {
    pub(crate) const fn new() -> Self {
        Self { state: State::Size { size: 0, digits: 0 }, extensions: 0 }
    }

    /// The next part, which is taken off the input.
    pub(crate) fn next(&mut self, input: &mut BytesMut) -> Result<Read, Malformed> {
        while let Some(byte) = input.first().copied() {
            match self.state {
                State::Data { left } => {
                    let there = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    let left = left.saturating_sub(there as u64);
                    self.state =
                        if left == 0 { State::DataEnd { is_cr_seen: false } } else { State::Data { left } };
                    return Ok(Read::Data(input.split_to(there).freeze()));
                }
                State::Trailers => return self.trailers(input),
                State::Over => return Ok(Read::End(None)),
                State::Size { .. }
                | State::Extension { .. }
                | State::SizeEnd { .. }
                | State::DataEnd { .. } => {
                    self.state = self.framing(byte)?;
                    input.advance(1);
                }
            }
        }
        Ok(if matches!(self.state, State::Over) { Read::End(None) } else { Read::More })
    }

    /// Whether a part that was just taken is the last, and nothing but the end follows in what is there. The end is then
    /// taken off the input, too.
    pub(crate) fn is_last(&mut self, input: &mut BytesMut) -> bool {
        let is_last =
            matches!(self.state, State::DataEnd { is_cr_seen: false }) && input.starts_with(LAST_CHUNK);
        if is_last {
            input.advance(LAST_CHUNK.len());
            self.state = State::Over;
        }
        is_last
    }

    /// The state after a byte between the chunks' data.
    fn framing(&mut self, byte: u8) -> Result<State, Malformed> {
        Ok(match (self.state, byte) {
            (State::Size { size, digits }, byte) if byte.is_ascii_hexdigit() && digits < SIZE_DIGITS => {
                let digit = char::from(byte).to_digit(16).ok_or(Malformed)?;
                State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (State::Size { digits: 0, .. }, _) => return Err(Malformed),
            (State::Size { size, .. } | State::Extension { size }, b'\r') => State::SizeEnd { size },
            (State::Size { size, .. }, b';' | b' ' | b'\t') => State::Extension { size },
            (State::Extension { size }, byte) if byte != b'\n' && self.extensions < EXTENSION_BYTES => {
                self.extensions += 1;
                State::Extension { size }
            }
            (State::SizeEnd { size: 0 }, b'\n') => State::Trailers,
            (State::SizeEnd { size }, b'\n') => State::Data { left: size },
            (State::DataEnd { is_cr_seen: false }, b'\r') => State::DataEnd { is_cr_seen: true },
            (State::DataEnd { is_cr_seen: true }, b'\n') => State::Size { size: 0, digits: 0 },
            _ => return Err(Malformed),
        })
    }

    fn trailers(&mut self, input: &mut BytesMut) -> Result<Read, Malformed> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let (length, spans) = match httparse::parse_headers(input, &mut fields) {
            Ok(httparse::Status::Complete((length, fields))) => (length, head::spans(input, fields)),
            Ok(httparse::Status::Partial) if input.len() < HEAD_BYTES => return Ok(Read::More),
            Ok(httparse::Status::Partial) | Err(_) => return Err(Malformed),
        };
        self.state = State::Over;
        let bytes = input.split_to(length).freeze();
        // The parser takes a line feed alone for the end of a line, as some do and others do not.
        let is_bare =
            |(at, byte): (usize, &u8)| *byte == b'\n' && (at == 0 || bytes.get(at - 1) != Some(&b'\r'));
        if bytes.iter().enumerate().any(is_bare) {
            return Err(Malformed);
        }
        let trailers = head::fields(&bytes, &spans).ok_or(Malformed)?;
        Ok(Read::End((!trailers.is_empty()).then_some(trailers)))
    }
}
