//! Values of the headers that every answer carries, made without formatting machinery.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(crate) fn value(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).unwrap_or_else(|_| HeaderValue::from_static(""))
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

/// Milliseconds with three decimals: `0.042ms`.
pub(crate) fn milliseconds(duration: Duration) -> HeaderValue {
    const CAPACITY: usize = 26;
    let mut text = [0; CAPACITY];
    let mut at = CAPACITY;
    let mut push = |byte: u8| {
        at -= 1;
        if let Some(slot) = text.get_mut(at) {
            *slot = byte;
        }
    };
    push(b's');
    push(b'm');
    let mut rest = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    for digit in 0.. {
        push(b'0' + u8::try_from(rest % 10).unwrap_or(0));
        rest /= 10;
        if digit == 2 {
            push(b'.');
        }
        if digit >= 3 && rest == 0 {
            break;
        }
    }
    HeaderValue::from_bytes(text.get(at..).unwrap_or_default())
        .unwrap_or_else(|_| HeaderValue::from_static("0.000ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_milliseconds() {
        for (micros, text) in
            [(0, "0.000ms"), (7, "0.007ms"), (42, "0.042ms"), (1_234, "1.234ms"), (12_345_678, "12345.678ms")]
        {
            assert_eq!(milliseconds(Duration::from_micros(micros)), text);
        }
        assert_eq!(milliseconds(Duration::MAX), "18446744073709551.615ms");
    }

    #[test]
    fn request_ids_differ_and_carry_the_instance() {
        let ids = RequestIds::new(0xabc);
        assert_eq!(ids.next().as_str(), "000000000abc000000000001");
        assert_eq!(ids.next().as_str(), "000000000abc000000000002");
    }
}
