//! Names of hosts: what a client asked for, and the patterns that routes have for it.
//!
//! Does not own which header names the host, nor whether a client may ask for it.

use std::borrow::Cow;

use http::Request;

use crate::cookie::requested_host;
use crate::problem::{Kind, Problem};

/// Longest host name in DNS (RFC 1035, section 2.3.4), in bytes.
const MAX_HOST_BYTES: usize = 253;
/// The same as clients may write it, with all its dots.
const MAX_ASKED_BYTES: usize = 255;

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

/// Host and port that a client asked for, which is told to the application, too; `None` if it says nothing.
pub(crate) fn asked_for<B>(request: &Request<B>) -> Result<Option<&str>, Problem> {
    let host = requested_host(request.uri(), request.headers());
    if host.is_none_or(is_host) {
        return Ok(host);
    }
    let detail = "The host must be a name or an address, and perhaps a port.";
    Err(Problem::new(Kind::MalformedRequest).detail(detail))
}

/// Whether what a client asks for is the name of a host or an address, and perhaps a port, in a form that everybody reads
/// alike: of `admin.example.com,public` some take what is before the comma. `phoenix_proxy::check_framing` asks the same
/// of all that a request says of its host; this is also for those that are only asked about.
#[must_use]
pub fn is_host(text: &str) -> bool {
    let end = if text.starts_with('[') { text.find(']').map(|end| end + 1) } else { text.find(':') };
    let (host, port) = text.split_at(end.unwrap_or(text.len()));
    let is_digits = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_port = |port: &str| port.len() <= 5 && is_digits(port) && port.parse::<u16>().is_ok();
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_known = (host.len() <= MAX_ASKED_BYTES && is_made_of_labels(name)) || is_ipv6(host);
    is_known && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

fn is_name(text: &str) -> bool {
    text.len() <= MAX_HOST_BYTES && is_made_of_labels(text)
}

fn is_made_of_labels(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    text.split('.').all(is_label)
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
    fn what_a_client_may_ask_for_is_one_host_in_every_reading() {
        for host in [
            "a",
            "App.Example.com.",
            "my_app-1:8080",
            "192.0.2.1:80",
            "[::1]",
            "[2001:DB8::1]:443",
            "localhost:65535",
        ] {
            assert!(is_host(host), "{host}");
        }
        for host in [
            "",
            ".",
            ":80",
            "a:",
            "a:65536",
            "a:000080",
            "a:+1",
            "a:80,b",
            "a,b",
            "b, a",
            "a..",
            ".a",
            "a..b",
            "u@a",
            "a;b",
            "a!",
            "a%2cb",
            "a/x",
            "a b",
            "\u{e9}.b",
            "::1",
            "[::1",
            "[::1].",
            "[::1]80",
            "[fe80::1%25eth0]",
            "[a]",
        ] {
            assert!(!is_host(host), "{host}");
        }
        let name = |length: usize| "a.".repeat(length / 2) + &"b".repeat(length % 2);
        assert!(is_host(&name(254)) && is_host(&name(255)) && !is_host(&name(256)));
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
