//! What a program needs from the machine it is started on, read from its file (ELF, 64 bit, little endian).

use anyhow::{Context, Result, ensure};

/// The program header of the interpreter, which loads shared libraries.
const PT_INTERP: u32 = 3;
/// The program header of the dynamic section, and its entry for a shared library.
const PT_DYNAMIC: u32 = 2;
const DT_NEEDED: u64 = 1;
/// Bytes of one program header, and of one entry of the dynamic section.
const HEADER_BYTES: usize = 56;
const ENTRY_BYTES: usize = 16;

/// What it needs, in words; empty when nothing.
///
/// # Errors
/// When it is no such file.
pub(super) fn needs(file: &[u8]) -> Result<String> {
    ensure!(file.starts_with(b"\x7fELF\x02\x01"), "no 64-bit little-endian ELF file");
    let table = usize::try_from(number::<8>(file, 32)?)?;
    let count = usize::try_from(number::<2>(file, 56)?)?;
    let mut found = Vec::new();
    for index in 0..count {
        let header = table + index * HEADER_BYTES;
        match u32::try_from(number::<4>(file, header)?)? {
            PT_INTERP => found.push("an interpreter".to_owned()),
            PT_DYNAMIC => {
                let (offset, size) = (number::<8>(file, header + 8)?, number::<8>(file, header + 32)?);
                let (offset, size) = (usize::try_from(offset)?, usize::try_from(size)?);
                let mut libraries = 0;
                for entry in (offset..offset + size).step_by(ENTRY_BYTES) {
                    libraries += usize::from(number::<8>(file, entry)? == DT_NEEDED);
                }
                if libraries > 0 {
                    found.push(format!("{libraries} shared libraries"));
                }
            }
            _ => {}
        }
    }
    Ok(found.join(", "))
}

/// The number in `N` bytes at `offset`.
fn number<const N: usize>(file: &[u8], offset: usize) -> Result<u64> {
    let bytes = file.get(offset..offset + N).context("the file ends too soon")?;
    Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_dynamically_is_seen_and_garbage_is_refused() {
        // This test itself is an ordinary program.
        let own = std::fs::read("/proc/self/exe").expect("our own program");
        let found = needs(&own).expect("a program");
        assert!(found.contains("interpreter") && found.contains("shared libraries"), "{found}");
        assert!(needs(b"#!/bin/sh\n").is_err());
        for length in [6, 40, 63, 100] {
            assert!(needs(&own[..length]).is_err(), "{length} bytes");
        }
    }
}
