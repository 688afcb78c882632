//! Messages between nodes, once their seal was found good.
//!
//! Each message has one form only: what can be read is written as the same bytes. No beginning of a message of fixed
//! length is one.

use phoenix_store::bus::Message;

/// The message without its seal.
pub(crate) fn run(data: &[u8]) {
    let Some(message) = Message::decode(data) else { return };
    assert_eq!(message.encode(), data);
    if let Some((_, beginning)) = data.split_last() {
        assert_eq!(Message::decode(beginning), None, "entries and numbers are whole");
    }
}
