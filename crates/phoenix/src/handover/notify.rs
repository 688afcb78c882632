//! Tells systemd, or whoever speaks its protocol, how far we are (`sd_notify(3)`).

use std::ffi::{OsStr, OsString};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The way to the supervisor, if there is one that listens.
#[derive(Debug)]
pub(crate) struct Notifier(Option<OsString>);

impl Notifier {
    /// `socket` is the value of `NOTIFY_SOCKET`.
    pub(crate) const fn new(socket: Option<OsString>) -> Self {
        Self(socket)
    }

    /// We accept connections.
    pub(crate) fn ready(&self) {
        self.tell("READY=1\nSTATUS=serving");
    }

    /// We are about to end.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=requests under way finish");
    }

    /// That it cannot be told is no reason not to go on.
    fn tell(&self, state: &str) {
        let Some(socket) = &self.0 else { return };
        if let Err(error) = send(socket, state) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the supervisor was not told: {state}");
        }
    }
}

fn send(socket: &OsStr, state: &str) -> std::io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let datagram = UnixDatagram::unbound()?;
    // A supervisor that does not read must not hold us up.
    datagram.set_nonblocking(true)?;
    datagram.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_over_a_path_and_over_an_abstract_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let abstract_name = format!("phoenix-notify-{}", std::process::id());
        let named = SocketAddr::from_abstract_name(&abstract_name).expect("a name");
        for (receiver, socket) in [
            (UnixDatagram::bind(&path), path.clone().into_os_string()),
            (UnixDatagram::bind_addr(&named), OsString::from(format!("@{abstract_name}"))),
        ] {
            let receiver = receiver.expect("bound");
            let notifier = Notifier::new(Some(socket));
            let mut bytes = [0; 100];
            for (tell, expected) in [
                (Notifier::ready as fn(&Notifier), "READY=1\nSTATUS=serving"),
                (Notifier::stopping, "STOPPING=1\nSTATUS=requests under way finish"),
            ] {
                tell(&notifier);
                let length = receiver.recv(&mut bytes).expect("a datagram");
                assert_eq!(bytes.get(..length), Some(expected.as_bytes()));
            }
        }
    }

    #[test]
    fn nobody_who_listens_is_no_failure() {
        Notifier::new(None).ready();
        Notifier::new(Some("/nonexistent/notify".into())).ready();
        Notifier::new(Some("x".repeat(200).into())).ready();
    }
}
