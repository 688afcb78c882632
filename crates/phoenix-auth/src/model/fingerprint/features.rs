//! What a client says of itself, and the stable values made of it: no version, no order, no placeholder.
//!
//! Everything here is client input: a header is read up to [`MOST_BYTES`], a list up to [`MOST_ITEMS`].

use super::HeaderOrderClass;
use crate::model::device;

/// Bytes of a header that are looked at; what follows does not count. Real ones are below 300.
const MOST_BYTES: usize = 1_024;

/// Entries of a list that are looked at; what follows does not count. Real lists are below 10.
const MOST_ITEMS: usize = 16;

/// Number of features, two of them languages.
pub(super) const COUNT: usize = 11;

/// Names of the features in the order of [`DeviceFeatures::stable_values`]. A name is part of what is hashed.
pub(super) const NAMES: [&str; COUNT] = [
    "browser",
    "system",
    "engine",
    "form",
    "brands",
    "platform",
    "mobile",
    "encodings",
    "header order",
    "language",
    // Same name, so that a language has the same hash in either place.
    "language",
];

/// Content codings that say nothing of a device: browsers gained them in updates (`zstd`, and the two of RFC 9842),
/// or offer them over TLS only (`br`).
const NEWER_CODINGS: [&str; 4] = ["br", "zstd", "dcb", "dcz"];

/// The headers a fingerprint is made of, as they came; `None` where one is absent or not text.
#[derive(Clone, Copy, Default)]
pub struct DeviceFeatures<'a> {
    /// `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// `Sec-CH-UA`: brands and versions.
    pub sec_ch_ua: Option<&'a str>,
    /// `Sec-CH-UA-Platform`.
    pub sec_ch_ua_platform: Option<&'a str>,
    /// `Sec-CH-UA-Mobile`.
    pub sec_ch_ua_mobile: Option<&'a str>,
    /// `Accept-Language`.
    pub accept_language: Option<&'a str>,
    /// `Accept-Encoding`.
    pub accept_encoding: Option<&'a str>,
    /// In which order some of them came.
    pub header_order: HeaderOrderClass,
}

impl DeviceFeatures<'_> {
    /// The stable value of each feature in the order of [`NAMES`], `None` where it is absent.
    pub(super) fn stable_values(&self) -> [Option<String>; COUNT] {
        let agent = self.user_agent.map(cut).unwrap_or_default();
        let [one_language, other_language] =
            self.accept_language.map(|header| languages(cut(header))).unwrap_or_default();
        [
            browser(agent).map(str::to_owned),
            system(agent).map(str::to_owned),
            engine(agent).map(str::to_owned),
            form(agent).map(str::to_owned),
            self.sec_ch_ua.and_then(|header| brands(cut(header))),
            self.sec_ch_ua_platform.and_then(|header| platform(cut(header))),
            self.sec_ch_ua_mobile.and_then(mobile).map(str::to_owned),
            self.accept_encoding.and_then(|header| encodings(cut(header))),
            self.header_order.value().map(str::to_owned),
            one_language,
            other_language,
        ]
    }
}

fn cut(header: &str) -> &str {
    header.get(..header.floor_char_boundary(MOST_BYTES)).unwrap_or_default()
}

/// Family of the browser, or the product a program names itself by.
fn browser(agent: &str) -> Option<&str> {
    device::browser_family(agent).or_else(|| device::product_name(agent))
}

/// Family of the operating system.
///
/// An iPad counts as macOS: Safari on it says `Macintosh` or `iPad` depending on how wide its window is.
fn system(agent: &str) -> Option<&'static str> {
    device::platform(agent).map(|platform| if platform == "iPad" { "macOS" } else { platform })
}

/// What draws the page. On an iPhone it is `WebKit` under every name.
fn engine(agent: &str) -> Option<&'static str> {
    // Every engine names an older one, so the order matters. `like Gecko` has no slash.
    [
        ("Trident/", "trident"),
        ("Chrome/", "blink"),
        ("Chromium/", "blink"),
        ("Gecko/", "gecko"),
        ("AppleWebKit/", "webkit"),
    ]
    .iter()
    .find(|(mark, _)| agent.contains(mark))
    .map(|(_, name)| *name)
}

/// Phone, tablet or desk.
fn form(agent: &str) -> Option<&'static str> {
    let platform = device::platform(agent)?;
    Some(match platform {
        "iPad" => "tablet",
        "iPhone" => "phone",
        _ if agent.contains("Tablet") => "tablet",
        _ if agent.contains("Mobile") => "phone",
        "Android" => "tablet",
        _ => "desk",
    })
}

/// The brands of `Sec-CH-UA` without versions, sorted, each in quotes.
///
/// A list of strings with parameters (RFC 9651), read with more tolerance. Chromium puts in one made-up brand and
/// shuffles the list with each version (GREASE): that brand is dropped.
fn brands(header: &str) -> Option<String> {
    let mut found: Vec<String> =
        quoted(header).take(MOST_ITEMS).map(|text| words(&text)).filter(|brand| !is_made_up(brand)).collect();
    found.sort_unstable();
    found.dedup();
    (!found.is_empty()).then(|| format!("\"{}\"", found.join("\", \"")))
}

/// The strings in quotes outside of parameters: a parameter's value follows `=` at once.
fn quoted(header: &str) -> impl Iterator<Item = String> {
    let mut chars = header.chars();
    std::iter::from_fn(move || {
        let mut before = ' ';
        loop {
            let next = chars.next()?;
            if next == '"' {
                let mut text = String::new();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => text.push(chars.next()?),
                        other => text.push(other),
                    }
                }
                if before != '=' {
                    return Some(text);
                }
            }
            before = next;
        }
    })
}

/// ASCII letters and digits in lower case, one space for whatever stands between them.
fn words(text: &str) -> String {
    let parts = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(" ").to_ascii_lowercase()
}

/// `Not A;Brand`, `Not)A;Brand`, `(Not(A:Brand` and the like, or nothing at all.
fn is_made_up(brand: &str) -> bool {
    brand.is_empty() || (brand.starts_with("not") && brand.ends_with("brand"))
}

/// The platform of `Sec-CH-UA-Platform`. That of Chromebooks has two names.
fn platform(header: &str) -> Option<String> {
    match words(header).as_str() {
        "" | "unknown" => None,
        "chrome os" | "chromium os" | "chromeos" => Some("chromeos".to_owned()),
        other => Some(other.to_owned()),
    }
}

fn mobile(header: &str) -> Option<&'static str> {
    match header.trim() {
        "?1" => Some("?1"),
        "?0" => Some("?0"),
        _ => None,
    }
}

/// The first two languages without region and script, sorted.
fn languages(header: &str) -> [Option<String>; 2] {
    let mut found: [Option<String>; 2] = [None, None];
    for tag in items(header) {
        let language = tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
        let valid = (2..=8).contains(&language.len()) && language.bytes().all(|b| b.is_ascii_alphabetic());
        match &found {
            _ if !valid => {}
            [Some(first), None] if *first != language => {
                found[1] = Some(language);
                break;
            }
            [None, None] => found[0] = Some(language),
            _ => {}
        }
    }
    if found[1].is_some() {
        found.sort_unstable();
    }
    found
}

/// The content codings, sorted, without those that come and go with versions and TLS.
fn encodings(header: &str) -> Option<String> {
    let mut found: Vec<String> = items(header)
        .map(str::to_ascii_lowercase)
        .filter(|coding| !coding.is_empty() && !NEWER_CODINGS.contains(&coding.as_str()))
        .collect();
    found.sort_unstable();
    found.dedup();
    (!found.is_empty()).then(|| found.join(", "))
}

/// The entries of a list without their parameters.
fn items(header: &str) -> impl Iterator<Item = &str> {
    header.split(',').take(MOST_ITEMS).map(|item| item.split(';').next().unwrap_or_default().trim())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn brands_lose_versions_order_and_the_made_up_one() {
        let chrome = Some("\"chromium\", \"google chrome\"".to_owned());
        for header in [
            r#""Not)A;Brand";v="8", "Chromium";v="138", "Google Chrome";v="138""#,
            r#""Not;A=Brand";v="99", "Google Chrome";v="139", "Chromium";v="139""#,
            r#""Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140""#,
            r#""Google Chrome";v="141", "Not?A_Brand";v="8", "Chromium";v="141""#,
            r#""Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99""#,
            r#""Google Chrome";v="143", "Chromium";v="143", "Not A(Brand";v="24""#,
            r#"" Not A;Brand";v="99", "Chromium";v="98", "Google Chrome";v="98""#,
            r#""(Not(A:Brand";v="8", "Chromium";v="99", "Google Chrome";v="99""#,
            r#""\\Not\"A;Brand";v="99", "Google Chrome";v="90", "Chromium";v="90""#,
        ] {
            assert_eq!(brands(header), chrome, "{header}");
        }
        for header in ["", "\"", "\"\\", "Chromium", r#""Not A;Brand";v="99""#, "\"é\"", r#";v="143""#] {
            assert_eq!(brands(header), None, "{header}");
        }
    }

    #[test]
    fn languages_are_the_first_two_without_region() {
        let cases = [
            ("en-US,en;q=0.9", [Some("en"), None]),
            ("en-US,en;q=0.9,de;q=0.8,fr;q=0.7", [Some("de"), Some("en")]),
            ("de, en-GB;q=0.5", [Some("de"), Some("en")]),
            ("zh-Hant-TW", [Some("zh"), None]),
            ("*", [None, None]),
            ("", [None, None]),
            ("1, x, en", [Some("en"), None]),
        ];
        for (header, expected) in cases {
            assert_eq!(languages(header), expected.map(|language| language.map(str::to_owned)), "{header}");
        }
    }

    #[test]
    fn codings_that_browsers_gained_do_not_count() {
        let gzip = Some("deflate, gzip".to_owned());
        assert_eq!(encodings("gzip, deflate"), gzip);
        assert_eq!(encodings("gzip, deflate, br"), gzip);
        assert_eq!(encodings("GZIP;q=1.0,deflate;q=0.6, br, zstd"), gzip);
        assert_eq!(encodings("gzip"), Some("gzip".to_owned()));
        assert_eq!(encodings("br"), None);
    }

    #[test]
    fn an_ipad_with_a_narrow_window_stays_the_same_system() {
        let wide = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15";
        let narrow = "Mozilla/5.0 (iPad; CPU OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1";
        assert_eq!(system(wide), system(narrow));
        assert_eq!((form(wide), form(narrow)), (Some("desk"), Some("tablet")));
    }

    proptest! {
        #[test]
        fn a_stable_value_is_its_own_stable_value(
            brand in r#"("[ -~]{0,12}"(;v="[0-9]{1,3}")?(, )?){0,5}"#, list in "([a-zA-Z*-]{0,9}(;q=0\\.[0-9])?,? ?){0,6}",
            platform_text in "\"?[a-zA-Z ]{0,12}\"?",
        ) {
            if let Some(once) = brands(&brand) {
                prop_assert_eq!(brands(&once), Some(once));
            }
            if let Some(once) = encodings(&list) {
                prop_assert_eq!(encodings(&once), Some(once));
            }
            if let Some(once) = platform(&platform_text) {
                prop_assert_eq!(platform(&once), Some(once));
            }
            let once = languages(&list);
            let text = once.iter().flatten().cloned().collect::<Vec<_>>().join(",");
            prop_assert_eq!(languages(&text), once);
        }

        #[test]
        fn values_do_not_depend_on_the_order_of_a_list(mut list in prop::collection::vec("[a-z]{2,6}", 0..6)) {
            let before = encodings(&list.join(","));
            list.reverse();
            prop_assert_eq!(encodings(&list.join(", ")), before);
        }

        #[test]
        fn values_stay_short(text in ".{0,4000}") {
            let header = Some(text.as_str());
            let features = DeviceFeatures {
                user_agent: header,
                sec_ch_ua: header,
                sec_ch_ua_platform: header,
                sec_ch_ua_mobile: header,
                accept_language: header,
                accept_encoding: header,
                header_order: HeaderOrderClass::Unknown,
            };
            for value in features.stable_values().into_iter().flatten() {
                prop_assert!(value.len() <= 2 * MOST_BYTES);
            }
        }
    }
}
