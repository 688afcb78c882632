//! Those who wait for look-ups of the same client to end: in the order in which they came, and not too many.
//!
//! Does not own whether there is room for a look-up, nor how long somebody waits (`look_up.rs`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use phoenix_limit::Key;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

/// One line for each client of whom somebody waits.
#[derive(Debug)]
pub(super) struct Lines {
    /// Most who wait, of all clients.
    most: usize,
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    lines: HashMap<Key, Length>,
    waiting: usize,
}

#[derive(Debug)]
struct Length {
    line: Arc<Line>,
    /// Never zero.
    waiting: usize,
}

#[derive(Debug)]
struct Line {
    /// One permit, that of the first in line. Who waits for it gets it in the order of coming.
    turn: Semaphore,
    /// A look-up of this client ended. Only the first in line listens.
    ended: Notify,
}

impl Lines {
    /// Of at most `most` who wait, in all.
    pub(super) fn new(most: usize) -> Self {
        Self { most, all: Mutex::default() }
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody waits for this client.
    pub(super) fn is_waited_for(&self, key: Key) -> bool {
        self.all().lines.contains_key(&key)
    }

    /// A place at the end of the line. `None` when `most` wait for this client, or too many in all.
    pub(super) fn join(&self, key: Key, most: usize) -> Option<Place<'_>> {
        let mut all = self.all();
        let ahead = all.lines.get(&key).map_or(0, |length| length.waiting);
        if ahead >= most || all.waiting >= self.most {
            return None;
        }
        all.waiting += 1;
        let length = all.lines.entry(key).or_insert_with(|| Length {
            line: Arc::new(Line { turn: Semaphore::new(1), ended: Notify::new() }),
            waiting: 0,
        });
        length.waiting += 1;
        Some(Place { lines: self, key, line: Arc::clone(&length.line) })
    }

    /// A look-up of this client ended: the first in line is told.
    pub(super) fn ended(&self, key: Key) {
        if let Some(length) = self.all().lines.get(&key) {
            length.line.ended.notify_one();
        }
    }

    fn leave(&self, key: Key) {
        let mut all = self.all();
        all.waiting -= 1;
        if let Some(length) = all.lines.get_mut(&key) {
            length.waiting -= 1;
            if length.waiting == 0 {
                all.lines.remove(&key);
            }
        }
    }
}

/// A place in a line. Given up when dropped.
#[must_use = "a place that is dropped is given up"]
#[derive(Debug)]
pub(super) struct Place<'a> {
    lines: &'a Lines,
    key: Key,
    line: Arc<Line>,
}

impl Place<'_> {
    /// Waits to be the first, which it is until what this returns is dropped.
    pub(super) async fn turn(&self) -> SemaphorePermit<'_> {
        self.line.turn.acquire().await.expect("nobody closes it")
    }

    /// Waits for a look-up to end; returns at once if one ended since it was called last. For the first in line only.
    pub(super) async fn ended(&self) {
        self.line.ended.notified().await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.lines.leave(self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;
    use std::pin::Pin;
    use std::rc::Rc;
    use std::task::{Context, Waker};

    use phoenix_limit::Keyer;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Most who wait in these tests: in all, and for one client.
    const MOST: [usize; 2] = [7, 4];

    fn key(client: u8) -> Key {
        Keyer::new([1; 16]).key("line", &[&[client]], b"")
    }

    #[derive(Clone, Debug)]
    enum Step {
        Join(u8),
        /// Of those who wait, one leaves: after its turn, or because it went away.
        Leave(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![3 => (0..3_u8).prop_map(Step::Join), 2 => (0..9_usize).prop_map(Step::Leave)]
    }

    struct Waiter<'a> {
        client: u8,
        is_first: Rc<Cell<bool>>,
        waits: Pin<Box<dyn Future<Output = ()> + 'a>>,
    }

    fn wait(place: Place<'_>, client: u8) -> Waiter<'_> {
        let is_first = Rc::new(Cell::new(false));
        let told = Rc::clone(&is_first);
        let waits = Box::pin(async move {
            let _turn = place.turn().await;
            told.set(true);
            pending::<()>().await;
        });
        Waiter { client, is_first, waits }
    }

    proptest! {
        #[test]
        fn the_first_of_each_line_has_the_turn_and_lines_have_a_longest_length(steps in vec(step(), 0..60)) {
            let lines = Lines::new(MOST[0]);
            // In the order of coming: the model is the list itself.
            let mut waiting: Vec<Waiter<'_>> = Vec::new();
            let context = &mut Context::from_waker(Waker::noop());
            for step in steps {
                match step {
                    Step::Join(client) => {
                        let of_client = waiting.iter().filter(|waiter| waiter.client == client).count();
                        let has_room = of_client < MOST[1] && waiting.len() < MOST[0];
                        let place = lines.join(key(client), MOST[1]);
                        prop_assert_eq!(place.is_some(), has_room);
                        waiting.extend(place.map(|place| wait(place, client)));
                        if let Some(waiter) = waiting.last_mut() {
                            prop_assert!(waiter.waits.as_mut().poll(context).is_pending());
                        }
                    }
                    Step::Leave(nth) if nth < waiting.len() => drop(waiting.remove(nth)),
                    Step::Leave(_) => {}
                }
                // The last first, so that who is asked first gains nothing.
                for waiter in waiting.iter_mut().rev() {
                    prop_assert!(waiter.waits.as_mut().poll(context).is_pending());
                }
                for client in 0..3 {
                    let mut line = waiting.iter().filter(|waiter| waiter.client == client);
                    prop_assert_eq!(lines.is_waited_for(key(client)), line.clone().next().is_some());
                    prop_assert!(line.next().is_none_or(|first| first.is_first.get()));
                    prop_assert!(line.all(|other| !other.is_first.get()));
                }
            }
            drop(waiting);
            prop_assert!(lines.all().lines.is_empty() && lines.all().waiting == 0);
        }
    }

    #[test]
    fn an_end_is_told_to_the_line_of_its_client_and_kept_until_somebody_listens() {
        let lines = Lines::new(MOST[0]);
        let places = [0, 1].map(|client| lines.join(key(client), MOST[1]).unwrap());
        let context = &mut Context::from_waker(Waker::noop());
        let mut told = places.iter().map(|place| Box::pin(place.ended())).collect::<Vec<_>>();
        lines.ended(key(1));
        let mut is_told = |nth: usize| told[nth].as_mut().poll(context).is_ready();
        assert_eq!((is_told(0), is_told(1)), (false, true));
        lines.ended(key(0));
        assert!(is_told(0));
        lines.ended(key(2));
    }
}
