//! Paths of requests: their one normal form, and which route they have.
//!
//! The normal form is its own, is what a naive reader makes of the path, and the same for every spelling of it. A path
//! that leads to one route leads to no other in any way in which servers read paths.

use std::sync::LazyLock;

use http::Method;
use phoenix_http::gateway::{RouteSpec, RouteTable, normalise};

static ROUTES: LazyLock<RouteTable> = LazyLock::new(|| {
    let fallback = RouteTable::bare(true).fallback().as_ref().clone();
    let spec = |path: &str| RouteSpec {
        host: None,
        methods: Vec::new(),
        path: path.to_owned(),
        allows_ambiguous: false,
        route: fallback.clone(),
    };
    RouteTable::build(vec![spec("/open/{*rest}"), spec("/admin/{*rest}")], fallback.clone())
        .expect("routes that can work")
});

/// A path.
pub(crate) fn run(data: &[u8]) {
    let Ok(path) = std::str::from_utf8(data) else { return };
    let normal = normalise(path);
    assert_eq!(normalise(&respelt(path)), normal, "{:?}", respelt(path));
    if path.starts_with('/') {
        assert_eq!(normalise(&padded(path)), normal, "{:?}", padded(path));
    }
    let Ok(normal) = normal else { return };
    assert_eq!(naive(path).as_deref(), Some(&*normal));
    assert_eq!(normalise(&normal).as_deref(), Ok(&*normal));
    has_normal_parts(&normal);
    leads_to_one_route(&normal);
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Every unreserved character as an escape, other than those of escapes.
fn respelt(path: &str) -> String {
    let mut text = String::new();
    let mut skip = 0_u8;
    for character in path.chars() {
        let is_of_escape = skip > 0 && character.is_ascii_hexdigit();
        skip = if character == '%' {
            2
        } else if is_of_escape {
            skip - 1
        } else {
            0
        };
        match u8::try_from(character) {
            Ok(byte) if is_unreserved(byte) && !is_of_escape => text += &format!("%{byte:02x}"),
            _ => text.push(character),
        }
    }
    text
}

/// With parts that mean nothing.
fn padded(path: &str) -> String {
    path.replace('/', "//./x/../")
}

/// RFC 3986, sections 5.2.4 and 6.2.2, step by step.
fn naive(path: &str) -> Option<String> {
    let mut spelt = String::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                u8::from_str_radix(std::str::from_utf8(&[bytes.next()?, bytes.next()?]).ok()?, 16).ok()?
            }
            byte if b"!$&'()*+,;=:@/".contains(&byte) => {
                spelt.push(char::from(byte));
                continue;
            }
            byte => byte,
        };
        if is_unreserved(byte) { spelt.push(char::from(byte)) } else { spelt += &format!("%{byte:02X}") }
    }
    let mut parts = Vec::new();
    for part in spelt.strip_prefix('/')?.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    let ends_open = matches!(spelt.rsplit('/').next(), Some("" | "." | ".."));
    let end = if ends_open && !parts.is_empty() { "/" } else { "" };
    Some(format!("/{}{end}", parts.join("/")))
}

fn has_normal_parts(normal: &str) {
    assert!(normal.starts_with('/') && normal.is_ascii(), "{normal:?}");
    assert!(!normal.contains("//"), "{normal:?}");
    assert!(!normal.split('/').any(|part| part == "." || part == ".."), "{normal:?}");
    assert!(!normal.bytes().any(|byte| b" \\#?".contains(&byte) || byte.is_ascii_control()), "{normal:?}");
}

fn leads_to_one_route(normal: &str) {
    let Ok(route) = ROUTES.find(None, &Method::GET, normal) else { return };
    let other = match &*route.name {
        "/open/{*rest}" => "admin",
        "/admin/{*rest}" => "open",
        _ => return,
    };
    for bits in 0..16_u8 {
        let first = first_part(normal, bits);
        let is_other = first.as_ref().is_some_and(|first| first.eq_ignore_ascii_case(other.as_bytes()));
        assert!(!is_other, "{normal:?} is {other} to some: {bits:#b}");
    }
}

/// The first part of a path to a server that decodes twice, decodes before it looks for slashes, resolves dots after it
/// has decoded, or drops parameters.
fn first_part(path: &str, bits: u8) -> Option<Vec<u8>> {
    let [twice, slashes, dots, parameters] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
    let mut path = if twice { path.replace("%25", "%") } else { path.to_owned() };
    if slashes {
        for slash in ["%2F", "%2f", "%5C", "%5c"] {
            path = path.replace(slash, "/");
        }
    }
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for part in path.split('/') {
        let part = if parameters { part.split(';').next().unwrap_or_default() } else { part };
        let part = decoded(part.as_bytes());
        match &part[..] {
            b"" => {}
            b"." if dots => {}
            b".." if dots => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.into_iter().next()
}

fn decoded(mut text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some((first, mut rest)) = text.split_first() {
        let mut byte = *first;
        let escape =
            rest.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let escape = escape.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        if let Some(escaped) = escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            (byte, rest) = (escaped, &rest[2..]);
        }
        bytes.push(byte);
        text = rest;
    }
    bytes
}
