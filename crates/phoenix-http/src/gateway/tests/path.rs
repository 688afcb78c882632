//! The normal form: a table of spellings, and properties of any of them.

use std::borrow::Cow;

use proptest::{collection::vec, prelude::*, sample::select};

use crate::gateway::path::{PathError, check_query, normalise};
use crate::template::{Reader, each_reading};

#[test]
fn one_spelling_of_each_path() {
    for (written, normal) in [
        ("/", "/"),
        ("//", "/"),
        ("///a///b", "/a/b"),
        ("/a/", "/a/"),
        ("/a//", "/a/"),
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a/./b/../c", "/a/c"),
        ("/a//../b", "/b"),
        ("/a/%2e%2E/c", "/c"),
        ("/a/.%2e/c", "/c"),
        ("/%2e/c", "/c"),
        ("/...", "/..."),
        ("/.a/..b/c..", "/.a/..b/c.."),
        ("/%61%2Dz%5f%7E%30", "/a-z_~0"),
        ("/%c3%a9", "/%C3%A9"),
        ("/é", "/%C3%A9"),
        ("/[id]{x}|^`\"<>", "/%5Bid%5D%7Bx%7D%7C%5E%60%22%3C%3E"),
        ("/%5bid%5d", "/%5Bid%5D"),
        ("/a%20b", "/a%20b"),
        ("/a%2fb%5c", "/a%2Fb%5C"),
        ("/a;v=1/b", "/a;v=1/b"),
        ("/%2561", "/%2561"),
        ("/a/..%2Fb", "/a/..%2Fb"),
        ("/!$&'()*+,;=:@", "/!$&'()*+,;=:@"),
        ("/Capitals", "/Capitals"),
        ("/%3f%23", "/%3F%23"),
    ] {
        assert_eq!(normalise(written).as_deref(), Ok(normal), "{written}");
    }
}

#[test]
fn what_has_no_normal_form_is_refused() {
    use PathError::{AboveRoot, Backslash, Control, Delimiter, Escape, NoSlash};
    for (written, error) in [
        ("", NoSlash),
        ("*", NoSlash),
        ("example.com:443", NoSlash),
        ("a/b", NoSlash),
        ("/%", Escape),
        ("/%4", Escape),
        ("/%zz", Escape),
        ("/%+1", Escape),
        ("/%u002e", Escape),
        ("/%00", Control),
        ("/a%0d%0aSet-Cookie:x", Control),
        ("/a\nb", Control),
        ("/a\u{7f}", Control),
        ("/%7f", Control),
        ("/a\\b", Backslash),
        ("/a#b", Delimiter),
        ("/a?b", Delimiter),
        ("/a b", Delimiter),
        ("/..", AboveRoot),
        ("/../etc/passwd", AboveRoot),
        ("/a/../../b", AboveRoot),
        ("/%2e%2e/b", AboveRoot),
        ("//../b", AboveRoot),
        ("/a/..%2f..%2fetc", AboveRoot),
        ("/..%5Ca", AboveRoot),
        ("/..;/a", AboveRoot),
        ("/a/..;x/..;/b", AboveRoot),
        ("/%252e%252e/a", AboveRoot),
        ("/%252E%252e%252Fa", AboveRoot),
        ("/a/..%252f..", AboveRoot),
        ("/..%255Ca", AboveRoot),
    ] {
        assert_eq!(normalise(written), Err(error), "{written}");
    }
}

#[test]
fn a_normal_path_is_borrowed() {
    for path in
        ["/", "/api/tasks/42", "/_next/static/chunks/app/%5Bid%5D/page-0f.js", "/a/", "/a%2Fb", "/a;b/%2541"]
    {
        assert!(matches!(normalise(path), Ok(Cow::Borrowed(same)) if same == path), "{path}");
    }
}

#[test]
fn a_query_is_only_looked_at() {
    for (query, outcome) in [
        ("a=%zz&b=../..&c=\\&é", Ok(())),
        ("", Ok(())),
        ("a\n", Err(PathError::Control)),
        ("a\u{0}", Err(PathError::Control)),
        ("a#b", Err(PathError::Delimiter)),
        ("a b", Err(PathError::Delimiter)),
    ] {
        assert_eq!(check_query(query), outcome, "{query:?}");
    }
}

/// Paths of pieces that have a meaning, and of anything.
fn written() -> impl Strategy<Value = String> {
    let piece = select(vec![
        "a", "B", "..", ".", "", "%2e", "%2E%2e", "..;x", ";", "%2F", "%2f..", "%5c", "%252e", "%25252e",
        "%252F", "%3b", "é", "%C3%A9", "[x]", "%61", "%", "%00", "\\", "a b", "c.d", "~", "%7e",
    ]);
    let pieces = vec(piece, 0..7).prop_map(|pieces| format!("/{}", pieces.join("/")));
    prop_oneof![4 => pieces, 1 => any::<String>(), 1 => "[/.%25a-fE2;\\\\]{0,12}".prop_map(|text| format!("/{text}"))]
}

/// The normal form, one rule after the other over the whole path; `None` where there is none. Of what leads above the
/// root only what does so for everybody.
fn naive(path: &str) -> Option<String> {
    let rest = path.strip_prefix('/')?;
    let mut spelt = Vec::new();
    for segment in rest.split('/') {
        let mut text = String::new();
        let mut bytes = segment.bytes();
        while let Some(byte) = bytes.next() {
            let (byte, is_escape) = if byte == b'%' {
                let digits = [bytes.next()?, bytes.next()?];
                let digits = std::str::from_utf8(&digits).ok().filter(|digits| !digits.starts_with('+'))?;
                (u8::from_str_radix(digits, 16).ok()?, true)
            } else {
                (byte, false)
            };
            let stands_for_itself = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            let refused = byte.is_ascii_control() || (!is_escape && b"\\#? ".contains(&byte));
            match byte {
                _ if refused => return None,
                byte if stands_for_itself || (!is_escape && b"!$&'()*+,;=:@".contains(&byte)) => {
                    text.push(char::from(byte));
                }
                byte => text += &format!("%{byte:02X}"),
            }
        }
        spelt.push(text);
    }
    let ends_open = matches!(spelt.last().map(String::as_str), Some("" | "." | ".."));
    let mut kept: Vec<String> = Vec::new();
    for segment in spelt {
        match segment.as_str() {
            "" | "." => {}
            ".." => drop(kept.pop()?),
            _ => kept.push(segment),
        }
    }
    let end = if ends_open && !kept.is_empty() { "/" } else { "" };
    Some(format!("/{}{end}", kept.join("/")))
}

/// Whether any reading of the path begins with more ways back than parts.
struct AboveRoot(bool);

impl Reader for AboveRoot {
    fn read<'a>(&mut self, segments: impl Iterator<Item = &'a [u8]> + Clone, _ignore_case: bool) {
        let mut depth = 0_i32;
        // A reading that does not take a slash for one has it in a segment.
        for segment in segments {
            for part in segment.split(|byte| matches!(byte, b'/' | b'\\')) {
                depth += match part {
                    b"" | b"." => 0,
                    b".." => -1,
                    _ => 1,
                };
                self.0 |= depth < 0;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn agrees_with_one_rule_after_the_other(path in written()) {
        match normalise(&path) {
            Ok(normal) => prop_assert_eq!(Some(normal.into_owned()), naive(&path)),
            Err(PathError::AboveRoot) => {}
            Err(_) => prop_assert_eq!(naive(&path), None),
        }
    }

    #[test]
    fn the_normal_form_is_its_own(path in written()) {
        if let Ok(normal) = normalise(&path) {
            let again = normalise(&normal);
            prop_assert_eq!(again.as_deref(), Ok(&*normal));
            prop_assert!(matches!(again, Ok(Cow::Borrowed(_))));
        }
    }

    #[test]
    fn nothing_in_it_is_left_to_take_amiss(path in written()) {
        if let Ok(normal) = normalise(&path) {
            prop_assert!(normal.starts_with('/') && normal.is_ascii() && !normal.contains("//"));
            prop_assert!(!normal.contains(['\\', '#', '?', ' ']) && !normal.contains(char::is_control));
            prop_assert!(normal.split('/').all(|segment| segment != "." && segment != ".."));
            let mut above = AboveRoot(false);
            each_reading(&normal, &mut above);
            prop_assert!(!above.0, "{} -> {}", path, normal);
        }
    }
}
