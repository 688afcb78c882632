//! Reads which request a proxy asks about. Beside `client_ip/` the only place that reads forwarding headers, by the same
//! rule: whoever calls this has made sure that the peer is a proxy that is believed.
//!
//! Of each description exactly one set of headers is read, chosen by the path that the proxy was configured with. A proxy
//! passes the headers of another kind on as its client sent them, so reading both would be believing anybody.

use http::header::{HOST, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::{Asks, Described, Original, VERIFY};
use crate::gateway::is_host;
use crate::problem::{Kind, Problem};

const FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
const ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");
/// Of a WebSocket's request.
const SEC_WEBSOCKET_KEY: HeaderName = HeaderName::from_static("sec-websocket-key");

impl Original {
    /// The request that this one, by HTTP, asks about.
    ///
    /// # Errors
    /// When the description is incomplete, says something twice, or describes no request.
    pub fn of_http(asks: Asks, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Self, Problem> {
        let mut described = Self {
            method: method.clone(),
            target: PathAndQuery::from_static("/"),
            is_https: proto(headers)?,
            headers: headers.clone(),
        };
        match asks {
            Asks::Forwarded => {
                described.method = read_method(needed(headers, &FORWARDED_METHOD)?.as_bytes())?;
                described.target = read_target(needed(headers, &FORWARDED_URI)?.as_bytes())?;
                described.headers.insert(HOST, needed(headers, &FORWARDED_HOST)?.clone());
            }
            Asks::Nginx => {
                described.method = read_method(needed(headers, &ORIGINAL_METHOD)?.as_bytes())?;
                described.target = nginx_target(headers)?;
            }
            Asks::EnvoyHttp | Asks::EnvoyGrpc => {
                let whole = uri.path_and_query().map_or("", PathAndQuery::as_str);
                described.target = read_target(whole.strip_prefix(VERIFY).unwrap_or(whole).as_bytes())?;
                set_host(&mut described.headers, uri.authority().map(|host| host.as_str().as_bytes()))?;
            }
        }
        described.admissible()
    }

    /// The same from a description of another kind.
    ///
    /// # Errors
    /// When it describes no request.
    pub fn of_described(described: Described<'_>) -> Result<Self, Problem> {
        let Described { method, target, host, is_https, headers, source: _ } = described;
        let mut headers = headers?;
        set_host(&mut headers, host)?;
        let original = Self { method: read_method(method)?, target: read_target(target)?, is_https, headers };
        original.admissible()
    }

    fn admissible(mut self) -> Result<Self, Problem> {
        // A method with small letters has other rules here, and is the same to many applications. The gateway refuses it,
        // too (`phoenix_proxy::check_framing`).
        if self.method.as_str().bytes().any(|letter| letter.is_ascii_lowercase()) {
            return Err(Kind::MethodNotAllowed.into());
        }
        // The host decides which rules hold here, and the application reads it anew.
        let mut hosts = self.headers.get_all(HOST).iter();
        match (hosts.next(), hosts.next()) {
            (Some(_), Some(_)) => return Err(unreadable("The request names two hosts.".to_owned())),
            (Some(host), None) if !host.to_str().is_ok_and(is_host) => {
                let detail = "The host must be a name or an address, and perhaps a port.";
                return Err(unreadable(detail.to_owned()));
            }
            (Some(_) | None, None) | (None, Some(_)) => {}
        }
        self.mark_upgrade();
        Ok(self)
    }

    /// Proxies that ask take `Upgrade` out of the header, which belongs to one connection. What every browser sends with a
    /// WebSocket stays.
    fn mark_upgrade(&mut self) {
        if self.headers.contains_key(SEC_WEBSOCKET_KEY) {
            self.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
    }
}

/// The one value of a header that a proxy must write.
fn needed<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a HeaderValue, Problem> {
    one(headers, name)?.ok_or_else(|| {
        unreadable(format!("The proxy must say which request it asks about: {name} is missing."))
    })
}

/// The value of a header; two are refused, because one may be the client's.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => {
            Err(unreadable(format!("{name} is there twice: the proxy must replace the client's.")))
        }
    }
}

fn proto(headers: &HeaderMap) -> Result<bool, Problem> {
    Ok(one(headers, &FORWARDED_PROTO)?.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"https")))
}

/// `X-Original-URI`, or the whole URL that the Kubernetes controller sends. Both may be there if they agree.
fn nginx_target(headers: &HeaderMap) -> Result<PathAndQuery, Problem> {
    let uri = one(headers, &ORIGINAL_URI)?;
    let url = one(headers, &ORIGINAL_URL)?.map(|value| {
        // What follows the host. Without a slash there it is no target, and refused as such.
        let host = value.to_str().ok()?.split_once("://")?.1;
        host.get(host.find(['/', '?', '#'])?..).map(str::as_bytes)
    });
    let url = url.map(Option::unwrap_or_default);
    match (uri.map(HeaderValue::as_bytes), url) {
        (Some(uri), Some(url)) if uri != url => Err(unreadable(
            "X-Original-URI and X-Original-URL differ: the proxy must remove the client's.".to_owned(),
        )),
        (Some(target), _) | (None, Some(target)) => read_target(target),
        (None, None) => needed(headers, &ORIGINAL_URI).and(Err(Kind::Internal.into())),
    }
}

fn read_method(bytes: &[u8]) -> Result<Method, Problem> {
    Method::from_bytes(bytes)
        .map_err(|_| unreadable("The method that the proxy asks about is none.".to_owned()))
}

fn read_target(bytes: &[u8]) -> Result<PathAndQuery, Problem> {
    // What follows `#` would be dropped here, and be a part of the path to some applications.
    let is_one = bytes.starts_with(b"/") && !bytes.contains(&b'#');
    let target = PathAndQuery::try_from(bytes).ok().filter(|_| is_one);
    target.ok_or_else(|| Kind::MalformedPath.into())
}

/// Where the header names no host, it is the one told beside it.
fn set_host(headers: &mut HeaderMap, host: Option<&[u8]>) -> Result<(), Problem> {
    if let Some(host) = host.filter(|_| !headers.contains_key(HOST)) {
        let value = HeaderValue::from_bytes(host);
        let value =
            value.map_err(|_| unreadable("The host that the proxy asks about is none.".to_owned()))?;
        headers.insert(HOST, value);
    }
    Ok(())
}

fn unreadable(detail: String) -> Problem {
    Problem::new(Kind::MalformedRequest).detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward_auth::BadHeader;

    fn read(asks: Asks, uri: &str, pairs: &[(&str, &str)]) -> Result<Original, Kind> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        Original::of_http(asks, &Method::PUT, &uri.parse().expect(uri), &headers)
            .map_err(|problem| problem.kind())
    }

    fn shown(original: &Original) -> String {
        format!("{} {} {}", original.method, host(original).unwrap_or_default(), original.target)
    }

    fn host(original: &Original) -> Option<&str> {
        original.headers.get(HOST)?.to_str().ok()
    }

    const CADDY: [(&str, &str); 3] = [
        ("x-forwarded-method", "POST"),
        ("x-forwarded-host", "App.Example.com:8443"),
        ("x-forwarded-uri", "/a//b?c=/d"),
    ];
    const NGINX: [(&str, &str); 3] =
        [("host", "[2001:db8::1]:80"), ("x-original-method", "GET"), ("x-original-uri", "/a?b")];

    #[test]
    fn each_proxy_is_read_in_its_own_words_only() {
        let forged =
            [("x-original-method", "GET"), ("x-original-uri", "/public"), ("x-original-url", "/public")];
        let original = read(Asks::Forwarded, VERIFY, &[&CADDY[..], &forged].concat()).expect("read");
        assert_eq!(shown(&original), "POST App.Example.com:8443 /a//b?c=/d");

        let forged =
            [("x-forwarded-method", "HEAD"), ("x-forwarded-uri", "/public"), ("x-forwarded-host", "x")];
        let original = read(Asks::Nginx, VERIFY, &[&NGINX[..], &forged].concat()).expect("read");
        assert_eq!(shown(&original), "GET [2001:db8::1]:80 /a?b");

        let forged = [&CADDY[..], &[("x-original-uri", "/public"), ("host", "app")]].concat();
        let original = read(Asks::EnvoyHttp, "/api/phoenix/verify/../x%2fy?z", &forged).expect("read");
        assert_eq!(shown(&original), "PUT app /../x%2fy?z");
    }

    #[test]
    fn what_the_kubernetes_controller_sends_is_read_and_must_not_be_contradicted() {
        let method = ("x-original-method", "GET");
        for (url, target) in
            [("https://h/a?b", "/a?b"), ("http://h//x", "//x"), ("http://h:1/?q=a://b/c", "/?q=a://b/c")]
        {
            let original = read(Asks::Nginx, VERIFY, &[method, ("x-original-url", url)]).expect(url);
            assert_eq!(original.target.as_str(), target, "{url}");
        }
        for url in ["https://h", "https://h?q=/a/b", "/a", "https://", ""] {
            let refused = read(Asks::Nginx, VERIFY, &[method, ("x-original-url", url)]).err();
            assert_eq!(refused, Some(Kind::MalformedPath), "{url}");
        }
        let both = |uri| [method, ("x-original-url", "https://h/a"), ("x-original-uri", uri)];
        assert!(read(Asks::Nginx, VERIFY, &both("/a")).is_ok());
        assert_eq!(read(Asks::Nginx, VERIFY, &both("/public")).err(), Some(Kind::MalformedRequest));
    }

    #[test]
    fn a_description_that_is_incomplete_or_said_twice_is_refused() {
        for missing in 0..CADDY.len() {
            let mut pairs = CADDY.to_vec();
            let (name, value) = pairs.remove(missing);
            assert_eq!(read(Asks::Forwarded, VERIFY, &pairs).err(), Some(Kind::MalformedRequest), "{name}");
            pairs.extend([(name, value), (name, value)]);
            assert_eq!(
                read(Asks::Forwarded, VERIFY, &pairs).err(),
                Some(Kind::MalformedRequest),
                "{name} twice"
            );
        }
        for pairs in [&NGINX[..2], &[NGINX[2]], &[&NGINX[..], &[NGINX[2]]].concat()] {
            assert_eq!(read(Asks::Nginx, VERIFY, pairs).err(), Some(Kind::MalformedRequest));
        }
        for target in ["", "*", "a", "https://h/a", "/a b", "?a", "/a#b", "/a#/../b", "/?#"] {
            let pairs = [CADDY[0], CADDY[1], ("x-forwarded-uri", target)];
            assert_eq!(read(Asks::Forwarded, VERIFY, &pairs).err(), Some(Kind::MalformedPath), "{target:?}");
        }
        let pairs = [("x-forwarded-method", "G T"), CADDY[1], CADDY[2]];
        assert_eq!(read(Asks::Forwarded, VERIFY, &pairs).err(), Some(Kind::MalformedRequest));
        let pairs = [("x-forwarded-method", "delete"), CADDY[1], CADDY[2]];
        assert_eq!(read(Asks::Forwarded, VERIFY, &pairs).err(), Some(Kind::MethodNotAllowed));
        let twice = [("x-forwarded-proto", "https"), ("x-forwarded-proto", "http")];
        assert!(read(Asks::EnvoyHttp, "/api/phoenix/verify/", &twice).is_err());
    }

    #[test]
    fn a_host_that_could_be_read_as_another_one_is_refused_whoever_tells_it() {
        for host in
            ["admin.example.com,pub", "pub, admin.example.com", "a..", ".a", "u@a", "a:", "a b", "", "[::1"]
        {
            let caddy = [CADDY[0], ("x-forwarded-host", host), CADDY[2], ("host", "a")];
            let nginx = [("host", host), NGINX[1], NGINX[2]];
            for (asks, pairs) in [
                (Asks::Forwarded, &caddy[..]),
                (Asks::Nginx, &nginx[..]),
                (Asks::EnvoyHttp, &nginx[..]),
                (Asks::EnvoyGrpc, &nginx[..]),
            ] {
                let refused = read(asks, "/api/phoenix/verify/x", pairs).err();
                assert_eq!(refused, Some(Kind::MalformedRequest), "{asks:?} {host:?}");
            }
            let (method, target, headers) = (&b"GET"[..], &b"/"[..], Ok(HeaderMap::new()));
            let (is_https, source, host) = (true, None, Some(host.as_bytes()));
            let described = Described { method, target, host, is_https, source, headers };
            let refused = Original::of_described(described).err().map(|problem| problem.kind());
            assert_eq!(refused, Some(Kind::MalformedRequest), "{host:?}");
        }
        let twice = [&NGINX[..], &[("host", "b")]].concat();
        assert_eq!(read(Asks::Nginx, VERIFY, &twice).err(), Some(Kind::MalformedRequest), "two hosts");
    }

    #[test]
    fn the_host_told_beside_a_header_counts_if_the_header_has_none() {
        let described = |pairs: &[&'static str], host| {
            let mut headers = HeaderMap::new();
            for value in pairs {
                headers.append(HOST, HeaderValue::from_static(value));
            }
            let (method, target) = (&b"GET"[..], &b"/"[..]);
            Original::of_described(Described {
                method,
                target,
                host,
                is_https: true,
                source: None,
                headers: Ok(headers),
            })
        };
        let read =
            |pairs, host: Option<&'static [u8]>| described(pairs, host).expect("read").headers.remove(HOST);
        assert_eq!(read(&[], Some(b"a")), Some(HeaderValue::from_static("a")));
        assert_eq!(read(&["b"], Some(b"a")), Some(HeaderValue::from_static("b")));
        assert_eq!(read(&[], None), None);
        let bad = Described {
            method: b"GET",
            target: b"/",
            host: None,
            is_https: false,
            source: None,
            headers: Err(BadHeader::Field),
        };
        assert_eq!(
            Original::of_described(bad).err().map(|problem| problem.kind()),
            Some(Kind::MalformedRequest)
        );
        assert!(described(&["b", "b"], None).is_err());
        assert!(described(&[], Some(b"a\n")).is_err());
    }
}
