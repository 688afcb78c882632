//! The loop in which every kind of connection is kept in order.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Time between two passes when nothing wakes the loop.
const INTERVAL: Duration = Duration::from_millis(500);

/// Runs `pass` again and again until `stop`: after an interval, or sooner when what `woken` returns is ready.
pub(super) async fn keep_up<P, W>(stop: &CancellationToken, woken: impl Fn() -> W, pass: impl Fn() -> P)
where
    P: Future<Output = ()>,
    W: Future<Output = ()>,
{
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => return,
            () = pass() => {}
        }
        let pause = async {
            tokio::select! {
                () = stop.cancelled() => {}
                () = woken() => {}
            }
        };
        // Nothing happened for an interval: a pass is due anyway.
        let _ = tokio::time::timeout(INTERVAL, pause).await;
    }
}
