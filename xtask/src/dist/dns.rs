//! A name server that knows one name. On an address of its own, because resolvers ask port 53 only.

use std::net::UdpSocket;
use std::thread;

use anyhow::{Context, Result};

/// Where it listens.
pub(super) const ADDRESS: &str = "127.0.0.77";
/// Longest question (RFC 1035 section 4.2.1).
const MAX_BYTES: usize = 512;
/// Bytes before the question.
const HEADER_BYTES: usize = 12;
/// Type of an address of IPv4.
const TYPE_A: [u8; 2] = [0, 1];

/// Answers from a thread until the process ends: the name has the address 127.0.0.1, no other name exists.
pub(super) fn serve(name: &'static str) -> Result<()> {
    let socket = UdpSocket::bind((ADDRESS, 53))
        .with_context(|| format!("bind {ADDRESS}:53, which the check of name resolution needs"))?;
    thread::spawn(move || {
        let mut question = [0; MAX_BYTES];
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            if let Some(answer) = question.get(..length).and_then(|question| answer(question, name)) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    Ok(())
}

/// The answer to one question; none to what is no question.
fn answer(question: &[u8], name: &str) -> Option<Vec<u8>> {
    let asked = question.get(HEADER_BYTES..)?;
    let end = asked.iter().position(|byte| *byte == 0)? + 1;
    let kind: [u8; 2] = asked.get(end..end + 2)?.try_into().ok()?;
    let labels: Vec<u8> = name
        .split('.')
        .flat_map(|label| [&[u8::try_from(label.len()).unwrap_or(0)], label.as_bytes()].concat())
        .chain([0])
        .collect();
    let known = asked.get(..end)?.eq_ignore_ascii_case(&labels);
    let answers = u8::from(known && kind == TYPE_A);
    let mut reply = question.get(..2)?.to_vec();
    // A response, recursion desired and available; 3 is "no such name".
    reply.extend([0x81, if known { 0x80 } else { 0x83 }, 0, 1, 0, answers, 0, 0, 0, 0]);
    reply.extend(asked.get(..end + 4)?);
    if answers == 1 {
        // The name of the question, type A, class IN, 60 seconds, 4 bytes.
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(name: &[u8], kind: u8) -> Vec<u8> {
        [&[7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], name, &[0, kind, 0, 1]].concat()
    }

    #[test]
    fn the_one_name_has_an_address_and_others_do_not_exist() {
        let known = answer(&question(b"\x02DB\x04test\0", 1), "db.test").expect("an answer");
        assert_eq!((known[0], known[1], known[3], known[7]), (7, 9, 0x80, 1));
        assert!(known.ends_with(&[127, 0, 0, 1]));
        let of_ipv6 = answer(&question(b"\x02db\x04test\0", 28), "db.test").expect("an answer");
        assert_eq!((of_ipv6[3], of_ipv6[7]), (0x80, 0), "it exists, without such an address");
        let unknown = answer(&question(b"\x05other\0", 1), "db.test").expect("an answer");
        assert_eq!((unknown[3], unknown[7]), (0x83, 0));
        assert!(answer(b"short", "db.test").is_none() && answer(&[1; 20], "db.test").is_none());
    }
}
