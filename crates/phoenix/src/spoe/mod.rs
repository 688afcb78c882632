//! HAProxy asks about requests: an agent of its Stream Processing Offload Protocol, version 2.0
//! (HAProxy 2.6, `doc/SPOE.txt`, section 3).
//!
//! Owns the listener, its connections and the translation to and from the protocol. Does not own the verdict
//! (`phoenix_http::Stack::judge`).

mod codec;
mod connection;
mod frame;
mod message;

// What takes bytes of a connection apart is public for the sake of `fuzz/`.
pub use self::codec::Garbage;
pub use self::frame::{Frame, Goodbye, Hello, read as read_frame};
pub use self::message::question;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use phoenix_http::{Peer, Stack};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::lifecycle::Lifecycle;

/// Most connections at once. HAProxy opens about one for each of its threads where it may pipeline.
const MAX_CONNECTIONS: usize = 1024;
/// Pause after the system refused to accept: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Answers HAProxy until the process drains.
pub async fn serve(listener: TcpListener, stack: Stack, lifecycle: Lifecycle) {
    let agent = Agent {
        stack,
        places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        has_complained: AtomicBool::new(false),
        lifecycle,
    };
    loop {
        let accepted = tokio::select! {
            () = agent.lifecycle.draining().cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => agent.admit(stream, peer),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a connection of HAProxy could not be accepted"
                );
                // The same error would come at once again.
                let _ = tokio::time::timeout(ACCEPT_PAUSE, agent.lifecycle.draining().cancelled()).await;
            }
        }
    }
}

struct Agent {
    stack: Stack,
    places: Arc<Semaphore>,
    /// A stranger is worth one line of the log, not one for each time it connects.
    has_complained: AtomicBool,
    lifecycle: Lifecycle,
}

impl Agent {
    fn admit(&self, stream: TcpStream, address: SocketAddr) {
        let peer = Peer::direct(address.ip());
        if !self.stack.speaks_for_others(peer) {
            if !self.has_complained.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    peer = %address.ip(),
                    "a connection to forward_auth.spoe_listen was closed: add the address to server.trusted_proxies \
                     (PHOENIX_TRUSTED_PROXIES) if it is HAProxy's"
                );
            }
            return;
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            tracing::warn!("a connection of HAProxy was closed: {MAX_CONNECTIONS} are open");
            return;
        };
        let (stack, draining) = (self.stack.clone(), self.lifecycle.draining().clone());
        self.lifecycle.spawn_connection(async move {
            // Answers are small, and HAProxy waits for each.
            if stream.set_nodelay(true).is_ok() {
                connection::run(stream, peer, &stack, &draining).await;
            }
            drop(place);
        });
    }
}
