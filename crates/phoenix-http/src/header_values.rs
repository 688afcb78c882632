//! Values of the headers that every answer carries, made without formatting machinery.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

pub(crate) const X_RESPONSE_TIME: HeaderName = HeaderName::from_static("x-response-time");
pub(crate) const X_TOTAL_TIME: HeaderName = HeaderName::from_static("x-total-time");
pub(crate) const X_AUTH_TIME: HeaderName = HeaderName::from_static("x-auth-time");
pub(crate) const X_CACHE_HIT: HeaderName = HeaderName::from_static("x-cache-hit");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const X_PHOENIX_VERSION: HeaderName = HeaderName::from_static("x-phoenix-version");
pub(crate) const X_SYSTEM_STATUS: HeaderName = HeaderName::from_static("x-system-status");

/// Gives out request ids: unique over processes and restarts, cheap, and no secret.
#[derive(Debug)]
pub(crate) struct RequestIds {
    instance: u64,
    next: AtomicU64,
}

/// The id of one request: 24 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RequestId([u8; 24]);

impl RequestIds {
    pub(crate) const fn new(instance: u64) -> Self {
        Self { instance, next: AtomicU64::new(1) }
    }

    pub(crate) fn next(&self) -> RequestId {
        let mut text = [0; 24];
        let (instance, count) = text.split_at_mut(12);
        hex(self.instance, instance);
        hex(self.next.fetch_add(1, Ordering::Relaxed), count);
        RequestId(text)
    }
}

impl RequestId {
    /// As the value of a header.
    pub(crate) fn value(&self) -> HeaderValue {
        value(Bytes::copy_from_slice(&self.0))
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Lowest digits of `number`, most significant first.
fn hex(mut number: u64, out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for slot in out.iter_mut().rev() {
        *slot = DIGITS.get((number & 15) as usize).copied().unwrap_or(b'0');
        number >>= 4;
    }
}

/// Values that differ with every request: its id, its total time, its time for authentication. One allocation holds
/// all three.
pub(crate) fn trace_values(id: &RequestId, total: Duration, auth: Duration) -> [HeaderValue; 3] {
    let mut text = Text { bytes: [0; TEXT_BYTES], used: 0 };
    let ends = [text.push(&id.0), text.milliseconds(total), text.milliseconds(auth)];
    let text = Bytes::from_owner(text);
    let mut start = 0;
    ends.map(|end| value(text.slice(std::mem::replace(&mut start, end)..end)))
}

/// Digits and letters.
fn value(text: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// `u64::MAX` microseconds have this many digits before the decimals.
const DIGITS: usize = 17;
/// An id and two times, each with its decimals and its unit.
const TEXT_BYTES: usize = 24 + 2 * (DIGITS + 6);

/// The text of several values.
struct Text {
    bytes: [u8; TEXT_BYTES],
    used: usize,
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }
}

impl Text {
    /// Adds this, as far as there is room, and says where it ends.
    fn push(&mut self, text: &[u8]) -> usize {
        let end = self.used + text.len();
        if let Some(room) = self.bytes.get_mut(self.used..end) {
            room.copy_from_slice(text);
            self.used = end;
        }
        self.used
    }

    /// Milliseconds with three decimals: `0.042ms`.
    fn milliseconds(&mut self, duration: Duration) -> usize {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let digit = |value: u64| b'0' + u8::try_from(value % 10).unwrap_or(0);
        let mut whole = [0; DIGITS];
        let (mut rest, mut used) = (micros / 1000, 0);
        for slot in whole.iter_mut().rev() {
            *slot = digit(rest);
            used += 1;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.push(whole.get(DIGITS - used..).unwrap_or_default());
        self.push(&[b'.', digit(micros / 100), digit(micros / 10), digit(micros), b'm', b's'])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_milliseconds() {
        for (micros, text) in
            [(0, "0.000ms"), (7, "0.007ms"), (42, "0.042ms"), (1_234, "1.234ms"), (12_345_678, "12345.678ms")]
        {
            let [_, total, auth] =
                trace_values(&RequestIds::new(0).next(), Duration::from_micros(micros), Duration::MAX);
            assert_eq!(total, text);
            assert_eq!(auth, "18446744073709551.615ms");
        }
        let longest = trace_values(&RequestIds::new(0).next(), Duration::MAX, Duration::MAX);
        assert_eq!(longest.map(|value| value.len()), [24, DIGITS + 6, DIGITS + 6], "there is room for all");
    }

    #[test]
    fn request_ids_differ_and_carry_the_instance() {
        let ids = RequestIds::new(0xabc);
        assert_eq!(ids.next().as_str(), "000000000abc000000000001");
        assert_eq!(ids.next().value(), "000000000abc000000000002");
    }
}
