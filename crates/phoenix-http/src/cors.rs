//! Cross-origin requests of browsers (the CORS protocol of the Fetch standard): refused unless an origin is named.
//!
//! Owns the headers that say so. Which requests count is the same-origin rule's business (`origin.rs`): what CORS does
//! not let a page read, it may still have sent.

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, CONTENT_LENGTH, ORIGIN, TRANSFER_ENCODING,
    VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use hyper::body::Body as HttpBody;

/// What pages of an allowed origin may send.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
/// What they may read beyond what every page may.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "RateLimit, RateLimit-Policy, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, \
         X-Request-ID, X-Response-Time",
);
/// How long a browser need not ask again, in seconds. Chromium allows 2 hours at most.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
/// Longest list of headers in a preflight that is repeated, in bytes.
const MAX_REQUESTED: usize = 1024;

/// Whether a browser asks for leave to send a request.
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        && headers.contains_key(ORIGIN)
}

/// Whether a request has a body, or may have one.
/// Of a request that is only asked about, the header tells.
pub(crate) fn has_body<B: HttpBody>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    !request.body().is_end_stream()
        || headers.contains_key(TRANSFER_ENCODING)
        || lengths.any(|length| length.as_bytes() != b"0")
}

/// Removes what an application says to pages of other origins, where that is not its business.
pub(crate) fn remove(headers: &mut HeaderMap) {
    // One pass over the names costs less than one look-up for each of those that are hardly ever there.
    if !headers.keys().any(|name| name.as_str().starts_with("access-control-")) {
        return;
    }
    for name in [
        ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_ALLOW_CREDENTIALS,
        ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_EXPOSE_HEADERS,
        ACCESS_CONTROL_MAX_AGE,
    ] {
        headers.remove(name);
    }
}

/// What an answer says to a page of another origin.
#[derive(Clone, Default, Debug)]
pub(crate) struct Cors {
    /// The page's origin, if it is allowed.
    origin: Option<HeaderValue>,
    /// Whether the answer depends on the origin, also where none was sent: a cache must not give an answer without our
    /// headers to a page that may read it.
    varies: bool,
}

impl Cors {
    /// Looks whether the request's origin is one of these.
    pub(crate) fn of<'a>(headers: &HeaderMap, mut allowed: impl Iterator<Item = &'a str>) -> Self {
        let Some(first) = allowed.next() else { return Self::default() };
        let sent = headers.get(ORIGIN);
        let is_sent =
            |allowed: &str| sent.is_some_and(|o| o.as_bytes().eq_ignore_ascii_case(allowed.as_bytes()));
        let is_allowed = is_sent(first) || allowed.any(is_sent);
        Self { origin: sent.filter(|_| is_allowed).cloned(), varies: true }
    }

    /// Marks an answer.
    pub(crate) fn put(self, headers: &mut HeaderMap) {
        if self.varies {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        if let Some(origin) = self.origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }

    /// The answer to a preflight; `None` when the origin is not allowed.
    pub(crate) fn preflight(&self, asked: &HeaderMap) -> Option<Response> {
        self.origin.as_ref()?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        // With credentials a wildcard is not one, so the headers that are asked for are named.
        if let Some(requested) =
            asked.get(ACCESS_CONTROL_REQUEST_HEADERS).filter(|v| v.len() <= MAX_REQUESTED)
        {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, requested.clone());
        }
        Some(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: [&str; 2] = ["https://app.example.com", "https://admin.example.com:8443"];

    fn asked(origin: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, HeaderValue::from_static(origin));
        headers.insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("DELETE"));
        headers.insert(ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static("content-type"));
        headers
    }

    fn answered(origin: &'static str, allowed: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        Cors::of(&asked(origin), allowed.iter().copied()).put(&mut headers);
        headers
    }

    #[test]
    fn only_named_origins_may_read() {
        for origin in ALLOWED {
            let headers = answered(origin, &ALLOWED);
            assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], origin);
            assert_eq!(headers[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
            assert_eq!(headers[VARY], "Origin");
        }
        for origin in [
            "null",
            "*",
            "",
            "https://evil.example",
            "http://app.example.com",
            "https://app.example.com.evil.example",
        ] {
            let headers = answered(origin, &ALLOWED);
            assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN), "{origin}");
            assert_eq!(headers[VARY], "Origin", "{origin}");
        }
        assert!(answered("https://app.example.com", &[]).is_empty(), "refused by default");
    }

    #[test]
    fn an_answer_that_could_be_readable_says_so_also_to_who_sent_no_origin() {
        let answered = |allowed: &[&str]| {
            let mut headers = HeaderMap::new();
            Cors::of(&HeaderMap::new(), allowed.iter().copied()).put(&mut headers);
            headers
        };
        let headers = answered(&ALLOWED);
        assert_eq!((headers.len(), &headers[VARY]), (1, &HeaderValue::from_static("Origin")));
        assert!(answered(&[]).is_empty(), "it depends on nothing");
    }

    #[test]
    fn pages_may_read_all_that_is_told_of_limits() {
        let exposed = answered("https://app.example.com", &ALLOWED);
        let exposed = exposed[ACCESS_CONTROL_EXPOSE_HEADERS].to_str().expect("text").to_owned();
        let names: Vec<&str> = exposed.split(", ").collect();
        for name in
            ["RateLimit", "Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"]
        {
            assert!(names.contains(&name), "{exposed}");
        }
        assert!(names.iter().all(|name| !name.is_empty() && !name.contains(' ')), "{exposed}");
    }

    #[test]
    fn a_body_is_one_that_is_told_or_sent() {
        use http_body_util::{Empty, Full};
        let told = |pairs: &[(&str, &str)]| {
            let request =
                pairs.iter().fold(Request::builder(), |request, (name, value)| request.header(*name, *value));
            has_body(&request.body(Empty::<bytes::Bytes>::new()).expect("a request"))
        };
        assert!(!told(&[]) && !told(&[("content-length", "0")]));
        for pair in [
            ("content-length", "1"),
            ("content-length", "00"),
            ("content-length", ""),
            ("transfer-encoding", "chunked"),
        ] {
            assert!(told(&[pair]), "{pair:?}");
        }
        assert!(told(&[("content-length", "0"), ("content-length", "5")]));
        assert!(
            has_body(&Request::new(Full::new(bytes::Bytes::from_static(b"x")))),
            "as in HTTP/2, without a length"
        );
    }

    #[test]
    fn preflights_name_what_is_allowed_and_nothing_to_others() {
        let asked = asked("https://app.example.com");
        assert!(is_preflight(&Method::OPTIONS, &asked) && !is_preflight(&Method::GET, &asked));
        let answer = Cors::of(&asked, ALLOWED.into_iter()).preflight(&asked).expect("allowed");
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_HEADERS], "content-type");
        assert!(answer.headers()[ACCESS_CONTROL_ALLOW_METHODS].to_str().is_ok_and(|m| m.contains("DELETE")));
        assert!(Cors::of(&asked, std::iter::empty()).preflight(&asked).is_none());
    }
}
