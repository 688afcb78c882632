//! Fingerprints of real clients: what an update sends must stay the same device, a cookie that moved must not.

mod clients;

use proptest::prelude::*;

use super::*;
use clients::*;

fn keys() -> KeyRing {
    KeyRing::derive(b"a secret for tests")
}

fn print(features: DeviceFeatures<'_>) -> Fingerprint {
    Fingerprint::of(&features, &keys())
}

fn apart(one: DeviceFeatures<'_>, other: DeviceFeatures<'_>) -> u8 {
    let (one, other) = (print(one), print(other));
    assert_eq!(one.difference(&other), other.difference(&one), "not symmetric");
    one.difference(&other)
}

// spec: A4
#[test]
fn an_update_of_browser_or_system_is_the_same_device() {
    for (name, versions) in devices() {
        for one in &versions {
            for other in &versions {
                assert_eq!(apart(*one, *other), 0, "{name}: {:?} {:?}", one.user_agent, other.user_agent);
            }
        }
    }
}

// spec: A4
#[test]
fn another_browser_or_system_is_another_device() {
    let devices = devices();
    for (index, (name, versions)) in devices.iter().enumerate() {
        for (other_name, other_versions) in &devices[index + 1..] {
            for (one, other) in versions.iter().zip(other_versions) {
                let score = apart(*one, *other);
                assert!(score >= 60, "{name} and {other_name}: {score}");
            }
        }
    }
}

// spec: A4
#[test]
fn a_program_that_replays_a_cookie_is_another_device() {
    for (name, versions) in devices() {
        for (program, features) in programs() {
            for version in &versions {
                let score = apart(*version, features);
                assert!(score > 70, "{name} and {program}: {score}");
            }
        }
    }
}

/// A script that copies the agent only lacks the rest of what a browser sends.
#[test]
fn a_copied_agent_alone_is_not_enough() {
    for (name, versions) in devices() {
        for version in &versions {
            let script = DeviceFeatures { user_agent: version.user_agent, ..DeviceFeatures::default() };
            let score = apart(*version, script);
            assert!(score >= Fingerprint::CHANGED, "{name}: {score}");
        }
    }
}

#[test]
fn hints_that_contradict_a_copied_agent_are_noticed() {
    let stolen = chrome_on_windows();
    let elsewhere = DeviceFeatures { sec_ch_ua_platform: Some("\"Linux\""), ..stolen };
    assert!(apart(stolen, elsewhere) >= Fingerprint::CHANGED);
    let brave = r#""Brave";v="143", "Chromium";v="143", "Not A(Brand";v="24""#;
    assert!(apart(stolen, DeviceFeatures { sec_ch_ua: Some(brave), ..stolen }) >= Fingerprint::CHANGED);
    let headless = HEADLESS_WINDOWS;
    assert!(apart(stolen, DeviceFeatures { user_agent: Some(headless), ..stolen }) >= Fingerprint::CHANGED);
}

#[test]
fn the_same_browser_on_another_system_is_decisive() {
    let chrome = chrome_on_windows();
    let macos = chromium(CHROME_MACOS[2], CHROME_BRANDS[5], "\"macOS\"", false);
    let linux = chromium(CHROME_LINUX, CHROME_BRANDS[5], "\"Linux\"", false);
    for other in [macos, linux, chrome_on_android()] {
        assert!(apart(chrome, other) > 60);
    }
    assert!(apart(firefox(FIREFOX_WINDOWS[3], TODAY), firefox(FIREFOX_LINUX[2], TODAY)) > 60);
    assert!(apart(without_hints(chrome), without_hints(macos)) > 60);
}

// spec: A4
#[test]
fn what_people_change_stays_small() {
    let chrome = chrome_on_windows();
    let small = |changed| {
        let score = apart(chrome, changed);
        assert!(score < 25, "{score}");
        score
    };
    // A site without TLS, or a privacy setting.
    assert!(small(without_hints(chrome)) > 0);
    // A language added, and then moved to the front.
    small(DeviceFeatures { accept_language: Some("en-US,en;q=0.9,de;q=0.8"), ..chrome });
    small(DeviceFeatures { accept_language: Some("de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7"), ..chrome });
    let (english_first, german_first) = ("en-US,en;q=0.9,de;q=0.8", "de,en-US;q=0.9,en;q=0.8");
    let with = |languages| DeviceFeatures { accept_language: Some(languages), ..chrome };
    assert_eq!(apart(with(english_first), with(german_first)), 0);
    // Over plain HTTP a browser offers neither br nor zstd.
    assert_eq!(small(DeviceFeatures { accept_encoding: Some("gzip, deflate"), ..chrome }), 0);
    // A region, not a language.
    assert_eq!(small(DeviceFeatures { accept_language: Some("en-GB,en;q=0.8"), ..chrome }), 0);
    // A proxy in front of Phoenix that sorts headers and asks for its own encodings.
    let sorted = HeaderOrderClass::of(["accept", "accept-encoding", "accept-language", "user-agent"]);
    let proxied = DeviceFeatures { accept_encoding: Some("gzip, br"), header_order: sorted, ..chrome };
    assert!(apart(chrome, proxied) <= 25);
    assert!(apart(chrome, without_hints(proxied)) < Fingerprint::CHANGED);
    // Another language altogether.
    assert!(apart(chrome, with("fr-FR,fr;q=0.9")) < Fingerprint::CHANGED);
}

// spec: A4
#[test]
fn an_ipad_is_one_device_in_every_window() {
    for narrow in SAFARI_IPAD {
        for wide in SAFARI_MACOS {
            assert!(apart(safari(narrow), safari(wide)) < 25);
        }
    }
}

#[test]
fn changes_are_named() {
    let chrome = chrome_on_windows();
    let (one, other) =
        (print(chrome), print(DeviceFeatures { accept_language: None, ..without_hints(chrome) }));
    assert_eq!(one.changes(&other).collect::<Vec<_>>(), ["brands", "platform", "mobile", "language"]);
    assert_eq!(one.changes(&one).count(), 0);
    let (named, bare) = (print(safari(SAFARI_MACOS[0])), print(DeviceFeatures::default()));
    let all: Vec<_> = named.changes(&bare).collect();
    assert_eq!(all, ["browser", "system", "engine", "form", "encodings", "header order", "language"]);
}

#[test]
fn what_is_kept_shows_nothing() {
    let kept = print(chrome_on_windows());
    let shown = format!("{kept:?}");
    assert_eq!(
        shown,
        r#"Fingerprint["browser", "system", "engine", "form", "brands", "platform", "mobile", "encodings", "header order", "language"]"#
    );
    assert_eq!(format!("{:?}", print(DeviceFeatures::default())), "Fingerprint[]");
    let other_secret = Fingerprint::of(&chrome_on_windows(), &KeyRing::derive(b"another secret"));
    assert_eq!(kept.difference(&other_secret), 100);
    assert_eq!(print(DeviceFeatures::default()).to_bytes()[3..], [0; Fingerprint::BYTES - 3]);
}

/// Fingerprints lie in databases. Whoever makes this fail raises [`VERSION`] and writes the new form here: a session
/// with the old one is then not known, instead of being another device.
#[test]
fn the_stored_form_of_a_version_never_changes() {
    assert_eq!(
        print(chrome_on_windows()).to_hex(),
        "0104009b935d118bf65e53ba75223ca864cdb59aa2c9c6cabb8165d9bbfe8356c281d675a731e457fc7bba00000000"
    );
    assert_eq!(
        print(safari(SAFARI_IPHONE[4])).to_hex(),
        "01047034b593684e032ff158b1fef686637bf500000000000000000000000056c281d6c4f6546b57fc7bba00000000"
    );
}

#[test]
fn only_the_stored_form_of_this_version_is_read() {
    let kept = print(chrome_on_windows());
    let bytes = kept.to_bytes();
    assert_eq!(Fingerprint::from_bytes(&bytes), Some(kept));
    assert_eq!(Fingerprint::from_bytes(&bytes[1..]), None);
    assert_eq!(Fingerprint::from_bytes(&[]), None);
    assert_eq!(Fingerprint::from_bytes(&[bytes.as_slice(), &[0]].concat()), None);
    let with = |at: usize, value: u8| {
        let mut changed = bytes;
        changed[at] = value;
        Fingerprint::from_bytes(&changed)
    };
    assert_eq!(with(0, VERSION + 1), None);
    assert_eq!(with(1, 0xff), None, "a feature that does not exist");
    assert_eq!(with(2, bytes[2] | 1), None, "absent, yet hashed");
}

/// Every value in the clear, compared by the same weights: a model without hashes, slots and bits.
fn model(one: DeviceFeatures<'_>, other: DeviceFeatures<'_>) -> u8 {
    let (mut one, mut other) = (one.stable_values().to_vec(), other.stable_values().to_vec());
    let set =
        |values: Vec<Option<String>>| values.into_iter().flatten().collect::<std::collections::BTreeSet<_>>();
    let (mine, theirs) = (set(one.split_off(9)), set(other.split_off(9)));
    let mut sum: u32 = match (mine.is_empty(), theirs.is_empty()) {
        (true, true) => 0,
        (true, false) | (false, true) => 30,
        _ if mine == theirs => 0,
        _ if mine.is_disjoint(&theirs) => 35,
        _ => 12,
    };
    let weights = [(60, 40), (65, 33), (10, 5), (20, 8), (55, 8), (55, 6), (20, 4), (15, 13), (10, 8)];
    for ((one, other), (differs, one_sided)) in one.into_iter().zip(other).zip(weights) {
        if one != other {
            sum += if one.is_some() && other.is_some() { differs } else { one_sided };
        }
    }
    u8::try_from(sum.min(100)).expect("at most 100")
}

/// Headers of one device or another, mixed, missing or nonsense.
fn any_header(
    real: fn(&DeviceFeatures<'static>) -> Option<&'static str>,
) -> impl Strategy<Value = Option<String>> {
    let values: Vec<Option<String>> = devices()
        .iter()
        .flat_map(|(_, versions)| versions)
        .map(|features| real(features).map(str::to_owned))
        .collect();
    prop_oneof![
        6 => prop::sample::select(values),
        1 => Just(None),
        1 => any::<String>().prop_map(Some),
        1 => prop::collection::vec(any::<u8>(), 0..9_000)
            .prop_map(|bytes| Some(String::from_utf8_lossy(&bytes).into_owned())),
        1 => "[\",;=?/ a-zA-Z0-9-]{0,60}".prop_map(Some),
    ]
}

#[derive(Clone, Debug)]
struct Headers {
    texts: [Option<String>; 6],
    order: HeaderOrderClass,
}

impl Headers {
    fn features(&self) -> DeviceFeatures<'_> {
        let [agent, brands, platform, mobile, language, encoding] =
            self.texts.each_ref().map(Option::as_deref);
        DeviceFeatures {
            user_agent: agent,
            sec_ch_ua: brands,
            sec_ch_ua_platform: platform,
            sec_ch_ua_mobile: mobile,
            accept_language: language,
            accept_encoding: encoding,
            header_order: self.order,
        }
    }
}

fn any_headers() -> impl Strategy<Value = Headers> {
    let texts = (
        any_header(|features| features.user_agent),
        any_header(|features| features.sec_ch_ua),
        any_header(|features| features.sec_ch_ua_platform),
        any_header(|features| features.sec_ch_ua_mobile),
        prop::option::of(prop::sample::select(vec!["en", "de,en", "en-GB,de", "fr", "*", "fr,de,en"])),
        any_header(|features| features.accept_encoding),
    );
    let orders = [CHROMIUM_ORDER, FIREFOX_ORDER, SAFARI_ORDER, &[]];
    (texts, prop::sample::select(orders.to_vec())).prop_map(|(texts, order)| {
        let (agent, brands, platform, mobile, language, encoding) = texts;
        Headers {
            texts: [agent, brands, platform, mobile, language.map(str::to_owned), encoding],
            order: HeaderOrderClass::of(order.iter().copied()),
        }
    })
}

proptest! {
    #[test]
    fn difference_is_what_the_model_says(one in any_headers(), other in any_headers()) {
        let (a, b) = (print(one.features()), print(other.features()));
        prop_assert_eq!(a.difference(&b), model(one.features(), other.features()));
        prop_assert_eq!(a.difference(&b), b.difference(&a));
        prop_assert!(a.difference(&b) <= 100);
        prop_assert_eq!(a.difference(&a), 0);
        prop_assert_eq!(a == b, a.difference(&b) == 0);
        prop_assert_eq!(a.difference(&b) > 0, a.changes(&b).count() > 0);
    }

    #[test]
    fn the_stored_form_is_read_back(headers in any_headers()) {
        let kept = print(headers.features());
        prop_assert_eq!(Fingerprint::from_bytes(&kept.to_bytes()), Some(kept));
        let json = serde_json::to_string(&kept).expect("serialises");
        prop_assert_eq!(json.len(), 2 * Fingerprint::BYTES + 2);
        prop_assert_eq!(serde_json::from_str::<Fingerprint>(&json).ok(), Some(kept));
    }

    #[test]
    fn garbage_is_no_fingerprint(mut bytes in prop::collection::vec(any::<u8>(), 0..100), text in any::<String>()) {
        if let Some(read) = Fingerprint::from_bytes(&bytes) {
            prop_assert_eq!(&read.to_bytes()[..], &bytes[..]);
        }
        bytes.insert(0, VERSION);
        bytes.resize(Fingerprint::BYTES, 0);
        if let Some(read) = Fingerprint::from_bytes(&bytes) {
            prop_assert_eq!(&read.to_bytes()[..], &bytes[..]);
        }
        prop_assert!(Fingerprint::from_hex(&text).is_none());
    }
}
