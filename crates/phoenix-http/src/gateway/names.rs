//! Which names of a request's header something must be done about before an application sees it.
//!
//! Found in one pass: asking a map for a name that is not there costs nearly as much as the whole pass, and none of
//! these is there in most requests. Does not own what is done about them (`identity.rs`, the proxy).

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, HeaderName, VIA};

/// What may be among the names of a header.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Names {
    /// Something that says who the caller is, or may be read so.
    pub(crate) identity: bool,
    /// Something that may hold a token of ours.
    pub(crate) credentials: bool,
    /// `Via`.
    pub(crate) via: bool,
}

impl Names {
    /// Looks at each name once.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut names = Self::default();
        for name in headers.keys() {
            names.identity |= may_be_identity(name);
            names.credentials |= *name == AUTHORIZATION || *name == COOKIE;
            names.via |= *name == VIA;
        }
        names
    }
}

/// Of every name that `identity::strip` removes, and of few others.
fn may_be_identity(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    matches!(name, [b'x', sign, b'p', b'h', b'o', b'e', b'n', b'i', b'x', ..] if !sign.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::super::identity::{IDENTITY_HEADERS, hide_credentials, strip};
    use super::*;

    fn header(names: &[String]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in names {
            let name = HeaderName::try_from(name.as_str()).expect("a name");
            headers.append(name, HeaderValue::from_static("phx_s_x; phoenix_session=x"));
        }
        headers
    }

    /// Names of all kinds, those of an identity with any dash as another sign.
    fn name() -> impl Strategy<Value = String> {
        let identity = (0..IDENTITY_HEADERS.len(), any::<u32>()).prop_map(|(at, mask)| {
            let sign = |at: usize| ['_', '.', '~'][at % 3];
            let spelt = |(at, c)| if c == '-' && (mask >> at) & 1 == 1 { sign(at) } else { c };
            IDENTITY_HEADERS[at].as_str().chars().enumerate().map(spelt).collect::<String>()
        });
        let others = ["authorization", "cookie", "via", "upgrade", "x-phoenix-version", "x_custom", "host"];
        let others = prop::sample::select(others.to_vec()).prop_map(str::to_owned);
        prop_oneof![identity, others, "[a-z_-]{1,20}"]
    }

    proptest! {
        #[test]
        fn what_is_not_noticed_is_not_there(names in prop::collection::vec(name(), 0..6)) {
            let sent = header(&names);
            let noticed = Names::of(&sent);
            prop_assert_eq!(noticed.via, sent.contains_key(VIA));
            let mut left = sent.clone();
            if !noticed.identity {
                strip(&mut left);
            }
            if !noticed.credentials {
                hide_credentials(&mut left);
            }
            prop_assert_eq!(left, sent, "what would be changed is noticed");
        }
    }
}
