//! Fills a database with users and sessions whose tokens are known.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::SinkExt;
use phoenix_auth::model::{KeyRing, SessionToken};
use phoenix_auth::ports::Entropy;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// The servers' secret key, so that token hashes can be made here.
pub(in crate::bench) const SECRET: &str = "a secret key that only this benchmark uses";
/// Users; each has as many sessions as make up the number.
pub(in crate::bench) const USERS: u128 = 100_000;
/// Rows sent to the database at once.
const CHUNK: usize = 10_000;
/// A year, so that nothing ends while it is measured.
const LIFETIME_MS: i64 = 365 * 24 * 3600 * 1000;

pub(super) const fn count(quick: bool) -> usize {
    if quick { 200_000 } else { 1_000_000 }
}

/// Numbered, not random: the benchmark is the same every time.
struct Numbered(std::sync::atomic::AtomicU64);

impl Entropy for Numbered {
    fn fill(&self, out: &mut [u8]) {
        let number = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        for (word, chunk) in (1..).zip(out.chunks_mut(8)) {
            // SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
            let mut mixed = number.wrapping_mul(4).wrapping_add(word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            for (byte, from) in chunk.iter_mut().zip((mixed ^ (mixed >> 31)).to_le_bytes()) {
                *byte = from;
            }
        }
    }
}

/// Adds users and sessions; returns the sessions' tokens.
pub(in crate::bench) fn fill(url: &str, sessions: usize) -> Result<Vec<String>> {
    super::block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        let connection = tokio::spawn(connection);
        let tokens = copy_all(&client, sessions).await?;
        client.batch_execute("VACUUM ANALYZE").await?;
        drop(client);
        connection.await??;
        Ok(tokens)
    })
}

async fn copy_all(client: &Client, sessions: usize) -> Result<Vec<String>> {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let keys = KeyRing::derive(SECRET.as_bytes());
    let entropy = Numbered(std::sync::atomic::AtomicU64::new(0));
    let tokens: Vec<SessionToken> = (0..sessions).map(|_| SessionToken::generate(&entropy)).collect();
    let user = |number: u128| Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 | (number % USERS));
    let session = |number: u128| Uuid::from_u128(0x0190_0000_0000_7000_9000_0000_0000_0000 | number);
    copy(
        client,
        "COPY phoenix.users (id, email, email_key, email_verified, password_hash, role, disabled, first_name, \
         last_name, settings, auth_epoch, created_ms, updated_ms) FROM STDIN",
        (0..USERS).map(|n| {
            let id = user(n);
            format!("{id}\tuser{n}@example.com\tuser{n}@example.com\tf\t-\tuser\tf\tAda\tLovelace\t{{}}\t0\t{now}\t{now}\n")
        }),
    )
    .await?;
    copy(
        client,
        "COPY phoenix.sessions (id, user_id, token_hash, created_ms, expires_ms, provider) FROM STDIN",
        tokens.iter().enumerate().map(|(n, token)| {
            let hash = hex(token.hash(&keys).as_bytes());
            let n = n as u128;
            format!("{}\t{}\t\\\\x{hash}\t{now}\t{}\tpassword\n", session(n), user(n), now + LIFETIME_MS)
        }),
    )
    .await?;
    copy(
        client,
        "COPY phoenix.session_activity (session_id, last_seen_ms, device, user_agent, ip) FROM STDIN",
        (0..tokens.len()).map(|n| {
            // As if last seen a step from now, so that no last-seen is due while it is measured.
            let seen = now + 3_600_000;
            format!("{}\t{seen}\tFirefox on Linux\tMozilla/5.0\t192.0.2.7\n", session(n as u128))
        }),
    )
    .await?;
    Ok(tokens.iter().map(|token| token.expose().to_owned()).collect())
}

async fn copy(client: &Client, statement: &str, rows: impl Iterator<Item = String>) -> Result<()> {
    let sink = client.copy_in::<_, Bytes>(statement).await.with_context(|| statement.to_owned())?;
    let mut sink = std::pin::pin!(sink);
    let mut rows = rows.peekable();
    while rows.peek().is_some() {
        let chunk: String = rows.by_ref().take(CHUNK).collect();
        sink.send(Bytes::from(chunk)).await?;
    }
    sink.finish().await?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        text += &format!("{byte:02x}");
        text
    })
}
