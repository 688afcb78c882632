//! Frames of HTTP/2 (RFC 9113 section 4) and field blocks (RFC 7541), written as told, right or wrong, and read as far
//! as tests need it.

/// What a connection begins with.
pub(super) const MARK: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;

/// One frame that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// Takes the first frame off the bytes, if it is there whole.
    pub(super) fn take(bytes: &mut Vec<u8>) -> Option<Self> {
        let head = bytes.get(..9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5] & 0x7F, head[6], head[7], head[8]]);
        let payload = bytes.get(9..9 + length)?.to_vec();
        bytes.drain(..9 + length);
        Some(Self { kind, flags, stream, payload })
    }

    /// Whether it is the last one of its stream.
    pub(super) fn ends(&self) -> bool {
        self.kind == RST_STREAM || matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// The code of a reset, or of the end of the connection.
    pub(super) fn code(&self) -> Option<u32> {
        let at = match self.kind {
            RST_STREAM => 0,
            GOAWAY => 4,
            _ => return None,
        };
        Some(u32::from_be_bytes(self.payload.get(at..at + 4)?.try_into().ok()?))
    }

    /// The status of an answer, which stands first in its block (RFC 9113 section 8.3).
    pub(super) fn status(&self) -> Option<u16> {
        if self.kind != HEADERS {
            return None;
        }
        // A new size of the table may come before (RFC 7541 section 4.2).
        let block = self.payload.strip_prefix(&[0x20]).unwrap_or(&self.payload);
        match *block.first()? {
            // RFC 7541 appendix A.
            0x88 => Some(200),
            0x89 => Some(204),
            0x8A => Some(206),
            0x8B => Some(304),
            0x8C => Some(400),
            0x8D => Some(404),
            0x8E => Some(500),
            0x08 | 0x18 | 0x48 => digits(block.get(1..)?),
            _ => None,
        }
    }
}

/// A string of three digits (RFC 7541 section 5.2 and appendix B).
fn digits(bytes: &[u8]) -> Option<u16> {
    let first = *bytes.first()?;
    let text = bytes.get(1..1 + usize::from(first & 0x7F))?;
    if first & 0x80 == 0 {
        return std::str::from_utf8(text).ok()?.parse().ok();
    }
    let bit = |byte: u8, at: u8| if byte >> (7 - at) & 1 == 1 { '1' } else { '0' };
    let bits: String = text.iter().flat_map(|byte| (0..8).map(move |at| bit(*byte, at))).collect();
    let mut rest = bits.as_str();
    let mut number = 0;
    for _ in 0..3 {
        let (digit, length) = match rest.get(..5)? {
            "00000" => (0, 5),
            "00001" => (1, 5),
            "00010" => (2, 5),
            _ => (u16::from_str_radix(rest.get(..6)?, 2).ok()?.checked_sub(0b01_1001)? + 3, 6),
        };
        number = number * 10 + digit;
        rest = rest.get(length..)?;
    }
    Some(number)
}

/// A frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field block: each field as a literal that is not indexed, with a new name.
pub(super) fn block<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(&mut block, name.as_ref());
        string(&mut block, value.as_ref());
    }
    block
}

fn string(block: &mut Vec<u8>, text: &[u8]) {
    let length = text.len();
    if length < 127 {
        block.push(u8::try_from(length).unwrap());
    } else {
        block.push(127);
        let mut rest = length - 127;
        while rest >= 128 {
            block.push(u8::try_from(rest % 128).unwrap() | 0x80);
            rest /= 128;
        }
        block.push(u8::try_from(rest).unwrap());
    }
    block.extend_from_slice(text);
}
