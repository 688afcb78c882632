//! The application behind a proxy: it remembers the header of each request and answers with it, and opens web sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use phoenix_testkit::port;

/// The key that tests open web sockets with, and the answer to it (RFC 6455, section 1.3), which HAProxy checks.
pub(super) const WEB_SOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const WEB_SOCKET_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Answers until the test process ends.
pub(super) struct App {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A request: its first line, and its fields in lower case.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) line: String,
    fields: Vec<(String, String)>,
}

impl Seen {
    /// The values of a field, whatever its name's case.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Fields that an application may take for one about the caller.
    pub(super) fn identity(&self) -> Vec<&(String, String)> {
        let is_one = |name: &str| {
            name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-").starts_with("x-phoenix-")
        };
        self.fields.iter().filter(|(name, _)| is_one(name)).collect()
    }
}

impl App {
    pub(super) fn start() -> Self {
        let listener = port::listen();
        let app = Self { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let seen = Arc::clone(&app.seen);
        let accepting = move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                // Ends with the connection: nothing to report.
                thread::Builder::new().spawn(move || serve(&stream, &seen)).unwrap();
            }
        };
        thread::Builder::new().spawn(accepting).unwrap();
        app
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub(super) fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().unwrap().clone()
    }
}

fn serve(stream: &TcpStream, seen: &Mutex<Vec<Seen>>) -> Option<()> {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let mut request = Seen { line: line.trim_end().to_owned(), fields: Vec::new() };
        loop {
            let mut field = String::new();
            reader.read_line(&mut field).ok()?;
            let Some((name, value)) = field.trim_end().split_once(':') else { break };
            request.fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length: u64 = request.all("content-length").first().map_or(Some(0), |text| text.parse().ok())?;
        std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink()).ok()?;
        let is_socket = !request.all("upgrade").is_empty();
        seen.lock().unwrap().push(request);
        if is_socket {
            let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n";
            let head = format!("{head}Sec-WebSocket-Accept: {WEB_SOCKET_ACCEPT}\r\n\r\n");
            writer.write_all(head.as_bytes()).ok()?;
            let mut bytes = [0; 64];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                writer.write_all(&bytes[..count]).ok()?;
            }
            return None;
        }
        writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\napp").ok()?;
    }
}
