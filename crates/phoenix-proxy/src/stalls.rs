//! Notices that a client has stopped reading an answer, and takes the application's connection away from it.
//!
//! An answer's body is asked for its next part only while the client takes what it was given. So nobody asks a body of
//! whose client nothing is heard, and a look at all bodies from time to time is what finds it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::body::AnswerError;
use crate::pause::LONGEST_OF_CLIENT;

/// From one look to the next.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A body that can be taken away while nobody asks it.
#[derive(Debug)]
pub(crate) struct Watched<B>(Arc<Shared<B>>);

#[derive(Debug)]
struct Shared<B> {
    /// `None` when it was taken away.
    body: Mutex<Option<Box<B>>>,
    /// How often it was asked; wraps.
    asked: AtomicU32,
    /// It has nothing to give, so the application is waited for and not the client.
    is_waiting: AtomicBool,
}

/// The bodies of one server that are on their way.
#[derive(Debug)]
pub(crate) struct Stalls<B>(Mutex<Vec<Entry<B>>>);

#[derive(Debug)]
struct Entry<B> {
    body: Weak<Shared<B>>,
    bound: Duration,
    seen: u32,
    silent: Duration,
}

impl<B> Default for Stalls<B> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<B> Stalls<B> {
    /// Watches a body whose client may pause for `idle`, or a minute if that is shorter.
    pub(crate) fn watch(&self, body: B, idle: Duration) -> Watched<B> {
        let shared = Arc::new(Shared {
            body: Mutex::new(Some(Box::new(body))),
            asked: AtomicU32::new(0),
            is_waiting: AtomicBool::new(false),
        });
        let entry = Entry {
            body: Arc::downgrade(&shared),
            bound: idle.min(LONGEST_OF_CLIENT),
            seen: 0,
            silent: Duration::ZERO,
        };
        self.lock().push(entry);
        Watched(shared)
    }

    /// One look, to be had every [`LOOK_INTERVAL`]. Says how many bodies were taken away.
    pub(crate) fn look(&self) -> usize {
        let mut taken = Vec::new();
        self.lock().retain_mut(|entry| {
            let Some(body) = entry.body.upgrade() else { return false };
            let asked = body.asked.load(Ordering::Relaxed);
            if asked != entry.seen || body.is_waiting.load(Ordering::Relaxed) {
                (entry.seen, entry.silent) = (asked, Duration::ZERO);
                return true;
            }
            if entry.silent < entry.bound {
                entry.silent = entry.silent.saturating_add(LOOK_INTERVAL);
                return true;
            }
            taken.push(body);
            false
        });
        // Not under the lock: the end of a body may give its connection to somebody else.
        taken.into_iter().filter_map(|body| body.lock().take()).count()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry<B>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Shared<B> {
    fn lock(&self) -> MutexGuard<'_, Option<Box<B>>> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Watched<B>
where
    B: Body<Data = Bytes, Error = AnswerError> + Unpin,
{
    pub(crate) fn poll_next(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        let mut body = self.0.lock();
        let Some(open) = body.as_mut() else { return Poll::Ready(Some(Err(AnswerError::Unread))) };
        let next = Pin::new(&mut **open).poll_frame(context);
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        self.0.is_waiting.store(next.is_pending(), Ordering::Relaxed);
        next
    }

    pub(crate) fn is_end(&self) -> bool {
        self.0.lock().as_ref().is_some_and(Body::is_end_stream)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.0.lock().as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// A body that gives what it is told to.
    struct Told(Vec<Poll<()>>);

    impl Body for Told {
        type Data = Bytes;
        type Error = AnswerError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
            self.0.remove(0).map(|()| Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    fn ask(body: &Watched<Told>) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        body.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn only_a_body_that_could_give_and_is_not_asked_is_taken_away() {
        let stalls = Stalls::default();
        let bound = Duration::from_secs(3);
        let [unread, waiting, busy, gone] =
            [[Poll::Ready(()); 9], [Poll::Pending; 9], [Poll::Ready(()); 9], [Poll::Ready(()); 9]]
                .map(|told| stalls.watch(Told(told.to_vec()), bound));
        drop(gone);
        assert!(ask(&unread).is_ready() && ask(&waiting).is_pending());
        let taken: Vec<usize> = (0..8)
            .map(|_| {
                assert!(ask(&busy).is_ready());
                stalls.look()
            })
            .collect();
        // The first look sees that it was asked; three follow in which it may be silent.
        assert_eq!(taken, [0, 0, 0, 0, 1, 0, 0, 0]);
        assert!(matches!(ask(&unread), Poll::Ready(Some(Err(AnswerError::Unread)))));
        assert!(ask(&waiting).is_pending() && ask(&busy).is_ready());
        assert_eq!(stalls.lock().len(), 2);
    }

    #[test]
    fn nobody_may_pause_for_longer_than_a_minute() {
        let stalls = Stalls::default();
        let _body = stalls.watch(Told(Vec::new()), Duration::from_hours(1));
        assert_eq!((0..60).map(|_| stalls.look()).sum::<usize>(), 0);
        assert_eq!(stalls.look(), 1);
    }
}
