//! Redis Pub/Sub as the wire.

use async_trait::async_trait;

use super::{Wire, WireEvent};
use crate::redis::{Delivered, RedisChannel};

/// Carries messages over one channel.
pub struct RedisWire {
    channel: RedisChannel,
    /// As a list, because it is subscribed to as one.
    names: [String; 1],
}

impl RedisWire {
    /// Over the channel of the installation with this key fingerprint: channels are not separated by database number,
    /// and two installations may share a Redis.
    #[must_use]
    pub fn new(channel: RedisChannel, fingerprint: [u8; 32]) -> Self {
        let [first, second, third, fourth, ..] = fingerprint;
        let name = format!("phoenix:push:{:08x}", u32::from_be_bytes([first, second, third, fourth]));
        Self { channel, names: [name] }
    }
}

#[async_trait]
impl Wire for RedisWire {
    async fn send(&self, message: &[u8]) -> bool {
        let [name] = &self.names;
        self.channel.publish(name, message).await
    }

    async fn listen(&self, deliver: &mut (dyn FnMut(WireEvent) + Send)) {
        let deliver = |event| match event {
            Delivered::Connected => deliver(WireEvent::Connected),
            Delivered::Lost => deliver(WireEvent::Lost),
            Delivered::Message { payload, .. } => deliver(WireEvent::Message(payload)),
        };
        self.channel.run(&self.names, deliver).await;
    }
}
