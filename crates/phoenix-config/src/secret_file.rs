//! Files that hold one secret, as Docker and Kubernetes mount them. Reads them; does not keep them.

use std::{fs, path::Path};

use zeroize::Zeroizing;

use crate::{setting::Refusal, sources::read_at_most};

/// Largest file that holds a secret, in bytes.
const MAX_SECRET_FILE_BYTES: u64 = 64 * 1024;

/// The text of the file without one line end at its end. Only regular files, so that a pipe cannot hold up the start.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<String>, Refusal> {
    let unreadable = |error: std::io::Error| {
        Refusal::because(format!("the file cannot be read: {error}"))
            .remedy("name a file that exists and that the user of this process may read")
    };
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(
            Refusal::because("it is not a regular file").remedy("name a file that holds only the secret")
        );
    }
    let bytes = read_at_most(path, MAX_SECRET_FILE_BYTES).map_err(unreadable)?.ok_or_else(|| {
        Refusal::because("the file is larger than 64 KiB").remedy("name a file that holds only the secret")
    })?;
    let text = String::from_utf8(bytes).map(Zeroizing::new).map_err(|error| {
        drop(Zeroizing::new(error.into_bytes()));
        Refusal::because("the file is not UTF-8 text")
            .remedy("write the secret as text, for example in base64")
    })?;
    let trimmed =
        text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if trimmed.is_empty() {
        return Err(
            Refusal::because("the file is empty").remedy("write the secret into it, or unset the variable")
        );
    }
    Ok(Zeroizing::new(trimmed.to_owned()))
}
