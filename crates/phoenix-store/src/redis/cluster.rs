//! The masters of a cluster, each with a lane of its own, so that one that hangs or is gone costs only the commands
//! for its own slots. (The driver's cluster connection lets all commands wait while it recovers.) The map of slots is
//! asked for anew when a reply or a failure says that it is wrong.
//!
//! As in `lane.rs` no task of ours asks: the question is a future that callers push on while they wait for their own
//! commands, and that the next caller goes on with.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, Shared, join_all, select_ok};
use phoenix_auth::ports::Clock;
use redis::{Cmd, ConnectionAddr, ConnectionInfo, Pipeline, Value};
use tokio::time::timeout;

use super::connect::Target;
use super::failure::Reply;
use super::lane::{Lane, Outcome, RETRY_INTERVAL};
use super::nodes::{MOST_NODES, Place, at};
use super::slots::{SlotMap, key_of, slot_of};

/// Nodes that are asked for the map at once.
const NODES_ASKED: usize = 3;
/// How many of them are masters, if there are others.
const MASTERS_ASKED: usize = 2;
/// Lanes that are kept, at most: to as many nodes as a map can name, and to seeds and those of redirections.
const MOST_LANES: usize = 2 * MOST_NODES;
/// Lets the next command pass at a node that does not own its slot yet.
const ASKING: &str = "ASKING";

/// A question to several nodes, and the first answer that says something.
type Question = Shared<BoxFuture<'static, Option<Arc<SlotMap>>>>;

/// The lanes to a cluster.
pub(super) struct ClusterLanes {
    target: Arc<Target>,
    clock: Arc<dyn Clock>,
    command_timeout: Duration,
    /// From the address; at least one. Its settings are those of all nodes.
    seeds: Vec<ConnectionInfo>,
    routes: RwLock<Arc<Routes>>,
    /// To nodes of the last map and seeds, as far as they were needed.
    lanes: Mutex<HashMap<Place, Arc<Lane>>>,
    asking: Mutex<Asking>,
    /// Which nodes are asked next.
    turn: AtomicUsize,
}

/// The map and the lanes of its masters.
#[derive(Default)]
struct Routes {
    map: Arc<SlotMap>,
    /// In the order of the map's masters.
    masters: Vec<Arc<Lane>>,
}

#[derive(Default)]
struct Asking {
    /// When the last question was asked.
    began: Option<Duration>,
    /// Until its answer is known.
    question: Option<Question>,
}

/// A command and its position in the call.
struct Item {
    command: Cmd,
    position: usize,
    /// To be preceded by `ASKING`.
    must_ask: bool,
}

/// What goes to one lane in one write.
struct Batch {
    lane: Arc<Lane>,
    pipeline: Pipeline,
    /// Of each command that is not `ASKING`, in the call.
    positions: Vec<usize>,
}

impl ClusterLanes {
    /// Does not connect. `None` if the target is no cluster.
    pub(super) fn new(target: Arc<Target>, command_timeout: Duration, clock: Arc<dyn Clock>) -> Option<Self> {
        let seeds = target.cluster_seeds()?.to_vec();
        Some(Self {
            target,
            clock,
            command_timeout,
            seeds,
            routes: RwLock::default(),
            lanes: Mutex::default(),
            asking: Mutex::default(),
            turn: AtomicUsize::new(0),
        })
    }

    /// A reply to each command, in order; `None` where there is none. A command follows one redirection, and one that
    /// could not be sent is sent to the slot's new master if there is one.
    pub(super) async fn send(&self, commands: Vec<Cmd>) -> Vec<Option<Value>> {
        let end = self.clock.mono() + self.command_timeout;
        let mut replies: Vec<Option<Value>> = commands.iter().map(|_| None).collect();
        let items = commands.into_iter().enumerate();
        let items = items.map(|(position, command)| Item { command, position, must_ask: false });
        let routes = self.routes();
        let (mut batches, mut homeless) = (Vec::new(), Vec::new());
        for item in items {
            match routes.lane_of(&item.command) {
                Some(lane) => add(&mut batches, lane, item),
                None => homeless.push(item),
            }
        }
        let mut again = Vec::new();
        self.round(batches, end, &mut replies, &mut again, &mut homeless).await;
        if !homeless.is_empty() {
            self.find_homes(&routes, homeless, end, &mut again).await;
        }
        if !again.is_empty() {
            // Who is redirected once more keeps the redirection for a reply.
            self.round(again, end, &mut replies, &mut Vec::new(), &mut Vec::new()).await;
        }
        replies
    }

    /// Sends the batches side by side and notes the replies. What is redirected goes to `again`, what could not be
    /// sent to `unsent`.
    async fn round(
        &self,
        batches: Vec<Batch>,
        end: Duration,
        replies: &mut [Option<Value>],
        again: &mut Vec<Batch>,
        unsent: &mut Vec<Item>,
    ) {
        let within = end.saturating_sub(self.clock.mono());
        let work = batches.into_iter().map(|batch| async move {
            let sent = batch.lane.send(&batch.pipeline, within).await;
            (batch, sent)
        });
        for (batch, sent) in self.while_asking(join_all(work)).await {
            match sent {
                Outcome::Answered(values) => self.take(&batch, values, replies, again),
                Outcome::NotSent => unsent.extend(batch.items()),
                Outcome::Lost => self.ask_anew(),
            }
        }
    }

    fn take(&self, batch: &Batch, values: Vec<Value>, replies: &mut [Option<Value>], again: &mut Vec<Batch>) {
        let host = batch.lane.host();
        let answered = batch.pipeline.cmd_iter().zip(values).filter(|(command, _)| !is_asking(command));
        for ((command, value), position) in answered.zip(&batch.positions) {
            let meaning =
                if let Value::ServerError(error) = &value { Reply::of(error, host) } else { Reply::Refused };
            if meaning != Reply::Refused {
                self.ask_anew();
            }
            let (place, must_ask) = match meaning {
                Reply::Moved(place) => (place, false),
                Reply::Ask(place) => (place, true),
                Reply::WrongServer | Reply::NotNow | Reply::Refused => (None, false),
            };
            if let Some(lane) = place.and_then(|place| self.lane(&place)) {
                add(again, &lane, Item { command: command.clone(), position: *position, must_ask });
            }
            if let Some(reply) = replies.get_mut(*position) {
                *reply = Some(value);
            }
        }
    }

    /// Waits for the new map, if one is asked for, and sends to `again` what has another master there than before.
    async fn find_homes(&self, before: &Routes, items: Vec<Item>, end: Duration, again: &mut Vec<Batch>) {
        self.ask_anew();
        let left = end.saturating_sub(self.clock.mono());
        if left.is_zero() {
            return;
        }
        if let Some(question) = self.question() {
            let Ok(map) = timeout(left, question.clone()).await else { return };
            self.install(&question, map);
        }
        let routes = self.routes();
        for item in items {
            let old = before.lane_of(&item.command);
            let new = routes.lane_of(&item.command);
            if let Some(new) = new.filter(|new| old.is_none_or(|old| !Arc::ptr_eq(old, new))) {
                add(again, new, item);
            }
        }
    }

    /// Pushes the question on while the work is being done, and not longer.
    async fn while_asking<T>(&self, work: impl Future<Output = T>) -> T {
        let Some(question) = self.question() else { return work.await };
        let mut work = pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return done,
            map = question.clone() => self.install(&question, map),
        }
        work.await
    }

    fn question(&self) -> Option<Question> {
        self.asking().question.clone()
    }

    /// Begins to ask for the map, unless that is under way or was done a moment ago.
    fn ask_anew(&self) {
        let mut asking = self.asking();
        let now = self.clock.mono();
        let pause = if asking.question.is_some() { self.target.connect_bound() } else { RETRY_INTERVAL };
        if asking.began.is_some_and(|began| now.saturating_sub(began) < pause) {
            return;
        }
        let within = self.target.connect_bound();
        let ways: Vec<_> = self.to_be_asked().into_iter().map(|lane| ask(lane, within).boxed()).collect();
        if ways.is_empty() {
            return;
        }
        let first = async move { select_ok(ways).await.ok().map(|(map, _slower)| Arc::new(map)) };
        *asking = Asking { began: Some(now), question: Some(first.boxed().shared()) };
    }

    /// Others every time: one that knows an old map must not be the only one that is asked.
    fn to_be_asked(&self) -> Vec<Arc<Lane>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let routes = self.routes();
        let others: Vec<Place> = self.seed_places().chain(routes.map.replicas().iter().cloned()).collect();
        let masters = rotated(routes.map.masters(), turn).take(MASTERS_ASKED);
        let mut places: Vec<&Place> = Vec::with_capacity(NODES_ASKED);
        for place in masters.chain(rotated(&others, turn)) {
            if places.len() < NODES_ASKED && !places.contains(&place) {
                places.push(place);
            }
        }
        places.into_iter().filter_map(|place| self.lane(place)).collect()
    }

    /// Takes the answer over, unless somebody did or another question was asked meanwhile.
    fn install(&self, question: &Question, map: Option<Arc<SlotMap>>) {
        let mut asking = self.asking();
        if !asking.question.as_ref().is_some_and(|current| current.ptr_eq(question)) {
            return;
        }
        asking.question = None;
        let Some(map) = map else { return };
        let masters: Vec<_> = map.masters().iter().filter_map(|place| self.lane(place)).collect();
        if masters.len() != map.masters().len() {
            return;
        }
        let seeds: Vec<Place> = self.seed_places().collect();
        self.lanes().retain(|place, _| {
            map.masters().contains(place) || map.replicas().contains(place) || seeds.contains(place)
        });
        *self.routes.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Routes { map, masters });
    }

    /// The lane to a node.
    fn lane(&self, place: &Place) -> Option<Arc<Lane>> {
        let mut lanes = self.lanes();
        if let Some(lane) = lanes.get(place) {
            return Some(Arc::clone(lane));
        }
        if lanes.len() >= MOST_LANES {
            return None;
        }
        let node = at(place, self.seeds.first()?)?;
        let (target, clock) = (Arc::clone(&self.target), Arc::clone(&self.clock));
        let lane = Arc::new(Lane::new(target, Some(node), place.0.clone(), self.command_timeout, clock));
        lanes.insert(place.clone(), Arc::clone(&lane));
        Some(lane)
    }

    fn seed_places(&self) -> impl Iterator<Item = Place> {
        self.seeds.iter().filter_map(|seed| match seed.addr() {
            ConnectionAddr::Tcp(host, port) => Some((host.clone(), *port)),
            _ => None,
        })
    }

    fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.routes.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<Place, Arc<Lane>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asking(&self) -> MutexGuard<'_, Asking> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Routes {
    /// The lane of the command's master; any for a command without a key.
    fn lane_of(&self, command: &Cmd) -> Option<&Arc<Lane>> {
        let position = key_of(command).map_or(Some(0), |key| self.map.master_of(slot_of(key)))?;
        self.masters.get(position)
    }
}

impl Batch {
    fn push(&mut self, item: Item) {
        if item.must_ask {
            self.pipeline.cmd(ASKING);
        }
        self.pipeline.add_command(item.command);
        self.positions.push(item.position);
    }

    fn items(&self) -> impl Iterator<Item = Item> {
        let commands = self.pipeline.cmd_iter().filter(|command| !is_asking(command));
        commands.zip(&self.positions).map(|(command, position)| Item {
            command: command.clone(),
            position: *position,
            must_ask: false,
        })
    }
}

fn is_asking(command: &Cmd) -> bool {
    command.args_iter().next() == Some(redis::Arg::Simple(ASKING.as_bytes()))
}

fn add(batches: &mut Vec<Batch>, lane: &Arc<Lane>, item: Item) {
    if let Some(batch) = batches.iter_mut().find(|batch| Arc::ptr_eq(&batch.lane, lane)) {
        return batch.push(item);
    }
    let mut batch =
        Batch { lane: Arc::clone(lane), pipeline: Pipeline::with_capacity(1), positions: Vec::new() };
    batch.push(item);
    batches.push(batch);
}

/// Asks one node for the map.
async fn ask(lane: Arc<Lane>, within: Duration) -> Result<SlotMap, ()> {
    let mut question = Pipeline::with_capacity(1);
    question.cmd("CLUSTER").arg("SLOTS");
    let Outcome::Answered(mut replies) = lane.send(&question, within).await else { return Err(()) };
    let map = SlotMap::of(replies.pop().ok_or(())?, lane.host());
    if map.is_empty() { Err(()) } else { Ok(map) }
}

fn rotated<T>(all: &[T], turn: usize) -> impl Iterator<Item = &T> {
    let first = turn.checked_rem(all.len()).unwrap_or_default();
    all.iter().cycle().skip(first).take(all.len())
}
