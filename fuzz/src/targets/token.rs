//! Session tokens, and marks of known devices.
//!
//! What is made reads as itself, and with any other byte in any place as nothing.

use phoenix_auth::model::{Email, KeyRing, KnownDevice, SessionToken, Timestamp, TokenHash};
use phoenix_auth::ports::Entropy;

use crate::input;

/// Two bytes: a place, and what is changed there. The rest is a text, and the randomness of a token.
pub(crate) fn run(mut data: &[u8]) {
    let (place, change) = (input::byte(&mut data), input::byte(&mut data));
    let keys = KeyRing::derive(b"one secret of thirty-two bytes..");
    if let Ok(text) = std::str::from_utf8(data) {
        let token = SessionToken::parse(text);
        assert_eq!(TokenHash::of_presented(text, &keys), token.as_ref().map(|token| token.hash(&keys)));
        assert!(token.is_none_or(|token| token.expose() == text && token == token.clone()));
    }
    let random = Random(data);
    let token = SessionToken::generate(&random);
    for token in [token.successor(&keys), token] {
        let text = token.expose();
        assert_eq!(SessionToken::parse(text).as_ref(), Some(&token));
        if let Some(changed) = changed(text, place, change) {
            assert_eq!(SessionToken::parse(&changed), None, "{changed}");
        }
    }
    let (Ok(account), Ok(other)) = (Email::parse("a@example.com"), Email::parse("b@example.com")) else {
        return;
    };
    let now = Timestamp::from_millis(1_700_000_000_000);
    let device = KnownDevice::mark(now, &random);
    let text = device.to_text(&account.key(), &keys);
    assert_eq!(KnownDevice::parse(&text, &account.key(), &keys, now), Some(device));
    assert_eq!(KnownDevice::parse(&text, &other.key(), &keys, now), None);
    if let Some(changed) = changed(&text, place, change) {
        assert_eq!(KnownDevice::parse(&changed, &account.key(), &keys, now), None, "{changed}");
    }
}

/// The text with another byte at a place.
fn changed(text: &str, place: u8, change: u8) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    let place = usize::from(place) % bytes.len();
    let byte = bytes.get_mut(place)?;
    *byte ^= change & 0x7f;
    String::from_utf8(bytes).ok().filter(|changed| changed != text)
}

/// The engine's bytes as randomness; zeros after their end.
struct Random<'a>(&'a [u8]);

impl Entropy for Random<'_> {
    fn fill(&self, out: &mut [u8]) {
        out.fill(0);
        out.iter_mut().zip(self.0).for_each(|(out, byte)| *out = *byte);
    }
}
