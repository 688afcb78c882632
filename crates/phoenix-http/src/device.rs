//! The device a request comes from, as far as its headers tell.

use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, USER_AGENT};
use http::{HeaderMap, HeaderName};
use phoenix_auth::model::{DeviceFeatures, Fingerprint, HeaderOrderClass, KeyRing};

/// What the headers tell, hashed.
pub(crate) fn fingerprint(headers: &HeaderMap, keys: &KeyRing) -> Fingerprint {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let features = DeviceFeatures {
        user_agent: text(USER_AGENT),
        sec_ch_ua: text(HeaderName::from_static("sec-ch-ua")),
        sec_ch_ua_platform: text(HeaderName::from_static("sec-ch-ua-platform")),
        sec_ch_ua_mobile: text(HeaderName::from_static("sec-ch-ua-mobile")),
        accept_language: text(ACCEPT_LANGUAGE),
        accept_encoding: text(ACCEPT_ENCODING),
        header_order: HeaderOrderClass::of(headers.keys().map(HeaderName::as_str)),
    };
    Fingerprint::of(&features, keys)
}
