//! Messages through real servers: how soon they arrive, and that a subscriber knows when it may have missed some.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use phoenix_store::redis::{Delivered, MAX_PAYLOAD_BYTES, RedisChannel, RedisSessions};
use phoenix_testkit::proxy::{Direction, FaultProxy, Mode};
use phoenix_testkit::redis::{Cluster, Redis, Sentinels};
use phoenix_testkit::wait;
use tokio::task::JoinSet;

use super::{now, sessions};
use crate::harness::BOUND;

/// A hang is noticed after at most the interval and the time-out of a check; the rest is for a loaded machine.
const NOTICED: Duration = Duration::from_secs(3);

/// A subscriber in the background, and all that it was told with the time of it.
struct Subscriber {
    told: Arc<Mutex<Vec<(Instant, Delivered)>>>,
    _running: JoinSet<()>,
}

impl Subscriber {
    fn start(url: String, channels: &[&str]) -> Self {
        Self::start_with(url, channels, 7)
    }

    fn start_with(url: String, channels: &[&str], seed: u64) -> Self {
        let channels: Vec<String> = channels.iter().map(|name| (*name).to_owned()).collect();
        let told = Arc::new(Mutex::new(Vec::new()));
        let (heard, channel) = (Arc::clone(&told), sessions(url).channel(seed));
        let mut running = JoinSet::new();
        running.spawn(async move {
            let deliver = |delivered| heard.lock().expect("no test panics in it").push((now(), delivered));
            channel.run(&channels, deliver).await;
        });
        Self { told, _running: running }
    }

    fn told(&self) -> Vec<Delivered> {
        self.told
            .lock()
            .expect("no test panics in it")
            .iter()
            .map(|(_, delivered)| delivered.clone())
            .collect()
    }

    /// When the last of these was told; none if never.
    fn last(&self, delivered: &Delivered) -> Option<Instant> {
        let told = self.told.lock().expect("no test panics in it");
        told.iter().rev().find(|(_, other)| other == delivered).map(|(at, _)| *at)
    }

    fn count(&self, delivered: &Delivered) -> usize {
        self.told().iter().filter(|other| *other == delivered).count()
    }

    async fn until_told(&self, delivered: &Delivered, times: usize) {
        wait::until(BOUND, &format!("{delivered:?} to be told {times} times"), || async {
            self.count(delivered) >= times
        })
        .await;
    }
}

fn message(channel: usize, payload: &[u8]) -> Delivered {
    Delivered::Message { channel, payload: payload.to_vec() }
}

/// Publishes new messages until one arrives after the last `Connected`.
async fn until_messages_arrive(publisher: &RedisSessions, subscriber: &Subscriber) {
    let channel = publisher.channel(1);
    let tried = Mutex::new(0_u32);
    wait::until(BOUND, "messages to arrive again", || async {
        publisher.ping().await;
        let payload = {
            let mut tried = tried.lock().expect("no test panics in it");
            *tried += 1;
            format!("again {tried}")
        };
        if !channel.publish("events", payload.as_bytes()).await {
            return false;
        }
        let arrived = wait::for_some(Duration::from_secs(5), "a message or a loss", || async {
            let told = subscriber.told();
            let arrived = told.contains(&message(0, payload.as_bytes()));
            // Not connected when it was published: then it never arrives.
            let connected = told.iter().rev().find(|one| !matches!(one, Delivered::Message { .. }));
            (arrived || connected != Some(&Delivered::Connected)).then_some(arrived)
        });
        tokio::time::timeout(Duration::from_millis(300), arrived).await.unwrap_or(false)
    })
    .await;
}

/// Connected and Lost take turns.
fn assert_in_order(told: &[Delivered]) {
    let states: Vec<_> = told.iter().filter(|one| !matches!(one, Delivered::Message { .. })).collect();
    for (number, state) in states.into_iter().enumerate() {
        let expected = if number % 2 == 0 { Delivered::Connected } else { Delivered::Lost };
        assert_eq!(*state, expected, "{told:?}");
    }
    assert!(matches!(told.first(), None | Some(Delivered::Connected)), "{told:?}");
}

fn channel_of(sessions: &RedisSessions) -> RedisChannel {
    sessions.channel(3)
}

// spec: A2
#[tokio::test]
async fn messages_arrive_in_order_soon_and_with_their_channel() {
    let redis = Redis::start().expect("a server of its own");
    let subscriber = Subscriber::start(redis.url(), &["events", "more"]);
    subscriber.until_told(&Delivered::Connected, 1).await;
    let channel = channel_of(&sessions(redis.url()));
    assert!(channel.publish("elsewhere", b"x").await, "that nobody listens is no failure");
    let mut delays = Vec::new();
    for number in 0..200_u32 {
        let payload = number.to_be_bytes();
        let sent = now();
        assert!(channel.publish(["events", "more"][number as usize % 2], &payload).await);
        let expected = message(number as usize % 2, &payload);
        subscriber.until_told(&expected, 1).await;
        delays.push(subscriber.last(&expected).expect("told").duration_since(sent));
    }
    delays.sort_unstable();
    println!(
        "delivery: median {:?}, 99th percentile {:?}, longest {:?}",
        delays[100], delays[198], delays[199]
    );
    assert!(delays[100] < Duration::from_millis(100), "{:?}", delays[100]);
    let payloads: Vec<u32> = subscriber.told().iter().filter_map(number_of).collect();
    assert_eq!(payloads, (0..200).collect::<Vec<_>>());
    assert_eq!(subscriber.count(&Delivered::Lost), 0);
}

fn number_of(delivered: &Delivered) -> Option<u32> {
    let Delivered::Message { payload, .. } = delivered else { return None };
    payload.as_slice().try_into().ok().map(u32::from_be_bytes)
}

// spec: A2
#[tokio::test]
async fn a_payload_is_bytes_up_to_its_bound() {
    let redis = Redis::start().expect("a server of its own");
    let subscriber = Subscriber::start(redis.url(), &["events"]);
    subscriber.until_told(&Delivered::Connected, 1).await;
    let channel = channel_of(&sessions(redis.url()));
    let longest: Vec<u8> = (0..=255).cycle().take(MAX_PAYLOAD_BYTES).collect();
    assert!(!channel.publish("events", &[longest.as_slice(), b"1"].concat()).await);
    // Somebody else publishes what is too long.
    redis.command(&["PUBLISH", "events", &"x".repeat(MAX_PAYLOAD_BYTES + 1)]).expect("it runs");
    assert!(channel.publish("events", &longest).await);
    assert!(channel.publish("events", b"").await);
    subscriber.until_told(&message(0, b""), 1).await;
    assert_eq!(subscriber.told(), [Delivered::Connected, message(0, &longest), message(0, b"")]);
}

// spec: A2 D6
#[tokio::test]
async fn a_killed_server_is_a_loss_at_once_and_a_restart_connects_again() {
    let redis = Redis::start().expect("a server of its own");
    let subscriber = Subscriber::start(redis.url(), &["events"]);
    let publisher = sessions(redis.url());
    subscriber.until_told(&Delivered::Connected, 1).await;
    for round in 1..=3 {
        redis.kill().expect("it runs");
        let killed = now();
        subscriber.until_told(&Delivered::Lost, round).await;
        assert!(killed.elapsed() < NOTICED, "{:?}", killed.elapsed());
        assert!(publisher.ping().await.is_none());
        assert!(!channel_of(&publisher).publish("events", b"lost").await);
        redis.restart().expect("it starts again");
        subscriber.until_told(&Delivered::Connected, round + 1).await;
        until_messages_arrive(&publisher, &subscriber).await;
    }
    assert_in_order(&subscriber.told());
    assert_eq!(subscriber.count(&message(0, b"lost")), 0);
}

// spec: A2 D6
#[tokio::test]
async fn a_server_that_hangs_is_a_loss_within_a_second() {
    let redis = Redis::start().expect("a server of its own");
    let subscriber = Subscriber::start(redis.url(), &["events"]);
    subscriber.until_told(&Delivered::Connected, 1).await;
    redis.pause().expect("it runs");
    let stopped = now();
    subscriber.until_told(&Delivered::Lost, 1).await;
    let noticed = subscriber.last(&Delivered::Lost).expect("told").duration_since(stopped);
    println!("hang noticed after {noticed:?}");
    assert!(noticed < NOTICED, "{noticed:?}");
    redis.resume().expect("it is paused");
    subscriber.until_told(&Delivered::Connected, 2).await;
    until_messages_arrive(&sessions(redis.url()), &subscriber).await;
    assert_in_order(&subscriber.told());
}

// spec: A2 D6
#[tokio::test]
async fn a_cut_network_is_a_loss_and_a_slow_one_is_not() {
    let redis = Redis::start().expect("a server of its own");
    let proxy = FaultProxy::start(redis.address()).expect("a proxy");
    let subscriber = Subscriber::start(redis.url_via(proxy.addr()), &["events"]);
    let publisher = sessions(redis.url());
    subscriber.until_told(&Delivered::Connected, 1).await;
    let modes = [
        Mode::HalfOpen(Direction::ToClient),
        Mode::HalfOpen(Direction::ToUpstream),
        Mode::Blackhole,
        Mode::Reset,
    ];
    for (round, mode) in modes.into_iter().enumerate() {
        let before = subscriber.count(&Delivered::Lost);
        proxy.set(mode);
        let cut = now();
        subscriber.until_told(&Delivered::Lost, before + 1).await;
        assert!(cut.elapsed() < NOTICED, "{mode:?}: {:?}", cut.elapsed());
        proxy.set(Mode::Pass);
        subscriber.until_told(&Delivered::Connected, round + 2).await;
        until_messages_arrive(&publisher, &subscriber).await;
    }
    let lost = subscriber.count(&Delivered::Lost);
    proxy.set(Mode::Latency(Duration::from_millis(50)));
    // Several checks pass meanwhile.
    let bytes = proxy.counts().to_client_bytes;
    wait::until(BOUND, "some checks", || async { proxy.counts().to_client_bytes >= bytes + 16 }).await;
    until_messages_arrive(&publisher, &subscriber).await;
    assert_eq!(subscriber.count(&Delivered::Lost), lost);
    assert_in_order(&subscriber.told());
}

// spec: A2
#[tokio::test]
async fn a_server_that_stops_being_the_master_is_left() {
    let (redis, other) = (Redis::start().expect("a server"), Redis::start().expect("another"));
    let subscriber = Subscriber::start(redis.url(), &["events"]);
    subscriber.until_told(&Delivered::Connected, 1).await;
    redis.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]).expect("it runs");
    subscriber.until_told(&Delivered::Lost, 1).await;
    redis.command(&["REPLICAOF", "NO", "ONE"]).expect("it runs");
    until_messages_arrive(&sessions(redis.url()), &subscriber).await;
}

// spec: A2
#[tokio::test]
async fn a_dropped_subscriber_leaves_no_connection() {
    let redis = Redis::start().expect("a server of its own");
    let proxy = FaultProxy::start(redis.address()).expect("a proxy");
    let subscriber = Subscriber::start(redis.url_via(proxy.addr()), &["events"]);
    subscriber.until_told(&Delivered::Connected, 1).await;
    assert_eq!(proxy.counts().live, 1);
    drop(subscriber);
    wait::until(BOUND, "the connection to be closed", || async { proxy.counts().live == 0 }).await;
}

// spec: A2 D6
#[tokio::test]
async fn messages_pass_through_a_cluster_and_its_failover() {
    let cluster = Cluster::start().expect("a cluster of its own");
    let publisher = sessions(cluster.url());
    // At different nodes, so that some lose their node and others only the master of the channel's slot.
    let subscribers: Vec<_> =
        (0..12).map(|seed| Subscriber::start_with(cluster.url(), &["events"], seed)).collect();
    for subscriber in &subscribers {
        subscriber.until_told(&Delivered::Connected, 1).await;
        until_messages_arrive(&publisher, subscriber).await;
    }
    let master = cluster.master_of("events", 0).expect("a master");
    cluster.nodes()[master].kill().expect("it runs");
    let killed = now();
    for subscriber in &subscribers {
        until_messages_arrive(&publisher, subscriber).await;
        assert_in_order(&subscriber.told());
    }
    let lost = subscribers.iter().filter(|subscriber| subscriber.count(&Delivered::Lost) > 0).count();
    println!("cluster: {lost} of 12 subscribers lost their node");
    println!("cluster: messages arrive again {:?} after a master was killed", killed.elapsed());
}

// spec: A2 D6
#[tokio::test]
async fn messages_pass_through_a_failover_of_sentinels() {
    let set = Sentinels::start().expect("sentinels of its own");
    let (publisher, subscriber) = (sessions(set.url()), Subscriber::start(set.url(), &["events"]));
    subscriber.until_told(&Delivered::Connected, 1).await;
    until_messages_arrive(&publisher, &subscriber).await;
    set.servers()[0].kill().expect("it runs");
    let killed = now();
    subscriber.until_told(&Delivered::Lost, 1).await;
    subscriber.until_told(&Delivered::Connected, 2).await;
    until_messages_arrive(&publisher, &subscriber).await;
    println!("sentinels: messages arrive again {:?} after the master was killed", killed.elapsed());
    assert_in_order(&subscriber.told());
}
