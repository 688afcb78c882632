//! Whether a path that was judged in its normal form is the path that the application gets.
//!
//! A proxy that asks passes the path on as its client wrote it. So the rules that hold for the normal form hold for the
//! application only if every server reads the same from what was written.

use crate::problem::{Kind, Problem};

/// # Errors
/// `malformed-path`, unless `written` differs from its normal form only in what no server reads as another path: the
/// case of an escape's digits, and characters that a path cannot hold without an escape (`[`, `é`).
pub(super) fn check(written: &str, normal: &str) -> Result<(), Problem> {
    if spells_the_same(written.as_bytes(), normal.as_bytes()) {
        return Ok(());
    }
    let detail = "The path is refused: it holds \"//\", a part \".\" or \"..\", or an escape of a letter, a digit, \
                  \"-\", \".\", \"_\" or \"~\". The proxy passes it on as it is, and servers read it differently.";
    Err(Problem::new(Kind::MalformedPath).detail(detail))
}

/// Compares from the left, so that whatever the normal form lost, decoded or moved is a difference.
fn spells_the_same(mut written: &[u8], mut normal: &[u8]) -> bool {
    loop {
        let (taken, is_same) = match (written, normal) {
            ([], []) => return true,
            ([b'%', a, b, ..], [b'%', x, y, ..]) => {
                ((3, 3), a.eq_ignore_ascii_case(x) && b.eq_ignore_ascii_case(y))
            }
            ([byte, ..], [b'%', x, y, ..]) => ((1, 3), escaped(*x, *y) == Some(*byte)),
            ([byte, ..], [other, ..]) => ((1, 1), byte == other),
            ([], [..]) | ([..], []) => return false,
        };
        if !is_same {
            return false;
        }
        (written, normal) =
            (written.get(taken.0..).unwrap_or_default(), normal.get(taken.1..).unwrap_or_default());
    }
}

fn escaped(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gateway::normalise;

    /// `None` when there is no normal form.
    fn is_taken(path: &str) -> Option<bool> {
        Some(check(path, &normalise(path).ok()?).is_ok())
    }

    #[test]
    fn what_every_server_reads_alike_is_taken() {
        for path in [
            "/",
            "/a",
            "/a/",
            "/a/b.json",
            "/.well-known/x",
            "/a/..b/c..",
            "/...",
            "/a%2Fb",
            "/a%2fb",
            "/a%20b",
            "/%c3%A9",
            "/é",
            "/[id]|x",
            "/a;v=1",
            "/%2541",
            "/%25zz",
            "/*",
            "/(a)",
        ] {
            assert_eq!(is_taken(path), Some(true), "{path}");
        }
    }

    #[test]
    fn what_servers_may_read_as_another_path_is_refused() {
        for path in [
            "/staff/../public/x",
            "/public/../staff/x",
            "/staff/..",
            "/a/./b",
            "/a/.",
            "//staff",
            "/a//b",
            "/a//",
            "//",
            "/staff/%2e%2e/public",
            "/staff/.%2E/public",
            "/a/%2e/b",
            "/%73taff/x",
            "/staf%66",
            "/%7Eme",
            "/a%2Db",
            "/a%2Ejson",
            "/%41%2f..%2fb/%61",
        ] {
            assert_eq!(is_taken(path), Some(false), "{path}");
        }
    }

    /// As naive as can be: the parts, each decoded by itself, and what of a part may not be escaped.
    fn is_plain(path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let last = parts.len().saturating_sub(1);
        parts.iter().enumerate().all(|(at, part)| {
            let is_empty = part.is_empty() && at != last;
            let mut escapes =
                part.split('%').skip(1).filter_map(|rest| u8::from_str_radix(rest.get(..2)?, 16).ok());
            let is_needless = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            !is_empty && *part != "." && *part != ".." && !escapes.any(is_needless)
        })
    }

    proptest! {
        #[test]
        fn a_path_is_taken_exactly_when_it_is_plain(path in "/([a.~/;é\\[]|%2[efEF05]|%6[15]|%[cC]3%[aA]9){0,12}") {
            if let Some(is_taken) = is_taken(&path) {
                prop_assert_eq!(is_taken, is_plain(&path), "{}", path);
            }
        }
    }
}
