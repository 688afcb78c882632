//! Where a request carries a token: `Authorization`, cookies, and the headers and cookies of a provider's SDK.
//!
//! A token is one word of what was sent. HTTP/2 may split the cookie header anywhere between cookies (RFC 9113 section
//! 8.2.3), and cookies of others may stand beside ours: neither changes what is found. Once credentials are hidden from
//! an application, none of ours is left.

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use phoenix_auth::model::SessionToken;
use phoenix_http::gateway::hide_credentials;
use phoenix_http::{Carrier, CookieForm, Found, Presented, ProviderCookies};

use crate::input;

static NAMES: [HeaderName; 6] = [
    AUTHORIZATION,
    COOKIE,
    HeaderName::from_static("x-stack-access-token"),
    HeaderName::from_static("x-stack-auth"),
    HeaderName::from_static("x-hexclave-access-token"),
    HeaderName::from_static("x-hexclave-auth"),
];

/// A byte: the form of cookies, and whether there is a provider. Lines of headers: `a` `Authorization`, `b` `Cookie`, and
/// so on.
pub(crate) fn run(mut data: &[u8]) {
    let mode = input::byte(&mut data);
    let form = if mode & 1 == 0 { CookieForm::PlainLoopback } else { CookieForm::HostPrefixed };
    let provider = (mode & 2 != 0).then(|| ProviderCookies { project: "p".to_owned() });
    let mut headers = input::headers(data, &NAMES);
    let found = Presented::find(&headers, form, provider.as_ref());
    is_possible(&found, &headers, form);

    let split = with_cookies(&headers, |cookies| cookies);
    assert_eq!(Presented::find(&split, form, provider.as_ref()), found, "split");
    let among = with_cookies(&headers, |mut cookies| {
        cookies.insert(0, b"theme=dark".to_vec());
        cookies.push(b"\xff".to_vec());
        cookies
    });
    // The SDK's are looked for among the first 128.
    if among.get_all(COOKIE).iter().count() < 128 {
        assert_eq!(Presented::find(&among, form, provider.as_ref()), found, "among others");
    }

    if let Presented::Token(token, Carrier::Cookie) = &found {
        let other =
            format!("{}={token}x", if mode & 1 == 0 { "phoenix_session" } else { "__Host-phoenix_session" });
        let twice = with_cookies(&headers, |mut cookies| {
            cookies.push(other.clone().into_bytes());
            cookies
        });
        assert_eq!(Presented::find(&twice, form, provider.as_ref()), Presented::Ambiguous);
    }

    hide_credentials(&mut headers);
    for form in [CookieForm::PlainLoopback, CookieForm::HostPrefixed] {
        assert_eq!(form.find(&headers), Found::None);
        if let Presented::Token(token, carrier) = Presented::find(&headers, form, provider.as_ref()) {
            assert!(
                !(matches!(carrier, Carrier::Cookie | Carrier::Bearer)
                    && token.starts_with(SessionToken::PREFIX)),
                "{carrier:?}"
            );
        }
    }
}

fn is_possible(found: &Presented<'_>, headers: &HeaderMap, form: CookieForm) {
    match found {
        Presented::Token(token, carrier) => {
            assert!(!token.is_empty());
            match carrier {
                Carrier::Bearer => assert_eq!(headers.get_all(AUTHORIZATION).iter().count(), 1),
                Carrier::Cookie => assert_eq!(form.find(headers), Found::One(token)),
                Carrier::ProviderHeader | Carrier::ProviderCookie => {
                    assert!(!headers.contains_key(AUTHORIZATION));
                }
            }
        }
        Presented::None => assert!(!headers.contains_key(AUTHORIZATION)),
        Presented::Malformed => assert!(headers.contains_key(AUTHORIZATION)),
        Presented::Ambiguous => assert!(headers.len() > 1 || headers.contains_key(COOKIE)),
    }
}

/// The same header with each cookie in a line of its own.
fn with_cookies(headers: &HeaderMap, change: impl Fn(Vec<Vec<u8>>) -> Vec<Vec<u8>>) -> HeaderMap {
    let mut changed = headers.clone();
    changed.remove(COOKIE);
    let lines = headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    for cookie in change(lines.map(<[u8]>::to_vec).collect()) {
        changed.append(COOKIE, HeaderValue::from_bytes(&cookie).expect("a part of a value is one"));
    }
    changed
}
