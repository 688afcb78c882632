//! Limiters of others, driven by small scripts: `rate-limiter-flexible` (npm) and `limits` (`PyPI`), both on Redis and
//! in real time. Installed into `target/bench-peers` when they are first wanted. Does not judge.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::traffic::Request;
use crate::shell;

/// One peer.
#[derive(Debug)]
pub(super) struct Peer {
    /// In tables.
    pub(super) name: &'static str,
    script: (&'static str, &'static str),
    /// What to install.
    packages: &'static [&'static str],
    install: fn(&Path, &[&str]) -> Result<()>,
    /// Exists once it is installed.
    proof: &'static str,
    program: fn(&Path) -> PathBuf,
}

/// A request to a peer: under this limit, in windows of whole seconds.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) request: Request,
    pub(super) limit: u32,
    /// Microseconds.
    pub(super) span: u64,
    /// Names the client among all clients of the run.
    pub(super) key: String,
}

/// What a peer said to one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Said {
    /// Microseconds of some clock that all answers of the peer share.
    pub(super) at: u64,
    pub(super) admitted: bool,
}

/// All peers.
pub(super) const PEERS: [Peer; 2] = [
    Peer {
        name: "rate-limiter-flexible 11.4 (npm), RateLimiterRedis",
        script: ("flexible.js", include_str!("flexible.js")),
        packages: &["rate-limiter-flexible@11.4.0", "ioredis@5"],
        install: with_npm,
        proof: "node_modules/rate-limiter-flexible/package.json",
        program: |_| PathBuf::from("node"),
    },
    Peer {
        name: "limits 5.8 (PyPI), moving window",
        script: ("moving.py", include_str!("moving.py")),
        packages: &["limits==5.8.0", "redis<7"],
        install: with_pip,
        proof: "python/lib",
        program: |folder| folder.join("python/bin/python"),
    },
];

impl Peer {
    /// Installs it unless it is there.
    ///
    /// # Errors
    /// When it cannot be installed: no network, no Node.js, no Python.
    pub(super) fn install(&self) -> Result<()> {
        let folder = folder();
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        fs::write(folder.join(self.script.0), self.script.1).context("write the peer's script")?;
        let stamp = folder.join(format!("{}.installed", self.script.0));
        let wanted = self.packages.join(" ");
        if folder.join(self.proof).exists() && fs::read_to_string(&stamp).is_ok_and(|text| text == wanted) {
            return Ok(());
        }
        (self.install)(&folder, self.packages)?;
        fs::write(&stamp, wanted).context("note what is installed")
    }

    /// Sends the requests at their times to the Redis at `port`, and returns the answers in their order. Takes as
    /// long as the schedule does.
    ///
    /// # Errors
    /// When the peer fails, or leaves a request unanswered.
    pub(super) fn decide(&self, port: u16, asks: &[Ask]) -> Result<Vec<Said>> {
        let folder = folder();
        let mut command = Command::new((self.program)(&folder));
        command.arg(folder.join(self.script.0)).arg(port.to_string());
        // Node.js finds modules beside the script.
        command.current_dir(&folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().with_context(|| format!("start {}", self.name))?;
        let lines: Vec<String> = asks
            .iter()
            .map(|ask| format!("{} {} {} {}\n", ask.request.at, ask.limit, ask.span, ask.key))
            .collect();
        // The peer reads all before it writes anything, so this cannot wait for ever.
        let mut input = child.stdin.take().context("the peer's input")?;
        input.write_all(lines.concat().as_bytes()).context("send the schedule")?;
        drop(input);
        let output = child.wait_with_output().context("wait for the peer")?;
        ensure!(output.status.success(), "{} failed", self.name);
        read(&String::from_utf8(output.stdout)?, asks.len())
    }
}

/// Answers by their index.
fn read(output: &str, expected: usize) -> Result<Vec<Said>> {
    let mut answers = vec![None; expected];
    for line in output.lines() {
        let words: Vec<u64> =
            line.split(' ').map(str::parse).collect::<Result<_, _>>().with_context(|| line.to_owned())?;
        let [index, at, admitted] = words[..] else { bail!("{line:?} is no answer") };
        let place =
            answers.get_mut(usize::try_from(index)?).with_context(|| format!("no request {index}"))?;
        *place = Some(Said { at, admitted: admitted == 1 });
    }
    answers.into_iter().collect::<Option<_>>().context("requests were left unanswered")
}

fn folder() -> PathBuf {
    shell::root().join("target/bench-peers")
}

fn with_npm(folder: &Path, packages: &[&str]) -> Result<()> {
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
        .arg(folder)
        .args(packages);
    quietly(&mut npm)
}

fn with_pip(folder: &Path, packages: &[&str]) -> Result<()> {
    let home = folder.join("python");
    quietly(Command::new("python3").args(["-m", "venv"]).arg(&home))?;
    quietly(Command::new(home.join("bin/pip")).args(["install", "--quiet"]).args(packages))
}

/// Runs an installer; what it prints is shown only if it fails.
fn quietly(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("start {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name}: {}", said.lines().next_back().unwrap_or("failed"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Said, read};

    #[test]
    fn answers_come_in_any_order_and_none_may_be_missing() {
        let said = read("1 20 0\n0 10 1\n", 2).expect("two answers");
        assert_eq!(said, [Said { at: 10, admitted: true }, Said { at: 20, admitted: false }]);
        assert!(read("1 20 0\n", 2).is_err());
        assert!(read("2 20 0\n", 2).is_err());
        assert!(read("0 20\n", 1).is_err());
        assert!(read("0 x 1\n", 1).is_err());
    }
}
