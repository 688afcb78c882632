//! Header hygiene against a naive model, on made-up headers full of what matters.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Version};
use phoenix_proxy::hygiene::{self, Via, Way};
use proptest::prelude::*;

const NAMES: &[&str] = &[
    "host",
    "cookie",
    "authorization",
    "content-length",
    "content_length",
    "content-type",
    "accept",
    "x-custom",
    "x_custom",
    "via",
    "connection",
    "keep-alive",
    "proxy",
    "pragma",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "transfer_encoding",
    "transfer-encoding_",
    "upgrade",
    "expect",
    "http2-settings",
    "forwarded",
    "x-forwarded-for",
    "x_forwarded_for",
    "x-forwarded_for",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded",
    "x-real-ip",
    "x_real_ip",
    "x-original-url",
    "x_original_url",
    "x-rewrite-url",
    "x-middleware-subrequest",
    "x_middleware-subrequest",
    "x-phoenix-user-id",
    "x_phoenix_user_id",
    "x-phoenix_role",
    "x-phoenix-assertion",
    "true-client-ip",
    "x.real~ip",
    "x.phoenix.user.id",
    "x-http-method-override",
    "x_http_method",
    "cf-connecting-ip",
    "client_ip",
    "client",
    "sec-fetch-site",
    "if-none-match",
    "traceparent",
];
const VALUES: &[&str] = &[
    "a",
    "keep-alive",
    "close, x-custom",
    "X-Custom , host,x-phoenix-user-id",
    "trailers",
    "gzip;q=1, Trailers",
    "upgrade,accept,,cookie",
    "x-forwarded-for, traceparent",
    "authorization, content-length",
    "via, cookie, Sec-Fetch-Site, if-none-match, trailer, content-type",
    "chunked",
];

/// What a nomination by `Connection` can never remove.
const KEPT: &[&str] = &[
    "host",
    "cookie",
    "authorization",
    "content-length",
    "content-type",
    "via",
    "trailer",
    "sec-fetch-site",
    "if-none-match",
];

fn tokens<'a>(fields: &'a [(&str, &'a str)], of: &str) -> Vec<String> {
    let values = fields.iter().filter(|(name, _)| *name == of).flat_map(|(_, value)| value.split(','));
    values.map(|token| token.trim().to_ascii_lowercase()).collect()
}

/// The same decisions, one field at a time and without any care for speed.
fn model(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    let nominated = tokens(fields, "connection");
    let mut kept = Vec::new();
    let mut cookies = Vec::new();
    for (name, value) in fields {
        let dashed = name.replace(['_', '.', '~'], "-");
        let of_connection =
            ["connection", "keep-alive", "te", "transfer-encoding", "upgrade", "expect", "http2-settings"]
                .contains(name)
                || name.starts_with("proxy-");
        let claims = dashed.contains("forwarded")
            || [
                "x-real-ip",
                "x-original-url",
                "x-rewrite-url",
                "x-middleware-subrequest",
                "x-http-method-override",
                "x-http-method",
                "cf-connecting-ip",
                "client-ip",
                "true-client-ip",
                "proxy",
            ]
            .contains(&dashed.as_str());
        let frames = name.contains('_') && ["content-length", "transfer-encoding"].contains(&dashed.as_str());
        let fake_identity = dashed.starts_with("x-phoenix-") && dashed != *name;
        let identity = name.starts_with("x-phoenix-");
        let nominated = nominated.contains(&(*name).to_owned()) && !KEPT.contains(name) && !identity;
        if of_connection || claims || frames || fake_identity || nominated {
            continue;
        }
        if *name == "cookie" {
            cookies.push(*value);
        } else {
            kept.push(((*name).to_owned(), (*value).to_owned()));
        }
    }
    if !cookies.is_empty() {
        kept.push(("cookie".to_owned(), cookies.join("; ")));
    }
    if tokens(fields, "te").iter().any(|token| token == "trailers") {
        kept.push(("te".to_owned(), "trailers".to_owned()));
    }
    for (name, value) in [
        ("x-real-ip", "192.0.2.1"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "https"),
        ("via", "2.0 me"),
    ] {
        kept.push((name.to_owned(), value.to_owned()));
    }
    if let Some((_, host)) = fields.iter().find(|(name, _)| *name == "host") {
        kept.push(("x-forwarded-host".to_owned(), (*host).to_owned()));
    }
    kept.sort();
    kept
}

proptest! {
    #[test]
    fn requests_keep_exactly_what_the_model_keeps(
        fields in proptest::collection::vec((proptest::sample::select(NAMES), proptest::sample::select(VALUES)), 0..20),
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in &fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let via = Via::new("me").unwrap();
        let client = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        hygiene::request(&mut headers);
        let given = b"x-phoenix-role: a: b\r\nx-phoenix-email: \xc3\xa4\r\n";
        Way { client, is_https: true, version: Version::HTTP_2, via: &via, fields: given }.tell(&mut headers);
        prop_assert_eq!(headers.remove("x-phoenix-role").unwrap(), "a: b");
        let email = headers.remove("x-phoenix-email").unwrap();
        prop_assert_eq!(email.as_bytes(), b"\xc3\xa4");
        let mut kept: Vec<(String, String)> = headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned()))
            .collect();
        kept.sort();
        prop_assert_eq!(kept, model(&fields));
        prop_assert!(via.is_in(&headers));
    }

    #[test]
    fn answers_lose_what_belongs_to_the_connection_and_nothing_else(
        fields in proptest::collection::vec((proptest::sample::select(NAMES), proptest::sample::select(VALUES)), 0..20),
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in &fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let via = Via::new("me").unwrap();
        hygiene::answer(&mut headers, Version::HTTP_11, &via);
        let nominated = tokens(&fields, "connection");
        for name in NAMES {
            let of_connection =
                ["connection", "keep-alive", "te", "transfer-encoding", "upgrade", "expect", "http2-settings"]
                    .contains(name)
                || name.starts_with("proxy-");
            let two_lengths = *name == "content-length" && fields.iter().any(|(name, _)| *name == "transfer-encoding");
            let kept = KEPT.contains(name) || ["x-phoenix-", "x-forwarded", "x-real-ip"].iter().any(|begin| name.starts_with(begin));
            let goes = of_connection || two_lengths || (nominated.contains(&(*name).to_owned()) && !kept);
            let before = fields.iter().filter(|(other, _)| other == name).count();
            let expected = if goes { 0 } else { before } + usize::from(*name == "via");
            prop_assert_eq!(headers.get_all(*name).iter().count(), expected, "{}", name);
        }
    }
}
