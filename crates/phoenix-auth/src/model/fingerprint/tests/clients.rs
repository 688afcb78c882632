//! Headers of real browsers through their updates, and of programs.

use crate::model::{DeviceFeatures, HeaderOrderClass};

pub(super) const CHROMIUM_ORDER: &[&str] = &[
    "host",
    "connection",
    "sec-ch-ua-platform",
    "user-agent",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "accept",
    "sec-fetch-site",
    "sec-fetch-mode",
    "sec-fetch-dest",
    "referer",
    "accept-encoding",
    "accept-language",
    "cookie",
];
pub(super) const FIREFOX_ORDER: &[&str] = &[
    "host",
    "user-agent",
    "accept",
    "accept-language",
    "accept-encoding",
    "referer",
    "connection",
    "cookie",
    "sec-fetch-dest",
];
pub(super) const SAFARI_ORDER: &[&str] = &[
    "host",
    "accept",
    "sec-fetch-site",
    "accept-language",
    "sec-fetch-mode",
    "accept-encoding",
    "user-agent",
    "cookie",
];
pub(super) const ENGLISH: &str = "en-US,en;q=0.9";
pub(super) const TODAY: &str = "gzip, deflate, br, zstd";
pub(super) const BEFORE_ZSTD: &str = "gzip, deflate, br";

/// A browser of Chromium's family with its hints.
pub(super) fn chromium<'a>(
    agent: &'a str,
    brands: &'a str,
    platform: &'a str,
    mobile: bool,
) -> DeviceFeatures<'a> {
    DeviceFeatures {
        user_agent: Some(agent),
        sec_ch_ua: Some(brands),
        sec_ch_ua_platform: Some(platform),
        sec_ch_ua_mobile: Some(if mobile { "?1" } else { "?0" }),
        accept_language: Some(ENGLISH),
        accept_encoding: Some(TODAY),
        header_order: HeaderOrderClass::of(CHROMIUM_ORDER.iter().copied()),
    }
}

pub(super) fn firefox<'a>(agent: &'a str, encoding: &'a str) -> DeviceFeatures<'a> {
    DeviceFeatures {
        user_agent: Some(agent),
        accept_language: Some("en-US,en;q=0.5"),
        accept_encoding: Some(encoding),
        header_order: HeaderOrderClass::of(FIREFOX_ORDER.iter().copied()),
        ..DeviceFeatures::default()
    }
}

pub(super) fn safari(agent: &str) -> DeviceFeatures<'_> {
    DeviceFeatures {
        user_agent: Some(agent),
        accept_language: Some(ENGLISH),
        accept_encoding: Some(BEFORE_ZSTD),
        header_order: HeaderOrderClass::of(SAFARI_ORDER.iter().copied()),
        ..DeviceFeatures::default()
    }
}

pub(super) fn without_hints(features: DeviceFeatures<'_>) -> DeviceFeatures<'_> {
    DeviceFeatures { sec_ch_ua: None, sec_ch_ua_platform: None, sec_ch_ua_mobile: None, ..features }
}

macro_rules! agent {
    (windows $rest:literal) => {
        concat!("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) ", $rest)
    };
    (macos $rest:literal) => {
        concat!(
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) ",
            $rest
        )
    };
    (linux $rest:literal) => {
        concat!("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) ", $rest)
    };
    (android $rest:literal) => {
        concat!("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) ", $rest)
    };
}

/// `Sec-CH-UA` of Chrome 138 to 143: the made-up brand and the order change with every version.
pub(super) const CHROME_BRANDS: [&str; 6] = [
    r#""Not)A;Brand";v="8", "Chromium";v="138", "Google Chrome";v="138""#,
    r#""Not;A=Brand";v="99", "Google Chrome";v="139", "Chromium";v="139""#,
    r#""Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140""#,
    r#""Google Chrome";v="141", "Not?A_Brand";v="8", "Chromium";v="141""#,
    r#""Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99""#,
    r#""Google Chrome";v="143", "Chromium";v="143", "Not A(Brand";v="24""#,
];
pub(super) const CHROME_WINDOWS: [&str; 6] = [
    agent!(windows "Chrome/138.0.0.0 Safari/537.36"),
    agent!(windows "Chrome/139.0.0.0 Safari/537.36"),
    agent!(windows "Chrome/140.0.0.0 Safari/537.36"),
    agent!(windows "Chrome/141.0.0.0 Safari/537.36"),
    agent!(windows "Chrome/142.0.0.0 Safari/537.36"),
    agent!(windows "Chrome/143.0.0.0 Safari/537.36"),
];
pub(super) const CHROME_LINUX: &str = agent!(linux "Chrome/143.0.0.0 Safari/537.36");
pub(super) const HEADLESS_WINDOWS: &str = agent!(windows "HeadlessChrome/143.0.0.0 Safari/537.36");
pub(super) const CHROME_MACOS: [&str; 3] = [
    agent!(macos "Chrome/138.0.0.0 Safari/537.36"),
    agent!(macos "Chrome/140.0.0.0 Safari/537.36"),
    agent!(macos "Chrome/143.0.0.0 Safari/537.36"),
];
/// The first is from before the agent was reduced: it names the telephone and the true version of Android.
pub(super) const CHROME_ANDROID: [&str; 4] = [
    "Mozilla/5.0 (Linux; Android 13; Pixel 7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/109.0.5414.117 Mobile Safari/537.36",
    agent!(android "Chrome/138.0.0.0 Mobile Safari/537.36"),
    agent!(android "Chrome/141.0.0.0 Mobile Safari/537.36"),
    agent!(android "Chrome/143.0.0.0 Mobile Safari/537.36"),
];
pub(super) const FIREFOX_WINDOWS: [&str; 4] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:109.0) Gecko/20100101 Firefox/115.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0",
];
pub(super) const FIREFOX_LINUX: [&str; 3] = [
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
];
pub(super) const FIREFOX_ANDROID: [&str; 3] = [
    "Mozilla/5.0 (Android 13; Mobile; rv:109.0) Gecko/115.0 Firefox/115.0",
    "Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0",
    "Mozilla/5.0 (Android 16; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0",
];
/// From iOS 26 on the version of the system in the agent stays 18.
pub(super) const SAFARI_IPHONE: [&str; 5] = [
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1",
];
pub(super) const SAFARI_MACOS: [&str; 3] = [
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Safari/605.1.15",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15",
];
pub(super) const SAFARI_IPAD: [&str; 2] = [
    "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1",
];
pub(super) const CHROME_IPHONE: [&str; 2] = [
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/138.0.7204.119 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/143.0.7499.38 Mobile/15E148 Safari/604.1",
];
pub(super) const FIREFOX_IPHONE: [&str; 2] = [
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/128.0 Mobile/15E148 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/145.0 Mobile/15E148 Safari/605.1.15",
];
pub(super) const EDGE_WINDOWS: [(&str, &str); 3] = [
    (
        agent!(windows "Chrome/138.0.0.0 Safari/537.36 Edg/138.0.0.0"),
        r#""Not)A;Brand";v="8", "Chromium";v="138", "Microsoft Edge";v="138""#,
    ),
    (
        agent!(windows "Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0"),
        r#""Microsoft Edge";v="141", "Not?A_Brand";v="8", "Chromium";v="141""#,
    ),
    (
        agent!(windows "Chrome/143.0.0.0 Safari/537.36 Edg/143.0.0.0"),
        r#""Microsoft Edge";v="143", "Chromium";v="143", "Not A(Brand";v="24""#,
    ),
];
pub(super) const OPERA_WINDOWS: [(&str, &str); 2] = [
    (
        agent!(windows "Chrome/137.0.0.0 Safari/537.36 OPR/121.0.0.0"),
        r#""Opera";v="121", "Chromium";v="137", "Not/A)Brand";v="24""#,
    ),
    (
        agent!(windows "Chrome/142.0.0.0 Safari/537.36 OPR/126.0.0.0"),
        r#""Chromium";v="142", "Opera";v="126", "Not_A Brand";v="99""#,
    ),
];
pub(super) const SAMSUNG: [(&str, &str); 2] = [
    (
        agent!(android "SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36"),
        r#""Samsung Internet";v="27.0", "Chromium";v="125", "Not.A/Brand";v="24""#,
    ),
    (
        agent!(android "SamsungBrowser/29.0 Chrome/136.0.0.0 Mobile Safari/537.36"),
        r#""Chromium";v="136", "Samsung Internet";v="29.0", "Not.A/Brand";v="99""#,
    ),
];
pub(super) const WEBVIEW: [(&str, &str); 2] = [
    (
        "Mozilla/5.0 (Linux; Android 14; SM-S918B Build/UP1A.231005.007; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/138.0.7204.63 Mobile Safari/537.36",
        r#""Not)A;Brand";v="8", "Chromium";v="138", "Android WebView";v="138""#,
    ),
    (
        "Mozilla/5.0 (Linux; Android 15; SM-S918B Build/AP3A.240905.015; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/143.0.7499.34 Mobile Safari/537.36",
        r#""Android WebView";v="143", "Chromium";v="143", "Not A(Brand";v="24""#,
    ),
];

pub(super) fn chrome_on_windows() -> DeviceFeatures<'static> {
    chromium(CHROME_WINDOWS[5], CHROME_BRANDS[5], "\"Windows\"", false)
}

pub(super) fn chrome_on_android() -> DeviceFeatures<'static> {
    chromium(CHROME_ANDROID[3], CHROME_BRANDS[5], "\"Android\"", true)
}

/// Every browser above through its updates, one row a device.
pub(super) fn devices() -> Vec<(&'static str, Vec<DeviceFeatures<'static>>)> {
    let family = |versions: &'static [(&str, &str)], platform, mobile| {
        versions.iter().map(|(agent, brands)| chromium(agent, brands, platform, mobile)).collect::<Vec<_>>()
    };
    let chrome = |agents: &'static [&str], platform, mobile| {
        let brands = CHROME_BRANDS.iter().cycle();
        agents
            .iter()
            .zip(brands)
            .map(|(agent, brands)| chromium(agent, brands, platform, mobile))
            .collect::<Vec<_>>()
    };
    let gecko = |agents: &'static [&str]| {
        // Firefox 115 did not offer zstd.
        let encodings = [BEFORE_ZSTD, TODAY, TODAY, TODAY];
        agents.iter().zip(encodings).map(|(agent, encoding)| firefox(agent, encoding)).collect::<Vec<_>>()
    };
    let webkit = |agents: &'static [&str]| agents.iter().map(|agent| safari(agent)).collect::<Vec<_>>();
    vec![
        ("Chrome on Windows", chrome(&CHROME_WINDOWS, "\"Windows\"", false)),
        ("Chrome on macOS", chrome(&CHROME_MACOS, "\"macOS\"", false)),
        ("Chrome on Android", chrome(&CHROME_ANDROID, "\"Android\"", true)),
        ("Firefox on Windows", gecko(&FIREFOX_WINDOWS)),
        ("Firefox on Linux", gecko(&FIREFOX_LINUX)),
        ("Firefox on Android", gecko(&FIREFOX_ANDROID)),
        ("Safari on iPhone", webkit(&SAFARI_IPHONE)),
        ("Safari on macOS", webkit(&SAFARI_MACOS)),
        ("Chrome on iPhone", webkit(&CHROME_IPHONE)),
        ("Firefox on iPhone", webkit(&FIREFOX_IPHONE)),
        ("Edge on Windows", family(&EDGE_WINDOWS, "\"Windows\"", false)),
        ("Opera on Windows", family(&OPERA_WINDOWS, "\"Windows\"", false)),
        ("Samsung Internet", family(&SAMSUNG, "\"Android\"", true)),
        ("WebView in an app", family(&WEBVIEW, "\"Android\"", true)),
    ]
}

/// Programs with the headers they send unasked, or with what a script usually adds.
pub(super) fn programs() -> Vec<(&'static str, DeviceFeatures<'static>)> {
    let program = |agent, encoding| DeviceFeatures {
        user_agent: agent,
        accept_encoding: encoding,
        ..DeviceFeatures::default()
    };
    vec![
        ("curl", program(Some("curl/8.5.0"), None)),
        ("curl --compressed", program(Some("curl/8.5.0"), Some("deflate, gzip, br, zstd"))),
        ("python-requests", program(Some("python-requests/2.32.3"), Some("gzip, deflate"))),
        ("aiohttp", program(Some("Python/3.12 aiohttp/3.9.5"), Some("gzip, deflate, br"))),
        ("Go", program(Some("Go-http-client/2.0"), Some("gzip"))),
        ("node", program(Some("node"), Some("gzip, deflate"))),
        ("no agent", program(None, None)),
        ("empty agent", program(Some(""), Some("gzip, deflate, br, zstd"))),
    ]
}
