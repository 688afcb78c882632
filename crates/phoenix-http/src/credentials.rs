//! Finds the credential a request carries. Judges nothing.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use crate::cookie::{CookieForm, Found};

/// How a token came, and so how its successor is handed back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Carrier {
    /// The session cookie: sent by browsers on their own, so unsafe methods need a same-origin request.
    Cookie,
    /// `Authorization: Bearer`.
    Bearer,
}

/// The credential of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Presented<'a> {
    None,
    /// A text that should be a token.
    Token(&'a str, Carrier),
    /// There is an `Authorization` header that is not `Bearer` and one token.
    Malformed,
    /// More than one credential of the same kind: which one counts would be a guess.
    Ambiguous,
}

impl<'a> Presented<'a> {
    /// `Authorization` counts before the cookie, because a client sends it on purpose.
    pub(crate) fn find(headers: &'a HeaderMap, form: CookieForm) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => bearer(value),
            (Some(_), Some(_)) => Self::Ambiguous,
            (None, _) => match form.find(headers) {
                Found::None | Found::One("") => Self::None,
                Found::One(token) => Self::Token(token, Carrier::Cookie),
                Found::Ambiguous => Self::Ambiguous,
            },
        }
    }
}

/// RFC 6750 section 2.1; the scheme's case does not matter (RFC 9110 section 11.1).
fn bearer(value: &HeaderValue) -> Presented<'_> {
    let Ok(text) = value.to_str() else { return Presented::Malformed };
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            let token = token.trim_matches(' ');
            if token.is_empty() || token.contains([' ', ',']) {
                Presented::Malformed
            } else {
                Presented::Token(token, Carrier::Bearer)
            }
        }
        _ => Presented::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present(authorization: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in authorization {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).expect("a header value"));
        }
        headers
    }

    #[test]
    fn reads_bearer_and_nothing_else() {
        let form = CookieForm::PlainLoopback;
        let cases = [
            ("Bearer abc", Presented::Token("abc", Carrier::Bearer)),
            ("bearer  abc ", Presented::Token("abc", Carrier::Bearer)),
            ("Bearer", Presented::Malformed),
            ("Bearer ", Presented::Malformed),
            ("Bearer a b", Presented::Malformed),
            ("Bearer a, Bearer b", Presented::Malformed),
            ("Basic YTpi", Presented::Malformed),
            ("", Presented::Malformed),
        ];
        for (value, expected) in cases {
            assert_eq!(Presented::find(&present(&[value]), form), expected, "{value:?}");
        }
        assert_eq!(Presented::find(&present(&["Bearer a", "Bearer a"]), form), Presented::Ambiguous);
        assert_eq!(Presented::find(&HeaderMap::new(), form), Presented::None);
    }
}
