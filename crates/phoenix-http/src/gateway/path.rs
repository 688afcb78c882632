//! The one form of a path (RFC 3986, sections 5.2.4 and 6.2.2): what is matched, limited, inspected and sent.
//!
//! Two spellings that every server takes for one path become one; what servers read differently is left as it is
//! written, and the table of routes looks at each way to read it. Owns spelling only, not where a path leads.
//!
//! | written | normal form |
//! |---|---|
//! | `/%61%2Dz`, `/%7Eme` | `/a-z`, `/~me`: unreserved characters stand for themselves |
//! | `/%c3%a9`, `/é`, `/[id]` | `/%C3%A9`, `/%C3%A9`, `/%5Bid%5D`: everything else that is no character of a path is encoded |
//! | `//a///b` | `/a/b` |
//! | `/a/./b/../c`, `/a/%2e%2e/c` | `/a/c`, `/c` |
//! | `/a/`, `/a/.` | `/a/`: a slash at the end is kept |
//! | `/a%2Fb`, `/a%5Cb`, `/a;v=1`, `/%2561` | as written |
//! | `/..`, `/..%2Fa`, `/..;/a` | refused: above the root for those who read it so |
//! | `/%zz`, `/%00`, `/a%0A`, `/a\b`, `/a#b`, `*`, `a` | refused |
//!
//! Of a target in absolute form (`GET http://host/path`) this is about its path; a target in asterisk form (`OPTIONS
//! *`) or authority form (`CONNECT host:port`) has none and is refused.

use std::borrow::Cow;

use crate::template::{decoded, percent_signs_decoded};

/// Why a path has no normal form. Answered with 400.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PathError {
    /// `*`, `host:port`, or nothing.
    #[error("it does not begin with \"/\"")]
    NoSlash,
    /// `%` that is not followed by two hexadecimal digits.
    #[error("a \"%\" in it is not followed by two hexadecimal digits")]
    Escape,
    /// A control character, encoded or not: also NUL and the end of a line.
    #[error("it holds a control character")]
    Control,
    /// A backslash, which some servers take for a slash.
    #[error("it holds a \"\\\"")]
    Backslash,
    /// `#`, which is never sent (RFC 9110, section 4.2.5), or `?`, which ends a path, or a space.
    #[error("it holds \"#\", \"?\" or a space")]
    Delimiter,
    /// More `..` than there are parts before it, in one of the ways to read the path.
    #[error("it leads above the root")]
    AboveRoot,
}

/// The normal form of a path without its query. Nothing is allocated when it is in normal form already.
///
/// # Errors
/// When there is none.
pub fn normalise(path: &str) -> Result<Cow<'_, str>, PathError> {
    if !path.starts_with('/') {
        return Err(PathError::NoSlash);
    }
    let normal = match shape(path.as_bytes()) {
        Shape::Normal => return Ok(Cow::Borrowed(path)),
        Shape::NormalWithReadings => Cow::Borrowed(path),
        Shape::Other => Cow::Owned(rewritten(path.as_bytes())?),
    };
    if leads_above_root(&normal) { Err(PathError::AboveRoot) } else { Ok(normal) }
}

/// Whether a query may be sent as it is. Nothing in it is changed.
///
/// # Errors
/// When it holds a control character, a space or `#`, none of which a client may send.
pub fn check_query(query: &str) -> Result<(), PathError> {
    for byte in query.bytes() {
        match byte {
            b'#' | b' ' => return Err(PathError::Delimiter),
            byte if byte.is_ascii_control() => return Err(PathError::Control),
            _ => {}
        }
    }
    Ok(())
}

/// The URI with another path, if it makes one.
pub(crate) fn with_path(uri: &http::Uri, path: &str) -> Option<http::Uri> {
    let mut parts = uri.clone().into_parts();
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    parts.path_and_query = Some(target.parse().ok()?);
    http::Uri::from_parts(parts).ok()
}

/// What one look at a path says.
enum Shape {
    Normal,
    /// Normal, with something that servers read differently: `;`, `%2F`, `%5C`, `%25`.
    NormalWithReadings,
    /// Not normal, or no path.
    Other,
}

fn shape(path: &[u8]) -> Shape {
    let mut has_readings = false;
    let mut at = 0;
    while let Some(byte) = path.get(at).copied() {
        match byte {
            byte if is_plain(byte) => {}
            b'/' if starts_empty_or_dots(path.get(at + 1..).unwrap_or_default()) => return Shape::Other,
            b'%' => match decoded(path, at) {
                Some(byte) if !is_unreserved(byte) && !byte.is_ascii_control() && is_upper(path, at) => {
                    has_readings |= matches!(byte, b'/' | b'\\' | b'%' | b';');
                    at += 2;
                }
                Some(_) | None => return Shape::Other,
            },
            b';' => has_readings = true,
            b'/' => {}
            _ => return Shape::Other,
        }
        at += 1;
    }
    if has_readings { Shape::NormalWithReadings } else { Shape::Normal }
}

/// Whether what follows a slash is another slash, or a segment `.` or `..`.
fn starts_empty_or_dots(rest: &[u8]) -> bool {
    matches!(rest, [b'/', ..] | [b'.', b'/', ..] | [b'.'] | [b'.', b'.'] | [b'.', b'.', b'/', ..])
}

/// Whether the escape at `at` is in capitals.
fn is_upper(path: &[u8], at: usize) -> bool {
    path.get(at + 1..at + 3).is_some_and(|digits| !digits.iter().any(u8::is_ascii_lowercase))
}

/// RFC 3986, section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986, section 3.3: what may stand in a path as it is, other than escapes.
fn is_path_byte(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:@/".contains(&byte)
}

/// Whether a byte of a path stands for itself, and neither ends nor begins anything. By a table, because every byte of
/// every path is looked at.
fn is_plain(byte: u8) -> bool {
    static PLAIN: [bool; 256] = plain();
    PLAIN.get(usize::from(byte)).copied().unwrap_or(false)
}

const fn plain() -> [bool; 256] {
    let mut plain = [false; 256];
    let text = b"-._~!$&'()*+,=:@";
    let mut at = 0;
    while at < text.len() {
        plain[text[at] as usize] = true;
        at += 1;
    }
    let mut byte = 0_u8;
    while byte < 128 {
        plain[byte as usize] |= byte.is_ascii_alphanumeric();
        byte += 1;
    }
    plain
}

/// Spells a path that begins with a slash.
fn rewritten(path: &[u8]) -> Result<String, PathError> {
    let mut normal = String::with_capacity(path.len() + 16);
    let mut segment = String::new();
    let mut at = 1;
    loop {
        let byte = path.get(at).copied();
        match byte {
            None | Some(b'/') => {
                let is_last = byte.is_none();
                append(&mut normal, &segment, is_last)?;
                segment.clear();
                if is_last {
                    return Ok(normal);
                }
                at += 1;
            }
            Some(b'%') => {
                let byte = decoded(path, at).ok_or(PathError::Escape)?;
                if byte.is_ascii_control() {
                    return Err(PathError::Control);
                }
                if is_unreserved(byte) {
                    segment.push(char::from(byte));
                } else {
                    escape(&mut segment, byte);
                }
                at += 3;
            }
            Some(byte) => {
                match byte {
                    b'\\' => return Err(PathError::Backslash),
                    b'#' | b'?' | b' ' => return Err(PathError::Delimiter),
                    byte if byte.is_ascii_control() => return Err(PathError::Control),
                    byte if is_path_byte(byte) => segment.push(char::from(byte)),
                    byte => escape(&mut segment, byte),
                }
                at += 1;
            }
        }
    }
}

/// Adds a segment. `normal` is empty, or whole segments with a slash before each.
fn append(normal: &mut String, segment: &str, is_last: bool) -> Result<(), PathError> {
    match segment {
        "" | "." => {}
        ".." => {
            let parent = normal.rfind('/').ok_or(PathError::AboveRoot)?;
            normal.truncate(parent);
        }
        segment => {
            normal.push('/');
            normal.push_str(segment);
            return Ok(());
        }
    }
    if is_last {
        normal.push('/');
    }
    Ok(())
}

fn escape(segment: &mut String, byte: u8) {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0').to_ascii_uppercase();
    segment.push('%');
    segment.push(digit(byte >> 4));
    segment.push(digit(byte & 15));
}

/// Whether somebody who takes `%2F` and `%5C` for slashes, drops what follows `;`, or decodes twice, finds more `..` than
/// parts before them. The path is in normal form.
fn leads_above_root(normal: &str) -> bool {
    let with_slashes = |path: &str| path.replace("%2F", "/").replace("%5C", "/");
    let again = decoded_again(normal);
    [normal, &with_slashes(normal), &again, &with_slashes(&again)]
        .into_iter()
        .any(|path| path.contains("..") && (is_above_root(path, false) || is_above_root(path, true)))
}

/// As whoever decodes twice sees it after the second time, as far as it matters here.
fn decoded_again(normal: &str) -> String {
    let once = percent_signs_decoded(normal);
    once.replace("%2E", ".").replace("%2e", ".").replace("%2f", "%2F").replace("%5c", "%5C")
}

fn is_above_root(path: &str, drops_parameters: bool) -> bool {
    let mut depth = 0_usize;
    for part in path.split('/') {
        let part = if drops_parameters { part.split(';').next().unwrap_or_default() } else { part };
        match part {
            "" | "." => {}
            ".." => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return true,
            },
            _ => depth += 1,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_what_may_stand_in_a_path_and_means_nothing_there() {
        for byte in 0..=u8::MAX {
            assert_eq!(is_plain(byte), is_path_byte(byte) && byte != b'/' && byte != b';', "{byte:#x}");
        }
    }
}
