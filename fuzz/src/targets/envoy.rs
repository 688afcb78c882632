//! Calls of Envoy's external authorization: the frame of gRPC, and the protobuf message in it.
//!
//! A message is read whole or not at all, has no more fields than are taken, and is not larger in memory than what was
//! sent allows.

use phoenix_http::{CallFailure, EnvoyCall, Original};

use crate::input;

/// A byte: 0 for a message to be framed, else the body as it is. The rest is message or body.
pub(crate) fn run(mut data: &[u8]) {
    let is_message = input::byte(&mut data) == 0;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let body = if is_message { [&[0], &length.to_be_bytes()[..], data].concat() } else { data.to_vec() };
    let read = EnvoyCall::read(&body);
    if let Some((_, beginning)) = body.split_last() {
        assert!(read.is_err() || EnvoyCall::read(beginning).is_err(), "a part is no message");
    }
    // Of a field that nobody knows, so that the message itself could go on with it.
    let more = [&body[..], b"\x78\x01"].concat();
    assert!(read.is_err() || EnvoyCall::read(&more).is_err(), "nothing may follow");
    let compressed = [&[1], body.get(1..).unwrap_or_default()].concat();
    assert!(EnvoyCall::read(&compressed).is_err());
    match read {
        Ok(call) => check(&call, &body),
        Err(CallFailure::Compressed) => assert_ne!(body.first(), Some(&0)),
        Err(_) => {}
    }
}

fn check(call: &EnvoyCall, body: &[u8]) {
    let Some(described) = call.described() else { return };
    assert!(
        described.method.len() + described.target.len() + described.host.map_or(0, <[u8]>::len) <= body.len()
    );
    assert_ne!(described.host, Some(&[][..]));
    if let Ok(headers) = &described.headers {
        assert!(headers.len() <= 256);
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        assert!(bytes <= body.len());
        assert!(headers.keys().all(|name| !name.as_str().starts_with(':')));
    }
    if let Ok(original) = Original::of_described(described.clone()) {
        assert_eq!(original.method.as_str().as_bytes(), described.method);
        assert_eq!(original.target.as_str().as_bytes(), described.target);
    }
}
