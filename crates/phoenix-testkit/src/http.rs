//! A small HTTP/1.1 client for tests. It keeps connections alive, follows nothing, stores no cookies and never
//! retries a request the server may have seen. [`Client::raw`] sends bytes no client library would send.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest time of one request, unless [`Client::with_bound`] says otherwise.
const BOUND: Duration = Duration::from_secs(30);
/// Largest response body.
const BODY_BYTES: usize = 64 * 1024 * 1024;
/// Connections kept for reuse; further ones are closed.
const IDLE_CONNECTIONS: usize = 256;

type Sender = SendRequest<Full<Bytes>>;

/// A client of one server. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    bound: Duration,
    idle: Arc<Mutex<Vec<Sender>>>,
}

/// A request that has not been sent yet.
#[derive(Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Call<'client> {
    client: &'client Client,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

/// A whole response.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status code.
    pub status: StatusCode,
    /// Headers as received.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Client {
    /// A client of the server at `address`.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, bound: BOUND, idle: Arc::default() }
    }

    /// The same client with another bound on each request.
    #[must_use]
    pub fn with_bound(mut self, bound: Duration) -> Self {
        self.bound = bound;
        self
    }

    /// A GET request.
    pub fn get(&self, path: &str) -> Call<'_> {
        self.request(Method::GET, path)
    }

    /// A POST request.
    pub fn post(&self, path: &str) -> Call<'_> {
        self.request(Method::POST, path)
    }

    /// A PUT request.
    pub fn put(&self, path: &str) -> Call<'_> {
        self.request(Method::PUT, path)
    }

    /// A PATCH request.
    pub fn patch(&self, path: &str) -> Call<'_> {
        self.request(Method::PATCH, path)
    }

    /// A DELETE request.
    pub fn delete(&self, path: &str) -> Call<'_> {
        self.request(Method::DELETE, path)
    }

    /// A request with any method.
    pub fn request(&self, method: Method, path: &str) -> Call<'_> {
        let headers = HeaderMap::new();
        Call { client: self, method, path: path.to_owned(), headers, body: Bytes::new() }
    }

    /// Sends `bytes` on a connection of their own and returns everything the server sends until it closes, or what
    /// had come when `bound` passed.
    ///
    /// # Errors
    /// When the connection cannot be made. A reset by the server ends the answer, it is no error.
    pub async fn raw(&self, bytes: &[u8], bound: Duration) -> Result<Vec<u8>> {
        let mut stream =
            timeout(bound, TcpStream::connect(self.address)).await.context("connect in time")??;
        let mut answer = Vec::new();
        let exchange = async {
            // A server may refuse and close before it has read everything.
            let _ = stream.write_all(bytes).await;
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut chunk).await {
                answer.extend_from_slice(&chunk[..length]);
            }
        };
        let _ = timeout(bound, exchange).await;
        Ok(answer)
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response> {
        let mut request = request;
        loop {
            let (mut sender, reused) = match self.take_idle() {
                Some(sender) => (sender, true),
                None => (self.connect().await?, false),
            };
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let (parts, body) = response.into_parts();
                    let body = Limited::new(body, BODY_BYTES).collect().await;
                    let body =
                        body.map_err(|error| anyhow::anyhow!(error)).context("read the body")?.to_bytes();
                    self.put_back(sender).await;
                    return Ok(Response { status: parts.status, headers: parts.headers, body });
                }
                // A kept connection that the server had closed: hyper hands back what it did not send.
                Err(mut error) => match error.take_message() {
                    Some(unsent) if reused => request = unsent,
                    _ => return Err(error.into_error()).context("send the request"),
                },
            }
        }
    }

    fn take_idle(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(sender) = idle.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    async fn put_back(&self, mut sender: Sender) {
        // Ready again once hyper has seen the end of the exchange; an error means the server closes.
        if sender.ready().await.is_err() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS {
            idle.push(sender);
        }
    }

    async fn connect(&self) -> Result<Sender> {
        let stream = TcpStream::connect(self.address).await.context("connect")?;
        stream.set_nodelay(true).context("set TCP_NODELAY")?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.context("HTTP handshake")?;
        // Ends with the connection, which ends with the sender or the test's runtime.
        tokio::spawn(connection);
        Ok(sender)
    }
}

impl Call<'_> {
    /// Adds a header; a name may be added more than once.
    ///
    /// # Panics
    /// When it is no header: such requests are for [`Client::raw`].
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("the test names a valid header");
        let value = HeaderValue::from_str(value).expect("the test gives a valid header value");
        self.headers.append(name, value);
        self
    }

    /// `Authorization: Bearer TOKEN`.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// A JSON body.
    pub fn json(self, value: &serde_json::Value) -> Self {
        self.header("content-type", "application/json").body(value.to_string())
    }

    /// A body of any kind.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the request and reads the whole response.
    ///
    /// # Errors
    /// When the server cannot be reached, breaks off, or takes longer than the client's bound.
    pub async fn send(self) -> Result<Response> {
        let Self { client, method, path, headers, body } = self;
        let what = format!("{method} {path}");
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().with_context(|| format!("{path} is no path"))?;
        *request.headers_mut() = headers;
        if !request.headers().contains_key(header::HOST) {
            let host =
                HeaderValue::from_str(&client.address.to_string()).context("the address as a header")?;
            request.headers_mut().insert(header::HOST, host);
        }
        timeout(client.bound, client.send(request))
            .await
            .with_context(|| format!("{what} took longer than {:?}", client.bound))?
            .with_context(|| what)
    }
}

impl Response {
    /// The first value of a header, if it is there and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON, showing status and body.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("status {} with a body that is no JSON ({error}): {}", self.status, self.text())
        })
    }
}
