//! Whether a key looks like chance. An upper bound only: what looks random may still have been guessed.

use std::collections::BTreeMap;

/// Bits below which a key can be found by trying (NIST SP 800-131A asks for 112).
pub(super) const MIN_BITS: f64 = 112.0;
/// Words that stand in examples and not in keys.
const EXAMPLES: [&str; 8] =
    ["changeme", "change-me", "change_me", "example", "password", "secret", "insecure", "phoenix"];

/// What is wrong with a key, if anything is seen.
pub(super) fn weakness(key: &str) -> Option<String> {
    let lower = key.to_ascii_lowercase();
    if let Some(word) = EXAMPLES.iter().find(|word| lower.contains(**word)) {
        return Some(format!("it holds the word {word:?}"));
    }
    let bits = bits(key.as_bytes());
    (bits < MIN_BITS).then(|| format!("it has at most {bits:.0} bits of entropy by its characters"))
}

/// Shannon's entropy of the characters times their number, of the shortest part that repeated gives the key.
fn bits(key: &[u8]) -> f64 {
    let period =
        (1..=key.len()).find(|period| key.iter().skip(*period).eq(key.iter().take(key.len() - period)));
    let part = key.get(..period.unwrap_or_default()).unwrap_or_default();
    let mut counts = BTreeMap::<u8, u32>::new();
    for byte in part {
        *counts.entry(*byte).or_default() += 1;
    }
    let all = f64::from(u32::try_from(part.len()).unwrap_or(u32::MAX));
    let share = |count: &u32| f64::from(*count) / all;
    let each: f64 = counts.values().map(|count| -share(count) * share(count).log2()).sum();
    each * all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_nobody_drew_are_seen() {
        for weak in [
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "0123456789abcdef0123456789abcdef",
            "abcabcabcabcabcabcabcabcabcabcabcabc",
            "this-is-a-Secret-that-nobody-will-find-out-1",
            "00000000000000000000000000000000000000000001",
        ] {
            assert!(weakness(weak).is_some(), "{weak}");
        }
    }

    #[test]
    fn keys_as_openssl_makes_them_are_good() {
        for good in [
            "fXsn0W8MwxG1kYc3yqPVtd0rQ0ESJr4cZ6uJmAt0LhM=",
            "9f2c61d07be8453aa1f9c04d77e36b12c85e0df4931ab6702fd85c4e17a3b960",
        ] {
            assert_eq!(weakness(good), None, "{good}");
        }
    }
}
