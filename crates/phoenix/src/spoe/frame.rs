//! Frames: what HAProxy says to the agent, and what the agent says to it (`doc/SPOE.txt`, section 3.2).

use super::codec::{Data, Garbage, Reader, put_bytes, put_number, put_string, put_uint32};

/// Longest frame in bytes, after its length. HAProxy's default buffer.
pub(super) const MAX_FRAME_BYTES: u32 = 16 * 1024;
/// Shortest longest frame that HAProxy may ask for.
const MIN_FRAME_BYTES: u64 = 256;
/// Bytes of the length before a frame.
pub(super) const LENGTH_BYTES: usize = 4;

const HAPROXY_HELLO: u8 = 1;
const HAPROXY_DISCONNECT: u8 = 2;
const NOTIFY: u8 = 3;
const AGENT_HELLO: u8 = 101;
const AGENT_DISCONNECT: u8 = 102;
const ACK: u8 = 103;
/// The frame is the last of its message.
const FIN: u32 = 1;
/// Sets a variable; it has three arguments.
const SET_VAR: u8 = 1;
const SET_VAR_ARGUMENTS: u8 = 3;
/// For as long as the request is under way.
const SCOPE_TRANSACTION: u8 = 2;

/// Why the agent ends a connection, with the number of the document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Goodbye {
    /// The process ends, or HAProxy does.
    Normal,
    /// A frame did not arrive in time.
    TimedOut,
    /// A frame is larger than agreed.
    TooBig,
    /// A frame cannot be read.
    Invalid,
    /// The hello names no version.
    NoVersion,
    /// The hello names no size of frames.
    NoFrameSize,
    /// The hello names none of the versions that are spoken.
    Version,
    /// Frames could not hold 256 bytes.
    FrameSize,
    /// A message comes in several frames.
    Fragmented,
}

impl Goodbye {
    const fn code(self) -> (u32, &'static str) {
        match self {
            Self::Normal => (0, "the agent ends"),
            Self::TimedOut => (2, "a frame did not arrive in time"),
            Self::TooBig => (3, "the frame is larger than agreed"),
            Self::Invalid => (4, "the frame cannot be read"),
            Self::NoVersion => (5, "no version is named"),
            Self::NoFrameSize => (6, "no size of frames is named"),
            Self::Version => (8, "only version 2.0 is spoken"),
            Self::FrameSize => (9, "frames must hold at least 256 bytes"),
            Self::Fragmented => (10, "messages in several frames are not read"),
        }
    }
}

impl From<Garbage> for Goodbye {
    fn from(_: Garbage) -> Self {
        Self::Invalid
    }
}

/// A frame of HAProxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame<'a> {
    /// The beginning.
    Hello(Hello),
    /// Messages about a request.
    Notify {
        /// Number of the stream, to be repeated in the answer.
        stream: u64,
        /// Number of the frame, to be repeated in the answer.
        frame: u64,
        /// The messages.
        messages: &'a [u8],
    },
    /// The end.
    Disconnect,
    /// Of a kind that this version does not know; to be passed over.
    Unknown,
}

/// How HAProxy begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Longest frame in bytes that both sides take.
    pub max_frame: u32,
    /// It only asks whether the agent is there.
    pub is_health_check: bool,
}

/// Reads a frame, without its length.
///
/// # Errors
/// Why the connection must end.
pub fn read(bytes: &[u8]) -> Result<Frame<'_>, Goodbye> {
    let Some((&[kind, a, b, c, d], rest)) = bytes.split_first_chunk() else { return Err(Goodbye::Invalid) };
    let flags = u32::from_be_bytes([a, b, c, d]);
    let mut reader = Reader::new(rest);
    let (stream, frame) = (reader.number()?, reader.number()?);
    let payload = &rest[rest.len() - reader.left()..];
    if matches!(kind, HAPROXY_HELLO | HAPROXY_DISCONNECT | NOTIFY) && flags & FIN == 0 {
        return Err(Goodbye::Fragmented);
    }
    match kind {
        HAPROXY_HELLO => Ok(Frame::Hello(hello(reader)?)),
        HAPROXY_DISCONNECT => Ok(Frame::Disconnect),
        NOTIFY => Ok(Frame::Notify { stream, frame, messages: payload }),
        _ => Ok(Frame::Unknown),
    }
}

fn hello(mut reader: Reader<'_>) -> Result<Hello, Goodbye> {
    let (mut versions, mut size, mut is_health_check) = (None, None, false);
    while !reader.is_empty() {
        match reader.named()? {
            (b"supported-versions", Data::Bytes(list)) => versions = Some(list),
            (b"max-frame-size", Data::Number(bytes)) => size = Some(bytes),
            (b"healthcheck", Data::Bool(is)) => is_health_check = is,
            _ => {}
        }
    }
    let mut versions = versions.ok_or(Goodbye::NoVersion)?.split(|byte| *byte == b',');
    // A minor version promises to stay compatible.
    if !versions.any(|version| version.trim_ascii().starts_with(b"2.")) {
        return Err(Goodbye::Version);
    }
    let size = size.ok_or(Goodbye::NoFrameSize)?;
    if size < MIN_FRAME_BYTES {
        return Err(Goodbye::FrameSize);
    }
    let max_frame = u32::try_from(size).unwrap_or(u32::MAX).min(MAX_FRAME_BYTES);
    Ok(Hello { max_frame, is_health_check })
}

/// The answer to a hello, with its length.
pub(super) fn agent_hello(hello: Hello) -> Vec<u8> {
    frame(AGENT_HELLO, 0, 0, |out| {
        put_bytes(b"version", out);
        put_string(b"2.0", out);
        put_bytes(b"max-frame-size", out);
        put_uint32(hello.max_frame, out);
        put_bytes(b"capabilities", out);
        put_string(b"pipelining", out);
    })
}

/// The end of a connection, with its length.
pub(super) fn agent_disconnect(why: Goodbye) -> Vec<u8> {
    let (code, message) = why.code();
    frame(AGENT_DISCONNECT, 0, 0, |out| {
        put_bytes(b"status-code", out);
        put_uint32(code, out);
        put_bytes(b"message", out);
        put_string(message.as_bytes(), out);
    })
}

/// The answer about a request, with its length: variables and their values, numbers as such.
pub(super) fn ack(stream: u64, frame_id: u64, variables: &[(&str, Value)]) -> Vec<u8> {
    frame(ACK, stream, frame_id, |out| {
        for (name, value) in variables {
            out.extend_from_slice(&[SET_VAR, SET_VAR_ARGUMENTS, SCOPE_TRANSACTION]);
            put_bytes(name.as_bytes(), out);
            match value {
                Value::Number(number) => put_uint32(*number, out),
                Value::Text(text) => put_string(text, out),
            }
        }
    })
}

/// The value of a variable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Value {
    Number(u32),
    Text(Vec<u8>),
}

fn frame(kind: u8, stream: u64, id: u64, payload: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![0; LENGTH_BYTES];
    out.push(kind);
    out.extend_from_slice(&FIN.to_be_bytes());
    put_number(stream, &mut out);
    put_number(id, &mut out);
    payload(&mut out);
    let length = u32::try_from(out.len() - LENGTH_BYTES).unwrap_or(u32::MAX);
    if let Some(place) = out.first_chunk_mut::<LENGTH_BYTES>() {
        *place = length.to_be_bytes();
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hello_of(pairs: &[(&str, &[u8])]) -> Vec<u8> {
        frame(HAPROXY_HELLO, 0, 0, |out| {
            for (name, value) in pairs {
                put_bytes(name.as_bytes(), out);
                out.extend_from_slice(value);
            }
        })[LENGTH_BYTES..]
            .to_vec()
    }

    const VERSIONS: (&str, &[u8]) = ("supported-versions", b"\x08\x032.0");
    const SIZE: (&str, &[u8]) = ("max-frame-size", b"\x03\xfc\xf0\x06");

    #[test]
    fn a_hello_agrees_on_version_and_size_or_says_why_not() {
        let pairs = [VERSIONS, SIZE, ("capabilities", b"\x08\x10pipelining,async")];
        let read = |pairs: &[(&str, &[u8])]| match read(&hello_of(pairs)) {
            Ok(Frame::Hello(hello)) => Ok((hello.max_frame, hello.is_health_check)),
            Ok(other) => panic!("{other:?}"),
            Err(goodbye) => Err(goodbye),
        };
        assert_eq!(read(&pairs), Ok((16_380, false)));
        assert_eq!(read(&[VERSIONS, SIZE, ("healthcheck", b"\x11")]), Ok((16_380, true)));
        assert_eq!(
            read(&[VERSIONS, ("max-frame-size", b"\x03\xff\xff\x7f")]).map(|(size, _)| size),
            Ok(16_384)
        );
        assert_eq!(read(&[SIZE]), Err(Goodbye::NoVersion));
        assert_eq!(read(&[VERSIONS]), Err(Goodbye::NoFrameSize));
        assert_eq!(read(&[("supported-versions", b"\x08\x031.0"), SIZE]), Err(Goodbye::Version));
        assert_eq!(read(&[VERSIONS, ("max-frame-size", b"\x03\x10")]), Err(Goodbye::FrameSize));
        assert_eq!(read(&[VERSIONS, ("max-frame-size", b"\x08\x10")]), Err(Goodbye::Invalid));
    }

    #[test]
    fn frames_are_written_as_the_document_says() {
        let hello = Hello { max_frame: 256, is_health_check: false };
        assert_eq!(
            agent_hello(hello),
            b"\0\0\0\x3f\x65\0\0\0\x01\0\0\x07version\x08\x032.0\x0emax-frame-size\x03\xf0\x01\x0ccapabilities\x08\x0apipelining"
        );
        let variables = [("status", Value::Number(200)), ("role", Value::Text(b"user".to_vec()))];
        assert_eq!(
            ack(7, 240, &variables),
            b"\0\0\0\x22\x67\0\0\0\x01\x07\xf0\0\x01\x03\x02\x06status\x03\xc8\x01\x03\x02\x04role\x08\x04user"
        );
        assert!(
            agent_disconnect(Goodbye::Normal)
                .starts_with(b"\0\0\0\x2d\x66\0\0\0\x01\0\0\x0bstatus-code\x03\0")
        );
    }

    #[test]
    fn messages_in_parts_are_refused_and_unknown_frames_passed_over() {
        assert_eq!(read(b"\x03\0\0\0\0\x01\x02"), Err(Goodbye::Fragmented));
        assert_eq!(read(b"\x63\0\0\0\0\x01\x02rest"), Ok(Frame::Unknown));
        assert_eq!(read(b"\x02\0\0\0\x01\0\0"), Ok(Frame::Disconnect));
        let notify = read(b"\x03\0\0\0\x01\x01\x02ab");
        assert_eq!(notify, Ok(Frame::Notify { stream: 1, frame: 2, messages: b"ab" }));
        for cut in 0..7 {
            assert_eq!(read(&b"\x03\0\0\0\x01\x01\x02"[..cut]), Err(Goodbye::Invalid), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_a_frame_or_a_goodbye(bytes in prop::collection::vec(any::<u8>(), 0..128), kind in 0..5_u8) {
            let _ = read(&bytes);
            let _ = read(&[&[kind, 0, 0, 0, 1, 0, 0], &bytes[..]].concat());
        }
    }
}
