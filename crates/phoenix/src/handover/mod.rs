//! Listening sockets over the life of several processes: they come from systemd, from the process that served before,
//! or are bound here, and go on to the process that serves next.
//!
//! How one process follows another, over a Unix socket that both know (`server.handover_socket`):
//!
//! ```text
//! successor                                predecessor
//!   connects                          ->   checks that it is the same user
//!   "phoenix-handover 1"              ->
//!                                     <-   its listening sockets, each with its role and address
//!   opens the database, is built
//!   accepts connections
//!   "ready"                           ->
//!                                     <-   "yours"; stops accepting, drains, ends
//!   takes the path of the Unix socket
//! ```
//!
//! Until "ready" the predecessor serves as if nothing was; when the successor ends before, or is not ready in time, it
//! goes on. What can fail at the successor's comes before "ready", so that never both end. Both hold the same sockets, so
//! no connection is refused or lost in between.

mod activation;
mod notify;
mod predecessor;
mod successor;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use anyhow::Context;

pub(crate) use activation::Activation;
pub(crate) use notify::Notifier;
pub(crate) use predecessor::Predecessor;
pub(crate) use successor::Succession;

use crate::listener;

/// What a listening socket is for. Its name is the `FileDescriptorName=` of a systemd socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// Requests.
    Http,
    /// Plain HTTP, which is sent on to HTTPS.
    Redirect,
    /// Questions of HAProxy.
    Spoe,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Redirect => "redirect",
            Self::Spoe => "spoe",
        }
    }
}

/// A socket under the name by which the next process finds it.
#[derive(Debug)]
pub(crate) struct Named {
    /// A [`Role`]'s name; of systemd's sockets whatever it is called.
    role: String,
    /// As configured, which may be port 0.
    address: SocketAddr,
    socket: TcpListener,
    /// Whether systemd made it, from a configuration of its own.
    is_systemds: bool,
}

/// The listening sockets of this process.
pub(crate) struct Sockets {
    given: Vec<Named>,
    held: Vec<Named>,
    predecessor: Option<Predecessor>,
}

impl Sockets {
    /// Asks the process that serves now for its sockets, if there is one at `path`; else takes those of systemd.
    ///
    /// # Errors
    /// When somebody is there who does not hand over: another user, another version, or one that is already being
    /// followed.
    pub(crate) async fn gather(path: Option<&Path>, activation: Activation) -> anyhow::Result<Self> {
        let found = match path {
            Some(path) => Predecessor::find(path).await.with_context(|| {
                format!(
                    "the process at {} (PHOENIX_HANDOVER_SOCKET) does not hand over; end it first",
                    path.display()
                )
            })?,
            None => None,
        };
        Ok(match found {
            Some((predecessor, given)) => Self { given, held: Vec::new(), predecessor: Some(predecessor) },
            None => Self { given: activation.sockets, held: Vec::new(), predecessor: None },
        })
    }

    /// The socket for `role` at `address`: the one that was given, or a new one. It is kept for the next process, too.
    ///
    /// # Errors
    /// When it was not given and the address cannot be bound.
    pub(crate) fn listen(
        &mut self,
        role: Role,
        address: SocketAddr,
    ) -> std::io::Result<tokio::net::TcpListener> {
        let found = self.given.iter().position(|given| given.is(role, address));
        let socket = match found {
            Some(index) => self.given.swap_remove(index).socket,
            None => listener::bind_std(address)?,
        };
        socket.set_nonblocking(true)?;
        let copy = socket.try_clone()?;
        self.held.push(Named { role: role.name().to_owned(), address, socket: copy, is_systemds: false });
        tokio::net::TcpListener::from_std(socket)
    }

    /// Nothing more will be listened on: the process that is to be told when we are ready, and what the next one gets.
    /// Sockets that were given and not used are closed.
    pub(crate) fn settle(self) -> (Option<Predecessor>, Held) {
        for unused in &self.given {
            tracing::warn!(
                role = unused.role,
                address = %unused.address,
                "a listening socket that was passed is not used"
            );
        }
        (self.predecessor, Held(self.held))
    }
}

impl Named {
    /// Whether this is the socket that is looked for. systemd's is it under our name for the role, or at the address;
    /// one of a predecessor only when both have the same configuration.
    fn is(&self, role: Role, address: SocketAddr) -> bool {
        let (same_role, same_address) = (self.role == role.name(), self.address == address);
        if self.is_systemds {
            same_address || (same_role && self.address.port() == address.port())
        } else {
            same_address && same_role
        }
    }
}

/// Copies of the sockets on which this process listens, for the next one.
pub(crate) struct Held(Vec<Named>);

impl fmt::Debug for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sockets")
            .field("given", &self.given)
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}
