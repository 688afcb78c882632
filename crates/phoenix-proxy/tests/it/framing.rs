//! Frames that are in doubt.

use http::{Request, request};
use phoenix_proxy::{FramingError, check_framing};

/// Fields of a request, and what is said of it.
type Case<'a> = (&'a [(&'a str, &'a str)], Result<(), FramingError>);

fn parts(change: impl FnOnce(request::Builder) -> request::Builder) -> request::Parts {
    change(Request::get("/")).body(()).unwrap().into_parts().0
}

#[test]
fn doubtful_frames_are_refused() {
    use FramingError::{ContentLength, Expectation, Host, Method, TransferEncoding};
    let cases: [Case<'_>; 24] = [
        (&[("host", "a")], Ok(())),
        (&[("host", "a:80"), ("content-length", "5")], Ok(())),
        (&[("host", "[::1]:80"), ("transfer-encoding", "Chunked")], Ok(())),
        (&[("host", "a"), ("expect", "100-Continue")], Ok(())),
        (&[], Err(Host)),
        (&[("host", "")], Err(Host)),
        (&[("host", "a"), ("host", "a")], Err(Host)),
        (&[("host", "a b")], Err(Host)),
        (&[("host", "a/b")], Err(Host)),
        (&[("host", "user@a")], Err(Host)),
        (&[("host", "a:")], Err(Host)),
        (&[("host", "a:99999")], Err(Host)),
        (&[("host", "a, b")], Err(Host)),
        (&[("host", "a"), ("transfer-encoding", "gzip, chunked")], Err(TransferEncoding)),
        (&[("host", "a"), ("transfer-encoding", "chunked, chunked")], Err(TransferEncoding)),
        (&[("host", "a"), ("transfer-encoding", "\x0bchunked")], Err(TransferEncoding)),
        (&[("host", "a"), ("transfer-encoding", "identity")], Err(TransferEncoding)),
        (
            &[("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            Err(TransferEncoding),
        ),
        (&[("host", "a"), ("transfer-encoding", "chunked"), ("content-length", "5")], Err(TransferEncoding)),
        (&[("host", "a"), ("content-length", "5"), ("content-length", "5")], Err(ContentLength)),
        (&[("host", "a"), ("content-length", "5, 5")], Err(ContentLength)),
        (&[("host", "a"), ("content-length", "+5")], Err(ContentLength)),
        (&[("host", "a"), ("content-length", "")], Err(ContentLength)),
        (&[("host", "a"), ("expect", "200-ok")], Err(Expectation)),
    ];
    for (headers, expected) in cases {
        if headers.iter().any(|(_, value)| value.contains('\x0b')) {
            // http's own types refuse it already.
            assert!(http::HeaderValue::from_str(headers[1].1).is_err());
            continue;
        }
        let mut parts = parts(|builder| {
            headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value))
        });
        assert_eq!(check_framing(&mut parts), expected, "{headers:?}");
    }
    for method in ["CONNECT", "TRACE", "delete", "Get"] {
        let mut parts = parts(|builder| builder.method(method).uri("a:80").header("host", "a:80"));
        assert_eq!(check_framing(&mut parts), Err(Method));
    }
}

#[test]
fn versions_differ_in_what_they_may_say() {
    use http::Version;
    let check = |version, uri: &str, headers: &[(&str, &str)]| {
        let mut parts = parts(|builder| {
            let builder = builder.version(version).uri(uri);
            headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value))
        });
        check_framing(&mut parts)
            .map(|()| parts.headers.get("host").map(|host| host.to_str().unwrap().to_owned()))
    };
    assert_eq!(check(Version::HTTP_10, "/", &[]), Ok(None));
    assert_eq!(
        check(Version::HTTP_10, "/", &[("transfer-encoding", "chunked")]),
        Err(FramingError::TransferEncoding)
    );
    assert_eq!(
        check(Version::HTTP_2, "https://a/", &[("transfer-encoding", "chunked")]),
        Err(FramingError::TransferEncoding)
    );
    assert_eq!(check(Version::HTTP_2, "https://a/", &[]), Ok(Some("a".to_owned())));
    assert_eq!(check(Version::HTTP_2, "https://a/", &[("host", "A")]), Ok(Some("a".to_owned())));
    assert_eq!(check(Version::HTTP_2, "https://a/", &[("host", "b")]), Err(FramingError::Host));
    assert_eq!(check(Version::HTTP_11, "http://a/", &[("host", "b")]), Ok(Some("a".to_owned())));
    assert_eq!(check(Version::HTTP_11, "http://u@a/", &[("host", "a")]), Err(FramingError::Host));
}
