//! What the answers of one round say about the bound. Pure: times are distances from the start of the period.

use std::time::Duration;

/// One request of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// Just before its first byte was written.
    pub(super) sent: Duration,
    /// When its answer was complete, or was given up.
    pub(super) answered: Duration,
    /// The status; `None` when there was no answer.
    pub(super) status: Option<u16>,
}

/// Everything one client did.
#[derive(Clone, Debug)]
pub(super) struct Log {
    pub(super) node: usize,
    /// Which of the sessions that end together.
    pub(super) session: usize,
    pub(super) samples: Vec<Sample>,
}

/// The revoke of a round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Revoke {
    /// The node that was asked.
    pub(super) node: usize,
    /// Just before its first byte was written.
    pub(super) sent: Duration,
    /// When its 2xx had been read.
    pub(super) acknowledged: Duration,
}

/// What the clients of one round saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) requests: u64,
    /// 200.
    pub(super) accepted: u64,
    /// 401.
    pub(super) refused: u64,
    /// 503.
    pub(super) unavailable: u64,
    /// Other statuses, and no answer at all.
    pub(super) broken: u64,
    /// 503, other statuses and no answer, at nodes other than the one cut from the database.
    pub(super) failed_without_reason: u64,
    /// Accepts whose request was sent after the acknowledgement and the bound.
    pub(super) late: u64,
    /// Refusals that were answered before the revoke was sent.
    pub(super) refused_too_early: u64,
    /// Accepts at a node, sent after that node had refused the same session.
    pub(super) taken_back: u64,
    /// For each node but the one that revoked: from the acknowledgement to the last request sent that was accepted;
    /// zero when there was none.
    pub(super) lags: Vec<Duration>,
}

/// Judges one round. `cut_off` is the node that does not reach the database.
pub(super) fn judge(
    logs: &[Log],
    revoke: Revoke,
    bound: Duration,
    nodes: usize,
    cut_off: Option<usize>,
) -> Verdict {
    let mut verdict = Verdict::default();
    for log in logs {
        for sample in &log.samples {
            count(&mut verdict, *sample, revoke, bound);
            let failed = !matches!(sample.status, Some(200 | 401));
            verdict.failed_without_reason += u64::from(failed && cut_off != Some(log.node));
        }
        verdict.taken_back += taken_back(logs, log);
    }
    let others = (0..nodes).filter(|node| *node != revoke.node);
    verdict.lags = others.map(|node| lag(logs, node, revoke.acknowledged)).collect();
    verdict
}

fn count(verdict: &mut Verdict, sample: Sample, revoke: Revoke, bound: Duration) {
    verdict.requests += 1;
    match sample.status {
        Some(200) => {
            verdict.accepted += 1;
            verdict.late += u64::from(sample.sent > revoke.acknowledged + bound);
        }
        Some(401) => {
            verdict.refused += 1;
            verdict.refused_too_early += u64::from(sample.answered < revoke.sent);
        }
        Some(503) => verdict.unavailable += 1,
        Some(_) | None => verdict.broken += 1,
    }
}

/// Accepts of `log` that were sent after the node's first refusal of the session, whoever was refused.
fn taken_back(logs: &[Log], log: &Log) -> u64 {
    let same = logs.iter().filter(|other| (other.node, other.session) == (log.node, log.session));
    let refusals = same.flat_map(|other| &other.samples).filter(|sample| sample.status == Some(401));
    let Some(first) = refusals.map(|sample| sample.answered).min() else { return 0 };
    log.samples.iter().filter(|sample| sample.status == Some(200) && sample.sent > first).count() as u64
}

fn lag(logs: &[Log], node: usize, acknowledged: Duration) -> Duration {
    let samples = logs.iter().filter(|log| log.node == node).flat_map(|log| &log.samples);
    let accepted = samples.filter(|sample| sample.status == Some(200));
    accepted.map(|sample| sample.sent.saturating_sub(acknowledged)).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Log, Revoke, Sample, Verdict, judge};

    const fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    fn log(node: usize, samples: &[(u64, u64, u16)]) -> Log {
        let sample = |&(sent, answered, status): &(u64, u64, u16)| Sample {
            sent: ms(sent),
            answered: ms(answered),
            status: (status != 0).then_some(status),
        };
        Log { node, session: 0, samples: samples.iter().map(sample).collect() }
    }

    /// A revoke at node 0, sent at 95 ms and acknowledged at 100 ms; the bound is 1 s.
    fn judged(logs: &[Log]) -> Verdict {
        judge(logs, Revoke { node: 0, sent: ms(95), acknowledged: ms(100) }, ms(1000), 3, Some(2))
    }

    #[test]
    fn what_counts_is_when_the_request_was_sent() {
        let verdict = judged(&[log(1, &[(1100, 5000, 200), (90, 99, 200)])]);
        assert_eq!((verdict.accepted, verdict.late), (2, 0));
        let verdict = judged(&[log(1, &[(1101, 1102, 200)])]);
        assert_eq!(verdict.late, 1);
    }

    #[test]
    fn a_refusal_is_too_early_only_before_the_revoke_was_sent() {
        let verdict = judged(&[log(1, &[(90, 94, 401), (90, 97, 401), (120, 121, 401)])]);
        assert_eq!((verdict.refused, verdict.refused_too_early), (3, 1));
    }

    #[test]
    fn lag_is_that_of_the_last_accept_at_each_other_node() {
        let logs = [
            log(0, &[(300, 301, 200)]),
            log(1, &[(90, 91, 200), (140, 141, 200), (150, 151, 401)]),
            log(1, &[(130, 160, 200)]),
            log(2, &[(99, 101, 200)]),
        ];
        assert_eq!(judged(&logs).lags, [ms(40), ms(0)]);
    }

    #[test]
    fn failures_are_excused_only_where_the_database_is_not_reached() {
        let verdict = judged(&[log(1, &[(200, 201, 503), (300, 301, 0)]), log(2, &[(200, 201, 503)])]);
        assert_eq!((verdict.unavailable, verdict.broken, verdict.failed_without_reason), (2, 1, 2));
    }

    #[test]
    fn an_accept_after_a_refusal_is_noticed_across_clients_of_one_node() {
        let refused = log(1, &[(200, 201, 401)]);
        assert_eq!(judged(&[refused.clone(), log(1, &[(201, 203, 200), (202, 203, 200)])]).taken_back, 1);
        assert_eq!(judged(&[refused.clone(), log(2, &[(202, 203, 200)])]).taken_back, 0);
        let other_session = Log { session: 1, ..log(1, &[(202, 203, 200)]) };
        assert_eq!(judged(&[refused, other_session]).taken_back, 0);
    }
}
