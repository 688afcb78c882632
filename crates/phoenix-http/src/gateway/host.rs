//! Names of hosts: what a client asked for, and the patterns that routes have for it.
//!
//! Does not own which header names the host, nor whether a client may ask for it.

use std::borrow::Cow;

/// Longest host name in DNS (RFC 1035, section 2.3.4), in bytes.
const MAX_HOST_BYTES: usize = 253;

/// Which hosts a route is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum HostPattern {
    /// This one, in lower case.
    Exact(String),
    /// All below this one, at any depth, but not it itself. Written `*.example.com`.
    Below(String),
}

impl HostPattern {
    /// Reads `app.example.com`, `*.example.com`, `192.0.2.1` or `[2001:db8::1]`, without a port.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        match text.strip_prefix("*.") {
            Some(domain) => is_name(domain).then(|| Self::Below(domain.to_owned())),
            None if is_name(&text) || is_ipv6(&text) => Some(Self::Exact(text)),
            None => None,
        }
    }
}

fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    text.len() <= MAX_HOST_BYTES && text.split('.').all(is_label)
}

fn is_ipv6(text: &str) -> bool {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
}

/// The host that a client asked for without its port and the dot at its end, in lower case. Nothing is allocated when
/// it is in lower case already.
pub(super) fn normal(host: &str) -> Cow<'_, str> {
    let name = match host.rfind(']') {
        Some(end) => host.get(..=end).unwrap_or(host),
        None => host.split(':').next().unwrap_or(host),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// Whether `host`, in its normal form, is below `domain`.
pub(super) fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.')).is_some_and(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_compare_without_port_case_and_the_last_dot() {
        for (asked, name) in [
            ("app.example.com", "app.example.com"),
            ("APP.Example.com:8443", "app.example.com"),
            ("app.example.com.", "app.example.com"),
            ("app.example.com.:80", "app.example.com"),
            ("[2001:DB8::1]:80", "[2001:db8::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
            (":80", ""),
        ] {
            assert_eq!(normal(asked), name, "{asked}");
        }
    }

    #[test]
    fn only_names_addresses_and_leading_wildcards_are_patterns() {
        let exact = |text: &str| Some(HostPattern::Exact(text.to_owned()));
        assert_eq!(HostPattern::parse("App.example.com"), exact("app.example.com"));
        assert_eq!(HostPattern::parse("192.0.2.1"), exact("192.0.2.1"));
        assert_eq!(HostPattern::parse("[::1]"), exact("[::1]"));
        assert_eq!(HostPattern::parse("*.Example.com"), Some(HostPattern::Below("example.com".to_owned())));
        for text in
            ["", "*", "*.", "a.*.b", "*a.b", "a..b", "a.b.", "a:80", "http://a", "a b", "[::g]", "é.b"]
        {
            assert_eq!(HostPattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn below_is_any_depth_but_not_the_domain_itself() {
        for (host, below) in
            [("a.b", true), ("x.a.b", true), ("b", false), (".b", false), ("ab", false), ("a.bb", false)]
        {
            assert_eq!(is_below(host, "b"), below, "{host}");
        }
    }
}
