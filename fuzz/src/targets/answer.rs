//! Answers of an application over HTTP/1.1, in any split of reads.
//!
//! However the bytes arrive, the same head, body, trailers and end are read; a body is never longer than its head says;
//! what was read as chunks is what a naive reader finds; and an answer that is refused is refused in any split.

use bytes::BytesMut;
use http::{HeaderMap, Method, StatusCode, Version, header};
use phoenix_proxy::h1::{Decoder, Length, read_head};

use crate::input;

/// Two bytes: the method of the request, and how the answer is split. The answer.
pub(crate) fn run(mut data: &[u8]) {
    let method = match input::byte(&mut data) % 4 {
        0 => Method::GET,
        1 => Method::HEAD,
        2 => Method::POST,
        _ => Method::OPTIONS,
    };
    let pattern = input::byte(&mut data);
    let whole = read(&method, std::iter::once(data));
    let split = read(&method, input::pieces(data, pattern));
    assert_eq!(whole.seen, split.seen, "the split of reads must not matter");
    if let Some(head) = &whole.seen.head {
        check(&method, data, head, &whole);
    }
}

struct Reading {
    seen: Seen,
    /// How many bytes followed the head when it was read.
    after_head: usize,
}

#[derive(PartialEq, Debug, Default)]
struct Seen {
    head: Option<Head>,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
    end: End,
}

#[derive(PartialEq, Debug)]
struct Head {
    status: StatusCode,
    version: Version,
    headers: HeaderMap,
    length: Length,
    is_kept: bool,
}

#[derive(PartialEq, Debug, Default)]
enum End {
    /// More bytes are needed, or the end of the connection.
    #[default]
    Open,
    /// This many bytes follow it.
    Complete(usize),
    Refused,
}

fn read<'a>(method: &Method, pieces: impl Iterator<Item = &'a [u8]>) -> Reading {
    let mut reading = Reading { seen: Seen::default(), after_head: 0 };
    let mut decoder = None;
    let mut input = BytesMut::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        if !step(method, &mut input, &mut decoder, &mut reading) {
            reading.seen.end = End::Refused;
            return reading;
        }
    }
    if let End::Complete(left) = &mut reading.seen.end {
        *left = input.len();
    }
    reading
}

/// Takes what there is off the input; false if it is refused.
fn step(method: &Method, input: &mut BytesMut, decoder: &mut Option<Decoder>, reading: &mut Reading) -> bool {
    let seen = &mut reading.seen;
    if decoder.is_none() {
        match read_head(input, method) {
            Ok(Some((head, is_kept))) => {
                *decoder = Some(Decoder::new(head.length));
                reading.after_head = input.len();
                let http::response::Parts { status, version, headers, .. } = head.parts;
                seen.head = Some(Head { status, version, headers, length: head.length, is_kept });
            }
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
    let Some(decoder) = decoder else { return true };
    while seen.end == End::Open {
        let part = match decoder.next(input) {
            Ok(Some(part)) => part,
            Ok(None) => return true,
            Err(_) => return false,
        };
        match part.frame.map(http_body::Frame::into_data) {
            Some(Ok(data)) => seen.body.extend_from_slice(&data),
            Some(Err(frame)) => seen.trailers = frame.into_trailers().ok(),
            None => {}
        }
        if part.is_last {
            seen.end = End::Complete(0);
        }
    }
    true
}

fn check(method: &Method, answer: &[u8], head: &Head, reading: &Reading) {
    let Seen { body, end, trailers, .. } = &reading.seen;
    assert!(body.len() <= reading.after_head);
    let is_bodiless = *method == Method::HEAD
        || head.status.is_informational()
        || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if is_bodiless {
        assert_eq!(head.length, Length::Exact(0));
    } else if head.headers.contains_key(header::TRANSFER_ENCODING) {
        assert_eq!(head.length, Length::Chunked);
        assert!(!(head.is_kept && head.headers.contains_key(header::CONTENT_LENGTH)), "two lengths");
    }
    assert!(head.headers.get_all(header::CONTENT_LENGTH).iter().count() <= 1 || is_bodiless);
    match head.length {
        Length::Exact(length) => {
            assert!(body.len() as u64 <= length);
            assert_eq!(matches!(end, End::Complete(_)), body.len() as u64 == length);
            assert_eq!(*trailers, None);
        }
        Length::UntilClose => {
            assert!(!head.is_kept);
            assert_eq!((end, body.len()), (&End::Open, reading.after_head));
        }
        Length::Chunked => {
            if let End::Complete(left) = end {
                let chunks = &answer[answer.len() - reading.after_head..answer.len() - left];
                assert_eq!(naive(chunks).as_ref(), Some(body));
            }
        }
    }
}

/// The data of chunks that end with these bytes.
fn naive(mut text: &[u8]) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let line = line(&mut text)?;
        let digits = line.split(|byte| b"; \t".contains(byte)).next()?;
        let is_number = (1..=16).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
        let digits = std::str::from_utf8(digits).ok().filter(|_| is_number)?;
        let size = usize::from_str_radix(digits, 16).ok()?;
        if size == 0 {
            break;
        }
        let (chunk, rest) = text.split_at_checked(size)?;
        data.extend_from_slice(chunk);
        text = rest.strip_prefix(b"\r\n")?;
    }
    while !line(&mut text)?.is_empty() {}
    text.is_empty().then_some(data)
}

fn line<'a>(text: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = text.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, rest) = text.split_at(end);
    *text = rest.strip_prefix(b"\r\n")?;
    Some(line)
}
