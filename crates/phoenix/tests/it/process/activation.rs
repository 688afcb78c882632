//! Sockets that systemd passes (`sd_listen_fds(3)`), and what it is told (`sd_notify(3)`). The test plays systemd.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::shutdown::Kept;
use super::support::BINARY;

const SOON: Duration = Duration::from_secs(30);

/// Puts the socket where systemd puts it, and says so with the process's own id. For bash: other shells have no
/// descriptors above 9.
const PASS: &str = "exec 3<&\"$FROM\"; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" serve";

struct Systemd {
    folder: tempfile::TempDir,
    socket: TcpListener,
    notify: UnixDatagram,
}

impl Systemd {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let socket = TcpListener::bind("127.0.0.1:0")?;
        fcntl_setfd(socket.as_fd(), FdFlags::empty())?;
        let notify = UnixDatagram::bind(folder.path().join("notify"))?;
        notify.set_read_timeout(Some(SOON))?;
        Ok(Self { folder, socket, notify })
    }

    fn address(&self) -> Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }

    fn notify_path(&self) -> impl AsRef<Path> {
        self.folder.path().join("notify")
    }

    fn start(&self, name: &str, listen: &str) -> Result<Child> {
        let child = Command::new("/bin/bash")
            .args(["-c", PASS, BINARY])
            .current_dir(self.folder.path())
            .env_clear()
            .env("FROM", self.socket.as_fd().as_raw_fd().to_string())
            .env("LISTEN_FDNAMES", name)
            .env("NOTIFY_SOCKET", self.notify_path().as_ref())
            .env("PHOENIX_LISTEN", listen)
            .env("PHOENIX_DRAIN_IDLE", "0s")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        child.context("start")
    }

    fn hears(&self) -> Result<String> {
        let mut bytes = [0; 200];
        let length = self.notify.recv(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }
}

async fn ends(mut child: Child) -> Result<()> {
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).context("it runs")?;
    kill_process(pid, Signal::TERM)?;
    let status = tokio::time::timeout(SOON, child.wait()).await??;
    anyhow::ensure!(status.success(), "{status}");
    Ok(())
}

// spec: G6
#[tokio::test]
async fn connections_made_before_the_start_and_between_two_wait_for_the_process() -> Result<()> {
    let systemd = Systemd::new()?;
    let address = systemd.address()?;
    for (name, listen) in [
        // By its address, whatever it is called; and by its name, when it is bound to more than we are told to.
        ("phoenix.socket", address.to_string()),
        ("http", format!("0.0.0.0:{}", address.port())),
    ] {
        let mut early = Kept::open(address).await?;
        let process = systemd.start(name, &listen)?;
        let answer = early.get("/healthz", "").await?;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(systemd.hears()?.starts_with("READY=1\n"));
        ends(process).await?;
        assert!(systemd.hears()?.starts_with("STOPPING=1\n"));
    }
    Ok(())
}
