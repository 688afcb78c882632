//! The side of the new process: asks the one that serves for its sockets, and tells it when to stop.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tokio::net::UnixStream;
use tokio::time::error::Elapsed;

use super::Named;
use super::wire::{self, GREETING, READY, TALK_TIMEOUT, YOURS};

/// The process that serves until we do.
pub(crate) struct Predecessor {
    stream: UnixStream,
    path: PathBuf,
}

impl Predecessor {
    /// The process that waits for a successor at `path`, and its sockets. `None` when there is none.
    pub(super) async fn find(path: &Path) -> anyhow::Result<Option<(Self, Vec<Named>)>> {
        let stream = match UnixStream::connect(path).await {
            Ok(stream) => stream,
            // Nobody has been there, or who was has ended without being asked to.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => return Err(error).context("it cannot be reached"),
        };
        wire::check_user(&stream)?;
        wire::send(&stream, &[GREETING], &[]).await?;
        let (lines, descriptors) = wire::receive(&stream, TALK_TIMEOUT).await?;
        match lines.split_first() {
            Some((greeting, sockets)) if greeting == GREETING => {
                let sockets = wire::sockets(sockets, descriptors)?;
                tracing::info!(sockets = sockets.len(), "taking over from the process that serves now");
                Ok(Some((Self { stream, path: path.to_owned() }, sockets)))
            }
            Some((other, _)) => bail!("it says {other:?}"),
            None => bail!("it says nothing"),
        }
    }

    /// Tells it that we serve. It drains from then on; returns when it has heard it. When it cannot hear it any more,
    /// because it has ended, we serve all the same.
    ///
    /// # Errors
    /// When it has given up on us and a process waits for another successor: it would go on beside us for ever.
    pub(crate) async fn take_over(self) -> anyhow::Result<()> {
        let Err(error) = self.tell().await else {
            tracing::info!("took over; the process that served before finishes its requests and ends");
            return Ok(());
        };
        // What was sent to a process that stands still is heard when it goes on: then nobody may be left but us.
        let may_hear_it = error.is::<Elapsed>();
        if !may_hear_it && UnixStream::connect(&self.path).await.is_ok() {
            return Err(error).with_context(|| {
                let path = self.path.display();
                format!("the process at {path} no longer waits for this one, and serves; start again")
            });
        }
        tracing::warn!(
            error = &*error as &dyn std::error::Error,
            "the process that served before did not hear that we serve"
        );
        Ok(())
    }

    async fn tell(&self) -> anyhow::Result<()> {
        wire::send(&self.stream, &[READY], &[]).await?;
        let (lines, _) = wire::receive(&self.stream, TALK_TIMEOUT).await?;
        anyhow::ensure!(lines == [YOURS], "it says {lines:?}");
        Ok(())
    }
}
