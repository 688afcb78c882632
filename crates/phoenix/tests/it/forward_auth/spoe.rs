//! HAProxy's questions as frames, byte by byte (HAProxy 2.6, `doc/SPOE.txt`, section 3), and through HAProxy itself.

use phoenix_testkit::http::Client;
use phoenix_testkit::programs::Kind;
use phoenix_testkit::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::SOON;
use super::app::App;
use super::support::{Beside, proxy};

const STRING: u8 = 8;
const UINT32: u8 = 3;
/// The only frame of its message.
const FIN: [u8; 4] = [0, 0, 0, 1];

fn number(mut value: usize) -> Vec<u8> {
    let low = |value: usize, flag: u8| u8::try_from(value & 0xff).unwrap() | flag;
    if value < 0xf0 {
        return vec![low(value, 0)];
    }
    let mut out = vec![low(value, 0xf0)];
    value = (value - 0xf0) >> 4;
    while value >= 0x80 {
        out.push(low(value, 0x80));
        value = (value - 0x80) >> 7;
    }
    out.push(low(value, 0));
    out
}

fn bytes(bytes: &[u8]) -> Vec<u8> {
    [number(bytes.len()), bytes.to_vec()].concat()
}

fn string(text: &[u8]) -> Vec<u8> {
    [vec![STRING], bytes(text)].concat()
}

fn frame(kind: u8, frame: u8, payload: &[u8]) -> Vec<u8> {
    let content = [&[kind], &FIN[..], &[0, frame], payload].concat();
    [&u32::try_from(content.len()).unwrap().to_be_bytes()[..], &content].concat()
}

fn hello() -> Vec<u8> {
    let size = [vec![UINT32], number(16_380)].concat();
    let pairs: [(&str, Vec<u8>); 3] = [
        ("supported-versions", string(b"2.0")),
        ("max-frame-size", size),
        ("capabilities", string(b"pipelining")),
    ];
    frame(1, 0, &pairs.map(|(name, value)| [bytes(name.as_bytes()), value].concat()).concat())
}

fn question(id: u8, headers: &[(&str, &str)]) -> Vec<u8> {
    let fields = headers.iter().chain(&[("", "")]);
    let fields: Vec<u8> =
        fields.flat_map(|(name, value)| [bytes(name.as_bytes()), bytes(value.as_bytes())].concat()).collect();
    let arguments =
        [("method", string(b"GET")), ("target", string(b"/open/x")), ("headers", string(&fields))];
    let arguments = arguments.map(|(name, value)| [bytes(name.as_bytes()), value].concat()).concat();
    frame(3, id, &[bytes(b"verify"), vec![3], arguments].concat())
}

async fn next(stream: &mut TcpStream) -> Vec<u8> {
    let read = async {
        let length = stream.read_u32().await.unwrap();
        let mut frame = vec![0; length as usize];
        stream.read_exact(&mut frame).await.unwrap();
        frame
    };
    tokio::time::timeout(SOON, read).await.expect("a frame")
}

fn holds(frame: &[u8], part: &[u8]) -> bool {
    frame.windows(part.len()).any(|window| window == part)
}

// spec: G2
#[tokio::test]
async fn a_bad_header_is_refused_and_the_questions_beside_it_are_answered() {
    let beside = Beside::start();
    let mut stream = TcpStream::connect(beside.spoe).await.unwrap();
    stream.write_all(&hello()).await.unwrap();
    assert_eq!(next(&mut stream).await[0], 101, "the agent's hello");
    let many = vec![("a", "b"); 257];
    let questions = [
        question(1, &[("host", "app")]),
        question(2, &[("host", "app"), ("x-bad", "a\u{1}b")]),
        question(3, &many),
        question(4, &[("host", "app")]),
    ];
    stream.write_all(&questions.concat()).await.unwrap();
    for _ in &questions {
        let answer = next(&mut stream).await;
        assert_eq!(answer[0], 103, "an answer, and no goodbye: {}", String::from_utf8_lossy(&answer));
        let status = |status| holds(&answer, &[bytes(b"status"), vec![UINT32], number(status)].concat());
        let (expected, reason) = match answer[6] {
            2 => (400, "that HTTP does not know"),
            3 => (400, "more than 256 header fields"),
            _ => (200, "status"),
        };
        assert!(status(expected), "{expected}: {}", String::from_utf8_lossy(&answer));
        assert!(holds(&answer, reason.as_bytes()), "{}", String::from_utf8_lossy(&answer));
        assert_eq!(holds(&answer, b"malformed-request"), expected == 400);
    }
    // A frame that cannot be read is the end.
    stream.write_all(&frame(3, 5, b"\xff")).await.unwrap();
    assert_eq!(next(&mut stream).await[0], 102, "goodbye");
}

#[tokio::test]
async fn who_sends_a_bad_header_through_haproxy_is_refused() {
    let (beside, app) = (Beside::start(), App::start());
    let proxy = proxy(Kind::HaProxy, &beside, &app);
    let client = Client::new(proxy.address());
    wait::until(SOON, "the application through the proxy", || async {
        client.get("/open/up").send().await.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    let before = app.count();
    let head = b"GET /open/x HTTP/1.1\r\nHost: app\r\nX-Bad: a\x01b\r\nConnection: close\r\n\r\n";
    let answer = String::from_utf8(client.raw(head, SOON).await.unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("malformed-request"), "{answer}");
    assert_eq!(app.count(), before);
}
