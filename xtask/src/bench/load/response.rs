//! Just enough of HTTP/1.1 (RFC 9112) to find the end of an answer and to check it.

use anyhow::{Context, Result, bail, ensure};
use memchr::memchr;

/// What a good answer looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    status: u16,
    header: Option<(String, String)>,
}

impl Expect {
    /// An answer with this status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, header: None }
    }

    /// Which also has this header with exactly this value.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.header = Some((name.to_owned(), value.to_owned()));
        self
    }
}

/// The head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the head, with the empty line.
    pub(super) bytes: usize,
    pub(super) body_bytes: usize,
    pub(super) status: u16,
    /// Status and header are as expected.
    pub(super) good: bool,
    /// The server closes the connection after this answer.
    pub(super) closes: bool,
}

/// Reads the head at the start of `input`; `None` when it is not complete.
///
/// # Errors
/// When it is no HTTP/1.1, or its body has no stated length.
pub(super) fn parse(input: &[u8], expect: &Expect) -> Result<Option<Head>> {
    let Some(first_end) = memchr(b'\n', input) else { return Ok(None) };
    let status = status(&input[..first_end])?;
    let mut length = None;
    let mut found = expect.header.is_none();
    let mut closes = false;
    let mut start = first_end + 1;
    loop {
        let Some(line_bytes) = memchr(b'\n', &input[start..]) else { return Ok(None) };
        let line = &input[start..start + line_bytes];
        start += line_bytes + 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        // One look at the first letter spares most headers the comparison.
        if matches!(line[0], b'c' | b'C') {
            if let Some(value) = value_of(line, b"content-length") {
                length = Some(decimal(value)?);
            } else if let Some(value) = value_of(line, b"connection") {
                closes |= value.eq_ignore_ascii_case(b"close");
            }
        }
        if let (false, Some((name, wanted))) = (found, &expect.header) {
            found = value_of(line, name.as_bytes()).is_some_and(|value| value == wanted.as_bytes());
        }
    }
    let body_bytes = match length {
        Some(length) => length,
        None if matches!(status, 204 | 304) => 0,
        None => bail!("an answer without content-length"),
    };
    Ok(Some(Head { bytes: start, body_bytes, status, good: found && status == expect.status, closes }))
}

/// Reads 200 from `HTTP/1.1 200 OK`.
fn status(line: &[u8]) -> Result<u16> {
    let digits =
        line.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3)).context("no HTTP/1.1 answer")?;
    Ok(u16::try_from(decimal(digits)?)?)
}

/// The value of a header line if it has this name.
fn value_of<'line>(line: &'line [u8], name: &[u8]) -> Option<&'line [u8]> {
    let (head, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    head.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

fn decimal(digits: &[u8]) -> Result<usize> {
    ensure!(!digits.is_empty() && digits.len() <= 15, "no number where one has to be");
    digits.iter().try_fold(0, |number, digit| {
        ensure!(digit.is_ascii_digit(), "no number where one has to be");
        Ok(number * 10 + usize::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::{Expect, Head, parse};

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nX-Cache-Hit: l1\r\nContent-Length: 12\r\n\r\n{\"a\": \"b\"}  ";

    fn head(input: &[u8], expect: &Expect) -> Head {
        parse(input, expect).expect("it is HTTP").expect("the head is complete")
    }

    #[test]
    fn it_finds_status_length_and_end() {
        let head = head(ANSWER, &Expect::status(200));
        let expected =
            Head { bytes: ANSWER.len() - 12, body_bytes: 12, status: 200, good: true, closes: false };
        assert_eq!(head, expected);
    }

    #[test]
    fn a_head_may_come_in_any_number_of_parts() {
        for length in 0..ANSWER.len() - 12 {
            let part = parse(&ANSWER[..length], &Expect::status(200)).expect("no part is wrong");
            assert_eq!(part, None, "{length}");
        }
    }

    #[test]
    fn it_checks_status_and_header() {
        assert!(head(ANSWER, &Expect::status(200).with_header("x-cache-hit", "l1")).good);
        for expect in [
            Expect::status(201),
            Expect::status(200).with_header("x-cache-hit", "l2"),
            Expect::status(200).with_header("x-cache", "l1"),
        ] {
            assert!(!head(ANSWER, &expect).good, "{expect:?}");
        }
    }

    #[test]
    fn it_knows_answers_without_a_body_and_the_end_of_a_connection() {
        assert_eq!(head(b"HTTP/1.1 204 No Content\r\n\r\n", &Expect::status(204)).body_bytes, 0);
        let closing = b"HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 0\r\n\r\n";
        assert!(head(closing, &Expect::status(200)).closes);
    }

    #[test]
    fn it_refuses_what_it_cannot_measure() {
        let inputs: [&[u8]; 4] = [
            b"SSH-2.0-x\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1x\r\n\r\n",
            b"HTTP/1.1 20\r\n\r\n",
        ];
        for input in inputs {
            assert!(parse(input, &Expect::status(200)).is_err(), "{}", String::from_utf8_lossy(input));
        }
    }
}
