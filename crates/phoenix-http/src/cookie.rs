//! The cookies of ours, that of the session and that of a known device: their names, how they are read, set and
//! removed.

use std::net::IpAddr;
use std::time::Duration;

use http::header::{COOKIE, HOST};
use http::{HeaderMap, HeaderValue, Uri};
use phoenix_auth::model::{KNOWN_DEVICE_LIFETIME, SessionToken};

use crate::client_ip::Peer;
use crate::settings::HttpSettings;

/// Which of the two forms a request uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CookieForm {
    /// `__Host-phoenix_session`, Secure: everywhere but on plain-HTTP loopback.
    HostPrefixed,
    /// `phoenix_session`, because browsers and curl keep no Secure cookie from `http://127.0.0.1`.
    PlainLoopback,
}

/// What the `Cookie` headers hold of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found<'a> {
    /// No such cookie.
    None,
    /// Its value, which may be empty.
    One(&'a str),
    /// The cookie is there twice with different values: which one counts would be a guess.
    Ambiguous,
}

impl CookieForm {
    /// Decided by what the client called us, unless it came by HTTPS or the public address is configured.
    pub(crate) fn of_request(settings: &HttpSettings, peer: Peer, uri: &Uri, headers: &HeaderMap) -> Self {
        if peer.is_https() {
            return Self::HostPrefixed;
        }
        if let Some(public) = &settings.public_origin {
            return if public.0.starts_with("https://") {
                Self::HostPrefixed
            } else {
                Self::by_host(&public.0[7..])
            };
        }
        Self::by_host(requested_host(uri, headers).unwrap_or(""))
    }

    fn by_host(authority: &str) -> Self {
        if is_loopback(authority) { Self::PlainLoopback } else { Self::HostPrefixed }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::HostPrefixed => "__Host-phoenix_session",
            Self::PlainLoopback => "phoenix_session",
        }
    }

    const fn device_name(self) -> &'static str {
        match self {
            Self::HostPrefixed => "__Host-phoenix_device",
            Self::PlainLoopback => "phoenix_device",
        }
    }

    const fn attributes(self) -> &'static str {
        match self {
            Self::HostPrefixed => "Path=/; HttpOnly; Secure; SameSite=Lax",
            Self::PlainLoopback => "Path=/; HttpOnly; SameSite=Lax",
        }
    }

    /// The session cookie of this form in a request.
    #[must_use]
    pub fn find(self, headers: &HeaderMap) -> Found<'_> {
        find(headers, self.name())
    }

    /// The mark of a known device in a request; none if there are two, because which one counts would be a guess.
    pub(crate) fn find_device(self, headers: &HeaderMap) -> Option<&str> {
        match find(headers, self.device_name()) {
            Found::One(mark) => Some(mark),
            Found::None | Found::Ambiguous => None,
        }
    }

    /// `Set-Cookie` that marks a device.
    pub(crate) fn set_device(self, mark: &str) -> Option<HeaderValue> {
        let (name, attributes) = (self.device_name(), self.attributes());
        let lifetime = KNOWN_DEVICE_LIFETIME.as_secs();
        let mut value =
            HeaderValue::from_str(&format!("{name}={mark}; Max-Age={lifetime}; {attributes}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// `Set-Cookie` that hands over a token.
    pub(crate) fn set(self, token: &SessionToken, lifetime: Duration) -> Option<HeaderValue> {
        let text = format!(
            "{}={}; Max-Age={}; {}",
            self.name(),
            token.expose(),
            lifetime.as_secs(),
            self.attributes()
        );
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// `Set-Cookie` that takes it back.
    pub(crate) fn clear(self) -> Option<HeaderValue> {
        HeaderValue::from_str(&format!("{}=; Max-Age=0; {}", self.name(), self.attributes())).ok()
    }
}

/// The cookies of a `Cookie` header, each with its value.
pub(crate) fn all(header: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    header.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty())
}

/// Whether a cookie, with its value, is one of ours in any form.
pub(crate) fn is_ours(pair: &[u8]) -> bool {
    [CookieForm::HostPrefixed, CookieForm::PlainLoopback].into_iter().any(|form| {
        [form.name(), form.device_name()].into_iter().any(|ours| {
            pair.strip_prefix(ours.as_bytes())
                .is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'='))
        })
    })
}

/// The cookie of this name in a request.
fn find<'a>(headers: &'a HeaderMap, name: &str) -> Found<'a> {
    let mut found = Found::None;
    // HTTP/2 may split the header (RFC 9113 section 8.2.3).
    for header in headers.get_all(COOKIE) {
        for pair in all(header) {
            // Other cookies may hold any bytes; a page or a neighbouring site can set one.
            let value = pair.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            let value = value.and_then(|value| std::str::from_utf8(value).ok());
            let Some(value) = value.filter(|value| value.is_ascii()) else { continue };
            found = match found {
                Found::None => Found::One(value),
                Found::One(first) if first == value => found,
                Found::One(_) | Found::Ambiguous => Found::Ambiguous,
            };
        }
    }
    found
}

/// Host and port that the client asked for: what the target names, as all of HTTP/2 do, and else `Host`. A target that
/// names one decides (RFC 9112 section 3.2.2), and an application is told the same.
pub(crate) fn requested_host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let named = uri.authority().map(http::uri::Authority::as_str);
    named.or_else(|| headers.get(HOST).and_then(|value| value.to_str().ok()))
}

/// Whether this is the client's own machine, by name or address.
pub(crate) fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => authority.split(':').next().unwrap_or(""),
    };
    // The usual names first: this is asked for every request.
    host == "127.0.0.1"
        || host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The naive way: values of the cookie in visible ASCII, whatever the others hold.
    fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
        let lines =
            headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
        let pairs =
            lines.filter_map(|pair| String::from_utf8(pair.to_vec()).ok().filter(|pair| pair.is_ascii()));
        let pairs: Vec<String> = pairs.collect();
        let pairs = pairs.iter().filter_map(|pair| pair.trim().split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).collect()
    }

    fn cookies() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            Just(&b"phoenix_session"[..]),
            Just(&b"__Host-phoenix_device"[..]),
            Just(&b"="[..]),
            Just(&b"="[..]),
            Just(&b";"[..]),
            Just(&b"; "[..]),
            Just(&b"\t"[..]),
            Just(&b"a"[..]),
            Just(&b"b"[..]),
            Just(&b"\xc3\xa4"[..]),
            Just(&b"\xff"[..]),
        ];
        proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn cookies_are_found_and_left_out_as_by_looking_at_each(sent in proptest::collection::vec(cookies(), 0..3)) {
            let mut headers = HeaderMap::new();
            for value in &sent {
                headers.append(COOKIE, HeaderValue::from_bytes(value).expect("a header value"));
            }
            let values = values(&headers, "phoenix_session");
            let expected = match values.as_slice() {
                [] => Found::None,
                [first, rest @ ..] if rest.iter().all(|value| value == first) => Found::One(first),
                _ => Found::Ambiguous,
            };
            prop_assert_eq!(CookieForm::PlainLoopback.find(&headers), expected);
            for pair in headers.get_all(COOKIE).iter().flat_map(all) {
                let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
                let ours: [&[u8]; 4] =
                    [b"phoenix_session", b"__Host-phoenix_session", b"phoenix_device", b"__Host-phoenix_device"];
                prop_assert_eq!(is_ours(pair), ours.contains(&name), "{:?}", pair);
            }
        }
    }

    fn headers(cookies: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, HeaderValue::from_str(cookie).expect("a header value"));
        }
        headers
    }

    #[test]
    fn finds_the_cookie_among_others_and_in_split_headers() {
        let form = CookieForm::PlainLoopback;
        assert_eq!(form.find(&headers(&["a=1; phoenix_session=tok; b=2"])), Found::One("tok"));
        assert_eq!(form.find(&headers(&["a=1", "phoenix_session=tok"])), Found::One("tok"));
        assert_eq!(form.find(&headers(&["xphoenix_session=tok; __Host-phoenix_session=t"])), Found::None);
        assert_eq!(CookieForm::HostPrefixed.find(&headers(&["phoenix_session=tok"])), Found::None);
    }

    #[test]
    fn two_different_values_are_ambiguous() {
        let form = CookieForm::PlainLoopback;
        assert_eq!(form.find(&headers(&["phoenix_session=a; phoenix_session=b"])), Found::Ambiguous);
        assert_eq!(form.find(&headers(&["phoenix_session=a; phoenix_session=a"])), Found::One("a"));
    }

    #[test]
    fn a_device_is_known_by_a_cookie_of_its_own_and_never_by_two() {
        let form = CookieForm::PlainLoopback;
        assert_eq!(form.find_device(&headers(&["phoenix_session=s; phoenix_device=d"])), Some("d"));
        assert_eq!(form.find_device(&headers(&["phoenix_device=d; phoenix_device=e"])), None);
        assert_eq!(CookieForm::HostPrefixed.find_device(&headers(&["phoenix_device=d"])), None);
        let set = CookieForm::HostPrefixed.set_device("1.ab").expect("a header value");
        assert_eq!(
            set,
            "__Host-phoenix_device=1.ab; Max-Age=34560000; Path=/; HttpOnly; Secure; SameSite=Lax"
        );
    }

    #[test]
    fn only_loopback_names_get_the_plain_form() {
        for host in ["127.0.0.1:8080", "localhost", "LOCALHOST:3000", "[::1]:8080", "127.9.9.9"] {
            assert_eq!(CookieForm::by_host(host), CookieForm::PlainLoopback, "{host}");
        }
        for host in ["example.com", "127.0.0.1.example.com", "", "localhost.example.com:80", "[2001:db8::1]"]
        {
            assert_eq!(CookieForm::by_host(host), CookieForm::HostPrefixed, "{host}");
        }
    }
}
