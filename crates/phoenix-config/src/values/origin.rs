//! Web origins (RFC 6454): scheme, host and port, normalised so that equal origins compare equal.
//! Does not own the decision which origins are trusted.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

/// Longest host name in DNS (RFC 1035, section 2.3.4), in bytes.
const MAX_HOST_BYTES: usize = 253;

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// Plain HTTP; default port 80.
    Http,
    /// HTTP over TLS; default port 443.
    Https,
}

impl Scheme {
    /// `"http"` or `"https"`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A web origin. Displayed as browsers send it in `Origin`: lower case, without the scheme's default port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Origin {
    /// Reads `https://example.com` or `http://localhost:3000`.
    ///
    /// # Errors
    /// Says in words which part is not part of an origin.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("an origin starts with http:// or https://")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err("the scheme of an origin is http or https"),
        };
        if rest.contains('@') {
            return Err("an origin has no user name");
        }
        if rest.contains(['/', '?', '#', '\\']) {
            return Err("an origin ends after the host and port; it has no path, not even \"/\"");
        }
        let (host, port) = split_port(rest)?;
        Ok(Self { scheme, host: normal_host(host)?, port: port.unwrap_or(scheme.default_port()) })
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host in lower case; an IPv6 address is in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// True when only this machine can be meant: `localhost`, 127.0.0.0/8 or `[::1]`. Names below `localhost` are not:
    /// whether they leave the machine is up to its resolver.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let address = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host == "localhost"
            || address.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
            || address.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
    }

    /// True when what is sent there cannot be read on the way: HTTPS, or plain HTTP that stays on this machine.
    #[must_use]
    pub fn is_private_on_the_way(&self) -> bool {
        self.scheme == Scheme::Https || self.is_loopback()
    }

    /// The port, also when it is the scheme's default.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.host)?;
        if self.port == self.scheme.default_port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let after_brackets = authority.rfind(']').map_or(0, |end| end + 1);
    let Some(colon) = authority[after_brackets..].find(':').map(|at| at + after_brackets) else {
        return Ok((authority, None));
    };
    let digits = &authority[colon + 1..];
    let port =
        digits.parse::<u16>().ok().filter(|port| *port != 0 && digits.bytes().all(|b| b.is_ascii_digit()));
    match port {
        Some(port) => Ok((&authority[..colon], Some(port))),
        None => Err("the port is a number from 1 to 65535"),
    }
}

fn normal_host(host: &str) -> Result<String, &'static str> {
    if let Some(inner) = host.strip_prefix('[') {
        let address = inner.strip_suffix(']').and_then(|address| address.parse::<Ipv6Addr>().ok());
        return address.map(|address| format!("[{address}]")).ok_or("the IPv6 address is not valid");
    }
    if host.contains('*') {
        return Err("wildcards are not origins; list each origin");
    }
    if !host.is_ascii() {
        return Err("a host with other letters than a-z is written in its xn-- form");
    }
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if host.len() > MAX_HOST_BYTES || !host.split('.').all(label) {
        return Err("the host is not a host name or an IP address");
    }
    Ok(host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_origins_are_equal() {
        for (text, shown, port) in [
            ("HTTPS://Example.COM:443", "https://example.com", 443),
            ("http://localhost:3000", "http://localhost:3000", 3000),
            ("http://[0:0:0:0:0:0:0:1]:80", "http://[::1]", 80),
            ("https://10.0.0.1:8443", "https://10.0.0.1:8443", 8443),
        ] {
            let origin = Origin::parse(text).expect(text);
            assert_eq!((origin.to_string().as_str(), origin.port()), (shown, port));
            assert_eq!(Origin::parse(shown).expect(shown), origin);
        }
    }

    #[test]
    fn plain_http_is_private_on_this_machine_only() {
        for (text, loopback, private) in [
            ("http://LOCALHOST:3000", true, true),
            ("http://127.8.9.1", true, true),
            ("http://[::1]:1", true, true),
            ("https://127.0.0.1", true, true),
            ("https://example.com", false, true),
            ("http://example.com", false, false),
            ("http://a.localhost", false, false),
            ("http://localhost.example.com", false, false),
            ("http://127.0.0.1.example.com", false, false),
            ("http://127.1", false, false),
            ("http://0.0.0.0", false, false),
            ("http://[::]", false, false),
            ("http://[::ffff:127.0.0.1]", false, false),
        ] {
            let origin = Origin::parse(text).expect(text);
            assert_eq!((origin.is_loopback(), origin.is_private_on_the_way()), (loopback, private), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_origin_is_refused() {
        for text in [
            "",
            "*",
            "null",
            "example.com",
            "ftp://example.com",
            "https://",
            "https://example.com/",
            "https://u@example.com",
            "https://*.example.com",
            "https://exämple.com",
            "https://example.com:0",
            "https://example.com:+80",
            "https://example.com:99999",
            "https://[::1",
            "https://[::g]",
            "https://[::1]x:80",
            "https://a..b",
            "https://a b",
        ] {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
    }
}
