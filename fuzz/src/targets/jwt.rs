//! Tokens of outside providers before anything of them is believed: the compact form of a JWS and its header.
//!
//! One text only stands for given parts: taken apart and written again, a token is the same. What is signed is what was
//! sent.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use phoenix_identity::{Jws, MAX_TOKEN_BYTES};

use crate::input;

/// A byte: 0 for a header and a payload, which are encoded, with a zero byte between them; else the token as it is.
pub(crate) fn run(mut data: &[u8]) {
    let is_encoded = input::byte(&mut data) != 0;
    if is_encoded {
        if let Ok(token) = std::str::from_utf8(data) {
            check(token);
        }
        return;
    }
    let mut parts = data.splitn(2, |byte| *byte == 0).map(|part| URL_SAFE_NO_PAD.encode(part));
    let (header, payload) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    check(&format!("{header}.{payload}.c2lnbmF0dXJl"));
}

fn check(token: &str) {
    let Ok(jws) = Jws::parse(token) else { return };
    assert!(token.len() <= MAX_TOKEN_BYTES);
    assert_eq!(format!("{}.{}", jws.signing_input, URL_SAFE_NO_PAD.encode(&jws.signature)), token);
    let payload = jws.signing_input.split('.').nth(1);
    assert_eq!(payload, Some(&*URL_SAFE_NO_PAD.encode(&jws.payload)));
    assert!(Jws::parse(&format!("{token}.")).is_err());
    assert!(Jws::parse(&format!("{token}=")).is_err());
    assert!(Jws::parse(&format!(" {token}")).is_err());
}
