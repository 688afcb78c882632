//! The cases: what a client sends, where that is written down, and what must become of it. `ID` stands for the id of the
//! case. Does not own how they are judged.

pub(super) mod chunks;
pub(super) mod codings;
pub(super) mod connections;
pub(super) mod fields;
pub(super) mod hosts;
pub(super) mod lengths;
pub(super) mod lines;
pub(super) mod sequences;
pub(super) mod targets;

use super::harness::Case;

/// A request that must never be answered.
const SMUGGLED: &[u8] = b"GET /smuggled/ID HTTP/1.1\r\nHost: smuggled.test\r\n\r\n";
/// What cannot be read is answered so.
const BAD: &[u16] = &[400];

/// All of them.
pub(super) fn all() -> Vec<Case> {
    [
        lengths::cases(),
        codings::cases(),
        chunks::cases(),
        lines::cases(),
        targets::cases(),
        hosts::cases(),
        fields::cases(),
        connections::cases(),
        sequences::cases(),
    ]
    .concat()
}

/// A POST with these lines of fields and this body.
fn post(fields: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Vec<u8> {
    [b"POST /ID HTTP/1.1\r\nHost: app.test\r\n", fields.as_ref(), b"\r\n", body.as_ref()].concat()
}

/// A GET with these lines of fields.
fn get(fields: impl AsRef<[u8]>) -> Vec<u8> {
    [b"GET /ID HTTP/1.1\r\nHost: app.test\r\n", fields.as_ref(), b"\r\n"].concat()
}
