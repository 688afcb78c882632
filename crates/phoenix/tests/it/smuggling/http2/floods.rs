//! Much of what costs a client little: the connection ends, or nothing comes of it.

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, block, frame,
};
use super::{CASE, Case, ENHANCE_YOUR_CALM, Expect, PROTOCOL_ERROR, open_head, request};

/// Most requests of a flood that the application may see: as many as one connection may have under way.
const SOME: u64 = 300;

pub(super) fn cases() -> Vec<Case> {
    let stream = |number: u32| 2 * number + 1;
    let resets: Vec<u8> = (0..450)
        .flat_map(|number| {
            let fields = block(&request("/reset", &[]));
            let head = frame(HEADERS, END_HEADERS | END_STREAM, stream(number), fields);
            [head, frame(RST_STREAM, 0, stream(number), [0, 0, 0, 8])].concat()
        })
        .collect();
    // Each is malformed, so that the server is the one who resets (CVE-2025-8671).
    let made_resets: Vec<u8> = (0..450)
        .flat_map(|number| {
            frame(HEADERS, END_HEADERS | END_STREAM, stream(number), block(&request("/x", &[("te", "gzip")])))
        })
        .collect();
    let piece = block(&[("x-a", "b".repeat(1000))]);
    let begin = frame(HEADERS, END_STREAM, CASE, block(&request("/x", &[])));
    let continued = frame(CONTINUATION, 0, CASE, &piece).repeat(5000);
    let empty = frame(CONTINUATION, 0, CASE, []).repeat(100_000);
    let mut upload = request("/x", &[]);
    "POST".clone_into(&mut upload[0].1);
    let no_data = frame(DATA, 0, CASE, []).repeat(100_000);
    // One field in the table, named again and again (the "bomb" of RFC 7541 section 7.3).
    let mut bomb = vec![0x40, 1, b'x', 0x7F, 0x81, 0x1E];
    bomb.extend_from_slice(&[b'a'; 4000]);
    bomb.extend_from_slice(&[0xBE; 10_000]);
    let bomb = [block(&request("/bomb", &[])), bomb].concat();
    vec![
        Case::new("rapid-reset", "CVE-2023-44487", resets, Expect::Survived(SOME)),
        Case::new(
            "made-you-reset",
            "CVE-2025-8671",
            made_resets,
            Expect::Gone(&[ENHANCE_YOUR_CALM, PROTOCOL_ERROR]),
        ),
        Case::new(
            "continuation-flood",
            "CVE-2024-27316",
            [begin.clone(), continued].concat(),
            Expect::Gone(&[ENHANCE_YOUR_CALM, PROTOCOL_ERROR]),
        ),
        Case::new("continuation-empty-flood", "CVE-2024-27316", [begin, empty].concat(), Expect::Survived(0)),
        Case::new(
            "settings-flood",
            "CVE-2019-9515",
            frame(SETTINGS, 0, 0, [0, 3, 0, 0, 0, 9]).repeat(20_000),
            Expect::Survived(0),
        ),
        Case::new(
            "ping-flood",
            "CVE-2019-9512",
            frame(PING, 0, 0, [7; 8]).repeat(20_000),
            Expect::Survived(0),
        ),
        Case::new(
            "empty-data-flood",
            "CVE-2019-9518",
            [open_head(&upload), no_data].concat(),
            Expect::Survived(1),
        ),
        Case::new(
            "field-bomb",
            "RFC 7541 7.3, CVE-2016-6581",
            frame(HEADERS, END_HEADERS | END_STREAM, CASE, bomb),
            Expect::Gone(&[ENHANCE_YOUR_CALM]),
        ),
    ]
}
