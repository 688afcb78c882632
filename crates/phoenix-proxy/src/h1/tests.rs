//! The chunked coding and heads of answers against naive readers, on well-formed and on broken bytes, however they are
//! cut.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, Version};
use proptest::prelude::*;

use super::chunked::{Chunked, Malformed, Read};
use super::head::{self, Garbage, Length};

/// All data and trailers that come out, when the bytes come in such pieces; what is left over; whether it ended.
fn decode<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(Vec<u8>, Option<HeaderMap>, bool, Bytes), Malformed> {
    let (mut chunks, mut input, mut data) = (Chunked::new(), BytesMut::new(), Vec::new());
    let (mut trailers, mut is_over) = (None, false);
    for piece in pieces {
        input.extend_from_slice(piece);
        while !is_over {
            match chunks.next(&mut input)? {
                Read::More => break,
                Read::Data(bytes) => {
                    data.extend_from_slice(&bytes);
                    is_over = chunks.is_last(&mut input);
                }
                Read::End(found) => (trailers, is_over) = (found, true),
            }
        }
    }
    Ok((data, trailers, is_over, input.freeze()))
}

/// The pieces between these positions.
fn cut<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// A reader of whole bodies that knows nothing of pieces: the data and what follows, or `None` if it is malformed or
/// not complete.
fn model(mut bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut data = Vec::new();
    loop {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let line = std::str::from_utf8(&bytes[..end]).ok()?;
        let digits = line.find([';', ' ', '\t']).map_or(line, |at| &line[..at]);
        let is_size =
            !digits.is_empty() && digits.len() <= 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !is_size || line.contains(['\n', '\r']) {
            return None;
        }
        let size = usize::from_str_radix(digits, 16).ok()?;
        bytes = &bytes[end + 2..];
        if size == 0 {
            let rest = bytes.strip_prefix(b"\r\n")?;
            return Some((data, rest));
        }
        data.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

proptest! {
    #[test]
    fn chunks_come_out_as_they_went_in_however_they_are_cut(
        chunks in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..50), "(|;x|;a=b| ;c=\"d\"|\t)"), 0..8),
        upper in any::<bool>(),
        zeros in 0_usize..4,
        rest in prop::collection::vec(any::<u8>(), 0..20),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut wire = Vec::new();
        for (data, extension) in &chunks {
            let size = if upper { format!("{:X}", data.len()) } else { format!("{:x}", data.len()) };
            wire.extend_from_slice(format!("{}{size}{extension}\r\n", "0".repeat(zeros)).as_bytes());
            wire.extend_from_slice(data);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        wire.extend_from_slice(&rest);
        let (data, trailers, is_over, left) = decode(cut(&wire, &cuts)).expect("well-formed");
        let sent: Vec<u8> = chunks.into_iter().flat_map(|(data, _)| data).collect();
        prop_assert_eq!((data, trailers, is_over), (sent, None, true));
        prop_assert_eq!(left, rest);
    }

    /// Bytes near the grammar: what the model reads is read alike, what it does not is refused or waited for.
    #[test]
    fn nothing_is_read_otherwise_than_the_model_reads_it(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "0", "1", "2", "a", "A", "fffffffffffffffff", "\r\n", "\r\n", "\r\n", "\n", "\r", ";", " ", "x", "-1", "+1", "0x1", "data",
            ]),
            0..14,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let wire = words.concat().into_bytes();
        let whole = decode([wire.as_slice()]);
        prop_assert_eq!(&decode(cut(&wire, &cuts)), &whole, "cuts change nothing");
        match (model(&wire), whole) {
            (Some((data, rest)), Ok((read, None, true, left))) => prop_assert_eq!((data, rest), (read, &*left)),
            (Some(expected), other) => prop_assert!(false, "{expected:?} was read as {other:?}"),
            // Trailers, which the model does not know, are the only end that it does not see.
            (None, Ok((_, trailers, true, _))) => prop_assert!(trailers.is_some()),
            (None, Ok((_, _, false, _)) | Err(_)) => {}
        }
    }

    /// Whatever a server sends, there is an answer or an error, and cuts change nothing.
    #[test]
    fn heads_are_read_alike_however_they_are_cut(
        lines in prop::collection::vec(
            prop::sample::select(vec![
                "Content-Length: 5", "Content-Length: 5, 5", "content-length: 6", "Content-Length: +5", "Transfer-Encoding: chunked",
                "Transfer-Encoding: gzip, chunked", "Connection: close", "Connection: keep-alive", "A: b", " folded", "no colon", "A : b", "",
            ]),
            0..5,
        ),
        status in prop::sample::select(vec!["100", "101", "200", "204", "304", "99", "abc"]),
        version in prop::sample::select(vec!["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "ICY"]),
        is_head in any::<bool>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let wire = format!("{version} {status} Fine\r\n{}\r\n\r\nrest", lines.join("\r\n"));
        let method = if is_head { Method::HEAD } else { Method::GET };
        let read = |pieces: Vec<&[u8]>| {
            let mut input = BytesMut::new();
            for piece in pieces {
                input.extend_from_slice(piece);
                match head::read(&mut input, &method) {
                    Ok(None) => {}
                    found => return found.map(|found| found.map(|(head, is_kept)| (head.parts.status, head.length, is_kept, head.parts.headers))),
                }
            }
            Ok(None)
        };
        prop_assert_eq!(read(cut(wire.as_bytes(), &cuts)), read(vec![wire.as_bytes()]));
    }
}

fn of(text: &str, method: &Method) -> Result<Option<(StatusCode, Version, Length, bool)>, Garbage> {
    let mut input = BytesMut::from(text);
    let found = head::read(&mut input, method)?;
    Ok(found.map(|(head, is_kept)| (head.parts.status, head.parts.version, head.length, is_kept)))
}

#[test]
fn an_answer_ends_where_rfc_9112_says() {
    use Length::{Chunked, Exact, UntilClose};
    for (fields, length, is_kept) in [
        ("Content-Length: 5\r\n", Exact(5), true),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Exact(5), true),
        ("Content-Length: 5, 5\r\n", Exact(5), true),
        ("Content-Length: 5\r\nConnection: x, Close\r\n", Exact(5), false),
        ("Transfer-Encoding: Chunked\r\n", Chunked, true),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Chunked, false),
        ("", UntilClose, false),
    ] {
        let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        let expected = (StatusCode::OK, Version::HTTP_11, length, is_kept);
        assert_eq!(of(&text, &Method::GET), Ok(Some(expected)), "{fields}");
        let (_, _, length, _) = of(&text, &Method::HEAD).unwrap().unwrap();
        assert_eq!(length, Exact(0), "{fields}");
    }
    for status in ["204 No Content", "304 Not Modified"] {
        let text = format!("HTTP/1.1 {status}\r\nContent-Length: 9\r\n\r\n");
        let (_, _, length, is_kept) = of(&text, &Method::GET).unwrap().unwrap();
        assert_eq!((length, is_kept), (Exact(0), true));
    }
    let (_, version, length, is_kept) =
        of("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", &Method::GET).unwrap().unwrap();
    assert_eq!((version, length, is_kept), (Version::HTTP_10, Exact(1), false));
    let kept = of("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\n", &Method::GET);
    assert!(kept.unwrap().unwrap().3);
}

#[test]
fn an_answer_whose_end_is_in_doubt_is_garbage() {
    for fields in [
        "Content-Length: 5, 6\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5,\r\n",
        "Content-Length: \r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "A: b\r\n folded\r\n",
        "A : b\r\n",
    ] {
        assert_eq!(of(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"), &Method::GET), Err(Garbage), "{fields}");
    }
    assert_eq!(of("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &Method::GET), Err(Garbage));
    let long = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(head::HEAD_BYTES));
    assert_eq!(of(&long, &Method::GET), Err(Garbage), "it never ends");
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(head::MAX_FIELDS + 1));
    assert_eq!(of(&many, &Method::GET), Err(Garbage));
}

#[test]
fn interim_answers_are_skipped_and_an_upgrade_is_none() {
    let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(of(text, &Method::POST).unwrap().unwrap().0, StatusCode::CREATED);
    let upgrade = of("HTTP/1.1 101 Switching Protocols\r\n\r\n", &Method::GET).unwrap().unwrap();
    assert_eq!((upgrade.0, upgrade.2), (StatusCode::SWITCHING_PROTOCOLS, Length::Exact(0)));
}

#[test]
fn trailers_and_extensions_have_bounds() {
    let (_, trailers, is_over, _) = decode([b"0\r\nA: b\r\nC: d\r\n\r\n".as_slice()]).unwrap();
    let trailers = trailers.expect("trailers");
    assert_eq!((trailers.len(), trailers["a"].as_bytes(), is_over), (2, b"b".as_slice(), true));
    for bare in ["0\r\n\n", "0\r\nA: b\n\r\n", "0\r\nA: b\r\n\n"] {
        assert!(decode([bare.as_bytes()]).is_err(), "{bare:?}");
    }
    let endless = format!("0\r\nA: {}", "b".repeat(head::HEAD_BYTES));
    assert!(decode([endless.as_bytes()]).is_err());
    let extension = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(20_000));
    assert!(decode([extension.as_bytes()]).is_err());
    let many = "1;xxxx\r\na\r\n".repeat(5_000);
    assert!(decode([many.as_bytes()]).is_err(), "all extensions of an answer together");
}
