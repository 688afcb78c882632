//! What real browsers say of themselves with every request.

/// Names and values of headers, in the order in which the browser sends them.
pub(in crate::http) type Device = &'static [(&'static str, &'static str)];

/// Firefox on Linux: what every [`Browser`](super::Browser) is at first.
pub(in crate::http) const FIREFOX: Device = &[
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept-language", "en-GB,en;q=0.5"),
    ("accept-encoding", "gzip, deflate"),
];

/// Chrome on Windows.
pub(in crate::http) const CHROME: Device = &[
    ("sec-ch-ua", r#""Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99""#),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", r#""Windows""#),
    (
        "user-agent",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    ),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7"),
];

/// The same after its next update: another version, another order and another placeholder of the brands.
pub(in crate::http) const CHROME_UPDATED: Device = &[
    ("sec-ch-ua", r#""Google Chrome";v="143", "Chromium";v="143", "Not A(Brand";v="24""#),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", r#""Windows""#),
    (
        "user-agent",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36",
    ),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7"),
];

/// Safari on a telephone.
pub(in crate::http) const IPHONE: Device = &[
    ("accept-language", "de-DE,de;q=0.9"),
    (
        "user-agent",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1",
    ),
    ("accept-encoding", "gzip, deflate"),
];

/// A program that was given somebody's cookie.
pub(in crate::http) const CURL: Device = &[("user-agent", "curl/8.14.1")];
