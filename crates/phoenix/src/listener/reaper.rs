//! Ends connections whose time is over: those that wait too long for a request's header, for a client that takes
//! nothing of its answer, or for one that goes on sending after it, that are too old, and all of them when the process
//! drains.
//!
//! An idle HTTP/1.1 connection cannot be closed without a risk: its next request may be on the way. So those that are
//! too old, and all while the process drains, are first told to answer one more request and to say that it was the
//! last. Only when the time for that is over are idle ones closed.
//!
//! One task looks at all connections a few times a second. A connection pays an atomic store at the beginning and at
//! the end of a request instead of arming a timer for each, which costs more than answering from memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use phoenix_auth::ports::Clock;

use crate::lifecycle::Lifecycle;

/// Time between two looks. A connection is ended at most this much late.
const TICK: Duration = Duration::from_millis(100);
/// What a client that was answered still sends is read until it sends nothing for so long.
const LINGER_SILENCE_MS: u64 = 2_000;
/// And for no longer than this.
const LINGER_MS: u64 = 30_000;

/// What a connection is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Order {
    /// Go on.
    Serve,
    /// The next answer is the last one, and says so.
    Last,
    /// Finish the request under way, then close.
    Finish,
    /// Close now: nobody has been answered for too long.
    Close,
}

const SERVE: u8 = 0;
const LAST: u8 = 1;
const FINISH: u8 = 2;
const CLOSE: u8 = 3;

/// How far the process is on its way to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Serving,
    Draining,
    IdleOver,
}

/// Knows all connections. At most as many as may be open.
pub(super) struct Reaper {
    connections: Mutex<HashMap<u64, Arc<Control>>>,
    next: AtomicU64,
    /// Milliseconds of the last look: what connections take for the time.
    now_ms: Arc<AtomicU64>,
    /// What a new connection is told.
    first_order: AtomicU8,
    header_timeout_ms: u64,
    write_timeout_ms: u64,
    max_age_ms: u64,
}

/// The part of a connection that the reaper sees.
pub(super) struct Control {
    waker: AtomicWaker,
    order: AtomicU8,
    /// That of the reaper.
    now_ms: Arc<AtomicU64>,
    opened_ms: u64,
    /// How long the client may leave the connection without a request.
    patience_ms: AtomicU64,
    /// Requests being answered. Those of HTTP/2 overlap.
    under_way: AtomicU64,
    /// When the last answer was complete: since when the connection waits for a header, if none is under way.
    waiting_since_ms: AtomicU64,
    /// Since when the client takes nothing of what is to be written; [`NEVER`] while nothing is kept back.
    blocked_since_ms: AtomicU64,
    /// Since when all is said, and what the client still sends is read; [`NEVER`] before.
    lingering_since_ms: AtomicU64,
    /// When it last sent something after that.
    heard_ms: AtomicU64,
    /// It goes on as something else.
    is_tunnel: AtomicBool,
}

/// Later than any look.
const NEVER: u64 = u64::MAX;

/// A connection's place in the reaper's list, until dropped.
pub(super) struct Watched {
    reaper: Arc<Reaper>,
    number: u64,
    control: Arc<Control>,
}

impl Reaper {
    pub(super) fn new(header_timeout: Duration, write_timeout: Duration, max_age: Duration) -> Self {
        Self {
            connections: Mutex::default(),
            next: AtomicU64::new(0),
            now_ms: Arc::default(),
            first_order: AtomicU8::new(SERVE),
            header_timeout_ms: millis(header_timeout),
            write_timeout_ms: millis(write_timeout),
            max_age_ms: millis(max_age),
        }
    }

    /// Looks at all connections until the process stops.
    pub(super) async fn run(self: Arc<Self>, clock: Arc<dyn Clock>, lifecycle: Lifecycle) {
        while !lifecycle.stopping().is_cancelled() {
            let phase = match (lifecycle.draining().is_cancelled(), lifecycle.idle_over().is_cancelled()) {
                (_, true) => Phase::IdleOver,
                (true, false) => Phase::Draining,
                (false, false) => Phase::Serving,
            };
            self.look(millis(clock.mono()), phase);
            // Whatever comes next is obeyed at once.
            let next = match phase {
                Phase::Serving => lifecycle.draining(),
                Phase::Draining => lifecycle.idle_over(),
                Phase::IdleOver => lifecycle.stopping(),
            };
            let _ = tokio::time::timeout(TICK, next.cancelled()).await;
        }
    }

    /// Takes a new connection into the list.
    pub(super) fn watch(self: &Arc<Self>) -> Watched {
        let now_ms = self.now_ms.load(Ordering::Relaxed);
        let control = Arc::new(Control {
            waker: AtomicWaker::new(),
            order: AtomicU8::new(self.first_order.load(Ordering::Relaxed)),
            now_ms: Arc::clone(&self.now_ms),
            opened_ms: now_ms,
            patience_ms: AtomicU64::new(self.header_timeout_ms),
            waiting_since_ms: AtomicU64::new(now_ms),
            blocked_since_ms: AtomicU64::new(NEVER),
            lingering_since_ms: AtomicU64::new(NEVER),
            heard_ms: AtomicU64::new(0),
            is_tunnel: AtomicBool::new(false),
            under_way: AtomicU64::new(0),
        });
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, Arc::clone(&control));
        Watched { reaper: Arc::clone(self), number, control }
    }

    /// From now on each answer is the last of its connection. Before anybody can notice otherwise that the process drains.
    pub(super) fn drain(&self) {
        self.first_order.store(LAST, Ordering::Relaxed);
        self.lock().values().for_each(|control| control.tell(LAST));
    }

    fn look(&self, now_ms: u64, phase: Phase) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
        for control in self.lock().values() {
            // In this order: what ends after the first two has renewed what the third reads.
            let blocked_since = control.blocked_since_ms.load(Ordering::Acquire);
            let waits = control.under_way.load(Ordering::Acquire) == 0;
            let since = control.waiting_since_ms.load(Ordering::Acquire);
            // While something is still to be written, the client is not silent but slow.
            let is_over = if blocked_since != NEVER {
                now_ms.saturating_sub(blocked_since) >= self.write_timeout_ms
            } else if control.lingers() {
                control.has_lingered(now_ms, phase)
            } else {
                let patience_ms = control.patience_ms.load(Ordering::Relaxed);
                waits && now_ms.saturating_sub(since) >= patience_ms
            };
            let order = if is_over {
                CLOSE
            } else if phase == Phase::IdleOver {
                FINISH
            } else if phase == Phase::Draining || now_ms.saturating_sub(control.opened_ms) >= self.max_age_ms
            {
                LAST
            } else {
                SERVE
            };
            control.tell(order);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Control>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// What the connection is to do. Wakes the caller's task when that changes.
    pub(super) fn order(&self, context: &std::task::Context<'_>) -> Order {
        self.control.waker.register(context.waker());
        match self.control.order.load(Ordering::Relaxed) {
            SERVE => Order::Serve,
            LAST => Order::Last,
            FINISH => Order::Finish,
            _ => Order::Close,
        }
    }

    /// It is one of HTTP/2. What the client's windows hold back is not seen here, so it is not known whether it is silent
    /// or slow, and has the time of both.
    pub(super) fn speaks_http2(&self) {
        let patience_ms = self.reaper.header_timeout_ms.max(self.reaper.write_timeout_ms);
        self.control.patience_ms.store(patience_ms, Ordering::Relaxed);
    }

    /// For the reads and writes of this connection.
    pub(super) fn flow(&self) -> Flow {
        Flow { control: Arc::clone(&self.control), is_blocked: false }
    }

    /// Marks requests of this connection.
    pub(super) fn marker(&self) -> Marker {
        Marker(Arc::clone(&self.control))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.reaper.lock().remove(&self.number);
    }
}

impl Control {
    /// An order is never taken back.
    fn tell(&self, order: u8) {
        if order > self.order.fetch_max(order, Ordering::Relaxed) {
            self.waker.wake();
        }
    }

    fn lingers(&self) -> bool {
        self.lingering_since_ms.load(Ordering::Acquire) != NEVER
    }

    fn has_lingered(&self, now_ms: u64, phase: Phase) -> bool {
        let since = self.lingering_since_ms.load(Ordering::Acquire);
        let heard = self.heard_ms.load(Ordering::Relaxed);
        phase == Phase::IdleOver
            || now_ms.saturating_sub(since) >= LINGER_MS
            || now_ms.saturating_sub(heard) >= LINGER_SILENCE_MS
    }
}

/// Says whether the client takes what is written, and what it still sends when all is said.
pub(super) struct Flow {
    control: Arc<Control>,
    is_blocked: bool,
}

impl Flow {
    /// How a write went. Costs nothing while writes go through.
    pub(super) fn note(&mut self, is_blocked: bool) {
        if is_blocked != self.is_blocked {
            self.is_blocked = is_blocked;
            let control = &self.control;
            let now_ms = control.now_ms.load(Ordering::Relaxed);
            if !is_blocked {
                // It may have been the last of an answer, which was complete long ago as far as its request knows.
                control.waiting_since_ms.store(now_ms, Ordering::Release);
            }
            control.blocked_since_ms.store(if is_blocked { now_ms } else { NEVER }, Ordering::Release);
        }
    }

    /// Whether the connection goes on as something else.
    pub(super) fn is_tunnel(&self) -> bool {
        self.control.is_tunnel.load(Ordering::Relaxed)
    }

    /// From the first call on the connection lingers. Each call says that the client sent something.
    pub(super) fn heard(&self) {
        let control = &self.control;
        let now_ms = control.now_ms.load(Ordering::Relaxed);
        control.heard_ms.store(now_ms, Ordering::Relaxed);
        let since = &control.lingering_since_ms;
        let _ = since.compare_exchange(NEVER, now_ms, Ordering::Release, Ordering::Relaxed);
    }
}

/// Says when a request begins and ends. Cheap to clone.
#[derive(Clone)]
pub(super) struct Marker(Arc<Control>);

impl Marker {
    /// A header is complete: the connection no longer waits, until the guard is dropped.
    pub(super) fn begin(self) -> UnderWay {
        self.0.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.0)
    }
}

/// A request under way.
pub(super) struct UnderWay(Arc<Control>);

impl UnderWay {
    /// With this answer the connection becomes a tunnel.
    pub(super) fn becomes_tunnel(&self) {
        self.0.is_tunnel.store(true, Ordering::Relaxed);
    }

    /// Whether the connection ends with the answer to this request.
    pub(super) fn is_last(&self) -> bool {
        self.0.order.load(Ordering::Relaxed) != SERVE
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let control = &self.0;
        control.waiting_since_ms.store(control.now_ms.load(Ordering::Relaxed), Ordering::Release);
        control.under_way.fetch_sub(1, Ordering::Release);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    fn reaper() -> Arc<Reaper> {
        Arc::new(Reaper::new(Duration::from_secs(5), Duration::from_secs(30), Duration::from_mins(1)))
    }

    fn order(watched: &Watched) -> Order {
        watched.order(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_connection_that_sends_no_header_is_closed_and_one_that_is_answered_is_not() {
        let reaper = reaper();
        let (silent, busy) = (reaper.watch(), reaper.watch());
        let under_way = busy.marker().begin();
        reaper.look(4_999, Phase::Serving);
        assert_eq!((order(&silent), order(&busy)), (Order::Serve, Order::Serve));
        reaper.look(5_000, Phase::Serving);
        assert_eq!((order(&silent), order(&busy)), (Order::Close, Order::Serve));
        reaper.look(50_000, Phase::Serving);
        drop(under_way);
        reaper.look(54_999, Phase::Serving);
        assert_eq!(order(&busy), Order::Serve, "its wait began when its answer was ready");
        reaper.look(55_000, Phase::Serving);
        assert_eq!(order(&busy), Order::Close);
    }

    #[test]
    fn the_old_and_all_of_a_draining_process_say_that_an_answer_is_the_last() {
        let reaper = reaper();
        let old = reaper.watch();
        let under_way = (old.marker().begin(), old.marker().begin());
        assert!(!under_way.0.is_last());
        reaper.look(60_000, Phase::Serving);
        assert_eq!(order(&old), Order::Last);
        assert!(under_way.0.is_last());
        let young = reaper.watch();
        reaper.look(60_001, Phase::Draining);
        assert_eq!(order(&young), Order::Last, "its request may be on the way");
        drop(under_way.0);
        reaper.look(600_000, Phase::Draining);
        assert_eq!(order(&old), Order::Last, "one is still under way");
    }

    #[test]
    fn a_draining_process_says_so_at_once_on_old_and_new_connections() {
        let reaper = reaper();
        let old = reaper.watch();
        reaper.drain();
        assert_eq!((order(&old), order(&reaper.watch())), (Order::Last, Order::Last));
    }

    #[test]
    fn the_idle_end_when_their_time_is_over() {
        let reaper = reaper();
        let (idle, busy) = (reaper.watch(), reaper.watch());
        let _under_way = busy.marker().begin();
        reaper.look(1, Phase::Draining);
        reaper.look(2, Phase::IdleOver);
        assert_eq!((order(&idle), order(&busy)), (Order::Finish, Order::Finish));
    }

    #[test]
    fn a_connection_whose_client_takes_nothing_is_closed() {
        let reaper = reaper();
        let (stuck, slow) = (reaper.watch(), reaper.watch());
        let _under_way = (stuck.marker().begin(), slow.marker().begin());
        let (mut stuck_flow, mut slow_flow) = (stuck.flow(), slow.flow());
        reaper.look(1_000, Phase::Serving);
        stuck_flow.note(true);
        slow_flow.note(true);
        reaper.look(20_000, Phase::Serving);
        stuck_flow.note(true);
        slow_flow.note(false);
        slow_flow.note(true);
        reaper.look(30_999, Phase::Serving);
        assert_eq!((order(&stuck), order(&slow)), (Order::Serve, Order::Serve));
        reaper.look(31_000, Phase::Serving);
        assert_eq!((order(&stuck), order(&slow)), (Order::Close, Order::Serve));
    }

    #[test]
    fn a_connection_lingers_while_its_client_sends_but_not_for_ever() {
        let reaper = reaper();
        let (silent, busy) = (reaper.watch(), reaper.watch());
        reaper.look(1_000, Phase::Serving);
        for connection in [&silent, &busy] {
            connection.flow().heard();
        }
        for now_ms in (1_001..1_000 + LINGER_MS).step_by(1_000) {
            reaper.look(now_ms, Phase::Serving);
            busy.flow().heard();
            let is_over = now_ms >= 1_000 + LINGER_SILENCE_MS;
            let expected = if is_over { Order::Close } else { Order::Serve };
            assert_eq!((order(&silent), order(&busy)), (expected, Order::Serve), "{now_ms}");
        }
        reaper.look(1_000 + LINGER_MS, Phase::Serving);
        assert_eq!(order(&busy), Order::Close);
        let late = reaper.watch();
        late.flow().heard();
        reaper.look(1_001 + LINGER_MS, Phase::Draining);
        assert_eq!(order(&late), Order::Last);
        reaper.look(1_002 + LINGER_MS, Phase::IdleOver);
        assert_eq!(order(&late), Order::Close, "the process cannot wait");
    }

    #[test]
    fn who_reads_the_last_of_an_answer_slowly_is_not_silent() {
        let reaper = reaper();
        let slow = reaper.watch();
        let mut flow = slow.flow();
        // hyper has taken all of the body, but the client has not.
        drop(slow.marker().begin());
        flow.note(true);
        for second in 1..=50 {
            reaper.look(second * 1_000, Phase::Serving);
            if second % 20 == 0 {
                flow.note(false);
                flow.note(true);
            }
            assert_eq!(order(&slow), Order::Serve, "{second}");
        }
        flow.note(false);
        reaper.look(54_999, Phase::Serving);
        assert_eq!(order(&slow), Order::Serve, "its wait began when all was written");
        reaper.look(55_000, Phase::Serving);
        assert_eq!(order(&slow), Order::Close);
    }

    #[test]
    fn of_http2_what_windows_hold_back_has_the_time_that_writes_have() {
        let reaper = reaper();
        let connection = reaper.watch();
        connection.speaks_http2();
        reaper.look(29_999, Phase::Serving);
        assert_eq!(order(&connection), Order::Serve);
        reaper.look(30_000, Phase::Serving);
        assert_eq!(order(&connection), Order::Close);
    }

    #[test]
    fn who_left_is_forgotten() {
        let reaper = reaper();
        drop((reaper.watch(), reaper.watch()));
        assert!(reaper.lock().is_empty());
    }
}
