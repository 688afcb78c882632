//! A place for what others make of a value and keep themselves. Knows nothing of what that is.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

/// A place beside a value for what was made of it elsewhere, and is kept there: it is found here as long as it is kept.
/// Nobody waits for it; who comes at the same time as another may find nothing, and makes it anew.
#[derive(Default)]
pub struct Remembered(Mutex<Option<Weak<dyn Any + Send + Sync>>>);

impl Remembered {
    /// Largest thing that may be remembered, in bytes without what it points to: so much is not given back as long as
    /// it is remembered, even if nobody keeps it.
    pub const MAX_BYTES: usize = 288;

    /// What is remembered, if it is of this type and still kept.
    #[must_use]
    pub fn recall<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let held = self.0.try_lock().ok()?;
        held.as_ref()?.upgrade()?.downcast().ok()
    }

    /// Remembers it, in place of what was before.
    pub fn remember<T: Send + Sync + 'static>(&self, thing: &Arc<T>) {
        const { assert!(size_of::<T>() + 2 * size_of::<usize>() <= Self::MAX_BYTES, "a small thing") };
        let thing: Weak<dyn Any + Send + Sync> = Arc::<T>::downgrade(thing);
        if let Ok(mut held) = self.0.try_lock() {
            *held = Some(thing);
        }
    }
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_found_for_as_long_as_it_is_kept() {
        let place = Remembered::default();
        assert!(place.recall::<u64>().is_none());
        let (first, second) = (Arc::new(1_u64), Arc::new(2_u64));
        place.remember(&first);
        assert_eq!(place.recall::<u64>(), Some(Arc::clone(&first)));
        assert!(place.recall::<u32>().is_none(), "of another type");
        place.remember(&second);
        assert_eq!(place.recall::<u64>().as_deref(), Some(&2));
        drop(second);
        assert!(place.recall::<u64>().is_none());
    }

    #[test]
    fn nobody_waits() {
        let place = Remembered::default();
        let thing = Arc::new(1_u64);
        place.remember(&thing);
        let held = place.0.lock().expect("not poisoned");
        assert!(place.recall::<u64>().is_none());
        place.remember(&Arc::new(2_u64));
        drop(held);
        assert_eq!(place.recall::<u64>(), Some(thing));
    }
}
