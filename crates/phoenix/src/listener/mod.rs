//! Sockets: the accept loop, and who may connect.

mod admission;
mod connection;
mod gather;
mod proxy_protocol;
mod reaper;
mod redirect;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use phoenix_auth::ports::Clock;
use phoenix_config::{Config, ProxyProtocol};
use phoenix_http::Stack;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::lifecycle::Lifecycle;
use admission::Admission;
use reaper::Reaper;
// What takes the first bytes of a stranger apart is public for the sake of `fuzz/`.
pub use proxy_protocol::{Parsed, parse as parse_proxy_header};
pub use redirect::Redirect;

use crate::tls::TlsServer;

/// Connections that the kernel keeps for us until we accept them.
const BACKLOG: i32 = 4096;
/// Pause after the system refused to accept: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Limits of connections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Most connections at once.
    pub max_connections: usize,
    /// Most connections at once from one IPv4 address or IPv6 /64. A trusted proxy's own address is not counted.
    pub max_per_address: usize,
    /// Whether connections of trusted proxies begin with the PROXY protocol.
    pub proxy_protocol: bool,
    /// The first byte must arrive by then, and before it the whole header of the PROXY protocol.
    pub first_byte_timeout: Duration,
    /// A request's header must be complete by then; a connection idle for longer is closed.
    pub header_read_timeout: Duration,
    /// A connection whose client takes nothing of an answer for so long is closed.
    pub write_timeout: Duration,
    /// A connection older than this is closed after the request it serves.
    pub max_age: Duration,
    /// Largest header of a request in bytes.
    pub max_header_bytes: usize,
    /// Most header fields of a request.
    pub max_headers: usize,
    /// Most requests at once on one HTTP/2 connection.
    pub http2_max_streams: u32,
}

/// Most connections at once of those who ask for plain HTTP and are sent on.
const MAX_REDIRECTED: usize = 1024;

impl ConnectionLimits {
    /// The same for a socket that only sends on: it takes no more than a part of what there is.
    #[must_use]
    pub fn for_redirect(self) -> Self {
        Self { max_connections: self.max_connections.min(MAX_REDIRECTED), ..self }
    }

    /// As configured.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let server = &config.server;
        Self {
            max_connections: server.max_connections,
            max_per_address: server.max_connections_per_address,
            proxy_protocol: server.proxy_protocol == ProxyProtocol::On,
            first_byte_timeout: server.first_byte_timeout,
            header_read_timeout: server.header_read_timeout,
            write_timeout: server.write_timeout,
            max_age: server.max_connection_age,
            max_header_bytes: server.max_header_bytes.as_usize(),
            max_headers: server.max_headers,
            http2_max_streams: server.http2_max_streams,
        }
    }
}

/// What is behind a socket.
#[derive(Clone)]
pub enum Door {
    /// HTTP.
    Plain,
    /// HTTPS.
    Tls(Arc<TlsServer>),
    /// Nothing but the way to HTTPS.
    Redirect(Arc<Redirect>),
}

/// What every connection of a socket needs. Cheap to clone.
#[derive(Clone)]
struct Entrance {
    stack: Stack,
    door: Door,
    limits: ConnectionLimits,
}

/// Binds the address.
///
/// # Errors
/// What the system says, for example that the port is taken.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::from_std(bind_std(address)?)
}

/// The same, before there is a runtime that it belongs to.
pub(crate) fn bind_std(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts and serves connections of plain HTTP until the process drains. Belongs on [`Lifecycle::spawn_connection`]: the
/// process must not believe that all connections have ended before the last ones are accepted.
pub async fn serve(
    listener: TcpListener,
    stack: Stack,
    limits: ConnectionLimits,
    clock: Arc<dyn Clock>,
    lifecycle: Lifecycle,
) {
    serve_door(listener, Door::Plain, stack, limits, clock, lifecycle).await;
}

/// Accepts connections until the process drains, and serves what is behind the door. The limits count for this socket
/// alone.
pub async fn serve_door(
    listener: TcpListener,
    door: Door,
    stack: Stack,
    limits: ConnectionLimits,
    clock: Arc<dyn Clock>,
    lifecycle: Lifecycle,
) {
    let entrance = Entrance { stack, door, limits };
    let reaper = Arc::new(Reaper::new(limits.header_read_timeout, limits.write_timeout, limits.max_age));
    lifecycle.spawn("connection reaper", Arc::clone(&reaper).run(clock, lifecycle.clone()));
    let admission = Admission::new(limits.max_connections, limits.max_per_address);
    loop {
        let accepted = tokio::select! {
            () = lifecycle.draining().cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                admit(stream, peer, &admission, &reaper, &entrance, &lifecycle);
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a connection could not be accepted"
                );
                // The same error would come at once again.
                let _ = tokio::time::timeout(ACCEPT_PAUSE, lifecycle.draining().cancelled()).await;
            }
        }
    }
    reaper.drain();
    // Closing the socket resets the connections that the kernel holds for us: these clients believe they are connected.
    // As an ordinary socket, which is asked whether there are any; the runtime only knows what it was told before.
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..BACKLOG {
        let Ok((stream, peer)) = listener.accept() else { return };
        if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream))
            && !admit(stream, peer, &admission, &reaper, &entrance, &lifecycle)
            && lifecycle.succeeded().is_cancelled()
        {
            // Who holds the same socket may have room where we have none.
            return;
        }
    }
}

/// Whether there was room.
fn admit(
    stream: TcpStream,
    peer: SocketAddr,
    admission: &Admission,
    reaper: &Arc<Reaper>,
    entrance: &Entrance,
    lifecycle: &Lifecycle,
) -> bool {
    // A trusted proxy's connections are many clients': they count for those it names, or for nobody.
    let counted = (!entrance.stack.trusts(peer.ip())).then(|| peer.ip());
    let Some(place) = admission.enter(counted) else {
        // Closed without a word: answering would cost more than the caller's connecting did.
        tracing::debug!("a connection was refused: too many are open");
        return false;
    };
    let (entrance, watched, idle_over) = (entrance.clone(), reaper.watch(), lifecycle.idle_over().clone());
    lifecycle.spawn_connection(async move {
        connection::run(stream, place, peer, entrance, watched, idle_over).await;
    });
    true
}
