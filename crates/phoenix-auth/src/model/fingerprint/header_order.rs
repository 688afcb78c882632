//! In which order a client sends three headers that every browser sends and no page can move.

/// Names of a request looked at before the search ends.
const MOST_NAMES: usize = 64;

/// Order of `User-Agent`, `Accept-Encoding` and `Accept-Language` in a request.
///
/// Chromium sends them in this order, Firefox has the language before the encoding, Safari puts the agent elsewhere.
/// Only these three count, so headers that are added, left out or moved by a page change nothing. A proxy may sort
/// headers: weak evidence, and weighted so.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum HeaderOrderClass {
    /// One of the three is missing.
    #[default]
    Unknown,
    /// User-Agent, Accept-Encoding, Accept-Language.
    AgentEncodingLanguage,
    /// User-Agent, Accept-Language, Accept-Encoding.
    AgentLanguageEncoding,
    /// Accept-Encoding, User-Agent, Accept-Language.
    EncodingAgentLanguage,
    /// Accept-Encoding, Accept-Language, User-Agent.
    EncodingLanguageAgent,
    /// Accept-Language, User-Agent, Accept-Encoding.
    LanguageAgentEncoding,
    /// Accept-Language, Accept-Encoding, User-Agent.
    LanguageEncodingAgent,
}

impl HeaderOrderClass {
    /// From the names of a request's headers in the order they came, in any case. Of a name that occurs twice the
    /// first counts; only the first 64 names are looked at.
    #[must_use]
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut agent, mut encoding, mut language) = (None, None, None);
        for (at, name) in names.into_iter().take(MOST_NAMES).enumerate() {
            let slot = if name.eq_ignore_ascii_case("user-agent") {
                &mut agent
            } else if name.eq_ignore_ascii_case("accept-encoding") {
                &mut encoding
            } else if name.eq_ignore_ascii_case("accept-language") {
                &mut language
            } else {
                continue;
            };
            slot.get_or_insert(at);
        }
        let (Some(agent), Some(encoding), Some(language)) = (agent, encoding, language) else {
            return Self::Unknown;
        };
        match (agent < encoding, agent < language, encoding < language) {
            (true, true, true) => Self::AgentEncodingLanguage,
            (true, true, false) => Self::AgentLanguageEncoding,
            (false, true, _) => Self::EncodingAgentLanguage,
            (true, false, _) => Self::LanguageAgentEncoding,
            (false, false, true) => Self::EncodingLanguageAgent,
            (false, false, false) => Self::LanguageEncodingAgent,
        }
    }

    /// The stable value that is hashed, `None` when the order is not known.
    pub(super) const fn value(self) -> Option<&'static str> {
        match self {
            Self::Unknown => None,
            Self::AgentEncodingLanguage => Some("agent encoding language"),
            Self::AgentLanguageEncoding => Some("agent language encoding"),
            Self::EncodingAgentLanguage => Some("encoding agent language"),
            Self::EncodingLanguageAgent => Some("encoding language agent"),
            Self::LanguageAgentEncoding => Some("language agent encoding"),
            Self::LanguageEncodingAgent => Some("language encoding agent"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The names' first letters in the order of the value, as an independent model.
    fn model(names: &[&str]) -> Option<String> {
        let mut seen: Vec<&str> = Vec::new();
        for name in names.iter().take(MOST_NAMES) {
            let part = match name.to_lowercase().as_str() {
                "user-agent" => "agent",
                "accept-encoding" => "encoding",
                "accept-language" => "language",
                _ => continue,
            };
            if !seen.contains(&part) {
                seen.push(part);
            }
        }
        (seen.len() == 3).then(|| seen.join(" "))
    }

    proptest! {
        #[test]
        fn agrees_with_the_model(picked in prop::collection::vec(0_usize..6, 0..90)) {
            let all = ["User-Agent", "accept-encoding", "Accept-Language", "cookie", "Accept", "user-agent"];
            let names: Vec<&str> = picked.iter().map(|index| all[*index]).collect();
            let class = HeaderOrderClass::of(names.iter().copied());
            prop_assert_eq!(class.value().map(str::to_owned), model(&names));
        }

        #[test]
        fn names_that_are_added_change_nothing(added in prop::collection::vec(("[a-z-]{1,12}", 0_usize..4), 0..20)) {
            let mut names = vec!["user-agent".to_owned(), "accept-language".to_owned(), "accept-encoding".to_owned()];
            for (name, at) in added {
                names.insert(at, name);
            }
            prop_assert_eq!(
                HeaderOrderClass::of(names.iter().map(String::as_str)),
                HeaderOrderClass::AgentLanguageEncoding
            );
        }
    }

    #[test]
    fn an_endless_request_is_not_read_to_its_end() {
        assert_eq!(HeaderOrderClass::of(std::iter::repeat("user-agent")), HeaderOrderClass::Unknown);
    }
}
