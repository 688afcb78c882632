//! The header of a request that is described in another way than by HTTP: field by field, within a bound.
//!
//! A field that cannot be one is the fault of the request that is described. It is never left out: whoever reads the
//! request after Phoenix may not leave it out.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::problem::{Kind, Problem};

/// Most header fields of a request that is described. Proxies take about 100 by default.
pub(super) const MAX_FIELDS: usize = 256;

/// Why fields are no header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadHeader {
    /// There are more than 256 of them.
    TooMany,
    /// A name or value that HTTP does not know, such as one with a control character (RFC 9110 section 5.5).
    Field,
}

impl From<BadHeader> for Problem {
    fn from(bad: BadHeader) -> Self {
        Self::new(Kind::MalformedRequest).detail(match bad {
            BadHeader::TooMany => format!("The request has more than {MAX_FIELDS} header fields."),
            BadHeader::Field => {
                "A header field of the request has a name or value that HTTP does not know.".to_owned()
            }
        })
    }
}

/// Adds a field as the client sent it.
///
/// # Errors
/// When it is none, or one too many. The header is of no use then.
pub fn append_field(headers: &mut HeaderMap, name: &[u8], value: &[u8]) -> Result<(), BadHeader> {
    let (name, value) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value));
    let (Ok(name), Ok(value)) = (name, value) else { return Err(BadHeader::Field) };
    if headers.len() >= MAX_FIELDS {
        return Err(BadHeader::TooMany);
    }
    headers.append(name, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_taken_as_they_are_up_to_the_bound() {
        let mut headers = HeaderMap::new();
        for _ in 0..MAX_FIELDS {
            assert_eq!(append_field(&mut headers, b"X-A", b"\xff\t"), Ok(()));
        }
        assert_eq!(append_field(&mut headers, b"x-a", b""), Err(BadHeader::TooMany));
        assert_eq!(headers.get_all("x-a").iter().count(), MAX_FIELDS);
        for (name, value) in
            [("a b", "c"), ("", "c"), (":path", "/"), ("a", "b\nc"), ("a", "\u{1}"), ("a", "\u{7f}")]
        {
            let added = append_field(&mut HeaderMap::new(), name.as_bytes(), value.as_bytes());
            assert_eq!(added, Err(BadHeader::Field), "{name:?} {value:?}");
        }
    }
}
