//! What an application is told about the caller, and what it is not (invariant 7): identity headers are always written
//! or removed, never passed through; tokens of ours stay here.

use std::time::SystemTime;

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use phoenix_auth::model::{ActiveSession, Email, SessionToken};

use super::port::{Assertions, Subject};
use crate::cookie;

const USER_ID: HeaderName = HeaderName::from_static("x-phoenix-user-id");
const EMAIL: HeaderName = HeaderName::from_static("x-phoenix-email");
const ROLE: HeaderName = HeaderName::from_static("x-phoenix-role");
const SESSION_ID: HeaderName = HeaderName::from_static("x-phoenix-session-id");
const ASSERTION: HeaderName = HeaderName::from_static("x-phoenix-assertion");

/// Headers that say who the caller is. Nobody outside may send them.
pub(crate) const IDENTITY_HEADERS: [HeaderName; 5] = [USER_ID, EMAIL, ROLE, SESSION_ID, ASSERTION];

/// Removes identity headers that came from outside, also those that an application may take for one: many read `_` as
/// `-`, as CGI does.
pub(crate) fn strip(headers: &mut HeaderMap) {
    for name in &IDENTITY_HEADERS {
        headers.remove(name);
    }
    while let Some(name) = headers.keys().find(|name| is_lookalike(name.as_str())).cloned() {
        headers.remove(name);
    }
}

fn is_lookalike(name: &str) -> bool {
    let reads_as = |header: &HeaderName| {
        let header = header.as_str();
        name.len() == header.len()
            && name
                .bytes()
                .zip(header.bytes())
                .all(|(sent, ours)| sent == ours || (sent == b'_' && ours == b'-'))
    };
    name.as_bytes().first() == Some(&b'x') && name.contains('_') && IDENTITY_HEADERS.iter().any(reads_as)
}

/// Headers that say who the caller is, each with its value.
pub(crate) fn told(
    active: &ActiveSession,
    assertions: Option<&dyn Assertions>,
    audience: &str,
    now: SystemTime,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let user = &active.user;
    let subject = Subject {
        user: user.id,
        session: active.session.id,
        email: user.email.as_ref().map(Email::as_str),
        email_verified: user.email_verified,
        role: user.role.as_str(),
    };
    let assertion = assertions.and_then(|assertions| assertions.assertion(subject, audience, now));
    // An address may hold letters beyond ASCII; as UTF-8 they are valid in a field (RFC 9110 section 5.5).
    let text = |text: &str| HeaderValue::from_bytes(text.as_bytes()).ok();
    let values = [
        (USER_ID, text(&user.id.to_string())),
        (EMAIL, subject.email.and_then(text)),
        (ROLE, text(subject.role)),
        (SESSION_ID, text(&active.session.id.to_string())),
        (ASSERTION, assertion),
    ];
    values.into_iter().filter_map(|(name, value)| value.map(|value| (name, value)))
}

/// Removes tokens of ours, and the mark of a known device: an application has no use for them, and its logs none.
pub(crate) fn hide_credentials(headers: &mut HeaderMap) {
    // Wherever it stands in the value: one that is no proper `Bearer` holds a secret as well.
    let prefix = SessionToken::PREFIX.as_bytes();
    let is_ours = |value: &HeaderValue| value.as_bytes().windows(prefix.len()).any(|part| part == prefix);
    if headers.get_all(AUTHORIZATION).iter().any(is_ours) {
        headers.remove(AUTHORIZATION);
    }
    // Several headers are one cookie that HTTP/2 has split (RFC 9113 section 8.2.3); the proxy joins what is not ours.
    if !headers.get_all(COOKIE).iter().any(|value| may_hold_ours(value.as_bytes())) {
        return;
    }
    let kept: Vec<&[u8]> = headers.get_all(COOKIE).iter().flat_map(cookie::without_ours).collect();
    let kept = HeaderValue::from_bytes(&kept.join(&b"; "[..]));
    headers.remove(COOKIE);
    if let Ok(value) = kept
        && !value.is_empty()
    {
        headers.insert(COOKIE, value);
    }
}

fn may_hold_ours(value: &[u8]) -> bool {
    value.windows(cookie::COMMON_PART.len()).any(|part| part == cookie::COMMON_PART.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn nobody_outside_says_who_the_caller_is() {
        let mut sent = headers(&[
            ("x-phoenix-user-id", "a"),
            ("x-phoenix-user-id", "b"),
            ("x_phoenix_user_id", "c"),
            ("x-phoenix_user-id", "d"),
            ("x-phoenix-assertion", "e"),
            ("x_phoenix-role", "f"),
            ("x-phoenix-version", "kept"),
            ("x_custom", "kept"),
        ]);
        strip(&mut sent);
        let mut left: Vec<&str> = sent.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["x-phoenix-version", "x_custom"]);
    }

    #[test]
    fn tokens_of_ours_stay_here_and_the_applications_own_go_on() {
        let cases = [
            ("a=1; phoenix_session=phx_s_x; b=2", Some("a=1; b=2")),
            ("__Host-phoenix_session=phx_s_x", None),
            ("__Host-phoenix_device=d;phoenix_device=e;c=3", Some("c=3")),
            ("my_phoenix_session=1; phoenix_theme=dark", Some("my_phoenix_session=1; phoenix_theme=dark")),
            ("a=1; b", Some("a=1; b")),
        ];
        for (sent, kept) in cases {
            let mut sent = headers(&[("cookie", sent)]);
            hide_credentials(&mut sent);
            assert_eq!(sent.get(COOKIE).map(|value| value.to_str().expect("text")), kept);
        }
        let mut split = headers(&[("cookie", "a=1"), ("cookie", "phoenix_session=x"), ("cookie", "b=2")]);
        hide_credentials(&mut split);
        assert_eq!(split.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2"]);
        for (sent, stays) in [
            ("Bearer phx_s_abc", false),
            ("bearer  phx_s_abc", false),
            ("Bearer phx_s_abc, Bearer other", false),
            ("phx_s_abc", false),
            ("Bearer other", true),
            ("Basic YTpi", true),
        ] {
            let mut sent = headers(&[("authorization", sent)]);
            hide_credentials(&mut sent);
            assert_eq!(sent.contains_key(AUTHORIZATION), stays, "{sent:?}");
        }
    }
}
