//! An application behind a gateway, over raw TCP: it answers as a test tells it, well or badly, remembers every request
//! byte for byte, and notices when the gateway goes away. It runs on a thread of its own, so a test may block while it
//! serves.
//!
//! This file owns the handle. `script` is what it can be told, `connection` carries it out, `request` reads requests as
//! strictly or loosely as needed to see what a gateway sent, `websocket` speaks RFC 6455.

mod connection;
mod request;
mod script;
mod websocket;

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use request::Seen;
pub use script::{Script, Step};

use crate::port;

/// Requests that are remembered; older ones are forgotten.
const REMEMBERED: usize = 10_000;

/// What the handle and the connections share.
#[derive(Debug, Default)]
struct Shared {
    scripts: Mutex<HashMap<String, Script>>,
    seen: Mutex<VecDeque<Seen>>,
    is_forgetful: AtomicBool,
    accepted: AtomicU64,
    open: AtomicU64,
    gone: AtomicU64,
    played: AtomicU64,
    requests: AtomicU64,
    body_bytes: AtomicU64,
}

/// A running application. Dropping it closes its listener and all connections.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<watch::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Upstream {
    /// Starts one on a free port of 127.0.0.1 that answers every request with what it saw ([`Script::echo`]).
    ///
    /// # Errors
    /// When the thread or its runtime cannot be made.
    pub fn start() -> Result<Self> {
        Self::on_listener(port::listen())
    }

    /// The same on this port, where a server has been before.
    ///
    /// # Errors
    /// When the port is taken, too.
    pub fn start_on(port: u16) -> Result<Self> {
        Self::on_listener(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).context("bind the upstream's port")?)
    }

    fn on_listener(listener: TcpListener) -> Result<Self> {
        let address = listener.local_addr().context("the address of the upstream")?;
        listener.set_nonblocking(true).context("make the upstream's listener non-blocking")?;
        let (stop, stopped) = watch::channel(());
        let shared = Arc::<Shared>::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let served = Arc::clone(&shared);
        let thread = thread::Builder::new().name("upstream".to_owned()).spawn(move || {
            runtime.block_on(serve(listener, served, stopped));
        })?;
        Ok(Self { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on, requests with this path (without query) are answered so.
    pub fn on(&self, path: &str, script: Script) {
        lock(&self.shared.scripts).insert(path.to_owned(), script);
    }

    /// Whether requests are remembered; they are, unless told otherwise. Benchmarks need no memory.
    pub fn remember(&self, whether: bool) {
        self.shared.is_forgetful.store(!whether, Ordering::Relaxed);
    }

    /// The requests seen so far, oldest first; at most the last 10,000.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).iter().cloned().collect()
    }

    /// The last request.
    #[must_use]
    pub fn last(&self) -> Option<Seen> {
        lock(&self.shared.seen).back().cloned()
    }

    /// Requests whose head was read.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Bytes of bodies that were read, framing included.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        self.shared.body_bytes.load(Ordering::SeqCst)
    }

    /// Connections accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Exchanges in the middle of which the other side went away.
    #[must_use]
    pub fn gone(&self) -> u64 {
        self.shared.gone.load(Ordering::SeqCst)
    }

    /// Scripts that were carried out to their end.
    #[must_use]
    pub fn played(&self) -> u64 {
        self.shared.played.load(Ordering::SeqCst)
    }

    /// Stops, as if the process were gone; the port refuses connections then.
    pub fn stop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn script(&self, path: &str) -> Script {
        lock(&self.scripts).get(path).cloned().unwrap_or_else(Script::echo)
    }

    fn remember(&self, seen: Seen) {
        let mut all = lock(&self.seen);
        if all.len() == REMEMBERED {
            all.pop_front();
        }
        all.push_back(seen);
    }
}

/// Accepts connections until the handle is gone.
async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<()>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("the listener is non-blocking");
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = stopped.changed() => return,
            Some(_) = connections.join_next() => {}
            Ok((stream, _)) = listener.accept() => {
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                shared.open.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    connection::run(stream, &shared).await;
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        }
    }
}
