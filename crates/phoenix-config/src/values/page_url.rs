//! The address of a page: an origin, a path, and perhaps a query.

use std::fmt;

use super::Origin;

/// Longest address of a page in bytes.
const MAX_BYTES: usize = 1024;

/// The address of a page, such as `https://app.example.com/sign-in`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PageUrl(String);

impl PageUrl {
    /// Reads an absolute `https` or `http` URL without a user name and without a fragment.
    ///
    /// # Errors
    /// Says in words what is wrong.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_BYTES {
            return Err("it is longer than 1024 bytes");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it holds something that a URL writes as %XX");
        }
        if text.contains(['#', '"', '<', '>', '\\', '{', '}', '|', '^', '`']) {
            return Err("it holds a character that has no place there");
        }
        let start = text.find("://").ok_or("a URL starts with https:// or http://")? + 3;
        let end =
            text.get(start..).and_then(|rest| rest.find(['/', '?'])).map_or(text.len(), |at| start + at);
        let (origin, rest) = text.split_at_checked(end).ok_or("it is no URL")?;
        let origin = Origin::parse(origin)?;
        let slash = if rest.starts_with('/') { "" } else { "/" };
        Ok(Self(format!("{origin}{slash}{rest}")))
    }

    /// As it is written in a header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_one_spelling_and_what_is_none_is_refused() {
        for (text, shown) in [
            ("https://App.example.com/sign-in", "https://app.example.com/sign-in"),
            ("https://app.example.com:443", "https://app.example.com/"),
            ("http://localhost:3000/a?b=c", "http://localhost:3000/a?b=c"),
            ("https://app.example.com?x=1", "https://app.example.com/?x=1"),
        ] {
            let page = PageUrl::parse(text).expect(text);
            assert_eq!(page.as_str(), shown);
            assert_eq!(PageUrl::parse(shown).expect(shown), page);
        }
        for text in [
            "",
            "/sign-in",
            "//app.example.com/x",
            "javascript:alert(1)",
            "javascript://x/%0aalert(1)",
            "https://",
            "https:///x",
            "https://user@app.example.com/",
            "https://app.example.com/#x",
            "https://app.example.com\\x",
            "https://app.example.com/a b",
            "https://app.example.com/\u{e4}",
            "https://app.example.com/\r\nset-cookie:x",
        ] {
            assert!(PageUrl::parse(text).is_err(), "{text:?}");
        }
        assert!(PageUrl::parse(&format!("https://a.example/{}", "x".repeat(MAX_BYTES))).is_err());
    }
}
