//! Where a request carries an access token of an outside identity provider, besides `Authorization: Bearer`.
//!
//! Stack Auth's SDKs hand the token over in their own headers and cookies, under the old name (`stack`) and the new
//! (`hexclave`). Judges nothing: the token is verified elsewhere.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::COOKIE;
use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;
use phoenix_auth::model::SessionToken;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::cookie;

/// Both names of everything.
const FAMILIES: [Family; 2] = [
    Family {
        name: "stack",
        access: HeaderName::from_static("x-stack-access-token"),
        pair: HeaderName::from_static("x-stack-auth"),
    },
    Family {
        name: "hexclave",
        access: HeaderName::from_static("x-hexclave-access-token"),
        pair: HeaderName::from_static("x-hexclave-auth"),
    },
];

/// Most cookies of one request that are looked at.
const MAX_COOKIES: usize = 128;

struct Family {
    name: &'static str,
    access: HeaderName,
    pair: HeaderName,
}

/// The tokens as the SDK hands them to a backend.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pair {
    access_token: Option<String>,
}

/// What a refresh cookie of the present form holds.
#[derive(Deserialize)]
struct RefreshCookie {
    refresh_token: String,
    #[serde(default)]
    updated_at_millis: i64,
}

/// Whether a header of the SDK's is there more than once.
pub(crate) fn is_ambiguous(headers: &HeaderMap) -> bool {
    let twice = |name| headers.get_all(name).iter().nth(1).is_some();
    FAMILIES.iter().any(|family| twice(&family.access) || twice(&family.pair))
}

/// The token in a header of the SDK's.
pub(crate) fn in_headers(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    for family in &FAMILIES {
        let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        if let Some(token) = text(&family.access).map(str::trim).filter(|token| !token.is_empty()) {
            return Some(Cow::Borrowed(token));
        }
        if let Some(token) = text(&family.pair).and_then(|json| access_token(json.as_bytes())) {
            return Some(Cow::Owned(token));
        }
    }
    None
}

/// The token in a bearer credential of the form `stackauth_<base64>` or `hexclave_<base64>`. Not one of ours: nobody packs
/// them so, and packed they would not be recognised where they are kept from applications.
pub(crate) fn in_bearer(text: &str) -> Option<String> {
    let encoded = text.strip_prefix("stackauth_").or_else(|| text.strip_prefix("hexclave_"))?;
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decoded = [STANDARD, URL_SAFE]
        .iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, config).decode(encoded.as_bytes()).ok())?;
    access_token(&decoded).filter(|token| !token.starts_with(SessionToken::PREFIX))
}

fn access_token(json: &[u8]) -> Option<String> {
    serde_json::from_slice::<Pair>(json).ok()?.access_token.filter(|token| !token.is_empty())
}

/// The access token in the SDK's cookies. It counts only together with the refresh token it belongs to, as it does
/// for the SDK: a browser that signed in as somebody else may still hold the old one.
pub(crate) fn in_cookies(headers: &HeaderMap, project: &str) -> InCookies {
    FAMILIES
        .iter()
        .map(|family| Cookies::of(headers, family.name, project).token())
        .find(|found| *found != InCookies::None)
        .unwrap_or(InCookies::None)
}

/// What the SDK's cookies hold.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum InCookies {
    None,
    One(String),
    /// A cookie that counts is there twice with different values: one may have been set by a neighbouring site.
    Ambiguous,
}

/// One family's cookies of one project.
#[derive(Default)]
struct Cookies {
    /// The refresh token that the SDK would choose: a bare one outright, else the one updated last.
    refresh: Option<String>,
    access: Option<(String, String)>,
    /// Whether a cookie of the same name has another value, of those that count.
    ambiguous: bool,
}

impl Cookies {
    fn token(self) -> InCookies {
        match (self.access, self.refresh) {
            (Some(_), _) if self.ambiguous => InCookies::Ambiguous,
            (Some((of, access)), Some(refresh)) if of == refresh && !access.is_empty() => {
                InCookies::One(access)
            }
            _ => InCookies::None,
        }
    }

    fn of(headers: &HeaderMap, family: &str, project: &str) -> Self {
        let mut found = Self::default();
        let (mut bare, mut newest) = (None, None::<RefreshCookie>);
        let (mut accesses, mut bares, mut dated) = (Values::default(), Values::default(), Values::default());
        let refresh = format!("{family}-refresh");
        let ours = format!("{refresh}-{project}");
        for (name, value) in pairs(headers).take(MAX_COOKIES) {
            if name.strip_suffix("-access") == Some(family) {
                accesses.add(name, value);
                found.access = found.access.or_else(|| read(value));
            } else if name == refresh || name == ours {
                bares.add(name, value);
                bare = decoded(value);
            } else if let Some(rest) = name.strip_prefix("__Host-").unwrap_or(name).strip_prefix(&*ours)
                && (rest == "--default" || rest.starts_with("--custom-"))
            {
                dated.add(name, value);
                newest = match (newest, read::<RefreshCookie>(value)) {
                    (Some(held), Some(other)) if other.updated_at_millis > held.updated_at_millis => {
                        Some(other)
                    }
                    (held, other) => held.or(other),
                };
            }
        }
        found.ambiguous = accesses.differ || if bare.is_some() { bares.differ } else { dated.differ };
        found.refresh = bare.or(newest.map(|cookie| cookie.refresh_token));
        found
    }
}

/// Cookies that are there, by name.
#[derive(Default)]
struct Values<'a> {
    seen: Vec<(&'a str, &'a str)>,
    /// Whether one name has two values.
    differ: bool,
}

impl<'a> Values<'a> {
    fn add(&mut self, name: &'a str, value: &'a str) {
        self.differ |= self.seen.iter().any(|(known, other)| *known == name && *other != value);
        self.seen.push((name, value));
    }
}

fn read<T: DeserializeOwned>(value: &str) -> Option<T> {
    decoded(value).and_then(|json| serde_json::from_str(&json).ok())
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    // Each by itself: other cookies may hold any bytes.
    let pairs = headers.get_all(COOKIE).into_iter().flat_map(cookie::all);
    let texts = pairs.filter_map(|pair| std::str::from_utf8(pair).ok().filter(|text| text.is_ascii()));
    texts.filter_map(|pair| pair.split_once('='))
}

fn decoded(value: &str) -> Option<String> {
    percent_decode_str(value).decode_utf8().ok().map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const PROJECT: &str = "0190163d-8694-739b-aea5-966c26f8ad91";

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).expect("a header value"));
        }
        headers
    }

    fn cookie(text: &str) -> Option<String> {
        match in_cookies(&headers(&[("cookie", text)]), PROJECT) {
            InCookies::One(token) => Some(token),
            InCookies::None => None,
            InCookies::Ambiguous => panic!("{text} is ambiguous"),
        }
    }

    #[test]
    fn other_cookies_may_hold_any_bytes() {
        let token = cookie("theme=caf\u{e9}; stack-refresh=r1; stack-access=%5B%22r1%22%2C%22a.b.c%22%5D");
        assert_eq!(token.as_deref(), Some("a.b.c"));
    }

    // spec: A10
    #[test]
    fn a_cookie_with_two_values_is_ambiguous() {
        let access = |token| format!("stack-access=%5B%22r1%22%2C%22{token}%22%5D");
        let dated = |at| {
            format!(
                "stack-refresh-{PROJECT}--default=%7B%22refresh_token%22%3A%22r1%22%2C%22updated_at_millis%22%3A{at}%7D"
            )
        };
        let of = |parts: &[&str]| in_cookies(&headers(&[("cookie", &parts.join("; "))]), PROJECT);
        let (one, other, bare) = (access("a.b.c"), access("x.y.z"), "stack-refresh=r1");
        let good = InCookies::One("a.b.c".to_owned());
        assert_eq!(of(&[&one, &one, bare, bare]), good, "the same twice");
        assert_eq!(of(&[&one, &other, bare]), InCookies::Ambiguous);
        assert_eq!(of(&[&one, "stack-access=x", bare]), InCookies::Ambiguous);
        assert_eq!(of(&["stack-access=x", &one, bare]), InCookies::Ambiguous);
        assert_eq!(of(&[&one, bare, "stack-refresh=r2"]), InCookies::Ambiguous);
        assert_eq!(of(&[&one, &dated(1), &dated(2)]), InCookies::Ambiguous);
        assert_eq!(of(&[&one, bare, &dated(1), &dated(2)]), good, "only what counts");
        assert_eq!(of(&[bare, "stack-refresh=r2"]), InCookies::None, "no access token");
    }

    // spec: A10
    #[test]
    fn both_names_of_every_header_are_read() {
        for name in ["x-stack-access-token", "x-hexclave-access-token"] {
            assert_eq!(in_headers(&headers(&[(name, " a.b.c ")])).as_deref(), Some("a.b.c"), "{name}");
        }
        for name in ["x-stack-auth", "x-hexclave-auth"] {
            let json = r#"{"accessToken":"a.b.c","refreshToken":"r"}"#;
            assert_eq!(in_headers(&headers(&[(name, json)])).as_deref(), Some("a.b.c"), "{name}");
        }
        for bad in ["", "{", "[]", r#"{"accessToken":null}"#, r#"{"accessToken":""}"#, r#"{"accessToken":1}"#]
        {
            assert_eq!(in_headers(&headers(&[("x-stack-auth", bad)])), None, "{bad}");
        }
    }

    #[test]
    fn a_header_that_is_there_twice_is_ambiguous() {
        for family in &FAMILIES {
            for name in [&family.access, &family.pair] {
                let mut twice = HeaderMap::new();
                twice.append(name, HeaderValue::from_static("a"));
                assert!(!is_ambiguous(&twice), "{name}");
                twice.append(name, HeaderValue::from_static("a"));
                assert!(is_ambiguous(&twice), "{name}");
            }
        }
    }

    #[test]
    fn a_bearer_of_the_sdk_is_unpacked() {
        // {"accessToken":"a.b.c"}
        for text in ["stackauth_eyJhY2Nlc3NUb2tlbiI6ImEuYi5jIn0=", "hexclave_eyJhY2Nlc3NUb2tlbiI6ImEuYi5jIn0"]
        {
            assert_eq!(in_bearer(text).as_deref(), Some("a.b.c"), "{text}");
        }
        for bad in ["stackauth_", "stackauth_!!", "stackauth_e30=", "phx_s_x", "eyJ.e.s"] {
            assert_eq!(in_bearer(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_access_cookie_counts_only_with_its_refresh_token() {
        let access = "stack-access=%5B%22r1%22%2C%22a.b.c%22%5D";
        let refresh = |token: &str, at: u64| {
            format!("%7B%22refresh_token%22%3A%22{token}%22%2C%22updated_at_millis%22%3A{at}%7D")
        };
        let host = format!("__Host-stack-refresh-{PROJECT}--default");
        let plain = format!("stack-refresh-{PROJECT}--custom-mzxw6");
        assert_eq!(cookie(&format!("{access}; {host}={}", refresh("r1", 5))).as_deref(), Some("a.b.c"));
        assert_eq!(cookie(access), None, "no refresh token");
        assert_eq!(cookie(&format!("{access}; {host}={}", refresh("r2", 5))), None, "another's");
        let both =
            |one, other| format!("{access}; {host}={}; {plain}={}", refresh("r1", one), refresh("r2", other));
        assert_eq!(cookie(&both(9, 5)).as_deref(), Some("a.b.c"));
        assert_eq!(cookie(&both(5, 9)), None, "the one updated last wins");
        assert_eq!(
            cookie(&format!("{}; stack-refresh=r1", both(5, 9))).as_deref(),
            Some("a.b.c"),
            "a bare one wins"
        );
        let other = "__Host-stack-refresh-0190163d-0000-739b-aea5-966c26f8ad91--default";
        assert_eq!(cookie(&format!("{access}; {other}={}", refresh("r1", 5))), None, "of another project");
        let twin = format!("hexclave-access=%5B%22r%22%2C%22x.y.z%22%5D; hexclave-refresh-{PROJECT}=r");
        assert_eq!(cookie(&twin).as_deref(), Some("x.y.z"));
        for bad in ["stack-access=; stack-refresh=r", "stack-access=%5B%22r%22%5D; stack-refresh=r", "=;;=a"]
        {
            assert_eq!(cookie(bad), None, "{bad}");
        }
    }
}
