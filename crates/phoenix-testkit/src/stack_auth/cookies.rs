//! What the JavaScript SDK leaves in the browser and sends to a backend of one's own. Pure text; no state.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::SignedIn;
use super::encoding::{base32, base64};

/// Seconds a `stack-access` cookie lives.
const ACCESS_MAX_AGE_S: u64 = 24 * 60 * 60;
/// Seconds a refresh cookie lives.
const REFRESH_MAX_AGE_S: u64 = 365 * 24 * 60 * 60;

/// What `encodeURIComponent` escapes.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// The same without what may stand in a cookie as it is (RFC 6265), as the library js-cookie writes.
const JS_COOKIE: &AsciiSet = &COMPONENT
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'/')
    .remove(b':')
    .remove(b'<')
    .remove(b'=')
    .remove(b'>')
    .remove(b'?')
    .remove(b'@')
    .remove(b'[')
    .remove(b']')
    .remove(b'^')
    .remove(b'`')
    .remove(b'{')
    .remove(b'|')
    .remove(b'}');

/// How a value is escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieEncoding {
    /// In the browser: `[%22a%22%2C%22b%22]`.
    JsCookie,
    /// On a server: `%5B%22a%22%2C%22b%22%5D`.
    Component,
}

/// A cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// Name.
    pub name: String,
    /// Value, escaped.
    pub value: String,
    /// Seconds until the browser forgets it.
    pub max_age_s: u64,
}

impl Cookie {
    fn new(name: impl Into<String>, value: &str, encoding: CookieEncoding, max_age_s: u64) -> Self {
        let escaped = match encoding {
            CookieEncoding::JsCookie => utf8_percent_encode(value, JS_COOKIE),
            CookieEncoding::Component => utf8_percent_encode(value, COMPONENT),
        };
        Self { name: name.into(), value: escaped.to_string(), max_age_s }
    }

    /// The cookie under its other name: `hexclave-` for `stack-`, also after `__Host-`.
    #[must_use]
    pub fn hexclave(mut self) -> Self {
        self.name = self.name.replacen("stack-", "hexclave-", 1);
        self
    }

    /// `NAME=VALUE`, a part of a `Cookie` header.
    #[must_use]
    pub fn pair(&self) -> String {
        format!("{}={}", self.name, self.value)
    }

    /// A whole `Cookie` header.
    #[must_use]
    pub fn header(cookies: &[Self]) -> String {
        cookies.iter().map(Self::pair).collect::<Vec<_>>().join("; ")
    }
}

/// `stack-access`: both tokens. It counts only if the refresh token equals the one of the refresh cookie.
#[must_use]
pub fn access_cookie(refresh_token: &str, access_token: &str, encoding: CookieEncoding) -> Cookie {
    let value = json!([refresh_token, access_token]).to_string();
    Cookie::new("stack-access", &value, encoding, ACCESS_MAX_AGE_S)
}

/// The default refresh cookie of a project. `is_https` decides whether it has the prefix `__Host-`.
#[must_use]
pub fn refresh_cookie(
    project: &str,
    refresh_token: &str,
    updated_at_ms: i64,
    is_https: bool,
    encoding: CookieEncoding,
) -> Cookie {
    let prefix = if is_https { "__Host-" } else { "" };
    let name = format!("{prefix}stack-refresh-{project}--default");
    Cookie::new(name, &refresh_value(refresh_token, updated_at_ms), encoding, REFRESH_MAX_AGE_S)
}

/// The refresh cookie that the subdomains of `domain` share.
#[must_use]
pub fn refresh_cookie_for_domain(
    project: &str,
    domain: &str,
    refresh_token: &str,
    updated_at_ms: i64,
    encoding: CookieEncoding,
) -> Cookie {
    let name = format!("stack-refresh-{project}--custom-{}", base32(domain.as_bytes()));
    Cookie::new(name, &refresh_value(refresh_token, updated_at_ms), encoding, REFRESH_MAX_AGE_S)
}

fn refresh_value(refresh_token: &str, updated_at_ms: i64) -> String {
    json!({ "refresh_token": refresh_token, "updated_at_millis": updated_at_ms }).to_string()
}

impl Cookie {
    /// The legacy refresh cookie, with the bare token; of one project or of all.
    #[must_use]
    pub fn legacy_refresh(project: Option<&str>, refresh_token: &str) -> Self {
        let name =
            project.map_or_else(|| "stack-refresh".to_owned(), |project| format!("stack-refresh-{project}"));
        Self::new(name, refresh_token, CookieEncoding::JsCookie, REFRESH_MAX_AGE_S)
    }
}

/// All cookies of a browser that is signed in: access and refresh, each under both names.
#[must_use]
pub fn sdk_cookies(project: &str, signed_in: &SignedIn, updated_at_ms: i64, is_https: bool) -> Vec<Cookie> {
    let encoding = CookieEncoding::JsCookie;
    let SignedIn { refresh_token, access_token, .. } = signed_in;
    let old = [
        access_cookie(refresh_token, access_token, encoding),
        refresh_cookie(project, refresh_token, updated_at_ms, is_https, encoding),
    ];
    old.into_iter().flat_map(|cookie| [cookie.clone(), cookie.hexclave()]).collect()
}

/// The value of the header `x-stack-auth`.
#[must_use]
pub fn x_stack_auth(access_token: Option<&str>, refresh_token: Option<&str>) -> String {
    json!({ "accessToken": access_token, "refreshToken": refresh_token }).to_string()
}

/// The value of `Authorization` with both tokens; `scheme` is `stackauth` or `hexclave`.
#[must_use]
pub fn authorization(scheme: &str, access_token: Option<&str>, refresh_token: Option<&str>) -> String {
    format!("Bearer {scheme}_{}", base64(x_stack_auth(access_token, refresh_token)))
}
