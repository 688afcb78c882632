//! One question of HAProxy and its answer: arguments become a description of a request, a verdict becomes variables.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, Response};
use phoenix_http::{BadHeader, Described, append_field};

use super::codec::{Data, Garbage, Reader};
use super::frame::Value;

/// Name of the message that is answered; others have no answer but an empty one.
const VERIFY: &[u8] = b"verify";

/// Headers of a verdict and the variables that they become.
const VARIABLES: [(HeaderName, &str); 10] = [
    (HeaderName::from_static("x-phoenix-user-id"), "user_id"),
    (HeaderName::from_static("x-phoenix-email"), "email"),
    (HeaderName::from_static("x-phoenix-role"), "role"),
    (HeaderName::from_static("x-phoenix-session-id"), "session_id"),
    (HeaderName::from_static("x-phoenix-assertion"), "assertion"),
    (RETRY_AFTER, "retry_after"),
    (LOCATION, "location"),
    (WWW_AUTHENTICATE, "www_authenticate"),
    (HeaderName::from_static("ratelimit"), "ratelimit"),
    (HeaderName::from_static("ratelimit-policy"), "ratelimit_policy"),
];

/// The question among the messages of a frame. What a client wrote is that question's matter only; an error is a frame
/// that HAProxy did not write as its protocol has it.
///
/// # Errors
/// When the messages end too early, or are none.
pub fn question(messages: &[u8]) -> Result<Option<Described<'_>>, Garbage> {
    let mut reader = Reader::new(messages);
    let mut found = None;
    while !reader.is_empty() {
        let (name, count) = (reader.bytes()?, reader.byte()?);
        let mut arguments = Arguments::new();
        for _ in 0..count {
            let (name, value) = reader.named()?;
            arguments.take(name, value);
        }
        if name == VERIFY && found.is_none() {
            found = Some(arguments);
        }
    }
    Ok(found.map(Arguments::described))
}

struct Arguments<'a> {
    method: &'a [u8],
    target: &'a [u8],
    source: Option<IpAddr>,
    is_https: bool,
    headers: Result<HeaderMap, BadHeader>,
}

impl<'a> Arguments<'a> {
    fn new() -> Self {
        Self { method: &[], target: &[], source: None, is_https: false, headers: Ok(HeaderMap::new()) }
    }

    fn take(&mut self, name: &[u8], value: Data<'a>) {
        match (name, value) {
            (b"method", Data::Bytes(method)) => self.method = method,
            (b"target", Data::Bytes(target)) => self.target = target,
            (b"source", Data::Address(address)) => self.source = Some(address),
            (b"https", Data::Bool(is_https)) => self.is_https = is_https,
            (b"headers", Data::Bytes(headers)) => self.headers = header(headers),
            // An argument that HAProxy has no value for, or that this version does not know.
            _ => {}
        }
    }

    fn described(self) -> Described<'a> {
        let Self { method, target, source, is_https, headers } = self;
        Described { method, target, host: None, is_https, source, headers }
    }
}

/// What `req.hdrs_bin` gives: names and values, ended by an empty pair.
fn header(bytes: &[u8]) -> Result<HeaderMap, BadHeader> {
    let (mut reader, mut headers) = (Reader::new(bytes), HeaderMap::new());
    while !reader.is_empty() {
        let pair = reader.bytes().and_then(|name| Ok((name, reader.bytes()?)));
        let (name, value) = pair.map_err(|Garbage| BadHeader::Field)?;
        if name.is_empty() {
            break;
        }
        append_field(&mut headers, name, value)?;
    }
    Ok(headers)
}

/// A verdict as variables: `status`, those of [`VARIABLES`] that it has, and of a refusal its `body`.
pub(super) fn variables(verdict: &Response<Bytes>) -> Vec<(&'static str, Value)> {
    let mut variables = vec![("status", Value::Number(verdict.status().as_u16().into()))];
    for (header, name) in &VARIABLES {
        if let Some(value) = verdict.headers().get(header) {
            variables.push((name, Value::Text(value.as_bytes().to_vec())));
        }
    }
    if !verdict.body().is_empty() {
        variables.push(("body", Value::Text(verdict.body().to_vec())));
    }
    variables
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::super::codec::{put_bytes, put_string};
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in pairs.iter().chain(&[("", "")]) {
            put_bytes(name.as_bytes(), &mut out);
            put_bytes(value.as_bytes(), &mut out);
        }
        out
    }

    /// A message with these arguments, each with its type.
    fn message(name: &str, arguments: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(name.as_bytes(), &mut out);
        out.push(u8::try_from(arguments.len()).expect("few"));
        for (name, value) in arguments {
            put_bytes(name.as_bytes(), &mut out);
            out.extend_from_slice(value);
        }
        out
    }

    fn string(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_string(text, &mut out);
        out
    }

    #[test]
    fn arguments_describe_a_request() {
        let headers = pairs(&[("host", "app"), ("cookie", "a=1"), ("cookie", "b=2")]);
        let arguments = [
            ("method", string(b"POST")),
            ("target", string(b"/a?b")),
            ("source", vec![6, 192, 0, 2, 7]),
            ("https", vec![0x11]),
            ("headers", string(&headers)),
            ("unknown", vec![0]),
        ];
        let messages = [message("other", &[]), message("verify", &arguments)].concat();
        let asked = question(&messages).expect("readable").expect("a question");
        assert_eq!((asked.method, asked.target, asked.is_https), (&b"POST"[..], &b"/a?b"[..], true));
        assert_eq!(asked.source, Some(IpAddr::from([192, 0, 2, 7])));
        assert_eq!(
            asked.headers.expect("a header").get_all("cookie").iter().collect::<Vec<_>>(),
            ["a=1", "b=2"]
        );
        assert!(question(&message("other", &arguments)).expect("readable").is_none());
        assert!(question(b"").expect("readable").is_none());
    }

    #[test]
    fn a_header_that_cannot_be_one_is_the_fault_of_its_question_only() {
        let headers = |bytes: &[u8]| {
            let messages = message("verify", &[("headers", string(bytes))]);
            let asked = question(&messages);
            asked.expect("a readable frame").expect("a question").headers
        };
        for bad in [pairs(&[("a b", "c")]), pairs(&[("a", "b\nc")]), vec![5, b'a'], vec![1, b'a']] {
            assert_eq!(headers(&bad), Err(BadHeader::Field), "{bad:?}");
        }
        assert_eq!(headers(&pairs(&[("a", "b"); 257])), Err(BadHeader::TooMany));
        assert_eq!(headers(&pairs(&[("a", "b"); 256])).map(|headers| headers.len()), Ok(256));
        // An argument that is cut off is HAProxy's fault.
        let whole = message("verify", &[("headers", string(&pairs(&[("a", "b")])))]);
        assert!(question(&whole[..whole.len() - 1]).is_err());
    }

    #[test]
    fn a_verdict_becomes_variables() {
        let mut verdict = Response::new(Bytes::from_static(b"{}"));
        *verdict.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
        verdict.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("7"));
        verdict.headers_mut().insert("x-other", HeaderValue::from_static("x"));
        let text = |text: &str| Value::Text(text.as_bytes().to_vec());
        let expected = [("status", Value::Number(429)), ("retry_after", text("7")), ("body", text("{}"))];
        assert_eq!(variables(&verdict), expected);
    }

    proptest! {
        #[test]
        fn garbage_is_refused_or_no_question(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
            let _ = question(&bytes);
            prop_assert!(question(&message("verify", &[("headers", string(&bytes))])).is_ok());
        }
    }
}
