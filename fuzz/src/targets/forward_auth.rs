//! Which request another proxy asks about, as nginx, Caddy, Traefik and Envoy describe it over HTTP.
//!
//! What is read is a request in origin form with one host at most, said again in another proxy's words it is the same,
//! and what the words of the other proxies say does not count.

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use phoenix_http::{Asks, Described, Original};

use crate::input;

static NAMES: [HeaderName; 11] = [
    HeaderName::from_static("x-forwarded-method"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-uri"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-original-method"),
    HeaderName::from_static("x-original-uri"),
    HeaderName::from_static("x-original-url"),
    HOST,
    HeaderName::from_static("cookie"),
    HeaderName::from_static("sec-websocket-key"),
    HeaderName::from_static("connection"),
];
/// Positions of what each kind of proxy writes about method, host and target.
const OF_FORWARDED: [usize; 3] = [0, 1, 2];
const OF_NGINX: [usize; 3] = [4, 5, 6];

/// The target of the question up to the first end of a line, then lines of headers.
pub(crate) fn run(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (target, rest) = data.split_at(end);
    let Ok(uri) = Uri::try_from(target) else { return };
    let Some(asks) = Asks::of(&uri) else { return };
    let headers = input::headers(rest.get(1..).unwrap_or_default(), &NAMES);
    let Ok(original) = Original::of_http(asks, &Method::PUT, &uri, &headers) else { return };
    is_possible(&original);
    is_as_it_was_sent(asks, &headers, &original);
    the_words_of_others_do_not_count(asks, &uri, &headers, &original);
    said_again_it_is_the_same(&original);
}

fn is_possible(original: &Original) {
    let target = original.target.as_str();
    assert!(target.starts_with('/') && !target.contains('#'), "{target:?}");
    assert!(!target.bytes().any(|byte| byte == b' ' || byte.is_ascii_control()), "{target:?}");
    assert!(!original.method.as_str().bytes().any(|letter| letter.is_ascii_lowercase()));
}

/// What is judged must be what the proxy passes on.
fn is_as_it_was_sent(asks: Asks, headers: &HeaderMap, original: &Original) {
    let [method, _, target] = match asks {
        Asks::Forwarded => OF_FORWARDED,
        Asks::Nginx => [4, 7, 5],
        Asks::EnvoyHttp | Asks::EnvoyGrpc => return,
    };
    let sent = |position: usize| headers.get(&NAMES[position]).map(HeaderValue::as_bytes);
    assert_eq!(sent(method), Some(original.method.as_str().as_bytes()));
    assert!(sent(target).is_none_or(|target| target == original.target.as_str().as_bytes()));
}

fn the_words_of_others_do_not_count(asks: Asks, uri: &Uri, headers: &HeaderMap, original: &Original) {
    let others: Vec<usize> = match asks {
        Asks::Forwarded => OF_NGINX.to_vec(),
        Asks::Nginx => OF_FORWARDED.to_vec(),
        Asks::EnvoyHttp | Asks::EnvoyGrpc => [OF_FORWARDED, OF_NGINX].concat(),
    };
    let mut forged = headers.clone();
    for name in others.iter().filter_map(|position| NAMES.get(*position)) {
        forged.insert(name, HeaderValue::from_static("/public"));
    }
    let read = Original::of_http(asks, &Method::PUT, uri, &forged);
    assert!(read.is_ok_and(|read| is_same(&read, original)));
}

fn said_again_it_is_the_same(original: &Original) {
    let described = Described {
        method: original.method.as_str().as_bytes(),
        target: original.target.as_str().as_bytes(),
        host: None,
        is_https: original.is_https,
        source: None,
        headers: Ok(original.headers.clone()),
    };
    let hosts = original.headers.get_all(HOST).iter().count();
    match Original::of_described(described) {
        Ok(read) => assert!(is_same(&read, original)),
        Err(_) => assert!(hosts > 1),
    }
}

fn is_same(one: &Original, other: &Original) -> bool {
    (&one.method, &one.target, one.is_https, one.headers.get(HOST))
        == (&other.method, &other.target, other.is_https, other.headers.get(HOST))
}
