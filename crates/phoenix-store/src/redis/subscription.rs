//! One subscription from its connection to the connection's end. When to open the next is `channel.rs`'s.
//!
//! A subscription that hears nothing may have nothing to hear, or be cut off. So the same connection is asked to do a
//! write that changes nothing, again and again: no answer in time, `READONLY` (the server is no longer the master) and
//! `CLUSTERDOWN` (the node is cut off from the cluster) end the subscription.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, RedisError, Value};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::channel::{Delivered, MAX_PAYLOAD_BYTES};
use super::connect::{Target, takes_writes};
use super::failure::{Failure, is_outage};

/// Messages that may wait to be delivered. One more ends the subscription, so that the subscriber knows of its loss.
const WAITING_MESSAGES: usize = 8192;
/// Bytes of payload that may wait; likewise.
const WAITING_BYTES: usize = 8 << 20;
/// Pause between two checks of the connection.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// A check not answered by then has failed.
const CHECK_TIMEOUT: Duration = Duration::from_millis(500);

/// A connection that has subscribed.
pub(super) struct Subscription {
    connection: MultiplexedConnection,
    messages: mpsc::Receiver<Waiting>,
    inbox: Arc<Inbox>,
}

/// How a subscription went.
pub(super) struct Ended {
    /// Whether it stood for as long as it takes to check it.
    pub(super) was_confirmed: bool,
}

struct Waiting {
    channel: usize,
    payload: Vec<u8>,
}

/// Where the driver puts messages. Never blocks.
struct Inbox {
    channels: Vec<String>,
    sender: mpsc::Sender<Waiting>,
    waiting_bytes: AtomicUsize,
    /// The connection ended, or a message was lost.
    ended: Notify,
}

impl Subscription {
    /// Connects and subscribes. Bounded by three times the time to connect.
    pub(super) async fn open(target: &Target, channels: &[String], turn: usize) -> Result<Self, Failure> {
        let (sender, messages) = mpsc::channel(WAITING_MESSAGES);
        let inbox = Arc::new(Inbox {
            channels: channels.to_vec(),
            sender,
            waiting_bytes: AtomicUsize::new(0),
            ended: Notify::new(),
        });
        let pushes = Arc::clone(&inbox);
        let opening = async {
            let mut connection = target.subscriber(move |push| pushes.take(push), turn).await?;
            connection.subscribe(channels).await?;
            Ok::<_, RedisError>(connection)
        };
        let opened = timeout(target.connect_bound() + target.connect_bound() / 2, opening).await;
        let connection = opened.map_or(Err(Failure::Silent), |answer| answer.map_err(Failure::from))?;
        Ok(Self { connection, messages, inbox })
    }

    /// Delivers messages until the connection ends, fails a check, or a message had to be dropped. What arrived
    /// before that is delivered.
    pub(super) async fn follow(mut self, deliver: &mut impl FnMut(Delivered)) -> Ended {
        let confirmed = AtomicBool::new(false);
        let checks = check_until_it_fails(self.connection.clone(), &confirmed);
        tokio::pin!(checks);
        loop {
            tokio::select! {
                Some(message) = self.messages.recv() => self.inbox.hand_over(message, deliver),
                () = self.inbox.ended.notified() => break,
                () = &mut checks => break,
            }
        }
        while let Ok(message) = self.messages.try_recv() {
            self.inbox.hand_over(message, deliver);
        }
        Ended { was_confirmed: confirmed.load(Ordering::Relaxed) }
    }
}

impl Inbox {
    fn take(&self, push: PushInfo) -> Result<(), redis::aio::SendError> {
        match push.kind {
            PushKind::Message => {
                let Some(message) = self.read(push.data) else { return Ok(()) };
                let bytes = message.payload.len();
                let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
                if waiting > WAITING_BYTES || self.sender.try_send(message).is_err() {
                    self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                    self.ended.notify_one();
                    return Err(redis::aio::SendError);
                }
            }
            PushKind::Disconnection => self.ended.notify_one(),
            _ => {}
        }
        Ok(())
    }

    /// A message of one of the channels that is not too long.
    fn read(&self, data: Vec<Value>) -> Option<Waiting> {
        let mut data = data.into_iter();
        let (Some(Value::BulkString(name)), Some(Value::BulkString(payload))) = (data.next(), data.next())
        else {
            return None;
        };
        let channel = self.channels.iter().position(|channel| channel.as_bytes() == name)?;
        if payload.len() > MAX_PAYLOAD_BYTES {
            tracing::debug!(bytes = payload.len(), "a message was too long and is dropped");
            return None;
        }
        Some(Waiting { channel, payload })
    }

    fn hand_over(&self, message: Waiting, deliver: &mut impl FnMut(Delivered)) {
        self.waiting_bytes.fetch_sub(message.payload.len(), Ordering::Relaxed);
        deliver(Delivered::Message { channel: message.channel, payload: message.payload });
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the pause between two checks of one connection; the caller ends it by dropping the future"
)]
async fn check_until_it_fails(mut connection: MultiplexedConnection, confirmed: &AtomicBool) {
    loop {
        match timeout(CHECK_TIMEOUT, takes_writes(&mut connection)).await {
            Ok(Err(error)) if is_outage(&error) => {
                tracing::debug!(%error, "the subscription's server cannot serve");
                return;
            }
            Err(_elapsed) => return,
            Ok(_) => confirmed.store(true, Ordering::Relaxed),
        }
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbox() -> (Inbox, mpsc::Receiver<Waiting>) {
        let (sender, receiver) = mpsc::channel(WAITING_MESSAGES);
        let channels = vec!["a".to_owned(), "b".to_owned()];
        (Inbox { channels, sender, waiting_bytes: AtomicUsize::new(0), ended: Notify::new() }, receiver)
    }

    fn message(channel: &str, bytes: usize) -> PushInfo {
        let data = [channel.as_bytes().to_vec(), vec![0; bytes]].map(Value::BulkString).to_vec();
        PushInfo { kind: PushKind::Message, data }
    }

    async fn has_ended(inbox: &Inbox) -> bool {
        timeout(Duration::ZERO, inbox.ended.notified()).await.is_ok()
    }

    #[tokio::test]
    async fn only_messages_of_our_channels_that_are_not_too_long_wait() {
        let (inbox, mut waiting) = inbox();
        let garbage = PushInfo { kind: PushKind::Message, data: vec![Value::Int(1)] };
        let other = PushInfo { kind: PushKind::Invalidate, ..message("a", 1) };
        for push in [message("c", 1), message("a", MAX_PAYLOAD_BYTES + 1), garbage, other] {
            assert!(inbox.take(push).is_ok());
        }
        assert!(waiting.try_recv().is_err());
        assert!(inbox.take(message("b", MAX_PAYLOAD_BYTES)).is_ok());
        let message = waiting.try_recv().expect("it waits");
        assert_eq!((message.channel, message.payload.len()), (1, MAX_PAYLOAD_BYTES));
        assert!(!has_ended(&inbox).await);
    }

    #[tokio::test]
    async fn more_than_may_wait_ends_the_subscription() {
        for (bytes, fit) in [(0, WAITING_MESSAGES), (MAX_PAYLOAD_BYTES, WAITING_BYTES / MAX_PAYLOAD_BYTES)] {
            let (inbox, mut waiting) = inbox();
            for _ in 0..fit {
                assert!(inbox.take(message("a", bytes)).is_ok());
            }
            assert!(!has_ended(&inbox).await);
            assert!(inbox.take(message("a", bytes)).is_err());
            assert!(has_ended(&inbox).await);
            let mut delivered = 0;
            while let Ok(message) = waiting.try_recv() {
                inbox.hand_over(message, &mut |_| delivered += 1);
            }
            assert_eq!(delivered, fit);
            assert!(inbox.take(message("a", bytes)).is_ok(), "there is room again");
        }
    }

    #[tokio::test]
    async fn the_end_of_the_connection_ends_the_subscription() {
        let (inbox, _waiting) = inbox();
        assert!(inbox.take(PushInfo { kind: PushKind::Disconnection, data: vec![] }).is_ok());
        assert!(has_ended(&inbox).await);
    }
}
