//! A size in bytes, and how it is written (`64MiB`). Owns no bounds: those belong to the setting.

use std::fmt;

const KIB: u64 = 1024;
const UNITS: [(&str, u64); 4] = [("GiB", KIB * KIB * KIB), ("MiB", KIB * KIB), ("KiB", KIB), ("B", 1)];

/// A size in bytes. Displayed with the largest binary unit that is exact: `64MiB`, `1500B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// A size of so many bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    pub(crate) const fn from_kib(kib: u64) -> Self {
        Self(kib * KIB)
    }

    pub(crate) const fn from_mib(mib: u64) -> Self {
        Self(mib * KIB * KIB)
    }

    pub(crate) const fn from_gib(gib: u64) -> Self {
        Self(gib * KIB * KIB * KIB)
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The size in bytes as a `usize`; on a 32-bit target at most `usize::MAX`.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Whole kibibytes, rounded down, at most `u32::MAX` (no setting allows 4 TiB).
    #[must_use]
    pub fn kib(self) -> u32 {
        u32::try_from(self.0 / KIB).unwrap_or(u32::MAX)
    }

    /// Reads `64MiB`, `16KiB`, `1GiB`, `512B` or plain bytes. Units are exact: `MB` is not `MiB`.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(digits_end);
        let count: u64 = digits.parse().ok()?;
        let unit = unit.trim_start();
        let factor = if unit.is_empty() { 1 } else { UNITS.iter().find(|(name, _)| *name == unit)?.1 };
        count.checked_mul(factor).map(Self)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS.iter().find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor));
        let (unit, factor) = exact.copied().unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_and_displayed_exactly() {
        for (text, bytes, shown) in [
            ("64MiB", 64 << 20, "64MiB"),
            ("16 KiB", 16 << 10, "16KiB"),
            ("1024KiB", 1 << 20, "1MiB"),
            ("1500", 1500, "1500B"),
            ("0", 0, "0B"),
            ("64GiB", 64 << 30, "64GiB"),
        ] {
            let size = ByteSize::from_text(text).expect(text);
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, shown), "{text}");
        }
        assert_eq!(ByteSize::from_mib(19).kib(), 19 * 1024);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "MiB", "64MB", "64mib", "-1", "1.5MiB", "99999999999999GiB", "1MiBx", "１MiB"] {
            assert_eq!(ByteSize::from_text(text), None, "{text}");
        }
    }
}
