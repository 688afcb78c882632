//! The elements of a list header from the right, over all its lines. The last element of the last line is what the
//! nearest proxy wrote; nothing to the left of an element can change how it is read.

use super::forwarded;
use super::node::Node;

/// Most elements that are read.
const MAX_ELEMENTS: usize = 64;
/// Most bytes that are read.
const MAX_BYTES: usize = 8 * 1024;
/// Most characters of an element that are shown to people.
const MAX_SHOWN: usize = 128;

/// What an element looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Syntax {
    /// Names with commas between them.
    List,
    /// RFC 7239: pairs, whose values may be quoted and have commas in them.
    Forwarded,
}

/// One element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Element<'a> {
    /// As written, without the spaces around it. Empty beyond the bounds.
    pub(super) text: &'a [u8],
    pub(super) node: Node,
}

impl Element<'_> {
    /// The text for people, cut where it is long; what is not text is replaced.
    pub(super) fn shown(&self) -> String {
        String::from_utf8_lossy(self.text).chars().take(MAX_SHOWN).collect()
    }
}

/// Reads lines from the last. Ends with one element that is [`Node::TooFar`] where there is more than the bounds allow.
pub(super) struct Elements<'a, L> {
    lines: L,
    syntax: Syntax,
    /// What is left of the line that is being read.
    line: Option<&'a [u8]>,
    count_left: usize,
    bytes_left: usize,
    ended: bool,
}

impl<'a, L: Iterator<Item = &'a [u8]>> Elements<'a, L> {
    /// Of lines in reverse order.
    pub(super) const fn new(lines: L, syntax: Syntax) -> Self {
        Self { lines, syntax, line: None, count_left: MAX_ELEMENTS, bytes_left: MAX_BYTES, ended: false }
    }
}

impl<'a, L: Iterator<Item = &'a [u8]>> Iterator for Elements<'a, L> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        if self.ended {
            return None;
        }
        let Some(line) = self.line.take().or_else(|| self.lines.next()) else {
            self.ended = true;
            return None;
        };
        let from = (self.count_left > 0).then(|| last(line, self.syntax, self.bytes_left)).flatten();
        let Some(from) = from else {
            self.ended = true;
            return Some(Element { text: &[], node: Node::TooFar });
        };
        let (before, text) = line.split_at(from);
        // The comma, if there is one, ends what is left of the line.
        self.line = before.split_last().map(|(_comma, rest)| rest);
        self.count_left -= 1;
        // One more for the comma or the line's end, so that empty lines are bounded, too.
        self.bytes_left = self.bytes_left.saturating_sub(text.len() + 1);
        let text = text.trim_ascii();
        let node = match self.syntax {
            Syntax::List => Node::parse(text),
            Syntax::Forwarded => forwarded::node(text),
        };
        Some(Element { text, node })
    }
}

/// Where the last element of a line begins, after its comma; `None` when that is more than `most` bytes from the end.
fn last(line: &[u8], syntax: Syntax, most: usize) -> Option<usize> {
    let first = line.len().saturating_sub(most);
    let mut quoted = false;
    for (index, byte) in line.iter().enumerate().skip(first).rev() {
        match byte {
            b',' if !quoted => return Some(index + 1),
            b'"' if syntax == Syntax::Forwarded => {
                // From the right the first quote closes a string; the one that opens it is not escaped.
                let backslashes = line.iter().take(index).rev().take_while(|byte| **byte == b'\\').count();
                quoted = !quoted || backslashes % 2 == 1;
            }
            _ => {}
        }
    }
    (first == 0 && most > 0).then_some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[&str], syntax: Syntax) -> Vec<String> {
        Elements::new(lines.iter().rev().map(|line| line.as_bytes()), syntax)
            .map(|element| element.shown())
            .collect()
    }

    #[test]
    fn lines_are_read_as_one_list_from_the_right() {
        assert_eq!(texts(&["a, b", "c", "d ,e"], Syntax::List), ["e", "d", "c", "b", "a"]);
        assert_eq!(texts(&["a,", "", ",b"], Syntax::List), ["b", "", "", "", "a"]);
        assert_eq!(texts(&[], Syntax::List), [""; 0]);
    }

    #[test]
    fn commas_in_quotes_do_not_end_an_element_and_quotes_left_open_do_not_swallow_the_next() {
        let one = r#"for=1;host="a, \" ,b\\""#;
        assert_eq!(texts(&[&format!("x=\", {one}, for=2")], Syntax::Forwarded), ["for=2", one, "x=\""]);
        assert_eq!(texts(&[&format!("x=\", {one}, for=2")], Syntax::List).len(), 5);
    }

    #[test]
    fn only_the_rightmost_elements_and_bytes_are_read() {
        let many = vec!["1.1.1.1"; 65].join(",");
        let read: Vec<Node> =
            Elements::new([many.as_bytes()].into_iter(), Syntax::List).map(|element| element.node).collect();
        assert_eq!((read.len(), read[63] == Node::TooFar, read[64]), (65, false, Node::TooFar));
        let exact = vec!["1.1.1.1"; 64].join(",");
        assert_eq!(texts(&[&exact], Syntax::List).len(), 64);
        let (one, two) = (Node::parse(b"1.1.1.1"), Node::parse(b"2.2.2.2"));
        for (spaces, expected) in [
            (8177, &[two, one][..]),
            (8178, &[two, Node::TooFar]),
            (8184, &[two, Node::TooFar]),
            (8185, &[Node::TooFar]),
        ] {
            let wide = format!("1.1.1.1,{}2.2.2.2", " ".repeat(spaces));
            let read: Vec<Node> = Elements::new([wide.as_bytes()].into_iter(), Syntax::List)
                .map(|element| element.node)
                .collect();
            assert_eq!(read, expected, "{spaces}");
        }
        let long = "a".repeat(MAX_BYTES + 1);
        let read: Vec<Node> =
            Elements::new([long.as_bytes()].into_iter(), Syntax::List).map(|element| element.node).collect();
        assert_eq!(read, [Node::TooFar]);
        let empty = vec![""; 10_000];
        assert_eq!(texts(&empty, Syntax::List).len(), 65);
    }
}
