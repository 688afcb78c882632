//! A TCP proxy between a client and a server of a test that fails on command. It runs on a thread of its own, so a
//! test may block while traffic flows. This file owns the handle and the accept loop; `pump.rs` moves the bytes.

mod pump;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc as blocking};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::port;

/// Commands that may wait for the proxy's thread at once, hence the most threads that may command one proxy.
const COMMANDS: usize = 64;
/// Longest time until a command is carried out.
const COMMAND_BOUND: Duration = Duration::from_secs(10);

/// One of the two ways through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the upstream.
    ToUpstream,
    /// From the upstream to the client.
    ToClient,
}

/// What the proxy does. A change applies at once, also to live connections and to bytes already in the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Forwards everything.
    Pass,
    /// Forwards every byte this much later, in each direction; throughput is not reduced.
    Latency(Duration),
    /// Accepts connections and swallows all bytes, as a cut network would. A connection that lost bytes is reset
    /// when the mode ends, because its stream has a hole.
    Blackhole,
    /// The listener is closed and live connections are reset, as if the server's process were gone.
    Refuse,
    /// Live connections are reset; new ones are accepted and reset.
    Reset,
    /// Holds back one direction; nothing is lost, and it flows again when the mode ends.
    HalfOpen(Direction),
    /// Forwards this many bytes, then waits, in each direction.
    Drip {
        /// Bytes in one go.
        bytes: usize,
        /// Time between two goes.
        every: Duration,
    },
    /// Loses what the upstream sends whenever it holds these bytes, and forwards everything else. What is lost is what
    /// the proxy has read in one go, so this is for messages that arrive alone, such as [`REDIS_MESSAGE`]; the
    /// connection lives on without them.
    Losing(&'static [u8]),
}

/// Stands in every message that Redis pushes to a subscriber of a channel, and in no reply to a command.
pub const REDIS_MESSAGE: &[u8] = b"\r\n$7\r\nmessage\r\n";

/// Counts since the proxy was started. What a client or upstream has received is counted already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open now.
    pub live: u64,
    /// Bytes delivered to the upstream.
    pub to_upstream_bytes: u64,
    /// Bytes delivered to clients.
    pub to_client_bytes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    live: AtomicU64,
    to_upstream_bytes: AtomicU64,
    to_client_bytes: AtomicU64,
}

/// What every connection watches.
#[derive(Clone, Copy, Debug)]
struct State {
    mode: Mode,
    /// Connections older than this are to be reset.
    generation: u64,
}

#[derive(Debug)]
enum Command {
    Set(Mode),
    DropConnections,
}

/// The handle of a running proxy. Dropping it closes everything.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    counters: Arc<Counters>,
    commands: Option<mpsc::Sender<(Command, blocking::SyncSender<()>)>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl FaultProxy {
    /// Listens on a free port of 127.0.0.1 and forwards to `upstream`.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be made.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = port::listen();
        listener.set_nonblocking(true).context("make the listener non-blocking")?;
        let address = listener.local_addr().context("ask for the listener's address")?;
        let counters = Arc::new(Counters::default());
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("make a runtime")?;
        let shared = Arc::clone(&counters);
        let thread = thread::Builder::new()
            .name("fault-proxy".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    let listener = TcpListener::from_std(listener).expect("the listener is non-blocking");
                    Proxy::new(address, upstream, shared).run(listener, receiver).await;
                });
            })
            .context("start the proxy's thread")?;
        Ok(Self { address, counters, commands: Some(commands), thread: Some(thread) })
    }

    /// Where clients connect; the same for the proxy's whole life.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Changes the mode. When this returns, new connections already meet it.
    ///
    /// # Panics
    /// When the proxy's thread does not carry it out within 10 seconds.
    pub fn set(&self, mode: Mode) {
        self.command(Command::Set(mode));
    }

    /// Resets the live connections once; new ones are treated by the mode, which stays.
    ///
    /// # Panics
    /// When the proxy's thread does not carry it out within 10 seconds.
    pub fn drop_connections(&self) {
        self.command(Command::DropConnections);
    }

    /// Counts of connections and bytes.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Counts {
            accepted: read(&self.counters.accepted),
            live: read(&self.counters.live),
            to_upstream_bytes: read(&self.counters.to_upstream_bytes),
            to_client_bytes: read(&self.counters.to_client_bytes),
        }
    }

    fn command(&self, command: Command) {
        let (done, wait) = blocking::sync_channel(1);
        let commands = self.commands.as_ref().expect("only dropping the proxy takes the sender");
        commands.try_send((command, done)).expect("fewer than 64 threads command one proxy, and it runs");
        wait.recv_timeout(COMMAND_BOUND).expect("the proxy's thread carries out a command at once");
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The part that lives on the proxy's thread.
struct Proxy {
    address: SocketAddr,
    upstream: SocketAddr,
    counters: Arc<Counters>,
    state: watch::Sender<State>,
    connections: JoinSet<()>,
}

impl Proxy {
    fn new(address: SocketAddr, upstream: SocketAddr, counters: Arc<Counters>) -> Self {
        let (state, _) = watch::channel(State { mode: Mode::Pass, generation: 0 });
        Self { address, upstream, counters, state, connections: JoinSet::new() }
    }

    async fn run(
        mut self,
        listener: TcpListener,
        mut commands: mpsc::Receiver<(Command, blocking::SyncSender<()>)>,
    ) {
        let mut listener = Some(listener);
        loop {
            tokio::select! {
                biased;
                command = commands.recv() => {
                    let Some((command, done)) = command else { return };
                    self.obey(command, &mut listener).await;
                    let _ = done.send(());
                }
                stream = accept(listener.as_ref()) => self.connect(stream),
                Some(_) = self.connections.join_next() => {}
            }
        }
    }

    async fn obey(&mut self, command: Command, listener: &mut Option<TcpListener>) {
        match command {
            Command::DropConnections => self.state.send_modify(|state| state.generation += 1),
            Command::Set(mode) => {
                self.state.send_modify(|state| {
                    state.mode = mode;
                    if matches!(mode, Mode::Refuse | Mode::Reset) {
                        state.generation += 1;
                    }
                });
                if mode == Mode::Refuse {
                    *listener = None;
                } else if listener.is_none() {
                    let bound = TcpListener::bind(self.address).await;
                    *listener = Some(bound.expect("nobody else takes a port below the kernel's own range"));
                }
            }
        }
    }

    fn connect(&mut self, client: TcpStream) {
        self.counters.accepted.fetch_add(1, Ordering::Relaxed);
        let state = self.state.subscribe();
        if state.borrow().mode == Mode::Reset {
            let _ = client.set_zero_linger();
            return;
        }
        let (upstream, counters) = (self.upstream, Arc::clone(&self.counters));
        counters.live.fetch_add(1, Ordering::Relaxed);
        self.connections.spawn(async move {
            pump::connection(client, upstream, state, &counters).await;
            counters.live.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// The next connection; never, while the listener is closed.
async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            return stream;
        }
        // Out of file descriptors: others have to close first.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
