//! Finds the credential a request carries. Judges nothing.

use std::borrow::Cow;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use phoenix_auth::model::TokenHash;
use phoenix_auth::ops::{Credential, Verdict};

use crate::cookie::{CookieForm, Found};
use crate::limits::Sender;
use crate::provider_tokens::{self, InCookies};
use crate::settings::ProviderCookies as Provider;

/// How a token came, and so how its successor is handed back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carrier {
    /// The session cookie: sent by browsers on their own, so unsafe methods need a same-origin request.
    Cookie,
    /// `Authorization: Bearer`.
    Bearer,
    /// A header of an identity provider's SDK.
    ProviderHeader,
    /// A cookie of an identity provider's SDK, sent by browsers on their own too.
    ProviderCookie,
}

impl Carrier {
    /// Whether a browser sends it without being asked to.
    pub(crate) const fn is_cookie(self) -> bool {
        matches!(self, Self::Cookie | Self::ProviderCookie)
    }

    /// Whether tokens of ours are carried in it, and not only those of an identity provider.
    pub(crate) const fn is_ours(self) -> bool {
        matches!(self, Self::Cookie | Self::Bearer)
    }
}

/// The credential of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Presented<'a> {
    /// None.
    None,
    /// A text that should be a token.
    Token(Cow<'a, str>, Carrier),
    /// There is an `Authorization` header that is not `Bearer` and one token.
    Malformed,
    /// More than one credential of the same kind: which one counts would be a guess.
    Ambiguous,
}

impl<'a> Presented<'a> {
    /// What a client sends on purpose counts before what its browser sends: `Authorization`, the headers of an
    /// identity provider's SDK, our cookie, the SDK's cookies. The SDK's are looked for only if `provider` says so.
    #[must_use]
    pub fn find(headers: &'a HeaderMap, form: CookieForm, provider: Option<&Provider>) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => return bearer(value, provider),
            (Some(_), Some(_)) => return Self::Ambiguous,
            (None, _) => {}
        }
        if let Some(token) = provider.and_then(|_| provider_tokens::in_headers(headers)) {
            if provider_tokens::is_ambiguous(headers) {
                return Self::Ambiguous;
            }
            return Self::Token(token, Carrier::ProviderHeader);
        }
        match form.find(headers) {
            Found::One(token) if !token.is_empty() => Self::Token(Cow::Borrowed(token), Carrier::Cookie),
            Found::None | Found::One(_) => {
                match provider.map(|provider| provider_tokens::in_cookies(headers, &provider.project)) {
                    None | Some(InCookies::None) => Self::None,
                    Some(InCookies::One(token)) => Self::Token(Cow::Owned(token), Carrier::ProviderCookie),
                    Some(InCookies::Ambiguous) => Self::Ambiguous,
                }
            }
            Found::Ambiguous => Self::Ambiguous,
        }
    }
}

/// RFC 6750 section 2.1; the scheme's case does not matter (RFC 9110 section 11.1).
fn bearer<'a>(value: &'a HeaderValue, provider: Option<&Provider>) -> Presented<'a> {
    let Ok(text) = value.to_str() else { return Presented::Malformed };
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            let token = token.trim_matches(' ');
            if token.is_empty() || token.contains([' ', ',']) {
                return Presented::Malformed;
            }
            let packed = provider.and_then(|_| provider_tokens::in_bearer(token));
            Presented::Token(packed.map_or(Cow::Borrowed(token), Cow::Owned), Carrier::Bearer)
        }
        _ => Presented::Malformed,
    }
}

/// Who sent a request, as far as memory knows. A credential that memory knows not to count is nobody's.
pub(crate) fn sender(has_credential: bool, known: Option<&Verdict>) -> Sender {
    match known {
        // Where the times of the session are, which were looked at before.
        Some(Ok(caller)) => Sender::User(caller.active.session.user_id),
        Some(Err(_rejection)) => Sender::Stranger,
        None if has_credential => Sender::Unknown,
        None => Sender::Stranger,
    }
}

/// A credential that outlives the headers it came in.
pub(crate) enum Kept {
    Own(TokenHash),
    External { hash: TokenHash, text: String },
}

impl Kept {
    pub(crate) fn of(credential: Credential<'_>) -> Self {
        match credential {
            Credential::Own(hash) => Self::Own(hash),
            Credential::External { hash, text } => Self::External { hash, text: text.to_owned() },
        }
    }

    pub(crate) fn borrow(&self) -> Credential<'_> {
        match self {
            Self::Own(hash) => Credential::Own(*hash),
            Self::External { hash, text } => Credential::External { hash: *hash, text },
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

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
            ("Bearer abc", Presented::Token("abc".into(), Carrier::Bearer)),
            ("bearer  abc ", Presented::Token("abc".into(), Carrier::Bearer)),
            ("Bearer", Presented::Malformed),
            ("Bearer ", Presented::Malformed),
            ("Bearer a b", Presented::Malformed),
            ("Bearer a, Bearer b", Presented::Malformed),
            ("Basic YTpi", Presented::Malformed),
            ("", Presented::Malformed),
        ];
        for (value, expected) in cases {
            assert_eq!(Presented::find(&present(&[value]), form, None), expected, "{value:?}");
        }
        assert_eq!(Presented::find(&present(&["Bearer a", "Bearer a"]), form, None), Presented::Ambiguous);
        assert_eq!(Presented::find(&HeaderMap::new(), form, None), Presented::None);
    }

    #[test]
    fn a_token_of_ours_is_not_found_where_an_sdk_packs_its_own() {
        let provider = Provider { project: "p".to_owned() };
        let found = |token: &str| {
            let packed = STANDARD.encode(format!(r#"{{"accessToken":"{token}"}}"#));
            let headers = present(&[&format!("Bearer stackauth_{packed}")]);
            match Presented::find(&headers, CookieForm::PlainLoopback, Some(&provider)) {
                Presented::Token(found, Carrier::Bearer) => found == token,
                other => panic!("{other:?}"),
            }
        };
        assert!(found("a.b.c"));
        assert!(!found("phx_s_x"));
    }
}
