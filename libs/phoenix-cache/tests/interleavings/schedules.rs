//! The scenarios, and the schedules they are run under.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, Runner};

use crate::model::{BOUND, World};

/// Enough for every scenario here to be exhausted; a scenario that is not fails.
const MOST_SCHEDULES: usize = 200_000;
const STACK_BYTES: usize = 256 * 1024;

type Thread = fn(&World);

fn run(scheduler: impl Scheduler + 'static, scenario: impl Fn() + Send + Sync + 'static) -> usize {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.failure_persistence = FailurePersistence::Print;
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(scenario)
}

/// `before` happens first, then `threads` run at the same time.
fn scenario(
    log_capacity: usize,
    before: Thread,
    threads: &'static [Thread],
    accepted: &Arc<AtomicUsize>,
) -> impl Fn() + Send + Sync + 'static {
    let accepted = Arc::clone(accepted);
    move || {
        let world = World::new(log_capacity, &accepted);
        before(&world);
        let spawn = |thread: &Thread| {
            let (world, thread) = (Arc::clone(&world), *thread);
            shuttle::thread::spawn(move || thread(&world))
        };
        let Some((here, others)) = threads.split_first() else { return };
        let running: Vec<_> = others.iter().map(spawn).collect();
        here(&world);
        for thread in running {
            thread.join().expect("no thread panics");
        }
        // Whoever asks after one more read finds it revoked.
        world.poll();
        world.hit();
    }
}

/// Under every schedule there is.
fn exhaust(log_capacity: usize, before: Thread, threads: &'static [Thread]) {
    let accepted = Arc::default();
    let schedules = run(
        DfsScheduler::new(Some(MOST_SCHEDULES), false),
        scenario(log_capacity, before, threads, &accepted),
    );
    let accepted = accepted.load(Ordering::Relaxed);
    assert!(schedules < MOST_SCHEDULES, "not every schedule was tried");
    assert!(accepted > 0, "nothing was shown");
}

#[test]
fn every_schedule_of_a_load_and_a_revoke_with_its_message() {
    exhaust(
        8,
        |_| {},
        &[
            |world| {
                world.load();
                world.hit();
            },
            |world| {
                world.revoke();
                world.push_latest();
            },
        ],
    );
}

#[test]
fn every_schedule_of_a_message_that_takes_long_and_a_read_beside_it() {
    exhaust(
        8,
        |world| {
            world.hit();
            world.revoke();
            world.tick(1);
        },
        &[
            |world| world.push_latest(),
            |world| {
                world.hit();
                world.poll();
                world.tick(BOUND - 1);
                world.hit();
            },
        ],
    );
}

#[test]
fn every_schedule_of_two_messages_and_a_load_between_them() {
    exhaust(
        8,
        |world| {
            world.hit();
            world.revoke_other();
        },
        &[World::push_latest, |world| {
            world.load();
            world.revoke();
            world.push_latest();
            world.hit();
        }],
    );
}

#[test]
fn every_schedule_of_a_page_that_arrives_beside_another_read() {
    exhaust(
        8,
        |world| {
            world.hit();
            world.revoke();
            world.tick(1);
        },
        &[World::read_page, |world| {
            world.poll();
            world.tick(BOUND - 1);
            world.hit();
        }],
    );
}

#[test]
fn every_schedule_of_a_read_and_a_message_past_a_gap() {
    exhaust(
        8,
        |world| {
            world.hit();
            world.revoke();
            world.revoke_other();
            world.tick(1);
        },
        &[
            |world| world.push_latest(),
            |world| {
                world.poll();
                world.tick(BOUND - 1);
                world.hit();
            },
        ],
    );
}

#[test]
fn every_schedule_of_a_read_and_hits_while_the_bound_passes() {
    exhaust(
        8,
        |_| {},
        &[
            |world| {
                world.revoke();
                world.poll();
            },
            |world| {
                world.hit();
                world.tick(BOUND);
                world.hit();
            },
        ],
    );
}

#[test]
fn every_schedule_of_a_read_with_its_entries_and_hits_while_the_bound_passes() {
    exhaust(
        8,
        |world| {
            world.hit();
            world.revoke();
            world.tick(1);
        },
        &[World::poll_at_once, |world| {
            world.tick(BOUND - 1);
            world.hit();
            world.hit();
        }],
    );
}

#[test]
fn every_schedule_of_a_read_that_a_revoke_overtakes() {
    exhaust(
        8,
        World::hit,
        &[World::poll, |world| {
            world.revoke();
            world.tick(BOUND - 1);
            world.hit();
            world.tick(1);
            world.hit();
        }],
    );
}

#[test]
fn every_schedule_of_a_load_a_hit_and_a_message() {
    exhaust(
        8,
        World::revoke_other,
        &[
            |world| {
                world.revoke();
                world.push_latest();
            },
            World::load,
            World::hit,
        ],
    );
}

#[test]
fn every_schedule_of_a_log_that_overflows_below_a_hit() {
    exhaust(
        1,
        |world| {
            world.revoke();
        },
        &[
            |world| {
                world.poll();
                world.revoke_other();
                world.push_latest();
            },
            World::hit,
        ],
    );
}

#[test]
fn every_schedule_of_a_hit_on_a_stale_value_and_a_fill_with_a_newer_one() {
    let schedules = run(DfsScheduler::new(Some(MOST_SCHEDULES), false), || {
        let world = World::new(8, &Arc::default());
        world.change_session();
        let hit = {
            let world = Arc::clone(&world);
            shuttle::thread::spawn(move || world.hit())
        };
        world.load();
        hit.join().expect("no thread panics");
        assert!(world.is_held(), "the newer value was dropped for the stale one");
    });
    assert!(schedules < MOST_SCHEDULES, "not every schedule was tried");
}

/// All parts at once: two readers, messages early, late and past a gap, loads, hits, and a clock.
const ALL: &[Thread] = &[
    |world| {
        world.revoke_other();
        world.revoke();
        world.push_latest();
    },
    |world| {
        world.revoke_other();
        world.push_latest();
        world.push_latest();
    },
    |world| {
        for _ in 0..3 {
            world.load();
            world.hit();
        }
    },
    |world| {
        for _ in 0..3 {
            world.poll();
        }
    },
    |world| {
        world.poll_at_once();
        world.poll_at_once();
    },
    |world| {
        for _ in 0..6 {
            world.hit();
        }
    },
    |world| {
        for _ in 0..2 * BOUND {
            world.tick(1);
        }
    },
];

fn all_at_once(scheduler: impl Scheduler + 'static, log_capacity: usize) {
    let accepted = Arc::default();
    let tried = run(scheduler, scenario(log_capacity, |_| {}, ALL, &accepted));
    let accepted = accepted.load(Ordering::Relaxed);
    assert!(accepted > tried / 2, "{accepted} hits were accepted under {tried} schedules");
}

#[test]
fn random_schedules_of_everything() {
    all_at_once(RandomScheduler::new_from_seed(1, 2000), 8);
    all_at_once(RandomScheduler::new_from_seed(2, 2000), 1);
}

/// Few changes of thread, at the worst moments (Burckhardt et al., ASPLOS 2010): finds what needs one thread to be
/// stopped for long.
#[test]
fn schedules_with_few_changes_of_thread() {
    for depth in 1..=4 {
        all_at_once(PctScheduler::new_from_seed(depth, usize::try_from(depth).expect("small"), 1000), 8);
    }
}
