//! Last-seens waiting to be written: one per session, the latest, at most a number of sessions.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use phoenix_auth::model::SessionId;
use phoenix_auth::ports::Activity;

pub(super) struct ActivityQueue {
    waiting: Mutex<HashMap<SessionId, Activity>>,
    capacity: usize,
    dropped: AtomicU64,
}

impl ActivityQueue {
    pub(super) fn new(capacity: usize) -> Self {
        Self { waiting: Mutex::default(), capacity, dropped: AtomicU64::new(0) }
    }

    /// Keeps the latest. False when it could not be kept: the next request tries again.
    pub(super) fn record(&self, activity: Activity) -> bool {
        let mut waiting = self.lock();
        let full = waiting.len() >= self.capacity;
        match waiting.entry(activity.session_id) {
            Entry::Occupied(mut entry) => {
                let held = entry.get_mut();
                // The address of the later one that has any: most say only that the session was used again.
                held.ip =
                    if activity.at >= held.at { activity.ip.or(held.ip) } else { held.ip.or(activity.ip) };
                held.at = held.at.max(activity.at);
                true
            }
            Entry::Vacant(entry) if !full => {
                entry.insert(activity);
                true
            }
            Entry::Vacant(_) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
    }

    /// Takes out at most `limit`.
    pub(super) fn take(&self, limit: usize) -> Vec<Activity> {
        let mut waiting = self.lock();
        if waiting.len() <= limit {
            return std::mem::take(&mut *waiting).into_values().collect();
        }
        let names: Vec<_> = waiting.keys().take(limit).copied().collect();
        names.iter().filter_map(|name| waiting.remove(name)).collect()
    }

    /// Puts back what could not be written.
    pub(super) fn put_back(&self, activities: Vec<Activity>) {
        for activity in activities {
            self.record(activity);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Activity>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use phoenix_auth::model::{Timestamp, UserId};
    use uuid::Uuid;

    use super::*;

    fn activity(session: u128, millis: i64) -> Activity {
        Activity {
            session_id: SessionId::from_uuid(Uuid::from_u128(session)),
            user_id: UserId::from_uuid(Uuid::nil()),
            at: Timestamp::from_millis(millis),
            ip: None,
        }
    }

    #[test]
    fn keeps_the_latest_of_each_session_and_no_more_than_its_capacity() {
        let queue = ActivityQueue::new(2);
        assert!(queue.record(activity(1, 50)));
        assert!(queue.record(activity(2, 10)));
        assert!(queue.record(activity(1, 40)), "known sessions always fit");
        assert!(!queue.record(activity(3, 10)));
        assert_eq!((queue.len(), queue.dropped()), (2, 1));
        let mut taken = queue.take(10);
        taken.sort_by_key(|a| a.session_id);
        assert_eq!(taken, [activity(1, 50), activity(2, 10)]);
    }

    // spec: A5
    #[test]
    fn keeps_the_last_address_of_each_session() {
        let from =
            |octet: u8, millis: i64| Activity { ip: Some([192, 0, 2, octet].into()), ..activity(1, millis) };
        let waiting = |activities: &[Activity]| {
            let queue = ActivityQueue::new(1);
            for activity in activities {
                assert!(queue.record(*activity));
            }
            queue.take(1)
        };
        assert_eq!(waiting(&[activity(1, 10), from(1, 20)]), [from(1, 20)]);
        assert_eq!(waiting(&[from(1, 10), from(2, 10)]), [from(2, 10)]);
        assert_eq!(waiting(&[from(1, 10), activity(1, 20)]), [from(1, 20)]);
        assert_eq!(waiting(&[from(2, 20), from(1, 10)]), [from(2, 20)]);
        assert_eq!(waiting(&[activity(1, 20), from(1, 10)]), [from(1, 20)]);
    }

    #[test]
    fn a_write_that_failed_does_not_undo_a_later_one() {
        let queue = ActivityQueue::new(10);
        queue.record(activity(1, 10));
        let taken = queue.take(1);
        queue.record(activity(1, 90));
        queue.put_back(taken);
        assert_eq!(queue.take(5), [activity(1, 90)]);
    }
}
