//! Wakes the generator's thread at a moment more exactly than the bound of a poll, which has whole milliseconds. Linux
//! only: elsewhere setting it up fails.

#[cfg(target_os = "linux")]
pub(super) use linux::Alarm;
#[cfg(not(target_os = "linux"))]
pub(super) use other::Alarm;

use mio::Token;

/// The event of an alarm.
pub(super) const ALARM: Token = Token(usize::MAX);

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::time::Duration;

    use anyhow::{Context, Result};
    use mio::unix::SourceFd;
    use mio::{Interest, Poll};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };

    /// A timer of the system.
    pub(in crate::bench::load) struct Alarm(OwnedFd);

    impl Alarm {
        /// Its events are `super::ALARM`.
        pub(in crate::bench::load) fn set_up(poll: &Poll) -> Result<Self> {
            let timer =
                timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK).context("make a timer")?;
            poll.registry()
                .register(&mut SourceFd(&timer.as_raw_fd()), super::ALARM, Interest::READABLE)
                .context("register the timer")?;
            Ok(Self(timer))
        }

        /// Once, after `wait`. An alarm that was set before is forgotten, also one that has rung.
        pub(in crate::bench::load) fn ring_in(&mut self, wait: Duration) -> Result<()> {
            // Zero would switch it off.
            let wait = wait.max(Duration::from_nanos(1));
            let it_value =
                Timespec { tv_sec: i64::try_from(wait.as_secs())?, tv_nsec: i64::from(wait.subsec_nanos()) };
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once).context("set the timer")?;
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::time::Duration;

    use anyhow::{Result, bail};
    use mio::Poll;

    /// There is none.
    pub(in crate::bench::load) struct Alarm;

    impl Alarm {
        pub(in crate::bench::load) fn set_up(_poll: &Poll) -> Result<Self> {
            bail!("a load that shares its core needs Linux");
        }

        pub(in crate::bench::load) fn ring_in(&mut self, _wait: Duration) -> Result<()> {
            bail!("a load that shares its core needs Linux");
        }
    }
}
