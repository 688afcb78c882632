//! Sends browsers that should sign in to the page for it, and tells that page where they wanted to go.

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, HOST, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Original;
use crate::settings::{HttpSettings, WebOrigin};

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Longest address of a page that is told, in bytes: proxies keep a whole header in buffers of 4 KiB. Of a longer one the
/// browser comes back to the start page of the site.
const MAX_RETURN_BYTES: usize = 1024;
/// What need not be escaped in a query (RFC 3986, section 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The page where users sign in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignIn(String);

impl SignIn {
    /// The page with this absolute URL, which has no fragment.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The answer in place of 401, if the request is a browser's that goes to a page. The page it is told to come back
    /// to is never at an origin that is not configured, because the sign-in page may lead there unasked.
    pub(super) fn answer(&self, settings: &HttpSettings, original: &Original) -> Option<Response<Bytes>> {
        if original.method != Method::GET || !is_navigation(&original.headers) {
            return None;
        }
        let mut location = self.0.clone();
        if let Some(back) = way_back(settings, original) {
            location.push(if location.contains('?') { '&' } else { '?' });
            location.push_str("rd=");
            location.extend(utf8_percent_encode(&back, ESCAPED));
        }
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::FOUND;
        response.headers_mut().insert(LOCATION, HeaderValue::try_from(location).ok()?);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Some(response)
    }
}

/// Whether a browser loads a page: scripts and images would follow to the sign-in page in vain.
fn is_navigation(headers: &HeaderMap) -> bool {
    let says = |name: &HeaderName, wanted: &str| headers.get(name).is_none_or(|value| value == wanted);
    let accepts_pages = headers
        .get_all(ACCEPT)
        .iter()
        .any(|value| value.to_str().is_ok_and(|text| text.to_ascii_lowercase().contains("text/html")));
    accepts_pages && says(&SEC_FETCH_MODE, "navigate") && says(&SEC_FETCH_DEST, "document")
}

/// Address of the page that was asked for.
fn way_back(settings: &HttpSettings, original: &Original) -> Option<String> {
    let scheme = if original.is_https { "https" } else { "http" };
    let host = original.headers.get(HOST)?.to_str().ok()?;
    let origin = format!("{scheme}://{host}");
    let is_ours = |known: &&WebOrigin| known.0.eq_ignore_ascii_case(&origin);
    let known = settings.public_origin.iter().chain(&settings.allowed_origins).find(is_ours)?;
    let target = original.target.as_str();
    Some(format!("{}{}", known.0, if target.len() <= MAX_RETURN_BYTES { target } else { "/" }))
}
