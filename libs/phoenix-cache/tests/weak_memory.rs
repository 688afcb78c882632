//! Whether the lease's atomics are ordered strongly enough: the very source file of the lease, compiled here with loom's
//! primitives, under every execution that the C11 memory model allows to two threads.
//!
//! `interleavings` explores longer scenarios, but takes every atomic as sequentially consistent. The memory is left out:
//! it is behind locks of its own.

use std::time::Duration;

use loom::sync::Arc;

use freshness::{Freshness, Seq, Tag};

#[expect(dead_code, unreachable_pub, reason = "a part of the library, compiled with other primitives")]
#[path = "../src/freshness.rs"]
mod freshness;
#[expect(dead_code, unreachable_pub, reason = "a part of the library")]
#[path = "../src/key.rs"]
mod key;

/// Stands for `src/sync.rs`.
mod sync {
    pub(crate) use std::sync::PoisonError;

    pub(crate) use loom::sync::RwLock;
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
}

const BOUND: Duration = Duration::from_secs(3);
const REVOKED: Tag = Tag(1);

fn at(tick: u64) -> Duration {
    Duration::from_secs(tick)
}

/// The lease of a node that has read the empty log at time 0.
fn lease() -> Arc<Freshness> {
    let freshness = Freshness::new(BOUND, 8);
    freshness.renew(at(0), &[], Seq(0));
    Arc::new(freshness)
}

/// Revoked at 0, read at 1: who accepts at 3, because of the read, has seen what was read.
#[test]
fn who_sees_the_renewed_lease_sees_the_entries_that_came_with_it() {
    loom::model(|| {
        let freshness = lease();
        let reader = {
            let freshness = Arc::clone(&freshness);
            loom::thread::spawn(move || freshness.renew(at(1), &[(Seq(1), REVOKED)], Seq(1)))
        };
        if freshness.is_fresh(at(3)) {
            assert!(freshness.is_stale(Seq(0), [REVOKED, Tag(9)]));
        }
        reader.join().expect("it does not panic");
    });
}

/// A read beside a message that is being noted: who goes on from the message's number has its entry.
#[test]
fn who_sees_the_number_of_a_message_sees_its_entry() {
    loom::model(|| {
        let freshness = lease();
        let messenger = {
            let freshness = Arc::clone(&freshness);
            loom::thread::spawn(move || freshness.note(Seq(1), REVOKED))
        };
        if freshness.applied() == Seq(1) {
            freshness.renew(at(1), &[], Seq(1));
            assert!(freshness.is_stale(Seq(0), [REVOKED, Tag(9)]));
        }
        messenger.join().expect("it does not panic");
    });
}

/// Two messages noted at once: neither hides the other.
#[test]
fn both_of_two_messages_count_once_they_are_noted() {
    loom::model(|| {
        let freshness = lease();
        let messenger = {
            let freshness = Arc::clone(&freshness);
            loom::thread::spawn(move || freshness.note(Seq(1), Tag(2)))
        };
        freshness.note(Seq(2), REVOKED);
        assert!(freshness.is_stale(Seq(1), [REVOKED, Tag(9)]));
        messenger.join().expect("it does not panic");
        assert!(freshness.is_stale(Seq(0), [Tag(2), Tag(9)]));
        assert!(freshness.is_stale(Seq(1), [REVOKED, Tag(9)]));
    });
}
