//! What a limiter says. Does not decide anything.

use std::time::Duration;

use crate::Key;

/// What an admission means for the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// It counts.
    Count,
    /// It counts until it is refunded, and what it stands for is not yet known to have happened. Who exceeds a window
    /// only because of such admissions is refused, but not blocked. To be followed by a confirmation or a refund;
    /// without either it counts.
    Reserve,
}

/// Names an admission, to take it back or to confirm it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// Whose.
    pub key: Key,
    /// When, in microseconds of the store's clock.
    pub at: u64,
    /// Units.
    pub cost: u32,
}

/// Why a client is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// A window is full.
    Exceeded,
    /// As [`Self::Exceeded`], but only because of units that may yet be given back: reservations that are not settled, or
    /// what another node has set aside. Once they are it may be admitted, at any moment.
    Reserved,
    /// A window is full, and because of this very request the client is blocked from now on.
    BlockedNow,
    /// The client was blocked before.
    Blocked,
}

/// Admitted or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is in the log.
    Admitted(Ticket),
    /// It left no trace in the log.
    Refused(Refusal),
}

/// A verdict, and what a client may be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Admitted or not.
    pub verdict: Verdict,
    /// Position, among the windows of the rule, of the one with the least room, or of the one that refused with the
    /// longest wait.
    pub window: usize,
    /// Units left in that window after this decision.
    pub remaining: u32,
    /// After this time that window has room for at least one unit more than now; zero if it is empty.
    pub reset_after: Duration,
    /// Refused: the same request, alone, is admitted after this time and not before. Zero if admitted.
    pub retry_after: Duration,
    /// When it was decided, in microseconds of the store's clock.
    pub at: u64,
}

impl Decision {
    /// Whether the request may go on.
    #[must_use]
    pub const fn is_admitted(&self) -> bool {
        matches!(self.verdict, Verdict::Admitted(_))
    }

    /// Names the admission, if it is one.
    #[must_use]
    pub const fn ticket(&self) -> Option<Ticket> {
        match self.verdict {
            Verdict::Admitted(ticket) => Some(ticket),
            Verdict::Refused(_) => None,
        }
    }
}
