//! What a session shows of the device it was opened on.

use serde::{Deserialize, Serialize};

/// Longest kept `User-Agent` in bytes.
const MAX_BYTES: usize = 512;

/// A `User-Agent` header, cut to 512 bytes, control characters removed. Client input: never trusted, only shown.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserAgent(String);

impl UserAgent {
    /// Keeps what may be kept.
    #[must_use]
    pub fn new(header: &str) -> Self {
        let mut text = String::with_capacity(header.len().min(MAX_BYTES));
        for c in header.chars().filter(|c| !c.is_control()) {
            if text.len() + c.len_utf8() > MAX_BYTES {
                break;
            }
            text.push(c);
        }
        Self(text)
    }

    /// The kept text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Marks of browsers in a `User-Agent`, and the name of the family.
///
/// Order matters: a page shown inside an app, Edge, Opera and Samsung name Chrome too, and Chrome names Safari.
const BROWSERS: [(&str, &str); 18] = [
    ("; wv)", "Android WebView"),
    ("HeadlessChrome/", "Headless Chrome"),
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("OPT/", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("YaBrowser/", "Yandex Browser"),
    ("DuckDuckGo/", "DuckDuckGo"),
    ("Ddg/", "DuckDuckGo"),
    ("GSA/", "Google app"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("Trident/", "Internet Explorer"),
];
const PLATFORMS: [(&str, &str); 8] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Macintosh", "macOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
];

/// A short name for the device, such as `Firefox on Linux` or `curl`, from the `User-Agent`.
///
/// Browser family and platform only, no version: an update does not make another device of it.
#[must_use]
pub fn device_label(agent: &UserAgent) -> String {
    let text = agent.as_str();
    match (browser_family(text), platform(text)) {
        (Some(browser), Some(platform)) => format!("{browser} on {platform}"),
        (Some(browser), None) => browser.to_owned(),
        (None, Some(platform)) => format!("Unknown on {platform}"),
        (None, None) => product_name(text).unwrap_or("Unknown device").to_owned(),
    }
}

/// The family of the browser that sent `agent`, without version.
pub(super) fn browser_family(agent: &str) -> Option<&'static str> {
    name_by_mark(&BROWSERS, agent)
}

/// The platform it runs on, without version: an operating system, or `iPhone` or `iPad`.
pub(super) fn platform(agent: &str) -> Option<&'static str> {
    name_by_mark(&PLATFORMS, agent)
}

/// The product token in front of `/`, if it looks like one: `curl/8.5.0` is `curl`.
pub(super) fn product_name(agent: &str) -> Option<&str> {
    let name = agent.split(['/', ' ']).next().unwrap_or("");
    let plain = !name.is_empty()
        && name.len() <= 32
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    plain.then_some(name)
}

fn name_by_mark(table: &[(&str, &'static str)], text: &str) -> Option<&'static str> {
    table.iter().find(|(mark, _)| text.contains(mark)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_browsers_without_versions() {
        let cases = [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
                "Safari on iPhone",
            ),
            (
                "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            (
                "Mozilla/5.0 (Linux; Android 15; Pixel 8; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/142.0.0.0 Mobile Safari/537.36",
                "Android WebView on Android",
            ),
            ("curl/8.5.0", "curl"),
            ("", "Unknown device"),
            ("<script>", "Unknown device"),
        ];
        for (agent, label) in cases {
            assert_eq!(device_label(&UserAgent::new(agent)), label);
        }
    }

    #[test]
    fn a_user_agent_is_cut_and_cleaned() {
        assert_eq!(UserAgent::new("a\r\nb\0c").as_str(), "abc");
        assert!(UserAgent::new(&"é".repeat(600)).as_str().len() <= MAX_BYTES);
    }
}
