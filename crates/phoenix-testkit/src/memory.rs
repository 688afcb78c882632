//! Resident memory of a process, as the kernel counts it. Linux only: elsewhere reading fails.

use std::fs;

use anyhow::{Context, Result};

/// Resident memory of one process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// `VmRSS`: bytes resident now.
    pub resident_bytes: u64,
    /// `VmHWM`: the most bytes that were ever resident.
    pub peak_bytes: u64,
}

impl Memory {
    /// Reads `/proc/PID/status`.
    ///
    /// # Errors
    /// When there is no such process or no `/proc`.
    pub fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        Ok(Self { resident_bytes: kibibytes(&text, "VmRSS:")?, peak_bytes: kibibytes(&text, "VmHWM:")? })
    }
}

fn kibibytes(status: &str, key: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|rest| rest.split_ascii_whitespace().next());
    let kibibytes: u64 = number.with_context(|| format!("no {key} in the status"))?.parse()?;
    Ok(kibibytes * 1024)
}
