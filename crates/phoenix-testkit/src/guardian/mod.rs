//! Runs one server so that it cannot outlive the test process: neither a panic, nor a static that never drops, nor
//! SIGKILL leaves a process or a directory behind. The work is done by a tiny `sh` (`guardian.sh`) that waits on a
//! pipe held by this process and ends the server when the pipe closes. It does not know what it runs.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::process_table;
use crate::wait;

const SCRIPT: &str = include_str!("guardian.sh");
/// Longest time a launched process may take to be on record; it only has to be forked.
const LAUNCH_BOUND: Duration = Duration::from_secs(20);
/// Longest time an `init.sh` (`initdb`) may take on a loaded machine.
const INIT_BOUND: Duration = Duration::from_mins(2);
/// Longest time a process may take to disappear after SIGKILL.
const KILL_BOUND: Duration = Duration::from_secs(20);

/// What the guardian does to a server when the test process is gone.
#[derive(Clone, Copy, Debug)]
pub(crate) enum EndWith {
    /// SIGQUIT: `PostgreSQL`'s immediate shutdown, which frees its shared memory. SIGKILL follows if it hangs.
    Quit,
    /// SIGKILL at once.
    Kill,
}

/// One guarded server slot: a directory, and at most one running process at a time.
#[derive(Debug)]
pub(crate) struct Guardian {
    shell: Child,
    pipe: Mutex<Option<ChildStdin>>,
    directory: PathBuf,
}

impl Guardian {
    /// Starts the guardian and has it make a fresh directory called `phoenix-{kind}-XXXXXX`.
    pub(crate) fn start(kind: &str, end: EndWith) -> Result<Self> {
        let signal = match end {
            EndWith::Quit => "QUIT",
            EndWith::Kill => "KILL",
        };
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "guardian", kind, signal])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Its own group, so that Ctrl-C on the tests does not end the guardian before it has cleaned up.
            .process_group(0)
            .spawn()
            .context("start the guardian shell")?;
        let pipe = shell.stdin.take().context("the guardian's standard input")?;
        let mut line = String::new();
        let output = shell.stdout.take().context("the guardian's standard output")?;
        BufReader::new(output).read_line(&mut line).context("read the guardian's directory")?;
        let directory = PathBuf::from(line.trim_end());
        ensure!(directory.is_absolute(), "the guardian could not make a temporary directory");
        Ok(Self { shell, pipe: Mutex::new(Some(pipe)), directory })
    }

    /// The directory that disappears with the guardian.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs `script` to its end.
    ///
    /// # Errors
    /// When it fails, with the end of its output.
    pub(crate) fn init(&self, script: &str) -> Result<()> {
        fs::write(self.directory.join("init.sh"), script).context("write init.sh")?;
        self.command("init")?;
        let status = wait::for_some_blocking(INIT_BOUND, "the server's directory to be prepared", || {
            self.number_in("init.exit")
        });
        ensure!(status == 0, "preparing the server failed ({status}): {}", self.log_tail());
        Ok(())
    }

    /// Starts `script`, which must `exec` the server so that the recorded pid is the server's own.
    pub(crate) fn launch(&self, script: &str) -> Result<Pid> {
        ensure!(self.running().is_none(), "the server already runs");
        for name in ["pid", "exit"] {
            let _ = fs::remove_file(self.directory.join(name));
        }
        fs::write(self.directory.join("start.sh"), script).context("write start.sh")?;
        self.command("launch")?;
        let pid = wait::for_some_blocking(LAUNCH_BOUND, "the server's pid", || self.pid());
        Ok(pid)
    }

    /// Exit status in the shell's convention (128 + signal), once the launched process has ended and been reaped.
    pub(crate) fn exit_status(&self) -> Option<i32> {
        self.number_in("exit")
    }

    /// Pid of the launched process if it has not ended.
    pub(crate) fn running(&self) -> Option<Pid> {
        if self.exit_status().is_some() { None } else { self.pid() }
    }

    /// Sends `signal` to the launched process.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.running().context("the server does not run")?;
        kill_process(pid, signal).with_context(|| format!("send {signal:?} to the server"))
    }

    /// Waits until the launched process has ended.
    pub(crate) fn wait_exit(&self, bound: Duration, what: &str) -> i32 {
        wait::for_some_blocking(bound, what, || self.exit_status())
    }

    /// SIGKILL to the launched process and all its children, and waits until all are gone.
    pub(crate) fn kill_family(&self) -> Result<()> {
        let family = self.stop_family()?;
        for pid in &family {
            let _ = kill_process(*pid, Signal::KILL);
        }
        self.wait_exit(KILL_BOUND, "the killed server to be reaped");
        wait::until_blocking(KILL_BOUND, "the killed server's children to be gone", || {
            !family.iter().any(|pid| process_table::is_alive(*pid))
        });
        Ok(())
    }

    /// SIGSTOP to the launched process first, so that it cannot react, then to its children. Returns all of them.
    pub(crate) fn stop_family(&self) -> Result<Vec<Pid>> {
        self.signal(Signal::STOP)?;
        let parent = self.running().context("the server ended while it was being stopped")?;
        let mut family = vec![parent];
        family.extend(process_table::children(parent));
        for pid in &family {
            let _ = kill_process(*pid, Signal::STOP);
        }
        Ok(family)
    }

    /// SIGCONT to the children, then to the launched process.
    pub(crate) fn continue_family(&self) -> Result<()> {
        let parent = self.running().context("the server does not run")?;
        for pid in process_table::children(parent) {
            let _ = kill_process(pid, Signal::CONT);
        }
        self.signal(Signal::CONT)
    }

    /// The last lines of what the server wrote, for error messages.
    pub(crate) fn log_tail(&self) -> String {
        tail(&self.directory.join("log"))
    }

    fn pid(&self) -> Option<Pid> {
        self.number_in("pid").and_then(Pid::from_raw)
    }

    fn number_in(&self, name: &str) -> Option<i32> {
        fs::read_to_string(self.directory.join(name)).ok()?.trim().parse().ok()
    }

    fn command(&self, command: &str) -> Result<()> {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pipe) = pipe.as_mut() else { bail!("the guardian was already dismissed") };
        writeln!(pipe, "{command}").context("the guardian is gone")
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        // Closing the pipe is the whole message; waiting makes the clean-up visible to whoever dropped us.
        *self.pipe.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let _ = self.shell.wait();
    }
}

/// The last 30 lines of the file at `path`, or an empty string.
pub(crate) fn tail(path: &Path) -> String {
    let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// Quotes `text` for `sh`.
pub(crate) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
