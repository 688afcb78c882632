//! What the program that started this process says in the environment: systemd's protocols `sd_notify(3)` and
//! `sd_listen_fds(3)`. Does not speak them.

use std::env;
use std::ffi::OsString;

/// Most names of sockets that are read.
const MAX_NAMES: usize = 16;

/// What systemd, or another supervisor that speaks its protocols, says about this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Supervisor {
    /// `NOTIFY_SOCKET`: where it wants to hear of the state. A path, or with a leading `@` a name of Linux' own.
    pub notify_socket: Option<OsString>,
    /// `LISTEN_FDNAMES`: the names of the sockets it passes, in their order. At most 16.
    pub socket_names: Vec<String>,
}

impl Supervisor {
    /// Reads the environment of this process.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the environment is read in this crate, and nowhere else")]
    pub fn from_process() -> Self {
        Self::from_variables(env::var_os("NOTIFY_SOCKET"), env::var_os("LISTEN_FDNAMES"))
    }

    fn from_variables(notify_socket: Option<OsString>, names: Option<OsString>) -> Self {
        let names = names.unwrap_or_default().to_string_lossy().into_owned();
        let names = names.split(':').filter(|_| !names.is_empty()).take(MAX_NAMES);
        Self {
            notify_socket: notify_socket.filter(|path| !path.is_empty()),
            socket_names: names.map(str::to_owned).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_or_empty_is_nothing() {
        let nothing = Supervisor::default();
        assert_eq!(Supervisor::from_variables(None, None), nothing);
        assert_eq!(Supervisor::from_variables(Some(OsString::new()), Some(OsString::new())), nothing);
    }

    #[test]
    fn names_are_in_order_and_bounded() {
        let read = |names: &str| Supervisor::from_variables(Some("@x".into()), Some(names.into()));
        assert_eq!(read("http:redirect::x").socket_names, ["http", "redirect", "", "x"]);
        assert_eq!(read(&"a:".repeat(100)).socket_names.len(), MAX_NAMES);
        assert_eq!(read("http").notify_socket, Some(OsString::from("@x")));
    }
}
