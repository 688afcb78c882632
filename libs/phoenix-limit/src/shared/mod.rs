//! Limits that many processes share through Redis, and that survive its loss.
//!
//! `node.rs` decides, `change.rs` is what is done about a key otherwise, `tick.rs` is what goes on beside that, `situation.rs` who decides when. `call.rs` and `lua/` are the
//! language spoken with Redis, `link.rs` the way to it.

mod call;
mod change;
mod clock;
mod flight;
mod health;
mod late;
mod lease;
mod link;
mod message;
mod node;
mod options;
mod script;
mod situation;
#[cfg(test)]
mod tests;
mod tick;

pub use call::nodes_key;
pub use health::{SharedHealth, Source};
pub use link::{Link, LinkError, SingleServer};
pub use message::CHANNEL;
pub(crate) use node::Shared;
pub use options::{LeaseBounds, SharedOptions};
