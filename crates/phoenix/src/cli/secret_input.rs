//! Passwords come from a prompt or from standard input, never from an argument that others can see.

use std::io::{self, IsTerminal, Read};

use anyhow::{Context, bail};
use phoenix_auth::model::MAX_PASSWORD_BYTES;

/// A new password: typed twice at a terminal, or the first line of standard input.
pub(super) fn new_password() -> anyhow::Result<String> {
    if !io::stdin().is_terminal() {
        return first_line();
    }
    let first = rpassword::prompt_password("New password: ").context("the password cannot be read")?;
    let second = rpassword::prompt_password("Once more: ").context("the password cannot be read")?;
    if first != second {
        bail!("the two passwords differ");
    }
    Ok(first)
}

fn first_line() -> anyhow::Result<String> {
    let limit = u64::try_from(MAX_PASSWORD_BYTES + 2).unwrap_or(u64::MAX);
    let mut text = String::new();
    io::stdin()
        .take(limit)
        .read_to_string(&mut text)
        .context("the password on standard input is not UTF-8")?;
    let line = text.lines().next().unwrap_or("").to_owned();
    if line.is_empty() {
        bail!(
            "no password on standard input; give it there, for example: phoenix user add --email a@b.c < password.txt"
        );
    }
    Ok(line)
}
