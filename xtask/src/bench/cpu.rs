//! Processor time of other processes. Linux only: elsewhere reading fails.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Processor time all threads of process `pid` have used, in user mode and in the kernel, in steps of a clock tick
/// (10 ms): take differences over seconds.
///
/// # Errors
/// When there is no such process or no `/proc`.
pub fn used_by(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    // The name, in parentheses, may hold spaces; after it, utime and stime are the 12th and 13th field.
    let (_, fields) = text.rsplit_once(')').with_context(|| format!("{path} has no name"))?;
    let times = fields.split_ascii_whitespace().skip(11).take(2);
    let ticks =
        times.map(str::parse::<u64>).sum::<Result<u64, _>>().with_context(|| format!("times in {path}"))?;
    Ok(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::Duration;

    #[test]
    fn it_reads_the_time_of_this_process() {
        let pid = std::process::id();
        let first = super::used_by(pid).expect("this process exists");
        let mut number = 1_u64;
        // At least ten ticks of work; the bound is on the work, not on the clock.
        for step in 0..2_000_000_000_u64 {
            number = std::hint::black_box(number.wrapping_mul(3) ^ step);
            if step % 1_000_000 == 0
                && super::used_by(pid).expect("it exists") >= first + Duration::from_millis(100)
            {
                return;
            }
        }
        panic!("two thousand million steps took less than 100 ms ({number})");
    }
}
