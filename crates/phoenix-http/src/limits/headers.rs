//! What an answer tells a client of its limits: `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers-11, Lists of Strings after RFC 9651), and `X-RateLimit-*` for older clients.
//! Decides nothing.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use phoenix_limit::{Decision, Rule, Window};

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// The names, in the order of [`Told::values`]: first the two of the draft, then the three older ones.
pub(crate) const LIMIT_HEADERS: [HeaderName; 5] = [
    HeaderName::from_static("ratelimit-policy"),
    RATELIMIT,
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];
/// How many of them are of the draft.
pub(crate) const STANDARD_HEADERS: usize = 2;

/// Bytes that the five values of a rule with one window need, nearly always.
const USUAL_BYTES: usize = 96;

/// A decision, as its client is told of it.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// The values, one after the other.
    text: Bytes,
    /// Where each ends.
    ends: [usize; 5],
    legacy: bool,
    remaining: u32,
}

impl Told {
    /// Of a decision under the rule of the class `class`; `legacy` adds the older headers.
    pub(crate) fn of(class: &str, rule: &Rule, decision: &Decision, legacy: bool) -> Self {
        let windows = rule.windows();
        let window = windows.get(decision.window).copied().unwrap_or_else(|| rule.longest());
        // Who is refused is told one time only: the draft wants `Retry-After` not to be before `t`.
        let wait = if decision.is_admitted() { decision.reset_after } else { decision.retry_after };
        let (remaining, wait) = (u64::from(decision.remaining), seconds_up(wait));
        let mut text = Vec::with_capacity(USUAL_BYTES);
        for (index, each) in windows.iter().enumerate() {
            if index > 0 {
                text.push(b',');
            }
            name(class, each, windows.len(), &mut text);
            text.extend_from_slice(b";q=");
            number(u64::from(each.limit), &mut text);
            text.extend_from_slice(b";w=");
            number(seconds_up(each.span), &mut text);
        }
        let policy = text.len();
        name(class, &window, windows.len(), &mut text);
        text.extend_from_slice(b";r=");
        number(remaining, &mut text);
        text.extend_from_slice(b";t=");
        number(wait, &mut text);
        let mut ends = [policy, text.len(), 0, 0, 0];
        for (end, value) in
            ends[STANDARD_HEADERS..].iter_mut().zip([u64::from(window.limit), remaining, wait])
        {
            number(value, &mut text);
            *end = text.len();
        }
        Self { text: text.into(), ends, legacy, remaining: decision.remaining }
    }

    /// Whether it leaves less room than another.
    pub(crate) const fn is_tighter(&self, than: &Self) -> bool {
        self.remaining < than.remaining
    }

    /// How many of [`LIMIT_HEADERS`] are sent.
    pub(crate) fn count(&self) -> usize {
        if self.legacy { LIMIT_HEADERS.len() } else { STANDARD_HEADERS }
    }

    /// Their values, in their order.
    pub(crate) fn values(self) -> impl Iterator<Item = HeaderValue> {
        let count = self.count();
        let mut start = 0;
        self.ends.into_iter().take(count).map(move |end| {
            let value = self.text.slice(start..end);
            start = end;
            // Names of classes are checked when rules are read; everything else is digits.
            HeaderValue::from_maybe_shared(value).unwrap_or_else(|_| HeaderValue::from_static(""))
        })
    }

    /// Puts them in.
    pub(crate) fn put(self, headers: &mut HeaderMap) {
        for (name, value) in LIMIT_HEADERS.into_iter().zip(self.values()) {
            headers.insert(name, value);
        }
    }
}

/// Puts into an answer what it tells of a limit, if anything. What it tells already, of a limit that refused the
/// request or that the route asked about, stays.
pub(crate) fn tell<B>(told: Option<Told>, response: &mut http::Response<B>) {
    if let Some(told) = told
        && !response.headers().contains_key(RATELIMIT)
    {
        told.put(response.headers_mut());
    }
}

/// Whole seconds, rounded up: who waits that long has waited long enough.
pub(crate) fn seconds_up(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

/// The name of the policy that a decision is about, as it stands between the quotes.
pub(crate) fn policy(class: &str, rule: &Rule, decision: &Decision) -> String {
    let windows = rule.windows();
    let window = windows.get(decision.window).copied().unwrap_or_else(|| rule.longest());
    let mut text = Vec::with_capacity(class.len() + 24);
    name(class, &window, windows.len(), &mut text);
    String::from_utf8_lossy(&text).trim_matches('"').to_owned()
}

/// The name of a policy, as a String of RFC 9651: the class, and of several windows also which one.
fn name(class: &str, window: &Window, windows: usize, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(class.as_bytes());
    if windows > 1 {
        out.push(b'-');
        if window.span.subsec_nanos() == 0 {
            number(window.span.as_secs(), out);
            out.push(b's');
        } else {
            number(u64::try_from(window.span.as_micros()).unwrap_or(u64::MAX), out);
            out.extend_from_slice(b"us");
        }
    }
    out.push(b'"');
}

fn number(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + u8::try_from(value % 10).unwrap_or(0);
        used += 1;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[digits.len() - used..]);
}

#[cfg(test)]
mod tests {
    use phoenix_limit::{Refusal, Verdict};
    use proptest::prelude::*;

    use super::*;

    fn rule(windows: &[(u32, Duration)]) -> Rule {
        let windows: Vec<Window> = windows.iter().map(|&(limit, span)| Window { limit, span }).collect();
        Rule::new(&windows, None).expect("a rule that works")
    }

    fn refused(window: usize, retry_after: Duration) -> Decision {
        let verdict = Verdict::Refused(Refusal::Exceeded);
        Decision { verdict, window, remaining: 0, reset_after: Duration::ZERO, retry_after, at: 0 }
    }

    fn texts(told: Told) -> Vec<String> {
        told.values().map(|value| value.to_str().expect("visible ASCII").to_owned()).collect()
    }

    #[test]
    fn one_window_is_named_by_its_class_and_times_are_rounded_up() {
        let rule = rule(&[(5, Duration::from_mins(15))]);
        let told = Told::of("auth", &rule, &refused(0, Duration::from_micros(119_000_001)), true);
        assert_eq!(told.count(), 5);
        assert_eq!(texts(told), [r#""auth";q=5;w=900"#, r#""auth";r=0;t=120"#, "5", "0", "120"]);
    }

    #[test]
    fn several_windows_are_told_apart() {
        let rule = rule(&[
            (2, Duration::from_millis(500)),
            (10, Duration::from_secs(1)),
            (100, Duration::from_mins(1)),
        ]);
        let told = Told::of("api", &rule, &refused(1, Duration::from_secs(1)), false);
        let policy = r#""api-500000us";q=2;w=1,"api-1s";q=10;w=1,"api-60s";q=100;w=60"#;
        assert_eq!(texts(told), [policy, r#""api-1s";r=0;t=1"#]);
        let named = |window| super::policy("api", &rule, &refused(window, Duration::from_secs(1)));
        assert_eq!([named(0), named(1), named(2)], ["api-500000us", "api-1s", "api-60s"]);
    }

    #[test]
    fn what_an_answer_tells_already_stays() {
        let (strict, loose) = (rule(&[(5, Duration::from_mins(15))]), rule(&[(9, Duration::from_mins(1))]));
        let told = |class, rule| Some(Told::of(class, rule, &refused(0, Duration::from_secs(1)), true));
        let mut response = http::Response::new(());
        tell(told("credentials", &strict), &mut response);
        tell(told("register", &loose), &mut response);
        assert_eq!(response.headers()["ratelimit-policy"], r#""credentials";q=5;w=900"#);
        assert_eq!(response.headers()["x-ratelimit-limit"], "5");
    }

    #[test]
    fn older_headers_are_sent_only_if_switched_on() {
        let rule = rule(&[(5, Duration::from_mins(15))]);
        let mut headers = HeaderMap::new();
        Told::of("auth", &rule, &refused(0, Duration::from_secs(1)), false).put(&mut headers);
        assert_eq!(headers.len(), STANDARD_HEADERS);
        Told::of("auth", &rule, &refused(0, Duration::from_secs(1)), true).put(&mut headers);
        assert_eq!(headers.len(), LIMIT_HEADERS.len());
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_the_standard_library_does(value: u64) {
            let mut out = Vec::new();
            number(value, &mut out);
            prop_assert_eq!(String::from_utf8(out).expect("digits"), value.to_string());
        }

        #[test]
        fn nobody_is_told_a_time_too_short(micros in 0_u64..u64::MAX / 2) {
            let time = Duration::from_micros(micros);
            prop_assert!(Duration::from_secs(seconds_up(time)) >= time);
            prop_assert!(Duration::from_secs(seconds_up(time)) < time + Duration::from_secs(1));
        }
    }
}
