//! The least a server on hyper can do: one current-thread runtime, a constant JSON body of 600 bytes, no date header.
//! What Phoenix costs is stated as a ratio to it, so that the machine drops out.

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

const ANNOUNCEMENT: &str = "listening on http://";

/// About the size of the answer of `GET /api/auth/me`.
pub const BODY_BYTES: usize = 600;

/// A running reference server in a process of its own. It ends with this handle, or with this process.
#[derive(Debug)]
pub struct ReferenceServer {
    child: Child,
    address: SocketAddr,
    /// The server ends when this is closed, even by SIGKILL of this process.
    _pipe: ChildStdin,
}

impl ReferenceServer {
    /// Starts `program` (an `xtask` binary, best of a release build) with the words of [`super::pin::prefix`] before.
    ///
    /// # Errors
    /// When it does not announce an address.
    pub fn start(program: &std::path::Path, prefix: &[String]) -> Result<Self> {
        Self::start_command(program, prefix, "bench-reference-server")
    }

    /// Starts another server of `program` (`xtask`), which announces itself in the same way.
    ///
    /// # Errors
    /// See [`Self::start`].
    pub fn start_command(program: &std::path::Path, prefix: &[String], name: &str) -> Result<Self> {
        Self::start_with(program, prefix, &[name])
    }

    /// The same with arguments.
    ///
    /// # Errors
    /// See [`Self::start`].
    pub fn start_with(program: &std::path::Path, prefix: &[String], arguments: &[&str]) -> Result<Self> {
        let mut words = prefix.iter().map(std::ffi::OsString::from).chain([program.as_os_str().to_owned()]);
        let mut command = Command::new(words.next().context("a program to start")?);
        command.args(words).args(arguments).arg("--until-stdin-closes");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start it")?;
        let pipe = child.stdin.take().context("its standard input")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its standard output")?).read_line(&mut line)?;
        let address = line.trim().strip_prefix(ANNOUNCEMENT).context("the reference server did not start")?;
        let address = address.parse().context("the reference server's address")?;
        Ok(Self { child, address, _pipe: pipe })
    }

    /// Starts this very program as the server.
    ///
    /// # Errors
    /// See [`Self::start`].
    pub fn start_self(prefix: &[String]) -> Result<Self> {
        Self::start(&std::env::current_exe().context("find this program")?, prefix)
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ReferenceServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves until the process is ended. Connections are served on the calling thread alone.
///
/// # Errors
/// When the address cannot be bound.
pub fn serve(listen: SocketAddr, until_stdin_closes: bool) -> Result<()> {
    if until_stdin_closes {
        end_with_stdin();
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("make a runtime")?;
    runtime.block_on(accept(listen))
}

/// Ends this process when its standard input is closed: with whoever started it.
pub fn end_with_stdin() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
}

async fn accept(listen: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listen on {listen}"))?;
    println!("{ANNOUNCEMENT}{}", listener.local_addr().context("ask for the own address")?);
    let body = body();
    loop {
        let (stream, _) = listener.accept().await.context("accept a connection")?;
        stream.set_nodelay(true).context("set TCP_NODELAY")?;
        let body = body.clone();
        let service = service_fn(move |_: Request<Incoming>| {
            let mut response = Response::new(Full::new(body.clone()));
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let mut server = http1::Builder::new();
        server.pipeline_flush(true);
        // A connection ends with its client; this program does nothing else.
        tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
    }
}

fn body() -> Bytes {
    let frame = r#"{"authenticated":true,"padding":""}"#.len();
    Bytes::from(format!(r#"{{"authenticated":true,"padding":"{}"}}"#, "x".repeat(BODY_BYTES - frame)))
}
