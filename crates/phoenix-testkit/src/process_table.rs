//! Which processes exist and whose children they are, from `/proc` or, where there is none, from `ps`.

use std::fs;
use std::process::Command;

use rustix::process::Pid;

/// One process: its pid, its parent's, and whether it is a zombie (dead, not yet reaped).
struct Entry {
    pid: i32,
    parent: i32,
    zombie: bool,
}

/// Direct children of `parent` that are alive.
pub(crate) fn children(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_nonzero().get();
    let mine = entries().into_iter().filter(|entry| entry.parent == parent && !entry.zombie);
    mine.filter_map(|entry| Pid::from_raw(entry.pid)).collect()
}

/// Whether `pid` runs. A zombie does not: where nobody reaps orphans it would stay for ever.
pub(crate) fn is_alive(pid: Pid) -> bool {
    let pid = pid.as_raw_nonzero().get();
    if fs::exists("/proc/self/stat").unwrap_or(false) {
        return read_stat(pid).is_some_and(|entry| !entry.zombie);
    }
    entries().iter().any(|entry| entry.pid == pid && !entry.zombie)
}

fn entries() -> Vec<Entry> {
    match fs::read_dir("/proc") {
        Ok(directory) => directory
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(read_stat)
            .collect(),
        Err(_) => from_ps(),
    }
}

/// Reads `/proc/PID/stat`. The command name, in parentheses, may itself hold spaces and parentheses.
fn read_stat(pid: i32) -> Option<Entry> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    Some(Entry { pid, parent, zombie: matches!(state, "Z" | "X") })
}

fn from_ps() -> Vec<Entry> {
    let Ok(output) = Command::new("ps").args(["-axo", "pid=,ppid=,stat="]).output() else {
        return Vec::new();
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let pid = fields.next()?.parse().ok()?;
            let parent = fields.next()?.parse().ok()?;
            Some(Entry { pid, parent, zombie: fields.next()?.starts_with('Z') })
        })
        .collect()
}
