//! What a file holds, kept while the file is broken: a good content replaces the one before, a bad one is told once.

use super::files::{Fingerprint, Fingerprinted, Unusable};

/// The last good content of a file, and what is wrong with the present one.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    current: T,
    of: Fingerprint,
    error: Option<(Fingerprint, String)>,
    /// Seen once, and bad: whoever writes two files may be between them.
    unsettled: Option<Fingerprint>,
}

/// What a look came to.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    /// As before.
    Nothing,
    /// Good, and in use from now on.
    Better,
    /// Bad, which was not told yet. The one before stays.
    Worse(String),
    /// Bad the last time, which was told, and now what is in use again.
    Mended,
}

impl<T> Slot<T> {
    /// The content at the start.
    pub(crate) fn new<C: Fingerprinted>(
        content: C,
        parse: impl FnOnce(C) -> Result<T, Unusable>,
    ) -> Result<Self, Unusable> {
        let of = content.fingerprint();
        Ok(Self { current: parse(content)?, of, error: None, unsettled: None })
    }

    pub(crate) const fn current(&self) -> &T {
        &self.current
    }

    /// Why the present content of the file is not in use, if it is not.
    pub(crate) fn error(&self) -> Option<&str> {
        self.error.as_ref().map(|(_, text)| text.as_str())
    }

    /// Takes what the file holds now. Something bad is told when it is found a second time, or at once if `is_final`:
    /// somebody said that the files are complete.
    pub(crate) fn look<C: Fingerprinted>(
        &mut self,
        content: Result<C, Unusable>,
        is_final: bool,
        parse: impl FnOnce(C) -> Result<T, Unusable>,
    ) -> Seen {
        let seen = content.fingerprint();
        let unsettled = self.unsettled.take();
        if seen == self.of {
            return if self.error.take().is_some() { Seen::Mended } else { Seen::Nothing };
        }
        // Parsed again though it was bad before: its time may have come.
        match content.and_then(parse) {
            Ok(better) => {
                *self = Self { current: better, of: seen, error: None, unsettled: None };
                Seen::Better
            }
            Err(_) if self.error.as_ref().is_some_and(|(known, _)| *known == seen) => Seen::Nothing,
            Err(error) if is_final || unsettled == Some(seen) => {
                let text = error.in_full();
                self.error = Some((seen, text.clone()));
                Seen::Worse(text)
            }
            Err(_) => {
                self.unsettled = Some(seen);
                Seen::Nothing
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn parse(content: Vec<u8>) -> Result<Vec<u8>, Unusable> {
        if content.starts_with(b"good") { Ok(content) } else { Err(Unusable::NoKey(PathBuf::from("/k"))) }
    }

    fn look(slot: &mut Slot<Vec<u8>>, content: &str, is_final: bool) -> Seen {
        slot.look(Ok(content.as_bytes().to_vec()), is_final, parse)
    }

    #[test]
    fn what_is_good_replaces_and_what_is_bad_is_told_once() {
        let mut slot = Slot::new(b"good 1".to_vec(), parse).expect("good");
        assert_eq!(look(&mut slot, "good 1", false), Seen::Nothing);
        assert_eq!(look(&mut slot, "good 2", false), Seen::Better);
        assert_eq!(look(&mut slot, "bad 1", false), Seen::Nothing, "it may be half written");
        assert_eq!(slot.error(), None);
        assert!(matches!(look(&mut slot, "bad 1", false), Seen::Worse(_)));
        assert_eq!(look(&mut slot, "bad 1", false), Seen::Nothing, "told already");
        assert_eq!(look(&mut slot, "bad 1", true), Seen::Nothing, "told already");
        assert!(slot.error().is_some_and(|error| error.contains("/k")));
        assert!(matches!(look(&mut slot, "bad 2", true), Seen::Worse(_)), "other content");
        assert_eq!(slot.current(), b"good 2", "the one before stays");
        assert_eq!(
            look(&mut slot, "good 2", false),
            Seen::Mended,
            "whoever was told of the error is told of its end"
        );
        assert_eq!(slot.error(), None, "the file is again what is in use");
        assert_eq!(look(&mut slot, "good 2", false), Seen::Nothing, "told already");
        assert_eq!(look(&mut slot, "bad 2", false), Seen::Nothing, "not told");
        assert_eq!(look(&mut slot, "good 2", false), Seen::Nothing, "so there is nothing to take back");
        assert!(matches!(look(&mut slot, "bad 2", true), Seen::Worse(_)), "it is news again");
        assert_eq!(look(&mut slot, "good 3", false), Seen::Better);
        assert_eq!((slot.error(), slot.current()), (None, &b"good 3".to_vec()));
    }

    #[test]
    fn a_file_that_is_gone_is_told_as_such() {
        let mut slot = Slot::new(b"good".to_vec(), parse).expect("good");
        let gone = || Err::<Vec<u8>, _>(Unusable::TooLarge(PathBuf::from("/gone")));
        assert_eq!(slot.look(gone(), false, parse), Seen::Nothing);
        assert_eq!(look(&mut slot, "bad", false), Seen::Nothing, "not the same twice");
        assert_eq!(slot.look(gone(), false, parse), Seen::Nothing);
        assert!(matches!(slot.look(gone(), false, parse), Seen::Worse(text) if text.contains("/gone")));
        assert_eq!(slot.current(), b"good");
    }

    #[test]
    fn a_bad_beginning_is_an_error() {
        assert!(Slot::new(b"bad".to_vec(), parse).is_err());
    }
}
