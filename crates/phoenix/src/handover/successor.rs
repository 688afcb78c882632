//! The side of the process that serves: waits for a new one at a Unix socket, passes it the listening sockets, and
//! knows when it serves.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::net::{UnixListener, UnixStream};

use super::Held;
use super::wire::{self, BUSY, GREETING, READY, TALK_TIMEOUT, YOURS};

/// Time that a new process has from its sockets to being ready. Longer than migrations of a large database take.
const START_LIMIT: Duration = Duration::from_mins(10);
/// Pause after the system refused to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What is added to the path while the socket is being made.
const UNFINISHED: &str = ".new";

/// Waits for the process that will serve next.
pub(crate) struct Succession {
    held: Held,
    place: Option<Place>,
}

/// The Unix socket; removed with this, unless somebody else took its path.
struct Place {
    listener: UnixListener,
    /// Where it is now: beside `path`, or there.
    at: PathBuf,
    /// Where the next process looks for it.
    path: PathBuf,
    /// Device and inode of the socket's file.
    identity: (u64, u64),
    handed_over: bool,
}

impl Succession {
    /// Listens beside `path`, readable by this user only, and leaves the socket of a predecessor where it is. All that
    /// can fail is done here, while the predecessor still serves; see [`Self::take_place`].
    ///
    /// # Errors
    /// When the path cannot be used, or something else is there.
    pub(crate) fn prepare(path: Option<&Path>, held: Held) -> anyhow::Result<Self> {
        let place = path.map(|path| {
            Place::prepare(path).with_context(|| {
                format!("{} cannot be used; set PHOENIX_HANDOVER_SOCKET to another path", path.display())
            })
        });
        Ok(Self { held, place: place.transpose()? })
    }

    /// Takes the path, where the next process finds this one. Nobody else serves any more, so that a failure is no
    /// reason to end: it costs the next handover.
    pub(crate) fn take_place(&mut self) {
        let Some(place) = &mut self.place else { return };
        if let Err(error) = place.take() {
            tracing::warn!(
                path = %place.path.display(),
                error = &*error as &dyn std::error::Error,
                "the path of the handover socket was not taken; the next process cannot take over from this one"
            );
        }
    }

    /// Returns when another process serves in our place, which may be never. Keeps nothing when it is dropped.
    pub(crate) async fn next(&mut self) {
        let Some(place) = &mut self.place else { return std::future::pending().await };
        loop {
            let candidate = accept(&place.listener).await;
            let mut trial = pin!(hand_over(&candidate, &self.held));
            let outcome = loop {
                tokio::select! {
                    // In this order: a candidate that has ended does not stand in the way of the next.
                    biased;
                    outcome = &mut trial => break outcome,
                    other = accept(&place.listener) => {
                        // Best effort: it finds out anyway when the connection is closed.
                        let _ = wire::send(&other, &[BUSY], &[]).await;
                    }
                }
            };
            match outcome {
                Ok(()) => {
                    place.handed_over = true;
                    return;
                }
                Err(error) => tracing::warn!(
                    error = &*error as &dyn std::error::Error,
                    "a process that was to take over did not; this one goes on"
                ),
            }
        }
    }
}

async fn accept(listener: &UnixListener) -> UnixStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the handover socket does not accept"
                );
                let _ = tokio::time::timeout(ACCEPT_PAUSE, std::future::pending::<()>()).await;
            }
        }
    }
}

/// Passes the sockets and waits until the other process serves.
async fn hand_over(candidate: &UnixStream, held: &Held) -> anyhow::Result<()> {
    wire::check_user(candidate)?;
    let (lines, _) = wire::receive(candidate, TALK_TIMEOUT).await?;
    if lines != [GREETING] {
        let _ = wire::send(candidate, &[GREETING], &[]).await;
        anyhow::bail!("it says {lines:?}, and this process understands {GREETING:?}");
    }
    tracing::info!("a new process takes over; this one serves until it is ready");
    wire::send(candidate, &[GREETING], &held.0).await?;
    let (lines, _) = wire::receive(candidate, START_LIMIT).await?;
    ensure!(lines == [READY], "it says {lines:?}");
    // It serves, whether or not it can hear this.
    if let Err(error) = wire::send(candidate, &[YOURS], &[]).await {
        tracing::warn!(error = &*error as &dyn std::error::Error, "the new process does not listen any more");
    }
    Ok(())
}

impl Place {
    /// Made beside the path, so that at no moment nobody answers there, or others may connect.
    fn prepare(path: &Path) -> anyhow::Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(there) => ensure!(there.file_type().is_socket(), "something that is no socket is there"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(UNFINISHED);
        let unfinished = PathBuf::from(unfinished);
        if let Err(error) = fs::remove_file(&unfinished)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(error).context("what an earlier start left cannot be removed");
        }
        let listener = UnixListener::bind(&unfinished)?;
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o600))?;
        let identity = identity(&fs::symlink_metadata(&unfinished)?);
        Ok(Self { listener, at: unfinished, path: path.to_owned(), identity, handed_over: false })
    }

    fn take(&mut self) -> anyhow::Result<()> {
        ensure!(self.is_there(), "another process that is being started replaced the socket");
        fs::rename(&self.at, &self.path)?;
        self.at.clone_from(&self.path);
        Ok(())
    }

    /// Whether the socket's file is still this one's.
    fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.at).is_ok_and(|there| identity(&there) == self.identity)
    }
}

fn identity(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

impl Drop for Place {
    fn drop(&mut self) {
        // After a handover the path belongs to the successor, which may be about to replace it.
        if self.is_there() && !self.handed_over {
            let _ = fs::remove_file(&self.at);
        }
    }
}
