//! What the application can be told to do with a request.

use std::time::Duration;

use bytes::Bytes;

/// One step of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Sends these bytes.
    Send(Bytes),
    /// Sends these bytes again and again, with this time between, until the other side goes away.
    Forever(Bytes, Duration),
    /// Waits.
    Pause(Duration),
    /// Waits until the other side goes away.
    Hang,
    /// Waits until it is stopped, and reads nothing.
    Stuck,
    /// Closes the connection.
    Close,
    /// Resets the connection.
    Reset,
    /// Answers with what was seen, as JSON: `method`, `target`, `version`, `headers` (list of pairs), `body`, `trailers`.
    Echo,
    /// Answers with the request's own body, in chunks, while it is read.
    Mirror,
    /// Shakes hands (RFC 6455) and echoes messages.
    WebSocket,
    /// Sends back every byte that comes.
    Pipe,
}

/// What is done with a request. When all steps are done, the connection waits for the next request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Script {
    /// Whether the request's body is read before the first step.
    pub reads_body: bool,
    /// The steps.
    pub steps: Vec<Step>,
}

impl Script {
    /// These steps, after the request's body.
    #[must_use]
    pub fn new(steps: Vec<Step>) -> Self {
        Self { reads_body: true, steps }
    }

    /// Answers with what was seen, as JSON.
    #[must_use]
    pub fn echo() -> Self {
        Self::new(vec![Step::Echo])
    }

    /// These bytes, whatever they are.
    #[must_use]
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::new(vec![Step::Send(bytes.into())])
    }

    /// These bytes, and the end of the connection.
    #[must_use]
    pub fn raw_then_close(bytes: impl Into<Bytes>) -> Self {
        Self::new(vec![Step::Send(bytes.into()), Step::Close])
    }

    /// An answer with a length.
    #[must_use]
    pub fn fixed(status: u16, body: &str) -> Self {
        Self::raw(format!(
            "HTTP/1.1 {status} Fixed\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    /// An answer of this many bytes.
    #[must_use]
    pub fn bytes(length: usize) -> Self {
        Self::fixed(200, &"x".repeat(length))
    }

    /// An answer in chunks, one for each text.
    #[must_use]
    pub fn chunked(chunks: &[&str]) -> Self {
        let mut text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
        for chunk in chunks {
            text.push_str(&format!("{:x}\r\n{chunk}\r\n", chunk.len()));
        }
        text.push_str("0\r\n\r\n");
        Self::raw(text)
    }

    /// Server-sent events, one every `every`, until the other side goes away.
    #[must_use]
    pub fn events(every: Duration) -> Self {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let event = "e\r\ndata: hello.\n\n\r\n";
        Self::new(vec![
            Step::Send(Bytes::from_static(head.as_bytes())),
            Step::Forever(Bytes::from_static(event.as_bytes()), every),
        ])
    }

    /// An answer that begins after a time.
    #[must_use]
    pub fn slow(pause: Duration, body: &str) -> Self {
        let mut script = Self::fixed(200, body);
        script.steps.insert(0, Step::Pause(pause));
        script
    }

    /// No answer, ever.
    #[must_use]
    pub fn silent() -> Self {
        Self::new(vec![Step::Hang])
    }

    /// A head with fields without end.
    #[must_use]
    pub fn endless_head() -> Self {
        let field = format!("X-Field: {}\r\n", "y".repeat(1000));
        Self::new(vec![
            Step::Send(Bytes::from_static(b"HTTP/1.1 200 OK\r\n")),
            Step::Forever(Bytes::from(field), Duration::ZERO),
        ])
    }

    /// The same steps without reading the request's body first.
    #[must_use]
    pub fn early(mut self) -> Self {
        self.reads_body = false;
        self
    }

    /// A WebSocket that echoes.
    #[must_use]
    pub fn websocket() -> Self {
        Self::new(vec![Step::WebSocket]).early()
    }

    /// Agrees to switch to this protocol, whatever was asked, and then echoes bytes.
    #[must_use]
    pub fn switches_to(protocol: &str) -> Self {
        let head =
            format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n");
        Self::new(vec![Step::Send(head.into()), Step::Pipe]).early()
    }
}
