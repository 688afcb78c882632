//! Frames that are broken, of the wrong size, or where they must not be.

use super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PING, PRIORITY, PUSH_PROMISE,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame,
};
use super::{
    CASE, COMPRESSION_ERROR, Case, Expect, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR,
    STREAM_CLOSED, head, open_head, request,
};

const PROTOCOL: Expect = Expect::Gone(&[PROTOCOL_ERROR]);
/// h2 says `PROTOCOL_ERROR` for whatever it cannot read, where RFC 9113 has codes of their own.
const SIZE: Expect = Expect::Gone(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR]);
const FLOW: Expect = Expect::Gone(&[FLOW_CONTROL_ERROR, PROTOCOL_ERROR]);
const COMPRESSION: Expect = Expect::Gone(&[COMPRESSION_ERROR, PROTOCOL_ERROR]);

pub(super) fn cases() -> Vec<Case> {
    [sizes(), streams(), settings(), blocks(), windows()].concat()
}

fn sizes() -> Vec<Case> {
    vec![
        Case::new("frame-too-large", "RFC 9113 4.2", frame(DATA, 0, 0, vec![0; 20_000]), SIZE),
        Case::new("settings-size", "RFC 9113 6.5", frame(SETTINGS, 0, 0, [0; 5]), SIZE),
        Case::new("settings-ack-size", "RFC 9113 6.5", frame(SETTINGS, ACK, 0, [0; 6]), SIZE),
        Case::new("ping-size", "RFC 9113 6.7", frame(PING, 0, 0, [0; 7]), SIZE),
        Case::new("reset-size", "RFC 9113 6.4", frame(RST_STREAM, 0, CASE, [0; 3]), SIZE),
        Case::new("window-size", "RFC 9113 6.9", frame(WINDOW_UPDATE, 0, 0, [0; 3]), SIZE),
        Case::new(
            "padding-too-long",
            "RFC 9113 6.2",
            frame(HEADERS, END_HEADERS | END_STREAM | PADDED, CASE, [200, 0x82]),
            PROTOCOL,
        ),
        Case::new(
            "data-padding-too-long",
            "RFC 9113 6.1",
            [open_head(&request("/x", &[])), frame(DATA, PADDED, CASE, [9, 1, 2])].concat(),
            Expect::Survived(0),
        ),
        Case::new("priority-size", "RFC 9113 6.3", frame(PRIORITY, 0, CASE, [0; 4]), Expect::Survived(0)),
    ]
}

fn streams() -> Vec<Case> {
    let whole = || head(&request("/x", &[]));
    // The first of them is a good request, which may be under way before the second comes.
    let ours = || head(&request("/healthz", &[]));
    let at = |stream: u32| frame(HEADERS, END_HEADERS | END_STREAM, stream, block(&request("/x", &[])));
    vec![
        Case::new("data-on-connection", "RFC 9113 6.1", frame(DATA, 0, 0, "hello"), PROTOCOL),
        Case::new("headers-on-connection", "RFC 9113 6.2", at(0), PROTOCOL),
        Case::new("settings-on-stream", "RFC 9113 6.5", frame(SETTINGS, 0, CASE, []), PROTOCOL),
        Case::new("ping-on-stream", "RFC 9113 6.7", frame(PING, 0, CASE, [0; 8]), PROTOCOL),
        Case::new("even-stream", "RFC 9113 5.1.1", at(2), PROTOCOL),
        Case::new("data-on-idle", "RFC 9113 5.1", frame(DATA, END_STREAM, CASE, "hello"), PROTOCOL),
        Case::new("reset-of-idle", "RFC 9113 6.4", frame(RST_STREAM, 0, CASE, [0; 4]), PROTOCOL),
        Case::new("window-of-idle", "RFC 9113 5.1", frame(WINDOW_UPDATE, 0, CASE, [0, 0, 0, 1]), PROTOCOL),
        Case::new("stream-used-again", "RFC 9113 5.1.1", [whole(), whole()].concat(), Expect::Survived(1)),
        Case::new("lower-stream", "RFC 9113 5.1.1", [at(5), at(3)].concat(), Expect::Survived(1)),
        Case::new(
            "data-behind-end",
            "RFC 9113 5.1 (half-closed)",
            [whole(), frame(DATA, END_STREAM, CASE, "hello")].concat(),
            Expect::Survived(1),
        ),
        Case::new(
            "data-behind-reset",
            "RFC 9113 5.1",
            [
                open_head(&request("/x", &[])),
                frame(RST_STREAM, 0, CASE, [0, 0, 0, 8]),
                frame(DATA, END_STREAM, CASE, "hello"),
            ]
            .concat(),
            Expect::Survived(1),
        ),
        Case::new(
            "push-promise",
            "RFC 9113 8.4",
            frame(PUSH_PROMISE, END_HEADERS, CASE, [0, 0, 0, 2, 0x82]),
            PROTOCOL,
        ),
        Case::new(
            "stream-depends-on-itself",
            "RFC 7540 5.3.1",
            frame(PRIORITY, 0, CASE, [0, 0, 0, 1, 0]),
            Expect::Survived(0),
        ),
        Case::new(
            "unknown-frame",
            "RFC 9113 5.5: ignored",
            frame(0x7F, 0xFF, 0, "hello"),
            Expect::Survived(0),
        ),
        Case::new(
            "closed-stream-code",
            "RFC 9113 5.1",
            [ours(), frame(RST_STREAM, 0, CASE, [0, 0, 0, 8]), ours()].concat(),
            Expect::Gone(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
    ]
}

fn settings() -> Vec<Case> {
    let setting = |id: &'static str, key: u8, value: [u8; 4], expect| {
        Case::new(id, "RFC 9113 6.5.2", frame(SETTINGS, 0, 0, [&[0, key][..], &value].concat()), expect)
    };
    vec![
        setting("settings-push", 2, [0, 0, 0, 2], PROTOCOL),
        setting("settings-window", 4, [0x80, 0, 0, 0], FLOW),
        setting("settings-frame-small", 5, [0, 0, 0, 1], PROTOCOL),
        setting("settings-frame-large", 5, [1, 0, 0, 0], PROTOCOL),
        setting("settings-unknown", 0x99, [0; 4], Expect::Survived(0)),
        setting("settings-no-table", 1, [0; 4], Expect::Survived(0)),
    ]
}

fn blocks() -> Vec<Case> {
    let coded = |id, source, block: &[u8]| {
        Case::new(id, source, frame(HEADERS, END_HEADERS | END_STREAM, CASE, block), COMPRESSION)
    };
    let fields = block(&request("/continued", &[]));
    let (first, second) = fields.split_at(20);
    let split =
        |between: &[u8], rest: &[u8]| [&frame(HEADERS, END_STREAM, CASE, first)[..], between, rest].concat();
    let rest = || frame(CONTINUATION, END_HEADERS, CASE, second);
    let seen = || Expect::Seen(b"GET /continued HTTP/1.1\r\nHost: app.test\r\n\r\n".to_vec());
    vec![
        coded("index-zero", "RFC 7541 6.1", &[0x80]),
        coded("index-unknown", "RFC 7541 2.3.3", &[0xFF, 0x7F]),
        coded("integer-overflow", "RFC 7541 5.1", &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
        coded("string-cut", "RFC 7541 5.2", &[0x00, 0x7F]),
        coded("huffman-end-of-string", "RFC 7541 5.2", &[0x00, 0x84, 0xFF, 0xFF, 0xFF, 0xFF, 0x00]),
        coded("table-too-large", "RFC 7541 6.3", &[0x3F, 0xFF, 0xFF, 0x7F]),
        Case::new("block-in-two", "RFC 9113 4.3", split(&[], &rest()), seen()),
        Case::new("block-interrupted", "RFC 9113 6.10", split(&frame(PING, 0, 0, [0; 8]), &rest()), PROTOCOL),
        Case::new(
            "block-continued-elsewhere",
            "RFC 9113 6.10",
            split(&[], &frame(CONTINUATION, END_HEADERS, 3, second)),
            PROTOCOL,
        ),
        Case::new("continuation-of-nothing", "RFC 9113 6.10", rest(), PROTOCOL),
        Case::new(
            "continuation-of-whole",
            "RFC 9113 6.10",
            [head(&request("/x", &[])), rest()].concat(),
            Expect::Survived(1),
        ),
    ]
}

fn windows() -> Vec<Case> {
    vec![
        Case::new("window-by-zero", "RFC 9113 6.9", frame(WINDOW_UPDATE, 0, 0, [0; 4]), PROTOCOL),
        Case::new(
            "window-overflow",
            "RFC 9113 6.9.1",
            frame(WINDOW_UPDATE, 0, 0, [0x7F, 0xFF, 0xFF, 0xFF]),
            FLOW,
        ),
        Case::new(
            "window-of-stream-overflow",
            "RFC 9113 6.9.1",
            [open_head(&request("/x", &[])), frame(WINDOW_UPDATE, 0, CASE, [0x7F, 0xFF, 0xFF, 0xFF])]
                .concat(),
            Expect::Reset(&[FLOW_CONTROL_ERROR]),
        ),
        Case::new(
            "window-of-stream-by-zero",
            "RFC 9113 6.9",
            [open_head(&request("/x", &[])), frame(WINDOW_UPDATE, 0, CASE, [0; 4])].concat(),
            Expect::Survived(1),
        ),
    ]
}
