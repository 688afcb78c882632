//! Devices on which an account was signed in to before.

use super::Auth;
use crate::model::{EmailKey, KnownDevice, Timestamp};

impl Auth {
    /// The mark for a device on which this account was just signed in to.
    #[must_use]
    pub fn mark_device(&self, account: &EmailKey) -> String {
        let device = KnownDevice::mark(self.now(), &*self.parts.entropy);
        device.to_text(account, &self.parts.keys)
    }

    /// The device, if it bears a mark of this account.
    #[must_use]
    pub fn known_device(&self, mark: &str, account: &EmailKey, now: Timestamp) -> Option<KnownDevice> {
        KnownDevice::parse(mark, account, &self.parts.keys, now)
    }
}
