//! One element of `Forwarded` (RFC 7239, section 4): who is named by its `for=`.

use super::node::Node;

/// The node that `for=` names; unnamed where there is no `for=`, garbage where the element breaks the grammar or names
/// two. Values may have the `:` and brackets that only quoted ones should: they cannot be misread.
pub(super) fn node(element: &[u8]) -> Node {
    let mut found = None;
    let mut rest = element;
    loop {
        rest = rest.trim_ascii_start();
        // The grammar lets a pair be left out.
        if let Some(after) = rest.strip_prefix(b";") {
            rest = after;
            continue;
        }
        if rest.is_empty() {
            break;
        }
        let Some((name, value, after)) = pair(rest) else { return Node::Garbage };
        if name.eq_ignore_ascii_case(b"for") && found.replace(Node::parse(value)).is_some() {
            return Node::Garbage;
        }
        rest = after.trim_ascii_start();
        if !rest.is_empty() && !rest.starts_with(b";") {
            return Node::Garbage;
        }
    }
    // An empty element may stand for a proxy that wrote nothing: what is left of it is somebody else's word.
    found.unwrap_or(if element.trim_ascii().is_empty() { Node::Garbage } else { Node::Unnamed })
}

/// `name=value` or `name="value"`, and what follows. The value is as written, with its escapes: a name of a node has
/// none.
fn pair(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let end = text.iter().position(|byte| !is_token(*byte))?;
    let (name, rest) = text.split_at(end);
    let rest = rest.strip_prefix(b"=").filter(|_| !name.is_empty())?;
    if let Some(quoted) = rest.strip_prefix(b"\"") {
        let end = closing_quote(quoted)?;
        let (value, rest) = quoted.split_at(end);
        return Some((name, value, rest.strip_prefix(b"\"")?));
    }
    let in_value = |byte: u8| is_token(byte) || b"[]:".contains(&byte);
    let end = rest.iter().position(|byte| !in_value(*byte)).unwrap_or(rest.len());
    let (value, rest) = rest.split_at(end);
    (!value.is_empty()).then_some((name, value, rest))
}

/// Where a quoted string ends (RFC 9110, section 5.6.4).
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    for (index, byte) in text.iter().enumerate() {
        match byte {
            0..=8 | 10..=31 | 127 => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(index),
            _ => {}
        }
    }
    None
}

/// A character of a token (RFC 9110, section 5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_rfc_and_of_the_field() {
        let at = |text: &str| Node::Address(text.parse().expect(text));
        for (element, expected) in [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", at("192.0.2.60")),
            ("For=\"[2001:db8:cafe::17]:4711\"", at("2001:db8:cafe::17")),
            (" by=x ; FOR=\"192.0.2.43:47011\" ;host=\"a, b; for=6.6.6.6 \\\" \" ", at("192.0.2.43")),
            ("for=192.0.2.43:47011", at("192.0.2.43")),
            ("for=[2001:db8::1]:80;proto=https", at("2001:db8::1")),
            (";;for=192.0.2.1;", at("192.0.2.1")),
            ("for=\"_gazonk\"", Node::Unnamed),
            ("for=_SEVKISEK", Node::Unnamed),
            ("for=unknown", Node::Unnamed),
            ("proto=https", Node::Unnamed),
        ] {
            assert_eq!(node(element.as_bytes()), expected, "{element}");
        }
    }

    #[test]
    fn what_breaks_the_grammar_is_garbage() {
        for element in [
            "",
            " ",
            "192.0.2.1",
            "for",
            "for=",
            "for =192.0.2.1",
            "for= 192.0.2.1",
            "for=\"192.0.2.1",
            "for=192.0.2.1\"",
            "for=\"192.0.2.1\\",
            "for=192.0.2.1;for=192.0.2.2",
            "for=192.0.2.1 proto=http",
            "=192.0.2.1",
            "for=\"\"",
            "for=\"192.0.2.1\"x",
            "for=\"192.0.2.\\1\"",
            "for=192.0.2.1;x",
            "for=192.0.2.1;x=\"\u{1}\"",
            "for=ä",
        ] {
            assert_eq!(node(element.as_bytes()), Node::Garbage, "{element:?}");
        }
    }
}
