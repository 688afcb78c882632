//! The limiter's way to Redis: what it sends, and what other nodes tell it. Where commands go and how long they may
//! take is `phoenix-store`'s, what they mean `phoenix-limit`'s.

use std::sync::Arc;

use async_trait::async_trait;
use phoenix_auth::ports::Clock;
use phoenix_limit::{CHANNEL, Limiter, Link, LinkError};
use phoenix_store::redis::{CommandError, Delivered, RedisCommands, RedisReceiver};
use redis::{Cmd, Value};

/// Commands of the limiter to Redis.
pub(crate) struct RedisLink(Arc<RedisCommands>);

impl RedisLink {
    /// The commands may be shared with whoever shows their figures.
    pub(crate) fn new(commands: Arc<RedisCommands>) -> Self {
        Self(commands)
    }
}

#[async_trait]
impl Link for RedisLink {
    async fn send(&self, commands: Vec<Cmd>) -> Vec<Result<Value, LinkError>> {
        let results = self.0.send(commands).await;
        results.into_iter().map(|result| result.map_err(translated)).collect()
    }
}

fn translated(error: CommandError) -> LinkError {
    match error {
        CommandError::Unreachable => LinkError::Unreachable,
        CommandError::Refused { code } => LinkError::Refused { code },
    }
}

/// Hands what other nodes tell to the limiter, until it is dropped. What is lost on the way the limiter bears.
pub(crate) async fn listen(receiver: RedisReceiver, limiter: &Limiter, clock: &dyn Clock) {
    let deliver = |delivered| {
        if let Delivered::Message { payload, .. } = delivered {
            limiter.message(&payload, clock.mono());
        }
    };
    receiver.run(&[CHANNEL.to_owned()], deliver).await;
}
