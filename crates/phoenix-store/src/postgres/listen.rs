//! Messages between nodes through the database: `NOTIFY` from the pool, `LISTEN` on a connection of its own.
//!
//! A push is a hint. It may be lost, and the listener says when that can have happened; what must not be lost is in
//! the log of invalidations.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use phoenix_auth::ports::StoreError;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, Socket};

use super::PgStore;
use super::db::Db;
use super::retry::{Jitter, backoff};
use super::sql::Sql;
use super::tls::{PgStream, PgTls};

/// Time between two checks of a connection that is silent.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// A check that is not answered by then has failed.
const CHECK_TIMEOUT: Duration = Duration::from_millis(500);
/// Longest time to connect and subscribe.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Upper bound of the random pause after the first failed attempt to subscribe; it grows to eight times as much.
const RETRY_DELAY: Duration = Duration::from_millis(250);

/// What a listener hears.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PgNotice {
    /// It is subscribed, for the first time or again. Everything sent before may be lost.
    Connected,
    /// Somebody sent this, perhaps ourselves.
    Message(String),
    /// It is subscribed no more. Everything sent from now until the next [`PgNotice::Connected`] is lost, and so may
    /// be what was sent up to a second ago.
    Lost,
}

/// How listeners connect.
pub(super) struct Listening {
    driver: Config,
    tls: PgTls,
    jitter: Jitter,
}

impl Listening {
    pub(super) fn new(driver: &Config, tls: PgTls, seed: u64) -> Self {
        Self { driver: driver.clone(), tls, jitter: Jitter::new(seed ^ 2) }
    }
}

/// A subscribed connection, driven by whoever waits for it.
struct Subscription {
    client: Client,
    connection: Connection<Socket, PgStream>,
}

/// Why a subscription is over.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("PostgreSQL did not carry out the statement")]
    Postgres(#[from] Error),
    #[error("the server closed the connection")]
    Closed,
    #[error("the server did not answer within {0:?}")]
    Silent(Duration),
}

impl PgStore {
    /// Sends `payload`, of less than 8000 bytes, to everybody who listens to `channel` now. After an outage in the
    /// middle it may arrive twice.
    ///
    /// # Errors
    /// An outage, or a payload that is too long.
    pub async fn notify(&self, channel: &str, payload: &str) -> Result<(), StoreError> {
        self.read("send a message", |db: Arc<Db>| async move {
            db.one(Sql::Notify, &[&channel, &payload], |_| Ok(())).await
        })
        .await
    }

    /// Listens to `channel` until the future is dropped, on a connection of its own that only this future drives.
    /// A connection that is lost, or does not answer a check within half a second, is replaced; checks are half a
    /// second apart. Attempts to connect go on for ever, with growing random pauses of at most two seconds, and
    /// [`PgStore::close`] does not end them.
    ///
    /// [`PgNotice::Connected`] and [`PgNotice::Lost`] take turns, and every message comes between them.
    pub async fn listen(&self, channel: &str, mut deliver: impl FnMut(PgNotice) + Send) -> Infallible {
        let mut failures = 0;
        loop {
            let opened = tokio::time::timeout(SUBSCRIBE_TIMEOUT, self.listening.subscribe(channel)).await;
            match opened.unwrap_or(Err(Broken::Silent(SUBSCRIBE_TIMEOUT))) {
                Ok(mut subscription) => {
                    failures = 0;
                    deliver(PgNotice::Connected);
                    let broken = subscription.follow(&mut deliver).await;
                    deliver(PgNotice::Lost);
                    tracing::info!(channel, error = ?broken, "the listening connection to PostgreSQL is lost");
                }
                Err(broken) => {
                    tracing::warn!(channel, failures, error = ?broken, "listening to PostgreSQL is not possible");
                }
            }
            self.listening.pause(failures).await;
            failures = failures.saturating_add(1);
        }
    }
}

impl Listening {
    async fn subscribe(&self, channel: &str) -> Result<Subscription, Broken> {
        let (client, connection) = self.driver.connect(self.tls.clone()).await?;
        let mut subscription = Subscription { client, connection };
        let Subscription { client, connection } = &mut subscription;
        let listen = format!("LISTEN \"{}\"", channel.replace('"', "\"\""));
        // What comes before the answer may be lost like everything before it.
        drive(connection, client.batch_execute(&listen), |_| {}).await?;
        Ok(subscription)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the pause before the next attempt to connect, at most two seconds"
    )]
    async fn pause(&self, failures: u32) {
        let bound = backoff(RETRY_DELAY, failures);
        tokio::time::sleep(bound / 2 + self.jitter.below(bound / 2)).await;
    }
}

impl Subscription {
    /// Delivers messages until the connection breaks.
    async fn follow(&mut self, deliver: &mut (impl FnMut(PgNotice) + Send)) -> Broken {
        let Self { client, connection } = self;
        let mut message = |message: AsyncMessage| {
            if let AsyncMessage::Notification(sent) = message {
                deliver(PgNotice::Message(sent.payload().to_owned()));
            }
        };
        loop {
            let quiet = drive(connection, pending::<Result<Infallible, Error>>(), &mut message);
            if let Ok(Err(broken)) = tokio::time::timeout(CHECK_INTERVAL, quiet).await {
                return broken;
            }
            let check = drive(connection, client.batch_execute(""), &mut message);
            match tokio::time::timeout(CHECK_TIMEOUT, check).await {
                Ok(Ok(())) => {}
                Ok(Err(broken)) => return broken,
                Err(_) => return Broken::Silent(CHECK_TIMEOUT),
            }
        }
    }
}

/// Drives the connection until `request` is answered or the connection breaks; hands over what comes meanwhile.
async fn drive<T>(
    connection: &mut Connection<Socket, PgStream>,
    request: impl Future<Output = Result<T, Error>>,
    mut message: impl FnMut(AsyncMessage),
) -> Result<T, Broken> {
    let mut request = pin!(request);
    loop {
        tokio::select! {
            answer = &mut request => return Ok(answer?),
            received = poll_fn(|cx| connection.poll_message(cx)) => match received {
                Some(received) => message(received?),
                None => return Err(Broken::Closed),
            },
        }
    }
}
