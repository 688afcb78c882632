//! Frames of HAProxy's Stream Processing Offload Protocol, and the messages in them.
//!
//! What is read are parts of what was sent, within the bounds; a message of another name after a question changes
//! nothing; what a client wrote in a header is never the frame's fault.

use phoenix::spoe::{Frame, question, read_frame};
use phoenix_http::Original;

use crate::input;

/// A byte: 0 for messages, else a frame without its length. The rest is that.
pub(crate) fn run(mut data: &[u8]) {
    let is_frame = input::byte(&mut data) != 0;
    if !is_frame {
        return messages(data);
    }
    match read_frame(data) {
        Ok(Frame::Hello(hello)) => assert!((256..=16 * 1024).contains(&hello.max_frame)),
        Ok(Frame::Notify { messages: content, .. }) => {
            assert!(data.ends_with(content));
            messages(content);
        }
        Ok(Frame::Disconnect | Frame::Unknown) | Err(_) => {}
    }
}

fn messages(content: &[u8]) {
    let other = b"\x05other\x01\x01a\x00";
    let more = question(&[content, other].concat()).map(|asked| asked.map(|asked| format!("{asked:?}")));
    let Ok(asked) = question(content) else { return };
    assert_eq!(more, Ok(asked.as_ref().map(|asked| format!("{asked:?}"))));
    let Some(asked) = asked else { return };
    assert!(asked.method.len() + asked.target.len() <= content.len());
    assert_eq!(asked.host, None);
    if let Ok(headers) = &asked.headers {
        assert!(headers.len() <= 256);
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        assert!(bytes <= content.len());
    }
    if let Ok(original) = Original::of_described(asked.clone()) {
        assert_eq!(original.target.as_str().as_bytes(), asked.target);
    }
}
