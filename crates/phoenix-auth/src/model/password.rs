//! Passwords as typed, and the rules a new one must meet (NIST SP 800-63B-4 section 3.1.1.2).
//!
//! Length and a blocklist; no composition rules. Verified exactly as received, after Unicode NFC.

use std::fmt;

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroize;
use zxcvbn::matching::patterns::MatchPattern;

/// Longest password in characters.
pub const MAX_PASSWORD_CHARS: usize = 256;
/// Longest password in bytes, checked before any work is done.
pub const MAX_PASSWORD_BYTES: usize = 4 * MAX_PASSWORD_CHARS;

/// A password in NFC. Never logged; wiped when dropped.
#[derive(Clone)]
pub struct Password(String);

/// Why a password cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PasswordError {
    /// Empty.
    #[error("must not be empty")]
    Empty,
    /// More than 256 characters.
    #[error("must be at most 256 characters")]
    TooLong,
    /// Holds a NUL character, which other systems cut passwords at.
    #[error("must not contain NUL characters")]
    Nul,
    /// Fewer characters than the rules ask for.
    #[error("must be at least {min_chars} characters")]
    TooShort {
        /// The configured minimum.
        min_chars: usize,
    },
    /// In a list of common passwords, or one of its obvious variations, or the user's own name.
    #[error("is too common or too easy to guess; use a few unrelated words or a password manager")]
    Common,
}

impl Password {
    /// Takes a password as typed. Checks only bounds; a new password must also pass [`PasswordRules`].
    pub fn new(mut text: String) -> Result<Self, PasswordError> {
        let checked = if text.is_empty() {
            Err(PasswordError::Empty)
        } else if text.len() > MAX_PASSWORD_BYTES {
            Err(PasswordError::TooLong)
        } else if text.contains('\0') {
            Err(PasswordError::Nul)
        } else {
            Ok(Self(text.nfc().collect()))
        };
        text.zeroize();
        match checked {
            Ok(password) if password.chars() > MAX_PASSWORD_CHARS => Err(PasswordError::TooLong),
            other => other,
        }
    }

    /// The bytes to be hashed.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn chars(&self) -> usize {
        self.0.chars().count()
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// What a new password must meet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PasswordRules {
    /// Fewest characters. 15 where the password is the only factor.
    pub min_chars: usize,
}

/// A password that a cracker with common lists and patterns finds within this many guesses is refused.
const MIN_GUESSES_LOG10: f64 = 8.0;

impl PasswordRules {
    /// Checks a new password. `context` are words an attacker would try first: the user's address and names.
    pub fn check(&self, password: &Password, context: &[&str]) -> Result<(), PasswordError> {
        if password.chars() < self.min_chars {
            return Err(PasswordError::TooShort { min_chars: self.min_chars });
        }
        if is_common(password.expose(), context) { Err(PasswordError::Common) } else { Ok(()) }
    }
}

/// Whole password in a list of common ones, or made of such parts so that few guesses find it.
fn is_common(password: &str, context: &[&str]) -> bool {
    let mut words: Vec<&str> = vec!["phoenix"];
    for text in context {
        words.push(text);
        words.extend(text.split(|c: char| !c.is_alphanumeric()).filter(|part| part.len() >= 3));
    }
    let found = zxcvbn::zxcvbn(password, &words);
    let one_listed_word =
        matches!(found.sequence(), [only] if matches!(only.pattern, MatchPattern::Dictionary(_)));
    one_listed_word || found.guesses_log10() < MIN_GUESSES_LOG10
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(min_chars: usize, text: &str, context: &[&str]) -> Result<(), PasswordError> {
        PasswordRules { min_chars }.check(&Password::new(text.to_owned()).expect("within bounds"), context)
    }

    #[test]
    fn bounds() {
        assert_eq!(Password::new(String::new()).err(), Some(PasswordError::Empty));
        assert_eq!(Password::new("a\0b".into()).err(), Some(PasswordError::Nul));
        assert_eq!(Password::new("é".repeat(257)).err(), Some(PasswordError::TooLong));
        assert_eq!(Password::new("x".repeat(5000)).err(), Some(PasswordError::TooLong));
        assert!(Password::new("🦀".repeat(256)).is_ok());
        assert_eq!(check(15, "fourteen chars", &[]), Err(PasswordError::TooShort { min_chars: 15 }));
    }

    #[test]
    fn equal_text_in_another_normal_form_is_the_same_password() {
        let composed = Password::new("caf\u{e9} au lait".into()).expect("within bounds");
        let decomposed = Password::new("cafe\u{301} au lait".into()).expect("within bounds");
        assert_eq!(composed.expose(), decomposed.expose());
    }

    #[test]
    fn common_passwords_are_refused() {
        for text in [
            "password",
            "Password1",
            "12345678",
            "iloveyou",
            "qwertyuiop",
            "p@ssw0rd",
            "drowssap",
            "trustno1",
        ] {
            assert_eq!(check(8, text, &[]), Err(PasswordError::Common), "{text}");
        }
        for text in ["passwordpassword", "123456789012345678", "aaaaaaaaaaaaaaaaaaaa", "qwertyuiopasdfghjkl"]
        {
            assert_eq!(check(15, text, &[]), Err(PasswordError::Common), "{text}");
        }
        assert_eq!(
            check(15, "ada.lovelace@example.com", &["ada.lovelace@example.com"]),
            Err(PasswordError::Common)
        );
    }

    #[test]
    fn there_are_no_composition_rules() {
        for text in ["correct horse battery staple", "nur kleine buchstaben hier", "7349 1120 8856 3941 27"] {
            assert_eq!(check(15, text, &[]), Ok(()), "{text}");
        }
    }
}
