//! Sockets that systemd opened before it started us (`sd_listen_fds(3)`).

use std::io;

use listenfd::ListenFd;
use phoenix_config::Supervisor;

use super::Named;

/// Most sockets that are taken.
const MAX_SOCKETS: usize = 16;

/// What the program that started us passed.
#[derive(Debug, Default)]
pub(crate) struct Activation {
    pub(super) sockets: Vec<Named>,
}

impl Activation {
    /// Takes the sockets of this process. Removes what names them from the environment, so it belongs before the first
    /// thread.
    ///
    /// # Errors
    /// When one is no TCP socket.
    pub(crate) fn of(supervisor: &Supervisor) -> io::Result<Self> {
        let mut passed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..passed.len().min(MAX_SOCKETS) {
            let Some(socket) = passed.take_tcp_listener(index)? else { continue };
            let role = supervisor.socket_names.get(index).cloned().unwrap_or_default();
            let address = socket.local_addr()?;
            sockets.push(Named { role, address, socket, is_systemds: true });
        }
        Ok(Self { sockets })
    }
}
