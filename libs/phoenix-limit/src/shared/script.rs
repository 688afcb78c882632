//! The scripts, and how they are called: by name, and with their text when the server does not know the name.

use redis::{Arg, Cmd, Value};

use super::link::{Link, LinkError};

/// A script and its SHA-1.
#[derive(Debug)]
pub(super) struct Script {
    text: &'static str,
    name: String,
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, name: redis::Script::new(text).get_hash().to_owned() }
    }

    /// A call of it with these keys; arguments are to be added.
    pub(super) fn call(&self, keys: &[&str]) -> Cmd {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&self.name).arg(keys.len());
        for key in keys {
            call.arg(*key);
        }
        call
    }

    /// The same call for a server that lacks the script.
    fn in_full(&self, call: &Cmd) -> Cmd {
        let mut full = redis::cmd("EVAL");
        full.arg(self.text);
        for arg in call.args_iter().skip(2) {
            if let Arg::Simple(bytes) = arg {
                full.arg(bytes);
            }
        }
        full
    }

    /// Sends calls of this script in one go. Those that a server refuses because it lacks the script are sent once more.
    pub(super) async fn send(&self, link: &dyn Link, calls: Vec<Cmd>) -> Vec<Result<Value, LinkError>> {
        let mut results = link.send(calls.clone()).await;
        let lacking = |result: &Result<Value, LinkError>| matches!(result, Err(LinkError::Refused { code }) if code == "NOSCRIPT");
        if !results.iter().any(lacking) {
            return results;
        }
        let which: Vec<usize> =
            (0..calls.len().min(results.len())).filter(|&at| lacking(&results[at])).collect();
        let again = which.iter().map(|&at| self.in_full(&calls[at])).collect();
        for (at, result) in which.into_iter().zip(link.send(again).await) {
            results[at] = result;
        }
        results
    }

    /// Sends one call.
    pub(super) async fn send_one(&self, link: &dyn Link, call: Cmd) -> Result<Value, LinkError> {
        self.send(link, vec![call]).await.pop().unwrap_or(Err(LinkError::Unreachable))
    }
}

/// All scripts.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) decide: Script,
    pub(super) settle: Script,
    pub(super) change: Script,
    pub(super) merge: Script,
    pub(super) heartbeat: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            decide: Script::new(include_str!("lua/decide.lua")),
            settle: Script::new(include_str!("lua/settle.lua")),
            change: Script::new(include_str!("lua/change.lua")),
            merge: Script::new(include_str!("lua/merge.lua")),
            heartbeat: Script::new(include_str!("lua/heartbeat.lua")),
        }
    }
}
